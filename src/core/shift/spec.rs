//! What a bundle says of the distribution of its inputs.
//!
//! Owns the on-disk shape of `distribution` in a manifest and the rules inside it. Promises that
//! every rule broken is named with its field. Never compares anything.

use serde::{Deserialize, Serialize};

use super::{BINS, MEMORY_ROWS};
use crate::core::domain::UnixNanos;

/// The distribution of each feature over the rows of the training part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistributionSpec {
    /// Event time of the first of these rows.
    pub from: UnixNanos,
    /// Event time of the last one.
    pub to: UnixNanos,
    /// How many rows, of all symbols.
    pub rows: u32,
    /// How many of a symbol's newest rows are compared with them at most.
    pub memory_rows: u32,
    /// One for each feature, in the order of the model's columns.
    pub features: Vec<FeatureDistribution>,
}

/// The distribution of one feature, in model units: scaled values as the model sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureDistribution {
    /// The smallest value.
    pub min: f32,
    /// Where one bin ends and the next one begins; each belongs to the bin above it.
    pub edges: Vec<f32>,
    /// The largest value.
    pub max: f32,
    /// How many rows each bin has: one bin more than edges.
    pub counts: Vec<u32>,
    /// The largest population stability index that the rows of any symbol had within the training
    /// part itself.
    pub largest: f64,
    /// Beyond this index the feature is shifted.
    pub limit: f64,
}

impl DistributionSpec {
    /// The rules that are broken, for a model of so many features.
    pub fn problems(&self, width: usize) -> Vec<String> {
        let Self { from, to, rows, memory_rows, features } = self;
        let mut problems = Vec::new();
        if from > to {
            problems.push("distribution.from: is later than distribution.to".to_owned());
        }
        if !MEMORY_ROWS.contains(memory_rows) {
            let (min, max) = (MEMORY_ROWS.start(), MEMORY_ROWS.end());
            problems.push(format!("distribution.memory_rows: must be from {min} to {max}"));
        }
        if features.len() != width {
            let count = features.len();
            problems.push(format!("distribution.features: has {count}, and the model {width}"));
        }
        for (index, feature) in features.iter().enumerate() {
            let broken = feature.problems(*rows);
            let line = |problem| format!("distribution.features[{index}].{problem}");
            problems.extend(broken.into_iter().map(line));
        }
        problems
    }
}

impl FeatureDistribution {
    fn problems(&self, rows: u32) -> Vec<String> {
        let Self { min, edges, max, counts, largest, limit } = self;
        let mut problems = Vec::new();
        let mut check = |fits: bool, problem: String| {
            if !fits {
                problems.push(problem);
            }
        };
        let is_range = min.is_finite() && max.is_finite() && min <= max;
        check(is_range, "min: must be a finite number that is not above max".to_owned());
        let rise = edges.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = edges.iter().all(|edge| edge > min && edge <= max);
        let rule = "edges: must rise, above min and not above max";
        check(rise && inside, rule.to_owned());
        let most = BINS - 1;
        check(edges.len() <= most, format!("edges: has {}, more than {most}", edges.len()));
        let bins = edges.len() + 1;
        check(counts.len() == bins, format!("counts: has {}, not {bins}", counts.len()));
        let sum: u64 = counts.iter().copied().map(u64::from).sum();
        check(sum == u64::from(rows), format!("counts: add up to {sum} rows, not {rows}"));
        let is_index = |index: f64| index.is_finite() && index >= 0.0;
        check(is_index(*largest), "largest: must be a finite number from 0 on".to_owned());
        let is_limit = is_index(*limit) && *limit > 0.0;
        check(is_limit, "limit: must be a finite number above 0".to_owned());
        problems
    }
}
