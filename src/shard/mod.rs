//! A shard: the thread that owns all state of its symbols. It takes batches from its intake and
//! publishes forecasts.
//!
//! Owns the pipelines. Promises to run at its own pace: a batch in, the forecasts of all live
//! models out, then the states moved on, then the shadows, which are left out where the batch has
//! waited for too long, whatever else is asked of the shard meanwhile; and to end by returning,
//! once the intake is closed and empty. Never waits for a subscriber, and shares nothing with
//! another shard but the ways out.

mod asking;
mod cold;
pub mod command;
mod crew;
mod health;
mod history;
mod history_metrics;
mod lent;
mod metrics;
mod outputs;
mod publisher;
mod refusals;
mod reports;
mod scores;
mod shift;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use self::asking::{ShardHistory, forget_departed};
use self::command::{Command, CommitLine, Handed, Takes};
use self::history::Lack;
use self::metrics::{BatchTimes, Shown};
use crate::core::domain::Reject;
use crate::engine::inference::InferenceError;
use crate::engine::pipeline::{Incoming, Pipeline, Pipelines, Role, StreamTally, Taken};
use crate::engine::symbols::{EngineTally, Haste};
use crate::intake::{Arrival, IntakeReceiver, Record};
use crate::ops::clock::Stopwatch;
use crate::ops::supervise::{Pulse, Stage};
use crate::ports::sink::SinkClosed;

pub use self::cold::warn_of_cold_states;
pub use self::crew::{Crew, CrewError};
pub use self::health::{FeedView, HealthMetrics, HealthWatch, SymbolBoard, SymbolRow};
pub use self::history::{GivenUp, HistoryBook, HistoryLimits, Standing, SymbolHistory, WhenHeld};
pub use self::history_metrics::{HistoryBoard, HistoryCounts, HistoryMetrics};
pub use self::lent::LentShard;
pub use self::metrics::ShardMetrics;
pub use self::publisher::{Origin, Publisher};
pub use self::refusals::{AheadSamples, RefusalWatch};
pub use self::scores::{RivalBoard, ScoreMetrics, ScoredModel, ShardScores};

/// How many symbols' states are taken between two batches: a snapshot holds a forecast up for no
/// longer than these take.
const TAKEN_AT_ONCE: usize = 32;

/// How many symbols' recurrent states are computed at once while nothing waits.
const WOKEN_AT_ONCE: usize = 8;

/// For so many records of a batch another symbol's are computed, which takes as long as a few ticks
/// of a symbol that sleeps.
const RECORDS_FOR_WAKING: usize = 8;

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
    /// One for each model.
    scores: Vec<ShardScores>,
    drain_records_max: usize,
    /// How old the oldest record of a batch may be for the shadows to run on it; `None` for any
    /// age.
    shadow_age_max: Option<Duration>,
    /// Whether the last batch was too old for the shadows.
    was_late: bool,
    /// Arrivals of the batch in progress.
    batch: Vec<Arrival<Command>>,
    /// Whether the intake had more to come when the batch was taken.
    is_open: bool,
    /// A commit that the shard waits for.
    hold: Option<Receiver<()>>,
    /// What the metrics show of each model.
    shown: Vec<Shown>,
    /// What they show of the stream.
    shown_stream: StreamTally,
    /// What the live models took for what they said of the batch; kept for its memory.
    said: Vec<Option<Said>>,
    /// How many symbols of live models the metrics show.
    shown_live_symbols: usize,
    pulse: Pulse,
    /// The snapshot that is being taken.
    taking: Option<Taking>,
    /// Where the last states go when the shard ends, where somebody keeps them.
    last_states: Option<Sender<Handed>>,
    health: Option<HealthWatch>,
    /// Where there is any.
    history: Option<ShardHistory>,
}

/// What a turn does while a commit holds the shard up. It never waits for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It sleeps until the commit is over.
    Sleeps,
    /// It returns: the caller drives other parts on the same thread.
    Returns,
}

/// A snapshot under way.
struct Taking {
    /// Symbols of each model that had moved when it was asked for and are not yet taken.
    left: Vec<usize>,
    answer: Sender<Handed>,
}

