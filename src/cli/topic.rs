//! What commands do with Kafka topics: the one place where the command line meets the client.
//!
//! Owns the input of `replay` that is a topic, and the exit codes of the client's errors. A build
//! without the client has `no_topic` in this place.

use std::time::Duration;

use super::replay::{Input, InputRecord};
use crate::adapters::kafka::{self, BareLoop, TopicRecord, TopicRecords};
use crate::adapters::kafka_config::{ClusterConfig, KafkaUrl, TopicPlace};
use crate::ops::exit::{Exit, Failure};
use crate::ports::source::OnlineReport;

pub(super) use super::feed_topic::run as play;

/// A topic with the records given out so far.
struct TopicInput {
    records: TopicRecords,
    reached: u64,
}

/// The records of a topic between two places, for `replay`.
///
/// # Errors
/// 64 where an option is at fault, 75 where the cluster does not answer.
pub(super) fn open(
    cluster: &ClusterConfig,
    url: &KafkaUrl,
    from: TopicPlace,
    to: TopicPlace,
) -> Result<Box<dyn Input>, Exit> {
    let records = TopicRecords::open(cluster, url, from, to).map_err(|error| {
        let failure = if error.is_setup() { Failure::Usage } else { Failure::Temporary };
        Exit::new(failure, error)
    })?;
    Ok(Box::new(TopicInput { records, reached: 0 }))
}

impl Input for TopicInput {
    fn next(&mut self) -> Option<Result<InputRecord, Exit>> {
        self.reached += 1;
        let record = self.records.next()?.map_err(Exit::because(Failure::Temporary));
        Some(record.map(|TopicRecord { bytes, received, after_gap }| InputRecord {
            bytes,
            received,
            after_gap,
        }))
    }

    fn reached(&self) -> u64 {
        self.reached
    }

    fn bar(&self) -> (Option<u64>, &'static str) {
        let template = "{bar:40} {human_pos} of {human_len} records, {per_sec}, {eta} left";
        (Some(self.records.records_total()), template)
    }
}

/// Looks at the options of a bridge without connecting.
///
/// # Errors
/// 78 where the client refuses one.
pub(super) fn check(cluster: &ClusterConfig) -> Result<(), Exit> {
    kafka::check_tool(cluster).map_err(Exit::because(Failure::Configuration))
}

/// Looks at the topic of a bridge.
pub(super) fn check_online(cluster: &ClusterConfig, topic: &str) -> OnlineReport {
    kafka::check_tool_online(cluster, topic)
}

/// Copies so many records from one topic to another, and returns how long it took.
///
/// # Errors
/// 75 where the cluster does not take part.
pub(super) fn copy(
    brokers: &str,
    group: &str,
    from: &str,
    to: &str,
    records: u64,
) -> Result<Duration, Exit> {
    let (brokers, group) = (brokers.to_owned(), group.to_owned());
    let (from, to) = (from.to_owned(), to.to_owned());
    let bare = BareLoop { brokers, group, from, to, records };
    bare.run().map_err(Exit::because(Failure::Temporary))
}
