//! The section `[bridge]`, and the configuration of `tickcast bridge` as a whole.
//!
//! Owns the section's keys and their rules.

use std::time::Duration;

use crate::adapters::http::HttpConfig;
use crate::adapters::kafka_config::{ClusterConfig, KafkaUrlError, is_topic_name};
use crate::adapters::websocket::WebSocketSettings;
use crate::ops::logging::LogConfig;
use crate::ports::section::Section;

/// From a live feed to a topic.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Where records come from.
    pub source: WebSocketSettings,
    /// The most records between the socket and the producer.
    pub queue_records_max: usize,
    /// The most bytes between them.
    pub queue_bytes_max: usize,
    /// Where records go.
    pub cluster: ClusterConfig,
    /// The topic of the records.
    pub topic: String,
    /// Partitions of the topic where it has to be made.
    pub partitions: i32,
    /// Copies of the topic where it has to be made; -1 is the broker's default.
    pub replication: i32,
    /// Symbols that are remembered, to mark each once after a gap.
    pub symbols_max: usize,
    /// The longest wait between two attempts to reach the cluster.
    pub backoff_max: Duration,
    /// Probes and metrics.
    pub http: HttpConfig,
    /// How the process speaks of itself.
    pub log: LogConfig,
    /// The time in which everything received is acknowledged after a stop signal.
    pub shutdown_deadline: Duration,
    /// What does no harm and should be known.
    pub warnings: Vec<String>,
}

/// What the section says.
pub(super) struct BridgeSection {
    pub(super) topic: Option<String>,
    pub(super) partitions: i32,
    pub(super) symbols_max: usize,
}

/// Reads the section. Whether it is complete is judged by whoever wants it.
pub(super) fn read(mut section: Section<'_>) -> BridgeSection {
    section.shows(&["topic"]);
    let topic = section.optional_text("topic");
    if topic.as_deref().is_some_and(|topic| !is_topic_name(topic)) {
        section.problem("topic", KafkaUrlError::Topic);
    }
    let read = BridgeSection {
        topic,
        // The limit fits.
        partitions: section.count("partitions", 1, 10_000) as i32,
        symbols_max: section.count("symbols_max", 1, 10_000_000),
    };
    section.finish();
    read
}
