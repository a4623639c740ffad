//! Small graphs of every kind that is accepted, and of some that are not, written by hand.
//!
//! Owns the wiring: `x [T,B,3]` in, `y [B,K]` out. The golden outputs are what ONNX Runtime says of
//! each window alone, because what is tested here is how runs relate and not what a model says.

use tickcast::engine::inference::{Backend, Shape};
use tickcast::engine::model::Draft;
use tickcast::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase};
use tickcast::engine::model::manifest::{ColumnsSpec, GraphSpec, Mode, StateSpec};
use tickcast::engine::onnx::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, attribute_type,
};

use super::bundle::{manifest, rows_of};
use super::network::{Network, random};
use super::runtime;

/// W of all of them.
pub(crate) const WINDOW_STEPS: u32 = 6;
const WINDOW: usize = WINDOW_STEPS as usize;
const FEATURES: usize = 3;
const HIDDEN: usize = 8;

/// `TensorProto.DataType` of the integers that are used here.
const INT8: i32 = 3;
const BOOL: i32 = 9;
const INT64: i32 = 7;

/// A graph in the making.
pub(crate) struct Kind {
    graph: GraphProto,
    seed: u64,
    spec: GraphSpec,
    modes: Vec<Mode>,
}

fn node(operator: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto::new(operator, output, input, &[output])
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    let (kind, floats) = (attribute_type::FLOATS, values.to_vec());
    AttributeProto { name: name.into(), floats, kind, ..AttributeProto::default() }
}

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|text| text.as_bytes().to_vec()).collect();
    let kind = attribute_type::STRINGS;
    AttributeProto { name: name.into(), strings, kind, ..AttributeProto::default() }
}

fn string(name: &str, value: &str) -> AttributeProto {
    let (kind, s) = (attribute_type::STRING, value.as_bytes().to_vec());
    AttributeProto { name: name.into(), s, kind, ..AttributeProto::default() }
}

fn with(mut node: NodeProto, attributes: impl IntoIterator<Item = AttributeProto>) -> NodeProto {
    node.attribute.extend(attributes);
    node
}

fn value_of(name: &str, element: i32, axes: impl IntoIterator<Item = Dimension>) -> ValueInfoProto {
    let mut value = ValueInfoProto::float_tensor(name, axes);
    value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = element;
    value
}

impl Kind {
    fn new(seed: u64, columns: usize) -> Self {
        let mut graph = GraphProto { name: "kind".into(), ..GraphProto::default() };
        let axes = [Dimension::named("T"), Dimension::named("B"), Dimension::of(FEATURES)];
        graph.input.push(ValueInfoProto::float_tensor("x", axes));
        let axes = [Dimension::named("B"), Dimension::of(columns)];
        graph.output.push(ValueInfoProto::float_tensor("y", axes));
        let (input, output) = ("x".to_owned(), "y".to_owned());
        let spec = GraphSpec { input, output, states: Vec::new(), columns: None };
        Self { graph, seed, spec, modes: vec![Mode::Full] }
    }

    fn weights(&mut self, name: &str, dims: &[usize], scale: f32) {
        let values = random(&mut self.seed, dims.iter().product(), scale);
        self.graph.initializer.push(TensorProto::floats(name, dims, &values));
    }

    fn integers(&mut self, name: &str, values: &[i64]) {
        self.graph.initializer.push(TensorProto::int64s(name, &[values.len()], values));
    }

