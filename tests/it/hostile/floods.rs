//! Floods: one client that takes everything there is, while probes and metrics are asked for from
//! the same address; and signals that mean nothing to a daemon.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{PATIENCE, handshake, statuses};
use crate::support::bundle::{SealedBundle, sealed};
use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, eventually};

/// More than there are places.
const FLOOD: usize = 300;

const PLACES: usize = 256;

fn daemon(sealed: &SealedBundle, feed: &ScriptedFeed) -> Daemon {
    Daemon::start(sealed.root.path(), "random", feed.url(), "")
}

fn connect(daemon: &Daemon) -> TcpStream {
    let socket = TcpStream::connect(daemon.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks for probes and metrics a few times, and returns the longest time that one took.
fn assert_served(daemon: &Daemon, meanwhile: &str) -> Duration {
    let ask = |path: &str| {
        let begun = Instant::now();
        let (status, body) = daemon.get(path);
        assert_eq!(status, 200, "{path} during {meanwhile}: {body}");
        begun.elapsed()
    };
    let paths = ["/livez", "/readyz", "/metrics"];
    paths.iter().cycle().take(15).map(|path| ask(path)).max().unwrap()
}

fn cut(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metric(&format!("tickcast_http_connections_cut_total{{reason=\"{reason}\"}}"))
}

/// Reads one answer, whose length its head tells.
fn read_answer(socket: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    statuses(text.as_bytes())[0]
}

#[test]
fn one_client_never_takes_all_probes() {
    let (sealed, feed) = (sealed(7, 4, &[2]), ScriptedFeed::start());
    let daemon = daemon(&sealed, &feed);
    eventually("ready", || (daemon.get("/readyz").0 == 200).then_some(()));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address());
    let spare = (FLOOD - PLACES) as f64;

    let mut polite: Vec<_> = (0..FLOOD).map(|_| connect(&daemon)).collect();
    let wanted = request("/v1/symbols");
    polite.iter_mut().for_each(|socket| drop(socket.write_all(wanted.as_bytes())));
    // The newest have their places for sure, and their answers.
    polite[FLOOD - 100..].iter_mut().for_each(|socket| assert_eq!(read_answer(socket), 200));
    let keep_alives = assert_served(&daemon, "polite keep-alives");
    assert!(cut(&daemon, "place") >= spare, "{}", cut(&daemon, "place"));
    // A client whose connection stays can go on using it.
    polite[FLOOD - 1].write_all(wanted.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut polite[FLOOD - 1]), 200);
    drop(polite);

    let before = cut(&daemon, "place");
    let half: Vec<_> = (0..FLOOD)
        .map(|_| {
            let mut socket = connect(&daemon);
            drop(socket.write_all(b"GET /livez HTTP/1.1\r\nHost: loc"));
            socket
        })
        .collect();
    let halves = assert_served(&daemon, "half-sent heads");
    assert!(cut(&daemon, "place") > before);
    drop(half);

    // Each asks for more than all buffers between us and it hold, and reads nothing.
    let before = cut(&daemon, "place");
    let wanted = request("/metrics").repeat(2_000);
    let unread: Vec<_> = (0..FLOOD)
        .map(|_| {
            let mut socket = connect(&daemon);
            socket.set_nonblocking(true).unwrap();
            match socket.write(wanted.as_bytes()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => assert!(written.unwrap() > 0),
            }
            socket
        })
        .collect();
    let readers = assert_served(&daemon, "readers that never read");
    assert!(cut(&daemon, "place") > before);
    let resident = daemon.metric("process_resident_memory_bytes");
    assert!(resident < super::RESIDENT_BYTES_MAX, "{resident} bytes");
    drop(unread);
    println!(
        "the longest answers: {keep_alives:?} among keep-alives, {halves:?} among half-sent heads, \
         {readers:?} among readers that never read; {resident} bytes resident"
    );
    assert_eq!(cut(&daemon, "full"), 0.0, "no probe was turned away");
    assert!(daemon.stop().status.success());
}

/// Limits the file descriptors of a running process.
fn limit_descriptors(daemon: &Daemon, count: u64) {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--nofile={count}:")).args(["--pid", &daemon.id().to_string()]);
    assert!(prlimit.status().unwrap().success());
}

