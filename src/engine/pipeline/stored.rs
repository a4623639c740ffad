//! The stored form of states, and what became of states that were read back.
//!
//! Owns the key under which a state is stored. Promises that a key names one model and one symbol.

use std::borrow::Cow;
use std::sync::Arc;

use crate::core::domain::PartitionId;
use crate::engine::state::ModelIdentity;
use crate::engine::symbols::SymbolSnapshot;

/// Models, each in one mode, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLabel {
    /// Tell their states from those of others.
    pub identities: Vec<ModelIdentity>,
    /// Names, versions and modes.
    pub text: String,
}

/// Separates the model and the symbol of a key; no name of either can contain it.
const KEY_SEPARATOR: char = '\t';

/// The stored form of one symbol's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// The model that it is of, as the configuration names it; `None` for the only one.
    pub model: Option<Arc<str>>,
    /// Whose it is.
    pub symbol: String,
    /// The partition that it belongs to, in an input that has places.
    pub partition: Option<PartitionId>,
    /// The offset of the newest record that it holds, in an input that has places. It may lie
    /// ahead of what was read: a restored state keeps what it holds.
    pub offset: Option<i64>,
    /// What [`StateCodec`](crate::engine::state::StateCodec) wrote; `None` for a symbol that is
    /// gone, of which nothing is to be stored any more.
    pub bytes: Option<Vec<u8>>,
}

impl StoredState {
    /// What it is stored under: the symbol, behind the model where there are several.
    pub fn key(&self) -> Cow<'_, str> {
        match &self.model {
            Some(model) => format!("{model}{KEY_SEPARATOR}{}", self.symbol).into(),
            None => (&*self.symbol).into(),
        }
    }
}

/// The model and the symbol of a key.
pub fn parts_of_key(key: &str) -> (Option<&str>, &str) {
    match key.split_once(KEY_SEPARATOR) {
        Some((model, symbol)) => (Some(model), symbol),
        None => (None, key),
    }
}

/// A stored state that could be read.
pub(super) enum Read {
    Own(SymbolSnapshot),
    Translated(SymbolSnapshot),
}

/// How a model fared on windows that it was tried on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Full windows.
    pub windows: usize,
    /// Those about which it says something that can be published.
    pub usable: usize,
}

/// What became of stored states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many symbols were taken over, by one model or by several.
    pub symbol_count: usize,
    /// How many states were stored by another version of the model.
    pub translated_count: usize,
    /// What could not be used, and why, one line each.
    pub cold: Vec<String>,
}

impl Restored {
    /// Adds what became of further ones.
    pub fn merge(&mut self, other: Self) {
        self.symbol_count += other.symbol_count;
        self.translated_count += other.translated_count;
        self.cold.extend(other.cold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_a_model_and_a_symbol() {
        let state = |model: Option<&str>| StoredState {
            model: model.map(Arc::from),
            symbol: "BTC/USD a".to_owned(),
            partition: None,
            offset: None,
            bytes: None,
        };
        for model in [None, Some("vol")] {
            assert_eq!(parts_of_key(&state(model).key()), (model, "BTC/USD a"));
        }
        assert_eq!(state(None).key(), "BTC/USD a", "as every version of this program stores it");
        assert!(crate::core::domain::Symbol::check("a\tb").is_err());
    }
}
