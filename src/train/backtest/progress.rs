//! What a backtest says while it runs.
//!
//! Owns the events and the names of fits. Never prints.

use std::fmt;
use std::ops::ControlFlow;

use super::record::FoldRecord;
use crate::train::fit::Progress;

/// One fit of a backtest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The fold, counted from 1.
    pub fold: usize,
    /// The seed.
    pub seed: u64,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// A model is fitted.
    Fit {
        /// Which one.
        place: Place,
        /// Where the fit is.
        progress: Progress<'e>,
    },
    /// A fitted model forecasts its test span.
    Replay {
        /// Which one.
        place: Place,
    },
    /// A model is fitted and judged.
    Done {
        /// Which one.
        place: Place,
        /// What it came to.
        record: &'e FoldRecord,
        /// Whether an earlier run did the work.
        is_reused: bool,
    },
}

/// Sees every event, from several threads at once, and may end the backtest. What is finished
/// stays.
pub type Observer<'o> = dyn Fn(Event<'_>) -> ControlFlow<()> + Sync + 'o;

/// The version of its model and the name of its folder.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "fold-{}-seed-{}", self.fold, self.seed)
    }
}
