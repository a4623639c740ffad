//! A linear function of the newest rows of a window.
//!
//! Owns its coefficients and the order in which its terms are added. Promises that the sum does not
//! depend on how the rows are cut into pieces, and has the same bits on every machine. Never fits
//! its coefficients.

use serde::{Deserialize, Serialize};

/// Terms are added in so many sums, by the number of their column, so that they can be computed
/// side by side.
const LANES: usize = 4;

/// `intercept + sum of weight × value` over the newest rows of a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearModel {
    /// How many of the newest rows it reads.
    pub rows: u32,
    /// What it says where every value is 0, in the target's unit.
    pub intercept: f64,
    /// One for each value, row by row, the oldest row first.
    pub weights: Vec<f64>,
}

impl LinearModel {
    /// Its value for rows, oldest first, that may lie in two pieces.
    pub fn predict(&self, rows: [&[f32]; 2]) -> f64 {
        let mut sums = [0.0; LANES];
        let [first, second] = rows;
        let (head, tail) = self.weights.split_at(first.len().min(self.weights.len()));
        add(&mut sums, 0, first, head);
        add(&mut sums, first.len(), second, tail);
        let [a, b, c, d] = sums;
        self.intercept + ((a + b) + (c + d))
    }
}

/// Adds the terms of the columns from `column` on, each to the sum of its lane.
fn add(sums: &mut [f64; LANES], column: usize, values: &[f32], weights: &[f64]) {
    let count = values.len().min(weights.len());
    let term = |value: &f32, weight: &f64| f64::from(*value) * weight;
    // Up to the first column of lane 0, then all lanes at once.
    let head = (column.next_multiple_of(LANES) - column).min(count);
    for at in 0..head {
        sums[(column + at) % LANES] += term(&values[at], &weights[at]);
    }
    let values = values[head..count].chunks_exact(LANES);
    let weights = weights[head..count].chunks_exact(LANES);
    let rest = values.remainder().iter().zip(weights.remainder());
    for (values, weights) in values.zip(weights) {
        for lane in 0..LANES {
            sums[lane] += term(&values[lane], &weights[lane]);
        }
    }
    for (lane, (value, weight)) in rest.enumerate() {
        sums[lane] += term(value, weight);
    }
}
