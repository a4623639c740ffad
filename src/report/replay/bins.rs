//! What is accumulated over time, in bounded memory.
//!
//! Owns bins of time that widen as needed. Promises at most so many bins, that the sum over all of
//! them is that of everything, and that each time has a bin of its own while there are no more
//! times than bins; the bins do not depend on the order in which times come. Never forgets a value.

use std::collections::BTreeMap;

use crate::core::domain::UnixNanos;

/// Sums by time.
#[derive(Clone, Debug)]
pub(super) struct TimeBins<V> {
    /// A bin is two to the power of this wide, in nanoseconds.
    power: u32,
    bins_max: usize,
    bins: BTreeMap<i64, V>,
}

impl<V: Copy + Default> TimeBins<V> {
    /// No bin yet, and at most `bins_max`.
    pub(super) fn new(bins_max: usize) -> Self {
        Self { power: 0, bins_max: bins_max.max(1), bins: BTreeMap::new() }
    }

    /// Adds a value at a time; `add` is the sum of two.
    pub(super) fn add(&mut self, time: UnixNanos, value: V, add: impl Fn(&mut V, V)) {
        add(self.bins.entry(time.as_nanos() >> self.power).or_default(), value);
        while self.bins.len() > self.bins_max {
            self.power += 1;
            let mut wider = BTreeMap::new();
            for (place, value) in std::mem::take(&mut self.bins) {
                add(wider.entry(place >> 1).or_default(), value);
            }
            self.bins = wider;
        }
    }

    /// The beginning of each bin and its sum, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UnixNanos, &V)> {
        self.bins.iter().map(|(place, value)| (UnixNanos::from_nanos(place << self.power), value))
    }

    /// How many bins there are.
    pub(super) fn len(&self) -> usize {
        self.bins.len()
    }

    /// Whether each time has a bin of its own.
    pub(super) const fn is_exact(&self) -> bool {
        self.power == 0
    }

    /// The sums of runs of consecutive bins, at most so many of them, each with the beginning of
    /// its first bin.
    pub(super) fn runs(&self, runs_max: usize, add: impl Fn(&mut V, V)) -> Vec<(UnixNanos, V)> {
        let length = self.len().div_ceil(runs_max.max(1)).max(1);
        let mut runs: Vec<(UnixNanos, V)> = Vec::new();
        for (at, (time, value)) in self.iter().enumerate() {
            if at % length == 0 {
                runs.push((time, V::default()));
            }
            if let Some((_, sum)) = runs.last_mut() {
                add(sum, *value);
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(sum: &mut u64, more: u64) {
        *sum += more;
    }

    #[test]
    fn bins_widen_and_lose_nothing_in_any_order() {
        let times: Vec<i64> = (0..1000).map(|at| at * 7 - 3000).collect();
        let bins = |times: &[i64]| {
            let mut bins = TimeBins::new(100);
            for time in times {
                bins.add(UnixNanos::from_nanos(*time), 1_u64, add);
                assert!(bins.len() <= 100);
            }
            bins
        };
        let forwards = bins(&times);
        assert_eq!(forwards.iter().map(|(_, sum)| sum).sum::<u64>(), 1000);
        let backwards: Vec<i64> = times.iter().rev().copied().collect();
        assert!(forwards.iter().eq(bins(&backwards).iter()));
        // 7000 nanoseconds in bins of 128 are 55; of 64 they would be 110.
        assert_eq!((forwards.power, forwards.is_exact()), (7, false));
        assert_eq!(forwards.iter().next(), Some((UnixNanos::from_nanos(-3072), &8)));
        let few = bins(&times[..100]);
        assert!(few.is_exact() && few.iter().all(|(_, sum)| *sum == 1));
        let runs = few.runs(30, add);
        assert_eq!((runs.len(), runs[0].1, runs[1].0), (25, 4, UnixNanos::from_nanos(-2972)));
    }
}
