//! The shard's end of a queue, and the look into it.
//!
//! Owns the taking of batches, the age of the oldest entry of one, and the sleep of the thread that
//! takes them. Never adds an entry.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::queue::{Queue, Shared};
use super::record::Arrival;
use crate::ops::clock::Stopwatch;

/// The engine's end.
pub struct IntakeReceiver<C> {
    shared: Arc<Shared<C>>,
    /// When the oldest entry of the last batch came.
    arrived: Cell<Option<Stopwatch>>,
}

/// Looks into the queue from outside, to tell whether its reader has work.
pub struct IntakeWatch<C> {
    shared: Arc<Shared<C>>,
}

/// Calls the thread that owns the receiver, and lets it sleep without it: meanwhile another thread
/// may take what comes.
pub struct IntakeBell<C> {
    shared: Arc<Shared<C>>,
}

impl<C> IntakeReceiver<C> {
    pub(super) fn new(shared: Arc<Shared<C>>) -> Self {
        Self { shared, arrived: Cell::new(None) }
    }

    /// Waits until something is there, then appends at most `count_max` entries to `batch`.
    /// Returns whether there may be more: `false` once the queue is closed and empty.
    pub fn drain(&self, batch: &mut Vec<Arrival<C>>, count_max: usize) -> bool {
        self.drain_within(batch, count_max, None)
    }

    /// As [`IntakeReceiver::drain`], and waits no longer than `patience`, where there is one: then
    /// nothing may have come.
    pub fn drain_within(
        &self,
        batch: &mut Vec<Arrival<C>>,
        count_max: usize,
        patience: Option<Duration>,
    ) -> bool {
        let queue = self.shared.lock();
        let mut queue = self.shared.wait(queue, patience, |queue| {
            queue.receiver_waits = queue.is_idle();
            queue.receiver_waits
        });
        queue.receiver_waits = false;
        if std::mem::take(&mut queue.gap_before_first) {
            batch.push(Arrival::Gap);
        }
        for _ in 0..queue.waiting.len().min(count_max) {
            batch.extend(self.shared.take(&mut queue));
        }
        let open = !(queue.closed && queue.waiting.is_empty());
        self.arrived.set(queue.forget_stamps());
        queue.stamp_due = queue.put;
        self.shared.made_room(queue);
        open
    }

    /// Whether something waits already.
    pub fn has_more(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }

    /// When the oldest entry of the last batch came, to within the few records that came between
    /// two noted ones; `None` where none of the batch was noted.
    pub fn arrived(&self) -> Option<Stopwatch> {
        self.arrived.get()
    }

    /// What calls the thread that owns this end, where others take turns with it.
    pub fn bell(&self) -> IntakeBell<C> {
        IntakeBell { shared: Arc::clone(&self.shared) }
    }

    /// A look into the queue for whoever supervises this end.
    pub fn watch(&self) -> IntakeWatch<C> {
        IntakeWatch { shared: Arc::clone(&self.shared) }
    }
}

impl<C> Drop for IntakeReceiver<C> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.receiver_gone = true;
        // Whoever waits for an answer to one of these must not wait for ever.
        queue.waiting.retain(|entry| !matches!(entry, Arrival::Command(_)));
        self.shared.made_room(queue);
    }
}

impl<C> IntakeBell<C> {
    /// Sleeps until there is something to take, the bell was rung, or `patience` is over.
    pub fn sleep(&self, patience: Option<Duration>) {
        let mut queue = self.shared.wait(self.shared.lock(), patience, |queue| {
            queue.owner_waits = queue.is_idle() && !queue.owner_called;
            queue.owner_waits
        });
        (queue.owner_waits, queue.owner_called) = (false, false);
    }

    /// Calls the thread, whether or not there is something to take.
    pub fn ring(&self) {
        let mut queue = self.shared.lock();
        queue.owner_called = true;
        self.shared.wake(queue);
    }
}

impl<C> Shared<C> {
    /// Waits while `is_idle` says so, and no longer than `patience`.
    fn wait<'q>(
        &self,
        mut queue: MutexGuard<'q, Queue<C>>,
        patience: Option<Duration>,
        mut is_idle: impl FnMut(&mut Queue<C>) -> bool,
    ) -> MutexGuard<'q, Queue<C>> {
        match patience {
            None => self.filled.wait_while(queue, is_idle).unwrap_or_else(PoisonError::into_inner),
            // Even the shortest wait is a call to the system.
            Some(Duration::ZERO) => {
                is_idle(&mut queue);
                queue
            }
            Some(patience) => {
                let waited = self.filled.wait_timeout_while(queue, patience, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

impl<C> IntakeWatch<C> {
    /// Whether something waits.
    pub fn has_waiting(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }
}
