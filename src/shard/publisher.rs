//! Publishing: forecasts and scores as bytes to whoever listens.
//!
//! Owns the wire forms and the ways out: the WebSocket stream, standard output and
//! files. Promises that every way out carries the same bytes, and those of one symbol in their
//! order. Never computes.

use bytes::Bytes;

use crate::adapters::kafka::KafkaPublisher;
use crate::adapters::lines::{LineQueue, LinesClosed};
use crate::adapters::stream::StreamHub;
use crate::core::domain::{Reject, Symbol};
use crate::intake::queue::Record;
use crate::ops::clock::Stopwatch;
use crate::ops::supervise::Pulse;

/// All ways out of one daemon; each shard has a clone.
#[derive(Clone)]
pub struct Publisher {
    stream: StreamHub,
    lines: Option<LineQueue>,
    score_lines: Option<LineQueue>,
    topics: Option<KafkaPublisher>,
    pulse: Pulse,
}

impl Publisher {
    /// Publishes to the stream and, where there is a target, as lines. Scores have no place on the
    /// stream.
    pub fn new(
        stream: StreamHub,
        lines: Option<LineQueue>,
        score_lines: Option<LineQueue>,
    ) -> Self {
        Self { stream, lines, score_lines, topics: None, pulse: Pulse::new() }
    }

    /// Tells `pulse` of every record that is handed on.
    #[must_use]
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// Hands one record to every way out. Topics are told how long ago the oldest tick of its batch
    /// has arrived.
    ///
    /// # Errors
    /// [`LinesClosed`] where lines can no longer be written.
    pub fn publish(
        &mut self,
        symbol: &Symbol,
        record: &[u8],
        arrived: Option<Stopwatch>,
    ) -> Result<(), LinesClosed> {
        if let Some(topics) = &mut self.topics {
            topics.forecast(symbol, record, arrived);
        }
        // Whoever keeps the bytes shares one copy of them; where nobody does, none is made.
        if !self.stream.is_closed() || self.lines.is_some() {
            let record = Bytes::copy_from_slice(record);
            if let Some(lines) = &self.lines {
                lines.write(record.clone())?;
            }
            self.stream.publish(symbol, record);
        }
        self.pulse.work();
        Ok(())
    }

    /// Hands one score to every way out that scores have.
    ///
    /// # Errors
    /// [`LinesClosed`] where lines can no longer be written.
    pub fn publish_score(&mut self, symbol: &Symbol, record: &[u8]) -> Result<(), LinesClosed> {
        if let Some(topics) = &mut self.topics {
            topics.score(symbol, record);
        }
        if let Some(lines) = &self.score_lines {
            lines.write(Bytes::copy_from_slice(record))?;
        }
        self.pulse.work();
        Ok(())
    }

    /// Publishes to topics as well from here on, or no longer.
    pub fn connect(&mut self, topics: Option<KafkaPublisher>) {
        self.topics = topics.map(|topics| topics.with_pulse(self.pulse.clone()));
    }

    /// Tells with each forecast from here on that this model made it.
    pub fn set_model(&mut self, onnx_sha256: &str) {
        if let Some(topics) = &mut self.topics {
            topics.set_model(onnx_sha256);
        }
    }

    /// Draws a line: what was published so far is counted apart from what follows.
    pub fn turn(&mut self) {
        if let Some(topics) = &mut self.topics {
            topics.turn();
        }
    }

    /// Hands a refused record on, where there is a place for it.
    pub fn dead_letter(&mut self, record: &Record, reason: Reject) {
        if let Some(topics) = &mut self.topics {
            topics.dead_letter(record, reason);
        }
    }
}
