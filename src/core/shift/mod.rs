//! Whether the inputs of a symbol still have the distribution that its model was trained on.
//!
//! Owns the distribution of each feature over the training part, the counts of each symbol's newest
//! rows, their distance, and its limit. The distance is the population stability index: the sum of
//! `(q - p) ln(q / p)` over the cells of a feature, where `p` is the share of the training rows in
//! a cell and `q` that of the symbol's newest rows. Half a row is added to each cell on both sides.
//!
//! Promises: O(features) for each row, without an allocation; judgements depend on the symbol's
//! rows alone and have the same bits on every machine. Never changes the value of a forecast, and
//! never sees a truth: [`core::score`](crate::core::score) judges errors.
//!
//! | module | owns |
//! |---|---|
//! | `spec` | the section of a bundle |
//! | `fit` | how it is made of the training rows |
//! | `plan` | cells, distances and limits, ready for use |
//! | `book` | all symbols of an engine |

mod book;
mod fit;
mod plan;
mod spec;
#[cfg(test)]
mod tests;

pub use self::book::{ShiftBook, ShiftState, ShiftTally};
pub use self::fit::{fit, fit_blocks};
pub use self::plan::ShiftPlan;
pub use self::spec::{DistributionSpec, FeatureDistribution};

/// Into how many cells of equal frequency the training values of a feature are divided, where they
/// have enough different values.
const BINS: usize = 10;

/// The cells of a feature: its bins, and what lies below and above all training values.
const CELLS_MAX: usize = BINS + 2;

/// The fewest and the most rows of memory that a bundle may ask for. Counts are bytes.
const MEMORY_ROWS: std::ops::RangeInclusive<u32> = 64..=240;
