//! Venues: what each preset makes of its venue's frames, what it sends, and a whole daemon on
//! servers that speak like them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::sync::Arc;

use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config::{VENUES, parse, venue_feed};
use tickcast::core::decode::JsonDecoder;
use tickcast::core::domain::{Field, Schema, TimeUnit};
use tickcast::core::venue::{Frame, FrameKind, Mapper, Outgoing, Refusal, TradeIds, Venue};
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect};

use crate::support::bundle::sealed;
use crate::support::process::{Daemon, eventually, run, tickcast};
use crate::support::repository;
use crate::support::venue::{Order, Trade, VenueServer};

/// The settings of a live feed.
fn feed(source: &str) -> WebSocketSettings {
    let config = parse(&format!("model.name = 'm'\n[source]\n{source}")).unwrap();
    config.source.of::<WebSocketSettings>().unwrap().clone()
}

fn preset(name: &str, url: &str, symbols: &[&str]) -> WebSocketSettings {
    feed(&format!("venue = '{name}'\nurl = '{url}'\nsymbols = {symbols:?}\n"))
}

fn venue(name: &str) -> Arc<Venue> {
    let feed = venue_feed(name).unwrap();
    Arc::clone(&feed.of::<WebSocketSettings>().unwrap().venue)
}

/// What one frame must become.
pub(crate) struct Expected {
    file: &'static str,
    kind: FrameKind,
    sequence: Option<u64>,
    ticks: &'static [Tick],
}

