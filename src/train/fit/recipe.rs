//! How to fit: the settings of a fit and their usual values.
//!
//! Owns the recipe that the configuration gives to a fit. Never checks a value.

use super::loss::Loss;

/// How to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Most passes over the training part.
    pub epochs: usize,
    /// Windows per step of the optimiser; where the state is carried, the most histories, or
    /// stretches of them, that are learned side by side.
    pub batch: usize,
    /// Epochs without a lower validation loss after which the fit ends.
    pub patience: usize,
    /// Rate of the optimiser.
    pub learning_rate: f64,
    /// The largest Euclidean length of a batch's gradient over all parameters; a longer one is
    /// scaled down to it. 0: any length.
    pub clip_norm: f64,
    /// What is made small.
    pub loss: Loss,
    /// Seed of everything that is random.
    pub seed: u64,
    /// Parts into which each batch is divided, so that as many threads can work on it. Another
    /// count adds in another order and so gives other last bits.
    pub lanes: usize,
    /// The most windows of one epoch: each epoch draws as many others. 0: all of them.
    pub examples_per_epoch_max: usize,
}

impl Default for Recipe {
    /// The Keras tutorial's settings.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: 64,
            patience: 15,
            learning_rate: 1e-3,
            clip_norm: 0.0,
            loss: Loss::MeanSquaredError,
            seed: 1,
            lanes: 2,
            examples_per_epoch_max: 0,
        }
    }
}
