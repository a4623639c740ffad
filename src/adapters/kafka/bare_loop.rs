//! What the client library alone can do: consume and produce, and nothing in between.
//!
//! Owns the loop that `make bench-kafka` compares the daemon with. Promises the daemon's own
//! options for fetching and producing, so that both ask the same of the cluster. Never decodes a
//! record, and promises nothing about delivery but that the last record is acknowledged when it
//! ends.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::client;
use crate::ops::clock::{Stopwatch, pause};

/// How often offsets are committed, as the daemon does by default.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long no record may come before the loop gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many records go between two looks at the clock.
const LOOK_RECORDS: u64 = 1000;

/// How long to wait for room in the producer's queue.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// Copies records from one topic to another.
#[derive(Clone, Debug)]
pub struct BareLoop {
    /// `host:port` of one or more brokers, separated by commas.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// The topic to read from its beginning.
    pub from: String,
    /// The topic to write.
    pub to: String,
    /// How many records to copy.
    pub records: u64,
}

/// Why the loop ended early.
#[derive(Debug, thiserror::Error)]
pub enum BareLoopError {
    /// The library or the cluster refused.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// Fewer records came than were asked for.
    #[error("{0} records came, then none for a minute")]
    Ended(u64),
}

impl BareLoop {
    /// Copies the records, and returns the time from the first one read to the last one
    /// acknowledged.
    ///
    /// # Errors
    /// [`BareLoopError`].
    pub fn run(&self) -> Result<Duration, BareLoopError> {
        let mut options = self.options(&client::CONSUMER_DEFAULTS);
        options.set("group.id", &self.group).set("auto.offset.reset", "earliest");
        options.set("enable.auto.commit", "false").set("enable.auto.offset.store", "true");
        options.set("isolation.level", "read_committed");
        let consumer: BaseConsumer = options.create()?;
        let mut options = self.options(&client::PRODUCER_DEFAULTS);
        client::promise_delivery(&mut options);
        let producer: ThreadedProducer<DefaultProducerContext> = options.create()?;
        consumer.subscribe(&[&self.from])?;
        let (mut copied, mut begun) = (0, None);
        let (mut committed, mut moved) = (Stopwatch::start(), Stopwatch::start());
        while copied < self.records {
            match consumer.poll(COMMIT_INTERVAL) {
                Some(Ok(message)) => {
                    begun.get_or_insert_with(Stopwatch::start);
                    let key = message.key().unwrap_or_default();
                    let payload = message.payload().unwrap_or_default();
                    send(&producer, BaseRecord::to(&self.to).key(key).payload(payload))?;
                    copied += 1;
                }
                Some(Err(error)) if !client::passes(&error) => return Err(error.into()),
                Some(Err(_)) | None if moved.elapsed() > PATIENCE => {
                    return Err(BareLoopError::Ended(copied));
                }
                Some(Err(_)) | None => continue,
            }
            if copied % LOOK_RECORDS == 0 {
                moved = Stopwatch::start();
                if committed.elapsed() > COMMIT_INTERVAL {
                    consumer.commit_consumer_state(CommitMode::Async)?;
                    committed = Stopwatch::start();
                }
            }
        }
        producer.flush(PATIENCE)?;
        let took = begun.map_or(Duration::ZERO, Stopwatch::elapsed);
        if copied > 0 {
            consumer.commit_consumer_state(CommitMode::Sync)?;
        }
        Ok(took)
    }

    fn options(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut options = ClientConfig::new();
        options.set("bootstrap.servers", &self.brokers).set("client.id", "tickcast-bare-loop");
        for (key, value) in defaults {
            options.set(*key, *value);
        }
        options
    }
}

/// Sends a record, waiting for room where there is none.
fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), ClientError> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                pause(ROOM_PAUSE);
            }
            Err((error, _)) => return Err(error),
        }
    }
}
