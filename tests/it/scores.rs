//! Scores from a process: the same from a replay and from the daemon, and every forecast accounted
//! for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tickcast::core::baseline::BaselineKind;
use tickcast::core::domain::Signal;
use tickcast::core::score::Evidence;
use tickcast::core::verdict::Word;
use tickcast::engine::model::Draft;
use tickcast::engine::model::manifest::StepSpec;
use tickcast::engine::wire::forecast::ForecastRecord;
use tickcast::engine::wire::score::{ScoreRecord, VerdictRecord};

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::process::{Daemon, eventually, run};
use crate::support::repository;

const SYMBOLS: [&str; 3] = ["A", "B", "C"];
const DAYS: u32 = 60;

/// So that a signal depends on the signals before it.
const SIGNALS: &str = "forecast.signals.release = 0.25\nforecast.signals.cooldown_steps = 2\n";

/// The count of the scores of what a model has not seen.
const UNSEEN: &str = r#"tickcast_scores_total{evidence="unseen"}"#;

fn bundle(change: impl FnOnce(&mut Draft)) -> SealedBundle {
    sealed_with(11, 4, &[8], change)
}

fn close(symbol: &str, day: u32) -> f64 {
    100.0 + 30.0 * (f64::from(day) * 1.7 + f64::from(symbol.as_bytes()[0])).sin()
}

/// Days of every symbol, in order of time.
fn recording() -> Vec<String> {
    let tick = |symbol: &str, day: u32| {
        let (close, time) = (close(symbol, day), i64::from(day) * 86_400_000);
        format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{day}}}"#)
    };
    (0..DAYS).flat_map(|day| SYMBOLS.map(|symbol| tick(symbol, day))).collect()
}

/// What `replay` says about records: forecasts and scores.
fn replay(sealed: &SealedBundle, records: &[String], settings: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ticks.jsonl"), records.join("\n")).unwrap();
    let root = sealed.root.path().display();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{root}'\nmodel.name = 'random'\n{settings}"
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let [config, input] = ["tickcast.toml", "ticks.jsonl"].map(path);
    let [output, scores] = ["forecasts.jsonl", "scores.jsonl"].map(path);
    let arguments =
        ["replay", "-c", &config, "--input", &input, "--output", &output, "--scores", &scores];
    let ended = run(&arguments);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    (fs::read_to_string(output).unwrap(), fs::read_to_string(scores).unwrap())
}

