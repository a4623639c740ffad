//! What a cluster says of its topics: their ids, their partitions, and what we may do with them.
//!
//! Owns the one request that the client library's Rust wrapper does not offer, `DescribeTopics`.
//! It alone tells the id of a topic, and only the id tells a topic from another one that was made
//! later under the same name. Promises that a question never holds the caller up, and that no
//! pointer leaves this file. Never decides what an answer means.
//!
//! The unsafe code is here because there is no safe way: the wrapper's metadata has no topic ids,
//! and a client of its own for this one request would need TLS and every way to log in.
#![expect(unsafe_code, reason = "the library's wrapper has no call that tells the id of a topic")]

use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rdkafka::bindings as library;
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::client::Observer;
use crate::ops::clock::{Stopwatch, pause};

/// What a request may take at the broker; the question is then answered by an error.
const REQUEST_MS: i32 = 2_000;

/// The wait between two looks for an answer.
const ANSWER_PAUSE: Duration = Duration::from_millis(2);

/// The id of a topic: a topic that is deleted and made again under its name has another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TopicId(u128);

/// What may be done with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Describe,
}

/// What the cluster says of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicFacts {
    pub(super) name: String,
    /// `None` where the cluster gives topics no ids.
    pub(super) id: Option<TopicId>,
    pub(super) partition_count: i32,
    /// What we may do; `None` where it was not asked for, or is not told.
    pub(super) rights: Option<Vec<Right>>,
    /// Why it says nothing else; unknown topics among them.
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// A question that was asked and is not answered yet.
pub(super) struct Question {
    /// Ours alone; destroyed in `drop`, before the client below.
    queue: NonNull<library::rd_kafka_queue_t>,
    /// Keeps the client alive for as long as the queue.
    _asker: Arc<Observer>,
}

/// What a question waits to have said about rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Ids and partitions.
    Shape,
    /// Our rights as well.
    Rights,
}

