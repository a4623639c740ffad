//! What a changelog partition holds.
//!
//! Owns which record of a key is its state, and which states a former owner of the partition wrote.
//! Promises that of two states of one log the one that reaches further is taken, wherever it lies:
//! a member that was expelled from the group and does not know it yet may write after its
//! successor. Never calls a client, and never looks into a state.

use std::collections::HashMap;

use bytes::Bytes;

use super::start::Point;

/// The newest record of each key, as the partition is read from its first record on.
#[derive(Debug, Default)]
pub struct Changelog {
    newest: HashMap<String, Newest>,
    passed_over: u64,
    /// How many keys have a state.
    state_count: usize,
    /// The keys and states, without what holds them.
    content_bytes: usize,
}

/// The states of a partition up to an offset.
#[derive(Debug, Default)]
pub(super) struct StateCopy {
    /// The newest record of each key.
    pub(super) changelog: Changelog,
    /// The offset of the record to come.
    pub(super) next: i64,
}

/// What a key costs beside its own bytes and those of its state: its entry, and the headers of two
/// allocations, about.
const ENTRY_BYTES: usize = size_of::<(String, Newest)>() + 64;

/// The record of a key that counts.
#[derive(Debug)]
struct Newest {
    at: i64,
    point: Option<Point>,
    /// `None` for a key that has no state any more. What a former owner stored under it later does
    /// not bring it back.
    bytes: Option<Bytes>,
}

/// The stored state of a symbol, in one model where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// The model and the symbol.
    pub key: String,
    /// What was stored.
    pub bytes: Bytes,
    /// The offset in the changelog.
    pub at: i64,
    /// Up to where it reaches in the input; earlier versions did not store that.
    pub point: Option<Point>,
}

impl StateCopy {
    /// The records so far, to take the one at this offset. One that lies before them is of a log
    /// that has begun again, and all of them are of the one before.
    pub(super) fn up_to(&mut self, at: i64) -> &mut Changelog {
        if at < self.next {
            *self = Self::default();
        }
        self.next = at + 1;
        &mut self.changelog
    }
}

impl Changelog {
    /// Takes the record at an offset. One without bytes ends the state of its key.
    pub fn take(&mut self, at: i64, key: &str, bytes: Option<Bytes>, point: Option<Point>) {
        let (is_state, length) = (bytes.is_some(), bytes.as_ref().map_or(0, Bytes::len));
        match self.newest.get_mut(key) {
            Some(newest) if goes_back(newest.point, point) => {
                self.passed_over += 1;
                return;
            }
            Some(newest) => {
                self.state_count -= usize::from(newest.bytes.is_some());
                self.content_bytes -= newest.bytes.as_ref().map_or(0, Bytes::len);
                *newest = Newest { at, point, bytes };
            }
            None => {
                self.content_bytes += key.len();
                self.newest.insert(key.to_owned(), Newest { at, point, bytes });
            }
        }
        self.state_count += usize::from(is_state);
        self.content_bytes += length;
    }

    /// How many keys have a state.
    pub fn state_count(&self) -> usize {
        self.state_count
    }

    /// The memory of keys and states, about.
    pub fn bytes(&self) -> usize {
        self.content_bytes + self.newest.len() * ENTRY_BYTES
    }

    /// How many records were passed over, because they reach less far than an earlier one of their
    /// key.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// The states.
    pub fn into_states(self) -> impl Iterator<Item = StateRecord> {
        self.newest.into_iter().filter_map(|(key, Newest { at, point, bytes })| {
            Some(StateRecord { key, bytes: bytes?, at, point })
        })
    }
}

/// Whether a record reaches less far than the one before it, in the same log.
fn goes_back(before: Option<Point>, point: Option<Point>) -> bool {
    let (Some(before), Some(point)) = (before, point) else { return false };
    let is_same_log = point.mark.log.is_some() && point.mark.log == before.mark.log;
    is_same_log && point.next < before.next
}

