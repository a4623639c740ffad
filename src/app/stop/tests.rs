//! Tests of the order in which a daemon ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use prometheus::Registry;

use super::*;
use crate::core::domain::RejectTally;
use crate::engine::inference::{Backend, InferenceError, Lane, Runtime, Shape, Signature};
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::Pipeline;
use crate::engine::test_support::{NullRuntime, bundle};
use crate::keep::snapshot::{Folder, Keeper, SnapshotMetrics};
use crate::ports::input::{InputIdentity, InputProgress};
use crate::shard::Shard;
use crate::shard::test_support::{
    Log, MemorySink, Seen, pipeline, queue, record, settings, shard_of,
};

fn model() -> Bundle {
    bundle(&[Mode::Full, Mode::Sliding])
}

/// A shard with six records of one symbol and no more to come, of which three make forecasts.
fn shard(pipeline: Pipeline, sink: MemorySink) -> Shard {
    let (intake, receiver) = queue(10);
    for minute in 0..6 {
        intake.record_within(record("A", minute), Duration::ZERO).unwrap();
    }
    shard_of(pipeline, receiver, vec![sink.boxed()], 10)
}

fn crew(shard: Shard) -> Crew {
    Crew::start(vec![shard], None).unwrap()
}

/// Ends of sinks that note it, the second of which says these words.
fn finishes(log: &Log, words: Option<&'static str>) -> Vec<Finish> {
    let noted = |name: &'static str, words: Option<&'static str>| -> Finish {
        let log = log.clone();
        Box::new(move || {
            log.note(name);
            words.map_or(Ok(()), |words| Err(Exit::new(Failure::Temporary, words)))
        })
    };
    vec![noted("finish 1", None), noted("finish 2", words), noted("finish 3", None)]
}

fn names(log: &Log) -> Vec<&'static str> {
    log.entries().into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn forecasts_come_first_then_the_last_snapshot_and_then_the_sinks() {
    let (log, folder) = (Log::default(), tempfile::tempdir().unwrap());
    let metrics = SnapshotMetrics::register(&Registry::new()).unwrap();
    let ours = Folder::open(folder.path()).unwrap();
    let keeper = Keeper::open(ours, Duration::from_secs(3600), metrics).unwrap();
    let (last, handed) = channel();
    let (pipeline, sink) = (pipeline(&model()), MemorySink::new("sink", &log));
    let model = pipeline.label();
    let crew = crew(shard(pipeline, sink.clone()).with_keeper(last));
    // The commander of a shard that has ended by itself.
    let (commander, _) = (queue(1).0.commander(), ());
    let input = InputProgress::new(InputIdentity::Feed([1; 32]));
    let sinks = vec![sink.boxed()];
    let keeper = keeper.start(vec![commander], handed, sinks, input, model).unwrap();
    let tally = publish_all(crew, Some(keeper), finishes(&log, None)).await.unwrap();
    assert_eq!((tally[0].ticks, tally[0].forecasts), (6, 3));
    let expected = ["sink", "sink", "sink", "sink", "finish 1", "finish 2", "finish 3"];
    assert_eq!(names(&log), expected);
    assert_eq!(log.of("sink")[3], Seen::Settled);
    let has_snapshot = std::fs::read_dir(folder.path())
        .unwrap()
        .any(|file| file.unwrap().path().extension().is_some_and(|suffix| suffix == "tcsn"));
    assert!(has_snapshot);
}

#[tokio::test]
async fn the_first_sink_that_does_not_finish_says_why() {
    let log = Log::default();
    let crew = crew(shard(pipeline(&model()), MemorySink::new("sink", &log)));
    let failed = publish_all(crew, None, finishes(&log, Some("no room"))).await.unwrap_err();
    assert_eq!((failed.failure(), &*failed.to_string()), (Failure::Temporary, "no room"));
    assert_eq!(names(&log)[3..], ["finish 1", "finish 2"]);
}

