//! How the state looks, and sessions against the http thread.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_tungstenite::tungstenite::Message;

use super::board::{Board, Link};
use super::client::ConnectError;
use super::render::{Ink, Size, line, table};
use super::screen::Screen;
use super::warming::Warming;
use super::*;
use crate::adapters::http::access::Access;
use crate::adapters::http::{HttpServer, HttpState, VersionInfo};
use crate::adapters::stream::{Records, StreamHub, StreamId, StreamLimits, StreamMetrics};
use crate::core::domain::Symbol;
use crate::net::dial::{Dialer, Proxies, TlsFiles};
use crate::ops::readiness::Readiness;

const URL: &str = "ws://127.0.0.1:9630/v1/stream";

/// A record as the daemon writes it; `changes` replaces or adds members.
fn record(symbol: &str, changes: &serde_json::Value) -> Vec<u8> {
    let mut record = serde_json::json!({
        "schema": "tickcast.forecast.v1",
        "id": "00",
        "symbol": symbol,
        "model": "aapl-daily",
        "model_version": "1",
        "mode": "sliding",
        "as_of": "2013-02-28T00:00:00Z",
        "target_time": "2013-03-01T00:00:00Z",
        "value": 0.0125,
        "price": 452.4862,
        "last_price": 446.9,
        "lower": -0.02,
        "upper": 0.045,
        "coverage": 0.9,
        "signal": "hold",
        "quality": "full",
        "out_of_range": false,
    });
    let members = record.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    serde_json::to_vec(&record).unwrap()
}

fn plain(symbol: &str) -> Vec<u8> {
    record(symbol, &serde_json::json!({}))
}

/// A board that has been watched for two seconds.
fn board(records: &[Vec<u8>]) -> Board {
    let mut board = Board::new();
    board.link = Link::Connected;
    board.observe(Duration::ZERO);
    for record in records {
        board.take(record);
    }
    board.observe(Duration::from_secs(2));
    board
}

fn drawn(board: &Board, columns: usize, lines: usize) -> Vec<String> {
    table(board, URL, Size { columns, lines }, Ink::Plain)
}

#[test]
fn the_table_shows_the_newest_forecast_of_every_symbol() {
    let board = board(&[
        plain("MSFT"),
        record("AAPL", &serde_json::json!({"value": 9.0, "signal": "buy"})),
        record(
            "MSFT",
            &serde_json::json!({
                "as_of": "2013-02-28T14:30:05.25Z", "value": 0.03, "price": 4.312_251_5,
                "last_price": 4.186_652, "signal": "buy", "quality": "gapped", "out_of_range": true,
            }),
        ),
        plain("AAPL"),
        record(
            "BTC-USDT",
            &serde_json::json!({
                "value": -0.025, "price": 45_216.6, "last_price": 46_376.0, "signal": "sell",
                "quality": "patched",
            }),
        ),
    ]);
    assert_eq!(
        drawn(&board, 120, 30),
        [
            "5 forecasts  2/s  3 symbols  connected to ws://127.0.0.1:9630/v1/stream",
            "",
            "symbol    as of                    last  forecast   change         interval  signal  \
             quality   forecasts",
            "AAPL      2013-02-28             446.90    452.49  +1.25 %  -2.00 … +4.50 %  hold    \
             full              2",
            "BTC-USDT  2013-02-28           46376.00  45216.60  -2.50 %  -2.00 … +4.50 %  sell    \
             patched           1",
            "MSFT      2013-02-28 14:30:05    4.1867    4.3123  +3.00 %  -2.00 … +4.50 %  buy     \
             gapped !          2",
            "",
            "! an input lies outside the range that the model was trained on",
        ]
    );
}

#[test]
fn symbols_that_wait_for_their_history_are_counted_above() {
    let mut board = board(&[plain("AAPL")]);
    board.warming = Some(Warming { done: 37, all: 1_500 });
    let expected = "1 forecast  0/s  1 symbol  warming 37 of 1,500  connected to \
                    ws://127.0.0.1:9630/v1/stream";
    assert_eq!(drawn(&board, 120, 30)[0], expected);
    assert_eq!(line(&board, URL), format!("{expected}  as of 2013-02-28"));
    board.warming = None;
    assert!(!line(&board, URL).contains("warming"));
}

