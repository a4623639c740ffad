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

impl Heritage {
    /// What `new` can take over from `old`, whose features are `from`.
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
        if old.scaler == new.scaler {
            return Self::Rows;
        }
        if !from.can_be_undone() {
            return Self::Nothing { because: "a scaler that clips" };
        }
        Self::Rescaled { from: Box::new(from.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::features::{ColumnRange, Scaler};
    use crate::engine::model::manifest::Mode;
    use crate::engine::test_support::manifest;

    #[test]
    fn rows_are_scaled_over_unless_they_were_cut_off() {
        let with = |clips| {
            let mut manifest = manifest(&[Mode::Full]);
            let ranges = manifest.scaler.ranges();
            let columns = manifest.features.iter().zip(ranges);
            let column = |(feature, [min, max]): (&String, _)| ColumnRange {
                feature: feature.clone(),
                min,
                max,
            };
            manifest.scaler =
                Scaler::scikit_minmax([0.0, 1.0], clips, columns.map(column).collect());
            manifest
        };
        let between = |old: &Manifest, new: &Manifest| {
            Heritage::between(old, new, &old.plans().unwrap().features)
        };
        let plain = manifest(&[Mode::Full]);
        assert!(matches!(between(&with(true), &with(true)), Heritage::Rows));
        assert!(matches!(between(&with(false), &plain), Heritage::Rescaled { .. }));
        assert!(matches!(between(&plain, &with(true)), Heritage::Rescaled { .. }));
        let Heritage::Nothing { because } = between(&with(true), &plain) else {
            panic!("what was cut off was scaled back")
        };
        assert_eq!(because, "a scaler that clips");
    }
}
