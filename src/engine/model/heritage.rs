//! What a model can take over from another version of itself.
//!
//! Owns the choice between keeping windows, scaling their rows over, and beginning cold. Promises
//! that it follows from the two manifests alone, and that rows which are not bit for bit those that
//! this model would have made are marked. Never touches a state.

use super::manifest::Manifest;
use crate::core::features::FeaturePlan;

/// What becomes of the windows of another version.
#[derive(Clone, Debug)]
pub enum Heritage {
    /// Features, their scaler and the steps are the same: rows are the rows that this model makes.
    Rows,
    /// The scaler is another one, or that of some symbols is: their rows are scaled back by the
    /// old one and scaled again. That is not exact to the last bit, so their windows are marked
    /// until the last of these rows has left.
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

impl Heritage {
    /// What `new` can take over from `old`, whose features are `from`. Columns of the symbol are no
    /// part of a stored row, so another table changes nothing but the scalers that it has.
    pub fn between(old: &Manifest, new: &Manifest, from: &FeaturePlan) -> Self {
        let differences = [
            ("the model", old.name != new.name),
            ("what a step is", !old.step.makes_the_steps_of(&new.step)),
            ("the features", old.features != new.features),
            ("the extra fields", old.extra_fields != new.extra_fields),
        ];
        if let Some((because, _)) = differences.into_iter().find(|(_, differ)| *differ) {
            return Self::Nothing { because };
        }
        let scalers = |manifest: &Manifest| {
            let symbols = manifest.symbols.as_ref().filter(|symbols| symbols.scalers > 0)?;
            Some(symbols.sha256.clone())
        };
        let (of_old, of_new) = (scalers(old), scalers(new));
        if old.scaler == new.scaler && of_old == of_new {
            return Self::Rows;
        }
        if of_old.is_some() && !from.has_symbol_scalers() {
            return Self::Nothing { because: "the scalers of symbols" };
        }
        if !from.can_be_undone() {
            return Self::Nothing { because: "the clipping scaler" };
        }
        Self::Rescaled { from: Box::new(from.clone()) }
    }
}
