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
use super::layer::{Buffers, Emits, Extent, Layer};
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
    /// Whether the layer below hands on every step: each row is then one of a step.
    pub(crate) reads: Emits,
    dropout: f32,
}

/// What one thread needs to run the layer on one batch.
#[derive(Clone, Debug)]
pub(crate) struct DenseBuffers {
    units: usize,
    reads: Emits,
    /// `[B, O]`, after the activation and before dropout.
    values: Vec<f32>,
    /// `[B, O]`, after dropout; empty while dropout is inactive.
    dropped: Vec<f32>,
    dropout: Dropout,
    d_output: Vec<f32>,
}

impl Dense {
    pub(crate) fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, units]: [usize; 2],
        activation: Activation,
        reads: Emits,
        dropout: f32,
    ) -> Self {
        Self {
            weight: layout.take(format!("{name}_w"), [inputs, units]),
            bias: layout.take(format!("{name}_b"), [units, 1]),
            activation,
            reads,
            dropout,
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.shape[0]
    }

    pub(crate) fn units(&self) -> usize {
        self.weight.shape[1]
    }
}

impl Layer for Dense {
    type Buffers = DenseBuffers;

    fn blocks(&self) -> Vec<&Block> {
        vec![&self.weight, &self.bias]
    }

    /// Glorot-uniform weights, zero bias (the defaults of Keras).
    fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        let weight = self.weight.of_mut(parameters);
        super::initial::glorot_uniform(weight, self.inputs(), self.units(), random);
        self.bias.of_mut(parameters).fill(0.0);
    }

    fn buffers(&self, extent: Extent) -> DenseBuffers {
        let size = self.reads.rows(extent) * self.units();
        DenseBuffers {
            units: self.units(),
            reads: self.reads,
            values: Vec::with_capacity(size),
            dropped: Vec::with_capacity(if self.dropout > 0.0 { size } else { 0 }),
            dropout: Dropout::new(self.dropout, size),
            d_output: Vec::with_capacity(size),
        }
    }

    /// `input [B, I]` to `[B, O]`.
    fn forward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut DenseBuffers,
    ) {
        let (inputs, units, batch) = (self.inputs(), self.units(), self.reads.rows(extent));
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

    fn backward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut DenseBuffers,
        gradients: &mut [f32],
        d_input: Option<&mut Vec<f32>>,
    ) {
        let (inputs, units, batch) = (self.inputs(), self.units(), self.reads.rows(extent));
        if let Some(factors) = buffers.dropout.factors() {
            scale(&mut buffers.d_output, factors);
        }
        self.activation.scale_gradient(&buffers.values, &mut buffers.d_output);

        let d_sums = View::new(&buffers.d_output, batch, units);
        let input = View::new(input, batch, inputs);
        multiply(input.transposed(), d_sums, Store::Replace, self.weight.of_mut(gradients));
        sum_rows(&buffers.d_output, self.bias.of_mut(gradients));
        if let Some(d_input) = d_input {
            d_input.resize(batch * inputs, 0.0);
            let weight = View::new(self.weight.of(parameters), inputs, units);
            multiply(d_sums, weight.transposed(), Store::Replace, d_input);
        }
    }
}

impl DenseBuffers {
    /// [`Buffers::output`], with the gradient beside it.
    pub(crate) fn output_and_gradient(&mut self) -> (&[f32], &mut Vec<f32>) {
        let dropped = self.dropout.factors().is_some();
        let values = if dropped { &self.dropped } else { &self.values };
        (values, &mut self.d_output)
    }
}

impl Buffers for DenseBuffers {
    fn output(&self, _: Extent) -> &[f32] {
        if self.dropout.factors().is_some() { &self.dropped } else { &self.values }
    }

    fn d_output(&mut self) -> &mut Vec<f32> {
        &mut self.d_output
    }

    fn draw_masks(&mut self, extent: Extent, random: &mut Random) {
        self.dropout.draw(self.reads.rows(extent) * self.units, random);
    }

    fn masks(&mut self) -> Vec<&mut Dropout> {
        vec![&mut self.dropout]
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
