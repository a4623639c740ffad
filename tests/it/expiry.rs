//! Symbols that come and go: contracts that expire, live and recorded, over restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;
use tickcast::core::domain::{
    DurationNanos, Field, Fields, Forecast, PartitionId, Position, Tick, UnixNanos,
};
use tickcast::engine::model::manifest::Mode;
use tickcast::engine::symbols::{Engine, EngineLimits, EnginePolicy, Haste, Pushed};
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{SealedBundle, sealed};
use crate::support::feed::ScriptedFeed;
use crate::support::poison::Poison;
use crate::support::process::{Daemon, creep_from_the_start, eventually, run};
use crate::support::runtime;

const WINDOW_STEPS: u32 = 5;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// Steps that a contract lives for.
const LIFE_DAYS: u32 = 12;

/// Where one contract follows another, the days from one to the next.
const GENERATION_DAYS: u32 = 14;

/// Room for five, and a limit within the time of five.
const SETTINGS: &str = "engine.symbols_max = 5\nengine.symbol_ttl = '28d'\n";

fn tick(symbol: &str, day: u32) -> String {
    let phase = f64::from(day) * 0.61 + f64::from(symbol.as_bytes()[1]);
    let (close, volume) = (100.0 + 30.0 * phase.sin(), 500.0 + 400.0 * (phase * 0.7).cos());
    let time = i64::from(day) * 86_400_000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
}

/// The ticks of contracts, each of which expires before the next one begins.
fn contracts(count: u32) -> Vec<String> {
    let life = |generation: u32| {
        let first = generation * GENERATION_DAYS;
        (first..first + LIFE_DAYS).map(move |day| tick(&format!("C{generation:02}"), day))
    };
    (0..count).flat_map(life).collect()
}

struct Place {
    root: TempDir,
    sealed: SealedBundle,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), sealed: sealed(29, WINDOW_STEPS, &[6]) }
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    fn serve(&self, settings: &str) -> Daemon {
        self.serve_as(settings, |_| {})
    }

    fn serve_as(&self, settings: &str, change: fn(&mut Command)) -> Daemon {
        let settings = format!(
            "source.kind = 'file'\nsource.path = '{}'\nsnapshot.folder = '{}'\n\
             snapshot.interval_ms = 10\n{settings}",
            self.path("ticks.jsonl"),
            self.path("state"),
        );
        Daemon::start_with(self.sealed.root.path(), "random", "", &settings, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
            change(command);
        })
    }

    /// What `replay` says, and what it writes to standard error.
    fn replay(&self, records: &[String], settings: &str) -> (Vec<String>, String) {
        fs::write(self.path("replay.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n{settings}",
            self.sealed.root.path().display()
        );
        fs::write(self.path("replay.toml"), config).unwrap();
        let (config, input) = (self.path("replay.toml"), self.path("replay.jsonl"));
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        let lines = String::from_utf8(output.stdout).unwrap();
        (lines.lines().map(str::to_owned).collect(), told)
    }

    fn lines(&self) -> Vec<String> {
        let lines = fs::read_to_string(self.path("lines.jsonl")).unwrap_or_default();
        lines.lines().map(str::to_owned).collect()
    }
}

fn symbols(lines: &[String]) -> BTreeSet<String> {
    let symbol = |line: &String| {
        serde_json::from_str::<ForecastRecord<'_>>(line).unwrap().symbol.into_owned()
    };
    lines.iter().map(symbol).collect()
}

