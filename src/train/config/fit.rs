//! The section `[fit]`: how parameters are found.

use std::path::PathBuf;

use super::start::{Start, start};

use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::train::fit::Recipe;
use crate::train::fit::loss::Loss;

/// Reads the section; with the recipe come the folder of its checkpoint, and where it starts.
pub(super) fn fit(mut section: Section<'_>, target: &Target) -> (Recipe, PathBuf, Start) {
    let seed = section.count("seed", 0, i64::MAX as usize);
    let recipe = Recipe {
        epochs: section.count("epochs_max", 1, 1_000_000),
        batch: section.count("batch", 1, 65_536),
        patience: section.count("patience", 1, 1_000_000),
        learning_rate: section.number("learning_rate", "above 0", |rate| rate > 0.0),
        clip_norm: section.number("clip_norm", "at least 0", |norm| norm >= 0.0),
        loss: loss(&mut section, target),
        seed: seed as u64,
        lanes: section.count("lanes", 1, 64),
        start: None,
    };
    let work = section.path("work");
    let start = start(&mut section);
    section.finish();
    (recipe, work, start)
}

/// The loss that was asked for, or the usual one of the target.
fn loss(section: &mut Section<'_>, target: &Target) -> Loss {
    let choices = [
        ("auto", None),
        ("mean_squared_error", Some(Loss::MeanSquaredError)),
        ("binary_cross_entropy", Some(Loss::BinaryCrossEntropy)),
        ("quantile", Some(Loss::Quantile(0.5))),
    ];
    let chosen = section.choice("loss", &choices);
    let quantile = section.number("quantile", "between 0 and 1", |q| q > 0.0 && q < 1.0);
    let probability = target.is_probability();
    match chosen {
        None if probability => Loss::BinaryCrossEntropy,
        None => Loss::MeanSquaredError,
        Some(Loss::BinaryCrossEntropy) if !probability => {
            section.problem("loss", format_args!("`{}` is no probability", target.label()));
            Loss::BinaryCrossEntropy
        }
        Some(Loss::Quantile(_)) if probability => {
            let label = target.label();
            section.problem("loss", format_args!("the quantile of a `{label}` is 0 or 1"));
            Loss::Quantile(quantile as f32)
        }
        Some(Loss::Quantile(_)) => Loss::Quantile(quantile as f32),
        Some(loss) => loss,
    }
}
