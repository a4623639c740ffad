//! What is kept over restarts: recordings and live feeds, killed at any point, with damaged
//! snapshots, full disks and other inputs.
//!
//! The reader here knows nothing of snapshots: it has the lines of all lives of a daemon and what
//! `replay` says about the same records in one life.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tickcast::core::domain::{DurationNanos, Field, Fields, Forecast, Quality, Tick, UnixNanos};
use tickcast::core::forecast::Intervals;
use tickcast::engine::model::manifest::Mode;
use tickcast::engine::symbols::{CadencePolicy, Engine, EngineLimits, EnginePolicy, Haste, Pushed};
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{SealedBundle, carried_draft, draft, sealed};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::network::Network;
use crate::support::process::{Daemon, Ended, creep_from_the_start, eventually, run, snapshots};
use crate::support::random::Random;
use crate::support::runtime;

const WINDOW_STEPS: u32 = 5;

/// A small model: what is tested here is what survives.
fn bundle() -> SealedBundle {
    sealed(29, WINDOW_STEPS, &[6])
}

/// A tick of a symbol on a day, with a price that wanders by day and symbol.
fn tick(symbol: &str, day: u32) -> String {
    let phase = f64::from(day) * 0.61 + f64::from(symbol.as_bytes()[0]);
    let (close, volume) = (100.0 + 30.0 * phase.sin(), 500.0 + 400.0 * (phase * 0.7).cos());
    let time = i64::from(day) * 86_400_000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
}

/// Days of every symbol in order of time, with a record that nobody can use among a hundred.
fn recording(symbols: &[&str], days: std::ops::Range<u32>) -> Vec<String> {
    let mut records = Vec::new();
    for day in days {
        records.extend(symbols.iter().map(|symbol| tick(symbol, day)));
        if day % 20 == 7 {
            records.push(r#"{"symbol":"A","time":"#.to_owned());
        }
    }
    records
}

/// What stays over the lives of a daemon: its folder of states and its lines.
struct Place {
    root: TempDir,
    models: PathBuf,
}

impl Place {
    fn new(sealed: &SealedBundle) -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { root, models: sealed.root.path().to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Settings of a daemon that reads a recording of this place.
    fn of_recording(&self, name: &str, more: &str) -> String {
        let path = self.path(name);
        format!(
            "source.kind = 'file'\nsource.path = '{}'\nsource.queue_records_max = 64\n{more}",
            path.display()
        )
    }

    /// The next life of the daemon.
    fn live(&self, feed: &str, settings: &str) -> Daemon {
        self.live_keeping(10, feed, settings, |_| {})
    }

    /// As [`Place::live`], creeping from the start on.
    fn creep(&self, settings: &str) -> Daemon {
        self.live_keeping(10, "", settings, creep_from_the_start)
    }

    /// As [`Place::live`], with another interval between snapshots.
    fn live_keeping(
        &self,
        interval_ms: u32,
        feed: &str,
        settings: &str,
        change: fn(&mut Command),
    ) -> Daemon {
        let settings = format!(
            "snapshot.folder = '{}'\nsnapshot.interval_ms = {interval_ms}\n{settings}",
            self.path("state").display()
        );
        Daemon::start_with(&self.models, "random", feed, &settings, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
            change(command);
        })
    }

    /// The lines of all lives.
    fn lines(&self) -> String {
        fs::read_to_string(self.path("lines.jsonl")).unwrap_or_default()
    }

    /// The snapshots, newest first.
    fn snapshots(&self) -> Vec<PathBuf> {
        snapshots(&self.path("state"))
    }

    /// What `replay` says about the records, by symbol.
    fn replay(&self, records: &[String]) -> BTreeMap<String, Vec<String>> {
        let path = |name: &str| self.path(name).display().to_string();
        fs::write(path("replay.jsonl"), records.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
            self.models.display()
        );
        fs::write(path("replay.toml"), config).unwrap();
        let (config, input) = (path("replay.toml"), path("replay.jsonl"));
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        by_symbol(String::from_utf8(output.stdout).unwrap().lines())
    }
}

fn by_symbol<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<String, Vec<String>> {
    let mut by_symbol = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        by_symbol.entry(forecast.symbol.into_owned()).or_default().push(line.to_owned());
    }
    by_symbol
}

