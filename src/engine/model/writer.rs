//! Writing graphs: LSTM layers with their states in and out, and dense layers.
//!
//! Owns the names in a graph of ours and how its layers are wired. Promises inputs `x [T,B,F]` and
//! for each LSTM layer `h` and `c [1,B,H]`, outputs `y [B,K]` and the new states, with `T` and `B`
//! symbolic, and that equal weights give equal bytes. Never makes weights up.

use super::manifest::{GraphSpec, StateSpec};
use crate::engine::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 17;
const INPUT: &str = "x";
const OUTPUT: &str = "y";
/// Constants that tell `Squeeze` which axis to drop.
const STATE_AXIS: &str = "state_axis";
const DIRECTION_AXIS: &str = "direction_axis";

/// A written graph: the bytes of the file, and the names by which it is driven.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenGraph {
    /// `model.onnx`
    pub onnx: Vec<u8>,
    /// For the manifest.
    pub graph: GraphSpec,
}

/// A graph in the making, layer after layer.
pub struct GraphWriter {
    graph: GraphProto,
    states: Option<Vec<StateSpec>>,
    lstm_count: usize,
    dense_count: usize,
    /// What the next layer reads.
    value: String,
}

/// The weights of one LSTM layer, gates in the order i, o, f, c.
pub struct LstmWeights<'w> {
    /// Numbers per row that the layer reads: I.
    pub inputs: usize,
    /// H
    pub units: usize,
    /// `[4H, I]`
    pub kernel: &'w [f32],
    /// `[4H, H]`
    pub recurrent: &'w [f32],
    /// `[4H]`
    pub bias: &'w [f32],
}

/// The weights of one dense layer.
pub struct DenseWeights<'w> {
    /// `[inputs, units]`
    pub shape: [usize; 2],
    /// `[inputs, units]`
    pub weight: &'w [f32],
    /// `[units]`
    pub bias: &'w [f32],
    /// The operator behind the sums, such as `Relu`.
    pub function: Option<&'w str>,
}

impl GraphWriter {
    /// Begins a graph called `name`: `features` numbers a row in, `outputs` out. `stateful` graphs
    /// take and give the states of their LSTM layers; the others begin from zero.
    pub fn new(name: &str, features: usize, outputs: usize, stateful: bool) -> Self {
        let mut graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        // Y is [T, directions, B, H], Y_h is [directions, B, H]; there is one direction.
        graph.initializer.push(TensorProto::int64s(DIRECTION_AXIS, &[1], &[1]));
        if stateful {
            graph.initializer.push(TensorProto::int64s(STATE_AXIS, &[1], &[0]));
        }
        let rows = [Dimension::named("T"), Dimension::named("B"), Dimension::of(features)];
        graph.input.push(ValueInfoProto::float_tensor(INPUT, rows));
        let outputs = [Dimension::named("B"), Dimension::of(outputs)];
        graph.output.push(ValueInfoProto::float_tensor(OUTPUT, outputs));
        let states = stateful.then(Vec::new);
        Self { graph, states, lstm_count: 0, dense_count: 0, value: INPUT.to_owned() }
    }

    /// Adds an LSTM layer that hands on its state after every step `[T,B,H]`, or after the last one
    /// `[B,H]`.
    pub fn lstm(&mut self, weights: &LstmWeights<'_>, last_step: bool) {
        let LstmWeights { inputs, units, kernel, recurrent, bias } = *weights;
        let at = self.lstm_count;
        self.lstm_count += 1;
        let name = format!("lstm{at}");
        // ONNX has a second bias, for the recurrent sums.
        let mut both = bias.to_vec();
        both.resize(8 * units, 0.0);
        let [w, r, b] = ["w", "r", "b"].map(|part| format!("{name}_{part}"));
        self.constant(&w, &[1, 4 * units, inputs], kernel);
        self.constant(&r, &[1, 4 * units, units], recurrent);
        self.constant(&b, &[1, 8 * units], &both);
        let (h, c) = (format!("h{at}"), format!("c{at}"));
        let (sequence, h_out, c_out) =
            (format!("{name}_y"), format!("{h}_out"), format!("{c}_out"));
        let (mut reads, mut writes) = (vec![self.value.as_str(), &w, &r, &b], vec![&*sequence]);
        if let Some(states) = &mut self.states {
            for (input, output) in [(&h, &h_out), (&c, &c_out)] {
                let shape = || [Dimension::of(1), Dimension::named("B"), Dimension::of(units)];
                self.graph.input.push(ValueInfoProto::float_tensor(input, shape()));
                self.graph.output.push(ValueInfoProto::float_tensor(output, shape()));
                let width =
                    u32::try_from(units).expect("a layer whose weights fit memory is narrower");
                states.push(StateSpec { input: input.clone(), output: output.clone(), width });
            }
            // Empty names leave out the lengths of sequences, and the sequence that nobody reads.
            reads.extend(["", &h, &c]);
            writes = vec![if last_step { "" } else { &sequence }, &h_out, &c_out];
        }
        let hidden_size =
            i64::try_from(units).expect("a layer whose weights fit memory is narrower");
        let node = NodeProto::new("LSTM", &name, &reads, &writes);
        self.graph.node.push(node.with_int("hidden_size", hidden_size));
        let output = format!("{name}_out");
        let squeezed = if last_step { [&*h_out, STATE_AXIS] } else { [&sequence, DIRECTION_AXIS] };
        self.node(NodeProto::new("Squeeze", &format!("{name}_squeeze"), &squeezed, &[&output]));
        self.value = output;
    }

