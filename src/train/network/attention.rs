//! Attention over the states of a sequence: which steps of the window the forecast looks at.
//!
//! Owns: for the states `h_t` of `[T, B, H]` and A units
//!
//! ```text
//! u_t = tanh(h_t W + b)      e_t = u_t . v      a = softmax of e over the steps
//! c = sum over t of a_t h_t                     c [B, H]
//! ```
//!
//! (the additive score of Bahdanau et al., 2015, with one learned question for all windows), and
//! its derivatives. `W [H, A]` and `v [A, 1]` lie as Keras and ONNX `MatMul` have them.
//!
//! Promises: `forward` before `backward`; `backward` overwrites its blocks of the gradient vector
//! and the gradient of its input. The largest score is taken off before the exponential, so that no
//! window overflows.
//!
//! Never: sees a step twice: it needs the whole window, which is why a model with attention runs in
//! mode `full` alone.

use super::activation::{Activation, exp_of_negative};
use super::dense::sum_rows;
use super::gemm::{Store, View, multiply};
use super::layer::{Buffers, Extent, Layer};
use super::parameters::{Block, Layout};
use crate::train::random::Random;

/// Shape of the layer and place of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    /// W `[H, A]`
    pub(crate) weight: Block,
    /// b `[A]`
    pub(crate) bias: Block,
    /// v `[A, 1]`
    pub(crate) question: Block,
}

/// What one thread needs to run the layer on one batch.
#[derive(Clone, Debug)]
pub(crate) struct AttentionBuffers {
    /// u `[T, B, A]`; `backward` replaces it by the gradients of its sums.
    hidden: Vec<f32>,
    /// Scores, then the weights a, `[T, B]`.
    weights: Vec<f32>,
    /// c `[B, H]`
    context: Vec<f32>,
    /// Gradients of the scores `[T, B]`.
    d_scores: Vec<f32>,
    d_output: Vec<f32>,
}

impl Attention {
    pub(crate) fn new(layout: &mut Layout, width: usize, units: usize) -> Self {
        Self {
            weight: layout.take("attention_w".to_owned(), [width, units]),
            bias: layout.take("attention_b".to_owned(), [units, 1]),
            question: layout.take("attention_v".to_owned(), [units, 1]),
        }
    }

    /// H, the width of a state.
    pub(crate) fn width(&self) -> usize {
        self.weight.shape[0]
    }

    /// A
    pub(crate) fn units(&self) -> usize {
        self.weight.shape[1]
    }
}

impl Layer for Attention {
    type Buffers = AttentionBuffers;

    fn blocks(&self) -> Vec<&Block> {
        vec![&self.weight, &self.bias, &self.question]
    }

