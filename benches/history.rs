//! How long it takes to have the history of many symbols, at the pace of an exchange.
//!
//! Run by `make bench-history`. A server on loopback answers as the exchange does, each answer
//! `BENCH_DELAY_MS` late, and the daemon's own source asks it with the preset of the exchange: its
//! limits, its pages, its layout. One question a symbol, for the rows of a window of 30 with a
//! warm-up of 21, all asked at once. `BENCH_SYMBOLS` is the number of symbols at Binance's pace;
//! at Kraken's pace a tenth of them is measured, and the time of all follows from their rate,
//! unless `BENCH_WHOLE=1` has all of them measured, which takes nine minutes for 500.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench that cannot run says why by failing, and it reads the clock"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use prometheus::Registry;
use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config::{VENUES, parse};
use tickcast::core::domain::{DurationNanos, Symbol, UnixNanos};
use tickcast::core::history::{HistoryNeed, RowKind};
use tickcast::ports::history::{HistorySource, Request, Want};
use tickcast::ports::source::{SourceOpening, SourceSettings};

/// A window of 30, a warm-up of 21 and the step whose beginning is not known.
const ROWS: u32 = 52;

const MINUTE_SECONDS: i64 = 60;

/// The end of the rows: the beginning of the bar under way.
const END_SECONDS: i64 = 1_730_730_780;

/// An exchange: its preset, the share of the symbols that is measured, and how it writes bars.
struct Exchange {
    venue: &'static str,
    share: usize,
    /// The bars that an answer has without being asked for a number of them.
    bars: i64,
    begins: &'static str,
    ends: &'static str,
    bar: fn(i64) -> String,
}

const EXCHANGES: [Exchange; 2] = [
    Exchange {
        venue: "binance",
        share: 1,
        bars: ROWS as i64,
        begins: "[",
        ends: "]",
        bar: |second| {
            let (begin, end) = (second * 1000, second * 1000 + 59_999);
            let prices = r#""93117.50","93140.00","93101.20","93120.70""#;
            format!(r#"[{begin},{prices},"1.5",{end},"139666.5",101,"0.75","69833.25","0"]"#)
        },
    },
    Exchange {
        venue: "kraken",
        share: 10,
        bars: 720,
        begins: r#"{"error":[],"result":{"XXBTZUSD":["#,
        ends: r#"],"last":1}}"#,
        bar: |second| {
            format!(r#"[{second},"93117.5","93140.0","93101.2","93120.7","93110.3","1.5",13]"#)
        },
    },
];

impl Exchange {
    /// The answer to every question.
    fn answer(&self) -> String {
        let mut body = self.begins.to_owned();
        for index in 0..self.bars {
            let separator = if index == 0 { "" } else { "," };
            let second = END_SECONDS - (self.bars - index) * MINUTE_SECONDS;
            // Writing to a string does not fail.
            _ = write!(body, "{separator}{}", (self.bar)(second));
        }
        body.push_str(self.ends);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// The daemon's source, which asks `server` in place of the exchange.
    fn source(&self, server: &str) -> Arc<dyn HistorySource> {
        let (_, preset) = VENUES.iter().find(|(name, _)| *name == self.venue).unwrap();
        let (_, rest) = preset.split_once("\n[rest]\n").unwrap();
        let url = rest.lines().find_map(|line| line.strip_prefix("url = \"")).unwrap();
        let path = url.trim_end_matches('"').splitn(4, '/').nth(3).unwrap();
        let text = format!(
            "model.name = 'm'\n[source]\nvenue = '{}'\nsymbols = ['S']\n\
             rest.url = '{server}/{path}'\n",
            self.venue
        );
        let config = parse(&text).unwrap();
        let settings = config.source.of::<WebSocketSettings>().unwrap();
        let registry = Registry::new();
        let history = HistoryNeed { steps: ROWS, span: minutes(ROWS.into()), rows: None };
        let opening =
            SourceOpening { registry: &registry, symbols_max: 1000, seed: 1, history: &history };
        SourceSettings::<()>::history(settings, &opening).unwrap().unwrap()
    }

    /// Asks for so many symbols; returns how long that took and how many requests came.
    fn warm(&self, symbols: usize, delay: Duration) -> (Duration, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let (requests, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(self.answer()));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (counted, answer) = (Arc::clone(&counted), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &answer, delay, &counted));
            }
        });
        let source = self.source(&server);
        let before = Some(UnixNanos::from_nanos(END_SECONDS * 1_000_000_000));
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let questions = (0..symbols).map(|index| {
                source.fetch(Request {
                    symbol: Symbol::new(&format!("S{index}")).unwrap(),
                    kind: RowKind::Bars(minutes(1)),
                    are_parts: false,
                    want: Want::Newest { before, rows: ROWS },
                })
            });
            let mut answers = stream::iter(questions).buffer_unordered(symbols);
            while let Some(rows) = answers.next().await {
                let rows = rows.unwrap();
                assert!(rows.is_complete && rows.rows.len() == ROWS as usize, "{rows:?}");
            }
        });
        (begin.elapsed(), requests.load(Ordering::Relaxed))
    }
}

/// Answers what comes on one connection.
fn serve(stream: TcpStream, answer: &str, delay: Duration, requests: &AtomicUsize) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        if line == "\r\n" {
            requests.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(delay);
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

fn minutes(count: i64) -> DurationNanos {
    DurationNanos::from_seconds(count * MINUTE_SECONDS).unwrap()
}

/// A number of the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn main() {
    let symbols = number("BENCH_SYMBOLS", 500);
    let delay = Duration::from_millis(number("BENCH_DELAY_MS", 100) as u64);
    let is_whole = number("BENCH_WHOLE", 0) > 0;
    println!("{ROWS} rows a symbol, each answer {} ms late\n", delay.as_millis());
    println!("| exchange | symbols | requests | seconds | a second | {symbols} symbols |");
    println!("|---|---:|---:|---:|---:|---|");
    for exchange in &EXCHANGES {
        let share = if is_whole { 1 } else { exchange.share };
        let measured = (symbols / share).max(2);
        let (took, requests) = exchange.warm(measured, delay);
        let seconds = took.as_secs_f64();
        let rate = requests as f64 / seconds;
        let all = match share {
            1 => format!("{seconds:.1} s, measured"),
            // Behind the first request each one waits its turn.
            _ => {
                let turn = seconds / (requests - 1) as f64;
                format!("{:.0} s, computed", turn * (symbols - 1) as f64)
            }
        };
        println!(
            "| {} | {measured} | {requests} | {seconds:.1} | {rate:.1} | {all} |",
            exchange.venue
        );
    }
}
