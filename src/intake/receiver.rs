//! The shard's end of a queue, and the look into it.
//!
//! Owns the taking of batches and the age of the oldest entry of one. Never adds an entry.

use std::cell::Cell;
use std::sync::Arc;
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
        let is_idle = |queue: &mut Queue<C>| {
            let idle = queue.waiting.is_empty() && !queue.gap_before_first && !queue.closed;
            queue.receiver_waits = idle;
            idle
        };
        let filled = &self.shared.filled;
        let mut queue = match patience {
            None => {
                filled.wait_while(queue, is_idle).unwrap_or_else(std::sync::PoisonError::into_inner)
            }
            Some(patience) => {
                let waited = filled.wait_timeout_while(queue, patience, is_idle);
                waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
            }
        };
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
        drop(queue);
        self.shared.made_room();
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
        drop(queue);
        self.shared.made_room();
    }
}

impl<C> IntakeWatch<C> {
    /// Whether something waits.
    pub fn has_waiting(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }
}
