//! The trainer against Keras: a forward pass, a loss, its gradients and one step of Adam, from the
//! same weights.
//!
//! The vectors are made by `tests/reference/lstm_reference.py`, which says how. They hold what no
//! test of our own can: that the formulas, the order of the gates, the mean of the loss and the
//! place of Adam's epsilon are those that Keras users know.

use serde::Deserialize;

use super::network::{
    Activation, AnyLayer, Architecture, Cell, ConvolutionShape, DenseShape, Layer, Network,
    RecurrentShape,
};
use crate::train::fit::adam::Adam;
use crate::train::fit::loss::Loss;

#[derive(Deserialize)]
struct Reference {
    learning_rate: f64,
    /// `[B, T, F]`
    inputs: Vec<Vec<Vec<f32>>>,
    /// `[B, K]`
    targets: Vec<Vec<f32>>,
    /// `[B, K]`
    outputs: Vec<Vec<f32>>,
    loss: f64,
    weights_before: Vec<Weights>,
    weights_after: Vec<Weights>,
}

/// A network of `layers_reference.json`.
#[derive(Deserialize)]
struct Case {
    name: String,
    convolution: Option<Filters>,
    /// Cell and units.
    recurrent: Vec<(String, usize)>,
    /// Units and activation.
    dense: Vec<(usize, String)>,
    /// What is made small, and Huber's delta.
    loss_name: String,
    delta: f32,
    gradients: Vec<Weights>,
    #[serde(flatten)]
    reference: Reference,
}

#[derive(Deserialize)]
struct Filters {
    filters: usize,
    kernel: usize,
    activation: String,
}

/// The kernel of a convolution, another kernel by rows, or a bias.
#[derive(Deserialize)]
#[serde(untagged)]
enum Weights {
    Cube(Vec<Vec<Vec<f32>>>),
    Matrix(Vec<Vec<f32>>),
    Vector(Vec<f32>),
}

impl Weights {
    fn flat(&self) -> Vec<f32> {
        match self {
            Self::Cube(matrices) => matrices.concat().concat(),
            Self::Matrix(rows) => rows.concat(),
            Self::Vector(values) => values.clone(),
        }
    }

    /// The transpose of a kernel; a bias of one row or of several as it is.
    fn by_column(&self, is_bias: bool) -> Vec<f32> {
        match self {
            Self::Matrix(rows) if !is_bias => {
                let columns = 0..rows[0].len();
                columns.flat_map(|at| rows.iter().map(move |row| row[at])).collect()
            }
            _ => self.flat(),
        }
    }
}

/// Where Keras has the gates of an LSTM that we have as input, output, forget, candidate. Those of
/// a GRU stand in the same order.
const KERAS_GATES: [usize; 4] = [0, 3, 1, 2];

/// The weights of Keras in the layout of the network.
fn parameters(network: &Network, weights: &[Weights]) -> Vec<f32> {
    let mut parameters = vec![f32::NAN; network.parameter_count()];
    let mut weights = weights.iter();
    for layer in network.layers() {
        for (at, block) in layer.blocks().into_iter().enumerate() {
            let weights = weights.next().unwrap();
            let values: Vec<f32> = match layer {
                AnyLayer::Lstm(layer) => {
                    // A gate of ours is as many rows, which are columns in Keras.
                    let rows = weights.by_column(at == 2);
                    let gate = layer.units() * block.shape[1];
                    let gates = KERAS_GATES.iter().map(|keras| &rows[keras * gate..][..gate]);
                    gates.collect::<Vec<_>>().concat()
                }
                AnyLayer::Gru(_) => weights.by_column(at == 2),
                _ => weights.flat(),
            };
            block.of_mut(&mut parameters).copy_from_slice(&values);
        }
    }
    assert!(weights.next().is_none(), "a weight of Keras is left over");
    parameters
}

/// An LSTM with given masks on its state.
#[derive(Deserialize)]
struct Masked {
    /// `[B, T, F]`
    inputs: Vec<Vec<Vec<f32>>>,
    /// Of the LSTM and of a dense layer behind it.
    weights: Vec<Weights>,
    /// `[B, H]`, for all steps and gates.
    mask: Vec<Vec<f32>>,
    /// `[B, H]` after the last step, with that mask for every gate.
    states: Vec<Vec<f32>>,
    /// The same with masks that differ by gate, as Keras draws them.
    states_by_gate: Vec<Vec<f32>>,
}

#[test]
fn recurrent_dropout_is_that_of_keras_with_one_mask_for_all_gates() {
    #[derive(Deserialize)]
    struct Reference {
        recurrent: Masked,
    }
    let text = include_str!("../../tests/data/fitting_reference.json");
    let Reference { recurrent } = serde_json::from_str(text).unwrap();
    let Masked { inputs, weights, mask, states, states_by_gate } = recurrent;
    let (batch, steps, features) = (inputs.len(), inputs[0].len(), inputs[0][0].len());
    let units = mask[0].len();
    let network = Network::new(Architecture {
        inputs: features,
        recurrent: vec![RecurrentShape { recurrent_dropout: 0.5, ..RecurrentShape::lstm(units) }],
        dense: vec![DenseShape::new(1, Activation::Linear)],
        ..Architecture::default()
    })
    .unwrap();
    let parameters = parameters(&network, &weights);
    let mut workspace = network.workspace(steps, batch);
    let input = workspace.input(steps, batch, features);
    for (at, value) in input.iter_mut().enumerate() {
        let (row, feature) = (at / features, at % features);
        *value = inputs[row % batch][row / batch][feature];
    }
    workspace.masks()[0].set(&mask.concat());
    network.forward(&parameters, &mut workspace);
    let hidden = workspace.last_states()[0];
    let farthest = |theirs: &[Vec<f32>]| {
        let differences = hidden.iter().zip(theirs.concat()).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    };
    assert!(farthest(&states) < 1e-6, "{hidden:?}, Keras gives {states:?}");
    assert!(farthest(&states_by_gate) > 0.01, "the masks of gates make a difference");
}