    /// Adds a dense layer; `last` makes its output that of the graph.
    pub fn dense(&mut self, weights: &DenseWeights<'_>, last: bool) {
        let name = format!("dense{}", self.dense_count);
        self.dense_count += 1;
        let (w, b) = (format!("{name}_w"), format!("{name}_b"));
        self.constant(&w, &weights.shape, weights.weight);
        self.constant(&b, &weights.shape[1..], weights.bias);
        let output = if last { OUTPUT.to_owned() } else { format!("{name}_out") };
        let function = weights.function;
        let sums = if function.is_some() { format!("{name}_sums") } else { output.clone() };
        let reads = [self.value.as_str(), &w, &b];
        self.graph.node.push(NodeProto::new("Gemm", &name, &reads, &[&sums]));
        if let Some(function) = function {
            let name = format!("{name}_function");
            self.node(NodeProto::new(function, &name, &[&sums], &[&output]));
        }
        self.value = output;
    }

    /// Adds a constant of 32-bit floats.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.graph.initializer.push(TensorProto::floats(name, shape, values));
    }

    /// Adds a constant list of whole numbers.
    pub fn integers(&mut self, name: &str, values: &[i64]) {
        self.graph.initializer.push(TensorProto::int64s(name, &[values.len()], values));
    }

    /// Adds a node of the caller's own wiring.
    pub fn node(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    /// The name of what the next layer reads.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Has the next layer read the output of a node of the caller's own.
    pub fn set_value(&mut self, name: &str) {
        name.clone_into(&mut self.value);
    }

    /// The graph, whole.
    pub fn finish(self) -> WrittenGraph {
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATOR_SET }],
            ..ModelProto::default()
        };
        let (input, output) = (INPUT.to_owned(), OUTPUT.to_owned());
        let states = self.states.unwrap_or_default();
        WrittenGraph {
            onnx: model.to_bytes(),
            graph: GraphSpec { input, output, states, columns: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_graph_of_the_model_that_ships() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/aapl-daily/1/model.onnx");
        let shipped = ModelProto::from_bytes(&std::fs::read(folder).unwrap()).unwrap();
        let shipped = shipped.graph.unwrap();
        let weights = |name: &str| {
            let tensor = shipped.initializer.iter().find(|tensor| tensor.name == name).unwrap();
            tensor.read_floats().unwrap()
        };
        let mut writer = GraphWriter::new(&shipped.name, 3, 1, true);
        for (at, inputs, units) in [(0, 3, 64), (1, 64, 32)] {
            let [kernel, recurrent, both] =
                ["w", "r", "b"].map(|p| weights(&format!("lstm{at}_{p}")));
            let bias = &both[..4 * units];
            let (kernel, recurrent) = (&kernel[..], &recurrent[..]);
            writer.lstm(&LstmWeights { inputs, units, kernel, recurrent, bias }, at == 1);
        }
        for (at, shape, function) in [(0, [32, 16], "Relu"), (1, [16, 1], "Tanh")] {
            let [weight, bias] = ["w", "b"].map(|part| weights(&format!("dense{at}_{part}")));
            let (weight, bias, function) = (&weight[..], &bias[..], Some(function));
            writer.dense(&DenseWeights { shape, weight, bias, function }, at == 1);
        }
        let written = ModelProto::from_bytes(&writer.finish().onnx).unwrap().graph.unwrap();
        // Not `assert_eq`, whose message would be all weights.
        assert!(written == shipped, "another graph than the trainer sealed");
    }
}
