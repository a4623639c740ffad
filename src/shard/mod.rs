//! A shard: the thread that owns all state of its symbols. It takes batches from its intake and
//! publishes forecasts.
//!
//! Owns the pipeline. Promises to run at its own pace: a batch in, its forecasts out, then the
//! states moved on; and to end by returning, once the intake is closed and empty. Never waits for a
//! subscriber, and shares nothing with another shard but the ways out.

mod cold;
pub mod command;
mod crew;
mod health;
mod metrics;
mod publisher;
mod refusals;
mod scores;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use tracing::{info, warn};

use self::command::{Command, CommitLine, Handed};
use self::metrics::{BatchTimes, Shown};
use crate::core::domain::{DurationNanos, NamedRejection, Reject};
use crate::core::text::excerpt_of_bytes;
use crate::engine::inference::InferenceError;
use crate::engine::pipeline::{Pipeline, Pipelines};
use crate::engine::symbols::{
    ColdStart, Engine, EngineTally, Expired, Haste, Mistimed, MistimedCause,
};
use crate::intake::{Arrival, IntakeReceiver, Record};
use crate::ops::clock::Stopwatch;
use crate::ops::supervise::{Pulse, Stage};
use crate::ports::sink::SinkClosed;

pub use self::cold::warn_of_cold_states;
pub use self::crew::{Crew, CrewError};
pub use self::health::{FeedView, HealthMetrics, HealthWatch, SymbolBoard, SymbolRow};
pub use self::metrics::ShardMetrics;
pub use self::publisher::Publisher;
pub use self::refusals::{AheadSamples, RefusalWatch};
pub use self::scores::{ScoreMetrics, ShardScores};

/// How many symbols' states are taken between two batches: a snapshot holds a forecast up for no
/// longer than these take.
const TAKEN_AT_ONCE: usize = 32;

/// How many symbols' recurrent states are computed at once while nothing waits.
const WOKEN_AT_ONCE: usize = 8;

/// The longest piece of a refused record in a log line.
const SAMPLE_CHARS_MAX: usize = 64;

/// How long a command may keep the shard: whoever asks waits no longer for restored states, nor for
/// a transaction.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);

/// Why the shard ended before its intake did.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Inference failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// A sink takes no more; its `finish` knows why.
    #[error(transparent)]
    Closed(#[from] SinkClosed),
}

/// One shard; a [`Crew`] runs it on a thread of its own.
pub struct Shard {
    pipelines: Pipelines,
    intake: IntakeReceiver<Command>,
    publisher: Publisher,
    metrics: ShardMetrics,
    scores: ShardScores,
    drain_records_max: usize,
    /// Arrivals of the batch in progress.
    batch: Vec<Arrival<Command>>,
    /// Whether the intake had more to come when the batch was taken.
    is_open: bool,
    /// A commit that the shard waits for.
    hold: Option<Receiver<()>>,
    shown: Shown,
    pulse: Pulse,
    /// The snapshot that is being taken.
    taking: Option<Taking>,
    /// Where the last states go when the shard ends, where somebody keeps them.
    last_states: Option<Sender<Handed>>,
    health: Option<HealthWatch>,
}

/// What a turn does where there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It sleeps until something comes.
    Sleeps,
    /// It returns: the caller drives other parts on the same thread.
    Returns,
}

/// A snapshot under way.
struct Taking {
    /// Symbols that had moved when it was asked for and are not yet taken.
    left: usize,
    answer: Sender<Handed>,
}

