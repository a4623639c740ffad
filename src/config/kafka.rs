//! The section `[kafka]`: brokers, topics, and what is promised about delivery.
//!
//! Owns its keys and their rules.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::read::Section;
use super::url::is_topic_name;
use crate::domain::UnixNanos;

/// Kafka as the way in and out.
#[derive(Clone, PartialEq)]
pub struct KafkaConfig {
    /// `host:port` of one or more brokers, separated by commas.
    pub brokers: String,
    /// The consumer group; instances that share it share the partitions.
    pub group: String,
    /// The topics that ticks come from.
    pub topics: Vec<String>,
    /// Where a group that has committed nothing begins.
    pub start: StartAt,
    /// What a committed offset that the broker no longer has means.
    pub lost_offset: LostOffset,
    /// The topic of forecasts.
    pub forecasts: String,
    /// The topic of scores, if any.
    pub scores: Option<String>,
    /// The topic of refused records, if any.
    pub dead_letters: Option<String>,
    /// The changelog's name, with `{group}` and `{topic}` in it.
    pub changelog: String,
    /// Copies of each topic that the daemon makes; -1 is the broker's default.
    pub replication: i32,
    /// What is promised.
    pub delivery: Delivery,
    /// The time between two checkpoints.
    pub commit_interval: Duration,
    /// The name of this instance in the group: the same after a restart, different from all others.
    pub instance: String,
    /// Whether a restart within the session timeout keeps the partitions.
    pub static_membership: bool,
    /// Whether a rebalance leaves alone the partitions that stay.
    pub cooperative: bool,
    /// How long restoring one partition may take.
    pub restore_timeout: Duration,
    /// How long a transaction's calls may take.
    pub transaction_timeout: Duration,
    /// How long there may be records to read and none coming.
    pub stall_timeout: Duration,
    /// The longest wait between two sessions.
    pub backoff_max: Duration,
    /// Whether forecasts carry headers.
    pub headers: bool,
    /// Options of librdkafka as its documentation has them.
    pub options: BTreeMap<String, String>,
}

/// Where a group that has committed nothing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record there is.
    Earliest,
    /// Behind the last record there is.
    Latest,
    /// At the first record of this time or later, by the record's own timestamp.
    Time(UnixNanos),
}

/// What to do where the committed offset is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostOffset {
    /// Go on with the first record there is; windows begin cold.
    Earliest,
    /// Go on behind the last record there is; windows begin cold.
    Latest,
    /// Stop.
    Fail,
}

/// What is promised about delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every forecast at least once; a repeat has the bytes of the first.
    AtLeastOnce,
    /// Every forecast exactly once for readers of committed records.
    ExactlyOnce,
}

/// Options that the promises about delivery rest on: they have keys of their own here or none.
pub(super) const FIXED: [&str; 16] = [
    "acks",
    "request.required.acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "partition.assignment.strategy",
    "transactional.id",
];

/// Options whose values nobody should read in a log.
const SECRET: [&str; 5] =
    ["password", "secret", "sasl.oauthbearer.config", "ssl.key.pem", "sasl.jaas"];

/// Whether the value of an option should be read by nobody.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET.iter().any(|word| key.contains(word))
}

impl KafkaConfig {
    /// The changelog of an input topic.
    pub fn changelog_of(&self, topic: &str) -> String {
        self.changelog.replace("{group}", &self.group).replace("{topic}", topic)
    }
}

impl fmt::Debug for KafkaConfig {
    /// With secrets hidden.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = |(key, value): (&String, &String)| {
            (key.clone(), if is_secret(key) { "***".to_owned() } else { value.clone() })
        };
        formatter
            .debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("topics", &self.topics)
            .field("forecasts", &self.forecasts)
            .field("delivery", &self.delivery)
            .field("instance", &self.instance)
            .field("options", &self.options.iter().map(hide).collect::<BTreeMap<_, _>>())
            .finish_non_exhaustive()
    }
}

