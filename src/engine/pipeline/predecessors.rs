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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::features::{ColumnRange, Scaler};
    use crate::engine::model::Draft;
    use crate::engine::test_support::{NullRuntime, Weights, draft_for, manifest};

    /// A version in which symbol `A` has a scaler of its own.
    fn version(version: &str, most: f64) -> Draft {
        let range = |feature: &str, min, max| ColumnRange { feature: feature.into(), min, max };
        let columns = vec![range("close", 0.0, most), range("change", -0.5, 0.5)];
        let scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns };
        let symbols = BTreeMap::from([("A".to_owned(), Vec::new())]);
        let table = SymbolTable::new(Vec::new(), 0, symbols, Vec::new())
            .with_scalers(BTreeMap::from([("A".to_owned(), scaler)]));
        let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
        manifest.version = version.to_owned();
        draft_for(manifest, Weights::default(), Some(table))
    }

    #[test]
    fn rows_of_scalers_of_symbols_are_worth_something_where_their_table_is_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = version("1", 100.0).seal(root.path(), &NullRuntime).unwrap();
        let new = version("2", 400.0).into_bundle().unwrap();
        let found = || predecessors(root.path(), new.manifest());
        assert_eq!(found().len(), 2 * Rounding::ALL.len(), "each mode by each runtime");
        let rescaled = |old: &Predecessor| matches!(old.heritage, Heritage::Rescaled { .. });
        assert!(found().iter().all(rescaled));
        // A table that the manifest does not speak of is none.
        std::fs::write(folder.join("symbols.json"), "{}").unwrap();
        let nothing = |old: &Predecessor| matches!(old.heritage, Heritage::Nothing { .. });
        assert!(found().iter().all(nothing));
        let same = version("3", 100.0).into_bundle().unwrap();
        let rows = |old: &Predecessor| matches!(old.heritage, Heritage::Rows);
        assert!(predecessors(root.path(), same.manifest()).iter().all(rows), "the same scalers");
    }
}
