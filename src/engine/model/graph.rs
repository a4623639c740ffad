//! What a graph must be before ONNX Runtime sees it.
//!
//! Owns the allow-list of operators and the rules for shapes and states. Promises that a graph
//! that passes reads nothing from outside its own bytes, names no custom code, and wires each
//! state's output to the input it belongs to. Never runs it.

use super::manifest::{GraphSpec, Manifest};
use super::onnx::{
    DATA_LOCATION_EXTERNAL, Dimension, FLOAT, GraphProto, ModelProto, NodeProto, TensorProto,
    ValueInfoProto,
};

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

/// Problems beyond this many are not listed; a hostile graph could have millions.
const PROBLEMS_MAX: usize = 20;

/// Subgraphs inside subgraphs deeper than this are refused.
const DEPTH_MAX: usize = 4;

/// Checks model bytes against the manifest.
///
/// # Errors
/// One line per broken rule, each naming the node, tensor, input or state at fault.
pub fn check_graph(onnx: &[u8], manifest: &Manifest) -> Result<(), Vec<String>> {
    if onnx.len() > ONNX_BYTES_MAX {
        return Err(vec![format!("{} bytes, at most {ONNX_BYTES_MAX} are read", onnx.len())]);
    }
    let model = ModelProto::from_bytes(onnx)
        .map_err(|error| vec![format!("not an ONNX model: {error}")])?;
    let mut problems = Vec::new();
    check_model(&model, &mut problems);
    match &model.graph {
        Some(graph) => {
            check_nodes(graph, 0, &mut problems);
            check_signature(graph, &manifest.graph, manifest.features.len(), &mut problems);
            check_states(graph, &manifest.graph, &mut problems);
        }
        None => problems.push("there is no graph in it".to_owned()),
    }
    if problems.len() > PROBLEMS_MAX {
        let more = problems.len() - PROBLEMS_MAX;
        problems.truncate(PROBLEMS_MAX);
        problems.push(format!("and {more} more problems"));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn check_model(model: &ModelProto, problems: &mut Vec<String>) {
    if !model.functions.is_empty() {
        problems.push("model-local functions are not accepted".to_owned());
    }
    if !model.training_info.is_empty() {
        problems.push("training information is not accepted".to_owned());
    }
    for import in model.opset_import.iter().filter(|import| !is_standard(&import.domain)) {
        problems.push(format!("operator set `{}` is not the standard one", import.domain));
    }
}

fn check_nodes(graph: &GraphProto, depth: usize, problems: &mut Vec<String>) {
    if depth > DEPTH_MAX {
        problems.push(format!("subgraphs are nested more than {DEPTH_MAX} deep"));
        return;
    }
    if !graph.sparse_initializer.is_empty() {
        problems.push("sparse initializers are not accepted".to_owned());
    }
    for tensor in &graph.initializer {
        check_tensor(tensor, problems);
    }
    for node in &graph.node {
        if !is_standard(&node.domain) {
            problems.push(format!(
                "node `{}`: operator `{}` of domain `{}` is not a standard one",
                node.name, node.op_type, node.domain
            ));
        } else if OPERATORS.binary_search(&node.op_type.as_str()).is_err() {
            problems.push(format!(
                "node `{}`: operator `{}` is not on the list of accepted ones",
                node.name, node.op_type
            ));
        }
        if node.op_type == "LSTM" {
            check_lstm(node, graph, problems);
        }
        for attribute in &node.attribute {
            if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
                problems.push(format!("node `{}`: sparse tensors are not accepted", node.name));
            }
            if !attribute.ref_attr_name.is_empty() {
                problems
                    .push(format!("node `{}`: a reference to a function's attribute", node.name));
            }
            attribute.t.iter().chain(&attribute.tensors).for_each(|t| check_tensor(t, problems));
            for subgraph in attribute.g.iter().chain(&attribute.graphs) {
                check_nodes(subgraph, depth + 1, problems);
            }
        }
    }
}

fn check_tensor(tensor: &TensorProto, problems: &mut Vec<String>) {
    if tensor.data_location == DATA_LOCATION_EXTERNAL || !tensor.external_data.is_empty() {
        problems.push(format!("tensor `{}` keeps its data in another file", tensor.name));
    } else if tensor.data_type == FLOAT {
        match tensor.read_floats() {
            None => problems
                .push(format!("tensor `{}` has more or less data than its shape", tensor.name)),
            Some(values) if values.iter().any(|value| !value.is_finite()) => {
                problems
                    .push(format!("tensor `{}` holds a number that is not finite", tensor.name));
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

/// The weights of an LSTM must agree with its hidden size: the runtime trusts them.
fn check_lstm(node: &NodeProto, graph: &GraphProto, problems: &mut Vec<String>) {
    let mut problem = |text: String| problems.push(format!("LSTM `{}`: {text}", node.name));
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
        let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.name == *name) else {
            problem(format!("{label} `{name}` is not a constant of the graph"));
            continue;
        };
        let fits = tensor.dims.len() == shape.len()
            && tensor.dims.iter().zip(&shape).all(|(have, want)| want.is_none_or(|w| w == *have));
        if !fits {
            problem(format!(
                "{label} `{name}` has shape {:?}, which does not fit hidden_size {hidden}",
                tensor.dims
            ));
        }
    }
}

/// The graph's own inputs: those that are no constants.
fn inputs(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    graph.input.iter().filter(move |input| !constant(&input.name))
}

fn check_signature(
    graph: &GraphProto,
    spec: &GraphSpec,
    features: usize,
    problems: &mut Vec<String>,
) {
    let names: Vec<_> = inputs(graph).map(|input| input.name.as_str()).collect();
    match inputs(graph).find(|input| input.name == spec.input) {
        None => problems.push(format!(
            "graph.input `{}` is not an input of the graph, which has {names:?}",
            spec.input
        )),
        Some(input) => {
            let last = input.shape().and_then(|shape| match shape.as_slice() {
                [_, _, Some(Dimension::Value(size))] => Some(*size),
                _ => None,
            });
            if last != i64::try_from(features).ok() {
                problems.push(format!(
                    "graph.input `{}` must have shape [T,B,{features}], one column per feature",
                    spec.input
                ));
            }
        }
    }
    let states: Vec<_> = names.iter().copied().filter(|name| *name != spec.input).collect();
    for (index, name) in states.iter().enumerate() {
        match spec.states.get(index) {
            Some(state) if state.input == *name => {}
            Some(state) => problems.push(format!(
                "graph.states[{index}] is `{}`, the graph's order says `{name}`",
                state.input
            )),
            None => problems.push(format!("graph.states lacks the graph's state input `{name}`")),
        }
    }
    for state in spec.states.iter().skip(states.len()) {
        problems.push(format!("graph.states: the graph has no input `{}`", state.input));
    }
    let outputs: Vec<_> = graph.output.iter().map(|output| output.name.as_str()).collect();
    for name in spec.states.iter().map(|state| &state.output).chain([&spec.output]) {
        if !outputs.contains(&name.as_str()) {
            problems.push(format!("graph: `{name}` is not an output of the graph"));
        }
    }
}

/// Each state must have the stated width, and where it enters an LSTM directly, its output must be
/// what that LSTM gives back in the same role.
fn check_states(graph: &GraphProto, spec: &GraphSpec, problems: &mut Vec<String>) {
    for (index, state) in spec.states.iter().enumerate() {
        let at = format!("graph.states[{index}] `{}`", state.input);
        if state.width > STATE_WIDTH_MAX {
            problems.push(format!("{at}: wider than {STATE_WIDTH_MAX}"));
        }
        if let Some(input) = inputs(graph).find(|input| input.name == state.input) {
            let width = i64::from(state.width);
            let fits = input.shape().is_some_and(|shape| {
                matches!(
                    shape.as_slice(),
                    [Some(Dimension::Value(1)), _, Some(Dimension::Value(size))] if *size == width
                )
            });
            if !fits {
                problems.push(format!("{at}: the graph's shape is not [1,B,{width}]"));
            }
        }
        for node in graph.node.iter().filter(|node| node.op_type == "LSTM") {
            for (initial, last) in LSTM_INITIAL.into_iter().zip(LSTM_FINAL) {
                let enters = node.input.get(initial).is_some_and(|name| *name == state.input);
                let leaves = node.output.get(last);
                if enters && leaves.is_none_or(|name| *name != state.output) {
                    problems.push(format!(
                        "{at}: its output is `{}`, but LSTM `{}` gives it back as `{}`",
                        state.output,
                        node.name,
                        leaves.map_or("nothing", String::as_str)
                    ));
                }
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
