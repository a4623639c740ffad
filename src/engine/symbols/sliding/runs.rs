//! Staggered recurrent states that go through runs of the backend: copied in, stepped, copied out.
//!
//! Beside the ready window, W-2 have a slot each. The oldest slot's new state is the next ready
//! one, and the state of the window that begins takes its slot. Ready states lie side by side,
//! `[symbol][H]`, so that the critical path reads one stretch of memory and not one place every
//! W-2 states. No slot ever moves: which one is oldest turns.
//!
//! Owns the states. Never keeps more than W-1 per symbol.

use super::super::batch;
use super::super::block::Block;
use super::super::input::{InputRow, InputWindow};
use crate::core::domain::SymbolId;
use crate::engine::inference::{Backend, InferenceError, Shape};
use crate::engine::model::manifest::Rows;

/// The driver of mode `sliding`.
pub(in crate::engine::symbols) struct InRuns {
    /// W.
    steps: usize,
    /// F.
    width: usize,
    /// One for each recurrent state.
    states: Vec<Staggered>,
    turns: Vec<Turn>,
    batch_rows_max: usize,
    /// Whether a run has one row.
    alone: bool,
    /// The states of one window on its way through its rows, `[H]` each.
    passing: Vec<Vec<f32>>,
}

/// One recurrent state of all windows of all symbols.
struct Staggered {
    /// H.
    width: usize,
    /// Windows that need one more row: `[symbol][H]`.
    ready: Block,
    /// Windows that need more: `[symbol][slot][H]`.
    slots: Block,
    /// The windows of the symbol whose rows run one by one: `[W][H]`; empty where runs have many.
    under_way: Vec<f32>,
}

/// Which slots of a symbol are in use.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// The slot that has seen the most rows.
    oldest: usize,
    /// How many slots have begun; the first ones, until all have.
    begun: usize,
}

/// What a run over all windows of a symbol is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    /// The slots and the window that begins: W-1 rows.
    Advance,
    /// The ready window as well, behind them: W rows.
    InferAndAdvance,
}

impl InRuns {
    pub(in crate::engine::symbols) fn new(
        steps: usize,
        width: usize,
        state_widths: &[usize],
        batch_rows_max: usize,
        rows: Rows,
    ) -> Self {
        let alone = rows == Rows::Alone;
        let state = |width: &usize| Staggered {
            width: *width,
            ready: Block::new(*width),
            slots: Block::new((slots(steps) * width).max(1)),
            under_way: vec![0.0; if alone { steps * width } else { 0 }],
        };
        let states = state_widths.iter().map(state).collect();
        let passing = state_widths.iter().map(|width| vec![0.0; *width]).collect();
        Self { steps, width, states, turns: Vec::new(), batch_rows_max, alone, passing }
    }

    /// Has the tensors of a single symbol made.
    pub(in crate::engine::symbols) fn prepare(
        &self,
        backend: &mut dyn Backend,
    ) -> Result<(), InferenceError> {
        let of_symbol = if self.alone { 1 } else { self.steps };
        for batch in [1, (of_symbol - 1).max(1), of_symbol] {
            backend.lane(Shape { steps: 1, batch })?;
        }
        Ok(())
    }

