//! The training loop.
//!
//! Owns: epochs, batches and their order, early stopping, and which parameters are kept: those of
//! the epoch with the lowest validation loss. All that changes from epoch to epoch is in a
//! [`Session`].
//!
//! Promises: the result depends on the data, the recipe and the machine's vector units, not on the
//! count of threads or on who watches, and a fit that goes on from a session ends with the bits of
//! one that was never interrupted. A loss that is not a number ends the fit with an error.
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
    /// Mean of `|value - label|` in model units, likewise.
    pub validation_absolute_error: f64,
    /// Whether this is the lowest validation loss so far.
    pub best: bool,
}

/// Where a fit is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
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
    /// The same epoch is done, and this is all that the next one begins with: what a checkpoint
    /// holds. Comes right after [`Progress::Epoch`].
    Session(&'a Session),
}

/// All that a fit is between two epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub(super) parameters: Vec<f32>,
    pub(super) adam: Adam,
    /// The training windows in the order of the last epoch, which the next one shuffles on.
    pub(super) order: Vec<usize>,
    pub(super) order_stream: Random,
    pub(super) dropout_stream: Random,
    pub(super) best: Best,
    pub(super) epochs: Vec<Epoch>,
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
    /// Cross-entropy for a network whose values are no probabilities.
    #[error("binary cross-entropy needs a network that ends in a sigmoid")]
    NoProbability,
    /// A session of another network or of other windows.
    #[error("the session is of another network or of another count of windows")]
    OtherSession,
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
    let session = Session::new(network, training.len(), recipe);
    fit_on(threads(), network, training, validation, recipe, session, observer)
}

/// As [`fit`], from where a session of the same network, windows and recipe stands; the recipe may
/// have other `epochs` and `patience`.
///
/// # Errors
/// As [`fit`], and [`FitError::OtherSession`].
pub fn resume(
    network: &Network,
    training: &Windows,
    validation: &Windows,
    recipe: &Recipe,
    session: Session,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    let fits = session.parameters.len() == network.parameter_count()
        && session.best.parameters.len() == network.parameter_count()
        && session.adam.parameter_count() == network.parameter_count()
        && session.order.len() == training.len()
        && session.order.iter().all(|at| *at < training.len());
    if !fits {
        return Err(FitError::OtherSession);
    }
    fit_on(threads(), network, training, validation, recipe, session, observer)
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
    mut session: Session,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    for (windows, name) in [(training, "training"), (validation, "validation")] {
        if windows.is_empty() {
            return Err(FitError::NoWindows(name));
        }
    }
    let read = recipe.loss.reads(network).ok_or(FitError::NoProbability)?;
    let mut lanes = Lanes::new(&read, training.steps(), recipe.batch, recipe.lanes, threads);
    loop {
        let done = session.epochs.len();
        if done >= session.best.epoch + recipe.patience {
            return session.finish(Stopped::Patience);
        }
        if done >= recipe.epochs {
            return session.finish(Stopped::Epochs);
        }
        let Some(training_loss) = session.train(&mut lanes, training, recipe, observer)? else {
            return session.finish(Stopped::Asked);
        };
        let epoch = session.validate(&mut lanes, validation, recipe.loss, training_loss)?;
        let stop = observer(Progress::Epoch(epoch)).is_break()
            || observer(Progress::Session(&session)).is_break();
        if stop {
            return session.finish(Stopped::Asked);
        }
    }
}

impl Session {
    /// Before the first epoch.
    fn new(network: &Network, windows: usize, recipe: &Recipe) -> Self {
        let parameters = network.initial_parameters(recipe.seed);
        Self {
            adam: Adam::new(recipe.learning_rate, parameters.len()),
            order: (0..windows).collect(),
            order_stream: Random::new(recipe.seed, Purpose::Order),
            dropout_stream: Random::new(recipe.seed, Purpose::Dropout),
            best: Best { parameters: parameters.clone(), epoch: 0, loss: f64::INFINITY },
            epochs: Vec::new(),
            parameters,
        }
    }

