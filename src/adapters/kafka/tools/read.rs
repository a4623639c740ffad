//! Reading a topic: all partitions, without a group.
//!
//! Owns a consumer. Promises that only committed records come, that a partition's records come in
//! their order, and for [`TopicRecords`] that all records between two places come in the one order
//! that `merge` owns, with bounded memory. Never commits an offset.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::merge::Merge;
use super::{is_setup, words};
use crate::adapters::kafka::client::{self, Observer};
use crate::adapters::kafka::topics::{self, ANSWER_TIMEOUT};
use crate::adapters::kafka::{SessionError, gap};
use crate::adapters::kafka_config::{ClusterConfig, KafkaUrl, TopicPlace};
use crate::core::domain::UnixNanos;
use crate::ops::clock::Stopwatch;

/// How long one poll may hold the thread.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// How long a cluster that was lost may take to answer whether it is back.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long there may be records to read and none coming.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes of records that wait for their turn, over all partitions. A partition that runs ahead of
/// the others by more than its share is paused.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// What a waiting record takes beside its value.
const RECORD_OVERHEAD_BYTES: usize = 96;

/// Why a topic cannot be read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {what}")]
pub struct ReadError {
    url: String,
    what: String,
    setup: bool,
}

impl ReadError {
    /// What is wrong, without the address.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether an option is at fault, so that trying again will not help.
    pub fn is_setup(&self) -> bool {
        self.setup
    }
}

/// One record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its value as it came.
    pub bytes: Bytes,
    /// Its own timestamp; none for a recording.
    pub received: Option<UnixNanos>,
    /// Whether records of its symbol may be missing right before it.
    pub after_gap: bool,
}

/// All records between two places, in one order.
pub struct TopicRecords {
    topic: Topic,
    merge: Merge<TopicRecord>,
    /// By partition.
    ranges: Vec<Range>,
    bytes_max: usize,
    records_total: u64,
    failed: bool,
}

/// Every record from a place on, as it comes.
pub struct TopicTail {
    topic: Topic,
}

/// What a tail has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailEvent {
    /// A record.
    Record(Bytes),
    /// The cluster does not answer; the client goes on trying.
    Trouble(String),
    /// Nothing, for now.
    Quiet,
}

/// A consumer and the topic that it reads.
struct Topic {
    consumer: Observer,
    url: KafkaUrl,
    partitions: i32,
}

/// What is read of one partition: `next` inclusive to `end` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    next: i64,
    end: i64,
    bytes: usize,
    paused: bool,
}

impl Topic {
    fn open(cluster: &ClusterConfig, url: &KafkaUrl) -> Result<Self, ReadError> {
        let consumer = client::tool_consumer(cluster).map_err(|error| ReadError {
            url: url.to_string(),
            what: client::without_value(&error),
            setup: is_setup(&error),
        })?;
        let mut topic = Self { consumer, url: url.clone(), partitions: 0 };
        let found = topics::partition_count(&topic.consumer, url.topic());
        topic.partitions = match found {
            Ok(Some(count)) => count,
            Ok(None) => return Err(topic.error("the topic does not exist")),
            Err(failure) => return Err(topic.failed(failure)),
        };
        Ok(topic)
    }

    fn error(&self, what: impl std::fmt::Display) -> ReadError {
        ReadError { url: self.url.to_string(), what: what.to_string(), setup: false }
    }

    fn failed(&self, failure: SessionError) -> ReadError {
        self.error(words(failure, &self.consumer))
    }

    /// The first offset of each partition and the one behind what is committed.
    fn ends(&self) -> Result<Vec<(i64, i64)>, ReadError> {
        let ends = |number| {
            self.consumer
                .fetch_watermarks(self.url.topic(), number, ANSWER_TIMEOUT)
                .map_err(SessionError::while_doing("ask for the topic's ends"))
                .map_err(|failure| self.failed(failure))
        };
        (0..self.partitions).map(ends).collect()
    }

