//! Recurrent states given out, so that a graph can be driven one step at a time.
//!
//! Owns the new inputs and outputs. Promises that a graph which is fed zeros for them computes what
//! it did before. Never decides whether single steps are meant: `flow` does.

use super::net::{FINAL, INITIAL, Names, int};
use crate::engine::model::manifest::StateSpec;
use crate::engine::onnx::{Dimension, GraphProto, ValueInfoProto};

/// Gives the states of these recurrent operators out. Returns them in the order of the inputs.
pub(super) fn expose(graph: &mut GraphProto, nodes: &[usize]) -> Vec<StateSpec> {
    let mut names = Names::of(graph);
    let mut states = Vec::new();
    for (layer, at) in nodes.iter().enumerate() {
        let width = int(&graph.node[*at], "hidden_size", 0);
        let kinds = if graph.node[*at].op_type == "LSTM" { &["h", "c"][..] } else { &["h"] };
        for (which, kind) in kinds.iter().enumerate() {
            let input = names.fresh(&format!("{kind}{layer}"));
            let node = &mut graph.node[*at];
            set(&mut node.input, INITIAL[which], &input);
            let taken = node.output.get(FINAL[which]).filter(|name| !name.is_empty()).cloned();
            let is_given = |name: &String| graph.output.iter().any(|output| output.name == *name);
            let output = match taken {
                Some(name) if !is_given(&name) => name,
                Some(name) => {
                    // One value cannot be two outputs.
                    let other = names.fresh(&format!("{kind}{layer}_out"));
                    let copy = [name.as_str()];
                    graph.node.push(crate::engine::onnx::NodeProto::new(
                        "Identity",
                        "",
                        &copy,
                        &[&other],
                    ));
                    other
                }
                None => {
                    let name = names.fresh(&format!("{kind}{layer}_out"));
                    set(&mut node.output, FINAL[which], &name);
                    name
                }
            };
            let size = usize::try_from(width).unwrap_or(0);
            let shape = || [Dimension::of(1), Dimension::named("B"), Dimension::of(size)];
            graph.input.push(ValueInfoProto::float_tensor(&input, shape()));
            graph.output.push(ValueInfoProto::float_tensor(&output, shape()));
            states.push(StateSpec { input, output, width: u32::try_from(size).unwrap_or(0) });
        }
    }
    states
}

fn set(names: &mut Vec<String>, at: usize, name: &str) {
    if names.len() <= at {
        names.resize(at + 1, String::new());
    }
    name.clone_into(&mut names[at]);
}
