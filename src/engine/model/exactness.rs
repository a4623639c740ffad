//! How the rows of one run of a model relate: what was measured and what the engine may do.
//!
//! Owns the on-disk shape of `exactness` and the rule in it. Promises that a bundle without it is
//! held to the strictest: equal bits in every batch. Never runs a model.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a model's rows may be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// A row has the same bits alone and in any batch.
    #[default]
    Batched,
    /// A row has other bits in a batch than alone, so the engine runs one row at a time.
    Alone,
}

/// What was measured of a model before it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exactness {
    /// How its rows may be run.
    pub rows: Rows,
    /// How many windows the measurement had.
    pub windows: u32,
    /// The largest difference of an output between a window alone and in a batch, in model units;
    /// 0 where `rows` is `batched`, and where the graph takes one row at a time.
    pub largest_difference: f32,
}

impl fmt::Display for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Batched => "batched",
            Self::Alone => "alone",
        })
    }
}

impl Exactness {
    /// Checks the rules inside it.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let Self { rows, windows, largest_difference } = *self;
        if windows == 0 {
            problems.push("exactness.windows: must be at least 1".to_owned());
        }
        if !(largest_difference >= 0.0 && largest_difference.is_finite()) {
            problems.push(format!(
                "exactness.largest_difference: {largest_difference} is not a finite number from 0"
            ));
        } else if rows == Rows::Batched && largest_difference > 0.0 {
            problems.push(format!(
                "exactness.largest_difference: {largest_difference}, but `batched` rows have \
                 none; such a model needs rows = `alone`"
            ));
        }
    }
}
