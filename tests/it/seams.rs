//! The seams: a source, a sink and a runtime of the test's own, each a small adapter in memory that
//! joins the daemon without a change to `src/`.
//!
//! They are what "to add one" in ARCHITECTURE.md says, and they run the whole daemon: the source
//! delivers ticks, the runtime computes a network in plain Rust, the sink keeps what it gets. What
//! the sink got must be, byte for byte, what the pipeline makes of the same ticks.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use prometheus::IntCounter;
use tickcast::adapters::{self, Adapters};
use tickcast::app::App;
use tickcast::app::config::{self, Config};
use tickcast::core::domain::{NamedRejection, Reject};
use tickcast::engine::inference::{Backend, HostBackend, InferenceError, Runtime, Signature};
use tickcast::engine::pipeline::{Pipeline, Pipelines};
use tickcast::engine::symbols::Haste;
use tickcast::intake::{Record, WhenFull};
use tickcast::ops::exit::{Exit, Failure};
use tickcast::ops::supervise::Pulse;
use tickcast::ports::input::InputIdentity;
use tickcast::ports::sink::{
    OpenSink, Outgoing, Sink, SinkClosed, SinkKind, SinkOpening, SinkReader, SinkSettings,
};
use tickcast::ports::source::{
    Source, SourceContext, SourceFacts, SourceKind, SourceOpening, SourceReader, SourceSettings,
};
use tickcast::shard::command::Command;

use crate::support::bundle::{SealedBundle, sealed_by};
use crate::support::network::Network;

const WINDOW_STEPS: u32 = 4;

// A runtime: it opens a model and computes it.

struct PlainRuntime(Arc<Network>);

impl Runtime for PlainRuntime {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn build(&self) -> String {
        "in memory".to_owned()
    }

    fn open(&self, _: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let network = Arc::clone(&self.0);
        Ok(Box::new(HostBackend::new(signature, move |tensors| {
            tensors.run_by_row(|row, states| network.step(row, states));
        })))
    }
}

// A source: its kind, its settings, and itself.

const MEMORY_SOURCE: SourceKind<Command> = SourceKind { name: "memory", read: read_source };

#[derive(Clone, Debug)]
struct MemorySettings {
    ticks: usize,
    fails: bool,
}

struct MemorySource {
    settings: MemorySettings,
    delivered: IntCounter,
}

fn read_source(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<Command>> {
    let SourceReader { root, .. } = reader;
    let mut section = root.section("memory");
    let ticks = section.optional_count("ticks", 1, 10_000).unwrap_or(1);
    let fails = section.is_set("then");
    section.optional_text("then");
    section.finish();
    Arc::new(MemorySettings { ticks, fails })
}

/// The tick at a place of the stream, of two symbols in turn.
fn tick(index: usize) -> String {
    let symbol = ["A", "B"][index % 2];
    let time = index as i64 / 2 * 86_400_000;
    let close = 100.0 + 20.0 * (index as f64 * 0.7).sin();
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{index}}}"#)
}

impl SourceSettings<Command> for MemorySettings {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            when_full: WhenFull::Block,
            may_drop: false,
            is_live: false,
            delivers_scores: false,
            commits: false,
            message_bytes_max: None,
        }
    }

    fn check(&self) -> Result<Vec<String>, Exit> {
        Ok(vec![format!("memory        {} ticks", self.ticks)])
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        Ok(None)
    }

    fn open(&self, opening: &SourceOpening<'_>) -> Result<Box<dyn Source<Command>>, Exit> {
        let delivered = IntCounter::new("memory_delivered_total", "Ticks delivered.").unwrap();
        opening.registry.register(Box::new(delivered.clone())).unwrap();
        Ok(Box::new(MemorySource { settings: self.clone(), delivered }))
    }
}

impl Source<Command> for MemorySource {
    fn run(
        self: Box<Self>,
        context: SourceContext<Command>,
    ) -> BoxFuture<'static, Result<(), Exit>> {
        Box::pin(async move {
            context.ready.ready();
            for index in 0..self.settings.ticks {
                if context.router.record(tick(index).into()).await.is_err() {
                    return Ok(());
                }
                self.delivered.inc();
            }
            if self.settings.fails {
                return Err(Exit::new(Failure::Data, "the memory is torn"));
            }
            Ok(())
        })
    }
}

