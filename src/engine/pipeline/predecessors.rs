//! Other versions of the model, whose stored states can be read.
//!
//! Owns the pair of a codec and what its states are worth. Promises that both follow from the two
//! manifests and their tables of symbols. Never touches a state.

use std::path::Path;

use crate::core::features::SymbolTable;
use crate::engine::inference::Rounding;
use crate::engine::model::manifest::{Manifest, Mode};
use crate::engine::model::{Heritage, other_manifests, read_symbols};
use crate::engine::state::StateCodec;

/// Another version of the model that runs: how to read its states, and what to make of them.
#[derive(Clone, Debug)]
pub(super) struct Predecessor {
    /// Reads states of this version in one mode.
    pub codec: StateCodec,
    /// What they are worth.
    pub heritage: Heritage,
}

/// The other versions of a model in the folder of models. A version that cannot be read has no
/// states that anybody could want.
pub(super) fn predecessors(root: &Path, new: &Manifest) -> Vec<Predecessor> {
    let of = |old: Manifest| of_version(&old, read_symbols(root, &old).as_ref(), new);
    other_manifests(root, new).flat_map(of).collect()
}

/// What is known of one version, in each of its modes. Without its table of symbols, rows that were
/// scaled by scalers of it are worth nothing to a version with another one.
pub(super) fn of_version(
    old: &Manifest,
    table: Option<&SymbolTable>,
    new: &Manifest,
) -> Vec<Predecessor> {
    let Ok(plans) = old.plans_with(table) else { return Vec::new() };
    let in_mode = |mode: &Mode| {
        let heritage = Heritage::between(old, new, &plans.features);
        Rounding::ALL.map(|rounding| Predecessor {
            codec: StateCodec::rounded(old, *mode, rounding),
            heritage: heritage.clone(),
        })
    };
    old.modes.iter().flat_map(in_mode).collect()
}

/// The model itself as the other runtime ran it: rows are the same, and recurrent states follow
/// from them.
pub(super) fn of_other_runtime(model: &Manifest, mode: Mode, runs: Rounding) -> Vec<Predecessor> {
    let others = Rounding::ALL.into_iter().filter(|rounding| *rounding != runs);
    let predecessor = |rounding| Predecessor {
        codec: StateCodec::rounded(model, mode, rounding),
        heritage: Heritage::Rows,
    };
    others.map(predecessor).collect()
}