impl Shard {
    /// A shard that takes at most `drain_records_max` records at once.
    pub fn new(
        pipelines: Pipelines,
        intake: IntakeReceiver<Command>,
        publisher: Publisher,
        metrics: ShardMetrics,
        scores: ShardScores,
        drain_records_max: usize,
    ) -> Self {
        let shown = Shown::default();
        let pulse = Pulse::new();
        // While a batch goes out the shard comes on with every forecast.
        let mut publisher = publisher.with_pulse(pulse.clone());
        publisher.set_model(&pipelines.live().manifest().onnx_sha256);
        Self {
            pipelines,
            intake,
            publisher,
            metrics,
            scores,
            drain_records_max,
            batch: Vec::with_capacity(drain_records_max),
            is_open: true,
            hold: None,
            shown,
            pulse,
            taking: None,
            last_states: None,
            health: None,
        }
    }

    /// The same with a look at how its symbols are.
    #[must_use]
    pub fn watched(self, health: HealthWatch) -> Self {
        Self { health: Some(health), ..self }
    }

    /// The shard as its supervisor sees it.
    pub fn stage(&self, index: usize) -> Stage {
        let intake = self.intake.watch();
        let has_work = move || intake.has_waiting();
        Stage::with_queue(format!("shard-{index}"), self.pulse.clone(), has_work)
    }

    /// Hands the states that have changed to `keeper` when the shard ends.
    pub fn with_keeper(mut self, keeper: Sender<Handed>) -> Self {
        self.last_states = Some(keeper);
        self
    }

