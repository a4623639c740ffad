//! Names of keyed streams.
//!
//! Owns what a valid symbol is. Promises that every [`Symbol`] is short, printable and safe to
//! put into a log line or a label. Never maps names to state: the engine does.

use std::{fmt, sync::Arc};

use crate::core::text::is_printable;

/// The longest symbol in bytes. Prediction markets name their outcomes by numbers of 77 digits, and
/// options by long texts; 256 bytes leave room and fit a log line.
const SYMBOL_BYTES_MAX: usize = 256;

/// The name of one keyed stream, such as `AAPL`: 1 to 256 bytes of printable UTF-8. Cloning shares
/// the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

/// The dense index of a symbol inside one engine, in order of first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(u32);

/// Why a text is not a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a symbol has 1 to {SYMBOL_BYTES_MAX} bytes, all of them printable")]
pub struct SymbolError;

impl Symbol {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`SymbolError`] for an empty or long name or one that is not printable.
    pub fn new(name: &str) -> Result<Self, SymbolError> {
        Self::check(name)?;
        Ok(Self(Arc::from(name)))
    }

    /// Checks a borrowed name without keeping it.
    ///
    /// # Errors
    /// As [`Symbol::new`].
    pub fn check(name: &str) -> Result<(), SymbolError> {
        let fits = (1..=SYMBOL_BYTES_MAX).contains(&name.len());
        if fits && name.chars().all(is_printable) { Ok(()) } else { Err(SymbolError) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl SymbolId {
    /// The first of a dense index.
    pub const FIRST: Self = Self(0);

    /// The id at a dense index, or `None` past `u32`.
    pub fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Self)
    }

    /// The dense index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_refuses_noise() {
        for name in
            ["AAPL", "BRK.B", "BTC-USDT", "Zürich", "A,B", &"7".repeat(77), &"x".repeat(256)]
        {
            assert_eq!(Symbol::new(name).unwrap().as_str(), name);
        }
        for name in ["", "A\nB", "\u{7f}", "A\u{202e}B", "\u{200b}", &"x".repeat(257)] {
            assert_eq!(Symbol::new(name), Err(SymbolError), "{name:?}");
        }
    }
}
