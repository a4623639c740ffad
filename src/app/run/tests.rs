//! Tests of how a running source is stopped and drained.

mod streamed;

use std::future::pending;

use futures_util::future::BoxFuture;

use super::*;
use crate::engine::model::manifest::Mode;
use crate::engine::test_support::bundle;
use crate::intake::{IntakeReceiver, Router};
use crate::ops::readiness::Readiness;
use crate::ports::input::Start;
use crate::ports::source::Source;
use crate::shard::test_support::{Log, MemorySink, pipeline, queue, record, shard_of};

/// Longer than any test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source that delivers a record behind the word to stop.
struct Patient(Log);

impl Source<Command> for Patient {
    fn run(
        self: Box<Self>,
        context: SourceContext<Command>,
    ) -> BoxFuture<'static, Result<(), Exit>> {
        Box::pin(async move {
            let SourceContext { router, mut stop, .. } = context;
            stop.wait_for(|stop| *stop).await.unwrap();
            for minute in 0..6 {
                router.last(record("A", minute));
            }
            self.0.note("source ended");
            Ok(())
        })
    }
}

/// A source that hears nothing and keeps its queues open.
struct Stuck;

impl Source<Command> for Stuck {
    fn run(
        self: Box<Self>,
        context: SourceContext<Command>,
    ) -> BoxFuture<'static, Result<(), Exit>> {
        Box::pin(async move {
            let _context = context;
            pending().await
        })
    }
}

/// A source that runs, what closes its queue, and the other end of that.
fn started(
    source: Box<dyn Source<Command>>,
    stop_timeout: Duration,
) -> (RunningSource, RouterCloser<Command>, IntakeReceiver<Command>) {
    let (sender, receiver) = queue(100);
    let router = Router::new(vec![sender]);
    let closer = router.closer();
    let start = Start::default();
    let source = OpenSource { source, history: None, router, start, progress: None, stop_timeout };
    (source.start(Readiness::new().condition("source")), closer, receiver)
}

/// The work of a shard with one sink that notes its end.
fn work(receiver: IntakeReceiver<Command>, log: &Log) -> impl Future<Output = Finished> + use<> {
    let model = bundle(&[Mode::Full, Mode::Sliding]);
    let sinks = vec![MemorySink::new("sink", log).boxed()];
    let shard = shard_of(pipeline(&model), receiver, sinks, 100);
    let finished = log.clone();
    let finish: super::super::stop::Finish = Box::new(move || {
        finished.note("sink finished");
        Ok(())
    });
    publish_all(Crew::start(vec![shard], None).unwrap(), None, vec![finish])
}

#[tokio::test]
async fn the_source_stops_before_the_queues_close_and_the_sinks_finish() {
    let log = Log::default();
    let (mut source, closer, receiver) = started(Box::new(Patient(log.clone())), PATIENCE);
    let mut work = pin!(work(receiver, &log));
    let mut signals = StopSignals::install().unwrap();
    source.stop.send(true).unwrap();
    let deadline = Deadline::begin(PATIENCE);
    let finished = source.drain(&mut signals, &closer, work.as_mut(), &deadline).await.unwrap();
    // What the source delivered after the word to stop is published as well.
    assert_eq!(finished.unwrap()[0].forecasts, 3);
    assert_eq!(log.forecasts("sink").len(), 3);
    let entries = log.entries();
    let place = |name: &str| entries.iter().position(|(found, _)| *found == name);
    assert_eq!(place("sink finished"), Some(entries.len() - 1));
    assert!(place("source ended") < place("sink finished"));
    source.ended().await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_stuck_does_not_keep_the_queues_open() {
    let log = Log::default();
    let (mut source, closer, receiver) = started(Box::new(Stuck), Duration::ZERO);
    let mut work = pin!(work(receiver, &log));
    let mut signals = StopSignals::install().unwrap();
    let deadline = Deadline::begin(PATIENCE);
    let finished = source.drain(&mut signals, &closer, work.as_mut(), &deadline).await.unwrap();
    assert_eq!(finished.unwrap()[0].ticks, 0);
    assert!(!source.task.is_finished(), "it was left behind");
    source.ended().await.unwrap();
}

#[tokio::test]
async fn what_does_not_drain_in_time_ends_with_the_deadline() {
    let (mut source, closer, _receiver) = started(Box::new(Stuck), Duration::ZERO);
    let mut work = pin!(pending::<Finished>());
    let mut signals = StopSignals::install().unwrap();
    let deadline = Deadline::begin(Duration::ZERO);
    let late = source.drain(&mut signals, &closer, work.as_mut(), &deadline).await;
    let late = late.map(|_| ()).unwrap_err();
    assert_eq!((late.failure(), &*late.to_string()), (Failure::Temporary, "not drained in 0 s"));
}

#[test]
fn a_life_runs_on_a_runtime_of_its_own() {
    let life = async {
        tokio::spawn(async {}).await.map_err(Exit::because(Failure::Internal))?;
        let name = std::thread::current().name().map(str::to_owned);
        let task = tokio::spawn(async { std::thread::current().name().map(str::to_owned) });
        assert_eq!(task.await.ok().flatten().as_deref(), Some("source"));
        assert_ne!(name.as_deref(), Some("source"), "the life itself is the caller's");
        Err(Exit::new(Failure::Data, "words"))
    };
    assert_eq!(on_source_runtime(life).unwrap_err().failure(), Failure::Data);
}
