//! How to fit: the settings of a fit and their usual values.
//!
//! Owns the recipe that the configuration gives to a fit. Never checks a value.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

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
    /// The parameters to begin with; `None` for those that the seed draws.
    pub start: Option<StartParameters>,
}

/// Parameters that a fit begins with, in the order of the network. The text of `Debug` is their
/// hash, so that a checkpoint belongs to one start.
#[derive(Clone, PartialEq)]
pub struct StartParameters(Arc<[f32]>);

impl StartParameters {
    /// These.
    pub fn new(parameters: Vec<f32>) -> Self {
        Self(parameters.into())
    }

    /// The numbers.
    pub fn parameters(&self) -> &[f32] {
        &self.0
    }
}

impl fmt::Debug for StartParameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Sha256::new();
        self.0.iter().for_each(|parameter| hash.update(parameter.to_le_bytes()));
        hash.finalize().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
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
            start: None,
        }
    }
}
