//! The producer, as each shard has it, and what the broker has not yet acknowledged.
//!
//! Owns the producers and the counts of records under way. With transactions there is a producer
//! for each of two turns, so that the next transaction is open while one is committed. Promises
//! that a shard never loses a record silently: one that the broker does not take ends the session,
//! and is made again from the input by the next one. When a producer's queue is full the shard
//! waits (policy `block`), until there is room or the session is over. Never decides when a commit
//! is due.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::client::log_line;
use super::metrics::KafkaMetrics;
use super::partitions::PartitionTable;
use super::secret::{self, TokenFile};
use super::start::Point;
use crate::adapters::kafka_config::KafkaConfig;
use crate::core::domain::NamedRejection;
use crate::engine::pipeline::StoredState;
use crate::engine::wire::forecast::FORECAST_SCHEMA;
use crate::engine::wire::score::SCORE_SCHEMA;
use crate::intake::Record;
use crate::ops::clock::{Stopwatch, pause};
use crate::ops::supervise::Pulse;
use crate::ports::sink::{Outgoing, Sink, SinkClosed};

/// The header of a stored state that says up to where it reaches, and in which log.
pub(super) const POINT_HEADER: &str = "tickcast-point";

/// How long a shard waits before it asks again whether the producer has room.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// How long a shard may wait for room in all: the library gives a record up after five minutes that
/// no broker takes, which ends the session and with it the waiting.
const ROOM_PATIENCE: Duration = Duration::from_secs(330);

/// Which records an acknowledgement counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Forecasts, scores and dead letters since an even-numbered commit, and since an
    /// odd-numbered one.
    Published(Turn),
    /// States of the commit under way.
    States,
}

/// Both, in the order of a session.
pub(super) const TURNS: [Turn; 2] = [Turn::Even, Turn::Odd];

/// Commits alternate, so that an acknowledgment of what follows a commit does not count for what
/// the commit covers, and with transactions it does not belong to the one that is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Since an even-numbered commit.
    #[default]
    Even,
    /// Since an odd-numbered one.
    Odd,
}

/// What the broker has still to acknowledge, and whether it has refused anything.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    counts: [AtomicU64; 3],
    failure: OnceLock<String>,
    /// The session is over: nobody waits for room any more.
    over: AtomicBool,
}

/// Counts acknowledgements on the producer's own thread.
pub(super) struct ProducerEvents {
    outstanding: Arc<Outstanding>,
    metrics: KafkaMetrics,
    token: Option<TokenFile>,
}

pub(super) type Producer = ThreadedProducer<ProducerEvents>;

/// The producers of a session.
pub(super) struct Producers {
    pub(super) first: Producer,
    /// That of odd-numbered transactions; without transactions there is one for all.
    pub(super) second: Option<Producer>,
}

/// A shard's end of the producers.
#[derive(Clone)]
pub struct KafkaPublisher {
    shared: Arc<Shared>,
    turn: Turn,
}

struct Shared {
    producers: Producers,
    outstanding: Arc<Outstanding>,
    partitions: PartitionTable,
    config: KafkaConfig,
    metrics: KafkaMetrics,
}

impl Turn {
    /// The turn of the next commit.
    pub fn other(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }
}

impl Batch {
    fn index(self) -> usize {
        match self {
            Self::Published(Turn::Even) => 0,
            Self::Published(Turn::Odd) => 1,
            Self::States => 2,
        }
    }
}

impl Outstanding {
    fn count(&self, batch: usize) -> &AtomicU64 {
        &self.counts[batch]
    }

    /// Whether everything of a batch is acknowledged.
    ///
    /// # Errors
    /// The broker's words where it refused a record of this session.
    pub(super) fn is_settled(&self, batch: Batch) -> Result<bool, String> {
        // Acquire pairs with the release of each acknowledgement, so that a settled batch has shown
        // its failures as well.
        let left = self.count(batch.index()).load(Ordering::Acquire);
        match self.failure.get() {
            Some(failure) => Err(failure.clone()),
            None => Ok(left == 0),
        }
    }

    /// Ends all waiting for room.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.failure.get().is_some()
    }

    fn fail(&self, failure: String) {
        // The first failure is the cause; later ones follow from it.
        let _ = self.failure.set(failure);
    }
}

