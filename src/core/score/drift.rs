//! Whether the errors of one symbol have become larger than they were.
//!
//! Owns the test: a one-sided cumulative sum (Page, 1954, doi:10.1093/biomet/41.1-2.100) of
//! absolute errors, each divided by the symbol's own mean so far. The mean follows slowly, so that
//! errors that stay large become the new normal and the mark goes by itself.
//!
//! Promises: O(1); the same errors give the same marks. One large error never makes a mark. Never
//! changes a forecast.

use serde::{Deserialize, Serialize};

/// What an error must exceed the mean by, in means, to count towards a drift: between no change
/// (0) and twice the error (1), nearer to the former because errors have heavy tails.
const SLACK: f64 = 0.25;

/// The sum from which on there is a drift. Measured over errors without any change, 100,000 scores
/// of each distribution: 0 marks for normal ones, 6 for Laplace, 0 for Student's t with 3 degrees
/// of freedom. Errors that become three times as large are marked after 12, 15 and 14 scores in the
/// median. The tests print and hold both.
const THRESHOLD: f64 = 15.0;

/// The largest weight of one error, in means: single outliers are no drift.
const WEIGHT_MAX: f64 = 4.0;

/// Scores before the mean is worth comparing with.
const WARM_UP_SCORES: u32 = 50;

/// The mean is that of about so many last scores.
const MEMORY_SCORES: u32 = 256;

/// The state of the test for one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Drift {
    /// Mean absolute error, in the target's unit.
    mean: f64,
    sum: f64,
}

impl Drift {
    /// Whether errors are larger than they were.
    pub(super) fn is_marked(self) -> bool {
        self.sum > THRESHOLD
    }

    /// Whether it can have come about.
    pub(super) fn is_possible(self) -> bool {
        let sums = 0.0..=2.0 * THRESHOLD;
        self.mean.is_finite() && self.mean >= 0.0 && sums.contains(&self.sum)
    }

    /// Takes the absolute error of the score of number `count`, counted from zero.
    pub(super) fn take(&mut self, absolute_error: f64, count: u32) {
        if count >= WARM_UP_SCORES && self.mean > 0.0 {
            let weight = (absolute_error / self.mean).min(WEIGHT_MAX);
            // The upper bound lets a mark go in bounded time.
            self.sum = (self.sum + weight - 1.0 - SLACK).clamp(0.0, 2.0 * THRESHOLD);
        }
        let among = f64::from(count.saturating_add(1).min(MEMORY_SCORES));
        self.mean += (absolute_error - self.mean) / among;
    }
}
