//! How to fit: the settings of a fit and their usual values.
//!
//! Owns the recipe that the configuration gives to a fit. Never checks a value.

use super::loss::Loss;
use super::rate::RateSchedule;
use super::stopping::Monitor;
use super::weights::WeightRule;

/// How to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Most passes over the training part.
    pub epochs: usize,
    /// Windows per step of the optimiser; where the state is carried, the most histories, or
    /// stretches of them, that are learned side by side.
    pub batch: usize,
    /// Epochs without an improvement after which the fit ends.
    pub patience: usize,
    /// How much lower than the lowest one before the monitored value must be to count as an
    /// improvement. Which epoch is kept does not depend on it.
    pub min_delta: f64,
    /// The first epoch, counted from 1, that `patience` looks at. Which epoch is kept does not
    /// depend on it.
    pub start_epoch: usize,
    /// The value whose lowest epoch is kept, and which `patience` and the schedule look at.
    pub monitor: Monitor,
    /// Rate of the optimiser; a schedule changes it.
    pub learning_rate: f64,
    /// How the rate changes.
    pub schedule: RateSchedule,
    /// The share of every weight, times the rate, that a step takes off it (`AdamW`). Biases are
    /// not weights. 0: none.
    pub weight_decay: f64,
    /// The largest Euclidean length of a batch's gradient over all parameters; a longer one is
    /// scaled down to it. 0: any length.
    pub clip_norm: f64,
    /// What is made small.
    pub loss: Loss,
    /// How much each example of the training part counts.
    pub weights: WeightRule,
    /// Seed of everything that is random.
    pub seed: u64,
    /// Parts into which each batch is divided; at most so many threads work on it. Another count
    /// adds in another order and so gives other last bits.
    pub lanes: usize,
    /// The most windows of one epoch: each epoch draws as many others. 0: all of them.
    pub examples_per_epoch_max: usize,
}

impl Recipe {
    /// As it is for a checkpoint: what may differ in a fit that goes on is left out, and so is the
    /// rate with its schedule, which [`Recipe::pace`] has.
    pub(in super::super) fn fixed(&self) -> Self {
        Self {
            epochs: 0,
            patience: 0,
            min_delta: 0.0,
            start_epoch: 0,
            learning_rate: 0.0,
            schedule: RateSchedule::default(),
            ..self.clone()
        }
    }

    /// The rate and its schedule, which a fit that goes on may be given in place of its own.
    pub(in super::super) fn pace(&self) -> (f64, RateSchedule) {
        (self.learning_rate, self.schedule)
    }
}

impl Default for Recipe {
    /// The Keras tutorial's settings.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: 64,
            patience: 15,
            min_delta: 0.0,
            start_epoch: 1,
            monitor: Monitor::ValidationLoss,
            learning_rate: 1e-3,
            schedule: RateSchedule::default(),
            weight_decay: 0.0,
            clip_norm: 0.0,
            loss: Loss::MeanSquaredError,
            weights: WeightRule::default(),
            seed: 1,
            lanes: 8,
            examples_per_epoch_max: 0,
        }
    }
}
