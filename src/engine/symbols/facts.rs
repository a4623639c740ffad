//! What people may know of a symbol beside its forecasts.
//!
//! Owns the facts: none of them is stored, and none reaches a forecast. Promises that noting when a
//! tick came costs a few operations. Never reads a clock: the time is handed in.

use std::time::Duration;

use super::{Engine, quality_of};
use crate::core::domain::{DurationNanos, PartitionId, Quality, Symbol, UnixNanos};
use crate::core::health::{Arrivals, FeedLink, Health, HealthLimits};

/// The facts of one symbol.
#[derive(Clone, Copy, Debug)]
pub struct SymbolFacts<'e> {
    /// Its name.
    pub symbol: &'e Symbol,
    /// The partition that it belongs to, in an input that has places.
    pub partition: Option<PartitionId>,
    /// When its ticks came.
    pub arrivals: Arrivals,
    /// Event time of its newest tick.
    pub newest_tick: Option<UnixNanos>,
    /// Steps since it began, or began cold.
    pub steps: u64,
    /// Rows in its window.
    pub window: usize,
    /// How whole the window is.
    pub quality: Quality,
    /// Event time of the newest step that stood behind a gap, since this engine began.
    pub last_gap: Option<UnixNanos>,
    /// How many of its steps history has filled, since this engine began.
    pub filled: u64,
}

impl Engine {
    /// Says when the ticks come that are pushed from here on, on a clock that never goes back.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// The facts of the symbol at a place of the dense index, which is below
    /// [`Engine::symbol_count`].
    pub(super) fn symbol_facts(&self, index: usize) -> Option<SymbolFacts<'_>> {
        let state = self.symbols.get(index)?;
        Some(SymbolFacts {
            symbol: &state.name,
            partition: state.applied.map(|position| position.partition),
            arrivals: state.arrivals,
            newest_tick: state.step.head(),
            steps: state.features.steps(),
            window: state.window.len(),
            quality: quality_of(state, self.cadence.is_some()),
            last_gap: state.last_gap,
            filled: state.past.filled,
        })
    }

    /// When the ticks of a symbol came.
    pub fn arrivals(&self, symbol: &str) -> Option<Arrivals> {
        self.index.get(symbol).map(|id| self.symbols[id.index()].arrivals)
    }

    /// Notes that a tick of a symbol came that is pushed later. A symbol that is not known stays
    /// so.
    pub fn note_arrival(&mut self, symbol: &str) {
        if let Some(id) = self.index.get(symbol) {
            self.symbols[id.index()].arrivals.note(self.now);
        }
    }

    /// Whether the window of a symbol is full; not where the symbol is not known.
    pub fn has_full_window(&self, symbol: &str) -> bool {
        self.index.get(symbol).is_some_and(|id| self.symbols[id.index()].window.is_full())
    }

    /// How many rows of this length an answer with the whole window has to have, so that it is no
    /// worse than the full window of a symbol; zero where its window is not full.
    pub fn rows_to_replace(&self, symbol: &str, covers: DurationNanos) -> u64 {
        if !self.has_full_window(symbol) || covers <= DurationNanos::ZERO {
            return 0;
        }
        let steps = self.plans.window_steps as u64 + self.plans.features.raw().warm_up_steps();
        let interval = i64::from(self.plans.step.interval_seconds).saturating_mul(1_000_000_000);
        let rows_of_step = interval.div_euclid(covers.as_nanos()).max(1).unsigned_abs();
        steps.saturating_mul(rows_of_step)
    }

    /// Whether the window of a symbol is full and a live tick of it has come in this life.
    pub fn has_running_window(&self, symbol: &str) -> bool {
        let id = self.index.get(symbol).filter(|_| self.has_full_window(symbol));
        id.is_some_and(|id| self.symbols[id.index()].past.has_met_live)
    }

    /// The name of the symbol at a place of the dense index.
    pub fn symbol_at(&self, index: usize) -> Option<&Symbol> {
        self.symbols.get(index).map(|state| &state.name)
    }

    /// Takes over how the symbols were judged in another engine, which judged them so far.
    pub fn follow_health(&mut self, before: &Self) {
        for state in &mut self.symbols {
            if let Some(id) = before.index.get(&state.name) {
                state.health = before.symbols[id.index()].health;
            }
        }
    }

    /// Judges how a symbol is, by what is known of its feed at `now`, and keeps the judgement. Its
    /// ticks came when `heard` says, which is more than this engine knows where others take them as
    /// well. Returns the facts, the judgement, and the one before; `None` beyond the dense index.
    pub fn judge(
        &mut self,
        index: usize,
        heard: Option<Arrivals>,
        feed: FeedLink,
        now: Duration,
        limits: &HealthLimits,
    ) -> Option<(SymbolFacts<'_>, Health, Health)> {
        let state = self.symbols.get_mut(index)?;
        let by_silence = heard.unwrap_or(state.arrivals).health(feed, now, limits);
        let mistimed = quality_of(state, self.cadence.is_some()) == Quality::Mistimed;
        let health = by_silence.with_times(!mistimed);
        let before = std::mem::replace(&mut state.health, health);
        Some((self.symbol_facts(index)?, health, before))
    }
}
