//! Kafka in, Kafka out: nothing lost, nothing invented, any number of instances.
//!
//! Owns the consumer, the producer, and what joins them: commits. One folder offers the source and
//! the sink, because delivery is decided at both ends at once. Promises that a forecast is
//! acknowledged before the state behind it is stored, and the state before the offset is committed;
//! so that after any end, however sudden, the records from the committed offset on give the missing
//! forecasts, and repeats have the bytes of the first. Never decodes a record and never looks into
//! a state.
//!
//! One thread owns the consumer: it polls, hands records to the shards, answers rebalances and
//! drives commits. Whatever fails that can be tried again ends the *session*: shards forget
//! everything, clients are dropped, and after a wait a new session begins exactly as a fresh
//! process would, from the stored states and the committed offsets. There is one way to recover,
//! and every start takes it.
//!
//! | module | owns |
//! |---|---|
//! | `client` | every option of every client, and their logs |
//! | `advice` | what the clients are told in effect, and what of it cannot work |
//! | `files` | a look at the files that the library reads by itself |
//! | `secret` | passwords and tokens that stand in files of their own |
//! | `refusal` | why a cluster does not let us in, in words that help (pure) |
//! | `topics` | which topics there must be, and making them |
//! | `describe` | the ids of topics, their partitions and our rights (the unsafe code is here) |
//! | `topic_watch` | looking at the topics while a session lasts |
//! | `online` | what only the cluster knows, for `tickcast check --online` |
//! | `partitions` | the partitions of the input: numbers, positions, pauses (pure) |
//! | `start` | which log a position is of, and where reading begins (pure) |
//! | `changelog` | which records of a changelog partition are its states (pure) |
//! | `restore` | reading changelog partitions to their ends |
//! | `assignment` | what there is to know of partitions before they are read |
//! | `restores` | states on their way from a changelog to the shards |
//! | `standby` | copies of the states that other instances store |
//! | `history` | which records of a topic warm its symbols (pure) |
//! | `publisher` | the producers, and what is not yet acknowledged |
//! | `commit` | from a line in the stream to a committed offset |
//! | `transaction` | calls that commit, each on a thread of its own and within a limit |
//! | `pace` | how many records one transaction takes (pure) |
//! | `session` | one life of all clients |
//! | `gap` | the header that tells a reader that records are missing |
//! | `tools` | reading and writing a topic without a group, for the tools at both ends |
//! | `bare_loop` | the client library alone, to compare with |
//!
//! The settings are in `kafka_config`, which every build has; this folder is behind the cargo
//! feature `kafka`, because it links librdkafka and OpenSSL.

mod advice;
mod assignment;
mod bare_loop;
mod changelog;
mod client;
mod commit;
mod describe;
mod files;
mod gap;
mod history;
mod metrics;
mod online;
mod pace;
mod partitions;
mod publisher;
mod refusal;
mod restore;
mod restores;
mod secret;
mod session;
mod source;
mod standby;
mod start;
mod tools;
mod topic_watch;
mod topics;
mod transaction;

use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::adapters::kafka_config::{ClusterConfig, KafkaConfig};
use crate::core::history::HistoryNeed;
use crate::intake::IntakeSender;
use crate::net::backoff::Backoff;
use crate::ops::clock::pause_unless;
use crate::ops::readiness::Condition;
use crate::ops::supervise::Pulse;
use crate::ports::source::OnlineReport;
use crate::shard::command::Command;

pub use self::changelog::{Changelog, StateRecord};
pub use self::commit::{Answer, Cluster, Commit, Covers, Progress, Took};
pub use self::describe::TopicId;
pub use self::partitions::{Assigned, PartitionName, PartitionTable, Reading};
pub use self::publisher::{Batch, Turn};
pub use self::session::hand_over;
pub use self::start::{Epoch, Found, Loss, Mark, Point, Start};
pub use self::topic_watch::Look;

pub use self::bare_loop::{BareLoop, BareLoopError};
pub use self::metrics::KafkaMetrics;
pub use self::publisher::KafkaPublisher;
pub use self::source::KIND;
pub use self::tools::{
    BridgeMetrics, BridgeWriter, NewTopicShape, ReadError, Sent, TailEvent, TopicRecord,
    TopicRecords, TopicTail, TopicWriter, WriteCounts, WriteError, Written,
};

use self::advice::Effective;
use self::pace::Pace;
use self::session::{Ended, Session};

/// How long beginning and ending a session may take: each of their requests has a limit of its own,
/// a minute at most.
const OPEN_PATIENCE: Duration = Duration::from_secs(300);

/// Everything the thread needs.
pub struct KafkaSource {
    /// Brokers, topics and promises.
    pub config: KafkaConfig,
    /// One queue per shard.
    pub shards: Vec<IntakeSender<Command>>,
    /// What a probe is told.
    pub ready: Condition,
    /// What is counted.
    pub metrics: KafkaMetrics,
    /// How much history the models need.
    pub need: HistoryNeed,
    /// What the supervisor is told.
    pub pulse: Pulse,
    /// Where the jitter of waits begins.
    pub seed: u64,
    /// Runs what the admin client does.
    pub runtime: tokio::runtime::Handle,
}

