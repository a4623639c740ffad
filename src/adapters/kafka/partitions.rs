//! The partitions of the input: their numbers, and how far each was read.
//!
//! Owns positions. Promises that a commit never goes beyond what was handed to the shards, and
//! that a partition keeps its number while the clients live. Never calls a client.

use std::sync::Arc;

use super::describe::TopicId;
use super::start::{Mark, Point};
use crate::core::domain::{PartitionId, Position, UnixNanos};
use crate::core::history::Origin;
use crate::intake::IntakeSender;
use crate::shard::command::Command;

/// All partitions of all input topics, by number.
#[derive(Clone, Debug, Default)]
pub struct PartitionTable {
    names: Arc<Vec<PartitionName>>,
}

/// What Kafka calls a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionName {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number in the topic.
    pub number: i32,
}

/// The partitions that this instance reads.
#[derive(Debug, Default)]
pub struct Assigned {
    partitions: Vec<Reading>,
    /// Where the newest record was found; the next one is mostly there as well.
    newest: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its number among all partitions.
    pub id: PartitionId,
    /// What Kafka calls it.
    pub name: PartitionName,
    /// The offset of the record to come.
    pub next: i64,
    /// The offset that a commit has reached; `None` where nothing is committed, or not with this
    /// mark, so that the next commit covers the partition even if no record comes.
    pub committed: Option<i64>,
    /// Up to where the stored states of the partition reach.
    pub stored: i64,
    /// What the group has committed where reading began before it: the forecasts of the records up
    /// to there are published, and the states are made again.
    pub said: Option<Point>,
    /// What tells the log that is read, up to `next`.
    pub mark: Mark,
}

impl Reading {
    /// A partition that is read from a point on, which is not committed.
    pub fn from(id: PartitionId, name: PartitionName, point: Point) -> Self {
        let Point { next, mark } = point;
        Self { id, name, next, committed: None, stored: next, said: None, mark }
    }

    /// How far it was read.
    pub fn point(&self) -> Point {
        Point { next: self.next, mark: self.mark }
    }

    /// The same where records are read again up to a position that is committed.
    #[must_use]
    pub fn said_up_to(self, said: Option<Point>) -> Self {
        Self { said: said.filter(|said| said.next > self.next), ..self }
    }

    /// What a commit says of it: how far it was read, and how far its stored states reach where
    /// that is less. What is committed is not taken back while records are read again.
    pub fn position(&self) -> Point {
        let Point { next, mark } = match self.said {
            Some(said) if said.next > self.next => Point {
                next: said.next,
                mark: Mark { newest_ms: said.mark.newest_ms, ..self.mark },
            },
            _ => self.point(),
        };
        let stored = Some(self.stored).filter(|stored| *stored < next);
        Point { next, mark: Mark { stored, ..mark } }
    }

    /// Notes what the group has committed of it. Who reads it says nothing of the log, and is
    /// committed with the next record.
    pub fn with_committed(mut self, committed: Option<Point>) -> Self {
        let own = self.point();
        let is_own = |point: &Point| {
            let mark = Mark { epoch: own.mark.epoch, ..point.mark };
            Point { mark, ..*point } == own
        };
        self.committed = committed.filter(is_own).map(|point| point.next);
        self
    }

    fn is_committed(&self) -> bool {
        self.committed.is_some_and(|committed| committed >= self.next)
    }
}

/// Partitions that were given back and may come again.
///
/// Their states are still in memory. They are as good as what would be restored where the group's
/// committed offset is the one that we have committed: then nobody has done work that counts in
/// between, and what is in memory follows from the records up to there, as it does for anybody.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<Reading>);

impl Kept {
    /// Keeps a partition. What was read of it must be committed.
    pub(super) fn keep(&mut self, reading: Reading) {
        debug_assert!(
            reading.is_committed() && reading.stored >= reading.next,
            "work that is not committed, or states that are not stored"
        );
        self.0.push(reading);
    }

    /// A partition that was kept; it is kept no longer.
    pub(super) fn take(&mut self, id: PartitionId) -> Option<Reading> {
        let at = self.0.iter().position(|kept| kept.id == id)?;
        Some(self.0.swap_remove(at))
    }

