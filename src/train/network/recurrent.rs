//! What every recurrent layer has: the state h of each step, and the masks over it.
//!
//! Owns: h before the first step and after each one, m * h as the recurrent product reads it,
//! the output after dropout, and the gradients of h and of the output.
//!
//! Promises: a run begins from zero, or from the state that was carried in for it. Buffers grow to
//! the largest batch once.
//!
//! Never: knows a cell: gates and further states are those of the layer.

use std::ops::Range;

use super::dropout::{Dropout, scale};
use super::layer::{Emits, Extent};
use crate::train::random::Random;

/// Shares that a recurrent layer drops while training.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Of the state before each step.
    pub(crate) recurrent: f32,
    /// Of the output.
    pub(crate) output: f32,
}

/// h of one run.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    units: usize,
    emits: Emits,
    /// h before the first step and after each, `[T + 1, B, H]`.
    values: Vec<f32>,
    /// m * h before each step, `[T, B, H]`; empty while recurrent dropout is inactive.
    masked: Vec<f32>,
    /// Output after dropout; empty while dropout is inactive.
    dropped: Vec<f32>,
    recurrent_dropout: Dropout,
    dropout: Dropout,
    d_output: Vec<f32>,
    /// Gradient of h that flows from step to step, `[B, H]`.
    d_state: Vec<f32>,
    carried: bool,
}

impl Hidden {
    /// Room for at most `extent`.
    pub(crate) fn new(units: usize, emits: Emits, rates: Rates, extent: Extent) -> Self {
        let state = extent.batch * units;
        let sequence = extent.steps * state;
        let output = emits.rows(extent) * units;
        let room = |rate: f32, size: usize| Vec::with_capacity(if rate > 0.0 { size } else { 0 });
        Self {
            units,
            emits,
            values: Vec::with_capacity(sequence + state),
            masked: room(rates.recurrent, sequence),
            dropped: room(rates.output, output),
            recurrent_dropout: Dropout::new(rates.recurrent, state),
            dropout: Dropout::new(rates.output, output),
            d_output: Vec::with_capacity(output),
            d_state: Vec::with_capacity(state),
            carried: false,
        }
    }

    /// Begins a run; whether it begins from a carried state.
    pub(crate) fn begin(&mut self, extent: Extent) -> bool {
        let state = extent.batch * self.units;
        let sequence = extent.steps * state;
        let carried = std::mem::take(&mut self.carried);
        if carried {
            assert_eq!(self.values.len(), state, "carried state is of another batch");
        } else {
            self.values.clear();
            self.values.resize(state, 0.0);
        }
        self.values.resize(sequence + state, 0.0);
        let masked = self.recurrent_dropout.factors().map_or(0, |_| sequence);
        self.masked.resize(masked, 0.0);
        carried
    }

    /// m * h before the step with the values `now`, which the recurrent product reads.
    pub(crate) fn product_input(&mut self, now: Range<usize>) -> &[f32] {
        let before = &self.values[now.clone()];
        match self.recurrent_dropout.factors() {
            None => before,
            Some(factors) => {
                let masked = &mut self.masked[now];
                masked.copy_from_slice(before);
                scale(masked, factors);
                masked
            }
        }
    }

    /// h before the step with the values `now`, and the place of h after it.
    pub(crate) fn before_and_after(&mut self, now: Range<usize>) -> (&[f32], &mut [f32]) {
        let (before, after) = self.values.split_at_mut(now.end);
        (&before[now.start..], &mut after[..now.len()])
    }

    /// h before the step with the values `now`, and the gradient of h that flows from step to
    /// step.
    pub(crate) fn before_and_gradient(&mut self, now: Range<usize>) -> (&[f32], &mut Vec<f32>) {
        (&self.values[now], &mut self.d_state)
    }

    /// Ends a forward run: drops what the next layer does not see.
    pub(crate) fn end(&mut self, extent: Extent) {
        self.dropped.clear();
        if let Some(factors) = self.dropout.factors() {
            let output = output_range(self.emits, extent, self.units);
            self.dropped.extend_from_slice(&self.values[output]);
            scale(&mut self.dropped, factors);
        }
    }

    /// Begins a backward run.
    pub(crate) fn begin_backward(&mut self, extent: Extent) {
        if let Some(factors) = self.dropout.factors() {
            scale(&mut self.d_output, factors);
        }
        self.d_state.clear();
        self.d_state.resize(extent.batch * self.units, 0.0);
    }

    /// The whole gradient of h after `step`: what comes from the step after it, to which this adds
    /// what comes from above.
    pub(crate) fn d_after(&mut self, step: usize, extent: Extent) -> &mut Vec<f32> {
        let state = extent.batch * self.units;
        let from_above: &[f32] = match self.emits {
            Emits::EveryStep => &self.d_output[step * state..(step + 1) * state],
            Emits::LastStep if step + 1 == extent.steps => &self.d_output,
            Emits::LastStep => &[],
        };
        self.d_state.iter_mut().zip(from_above).for_each(|(d, from_above)| *d += from_above);
        &mut self.d_state
    }

    /// The gradient of h before a step, to which a recurrent product leads, and the factors of the
    /// mask in front of that product.
    pub(crate) fn d_before(&mut self) -> (&mut Vec<f32>, Option<&[f32]>) {
        (&mut self.d_state, self.recurrent_dropout.factors())
    }

    /// m * h before each step, `[T, B, H]`.
    pub(crate) fn product_inputs(&self, extent: Extent) -> &[f32] {
        match self.recurrent_dropout.factors() {
            None => &self.values[..extent.steps * extent.batch * self.units],
            Some(_) => &self.masked,
        }
    }

    /// What the next layer reads: `[T, B, H]` or `[B, H]`.
    pub(crate) fn output(&self, extent: Extent) -> &[f32] {
        if self.dropout.factors().is_some() {
            return &self.dropped;
        }
        &self.values[output_range(self.emits, extent, self.units)]
    }

    pub(crate) fn d_output(&mut self) -> &mut Vec<f32> {
        &mut self.d_output
    }

    pub(crate) fn draw_masks(&mut self, extent: Extent, random: &mut Random) {
        self.recurrent_dropout.draw(extent.batch * self.units, random);
        self.dropout.draw(self.emits.rows(extent) * self.units, random);
    }

    pub(crate) fn masks(&mut self) -> Vec<&mut Dropout> {
        vec![&mut self.recurrent_dropout, &mut self.dropout]
    }

    /// Starts the next run from `state`, `[B, H]`.
    pub(crate) fn carry(&mut self, state: &[f32]) {
        self.values.clear();
        self.values.extend_from_slice(state);
        self.carried = true;
    }

    /// h after the last step of a run of `extent`, `[B, H]`.
    pub(crate) fn last(&self, extent: Extent) -> &[f32] {
        &self.values[output_range(Emits::LastStep, extent, self.units)]
    }
}

/// The place of the output within values that begin with the state before the first step.
pub(crate) fn output_range(emits: Emits, extent: Extent, units: usize) -> Range<usize> {
    let state = extent.batch * units;
    let end = (extent.steps + 1) * state;
    match emits {
        Emits::EveryStep => state..end,
        Emits::LastStep => end - state..end,
    }
}

/// `matrix [rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose(matrix: &[f32], columns: usize, transposed: &mut [f32]) {
    let rows = matrix.len() / columns;
    for (row, values) in matrix.chunks_exact(columns).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            transposed[column * rows + row] = value;
        }
    }
}