/// Reads the section. Whether it is complete is judged by whoever wants it.
pub(super) fn read(mut section: Section<'_>) -> KafkaConfig {
    let time = |section: &mut Section<'_>, name, max| {
        Duration::from_millis(section.count(name, 1, max) as u64)
    };
    let start = section.text("start");
    let start = match &*start {
        "earliest" => StartAt::Earliest,
        "latest" => StartAt::Latest,
        text => match UnixNanos::parse(text) {
            Ok(time) => StartAt::Time(time),
            Err(_) => {
                section.problem("start", "must be \"earliest\", \"latest\" or a time (RFC 3339)");
                StartAt::Earliest
            }
        },
    };
    let lost = [
        ("earliest", LostOffset::Earliest),
        ("latest", LostOffset::Latest),
        ("fail", LostOffset::Fail),
    ];
    let deliveries =
        [("at_least_once", Delivery::AtLeastOnce), ("exactly_once", Delivery::ExactlyOnce)];
    let assignments = [("eager", false), ("cooperative", true)];
    let instance = section.optional_text("instance");
    let static_membership = section.switch("static_membership");
    if static_membership && instance.is_none() {
        section.problem("instance", "must name this instance where static_membership = true");
    }
    let options = section.table("options");
    for key in options.keys().filter(|key| FIXED.contains(&key.as_str())) {
        let name = format!("options.\"{key}\"");
        section.problem(&name, "is set by tickcast, whose promises rest on it");
    }
    let config = KafkaConfig {
        brokers: section.text("brokers"),
        group: section.text("group"),
        topics: section.texts("topics"),
        start,
        lost_offset: section.choice("on_lost_offset", &lost),
        forecasts: section.text("forecasts"),
        scores: section.optional_text("scores"),
        dead_letters: section.optional_text("dead_letters"),
        changelog: section.text("changelog"),
        replication: match section.count("replication", 0, 32) {
            0 => -1,
            // The limit fits.
            count => count as i32,
        },
        delivery: section.choice("delivery", &deliveries),
        commit_interval: time(&mut section, "commit_interval_ms", 60_000),
        instance: instance.unwrap_or_else(own_name),
        static_membership,
        cooperative: section.choice("assignment", &assignments),
        restore_timeout: time(&mut section, "restore_ms_max", 240_000),
        transaction_timeout: time(&mut section, "transaction_ms_max", 60_000),
        stall_timeout: time(&mut section, "stall_ms_max", 3_600_000),
        backoff_max: time(&mut section, "backoff_ms_max", 600_000),
        headers: section.switch("headers"),
        options,
    };
    if !config.changelog.contains("{topic}") {
        section.problem("changelog", "must contain {topic}: each input has a changelog of its own");
    }
    for (name, empty) in [
        ("brokers", config.brokers.is_empty()),
        ("group", config.group.is_empty()),
        ("forecasts", config.forecasts.is_empty()),
    ] {
        if empty {
            section.problem(name, "must not be empty");
        }
    }
    let named = config.topics.iter().map(|topic| ("topics", topic));
    let outputs = [
        ("forecasts", Some(&config.forecasts)),
        ("scores", config.scores.as_ref()),
        ("dead_letters", config.dead_letters.as_ref()),
    ];
    let written = outputs.iter().filter_map(|(name, topic)| Some((*name, (*topic)?)));
    for (name, topic) in named.chain(written) {
        // An empty name is told above.
        if !topic.is_empty() && !is_topic_name(topic) {
            section.problem(name, format_args!("`{topic}`: {}", super::KafkaUrlError::Topic));
        }
    }
    let outputs = [Some(&config.forecasts), config.scores.as_ref(), config.dead_letters.as_ref()];
    if config.scores.as_ref() == Some(&config.forecasts) {
        section.problem("scores", "must not be the topic of the forecasts");
    }
    if config.topics.iter().any(|topic| outputs.contains(&Some(topic))) {
        section.problem("topics", "must not hold a topic that the daemon writes to");
    }
    section.finish();
    config
}

/// A name that no other process has: enough where nothing needs to outlive this one.
fn own_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let stamp = (crate::clock::wall_seconds() * 1e3) as u64;
    format!("{}-{}-{stamp:x}", host.trim(), std::process::id())
}
