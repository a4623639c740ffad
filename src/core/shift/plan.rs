//! The cells, distances and limits of a model's features, ready for use.
//!
//! Owns which cell a value belongs to, how counts forget, and the population stability index of
//! counts. Promises that no logarithm is computed for a row: counts are whole numbers, whose
//! logarithms are in a table. Never keeps anything of a symbol.

use std::ops::Range;

use super::spec::{DistributionSpec, FeatureDistribution};
use super::{CELLS_MAX, MEMORY_ROWS};

/// The unit in which an index is kept, so that sums of indexes are exact.
const MICRO: f64 = 1e6;

/// What stands for the index of a feature that is not judged yet.
pub(super) const UNJUDGED: u32 = u32::MAX;

/// The distributions of a model's features: shared and immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftPlan {
    memory_rows: usize,
    features: Vec<Cells>,
    /// `ln(half / 2)` at each place `half` from 1 on.
    logarithms: Box<[f64]>,
}

/// The cells of one feature: below all training values, its bins, above all training values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cells {
    /// Their places among the counts of a symbol.
    pub(super) places: Range<usize>,
    min: f32,
    edges: Box<[f32]>,
    max: f32,
    /// The share of the training rows in each cell, and its logarithm.
    shares: Box<[[f64; 2]]>,
    /// In millionths.
    pub(super) limit: u32,
}

impl ShiftPlan {
    /// The plan of a section without problems.
    pub fn new(spec: &DistributionSpec) -> Self {
        let memory_rows = spec.memory_rows.clamp(*MEMORY_ROWS.start(), *MEMORY_ROWS.end()) as usize;
        let mut first = 0;
        let cells = |feature: &FeatureDistribution| {
            let cells = Cells::new(feature, first);
            first = cells.places.end;
            cells
        };
        let features = spec.features.iter().map(cells).collect();
        let logarithm = |half: usize| libm::log(half as f64 / 2.0);
        // The first place is never read.
        let logarithms = (0..=2 * memory_rows + CELLS_MAX).map(|half| logarithm(half.max(1)));
        Self { memory_rows, features, logarithms: logarithms.collect() }
    }

    pub(super) fn features(&self) -> &[Cells] {
        &self.features
    }

    /// How many features there are.
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// The index beyond which each feature is shifted.
    pub fn limits(&self) -> impl Iterator<Item = f64> + '_ {
        self.features.iter().map(|cells| of_micro(cells.limit))
    }

    /// How many counts a symbol has.
    pub fn counts_length(&self) -> usize {
        self.features.last().map_or(0, |cells| cells.places.end)
    }

    /// Whether these can be the counts of a symbol.
    pub(super) fn fits(&self, counts: &[u8]) -> bool {
        let is_sum = |cells: &Cells| total(&counts[cells.places.clone()]) < self.memory_rows;
        counts.len() == self.counts_length() && self.features.iter().all(is_sum)
    }

    /// Fewer rows than this say too little of a distribution. It is below what is left of counts
    /// that were halved.
    fn judged_rows(&self) -> usize {
        self.memory_rows * 3 / 8
    }

    /// Counts a value of a feature. Where the counts have reached the memory, all of them are
    /// halved, so that a row counts for half after each further half of the memory.
    pub(super) fn count(&self, cells: &Cells, counts: &mut [u8], value: f32) {
        counts[cells.of(value)] += 1;
        if total(counts) >= self.memory_rows {
            counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// The index of the counts of a feature in millionths; [`UNJUDGED`] while there are too few.
    pub(super) fn index(&self, cells: &Cells, counts: &[u8]) -> u32 {
        let total = total(counts);
        if total < self.judged_rows() {
            return UNJUDGED;
        }
        let halves = 2 * total + counts.len();
        let (part, whole) = (2.0 / halves as f64, self.logarithms[halves]);
        let mut sum = 0.0;
        for (count, [share, log_share]) in counts.iter().zip(&cells.shares) {
            let newest = (f64::from(*count) + 0.5) * part;
            let log_newest = self.logarithms[2 * usize::from(*count) + 1] - whole;
            sum += (newest - share) * (log_newest - log_share);
        }
        to_micro(sum)
    }
}

impl Cells {
    fn new(feature: &FeatureDistribution, first: usize) -> Self {
        let FeatureDistribution { min, edges, max, counts, limit, .. } = feature;
        let rows = [0].iter().chain(counts).chain(&[0]);
        let cells = counts.len() + 2;
        let all: f64 = counts.iter().copied().map(f64::from).sum();
        let share = |count: &u32| {
            let share = (f64::from(*count) + 0.5) / (all + 0.5 * cells as f64);
            [share, libm::log(share)]
        };
        Self {
            places: first..first + cells,
            min: *min,
            edges: edges.as_slice().into(),
            max: *max,
            shares: rows.map(share).collect(),
            limit: to_micro(*limit),
        }
    }

    /// The place of a value among the cells.
    fn of(&self, value: f32) -> usize {
        // Without branches: edges are few, and a value lies in any of the bins.
        let passed: usize = self.edges.iter().map(|edge| usize::from(value >= *edge)).sum();
        usize::from(value >= self.min) + passed + usize::from(value > self.max)
    }
}

fn total(counts: &[u8]) -> usize {
    counts.iter().copied().map(usize::from).sum()
}

/// An index in millionths, below [`UNJUDGED`].
pub(super) fn to_micro(index: f64) -> u32 {
    // The conversion saturates, and an index of thousands cannot be.
    ((index * MICRO) as u32).min(UNJUDGED - 1)
}

pub(super) fn of_micro(micro: u32) -> f64 {
    f64::from(micro) / MICRO
}
