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
//! A GRU takes the place of an LSTM, with h alone.
//!
//! With attention, the states of the last recurrent layer after every step go through `MatMul`,
//! `Add`, `Tanh`, `MatMul`, `Softmax` over T, `Mul` and `ReduceSum` to one `[B,H]`. A convolution
//! in front is `Transpose` to `[B,F,T]`, `Conv` with K - 1 zeros in front of T, its function, and
//! `Transpose` back to `[T,B,C]`. Such graphs need the whole window, so they have no state inputs
//! and serve mode `full` alone.
//!
//! T and B are symbolic, states are `[1,B,H]`, operator set 17, file format 8, which every runtime
//! of the last years reads.
//!
//! Promises: equal parameters give equal bytes; weights are copied bit for bit.
//!
//! Never: writes a file, and never judges the network.

use super::network::{Activation, AnyLayer, Attention, Convolution, Dense, Emits, Network};
use crate::engine::model::writer::{
    DenseWeights, GraphWriter, GruWeights, LstmWeights, WrittenGraph,
};
use crate::engine::onnx::NodeProto;

/// Tells `ReduceSum` to add over the steps.
const STEP_AXIS: &str = "step_axis";

/// Writes `network` with `parameters` as a graph called `name`.
pub fn export(network: &Network, parameters: &[f32], name: &str) -> WrittenGraph {
    assert_eq!(parameters.len(), network.parameter_count(), "another network's parameters");
    // A window that is read as a whole begins from zero, which is what ONNX does without states.
    let stateful = !network.architecture().needs_whole_windows();
    let features = network.architecture().inputs;
    let mut writer = GraphWriter::new(name, features, network.outputs(), stateful);
    let layers = network.layers();
    for (at, layer) in layers.iter().enumerate() {
        match layer {
            AnyLayer::Convolution(layer) => write_convolution(&mut writer, layer, parameters),
            AnyLayer::Lstm(layer) => {
                let weights = LstmWeights {
                    inputs: layer.inputs(),
                    units: layer.units(),
                    kernel: layer.kernel.of(parameters),
                    recurrent: layer.recurrent.of(parameters),
                    bias: layer.bias.of(parameters),
                };
                writer.lstm(&weights, layer.emits == Emits::LastStep);
            }
            AnyLayer::Gru(layer) => {
                let weights = GruWeights {
                    inputs: layer.inputs(),
                    units: layer.units(),
                    kernel: layer.kernel.of(parameters),
                    recurrent: layer.recurrent.of(parameters),
                    bias: layer.bias.of(parameters),
                };
                writer.gru(&weights, layer.emits == Emits::LastStep);
            }
            AnyLayer::Attention(layer) => write_attention(&mut writer, layer, parameters),
            AnyLayer::Dense(layer) => {
                let last = at + 1 == layers.len();
                write_dense(&mut writer, layer, parameters, last);
            }
        }
    }
    writer.finish()
}

/// Adds a dense layer.
fn write_dense(writer: &mut GraphWriter, layer: &Dense, parameters: &[f32], last: bool) {
    let weights = DenseWeights {
        shape: layer.weight.shape,
        weight: layer.weight.of(parameters),
        bias: layer.bias.of(parameters),
        function: operator(layer.activation),
    };
    writer.dense(&weights, last);
}

/// The operator of a function; none where it changes nothing.
fn operator(activation: Activation) -> Option<&'static str> {
    match activation {
        Activation::Linear => None,
        Activation::Relu => Some("Relu"),
        Activation::Tanh => Some("Tanh"),
        Activation::Sigmoid => Some("Sigmoid"),
    }
}

