//! The bounded queue between a source and the engine's thread.
//!
//! Owns what waits for the engine, and the policy when it is full. Promises that
//! `received = taken + dropped + waiting` always, and that a drop is delivered as a gap at the
//! place where it happened. Never looks into a record.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::Notify;

use crate::config::WhenFull;

/// What a source delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// One record as it came.
    Record(Bytes),
    /// Records may be missing between those before and those after.
    Gap,
}

/// The source's end; the queue closes when it is dropped.
pub struct IntakeSender {
    shared: Arc<Shared>,
    capacity: usize,
    when_full: WhenFull,
}

/// The engine's end.
pub struct IntakeReceiver {
    shared: Arc<Shared>,
}

/// The metrics of the queue.
#[derive(Clone, Debug)]
pub struct IntakeMetrics {
    received: IntCounter,
    dropped: IntCounter,
    gaps: IntCounter,
    waiting: IntGauge,
}

/// A mutex and not a channel with an owner, because dropping the oldest entry needs both ends: the
/// sender takes it out. The lock is held for a push, or for moving one batch out.
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    room: Notify,
    metrics: IntakeMetrics,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arrival>,
    /// Something was dropped before the first entry.
    gap_before_first: bool,
    sender_gone: bool,
    receiver_gone: bool,
}

/// The engine's thread has ended; nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine takes no more records")]
pub struct IntakeClosed;

/// Makes a queue of at most `capacity` entries.
pub fn intake(
    capacity: usize,
    when_full: WhenFull,
    metrics: IntakeMetrics,
) -> (IntakeSender, IntakeReceiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        filled: Condvar::new(),
        room: Notify::new(),
        metrics,
    });
    (IntakeSender { shared: Arc::clone(&shared), capacity, when_full }, IntakeReceiver { shared })
}

impl IntakeMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            received: IntCounter::new(
                "tickcast_records_received_total",
                "Records that the source delivered.",
            )?,
            dropped: IntCounter::new(
                "tickcast_records_dropped_total",
                "Records dropped because the queue was full (source.when_full = drop_oldest).",
            )?,
            gaps: IntCounter::new(
                "tickcast_gaps_total",
                "Places at which records may be missing: reconnects and drops.",
            )?,
            waiting: IntGauge::new("tickcast_records_waiting", "Records in the queue.")?,
        };
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.gaps.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        Ok(metrics)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held leaves a queue that is still whole: every change is one
        // call. Its thread's death is reported by whoever joins it.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl IntakeSender {
    /// Delivers a record, waiting for room or dropping the oldest one by the policy.
    ///
    /// # Errors
    /// [`IntakeClosed`] where the receiver is gone.
    pub async fn record(&self, record: Bytes) -> Result<(), IntakeClosed> {
        self.shared.metrics.received.inc();
        self.push(Arrival::Record(record)).await
    }

    /// Tells that records may be missing here.
    ///
    /// # Errors
    /// [`IntakeClosed`] where the receiver is gone.
    pub async fn gap(&self) -> Result<(), IntakeClosed> {
        self.shared.metrics.gaps.inc();
        self.push(Arrival::Gap).await
    }

    async fn push(&self, arrival: Arrival) -> Result<(), IntakeClosed> {
        let mut arrival = Some(arrival);
        loop {
            // Made before the look, so that room made in between is not missed.
            let room = self.shared.room.notified();
            if self.try_push(&mut arrival)? {
                return Ok(());
            }
            room.await;
        }
    }

    /// Pushes what is there, or tells that there is no room.
    fn try_push(&self, arrival: &mut Option<Arrival>) -> Result<bool, IntakeClosed> {
        let mut queue = self.shared.lock();
        if queue.receiver_gone {
            return Err(IntakeClosed);
        }
        if queue.waiting.len() >= self.capacity {
            match self.when_full {
                WhenFull::Block => return Ok(false),
                WhenFull::DropOldest => {
                    if let Some(Arrival::Record(_)) = queue.waiting.pop_front() {
                        self.shared.metrics.dropped.inc();
                        self.shared.metrics.waiting.dec();
                        if !queue.gap_before_first {
                            self.shared.metrics.gaps.inc();
                        }
                    }
                    queue.gap_before_first = true;
                }
            }
        }
        if let Some(arrival) = arrival.take() {
            if matches!(arrival, Arrival::Record(_)) {
                self.shared.metrics.waiting.inc();
            }
            queue.waiting.push_back(arrival);
        }
        drop(queue);
        self.shared.filled.notify_one();
        Ok(true)
    }
}