    /// Runs until the intake is closed and empty; returns what became of everything.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn run(mut self) -> Result<EngineTally, ShardError> {
        while self.turn(Waiting::Sleeps)? {}
        Ok(self.finish())
    }

    /// Hands the last states over, once the intake is closed and empty; returns what became of
    /// everything.
    pub fn finish(mut self) -> EngineTally {
        while self.taking.is_some() {
            self.take_states();
        }
        if let Some(answer) = self.last_states.take() {
            self.pipelines.live_mut().engine_mut().begin_taking();
            self.taking = Some(Taking { left: usize::MAX, answer });
            while self.taking.is_some() {
                self.take_states();
            }
        }
        self.tally().clone()
    }

    /// What became of everything so far.
    pub fn tally(&self) -> &EngineTally {
        self.engine().tally()
    }

    fn engine(&self) -> &Engine {
        self.pipelines.live().engine()
    }

    /// One turn: takes the batch that waits, publishes its forecasts, and moves other work on.
    /// Returns `false` once the intake is closed and empty.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn turn(&mut self, waiting: Waiting) -> Result<bool, ShardError> {
        if !self.is_released(waiting) {
            return Ok(true);
        }
        let mut batch = std::mem::take(&mut self.batch);
        // The shard does not wait for records while there is other work.
        let work = self.taking.is_some() || self.engine().asleep_count() > 0;
        let idle = batch.is_empty() && work && !self.intake.has_more();
        // What a commit has held up comes before anything new.
        if batch.is_empty() && !idle {
            self.pulse.rest();
            let patience = match waiting {
                Waiting::Sleeps => self.health.as_ref().map(HealthWatch::patience),
                Waiting::Returns => Some(Duration::ZERO),
            };
            self.is_open = self.intake.drain_within(&mut batch, self.drain_records_max, patience);
        }
        self.pulse.work();
        if let Some(health) = &self.health {
            let now = health.now();
            self.pipelines.live_mut().engine_mut().set_now(now);
        }
        let arrived = if idle { None } else { self.intake.arrived() };
        if let Some(arrived) = arrived {
            self.metrics.received(arrived.elapsed());
        }
        self.batch = self.take_batch(batch, arrived, waiting)?;
        if self.hold.is_some() {
            return Ok(true);
        }
        let haste = if self.intake.has_more() { Haste::Throughput } else { Haste::Latency };
        for pipeline in self.pipelines.each_mut() {
            flush(pipeline, &mut self.publisher, &self.metrics, haste, arrived)?;
        }
        self.report_cold_starts();
        self.report_expired();
        self.report_mistimed();
        self.show();
        self.take_states();
        if idle {
            self.pipelines.live_mut().engine_mut().wake(WOKEN_AT_ONCE)?;
        }
        if let Some(health) = &mut self.health {
            health.turn(self.pipelines.live_mut().engine_mut());
        }
        Ok(idle || self.is_open)
    }

    /// Takes the arrivals of a batch in their order, up to a commit that the shard has to wait for.
    /// Returns those that are left, or the empty batch for its memory.
    fn take_batch(
        &mut self,
        mut batch: Vec<Arrival<Command>>,
        arrived: Option<Stopwatch>,
        waiting: Waiting,
    ) -> Result<Vec<Arrival<Command>>, ShardError> {
        let mut first = true;
        let mut arrivals = batch.drain(..);
        for arrival in arrivals.by_ref() {
            match arrival {
                Arrival::Gap => self.pipelines.mark_gap(),
                Arrival::Record(record) if std::mem::take(&mut first) => {
                    self.take_measured(&record, arrived)?;
                }
                Arrival::Record(record) => self.take(&record, arrived, || {})?,
                Arrival::Command(command) => {
                    self.hold = self.obey(command, arrived)?;
                    if !self.is_released(waiting) {
                        break;
                    }
                }
            }
        }
        let left: Vec<_> = arrivals.collect();
        Ok(if left.is_empty() { batch } else { left })
    }

    /// Whether no commit holds the shard up, or no longer.
    fn is_released(&mut self, waiting: Waiting) -> bool {
        let Some(resume) = &self.hold else { return true };
        let is_over = match waiting {
            // The other end may be gone; the shard then goes on as well.
            Waiting::Sleeps => {
                self.pulse.wait(COMMAND_PATIENCE);
                let _ = resume.recv();
                self.pulse.work();
                true
            }
            Waiting::Returns => resume.try_recv() != Err(TryRecvError::Empty),
        };
        if is_over {
            self.hold = None;
        }
        is_over
    }

    /// Shows what became of everything so far.
    fn show(&mut self) {
        let live = self.pipelines.live_mut();
        // The ticks last: who sees them counted sees what became of them, too.
        self.metrics.show_kinds(&mut self.shown, live.kinds());
        self.metrics.show(&mut self.shown, live.engine().tally(), live.engine().symbol_count());
        self.scores.show(live.engine_mut().scores_mut());
        self.show_stale();
    }

    /// Takes some of the states that are asked for; no row is in inference.
    fn take_states(&mut self) {
        let Some(Taking { left, answer }) = &mut self.taking else { return };
        let live = self.pipelines.live_mut();
        let count = TAKEN_AT_ONCE.min(*left).min(live.engine().changed_count());
        let mut states = Vec::with_capacity(count);
        live.take_changed(count, |state| states.push(state));
        *left -= count;
        // Whoever asked may have given up; then nobody needs the answer.
        let _ = answer.send(Handed::Part(states));
        if *left == 0 || live.engine().changed_count() == 0 {
            let _ = answer.send(Handed::All(live.label()));
            self.taking = None;
        }
    }

    /// Counts windows that began anew after a restart, and says so for the first of them.
    fn show_stale(&mut self) {
        let count = self.engine().stale_count();
        if self.metrics.show_stale(&mut self.shown, count) {
            warn!(count, "windows that came back from a snapshot were too old and began anew");
        }
    }

    /// Takes a record and measures the parts of its way. The first of a batch meets an engine with
    /// nothing in inference, so the second part is the step alone.
    fn take_measured(
        &mut self,
        record: &Record,
        arrived: Option<Stopwatch>,
    ) -> Result<(), ShardError> {
        let watch = Stopwatch::start();
        let mut decoded = Duration::ZERO;
        self.take(record, arrived, || decoded = watch.elapsed())?;
        self.metrics.taken(decoded, watch.elapsed().saturating_sub(decoded));
        Ok(())
    }

    fn take(
        &mut self,
        record: &Record,
        arrived: Option<Stopwatch>,
        decoded: impl FnOnce(),
    ) -> Result<(), ShardError> {
        let Self { pipelines, publisher, metrics, .. } = self;
        let Record { bytes, position, received, after_gap } = record;
        if *after_gap {
            pipelines.mark_gap_before(bytes, *position);
        }
        // A symbol's next tick is here before its last one was answered: that is a hurry.
        let refused = pipelines.take(bytes, *position, *received, decoded, |pipeline| {
            flush(pipeline, publisher, metrics, Haste::Throughput, arrived)
        })?;
        if let Some(rejection) = refused {
            if let (Reject::InFuture, Some(health), Some(ahead)) =
                (rejection.reason, &self.health, pipelines.live().newest_ahead())
            {
                health.note_ahead(ahead);
            }
            let rejection = rejection.named(pipelines.live().schema());
            publisher.dead_letter(record, rejection);
            report(pipelines.live(), rejection, bytes);
        }
        Ok(())
    }

    /// Does what the source asks, after everything that came before it is published. Returns what
    /// the shard has to wait for before it goes on.
    fn obey(
        &mut self,
        command: Command,
        arrived: Option<Stopwatch>,
    ) -> Result<Option<Receiver<()>>, ShardError> {
        let mut hold = None;
        let Self { pipelines, publisher, metrics, pulse, health, .. } = self;
        let pipeline = pipelines.live_mut();
        flush(pipeline, publisher, metrics, Haste::Latency, arrived)?;
        pulse.wait(COMMAND_PATIENCE);
        // Whoever asked may have given up; then nobody needs the answer.
        match command {
            Command::Connect(sink) => publisher.connect(Some(sink)),
            Command::Sample { count_max, answer } => {
                let _ = answer.send(pipeline.sample(count_max));
            }
            Command::Swap { pipeline: mut next, answer } => {
                let inherited = next.inherit(pipeline)?;
                publisher.set_model(&next.manifest().onnx_sha256);
                // Every state has changed.
                if let Some(taking) = &mut self.taking {
                    taking.left = next.engine().changed_count();
                }
                let before = pipelines.replace_live(*next);
                let _ = answer.send((inherited, Box::new(before)));
            }
            Command::Commit(CommitLine { answer, resume, is_whole }) => {
                publisher.turn();
                if is_whole {
                    pipeline.engine_mut().note_all_changed();
                }
                pipeline.engine_mut().begin_taking();
                let mut states = Vec::new();
                pipeline.take_changed(usize::MAX, |state| states.push(state));
                let _ = answer.send(states);
                hold = resume;
            }
            Command::Snapshot { answer } => {
                let left = pipeline.engine_mut().begin_taking();
                self.taking = Some(Taking { left, answer });
            }
            Command::Restore { partition, stored, answer } => {
                let _ = answer.send(pipeline.restore(Some(partition), &stored));
            }
            Command::BeginCold { partition } => pipeline.engine_mut().expect_loss(partition),
            Command::Own { partitions } => {
                if let Some(health) = health {
                    health.keep(|partition| partitions.contains(&partition));
                }
            }
            Command::Evict { partition, answer } => {
                pipeline.engine_mut().evict(partition);
                if let Some(health) = health {
                    health.keep(|kept| kept != partition);
                }
                let _ = answer.send(());
            }
            Command::Clear { answer } => {
                if let Some(health) = health {
                    health.remember(pipeline.engine_mut());
                }
                pipeline.clear()?;
                publisher.connect(None);
                let _ = answer.send(());
            }
        }
        pulse.work();
        Ok(hold)
    }

    /// Logs the newest of the windows that began cold since the last batch, as sparsely as refused
    /// records.
    fn report_cold_starts(&self) {
        let (told, count) = (self.shown.resets(), self.engine().tally().resets);
        if (told + 1..=count).any(is_power_of_ten)
            && let Some(ColdStart { symbol, before, after }) = self.engine().newest_cold_start()
        {
            warn!(%symbol, %before, %after, count, "a step is far away; its window begins cold");
        }
    }

    /// Logs the newest of the symbols that left since the last batch, as sparsely as refused
    /// records.
    fn report_expired(&self) {
        let (told, count) = (self.shown.expired(), self.engine().tally().expired);
        if passes_power_of_ten(told, count)
            && let Some(Expired { symbol, newest_tick }) = self.engine().newest_expired()
        {
            let newest_tick = newest_tick.map(|time| time.to_string()).unwrap_or_default();
            info!(
                %symbol, newest_tick, count,
                "a symbol was silent for longer than engine.symbol_ttl and made room"
            );
        }
    }

    /// Logs the newest tick or step whose time cannot be right, as sparsely.
    fn report_mistimed(&self) {
        let (shown, count) = (self.shown.mistimed(), self.engine().tally().mistimed());
        if !(shown + 1..=count).any(is_power_of_ten) {
            return;
        }
        let Some(Mistimed { symbol, time, cause }) = self.engine().newest_mistimed() else {
            return;
        };
        match cause {
            MistimedCause::Doubt(doubt) => {
                let (reason, advice) = (doubt.label(), doubt.advice());
                warn!(
                    %symbol, %time, reason, advice, count,
                    "an event time cannot be right; forecasts of the symbol are mistimed"
                );
            }
            MistimedCause::Cadence { spacing, interval, .. } => {
                let seconds = |span: &DurationNanos| span.as_nanos() as f64 / 1e9;
                let (spacing_seconds, interval_seconds) = (seconds(spacing), seconds(interval));
                warn!(
                    %symbol, %time, spacing_seconds, interval_seconds, count,
                    "steps have another spacing than the model's; forecasts of the symbol are \
                     mistimed"
                );
            }
        }
    }
}

