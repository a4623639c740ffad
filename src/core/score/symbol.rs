//! What is kept of one symbol until its forecasts come true, and what is known of them since.
//!
//! Owns the forecasts that wait, at most one for each step of the horizon, what the baselines
//! remember, and the sums over scores. Promises that what it says follows from the symbol's steps
//! and forecasts alone, that a step costs the same however many there were, and that it is small
//! and serialisable. Never allocates once it was made.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::measure::direction_hit;
use super::stretch::Stretch;
use super::{QuantileSums, Score, ScorePlan, ScoreTally, Sums, Unscored};
use crate::core::baseline::{BaselineForecasts, BaselineState, Reading};
use crate::core::domain::{Forecast, Quality, Quantiles, Signal, Step, SymbolId, UnixNanos};
use crate::core::forecast::Margins;
use crate::core::signal::SignalCounts;
use crate::core::verdict::Verdict;
use crate::core::window::Window;

/// By which older scores count less with each new one: the sums are about the last 100 scores, and
/// half of their weight is on the last 69.
pub(super) const DECAY: f64 = 0.99;

/// The scores of one symbol: what waits and what is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolScores {
    /// The forecasts of the last steps, oldest first; at most as many as the horizon has.
    pub(super) steps: VecDeque<Option<Waiting>>,
    /// What the baselines remember of those steps.
    pub(super) baselines: BaselineState,
    /// Over scores of the past that count, older ones with less weight.
    pub(super) sums: Sums,
    /// How many scores there were, as far as it matters.
    pub(super) count: u32,
    pub(super) stretch: Stretch,
    pub(super) drift: Drift,
}

/// A forecast that waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) as_of: UnixNanos,
    pub(super) target_time: UnixNanos,
    pub(super) value: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) quality: Quality,
    pub(super) out_of_range: bool,
    /// What the baselines forecast at the same step.
    pub(super) baselines: BaselineForecasts,
}

/// What came true of a forecast.
#[derive(Clone, Copy)]
struct Came {
    /// Event time of the step that was the truth.
    time: UnixNanos,
    truth: f64,
    /// What persistence said of it.
    persistence: f64,
}

impl SymbolScores {
    /// Nothing waits and nothing is known.
    pub(super) fn new(plan: &ScorePlan) -> Self {
        Self {
            steps: VecDeque::with_capacity(plan.kept_steps()),
            baselines: BaselineState::new(&plan.baselines),
            sums: Sums::default(),
            count: 0,
            stretch: Stretch::default(),
            drift: Drift::default(),
        }
    }

    /// Takes over what was at rest, which must fit.
    pub(super) fn clone_from_rest(&mut self, rest: &Self) {
        let Self { steps, baselines, sums, count, stretch, drift } = rest;
        self.steps.extend(steps);
        self.baselines.clone_from_rest(baselines);
        (self.sums, self.count, self.stretch, self.drift) = (*sums, *count, *stretch, *drift);
    }

    /// Whether this, from rest, can be of a symbol of this plan.
    pub(super) fn fits(&self, plan: &ScorePlan) -> bool {
        self.steps.len() <= plan.kept_steps()
            && self.steps.len() == self.baselines.steps()
            && self.baselines.fits(&plan.baselines)
            && self.sums.are_possible()
            && self.stretch.is_possible()
            && self.drift.is_possible()
    }

    /// The sums over past scores that count.
    pub(super) const fn sums(&self) -> Sums {
        self.sums
    }

    /// Whether its errors drift.
    pub(super) fn is_drifting(&self) -> bool {
        self.drift.is_marked()
    }