fn scores(lines: &str) -> Vec<ScoreRecord<'_>> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn forecasts(lines: &str) -> BTreeMap<String, ForecastRecord<'_>> {
    let parsed = lines.lines().map(serde_json::from_str::<ForecastRecord<'_>>);
    parsed.map(Result::unwrap).map(|forecast| (forecast.id.to_string(), forecast)).collect()
}

#[test]
fn every_forecast_of_a_replay_has_its_score_beside_the_truth() {
    let sealed = bundle(|draft| draft.manifest.horizon_steps = 2);
    let (made, scored) = replay(&sealed, &recording(), "");
    let forecasts = forecasts(&made);
    let scores = scores(&scored);
    // The truths of the last two days are still to come.
    assert_eq!(scores.len(), forecasts.len() - 2 * SYMBOLS.len());
    let mut covered = 0;
    for score in &scores {
        let forecast = &forecasts[&*score.id];
        assert_eq!(score.symbol, forecast.symbol);
        assert_eq!((score.as_of, score.target_time), (forecast.as_of, forecast.target_time));
        assert_eq!((score.value, score.lower), (forecast.value, forecast.lower));
        let day = (score.as_of.as_nanos() / 86_400_000_000_000) as u32;
        let truth = close(&score.symbol, day + 2) / close(&score.symbol, day) - 1.0;
        assert!((score.truth - truth).abs() < 1e-12, "{} and {truth}", score.truth);
        assert_eq!(score.truth_time, score.target_time, "a step a day");
        assert_eq!(score.error, score.truth - score.value);
        assert_eq!((score.baseline, score.baseline_absolute_error), (0.0, score.truth.abs()));
        assert_eq!((score.against, score.evidence), (BaselineKind::Persistence, Evidence::Unseen));
        assert_eq!((score.evidence, forecast.evidence), (forecast.evidence, Evidence::Unseen));
        assert_eq!(score.baselines.drift, Some(0.001));
        // The change that came true on the day four days before the target's: the period is 4.
        let at = |day: u32| close(&score.symbol, day);
        let seasonal = if day >= 4 { at(day - 2) / at(day - 4) - 1.0 } else { 0.0 };
        let said = score.baselines.seasonal.unwrap();
        assert!((said - seasonal).abs() < 1e-12, "day {day}: {said} and {seasonal}");
        assert_eq!(score.direction_hit, Some(score.value * score.truth > 0.0));
        let held = (score.lower..=score.upper).contains(&score.truth);
        assert_eq!(score.covered, held);
        covered += u32::from(held);
    }
    assert!(covered > 0 && (covered as usize) < scores.len(), "both happen: {covered}");
    let (same, fixed) = replay(&sealed, &recording(), "forecast.intervals = 'bundle'\n");
    let width = |line: &str| {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        (forecast.value.to_bits(), forecast.upper - forecast.value)
    };
    for (adaptive, bundle) in made.lines().zip(same.lines()) {
        assert_eq!(width(adaptive).0, width(bundle).0, "the value is the same");
        assert!((width(bundle).1 - 0.05).abs() < 1e-12, "the width is the bundle's");
    }
    assert_ne!(made, same);
    assert_eq!(fixed.lines().count(), scores.len());
}

/// 400 days of a price that multiplies or divides by up to seven from day to day.
fn wild_recording() -> String {
    let mut random = 1u64;
    let mut line = |day: u32| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unit = (random >> 11) as f64 / (1u64 << 53) as f64;
        let (close, time) = (100.0 * (4.0 * unit - 2.0).exp(), i64::from(day) * 86_400_000);
        format!(r#"{{"symbol":"W","time":{time},"close":{close},"volume":1000}}"#)
    };
    (0..400).map(|day| line(day) + "\n").collect()
}

#[test]
fn no_interval_of_a_wild_series_goes_below_a_loss_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ticks.jsonl"), wild_recording()).unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'aapl-daily'\n",
        repository().join("models").display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let [config, input] = ["tickcast.toml", "ticks.jsonl"].map(path);
    let [output, scored] = ["forecasts.jsonl", "scores.jsonl"].map(path);
    let ended = run(&[
        "replay", "-c", &config, "--input", &input, "--output", &output, "--scores", &scored,
    ]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let lines = fs::read_to_string(output).unwrap();
    let made = forecasts(&lines);
    assert_eq!(made.len(), 370);
    let below = made.values().filter(|forecast| forecast.lower < -1.0).count();
    assert_eq!(below, 0);
    // The bundle's margins are as wide on both sides, so most would have gone below.
    let would = |forecast: &&ForecastRecord<'_>| 2.0 * forecast.value - forecast.upper < -1.0;
    let cut: Vec<_> = made.values().filter(would).collect();
    assert!(cut.len() > 300, "{}", cut.len());
    assert!(cut.iter().all(|forecast| forecast.lower.to_bits() == (-1.0f64).to_bits()));
    assert!(made.values().all(|forecast| forecast.lower <= forecast.value));
    // What is covered is what was published.
    let scored = fs::read_to_string(scored).unwrap();
    let scores = scores(&scored);
    assert_eq!(scores.len(), 369);
    for score in &scores {
        let (lower, upper) = (score.lower, score.upper);
        assert_eq!(score.covered, (lower..=upper).contains(&score.truth));
        // Cutting took no truth out.
        let uncut = 2.0 * score.value - upper..=upper;
        assert_eq!(score.covered, uncut.contains(&score.truth), "{score:?}");
    }
}

#[test]
fn the_daemon_scores_as_a_replay_does_however_many_shards_there_are() {
    let sealed = bundle(|_| {});
    let records = recording();
    let (_, expected) = replay(&sealed, &records, SIGNALS);
    let of_symbol = |lines: &str, symbol: &str| -> Vec<String> {
        let has = |line: &&str| line.contains(&format!("\"symbol\":\"{symbol}\""));
        lines.lines().filter(has).map(str::to_owned).collect()
    };
    for shards in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.jsonl");
        let feed = ScriptedFeed::start();
        let settings = format!(
            "publish.scores = '{}'\nengine.shards = {shards}\nmetrics.symbols = ['B']\n{SIGNALS}",
            path.display()
        );
        let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
        for record in &records {
            feed.say(record.clone());
        }
        let count = expected.lines().count();
        daemon.await_metric(UNSEEN, count as f64);
        let metrics = daemon.metrics();
        assert!(daemon.stop().status.success());
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), count);
        for symbol in SYMBOLS {
            assert_eq!(of_symbol(&lines, symbol), of_symbol(&expected, symbol), "{shards} shards");
        }
        assert_eq!(metrics["tickcast_scores_waiting"], SYMBOLS.len() as f64);
        assert_figures_follow_from_scores(&metrics, &scores(&expected));
    }
}