/// The lines of all lives without repeats, in their order, and the number of repeats. The input is
/// read again after a kill, so a line that a kill has torn comes whole later.
fn distinct(lines: &str) -> (BTreeMap<String, Vec<String>>, usize) {
    let (whole, repeats, torn) = distinct_and_torn(lines);
    for torn in torn {
        let mut lines = whole.values().flatten();
        assert!(lines.any(|line| line.starts_with(torn)), "invented: {torn}");
    }
    (whole, repeats)
}

/// The whole lines of all lives by symbol, without repeats and in their order; the number of
/// repeats, each of which has the bytes of the first (I2); and the lines that a kill has torn.
fn distinct_and_torn(lines: &str) -> (BTreeMap<String, Vec<String>>, usize, Vec<&str>) {
    let (mut seen, mut kept, mut repeats) = (BTreeMap::<String, &str>::new(), Vec::new(), 0);
    let mut torn = Vec::new();
    for line in lines.lines() {
        let Ok(forecast) = serde_json::from_str::<ForecastRecord<'_>>(line) else {
            torn.push(line);
            continue;
        };
        match seen.insert(forecast.id.to_string(), line) {
            None => kept.push(line),
            Some(first) => {
                assert_eq!(first, line, "a repeat has the bytes of the first");
                repeats += 1;
            }
        }
    }
    (by_symbol(kept.into_iter()), repeats, torn)
}

/// I4: `as_of` rises strictly per symbol.
fn assert_in_order(forecasts: &BTreeMap<String, Vec<String>>) {
    for (symbol, lines) in forecasts {
        let times: Vec<_> = lines.iter().map(|line| parse(line).as_of).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{symbol}: {times:?}");
    }
}

fn parse(line: &str) -> ForecastRecord<'_> {
    serde_json::from_str(line).unwrap()
}

/// I8, by the daemon's own last words.
fn assert_nothing_is_unaccounted_for(ended: &Ended) {
    let [received, dropped] = ["received", "dropped"].map(|field| ended.drained(field));
    let [ticks, repeats, refused, absorbed, steps, warming, forecasts, withheld] =
        ["ticks", "repeats", "refused", "absorbed", "steps", "warming", "forecasts", "withheld"]
            .map(|field| ended.drained(field));
    assert_eq!(received, dropped + ticks);
    assert_eq!(ticks, repeats + refused + absorbed + steps);
    assert_eq!(steps, warming + forecasts + withheld);
}

/// The record from which a daemon read on, by its own words; 0 where it began cold.
fn resumed_at(ended: &Ended) -> u64 {
    let line = ended.log.iter().find(|line| line["message"] == "restored");
    line.map_or(0, |line| line["records"].as_u64().unwrap())
}

/// How many times the kill tests kill.
fn kills() -> u32 {
    std::env::var("TICKCAST_TEST_KILLS").map_or(20, |count| count.parse().unwrap())
}

#[test]
fn a_recording_killed_anywhere_gives_what_one_life_gives() {
    let sealed = bundle();
    let place = Place::new(&sealed);
    let mut random = Random::announced("a_recording_killed_anywhere");
    let symbols = ["A", "B", "C", "D", "E"];
    let records = recording(&symbols, 0..kills() * 250);
    fs::write(place.path("ticks.jsonl"), records.join("\n")).unwrap();
    let expected = place.replay(&records);
    let mut killed = 0;
    let ended = loop {
        // The number of shards is free to change from one life to the next.
        let shards = format!("engine.shards = {}", [1, 3][killed as usize % 2]);
        let mut daemon = place.live("", &place.of_recording("ticks.jsonl", &shards));
        if killed == kills() {
            break daemon.await_end();
        }
        // As many bytes of lines as 0 to 1,000 forecasts have, or the end.
        let size = place.lines().len() as u64 + random.below(500_000);
        let size_now = || fs::metadata(place.path("lines.jsonl")).map_or(0, |file| file.len());
        let over = eventually("more lines", || {
            if daemon.has_ended() {
                return Some(true);
            }
            (size_now() >= size).then_some(false)
        });
        if over {
            break daemon.await_end();
        }
        daemon.kill();
        killed += 1;
    };
    assert!(ended.status.success(), "{:?}", ended.log);
    assert!(killed >= kills().min(8), "killed {killed} times only; the recording is too short");
    let lines = place.lines();
    let (found, repeats) = distinct(&lines);
    assert_in_order(&found);
    assert_eq!(found, expected, "I3: what one life gives, byte for byte");
    assert_nothing_is_unaccounted_for(&ended);
    // Every record is in exactly one of the two: behind the snapshot, or read in this life.
    assert_eq!(resumed_at(&ended) + ended.drained("received"), records.len() as u64);
    println!("killed {killed} times, {repeats} of {} lines were repeats", lines.lines().count());
}

