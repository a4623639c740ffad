//! From a trained network to an ONNX file.
//!
//! Owns the graph that one file serves all modes with:
//!
//! ```text
//! x [T,B,F] ─ LSTM ─ Squeeze ─ LSTM ─ (state after the last step) ─ Squeeze ─ Gemm ─ ... ─ y [B,K]
//!   h0 c0 ────┘ └─ h0_out c0_out │ └─ h1_out c1_out
//!   h1 c1 ───────────────────────┘
//! ```
//!
//! With attention, the states of the last LSTM after every step go through `MatMul`, `Add`, `Tanh`,
//! `MatMul`, `Softmax` over T, `Mul` and `ReduceSum` to one `[B,H]`. Such a graph needs the whole
//! window, so it has no state inputs and serves mode `full` alone.
//!
//! T and B are symbolic, states are `[1,B,H]`, operator set 17, file format 8, which every runtime
//! of the last years reads.
//!
//! Promises: equal parameters give equal bytes; weights are copied bit for bit.
//!
//! Never: writes a file, and never judges the network.

use super::network::{Activation, Network};
use crate::engine::model::writer::{DenseWeights, GraphWriter, LstmWeights, WrittenGraph};
use crate::engine::onnx::NodeProto;
use crate::train::network::attention::Attention;
use crate::train::network::lstm::Emits;

/// Tells `ReduceSum` to add over the steps.
const STEP_AXIS: &str = "step_axis";

/// Writes `network` with `parameters` as a graph called `name`.
pub fn export(network: &Network, parameters: &[f32], name: &str) -> WrittenGraph {
    assert_eq!(parameters.len(), network.parameter_count(), "another network's parameters");
    // A window that is read as a whole begins from zero, which is what ONNX does without states.
    let stateful = network.attention_layer().is_none();
    let features = network.architecture().inputs;
    let mut writer = GraphWriter::new(name, features, network.outputs(), stateful);
    for layer in network.lstm_layers() {
        let weights = LstmWeights {
            inputs: layer.inputs(),
            units: layer.units(),
            kernel: layer.kernel.of(parameters),
            recurrent: layer.recurrent.of(parameters),
            bias: layer.bias.of(parameters),
        };
        writer.lstm(&weights, layer.emits == Emits::LastStep);
    }
    if let Some(layer) = network.attention_layer() {
        write_attention(&mut writer, layer, parameters);
    }
    let layers = network.dense_layers();
    for (at, layer) in layers.iter().enumerate() {
        let function = match layer.activation {
            Activation::Linear => None,
            Activation::Relu => Some("Relu"),
            Activation::Tanh => Some("Tanh"),
            Activation::Sigmoid => Some("Sigmoid"),
        };
        let weights = DenseWeights {
            shape: layer.weight.shape,
            weight: layer.weight.of(parameters),
            bias: layer.bias.of(parameters),
            function,
        };
        writer.dense(&weights, at + 1 == layers.len());
    }
    writer.finish()
}

/// Adds attention over the states `[T,B,H]`; the next layer reads `[B,H]`.
fn write_attention(writer: &mut GraphWriter, layer: &Attention, parameters: &[f32]) {
    for block in [&layer.weight, &layer.question] {
        writer.constant(&block.name, &block.shape, block.of(parameters));
    }
    let (weight, bias, question) = (&layer.weight.name, &layer.bias, &layer.question.name);
    writer.constant(&bias.name, &[layer.units()], bias.of(parameters));
    writer.integers(STEP_AXIS, &[0]);
    let states = writer.value().to_owned();
    let mut push = |operator: &str, what: &str, reads: [&str; 2]| {
        let name = format!("attention_{what}");
        let reads: Vec<&str> = reads.into_iter().filter(|read| !read.is_empty()).collect();
        let mut node = NodeProto::new(operator, &name, &reads, &[&format!("{name}_out")]);
        node = match operator {
            "Softmax" => node.with_int("axis", 0),
            "ReduceSum" => node.with_int("keepdims", 0),
            _ => node,
        };
        writer.node(node);
        format!("{name}_out")
    };
    let products = push("MatMul", "products", [&states, weight]);
    let sums = push("Add", "sums", [&products, &bias.name]);
    let hidden = push("Tanh", "hidden", [&sums, ""]);
    let scores = push("MatMul", "scores", [&hidden, question]);
    let weights = push("Softmax", "weights", [&scores, ""]);
    let weighted = push("Mul", "weighted", [&states, &weights]);
    let context = push("ReduceSum", "context", [&weighted, STEP_AXIS]);
    writer.set_value(&context);
}

#[cfg(test)]
mod tests {
    use super::super::network::{Architecture, DenseShape, LstmShape, Workspace};
    use super::super::random::{Purpose, Random};
    use super::*;
    use crate::engine::inference::{Backend, Shape, Signature};
    use crate::engine::test_support::onnxruntime;

