//! The section `[window]`: steps, features and their scaler.

use crate::core::features::{RawFeatures, ScalerKind};
use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::seal::sections::STEPS_MAX;

/// What a row is and how many of them make a window.
pub(super) struct Window {
    pub(super) steps: usize,
    pub(super) features: Vec<String>,
    pub(super) extra_fields: Vec<String>,
    pub(super) scaler: ScalerKind,
}

/// Reads the section.
pub(super) fn window(mut section: Section<'_>, target: &Target) -> Window {
    let steps = section.count("steps", 1, STEPS_MAX);
    let features = section.texts("features");
    let extra_fields = section.texts("extra_fields");
    if let Err(error) = RawFeatures::new(&features, &extra_fields, target.label()) {
        section.problem("features", error);
    }
    let scaler = section.choice("scaler", &ScalerKind::CHOICES);
    section.finish();
    Window { steps, features, extra_fields, scaler }
}
