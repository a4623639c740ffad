//! The inputs of all symbols of one engine.
//!
//! Owns the counts of each symbol of the dense index, the index of each of its features, and what
//! all symbols come to. Promises that what it says of a symbol depends on that symbol's rows alone,
//! and that the sums over symbols are exact. Never allocates for a row.

use serde::{Deserialize, Serialize};

use super::plan::{ShiftPlan, of_micro};
use crate::core::domain::{InputShift, SymbolId};

/// The inputs of all symbols of one engine.
#[derive(Clone, Debug)]
pub struct ShiftBook {
    plan: ShiftPlan,
    symbols: Vec<SymbolShift>,
    tally: ShiftTally,
}

/// What is known of the inputs of one symbol.
#[derive(Clone, Debug)]
struct SymbolShift {
    /// How many of its newest rows are in each cell of each feature.
    counts: Box<[u8]>,
    /// The index of each feature, which follows from the counts.
    indexes: Box<[u32]>,
}

/// The same at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftState {
    counts: Vec<u8>,
}

/// What all symbols come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShiftTally {
    /// Symbols that are judged.
    pub judged: u64,
    /// Those of them with a feature beyond its limit.
    pub shifted: u64,
    /// The sum of the indexes of each feature over them, in millionths.
    pub sums: Vec<u64>,
    /// How many of them are beyond the limit of each feature.
    pub beyond: Vec<u64>,
}

impl ShiftBook {
    /// An empty book.
    pub fn new(plan: ShiftPlan) -> Self {
        let none = vec![0; plan.width()];
        let tally = ShiftTally { sums: none.clone(), beyond: none, ..ShiftTally::default() };
        Self { plan, symbols: Vec::new(), tally }
    }

    /// The distributions that inputs are compared with.
    pub const fn plan(&self) -> &ShiftPlan {
        &self.plan
    }

    /// What all symbols come to.
    pub const fn tally(&self) -> &ShiftTally {
        &self.tally
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub fn add_symbol(&mut self) {
        self.add(self.plan.initial().into());
    }

    fn add(&mut self, counts: Box<[u8]>) -> Option<SymbolId> {
        let id = SymbolId::from_index(self.symbols.len());
        let mut symbol = SymbolShift { counts, indexes: vec![0; self.plan.width()].into() };
        symbol.judge(&self.plan);
        self.tally.enter(&self.plan, &symbol.indexes);
        self.symbols.push(symbol);
        id
    }

    /// As [`ShiftBook::add_symbol`], from rest. Where nothing fits, the rows of the window are what
    /// is known of the symbol.
    pub fn restore_symbol<'r>(
        &mut self,
        rest: Option<&ShiftState>,
        window: impl Iterator<Item = &'r [f32]>,
    ) {
        if let Some(rest) = rest.filter(|rest| self.plan.fits(&rest.counts)) {
            self.add(rest.counts.as_slice().into());
            return;
        }
        let Some(id) = self.add(self.plan.initial().into()) else { return };
        for row in window {
            self.take(id, row);
        }
    }

    /// A symbol's counts, for rest.
    pub fn rest(&self, id: SymbolId) -> ShiftState {
        ShiftState { counts: self.symbols[id.index()].counts.to_vec() }
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub fn swap_remove(&mut self, id: SymbolId) {
        let symbol = self.symbols.swap_remove(id.index());
        let Self { plan, tally, .. } = self;
        tally.leave(plan, &symbol.indexes);
    }

    /// Takes the newest row of a symbol. Returns whether its inputs are shifted since this row.
    pub fn take(&mut self, id: SymbolId, row: &[f32]) -> bool {
        let Self { plan, symbols, tally } = self;
        let symbol = &mut symbols[id.index()];
        let was_shifted = tally.leave(plan, &symbol.indexes);
        for (cells, value) in plan.features().iter().zip(row) {
            plan.count(cells, &mut symbol.counts[cells.places.clone()], *value);
        }
        symbol.judge(plan);
        let is_shifted = tally.enter(plan, &symbol.indexes);
        is_shifted && !was_shifted
    }

    /// How the newest inputs of a symbol compare with those of the training.
    pub fn shift(&self, id: SymbolId) -> InputShift {
        let indexes = &self.symbols[id.index()].indexes;
        let mut worst: Option<(u16, u32, f64)> = None;
        let of_features = self.plan.features().iter().zip(indexes);
        for (place, (cells, index)) in (0..).zip(of_features) {
            if *index <= cells.limit {
                continue;
            }
            let times = f64::from(*index) / f64::from(cells.limit.max(1));
            if worst.is_none_or(|(_, _, most)| times > most) {
                worst = Some((place, *index, times));
            }
        }
        worst.map_or(InputShift::Within, |(feature, index, _)| InputShift::Shifted {
            feature,
            psi: of_micro(index),
        })
    }
}

impl SymbolShift {
    /// Computes the index of each feature.
    fn judge(&mut self, plan: &ShiftPlan) {
        for (cells, index) in plan.features().iter().zip(&mut self.indexes) {
            *index = plan.index(cells, &self.counts[cells.places.clone()]);
        }
    }
}

impl ShiftTally {
    /// The mean index of a feature over the symbols that are judged.
    pub fn mean(&self, feature: usize) -> Option<f64> {
        (self.judged > 0).then(|| self.sums[feature] as f64 / 1e6 / self.judged as f64)
    }

    /// Becomes a copy of another one, without an allocation where it has as many features.
    pub fn follow(&mut self, other: &Self) {
        (self.judged, self.shifted) = (other.judged, other.shifted);
        self.sums.clone_from(&other.sums);
        self.beyond.clone_from(&other.beyond);
    }

    /// Adds what other symbols of the same model come to.
    pub fn merge(&mut self, other: &Self) {
        self.judged += other.judged;
        self.shifted += other.shifted;
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        for (beyond, more) in self.beyond.iter_mut().zip(&other.beyond) {
            *beyond += more;
        }
    }

    /// Adds a symbol with these indexes. Returns whether it is shifted.
    fn enter(&mut self, plan: &ShiftPlan, indexes: &[u32]) -> bool {
        self.change(plan, indexes, |sum, index| *sum += index)
    }

    /// Takes such a symbol out again. Returns whether it was shifted.
    fn leave(&mut self, plan: &ShiftPlan, indexes: &[u32]) -> bool {
        self.change(plan, indexes, |sum, index| *sum -= index)
    }

    fn change(
        &mut self,
        plan: &ShiftPlan,
        indexes: &[u32],
        change: impl Fn(&mut u64, u64),
    ) -> bool {
        let mut is_shifted = false;
        let places = self.sums.iter_mut().zip(&mut self.beyond);
        for ((cells, index), (sum, beyond)) in plan.features().iter().zip(indexes).zip(places) {
            change(sum, u64::from(*index));
            let is_beyond = *index > cells.limit;
            change(beyond, u64::from(is_beyond));
            is_shifted |= is_beyond;
        }
        change(&mut self.judged, 1);
        change(&mut self.shifted, u64::from(is_shifted));
        is_shifted
    }
}
