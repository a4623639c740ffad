//! All sinks of one shard.
//!
//! Owns an end of every sink. Promises that each gets the same bytes, in the order in which they
//! were made. Never computes.

use crate::core::domain::{NamedRejection, Symbol};
use crate::intake::Record;
use crate::ops::clock::Stopwatch;
use crate::ops::supervise::Pulse;
use crate::ports::sink::{Outgoing, Sink, SinkClosed};

/// The sinks of one shard.
pub struct Publisher {
    sinks: Vec<Box<dyn Sink>>,
    /// The sink that the source has brought, while its session lasts.
    connected: Option<Box<dyn Sink>>,
    model_sha256: String,
    pulse: Pulse,
}

impl Publisher {
    /// Publishes to these sinks.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { sinks, connected: None, model_sha256: String::new(), pulse: Pulse::new() }
    }

    /// Moves `pulse` with every record that is handed on.
    #[must_use]
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// Hands one forecast to every sink. `arrived` is when the oldest tick of its batch arrived.
    ///
    /// # Errors
    /// [`SinkClosed`] for the first sink that takes no more.
    pub fn publish(
        &mut self,
        symbol: &Symbol,
        record: &[u8],
        arrived: Option<Stopwatch>,
    ) -> Result<(), SinkClosed> {
        let Self { sinks, connected, model_sha256, pulse } = self;
        let record = Outgoing::new(symbol, record, model_sha256, arrived, pulse);
        for sink in connected.iter_mut().chain(sinks) {
            sink.publish(&record)?;
        }
        pulse.work();
        Ok(())
    }

    /// Hands one score to every sink.
    ///
    /// # Errors
    /// [`SinkClosed`] for the first sink that takes no more.
    pub fn publish_score(&mut self, symbol: &Symbol, record: &[u8]) -> Result<(), SinkClosed> {
        let Self { sinks, connected, model_sha256, pulse } = self;
        let record = Outgoing::new(symbol, record, model_sha256, None, pulse);
        for sink in connected.iter_mut().chain(sinks) {
            sink.publish_score(&record)?;
        }
        pulse.work();
        Ok(())
    }

    /// Publishes to the sink of the source's session as well from here on, or no longer.
    pub fn connect(&mut self, sink: Option<Box<dyn Sink>>) {
        self.connected = sink;
    }

    /// From here on records are those of this model.
    pub fn set_model(&mut self, onnx_sha256: &str) {
        onnx_sha256.clone_into(&mut self.model_sha256);
    }

    /// Draws a line: what was published so far is counted apart from what follows.
    pub fn turn(&mut self) {
        self.each().for_each(|sink| sink.turn());
    }

    /// Hands a refused record to the sinks that have a place for it.
    pub fn dead_letter(&mut self, record: &Record, rejection: NamedRejection<'_>) {
        let pulse = self.pulse.clone();
        self.each().for_each(|sink| sink.dead_letter(record, rejection, &pulse));
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Box<dyn Sink>> {
        self.connected.iter_mut().chain(&mut self.sinks)
    }
}

#[cfg(test)]
mod tests;
