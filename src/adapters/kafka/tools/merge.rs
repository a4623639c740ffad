//! The one order of the records of several partitions.
//!
//! Owns the rule: by timestamp, then partition, then offset, where a record whose timestamp lies
//! before that of its predecessor in the partition counts with the predecessor's. So a partition's
//! own order, which is that of each symbol, always stands. Promises that the order depends on the
//! records alone, not on when they came. Never reads a topic.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Records of several partitions, waiting for their turn.
#[derive(Debug)]
pub(super) struct Merge<T> {
    lanes: Vec<Lane<T>>,
    /// Time and lane of the first record of each lane that has one.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    /// Lanes that are open and empty: as long as there are any, nobody knows what comes next.
    awaited: usize,
}

/// One partition.
#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<(i64, T)>,
    closed: bool,
}

impl<T> Merge<T> {
    /// So many partitions, all open.
    pub(super) fn new(count: usize) -> Self {
        let lane = |_| Lane { waiting: VecDeque::new(), closed: false };
        let lanes: Vec<_> = (0..count).map(lane).collect();
        Self { lanes, heads: BinaryHeap::new(), awaited: count }
    }

    /// Adds the next record of a partition.
    pub(super) fn push(&mut self, lane: usize, timestamp: i64, record: T) {
        let Lane { waiting, .. } = &mut self.lanes[lane];
        waiting.push_back((timestamp, record));
        if waiting.len() == 1 {
            self.heads.push(Reverse((timestamp, lane)));
            self.awaited -= 1;
        }
    }

    /// Nothing more comes from this partition.
    pub(super) fn close(&mut self, lane: usize) {
        let Lane { waiting, closed, .. } = &mut self.lanes[lane];
        if !std::mem::replace(closed, true) && waiting.is_empty() {
            self.awaited -= 1;
        }
    }

    /// How many records of a partition wait.
    pub(super) fn waiting(&self, lane: usize) -> usize {
        self.lanes[lane].waiting.len()
    }

    /// Whether a partition is closed.
    pub(super) fn is_closed(&self, lane: usize) -> bool {
        self.lanes[lane].closed
    }

    /// Whether everything was given out and nothing comes.
    pub(super) fn is_done(&self) -> bool {
        self.awaited == 0 && self.heads.is_empty()
    }

    /// The next record of all, with its partition, where it is known which one that is.
    pub(super) fn pop(&mut self) -> Option<(usize, T)> {
        if self.awaited > 0 {
            return None;
        }
        let Reverse((_, lane)) = self.heads.pop()?;
        let Lane { waiting, closed, .. } = &mut self.lanes[lane];
        let (_, record) = waiting.pop_front().expect("a lane among the heads has a record");
        // Where its time lies before that of the record just taken, it is before all other heads,
        // and so comes at once: as if it had the later time.
        match waiting.front() {
            Some((time, _)) => self.heads.push(Reverse((*time, lane))),
            None if *closed => {}
            None => self.awaited += 1,
        }
        Some((lane, record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_waits_until_nothing_can_come_before_it() {
        let mut merge = Merge::new(2);
        merge.push(1, 5, "late");
        assert_eq!((merge.pop(), merge.is_done()), (None, false));
        merge.push(0, 5, "first of its time");
        assert_eq!(merge.pop(), Some((0, "first of its time")), "by partition within a time");
        assert_eq!(merge.pop(), None);
        merge.push(0, 3, "a clock that went backwards");
        merge.close(0);
        assert_eq!(merge.pop(), Some((0, "a clock that went backwards")));
        assert_eq!(merge.pop(), Some((1, "late")));
        assert!(!merge.is_done());
        merge.close(1);
        merge.close(1);
        assert_eq!((merge.pop(), merge.is_done()), (None, true));
    }

    proptest! {
        /// Records of three partitions, pushed in any interleaving, come out as a sort says.
        #[test]
        fn the_order_depends_on_the_records_alone(
            records in vec((0..3usize, 0..20i64), 0..60),
            turns in vec(0..3usize, 0..200),
        ) {
            let mut lanes: [VecDeque<(usize, i64)>; 3] = Default::default();
            for (index, (lane, time)) in records.iter().enumerate() {
                lanes[*lane].push_back((index, *time));
            }
            let mut expected = Vec::new();
            for (lane, records) in lanes.iter().enumerate() {
                let mut newest = i64::MIN;
                for (offset, (index, time)) in records.iter().enumerate() {
                    newest = newest.max(*time);
                    expected.push(((newest, lane, offset), *index));
                }
            }
            expected.sort_unstable();
            let mut merge = Merge::new(3);
            let mut seen = Vec::new();
            for lane in turns.into_iter().chain([0; 61]).chain([1; 61]).chain([2; 61]) {
                match lanes[lane].pop_front() {
                    Some((index, time)) => merge.push(lane, time, index),
                    None => merge.close(lane),
                }
                while let Some((_, index)) = merge.pop() {
                    seen.push(index);
                }
            }
            prop_assert!(merge.is_done());
            let expected: Vec<_> = expected.into_iter().map(|(_, index)| index).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
