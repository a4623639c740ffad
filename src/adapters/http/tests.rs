//! The http thread over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::adapters::http::access::AccessToken;
use crate::adapters::http::connections::ConnectionLimits;
use crate::adapters::http::host::AllowedHosts;
use crate::adapters::stream::{Records, StreamId, StreamLimits, StreamMetrics};
use crate::core::domain::Symbol;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A running http thread on a free port.
struct Running {
    address: SocketAddr,
    readiness: Readiness,
    hub: StreamHub,
    scores: StreamHub,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

fn start(subscribers_max: usize) -> Running {
    let allowed_origins = vec!["https://charts.example.com".into()];
    start_with(subscribers_max, Access { allowed_origins, ..Access::default() })
}

fn start_with(subscribers_max: usize, access: Access) -> Running {
    start_within(ConnectionLimits::default(), subscribers_max, access)
}

fn start_within(connections: ConnectionLimits, subscribers_max: usize, access: Access) -> Running {
    let registry = Registry::new();
    let metrics = StreamMetrics::register(&registry).unwrap();
    let limits = StreamLimits {
        subscribers_max,
        subscribers_per_address_max: subscribers_max,
        lag_records_max: 1024,
        symbols_max: 16,
    };
    let hub = StreamHub::new(limits, StreamId(0xfeed), metrics);
    let scores = hub.beside(limits, StreamId(0xface), Records::Scores);
    let readiness = Readiness::new();
    let state = HttpState {
        registry,
        readiness: readiness.clone(),
        liveness: Readiness::always("process"),
        symbols: None,
        stream: Some(hub.clone()),
        scores: Some(scores.clone()),
        version: Some(VersionInfo {
            model: "aapl-daily".into(),
            model_version: "1".into(),
            mode: "sliding".into(),
            runtime: "onnxruntime",
            runtime_build: "ORT Build Info: test".into(),
        }),
        models: None,
        access,
    };
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.local_addr();
    let (stop, stopped) = watch::channel(false);
    let thread = server.spawn_within(connections, state, stopped).unwrap();
    Running { address, readiness, hub, scores, stop, thread }
}

/// What came back: the status, the head as it stands, and the body.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Reply {
    /// The code of a problem.
    fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["type"], format!("urn:tickcast:problem:{code}"));
        code.to_owned()
    }
}

