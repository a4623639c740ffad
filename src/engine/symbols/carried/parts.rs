//! One recurrent state per symbol, which a backend steps in groups.
//!
//! Owns the states, in the backend's order. Promises that they come to rest and back in the order
//! of the signature, whatever that is. What a step owes to its states is not kept ahead of the row:
//! it takes more memory than the states themselves, and a step is about twice its critical part.

use super::super::block::{Aligned, Block};
use super::super::input::InputRow;
use crate::core::domain::SymbolId;
use crate::engine::inference::{Backend, Parts};

/// The symbols of one step: their states fit the first caches of a processor together.
const GROUP_SYMBOLS: usize = 33;

/// The states of all symbols.
pub(in crate::engine::symbols) struct InParts {
    /// `[symbol][width]`.
    states: Block,
    /// Where each state of the signature begins, and how many numbers it has.
    places: Vec<(usize, usize)>,
    /// F and K.
    widths: [usize; 2],
    /// Room for one group: its symbols, rows, states and outputs.
    symbols: Vec<SymbolId>,
    rows: Vec<f32>,
    gathered: Aligned,
    outputs: Vec<f32>,
}

impl InParts {
    pub(super) fn new(parts: &dyn Parts, widths: [usize; 2], state_widths: &[usize]) -> Self {
        let place = |(index, width): (usize, &usize)| (parts.state_place(index), *width);
        let [features, outputs] = widths;
        Self {
            states: Block::new(parts.state_width()),
            places: state_widths.iter().enumerate().map(place).collect(),
            widths,
            symbols: Vec::with_capacity(GROUP_SYMBOLS),
            rows: vec![0.0; GROUP_SYMBOLS * features],
            gathered: Aligned::new(GROUP_SYMBOLS * parts.state_width()),
            outputs: vec![0.0; GROUP_SYMBOLS * outputs],
        }
    }

    pub(super) fn add_symbol(&mut self) {
        self.states.add();
    }

    pub(super) fn infer<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        mut rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) {
        let parts = backend
            .parts()
            .expect("this driver is chosen where the backend has parts, and keeps it");
        let [features, outputs] = self.widths;
        loop {
            // What gives the rows finds each of them, so they are gone through as seldom as can be.
            let group = rows.clone();
            self.symbols.clear();
            let targets = self.rows.chunks_exact_mut(features);
            for (target, (_, symbol, row)) in targets.zip(rows.by_ref()) {
                row.write(target);
                self.symbols.push(symbol);
            }
            let symbols = self.symbols.len();
            if symbols == 0 {
                return;
            }
            let ids = self.symbols.iter().copied();
            let states = &mut self.gathered.numbers_mut()[..symbols * self.states.width()];
            self.states.gather(ids.clone(), states);
            let made = &mut self.outputs[..symbols * outputs];
            parts.step(&self.rows[..symbols * features], states, made);
            self.states.scatter(ids, states);
            for ((item, _, _), output) in group.zip(made.chunks_exact(outputs)) {
                finish(item, output);
            }
        }
    }

    pub(super) fn snapshot(&self, symbol: SymbolId) -> Vec<Vec<f32>> {
        let row = self.states.row(symbol);
        self.places.iter().map(|(first, width)| row[*first..][..*width].to_vec()).collect()
    }

    pub(super) fn fits(&self, states: &[Vec<f32>]) -> bool {
        states.iter().map(Vec::len).eq(self.places.iter().map(|(_, width)| *width))
    }

    pub(super) fn restore(&mut self, symbol: SymbolId, states: &[Vec<f32>]) {
        let row = self.states.row_mut(symbol);
        for ((first, width), state) in self.places.iter().zip(states) {
            row[*first..][..*width].copy_from_slice(state);
        }
    }

    pub(super) fn reset(&mut self, symbol: SymbolId) {
        self.states.row_mut(symbol).fill(0.0);
    }

    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        self.states.swap_remove(symbol);
    }
}
