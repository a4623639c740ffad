//! A WebSocket server that speaks like an exchange.
//!
//! What it says stands in `tests/data/venues/<venue>/speech.json`: templates made of the venue's
//! documented frames. It answers subscriptions and pings by itself, and does the rest when it is
//! told to: trades, heartbeats, refusals, and every way in which a connection can go wrong. It
//! keeps what clients send. Any number of clients may be there; each has a thread.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, accept};

use super::process::eventually;
use super::repository;

/// How often a connection looks for orders while nothing comes in.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One trade as the test means it.
#[derive(Clone, Debug)]
pub(crate) struct Trade {
    pub(crate) symbol: String,
    pub(crate) price: String,
    pub(crate) volume: String,
    pub(crate) time_ms: i64,
    pub(crate) id: u64,
}

impl Trade {
    pub(crate) fn new(symbol: &str, price: &str, time_ms: i64, id: u64) -> Self {
        let (symbol, volume) = (symbol.to_owned(), "1".to_owned());
        Self { symbol, price: price.to_owned(), volume, time_ms, id }
    }
}

/// What every connection does next.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Sends these trades, as far as their symbols are subscribed to there, in the venue's frames.
    Trades(Vec<Trade>),
    /// Sends a heartbeat, where the venue has them.
    Heartbeat,
    /// Says that the connection will end soon, where the venue has words for it.
    Closing,
    /// Sends this text.
    Say(String),
    /// Sends a ping of the protocol.
    Ping,
    /// Closes with this code.
    Close(u16),
    /// Drops the connection without a goodbye.
    Break,
    /// Reads and says nothing any more, or does again.
    Stall(bool),
}

/// What goes on with one client.
#[derive(Debug, Default)]
struct Client {
    orders: Option<Sender<Order>>,
    received: Vec<String>,
    pongs: usize,
    subscribed: BTreeSet<String>,
    gone: bool,
}

/// How the venue behaves.
struct Shared {
    speech: Value,
    clients: Mutex<Vec<Client>>,
    /// Symbols that are refused.
    refused: Mutex<BTreeSet<String>>,
    /// Whether subscriptions are refused because there are too many.
    rate_limited: AtomicBool,
    /// Whether subscriptions are left without an answer.
    mute: AtomicBool,
    /// Whether connections are dropped before the handshake.
    closed: AtomicBool,
    /// Connections that came, those that were dropped among them.
    attempts: AtomicU64,
    ended: AtomicBool,
}

