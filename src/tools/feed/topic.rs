//! A recording as records of a Kafka topic.
//!
//! Owns when each record is written. Promises every record's own bytes under its symbol, in the
//! order of the recording, none before it is due; a record without a symbol is written without a
//! key. Never waits for acknowledgements: whoever plays does.

use tokio_tungstenite::tungstenite::Message;

use super::{Pace, Progress, Recording};
use crate::adapters::kafka::{Sent, TopicWriter, WriteError};
use crate::core::decode::symbol_of;
use crate::ops::clock::{Stopwatch, pause_unless};

/// Writes the recording, from its beginning to its end or until `stopped` says so. Blocks the
/// calling thread. Returns whether it came to the end.
///
/// # Errors
/// [`WriteError`] where the producer takes nothing more.
pub fn play(
    recording: &Recording,
    pace: Pace,
    writer: &TopicWriter,
    progress: &Progress,
    stopped: impl Fn() -> bool,
) -> Result<bool, WriteError> {
    let clock = Stopwatch::start();
    for (index, entry) in recording.entries().iter().enumerate() {
        let due = pace.due(index, recording.offset(entry));
        if pause_unless(&stopped, due.saturating_sub(clock.elapsed())) {
            return Ok(false);
        }
        let record = bytes(&entry.message);
        let key = symbol_of(record);
        if writer.send(key.as_deref(), record, false, || !stopped())? == Sent::GivenUp {
            return Ok(false);
        }
        progress.sent(entry.time);
    }
    Ok(true)
}

/// The record as it stands in the file.
fn bytes(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        // A recording is made of these two.
        _ => &[],
    }
}
