//! Writing a topic.
//!
//! Owns a producer and the counts of what was handed to it. Promises that each record ends in one
//! of two counts, acknowledged or failed; that records of one key keep their order, repeats by the
//! network included (idempotent producer, `acks=all`); and that a full queue makes whoever sends
//! wait (policy `block`). Never retries a record that the cluster has refused.

use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, Registry};
use rdkafka::ClientContext;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tracing::{debug, warn};

use super::{is_setup, words};
use crate::adapters::kafka::client::{self, Prepared, log_line};
use crate::adapters::kafka::refusal::refusal;
use crate::adapters::kafka::secret::{self, TokenFile};
use crate::adapters::kafka::{SessionError, gap, topics};
use crate::adapters::kafka_config::{ClusterConfig, TOKEN_FILE};
use crate::ops::clock::pause;

/// How long a sender waits before it asks again whether the producer has room.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// Why a topic cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// An option is not as it must be; trying again will not help.
    #[error("{0}")]
    Setup(String),
    /// The cluster does not let us in; as long as nothing is changed it will not.
    #[error("{0}")]
    Refused(String),
    /// The cluster or the topic is not as it must be.
    #[error("{0}")]
    Open(String),
    /// The producer takes nothing more.
    #[error("the producer takes no more records: {0}")]
    Closed(String),
}

/// What became of records; cloning shares it.
#[derive(Clone, Debug)]
pub struct WriteCounts {
    handed: IntCounter,
    acknowledged: IntCounter,
    failed: IntCounter,
    first_failure: Arc<OnceLock<String>>,
    /// Why the cluster did not let us in last. A lock, because the library's thread writes it.
    refusal: Arc<Mutex<Option<String>>>,
}

/// What a topic must be like, where it has to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTopicShape {
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; -1 is the broker's default.
    pub replication: i32,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The producer has it.
    Handed,
    /// It can never be sent, as where it is too large; counted as failed.
    Refused,
    /// There was no room until nobody wanted to wait any more; counted nowhere.
    GivenUp,
}

/// A producer for one topic.
pub struct TopicWriter {
    producer: ThreadedProducer<WriterEvents>,
    topic: String,
    partitions: i32,
    counts: WriteCounts,
}

/// Counts acknowledgements on the producer's own thread.
struct WriterEvents {
    counts: WriteCounts,
    token: Option<TokenFile>,
}

impl WriteCounts {
    /// Counts that nobody scrapes.
    pub fn new() -> Self {
        Self::named().expect("the names are constants that fit")
    }

    fn named() -> Result<Self, prometheus::Error> {
        Ok(Self {
            handed: IntCounter::new(
                "tickcast_bridge_handed_total",
                "Records handed to the producer.",
            )?,
            acknowledged: IntCounter::new(
                "tickcast_bridge_acknowledged_total",
                "Records that the cluster has acknowledged.",
            )?,
            failed: IntCounter::new(
                "tickcast_bridge_failed_total",
                "Records that the cluster did not take; each marks a gap.",
            )?,
            first_failure: Arc::default(),
            refusal: Arc::default(),
        })
    }

    /// Registers the counts as metrics of the bridge.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counts = Self::named()?;
        for counter in [&counts.handed, &counts.acknowledged, &counts.failed] {
            registry.register(Box::new(counter.clone()))?;
        }
        Ok(counts)
    }

    /// Records that the cluster has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.get()
    }

    /// Records that the cluster did not take.
    pub fn failed(&self) -> u64 {
        self.failed.get()
    }

    /// Records whose outcome is open.
    pub fn outstanding(&self) -> u64 {
        // Outcomes first: what is handed over meanwhile counts as open.
        let settled = self.acknowledged.get() + self.failed.get();
        self.handed.get().saturating_sub(settled)
    }

    /// Why the first record that failed did.
    pub fn first_failure(&self) -> Option<&str> {
        self.first_failure.get().map(String::as_str)
    }

    /// Why the cluster did not let us in, if it has said so since the last call.
    pub fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn refuse(&self, why: String) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn fail(&self, why: &dyn std::fmt::Display) {
        if self.first_failure.set(why.to_string()).is_ok() {
            warn!(error = %why, "the cluster did not take a record");
        }
        self.failed.inc();
    }
}

