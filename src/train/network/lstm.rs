//! A long short-term memory layer over whole windows, forward and backward.
//!
//! Owns: for each step t of `x [T, B, I]`
//!
//! ```text
//! z = W x_t + R (m * h_(t-1)) + b          four blocks of H: input, output, forget, candidate
//! i, o, f = sigmoid(z_i, z_o, z_f)         g = tanh(z_g)
//! c_t = f c_(t-1) + i g                    h_t = o tanh(c_t)
//! ```
//!
//! (Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000), `m [B, H]` being
//! the recurrent dropout mask, and the derivatives of all that by back-propagation through time.
//! `W [4H, I]`, `R [4H, H]` and the gate order are those of the ONNX operator `LSTM`, so that
//! exporting copies; ONNX's second bias is zero.
//!
//! Promises: the part of z that does not depend on the state is one product for all steps; each
//! step then costs one product of `[B, H]` by `[H, 4H]` and one pass over the gates. Backward, each
//! step costs one product of `[B, 4H]` by `[4H, H]`, and the gradients of W, R and of the input are
//! one product each for all steps. Buffers grow to the largest batch once. `docs/adr/0011` has the
//! measurements.
//!
//! Never: keeps a state from one batch to the next unless it is carried in.

use super::activation::{sigmoid, tanh};
use super::dense::sum_rows;
use super::dropout::{Dropout, scale};
use super::gemm::{Store, View, multiply};
use super::layer::{Buffers, Emits, Extent, Layer};
use super::parameters::{Block, Layout};
use super::recurrent::{Hidden, Rates, output_range, transpose};
use crate::train::random::Random;

/// Shape of the layer and place of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Lstm {
    /// W `[4H, I]`
    pub(crate) kernel: Block,
    /// R `[4H, H]`
    pub(crate) recurrent: Block,
    /// `[4H]`
    pub(crate) bias: Block,
    /// Whether the next layer reads the state after every step, or only after the last.
    pub(crate) emits: Emits,
    rates: Rates,
}

/// What one thread needs to run the layer on one batch.
#[derive(Clone, Debug)]
pub(crate) struct LstmBuffers {
    hidden: Hidden,
    units: usize,
    /// Gates after their functions `[T, B, 4H]`; `backward` replaces them by the gradients of z.
    gates: Vec<f32>,
    /// c before the first step and after each, `[T + 1, B, H]`.
    cell: Vec<f32>,
    /// tanh(c) after each step, `[T, B, H]`.
    cell_tanh: Vec<f32>,
    /// R transposed, `[H, 4H]`: the kernels of the product run a third faster on it, and it is
    /// copied once a batch.
    recurrent_transposed: Vec<f32>,
    /// Gradient of c that flows from step to step, `[B, H]`.
    d_cell: Vec<f32>,
}

impl Lstm {
    pub(crate) fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, units]: [usize; 2],
        emits: Emits,
        rates: Rates,
    ) -> Self {
        Self {
            kernel: layout.take(format!("{name}_w"), [4 * units, inputs]),
            recurrent: layout.take(format!("{name}_r"), [4 * units, units]),
            bias: layout.take(format!("{name}_b"), [4 * units, 1]),
            emits,
            rates,
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.kernel.shape[1]
    }

    pub(crate) fn units(&self) -> usize {
        self.recurrent.shape[1]
    }
}

impl Layer for Lstm {
    type Buffers = LstmBuffers;

    fn blocks(&self) -> Vec<&Block> {
        vec![&self.kernel, &self.recurrent, &self.bias]
    }

    /// h and c.
    fn state_widths(&self) -> Vec<usize> {
        vec![self.units(); 2]
    }

