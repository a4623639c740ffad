//! Writing graphs: recurrent layers with their states in and out, and dense layers.
//!
//! Owns the names in a graph of ours and how its layers are wired. Promises inputs `x [T,B,F]` and,
//! for each recurrent layer, `h [1,B,H]` and for an LSTM also `c [1,B,H]`, outputs `y [B,K]` and
//! the new states, with `T` and `B` symbolic, and that equal weights give equal bytes. Never makes
//! weights up, and never writes a constant that no node reads.

use std::collections::HashSet;

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

/// A recurrent layer as ONNX has it.
struct Recurrent {
    operator: &'static str,
    gates: usize,
    inputs: usize,
    units: usize,
    /// What its states are called, in the order of the operator.
    states: &'static [&'static str],
}

/// A graph in the making, layer after layer.
pub struct GraphWriter {
    graph: GraphProto,
    states: Option<Vec<StateSpec>>,
    recurrent_count: usize,
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

/// The weights of one GRU layer, gates in the order z, r, h. The reset gate multiplies the product
/// with the state.
pub struct GruWeights<'w> {
    /// Numbers per row that the layer reads: I.
    pub inputs: usize,
    /// H
    pub units: usize,
    /// `[3H, I]`
    pub kernel: &'w [f32],
    /// `[3H, H]`
    pub recurrent: &'w [f32],
    /// `[2, 3H]`: those of the input, then those of the state.
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
    /// take and give the states of their recurrent layers; the others begin from zero.
    pub fn new(name: &str, features: usize, outputs: usize, stateful: bool) -> Self {
        let mut graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        // Y is [T, directions, B, H], Y_h is [directions, B, H]; there is one direction.
        graph.initializer.push(TensorProto::int64s(DIRECTION_AXIS, &[1], &[1]));
        graph.initializer.push(TensorProto::int64s(STATE_AXIS, &[1], &[0]));
        let rows = [Dimension::named("T"), Dimension::named("B"), Dimension::of(features)];
        graph.input.push(ValueInfoProto::float_tensor(INPUT, rows));
        let outputs = [Dimension::named("B"), Dimension::of(outputs)];
        graph.output.push(ValueInfoProto::float_tensor(OUTPUT, outputs));
        let states = stateful.then(Vec::new);
        Self { graph, states, recurrent_count: 0, dense_count: 0, value: INPUT.to_owned() }
    }

    /// Adds an LSTM layer that hands on its state after every step `[T,B,H]`, or after the last one
    /// `[B,H]`.
    pub fn lstm(&mut self, weights: &LstmWeights<'_>, last_step: bool) {
        let LstmWeights { inputs, units, kernel, recurrent, bias } = *weights;
        // ONNX has a second bias, for the recurrent sums.
        let mut both = bias.to_vec();
        both.resize(8 * units, 0.0);
        let layer = Recurrent { operator: "LSTM", gates: 4, inputs, units, states: &["h", "c"] };
        self.recurrent(&layer, [kernel, recurrent, &both], last_step);
    }

    /// Adds a GRU layer that hands on its state after every step `[T,B,H]`, or after the last one
    /// `[B,H]`.
    pub fn gru(&mut self, weights: &GruWeights<'_>, last_step: bool) {
        let GruWeights { inputs, units, kernel, recurrent, bias } = *weights;
        let layer = Recurrent { operator: "GRU", gates: 3, inputs, units, states: &["h"] };
        self.recurrent(&layer, [kernel, recurrent, bias], last_step);
    }

    fn recurrent(&mut self, layer: &Recurrent, weights: [&[f32]; 3], last_step: bool) {
        let Recurrent { operator, gates, inputs, units, states: parts } = *layer;
        let at = self.recurrent_count;
        self.recurrent_count += 1;
        let name = format!("{}{at}", operator.to_lowercase());
        let [w, r, b] = ["w", "r", "b"].map(|part| format!("{name}_{part}"));
        let [kernel, recurrent, bias] = weights;
        self.constant(&w, &[1, gates * units, inputs], kernel);
        self.constant(&r, &[1, gates * units, units], recurrent);
        self.constant(&b, &[1, 2 * gates * units], bias);
        let taken: Vec<String> = parts.iter().map(|part| format!("{part}{at}")).collect();
        let given: Vec<String> = taken.iter().map(|state| format!("{state}_out")).collect();
        let sequence = format!("{name}_y");
        let mut reads = vec![self.value.as_str(), &w, &r, &b];
        // Empty names leave out the lengths of sequences, and values that no node reads.
        let mut writes = vec![if last_step { "" } else { &*sequence }];
        if let Some(states) = &mut self.states {
            reads.push("");
            for (input, output) in taken.iter().zip(&given) {
                let shape = || [Dimension::of(1), Dimension::named("B"), Dimension::of(units)];
                self.graph.input.push(ValueInfoProto::float_tensor(input, shape()));
                self.graph.output.push(ValueInfoProto::float_tensor(output, shape()));
                let width =
                    u32::try_from(units).expect("a layer whose weights fit memory is narrower");
                states.push(StateSpec { input: input.clone(), output: output.clone(), width });
                reads.push(input);
                writes.push(output);
            }
        } else if last_step {
            writes.push(&given[0]);
        }
        let hidden_size =
            i64::try_from(units).expect("a layer whose weights fit memory is narrower");
        let mut node = NodeProto::new(operator, &name, &reads, &writes);
        node = node.with_int("hidden_size", hidden_size);
        if operator == "GRU" {
            node = node.with_int("linear_before_reset", 1);
        }
        self.graph.node.push(node);
        let output = format!("{name}_out");
        let squeezed =
            if last_step { [&*given[0], STATE_AXIS] } else { [&sequence, DIRECTION_AXIS] };
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
    pub fn finish(mut self) -> WrittenGraph {
        let Self { graph, .. } = &mut self;
        let read: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        // Of these two, a graph reads those that its layers need.
        let is_axis = |name: &str| name == STATE_AXIS || name == DIRECTION_AXIS;
        graph.initializer.retain(|tensor| !is_axis(&tensor.name) || read.contains(&tensor.name));
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

/// The constants of a graph that no node reads. ONNX Runtime warns of each.
#[cfg(test)]
pub(crate) fn unread_constants(onnx: &[u8]) -> Vec<String> {
    let graph = ModelProto::from_bytes(onnx).unwrap().graph.unwrap();
    let is_read = |name: &String| graph.node.iter().any(|node| node.input.contains(name));
    let names = graph.initializer.iter().map(|tensor| tensor.name.clone());
    names.filter(|name| !is_read(name)).collect()
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

    #[test]
    fn every_constant_is_read() {
        for (stateful, last_step) in [(true, true), (true, false), (false, true), (false, false)] {
            for is_gru in [false, true] {
                let mut writer = GraphWriter::new("m", 1, 1, stateful);
                let (inputs, units) = (1, 1);
                if is_gru {
                    let (kernel, recurrent, bias) = (&[0.0; 3], &[0.0; 3], &[0.0; 6]);
                    let weights = GruWeights { inputs, units, kernel, recurrent, bias };
                    writer.gru(&weights, last_step);
                } else {
                    let (kernel, recurrent, bias) = (&[0.0; 4], &[0.0; 4], &[0.0; 4]);
                    let weights = LstmWeights { inputs, units, kernel, recurrent, bias };
                    writer.lstm(&weights, last_step);
                }
                let unread = unread_constants(&writer.finish().onnx);
                assert!(unread.is_empty(), "{stateful} {last_step} {is_gru}: {unread:?}");
            }
        }
    }
}
