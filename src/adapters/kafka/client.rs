//! Every option of every client, and their logs.
//!
//! Owns what librdkafka is told. Promises that no default of the library decides anything about
//! delivery: each such option is set here, and the user's own options cannot override those that
//! the promises of this folder rest on. Never logs a secret.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Message, Statistics, TopicPartitionList};
use tracing::{debug, info, warn};

use super::publisher::Turn;
use super::refusal::refusal;
use super::secret::{self, TokenFile};
use super::{KafkaError, SessionError, files};
use crate::adapters::kafka_config::{ClusterConfig, Delivery, KafkaConfig};
use crate::core::domain::{TimeUnit, UnixNanos};

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
/// records and 64 MB per partition, all of it in vain when a partition moves. Once so many are
/// prefetched the library does not fetch for a second, and the shards are through with them before.
pub(super) const CONSUMER_DEFAULTS: [(&str, &str); 5] = [
    ("queued.min.messages", "5000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.queue.backoff.ms", "10"),
    ("session.timeout.ms", "10000"),
    // A rebalance is noticed with the next heartbeat. The library looks whether one is due once a
    // second, or when something wakes its thread: the session does ([`wake`]).
    ("heartbeat.interval.ms", "300"),
];

/// What the broker decides where it assigns partitions: the library refuses these then.
const SET_BY_BROKER: [&str; 2] = ["session.timeout.ms", "heartbeat.interval.ms"];

/// What the user may set otherwise of the consumer that reads stored states. By default the library
/// stops fetching for a second whenever more than `queued.min.messages` wait.
const RESTORING_DEFAULTS: [(&str, &str); 3] = [
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "32768"),
    ("fetch.queue.backoff.ms", "1"),
];

/// How long a consumer may go without a poll where the user says nothing, by the library.
const POLL_INTERVAL: Duration = Duration::from_secs(300);

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
    /// Whether this member has asked to be part of the group's next generation and does not know
    /// its partitions yet.
    joins: AtomicBool,
    /// Whether lines of the library's own log that are for debugging are asked for.
    shows_debug: bool,
    complaints: Complaints,
    token: Option<TokenFile>,
}

/// What a client complained of: a call that fails for it merely says that it timed out.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    newest: Option<String>,
    refusal: Option<String>,
}

impl Complaints {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hear(&self, error: &ClientError, reason: &str) {
        let mut heard = self.lock();
        if let Some(refusal) = refusal(error.rdkafka_error_code(), reason) {
            // The first refusal is as good as any.
            heard.refusal.get_or_insert(refusal);
        }
        heard.newest = Some(reason.to_owned());
    }

    /// The newest complaint since the last call.
    pub(super) fn take_newest(&self) -> Option<String> {
        self.lock().newest.take()
    }

    /// Why the cluster does not let us in, if it has said so since the last call.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.lock().refusal.take()
    }
}

/// Keeps what a client complains of, and answers it with the token of a file.
#[derive(Debug, Default)]
pub(super) struct ClientEvents {
    complaints: Complaints,
    token: Option<TokenFile>,
}

impl ClientEvents {
    fn new(token: Option<TokenFile>) -> Self {
        Self { complaints: Complaints::default(), token }
    }

    /// What the client complained of.
    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }
}

impl ClientContext for ClientEvents {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        debug!(%error, reason, "the client reports an error");
        self.complaints.hear(&error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        secret::answer(self.token.as_ref())
    }
}

impl ConsumerContext for ClientEvents {}

/// A consumer that only asks questions, or reads without a group.
pub(super) type Observer = BaseConsumer<ClientEvents>;

/// Has a consumer read these partitions from these places on, and no others.
///
/// librdkafka keeps the mark of a paused partition when the partition is given away, so one that
/// comes back would never be read: each assignment removes the mark first.
#[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
pub(super) fn assign<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    places: &TopicPartitionList,
) -> Result<(), ClientError> {
    consumer.resume(places)?;
    consumer.assign(places)
}

/// As [`assign`], beside the partitions that the consumer reads.
#[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
pub(super) fn assign_further<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    places: &TopicPartitionList,
) -> Result<(), ClientError> {
    consumer.resume(places)?;
    consumer.incremental_assign(places)
}

/// Events that one call of [`serve`] looks at.
const EVENTS_MAX: usize = 64;

/// Takes what has come up for a client that nobody polls otherwise: complaints, lines of its log,
/// and the question after a token, without which it cannot log in.
pub(super) fn serve(observer: &Observer) {
    for _ in 0..EVENTS_MAX {
        // Nothing is said both of an event that was taken and of none.
        drop(observer.poll(Duration::ZERO));
    }
}

