//! The seam for history: rows that are asked for, a symbol at a time.
//!
//! Owns the trait that such a source implements, the question of a shard and its answer. Promises
//! that a shard never waits for an answer: it puts its question on a bounded desk, and the answer
//! comes as a command in line with the records. Never names an adapter.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::core::domain::{DurationNanos, Symbol, UnixNanos};
use crate::core::history::{HistoryFrom, RowKind, Span};

/// A place that history can be asked of.
pub trait HistorySource: Send + Sync {
    /// Which kind it is.
    fn from(&self) -> HistoryFrom;

    /// Whether it has rows of this kind, and in one line what it asks whom for.
    ///
    /// # Errors
    /// Why it has none.
    fn serves(&self, kind: RowKind) -> Result<String, String>;

    /// The lengths of bars that it has, the longest first: where longer ones can be made of
    /// several, a shorter length serves as well.
    fn lengths(&self) -> Vec<DurationNanos> {
        Vec::new()
    }

    /// Whether its rows can have a field of this name.
    fn has_field(&self, _name: &str) -> bool {
        true
    }

    /// How many questions it works on at a time. More of them wait in it, in the order of asking.
    fn at_once(&self) -> usize {
        1
    }

    /// How long after its end a stretch is asked for.
    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    /// The most rows that it gives for one question; `None` where there is no limit.
    fn rows_limit(&self) -> Option<RowsLimit> {
        None
    }

    /// Asks for rows of one symbol.
    fn fetch(&self, request: Request) -> BoxFuture<'static, Result<Rows, Failed>>;
}

/// The most rows of one answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsLimit {
    /// How many.
    pub rows: u64,
    /// The key that raises the limit; `None` where the source has no older rows.
    pub key: Option<&'static str>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose rows, as the ticks of the stream name it.
    pub symbol: Symbol,
    /// What kind of rows.
    pub kind: RowKind,
    /// Whether a step is made of several of these rows, so that one that is missing leaves a step
    /// that looks whole.
    pub are_parts: bool,
    /// Which of them.
    pub want: Want,
}

/// Which rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The newest ones.
    Newest {
        /// They end at or before this instant; `None` for those that are certainly finished.
        before: Option<UnixNanos>,
        /// How many.
        rows: u32,
    },
    /// Those of this stretch.
    Between(Span),
}

/// Rows in the order of time, without repeats, inside what was wanted; none is unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether no row between them is known to be missing.
    pub is_complete: bool,
}

/// One row: a native tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its event time.
    pub time: UnixNanos,
    /// Its number among the trades of its symbol.
    pub trade_id: Option<u64>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The source was not reached, was too slow or asked for patience.
    #[error("{0}")]
    Away(String),
    /// No source answered in time.
    #[error("no answer came in time")]
    Late,
    /// The source will never answer this: it knows no such symbol or interval.
    #[error("{0}")]
    Refused(String),
}

/// A question of a shard. Its answer is a command of that shard with the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which shard asks.
    pub shard: usize,
    /// Its number among the questions of that shard.
    pub number: u64,
    /// What it asks for.
    pub request: Request,
    /// Whether the ticks of a running window wait for it: it goes before other questions, and is
    /// not tried again.
    pub is_hole: bool,
    /// When an answer is of no use any more, since the start of the process.
    pub until: Duration,
}

/// The time since the start of the process, by which questions end.
pub type AskClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Where a shard leaves its questions.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Ask>);

/// A question that was not taken; its source counts as away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the desk for history takes no more questions now")]
pub struct DeskFull;

impl Desk {
    /// A desk with room for so many questions, and the end at which they are taken.
    pub fn new(asks_max: usize) -> (Self, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(asks_max.max(1));
        (Self(sender), receiver)
    }

    /// Leaves a question, without waiting.
    ///
    /// # Errors
    /// [`DeskFull`] where there is no room, or where no one takes questions any more.
    pub fn ask(&self, ask: Ask) -> Result<(), DeskFull> {
        self.0.try_send(ask).map_err(|_| DeskFull)
    }
}

#[cfg(test)]
mod tests;
