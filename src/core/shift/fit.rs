//! From the rows of the training part to the distribution of a bundle.
//!
//! Owns where bins end and what the limit of a feature is. Promises: made of the given rows alone,
//! without draws, so that equal rows give equal bits. Never reads a row of another part.

use std::ops::Deref;

use super::plan::of_micro;
use super::spec::{DistributionSpec, FeatureDistribution};
use super::{BINS, ShiftPlan};
use crate::core::domain::UnixNanos;

/// How many of a symbol's newest rows are compared at most. Measured: `docs/adr/0036`.
const MEMORY_ROWS: u32 = 128;

/// The limit as a multiple of the largest index that any stretch of the training part has.
/// Measured: `docs/adr/0036`.
const MARGIN: f64 = 1.25;

/// The fewest rows of one symbol from which a limit is made: in fewer of them, what it began with
/// has not left its counts.
const SERIES_ROWS_MIN: usize = 256;

/// The quantile of the normal distribution that is exceeded once in a million draws.
const RARE_DEVIATIONS: f64 = 4.75;

/// The distribution of the training rows of every symbol: each series is `[rows, width]`, oldest
/// row first. `None` where they are too few to say how far a stretch of them is from all of them.
pub fn fit(width: usize, series: &[&[f32]], span: [UnixNanos; 2]) -> Option<DistributionSpec> {
    let lengths: Vec<usize> = series.iter().map(|rows| rows.len() / width.max(1)).collect();
    fit_blocks(width, &lengths, |at| std::iter::once(series[at]), span)
}

/// The same of series that come block by block: `blocks` gives those of one series, which has
/// `lengths` rows. They are read once for each feature and once more, and the column of one feature
/// is in memory.
pub fn fit_blocks<B: Deref<Target = [f32]>, I: Iterator<Item = B>>(
    width: usize,
    lengths: &[usize],
    blocks: impl Fn(usize) -> I,
    [from, to]: [UnixNanos; 2],
) -> Option<DistributionSpec> {
    if lengths.iter().max().is_none_or(|rows| *rows < SERIES_ROWS_MIN) {
        return None;
    }
    let rows: usize = lengths.iter().sum();
    let column = |feature: usize| -> Vec<f32> {
        let mut values = Vec::with_capacity(rows);
        for block in (0..lengths.len()).flat_map(&blocks) {
            // Zero has one sign.
            values.extend(block.iter().skip(feature).step_by(width).map(|value| value + 0.0));
        }
        values
    };
    let features: Vec<_> =
        (0..width).map(|feature| distribution(column(feature))).collect::<Option<_>>()?;
    let rows = u32::try_from(rows).ok()?;
    let mut spec = DistributionSpec { from, to, rows, memory_rows: MEMORY_ROWS, features };
    let largest = largest(&ShiftPlan::new(&spec), width, (0..lengths.len()).map(blocks));
    for (feature, largest) in spec.features.iter_mut().zip(largest) {
        feature.largest = of_micro(largest);
        feature.limit = (MARGIN * feature.largest).max(chance(feature.counts.len()));
    }
    Some(spec)
}

/// The bins of one feature; `None` without values.
fn distribution(mut values: Vec<f32>) -> Option<FeatureDistribution> {
    values.sort_unstable_by(f32::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let mut edges: Vec<f32> = Vec::with_capacity(BINS - 1);
    for bin in 1..BINS {
        let edge = values[values.len() * bin / BINS];
        if edge > *edges.last().unwrap_or(&min) {
            edges.push(edge);
        }
    }
    if edges.is_empty() {
        // Nearly all values are the smallest one: the others are a bin of their own.
        edges.extend(values.iter().find(|value| **value > min));
    }
    let before = |edge: f32| values.partition_point(|value| *value < edge);
    let mut starts: Vec<usize> = edges.iter().map(|edge| before(*edge)).collect();
    starts.insert(0, 0);
    starts.push(values.len());
    let count = |pair: &[usize]| u32::try_from(pair[1] - pair[0]).unwrap_or(u32::MAX);
    let counts = starts.windows(2).map(count).collect();
    Some(FeatureDistribution { min, edges, max, counts, largest: 0.0, limit: f64::MAX })
}

/// The largest index of each feature, in millionths, over all stretches of every series.
fn largest<B: Deref<Target = [f32]>>(
    plan: &ShiftPlan,
    width: usize,
    series: impl Iterator<Item = impl Iterator<Item = B>>,
) -> Vec<u32> {
    let mut largest = vec![0; width];
    for blocks in series {
        let mut counts = plan.initial().to_vec();
        for block in blocks {
            for row in block.chunks_exact(width) {
                for ((cells, value), largest) in plan.features().iter().zip(row).zip(&mut largest) {
                    let counts = &mut counts[cells.places.clone()];
                    plan.count(cells, counts, *value);
                    *largest = plan.index(cells, counts).max(*largest);
                }
            }
        }
    }
    largest
}

/// An index that independent rows of the training distribution itself exceed once in a million
/// times: `rows * index` has about the chi-squared distribution with a degree of freedom less than
/// there are bins, here by the approximation of Wilson and Hilferty (1931). Halved counts vary as
/// those of 1.5 times as many rows as the memory has: the sum of the weights of all rows, squared,
/// over the sum of their squares.
fn chance(bins: usize) -> f64 {
    let freedom = bins.saturating_sub(1).max(1) as f64;
    let spread = 2.0 / (9.0 * freedom);
    let root = 1.0 - spread + RARE_DEVIATIONS * libm::sqrt(spread);
    freedom * root * root * root / (1.5 * f64::from(MEMORY_ROWS))
}
