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

use super::attention::Attention;
use super::lstm::{Emits, Lstm};
use super::network::{Activation, Network};
use crate::model::manifest::{GraphSpec, StateSpec};
use crate::model::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 17;
const INPUT: &str = "x";
const OUTPUT: &str = "y";
/// Constants that tell `Squeeze` which axis to drop.
const STATE_AXIS: &str = "state_axis";
const DIRECTION_AXIS: &str = "direction_axis";
/// Tells `ReduceSum` to add over the steps.
const STEP_AXIS: &str = "step_axis";

/// An exported network: the bytes of the file, and the names by which it is driven.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// `model.onnx`
    pub onnx: Vec<u8>,
    /// For the manifest.
    pub graph: GraphSpec,
}

/// Writes `network` with `parameters` as a graph called `name`.
pub fn export(network: &Network, parameters: &[f32], name: &str) -> Exported {
    assert_eq!(parameters.len(), network.parameter_count(), "another network's parameters");
    let mut graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
    // Y is [T, directions, B, H], Y_h is [directions, B, H]; there is one direction.
    graph.initializer.push(TensorProto::int64s(DIRECTION_AXIS, &[1], &[1]));
    if network.attention_layer().is_none() {
        graph.initializer.push(TensorProto::int64s(STATE_AXIS, &[1], &[0]));
    }
    let features = Dimension::of(network.architecture().inputs);
    let steps = Dimension::named("T");
    let rows = [steps, Dimension::named("B"), features];
    graph.input.push(ValueInfoProto::float_tensor(INPUT, rows));
    let outputs = [Dimension::named("B"), Dimension::of(network.outputs())];
    graph.output.push(ValueInfoProto::float_tensor(OUTPUT, outputs));

    let mut states = Vec::new();
    let mut value = INPUT.to_owned();
    // A window that is read as a whole begins from zero, which is what ONNX does without states.
    let mut carried = network.attention_layer().is_none().then_some(&mut states);
    for (at, layer) in network.lstm_layers().iter().enumerate() {
        let states = carried.as_deref_mut();
        value = push_lstm(&mut graph, states, at, layer, parameters, &value);
    }
    if let Some(layer) = network.attention_layer() {
        value = push_attention(&mut graph, layer, parameters, &value);
    }
    push_dense(&mut graph, network, parameters, value);

    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATOR_SET }],
        ..ModelProto::default()
    };
    let (input, output) = (INPUT.to_owned(), OUTPUT.to_owned());
    Exported { onnx: model.to_bytes(), graph: GraphSpec { input, output, states } }
}

/// Adds one LSTM layer, with state inputs and outputs where they are gathered, and returns the name
/// of what the next layer reads: `[T,B,H]`, or `[B,H]` behind one that emits its last step.
fn push_lstm(
    graph: &mut GraphProto,
    states: Option<&mut Vec<StateSpec>>,
    at: usize,
    layer: &Lstm,
    parameters: &[f32],
    input: &str,
) -> String {
    let (inputs, units) = (layer.inputs(), layer.units());
    let weights = [
        (&layer.kernel, vec![1, 4 * units, inputs], layer.kernel.of(parameters).to_vec()),
        (&layer.recurrent, vec![1, 4 * units, units], layer.recurrent.of(parameters).to_vec()),
        // ONNX has a second bias, for the recurrent sums.
        (&layer.bias, vec![1, 8 * units], {
            let mut both = layer.bias.of(parameters).to_vec();
            both.resize(8 * units, 0.0);
            both
        }),
    ];
    for (block, shape, values) in &weights {
        graph.initializer.push(TensorProto::floats(&block.name, shape, values));
    }
    let (h, c) = (format!("h{at}"), format!("c{at}"));
    let carried = states.is_some();
    if let Some(states) = states {
        for input in [&h, &c] {
            let output = format!("{input}_out");
            let shape = || [Dimension::of(1), Dimension::named("B"), Dimension::of(units)];
            graph.input.push(ValueInfoProto::float_tensor(input, shape()));
            graph.output.push(ValueInfoProto::float_tensor(&output, shape()));
            let width = u32::try_from(units).expect("a layer whose weights fit memory is narrower");
            states.push(StateSpec { input: input.clone(), output, width });
        }
    }
    let name = format!("lstm{at}");
    let (sequence, h_out, c_out) = (format!("{name}_y"), format!("{h}_out"), format!("{c}_out"));
    let [w, r, b] = weights.each_ref().map(|(block, ..)| block.name.as_str());
    let last = layer.emits == Emits::LastStep;
    let (mut reads, mut writes) = (vec![input, w, r, b], vec![sequence.as_str()]);
    if carried {
        // Empty names leave out the lengths of sequences, and the sequence that nobody reads.
        reads.extend(["", &h, &c]);
        writes = vec![if last { "" } else { &sequence }, &h_out, &c_out];
    }
    let hidden_size = i64::try_from(units).expect("a layer whose weights fit memory is narrower");
    let node = NodeProto::new("LSTM", &name, &reads, &writes);
    graph.node.push(node.with_int("hidden_size", hidden_size));

    let output = format!("{name}_out");
    let squeezed = if last { [h_out.as_str(), STATE_AXIS] } else { [&sequence, DIRECTION_AXIS] };
    graph.node.push(NodeProto::new("Squeeze", &format!("{name}_squeeze"), &squeezed, &[&output]));
    output
}