    /// Those that are left.
    pub(super) fn rest(self) -> impl Iterator<Item = PartitionId> {
        self.0.into_iter().map(|kept| kept.id)
    }
}

impl PartitionTable {
    /// The table of topics with so many partitions each.
    pub fn new<'t>(topics: impl IntoIterator<Item = (&'t str, i32)>) -> Self {
        let mut names = Vec::new();
        for (topic, count) in topics {
            let topic: Arc<str> = topic.into();
            let name = |number| PartitionName { topic: Arc::clone(&topic), number };
            names.extend((0..count).map(name));
        }
        Self { names: Arc::new(names) }
    }

    /// The number of a partition; `None` for one that was added since the table was made.
    pub fn id(&self, topic: &str, number: i32) -> Option<PartitionId> {
        let index =
            self.names.iter().position(|name| &*name.topic == topic && name.number == number)?;
        u32::try_from(index).ok().map(PartitionId)
    }

    /// All partitions.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PartitionId, &PartitionName)> {
        // The numbers of partitions are far below the limit.
        self.names.iter().enumerate().map(|(index, name)| (PartitionId(index as u32), name))
    }

    /// What Kafka calls the partition.
    pub fn name(&self, id: PartitionId) -> Option<&PartitionName> {
        self.names.get(id.0 as usize)
    }
}

impl Assigned {
    /// Reads one more partition.
    pub fn add(&mut self, reading: Reading) {
        self.partitions.push(reading);
    }

    /// Reads a partition no longer; returns how far it was read.
    pub fn remove(&mut self, id: PartitionId) -> Option<Reading> {
        self.newest = 0;
        let at = self.partitions.iter().position(|partition| partition.id == id)?;
        Some(self.partitions.remove(at))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.partitions.iter()
    }

    /// The place of a record that came, or `None` where its partition is not ours any more.
    pub fn place(&mut self, topic: &str, number: i32, offset: i64) -> Option<Position> {
        let is_it =
            |reading: &Reading| reading.name.number == number && &*reading.name.topic == topic;
        if !self.partitions.get(self.newest).is_some_and(is_it) {
            self.newest = self.partitions.iter().position(is_it)?;
        }
        Some(Position { partition: self.partitions[self.newest].id, offset })
    }

    /// Whether the record at a position is read again, after its forecast was committed.
    pub fn origin(&self, position: Position) -> Origin {
        let of_it = |reading: &&Reading| reading.id == position.partition;
        let said = self.partitions.iter().find(of_it).and_then(|reading| reading.said);
        match said.is_some_and(|said| position.offset < said.next) {
            true => Origin::Again,
            false => Origin::Live,
        }
    }

    /// Notes that a record was handed to its shard, and its own timestamp.
    pub fn delivered(&mut self, position: Position, time: Option<UnixNanos>) {
        let of_it = |reading: &&mut Reading| reading.id == position.partition;
        if let Some(reading) = self.partitions.iter_mut().find(of_it) {
            reading.next = position.offset + 1;
            reading.mark.newest_ms = time.map(|time| time.as_nanos().div_euclid(1_000_000));
        }
    }

    /// Notes that the states of a topic's partitions are kept in another changelog from here on.
    pub(super) fn changelog_is(&mut self, topic: &str, changelog: Option<TopicId>) {
        for reading in self.partitions.iter_mut().filter(|reading| &*reading.name.topic == topic) {
            // Where the other one ended does not matter in this one.
            (reading.mark.changelog, reading.mark.epoch) = (changelog, None);
            reading.committed = None;
        }
    }

    /// How far each partition was read beyond its commit: what a commit that begins now covers.
    pub fn uncommitted(&self) -> Vec<Reading> {
        self.partitions.iter().filter(|reading| !reading.is_committed()).cloned().collect()
    }

    /// What a commit covers that stores the states as well: also the partitions whose states reach
    /// less far than what is committed of them.
    pub fn unstored(&self) -> Vec<Reading> {
        let is_due = |reading: &&Reading| !reading.is_committed() || reading.stored < reading.next;
        let due = self.partitions.iter().filter(is_due).cloned();
        due.map(|reading| Reading { stored: reading.next, ..reading }).collect()
    }

