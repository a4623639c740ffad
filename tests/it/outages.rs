//! Outages, one after the other: the real binary behind a proxy that breaks in every way, on a
//! venue that says when it was asked for what.
//!
//! The oracle is simple because ticks are: the price of a symbol is its id, one a second of event
//! time, so each forecast tells which ticks its window may hold, and the venue knows what was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tickcast::core::domain::Quality;
use tickcast::engine::wire::forecast::ForecastRecord;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, accept};

use crate::support::bundle::{SealedBundle, sealed};
use crate::support::process::{Daemon, Ended, eventually};

const WINDOW_STEPS: u64 = 5;

/// How many forecasts were published with a loss in their window.
const GAPPED: &str = r#"tickcast_forecast_qualities_total{quality="gapped"}"#;

/// What the venue does to connections that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    /// Resets before the handshake is over.
    Reset,
    /// Answers 429 and asks for a second of rest.
    TooMany,
}

/// What is shared between the venue's threads and the test.
struct Shared {
    door: Mutex<Door>,
    clients: Mutex<Vec<Client>>,
    /// When attempts came.
    attempts: Mutex<Vec<Instant>>,
    /// Symbols whose subscription is left without an answer.
    ignored: Mutex<BTreeSet<String>>,
    ended: AtomicBool,
}

/// One connection as the venue has it.
struct Client {
    socket: WebSocket<TcpStream>,
    subscribed: BTreeSet<String>,
    /// When subscriptions came.
    messages: Vec<Instant>,
    /// It reads and says nothing.
    half_open: bool,
    gone: bool,
}

/// A venue on loopback.
struct Exchange {
    url: String,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The last id of each symbol.
    ids: BTreeMap<String, u64>,
    /// Ids that nobody was sent.
    lost: BTreeMap<String, BTreeSet<u64>>,
}

