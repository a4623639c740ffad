//! The options of `tickcast train` that concern a search.
//!
//! Owns their words. Never starts a search.

use std::path::PathBuf;

use crate::train::search::TRIALS_MAX;

/// Options of a search.
#[derive(Debug, clap::Args)]
pub(super) struct SearchOptions {
    /// Search for a configuration, by the settings in this file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["config", "models", "seed", "seeds", "version", "resume", "start"]
    )]
    pub(super) search: Option<PathBuf>,
    /// Shuffle what is learned, as a check of the search: nothing must be found
    #[arg(long, requires = "search")]
    pub(super) random_target: bool,
    /// The most trials of the search, instead of its file's
    #[arg(long, value_name = "COUNT", requires = "search", value_parser = trials)]
    pub(super) trials: Option<usize>,
    /// The folder of the search, instead of <output>/<name>
    #[arg(long, value_name = "FOLDER", requires = "search")]
    pub(super) output: Option<PathBuf>,
}

/// The argument of `--trials`.
fn trials(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=TRIALS_MAX).contains(count));
    count.ok_or_else(|| format!("must be a whole number from 1 to {TRIALS_MAX}"))
}
