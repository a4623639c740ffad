//! What a graph must be before ONNX Runtime sees it.
//!
//! Owns the allow-list of operators and the rules for shapes and states. Promises that a graph
//! that passes reads nothing from outside its own bytes, names no custom code, and wires each
//! state's output to the input it belongs to; and that the check itself takes time and memory in
//! proportion to the file, whatever is in it. Never runs the graph, so it cannot bound what a run
//! takes.

use std::collections::{HashMap, HashSet};

use super::bundle::quoted;
use super::manifest::{GraphSpec, Manifest};
use super::onnx::{
    AttributeProto, DATA_LOCATION_EXTERNAL, Dimension, FLOAT, GraphProto, ModelProto, NodeProto,
    TensorProto, ValueInfoProto,
};
use super::wire_scan::check_size;

/// The largest model file, in bytes.
pub const ONNX_BYTES_MAX: usize = 64 << 20;

/// Operators of the standard set that recurrent, attention and dense models are made of. None of
/// them reads a file, draws a random number, or calls out.
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Div",
    "Dropout",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "GRU",
    "Gather",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "Identity",
    "If",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Loop",
    "MatMul",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Scan",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// The widest recurrent state, H: bounds the memory per symbol.
const STATE_WIDTH_MAX: u32 = 16_384;

/// Problems beyond this many are counted and not listed; a hostile graph could have millions.
const PROBLEMS_MAX: usize = 8;

/// The most elements of a value whose shape the graph itself states: 64 MiB of floats.
const ELEMENTS_MAX: u64 = 16 << 20;

/// The problems found, up to a number of them.
#[derive(Default)]
struct Problems {
    listed: Vec<String>,
    more: usize,
}

impl Problems {
    /// Adds a problem. The text is made only where it is listed.
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push(text());
        } else {
            self.more += 1;
        }
    }

    fn into_result(mut self) -> Result<(), Vec<String>> {
        if self.more > 0 {
            self.listed.push(format!("and {} more problems", self.more));
        }
        if self.listed.is_empty() { Ok(()) } else { Err(self.listed) }
    }
}

/// Checks model bytes against the manifest.
///
/// # Errors
/// One line per broken rule, each naming the node, tensor, input or state at fault.
pub fn check_graph(onnx: &[u8], manifest: &Manifest) -> Result<(), Vec<String>> {
    if onnx.len() > ONNX_BYTES_MAX {
        return Err(vec![format!("{} bytes, at most {ONNX_BYTES_MAX} are read", onnx.len())]);
    }
    check_size(onnx).map_err(|problem| vec![problem])?;
    let model = ModelProto::from_bytes(onnx)
        .map_err(|error| vec![format!("not an ONNX model: {error}")])?;
    let mut problems = Problems::default();
    check_model(&model, &mut problems);
    match &model.graph {
        Some(graph) => {
            check_nodes(graph, &mut problems);
            let constants: HashSet<_> =
                graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
            let inputs: Vec<_> = graph
                .input
                .iter()
                .filter(|input| !constants.contains(input.name.as_str()))
                .collect();
            let features = manifest.features.len();
            check_signature(graph, &inputs, &manifest.graph, features, &mut problems);
            check_states(graph, &inputs, &manifest.graph, &mut problems);
        }
        None => problems.add(|| "there is no graph in it".to_owned()),
    }
    problems.into_result()
}

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn check_model(model: &ModelProto, problems: &mut Problems) {
    if !model.functions.is_empty() {
        problems.add(|| "model-local functions are not accepted".to_owned());
    }
    if !model.training_info.is_empty() {
        problems.add(|| "training information is not accepted".to_owned());
    }
    for import in model.opset_import.iter().filter(|import| !is_standard(&import.domain)) {
        let domain = quoted(&import.domain);
        problems.add(|| format!("operator set `{domain}` is not the standard one"));
    }
}

/// Checks a graph and those inside of it, which are nested a few deep at most.
fn check_nodes(graph: &GraphProto, problems: &mut Problems) {
    if !graph.sparse_initializer.is_empty() {
        problems.add(|| "sparse initializers are not accepted".to_owned());
    }
    for tensor in &graph.initializer {
        check_tensor(tensor, problems);
    }
    let constants: HashMap<_, _> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for node in &graph.node {
        check_operator(node, problems);
        match node.op_type.as_str() {
            "LSTM" => check_lstm(node, &constants, problems),
            "ConstantOfShape" => check_shape(node, 0, &constants, problems),
            "Expand" => check_shape(node, 1, &constants, problems),
            _ => {}
        }
        for attribute in &node.attribute {
            check_attribute(node, attribute, problems);
        }
    }
}

