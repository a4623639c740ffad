//! Tests of the whole daemon in this process, over a source and sinks in memory.
//!
//! They reach the daemon as an adapter does: by a kind that a configuration names.

use std::any::Any;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tempfile::{NamedTempFile, TempDir};

use super::config::{Config, ConfigError, load_with};
use super::*;
use crate::adapters::{self, Adapters};
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::test_support::{NullRuntime, bundle};
use crate::intake::{Record, WhenFull};
use crate::ports::input::{InputIdentity, RecordingIdentity};
use crate::ports::sink::{OpenSink, SinkKind, SinkOpening, SinkReader, SinkSettings};
use crate::ports::source::{
    SourceContext, SourceFacts, SourceKind, SourceOpening, SourceReader, SourceSettings,
};
use crate::shard::test_support::{Log, MemorySink, Seen, pipeline, record, said};

const SYMBOLS: [&str; 3] = ["A", "B", "C"];

const SOURCE: SourceKind<Command> = SourceKind { name: "memory", read: read_source };
const SINK: SinkKind = SinkKind { read: read_sink };

/// A source of prices, minute after minute.
#[derive(Clone)]
struct MemorySource {
    minutes: i64,
    /// With what it fails in the end.
    fails: Option<String>,
    /// Whether it can be read again, so that states are kept.
    is_recording: bool,
    log: Log,
}

/// The settings of a sink in memory.
#[derive(Clone)]
struct MemorySinks {
    /// With what it fails in the end.
    fails: Option<String>,
    /// How many forecasts it takes.
    room: usize,
    log: Log,
}

fn read_source(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<Command>> {
    let SourceReader { is_chosen, root, .. } = reader;
    let mut section = root.section("memory");
    let minutes = section.count("minutes", 0, 100);
    let source = MemorySource {
        minutes: i64::try_from(minutes).unwrap(),
        fails: section.optional_text("fails"),
        is_recording: section.switch("recording"),
        log: Log::default(),
    };
    section.finish();
    assert!(is_chosen, "these tests choose it");
    Arc::new(source)
}

fn read_sink(reader: SinkReader<'_, '_>) -> Arc<dyn SinkSettings> {
    let SinkReader { publish, .. } = reader;
    let fails = publish.optional_text("fails");
    let room = publish.optional_count("room", 0, 1000).unwrap_or(usize::MAX);
    Arc::new(MemorySinks { fails, room, log: Log::default() })
}

impl std::fmt::Debug for MemorySource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MemorySource")
    }
}

impl std::fmt::Debug for MemorySinks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MemorySinks")
    }
}

impl SourceSettings<Command> for MemorySource {
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
        Ok(Vec::new())
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        let recording = RecordingIdentity { length: 1 << 20, head: b"memory".to_vec() };
        Ok(self.is_recording.then_some(InputIdentity::Recording(recording)))
    }

    fn open(&self, _: &SourceOpening<'_>) -> Result<Box<dyn Source<Command>>, Exit> {
        self.log.note("source opened");
        Ok(Box::new(self.clone()))
    }
}

/// What a source delivers that has so many minutes.
fn records(minutes: i64) -> Vec<Record> {
    let of_minute = |minute| SYMBOLS.map(|symbol| record(symbol, minute));
    (0..minutes).flat_map(of_minute).collect()
}

impl Source<Command> for MemorySource {
    fn run(
        self: Box<Self>,
        context: SourceContext<Command>,
    ) -> BoxFuture<'static, Result<(), Exit>> {
        Box::pin(async move {
            let SourceContext { router, ready, stop: _, start, progress } = context;
            ready.ready();
            let from = usize::try_from(start.records).unwrap();
            let mut delivered = start.records;
            for record in records(self.minutes).into_iter().skip(from) {
                if router.hand_on(record).await.is_err() {
                    break;
                }
                delivered += 1;
                if let Some(progress) = &progress {
                    progress.delivered(delivered, delivered);
                }
            }
            self.log.note("source ended");
            self.fails.map_or(Ok(()), |words| Err(Exit::new(Failure::Data, words)))
        })
    }
}

impl SinkSettings for MemorySinks {
    fn takes_scores(&self) -> bool {
        false
    }

    fn open(&self, _: &SinkOpening<'_>) -> Result<Option<OpenSink>, Exit> {
        self.log.note("sink opened");
        let (log, fails) = (self.log.clone(), self.fails.clone());
        Ok(Some(OpenSink {
            sink: MemorySink::new("sink", &self.log).with_room(self.room).boxed(),
            stages: Vec::new(),
            notices: Vec::new(),
            finish: Box::new(move || {
                log.note("sink finished");
                fails.map_or(Ok(()), |words| Err(Exit::new(Failure::Temporary, words)))
            }),
        }))
    }
}

