//! The evidence of one comparison: what is kept of the differences of two losses, and how it is
//! read.
//!
//! Owns the running figures and the word that they have come to. Differences are averaged over
//! blocks of consecutive scores, so that what is correlated within a block counts once. The means
//! of blocks go into the scale-invariant e-process for a normal mean of unknown variance (Lai,
//! 1976, doi:10.1214/aos/1176343406; Wang and Ramdas, 2023, arXiv:2310.03722), with a normal prior
//! on the size of the effect. With `n` blocks of mean `m` and variance `v` (divided by `n`), and
//! `c` the precision of the prior:
//!
//! ```text
//! ln E = ½ ln(c / (n + c)) + n/2 ln(1 + n m² / ((n + c) v + c m²))
//! ```
//!
//! The confidence sequence is the set of means that the same e-process does not reject.
//!
//! Promises: O(1) and small; a change of unit by a power of two changes no bit of the e-value and
//! no word; swapping model and baseline mirrors everything exactly. Never forgets a score.

use serde::{Deserialize, Serialize};

use super::{Verdict, Word};
use crate::core::domain::UnixNanos;

/// Blocks before the first word: the mean of few blocks of heavy-tailed differences is far from
/// normal.
pub const BLOCKS_MIN: u32 = 10;

/// The shortest block. At an autocorrelation of the errors of 0.9, the means of blocks of 20 are
/// correlated enough to raise the alarms among equals above the level; those of 30 are not.
const BLOCK_SCORES_MIN: u32 = 30;

/// A block is as many horizons long: truths that overlap correlate within one horizon.
const BLOCK_HORIZONS: u32 = 10;

/// The precision of the prior on the mean of a block, in standard deviations of a block. A model
/// that is 10 % worse shifts the mean of 30 scores by about 0.6 of them. A larger precision finds
/// small effects sooner and exhausts the level sooner, too.
const PRIOR_PRECISION: f64 = 1.0;

/// Differences beyond it, on either side, count as this: their squares over all blocks stay finite.
pub const DIFFERENCE_MAX: f64 = 1e140;

/// How the evidence of one model's comparisons is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LedgerRule {
    block_scores: u32,
    level: f64,
}

/// The evidence of one comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Whole blocks.
    blocks: u32,
    /// Of the means of whole blocks.
    mean: f64,
    /// The sum of their squared deviations from it.
    deviations: f64,
    /// Scores of the block that is being filled.
    open_scores: u32,
    /// The sum of their differences.
    open_sum: f64,
    word: Word,
    since: Option<UnixNanos>,
}

impl LedgerRule {
    /// The rule for forecasts so many steps ahead. `level` is the share of comparisons of equals
    /// in which a wrong word may ever be said: above 0 and below 1.
    pub fn new(horizon_steps: u32, level: f64) -> Self {
        let block_scores = horizon_steps.saturating_mul(BLOCK_HORIZONS).max(BLOCK_SCORES_MIN);
        Self { block_scores, level }
    }

    /// Scores of one block.
    pub const fn block_scores(&self) -> u32 {
        self.block_scores
    }

    /// The share of comparisons of equals in which a wrong word may ever be said.
    pub const fn level(&self) -> f64 {
        self.level
    }

    /// Scores before the first word.
    pub fn scores_min(&self) -> u64 {
        u64::from(self.block_scores) * u64::from(BLOCKS_MIN)
    }
}

impl Ledger {
    /// No evidence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `loss(baseline) - loss(model)` of the next score, whose truth came at `at`. Returns
    /// whether a block became whole, without which no figure and no word changes.
    pub fn take(&mut self, rule: &LedgerRule, difference: f64, at: UnixNanos) -> bool {
        self.open_sum += difference.clamp(-DIFFERENCE_MAX, DIFFERENCE_MAX);
        self.open_scores += 1;
        if self.open_scores < rule.block_scores {
            return false;
        }
        let mean = self.open_sum / f64::from(self.open_scores);
        (self.open_scores, self.open_sum) = (0, 0.0);
        // Welford's update, of which no sum of large squares is ever subtracted.
        self.blocks = self.blocks.saturating_add(1);
        let apart = mean - self.mean;
        self.mean += apart / f64::from(self.blocks);
        self.deviations += apart * (mean - self.mean);
        let word = self.word_by(rule);
        if word != self.word {
            (self.word, self.since) = (word, Some(at));
        }
        true
    }

    /// The word.
    pub const fn word(&self) -> Word {
        self.word
    }

    /// The truth time since which the word has been the same; `None` while it is too early.
    pub const fn since(&self) -> Option<UnixNanos> {
        self.since
    }

    /// The mean of the differences over the scores in whole blocks; zero without one.
    pub const fn mean_difference(&self) -> f64 {
        self.mean
    }

    /// What the evidence has come to.
    pub fn verdict(&self, rule: &LedgerRule) -> Verdict {
        let whole = u64::from(self.blocks) * u64::from(rule.block_scores);
        Verdict {
            word: self.word,
            since: self.since,
            scores: whole + u64::from(self.open_scores),
            mean_difference: self.mean,
            limits: self.limits(rule),
            log_e_value: self.log_e_value(),
        }
    }

    /// The natural logarithm of the e-value against "equal".
    pub fn log_e_value(&self) -> f64 {
        self.log_e_value_of(0.0)
    }

    /// Whether it can have come about by a rule.
    pub fn is_possible(&self, rule: &LedgerRule) -> bool {
        // Rounding may lift a mean of equal differences a little.
        let largest = 2.0 * DIFFERENCE_MAX;
        self.open_scores < rule.block_scores
            && self.mean.abs() <= largest
            && self.deviations >= 0.0
            && self.deviations.is_finite()
            && self.open_sum.abs() <= largest * f64::from(self.open_scores)
            && (self.word == Word::TooEarly) == (self.blocks < BLOCKS_MIN)
            && (self.word == Word::TooEarly) == self.since.is_none()
    }

    /// The same against the mean being `mean`.
    pub(super) fn log_e_value_of(&self, mean: f64) -> f64 {
        if self.blocks == 0 {
            return 0.0;
        }
        let (count, prior) = (f64::from(self.blocks), PRIOR_PRECISION);
        let apart = self.mean - mean;
        let (variance, square) = (self.deviations / count, apart * apart);
        let rest = (count + prior) * variance + prior * square;
        // Without any variation and any mean nothing speaks against "equal".
        let ratio = if rest > 0.0 { count * square / rest } else { 0.0 };
        0.5 * libm::log(prior / (count + prior)) + 0.5 * count * libm::log1p(ratio)
    }

    /// The means that are not rejected, as an interval; `None` while every mean is possible.
    fn limits(&self, rule: &LedgerRule) -> Option<[f64; 2]> {
        let (count, prior) = (f64::from(self.blocks), PRIOR_PRECISION);
        if self.blocks == 0 {
            return None;
        }
        let bound = libm::log((count + prior) / (rule.level * rule.level * prior)) / count;
        let above = libm::expm1(bound);
        let room = count - prior * above;
        if room <= 0.0 {
            return None;
        }
        let variance = self.deviations / count;
        let half = (variance * above * (count + prior) / room).sqrt();
        Some([self.mean - half, self.mean + half])
    }

    fn word_by(&self, rule: &LedgerRule) -> Word {
        if self.blocks < BLOCKS_MIN {
            return Word::TooEarly;
        }
        match self.limits(rule) {
            Some([lower, _]) if lower > 0.0 => Word::Better,
            Some([_, upper]) if upper < 0.0 => Word::Worse,
            _ => Word::Undecided,
        }
    }
}