impl Default for WriteCounts {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientContext for WriterEvents {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        // The library's log says the same, and repeats itself less.
        debug!(%error, reason, "the producer reports an error");
        if let Some(why) = refusal(error.rdkafka_error_code(), reason) {
            self.counts.refuse(why);
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        secret::answer(self.token.as_ref())
    }
}

impl ProducerContext for WriterEvents {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.counts.acknowledged.inc(),
            Err((error, _)) => self.counts.fail(error),
        }
    }
}

impl TopicWriter {
    /// Connects, and makes the topic where it is missing. `patience_ms` is how long a record is
    /// tried, for ever where it is 0.
    ///
    /// # Errors
    /// [`WriteError::Setup`], [`WriteError::Refused`], or [`WriteError::Open`], where trying again
    /// may help.
    pub fn open(
        cluster: &ClusterConfig,
        topic: &str,
        shape: NewTopicShape,
        patience_ms: u32,
        counts: WriteCounts,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, WriteError> {
        let open = |error: ClientError| match is_setup(&error) {
            true => WriteError::Setup(client::without_value(&error)),
            false => WriteError::Open(error.to_string()),
        };
        let observer = client::tool_consumer(cluster).map_err(open)?;
        let failed = |failure| match failure {
            SessionError::Refused(why) => WriteError::Refused(why),
            failure => WriteError::Open(words(failure, &observer)),
        };
        let found = topics::partition_count(&observer, topic).map_err(failed)?;
        let partitions = match found {
            Some(count) => count,
            None => {
                let has_token = cluster.options.contains_key(TOKEN_FILE);
                let options = client::tool_admin_options(cluster);
                let admin = topics::Admin::with(options, has_token, runtime).map_err(open)?;
                let replication = TopicReplication::Fixed(shape.replication);
                let new = NewTopic::new(topic, shape.partitions, replication);
                admin.make(&new).map_err(failed)?;
                topics::await_topic(&observer, topic).map_err(failed)?;
                shape.partitions
            }
        };
        let Prepared { options, token } =
            client::tool_producer_options(cluster, patience_ms).map_err(open)?;
        let events = WriterEvents { counts: counts.clone(), token };
        let producer = options.create_with_context(events).map_err(open)?;
        Ok(Self { producer, topic: topic.to_owned(), partitions, counts })
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// What became of the records.
    pub fn counts(&self) -> &WriteCounts {
        &self.counts
    }

    /// Hands a record over, waiting for room while `patient` says so; a record without a key goes
    /// to any partition.
    ///
    /// # Errors
    /// [`WriteError::Closed`] where no further record will be taken either.
    pub fn send(
        &self,
        key: Option<&str>,
        record: &[u8],
        after_gap: bool,
        patient: impl Fn() -> bool,
    ) -> Result<Sent, WriteError> {
        let mut next = BaseRecord::to(&self.topic).payload(record);
        if let Some(key) = key {
            next = next.key(key);
        }
        let counts = &self.counts;
        loop {
            if after_gap {
                next = next.headers(gap::mark());
            }
            match self.producer.send(next) {
                Ok(()) => {
                    counts.handed.inc();
                    return Ok(Sent::Handed);
                }
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if !patient() {
                        return Ok(Sent::GivenUp);
                    }
                    next = back;
                    pause(ROOM_PAUSE);
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code();
                    if code != Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                        return Err(WriteError::Closed(self.fatal_words(&error)));
                    }
                    counts.handed.inc();
                    counts.fail(&error);
                    return Ok(Sent::Refused);
                }
            }
        }
    }

    /// The cause where the producer has given up for good.
    fn fatal_words(&self, error: &ClientError) -> String {
        match self.producer.client().fatal_error() {
            Some((code, why)) => format!("{code}: {why}"),
            None => error.to_string(),
        }
    }

    /// Waits until every record is acknowledged or failed, while `patient` says so. Returns how
    /// many are still open.
    pub fn settle(&self, patient: impl Fn() -> bool) -> u64 {
        // Sends what lingers at once.
        let _ = self.producer.flush(Duration::ZERO);
        loop {
            let open = self.counts.outstanding();
            if open == 0 || !patient() {
                return open;
            }
            pause(ROOM_PAUSE);
        }
    }
}