#[test]
fn several_models_have_a_column_and_rows_in_the_order_of_their_coming() {
    let none = serde_json::Value::Null;
    let of = |model: &str, symbol: &str, changes: serde_json::Value| {
        let mut changes = changes;
        changes["model"] = model.into();
        record(symbol, &changes)
    };
    let volatility = serde_json::json!({
        "value": 0.0123, "price": none, "lower": 0.001, "upper": 0.04, "signal": "sell",
    });
    let board = board(&[
        of("stocks-volatility", "MSFT", volatility.clone()),
        of("aapl-daily", "AAPL", serde_json::json!({})),
        of("stocks-volatility", "AAPL", volatility.clone()),
        of("stocks-volatility", "AAPL", volatility),
        // Nothing of a name reaches the terminal that could drive it.
        of("a\x1b[2J", "AAPL", serde_json::json!({})),
    ]);
    let lines = drawn(&board, 120, 30);
    assert_eq!(
        lines[..6],
        [
            "4 forecasts  2/s  2 symbols  2 models  1 unreadable  connected to \
             ws://127.0.0.1:9630/v1/stream",
            "",
            "model              symbol  as of         last  forecast   change           interval  \
             signal  quality  forecasts",
            "stocks-volatility  AAPL    2013-02-28  446.90   0.01230        –  0.00100 … 0.04000  \
             sell    full             2",
            "stocks-volatility  MSFT    2013-02-28  446.90   0.01230        –  0.00100 … 0.04000  \
             sell    full             1",
            "aapl-daily         AAPL    2013-02-28  446.90    452.49  +1.25 %    -2.00 … +4.50 %  \
             hold    full             1",
        ]
    );
    assert_eq!(drawn(&board, 120, 7)[4], "… and 2 more rows");
    assert_eq!(
        drawn(&board, 80, 30)[2].trim_end(),
        "model              symbol    last  forecast   change  signal  quality"
    );
}

#[test]
fn values_that_are_no_change_are_shown_in_their_own_unit() {
    let none = serde_json::Value::Null;
    let board = board(&[
        // A model that forecasts the next value itself.
        record("A", &serde_json::json!({"value": 452.4862, "lower": 440.0, "upper": 460.5})),
        // A stream without prices, such as rain.
        record(
            "B",
            &serde_json::json!({
                "value": 0.731, "price": none, "last_price": none, "lower": 0.5, "upper": 0.9,
            }),
        ),
        record("C", &serde_json::json!({"value": 1e-9, "price": none, "last_price": 0.0})),
    ]);
    let lines = drawn(&board, 120, 30);
    assert_eq!(
        lines[3..6],
        [
            "A       2013-02-28  446.90     452.49  +1.25 %         440.00 … 460.50  hold    \
             full             1",
            "B       2013-02-28       –     0.7310        –         0.5000 … 0.9000  hold    \
             full             1",
            "C       2013-02-28    0.00  0.0000000        –  -0.0200000 … 0.0450000  hold    \
             full             1",
        ]
    );
}

/// A score as the daemon writes it, of which nothing but these is shown.
fn score(symbol: &str, changes: &serde_json::Value) -> Vec<u8> {
    let mut score = serde_json::json!({
        "schema": "tickcast.score.v1", "id": "00", "symbol": symbol, "model": "aapl-daily",
        "model_version": "1", "mode": "sliding", "as_of": "2013-02-27T00:00:00Z",
        "target_time": "2013-02-28T00:00:00Z", "truth_time": "2013-02-28T00:00:00Z",
        "value": 0.0125, "truth": 0.25, "error": 0.2375, "absolute_error": 0.2375,
        "baseline": 0.0, "baseline_absolute_error": 0.25, "lower": -0.02, "upper": 0.045,
        "coverage": 0.9, "covered": false, "quality": "full", "out_of_range": false,
        "drift": false,
    });
    score.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::to_vec(&score).unwrap()
}

