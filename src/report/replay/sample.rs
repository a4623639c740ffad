//! A few of many scores.
//!
//! Owns two ways to keep few of many: at random, each with the same chance (Vitter's algorithm R,
//! 1985), and evenly in time. Promises a bounded number and the same choice in every run.

use crate::core::random::{Purpose, Random};

/// So many of all that came, each with the same chance.
#[derive(Clone, Debug)]
pub(super) struct Reservoir<T> {
    kept: Vec<T>,
    kept_max: usize,
    came: usize,
    random: Random,
}

impl<T> Reservoir<T> {
    pub(super) fn new(kept_max: usize, seed: u64) -> Self {
        let random = Random::new(seed, Purpose::Sample);
        Self { kept: Vec::new(), kept_max: kept_max.max(1), came: 0, random }
    }

    pub(super) fn push(&mut self, item: T) {
        self.came += 1;
        if self.kept.len() < self.kept_max {
            self.kept.push(item);
            return;
        }
        let place = self.random.below(self.came);
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = item;
        }
    }

    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }
}

/// One of so many in a row.
#[derive(Clone, Debug)]
pub(super) struct Thinned<T> {
    kept: Vec<T>,
    kept_max: usize,
    stride: usize,
    came: usize,
}

impl<T> Thinned<T> {
    pub(super) fn new(kept_max: usize) -> Self {
        Self { kept: Vec::new(), kept_max: kept_max.max(2), stride: 1, came: 0 }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.came.is_multiple_of(self.stride) {
            self.kept.push(item);
        }
        self.came += 1;
        if self.kept.len() > self.kept_max {
            let mut at = 0_usize;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }

    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }

    /// One of how many is kept.
    pub(super) const fn stride(&self) -> usize {
        self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservoir_keeps_each_with_the_same_chance_and_the_same_in_every_run() {
        let keep = |seed| {
            let mut reservoir = Reservoir::new(100, seed);
            (0..10_000_u32).for_each(|item| reservoir.push(item));
            reservoir.kept().to_vec()
        };
        assert_eq!(keep(1), keep(1));
        let mean = keep(1).iter().map(|item| f64::from(*item)).sum::<f64>() / 100.0;
        // Four standard errors of the mean of 100 uniform numbers up to 10,000.
        assert!((mean - 5000.0).abs() < 4.0 * 10_000.0 / 12.0_f64.sqrt() / 10.0, "{mean}");
        let mut few = Reservoir::new(100, 1);
        (0..100_u32).for_each(|item| few.push(item));
        assert_eq!(few.kept(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn thinning_keeps_an_even_distance() {
        let mut thinned = Thinned::new(10);
        for item in 0..95_usize {
            thinned.push(item);
            assert!(thinned.kept().len() <= 10);
        }
        let expected: Vec<usize> = (0..95).step_by(16).collect();
        assert_eq!((thinned.stride(), thinned.kept()), (16, &*expected));
    }
}