/// Status and code of a problem.
fn problem(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

/// As [`problem`] gives it.
fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

impl Running {
    fn ask(&self, method: &str, target: &str) -> Reply {
        self.ask_with(method, target, "")
    }

    fn ask_with(&self, method: &str, target: &str, headers: &str) -> Reply {
        let host = format!("Host: {}\r\n{headers}", self.address);
        self.ask_bare(method, target, &host)
    }

    /// Without a `Host`.
    fn ask_bare(&self, method: &str, target: &str, headers: &str) -> Reply {
        let mut socket = StdStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn metric(&self, name: &str) -> f64 {
        let body = self.ask("GET", "/metrics").body;
        let value = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    async fn connect(&self, query: &str) -> Result<Client, WebSocketError> {
        self.connect_from(query, None).await
    }

    async fn connect_from(
        &self,
        query: &str,
        origin: Option<&str>,
    ) -> Result<Client, WebSocketError> {
        let url = format!("ws://{}/v1/stream{query}", self.address);
        let mut request = url.into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
        }
        tokio_tungstenite::connect_async(request).await.map(|(client, _)| client)
    }

    fn publish(&self, symbol: &str, record: &str) {
        self.hub.publish(&Symbol::new(symbol).unwrap(), record.to_owned().into());
    }
}

fn refusal(outcome: Result<Client, WebSocketError>) -> (u16, String) {
    match outcome {
        Err(WebSocketError::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap())
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Keeps a broken test from hanging for ever; never part of what is asserted.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("the test ends")
}

#[test]
fn probes_follow_the_conditions() {
    let running = start(1);
    let livez = running.ask("GET", "/livez");
    assert_eq!((livez.status, &*livez.body), (200, "ok\n"));
    let readyz = || {
        let reply = running.ask("GET", "/readyz");
        (reply.status, reply.body)
    };
    let model = running.readiness.condition("model");
    let source = running.readiness.condition("source");
    model.not_ready("golden vectors differ");
    assert_eq!(readyz(), (503, "model: golden vectors differ\nsource: not yet\n".to_owned()));
    model.ready();
    source.ready();
    assert_eq!(readyz(), (200, "ready\n".to_owned()));
    source.not_ready("stopping");
    assert_eq!(readyz(), (503, "source: stopping\n".to_owned()));
    assert_eq!(running.ask("GET", "/livez").status, 200);
}

#[test]
fn metrics_are_in_the_text_format() {
    let running = start(1);
    let reply = running.ask("GET", "/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4"));
    let mut samples = Vec::new();
    for line in reply.body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            assert!(comment.starts_with("HELP ") || comment.starts_with("TYPE "), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        samples.push(name);
    }
    assert_eq!(
        samples,
        [
            "tickcast_http_accepts_failed_total",
            "tickcast_http_connections",
            "tickcast_http_connections_cut_total{reason=\"descriptors\"}",
            "tickcast_http_connections_cut_total{reason=\"full\"}",
            "tickcast_http_connections_cut_total{reason=\"head\"}",
            "tickcast_http_connections_cut_total{reason=\"idle\"}",
            "tickcast_http_connections_cut_total{reason=\"life\"}",
            "tickcast_http_connections_cut_total{reason=\"place\"}",
            "tickcast_http_connections_cut_total{reason=\"unread\"}",
            "tickcast_http_requests_refused_total{reason=\"busy\"}",
            "tickcast_http_requests_refused_total{reason=\"host\"}",
            "tickcast_http_requests_refused_total{reason=\"malformed\"}",
            "tickcast_http_requests_refused_total{reason=\"origin\"}",
            "tickcast_http_requests_refused_total{reason=\"token\"}",
            "tickcast_stream_conflated_total",
            "tickcast_stream_cut_total",
            "tickcast_stream_refused_total",
            "tickcast_stream_sent_total",
            "tickcast_stream_subscribers",
            "tickcast_stream_unlisted_total"
        ]
    );
}

#[test]
fn version_names_the_build_and_the_model() {
    let reply = start(1).ask("GET", "/version");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "name": "tickcast",
            "version": env!("CARGO_PKG_VERSION"),
            "model": "aapl-daily",
            "model_version": "1",
            "mode": "sliding",
            "runtime": "onnxruntime",
        "runtime_build": "ORT Build Info: test",
        })
    );
}

