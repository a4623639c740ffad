//! The bounded queue between a source and the engine's thread.
//!
//! Owns what waits for the engine, and the policy when it is full. Promises that
//! `received = taken + dropped + waiting` always, and that a drop is delivered as a gap at the
//! place where it happened. Never looks into a record.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::Notify;

use crate::app::config::WhenFull;
use crate::core::domain::{Position, UnixNanos};
use crate::ops::clock::{Stopwatch, wall_time};
use crate::shard::command::Command;

/// Every so many entries one has its arrival noted, and so has the first after each batch: enough
/// to tell how long the oldest of a batch has waited, without a look at the clock for each record.
const STAMP_EVERY: u64 = 64;

/// What a source delivers.
#[derive(Debug)]
pub enum Arrival {
    /// One record.
    Record(Record),
    /// Records may be missing between those before and those after.
    Gap,
    /// A question or an order to the shard.
    Command(Command),
}

/// One record as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes of one tick.
    pub bytes: Bytes,
    /// Its place, in an input that can be read again.
    pub position: Option<Position>,
    /// When it was received, by the clock at the source; none for a recording.
    pub received: Option<UnixNanos>,
    /// Whether records of its symbol may be missing right before it.
    pub after_gap: bool,
}

/// The bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeLimits {
    /// The most entries.
    pub records_max: usize,
    /// The most bytes over all entries; one entry always fits.
    pub bytes_max: usize,
    /// What is kept of one record: the decoder refuses a longer one by its length, so no more than
    /// one byte beyond this is worth its memory.
    pub record_bytes_max: usize,
    /// What happens when the queue is full.
    pub when_full: WhenFull,
}

/// The source's end; the queue closes when it is dropped.
pub struct IntakeSender {
    shared: Arc<Shared>,
    limits: IntakeLimits,
    /// Whether what is delivered is received now.
    is_live: bool,
}

/// Closes the queue from outside, for a source that cannot be interrupted.
pub struct IntakeCloser {
    shared: Arc<Shared>,
}

/// Looks into the queue from outside, to tell whether its reader has work.
pub struct IntakeWatch {
    shared: Arc<Shared>,
}

/// Sends commands from beside the source. It does not keep the queue open.
#[derive(Clone)]
pub struct IntakeCommander {
    shared: Arc<Shared>,
}

/// The engine's end.
pub struct IntakeReceiver {
    shared: Arc<Shared>,
    /// When the oldest entry of the last batch came.
    arrived: Cell<Option<Stopwatch>>,
}

/// The metrics of the queue.
#[derive(Clone, Debug)]
pub struct IntakeMetrics {
    received: IntCounter,
    dropped: IntCounter,
    gaps: IntCounter,
    waiting: IntGauge,
    capacity: IntGauge,
}

/// A mutex and not a channel with an owner, because dropping the oldest entry needs both ends: the
/// sender takes it out. The lock is held for a push, or for moving one batch out.
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Room was made: for senders on a runtime, and for those on a thread of their own.
    room: Notify,
    emptied: Condvar,
    metrics: IntakeMetrics,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arrival>,
    bytes: usize,
    /// Something was dropped before the first entry.
    gap_before_first: bool,
    /// Nothing is added any more.
    closed: bool,
    receiver_gone: bool,
    /// Entries that ever came, and that ever went.
    put: u64,
    taken: u64,
    /// When some entries came, by their number; the oldest first.
    stamps: VecDeque<(u64, Stopwatch)>,
    /// The number of the next entry to be noted.
    stamp_due: u64,
    /// The receiver sleeps until something is there.
    receiver_waits: bool,
}

/// The engine's thread has ended; nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine takes no more records")]
pub struct IntakeClosed;

/// Makes a queue.
pub fn intake(limits: IntakeLimits, metrics: IntakeMetrics) -> (IntakeSender, IntakeReceiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        filled: Condvar::new(),
        room: Notify::new(),
        emptied: Condvar::new(),
        metrics,
    });
    shared.metrics.capacity.add(i64::try_from(limits.records_max).unwrap_or(i64::MAX));
    let receiver = IntakeReceiver { shared: Arc::clone(&shared), arrived: Cell::new(None) };
    (IntakeSender { shared, limits, is_live: false }, receiver)
}

