//! Hostile peers: requests and frames that no honest client sends, and floods of connections. One
//! daemon serves throughout.

mod feed;
mod floods;
mod frames;
mod requests;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use self::feed::HostileFeed;
use crate::support::bundle::sealed;
use crate::support::process::Daemon;

/// What the issue of this suite asks for.
const CASES_MIN: usize = 120;

const RESIDENT_BYTES_MAX: f64 = 300e6;

/// How long an answer may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request and reads everything until the end.
fn exchange(address: &str, case: &requests::Request) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have had enough before all of it is sent.
    let _ = socket.write_all(&case.bytes);
    let mut answer = match case.end {
        requests::End::AtOnce => Vec::new(),
        requests::End::BehindAnswer => read_head(&mut socket),
        requests::End::ByServer => return read_to_end(&mut socket),
    };
    let _ = socket.shutdown(Shutdown::Write);
    answer.extend(read_to_end(&mut socket));
    answer
}

/// Everything up to the end of an answer's head. A client that closes its half earlier may get no
/// answer: a server may drop its request.
fn read_head(socket: &mut TcpStream) -> Vec<u8> {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") && matches!(socket.read(&mut byte), Ok(1)) {
        answer.push(byte[0]);
    }
    answer
}

/// Everything until the end, which may be a reset.
fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no end after {PATIENCE:?}"),
        _ => answer,
    }
}

/// The request that opens the stream.
fn handshake(address: &str) -> String {
    format!(
        "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The status codes of all answers in what a server sent.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let heads = text.match_indices("HTTP/1.").map(|(at, head)| &text[at + head.len()..]);
    heads.map(|rest| rest[2..5].parse().unwrap()).collect()
}

#[test]
fn the_daemon_serves_whatever_its_peers_send() {
    let sealed = sealed(7, 4, &[2]);
    let feed = HostileFeed::start();
    let settings = "source.backoff_seconds_max = 1\nhttp.token = ''\n\
                    http.allowed_origins = ['https://charts.example.com']";
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), settings);
    let mut resident = 0.0f64;
    let mut look = |index: usize, name: &str| {
        assert_eq!(daemon.get("/livez"), (200, "ok\n".to_owned()), "after {name}");
        if index.is_multiple_of(10) {
            resident = resident.max(daemon.metric("process_resident_memory_bytes"));
        }
    };
    let (requests, frames) = (requests::all(daemon.address()), frames::all());
    let mut wrong = Vec::new();
    for (index, case) in requests.iter().enumerate() {
        let found = statuses(&exchange(daemon.address(), case));
        // A second answer is one to a request that was hidden in the first.
        let fits = match found[..] {
            [] => case.end == requests::End::AtOnce,
            [status] => case.expected.contains(&status),
            _ => false,
        };
        if !fits {
            wrong.push(format!("{}: {found:?} is none of {:?}", case.name, case.expected));
        }
        look(index, &case.name);
    }
    for (index, case) in frames.iter().enumerate() {
        let code = frames::close_code(daemon.address(), case);
        if code != case.code {
            wrong.push(format!("{}: {code:?} is not {:?}", case.name, case.code));
        }
        look(index, case.name);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let of_feed = feed.await_all();
    daemon.await_metric("tickcast_ticks_total", of_feed as f64);
    look(0, "the feed");
    let (of_requests, of_frames) = (requests.len(), frames.len());
    let resident = resident.max(daemon.metric("process_resident_memory_bytes"));
    println!(
        "{of_requests} requests, {of_frames} frames of subscribers, {of_feed} of a feed; at most \
         {resident} bytes resident"
    );
    assert!(of_requests + of_frames + of_feed >= CASES_MIN);
    assert_eq!((of_requests, of_frames, of_feed), (requests::COUNT, frames::COUNT, feed::COUNT));
    assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes");
    let refused = |reason: &str| {
        daemon.metric(&format!("tickcast_http_requests_refused_total{{reason=\"{reason}\"}}"))
    };
    assert!(refused("malformed") >= 40.0, "{}", refused("malformed"));
    assert!(refused("host") >= 15.0, "{}", refused("host"));
    assert!(refused("origin") >= 5.0, "{}", refused("origin"));
    assert_eq!(daemon.metric("tickcast_stream_subscribers"), 0.0, "every place was given up");
    assert!(daemon.stop().status.success());
}
