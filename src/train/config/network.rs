//! The section `[network]`: layers, and where their state comes from.

use super::StateRule;
use crate::core::features::SYMBOL_COLUMNS_MAX;
use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::train::network::{Activation, Architecture, DenseShape, LstmShape};

/// Reads the section for rows of `inputs` values, behind which those of a learned table of symbols
/// come; with the network comes how many these are.
pub(super) fn network(
    mut section: Section<'_>,
    inputs: usize,
    target: &Target,
) -> (Architecture, StateRule, usize) {
    const UNITS_MAX: usize = 4096;
    // A symbol may have as many static columns.
    const EMBEDDING_MAX: usize = SYMBOL_COLUMNS_MAX / 2;
    fn rate(section: &mut Section<'_>, name: &'static str) -> f32 {
        // A layer may leave its dropout out.
        if section.contains(name) {
            section.number(name, "from 0 and below 1", |rate| (0.0..1.0).contains(&rate)) as f32
        } else {
            0.0
        }
    }
    let lstm = section.sections("lstm", |mut layer| {
        let shape = LstmShape {
            units: layer.count("units", 1, UNITS_MAX),
            recurrent_dropout: rate(&mut layer, "recurrent_dropout"),
            dropout: rate(&mut layer, "dropout"),
        };
        layer.finish();
        shape
    });
    let dense = section.sections("dense", |mut layer| {
        let activations = [
            ("linear", Activation::Linear),
            ("relu", Activation::Relu),
            ("tanh", Activation::Tanh),
            ("sigmoid", Activation::Sigmoid),
        ];
        let shape = DenseShape {
            units: layer.count("units", 1, UNITS_MAX),
            activation: layer.choice("activation", &activations),
            dropout: rate(&mut layer, "dropout"),
        };
        layer.finish();
        shape
    });
    let attention = Some(section.count("attention", 0, UNITS_MAX)).filter(|units| *units > 0);
    let embedding = section.count("embedding", 0, EMBEDDING_MAX);
    let states = [("window", StateRule::Window), ("carried", StateRule::Carried)];
    let state = section.choice("state", &states);
    if attention.is_some() && state == StateRule::Carried {
        let problem = "reads a whole window, so it must be 0 where network.state is `carried`";
        section.problem("attention", problem);
    }
    for (name, empty) in [("lstm", lstm.is_empty()), ("dense", dense.is_empty())] {
        if empty {
            section.problem(name, "needs at least one layer");
        }
    }
    if let Some(last) = dense.last()
        && last.units != 1
    {
        section.problem("dense", "the last layer gives the forecast, so it needs units = 1");
    }
    if let Some(last) = dense.last()
        && target.is_probability()
        && last.activation != Activation::Sigmoid
    {
        let label = target.label();
        let problem = format!("`{label}` is a probability, so the last layer must be `sigmoid`");
        section.problem("dense", problem);
    }
    section.finish();
    let inputs = inputs + embedding;
    (Architecture { inputs, lstm, attention, dense }, state, embedding)
}
