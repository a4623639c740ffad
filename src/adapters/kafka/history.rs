//! Which records of a topic are read as the history of its symbols.
//!
//! Owns where the history of a partition begins, and whether a partition has any use for it.
//! Promises that it ends where live reading begins, and that the same stored positions in the same
//! log give the same records. Never calls a client.

use super::start::Point;

/// The records that are read as history: from an offset up to another one that is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first offset.
    pub(super) from: i64,
    /// Where live reading begins.
    pub(super) to: i64,
    /// How many offsets of what is wanted are left out because they are too many.
    pub(super) left_out: i64,
}

/// What is known of a partition when its states are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// Whether the group has committed nothing of it.
    pub(super) is_first: bool,
    /// Whether states that belong to what the group has read are lost.
    pub(super) has_lost: bool,
    /// Whether states of the log that is read are there, and none of them can be used.
    pub(super) is_unreadable: bool,
    /// Whether there are such states at all.
    pub(super) has_states: bool,
}

impl Range {
    /// What is read where history is wanted from this offset on, the topic begins at `low`, live
    /// reading begins at `to`, and no more than `records_max` offsets are read; `None` where there
    /// is nothing.
    pub(super) fn of(wanted: i64, low: i64, to: i64, records_max: i64) -> Option<Self> {
        let there = wanted.max(low);
        let from = there.max(to.saturating_sub(records_max));
        (from < to).then_some(Self { from, to, left_out: from - there })
    }
}

impl Beginning {
    /// Whether the symbols are warmed from the topic. A group whose states are as it left them goes
    /// on with them, even where it left none: what it has published rests on that.
    pub(super) fn wants_history(self) -> bool {
        let Self { is_first, has_lost, is_unreadable, has_states } = self;
        is_unreadable || !has_states && (is_first || has_lost)
    }
}

/// Whether stored states belong to a beginning that was cut short before it was committed: all of
/// them end at or before the place where reading begins, so that they lack what lies between, and
/// some symbols may have none. What the log has is read again in their place.
pub(super) fn is_cut_short(points: impl IntoIterator<Item = Option<Point>>, next: i64) -> bool {
    points.into_iter().all(|point| point.is_some_and(|point| point.next <= next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::kafka::start::Mark;

    #[test]
    fn history_ends_where_reading_begins_and_begins_within_its_limits() {
        let range = |wanted, low, to, records_max| {
            let range = Range::of(wanted, low, to, records_max)?;
            Some((range.from, range.to, range.left_out))
        };
        assert_eq!(range(10, 0, 50, 1000), Some((10, 50, 0)), "as it is wanted");
        assert_eq!(range(10, 20, 50, 1000), Some((20, 50, 0)), "the topic begins later");
        assert_eq!(range(10, 0, 50, 15), Some((35, 50, 25)), "no more than the limit");
        assert_eq!(range(10, 40, 50, 15), Some((40, 50, 0)), "the topic has less than the limit");
        assert_eq!(range(49, 0, 50, 1), Some((49, 50, 0)));
        for (wanted, low, to) in [(50, 0, 50), (60, 0, 50), (0, 50, 50), (0, 0, 0)] {
            assert_eq!(range(wanted, low, to, 10), None, "{wanted} {low} {to}");
        }
    }

    #[test]
    fn states_that_are_there_go_before_history() {
        let none =
            Beginning { is_first: false, has_lost: false, is_unreadable: false, has_states: false };
        let first = Beginning { is_first: true, ..none };
        let lost = Beginning { has_lost: true, ..none };
        assert!(first.wants_history() && lost.wants_history());
        assert!(!none.wants_history(), "the group has left no states behind what it has read");
        for beginning in [none, first, lost] {
            let with_states = Beginning { has_states: true, ..beginning };
            assert!(!with_states.wants_history(), "{beginning:?}");
            assert!(Beginning { is_unreadable: true, ..with_states }.wants_history());
        }
    }

    #[test]
    fn states_of_a_beginning_that_was_not_committed_are_known_by_where_they_end() {
        let point = |next| Some(Point { next, mark: Mark::default() });
        assert!(is_cut_short([point(7), point(7)], 7));
        assert!(is_cut_short([point(5), point(7)], 9), "the end of the log has moved on");
        assert!(!is_cut_short([point(7), point(8)], 7), "they hold what is read again");
        assert!(!is_cut_short([point(7), None], 7), "nobody knows where one ends");
    }
}
