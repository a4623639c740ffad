//! From a WebSocket tick to its WebSocket forecast, on loopback, through the real daemon.
//!
//! Run by `make bench-stream`; `BENCH_SECONDS` is the length of each measurement. The feed and the
//! subscriber are threads of this process: a latency counts from right before the tick is written
//! to when its forecast was read. A relay that answers every tick with one message of a forecast's
//! size takes the daemon's place for the null row, which is the cost of the harness itself.
//! The last rows have a hundred subscribers, of which one stops reading. A rate that is not reached
//! has no latency: what is measured then is the length of the queue, so the row says the rate that
//! was reached instead.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench that cannot run says why by failing, and it reads the clock"
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, connect};

const SYMBOLS: u64 = 100;
/// More than a window and its features need.
const WARM_UP_ROUNDS: u64 = 80;
const RATES: [u64; 3] = [1_000, 5_000, 20_000];
/// What a forecast takes on the wire, for the relay.
const FORECAST_BYTES: usize = 480;
const SUBSCRIBERS: usize = 100;
const SUBSCRIBED_RATE: u64 = 200;
/// The share of a rate that counts as reached.
const SUSTAINED_MIN: f64 = 0.98;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon and the feed that it listens to.
struct Rig {
    daemon: Child,
    address: String,
    feed: WebSocket<TcpStream>,
    next: u64,
    _folder: tempfile::TempDir,
}

