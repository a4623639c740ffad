//! Symbols at rest: out of the engine and back into it, and out of it for good.
//!
//! Owns what of a symbol is stored. Promises that a symbol taken to rest and back goes on as if it
//! had never been away, bit for bit. Never encodes or writes anything.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::history::Past;
use super::symbol::SymbolState;
use super::{Driver, Engine, OutputAtRest};
use crate::core::blend::SymbolBlend;
use crate::core::domain::{DurationNanos, PartitionId, Position, Reject, Symbol, SymbolId, Tick};
use crate::core::features::FeatureState;
use crate::core::score::{ScoresBefore, SymbolScores};
use crate::core::shift::ShiftState;
use crate::core::signal::SymbolSignals;
use crate::core::step::{Cadence, StepState};
use crate::core::verdict::{Ledger, RivalId, RivalLedger};
use crate::core::window::{Window, WindowMismatch, WindowSnapshot};
use crate::engine::inference::InferenceError;

/// One symbol at rest. Modes `full` and `sliding` need no recurrent states here: the rows give
/// them again, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolSnapshot {
    symbol: String,
    step: StepState,
    features: FeatureState,
    window: WindowSnapshot,
    /// Mode `carried`: the recurrent states.
    carried: Option<Vec<Vec<f32>>>,
    /// What waits for its truth, and what is known of the forecasts so far.
    scores: SymbolScores,
    /// The place in its partition of the newest tick that the state holds.
    offset: Option<i64>,
    /// How far apart its steps were.
    cadence: Cadence,
    /// How many of its steps went without inference under load, since it began.
    shed_steps: u64,
    /// The evidence of its scores.
    ledger: Ledger,
    /// What is known of its inputs; `None` where the model has no distribution to compare with, and
    /// in states of layout 5.
    shift: Option<ShiftState>,
    /// Its signals; `None` from a layout that had none.
    signals: Option<SymbolSignals>,
    /// The weights and recalibrations of a blend; absent for another model.
    blend: Option<SymbolBlend>,
    /// The evidence of a shadow about the live model of its seat.
    rival: Option<RivalLedger>,
    /// The outputs of a model that lists them; none in states of layout 6.
    outputs: Vec<OutputAtRest>,
}

/// The same as state layouts up to 4 stored it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct SnapshotBefore {
    symbol: String,
    step: StepState,
    features: FeatureState,
    window: WindowSnapshot,
    carried: Option<Vec<Vec<f32>>>,
    scores: ScoresBefore,
    offset: Option<i64>,
    cadence: Cadence,
    shed_steps: u64,
}

impl From<SnapshotBefore> for SymbolSnapshot {
    fn from(before: SnapshotBefore) -> Self {
        let SnapshotBefore { symbol, step, features, window, carried, scores, .. } = before;
        let SnapshotBefore { offset, cadence, shed_steps, .. } = before;
        Self {
            symbol,
            step,
            features,
            window,
            carried,
            scores: scores.into(),
            offset,
            cadence,
            shed_steps,
            // What was scored then counted what the model was trained on.
            ledger: Ledger::new(),
            shift: None,
            signals: None,
            blend: None,
            rival: None,
            outputs: Vec::new(),
        }
    }
}

#[cfg(test)]
impl From<&SymbolSnapshot> for SnapshotBefore {
    fn from(state: &SymbolSnapshot) -> Self {
        let SymbolSnapshot { symbol, step, features, window, carried, scores, .. } = state.clone();
        let SymbolSnapshot { offset, cadence, shed_steps, .. } = *state;
        let scores = (&scores).into();
        Self { symbol, step, features, window, carried, scores, offset, cadence, shed_steps }
    }
}

/// Why a snapshot cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The name is no symbol, is there twice, or is one too many.
    #[error("stored symbol `{0}` is invalid, repeated, or beyond engine.symbols_max")]
    Symbol(String),
    /// The feature state has another size.
    #[error("the stored features of symbol `{0}` belong to another model")]
    Features(String),
    /// The bars in the making are those of another rule.
    #[error("the stored steps of symbol `{0}` are of another kind")]
    Steps(String),
    /// The window belongs to another model.
    #[error(transparent)]
    Window(#[from] WindowMismatch),
    /// The recurrent states are missing, or belong to another model or mode.
    #[error("the stored states of symbol `{0}` are missing or of another model")]
    States(String),
    /// The scores are not those of this model.
    #[error("the stored scores of symbol `{0}` belong to another model")]
    Scores(String),
}

/// Where the recurrent states of mode `carried` come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum States {
    /// From rest.
    Stored,
    /// From the rows, as if the window's first row had been the first of all: those at rest are of
    /// another model.
    OfRows,
}