    /// Glorot-uniform weights, zero bias.
    fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        let (width, units) = (self.width(), self.units());
        let weight = self.weight.of_mut(parameters);
        super::initial::glorot_uniform(weight, width, units, random);
        self.bias.of_mut(parameters).fill(0.0);
        super::initial::glorot_uniform(self.question.of_mut(parameters), units, 1, random);
    }

    fn buffers(&self, extent: Extent) -> AttentionBuffers {
        let rows = extent.steps * extent.batch;
        let state = extent.batch * self.width();
        AttentionBuffers {
            hidden: Vec::with_capacity(rows * self.units()),
            weights: Vec::with_capacity(rows),
            context: Vec::with_capacity(state),
            d_scores: Vec::with_capacity(rows),
            d_output: Vec::with_capacity(state),
        }
    }

    /// `states [T, B, H]` to `[B, H]`.
    fn forward(
        &self,
        parameters: &[f32],
        states: &[f32],
        extent: Extent,
        buffers: &mut AttentionBuffers,
    ) {
        let (width, units, batch) = (self.width(), self.units(), extent.batch);
        let rows = extent.steps * batch;
        let AttentionBuffers { hidden, weights, context, .. } = buffers;
        hidden.clear();
        (0..rows).for_each(|_| hidden.extend_from_slice(self.bias.of(parameters)));
        let weight = View::new(self.weight.of(parameters), width, units);
        multiply(View::new(states, rows, width), weight, Store::Add, hidden);
        Activation::Tanh.apply(hidden);
        weights.resize(rows, 0.0);
        let question = View::new(self.question.of(parameters), units, 1);
        multiply(View::new(hidden, rows, units), question, Store::Replace, weights);
        (0..batch).for_each(|window| softmax(weights, batch, window));

        context.clear();
        context.resize(batch * width, 0.0);
        for (states, weights) in states.chunks_exact(batch * width).zip(weights.chunks_exact(batch))
        {
            let windows = context.chunks_exact_mut(width).zip(states.chunks_exact(width));
            for ((sum, state), weight) in windows.zip(weights) {
                sum.iter_mut().zip(state).for_each(|(sum, h)| *sum += weight * h);
            }
        }
    }

    fn backward(
        &self,
        parameters: &[f32],
        states: &[f32],
        extent: Extent,
        buffers: &mut AttentionBuffers,
        gradients: &mut [f32],
        d_states: Option<&mut Vec<f32>>,
    ) {
        let (width, units, batch) = (self.width(), self.units(), extent.batch);
        let rows = extent.steps * batch;
        let AttentionBuffers { hidden, weights, d_scores, d_output, .. } = buffers;
        // Of the weights first: how much more of a state would help.
        d_scores.clear();
        for (row, state) in states.chunks_exact(width).enumerate() {
            let d_context = &d_output[row % batch * width..][..width];
            d_scores.push(state.iter().zip(d_context).map(|(h, d)| h * d).sum());
        }
        (0..batch).for_each(|window| softmax_backward(weights, d_scores, batch, window));

        let d_sums = View::new(d_scores, rows, 1);
        let before = View::new(hidden, rows, units);
        multiply(before.transposed(), d_sums, Store::Replace, self.question.of_mut(gradients));
        let question = self.question.of(parameters);
        for (row, d_score) in hidden.chunks_exact_mut(units).zip(d_scores.iter()) {
            for (u, v) in row.iter_mut().zip(question) {
                *u = d_score * v * (1.0 - *u * *u);
            }
        }
        sum_rows(hidden, self.bias.of_mut(gradients));
        let d_sums = View::new(hidden, rows, units);
        let input = View::new(states, rows, width);
        multiply(input.transposed(), d_sums, Store::Replace, self.weight.of_mut(gradients));

        let Some(d_states) = d_states else { return };
        d_states.resize(rows * width, 0.0);
        for (row, d_state) in d_states.chunks_exact_mut(width).enumerate() {
            let d_context = &d_output[row % batch * width..][..width];
            d_state.iter_mut().zip(d_context).for_each(|(to, d)| *to = weights[row] * d);
        }
        let weight = View::new(self.weight.of(parameters), width, units);
        multiply(d_sums, weight.transposed(), Store::Add, d_states);
    }
}

impl Buffers for AttentionBuffers {
    fn output(&self, _: Extent) -> &[f32] {
        &self.context
    }

    fn d_output(&mut self) -> &mut Vec<f32> {
        &mut self.d_output
    }
}

/// Scores `[T, B]` of one window to weights that sum to 1.
fn softmax(scores: &mut [f32], batch: usize, window: usize) {
    let steps = || (window..scores.len()).step_by(batch);
    // Written so that NaN is kept, unlike `max`.
    let largest = steps().map(|at| scores[at]).reduce(|a, b| if a > b { a } else { b });
    let largest = largest.unwrap_or(0.0);
    let mut sum = 0.0;
    for at in (window..scores.len()).step_by(batch) {
        scores[at] = exp_of_negative(scores[at] - largest);
        sum += scores[at];
    }
    (window..scores.len()).step_by(batch).for_each(|at| scores[at] /= sum);
}

/// Gradients of the weights `[T, B]` of one window to those of the scores.
fn softmax_backward(weights: &[f32], gradients: &mut [f32], batch: usize, window: usize) {
    let steps = || (window..weights.len()).step_by(batch);
    let mean: f32 = steps().map(|at| weights[at] * gradients[at]).sum();
    steps().for_each(|at| gradients[at] = weights[at] * (gradients[at] - mean));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_each_window_sum_to_one_however_large_the_scores() {
        let mut scores = [1000.0, -5.0, 999.0, -5.0, -1e30, -5.0];
        (0..2).for_each(|window| softmax(&mut scores, 2, window));
        let e = (-1.0_f32).exp();
        for (at, expected) in [(0, 1.0 / (1.0 + e)), (2, e / (1.0 + e)), (4, 0.0)] {
            assert!((scores[at] - expected).abs() < 1e-6, "{} is not {expected}", scores[at]);
        }
        assert!([1, 3, 5].iter().all(|at| (scores[*at] - 1.0 / 3.0).abs() < 1e-6));
    }

    #[test]
    fn a_score_that_is_no_number_is_seen() {
        let mut scores = [1.0, f32::NAN, 2.0];
        softmax(&mut scores, 1, 0);
        assert!(scores.iter().any(|weight| weight.is_nan()));
    }
}
