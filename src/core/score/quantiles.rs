//! What the quantiles of forecasts were worth.
//!
//! Owns the pinball loss, the published quantiles of one symbol that wait for their truth, what
//! they come to by level, and how far each is stretched so that it holds its share. Promises that
//! the median is never stretched, and that everything follows from the symbol's forecasts and
//! truths alone. Never allocates once it was made.

use std::collections::VecDeque;
use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use super::stretch::{Stretch, StretchRule};
use super::symbol::DECAY;
use crate::core::domain::{LEVELS_MAX, Quantiles};
use crate::core::forecast::MEDIAN;

/// The loss of a forecast of a quantile: `level × (truth - value)` where the truth is above it,
/// `(1 - level) × (value - truth)` otherwise. Its mean is smallest at the quantile (Koenker and
/// Bassett, 1978, doi:10.2307/1913643).
pub fn pinball(level: f64, value: f64, truth: f64) -> f64 {
    let error = truth - value;
    if error > 0.0 { level * error } else { (level - 1.0) * error }
}

/// The levels of a model and how their stretches adapt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LevelPlan {
    pub(super) levels: Vec<f64>,
    rules: Vec<StretchRule>,
}

/// Sums over scores by level, each score with a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantileSums {
    /// Of the weights.
    pub weight: f64,
    /// Of the pinball losses, in the target's unit.
    pub losses: [f64; LEVELS_MAX],
    /// Of the weights of truths at or below the quantile.
    pub below: [f64; LEVELS_MAX],
}

/// The quantiles of one symbol: those that wait, and what the scored ones came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolQuantiles {
    /// Of the last steps, oldest first, beside the forecasts that wait.
    waiting: VecDeque<Option<Quantiles>>,
    /// By level.
    stretches: Vec<Stretch>,
    /// Over scores that count, older ones with less weight.
    sums: QuantileSums,
    /// How many quantiles were heard of, as far as it matters.
    count: u32,
}

impl LevelPlan {
    pub(super) fn new(levels: &[f64], horizon_steps: u32) -> Self {
        let rule = |level: &f64| StretchRule::new(level.max(1.0 - level), horizon_steps);
        Self { levels: levels.to_vec(), rules: levels.iter().map(rule).collect() }
    }
}

impl QuantileSums {
    /// Of one score with weight 1.
    pub fn of(levels: &[f64], quantiles: &Quantiles, truth: f64) -> Self {
        let mut sums = Self { weight: 1.0, ..Self::default() };
        let values = levels.iter().zip(quantiles.as_slice());
        let places = sums.losses.iter_mut().zip(&mut sums.below);
        for ((level, value), (loss, below)) in values.zip(places) {
            *loss = pinball(*level, *value, truth);
            *below = if truth <= *value { 1.0 } else { 0.0 };
        }
        sums
    }

    /// The mean pinball loss of the level at a place; `None` without a score.
    pub fn mean_loss(&self, place: usize) -> Option<f64> {
        (self.weight > 0.0).then(|| self.losses[place] / self.weight)
    }

    /// The share of truths at or below the quantile of the level at a place; `None` without a
    /// score.
    pub fn coverage(&self, place: usize) -> Option<f64> {
        (self.weight > 0.0).then(|| self.below[place] / self.weight)
    }

    /// Whether these can be sums over scores.
    fn are_possible(&self) -> bool {
        let is_sum = |sum: &f64| sum.is_finite() && *sum >= 0.0;
        is_sum(&self.weight) && self.losses.iter().chain(&self.below).all(is_sum)
    }

    /// Everything so far `factor` times.
    fn scaled(self, factor: f64) -> Self {
        Self {
            weight: self.weight * factor,
            losses: self.losses.map(|sum| sum * factor),
            below: self.below.map(|sum| sum * factor),
        }
    }

    fn combine(&mut self, other: &Self, combine: impl Fn(f64, f64) -> f64) {
        self.weight = combine(self.weight, other.weight);
        let losses = self.losses.iter_mut().zip(&other.losses);
        for (sum, more) in losses.chain(self.below.iter_mut().zip(&other.below)) {
            *sum = combine(*sum, *more);
        }
    }
}

impl AddAssign for QuantileSums {
    fn add_assign(&mut self, other: Self) {
        self.combine(&other, |sum, more| sum + more);
    }
}

impl SubAssign for QuantileSums {
    fn sub_assign(&mut self, other: Self) {
        // What is left of equal sums taken in another order may be a hair below zero.
        self.combine(&other, |sum, less| (sum - less).max(0.0));
    }
}

impl SymbolQuantiles {
    /// Nothing waits and nothing is known, for forecasts that wait for `kept_steps` at most.
    pub(super) fn new(plan: &LevelPlan, kept_steps: usize) -> Self {
        Self {
            waiting: VecDeque::with_capacity(kept_steps),
            stretches: vec![Stretch::default(); plan.levels.len()],
            sums: QuantileSums::default(),
            count: 0,
        }
    }

    /// Takes over what was at rest, which must fit.
    pub(super) fn clone_from_rest(&mut self, rest: &Self) {
        let Self { waiting, stretches, sums, count } = rest;
        self.waiting.extend(waiting);
        self.stretches.copy_from_slice(stretches);
        (self.sums, self.count) = (*sums, *count);
    }

    /// Whether this, from rest, can be of a symbol with so many steps that wait.
    pub(super) fn fits(&self, plan: &LevelPlan, waiting_steps: usize) -> bool {
        let levels = plan.levels.len();
        let of_level = |quantiles: &Quantiles| quantiles.as_slice().len() == levels;
        self.waiting.len() == waiting_steps
            && self.waiting.iter().flatten().all(of_level)
            && self.stretches.len() == levels
            && self.stretches.iter().all(|stretch| stretch.is_possible())
            && self.sums.are_possible()
    }

