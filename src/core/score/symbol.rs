//! What is kept of one symbol until its forecasts come true, and what is known of them since.
//!
//! Owns the forecasts that wait, at most one for each step of the horizon, and the sums over those
//! that were scored. Promises that what it says follows from the symbol's steps and forecasts
//! alone, that a step costs the same however many there were, and that it is small and
//! serialisable. Never allocates once it was made.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::measure::direction_hit;
use super::stretch::Stretch;
use super::{Score, ScorePlan, ScoreTally, Sums, Unscored};
use crate::core::domain::{Forecast, Quality, Step, SymbolId, UnixNanos};
use crate::core::forecast::Margins;
use crate::core::verdict::Verdict;

/// By which older scores count less with each new one: the sums are about the last 100 scores, and
/// half of their weight is on the last 69.
const DECAY: f64 = 0.99;

/// The scores of one symbol: what waits and what is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolScores {
    /// The last steps, oldest first; at most as many as the horizon has.
    steps: VecDeque<Past>,
    /// Over scores of the past, older ones with less weight.
    sums: Sums,
    /// How many scores there were, as far as it matters.
    count: u32,
    stretch: Stretch,
    drift: Drift,
}

/// A step whose truth is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Past {
    /// What its truth will be made of.
    reading: Option<f64>,
    /// The naive forecast at this step.
    baseline: Option<f64>,
    forecast: Option<Waiting>,
}

/// A forecast that waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    as_of: UnixNanos,
    target_time: UnixNanos,
    value: f64,
    lower: f64,
    upper: f64,
    quality: Quality,
    out_of_range: bool,
}

impl SymbolScores {
    /// Nothing waits and nothing is known.
    pub(super) fn new(plan: &ScorePlan) -> Self {
        Self {
            steps: VecDeque::with_capacity(plan.kept_steps()),
            sums: Sums::default(),
            count: 0,
            stretch: Stretch::default(),
            drift: Drift::default(),
        }
    }

    /// Takes over what was at rest, which must fit.
    pub(super) fn clone_from_rest(&mut self, rest: &Self) {
        let Self { steps, sums, count, stretch, drift } = rest;
        self.steps.extend(steps);
        (self.sums, self.count, self.stretch, self.drift) = (*sums, *count, *stretch, *drift);
    }

    /// Whether this, from rest, can be of a symbol of this plan.
    pub(super) fn fits(&self, plan: &ScorePlan) -> bool {
        self.steps.len() <= plan.kept_steps()
            && self.sums.are_possible()
            && self.stretch.is_possible()
            && self.drift.is_possible()
    }

    /// The sums over past scores.
    pub(super) const fn sums(&self) -> Sums {
        self.sums
    }

    /// Whether its errors drift.
    pub(super) fn is_drifting(&self) -> bool {
        self.drift.is_marked()
    }

    /// How many forecasts wait.
    pub(super) fn waiting(&self) -> u64 {
        self.steps.iter().filter(|past| past.forecast.is_some()).count() as u64
    }

    /// The margins of its next forecast.
    pub(super) fn margins(&self, plan: &ScorePlan) -> Margins {
        if plan.adapts() { plan.stretched(self.stretch.factor()) } else { plan.margins }
    }

    /// Takes a step, and scores the forecast that it is the truth of.
    pub(super) fn step(
        &mut self,
        plan: &ScorePlan,
        symbol: SymbolId,
        step: &Step,
        tally: &mut ScoreTally,
    ) -> Option<Score> {
        if step.after_gap {
            // Which step would have been the target is not known any more.
            self.forget(tally, Unscored::Gap);
        }
        let reading = plan.truth.reading(&step.fields);
        let due = if self.steps.len() < plan.kept_steps() { None } else { self.steps.pop_front() };
        let before = due.and_then(|due| due.reading);
        let baseline = plan.truth.persistence_of_readings(before, reading);
        if plan.keeps() {
            self.steps.push_back(Past { reading, baseline, forecast: None });
        }
        let due = due?;
        let waiting = due.forecast?;
        tally.waiting -= 1;
        let outcome = plan.truth.between_readings(due.reading, reading);
        let judged = match (outcome, due.baseline) {
            _ if step.patched => Err(Unscored::Patched),
            (None, _) => Err(Unscored::NoTruth),
            (Some(_), None) => Err(Unscored::NoBaseline),
            (Some(truth), Some(baseline)) => {
                self.judge(plan, symbol, waiting, step.time, truth, baseline, tally)
            }
        };
        judged.map_err(|reason| tally.add(reason, 1)).ok()
    }

    /// Takes the forecast of the newest step.
    pub(super) fn wait(&mut self, forecast: &Forecast, tally: &mut ScoreTally) {
        let Some(past) = self.steps.back_mut() else {
            tally.add(Unscored::Horizon, 1);
            return;
        };
        tally.waiting += 1;
        past.forecast = Some(Waiting {
            as_of: forecast.as_of,
            target_time: forecast.target_time,
            value: forecast.value,
            lower: forecast.lower,
            upper: forecast.upper,
            quality: forecast.quality,
            out_of_range: forecast.out_of_range,
        });
    }

    /// Gives up on all that waits.
    pub(super) fn forget(&mut self, tally: &mut ScoreTally, reason: Unscored) {
        let waiting = self.waiting();
        tally.waiting -= waiting;
        tally.add(reason, waiting);
        self.steps.clear();
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one score, used once")]
    fn judge(
        &mut self,
        plan: &ScorePlan,
        symbol: SymbolId,
        waiting: Waiting,
        truth_time: UnixNanos,
        truth: f64,
        baseline: f64,
        tally: &mut ScoreTally,
    ) -> Result<Score, Unscored> {
        let Waiting { as_of, target_time, value, lower, upper, quality, out_of_range } = waiting;
        let mut score = Score {
            symbol,
            as_of,
            target_time,
            truth_time,
            value,
            truth,
            baseline,
            lower,
            upper,
            direction_hit: direction_hit(value, truth, plan.kind.origin(baseline)),
            quality,
            out_of_range,
            skill: None,
            held: None,
            drift: false,
            // The book has the evidence.
            verdict: Verdict::default(),
        };
        let sums = self.sums.scaled(DECAY) + Sums::of(&score);
        if !sums.are_possible() {
            return Err(Unscored::NotFinite);
        }
        self.sums = sums;
        if plan.adapts() {
            self.stretch.hear(score.covered(), self.count, &plan.rule);
        }
        let before = self.drift.is_marked();
        self.drift.take(score.error().abs(), self.count);
        score.drift = self.drift.is_marked();
        match (before, score.drift) {
            (false, true) => {
                tally.drifts += 1;
                tally.drifting += 1;
            }
            (true, false) => tally.drifting -= 1,
            _ => {}
        }
        self.count = self.count.saturating_add(1);
        score.skill = self.sums.skill();
        score.held = self.sums.coverage();
        tally.scores += 1;
        Ok(score)
    }
}
