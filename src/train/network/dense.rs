//! A fully connected layer.
//!
//! Owns: `y = f(x W + b)` for `x [B, I]`, `W [I, O]`, `b [O]`, `y [B, O]`, and its derivatives. The
//! weights lie as Keras and ONNX `Gemm` have them.
//!
//! Promises: `forward` before `backward`; `backward` overwrites its blocks of the gradient vector
//! with the sums over the batch.
//!
//! Never: knows which layer stands before or after it.

use super::activation::Activation;
use super::dropout::{Dropout, scale};
use super::gemm::{Store, View, multiply};
use super::parameters::{Block, Layout};
use crate::train::random::Random;

/// Shape of the layer and place of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    /// `[I, O]`
    pub(crate) weight: Block,
    /// `[O]`
    pub(crate) bias: Block,
    pub(crate) activation: Activation,
}

/// What one thread needs to run the layer on one batch.
#[derive(Clone, Debug)]
pub(crate) struct DenseBuffers {
    /// `[B, O]`, after the activation and before dropout.
    values: Vec<f32>,
    /// `[B, O]`, after dropout; empty while dropout is inactive.
    dropped: Vec<f32>,
    pub(crate) dropout: Dropout,
    /// Gradient of the loss with respect to [`output`](Self::output), `[B, O]`: written by the
    /// next layer or the loss, and used up by `backward`.
    pub(crate) d_output: Vec<f32>,
}

impl Dense {
    pub(crate) fn new(
        layout: &mut Layout,
        name: &str,
        inputs: usize,
        units: usize,
        activation: Activation,
    ) -> Self {
        Self {
            weight: layout.take(format!("{name}_w"), [inputs, units]),
            bias: layout.take(format!("{name}_b"), [units, 1]),
            activation,
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.shape[0]
    }

    pub(crate) fn units(&self) -> usize {
        self.weight.shape[1]
    }

    /// Glorot-uniform weights, zero bias (the defaults of Keras).
    pub(crate) fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        let weight = self.weight.of_mut(parameters);
        super::initial::glorot_uniform(weight, self.inputs(), self.units(), random);
        self.bias.of_mut(parameters).fill(0.0);
    }

    pub(crate) fn buffers(&self, batch: usize, dropout: f32) -> DenseBuffers {
        let size = batch * self.units();
        DenseBuffers {
            values: Vec::with_capacity(size),
            dropped: Vec::with_capacity(if dropout > 0.0 { size } else { 0 }),
            dropout: Dropout::new(dropout, size),
            d_output: Vec::with_capacity(size),
        }
    }

    /// `input [B, I]` to [`DenseBuffers::output`].
    pub(crate) fn forward(
        &self,
        parameters: &[f32],
        input: &[f32],
        batch: usize,
        buffers: &mut DenseBuffers,
    ) {
        let (inputs, units) = (self.inputs(), self.units());
        buffers.values.resize(batch * units, 0.0);
        let bias = self.bias.of(parameters);
        for row in buffers.values.chunks_exact_mut(units) {
            row.copy_from_slice(bias);
        }
        let weight = View::new(self.weight.of(parameters), inputs, units);
        multiply(View::new(input, batch, inputs), weight, Store::Add, &mut buffers.values);
        self.activation.apply(&mut buffers.values);
        buffers.dropped.clear();
        if let Some(factors) = buffers.dropout.factors() {
            buffers.dropped.extend_from_slice(&buffers.values);
            scale(&mut buffers.dropped, factors);
        }
    }

    /// From [`DenseBuffers::d_output`] to the gradients of the parameters and of the input
    /// (`d_input [B, I]`, overwritten). `input` is what `forward` was given.
    pub(crate) fn backward(
        &self,
        parameters: &[f32],
        input: &[f32],
        batch: usize,
        buffers: &mut DenseBuffers,
        gradients: &mut [f32],
        d_input: &mut Vec<f32>,
    ) {
        let (inputs, units) = (self.inputs(), self.units());
        if let Some(factors) = buffers.dropout.factors() {
            scale(&mut buffers.d_output, factors);
        }
        self.activation.scale_gradient(&buffers.values, &mut buffers.d_output);

        let d_sums = View::new(&buffers.d_output, batch, units);
        let input = View::new(input, batch, inputs);
        multiply(input.transposed(), d_sums, Store::Replace, self.weight.of_mut(gradients));
        sum_rows(&buffers.d_output, self.bias.of_mut(gradients));
        d_input.resize(batch * inputs, 0.0);
        let weight = View::new(self.weight.of(parameters), inputs, units);
        multiply(d_sums, weight.transposed(), Store::Replace, d_input);
    }
}

impl DenseBuffers {
    /// What the next layer reads, `[B, O]`.
    pub(crate) fn output(&self) -> &[f32] {
        if self.dropout.factors().is_some() { &self.dropped } else { &self.values }
    }

    /// The same, with the gradient beside it.
    pub(crate) fn output_and_gradient(&mut self) -> (&[f32], &mut Vec<f32>) {
        let dropped = self.dropout.factors().is_some();
        let values = if dropped { &self.dropped } else { &self.values };
        (values, &mut self.d_output)
    }
}

/// `total [n] = sum over rows of matrix [m, n]`, from the first row to the last.
pub(crate) fn sum_rows(matrix: &[f32], total: &mut [f32]) {
    total.fill(0.0);
    for row in matrix.chunks_exact(total.len()) {
        for (sum, value) in total.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
