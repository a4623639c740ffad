//! The source's end of a queue, and the handles beside it.
//!
//! Owns the policy at a full queue as the source sees it: wait, drop the oldest, or give the record
//! back. Never takes a record out but to drop it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::limits::{IntakeLimits, WhenFull};
use super::queue::{IntakeClosed, Queue, Shared};
use super::record::{Arrival, Record};
use crate::core::domain::{Position, UnixNanos};
use crate::core::history::Origin;
use crate::ops::clock::wall_time;

/// The source's end; the queue closes when it is dropped.
pub struct IntakeSender<C> {
    shared: Arc<Shared<C>>,
    limits: IntakeLimits,
    /// The clock by which records are received, where what is delivered is received now.
    clock: Option<WallClock>,
}

/// Says what time it is, where that is known.
pub type WallClock = Arc<dyn Fn() -> Option<UnixNanos> + Send + Sync>;

/// Closes the queue from outside, for a source that cannot be interrupted.
pub struct IntakeCloser<C> {
    shared: Arc<Shared<C>>,
}

/// Sends commands from beside the source. It does not keep the queue open.
pub struct IntakeCommander<C> {
    shared: Arc<Shared<C>>,
}

impl<C> IntakeSender<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, limits: IntakeLimits) -> Self {
        Self { shared, limits, clock: None }
    }

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
        self.shared.wake(queue);
        Ok(())
    }

    /// As [`IntakeSender::offer`], for a caller that takes the records on its own thread: where
    /// nothing else waits and all of them have room, wakes no thread and returns `true`. The caller
    /// then takes them, or calls [`IntakeSender::wake`].
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub fn offer_here(&self, records: &mut VecDeque<Record>) -> Result<bool, IntakeClosed> {
        let mut queue = self.shared.lock();
        let mut is_alone = queue.is_idle();
        while let Some(record) = records.pop_front() {
            let record = self.stamped(record);
            if let Some(Arrival::Record(record)) =
                self.admit(&mut queue, Arrival::Record(record))?
            {
                records.push_front(record);
                is_alone = false;
                break;
            }
        }
        if !is_alone {
            self.shared.wake(queue);
        }
        Ok(is_alone)
    }

    /// Wakes the shard where it waits.
    pub fn wake(&self) {
        self.shared.wake(self.shared.lock());
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
        let full = |queue: &mut Queue<C>| {
            let ends = queue.closed || queue.receiver_gone;
            queue.sender_waits = !ends && queue.is_full(&self.limits, bytes);
            queue.sender_waits
        };
        let waited = self.shared.emptied.wait_timeout_while(queue, patience, full);
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0.sender_waits = false;
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
    pub fn command(&self, command: C) -> Result<(), IntakeClosed> {
        self.shared.command(command)
    }

    /// A handle for commands alone.
    pub fn commander(&self) -> IntakeCommander<C> {
        IntakeCommander { shared: Arc::clone(&self.shared) }
    }

    /// Delivers a record that was read before the word to stop came, beyond the limit if need be.
    pub fn last(&self, record: Record) {
        let record = self.stamped(record);
        let mut queue = self.shared.lock();
        if !(queue.closed || queue.receiver_gone) {
            self.shared.put(&mut queue, Arrival::Record(record));
            self.shared.wake(queue);
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
    pub fn closer(&self) -> IntakeCloser<C> {
        IntakeCloser { shared: Arc::clone(&self.shared) }
    }

    /// The same for a live feed: each record that has no place gets the time of its reception.
    #[must_use]
    pub fn live(self) -> Self {
        self.live_by(Arc::new(wall_time))
    }

    /// As [`IntakeSender::live`], by this clock.
    #[must_use]
    pub fn live_by(mut self, clock: WallClock) -> Self {
        self.clock = Some(clock);
        self
    }

    fn received(&self, bytes: Bytes, position: Option<Position>) -> Record {
        let received = self.clock.as_ref().and_then(|clock| clock());
        Record { bytes: self.trim(bytes), position, received, ..Record::default() }
    }

    /// A record as it is kept, with the time at which it was received where that is now. History
    /// was received at no time: when it is read says nothing about when its ticks happened.
    fn stamped(&self, record: Record) -> Record {
        let received = match record.origin {
            Origin::Live | Origin::Again => self.clock.as_ref().and_then(|clock| clock()),
            Origin::History(_) => None,
        };
        Record { bytes: self.trim(record.bytes), received, ..record }
    }

    /// Copies the head of a record that is too long, because a slice would keep the whole of it.
    fn trim(&self, record: Bytes) -> Bytes {
        let kept = self.limits.record_bytes_max.saturating_add(1);
        if record.len() > kept { Bytes::copy_from_slice(&record[..kept]) } else { record }
    }

    async fn push(&self, arrival: Arrival<C>) -> Result<(), IntakeClosed> {
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
    fn try_push(&self, arrival: &mut Option<Arrival<C>>) -> Result<bool, IntakeClosed> {
        let Some(next) = arrival.take() else { return Ok(true) };
        let mut queue = self.shared.lock();
        *arrival = self.admit(&mut queue, next)?;
        self.shared.wake(queue);
        Ok(arrival.is_none())
    }

    /// Puts an entry in by the policy, or gives it back where there is no room.
    fn admit(
        &self,
        queue: &mut Queue<C>,
        next: Arrival<C>,
    ) -> Result<Option<Arrival<C>>, IntakeClosed> {
        if queue.closed || queue.receiver_gone {
            return Err(IntakeClosed);
        }
        // History is there to be complete, and its source can wait.
        let is_history = matches!(&next, Arrival::Record(record) if record.is_history());
        while queue.is_full(&self.limits, next.bytes()) {
            match self.limits.when_full {
                WhenFull::Block => return Ok(Some(next)),
                WhenFull::DropOldest if is_history => return Ok(Some(next)),
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

// Not derived: that would ask for `C: Clone`.
impl<C> Clone for IntakeCommander<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C> IntakeCommander<C> {
    /// As [`IntakeSender::command`].
    ///
    /// # Errors
    /// [`IntakeClosed`] where nothing more is taken.
    pub fn command(&self, command: C) -> Result<(), IntakeClosed> {
        self.shared.command(command)
    }
}

impl<C> IntakeCloser<C> {
    /// Closes: what waits is still taken, and nothing is added.
    pub fn close(&self) {
        self.shared.close();
        self.shared.made_room(self.shared.lock());
    }
}

impl<C> Drop for IntakeSender<C> {
    fn drop(&mut self) {
        self.shared.close();
    }
}
