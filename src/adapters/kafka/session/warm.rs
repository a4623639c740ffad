//! Warming the symbols of a partition from what its topic holds before the first live record.
//!
//! Owns the way of these records to their shard. Promises that they are all in the shard's states
//! before anything live is read, or that none of them is; that the limits of time and number hold;
//! and that nothing is published or committed on the way. Never decides which partitions need it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset};
use tracing::{info, warn};

use super::{CLUSTER_PATIENCE, SERVE_EVERY, Session, engine_gone};
use crate::adapters::kafka::history::Range;
use crate::adapters::kafka::partitions::PartitionName;
use crate::adapters::kafka::restore::{self, PROGRESS_EVERY, STABLE_PAUSE};
use crate::adapters::kafka::{SessionError, client, gap};
use crate::adapters::kafka_config::Delivery;
use crate::core::domain::{DurationNanos, PartitionId, Position};
use crate::core::history::{Origin, Seam};
use crate::intake::Record;
use crate::ops::clock::{Stopwatch, pause};
use crate::shard::command::Command;

/// How many records a shard is given before it is waited for: what it has still to do when the time
/// is over, or when the process has to stop.
const RECORDS_AT_ONCE: usize = 1024;

/// How long one wait for a record, for room or for the shard lasts.
const TURN: Duration = Duration::from_millis(50);

/// How the records of a topic adjoin its live ones: offsets leave nothing out, and a record says
/// nothing of the time behind it.
const SEAM: Seam = Seam { is_joined: true, covers: DurationNanos::ZERO };

/// How the warming of a partition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warmed {
    /// Everything that there is to read is in the states of its shard.
    Whole,
    /// It took too long. The shard knows nothing of the partition.
    Late,
    /// The session was asked to stop. The shard knows nothing of the partition.
    Stopped,
}

/// A partition that is being warmed.
struct Warming<'n> {
    id: PartitionId,
    name: &'n PartitionName,
    range: Range,
    /// The offset of the record to come.
    at: i64,
    records: u64,
    begun: Stopwatch,
    limit: Duration,
    logged: Stopwatch,
    served: Stopwatch,
}

