//! History before the stream and in its holes: rows that are ticks like any other.
//!
//! Owns what is known of a symbol's history in this life, and what is missing of it. Promises that
//! a row moves a symbol on as a live tick would, and that nothing of it is published unless the
//! operator wants that. Nothing of it is stored. Never asks for a row: its owner does, with what
//! [`Engine::missing`] says.

use super::{Engine, SymbolState};
use crate::core::domain::{DurationNanos, Reject, Step, SymbolId, UnixNanos};
use crate::core::health::{Arrivals, Health};
use crate::core::history::{Missing, Origin, Seam, Span};
use crate::core::step::{StepRule, StepState};
use crate::core::window::Window;

/// What is known of a symbol's history.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    /// Up to where rows have come that say what live ticks say; an older one is a repeat.
    covered_until: Option<UnixNanos>,
    /// What is known of the place behind the newest row, until the first live tick comes.
    seam: Option<Seam>,
    /// Its whole window was asked for, and is not asked for again while it is not full.
    is_asked: bool,
    /// Its whole window has come, and no live tick since.
    pub(super) is_fresh: bool,
    /// Up to where the newest hole reaches that rows came for.
    filled_until: Option<UnixNanos>,
    /// The newest stretch that stays missing: it was asked for in vain, or live ticks have passed
    /// it over.
    declined: Option<Span>,
    /// The newest step of a full window that was forgotten. Steps up to it come a second time where
    /// the whole window is asked for: they were scored, and published if they had to be.
    said_until: Option<UnixNanos>,
    /// A state that came from rest has what recordings have up to here.
    restored_until: Option<UnixNanos>,
    /// A live tick has come in this life.
    pub(super) has_met_live: bool,
    /// Steps that were filled.
    pub(super) filled: u64,
}

impl SymbolState {
    /// Notes that a window is about to be forgotten whose newest step is this one.
    pub(super) fn note_said(&mut self, newest: Option<UnixNanos>) {
        if self.window.is_full() {
            self.past.said_until = self.past.said_until.max(newest);
        }
    }
}

impl Past {
    /// That of a symbol that comes from rest. To a full window a recording has nothing to add. To
    /// another one it adds what lies behind the newest tick: the open bars hold older ones already.
    pub(super) fn restored(window: &Window, step: &StepState) -> Self {
        let until =
            if window.is_full() { Some(UnixNanos::from_nanos(i64::MAX)) } else { step.head() };
        Self { restored_until: until, ..Self::default() }
    }

    /// Notes a stretch that is not asked for again.
    pub(super) fn decline(&mut self, span: Span) {
        let joined = self.declined.filter(|before| span.from < before.to);
        self.declined = Some(joined.map_or(span, |before| before.union(span)));
    }
}

impl Engine {
    /// Says where the tick comes from that is pushed next.
    pub fn set_origin(&mut self, origin: Origin) {
        // What comes again changes the state as it did when it was live, and is not published.
        self.is_again = origin == Origin::Again;
        self.origin = if self.is_again { Origin::Live } else { origin };
    }

    /// Says whether forecasts and scores of history are published.
    pub fn publish_history(&mut self, publishes: bool) {
        self.publishes_history = publishes;
    }

    /// What would be missing of a symbol before a live tick of this time; `after_gap` says that
    /// ticks may be missing right before it. Only a tick that is newer than all before asks.
    pub fn missing(&self, symbol: &str, time: UnixNanos, after_gap: bool) -> Option<Missing> {
        let Some(id) = self.index.get(symbol) else {
            return self.has_room().then_some(Missing::Warm);
        };
        let SymbolState { step, stale_after, past, .. } = &self.symbols[id.index()];
        if step.head().is_some_and(|head| time <= head) {
            return None;
        }
        let is_stale = stale_after.is_some_and(|limit| time > limit);
        if self.lacks_window(*id) || (is_stale && !past.is_asked) {
            return Some(Missing::Warm);
        }
        let span = step.missing(&self.plans.step_rule, time, after_gap)?;
        if past.declined.is_some_and(|declined| span.to <= declined.to) {
            return None;
        }
        let is_long =
            self.span(span.from, span.to).is_none_or(|length| length > self.window_span());
        // A long stretch leaves nothing of the window. Where all of that has just come, rows may be
        // missing behind the newest one, or the symbol was quiet: the stretch itself tells.
        Some(if is_long && !past.is_fresh { Missing::Warm } else { Missing::Span(span) })
    }

    /// What is missing of a symbol whatever its next tick is: its whole window, or nothing.
    pub fn missing_at_start(&self, symbol: &str) -> Option<Missing> {
        let lacks_window = match self.index.get(symbol) {
            Some(id) => self.lacks_window(*id),
            None => self.has_room(),
        };
        lacks_window.then_some(Missing::Warm)
    }

