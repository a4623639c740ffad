//! The training loop.
//!
//! Owns: epochs, batches and their order, early stopping, and which parameters are kept: those of
//! the epoch with the lowest validation loss.
//!
//! Promises: the result depends on the data, the recipe and the machine's vector units, not on the
//! count of threads or on who watches. A loss that is not a number ends the fit with an error.
//!
//! Never: prints, reads a clock or touches a file; whoever wants to show progress or to stop early
//! does so through the observer.

use std::num::NonZero;
use std::ops::ControlFlow;

use thiserror::Error;

use super::adam::Adam;
use super::lanes::Lanes;
use super::loss::Loss;
use super::network::Network;
use super::random::{Purpose, Random};
use super::windows::Windows;

/// How to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Most passes over the training windows.
    pub epochs: usize,
    /// Windows per step of the optimiser.
    pub batch: usize,
    /// Epochs without a lower validation loss after which the fit ends.
    pub patience: usize,
    /// Rate of the optimiser.
    pub learning_rate: f64,
    /// What is made small.
    pub loss: Loss,
    /// Seed of everything that is random.
    pub seed: u64,
    /// Parts into which each batch is divided, so that as many threads can work on it. Another
    /// count adds in another order and so gives other last bits.
    pub lanes: usize,
}

impl Default for Recipe {
    /// The Keras tutorial's settings.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: 64,
            patience: 15,
            learning_rate: 1e-3,
            loss: Loss::MeanSquaredError,
            seed: 1,
            lanes: 2,
        }
    }
}

/// What one epoch came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub number: usize,
    /// Mean loss over the epoch's batches, each with the parameters and dropout of its moment.
    pub training_loss: f64,
    /// Loss after the epoch, without dropout.
    pub validation_loss: f64,
    /// Whether this is the lowest validation loss so far.
    pub best: bool,
}

/// Where a fit is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// A batch is done.
    Batch {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batches done in this epoch.
        done: usize,
        /// Batches of an epoch.
        total: usize,
        /// Mean loss of the epoch so far.
        training_loss: f64,
    },
    /// An epoch is done.
    Epoch(Epoch),
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs are done.
    Epochs,
    /// No better validation loss for as many epochs as the recipe's patience.
    Patience,
    /// The observer asked for it.
    Asked,
}

/// A finished fit.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Parameters of the best epoch.
    pub parameters: Vec<f32>,
    /// That epoch, counted from 1.
    pub best_epoch: usize,
    /// All epochs.
    pub epochs: Vec<Epoch>,
    /// Why there are no more.
    pub stopped: Stopped,
}

/// Why a fit gave nothing.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FitError {
    /// A part without windows.
    #[error("there is no {0} window: the history is too short for the split")]
    NoWindows(&'static str),
    /// The loss is infinite or not a number.
    #[error("the fit diverged in epoch {epoch}: {what} loss is {loss}; try a lower learning rate")]
    Diverged {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Which loss.
        what: &'static str,
        /// Its value.
        loss: f64,
    },
    /// The observer stopped the fit before the first epoch was complete.
    #[error("the fit was stopped before its first epoch was complete")]
    NothingYet,
}

/// Fits `network` to the training windows. The observer is told of every batch and epoch and can
/// end the fit; the best parameters so far are then the result.
///
/// # Errors
/// [`FitError`] where a part has no window, the loss leaves the finite numbers, or the observer
/// stops before there is anything to keep.
pub fn fit(
    network: &Network,
    training: &Windows,
    validation: &Windows,
    recipe: &Recipe,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    fit_on(threads(), network, training, validation, recipe, observer)
}

/// The network's values for all windows, in order, `[n, K]`; no dropout.
pub fn predict(network: &Network, parameters: &[f32], windows: &Windows) -> Vec<f32> {
    let threads = threads();
    Lanes::new(network, windows.steps(), 1, threads, threads).predict(parameters, windows)
}