impl Session<'_> {
    /// Warms the symbols of a partition that begins at the first of these offsets and is read live
    /// from the second one on.
    pub(super) fn warm(
        &mut self,
        id: PartitionId,
        name: &PartitionName,
        (low, next): (i64, i64),
    ) -> Result<Warmed, SessionError> {
        let Some(range) = self.history_of(name, low, next)? else { return Ok(Warmed::Whole) };
        if self.source.config.delivery == Delivery::ExactlyOnce {
            // What the open transaction holds must not wait: the broker would abort it.
            self.commit_now()?;
        }
        let PartitionName { topic, number } = name;
        let Range { from, to, .. } = range;
        self.source
            .ready
            .not_ready(format!("warming {topic}[{number}] from offset {from} to {to}"));
        let mut warming = Warming {
            id,
            name,
            range,
            at: from,
            records: 0,
            begun: Stopwatch::start(),
            limit: self.history_limit(),
            logged: Stopwatch::start(),
            served: Stopwatch::start(),
        };
        let warmed = self.stream(&mut warming)?;
        self.reader.unassign().map_err(SessionError::while_doing("end reading history"))?;
        let Warming { at, records, begun, limit, .. } = warming;
        self.source.metrics.history_took(begun.elapsed());
        match warmed {
            Warmed::Whole => {
                let seconds = begun.elapsed().as_secs_f64();
                info!(%topic, partition = number, records, seconds, "warmed from the topic");
            }
            Warmed::Late => {
                warn!(
                    %topic, partition = number, at, from, to, seconds = limit.as_secs_f64(),
                    "the history was not read in time, so the partition's symbols begin cold: \
                     raise kafka.restore_ms_max and max.poll.interval.ms, or lower kafka.history \
                     or kafka.history_records_max"
                );
                self.evict(id)?;
            }
            Warmed::Stopped => self.evict(id)?,
        }
        // What the shard shows of these symbols is settled now, also where they begin cold.
        self.shard(id).command(Command::EndHistory { answer: None }).map_err(engine_gone)?;
        self.is_warmed = true;
        Ok(warmed)
    }

    /// The records that are read before the first live one; `None` where there are none, or where
    /// none are wanted. Says which, and what is left out.
    fn history_of(
        &self,
        name: &PartitionName,
        low: i64,
        next: i64,
    ) -> Result<Option<Range>, SessionError> {
        let config = &self.source.config;
        let Some(span_ms) = config.history.span_ms(&self.source.need) else { return Ok(None) };
        if low >= next {
            return Ok(None);
        }
        self.source.pulse.wait(CLUSTER_PATIENCE);
        let newest = restore::newest_time_before(&self.reader, name, low, next)?;
        let wanted = match newest {
            // Negative times are words of the protocol.
            Some(time) => self.offset_at(name, time.saturating_sub(span_ms).max(0))?,
            None => None,
        };
        // Records without timestamps are all wanted.
        let wanted = wanted.unwrap_or(low);
        let Some(range) = Range::of(wanted, low, next, config.history_records_max) else {
            return Ok(None);
        };
        let PartitionName { topic, number } = name;
        let Range { from, to, left_out } = range;
        if left_out > 0 {
            warn!(
                %topic, partition = number, from, to, left_out,
                "kafka.history_records_max leaves the oldest records of the history out: the first \
                 forecasts may come later, or rest on less; raise it if they do"
            );
        }
        // Older records may never have been there, or retention has removed them.
        let extent = if wanted <= low && left_out == 0 { ", from its first record on" } else { "" };
        info!(
            %topic, partition = number, from, to, history = %config.history,
            "warming symbols from the topic{extent}"
        );
        Ok(Some(range))
    }

    /// How long a partition may take: the group waits no longer than its poll interval for all of
    /// them together.
    fn history_limit(&self) -> Duration {
        let config = &self.source.config;
        let of_poll = client::poll_interval(config) * 3 / 4;
        config.restore_timeout.min(of_poll.saturating_sub(self.assigning.elapsed()))
    }

    /// Hands the records of a range to their shard.
    fn stream(&self, warming: &mut Warming<'_>) -> Result<Warmed, SessionError> {
        let PartitionName { topic, number } = warming.name;
        let to = warming.range.to;
        loop {
            // Only what is decided is read. Behind that may lie transactions that are still open.
            let is_stable = restore::stable_end(&self.reader, topic, *number)? >= to;
            restore::read_from(&self.reader, topic, *number, Offset::Offset(warming.at))?;
            if let Some(ended) = self.read_on(warming)? {
                return Ok(ended);
            }
            if is_stable || warming.at >= to {
                return Ok(self.await_shard(warming)?.unwrap_or(Warmed::Whole));
            }
            pause(STABLE_PAUSE);
        }
    }

    /// Reads up to the end of the range, or of what is decided. Returns why it ended before.
    fn read_on(&self, warming: &mut Warming<'_>) -> Result<Option<Warmed>, SessionError> {
        while warming.at < warming.range.to {
            if let Some(ended) = self.interruption(warming) {
                return Ok(Some(ended));
            }
            match self.reader.poll(TURN) {
                None => {}
                Some(Ok(message)) => {
                    let offset = message.offset();
                    if offset >= warming.range.to {
                        warming.at = warming.range.to;
                        break;
                    }
                    let record = history_record(warming.id, &message);
                    drop(message);
                    if let Some(ended) = self.hand_history(warming, record)? {
                        return Ok(Some(ended));
                    }
                    warming.at = offset + 1;
                }
                // The last places may be held by markers of transactions, which are no records.
                Some(Err(ClientError::PartitionEOF(_))) => break,
                Some(Err(error)) if client::passes(&error) => {}
                Some(Err(error)) => {
                    return Err(SessionError::retry(format_args!("read the history: {error}")));
                }
            }
        }
        Ok(None)
    }

    /// Hands a record to its shard as soon as it has room.
    fn hand_history(
        &self,
        warming: &mut Warming<'_>,
        record: Record,
    ) -> Result<Option<Warmed>, SessionError> {
        let mut held = Some(record);
        while let Some(record) = held {
            held = self.shard(warming.id).record_within(record, TURN).map_err(engine_gone)?;
            if held.is_some()
                && let Some(ended) = self.interruption(warming)
            {
                return Ok(Some(ended));
            }
        }
        self.source.metrics.history_record();
        warming.records += 1;
        match warming.records % RECORDS_AT_ONCE as u64 {
            0 => self.await_shard(warming),
            _ => Ok(None),
        }
    }

    /// Waits until the shard has taken everything that it was given.
    fn await_shard(&self, warming: &mut Warming<'_>) -> Result<Option<Warmed>, SessionError> {
        // To restore nothing changes nothing, and is answered behind the records before it.
        let (partition, (answer, answers)) = (warming.id, channel());
        self.shard(partition)
            .command(Command::Restore { partition, stored: Vec::new(), answer })
            .map_err(engine_gone)?;
        loop {
            match answers.recv_timeout(TURN) {
                Ok(answered) => {
                    answered.map_err(SessionError::while_doing("warm symbols"))?;
                    return Ok(None);
                }
                Err(error @ RecvTimeoutError::Disconnected) => return Err(engine_gone(error)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(ended) = self.interruption(warming) {
                return Ok(Some(ended));
            }
        }
    }

    /// Whether the warming has to end, and why. Keeps the process informed while it goes on.
    fn interruption(&self, warming: &mut Warming<'_>) -> Option<Warmed> {
        self.source.pulse.wait(CLUSTER_PATIENCE);
        if *self.stop.borrow() {
            return Some(Warmed::Stopped);
        }
        if warming.begun.elapsed() > warming.limit {
            return Some(Warmed::Late);
        }
        if warming.served.elapsed() > SERVE_EVERY {
            warming.served = Stopwatch::start();
            client::serve(&self.observer);
        }
        if warming.logged.elapsed() > PROGRESS_EVERY {
            warming.logged = Stopwatch::start();
            let PartitionName { topic, number } = warming.name;
            info!(%topic, partition = number, at = warming.at, end = warming.range.to, "warming");
        }
        None
    }
}

/// What a shard gets of a message of history. All that is known of it is as it was when it was
/// live, so that the same becomes of it.
fn history_record(partition: PartitionId, message: &BorrowedMessage<'_>) -> Record {
    Record {
        bytes: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        position: Some(Position { partition, offset: message.offset() }),
        received: client::received(message),
        after_gap: gap::is_marked(message),
        origin: Origin::History(SEAM),
        ..Record::default()
    }
}
