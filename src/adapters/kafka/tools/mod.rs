//! A topic as the tools use it: read without a group, written with acknowledgements.
//!
//! Owns the clients of `feed`, `watch`, `replay` and `bridge`. Promises that nothing of a group is
//! read or committed, that only committed records are read, and that every record handed over is
//! either acknowledged or counted as failed. Never decodes more of a record than its symbol.
//!
//! | module | owns |
//! |---|---|
//! | `write` | a producer, and what the cluster has acknowledged |
//! | `bridge` | from the queue of a live feed to a topic, with its gaps |
//! | `read` | all partitions of a topic, from one place on |
//! | `merge` | the one order of records of several partitions (pure) |

mod bridge;
mod merge;
mod read;
mod write;

pub use self::bridge::{BridgeMetrics, BridgeWriter, Written};
pub use self::read::{ReadError, TailEvent, TopicRecord, TopicRecords, TopicTail};
pub use self::write::{NewTopicShape, Sent, TopicWriter, WriteCounts, WriteError};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;

use super::client::{self, Observer};
use super::{KafkaError, SessionError};

/// What went wrong, with the client's own complaint where it has one.
fn words(failure: SessionError, consumer: &Observer) -> String {
    let what = match failure {
        SessionError::Retry(what) | SessionError::Final(KafkaError::Setup(what)) => what,
        // These say all that there is to say.
        SessionError::Refused(what) | SessionError::Reshaped(what) => return what,
        SessionError::Final(error @ KafkaError::EngineGone) => return error.to_string(),
    };
    client::serve(consumer);
    match consumer.context().complaints().take_newest() {
        Some(complaint) => format!("{what} ({complaint})"),
        None => what,
    }
}

/// Whether the library refuses what it is told, so that trying again will not help.
fn is_setup(error: &ClientError) -> bool {
    matches!(error, ClientError::ClientConfig(..) | ClientError::ClientCreation(_))
}
