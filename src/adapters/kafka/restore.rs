//! Reading a changelog partition to its end, and the records right before a position.
//!
//! Owns what "its end" means. Promises that every state whose offset may have been committed is
//! among those it returns, open transactions of an earlier owner included: it waits until they are
//! decided. Never interprets a state, and leaves the choice among those of a key to `changelog`.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::{info, warn};

use super::SessionError;
use super::changelog::{Changelog, StateRecord};
use super::client::{self, Observer};
use super::partitions::PartitionName;
use super::publisher::{POINT_HEADER, StatePlace};
use super::start::Point;
use super::topics::ANSWER_TIMEOUT;
use crate::ops::clock::{Stopwatch, pause};

/// How often a long restore says how far it is.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The wait before asking again whether the open transactions are decided.
pub(super) const STABLE_PAUSE: Duration = Duration::from_millis(20);

/// How long the record before a position may take to come. Without it the position is taken as
/// what it seems to be.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the newest records before a position may take to come.
const NEWEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The states of a changelog partition.
#[derive(Debug, Default)]
pub(super) struct States {
    /// The end of the partition; 0 where nothing was ever written to it.
    pub(super) end: i64,
    /// The state of each key.
    pub(super) stored: Vec<StateRecord>,
    /// How many records were passed over, because an earlier one reaches further.
    pub(super) passed_over: u64,
}

/// Reads the newest value of every key of a changelog partition within `limit`.
pub(super) fn read_states(
    reader: &Observer,
    observer: &Observer,
    place: &StatePlace,
    limit: Duration,
) -> Result<States, SessionError> {
    let StatePlace { topic, number } = place;
    client::serve(observer);
    client::serve(reader);
    // The end with open transactions included: what they hold is decided before we go on.
    let (low, end) = observer
        .fetch_watermarks(topic, *number, ANSWER_TIMEOUT)
        .map_err(SessionError::while_doing("ask for the changelog's end"))?;
    let mut changelog = Changelog::default();
    if low >= end {
        return Ok(States { end, ..States::default() });
    }
    let begun = Stopwatch::start();
    let late = |at: i64| {
        let seconds = limit.as_secs();
        SessionError::retry(format_args!(
            "restore {topic}[{number}]: at {at} of {end} after {seconds} s"
        ))
    };
    // Only what is stable is read, so reading begins when all of it is.
    loop {
        let stable = stable_end(reader, topic, *number)?;
        if stable >= end {
            break;
        }
        if begun.elapsed() > limit {
            return Err(late(stable));
        }
        pause(STABLE_PAUSE);
    }
    read_from(reader, topic, *number, Offset::Beginning)?;
    let (mut next, mut logged) = (low, Stopwatch::start());
    while next < end {
        if begun.elapsed() > limit {
            return Err(late(next));
        }
        if logged.elapsed() > PROGRESS_EVERY {
            logged = Stopwatch::start();
            info!(topic, partition = number, at = next, end, "restoring");
        }
        match reader.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(record)) => {
                next = record.offset() + 1;
                let Some(key) = record.key().and_then(|key| std::str::from_utf8(key).ok()) else {
                    continue;
                };
                let state = record.payload().map(Bytes::copy_from_slice);
                changelog.take(record.offset(), key, state, point_of(&record));
            }
            // The last places may be held by markers of transactions, which are no records.
            Some(Err(ClientError::PartitionEOF(_))) => break,
            Some(Err(error)) => {
                return Err(SessionError::retry(format_args!("read the changelog: {error}")));
            }
        }
    }
    reader.unassign().map_err(SessionError::while_doing("end reading the changelog"))?;
    let passed_over = changelog.passed_over();
    if passed_over > 0 {
        warn!(
            topic,
            partition = number,
            states = passed_over,
            "passed over stored states that are older than those before them: a member wrote them \
             after it had lost its partitions; no action is needed"
        );
    }
    Ok(States { end, stored: changelog.into_states().collect(), passed_over })
}