#[tokio::test]
async fn a_closed_sink_is_finished_for_its_own_words_and_keeps_no_snapshot() {
    let closed =
        |log: &Log| crew(shard(pipeline(&model()), MemorySink::new("sink", log).with_room(1)));
    let log = Log::default();
    let failed = publish_all(closed(&log), None, finishes(&log, Some("no room"))).await;
    assert_eq!(failed.unwrap_err().to_string(), "no room");
    let log = Log::default();
    let failed = publish_all(closed(&log), None, finishes(&log, None)).await.unwrap_err();
    assert_eq!(failed.failure(), Failure::Internal);
    assert_eq!(failed.to_string(), "the sink `sink` takes no more records");
    assert_eq!(names(&log), ["sink", "finish 1", "finish 2", "finish 3"]);
}

/// A runtime whose models fail from some moment on.
struct Breaking(Arc<AtomicBool>);

struct BreakingModel(Box<dyn Backend>, Arc<AtomicBool>);

impl Runtime for Breaking {
    fn name(&self) -> &'static str {
        "breaking"
    }

    fn build(&self) -> String {
        String::new()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let inner = NullRuntime.open(onnx, signature)?;
        Ok(Box::new(BreakingModel(inner, Arc::clone(&self.0))))
    }
}

impl Backend for BreakingModel {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        self.0.lane(shape)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.0.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.0.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        if self.1.load(Ordering::Relaxed) {
            let message = "the device is gone".to_owned();
            return Err(InferenceError::Runtime { context: "run", message });
        }
        self.0.run(lane)
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.0.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.0.next_state(lane, index)
    }
}

#[tokio::test]
async fn sinks_are_not_waited_for_behind_a_shard_that_failed() {
    let (log, broken) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let runtime = Breaking(Arc::clone(&broken));
    let pipeline = Pipeline::build(&model(), &runtime, &settings()).unwrap();
    broken.store(true, Ordering::Relaxed);
    let crew = crew(shard(pipeline, MemorySink::new("sink", &log)));
    let failed = publish_all(crew, None, finishes(&log, None)).await.unwrap_err();
    let expected = (Failure::Internal, "run: the device is gone".to_owned());
    assert_eq!((failed.failure(), failed.to_string()), expected);
    assert_eq!(names(&log), [""; 0], "other shards may still write to them");
}

#[tokio::test]
async fn a_source_that_does_not_stop_is_left_behind() {
    let mut stuck = tokio::spawn(std::future::pending());
    assert!(end_of(&mut stuck, Duration::ZERO).await.is_ok());
    assert!(!stuck.is_finished());
    let mut failed = tokio::spawn(async { Err(Exit::new(Failure::Data, "broken")) });
    let failed = end_of(&mut failed, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!((failed.failure(), &*failed.to_string()), (Failure::Data, "broken"));
    let cut = tokio::spawn(std::future::pending());
    cut.abort();
    let cut = joined(cut.await).unwrap_err();
    assert_eq!(cut.failure(), Failure::Internal);
    assert!(cut.to_string().starts_with("run the source: "), "{cut}");
}

#[test]
fn a_deadline_is_one_limit_for_everything() {
    let deadline = Deadline::begin(Duration::from_secs(3600));
    assert!(deadline.left() <= deadline.limit());
    assert_eq!(Deadline::begin(Duration::ZERO).left(), Duration::ZERO);
}

#[test]
fn a_report_passes_the_failure_on() {
    let intake = IntakeMetrics::register(&Registry::new()).unwrap();
    let tally = EngineTally { rejects: RejectTally::default(), ..EngineTally::default() };
    assert!(report(Ok(vec![tally]), &["m".into()], &intake).is_ok());
    let failed = report(Err(Exit::new(Failure::Internal, "words")), &[], &intake).unwrap_err();
    assert_eq!(failed.to_string(), "words");
}
