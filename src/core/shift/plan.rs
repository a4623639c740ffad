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

/// The distributions of a model's features: shared and immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftPlan {
    memory_rows: usize,
    features: Vec<Cells>,
    /// The counts of a symbol without rows: half of the memory, distributed as the training is.
    initial: Box<[u8]>,
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
        let half = memory_rows as u64 / 2;
        let initial = spec.features.iter().flat_map(|feature| initial(&feature.counts, half));
        let logarithm = |half: usize| libm::log(half as f64 / 2.0);
        // The first place is never read.
        let logarithms = (0..=2 * memory_rows + CELLS_MAX).map(|half| logarithm(half.max(1)));
        let (initial, logarithms) = (initial.collect(), logarithms.collect());
        Self { memory_rows, features, initial, logarithms }
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

    /// The counts of a symbol without rows. Nothing speaks against it yet, so it begins as the
    /// training is, and its rows take the place of these counts.
    pub(super) fn initial(&self) -> &[u8] {
        &self.initial
    }

    /// Whether these can be the counts of a symbol.
    pub(super) fn fits(&self, counts: &[u8]) -> bool {
        let is_sum = |cells: &Cells| total(&counts[cells.places.clone()]) < self.memory_rows;
        counts.len() == self.initial.len() && self.features.iter().all(is_sum)
    }

    /// Counts a value of a feature. Where the counts have reached the memory, all of them are
    /// halved, so that a row counts for half after each further half of the memory.
    pub(super) fn count(&self, cells: &Cells, counts: &mut [u8], value: f32) {
        counts[cells.of(value)] += 1;
        if total(counts) >= self.memory_rows {
            counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// The index of the counts of a feature, in millionths.
    pub(super) fn index(&self, cells: &Cells, counts: &[u8]) -> u32 {
        let total = total(counts);
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

/// So many rows in the cells of a feature, as near to the counts of the training as whole numbers
/// are.
fn initial(training: &[u32], rows: u64) -> Vec<u8> {
    let all = training.iter().copied().map(u64::from).sum::<u64>().max(1);
    let (mut before, mut sum) = (0, 0);
    let bins = training.iter().map(|count| {
        sum += u64::from(*count);
        let until = (2 * sum * rows + all) / (2 * all);
        let count = until - std::mem::replace(&mut before, until);
        u8::try_from(count).unwrap_or(u8::MAX)
    });
    std::iter::once(0).chain(bins).chain([0]).collect()
}

fn total(counts: &[u8]) -> usize {
    counts.iter().copied().map(usize::from).sum()
}

/// An index in millionths.
fn to_micro(index: f64) -> u32 {
    // The conversion saturates, and an index of thousands cannot be.
    (index * MICRO) as u32
}

pub(super) fn of_micro(micro: u32) -> f64 {
    f64::from(micro) / MICRO
}