    /// The offset of a place in each partition.
    fn offsets(&self, place: TopicPlace, ends: &[(i64, i64)]) -> Result<Vec<i64>, ReadError> {
        Ok(match place {
            TopicPlace::Beginning => ends.iter().map(|(low, _)| *low).collect(),
            TopicPlace::End => ends.iter().map(|(_, high)| *high).collect(),
            TopicPlace::Time(time) => {
                let found = self.offsets_at(time)?;
                let within = |(offset, (low, high)): (Option<i64>, &(i64, i64))| {
                    offset.unwrap_or(*high).clamp(*low, *high)
                };
                found.into_iter().zip(ends).map(within).collect()
            }
        })
    }

    /// The first offset of each partition at or after a time; `None` where all records are older.
    fn offsets_at(&self, time: UnixNanos) -> Result<Vec<Option<i64>>, ReadError> {
        // Timestamps of records are milliseconds; of those within one, the later ones are meant.
        let millis = time.as_nanos().div_euclid(1_000_000)
            + i64::from(time.as_nanos().rem_euclid(1_000_000) > 0);
        let mut times = TopicPartitionList::new();
        let found = (0..self.partitions)
            .try_for_each(|number| {
                times.add_partition_offset(self.url.topic(), number, Offset::Offset(millis.max(0)))
            })
            .and_then(|()| self.consumer.offsets_for_times(times, ANSWER_TIMEOUT))
            .map_err(SessionError::while_doing("look a time up"))
            .map_err(|failure| self.failed(failure))?;
        let mut offsets = vec![None; self.partitions as usize];
        for element in found.elements() {
            if let Some(problem) = element.error().err() {
                return Err(self.error(format_args!("look a time up: {problem}")));
            }
            if let (Ok(index), Offset::Offset(offset)) =
                (usize::try_from(element.partition()), element.offset())
            {
                offsets[index] = Some(offset);
            }
        }
        Ok(offsets)
    }

    /// Reads these partitions from these offsets on.
    fn assign(&self, starts: impl IntoIterator<Item = (i32, i64)>) -> Result<(), ReadError> {
        let mut list = TopicPartitionList::new();
        starts
            .into_iter()
            .try_for_each(|(number, offset)| {
                list.add_partition_offset(self.url.topic(), number, Offset::Offset(offset))
            })
            .and_then(|()| client::assign(&self.consumer, &list))
            .map_err(|error| self.error(error))
    }

    fn one(&self, number: usize) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        // The count of partitions came from the cluster as such a number.
        list.add_partition(self.url.topic(), number as i32);
        list
    }
}

fn record(message: &BorrowedMessage<'_>) -> TopicRecord {
    TopicRecord {
        bytes: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        received: client::received(message),
        after_gap: gap::is_marked(message),
    }
}

/// What a record takes while it waits.
fn weight(record: &TopicRecord) -> usize {
    record.bytes.len() + RECORD_OVERHEAD_BYTES
}

