//! What commands do with Kafka topics in a build without the client: nothing.
//!
//! Has the functions of `topic`. Each of them refuses; most commands refuse the address earlier.

use std::time::Duration;

use super::absent::lacks;
use super::replay::Input;
use crate::adapters::kafka_config::{ClusterConfig, KafkaUrl, TopicPlace};
use crate::ops::exit::Exit;
use crate::ports::source::OnlineReport;
use crate::tools::feed::{Pace, Recording};

/// For `feed`.
pub(super) fn play(
    _: &KafkaUrl,
    _: &ClusterConfig,
    _: i32,
    _: &Recording,
    _: Pace,
) -> Result<(), Exit> {
    Err(lacks("the way to a topic", "kafka"))
}

/// For `replay`.
pub(super) fn open(
    _: &ClusterConfig,
    _: &KafkaUrl,
    _: TopicPlace,
    _: TopicPlace,
) -> Result<Box<dyn Input>, Exit> {
    Err(lacks("reading a topic", "kafka"))
}

/// For `check`.
pub(super) fn check(_: &ClusterConfig) -> Result<(), Exit> {
    Err(lacks("the bridge", "kafka"))
}

/// For `check --online`.
pub(super) fn check_online(_: &ClusterConfig, _: &str) -> OnlineReport {
    OnlineReport::default()
}

/// For `bench`.
pub(super) fn copy(_: &str, _: &str, _: &str, _: &str, _: u64) -> Result<Duration, Exit> {
    Err(lacks("`tickcast bench kafka-loop`", "kafka"))
}
