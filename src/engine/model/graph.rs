//! What a graph must be before ONNX Runtime sees it.
//!
//! Owns the allow-list of operators and the rules for shapes and states. Promises that a graph
//! that passes reads nothing from outside its own bytes, names no custom code, and wires each
//! state's output to the input it belongs to; and that the check itself takes time and memory in
//! proportion to the file, whatever is in it. Never runs the graph, so it cannot bound what a run
//! takes.

mod classic;
mod constants;
mod operators;
mod problems;
mod recurrent;
mod sizes;

use std::collections::HashSet;

use self::classic::check_classic;
use self::constants::{
    Scope, attributes_may_be_infinite, check_numbers, check_tensor, finite_names,
};
use self::operators::{check_imports, check_operator, check_training};
use self::problems::{Problems, quoted};
use self::recurrent::{check_recurrent, check_states};
use self::sizes::check_sizes;
use super::manifest::{GraphSpec, Manifest, Mode};
use super::wire_scan::check_size;
use crate::engine::onnx::{
    AttributeProto, Dimension, FLOAT, GraphProto, ModelProto, NodeProto, ValueInfoProto,
};

/// The largest model file, in bytes.
pub const ONNX_BYTES_MAX: usize = 64 << 20;

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
            let context = Context {
                finite: finite_names(graph),
                steps_alone: manifest.modes.iter().any(|mode| *mode != Mode::Full),
            };
            check_nodes(graph, None, &context, &mut problems);
            let constants: HashSet<_> =
                graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
            let inputs: Vec<_> = graph
                .input
                .iter()
                .filter(|input| !constants.contains(input.name.as_str()))
                .collect();
            let features = manifest.inputs();
            check_signature(graph, &inputs, &manifest.graph, features, &mut problems);
            check_output(graph, &manifest.graph, &mut problems);
            check_states(graph, &inputs, &manifest.graph, &mut problems);
        }
        None => problems.add(|| "there is no graph in it".to_owned()),
    }
    problems.into_result()
}

fn check_model(model: &ModelProto, problems: &mut Problems) {
    if !model.functions.is_empty() {
        problems.add(|| "model-local functions are not accepted".to_owned());
    }
    if !model.training_info.is_empty() {
        problems.add(|| "training information is not accepted".to_owned());
    }
    check_imports(model, problems);
}

/// What nodes are judged by, beside themselves.
struct Context<'g> {
    /// Names that no infinity may stand behind.
    finite: HashSet<&'g str>,
    /// Whether the model is run step by step as well.
    steps_alone: bool,
}

/// Checks a graph and those inside of it, which are nested a few deep at most.
fn check_nodes(
    graph: &GraphProto,
    outer: Option<&Scope<'_>>,
    context: &Context<'_>,
    problems: &mut Problems,
) {
    if !graph.sparse_initializer.is_empty() {
        problems.add(|| "sparse initializers are not accepted".to_owned());
    }
    for tensor in &graph.initializer {
        check_tensor(tensor, context.finite.contains(tensor.name.as_str()), problems);
    }
    check_names(graph, problems);
    let scope = Scope::new(graph, outer);
    for node in &graph.node {
        check_operator(node, problems);
        check_training(node, &scope, problems);
        check_recurrent(node, &scope, context.steps_alone, problems);
        check_sizes(node, &scope, problems);
        check_classic(node, problems);
        let finite = !attributes_may_be_infinite(node, &context.finite);
        for attribute in &node.attribute {
            check_attribute(node, attribute, finite, problems);
            check_numbers(node, attribute, finite, problems);
            for subgraph in attribute.g.iter().chain(&attribute.graphs) {
                check_nodes(subgraph, Some(&scope), context, problems);
            }
        }
    }
}

/// Refuses a name that two values have: which of them a node reads is then for the runtime to say,
/// and the one that was checked may be the other. An initializer may be the default of an input.
fn check_names(graph: &GraphProto, problems: &mut Problems) {
    let initializers: HashSet<_> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let inputs = inputs.filter(|name| !initializers.contains(name));
    let given = graph.initializer.iter().map(|tensor| tensor.name.as_str()).chain(inputs);
    let outputs = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let mut names = HashSet::new();
    for name in given.chain(outputs.filter(|name| !name.is_empty())) {
        if !names.insert(name) {
            problems.add(|| format!("graph: `{}` is given twice", quoted(name)));
        }
    }
}

fn check_attribute(
    node: &NodeProto,
    attribute: &AttributeProto,
    finite: bool,
    problems: &mut Problems,
) {
    let mut refuse = |what: &str| {
        problems.add(|| format!("node `{}`: {what}", quoted(&node.name)));
    };
    if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
        refuse("sparse tensors are not accepted");
    }
    if !attribute.ref_attr_name.is_empty() {
        refuse("a reference to a function's attribute");
    }
    attribute.t.iter().chain(&attribute.tensors).for_each(|t| check_tensor(t, finite, problems));
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
            check_element(input, problems);
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

/// The daemon's rows are 32-bit floats.
fn check_element(value: &ValueInfoProto, problems: &mut Problems) {
    if value.elem_type().is_some_and(|element| element != FLOAT) {
        let name = quoted(&value.name);
        problems.add(|| format!("`{name}` must be of 32-bit floats; a Cast makes it so"));
    }
}

/// The output must have a column for each that the manifest speaks of.
fn check_output(graph: &GraphProto, spec: &GraphSpec, problems: &mut Problems) {
    let Some(output) = graph.output.iter().find(|output| output.name == spec.output) else {
        return;
    };
    check_element(output, problems);
    let count = spec.columns.map_or(1, |columns| columns.count);
    let Some(shape) = output.shape() else { return };
    let fits = match shape.as_slice() {
        [_, Some(Dimension::Value(columns))] => *columns == i64::from(count),
        [_, _] => true,
        _ => false,
    };
    if !fits {
        let name = quoted(&output.name);
        problems.add(|| {
            format!("graph.output `{name}` must have shape [B,{count}], as graph.columns says")
        });
    }
}
