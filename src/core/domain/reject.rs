//! Why a record does not become a step, as a closed list.
//!
//! Owns the reasons and their names, which are metric labels, and the part of the record that is at
//! fault. Promises that every refused record has exactly one reason. Never formats anything from
//! the wire.

use std::fmt;

use super::fields::{Field, Schema};

/// The reason for which one input record was refused. The stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Larger than `source.record_bytes_max`.
    TooLarge,
    /// The bytes are not JSON.
    Malformed,
    /// A row of a table with more or fewer cells than the header. Its cells cannot be told apart,
    /// so none of them is read.
    WrongCells,
    /// JSON, but not one object.
    NotAnObject,
    /// One name twice, so that it is unclear which value is meant.
    DuplicateField,
    /// No `symbol`.
    MissingSymbol,
    /// `symbol` is not a text of 1 to 256 bytes without control characters.
    InvalidSymbol,
    /// No `time`.
    MissingTime,
    /// `time` is not RFC 3339, a date, or a number inside the years 1677 to 2262.
    InvalidTime,
    /// A field that the model reads is not there.
    MissingField,
    /// A field is not a number.
    WrongType,
    /// A field is NaN or infinite, or a feature made of it is.
    NotFinite,
    /// A price or volume below zero.
    Negative,
    /// A price of zero, of which no change can be taken.
    ZeroPrice,
    /// A value beyond 1e15 either way, or a price below 1e-12.
    OutOfBounds,
    /// Event time not after the newest step of the same symbol: time went backwards.
    OutOfOrder,
    /// The same symbol and event time as the newest step.
    Duplicate,
    /// Its bar is closed: it came later than the allowed lateness.
    Late,
    /// Its event time lies further ahead of its reception than a clock may err.
    InFuture,
    /// A symbol beyond `engine.symbols_max`.
    TooManySymbols,
    /// The symbol's state belongs to another partition of the input: the feed is not keyed by
    /// symbol.
    OtherPartition,
}

/// How many records were refused, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectTally {
    counts: [u64; Reject::ALL.len()],
}

/// The part of a record that a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// `symbol`.
    Symbol,
    /// `time`.
    Time,
    /// A field.
    Field(Field),
}

/// Why one record was refused, and the part at fault where one part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub reason: Reject,
    /// The part at fault.
    pub member: Option<Member>,
}

/// A [`Rejection`] with the name of the part, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedRejection<'s> {
    /// The reason.
    pub reason: Reject,
    /// The name of the part at fault: `symbol`, `time` or a field.
    pub field: Option<&'s str>,
}

impl Reject {
    /// Every reason, in the order of the stages that find it.
    pub const ALL: [Self; 21] = [
        Self::TooLarge,
        Self::Malformed,
        Self::WrongCells,
        Self::NotAnObject,
        Self::DuplicateField,
        Self::MissingSymbol,
        Self::InvalidSymbol,
        Self::MissingTime,
        Self::InvalidTime,
        Self::MissingField,
        Self::WrongType,
        Self::NotFinite,
        Self::Negative,
        Self::ZeroPrice,
        Self::OutOfBounds,
        Self::OutOfOrder,
        Self::Duplicate,
        Self::Late,
        Self::InFuture,
        Self::TooManySymbols,
        Self::OtherPartition,
    ];

    /// The reason as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::WrongCells => "wrong_cells",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateField => "duplicate_field",
            Self::MissingSymbol => "missing_symbol",
            Self::InvalidSymbol => "invalid_symbol",
            Self::MissingTime => "missing_time",
            Self::InvalidTime => "invalid_time",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::NotFinite => "not_finite",
            Self::Negative => "negative",
            Self::ZeroPrice => "zero_price",
            Self::OutOfBounds => "out_of_bounds",
            Self::OutOfOrder => "out_of_order",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::InFuture => "in_future",
            Self::TooManySymbols => "too_many_symbols",
            Self::OtherPartition => "other_partition",
        }
    }
}

impl Member {
    /// The name in a record of a stream with these fields.
    pub fn name(self, schema: &Schema) -> &str {
        match self {
            Self::Symbol => "symbol",
            Self::Time => "time",
            Self::Field(field) => schema.name(field),
        }
    }
}

impl Rejection {
    /// A reason that is about one part of the record.
    pub const fn of(reason: Reject, member: Member) -> Self {
        Self { reason, member: Some(member) }
    }

    /// The same with the name of the part.
    pub fn named(self, schema: &Schema) -> NamedRejection<'_> {
        let field = self.member.map(|member| member.name(schema));
        NamedRejection { reason: self.reason, field }
    }
}

impl From<Reject> for Rejection {
    fn from(reason: Reject) -> Self {
        Self { reason, member: None }
    }
}

impl fmt::Display for NamedRejection<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason.label())?;
        self.field.map_or(Ok(()), |field| write!(formatter, " `{field}`"))
    }
}

impl RejectTally {
    /// A tally of counts in the order of [`Reject::ALL`].
    pub fn of_counts(counts: [u64; Reject::ALL.len()]) -> Self {
        Self { counts }
    }

    /// Counts one refused record.
    pub fn add(&mut self, reason: Reject) {
        self.counts[reason as usize] += 1;
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// How many records were refused for `reason`.
    pub fn get(&self, reason: Reject) -> u64 {
        self.counts[reason as usize]
    }

    /// How many records were refused in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The reasons that occurred, with their counts, in the order of [`Reject::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Reject, u64)> + '_ {
        Reject::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_reason_at_its_own_index() {
        for (index, reason) in Reject::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        let mut labels: Vec<_> = Reject::ALL.map(Reject::label).to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reject::ALL.len(), "labels are distinct");
    }
}