/// Asks for the stream, and keeps the connection where there is one.
fn subscribe(daemon: &Daemon) -> Option<TcpStream> {
    let mut socket = connect(daemon);
    socket.write_all(handshake(daemon.address()).as_bytes()).unwrap();
    let mut first = [0; 12];
    if socket.read_exact(&mut first).is_err() {
        // It had to make room for another connection.
        return None;
    }
    match statuses(&[&first[..], b" "].concat())[..] {
        [101] => Some(socket),
        [503] => None,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn probes_are_answered_where_no_file_descriptor_is_left() {
    let (sealed, feed) = (sealed(7, 4, &[2]), ScriptedFeed::start());
    let daemon = daemon(&sealed, &feed);
    eventually("ready", || (daemon.get("/readyz").0 == 200).then_some(()));
    let begun = Instant::now();
    let room = 10;
    limit_descriptors(&daemon, daemon.metric("process_open_fds") as u64 + room);

    let half: Vec<_> = (0..30)
        .map(|_| {
            let mut socket = connect(&daemon);
            socket.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
            socket
        })
        .collect();
    assert_served(&daemon, "half-sent heads without descriptors");
    assert!(cut(&daemon, "descriptors") > 0.0);
    drop(half);

    // Subscribers are not cut, so they take everything but the spare descriptor.
    let mut subscribers = Vec::new();
    eventually("a subscriber beyond the descriptors", || {
        let subscriber = subscribe(&daemon);
        let is_refused = subscriber.is_none();
        subscribers.extend(subscriber);
        assert!(subscribers.len() <= room as usize + 2, "more than there are descriptors");
        // Before, descriptors were short because of the half-sent heads.
        (is_refused && subscribers.len() >= room as usize - 2).then_some(())
    });
    assert_served(&daemon, "subscribers that take all descriptors");
    let metrics = daemon.metrics();
    let share = metrics["process_open_fds"] / metrics["process_max_fds"];
    assert!(share > 0.8, "an alert must see it: {share}");
    assert_eq!(metrics["tickcast_stream_subscribers"], subscribers.len() as f64);
    let failed = metrics["tickcast_http_accepts_failed_total"];
    // The shortest pause between two attempts.
    let tried = begun.elapsed().as_secs_f64() / 0.002;
    assert!(failed >= 1.0 && failed <= tried, "{failed} attempts in {:?}", begun.elapsed());

    limit_descriptors(&daemon, 1024);
    eventually("descriptors again", || subscribe(&daemon));
    let ended = daemon.stop();
    assert!(ended.status.success());
    let failures = ended
        .log
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("cannot accept connections"));
    let minutes = begun.elapsed().as_secs() as usize / 60;
    assert!((1..=2 + minutes).contains(&failures.count()), "a line a minute: {:#?}", ended.log);
}

#[test]
fn signals_that_mean_nothing_do_nothing_and_the_first_line_says_what_runs() {
    let (sealed, feed) = (sealed(7, 4, &[2]), ScriptedFeed::start());
    let daemon = daemon(&sealed, &feed);
    for _ in 0..20 {
        for signal in ["-USR1", "-USR2"] {
            let sent = Command::new("kill").args([signal, &daemon.id().to_string()]).status();
            assert!(sent.unwrap().success());
        }
        assert_eq!(daemon.get("/livez").0, 200);
    }
    let address = format!("http://{}", daemon.address());
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "drained in order");
    let lines: Vec<_> = ended.log.iter().filter(|line| line["message"] == "starting").collect();
    let [line] = lines[..] else { panic!("{:#?}", ended.log) };
    for (field, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("model", "random"),
        ("model_version", "1"),
        ("mode", "sliding"),
        ("source", "websocket"),
        ("http", &address),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line["shards"], 1);
    assert!(line["config"].as_str().unwrap().ends_with("/tickcast.toml"), "{line}");
    let sinks = line["sinks"].as_str().unwrap();
    assert!(sinks.starts_with("lines=") && sinks.ends_with("/lines.jsonl stream"), "{line}");
}
