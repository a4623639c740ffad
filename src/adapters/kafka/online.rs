//! What only the cluster knows, for `tickcast check --online`.
//!
//! Owns the list of what is looked at: topics, partitions, `cleanup.policy`, rights, and what the
//! group has committed. Promises to change nothing, to join no group and to begin no transaction,
//! and to name every problem at once. Never decides what a daemon does about it: a session does.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use tokio::runtime::Runtime;

use super::client::{self, Observer};
use super::describe::{Ask, Right, TopicFacts};
use super::start::{Found, Mark, Point};
use super::topics::{self, ANSWER_TIMEOUT, Admin};
use super::{KafkaError, SessionError};
use crate::adapters::kafka_config::{ClusterConfig, Delivery, KafkaConfig, TOKEN_FILE};
use crate::ports::source::OnlineReport;

/// What is looked at of a topic.
struct Wanted<'c> {
    /// The key of the configuration that names it.
    key: &'static str,
    name: String,
    rights: &'static [Right],
    part: Part<'c>,
}

/// What a topic is for.
#[derive(Clone, Copy)]
enum Part<'c> {
    Input,
    /// Forecasts, scores or dead letters.
    Output,
    /// The states of this input.
    ChangelogOf(&'c str),
}

/// The look in progress.
struct Look<'c> {
    config: &'c KafkaConfig,
    facts: BTreeMap<String, TopicFacts>,
    /// `cleanup.policy` by topic, as far as it is told.
    policies: BTreeMap<String, String>,
    report: OnlineReport,
}

/// Looks at everything that the daemon will ask of its cluster.
pub(super) fn check(config: &KafkaConfig) -> OnlineReport {
    let mut look = Look {
        config,
        facts: BTreeMap::new(),
        policies: BTreeMap::new(),
        report: OnlineReport::default(),
    };
    if let Err(error) = look.run() {
        look.problem(format_args!("kafka.brokers = {}: {}", config.brokers, words(error)));
    }
    look.report
}

/// As [`check`], of a tool that writes to one topic.
pub(super) fn check_target(cluster: &ClusterConfig, topic: &str) -> OnlineReport {
    let mut report = OnlineReport::default();
    let found = client::tool_consumer(cluster)
        .map_err(client::opening("make a client"))
        .and_then(|observer| facts_of(&Arc::new(observer), &[topic]));
    match found.map(|facts| facts.into_iter().next()) {
        Err(error) => {
            let what = format!("kafka.brokers = {}: {}", cluster.brokers, words(error));
            report.problems.push(what);
        }
        Ok(Some(TopicFacts { error: None, partition_count, rights, .. })) => {
            report.lines.push(format!("topic         {topic}: {partition_count} partitions"));
            if rights.is_some_and(|rights| !rights.contains(&Right::Write)) {
                report.problems.push(format!("bridge.topic: topic `{topic}`: no right to write"));
            }
        }
        Ok(facts) => match facts.and_then(|facts| facts.error) {
            Some(error) if !is_missing(error) => {
                report.problems.push(format!("bridge.topic: topic `{topic}`: {error}"));
            }
            _ => report.lines.push(format!("topic         {topic}: missing, will be created")),
        },
    }
    report
}

fn words(error: SessionError) -> String {
    match error {
        SessionError::Retry(what)
        | SessionError::Refused(what)
        | SessionError::Reshaped(what)
        | SessionError::Final(KafkaError::Setup(what)) => what,
        SessionError::Final(error @ KafkaError::EngineGone) => error.to_string(),
    }
}