    /// The epochs that are done.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// One pass over the training windows; its mean loss, or `None` where the observer stops.
    fn train(
        &mut self,
        lanes: &mut Lanes<'_>,
        training: &Windows,
        recipe: &Recipe,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Option<f64>, FitError> {
        let epoch = self.epochs.len() + 1;
        self.order_stream.shuffle(&mut self.order);
        let total = self.order.len().div_ceil(recipe.batch);
        let mut mean = Mean::default();
        for (before, which) in self.order.chunks(recipe.batch).enumerate() {
            let dropout = &mut self.dropout_stream;
            let (loss, gradients) =
                lanes.gradients(&self.parameters, training, which, recipe.loss, dropout);
            if !loss.is_finite() {
                return Err(FitError::Diverged { epoch, what: "training", loss });
            }
            clip(gradients, recipe.clip_norm);
            self.adam.step(&mut self.parameters, gradients);
            mean.add(loss, which.len());
            let (done, training_loss) = (before + 1, mean.value());
            let progress = Progress::Batch { epoch, done, total, training_loss };
            if observer(progress).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(mean.value()))
    }

    /// The loss on the validation windows; ends the epoch.
    #[expect(clippy::cast_precision_loss, reason = "counts of windows are below 2^52")]
    fn validate(
        &mut self,
        lanes: &mut Lanes<'_>,
        validation: &Windows,
        loss: Loss,
        training_loss: f64,
    ) -> Result<Epoch, FitError> {
        let number = self.epochs.len() + 1;
        let values = lanes.predict(&self.parameters, validation);
        let mean = |sum: f64| sum / values.len() as f64;
        let validation_loss = mean(loss.sum(&values, validation.labels()));
        if !validation_loss.is_finite() {
            let (what, loss) = ("validation", validation_loss);
            return Err(FitError::Diverged { epoch: number, what, loss });
        }
        let epoch = Epoch {
            number,
            training_loss,
            validation_loss,
            validation_absolute_error: mean(loss.absolute_error(&values, validation.labels())),
            best: self.best.offer(&self.parameters, number, validation_loss),
        };
        self.epochs.push(epoch);
        Ok(epoch)
    }

    fn finish(self, stopped: Stopped) -> Result<Fit, FitError> {
        let Self { best, epochs, .. } = self;
        if best.epoch == 0 {
            return Err(FitError::NothingYet);
        }
        Ok(Fit { parameters: best.parameters, best_epoch: best.epoch, epochs, stopped })
    }
}

/// Scales gradients down to the Euclidean length `norm`; 0 leaves them as they are.
#[expect(clippy::cast_possible_truncation, reason = "gradients are 32-bit floats")]
fn clip(gradients: &mut [f32], norm: f64) {
    if norm > 0.0 {
        let length = gradients.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        if length > norm {
            let factor = (norm / length) as f32;
            gradients.iter_mut().for_each(|g| *g *= factor);
        }
    }
}

/// Parameters of the best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Best {
    pub(super) parameters: Vec<f32>,
    /// Counted from 1; 0 before the first.
    pub(super) epoch: usize,
    pub(super) loss: f64,
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
            attention: None,
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
            let session = Session::new(&network, training.len(), &recipe);
            let fit =
                fit_on(threads, &network, &training, &validation, &recipe, session, &mut onwards);
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
    fn a_session_goes_on_as_if_it_had_never_stopped() {
        let (training, validation) = (wave(70, 0), wave(20, 100));
        let network = small(0.2);
        let recipe = Recipe { epochs: 5, ..recipe() };
        let whole = fit(&network, &training, &validation, &recipe, &mut onwards).unwrap();
        let mut kept = None;
        let mut keep = |progress: Progress| {
            match progress {
                Progress::Session(session) if session.epochs().len() == 2 => {
                    kept = Some(session.clone());
                }
                // In the middle of an epoch that the session knows nothing of.
                Progress::Batch { epoch: 3, done: 2, .. } => return ControlFlow::Break(()),
                _ => {}
            }
            ControlFlow::Continue(())
        };
        fit(&network, &training, &validation, &recipe, &mut keep).unwrap();
        let kept = kept.unwrap();
        assert!(!kept.order.is_sorted(), "the windows are shuffled");
        let session = kept.clone();
        let again = resume(&network, &training, &validation, &recipe, session, &mut onwards);
        let again = again.unwrap();
        assert_eq!(bits(&again.parameters), bits(&whole.parameters));
        assert_eq!((again.epochs, again.best_epoch), (whole.epochs, whole.best_epoch));
        // Two epochs were asked for and two are done.
        let recipe = Recipe { epochs: 2, ..recipe };
        let session = kept.clone();
        let done = resume(&network, &training, &validation, &recipe, session, &mut onwards);
        assert_eq!(done.unwrap().epochs.len(), 2);
        let other = resume(&network, &wave(71, 0), &validation, &recipe, kept, &mut onwards);
        assert_eq!(other.unwrap_err(), FitError::OtherSession);
    }

