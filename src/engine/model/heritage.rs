//! What a model can take over from another version of itself.
//!
//! Owns the choice between keeping windows, scaling their rows over, and beginning cold. Promises
//! that it follows from the two manifests alone, and that rows which are not bit for bit those that
//! this model would have made are marked. Never touches a state.

use std::fs;
use std::path::Path;

use super::bundle::{MANIFEST_BYTES_MAX, MANIFEST_FILE};
use super::manifest::{Manifest, Mode};
use crate::core::features::FeaturePlan;
use crate::engine::state::StateCodec;

/// The most other versions whose states are known, the highest first.
const VERSIONS_MAX: usize = 16;

/// What becomes of the windows of another version.
#[derive(Clone, Debug)]
pub enum Heritage {
    /// Features, their scaler and the steps are the same: rows are the rows that this model makes.
    Rows,
    /// The scaler is another one: rows are scaled back by the old one and scaled anew. That is not
    /// exact to the last bit, so the windows are marked until the last of these rows has left.
    Rescaled {
        /// The features with the scaler that the rows have.
        from: Box<FeaturePlan>,
    },
    /// Something else is different: symbols begin cold.
    Nothing {
        /// What.
        because: &'static str,
    },
}

/// Another version of the model that runs: how to read its states, and what to make of them.
#[derive(Clone, Debug)]
pub struct Predecessor {
    /// Reads states of this version in one mode.
    pub codec: StateCodec,
    /// What they are worth.
    pub heritage: Heritage,
}

impl Heritage {
    /// What `new` can take over from `old`, whose features are `from`.
    pub fn between(old: &Manifest, new: &Manifest, from: &FeaturePlan) -> Self {
        let differences = [
            ("the model", old.name != new.name),
            ("what a step is", old.step != new.step),
            ("the features", old.features != new.features),
            ("the extra fields", old.extra_fields != new.extra_fields),
        ];
        if let Some((because, _)) = differences.into_iter().find(|(_, differ)| *differ) {
            return Self::Nothing { because };
        }
        if old.scaler == new.scaler {
            return Self::Rows;
        }
        Self::Rescaled { from: Box::new(from.clone()) }
    }
}

/// The other versions of a model in the folder of models. A version that cannot be read has no
/// states that anybody could want.
pub fn predecessors(root: &Path, new: &Manifest) -> Vec<Predecessor> {
    let versions = super::store::versions(root, &new.name).unwrap_or_default();
    let others = versions.iter().rev().filter(|version| **version != new.version);
    let manifests = others.take(VERSIONS_MAX).filter_map(|version| {
        let path = root.join(&new.name).join(version).join(MANIFEST_FILE);
        let within = fs::metadata(&path).is_ok_and(|file| file.len() <= MANIFEST_BYTES_MAX as u64);
        let text = within.then(|| fs::read(&path).ok()).flatten()?;
        serde_json::from_slice::<Manifest>(&text).ok()
    });
    manifests.flat_map(|old| of_version(&old, new)).collect()
}

/// What is known of one version, in each of its modes.
pub fn of_version(old: &Manifest, new: &Manifest) -> Vec<Predecessor> {
    let Ok(plans) = old.plans() else { return Vec::new() };
    let in_mode = |mode: &Mode| Predecessor {
        codec: StateCodec::new(old, *mode),
        heritage: Heritage::between(old, new, &plans.features),
    };
    old.modes.iter().map(in_mode).collect()
}