#[test]
fn verdicts_are_shown_where_there_are_scores() {
    let mut board = board(&["A", "B", "C", "D"].map(plain));
    board.take_score(&score("NONE", &serde_json::json!({})));
    board.take_score(b"none");
    assert!(!drawn(&board, 160, 30)[2].contains("verdict"), "no row has one");
    let verdict = |word: &str| {
        serde_json::json!({
            "skill": -0.125, "held": 0.906,
            "verdict": {
                "word": word, "against": "persistence", "since": "2012-11-05T00:00:00Z",
                "scores": 420, "mean_difference": -0.5, "limits": [-0.75, -0.25],
                "log_e_value": 4.5,
            },
        })
    };
    board.take_score(&score("A", &verdict("worse")));
    board.take_score(&score("B", &verdict("undecided")));
    board.take_score(&score("C", &serde_json::json!({})));
    // The next forecast keeps the verdict.
    board.take(&plain("A"));
    assert_eq!(
        drawn(&board, 160, 30)[2..7],
        [
            "symbol  as of         last  forecast   change         interval  \
             verdict                 signal  quality   skill  held  forecasts",
            "A       2013-02-28  446.90    452.49  +1.25 %  -2.00 … +4.50 %  \
             worse since 2012-11-05  hold    full     -0.125  91 %          2",
            "B       2013-02-28  446.90    452.49  +1.25 %  -2.00 … +4.50 %  \
             undecided               hold    full     -0.125  91 %          1",
            "C       2013-02-28  446.90    452.49  +1.25 %  -2.00 … +4.50 %  \
             –                       –       full          –     –          1",
            "D       2013-02-28  446.90    452.49  +1.25 %  -2.00 … +4.50 %  \
             –                       –       full          –     –          1",
        ]
    );
    let heading = |columns| drawn(&board, columns, 30)[2].trim_end().to_owned();
    assert_eq!(
        heading(80),
        "symbol  forecast   change  verdict                 signal  quality   skill"
    );
}

#[test]
fn a_blend_shows_the_expert_that_weighs_most() {
    let weights = serde_json::json!({
        "model": "mix", "weights": {"vol": 0.25, "average": 0.5, "linear": 0.25}
    });
    let board = board(&[plain("AAPL"), record("AAPL", &weights)]);
    let drawn = drawn(&board, 200, 30);
    assert!(drawn[2].trim_end().ends_with("forecasts  mostly"), "{}", drawn[2]);
    assert!(drawn[3].trim_end().ends_with("1  –"), "{}", drawn[3]);
    assert!(drawn[4].ends_with("1  average 50 %"), "{}", drawn[4]);
}

#[test]
fn hits_of_signals_are_shown_beside_those_of_chance() {
    let mut board = board(&["A", "B"].map(plain));
    let side = serde_json::json!({"raised": 5, "happened": 4, "hits": 2, "base_rate": 0.4});
    let signals = serde_json::json!({
        "scores": 10, "buy": side, "sell": side, "hit_rate": 0.6, "hit_rate_95": [0.3, 0.8],
        "hit_rate_by_chance": 0.5,
    });
    board.take_score(&score("A", &serde_json::json!({})));
    assert!(!drawn(&board, 170, 30)[2].contains("hits"), "no signal was judged");
    board.take_score(&score("B", &serde_json::json!({"signal": "buy", "signals": signals})));
    let lines = drawn(&board, 170, 30);
    let (_, heading) = lines[2].split_once("skill").unwrap();
    assert_eq!(heading, "  held       hits  forecasts");
    assert!(lines[4].ends_with("60 / 50 %          1"), "{}", lines[4]);
}

#[test]
fn a_narrow_terminal_gets_fewer_columns() {
    let board = board(&[plain("AAPL"), record("MSFT", &serde_json::json!({"out_of_range": true}))]);
    let heading = |columns| drawn(&board, columns, 30)[2].trim_end().to_owned();
    let all = "symbol  as of         last  forecast   change         interval  signal  quality  \
               forecasts";
    assert_eq!(heading(90), all);
    assert_eq!(
        heading(89),
        "symbol  as of         last  forecast   change  signal  quality  forecasts"
    );
    assert_eq!(heading(70), "symbol  as of         last  forecast   change  signal  quality");
    assert_eq!(heading(60), "symbol    last  forecast   change  signal  quality");
    assert_eq!(heading(45), "symbol  forecast   change  signal  quality");
    assert_eq!(heading(20), "symbol  forecast   …");
    for columns in 0..120 {
        for line in drawn(&board, columns, 30) {
            assert!(console::measure_text_width(&line) <= columns.max(1), "{columns}: {line}");
        }
    }
}

#[test]
fn a_low_terminal_gets_fewer_symbols() {
    let records: Vec<_> = (0..1500).map(|index| plain(&format!("S{index:04}"))).collect();
    let board = board(&records);
    let lines = drawn(&board, 80, 12);
    assert_eq!(lines.len(), 12);
    assert!(lines[8].starts_with("S0005 "), "{}", lines[8]);
    assert_eq!(lines[9], "… and 1,494 more symbols");
    assert_eq!(lines[11], "! an input lies outside the range that the model was trained on");
    for height in 0..12 {
        assert!(drawn(&board, 80, height).len() <= height);
    }
    let three = self::board(&[plain("A"), plain("B"), plain("C")]);
    assert_eq!(drawn(&three, 80, 8)[5].split(' ').next(), Some("C"), "three fit exactly");
    assert_eq!(drawn(&three, 80, 7)[4], "… and 2 more symbols");
}

