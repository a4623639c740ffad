//! 16-bit floats, which the runtime computes with 32 bits.
//!
//! Owns where such numbers are rounded. The runtime puts casts around an operator that it has for
//! 32 bits alone, and drops two casts that follow one another, with the rounding between them.
//! Promises that a graph with casts at its ends rounds where the file does. Never changes a weight:
//! each 16-bit float is a 32-bit one.

use std::collections::{BTreeMap, HashMap};

use super::fold::Block;
use super::net::{FINAL, INITIAL, Names, constants, is_recurrent};
use crate::engine::onnx::{FLOAT, FLOAT16, GraphProto, NodeProto, TensorProto};

/// An operator that hands its first input on, which is left open, and keeps the casts beside it
/// apart; and the constant that it needs.
pub(super) fn rounding(names: &mut Names) -> (TensorProto, NodeProto) {
    /// Nothing is smaller.
    const MINUS_INFINITY: u16 = 0xfc00;
    let name = names.fresh("smallest");
    let raw_data = MINUS_INFINITY.to_le_bytes().to_vec();
    let node = NodeProto::new("Max", "", &["", &name], &[]);
    (TensorProto { name, data_type: FLOAT16, raw_data, ..TensorProto::default() }, node)
}

/// Where a recurrent operator takes weights: W, R, B and peepholes.
const WEIGHTS: [usize; 4] = [1, 2, 3, 7];

/// Has recurrent operators of 16-bit floats compute with 32 bits between casts, as the runtime
/// does, so that their states are given out as they are. Returns how many.
pub(super) fn widen_recurrent(graph: &mut GraphProto) -> usize {
    let mut names = Names::of(graph);
    let mut wide: BTreeMap<String, TensorProto> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut widened = 0;
    {
        let known = constants(graph);
        for node in &graph.node {
            let weights = is_recurrent(node).then(|| narrow_weights(node, &known)).flatten();
            let Some(weights) = weights else {
                nodes.push(node.clone());
                continue;
            };
            let mut node = node.clone();
            for (at, block) in weights {
                let narrow = std::mem::take(&mut node.input[at]);
                let tensor = wide
                    .entry(narrow.clone())
                    .or_insert_with(|| block.into_tensor(&names.fresh(&format!("{narrow}_wide"))));
                tensor.name.clone_into(&mut node.input[at]);
            }
            let cast = |from: &str, to: &str, kind: i32| {
                NodeProto::new("Cast", "", &[from], &[to]).with_int("to", i64::from(kind))
            };
            for at in [0].into_iter().chain(INITIAL) {
                let Some(narrow) = node.input.get(at).filter(|name| !name.is_empty()) else {
                    continue;
                };
                let name = names.fresh(&format!("{narrow}_wide"));
                nodes.push(cast(narrow, &name, FLOAT));
                node.input[at] = name;
            }
            let mut behind = Vec::new();
            for at in [0].into_iter().chain(FINAL) {
                let Some(narrow) = node.output.get(at).filter(|name| !name.is_empty()) else {
                    continue;
                };
                let name = names.fresh(&format!("{narrow}_wide"));
                behind.push(cast(&name, narrow, FLOAT16));
                node.output[at] = name;
            }
            nodes.push(node);
            nodes.append(&mut behind);
            widened += 1;
        }
    }
    graph.node = nodes;
    graph.initializer.extend(wide.into_values());
    widened
}

/// The weights of an operator as 32-bit floats, where all of them are constants of 16 bits.
fn narrow_weights(
    node: &NodeProto,
    constants: &HashMap<&str, &TensorProto>,
) -> Option<Vec<(usize, Block)>> {
    let given = WEIGHTS.into_iter().filter(|at| node.input.get(*at).is_some_and(|n| !n.is_empty()));
    let widened = |at: usize| {
        let tensor = constants.get(node.input[at].as_str())?;
        Some((at, Block::of(tensor)?.widened()?))
    };
    given.map(widened).collect()
}

impl Block {
    /// The same numbers with 32 bits.
    fn widened(&self) -> Option<Self> {
        let (narrow, _) = self.bytes.as_chunks::<2>();
        let bytes = narrow.iter().flat_map(|bytes| wide(u16::from_le_bytes(*bytes)).to_le_bytes());
        let bytes = bytes.collect();
        let is_half = self.data_type == FLOAT16;
        is_half.then(|| Self { dims: self.dims.clone(), data_type: FLOAT, size: 4, bytes })
    }
}

/// A 16-bit float (IEEE 754) as a 32-bit one.
fn wide(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let (sign, exponent, fraction) = ((bits >> 15) << 31, (bits >> 10) & 0x1f, bits & 0x3ff);
    let magnitude = match exponent {
        // Without a leading one: in steps of 2^-24.
        0 => (fraction as f32 / (1 << 24) as f32).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        exponent => ((exponent + 127 - 15) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::wide;

    #[test]
    fn a_half_keeps_its_value() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65_504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0x0000, 0.0),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(wide(bits), value, "{bits:#x}");
        }
        assert!(wide(0x8000).is_sign_negative() && wide(0x7e00).is_nan());
    }
}
