//! Mode `carried`: one recurrent state per symbol, carried without end, one step each.
//!
//! For models trained that way: the state at a row depends on every row before it, so the numbers
//! differ from those of whole windows. Owns the choice between runs of the backend and its steps in
//! parts, where it has them. Promises that a symbol's state after a row is the same whatever else
//! was in the run. Never begins again by itself: a state comes back from rest as it was, because
//! rows do not give it again.

mod parts;
mod runs;

use self::parts::InParts;
use self::runs::InRuns;
use super::input::{InputRow, InputWindow};
use crate::core::domain::SymbolId;
use crate::engine::inference::{Backend, InferenceError, Shape};

/// The driver of mode `carried`.
pub(super) enum CarriedStates {
    /// Of backends that only run batches.
    InRuns(InRuns),
    /// Of backends that step states where they are.
    InParts(InParts),
}

impl CarriedStates {
    pub(super) fn new(
        backend: &mut dyn Backend,
        [width, outputs]: [usize; 2],
        state_widths: &[usize],
        batch_rows_max: usize,
    ) -> Self {
        match backend.parts() {
            Some(parts) => Self::InParts(InParts::new(parts, [width, outputs], state_widths)),
            None => Self::InRuns(InRuns::new(width, state_widths, batch_rows_max)),
        }
    }

    /// Has the tensors of a single symbol made.
    pub(super) fn prepare(&self, backend: &mut dyn Backend) -> Result<(), InferenceError> {
        match self {
            Self::InRuns(runs) => runs.prepare(backend),
            Self::InParts(_) => Ok(()),
        }
    }

    /// Every shape that its runs have.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        match self {
            Self::InRuns(runs) => runs.shapes().collect(),
            Self::InParts(_) => Vec::new(),
        }
    }

    /// Makes room for one more symbol, at the end of the dense index, from zero state.
    pub(super) fn add_symbol(&mut self) {
        match self {
            Self::InRuns(runs) => runs.add_symbol(),
            Self::InParts(parts) => parts.add_symbol(),
        }
    }

    /// Moves each symbol on by its row and hands each item with its output to `finish`, in order.
    /// A symbol occurs at most once.
    pub(super) fn infer<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        match self {
            Self::InRuns(runs) => runs.infer(backend, rows, finish),
            Self::InParts(parts) => {
                parts.infer(backend, rows, finish);
                Ok(())
            }
        }
    }

    /// Computes symbols' states from the rows of their windows, from zero.
    pub(super) fn warm<'w>(
        &mut self,
        backend: &mut dyn Backend,
        windows: &(impl Iterator<Item = (SymbolId, InputWindow<'w>)> + Clone),
    ) -> Result<(), InferenceError> {
        let longest = windows.clone().map(|(_, window)| window.len()).max().unwrap_or(0);
        for place in 0..longest {
            let rows = windows
                .clone()
                .filter_map(move |(symbol, window)| Some(((), symbol, window.rows().nth(place)?)));
            self.infer(backend, rows, &mut |(), _| {})?;
        }
        Ok(())
    }

    /// A symbol's state at rest, one list per recurrent state.
    pub(super) fn snapshot(&self, symbol: SymbolId) -> Vec<Vec<f32>> {
        match self {
            Self::InRuns(runs) => runs.snapshot(symbol),
            Self::InParts(parts) => parts.snapshot(symbol),
        }
    }

    /// Whether states at rest are those of this model.
    pub(super) fn fits(&self, states: &[Vec<f32>]) -> bool {
        match self {
            Self::InRuns(runs) => runs.fits(states),
            Self::InParts(parts) => parts.fits(states),
        }
    }

    /// Takes a symbol's states over from rest; they must fit.
    pub(super) fn restore(&mut self, symbol: SymbolId, states: &[Vec<f32>]) {
        match self {
            Self::InRuns(runs) => runs.restore(symbol, states),
            Self::InParts(parts) => parts.restore(symbol, states),
        }
    }

    /// Begins a symbol from zero state.
    pub(super) fn reset(&mut self, symbol: SymbolId) {
        match self {
            Self::InRuns(runs) => runs.reset(symbol),
            Self::InParts(parts) => parts.reset(symbol),
        }
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        match self {
            Self::InRuns(runs) => runs.swap_remove(symbol),
            Self::InParts(parts) => parts.swap_remove(symbol),
        }
    }
}
