//! Which topics there must be, and making those that are missing.
//!
//! Owns the shape of the changelogs. Promises that a changelog has one partition per partition of
//! its input and is compacted, or that the daemon says what is wrong instead of beginning. Of a
//! topic that exists it changes one thing: a changelog grows with its input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResourceResult, NewPartitions, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};
use tracing::{info, warn};

use super::client::Observer;
use super::describe::{Ask, Question, TopicFacts, TopicId};
use super::partitions::PartitionTable;
use super::{KafkaError, SessionError, client};
use crate::adapters::kafka_config::{KafkaConfig, TOKEN_FILE};
use crate::ops::clock::Stopwatch;

/// How long the cluster may take to answer one question.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one attempt at it may take: then it is asked whether the cluster lets us in at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);

/// How a changelog is kept beside its policy. A restart reads all of it: the broker compacts no
/// segment that is still written to, and no partition before this part of it is replaced. Batches
/// are kept as the producer has compressed them, whatever the broker does with other topics.
const CHANGELOG_SIZES: [(&str, &str); 3] = [
    ("segment.bytes", "52428800"),
    ("min.cleanable.dirty.ratio", "0.3"),
    ("compression.type", "producer"),
];

/// What came of making a topic.
enum Created {
    /// It is there, whoever made it.
    Made,
    /// The cluster does not take its settings.
    Refused(RDKafkaErrorCode),
}

/// Whether a cluster refuses a topic for its settings.
fn is_of_settings(error: RDKafkaErrorCode) -> bool {
    matches!(error, RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::PolicyViolation)
}

/// The topics as a session finds them.
pub(super) struct Shape {
    /// The input's partitions by number.
    pub(super) table: PartitionTable,
    /// The inputs, in the order of the configuration.
    pub(super) inputs: Vec<InputTopic>,
    /// Whether the cluster tells no ids.
    pub(super) is_blind: bool,
}

/// An input topic with its changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InputTopic {
    pub(super) name: String,
    pub(super) partition_count: i32,
    pub(super) id: Option<TopicId>,
    pub(super) changelog: String,
    pub(super) changelog_id: Option<TopicId>,
}

/// A partition of a changelog, with what tells its log from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Followable {
    pub(super) topic: String,
    pub(super) number: i32,
    pub(super) id: TopicId,
}

impl InputTopic {
    /// A partition of its changelog, to be followed; `None` where nothing tells its log from
    /// others.
    pub(super) fn followable(&self, number: i32) -> Option<Followable> {
        Some(Followable { topic: self.changelog.clone(), number, id: self.changelog_id? })
    }
}

/// Checks all topics, makes what is missing, and numbers the input's partitions.
pub(super) fn prepare(
    config: &KafkaConfig,
    observer: &Arc<Observer>,
    runtime: &tokio::runtime::Handle,
) -> Result<Shape, SessionError> {
    let mut inputs = Vec::new();
    for topic in &config.topics {
        let Some(count) = partition_count(observer, topic)? else {
            return Err(SessionError::retry(format_args!("topic `{topic}` does not exist yet")));
        };
        inputs.push((topic.as_str(), count));
    }
    let admin = Admin::open(config, runtime)?;
    let most = inputs.iter().map(|(_, count)| *count).max().unwrap_or(1);
    for topic in config.outputs() {
        if partition_count(observer, topic)?.is_none() {
            let new = NewTopic::new(topic, most, TopicReplication::Fixed(config.replication));
            admin.make(&new)?;
            await_topic(observer, topic)?;
        }
    }
    for (topic, count) in &inputs {
        let changelog = config.changelog_of(topic);
        match partition_count(observer, &changelog)? {
            None => make_changelog(config, observer, &admin, &changelog, *count)?,
            Some(found) if found < *count => {
                admin.check_compaction(observer, &changelog)?;
                admin.grow(&changelog, found, *count)?;
                await_partitions(observer, &changelog, *count)?;
            }
            Some(found) if found > *count => {
                return Err(SessionError::Final(KafkaError::Setup(format!(
                    "kafka.changelog: topic `{changelog}` has {found} partitions and its input \
                     `{topic}` has {count}; they must be equal"
                ))));
            }
            Some(_) => admin.check_compaction(observer, &changelog)?,
        }
    }
    identify(config, observer, &inputs)
}