/// The server; it ends when dropped.
pub(crate) struct VenueServer {
    url: String,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl VenueServer {
    /// Listens on a free port of loopback and speaks like `venue`.
    pub(crate) fn start(venue: &str) -> Self {
        let path = repository().join("tests/data/venues").join(venue).join("speech.json");
        let speech = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            speech,
            clients: Mutex::default(),
            refused: Mutex::default(),
            rate_limited: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            attempts: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let server = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut threads = Vec::new();
                while let Ok((stream, _)) = listener.accept() {
                    if shared.ended.load(Ordering::Acquire) {
                        break;
                    }
                    shared.attempts.fetch_add(1, Ordering::AcqRel);
                    if shared.closed.load(Ordering::Acquire) {
                        continue;
                    }
                    let shared = Arc::clone(&shared);
                    threads.push(std::thread::spawn(move || serve(&shared, stream)));
                }
                for thread in threads {
                    thread.join().unwrap();
                }
            }
        });
        Self { url, shared, server: Some(server) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Gives an order to every connection that is there.
    pub(crate) fn act(&self, order: &Order) {
        for client in &*locked(&self.shared.clients) {
            // A connection that has just ended takes no orders.
            let _ = client.orders.as_ref().map(|orders| orders.send(order.clone()));
        }
    }

    /// Gives an order to one connection, counted from the first that ever was.
    pub(crate) fn act_on(&self, client: usize, order: Order) {
        let clients = locked(&self.shared.clients);
        clients[client].orders.as_ref().unwrap().send(order).unwrap();
    }

    pub(crate) fn trade(&self, trade: Trade) {
        self.act(&Order::Trades(vec![trade]));
    }

    /// From now on subscriptions to this symbol are refused.
    pub(crate) fn refuse(&self, symbol: &str) {
        locked(&self.shared.refused).insert(symbol.to_owned());
    }

    /// Whether from now on subscriptions are refused because there are too many.
    pub(crate) fn limit_rate(&self, limited: bool) {
        self.shared.rate_limited.store(limited, Ordering::Release);
    }

    /// Whether from now on subscriptions are left without an answer.
    pub(crate) fn be_mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::Release);
    }

    /// Whether from now on connections are dropped before the handshake.
    pub(crate) fn shut(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::Release);
    }

    /// How many connections were tried.
    pub(crate) fn attempts(&self) -> u64 {
        self.shared.attempts.load(Ordering::Acquire)
    }

    /// How many connections are there right now.
    pub(crate) fn connections(&self) -> usize {
        locked(&self.shared.clients).iter().filter(|client| !client.gone).count()
    }

    /// All text messages of each client that ever was.
    pub(crate) fn received(&self) -> Vec<Vec<String>> {
        locked(&self.shared.clients).iter().map(|client| client.received.clone()).collect()
    }

    /// How many pongs of the protocol came.
    pub(crate) fn pongs(&self) -> usize {
        locked(&self.shared.clients).iter().map(|client| client.pongs).sum()
    }

    /// What is subscribed to right now, over all connections.
    pub(crate) fn subscribed(&self) -> BTreeSet<String> {
        let clients = locked(&self.shared.clients);
        let there = clients.iter().filter(|client| !client.gone);
        there.flat_map(|client| client.subscribed.iter().cloned()).collect()
    }

    /// Waits until all of these are subscribed to.
    pub(crate) fn await_subscribed(&self, symbols: &[&str]) {
        eventually(&format!("subscriptions to {symbols:?}"), || {
            let subscribed = self.subscribed();
            symbols.iter().all(|symbol| subscribed.contains(*symbol)).then_some(())
        });
    }
}

impl Drop for VenueServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        for client in &mut *locked(&self.shared.clients) {
            client.orders = None;
        }
        // Wakes the listener.
        let _ = TcpStream::connect(self.url.trim_start_matches("ws://"));
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// One connection, from the handshake to its end.
struct Connection<'s> {
    shared: &'s Shared,
    index: usize,
    socket: WebSocket<TcpStream>,
    /// Frames that were sent, as venues count them.
    sequence: u64,
    heartbeats: u64,
}

/// Why a connection is over.
struct Over;

fn serve(shared: &Shared, stream: TcpStream) {
    let Ok(socket) = accept(stream) else { return };
    socket.get_ref().set_read_timeout(Some(LOOK_EVERY)).unwrap();
    let (orders, script) = channel();
    let index = {
        let mut clients = locked(&shared.clients);
        clients.push(Client { orders: Some(orders), ..Client::default() });
        clients.len() - 1
    };
    let mut connection = Connection { shared, index, socket, sequence: 0, heartbeats: 0 };
    let Over = connection.run(&script);
    let mut clients = locked(&shared.clients);
    clients[index].gone = true;
    clients[index].orders = None;
}

