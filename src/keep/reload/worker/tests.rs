//! Tests of the reloads, over shards of which the test plays some and runs the others.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use prometheus::Registry;
use tempfile::TempDir;

mod age;
mod history;
mod promotions;
mod rule;

use super::super::handle::Busy;
use super::*;
use crate::core::domain::SymbolPatterns;
use crate::engine::inference::{Backend, InferenceError, Signature};
use crate::engine::model::manifest::Mode;
use crate::engine::model::{Bundle, BundleError, Draft};
use crate::engine::pipeline::InProcess;
use crate::engine::test_support::{
    NullRuntime, STEP_SECONDS, WARM_UP_STEPS, WINDOW_STEPS, Weights, draft, manifest,
};
use crate::intake::{Arrival, IntakeReceiver, IntakeSender, Record, shard_of_symbol};
use crate::keep::roles::{ConfiguredRole, ConfiguredRoles, Found, GivenRoles};
use crate::ops::process;
use crate::ops::supervise::StageWatch;
use crate::shard::ShardError;
use crate::shard::test_support::{
    Log, MemorySink, Seen, pipeline, plain, queue, record, settings, shard_of,
};

/// Minutes of a symbol until its window is full.
const FULL: i64 = (WARM_UP_STEPS + WINDOW_STEPS) as i64;

/// A version of the model; its weights make its forecasts differ from those of others.
fn version(version: &str, weights: Weights) -> Draft {
    let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
    manifest.version = version.to_owned();
    draft(manifest, weights)
}

fn another() -> Weights {
    Weights { bias: 0.2, ..Weights::default() }
}

/// A folder of models, in which version 1 runs.
struct Folder(TempDir);

/// What is known of the model that runs.
struct Shown {
    running: watch::Receiver<Models>,
    registry: Registry,
    thread: ReloadThread,
}

/// A model as it is shown.
fn listed(pipeline: &Pipeline, name: &str, role: Role) -> ListedModel {
    let status = ModelStatus::of(pipeline, Vec::new());
    ListedModel {
        name: name.to_owned(),
        role,
        seat: 0,
        turns_with: None,
        symbols: Vec::new(),
        rivalry: Rivalry::default(),
        blends: Vec::new(),
        status,
    }
}

impl Folder {
    fn new() -> Self {
        let models = Self(tempfile::tempdir().unwrap());
        models.seal(version("1", Weights::default()));
        models
    }

    fn seal(&self, draft: Draft) {
        draft.seal(self.0.path(), &NullRuntime).unwrap();
    }

    fn folder(&self, version: &str) -> std::path::PathBuf {
        self.0.path().join("null").join(version)
    }

    fn bundle(&self, version: &str) -> Bundle {
        Bundle::read(&self.folder(version)).unwrap()
    }

    fn start(
        &self,
        shards: Vec<IntakeCommander<Command>>,
        runtime: Arc<dyn Runtime>,
    ) -> (ReloadHandle, Shown) {
        let prover = Arc::new(InProcess(Arc::clone(&runtime)));
        self.start_with(shards, runtime, prover)
    }

    fn start_with(
        &self,
        shards: Vec<IntakeCommander<Command>>,
        runtime: Arc<dyn Runtime>,
        prover: Arc<dyn Prover>,
    ) -> (ReloadHandle, Shown) {
        self.start_asking(None, shards, runtime, prover)
    }

    fn start_asking(
        &self,
        rows: Option<AskedRows>,
        shards: Vec<IntakeCommander<Command>>,
        runtime: Arc<dyn Runtime>,
        prover: Arc<dyn Prover>,
    ) -> (ReloadHandle, Shown) {
        let pipeline = pipeline(&self.bundle("1"));
        let registry = Registry::new();
        let (running, shown) = watch::channel(Models(vec![listed(&pipeline, "null", Role::Live)]));
        let choice = ModelChoice {
            root: self.0.path().to_owned(),
            name: "null".to_owned(),
            version: "latest".to_owned(),
            mode: None,
            watch: false,
        };
        let reloader = Reloader {
            models: vec![ReloadModel::new(choice, settings(), &pipeline).asking_for(rows)],
            roles: RoleStore::new(None, ConfiguredRoles::default()),
            rule: PromotionRule::never(),
            age: AgeWatch::never(),
            prover,
            proof_time_max: Duration::from_secs(60),
            runtime,
            shards,
            running,
            info: process::register(&registry).unwrap(),
            metrics: ReloadMetrics::register(&registry, ["null"]).unwrap(),
        };
        let thread = reloader.start().unwrap();
        (thread.handle().clone(), Shown { running: shown, registry, thread })
    }
}

