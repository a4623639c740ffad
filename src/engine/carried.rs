//! Mode `carried`: one recurrent state per symbol, carried without end, one step each.
//!
//! For models trained that way: the state at a row depends on every row before it, so the numbers
//! differ from those of whole windows. Owns the states. Promises that a symbol's state after a row
//! is the same whatever else was in the run. Never starts anew by itself: a state comes back from
//! rest as it was, because rows do not give it again.

use super::batch::{self, swap_remove};
use crate::domain::SymbolId;
use crate::inference::{Backend, InferenceError, Shape};

/// The driver of mode `carried`.
pub(super) struct CarriedStates {
    /// F.
    width: usize,
    /// H of each recurrent state.
    state_widths: Vec<usize>,
    /// One block per recurrent state: `[symbol][H]`.
    blocks: Vec<Vec<f32>>,
    batch_rows_max: usize,
}

impl CarriedStates {
    pub(super) fn new(width: usize, state_widths: Vec<usize>, batch_rows_max: usize) -> Self {
        let blocks = vec![Vec::new(); state_widths.len()];
        Self { width, state_widths, blocks, batch_rows_max }
    }

    /// Has the tensors of a single symbol made.
    pub(super) fn prepare(&self, backend: &mut dyn Backend) -> Result<(), InferenceError> {
        backend.lane(Shape { steps: 1, batch: 1 }).map(|_| ())
    }

    /// Makes room for one more symbol, at the end of the dense index, from zero state.
    pub(super) fn add_symbol(&mut self) {
        for (block, width) in self.blocks.iter_mut().zip(&self.state_widths) {
            block.resize(block.len() + width, 0.0);
        }
    }

    /// Moves each symbol on by its row and hands each item with its output to `finish`, in order.
    /// A symbol occurs at most once.
    pub(super) fn infer<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, &'r [f32])> + Clone,
        finish: &mut impl FnMut(T, f32),
    ) -> Result<(), InferenceError> {
        batch::in_runs(rows, self.batch_rows_max, |chunk, batch| {
            let lane = backend.lane(Shape { steps: 1, batch })?;
            let targets = backend.rows_mut(lane).chunks_exact_mut(self.width);
            for (target, (_, _, row)) in targets.zip(chunk.clone()) {
                target.copy_from_slice(row);
            }
            for (index, width) in self.state_widths.iter().enumerate() {
                let targets = backend.state_mut(lane, index).chunks_exact_mut(*width);
                for (target, (_, symbol, _)) in targets.zip(chunk.clone()) {
                    let start = symbol.index() * width;
                    target.copy_from_slice(&self.blocks[index][start..start + width]);
                }
            }
            backend.run(lane)?;
            for (index, width) in self.state_widths.iter().enumerate() {
                let states = backend.next_state(lane, index).chunks_exact(*width);
                for (state, (_, symbol, _)) in states.zip(chunk.clone()) {
                    let start = symbol.index() * width;
                    self.blocks[index][start..start + width].copy_from_slice(state);
                }
            }
            for ((item, _, _), output) in chunk.zip(backend.output(lane)) {
                finish(item, *output);
            }
            Ok(())
        })
    }

    /// A symbol's state at rest, one list per recurrent state.
    pub(super) fn snapshot(&self, symbol: SymbolId) -> Vec<Vec<f32>> {
        let state = |(block, width): (&Vec<f32>, &usize)| {
            let start = symbol.index() * width;
            block[start..start + width].to_vec()
        };
        self.blocks.iter().zip(&self.state_widths).map(state).collect()
    }

    /// Whether states at rest are those of this model.
    pub(super) fn fits(&self, states: &[Vec<f32>]) -> bool {
        states.iter().map(Vec::len).eq(self.state_widths.iter().copied())
    }

    /// Takes a symbol's states over from rest; they must fit.
    pub(super) fn restore(&mut self, symbol: SymbolId, states: &[Vec<f32>]) {
        for ((block, width), state) in self.blocks.iter_mut().zip(&self.state_widths).zip(states) {
            let start = symbol.index() * width;
            block[start..start + width].copy_from_slice(state);
        }
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        for (block, width) in self.blocks.iter_mut().zip(&self.state_widths) {
            swap_remove(block, *width, symbol);
        }
    }
}
