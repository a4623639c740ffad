//! How far the intervals of one symbol are stretched so that they hold what they promise.
//!
//! Owns the one number that adapts and its rule: adaptive conformal inference (Gibbs and Candès,
//! 2021, arXiv:2106.00170) as a quantile tracker (Angelopoulos, Candès and Tibshirani, 2023,
//! arXiv:2307.16895) of the logarithm of the stretch. A miss stretches all later intervals of the
//! symbol, a hit draws them in a little, such that the two cancel out where exactly the asked share
//! is held. Whatever the model and however the errors are distributed, the share that was held over
//! `T` scores differs from the asked one by at most `span / (T × rate)`, where `span` is how far
//! the logarithm of the stretch has moved between its lowest and its highest.
//!
//! Promises: O(1) in time and memory; starts from the bundle's interval; the same outcomes give the
//! same bits on every machine. Never looks at a truth: whether the interval held it is enough.

use serde::{Deserialize, Serialize};

/// The rate once a symbol has many scores: a miss stretches by 4.6 % where 90 % are asked for, and
/// nine hits draw in as much. A higher rate follows a change sooner and trembles more.
const RATE: f64 = 0.05;

/// The rate of the first scores, which falls to [`RATE`]: a symbol whose errors are of another
/// size than those that the bundle knows is met sooner.
const FIRST_RATE: f64 = 0.5;

/// After so many scores the rate is half way from the first to the last.
const WARM_UP_SCORES: f64 = 20.0;

/// From this horizon on the rate is lower, because a miss is heard of so many steps late: the
/// corrections on their way must stay small together.
const PROMPT_HORIZON_STEPS: f64 = 10.0;

/// Bounds of the stretch: further away stands a broken feed.
const STRETCH_MIN: f64 = 1e-9;
const STRETCH_MAX: f64 = 1e9;

/// What all symbols of a model have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StretchRule {
    /// The share of truths to miss.
    miss_share: f64,
    /// By which the rates are multiplied for the horizon.
    damping: f64,
}

/// One symbol's stretch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stretch(f64);

impl StretchRule {
    pub(super) fn new(coverage: f64, horizon_steps: u32) -> Self {
        let damping = (PROMPT_HORIZON_STEPS / f64::from(horizon_steps)).min(1.0);
        Self { miss_share: 1.0 - coverage, damping }
    }
}

impl Default for Stretch {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Stretch {
    /// The factor for both margins.
    pub(super) const fn factor(self) -> f64 {
        self.0
    }

    /// Whether it can have come about.
    pub(super) fn is_possible(self) -> bool {
        (STRETCH_MIN..=STRETCH_MAX).contains(&self.0)
    }

    /// Hears whether an interval that was published held the truth, as the score of number `count`,
    /// counted from zero.
    pub(super) fn hear(&mut self, covered: bool, count: u32, rule: &StretchRule) {
        let extra = (FIRST_RATE - RATE) / (1.0 + f64::from(count) / WARM_UP_SCORES);
        let rate = (RATE + extra) * rule.damping;
        let missed = if covered { 0.0 } else { 1.0 };
        // Of the crate and not of the system, so that every machine has the same bits.
        let stretched = self.0 * libm::exp(rate * (missed - rule.miss_share));
        self.0 = stretched.clamp(STRETCH_MIN, STRETCH_MAX);
    }
}
