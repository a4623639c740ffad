//! What a graph is, in words, and what a window costs.
//!
//! Owns the names of layers and the count of multiply-adds. Promises short words that speak of
//! models, not of operators that only move data. Never decides anything.

use std::collections::HashMap;

use super::net::{bodies, constants, graph, int, is_recurrent, reads, text};
use super::probe::Shapes;
use super::quoted;
use crate::engine::onnx::{FLOAT, GraphProto, ModelProto, NodeProto, TensorProto};

/// The most layers that are named.
const LAYERS_MAX: usize = 24;

/// The layers of a graph in the order in which it computes them.
pub(super) fn words(model: &ModelProto, shapes: Option<&Shapes>) -> Vec<String> {
    let mut model = model.clone();
    super::fold::fold(&mut model);
    let graph = graph(&model);
    let known = constants(graph);
    let mut layers: Vec<String> = Vec::new();
    for node in &graph.node {
        let Some(word) = layer(node, &known, shapes) else {
            if let (Some(function), Some(last)) = (function(node), layers.last_mut()) {
                last.push(' ');
                last.push_str(function);
            }
            continue;
        };
        layers.push(word);
    }
    if layers.len() > LAYERS_MAX {
        let more = layers.len() - LAYERS_MAX;
        layers.truncate(LAYERS_MAX);
        layers.push(format!("{more} more"));
    }
    layers
}

fn layer(
    node: &NodeProto,
    known: &HashMap<&str, &TensorProto>,
    shapes: Option<&Shapes>,
) -> Option<String> {
    let constant = |at: usize| known.get(node.input.get(at)?.as_str()).copied();
    Some(match node.op_type.as_str() {
        operator @ ("LSTM" | "GRU" | "RNN") => {
            let units = int(node, "hidden_size", 0);
            match text(node, "direction", "forward") {
                "bidirectional" => format!("bidirectional {operator} {units}"),
                "reverse" => format!("reverse {operator} {units}"),
                _ => format!("{operator} {units}"),
            }
        }
        "Gemm" | "MatMul" => match constant(1).or(constant(0)).map(|tensor| &tensor.dims) {
            Some(dims) if dims.len() == 2 => {
                let axis = usize::from(int(node, "transB", 0) == 0);
                format!("Dense {}", dims[axis])
            }
            Some(_) => "Dense".to_owned(),
            None => "attention product".to_owned(),
        },
        "Conv" => {
            let dims = constant(1).map_or(&[][..], |tensor| &tensor.dims);
            let sizes = dims.get(2..).unwrap_or_default();
            let kernel = sizes.iter().fold(1_i64, |all, size| all.saturating_mul(*size));
            format!("Conv {} x {kernel}", dims.first().copied().unwrap_or_default())
        }
        "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMax" => {
            node.op_type.clone()
        }
        "ReduceMean" => "mean".to_owned(),
        "LayerNormalization" | "BatchNormalization" | "InstanceNormalization" => {
            node.op_type.clone()
        }
        "Loop" | "Scan" => {
            let body = bodies(node).next();
            match body.map(kind_of_loop) {
                Some(Some(kind)) => {
                    // The outputs that stack every step come last.
                    let steps = node.output.iter().rev();
                    let dims = steps.filter_map(|name| shapes?.get(name)?.first());
                    let units = dims.filter(|dims| dims.len() == 3).find_map(|dims| dims.last());
                    let units = units.map_or_else(String::new, |units| format!(" {units}"));
                    format!("{kind}{units} as a {}", node.op_type)
                }
                _ => node.op_type.clone(),
            }
        }
        "If" => "branches".to_owned(),
        "TreeEnsembleRegressor" | "TreeEnsembleClassifier" | "TreeEnsemble" => {
            let ids = node.attribute("nodes_treeids").map_or(&[][..], |ids| &ids.ints);
            let trees: std::collections::BTreeSet<&i64> = ids.iter().collect();
            if trees.is_empty() { "trees".to_owned() } else { format!("{} trees", trees.len()) }
        }
        "LinearRegressor" | "LinearClassifier" => "linear model".to_owned(),
        "SVMRegressor" | "SVMClassifier" => "support vectors".to_owned(),
        _ => return None,
    })
}

/// A function behind a layer, as it is called there.
fn function(node: &NodeProto) -> Option<&'static str> {
    Some(match node.op_type.as_str() {
        "Relu" => "relu",
        "Tanh" => "tanh",
        "Sigmoid" => "sigmoid",
        "Softmax" => "softmax",
        "Gelu" => "gelu",
        "Elu" => "elu",
        "Selu" => "selu",
        "LeakyRelu" => "leaky relu",
        "Softplus" => "softplus",
        "HardSwish" => "hard swish",
        _ => return None,
    })
}

/// Which recurrent layer a loop computes, by the functions of its cell.
pub(super) fn kind_of_loop(body: &GraphProto) -> Option<&'static str> {
    let count = |operator: &str| body.node.iter().filter(|node| node.op_type == operator).count();
    match (count("Sigmoid"), count("Tanh")) {
        (3, 2) => Some("LSTM"),
        (2, 1) => Some("GRU"),
        (0, 1) => Some("RNN"),
        _ => None,
    }
}