#[test]
fn every_answer_is_guarded_and_unknown_requests_are_told_what_there_is() {
    let running = start(1);
    let expected = [
        ("GET", "/", 200, "GET /v1/stream"),
        ("GET", "/livez?x=1", 200, "ok"),
        ("HEAD", "/livez", 200, ""),
        ("GET", "/nothing", 404, "no_such_path"),
        ("GET", "/v1/models", 404, "not_configured"),
        ("GET", "/v1/symbols", 404, "not_configured"),
        ("POST", "/v1/reload", 404, "not_configured"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("DELETE", "/v1/stream", 405, "method_not_allowed"),
        ("GET", "/v1/stream", 426, "not_websocket"),
        ("HEAD", "/v1/stream", 426, ""),
        ("GET", "/v1/stream?sybmol=A", 400, "bad_request"),
        ("GET", "/v1/stream?symbol=", 400, "bad_request"),
        ("GET", "/v1/stream?symbols=A,,B", 400, "bad_request"),
        ("GET", "/v1/forecasts?limit=1001", 400, "bad_request"),
    ];
    for (method, target, status, body) in expected {
        let reply = running.ask(method, target);
        let asked = format!("{method} {target}: {}", reply.body);
        assert_eq!(reply.status, status, "{asked}");
        if status < 400 {
            assert!(reply.body.contains(body), "{asked}");
        } else if method != "HEAD" {
            assert_eq!(reply.code(), body, "{asked}");
        }
        assert_eq!(reply.body.is_empty(), method == "HEAD", "{asked}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{asked}");
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'self'"), "{asked}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{asked}");
        assert_eq!(reply.header("sec-websocket-version").is_some(), status == 426, "{asked}");
    }
    assert_eq!(running.ask("DELETE", "/v1/stream").header("allow"), Some("GET, HEAD, OPTIONS"));
    let long = format!("X-Long: {}\r\n", "x".repeat(20 << 10));
    assert_eq!(running.ask_with("GET", "/livez", &long).status, 431);
}

#[tokio::test]
async fn the_stream_sends_the_bytes_of_what_was_asked_for() {
    within(async {
        let running = start(2);
        let mut all = running.connect("").await.unwrap();
        let mut some = running.connect("?symbols=MSFT,Z%C3%BCrich").await.unwrap();
        for (symbol, record) in [("AAPL", "{\"a\":1}"), ("Zürich", "{\"é\": 2}"), ("MSFT", "{}")]
        {
            running.publish(symbol, record);
        }
        for expected in ["{\"a\":1}", "{\"é\": 2}", "{}"] {
            assert_eq!(all.next().await.unwrap().unwrap(), Message::text(expected));
        }
        for expected in ["{\"é\": 2}", "{}"] {
            assert_eq!(some.next().await.unwrap().unwrap(), Message::text(expected));
        }
        assert_eq!(running.metric("tickcast_stream_subscribers"), 2.0);
        assert_eq!(running.metric("tickcast_stream_sent_total"), 5.0);
    })
    .await;
}

#[test]
fn the_newest_forecast_of_a_symbol_can_be_asked_for() {
    let running = start(1);
    assert_eq!(problem(&running.ask("GET", "/v1/forecasts/A")), is(404, "unknown_symbol"));
    running.publish("A", "{\"a\":1}");
    running.publish("Zürich", "{\"é\":2}");
    running.publish("A", "{\"a\":3}");
    let newest = running.ask("GET", "/v1/forecasts/A");
    assert_eq!((newest.status, &*newest.body), (200, "{\"a\":3}"));
    assert_eq!(newest.header("content-type"), Some("application/json"));
    assert_eq!(running.ask("GET", "/v1/forecasts/Z%C3%BCrich").body, "{\"é\":2}");
    assert_eq!(running.ask("HEAD", "/v1/forecasts/A").status, 200);
    for wrong in ["B%ff", "B%4", "", "%00", "A%0D%0AX:1"] {
        let reply = running.ask("GET", &format!("/v1/forecasts/{wrong}"));
        assert_eq!(problem(&reply), is(400, "bad_request"), "{wrong}");
    }
    assert_eq!(running.ask("POST", "/v1/forecasts/A").status, 405);
}

#[tokio::test]
async fn scores_have_a_list_and_a_stream_of_their_own() {
    within(async {
        let running = start(2);
        let score = |symbol: &str, rank, record: &str| {
            let symbol = Symbol::new(symbol).unwrap();
            running.scores.publish_in(&symbol, rank, record.to_owned().into());
        };
        assert_eq!(problem(&running.ask("GET", "/v1/scores/A")), is(404, "no_score"));
        let empty = "{\"count\":0,\"left_off\":0,\"next\":null,\"scores\":[]}\n";
        assert_eq!(running.ask("GET", "/v1/scores").body, empty);
        let mut bare = running.connect("?records=scores").await.unwrap();
        let mut numbered = running.connect("?records=scores&envelope=true").await.unwrap();
        numbered.next().await.unwrap().unwrap();
        running.publish("A", "{\"forecast\":1}");
        score("A", 1, "{\"a\":1}");
        score("B", 0, "{\"b\":2}");
        for expected in ["{\"a\":1}", "{\"b\":2}"] {
            assert_eq!(bare.next().await.unwrap().unwrap(), Message::text(expected));
        }
        let expected = "{\"seq\":1,\"score\":{\"a\":1}}";
        assert_eq!(numbered.next().await.unwrap().unwrap(), Message::text(expected));
        assert_eq!(running.ask("GET", "/v1/scores/A").body, "{\"a\":1}");
        assert_eq!(running.ask("GET", "/v1/forecasts/A").body, "{\"forecast\":1}");
        let page = running.ask("GET", "/v1/scores?limit=1").body;
        let expected = "{\"count\":2,\"left_off\":1,\"next\":\"A\",\"scores\":[{\"a\":1}]}\n";
        assert_eq!(page, expected);
        for wrong in ["/v1/scores/%ff", "/v1/scores?limit=0", "/v1/stream?records=x"] {
            assert_eq!(problem(&running.ask("GET", wrong)), is(400, "bad_request"), "{wrong}");
        }
        let (status, code) = problem(&start(0).ask("GET", "/v1/scores"));
        assert_eq!((status, &*code), (404, "not_configured"), "without a stream nothing is kept");
    })
    .await;
}

#[test]
fn the_newest_forecasts_of_all_symbols_come_in_pages() {
    let running = start(1);
    let page = |query: &str| {
        let reply = running.ask("GET", &format!("/v1/forecasts{query}"));
        assert_eq!(reply.status, 200, "{query}: {}", reply.body);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        reply.body
    };
    assert_eq!(page(""), "{\"count\":0,\"left_off\":0,\"next\":null,\"forecasts\":[]}\n");
    for (symbol, record) in
        [("C", "{\"c\":1}"), ("A", "{}"), ("B,\"", "{\"b\": 1}"), ("C", "{\"c\":2}")]
    {
        running.publish(symbol, record);
    }
    assert_eq!(
        page(""),
        "{\"count\":3,\"left_off\":0,\"next\":null,\"forecasts\":[{},{\"b\": 1},{\"c\":2}]}\n"
    );
    assert_eq!(
        page("?limit=2"),
        "{\"count\":3,\"left_off\":1,\"next\":\"B,\\\"\",\"forecasts\":[{},{\"b\": 1}]}\n"
    );
    assert_eq!(
        page("?limit=2&after=B,%22"),
        "{\"count\":3,\"left_off\":0,\"next\":null,\"forecasts\":[{\"c\":2}]}\n"
    );
    assert_eq!(
        page("?symbols=C,X"),
        "{\"count\":1,\"left_off\":0,\"next\":null,\"forecasts\":[{\"c\":2}]}\n"
    );
    let head = running.ask("HEAD", "/v1/forecasts");
    assert_eq!((head.status, &*head.body), (200, ""));
    let (status, code) = problem(&start(0).ask("GET", "/v1/forecasts"));
    assert_eq!((status, &*code), (404, "not_configured"), "without a stream nothing is kept");
}

#[test]
fn requests_under_a_foreign_name_are_refused_and_probes_are_not() {
    let (allowed_hosts, wrong) = AllowedHosts::new(&["ticks.lan".to_owned()]);
    assert!(wrong.is_empty());
    let running = start_with(1, Access { allowed_hosts, ..Access::default() });
    let ask = |path: &str, headers: &str| running.ask_bare("GET", path, headers);
    for path in ["/", "/metrics", "/version", "/v1/forecasts", "/v1/stream", "/nothing"] {
        let rebound = ask(path, "Host: evil.example:9630\r\n");
        assert_eq!(problem(&rebound), is(421, "foreign_host"), "{path}");
        for headers in ["", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", "Host: a b\r\n"] {
            assert_eq!(problem(&ask(path, headers)), is(400, "bad_host"), "{path} {headers}");
        }
    }
    let absolute = "http://evil.example/metrics";
    assert_eq!(problem(&running.ask("GET", absolute)), is(400, "bad_host"));
    let foreign = ask(absolute, "Host: evil.example\r\n");
    assert_eq!(problem(&foreign), is(421, "foreign_host"));
    for headers in ["Host: ticks.lan:80\r\n", "Host: localhost\r\n", "Host: [::1]:9630\r\n"] {
        assert_eq!(ask("/metrics", headers).status, 200, "{headers}");
    }
    assert_eq!(ask("/livez", "Host: any.example\r\n").status, 200);
    assert_eq!(ask("/livez", "").status, 400);
    let refused = "tickcast_http_requests_refused_total{reason=\"host\"}";
    assert_eq!(running.metric(refused), f64::from(6 * 4 + 2 + 1));
}

#[test]
fn pages_of_allowed_origins_may_read_and_others_may_not() {
    let running = start(1);
    let allowed = "https://charts.example.com";
    let from = |method: &str, path: &str, origin: &str| {
        running.ask_with(method, path, &format!("Origin: {origin}\r\n"))
    };
    for (method, path, status) in
        [("GET", "/metrics", 200), ("HEAD", "/version", 200), ("GET", "/v1/forecasts/X", 404)]
    {
        let reply = from(method, path, allowed);
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), Some(allowed), "{path}");
        assert_eq!(reply.header("vary"), Some("Origin"));
        let reply = from(method, path, "https://evil.example");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(reply.header("vary"), Some("Origin"));
    }
    assert_eq!(from("POST", "/metrics", allowed).header("access-control-allow-origin"), None);
    let twice = format!("Origin: {allowed}\r\nOrigin: {allowed}\r\n");
    let reply = running.ask_with("GET", "/metrics", &twice);
    assert_eq!(reply.header("access-control-allow-origin"), None);

    let token = AccessToken::new("0123456789abcdef").unwrap();
    let access = Access {
        token: Some(token),
        allowed_origins: vec![allowed.to_owned()],
        ..Access::default()
    };
    let guarded = start_with(1, access);
    let ask = |origin: &str| {
        let headers = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n\
             Access-Control-Request-Headers: authorization\r\n"
        );
        guarded.ask_with("OPTIONS", "/v1/forecasts", &headers)
    };
    let preflight = ask(allowed);
    assert_eq!((preflight.status, &*preflight.body), (204, ""));
    for (name, value) in [
        ("allow", "GET, HEAD, OPTIONS"),
        ("access-control-allow-origin", allowed),
        ("access-control-allow-methods", "GET, HEAD"),
        ("access-control-allow-headers", "Authorization"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let foreign = ask("https://evil.example");
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(foreign.header("access-control-allow-methods"), None);
    assert_eq!(guarded.ask("OPTIONS", "*").header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(guarded.ask("OPTIONS", "/nothing").status, 404);
    let reply = from("GET", "/metrics", allowed);
    assert_eq!(reply.header("access-control-allow-methods"), None, "only a preflight asks");
}

#[test]
fn the_description_is_served_as_it_is_in_the_repository() {
    let running = start(1);
    for (path, file) in [
        ("/v1/openapi.json", "docs/api/openapi.json"),
        ("/v1/forecast.schema.json", "docs/api/forecast.schema.json"),
        ("/v1/score.schema.json", "docs/api/score.schema.json"),
    ] {
        let reply = running.ask("GET", path);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        assert_eq!(reply.body, std::fs::read_to_string(file).unwrap(), "{path}");
    }
}

/// Reads what is left of a connection, which ends when the server has closed it.
fn rest(mut socket: StdStream) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut bytes);
    bytes
}

