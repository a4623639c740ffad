//! A shard that its thread lends: a live source takes turns with it on its own thread.
//!
//! Owns the choice of the thread that has the turn. Promises that one has it at a time, that the
//! shard's own thread sleeps without it and is called for what a lent turn leaves, and that a
//! failure in a lent turn ends the shard as one in its own turn does. Never waits for the turn on
//! behalf of a source.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use super::command::Command;
use super::{Shard, ShardError, Waiting};
use crate::engine::symbols::EngineTally;
use crate::intake::IntakeBell;

/// A shard, and whose turn it is. A mutex, because a source cannot ask another thread for the turn
/// without waking it, which is what takes longest on the way of a single tick.
pub struct LentShard {
    seat: Mutex<Seat>,
    bell: IntakeBell<Command>,
}

struct Seat {
    /// Gone once it has ended.
    shard: Option<Shard>,
    /// Why a lent turn failed.
    failed: Option<ShardError>,
}

impl LentShard {
    /// A shard that does not run yet.
    pub fn new(shard: Shard) -> Self {
        let bell = shard.intake.bell();
        Self { seat: Mutex::new(Seat { shard: Some(shard), failed: None }), bell }
    }

    /// Takes a turn on the calling thread. Returns `false` where the shard's own thread has it or
    /// must have it: that thread then takes what waits.
    pub fn turn_here(&self) -> bool {
        let mut seat = match self.seat.try_lock() {
            Ok(seat) => seat,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return false,
        };
        let Seat { shard: Some(shard), failed } = &mut *seat else { return false };
        if failed.is_some() || !shard.is_lendable() {
            return false;
        }
        let is_done = match shard.turn(Waiting::Returns) {
            Ok(is_open) => is_open && shard.patience() != Some(Duration::ZERO),
            Err(error) => {
                *failed = Some(error);
                false
            }
        };
        if !is_done {
            self.bell.ring();
        }
        true
    }

    /// Runs the shard on the calling thread until its intake is closed and empty; returns what
    /// became of everything, for each model, or `None` where a lent turn has panicked.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn run(&self) -> Option<Result<Vec<EngineTally>, ShardError>> {
        loop {
            let mut seat = self.own_turn()?;
            let Seat { shard, failed } = &mut *seat;
            let turned = match failed.take() {
                Some(error) => Err(error),
                None => shard.as_mut()?.turn(Waiting::Sleeps),
            };
            match turned {
                Ok(true) => {}
                // What it received from goes with it, so that its senders learn of it.
                Ok(false) => return Some(Ok(shard.take()?.finish())),
                Err(error) => {
                    *shard = None;
                    return Some(Err(error));
                }
            }
            let patience = shard.as_ref()?.patience();
            drop(seat);
            if patience != Some(Duration::ZERO) {
                self.bell.sleep(patience);
            }
        }
    }

    fn own_turn(&self) -> Option<MutexGuard<'_, Seat>> {
        // After a panic in a lent turn the states are those of no record.
        self.seat.lock().ok()
    }
}