#[test]
fn daily_contracts_go_on_for_ever_in_a_replay_and_live() {
    let place = Place::new();
    let records = contracts(30);
    let (without, told) = place.replay(&records, "engine.symbols_max = 5\n");
    assert_eq!(symbols(&without).len(), 5, "the others are refused");
    let refused = 25 * LIFE_DAYS;
    assert!(
        told.contains(&format!("refused too_many_symbols                 {refused}")),
        "{told}"
    );
    let (replayed, told) = place.replay(&records, SETTINGS);
    assert_eq!(symbols(&replayed).len(), 30, "{told}");
    assert!(!told.contains("too_many_symbols"), "{told}");
    assert!(told.contains("symbols were silent for longer than engine.symbol_ttl"), "{told}");
    // Each says what it says alone.
    let mut alone = Vec::new();
    for generation in 0..30 {
        let name = format!("\"C{generation:02}\"");
        let own: Vec<_> = records.iter().filter(|record| record.contains(&name)).cloned().collect();
        alone.extend(place.replay(&own, "").0);
    }
    assert_eq!(replayed, alone);
    fs::write(place.path("ticks.jsonl"), records.join("\n") + "\n").unwrap();
    for shards in [1, 2] {
        fs::remove_dir_all(place.path("state")).ok();
        fs::remove_file(place.path("lines.jsonl")).ok();
        // Two shards have the room of three each.
        let mut daemon = place.serve(&format!("{SETTINGS}engine.shards = {shards}\n"));
        let ended = daemon.await_end();
        assert!(ended.status.success(), "{:?}", ended.log);
        let sorted = |lines: Vec<String>| lines.into_iter().collect::<BTreeSet<_>>();
        assert_eq!(sorted(place.lines()), sorted(replayed.clone()), "{shards} shards");
        let told: Vec<_> = ended
            .log
            .iter()
            .filter(|line| line["message"].as_str().unwrap_or("").contains("engine.symbol_ttl"))
            .collect();
        assert!(!told.is_empty() && told.len() <= 2 * shards, "{told:?}");
    }
}

#[test]
fn a_recording_killed_between_generations_gives_what_one_life_gives() {
    let place = Place::new();
    let records = contracts(60);
    fs::write(place.path("ticks.jsonl"), records.join("\n") + "\n").unwrap();
    let (expected, _) = place.replay(&records, SETTINGS);
    for lines in [50, 150, 300] {
        let mut daemon = place.serve_as(SETTINGS, creep_from_the_start);
        daemon.creep("some lines", || place.lines().len() >= lines);
        daemon.kill();
    }
    let ended = place.serve(SETTINGS).await_end();
    assert!(ended.status.success(), "{:?}", ended.log);
    let mut seen = BTreeMap::new();
    for line in place.lines() {
        // A kill tears at most the line that is being written.
        let Ok(forecast) = serde_json::from_str::<ForecastRecord<'_>>(&line) else { continue };
        let before = seen.insert(forecast.id.to_string(), line.clone());
        assert!(before.is_none_or(|before| before == line), "a repeat has the bytes of the first");
    }
    let distinct: BTreeSet<_> = seen.into_values().collect();
    assert_eq!(distinct, expected.into_iter().collect());
}

