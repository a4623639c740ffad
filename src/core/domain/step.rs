//! One row that the model consumes.

use super::{Fields, UnixNanos};

/// One row of one symbol: a record as it came, or a closed bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Event time at which the row was complete: the record's own time, or the end of the bar.
    pub time: UnixNanos,
    /// The row's fields.
    pub fields: Fields,
    /// Whether data that belongs between the previous step and this one is known to be missing.
    pub after_gap: bool,
    /// Whether the row was made by rule, because nothing came in its interval.
    pub patched: bool,
}
