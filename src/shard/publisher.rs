//! All sinks of one shard.
//!
//! Owns an end of every sink. Promises that each gets the same bytes, in the order in which they
//! were made. Never computes.

use std::sync::Arc;

use crate::core::domain::{NamedRejection, Symbol};
use crate::engine::pipeline::{Pipeline, Post, Role};
use crate::engine::wire::score::UnencodedScore;
use crate::intake::Record;
use crate::ops::clock::Stopwatch;
use crate::ops::supervise::Pulse;
use crate::ports::sink::{Outgoing, Sink, SinkClosed};

/// The sinks of one shard.
pub struct Publisher {
    sinks: Vec<Box<dyn Sink>>,
    /// The sink that the source has brought, while its session lasts.
    connected: Option<Box<dyn Sink>>,
    pulse: Pulse,
}

/// The model that records are of.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its hash.
    pub model_sha256: Arc<str>,
    /// Its place among the models of the stream, and what it does.
    pub post: Post,
}

impl Origin {
    /// The model of a pipeline.
    pub fn of(pipeline: &Pipeline) -> Self {
        Self { model_sha256: pipeline.onnx_sha256(), post: pipeline.post() }
    }
}

impl Publisher {
    /// Publishes to these sinks.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { sinks, connected: None, pulse: Pulse::new() }
    }

    /// Moves `pulse` with every record that is handed on.
    #[must_use]
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// Hands one forecast to every sink, as one of a live model or of a shadow. `arrived` is when
    /// the oldest tick of its batch arrived.
    ///
    /// # Errors
    /// [`SinkClosed`] for the first sink that takes no more.
    pub fn publish(
        &mut self,
        origin: &Origin,
        symbol: &Symbol,
        record: &[u8],
        arrived: Option<Stopwatch>,
    ) -> Result<(), SinkClosed> {
        let Self { sinks, connected, pulse } = self;
        let Origin { model_sha256, post } = origin;
        let record = Outgoing::new(symbol, record, model_sha256, arrived, pulse);
        let record = record.of_rank(post.rank());
        for sink in connected.iter_mut().chain(sinks) {
            match post.role {
                Role::Live | Role::Blend => sink.publish(&record)?,
                Role::Shadow | Role::Vacant => sink.publish_shadow(&record)?,
            }
        }
        pulse.work();
        Ok(())
    }

    /// Whether a sink needs the bytes of scores.
    pub fn needs_score_bytes(&self) -> bool {
        self.connected.iter().chain(&self.sinks).any(|sink| sink.needs_score_bytes())
    }

    /// Hands one score to every sink, none of which needs its bytes.
    pub fn keep_score(&mut self, origin: &Origin, score: UnencodedScore) {
        let (score, rank) = (Arc::new(score), rank_of_scores(origin));
        self.each().for_each(|sink| sink.keep_score(&score, rank));
        self.pulse.work();
    }

    /// Hands one score to every sink.
    ///
    /// # Errors
    /// [`SinkClosed`] for the first sink that takes no more.
    pub fn publish_score(
        &mut self,
        origin: &Origin,
        symbol: &Symbol,
        record: &[u8],
    ) -> Result<(), SinkClosed> {
        let Self { sinks, connected, pulse } = self;
        let record = Outgoing::new(symbol, record, &origin.model_sha256, None, pulse);
        let record = record.of_rank(rank_of_scores(origin));
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

    /// Whether no sink ever waits for room.
    pub fn never_waits(&self) -> bool {
        self.connected.iter().chain(&self.sinks).all(|sink| sink.never_waits())
    }

    /// Says that everything of a batch was handed over.
    pub fn flush(&mut self) {
        self.each().for_each(|sink| sink.flush());
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

/// What tells the scores of a model from those of others: they go to one place, whatever their
/// roles are.
fn rank_of_scores(origin: &Origin) -> u16 {
    u16::try_from(origin.post.place).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
