//! The history of each venue that ships: what its preset asks for, and what it makes of answers.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use prometheus::Registry;
use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config::{VENUES, parse};
use tickcast::core::decode::JsonDecoder;
use tickcast::core::domain::{DurationNanos, Field, Schema, Symbol, TimeUnit, UnixNanos};
use tickcast::core::history::{HistoryNeed, RowKind, Span};
use tickcast::core::text::excerpt;
use tickcast::core::venue::{Question, Rest, RestProblem, Unread};
use tickcast::net::percent::percent_encoded;
use tickcast::ports::history::{HistorySource, Request, Rows, Want};
use tickcast::ports::source::{SourceOpening, SourceSettings};

use crate::support::history::{HistoryServer, Reaction};
use crate::support::process::{eventually, tickcast};
use crate::support::repository;

/// The bars of the answers, minute by minute: open, high, low, close and volume. The last one is
/// not finished.
const BARS: [[f64; 5]; 4] = [
    [93117.5, 93140.0, 93101.2, 93120.7, 1.5],
    [93120.7, 93122.0, 93080.5, 93090.0, 0.25],
    [93090.0, 93099.5, 93088.0, 93095.2, 2.0],
    [93095.2, 93096.0, 93095.0, 93095.5, 0.125],
];

/// Those of a stock, of which the second minute has no trade.
const SHARES: [[f64; 5]; 4] = [
    [189.1, 189.34, 189.02, 189.2, 1520.0],
    [0.0; 5],
    [189.0, 189.06, 188.9, 189.05, 200.0],
    [189.05, 189.07, 189.05, 189.07, 100.0],
];

/// When the first bar begins.
const BEGINNING: &str = "2024-11-04T14:30:00Z";