/// A native tick by the texts of its symbol, time, price and volume, and its trade id.
pub(crate) type Tick = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// The bytes of a native tick.
pub(crate) fn native(symbol: &str, time: &str, price: &str, volume: &str) -> String {
    format!(r#"{{"symbol":"{symbol}","time":"{time}","price":{price},"volume":{volume}}}"#)
}

pub(crate) fn expect(file: &'static str, kind: FrameKind) -> Expected {
    Expected { file, kind, sequence: None, ticks: &[] }
}

pub(crate) fn ticks(file: &'static str, ticks: &'static [Tick]) -> Expected {
    let kind = FrameKind::Ticks { mapped: ticks.len() as u32, skipped: 0 };
    Expected { file, kind, sequence: None, ticks }
}

impl Expected {
    pub(crate) fn skipping(self, skipped: u32) -> Self {
        let mapped = self.ticks.len() as u32;
        Self { kind: FrameKind::Ticks { mapped, skipped }, ..self }
    }

    fn counted(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }
}

fn texts(symbols: &[&str]) -> Vec<String> {
    symbols.iter().map(|symbol| (*symbol).to_owned()).collect()
}

pub(crate) fn acknowledged(id: Option<u64>, symbols: &[&str]) -> FrameKind {
    FrameKind::Acknowledged { id, symbols: texts(symbols) }
}

pub(crate) fn refused(
    text: &str,
    id: Option<u64>,
    symbols: &[&str],
    rate_limited: bool,
) -> FrameKind {
    let text = text.to_owned();
    FrameKind::Refused(Refusal { text, id, symbols: texts(symbols), rate_limited })
}

pub(crate) fn heartbeat(counter: Option<u64>) -> FrameKind {
    FrameKind::Heartbeat { counter }
}

/// Runs every fixture of a venue through its preset.
pub(crate) fn assert_frames(name: &str, expected: &[Expected]) {
    let folder = repository().join("tests/data/venues").join(name);
    let files = fs::read_dir(&folder).unwrap();
    let mut seen: BTreeSet<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(seen.remove("speech.json"), "{name} has a server's speech");
    // Answers to questions about the past, of which `presets.rs` says what they mean.
    assert!(seen.contains("history.json"), "{name} has an answer to a question about the past");
    seen.retain(|file| !file.starts_with("history"));
    let stated: BTreeSet<_> = expected.iter().map(|one| one.file.to_owned()).collect();
    assert_eq!(stated, seen, "every frame of {name} has its statement");
    let decoder = JsonDecoder::new(
        Schema::new([]).unwrap(),
        &[Field::PRICE, Field::VOLUME],
        TimeUnit::Seconds,
        1024,
    );
    let mut mapper = Mapper::new(venue(name));
    for Expected { file, kind, sequence, ticks } in expected {
        let frame = fs::read(folder.join(file)).unwrap();
        let mut records = Vec::new();
        let outcome = mapper.classify(&frame, |mapped| {
            let tick = decoder.decode(mapped.record).unwrap();
            assert_eq!(Some(&*tick.symbol), mapped.symbol, "{name}/{file}");
            let id = format!("{:?}", mapped.trade_id.unwrap());
            records.push((String::from_utf8(mapped.record.to_vec()).unwrap(), id));
        });
        let expected = Frame { kind: kind.clone(), sequence: *sequence };
        assert_eq!(outcome, expected, "{name}/{file}");
        let native = |(symbol, time, price, volume, id): &Tick| {
            (native(symbol, time, price, volume), (*id).to_owned())
        };
        assert_eq!(records, ticks.iter().map(native).collect::<Vec<_>>(), "{name}/{file}");
    }
}

#[test]
fn frames_of_binance() {
    let words = "Invalid request: invalid stream";
    let bare = r#"{"code":2,"msg":"Invalid request: request ID must be an unsigned…"#;
    assert_frames(
        "binance",
        &[
            ticks(
                "trade.json",
                &[("BNBBTC", "2022-12-31T19:43:02.136Z", "0.001", "100", "Number(12345)")],
            ),
            ticks(
                "trade_of_bitcoin.json",
                &[(
                    "BTCUSDT",
                    "2022-12-31T19:43:02.999Z",
                    "16578.50000000",
                    "0.00100000",
                    "Number(2147483648)",
                )],
            ),
            expect("acknowledged.json", acknowledged(Some(1), &[])),
            expect("refused.json", refused(bare, None, &[], false)),
            expect("refused_inside.json", refused(words, Some(7), &[], false)),
            expect("closing.json", FrameKind::Closing),
            expect("kline.json", FrameKind::Other),
        ],
    );
}

#[test]
fn frames_of_coinbase() {
    assert_frames(
        "coinbase",
        &[
            ticks(
                "snapshot.json",
                // The oldest first, though the venue sends the newest first.
                &[
                    ("ETH-USD", "2019-08-14T20:42:27.2Z", "1260.00", "0.0065", "Number(14105409)"),
                    ("ETH-USD", "2019-08-14T20:42:27.265Z", "1260.01", "0.3", "Number(14105410)"),
                ],
            )
            .counted(0),
            ticks(
                "update.json",
                &[
                    ("ETH-USD", "2023-02-09T20:32:51Z", "1260.02", "1", "Number(14105411)"),
                    (
                        "BTC-USD",
                        "2023-02-09T20:32:50.714964855Z",
                        "21921.73",
                        "0.06317902",
                        "Number(995098700)",
                    ),
                    ("BTC-USD", "2023-02-09T20:32:50.8Z", "21921.3", "0.02", "Number(995098701)"),
                ],
            )
            .counted(12),
            expect("heartbeat.json", heartbeat(Some(3049))).counted(3),
            expect("heartbeat_with_number.json", heartbeat(Some(3050))).counted(4),
            expect("acknowledged.json", acknowledged(None, &["BTC-USD", "ETH-USD"])).counted(1),
            expect("acknowledged_heartbeats.json", acknowledged(None, &["BTC-USD", "ETH-USD"]))
                .counted(2),
            expect("refused.json", refused("authentication failure", None, &[], false)),
            expect("refused_for_rate.json", refused("rate limit exceeded", None, &[], true)),
        ],
    );
    assert!(venue("coinbase").counts_frames());
    assert_eq!(venue("coinbase").trade_ids(), Some(TradeIds::Consecutive));
}

#[test]
fn frames_of_kraken() {
    let unknown = "Currency pair not supported FOO/BAR";
    assert_frames(
        "kraken",
        &[
            ticks(
                "snapshot.json",
                &[
                    (
                        "MATIC/USD",
                        "2023-09-25T07:48:36.925533Z",
                        "0.5147",
                        "6423.46326",
                        "Number(4665846)",
                    ),
                    (
                        "MATIC/USD",
                        "2023-09-25T07:49:36.925603Z",
                        "0.5147",
                        "1136.19677815",
                        "Number(4665847)",
                    ),
                ],
            ),
            ticks(
                "update.json",
                &[(
                    "MATIC/USD",
                    "2023-09-25T07:49:37.708706Z",
                    "0.5117",
                    "40.0",
                    "Number(4665906)",
                )],
            ),
            expect("acknowledged.json", acknowledged(Some(1), &["MATIC/USD"])),
            expect("refused.json", refused(unknown, Some(2), &["FOO/BAR"], false)),
            expect("refused_for_rate.json", refused("Exceeded msg rate", Some(3), &[], true)),
            expect("heartbeat.json", heartbeat(None)),
            expect("pong.json", FrameKind::Pong),
            expect("status.json", FrameKind::Other),
        ],
    );
}

#[test]
fn frames_of_okx() {
    let invalid = r#"Invalid request: {"op": "subscribe", "argss":[{ "channel" : "tra…"#;
    let frequent = "Requests too frequent";
    let count = r#"{"event":"channel-conn-count-error","channel":"orders","connCoun…"#;
    assert_frames(
        "okx",
        &[
            ticks(
                "trade.json",
                &[(
                    "BTC-USDT",
                    "2021-08-27T07:21:37.897Z",
                    "42219.9",
                    "0.12060306",
                    "Number(130639474)",
                )],
            ),
            expect("acknowledged.json", acknowledged(Some(1512), &["BTC-USDT"])),
            expect("refused.json", refused(invalid, Some(1512), &[], false)),
            expect("refused_for_rate.json", refused(frequent, Some(1513), &[], true)),
            expect("refused_for_connections.json", refused(count, None, &[], false)),
            expect("closing.json", FrameKind::Closing),
            expect("pong.txt", FrameKind::Pong),
            expect("connection_count.json", FrameKind::Other),
        ],
    );
}

#[test]
fn frames_of_bybit() {
    let unknown = "error:handler not found,topic:publicTrade.NOTASYMBOL";
    assert_frames(
        "bybit",
        &[
            ticks(
                "trades.json",
                &[
                    (
                        "BTCUSDT",
                        "2022-12-29T09:01:26.865Z",
                        "16578.50",
                        "0.001",
                        r#"Text("20f43950-d8dd-5b31-9112-a178eb6023af")"#,
                    ),
                    (
                        "BTCUSDT",
                        "2022-12-29T09:01:26.867Z",
                        "16578.00",
                        "0.002",
                        r#"Text("20f43950-d8dd-5b31-9112-a178eb6023b0")"#,
                    ),
                ],
            ),
            ticks(
                "trade_of_spot.json",
                &[(
                    "BTCUSDT",
                    "2022-12-29T09:01:26.899Z",
                    "16579.1",
                    "0.0101",
                    "Number(2290000000013574621)",
                )],
            ),
            expect("acknowledged.json", acknowledged(Some(10001), &[])),
            expect("acknowledged_without_words.json", acknowledged(Some(10002), &[])),
            expect("refused.json", refused(unknown, Some(10003), &[], false)),
            expect("pong.json", FrameKind::Pong),
            expect("pong_with_op.json", FrameKind::Pong),
        ],
    );
}

#[test]
fn each_venue_that_ships_has_frames_a_speech_and_history() {
    let folders = fs::read_dir(repository().join("tests/data/venues")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut names: Vec<_> =
        folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.push("generic".to_owned());
    names.sort();
    assert_eq!(names, VENUES.map(|(name, _)| name));
    for name in names {
        let has_history = venue(&name).rest().is_some();
        assert_eq!(has_history, name != "generic", "{name}");
    }
}

pub(crate) fn messages(messages: &[Outgoing]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

#[test]
fn each_venue_is_asked_in_its_own_words() {
    let kraken = concat!(
        r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","ETH/USD"],"#,
        r#""snapshot":true},"req_id":1}"#
    );
    let okx = concat!(
        r#"{"id":"1","op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"},"#,
        r#"{"channel":"trades","instId":"ETH-USDT"}]}"#
    );
    let coinbase = concat!(
        r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"#,
        r#""channel":"market_trades"}"#
    );
    let heartbeats = r#"{"type":"subscribe","channel":"heartbeats"}"#;
    let bybit = concat!(
        r#"{"req_id":"1","op":"subscribe","#,
        r#""args":["publicTrade.BTCUSDT","publicTrade.ETHUSDT"]}"#
    );
    let binance = r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":1}"#;
    let cases: [(&str, [&str; 2], &[&str]); 5] = [
        ("binance", ["BTCUSDT", "ETHUSDT"], &[binance]),
        ("coinbase", ["BTC-USD", "ETH-USD"], &[coinbase, heartbeats]),
        ("kraken", ["BTC/USD", "ETH/USD"], &[kraken]),
        ("okx", ["BTC-USDT", "ETH-USDT"], &[okx]),
        ("bybit", ["BTCUSDT", "ETHUSDT"], &[bybit]),
    ];
    for (name, symbols, expected) in cases {
        let feed = preset(name, "ws://127.0.0.1:1", &symbols);
        let [connection] = &*feed.connections else { panic!("{name}: one connection") };
        assert_eq!(messages(&connection.plan.subscribe), expected);
        for message in &connection.plan.subscribe {
            let parsed = serde_json::from_str::<serde_json::Value>(&message.text);
            assert!(parsed.is_ok(), "{name}: {}", message.text);
        }
        assert!(!connection.plan.unsubscribe.is_empty(), "{name}");
        // What is sent at once fits what the venue takes at once.
        let rate = feed.venue.limits().messages.unwrap();
        assert!(connection.plan.subscribe.len() <= rate.count as usize, "{name}");
    }
}

#[test]
fn many_symbols_are_spread_within_each_venues_limits() {
    let symbols: Vec<_> = (0..2500).map(|index| format!("S{index}USDT")).collect();
    let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
    for (name, connections, per_message) in [
        ("binance", 3, 100),
        ("coinbase", 9, 100),
        ("kraken", 10, 100),
        ("okx", 3, 100),
        ("bybit", 5, 10),
    ] {
        let feed = preset(name, "ws://127.0.0.1:1", &symbols);
        assert_eq!(feed.connections.len(), connections, "{name}");
        let all = feed.connections.iter().flat_map(|connection| &connection.plan.symbols);
        assert_eq!(all.map(String::as_str).collect::<Vec<_>>(), symbols, "{name}");
        for connection in &feed.connections {
            let sent = connection.plan.subscribe.iter().flat_map(|message| &message.symbols);
            assert_eq!(
                sent.collect::<Vec<_>>(),
                connection.plan.symbols.iter().collect::<Vec<_>>()
            );
            let largest =
                connection.plan.subscribe.iter().map(|message| message.symbols.len()).max();
            assert!(largest <= Some(per_message), "{name}: {largest:?}");
        }
    }
    // Bybit's 21,000 characters of arguments, and OKX's 64 KB of channels.
    let length = |name: &str| {
        let feed = preset(name, "ws://127.0.0.1:1", &symbols);
        let of_one = |message: &Outgoing| message.text.len();
        feed.connections.iter().map(|c| c.plan.subscribe.iter().map(of_one).sum::<usize>()).max()
    };
    assert!(length("bybit") < Some(21_000), "{:?}", length("bybit"));
    assert!(length("okx") < Some(65_536), "{:?}", length("okx"));
}

/// A client that does nothing but what the test says.
struct Client {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    mapper: Mapper,
}

impl Client {
    fn of(feed: &WebSocketSettings) -> Self {
        let (socket, _) = connect(feed.connections[0].url.secret()).unwrap();
        let mut client = Self { socket, mapper: Mapper::new(Arc::clone(&feed.venue)) };
        for message in &feed.connections[0].plan.subscribe {
            client.send(&message.text);
        }
        client
    }

    fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next frame that is anything, and its records.
    fn next(&mut self) -> (Frame, Vec<String>) {
        loop {
            let message = self.socket.read().unwrap();
            let Message::Text(text) = message else { continue };
            let mut records = Vec::new();
            let outcome = self.mapper.classify(text.as_bytes(), |mapped| {
                records.push(String::from_utf8(mapped.record.to_vec()).unwrap());
            });
            if outcome.kind != FrameKind::Other {
                return (outcome, records);
            }
        }
    }
}

#[test]
fn a_server_that_speaks_like_the_venue_is_understood() {
    for (name, symbols, per_symbol) in [
        ("binance", ["BTCUSDT", "ETHUSDT"], false),
        ("coinbase", ["BTC-USD", "ETH-USD"], false),
        ("kraken", ["BTC/USD", "ETH/USD"], true),
        ("okx", ["BTC-USDT", "ETH-USDT"], true),
        ("bybit", ["BTCUSDT", "ETHUSDT"], false),
    ] {
        let server = VenueServer::start(name);
        let feed = preset(name, server.url(), &symbols);
        let mut client = Client::of(&feed);
        let sent = feed.connections[0].plan.subscribe.len();
        let answers = if per_symbol { symbols.len() } else { sent };
        for _ in 0..answers {
            let (outcome, _) = client.next();
            assert!(matches!(outcome.kind, FrameKind::Acknowledged { .. }), "{name}: {outcome:?}");
        }
        server.await_subscribed(&symbols);

        let trades =
            [(symbols[0], "10.50", 1), (symbols[1], "0.0000100", 2), (symbols[0], "11", 3)];
        let trades =
            trades.map(|(symbol, price, id)| Trade::new(symbol, price, 1000 * id, id as u64));
        server.act(&Order::Trades(trades.to_vec()));
        let mut records = Vec::new();
        while records.len() < 3 {
            records.extend(client.next().1);
        }
        let expected = [
            (symbols[0], "01", "10.50"),
            (symbols[1], "02", "0.0000100"),
            (symbols[0], "03", "11"),
        ];
        let expected = expected.map(|(symbol, second, price)| {
            native(symbol, &format!("1970-01-01T00:00:{second}Z"), price, "1")
        });
        assert_eq!(records, expected, "{name}");

        if let Some(ping) = &feed.venue.limits().ping {
            client.send(&ping.text);
            assert_eq!(client.next().0.kind, FrameKind::Pong, "{name}");
        }
        if ["binance", "okx"].contains(&name) {
            server.act(&Order::Closing);
            assert_eq!(client.next().0.kind, FrameKind::Closing, "{name}");
        }
        if feed.venue.limits().heartbeat_max.is_some() {
            server.act(&Order::Heartbeat);
            let (outcome, _) = client.next();
            assert!(matches!(outcome.kind, FrameKind::Heartbeat { .. }), "{name}: {outcome:?}");
        }

        // One that the venue does not know, and one too many.
        server.refuse(symbols[1]);
        for message in &feed.connections[0].plan.subscribe {
            client.send(&message.text);
        }
        let refusal = loop {
            if let FrameKind::Refused(refusal) = client.next().0.kind {
                break refusal;
            }
        };
        assert!(!refusal.rate_limited, "{name}: {refusal:?}");
        assert!(refusal.symbols.is_empty() || refusal.symbols == [symbols[1]], "{name}");
        server.limit_rate(true);
        client.send(&feed.connections[0].plan.subscribe[0].text);
        let refusal = loop {
            if let FrameKind::Refused(refusal) = client.next().0.kind
                && refusal.rate_limited
            {
                break refusal;
            }
            // Binance has no words of its own for it.
            if name == "binance" {
                break Refusal {
                    text: String::new(),
                    id: None,
                    symbols: vec![],
                    rate_limited: true,
                };
            }
        };
        assert!(refusal.rate_limited, "{name}");
    }
}

#[test]
fn a_daemon_forecasts_on_a_venue_with_ten_lines_of_configuration() {
    const WINDOW: i64 = 5;
    const TRADES: i64 = 20;
    let sealed = sealed(31, WINDOW as u32, &[4]);
    for (venue, symbols) in [
        ("binance", ["BTCUSDT", "ETHUSDT"]),
        ("coinbase", ["BTC-USD", "ETH-USD"]),
        ("kraken", ["BTC/USD", "ETH/USD"]),
        ("okx", ["BTC-USDT", "ETH-USDT"]),
        ("bybit", ["BTCUSDT", "ETHUSDT"]),
    ] {
        let server = VenueServer::start(venue);
        let settings =
            format!("source.venue = '{venue}'\nsource.symbols = {symbols:?}\nengine.shards = 2\n");
        let daemon = Daemon::start(sealed.root.path(), "random", server.url(), &settings);
        server.await_subscribed(&symbols);
        for index in 0..TRADES {
            let trade = |symbol: &str| {
                Trade::new(
                    symbol,
                    &format!("{}.50", 100 + index % 7),
                    1000 * (index + 1),
                    index as u64,
                )
            };
            server.act(&Order::Trades(symbols.map(trade).to_vec()));
        }
        // Poison between: counted where every tick is judged.
        server.act(&Order::Trades(vec![Trade::new(symbols[0], "-1", 100_000, 1_000)]));
        daemon.await_metric("tickcast_ticks_total", (2 * TRADES + 1) as f64);
        assert_eq!(daemon.metric(r#"tickcast_ticks_refused_total{reason="negative"}"#), 1.0);
        let ended = daemon.stop();
        assert_eq!(ended.drained("refused"), 1, "{venue}");
        assert_eq!(ended.drained("steps"), 2 * TRADES as u64, "{venue}");
        for symbol in symbols {
            let symbol = format!("\"symbol\":\"{symbol}\"");
            let forecasts = ended.lines.lines().filter(|line| line.contains(&symbol)).count();
            assert_eq!(forecasts as u64 * 2, ended.drained("forecasts"), "{venue} {symbol}");
            // One warming step for the change of price, and the window but for its last step.
            assert_eq!(forecasts as i64, TRADES - WINDOW, "{venue} {symbol}");
        }
    }
}

/// The symbols of each subscription that a connection got, and how many messages there were.
fn asked(server: &VenueServer, client: usize, symbols: &[String]) -> (Vec<Vec<String>>, usize) {
    let received = server.received()[client].clone();
    let named = |text: &String| {
        let listed = symbols.iter().filter(|symbol| text.contains(&format!("{symbol}\"")));
        listed.cloned().collect::<Vec<_>>()
    };
    let lists: Vec<_> = received.iter().map(named).filter(|list| !list.is_empty()).collect();
    let count = lists.len();
    (lists, count)
}

#[test]
fn one_bad_symbol_starves_none_of_its_message() {
    let sealed = sealed(31, 5, &[4]);
    for (venue, more) in [
        ("bybit", ""),
        ("coinbase", "source.subscription.symbols_per_message = 10\n"),
        ("kraken", "source.subscription.symbols_per_message = 10\n"),
    ] {
        let server = VenueServer::start(venue);
        let symbols: Vec<_> = (b'A'..=b'L').map(|name| format!("{}XX", name as char)).collect();
        let bad = "EXX";
        server.refuse(bad);
        let good: Vec<_> =
            symbols.iter().map(String::as_str).filter(|symbol| *symbol != bad).collect();
        let settings = format!(
            "source.venue = '{venue}'\nsource.symbols = {symbols:?}\nengine.shards = 2\n\
             source.limits.heartbeat_seconds_max = 600\nsource.backoff_seconds_max = 3600\n{more}"
        );
        let daemon = Daemon::start(sealed.root.path(), "random", server.url(), &settings);
        server.await_subscribed(&good);
        let refused = r#"tickcast_source_symbols_unsubscribed{reason="refused"}"#;
        let unacknowledged = r#"tickcast_source_symbols_unsubscribed{reason="unacknowledged"}"#;
        daemon.await_metric(refused, 1.0);
        daemon.await_metric(unacknowledged, 0.0);
        assert_eq!(daemon.get("/readyz").0, 200, "{venue}");
        // Two lists, and two messages for each time that ten are halved down to one.
        let (_, count) = asked(&server, 0, &symbols);
        let most = if venue == "kraken" { 2 } else { 2 + 2 * 4 };
        assert!(count <= most, "{venue}: {count} messages");
        for symbol in &good {
            server.trade(Trade::new(symbol, "7", 1000, 1));
        }
        daemon.await_metric("tickcast_ticks_total", good.len() as f64);

        // The bad one is listed, once, with the reason.
        let awaited = r#"tickcast_symbols_by_health{health="awaited"}"#;
        daemon.await_metric(awaited, 1.0);
        eventually("the reason of the bad one", || {
            let (_, body) = daemon.get("/v1/symbols");
            let list: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(list["count"], symbols.len(), "{venue}: {list}");
            let awaited: Vec<_> = list["symbols"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|row| row["health"] == "awaited")
                .map(|row| (row["symbol"].clone(), row["reason"].clone()))
                .collect();
            (awaited == [(bad.into(), "refused".into())]).then_some(())
        });

        // The next connection knows.
        server.act(&Order::Break);
        eventually("another connection", || (server.received().len() == 2).then_some(()));
        server.await_subscribed(&good);
        let (lists, count) = asked(&server, 1, &symbols);
        assert_eq!(count, 2, "{venue}: {lists:?}");
        assert!(lists.iter().flatten().all(|symbol| symbol != bad), "{venue}: {lists:?}");
        assert_eq!(daemon.metric(refused), 1.0);
        let ended = daemon.stop();
        let told: Vec<_> = ended
            .log
            .iter()
            .filter(|line| {
                let message = line["message"].as_str().unwrap_or_default();
                message.starts_with("the feed does not take a symbol")
            })
            .map(|line| (line["level"].clone(), line["symbols"].clone()))
            .collect();
        assert_eq!(told, [("WARN".into(), bad.into())], "{venue}: once, by name");
    }
}

#[test]
fn messages_that_fit_no_rule_leave_a_trace() {
    let sealed = sealed(31, 5, &[4]);
    let server = VenueServer::start("bybit");
    // An element-wise condition as well.
    let settings = "source.venue = 'bybit'\nsource.symbols = ['AXX']\n\
                    source.mapping.when.'S' = 'Buy'\n";
    let daemon = Daemon::start(sealed.root.path(), "random", server.url(), settings);
    server.await_subscribed(&["AXX"]);
    let count = |kind: &str| format!(r#"tickcast_source_unmatched_total{{kind="{kind}"}}"#);
    for kind in ["other", "error", "skipped", "malformed"] {
        assert_eq!(daemon.metric(&count(kind)), 0.0, "{kind}");
    }
    for _ in 0..30 {
        // Trades under another name than the rule has.
        server.act(&Order::Say(r#"{"topic":"PublicTrade.AXX","data":[{"p":"1"}]}"#.into()));
    }
    server.act(&Order::Say(r#"{"event":"error","code":"60012","msg":"Invalid request"}"#.into()));
    // A refusal of nothing that was asked for.
    let refusal = r#"{"success":false,"ret_msg":"session expired","req_id":"77"}"#;
    server.act(&Order::Say(refusal.into()));
    let skipped = r#"{"topic":"publicTrade.AXX","data":[{"s":"AXX","S":"Sell","p":"1","T":1}]}"#;
    server.act(&Order::Say(skipped.into()));
    server.act(&Order::Say("\u{1f}\u{8b}\u{8} no JSON".into()));
    for (kind, expected) in [("other", 30.0), ("error", 2.0), ("skipped", 1.0), ("malformed", 1.0)]
    {
        daemon.await_metric(&count(kind), expected);
    }
    let ended = daemon.stop();
    let lines = |message: &str| -> Vec<_> {
        let lines = ended.log.iter().filter(|line| line["message"] == message);
        lines.map(|line| (line["level"].as_str().unwrap(), line)).collect()
    };
    let other = lines("a message of the feed fits no rule of the venue");
    let counts: Vec<_> = other.iter().map(|(_, line)| line["count"].clone()).collect();
    assert_eq!(counts, [1, 10], "few lines for many messages");
    let sample = other[0].1["sample"].as_str().unwrap();
    assert!(sample.starts_with(r#"{"topic":"PublicTrade.AXX""#), "{sample}");
    // The second error is no power of ten.
    let errors = lines("the feed reported an error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].0, "WARN");
    assert!(errors[0].1["sample"].as_str().unwrap().contains("Invalid request"));
    let malformed = lines("a message of the feed cannot be read");
    assert_eq!((malformed[0].0, &malformed[0].1["error"]), ("WARN", &"not JSON".into()));
    assert_eq!(malformed[0].1["sample"], "\\u{1f}\\u{8b}\\u{8} no JSON");
    assert_eq!(lines("mapping.when leaves out every element of a message").len(), 1);
}

#[test]
fn check_shows_what_would_be_sent() {
    let sealed = sealed(5, 4, &[4]);
    let path = sealed.root.path().join("feed.toml");
    let text = format!(
        "[source]\nvenue = 'bybit'\nurl = 'ws://user:hunter2@127.0.0.1:1/key'\n\
         symbols = ['BTCUSDT', 'ETHUSDT']\nsubscription.symbols_per_message = 1\n\
         [model]\nroot = '{}'\nname = 'random'\ncadence = 'as_it_comes'\n",
        sealed.root.path().display(),
    );
    fs::write(&path, text).unwrap();
    let output = run(&["check", "-c", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "connection 1  ws://127.0.0.1:1, 2 symbols\n  \
         sends       {\"req_id\":\"1\",\"op\":\"subscribe\",\"args\":[\"publicTrade.BTCUSDT\"]}\n  \
         sends       {\"req_id\":\"2\",\"op\":\"subscribe\",\"args\":[\"publicTrade.ETHUSDT\"]}\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn map_shows_what_becomes_of_recorded_messages() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("messages.jsonl");
    let messages = [
        concat!(
            r#"{"arg":{"channel":"trades","instId":"A-B"},"data":[{"instId":"A-B","#,
            r#""tradeId":"1","px":"1.0","sz":"2","ts":"1000"},7]}"#
        ),
        "",
        "pong",
        r#"{"id":"1","event":"error","code":"60018","msg":"no\u0007 such","arg":{"instId":"C-D"}}"#,
        r#"{"id":"1","event":"subscribe","arg":{"instId":"A-B"}}"#,
        r#"{"event":"channel-conn-count"}"#,
        "hello",
    ];
    fs::write(&input, messages.join("\n")).unwrap();
    let input = input.display().to_string();
    let output = run(&["map", "--venue", "okx", "--input", &input]);
    assert_eq!(output.status.code(), Some(0));
    let expected =
        "{\"symbol\":\"A-B\",\"time\":\"1970-01-01T00:00:01Z\",\"price\":1.0,\"volume\":2}\n7\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = "line 1: the decoder refuses 7: not_an_object\n\
         line 3: pong\n\
         line 4: refused, message 1, C-D: no\\u{7} such\n\
         line 5: acknowledged, message 1, A-B\n\
         line 6: no rule knows it\n\
         line 7: malformed: not JSON\n\
         6 messages: 1 with 2 ticks (1 of them refused, 0 more left out), 4 others, 1 malformed\n";
    assert_eq!(told, expected);

    // A file of one's own, with a mistake and without.
    let own = folder.path().join("own.toml");
    fs::write(&own, "[mapping]\nsymbol = 's'\ntime = 't'\nprice = 'p~'\neach = 'd/*'\n").unwrap();
    let own_path = own.display().to_string();
    let output = run(&["map", "--venue", &own_path, "--input", &input]);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    for part in ["source.mapping.each: must begin with `/`", "source.mapping.price: `~` stands"] {
        assert!(told.contains(part), "{told}");
    }
    let own_text = "[mapping]\neach = '/d/*'\nsymbol = '/s'\ntime = 't'\nprice = 'p'\n";
    fs::write(&own, own_text).unwrap();
    fs::write(&input, r#"{"s":"X","d":[{"t":1,"p":"2"},{"t":2,"p":"3"}]}"#).unwrap();
    let output =
        tickcast().args(["map", "--venue", &own_path, "--input", &input]).output().unwrap();
    let ticks = String::from_utf8(output.stdout).unwrap();
    assert_eq!(ticks.lines().count(), 2, "{ticks}");
    assert!(ticks.starts_with(r#"{"symbol":"X","time":"1970-01-01T00:00:00.001Z","price":2}"#));

    for arguments in
        [&["map", "--input", "x"][..], &["map", "--venue", "okx", "-c", "x", "--input", "x"]]
    {
        assert_eq!(run(arguments).status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn a_server_can_go_wrong_in_every_way_that_tests_need() {
    let server = VenueServer::start("kraken");
    let feed = preset("kraken", server.url(), &["BTC/USD"]);
    let mut client = Client::of(&feed);
    client.next();
    assert_eq!((server.attempts(), server.connections()), (1, 1));
    // Nothing is said until the connection goes on, and nothing is lost by it.
    server.act(&Order::Stall(true));
    server.act(&Order::Ping);
    server.act(&Order::Stall(false));
    server.trade(Trade::new("BTC/USD", "7", 1000, 1));
    assert_eq!(client.next().1, [native("BTC/USD", "1970-01-01T00:00:01Z", "7", "1")]);
    server.act(&Order::Say("hello".into()));
    let malformed = client.next().0.kind;
    assert!(matches!(malformed, FrameKind::Malformed(_)), "{malformed:?}");
    eventually("the pong", || (server.pongs() == 1).then_some(()));
    server.act(&Order::Close(1001));
    eventually("the end", || match client.socket.read() {
        Ok(Message::Close(frame)) => Some(frame),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    });
    eventually("the goodbye", || {
        let _ = client.socket.flush();
        (server.connections() == 0).then_some(())
    });

    server.be_mute(true);
    let mut client = Client::of(&feed);
    eventually("a subscription without an answer", || {
        (server.received().get(1)?.len() == 1).then_some(())
    });
    assert!(server.subscribed().is_empty());
    server.act_on(1, Order::Break);
    assert!(client.socket.read().is_err() || client.socket.read().is_err());
    server.shut(true);
    assert!(connect(server.url()).is_err());
    assert_eq!(server.attempts(), 3);
}
