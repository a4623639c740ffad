//! Which topics there must be, and making those that are missing.
//!
//! Owns the shape of the changelogs. Promises that a changelog has one partition per partition of
//! its input and is compacted, or that the daemon says what is wrong instead of beginning. Never
//! changes a topic that exists.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use tracing::{info, warn};

use super::client::Observer;
use super::partitions::PartitionTable;
use super::{Failure, KafkaError, client};
use crate::config::KafkaConfig;

/// How long the cluster may take to answer one question.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks all topics, makes what is missing, and numbers the input's partitions.
pub(super) fn prepare(
    config: &KafkaConfig,
    observer: &Observer,
    runtime: &tokio::runtime::Handle,
) -> Result<PartitionTable, Failure> {
    let mut inputs = Vec::new();
    for topic in &config.topics {
        let Some(count) = partition_count(observer, topic)? else {
            return Err(Failure::retry(format_args!("topic `{topic}` does not exist yet")));
        };
        inputs.push((topic.as_str(), count));
    }
    let admin: AdminClient<DefaultClientContext> =
        client::admin_options(config).create().map_err(client::opening("make the admin client"))?;
    let most = inputs.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let outputs = [Some(&config.forecasts), config.scores.as_ref(), config.dead_letters.as_ref()];
    for topic in outputs.into_iter().flatten() {
        if partition_count(observer, topic)?.is_none() {
            let new = NewTopic::new(topic, most, TopicReplication::Fixed(config.replication));
            create(&admin, runtime, &new)?;
            await_topic(observer, topic)?;
        }
    }
    for (topic, count) in &inputs {
        let changelog = config.changelog_of(topic);
        match partition_count(observer, &changelog)? {
            None => {
                let replication = TopicReplication::Fixed(config.replication);
                let new =
                    NewTopic::new(&changelog, *count, replication).set("cleanup.policy", "compact");
                create(&admin, runtime, &new)?;
                await_topic(observer, &changelog)?;
            }
            Some(found) if found != *count => {
                return Err(Failure::Final(KafkaError::Setup(format!(
                    "kafka.changelog: topic `{changelog}` has {found} partitions and its input \
                     `{topic}` has {count}; they must be equal"
                ))));
            }
            Some(_) => check_compaction(&admin, runtime, &changelog)?,
        }
    }
    Ok(PartitionTable::new(inputs))
}

/// How many partitions a topic has; `None` where there is no such topic.
pub(super) fn partition_count<C: ConsumerContext>(
    observer: &BaseConsumer<C>,
    topic: &str,
) -> Result<Option<i32>, Failure> {
    let metadata = observer
        .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
        .map_err(Failure::while_doing("ask for the topics"))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(i32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(None)
        }
        Some(error) => Err(Failure::retry(format_args!("topic `{topic}`: {error}"))),
    }
}

pub(super) fn create(
    admin: &AdminClient<DefaultClientContext>,
    runtime: &tokio::runtime::Handle,
    topic: &NewTopic<'_>,
) -> Result<(), Failure> {
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
    let answers = runtime
        .block_on(admin.create_topics([topic], &options))
        .map_err(Failure::while_doing("create a topic"))?;
    for answer in answers {
        match answer {
            Ok(name) => info!(topic = name, partitions = topic.num_partitions, "created a topic"),
            // Another instance was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, error)) => {
                return Err(Failure::retry(format_args!("create topic `{name}`: {error}")));
            }
        }
    }
    Ok(())
}

/// Waits until a topic that was just made is known.
pub(super) fn await_topic<C: ConsumerContext>(
    observer: &BaseConsumer<C>,
    topic: &str,
) -> Result<(), Failure> {
    let begun = crate::clock::Stopwatch::start();
    while partition_count(observer, topic)?.is_none() {
        if begun.elapsed() > ANSWER_TIMEOUT {
            return Err(Failure::retry(format_args!("topic `{topic}` is not known yet")));
        }
        crate::clock::pause(Duration::from_millis(20));
    }
    Ok(())
}

fn check_compaction(
    admin: &AdminClient<DefaultClientContext>,
    runtime: &tokio::runtime::Handle,
    changelog: &str,
) -> Result<(), Failure> {
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
    let topic = [ResourceSpecifier::Topic(changelog)];
    let answers = match runtime.block_on(admin.describe_configs(&topic, &options)) {
        Ok(answers) => answers,
        // Some clusters let nobody look; then the operator's word must do.
        Err(error) => {
            warn!(topic = changelog, %error, "cannot check that the changelog is compacted");
            return Ok(());
        }
    };
    for answer in answers {
        let resource = match answer {
            Ok(resource) => resource,
            Err(error) => {
                warn!(topic = changelog, %error, "cannot check that the changelog is compacted");
                continue;
            }
        };
        let policy = resource.get("cleanup.policy").and_then(|entry| entry.value.as_deref());
        // "compact,delete" would forget the state of symbols that were quiet for long.
        if policy != Some("compact") {
            return Err(Failure::Final(KafkaError::Setup(format!(
                "kafka.changelog: topic `{changelog}` has cleanup.policy={}; it must be `compact`, \
                 or the states of quiet symbols get lost",
                policy.unwrap_or("unknown")
            ))));
        }
    }
    Ok(())
}