#[test]
fn pages_and_metrics_forget_who_has_left() {
    let place = Place::new();
    let feed = ScriptedFeed::start();
    let daemon = Daemon::start(place.sealed.root.path(), "random", feed.url(), SETTINGS);
    contracts(9).into_iter().for_each(|record| feed.say(record));
    let ticks = f64::from(9 * LIFE_DAYS);
    eventually("all ticks", || (daemon.metric("tickcast_ticks_total") == ticks).then_some(()));
    let listed = || {
        let (_, page) = daemon.get("/v1/symbols");
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let names = page["symbols"].as_array().unwrap().iter();
        names.map(|row| row["symbol"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("the page without the first ones", || {
        let listed = listed();
        (listed.contains(&"C08".to_owned()) && !listed.contains(&"C00".to_owned())).then_some(())
    });
    let known = daemon.metric("tickcast_symbols");
    assert!((1.0..=5.0).contains(&known), "{known}");
    assert_eq!(daemon.metric("tickcast_symbols_expired_total"), 9.0 - known);
    eventually("the counts by health", || {
        let metrics = daemon.metrics();
        let by_health =
            metrics.iter().filter(|(name, _)| name.starts_with("tickcast_symbols_by_health"));
        (by_health.map(|(_, count)| count).sum::<f64>() == known).then_some(())
    });
    let refused = r#"tickcast_ticks_refused_total{reason="too_many_symbols"}"#;
    assert_eq!(daemon.metric(refused), 0.0);
    assert!(daemon.stop().status.success());
}

fn engine(sealed: &SealedBundle, mode: Mode, ttl_days: i64) -> Engine {
    let bundle = &sealed.bundle;
    let states = bundle.signature().states.len();
    let backend = Box::new(Poison::new(bundle.open(runtime()).unwrap(), states));
    let limits = EngineLimits { symbols_max: 4, batch_rows_max: 7 };
    let plans = bundle.plans().clone();
    let engine = Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap();
    let symbol_ttl = DurationNanos::from_seconds(ttl_days * 86_400);
    engine.with_policy(EnginePolicy {
        symbol_ttl,
        gap_steps_max: Some(0),
        ..EnginePolicy::default()
    })
}

/// A forecast as symbol, time and the bits of its values.
type Said = (String, i64, [u64; 3]);

/// All forecasts of these ticks, and what became of each tick.
fn lived(
    mut engine: Engine,
    events: &[(usize, i64, bool)],
    hurried: bool,
) -> (Vec<Said>, Vec<Pushed>) {
    let (mut said, mut forecasts, mut became) = (Vec::new(), Vec::new(), Vec::new());
    let haste = if hurried { Haste::Throughput } else { Haste::Latency };
    let mut flush = |engine: &mut Engine, said: &mut Vec<_>| {
        engine.infer(haste, &mut forecasts).unwrap();
        for forecast in forecasts.drain(..) {
            let Forecast { value, lower, upper, .. } = forecast;
            assert!(value.is_finite(), "nothing leaks");
            let symbol = engine.symbol(forecast.symbol).as_str().to_owned();
            let bits = [value, lower, upper].map(f64::to_bits);
            said.push((symbol, forecast.as_of.as_nanos(), bits));
        }
        engine.advance().unwrap();
    };
    let mut day = 0;
    for (offset, (symbol, wait, cut)) in (0..).zip(events) {
        day += wait;
        let name = format!("S{symbol}");
        let mut fields = Fields::EMPTY;
        let phase = day as f64 * 0.61 + *symbol as f64;
        fields.set_checked(Field::CLOSE, 100.0 + 30.0 * phase.sin()).unwrap();
        fields.set_checked(Field::VOLUME, 500.0 + 400.0 * phase.cos()).unwrap();
        let time = UnixNanos::from_nanos(day * DAY_NANOS);
        let tick = Tick { symbol: name.as_str().into(), time, fields };
        let position = Some(Position { partition: PartitionId(0), offset });
        became.push(loop {
            match engine.push(&tick, position) {
                Pushed::Waiting => flush(&mut engine, &mut said),
                pushed => break pushed,
            }
        });
        if *cut {
            flush(&mut engine, &mut said);
        }
    }
    flush(&mut engine, &mut said);
    said.sort();
    (said, became)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Symbols come and go in the places of others, over memory full of NaN: `sliding` still gives
    /// the bits of `full`, however ticks are chunked, and the same ticks are refused.
    #[test]
    fn sliding_gives_the_bits_of_full_while_symbols_come_and_go(
        events in proptest::collection::vec((0..9usize, 1..6i64, any::<bool>()), 60..160),
    ) {
        let sealed = sealed(31, WINDOW_STEPS, &[6]);
        let full = lived(engine(&sealed, Mode::Full, 12), &events, false);
        for hurried in [false, true] {
            let sliding = lived(engine(&sealed, Mode::Sliding, 12), &events, hurried);
            prop_assert_eq!(&full, &sliding);
        }
        let whole: Vec<_> =
            events.iter().map(|(symbol, wait, _)| (*symbol, *wait, false)).collect();
        prop_assert_eq!(&full, &lived(engine(&sealed, Mode::Sliding, 12), &whole, true));
    }
}
