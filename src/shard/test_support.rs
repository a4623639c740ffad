//! What tests drive a shard with, and what they publish to.
//!
//! Owns sinks that take everything down in one log, records of prices, and the forecasts that they
//! make by the shortest way. It exists in tests alone.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prometheus::Registry;

use super::command::Command;
use super::{Publisher, ScoreMetrics, ScoredModel, Shard, ShardMetrics};
use crate::core::domain::{NamedRejection, PartitionId, Position, Reject};
use crate::engine::model::Bundle;
use crate::engine::pipeline::{Pipeline, PipelineSettings, Pipelines, StoredState};
use crate::engine::symbols::Haste;
use crate::engine::test_support::{NullRuntime, STEP_SECONDS, price};
use crate::intake::{
    IntakeLimits, IntakeMetrics, IntakeReceiver, IntakeSender, Record, WhenFull, intake,
};
use crate::ops::supervise::Pulse;
use crate::ports::sink::{Outgoing, Sink, SinkClosed};

/// The partition of every record.
pub(crate) const PARTITION: PartitionId = PartitionId(0);

/// What a sink has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Forecast {
        symbol: String,
        bytes: String,
        model: String,
    },
    Shadow {
        symbol: String,
        bytes: String,
    },
    Score {
        symbol: String,
        bytes: String,
    },
    DeadLetter {
        bytes: String,
        reason: Reject,
    },
    Turn,
    Settled,
    /// What is no sink's: a test says so.
    Note,
}

/// What all sinks of a test have seen, in one order; cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(&'static str, Seen)>>>);

/// What a sink does when it is to settle.
type Settle = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// A sink that takes everything down.
#[derive(Clone)]
pub(crate) struct MemorySink {
    name: &'static str,
    log: Log,
    /// How many more forecasts it takes.
    room: usize,
    never_waits: bool,
    settle: Settle,
}

impl Log {
    pub(crate) fn add(&self, name: &'static str, seen: Seen) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, seen));
    }

    pub(crate) fn note(&self, name: &'static str) {
        self.add(name, Seen::Note);
    }

    pub(crate) fn entries(&self) -> Vec<(&'static str, Seen)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What one sink has seen.
    pub(crate) fn of(&self, name: &str) -> Vec<Seen> {
        let of_it = self.entries().into_iter().filter(|(sink, _)| *sink == name);
        of_it.map(|(_, seen)| seen).collect()
    }

    /// The forecasts that one sink has seen, as symbol and bytes.
    pub(crate) fn forecasts(&self, name: &str) -> Vec<(String, String)> {
        let forecast = |seen| match seen {
            Seen::Forecast { symbol, bytes, .. } => Some((symbol, bytes)),
            _ => None,
        };
        self.of(name).into_iter().filter_map(forecast).collect()
    }
}

impl MemorySink {
    pub(crate) fn new(name: &'static str, log: &Log) -> Self {
        let settle: Settle = Arc::new(|| Ok(()));
        Self { name, log: log.clone(), room: usize::MAX, never_waits: true, settle }
    }

    /// The same, which does not promise that it never waits.
    pub(crate) fn that_may_wait(self) -> Self {
        Self { never_waits: false, ..self }
    }

    /// The same, closed behind so many forecasts.
    pub(crate) fn with_room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    /// The same, that does this when it is to settle.
    pub(crate) fn settling(
        self,
        settle: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { settle: Arc::new(settle), ..self }
    }

    pub(crate) fn boxed(self) -> Box<dyn Sink> {
        Box::new(self)
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemorySink").field("name", &self.name).finish_non_exhaustive()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Sink for MemorySink {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.room = self.room.checked_sub(1).ok_or(SinkClosed(self.name))?;
        let (symbol, bytes) = (forecast.symbol.as_str().to_owned(), text(forecast.bytes));
        let model = forecast.model_sha256.to_owned();
        self.log.add(self.name, Seen::Forecast { symbol, bytes, model });
        Ok(())
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        let (symbol, bytes) = (forecast.symbol.as_str().to_owned(), text(forecast.bytes));
        self.log.add(self.name, Seen::Shadow { symbol, bytes });
        Ok(())
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        let (symbol, bytes) = (score.symbol.as_str().to_owned(), text(score.bytes));
        self.log.add(self.name, Seen::Score { symbol, bytes });
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        (self.settle)()?;
        self.log.add(self.name, Seen::Settled);
        Ok(())
    }