impl Shown {
    fn version(&self) -> String {
        self.running.borrow().0[0].status.running.model_version.clone()
    }

    /// The versions that were refused before the one that runs.
    fn refused(&self) -> Vec<String> {
        let models = self.running.borrow();
        models.0[0].status.refused.iter().map(|refused| refused.version.clone()).collect()
    }

    /// How many reloads there were, by outcome.
    fn counts(&self) -> [u64; 4] {
        let families = self.registry.gather();
        let name = "tickcast_reloads_total";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        ["swapped", "unchanged", "kept", "fatal"].map(|outcome| {
            let of_outcome = family
                .get_metric()
                .iter()
                .find(|metric| metric.get_label().iter().any(|label| label.value() == outcome))
                .unwrap();
            of_outcome.get_counter().get_value() as u64
        })
    }
}

/// The outcome of a reload that is asked for.
fn outcome(handle: &ReloadHandle) -> Outcome {
    handle.ask("test", Work::Reload(0)).unwrap().blocking_recv().unwrap()
}

fn reason(outcome: Outcome) -> String {
    match outcome {
        Outcome::Kept { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// A shard that runs.
struct Running {
    intake: IntakeSender<Command>,
    thread: JoinHandle<Result<(), ShardError>>,
}

impl Running {
    fn new(models: &Folder, log: &Log) -> Self {
        let (intake, receiver) = queue(1000);
        let sinks = vec![MemorySink::new("sink", log).boxed()];
        let shard = shard_of(pipeline(&models.bundle("1")), receiver, sinks, 100);
        Self { intake, thread: std::thread::spawn(move || shard.run().map(drop)) }
    }

    fn deliver(&self, record: Record) {
        assert_eq!(self.intake.record_within(record, Duration::ZERO).unwrap(), None);
    }

    fn finish(self) {
        drop(self.intake);
        self.thread.join().unwrap().unwrap();
    }
}

/// Takes the next command out of the queue of a shard that the test plays.
fn taken(shard: &IntakeReceiver<Command>) -> Command {
    let mut batch = Vec::new();
    shard.drain(&mut batch, 1);
    match batch.pop() {
        Some(Arrival::Command(command)) => command,
        _ => panic!("a command"),
    }
}

/// Answers that there are no windows to try a model on.
fn answer_sample(shard: &IntakeReceiver<Command>) {
    let Command::Sample { answer, .. } = taken(shard) else { panic!("a sample") };
    answer.send(Vec::new()).unwrap();
}

/// Takes another model over; returns its version.
fn answer_swap(shard: &IntakeReceiver<Command>) -> String {
    let Command::Swap { pipeline, answer, .. } = taken(shard) else { panic!("a swap") };
    let version = pipeline.manifest().version.clone();
    answer.send((Inherited { kept: 1, rescaled: 0, cold: 2 }, pipeline)).unwrap();
    version
}

#[test]
fn all_shards_change_over_and_go_on_with_their_windows() {
    let (models, log) = (Folder::new(), Log::default());
    let shards: Vec<_> = (0..2).map(|_| Running::new(&models, &log)).collect();
    let commanders = shards.iter().map(|shard| shard.intake.commander()).collect();
    let (handle, shown) = models.start(commanders, Arc::new(NullRuntime));
    let symbols = ["A", "B", "C", "D", "E"];
    let deliver = |minutes: std::ops::Range<i64>| {
        for symbol in symbols {
            let shard = &shards[shard_of_symbol(symbol, 2)];
            minutes.clone().for_each(|minute| shard.deliver(record(symbol, minute)));
        }
    };
    let owners: std::collections::BTreeSet<_> =
        symbols.iter().map(|symbol| shard_of_symbol(symbol, 2)).collect();
    assert_eq!(owners.len(), 2, "both shards have symbols");
    deliver(0..FULL);
    models.seal(version("2", another()));
    let model = RunningModel::of(&pipeline(&models.bundle("2")));
    let expected = Outcome::Swapped {
        model: model.clone(),
        symbols_kept: 5,
        symbols_rescaled: 0,
        symbols_cold: 0,
    };
    assert_eq!(outcome(&handle), expected);
    assert_eq!(shown.running.borrow().0[0].status.running, model);
    deliver(FULL..FULL + 1);
    shards.into_iter().for_each(Running::finish);
    let of = |version: &str| {
        let sha256 = models.bundle(version).manifest().onnx_sha256.clone();
        let is_of = |seen: &Seen| matches!(seen, Seen::Forecast { model, .. } if *model == sha256);
        log.of("sink").iter().filter(|seen| is_of(seen)).count()
    };
    assert_eq!((of("1"), of("2")), (5, 5));
    assert_eq!(shown.counts(), [1, 0, 0, 0]);
}

#[test]
fn a_version_that_runs_already_is_no_refusal() {
    let models = Folder::new();
    let (sender, shard) = queue(9);
    let (handle, shown) = models.start(vec![sender.commander()], Arc::new(NullRuntime));
    // A shard that is gone, because it is not to be asked.
    drop(shard);
    let model = RunningModel::of(&pipeline(&models.bundle("1")));
    let reason = "version 1 runs already".to_owned();
    assert_eq!(outcome(&handle), Outcome::Unchanged { model, reason });
    assert_eq!((shown.version(), shown.counts()), ("1".to_owned(), [0, 1, 0, 0]));
}

fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.push(b' ');
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_refused_bundle_leaves_the_model_that_runs() {
    let models = Folder::new();
    let (sender, shard) = queue(9);
    let (handle, shown) = models.start(vec![sender.commander()], Arc::new(NullRuntime));
    models.seal(version("2", another()));
    spoil(&models.folder("2").join("model.onnx"));
    let reason = reason(outcome(&handle));
    assert!(reason.contains("is refused") && reason.contains("onnx_sha256"), "{reason}");
    assert!(!shard.has_more(), "the shard is not asked");
    assert_eq!((shown.version(), shown.counts()), ("1".to_owned(), [0, 0, 1, 0]));
    // Another version is as welcome as before.
    models.seal(version("3", another()));
    let answered = std::thread::spawn(move || {
        answer_sample(&shard);
        answer_swap(&shard)
    });
    assert!(matches!(outcome(&handle), Outcome::Swapped { symbols_cold: 2, .. }));
    assert_eq!((answered.join().unwrap(), shown.version()), ("3".to_owned(), "3".to_owned()));
}

#[test]
fn the_newest_version_that_proves_itself_is_taken_over_and_the_others_are_shown() {
    let models = Folder::new();
    let (sender, shard) = queue(9);
    let (handle, shown) = models.start(vec![sender.commander()], Arc::new(NullRuntime));
    models.seal(version("2", another()));
    for refused in ["3", "10"] {
        models.seal(version(refused, another()));
        spoil(&models.folder(refused).join("model.onnx"));
    }
    let answered = std::thread::spawn(move || {
        answer_sample(&shard);
        (answer_swap(&shard), shard)
    });
    assert!(matches!(outcome(&handle), Outcome::Swapped { .. }));
    let (taken_over, shard) = answered.join().unwrap();
    assert_eq!((taken_over, shown.version()), ("2".to_owned(), "2".to_owned()));
    assert_eq!(shown.refused(), ["10", "3"]);
    // What runs is not left for a lower one.
    spoil(&models.folder("2").join("model.onnx"));
    let reason = reason(outcome(&handle));
    assert!(reason.starts_with("version 10: ") && reason.contains("; version 3: "), "{reason}");
    assert!(!shard.has_more(), "the shard is not asked");
    for refused in ["3", "10"] {
        std::fs::remove_dir_all(models.folder(refused)).unwrap();
    }
    assert!(matches!(outcome(&handle), Outcome::Kept { .. }));
    assert_eq!((shown.version(), shown.refused()), ("2".to_owned(), vec!["2".to_owned()]));
}

/// A runtime that opens no more than a few models.
struct OpensAtMost(AtomicUsize);

impl Runtime for OpensAtMost {
    fn name(&self) -> &'static str {
        "null"
    }

    fn build(&self) -> String {
        String::new()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let less = |left: usize| left.checked_sub(1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => NullRuntime.open(onnx, signature),
            Err(_) => {
                let message = "no memory left".to_owned();
                Err(InferenceError::Runtime { context: "open", message })
            }
        }
    }
}

#[test]
fn a_model_that_does_not_open_for_the_last_shard_is_taken_over_by_none() {
    let models = Folder::new();
    let (sender, first) = queue(9);
    let (other, second) = queue(9);
    let shards = vec![sender.commander(), other.commander()];
    let (handle, shown) = models.start(shards, Arc::new(OpensAtMost(2.into())));
    models.seal(version("2", another()));
    // One for the proof and one for the first shard.
    let reason = reason(outcome(&handle));
    assert!(reason.contains("open: no memory left"), "{reason}");
    assert!(!first.has_more() && !second.has_more(), "no shard is asked");
    assert_eq!(shown.version(), "1");
}

#[test]
fn no_shard_changes_over_while_another_has_ended() {
    let models = Folder::new();
    let (sender, first) = queue(9);
    let (other, second) = queue(9);
    let shards = vec![sender.commander(), other.commander()];
    let (handle, shown) = models.start(shards, Arc::new(NullRuntime));
    models.seal(version("2", another()));
    drop(second);
    assert_eq!(reason(outcome(&handle)), "the daemon is ending");
    assert!(matches!(taken(&first), Command::Sample { .. }));
    assert!(!first.has_more(), "it got no order to change over");
    assert_eq!((shown.version(), shown.counts()), ("1".to_owned(), [0, 0, 1, 0]));
}

#[test]
fn a_shard_that_ends_instead_of_showing_its_windows_changes_nothing() {
    let models = Folder::new();
    let (sender, shard) = queue(9);
    let (handle, shown) = models.start(vec![sender.commander()], Arc::new(NullRuntime));
    models.seal(version("2", another()));
    let asked = handle.ask("test", Work::Reload(0)).unwrap();
    assert!(matches!(taken(&shard), Command::Sample { .. }), "and nobody answers it");
    drop(shard);
    assert_eq!(reason(asked.blocking_recv().unwrap()), "the daemon is ending");
    assert_eq!((shown.version(), shown.counts()), ("1".to_owned(), [0, 0, 1, 0]));
}

#[test]
fn a_shard_that_ends_between_the_two_is_fatal() {
    let models = Folder::new();
    let (sender, first) = queue(9);
    let (other, second) = queue(9);
    let shards = vec![sender.commander(), other.commander()];
    let (handle, shown) = models.start(shards, Arc::new(NullRuntime));
    models.seal(version("2", another()));
    let asked = handle.ask("test", Work::Reload(0)).unwrap();
    answer_sample(&first);
    let Command::Sample { answer, .. } = taken(&second) else { panic!("a sample") };
    // It is gone before its answer lets the reload go on.
    drop(second);
    answer.send(Vec::new()).unwrap();
    let outcome = asked.blocking_recv().unwrap();
    let Outcome::Fatal { reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, "a shard ended while the models changed over");
    assert_eq!((shown.version(), shown.counts()), ("1".to_owned(), [0, 0, 0, 1]));
}

#[test]
fn requests_that_come_meanwhile_are_answered_together() {
    let models = Folder::new();
    let (sender, shard) = queue(9);
    let (handle, shown) = models.start(vec![sender.commander()], Arc::new(NullRuntime));
    models.seal(version("2", another()));
    let first = handle.ask("first", Work::Reload(0)).unwrap();
    let Command::Sample { answer, .. } = taken(&shard) else { panic!("a sample") };
    // The reload is under way until this is answered.
    let waiting: Vec<_> =
        (1..REQUESTS_MAX).map(|_| handle.ask("later", Work::Reload(0)).unwrap()).collect();
    handle.request("nobody waits for it", Work::Reload(0)).unwrap();
    assert_eq!(handle.request("one too many", Work::Reload(0)), Err(Busy));
    assert!(matches!(handle.ask("one too many", Work::Reload(0)), Err(Busy)));
    answer.send(Vec::new()).unwrap();
    assert_eq!(answer_swap(&shard), "2");
    assert!(matches!(first.blocking_recv().unwrap(), Outcome::Swapped { .. }));
    for waiting in waiting {
        let outcome = waiting.blocking_recv().unwrap();
        assert!(matches!(outcome, Outcome::Unchanged { .. }), "{outcome:?}");
    }
    assert_eq!(shown.counts(), [1, 1, 0, 0], "one answer for all that waited");
}

#[test]
fn a_model_that_says_nothing_about_most_windows_is_refused() {
    // It leaves the finite numbers at high prices.
    let weights = Weights { gain: 1e38, ..Weights::default() };
    let unusable = "it says nothing usable about 2 of 3 live windows";
    for (high, middle, refused) in [(1, 1, None), (2, 1, Some(unusable)), (0, 0, None)] {
        let (models, log) = (Folder::new(), Log::default());
        let running = Running::new(&models, &log);
        let commanders = vec![running.intake.commander()];
        let (handle, shown) = models.start(commanders, Arc::new(NullRuntime));
        let deliver = |symbol: &str, minute: i64, close: u32| {
            let time = minute * i64::from(STEP_SECONDS) * 1000;
            let line = format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close}}}"#);
            running.deliver(plain(line));
        };
        for minute in 0..FULL {
            (0..high).for_each(|at| deliver(&format!("high-{at}"), minute, 180));
            (0..middle).for_each(|at| deliver(&format!("middle-{at}"), minute, 100));
        }
        // Its window is not full, so it says nothing of a model.
        deliver("new", 0, 180);
        models.seal(version("2", weights));
        let outcome = outcome(&handle);
        match refused {
            Some(refused) => assert_eq!(reason(outcome), refused),
            None => assert!(matches!(outcome, Outcome::Swapped { .. }), "{outcome:?}"),
        }
        let version = if refused.is_some() { "1" } else { "2" };
        assert_eq!(shown.version(), version, "{high} high, {middle} middle");
        running.finish();
    }
}