/// Adds a convolution over the rows `[T,B,F]`; the next layer reads `[T,B,C]`.
fn write_convolution(writer: &mut GraphWriter, layer: &Convolution, parameters: &[f32]) {
    let (kernel, inputs, filters) = (layer.kernel, layer.inputs(), layer.filters());
    // [K,F,C] to [C,F,K].
    let weight = layer.weight.of(parameters);
    let places = (0..filters).flat_map(|c| (0..inputs).map(move |f| (c, f)));
    let places = places.flat_map(|(c, f)| (0..kernel).map(move |k| (k * inputs + f) * filters + c));
    let weight: Vec<f32> = places.map(|at| weight[at]).collect();
    writer.constant(&layer.weight.name, &[filters, inputs, kernel], &weight);
    writer.constant(&layer.bias.name, &[filters], layer.bias.of(parameters));
    let before = i64::try_from(kernel - 1).expect("a kernel whose weights fit memory is shorter");
    let mut value = writer.value().to_owned();
    let mut push = |what: &str, node: &dyn Fn(&str, &str, &str) -> NodeProto| {
        let name = format!("convolution_{what}");
        let output = format!("{name}_out");
        writer.node(node(&name, &value, &output));
        value = output;
    };
    push("channels", &|name, value, output| {
        NodeProto::new("Transpose", name, &[value], &[output]).with_ints("perm", &[1, 2, 0])
    });
    push("sums", &|name, value, output| {
        let reads = [value, &layer.weight.name, &layer.bias.name];
        NodeProto::new("Conv", name, &reads, &[output]).with_ints("pads", &[before, 0])
    });
    if let Some(operator) = operator(layer.activation) {
        push("function", &|name, value, output| {
            NodeProto::new(operator, name, &[value], &[output])
        });
    }
    push("steps", &|name, value, output| {
        NodeProto::new("Transpose", name, &[value], &[output]).with_ints("perm", &[2, 0, 1])
    });
    writer.set_value(&value);
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
    use super::super::network::{
        Architecture, Cell, ConvolutionShape, DenseShape, RecurrentShape, Workspace,
    };
    use super::super::random::{Purpose, Random};
    use super::*;
    use crate::engine::inference::{Backend, NativeRuntime, Runtime, Shape, Signature};
    use crate::engine::model::writer::unread_constants;
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
        let exported = export(network, parameters, "test");
        assert!(unread_constants(&exported.onnx).is_empty());
        let signature = signature(&exported, network.architecture().inputs);
        let mut backend = onnxruntime().session(&exported.onnx, &signature).unwrap();
        difference_of(network, parameters, shapes, &signature, &mut backend)
    }

    /// The same for any backend of the exported graph.
    fn difference_of(
        network: &Network,
        parameters: &[f32],
        shapes: &[(usize, usize)],
        signature: &Signature,
        backend: &mut dyn Backend,
    ) -> f32 {
        let features = network.architecture().inputs;
        let mut random = Random::new(5, Purpose::Order);
        let mut largest = 0.0_f32;
        for &(steps, batch) in shapes {
            let mut workspace: Workspace = network.workspace(steps, batch);
            let lane = backend.lane(Shape { steps, batch }).unwrap();
            let input = workspace.input(steps, batch, features);
            input.iter_mut().for_each(|x| *x = 3.0 * (random.unit_f32() - 0.5));
            backend.rows_mut(lane).copy_from_slice(input);
            let mut states = Vec::new();
            for (index, state) in signature.states.iter().enumerate() {
                let uniform = (0..batch * state.width).map(|_| random.unit_f32() - 0.5);
                let state: Vec<f32> = uniform.collect();
                backend.state_mut(lane, index).copy_from_slice(&state);
                states.push(state);
            }
            if !states.is_empty() {
                workspace.carry_states(states.iter().map(Vec::as_slice));
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
            let last_states = workspace.last_states().into_iter().take(signature.states.len());
            for (index, state) in last_states.enumerate() {
                compare(state, backend.next_state(lane, index));
            }
        }
        largest
    }

    /// Runs of a step, of a usual window and of a long one, alone and side by side.
    fn runs() -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        for steps in [1, 30, 200] {
            runs.extend([1, 7, 64].map(|batch| (steps, batch)));
        }
        runs
    }

    /// The tutorial's network with GRU layers.
    fn gru(inputs: usize) -> Architecture {
        let mut shape = Architecture::tutorial(inputs);
        shape.recurrent.iter_mut().for_each(|layer| layer.cell = Cell::Gru);
        shape
    }

    #[test]
    fn the_exported_graph_gives_the_trainers_values_and_states() {
        for shape in [Architecture::tutorial(3), gru(3)] {
            let (network, parameters) = network(shape);
            let difference = difference(&network, &parameters, &runs());
            assert!(difference < 1e-6, "ONNX Runtime and the trainer differ by {difference}");
            assert!(difference > 0.0, "not one rounding in between: was the same code compared?");
        }
    }

    #[test]
    fn the_native_runtime_takes_lstm_and_gru_layers() {
        let mut mixed = Architecture::tutorial(3);
        mixed.recurrent[1].cell = Cell::Gru;
        for shape in [Architecture::tutorial(3), gru(3), mixed] {
            let (network, parameters) = network(shape);
            let exported = export(&network, &parameters, "test");
            let signature = signature(&exported, 3);
            let mut backend = NativeRuntime::new().open(&exported.onnx, &signature).unwrap();
            let difference =
                difference_of(&network, &parameters, &runs(), &signature, &mut *backend);
            assert!(difference < 1e-6, "the native runtime and the trainer differ by {difference}");
        }
    }

    #[test]
    fn attention_gives_the_trainers_values_and_asks_for_no_state() {
        for shape in [Architecture::tutorial(3), gru(3)] {
            let (network, parameters) = network(Architecture { attention: Some(16), ..shape });
            let difference = difference(&network, &parameters, &runs());
            assert!(difference < 1e-6, "ONNX Runtime and the trainer differ by {difference}");
            assert!(export(&network, &parameters, "m").graph.states.is_empty());
        }
    }

    #[test]
    fn a_convolution_gives_the_trainers_values_and_asks_for_no_state() {
        for (kernel, activation) in [
            (1, Activation::Linear),
            (3, Activation::Relu),
            (8, Activation::Tanh),
            (5, Activation::Sigmoid),
        ] {
            let convolution = Some(ConvolutionShape { filters: 12, kernel, activation });
            for (shape, attention) in
                [(Architecture::tutorial(3), None), (gru(3), None), (gru(3), Some(4))]
            {
                let convolution = convolution.clone();
                let shape = Architecture { convolution, attention, ..shape };
                let (network, parameters) = network(shape);
                let difference = difference(&network, &parameters, &runs());
                assert!(difference < 1e-6, "ONNX Runtime and the trainer differ by {difference}");
                assert!(export(&network, &parameters, "m").graph.states.is_empty());
            }
        }
    }

    #[test]
    fn any_stack_and_every_activation_export() {
        for activation in
            [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid]
        {
            let layer = |cell, units| RecurrentShape {
                recurrent_dropout: 0.1,
                dropout: 0.1,
                ..RecurrentShape::new(cell, units)
            };
            let dense = |units| DenseShape { units, activation, dropout: 0.1 };
            use Cell::{Gru, Lstm};
            for (recurrent, dense) in [
                (vec![layer(Lstm, 8)], vec![dense(1)]),
                (vec![layer(Gru, 8)], vec![dense(1)]),
                (vec![layer(Lstm, 7), layer(Lstm, 5), layer(Lstm, 3)], vec![dense(4), dense(1)]),
                (vec![layer(Gru, 7), layer(Lstm, 5), layer(Gru, 3)], vec![dense(4), dense(1)]),
            ] {
                let shape = Architecture { inputs: 2, recurrent, dense, ..Architecture::default() };
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
