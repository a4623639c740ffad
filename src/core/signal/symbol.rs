//! What is kept of the signals of one symbol.
//!
//! Owns its signal, the signals of the forecasts that wait for their truth, and its counts.
//! Promises that what it says follows from the symbol's forecasts and steps alone, and that it is
//! small and serialisable. Never allocates once it was made.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{SignalCounts, SignalPlan, SignalState};
use crate::core::domain::Signal;

/// The signals of one symbol: the newest, those that wait, and how they did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolSignals {
    state: SignalState,
    /// Of the last steps, oldest first, beside the forecasts that wait.
    waiting: VecDeque<Option<Signal>>,
    counts: SignalCounts,
}

impl SymbolSignals {
    /// No signal, for a model whose forecasts wait for `kept_steps` at most.
    pub fn new(kept_steps: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(kept_steps), ..Self::default() }
    }

    /// Those of a symbol of which only the values that wait are known: by the thresholds alone.
    pub fn of_waiting(plan: &SignalPlan, values: impl Iterator<Item = Option<f64>>) -> Self {
        let signal = |value: Option<f64>| value.map(|value| plan.thresholds().signal(value));
        Self { waiting: values.map(signal).collect(), ..Self::default() }
    }

    /// Takes over what was at rest, which must fit.
    pub fn clone_from_rest(&mut self, rest: &Self) {
        let Self { state, waiting, counts } = rest;
        self.waiting.extend(waiting);
        (self.state, self.counts) = (*state, *counts);
    }

    /// Whether this, from rest, can be of a symbol with so many steps that wait.
    pub fn fits(&self, waiting_steps: usize) -> bool {
        self.waiting.len() == waiting_steps && self.counts.are_possible()
    }

    /// The signal of the forecast of the newest step.
    pub fn decide(&mut self, plan: &SignalPlan, value: f64) -> Signal {
        plan.decide(&mut self.state, value)
    }

    /// Takes a step, and gives the signal of the forecast that it is the truth of. `kept_steps` is
    /// how many are kept.
    pub fn step(&mut self, kept_steps: usize) -> Option<Signal> {
        self.state.step();
        let due =
            if self.waiting.len() < kept_steps { None } else { self.waiting.pop_front().flatten() };
        if kept_steps > 0 {
            self.waiting.push_back(None);
        }
        due
    }

    /// Takes the signal that was published with the forecast of the newest step.
    pub fn wait(&mut self, signal: Signal) {
        if let Some(place) = self.waiting.back_mut() {
            *place = Some(signal);
        }
    }

    /// Gives up on the signals that wait; the signal stays.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Begins without a signal: the next step has nothing to do with those before.
    pub fn begin_cold(&mut self) {
        self.forget();
        self.state = SignalState::default();
    }

    /// How the signals did.
    pub const fn counts(&self) -> &SignalCounts {
        &self.counts
    }

    /// As [`SymbolSignals::counts`], to count one more.
    pub fn counts_mut(&mut self) -> &mut SignalCounts {
        &mut self.counts
    }
}