impl SymbolSnapshot {
    /// The symbol's name.
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The place in its partition of the newest tick that the state holds.
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// The same without what is known of its inputs, which another manifest of the model may judge
    /// by another distribution, or not at all.
    #[must_use]
    pub fn without_shift(self) -> Self {
        Self { shift: None, ..self }
    }

    /// The same without signals where `other` has none, which was stored before there were any.
    #[must_use]
    pub fn with_signals_as(self, other: &Self) -> Self {
        Self { signals: self.signals.filter(|_| other.signals.is_some()), ..self }
    }

    /// The signals.
    #[cfg(test)]
    pub(crate) fn signals(&self) -> Option<&SymbolSignals> {
        self.signals.as_ref()
    }

    /// The window.
    pub(super) fn window(&self) -> &WindowSnapshot {
        &self.window
    }

    /// The same for another model of these features: no more than its window of `steps` rows. Its
    /// recurrent states and scores are of no use then. Rows are changed where they have to be
    /// ([`WindowSnapshot::change_rows`]).
    pub(super) fn translated(
        mut self,
        steps: usize,
        change: Option<impl FnMut(&mut [f32]) -> Option<bool>>,
    ) -> Self {
        self.window.cut(steps);
        if let Some(change) = change {
            self.window.change_rows(change);
        }
        (self.carried, self.blend) = (None, None);
        self.outputs.clear();
        self
    }
}

impl Engine {
    /// The state of every symbol at rest, in the order of first appearance. No row may be in
    /// inference: [`Engine::infer`] and [`Engine::advance`] go before.
    pub fn snapshot(&self) -> Vec<SymbolSnapshot> {
        let ids = (0..self.symbols.len()).filter_map(SymbolId::from_index);
        ids.map(|id| self.at_rest(id)).collect()
    }

    /// The state at rest of at most `count_max` symbols. No row may be in inference.
    pub fn sample(&self, count_max: usize) -> impl Iterator<Item = SymbolSnapshot> {
        let ids = (0..self.symbols.len().min(count_max)).filter_map(SymbolId::from_index);
        ids.map(|id| self.at_rest(id))
    }

    /// How many symbols have moved since they were last taken to rest.
    pub fn changed_count(&self) -> usize {
        self.changed.len()
    }

    /// Hands the state at rest of at most `count_max` symbols that have moved since they were last
    /// taken to `sink`, the longest waiting first, with the place up to which it reaches in an
    /// input that has places. No row may be in inference.
    pub fn take_changed(
        &mut self,
        count_max: usize,
        mut sink: impl FnMut(Option<Position>, SymbolSnapshot),
    ) {
        for _ in 0..count_max {
            let Some(id) = self.changed.pop_front() else { return };
            self.symbols[id.index()].changed = false;
            sink(self.symbols[id.index()].applied, self.at_rest(id));
        }
    }

    pub(super) fn at_rest(&self, id: SymbolId) -> SymbolSnapshot {
        debug_assert!(self.pending.is_empty() && self.inferred.is_empty(), "rows in inference");
        let state = &self.symbols[id.index()];
        SymbolSnapshot {
            symbol: state.name.as_str().to_owned(),
            step: state.step.clone(),
            features: state.features.clone(),
            window: state.window.snapshot(),
            carried: match &self.driver {
                Driver::Full(_) | Driver::Sliding(_) | Driver::Blended(_) => None,
                Driver::Carried(carried) => Some(carried.snapshot(id)),
            },
            scores: self.scores.symbol(id).clone(),
            offset: state.applied.map(|position| position.offset),
            cadence: state.cadence,
            shed_steps: state.shed_steps,
            ledger: *self.scores.ledger(id),
            shift: self.shift.as_ref().map(|book| book.rest(id)),
            signals: Some(self.scores.signals(id).clone()),
            blend: match &self.driver {
                Driver::Full(_) | Driver::Sliding(_) | Driver::Carried(_) => None,
                Driver::Blended(blended) => Some(blended.snapshot(id)),
            },
            rival: self.scores.rival(id),
            outputs: self.outputs.at_rest(&self.scores, id),
        }
    }

    /// Takes symbols over from rest, as those of `partition` where the input has partitions.
    /// Returns why the others were refused, which are as unknown as before. In mode `sliding` the
    /// recurrent states follow from the rows and are left for [`Engine::wake`]; until then each
    /// forecast is made of the rows of the window.
    ///
    /// # Errors
    /// [`InferenceError`] where the states cannot be computed.
    pub fn restore(
        &mut self,
        snapshots: &[SymbolSnapshot],
        partition: Option<PartitionId>,
    ) -> Result<Vec<RestoreError>, InferenceError> {
        self.restore_with(snapshots, partition, States::Stored)
    }

