//! Requests that no honest client sends, each with the answers that are fine.

/// How many there are.
pub(super) const COUNT: usize = 167;

/// One request, as its bytes.
pub(super) struct Request {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The status codes that are fine.
    pub(super) expected: &'static [u16],
    pub(super) end: End,
}

/// How a connection comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing follows the request; an end without an answer is fine, too.
    AtOnce,
    /// Nothing follows once the answer is there.
    BehindAnswer,
    /// The server has to close by itself.
    ByServer,
}

const MALFORMED: &[u16] = &[400, 431, 505];
const TOO_LARGE: &[u16] = &[400, 414, 431];
/// A server may refuse it, or answer and close: whatever follows is not taken for a request.
const ONE_ANSWER: &[u16] = &[200, 400, 404, 405, 431, 501];

/// Every request, for the server at this address.
pub(super) fn all(address: &str) -> Vec<Request> {
    let groups = [
        malformed(),
        oversized(),
        smuggled(address),
        hosts(address),
        origins(address),
        methods(address),
        targets(address),
        handshakes(address),
    ];
    groups.into_iter().flatten().collect()
}

fn request(
    name: impl Into<String>,
    bytes: impl Into<Vec<u8>>,
    expected: &'static [u16],
) -> Request {
    let end = match expected {
        MALFORMED | TOO_LARGE => End::AtOnce,
        ONE_ANSWER => End::ByServer,
        _ => End::BehindAnswer,
    };
    Request { name: name.into(), bytes: bytes.into(), expected, end }
}

