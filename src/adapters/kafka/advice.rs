//! What the clients are told in effect, and what of it cannot work together.
//!
//! Owns the rules between times that are set in different places. Promises that no secret is among
//! what is shown. Never changes a setting.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError as ClientError;

use super::client;
use super::publisher::Turn;
use super::session::SHARD_TIMEOUT;
use crate::adapters::kafka_config::{ClusterConfig, Delivery, KafkaConfig, is_secret};

/// Options that decide much and are mostly left to the library.
const TELLING: [&str; 3] = ["heartbeat.interval.ms", "max.poll.interval.ms", "security.protocol"];

/// What the clients of a daemon are told.
pub(super) struct Effective {
    /// The consumer of the group, as `key=value` by key, secrets hidden.
    pub(super) consumer: String,
    /// The producer, likewise.
    pub(super) producer: String,
    /// What of it cannot work.
    pub(super) advice: Vec<String>,
    /// How long the broker lets a transaction be open, with exactly-once.
    pub(super) transaction_timeout: Option<Duration>,
}

/// Times that have to fit one another.
#[derive(Clone, Copy, Debug)]
struct Times {
    session: Duration,
    heartbeat: Duration,
    /// How long the consumer may go without a poll.
    poll: Duration,
    restore: Duration,
    commit: Duration,
    transaction: Option<TransactionTimes>,
}

#[derive(Clone, Copy, Debug)]
struct TransactionTimes {
    /// What the broker allows.
    whole: Duration,
    /// What one of our calls may take.
    call: Duration,
}

/// Looks at everything that the clients will be told.
///
/// # Errors
/// The library's words where it refuses an option.
pub(super) fn effective(config: &KafkaConfig) -> Result<Effective, ClientError> {
    let consumer = client::group_options(config)?.options;
    let producer = client::producer_options(config, Turn::Even)?.options;
    let (of_consumer, of_producer) = (all_of(&consumer)?, all_of(&producer)?);
    let time = |options: &BTreeMap<String, String>, key: &str| {
        let ms = options.get(key).and_then(|text| text.parse().ok());
        ms.map_or(Duration::MAX, Duration::from_millis)
    };
    let transaction = (config.delivery == Delivery::ExactlyOnce).then(|| TransactionTimes {
        whole: time(&of_producer, "transaction.timeout.ms"),
        call: config.transaction_timeout,
    });
    let advice = advice(&Times {
        session: time(&of_consumer, "session.timeout.ms"),
        heartbeat: time(&of_consumer, "heartbeat.interval.ms"),
        poll: time(&of_consumer, "max.poll.interval.ms"),
        restore: config.restore_timeout,
        commit: config.commit_interval,
        transaction,
    });
    let (consumer, producer) = (shown(&of_consumer), shown(&of_producer));
    let transaction_timeout = transaction.map(|times| times.whole);
    Ok(Effective { consumer, producer, advice, transaction_timeout })
}

/// Whether the library takes the options of a tool.
///
/// # Errors
/// Its words where it does not.
pub(super) fn check_tool(cluster: &ClusterConfig) -> Result<(), ClientError> {
    client::tool_producer_options(cluster, 0)?.options.create_native_config().map(drop)
}

/// What is set of a client, and what is telling beside.
fn all_of(options: &ClientConfig) -> Result<BTreeMap<String, String>, ClientError> {
    let native = options.create_native_config()?;
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let mut all: BTreeMap<_, _> = options.config_map().into_iter().map(own).collect();
    for key in TELLING {
        all.insert(key.to_owned(), native.get(key)?);
    }
    Ok(all)
}

fn shown(options: &BTreeMap<String, String>) -> String {
    let show = |(key, value): (&String, &String)| {
        format!("{key}={}", if is_secret(key) { "***" } else { value })
    };
    options.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn advice(times: &Times) -> Vec<String> {
    let Times { session, heartbeat, poll, restore, commit, transaction } = *times;
    let ms = |time: Duration| time.as_millis();
    let mut advice = Vec::new();
    let mut tell = |is_wrong: bool, what: String| {
        if is_wrong {
            advice.push(what);
        }
    };
    tell(
        heartbeat.saturating_mul(3) > session,
        format!(
            "heartbeat.interval.ms = {} is more than a third of session.timeout.ms = {}: one late \
             heartbeat ends the session",
            ms(heartbeat),
            ms(session)
        ),
    );
    let expelled = "an instance that is silent for longer is expelled from the group";
    tell(
        restore >= poll,
        format!(
            "kafka.restore_ms_max = {} is not below max.poll.interval.ms = {}: {expelled}",
            ms(restore),
            ms(poll)
        ),
    );
    tell(
        SHARD_TIMEOUT >= poll,
        format!(
            "max.poll.interval.ms = {} is not above the {} s that giving partitions back may take: \
             {expelled}",
            ms(poll),
            SHARD_TIMEOUT.as_secs()
        ),
    );
    if let Some(TransactionTimes { whole, call }) = transaction {
        tell(
            commit >= whole,
            format!(
                "kafka.commit_interval_ms = {} is not below transaction.timeout.ms = {}: the \
                 broker aborts a transaction before it is committed",
                ms(commit),
                ms(whole)
            ),
        );
        // Flush, offsets, commit.
        tell(
            call.saturating_mul(3) >= poll,
            format!(
                "kafka.transaction_ms_max = {} three times is not below max.poll.interval.ms = {}: \
                 {expelled}",
                ms(call),
                ms(poll)
            ),
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_told_each_by_its_keys() {
        let seconds = Duration::from_secs;
        let good = Times {
            session: seconds(10),
            heartbeat: seconds(3),
            poll: seconds(300),
            restore: seconds(120),
            commit: seconds(1),
            transaction: Some(TransactionTimes { whole: seconds(15), call: seconds(30) }),
        };
        assert_eq!(advice(&good), [""; 0]);
        let transaction =
            |whole, call| Some(TransactionTimes { whole: seconds(whole), call: seconds(call) });
        for (times, keys) in [
            (Times { heartbeat: seconds(4), ..good }, &["heartbeat.interval.ms"][..]),
            (Times { restore: seconds(300), ..good }, &["kafka.restore_ms_max"]),
            (
                Times { poll: seconds(60), restore: seconds(1), transaction: None, ..good },
                &["max.poll.interval.ms"],
            ),
            (Times { commit: seconds(15), ..good }, &["kafka.commit_interval_ms"]),
            (Times { transaction: transaction(15, 100), ..good }, &["kafka.transaction_ms_max"]),
            (
                Times { poll: seconds(30), transaction: transaction(1, 30), ..good },
                &[
                    "kafka.restore_ms_max",
                    "max.poll.interval.ms",
                    "kafka.commit_interval_ms",
                    "kafka.transaction_ms_max",
                ],
            ),
        ] {
            let told = advice(&times);
            assert_eq!(told.len(), keys.len(), "{told:?}");
            assert!(told.iter().zip(keys).all(|(told, key)| told.starts_with(key)), "{told:?}");
        }
    }

    #[test]
    fn what_is_shown_hides_secrets_and_has_what_is_left_to_the_library() {
        let mut options = ClientConfig::new();
        options.set("sasl.password", "hunter2").set("client.id", "me");
        let shown = shown(&all_of(&options).unwrap());
        assert_eq!(
            shown,
            "client.id=me heartbeat.interval.ms=3000 max.poll.interval.ms=300000 \
             sasl.password=*** security.protocol=plaintext"
        );
    }
}