    /// The sums over past scores that count.
    pub(super) const fn sums(&self) -> QuantileSums {
        self.sums
    }

    /// How many times as far from the median each quantile is published.
    pub(super) fn stretches(&self) -> Quantiles {
        Quantiles::of(self.stretches.iter().map(|stretch| stretch.factor()))
    }

    /// Takes a step, and gives the quantiles of the forecast that it is the truth of. `kept_steps`
    /// is how many are kept.
    pub(super) fn step(&mut self, kept_steps: usize) -> Option<Quantiles> {
        let due =
            if self.waiting.len() < kept_steps { None } else { self.waiting.pop_front().flatten() };
        if kept_steps > 0 {
            self.waiting.push_back(None);
        }
        due
    }

    /// Takes the quantiles that were published with the forecast of the newest step.
    pub(super) fn wait(&mut self, quantiles: Quantiles) {
        if let Some(place) = self.waiting.back_mut() {
            *place = Some(quantiles);
        }
    }

    /// Gives up on the quantiles that wait.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Hears the truth of published quantiles. `adapts` says whether stretches learn from it, and
    /// `counts` whether the sums do.
    pub(super) fn hear(
        &mut self,
        plan: &LevelPlan,
        quantiles: &Quantiles,
        truth: f64,
        (adapts, counts): (bool, bool),
    ) {
        let sums = QuantileSums::of(&plan.levels, quantiles, truth);
        if counts {
            let mut all = self.sums.scaled(DECAY);
            all += sums;
            if all.are_possible() {
                self.sums = all;
            }
        }
        if adapts {
            let levels = plan.levels.iter().zip(&plan.rules).zip(quantiles.as_slice());
            for (((level, rule), value), stretch) in levels.zip(&mut self.stretches) {
                // A quantile misses where the truth lies beyond it, as seen from the median.
                if *level > MEDIAN {
                    stretch.hear(truth <= *value, self.count, rule);
                } else if *level < MEDIAN {
                    stretch.hear(truth >= *value, self.count, rule);
                }
            }
        }
        self.count = self.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::random::{Purpose, Random};

    const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];

    #[test]
    fn the_pinball_has_its_hand_computed_values() {
        let close = |one: f64, other: f64| assert!((one - other).abs() < 1e-15, "{one}, {other}");
        close(pinball(0.9, 1.0, 2.0), 0.9);
        close(pinball(0.9, 2.0, 1.0), 0.1);
        close(pinball(0.05, 3.0, 1.0), 1.9);
        close(pinball(0.5, 1.0, 1.0), 0.0);
        let sums = QuantileSums::of(&LEVELS, &Quantiles::of([-1.0, 0.0, 1.0]), 0.5);
        assert_eq!(sums.below[..3], [0.0, 0.0, 1.0]);
        close(sums.losses[0], 0.05 * 1.5);
        close(sums.losses[1], 0.25);
        close(sums.losses[2], 0.05 * 0.5);
        assert_eq!((sums.mean_loss(1), sums.coverage(2)), (Some(sums.losses[1]), Some(1.0)));
        assert_eq!(QuantileSums::default().coverage(0), None);
    }

    /// Quantiles that are three times too narrow above and a third of that below hold their share
    /// after they have adapted, and the median stays.
    #[test]
    fn each_level_comes_to_hold_its_share() {
        let plan = LevelPlan::new(&LEVELS, 1);
        let mut quantiles = SymbolQuantiles::new(&plan, 1);
        let mut random = Random::new(5, Purpose::Order);
        let (mut sums, mut last) = (QuantileSums::default(), Quantiles::NONE);
        for at in 0..20_000 {
            let own = [-4.9, 0.0, 0.55];
            let stretches = quantiles.stretches();
            last = Quantiles::of(own.iter().zip(stretches.as_slice()).map(|(own, by)| own * by));
            let truth = random.normal();
            if at >= 1_000 {
                sums += QuantileSums::of(&LEVELS, &last, truth);
            }
            quantiles.hear(&plan, &last, truth, (true, true));
        }
        for (at, level) in LEVELS.iter().enumerate() {
            let coverage = sums.coverage(at).unwrap();
            assert!((coverage - level).abs() < 0.01, "{level}: {coverage}");
        }
        assert_eq!(last.as_slice()[1], 0.0);
        assert_eq!(quantiles.stretches().as_slice()[1], 1.0);
    }

    #[test]
    fn what_waits_comes_in_order_and_nothing_fits_another_plan() {
        let plan = LevelPlan::new(&LEVELS, 2);
        let mut quantiles = SymbolQuantiles::new(&plan, 2);
        let of = |value: f64| Quantiles::of([value - 1.0, value, value + 1.0]);
        for step in 0..6 {
            let due = quantiles.step(2);
            assert_eq!(due, (step >= 2).then(|| of(f64::from(step - 2))), "step {step}");
            quantiles.wait(of(f64::from(step)));
        }
        assert!(quantiles.fits(&plan, 2));
        assert!(!quantiles.fits(&plan, 1));
        assert!(!quantiles.fits(&LevelPlan::new(&[0.1, 0.25, 0.5, 0.9], 2), 2));
        let mut restored = SymbolQuantiles::new(&plan, 2);
        restored.clone_from_rest(&quantiles);
        assert_eq!(restored, quantiles);
        quantiles.forget();
        assert_eq!(quantiles.step(2), None);
    }
}
