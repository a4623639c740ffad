//! The proof of a bundle, before anything rests on it.
//!
//! Owns the seam behind which the proof stands. Promises that a bundle that is handed out was read,
//! checked, opened and run on its golden vectors once. Never decides what to do with a refusal.

use std::path::Path;
use std::sync::Arc;

use super::{Pipeline, PipelineError, PipelineSettings};
use crate::engine::inference::Runtime;
use crate::engine::model::{Bundle, BundleError};

/// Why there is no proved bundle.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// The bundle is at fault.
    #[error(transparent)]
    Refused(#[from] BundleError),
    /// The proof did not end; it says nothing about the bundle.
    #[error("the proof was interrupted: {0}")]
    Interrupted(String),
}

/// What proves bundles.
pub trait Prover: Send + Sync {
    /// Proves the bundle in a folder and reads it. `goes_on` is asked from time to time where the
    /// proof can be interrupted.
    ///
    /// # Errors
    /// [`Unproven`].
    fn prove(
        &self,
        folder: &Path,
        settings: &PipelineSettings,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Bundle, Unproven>;
}

/// Proves in this process, without limits: a graph that hangs or takes all memory does so here.
#[derive(Clone)]
pub struct InProcess(pub Arc<dyn Runtime>);

impl Prover for InProcess {
    fn prove(
        &self,
        folder: &Path,
        settings: &PipelineSettings,
        _: &dyn Fn() -> bool,
    ) -> Result<Bundle, Unproven> {
        let bundle = Bundle::read(folder)?;
        match Pipeline::build(&bundle, &*self.0, settings) {
            Ok(_) => Ok(bundle),
            Err(PipelineError::Bundle(refusal)) => Err(refusal.into()),
            Err(other) => Err(BundleError::new(folder, vec![other.to_string()]).into()),
        }
    }
}