/// Waits until a metric has this value.
fn await_metric(running: &Running, name: &str, value: f64) {
    for _ in 0..12_000 {
        if running.metric(name) >= value {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{name} stays below {value}");
}

const CUT: &str = "tickcast_http_connections_cut_total";

#[test]
fn a_peer_that_waits_is_cut_by_what_it_waits_with() {
    let limits = ConnectionLimits {
        head_max: Duration::from_millis(50),
        idle_max: Duration::from_millis(50),
        unread_max: Duration::from_millis(50),
        ..ConnectionLimits::default()
    };
    let running = start_within(limits, 1, Access::default());
    let connect = || StdStream::connect(running.address).unwrap();
    let host = running.address;
    let silent = connect();
    let mut half = connect();
    half.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
    let mut idle = connect();
    idle.write_all(format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    // Enough requests for answers that no buffer holds; what does not fit is not of interest.
    let mut unread = connect();
    unread.set_nonblocking(true).unwrap();
    let request = format!("GET /v1/openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let _ = unread.write_all(request.repeat(5_000).as_bytes());
    for (reason, count) in [("head", 2.0), ("idle", 1.0), ("unread", 1.0)] {
        await_metric(&running, &format!("{CUT}{{reason=\"{reason}\"}}"), count);
    }
    assert_eq!(rest(silent), b"");
    assert_eq!(rest(half), b"");
    assert!(rest(idle).ends_with(b"\r\n\r\nok\n"));
}

#[test]
fn an_old_connection_ends_behind_its_answer() {
    let limits =
        ConnectionLimits { life_max: Duration::from_millis(50), ..ConnectionLimits::default() };
    let running = start_within(limits, 1, Access::default());
    let socket = StdStream::connect(running.address).unwrap();
    await_metric(&running, &format!("{CUT}{{reason=\"life\"}}"), 1.0);
    assert_eq!(rest(socket), b"");
    assert_eq!(running.ask("GET", "/livez").status, 200);
}

#[test]
fn a_probe_is_answered_where_every_place_is_held() {
    let limits = ConnectionLimits { places_max: 4, ..ConnectionLimits::default() };
    let running = start_within(limits, 1, Access::default());
    let held: Vec<_> = (0..12)
        .map(|_| {
            let mut socket = StdStream::connect(running.address).unwrap();
            socket.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
            socket
        })
        .collect();
    for path in ["/livez", "/metrics", "/version"] {
        assert_eq!(running.ask("GET", path).status, 200, "{path}");
    }
    await_metric(&running, &format!("{CUT}{{reason=\"place\"}}"), 9.0);
    let ended = held.into_iter().take(9).map(rest).filter(Vec::is_empty).count();
    assert_eq!(ended, 9, "those that waited longest made room");
}

#[test]
fn with_a_token_only_probes_are_answered_without_it() {
    let token = Some(AccessToken::new("0123456789abcdef").unwrap());
    let running = start_with(1, Access { token: token.clone(), ..Access::default() });
    let paths = ["/", "/metrics", "/version", "/v1/stream", "/v1/forecasts/A", "/nothing"];
    for path in paths {
        let reply = running.ask("GET", path);
        assert_eq!(problem(&reply), is(401, "no_token"), "{path}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{path}");
        let with = |token: &str| {
            let header = format!("Authorization: Bearer {token}\r\n");
            running.ask_with("GET", path, &header).status
        };
        assert_eq!(with("0123456789abcdeF"), 401, "{path}");
        assert_ne!(with("0123456789abcdef"), 401, "{path}");
    }
    assert_eq!(running.ask("GET", "/livez").status, 200);
    assert_eq!(running.ask("GET", "/readyz").status, 503);

    let open = start_with(1, Access { token, open_metrics: true, ..Access::default() });
    let status = |path| open.ask("GET", path).status;
    assert_eq!([status("/metrics"), status("/version"), status("/")], [200, 200, 401]);
    assert_eq!(open.metric("tickcast_stream_refused_total"), 1.0);
}

#[tokio::test]
async fn a_subscriber_beyond_the_places_is_refused() {
    within(async {
        let running = start(1);
        let _first = running.connect("").await.unwrap();
        let (status, body) = refusal(running.connect("").await);
        assert_eq!(status, 503);
        assert!(body.contains("\"code\":\"too_many_subscribers\""), "{body}");
        assert_eq!(running.metric("tickcast_stream_refused_total"), 1.0);
    })
    .await;
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_refused() {
    within(async {
        let running = start(2);
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
            let (status, _) = refusal(running.connect_from("", Some(origin)).await);
            assert_eq!(status, 403, "{origin}");
        }
        let own = format!("http://{}", running.address);
        let twice = format!("Origin: {own}\r\nOrigin: http://evil.example\r\n");
        assert_eq!(running.ask_with("GET", "/v1/stream", &twice).status, 403);
        assert_eq!(running.metric("tickcast_stream_refused_total"), 4.0);
        let _own = running.connect_from("", Some(&own)).await.unwrap();
        let _allowed = running.connect_from("", Some("https://charts.example.com")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stop_lets_subscribers_have_what_is_in_the_ring() {
    within(async {
        let running = start(1);
        let mut client = running.connect("").await.unwrap();
        // A connection without a request must not hold up the end.
        let _idle = StdStream::connect(running.address).unwrap();
        for index in 0..500 {
            running.publish("A", &index.to_string());
        }
        running.stop.send(true).unwrap();
        for index in 0..500 {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text(index.to_string()));
        }
        match client.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!((frame.code, &*frame.reason), (CloseCode::Away, "going away"));
            }
            other => panic!("expected a close, got {other:?}"),
        }
        while client.next().await.is_some() {}
        running.thread.join().unwrap();
        assert!(StdStream::connect(running.address).is_err());
    })
    .await;
}

#[test]
fn a_stop_without_its_sender_is_a_stop() {
    let running = start(1);
    drop(running.stop);
    running.thread.join().unwrap();
}

#[test]
fn a_taken_address_is_named() {
    let first = HttpServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = HttpServer::bind(first.local_addr()).err().unwrap();
    assert!(
        error.to_string().starts_with(&format!("listen on {}: ", first.local_addr())),
        "{error}"
    );
}
