//! Which model runs, as an operator chooses it.

use std::path::PathBuf;

use super::manifest::Mode;

/// Which model runs, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// The folder of models.
    pub root: PathBuf,
    /// The model's name.
    pub name: String,
    /// A version or `latest`.
    pub version: String,
    /// How it is driven; `None` chooses `sliding` where the model serves it.
    pub mode: Option<Mode>,
    /// Whether another version in the folder is taken over unasked.
    pub watch: bool,
}