/// What a preset makes of a venue's history.
struct Past {
    venue: &'static str,
    /// A symbol, as the configuration names it and as its ticks do.
    symbols: [&'static str; 2],
    bars: &'static [[f64; 5]; 4],
    /// The minutes of the answer, in the order of its rows, without those that say themselves that
    /// they are not finished.
    minutes: &'static [usize],
    /// The address that asks for the first three minutes.
    address: &'static str,
    /// The words of a refusal.
    refused: &'static str,
}

const PASTS: [Past; 11] = [
    Past {
        venue: "alpaca",
        symbols: ["AAPL", "AAPL"],
        bars: &SHARES,
        minutes: &[0, 2, 3],
        address: "https://data.alpaca.markets/v2/stocks/AAPL/bars?timeframe=1Min\
                  &start=2024-11-04T14%3A30%3A00Z&end=2024-11-04T14%3A32%3A59Z\
                  &limit=10000&feed=iex",
        refused: "invalid symbol: FOO-BAR",
    },
    Past {
        venue: "binance",
        symbols: ["btcusdt", "BTCUSDT"],
        bars: &BARS,
        minutes: &[0, 1, 2, 3],
        address: "https://api.binance.com/api/v3/klines?symbol=BTCUSDT&interval=1m\
                  &startTime=1730730600000&endTime=1730730779999&limit=1000",
        refused: "Invalid symbol.",
    },
    Past {
        venue: "bitfinex",
        symbols: ["tBTCUSD", "BTCUSD"],
        bars: &BARS,
        minutes: &[0, 2, 3],
        address: "https://api-pub.bitfinex.com/v2/candles/trade:1m:tBTCUSD/hist\
                  ?start=1730730600000&end=1730730779999&limit=10000&sort=1",
        refused: "symbol: invalid",
    },
    Past {
        venue: "bitstamp",
        symbols: ["BTCUSD", "BTCUSD"],
        bars: &BARS,
        minutes: &[0, 1, 2],
        address: "https://www.bitstamp.net/api/v2/ohlc/btcusd/?step=60&limit=1000\
                  &end=1730730779&exclude_current_candle=true",
        refused: "Market not found.",
    },
    Past {
        venue: "bybit",
        symbols: ["BTCUSDT", "BTCUSDT"],
        bars: &BARS,
        minutes: &[3, 2, 1, 0],
        address: "https://api.bybit.com/v5/market/kline?category=spot&symbol=BTCUSDT&interval=1\
                  &start=1730730600000&end=1730730779999&limit=1000",
        refused: "Not supported symbols",
    },
    Past {
        venue: "coinbase",
        symbols: ["BTC-USD", "BTC-USD"],
        bars: &BARS,
        minutes: &[3, 2, 0],
        address: "https://api.exchange.coinbase.com/products/BTC-USD/candles?granularity=60\
                  &start=2024-11-04T14%3A30%3A00Z&end=2024-11-04T14%3A33%3A00Z",
        refused: "NotFound",
    },
    Past {
        venue: "gate",
        symbols: ["BTC_USDT", "BTC_USDT"],
        bars: &BARS,
        minutes: &[0, 1, 2],
        address: "https://api.gateio.ws/api/v4/spot/candlesticks?currency_pair=BTC_USDT\
                  &interval=1m&from=1730730600&to=1730730779",
        refused: "Invalid currency pair FOO_BAR",
    },
    Past {
        venue: "gemini",
        symbols: ["BTCUSD", "BTCUSD"],
        bars: &BARS,
        minutes: &[3, 2, 1, 0],
        address: "https://api.gemini.com/v2/candles/btcusd/1m",
        refused: "Supplied value 'FOOBAR' is not a valid symbol",
    },
    Past {
        venue: "htx",
        symbols: ["BTCUSDT", "BTCUSDT"],
        bars: &BARS,
        minutes: &[3, 2, 1, 0],
        address: "https://api.huobi.pro/market/history/kline?symbol=btcusdt&period=1min&size=2000",
        refused: "invalid symbol",
    },
    Past {
        venue: "kraken",
        symbols: ["BTC/USD", "BTC/USD"],
        bars: &BARS,
        minutes: &[0, 1, 2, 3],
        address: "https://api.kraken.com/0/public/OHLC?pair=BTC%2FUSD&interval=1",
        refused: "EQuery:Unknown asset pair",
    },
    Past {
        venue: "okx",
        symbols: ["BTC-USDT", "BTC-USDT"],
        bars: &BARS,
        minutes: &[2, 1, 0],
        address: "https://www.okx.com/api/v5/market/history-candles?instId=BTC-USDT&bar=1m\
                  &before=1730730599999&after=1730730780000&limit=300",
        refused: "Instrument ID, Instrument ID code, or Spread ID doesn't exist.",
    },
];

/// The first three minutes.
fn three_minutes() -> Span {
    let from = UnixNanos::parse(BEGINNING).unwrap();
    Span { from, to: from.checked_add(DurationNanos::from_seconds(180).unwrap()).unwrap() }
}

impl Past {
    fn file(&self, name: &str) -> String {
        let folder = repository().join("tests/data/venues").join(self.venue);
        fs::read_to_string(folder.join(name)).unwrap()
    }

    fn rest(&self) -> Arc<Rest> {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings_of(self.venue, &self.symbols[..1], folder.path(), "");
        Arc::clone(settings.venue.rest().unwrap())
    }

    /// The bar of a minute as a native tick says it.
    fn bar(&self, minute: usize) -> (UnixNanos, [f64; 5]) {
        let later = DurationNanos::from_seconds(60 * minute as i64).unwrap();
        (three_minutes().from.checked_add(later).unwrap(), self.bars[minute])
    }