#[test]
fn shifted_inputs_have_a_mark_and_its_meaning() {
    let shift = serde_json::json!({"feature": "close", "psi": 6.25});
    let shifted = serde_json::json!({"shifted": true, "shift": shift, "out_of_range": true});
    let within = record("AAPL", &serde_json::json!({"shifted": false}));
    let lines = drawn(&board(&[within.clone(), record("MSFT", &shifted)]), 120, 30);
    assert!(lines[3].contains(" full  ") && lines[4].contains(" full !~"), "{lines:?}");
    let legend = "! an input outside the training range  ~ inputs unlike the training";
    assert_eq!(lines.last().map(String::as_str), Some(legend));
    let lines = drawn(&board(&[within]), 120, 30);
    assert!(!lines.last().unwrap().contains('~'), "{lines:?}");
}

#[test]
fn a_signal_has_a_colour_where_its_model_is_better() {
    let records = ["buy", "sell", "hold"].map(|signal| {
        record(signal, &serde_json::json!({"signal": signal, "out_of_range": signal == "hold"}))
    });
    let mut board = board(&records);
    let size = Size { columns: 160, lines: 30 };
    let coloured = table(&board, URL, size, Ink::Colours);
    let stripped: Vec<_> =
        coloured.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
    assert_eq!(stripped, table(&board, URL, size, Ink::Plain));
    assert!(coloured[3].contains("  buy "), "no verdict, no colour: {:?}", coloured[3]);
    assert!(coloured[4].contains("hold") && coloured[4].contains("\x1b[33mfull !"), "{coloured:?}");
    let verdict = |word: &str| {
        serde_json::json!({"verdict": {
            "word": word, "against": "drift", "since": "2012-11-05T00:00:00Z", "scores": 420,
            "mean_difference": 0.5, "limits": [0.25, 0.75], "log_e_value": 4.5,
        }})
    };
    board.take_score(&score("buy", &verdict("better")));
    board.take_score(&score("sell", &verdict("better")));
    let coloured = table(&board, URL, size, Ink::Colours);
    assert!(coloured[3].contains("\x1b[32mbuy"), "{:?}", coloured[3]);
    assert!(coloured[5].contains("\x1b[31msell"), "{:?}", coloured[5]);
    board.take_score(&score("sell", &verdict("undecided")));
    let coloured = table(&board, URL, size, Ink::Colours);
    assert!(coloured[5].contains("  sell "), "{:?}", coloured[5]);
}

#[test]
fn the_connection_and_what_is_no_forecast_are_shown() {
    let mut board = Board::new();
    assert_eq!(
        drawn(&board, 120, 30),
        [
            "0 forecasts  0/s  0 symbols  connecting to ws://127.0.0.1:9630/v1/stream",
            "",
            "waiting for the first forecast"
        ]
    );
    let none = serde_json::json!({"value": serde_json::Value::Null});
    for bad in [
        b"not json".to_vec(),
        b"\xff".to_vec(),
        record("A", &none),
        record("A\x1b[2J", &serde_json::json!({})),
        record("A", &serde_json::json!({"schema": "tickcast.forecast.v2"})),
    ] {
        board.take(&bad);
    }
    board.take(&record("Z\u{fc}rich \"1\"", &serde_json::json!({"later": [1]})));
    board.link = Link::Lost("closed, 1001 going away".into());
    assert_eq!(
        line(&board, URL),
        "1 forecast  0/s  1 symbol  5 unreadable  lost ws://127.0.0.1:9630/v1/stream: closed, \
         1001 going away; trying again  as of 2013-02-28"
    );
    assert!(drawn(&board, 120, 30)[3].starts_with("Zürich \"1\"  2013"));
}

#[test]
fn a_long_symbol_is_cut() {
    let board = board(&[plain(&"x".repeat(64))]);
    assert!(drawn(&board, 120, 30)[3].starts_with("xxxxxxxxxxxxxxx…  2013"));
}

