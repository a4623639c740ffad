//! A causal convolution over the steps of a window.
//!
//! Owns: for each step t of `x [T, B, F]` and C filters of K steps
//!
//! ```text
//! y_t = f(sum over k of x_(t - K + 1 + k) W_k + b)        k from 0 to K - 1
//! ```
//!
//! with x zero before the first step of the window, and its derivatives. `W [K F, C]` lies as in
//! Keras' `Conv1D` with causal padding: one `[F, C]` for each k, the newest step last.
//!
//! Promises: each k is one product for all steps that reach so far back. `forward` before
//! `backward`.
//!
//! Never: has a state. What it reads before the window is zero, so its values depend on where a
//! window begins, and a model with a convolution runs in mode `full` alone.

use super::activation::Activation;
use super::dense::sum_rows;
use super::gemm::{Store, View, multiply};
use super::layer::{Buffers, Extent, Layer};
use super::parameters::{Block, Layout};
use crate::train::random::Random;

/// Shape of the layer and place of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    /// W `[K F, C]`
    pub(crate) weight: Block,
    /// b `[C]`
    pub(crate) bias: Block,
    pub(crate) activation: Activation,
    /// K
    pub(crate) kernel: usize,
}

/// What one thread needs to run the layer on one batch.
#[derive(Clone, Debug)]
pub(crate) struct ConvolutionBuffers {
    /// `[T, B, C]`
    values: Vec<f32>,
    d_output: Vec<f32>,
}

impl Convolution {
    pub(crate) fn new(
        layout: &mut Layout,
        [inputs, filters]: [usize; 2],
        kernel: usize,
        activation: Activation,
    ) -> Self {
        Self {
            weight: layout.take("convolution_w".to_owned(), [kernel * inputs, filters]),
            bias: layout.take("convolution_b".to_owned(), [filters, 1]),
            activation,
            kernel,
        }
    }

    /// F
    pub(crate) fn inputs(&self) -> usize {
        self.weight.shape[0] / self.kernel
    }

    /// C
    pub(crate) fn filters(&self) -> usize {
        self.weight.shape[1]
    }

    /// The rows that meet each `W_k`, in the order of k.
    fn taps(&self, Extent { steps, batch }: Extent) -> impl Iterator<Item = Tap> {
        (0..self.kernel).rev().map(move |back| {
            let back = back.min(steps);
            Tap { rows: (steps - back) * batch, later: back * batch }
        })
    }
}

/// Rows of a run that meet one part of the weights: the first ones of the input.
struct Tap {
    /// How many; none where the window is too short.
    rows: usize,
    /// How many rows after them their values begin.
    later: usize,
}

impl Layer for Convolution {
    type Buffers = ConvolutionBuffers;

    fn blocks(&self) -> Vec<&Block> {
        vec![&self.weight, &self.bias]
    }

    /// Glorot-uniform weights, zero bias (the defaults of Keras).
    fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        let [into, out] = [self.inputs(), self.filters()].map(|width| self.kernel * width);
        super::initial::glorot_uniform(self.weight.of_mut(parameters), into, out, random);
        self.bias.of_mut(parameters).fill(0.0);
    }

    fn buffers(&self, extent: Extent) -> ConvolutionBuffers {
        let size = extent.steps * extent.batch * self.filters();
        ConvolutionBuffers { values: Vec::with_capacity(size), d_output: Vec::with_capacity(size) }
    }

    /// `input [T, B, F]` to `[T, B, C]`.
    fn forward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut ConvolutionBuffers,
    ) {
        let (inputs, filters) = (self.inputs(), self.filters());
        let values = &mut buffers.values;
        values.clear();
        let bias = self.bias.of(parameters);
        (0..extent.steps * extent.batch).for_each(|_| values.extend_from_slice(bias));
        let weights = self.weight.of(parameters).chunks_exact(inputs * filters);
        for (Tap { rows, later }, weight) in self.taps(extent).zip(weights) {
            if rows > 0 {
                let input = View::new(&input[..rows * inputs], rows, inputs);
                let weight = View::new(weight, inputs, filters);
                multiply(input, weight, Store::Add, &mut values[later * filters..]);
            }
        }
        self.activation.apply(values);
    }

    fn backward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut ConvolutionBuffers,
        gradients: &mut [f32],
        d_input: Option<&mut Vec<f32>>,
    ) {
        let (inputs, filters) = (self.inputs(), self.filters());
        let ConvolutionBuffers { values, d_output } = buffers;
        self.activation.scale_gradient(values, d_output);
        sum_rows(d_output, self.bias.of_mut(gradients));
        let d_weights = self.weight.of_mut(gradients).chunks_exact_mut(inputs * filters);
        for (Tap { rows, later }, d_weight) in self.taps(extent).zip(d_weights) {
            if rows == 0 {
                d_weight.fill(0.0);
                continue;
            }
            let input = View::new(&input[..rows * inputs], rows, inputs);
            let d_sums = View::new(&d_output[later * filters..], rows, filters);
            multiply(input.transposed(), d_sums, Store::Replace, d_weight);
        }
        let Some(d_input) = d_input else { return };
        d_input.clear();
        d_input.resize(extent.steps * extent.batch * inputs, 0.0);
        let weights = self.weight.of(parameters).chunks_exact(inputs * filters);
        for (Tap { rows, later }, weight) in self.taps(extent).zip(weights) {
            if rows > 0 {
                let d_sums = View::new(&d_output[later * filters..], rows, filters);
                let weight = View::new(weight, inputs, filters);
                multiply(d_sums, weight.transposed(), Store::Add, &mut d_input[..rows * inputs]);
            }
        }
    }
}

impl Buffers for ConvolutionBuffers {
    fn output(&self, _: Extent) -> &[f32] {
        &self.values
    }

    fn d_output(&mut self) -> &mut Vec<f32> {
        &mut self.d_output
    }
}
