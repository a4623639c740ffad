//! Why a backtest ends early.
//!
//! Owns every reason. Never decides the exit code: `cli/backtest` does.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::adapters::file::FileError;
use crate::engine::inference::InferenceError;
use crate::engine::pipeline::PipelineError;
use crate::train::config::schedule::ScheduleError;
use crate::train::error::TrainError;

/// Why there is no summary.
#[derive(Debug, Error)]
pub enum BacktestError {
    /// The configuration or the history cannot be used.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// One fold cannot be divided, fitted or sealed.
    #[error("fold {number} of {count}: {source}")]
    Fold {
        /// Counted from 1.
        number: usize,
        /// How many folds there are.
        count: usize,
        /// Why not.
        source: Box<TrainError>,
    },
    /// The schedule gives no folds.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The history cannot be read a second time.
    #[error(transparent)]
    File(#[from] FileError),
    /// The engine does not take the model of a fold.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The engine fails.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The output cannot be read or written.
    #[error("`{}`: {action}: {source}", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The observer asked for it.
    #[error("the backtest was stopped; the same command goes on with the folds that are missing")]
    Stopped,
}

impl From<TrainError> for BacktestError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

impl BacktestError {
    /// For `map_err`: what the system says about a file or folder.
    pub(super) fn of<'p>(path: &'p Path, action: &'static str) -> impl Fn(io::Error) -> Self + 'p {
        move |source| Self::Output { path: path.to_owned(), action, source }
    }
}