fn check_operator(node: &NodeProto, problems: &mut Problems) {
    let place = || format!("node `{}`: operator `{}`", quoted(&node.name), quoted(&node.op_type));
    if !is_standard(&node.domain) {
        let domain = quoted(&node.domain);
        problems.add(|| format!("{} of domain `{domain}` is not a standard one", place()));
    } else if OPERATORS.binary_search(&node.op_type.as_str()).is_err() {
        problems.add(|| format!("{} is not on the list of accepted ones", place()));
    }
}

fn check_attribute(node: &NodeProto, attribute: &AttributeProto, problems: &mut Problems) {
    let mut refuse = |what: &str| {
        problems.add(|| format!("node `{}`: {what}", quoted(&node.name)));
    };
    if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
        refuse("sparse tensors are not accepted");
    }
    if !attribute.ref_attr_name.is_empty() {
        refuse("a reference to a function's attribute");
    }
    attribute.t.iter().chain(&attribute.tensors).for_each(|t| check_tensor(t, problems));
    for subgraph in attribute.g.iter().chain(&attribute.graphs) {
        check_nodes(subgraph, problems);
    }
}

/// A value whose shape is a constant of the graph must be of a bearable size: eight bytes can ask
/// for gigabytes.
fn check_shape(
    node: &NodeProto,
    input: usize,
    constants: &HashMap<&str, &TensorProto>,
    problems: &mut Problems,
) {
    let named = node.input.get(input).and_then(|name| constants.get(name.as_str()));
    let Some(shape) = named.and_then(|tensor| tensor.read_int64s()) else { return };
    let sizes = shape.iter().map(|size| u64::try_from(*size).unwrap_or(1));
    let elements = sizes.fold(1_u64, u64::saturating_mul);
    if elements > ELEMENTS_MAX {
        let (operator, name) = (&node.op_type, quoted(&node.name));
        problems.add(|| {
            format!("{operator} `{name}`: makes {elements} elements, at most {ELEMENTS_MAX}")
        });
    }
}

fn check_tensor(tensor: &TensorProto, problems: &mut Problems) {
    let mut refuse = |what: &str| {
        problems.add(|| format!("tensor `{}` {what}", quoted(&tensor.name)));
    };
    if tensor.data_location == DATA_LOCATION_EXTERNAL || !tensor.external_data.is_empty() {
        refuse("keeps its data in another file");
    } else if tensor.data_type == FLOAT {
        match tensor.read_floats() {
            None => refuse("has more or less data than its shape"),
            Some(values) if values.iter().any(|value| !value.is_finite()) => {
                refuse("holds a number that is not finite");
            }
            Some(_) => {}
        }
    }
}

/// Positions of an LSTM node's inputs and outputs in the operator's specification.
const LSTM_WEIGHTS: usize = 1;
const LSTM_RECURRENCE: usize = 2;
const LSTM_BIAS: usize = 3;
const LSTM_SEQUENCE_LENGTHS: usize = 4;
const LSTM_INITIAL: [usize; 2] = [5, 6];
const LSTM_FINAL: [usize; 2] = [1, 2];

/// A tensor of more axes is shown by its first ones.
const AXES_SHOWN: usize = 8;

/// The weights of an LSTM must agree with its hidden size: the runtime trusts them.
fn check_lstm(node: &NodeProto, constants: &HashMap<&str, &TensorProto>, problems: &mut Problems) {
    let mut problem =
        |text: String| problems.add(|| format!("LSTM `{}`: {text}", quoted(&node.name)));
    let hidden = node.attribute("hidden_size").map_or(0, |attribute| attribute.i);
    if hidden <= 0 {
        problem("hidden_size is missing or not positive".to_owned());
        return;
    }
    let direction = node.attribute("direction").map_or(&b"forward"[..], |attribute| &attribute.s);
    if direction != b"forward" {
        problem("only the forward direction is causal".to_owned());
    }
    if node.attribute("layout").is_some_and(|attribute| attribute.i != 0) {
        problem("layout must be 0, [T,B,F]".to_owned());
    }
    if node.input.get(LSTM_SEQUENCE_LENGTHS).is_some_and(|name| !name.is_empty()) {
        problem("sequence_lens is not accepted".to_owned());
    }
    let four = hidden.checked_mul(4);
    let eight = hidden.checked_mul(8);
    let expected = [
        (LSTM_WEIGHTS, "W", vec![Some(1), four, None]),
        (LSTM_RECURRENCE, "R", vec![Some(1), four, Some(hidden)]),
        (LSTM_BIAS, "B", vec![Some(1), eight]),
    ];
    for (position, label, shape) in expected {
        let Some(name) = node.input.get(position).filter(|name| !name.is_empty()) else {
            if position != LSTM_BIAS {
                problem(format!("{label} is missing"));
            }
            continue;
        };
        let Some(tensor) = constants.get(name.as_str()) else {
            problem(format!("{label} `{}` is not a constant of the graph", quoted(name)));
            continue;
        };
        let fits = tensor.dims.len() == shape.len()
            && tensor.dims.iter().zip(&shape).all(|(have, want)| want.is_none_or(|w| w == *have));
        if !fits {
            let (name, axes) = (quoted(name), &tensor.dims[..tensor.dims.len().min(AXES_SHOWN)]);
            problem(format!(
                "{label} `{name}` has shape {axes:?}, which does not fit hidden_size {hidden}"
            ));
        }
    }
}