#[test]
fn a_picture_overwrites_the_one_before_it() {
    thread_local!(static SIZE: Cell<(u16, u16)> = const { Cell::new((10, 40)) });
    let output = Output::default();
    let view = View::Table { colours: false, size: || SIZE.get() };
    let mut screen = Screen::new(output.clone(), view);
    let mut shown = |board: &Board| {
        output.0.lock().unwrap().clear();
        screen.show(board, URL).unwrap();
        output.text()
    };
    let lines = |board: &Board, columns, lines| -> String {
        drawn(board, columns, lines).iter().map(|line| format!("{line}\x1b[K\n")).collect()
    };
    let (empty, one) = (Board::new(), board(&[plain("A")]));
    assert_eq!(shown(&empty), format!("\x1b[?25l{}\x1b[J", lines(&empty, 40, 9)));
    assert_eq!(shown(&one), format!("\x1b[3A\r{}\x1b[J", lines(&one, 40, 9)), "over three lines");
    assert_eq!(shown(&empty), format!("\x1b[6A\r{}\x1b[J", lines(&empty, 40, 9)), "over six");
    SIZE.set((10, 30));
    let anew = format!("\x1b[2J\x1b[H{}\x1b[J", lines(&empty, 30, 9));
    assert_eq!(shown(&empty), anew, "a terminal of another size has wrapped what was there");
}

/// Output that can be read while it is written.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A daemon's http thread with its stream, on a free port or a given one.
struct Server {
    hub: StreamHub,
    scores: StreamHub,
    target: Target,
    port: u16,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

fn serve(port: u16) -> Server {
    let registry = Registry::new();
    let metrics = StreamMetrics::register(&registry).unwrap();
    let limits = StreamLimits {
        subscribers_max: 2,
        subscribers_per_address_max: 2,
        lag_records_max: 1024,
        symbols_max: 16,
    };
    let hub = StreamHub::new(limits, StreamId(1), metrics);
    let scores = hub.beside(limits, StreamId(2), Records::Scores);
    let server = HttpServer::bind(([127, 0, 0, 1], port).into()).unwrap();
    let address = server.local_addr();
    let version = VersionInfo {
        model: String::new(),
        model_version: String::new(),
        mode: String::new(),
        runtime: "onnxruntime",
        runtime_build: String::new(),
    };
    let state = HttpState {
        registry,
        readiness: Readiness::new(),
        liveness: Readiness::always("process"),
        symbols: None,
        stream: Some(hub.clone()),
        scores: Some(scores.clone()),
        version: Some(version),
        models: None,
        access: Access::default(),
    };
    let (stop, stopped) = watch::channel(false);
    let thread = server.spawn(state, stopped).unwrap();
    let target = format!("ws://{address}").parse().unwrap();
    Server { hub, scores, target, port: address.port(), stop, thread }
}

impl Server {
    fn publish(&self, symbol: &str) {
        self.hub.publish(&Symbol::new(symbol).unwrap(), plain(symbol).into());
    }

    /// Stops it and waits for its end, while the run goes on.
    async fn end(self) -> u16 {
        self.stop.send(true).unwrap();
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
        self.port
    }
}

fn watch_run(target: &Target, until_closed: bool) -> WatchRun {
    WatchRun {
        target: target.clone(),
        dialer: Dialer::new(dial_options(TlsFiles::default(), Proxies::default()), false).unwrap(),
        connect_max: Duration::from_secs(60),
        watch_for: None,
        until_closed,
    }
}

type Outcome = (Summary, Result<(), WatchError>);

/// Watches in the background; dropping the sender does not stop it, sending does.
fn begin(
    watch_run: WatchRun,
    view: View,
) -> (Output, oneshot::Sender<()>, tokio::task::JoinHandle<Outcome>) {
    let output = Output::default();
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let running = tokio::spawn(watch_run.run(output.clone(), view, stopped));
    (output, stop, running)
}

/// Keeps a broken test from hanging for ever; never part of what is asserted.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("the test ends")
}