    /// The values that wait, oldest first; `None` for a step without a forecast.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        self.steps.iter().map(|waiting| waiting.map(|waiting| waiting.value))
    }

    /// How many steps are remembered.
    pub(super) fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// How many forecasts wait.
    pub(super) fn waiting(&self) -> u64 {
        self.steps.iter().flatten().count() as u64
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
        let reading = Reading::of(&plan.baselines, step);
        let outcome = self.baselines.step(&plan.baselines, reading);
        let due = if self.steps.len() < plan.kept_steps() { None } else { self.steps.pop_front() };
        if plan.keeps() {
            self.steps.push_back(None);
        }
        let waiting = due.flatten()?;
        tally.waiting -= 1;
        let [persistence, ..] = waiting.baselines;
        let judged = match (outcome, persistence) {
            _ if step.patched => Err(Unscored::Patched),
            (None, _) => Err(Unscored::NoTruth),
            (Some(_), None) => Err(Unscored::NoBaseline),
            (Some(truth), Some(persistence)) => {
                let came = Came { time: step.time, truth, persistence };
                self.judge(plan, symbol, waiting, came, tally)
            }
        };
        judged.map_err(|reason| tally.add(reason, 1)).ok()
    }

    /// Takes the forecast of the newest step, with the window behind it.
    pub(super) fn wait(
        &mut self,
        plan: &ScorePlan,
        forecast: &Forecast,
        window: &Window,
        tally: &mut ScoreTally,
    ) {
        if self.steps.is_empty() {
            tally.add(Unscored::Horizon, 1);
            return;
        }
        let baselines = self.baseline_forecasts(plan, window);
        let Some(place) = self.steps.back_mut() else { return };
        tally.waiting += 1;
        *place = Some(Waiting {
            as_of: forecast.as_of,
            target_time: forecast.target_time,
            value: forecast.value,
            lower: forecast.lower,
            upper: forecast.upper,
            quality: forecast.quality,
            out_of_range: forecast.out_of_range,
            baselines,
        });
    }

    /// What the baselines forecast at the newest step, with the window behind it.
    pub(super) fn baseline_forecasts(
        &self,
        plan: &ScorePlan,
        window: &Window,
    ) -> BaselineForecasts {
        let rows = window.newest_rows(plan.baselines.rows());
        self.baselines.forecasts(&plan.baselines, rows)
    }

    /// Gives up on all that waits.
    pub(super) fn forget(&mut self, tally: &mut ScoreTally, reason: Unscored) {
        let waiting = self.waiting();
        tally.waiting -= waiting;
        tally.add(reason, waiting);
        self.steps.clear();
        self.baselines.break_off();
    }

    /// Gives up on all that waits, because the next step has nothing to do with those before.
    pub(super) fn begin_cold(&mut self, tally: &mut ScoreTally) {
        self.forget(tally, Unscored::Gap);
        self.baselines.clear();
    }

    fn judge(
        &mut self,
        plan: &ScorePlan,
        symbol: SymbolId,
        waiting: Waiting,
        came: Came,
        tally: &mut ScoreTally,
    ) -> Result<Score, Unscored> {
        let Waiting { as_of, target_time, value, lower, upper, quality, out_of_range, .. } =
            waiting;
        let Came { time: truth_time, truth, persistence } = came;
        let against = plan.baselines.against();
        let baselines = plan.baselines.complete(waiting.baselines, persistence);
        let evidence = plan.evidence.of(as_of);
        let mut score = Score {
            symbol,
            as_of,
            target_time,
            truth_time,
            value,
            truth,
            baseline: baselines[against as usize].unwrap_or(persistence),
            against,
            baselines,
            lower,
            upper,
            direction_hit: direction_hit(value, truth, plan.kind.origin(persistence)),
            quality,
            out_of_range,
            evidence,
            skill: None,
            held: None,
            drift: false,
            // The book has these.
            shifted: None,
            verdict: Verdict::default(),
            rival: None,
            signal: Signal::Hold,
            signals: SignalCounts::default(),
            output: plan.output,
            quantiles: Quantiles::NONE,
            quantile_sums: QuantileSums::default(),
        };
        let sums = self.sums.scaled(DECAY) + Sums::of(&score);
        if !sums.are_possible() {
            return Err(Unscored::NotFinite);
        }
        if evidence.counts() {
            self.sums = sums;
        }
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
        tally.add_score(evidence);
        Ok(score)
    }
}
