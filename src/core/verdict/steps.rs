//! Many symbols as one series: all scores of a truth time are one observation.
//!
//! Owns the observations until they are read. A difference is divided by the mean absolute
//! difference that its symbol has had before, so that no symbol outweighs others by its unit; the
//! quotients of a time are averaged, and the averages go into a [`Ledger`] in the order of time.
//! Symbols that move together then count once, and not once each.
//!
//! Promises that the order in which symbols come does not matter, as long as each of them comes in
//! the order of time. Needs memory for each time, so it is for recorded input alone.

use std::collections::BTreeMap;

use super::{Ledger, LedgerRule, Verdict};
use crate::core::domain::UnixNanos;

/// Differences of a symbol that set its scale before one counts.
const SCALE_SCORES_MIN: u32 = 30;

/// The series that many symbols make.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    scales: BTreeMap<String, Scale>,
    observations: BTreeMap<UnixNanos, Observation>,
}

/// The mean absolute difference of one symbol.
#[derive(Clone, Copy, Debug, Default)]
struct Scale {
    scores: u32,
    mean: f64,
}

/// The quotients of one time.
#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    quotients: u32,
    sum: f64,
}

impl Steps {
    /// No observation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `loss(baseline) - loss(model)` of a symbol's next score, whose truth came at `at`.
    pub fn take(&mut self, symbol: &str, difference: f64, at: UnixNanos) {
        if !self.scales.contains_key(symbol) {
            self.scales.insert(symbol.to_owned(), Scale::default());
        }
        let Some(scale) = self.scales.get_mut(symbol) else { return };
        if scale.scores >= SCALE_SCORES_MIN && scale.mean > 0.0 {
            let observation = self.observations.entry(at).or_default();
            observation.quotients += 1;
            observation.sum += difference / scale.mean;
        }
        scale.scores = scale.scores.saturating_add(1);
        scale.mean += (difference.abs() - scale.mean) / f64::from(scale.scores);
    }

    /// How many symbols came.
    pub fn symbols(&self) -> usize {
        self.scales.len()
    }

    /// What all symbols together have come to. Its difference is in mean absolute differences, and
    /// its scores are times.
    pub fn verdict(&self, rule: &LedgerRule) -> Verdict {
        let mut ledger = Ledger::new();
        for (at, observation) in &self.observations {
            ledger.take(rule, observation.sum / f64::from(observation.quotients), *at);
        }
        ledger.verdict(rule)
    }
}