impl Connection<'_> {
    fn run(&mut self, script: &Receiver<Order>) -> Over {
        if let Some(greeting) = self.template("greeting")
            && self.say(greeting).is_err()
        {
            return Over;
        }
        let mut stalled = false;
        loop {
            if self.shared.ended.load(Ordering::Acquire) {
                return Over;
            }
            while let Ok(order) = script.try_recv() {
                if let Order::Stall(stall) = order {
                    stalled = stall;
                } else if let Err(over) = self.follow(order) {
                    return over;
                }
            }
            if stalled {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    self.client(|client| client.received.push(text.to_string()));
                    if let Err(over) = self.answer(&text) {
                        return over;
                    }
                }
                Ok(Message::Pong(_)) => self.client(|client| client.pongs += 1),
                Ok(Message::Close(_)) => {
                    // Sends the goodbye that is due.
                    let _ = self.socket.flush();
                    return Over;
                }
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(error.kind()) => {}
                Err(_) => return Over,
            }
        }
    }

    fn client(&self, change: impl FnOnce(&mut Client)) {
        change(&mut locked(&self.shared.clients)[self.index]);
    }

    fn say(&mut self, text: String) -> Result<(), Over> {
        self.sequence += 1;
        let message = if self.shared.speech["compression"] == "gzip" {
            Message::binary(gzip(text.as_bytes()))
        } else {
            Message::text(text)
        };
        self.socket.send(message).map_err(|_| Over)
    }

    fn follow(&mut self, order: Order) -> Result<(), Over> {
        match order {
            Order::Trades(trades) => self.trades(&trades),
            Order::Heartbeat => {
                self.heartbeats += 1;
                let heartbeat = self.template("heartbeat");
                heartbeat.map_or(Ok(()), |text| self.say(text))
            }
            Order::Closing => {
                let closing = self.template("closing");
                closing.map_or(Ok(()), |text| self.say(text))
            }
            Order::Say(text) => self.say(text),
            Order::Ping => self.socket.send(Message::Ping("?".into())).map_err(|_| Over),
            Order::Close(code) => {
                let frame = CloseFrame { code: code.into(), reason: "".into() };
                let _ = self.socket.close(Some(frame));
                Ok(())
            }
            Order::Break => Err(Over),
            Order::Stall(_) => Ok(()),
        }
    }

    /// Sends the trades that were asked for, as many in a frame as the venue has there. A venue
    /// whose frames name their symbol has one symbol in each.
    fn trades(&mut self, trades: &[Trade]) -> Result<(), Over> {
        let subscribed = locked(&self.shared.clients)[self.index].subscribed.clone();
        let wanted: Vec<_> =
            trades.iter().filter(|trade| subscribed.contains(&trade.symbol)).collect();
        let per_frame = self.shared.speech["trades_per_frame"].as_u64().unwrap() as usize;
        let frame = self.shared.speech["trades"].to_string();
        let names_symbol = frame.contains("{symbol}") || frame.contains("{#channel}");
        let is_one_frame = |a: &&Trade, b: &&Trade| !names_symbol || a.symbol == b.symbol;
        for run in wanted.chunk_by(is_one_frame) {
            for group in run.chunks(per_frame) {
                let rows: Vec<_> = group.iter().map(|trade| self.trade(trade)).collect();
                let symbol = group[0].symbol.clone();
                let channel = channel_of(&symbol);
                let fill = [("trades", rows.join(",")), ("symbol", symbol), ("channel", channel)];
                let frame = self.filled("trades", &fill).unwrap();
                self.say(frame)?;
            }
        }
        Ok(())
    }

    fn trade(&self, trade: &Trade) -> String {
        let Trade { symbol, price, volume, time_ms, id } = trade;
        let nanos = tickcast::core::domain::UnixNanos::from_nanos(time_ms * 1_000_000);
        let fill = [
            ("symbol", symbol.clone()),
            ("price", price.clone()),
            ("volume", volume.clone()),
            ("time_ms", time_ms.to_string()),
            ("time", nanos.to_string()),
            ("id", id.to_string()),
        ];
        self.filled("trade", &fill).unwrap()
    }

    /// Answers what a client sent.
    fn answer(&mut self, text: &str) -> Result<(), Over> {
        let speech = &self.shared.speech;
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let fits = |rule: &str| {
            let rule = &speech[rule];
            if rule["text"] == text {
                return true;
            }
            let at = rule["at"].as_str().and_then(|at| message.pointer(at));
            at.is_some_and(|value| rule["is"] == "*" || *value == rule["is"])
        };
        if fits("ping") {
            let pong = self.template("pong");
            return pong.map_or(Ok(()), |text| self.say(text));
        }
        let subscribes = fits("subscribe");
        if !(subscribes || fits("unsubscribe")) {
            return Ok(());
        }
        let symbols = self.symbols_of(&message);
        let id = speech["id"].as_str().and_then(|at| message.pointer(at));
        let id = id.map_or(String::new(), |id| id.to_string().trim_matches('"').to_owned());
        if !subscribes {
            self.client(|client| client.subscribed.retain(|symbol| !symbols.contains(symbol)));
        } else if self.shared.rate_limited.load(Ordering::Acquire) {
            let refusal = self.filled("rate_limited", &[("id", id)]).unwrap();
            return self.say(refusal);
        }
        if self.shared.mute.load(Ordering::Acquire) {
            return Ok(());
        }
        let is_per_symbol = speech["answers"] == "per_symbol";
        let groups: Vec<&[String]> =
            if is_per_symbol { symbols.chunks(1).collect() } else { vec![&symbols[..]] };
        for group in groups {
            let refused = {
                let refused = locked(&self.shared.refused);
                group.iter().find(|symbol| refused.contains(*symbol)).cloned()
            };
            // One that is refused takes its message with it, where there is one answer for both.
            if refused.is_none() && subscribes {
                self.client(|client| client.subscribed.extend(group.iter().cloned()));
            }
            let kind = if refused.is_some() { "refused" } else { "acknowledged" };
            let symbol = refused.or_else(|| group.first().cloned()).unwrap_or_default();
            let channel = channel_of(&symbol);
            let fill = [("id", id.clone()), ("symbol", symbol), ("channel", channel)];
            let answer = self.filled(kind, &fill).unwrap();
            self.say(answer)?;
        }
        Ok(())
    }

    /// The symbols of a message, as a test names them.
    fn symbols_of(&self, message: &Value) -> Vec<String> {
        let form = &self.shared.speech["symbols"];
        let word = |name: &str| form[name].as_str().unwrap();
        let list = match message.pointer(word("list")) {
            Some(Value::Array(list)) => list.clone(),
            Some(one @ Value::String(_)) => vec![one.clone()],
            _ => return Vec::new(),
        };
        let symbol = |entry: &Value| {
            let text = entry.pointer(word("at"))?.as_str()?;
            let symbol = text.strip_prefix(word("prefix"))?.strip_suffix(word("suffix"))?;
            let is_upper = form["upper"].as_bool()?;
            Some(if is_upper { symbol.to_uppercase() } else { symbol.to_owned() })
        };
        list.iter()
            .map(|entry| symbol(entry).unwrap_or_else(|| panic!("asked for {entry}")))
            .collect()
    }

    fn template(&self, name: &str) -> Option<String> {
        self.filled(name, &[])
    }

    /// A template with its places filled: `"{#name}"` as a whole becomes what is no text.
    fn filled(&self, name: &str, values: &[(&str, String)]) -> Option<String> {
        let template = self.shared.speech.get(name)?;
        // A text that is no template of JSON goes as it is.
        let mut text = match template.as_str() {
            Some(text) if !text.starts_with("{#") => text.to_owned(),
            _ => template.to_string(),
        };
        let subscribed = locked(&self.shared.clients)[self.index].subscribed.clone();
        let subscribed: Vec<_> = subscribed.iter().map(|symbol| format!("\"{symbol}\"")).collect();
        let own = [
            ("sequence", self.sequence.to_string()),
            ("counter", self.heartbeats.to_string()),
            ("subscribed", subscribed.join(",")),
        ];
        for (name, value) in values.iter().chain(&own) {
            text = text.replace(&format!("\"{{#{name}}}\""), value);
            text = text.replace(&format!("{{{name}}}"), value);
        }
        Some(text)
    }
}

/// A message as venues compress it.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The number of a symbol's channel, where the venue numbers them.
fn channel_of(symbol: &str) -> String {
    let add = |sum: u64, byte: u64| sum.wrapping_mul(7).wrapping_add(byte);
    symbol.bytes().map(u64::from).fold(1000, add).to_string()
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
