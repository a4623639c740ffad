//! What is kept of one symbol of a blend.
//!
//! Owns the forecasts of the members that wait for their truth, the weights and the recalibrations.
//! Promises that what it says follows from the symbol's forecasts, truths and gaps alone, that it
//! is small, bounded by the horizon and serialisable, and that truths of times on which a model was
//! trained change nothing. Never allocates once it was made.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::plan::EXPERTS_MAX;
use super::{BlendPlan, Expert, Loss, Recalibration, WEIGHT_PARTS, Weights};
use crate::core::baseline::BaselineForecasts;
use crate::core::domain::UnixNanos;
use crate::core::score::Score;

/// The blend of one symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolBlend {
    pub(super) weights: Weights,
    /// One for each member.
    pub(super) recalibrations: Vec<Recalibration>,
    /// The steps whose truth is still to come, oldest first.
    pub(super) rounds: VecDeque<UnixNanos>,
    /// What the members said at each of them: their forecasts, and those recalibrated.
    pub(super) said: VecDeque<Option<f64>>,
    /// The weights of the newest forecast, in parts of [`WEIGHT_PARTS`]; all 0 before the first.
    pub(super) newest: Vec<u16>,
}

/// A forecast of the blend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blended {
    /// The forecast, in the target's unit.
    pub value: f64,
    /// What each expert weighs in it; 0 for one that had no forecast.
    pub weights: [f64; EXPERTS_MAX],
}

impl SymbolBlend {
    /// Of a symbol without truths.
    pub fn new(plan: &BlendPlan) -> Self {
        let (members, horizon) = (plan.members(), plan.horizon_steps());
        Self {
            weights: Weights::new(plan.experts()),
            recalibrations: vec![Recalibration::default(); members],
            rounds: VecDeque::with_capacity(horizon),
            said: VecDeque::with_capacity(2 * members * horizon),
            newest: vec![0; plan.experts()],
        }
    }

    /// Takes over what was at rest, which must fit.
    pub fn clone_from_rest(&mut self, rest: &Self) {
        let Self { weights, recalibrations, rounds, said, newest } = rest;
        self.weights.clone_from_rest(weights);
        self.recalibrations.copy_from_slice(recalibrations);
        self.forget_rounds();
        self.rounds.extend(rounds);
        self.said.extend(said);
        self.newest.copy_from_slice(newest);
    }

    /// Whether this, from rest, can be of a symbol of this plan.
    pub fn fits(&self, plan: &BlendPlan) -> bool {
        let parts: u64 = self.newest.iter().map(|parts| u64::from(*parts)).sum();
        // Each is rounded by itself.
        let parts_max = u64::from(WEIGHT_PARTS) + plan.experts() as u64;
        self.weights.count() == plan.experts()
            && self.weights.are_possible()
            && self.recalibrations.len() == plan.members()
            && self.recalibrations.iter().all(Recalibration::is_possible)
            && self.rounds.len() <= plan.horizon_steps()
            && self.said.len() == 2 * plan.members() * self.rounds.len()
            && self.newest.len() == plan.experts()
            && parts <= parts_max
    }

    /// The weights of the newest forecast, in parts of [`WEIGHT_PARTS`].
    pub fn newest(&self) -> &[u16] {
        &self.newest
    }

    /// Forgets the steps whose truth is still to come.
    pub fn forget_rounds(&mut self) {
        self.rounds.clear();
        self.said.clear();
    }

