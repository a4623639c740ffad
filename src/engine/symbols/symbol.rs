//! What an engine keeps of each symbol.
//!
//! Owns the state of one symbol, except for its recurrent states and its scores. Promises that a
//! new symbol has no past. Never moves a state on: the engine does.

use std::time::Duration;

use super::history::Past;
use super::input::{InputRow, InputWindow};
use crate::core::domain::{DurationNanos, Position, Symbol, SymbolId, TimeDoubt, UnixNanos};
use crate::core::features::{FeaturePlan, FeatureState, SymbolEntry};
use crate::core::health::{Arrivals, Health};
use crate::core::step::{Cadence, StepState};
use crate::core::window::Window;

/// Everything known of one symbol.
pub(super) struct SymbolState {
    pub(super) name: Symbol,
    /// Its place in the model's table of symbols.
    pub(super) entry: SymbolEntry,
    pub(super) step: StepState,
    pub(super) features: FeatureState,
    pub(super) window: Window,
    /// Whether a row is in inference: waiting for it, or for the states to move on.
    pub(super) pending: bool,
    /// Where the newest tick came from, in an input that has places.
    pub(super) applied: Option<Position>,
    /// Whether the state has moved since it was last taken to rest.
    pub(super) changed: bool,
    /// A tick beyond this event time comes too late for the window, which then begins cold.
    pub(super) stale_after: Option<UnixNanos>,
    /// Whether its next step has nothing to do with those before.
    pub(super) begins_cold: bool,
    /// Whether its next step is its first since what was known of it was lost.
    pub(super) begins_after_loss: bool,
    /// How far apart its steps are.
    pub(super) cadence: Cadence,
    /// Why the event time of its newest tick cannot be right.
    pub(super) doubt: Option<TimeDoubt>,
    /// When ticks came, and how the symbol was judged last.
    pub(super) arrivals: Arrivals,
    pub(super) health: Health,
    /// Time of the newest step that stood behind a gap.
    pub(super) last_gap: Option<UnixNanos>,
    /// Whether its recurrent states are still to be computed from its rows.
    pub(super) asleep: bool,
    /// How many steps with a full window went without inference under load: its scores lack them.
    pub(super) shed_steps: u64,
    /// What is known of its history.
    pub(super) past: Past,
}

impl SymbolState {
    pub(super) fn new(
        name: Symbol,
        step: StepState,
        features: FeatureState,
        window: Window,
        now: Duration,
    ) -> Self {
        Self {
            name,
            entry: SymbolEntry::default(),
            step,
            features,
            window,
            pending: false,
            applied: None,
            changed: false,
            stale_after: None,
            begins_cold: false,
            begins_after_loss: false,
            cadence: Cadence::default(),
            doubt: None,
            arrivals: Arrivals::new(now),
            health: Health::default(),
            last_gap: None,
            asleep: false,
            shed_steps: 0,
            past: Past::default(),
        }
    }

    /// The newest row as the model reads it, or `None` where there is none.
    pub(super) fn newest_row<'s>(&'s self, features: &'s FeaturePlan) -> Option<InputRow<'s>> {
        let symbol = features.symbol_columns(self.entry);
        Some(InputRow { features: self.window.newest()?, symbol })
    }

    /// The window as the model reads it.
    pub(super) fn window_of<'s>(&'s self, features: &'s FeaturePlan) -> InputWindow<'s> {
        InputWindow { window: &self.window, symbol: features.symbol_columns(self.entry) }
    }
}

/// The names of an engine's symbols.
#[derive(Clone, Copy)]
pub struct Names<'e>(pub(super) &'e [SymbolState]);

impl<'e> Names<'e> {
    /// That of one symbol.
    pub fn of(self, id: SymbolId) -> &'e Symbol {
        &self.0[id.index()].name
    }
}

/// A tick or step whose time cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistimed {
    /// Whose.
    pub symbol: Symbol,
    /// Its event time.
    pub time: UnixNanos,
    /// Why.
    pub cause: MistimedCause,
}

/// Why the times of a symbol cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MistimedCause {
    /// They lie where times of a wrong unit do.
    Doubt(TimeDoubt),
    /// Steps have another spacing than the model's.
    Cadence {
        /// The newest spacing.
        spacing: DurationNanos,
        /// That of the model.
        interval: DurationNanos,
        /// Whether it is so far off that no market explains it.
        is_implausible: bool,
    },
}

/// A window that began cold: the steps of its symbol before and after the distance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdStart {
    /// Whose window.
    pub symbol: Symbol,
    /// Time of the last step of the old window.
    pub before: UnixNanos,
    /// Time of the first step of the new one.
    pub after: UnixNanos,
}
