//! Whether a model is better or worse than its baseline, or a shadow than the live model of its
//! seat, in words that looking does not spoil.
//!
//! Owns the evidence of one comparison, its words, and what the evidence of many symbols says
//! together. Promises that a reader who looks after every score and believes a word the first time
//! it is said is wrong about two equals in at most 5 of 100 comparisons, under the conditions that
//! `docs/scores.md` states; that the same differences give the same bits on every machine; and
//! O(1) for each score. Never sees a forecast or a truth: the difference of two losses is enough.
//!
//! | module | owns |
//! |---|---|
//! | `ledger` | the evidence of one comparison and the rule by which it is read |
//! | `pool` | the evidence of many symbols, whatever they have to do with each other |
//! | `steps` | many symbols as one series: the scores of a time are one observation |
//! | `rival` | what is stored of a shadow and the live model of its seat |

mod ledger;
mod pool;
mod rival;
mod steps;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::core::domain::UnixNanos;

pub use self::ledger::{BLOCKS_MIN, DIFFERENCE_MAX, Ledger, LedgerRule};
pub use self::pool::{POOL_LENGTH, Pool};
pub use self::rival::{RivalId, RivalLedger};
pub use self::steps::{Steps, VerdictPath};

/// The share of comparisons of equals in which a wrong word may ever be said.
pub const LEVEL: f64 = 0.05;

/// What a comparison has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// There are too few scores for any other word.
    #[default]
    TooEarly,
    /// The two may be equal.
    Undecided,
    /// The model has had the smaller loss.
    Better,
    /// The model has had the larger loss.
    Worse,
}

impl Word {
    /// Every word, each at its own index.
    pub const ALL: [Self; 4] = [Self::TooEarly, Self::Undecided, Self::Better, Self::Worse];

    /// The word as it is written.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooEarly => "too_early",
            Self::Undecided => "undecided",
            Self::Better => "better",
            Self::Worse => "worse",
        }
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.label())
    }
}

/// What a comparison has come to, with the figures behind the word.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The word.
    pub word: Word,
    /// The truth time since which the word has been the same; `None` while it is too early.
    pub since: Option<UnixNanos>,
    /// How many scores were counted.
    pub scores: u64,
    /// The mean of `loss(baseline) - loss(model)` over the scores in whole blocks: above zero
    /// where the model was better. Zero before the first block is whole.
    pub mean_difference: f64,
    /// The confidence sequence of that mean; `None` while it has no bounds.
    pub limits: Option<[f64; 2]>,
    /// The natural logarithm of the e-value against "equal": how many times more probable the
    /// differences are if the two are not equal.
    pub log_e_value: f64,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            word: Word::TooEarly,
            since: None,
            scores: 0,
            mean_difference: 0.0,
            limits: None,
            log_e_value: 0.0,
        }
    }
}