/// Adds attention over `states [T,B,H]` and returns the name of what the next layer reads, `[B,H]`.
fn push_attention(
    graph: &mut GraphProto,
    layer: &Attention,
    parameters: &[f32],
    states: &str,
) -> String {
    for block in [&layer.weight, &layer.question] {
        let values = block.of(parameters);
        graph.initializer.push(TensorProto::floats(&block.name, &block.shape, values));
    }
    let (weight, bias, question) = (&layer.weight.name, &layer.bias, &layer.question.name);
    let biases = TensorProto::floats(&bias.name, &[layer.units()], bias.of(parameters));
    graph.initializer.push(biases);
    graph.initializer.push(TensorProto::int64s(STEP_AXIS, &[1], &[0]));
    let mut push = |operator: &str, what: &str, reads: [&str; 2]| {
        let name = format!("attention_{what}");
        let reads: Vec<&str> = reads.into_iter().filter(|read| !read.is_empty()).collect();
        let mut node = NodeProto::new(operator, &name, &reads, &[&format!("{name}_out")]);
        node = match operator {
            "Softmax" => node.with_int("axis", 0),
            "ReduceSum" => node.with_int("keepdims", 0),
            _ => node,
        };
        graph.node.push(node);
        format!("{name}_out")
    };
    let products = push("MatMul", "products", [states, weight]);
    let sums = push("Add", "sums", [&products, &bias.name]);
    let hidden = push("Tanh", "hidden", [&sums, ""]);
    let scores = push("MatMul", "scores", [&hidden, question]);
    let weights = push("Softmax", "weights", [&scores, ""]);
    let weighted = push("Mul", "weighted", [states, &weights]);
    push("ReduceSum", "context", [&weighted, STEP_AXIS])
}

/// Adds the dense layers, from `value [B,H]` to the output.
fn push_dense(graph: &mut GraphProto, network: &Network, parameters: &[f32], mut value: String) {
    let layers = network.dense_layers();
    for (at, layer) in layers.iter().enumerate() {
        let name = format!("dense{at}");
        let (weight, bias) = (&layer.weight, &layer.bias);
        let weights = TensorProto::floats(&weight.name, &weight.shape, weight.of(parameters));
        graph.initializer.push(weights);
        let biases = TensorProto::floats(&bias.name, &[layer.units()], bias.of(parameters));
        graph.initializer.push(biases);
        let function = match layer.activation {
            Activation::Linear => None,
            Activation::Relu => Some("Relu"),
            Activation::Tanh => Some("Tanh"),
            Activation::Sigmoid => Some("Sigmoid"),
        };
        let last = at + 1 == layers.len();
        let output = if last { OUTPUT.to_owned() } else { format!("{name}_out") };
        let sums = if function.is_some() { format!("{name}_sums") } else { output.clone() };
        let reads = [value.as_str(), &weight.name, &bias.name];
        graph.node.push(NodeProto::new("Gemm", &name, &reads, &[&sums]));
        if let Some(function) = function {
            let name = format!("{name}_function");
            graph.node.push(NodeProto::new(function, &name, &[&sums], &[&output]));
        }
        value = output;
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::{Architecture, DenseShape, LstmShape, Workspace};
    use super::super::random::{Purpose, Random};
    use super::super::test_runtime;
    use super::*;
    use crate::inference::{Backend, Shape, Signature, StateSignature};

    /// A network whose parameters are as large as trained ones get.
    fn network(architecture: Architecture) -> (Network, Vec<f32>) {
        let network = Network::new(architecture).unwrap();
        let mut parameters = network.initial_parameters(3);
        let mut random = Random::new(4, Purpose::Order);
        parameters.iter_mut().for_each(|p| *p += 0.2 * (random.unit_f32() - 0.5));
        (network, parameters)
    }

    fn signature(exported: &Exported, features: usize) -> Signature {
        let state = |s: &StateSpec| StateSignature {
            input: s.input.clone(),
            output: s.output.clone(),
            width: s.width as usize,
        };
        Signature {
            input: exported.graph.input.clone(),
            features,
            output: exported.graph.output.clone(),
            states: exported.graph.states.iter().map(state).collect(),
        }
    }

    /// The largest difference between ONNX Runtime and the trainer over values and states.
    fn difference(network: &Network, parameters: &[f32], shapes: &[(usize, usize)]) -> f32 {
        let features = network.architecture().inputs;
        let exported = export(network, parameters, "test");
        let signature = signature(&exported, features);
        let mut backend = test_runtime().session(&exported.onnx, &signature).unwrap();
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
