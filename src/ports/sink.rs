//! The seam for sinks: where forecasts and scores go.
//!
//! Owns the traits that a sink implements and the form in which it gets a record. Promises that
//! every sink gets the same bytes, and those of one symbol in their order. Never names an adapter.

use std::any::Any;
use std::cell::OnceCell;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use prometheus::Registry;

use super::section::Section;
use crate::core::domain::{NamedRejection, Symbol};
use crate::engine::wire::score::UnencodedScore;
use crate::intake::Record;
use crate::ops::clock::Stopwatch;
use crate::ops::exit::Exit;
use crate::ops::readiness::Notice;
use crate::ops::supervise::{Pulse, Stage};

/// One kind of sink. Its keys, not a name, turn it on.
#[derive(Clone, Copy)]
pub struct SinkKind {
    /// Reads its settings.
    pub read: fn(SinkReader<'_, '_>) -> Arc<dyn SinkSettings>,
}

/// What the settings of a sink are read from.
pub struct SinkReader<'r, 'p> {
    /// The section `[publish]`, which sinks share.
    pub publish: &'r mut Section<'p>,
    /// The table of all sections, for a sink with a section of its own.
    pub root: &'r mut Section<'p>,
}

/// The checked settings of a sink.
pub trait SinkSettings: Any + fmt::Debug + Send + Sync {
    /// Whether it takes scores, which are otherwise not made.
    fn takes_scores(&self) -> bool;

    /// Where records go, one text for each place, for the log.
    fn places(&self) -> Vec<String> {
        Vec::new()
    }

    /// Looks at everything that can be refused before the sink is opened. Changes nothing.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what cannot be opened.
    fn check(&self) -> Result<(), Exit> {
        Ok(())
    }

    /// Opens the sink and registers its metrics; `None` where the configuration turns it off.
    /// Metrics are registered in both cases, so that a dashboard shows zeros and no hole.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what cannot be opened.
    fn open(&self, opening: &SinkOpening<'_>) -> Result<Option<OpenSink>, Exit>;
}

/// What a sink is opened with.
pub struct SinkOpening<'o> {
    /// Where its metrics go.
    pub registry: &'o Registry,
    /// Whether the input passes by and cannot be read again, so that a restart makes no record
    /// that was lost.
    pub input_is_live: bool,
}

/// A sink that is open.
pub struct OpenSink {
    /// An end of it; every shard gets one of its own by [`Sink::another`].
    pub sink: Box<dyn Sink>,
    /// What the supervisor watches of it.
    pub stages: Vec<Stage>,
    /// What the readiness page says of it without making the process unready.
    pub notices: Vec<Notice>,
    /// Waits until everything that was handed over is out. Called once all ends are gone.
    pub finish: Box<dyn FnOnce() -> Result<(), Exit> + Send>,
}

/// One end of a sink. A call hands a record over and returns; it may wait for room, by the sink's
/// own policy.
pub trait Sink: Send {
    /// Another end of the same sink.
    fn another(&self) -> Box<dyn Sink>;

    /// Takes a forecast.
    ///
    /// # Errors
    /// [`SinkClosed`] where the sink takes nothing more; its `finish` knows why.
    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed>;

    /// Takes a forecast of a shadow. A sink without a place for such forecasts ignores them: they
    /// never go where those of live models go.
    ///
    /// # Errors
    /// As [`Sink::publish`].
    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        let _ = forecast;
        Ok(())
    }

    /// Takes a score, of any model.
    ///
    /// # Errors
    /// As [`Sink::publish`].
    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed>;

    /// Whether this sink needs the bytes of scores now. Where no sink does, scores come by
    /// [`Sink::keep_score`].
    fn needs_score_bytes(&self) -> bool {
        true
    }

    /// Takes a score that is encoded when somebody asks for it. Only a sink that may do without the
    /// bytes gets any.
    fn keep_score(&mut self, score: &Arc<UnencodedScore>, rank: u16) {
        let _ = (score, rank);
    }

    /// Waits until everything that was handed over so far, through any end, is as durable as this
    /// sink makes it. The snapshot of a state is written only after the records behind it settled.
    ///
    /// # Errors
    /// Why it will not settle.
    fn settle(&self) -> io::Result<()>;

    /// Takes a refused record; sinks without a place for one ignore it.
    fn dead_letter(&mut self, record: &Record, rejection: NamedRejection<'_>, pulse: &Pulse) {
        let _ = (record, rejection, pulse);
    }

    /// Whether no call but [`Sink::settle`] ever waits, so that a thread with other duties may make
    /// it.
    fn never_waits(&self) -> bool {
        false
    }

    /// Everything of a batch was handed over. A sink that passes records on one by one ignores it.
    fn flush(&mut self) {}

    /// Counts what follows apart from what came before, for a commit that covers the latter.
    fn turn(&mut self) {}
}

/// A record on its way out.
pub struct Outgoing<'r> {
    /// Whose it is.
    pub symbol: &'r Symbol,
    /// The record's bytes.
    pub bytes: &'r [u8],
    /// The SHA-256 of the model that made it, in hexadecimal.
    pub model_sha256: &'r str,
    /// What tells the newest forecast of this model from those of others
    /// ([`Post::rank`](crate::engine::pipeline::Post::rank)).
    pub rank: u16,
    /// When the oldest tick of its batch arrived, where that is known.
    pub arrived: Option<Stopwatch>,
    /// The shard's sign of life, for a sink that has to wait.
    pub pulse: &'r Pulse,
    shared: OnceCell<Bytes>,
}

/// The sink takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sink `{0}` takes no more records")]
pub struct SinkClosed(pub &'static str);

impl<'r> Outgoing<'r> {
    /// A record.
    pub fn new(
        symbol: &'r Symbol,
        bytes: &'r [u8],
        model_sha256: &'r str,
        arrived: Option<Stopwatch>,
        pulse: &'r Pulse,
    ) -> Self {
        let (rank, shared) = (0, OnceCell::new());
        Self { symbol, bytes, model_sha256, rank, arrived, pulse, shared }
    }

    /// The same of one of several models.
    #[must_use]
    pub fn of_rank(self, rank: u16) -> Self {
        Self { rank, ..self }
    }

    /// The bytes for a sink that keeps them: one copy, made for the first that asks.
    pub fn shared(&self) -> Bytes {
        self.shared.get_or_init(|| Bytes::copy_from_slice(self.bytes)).clone()
    }
}

#[cfg(test)]
mod tests;