    /// How many records were read beyond the stored states, as offsets: what is read again after a
    /// crash.
    pub fn read_beyond_states(&self) -> i64 {
        let beyond = |reading: &Reading| reading.next.saturating_sub(reading.stored);
        self.partitions.iter().map(beyond).fold(0, i64::saturating_add)
    }

    /// Notes that a commit has reached these positions.
    pub fn committed(&mut self, covered: &[Reading]) {
        for Reading { id, next, stored, mark, .. } in covered {
            // One whose changelog is another one by now has still to be committed with that.
            let is_it = |reading: &&mut Reading| {
                reading.id == *id && reading.mark.changelog == mark.changelog
            };
            if let Some(reading) = self.partitions.iter_mut().find(is_it) {
                (reading.committed, reading.stored) = (Some(*next), *stored);
            }
        }
    }
}

/// The shard of a partition, and its number.
pub(super) fn shard_of(
    shards: &[IntakeSender<Command>],
    id: PartitionId,
) -> (usize, &IntakeSender<Command>) {
    let number = id.0 as usize % shards.len();
    (number, &shards[number])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition that is read from an offset on, which is committed.
    fn reading(table: &PartitionTable, id: PartitionId, next: i64) -> Reading {
        let point = Point { next, mark: Mark::default() };
        let name = table.name(id).unwrap().clone();
        Reading::from(id, name, point).with_committed(Some(point))
    }

    #[test]
    fn partitions_are_kept_until_they_are_taken() {
        let table = PartitionTable::new([("a", 6)]);
        let mut kept = Kept::default();
        for (id, next) in [(3, 10), (5, 0), (4, 7)] {
            kept.keep(reading(&table, PartitionId(id), next));
        }
        let mut take = |id| kept.take(PartitionId(id)).map(|reading| reading.next);
        assert_eq!((take(5), take(5)), (Some(0), None));
        assert_eq!(take(4), Some(7));
        assert_eq!(kept.rest().collect::<Vec<_>>(), [PartitionId(3)]);
    }

    #[test]
    fn a_commit_covers_what_was_delivered_and_nothing_else() {
        let table = PartitionTable::new([("a", 2), ("b", 1)]);
        let ids: Vec<_> =
            [("a", 0), ("a", 1), ("b", 0)].map(|(t, n)| table.id(t, n).unwrap()).to_vec();
        assert_eq!(ids, [PartitionId(0), PartitionId(1), PartitionId(2)]);
        assert_eq!((table.id("b", 1), table.id("c", 0)), (None, None));
        let mut assigned = Assigned::default();
        for (id, next) in [(ids[1], 10), (ids[2], 0)] {
            assigned.add(reading(&table, id, next));
        }
        assert_eq!(assigned.uncommitted(), [], "nothing was read yet");
        let position = assigned.place("a", 1, 12).unwrap();
        assert_eq!(position, Position { partition: ids[1], offset: 12 });
        assert_eq!(assigned.place("a", 0, 5), None, "not ours");
        assert_eq!(assigned.uncommitted(), [], "a record that is held back is not covered");
        assigned.delivered(position, UnixNanos::parse("1970-01-01T00:00:00.0779Z").ok());
        let covered = assigned.uncommitted();
        let newest = covered.iter().map(|r| (r.id, r.next, r.mark.newest_ms)).collect::<Vec<_>>();
        assert_eq!(newest, [(ids[1], 13, Some(77))]);
        let later = assigned.place("a", 1, 13).unwrap();
        assigned.delivered(later, None);
        assigned.committed(&covered);
        assert_eq!(assigned.uncommitted()[0].next, 14);
        let removed = assigned.remove(ids[1]).unwrap();
        assert_eq!((removed.next, removed.committed), (14, Some(13)));
        assert_eq!(assigned.remove(ids[1]), None);
        assigned.committed(&covered);
        assert_eq!(assigned.place("b", 0, 0).unwrap().partition, ids[2]);
        assert_eq!(assigned.iter().count(), 1);
    }

    #[test]
    fn a_commit_says_how_far_the_stored_states_reach() {
        let table = PartitionTable::new([("a", 2)]);
        let ids = [PartitionId(0), PartitionId(1)];
        let mut assigned = Assigned::default();
        ids.into_iter().for_each(|id| assigned.add(reading(&table, id, 4)));
        assert_eq!(assigned.unstored(), [], "nothing was read");
        let read = |assigned: &mut Assigned, id, offset| {
            assigned.delivered(Position { partition: id, offset }, None);
        };
        read(&mut assigned, ids[0], 6);
        let positions = |covered: &[Reading]| {
            let position = |of: &Reading| (of.id.0, of.position().next, of.position().mark.stored);
            covered.iter().map(position).collect::<Vec<_>>()
        };
        // Offsets alone.
        let covered = assigned.uncommitted();
        assert_eq!(positions(&covered), [(0, 7, Some(4))]);
        assigned.committed(&covered);
        assert_eq!(assigned.uncommitted(), []);
        assert_eq!(assigned.read_beyond_states(), 3);
        // With states, also of the partition that no record has come of since.
        read(&mut assigned, ids[1], 4);
        let covered = assigned.unstored();
        assert_eq!(positions(&covered), [(0, 7, None), (1, 5, None)]);
        read(&mut assigned, ids[1], 5);
        assigned.committed(&covered);
        assert_eq!(positions(&assigned.uncommitted()), [(1, 6, Some(5))]);
        assert_eq!(assigned.read_beyond_states(), 1);
        // What is read again after a crash begins with the states.
        let committed = Some(Point { next: 7, mark: Mark { stored: Some(4), ..Mark::default() } });
        let point = Point { next: 4, mark: Mark::default() };
        let again = Reading::from(ids[0], table.name(ids[0]).unwrap().clone(), point);
        let again = again.with_committed(committed).said_up_to(committed);
        assert_eq!((again.committed, again.stored), (None, 4));
        let mut assigned = Assigned::default();
        assigned.add(again);
        let origins = [4, 6, 7].map(|offset| {
            let position = Position { partition: ids[0], offset };
            read(&mut assigned, ids[0], offset);
            let position_of = |assigned: &Assigned| assigned.iter().next().unwrap().position();
            let committed = position_of(&assigned);
            (assigned.origin(position), committed.next, committed.mark.stored)
        });
        // Nothing is taken back: the offset stays until reading has come to it.
        let expected =
            [(Origin::Again, 7, Some(4)), (Origin::Again, 7, Some(4)), (Origin::Live, 8, Some(4))];
        assert_eq!(origins, expected);
        let other = Position { partition: ids[1], offset: 0 };
        assert_eq!(assigned.origin(other), Origin::Live);
    }

    #[test]
    fn a_partition_that_was_taken_over_is_committed_before_a_record_comes() {
        let table = PartitionTable::new([("a", 2)]);
        let id = PartitionId(1);
        let point = Point { next: 4, mark: Mark { began_with: Some(2), ..Mark::default() } };
        let first = Reading::from(id, table.name(id).unwrap().clone(), point);
        let other_mark = Point { mark: Mark::default(), ..point };
        let mut assigned = Assigned::default();
        for (committed, covered) in [
            (Some(point), vec![]),
            (Some(other_mark), vec![4]),
            (Some(Point { next: 3, ..point }), vec![4]),
            (None, vec![4]),
        ] {
            assigned.remove(id);
            assigned.add(first.clone().with_committed(committed));
            let next: Vec<_> = assigned.uncommitted().iter().map(|reading| reading.next).collect();
            assert_eq!(next, covered, "{committed:?}");
        }
        let covered = assigned.uncommitted();
        assigned.committed(&covered);
        assert_eq!(assigned.uncommitted(), []);
        // States that are kept elsewhere are committed again, whatever is under way.
        assigned.changelog_is("b", Some(TopicId::of(1)));
        assert_eq!(assigned.uncommitted(), []);
        assigned.changelog_is("a", Some(TopicId::of(1)));
        assigned.committed(&covered);
        assert_eq!(assigned.uncommitted().len(), 1);
        let covered = assigned.uncommitted();
        assigned.committed(&covered);
        assert_eq!(assigned.uncommitted(), []);
    }
}
