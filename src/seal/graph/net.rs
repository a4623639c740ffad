//! The wiring of a graph: who writes and who reads which name.
//!
//! Owns lookups, renaming, pruning and names that are not in use yet. Promises that graphs inside
//! of a node, which read names from around them, are followed. Knows no operator but by its place.

use std::collections::{HashMap, HashSet};

use crate::engine::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, attribute_type};

/// The graph of a model that was checked to have one.
pub(super) fn graph(model: &ModelProto) -> &GraphProto {
    model.graph.as_ref().expect("a model without a graph was refused when it was read")
}

/// The same, to be changed.
pub(super) fn graph_mut(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("a model without a graph was refused when it was read")
}

/// The version of the standard operator set, which `decode` has made sure of.
pub(super) fn opset(model: &ModelProto) -> i64 {
    stated_opset(model).unwrap_or(OPSET_OWN)
}

/// The version of the standard operator set that a model imports, if it imports one.
pub(super) fn stated_opset(model: &ModelProto) -> Option<i64> {
    let standard = model.opset_import.iter().find(|import| is_standard(&import.domain));
    standard.map(|import| import.version)
}

/// The standard operator set of what rewrites add to a graph that imports none. It goes with every
/// version of `ai.onnx.ml` that there is.
pub(super) const OPSET_OWN: i64 = 17;

/// The version of the format that this set came with.
pub(super) const IR_VERSION_OWN: i64 = 8;

pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The constants of a graph by name.
pub(super) fn constants(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
}

/// The node that writes each name, by its index.
pub(super) fn producers(graph: &GraphProto) -> HashMap<&str, usize> {
    let mut producers = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            producers.insert(name.as_str(), index);
        }
    }
    producers
}

/// The graphs inside of a node.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// What a node reads of the graph that it is in, each name once.
pub(super) fn reads(node: &NodeProto) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    let own = node.input.iter().filter(|name| !name.is_empty()).cloned();
    for name in own.chain(bodies(node).flat_map(captured)) {
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

/// What an inner graph reads from around it.
pub(super) fn captured(body: &GraphProto) -> Vec<String> {
    let defined = defined(body);
    let read = body.node.iter().flat_map(reads);
    let given = body.output.iter().map(|output| output.name.clone());
    read.chain(given).filter(|name| !defined.contains(name)).collect()
}

/// The names that a graph gives a meaning to.
fn defined(graph: &GraphProto) -> HashSet<String> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    inputs.chain(constants).chain(outputs).cloned().collect()
}

/// Has a node, and the graphs inside of it, read other names.
pub(super) fn rename_reads(node: &mut NodeProto, names: &HashMap<String, String>) {
    for name in &mut node.input {
        if let Some(other) = names.get(name) {
            other.clone_into(name);
        }
    }
    for attribute in &mut node.attribute {
        for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            let own = defined(body);
            let visible: HashMap<String, String> = names
                .iter()
                .filter(|(name, _)| !own.contains(*name))
                .map(|(name, other)| (name.clone(), other.clone()))
                .collect();
            if visible.is_empty() {
                continue;
            }
            body.node.iter_mut().for_each(|node| rename_reads(node, &visible));
            for output in &mut body.output {
                if let Some(other) = visible.get(&output.name) {
                    other.clone_into(&mut output.name);
                }
            }
        }
    }
}

/// Has every node read `to` where it read `from`.
pub(super) fn redirect(graph: &mut GraphProto, from: &str, to: &str) {
    let names = HashMap::from([(from.to_owned(), to.to_owned())]);
    graph.node.iter_mut().for_each(|node| rename_reads(node, &names));
}

/// Has the node that writes `from` write `to`, and everything that reads `from` read that.
pub(super) fn rename_value(graph: &mut GraphProto, from: &str, to: &str) {
    redirect(graph, from, to);
    for name in graph.node.iter_mut().flat_map(|node| &mut node.output) {
        if name == from {
            to.clone_into(name);
        }
    }
}

/// Removes nodes and constants that no output depends on. Returns how many.
pub(super) fn prune(graph: &mut GraphProto) -> usize {
    let before = graph.node.len() + graph.initializer.len();
    let mut needed: HashSet<String> =
        graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept: Vec<NodeProto> = Vec::with_capacity(graph.node.len());
    for node in graph.node.drain(..).rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needed.extend(reads(&node));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
    before - graph.node.len() - graph.initializer.len()
}

/// Names that are taken, and fresh ones.
pub(super) struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// Of a whole model, graphs inside of nodes included.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut taken = HashSet::new();
        collect(graph, &mut taken);
        Self { taken }
    }

    /// `base`, or with a number behind it where that is taken.
    pub(super) fn fresh(&mut self, base: &str) -> String {
        let numbered = (2..).map(|number: u32| format!("{base}_{number}"));
        let name = std::iter::once(base.to_owned())
            .chain(numbered)
            .find(|name| !self.taken.contains(name))
            .expect("there are more numbers than names");
        self.taken.insert(name.clone());
        name
    }
}

fn collect(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(defined(graph));
    names.extend(graph.output.iter().map(|output| output.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().cloned());
        names.insert(node.name.clone());
        bodies(node).for_each(|body| collect(body, names));
    }
}

/// The axes that an operator names, in its attribute or, from set 13 on, its second input. `None`
/// where they are computed; an empty list where it names none.
pub(super) fn axes(
    node: &NodeProto,
    input: usize,
    constants: &HashMap<&str, &TensorProto>,
) -> Option<Vec<i64>> {
    if let Some(attribute) = node.attribute("axes") {
        return Some(attribute.ints.clone());
    }
    match node.input.get(input).filter(|name| !name.is_empty()) {
        None => Some(Vec::new()),
        Some(name) => constants.get(name.as_str())?.read_int64s(),
    }
}

/// A whole-number attribute, or what it is when it is left out.
pub(super) fn int(node: &NodeProto, name: &str, otherwise: i64) -> i64 {
    let found = node.attribute(name).filter(|attribute| attribute.kind == attribute_type::INT);
    found.map_or(otherwise, |attribute| attribute.i)
}

/// A text attribute.
pub(super) fn text<'n>(node: &'n NodeProto, name: &str, otherwise: &'n str) -> &'n str {
    let found = node.attribute(name).and_then(|attribute| str::from_utf8(&attribute.s).ok());
    found.unwrap_or(otherwise)
}

/// An axis counted from the front.
pub(super) fn from_front(axis: i64, rank: usize) -> Option<usize> {
    let signed = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis + signed } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

/// The permutation of a `Transpose`; without one it reverses the axes.
pub(super) fn permutation(node: &NodeProto, rank: Option<usize>) -> Option<Vec<usize>> {
    match node.attribute("perm") {
        Some(attribute) => attribute.ints.iter().map(|axis| usize::try_from(*axis).ok()).collect(),
        None => Some((0..rank?).rev().collect()),
    }
}

/// Whether a node is one of the recurrent operators.
pub(super) fn is_recurrent(node: &NodeProto) -> bool {
    is_standard(&node.domain) && matches!(node.op_type.as_str(), "LSTM" | "GRU" | "RNN")
}

/// Where a recurrent operator takes its first states.
pub(super) const INITIAL: [usize; 2] = [5, 6];

/// Where it gives its last ones.
pub(super) const FINAL: [usize; 2] = [1, 2];