#[test]
fn an_orderly_stop_repeats_nothing_and_an_end_is_an_end() {
    let sealed = bundle();
    let place = Place::new(&sealed);
    let records = recording(&["A", "B"], 0..4000);
    fs::write(place.path("ticks.jsonl"), records.join("\n")).unwrap();
    let settings = place.of_recording("ticks.jsonl", "");
    // No snapshot but the last one of each life.
    let live = || place.live_keeping(3_600_000, "", &settings, |_| {});
    let mut daemon = place.live_keeping(3_600_000, "", &settings, creep_from_the_start);
    daemon.creep("forecasts", || place.lines().lines().count() >= 100);
    daemon.run_on();
    let first = daemon.stop();
    assert!(first.drained("received") < records.len() as u64, "in the middle of the recording");
    assert!(first.status.success(), "{:?}", first.log);
    let second = live().await_end();
    assert!(second.status.success(), "{:?}", second.log);
    assert_eq!(resumed_at(&second), first.drained("received"));
    assert_eq!(second.drained("repeats"), 0);
    let (found, repeats) = distinct(&place.lines());
    assert_eq!((found, repeats), (place.replay(&records), 0));
    // Once more: there is nothing left. Then the recording grows.
    let third = live().await_end();
    assert_eq!((third.drained("received"), resumed_at(&third)), (0, records.len() as u64));
    let more = recording(&["A", "B"], 4000..4050);
    let records = [records, more.clone()].concat();
    fs::write(place.path("ticks.jsonl"), records.join("\n")).unwrap();
    let fourth = live().await_end();
    assert_eq!(fourth.drained("received"), more.len() as u64);
    let (found, repeats) = distinct(&place.lines());
    assert_eq!((found, repeats), (place.replay(&records), 0));
}

#[test]
fn damaged_snapshots_and_other_inputs_are_told_and_never_used() {
    let sealed = bundle();
    let place = Place::new(&sealed);
    let records = recording(&["A", "B"], 0..3000);
    fs::write(place.path("ticks.jsonl"), records.join("\n")).unwrap();
    let expected = place.replay(&records);
    let settings = place.of_recording("ticks.jsonl", "");
    let mut daemon = place.creep(&settings);
    daemon.creep_to_snapshots(&place.path("state"), || !place.lines().is_empty());
    daemon.kill();
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(path, bytes).unwrap();
    };
    let said = |ended: &Ended, words: &str| {
        let text = serde_json::to_string(&ended.log).unwrap();
        assert!(text.contains(words), "{words}: {text}");
    };
    // The newest is damaged: the one before, with more repeats.
    assert_eq!(place.snapshots().len(), 2);
    damage(&place.snapshots()[0]);
    let ended = place.live("", &settings).await_end();
    assert!(ended.status.success(), "{:?}", ended.log);
    said(&ended, "damaged: the checksum does not fit");
    assert!(resumed_at(&ended) > 0);
    assert_eq!(distinct(&place.lines()).0, expected);
    // Both are: from the beginning, loudly, with the same bytes once more.
    place.snapshots().iter().for_each(|path| damage(path));
    let ended = place.live("", &settings).await_end();
    said(&ended, "no stored snapshot can be used");
    assert_eq!((resumed_at(&ended), ended.drained("received")), (0, records.len() as u64));
    assert_eq!(distinct(&place.lines()).0, expected);
    // Another recording under the same name.
    let other = recording(&["B", "A"], 1..3000);
    fs::write(place.path("ticks.jsonl"), other.join("\n")).unwrap();
    let ended = place.live("", &settings).await_end();
    said(&ended, "written for a recording that begins differently");
    assert_eq!((resumed_at(&ended), ended.drained("received")), (0, other.len() as u64));
    // The same one cut short.
    fs::write(place.path("ticks.jsonl"), other[..2000].join("\n")).unwrap();
    let ended = place.live("", &settings).await_end();
    said(&ended, "written for a recording of at least");
    // Another model.
    let stranger = sealed_other();
    let moved = Place { root: place.root, models: stranger.root.path().to_owned() };
    let ended = moved.live("", &settings).await_end();
    said(&ended, "written by model random 1, sliding");
    assert_eq!(resumed_at(&ended), 0);
}

