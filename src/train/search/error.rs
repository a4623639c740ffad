//! Why a search ends without a winner.
//!
//! Owns every reason. Never decides the exit code: `cli/search` does.

use std::io;
use std::path::{Path, PathBuf};

use crate::app::config::ConfigError;
use crate::train::error::TrainError;

/// Why there is no winner.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration that is varied cannot be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The history is too short for a test part.
    #[error("the history is too short for a test part and folds before it")]
    NoTest,
    /// A fold cannot be divided and scaled.
    #[error("folds: fold {number}: {source}; ask for fewer folds")]
    Fold {
        /// Counted from 1.
        number: usize,
        /// Why not.
        source: Box<TrainError>,
    },
    /// A fold has no forecast that every trial makes.
    #[error(
        "folds: fold {number} has no forecast of the longest window, {window} steps, with a \
         horizon of {horizon}: ask for fewer folds or shorter windows"
    )]
    ShortFold {
        /// Counted from 1.
        number: usize,
        /// The longest window of any trial.
        window: usize,
        /// The horizon.
        horizon: usize,
    },
    /// No trial has a figure.
    #[error("no trial could be fitted; the first one: {0}")]
    NoTrial(String),
    /// The folder holds another search.
    #[error(
        "output: {} holds another search (its settings, configuration, history or release \
         differ): name another folder, or remove it",
        folder.display()
    )]
    Other {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("output: {action} {}: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl SearchError {
    /// For a file of the output.
    pub(super) fn of(path: &Path, action: &'static str) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Output { path: path.clone(), action, source }
    }
}
