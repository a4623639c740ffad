//! Mode `sliding`: staggered recurrent states, one step each, the same bits as `full`.
//!
//! A window of W rows begins anew at every row, so W windows are under way at any time. Each
//! symbol keeps the recurrent state of the W-1 of them that have begun: the oldest has seen W-1
//! rows and needs one more step for its forecast. On a new row:
//!
//! 1. `infer`: the oldest state takes the row as its last step. That one step is the critical path.
//! 2. `advance`: the oldest slot is zeroed, which makes it the window that begins at this row, and
//!    all W-1 slots take the row as one batch. No slot ever moves: which one is oldest turns.
//!
//! Owns the states. Promises the bits of `full`, because the same rows meet the same arithmetic in
//! the same order, and rows of a batch do not influence each other. Never keeps more than W-1
//! states per symbol.

use super::batch::{self, swap_remove};
use crate::domain::SymbolId;
use crate::inference::{Backend, InferenceError, Lane, Shape};
use crate::window::Window;

/// The driver of mode `sliding`.
pub(super) struct SlidingStates {
    /// W-1.
    slots: usize,
    /// F.
    width: usize,
    /// H of each recurrent state.
    state_widths: Vec<usize>,
    /// One block per recurrent state: `[symbol][slot][H]`.
    blocks: Vec<Vec<f32>>,
    turns: Vec<Turn>,
    batch_rows_max: usize,
}

/// Which slots of a symbol are in use.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// The slot that has seen the most rows.
    oldest: usize,
    /// How many slots have begun; the first ones, until all have.
    begun: usize,
}

impl SlidingStates {
    pub(super) fn new(
        steps: usize,
        width: usize,
        state_widths: Vec<usize>,
        batch_rows_max: usize,
    ) -> Self {
        let blocks = vec![Vec::new(); state_widths.len()];
        let slots = steps - 1;
        Self { slots, width, state_widths, blocks, turns: Vec::new(), batch_rows_max }
    }

