//! What a shadow, swaps of the version and promotions cost a live forecast of the real daemon.
//!
//! Run by `make bench-promotions`. Two daemons take turns within one run: one with one model, and
//! one with a shadow beside it. Each turn measures each phase for `BENCH_SECONDS` on the same ticks
//! at the same rate, from right before a WebSocket tick is written to when its forecast was read;
//! `BENCH_TURNS` is the number of turns. A swap is `POST /v1/reload` with another version, a
//! promotion `POST /v1/models/NAME/promote`, and the next one follows a pause behind its answer.
//! A ratio compares a phase with the one that it names, in the same run, so that a noisy machine
//! disturbs both.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench that cannot run says why by failing, and it reads the clock"
)]

#[allow(dead_code, reason = "shared by benches, each of which needs a part of it")]
mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tickcast::tools::bench::Quantiles;

use self::rig::{Rig, key_of, reader};

/// Ticks a second, over all symbols.
const RATE: u64 = 1_000;

/// The pause between the answer to a change and the next one.
const PAUSE: Duration = Duration::from_millis(200);

/// What happens while forecasts are measured.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    None,
    Swap,
    Promotion,
}

/// A phase: its name, whether there is a shadow, what happens, and the phase that it is held to.
const PHASES: [(&str, bool, Change, usize); 5] = [
    ("one model", false, Change::None, 0),
    ("one model, swaps", false, Change::Swap, 0),
    ("with a shadow", true, Change::None, 0),
    ("with a shadow, swaps of the live model", true, Change::Swap, 2),
    ("with a shadow, promotions", true, Change::Promotion, 2),
];

/// A daemon whose live model has two versions.
struct Bench {
    rig: Rig,
    root: tempfile::TempDir,
    has_newest: bool,
    is_promoted: bool,
}

impl Bench {
    /// The model of the demo as two versions, and as a shadow under a name of its own.
    fn start(has_shadow: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (name, version) in [("daily", "1"), ("daily", "2"), ("next", "1")] {
            copy(&root.path().join("models").join(name).join(version), name, version);
        }
        let shadow = "[[models]]\nname = 'next'\nrole = 'shadow'\n";
        // Roles are kept there, as in a daemon that is run for long.
        let state = root.path().join("state");
        let models = format!(
            "source.when_full = 'block'\nsnapshot.folder = '{}'\n\
             [[models]]\nname = 'daily'\n{}",
            state.display(),
            if has_shadow { shadow } else { "" }
        );
        let mut rig = Rig::start(&root.path().join("models"), &models);
        rig.warm_up();
        Self { rig, root, has_newest: true, is_promoted: false }
    }

    /// The latencies of one turn of a phase, and how many changes there were.
    fn measure(&mut self, change: Change, span: Duration) -> (Vec<Duration>, usize) {
        let count = RATE * span.as_millis() as u64 / 1000;
        let reader = reader(format!("ws://{}/v1/stream", self.rig.address), count);
        while self.rig.metrics()["tickcast_stream_subscribers"] < 1.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let address = self.rig.address.clone();
        let folders = [self.root.path().join("models/daily/2"), self.root.path().join("daily-2")];
        let is_over = AtomicBool::new(false);
        let Self { rig, has_newest, is_promoted, .. } = self;
        let (sent, changes) = std::thread::scope(|scope| {
            let changes = scope.spawn(|| {
                let mut changes = 0;
                while change != Change::None && !is_over.load(Ordering::SeqCst) {
                    match change {
                        Change::Promotion => promote(&address, is_promoted),
                        _ => swap(&address, &folders, has_newest),
                    }
                    changes += 1;
                    std::thread::sleep(PAUSE);
                }
                changes
            });
            let sent = rig.send(RATE, span);
            is_over.store(true, Ordering::SeqCst);
            (sent, changes.join().unwrap())
        });
        let seen = reader.join().unwrap();
        let latency = |(at, message): &(_, tokio_tungstenite::tungstenite::Message)| {
            let key = key_of(message.to_text().unwrap().as_bytes());
            *at - sent[&key]
        };
        let times: Vec<Duration> = seen.iter().map(latency).collect();
        assert_eq!(times.len(), sent.len(), "each tick has its forecast");
        // A change that was asked for within the turn may have been answered behind it.
        while self.rig.metrics()["tickcast_stream_subscribers"] > 0.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        (times, changes)
    }
}

/// A copy of the model of the demo under another name and version.
fn copy(folder: &Path, name: &str, version: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/aapl-daily/1");
    fs::create_dir_all(folder).unwrap();
    for file in ["model.onnx", "golden.json"] {
        fs::copy(from.join(file), folder.join(file)).unwrap();
    }
    let text = fs::read_to_string(from.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    (manifest["name"], manifest["version"]) = (name.into(), version.into());
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

/// Has the daemon take the other version.
fn swap(address: &str, [inside, outside]: &[PathBuf; 2], has_newest: &mut bool) {
    let (from, to) = if *has_newest { (inside, outside) } else { (outside, inside) };
    fs::rename(from, to).unwrap();
    *has_newest = !*has_newest;
    let answer = Rig::post(address, "/v1/reload?model=daily");
    assert!(answer.contains(r#""outcome":"swapped""#), "{answer}");
}

/// Gives the seat to the model that is a shadow.
fn promote(address: &str, is_promoted: &mut bool) {
    let name = if *is_promoted { "daily" } else { "next" };
    *is_promoted = !*is_promoted;
    let answer = Rig::post(address, &format!("/v1/models/{name}/promote"));
    assert!(answer.contains(r#""outcome":"promoted""#), "{answer}");
}

/// The processor, its cores, and what else wants them.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = read("/proc/loadavg");
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(", ");
    format!("{cpu}, {cores} cores, load {load} over 1, 5, 15 minutes")
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn main() {
    let is_smoke = !std::env::args().any(|argument| argument == "--bench");
    let seconds = variable("BENCH_SECONDS").unwrap_or(if is_smoke { 0.2 } else { 3.0 });
    let turns = variable("BENCH_TURNS").unwrap_or(if is_smoke { 1 } else { 10 });
    let span = Duration::from_secs_f64(seconds);
    println!("{}\n", machine());
    let mut benches = [false, true].map(Bench::start);
    let mut times: [Vec<Duration>; PHASES.len()] = Default::default();
    let mut changes = [0; PHASES.len()];
    for _ in 0..turns {
        for (phase, (_, has_shadow, change, _)) in PHASES.into_iter().enumerate() {
            let (of_turn, count) = benches[usize::from(has_shadow)].measure(change, span);
            times[phase].extend(of_turn);
            changes[phase] += count;
        }
    }
    let quantiles = times.map(Quantiles::of);
    println!(
        "| tick to forecast | p50 us | p99 us | p99.9 us | max us | ticks | changes | held to |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---|");
    for (phase, (name, _, _, against)) in PHASES.into_iter().enumerate() {
        let Quantiles { p50_us, p99_us, p999_us, max_us, runs } = quantiles[phase];
        let ratio = if phase == against {
            "–".to_owned()
        } else {
            let Quantiles { p50_us: p50, p99_us: p99, .. } = quantiles[against];
            let against = PHASES[against].0;
            format!("{against}: p50 x {:.2}, p99 x {:.2}", p50_us / p50, p99_us / p99)
        };
        println!(
            "| {name} | {p50_us:.0} | {p99_us:.0} | {p999_us:.0} | {max_us:.0} | {runs} | {} | \
             {ratio} |",
            changes[phase]
        );
    }
    println!("\n{}", machine());
}
