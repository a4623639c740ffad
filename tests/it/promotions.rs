//! Swaps of versions and promotions of shadows while ticks come without a break: of each symbol and
//! step one live forecast and one of the shadow, each with the bytes that its version gives alone.
//!
//! `TICKCAST_TEST_SWAPS` and `TICKCAST_TEST_PROMOTIONS` set how many there are. The load is a
//! closed loop: it sends while at most [`ROUNDS_IN_FLIGHT`] rounds wait for their forecasts, so it
//! is as fast as the machine allows and depends on no clock.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tickcast::engine::model::manifest::StepSpec;
use tickcast::engine::wire::forecast::ForecastRecord;
use tokio_tungstenite::tungstenite::{WebSocket, client};

use crate::support::bundle::{draft_of, manifest};
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::{Daemon, eventually, run};
use crate::support::runtime;

const SYMBOLS: usize = 8;

const WINDOW_STEPS: u32 = 5;

/// Rounds without a forecast: one feature looks a step back, and then a window has to be full.
const WARM_UP_ROUNDS: usize = 5;

const ROUNDS_IN_FLIGHT: usize = 16;

/// Rounds between two changes: more than are in flight, so every version says something.
const ROUNDS_BETWEEN: usize = 2 * ROUNDS_IN_FLIGHT;

/// How long the load waits for a forecast before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// `vol` alternates between two versions, and `next` may take its seat.
const MODELS: &str = "[[models]]\nname = 'vol'\n\
    [[models]]\nname = 'next'\nrole = 'shadow'\nshadows = 'vol'\n";

fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The ticks of a round: one of each symbol, a minute after the last.
fn round(index: usize) -> impl Iterator<Item = String> {
    (0..SYMBOLS).map(move |symbol| {
        let phase = index as f64 * 0.61 + symbol as f64;
        let (close, volume) = (100.0 + 30.0 * phase.sin(), 500.0 + 400.0 * (phase * 0.7).cos());
        let time = index * 60_000;
        format!(r#"{{"symbol":"S{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
    })
}

/// The forecasts that so many rounds lead to.
fn due(rounds: usize) -> usize {
    rounds.saturating_sub(WARM_UP_ROUNDS) * SYMBOLS
}

/// A model by its name and version.
type Version = (&'static str, &'static str);

const VERSIONS: [Version; 3] = [("vol", "1"), ("vol", "2"), ("next", "1")];

/// Models, and what a daemon leaves behind.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        for ((name, version), seed) in VERSIONS.into_iter().zip([41, 43, 47]) {
            let network = Network::random(seed, 3, &[6]);
            let mut manifest = manifest(WINDOW_STEPS, &network);
            (manifest.name, manifest.version) = (name.to_owned(), version.to_owned());
            manifest.step = StepSpec::record(60);
            draft_of(manifest, &network).seal(&place.path("models"), runtime()).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn serve(&self, feed: &str) -> Daemon {
        let path = |name: &str| self.path(name).display().to_string();
        // Intervals that remember scores would tell a version that runs from the same in a replay.
        let settings = format!(
            "forecast.intervals = 'bundle'\nengine.shards = 2\nengine.shadow_age_ms_max = 0\n\
             source.when_full = 'block'\npublish.shadow_lines = '{}'\n\
             snapshot.folder = '{}'\nsnapshot.interval_ms = 50\n",
            path("shadows.jsonl"),
            path("state"),
        );
        Daemon::start_several(&self.path("models"), feed, &settings, MODELS, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
        })
    }

    /// Takes the newest version of `vol` out of its folder, or brings it back.
    fn move_newest(&self, is_there: bool) {
        let (inside, outside) = (self.path("models/vol/2"), self.path("vol-2"));
        let (from, to) = if is_there { (outside, inside) } else { (inside, outside) };
        fs::rename(from, to).unwrap();
    }

    fn lines(&self, name: &str) -> Vec<Said> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(Said::of).collect()
    }

    /// What a version says alone about the records, by symbol and round.
    fn replay(&self, (name, version): Version) -> Lines {
        let path = |kind: &str| self.path(&format!("{name}-{version}-{kind}"));
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = '{name}'\n\
             model.version = '{version}'\nforecast.intervals = 'bundle'\n",
            self.path("models").display()
        );
        fs::write(path("replay.toml"), config).unwrap();
        let [config, input, output] =
            [path("replay.toml"), self.path("records.jsonl"), path("replayed.jsonl")]
                .map(|path| path.display().to_string());
        let ended = run(&["replay", "-c", &config, "--input", &input, "--output", &output]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let text = fs::read_to_string(output).unwrap();
        let said = text.lines().map(Said::of);
        said.map(|Said { symbol, round, line, .. }| ((symbol, round), line)).collect()
    }
}

