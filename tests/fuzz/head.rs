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
            scores: None,
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

/// Whatever is sent, every answer is one of HTTP; without the token nothing but a probe says
/// anything; and what is no request is not answered as one.
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
    assert!(!taken || is_request(data), "taken, and no request: {text}");
    if taken && !shows_token {
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        // An answer to a further request may follow.
        let body = body.split("HTTP/1.").next().unwrap_or_default();
        assert!(["", "ok\n", "ready\n"].contains(&body), "told without a token: {text}");
    }
    taken
}

/// Whether the bytes begin with the head of a request (RFC 9112), read without the server's
/// libraries. A line may end without a carriage return, and empty lines may come before.
fn is_request(data: &[u8]) -> bool {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = data.iter().position(|byte| !is_end(byte)).unwrap_or(data.len());
    let mut lines = data[start..].split_inclusive(|byte| *byte == b'\n').map_while(|line| {
        let line = line.strip_suffix(b"\n")?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    });
    let first: Vec<_> = lines.next().unwrap_or_default().split(|byte| *byte == b' ').collect();
    let [method, target, version] = first[..] else { return false };
    let is_old = version == b"HTTP/1.0";
    if !is_name(method) || target.is_empty() || !(is_old || version == b"HTTP/1.1") {
        return false;
    }
    if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return false;
    }
    let (mut hosts, mut lengths) = (0, Vec::new());
    for line in lines {
        if line.is_empty() {
            let lengths_agree = lengths.windows(2).all(|pair| pair[0] == pair[1]);
            // Only a client of the older version may leave its host out.
            return lengths_agree && (hosts == 1 || is_old && hosts == 0);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_control = |byte: &u8| *byte < b' ' && *byte != b'\t' || *byte == 0x7f;
        if !is_name(name) || value.iter().any(is_control) {
            return false;
        }
        hosts += usize::from(name.eq_ignore_ascii_case(b"host"));
        if name.eq_ignore_ascii_case(b"content-length") {
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return false;
            }
            lengths.push(value);
        }
    }
    false
}

/// Whether this may be a method or the name of a header.
fn is_name(bytes: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_part)
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
