//! One decoded input record.

use std::borrow::Cow;

use super::{Fields, UnixNanos};

/// One input record of one symbol, decoded and checked; borrows its name from the wire where the
/// wire has it unescaped.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick<'a> {
    /// The symbol's name, checked by [`super::Symbol::check`].
    pub symbol: Cow<'a, str>,
    /// Event time.
    pub time: UnixNanos,
    /// The fields that the feed sent and the schema knows.
    pub fields: Fields,
}
