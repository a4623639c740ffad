//! From one source to the queues of all shards.
//!
//! Owns the choice of the shard for a record. Promises that all records of one symbol go to one
//! shard, in order, so that a forecast does not depend on how many shards there are; and that a
//! gap reaches every shard at its place. Never changes a record.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::{IntakeClosed, IntakeCloser, IntakeCommander, IntakeSender, Record};
use crate::core::decode::symbol_of;
use crate::core::domain::Position;
use crate::ops::supervise::Pulse;

/// The most records that a source has taken on its own thread: with more of them the shard's thread
/// works while the source reads on.
const HERE_RECORDS_MAX: usize = 4;

/// Has the only shard take what waits for it on the calling thread; `false` where its own thread is
/// at work, which then takes it.
pub type TurnHere = Arc<dyn Fn() -> bool + Send + Sync>;

/// The source's end of the queues of all shards; at least one. They close when it is dropped.
pub struct Router<C> {
    intakes: Vec<IntakeSender<C>>,
    pulse: Pulse,
    /// How the only shard is lent to the source, where it is.
    turn_here: Option<TurnHere>,
}

/// Closes every queue from outside, for a source that cannot be interrupted.
pub struct RouterCloser<C> {
    closers: Vec<IntakeCloser<C>>,
}

impl<C> Router<C> {
    /// Routes to `intakes`, one per shard, of which there is at least one.
    pub fn new(intakes: Vec<IntakeSender<C>>) -> Self {
        assert!(!intakes.is_empty(), "there is no daemon without a shard");
        Self { intakes, pulse: Pulse::new(), turn_here: None }
    }

    /// Lends the only shard to the source, for the records that it hands to [`Router::serve`].
    pub fn lend(&mut self, turn_here: Option<TurnHere>) {
        self.turn_here = turn_here.filter(|_| self.intakes.len() == 1);
    }

    /// Delivers a record to the shard of its symbol, waiting for room or dropping that shard's
    /// oldest one by the policy.
    ///
    /// # Errors
    /// [`IntakeClosed`] where that shard takes nothing more.
    pub async fn record(&self, record: Bytes) -> Result<(), IntakeClosed> {
        self.deliver(record, None).await
    }

    /// As [`Router::record`], with the record's place in an input that can be read again.
    ///
    /// # Errors
    /// [`IntakeClosed`] where that shard takes nothing more.
    pub async fn record_at(&self, record: Bytes, position: Position) -> Result<(), IntakeClosed> {
        self.deliver(record, Some(position)).await
    }

    async fn deliver(&self, record: Bytes, position: Option<Position>) -> Result<(), IntakeClosed> {
        self.pulse.work();
        let delivered = self.intake(&record).record(record, position).await;
        self.pulse.rest();
        delivered
    }

    /// As [`Router::record`], with what else is known of it.
    ///
    /// # Errors
    /// [`IntakeClosed`] where that shard takes nothing more.
    pub async fn hand_on(&self, record: Record) -> Result<(), IntakeClosed> {
        self.pulse.work();
        let delivered = self.intake(&record.bytes).deliver(record).await;
        self.pulse.rest();
        delivered
    }

    /// Delivers records off the front until one has no room; with the policy to drop there is none
    /// such. Never waits.
    ///
    /// # Errors
    /// [`IntakeClosed`] where a shard takes nothing more.
    pub fn offer(&self, records: &mut VecDeque<Record>) -> Result<(), IntakeClosed> {
        self.pulse.work();
        let offered = self.offer_each(records);
        self.pulse.rest();
        offered
    }

    /// As [`Router::offer`], for a source that can spare its thread: few records for a shard that
    /// rests become forecasts before it returns. No other thread has to wake for them.
    ///
    /// # Errors
    /// [`IntakeClosed`] where a shard takes nothing more.
    pub fn serve(&self, records: &mut VecDeque<Record>) -> Result<(), IntakeClosed> {
        let (Some(turn_here), [only], 1..=HERE_RECORDS_MAX) =
            (&self.turn_here, &self.intakes[..], records.len())
        else {
            return self.offer(records);
        };
        self.pulse.work();
        let is_alone = only.offer_here(records);
        if is_alone == Ok(true) && !turn_here() {
            only.wake();
        }
        self.pulse.rest();
        is_alone.map(drop)
    }

    fn offer_each(&self, records: &mut VecDeque<Record>) -> Result<(), IntakeClosed> {
        if let [only] = &self.intakes[..] {
            return only.offer(records);
        }
        let mut one = VecDeque::with_capacity(1);
        while let Some(record) = records.pop_front() {
            let intake = self.intake(&record.bytes);
            one.push_back(record);
            intake.offer(&mut one)?;
            if let Some(record) = one.pop_front() {
                records.push_front(record);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Delivers a record that was read before the word to stop came, beyond the limit if need be.
    pub fn last(&self, record: Record) {
        self.intake(&record.bytes).last(record);
    }

    /// Tells every shard that records may be missing here.
    ///
    /// # Errors
    /// [`IntakeClosed`] where one takes nothing more.
    pub async fn gap(&self) -> Result<(), IntakeClosed> {
        for intake in &self.intakes {
            intake.gap().await?;
        }
        Ok(())
    }

    /// A handle that closes the queues while this end is stuck elsewhere.
    pub fn closer(&self) -> RouterCloser<C> {
        RouterCloser { closers: self.intakes.iter().map(IntakeSender::closer).collect() }
    }

    /// The source's sign of life: it has work from a record's arrival to its place in a queue.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Handles for commands to each shard.
    pub fn commanders(&self) -> Vec<IntakeCommander<C>> {
        self.intakes.iter().map(IntakeSender::commander).collect()
    }

    /// The queues themselves, for a source whose partitions are what it routes by.
    pub fn into_intakes(self) -> Vec<IntakeSender<C>> {
        self.intakes
    }

    /// The queue of the shard that owns the record's symbol. What has no symbol will be refused,
    /// and any shard can do that.
    fn intake(&self, record: &[u8]) -> &IntakeSender<C> {
        let count = self.intakes.len();
        let shard = if count == 1 { 0 } else { shard_of(record, count) };
        &self.intakes[shard]
    }
}

fn shard_of(record: &[u8], count: usize) -> usize {
    symbol_of(record).map_or(0, |symbol| shard_of_symbol(&symbol, count))
}

/// Which of `count` shards owns a symbol.
pub fn shard_of_symbol(symbol: &str, count: usize) -> usize {
    // Without a random key: the same symbols meet the same shards in every run, which makes a
    // measurement repeatable. A feed that aims all its symbols at one shard slows itself down.
    let mut hasher = DefaultHasher::new();
    symbol.hash(&mut hasher);
    // The remainder of a 64-bit hash fits whatever `count` fits.
    (hasher.finish() % count as u64) as usize
}

impl<C> RouterCloser<C> {
    /// Closes: what waits is still taken, and nothing is added.
    pub fn close(&self) {
        for closer in &self.closers {
            closer.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_keeps_its_shard_and_all_shards_have_work() {
        let tick =
            |symbol: usize, time: usize| format!(r#"{{"symbol":"S{symbol}","time":{time}}}"#);
        let mut symbols_of_shard = [0; 4];
        for symbol in 0..400 {
            let shard = shard_of(tick(symbol, 0).as_bytes(), 4);
            assert_eq!(shard_of(tick(symbol, 1).as_bytes(), 4), shard);
            symbols_of_shard[shard] += 1;
        }
        assert!(symbols_of_shard.iter().all(|count| *count > 60), "{symbols_of_shard:?}");
        assert_eq!(shard_of(b"no tick", 4), 0);
    }
}
