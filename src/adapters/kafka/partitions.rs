//! The partitions of the input: their numbers, and how far each was read.
//!
//! Owns positions. Promises that a commit never goes beyond what was handed to the shards, and
//! that a partition keeps its number while the clients live. Never calls a client.

use std::sync::Arc;

use crate::adapters::kafka_config::{LostOffset, StartAt};
use crate::core::domain::{PartitionId, Position};

/// All partitions of all input topics, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionTable {
    names: Arc<Vec<PartitionName>>,
}

/// What Kafka calls a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartitionName {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
}

/// The partitions that this instance reads.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    partitions: Vec<Reading>,
    /// Where the newest record was found; the next one is mostly there as well.
    newest: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) id: PartitionId,
    pub(super) name: PartitionName,
    /// The offset of the record to come.
    pub(super) next: i64,
    /// The offset that a commit has reached.
    pub(super) committed: i64,
}

/// Partitions that were given back and may come again, with the offset of the record to come.
///
/// Their states are still in memory. They are as good as what would be restored where the group's
/// committed offset is the one that we have committed: then nobody has done work that counts in
/// between, and what is in memory follows from the records up to there, as it does for anybody.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<(PartitionId, i64)>);

impl Kept {
    /// Keeps a partition. What was read of it must be committed.
    pub(super) fn keep(&mut self, reading: &Reading) {
        debug_assert_eq!(reading.next, reading.committed, "work that is not committed");
        self.0.push((reading.id, reading.next));
    }

    /// The offset of a partition that was kept; it is kept no longer.
    pub(super) fn take(&mut self, id: PartitionId) -> Option<i64> {
        let at = self.0.iter().position(|(kept, _)| *kept == id)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Those that are left.
    pub(super) fn rest(self) -> impl Iterator<Item = PartitionId> {
        self.0.into_iter().map(|(id, _)| id)
    }
}

impl PartitionTable {
    /// The table of topics with so many partitions each.
    pub(super) fn new<'t>(topics: impl IntoIterator<Item = (&'t str, i32)>) -> Self {
        let mut names = Vec::new();
        for (topic, count) in topics {
            let topic: Arc<str> = topic.into();
            let name = |number| PartitionName { topic: Arc::clone(&topic), number };
            names.extend((0..count).map(name));
        }
        Self { names: Arc::new(names) }
    }

    /// The number of a partition; `None` for one that was added since the table was made.
    pub(super) fn id(&self, topic: &str, number: i32) -> Option<PartitionId> {
        let index =
            self.names.iter().position(|name| &*name.topic == topic && name.number == number)?;
        u32::try_from(index).ok().map(PartitionId)
    }

    /// What Kafka calls the partition.
    pub(super) fn name(&self, id: PartitionId) -> Option<&PartitionName> {
        self.names.get(id.0 as usize)
    }
}

impl Assigned {
    /// Reads one more partition, from `next` on.
    pub(super) fn add(&mut self, id: PartitionId, name: PartitionName, next: i64) {
        self.partitions.push(Reading { id, name, next, committed: next });
    }

    /// Reads a partition no longer; returns how far it was read.
    pub(super) fn remove(&mut self, id: PartitionId) -> Option<Reading> {
        self.newest = 0;
        let at = self.partitions.iter().position(|partition| partition.id == id)?;
        Some(self.partitions.remove(at))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.partitions.iter()
    }

    /// The place of a record that came, or `None` where its partition is not ours any more.
    pub(super) fn place(&mut self, topic: &str, number: i32, offset: i64) -> Option<Position> {
        let is_it =
            |reading: &Reading| reading.name.number == number && &*reading.name.topic == topic;
        if !self.partitions.get(self.newest).is_some_and(is_it) {
            self.newest = self.partitions.iter().position(is_it)?;
        }
        Some(Position { partition: self.partitions[self.newest].id, offset })
    }

    /// Notes that a record was handed to its shard.
    pub(super) fn delivered(&mut self, position: Position) {
        let of_it = |reading: &&mut Reading| reading.id == position.partition;
        if let Some(reading) = self.partitions.iter_mut().find(of_it) {
            reading.next = position.offset + 1;
        }
    }

    /// How far each partition was read beyond its commit: what a commit that begins now covers.
    pub(super) fn uncommitted(&self) -> Vec<Reading> {
        self.partitions.iter().filter(|reading| reading.next > reading.committed).cloned().collect()
    }