/// The model of all daemons.
fn model() -> Bundle {
    bundle(&[Mode::Full, Mode::Sliding])
}

fn loaded(text: &str) -> Result<Config, ConfigError> {
    let mut adapters: Adapters = adapters::all();
    adapters.sources.push(SOURCE);
    adapters.sinks.push(SINK);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load_with(&adapters, file.path(), &HashMap::new())
}

/// A configuration whose source and sink write one log.
fn configured(minutes: i64, source: &str, more: &str) -> (Config, Log) {
    let text = format!(
        "[source]\nkind = 'memory'\nqueue_records_max = 2\naccept_times = true\n\
         [memory]\nminutes = {minutes}\n{source}\n\
         [model]\nname = 'null'\n\
         [http]\nbind = '127.0.0.1:0'\n\
         [forecast]\nintervals = 'bundle'\n\
         [engine]\nshards = 2\n{more}\n"
    );
    let mut config = loaded(&text).unwrap();
    let log = Log::default();
    let source = config.source.of::<MemorySource>().unwrap();
    config.source.settings = Arc::new(MemorySource { log: log.clone(), ..source.clone() });
    for settings in &mut config.sinks {
        let any: &dyn Any = &**settings;
        if let Some(sinks) = any.downcast_ref::<MemorySinks>() {
            *settings = Arc::new(MemorySinks { log: log.clone(), ..sinks.clone() });
        }
    }
    (config, log)
}

fn build(config: Config) -> Result<App, Exit> {
    App::build(config, &model(), Arc::new(NullRuntime))
}

fn run(config: Config) -> Result<(), Exit> {
    build(config).unwrap().run()
}

fn assert_exit(outcome: Result<(), Exit>, failure: Failure, words: &str) {
    let exit = outcome.unwrap_err();
    assert_eq!(exit.failure(), failure, "{exit}");
    assert!(exit.to_string().contains(words), "{exit}");
}

