//! Mode `sliding`: staggered recurrent states, one step each, the same bits as `full`.
//!
//! A window of W rows begins at every row, so W windows are under way at any time. Each
//! symbol keeps the recurrent state of the W-1 of them that have begun. The one that has seen W-1
//! rows is *ready*: it needs one more step for its forecast. On a new row:
//!
//! 1. `infer`: the ready state takes the row as its last step. That one step is the critical path.
//! 2. `advance`: a window begins from zero, and it and the others take the row as one batch.
//!
//! The states of a symbol that sleeps are still to be computed from its rows, which costs as much
//! as half a window of `advance`. Its ready window alone is computed for a forecast meanwhile.
//!
//! Owns the choice between the two ways to do that: runs of the backend, or its steps in parts,
//! where it has them. Promises the bits of `full`, because the same rows meet the same arithmetic
//! in the same order, and rows of a batch do not influence each other.

mod parts;
mod runs;

use self::parts::InParts;
use self::runs::InRuns;
use super::input::{InputRow, InputWindow};
use crate::core::domain::SymbolId;
use crate::engine::inference::{Backend, InferenceError, Shape};
use crate::engine::model::manifest::Rows;

/// The driver of mode `sliding`.
pub(super) enum SlidingStates {
    /// Of backends that only run batches.
    InRuns(InRuns),
    /// Of backends that take a step apart.
    InParts(InParts),
}

impl SlidingStates {
    pub(super) fn new(
        backend: &mut dyn Backend,
        [steps, width, outputs]: [usize; 3],
        state_widths: &[usize],
        batch_rows_max: usize,
        rows: Rows,
    ) -> Self {
        match backend.parts() {
            Some(parts) => Self::InParts(InParts::new(parts, [steps, width, outputs])),
            None => Self::InRuns(InRuns::new(steps, width, state_widths, batch_rows_max, rows)),
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

    /// Makes room for one more symbol, at the end of the dense index.
    pub(super) fn add_symbol(&mut self) {
        match self {
            Self::InRuns(runs) => runs.add_symbol(),
            Self::InParts(parts) => parts.add_symbol(),
        }
    }

    /// Gives the ready window of each symbol its last step and hands each item with its output
    /// to `finish`, in order. Every window must be full.
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

    /// Hands the output of a symbol's full window to `finish`, whose states are not computed: it
    /// goes through all of its rows.
    pub(super) fn infer_from_rows(
        &mut self,
        backend: &mut dyn Backend,
        window: InputWindow<'_>,
        finish: impl FnOnce(&[f32]),
    ) -> Result<(), InferenceError> {
        match self {
            Self::InRuns(runs) => runs.infer_from_rows(backend, window.rows(), finish),
            Self::InParts(parts) => {
                parts.infer_from_rows(backend, window.rows(), finish);
                Ok(())
            }
        }
    }

    /// Begins a window at each symbol's row and moves all its windows on by that row. A symbol
    /// occurs at most once.
    pub(super) fn advance<'r>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (SymbolId, InputRow<'r>)> + Clone,
    ) -> Result<(), InferenceError> {
        match self {
            Self::InRuns(runs) => runs.advance(backend, rows),
            Self::InParts(parts) => {
                parts.advance(backend, rows);
                Ok(())
            }
        }
    }

    /// Both in one: hands each item with its output to `finish`, in order, and moves all windows
    /// on. The output of a symbol whose window is not yet full means nothing. A symbol occurs at
    /// most once.
    pub(super) fn infer_and_advance<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        match self {
            Self::InRuns(runs) => runs.infer_and_advance(backend, rows, finish),
            Self::InParts(parts) => {
                parts.infer_and_advance(backend, rows, finish);
                Ok(())
            }
        }
    }

    /// Computes symbols' states again from the rows of their windows.
    pub(super) fn warm<'w>(
        &mut self,
        backend: &mut dyn Backend,
        windows: &(impl Iterator<Item = (SymbolId, InputWindow<'w>)> + Clone),
    ) -> Result<(), InferenceError> {
        match self {
            Self::InRuns(runs) => runs.warm(backend, windows),
            Self::InParts(parts) => {
                parts.warm(backend, windows.clone());
                Ok(())
            }
        }
    }

    /// Begins a symbol from zero: no window has begun.
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
