//! Publishing: forecasts as bytes to whoever listens.
//!
//! Owns the wire form of a forecast and the ways out: the WebSocket stream, standard output and
//! files. Promises that every way out carries the same bytes, and those of one symbol in their
//! order. Never computes.

mod lines;
pub mod stream;
pub mod wire;

use bytes::Bytes;

use self::stream::StreamHub;
use crate::domain::Symbol;

pub use lines::{LineQueue, Lines, LinesClosed};

/// All ways out of one daemon; each shard has a clone.
#[derive(Clone)]
pub struct Publisher {
    stream: StreamHub,
    lines: Option<LineQueue>,
}

impl Publisher {
    /// Publishes to the stream and, where there is a target, as lines.
    pub fn new(stream: StreamHub, lines: Option<LineQueue>) -> Self {
        Self { stream, lines }
    }

    /// Hands one record to every way out.
    ///
    /// # Errors
    /// [`LinesClosed`] where lines can no longer be written.
    pub fn publish(&self, symbol: &Symbol, record: &[u8]) -> Result<(), LinesClosed> {
        let record = Bytes::copy_from_slice(record);
        if let Some(lines) = &self.lines {
            lines.write(record.clone())?;
        }
        self.stream.publish(symbol, record);
        Ok(())
    }
}
