//! States on their way from a changelog to the shards.
//!
//! Owns what is known of partitions until they are read, and the states that their shards have not
//! got. Promises that a shard restores a few symbols at a time, those of one partition before those
//! of the next, and that all models of a symbol are restored together. Never decides which states
//! are of use: the session does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use bytes::Bytes;

use super::assignment::Newcomer;
use super::changelog::StateRecord;
use super::partitions::shard_of;
use super::start::Point;
use super::{KafkaError, SessionError};
use crate::core::domain::PartitionId;
use crate::engine::inference::InferenceError;
use crate::engine::pipeline::{Restored, parts_of_key};
use crate::intake::IntakeSender;
use crate::ops::clock::Stopwatch;
use crate::shard::command::Command;

/// How many symbols a shard restores between two looks at its queue. A state is read in tens of
/// microseconds. One of another version in mode `carried` also costs the steps of a window.
const SYMBOLS_AT_ONCE: usize = 64;

/// The stored states of a partition, by what becomes of them.
pub(super) struct Sorted {
    /// Those that are taken over.
    pub(super) own: Vec<StateRecord>,
    /// Those of another log, or of records that the topic no longer has.
    pub(super) foreign: Vec<StateRecord>,
    /// Those of a beginning that was not committed.
    pub(super) cut_short: Vec<StateRecord>,
}

/// A partition whose states are on their way to its shard.
pub(super) struct Begun {
    pub(super) of: Newcomer,
    pub(super) committed: Option<Point>,
    pub(super) began_with: Option<i32>,
    /// The first offset of its log, and where reading begins.
    pub(super) low: i64,
    pub(super) next: i64,
    /// What is committed, where records before it are read again.
    pub(super) said: Option<Point>,
    /// The end of its changelog partition.
    pub(super) end: i64,
    pub(super) sorted: Sorted,
    pub(super) has_lost: bool,
    /// Whether its changelog has states that are older than those before them.
    pub(super) has_passed_over: bool,
    pub(super) restoring: Restoring,
}

/// The states of a partition on their way to its shard.
#[derive(Default)]
pub(super) struct Restoring {
    /// Those that the shard has not got: keys and what was stored under them.
    left: VecDeque<Vec<(String, Bytes)>>,
    /// The shard's answer, where it restores some.
    answer: Option<Receiver<Result<Restored, InferenceError>>>,
    /// What became of the others.
    pub(super) restored: Restored,
}

/// Partitions whose states are on their way to the shards.
pub(super) struct Restores {
    pub(super) all: Vec<Begun>,
    begun: Stopwatch,
}

impl Restoring {
    /// The states of a partition, none of which its shard has yet.
    pub(super) fn of(stored: &[StateRecord]) -> Self {
        // All models of a symbol are restored together.
        let mut of_symbol = BTreeMap::<&str, Vec<_>>::new();
        for StateRecord { key, bytes, .. } in stored {
            let (_, symbol) = parts_of_key(key);
            of_symbol.entry(symbol).or_default().push((key.clone(), bytes.clone()));
        }
        let symbols: Vec<_> = of_symbol.into_values().collect();
        let left = symbols.chunks(SYMBOLS_AT_ONCE).map(<[_]>::concat).collect();
        Self { left, ..Self::default() }
    }

    /// Takes the shard's answer and gives it the next states, unless it is busy with others.
    /// Returns whether all are restored.
    fn step(
        &mut self,
        shard: &IntakeSender<Command>,
        partition: PartitionId,
        is_busy: &mut bool,
    ) -> Result<bool, SessionError> {
        match self.answer.as_ref().map(Receiver::try_recv) {
            None => {}
            Some(Ok(restored)) => {
                let restored = restored.map_err(SessionError::while_doing("restore states"))?;
                self.restored.merge(restored);
                self.answer = None;
            }
            Some(Err(TryRecvError::Empty)) => {
                *is_busy = true;
                return Ok(false);
            }
            Some(Err(TryRecvError::Disconnected)) => return Err(engine_gone()),
        }
        if *is_busy {
            return Ok(self.left.is_empty());
        }
        let Some(stored) = self.left.pop_front() else { return Ok(true) };
        let (answer, answers) = channel();
        let command = Command::Restore { partition, stored, answer };
        shard.command(command).map_err(|_| engine_gone())?;
        (self.answer, *is_busy) = (Some(answers), true);
        Ok(false)
    }
}

impl Restores {
    /// Partitions whose shards have none of the states yet.
    pub(super) fn of(all: Vec<Begun>) -> Self {
        Self { all, begun: Stopwatch::start() }
    }

    /// Gives the shards the next states where they have restored those before. Returns whether all
    /// are restored.
    ///
    /// # Errors
    /// Where a shard is gone or fails, and where they are not restored within the limit.
    pub(super) fn step(
        &mut self,
        shards: &[IntakeSender<Command>],
        limit: Duration,
    ) -> Result<bool, SessionError> {
        let mut is_busy = vec![false; shards.len()];
        let mut is_over = true;
        for Begun { of, restoring, .. } in &mut self.all {
            let (number, shard) = shard_of(shards, of.id);
            is_over &= restoring.step(shard, of.id, &mut is_busy[number])?;
        }
        if !is_over && self.begun.elapsed() > limit {
            return Err(SessionError::retry("the states were not restored in time"));
        }
        Ok(is_over)
    }
}

fn engine_gone() -> SessionError {
    SessionError::Final(KafkaError::EngineGone)
}

#[cfg(test)]
mod tests;