    fn push(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    /// `[T,B,3]` to `[B,18]`, each row's window behind one another.
    fn flat(&mut self) {
        self.push(node("Transpose", &["x"], "by_row").with_ints("perm", &[1, 0, 2]));
        self.push(node("Flatten", &["by_row"], "flat").with_int("axis", 1));
    }

    /// `[B,inputs]` to the output.
    fn head(&mut self, value: &str, inputs: usize, columns: usize) {
        self.weights("head_w", &[inputs, columns], 0.3);
        self.weights("head_b", &[columns], 0.1);
        self.push(node("Gemm", &[value, "head_w", "head_b"], "y"));
    }

    /// A state that comes in, goes through a recurrent operator, and out.
    fn state(&mut self, name: &str) -> (String, String) {
        let (input, output) = (name.to_owned(), format!("{name}_out"));
        let axes = || [Dimension::of(1), Dimension::named("B"), Dimension::of(HIDDEN)];
        self.graph.input.push(ValueInfoProto::float_tensor(&input, axes()));
        self.graph.output.push(ValueInfoProto::float_tensor(&output, axes()));
        let width = HIDDEN as u32;
        self.spec.states.push(StateSpec { input: input.clone(), output: output.clone(), width });
        self.modes = vec![Mode::Full, Mode::Sliding];
        (input, output)
    }

    fn recurrent_weights(&mut self, gates: usize, directions: usize) {
        self.weights("w", &[directions, gates * HIDDEN, FEATURES], 0.6);
        self.weights("r", &[directions, gates * HIDDEN, HIDDEN], 0.4);
        self.weights("b", &[directions, 2 * gates * HIDDEN], 0.2);
    }

    pub(crate) fn lstm() -> Self {
        let mut kind = Self::new(1, 1);
        kind.recurrent_weights(4, 1);
        let ((h, h_out), (c, c_out)) = (kind.state("h"), kind.state("c"));
        let reads = ["x", "w", "r", "b", "", &h, &c];
        let lstm = NodeProto::new("LSTM", "lstm", &reads, &["", &h_out, &c_out]);
        kind.push(lstm.with_int("hidden_size", HIDDEN as i64));
        kind.last_state(&h_out);
        kind
    }

    /// The head on a state `[1,B,H]`.
    fn last_state(&mut self, state: &str) {
        self.integers("axis0", &[0]);
        self.push(node("Squeeze", &[state, "axis0"], "last"));
        self.head("last", HIDDEN, 1);
    }

    pub(crate) fn gru() -> Self {
        let mut kind = Self::new(2, 1);
        kind.recurrent_weights(3, 1);
        let (h, h_out) = kind.state("h");
        let gru = NodeProto::new("GRU", "gru", &["x", "w", "r", "b", "", &h], &["", &h_out]);
        kind.push(gru.with_int("hidden_size", HIDDEN as i64).with_int("linear_before_reset", 1));
        kind.last_state(&h_out);
        kind
    }

    /// In whole windows: single steps of this operator round differently.
    pub(crate) fn rnn() -> Self {
        let mut kind = Self::new(3, 1);
        kind.recurrent_weights(1, 1);
        let (h, h_out) = kind.state("h");
        let rnn = NodeProto::new("RNN", "rnn", &["x", "w", "r", "b", "", &h], &["", &h_out]);
        kind.push(rnn.with_int("hidden_size", HIDDEN as i64));
        kind.last_state(&h_out);
        kind.modes = vec![Mode::Full];
        kind
    }

    /// Both directions of an LSTM, from zero state.
    pub(crate) fn bidirectional() -> Self {
        let mut kind = Self::new(4, 1);
        kind.recurrent_weights(4, 2);
        let lstm = NodeProto::new("LSTM", "lstm", &["x", "w", "r", "b"], &["", "both"]);
        let lstm = lstm.with_int("hidden_size", HIDDEN as i64);
        kind.push(with(lstm, [string("direction", "bidirectional")]));
        kind.push(node("Transpose", &["both"], "by_row").with_ints("perm", &[1, 0, 2]));
        kind.push(node("Flatten", &["by_row"], "flat").with_int("axis", 1));
        kind.head("flat", 2 * HIDDEN, 1);
        kind
    }

    /// What Keras makes of a recurrent layer that no operator fits: a loop of products.
    pub(crate) fn looped() -> Self {
        let mut kind = Self::new(5, 1);
        kind.weights("w", &[FEATURES, HIDDEN], 0.6);
        kind.weights("r", &[HIDDEN, HIDDEN], 0.4);
        kind.weights("none", &[FEATURES, HIDDEN], 0.0);
        kind.integers("first", &[0]);
        kind.graph.initializer.push(TensorProto::int64s("zero", &[], &[0]));
        kind.push(node("Shape", &["x"], "shape"));
        kind.push(node("Gather", &["shape", "zero"], "steps"));
        kind.push(node("Gather", &["x", "zero"], "first_row"));
        kind.push(node("MatMul", &["first_row", "none"], "begin"));
        let state = || [Dimension::named("B"), Dimension::of(HIDDEN)];
        let body = GraphProto {
            name: "body".into(),
            input: vec![
                value_of("step", INT64, []),
                value_of("go", BOOL, []),
                ValueInfoProto::float_tensor("h", state()),
            ],
            output: vec![
                value_of("goes", BOOL, []),
                ValueInfoProto::float_tensor("h_next", state()),
            ],
            node: vec![
                node("Identity", &["go"], "goes"),
                node("Gather", &["x", "step"], "row"),
                node("MatMul", &["row", "w"], "of_row"),
                node("MatMul", &["h", "r"], "of_state"),
                node("Add", &["of_row", "of_state"], "sums"),
                node("Tanh", &["sums"], "h_next"),
            ],
            ..GraphProto::default()
        };
        let kind_of = attribute_type::GRAPH;
        let body = AttributeProto {
            name: "body".into(),
            g: Some(body),
            kind: kind_of,
            ..AttributeProto::default()
        };
        kind.push(with(NodeProto::new("Loop", "loop", &["steps", "", "begin"], &["last"]), [body]));
        kind.head("last", HIDDEN, 1);
        kind
    }

    pub(crate) fn attention() -> Self {
        let mut kind = Self::new(6, 1);
        for name in ["query", "key", "value"] {
            kind.weights(name, &[FEATURES, HIDDEN], 0.6);
        }
        kind.push(node("Transpose", &["x"], "rows").with_ints("perm", &[1, 0, 2]));
        for name in ["query", "key", "value"] {
            kind.push(node("MatMul", &["rows", name], &format!("{name}s")));
        }
        kind.push(node("Transpose", &["keys"], "keys_t").with_ints("perm", &[0, 2, 1]));
        kind.push(node("MatMul", &["querys", "keys_t"], "scores"));
        // A causal mask of infinities, as exporters write it.
        let mask = (0..WINDOW * WINDOW)
            .map(|at| if at % WINDOW > at / WINDOW { f32::NEG_INFINITY } else { 0.0 });
        let mask: Vec<_> = mask.collect();
        kind.graph.initializer.push(TensorProto::floats("mask", &[WINDOW, WINDOW], &mask));
        kind.push(node("Add", &["scores", "mask"], "masked"));
        kind.push(node("Softmax", &["masked"], "shares").with_int("axis", -1));
        kind.push(node("MatMul", &["shares", "values"], "context"));
        let mean = node("ReduceMean", &["context"], "mean");
        kind.push(mean.with_ints("axes", &[1]).with_int("keepdims", 0));
        kind.head("mean", HIDDEN, 1);
        kind
    }

    /// Convolution with padding, batch normalization, pooling.
    pub(crate) fn convolution() -> Self {
        let mut kind = Self::new(7, 1);
        kind.weights("kernel", &[HIDDEN, FEATURES, 3], 0.4);
        for (name, value) in [("scale", 1.1), ("shift", 0.1), ("mean", 0.05), ("variance", 0.9)] {
            let values = vec![value; HIDDEN];
            kind.graph.initializer.push(TensorProto::floats(name, &[HIDDEN], &values));
        }
        kind.integers("pads", &[0, 0, 2, 0, 0, 0]);
        kind.push(node("Transpose", &["x"], "channels").with_ints("perm", &[1, 2, 0]));
        kind.push(node("Pad", &["channels", "pads"], "padded"));
        kind.push(node("Conv", &["padded", "kernel"], "conv"));
        let normalized = ["conv", "scale", "shift", "mean", "variance"];
        kind.push(node("BatchNormalization", &normalized, "normal"));
        kind.push(node("Relu", &["normal"], "relu"));
        kind.push(node("MaxPool", &["relu"], "pool").with_ints("kernel_shape", &[2]));
        kind.push(node("GlobalAveragePool", &["pool"], "average"));
        kind.push(node("Flatten", &["average"], "flat").with_int("axis", 1));
        kind.head("flat", HIDDEN, 1);
        kind
    }

    pub(crate) fn dense() -> Self {
        let mut kind = Self::new(8, 1);
        kind.flat();
        kind.weights("dense_w", &[WINDOW * FEATURES, 32], 0.3);
        kind.weights("dense_b", &[32], 0.1);
        kind.push(node("Gemm", &["flat", "dense_w", "dense_b"], "dense"));
        kind.push(node("Relu", &["dense"], "relu"));
        kind.head("relu", 32, 1);
        kind
    }

    /// Two trees on the flattened window.
    pub(crate) fn trees() -> Self {
        let mut kind = Self::new(9, 1);
        kind.flat();
        let mut trees = NodeProto::new("TreeEnsembleRegressor", "trees", &["flat"], &["y"]);
        trees.domain = "ai.onnx.ml".into();
        // Node 0 asks, nodes 1 and 2 are leaves; the second tree likewise, of another feature.
        let trees = trees
            .with_int("n_targets", 1)
            .with_ints("nodes_treeids", &[0, 0, 0, 1, 1, 1])
            .with_ints("nodes_nodeids", &[0, 1, 2, 0, 1, 2])
            .with_ints("nodes_featureids", &[2, 0, 0, 15, 0, 0])
            .with_ints("nodes_truenodeids", &[1, 0, 0, 1, 0, 0])
            .with_ints("nodes_falsenodeids", &[2, 0, 0, 2, 0, 0])
            .with_ints("target_treeids", &[0, 0, 1, 1])
            .with_ints("target_nodeids", &[1, 2, 1, 2])
            .with_ints("target_ids", &[0, 0, 0, 0]);
        let modes = ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"];
        kind.push(with(
            trees,
            [
                strings("nodes_modes", &modes),
                floats("nodes_values", &[0.0, 0.0, 0.0, 0.02, 0.0, 0.0]),
                floats("target_weights", &[0.1, -0.2, 0.05, 0.3]),
            ],
        ));
        kind
    }

    /// Value, lower and upper end: columns 1, 0 and 2.
    pub(crate) fn quantiles() -> Self {
        let mut kind = Self::new(10, 3);
        kind.flat();
        kind.head("flat", WINDOW * FEATURES, 3);
        let (lower, upper) = (Some(0), Some(2));
        kind.spec.columns = Some(ColumnsSpec { value: 1, lower, upper, count: 3 });
        kind
    }

    /// The window less the largest output of the run: for a row alone 0, and for the largest row of
    /// any run.
    pub(crate) fn below_the_largest() -> Self {
        let mut kind = Self::new(11, 1);
        kind.flat();
        kind.weights("head_w", &[WINDOW * FEATURES, 1], 0.3);
        kind.push(node("MatMul", &["flat", "head_w"], "sums"));
        let largest = node("ReduceMax", &["sums"], "largest");
        kind.push(largest.with_ints("axes", &[0]).with_int("keepdims", 1));
        kind.push(node("Sub", &["sums", "largest"], "y"));
        kind
    }

    /// A dense layer of integers, whose scale comes from all rows of the run.
    pub(crate) fn quantized() -> Self {
        let mut kind = Self::new(12, 1);
        kind.flat();
        let reads = ["q", "scale", "zero"];
        kind.push(NodeProto::new("DynamicQuantizeLinear", "quantize", &["flat"], &reads));
        let weights = (0..WINDOW * FEATURES).map(|at| (at as u8).wrapping_mul(37));
        kind.graph.initializer.push(TensorProto {
            name: "weights".into(),
            dims: vec![(WINDOW * FEATURES) as i64, 1],
            data_type: INT8,
            raw_data: weights.collect(),
            ..TensorProto::default()
        });
        kind.graph.initializer.push(TensorProto::floats("of_weights", &[1], &[0.002]));
        kind.push(node("MatMulInteger", &["q", "weights", "zero"], "products"));
        kind.push(node("Cast", &["products"], "sums").with_int("to", 1));
        kind.push(node("Mul", &["sums", "scale"], "scaled"));
        kind.push(node("Mul", &["scaled", "of_weights"], "y"));
        kind
    }

    /// The bytes of the graph. Operator sets are imported as exporters do, needed or not.
    pub(crate) fn onnx(&self) -> Vec<u8> {
        let set = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
        ModelProto {
            ir_version: 8,
            graph: Some(self.graph.clone()),
            opset_import: vec![set("", 17), set("ai.onnx.ml", 3)],
            ..ModelProto::default()
        }
        .to_bytes()
    }

    /// A draft with so many golden windows, of one case.
    pub(crate) fn draft(&self, windows: u32) -> Draft {
        let mut manifest = manifest(WINDOW_STEPS, &Network::random(1, FEATURES, &[4]));
        (manifest.graph, manifest.modes) = (self.spec.clone(), self.modes.clone());
        if self.spec.has_ends() {
            (manifest.interval.lower, manifest.interval.upper) = (0.0, 0.0);
        }
        let onnx = self.onnx();
        let (steps, window) = rows_of(windows + WINDOW_STEPS - 1, &manifest);
        let signature = self.spec.signature(FEATURES);
        let mut backend = runtime().session(&onnx, &signature).unwrap();
        let lane = backend.lane(Shape { steps: WINDOW, batch: 1 }).unwrap();
        let mut case = GoldenCase { steps, window, ..GoldenCase::default() };
        for window in case.window.windows(WINDOW) {
            let rows = backend.rows_mut(lane).chunks_exact_mut(FEATURES);
            rows.zip(window).for_each(|(target, row)| target.copy_from_slice(row));
            (0..signature.states.len()).for_each(|at| backend.state_mut(lane, at).fill(0.0));
            backend.run(lane).unwrap();
            let output = signature.columns.read(backend.output(lane));
            case.output.push(output.value);
            case.output_lower.extend(output.ends.map(|[lower, _]| lower));
            case.output_upper.extend(output.ends.map(|[_, upper]| upper));
        }
        let (schema, cases) = (GOLDEN_SCHEMA.into(), vec![case]);
        let golden = Golden { schema, tolerance: 1e-5, cases };
        Draft { manifest, onnx, golden, symbols: None }
    }

    /// The graph, to be changed.
    pub(crate) fn graph_mut(&mut self) -> &mut GraphProto {
        &mut self.graph
    }

    /// The modes, to be changed.
    pub(crate) fn modes_mut(&mut self) -> &mut Vec<Mode> {
        &mut self.modes
    }
}