impl Arrival {
    fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => record.bytes.len(),
            Self::Gap | Self::Command(_) => 0,
        }
    }
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
                "Places at which records may be missing: reconnects, drops, marked records.",
            )?,
            waiting: IntGauge::new("tickcast_records_waiting", "Records in the queue.")?,
            capacity: IntGauge::new(
                "tickcast_records_capacity",
                "Records that the queues of all shards have room for.",
            )?,
        };
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.gaps.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.capacity.clone()))?;
        Ok(metrics)
    }
}

impl IntakeMetrics {
    /// Records received and dropped so far.
    pub fn received_and_dropped(&self) -> (u64, u64) {
        (self.received.get(), self.dropped.get())
    }
}

impl Shared {
    /// Adds an entry, and counts it.
    fn put(&self, queue: &mut Queue, arrival: Arrival) {
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
        self.wake(queue);
    }

    /// Wakes the receiver where it waits; a call to the system for each record would cost more
    /// than the record.
    fn wake(&self, queue: &mut Queue) {
        if std::mem::take(&mut queue.receiver_waits) {
            self.filled.notify_one();
        }
    }

    /// Takes the oldest entry out.
    fn take(&self, queue: &mut Queue) -> Option<Arrival> {
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
    fn drop_oldest(&self, queue: &mut Queue) -> bool {
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

    fn command(&self, command: Command) -> Result<(), IntakeClosed> {
        let mut queue = self.lock();
        if queue.closed || queue.receiver_gone {
            return Err(IntakeClosed);
        }
        self.put(&mut queue, Arrival::Command(command));
        Ok(())
    }

    fn made_room(&self) {
        self.room.notify_one();
        self.emptied.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held leaves a queue that is still whole: every change is one
        // call. Its thread's death is reported by whoever joins it.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl IntakeSender {
    /// Delivers a record, waiting for room or dropping the oldest one by the policy; with its place
    /// in an input that can be read again.
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub async fn record(
        &self,
        bytes: Bytes,
        position: Option<Position>,
    ) -> Result<(), IntakeClosed> {
        let record = self.received(bytes, position);
        self.push(Arrival::Record(record)).await
    }

    /// As [`IntakeSender::record`], with what else is known of it.
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub async fn deliver(&self, record: Record) -> Result<(), IntakeClosed> {
        let record = self.stamped(record);
        self.push(Arrival::Record(record)).await
    }

    /// Takes records off the front for as long as there is room, or all of them by the policy,
    /// without waiting: one look at the queue for many records.
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub fn offer(&self, records: &mut VecDeque<Record>) -> Result<(), IntakeClosed> {
        if records.is_empty() {
            return Ok(());
        }
        let mut queue = self.shared.lock();
        while let Some(record) = records.pop_front() {
            let record = self.stamped(record);
            if let Some(Arrival::Record(record)) =
                self.admit(&mut queue, Arrival::Record(record))?
            {
                records.push_front(record);
                break;
            }
        }
        Ok(())
    }

    /// As [`IntakeSender::record`], for a thread without a runtime, with the record's place; waits
    /// for room no longer than `patience`. Returns the record where there was none.
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub fn record_within(
        &self,
        record: Record,
        patience: Duration,
    ) -> Result<Option<Record>, IntakeClosed> {
        let record = Record { bytes: self.trim(record.bytes), ..record };
        let mut arrival = Some(Arrival::Record(record));
        if self.try_push(&mut arrival)? {
            return Ok(None);
        }
        let queue = self.shared.lock();
        let bytes = arrival.as_ref().map_or(0, Arrival::bytes);
        let full = |queue: &mut Queue| {
            !queue.closed && !queue.receiver_gone && queue.is_full(&self.limits, bytes)
        };
        let waited = self.shared.emptied.wait_timeout_while(queue, patience, full);
        drop(waited.unwrap_or_else(std::sync::PoisonError::into_inner));
        let _ = self.try_push(&mut arrival)?;
        Ok(arrival.and_then(|arrival| match arrival {
            Arrival::Record(record) => Some(record),
            Arrival::Gap | Arrival::Command(_) => None,
        }))
    }

    /// Puts a command behind everything that was delivered, beyond the limit if need be: there are
    /// few of them, and whoever sends one waits for its answer.
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub fn command(&self, command: Command) -> Result<(), IntakeClosed> {
        self.shared.command(command)
    }

    /// A handle for commands alone.
    pub fn commander(&self) -> IntakeCommander {
        IntakeCommander { shared: Arc::clone(&self.shared) }
    }

    /// Delivers a record that was read before the word to stop came, beyond the limit if need be.
    pub fn last(&self, record: Record) {
        let record = self.stamped(record);
        let mut queue = self.shared.lock();
        if !(queue.closed || queue.receiver_gone) {
            self.shared.put(&mut queue, Arrival::Record(record));
        }
    }

    /// Tells that records may be missing here.
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub async fn gap(&self) -> Result<(), IntakeClosed> {
        self.push(Arrival::Gap).await
    }

    /// A handle that closes the queue while this end is stuck elsewhere.
    pub fn closer(&self) -> IntakeCloser {
        IntakeCloser { shared: Arc::clone(&self.shared) }
    }

    /// The same for a live feed: each record that has no place gets the time of its reception.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.is_live = true;
        self
    }

    fn received(&self, bytes: Bytes, position: Option<Position>) -> Record {
        let received = self.is_live.then(wall_time).flatten();
        Record { bytes: self.trim(bytes), position, received, after_gap: false }
    }

    /// A record as it is kept, with the time at which it was received where that is now.
    fn stamped(&self, record: Record) -> Record {
        let Record { bytes, position, after_gap, .. } = record;
        Record { after_gap, ..self.received(bytes, position) }
    }

    /// Copies the head of a record that is too long, because a slice would keep the whole of it.
    fn trim(&self, record: Bytes) -> Bytes {
        let kept = self.limits.record_bytes_max.saturating_add(1);
        if record.len() > kept { Bytes::copy_from_slice(&record[..kept]) } else { record }
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
        let Some(next) = arrival.take() else { return Ok(true) };
        *arrival = self.admit(&mut self.shared.lock(), next)?;
        Ok(arrival.is_none())
    }

    /// Puts an entry in by the policy, or gives it back where there is no room.
    fn admit(&self, queue: &mut Queue, next: Arrival) -> Result<Option<Arrival>, IntakeClosed> {
        if queue.closed || queue.receiver_gone {
            return Err(IntakeClosed);
        }
        while queue.is_full(&self.limits, next.bytes()) {
            match self.limits.when_full {
                WhenFull::Block => return Ok(Some(next)),
                WhenFull::DropOldest => {
                    if !self.shared.drop_oldest(queue) {
                        // Nothing but commands, which wait for nobody.
                        break;
                    }
                }
            }
        }
        self.shared.put(queue, next);
        Ok(None)
    }
}

impl Queue {
    /// Whether `bytes` more have no room; an empty queue always has.
    fn is_full(&self, limits: &IntakeLimits, bytes: usize) -> bool {
        let over = self.bytes + bytes > limits.bytes_max;
        !self.waiting.is_empty() && (over || self.waiting.len() >= limits.records_max)
    }
}

impl Queue {
    /// When the first of those came that were taken since the last call, as far as it was noted.
    fn forget_stamps(&mut self) -> Option<Stopwatch> {
        let mut oldest = None;
        while self.stamps.front().is_some_and(|(number, _)| *number < self.taken) {
            let stamp = self.stamps.pop_front().map(|(_, arrived)| arrived);
            oldest = oldest.or(stamp);
        }
        oldest
    }
}

impl IntakeWatch {
    /// Whether something waits.
    pub fn has_waiting(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }
}

impl IntakeCommander {
    /// As [`IntakeSender::command`].
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub fn command(&self, command: Command) -> Result<(), IntakeClosed> {
        self.shared.command(command)
    }
}

impl IntakeCloser {
    /// Closes: what waits is still taken, and nothing is added.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        self.shared.made_room();
    }
}

impl Drop for IntakeSender {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }
}

