//! A real daemon with a WebSocket feed and a subscriber, for the benches that measure from tick to
//! forecast.
//!
//! The feed and the subscriber are threads of the bench. A latency counts from right before a tick
//! is written to when its forecast was read.

pub(crate) mod threads;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, client};

pub(crate) const SYMBOLS: u64 = 100;
/// More than a window and its features need.
const WARM_UP_ROUNDS: u64 = 80;
/// How long nothing may come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon and the feed that it listens to.
pub(crate) struct Rig {
    daemon: Child,
    pub(crate) address: String,
    pub(crate) feed: WebSocket<TcpStream>,
    pub(crate) next: u64,
    _folder: tempfile::TempDir,
}

pub(crate) fn tick(index: u64) -> String {
    let (symbol, price) = (index % SYMBOLS, 100.0 + (index as f64 * 0.37).sin());
    // A day a round, which is what the model is made for.
    let time = (index / SYMBOLS) * 86_400_000 + symbol;
    let (low, high) = (price - 1.0, price + 1.0);
    let rest = format!(r#""close":{price},"volume":1000000"#);
    format!(
        r#"{{"symbol":"S{symbol}","time":{time},"open":{low},"high":{high},"low":{low},{rest}}}"#
    )
}

/// What a tick and its forecast have in common.
pub(crate) fn key(symbol: u64, millis: u64) -> u64 {
    (millis / 86_400_000) * SYMBOLS + symbol
}

impl Rig {
    /// A daemon of the models of a folder, and further settings.
    pub(crate) fn start(root: &Path, more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tickcast.toml");
        let text = format!(
            "source.url = 'ws://{}'\nmodel.root = '{}'\n\
             http.bind = '127.0.0.1:0'\nlog.level = 'warn'\nsource.accept_times = true\n{more}\n",
            listener.local_addr().unwrap(),
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let told = folder.path().join("address");
        // Another build beside this one, where a row is to be compared with an earlier state.
        let program = std::env::var_os("TICKCAST");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_tickcast").into());
        let daemon = Command::new(program)
            .arg("serve")
            .arg("-c")
            .arg(&config)
            .arg("--address-file")
            .arg(&told)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let feed = accept(stream).unwrap();
        let address = std::fs::read_to_string(told).unwrap();
        let address = address.trim().strip_prefix("http://").unwrap().to_owned();
        Self { daemon, address, feed, next: 0, _folder: folder }
    }

    /// Fills every window.
    pub(crate) fn warm_up(&mut self) {
        for _ in 0..WARM_UP_ROUNDS * SYMBOLS {
            self.feed.write(Message::text(tick(self.next))).unwrap();
            self.next += 1;
        }
        self.feed.flush().unwrap();
        self.await_ticks(self.next);
        let is_done = |metrics: &HashMap<String, f64>| {
            let ends = ["steps_warming", "forecasts", "forecasts_withheld"];
            let sum: f64 = ends.map(|end| metrics[&format!("tickcast_{end}_total")]).iter().sum();
            sum >= metrics["tickcast_steps_total"]
        };
        while !is_done(&self.metrics()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every sample by its name and labels; those of several models also as their sum, under the
    /// name alone.
    pub(crate) fn metrics(&self) -> HashMap<String, f64> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let address = &self.address;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let mut samples = HashMap::new();
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            let Ok(value) = value.parse::<f64>() else { continue };
            samples.insert(name.to_owned(), value);
            if let Some((family, _)) = name.split_once("{model=") {
                *samples.entry(family.to_owned()).or_default() += value;
            }
        }
        samples
    }

    /// Posts a request and returns the body of its answer, which has to be good.
    pub(crate) fn post(address: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
        text
    }

    pub(crate) fn await_ticks(&self, count: u64) {
        while self.metrics()["tickcast_ticks_total"] < count as f64 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the daemon's threads have done so far.
    pub(crate) fn work(&self) -> BTreeMap<String, threads::Work> {
        threads::of(self.daemon.id())
    }

    /// Sends at a rate for so long; returns when each tick was written, by its key.
    pub(crate) fn send(&mut self, rate: u64, span: Duration) -> HashMap<u64, Instant> {
        let first = self.next;
        let times = pace(&mut self.feed, rate, span, &mut self.next);
        times.into_iter().enumerate().map(|(offset, at)| (first + offset as u64, at)).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Writes ticks when they are due, one message at a time, and those that are late at once.
pub(crate) fn pace(
    feed: &mut WebSocket<TcpStream>,
    rate: u64,
    span: Duration,
    next: &mut u64,
) -> Vec<Instant> {
    let begun = Instant::now();
    let count = rate * span.as_millis() as u64 / 1000;
    let mut times = Vec::with_capacity(count as usize);
    for index in 0..count {
        let due = begun + Duration::from_nanos(index * 1_000_000_000 / rate);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let text = tick(*next);
        *next += 1;
        times.push(Instant::now());
        feed.send(Message::text(text)).unwrap();
    }
    times
}

/// The key of the tick that a forecast stands on.
pub(crate) fn key_of(record: &[u8]) -> u64 {
    let record: serde_json::Value = serde_json::from_slice(record).unwrap();
    let symbol = record["symbol"].as_str().unwrap()[1..].parse().unwrap();
    let as_of = record["as_of"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    key(symbol, as_of.as_millisecond() as u64)
}

/// Reads messages until `count` have come; returns each with its time.
pub(crate) fn reader(url: String, count: u64) -> JoinHandle<Vec<(Instant, Message)>> {
    let address = url.trim_start_matches("ws://").split('/').next().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut socket, _) = client(url, stream).unwrap();
    std::thread::spawn(move || {
        let mut seen = Vec::with_capacity(count as usize);
        while seen.len() < count as usize {
            let message = socket.read().unwrap();
            if message.is_text() {
                seen.push((Instant::now(), message));
            }
        }
        seen
    })
}
