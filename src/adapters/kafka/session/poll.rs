//! From the consumer to the shards: polling, and what happens when there is no room.
//!
//! Owns the pause of all partitions and the record that is held back meanwhile. Promises that
//! a record is handed to the shard of its partition in the order of its offsets, and that one
//! without room is offered again before the next poll. Never decides which partitions are read.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, TopicPartitionList};
use tracing::debug;

use super::{COMMIT_POLL_TIMEOUT, Held, Session, engine_gone};
use crate::adapters::kafka::client;
use crate::adapters::kafka::partitions::{Assigned, shard_of};
use crate::adapters::kafka::{SessionError, gap};
use crate::intake::{IntakeSender, Record};
use crate::ops::clock::{Stopwatch, pause};
use crate::shard::command::Command;

/// How long one poll may hold the thread: the delay of everything else it does.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// How many records are taken between two looks at everything else.
const POLL_RECORDS_MAX: usize = 64;

/// How long a full shard may hold the thread before the partitions are paused: short waits are
/// ordinary back-pressure, and a pause throws away what was fetched.
const FULL_PATIENCE: Duration = Duration::from_millis(500);

/// How long a transaction without room may hold the thread before the partitions are paused. Its
/// commit is due at once, and the pace aims at less.
const PACE_PATIENCE: Duration = Duration::from_secs(3);

