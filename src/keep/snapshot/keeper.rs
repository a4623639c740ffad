//! The thread that keeps snapshots, and the start from one.
//!
//! Owns the newest stored form of every symbol's state, and the folder. Promises that the place of
//! a snapshot was read before the shards were asked for their states, and that every sink settled
//! what the states hold before the snapshot is written. At most one snapshot is under way:
//! where the disk is slower than the interval, the next one is simply newer. Never touches a shard.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{info, warn};

use super::codec::{InputPlace, Snapshot};
use super::disk::{Disk, Folder};
use super::metrics::{SnapshotMetrics, StartFrom};
use super::recovery::{Decision, Facts, decide_recovery, place_of};
use super::store::{Candidate, Store};
use crate::engine::inference::InferenceError;
use crate::engine::pipeline::{ModelLabel, Pipelines, parts_of_key};
use crate::intake::IntakeCommander;
use crate::intake::shard_of_symbol;
use crate::ops::clock::{Stopwatch, wall_seconds};
use crate::ops::logging::is_power_of_ten;
use crate::ports::input::{InputProgress, RECORDING, Start};
use crate::ports::sink::Sink;
use crate::shard::command::{Command, Handed};
use crate::shard::{Waiting, warn_of_cold_states};

/// A folder of snapshots that is ours, before anything runs.
pub struct Keeper<D = Folder> {
    store: Store<D>,
    candidates: Vec<Candidate>,
    interval: Duration,
    metrics: SnapshotMetrics,
    /// By their keys.
    states: BTreeMap<String, Bytes>,
    history: Option<watch::Receiver<bool>>,
}

/// The keeper at work.
pub struct RunningKeeper {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Why there is no keeper, or no start.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The folder cannot be looked through.
    #[error("snapshot.folder: look through `{0}`: {1}")]
    Look(String, io::Error),
    /// The recurrent states cannot be computed.
    #[error("restore states: {0}")]
    Inference(#[from] InferenceError),
}

impl Keeper {
    /// Looks a folder through that this process has.
    ///
    /// # Errors
    /// [`KeeperError::Look`].
    pub fn open(
        folder: Folder,
        interval: Duration,
        metrics: SnapshotMetrics,
    ) -> Result<Self, KeeperError> {
        let path = folder.path().display().to_string();
        Self::on(folder, interval, metrics).map_err(|error| KeeperError::Look(path, error))
    }
}

impl<D: Disk> Keeper<D> {
    /// Looks a disk through.
    ///
    /// # Errors
    /// Where it cannot be looked through.
    pub fn on(disk: D, interval: Duration, metrics: SnapshotMetrics) -> io::Result<Self> {
        let (store, candidates) = Store::open(disk)?;
        let (states, history) = (BTreeMap::new(), None);
        Ok(Self { store, candidates, interval, metrics, states, history })
    }

    /// The same that writes no snapshot before the history is over that is streamed ahead of the
    /// stream, which `over` says: symbols that a snapshot brings back take no rows of history, so
    /// those that were read only in part would lack the rest.
    #[must_use]
    pub fn behind_history(self, over: watch::Receiver<bool>) -> Self {
        Self { history: Some(over), ..self }
    }

    /// Brings what is stored into the pipelines of all shards, and says what became of it. Windows
    /// of a feed are marked: what came while no process ran is missing. Those whose data goes on
    /// more than so many steps later begin cold; `None` for any number.
    ///
    /// # Errors
    /// [`KeeperError::Inference`].
    pub fn restore(
        &mut self,
        pipelines: &mut [Pipelines],
        input: &InputProgress,
        gap_steps_max: Option<u32>,
    ) -> Result<Start, KeeperError> {
        let candidates = std::mem::take(&mut self.candidates);
        // Every shard has the same models.
        let models = pipelines.first().map(Pipelines::readable).unwrap_or_default();
        match decide_recovery(candidates, &Facts { models: &models, input: input.identity() }) {
            Decision::Fresh => {
                info!("no snapshot is stored; every symbol begins cold");
                self.metrics.started(StartFrom::Fresh, 0, 0);
                Ok(Start::default())
            }
            Decision::Cold { reasons } => {
                for reason in reasons {
                    warn!(reason, "a snapshot cannot be used");
                }
                warn!("no stored snapshot can be used; every symbol begins cold");
                self.metrics.started(StartFrom::Cold, 0, 0);
                Ok(Start::default())
            }
            Decision::Resume { snapshot, passed_over } => {
                for reason in &passed_over {
                    warn!(reason, "a snapshot cannot be used; going back to the one before");
                }
                let from =
                    if passed_over.is_empty() { StartFrom::Newest } else { StartFrom::Previous };
                self.resume(snapshot, from, pipelines, input, gap_steps_max)
            }
        }
    }

