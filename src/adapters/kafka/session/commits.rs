//! When commits begin, and moving the one under way on.
//!
//! Owns the time between two commits, and between two that store states. One is due an interval
//! after the last one began, or once the open transaction takes no more records. Promises that at
//! most one is under way, that each covers everything handed to the shards before it began, and
//! that partitions are given away with their states stored. Never decides the order of steps in a
//! commit, which `commit` owns.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::{COMMIT_POLL_TIMEOUT, SHARD_TIMEOUT, Session};
use crate::adapters::kafka::SessionError;
use crate::adapters::kafka::commit::{Commit, Covers, Progress, Took, Tools};
use crate::adapters::kafka_config::Delivery;
use crate::ops::clock::{Stopwatch, pause};
use crate::ports::sink::Sink;
use crate::shard::command::Takes;

/// How long after the last commit the next one waits at most while the group is between two
/// generations: as long as the slowest member needs to hear of it, by its heartbeat.
const GENERATION_PATIENCE: Duration = Duration::from_secs(5);

/// The same where readers wait for the transaction.
const GENERATION_PATIENCE_IN_TRANSACTION: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Begins a commit when one is due, or moves the one under way on.
    pub(super) fn advance_commit(&mut self) -> Result<(), SessionError> {
        if self.commit.is_none() {
            let is_due = self.is_due || self.is_held_by_pace();
            if !is_due && self.idle.elapsed() < self.source.config.commit_interval {
                return Ok(());
            }
            if self.restores.is_some() || self.waits_for_group() {
                return Ok(());
            }
            self.begin_commit()?;
        }
        self.step_commit()
    }

    /// Whether a commit had better wait until the group has its next generation. A commit of
    /// offsets that is asked for in between has its answer only then, and the answer is to ask
    /// again; a transaction whose offsets arrive with the generation that has just ended is lost.
    fn waits_for_group(&self) -> bool {
        let limit = match self.source.config.delivery {
            Delivery::AtLeastOnce => GENERATION_PATIENCE,
            Delivery::ExactlyOnce => GENERATION_PATIENCE_IN_TRANSACTION,
        };
        self.consumer.context().joins() && self.idle.elapsed() < limit && !self.is_held_by_pace()
    }

    pub(super) fn begin_commit(&mut self) -> Result<(), SessionError> {
        let stores_states = self.stores_states();
        let positions = match stores_states {
            true => self.assigned.unstored(),
            false => self.assigned.uncommitted(),
        };
        self.is_due = false;
        if stores_states {
            (self.stores_states, self.stored) = (false, Stopwatch::start());
        }
        if positions.is_empty() {
            self.idle = Stopwatch::start();
            return Ok(());
        }
        let points = self.assigned.iter().map(|reading| (reading.id, reading.point())).collect();
        let takes = match (std::mem::take(&mut self.is_whole), stores_states) {
            (true, _) => Takes::Everything,
            (false, true) => Takes::Changed,
            (false, false) => Takes::Nothing,
        };
        let covers = Covers { positions, points, look: self.watch.want(), takes };
        let source = self.source;
        let delivery = source.config.delivery;
        let turn = self.publisher.current();
        self.commit = Some(Commit::begin(delivery, &source.shards, covers, turn)?);
        if let Some(pace) = &mut self.pace {
            pace.begin();
        }
        self.opened = std::mem::replace(&mut self.idle, Stopwatch::start());
        self.publisher.turn();
        Ok(())
    }

    /// Whether a commit that begins now stores states.
    fn stores_states(&self) -> bool {
        let config = &self.source.config;
        config.state_interval <= config.commit_interval
            || self.stores_states
            || self.is_whole
            || self.stored.elapsed() >= config.state_interval
            || self.assigned.read_beyond_states() >= config.state_records_max
    }

    fn step_commit(&mut self) -> Result<(), SessionError> {
        let Some(commit) = self.commit.take() else { return Ok(()) };
        match commit.step(&self.tools())? {
            Progress::UnderWay(commit) => self.commit = Some(commit),
            Progress::Done(covered, Took { drain, whole }) => {
                self.assigned.committed(&covered);
                self.source.metrics.committed(whole);
                if let Some(pace) = &mut self.pace {
                    pace.done(drain, whole);
                    self.source.metrics.paced(pace.bound());
                }
                self.flowed = true;
                if std::mem::take(&mut self.awaits_first) {
                    self.show_ready();
                }
            }
        }
        Ok(())
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            config: &self.source.config,
            consumer: &self.consumer,
            publisher: &self.publisher,
            watch: &self.watch,
            call: &self.call,
        }
    }

    /// Finishes the commit under way, and makes one of everything since, with its states.
    pub(super) fn commit_now(&mut self) -> Result<(), SessionError> {
        let begun = Stopwatch::start();
        for _ in 0..2 {
            if self.commit.is_none() {
                self.stores_states = true;
                self.begin_commit()?;
            }
            self.finish_commit(begun)?;
        }
        Ok(())
    }

    /// Finishes the commit under way, if there is one.
    pub(super) fn finish_commit(&mut self, begun: Stopwatch) -> Result<(), SessionError> {
        while self.commit.is_some() {
            self.look()?;
            self.step_commit()?;
            if begun.elapsed() > SHARD_TIMEOUT {
                return Err(SessionError::retry("a commit was not committed in time"));
            }
            if self.commit.as_ref().is_some_and(|commit| !commit.has_more()) {
                pause(COMMIT_POLL_TIMEOUT);
            }
        }
        Ok(())
    }
}
