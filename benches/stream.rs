//! From a WebSocket tick to its WebSocket forecast, on loopback, through the real daemon.
//!
//! Run by `make bench-stream`; `BENCH_SECONDS` is the length of each measurement. The feed and the
//! subscriber are threads of this process: a latency counts from right before the tick is written
//! to when its forecast was read. A relay that answers every tick with one message of a forecast's
//! size takes the daemon's place for the null row, which is the cost of the harness itself.
//! The last rows have a hundred subscribers, of which one stops reading. A rate that is not reached
//! has no latency: what is measured then is the length of the queue, so the row says the rate that
//! was reached instead. A second table says what the daemon's threads did for a tick: time on a
//! processor, time ready to run without one, and how often they slept and had to be woken.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench that cannot run says why by failing, and it reads the clock"
)]

#[allow(dead_code, reason = "shared by benches, each of which needs a part of it")]
mod rig;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::{Message, accept};

use self::rig::threads::Work;
use self::rig::{PATIENCE, Rig, key_of, pace, reader, tick};

const RATES: [u64; 3] = [1_000, 5_000, 20_000];
/// What a forecast takes on the wire, for the relay.
const FORECAST_BYTES: usize = 480;
const SUBSCRIBERS: usize = 100;
const SUBSCRIBED_RATE: u64 = 200;
/// The share of a rate that counts as reached.
const SUSTAINED_MIN: f64 = 0.98;

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

/// A daemon of a model that ships.
fn start(model: &str, more: &str) -> Rig {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    Rig::start(&root, &format!("model.name = '{model}'\n{more}"))
}

/// Measures a rate; returns rows that say what each thread of the daemon did for a tick.
fn latency(rig: &mut Rig, what: &str, rate: u64, span: Duration) -> Vec<String> {
    let count = rate * span.as_millis() as u64 / 1000;
    let reader = reader(format!("ws://{}/v1/stream", rig.address), count);
    while rig.metrics()["tickcast_stream_subscribers"] < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = rig.work();
    let sent = rig.send(rate, span);
    let seen = reader.join().unwrap();
    let after = rig.work();
    let pass = |(at, message): &(Instant, Message)| {
        let record = message.to_text().unwrap().as_bytes();
        (sent[&key_of(record)], *at)
    };
    let what = format!("{rate} ticks/s{what}");
    row(&what, rate, &seen.iter().map(pass).collect::<Vec<_>>());
    let of_thread = |(name, after): (&String, &Work)| {
        let before = before.get(name).copied().unwrap_or_default();
        let a_tick = |after: u64, before: u64| (after - before) as f64 / sent.len() as f64;
        let ran = a_tick(after.ran_nanos, before.ran_nanos) / 1e3;
        let waited = a_tick(after.waited_nanos, before.waited_nanos) / 1e3;
        let sleeps = a_tick(after.sleeps, before.sleeps);
        (ran >= 0.5).then(|| format!("| {what} | {name} | {ran:.1} | {waited:.1} | {sleeps:.2} |"))
    };
    after.iter().filter_map(of_thread).collect()
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
    let mut rig = start(model, "source.when_full = 'block'\nsource.queue_records_max = 4096");
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
    let mut rig = start("aapl-daily", lag);
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
    let mut work = Vec::new();
    let carried = "stocks-volatility-carried";
    for (what, model, runtime) in [
        ("", "aapl-daily", "onnxruntime"),
        (", native kernels", "aapl-daily", "native"),
        (", a carried model", carried, "onnxruntime"),
        (", a carried model, native kernels", carried, "native"),
    ] {
        // Without optimization a native step takes so long that the feed is given up meanwhile.
        if cfg!(debug_assertions) && runtime == "native" {
            continue;
        }
        let runtime = format!("source.when_full = 'block'\nengine.runtime = '{runtime}'");
        let mut rig = start(model, &runtime);
        rig.warm_up();
        for rate in RATES {
            work.extend(latency(&mut rig, what, rate, span));
            if what.is_empty() {
                null(rate, span);
            }
        }
    }
    for one_stops in [false, true] {
        many(one_stops, span);
    }
    println!("\n| for a tick | thread | runs us | waits to run us | sleeps |");
    println!("|---|---|---:|---:|---:|");
    work.iter().for_each(|line| println!("{line}"));
    println!("\n| the most that one connection carries, by model | ticks/s |");
    println!("|---|---:|");
    for model in ["aapl-daily", carried] {
        sustained(model, span);
    }
}