/// Names in a message: the first few.
const NAMES_SHOWN: usize = 8;

/// `inputs` are those that are no constants.
fn check_signature(
    graph: &GraphProto,
    inputs: &[&ValueInfoProto],
    spec: &GraphSpec,
    features: usize,
    problems: &mut Problems,
) {
    let stated = quoted(&spec.input);
    match inputs.iter().find(|input| input.name == spec.input) {
        None => {
            let names = inputs.iter().take(NAMES_SHOWN).map(|input| quoted(&input.name));
            let names: Vec<_> = names.collect();
            problems.add(|| {
                format!("graph.input `{stated}` is not an input of the graph, which has {names:?}")
            });
        }
        Some(input) => {
            let last = input.shape().and_then(|shape| match shape.as_slice() {
                [_, _, Some(Dimension::Value(size))] => Some(*size),
                _ => None,
            });
            if last != i64::try_from(features).ok() {
                problems.add(|| {
                    format!(
                        "graph.input `{stated}` must have shape [T,B,{features}], one column per \
                         feature"
                    )
                });
            }
        }
    }
    let states: Vec<_> =
        inputs.iter().map(|input| input.name.as_str()).filter(|name| *name != spec.input).collect();
    for (index, name) in states.iter().enumerate() {
        match spec.states.get(index) {
            Some(state) if state.input == *name => {}
            Some(state) => problems.add(|| {
                let (stated, name) = (quoted(&state.input), quoted(name));
                format!("graph.states[{index}] is `{stated}`, the graph's order says `{name}`")
            }),
            None => problems
                .add(|| format!("graph.states lacks the graph's state input `{}`", quoted(name))),
        }
    }
    for state in spec.states.iter().skip(states.len()) {
        let input = quoted(&state.input);
        problems.add(|| format!("graph.states: the graph has no input `{input}`"));
    }
    let outputs: HashSet<_> = graph.output.iter().map(|output| output.name.as_str()).collect();
    for name in spec.states.iter().map(|state| &state.output).chain([&spec.output]) {
        if !outputs.contains(name.as_str()) {
            problems.add(|| format!("graph: `{}` is not an output of the graph", quoted(name)));
        }
    }
}

/// Each state must have the stated width, and where it enters an LSTM directly, its output must be
/// what that LSTM gives back in the same role.
fn check_states(
    graph: &GraphProto,
    inputs: &[&ValueInfoProto],
    spec: &GraphSpec,
    problems: &mut Problems,
) {
    let inputs: HashMap<_, _> = inputs.iter().map(|input| (input.name.as_str(), *input)).collect();
    let mut entered: HashMap<_, Vec<_>> = HashMap::new();
    for node in graph.node.iter().filter(|node| node.op_type == "LSTM") {
        for (initial, last) in LSTM_INITIAL.into_iter().zip(LSTM_FINAL) {
            if let Some(name) = node.input.get(initial) {
                entered.entry(name.as_str()).or_default().push((node, node.output.get(last)));
            }
        }
    }
    for (index, state) in spec.states.iter().enumerate() {
        let at = || format!("graph.states[{index}] `{}`", quoted(&state.input));
        if state.width > STATE_WIDTH_MAX {
            problems.add(|| format!("{}: wider than {STATE_WIDTH_MAX}", at()));
        }
        if let Some(input) = inputs.get(state.input.as_str()) {
            let width = i64::from(state.width);
            let fits = input.shape().is_some_and(|shape| {
                matches!(
                    shape.as_slice(),
                    [Some(Dimension::Value(1)), _, Some(Dimension::Value(size))] if *size == width
                )
            });
            if !fits {
                problems.add(|| format!("{}: the graph's shape is not [1,B,{width}]", at()));
            }
        }
        for (node, leaves) in entered.get(state.input.as_str()).into_iter().flatten() {
            if leaves.is_none_or(|name| *name != state.output) {
                problems.add(|| {
                    let (output, node) = (quoted(&state.output), quoted(&node.name));
                    let leaves = quoted(leaves.map_or("nothing", String::as_str));
                    format!(
                        "{}: its output is `{output}`, but LSTM `{node}` gives it back as \
                         `{leaves}`",
                        at()
                    )
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OPERATORS;

    #[test]
    fn the_list_is_sorted_for_binary_search() {
        assert!(OPERATORS.is_sorted());
    }
}