    fn never_waits(&self) -> bool {
        self.never_waits
    }

    fn dead_letter(&mut self, record: &Record, rejection: NamedRejection<'_>, _: &Pulse) {
        let reason = rejection.reason;
        self.log.add(self.name, Seen::DeadLetter { bytes: text(&record.bytes), reason });
    }

    fn turn(&mut self) {
        self.log.add(self.name, Seen::Turn);
    }
}

/// What a pipeline is built by, of a model in no folder.
pub(crate) fn settings() -> PipelineSettings {
    PipelineSettings::of_tests()
}

pub(crate) fn pipeline(bundle: &Bundle) -> Pipeline {
    Pipeline::build(bundle, &NullRuntime, &settings()).unwrap()
}

/// The price of a symbol at a minute as JSON.
pub(crate) fn line(symbol: &str, minute: i64) -> String {
    let (time, close) = (minute * i64::from(STEP_SECONDS) * 1000, price(symbol, minute));
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close}}}"#)
}

/// As [`line`], as what comes from a source. The places of a symbol's records rise.
pub(crate) fn record(symbol: &str, minute: i64) -> Record {
    let position = Some(Position { partition: PARTITION, offset: minute });
    Record { position, ..plain(line(symbol, minute)) }
}

/// A record of any bytes.
pub(crate) fn plain(text: impl Into<Bytes>) -> Record {
    Record { bytes: text.into(), ..Record::default() }
}

/// What a pipeline says about records that come one by one, as symbols and bytes.
pub(crate) fn said(pipeline: Pipeline, records: &[Record]) -> Vec<(String, String)> {
    drive(&mut Pipelines::new(pipeline, &settings()), records)
}

/// As [`said`], of pipelines that go on.
pub(crate) fn drive(pipelines: &mut Pipelines, records: &[Record]) -> Vec<(String, String)> {
    let mut forecasts = Vec::new();
    for record in records {
        let Record { bytes, position, .. } = record;
        let flush = |_: &mut Pipeline| Ok::<_, Infallible>(());
        let Ok(_) = pipelines.take(bytes, *position, None, || {}, flush);
        let live = pipelines.live_mut();
        live.infer(Haste::Latency).unwrap();
        let Ok(_) = live.emit(|symbol, bytes| {
            forecasts.push((symbol.as_str().to_owned(), text(bytes)));
            Ok::<_, Infallible>(())
        });
        live.engine_mut().advance().unwrap();
    }
    forecasts
}

/// The states of all symbols that have moved.
pub(crate) fn moved(pipelines: &mut Pipelines) -> Vec<StoredState> {
    let mut states = Vec::new();
    let mut left = pipelines.begin_taking();
    pipelines.take_changed(usize::MAX, &mut left, |state| states.push(state));
    states
}

/// A queue with room for so many records.
pub(crate) fn queue(records_max: usize) -> (IntakeSender<Command>, IntakeReceiver<Command>) {
    let limits = IntakeLimits {
        records_max,
        bytes_max: 1 << 20,
        record_bytes_max: 1000,
        when_full: WhenFull::Block,
    };
    intake(limits, IntakeMetrics::register(&Registry::new()).unwrap())
}

/// A shard that takes so many records at once.
pub(crate) fn shard_of(
    pipeline: Pipeline,
    intake: IntakeReceiver<Command>,
    sinks: Vec<Box<dyn Sink>>,
    drain_records_max: usize,
) -> Shard {
    shard_with(Pipelines::new(pipeline, &settings()), intake, sinks, drain_records_max)
}

/// As [`shard_of`], of several models.
pub(crate) fn shard_with(
    pipelines: Pipelines,
    intake: IntakeReceiver<Command>,
    sinks: Vec<Box<dyn Sink>>,
    drain_records_max: usize,
) -> Shard {
    let registry = Registry::new();
    let names: Vec<_> = pipelines.each().map(|(name, _)| name.to_string()).collect();
    let metrics = ShardMetrics::register(&registry, names.iter().map(String::as_str)).unwrap();
    let scores = ScoreMetrics::register(&registry, &ScoredModel::of(&pipelines), &[], 1).unwrap();
    let (publisher, scores) = (Publisher::new(sinks), scores.of_shard(0));
    Shard::new(pipelines, intake, publisher, metrics, scores, drain_records_max)
}