/// Wakes the thread of a consumer that sends heartbeats. By itself it looks once a second whether
/// one is due, whatever `heartbeat.interval.ms` is: a question of any kind wakes it.
pub(super) fn wake(consumer: &GroupConsumer) {
    // The answer is not used.
    drop(consumer.assignment());
}

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

    /// Whether the group is between two generations, as far as this member knows: what it commits
    /// now waits until the next one begins, and is refused there.
    pub(super) fn joins(&self) -> bool {
        self.joins.load(Ordering::Relaxed)
    }

    /// From here on revocations are accepted at once, without which a consumer cannot close.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Why the cluster does not let us in, if it has said so since the last call.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.complaints.take_refusal()
    }
}

impl ClientContext for ConsumerEvents {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == JOIN_STATE_FACILITY
            && let Some(joins) = joins_in(message)
        {
            self.joins.store(joins, Ordering::Relaxed);
        }
        if self.shows_debug || !matches!(level, RDKafkaLogLevel::Debug) {
            log_line(level, facility, message);
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        debug!(%error, reason, "the consumer reports an error");
        self.complaints.hear(&error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        secret::answer(self.token.as_ref())
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

/// Lines of the library's log that tell where a member stands in its group. Nothing else does: its
/// interface has no word for it.
const JOIN_STATE_FACILITY: &str = "CGRPJOINSTATE";

/// What has to be debugged for these lines to come.
const JOIN_STATE_DEBUG: &str = "cgrp";

/// Whether a member joins the next generation of its group, by such a line; `None` where it does
/// not say.
fn joins_in(line: &str) -> Option<bool> {
    let (_, state) = line.rsplit_once(" -> ")?;
    let state = state.split(' ').next()?;
    Some(matches!(state, "init" | "wait-join" | "wait-metadata" | "wait-sync"))
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
            if let Err(error) = give_all_back(consumer) {
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

/// Gives every partition back, in the way of the group's protocol.
pub(super) fn give_all_back<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
) -> Result<(), ClientError> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => {
            consumer.assignment().and_then(|list| consumer.incremental_unassign(&list))
        }
        _ => consumer.unassign(),
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

/// Options of a client with the file of its token, which goes into its context.
pub(super) struct Prepared {
    pub(super) options: ClientConfig,
    pub(super) token: Option<TokenFile>,
}

impl Prepared {
    fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.options.set(key, value);
        self
    }

    /// Sets what the user has not.
    fn defaults(&mut self, user: &BTreeMap<String, String>, ours: &[(&str, &str)]) -> &mut Self {
        for (key, value) in ours.iter().filter(|(key, _)| !user.contains_key(*key)) {
            self.set(key, *value);
        }
        self
    }

    fn observe(self) -> Result<Observer, ClientError> {
        self.options.create_with_context(ClientEvents::new(self.token))
    }
}

/// A record is acknowledged by all replicas, once, and in order.
pub(super) fn promise_delivery(options: &mut ClientConfig) {
    options.set("enable.idempotence", "true").set("acks", "all");
}

/// What all clients have in common: the user's options first, so that ours lie over them. Files of
/// secrets are read now.
fn common(config: &KafkaConfig) -> Result<Prepared, ClientError> {
    let name = format!("{INSTANCE_PREFIX}{}", config.instance);
    base(&config.brokers, &config.options, &name)
}

/// What the names of the clients of an instance begin with.
const INSTANCE_PREFIX: &str = "tickcast-";

/// The instance that a client of a name belongs to.
pub(super) fn instance_of(client: &str) -> Option<&str> {
    client.strip_prefix(INSTANCE_PREFIX)
}

fn base(
    brokers: &str,
    options: &BTreeMap<String, String>,
    name: &str,
) -> Result<Prepared, ClientError> {
    files::check(options).map_err(ClientError::ClientCreation)?;
    let resolved = secret::resolve(options).map_err(ClientError::ClientCreation)?;
    let mut client = ClientConfig::new();
    if options.contains_key("debug") {
        // Without it the wrapper keeps these lines back, whatever `log.level` is.
        client.set_log_level(RDKafkaLogLevel::Debug);
    }
    for (key, value) in resolved.options {
        client.set(key, value);
    }
    let mut prepared = Prepared { options: client, token: resolved.token };
    prepared
        .defaults(options, &[("reconnect.backoff.max.ms", "2000")])
        .set("bootstrap.servers", brokers)
        .set("client.id", name)
        .set("allow.auto.create.topics", "false");
    Ok(prepared)
}

/// A consumer of the tools: no group, nothing committed, only what is committed by others.
pub(super) fn tool_consumer(cluster: &ClusterConfig) -> Result<Observer, ClientError> {
    let mut options = base(&cluster.brokers, &cluster.options, "tickcast")?;
    options
        .defaults(
            &cluster.options,
            &[("queued.min.messages", "10000"), ("queued.max.messages.kbytes", "8192")],
        )
        // The library wants a group's name for any assignment; nothing is ever committed to it.
        .set("group.id", "tickcast-tools")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // A place that is gone must not be replaced silently by another one.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed");
    options.observe()
}

/// The options of a producer of the tools. `patience_ms` is how long a record is tried, for ever
/// where it is 0.
pub(super) fn tool_producer_options(
    cluster: &ClusterConfig,
    patience_ms: u32,
) -> Result<Prepared, ClientError> {
    let mut options = base(&cluster.brokers, &cluster.options, "tickcast")?;
    options
        .defaults(&cluster.options, &PRODUCER_DEFAULTS)
        .defaults(&cluster.options, &[("message.timeout.ms", &patience_ms.to_string())]);
    promise_delivery(&mut options.options);
    Ok(options)
}

/// Options for the admin client of the tools.
pub(super) fn tool_admin_options(cluster: &ClusterConfig) -> Result<ClientConfig, ClientError> {
    Ok(base(&cluster.brokers, &cluster.options, "tickcast")?.options)
}

/// The options of the consumer of the group.
pub(super) fn group_options(config: &KafkaConfig) -> Result<Prepared, ClientError> {
    let mut options = common(config)?;
    if config.static_membership {
        options.set("group.instance.id", &config.instance);
    }
    let takes = |(key, _): &&(&str, &str)| !config.broker_assigns || !SET_BY_BROKER.contains(key);
    let defaults: Vec<_> = CONSUMER_DEFAULTS.iter().filter(takes).copied().collect();
    options.defaults(&config.options, &defaults);
    match (config.broker_assigns, config.cooperative) {
        (true, _) => options.set("group.protocol", "consumer"),
        (false, true) => {
            let wanted = config.options.get("debug").map(|debug| format!("{debug},"));
            options
                .set("debug", wanted.unwrap_or_default() + JOIN_STATE_DEBUG)
                .set("partition.assignment.strategy", "cooperative-sticky")
        }
        (false, false) => options.set("partition.assignment.strategy", "range,roundrobin"),
    };
    options
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", "2000")
        // We decide where to begin, and what a lost offset means.
        .set("auto.offset.reset", "error")
        // Also makes the broker wait for open transactions before it tells a committed offset.
        .set("isolation.level", "read_committed");
    Ok(options)
}

/// How long the consumer of the group may go without a poll.
pub(super) fn poll_interval(config: &KafkaConfig) -> Duration {
    let set = config.options.get("max.poll.interval.ms").and_then(|text| text.parse().ok());
    set.map_or(POLL_INTERVAL, Duration::from_millis)
}

/// The consumer of the group.
pub(super) fn group_consumer(config: &KafkaConfig) -> Result<GroupConsumer, ClientError> {
    let Prepared { mut options, token } = group_options(config)?;
    let shows_debug = config.options.contains_key("debug");
    if config.cooperative {
        // The library drops lines above its level, by default that of this program's log.
        options.set_log_level(RDKafkaLogLevel::Debug);
    }
    let events = ConsumerEvents { token, shows_debug, ..ConsumerEvents::default() };
    options.create_with_context(events)
}

/// A consumer without a group that reads to the end of what is committed.
pub(super) fn restoring_consumer(config: &KafkaConfig) -> Result<Observer, ClientError> {
    let mut options = common(config)?;
    options
        .defaults(&config.options, &RESTORING_DEFAULTS)
        // The library wants a group's name for any assignment; nothing is ever committed to it.
        .set("group.id", format!("{}-restore", config.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // It reads up to ends that are known; a fetch that waits for more holds the next one up.
        .set("fetch.wait.max.ms", "10")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed");
    options.observe()
}

/// A consumer without a group that follows the states that others store.
pub(super) fn standby_consumer(config: &KafkaConfig) -> Result<Observer, ClientError> {
    let mut options = common(config)?;
    options
        .defaults(&config.options, &CONSUMER_DEFAULTS[..3])
        // As above.
        .set("group.id", format!("{}-restore", config.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed");
    options.observe()
}

/// A client that looks at the cluster, open transactions included.
pub(super) fn observer(config: &KafkaConfig) -> Result<Observer, ClientError> {
    let mut options = common(config)?;
    options.set("isolation.level", "read_uncommitted");
    options.observe()
}

/// The options of the producer of a turn; without transactions there is one for both.
pub(super) fn producer_options(config: &KafkaConfig, turn: Turn) -> Result<Prepared, ClientError> {
    let mut options = common(config)?;
    options.defaults(&config.options, &PRODUCER_DEFAULTS);
    promise_delivery(&mut options.options);
    if config.delivery == Delivery::ExactlyOnce {
        options
            .set("transactional.id", transactional_id(config, turn))
            .defaults(&config.options, &[("transaction.timeout.ms", "15000")]);
    }
    Ok(options)
}

/// What the transactions of a turn are called: a process that comes back under its name fences off
/// what it left open under both.
fn transactional_id(config: &KafkaConfig, turn: Turn) -> String {
    let KafkaConfig { group, instance, .. } = config;
    match turn {
        Turn::Even => format!("{group}-{instance}"),
        Turn::Odd => format!("{group}-{instance}.second"),
    }
}

/// Options for the admin client.
pub(super) fn admin_options(config: &KafkaConfig) -> Result<ClientConfig, ClientError> {
    Ok(common(config)?.options)
}

/// The library's words about an option, without the value that it repeats behind them: the option
/// may be a mistyped password.
pub(super) fn without_value(error: &ClientError) -> String {
    match error {
        ClientError::ClientConfig(_, words, key, _) => format!("option `{key}`: {words}"),
        ClientError::ClientCreation(words) => words.clone(),
        other => other.to_string(),
    }
}

/// For `map_err` at a start: an option that the library refuses will not be taken later either.
pub(super) fn opening<'c>(context: &'c str) -> impl Fn(ClientError) -> SessionError + 'c {
    move |error| match error {
        ClientError::ClientConfig(..) | ClientError::ClientCreation(_) => {
            let error = without_value(&error);
            SessionError::Final(KafkaError::Setup(format!("{context}: {error}")))
        }
        _ => SessionError::Retry(format!("{context}: {error}")),
    }
}

/// Whether a question merely had no answer, so that it may be asked again.
pub(super) fn is_silence(error: &ClientError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
        )
    )
}

/// Whether a commit that failed may succeed by itself: the coordinator was not available, or the
/// group was between two generations.
///
/// A `cooperative` member keeps its partitions over a rebalance, so a commit may reach the
/// coordinator with the generation that has just ended; the same commit succeeds with the next one.
/// A partition that moves is revoked first, and its work is committed before it is given up. An
/// eager member holds nothing between two generations: there the same answer means that the group
/// has expelled it.
pub(super) fn passes_commit(error: &ClientError, cooperative: bool) -> bool {
    let code = error.rdkafka_error_code();
    if matches!(
        code,
        Some(RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::StaleMemberEpoch)
    ) {
        return cooperative;
    }
    matches!(
        code,
        Some(
            RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
                // Partitions that stay are read on meanwhile, and their offsets wait.
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::NetworkException
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::WaitingForCoordinator
        )
    )
}

/// Whether an error while reading passes by itself: the library tries again, and a record only
/// comes later.
pub(super) fn passes(error: &ClientError) -> bool {
    matches!(error, ClientError::MessageConsumption(_)) && passes_question(error)
}

/// Whether a question may have an answer a moment later, because a leader or a coordinator moves or
/// a broker is away.
pub(super) fn passes_question(error: &ClientError) -> bool {
    let Some(code) = error.rdkafka_error_code() else { return false };
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
    fn a_generation_that_ended_passes_for_cooperative_members_alone() {
        let answer = |code| ClientError::ConsumerCommit(code);
        for code in [RDKafkaErrorCode::IllegalGeneration, RDKafkaErrorCode::StaleMemberEpoch] {
            let ended = answer(code);
            assert!(passes_commit(&ended, true) && !passes_commit(&ended, false));
        }
        let moved = answer(RDKafkaErrorCode::NotCoordinator);
        assert!(passes_commit(&moved, true) && passes_commit(&moved, false));
        let fenced = answer(RDKafkaErrorCode::UnknownMemberId);
        assert!(!passes_commit(&fenced, true) && !passes_commit(&fenced, false));
    }

    #[test]
    fn a_line_of_the_log_tells_whether_a_member_joins() {
        let line = |from, to| {
            format!("[thrd:main]: Group \"g -> x\" changed join state {from} -> {to} (state up)")
        };
        let states = ["init", "wait-join", "wait-metadata", "wait-sync"];
        for state in states {
            assert_eq!(joins_in(&line("steady", state)), Some(true), "{state}");
        }
        for state in ["wait-assign-call", "wait-incr-unassign-to-complete", "steady"] {
            assert_eq!(joins_in(&line("wait-sync", state)), Some(false), "{state}");
        }
        assert_eq!(joins_in("Group \"g\" received assignment"), None);
    }

    #[test]
    fn a_refused_option_is_told_without_its_value() {
        let mut options = ClientConfig::new();
        options.set("sasl.pasword", "hunter2");
        let refused = options.create::<BaseConsumer>().map(drop).unwrap_err();
        let SessionError::Final(KafkaError::Setup(words)) = opening("make a client")(refused)
        else {
            panic!("an option that there is not will not be there later")
        };
        assert!(words.contains("sasl.pasword") && !words.contains("hunter2"), "{words}");
    }
}