impl Drop for IntakeSender {
    fn drop(&mut self) {
        self.shared.lock().sender_gone = true;
        self.shared.filled.notify_one();
    }
}

impl IntakeReceiver {
    /// Waits until something is there, then appends at most `count_max` entries to `batch`.
    /// Returns whether there may be more: `false` once the sender is gone and nothing waits.
    pub fn drain(&self, batch: &mut Vec<Arrival>, count_max: usize) -> bool {
        let mut queue = self.shared.lock();
        while queue.waiting.is_empty() && !queue.gap_before_first && !queue.sender_gone {
            queue =
                self.shared.filled.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if std::mem::take(&mut queue.gap_before_first) {
            batch.push(Arrival::Gap);
        }
        let count = queue.waiting.len().min(count_max);
        let records = queue.waiting.drain(..count).inspect(|arrival| {
            if matches!(arrival, Arrival::Record(_)) {
                self.shared.metrics.waiting.dec();
            }
        });
        batch.extend(records);
        let open = !(queue.sender_gone && queue.waiting.is_empty());
        drop(queue);
        self.shared.room.notify_one();
        open
    }
}

impl Drop for IntakeReceiver {
    fn drop(&mut self) {
        self.shared.lock().receiver_gone = true;
        self.shared.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> IntakeMetrics {
        IntakeMetrics::register(&Registry::new()).unwrap()
    }

    fn record(index: u8) -> Bytes {
        Bytes::copy_from_slice(&[index])
    }

    #[tokio::test]
    async fn drop_oldest_keeps_the_newest_and_tells_the_gap() {
        let metrics = metrics();
        let (sender, receiver) = intake(2, WhenFull::DropOldest, metrics.clone());
        for index in 0..5 {
            sender.record(record(index)).await.unwrap();
        }
        let mut batch = Vec::new();
        assert!(receiver.drain(&mut batch, 10));
        let expected = [Arrival::Gap, Arrival::Record(record(3)), Arrival::Record(record(4))];
        assert_eq!(batch, expected);
        assert_eq!((metrics.received.get(), metrics.dropped.get()), (5, 3));
        assert_eq!((metrics.waiting.get(), metrics.gaps.get()), (0, 1));
    }

    #[tokio::test]
    async fn block_waits_for_room_and_loses_nothing() {
        let metrics = metrics();
        let (sender, receiver) = intake(2, WhenFull::Block, metrics.clone());
        let taker = std::thread::spawn(move || {
            let mut batch = Vec::new();
            while receiver.drain(&mut batch, 3) {}
            batch
        });
        for index in 0..100 {
            sender.record(record(index)).await.unwrap();
        }
        drop(sender);
        let batch = taker.join().unwrap();
        assert_eq!(batch, (0..100).map(|i| Arrival::Record(record(i))).collect::<Vec<_>>());
        assert_eq!((metrics.received.get(), metrics.dropped.get()), (100, 0));
    }

    #[tokio::test]
    async fn a_dropped_gap_is_still_a_gap() {
        let (sender, receiver) = intake(1, WhenFull::DropOldest, metrics());
        sender.gap().await.unwrap();
        sender.record(record(1)).await.unwrap();
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 10);
        assert_eq!(batch, [Arrival::Gap, Arrival::Record(record(1))]);
    }

    #[tokio::test]
    async fn both_ends_notice_that_the_other_is_gone() {
        let (sender, receiver) = intake(1, WhenFull::Block, metrics());
        sender.record(record(1)).await.unwrap();
        drop(receiver);
        assert_eq!(sender.record(record(2)).await, Err(IntakeClosed));
        let (sender, receiver) = intake(1, WhenFull::Block, metrics());
        drop(sender);
        assert!(!receiver.drain(&mut Vec::new(), 1));
    }
}