    #[test]
    fn long_gradients_are_clipped_and_short_ones_left_alone() {
        let mut gradients = [3.0, -4.0];
        clip(&mut gradients, 0.0);
        clip(&mut gradients, 5.0);
        assert_eq!(gradients, [3.0, -4.0]);
        clip(&mut gradients, 2.5);
        assert_eq!(gradients, [1.5, -2.0]);

        // The fit does clip: with a tiny limit the first moments are as tiny.
        let (training, validation) = (wave(64, 0), wave(20, 100));
        let first_step = |clip_norm| {
            let recipe = Recipe { epochs: 1, batch: 64, clip_norm, ..recipe() };
            let mut length = 0.0_f32;
            let mut watch = |progress: Progress| {
                if let Progress::Session(session) = progress {
                    let squares = session.adam.moments().0.iter().map(|m| m * m);
                    length = squares.sum::<f32>().sqrt();
                }
                ControlFlow::Continue(())
            };
            fit(&small(0.0), &training, &validation, &recipe, &mut watch).unwrap();
            length
        };
        // The first moment is a tenth of the gradient.
        assert!((first_step(1e-3) - 1e-4).abs() < 1e-9, "{}", first_step(1e-3));
        assert!(first_step(0.0) > 1e-3);
    }

    #[test]
    fn a_classifier_is_fitted_by_cross_entropy() {
        let mut shape = small(0.0).architecture().clone();
        shape.dense[1].activation = Activation::Sigmoid;
        let network = Network::new(shape).unwrap();
        let classes = |wave: &Windows| {
            let mut windows = Windows::new(8, 2, 1);
            (0..wave.len()).for_each(|at| {
                let start = windows.push_rows(wave.window(at));
                windows.push_window(start, &[if wave.labels()[at] > 0.0 { 1.0 } else { 0.0 }]);
            });
            windows
        };
        let (training, validation) = (classes(&wave(256, 0)), classes(&wave(64, 1000)));
        let recipe = Recipe { epochs: 30, loss: Loss::BinaryCrossEntropy, ..recipe() };
        let fit = fit(&network, &training, &validation, &recipe, &mut onwards).unwrap();
        let best = fit.epochs[fit.best_epoch - 1];
        assert!(best.validation_loss < 0.15, "{best:?}");
        // What is kept are the parameters of the network with its sigmoid.
        let values = predict(&network, &fit.parameters, &validation);
        let errors = values.iter().zip(validation.labels()).map(|(y, t)| (y - t).abs());
        let error = f64::from(errors.sum::<f32>()) / 64.0;
        assert!((error - best.validation_absolute_error).abs() < 1e-6, "{error}, {best:?}");
        let refused = super::fit(&small(0.0), &training, &validation, &recipe, &mut onwards);
        assert_eq!(refused.unwrap_err(), FitError::NoProbability);
    }

    #[test]
    fn the_pinball_loss_learns_its_quantile() {
        // Inputs say nothing, labels are 0 to 99 hundredths: the quantile 0.8 is 0.8.
        let mut windows = Windows::new(8, 2, 1);
        let start = windows.push_rows(&[0.5; 16]);
        (0..100).for_each(|k| windows.push_window(start, &[k as f32 / 100.0]));
        let recipe = Recipe { epochs: 60, loss: Loss::Quantile(0.8), ..recipe() };
        let network = small(0.0);
        let fit = fit(&network, &windows, &windows, &recipe, &mut onwards).unwrap();
        let value = predict(&network, &fit.parameters, &windows)[0];
        assert!((value - 0.8).abs() < 0.03, "{value}");
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