/// Asks for the ids of the topics.
fn identify(
    config: &KafkaConfig,
    observer: &Arc<Observer>,
    inputs: &[(&str, i32)],
) -> Result<Shape, SessionError> {
    let table = PartitionTable::new(inputs.iter().copied());
    let changelogs: Vec<_> = config.topics.iter().map(|topic| config.changelog_of(topic)).collect();
    let names: Vec<_> = config.topics.iter().chain(&changelogs).map(String::as_str).collect();
    let facts = match describe(observer, &names, Ask::Shape) {
        Ok(facts) => facts,
        Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => {
            Vec::new()
        }
        Err(error) => {
            return Err(SessionError::retry(format_args!("ask for the ids of topics: {error}")));
        }
    };
    let id = |name: &str| facts.iter().find(|fact| fact.name == name).and_then(|fact| fact.id);
    let inputs: Vec<_> = inputs
        .iter()
        .zip(changelogs)
        .map(|((name, partition_count), changelog)| InputTopic {
            name: (*name).to_owned(),
            partition_count: *partition_count,
            id: id(name),
            changelog_id: id(&changelog),
            changelog,
        })
        .collect();
    let is_blind = inputs.iter().all(|input| input.id.is_none());
    if is_blind {
        warn!(
            "the cluster gives topics no ids; a topic that is deleted and created again is \
             recognized by offsets and timestamps only"
        );
    }
    Ok(Shape { table, inputs, is_blind })
}

/// What the cluster says of topics, in one answer.
pub(super) fn describe(
    observer: &Arc<Observer>,
    names: &[&str],
    ask: Ask,
) -> Result<Vec<TopicFacts>, RDKafkaErrorCode> {
    let begun = Stopwatch::start();
    loop {
        let answer = describe_once(observer, names, ask);
        let is_late = begun.elapsed() > ANSWER_TIMEOUT;
        match answer {
            Err(RDKafkaErrorCode::OperationTimedOut) if !is_late => client::serve(observer),
            answer => return answer,
        }
    }
}

fn describe_once(
    observer: &Arc<Observer>,
    names: &[&str],
    ask: Ask,
) -> Result<Vec<TopicFacts>, RDKafkaErrorCode> {
    // The one that has just answered does not have to be looked for.
    let broker = observer
        .fetch_metadata(names.first().copied(), ATTEMPT_TIMEOUT)
        .map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))?
        .orig_broker_id();
    let question = Question::ask(observer, broker, names, ask);
    question.ok_or(RDKafkaErrorCode::InvalidArgument)?.wait(ANSWER_TIMEOUT)
}

/// The brokers that there are; none where nobody answers soon.
pub(super) fn brokers(observer: &Observer, topic: &str) -> Vec<i32> {
    let metadata = observer.fetch_metadata(Some(topic), ATTEMPT_TIMEOUT);
    metadata.map_or_else(
        |_| Vec::new(),
        |metadata| metadata.brokers().iter().map(MetadataBroker::id).collect(),
    )
}

/// Makes a changelog, and waits until it is known.
fn make_changelog(
    config: &KafkaConfig,
    observer: &Observer,
    admin: &Admin<'_>,
    changelog: &str,
    partition_count: i32,
) -> Result<(), SessionError> {
    let plain = || {
        let replication = TopicReplication::Fixed(config.replication);
        NewTopic::new(changelog, partition_count, replication).set("cleanup.policy", "compact")
    };
    let sized = CHANGELOG_SIZES.iter().fold(plain(), |new, (key, value)| new.set(key, value));
    match admin.create(&sized)? {
        Created::Made => {}
        // Some clusters leave these settings to nobody.
        Created::Refused(error) => {
            admin.make(&plain())?;
            let settings = CHANGELOG_SIZES.map(|(key, value)| format!("{key}={value}")).join(", ");
            warn!(
                topic = changelog,
                %error,
                settings,
                "the cluster does not take these settings of a changelog; it is created without \
                 them, and a restart may read more than the newest states"
            );
        }
    }
    await_topic(observer, changelog)
}

/// Makes the changelog of an input again, which was there when the session began.
pub(super) fn remake_changelog(
    config: &KafkaConfig,
    observer: &Arc<Observer>,
    runtime: &tokio::runtime::Handle,
    input: &InputTopic,
) -> Result<Option<TopicId>, SessionError> {
    let InputTopic { changelog, partition_count: count, .. } = input;
    if partition_count(observer, changelog)?.is_none() {
        let admin = Admin::open(config, runtime)?;
        make_changelog(config, observer, &admin, changelog, *count)?;
    }
    let facts = describe(observer, &[changelog], Ask::Shape)
        .map_err(SessionError::while_doing("ask for the id of the changelog"))?;
    Ok(facts.first().and_then(|fact| fact.id))
}