// A sink: its kind, its settings, and itself.

const MEMORY_SINK: SinkKind = SinkKind { read: read_sink };

/// What every sink of this process got, by the name in its configuration.
static KEPT: Mutex<BTreeMap<String, Kept>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Debug, Default)]
struct Kept {
    forecasts: Vec<String>,
    scores: Vec<String>,
    refused: Vec<Reject>,
    /// How many records were there when the sink was finished.
    finished_with: Option<usize>,
}

#[derive(Clone, Debug)]
struct KeeperSettings {
    name: String,
}

#[derive(Clone)]
struct MemorySink {
    name: String,
}

fn read_sink(reader: SinkReader<'_, '_>) -> Arc<dyn SinkSettings> {
    let SinkReader { publish, .. } = reader;
    Arc::new(KeeperSettings { name: publish.optional_text("memory").unwrap_or_default() })
}

fn kept() -> MutexGuard<'static, BTreeMap<String, Kept>> {
    KEPT.lock().unwrap()
}

fn text(record: &Outgoing<'_>) -> String {
    String::from_utf8(record.bytes.to_vec()).unwrap()
}

impl SinkSettings for KeeperSettings {
    fn takes_scores(&self) -> bool {
        true
    }

    fn open(&self, _: &SinkOpening<'_>) -> Result<Option<OpenSink>, Exit> {
        let name = self.name.clone();
        kept().insert(name.clone(), Kept::default());
        Ok(Some(OpenSink {
            sink: Box::new(MemorySink { name: name.clone() }),
            stages: Vec::new(),
            notices: Vec::new(),
            finish: Box::new(move || {
                let mut all = kept();
                let kept = all.get_mut(&name).expect("it was opened");
                kept.finished_with = Some(kept.forecasts.len() + kept.scores.len());
                Ok(())
            }),
        }))
    }
}

impl MemorySink {
    fn keep(&self, keep: impl FnOnce(&mut Kept)) -> Result<(), SinkClosed> {
        keep(kept().get_mut(&self.name).ok_or(SinkClosed("memory"))?);
        Ok(())
    }
}

impl Sink for MemorySink {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        assert_eq!(forecast.model_sha256.len(), 64, "the model that made it");
        self.keep(|kept| kept.forecasts.push(text(forecast)))
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.keep(|kept| kept.scores.push(text(score)))
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }

    fn dead_letter(&mut self, _: &Record, rejection: NamedRejection<'_>, _: &Pulse) {
        self.keep(|kept| kept.refused.push(rejection.reason)).expect("the sink is open");
    }
}

// What a build with all three does.

/// The registration: one line for each.
fn adapters_with_memory() -> Adapters {
    let mut adapters = adapters::all();
    adapters.sources.push(MEMORY_SOURCE);
    adapters.sinks.push(MEMORY_SINK);
    adapters
}

fn sealed() -> (SealedBundle, Arc<dyn Runtime>) {
    let network = || Network::random(41, 3, &[5, 3]);
    let runtime: Arc<dyn Runtime> = Arc::new(PlainRuntime(Arc::new(network())));
    (sealed_by(&*runtime, network(), WINDOW_STEPS), runtime)
}

fn configuration(sealed: &SealedBundle, name: &str, more: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "source.kind = 'memory'\nmodel.root = '{}'\nmodel.name = 'random'\n\
         publish.memory = '{name}'\nhttp.bind = '127.0.0.1:0'\n{more}",
        sealed.root.path().display()
    );
    std::fs::write(file.path(), text).unwrap();
    config::load_with(&adapters_with_memory(), file.path(), &HashMap::new()).unwrap()
}

