//! Rows as the model reads them: the features of a step, and behind them what is constant for its
//! symbol.
//!
//! Owns how the two parts come together. Promises that the constant part is stored once in the
//! table of the model and once in no window. Never allocates.

use crate::core::window::Window;

/// A row of a symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct InputRow<'r> {
    /// The features of a step.
    pub(super) features: &'r [f32],
    /// The columns of the symbol; none where the model tells no symbols apart.
    pub(super) symbol: &'r [f32],
}

/// The window of a symbol.
#[derive(Clone, Copy)]
pub(super) struct InputWindow<'w> {
    pub(super) window: &'w Window,
    /// As in [`InputRow`].
    pub(super) symbol: &'w [f32],
}

impl<'r> InputRow<'r> {
    /// Writes the row to `target`, which is as long.
    pub(super) fn write(self, target: &mut [f32]) {
        let (features, symbol) = target.split_at_mut(self.features.len());
        features.copy_from_slice(self.features);
        symbol.copy_from_slice(self.symbol);
    }

    /// The row in one piece; `room` is as long and is used where there are two.
    pub(super) fn joined(self, room: &'r mut [f32]) -> &'r [f32] {
        if self.symbol.is_empty() {
            return self.features;
        }
        self.write(room);
        room
    }
}

impl<'w> InputWindow<'w> {
    /// How many rows it holds.
    pub(super) fn len(self) -> usize {
        self.window.len()
    }

    /// The rows, oldest first.
    pub(super) fn rows(self) -> impl Iterator<Item = InputRow<'w>> {
        let symbol = self.symbol;
        self.window.rows().map(move |features| InputRow { features, symbol })
    }
}

#[cfg(test)]
mod tests;
