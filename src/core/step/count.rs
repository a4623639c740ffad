//! Bars of so many ticks, or of so many units traded.
//!
//! Owns when such a bar is full. Promises that the whole tick which fills a bar belongs to it, that
//! the next bar begins with the next tick, and that the times of bars rise strictly. Never takes
//! ticks out of the order of event time, since there is no interval that an older one belongs to.

use serde::{Deserialize, Serialize};

use super::bar::Bar;
use crate::core::domain::{Fields, Reject, Step, UnixNanos};

/// When a bar is full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CountBars {
    /// With so many ticks; at least one.
    Ticks(u32),
    /// With so many units traded, or more; above zero.
    Volume(f64),
}

/// The open bar of one symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct CountState {
    /// The newest event time that was taken.
    head: UnixNanos,
    bar: Option<Bar>,
    /// How many ticks it holds.
    ticks: u32,
    /// Whether ticks may be missing in the open bar or before it; without a bar, in the next one.
    after_gap: bool,
}

impl CountState {
    /// Takes the first tick of all.
    pub(super) fn begin(time: UnixNanos, price: f64, fields: &Fields) -> Self {
        let bar = Some(Bar::begin(time, time, price, fields));
        Self { head: time, bar, ticks: 1, after_gap: false }
    }

    /// Takes a tick.
    ///
    /// # Errors
    /// [`Reject::OutOfOrder`] for a tick before the newest one.
    pub(super) fn push(
        &mut self,
        time: UnixNanos,
        price: f64,
        fields: &Fields,
    ) -> Result<(), Reject> {
        if time < self.head {
            return Err(Reject::OutOfOrder);
        }
        self.head = time;
        match &mut self.bar {
            Some(bar) => bar.add(time, price, fields),
            None => self.bar = Some(Bar::begin(time, time, price, fields)),
        }
        self.ticks = self.ticks.saturating_add(1);
        Ok(())
    }

    pub(super) fn mark_gap(&mut self) {
        self.after_gap = true;
    }

    /// Whether the next bar to be closed has the mark.
    pub(super) fn has_gap(&self) -> bool {
        self.after_gap
    }

    /// The newest event time that was taken.
    pub(super) fn head(&self) -> UnixNanos {
        self.head
    }

    /// The bar if it is full. While its last tick has the time of the bar before, which ended at
    /// this very instant, it goes on.
    pub(super) fn pop(&mut self, rule: CountBars, newest: Option<UnixNanos>) -> Option<Step> {
        if newest.is_some_and(|newest| newest >= self.head) {
            return None;
        }
        let bar = self.bar.as_ref()?;
        let is_full = match rule {
            CountBars::Ticks(ticks) => self.ticks >= ticks,
            CountBars::Volume(units) => bar.volume() >= units,
        };
        if !is_full {
            return None;
        }
        let step = bar.close(self.head, std::mem::take(&mut self.after_gap));
        (self.bar, self.ticks) = (None, 0);
        Some(step)
    }
}