/// The end of what is decided: behind it lie open transactions.
pub(super) fn stable_end(reader: &Observer, topic: &str, number: i32) -> Result<i64, SessionError> {
    let ends = reader.fetch_watermarks(topic, number, ANSWER_TIMEOUT);
    ends.map(|(_, stable)| stable)
        .map_err(SessionError::while_doing(&format!("ask for the stable end of {topic}[{number}]")))
}

/// Has the reader read one partition from a place on, and nothing else.
pub(super) fn read_from(
    reader: &Observer,
    topic: &str,
    number: i32,
    at: Offset,
) -> Result<(), SessionError> {
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, number, at)
        .and_then(|()| reader.assign(&assignment))
        .map_err(SessionError::while_doing(&format!("read {topic}[{number}]")))
}

/// Up to where a state reaches, by the header of its record.
fn point_of(record: &BorrowedMessage<'_>) -> Option<Point> {
    let header = record.headers()?.iter().find(|header| header.key == POINT_HEADER)?;
    Point::parse(std::str::from_utf8(header.value?).ok()?)
}

/// The timestamp of the record at `offset`, in milliseconds since the epoch; `None` where no record
/// is there, or none came in time.
pub(super) fn time_of_record(
    reader: &Observer,
    name: &PartitionName,
    offset: i64,
) -> Result<Option<i64>, SessionError> {
    read_from(reader, &name.topic, name.number, Offset::Offset(offset))?;
    let begun = Stopwatch::start();
    let mut time = None;
    while begun.elapsed() < RECORD_TIMEOUT {
        match reader.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(record)) => {
                // The records in between may have been compacted away.
                time = record.timestamp().to_millis().filter(|_| record.offset() == offset);
                break;
            }
            Some(Err(ClientError::PartitionEOF(_))) => break,
            Some(Err(error)) if client::passes(&error) => {}
            Some(Err(error)) => {
                return Err(SessionError::retry(format_args!("read the input: {error}")));
            }
        }
    }
    reader.unassign().map_err(SessionError::while_doing("end reading the input"))?;
    Ok(time)
}

/// The timestamp of the newest record before `next` in a partition that begins at `low`; `None`
/// where no record is there that has one.
pub(super) fn newest_time_before(
    reader: &Observer,
    name: &PartitionName,
    low: i64,
    next: i64,
) -> Result<Option<i64>, SessionError> {
    let begun = Stopwatch::start();
    let mut back = 1;
    loop {
        // The last places may be held by markers of transactions, or by what they have aborted.
        let from = next.saturating_sub(back).max(low);
        let time = newest_time_of(reader, name, (from, next), &begun)?;
        if time.is_some() || from == low {
            return Ok(time);
        }
        back *= 8;
    }
}

/// The timestamp of the last record of a range.
fn newest_time_of(
    reader: &Observer,
    name: &PartitionName,
    (from, to): (i64, i64),
    begun: &Stopwatch,
) -> Result<Option<i64>, SessionError> {
    read_from(reader, &name.topic, name.number, Offset::Offset(from))?;
    let (mut at, mut time) = (from, None);
    while at < to {
        if begun.elapsed() > NEWEST_TIMEOUT {
            let PartitionName { topic, number } = name;
            let seconds = NEWEST_TIMEOUT.as_secs();
            return Err(SessionError::retry(format_args!(
                "no record of {topic}[{number}] before offset {to} came in {seconds} s"
            )));
        }
        match reader.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(record)) => {
                at = record.offset() + 1;
                if at <= to {
                    time = record.timestamp().to_millis().or(time);
                }
            }
            Some(Err(ClientError::PartitionEOF(_))) => break,
            Some(Err(error)) if client::passes(&error) => {}
            Some(Err(error)) => {
                return Err(SessionError::retry(format_args!("read the input: {error}")));
            }
        }
    }
    reader.unassign().map_err(SessionError::while_doing("end reading the input"))?;
    Ok(time)
}