impl Shard {
    /// A shard that takes at most `drain_records_max` records at once.
    pub fn new(
        pipelines: Pipelines,
        intake: IntakeReceiver<Command>,
        publisher: Publisher,
        metrics: ShardMetrics,
        scores: Vec<ShardScores>,
        drain_records_max: usize,
    ) -> Self {
        let shown = (0..pipelines.count()).map(|_| Shown::default()).collect();
        let pulse = Pulse::new();
        // While a batch goes out the shard comes on with every forecast.
        let publisher = publisher.with_pulse(pulse.clone());
        Self {
            pipelines,
            intake,
            publisher,
            metrics,
            scores,
            drain_records_max,
            shadow_age_max: None,
            was_late: false,
            batch: Vec::with_capacity(drain_records_max),
            is_open: true,
            hold: None,
            shown,
            shown_stream: StreamTally::default(),
            said: Vec::new(),
            shown_live_symbols: 0,
            pulse,
            taking: None,
            last_states: None,
            health: None,
            history: None,
        }
    }

    /// The same with a look at how its symbols are.
    #[must_use]
    pub fn watched(self, health: HealthWatch) -> Self {
        Self { health: Some(health), ..self }
    }

    /// The same with a limit on the age of the oldest record of a batch, beyond which its shadows
    /// take the batch in and say nothing of it.
    #[must_use]
    pub fn shedding_behind(self, shadow_age_max: Option<Duration>) -> Self {
        Self { shadow_age_max, ..self }
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

    /// Runs until the intake is closed and empty; returns what became of everything, for each
    /// model.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn run(self) -> Result<Vec<EngineTally>, ShardError> {
        LentShard::new(self)
            .run()
            .expect("no other thread has it, so no turn has panicked elsewhere")
    }

    /// Hands the last states over, once the intake is closed and empty; returns what became of
    /// everything, for each model.
    pub fn finish(mut self) -> Vec<EngineTally> {
        while self.taking.is_some() {
            self.take_states();
        }
        if let Some(answer) = self.last_states.take() {
            self.pipelines.begin_taking();
            let left = vec![usize::MAX; self.pipelines.count()];
            self.taking = Some(Taking { left, answer });
            while self.taking.is_some() {
                self.take_states();
            }
        }
        self.tallies().cloned().collect()
    }

    /// What became of everything in the first live model so far.
    pub fn tally(&self) -> &EngineTally {
        self.pipelines.live().engine().tally()
    }

    /// What became of everything in each model so far.
    pub fn tallies(&self) -> impl Iterator<Item = &EngineTally> {
        self.pipelines.each().map(|(_, pipeline)| pipeline.engine().tally())
    }

    /// What became of every record on the stream so far.
    pub fn stream_tally(&self) -> &StreamTally {
        self.pipelines.tally()
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
        let idle = batch.is_empty() && self.has_work_of_its_own() && !self.intake.has_more();
        // What a commit has held up comes before anything new.
        if batch.is_empty() && !idle {
            self.pulse.rest();
            let records_max = self.drain_records_max;
            self.is_open = self.intake.drain_within(&mut batch, records_max, Some(Duration::ZERO));
        }
        self.pulse.work();
        if let Some(health) = &self.health {
            let now = health.now();
            self.pipelines.set_now(now);
        }
        let taken = batch.len();
        let arrived = if idle { None } else { self.intake.arrived() };
        if let Some(arrived) = arrived {
            self.metrics.received(arrived.elapsed());
        }
        self.batch = self.take_batch(batch, arrived, waiting)?;
        if self.hold.is_some() {
            return Ok(true);
        }
        self.tend_history(!self.is_open && self.batch.is_empty())?;
        let haste = if self.intake.has_more() { Haste::Throughput } else { Haste::Latency };
        self.flush_live(haste, arrived)?;
        self.run_shadows(arrived, self.shadow_age_max)?;
        self.run_blends(arrived)?;
        self.report();
        self.show();
        self.take_states();
        // While records come it goes on as well: a symbol that sleeps costs more with each tick.
        self.pipelines.wake(if idle { WOKEN_AT_ONCE } else { 1 + taken / RECORDS_FOR_WAKING })?;
        if let Some(health) = &mut self.health {
            let book = self.history.as_mut().map(|history| &mut history.book);
            health.turn(&mut self.pipelines, book);
        }
        self.pulse.rest();
        Ok(idle || self.is_open)
    }

    /// Whether the shard has something to do while no record waits.
    fn has_work_of_its_own(&self) -> bool {
        self.taking.is_some() || self.pipelines.asleep_count() > 0
    }

