//! When a fit has stopped to improve.
//!
//! Owns: the values that can be monitored, and how many epochs have passed without an improvement.
//!
//! Promises: the count is that of the callback `EarlyStopping` of Keras with the same `min_delta`
//! and `start_from_epoch` (which counts from 0), and follows from the epochs that are done and
//! nothing else.
//!
//! Never: decides which parameters are kept: those of the lowest monitored value, whatever
//! `min_delta` and the first epoch are.

use super::epoch::Epoch;
use super::recipe::Recipe;

/// A value of an epoch. Lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// The loss on the validation part.
    ValidationLoss,
    /// The mean absolute error on the validation part.
    ValidationAbsoluteError,
    /// The loss on the training part, of the epoch's batches.
    TrainingLoss,
}

impl Monitor {
    /// Every value with its word.
    pub const CHOICES: [(&'static str, Self); 3] = [
        ("validation_loss", Self::ValidationLoss),
        ("validation_absolute_error", Self::ValidationAbsoluteError),
        ("training_loss", Self::TrainingLoss),
    ];

    /// The word.
    pub fn label(self) -> &'static str {
        let [loss, error, training] = Self::CHOICES.map(|(word, _)| word);
        match self {
            Self::ValidationLoss => loss,
            Self::ValidationAbsoluteError => error,
            Self::TrainingLoss => training,
        }
    }

    /// Its value.
    pub(super) fn of(self, epoch: &Epoch) -> f64 {
        match self {
            Self::ValidationLoss => epoch.validation_loss,
            Self::ValidationAbsoluteError => epoch.validation_absolute_error,
            Self::TrainingLoss => epoch.training_loss,
        }
    }
}

/// Epochs since the last improvement.
pub(super) fn waited(epochs: &[Epoch], recipe: &Recipe) -> usize {
    let Recipe { monitor, min_delta, start_epoch, .. } = recipe;
    let (mut best, mut waited) = (f64::INFINITY, 0);
    for epoch in epochs.iter().skip(start_epoch.saturating_sub(1)) {
        let value = monitor.of(epoch);
        if value + min_delta < best {
            (best, waited) = (value, 0);
        } else {
            waited += 1;
        }
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs with these validation losses; the other values are their negatives and doubles.
    fn epochs(losses: &[f64]) -> Vec<Epoch> {
        let epoch = |(at, loss): (usize, &f64)| Epoch {
            number: at + 1,
            training_loss: 2.0 * loss,
            validation_loss: *loss,
            validation_absolute_error: -loss,
            learning_rate: 0.1,
            best: false,
        };
        losses.iter().enumerate().map(epoch).collect()
    }

    /// What `EarlyStopping` of Keras 3.15 counts, by its source: an improvement is
    /// `value + min_delta < best`, and epochs before the first one are not looked at.
    #[test]
    fn epochs_without_an_improvement_are_counted() {
        let epochs = epochs(&[5.0, 1.0, 3.0, 2.5, 2.4, 2.3, 0.9]);
        let counted = |min_delta, start_epoch| {
            let recipe = Recipe { min_delta, start_epoch, ..Recipe::default() };
            (0..=epochs.len()).map(|done| waited(&epochs[..done], &recipe)).collect::<Vec<_>>()
        };
        assert_eq!(counted(0.0, 1), [0, 0, 0, 1, 2, 3, 4, 0]);
        assert_eq!(counted(0.2, 1), [0, 0, 0, 1, 2, 3, 4, 5], "0.9 is 0.1 below 1.0");
        assert_eq!(counted(0.0, 3), [0, 0, 0, 0, 0, 0, 0, 0], "each is lower than the last");
        assert_eq!(counted(0.25, 3), [0, 0, 0, 0, 0, 1, 2, 0], "2.4 and 2.3 beside 2.5");
        assert_eq!(counted(0.0, 9), [0; 8]);
    }

    #[test]
    fn each_value_can_be_monitored() {
        let epochs = epochs(&[1.0, 2.0, 3.0]);
        let counted = Monitor::CHOICES
            .map(|(_, monitor)| waited(&epochs, &Recipe { monitor, ..Recipe::default() }));
        assert_eq!(counted, [2, 0, 2]);
        for (word, monitor) in Monitor::CHOICES {
            assert_eq!(monitor.label(), word);
        }
    }
}
