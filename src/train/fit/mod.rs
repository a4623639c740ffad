//! The training loop.
//!
//! Owns: epochs, early stopping, and which parameters are kept: those of the epoch with the lowest
//! monitored value. All that changes from epoch to epoch is in a [`FitState`].
//!
//! Promises: the result depends on the data, the recipe and the machine's vector units, not on the
//! count of threads or on who watches, and a fit that goes on from a state ends with the bits of
//! one that was never interrupted. A loss that is not a number ends the fit with an error.
//!
//! Never: prints, reads a clock or touches a file; whoever wants to show progress or to stop early
//! does so through the observer.

pub(super) mod adam;
pub mod carried;
pub mod checkpoint;
mod epoch;
mod examples;
pub(super) mod lanes;
pub(super) mod lessons;
pub mod loss;
mod rate;
pub(super) mod recipe;
mod state;
mod stopping;
pub(super) mod threads;
pub(super) mod weights;

use std::ops::ControlFlow;

use thiserror::Error;

pub use self::epoch::Epoch;
pub use self::examples::Examples;
use self::lanes::Lanes;
pub use self::lessons::Labelled;
pub use self::rate::{RateSchedule, RateShape};
pub use self::recipe::Recipe;
pub(super) use self::state::Best;
pub use self::state::FitState;
pub use self::stopping::Monitor;
use self::stopping::waited;
use self::threads::threads;
pub use self::weights::WeightRule;
use super::network::Network;
use super::windows::Windows;

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
    State(&'a FitState),
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs are done.
    Epochs,
    /// No improvement for as many epochs as the recipe's patience.
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
    /// A state of another network or of other examples.
    #[error("the session is of another network or of another count of examples")]
    OtherSession,
}

/// Fits `network` to the training part. The observer is told of every batch and epoch and can end
/// the fit; the best parameters so far are then the result.
///
/// # Errors
/// [`FitError`] where a part has no window, the loss leaves the finite numbers, or the observer
/// stops before there is anything to keep.
pub fn fit(
    network: &Network,
    examples: Examples<'_>,
    recipe: &Recipe,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    fit_on(threads(), network, examples, recipe, None, observer)
}

/// As [`fit`], from a state of the same network, examples and recipe. The recipe may end the fit
/// elsewhere: by other `epochs`, `patience`, `min_delta` and `start_epoch`.
///
/// # Errors
/// As [`fit`], and [`FitError::OtherSession`].
pub fn resume(
    network: &Network,
    examples: Examples<'_>,
    recipe: &Recipe,
    state: FitState,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    fit_on(threads(), network, examples, recipe, Some(state), observer)
}

/// The network's values for all windows, in order, `[n, K]`; no dropout.
pub fn predict(network: &Network, parameters: &[f32], windows: &Windows) -> Vec<f32> {
    let threads = threads();
    Lanes::new(network, windows.steps(), 1, threads, threads).predict(parameters, windows)
}

/// As [`fit`] or [`resume`], on at most so many threads, which change no bit of the result.
pub(super) fn fit_on(
    threads: usize,
    network: &Network,
    examples: Examples<'_>,
    recipe: &Recipe,
    state: Option<FitState>,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, FitError> {
    let read = recipe.loss.reads(network).ok_or(FitError::NoProbability)?;
    let mut lessons = examples.lessons(&read, recipe, threads)?;
    let [_, validation] = examples.labels();
    let mut state = match state {
        Some(state) if state.fits(network, lessons.items()) => state,
        Some(_) => return Err(FitError::OtherSession),
        None => FitState::new(network, lessons.items(), recipe),
    };
    loop {
        let done = state.epochs.len();
        if waited(&state.epochs, recipe) >= recipe.patience {
            return state.finish(Stopped::Patience);
        }
        if done >= recipe.epochs {
            return state.finish(Stopped::Epochs);
        }
        let trained = state.train(&mut *lessons, recipe, network.weights(), observer)?;
        let Some(training_loss) = trained else {
            return state.finish(Stopped::Asked);
        };
        let epoch = state.validate(&mut *lessons, validation, recipe, training_loss)?;
        let stop = observer(Progress::Epoch(epoch)).is_break()
            || observer(Progress::State(&state)).is_break();
        if stop {
            return state.finish(Stopped::Asked);
        }
    }
}

#[cfg(test)]
mod tests;