impl TopicId {
    /// The id in the form in which Kafka's tools show it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// The id of this number.
    pub const fn of(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for TopicId {
    /// As Kafka's tools show it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64URL_NOPAD.encode(&self.0.to_be_bytes()))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Question {
    /// Asks a broker about topics: any one that is there knows them. `None` where a name cannot be
    /// a topic's.
    pub(super) fn ask(
        asker: &Arc<Observer>,
        broker: i32,
        topics: &[&str],
        ask: Ask,
    ) -> Option<Self> {
        let names: Vec<CString> =
            topics.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>().ok()?;
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let client = asker.client().native_ptr();
        // SAFETY: `client` is alive, because `asker` is borrowed here and kept in the question.
        let queue = NonNull::new(unsafe { library::rd_kafka_queue_new(client) })?;
        let question = Self { queue, _asker: Arc::clone(asker) };
        // SAFETY: `client` is alive as above. The collection copies the names, which live until the
        // end of this function, and the request copies collection and options, so both are
        // destroyed here, once. The library keeps a reference of its own to the queue for the
        // answer, so the queue may be destroyed before that. The setters write no message where
        // they are given no room for one, and a refused option leaves the default in place.
        unsafe {
            let collection = library::rd_kafka_TopicCollection_of_topic_names(
                pointers.as_mut_ptr(),
                pointers.len(),
            );
            let operation = library::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = library::rd_kafka_AdminOptions_new(client, operation);
            let (no_text, no_room) = (std::ptr::null_mut(), 0);
            library::rd_kafka_AdminOptions_set_request_timeout(
                options, REQUEST_MS, no_text, no_room,
            );
            library::rd_kafka_AdminOptions_set_broker(options, broker, no_text, no_room);
            let rights = i32::from(ask == Ask::Rights);
            let error =
                library::rd_kafka_AdminOptions_set_include_authorized_operations(options, rights);
            if !error.is_null() {
                library::rd_kafka_error_destroy(error);
            }
            library::rd_kafka_DescribeTopics(client, collection, options, queue.as_ptr());
            library::rd_kafka_AdminOptions_destroy(options);
            library::rd_kafka_TopicCollection_destroy(collection);
        }
        Some(question)
    }

    /// The answer, if it has come.
    pub(super) fn try_take(&self) -> Option<Result<Vec<TopicFacts>, RDKafkaErrorCode>> {
        // SAFETY: the queue is alive until `drop`. An event that comes out of it is ours, is read
        // while it lives, and is destroyed once; what is read of it is copied before that.
        unsafe {
            let event = library::rd_kafka_queue_poll(self.queue.as_ptr(), 0);
            if event.is_null() {
                return None;
            }
            let answer = read_event(event);
            library::rd_kafka_event_destroy(event);
            Some(answer)
        }
    }

    /// The answer within `limit`.
    pub(super) fn wait(&self, limit: Duration) -> Result<Vec<TopicFacts>, RDKafkaErrorCode> {
        let begun = Stopwatch::start();
        loop {
            if let Some(answer) = self.try_take() {
                return answer;
            }
            if begun.elapsed() > limit {
                return Err(RDKafkaErrorCode::OperationTimedOut);
            }
            pause(ANSWER_PAUSE);
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new` and destroyed nowhere else; the client that it
        // belongs to is dropped behind it.
        unsafe { library::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Reads an event of a question's queue.
///
/// # Safety
/// `event` is alive during the call.
unsafe fn read_event(
    event: *mut library::rd_kafka_event_t,
) -> Result<Vec<TopicFacts>, RDKafkaErrorCode> {
    // SAFETY: the event is alive, by the contract of this function. The result is null where the
    // event is not the answer to this request; else it and its topics are parts of the event.
    // The library gives the list with its length; an entry is null where the cluster did not speak
    // of that topic.
    unsafe {
        let error = library::rd_kafka_event_error(event);
        if error.is_error() {
            return Err(error.into());
        }
        let result = library::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let topics = library::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let topics = slice(topics.cast_const(), count).iter().filter(|topic| !topic.is_null());
        Ok(topics.map(|topic| read_topic(*topic)).collect())
    }
}

/// Reads what is said of one topic.
///
/// # Safety
/// `topic` is alive during the call.
unsafe fn read_topic(topic: *const library::rd_kafka_TopicDescription_t) -> TopicFacts {
    // SAFETY: the topic is alive, by the contract of this function; its name is a C string, and
    // its name, id, error and lists are parts of it. Lists come with their lengths.
    unsafe {
        let name = CStr::from_ptr(library::rd_kafka_TopicDescription_name(topic));
        let name = name.to_string_lossy().into_owned();
        let error = library::rd_kafka_TopicDescription_error(topic);
        let error = if error.is_null() {
            None
        } else {
            let code = library::rd_kafka_error_code(error);
            code.is_error().then(|| code.into())
        };
        let uuid = library::rd_kafka_TopicDescription_topic_id(topic);
        let [high, low] = [
            library::rd_kafka_Uuid_most_significant_bits(uuid),
            library::rd_kafka_Uuid_least_significant_bits(uuid),
        ]
        .map(i64::cast_unsigned);
        let id = u128::from(high) << 64 | u128::from(low);
        let mut count = 0;
        library::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let mut rights_count = 0;
        let rights =
            library::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut rights_count);
        TopicFacts {
            name,
            // A cluster without ids gives all of them as zero.
            id: Some(TopicId(id)).filter(|_| id != 0),
            partition_count: i32::try_from(count).unwrap_or(i32::MAX),
            rights: (!rights.is_null())
                .then(|| slice(rights, rights_count).iter().filter_map(right).collect()),
            error,
        }
    }
}

fn right(operation: &library::rd_kafka_AclOperation_t) -> Option<Right> {
    use library::rd_kafka_AclOperation_t as Operation;
    match operation {
        Operation::RD_KAFKA_ACL_OPERATION_READ => Some(Right::Read),
        Operation::RD_KAFKA_ACL_OPERATION_WRITE => Some(Right::Write),
        Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE => Some(Right::Describe),
        _ => None,
    }
}

/// A list of the library, which is null where it is empty.
///
/// # Safety
/// Where `first` is not null, `count` values are there and live for `'l`.
unsafe fn slice<'l, T>(first: *const T, count: usize) -> &'l [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by the contract of this function.
    unsafe { std::slice::from_raw_parts(first, count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_the_tools_of_kafka_write_it() {
        let id = TopicId(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
        assert_eq!(id.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(TopicId::parse("ASNFZ4mrze_-3LqYdlQyEA"), Some(id));
        for text in
            ["", "ASNFZ4mrze_-3LqYdlQyE", "ASNFZ4mrze_-3LqYdlQyEAAA", "ASNFZ4mrze/+3LqYdlQyEA"]
        {
            assert_eq!(TopicId::parse(text), None, "{text}");
        }
    }
}