/// 700 days of one symbol.
fn long_recording() -> Vec<String> {
    let tick = |day: u32| {
        let time = i64::from(day) * 86_400_000;
        format!(r#"{{"symbol":"A","time":{time},"close":{},"volume":{day}}}"#, close("A", day))
    };
    (0..700).map(tick).collect()
}

/// Evidence goes on over a restart from a snapshot, and what a person sees of it agrees: the
/// records, the newest score over HTTP, the metrics.
#[test]
fn a_verdict_goes_on_over_a_restart() {
    let sealed = bundle(|_| {});
    let records = long_recording();
    let (_, expected) = replay(&sealed, &records, SIGNALS);
    let expected = scores(&expected);
    let words: BTreeSet<_> = expected.iter().map(|score| verdict(score).word.label()).collect();
    assert!(words.contains("too_early") && words.len() > 1, "{words:?}");
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("scores.jsonl");
    let settings = format!(
        "publish.scores = '{}'\nsnapshot.folder = '{}'\nmetrics.symbols = ['A']\n\
         snapshot.gap_steps_max = 100\n{SIGNALS}",
        lines.display(),
        folder.path().join("states").display()
    );
    let (first, second) = records.split_at(450);
    let (mut count, feed) = (0, ScriptedFeed::start());
    for part in [first, second] {
        let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
        for record in part {
            feed.say(record.clone());
        }
        let last: serde_json::Value = serde_json::from_str(part.last().unwrap()).unwrap();
        let newest = eventually("the score of the last day", || {
            let (status, body) = daemon.get("/v1/scores/A");
            let score = (status == 200).then(|| serde_json::from_str::<ScoreRecord<'_>>(&body));
            let time = score?.unwrap().truth_time.as_nanos() / 1_000_000;
            (last["time"] == time).then(|| body.clone())
        });
        count += daemon.metric(UNSEEN) as usize;
        let metrics = daemon.metrics();
        assert!(daemon.stop().status.success());
        // The next life is another subscriber of the same feed.
        feed.act(Act::Break);
        let written = fs::read_to_string(&lines).unwrap();
        assert_eq!(written.lines().last(), Some(&*newest));
        let newest: ScoreRecord<'_> = serde_json::from_str(&newest).unwrap();
        assert_eq!(newest.signals.unwrap().scores as usize, count, "of both lives");
        let newest = verdict(&newest);
        assert_eq!(newest.scores as usize, count, "of both lives");
        let labels = r#"against="persistence",model="random""#;
        let number = match newest.word {
            Word::Better => 1.0,
            Word::Worse => -1.0,
            word => panic!("{word} after {count} scores"),
        };
        assert_eq!(metrics[&format!("tickcast_verdict{{{labels}}}")], number);
        let of_symbol = format!(r#"tickcast_verdict_symbol{{{labels},symbol="A"}}"#);
        assert_eq!(metrics[&of_symbol], number);
        let word = format!(r#"tickcast_verdict_symbols{{{labels},word="{}"}}"#, newest.word);
        assert_eq!(metrics[&word], 1.0);
        let since = newest.since.unwrap().as_nanos() as f64 / 1e9;
        let shown = format!("tickcast_verdict_since_timestamp_seconds{{{labels}}}");
        assert_eq!(metrics[&shown], since);
    }
    // The first life is that of the replay, to the byte.
    let written = fs::read_to_string(&lines).unwrap();
    let found = scores(&written);
    assert_eq!(found[..400], expected[..400]);
}

fn verdict<'s>(score: &'s ScoreRecord<'_>) -> &'s VerdictRecord {
    score.verdict.as_ref().unwrap()
}

/// The gauges, from the records as a reader would compute them.
fn assert_figures_follow_from_scores(metrics: &BTreeMap<String, f64>, scores: &[ScoreRecord<'_>]) {
    let figures = |symbols: &[&str], decay: f64| {
        let (mut weight, mut squared, mut baseline, mut absolute, mut covered) =
            (0.0, 0.0, 0.0, 0.0, 0.0);
        for symbol in symbols {
            let of_symbol = scores.iter().filter(|score| score.symbol == *symbol);
            for (age, score) in of_symbol.rev().enumerate() {
                let w = decay.powi(age as i32);
                weight += w;
                squared += w * score.error.powi(2);
                baseline += w * score.baseline_absolute_error.powi(2);
                absolute += w * score.absolute_error;
                covered += if score.covered { w } else { 0.0 };
            }
        }
        [1.0 - squared / baseline, absolute / weight, covered / weight]
    };
    let raised = scores.iter().filter(|score| score.signal == Some(Signal::Buy)).count();
    let shown = r#"tickcast_signal_scores{model="random",outcome="raised",signal="buy"}"#;
    assert_eq!(metrics[shown], raised as f64);
    let labels = r#"against="persistence",model="random""#;
    let early = format!(r#"tickcast_verdict_symbols{{{labels},word="too_early"}}"#);
    assert_eq!(metrics[&early], SYMBOLS.len() as f64);
    assert!(metrics[&format!("tickcast_verdict{{{labels}}}")].is_nan());
    for (symbols, decay, name, label) in [
        (&SYMBOLS[..], 0.99, "", r#"over="weighted""#),
        (&SYMBOLS[..], 1.0, "", r#"over="recent""#),
        (&["B"][..], 0.99, "symbol_", r#"symbol="B""#),
        (&["A", "C"][..], 0.99, "symbol_", r#"symbol="other""#),
    ] {
        let model = r#"model="random""#;
        let of_error = format!(r#"{model},of="model",{label}"#);
        let shown = [
            metrics[&format!("tickcast_score_{name}skill{{{model},{label}}}")],
            metrics[&format!("tickcast_score_{name}mean_absolute_error{{{of_error}}}")],
            metrics[&format!("tickcast_score_{name}coverage_ratio{{{model},{label}}}")],
        ];
        for (shown, expected) in shown.into_iter().zip(figures(symbols, decay)) {
            assert!((shown - expected).abs() < 1e-9, "{label}: {shown} and {expected}");
        }
    }
    type Said = fn(&ScoreRecord<'_>) -> Option<f64>;
    let baselines: [(&str, Said); 5] = [
        ("persistence", |score| score.baselines.persistence),
        ("drift", |score| score.baselines.drift),
        ("average", |score| score.baselines.average),
        ("seasonal", |score| score.baselines.seasonal),
        ("linear", |score| score.baselines.linear),
    ];
    for (name, said) in baselines {
        let error = |score: &ScoreRecord<'_>| (said(score).unwrap() - score.truth).powi(2);
        let squared: f64 = scores.iter().map(|score| score.error.powi(2)).sum();
        let expected = 1.0 - squared / scores.iter().map(error).sum::<f64>();
        let labels = format!(r#"against="{name}",model="random",over="recent""#);
        let shown = metrics[&format!("tickcast_score_baseline_skill{{{labels}}}")];
        assert!((shown - expected).abs() < 1e-9, "{name}: {shown} and {expected}");
    }
}

#[test]
fn a_gap_between_forecast_and_truth_is_counted_and_nothing_is_scored_over_it() {
    let sealed = bundle(|_| {});
    let feed = ScriptedFeed::start();
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), "");
    let records = recording();
    let (first, second) = records.split_at(records.len() / 2);
    for record in first {
        feed.say(record.clone());
    }
    daemon.await_metric("tickcast_ticks_total", first.len() as f64);
    let before = daemon.metrics();
    feed.act(Act::Break);
    eventually("a reconnect", || {
        (daemon.metric("tickcast_source_connects_total") >= 2.0).then_some(())
    });
    for record in second {
        feed.say(record.clone());
    }
    daemon.await_metric("tickcast_ticks_total", records.len() as f64);
    let after = daemon.metrics();
    let unscored = r#"tickcast_scores_unscored_total{reason="gap"}"#;
    assert_eq!((before[unscored], after[unscored]), (0.0, SYMBOLS.len() as f64));
    let [made, waiting] =
        ["forecasts_total", "scores_waiting"].map(|n| after[&format!("tickcast_{n}")]);
    assert_eq!(made, after[UNSEEN] + after[unscored] + waiting);
}

#[test]
fn a_bar_is_the_truth_of_the_forecast_before_it() {
    let minute = StepSpec::time(60);
    let sealed = bundle(|draft| draft.manifest.step = minute);
    let tick = |index: u32| {
        let (close, time) = (close("A", index / 4), i64::from(index) * 15_000);
        format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":1}}"#)
    };
    let records: Vec<_> = (0..160).map(tick).collect();
    let (made, scored) = replay(&sealed, &records, "");
    let scores = scores(&scored);
    assert_eq!(scores.len(), made.lines().count() - 1);
    for score in &scores {
        assert_eq!(score.truth_time, score.target_time);
        let minute = (score.as_of.as_nanos() / 60_000_000_000) as u32;
        let truth = close("A", minute) / close("A", minute - 1) - 1.0;
        assert!((score.truth - truth).abs() < 1e-12, "{} and {truth}", score.truth);
    }
}

/// The models that ship, over the recorded days, 0.9 being asked for: `docs/scores.md` has the
/// figures.
#[test]
fn on_recorded_days_adaptive_intervals_hold_what_they_promise() {
    let data = std::env::var("TICKCAST_TEST_DATA");
    let fallback = || repository().join(".cache/data/stocks.csv").display().to_string();
    let data = data.unwrap_or_else(|_| fallback());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let columns = "symbol=Ticker,time=Date,high=High,low=Low,close=Adj Close,volume=Volume";
    let held = |model: &str, count: usize, intervals: &str| {
        let models = repository().join("models");
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = '{model}'\n\
             model.version = '1'\nforecast.intervals = '{intervals}'\n",
            models.display()
        );
        fs::write(path("tickcast.toml"), config).unwrap();
        let [config, forecasts, scored] = ["tickcast.toml", "forecasts", "scores"].map(path);
        let ended = run(&[
            "replay",
            "-c",
            &config,
            "--input",
            &data,
            "--columns",
            columns,
            "--output",
            &forecasts,
            "--scores",
            &scored,
        ]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let lines = fs::read_to_string(scored).unwrap();
        let scores = scores(&lines);
        assert_eq!(scores.len(), count, "{model}");
        let covered = scores.iter().filter(|score| score.covered).count();
        let width: f64 = scores.iter().map(|score| score.upper - score.lower).sum();
        (covered as f64 / scores.len() as f64, width / scores.len() as f64)
    };
    for (model, count) in [("aapl-daily", 11_999), ("stocks-volatility-carried", 11_904)] {
        let [(bundle, width), (adaptive, adaptive_width)] =
            ["bundle", "adaptive"].map(|intervals| held(model, count, intervals));
        println!(
            "{model}: {bundle:.3} by the bundle's interval of {width:.4}, {adaptive:.3} by \
             adaptive ones of {adaptive_width:.4}"
        );
        assert!((adaptive - 0.9).abs() < 0.01, "{model}: {adaptive}");
        assert!((bundle - 0.9).abs() > 2.0 * (adaptive - 0.9).abs(), "{model}: {bundle}");
    }
}

#[test]
fn two_writers_never_share_a_file() {
    let sealed = bundle(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tickcast.toml");
    let check = |config: &Path| run(&["check", "-c", &config.display().to_string()]);
    let root = sealed.root.path().display();
    fs::write(
        &config,
        format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{root}'\nmodel.name = 'random'\n\
             publish.lines = 'a'\npublish.scores = 'a'\nforecast.intervals = 'wide'\n\
             metrics.symbols = ['A', 'other', '']\n"
        ),
    )
    .unwrap();
    let ended = check(&config);
    assert_eq!(ended.status.code(), Some(78));
    let said = String::from_utf8(ended.stderr).unwrap();
    let expected = [
        "  line 6: forecast.intervals: `wide` is none of `adaptive`, `bundle`",
        "  line 5: publish.scores: must go elsewhere than publish.lines: two writers, two places",
        "  line 7: metrics.symbols: `other` stands for all symbols that are not listed",
        "  line 7: metrics.symbols: a symbol has 1 to 256 bytes, all of them printable",
    ];
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), expected);
}
