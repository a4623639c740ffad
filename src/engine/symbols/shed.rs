//! Rows that go without inference, because others are served first.
//!
//! Owns what is left out under load: the run of the model alone. Promises that steps, features and
//! windows go on as if nothing had been left out, so that the next forecast has the value that it
//! would have had anyway, bit for bit, and that every later forecast of the symbol has the number
//! of steps that were left out. Never decides what load is.
//!
//! A step that is left out has no forecast and therefore no score. An interval that adapts is made
//! of the scores so far, so later intervals may differ from those of a model that shed nothing.
//!
//! Mode `full` needs nothing but the window. In mode `sliding` the recurrent states follow from the
//! rows: a symbol whose row was left out falls asleep, and its states are computed by
//! [`Engine::wake`] while there is time. Until then a forecast of it is made of the rows of its
//! window.
//! The state of mode `carried` holds every row since the symbol began, so nothing of it can be left
//! out: such a model runs on each row, which takes it one step.
//!
//! A row of history is never left out: no live tick waits behind it for a forecast, and the scores
//! of history are those of a replay. Nor is a row that comes again: the scores before it were those
//! of a model that left nothing out, as far as anybody knows.

use super::{Driver, Engine, Withheld};
use crate::core::domain::SymbolId;

/// Whether rows may go without inference, and whether they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shedding {
    may: bool,
    now: bool,
}

impl Engine {
    /// Says whether rows may go without inference. From here on none does until
    /// [`Engine::shed_rows`] says so.
    pub fn allow_shedding(&mut self, may: bool) {
        self.shedding = Shedding { may, now: false };
    }

    /// Leaves out the inference of the rows that come from here on, and of those that wait for it;
    /// or no longer.
    pub fn shed_rows(&mut self, now: bool) {
        self.shedding.now = now && self.may_shed();
        if !self.shedding.now {
            return;
        }
        for pending in std::mem::take(&mut self.pending) {
            if pending.is_history {
                self.pending.push(pending);
                continue;
            }
            self.symbols[pending.symbol.index()].pending = false;
            self.shed(pending.symbol);
        }
        if let Some(id) = self.due {
            self.take_due(id);
        }
    }

    /// Whether rows go without inference now.
    pub fn sheds_rows(&self) -> bool {
        self.shedding.now
    }

    fn may_shed(&self) -> bool {
        self.shedding.may && !matches!(self.driver, Driver::Carried(_))
    }

    /// Leaves out the inference of the newest row of a symbol's window.
    pub(super) fn shed(&mut self, id: SymbolId) {
        let Self { symbols, tally, .. } = self;
        let state = &mut symbols[id.index()];
        if state.window.is_full() {
            tally.withheld.add(Withheld::Shed);
            state.shed_steps = state.shed_steps.saturating_add(1);
        } else {
            tally.warming += 1;
        }
        self.fall_asleep(id);
    }
}

#[cfg(test)]
mod tests;
