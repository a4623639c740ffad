//! Tests of what comes between history and the stream.

use std::fs;

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::adapters::file::{FileHistorySettings, FileOptions};
use crate::core::decode::JsonDecoder;
use crate::core::domain::{DurationNanos, Schema, TimeUnit};
use crate::core::history::Seam;
use crate::intake::Arrival;

const ROWS: usize = 20;

/// A source that delivers a record as soon as it begins.
struct Eager(Log);

impl Source<Command> for Eager {
    fn run(
        self: Box<Self>,
        context: SourceContext<Command>,
    ) -> BoxFuture<'static, Result<(), Exit>> {
        Box::pin(async move {
            self.0.note("source began");
            context.router.last(record("A", 1));
            Ok(())
        })
    }
}

/// A source behind a history of some rows while it runs.
struct Trial {
    _folder: TempDir,
    log: Log,
    over: watch::Receiver<bool>,
    receiver: IntakeReceiver<Command>,
    source: RunningSource,
}

impl Trial {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("history.jsonl");
        let row = |minute: usize| format!("{{\"symbol\":\"A\",\"time\":{minute}}}\n");
        fs::write(&path, (0..ROWS).map(row).collect::<String>()).unwrap();
        let seam = Seam { is_joined: true, covers: DurationNanos::ZERO };
        let options = FileOptions::default();
        let settings = FileHistorySettings { path, options, seam, from: None };
        let schema = Schema::new([]).unwrap();
        let decoder = JsonDecoder::new(schema, &[], TimeUnit::Milliseconds, 1 << 16);
        let history = StreamedHistory::new(settings.open(decoder).unwrap());
        let (over, log) = (history.is_over(), Log::default());
        let (sender, receiver) = queue(4);
        let open = OpenSource {
            source: Box::new(Eager(log.clone())),
            history: Some(history),
            router: Router::new(vec![sender]),
            start: Start::default(),
            progress: None,
            stop_timeout: Duration::from_secs(60),
        };
        let source = open.start(Readiness::new().condition("source"));
        Self { _folder: folder, log, over, receiver, source }
    }

    /// Takes everything up to the word that history is over; returns how many rows came, and where
    /// the answer goes.
    async fn take_rows(self) -> (Self, usize, oneshot::Sender<()>) {
        let take = move || {
            let (mut rows, mut batch) = (0, Vec::new());
            loop {
                assert!(self.receiver.drain(&mut batch, 3), "the queue is open");
                for arrival in batch.drain(..) {
                    match arrival {
                        Arrival::Record(record) if record.is_history() => rows += 1,
                        Arrival::Command(Command::EndHistory { answer: Some(answer) }) => {
                            return (self, rows, answer);
                        }
                        _ => panic!("the stream has begun"),
                    }
                }
            }
        };
        tokio::task::spawn_blocking(take).await.unwrap()
    }
}

#[tokio::test]
async fn the_source_begins_when_the_shards_have_taken_every_row() {
    let (mut trial, rows, answer) = Trial::start().take_rows().await;
    assert_eq!(rows, ROWS);
    assert!(trial.log.entries().is_empty() && !*trial.over.borrow(), "a row may still be at work");
    answer.send(()).unwrap();
    trial.over.wait_for(|over| *over).await.unwrap();
    trial.source.ended().await.unwrap();
    assert_eq!(trial.log.entries().len(), 1);
    let mut batch = Vec::new();
    assert!(!trial.receiver.drain(&mut batch, 9), "the source has ended");
    assert!(matches!(&batch[..], [Arrival::Record(record)] if !record.is_history()));
}

#[tokio::test]
async fn behind_a_stop_or_a_dead_shard_history_is_never_over() {
    let (trial, _, answer) = Trial::start().take_rows().await;
    trial.source.stop.send(true).unwrap();
    trial.source.ended().await.unwrap();
    assert!(trial.log.entries().is_empty() && !*trial.over.borrow());
    assert!(answer.send(()).is_err(), "nobody waits for it");
    let (trial, _, answer) = Trial::start().take_rows().await;
    drop((answer, trial.receiver));
    trial.source.ended().await.unwrap();
    assert!(trial.log.entries().is_empty() && !*trial.over.borrow());
}
