//! A gated recurrent unit over whole windows, forward and backward.
//!
//! Owns: for each step t of `x [T, B, I]`
//!
//! ```text
//! a = W x_t + b       u = R (m * h_(t-1)) + d       three blocks of H: update, reset, candidate
//! z, r = sigmoid(a_z + u_z, a_r + u_r)              g = tanh(a_g + r u_g)
//! h_t = g + z (h_(t-1) - g)
//! ```
//!
//! (Cho et al., 2014, in the form of cuDNN, where the reset gate multiplies the product with h:
//! `reset_after` in Keras, `linear_before_reset` in ONNX), `m [B, H]` being the recurrent dropout
//! mask, and the derivatives of all that by back-propagation through time. The mask acts on the
//! products alone, as in an LSTM; the h that the update gate keeps is whole. `W [3H, I]`,
//! `R [3H, H]`, the two biases b and d `[2, 3H]` and the gate order are those of the ONNX operator
//! `GRU`, so that exporting copies.
//!
//! Promises: as many products as an LSTM has, of three quarters of their size.
//!
//! Never: keeps a state from one batch to the next unless it is carried in.

use super::activation::{sigmoid, tanh};
use super::dense::sum_rows;
use super::dropout::{Dropout, scale};
use super::gemm::{Store, View, multiply};
use super::layer::{Buffers, Emits, Extent, Layer};
use super::parameters::{Block, Layout};
use super::recurrent::{Hidden, Rates, transpose};
use crate::train::random::Random;

/// Shape of the layer and place of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Gru {
    /// W `[3H, I]`
    pub(crate) kernel: Block,
    /// R `[3H, H]`
    pub(crate) recurrent: Block,
    /// b, then d: `[2, 3H]`
    pub(crate) bias: Block,
    /// Whether the next layer reads the state after every step, or only after the last.
    pub(crate) emits: Emits,
    rates: Rates,
}

/// What one thread needs to run the layer on one batch.
#[derive(Clone, Debug)]
pub(crate) struct GruBuffers {
    hidden: Hidden,
    /// z, r and g `[T, B, 3H]`; `backward` replaces them by the gradients of a.
    gates: Vec<f32>,
    /// u `[T, B, 3H]`; `backward` replaces it by its gradients.
    products: Vec<f32>,
    /// R transposed, `[H, 3H]`, as in an LSTM.
    recurrent_transposed: Vec<f32>,
    /// Gradient of m * h before a step, `[B, H]`.
    d_product_input: Vec<f32>,
}

impl Gru {
    pub(crate) fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, units]: [usize; 2],
        emits: Emits,
        rates: Rates,
    ) -> Self {
        Self {
            kernel: layout.take(format!("{name}_w"), [3 * units, inputs]),
            recurrent: layout.take(format!("{name}_r"), [3 * units, units]),
            bias: layout.take(format!("{name}_b"), [2, 3 * units]),
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

impl Layer for Gru {
    type Buffers = GruBuffers;

    fn blocks(&self) -> Vec<&Block> {
        vec![&self.kernel, &self.recurrent, &self.bias]
    }

    /// h
    fn state_widths(&self) -> Vec<usize> {
        vec![self.units()]
    }

    /// Glorot-uniform W, orthogonal R, zero biases (the defaults of Keras).
    fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        let units = self.units();
        let kernel = self.kernel.of_mut(parameters);
        super::initial::glorot_uniform(kernel, self.inputs(), 3 * units, random);
        let recurrent = self.recurrent.of_mut(parameters);
        super::initial::orthogonal(recurrent, 3 * units, units, random);
        self.bias.of_mut(parameters).fill(0.0);
    }

    fn buffers(&self, extent: Extent) -> GruBuffers {
        let units = self.units();
        let state = extent.batch * units;
        let sequence = extent.steps * state;
        GruBuffers {
            hidden: Hidden::new(units, self.emits, self.rates, extent),
            gates: Vec::with_capacity(3 * sequence),
            products: Vec::with_capacity(3 * sequence),
            recurrent_transposed: vec![0.0; 3 * units * units],
            d_product_input: Vec::with_capacity(state),
        }
    }

    /// `input [T, B, I]` to `[T, B, H]` or `[B, H]`.
    fn forward(&self, parameters: &[f32], input: &[f32], extent: Extent, buffers: &mut GruBuffers) {
        let units = self.units();
        let state = extent.batch * units;
        let rows = extent.steps * extent.batch;
        buffers.hidden.begin(extent);
        buffers.gates.resize(3 * extent.steps * state, 0.0);
        buffers.products.resize(3 * extent.steps * state, 0.0);
        let recurrent = self.recurrent.of(parameters);
        transpose(recurrent, units, &mut buffers.recurrent_transposed);
        let bias = self.bias.of(parameters);

        let kernel = View::new(self.kernel.of(parameters), 3 * units, self.inputs());
        let input = View::new(input, rows, self.inputs());
        multiply(input, kernel.transposed(), Store::Replace, &mut buffers.gates);

        let recurrent = View::new(&buffers.recurrent_transposed, units, 3 * units);
        for step in 0..extent.steps {
            let now = step * state..(step + 1) * state;
            let before = buffers.hidden.product_input(now.clone());
            let products = &mut buffers.products[3 * now.start..3 * now.end];
            let before = View::new(before, extent.batch, units);
            multiply(before, recurrent, Store::Replace, products);
            let gates = &mut buffers.gates[3 * now.start..3 * now.end];
            let (before, hidden) = buffers.hidden.before_and_after(now);
            step_forward(units, bias, gates, products, before, hidden);
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
        buffers: &mut GruBuffers,
        gradients: &mut [f32],
        d_input: Option<&mut Vec<f32>>,
    ) {
        let units = self.units();
        let state = extent.batch * units;
        let rows = extent.steps * extent.batch;
        buffers.hidden.begin_backward(extent);
        buffers.d_product_input.resize(state, 0.0);

        let recurrent = View::new(self.recurrent.of(parameters), 3 * units, units);
        for step in (0..extent.steps).rev() {
            let now = step * state..(step + 1) * state;
            let gates = &mut buffers.gates[3 * now.start..3 * now.end];
            let products = &mut buffers.products[3 * now.start..3 * now.end];
            buffers.hidden.d_after(step, extent);
            let (before, d_hidden) = buffers.hidden.before_and_gradient(now);
            step_backward(units, gates, products, before, d_hidden);
            if step > 0 {
                let d_products = View::new(products, extent.batch, 3 * units);
                let d_input = &mut buffers.d_product_input;
                multiply(d_products, recurrent, Store::Replace, d_input);
                let (d_before, factors) = buffers.hidden.d_before();
                if let Some(factors) = factors {
                    scale(d_input, factors);
                }
                d_before.iter_mut().zip(d_input.iter()).for_each(|(d, more)| *d += more);
            }
        }

        let d_products = View::new(&buffers.products, rows, 3 * units);
        let before = View::new(buffers.hidden.product_inputs(extent), rows, units);
        let d_recurrent = self.recurrent.of_mut(gradients);
        multiply(d_products.transposed(), before, Store::Replace, d_recurrent);
        let (of_input, of_state) = self.bias.of_mut(gradients).split_at_mut(3 * units);
        sum_rows(&buffers.gates, of_input);
        sum_rows(&buffers.products, of_state);
        let d_sums = View::new(&buffers.gates, rows, 3 * units);
        let input = View::new(input, rows, self.inputs());
        multiply(d_sums.transposed(), input, Store::Replace, self.kernel.of_mut(gradients));
        if let Some(d_input) = d_input {
            d_input.resize(rows * self.inputs(), 0.0);
            let kernel = View::new(self.kernel.of(parameters), 3 * units, self.inputs());
            multiply(d_sums, kernel, Store::Replace, d_input);
        }
    }
}

impl Buffers for GruBuffers {
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
        let state = states.next().expect("there is one state for each of the network's");
        self.hidden.carry(state);
    }

    fn last_state<'a>(&'a self, extent: Extent, states: &mut Vec<&'a [f32]>) {
        states.push(self.hidden.last(extent));
    }
}