impl Exchange {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            door: Mutex::new(Door::Open),
            clients: Mutex::new(Vec::new()),
            attempts: Mutex::new(Vec::new()),
            ignored: Mutex::new(BTreeSet::new()),
            ended: AtomicBool::new(false),
        });
        let door = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if door.ended.load(Ordering::Acquire) {
                    return;
                }
                door.let_in(stream);
            }
        });
        let reader = Arc::clone(&shared);
        let reading = std::thread::spawn(move || {
            while !reader.ended.load(Ordering::Acquire) {
                reader.read_all();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let threads = vec![accepting, reading];
        Self { url, shared, threads, ids: BTreeMap::new(), lost: BTreeMap::new() }
    }

    fn door(&self, door: Door) {
        *self.shared.door.lock().unwrap() = door;
    }

    fn attempts(&self) -> Vec<Instant> {
        self.shared.attempts.lock().unwrap().clone()
    }

    /// One more trade of a symbol, to whoever subscribed to it; `say` changes what goes out.
    fn trade_as(&mut self, symbol: &str, say: impl Fn(String) -> Vec<String>) {
        let id = self.ids.entry(symbol.to_owned()).or_default();
        *id += 1;
        let (id, time) = (*id, *id * 1000);
        let frame = format!(r#"{{"s":"{symbol}","T":{time},"p":"{id}","v":1,"i":{id}}}"#);
        let mut clients = self.shared.clients.lock().unwrap();
        let mut was_sent = false;
        for client in clients.iter_mut().filter(|client| client.subscribed.contains(symbol)) {
            if client.gone || client.half_open {
                continue;
            }
            for frame in say(frame.clone()) {
                was_sent |= client.socket.send(Message::text(frame)).is_ok();
            }
        }
        if !was_sent {
            self.lost.entry(symbol.to_owned()).or_default().insert(id);
        }
    }

    fn trade(&mut self, symbol: &str) {
        self.trade_as(symbol, |frame| vec![frame]);
    }

    /// So many trades of each symbol in turn.
    fn trades(&mut self, symbols: &[&str], count: u64) {
        for _ in 0..count {
            symbols.iter().for_each(|symbol| self.trade(symbol));
        }
    }

    /// Does something to every connection that is there.
    fn to_all(&self, act: impl Fn(&mut Client)) {
        self.shared.clients.lock().unwrap().iter_mut().filter(|client| !client.gone).for_each(act);
    }

    /// Drops every connection without a goodbye.
    fn drop_all(&self) {
        self.to_all(|client| {
            let _ = client.socket.get_ref().shutdown(std::net::Shutdown::Both);
            client.gone = true;
        });
    }

    fn close_all(&self, code: u16) {
        self.to_all(|client| {
            let frame = CloseFrame { code: code.into(), reason: "the test wants it".into() };
            let _ = client.socket.close(Some(frame));
            let _ = client.socket.flush();
            client.gone = true;
        });
    }

    fn await_subscribed(&self, symbols: &[&str], clients_min: usize) {
        eventually(&format!("{symbols:?} on connection {clients_min}"), || {
            let clients = self.shared.clients.lock().unwrap();
            let there = clients.iter().skip(clients_min - 1).filter(|client| {
                !client.gone && symbols.iter().all(|symbol| client.subscribed.contains(*symbol))
            });
            (there.count() > 0).then_some(())
        });
    }

    fn clients(&self) -> usize {
        self.shared.clients.lock().unwrap().len()
    }
}

impl Shared {
    fn let_in(&self, mut stream: TcpStream) {
        self.attempts.lock().unwrap().push(Instant::now());
        let door = *self.door.lock().unwrap();
        match door {
            Door::Open => {
                let Ok(socket) = accept(stream) else { return };
                socket.get_ref().set_read_timeout(Some(Duration::from_micros(100))).unwrap();
                self.clients.lock().unwrap().push(Client {
                    socket,
                    subscribed: BTreeSet::new(),
                    messages: Vec::new(),
                    half_open: false,
                    gone: false,
                });
            }
            // Bytes that were not read turn the close into a reset.
            Door::Reset => std::thread::sleep(Duration::from_millis(2)),
            Door::TooMany => {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request);
                let _ =
                    stream.write_all(b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\n\r\nslow down");
            }
        }
    }

    fn read_all(&self) {
        let ignored = self.ignored.lock().unwrap().clone();
        let mut clients = self.clients.lock().unwrap();
        for client in clients.iter_mut().filter(|client| !client.gone && !client.half_open) {
            match client.socket.read() {
                Ok(Message::Text(text)) => {
                    client.messages.push(Instant::now());
                    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let symbol = message["sub"].as_str().unwrap();
                    if !ignored.contains(symbol) {
                        client.subscribed.insert(symbol.to_owned());
                        let answer = format!(r#"{{"ack":{}}}"#, message["id"]);
                        let _ = client.socket.send(Message::text(answer));
                    }
                }
                Ok(Message::Close(_)) => {
                    let _ = client.socket.flush();
                    client.gone = true;
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => client.gone = true,
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.url.trim_start_matches("ws://"));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn bundle() -> SealedBundle {
    sealed(11, WINDOW_STEPS as u32, &[8])
}

/// The venue's ways, and short limits so that a test takes a moment.
fn settings(symbols: &[&str], more: &str) -> String {
    format!(
        "source.symbols = {symbols:?}\n\
         source.subscribe = ['{{\"sub\":\"{{symbol}}\",\"id\":{{id}}}}']\n\
         source.subscription.answers = 'per_message'\n\
         source.mapping.symbol = '/s'\nsource.mapping.time = '/T'\nsource.mapping.price = '/p'\n\
         source.mapping.volume = '/v'\nsource.mapping.trade_id = '/i'\n\
         source.mapping.when.'/s' = ['*']\n\
         source.frames.acknowledged.when.'/ack' = ['*']\nsource.frames.acknowledged.id = '/ack'\n\
         source.idle_seconds_max = 2\nsource.pong_seconds_max = 1\n\
         source.subscribe_seconds_max = 1\nsource.backoff_seconds_max = 1\n{more}\n"
    )
}

fn serve(sealed: &SealedBundle, exchange: &Exchange, symbols: &[&str], more: &str) -> Daemon {
    let settings = settings(symbols, more);
    Daemon::start(sealed.root.path(), "random", &exchange.url, &settings)
}

/// The daemon has taken all that was sent to it.
fn await_ticks(daemon: &Daemon, count: u64) {
    daemon.await_metric("tickcast_source_ticks_total", count as f64);
    eventually("the engine to have taken all", || {
        let metrics = daemon.metrics();
        (metrics["tickcast_records_received_total"]
            == metrics["tickcast_ticks_total"] + metrics["tickcast_records_dropped_total"])
            .then_some(())
    });
}

/// Everything by the metrics: nothing vanishes between the socket and the engine.
fn assert_sums(daemon: &Daemon) {
    let metrics = daemon.metrics();
    let sum = |names: &[&str]| -> f64 {
        names.iter().map(|name| metrics[&format!("tickcast_{name}")]).sum()
    };
    assert_eq!(
        sum(&["source_ticks_total"]),
        sum(&[
            "records_received_total",
            "source_duplicates_total",
            "source_forgotten_total",
            "source_overlapping_total",
            "source_ticks_held",
        ])
    );
    assert_eq!(
        sum(&["records_received_total"]),
        sum(&["ticks_total", "records_dropped_total", "records_waiting"])
    );
}

/// Each forecast whose window a loss lies in says so, none says so without a cause, and no two
/// forecasts of a symbol stand on the same tick. Returns how many said so.
fn assert_marks(ended: &Ended, exchange: &Exchange) -> usize {
    let mut gapped = 0;
    let mut seen = BTreeSet::new();
    // The ticks that steps were made of, by symbol: what was not lost, in order.
    for line in ended.lines.lines() {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        let symbol = forecast.symbol.to_string();
        let newest = u64::try_from(forecast.as_of.as_nanos() / 1_000_000_000).unwrap();
        assert!(seen.insert((symbol.clone(), newest)), "two forecasts on {symbol} {newest}");
        let lost = exchange.lost.get(&symbol).cloned().unwrap_or_default();
        assert!(!lost.contains(&newest), "a forecast on a tick that was not sent");
        // The window holds its steps, and the feature of change one more before them.
        let window: Vec<u64> = (1..=newest)
            .rev()
            .filter(|id| !lost.contains(id))
            .take(WINDOW_STEPS as usize + 1)
            .collect();
        let oldest = *window.last().unwrap();
        let touches = lost.range(oldest..newest).next().is_some();
        let quality = if touches { Quality::Gapped } else { Quality::Full };
        assert_eq!(forecast.quality, quality, "{symbol} {newest}, with a window from {oldest}");
        gapped += usize::from(touches);
    }
    assert!(!seen.is_empty(), "no forecast came");
    gapped
}

/// No second attempt comes before the wait that the rate allows.
fn assert_rate(times: &[Instant], count: usize, period: Duration) {
    for window in times.windows(count + 1) {
        let span = window[count] - window[0];
        assert!(span >= period, "{} attempts within {span:?}", count + 1);
    }
}

#[test]
fn every_way_of_losing_a_connection_marks_what_was_lost_and_nothing_else() {
    let sealed = bundle();
    let mut exchange = Exchange::start();
    let symbols = ["AAA", "BBB"];
    let limits = "source.limits.connects_max = 4\nsource.limits.connects_period_seconds = 1\n\
                  source.mapping.trade_ids = 'unique'";
    let daemon = serve(&sealed, &exchange, &symbols, limits);
    let mut expected = 0;
    exchange.await_subscribed(&symbols, 1);
    let round = |exchange: &mut Exchange, expected: &mut u64| {
        exchange.trades(&symbols, 12);
        *expected += 24;
        await_ticks(&daemon, *expected);
    };
    round(&mut exchange, &mut expected);
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 0.0, "nothing has gone wrong yet");
    assert_eq!(daemon.metric(GAPPED), 0.0);

    // Without a close (1006), with one, and with the word that we ask too much (1008).
    let outages: [&dyn Fn(&Exchange); 5] = [
        &|exchange| exchange.drop_all(),
        &|exchange| exchange.close_all(1001),
        &|exchange| exchange.close_all(1008),
        // Half open: found out by the ping that nobody answers.
        &|exchange| exchange.to_all(|client| client.half_open = true),
        // The handshake is reset twice, then the venue asks for rest.
        &|exchange| {
            exchange.door(Door::Reset);
            exchange.drop_all();
            let before = exchange.attempts().len();
            eventually("two resets", || (exchange.attempts().len() >= before + 2).then_some(()));
            exchange.door(Door::TooMany);
            let before = exchange.attempts().len();
            eventually("the refusal", || (exchange.attempts().len() > before).then_some(()));
            exchange.door(Door::Open);
        },
    ];
    for outage in outages {
        let clients = exchange.clients();
        outage(&exchange);
        // Lost with the connection, and never sent again.
        exchange.trades(&symbols, 3);
        exchange.await_subscribed(&symbols, clients + 1);
        round(&mut exchange, &mut expected);
    }
    assert_sums(&daemon);
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 10.0, "each symbol, five times");
    assert_eq!(daemon.metric(r#"tickcast_source_state{state="live"}"#), 1.0);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let gapped = assert_marks(&ended, &exchange);
    // A mark stands on one step, which is in as many windows as a window has steps.
    assert_eq!(gapped as u64, 10 * WINDOW_STEPS);
    assert_rate(&exchange.attempts(), 4, Duration::from_secs(1));
}

#[test]
fn ids_show_what_was_lost_and_what_was_only_sent_twice_or_late() {
    let sealed = bundle();
    let mut exchange = Exchange::start();
    let more = "source.mapping.trade_ids = 'consecutive'";
    let daemon = serve(&sealed, &exchange, &["AAA"], more);
    exchange.await_subscribed(&["AAA"], 1);
    exchange.trades(&["AAA"], 10);
    // Twice: no double volume, no mark.
    exchange.trade_as("AAA", |frame| vec![frame.clone(), frame]);
    exchange.trades(&["AAA"], 4);
    await_ticks(&daemon, 16);
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 0.0);
    // A reconnect in which nothing was lost: the next id proves it.
    let clients = exchange.clients();
    exchange.drop_all();
    exchange.await_subscribed(&["AAA"], clients + 1);
    exchange.trades(&["AAA"], 4);
    await_ticks(&daemon, 20);
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 0.0);
    // One that does not come: its hole is marked.
    exchange.trade_as("AAA", |_| Vec::new());
    exchange.trades(&["AAA"], 8);
    await_ticks(&daemon, 28);
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 1.0);
    assert_eq!(daemon.metric("tickcast_source_missing_total"), 1.0);
    // Late: the hole is marked, and the engine refuses what its time forbids.
    let held = Mutex::new(None);
    exchange.trade_as("AAA", |frame| {
        *held.lock().unwrap() = Some(frame);
        Vec::new()
    });
    exchange
        .trade_as("AAA", |frame| [frame].into_iter().chain(held.lock().unwrap().take()).collect());
    exchange.trades(&["AAA"], 3);
    await_ticks(&daemon, 33);
    assert_eq!(daemon.metric("tickcast_source_late_total"), 1.0);
    assert_eq!(daemon.metric("tickcast_source_duplicates_total"), 1.0);
    assert_sums(&daemon);
    let ended = daemon.stop();
    assert_marks(&ended, &exchange);
    assert_eq!(ended.drained("refused"), 1, "the late one alone");
}

#[test]
fn what_is_not_subscribed_is_tried_again_while_the_rest_flows() {
    let sealed = bundle();
    let mut exchange = Exchange::start();
    exchange.shared.ignored.lock().unwrap().insert("BBB".to_owned());
    let limits = "source.limits.messages_max = 2\nsource.limits.messages_period_seconds = 1";
    let symbols = ["AAA", "BBB", "CCC"];
    let daemon = serve(&sealed, &exchange, &symbols, limits);
    exchange.await_subscribed(&["AAA", "CCC"], 1);
    exchange.trades(&["AAA", "CCC"], 10);
    await_ticks(&daemon, 20);
    daemon.await_metric("tickcast_source_not_subscribed_total", 1.0);
    assert_eq!(daemon.get("/readyz").0, 200, "two of three flow");
    let unacknowledged = r#"tickcast_source_symbols_unsubscribed{reason="unacknowledged"}"#;
    daemon.await_metric(unacknowledged, 1.0);
    daemon.await_metric(r#"tickcast_symbols_by_health{health="awaited"}"#, 1.0);
    let (_, list) = daemon.get("/v1/symbols?symbols=BBB");
    assert!(list.contains(r#""health":"awaited","reason":"unacknowledged""#), "{list}");
    exchange.shared.ignored.lock().unwrap().clear();
    exchange.await_subscribed(&symbols, 1);
    exchange.trades(&symbols, 8);
    await_ticks(&daemon, 44);
    assert_eq!(daemon.metric(unacknowledged), 0.0);
    daemon.await_metric(r#"tickcast_symbols_by_health{health="awaited"}"#, 0.0);
    assert_eq!(exchange.clients(), 1, "on the same connection");
    let messages = exchange.shared.clients.lock().unwrap()[0].messages.clone();
    assert_rate(&messages, 2, Duration::from_secs(1));
    let ended = daemon.stop();
    let named = |line: &serde_json::Value| {
        line["message"] == "not subscribed, trying again" && line["symbols"] == "BBB"
    };
    assert!(ended.log.iter().any(named), "{:#?}", ended.log);
    assert_eq!(assert_marks(&ended, &exchange), 0);
}

#[test]
fn connections_are_replaced_before_their_life_ends_and_nothing_is_lost() {
    let sealed = bundle();
    let mut exchange = Exchange::start();
    let more = "source.mapping.trade_ids = 'increasing'\nsource.limits.life_seconds_max = 3\n\
                source.subscription.symbols_per_connection = 1\nsource.overlap_seconds_max = 2";
    let symbols = ["AAA", "BBB"];
    let daemon = serve(&sealed, &exchange, &symbols, more);
    exchange.await_subscribed(&["AAA"], 1);
    eventually("both", || {
        let clients = exchange.shared.clients.lock().unwrap();
        let subscribed: BTreeSet<_> =
            clients.iter().flat_map(|client| client.subscribed.iter().cloned()).collect();
        (subscribed.len() == 2).then_some(())
    });
    let begun = Instant::now();
    let mut sent = 0;
    while daemon.metric("tickcast_source_replaced_total") < 4.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", daemon.metrics());
        exchange.trades(&symbols, 1);
        sent += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    let received = 2 * sent;
    daemon.await_metric("tickcast_ticks_total", f64::from(received));
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 0.0);
    assert_eq!(daemon.metric("tickcast_ticks_total"), f64::from(received), "each of them once");
    assert_sums(&daemon);
    let ended = daemon.stop();
    assert_eq!(assert_marks(&ended, &exchange), 0);
    assert_eq!(ended.drained("refused"), 0);
}

#[test]
fn a_process_that_was_stopped_for_longer_than_any_limit_goes_on() {
    let sealed = bundle();
    let mut exchange = Exchange::start();
    let daemon = serve(&sealed, &exchange, &["AAA"], "source.mapping.trade_ids = 'consecutive'");
    exchange.await_subscribed(&["AAA"], 1);
    exchange.trades(&["AAA"], 10);
    await_ticks(&daemon, 10);
    let signal = |name: &str| {
        let status = Command::new("kill").args([name, &daemon.id().to_string()]).status();
        assert!(status.unwrap().success());
    };
    // To the daemon the clock jumps by more than the idle limit; what was sent waits in the socket.
    signal("-STOP");
    exchange.trades(&["AAA"], 10);
    std::thread::sleep(Duration::from_millis(2500));
    signal("-CONT");
    exchange.trades(&["AAA"], 5);
    daemon.await_metric("tickcast_ticks_total", 25.0);
    assert_eq!(daemon.metric("tickcast_source_marked_total"), 0.0);
    assert_sums(&daemon);
    let ended = daemon.stop();
    assert_eq!(assert_marks(&ended, &exchange), 0);
}
