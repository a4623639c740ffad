//! How the weights of experts follow their losses.
//!
//! Owns the rule: ML-Poly (Gaillard, Stoltz and van Erven, 2014, arXiv:1402.2044) with a learning
//! rate and a first weight for each expert, experts that may sleep, and losses of unknown range,
//! which are scaled down where they exceed everything before (Cutkosky, 2019, arXiv:1902.09013).
//! The regret of a round is the squared error of the blend minus that of the expert. With `B` the
//! largest size of a regret so far:
//!
//! ```text
//! weight   ∝ first × max(sum, 0) / (B² + squares)
//! sum     += regret
//! squares += regret²
//! ```
//!
//! Where no expert that is awake has a sum above 0, the expert that is trusted has all weight.
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
    /// The sum of its regrets.
    regret: f64,
    /// The sum of their squares.
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

impl Loss {
    /// By how much the squared error of the blend exceeds that of an expert.
    fn regret(self, forecast: f64) -> f64 {
        let Self { blend, truth } = self;
        // The difference of two squares, without the digits that it would lose.
        (blend - forecast) * ((blend - truth) + (forecast - truth))
    }
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
            expert.regret.is_finite() && expert.squares.is_finite() && expert.squares >= 0.0
        };
        self.range.is_finite() && self.range >= 0.0 && self.experts.iter().all(is_possible)
    }

    /// Writes the weights of the experts that are awake into `weights`, and 0 for the others. They
    /// add up to 1, unless all sleep. `first` has the first weights, and `trusted` is the expert
    /// that has all weight while none has a sum above 0; if it sleeps, the first weights decide.
    pub fn write(&self, first: &[f64], trusted: usize, awake: &[bool], weights: &mut [f64]) {
        let squared_range = self.range * self.range;
        let mut whole = 0.0;
        let each = weights.iter_mut().zip(&self.experts).zip(first).zip(awake);
        for (((weight, Standing { regret, squares }), first), awake) in each {
            let counts = *awake && *regret > 0.0;
            *weight = if counts { first * regret / (squared_range + squares) } else { 0.0 };
            whole += *weight;
        }
        if whole <= 0.0 {
            let is_trusted = awake.get(trusted) == Some(&true);
            for (at, ((weight, first), awake)) in
                weights.iter_mut().zip(first).zip(awake).enumerate()
            {
                let counts = if is_trusted { at == trusted } else { *awake };
                *weight = if counts { *first } else { 0.0 };
                whole += *weight;
            }
        }
        if whole > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= whole);
        }
    }

    /// Learns from a round; `forecasts` has `None` for each expert that slept.
    pub fn learn(&mut self, loss: Loss, forecasts: &[Option<f64>]) {
        let mut regrets = [0.0; EXPERTS_MAX];
        let mut largest = 0.0_f64;
        for (regret, forecast) in regrets.iter_mut().zip(forecasts) {
            *regret = forecast.map_or(0.0, |forecast| loss.regret(forecast));
            if !regret.is_finite() {
                return;
            }
            largest = largest.max(regret.abs());
        }
        if !(REGRET_MIN..=REGRET_MAX).contains(&largest) {
            return;
        }
        if self.range == 0.0 {
            // No weight has depended on it yet.
            self.range = largest;
        }
        let scale = if largest > self.range { self.range / largest } else { 1.0 };
        for (expert, regret) in self.experts.iter_mut().zip(regrets) {
            let regret = scale * regret;
            expert.regret += regret;
            expert.squares += regret * regret;
        }
        self.range = self.range.max(largest);
    }
}