impl IntakeReceiver {
    /// Waits until something is there, then appends at most `count_max` entries to `batch`.
    /// Returns whether there may be more: `false` once the queue is closed and empty.
    pub fn drain(&self, batch: &mut Vec<Arrival>, count_max: usize) -> bool {
        self.drain_within(batch, count_max, None)
    }

    /// As [`IntakeReceiver::drain`], and waits no longer than `patience`, where there is one: then
    /// nothing may have come.
    pub fn drain_within(
        &self,
        batch: &mut Vec<Arrival>,
        count_max: usize,
        patience: Option<Duration>,
    ) -> bool {
        let queue = self.shared.lock();
        let is_idle = |queue: &mut Queue| {
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
}

impl IntakeReceiver {
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
    pub fn watch(&self) -> IntakeWatch {
        IntakeWatch { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for IntakeReceiver {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.receiver_gone = true;
        // Whoever waits for an answer to one of these must not wait for ever.
        queue.waiting.retain(|entry| !matches!(entry, Arrival::Command(_)));
        drop(queue);
        self.shared.made_room();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::PartitionId;

    fn metrics() -> IntakeMetrics {
        IntakeMetrics::register(&Registry::new()).unwrap()
    }

    fn limits(records_max: usize, when_full: WhenFull) -> IntakeLimits {
        IntakeLimits { records_max, bytes_max: 1000, record_bytes_max: 100, when_full }
    }

    fn record(index: u8) -> Bytes {
        Bytes::copy_from_slice(&[index])
    }

    /// What came out: the first byte and the length of each record, `None` for a gap.
    fn seen(batch: &[Arrival]) -> Vec<Option<(u8, usize)>> {
        let see = |arrival: &Arrival| match arrival {
            Arrival::Record(record) => Some((record.bytes[0], record.bytes.len())),
            Arrival::Gap => None,
            Arrival::Command(_) => panic!("no command was sent"),
        };
        batch.iter().map(see).collect()
    }

    #[tokio::test]
    async fn drop_oldest_keeps_the_newest_and_tells_the_gap() {
        let metrics = metrics();
        let (sender, receiver) = intake(limits(2, WhenFull::DropOldest), metrics.clone());
        for index in 0..5 {
            sender.record(record(index), None).await.unwrap();
        }
        let mut batch = Vec::new();
        assert!(receiver.drain(&mut batch, 10));
        assert_eq!(seen(&batch), [None, Some((3, 1)), Some((4, 1))]);
        assert_eq!((metrics.received.get(), metrics.dropped.get()), (5, 3));
        assert_eq!((metrics.waiting.get(), metrics.gaps.get()), (0, 1));
    }

    #[tokio::test]
    async fn block_waits_for_room_and_loses_nothing() {
        let metrics = metrics();
        let (sender, receiver) = intake(limits(2, WhenFull::Block), metrics.clone());
        let taker = std::thread::spawn(move || {
            let mut batch = Vec::new();
            while receiver.drain(&mut batch, 3) {}
            batch
        });
        for index in 0..100 {
            sender.record(record(index), None).await.unwrap();
        }
        drop(sender);
        let batch = taker.join().unwrap();
        assert_eq!(seen(&batch), (0..100).map(|index| Some((index, 1))).collect::<Vec<_>>());
        assert_eq!((metrics.received.get(), metrics.dropped.get()), (100, 0));
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_long_records_are_cut() {
        let metrics = metrics();
        let (sender, receiver) = intake(limits(1000, WhenFull::DropOldest), metrics.clone());
        for _ in 0..20 {
            sender.record(Bytes::from(vec![b'x'; 5000]), None).await.unwrap();
        }
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 1000);
        assert_eq!(batch.len(), 1 + 9, "a gap and nine records of 101 bytes");
        assert_eq!(seen(&batch)[1], Some((b'x', 101)));
        assert_eq!(metrics.received_and_dropped(), (20, 11));
    }

    #[tokio::test]
    async fn a_closed_queue_is_drained_and_takes_nothing_more() {
        let (sender, receiver) = intake(limits(1, WhenFull::Block), metrics());
        sender.record(record(1), None).await.unwrap();
        sender.last(Record { bytes: record(2), position: None, received: None, after_gap: false });
        sender.closer().close();
        assert_eq!(sender.record(record(3), None).await, Err(IntakeClosed));
        let mut batch = Vec::new();
        assert!(!receiver.drain(&mut batch, 10));
        assert_eq!(seen(&batch), [Some((1, 1)), Some((2, 1))]);
    }

    #[tokio::test]
    async fn a_dropped_gap_is_still_a_gap() {
        let (sender, receiver) = intake(limits(1, WhenFull::DropOldest), metrics());
        sender.gap().await.unwrap();
        sender.record(record(1), None).await.unwrap();
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 10);
        assert_eq!(seen(&batch), [None, Some((1, 1))]);
    }

    #[tokio::test]
    async fn both_ends_notice_that_the_other_is_gone() {
        let (sender, receiver) = intake(limits(1, WhenFull::Block), metrics());
        sender.record(record(1), None).await.unwrap();
        drop(receiver);
        assert_eq!(sender.record(record(2), None).await, Err(IntakeClosed));
        let (sender, receiver) = intake(limits(1, WhenFull::Block), metrics());
        drop(sender);
        assert!(!receiver.drain(&mut Vec::new(), 1));
    }

    #[tokio::test]
    async fn a_command_is_never_dropped_and_the_gap_stands_in_front_of_it() {
        let metrics = metrics();
        let (sender, receiver) = intake(limits(2, WhenFull::DropOldest), metrics.clone());
        let (answer, answered) = std::sync::mpsc::channel();
        for index in 0..2 {
            sender.record(record(index), None).await.unwrap();
            sender.commander().command(Command::Clear { answer: answer.clone() }).unwrap();
        }
        sender.record(record(2), None).await.unwrap();
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 10);
        let kinds: Vec<_> = batch
            .iter()
            .map(|arrival| match arrival {
                Arrival::Record(record) => record.bytes[0].to_string(),
                Arrival::Gap => "gap".to_owned(),
                Arrival::Command(_) => "command".to_owned(),
            })
            .collect();
        assert_eq!(kinds, ["gap", "command", "command", "2"]);
        assert_eq!((metrics.received.get(), metrics.dropped.get()), (3, 2));
        assert_eq!((metrics.waiting.get(), metrics.gaps.get()), (0, 1));
        // One that nobody will take is answered by its end.
        sender.command(Command::Clear { answer }).unwrap();
        drop((batch, receiver));
        assert!(answered.recv().is_err());
    }

    #[test]
    fn a_thread_without_a_runtime_waits_for_room_and_gets_its_record_back() {
        let (sender, receiver) = intake(limits(1, WhenFull::Block), metrics());
        let position = |offset| Some(Position { partition: PartitionId(0), offset });
        let with = |offset| Record {
            bytes: record(offset as u8),
            position: position(offset),
            received: None,
            after_gap: false,
        };
        assert_eq!(sender.record_within(with(1), Duration::ZERO), Ok(None));
        let back = sender.record_within(with(2), Duration::from_millis(1)).unwrap();
        assert_eq!(back, Some(with(2)));
        let taker = std::thread::spawn(move || {
            let mut batch = Vec::new();
            while receiver.drain(&mut batch, 1) {}
            batch
        });
        assert_eq!(sender.record_within(with(2), Duration::from_secs(60)), Ok(None));
        // Commands go beyond the limit.
        let (answer, answered) = std::sync::mpsc::channel();
        sender.command(Command::Clear { answer }).unwrap();
        drop(sender);
        let batch = taker.join().unwrap();
        let [Arrival::Record(first), Arrival::Record(second), Arrival::Command(_)] = &batch[..]
        else {
            panic!("{batch:?}")
        };
        assert_eq!((first.position, second.position), (position(1), position(2)));
        drop(batch);
        assert!(answered.recv().is_err(), "nobody answered");
    }
}
