//! Reading a changelog partition to its end.
//!
//! Owns what "its end" means. Promises that every state whose offset may have been committed is
//! among those it returns, open transactions of an earlier owner included: it waits until they are
//! decided. Never interprets a state.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::info;

use super::SessionError;
use super::client::{self, Observer};
use super::publisher::StatePlace;
use super::topics::ANSWER_TIMEOUT;
use crate::ops::clock::{Stopwatch, pause};

/// How often a long restore says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The wait before asking again whether the open transactions are decided.
const STABLE_PAUSE: Duration = Duration::from_millis(20);

/// Reads the newest value of every key of a changelog partition within `limit`.
pub(super) fn read_states(
    reader: &Observer,
    observer: &Observer,
    place: &StatePlace,
    limit: Duration,
) -> Result<Vec<(String, Bytes)>, SessionError> {
    let StatePlace { topic, number } = place;
    client::serve(observer);
    client::serve(reader);
    // The end with open transactions included: what they hold is decided before we go on.
    let (low, end) = observer
        .fetch_watermarks(topic, *number, ANSWER_TIMEOUT)
        .map_err(SessionError::while_doing("ask for the changelog's end"))?;
    let mut states = HashMap::new();
    if low >= end {
        return Ok(Vec::new());
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
        let (_, stable) = reader
            .fetch_watermarks(topic, *number, ANSWER_TIMEOUT)
            .map_err(SessionError::while_doing("ask for the changelog's stable end"))?;
        if stable >= end {
            break;
        }
        if begun.elapsed() > limit {
            return Err(late(stable));
        }
        pause(STABLE_PAUSE);
    }
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, *number, Offset::Beginning)
        .and_then(|()| reader.assign(&assignment))
        .map_err(SessionError::while_doing("read the changelog"))?;
    let (mut next, mut told) = (low, Stopwatch::start());
    while next < end {
        if begun.elapsed() > limit {
            return Err(late(next));
        }
        if told.elapsed() > PROGRESS_EVERY {
            told = Stopwatch::start();
            info!(topic, partition = number, at = next, end, "restoring");
        }
        match reader.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(record)) => {
                next = record.offset() + 1;
                let Some(key) = record.key().and_then(|key| std::str::from_utf8(key).ok()) else {
                    continue;
                };
                match record.payload() {
                    Some(state) => {
                        states.insert(key.to_owned(), Bytes::copy_from_slice(state));
                    }
                    None => {
                        states.remove(key);
                    }
                }
            }
            // The last places may be held by markers of transactions, which are no records.
            Some(Err(ClientError::PartitionEOF(_))) => break,
            Some(Err(error)) => {
                return Err(SessionError::retry(format_args!("read the changelog: {error}")));
            }
        }
    }
    reader.unassign().map_err(SessionError::while_doing("end reading the changelog"))?;
    Ok(states.into_iter().collect())
}