/// Multiply-adds of one window of `steps`, for a batch as the shapes have it.
pub(super) fn cost(model: &ModelProto, shapes: &Shapes, steps: usize) -> u64 {
    let graph = graph(model);
    let known = constants(graph);
    let (batch, _) = shapes.runs.first().copied().unwrap_or((1, steps));
    let costs = graph.node.iter().map(|node| node_cost(node, &known, shapes, steps));
    let whole = costs.fold(0_u64, u64::saturating_add);
    whole / batch.max(1) as u64
}

fn node_cost(
    node: &NodeProto,
    known: &HashMap<&str, &TensorProto>,
    shapes: &Shapes,
    steps: usize,
) -> u64 {
    let dims = |name: Option<&String>| shapes.get(name?).and_then(<[_]>::first).cloned();
    let count =
        |dims: &[usize]| dims.iter().fold(1_u64, |all, size| all.saturating_mul(*size as u64));
    let read = |at: usize| dims(node.input.get(at)).unwrap_or_default();
    let given = || node.output.iter().find_map(|name| dims(Some(name))).unwrap_or_default();
    match node.op_type.as_str() {
        _ if is_recurrent(node) => {
            // Rows that the weights of both kinds are applied to.
            let rows: u64 = count(&read(0)[..read(0).len().min(2)]);
            count(&read(1)).saturating_add(count(&read(2))).saturating_mul(rows)
        }
        "MatMul" => {
            let inner = read(0).last().copied().unwrap_or(1) as u64;
            count(&given()).saturating_mul(inner)
        }
        "Gemm" => {
            let axis = usize::from(int(node, "transA", 0) == 0);
            let inner = read(0).get(axis).copied().unwrap_or(1) as u64;
            count(&given()).saturating_mul(inner)
        }
        "Conv" => {
            let weights = read(1);
            let each = count(weights.get(1..).unwrap_or_default());
            count(&given()).saturating_mul(each)
        }
        "Loop" | "Scan" => {
            // Each weight of two axes that the body reads is applied once a step and row.
            let own = bodies(node).flat_map(|body| &body.initializer);
            let sum = |all: u64, tensor: &TensorProto| all.saturating_add(elements(tensor));
            let inside = own.filter(|tensor| is_weight(tensor)).fold(0, sum);
            let outer: Vec<String> = reads(node);
            let outside = outer.iter().filter_map(|name| known.get(name.as_str()));
            let outside = outside.copied().filter(|tensor| is_weight(tensor)).fold(0, sum);
            let batch = shapes.runs.first().map_or(1, |(batch, _)| *batch) as u64;
            inside.saturating_add(outside).saturating_mul(steps as u64).saturating_mul(batch)
        }
        _ => 0,
    }
}

fn is_weight(tensor: &TensorProto) -> bool {
    tensor.data_type == FLOAT && tensor.dims.len() == 2
}

fn elements(tensor: &TensorProto) -> u64 {
    tensor.element_count().unwrap_or(0) as u64
}

/// Why a graph may not run although a framework exported it.
pub(super) fn suspicion(model: &ModelProto) -> Option<String> {
    let mut folded = model.clone();
    super::fold::fold(&mut folded);
    let graph = graph(&folded);
    let known = constants(graph);
    let fits_not = |node: &&NodeProto| {
        let units = int(node, "hidden_size", 0);
        let gates = match node.op_type.as_str() {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let weights = node.input.get(1).and_then(|name| known.get(name.as_str()));
        let recurrence = node.input.get(2).and_then(|name| known.get(name.as_str()));
        let rows = |tensor: Option<&&TensorProto>| tensor.and_then(|t| t.dims.get(1).copied());
        let wanted = units.checked_mul(gates);
        let is_off = |rows: Option<i64>| rows.is_some() && rows != wanted;
        is_off(rows(weights)) || is_off(rows(recurrence)) || has_wider_cell(graph, node, units)
    };
    let node = graph.node.iter().filter(|node| is_recurrent(node)).find(fits_not)?;
    Some(format!(
        "{} `{}` looks like a layer with a projection (`proj_size`), which the operator does not \
         have and PyTorch's exporter writes wrongly: train without `proj_size`, with a Dense layer \
         behind the LSTM",
        node.op_type,
        quoted(&node.name)
    ))
}

/// Whether the first cell of an LSTM is of another width than its hidden state: read off the shape
/// that zeros are made in.
fn has_wider_cell(graph: &GraphProto, node: &NodeProto, units: i64) -> bool {
    let known = constants(graph);
    let producers = super::net::producers(graph);
    let mut name = match node.input.get(6) {
        Some(name) if node.op_type == "LSTM" => name.as_str(),
        _ => return false,
    };
    // Slice, Expand and Concat lead to the sizes.
    for _ in 0..8 {
        let Some(maker) = producers.get(name).map(|at| &graph.node[*at]) else { return false };
        let next = match maker.op_type.as_str() {
            "Expand" => maker.input.get(1),
            "Concat" => {
                let last = maker.input.last().and_then(|last| known.get(last.as_str()));
                let last = last.and_then(|tensor| tensor.read_int64s());
                return last.is_some_and(|sizes| sizes.last().is_some_and(|size| *size != units));
            }
            _ => maker.input.first(),
        };
        match next {
            Some(next) => name = next,
            None => return false,
        }
    }
    false
}