/// Publishes until the output has shown it; a subscriber sees only what comes after it.
async fn publish_until(
    server: &Server,
    output: &Output,
    symbol: &str,
    shown: impl Fn(&str) -> bool,
) {
    while !shown(&output.text()) {
        server.publish(symbol);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn records_are_printed_as_they_came_until_the_server_ends_the_stream() {
    within(async {
        let server = serve(0);
        let (output, _stop, running) = begin(watch_run(&server.target, true), View::Json);
        publish_until(&server, &output, "A", |text| !text.is_empty()).await;
        server.publish("B");
        server.end().await;
        let (summary, outcome) = running.await.unwrap();
        outcome.unwrap();
        let text = output.text();
        let (first, last) = (text.lines().next().unwrap(), text.lines().last().unwrap());
        assert_eq!((first.as_bytes(), last.as_bytes()), (&*plain("A"), &*plain("B")));
        assert_eq!(summary.forecasts, text.lines().count() as u64);
        assert_eq!((summary.symbols, summary.unreadable), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn a_lost_server_is_found_again() {
    within(async {
        let server = serve(0);
        let (output, stop, running) = begin(watch_run(&server.target, false), View::Json);
        publish_until(&server, &output, "A", |text| !text.is_empty()).await;
        let port = server.end().await;
        let server = serve(port);
        publish_until(&server, &output, "B", |text| text.contains("\"B\"")).await;
        stop.send(()).unwrap();
        let (summary, outcome) = running.await.unwrap();
        outcome.unwrap();
        assert_eq!(summary.symbols, 2);
        server.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_closes_the_connection() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (output, stop, running) = begin(watch_run(&target, false), View::Json);
        let (socket, _) = listener.accept().await.unwrap();
        let mut server = tokio_tungstenite::accept_async(socket).await.unwrap();
        server.send(Message::text("{}")).await.unwrap();
        while output.text().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
        assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(None));
        assert!(server.next().await.is_none());
        running.await.unwrap().1.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stop_leaves_the_last_picture_and_the_cursor() {
    within(async {
        let server = serve(0);
        let view = View::Table { colours: false, size: || (24, 80) };
        let (output, stop, running) = begin(watch_run(&server.target, false), view);
        publish_until(&server, &output, "A", |text| text.contains("connected to")).await;
        stop.send(()).unwrap();
        let (summary, outcome) = running.await.unwrap();
        outcome.unwrap();
        let text = output.text();
        let pictures: Vec<_> = text.split("\x1b[J").collect();
        assert!(pictures[0].starts_with("\x1b[?25l0 forecasts"), "{:?}", pictures[0]);
        let last = pictures[pictures.len() - 2];
        assert!(last.contains(&format!("\r{} forecast", summary.forecasts)), "{last:?}");
        assert_eq!(pictures.last(), Some(&"\x1b[?25h"), "the cursor is back");
        server.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_table_has_the_scores_of_a_daemon_as_well() {
    within(async {
        let server = serve(0);
        let view = View::Table { colours: false, size: || (24, 160) };
        let (output, stop, running) = begin(watch_run(&server.target, false), view);
        publish_until(&server, &output, "A", |text| {
            let scored = score("A", &serde_json::json!({"skill": 0.5, "held": 1.0}));
            server.scores.publish(&Symbol::new("A").unwrap(), scored.into());
            text.contains("+0.500") && text.contains("100 %")
        })
        .await;
        stop.send(()).unwrap();
        let (summary, outcome) = running.await.unwrap();
        outcome.unwrap();
        assert_eq!(summary.unreadable, 0);
        server.end().await;
    })
    .await;
}

#[tokio::test]
async fn the_time_asked_for_counts_from_the_first_connection() {
    within(async {
        let server = serve(0);
        let watch_for = Some(Duration::from_millis(50));
        let watch_run = WatchRun { watch_for, ..watch_run(&server.target, false) };
        let (output, _stop, running) = begin(watch_run, View::Lines);
        let (summary, outcome) = running.await.unwrap();
        outcome.unwrap();
        assert!(summary.elapsed >= Duration::from_millis(50));
        let text = output.text();
        assert!(text.starts_with("0 forecasts  0/s  0 symbols  connecting to ws://"), "{text}");
        assert!(text.lines().last().unwrap().contains("connected to ws://"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn no_server_is_an_error_that_may_pass_and_a_refusal_is_not() {
    within(async {
        let server = serve(0);
        let wrong = Target::with_symbols(server.target.clone(), &[String::new(), "A".into()]);
        let (_, _stop, running) = begin(watch_run(&wrong, false), View::Json);
        let error = running.await.unwrap().1.unwrap_err();
        assert!(!error.is_temporary());
        assert!(
            error.to_string().contains("the server refuses: 400 Bad Request: symbols"),
            "{error}"
        );
        let target = server.target.clone();
        server.end().await;
        let hasty = WatchRun { connect_max: Duration::ZERO, ..watch_run(&target, false) };
        let (_, _stop, running) = begin(hasty, View::Json);
        let error = running.await.unwrap().1.unwrap_err();
        assert!(error.is_temporary());
        assert!(
            matches!(
                error,
                WatchError::Connect { source: ConnectError::Nobody { seconds: 0, .. }, .. }
            ),
            "{error}"
        );
    })
    .await;
}
