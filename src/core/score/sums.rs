//! Sums over scores, from which every figure is a quotient.
//!
//! Owns what is summed. Promises that sums of parts (symbols, shards, stretches of time) added
//! together are the sums of the whole, so that a figure over all parts is never an average of
//! averages. Never keeps a single score.

use std::ops::{Add, AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use super::{Score, measure};
use crate::core::baseline::{BASELINES, BaselineKind};

/// How many numbers [`Sums`] holds.
pub const SUMS_LENGTH: usize = 8 + BASELINES;

/// Sums over scores, each with a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Of the weights.
    pub weight: f64,
    /// Of squared errors, in squares of the target's unit.
    pub squared: f64,
    /// Of absolute errors, in the target's unit.
    pub absolute: f64,
    /// Of the squared errors of the baseline that the model is compared with.
    pub baseline_squared: f64,
    /// Of its absolute errors.
    pub baseline_absolute: f64,
    /// Of the weights of scores whose truth had a direction.
    pub directed: f64,
    /// Of the weights of those whose forecast had it, too.
    pub hits: f64,
    /// Of the weights of scores whose interval held the truth.
    pub covered: f64,
    /// Of the squared errors of every baseline; 0 for one that the bundle does not have.
    pub baselines_squared: [f64; BASELINES],
}

impl Sums {
    /// Of one score with weight 1.
    pub fn of(score: &Score) -> Self {
        let flag = |flag: bool| if flag { 1.0 } else { 0.0 };
        let (error, baseline_error) = (score.error(), score.baseline_error());
        Self {
            weight: 1.0,
            squared: error * error,
            absolute: error.abs(),
            baseline_squared: baseline_error * baseline_error,
            baseline_absolute: baseline_error.abs(),
            directed: flag(score.direction_hit.is_some()),
            hits: flag(score.direction_hit == Some(true)),
            covered: flag(score.covered()),
            baselines_squared: score.baselines.map(|forecast| {
                let error = forecast.map_or(0.0, |forecast| measure::error(forecast, score.truth));
                error * error
            }),
        }
    }

    /// `1 - squared error / squared error of the baseline`: 0 is no better than it, 1 is perfect.
    /// `None` where the baseline made no error.
    pub fn skill(&self) -> Option<f64> {
        (self.baseline_squared > 0.0).then(|| 1.0 - self.squared / self.baseline_squared)
    }

    /// The same beside one of the baselines. `None` for one that made no error or is not there.
    pub fn skill_against(&self, baseline: BaselineKind) -> Option<f64> {
        let squared = self.baselines_squared[baseline as usize];
        (squared > 0.0).then(|| 1.0 - self.squared / squared)
    }

    /// In the target's unit; `None` without a score.
    pub fn mean_absolute_error(&self) -> Option<f64> {
        self.share(self.absolute)
    }

    /// That of the baseline.
    pub fn baseline_mean_absolute_error(&self) -> Option<f64> {
        self.share(self.baseline_absolute)
    }

    /// The share of forecasts that told the direction, among those whose truth had one.
    pub fn direction_hits(&self) -> Option<f64> {
        (self.directed > 0.0).then(|| self.hits / self.directed)
    }

    /// The share of intervals that held their truth.
    pub fn coverage(&self) -> Option<f64> {
        self.share(self.covered)
    }

    /// Whether these can be sums over scores.
    pub fn are_possible(&self) -> bool {
        self.to_array().iter().all(|sum| sum.is_finite() && *sum >= 0.0)
    }

    /// Everything so far `factor` times.
    pub fn scaled(self, factor: f64) -> Self {
        Self::from_array(self.to_array().map(|sum| sum * factor))
    }

    /// The sums in a fixed order.
    pub const fn to_array(self) -> [f64; SUMS_LENGTH] {
        let [persistence, drift, average, seasonal, linear] = self.baselines_squared;
        [
            self.weight,
            self.squared,
            self.absolute,
            self.baseline_squared,
            self.baseline_absolute,
            self.directed,
            self.hits,
            self.covered,
            persistence,
            drift,
            average,
            seasonal,
            linear,
        ]
    }

    /// Back from [`Sums::to_array`].
    pub const fn from_array(sums: [f64; SUMS_LENGTH]) -> Self {
        let [
            weight,
            squared,
            absolute,
            baseline_squared,
            baseline_absolute,
            directed,
            hits,
            covered,
            baselines_squared @ ..,
        ] = sums;
        Self {
            weight,
            squared,
            absolute,
            baseline_squared,
            baseline_absolute,
            directed,
            hits,
            covered,
            baselines_squared,
        }
    }

    fn share(&self, sum: f64) -> Option<f64> {
        (self.weight > 0.0).then(|| sum / self.weight)
    }

    fn combine(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let mut sums = self.to_array();
        for (sum, more) in sums.iter_mut().zip(other.to_array()) {
            *sum = combine(*sum, more);
        }
        Self::from_array(sums)
    }
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, |sum, more| sum + more)
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Sums {
    fn sub_assign(&mut self, other: Self) {
        // What is left of equal sums taken in another order may be a hair below zero.
        *self = self.combine(other, |sum, less| (sum - less).max(0.0));
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}