/// A forecast, read once.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    symbol: String,
    /// The round whose tick it follows.
    round: usize,
    /// Its model by name and version.
    version: (String, String),
    line: String,
}

impl Said {
    fn of(line: &str) -> Self {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        Self {
            symbol: forecast.symbol.to_string(),
            round: usize::try_from(forecast.as_of.as_nanos() / 60_000_000_000).unwrap(),
            version: (forecast.model.to_string(), forecast.model_version.to_string()),
            line: line.to_owned(),
        }
    }
}

/// Lines by symbol and round.
type Lines = HashMap<(String, usize), String>;

fn owned((name, version): Version) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

/// How far the load is, for the thread that makes the changes.
#[derive(Default)]
struct Progress {
    /// Rounds that were handed to the feed whole.
    said: AtomicUsize,
    /// Live forecasts that were heard.
    heard: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends the load also where a change fails.
struct Over<'p>(&'p Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// Ticks without a break until it is over; the rounds said and the live forecasts heard.
fn load(
    feed: &ScriptedFeed,
    mut live: WebSocket<TcpStream>,
    progress: &Progress,
) -> (usize, Vec<String>) {
    let mut heard: Vec<String> = Vec::new();
    let mut hear = |rounds: usize| {
        let mut begun = Instant::now();
        while heard.len() < due(rounds) {
            let message = live.read().expect("a live forecast within the patience of this test");
            if message.is_text() {
                heard.push(message.into_text().unwrap().to_string());
                progress.heard.store(heard.len(), Ordering::SeqCst);
                begun = Instant::now();
            }
            // Pings come in any case.
            let which = heard.len();
            assert!(begun.elapsed() < PATIENCE, "live forecast {which} of {rounds} rounds is lost");
        }
    };
    let mut rounds = 0;
    while !progress.is_over.load(Ordering::SeqCst) {
        // Counted before it is said: what is not counted is not yet on its way.
        progress.said.store(rounds + 1, Ordering::SeqCst);
        round(rounds).for_each(|tick| feed.say(tick));
        rounds += 1;
        hear(rounds.saturating_sub(ROUNDS_IN_FLIGHT));
    }
    hear(rounds);
    (rounds, heard)
}

fn subscribe(daemon: &Daemon) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(daemon.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client(format!("ws://{}/v1/stream", daemon.address()), stream).unwrap().0
}

fn post(daemon: &Daemon, path: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let host = daemon.address();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Who is live and who is a shadow from a change on, and how far the load was around it.
#[derive(Clone, Copy)]
struct Era {
    live: Version,
    shadow: Version,
    /// Live forecasts heard before the change was asked for.
    heard_before: usize,
    /// Rounds said when it was answered.
    said_after: usize,
}

impl Era {
    const FIRST: Self =
        Self { live: ("vol", "2"), shadow: ("next", "1"), heard_before: 0, said_after: 0 };

    fn is_promoted(&self) -> bool {
        self.shadow.0 == "vol"
    }

    /// After a swap of the version of `vol`, whichever role it has.
    fn swapped(self) -> Self {
        let other = |(name, version)| (name, if version == "1" { "2" } else { "1" });
        if self.is_promoted() {
            Self { shadow: other(self.shadow), ..self }
        } else {
            Self { live: other(self.live), ..self }
        }
    }

    fn promoted(self) -> Self {
        Self { live: self.shadow, shadow: self.live, ..self }
    }

    fn vol(&self) -> Version {
        if self.is_promoted() { self.shadow } else { self.live }
    }
}

/// Asks a daemon under load for one change and checks the answer.
fn change(place: &Place, daemon: &Daemon, is_swap: bool, before: Era) -> Era {
    if is_swap {
        let after = before.swapped();
        place.move_newest(after.vol().1 == "2");
        let answer = post(daemon, "/v1/reload?model=vol");
        let answer = &answer["models"][0];
        assert_eq!(answer["outcome"], "swapped", "{answer}");
        assert_eq!(answer["model_version"], after.vol().1, "{answer}");
        assert_eq!(answer["symbols_kept"], SYMBOLS, "{answer}");
        after
    } else {
        let after = before.promoted();
        let answer = post(daemon, &format!("/v1/models/{}/promote", after.live.0));
        assert_eq!(answer["outcome"], "promoted", "{answer}");
        assert_eq!(answer["survives_restart"], true, "{answer}");
        after
    }
}

/// Makes all changes, the promotions evenly between the swaps.
fn change_all(
    place: &Place,
    daemon: &Daemon,
    progress: &Progress,
    (swaps, promotions): (usize, usize),
) -> Vec<Era> {
    let mut eras = vec![Era::FIRST];
    let changes = swaps + promotions;
    for index in 0..changes {
        let last = eras[eras.len() - 1];
        let rounds = last.said_after.max(WARM_UP_ROUNDS) + ROUNDS_BETWEEN;
        eventually("forecasts between two changes", || {
            (progress.heard.load(Ordering::SeqCst) >= due(rounds)).then_some(())
        });
        let heard_before = progress.heard.load(Ordering::SeqCst);
        let is_swap = (index + 1) * promotions / changes == index * promotions / changes;
        let after = change(place, daemon, is_swap, last);
        let said_after = progress.said.load(Ordering::SeqCst);
        eras.push(Era { heard_before, said_after, ..after });
    }
    let rounds = eras[eras.len() - 1].said_after + ROUNDS_BETWEEN;
    eventually("forecasts after the last change", || {
        (progress.heard.load(Ordering::SeqCst) >= due(rounds)).then_some(())
    });
    eras
}

/// Forecasts by symbol, in their order.
fn by_symbol(said: &[Said]) -> BTreeMap<&str, Vec<&Said>> {
    let mut by_symbol = BTreeMap::<_, Vec<_>>::new();
    for said in said {
        by_symbol.entry(&*said.symbol).or_default().push(said);
    }
    by_symbol
}

/// Of each symbol and step one forecast, with the bytes that its version gives alone, and each
/// version in one stretch, in the order of the changes.
fn assert_whole(
    said: &[Said],
    rounds: usize,
    eras: &[Version],
    alone: &BTreeMap<(String, String), Lines>,
) {
    let mut eras: Vec<_> = eras.iter().copied().map(owned).collect();
    eras.dedup();
    let by_symbol = by_symbol(said);
    assert_eq!(by_symbol.len(), SYMBOLS);
    for (symbol, said) in by_symbol {
        let found: Vec<_> = said.iter().map(|said| said.round).collect();
        let expected: Vec<_> = (WARM_UP_ROUNDS..rounds).collect();
        assert_eq!(found, expected, "{symbol}: each step once, in order");
        for said in &said {
            let alone = alone[&said.version].get(&(symbol.to_owned(), said.round));
            assert_eq!(alone, Some(&said.line), "{:?}", said.version);
        }
        let stretches = said.chunk_by(|a, b| a.version == b.version);
        let stretches: Vec<_> = stretches.map(|stretch| stretch[0].version.clone()).collect();
        assert_eq!(stretches, eras, "{symbol}");
    }
}

/// What was heard before a change was asked for is of the versions before it, and what was said
/// after its answer is of those after it.
fn assert_borders(heard: &[Said], eras: &[Era]) {
    // A version may come back, so each forecast is held to the eras that it can be of.
    for (index, said) in heard.iter().enumerate() {
        let first = eras.iter().rposition(|era| era.said_after <= said.round).unwrap_or_default();
        let last = eras.iter().position(|era| era.heard_before > index).unwrap_or(eras.len());
        let is_possible = eras[first..last].iter().any(|era| owned(era.live) == said.version);
        assert!(is_possible, "forecast {index}, {said:?}, is of none of eras {first} to {last}");
    }
}

#[test]
fn swaps_and_promotions_under_load_lose_double_and_mix_nothing() {
    let swaps = count("TICKCAST_TEST_SWAPS", 12);
    let promotions = count("TICKCAST_TEST_PROMOTIONS", 4);
    let (place, feed, progress) = (Place::new(), ScriptedFeed::start(), Progress::default());
    let daemon = place.serve(feed.url());
    let live = subscribe(&daemon);
    daemon.await_metric("tickcast_stream_subscribers", 1.0);
    let (eras, (rounds, heard)) = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&feed, live, &progress));
        let over = Over(&progress);
        let eras = change_all(&place, &daemon, &progress, (swaps, promotions));
        drop(over);
        (eras, load.join().unwrap())
    });
    assert_counted(&daemon, rounds, (swaps, promotions));
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    println!("{swaps} swaps and {promotions} promotions within {} ticks", rounds * SYMBOLS);

    let records: Vec<_> = (0..rounds).flat_map(round).collect();
    fs::write(place.path("records.jsonl"), records.join("\n")).unwrap();
    // Both versions are needed for what they say alone.
    if eras[eras.len() - 1].vol().1 == "1" {
        place.move_newest(true);
    }
    let alone = std::thread::scope(|scope| {
        let place = &place;
        let replays = VERSIONS.map(|version| (version, scope.spawn(move || place.replay(version))));
        replays.map(|(version, replay)| (owned(version), replay.join().unwrap())).into()
    });
    let heard: Vec<_> = heard.iter().map(|line| Said::of(line)).collect();
    let (lines, shadows) = (place.lines("lines.jsonl"), place.lines("shadows.jsonl"));
    assert_eq!(by_symbol(&heard), by_symbol(&lines), "the stream and the lines agree");
    let live: Vec<_> = eras.iter().map(|era| era.live).collect();
    let shadow: Vec<_> = eras.iter().map(|era| era.shadow).collect();
    assert_whole(&lines, rounds, &live, &alone);
    assert_whole(&shadows, rounds, &shadow, &alone);
    assert_borders(&heard, &eras);
}

