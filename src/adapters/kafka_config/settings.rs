//! The section `[kafka]`: brokers, topics, and what is promised about delivery.
//!
//! Owns its keys and their rules. Never connects.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::address::{KafkaUrlError, is_topic_name};
use super::history::TopicHistory;
use crate::core::domain::UnixNanos;
use crate::ops::file::read_text;
use crate::ports::section::Section;

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
    /// How far back a partition without stored states is read before its first live record.
    pub history: TopicHistory,
    /// The most offsets of a partition that are read as history.
    pub history_records_max: i64,
    /// The topic of forecasts.
    pub forecasts: String,
    /// The topic of the forecasts of shadows, if any.
    pub shadows: Option<String>,
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
    /// The time between two commits.
    pub commit_interval: Duration,
    /// The time between two commits that store states.
    pub state_interval: Duration,
    /// How many records may be read before states are stored whatever the time.
    pub state_records_max: i64,
    /// The name of this instance in the group: the same after a restart, different from all others.
    pub instance: String,
    /// Whether a restart within the session timeout keeps the partitions.
    pub static_membership: bool,
    /// Whether a rebalance leaves alone the partitions that stay.
    pub cooperative: bool,
    /// Whether the broker assigns partitions, and no member of the group; such members are
    /// cooperative.
    pub broker_assigns: bool,
    /// How many other instances keep a copy of the stored states of a partition.
    pub standby_replicas: usize,
    /// The most memory of such copies here.
    pub standby_bytes_max: usize,
    /// How long reading the stored states of all partitions of an assignment may take, and warming
    /// one partition.
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

/// The most that may be read of a partition as history.
const HISTORY_RECORDS_MAX: usize = 1_000_000_000;

/// The time between two commits where the configuration does not say it.
const COMMIT_INTERVAL_MS: usize = 1000;

/// The same with transactions.
const TRANSACTION_INTERVAL_MS: usize = 100;

/// The longest time between two commits that store states.
const STATE_INTERVAL_MS_MAX: usize = 3_600_000;

/// The most records that may be read before states are stored.
const STATE_RECORDS_MAX: usize = 1_000_000_000;

/// The most copies of states in a group.
const STANDBY_REPLICAS_MAX: usize = 100;

/// The least memory of copies, and the most.
const STANDBY_BYTES: (usize, usize) = (1 << 20, 1 << 40);

/// Options that the promises about delivery rest on: they have keys of their own here or none.
pub(super) const FIXED: [&str; 17] = [
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
    "group.protocol",
    "isolation.level",
    "partition.assignment.strategy",
    "transactional.id",
];

/// Options whose values nobody should read in a log.
const SECRET: [&str; 5] =
    ["password", "secret", "sasl.oauthbearer.config", "ssl.key.pem", "sasl.jaas"];

/// The option that names the file of a token to log in with; ours, not the library's.
pub const TOKEN_FILE: &str = "sasl.oauthbearer.token_file";

/// Behind the name of an option that is a secret: the file that its value stands in.
const FILE_SUFFIX: &str = "_file";

/// Whether the value of an option should be read by nobody.
pub fn is_secret(key: &str) -> bool {
    !key.ends_with(FILE_SUFFIX) && SECRET.iter().any(|word| key.contains(word))
}

/// Options whose values everybody may read. The library has hundreds; those that are not listed are
/// hidden, a misspelt password among them.
const PUBLIC: [&str; 16] = [
    "broker.address.family",
    "client.dns.lookup",
    "client.rack",
    "compression.codec",
    "compression.type",
    "debug",
    "partitioner",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.method",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
];

/// Whether everybody may read the value of an option.
pub fn is_public_option(key: &str) -> bool {
    PUBLIC.contains(&key)
}

/// The option whose value stands in the file that `key` names, as `sasl.password_file` does.
pub fn secret_file_of(key: &str) -> Option<&str> {
    key.strip_suffix(FILE_SUFFIX).filter(|option| is_secret(option))
}

/// What an option of the library names, where it is a file that the library reads by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOption {
    /// A file that everybody may read, such as a certificate.
    Public,
    /// A key: a file that its owner alone should read.
    Private,
    /// Certificates in a file or a folder, or the word `probe` for those of the system.
    Authorities,
}