/// What the pipeline makes of the ticks, without a daemon.
fn expected(
    sealed: &SealedBundle,
    runtime: &dyn Runtime,
    config: &Config,
    ticks: usize,
) -> (Vec<String>, Vec<String>) {
    let settings = config.pipeline();
    let pipeline = Pipeline::build(&sealed.bundle, runtime, &settings).unwrap();
    let mut pipelines = Pipelines::new(pipeline, &settings);
    let (mut forecasts, mut scores) = (Vec::new(), Vec::new());
    let mut flush = |pipeline: &mut Pipeline| {
        pipeline.infer(Haste::Latency).unwrap();
        let keep = |into: &mut Vec<String>, record: &[u8]| {
            into.push(String::from_utf8(record.to_vec()).unwrap());
            Ok::<_, Infallible>(())
        };
        pipeline.emit(|_, record| keep(&mut forecasts, record)).unwrap();
        pipeline.emit_scores(|_, record| keep(&mut scores, record)).unwrap();
        pipeline.engine_mut().advance().unwrap();
        Ok::<_, Infallible>(())
    };
    for index in 0..ticks {
        let taken = pipelines.take(tick(index).as_bytes(), None, None, || {}, &mut flush).unwrap();
        assert_eq!(taken, None);
        flush(pipelines.live_mut()).unwrap();
    }
    (forecasts, scores)
}

#[test]
fn a_source_a_sink_and_a_runtime_join_by_their_traits_alone() {
    const TICKS: usize = 200;
    let (sealed, runtime) = sealed();
    for (shards, mode) in [(1, "sliding"), (2, "full")] {
        let name = format!("joined-{shards}");
        let more =
            format!("memory.ticks = {TICKS}\nengine.shards = {shards}\nmodel.mode = '{mode}'");
        let config = configuration(&sealed, &name, &more);
        assert_eq!(config.source.settings.check().unwrap(), ["memory        200 ticks"]);
        let (mut forecasts, mut scores) = expected(&sealed, &*runtime, &config, TICKS);
        App::build(config, &sealed.bundle, Arc::clone(&runtime)).unwrap().run().unwrap();
        let mut got = kept()[&name].clone();
        assert_eq!(got.finished_with, Some(forecasts.len() + scores.len()), "finished last");
        // Two shards publish side by side; the order of each symbol is in `as_of`.
        if shards > 1 {
            for records in [&mut forecasts, &mut scores, &mut got.forecasts, &mut got.scores] {
                records.sort();
            }
        }
        assert_eq!(forecasts.len(), TICKS - 2 * (WINDOW_STEPS as usize));
        assert_eq!(got.forecasts, forecasts);
        assert_eq!(got.scores, scores);
        assert_eq!(got.refused, []);
    }
}

#[test]
fn what_a_failing_source_delivered_is_published_before_its_error_is_returned() {
    let (sealed, runtime) = sealed();
    let config = configuration(&sealed, "failing", "memory.ticks = 60\nmemory.then = 'fail'");
    let (forecasts, _) = expected(&sealed, &*runtime, &config, 60);
    let error = App::build(config, &sealed.bundle, runtime).unwrap().run().unwrap_err();
    assert_eq!((error.failure(), error.to_string()), (Failure::Data, "the memory is torn".into()));
    let got = kept()["failing"].clone();
    assert_eq!(got.forecasts, forecasts);
    assert!(got.finished_with.is_some());
}

#[test]
fn a_kind_that_no_adapter_has_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "source.kind = 'memory'\nmodel.name = 'm'\n").unwrap();
    let error = config::load(file.path(), &HashMap::new()).unwrap_err();
    let expected = "line 1: source.kind: `memory` is none of `websocket`, `file`";
    assert!(error.problems[0].starts_with(expected), "{error}");
}

#[test]
fn a_runtime_that_computes_something_else_is_refused_by_the_golden_vectors() {
    let (sealed, _) = sealed();
    let other: Arc<dyn Runtime> = Arc::new(PlainRuntime(Arc::new(Network::random(42, 3, &[5, 3]))));
    let config = configuration(&sealed, "refused", "memory.ticks = 1");
    let error = App::build(config, &sealed.bundle, other).err().unwrap();
    assert_eq!(error.failure(), Failure::Configuration);
    assert!(error.to_string().contains("golden.json: cases[0]"), "{error}");
}