/// The counters say what was done.
fn assert_counted(daemon: &Daemon, rounds: usize, (swaps, promotions): (usize, usize)) {
    let ticks = (rounds * SYMBOLS) as f64;
    // Shadows follow behind the live forecasts that were heard.
    let forecasts = due(rounds) as f64;
    daemon.await_metric("tickcast_forecasts_total", 2.0 * forecasts);
    let metrics = daemon.metrics();
    for model in ["vol", "next"] {
        for (name, expected) in [
            ("tickcast_model_ticks_total", ticks),
            ("tickcast_steps_total", ticks),
            ("tickcast_steps_warming_total", ticks - forecasts),
            ("tickcast_forecasts_total", forecasts),
        ] {
            assert_eq!(
                metrics[&format!("{name}{{model=\"{model}\"}}")],
                expected,
                "{name} {model}"
            );
        }
    }
    let sum = |family: &str| -> f64 {
        let of_family = metrics.iter().filter(|(name, _)| {
            name.strip_prefix(family).is_some_and(|rest| rest.contains("model="))
        });
        of_family.map(|(_, value)| value).sum()
    };
    assert_eq!(sum("tickcast_promotions_total"), promotions as f64);
    for (name, expected) in [
        (r#"tickcast_reloads_total{model="vol",outcome="swapped"}"#, swaps as f64),
        (r#"tickcast_reloads_total{model="vol",outcome="kept"}"#, 0.0),
        ("tickcast_ticks_total", ticks),
        ("tickcast_ticks_used_total", ticks),
        ("tickcast_records_dropped_total", 0.0),
        ("tickcast_stream_cut_total", 0.0),
        ("tickcast_stream_sent_total", forecasts),
    ] {
        assert_eq!(metrics[name], expected, "{name}");
    }
    let withheld = metrics.iter().filter(|(name, _)| name.contains("forecasts_withheld_total"));
    assert_eq!(withheld.map(|(_, value)| value).sum::<f64>(), 0.0);
}
