//! What a training run gives, and sealing it.
//!
//! Owns the result while it is in memory. Promises that a checkpoint outlives a fit that was
//! stopped. Never fits or evaluates.

use std::path::{Path, PathBuf};

use super::assess::Assessment;
use super::error::TrainError;
use super::fit::{Fit, Stopped};
use super::repeat::Repeats;
use crate::engine::inference::Runtime;
use crate::engine::model::Draft;

/// What a run gives, still in memory.
#[derive(Clone, Debug)]
pub struct Trained {
    /// How the fit went.
    pub fit: Fit,
    /// How the model did.
    pub assessment: Assessment,
    /// How other seeds and folds did, once they ran.
    pub repeats: Repeats,
    /// What would be sealed.
    pub draft: Draft,
    /// Where the fit's checkpoint lies.
    pub(super) checkpoint: PathBuf,
}

impl Trained {
    /// Writes the bundle below `root`, proved by ONNX Runtime before it counts; gives its folder.
    /// The checkpoint of a fit that ended by itself is then of no more use and removed; that of one
    /// that was stopped stays.
    ///
    /// # Errors
    /// [`TrainError::Bundle`]; the place is then untouched.
    pub fn seal(self, root: &Path, runtime: &dyn Runtime) -> Result<PathBuf, TrainError> {
        let folder = self.draft.seal(root, runtime)?;
        if self.fit.stopped != Stopped::Asked {
            // Left behind it does no harm: the next run replaces it.
            let _ = std::fs::remove_file(&self.checkpoint);
        }
        Ok(folder)
    }
}