    fn resume(
        &mut self,
        snapshot: Snapshot,
        from: StartFrom,
        pipelines: &mut [Pipelines],
        input: &InputProgress,
        gap_steps_max: Option<u32>,
    ) -> Result<Start, KeeperError> {
        let Snapshot { sequence, place, states, models: _, model_label } = snapshot;
        let (records, bytes, partition) = match &place {
            InputPlace::Feed(_) => (0, 0, None),
            InputPlace::File(place) => (place.records, place.bytes, Some(RECORDING)),
        };
        let mut of_shard: Vec<Vec<(String, Bytes)>> = vec![Vec::new(); pipelines.len()];
        for (key, state) in states {
            let (_, symbol) = parts_of_key(&key);
            of_shard[shard_of_symbol(symbol, pipelines.len())].push((key, state));
        }
        let (mut restored, mut cold) = (0, Vec::new());
        for (models, stored) in pipelines.iter_mut().zip(of_shard) {
            let outcome = models.restore(partition, &stored)?;
            restored += outcome.symbol_count;
            cold.extend(outcome.cold);
            if partition.is_none() {
                models.expect_gap(gap_steps_max);
            }
            self.states.extend(stored.into_iter().filter(|(key, _)| models.knows_key(key)));
        }
        warn_of_cold_states(&cold, None);
        self.metrics.started(from, restored, cold.len());
        let cold = cold.len();
        info!(
            snapshot = sequence,
            model = model_label,
            symbols = restored,
            cold,
            records,
            "restored"
        );
        input.delivered(records, bytes);
        Ok(Start { records, resumed: restored > 0 })
    }

    /// The keeper's work, for whoever drives it.
    pub fn into_work(
        self,
        shards: Vec<IntakeCommander<Command>>,
        sinks: Vec<Box<dyn Sink>>,
        input: InputProgress,
        model: ModelLabel,
    ) -> KeeperWork<D> {
        let Self { store, candidates: _, interval: _, metrics, states, history } = self;
        let (written, asked, failures) = (None, None, 0);
        KeeperWork {
            store,
            metrics,
            states,
            history,
            shards,
            sinks,
            input,
            model,
            asked,
            written,
            failures,
        }
    }

    /// Starts the thread. `last` is where the shards hand over their states when they end.
    ///
    /// # Errors
    /// Where the thread cannot be made.
    pub fn start(
        self,
        shards: Vec<IntakeCommander<Command>>,
        last: Receiver<Handed>,
        sinks: Vec<Box<dyn Sink>>,
        input: InputProgress,
        model: ModelLabel,
    ) -> io::Result<RunningKeeper>
    where
        D: 'static,
    {
        let interval = self.interval;
        let work = self.into_work(shards, sinks, input, model);
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || work.run(interval, &stopped, &last))?;
        Ok(RunningKeeper { stop, thread })
    }
}

impl RunningKeeper {
    /// Writes the last snapshot, once every shard has ended, and waits for it.
    ///
    /// # Errors
    /// Where the thread died.
    pub fn finish(self) -> Result<(), KeeperPanicked> {
        drop(self.stop);
        self.thread.join().map_err(|_| KeeperPanicked)
    }
}

/// The thread that keeps snapshots has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread that keeps snapshots panicked")]
pub struct KeeperPanicked;

/// The states, and the way from a line in the stream to a snapshot.
pub struct KeeperWork<D> {
    store: Store<D>,
    metrics: SnapshotMetrics,
    /// The newest stored form of every state, by its key.
    states: BTreeMap<String, Bytes>,
    /// Says whether the history is over that is streamed ahead of the stream, where there is any.
    history: Option<watch::Receiver<bool>>,
    shards: Vec<IntakeCommander<Command>>,
    sinks: Vec<Box<dyn Sink>>,
    input: InputProgress,
    model: ModelLabel,
    /// The snapshot that the shards were asked for.
    asked: Option<Asked>,
    /// The place of the newest snapshot, where nothing has changed since.
    written: Option<InputPlace>,
    /// Since the last snapshot that was written.
    failures: u64,
}

/// A snapshot under way.
struct Asked {
    line: Line,
    place: InputPlace,
    answers: Receiver<Handed>,
    /// Shards that have not handed over everything yet.
    missing: usize,
}

/// What came of gathering states.
enum Gathered {
    /// Every shard has handed over everything.
    All,
    /// Some are missing yet.
    Part,
    /// A shard has ended before.
    Never,
}

/// When a snapshot was begun: everything from before is in it.
#[derive(Clone, Copy)]
struct Line {
    begun: Stopwatch,
    wall_seconds: f64,
}

