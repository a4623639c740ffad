//! The trainer against Keras: one forward pass and one step of Adam, from the same weights.
//!
//! The vectors are made by `tests/reference/lstm_reference.py`, which says how. They hold what no
//! test of our own can: that the formulas, the order of the gates, the mean of the loss and the
//! place of Adam's epsilon are those that Keras users know.

use serde::Deserialize;

use super::network::{Activation, Architecture, DenseShape, LstmShape, Network};
use crate::train::fit::adam::Adam;
use crate::train::fit::loss::Loss;
use crate::train::network::parameters::Block;

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

/// A kernel by rows, or a bias.
#[derive(Deserialize)]
#[serde(untagged)]
enum Weights {
    Matrix(Vec<Vec<f32>>),
    Vector(Vec<f32>),
}

/// Where Keras has the gates that we have as input, output, forget, candidate.
const KERAS_GATES: [usize; 4] = [0, 3, 1, 2];

fn network() -> Network {
    let lstm = |units| LstmShape { units, recurrent_dropout: 0.0, dropout: 0.0 };
    let dense = |units, activation| DenseShape { units, activation, dropout: 0.0 };
    Network::new(Architecture {
        inputs: 2,
        lstm: vec![lstm(5), lstm(3)],
        attention: None,
        dense: vec![dense(4, Activation::Relu), dense(2, Activation::Tanh)],
    })
    .unwrap()
}

/// The weights of Keras in the layout of the network.
fn parameters(network: &Network, weights: &[Weights]) -> Vec<f32> {
    let mut parameters = vec![f32::NAN; network.parameter_count()];
    let mut weights = weights.iter();
    for layer in network.lstm_layers() {
        let units = layer.units();
        // Row r of ours is a unit of a gate, which Keras has as a column.
        let column = |row: usize| KERAS_GATES[row / units] * units + row % units;
        for block in [&layer.kernel, &layer.recurrent, &layer.bias] {
            let [_, columns] = block.shape;
            let values = weights.next().unwrap();
            let filled = block.of_mut(&mut parameters);
            for (at, to) in filled.iter_mut().enumerate() {
                *to = match values {
                    Weights::Matrix(rows) => rows[at % columns][column(at / columns)],
                    Weights::Vector(values) => values[column(at)],
                };
            }
        }
    }
    for layer in network.dense_layers() {
        for block in [&layer.weight, &layer.bias] {
            let values: Vec<f32> = match weights.next().unwrap() {
                Weights::Matrix(rows) => rows.concat(),
                Weights::Vector(values) => values.clone(),
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
        lstm: vec![LstmShape { units, recurrent_dropout: 0.5, dropout: 0.0 }],
        attention: None,
        dense: vec![DenseShape { units: 1, activation: Activation::Linear, dropout: 0.0 }],
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
    let (hidden, _) = workspace.last_states()[0];
    let farthest = |theirs: &[Vec<f32>]| {
        let differences = hidden.iter().zip(theirs.concat()).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    };
    assert!(farthest(&states) < 1e-6, "{hidden:?}, Keras gives {states:?}");
    assert!(farthest(&states_by_gate) > 0.01, "the masks of gates make a difference");
}

#[test]
fn forward_and_one_step_of_adam_are_those_of_keras() {
    let text = include_str!("../../tests/data/lstm_reference.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    let network = network();
    let mut ours = parameters(&network, &reference.weights_before);
    let theirs = parameters(&network, &reference.weights_after);

    let (batch, steps) = (reference.inputs.len(), reference.inputs[0].len());
    let mut workspace = network.workspace(steps, batch);
    let input = workspace.input(steps, batch, 2);
    for (at, value) in input.iter_mut().enumerate() {
        let (row, feature) = (at / 2, at % 2);
        *value = reference.inputs[row % batch][row / batch][feature];
    }
    network.forward(&ours, &mut workspace);
    let expected = reference.outputs.concat();
    assert_eq!(workspace.output().len(), expected.len());
    for (value, expected) in workspace.output().iter().zip(&expected) {
        assert!((value - expected).abs() < 1e-6, "{value}, Keras gives {expected}");
    }

    let targets = reference.targets.concat();
    let (values, gradient) = workspace.output_and_gradient();
    let count = values.len();
    let loss = Loss::MeanSquaredError.gradient(values, &targets, count, gradient);
    assert!((loss - reference.loss).abs() < 1e-6, "{loss}, Keras gives {}", reference.loss);
    let mut gradients = vec![0.0; ours.len()];
    network.backward(&ours, &mut workspace, &mut gradients);
    let before = ours.clone();
    Adam::new(reference.learning_rate, ours.len()).step(&mut ours, &gradients);

    let lstm = network.lstm_layers().iter().flat_map(|l| [&l.kernel, &l.recurrent, &l.bias]);
    let dense = network.dense_layers().iter().flat_map(|l| [&l.weight, &l.bias]);
    for block in lstm.chain(dense) {
        let Block { name, .. } = block;
        for at in block.range() {
            let (ours, theirs) = (ours[at], theirs[at]);
            assert!((ours - theirs).abs() < 1e-5, "{name}: {ours}, Keras gives {theirs}");
        }
    }
    // A first step of Adam is as long as the rate unless the gradient is about as small as epsilon.
    let rate = reference.learning_rate as f32;
    let moves = || before.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
    assert!(moves().any(|length| length > 0.99 * rate));
    let short = moves().filter(|length| (0.01 * rate..0.5 * rate).contains(length)).count();
    assert!(short > 3, "only {short} parameters show where epsilon stands");
}
