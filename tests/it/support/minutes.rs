//! A market of minutes: its trades as live ticks, its bars as a venue has them, and what `replay`
//! says about both in one file.

use std::fs;
use std::ops::Range;

use serde_json::Value;
use tickcast::engine::model::manifest::{StepKind, StepSpec};

use super::bundle::{SealedBundle, sealed_with};
use super::history::Bar;
use super::process::{Daemon, eventually, run};

pub(crate) const MINUTE_MS: i64 = 60_000;

/// The minute of all times that no clock has a part in.
pub(crate) const FIRST_MINUTE: i64 = 28_333_334;

/// The steps of a window.
pub(crate) const WINDOW_STEPS: usize = 4;

/// The window, one step for the change of the price, and one for the doubt about the first bar.
pub(crate) const NEEDED_STEPS: usize = WINDOW_STEPS + 1 + 1;

/// Rows that are asked for: where in its bar the tick is takes one more.
pub(crate) const NEEDED_ROWS: i64 = NEEDED_STEPS as i64 + 1;

/// A model of bars of a minute.
pub(crate) fn bundle() -> SealedBundle {
    bundle_of(WINDOW_STEPS)
}

/// The same with a window of so many steps.
pub(crate) fn bundle_of(window_steps: usize) -> SealedBundle {
    let step = StepSpec { kind: StepKind::Time, ..StepSpec::record(60) };
    sealed_with(21, window_steps as u32, &[4], |draft| draft.manifest.step = step)
}

/// When a minute begins.
pub(crate) fn time_ms(minute: i64) -> i64 {
    (FIRST_MINUTE + minute) * MINUTE_MS
}

/// The three trades of a minute: milliseconds behind its begin, price, volume.
pub(crate) fn trades(symbol: &str, minute: i64) -> [(i64, i64, i64); 3] {
    let phase = symbol.bytes().map(i64::from).sum::<i64>();
    [0, 1, 2].map(|part| {
        let price = 100 + (phase + minute * 7 + part * 3) % 11;
        (10_000 + 20_000 * part, price, 1 + (phase + minute + part) % 5)
    })
}

/// One of them as a native tick.
pub(crate) fn tick(symbol: &str, minute: i64, part: usize) -> String {
    let (offset, price, volume) = trades(symbol, minute)[part];
    let time = time_ms(minute) + offset;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{price},"volume":{volume}}}"#)
}

/// All of some minutes.
pub(crate) fn ticks(symbol: &str, minutes: Range<i64>) -> Vec<String> {
    minutes.flat_map(|minute| [0, 1, 2].map(|part| tick(symbol, minute, part))).collect()
}

/// The bar of a minute, as a venue has it.
pub(crate) fn bar(symbol: &str, minute: i64) -> Bar {
    let trades = trades(symbol, minute);
    let prices = trades.map(|(_, price, _)| price);
    Bar {
        time_ms: time_ms(minute),
        open: prices[0].to_string(),
        high: prices.iter().max().unwrap().to_string(),
        low: prices.iter().min().unwrap().to_string(),
        close: prices[2].to_string(),
        volume: trades.iter().map(|(.., volume)| volume).sum::<i64>().to_string(),
    }
}

/// The bars of some minutes.
pub(crate) fn bars(symbol: &str, minutes: Range<i64>) -> Vec<Bar> {
    minutes.map(|minute| bar(symbol, minute)).collect()
}

/// One as a native tick.
pub(crate) fn row(symbol: &str, minute: i64) -> String {
    let Bar { time_ms, open, high, low, close, volume } = bar(symbol, minute);
    let prices = format!(r#""open":{open},"high":{high},"low":{low},"close":{close}"#);
    format!(r#"{{"symbol":"{symbol}","time":{time_ms},{prices},"volume":{volume}}}"#)
}

/// The bars of some minutes as native ticks.
pub(crate) fn rows(symbol: &str, minutes: Range<i64>) -> Vec<String> {
    minutes.map(|minute| row(symbol, minute)).collect()
}

/// What `replay` says about records.
pub(crate) fn replay(sealed: &SealedBundle, records: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ticks.jsonl"), records.join("\n")).unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let (config, input) = (path("tickcast.toml"), path("ticks.jsonl"));
    let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The forecasts of a symbol, one a line.
pub(crate) fn of_symbol(lines: &str, symbol: &str) -> Vec<String> {
    let of_symbol = format!(r#""symbol":"{symbol}""#);
    lines.lines().filter(|line| line.contains(&of_symbol)).map(str::to_owned).collect()
}

/// The last `count` of them.
pub(crate) fn last(lines: &str, symbol: &str, count: usize) -> Vec<String> {
    let mut lines = of_symbol(lines, symbol);
    lines.split_off(lines.len().checked_sub(count).unwrap())
}

/// The quality of each forecast.
pub(crate) fn qualities(lines: &[String]) -> Vec<String> {
    let quality = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["quality"].as_str().unwrap().to_owned()
    };
    lines.iter().map(quality).collect()
}

/// The page of symbols.
pub(crate) fn symbols(daemon: &Daemon) -> Value {
    let (status, body) = daemon.get("/v1/symbols");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The entry of a symbol once it has a state of its history.
pub(crate) fn await_state(daemon: &Daemon, symbol: &str, state: &str) -> Value {
    eventually(&format!("{symbol} is {state}"), || {
        let list = symbols(daemon);
        let entry = list["symbols"].as_array()?.iter().find(|row| row["symbol"] == symbol)?;
        (entry["history"]["state"] == state).then(|| entry.clone())
    })
}

/// How many questions for history ended in vain, for any reason.
pub(crate) fn given_up(daemon: &Daemon) -> f64 {
    let metrics = daemon.metrics();
    let reasons =
        metrics.iter().filter(|(name, _)| name.starts_with("tickcast_history_given_up_total{"));
    reasons.map(|(_, value)| value).sum()
}
