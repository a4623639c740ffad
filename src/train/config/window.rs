//! The section `[window]`: steps, features and their scaler, and what is constant for a symbol.

use crate::core::features::{RawFeatures, ScalerKind};
use crate::core::forecast::Target;
use crate::ops::file::read_text;
use crate::ports::section::Section;
use crate::seal::sections::STEPS_MAX;
use crate::seal::statics::{STATICS_BYTES_MAX, Statics};

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
    pub(super) scaler_per: ScalerPer,
    pub(super) statics: Option<Statics>,
}

/// Whose rows a scaler of the features is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalerPer {
    /// Those of all symbols.
    Model,
    /// Those of one symbol each.
    Symbol,
}

impl ScalerPer {
    const CHOICES: [(&str, Self); 2] = [("model", Self::Model), ("symbol", Self::Symbol)];
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
    let scaler_per = section.choice("scaler_per", &ScalerPer::CHOICES);
    let statics = statics(&mut section);
    section.finish();
    Window { steps, stride, features, usual_features, extra_fields, scaler, scaler_per, statics }
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

/// Reads the table of static numbers that the section names.
fn statics(section: &mut Section<'_>) -> Option<Statics> {
    let path = section.optional_path("statics")?;
    let text = read_text(&path, STATICS_BYTES_MAX).map_err(|error| vec![error.to_string()]);
    match text.and_then(|text| Statics::read(&text)) {
        Ok(statics) => Some(statics),
        Err(problems) => {
            for problem in problems {
                section.problem("statics", format_args!("`{}`: {problem}", path.display()));
            }
            None
        }
    }
}