fn tick(index: u64) -> String {
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
fn key(symbol: u64, millis: u64) -> u64 {
    (millis / 86_400_000) * SYMBOLS + symbol
}

impl Rig {
    fn start(model: &str, more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tickcast.toml");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let text = format!(
            "source.url = 'ws://{}'\nmodel.root = '{}'\nmodel.name = '{model}'\n\
             http.bind = '127.0.0.1:0'\nlog.level = 'warn'\nsource.accept_times = true\n{more}\n",
            listener.local_addr().unwrap(),
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let told = folder.path().join("address");
        let daemon = Command::new(env!("CARGO_BIN_EXE_tickcast"))
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
    fn warm_up(&mut self) {
        for _ in 0..WARM_UP_ROUNDS * SYMBOLS {
            self.feed.write(Message::text(tick(self.next))).unwrap();
            self.next += 1;
        }
        self.feed.flush().unwrap();
        self.await_ticks(self.next);
        let is_done = |metrics: &HashMap<String, f64>| {
            let sum = metrics["tickcast_steps_warming_total"] + metrics["tickcast_forecasts_total"];
            sum >= metrics["tickcast_steps_total"]
        };
        while !is_done(&self.metrics()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn metrics(&self) -> HashMap<String, f64> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let address = &self.address;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(sample).collect()
    }

    fn await_ticks(&self, count: u64) {
        while self.metrics()["tickcast_ticks_total"] < count as f64 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends at a rate for so long; returns when each tick was written, by its key.
    fn send(&mut self, rate: u64, span: Duration) -> HashMap<u64, Instant> {
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
fn pace(
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
fn key_of(record: &[u8]) -> u64 {
    let record: serde_json::Value = serde_json::from_slice(record).unwrap();
    let symbol = record["symbol"].as_str().unwrap()[1..].parse().unwrap();
    let as_of = record["as_of"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    key(symbol, as_of.as_millisecond() as u64)
}

/// Nearest ranks in microseconds: p50, p99, p99.9, max, and how many; or that the rate was not
/// reached. `passes` are when each tick was written and when its forecast was read.
fn row(what: &str, rate: u64, passes: &[(Instant, Instant)]) {
    let mut latencies: Vec<_> = passes.iter().map(|(sent, read)| *read - *sent).collect();
    latencies.sort_unstable();
    let reached = reached(rate, passes);
    if reached < SUSTAINED_MIN * rate as f64 {
        println!("| {what}: not sustained, {reached:.0}/s reached | | | | | {} |", passes.len());
        return;
    }
    let at = |share: f64| {
        let rank = (share * latencies.len() as f64).ceil() as usize;
        latencies.get(rank.max(1) - 1).map_or(f64::NAN, |time| time.as_nanos() as f64 / 1e3)
    };
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(at);
    println!("| {what} | {p50:.0} | {p99:.0} | {p999:.0} | {max:.0} | {} |", latencies.len());
}

/// The share of the rate that was reached: as the time that it should have taken is to the time
/// from the first tick to the last forecast.
fn reached(rate: u64, passes: &[(Instant, Instant)]) -> f64 {
    let first = passes.iter().map(|(sent, _)| *sent).min();
    let last = passes.iter().map(|(_, read)| *read).max();
    let took = last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first);
    // Each tick has as many passes as there are subscribers.
    let ticks: std::collections::HashSet<_> = passes.iter().map(|(sent, _)| *sent).collect();
    let due = ticks.len().saturating_sub(1) as f64 / rate as f64;
    rate as f64 * due / took.as_secs_f64().max(due)
}

/// Reads messages until `count` have come; returns each with its time.
fn reader(url: String, count: u64) -> std::thread::JoinHandle<Vec<(Instant, Message)>> {
    let (mut socket, _) = connect(url).unwrap();
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

fn latency(rig: &mut Rig, rate: u64, span: Duration) {
    let count = rate * span.as_millis() as u64 / 1000;
    let reader = reader(format!("ws://{}/v1/stream", rig.address), count);
    while rig.metrics()["tickcast_stream_subscribers"] < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = rig.send(rate, span);
    let seen = reader.join().unwrap();
    let pass = |(at, message): &(Instant, Message)| {
        let record = message.to_text().unwrap().as_bytes();
        (sent[&key_of(record)], *at)
    };
    row(&format!("{rate} ticks/s"), rate, &seen.iter().map(pass).collect::<Vec<_>>());
}

/// The harness's own cost: a relay in the daemon's place.
fn null(rate: u64, span: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let relay = std::thread::spawn(move || {
        let accepted = || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            accept(stream).unwrap()
        };
        let (mut input, mut output) = (accepted(), accepted());
        let answer = "x".repeat(FORECAST_BYTES);
        while let Ok(message) = input.read() {
            if message.is_text() && output.send(Message::text(answer.clone())).is_err() {
                return;
            }
        }
    });
    let url = format!("ws://{address}");
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut feed, _) = tokio_tungstenite::tungstenite::client(&url, stream).unwrap();
    let count = rate * span.as_millis() as u64 / 1000;
    let reader = reader(url, count);
    let mut next = 0;
    let sent = pace(&mut feed, rate, span, &mut next);
    let seen = reader.join().unwrap();
    let passes: Vec<_> = seen.iter().zip(sent).map(|((at, _), sent)| (sent, *at)).collect();
    row(&format!("{rate} ticks/s, a relay in the daemon's place"), rate, &passes);
    drop(feed);
    relay.join().unwrap();
}

/// The most that one connection carries: the daemon reads no faster than it works.
fn sustained(model: &str, span: Duration) {
    let mut rig = Rig::start(model, "source.when_full = 'block'\nsource.queue_records_max = 4096");
    rig.warm_up();
    let (begun, first) = (Instant::now(), rig.next);
    while begun.elapsed() < span {
        for _ in 0..256 {
            rig.feed.write(Message::text(tick(rig.next))).unwrap();
            rig.next += 1;
        }
        rig.feed.flush().unwrap();
    }
    rig.await_ticks(rig.next);
    let rate = (rig.next - first) as f64 / begun.elapsed().as_secs_f64();
    let metrics = rig.metrics();
    assert_eq!(metrics["tickcast_records_dropped_total"], 0.0);
    let forecasts = metrics["tickcast_forecasts_total"];
    assert!(forecasts > (rig.next - first) as f64 * 0.9, "refused ticks are quick and worthless");
    println!("| {model} | {rate:.0} |");
}

/// A hundred subscribers, of which one may stop reading.
fn many(one_stops: bool, span: Duration) {
    // All of them come from one address.
    let lag = "publish.subscribers_max = 128\npublish.subscribers_per_address_max = 128\n\
               publish.subscriber_records_max = 1024";
    let mut rig = Rig::start("aapl-daily", lag);
    rig.warm_up();
    let url = format!("ws://{}/v1/stream", rig.address);
    let connected = Arc::new(AtomicU64::new(0));
    let reading = SUBSCRIBERS - usize::from(one_stops);
    let expected = reading * (SUBSCRIBED_RATE * span.as_millis() as u64 / 1000) as usize;
    let readers = {
        let connected = Arc::clone(&connected);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(read_all(url, one_stops, expected, &connected))
        })
    };
    while connected.load(Ordering::Acquire) < SUBSCRIBERS as u64 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = rig.send(SUBSCRIBED_RATE, span);
    let pass = |(at, record): (Instant, String)| Some((*sent.get(&key_of(record.as_bytes()))?, at));
    let passes: Vec<_> = readers.join().unwrap().into_iter().filter_map(pass).collect();
    assert_eq!(passes.len(), reading * sent.len(), "everybody else got everything");
    let what = if one_stops { "one of them reads nothing, the others" } else { "all read" };
    let what = format!("{SUBSCRIBERS} subscribers, {SUBSCRIBED_RATE} ticks/s, {what}");
    row(&what, SUBSCRIBED_RATE, &passes);
}

async fn read_all(
    url: String,
    one_stops: bool,
    expected: usize,
    connected: &AtomicU64,
) -> Vec<(Instant, String)> {
    let mut streams = futures_util::stream::SelectAll::new();
    let mut silent = Vec::new();
    for index in 0..SUBSCRIBERS {
        let address = url.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(&url, stream).await.unwrap();
        if one_stops && index == 0 {
            silent.push(socket);
        } else {
            streams.push(socket);
        }
        connected.fetch_add(1, Ordering::AcqRel);
    }
    let mut seen = Vec::new();
    while seen.len() < expected {
        let next = tokio::time::timeout(PATIENCE, streams.next()).await;
        match next {
            Ok(Some(Ok(Message::Text(text)))) => seen.push((Instant::now(), text.to_string())),
            Ok(Some(Ok(_))) => {}
            other => panic!("{} of {expected} forecasts came, then {other:?}", seen.len()),
        }
    }
    drop(silent);
    seen
}

fn main() {
    // Cargo passes arguments of its own; the size is a variable.
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let smoke = !std::env::args().any(|argument| argument == "--bench");
    let span = Duration::from_secs_f64(seconds.unwrap_or(if smoke { 0.2 } else { 5.0 }));
    println!("| tick to forecast | p50 us | p99 us | p99.9 us | max us | ticks |");
    println!("|---|---:|---:|---:|---:|---:|");
    // A tick that was dropped would be waited for.
    let mut rig = Rig::start("aapl-daily", "source.when_full = 'block'");
    rig.warm_up();
    for rate in RATES {
        latency(&mut rig, rate, span);
        null(rate, span);
    }
    drop(rig);
    for one_stops in [false, true] {
        many(one_stops, span);
    }
    println!("\n| the most that one connection carries, by model | ticks/s |");
    println!("|---|---:|");
    for model in ["aapl-daily", "stocks-volatility-carried"] {
        sustained(model, span);
    }
}
