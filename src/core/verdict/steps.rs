//! Many symbols as one series: all scores of a truth time are one observation.
//!
//! Owns the observations until they are read. A difference is divided by the mean absolute
//! difference that its symbol has had before, so that no symbol outweighs others by its unit; the
//! quotients of a time are averaged, and the averages go into a [`Ledger`] in the order of time.
//! Symbols that move together then count once, and not once each.
//!
//! Promises that the order in which symbols come does not matter, as long as each of them comes in
//! the order of time. Needs memory for each time, so it is for recorded input alone. With a bound
//! ([`Steps::bounded`]) the oldest times are read early, and what comes for them later is counted
//! and left out.

use std::collections::BTreeMap;

use super::{Ledger, LedgerRule, Verdict};
use crate::core::domain::UnixNanos;

/// The most points of a path.
const PATH_POINTS_MAX: usize = 1000;

/// Differences of a symbol that set its scale before one counts.
const SCALE_SCORES_MIN: u32 = 30;

/// The series that many symbols make.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    scales: BTreeMap<String, Scale>,
    observations: BTreeMap<UnixNanos, Observation>,
    bound: Option<Bound>,
}

/// What keeps the memory bounded.
#[derive(Clone, Debug)]
struct Bound {
    rule: LedgerRule,
    /// The most times that are kept.
    times_max: usize,
    read: Read,
    /// The newest time that was read.
    until: Option<UnixNanos>,
    /// Scores that came for a time that had been read.
    late: u64,
}

/// What has been read, and how the evidence came about.
#[derive(Clone, Debug, Default)]
struct Read {
    ledger: Ledger,
    path: VerdictPath,
}

/// The verdict over time: a bounded number of points, evenly thinned.
#[derive(Clone, Debug)]
pub struct VerdictPath {
    points: Vec<(UnixNanos, Verdict)>,
    /// One of so many points is kept.
    stride: u32,
    /// How many came since the last one that was kept.
    skipped: u32,
}

impl Default for VerdictPath {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, skipped: 0 }
    }
}

impl VerdictPath {
    /// Takes the next point.
    pub fn push(&mut self, at: UnixNanos, verdict: Verdict) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.points.push((at, verdict));
        if self.points.len() >= PATH_POINTS_MAX {
            let mut at = 0_usize;
            // The last of each pair stays, so that the path ends where it did.
            self.points.retain(|_| {
                at += 1;
                at.is_multiple_of(2)
            });
            self.stride *= 2;
        }
    }

    /// The points, in order.
    pub fn points(&self) -> &[(UnixNanos, Verdict)] {
        &self.points
    }
}

impl Read {
    fn take(&mut self, rule: &LedgerRule, at: UnixNanos, observation: &Observation) {
        let mean = observation.sum / f64::from(observation.quotients);
        if self.ledger.take(rule, mean, at) {
            self.path.push(at, self.ledger.verdict(rule));
        }
    }
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

    /// The same with at most `times_max` times in memory, of a model whose evidence `rule` reads.
    pub fn bounded(rule: LedgerRule, times_max: usize) -> Self {
        let read = Read::default();
        let bound = Bound { rule, times_max: times_max.max(1), read, until: None, late: 0 };
        Self { bound: Some(bound), ..Self::default() }
    }

    /// Takes `loss(baseline) - loss(model)` of a symbol's next score, whose truth came at `at`.
    pub fn take(&mut self, symbol: &str, difference: f64, at: UnixNanos) {
        if !self.scales.contains_key(symbol) {
            self.scales.insert(symbol.to_owned(), Scale::default());
        }
        let Some(scale) = self.scales.get_mut(symbol) else { return };
        let is_late = self.bound.as_ref().is_some_and(|bound| bound.until >= Some(at));
        if scale.scores >= SCALE_SCORES_MIN && scale.mean > 0.0 && !is_late {
            let observation = self.observations.entry(at).or_default();
            observation.quotients += 1;
            observation.sum += difference / scale.mean;
        }
        scale.scores = scale.scores.saturating_add(1);
        scale.mean += (difference.abs() - scale.mean) / f64::from(scale.scores);
        let Self { observations, bound: Some(bound), .. } = self else { return };
        bound.late += u64::from(is_late);
        while observations.len() > bound.times_max {
            let Some((at, observation)) = observations.pop_first() else { return };
            bound.read.take(&bound.rule, at, &observation);
            bound.until = Some(at);
        }
    }

    /// How many symbols came.
    pub fn symbols(&self) -> usize {
        self.scales.len()
    }

    /// What all symbols together have come to. Its difference is in mean absolute differences, and
    /// its scores are times.
    pub fn verdict(&self, rule: &LedgerRule) -> Verdict {
        self.read(rule).ledger.verdict(rule)
    }

    /// How the verdict came about, a point for each whole block.
    pub fn path(&self, rule: &LedgerRule) -> VerdictPath {
        self.read(rule).path
    }

    /// Scores that came too late for their time, and are missing; none without a bound.
    pub fn late(&self) -> u64 {
        self.bound.as_ref().map_or(0, |bound| bound.late)
    }

    fn read(&self, rule: &LedgerRule) -> Read {
        let mut read = self.bound.as_ref().map_or_else(Read::default, |bound| bound.read.clone());
        for (at, observation) in &self.observations {
            read.take(rule, *at, observation);
        }
        read
    }
}
