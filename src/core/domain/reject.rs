//! Why a record does not become a step, as a closed list.
//!
//! Owns the reasons and their names, which are metric labels. Promises that every refused record
//! has exactly one reason. Never formats anything from the wire.

/// The reason for which one input record was refused. The stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Larger than `source.record_bytes_max`.
    TooLarge,
    /// The bytes are not the format that the source speaks (JSON, CSV).
    Malformed,
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

impl Reject {
    /// Every reason, in the order of the stages that find it.
    pub const ALL: [Self; 20] = [
        Self::TooLarge,
        Self::Malformed,
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

impl RejectTally {
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