impl ProducerEvents {
    pub(super) fn new(
        outstanding: Arc<Outstanding>,
        metrics: KafkaMetrics,
        token: Option<TokenFile>,
    ) -> Self {
        Self { outstanding, metrics, token }
    }
}

impl ClientContext for ProducerEvents {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "the producer reports an error");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        secret::answer(self.token.as_ref())
    }
}

impl ProducerContext for ProducerEvents {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: usize) {
        match result {
            Ok(_) => self.metrics.produced.inc(),
            Err((error, _)) => {
                self.metrics.failed.inc();
                self.outstanding.fail(format!("the broker did not take a record: {error}"));
            }
        }
        self.outstanding.count(batch).fetch_sub(1, Ordering::Release);
    }
}

impl KafkaPublisher {
    pub(super) fn new(
        producers: Producers,
        outstanding: Arc<Outstanding>,
        partitions: PartitionTable,
        config: KafkaConfig,
        metrics: KafkaMetrics,
    ) -> Self {
        let shared = Shared { producers, outstanding, partitions, config, metrics };
        Self { shared: Arc::new(shared), turn: Turn::default() }
    }

    /// The producer of a turn.
    pub(super) fn producer(&self, turn: Turn) -> &Producer {
        let Producers { first, second } = &self.shared.producers;
        match (turn, second) {
            (Turn::Odd, Some(second)) => second,
            (Turn::Even | Turn::Odd, _) => first,
        }
    }

    /// The turn of what is sent now.
    pub(super) fn current(&self) -> Turn {
        self.turn
    }

    pub(super) fn metrics(&self) -> &KafkaMetrics {
        &self.shared.metrics
    }

    pub(super) fn outstanding(&self) -> &Outstanding {
        &self.shared.outstanding
    }

    fn send_record(&self, topic: &str, schema: &str, record: &Outgoing<'_>) {
        let batch = Batch::Published(self.turn);
        let to = BaseRecord::with_opaque_to(topic, batch.index())
            .key(record.symbol.as_str())
            .payload(record.bytes);
        let headers = || {
            let headers = OwnedHeaders::new_with_capacity(3)
                .insert(Header { key: "tickcast-schema", value: Some(schema) })
                .insert(Header { key: "tickcast-model-sha256", value: Some(record.model_sha256) });
            let Some(arrived) = record.arrived else { return headers };
            let micros = u64::try_from(arrived.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut digits = [0; 20];
            let value = decimal(micros, &mut digits);
            headers.insert(Header { key: "tickcast-latency-us", value: Some(value) })
        };
        let headers: Option<&dyn Fn() -> OwnedHeaders> =
            if self.shared.config.headers { Some(&headers) } else { None };
        self.send(self.turn, to, headers, Some(record.pulse));
    }

    /// Ends a stored state, with what is sent now.
    pub(super) fn end_state(&self, key: &str, partition: &StatePlace) {
        self.state(self.turn, key, partition, None, None);
    }

    /// Stores a state in its changelog partition, or the end of it where there are no bytes, with
    /// the forecasts of a turn. The point says up to where the state reaches.
    pub(super) fn state(
        &self,
        turn: Turn,
        key: &str,
        partition: &StatePlace,
        bytes: Option<&[u8]>,
        point: Option<Point>,
    ) {
        let mut to =
            BaseRecord::<str, [u8], usize>::with_opaque_to(&partition.topic, Batch::States.index())
                .key(key)
                .partition(partition.number);
        if let Some(bytes) = bytes {
            to = to.payload(bytes);
        }
        let Some(point) = point else { return self.send(turn, to, None, None) };
        let text = point.text();
        let headers = || {
            OwnedHeaders::new_with_capacity(1)
                .insert(Header { key: POINT_HEADER, value: Some(&text) })
        };
        self.send(turn, to, Some(&headers), None);
    }

    /// Whether every state handed over is acknowledged.
    pub(super) fn states_are_settled(&self) -> Result<bool, String> {
        self.shared.outstanding.is_settled(Batch::States)
    }

    /// Where the states of a partition's symbols are kept.
    pub(super) fn state_place(&self, state: &StoredState) -> Option<StatePlace> {
        let name = self.shared.partitions.name(state.partition?)?;
        Some(StatePlace {
            topic: self.shared.config.changelog_of(&name.topic),
            number: name.number,
        })
    }

    fn send<K: rdkafka::message::ToBytes + ?Sized>(
        &self,
        turn: Turn,
        record: BaseRecord<'_, K, [u8], usize>,
        headers: Option<&dyn Fn() -> OwnedHeaders>,
        pulse: Option<&Pulse>,
    ) {
        let Shared { outstanding, metrics, .. } = &*self.shared;
        let producer = self.producer(turn);
        let batch = record.delivery_opaque;
        outstanding.count(batch).fetch_add(1, Ordering::Relaxed);
        let mut record = record;
        let mut waits = false;
        loop {
            if outstanding.is_over() {
                break;
            }
            if let Some(headers) = headers {
                record = record.headers(headers());
            }
            match producer.send(record) {
                Ok(()) => return,
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    if !std::mem::replace(&mut waits, true)
                        && let Some(pulse) = pulse
                    {
                        pulse.wait(ROOM_PATIENCE);
                    }
                    // Counted while it lasts: a wait without end must be seen as well.
                    let waiting = Stopwatch::start();
                    pause(ROOM_PAUSE);
                    metrics.held_up(waiting.elapsed());
                }
                Err((error, _)) => {
                    outstanding.fail(format!("the producer did not take a record: {error}"));
                    break;
                }
            }
        }
        // Nobody will acknowledge it; the next session makes it again.
        outstanding.count(batch).fetch_sub(1, Ordering::Release);
    }
}

