//! The section `[network]`: layers, and where their state comes from.

use super::StateRule;
use super::outputs::{OutputsConfig, output};
use crate::core::features::SYMBOL_COLUMNS_MAX;
use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::train::network::{
    Activation, Architecture, Cell, ConvolutionShape, DenseShape, RecurrentShape,
};

const UNITS_MAX: usize = 4096;
/// The longest kernel of a convolution, in steps.
const KERNEL_MAX: usize = 1024;

const ACTIVATIONS: [(&str, Activation); 4] = [
    ("linear", Activation::Linear),
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
];

/// What the section says.
pub(super) struct Network {
    pub(super) architecture: Architecture,
    pub(super) state: StateRule,
    /// Columns of a learned table of symbols; 0: none.
    pub(super) embedding: usize,
    pub(super) outputs: OutputsConfig,
}

/// Reads the section for rows of `inputs` values, behind which those of a learned table of symbols
/// come; `wanted` are the levels of quantiles and the horizons behind the first.
pub(super) fn network(
    mut section: Section<'_>,
    inputs: usize,
    target: &Target,
    wanted: (Vec<f64>, Vec<usize>),
) -> Network {
    // A symbol may have as many static columns.
    const EMBEDDING_MAX: usize = SYMBOL_COLUMNS_MAX / 2;
    let convolution = convolution(section.section("convolution"));
    let recurrent = recurrent(&mut section);
    let mut dense = section.sections("dense", |mut layer| {
        let shape = DenseShape {
            units: layer.count("units", 1, UNITS_MAX),
            activation: layer.choice("activation", &ACTIVATIONS),
            dropout: rate(&mut layer, "dropout"),
        };
        layer.finish();
        shape
    });
    let attention = Some(section.count("attention", 0, UNITS_MAX)).filter(|units| *units > 0);
    let embedding = section.count("embedding", 0, EMBEDDING_MAX);
    let states = [("window", StateRule::Window), ("carried", StateRule::Carried)];
    let state = section.choice("state", &states);
    if state == StateRule::Carried {
        let whole =
            [("attention", attention.is_some()), ("convolution.filters", convolution.is_some())];
        for (name, _) in whole.into_iter().filter(|(_, is_there)| *is_there) {
            let problem = "reads a whole window, so it must be 0 where network.state is `carried`";
            section.problem(name, problem);
        }
    }
    for (name, empty) in [("lstm", recurrent.is_empty()), ("dense", dense.is_empty())] {
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
    let inputs = inputs + embedding;
    let architecture = Architecture { inputs, convolution, recurrent, attention, dense };
    Network { architecture, state, embedding, outputs }
}

/// The convolution, where it has filters.
fn convolution(mut section: Section<'_>) -> Option<ConvolutionShape> {
    let shape = ConvolutionShape {
        filters: section.count("filters", 0, UNITS_MAX),
        kernel: section.count("kernel", 1, KERNEL_MAX),
        activation: section.choice("activation", &ACTIVATIONS),
    };
    section.finish();
    Some(shape).filter(|shape| shape.filters > 0)
}

/// The recurrent layers: those of `gru` where it has some, otherwise those of `lstm`.
fn recurrent(section: &mut Section<'_>) -> Vec<RecurrentShape> {
    let mut layers = |name: &'static str, cell: Cell| {
        section.sections(name, |mut layer| {
            let shape = RecurrentShape {
                cell,
                units: layer.count("units", 1, UNITS_MAX),
                recurrent_dropout: rate(&mut layer, "recurrent_dropout"),
                dropout: rate(&mut layer, "dropout"),
            };
            layer.finish();
            shape
        })
    };
    let (lstm, gru) = (layers("lstm", Cell::Lstm), layers("gru", Cell::Gru));
    if gru.is_empty() {
        return lstm;
    }
    if section.is_given("lstm") {
        section.problem("gru", "stands in the place of network.lstm; a file has one of them");
    }
    gru
}

/// A share that a layer drops; it may leave it out.
fn rate(section: &mut Section<'_>, name: &'static str) -> f32 {
    if section.contains(name) {
        section.number(name, "from 0 and below 1", |rate| (0.0..1.0).contains(&rate)) as f32
    } else {
        0.0
    }
}