/// Options that name such files.
const FILES: [(&str, FileOption); 9] = [
    ("https.ca.location", FileOption::Authorities),
    ("sasl.kerberos.keytab", FileOption::Private),
    ("sasl.oauthbearer.assertion.jwt.template.file", FileOption::Public),
    ("sasl.oauthbearer.assertion.private.key.file", FileOption::Private),
    ("ssl.ca.location", FileOption::Authorities),
    ("ssl.certificate.location", FileOption::Public),
    ("ssl.crl.location", FileOption::Public),
    ("ssl.key.location", FileOption::Private),
    ("ssl.keystore.location", FileOption::Private),
];

/// What an option names, where its value is the path of a file.
pub fn file_option(key: &str, value: &str) -> Option<FileOption> {
    let (_, kind) = FILES.iter().find(|(name, _)| *name == key)?;
    let is_word = *kind == FileOption::Authorities && value == "probe";
    (!is_word && !value.is_empty()).then_some(*kind)
}

/// What is wrong with options taken together: the option and the problem.
fn problems_of(options: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for key in options.keys() {
        if FIXED.contains(&key.as_str()) {
            problems.push((key, "is set by tickcast, whose promises rest on it".to_owned()));
        }
        match secret_file_of(key) {
            Some(option) if options.contains_key(option) => {
                problems.push((key, format!("says the same as `{option}`; keep one of them")));
            }
            None if key.ends_with(FILE_SUFFIX) && key != TOKEN_FILE => {
                problems.push((key, "only secrets are read from files".to_owned()));
            }
            _ => {}
        }
    }
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|key| options.get(*key));
    if let Some((key, _)) = options.get_key_value(TOKEN_FILE)
        && mechanism.is_none_or(|mechanism| mechanism != "OAUTHBEARER")
    {
        problems.push((key, "needs \"sasl.mechanism\" = \"OAUTHBEARER\"".to_owned()));
    }
    problems.into_iter().map(|(key, problem)| (format!("options.\"{key}\""), problem)).collect()
}