/// One step of all windows: the parts of a in `gates [B, 3H]` become z, r and g, the products in
/// `products [B, 3H]` become u; writes h.
fn step_forward(
    units: usize,
    bias: &[f32],
    gates: &mut [f32],
    products: &mut [f32],
    before: &[f32],
    hidden: &mut [f32],
) {
    let (of_input, of_state) = bias.split_at(3 * units);
    let rows = gates
        .chunks_exact_mut(3 * units)
        .zip(products.chunks_exact_mut(3 * units))
        .zip(before.chunks_exact(units))
        .zip(hidden.chunks_exact_mut(units));
    for (((gates, products), before), hidden) in rows {
        gates.iter_mut().zip(of_input).for_each(|(a, b)| *a += b);
        products.iter_mut().zip(of_state).for_each(|(u, d)| *u += d);
        let (sums, candidate) = gates.split_at_mut(2 * units);
        for (a, u) in sums.iter_mut().zip(products.iter()) {
            *a = sigmoid(*a + u);
        }
        let (update, reset) = sums.split_at(units);
        // Slices of one known length let the compiler drop the bounds checks and use vectors.
        let (reset, of_h) = (&reset[..units], &products[2 * units..][..units]);
        let (before, candidate) = (&before[..units], &mut candidate[..units]);
        let hidden = &mut hidden[..units];
        for k in 0..units {
            candidate[k] = tanh(candidate[k] + reset[k] * of_h[k]);
            hidden[k] = candidate[k] + update[k] * (before[k] - candidate[k]);
        }
    }
}

/// One step of all windows, backwards: gate values in `gates [B, 3H]` become the gradients of a,
/// `products [B, 3H]` those of u. `d_hidden` comes as the whole gradient of h after this step and
/// leaves as that of h before it, but for what goes through the products.
fn step_backward(
    units: usize,
    gates: &mut [f32],
    products: &mut [f32],
    before: &[f32],
    d_hidden: &mut [f32],
) {
    let rows = gates
        .chunks_exact_mut(3 * units)
        .zip(products.chunks_exact_mut(3 * units))
        .zip(before.chunks_exact(units))
        .zip(d_hidden.chunks_exact_mut(units));
    for (((gates, products), before), d_hidden) in rows {
        let (update, rest) = gates.split_at_mut(units);
        let (reset, candidate) = rest.split_at_mut(units);
        let candidate = &mut candidate[..units];
        let (d_of_update, rest) = products.split_at_mut(units);
        let (d_of_reset, of_h) = rest.split_at_mut(units);
        let of_h = &mut of_h[..units];
        let (before, d_hidden) = (&before[..units], &mut d_hidden[..units]);
        for k in 0..units {
            let (z, r, g, dh) = (update[k], reset[k], candidate[k], d_hidden[k]);
            let d_candidate = dh * (1.0 - z) * (1.0 - g * g);
            candidate[k] = d_candidate;
            reset[k] = d_candidate * of_h[k] * r * (1.0 - r);
            update[k] = dh * (before[k] - g) * z * (1.0 - z);
            d_of_update[k] = update[k];
            d_of_reset[k] = reset[k];
            of_h[k] = d_candidate * r;
            d_hidden[k] = dh * z;
        }
    }
}
