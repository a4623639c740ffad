//! The section `[window]`: steps, features and their scaler.

use crate::core::features::{RawFeatures, ScalerKind};
use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::seal::sections::STEPS_MAX;

/// What a row is and how many of them make a window.
pub(super) struct Window {
    pub(super) steps: usize,
    pub(super) features: Vec<String>,
    /// Whether the configuration names no features, so that they are those of the target.
    pub(super) usual_features: bool,
    /// Every which window of the training part is learned from.
    pub(super) stride: usize,
    pub(super) extra_fields: Vec<String>,
    pub(super) scaler: ScalerKind,
}

/// Reads the section.
pub(super) fn window(mut section: Section<'_>, target: &Target) -> Window {
    let steps = section.count("steps", 1, STEPS_MAX);
    let usual_features = !section.contains("features");
    let named = section.texts("features");
    let features = if usual_features { usual(target) } else { named };
    let extra_fields = section.texts("extra_fields");
    if let Err(error) = RawFeatures::new(&features, &extra_fields, target.label()) {
        section.problem("features", error);
    }
    let scaler = section.choice("scaler", &ScalerKind::CHOICES);
    let stride = section.count("stride", 1, STEPS_MAX);
    section.finish();
    Window { steps, features, usual_features, stride, extra_fields, scaler }
}

/// The features of a target for which none are named. They mean the same at every level of price
/// and volume, so that later years stay within the range of the training part. A forecast of a
/// level needs the level itself.
fn usual(target: &Target) -> Vec<String> {
    let features = match target {
        Target::NextReturn | Target::NextDirection => vec!["change", "volume_change"],
        Target::NextLogReturn => vec!["log_return", "volume_change"],
        Target::NextVolatility => {
            vec!["absolute_return", "log_return", "volatility(20)", "volume_change"]
        }
        Target::NextValue { field } | Target::NextEvent { field, .. } => match field.as_str() {
            "volume" => vec!["volume", "volume_change"],
            price @ ("price" | "open" | "high" | "low" | "close") => vec![price, "change"],
            other => vec![other],
        },
    };
    features.into_iter().map(str::to_owned).collect()
}
