//! One recurrent state per symbol, which goes through runs of the backend: copied in, stepped,
//! copied out.
//!
//! Owns the states. Promises few distinct sizes of runs, because each keeps its tensors for good.

use super::super::batch;
use super::super::block::Block;
use super::super::input::InputRow;
use crate::core::domain::SymbolId;
use crate::engine::inference::{Backend, InferenceError, Shape};

/// The driver of mode `carried`.
pub(in crate::engine::symbols) struct InRuns {
    /// F.
    width: usize,
    /// One block per recurrent state: `[symbol][H]`.
    blocks: Vec<Block>,
    batch_rows_max: usize,
}

impl InRuns {
    pub(in crate::engine::symbols) fn new(
        width: usize,
        state_widths: &[usize],
        batch_rows_max: usize,
    ) -> Self {
        let blocks = state_widths.iter().map(|width| Block::new(*width)).collect();
        Self { width, blocks, batch_rows_max }
    }

    /// Has the tensors of a single symbol made.
    pub(in crate::engine::symbols) fn prepare(
        &self,
        backend: &mut dyn Backend,
    ) -> Result<(), InferenceError> {
        backend.lane(Shape { steps: 1, batch: 1 }).map(|_| ())
    }

    /// Every shape that its runs have.
    pub(in crate::engine::symbols) fn shapes(&self) -> impl Iterator<Item = Shape> {
        batch::sizes(self.batch_rows_max).map(|batch| Shape { steps: 1, batch })
    }

    /// Makes room for one more symbol, at the end of the dense index, from zero state.
    pub(in crate::engine::symbols) fn add_symbol(&mut self) {
        self.blocks.iter_mut().for_each(Block::add);
    }

    /// Moves each symbol on by its row and hands each item with its output to `finish`, in order.
    /// A symbol occurs at most once.
    pub(in crate::engine::symbols) fn infer<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        batch::in_runs(rows, self.batch_rows_max, |chunk, batch| {
            let lane = backend.lane(Shape { steps: 1, batch })?;
            let targets = backend.rows_mut(lane).chunks_exact_mut(self.width);
            for (target, (_, _, row)) in targets.zip(chunk.clone()) {
                row.write(target);
            }
            let symbols = chunk.clone().map(|(_, symbol, _)| symbol);
            for (index, block) in self.blocks.iter().enumerate() {
                block.gather(symbols.clone(), backend.state_mut(lane, index));
            }
            backend.run(lane)?;
            for (index, block) in self.blocks.iter_mut().enumerate() {
                block.scatter(symbols.clone(), backend.next_state(lane, index));
            }
            for ((item, _, _), output) in chunk.zip(batch::outputs(&*backend, lane, batch)) {
                finish(item, output);
            }
            Ok(())
        })
    }

    /// A symbol's state at rest, one list per recurrent state.
    pub(in crate::engine::symbols) fn snapshot(&self, symbol: SymbolId) -> Vec<Vec<f32>> {
        self.blocks.iter().map(|block| block.row(symbol).to_vec()).collect()
    }

    /// Whether states at rest are those of this model.
    pub(in crate::engine::symbols) fn fits(&self, states: &[Vec<f32>]) -> bool {
        states.iter().map(Vec::len).eq(self.blocks.iter().map(Block::width))
    }

    /// Takes a symbol's states over from rest; they must fit.
    pub(in crate::engine::symbols) fn restore(&mut self, symbol: SymbolId, states: &[Vec<f32>]) {
        for (block, state) in self.blocks.iter_mut().zip(states) {
            block.row_mut(symbol).copy_from_slice(state);
        }
    }

    /// Begins a symbol anew, from zero state.
    pub(in crate::engine::symbols) fn reset(&mut self, symbol: SymbolId) {
        self.blocks.iter_mut().for_each(|block| block.row_mut(symbol).fill(0.0));
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(in crate::engine::symbols) fn swap_remove(&mut self, symbol: SymbolId) {
        for block in &mut self.blocks {
            block.swap_remove(symbol);
        }
    }
}