fn fit_on(
    threads: usize,
    network: &Network,
    training: &Windows,
    validation: &Windows,
    recipe: &Recipe,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    for (windows, name) in [(training, "training"), (validation, "validation")] {
        if windows.is_empty() {
            return Err(FitError::NoWindows(name));
        }
    }
    let mut parameters = network.initial_parameters(recipe.seed);
    let mut adam = Adam::new(recipe.learning_rate, parameters.len());
    let mut lanes = Lanes::new(network, training.steps(), recipe.batch, recipe.lanes, threads);
    let mut order_stream = Random::new(recipe.seed, Purpose::Order);
    let mut dropout_stream = Random::new(recipe.seed, Purpose::Dropout);
    let mut order: Vec<usize> = (0..training.len()).collect();

    let mut best = Best { parameters: parameters.clone(), epoch: 0, loss: f64::INFINITY };
    let mut epochs = Vec::new();
    for number in 1..=recipe.epochs {
        order_stream.shuffle(&mut order);
        let total = order.len().div_ceil(recipe.batch);
        let mut mean = Mean::default();
        for (done, which) in order.chunks(recipe.batch).enumerate() {
            let (loss, gradients) =
                lanes.gradients(&parameters, training, which, recipe.loss, &mut dropout_stream);
            if !loss.is_finite() {
                return Err(FitError::Diverged { epoch: number, what: "training", loss });
            }
            adam.step(&mut parameters, gradients);
            mean.add(loss, which.len());
            let done = done + 1;
            let training_loss = mean.value();
            let progress = Progress::Batch { epoch: number, done, total, training_loss };
            if observer(progress).is_break() {
                return best.fit(epochs, Stopped::Asked);
            }
        }
        let values = lanes.predict(&parameters, validation);
        #[expect(clippy::cast_precision_loss, reason = "counts of windows are below 2^52")]
        let validation_loss = recipe.loss.sum(&values, validation.labels()) / values.len() as f64;
        if !validation_loss.is_finite() {
            let (what, loss) = ("validation", validation_loss);
            return Err(FitError::Diverged { epoch: number, what, loss });
        }
        let improved = best.offer(&parameters, number, validation_loss);
        let training_loss = mean.value();
        let epoch = Epoch { number, training_loss, validation_loss, best: improved };
        epochs.push(epoch);
        if observer(Progress::Epoch(epoch)).is_break() {
            return best.fit(epochs, Stopped::Asked);
        }
        if number - best.epoch >= recipe.patience {
            return best.fit(epochs, Stopped::Patience);
        }
    }
    best.fit(epochs, Stopped::Epochs)
}

/// Parameters of the best epoch so far.
struct Best {
    parameters: Vec<f32>,
    epoch: usize,
    loss: f64,
}

impl Best {
    fn offer(&mut self, parameters: &[f32], epoch: usize, loss: f64) -> bool {
        let better = loss < self.loss;
        if better {
            self.parameters.copy_from_slice(parameters);
            (self.epoch, self.loss) = (epoch, loss);
        }
        better
    }

    fn fit(self, epochs: Vec<Epoch>, stopped: Stopped) -> Result<Fit, FitError> {
        if self.epoch == 0 {
            return Err(FitError::NothingYet);
        }
        Ok(Fit { parameters: self.parameters, best_epoch: self.epoch, epochs, stopped })
    }
}

