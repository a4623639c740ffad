//! Which numbers of a rising sequence were seen.
//!
//! Owns the runs of numbers seen lately. Promises that a number is told as new at most once for as
//! long as it is remembered, that what is forgotten is never told as new, and that memory is
//! bounded by so many runs: where numbers grow by one, all of them are a single run. Never reads a
//! clock.

use std::collections::VecDeque;

/// What a number is to those seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The first one.
    First,
    /// Above all others; so many between it and the last were left out.
    Ahead {
        /// How many.
        missing: u64,
    },
    /// Below the highest, and not seen before.
    Late,
    /// Seen before.
    Again,
    /// Below what is remembered.
    Forgotten,
}

/// The numbers seen.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// First and last of each run, rising, with at least one number left out between two.
    runs: VecDeque<(u64, u64)>,
    runs_max: usize,
    /// The highest number that was forgotten.
    floor: Option<u64>,
    /// New numbers below the highest, one after the other.
    behind: usize,
}

impl Numbers {
    /// Remembers so many runs, at least one.
    pub(super) fn new(runs_max: usize) -> Self {
        Self { runs: VecDeque::new(), runs_max: runs_max.max(1), floor: None, behind: 0 }
    }

    /// The highest number seen.
    pub(super) fn newest(&self) -> Option<u64> {
        self.runs.back().map(|(_, last)| *last)
    }

    /// Whether a number was seen.
    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.runs.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).is_some_and(|index| self.runs[index].1 >= number)
    }

    /// Notes a number and tells what it is.
    pub(super) fn see(&mut self, number: u64) -> Seen {
        let Some(newest) = self.newest() else {
            self.runs.push_back((number, number));
            return Seen::First;
        };
        if number > newest {
            self.behind = 0;
            let missing = number - newest - 1;
            if missing == 0 {
                self.runs.back_mut().expect("there is a run").1 = number;
            } else {
                self.runs.push_back((number, number));
                self.forget();
            }
            return Seen::Ahead { missing };
        }
        if self.contains(number) {
            return Seen::Again;
        }
        self.behind += 1;
        if self.floor.is_some_and(|floor| number <= floor) {
            return Seen::Forgotten;
        }
        self.insert(number);
        Seen::Late
    }

    /// Whether so many numbers came from below the highest, and none from above, that whoever
    /// counts must have begun anew.
    pub(super) fn has_begun_anew(&self) -> bool {
        self.behind > self.runs_max
    }

    fn insert(&mut self, number: u64) {
        let after = self.runs.partition_point(|(first, _)| *first <= number);
        let joins_next = self.runs.get(after).is_some_and(|(first, _)| *first == number + 1);
        let before = after.checked_sub(1).filter(|index| self.runs[*index].1 + 1 == number);
        match (before, joins_next) {
            (Some(before), true) => {
                self.runs[before].1 = self.runs[after].1;
                self.runs.remove(after);
            }
            (Some(before), false) => self.runs[before].1 = number,
            (None, true) => self.runs[after].0 = number,
            (None, false) => {
                self.runs.insert(after, (number, number));
                self.forget();
            }
        }
    }

    /// Forgets the lowest run where there are too many; everything up to its end is then known to
    /// be either delivered or told as missing.
    fn forget(&mut self) {
        if self.runs.len() > self.runs_max
            && let Some((_, last)) = self.runs.pop_front()
        {
            self.floor = self.floor.max(Some(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_new_once_and_memory_is_bounded(
            numbers in proptest::collection::vec(0u64..60, 1..200),
            runs_max in 1usize..8,
        ) {
            let mut seen = Numbers::new(runs_max);
            let mut all = BTreeSet::new();
            for number in numbers {
                let newest = all.last().copied();
                let outcome = seen.see(number);
                match outcome {
                    Seen::First => prop_assert!(all.is_empty()),
                    Seen::Ahead { missing } => {
                        prop_assert_eq!(Some(number), newest.map(|newest| newest + 1 + missing));
                    }
                    Seen::Late => prop_assert!(Some(number) < newest && !all.contains(&number)),
                    // One that joined a run which was forgotten since is forgotten as well.
                    Seen::Again => prop_assert!(all.contains(&number)),
                    Seen::Forgotten => prop_assert!(Some(number) < newest),
                }
                if !matches!(outcome, Seen::Again | Seen::Forgotten) {
                    all.insert(number);
                }
                prop_assert!(seen.runs.len() <= runs_max);
                prop_assert_eq!(seen.newest(), all.last().copied());
            }
        }
    }

    #[test]
    fn numbers_that_grow_by_one_are_one_run() {
        let mut numbers = Numbers::new(2);
        for number in 10..100_000 {
            numbers.see(number);
        }
        assert_eq!(numbers.runs, [(10, 99_999)]);
        assert_eq!(numbers.see(u64::MAX), Seen::Ahead { missing: u64::MAX - 100_000 });
        assert_eq!(numbers.see(u64::MAX - 1), Seen::Late);
        assert_eq!((numbers.contains(9), numbers.contains(10)), (false, true));
    }

    #[test]
    fn whoever_counts_anew_is_found_out() {
        let mut numbers = Numbers::new(3);
        for number in [100, 102, 104, 106] {
            numbers.see(number);
        }
        assert_eq!(numbers.see(99), Seen::Forgotten);
        for number in 1..4 {
            numbers.see(number);
        }
        assert!(numbers.has_begun_anew());
        numbers.see(107);
        assert!(!numbers.has_begun_anew());
    }
}
