//! Staggered recurrent states that a backend moves on where they are, in parts.
//!
//! The W-1 windows of a symbol lie side by side as a ring: the one that has seen the most rows is
//! *ready*. When a row has given it its last step, it begins again from zero and takes that row
//! with all the others. What the next step of the new ready window owes to its states is computed
//! then, before its row is there, so that the critical path is the rest.
//!
//! Owns the states. Never copies one.

use super::super::block::Block;
use super::super::input::{InputRow, InputWindow};
use crate::core::domain::SymbolId;
use crate::engine::inference::{Backend, Parts};

/// The windows of all symbols.
pub(in crate::engine::symbols) struct InParts {
    /// W.
    steps: usize,
    /// The numbers of a window's states.
    width: usize,
    /// `[symbol][W-1][width]`; empty where a window has a single row.
    windows: Block,
    /// What is known ahead of the last step of each symbol's ready window.
    halves: Block,
    turns: Vec<Turn>,
    /// A window that has seen nothing, and what is known ahead of its next step.
    zero: Vec<f32>,
    half_of_zero: Vec<f32>,
    /// `[K]`, of the newest step.
    output: Vec<f32>,
    /// A window on its way through its rows, and what is known ahead of its last step.
    passing: Vec<f32>,
    half_of_passing: Vec<f32>,
    /// Room for one row.
    room: Vec<f32>,
}

/// Which windows of a symbol are under way.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// The window that has seen the most rows.
    oldest: usize,
    /// How many have begun; the first ones, until all have.
    begun: usize,
}

impl InParts {
    pub(super) fn new(parts: &mut dyn Parts, [steps, inputs, outputs]: [usize; 3]) -> Self {
        let (width, half_width) = (parts.state_width(), parts.half_width());
        let (zero, mut half_of_zero) = (vec![0.0; width], vec![0.0; half_width]);
        parts.ahead(&zero, &mut half_of_zero);
        Self {
            steps,
            width,
            windows: Block::new(((steps - 1) * width).max(1)),
            halves: Block::new(half_width),
            turns: Vec::new(),
            passing: zero.clone(),
            half_of_passing: half_of_zero.clone(),
            zero,
            half_of_zero,
            output: vec![0.0; outputs],
            room: vec![0.0; inputs],
        }
    }

    pub(super) fn add_symbol(&mut self) {
        if self.steps > 1 {
            self.windows.add();
            self.halves.add();
        }
        self.turns.push(Turn::default());
    }

    pub(super) fn infer<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)>,
        finish: &mut impl FnMut(T, &[f32]),
    ) {
        let parts = parts_of(backend);
        for (item, symbol, row) in rows {
            self.finish(parts, symbol, row);
            finish(item, &self.output);
        }
    }

    /// Takes a window through its rows, from zero, and hands over the output of the last one.
    pub(super) fn infer_from_rows<'r>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = InputRow<'r>>,
        finish: impl FnOnce(&[f32]),
    ) {
        let parts = parts_of(backend);
        let Self { steps, output, passing, half_of_passing, room, .. } = self;
        passing.fill(0.0);
        for (place, row) in rows.enumerate() {
            let row = row.joined(room);
            if place + 1 < *steps {
                parts.advance(row, passing);
                continue;
            }
            parts.ahead(passing, half_of_passing);
            parts.finish(row, passing, half_of_passing, output);
        }
        finish(&output[..]);
    }

    pub(super) fn advance<'r>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (SymbolId, InputRow<'r>)>,
    ) {
        let parts = parts_of(backend);
        rows.for_each(|(symbol, row)| self.move_on(parts, symbol, row));
        // The recurrent weights have just been through the caches; the next row needs the others.
        parts.fetch();
    }

    pub(super) fn infer_and_advance<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)>,
        finish: &mut impl FnMut(T, &[f32]),
    ) {
        let parts = parts_of(backend);
        // One symbol after the other, so that its windows are read once.
        for (item, symbol, row) in rows {
            self.finish(parts, symbol, row);
            finish(item, &self.output);
            self.move_on(parts, symbol, row);
        }
    }

    pub(super) fn warm<'w>(
        &mut self,
        backend: &mut dyn Backend,
        windows: impl Iterator<Item = (SymbolId, InputWindow<'w>)>,
    ) {
        let parts = parts_of(backend);
        for (symbol, window) in windows {
            self.reset(symbol);
            // The oldest row of a full window is in no state: its window had its forecast.
            let skipped = window.len().saturating_sub(self.steps - 1);
            for row in window.rows().skip(skipped) {
                self.move_on(parts, symbol, row);
            }
        }
    }

    pub(super) fn reset(&mut self, symbol: SymbolId) {
        self.turns[symbol.index()] = Turn::default();
    }

    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        if self.steps > 1 {
            self.windows.swap_remove(symbol);
            self.halves.swap_remove(symbol);
        }
        self.turns.swap_remove(symbol.index());
    }

    /// Gives the ready window of a symbol its last step. Before the window of the symbol is full,
    /// the output means nothing.
    fn finish(&mut self, parts: &mut dyn Parts, symbol: SymbolId, row: InputRow<'_>) {
        let (state, half) = if self.steps == 1 {
            (&self.zero[..], &self.half_of_zero[..])
        } else {
            let oldest = self.turns[symbol.index()].oldest;
            let state = &self.windows.row(symbol)[oldest * self.width..][..self.width];
            (state, self.halves.row(symbol))
        };
        parts.finish(row.joined(&mut self.room), state, half, &mut self.output);
    }

    /// Begins a window of a symbol at a row, and moves all of its windows on by it.
    fn move_on(&mut self, parts: &mut dyn Parts, symbol: SymbolId, row: InputRow<'_>) {
        let under_way = self.steps - 1;
        if under_way == 0 {
            return;
        }
        let turn = &mut self.turns[symbol.index()];
        let begins = if turn.begun < under_way {
            turn.begun += 1;
            turn.begun - 1
        } else {
            let had_its_forecast = turn.oldest;
            turn.oldest = (turn.oldest + 1) % under_way;
            had_its_forecast
        };
        let windows = self.windows.row_mut(symbol);
        windows[begins * self.width..][..self.width].fill(0.0);
        let row = row.joined(&mut self.room);
        parts.advance(row, &mut windows[..turn.begun * self.width]);
        if turn.begun == under_way {
            let ready = &windows[turn.oldest * self.width..][..self.width];
            parts.ahead(ready, self.halves.row_mut(symbol));
        }
    }
}

fn parts_of(backend: &mut dyn Backend) -> &mut dyn Parts {
    backend.parts().expect("this driver is chosen where the backend has parts, and keeps it")
}
