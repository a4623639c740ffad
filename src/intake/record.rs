//! What travels from a source to a shard.
//!
//! Owns the entries of a queue. `C` is what the shard takes as commands; the queue does not look
//! into one.

use bytes::Bytes;

use crate::core::domain::{Position, UnixNanos};
use crate::core::history::Origin;

/// What a source delivers.
#[derive(Debug)]
pub enum Arrival<C> {
    /// One record.
    Record(Record),
    /// Records may be missing between those before and those after.
    Gap,
    /// A question or an order to the shard.
    Command(C),
}

/// One record as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The bytes of one tick.
    pub bytes: Bytes,
    /// Its place, in an input that can be read again.
    pub position: Option<Position>,
    /// When it was received, by the clock at the source; none for a recording.
    pub received: Option<UnixNanos>,
    /// Whether records of its symbol may be missing right before it.
    pub after_gap: bool,
    /// Whether the venue sent it behind records that it belongs before. What is missing may then
    /// lie behind it as well, so it does not answer for a gap.
    pub late: bool,
    /// Its number among the trades of its symbol, where the venue numbers them.
    pub trade_id: Option<u64>,
    /// Whether it belongs to the stream or to the history before it.
    pub origin: Origin,
}

impl Record {
    /// Whether it belongs to the history before the stream.
    pub fn is_history(&self) -> bool {
        matches!(self.origin, Origin::History(_))
    }

    /// Whether what is made of it is published.
    pub fn is_published(&self) -> bool {
        self.origin == Origin::Live
    }
}

impl<C> Arrival<C> {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => record.bytes.len(),
            Self::Gap | Self::Command(_) => 0,
        }
    }
}
