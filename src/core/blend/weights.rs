//! How the weights of experts follow their losses.
//!
//! Owns the rule: ML-Prod (Gaillard, Stoltz and van Erven, 2014, arXiv:1402.2044) with a learning
//! rate for each expert, first weights that do not fade, experts that may sleep, and losses of
//! unknown range, which are scaled down where they exceed everything before (Cutkosky, 2019,
//! arXiv:1902.09013). With the forecast `p` of the blend, the truth `y` and the forecasts `f` of
//! the experts, the regret of a round is `r = 2 (p - y) (p - f)`: by it the squared loss of the
//! blend exceeds that of the expert at most. With `B` the largest size of a regret so far:
//!
//! ```text
//! weight      ∝ first × rate × exp(rate × sum)
//! rate        = min(1 / (2 B), √(ln experts / squares))
//! sum        += ln(1 + rate × r) / rate
//! squares    += r²
//! ```
//!
//! Promises the bound of `docs/blend.md` for any sequence of forecasts and truths, and O(1) for
//! each expert and round. Never divides by zero, and never leaves the finite numbers: a round that
//! would is left out.

use serde::{Deserialize, Serialize};

use super::plan::EXPERTS_MAX;

/// Rounds whose largest regret is smaller or larger are left out, so that squares neither vanish
/// nor leave the finite numbers.
const REGRET_MIN: f64 = 1e-100;
const REGRET_MAX: f64 = 1e100;

/// What is known of the losses of the experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    experts: Vec<Standing>,
    /// The largest size of a regret so far.
    range: f64,
}

/// What is known of one expert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Standing {
    /// Of `ln(1 + rate × regret) / rate`.
    sum: f64,
    /// Of the squares of regrets.
    squares: f64,
}

/// A round whose truth is known.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// What the blend said.
    pub blend: f64,
    /// What came true.
    pub truth: f64,
}

impl Weights {
    /// Nothing is known of so many experts.
    pub fn new(experts: usize) -> Self {
        Self { experts: vec![Standing::default(); experts], range: 0.0 }
    }

    /// How many experts there are.
    pub(super) fn count(&self) -> usize {
        self.experts.len()
    }

    /// Takes over what was at rest, of as many experts.
    pub(super) fn clone_from_rest(&mut self, rest: &Self) {
        self.experts.copy_from_slice(&rest.experts);
        self.range = rest.range;
    }

    /// Whether this, from rest, can have come about.
    pub(super) fn are_possible(&self) -> bool {
        let is_possible = |expert: &Standing| {
            expert.sum.is_finite() && expert.squares.is_finite() && expert.squares >= 0.0
        };
        self.range.is_finite() && self.range >= 0.0 && self.experts.iter().all(is_possible)
    }

    /// Writes the weights of the experts that are awake into `weights`, and 0 for the others. They
    /// add up to 1, unless all sleep.
    pub fn write(&self, first: &[f64], awake: &[bool], weights: &mut [f64]) {
        let mut powers = [0.0; EXPERTS_MAX];
        let mut greatest = f64::NEG_INFINITY;
        for ((power, expert), awake) in powers.iter_mut().zip(&self.experts).zip(awake) {
            *power = self.rate(expert) * expert.sum;
            if *awake {
                greatest = greatest.max(*power);
            }
        }
        let mut whole = 0.0;
        let each = weights.iter_mut().zip(&self.experts).zip(first).zip(awake).zip(powers);
        for ((((weight, expert), first), awake), power) in each {
            *weight = if *awake {
                // Of the crate and not of the system, so that every machine has the same bits.
                first * self.relative_rate(expert) * libm::exp(power - greatest)
            } else {
                0.0
            };
            whole += *weight;
        }
        if whole > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= whole);
        }
    }

    /// Learns from a round; `forecasts` has `None` for each expert that slept.
    pub fn learn(&mut self, loss: Loss, forecasts: &[Option<f64>]) {
        let Loss { blend, truth } = loss;
        let mut regrets = [0.0; EXPERTS_MAX];
        let mut largest = 0.0_f64;
        for (regret, forecast) in regrets.iter_mut().zip(forecasts) {
            *regret = forecast.map_or(0.0, |forecast| 2.0 * (blend - truth) * (blend - forecast));
            if !regret.is_finite() {
                return;
            }
            largest = largest.max(regret.abs());
        }
        if !(REGRET_MIN..=REGRET_MAX).contains(&largest) {
            return;
        }
        if self.range == 0.0 {
            // All rates are equal before the first round, so their size may follow from it.
            self.range = largest;
        }
        let scale = if largest > self.range { self.range / largest } else { 1.0 };
        for (index, regret) in regrets.into_iter().enumerate().take(self.experts.len()) {
            let (rate, regret) = (self.rate(&self.experts[index]), scale * regret);
            let expert = &mut self.experts[index];
            expert.sum += libm::log1p(rate * regret) / rate;
            expert.squares += regret * regret;
        }
        self.range = self.range.max(largest);
    }

    /// The learning rate of an expert; 0 before the first regret.
    fn rate(&self, expert: &Standing) -> f64 {
        if self.range > 0.0 { self.relative_rate(expert) / (2.0 * self.range) } else { 0.0 }
    }

    /// The same times twice the range: at most 1.
    fn relative_rate(&self, expert: &Standing) -> f64 {
        let Standing { squares, .. } = *expert;
        let caution = 4.0 * self.range * self.range * libm::log(self.experts.len().max(2) as f64);
        if squares > caution { (caution / squares).sqrt() } else { 1.0 }
    }
}