/// A prover that does what the test says, and says when it begins.
struct Scripted {
    begun: std::sync::mpsc::SyncSender<()>,
    script: Mutex<Vec<Script>>,
}

enum Script {
    Panics,
    HangsUntilStopped,
    Proves,
}

impl Scripted {
    fn new(script: Vec<Script>) -> (Arc<Self>, Receiver<()>) {
        let (begun, begins) = sync_channel(9);
        (Arc::new(Self { begun, script: Mutex::new(script) }), begins)
    }
}

impl Prover for Scripted {
    fn prove(
        &self,
        folder: &Path,
        _: &PipelineSettings,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Bundle, Unproven> {
        let step = self.script.lock().unwrap().remove(0);
        self.begun.send(()).unwrap();
        match step {
            Script::Panics => panic!("the runtime panics"),
            Script::HangsUntilStopped => {
                while goes_on() {
                    std::thread::yield_now();
                }
                Err(Unproven::Interrupted("the daemon is ending".to_owned()))
            }
            Script::Proves => Bundle::read(folder).map_err(|error: BundleError| error.into()),
        }
    }
}

#[test]
fn a_panic_costs_one_reload_and_no_more() {
    let models = Folder::new();
    let (sender, shard) = queue(9);
    let (prover, _begins) = Scripted::new(vec![Script::Panics, Script::Panics, Script::Proves]);
    let (handle, shown) =
        models.start_with(vec![sender.commander()], Arc::new(NullRuntime), prover);
    models.seal(version("2", another()));
    for _ in 0..2 {
        let reason = reason(outcome(&handle));
        assert!(reason.starts_with("the reload panicked"), "{reason}");
    }
    let answered = std::thread::spawn(move || {
        answer_sample(&shard);
        answer_swap(&shard)
    });
    assert!(matches!(outcome(&handle), Outcome::Swapped { .. }));
    assert_eq!((answered.join().unwrap(), shown.version()), ("2".to_owned(), "2".to_owned()));
    assert_eq!(shown.counts(), [1, 0, 2, 0]);
}

#[test]
fn a_proof_that_hangs_is_seen_by_the_supervisor_and_cut_off_by_a_stop() {
    let models = Folder::new();
    let (sender, _shard) = queue(9);
    let (prover, begins) = Scripted::new(vec![Script::HangsUntilStopped]);
    let (handle, mut shown) =
        models.start_with(vec![sender.commander()], Arc::new(NullRuntime), prover);
    models.seal(version("2", another()));
    let seconds = Duration::from_secs;
    let mut watch = StageWatch::new(vec![shown.thread.stage()], seconds(20));
    let asked = handle.ask("test", Work::Reload(0)).unwrap();
    begins.recv().unwrap();
    assert_eq!(watch.look(seconds(100)), [""; 0], "it has just begun");
    assert_eq!(watch.look(seconds(180)), [""; 0], "the proof may take 60 s, the thread 20 s");
    assert_eq!(watch.look(seconds(181)), ["reload"]);
    shown.thread.stop();
    let told = reason(asked.blocking_recv().unwrap());
    assert_eq!(told, "the proof was interrupted: the daemon is ending");
    assert!(shown.refused().is_empty(), "an interrupted proof is no refusal");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(shown.thread.ended_within(seconds(120))));
    assert_eq!(handle.request("test", Work::Reload(0)), Err(Busy));
}
