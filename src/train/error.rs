//! Why a training run gives no bundle.
//!
//! Owns every reason, each with the key of the configuration that it concerns. Never decides the
//! exit code: `cli/train` does.

use thiserror::Error;

use super::dataset::DatasetError;
use super::fit::FitError;
use super::history::HistoryError;
use super::network::ArchitectureError;
use super::symbols::SymbolsError;
use crate::core::features::{FeatureError, ScalerError};
use crate::engine::model::BundleError;
use crate::train::fit::checkpoint::CheckpointError;
use crate::train::logs::LogError;

/// Why there is no bundle.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The version is there already, or the folder of models cannot be listed.
    #[error("model.version: {0}")]
    Version(String),
    /// The features cannot be resolved.
    #[error("window.features: {0}")]
    Features(#[from] FeatureError),
    /// The network cannot be built.
    #[error("network: {0}")]
    Network(#[from] ArchitectureError),
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The history cannot be divided and scaled.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A walk-forward fold cannot be divided and scaled.
    #[error("evaluate.folds: fold {number} of {count}: {source}")]
    Fold {
        /// Counted from 1.
        number: usize,
        /// How many folds.
        count: usize,
        /// Why not.
        source: DatasetError,
    },
    /// The table of static numbers does not fit the history.
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
    /// The label's scaler cannot be inverted.
    #[error("target: {0}")]
    Target(#[from] ScalerError),
    /// A weight of a symbol that the history does not have.
    #[error("fit.weights.symbol: `{0}` is not a symbol of the history")]
    WeightOf(String),
    /// The fit gave nothing.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The checkpoint cannot be read, written or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The bundle cannot be written or does not stand the proof.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}