    /// As [`Engine::restore`], of states that [`Engine::translate`] gave. What is stored of them
    /// belongs to another version, so all of them count as changed.
    ///
    /// # Errors
    /// As [`Engine::restore`].
    pub fn restore_translated(
        &mut self,
        snapshots: &[SymbolSnapshot],
        partition: Option<PartitionId>,
    ) -> Result<Vec<RestoreError>, InferenceError> {
        let first = self.symbols.len();
        let refused = self.restore_with(snapshots, partition, States::OfRows)?;
        for id in (first..self.symbols.len()).filter_map(SymbolId::from_index) {
            self.note_change(id);
        }
        Ok(refused)
    }

    fn restore_with(
        &mut self,
        snapshots: &[SymbolSnapshot],
        partition: Option<PartitionId>,
        states: States,
    ) -> Result<Vec<RestoreError>, InferenceError> {
        let first = self.symbols.len();
        let mut refused = Vec::new();
        let mut snapshots: Vec<_> = snapshots.iter().collect();
        if self.symbols.len() + snapshots.len() > self.limits.symbols_max {
            // Where not all have room, those that have been silent for longest have none.
            snapshots.sort_by_key(|snapshot| Reverse(snapshot.step.head()));
        }
        for snapshot in snapshots {
            refused.extend(self.adopt(snapshot, partition, states).err());
        }
        for id in (first..self.symbols.len()).filter_map(SymbolId::from_index) {
            self.fall_asleep(id);
        }
        let Self { plans, symbols, driver, backend, .. } = self;
        if let (Driver::Carried(carried), States::OfRows) = (driver, states) {
            let windows = symbols.iter().enumerate().skip(first).filter_map(|(index, state)| {
                Some((SymbolId::from_index(index)?, state.window_of(&plans.features)))
            });
            carried.warm(&mut **backend, &windows)?;
        }
        self.resume_clocks(first);
        Ok(refused)
    }

    pub(super) fn adopt(
        &mut self,
        snapshot: &SymbolSnapshot,
        partition: Option<PartitionId>,
        states: States,
    ) -> Result<SymbolId, RestoreError> {
        let refused = || RestoreError::Symbol(snapshot.symbol.clone());
        let name = Symbol::new(&snapshot.symbol).map_err(|_| refused())?;
        if self.index.contains_key(&name) || self.symbols.len() >= self.limits.symbols_max {
            return Err(refused());
        }
        if !snapshot.step.fits(&self.plans.step_rule) {
            return Err(RestoreError::Steps(snapshot.symbol.clone()));
        }
        if !self.plans.features.raw().fits(&snapshot.features) {
            return Err(RestoreError::Features(snapshot.symbol.clone()));
        }
        let (steps, width) = (self.plans.window_steps, self.plans.features.width());
        let window = Window::restore(&snapshot.window, steps, width)?;
        let of_rows = states == States::OfRows;
        let states = snapshot.carried.as_deref();
        if let Driver::Carried(carried) = &self.driver
            && !of_rows
            && !states.is_some_and(|states| carried.fits(states))
        {
            return Err(RestoreError::States(snapshot.symbol.clone()));
        }
        let has_blend = match (&self.driver, &snapshot.blend) {
            (Driver::Blended(blended), Some(blend)) => blended.fits(blend),
            (Driver::Blended(_), None) => false,
            (_, blend) => blend.is_none(),
        };
        if !of_rows && !has_blend {
            return Err(RestoreError::States(snapshot.symbol.clone()));
        }
        let SymbolSnapshot { scores, ledger, rival, signals, .. } = snapshot;
        if !of_rows && !self.scores.fits(scores, ledger, rival.as_ref(), signals.as_ref()) {
            return Err(RestoreError::Scores(snapshot.symbol.clone()));
        }
        if !of_rows && !self.outputs.fit(&self.scores, scores, &snapshot.outputs) {
            return Err(RestoreError::Scores(snapshot.symbol.clone()));
        }
        let (step, features) = (snapshot.step.clone(), snapshot.features.clone());
        let mut state = SymbolState::new(name, step, features, window, self.now);
        state.cadence = snapshot.cadence;
        state.past = Past::restored(&state.window, &state.step);
        // What another model has shed is missing from scores that this one does not take over.
        state.shed_steps = if of_rows { 0 } else { snapshot.shed_steps };
        state.applied = partition
            .zip(snapshot.offset)
            .map(|(partition, offset)| Position { partition, offset });
        let id = self.add(state).map_err(|_| refused())?;
        let name = &self.symbols[id.index()].name;
        if of_rows {
            // What another model was worth says nothing of this one.
            self.scores.add_symbol(name);
            self.outputs.add_symbol(name);
        } else {
            self.scores.restore_symbol(name, scores, ledger, rival.as_ref(), signals.as_ref());
            self.outputs.restore(&mut self.scores, name, &snapshot.outputs);
        }
        if let (Driver::Carried(carried), Some(states)) = (&mut self.driver, states) {
            carried.restore(id, states);
        }
        if let Some(book) = &mut self.shift {
            // Another version has other cells.
            let stored = snapshot.shift.as_ref().filter(|_| !of_rows);
            book.restore_symbol(stored, self.symbols[id.index()].window.rows());
        }
        if let (Driver::Blended(blended), Some(blend)) = (&mut self.driver, &snapshot.blend) {
            blended.restore(id, blend);
        }
        Ok(id)
    }