/// Logs the 1st, 10th, 100th ... record refused for a reason, so that a flood of bad input does not
/// become a flood of log lines.
fn report(pipeline: &Pipeline, rejection: NamedRejection<'_>, record: &[u8]) {
    let NamedRejection { reason, field } = rejection;
    let count = pipeline.engine().tally().rejects.get(reason);
    if is_power_of_ten(count) {
        let sample = excerpt_of_bytes(record, SAMPLE_CHARS_MAX);
        if reason == Reject::TooManySymbols {
            warn!(
                reason = reason.label(), count, %sample,
                "refused a record: there are engine.symbols_max symbols; raise it, or set \
                 engine.symbol_ttl so that silent symbols make room"
            );
        } else {
            warn!(reason = reason.label(), field, count, %sample, "refused a record");
        }
    }
}

/// Infers what waits, publishes, then moves the states on. `arrived` is when the oldest record of
/// the batch came.
fn flush(
    pipeline: &mut Pipeline,
    publisher: &mut Publisher,
    metrics: &ShardMetrics,
    haste: Haste,
    arrived: Option<Stopwatch>,
) -> Result<(), ShardError> {
    let watch = Stopwatch::start();
    pipeline.infer(haste)?;
    let inferred = watch.elapsed();
    let count = pipeline.emit(|symbol, record| publisher.publish(symbol, record, arrived))?;
    pipeline.emit_scores(|symbol, record| publisher.publish_score(symbol, record))?;
    let published = watch.elapsed();
    if let (Some(arrived), true) = (arrived, count > 0) {
        metrics.published(arrived.elapsed());
    }
    pipeline.engine_mut().advance()?;
    if count > 0 {
        metrics.observe(&BatchTimes {
            infer: inferred,
            publish: published.saturating_sub(inferred),
            advance: watch.elapsed().saturating_sub(published),
        });
    }
    Ok(())
}

/// Whether a count that was `before` has come to a power of ten or gone past one.
fn passes_power_of_ten(before: u64, count: u64) -> bool {
    count > before && before.checked_ilog10() != count.checked_ilog10()
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|exponent| 10u64.pow(exponent) == count)
}
