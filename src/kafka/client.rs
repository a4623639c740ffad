//! Every option of every client, and their logs.
//!
//! Owns what librdkafka is told. Promises that no default of the library decides anything about
//! delivery: each such option is set here, and the user's own options cannot override those that
//! the promises of this folder rest on. Never logs a secret.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Message, Statistics, TopicPartitionList};
use tracing::{debug, info, warn};

use super::{Failure, KafkaError};
use crate::config::{ClusterConfig, Delivery, KafkaConfig};
use crate::domain::{TimeUnit, UnixNanos};

/// What every producer does unless the user says otherwise.
pub(super) const PRODUCER_DEFAULTS: [(&str, &str); 5] = [
    // The Java client's: any reader of the topic finds a symbol where it expects it.
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("compression.codec", "lz4"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// What the user may set otherwise of a consumer. Prefetch by default of the library is 100,000
/// records and 64 MB per partition, all of it in vain when a partition moves.
pub(super) const CONSUMER_DEFAULTS: [(&str, &str); 3] = [
    ("queued.min.messages", "5000"),
    ("queued.max.messages.kbytes", "16384"),
    ("session.timeout.ms", "10000"),
];

pub(super) type GroupConsumer = BaseConsumer<ConsumerEvents>;

/// When a record was received, by its own timestamp: the broker's where the topic is set so, else
/// the producer's. It is the same whenever the record is read.
pub(super) fn received(message: &BorrowedMessage<'_>) -> Option<UnixNanos> {
    let milliseconds = message.timestamp().to_millis()?;
    UnixNanos::from_integer(milliseconds, TimeUnit::Milliseconds).ok()
}

/// What the group decided.
#[derive(Clone, Debug)]
pub(super) enum Rebalance {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// Keeps what the group decided until the consumer's owner asks; a lock and no channel, because
/// the library wants a context that is shared. Only the thread that polls ever takes it.
#[derive(Debug, Default)]
pub(super) struct ConsumerEvents {
    rebalances: Mutex<Vec<Rebalance>>,
    /// The consumer is being dropped: nobody will ask any more.
    closing: AtomicBool,
    /// Records of all assigned partitions that were not yet read, as of the last statistics.
    lag: AtomicI64,
    /// Whether no broker was connected at the last statistics.
    cut_off: AtomicBool,
}

/// Remembers why a cluster does not let us in: every call then merely times out.
#[derive(Debug, Default)]
pub(super) struct ObserverEvents {
    refusal: OnceLock<String>,
}

pub(super) type Observer = BaseConsumer<ObserverEvents>;

impl ObserverEvents {
    /// The cluster's own words, if it has refused us.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }
}

impl ClientContext for ObserverEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        warn!(%error, reason, "the cluster is not reached");
        if matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::SSL
            )
        ) {
            // The first refusal is as good as any.
            let _ = self.refusal.set(reason.to_owned());
        }
    }
}

impl ConsumerContext for ObserverEvents {}

impl ConsumerEvents {
    fn lock(&self) -> MutexGuard<'_, Vec<Rebalance>> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the group has decided since the last call, in order.
    pub(super) fn take(&self) -> Vec<Rebalance> {
        std::mem::take(&mut self.lock())
    }

    /// Records still to be read, as of the last statistics.
    pub(super) fn lag(&self) -> i64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// Whether no broker was connected, as of the last statistics.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// From here on revocations are accepted at once, without which a consumer cannot close.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for ConsumerEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        debug!(%error, reason, "the consumer reports an error");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        // -1 stands for a partition that is not read here.
        let lag = partitions.map(|partition| partition.consumer_lag.max(0)).sum();
        self.lag.store(lag, Ordering::Relaxed);
        let connected = statistics.brokers.values().any(|broker| broker.state == "UP");
        self.cut_off.store(!connected, Ordering::Relaxed);
    }
}

impl ConsumerContext for ConsumerEvents {
    /// Takes the decision down instead of acting on it: its owner drains the shards first.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                warn!(%error, "cannot give the partitions back while closing");
            }
            return;
        }
        self.lock().push(match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                Rebalance::Assign(partitions.clone())
            }
            _ => Rebalance::Revoke(partitions.clone()),
        });
    }
}

/// A line of the library's own log.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // The user's options go to every client, and each is told which are for others.
        RDKafkaLogLevel::Warning if facility == "CONFWARN" && message.contains("is a ") => {
            debug!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        // What it calls an error is a connection that it tries again by itself.
        | RDKafkaLogLevel::Warning => warn!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Debug => debug!(facility, "librdkafka: {message}"),
    }
}

/// What all clients have in common: the user's options first, so that ours lie over them.
fn common(config: &KafkaConfig) -> ClientConfig {
    base(&config.brokers, &config.options, &format!("tickcast-{}", config.instance))
}

fn base(brokers: &str, options: &BTreeMap<String, String>, name: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (key, value) in options {
        client.set(key, value);
    }
    defaults(&mut client, options, &[("reconnect.backoff.max.ms", "2000")]);
    client
        .set("bootstrap.servers", brokers)
        .set("client.id", name)
        .set("allow.auto.create.topics", "false");
    client
}

/// Sets what the user has not.
fn defaults(client: &mut ClientConfig, user: &BTreeMap<String, String>, ours: &[(&str, &str)]) {
    for (key, value) in ours.iter().filter(|(key, _)| !user.contains_key(*key)) {
        client.set(*key, *value);
    }
}

