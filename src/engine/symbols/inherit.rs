//! States of another version of the model: what this engine makes of them.
//!
//! Owns the translation of windows, and the symbols whose recurrent states are still to be
//! computed. Promises that a symbol which was taken over says what one that came from rest says,
//! whether its states are there or its forecast is made of its rows. Never decides what may be
//! taken over: [`Heritage`] says so.

use super::input::InputWindow;
use super::rest::States;
use super::{Driver, Engine, SymbolSnapshot};
use crate::core::domain::{Quantiles, SymbolId, UnixNanos};
use crate::core::forecast::WindowFacts;
use crate::core::window::Window;
use crate::engine::inference::{InferenceError, Shape};
use crate::engine::model::Heritage;

/// What became of the symbols of another engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Symbols that go on with their windows.
    pub kept: usize,
    /// Symbols that go on with windows whose rows were scaled over, marked.
    pub rescaled: usize,
    /// Symbols that begin cold.
    pub cold: usize,
}

impl Engine {
    /// What a state of another version is worth to this engine; `None` for nothing.
    pub fn translate(
        &self,
        snapshot: SymbolSnapshot,
        heritage: &Heritage,
    ) -> Option<SymbolSnapshot> {
        let plan = &self.plans.features;
        let change = match heritage {
            Heritage::Nothing { .. } => return None,
            Heritage::Rows => None,
            // A symbol may have kept its scaler while others have not.
            Heritage::Rescaled { from } if plan.scales_as(from, snapshot.symbol()) => None,
            Heritage::Rescaled { from } => {
                let symbol = snapshot.symbol();
                let (to, of) = (plan.entry(symbol), from.entry(symbol));
                Some(move |row: &mut [f32]| plan.rescale(to, (from, of), row))
            }
        };
        Some(snapshot.translated(self.plans.window_steps, change))
    }

    /// Takes over every symbol of another engine, in its order, and the count of everything that
    /// went into it. No row may be in inference there, and nothing may be here yet. In mode
    /// `sliding` the recurrent states are left for [`Engine::wake`]; until then each forecast is
    /// made of the rows of the window.
    ///
    /// # Errors
    /// [`InferenceError`] where states cannot be computed.
    pub fn inherit(
        &mut self,
        old: &Self,
        heritage: &Heritage,
    ) -> Result<Inherited, InferenceError> {
        self.now = old.now;
        let mut inherited = Inherited::default();
        for id in (0..old.symbols.len()).filter_map(SymbolId::from_index) {
            let before = &old.symbols[id.index()];
            let translated = self.translate(old.at_rest(id), heritage);
            let adopted =
                translated.and_then(|snapshot| self.adopt(&snapshot, None, States::OfRows).ok());
            let Some(id) = adopted else {
                inherited.cold += 1;
                continue;
            };
            match heritage {
                Heritage::Rescaled { .. } => inherited.rescaled += 1,
                Heritage::Rows | Heritage::Nothing { .. } => inherited.kept += 1,
            }
            let state = &mut self.symbols[id.index()];
            (state.applied, state.stale_after) = (before.applied, before.stale_after);
            state.begins_cold = before.begins_cold;
            state.begins_after_loss = before.begins_after_loss;
            (state.arrivals, state.health) = (before.arrivals, before.health);
            state.past = before.past;
            (state.last_gap, state.doubt) = (before.last_gap, before.doubt);
            self.fall_asleep(id);
            // What is stored of it belongs to the other version.
            self.note_change(id);
        }
        let Self { plans, symbols, driver, backend, .. } = self;
        if let Driver::Carried(carried) = driver {
            let windows = symbols.iter().enumerate().filter_map(|(index, state)| {
                Some((SymbolId::from_index(index)?, state.window_of(&plans.features)))
            });
            carried.warm(&mut **backend, &windows)?;
        }
        self.has_history = old.has_history;
        self.follow_clocks(old);
        self.tally = old.tally.clone();
        self.stale = old.stale;
        self.scores.follow(&old.scores);
        self.outputs.follow(&old.outputs);
        Ok(inherited)
    }

    /// Goes on from the counts of another engine than that of the windows.
    pub fn count_on(&mut self, place: &Self) {
        self.tally = place.tally.clone();
        self.stale = place.stale;
        self.scores.follow(&place.scores);
        self.outputs.follow(&place.outputs);
    }

    /// Leaves the recurrent states of a symbol for later, in the mode in which they follow from its
    /// rows.
    pub(super) fn fall_asleep(&mut self, id: SymbolId) {
        let Self { symbols, driver, asleep, .. } = self;
        let is_asleep = &mut symbols[id.index()].asleep;
        if matches!(driver, Driver::Sliding(_)) && !std::mem::replace(is_asleep, true) {
            asleep.push(id);
        }
    }

    /// How many symbols still have their recurrent states to be computed.
    pub fn asleep_count(&self) -> usize {
        self.asleep.len()
    }

    /// Computes the recurrent states of at most `count_max` symbols that wait for it. While a row
    /// is in inference it does nothing.
    ///
    /// # Errors
    /// [`InferenceError`] where they cannot be computed.
    pub fn wake(&mut self, count_max: usize) -> Result<(), InferenceError> {
        let is_busy = !self.pending.is_empty() || !self.inferred.is_empty();
        if is_busy || self.asleep.is_empty() {
            return Ok(());
        }
        let left = self.asleep.len().saturating_sub(count_max);
        let waking = self.asleep.split_off(left);
        let Self { plans, symbols, driver, backend, .. } = self;
        if let Driver::Sliding(sliding) = driver {
            let windows =
                waking.iter().map(|id| (*id, symbols[id.index()].window_of(&plans.features)));
            sliding.warm(&mut **backend, &windows)?;
        }
        for id in waking {
            symbols[id.index()].asleep = false;
        }
        Ok(())
    }

    /// Whether the model says something usable about a window from rest; `None` where it is not
    /// full. Changes nothing.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn try_window(
        &mut self,
        snapshot: &SymbolSnapshot,
    ) -> Result<Option<bool>, InferenceError> {
        let (steps, width) = (self.plans.window_steps, self.plans.features.width());
        let window = Window::restore(snapshot.window(), steps, width).ok();
        let Some(window) = window.filter(Window::is_full) else { return Ok(None) };
        let lane = self.backend.lane(Shape { steps, batch: 1 })?;
        let features = &self.plans.features;
        let symbol = features.symbol_columns(features.entry(snapshot.symbol()));
        let targets = self.backend.rows_mut(lane).chunks_exact_mut(features.inputs());
        for (target, row) in targets.zip(InputWindow { window: &window, symbol }.rows()) {
            row.write(target);
        }
        for index in 0..self.state_count {
            self.backend.state_mut(lane, index).fill(0.0);
        }
        self.backend.run(lane)?;
        let Some(symbol) = SymbolId::from_index(0) else { return Ok(None) };
        let facts = WindowFacts {
            symbol,
            as_of: UnixNanos::from_nanos(0),
            last_price: None,
            quality: window.quality(),
            out_of_range: window.out_of_range(),
            margins: self.plans.forecast.margins(),
        };
        let row = self.backend.output(lane);
        let forecast = match self.plans.outputs.plans.first() {
            Some(plan) => plan.finish(row, &facts, &Quantiles::NONE).forecast,
            None => self.plans.forecast.finish_output(self.columns.read(row), &facts),
        };
        Ok(Some(forecast.is_some()))
    }
}
