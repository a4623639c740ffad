//! The optimiser Adam (Kingma and Ba, 2015) in the form Keras gives it.
//!
//! Owns: the two running moments of every parameter, the count of steps, and the decay of weights
//! apart from them (`AdamW`; Loshchilov and Hutter, 2019).
//!
//! Promises: with g the gradient, one step t is
//!
//! ```text
//! m += (1 - b1)(g - m)        v += (1 - b2)(g^2 - v)
//! p -= rate sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)
//! ```
//!
//! so epsilon is outside of the bias correction, as in Keras and unlike in the paper. Decay
//! comes before the step, `p -= rate * decay * p`, as in Keras and PyTorch.
//!
//! Never: looks at the loss, changes the rate by itself or clips.

use std::ops::Range;

/// Settings and state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adam {
    rate: f64,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-7;

impl Adam {
    /// A fresh optimiser for `parameters` values.
    pub(crate) fn new(rate: f64, parameters: usize) -> Self {
        Self { rate, first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0 }
    }

    /// An optimiser that goes on: its moments of every parameter, and the steps it has taken.
    pub(crate) fn restore(rate: f64, first: Vec<f32>, second: Vec<f32>, steps: i32) -> Self {
        Self { rate, first, second, steps }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Another rate, from the next step on.
    pub(crate) fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    /// The running means of the gradients and of their squares.
    pub(crate) fn moments(&self) -> (&[f32], &[f32]) {
        (&self.first, &self.second)
    }

    pub(crate) fn steps(&self) -> i32 {
        self.steps
    }

    pub(crate) fn parameter_count(&self) -> usize {
        self.first.len().min(self.second.len())
    }

    /// Takes the share rate times `decay` off the weights, which are at these places. Comes before
    /// the step.
    #[expect(clippy::cast_possible_truncation, reason = "parameters are 32-bit floats")]
    pub(crate) fn decay(&self, decay: f64, weights: &[Range<usize>], parameters: &mut [f32]) {
        if decay > 0.0 {
            let kept = (1.0 - self.rate * decay) as f32;
            for place in weights {
                parameters[place.clone()].iter_mut().for_each(|weight| *weight *= kept);
            }
        }
    }

    /// One step against the gradients.
    #[expect(clippy::cast_possible_truncation, reason = "parameters are 32-bit floats")]
    pub(crate) fn step(&mut self, parameters: &mut [f32], gradients: &[f32]) {
        assert_eq!(parameters.len(), self.first.len(), "another network's parameters");
        assert_eq!(gradients.len(), self.first.len(), "another network's gradients");
        self.steps = self.steps.saturating_add(1);
        let correction = (1.0 - BETA_2.powi(self.steps)).sqrt() / (1.0 - BETA_1.powi(self.steps));
        let rate = (self.rate * correction) as f32;
        let (keep_1, keep_2) = ((1.0 - BETA_1) as f32, (1.0 - BETA_2) as f32);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((p, g), (m, v)) in parameters.iter_mut().zip(gradients).zip(moments) {
            *m += (g - *m) * keep_1;
            *v += (g * g - *v) * keep_2;
            *p -= rate * *m / (v.sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// By hand, rate 0.1, gradients 2 then 1:
    /// t = 1: m = 0.2, v = 0.004, rate' = 0.1 sqrt(0.001) / 0.1 = 0.0316228,
    ///        p = 1 - 0.0316228 * 0.2 / 0.0632456 = 0.9
    /// t = 2: m = 0.2 + 0.1 (1 - 0.2) = 0.28, v = 0.004 + 0.001 (1 - 0.004) = 0.004996,
    ///        rate' = 0.1 sqrt(1 - 0.998001) / (1 - 0.81) = 0.0235317,
    ///        p = 0.9 - 0.0235317 * 0.28 / 0.0706824 = 0.8067823
    #[test]
    fn two_steps_have_the_values_computed_by_hand() {
        let mut adam = Adam::new(0.1, 2);
        let mut parameters = [1.0, 5.0];
        adam.step(&mut parameters, &[2.0, 0.0]);
        assert!((parameters[0] - 0.9).abs() < 1e-6, "{}", parameters[0]);
        adam.step(&mut parameters, &[1.0, 0.0]);
        assert!((parameters[0] - 0.806_782).abs() < 1e-6, "{}", parameters[0]);
        assert_eq!(parameters[1], 5.0, "no gradient, no movement");
    }

    /// By hand, rate 0.1, decay 0.5: a weight of 2 becomes 2 (1 - 0.05) = 1.9 and moves on by the
    /// first step, 0.1.
    #[test]
    fn decay_comes_before_the_step_and_leaves_biases_and_moments_alone() {
        let mut adam = Adam::new(0.1, 3);
        let mut parameters = [2.0, 2.0, 0.0];
        adam.decay(0.5, &[0..1, 2..3], &mut parameters);
        assert_eq!(parameters, [1.9, 2.0, 0.0]);
        adam.step(&mut parameters, &[1.0, 1.0, 0.0]);
        let [weight, bias, _] = parameters;
        assert!((weight - 1.8).abs() < 1e-6 && (bias - 1.9).abs() < 1e-6, "{parameters:?}");
        assert!((adam.moments().0[0] - 0.1).abs() < 1e-7, "the gradient alone");
        adam.set_rate(0.2);
        adam.decay(0.5, &[0..1, 2..3], &mut parameters);
        assert!((parameters[0] - weight * 0.9).abs() < 1e-6, "at the new rate");
        let before = parameters;
        adam.decay(0.0, &[0..1, 1..3], &mut parameters);
        assert_eq!(parameters, before);
    }

    /// What `tests/reference/fitting_reference.py` writes.
    #[derive(Deserialize)]
    struct Reference {
        adamw: Steps,
    }

    #[derive(Deserialize)]
    struct Steps {
        rate: f64,
        weight_decay: f64,
        kernel: Vec<f32>,
        bias: Vec<f32>,
        /// Of kernel and bias, for each step.
        gradients: Vec<[Vec<f32>; 2]>,
        /// Kernel and bias after each step.
        keras: Vec<[Vec<f32>; 2]>,
        pytorch: Vec<[Vec<f32>; 2]>,
    }

    #[test]
    fn steps_with_decay_are_those_of_keras_and_pytorch() {
        let text = include_str!("../../../tests/data/fitting_reference.json");
        let Reference { adamw } = serde_json::from_str(text).unwrap();
        let Steps { rate, weight_decay, kernel, bias, gradients, keras, pytorch } = adamw;
        let weights = 0..kernel.len();
        let mut ours = [kernel, bias].concat();
        let mut adam = Adam::new(rate, ours.len());
        assert!(gradients.len() >= 3);
        for ((gradients, keras), pytorch) in gradients.iter().zip(&keras).zip(&pytorch) {
            adam.decay(weight_decay, std::slice::from_ref(&weights), &mut ours);
            adam.step(&mut ours, &gradients.concat());
            for (theirs, name) in [(keras, "Keras"), (pytorch, "PyTorch")] {
                for (ours, theirs) in ours.iter().zip(theirs.concat()) {
                    assert!((ours - theirs).abs() < 1e-6, "{ours}, {name} has {theirs}");
                }
            }
        }
    }

    /// With v far below epsilon squared the place of epsilon shows: g = 1e-9, rate 1e-3,
    /// m = 1e-10, v = 1e-21, p = -1e-3 sqrt(0.001)/0.1 * 1e-10 / (sqrt(1e-21) + 1e-7)
    ///   = -3.16228e-14 / 1.0003162e-7 = -3.16128e-7.
    #[test]
    fn epsilon_stands_outside_of_the_bias_correction() {
        let mut adam = Adam::new(1e-3, 1);
        let mut parameters = [0.0];
        adam.step(&mut parameters, &[1e-9]);
        assert!((parameters[0] / -3.161_28e-7 - 1.0).abs() < 1e-5, "{}", parameters[0]);
    }
}