/// Heads that are not HTTP.
fn malformed() -> Vec<Request> {
    let host = "Host: localhost\r\n";
    let with = |header: &str| format!("GET /livez HTTP/1.1\r\n{host}{header}\r\n\r\n").into_bytes();
    let first = |line: &str| format!("{line}\r\n{host}\r\n").into_bytes();
    let binary = |header: &[u8]| {
        [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", header, b"\r\n\r\n"].concat()
    };
    [
        ("nothing", Vec::new()),
        ("noise", (0..=255).cycle().take(4_000).collect()),
        ("zeros", vec![0; 1_000]),
        ("line ends alone", b"\r\n\r\n\r\n\r\n".to_vec()),
        ("half a head", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX".to_vec()),
        ("half a line", b"GET /li".to_vec()),
        ("a method alone", first("GET")),
        ("no version", first("GET /livez")),
        ("an unknown version", first("GET /livez HTTP/9.9")),
        ("a version that needs frames", first("GET /livez HTTP/2.0")),
        ("a version in lower case", first("GET /livez http/1.1")),
        ("words behind the version", first("GET /livez HTTP/1.1 and more")),
        ("a blank before the method", first(" GET /livez HTTP/1.1")),
        ("a zero in the method", first("G\0T /livez HTTP/1.1")),
        ("a zero in the target", first("GET /li\0vez HTTP/1.1")),
        ("a blank in the target", first("GET /li vez HTTP/1.1")),
        ("a target without a slash", first("GET livez HTTP/1.1")),
        ("a target of another scheme", first("GET file:///etc/passwd HTTP/1.1")),
        ("a target without a host", first("GET http:///livez HTTP/1.1")),
        ("a header without a colon", with("nonsense")),
        ("a header without a name", with(": x")),
        ("a blank before the colon", with("X-A : x")),
        ("a blank in a name", with("X A: x")),
        ("a folded header", with("X-A: x\r\n y: z")),
        ("a zero in a value", binary(b"X-A: a\0b")),
        ("a carriage return in a value", binary(b"X-A: a\rb")),
        ("a delete sign in a value", binary(b"X-A: a\x7fb")),
        ("a name beyond ASCII", binary("X-Ä: a".as_bytes())),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random".to_vec()),
        ("an SSH greeting", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("a proxy's preface", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ]
    .into_iter()
    .map(|(name, bytes)| request(name, bytes, MALFORMED))
    .collect()
}

/// Heads that take too much room.
fn oversized() -> Vec<Request> {
    let long = "x".repeat(20 << 10);
    let head = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
    };
    [
        ("a long target", head(&format!("/{long}"), "")),
        ("a long query", head(&format!("/v1/symbols?symbols={long}"), "")),
        ("a long value", head("/livez", &format!("X-A: {long}\r\n"))),
        ("a long name", head("/livez", &format!("{long}: x\r\n"))),
        ("a long method", format!("{long} /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        ("a long host", head("/livez", "").replace("localhost", &long)),
        ("a hundred and one headers", head("/livez", &"X-A: x\r\n".repeat(101))),
        ("thousands of headers", head("/livez", &"A: b\r\n".repeat(5_000))),
        ("a megabyte of headers", head("/livez", &"A: b\r\n".repeat(170_000))),
        ("a line that never ends", "GET /".to_owned() + &"x".repeat(1 << 20)),
        ("blank lines for ever", "\r\n".repeat(1 << 19)),
    ]
    .into_iter()
    .map(|(name, bytes)| request(name, bytes, TOO_LARGE))
    .collect()
}

/// Requests that hide another one where a proxy and a server may disagree about their end.
fn smuggled(address: &str) -> Vec<Request> {
    let hidden = format!("GET /version HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let headers = [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5 6",
        "Content-Length: five",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551615",
        "Content-Length: 5",
        "Content-Length: 4096",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: CHUNKED",
        "Expect: 100-continue\r\nContent-Length: 5",
    ];
    let mut requests: Vec<_> = headers
        .iter()
        .map(|header| {
            let head = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\n{header}\r\n\r\n");
            request(*header, format!("{head}0\r\n\r\n{hidden}"), ONE_ANSWER)
        })
        .collect();
    let chunks = [
        "ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;a=b\nhello\r\n0\r\n\r\n",
        "3\r\nhello\r\n0\r\n\r\n",
        "0\r\nX-Trailer: a\r\nContent-Length: 9\r\n\r\n",
        "zz\r\n",
    ];
    requests.extend(chunks.iter().map(|chunks| {
        let header = "Transfer-Encoding: chunked";
        let head = format!("POST /livez HTTP/1.1\r\nHost: {address}\r\n{header}\r\n\r\n");
        request(format!("chunks {chunks:?}"), format!("{head}{chunks}{hidden}"), ONE_ANSWER)
    }));
    let old = format!("GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}");
    requests.push(request("chunks of an old client", old, ONE_ANSWER));
    requests
}

/// Hosts that are none, several, or another's.
fn hosts(address: &str) -> Vec<Request> {
    let of = |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")
    };
    let rebound = "evil.example:9630";
    let reload =
        format!("POST /v1/reload HTTP/1.1\r\nHost: {rebound}\r\nConnection: close\r\n\r\n");
    let absolute = format!("http://{address}/version");
    let wrong: [(&str, String); 14] = [
        ("no host", of("/version", &[])),
        ("a probe without a host", of("/livez", &[])),
        ("two hosts", of("/version", &[address, rebound])),
        ("the same host twice", of("/version", &[address, address])),
        ("an empty host", of("/version", &[""])),
        ("a host with a user", of("/version", &[&format!("user@{address}")])),
        ("a host with a path", of("/version", &[&format!("{address}/x")])),
        ("a host with a scheme", of("/version", &[&absolute])),
        ("a host with a blank", of("/version", &["local host"])),
        ("a host with two ports", of("/version", &["localhost:1:2"])),
        ("a port that is none", of("/version", &["localhost:99999"])),
        ("a list of hosts", of("/version", &["localhost, evil.example"])),
        ("a target of another host", of("http://evil.example/version", &[address])),
        ("a target of ours for another host", of(&absolute, &[rebound])),
    ];
    let foreign = [
        ("a name that points here", of("/version", &[rebound])),
        ("metrics under a foreign name", of("/metrics", &[rebound])),
        ("forecasts under a foreign name", of("/v1/forecasts", &[rebound])),
        ("a reload under a foreign name", reload),
        ("a name that begins like ours", of("/version", &["localhost.evil.example"])),
        ("a name that begins like an address", of("/version", &["127.0.0.1.evil.example"])),
        ("a whole target under a foreign name", of("http://evil.example/", &["evil.example"])),
        ("another machine's address", of("/version", &["192.0.2.1:9630"])),
        ("a number that means loopback", of("/version", &["2130706433"])),
    ];
    let wrong = wrong.into_iter().map(|(name, bytes)| request(name, bytes, &[400]));
    wrong.chain(foreign.into_iter().map(|(name, bytes)| request(name, bytes, &[421]))).collect()
}

/// Web pages of strangers.
fn origins(address: &str) -> Vec<Request> {
    let from = |method: &str, path: &str, origins: &[&str]| {
        let origins: String =
            origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{origins}\r\n")
    };
    let own = format!("http://{address}");
    [
        ("a stranger's reload", from("POST", "/v1/reload", &["http://evil.example"])),
        ("a reload of nowhere", from("POST", "/v1/reload", &["null"])),
        ("a reload of two origins", from("POST", "/v1/reload", &[&own, "http://evil.example"])),
        ("a stranger's stream", from("GET", "/v1/stream", &["http://evil.example"])),
        ("a stream of a file", from("GET", "/v1/stream", &["file://"])),
        ("a stream of another port", from("GET", "/v1/stream", &["http://127.0.0.1:1"])),
        ("a stream of two origins", from("GET", "/v1/stream", &[&own, &own])),
    ]
    .into_iter()
    .map(|(name, bytes)| request(name, bytes, &[403]))
    .collect()
}

/// Methods that a path does not take.
fn methods(address: &str) -> Vec<Request> {
    let tried = [
        ("POST", "/livez"),
        ("PUT", "/metrics"),
        ("DELETE", "/v1/stream"),
        ("PATCH", "/v1/models"),
        ("TRACE", "/"),
        ("GET", "/v1/reload"),
        ("PROPFIND", "/v1/forecasts"),
        ("get", "/livez"),
        ("X", "/v1/symbols"),
    ];
    let not_allowed = tried.into_iter().map(|(method, path)| {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        request(format!("{method} {path}"), head, &[405])
    });
    let connect = format!("CONNECT evil.example:443 HTTP/1.1\r\nHost: {address}\r\n\r\n");
    not_allowed.chain([request("a tunnel", connect, &[400, 404, 405])]).collect()
}

/// Paths and parameters that mean something else than they say.
fn targets(address: &str) -> Vec<Request> {
    let of = |target: &str, expected| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let name: String = target.chars().take(60).collect();
        request(name, head, expected)
    };
    let many = vec!["A"; 2_000].join(",");
    let too_many: String = (0..1_025).map(|index| format!("&symbol=S{index}")).collect();
    let long = "A".repeat(257);
    let missing: &[&str] = &[
        "//livez",
        "/livez/",
        "/LIVEZ",
        "/%6civez",
        "/v1/../metrics",
        "/v1/%2e%2e/metrics",
        "/../../etc/passwd",
        "/livez%00",
        "/v1/forecasts/%2e%2e%2fmetrics",
        "/v1/forecasts/A/../../metrics",
        "/v1/forecasts/%25zz",
        "/.well-known/x",
    ];
    let wrong = [
        "/v1/forecasts/",
        "/v1/forecasts/%",
        "/v1/forecasts/%zz",
        "/v1/forecasts/%ff",
        "/v1/forecasts/%00",
        "/v1/forecasts/A%0d%0aX-Injected:%20yes",
        &format!("/v1/forecasts/{long}"),
        "/v1/forecasts?limit=1001",
        "/v1/forecasts?after=%ff",
        "/v1/symbols?limit=0",
        "/v1/symbols?limit=-1",
        "/v1/symbols?limit=1e9",
        "/v1/symbols?symbol=%00",
        "/v1/symbols?symbols=,,,",
        "/v1/symbols?x=<script>",
        &format!("/v1/symbols?limit=1{too_many}"),
        "/v1/stream?after=1:2:3",
        "/v1/stream?envelope=1",
        "/v1/stream?symbols=%c3%28",
    ];
    let harmless = ["/livez?x=%00", "/v1/symbols?&&&", &format!("/v1/symbols?symbols={many}")];
    let missing = missing.iter().map(|target| of(target, &[404]));
    let wrong = wrong.iter().map(|target| of(target, &[400]));
    missing.chain(wrong).chain(harmless.iter().map(|target| of(target, &[200, 400]))).collect()
}

/// Handshakes that are not whole.
fn handshakes(address: &str) -> Vec<Request> {
    let good = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let with = |method: &str, version: &str, change: &dyn Fn(&str) -> String| {
        let headers: String = good.iter().map(|header| change(header)).collect();
        format!("{method} /v1/stream HTTP/{version}\r\nHost: {address}\r\n{headers}\r\n")
    };
    let line = |header: &str| format!("{header}\r\n");
    let without = |name: &'static str| {
        with("GET", "1.1", &|header| {
            if header.starts_with(name) { String::new() } else { line(header) }
        })
    };
    let instead = |name: &'static str, value: &'static str| {
        with("GET", "1.1", &|header| {
            if header.starts_with(name) { line(&format!("{name}: {value}")) } else { line(header) }
        })
    };
    [
        ("without a key", without("Sec-WebSocket-Key"), &[426][..]),
        ("without a version", without("Sec-WebSocket-Version"), &[426]),
        ("without an upgrade", without("Upgrade"), &[426]),
        ("without a connection", without("Connection"), &[426]),
        ("an old version", instead("Sec-WebSocket-Version", "8"), &[426]),
        ("a version that is none", instead("Sec-WebSocket-Version", "13, 8"), &[426]),
        ("another protocol", instead("Upgrade", "h2c"), &[426]),
        ("a connection that stays", instead("Connection", "keep-alive"), &[426]),
        ("by POST", with("POST", "1.1", &line), &[405]),
        ("by HEAD", with("HEAD", "1.1", &line), &[426]),
        ("of an old client", with("GET", "1.0", &line), &[400, 426]),
        ("with a body", instead("Sec-WebSocket-Version", "13\r\nContent-Length: 5"), &[400]),
        ("with chunks", instead("Upgrade", "websocket\r\nTransfer-Encoding: chunked"), &[400]),
    ]
    .into_iter()
    .map(|(name, bytes, expected)| request(format!("a handshake {name}"), bytes, expected))
    .collect()
}
