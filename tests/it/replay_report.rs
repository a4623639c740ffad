//! The report of a replay, from a process: it changes nothing else, and a second opinion agrees.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tickcast::core::domain::Symbol;
use tickcast::core::forecast::SignalThresholds;
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::process::run;
use crate::support::repository;

/// One name is markup.
const SYMBOLS: [&str; 3] = ["A", "<img src=x onerror=alert(1)>", "C"];
const DAYS: u32 = 400;

fn bundle(signal: SignalThresholds) -> SealedBundle {
    sealed_with(11, 4, &[8], |draft| {
        draft.manifest.horizon_steps = 2;
        draft.manifest.signal = signal;
    })
}

const ANY: SignalThresholds = SignalThresholds { buy_above: 0.002, sell_below: -0.002 };

/// Thresholds that a third of the forecasts of a file are above, and a third below.
fn thirds(forecasts: &str) -> SignalThresholds {
    let lines = fs::read_to_string(forecasts).unwrap();
    let value = |line| serde_json::from_str::<ForecastRecord<'_>>(line).unwrap().value;
    let mut values: Vec<f64> = lines.lines().map(value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let third = values.len() / 3;
    SignalThresholds { buy_above: values[2 * third], sell_below: values[third] }
}

/// Days of every symbol, in order of time; one symbol has a gap.
fn recording() -> String {
    let tick = |symbol: &str, day: u32| {
        let phase = f64::from(symbol.len() as u32);
        let wave = (f64::from(day) * 0.7 + phase).sin() + (f64::from(day) * 0.13).cos();
        let (close, time) = (100.0 + 10.0 * wave, i64::from(day) * 86_400_000);
        format!("{{\"symbol\":\"{symbol}\",\"time\":{time},\"close\":{close},\"volume\":{day}}}\n")
    };
    let is_there = |symbol: &str, day: u32| symbol != "C" || !(100..140).contains(&day);
    let of_day = |day: u32| {
        SYMBOLS.into_iter().filter(move |symbol| is_there(symbol, day)).map(move |s| tick(s, day))
    };
    (0..DAYS).flat_map(of_day).collect()
}

/// Replays with further options, which may name files of the folder.
fn replay(sealed: &SealedBundle, folder: &Path, name: &str, options: &[&str]) -> Output {
    let path = |file: &str| folder.join(file).display().to_string();
    fs::write(path("ticks.jsonl"), recording()).unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
         forecast.signals.release = 0.5\nforecast.signals.cooldown_steps = 1\n",
        sealed.root.path().display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let [config, input] = ["tickcast.toml", "ticks.jsonl"].map(path);
    let (output, scores) = (path(&format!("{name}.jsonl")), path(&format!("{name}-scores.jsonl")));
    let fixed = ["replay", "-c", &config, "--input", &input, "--output", &output, "--scores"];
    run(&[&fixed[..], &[&scores], options].concat())
}

fn assert_ended(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_report_changes_no_output_and_a_second_opinion_agrees() {
    assert!(Symbol::new(SYMBOLS[1]).is_ok());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_ended(&replay(&bundle(ANY), folder.path(), "first", &[]));
    let signal = thirds(&path("first.jsonl"));
    let sealed = bundle(signal);
    assert_ended(&replay(&sealed, folder.path(), "plain", &[]));
    let (page, figures) = (path("report.html"), path("report.json"));
    let options = ["--report", &page, "--report", &figures, "--cost-bps", "3", "--paper-sell"];
    let options = [&options[..], &["flat", "--paper-hold", "keep"]].concat();
    assert_ended(&replay(&sealed, folder.path(), "reported", &options));
    for [plain, reported] in
        [["plain.jsonl", "reported.jsonl"], ["plain-scores.jsonl", "reported-scores.jsonl"]]
    {
        let [plain, reported] = [plain, reported].map(|name| fs::read(path(name)).unwrap());
        assert!(plain.len() > 10_000 && plain == reported, "the same bytes");
    }
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;") && !html.contains("<img"));
    let script = repository().join("tests/reference/report.py");
    let output = Command::new("python3")
        .arg(script)
        .args([path("reported.jsonl"), path("reported-scores.jsonl"), figures])
        .arg(format!("--buy-above={}", signal.buy_above))
        .arg(format!("--sell-below={}", signal.sell_below))
        .args(["--release", "0.5"])
        .args(["--cooldown-steps", "1", "--horizon-steps", "2", "--cost-bps", "3"])
        .args(["--paper-sell", "flat", "--paper-hold", "keep", "--page", &page])
        .output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("figures agree") && said.contains("the page is whole"), "{said}");
    // Both signals were given, so the figures are about something.
    let figures: serde_json::Value =
        serde_json::from_slice(&fs::read(path("report.json")).unwrap()).unwrap();
    for side in ["buy", "sell"] {
        let raised = figures[0]["signals"][side]["detection"]["raised"].as_u64().unwrap();
        assert!(raised > 20, "{side}: {raised}");
    }
}

#[test]
fn a_report_that_cannot_be_written_or_makes_no_sense_is_refused_at_once() {
    let sealed = bundle(ANY);
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/report.html").display().to_string();
    let output = replay(&sealed, folder.path(), "refused", &["--report", &missing]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{errors}");
    assert!(errors.contains("missing/report.html"), "{errors}");
    let output = replay(&sealed, folder.path(), "refused", &["--cost-bps", "-1"]);
    assert_eq!(output.status.code(), Some(64));
    let output = replay(&sealed, folder.path(), "refused", &["--paper-sell", "all"]);
    assert_eq!(output.status.code(), Some(64));
}
