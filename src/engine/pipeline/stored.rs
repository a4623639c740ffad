//! The stored form of states, and what became of states that were read back.

use crate::core::domain::PartitionId;
use crate::engine::state::ModelIdentity;
use crate::engine::symbols::SymbolSnapshot;

/// A model in one mode, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLabel {
    /// Tells its states from those of others.
    pub identity: ModelIdentity,
    /// Name, version and mode.
    pub text: String,
}

/// The stored form of one symbol's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// Whose it is.
    pub symbol: String,
    /// The partition that it belongs to, in an input that has places.
    pub partition: Option<PartitionId>,
    /// What [`StateCodec`](crate::engine::state::StateCodec) wrote; `None` for a symbol that is
    /// gone, of which nothing is to be stored any more.
    pub bytes: Option<Vec<u8>>,
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
    /// How many were taken over.
    pub symbol_count: usize,
    /// How many of them were stored by another version of the model.
    pub translated_count: usize,
    /// What could not be used, and why, one line each.
    pub cold: Vec<String>,
}