    /// What the decoder makes of a record: its time, and open, high, low, close and volume.
    fn decoded(&self, record: &[u8]) -> (UnixNanos, [f64; 5]) {
        let schema = Schema::new([]).unwrap();
        let decoder = JsonDecoder::new(schema, &[], TimeUnit::Seconds, 1024);
        let tick = decoder.decode(record).unwrap();
        assert_eq!(&*tick.symbol, self.symbols[1], "{}", self.venue);
        let fields = [Field::OPEN, Field::HIGH, Field::LOW, Field::CLOSE, Field::VOLUME];
        (tick.time, fields.map(|field| tick.fields.get(field).unwrap()))
    }
}

#[test]
fn each_preset_reads_the_history_of_its_venue() {
    for past in &PASTS {
        let (rest, venue, native) = (past.rest(), past.venue, past.symbols[1]);
        let length = DurationNanos::from_seconds(60).unwrap();
        let question = Question { symbol: native, length, span: three_minutes(), cursor: None };
        let address = rest.address(&question, percent_encoded).unwrap();
        assert_eq!(address, past.address, "{venue}");
        let answer = rest.read(past.file("history.json").as_bytes(), native).unwrap();
        assert_eq!((answer.bad, &answer.cursor), (0, &None), "{venue}: {:?}", answer.why);
        let rows: Vec<_> = answer.rows.iter().map(|row| past.decoded(&row.record)).collect();
        let expected: Vec<_> = past.minutes.iter().map(|minute| past.bar(*minute)).collect();
        assert_eq!(rows, expected, "{venue}");
        for (file, problem) in [
            ("history_refused.json", RestProblem::Refused),
            ("history_refused_for_rate.json", RestProblem::RateLimited),
        ] {
            let body = past.file(file);
            let known = rest.read(body.as_bytes(), native);
            let Err(Unread::Refused(refusal)) = known else { panic!("{venue} {file}: {known:?}") };
            assert_eq!(refusal.problem, problem, "{venue} {file}");
            if problem == RestProblem::Refused {
                assert_eq!(refusal.text, excerpt(past.refused, 64), "{venue}");
            }
        }
        // Bars of each length fit a day, so that their grid is that of the day.
        for (length, word) in rest.intervals() {
            let seconds = length.as_nanos() / 1_000_000_000;
            assert!(86_400 % seconds == 0 && !word.is_empty(), "{venue}: {seconds} s");
        }
    }
}

/// The settings of a preset for symbols as the configuration names them. The secrets of Alpaca lie
/// in the folder.
fn settings_of(
    venue: &str,
    symbols: &[impl Debug],
    folder: &Path,
    more: &str,
) -> WebSocketSettings {
    let mut text =
        format!("model.name = 'm'\n[source]\nvenue = '{venue}'\nsymbols = {symbols:?}\n{more}");
    if venue == "alpaca" {
        for (name, secret) in [("alpaca_key", "K-1"), ("alpaca_secret", "S-1")] {
            let path = folder.join(name);
            fs::write(&path, secret).unwrap();
            text.push_str(&format!("secrets.{name}_file = '{}'\n", path.display()));
        }
    }
    parse(&text).unwrap().source.of::<WebSocketSettings>().unwrap().clone()
}

/// The daemon's source for the history of a preset, which asks `server` in place of the venue.
fn source_of(
    venue: &str,
    symbols: &[impl Debug],
    folder: &Path,
    server: &HistoryServer,
    more: &str,
) -> Arc<dyn HistorySource> {
    let (_, preset) = VENUES.iter().find(|(name, _)| *name == venue).unwrap();
    let (_, rest) = preset.split_once("\n[rest]\n").unwrap();
    let url = rest.lines().find_map(|line| line.strip_prefix("url = \"")).unwrap();
    let target = target(url.strip_suffix('"').unwrap());
    let url = format!("rest.url = 'http://{}{target}'\n{more}", server.address());
    history_of(&settings_of(venue, symbols, folder, &url))
}

fn history_of(settings: &WebSocketSettings) -> Arc<dyn HistorySource> {
    let registry = Registry::new();
    let span = DurationNanos::from_seconds(3600).unwrap();
    let history = HistoryNeed { steps: 52, span, rows: None };
    let opening =
        SourceOpening { registry: &registry, symbols_max: 1000, seed: 1, history: &history };
    SourceSettings::<()>::history(settings, &opening).unwrap().unwrap()
}

/// Path and query of an address.
fn target(address: &str) -> &str {
    let (_, behind) = address.split_once("://").unwrap();
    &behind[behind.find('/').unwrap()..]
}

/// Asks a source for minutes of many symbols at once; the answers come in their order.
fn ask(source: &dyn HistorySource, symbols: &[impl AsRef<str>], want: Want) -> Vec<Rows> {
    let minutes = RowKind::Bars(DurationNanos::from_seconds(60).unwrap());
    ask_for(source, symbols, minutes, want)
}

fn ask_for(
    source: &dyn HistorySource,
    symbols: &[impl AsRef<str>],
    kind: RowKind,
    want: Want,
) -> Vec<Rows> {
    let questions = symbols.iter().map(|symbol| {
        let symbol = Symbol::new(symbol.as_ref()).unwrap();
        source.fetch(Request { symbol, kind, are_parts: false, want })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = runtime.block_on(futures_util::future::join_all(questions));
    answers.into_iter().map(Result::unwrap).collect()
}

#[test]
fn each_venue_is_asked_once_and_rows_come_oldest_first_and_finished() {
    let folder = tempfile::tempdir().unwrap();
    for past in &PASTS {
        let body = past.file("history.json");
        let server = HistoryServer::answering(move |_| Reaction::Say(body.clone()));
        let Past { venue, symbols, .. } = past;
        let source = source_of(venue, &symbols[..1], folder.path(), &server, "");
        let rows = ask(&*source, &symbols[1..], Want::Between(three_minutes())).remove(0);
        let mut minutes: Vec<_> = past.minutes.iter().copied().filter(|at| *at < 3).collect();
        minutes.sort_unstable();
        let expected: Vec<_> = minutes.into_iter().map(|minute| past.bar(minute)).collect();
        let found: Vec<_> = rows.rows.iter().map(|row| past.decoded(&row.bytes)).collect();
        assert_eq!((found, rows.is_complete), (expected, true), "{venue}");
        let asked = server.asked();
        let targets: Vec<_> = asked.iter().map(|asked| asked.target.as_str()).collect();
        assert_eq!(targets, [target(past.address)], "{venue}");
        let sent = ["APCA-API-KEY-ID", "APCA-API-SECRET-KEY"].map(|name| asked[0].header(name));
        let expected = if *venue == "alpaca" { ["K-1", "S-1"] } else { [""; 2] };
        assert_eq!(sent, expected, "{venue}");
    }
}

#[test]
fn a_stock_without_bars_has_an_answer_without_rows_and_a_page_leads_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let alpaca = &PASTS[0];
    let nothing = alpaca.file("history_without_bars.json");
    let answer = alpaca.rest().read(nothing.as_bytes(), "AAPL").unwrap();
    assert_eq!((answer.rows.len(), answer.bad, answer.cursor), (0, 0, None));
    let first = nothing.replace(r#""next_page_token":null"#, r#""next_page_token":"QUFQTHxN""#);
    assert_ne!(first, nothing);
    let last = alpaca.file("history.json");
    let server = HistoryServer::answering(move |asked| {
        Reaction::Say(if asked.parameter("page_token").is_empty() { &first } else { &last }.clone())
    });
    let source = source_of("alpaca", &["AAPL"], folder.path(), &server, "");
    let rows = ask(&*source, &["AAPL"], Want::Between(three_minutes())).remove(0);
    assert_eq!((rows.rows.len(), rows.is_complete), (2, true));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].target, format!("{}&page_token=QUFQTHxN", asked[0].target));
}

#[test]
fn five_hundred_symbols_take_one_request_each() {
    const ROWS: u32 = 52;
    let folder = tempfile::tempdir().unwrap();
    let end = three_minutes().to;
    let kline = |minute: i64| {
        let time = end.as_nanos() / 1_000_000 - 60_000 * minute;
        format!(r#"[{time},"1.5","2","1","1.5","7",{},"1",1,"1","1","0"]"#, time + 59_999)
    };
    let klines: Vec<_> = (1..=i64::from(ROWS)).rev().map(kline).collect();
    let body = format!("[{}]", klines.join(","));
    let server = HistoryServer::answering(move |_| Reaction::Say(body.clone()));
    let symbols: Vec<_> = (0..500).map(|index| format!("S{index}USDT")).collect();
    // As many at once as the preset says, and as fast as they come.
    let no_limit = "rest.limits.requests_max = 0\n";
    let source = source_of("binance", &symbols, folder.path(), &server, no_limit);
    for rows in ask(&*source, &symbols, Want::Newest { before: Some(end), rows: ROWS }) {
        assert_eq!((rows.rows.len(), rows.is_complete), (ROWS as usize, true));
    }
    let asked = server.asked();
    let names: BTreeSet<_> = asked.iter().map(|asked| asked.parameter("symbol")).collect();
    assert_eq!((asked.len(), names.len()), (500, 500), "one page for each symbol");
    assert!(server.connections() <= 8 && server.under_way_max() <= 8, "no more at once");
}

/// A running `tickcast feed`, which ends when dropped.
struct Feed(Child);

impl Drop for Feed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_has_the_days_that_its_feed_holds_back() {
    // Weeks of five days, of which the first 60 days are held back.
    let days = (0..100i64).filter(|day| day % 7 < 5).map(|day| day * 86_400 + 951_868_800);
    let lines = days.flat_map(|second| {
        let time = UnixNanos::from_nanos(second * 1_000_000_000);
        ["A,B", "IBM"].map(|symbol| {
            format!(r#"{{"symbol":"{symbol}","time":"{time}","close":{second}.50,"volume":7}}"#)
        })
    });
    let lines: Vec<_> = lines.collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("days.jsonl");
    fs::write(&input, lines.join("\n")).unwrap();
    let told = folder.path().join("url");
    let feed = tickcast()
        .args(["feed", "--to", "ws://127.0.0.1:0", "--rate", "0.001/s", "--history", "60"])
        .arg("--input")
        .arg(&input)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&told).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _feed = Feed(feed);
    let address = eventually("the feed's address", || {
        let text = fs::read_to_string(&told).ok()?;
        Some(text.strip_suffix('\n')?.strip_prefix("ws://")?.to_owned())
    });
    // As the demo asks.
    let config = fs::read_to_string(repository().join("config/demo.toml")).unwrap();
    let (_, rest) = config.split_once("\n[source.rest]\n").unwrap();
    let (rest, _) = rest.split_once("\n[history]\n").unwrap();
    let script = fs::read_to_string(repository().join("deploy/demo.sh")).unwrap();
    let (_, question) = script.split_once("question='").unwrap();
    let (question, _) = question.split_once('\'').unwrap();
    let of_script = format!("/history?{question}\"\n");
    assert!(rest.contains(&of_script), "the demo's file and its script ask alike: {rest}");
    let rest = rest.replace("127.0.0.1:9631", &address);
    let text = format!("model.name = 'm'\n[source]\nurl = 'ws://{address}'\n[source.rest]\n{rest}");
    let config = parse(&text).unwrap();
    let source = history_of(config.source.of::<WebSocketSettings>().unwrap());
    let kind = RowKind::Bars(DurationNanos::from_seconds(86_400).unwrap());
    assert!(source.serves(kind).is_ok());
    let first_played = UnixNanos::from_nanos((951_868_800 + 84 * 86_400) * 1_000_000_000);
    let want = Want::Newest { before: Some(first_played), rows: 52 };
    for (index, rows) in ask_for(&*source, &["A,B", "IBM"], kind, want).into_iter().enumerate() {
        let held = lines.iter().skip(index).step_by(2).take(60).skip(60 - 52);
        let found = rows.rows.iter().map(|row| std::str::from_utf8(&row.bytes).unwrap());
        assert_eq!(found.collect::<Vec<_>>(), held.collect::<Vec<_>>());
        assert!(rows.is_complete);
    }
}