    /// Notes that a commit has reached these positions.
    pub(super) fn committed(&mut self, covered: &[Reading]) {
        for Reading { id, next, .. } in covered {
            if let Some(reading) = self.partitions.iter_mut().find(|reading| reading.id == *id) {
                reading.committed = *next;
            }
        }
    }
}

/// Where to begin reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At this offset.
    At(i64),
    /// At the first record of this time, in milliseconds since the epoch.
    AtTime(i64),
    /// At this offset, and records before it are lost.
    Lost(i64),
    /// Nowhere: the configuration says to fail.
    Refused,
}

/// Decides where to begin, by what the group has committed and what the topic holds, `low`
/// inclusive to `high` exclusive.
pub(super) fn decide_start(
    committed: Option<i64>,
    (low, high): (i64, i64),
    start: StartAt,
    lost: LostOffset,
) -> Start {
    match (committed, start, lost) {
        (Some(offset), _, _) if (low..=high).contains(&offset) => Start::At(offset),
        (Some(_), _, LostOffset::Earliest) => Start::Lost(low),
        (Some(_), _, LostOffset::Latest) => Start::Lost(high),
        (Some(_), _, LostOffset::Fail) => Start::Refused,
        (None, StartAt::Earliest, _) => Start::At(low),
        (None, StartAt::Latest, _) => Start::At(high),
        (None, StartAt::Time(time), _) => Start::AtTime(time.as_nanos() / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::UnixNanos;

    #[test]
    fn where_to_begin_is_decided_by_what_is_left() {
        use LostOffset::{Earliest, Fail, Latest};
        let start = |committed, lost| decide_start(committed, (5, 9), StartAt::Latest, lost);
        for at in 5..=9 {
            assert_eq!(start(Some(at), Fail), Start::At(at));
        }
        for gone in [0, 4, 10] {
            assert_eq!(start(Some(gone), Earliest), Start::Lost(5));
            assert_eq!(start(Some(gone), Latest), Start::Lost(9));
            assert_eq!(start(Some(gone), Fail), Start::Refused);
        }
        assert_eq!(start(None, Fail), Start::At(9));
        let first = |at| decide_start(None, (5, 9), at, Fail);
        assert_eq!(first(StartAt::Earliest), Start::At(5));
        let time = UnixNanos::parse("2013-03-01").unwrap();
        assert_eq!(first(StartAt::Time(time)), Start::AtTime(1_362_096_000_000));
    }

    #[test]
    fn partitions_are_kept_until_they_are_taken() {
        let name = PartitionTable::new([("a", 1)]).name(PartitionId(0)).unwrap().clone();
        let mut kept = Kept::default();
        for (id, next) in [(3, 10), (5, 0), (4, 7)] {
            let reading =
                Reading { id: PartitionId(id), name: name.clone(), next, committed: next };
            kept.keep(&reading);
        }
        assert_eq!((kept.take(PartitionId(5)), kept.take(PartitionId(5))), (Some(0), None));
        assert_eq!(kept.take(PartitionId(4)), Some(7));
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
            assigned.add(id, table.name(id).unwrap().clone(), next);
        }
        assert_eq!(assigned.uncommitted(), [], "nothing was read yet");
        let position = assigned.place("a", 1, 12).unwrap();
        assert_eq!(position, Position { partition: ids[1], offset: 12 });
        assert_eq!(assigned.place("a", 0, 5), None, "not ours");
        assert_eq!(assigned.uncommitted(), [], "a record that is held back is not covered");
        assigned.delivered(position);
        let covered = assigned.uncommitted();
        assert_eq!(covered.iter().map(|r| (r.id, r.next)).collect::<Vec<_>>(), [(ids[1], 13)]);
        let later = assigned.place("a", 1, 13).unwrap();
        assigned.delivered(later);
        assigned.committed(&covered);
        assert_eq!(assigned.uncommitted()[0].next, 14);
        let removed = assigned.remove(ids[1]).unwrap();
        assert_eq!((removed.next, removed.committed), (14, 13));
        assert_eq!(assigned.remove(ids[1]), None);
        assigned.committed(&covered);
        assert_eq!(assigned.place("b", 0, 0).unwrap().partition, ids[2]);
        assert_eq!(assigned.iter().count(), 1);
    }
}