    /// Has the tensors of a single symbol made.
    pub(super) fn prepare(&self, backend: &mut dyn Backend) -> Result<(), InferenceError> {
        backend.lane(Shape { steps: 1, batch: 1 })?;
        if self.slots > 0 {
            backend.lane(Shape { steps: 1, batch: self.slots })?;
        }
        Ok(())
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub(super) fn add_symbol(&mut self) {
        for (block, width) in self.blocks.iter_mut().zip(&self.state_widths) {
            block.resize(block.len() + self.slots * width, 0.0);
        }
        self.turns.push(Turn::default());
    }

    /// Gives the oldest window of each symbol its last step and hands each item with its output
    /// to `finish`, in order.
    pub(super) fn infer<'w, T: Copy>(
        &self,
        backend: &mut dyn Backend,
        windows: impl Iterator<Item = (T, SymbolId, &'w Window)> + Clone,
        finish: &mut impl FnMut(T, f32),
    ) -> Result<(), InferenceError> {
        batch::in_runs(windows, self.batch_rows_max, |chunk, batch| {
            let lane = backend.lane(Shape { steps: 1, batch })?;
            let rows = backend.rows_mut(lane).chunks_exact_mut(self.width);
            for (target, (_, _, window)) in rows.zip(chunk.clone()) {
                let newest = window.newest();
                target.copy_from_slice(newest.expect("only full windows are inferred"));
            }
            for (index, width) in self.state_widths.iter().enumerate() {
                let states = backend.state_mut(lane, index).chunks_exact_mut(*width);
                for (target, (_, symbol, _)) in states.zip(chunk.clone()) {
                    self.copy_oldest(index, symbol, target);
                }
            }
            backend.run(lane)?;
            for ((item, _, _), output) in chunk.zip(backend.output(lane)) {
                finish(item, *output);
            }
            Ok(())
        })
    }

    /// Copies a symbol's oldest state, or zeros where a window is a single row.
    fn copy_oldest(&self, index: usize, symbol: SymbolId, target: &mut [f32]) {
        if self.slots == 0 {
            target.fill(0.0);
        } else {
            let slot = symbol.index() * self.slots + self.turns[symbol.index()].oldest;
            let width = target.len();
            target.copy_from_slice(&self.blocks[index][slot * width..][..width]);
        }
    }

    /// Begins a window at each symbol's row and moves all its windows on by that row. A symbol
    /// occurs at most once.
    pub(super) fn advance<'r>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (SymbolId, &'r [f32])> + Clone,
    ) -> Result<(), InferenceError> {
        if self.slots == 0 {
            return Ok(());
        }
        let symbols_max = (self.batch_rows_max / self.slots).max(1);
        let mut left = rows.clone().count();
        let mut rows = rows;
        while left > 0 {
            let taken = batch::largest(left, symbols_max);
            let lane = backend.lane(Shape { steps: 1, batch: taken * self.slots })?;
            for (place, (symbol, row)) in rows.clone().take(taken).enumerate() {
                self.begin_window(symbol);
                self.gather(backend, lane, place, symbol, row);
            }
            backend.run(lane)?;
            for (place, (symbol, _)) in rows.clone().take(taken).enumerate() {
                self.scatter(backend, lane, place, symbol);
            }
            left -= taken;
            rows.nth(taken - 1);
        }
        Ok(())
    }

    /// Zeroes the slot of the window that begins now.
    fn begin_window(&mut self, symbol: SymbolId) {
        let turn = &mut self.turns[symbol.index()];
        let slot = if turn.begun < self.slots {
            turn.begun += 1;
            turn.begun - 1
        } else {
            let oldest = turn.oldest;
            turn.oldest = (oldest + 1) % self.slots;
            oldest
        };
        let slot = symbol.index() * self.slots + slot;
        for (block, width) in self.blocks.iter_mut().zip(&self.state_widths) {
            block[slot * width..][..*width].fill(0.0);
        }
    }

    /// Lays all slots of a symbol and its row, once per slot, into the run.
    fn gather(
        &self,
        backend: &mut dyn Backend,
        lane: Lane,
        place: usize,
        symbol: SymbolId,
        row: &[f32],
    ) {
        let rows = backend.rows_mut(lane);
        let rows = &mut rows[place * self.slots * self.width..][..self.slots * self.width];
        for target in rows.chunks_exact_mut(self.width) {
            target.copy_from_slice(row);
        }
        for (index, width) in self.state_widths.iter().enumerate() {
            let block = self.slots * width;
            let source = &self.blocks[index][symbol.index() * block..][..block];
            backend.state_mut(lane, index)[place * block..][..block].copy_from_slice(source);
        }
    }

    /// Takes the new states of a symbol's begun slots out of the run. Slots that have not begun
    /// ran along on zeros; their outcome means nothing and is left behind.
    fn scatter(&mut self, backend: &dyn Backend, lane: Lane, place: usize, symbol: SymbolId) {
        let begun = self.turns[symbol.index()].begun;
        for (index, width) in self.state_widths.iter().enumerate() {
            let block = self.slots * width;
            let used = begun * width;
            let source = &backend.next_state(lane, index)[place * block..][..used];
            self.blocks[index][symbol.index() * block..][..used].copy_from_slice(source);
        }
    }

    /// Computes symbols' states again from the rows of their windows.
    pub(super) fn warm<'w>(
        &mut self,
        backend: &mut dyn Backend,
        windows: &(impl Iterator<Item = (SymbolId, &'w Window)> + Clone),
    ) -> Result<(), InferenceError> {
        for (symbol, _) in windows.clone() {
            self.turns[symbol.index()] = Turn::default();
        }
        let slots = self.slots;
        for place in 0..slots {
            let rows = windows.clone().filter_map(move |(symbol, window)| {
                // The oldest row of a full window is in no state: its window had its forecast.
                let skipped = window.len().saturating_sub(slots);
                Some((symbol, window.rows().nth(skipped + place)?))
            });
            self.advance(backend, rows)?;
        }
        Ok(())
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        for (block, width) in self.blocks.iter_mut().zip(&self.state_widths) {
            swap_remove(block, self.slots * width, symbol);
        }
        self.turns.swap_remove(symbol.index());
    }
}