    /// A network whose parameters are as large as trained ones get.
    fn network(architecture: Architecture) -> (Network, Vec<f32>) {
        let network = Network::new(architecture).unwrap();
        let mut parameters = network.initial_parameters(3);
        let mut random = Random::new(4, Purpose::Order);
        parameters.iter_mut().for_each(|p| *p += 0.2 * (random.unit_f32() - 0.5));
        (network, parameters)
    }

    fn signature(exported: &WrittenGraph, features: usize) -> Signature {
        exported.graph.signature(features)
    }

    /// The largest difference between ONNX Runtime and the trainer over values and states.
    fn difference(network: &Network, parameters: &[f32], shapes: &[(usize, usize)]) -> f32 {
        let features = network.architecture().inputs;
        let exported = export(network, parameters, "test");
        let signature = signature(&exported, features);
        let mut backend = onnxruntime().session(&exported.onnx, &signature).unwrap();
        let mut random = Random::new(5, Purpose::Order);
        let mut largest = 0.0_f32;
        for &(steps, batch) in shapes {
            let mut workspace: Workspace = network.workspace(steps, batch);
            let lane = backend.lane(Shape { steps, batch }).unwrap();
            let input = workspace.input(steps, batch, features);
            input.iter_mut().for_each(|x| *x = 3.0 * (random.unit_f32() - 0.5));
            backend.rows_mut(lane).copy_from_slice(input);
            let mut states = Vec::new();
            for (index, pair) in signature.states.chunks(2).enumerate() {
                let mut state = || -> Vec<f32> {
                    (0..batch * pair[0].width).map(|_| random.unit_f32() - 0.5).collect()
                };
                let (hidden, cell) = (state(), state());
                backend.state_mut(lane, 2 * index).copy_from_slice(&hidden);
                backend.state_mut(lane, 2 * index + 1).copy_from_slice(&cell);
                states.push((hidden, cell));
            }
            if !states.is_empty() {
                let states = states.iter().map(|(h, c): &(Vec<f32>, Vec<f32>)| (&**h, &**c));
                workspace.carry_states(states);
            }
            backend.run(lane).unwrap();
            network.forward(parameters, &mut workspace);
            let mut compare = |ours: &[f32], theirs: &[f32]| {
                assert_eq!(ours.len(), theirs.len());
                for (a, b) in ours.iter().zip(theirs) {
                    assert!(a.is_finite() && b.is_finite(), "{a} and {b}");
                    largest = largest.max((a - b).abs());
                }
            };
            compare(workspace.output(), backend.output(lane));
            let carried = signature.states.len() / 2;
            let last_states = workspace.last_states().into_iter().take(carried);
            for (index, (hidden, cell)) in last_states.enumerate() {
                compare(hidden, backend.next_state(lane, 2 * index));
                compare(cell, backend.next_state(lane, 2 * index + 1));
            }
        }
        largest
    }

    #[test]
    fn the_exported_graph_gives_the_trainers_values_and_states() {
        let mut shapes = Vec::new();
        for steps in [1, 30, 200] {
            shapes.extend([1, 7, 64].map(|batch| (steps, batch)));
        }
        let (network, parameters) = network(Architecture::tutorial(3));
        let difference = difference(&network, &parameters, &shapes);
        assert!(difference < 1e-6, "ONNX Runtime and the trainer differ by {difference}");
        assert!(difference > 0.0, "not one rounding in between: was the same code compared?");
    }

    #[test]
    fn attention_gives_the_trainers_values_and_asks_for_no_state() {
        let mut shapes = Vec::new();
        for steps in [1, 30, 200] {
            shapes.extend([1, 7, 64].map(|batch| (steps, batch)));
        }
        let shape = Architecture { attention: Some(16), ..Architecture::tutorial(3) };
        let (network, parameters) = network(shape);
        let difference = difference(&network, &parameters, &shapes);
        assert!(difference < 1e-6, "ONNX Runtime and the trainer differ by {difference}");
        assert!(export(&network, &parameters, "m").graph.states.is_empty());
    }

    #[test]
    fn any_stack_and_every_activation_export() {
        for activation in
            [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid]
        {
            let lstm = |units| LstmShape { units, recurrent_dropout: 0.1, dropout: 0.1 };
            let dense = |units| DenseShape { units, activation, dropout: 0.1 };
            for (layers, head) in [
                (vec![lstm(8)], vec![dense(1)]),
                (vec![lstm(7), lstm(5), lstm(3)], vec![dense(4), dense(1)]),
            ] {
                let shape = Architecture { inputs: 2, lstm: layers, attention: None, dense: head };
                let (network, parameters) = network(shape);
                let difference = difference(&network, &parameters, &[(5, 3)]);
                assert!(difference < 1e-6, "{activation:?}: {difference}");
            }
        }
    }

    #[test]
    fn equal_parameters_give_equal_bytes() {
        let (network, mut parameters) = network(Architecture::tutorial(3));
        let first = export(&network, &parameters, "m");
        assert_eq!(export(&network, &parameters, "m"), first);
        parameters[0] += 1.0;
        assert_ne!(export(&network, &parameters, "m").onnx, first.onnx);
    }
}
