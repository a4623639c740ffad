//! What one epoch came to.
//!
//! Owns the figures of an epoch. Never computes one.

/// What one epoch came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub number: usize,
    /// Mean loss over the epoch's batches, each with the parameters and dropout of its moment, and
    /// with the weights of its examples.
    pub training_loss: f64,
    /// Loss after the epoch, without dropout.
    pub validation_loss: f64,
    /// Mean of `|value - label|` in model units, likewise.
    pub validation_absolute_error: f64,
    /// Rate of the epoch's last step.
    pub learning_rate: f64,
    /// Whether its monitored value is the lowest so far.
    pub best: bool,
}