fn is_missing(error: RDKafkaErrorCode) -> bool {
    matches!(error, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
}

/// What the cluster says of topics, rights included; a cluster that does not let us in says why.
fn facts_of(observer: &Arc<Observer>, names: &[&str]) -> Result<Vec<TopicFacts>, SessionError> {
    // The plain question first: it knows the words for a cluster that is not reached.
    if let Some(first) = names.first()
        && let Err(error @ SessionError::Refused(_)) = topics::partition_count(observer, first)
    {
        return Err(error);
    }
    topics::describe(observer, names, Ask::Rights).map_err(|error| {
        let complaint = observer.context().complaints().take_newest();
        let complaint = complaint.map_or_else(String::new, |complaint| format!(" ({complaint})"));
        SessionError::retry(format_args!("ask for the topics: {error}{complaint}"))
    })
}

impl<'c> Look<'c> {
    fn run(&mut self) -> Result<(), SessionError> {
        let config = self.config;
        let wanted = wanted(config);
        let observer = client::observer(config).map_err(client::opening("make a client"))?;
        let observer = Arc::new(observer);
        let names: Vec<_> = wanted.iter().map(|topic| topic.name.as_str()).collect();
        let facts = facts_of(&observer, &names)?;
        self.facts = facts.into_iter().map(|fact| (fact.name.clone(), fact)).collect();
        self.ask_policies(&observer);
        for topic in &wanted {
            self.judge(topic);
        }
        if self.facts.values().all(|fact| fact.error.is_some() || fact.id.is_none()) {
            self.warn(
                "the cluster gives topics no ids: one that is created again may be taken for \
                       the old one",
            );
        }
        self.look_at_group(&observer);
        Ok(())
    }

    fn problem(&mut self, what: impl std::fmt::Display) {
        self.report.problems.push(what.to_string());
    }

    fn line(&mut self, head: &str, what: impl std::fmt::Display) {
        self.report.lines.push(format!("{head:<13} {what}"));
    }

    fn warn(&mut self, what: impl std::fmt::Display) {
        self.line("warning", what);
    }

    /// The partitions of a topic that is there.
    fn partition_count(&self, name: &str) -> Option<i32> {
        let fact = self.facts.get(name).filter(|fact| fact.error.is_none())?;
        Some(fact.partition_count)
    }

    fn judge(&mut self, wanted: &Wanted<'c>) {
        let Wanted { key, name, rights, part } = wanted;
        let fact = self.facts.get(name);
        match fact.map(|fact| (fact.error, fact.rights.clone())) {
            Some((None, given)) => {
                let count = self.partition_count(name).unwrap_or_default();
                let policy = self.policies.get(name).map_or("unknown", String::as_str);
                let head = match part {
                    Part::Input => "input",
                    Part::Output => "output",
                    Part::ChangelogOf(_) => "changelog",
                };
                let what = format!("{name}: {count} partitions, cleanup.policy={policy}");
                self.line(head, what);
                self.judge_rights(key, name, rights, given.as_deref());
                self.judge_policy(key, name, *part);
                if let Part::ChangelogOf(input) = *part {
                    self.judge_changelog(name, count, input);
                }
            }
            Some((Some(RDKafkaErrorCode::TopicAuthorizationFailed), _)) => {
                self.problem(format_args!("{key}: topic `{name}`: no right to describe"));
            }
            Some((Some(error), _)) if !is_missing(error) => {
                self.problem(format_args!("{key}: topic `{name}`: {error}"));
            }
            _ if matches!(part, Part::Input) => {
                self.problem(format_args!("{key}: topic `{name}` does not exist"));
            }
            _ if self.config.options.contains_key(TOKEN_FILE) => {
                self.problem(format_args!(
                    "{key}: topic `{name}` does not exist, and with {TOKEN_FILE} it cannot be \
                     created here"
                ));
            }
            _ => self.line("output", format_args!("{name}: missing, will be created")),
        }
    }

    fn judge_rights(&mut self, key: &str, name: &str, wanted: &[Right], given: Option<&[Right]>) {
        let Some(given) = given else {
            return self.warn(format_args!("the cluster does not tell our rights on `{name}`"));
        };
        for right in wanted.iter().filter(|right| !given.contains(right)) {
            let word = match right {
                Right::Read => "read",
                Right::Write => "write",
                Right::Describe => "describe",
            };
            self.problem(format_args!("{key}: topic `{name}`: no right to {word}"));
        }
    }

    fn judge_policy(&mut self, key: &str, name: &str, part: Part<'_>) {
        let Some(policy) = self.policies.get(name).cloned() else {
            return self.warn(format_args!("cannot look at cleanup.policy of `{name}`"));
        };
        match part {
            Part::ChangelogOf(_) if policy != "compact" => self.problem(format_args!(
                "{key}: topic `{name}` has cleanup.policy={policy}; it must be `compact`, or the \
                 states of quiet symbols get lost"
            )),
            Part::Input | Part::Output if policy.contains("compact") => self.warn(format_args!(
                "{key}: topic `{name}` has cleanup.policy={policy}: the broker keeps the newest \
                 record of each symbol only"
            )),
            _ => {}
        }
    }

    fn judge_changelog(&mut self, name: &str, count: i32, input: &str) {
        match self.partition_count(input) {
            Some(of_input) if of_input < count => self.problem(format_args!(
                "kafka.changelog: topic `{name}` has {count} partitions and its input `{input}` \
                 has {of_input}; they must be equal"
            )),
            Some(of_input) if of_input > count => self.warn(format_args!(
                "kafka.changelog: topic `{name}` has {count} partitions and its input `{input}` \
                 has {of_input}; the changelog will be given as many"
            )),
            _ => {}
        }
    }

    /// Asks for `cleanup.policy` of every topic that is there; what is not told stays unknown.
    fn ask_policies(&mut self, observer: &Observer) {
        let there = self.facts.values().filter(|fact| fact.error.is_none());
        let there: Vec<_> = there.map(|fact| fact.name.clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.map_err(SessionError::retry).and_then(|runtime: Runtime| {
            let admin = Admin::open(self.config, runtime.handle())?;
            Ok(admin.cleanup_policies(observer, &there))
        });
        match found {
            Ok(policies) => self.policies = policies,
            Err(error) => {
                self.warn(format_args!("cannot look at settings of topics: {}", words(error)));
            }
        }
    }

    /// Looks at what the group has committed.
    fn look_at_group(&mut self, observer: &Observer) {
        let (config, group) = (self.config, &self.config.group);
        let mut list = TopicPartitionList::new();
        for topic in &config.topics {
            for number in 0..self.partition_count(topic).unwrap_or_default() {
                list.add_partition(topic, number);
            }
        }
        if list.count() > 0 {
            let committed = client::group_consumer(config)
                .and_then(|consumer| consumer.committed_offsets(list, ANSWER_TIMEOUT));
            match committed {
                Ok(committed) => self.judge_committed(observer, &committed),
                Err(error) => {
                    let error = client::without_value(&error);
                    self.problem(format_args!(
                        "kafka.group: group `{group}`: ask for committed offsets: {error}"
                    ));
                }
            }
        }
        if config.delivery == Delivery::ExactlyOnce {
            self.warn(
                "rights on the transactional ids are not looked at: asking would end the \
                 transactions of a running instance",
            );
        }
    }

    fn judge_committed(&mut self, observer: &Observer, committed: &TopicPartitionList) {
        let mut count = 0;
        for element in committed.elements() {
            let rdkafka::Offset::Offset(next) = element.offset() else { continue };
            count += 1;
            let (topic, number) = (element.topic(), element.partition());
            let point = Point { next, mark: Mark::parse(element.metadata()) };
            let log = self.facts.get(topic).and_then(|fact| fact.id);
            match observer.fetch_watermarks(topic, number, ANSWER_TIMEOUT) {
                Ok(ends) => {
                    let (committed, newest_ms, is_added) = (Some(point), None, false);
                    let found = Found { log, ends, committed, states: &[], newest_ms, is_added };
                    if let Some(loss) = found.loss() {
                        self.warn(format_args!(
                            "{topic}[{number}]: {loss} (committed: {next}; the topic holds {} to \
                             {}); kafka.on_lost_offset decides",
                            ends.0, ends.1
                        ));
                    }
                }
                Err(error) => self.problem(format_args!("{topic}[{number}]: {error}")),
            }
        }
        let (group, all) = (self.config.group.clone(), committed.count());
        self.line("group", format_args!("{group}: offsets of {count} of {all} partitions"));
    }
}

/// Every topic of a configuration.
fn wanted(config: &KafkaConfig) -> Vec<Wanted<'_>> {
    let outputs = [
        ("kafka.forecasts", Some(&config.forecasts)),
        ("kafka.shadows", config.shadows.as_ref()),
        ("kafka.scores", config.scores.as_ref()),
        ("kafka.dead_letters", config.dead_letters.as_ref()),
    ];
    let inputs = config.topics.iter().map(|name| Wanted {
        key: "kafka.topics",
        name: name.clone(),
        rights: &[Right::Read, Right::Describe],
        part: Part::Input,
    });
    let outputs = outputs.into_iter().filter_map(|(key, name)| {
        Some(Wanted {
            key,
            name: name?.clone(),
            rights: &[Right::Write, Right::Describe],
            part: Part::Output,
        })
    });
    let changelogs = config.topics.iter().map(|input| Wanted {
        key: "kafka.changelog",
        name: config.changelog_of(input),
        rights: &[Right::Read, Right::Write, Right::Describe],
        part: Part::ChangelogOf(input),
    });
    inputs.chain(outputs).chain(changelogs).collect()
}