/// What the cluster says of a topic. One that does not let us in is not asked for as long as one
/// that is merely away.
fn metadata(observer: &Observer, topic: &str) -> Result<Metadata, SessionError> {
    let begun = Stopwatch::start();
    loop {
        client::serve(observer);
        let error = match observer.fetch_metadata(Some(topic), ATTEMPT_TIMEOUT) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        client::serve(observer);
        let complaints = observer.context().complaints();
        if let Some(why) = complaints.take_refusal() {
            return Err(SessionError::Refused(why));
        }
        if !client::is_silence(&error) || begun.elapsed() > ANSWER_TIMEOUT {
            let complaint =
                complaints.take_newest().map_or_else(String::new, |c| format!(" ({c})"));
            return Err(SessionError::retry(format_args!(
                "ask for the topics: {error}{complaint}"
            )));
        }
    }
}

/// How many partitions a topic has; `None` where there is no such topic.
pub(super) fn partition_count(
    observer: &Observer,
    topic: &str,
) -> Result<Option<i32>, SessionError> {
    let metadata = metadata(observer, topic)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(i32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(None)
        }
        Some(error) => Err(SessionError::retry(format_args!("topic `{topic}`: {error}"))),
    }
}

/// Waits until a topic that was just made is known.
pub(super) fn await_topic(observer: &Observer, topic: &str) -> Result<(), SessionError> {
    await_partitions(observer, topic, 1)
}