/// Compares a network with Keras; gives the parameters before the step and those of Keras after it.
fn check(
    name: &str,
    network: &Network,
    loss: Loss,
    reference: &Reference,
    gradients_of_keras: Option<&[Weights]>,
) -> [Vec<f32>; 2] {
    let mut ours = parameters(network, &reference.weights_before);
    let theirs = parameters(network, &reference.weights_after);

    let (batch, steps) = (reference.inputs.len(), reference.inputs[0].len());
    let features = network.architecture().inputs;
    let mut workspace = network.workspace(steps, batch);
    let input = workspace.input(steps, batch, features);
    for (at, value) in input.iter_mut().enumerate() {
        let (row, feature) = (at / features, at % features);
        *value = reference.inputs[row % batch][row / batch][feature];
    }
    network.forward(&ours, &mut workspace);
    let expected = reference.outputs.concat();
    assert_eq!(workspace.output().len(), expected.len());
    for (value, expected) in workspace.output().iter().zip(&expected) {
        assert!((value - expected).abs() < 1e-6, "{name}: {value}, Keras gives {expected}");
    }

    let targets = reference.targets.concat();
    let (values, gradient) = workspace.output_and_gradient();
    let count = values.len();
    let value = loss.gradient(values, &targets, count, gradient);
    assert!((value - reference.loss).abs() < 1e-6, "{name}: {value}, not {}", reference.loss);
    let mut gradients = vec![0.0; ours.len()];
    network.backward(&ours, &mut workspace, &mut gradients);
    let before = ours.clone();
    Adam::new(reference.learning_rate, ours.len()).step(&mut ours, &gradients);

    let compare = |ours: &[f32], theirs: &[f32], tolerance: f32, what: &str| {
        for block in network.blocks() {
            for (ours, theirs) in block.of(ours).iter().zip(block.of(theirs)) {
                let close = (ours - theirs).abs() < tolerance;
                assert!(close, "{name}: {what} {}: {ours}, Keras gives {theirs}", block.name);
            }
        }
    };
    if let Some(theirs) = gradients_of_keras {
        let theirs = parameters(network, theirs);
        compare(&gradients, &theirs, 1e-6, "gradient of");
        let largest = theirs.iter().fold(0.0_f32, |largest, g| largest.max(g.abs()));
        assert!(largest > 1e-2, "{name}: gradients so small show nothing: {largest}");
    }
    compare(&ours, &theirs, 1e-5, "step of");
    [before, theirs]
}

#[test]
fn forward_and_one_step_of_adam_are_those_of_keras() {
    let text = include_str!("../../tests/data/lstm_reference.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    let network = Network::new(Architecture {
        inputs: 2,
        recurrent: vec![RecurrentShape::lstm(5), RecurrentShape::lstm(3)],
        dense: vec![DenseShape::new(4, Activation::Relu), DenseShape::new(2, Activation::Tanh)],
        ..Architecture::default()
    });
    let network = network.unwrap();
    let [before, theirs] = check("lstm", &network, Loss::MeanSquaredError, &reference, None);
    // A first step of Adam is as long as the rate unless the gradient is about as small as epsilon.
    let rate = reference.learning_rate as f32;
    let moves = || before.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
    assert!(moves().any(|length| length > 0.99 * rate));
    let short = moves().filter(|length| (0.01 * rate..0.5 * rate).contains(length)).count();
    assert!(short > 3, "only {short} parameters show where epsilon stands");
}

#[test]
fn every_other_layer_and_loss_is_that_of_keras() {
    let text = include_str!("../../tests/data/layers_reference.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    let activation = |name: &str| match name {
        "linear" => Activation::Linear,
        "relu" => Activation::Relu,
        "tanh" => Activation::Tanh,
        other => panic!("a reference with the activation {other}"),
    };
    let mut seen = Vec::new();
    for case in &cases {
        let convolution = case.convolution.as_ref().map(|shape| ConvolutionShape {
            filters: shape.filters,
            kernel: shape.kernel,
            activation: activation(&shape.activation),
        });
        let recurrent = case.recurrent.iter().map(|(cell, units)| match &cell[..] {
            "lstm" => RecurrentShape::new(Cell::Lstm, *units),
            "gru" => RecurrentShape::new(Cell::Gru, *units),
            other => panic!("a reference with the cell {other}"),
        });
        let dense =
            case.dense.iter().map(|(units, name)| DenseShape::new(*units, activation(name)));
        let shape = Architecture {
            inputs: case.reference.inputs[0][0].len(),
            convolution,
            recurrent: recurrent.collect(),
            dense: dense.collect(),
            ..Architecture::default()
        };
        let loss = match &case.loss_name[..] {
            "mean_squared_error" => Loss::MeanSquaredError,
            "mean_absolute_error" => Loss::MeanAbsoluteError,
            "huber" => Loss::Huber(case.delta),
            other => panic!("a reference with the loss {other}"),
        };
        let network = Network::new(shape).unwrap();
        check(&case.name, &network, loss, &case.reference, Some(&case.gradients));
        seen.push(&*case.name);
    }
    assert_eq!(seen, ["gru", "convolution", "convolution longer than the window", "mixed"]);
}
