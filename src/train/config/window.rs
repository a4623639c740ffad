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
    let features = section.texts("features");
    let extra_fields = section.texts("extra_fields");
    if let Err(error) = RawFeatures::new(&features, &extra_fields, target.label()) {
        section.problem("features", error);
    }
    let scaler = section.choice("scaler", &ScalerKind::CHOICES);
    let scaler_per = section.choice("scaler_per", &ScalerPer::CHOICES);
    let statics = statics(&mut section);
    section.finish();
    Window { steps, features, extra_fields, scaler, scaler_per, statics }
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
