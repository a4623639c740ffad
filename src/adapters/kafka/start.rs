//! Which log a stored position is of, and where reading begins.
//!
//! Owns the mark that goes with every committed offset and every stored state, and the decision
//! that rests on it. Promises that a position of one log is never used in another one: not where a
//! topic was deleted and created again under its name, and not where a cluster came back from
//! a backup. Never calls a client.

use std::fmt::{self, Write as _};

use super::changelog::StateRecord;
use super::describe::TopicId;
use crate::adapters::kafka_config::{LostOffset, StartAt};

/// What tells the log of a position from other logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The input topic's id; `None` where the cluster gives none.
    pub log: Option<TopicId>,
    /// The id of the topic that has the states up to the position.
    pub changelog: Option<TopicId>,
    /// How many partitions the input topic had when the group began with it: others were added.
    pub began_with: Option<i32>,
    /// The timestamp of the record right before the position, in milliseconds since the epoch.
    pub newest_ms: Option<i64>,
    /// The owner of the partition. With transactions nobody needs to know it: they fence off former
    /// owners.
    pub epoch: Option<Epoch>,
    /// Up to where the stored states reach, where that is less than the position: states are stored
    /// less often than offsets are committed.
    pub stored: Option<i64>,
}

/// An owner of a partition, from taking it over to giving it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The end of the changelog partition at the beginning: a former owner that writes behind it
    /// has lost the partition.
    pub since: i64,
    /// Tells apart owners that began at one place. Any number, but for each another one.
    pub number: u64,
}

impl Epoch {
    fn parse(text: &str) -> Option<Self> {
        let (since, number) = text.split_once('/')?;
        Some(Self { since: since.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, number } = self;
        write!(formatter, "{since}/{number}")
    }
}

/// A position in a log: the offset of the record to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The offset.
    pub next: i64,
    /// What tells its log from others.
    pub mark: Mark,
}

/// What is known when a partition is taken over.
#[derive(Clone, Copy, Debug)]
pub struct Found<'s> {
    /// The input topic's id.
    pub log: Option<TopicId>,
    /// The first offset of the log, and the one behind its last record.
    pub ends: (i64, i64),
    /// What the group has committed.
    pub committed: Option<Point>,
    /// The marks of the stored states, of those that have one.
    pub states: &'s [Point],
    /// The timestamp of the record right before the newest position, where there is one.
    pub newest_ms: Option<i64>,
    /// Whether the partition was added after the group had begun with the topic.
    pub is_added: bool,
}

/// Where to begin reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(i64),
    /// At the first record of this time, in milliseconds since the epoch.
    AtTime(i64),
    /// At this offset; what the stored position and the stored states are of is lost.
    Lost(i64, Loss),
    /// Nowhere: the configuration says to fail.
    Refused(Loss),
}

/// Why a stored position is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The log does not hold it.
    Gone,
    /// The topic was deleted and made again.
    Recreated,
    /// The log holds another record there.
    Diverged,
}

impl Loss {
    /// Every reason.
    pub(super) const ALL: [Self; 3] = [Self::Gone, Self::Recreated, Self::Diverged];

    /// The reason as a metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Recreated => "recreated",
            Self::Diverged => "diverged",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gone => "the topic no longer holds the committed offset",
            Self::Recreated => "the topic was deleted and created again",
            Self::Diverged => {
                "the topic holds another record before the stored position than the one that was \
                 read there"
            }
        })
    }
}

impl Mark {
    /// The mark as a text; the same in each run.
    pub(super) fn text(&self) -> String {
        let Self { log, changelog, began_with, newest_ms, epoch, stored } = self;
        let mut text = String::from("tickcast");
        let mut field = |name: &str, value: Option<&dyn fmt::Display>| {
            if let Some(value) = value {
                // Writing into a text cannot fail.
                let _ = write!(text, " {name}={value}");
            }
        };
        field("log", log.as_ref().map(|id| id as _));
        field("changelog", changelog.as_ref().map(|id| id as _));
        field("began_with", began_with.as_ref().map(|count| count as _));
        field("newest_ms", newest_ms.as_ref().map(|time| time as _));
        field("epoch", epoch.as_ref().map(|epoch| epoch as _));
        field("stored", stored.as_ref().map(|stored| stored as _));
        text
    }