/// A model of the same name and version with other weights.
fn sealed_other() -> SealedBundle {
    sealed(31, WINDOW_STEPS, &[6])
}

#[test]
fn two_daemons_never_share_a_folder() {
    let sealed = bundle();
    let place = Place::new(&sealed);
    let daemon = place.live("ws://127.0.0.1:1", "");
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
         http.bind = '127.0.0.1:0'\nsnapshot.folder = '{}'\n",
        place.models.display(),
        place.path("state").display()
    );
    fs::write(place.path("second.toml"), config).unwrap();
    let second = run(&["serve", "-c", place.path("second.toml").to_str().unwrap()]);
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    assert!(daemon.stop().status.success());
}

/// Says ticks and waits until a snapshot holds them all.
fn say_and_keep(feed: &ScriptedFeed, daemon: &Daemon, records: &[String]) {
    records.iter().for_each(|record| feed.say(record));
    daemon.await_metric("tickcast_ticks_total", records.len() as f64);
    // The next one may have been begun before the last tick was taken; the one behind it was not.
    for _ in 0..2 {
        let before = daemon.metric("tickcast_snapshot_timestamp_seconds");
        eventually("a snapshot", || {
            (daemon.metric("tickcast_snapshot_timestamp_seconds") > before).then_some(())
        });
    }
}

#[test]
fn a_live_feed_killed_between_ticks_goes_on_as_after_a_lost_connection() {
    let sealed = bundle();
    let parts: Vec<_> =
        (0..4).map(|part| recording(&["A", "B", "C"], part * 9..part * 9 + 9)).collect();
    // One life in which the connection breaks where the other daemon is killed.
    let unbroken = Place::new(&sealed);
    let feed = ScriptedFeed::start();
    let daemon = unbroken.live(feed.url(), "source.backoff_seconds_max = 1");
    let mut ticks = 0;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            feed.act(Act::Break);
            daemon.await_metric("tickcast_source_connects_total", index as f64 + 1.0);
        }
        part.iter().for_each(|record| feed.say(record));
        ticks += part.len();
        daemon.await_metric("tickcast_ticks_total", ticks as f64);
    }
    assert!(daemon.stop().status.success());
    // One life for each part.
    let place = Place::new(&sealed);
    let feed = ScriptedFeed::start();
    for (index, part) in parts.iter().enumerate() {
        let daemon = place.live(feed.url(), "");
        eventually("a connection", || {
            (daemon.metric("tickcast_source_connects_total") == 1.0).then_some(())
        });
        let from = if index == 0 { "fresh" } else { "newest" };
        let name = format!("tickcast_snapshot_starts_total{{from=\"{from}\"}}");
        assert_eq!(daemon.metric(&name), 1.0);
        say_and_keep(&feed, &daemon, part);
        assert_eq!(daemon.metric("tickcast_gaps_total"), f64::from(index > 0));
        assert_eq!(daemon.metric("tickcast_windows_stale_total"), 0.0);
        daemon.kill();
        feed.act(Act::Break);
    }
    let (found, repeats) = distinct(&place.lines());
    assert_eq!((found, repeats), (distinct(&unbroken.lines()).0, 0));
}

/// A forecast without its interval and its mark of drift, which remember scores that were missed.
fn of_model(line: &str) -> ForecastRecord<'_> {
    ForecastRecord { lower: 0.0, upper: 0.0, drift: false, ..parse(line) }
}