    /// Whether a source may take turns, which has to read on. What waits for history has deadlines,
    /// other models take longer than a source can spare, and sinks and commits may be waited for.
    fn is_lendable(&self) -> bool {
        let is_held = self.hold.is_some() || !self.batch.is_empty();
        let has_others = self.pipelines.each().any(|(_, one)| one.post().role != Role::Live);
        !is_held && !has_others && self.history.is_none() && self.publisher.never_waits()
    }

    /// How long the shard may wait for records; `None` where only these give it something to do.
    fn patience(&self) -> Option<Duration> {
        if self.hold.is_some() || !self.batch.is_empty() || self.has_work_of_its_own() {
            return Some(Duration::ZERO);
        }
        let health = self.health.as_ref().map(HealthWatch::patience);
        let history = self.history.as_ref().and_then(ShardHistory::patience);
        health.into_iter().chain(history).min()
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
                Arrival::Gap => {
                    self.catch_up(Haste::Throughput, arrived)?;
                    self.mark_gap();
                }
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

    /// Has the live models say what they have to say, all of them before the states of any move on:
    /// in mode `sliding` that is most of the work.
    fn flush_live(&mut self, haste: Haste, arrived: Option<Stopwatch>) -> Result<(), ShardError> {
        let Self { pipelines, publisher, metrics, said, .. } = self;
        said.clear();
        for pipeline in pipelines.of_role_mut(Role::Live) {
            said.push(say(pipeline, publisher, metrics, haste, arrived)?);
        }
        for (pipeline, said) in pipelines.of_role_mut(Role::Live).zip(said) {
            move_on(pipeline, metrics, said.take())?;
        }
        Ok(())
    }

    /// Has the shadows take the batch and say what they have to say, behind the live models. Where
    /// the oldest record of the batch is older than `age_max`, or gets there while others wait,
    /// they take the rest without inference.
    fn run_shadows(
        &mut self,
        arrived: Option<Stopwatch>,
        age_max: Option<Duration>,
    ) -> Result<(), ShardError> {
        let Self { pipelines, publisher, metrics, intake, was_late, .. } = self;
        if pipelines.of_role_mut(Role::Shadow).next().is_none() {
            return Ok(());
        }
        let is_late = || age_max.zip(arrived).is_some_and(|(max, arrived)| arrived.elapsed() > max);
        // Not every record has its arrival noted: between two that have, nothing has changed.
        let sheds = match arrived {
            Some(_) => is_late(),
            None => age_max.is_some() && *was_late && intake.has_more(),
        };
        if age_max.is_some() {
            *was_late = sheds;
        }
        let watch = Stopwatch::start();
        pipelines
            .of_role_mut(Role::Shadow)
            .for_each(|pipeline| pipeline.engine_mut().shed_rows(sheds));
        pipelines.take_deferred(|pipeline| {
            if is_late() && intake.has_more() {
                pipeline.engine_mut().shed_rows(true);
            }
            flush(pipeline, publisher, metrics, Haste::Throughput, arrived)
        })?;
        for pipeline in pipelines.of_role_mut(Role::Shadow) {
            if is_late() && intake.has_more() {
                pipeline.engine_mut().shed_rows(true);
            }
            flush(pipeline, publisher, metrics, Haste::Throughput, arrived)?;
        }
        if arrived.is_some() {
            metrics.shadowed(watch.elapsed());
        }
        Ok(())
    }

    /// Brings every model to where the stream is: nothing waits for inference afterwards, and
    /// nothing is deferred. Shadows take an old batch without inference here as well: states at
    /// rest are rows, so a commit or a snapshot needs none.
    fn catch_up(&mut self, haste: Haste, arrived: Option<Stopwatch>) -> Result<(), ShardError> {
        self.flush_live(haste, arrived)?;
        self.run_shadows(arrived, self.shadow_age_max)?;
        self.run_blends(arrived)
    }

    /// Has the blends take the batch and say what they have to say, behind all other models.
    fn run_blends(&mut self, arrived: Option<Stopwatch>) -> Result<(), ShardError> {
        let Self { pipelines, publisher, metrics, .. } = self;
        pipelines
            .take_blends(|pipeline| flush(pipeline, publisher, metrics, Haste::Throughput, arrived))
    }

    /// Shows what became of everything so far.
    fn show(&mut self) {
        let Self { pipelines, metrics, scores, shown, shown_stream, shown_live_symbols, .. } = self;
        let of_models = metrics.models().iter().zip(shown).zip(scores);
        let mut live_symbols = 0;
        for ((name, pipeline), ((metrics, shown), scores)) in
            pipelines.each_named_mut().zip(of_models)
        {
            metrics.show_kinds(shown, pipeline.kinds());
            metrics.show(shown, pipeline.engine().tally(), pipeline.engine().symbol_count());
            scores.show(pipeline);
            scores.show_weights(pipeline.engine());
            reports::show_stale(name, metrics, shown, pipeline.engine());
            reports::show_unknown(name, metrics, shown, pipeline.engine());
            if pipeline.post().role == Role::Live {
                live_symbols += pipeline.engine().symbol_count();
            }
        }
        metrics.show_live_symbols(shown_live_symbols, live_symbols);
        // The ticks last: who sees them counted sees what became of them, too.
        metrics.show(shown_stream, pipelines.tally());
    }

    /// Takes some of the states that are asked for; no row is in inference.
    fn take_states(&mut self) {
        let Some(Taking { left, answer }) = &mut self.taking else { return };
        let mut states = Vec::with_capacity(TAKEN_AT_ONCE);
        self.pipelines.take_changed(TAKEN_AT_ONCE, left, |state| states.push(state));
        // Whoever asked may have given up; then nobody needs the answer.
        let _ = answer.send(Handed::Part(states));
        if left.iter().all(|left| *left == 0) {
            let _ = answer.send(Handed::All(self.pipelines.label()));
            self.taking = None;
        }
    }

    /// Logs what is worth a line.
    fn report(&self) {
        let models = self.pipelines.each().zip(&self.shown);
        for ((name, pipeline), shown) in models {
            reports::report_model(name, pipeline, shown);
        }
        if self.pipelines.count() > 1 {
            reports::report_refusals(&self.pipelines, &self.shown);
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

    /// Takes a record. Where `asks` and history is missing before it, it is not taken, and what is
    /// missing comes back.
    fn take_now(
        &mut self,
        record: &Record,
        asks: bool,
        arrived: Option<Stopwatch>,
        decoded: impl FnOnce(),
    ) -> Result<Option<Lack>, ShardError> {
        let Self { pipelines, publisher, metrics, .. } = self;
        let Record { bytes, position, received, after_gap, late, origin, .. } = record;
        let (position, received) = (*position, *received);
        let (after_gap, late, origin) = (*after_gap, *late, *origin);
        let incoming = Incoming { bytes, position, received, after_gap, late, origin };
        // A symbol's next tick is here before its last one was answered: that is a hurry.
        let taken = pipelines.take_or_ask(&incoming, asks, decoded, |pipeline| {
            flush(pipeline, publisher, metrics, Haste::Throughput, arrived)
        })?;
        match taken {
            Taken::Done => {}
            Taken::Missing { missing, time } => {
                return Ok(Some(Lack { missing, time: Some(time), after_gap }));
            }
            Taken::Refused(rejection) => {
                if let (Reject::InFuture, Some(health), Some(ahead)) =
                    (rejection.reason, &self.health, pipelines.newest_ahead())
                {
                    health.note_ahead(ahead);
                }
                let rejection = rejection.named(pipelines.schema());
                // Of history its owner has the recording, and what comes again was sent.
                if record.is_published() {
                    publisher.dead_letter(record, rejection);
                }
                reports::report_refused(pipelines.tally(), rejection, bytes);
            }
        }
        Ok(None)
    }

    /// Does what the source asks, after everything that came before it is published. Returns what
    /// the shard has to wait for before it goes on.
    fn obey(
        &mut self,
        command: Command,
        arrived: Option<Stopwatch>,
    ) -> Result<Option<Receiver<()>>, ShardError> {
        let mut hold = None;
        self.catch_up(Haste::Latency, arrived)?;
        let command = match command {
            Command::History { number, answer } => {
                self.answer(number, answer)?;
                return Ok(None);
            }
            Command::EndHistory { answer } => {
                self.end_streaming();
                let _ = answer.map(|answer| answer.send(()));
                return Ok(None);
            }
            command => command,
        };
        if matches!(&command, Command::Commit(_) | Command::Evict { .. } | Command::Clear { .. }) {
            // What waits for history came before the command.
            self.take_waiting()?;
            self.catch_up(Haste::Latency, arrived)?;
        }
        let Self { pipelines, publisher, pulse, health, history, .. } = self;
        pulse.wait(COMMAND_PATIENCE);
        // Whoever asked may have given up; then nobody needs the answer.
        match command {
            Command::Connect(sink) => publisher.connect(Some(sink)),
            Command::Sample { model, count_max, answer } => {
                let _ = answer.send(pipelines.at(model).sample(count_max));
            }
            Command::Swap { model, windows_of, pipeline: mut next, answer } => {
                let place = pipelines.at(model);
                let inherited = match windows_of == model {
                    true => next.inherit(place)?,
                    false => next.inherit_beside(pipelines.at(windows_of), place)?,
                };
                // Every state has changed.
                if let Some(taking) = &mut self.taking {
                    taking.left[model] = next.engine().changed_count();
                }
                let before = pipelines.replace(model, *next);
                let _ = answer.send((inherited, Box::new(before)));
            }
            Command::Rivals { model, answer } => {
                let _ = answer.send(pipelines.at(model).rival_pool());
            }
            Command::Promote { model, answer } => {
                pipelines.promote(model);
                if let Some(health) = health {
                    health.begin_again();
                }
                let _ = answer.send(());
            }
            Command::Commit(CommitLine { answer, resume, takes }) => {
                publisher.turn();
                if takes == Takes::Everything {
                    pipelines.note_all_changed();
                }
                let mut states = Vec::new();
                if takes != Takes::Nothing {
                    pipelines.take_all_changed(|state| states.push(state));
                }
                let _ = answer.send(states);
                hold = resume;
            }
            Command::Snapshot { answer } => {
                let left = pipelines.begin_taking();
                self.taking = Some(Taking { left, answer });
            }
            Command::Restore { partition, stored, answer } => {
                let _ = answer.send(pipelines.restore(Some(partition), &stored));
            }
            Command::BeginCold { partition } => pipelines.expect_loss(partition),
            Command::Own { partitions } => {
                if let Some(health) = health {
                    health.keep(|partition| partitions.contains(&partition));
                }
            }
            Command::Evict { partition, answer } => {
                pipelines.evict(partition);
                forget_departed(history, pipelines, true);
                if let Some(health) = health {
                    health.keep(|kept| kept != partition);
                }
                let _ = answer.send(());
            }
            Command::Clear { answer } => {
                if let Some(health) = health {
                    health.remember(pipelines);
                }
                pipelines.clear()?;
                forget_departed(history, pipelines, false);
                publisher.connect(None);
                let _ = answer.send(());
            }
            // Obeyed above.
            Command::History { .. } | Command::EndHistory { .. } => {}
        }
        pulse.work();
        Ok(hold)
    }
}

/// How long a live model took for what it said of a batch.
#[derive(Clone, Copy, Debug)]
struct Said {
    infer: Duration,
    publish: Duration,
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
    let said = say(pipeline, publisher, metrics, haste, arrived)?;
    move_on(pipeline, metrics, said)
}

/// Infers what waits and publishes it; returns how long that took where a live model said anything.
fn say(
    pipeline: &mut Pipeline,
    publisher: &mut Publisher,
    metrics: &ShardMetrics,
    haste: Haste,
    arrived: Option<Stopwatch>,
) -> Result<Option<Said>, ShardError> {
    let watch = Stopwatch::start();
    pipeline.infer(haste)?;
    let infer = watch.elapsed();
    let origin = Origin::of(pipeline);
    let publish = |symbol: &_, record: &[u8]| publisher.publish(&origin, symbol, record, arrived);
    let count = pipeline.emit(publish)?;
    if count > 0 {
        publisher.flush();
    }
    if publisher.needs_score_bytes() {
        pipeline.emit_scores(|symbol, record| publisher.publish_score(&origin, symbol, record))?;
    } else {
        let Ok(()) = pipeline.hand_scores(|score| {
            publisher.keep_score(&origin, score);
            Ok::<_, Infallible>(())
        });
    }
    // What the shadows take is no part of the critical path.
    if count == 0 || !origin.post.role.is_public() {
        return Ok(None);
    }
    metrics.published(count, arrived.map(Stopwatch::elapsed));
    // What the others take is no part of the critical path.
    if origin.post.role != Role::Live {
        return Ok(None);
    }
    Ok(Some(Said { infer, publish: watch.elapsed().saturating_sub(infer) }))
}

/// Moves the states behind what was said on.
fn move_on(
    pipeline: &mut Pipeline,
    metrics: &ShardMetrics,
    said: Option<Said>,
) -> Result<(), ShardError> {
    let watch = Stopwatch::start();
    pipeline.engine_mut().advance()?;
    if let Some(Said { infer, publish }) = said {
        metrics.observe(&BatchTimes { infer, publish, advance: watch.elapsed() });
    }
    Ok(())
}
