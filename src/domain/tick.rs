//! One decoded input record.

use super::{Fields, UnixNanos};

/// One input record of one symbol, decoded and checked; borrows its name from the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick<'a> {
    /// The symbol's name, checked by [`super::Symbol::check`].
    pub symbol: &'a str,
    /// Event time.
    pub time: UnixNanos,
    /// The fields that the feed sent and the schema knows.
    pub fields: Fields,
}