#[test]
fn a_live_feed_killed_anywhere_says_nothing_wrong_unmarked() {
    let sealed = bundle();
    let place = Place::new(&sealed);
    let mut random = Random::announced("a_live_feed_killed_anywhere");
    let symbols = ["A", "B", "C"];
    let lives = kills() / 2;
    let records = recording(&symbols, 0..lives * 340);
    let expected: BTreeMap<_, _> = place
        .replay(&records)
        .into_values()
        .flatten()
        .map(|line| (parse(&line).id.to_string(), line))
        .collect();
    let (mut next, mut stale) = (0, 0.0);
    let feed = ScriptedFeed::start();
    for life in 0..lives {
        // Now windows may miss nothing, now very much.
        let gap_steps_max = [2, 100_000][life as usize % 2];
        let settings = format!("snapshot.gap_steps_max = {gap_steps_max}");
        let daemon = place.live(feed.url(), &settings);
        let count = 30 + random.below(900) as usize;
        let said = &records[next..(next + count).min(records.len())];
        let (first, last) = said.split_at(said.len() - symbols.len());
        first.iter().for_each(|record| feed.say(record));
        // Some are taken, some are in snapshots, some are lost with the process.
        let taken = 10 + random.below(said.len() as u64 / 3);
        daemon.await_metric("tickcast_ticks_total", taken as f64);
        stale += daemon.metric("tickcast_windows_stale_total");
        let written = daemon.metric("tickcast_snapshots_total");
        last.iter().for_each(|record| feed.say(record));
        if gap_steps_max > 2 {
            // The next life, which may miss little, needs a snapshot to find stale.
            daemon.await_metric("tickcast_snapshots_total", written + 1.0);
        }
        feed.await_said();
        daemon.kill();
        // Nor does the feed wait: what it says to nobody is missing in any case. Before a life that
        // may miss nothing it is too much.
        next += count + [6, 30][life as usize % 2];
    }
    let lines = place.lines();
    let (found, repeats, torn) = distinct_and_torn(&lines);
    assert_in_order(&found);
    assert_eq!(repeats, 0, "no tick came twice");
    // A live feed does not repeat the tick of a torn line, so the line may never come whole. What
    // the kill left of it is a forecast of one of the ticks; its value depends on the window.
    for torn in torn {
        let before_value = torn.split(r#","value":"#).next().unwrap_or(torn);
        let known = expected.values().any(|line| line.starts_with(before_value));
        assert!(known, "invented: {torn}");
    }
    let (mut marked, mut whole) = (0, 0);
    for line in found.values().flatten() {
        let forecast = parse(line);
        let in_one_life = &expected[&*forecast.id];
        match forecast.quality {
            Quality::Full => {
                let (ours, whole_data) = (of_model(line), of_model(in_one_life));
                assert_eq!(ours, whole_data, "an unmarked forecast is that of whole data");
                whole += 1;
            }
            _ => marked += 1,
        }
    }
    assert!(marked > 0 && whole > 0 && stale > 0.0, "{marked} {whole} {stale}");
}

#[test]
fn a_full_disk_is_counted_and_the_snapshot_before_stands() {
    let sealed = bundle();
    let place = Place::new(&sealed);
    let feed = ScriptedFeed::start();
    let settings =
        format!("snapshot.folder = '{}'\nsnapshot.interval_ms = 10", place.path("state").display());
    // Files of more than 16 KiB cannot be written, as if the disk had no more.
    let limited = |command: &mut Command| {
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let binary = command.get_program().to_owned();
        let variables: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let mut shell = Command::new("bash");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "bash"]);
        // What it logs is no part of this, and must not meet the limit.
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.arg(binary).args(arguments).envs(variables);
        shell.env("TICKCAST__PUBLISH__LINES", "");
        *command = shell;
    };
    let daemon = Daemon::start_with(&place.models, "random", feed.url(), &settings, |command| {
        limited(command);
    });
    say_and_keep(&feed, &daemon, &recording(&["A", "B"], 0..7));
    assert_eq!(daemon.metric("tickcast_snapshots_failed_total"), 0.0);
    let kept = place.snapshots();
    let names: Vec<_> = (0..400).map(|index| format!("C{index}")).collect();
    for day in 0..7 {
        names.iter().for_each(|name| feed.say(tick(name, day)));
    }
    daemon.await_metric("tickcast_ticks_total", 14.0 + 2800.0);
    daemon.await_metric("tickcast_snapshots_failed_total", 3.0);
    // It goes on forecasting, and is ready.
    let metric = |name: &str| daemon.metric(&format!("tickcast_{name}_total"));
    assert_eq!(metric("forecasts"), metric("steps") - metric("steps_warming"));
    assert_eq!(daemon.get("/readyz").0, 200);
    daemon.kill();
    assert!(place.snapshots()[0] >= kept[0]);
    // With room again.
    feed.act(Act::Break);
    let daemon = place.live(feed.url(), "");
    assert!(daemon.metric("tickcast_snapshot_symbols_restored_total") >= 2.0);
    assert_eq!(daemon.metric("tickcast_snapshot_symbols_cold_total"), 0.0);
    assert!(daemon.stop().status.success());
    assert!(!place.path("state/snapshot.draft").exists());
}