    /// Glorot-uniform W, orthogonal R, bias zero but one for the forget gate (the defaults of
    /// Keras).
    fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        let units = self.units();
        let kernel = self.kernel.of_mut(parameters);
        super::initial::glorot_uniform(kernel, self.inputs(), 4 * units, random);
        let recurrent = self.recurrent.of_mut(parameters);
        super::initial::orthogonal(recurrent, 4 * units, units, random);
        let bias = self.bias.of_mut(parameters);
        bias.fill(0.0);
        bias[2 * units..3 * units].fill(1.0);
    }

    fn buffers(&self, extent: Extent) -> LstmBuffers {
        let units = self.units();
        let state = extent.batch * units;
        let sequence = extent.steps * state;
        LstmBuffers {
            hidden: Hidden::new(units, self.emits, self.rates, extent),
            units,
            gates: Vec::with_capacity(4 * sequence),
            cell: Vec::with_capacity(sequence + state),
            cell_tanh: Vec::with_capacity(sequence),
            recurrent_transposed: vec![0.0; 4 * units * units],
            d_cell: Vec::with_capacity(state),
        }
    }

    /// `input [T, B, I]` to `[T, B, H]` or `[B, H]`.
    fn forward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut LstmBuffers,
    ) {
        let units = self.units();
        let state = extent.batch * units;
        buffers.begin(extent);
        let recurrent = self.recurrent.of(parameters);
        transpose(recurrent, units, &mut buffers.recurrent_transposed);
        let bias = self.bias.of(parameters);

        let rows = extent.steps * extent.batch;
        let kernel = View::new(self.kernel.of(parameters), 4 * units, self.inputs());
        let input = View::new(input, rows, self.inputs());
        multiply(input, kernel.transposed(), Store::Replace, &mut buffers.gates);

        let recurrent = View::new(&buffers.recurrent_transposed, units, 4 * units);
        for step in 0..extent.steps {
            let now = step * state..(step + 1) * state;
            let before = buffers.hidden.product_input(now.clone());
            let gates = &mut buffers.gates[4 * now.start..4 * now.end];
            multiply(View::new(before, extent.batch, units), recurrent, Store::Add, gates);
            let (_, hidden) = buffers.hidden.before_and_after(now.clone());
            let (cell_before, cell) = buffers.cell.split_at_mut(now.end);
            step_forward(
                units,
                bias,
                gates,
                &cell_before[now.clone()],
                &mut cell[..state],
                &mut buffers.cell_tanh[now],
                hidden,
            );
        }
        buffers.hidden.end(extent);
    }

    /// Gradients end at the first step: a carried state is a constant (truncated
    /// back-propagation).
    fn backward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut LstmBuffers,
        gradients: &mut [f32],
        d_input: Option<&mut Vec<f32>>,
    ) {
        let units = self.units();
        let state = extent.batch * units;
        let rows = extent.steps * extent.batch;
        buffers.hidden.begin_backward(extent);
        buffers.d_cell.clear();
        buffers.d_cell.resize(state, 0.0);

        let recurrent = View::new(self.recurrent.of(parameters), 4 * units, units);
        for step in (0..extent.steps).rev() {
            let now = step * state..(step + 1) * state;
            let gates = &mut buffers.gates[4 * now.start..4 * now.end];
            step_backward(
                units,
                gates,
                &buffers.cell[now.clone()],
                &buffers.cell_tanh[now],
                buffers.hidden.d_after(step, extent),
                &mut buffers.d_cell,
            );
            if step > 0 {
                let d_sums = View::new(gates, extent.batch, 4 * units);
                let (d_before, factors) = buffers.hidden.d_before();
                multiply(d_sums, recurrent, Store::Replace, d_before);
                if let Some(factors) = factors {
                    scale(d_before, factors);
                }
            }
        }

        let d_sums = View::new(&buffers.gates, rows, 4 * units);
        let before = View::new(buffers.hidden.product_inputs(extent), rows, units);
        multiply(d_sums.transposed(), before, Store::Replace, self.recurrent.of_mut(gradients));
        let input = View::new(input, rows, self.inputs());
        multiply(d_sums.transposed(), input, Store::Replace, self.kernel.of_mut(gradients));
        sum_rows(&buffers.gates, self.bias.of_mut(gradients));
        if let Some(d_input) = d_input {
            d_input.resize(rows * self.inputs(), 0.0);
            let kernel = View::new(self.kernel.of(parameters), 4 * units, self.inputs());
            multiply(d_sums, kernel, Store::Replace, d_input);
        }
    }
}

impl LstmBuffers {
    fn begin(&mut self, extent: Extent) {
        let state = extent.batch * self.units;
        let sequence = extent.steps * state;
        if self.hidden.begin(extent) {
            assert_eq!(self.cell.len(), state, "carried state is of another batch");
        } else {
            self.cell.clear();
            self.cell.resize(state, 0.0);
        }
        self.cell.resize(sequence + state, 0.0);
        self.cell_tanh.resize(sequence, 0.0);
        self.gates.resize(4 * sequence, 0.0);
    }
}

impl Buffers for LstmBuffers {
    fn output(&self, extent: Extent) -> &[f32] {
        self.hidden.output(extent)
    }