/// Why the source ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The configuration or the cluster's set-up is at fault; trying again will not help.
    #[error("{0}")]
    Setup(String),
    /// The shards take no more.
    #[error("the engine takes no more records")]
    EngineGone,
}

/// How a session ended, and what that means.
#[derive(Debug)]
pub enum SessionError {
    /// A new session may succeed.
    Retry(String),
    /// The cluster does not let us in: a fault of the configuration, unless it let us in before.
    Refused(String),
    /// The topics have another shape; everything is committed, and a new session begins at once.
    Reshaped(String),
    /// It will not.
    Final(KafkaError),
}

impl SessionError {
    fn retry(what: impl std::fmt::Display) -> Self {
        Self::Retry(what.to_string())
    }

    /// For `map_err`: says what was being done.
    fn while_doing<E: std::fmt::Display>(context: &str) -> impl Fn(E) -> Self {
        move |error| Self::Retry(format!("{context}: {error}"))
    }
}

fn setup(context: &str, error: &rdkafka::error::KafkaError) -> KafkaError {
    KafkaError::Setup(format!("{context}: {}", client::without_value(error)))
}

/// Looks at the options of a daemon without connecting, files of secrets included. Returns what
/// cannot work although each option by itself is taken.
///
/// # Errors
/// [`KafkaError::Setup`] where an option is refused.
pub fn check(config: &KafkaConfig) -> Result<Vec<String>, KafkaError> {
    let effective = advice::effective(config).map_err(|error| setup("kafka", &error))?;
    Ok(effective.advice)
}

/// As [`check`], of a tool such as the bridge.
///
/// # Errors
/// As [`check`].
pub fn check_tool(cluster: &ClusterConfig) -> Result<(), KafkaError> {
    advice::check_tool(cluster).map_err(|error| setup("kafka", &error))
}

/// Looks at what only the cluster of a tool knows: the topic that it writes to.
pub fn check_tool_online(cluster: &ClusterConfig, topic: &str) -> OnlineReport {
    online::check_target(cluster, topic)
}

impl KafkaSource {
    /// Runs sessions until `stop` turns true. Call it on a thread of its own.
    ///
    /// # Errors
    /// [`KafkaError`].
    pub fn run(self, stop: &watch::Receiver<bool>) -> Result<(), KafkaError> {
        let mut backoff = Backoff::new(self.config.backoff_max, self.seed);
        let mut proven = false;
        let Effective { consumer, producer, advice, transaction_timeout } =
            advice::effective(&self.config).map_err(|error| setup("kafka", &error))?;
        info!(consumer, producer, "effective Kafka options");
        for advice in advice {
            warn!(advice, "a setting cannot work");
        }
        let mut pace =
            transaction_timeout.map(|timeout| Pace::new(timeout, self.config.commit_interval));
        // After a failure its reason stays to be seen until a session stands.
        self.ready.not_ready(format!("connecting to {}", self.config.brokers));
        loop {
            let stopped = || {
                self.pulse.work();
                *stop.borrow()
            };
            if pause_unless(stopped, backoff.next_wait()) {
                return Ok(());
            }
            self.pulse.wait(OPEN_PATIENCE);
            let ended = match Session::open(&self, stop, pace.as_mut()) {
                Ok(mut session) => {
                    proven = true;
                    let ended = session.run();
                    if session.has_flowed() {
                        backoff.reset();
                    }
                    if let Err(SessionError::Retry(_)) = &ended {
                        session.note_failure();
                    }
                    session.close();
                    ended
                }
                // What was right once may be so again: a password that is being replaced, say.
                Err(SessionError::Final(KafkaError::Setup(what))) if proven => {
                    Err(SessionError::Retry(what))
                }
                Err(failure) => Err(failure),
            };
            self.pulse.wait(OPEN_PATIENCE);
            session::clear(&self.shards, || self.pulse.wait(OPEN_PATIENCE))
                .map_err(|_| KafkaError::EngineGone)?;
            match ended {
                Ok(Ended::Stopped) => return Ok(()),
                Err(SessionError::Final(error)) => return Err(error),
                Err(SessionError::Refused(why)) if !proven => {
                    return Err(KafkaError::Setup(format!("kafka: {why}")));
                }
                Err(SessionError::Reshaped(what)) => {
                    backoff.reset();
                    self.ready.not_ready(&what);
                    info!(what, "the topics have changed; a new session begins");
                }
                Err(SessionError::Retry(error) | SessionError::Refused(error)) => {
                    self.metrics.session_failed();
                    self.ready.not_ready(&error);
                    warn!(%error, "the Kafka session has ended; a new one begins");
                }
            }
        }
    }
}