    /// Every shape that its runs have.
    pub(in crate::engine::symbols) fn shapes(&self) -> impl Iterator<Item = Shape> {
        let rows_max = self.batch_rows_max;
        let of_symbols = [self.steps - 1, self.steps].into_iter().filter(|rows| *rows > 0);
        let of_symbols = of_symbols.flat_map(move |of_symbol| {
            let symbols_max = (rows_max / of_symbol).max(1);
            batch::largest_sizes(symbols_max).map(move |symbols| symbols * of_symbol)
        });
        batch::sizes(rows_max).chain(of_symbols).map(|batch| Shape { steps: 1, batch })
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub(in crate::engine::symbols) fn add_symbol(&mut self) {
        for state in &mut self.states {
            state.ready.add();
            if slots(self.steps) > 0 {
                state.slots.add();
            }
        }
        self.turns.push(Turn::default());
    }

    /// Gives the ready window of each symbol its last step and hands each item with its output
    /// to `finish`, in order. Every window must be full.
    pub(in crate::engine::symbols) fn infer<'r, T: Copy>(
        &self,
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
            for (index, state) in self.states.iter().enumerate() {
                let target = backend.state_mut(lane, index);
                if self.steps == 1 {
                    // A window of a single row begins and ends with it.
                    target.fill(0.0);
                } else {
                    state.ready.gather(chunk.clone().map(|(_, symbol, _)| symbol), target);
                }
            }
            backend.run(lane)?;
            for ((item, _, _), output) in chunk.zip(batch::outputs(&*backend, lane, batch)) {
                finish(item, output);
            }
            Ok(())
        })
    }

    /// Takes a window through its rows, from zero, and hands over the output of the last one.
    pub(in crate::engine::symbols) fn infer_from_rows<'r>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = InputRow<'r>>,
        finish: impl FnOnce(&[f32]),
    ) -> Result<(), InferenceError> {
        let lane = backend.lane(Shape { steps: 1, batch: 1 })?;
        self.passing.iter_mut().for_each(|state| state.fill(0.0));
        for row in rows {
            row.write(backend.rows_mut(lane));
            for (index, state) in self.passing.iter().enumerate() {
                backend.state_mut(lane, index).copy_from_slice(state);
            }
            backend.run(lane)?;
            for (index, state) in self.passing.iter_mut().enumerate() {
                state.copy_from_slice(backend.next_state(lane, index));
            }
        }
        finish(backend.output(lane));
        Ok(())
    }

    /// Begins a window at each symbol's row and moves all its windows on by that row. A symbol
    /// occurs at most once.
    pub(in crate::engine::symbols) fn advance<'r>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (SymbolId, InputRow<'r>)> + Clone,
    ) -> Result<(), InferenceError> {
        let rows = rows.map(|(symbol, row)| ((), symbol, row));
        self.run(Run::Advance, backend, rows, &mut |(), _| {})
    }

    /// Both in one: hands each item with its output to `finish`, in order, and moves all windows
    /// on. The output of a symbol whose window is not yet full means nothing. A symbol occurs at
    /// most once.
    pub(in crate::engine::symbols) fn infer_and_advance<'r, T: Copy>(
        &mut self,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        self.run(Run::InferAndAdvance, backend, rows, finish)
    }

    fn run<'r, T: Copy>(
        &mut self,
        run: Run,
        backend: &mut dyn Backend,
        mut rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        let of_symbol = match run {
            Run::Advance => self.steps - 1,
            Run::InferAndAdvance => self.steps,
        };
        if of_symbol == 0 {
            return Ok(());
        }
        if self.alone {
            return self.run_alone(run, of_symbol, backend, rows, finish);
        }
        let symbols_max = (self.batch_rows_max / of_symbol).max(1);
        let mut left = rows.clone().count();
        while left > 0 {
            let taken = batch::largest(left, symbols_max);
            let chunk = rows.clone().take(taken);
            let batch = taken * of_symbol;
            let lane = backend.lane(Shape { steps: 1, batch })?;
            let targets = backend.rows_mut(lane).chunks_exact_mut(of_symbol * self.width);
            for (target, (_, _, row)) in targets.zip(chunk.clone()) {
                for target in target.chunks_exact_mut(self.width) {
                    row.write(target);
                }
            }
            let symbols = chunk.clone().map(|(_, symbol, _)| symbol);
            for (index, state) in self.states.iter().enumerate() {
                let targets = backend.state_mut(lane, index);
                let targets = targets.chunks_exact_mut(of_symbol * state.width);
                for (target, symbol) in targets.zip(symbols.clone()) {
                    state.gather(run, self.steps, symbol, target);
                }
            }
            backend.run(lane)?;
            for (index, state) in self.states.iter_mut().enumerate() {
                let sources = backend.next_state(lane, index);
                let sources = sources.chunks_exact(of_symbol * state.width);
                for (source, symbol) in sources.zip(symbols.clone()) {
                    state.scatter(self.steps, self.turns[symbol.index()], symbol, source);
                }
            }
            for symbol in symbols {
                self.turns[symbol.index()].next(slots(self.steps));
            }
            if run == Run::InferAndAdvance {
                // The ready window lies behind the others of its symbol.
                let outputs = batch::outputs(&*backend, lane, batch);
                for ((item, _, _), output) in
                    chunk.zip(outputs.skip(of_symbol - 1).step_by(of_symbol))
                {
                    finish(item, output);
                }
            }
            left -= taken;
            rows.nth(taken - 1);
        }
        Ok(())
    }

    /// As [`InRuns::run`], each window of each symbol in a run of its own.
    fn run_alone<'r, T: Copy>(
        &mut self,
        run: Run,
        of_symbol: usize,
        backend: &mut dyn Backend,
        rows: impl Iterator<Item = (T, SymbolId, InputRow<'r>)>,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        let lane = backend.lane(Shape { steps: 1, batch: 1 })?;
        let slots = slots(self.steps);
        for (item, symbol, row) in rows {
            let turn = self.turns[symbol.index()];
            for state in &mut self.states {
                let mut under_way = std::mem::take(&mut state.under_way);
                state.gather(run, self.steps, symbol, &mut under_way[..of_symbol * state.width]);
                state.under_way = under_way;
            }
            // Slots that have not begun have nothing to move on.
            for window in (0..of_symbol).filter(|window| !(turn.begun..slots).contains(window)) {
                row.write(backend.rows_mut(lane));
                for (index, state) in self.states.iter().enumerate() {
                    let source = &state.under_way[window * state.width..][..state.width];
                    backend.state_mut(lane, index).copy_from_slice(source);
                }
                backend.run(lane)?;
                for (index, state) in self.states.iter_mut().enumerate() {
                    let target = &mut state.under_way[window * state.width..][..state.width];
                    target.copy_from_slice(backend.next_state(lane, index));
                }
            }
            for state in &mut self.states {
                let under_way = std::mem::take(&mut state.under_way);
                state.scatter(self.steps, turn, symbol, &under_way[..of_symbol * state.width]);
                state.under_way = under_way;
            }
            self.turns[symbol.index()].next(slots);
            if run == Run::InferAndAdvance {
                // The ready window ran last.
                finish(item, backend.output(lane));
            }
        }
        Ok(())
    }

    /// Computes symbols' states again from the rows of their windows.
    pub(in crate::engine::symbols) fn warm<'w>(
        &mut self,
        backend: &mut dyn Backend,
        windows: &(impl Iterator<Item = (SymbolId, InputWindow<'w>)> + Clone),
    ) -> Result<(), InferenceError> {
        for (symbol, _) in windows.clone() {
            self.turns[symbol.index()] = Turn::default();
        }
        let behind = self.steps - 1;
        for place in 0..behind {
            let rows = windows.clone().filter_map(move |(symbol, window)| {
                // The oldest row of a full window is in no state: its window had its forecast.
                let skipped = window.len().saturating_sub(behind);
                Some((symbol, window.rows().nth(skipped + place)?))
            });
            self.advance(backend, rows)?;
        }
        Ok(())
    }

    /// Begins a symbol anew: no window has begun. What its slots hold means nothing until then.
    pub(in crate::engine::symbols) fn reset(&mut self, symbol: SymbolId) {
        self.turns[symbol.index()] = Turn::default();
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(in crate::engine::symbols) fn swap_remove(&mut self, symbol: SymbolId) {
        for state in &mut self.states {
            state.ready.swap_remove(symbol);
            if slots(self.steps) > 0 {
                state.slots.swap_remove(symbol);
            }
        }
        self.turns.swap_remove(symbol.index());
    }
}

impl Staggered {
    /// Lays the windows of a symbol into its part of a run: its slots, the window that begins, and
    /// where it is inferred as well, the ready one.
    fn gather(&self, run: Run, steps: usize, symbol: SymbolId, target: &mut [f32]) {
        let width = self.width;
        let (target, behind) = target.split_at_mut(slots(steps) * width);
        if !target.is_empty() {
            target.copy_from_slice(self.slots.row(symbol));
        }
        behind[..width].fill(0.0);
        if run == Run::InferAndAdvance && steps > 1 {
            behind[width..2 * width].copy_from_slice(self.ready.row(symbol));
        }
    }

    /// Takes the new states of a symbol's windows out of its part of the run. Slots that have not
    /// begun ran along on whatever they held; their outcome means nothing and is left behind.
    fn scatter(&mut self, steps: usize, turn: Turn, symbol: SymbolId, source: &[f32]) {
        if steps == 1 {
            return;
        }
        let (slots, width) = (slots(steps), self.width);
        let (source, behind) = source.split_at(slots * width);
        let new = &behind[..width];
        if slots == 0 {
            self.ready.row_mut(symbol).copy_from_slice(new);
            return;
        }
        let target = self.slots.row_mut(symbol);
        let used = turn.begun * width;
        target[..used].copy_from_slice(&source[..used]);
        let slot = if turn.begun < slots {
            turn.begun
        } else {
            let ready = &source[turn.oldest * width..][..width];
            self.ready.row_mut(symbol).copy_from_slice(ready);
            turn.oldest
        };
        target[slot * width..][..width].copy_from_slice(new);
    }
}

impl Turn {
    /// A window began.
    fn next(&mut self, slots: usize) {
        if self.begun < slots {
            self.begun += 1;
        } else if slots > 0 {
            self.oldest = (self.oldest + 1) % slots;
        }
    }
}

/// How many windows of `steps` rows have begun and need more than one row: W-2.
fn slots(steps: usize) -> usize {
    steps.saturating_sub(2)
}