    /// The forecast at a step: `members` has the forecasts of the models, `None` for one that has
    /// none. `None` where no expert has any.
    pub fn forecast(
        &mut self,
        plan: &BlendPlan,
        as_of: UnixNanos,
        members: &[Option<f64>],
        baselines: &BaselineForecasts,
    ) -> Option<Blended> {
        let said = self.said_by(plan, members, baselines);
        let experts = plan.experts();
        let mut awake = [false; EXPERTS_MAX];
        awake.iter_mut().zip(said).for_each(|(awake, said)| *awake = said.is_some());
        if !awake.contains(&true) {
            return None;
        }
        let mut weights = [0.0; EXPERTS_MAX];
        let awake = &awake[..experts];
        self.weights.write(plan.first(), plan.trusted(), awake, &mut weights[..experts]);
        let value = said
            .iter()
            .zip(weights)
            .fold(0.0, |sum, (said, weight)| said.map_or(sum, |said| sum + weight * said));
        // Between experts that are possible; only rounding leaves the range.
        let possible = plan.possible();
        let value = value.max(possible.least).min(possible.greatest);
        for (newest, weight) in self.newest.iter_mut().zip(weights) {
            // From 0 to 10,000, so nothing is cut off.
            *newest = (weight * f64::from(WEIGHT_PARTS)).round() as u16;
        }
        self.wait(plan, as_of, &said[..2 * plan.members()]);
        Some(Blended { value, weights })
    }

    /// Learns from a score, unless a model was trained on its time.
    pub fn learn(&mut self, plan: &BlendPlan, score: &Score) {
        let Some(round) = self.round_of(plan, score.as_of) else { return };
        if !score.evidence.counts() {
            return;
        }
        let members = plan.members();
        let mut forecasts = [None; EXPERTS_MAX];
        forecasts[..2 * members].copy_from_slice(&round[..2 * members]);
        for (forecast, expert) in forecasts.iter_mut().zip(plan.each()).skip(2 * members) {
            if let Expert::Baseline(kind) = expert {
                *forecast = score.baselines[kind as usize];
            }
        }
        let loss = Loss { blend: score.value, truth: score.truth };
        self.weights.learn(loss, &forecasts[..plan.experts()]);
        for (recalibration, forecast) in self.recalibrations.iter_mut().zip(forecasts) {
            if let Some(forecast) = forecast {
                recalibration.take(forecast, score.truth);
            }
        }
    }

    /// What every expert says.
    pub(super) fn said_by(
        &self,
        plan: &BlendPlan,
        members: &[Option<f64>],
        baselines: &BaselineForecasts,
    ) -> [Option<f64>; EXPERTS_MAX] {
        let possible = plan.possible();
        let member = |at: usize| members.get(at).copied().flatten();
        let mut said = [None; EXPERTS_MAX];
        for (said, expert) in said.iter_mut().zip(plan.each()) {
            *said = match expert {
                Expert::Model(at) => member(at),
                Expert::Recalibrated(at) => member(at).map(|forecast| {
                    let recalibrated = self.recalibrations[at].apply(forecast);
                    recalibrated.max(possible.least).min(possible.greatest)
                }),
                Expert::Baseline(kind) => baselines[kind as usize],
            };
        }
        said
    }

    /// Keeps what the members said at a step until its truth comes.
    fn wait(&mut self, plan: &BlendPlan, as_of: UnixNanos, said: &[Option<f64>]) {
        if plan.horizon_steps() == 0 {
            return;
        }
        // A step that comes again takes the place of the one before.
        while self.rounds.back().is_some_and(|newest| *newest >= as_of) {
            self.rounds.pop_back();
            self.said.truncate(said.len() * self.rounds.len());
        }
        if self.rounds.len() == plan.horizon_steps() {
            self.drop_oldest(said.len());
        }
        self.rounds.push_back(as_of);
        self.said.extend(said);
    }

    /// What the members said at a step, which waits no longer, and neither do those before.
    fn round_of(
        &mut self,
        plan: &BlendPlan,
        as_of: UnixNanos,
    ) -> Option<[Option<f64>; EXPERTS_MAX]> {
        let count = 2 * plan.members();
        while self.rounds.front().is_some_and(|oldest| *oldest < as_of) {
            self.drop_oldest(count);
        }
        if self.rounds.front() != Some(&as_of) {
            return None;
        }
        let mut round = [None; EXPERTS_MAX];
        round.iter_mut().zip(self.said.iter().take(count)).for_each(|(to, said)| *to = *said);
        self.drop_oldest(count);
        Some(round)
    }

    fn drop_oldest(&mut self, count: usize) {
        self.rounds.pop_front();
        self.said.drain(..count);
    }
}