    /// The mark in a text. What is missing or unknown stays unknown: the text may be of another
    /// program, or of a later version of this one.
    pub(super) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
        };
        Self {
            log: field("log").and_then(TopicId::parse),
            changelog: field("changelog").and_then(TopicId::parse),
            began_with: field("began_with").and_then(|count| count.parse().ok()),
            newest_ms: field("newest_ms").and_then(|time| time.parse().ok()),
            epoch: field("epoch").and_then(Epoch::parse),
            stored: field("stored").and_then(|stored| stored.parse().ok()),
        }
    }

    /// Whether what is marked so is known to be of another log.
    fn is_of_another(&self, log: Option<TopicId>) -> bool {
        self.log.zip(log).is_some_and(|(own, log)| own != log)
    }
}

impl Point {
    /// How far a state reaches that was taken at this point, given the newest record that it
    /// holds. One that was restored ahead of what is read holds more than was read. What lies
    /// right before its end is not known here.
    #[must_use]
    pub fn behind(self, newest: Option<i64>) -> Self {
        match newest.and_then(|newest| newest.checked_add(1)) {
            Some(next) if next > self.next => {
                Self { next, mark: Mark { newest_ms: None, ..self.mark } }
            }
            _ => self,
        }
    }

    /// From where records are read to go on behind it: from where the stored states reach.
    pub fn reads_from(&self) -> i64 {
        self.mark.stored.map_or(self.next, |stored| stored.min(self.next))
    }

    /// The point as a text.
    pub(super) fn text(&self) -> String {
        format!("{} next={}", self.mark.text(), self.next)
    }

    /// The point in a text; `None` where there is none in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let next = text.split(' ').find_map(|pair| pair.strip_prefix("next="))?;
        Some(Self { next: next.parse().ok()?, mark: Mark::parse(text) })
    }
}

/// The newest position that is stored: what is committed, or else the newest of the states.
pub(super) fn newest(committed: Option<Point>, states: &[Point]) -> Option<Point> {
    committed.or_else(|| states.iter().copied().max_by_key(|point| point.next))
}

