//! The distances between rows.
//!
//! Owns their distribution. Promises bounded memory: distances are counted exactly up to a number
//! of different ones, and beyond it rounded down to ever larger steps. Never knows a row.

use std::collections::BTreeMap;

use super::{GAP_TIMES_MEDIAN, SpacingFacts};
use crate::core::domain::{DurationNanos, UnixNanos};

/// The most different distances that are counted apart.
const DISTANCES_MAX: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Spacings {
    pub(super) counts: BTreeMap<i64, u64>,
    /// How many low bits of a distance are left out.
    coarse_bits: u32,
    total: u64,
    min: Option<i64>,
    longest: Option<(i64, String, UnixNanos)>,
}

impl Spacings {
    /// Counts a distance behind a row of a symbol.
    pub(super) fn add(&mut self, distance: DurationNanos, symbol: &str, after: UnixNanos) {
        let nanos = distance.as_nanos();
        *self.counts.entry(nanos >> self.coarse_bits).or_default() += 1;
        self.total += 1;
        self.min = Some(self.min.map_or(nanos, |min| min.min(nanos)));
        if self.longest.as_ref().is_none_or(|(longest, ..)| *longest < nanos) {
            self.longest = Some((nanos, symbol.to_owned(), after));
        }
        while self.counts.len() > DISTANCES_MAX {
            self.coarse_bits += 1;
            let mut coarser = BTreeMap::new();
            for (key, count) in std::mem::take(&mut self.counts) {
                *coarser.entry(key >> 1).or_default() += count;
            }
            self.counts = coarser;
        }
    }

    pub(super) fn finish(self) -> Option<SpacingFacts> {
        let (max, longest_symbol, longest_after) = self.longest?;
        let mut seen = 0;
        let middle = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen * 2 >= self.total
        });
        let median = middle.map_or(max, |(key, _)| key << self.coarse_bits);
        let far = median.saturating_mul(GAP_TIMES_MEDIAN);
        let gaps = self.counts.iter().filter(|(key, _)| (**key << self.coarse_bits) > far);
        let gaps = gaps.map(|(_, count)| count).sum();
        let min = self.min.unwrap_or(max);
        Some(SpacingFacts { median, min, max, gaps, longest_symbol, longest_after })
    }
}