impl StateRecord {
    /// Whether a former owner wrote the state after the owner that committed last had taken the
    /// partition over, so that compaction may have removed a newer one.
    ///
    /// The newer state follows from the records of the input behind this one. A state that reaches
    /// up to the committed offset has them.
    pub fn is_late(&self, committed: Option<Point>) -> bool {
        let Some((point, committed)) = self.point.zip(committed) else { return false };
        let Some(epoch) = committed.mark.epoch else { return false };
        let (is, was) = (point.mark, committed.mark);
        let is_same = is.log.is_some() && is.log == was.log && is.changelog == was.changelog;
        // One that began later, and committed nothing, began with what the last one had stored.
        let is_of_former = is.epoch.is_none_or(|own| own != epoch && own.since <= epoch.since);
        is_same && self.at >= epoch.since && is_of_former && point.next < committed.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::kafka::TopicId;
    use crate::adapters::kafka::start::{Epoch, Mark};

    fn point(next: i64, since: Option<i64>) -> Option<Point> {
        let id = |number| Some(TopicId::of(number));
        let epoch = since.map(|since| Epoch { since, number: 1 });
        let mark = Mark { log: id(1), changelog: id(2), epoch, ..Mark::default() };
        Some(Point { next, mark })
    }

    fn read(records: &[(&str, Option<&'static str>, Option<Point>)]) -> (u64, Vec<StateRecord>) {
        let mut changelog = Changelog::default();
        for (at, (key, bytes, point)) in (0..).zip(records) {
            changelog.take(at, key, bytes.map(Bytes::from), *point);
        }
        let passed_over = changelog.passed_over();
        let mut states: Vec<_> = changelog.into_states().collect();
        states.sort_by(|one, other| one.key.cmp(&other.key));
        (passed_over, states)
    }

    fn state(at: i64, key: &str, bytes: &'static str, point: Option<Point>) -> StateRecord {
        StateRecord { key: key.to_owned(), bytes: bytes.into(), at, point }
    }

    #[test]
    fn of_one_log_the_state_that_reaches_furthest_is_taken() {
        let of_other_log = point(3, None).map(|of| {
            let mark = Mark { log: Some(TopicId::of(7)), ..of.mark };
            Point { mark, ..of }
        });
        let (passed_over, states) = read(&[
            ("A", Some("a5"), point(5, None)),
            ("B", Some("b5"), point(5, None)),
            ("A", Some("a9"), point(9, None)),
            // A former owner.
            ("A", Some("a7"), point(7, None)),
            // Written again at the same place.
            ("B", Some("b5 again"), point(5, None)),
            ("C", Some("c4"), point(4, None)),
            // The topic was made again.
            ("C", Some("c3"), of_other_log),
            ("D", Some("d8"), point(8, None)),
            // An earlier version of the program.
            ("D", Some("d"), None),
        ]);
        let expected = [
            state(2, "A", "a9", point(9, None)),
            state(4, "B", "b5 again", point(5, None)),
            state(6, "C", "c3", of_other_log),
            state(8, "D", "d", None),
        ];
        assert_eq!((passed_over, &*states), (1, &expected[..]));
    }

    #[test]
    fn the_end_of_a_state_has_its_place_as_well() {
        let (passed_over, states) = read(&[
            ("A", Some("a9"), point(9, None)),
            // The symbol was quiet for a former owner, which knew less of it.
            ("A", None, point(7, None)),
            ("B", None, point(9, None)),
            ("B", Some("b7"), point(7, None)),
            ("C", Some("c5"), point(5, None)),
            ("C", None, point(6, None)),
            ("C", Some("c8"), point(8, None)),
            ("D", Some("d5"), point(5, None)),
            // A start that gave up what was stored.
            ("D", None, None),
        ]);
        let expected = [state(0, "A", "a9", point(9, None)), state(6, "C", "c8", point(8, None))];
        assert_eq!((passed_over, &*states), (2, &expected[..]));
    }

    #[test]
    fn the_memory_of_states_is_that_of_the_newest() {
        let mut changelog = Changelog::default();
        assert_eq!((changelog.state_count(), changelog.bytes()), (0, 0));
        let mut sizes = Vec::new();
        for (at, (key, state, next)) in (0..).zip([
            ("AA", Some("12345"), 5),
            ("AA", Some("123"), 6),
            // A former owner.
            ("AA", Some("123456789"), 4),
            ("B", None, 6),
            ("B", Some("1"), 7),
            ("AA", None, 7),
        ]) {
            changelog.take(at, key, state.map(Bytes::from), point(next, None));
            sizes.push((changelog.state_count(), changelog.bytes()));
        }
        let of = |keys: usize, content: usize| keys * ENTRY_BYTES + content;
        let expected = [
            (1, of(1, 7)),
            (1, of(1, 5)),
            (1, of(1, 5)),
            (1, of(2, 6)),
            (2, of(2, 7)),
            (1, of(2, 4)),
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn a_copy_begins_again_with_its_log() {
        let mut copy = StateCopy::default();
        for (at, next, states) in [(0, 1, 1), (7, 8, 2), (8, 9, 3), (2, 3, 1), (3, 4, 2)] {
            copy.up_to(at).take(at, &at.to_string(), Some(Bytes::new()), None);
            assert_eq!((copy.next, copy.changelog.state_count()), (next, states), "{at}");
        }
    }

    #[test]
    fn a_state_is_late_where_a_former_owner_wrote_it_behind_the_last_one() {
        let committed = point(20, Some(100));
        let late = |at, next, since| state(at, "A", "a", point(next, since)).is_late(committed);
        assert!(late(100, 19, Some(60)) && late(130, 0, None));
        assert!(!late(99, 19, Some(60)), "from before the owner began");
        assert!(!late(100, 19, Some(100)), "by the owner that committed");
        assert!(!late(100, 19, Some(120)), "by one that took over later and committed nothing");
        assert!(!late(100, 20, Some(60)), "it lacks nothing");
        let beside = point(19, Some(100)).map(|point| {
            let epoch = Some(Epoch { since: 100, number: 2 });
            Point { mark: Mark { epoch, ..point.mark }, ..point }
        });
        let is_late = state(100, "A", "a", beside).is_late(committed);
        assert!(is_late, "by another that began there, before it or behind it");
        let written = state(100, "A", "a", point(19, Some(60)));
        assert!(!written.is_late(None) && !written.is_late(point(20, None)), "nothing is known");
        assert!(!state(100, "A", "a", None).is_late(committed));
        let other = |log, changelog| {
            let (log, changelog) = (Some(TopicId::of(log)), Some(TopicId::of(changelog)));
            let epoch = Some(Epoch { since: 100, number: 1 });
            let mark = Mark { log, changelog, epoch, ..Mark::default() };
            Some(Point { next: 20, mark })
        };
        assert!(written.is_late(other(1, 2)));
        assert!(!written.is_late(other(3, 2)) && !written.is_late(other(1, 4)));
    }
}