    /// Notes that data of every symbol is missing from here on, and that a symbol whose next tick
    /// comes more than `gap_max` after its newest one begins anew: by event time, so that the same
    /// ticks give the same forecasts whenever they come.
    pub fn expect_gap(&mut self, gap_max: DurationNanos) {
        self.mark_gap();
        for symbol in &mut self.symbols {
            let newest = symbol.step.head();
            symbol.stale_after = newest.and_then(|newest| newest.checked_add(gap_max));
        }
    }

    /// As [`Engine::absorb`], into a state that remembers nothing. A tick that is refused leaves
    /// the state as it was.
    pub(super) fn absorb_anew(&mut self, id: SymbolId, tick: &Tick<'_>) -> Result<(), Reject> {
        let window = Window::new(self.plans.window_steps, self.plans.features.width());
        let features = self.plans.features.raw().initial_state();
        let state = &mut self.symbols[id.index()];
        let steps = StepState::default();
        let mut anew = SymbolState::new(state.name.clone(), steps, features, window, self.now);
        state.note_said(state.step.newest());
        (anew.arrivals, anew.health, anew.past) = (state.arrivals, state.health, state.past);
        anew.cadence = state.cadence;
        // It keeps its place among those whose recurrent states are still to be computed.
        anew.asleep = state.asleep;
        anew.entry = state.entry;
        anew.shed_steps = state.shed_steps;
        anew.begins_cold = true;
        let before = std::mem::replace(state, anew);
        let absorbed = self.absorb(id, tick);
        let state = &mut self.symbols[id.index()];
        if absorbed.is_err() {
            *state = before;
            return absorbed;
        }
        (state.applied, state.changed) = (before.applied, before.changed);
        self.reset_driver(id);
        self.stale += 1;
        Ok(())
    }

    /// Notes that symbols which turn up in a partition from here on are not new: their first step
    /// stands behind what is lost. Forecasts are not touched, because no window has any of that.
    pub fn expect_loss(&mut self, partition: PartitionId) {
        self.lost.insert(partition);
    }

    /// Compares the scores of every symbol from here on with those of this rival, or with none.
    /// Evidence about another one is dropped, which changes what is stored.
    pub fn face(&mut self, rival: Option<RivalId>) {
        if self.scores.face(rival) {
            self.note_all_changed();
        }
    }

    /// Has the state of a symbol count as changed.
    pub fn note_changed(&mut self, symbol: &str) {
        if let Some(id) = self.index.get(symbol).copied() {
            self.note_change(id);
        }
    }

    /// Has every state count as changed.
    pub fn note_all_changed(&mut self) {
        for id in (0..self.symbols.len()).filter_map(SymbolId::from_index) {
            self.note_change(id);
        }
    }

    /// Forgets every symbol of a partition, and those that no tick has given a state. No row may be
    /// in inference.
    pub fn evict(&mut self, partition: PartitionId) {
        self.lost.remove(&partition);
        self.forget_clocks(Some(partition));
        let stays = |applied: Position| applied.partition != partition;
        self.retain(|state| state.applied.is_some_and(stays));
    }

    /// Forgets every symbol. No row may be in inference.
    pub fn clear(&mut self) {
        self.lost.clear();
        self.forget_clocks(None);
        self.retain(|_| false);
    }

    /// Whether a mark waits for the next newer tick of a symbol.
    pub fn has_gap(&self, symbol: &str) -> bool {
        self.index.get(symbol).is_some_and(|id| self.symbols[id.index()].step.has_gap())
    }

    /// Notes that data of a symbol may be missing before the tick at `position`. Nothing can be
    /// missing from a symbol that is not known yet, and a tick that is a repeat was marked before.
    pub fn mark_gap_before(&mut self, symbol: &str, position: Option<Position>) {
        let Some(id) = self.index.get(symbol).copied() else { return };
        let state = &mut self.symbols[id.index()];
        if let (Some(applied), Some(position)) = (state.applied, position)
            && (applied.partition != position.partition || applied.offset >= position.offset)
        {
            return;
        }
        state.step.mark_gap();
        if state.applied.is_some() {
            self.note_change(id);
        }
    }
}
