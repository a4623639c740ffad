//! What is known of history: where a record came from, and which stretch of a symbol is missing.
//!
//! Owns the words in which a stretch of history is asked for and answered. Promises that a record
//! of history is a tick like any other: its origin decides what is published, never a value. Never
//! fetches a row, and never knows who has them.

use crate::core::domain::{DurationNanos, UnixNanos};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Where a record came from. It decides whether its forecast is published and how doubt about the
/// place before it is judged, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The stream itself.
    #[default]
    Live,
    /// The stream once more: what was made of the record is published and committed, and its state
    /// is not stored.
    Again,
    /// Rows that end before the stream begins.
    History(Seam),
}

/// What is known of the place between the newest row of history and the first live tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    /// Nothing is missing there: offsets say so, or the operator does.
    pub is_joined: bool,
    /// A row covers its time and so much behind it: the length of a bar, or zero for a tick.
    pub covers: DurationNanos,
}

/// Which kind of history a row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// A recording.
    File,
    /// A venue's interface for questions.
    Rest,
    /// The topic that the live records come from.
    Topic,
}

/// A stretch of event time: from an instant on, up to another one that is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first instant.
    pub from: UnixNanos,
    /// The first instant behind it.
    pub to: UnixNanos,
}

/// What a symbol lacks before a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Its whole window.
    Warm,
    /// What lies in this stretch.
    Span(Span),
}

/// What rows of history are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// Bars of this length.
    Bars(DurationNanos),
    /// Single trades.
    Trades,
}

/// How much history the models of a stream need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryNeed {
    /// The most steps that one of them needs for its first whole forecast.
    pub steps: u32,
    /// The longest stretch that these steps of one model can take.
    pub span: DurationNanos,
    /// The rows that serve all of them; `None` where no kind of rows does.
    pub rows: Option<RowKind>,
}

impl HistoryFrom {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::File, Self::Rest, Self::Topic];

    /// The kind as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Rest => "rest",
            Self::Topic => "topic",
        }
    }
}

impl HistoryNeed {
    /// The same for more steps, which take a stretch that is longer in proportion.
    #[must_use]
    pub fn with_steps(self, steps: u32) -> Self {
        if steps <= self.steps {
            return self;
        }
        let seconds = i128::from(self.span.as_nanos() / NANOS_PER_SECOND);
        let scaled = seconds * i128::from(steps) / i128::from(self.steps.max(1)) + 1;
        let span = i64::try_from(scaled).ok().and_then(DurationNanos::from_seconds);
        Self { steps, span: span.unwrap_or(DurationNanos::MAX), ..self }
    }
}

impl Span {
    /// The shortest stretch that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// Whether an instant is part of it.
    pub fn contains(self, time: UnixNanos) -> bool {
        self.from <= time && time < self.to
    }

    /// Whether no instant is part of it.
    pub fn is_empty(self) -> bool {
        self.to <= self.from
    }
}

impl Missing {
    /// What serves two models: the whole window where one of them needs that.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Span(one), Self::Span(other)) => Self::Span(one.union(other)),
            _ => Self::Warm,
        }
    }

    /// Whether an answer to this is one to the other as well.
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Warm, _) => true,
            (Self::Span(_), Self::Warm) => false,
            (Self::Span(one), Self::Span(other)) => one.from <= other.from && other.to <= one.to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span { from: UnixNanos::from_nanos(from), to: UnixNanos::from_nanos(to) }
    }

    #[test]
    fn a_span_ends_before_its_end() {
        let three = span(2, 5);
        let inside = |time| three.contains(UnixNanos::from_nanos(time));
        assert_eq!([1, 2, 4, 5].map(inside), [false, true, true, false]);
        assert_eq!(three.union(span(7, 9)), span(2, 9), "with what lies between");
        assert_eq!([span(2, 5), span(5, 5), span(6, 5)].map(Span::is_empty), [false, true, true]);
    }

    #[test]
    fn more_steps_take_a_longer_stretch() {
        let seconds = |count| DurationNanos::from_seconds(count).unwrap();
        let need = HistoryNeed { steps: 50, span: seconds(3060), rows: None };
        assert_eq!(need.with_steps(50), need);
        assert_eq!(need.with_steps(7), need, "never fewer than the models need");
        let doubled = need.with_steps(100);
        assert_eq!((doubled.steps, doubled.span), (100, seconds(6121)));
        let century = HistoryNeed { span: DurationNanos::MAX, ..need };
        assert_eq!(century.with_steps(u32::MAX).span, DurationNanos::MAX);
    }

    #[test]
    fn a_whole_window_covers_any_span() {
        let part = Missing::Span(span(0, 1));
        assert_eq!(part.union(Missing::Warm), Missing::Warm);
        assert_eq!(Missing::Warm.union(part), Missing::Warm);
        assert_eq!(part.union(Missing::Span(span(3, 4))), Missing::Span(span(0, 4)));
        assert!(Missing::Warm.covers(part) && !part.covers(Missing::Warm));
        let [inside, beyond] = [span(0, 1), span(0, 2)].map(Missing::Span);
        assert!(part.covers(inside) && !part.covers(beyond));
    }
}