/// An engine of a small model in one mode.
fn engine(mode: Mode) -> Engine {
    let network = Network::random(3, 3, &[6]);
    let draft = match mode {
        Mode::Carried => carried_draft(WINDOW_STEPS, 9, &network),
        Mode::Full | Mode::Sliding => draft(WINDOW_STEPS, &network),
    };
    let bundle = draft.into_bundle().unwrap();
    let backend = bundle.open(runtime()).unwrap();
    let limits = EngineLimits { symbols_max: 10, batch_rows_max: 64 };
    let mut plans = bundle.plans().clone();
    // Adaptive ones remember scores of before the window.
    plans.score.intervals = Intervals::Bundle;
    // Its steps are seconds, those of the model days.
    let policy = EnginePolicy { cadence: CadencePolicy::AsItComes, ..EnginePolicy::default() };
    Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap().with_policy(policy)
}

/// The forecasts of ticks at these seconds.
fn feed(engine: &mut Engine, seconds: &[i64]) -> Vec<Forecast> {
    let mut forecasts = Vec::new();
    for second in seconds {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, 100.0 + (*second as f64).sin()).unwrap();
        fields.set_checked(Field::VOLUME, 10.0).unwrap();
        let time = UnixNanos::from_nanos(second * 1_000_000_000);
        let pushed = engine.push(&Tick { symbol: "A".into(), time, fields }, None);
        assert_eq!(pushed, Pushed::Taken);
        engine.infer(Haste::Latency, &mut forecasts).unwrap();
        engine.advance().unwrap();
    }
    forecasts
}

#[test]
fn a_window_goes_on_within_the_rule_and_begins_anew_beyond_it() {
    let gap_max = DurationNanos::from_seconds(10).unwrap();
    for mode in [Mode::Full, Mode::Sliding, Mode::Carried] {
        for (first, stale) in [(20 + 10, false), (20 + 11, true)] {
            let mut before = engine(mode);
            feed(&mut before, &(0..=20).collect::<Vec<_>>());
            let mut after = engine(mode);
            assert!(after.restore(&before.snapshot(), None).unwrap().is_empty());
            after.expect_gap(gap_max);
            let seconds: Vec<_> = (first..first + 12).collect();
            let forecasts = feed(&mut after, &seconds);
            let expected = if stale {
                // As if nothing had been before.
                feed(&mut engine(mode), &seconds)
            } else {
                before.mark_gap();
                feed(&mut before, &seconds)
            };
            assert_eq!(forecasts, expected, "{mode} {first}");
            assert_eq!(forecasts.len(), if stale { 12 - WINDOW_STEPS as usize } else { 12 });
            assert_eq!(forecasts[0].quality == Quality::Gapped, !stale);
            assert_eq!(after.stale_count(), u64::from(stale));
        }
    }
}

#[test]
fn a_tick_beyond_the_rule_that_is_refused_ends_no_window() {
    let mut before = engine(Mode::Sliding);
    feed(&mut before, &(0..=20).collect::<Vec<_>>());
    let mut after = engine(Mode::Sliding);
    after.restore(&before.snapshot(), None).unwrap();
    after.expect_gap(DurationNanos::from_seconds(10).unwrap());
    let time = UnixNanos::from_nanos(99_000_000_000);
    let empty = Tick { symbol: "A".into(), time, fields: Fields::EMPTY };
    assert!(matches!(after.push(&empty, None), Pushed::Refused(_)));
    before.mark_gap();
    let seconds: Vec<_> = (21..30).collect();
    assert_eq!(feed(&mut after, &seconds), feed(&mut before, &seconds));
    assert_eq!(after.stale_count(), 0);
}