/// The names in a log, each with the length of its run.
fn names(log: &Log) -> Vec<(&'static str, usize)> {
    let mut names: Vec<(&'static str, usize)> = Vec::new();
    for (name, _) in log.entries() {
        match names.last_mut() {
            Some((last, count)) if *last == name => *count += 1,
            _ => names.push((name, 1)),
        }
    }
    names
}

fn place(log: &Log, name: &str) -> usize {
    let entries = log.entries();
    entries.iter().position(|(found, _)| *found == name).unwrap()
}

/// The forecasts by symbol, each in its order.
fn by_symbol(mut forecasts: Vec<(String, String)>) -> Vec<(String, String)> {
    forecasts.sort_by(|(a, _), (b, _)| a.cmp(b));
    forecasts
}

/// What the model says about so many minutes.
fn expected(minutes: i64) -> Vec<(String, String)> {
    by_symbol(said(pipeline(&model()), &records(minutes)))
}

#[test]
fn everything_that_a_recording_holds_is_published_before_the_daemon_ends() {
    let (config, log) = configured(9, "recording = false", "");
    run(config).unwrap();
    assert_eq!(by_symbol(log.forecasts("sink")), expected(9));
    assert_eq!(log.forecasts("sink").len(), 3 * 6);
    assert_eq!(names(&log)[..2], [("sink opened", 1), ("source opened", 1)]);
    assert_eq!(names(&log).last(), Some(&("sink finished", 1)));
    assert!(place(&log, "source ended") < place(&log, "sink finished"));
}

#[test]
fn a_recording_without_records_is_no_failure() {
    let (config, log) = configured(0, "recording = false", "");
    run(config).unwrap();
    assert_eq!(log.forecasts("sink"), []);
}

#[test]
fn a_source_that_fails_is_reported_after_everything_that_it_delivered_is_out() {
    let (config, log) = configured(9, "recording = false\nfails = 'line 28 is broken'", "");
    assert_exit(run(config), Failure::Data, "line 28 is broken");
    assert_eq!(by_symbol(log.forecasts("sink")), expected(9));
    assert_eq!(names(&log).last(), Some(&("sink finished", 1)));
}

#[test]
fn a_sink_that_does_not_finish_is_the_reason_of_the_end() {
    let text = "[publish]\nfails = 'the disk is full'";
    let (config, log) = configured(9, "recording = false", text);
    assert_exit(run(config), Failure::Temporary, "the disk is full");
    assert_eq!(by_symbol(log.forecasts("sink")), expected(9));
    // Its failure goes before that of the source.
    let (config, _) = configured(9, "recording = false\nfails = 'broken'", text);
    assert_exit(run(config), Failure::Temporary, "the disk is full");
}

#[test]
fn a_closed_sink_ends_the_daemon_with_its_own_words() {
    let text = "[publish]\nroom = 2\nfails = 'the reader went away'";
    let (config, _) = configured(90, "recording = false", text);
    assert_exit(run(config), Failure::Temporary, "the reader went away");
    // One that has nothing to say of it is named by the shard.
    let (config, log) = configured(90, "recording = false", "[publish]\nroom = 2");
    assert_exit(run(config), Failure::Internal, "the sink `sink` takes no more records");
    assert!(names(&log).contains(&("sink finished", 1)));
}

/// A configuration that keeps snapshots, of which only the last one comes.
fn keeping(folder: &Path, minutes: i64) -> (Config, Log) {
    let folder = folder.display();
    let text = format!("[snapshot]\nfolder = '{folder}'\ninterval_ms = 3600000");
    configured(minutes, "recording = true", &text)
}

#[test]
fn the_last_snapshot_lies_between_the_last_forecast_and_the_end_of_the_sinks() {
    let folder = TempDir::new().unwrap();
    let (config, log) = keeping(folder.path(), 6);
    run(config).unwrap();
    let entries = log.entries();
    let settled = entries.iter().position(|(_, seen)| *seen == Seen::Settled).unwrap();
    assert_eq!(settled, entries.len() - 2, "after every forecast");
    assert_eq!(entries.last().unwrap().0, "sink finished");
    let first = log.forecasts("sink");
    // The next life begins behind the records that the states hold.
    let (config, log) = keeping(folder.path(), 8);
    run(config).unwrap();
    let second = log.forecasts("sink");
    assert_eq!(second.len(), 3 * 2);
    assert_eq!(by_symbol([first, second].concat()), expected(8));
}

#[test]
fn a_sink_that_fails_leaves_no_snapshot_of_what_it_did_not_take() {
    let folder = TempDir::new().unwrap();
    let (mut config, log) = keeping(folder.path(), 6);
    for settings in &mut config.sinks {
        let any: &dyn Any = &**settings;
        if let Some(sinks) = any.downcast_ref::<MemorySinks>() {
            *settings = Arc::new(MemorySinks { room: 1, ..sinks.clone() });
        }
    }
    run(config).unwrap_err();
    assert!(!log.entries().iter().any(|(_, seen)| *seen == Seen::Settled));
    let files = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"], "no snapshot");
}

#[test]
fn a_port_that_is_taken_is_refused_before_a_sink_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut config, log) = configured(9, "recording = false", "");
    config.http.bind = taken.local_addr().unwrap();
    let exit = build(config).err().unwrap();
    assert_eq!(exit.failure(), Failure::Temporary, "{exit}");
    assert_eq!(names(&log), [], "nothing has left a trace");
}

#[test]
fn a_mode_that_the_model_does_not_serve_is_a_fault_of_the_configuration() {
    let (mut config, log) = configured(9, "recording = false", "");
    config.models[0].choice.mode = Some(Mode::Carried);
    let exit = build(config).err().unwrap();
    assert_eq!(exit.failure(), Failure::Configuration, "{exit}");
    assert!(exit.to_string().contains("model.mode: model `null` serves"), "{exit}");
    assert_eq!(names(&log), []);
}

#[test]
fn a_daemon_that_is_built_has_its_port_and_has_taken_no_input() {
    let (config, log) = configured(9, "recording = false", "");
    let app = build(config).unwrap();
    assert_ne!(app.address().port(), 0);
    assert_eq!(names(&log), [("sink opened", 1), ("source opened", 1)]);
    assert_eq!(app.shards.len(), 2);
    assert_eq!(app.supervisor.stages.len(), 4, "the source, both shards and the reload thread");
}

#[test]
fn the_keys_of_a_kind_are_read_as_those_of_any_other() {
    let problems = loaded("[source]\nkind = 'memory'\n[memory]\nminute = 3\nrecording = false\n");
    let problems = problems.err().unwrap().problems;
    let expected = "line 4: memory.minute: unknown key, did you mean `minutes`?";
    assert!(problems.iter().any(|problem| problem == expected), "{problems:?}");
}
