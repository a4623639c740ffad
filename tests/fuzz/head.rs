//! The head of an HTTP request, at a server on loopback that has a token.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::Registry;
use tickcast::adapters::http::access::{Access, AccessToken};
use tickcast::adapters::http::{HttpServer, HttpState};
use tickcast::adapters::stream::{StreamHub, StreamId, StreamLimits, StreamMetrics};
use tickcast::core::domain::Symbol;
use tickcast::ops::readiness::Readiness;
use tokio::sync::watch;

/// What everybody who asks for more than a probe must show.
const TOKEN: &str = "0123456789abcdef";

/// How long an answer may take before it counts as none. No law depends on it but that there is
/// an end.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The server of this process; it ends with it.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    address: SocketAddr,
    /// Holds the server up.
    _stop: watch::Sender<bool>,
}

impl Server {
    fn start() -> Self {
        let registry = Registry::new();
        let metrics = StreamMetrics::register(&registry).expect("a new registry takes them");
        let limits = StreamLimits {
            subscribers_max: 64,
            subscribers_per_address_max: 64,
            lag_records_max: 16,
            symbols_max: 16,
        };
        let hub = StreamHub::new(limits, StreamId(1), metrics);
        hub.publish(&Symbol::new("AAPL").expect("a symbol"), "{\"symbol\":\"AAPL\"}".into());
        let token = Some(AccessToken::new(TOKEN).expect("long enough"));
        let state = HttpState {
            registry,
            readiness: Readiness::always("ready"),
            liveness: Readiness::always("alive"),
            stream: Some(hub),
            symbols: None,
            version: None,
            access: Access { token, ..Access::default() },
            models: None,
        };
        let server = HttpServer::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = server.local_addr();
        let (stop, stopped) = watch::channel(false);
        // The thread ends with the process.
        drop(server.spawn(state, stopped).expect("a thread more"));
        Self { address, _stop: stop }
    }
}

/// Whatever is sent, every answer is one of HTTP, and without the token nothing but a probe says
/// anything.
pub(super) fn head(data: &[u8]) -> bool {
    let answers = ask(data);
    let shows_token = data.windows(TOKEN.len()).any(|bytes| bytes == TOKEN.as_bytes());
    let text = String::from_utf8_lossy(&answers);
    if text.is_empty() {
        return false;
    }
    assert!(text.starts_with("HTTP/1."), "{text}");
    let status = text.get(9..12).and_then(|status| status.parse::<u16>().ok());
    let status = status.expect("a status");
    assert!((101..=599).contains(&status) && status != 500, "{text}");
    let taken = (100..300).contains(&status);
    if taken && !shows_token {
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        // An answer to a further request may follow.
        let body = body.split("HTTP/1.").next().unwrap_or_default();
        assert!(["", "ok\n", "ready\n"].contains(&body), "told without a token: {text}");
    }
    taken
}

/// What the server answers until it closes.
fn ask(data: &[u8]) -> Vec<u8> {
    let mut socket = match TcpStream::connect(SERVER.address) {
        Ok(socket) => socket,
        // Every port was used within the last second; the next input finds one.
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Vec::new(),
        Err(error) => panic!("the server does not answer: {error}"),
    };
    socket.set_read_timeout(Some(ANSWER_MAX)).expect("a limit above zero");
    socket.set_nodelay(true).expect("a socket takes options");
    // A server that has refused the head reads no more of it.
    let sent = socket.write_all(data).and_then(|()| socket.shutdown(Shutdown::Write));
    let mut answers = Vec::new();
    match socket.read_to_end(&mut answers) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}, sent: {sent:?}, so far {answers:?}"),
    }
    answers
}