/// Waits until so many partitions of a topic are known.
fn await_partitions(observer: &Observer, topic: &str, count: i32) -> Result<(), SessionError> {
    let begun = Stopwatch::start();
    while partition_count(observer, topic)?.is_none_or(|known| known < count) {
        if begun.elapsed() > ANSWER_TIMEOUT {
            return Err(SessionError::retry(format_args!("topic `{topic}` is not known yet")));
        }
        crate::ops::clock::pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Makes topics and looks at their settings. The library gives its admin client no way to ask for
/// a token, so with tokens topics have to be there.
pub(super) struct Admin<'r> {
    client: Option<AdminClient<DefaultClientContext>>,
    runtime: &'r tokio::runtime::Handle,
}

impl<'r> Admin<'r> {
    pub(super) fn open(
        config: &KafkaConfig,
        runtime: &'r tokio::runtime::Handle,
    ) -> Result<Self, SessionError> {
        let has_token = config.options.contains_key(TOKEN_FILE);
        Self::with(client::admin_options(config), has_token, runtime)
            .map_err(client::opening("make the admin client"))
    }

    /// An admin client with these options; none where they name a token.
    pub(super) fn with(
        options: Result<rdkafka::ClientConfig, ClientError>,
        has_token: bool,
        runtime: &'r tokio::runtime::Handle,
    ) -> Result<Self, ClientError> {
        let client = if has_token { None } else { Some(options?.create()?) };
        Ok(Self { client, runtime })
    }

    /// Limits of one question. Without one for the request the library waits for a minute.
    fn limits() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(ANSWER_TIMEOUT))
            .operation_timeout(Some(ANSWER_TIMEOUT))
    }

    /// Makes a topic, if nobody else was quicker.
    pub(super) fn make(&self, topic: &NewTopic<'_>) -> Result<(), SessionError> {
        match self.create(topic)? {
            Created::Made => Ok(()),
            Created::Refused(error) => {
                let name = topic.name;
                Err(SessionError::retry(format_args!("create topic `{name}`: {error}")))
            }
        }
    }

    /// As [`Admin::make`], where the cluster may not take the settings of the topic.
    fn create(&self, topic: &NewTopic<'_>) -> Result<Created, SessionError> {
        let Some(client) = &self.client else {
            let (name, partitions) = (topic.name, topic.num_partitions);
            return Err(SessionError::retry(format_args!(
                "topic `{name}` does not exist, and with {TOKEN_FILE} it cannot be made here: \
                 make it with {partitions} partitions{}",
                topic
                    .config
                    .iter()
                    .map(|(key, value)| format!(", {key}={value}"))
                    .collect::<String>()
            )));
        };
        let answers = self
            .runtime
            .block_on(client.create_topics([topic], &Self::limits()))
            .map_err(SessionError::while_doing("create a topic"))?;
        for answer in answers {
            match answer {
                Ok(name) => {
                    info!(topic = name, partitions = topic.num_partitions, "created a topic");
                }
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, error)) if is_of_settings(error) => return Ok(Created::Refused(error)),
                Err((name, error)) => {
                    return Err(SessionError::retry(format_args!(
                        "create topic `{name}`: {error}"
                    )));
                }
            }
        }
        Ok(Created::Made)
    }

    /// Adds partitions to a changelog, up to `count`.
    fn grow(&self, changelog: &str, found: i32, count: i32) -> Result<(), SessionError> {
        let refused = |why: &dyn std::fmt::Display| {
            SessionError::retry(format_args!(
                "kafka.changelog: topic `{changelog}` has {found} partitions and its input has \
                 {count}; the changelog cannot be given more here: {why}; add them with \
                 kafka-topics --alter --partitions {count}"
            ))
        };
        let Some(client) = &self.client else {
            return Err(refused(&"the admin client has no token"));
        };
        let partitions = NewPartitions::new(changelog, usize::try_from(count).unwrap_or_default());
        let answers =
            self.runtime.block_on(client.create_partitions([&partitions], &Self::limits()));
        for answer in answers.map_err(|error| refused(&error))? {
            match answer {
                Ok(_) => info!(topic = changelog, found, count, "added partitions to a changelog"),
                // Another instance was quicker.
                Err((_, RDKafkaErrorCode::InvalidPartitions)) => {}
                Err((_, error)) => return Err(refused(&error)),
            }
        }
        Ok(())
    }

    /// Whether a changelog keeps every symbol. Some clusters let nobody look; then the operator's
    /// word must do.
    fn check_compaction(&self, observer: &Observer, changelog: &str) -> Result<(), SessionError> {
        let unseen = |why: &dyn std::fmt::Display| {
            warn!(topic = changelog, error = %why, "cannot check that the changelog is compacted");
        };
        let Some(client) = &self.client else {
            unseen(&"the admin client has no token");
            return Ok(());
        };
        let policies = match self.ask_policies(client, observer, &[changelog])? {
            Ok(policies) => policies,
            Err(error) => {
                unseen(&error);
                return Ok(());
            }
        };
        for policy in policies {
            let policy = match policy {
                Ok((_, policy)) => policy,
                Err(error) => {
                    unseen(&error);
                    continue;
                }
            };
            // "compact,delete" would forget the state of symbols that were quiet for long.
            if policy.as_deref() != Some("compact") {
                return Err(SessionError::Final(KafkaError::Setup(format!(
                    "kafka.changelog: topic `{changelog}` has cleanup.policy={}; it must be \
                     `compact`, or the states of quiet symbols get lost",
                    policy.as_deref().unwrap_or("unknown")
                ))));
            }
        }
        Ok(())
    }

    /// `cleanup.policy` of topics, of those whose settings we may look at.
    pub(super) fn cleanup_policies(
        &self,
        observer: &Observer,
        topics: &[String],
    ) -> BTreeMap<String, String> {
        let names: Vec<_> = topics.iter().map(String::as_str).collect();
        let Some(client) = &self.client else { return BTreeMap::new() };
        let Ok(Ok(policies)) = self.ask_policies(client, observer, &names) else {
            return BTreeMap::new();
        };
        let told = policies.into_iter().flatten();
        told.filter_map(|(name, policy)| Some((name, policy?))).collect()
    }

    /// Asks for `cleanup.policy` of topics.
    fn ask_policies(
        &self,
        client: &AdminClient<DefaultClientContext>,
        observer: &Observer,
        topics: &[&str],
    ) -> Result<Result<Policies, ClientError>, SessionError> {
        let Some(first) = topics.first() else { return Ok(Ok(Vec::new())) };
        let resources: Vec<_> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        // Any broker can answer, and the one that has just done so does not have to be looked for.
        let broker = metadata(observer, first)?.orig_broker_id();
        let limits = Self::limits().broker_id(broker);
        let answers = match self.runtime.block_on(client.describe_configs(&resources, &limits)) {
            Ok(answers) => answers,
            Err(error) => return Ok(Err(error)),
        };
        let policy = |answer: ConfigResourceResult| {
            let resource = answer?;
            let OwnedResourceSpecifier::Topic(name) = &resource.specifier else {
                return Err(RDKafkaErrorCode::BadMessage);
            };
            let policy = resource.get("cleanup.policy").and_then(|entry| entry.value.clone());
            Ok((name.clone(), policy))
        };
        Ok(Ok(answers.into_iter().map(policy).collect()))
    }
}

/// `cleanup.policy` by topic; `None` where the topic does not say, an error where we may not look.
type Policies = Vec<Result<(String, Option<String>), RDKafkaErrorCode>>;