    /// As [`Engine::missing`], while earlier ticks of the symbol are still to be taken: whether
    /// something may be missing.
    pub fn may_miss(&self, symbol: &str, time: UnixNanos, after_gap: bool) -> bool {
        let id = self.index.get(symbol).filter(|_| self.has_history);
        id.is_some_and(|id| self.symbols[id.index()].past.seam.is_some())
            || self.missing(symbol, time, after_gap).is_some()
    }

    /// Prepares a symbol for the rows that were asked for, which have to be complete where they
    /// fill a hole. No row of the symbol may be in inference.
    ///
    /// # Errors
    /// [`Reject::TooManySymbols`] or [`Reject::InvalidSymbol`] where it cannot be a new symbol.
    pub fn begin_history(&mut self, symbol: &str, missing: Missing) -> Result<(), Reject> {
        let id = self.resolve_quietly(symbol)?;
        debug_assert!(!self.symbols[id.index()].pending, "a row of {symbol} is in inference");
        (self.has_history, self.is_filling) = (true, true);
        // What comes from rest lacks what is asked for.
        self.symbols[id.index()].past.restored_until = None;
        match missing {
            Missing::Warm => {
                let state = &mut self.symbols[id.index()];
                state.note_said(state.step.newest());
                (state.past.is_asked, state.past.filled_until) = (true, None);
                self.forget_steps(id);
            }
            Missing::Span(span) => {
                let SymbolState { step, past, .. } = &mut self.symbols[id.index()];
                step.rewind(span);
                // A step that was closed in the middle of a stretch without an answer lacks ticks.
                let is_inside =
                    |declined: Span| declined.from < span.from && span.from < declined.to;
                if past.declined.is_some_and(is_inside) {
                    step.doubt_newest();
                }
                past.filled_until = Some(span.to);
            }
        }
        self.note_change(id);
        Ok(())
    }

    /// Notes that all rows have come, with what was said of the tick that asked for them. What is
    /// still missing behind them is judged with the first live tick.
    pub fn end_history(&mut self, symbol: &str, missing: Missing, after_gap: bool) {
        self.is_filling = false;
        let is_record = self.plans.step_rule == StepRule::Record;
        let Some(id) = self.index.get(symbol).copied() else { return };
        let SymbolState { step, past, .. } = &mut self.symbols[id.index()];
        match missing {
            Missing::Warm => {
                past.is_fresh = true;
                if let Some(until) = past.covered_until {
                    step.cover_until(until);
                }
                // Between rows and a record there is a step or nothing, which the seam tells.
                if after_gap && !is_record {
                    step.mark_gap();
                }
            }
            Missing::Span(_) => step.filled(after_gap),
        }
        self.note_change(id);
    }

    /// Notes that what is missing before a tick of this time was asked for in vain: it is not
    /// asked for again, and its marks stay. `None` where it was asked for before any tick.
    pub fn give_up(&mut self, symbol: &str, time: Option<UnixNanos>, after_gap: bool) {
        // One symbol too many is refused with its tick.
        let Ok(id) = self.resolve_quietly(symbol) else { return };
        let SymbolState { step, past, .. } = &mut self.symbols[id.index()];
        past.is_asked = true;
        let (Some(time), rule) = (time, &self.plans.step_rule) else { return };
        let Some(Span { from, to }) = step.missing(rule, time, after_gap) else { return };
        // The bar under way lacks its beginning and keeps its mark, too: its features follow from
        // the bar before, whose end is missing.
        let is_in_doubt = after_gap || step.has_gap();
        let to = rule.bar_end(time).filter(|_| is_in_doubt).unwrap_or(to);
        past.decline(Span { from, to });
    }

    /// What is missing before a live tick that is taken all the same, up to the end of its bar: it
    /// was asked for in vain, or not at all, because the tick that asked was dropped.
    pub(super) fn passed_over(&self, id: SymbolId, time: UnixNanos) -> Option<Span> {
        let (step, rule) = (&self.symbols[id.index()].step, &self.plans.step_rule);
        if self.origin != Origin::Live || !step.has_gap() {
            return None;
        }
        let Span { from, to } = step.missing(rule, time, false)?;
        Some(Span { from, to: rule.bar_end(time).unwrap_or(to) })
    }

    /// Finds a symbol, or takes a new one that no live tick has come of.
    pub(super) fn resolve_quietly(&mut self, symbol: &str) -> Result<SymbolId, Reject> {
        let count = self.symbols.len();
        let id = self.resolve(symbol)?;
        if let Some(state) = self.symbols.get_mut(count) {
            (state.arrivals, state.health) = (Arrivals::awaited(self.now), Health::Awaited);
        }
        Ok(id)
    }

    fn has_room(&self) -> bool {
        self.symbols.len() < self.limits.symbols_max
    }

    /// Whether the window of a symbol is to be asked for.
    fn lacks_window(&self, id: SymbolId) -> bool {
        let SymbolState { window, past, .. } = &self.symbols[id.index()];
        !window.is_full() && !past.is_asked
    }

