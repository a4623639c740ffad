//! The section `[network]`: layers, and where their state comes from.

use super::StateRule;
use super::outputs::{OutputsConfig, output};
use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::train::network::{Activation, Architecture, DenseShape, LstmShape};

/// Reads the section for rows of `inputs` values; `wanted` are the levels of quantiles and the
/// horizons behind the first.
pub(super) fn network(
    mut section: Section<'_>,
    inputs: usize,
    target: &Target,
    wanted: (Vec<f64>, Vec<usize>),
) -> (Architecture, StateRule, OutputsConfig) {
    const UNITS_MAX: usize = 4096;
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
    let mut dense = section.sections("dense", |mut layer| {
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
    let outputs = output(&mut section, &mut dense, target, state, wanted);
    if let Some(last) = dense.last()
        && target.is_probability()
        && last.activation != Activation::Sigmoid
    {
        let label = target.label();
        let problem = format!("`{label}` is a probability, so the last layer must be `sigmoid`");
        section.problem("dense", problem);
    }
    section.finish();
    (Architecture { inputs, lstm, attention, dense }, state, outputs)
}