impl Sink for KafkaPublisher {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.send_record(&self.shared.config.forecasts, FORECAST_SCHEMA, forecast);
        Ok(())
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        if let Some(topic) = &self.shared.config.shadows {
            self.send_record(topic, FORECAST_SCHEMA, forecast);
        }
        Ok(())
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        if let Some(topic) = &self.shared.config.scores {
            self.send_record(topic, SCORE_SCHEMA, score);
        }
        Ok(())
    }

    fn needs_score_bytes(&self) -> bool {
        self.shared.config.scores.is_some()
    }

    fn settle(&self) -> io::Result<()> {
        // The commit of the session waits for acknowledgements by turns, and no local snapshot is
        // kept beside it.
        Ok(())
    }

    /// Publishes a refused record as it came, with the reason, the field at fault and its place as
    /// headers.
    fn dead_letter(&mut self, record: &Record, rejection: NamedRejection<'_>, pulse: &Pulse) {
        let Some(topic) = &self.shared.config.dead_letters else { return };
        let mut place = String::new();
        let mut headers = OwnedHeaders::new_with_capacity(5)
            .insert(Header { key: "tickcast-reason", value: Some(rejection.reason.label()) });
        if let Some(field) = rejection.field {
            headers = headers.insert(Header { key: "tickcast-field", value: Some(field) });
        }
        let name = record.position.and_then(|position| {
            self.shared.partitions.name(position.partition).map(|name| (name, position.offset))
        });
        if let Some((name, offset)) = name {
            headers = headers.insert(Header { key: "tickcast-topic", value: Some(&*name.topic) });
            for (key, number) in
                [("tickcast-partition", i64::from(name.number)), ("tickcast-offset", offset)]
            {
                place.clear();
                // Writing into a text cannot fail.
                let _ = write!(place, "{number}");
                headers = headers.insert(Header { key, value: Some(&*place) });
            }
        }
        let batch = Batch::Published(self.turn);
        let to = BaseRecord::<(), [u8], usize>::with_opaque_to(topic, batch.index())
            .payload(&record.bytes[..]);
        self.shared.metrics.dead_letters.inc();
        self.send(self.turn, to, Some(&|| headers.clone()), Some(pulse));
    }

    fn turn(&mut self) {
        self.turn = self.turn.other();
    }
}

/// Writes a number from the back of a buffer, which has room for it; nothing is allocated.
fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let (mut rest, mut at) = (number, digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &digits[at..];
        }
    }
}

/// A partition of a changelog topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatePlace {
    pub(super) topic: String,
    pub(super) number: i32,
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KafkaPublisher").field("turn", &self.turn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everybody_reads_them() {
        for number in [0, 7, 10, 1234, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