    /// Judges the place between history and the first live tick of a symbol, once: where ticks may
    /// be missing there, they are marked as missing. To be called before [`Engine::missing`].
    pub fn meet_live(&mut self, symbol: &str, time: UnixNanos) {
        if !self.has_history {
            return;
        }
        let Some(id) = self.index.get(symbol).copied() else { return };
        let Past { covered_until, seam, .. } = self.symbols[id.index()].past;
        let Some(seam) = seam else { return };
        if covered_until.is_some_and(|until| time < until) {
            // A repeat says nothing of what comes behind.
            return;
        }
        self.symbols[id.index()].past.seam = None;
        let is_record = self.plans.step_rule == StepRule::Record;
        let adjoins = if is_record {
            let newest = self.symbols[id.index()].step.newest();
            let interval = self.interval();
            let near = |newest| self.span(newest, time).is_some_and(|span| span <= interval);
            newest.is_none_or(near)
        } else {
            covered_until == Some(time)
        };
        let step = &mut self.symbols[id.index()].step;
        if let Some(until) = covered_until {
            step.cover_until(until);
        }
        if !seam.is_joined && !adjoins {
            step.mark_gap();
        }
        self.note_change(id);
    }

    /// Whether a step comes a second time, because the whole window was asked for.
    pub(super) fn repeats(&self, id: SymbolId, step: &Step) -> bool {
        self.has_history && self.symbols[id.index()].past.said_until >= Some(step.time)
    }

    /// Counts a step that was filled.
    pub(super) fn note_filled(&mut self, id: SymbolId, step: &Step) {
        if !self.has_history {
            return;
        }
        let is_record = self.plans.step_rule == StepRule::Record;
        let past = &mut self.symbols[id.index()].past;
        // A bar has the time of its end, which is where the hole ends.
        let lies_before = |until| step.time < until || (!is_record && step.time == until);
        if past.filled_until.is_some_and(lies_before) {
            past.filled += 1;
            self.tally.filled += 1;
        }
    }

    /// Has the whole window of a symbol asked for again, because it begins cold.
    pub(super) fn ask_again(&mut self, id: SymbolId) {
        self.symbols[id.index()].past.is_asked = false;
    }

    /// Whether what is pushed now is not published: history, or what was published before.
    pub(super) fn is_unpublished(&self) -> bool {
        self.is_again || matches!(self.origin, Origin::History(_)) && !self.publishes_history
    }

    /// Whether the state of a symbol holds a tick of this time already, by what history it has.
    pub(super) fn has_in_history(&self, id: SymbolId, time: UnixNanos) -> bool {
        let SymbolState { step, past, .. } = &self.symbols[id.index()];
        match self.origin {
            Origin::Live | Origin::Again => {
                self.has_history && step.covered_until().max(past.covered_until) > Some(time)
            }
            Origin::History(_) => past.restored_until >= Some(time),
        }
    }

    /// Notes a row that was taken.
    pub(super) fn note_row(&mut self, id: SymbolId, time: UnixNanos, seam: Seam) {
        let is_record = self.plans.step_rule == StepRule::Record;
        let past = &mut self.symbols[id.index()].past;
        past.seam = Some(seam);
        self.has_history = true;
        let until = if is_record {
            // A record is a step at its time, and none comes before it any more.
            time.as_nanos().checked_add(1).map(UnixNanos::from_nanos)
        } else {
            // Ticks without a length may have others between them that come later.
            let covers = Some(seam.covers).filter(|covers| *covers > DurationNanos::ZERO);
            covers.and_then(|covers| time.checked_add(covers))
        };
        past.covered_until = past.covered_until.max(until);
    }

    /// Forgets everything that a symbol's ticks have left behind, but for its scores.
    fn forget_steps(&mut self, id: SymbolId) {
        let window = Window::new(self.plans.window_steps, self.plans.features.width());
        let features = self.plans.features.raw().initial_state();
        let state = &mut self.symbols[id.index()];
        let steps = StepState::default();
        let mut fresh = SymbolState::new(state.name.clone(), steps, features, window, self.now);
        (fresh.arrivals, fresh.health) = (state.arrivals, state.health);
        (fresh.applied, fresh.changed) = (state.applied, state.changed);
        // It keeps its place among those whose recurrent states are still to be computed.
        fresh.asleep = state.asleep;
        fresh.entry = state.entry;
        fresh.shed_steps = state.shed_steps;
        (fresh.past, fresh.begins_cold) = (state.past, true);
        *state = fresh;
        self.reset_driver(id);
    }

    /// How long the steps of a window take, without closed days.
    fn window_span(&self) -> DurationNanos {
        let steps = u32::try_from(self.plans.window_steps).unwrap_or(u32::MAX);
        self.interval().times(steps).unwrap_or(DurationNanos::MAX)
    }

    fn interval(&self) -> DurationNanos {
        DurationNanos::from_seconds(i64::from(self.plans.step.interval_seconds))
            .unwrap_or(DurationNanos::MAX)
    }
}

#[cfg(test)]
mod tests;
