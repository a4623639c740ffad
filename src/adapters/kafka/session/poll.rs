//! From the consumer to the shards: polling, and what happens when a shard is full.
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

use super::{COMMIT_POLL_TIMEOUT, Session, engine_gone, shard_of};
use crate::adapters::kafka::client;
use crate::adapters::kafka::partitions::Assigned;
use crate::adapters::kafka::{SessionError, gap};
use crate::intake::{IntakeSender, Record};
use crate::ops::clock::Stopwatch;
use crate::shard::command::Command;

/// How long one poll may hold the thread: the delay of everything else it does.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// How long a full shard may hold the thread before the partitions are paused: short waits are
/// ordinary back-pressure, and a pause throws away what was fetched.
const FULL_PATIENCE: Duration = Duration::from_millis(500);

impl Session<'_> {
    pub(super) fn poll(&mut self) -> Result<(), SessionError> {
        let timeout = if self.commit.is_some() { COMMIT_POLL_TIMEOUT } else { POLL_TIMEOUT };
        let Self { consumer, assigned, source, held, moved, .. } = self;
        match consumer.poll(timeout) {
            // Also what a poll says around a rebalance.
            None => consumer
                .context()
                .take_refusal()
                .map_or(Ok(()), |why| Err(SessionError::Refused(why))),
            Some(Ok(message)) => {
                *moved = Stopwatch::start();
                *held = deliver(&source.shards, assigned, &message)?;
                if held.is_some() {
                    self.pause_all()?;
                }
                Ok(())
            }
            Some(Err(error)) => match consumer.context().take_refusal() {
                Some(why) => Err(SessionError::Refused(why)),
                None if client::passes(&error) => {
                    debug!(%error, "the cluster is not reached; trying on");
                    Ok(())
                }
                None => Err(SessionError::retry(format_args!("read the input: {error}"))),
            },
        }
    }

    /// Offers the record that had no room once more.
    pub(super) fn retry_held(&mut self) -> Result<(), SessionError> {
        let Some(record) = self.held.take() else { return Ok(()) };
        self.moved = Stopwatch::start();
        self.held = hand_over(&self.source.shards, &mut self.assigned, record, POLL_TIMEOUT)?;
        if self.held.is_none() {
            let list = self.assignment()?;
            self.consumer.resume(&list).map_err(SessionError::while_doing("resume partitions"))?;
        }
        Ok(())
    }

    pub(super) fn pause_all(&mut self) -> Result<(), SessionError> {
        self.source.metrics.paused();
        let list = self.assignment()?;
        self.consumer.pause(&list).map_err(SessionError::while_doing("pause partitions"))
    }

    pub(super) fn assignment(&self) -> Result<TopicPartitionList, SessionError> {
        self.consumer.assignment().map_err(SessionError::while_doing("ask for the assignment"))
    }
}

/// Hands a message to the shard of its partition; returns it where there is no room.
fn deliver(
    shards: &[IntakeSender<Command>],
    assigned: &mut Assigned,
    message: &BorrowedMessage<'_>,
) -> Result<Option<Record>, SessionError> {
    let place = assigned.place(message.topic(), message.partition(), message.offset());
    // A partition that was given away has its records read elsewhere.
    let Some(position) = place else { return Ok(None) };
    let bytes = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    let after_gap = gap::is_marked(message);
    let received = client::received(message);
    let record = Record { bytes, position: Some(position), received, after_gap };
    hand_over(shards, assigned, record, FULL_PATIENCE)
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
    let back = shard_of(shards, position.partition)
        .record_within(record, patience)
        .map_err(engine_gone)?;
    if back.is_none() {
        assigned.delivered(position, received);
    }
    Ok(back)
}
