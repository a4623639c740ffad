//! The queue itself: one lock, two ends.
//!
//! Owns what waits for a shard, and the policy when it is full. Promises that
//! `received = taken + dropped + waiting` always, and that a drop is delivered as a gap at the
//! place where it happened. Never looks into a record.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::limits::IntakeLimits;
use super::metrics::IntakeMetrics;
use super::receiver::IntakeReceiver;
use super::record::Arrival;
use super::sender::IntakeSender;
use crate::ops::clock::Stopwatch;

/// Every so many entries one has its arrival noted, and so has the first after each batch: enough
/// to tell how long the oldest of a batch has waited, without a look at the clock for each record.
const STAMP_EVERY: u64 = 64;

/// A mutex and not a channel with an owner, because dropping the oldest entry needs both ends: the
/// sender takes it out. The lock is held for a push, or for moving one batch out.
pub(super) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    pub(super) filled: Condvar,
    /// Room was made: for senders on a runtime, and for those on a thread of their own.
    pub(super) room: Notify,
    pub(super) emptied: Condvar,
    metrics: IntakeMetrics,
}

pub(super) struct Queue<C> {
    pub(super) waiting: VecDeque<Arrival<C>>,
    bytes: usize,
    /// Something was dropped before the first entry.
    pub(super) gap_before_first: bool,
    /// Nothing is added any more.
    pub(super) closed: bool,
    pub(super) receiver_gone: bool,
    /// Entries that ever came, and that ever went.
    pub(super) put: u64,
    taken: u64,
    /// When some entries came, by their number; the oldest first.
    stamps: VecDeque<(u64, Stopwatch)>,
    /// The number of the next entry to be noted.
    pub(super) stamp_due: u64,
    /// The receiver sleeps until something is there.
    pub(super) receiver_waits: bool,
    /// The thread that the queue's bell calls sleeps until something is there.
    pub(super) owner_waits: bool,
    /// That thread was called, whether or not something is there.
    pub(super) owner_called: bool,
    /// A sender on a thread of its own sleeps until there is room.
    pub(super) sender_waits: bool,
}

/// The engine's thread has ended; nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine takes no more records")]
pub struct IntakeClosed;

/// Makes a queue.
pub fn intake<C>(
    limits: IntakeLimits,
    metrics: IntakeMetrics,
) -> (IntakeSender<C>, IntakeReceiver<C>) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        filled: Condvar::new(),
        room: Notify::new(),
        emptied: Condvar::new(),
        metrics,
    });
    shared.metrics.capacity.add(i64::try_from(limits.records_max).unwrap_or(i64::MAX));
    let receiver = IntakeReceiver::new(Arc::clone(&shared));
    (IntakeSender::new(shared, limits), receiver)
}

impl<C> Shared<C> {
    /// Adds an entry, and counts it. Wakes no thread.
    pub(super) fn put(&self, queue: &mut Queue<C>, arrival: Arrival<C>) {
        match &arrival {
            Arrival::Record(record) => {
                if record.after_gap {
                    self.metrics.gaps.inc();
                }
                self.metrics.received.inc();
                self.metrics.waiting.inc();
            }
            Arrival::Gap => self.metrics.gaps.inc(),
            Arrival::Command(_) => {}
        }
        queue.bytes += arrival.bytes();
        if queue.put >= queue.stamp_due {
            queue.stamps.push_back((queue.put, Stopwatch::start()));
            queue.stamp_due = queue.put + STAMP_EVERY;
        }
        queue.put += 1;
        queue.waiting.push_back(arrival);
    }

    /// Unlocks the queue and wakes the thread that waits for entries, if one does: a call to the
    /// system for each record costs more than the record. A thread that was woken before the lock
    /// is free would stop at it.
    pub(super) fn wake(&self, mut queue: MutexGuard<'_, Queue<C>>) {
        let receiver_waits = std::mem::take(&mut queue.receiver_waits);
        let owner_waits = std::mem::take(&mut queue.owner_waits);
        drop(queue);
        if receiver_waits || owner_waits {
            self.filled.notify_all();
        }
    }

    /// Takes the oldest entry out.
    pub(super) fn take(&self, queue: &mut Queue<C>) -> Option<Arrival<C>> {
        let arrival = queue.waiting.pop_front()?;
        queue.bytes -= arrival.bytes();
        queue.taken += 1;
        if matches!(arrival, Arrival::Record(_)) {
            self.metrics.waiting.dec();
        }
        Some(arrival)
    }

    /// Drops the oldest entry that is no command, and leaves a gap in front: no record stands
    /// between the two. Tells whether there was one.
    pub(super) fn drop_oldest(&self, queue: &mut Queue<C>) -> bool {
        let place = queue.waiting.iter().position(|entry| !matches!(entry, Arrival::Command(_)));
        let Some(dropped) = place.and_then(|place| queue.waiting.remove(place)) else {
            return false;
        };
        queue.bytes -= dropped.bytes();
        queue.taken += 1;
        queue.forget_stamps();
        if matches!(dropped, Arrival::Record(_)) {
            self.metrics.waiting.dec();
            self.metrics.dropped.inc();
            if !queue.gap_before_first {
                self.metrics.gaps.inc();
            }
        }
        queue.gap_before_first = true;
        true
    }

    pub(super) fn command(&self, command: C) -> Result<(), IntakeClosed> {
        let mut queue = self.lock();
        if queue.closed || queue.receiver_gone {
            return Err(IntakeClosed);
        }
        self.put(&mut queue, Arrival::Command(command));
        self.wake(queue);
        Ok(())
    }

    /// Nothing is added any more; what waits is still taken.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        self.wake(queue);
    }

    /// Unlocks the queue and wakes senders that wait for room.
    pub(super) fn made_room(&self, mut queue: MutexGuard<'_, Queue<C>>) {
        let sender_waits = std::mem::take(&mut queue.sender_waits);
        drop(queue);
        self.room.notify_one();
        if sender_waits {
            self.emptied.notify_all();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        // A panic while the lock is held leaves a queue that is still whole: every change is one
        // call. Its thread's death is reported by whoever joins it.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<C> Default for Queue<C> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            gap_before_first: false,
            closed: false,
            receiver_gone: false,
            put: 0,
            taken: 0,
            stamps: VecDeque::new(),
            stamp_due: 0,
            receiver_waits: false,
            owner_waits: false,
            owner_called: false,
            sender_waits: false,
        }
    }
}

impl<C> Queue<C> {
    /// Whether there is nothing to take, and there may be later.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.gap_before_first && !self.closed
    }

    /// Whether `bytes` more have no room; an empty queue always has.
    pub(super) fn is_full(&self, limits: &IntakeLimits, bytes: usize) -> bool {
        let over = self.bytes + bytes > limits.bytes_max;
        !self.waiting.is_empty() && (over || self.waiting.len() >= limits.records_max)
    }

    /// When the first of those came that were taken since the last call, as far as it was noted.
    pub(super) fn forget_stamps(&mut self) -> Option<Stopwatch> {
        let mut oldest = None;
        while self.stamps.front().is_some_and(|(number, _)| *number < self.taken) {
            let stamp = self.stamps.pop_front().map(|(_, arrived)| arrived);
            oldest = oldest.or(stamp);
        }
        oldest
    }
}
