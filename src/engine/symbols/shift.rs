//! How the inputs of symbols compare with those of the training, in the engine.
//!
//! Owns which rows count: every row that goes into a window, once, also of history and of steps
//! made by rule. Promises that a bundle without a distribution costs nothing. Never judges:
//! [`core::shift`](crate::core::shift) does.

use super::Engine;
use crate::core::domain::{InputShift, SymbolId};
use crate::core::shift::ShiftBook;

/// How the newest inputs of a symbol compare, by this book.
pub(super) fn of(book: Option<&ShiftBook>, id: SymbolId) -> InputShift {
    book.map_or(InputShift::Unknown, |book| book.shift(id))
}

impl Engine {
    /// The inputs of all symbols; `None` where the bundle does not say what they are compared with.
    pub fn inputs(&self) -> Option<&ShiftBook> {
        self.shift.as_ref()
    }

    /// How the newest inputs of a symbol compare with those of the training.
    pub(super) fn shift_of(&self, id: SymbolId) -> InputShift {
        of(self.shift.as_ref(), id)
    }

    /// Counts the row that was computed last.
    pub(super) fn count_row(&mut self, id: SymbolId) {
        if let Some(book) = &mut self.shift {
            self.tally.shifts += u64::from(book.take(id, self.scratch.row()));
        }
    }
}

#[cfg(test)]
mod tests;