/// A consumer of the tools: no group, nothing committed, only what is committed by others.
pub(super) fn tool_consumer(
    cluster: &ClusterConfig,
) -> Result<BaseConsumer<ToolEvents>, ClientError> {
    let mut options = base(&cluster.brokers, &cluster.options, "tickcast");
    defaults(
        &mut options,
        &cluster.options,
        &[("queued.min.messages", "10000"), ("queued.max.messages.kbytes", "8192")],
    );
    options
        // The library wants a group's name for any assignment; nothing is ever committed to it.
        .set("group.id", "tickcast-tools")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // A place that is gone must not be replaced silently by another one.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed");
    options.create_with_context(ToolEvents::default())
}

/// The options of a producer of the tools. `patience_ms` is how long a record is tried, for ever
/// where it is 0.
pub(super) fn tool_producer_options(cluster: &ClusterConfig, patience_ms: u32) -> ClientConfig {
    let mut options = base(&cluster.brokers, &cluster.options, "tickcast");
    defaults(&mut options, &cluster.options, &PRODUCER_DEFAULTS);
    defaults(&mut options, &cluster.options, &[("message.timeout.ms", &patience_ms.to_string())]);
    promise_delivery(&mut options);
    options
}

/// Options for the admin client of the tools.
pub(super) fn tool_admin_options(cluster: &ClusterConfig) -> ClientConfig {
    base(&cluster.brokers, &cluster.options, "tickcast")
}

/// Keeps what a client of the tools complains of, to be told where something fails for it: the
/// library answers a failed question with no more than "timed out".
#[derive(Debug, Default)]
pub(super) struct ToolEvents {
    last: Mutex<Option<String>>,
}

impl ToolEvents {
    /// The newest complaint since the last call.
    pub(super) fn take_complaint(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for ToolEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        debug!(%error, reason, "the client reports an error");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for ToolEvents {}

/// A record is acknowledged by all replicas, once, and in order.
pub(super) fn promise_delivery(options: &mut ClientConfig) {
    options.set("enable.idempotence", "true").set("acks", "all");
}

/// The consumer of the group.
pub(super) fn group_consumer(config: &KafkaConfig) -> Result<GroupConsumer, ClientError> {
    let mut options = common(config);
    let strategy = if config.cooperative { "cooperative-sticky" } else { "range,roundrobin" };
    if config.static_membership {
        options.set("group.instance.id", &config.instance);
    }
    defaults(&mut options, &config.options, &CONSUMER_DEFAULTS);
    options
        .set("group.id", &config.group)
        .set("partition.assignment.strategy", strategy)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", "2000")
        // We decide where to begin, and what a lost offset means.
        .set("auto.offset.reset", "error")
        // Also makes the broker wait for open transactions before it tells a committed offset.
        .set("isolation.level", "read_committed");
    BaseConsumer::from_config_and_context(&options, ConsumerEvents::default())
}

/// A consumer without a group that reads to the end of what is committed.
pub(super) fn restoring_consumer(config: &KafkaConfig) -> Result<BaseConsumer, ClientError> {
    let mut options = common(config);
    options
        // The library wants a group's name for any assignment; nothing is ever committed to it.
        .set("group.id", format!("{}-restore", config.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed");
    options.create()
}

/// A client that looks at the cluster, open transactions included.
pub(super) fn observer(config: &KafkaConfig) -> Result<Observer, ClientError> {
    let mut options = common(config);
    options.set("isolation.level", "read_uncommitted");
    BaseConsumer::from_config_and_context(&options, ObserverEvents::default())
}

/// The options of the producer.
pub(super) fn producer_options(config: &KafkaConfig) -> ClientConfig {
    let mut options = common(config);
    defaults(&mut options, &config.options, &PRODUCER_DEFAULTS);
    promise_delivery(&mut options);
    if config.delivery == Delivery::ExactlyOnce {
        options.set("transactional.id", format!("{}-{}", config.group, config.instance));
        defaults(&mut options, &config.options, &[("transaction.timeout.ms", "15000")]);
    }
    options
}

/// Options for the admin client.
pub(super) fn admin_options(config: &KafkaConfig) -> ClientConfig {
    common(config)
}

/// The library's words about an option, without the value that it repeats behind them: the option
/// may be a mistyped password.
pub(super) fn without_value(error: &ClientError) -> String {
    match error {
        ClientError::ClientConfig(_, words, key, _) => format!("option `{key}`: {words}"),
        other => other.to_string(),
    }
}

/// For `map_err` at a start: an option that the library refuses will not be taken later either.
pub(super) fn opening<'c>(context: &'c str) -> impl Fn(ClientError) -> Failure + 'c {
    move |error| match error {
        ClientError::ClientConfig(..) | ClientError::ClientCreation(_) => {
            let error = without_value(&error);
            Failure::Final(KafkaError::Setup(format!("{context}: {error}")))
        }
        _ => Failure::Retry(format!("{context}: {error}")),
    }
}

/// Whether an error while reading passes by itself: the library tries again, and a record only
/// comes later.
pub(super) fn passes(error: &ClientError) -> bool {
    let ClientError::MessageConsumption(code) = error else { return false };
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::ReplicaNotAvailable
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::RebalanceInProgress
            // What follows is a revocation, which says whether the partitions are lost.
            | RDKafkaErrorCode::PollExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_option_is_told_without_its_value() {
        let mut options = ClientConfig::new();
        options.set("sasl.pasword", "hunter2");
        let refused = options.create::<BaseConsumer>().map(drop).unwrap_err();
        let Failure::Final(KafkaError::Setup(words)) = opening("make a client")(refused) else {
            panic!("an option that there is not will not be there later")
        };
        assert!(words.contains("sasl.pasword") && !words.contains("hunter2"), "{words}");
    }
}