impl Line {
    fn draw() -> Self {
        Self { begun: Stopwatch::start(), wall_seconds: wall_seconds() }
    }
}

impl<D: Disk> KeeperWork<D> {
    fn run(mut self, interval: Duration, stopped: &Receiver<()>, last: &Receiver<Handed>) {
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            self.begin();
            self.advance(Waiting::Sleeps);
        }
        self.finish(last);
    }

    /// Notes the place of the input, then asks every shard for its states, unless a snapshot is
    /// under way or history is still being read.
    pub fn begin(&mut self) {
        if self.asked.is_some() || self.reads_history() {
            return;
        }
        let (line, place) = (Line::draw(), place_of(&self.input));
        let (answer, answers) = channel();
        let asked = self
            .shards
            .iter()
            .all(|shard| shard.command(Command::Snapshot { answer: answer.clone() }).is_ok());
        // A shard that has ended hands its states over by the other way.
        self.asked = asked.then_some(Asked { line, place, answers, missing: self.shards.len() });
    }

    /// Takes what the shards have handed over, and writes the snapshot once that is everything.
    /// Returns whether it is still under way.
    pub fn advance(&mut self, waiting: Waiting) -> bool {
        let Some(mut asked) = self.asked.take() else { return false };
        match self.gather(&asked.answers, &mut asked.missing, waiting) {
            Gathered::All => self.keep(asked.line, asked.place),
            Gathered::Part => self.asked = Some(asked),
            // A shard has ended; it hands its states over by the other way.
            Gathered::Never => {}
        }
        self.asked.is_some()
    }

    /// Whether history is still being read. A command that was sent since is behind all of it.
    fn reads_history(&self) -> bool {
        self.history.as_ref().is_some_and(|over| !*over.borrow())
    }

    /// Writes the last snapshot, of what the shards hand over when they end.
    pub fn finish(mut self, last: &Receiver<Handed>) {
        if self.reads_history() {
            warn!(
                "no snapshot is written, because the daemon stops before the history was read; \
                 the next start reads it again"
            );
            return;
        }
        let (line, mut missing) = (Line::draw(), self.shards.len());
        if let Gathered::All = self.gather(last, &mut missing, Waiting::Sleeps) {
            let place = place_of(&self.input);
            self.keep(line, place);
        }
    }

    /// Takes states until every shard has handed over all.
    fn gather(
        &mut self,
        handed: &Receiver<Handed>,
        missing: &mut usize,
        waiting: Waiting,
    ) -> Gathered {
        while *missing > 0 {
            let next = match waiting {
                Waiting::Sleeps => handed.recv().map_err(|_| TryRecvError::Disconnected),
                Waiting::Returns => handed.try_recv(),
            };
            match next {
                Ok(Handed::Part(states)) => {
                    for state in states {
                        self.written = None;
                        let key = state.key().into_owned();
                        match state.bytes {
                            Some(bytes) => self.states.insert(key, bytes.into()),
                            None => self.states.remove(&key),
                        };
                    }
                }
                Ok(Handed::All(model)) => {
                    *missing -= 1;
                    self.model = model;
                }
                Err(TryRecvError::Empty) => return Gathered::Part,
                Err(TryRecvError::Disconnected) => return Gathered::Never,
            }
        }
        Gathered::All
    }

    /// Has every sink settle, then writes the snapshot.
    fn keep(&mut self, line: Line, place: InputPlace) {
        if self.written.as_ref() == Some(&place) {
            self.metrics.timestamp.set(line.wall_seconds);
            return;
        }
        let snapshot = Snapshot {
            sequence: self.store.next_sequence(),
            models: self.model.identities.clone(),
            model_label: self.model.text.clone(),
            place,
            states: self.states.iter().map(|(key, state)| (key.clone(), state.clone())).collect(),
        };
        let settled = self.sinks.iter().try_for_each(|sink| sink.settle());
        match settled.and_then(|()| self.store.write(&snapshot)) {
            Ok(written) => {
                self.written = Some(snapshot.place);
                self.metrics.written.inc();
                self.metrics.bytes.set(i64::try_from(written.bytes).unwrap_or(i64::MAX));
                self.metrics.timestamp.set(line.wall_seconds);
                self.metrics.seconds.observe(line.begun.elapsed().as_secs_f64());
                if self.failures > 0 {
                    info!(failures = self.failures, "snapshots are written again");
                    self.failures = 0;
                }
            }
            Err(error) => {
                self.metrics.failed.inc();
                self.failures += 1;
                // The first, the tenth, the hundredth: a full disk does not fill the log as well.
                if is_power_of_ten(self.failures) {
                    warn!(%error, failures = self.failures, "a snapshot was not written");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