impl TopicRecords {
    /// Opens a topic between two places. What is written meanwhile is not read: the end is at
    /// most the end of what is committed now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(
        cluster: &ClusterConfig,
        url: &KafkaUrl,
        from: TopicPlace,
        to: TopicPlace,
    ) -> Result<Self, ReadError> {
        let topic = Topic::open(cluster, url)?;
        let ends = topic.ends()?;
        let starts = topic.offsets(from, &ends)?;
        let stops = topic.offsets(to, &ends)?;
        let range = |(next, end)| Range { next, end, bytes: 0, paused: false };
        let ranges: Vec<_> = starts.into_iter().zip(stops).map(range).collect();
        let mut merge = Merge::new(ranges.len());
        let mut open = Vec::new();
        for (index, range) in ranges.iter().enumerate() {
            if range.next < range.end {
                open.push((index as i32, range.next));
            } else {
                merge.close(index);
            }
        }
        if !open.is_empty() {
            topic.assign(open)?;
        }
        let length = |range: &Range| u64::try_from(range.end - range.next).unwrap_or(0);
        let records_total = ranges.iter().map(length).sum();
        let bytes_max = WAITING_BYTES_MAX / ranges.len().max(1);
        Ok(Self { topic, merge, ranges, bytes_max, records_total, failed: false })
    }

    /// How many records there are at most: compacted and aborted ones have offsets, too.
    pub fn records_total(&self) -> u64 {
        self.records_total
    }

    /// Takes what the client has, and tells whether that was anything.
    fn poll(&mut self) -> Result<bool, ReadError> {
        let Self { topic, merge, ranges, bytes_max, .. } = self;
        match topic.consumer.poll(POLL_TIMEOUT) {
            None => Ok(false),
            Some(Ok(message)) => {
                let index = message.partition() as usize;
                let Some(range) = ranges.get_mut(index) else { return Ok(false) };
                // A partition that was paused may still have sent what was under way.
                if merge.is_closed(index) || message.offset() < range.next {
                    return Ok(false);
                }
                if message.offset() < range.end {
                    let record = record(&message);
                    range.bytes += weight(&record);
                    let timestamp = message.timestamp().to_millis().unwrap_or(i64::MIN);
                    merge.push(index, timestamp, record);
                }
                range.next = message.offset() + 1;
                let full = range.bytes > *bytes_max;
                if range.next >= range.end {
                    merge.close(index);
                }
                if (full || merge.is_closed(index)) && !range.paused {
                    range.paused = true;
                    let list = topic.one(index);
                    topic.consumer.pause(&list).map_err(|error| topic.error(error))?;
                }
                Ok(true)
            }
            // The last places may be held by markers of transactions, which are no records.
            Some(Err(ClientError::PartitionEOF(number))) => {
                merge.close(number as usize);
                Ok(true)
            }
            Some(Err(error)) if client::passes(&error) => Ok(false),
            Some(Err(error)) => Err(topic.error(error)),
        }
    }

    /// Waits for the next record; an error ends the reading.
    fn advance(&mut self) -> Result<Option<TopicRecord>, ReadError> {
        let mut silence = Stopwatch::start();
        loop {
            if let Some((index, record)) = self.merge.pop() {
                self.ranges[index].bytes -= weight(&record);
                self.resume(index)?;
                return Ok(Some(record));
            }
            if self.merge.is_done() {
                return Ok(None);
            }
            if self.poll()? {
                silence = Stopwatch::start();
            } else if silence.elapsed() > SILENCE_MAX {
                let what = format!("no record came for {} s", SILENCE_MAX.as_secs());
                return Err(self.topic.failed(SessionError::Retry(what)));
            }
        }
    }

    /// Makes room in a partition that was paused for running ahead.
    fn resume(&mut self, index: usize) -> Result<(), ReadError> {
        let Self { topic, merge, ranges, bytes_max, .. } = self;
        let range = &mut ranges[index];
        let room = range.bytes <= *bytes_max / 2 || merge.waiting(index) == 0;
        if range.paused && room && !merge.is_closed(index) {
            range.paused = false;
            let list = topic.one(index);
            topic.consumer.resume(&list).map_err(|error| topic.error(error))?;
        }
        Ok(())
    }
}

impl Iterator for TopicRecords {
    type Item = Result<TopicRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

impl TopicTail {
    /// Opens a topic from a place on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(
        cluster: &ClusterConfig,
        url: &KafkaUrl,
        from: TopicPlace,
    ) -> Result<Self, ReadError> {
        let topic = Topic::open(cluster, url)?;
        let ends = topic.ends()?;
        topic.assign((0..topic.partitions).zip(topic.offsets(from, &ends)?))?;
        Ok(Self { topic })
    }

    /// Whether the cluster answers now; asks it, for a second at most.
    pub fn answers(&self) -> bool {
        self.topic.consumer.fetch_metadata(Some(self.topic.url.topic()), PROBE_TIMEOUT).is_ok()
    }

    /// Waits a moment for what comes next.
    ///
    /// # Errors
    /// [`ReadError`] where the topic must be opened anew.
    pub fn next(&self) -> Result<TailEvent, ReadError> {
        match self.topic.consumer.poll(POLL_TIMEOUT) {
            None | Some(Err(ClientError::PartitionEOF(_))) => Ok(TailEvent::Quiet),
            Some(Ok(message)) => Ok(TailEvent::Record(record(&message).bytes)),
            Some(Err(error)) if client::passes(&error) => Ok(TailEvent::Trouble(error.to_string())),
            Some(Err(error)) => Err(self.topic.error(error)),
        }
    }
}