impl Found<'_> {
    /// Why the stored position is of no use, if it is not.
    pub(super) fn loss(&self) -> Option<Loss> {
        let is_other = |point: &Point| point.mark.is_of_another(self.log);
        let is_own = |point: &Point| point.mark.log.is_some() && !is_other(point);
        // A broker that deletes a topic forgets what groups have committed of it.
        let is_recreated = match self.committed {
            Some(committed) => is_other(&committed),
            None => self.states.iter().any(is_other) && !self.states.iter().any(is_own),
        };
        if is_recreated {
            return Some(Loss::Recreated);
        }
        let was = newest(self.committed, self.states).and_then(|point| point.mark.newest_ms);
        if was.zip(self.newest_ms).is_some_and(|(was, is)| was != is) {
            return Some(Loss::Diverged);
        }
        let (low, high) = self.ends;
        let is_gone = |point: Point| point.reads_from() < low || point.next > high;
        self.committed.filter(|point| is_gone(*point)).map(|_| Loss::Gone)
    }

    /// Decides where to begin.
    pub fn decide(&self, start: StartAt, lost: LostOffset) -> Start {
        let (low, high) = self.ends;
        if let Some(loss) = self.loss() {
            return match lost {
                LostOffset::Earliest => Start::Lost(low, loss),
                LostOffset::Latest => Start::Lost(high, loss),
                LostOffset::Fail => Start::Refused(loss),
            };
        }
        match (self.committed, start) {
            (Some(committed), _) => Start::At(committed.reads_from()),
            // What was written before we knew of the partition is part of what the group reads.
            (None, _) if self.is_added => Start::At(low),
            (None, StartAt::Earliest) => Start::At(low),
            (None, StartAt::Latest) => Start::At(high),
            (None, StartAt::Time(time)) => Start::AtTime(time.as_nanos() / 1_000_000),
        }
    }

    /// The states that follow from the records of this log up to where reading begins, as a limit
    /// to their positions; `None` where there is no limit.
    ///
    /// A state may be ahead of what is committed, by the commit that a crash cut short; within
    /// transactions it cannot. One beyond the end of the log is of a log that is no more, and so
    /// may be any other that is ahead of what is committed.
    pub fn state_limit(&self, is_transactional: bool) -> Option<i64> {
        let is_own = |point: &&Point| !point.mark.is_of_another(self.log);
        let is_beyond = self.states.iter().filter(is_own).any(|point| point.next > self.ends.1);
        match self.committed {
            // Offsets that somebody set by hand have no mark, and may be earlier on purpose.
            Some(committed) if is_beyond || is_transactional && committed.mark.log.is_some() => {
                Some(committed.next)
            }
            Some(_) => None,
            None => is_beyond.then_some(i64::MIN),
        }
    }

    /// From where records are read because of states that a former owner wrote late, given where
    /// reading would begin without them. States hold the records up to where they reach, so that
    /// no other symbol takes a record twice.
    pub fn reads_again_from<'s>(
        &self,
        next: i64,
        states: impl Iterator<Item = &'s StateRecord>,
    ) -> i64 {
        let late = states.filter(|state| state.is_late(self.committed) && !self.is_lost(state));
        late.filter_map(|state| state.point).map(|point| point.next).fold(next, i64::min)
    }

    /// Whether the log does not have the records any more that a late state lacks.
    pub fn is_lost(&self, state: &StateRecord) -> bool {
        let is_gone = |point: Point| point.next < self.ends.0;
        state.is_late(self.committed) && state.point.is_some_and(is_gone)
    }

    /// Whether a state is one of those.
    pub fn takes(&self, state: Option<Point>, limit: Option<i64>) -> bool {
        let Some(Point { next, mark }) = state else { return true };
        !mark.is_of_another(self.log) && limit.is_none_or(|limit| next <= limit)
    }

    /// Whether the states that belong to the committed offset are gone, given the id of the topic
    /// that has them now, and whether anything was ever written to this partition of it.
    pub(super) fn has_lost_states(&self, changelog: Option<TopicId>, is_empty: bool) -> bool {
        let Some(committed) = self.committed else { return false };
        match committed.mark.changelog.zip(changelog) {
            Some((was, is)) => was != is,
            None => is_empty && committed.reads_from() > self.ends.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::domain::UnixNanos;

    const LOG: Option<TopicId> = Some(TopicId::of(1));

    fn mark(log: u128) -> Mark {
        let log = Some(TopicId::of(log));
        let (changelog, newest_ms) = (Some(TopicId::of(9)), Some(77));
        let epoch = Some(Epoch { since: 5, number: 1 });
        Mark { log, changelog, began_with: Some(2), newest_ms, epoch, stored: None }
    }

    fn point(next: i64, log: u128) -> Point {
        Point { next, mark: mark(log) }
    }

    fn found(committed: Option<Point>, states: &[Point]) -> Found<'_> {
        Found { log: LOG, ends: (5, 9), committed, states, newest_ms: None, is_added: false }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let behind = Mark { newest_ms: Some(-1), stored: Some(4), ..Mark::default() };
        for mark in [mark(3), Mark::default(), behind] {
            assert_eq!(Mark::parse(&mark.text()), mark);
            let point = Point { next: 7, mark };
            assert_eq!(Point::parse(&point.text()), Some(point));
        }
        for text in ["", "x", "tickcast log=? began_with=many epoch=5 epoch=/", "log", "next="] {
            assert_eq!((Mark::parse(text), Point::parse(text)), (Mark::default(), None), "{text}");
        }
    }

    #[test]
    fn a_state_that_is_ahead_reaches_as_far_as_it_holds() {
        let read = point(7, 1);
        for newest in [None, Some(0), Some(6), Some(i64::MAX)] {
            assert_eq!(read.behind(newest), read, "{newest:?}");
        }
        let ahead = read.behind(Some(8));
        assert_eq!((ahead.next, ahead.mark.newest_ms), (9, None), "of record 8 no time is known");
        assert_eq!(Mark { newest_ms: read.mark.newest_ms, ..ahead.mark }, read.mark);
    }

    #[test]
    fn where_to_begin_is_decided_by_what_is_left() {
        use LostOffset::{Earliest, Fail, Latest};
        let unmarked = |next| Some(Point { next, mark: Mark::default() });
        let start = |next, lost| found(unmarked(next), &[]).decide(StartAt::Latest, lost);
        for at in 5..=9 {
            assert_eq!(start(at, Fail), Start::At(at));
            assert_eq!(found(Some(point(at, 1)), &[]).decide(StartAt::Latest, Fail), Start::At(at));
        }
        for gone in [0, 4, 10] {
            assert_eq!(start(gone, Earliest), Start::Lost(5, Loss::Gone));
            assert_eq!(start(gone, Latest), Start::Lost(9, Loss::Gone));
            assert_eq!(start(gone, Fail), Start::Refused(Loss::Gone));
        }
        let first = |start| found(None, &[]).decide(start, Fail);
        assert_eq!(first(StartAt::Earliest), Start::At(5));
        assert_eq!(first(StartAt::Latest), Start::At(9));
        let time = UnixNanos::parse("2013-03-01").unwrap();
        assert_eq!(first(StartAt::Time(time)), Start::AtTime(1_362_096_000_000));
        let added = Found { is_added: true, ..found(None, &[]) };
        for start in [StartAt::Earliest, StartAt::Latest, StartAt::Time(time)] {
            assert_eq!(added.decide(start, Fail), Start::At(5), "nothing of it was ever read");
        }
    }

    #[test]
    fn reading_begins_where_the_stored_states_reach() {
        let committed = |next, stored| {
            let point = point(next, 1);
            Some(Point { mark: Mark { stored, ..point.mark }, ..point })
        };
        let start = |next, stored| {
            found(committed(next, stored), &[]).decide(StartAt::Latest, LostOffset::Latest)
        };
        assert_eq!(start(8, None), Start::At(8));
        assert_eq!(start(8, Some(6)), Start::At(6));
        assert_eq!(start(8, Some(5)), Start::At(5), "the first record of the log");
        assert_eq!(start(8, Some(9)), Start::At(8), "states ahead hold what is skipped");
        // The records between the states and the commit are gone.
        assert_eq!(start(8, Some(4)), Start::Lost(9, Loss::Gone));
        // A former owner wrote a state late, of less or of more than the others have.
        let found = found(committed(9, Some(7)), &[]);
        for (reaches, from) in [(6, 6), (8, 7)] {
            let (key, point) = ("A".to_owned(), Some(Point { next: reaches, mark: mark(1) }));
            let epoch = Some(Epoch { since: 0, number: 9 });
            let point = point.map(|of| Point { mark: Mark { epoch, ..of.mark }, ..of });
            let late = StateRecord { key, bytes: Bytes::new(), at: 6, point };
            assert!(late.is_late(found.committed));
            assert_eq!(found.reads_again_from(7, [&late].into_iter()), from);
        }
    }

    #[test]
    fn a_position_of_another_log_is_lost_whatever_its_offset() {
        use LostOffset::{Earliest, Fail, Latest};
        for (policy, expected) in [
            (Earliest, Start::Lost(5, Loss::Recreated)),
            (Latest, Start::Lost(9, Loss::Recreated)),
            (Fail, Start::Refused(Loss::Recreated)),
        ] {
            let decide = |found: Found<'_>| found.decide(StartAt::Latest, policy);
            assert_eq!(decide(found(Some(point(7, 2)), &[])), expected);
            assert_eq!(decide(found(None, &[point(7, 2)])), expected, "the broker forgot offsets");
        }
        // A commit of this log, with a state that somebody left of another one.
        let mixed = [point(6, 1), point(7, 2)];
        let found_mixed = found(Some(point(7, 1)), &mixed);
        assert_eq!(found_mixed.decide(StartAt::Latest, Fail), Start::At(7));
        assert_eq!(found(None, &mixed).decide(StartAt::Latest, Fail), Start::At(9));
        let takes = |state| found_mixed.takes(state, None);
        assert_eq!([mixed[0], mixed[1]].map(|state| takes(Some(state))), [true, false]);
        assert!(takes(None), "what an earlier version stored");
        // Without ids the record before the position tells.
        let other_record = Found { log: None, newest_ms: Some(78), ..found_mixed };
        let lost = Start::Lost(5, Loss::Diverged);
        assert_eq!(other_record.decide(StartAt::Latest, Earliest), lost);
        let same_record = Found { newest_ms: Some(77), ..other_record };
        assert_eq!(same_record.decide(StartAt::Latest, Fail), Start::At(7));
    }

    #[test]
    fn states_of_a_future_that_is_no_more_are_not_taken() {
        let limit = |committed, states: &[Point]| {
            [false, true]
                .map(|is_transactional| found(committed, states).state_limit(is_transactional))
        };
        // At least once: a crash between states and offsets.
        assert_eq!(limit(Some(point(7, 1)), &[point(8, 1)]), [None, Some(7)]);
        // Beyond the end of the log.
        assert_eq!(limit(Some(point(7, 1)), &[point(8, 1), point(10, 1)]), [Some(7); 2]);
        assert_eq!(limit(None, &[point(10, 1)]), [Some(i64::MIN); 2]);
        assert_eq!(limit(None, &[point(9, 1)]), [None; 2]);
        // Of another log: dropped as such.
        assert_eq!(limit(Some(point(7, 1)), &[point(10, 2)])[0], None);
        // Set by hand: what the states hold is skipped.
        let by_hand = Some(Point { next: 6, mark: Mark::default() });
        assert_eq!(limit(by_hand, &[point(8, 1)]), [None; 2]);
        let found = found(Some(point(7, 1)), &[]);
        assert!(
            found.takes(Some(point(7, 1)), Some(7)) && !found.takes(Some(point(8, 1)), Some(7))
        );
    }

    #[test]
    fn records_behind_a_late_state_are_read_again() {
        let of_owner = |next, since| {
            let point = point(next, 1);
            let epoch = Some(Epoch { since, number: 1 });
            Point { mark: Mark { epoch, ..point.mark }, ..point }
        };
        let found = found(Some(of_owner(9, 100)), &[]);
        let state = |at, next, since| StateRecord {
            key: "A".to_owned(),
            bytes: Bytes::new(),
            at,
            point: Some(of_owner(next, since)),
        };
        let from = |states: &[StateRecord]| found.reads_again_from(9, states.iter());
        assert_eq!(from(&[]), 9);
        // A quiet symbol, the owner's own, and one of a former owner that lacks nothing.
        let fine = [state(99, 6, 50), state(104, 6, 100), state(103, 9, 50)];
        assert_eq!(from(&fine), 9);
        let late = [state(101, 8, 50), state(102, 7, 60), state(104, 6, 100)];
        assert_eq!(from(&late), 7);
        // The log begins with 5.
        let lost = [state(101, 4, 50), state(102, 7, 60)];
        assert_eq!((from(&lost), lost.each_ref().map(|of| found.is_lost(of))), (7, [true, false]));
        assert!(late.iter().chain(&fine).all(|state| !found.is_lost(state)));
    }

    #[test]
    fn a_changelog_is_known_by_its_id_or_by_having_nothing() {
        let lost = |committed, changelog: u128, is_empty| {
            found(committed, &[]).has_lost_states(Some(TopicId::of(changelog)), is_empty)
        };
        assert!(!lost(None, 8, true), "nothing was committed");
        assert!(!lost(Some(point(7, 1)), 9, true), "nothing was worth storing");
        assert!(lost(Some(point(7, 1)), 8, false));
        let unmarked = |next| Some(Point { next, mark: Mark::default() });
        assert!(lost(unmarked(7), 9, true) && !lost(unmarked(7), 9, false));
        assert!(!lost(unmarked(5), 9, true), "nothing was read");
    }
}