/// Mean of batch losses, each weighted by its windows.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "counts of windows are below 2^52")]
    fn add(&mut self, loss: f64, count: usize) {
        self.sum += loss * count as f64;
        self.count += count;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of windows are below 2^52")]
    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::super::network::{Activation, Architecture, DenseShape, LstmShape};
    use super::*;

    /// Windows of a noisy wave; the label is the next value, which an LSTM learns quickly.
    fn wave(count: usize, from: usize) -> Windows {
        let (steps, features) = (8, 2);
        let value = |k: usize| ((from + k) as f32 * 0.7).sin();
        let rows: Vec<f32> = (0..count + steps)
            .flat_map(|k| [value(k), if k % 3 == 0 { 0.5 } else { -0.5 }])
            .collect();
        let mut windows = Windows::new(steps, features, 1);
        let first = windows.push_rows(&rows);
        (0..count).for_each(|k| windows.push_window(first + k, &[0.8 * value(k + steps)]));
        windows
    }

    fn small(dropout: f32) -> Network {
        Network::new(Architecture {
            inputs: 2,
            lstm: vec![
                LstmShape { units: 8, recurrent_dropout: dropout, dropout },
                LstmShape { units: 6, recurrent_dropout: 0.0, dropout },
            ],
            dense: vec![
                DenseShape { units: 4, activation: Activation::Relu, dropout },
                DenseShape { units: 1, activation: Activation::Tanh, dropout: 0.0 },
            ],
        })
        .unwrap()
    }

    fn recipe() -> Recipe {
        Recipe { epochs: 3, batch: 16, learning_rate: 1e-2, ..Recipe::default() }
    }

    fn onwards(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn bits(parameters: &[f32]) -> Vec<u32> {
        parameters.iter().map(|p| p.to_bits()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
        // 70 windows in batches of 16 leave a last batch of 6, which three lanes share.
        let (training, validation) = (wave(70, 0), wave(20, 100));
        let network = small(0.2);
        let recipe = Recipe { lanes: 3, ..recipe() };
        let run = |threads| {
            let fit = fit_on(threads, &network, &training, &validation, &recipe, &mut onwards);
            bits(&fit.unwrap().parameters)
        };
        let once = run(1);
        for threads in [1, 2, 3] {
            assert_eq!(run(threads), once, "{threads} threads");
        }
        let other = Recipe { seed: 2, ..recipe };
        let other = fit(&network, &training, &validation, &other, &mut onwards).unwrap();
        assert_ne!(bits(&other.parameters), once, "another seed is another fit");
    }

    #[test]
    fn lanes_change_rounding_and_nothing_else() {
        let (training, validation) = (wave(64, 0), wave(20, 100));
        let network = small(0.0);
        let run = |lanes| {
            let recipe = Recipe { lanes, epochs: 1, ..recipe() };
            fit(&network, &training, &validation, &recipe, &mut onwards).unwrap()
        };
        let (one, three) = (run(1), run(3));
        for (one, three) in one.parameters.iter().zip(&three.parameters) {
            assert!((one - three).abs() < 1e-4, "one lane {one}, three lanes {three}");
        }
        let [one, three] = [one, three].map(|fit| fit.epochs[0].training_loss);
        assert!((one - three).abs() < 1e-6, "losses: one lane {one}, three lanes {three}");
    }

    #[test]
    fn a_learnable_series_is_learned() {
        let (training, validation) = (wave(256, 0), wave(64, 1000));
        let recipe = Recipe { epochs: 40, ..recipe() };
        let fit = fit(&small(0.0), &training, &validation, &recipe, &mut onwards).unwrap();
        let (first, best) = (fit.epochs[0], fit.epochs[fit.best_epoch - 1]);
        // The variance of the labels is 0.32.
        assert!(first.validation_loss > 0.05, "{first:?}");
        assert!(best.validation_loss < 0.002, "{best:?}");
    }

    #[test]
    fn the_best_epoch_is_kept_and_patience_ends_the_fit() {
        let (training, validation) = (wave(64, 0), wave(20, 100));
        let network = small(0.2);
        // A rate this high makes the validation loss jump.
        let recipe = Recipe { epochs: 200, patience: 4, learning_rate: 0.1, ..recipe() };
        let fit = fit(&network, &training, &validation, &recipe, &mut onwards).unwrap();
        assert_eq!(fit.stopped, Stopped::Patience);
        assert_eq!(fit.epochs.len(), fit.best_epoch + 4);
        let losses = fit.epochs.iter().map(|e| e.validation_loss);
        let lowest = losses.fold(f64::INFINITY, f64::min);
        assert_eq!(fit.epochs[fit.best_epoch - 1].validation_loss, lowest);
        let values = predict(&network, &fit.parameters, &validation);
        let loss = Loss::MeanSquaredError.sum(&values, validation.labels()) / 20.0;
        assert!((loss - lowest).abs() < 1e-6, "kept parameters give {loss}, not {lowest}");
    }

    #[test]
    fn whoever_watches_can_stop_and_keeps_the_best_so_far() {
        let (training, validation) = (wave(64, 0), wave(20, 100));
        let stop_at = |epoch: usize, batch: usize| {
            let mut observer = |progress: Progress| match progress {
                Progress::Batch { epoch: e, done, .. } if (e, done) == (epoch, batch) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            };
            fit(&small(0.0), &training, &validation, &recipe(), &mut observer)
        };
        let stopped = stop_at(2, 3).unwrap();
        assert_eq!((stopped.stopped, stopped.best_epoch), (Stopped::Asked, 1));
        assert_eq!(stop_at(1, 2).unwrap_err(), FitError::NothingYet);
    }

    #[test]
    fn divergence_and_missing_windows_are_errors() {
        let validation = wave(20, 100);
        let mut broken = wave(64, 0);
        broken.push_window(0, &[f32::NAN]);
        let error = fit(&small(0.0), &broken, &validation, &recipe(), &mut onwards).unwrap_err();
        assert!(matches!(error, FitError::Diverged { epoch: 1, what: "training", .. }), "{error}");
        let none = Windows::new(8, 2, 1);
        let error = fit(&small(0.0), &none, &validation, &recipe(), &mut onwards).unwrap_err();
        assert_eq!(error, FitError::NoWindows("training"));
    }
}
