//! The rules for recurrent operators: weights that fit, directions, and states that come back.
//!
//! Owns what `LSTM`, `GRU` and `RNN` nodes must look like. Promises that the weights agree with the
//! hidden size, which the runtime trusts, and that a state's output is what the operator gives back
//! in the same role. Never judges other operators: the proof by golden vectors does.

use std::collections::HashMap;

use super::super::manifest::GraphSpec;
use super::constants::Scope;
use super::problems::{Problems, quoted};
use crate::engine::onnx::{Dimension, GraphProto, NodeProto, ValueInfoProto};

/// The widest recurrent state, H: bounds the memory per symbol.
const STATE_WIDTH_MAX: u32 = 16_384;

/// Positions of a node's inputs and outputs in the operators' specification.
const WEIGHTS: usize = 1;
const RECURRENCE: usize = 2;
const BIAS: usize = 3;
const SEQUENCE_LENGTHS: usize = 4;
/// Initial states, and the final ones that belong to them.
const STATES: [(usize, usize); 2] = [(5, 1), (6, 2)];

/// A tensor of more axes is shown by its first ones.
const AXES_SHOWN: usize = 8;

/// How many gates a recurrent operator has; `None` for any other.
fn gates(node: &NodeProto) -> Option<i64> {
    match node.op_type.as_str() {
        "LSTM" => Some(4),
        "GRU" => Some(3),
        "RNN" => Some(1),
        _ => None,
    }
}

/// Checks a node if it is recurrent. `steps_alone` says that the model is also run step by step,
/// which the past alone can feed.
pub(super) fn check_recurrent(
    node: &NodeProto,
    scope: &Scope<'_>,
    steps_alone: bool,
    problems: &mut Problems,
) {
    let Some(gates) = gates(node) else { return };
    let operator = node.op_type.as_str();
    let mut problem =
        |text: String| problems.add(|| format!("{operator} `{}`: {text}", quoted(&node.name)));
    let hidden = node.attribute("hidden_size").map_or(0, |attribute| attribute.i);
    if hidden <= 0 {
        problem("hidden_size is missing or not positive".to_owned());
        return;
    }
    let direction = node.attribute("direction").map_or(&b"forward"[..], |attribute| &attribute.s);
    let directions = match direction {
        b"forward" => 1,
        b"reverse" | b"bidirectional" if steps_alone => {
            problem(
                "only the forward direction is causal; such a model serves mode `full` alone"
                    .to_owned(),
            );
            return;
        }
        b"reverse" => 1,
        b"bidirectional" => 2,
        other => {
            problem(format!("there is no direction `{}`", quoted(&String::from_utf8_lossy(other))));
            return;
        }
    };
    if node.attribute("layout").is_some_and(|attribute| attribute.i != 0) {
        problem("layout must be 0, [T,B,F]".to_owned());
    }
    let has_lengths = node.input.get(SEQUENCE_LENGTHS).is_some_and(|name| !name.is_empty());
    if has_lengths && steps_alone {
        problem("sequence_lens is not accepted in modes with states".to_owned());
    }
    let (wide, biases) = (hidden.checked_mul(gates), hidden.checked_mul(2 * gates));
    let expected = [
        (WEIGHTS, "W", vec![Some(directions), wide, None]),
        (RECURRENCE, "R", vec![Some(directions), wide, Some(hidden)]),
        (BIAS, "B", vec![Some(directions), biases]),
    ];
    for (position, label, shape) in expected {
        let Some(name) = node.input.get(position).filter(|name| !name.is_empty()) else {
            if position != BIAS {
                problem(format!("{label} is missing"));
            }
            continue;
        };
        let Some(tensor) = scope.tensor(name) else {
            if operator == "LSTM" {
                problem(format!("{label} `{}` is not a constant of the graph", quoted(name)));
            }
            continue;
        };
        // A size that overflows fits nothing.
        let fits = tensor.dims.len() == shape.len()
            && tensor.dims.iter().zip(&shape).enumerate().all(|(axis, (have, want))| {
                let is_free = position == WEIGHTS && axis == 2;
                is_free || *want == Some(*have)
            });
        if !fits {
            let (name, axes) = (quoted(name), &tensor.dims[..tensor.dims.len().min(AXES_SHOWN)]);
            problem(format!(
                "{label} `{name}` has shape {axes:?}, which does not fit hidden_size {hidden}"
            ));
        }
    }
}

/// Each state must have the stated width, and where it enters a recurrent operator directly, its
/// output must be what that operator gives back in the same role.
pub(super) fn check_states(
    graph: &GraphProto,
    inputs: &[&ValueInfoProto],
    spec: &GraphSpec,
    problems: &mut Problems,
) {
    let inputs: HashMap<_, _> = inputs.iter().map(|input| (input.name.as_str(), *input)).collect();
    let mut entered: HashMap<_, Vec<_>> = HashMap::new();
    for node in graph.node.iter().filter(|node| gates(node).is_some()) {
        for (initial, last) in STATES {
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
                    let (output, name) = (quoted(&state.output), quoted(&node.name));
                    let leaves = quoted(leaves.map_or("nothing", String::as_str));
                    format!(
                        "{}: its output is `{output}`, but {} `{name}` gives it back as \
                         `{leaves}`",
                        at(),
                        node.op_type
                    )
                });
            }
        }
    }
}
