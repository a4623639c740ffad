//! Taking one partition over: its stored states, and the offset to read from.
//!
//! Owns the way from a changelog to the state of a shard. Promises that states go with the
//! records that follow them, and that the states of a partition whose records are lost are ended
//! in the changelog as well. Never reads a record of the input.

use std::sync::mpsc::channel;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::{CLUSTER_PATIENCE, COMMIT_POLL_TIMEOUT, SHARD_TIMEOUT, Session, engine_gone};
use crate::adapters::kafka::partitions::{PartitionName, Start, decide_start};
use crate::adapters::kafka::publisher::StatePlace;
use crate::adapters::kafka::topics::ANSWER_TIMEOUT;
use crate::adapters::kafka::{KafkaError, SessionError, restore};
use crate::adapters::kafka_config::Delivery;
use crate::core::domain::PartitionId;
use crate::ops::clock::{Stopwatch, pause};
use crate::shard::command::Command;
use crate::shard::warn_of_cold_states;

impl Session<'_> {
    /// Restores a partition's states and returns the offset to read from.
    pub(super) fn take_over(
        &mut self,
        id: PartitionId,
        committed: Option<i64>,
    ) -> Result<i64, SessionError> {
        let config = &self.source.config;
        self.source.pulse.wait(CLUSTER_PATIENCE.max(2 * config.restore_timeout));
        let name = self.name(id)?;
        let PartitionName { topic, number } = &name;
        let (low, high) = self
            .observer
            .fetch_watermarks(topic, *number, ANSWER_TIMEOUT)
            .map_err(SessionError::while_doing("ask for the input's ends"))?;
        let place = StatePlace { topic: config.changelog_of(topic), number: *number };
        let stored =
            restore::read_states(&self.reader, &self.observer, &place, config.restore_timeout)?;
        let start = decide_start(committed, (low, high), config.start, config.lost_offset);
        let next = match start {
            Start::At(next) => {
                self.restore(id, &name, stored)?;
                next
            }
            Start::AtTime(time) => {
                self.restore(id, &name, stored)?;
                self.offset_at(&name, time)?.unwrap_or(high)
            }
            Start::Lost(next) => {
                self.source.metrics.lost_offset();
                warn!(
                    %topic, partition = number, ?committed, low, high, next,
                    "the committed offset is gone; the partition's symbols begin cold"
                );
                self.forget(&place, &stored)?;
                next
            }
            Start::Refused => {
                return Err(SessionError::Final(KafkaError::Setup(format!(
                    "{topic}[{number}]: offset {committed:?} is gone (the topic holds {low} to \
                     {high}) and kafka.on_lost_offset = \"fail\""
                ))));
            }
        };
        self.assigned.add(id, name, next);
        Ok(next)
    }

    fn restore(
        &self,
        id: PartitionId,
        name: &PartitionName,
        stored: Vec<(String, Bytes)>,
    ) -> Result<(), SessionError> {
        if stored.is_empty() {
            return Ok(());
        }
        let (answer, answers) = channel();
        self.shard(id)
            .command(Command::Restore { partition: id, stored, answer })
            .map_err(engine_gone)?;
        let restored = answers
            .recv_timeout(self.source.config.restore_timeout)
            .map_err(|_| SessionError::retry("the states were not restored in time"))?
            .map_err(SessionError::while_doing("restore states"))?;
        let PartitionName { topic, number } = name;
        let cold = restored.cold.len();
        self.source.metrics.restored(restored.symbol_count, cold);
        warn_of_cold_states(&restored.cold, Some((topic, *number)));
        info!(%topic, partition = number, symbols = restored.symbol_count, cold, "restored");
        Ok(())
    }

    /// Ends the stored states of a partition whose records are lost, so that no later start takes
    /// them for what came just before.
    fn forget(&self, place: &StatePlace, stored: &[(String, Bytes)]) -> Result<(), SessionError> {
        for (symbol, _) in stored {
            self.publisher.state(symbol, place, None);
        }
        // In a transaction they are committed with the first commit.
        if self.source.config.delivery == Delivery::AtLeastOnce {
            self.await_states()?;
        }
        Ok(())
    }

    fn await_states(&self) -> Result<(), SessionError> {
        let begun = Stopwatch::start();
        while !self.publisher.states_are_settled().map_err(SessionError::Retry)? {
            if begun.elapsed() > SHARD_TIMEOUT {
                return Err(SessionError::retry(
                    "the changelog did not take the ends of states in time",
                ));
            }
            pause(COMMIT_POLL_TIMEOUT);
        }
        Ok(())
    }

    /// The first offset at or after a time; `None` where all records are older.
    fn offset_at(&self, name: &PartitionName, time_ms: i64) -> Result<Option<i64>, SessionError> {
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(&name.topic, name.number, Offset::Offset(time_ms))
            .map_err(SessionError::while_doing("name a time"))?;
        let found = self
            .consumer
            .offsets_for_times(times, ANSWER_TIMEOUT)
            .map_err(SessionError::while_doing("look a time up"))?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }
}