    fn d_output(&mut self) -> &mut Vec<f32> {
        self.hidden.d_output()
    }

    fn draw_masks(&mut self, extent: Extent, random: &mut Random) {
        self.hidden.draw_masks(extent, random);
    }

    fn masks(&mut self) -> Vec<&mut Dropout> {
        self.hidden.masks()
    }

    fn carry_state<'s>(&mut self, states: &mut dyn Iterator<Item = &'s [f32]>) {
        let mut next = || states.next().expect("there is one state for each of the network's");
        self.hidden.carry(next());
        self.cell.clear();
        self.cell.extend_from_slice(next());
    }

    fn last_state<'a>(&'a self, extent: Extent, states: &mut Vec<&'a [f32]>) {
        states.push(self.hidden.last(extent));
        states.push(&self.cell[output_range(Emits::LastStep, extent, self.units)]);
    }
}

/// One step of all windows: sums in `gates [B, 4H]` become gate values; writes c, tanh(c) and h.
fn step_forward(
    units: usize,
    bias: &[f32],
    gates: &mut [f32],
    cell_before: &[f32],
    cell: &mut [f32],
    cell_tanh: &mut [f32],
    hidden: &mut [f32],
) {
    let rows = gates
        .chunks_exact_mut(4 * units)
        .zip(cell_before.chunks_exact(units))
        .zip(cell.chunks_exact_mut(units))
        .zip(cell_tanh.chunks_exact_mut(units))
        .zip(hidden.chunks_exact_mut(units));
    let (bias_gates, bias_candidate) = bias.split_at(3 * units);
    for ((((row, cell_before), cell), cell_tanh), hidden) in rows {
        let (gates, candidate) = row.split_at_mut(3 * units);
        for (z, b) in gates.iter_mut().zip(bias_gates) {
            *z = sigmoid(*z + b);
        }
        for (z, b) in candidate.iter_mut().zip(bias_candidate) {
            *z = tanh(*z + b);
        }
        let (input, rest) = gates.split_at(units);
        let (output, forget) = rest.split_at(units);
        // Slices of one known length let the compiler drop the bounds checks and use vectors.
        let (forget, candidate, cell_before) =
            (&forget[..units], &candidate[..units], &cell_before[..units]);
        let (cell, cell_tanh, hidden) =
            (&mut cell[..units], &mut cell_tanh[..units], &mut hidden[..units]);
        for k in 0..units {
            cell[k] = forget[k] * cell_before[k] + input[k] * candidate[k];
            cell_tanh[k] = tanh(cell[k]);
            hidden[k] = output[k] * cell_tanh[k];
        }
    }
}

/// One step of all windows, backwards: gate values in `gates [B, 4H]` become the gradients of their
/// sums. `d_hidden` is the whole gradient of h after this step; `d_cell` comes as the gradient of c
/// from the step after and leaves as that for the step before.
fn step_backward(
    units: usize,
    gates: &mut [f32],
    cell_before: &[f32],
    cell_tanh: &[f32],
    d_hidden: &[f32],
    d_cell: &mut [f32],
) {
    let rows = gates
        .chunks_exact_mut(4 * units)
        .zip(cell_before.chunks_exact(units))
        .zip(cell_tanh.chunks_exact(units))
        .zip(d_hidden.chunks_exact(units))
        .zip(d_cell.chunks_exact_mut(units));
    for ((((row, cell_before), cell_tanh), d_hidden), d_cell) in rows {
        let (input, rest) = row.split_at_mut(units);
        let (output, rest) = rest.split_at_mut(units);
        let (forget, candidate) = rest.split_at_mut(units);
        let candidate = &mut candidate[..units];
        let (cell_before, cell_tanh) = (&cell_before[..units], &cell_tanh[..units]);
        let (d_hidden, d_cell) = (&d_hidden[..units], &mut d_cell[..units]);
        for k in 0..units {
            let (i, o, f, g) = (input[k], output[k], forget[k], candidate[k]);
            let (tanh_c, dh) = (cell_tanh[k], d_hidden[k]);
            let dc = d_cell[k] + dh * o * (1.0 - tanh_c * tanh_c);
            input[k] = dc * g * i * (1.0 - i);
            output[k] = dh * tanh_c * o * (1.0 - o);
            forget[k] = dc * cell_before[k] * f * (1.0 - f);
            candidate[k] = dc * i * (1.0 - g * g);
            d_cell[k] = dc * f;
        }
    }
}