impl Session<'_> {
    pub(super) fn poll(&mut self) -> Result<(), SessionError> {
        if self.held.as_ref().is_some_and(|held| !held.is_paused) {
            pause(COMMIT_POLL_TIMEOUT);
            return Ok(());
        }
        let mut timeout = self.poll_timeout();
        // What has come already is taken in one go: what is looked after between two polls costs
        // more than a record.
        for _ in 0..POLL_RECORDS_MAX {
            if !self.poll_once(timeout)? || self.held.is_some() {
                break;
            }
            timeout = Duration::ZERO;
        }
        Ok(())
    }

    /// How long the thread may wait for a record: no longer than until a commit is due.
    fn poll_timeout(&self) -> Duration {
        match &self.commit {
            Some(commit) if commit.has_more() => return Duration::ZERO,
            Some(_) => return COMMIT_POLL_TIMEOUT,
            None if self.assignment.is_some() => return COMMIT_POLL_TIMEOUT,
            None => {}
        }
        let interval = self.source.config.commit_interval;
        interval.saturating_sub(self.idle.elapsed()).clamp(COMMIT_POLL_TIMEOUT, POLL_TIMEOUT)
    }

    /// Waits for one record, and hands it on. Returns whether one came.
    fn poll_once(&mut self, timeout: Duration) -> Result<bool, SessionError> {
        let Self { consumer, assigned, moved, .. } = self;
        match consumer.poll(timeout) {
            // Also what a poll says around a rebalance.
            None => consumer
                .context()
                .take_refusal()
                .map_or(Ok(false), |why| Err(SessionError::Refused(why))),
            Some(Ok(message)) => {
                *moved = Stopwatch::start();
                // A partition that was given away has its records read elsewhere.
                let Some(record) = record_of(assigned, &message) else { return Ok(true) };
                drop(message);
                self.offer(Held::new(record), FULL_PATIENCE)?;
                Ok(true)
            }
            Some(Err(error)) => match consumer.context().take_refusal() {
                Some(why) => Err(SessionError::Refused(why)),
                None if client::passes(&error) => {
                    debug!(%error, "the cluster is not reached; trying on");
                    Ok(false)
                }
                None => Err(SessionError::retry(format_args!("read the input: {error}"))),
            },
        }
    }

    /// Offers the record that had no room once more.
    pub(super) fn retry_held(&mut self) -> Result<(), SessionError> {
        let Some(held) = self.held.take() else { return Ok(()) };
        self.moved = Stopwatch::start();
        self.offer(held, POLL_TIMEOUT)
    }

    /// Hands a record to its shard, or holds it where there is no room.
    fn offer(&mut self, held: Held, patience: Duration) -> Result<(), SessionError> {
        let Held { record, since, is_paused } = held;
        let has_room = self.has_room();
        // The shards may wait for the commit that this thread moves on.
        let patience = if self.commit.is_some() { COMMIT_POLL_TIMEOUT } else { patience };
        let back = if has_room {
            hand_over(&self.source.shards, &mut self.assigned, record, patience)?
        } else {
            Some(record)
        };
        let Some(record) = back else {
            if let Some(pace) = &mut self.pace {
                pace.handed();
            }
            return if is_paused { self.resume_all() } else { Ok(()) };
        };
        self.held = Some(Held { record, since, is_paused });
        let limit = if has_room { FULL_PATIENCE } else { PACE_PATIENCE };
        if !is_paused && since.elapsed() >= limit {
            self.pause_all()?;
        }
        Ok(())
    }

    /// Whether the open transaction takes another record.
    fn has_room(&self) -> bool {
        self.pace.as_ref().is_none_or(|pace| pace.has_room())
    }

    /// Whether a record waits for the next transaction.
    pub(super) fn is_held_by_pace(&self) -> bool {
        self.held.is_some() && !self.has_room()
    }

    /// Lets go of a record of a partition that is given away: its next owner reads it again. One of
    /// a partition that stays is kept, because this consumer does not read it twice.
    pub(super) fn release_held(&mut self, list: &TopicPartitionList) -> Result<(), SessionError> {
        let Some(held) = &self.held else { return Ok(()) };
        let name = held.record.position.and_then(|position| self.table.name(position.partition));
        let stays =
            name.is_some_and(|name| list.find_partition(&name.topic, name.number).is_none());
        match self.held.take_if(|_| !stays) {
            Some(held) if held.is_paused => self.resume_all(),
            _ => Ok(()),
        }
    }

    fn resume_all(&self) -> Result<(), SessionError> {
        let list = self.assignment()?;
        self.consumer.resume(&list).map_err(SessionError::while_doing("resume partitions"))
    }

    /// Pauses all partitions until the record that is held has room.
    pub(super) fn pause_all(&mut self) -> Result<(), SessionError> {
        self.source.metrics.paused();
        if let Some(held) = &mut self.held {
            held.is_paused = true;
        }
        let list = self.assignment()?;
        self.consumer.pause(&list).map_err(SessionError::while_doing("pause partitions"))
    }

    pub(super) fn assignment(&self) -> Result<TopicPartitionList, SessionError> {
        self.consumer.assignment().map_err(SessionError::while_doing("ask for the assignment"))
    }
}

/// What a shard gets of a message; `None` where its partition is not ours any more.
fn record_of(assigned: &mut Assigned, message: &BorrowedMessage<'_>) -> Option<Record> {
    let position = assigned.place(message.topic(), message.partition(), message.offset())?;
    let bytes = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    let after_gap = gap::is_marked(message);
    let (received, origin) = (client::received(message), assigned.origin(position));
    let position = Some(position);
    Some(Record { bytes, position, received, after_gap, origin, ..Record::default() })
}

/// Hands a record to the shard of its partition, waiting for room no longer than `patience`;
/// returns it where there is none. It counts as read once its shard has it.
///
/// # Errors
/// [`SessionError::Final`] where the shard is gone.
pub fn hand_over(
    shards: &[IntakeSender<Command>],
    assigned: &mut Assigned,
    record: Record,
    patience: Duration,
) -> Result<Option<Record>, SessionError> {
    let Some(position) = record.position else { return Ok(None) };
    let received = record.received;
    let (_, shard) = shard_of(shards, position.partition);
    let back = shard.record_within(record, patience).map_err(engine_gone)?;
    if back.is_none() {
        assigned.delivered(position, received);
    }
    Ok(back)
}