impl KafkaConfig {
    /// The topics that the daemon writes to, but for the changelogs.
    pub fn outputs(&self) -> impl Iterator<Item = &String> {
        let Self { forecasts, shadows, scores, dead_letters, .. } = self;
        std::iter::once(forecasts).chain(shadows).chain(scores).chain(dead_letters)
    }

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
pub fn read_section(mut section: Section<'_>) -> KafkaConfig {
    let config = read_keys(&mut section);
    check_changelog(&mut section, &config);
    check_assignment(&mut section, &config);
    check_nothing_is_empty(&mut section, &config);
    check_topic_names(&mut section, &config);
    check_topics_differ(&mut section, &config);
    section.finish();
    config
}

fn read_keys(section: &mut Section<'_>) -> KafkaConfig {
    section.shows(&[
        "brokers",
        "group",
        "topics",
        "start",
        "history",
        "forecasts",
        "shadows",
        "scores",
        "dead_letters",
        "changelog",
        "instance",
    ]);
    let lost = [
        ("earliest", LostOffset::Earliest),
        ("latest", LostOffset::Latest),
        ("fail", LostOffset::Fail),
    ];
    let deliveries =
        [("at_least_once", Delivery::AtLeastOnce), ("exactly_once", Delivery::ExactlyOnce)];
    let assignments =
        [("eager", (false, false)), ("cooperative", (true, false)), ("broker", (true, true))];
    let (cooperative, broker_assigns) = section.choice("assignment", &assignments);
    let start = read_start(section);
    let delivery = section.choice("delivery", &deliveries);
    let (instance, static_membership) = read_instance(section);
    let options = read_options(section);
    let commit_interval = read_commit_interval(section, delivery);
    KafkaConfig {
        brokers: section.text("brokers"),
        group: section.text("group"),
        topics: section.texts("topics"),
        start,
        lost_offset: section.choice("on_lost_offset", &lost),
        history: TopicHistory::read(section),
        // The limit fits.
        history_records_max: section.count("history_records_max", 1, HISTORY_RECORDS_MAX) as i64,
        forecasts: section.text("forecasts"),
        shadows: section.optional_text("shadows"),
        scores: section.optional_text("scores"),
        dead_letters: section.optional_text("dead_letters"),
        changelog: section.text("changelog"),
        replication: match section.count("replication", 0, 32) {
            0 => -1,
            // The limit fits.
            count => count as i32,
        },
        delivery,
        commit_interval,
        state_interval: read_state_interval(section, commit_interval),
        // The limit fits.
        state_records_max: section.count("state_records_max", 1, STATE_RECORDS_MAX) as i64,
        instance,
        static_membership,
        cooperative,
        broker_assigns,
        standby_replicas: section.count("standby_replicas", 0, STANDBY_REPLICAS_MAX),
        standby_bytes_max: section.count("standby_bytes_max", STANDBY_BYTES.0, STANDBY_BYTES.1),
        restore_timeout: millis(section, "restore_ms_max", 240_000),
        transaction_timeout: millis(section, "transaction_ms_max", 60_000),
        stall_timeout: millis(section, "stall_ms_max", 3_600_000),
        backoff_max: millis(section, "backoff_ms_max", 600_000),
        headers: section.switch("headers"),
        options,
    }
}

fn millis(section: &mut Section<'_>, name: &'static str, max: usize) -> Duration {
    Duration::from_millis(section.count(name, 1, max) as u64)
}

/// The time between two commits: with transactions a forecast waits for it.
fn read_commit_interval(section: &mut Section<'_>, delivery: Delivery) -> Duration {
    let usual = match delivery {
        Delivery::AtLeastOnce => COMMIT_INTERVAL_MS,
        Delivery::ExactlyOnce => TRANSACTION_INTERVAL_MS,
    };
    let set = section.optional_count("commit_interval_ms", 1, 60_000);
    Duration::from_millis(set.unwrap_or(usual) as u64)
}

/// The time between two commits that store states: each does where nothing is said.
fn read_state_interval(section: &mut Section<'_>, commit_interval: Duration) -> Duration {
    let set = section.optional_count("state_interval_ms", 1, STATE_INTERVAL_MS_MAX);
    let Some(set) = set.map(|set| Duration::from_millis(set as u64)) else {
        return commit_interval;
    };
    if set < commit_interval {
        let least = commit_interval.as_millis();
        let problem = format_args!("must be at least commit_interval_ms, which is {least}");
        section.problem("state_interval_ms", problem);
    }
    set
}

fn read_start(section: &mut Section<'_>) -> StartAt {
    match &*section.text("start") {
        "earliest" => StartAt::Earliest,
        "latest" => StartAt::Latest,
        text => match UnixNanos::parse(text) {
            Ok(time) => StartAt::Time(time),
            Err(_) => {
                section.problem("start", "must be \"earliest\", \"latest\" or a time (RFC 3339)");
                StartAt::Earliest
            }
        },
    }
}

/// The name of this instance, and whether a restart keeps its partitions.
fn read_instance(section: &mut Section<'_>) -> (String, bool) {
    let instance = section.optional_text("instance");
    let static_membership = section.switch("static_membership");
    if static_membership && instance.is_none() {
        section.problem("instance", "must name this instance where static_membership = true");
    }
    (instance.unwrap_or_else(own_name), static_membership)
}

fn read_options(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut options = section.table("options");
    for (key, value) in &mut options {
        let name = format!("options.{key}");
        let path = match file_option(key, value) {
            Some(FileOption::Private) => section.secret_path_of(&name, value),
            Some(FileOption::Public | FileOption::Authorities) => section.path_of(&name, value),
            None if key.ends_with(FILE_SUFFIX) => section.secret_path_of(&name, value),
            None => continue,
        };
        *value = path.to_string_lossy().into_owned();
    }
    for (name, problem) in problems_of(&options) {
        section.problem(&name, problem);
    }
    options
}

fn check_changelog(section: &mut Section<'_>, config: &KafkaConfig) {
    if !config.changelog.contains("{topic}") {
        section.problem("changelog", "must contain {topic}: each input has a changelog of its own");
    }
}

fn check_assignment(section: &mut Section<'_>, config: &KafkaConfig) {
    if !config.broker_assigns {
        return;
    }
    for (key, of_broker) in [
        ("session.timeout.ms", "group.consumer.session.timeout.ms"),
        ("heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ] {
        if config.options.contains_key(key) {
            let problem = format!("is the broker's where it assigns partitions: `{of_broker}`");
            section.problem(&format!("options.\"{key}\""), problem);
        }
    }
}

fn check_nothing_is_empty(section: &mut Section<'_>, config: &KafkaConfig) {
    for (name, empty) in [
        ("brokers", config.brokers.is_empty()),
        ("group", config.group.is_empty()),
        ("forecasts", config.forecasts.is_empty()),
    ] {
        if empty {
            section.problem(name, "must not be empty");
        }
    }
}

fn check_topic_names(section: &mut Section<'_>, config: &KafkaConfig) {
    let named = config.topics.iter().map(|topic| ("topics", topic));
    let outputs = [
        ("forecasts", Some(&config.forecasts)),
        ("shadows", config.shadows.as_ref()),
        ("scores", config.scores.as_ref()),
        ("dead_letters", config.dead_letters.as_ref()),
    ];
    let written = outputs.iter().filter_map(|(name, topic)| Some((*name, (*topic)?)));
    for (name, topic) in named.chain(written) {
        // `check_nothing_is_empty` reports an empty name.
        if !topic.is_empty() && !is_topic_name(topic) {
            section.problem(name, format_args!("`{topic}`: {}", KafkaUrlError::Topic));
        }
    }
}

fn check_topics_differ(section: &mut Section<'_>, config: &KafkaConfig) {
    if config.scores.as_ref() == Some(&config.forecasts) {
        section.problem("scores", "must not be the topic of the forecasts");
    }
    let others = [Some(&config.forecasts), config.scores.as_ref(), config.dead_letters.as_ref()];
    if config.shadows.is_some() && others.contains(&config.shadows.as_ref()) {
        let problem = "must not be the topic of the forecasts, the scores or the dead letters";
        section.problem("shadows", problem);
    }
    if config.topics.iter().any(|topic| config.outputs().any(|output| output == topic)) {
        section.problem("topics", "must not hold a topic that the daemon writes to");
    }
}

/// Far more than a host name has, in bytes.
const HOST_NAME_BYTES_MAX: usize = 4096;

/// A name that no other process has: enough where nothing needs to outlive this one.
fn own_name() -> String {
    let host = read_text("/etc/hostname".as_ref(), HOST_NAME_BYTES_MAX).unwrap_or_default();
    let stamp = (crate::ops::clock::wall_seconds() * 1e3) as u64;
    format!("{}-{}-{stamp:x}", host.trim(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_and_their_files_are_none() {
        for key in ["sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret"] {
            assert!(is_secret(key), "{key}");
            assert_eq!(secret_file_of(&format!("{key}_file")), Some(key));
            assert!(!is_secret(&format!("{key}_file")));
        }
        for key in ["sasl.username", "sasl.username_file", TOKEN_FILE, "client.rack"] {
            assert!(!is_secret(key), "{key}");
            assert_eq!(secret_file_of(key), None, "{key}");
        }
    }

    #[test]
    fn options_that_name_files_are_known() {
        let kind = |key| file_option(key, "probe");
        assert_eq!(kind("ssl.certificate.location"), Some(FileOption::Public));
        assert_eq!(kind("ssl.key.location"), Some(FileOption::Private));
        assert_eq!(kind("ssl.ca.location"), None, "a word of the library");
        assert_eq!(kind("sasl.mechanism"), None);
        assert_eq!(file_option("ssl.ca.location", "ca.pem"), Some(FileOption::Authorities));
        for (key, _) in FILES {
            assert_eq!(file_option(key, ""), None, "left at its default");
            assert!(!is_secret(key) && !key.ends_with(FILE_SUFFIX), "{key}: not ours to resolve");
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_told() {
        let problems = |pairs: &[(&str, &str)]| {
            let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            problems_of(&pairs.iter().map(pair).collect())
        };
        let oauth = ("sasl.mechanism", "OAUTHBEARER");
        assert_eq!(problems(&[("sasl.password_file", "p"), (TOKEN_FILE, "t"), oauth]), []);
        for (pairs, key, words) in [
            (&[("acks", "1")][..], "acks", "is set by tickcast"),
            (&[("sasl.password", "x"), ("sasl.password_file", "p")], "sasl.password_file", "keep"),
            (&[("sasl.username_file", "p")], "sasl.username_file", "only secrets"),
            (&[(TOKEN_FILE, "t"), ("sasl.mechanism", "PLAIN")], TOKEN_FILE, "OAUTHBEARER"),
            (&[(TOKEN_FILE, "t")], TOKEN_FILE, "OAUTHBEARER"),
        ] {
            let found = problems(pairs);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].0, format!("options.\"{key}\""));
            assert!(found[0].1.contains(words), "{found:?}");
        }
    }
}
