//! How large the values are whose size the graph itself states.
//!
//! Owns the limit for operators that make much out of little: eight bytes can ask for gigabytes.
//! Promises that a stated size beyond the limit is refused before the runtime sees it. Never
//! computes a size that depends on the input: the memory of a run is the proof's to bound.

use super::constants::Scope;
use super::problems::{Problems, quoted};
use crate::engine::onnx::NodeProto;

/// The most elements of a value whose shape the graph itself states: 64 MiB of floats.
const ELEMENTS_MAX: u64 = 16 << 20;

/// Checks a node of the standard set.
pub(super) fn check_sizes(node: &NodeProto, scope: &Scope<'_>, problems: &mut Problems) {
    let input = |position: usize| scope.integers(node.input.get(position)?);
    let list = |name: &str| Some(node.attribute(name)?.ints.clone());
    let elements = match node.op_type.as_str() {
        "ConstantOfShape" => input(0).map(|shape| product(&shape)),
        "Expand" => input(1).map(|shape| product(&shape)),
        "Tile" => input(1).map(|repeats| product(&repeats)),
        // The amounts are an attribute in older operator sets.
        "Pad" => input(1).or_else(|| list("pads")).map(|pads| padded(&pads)),
        "Range" => input(0)
            .zip(input(1))
            .zip(input(2))
            .map(|((start, limit), delta)| range(first(&start), first(&limit), first(&delta))),
        "AveragePool" | "Conv" | "ConvInteger" | "MaxPool" | "QLinearConv" => {
            let reach = |name| list(name).map_or(1, |sizes| product(&sizes));
            let pads = list("pads").map_or(1, |pads| padded(&pads));
            Some(pads.max(reach("kernel_shape").saturating_mul(reach("dilations"))))
        }
        _ => None,
    };
    if let Some(elements) = elements.filter(|elements| *elements > ELEMENTS_MAX) {
        let (operator, name) = (&node.op_type, quoted(&node.name));
        problems.add(|| {
            format!("{operator} `{name}`: makes {elements} elements, at most {ELEMENTS_MAX}")
        });
    }
}

/// A size that is not positive is the runtime's to judge.
fn product(sizes: &[i64]) -> u64 {
    let sizes = sizes.iter().map(|size| u64::try_from(*size).unwrap_or(1));
    sizes.fold(1, u64::saturating_mul)
}

/// What is added in front of each axis, and then behind each; an axis has one element at least.
fn padded(pads: &[i64]) -> u64 {
    let (before, behind) = pads.split_at(pads.len() / 2);
    let amount = |pad: &i64| u64::try_from(*pad).unwrap_or(0);
    let sizes = before.iter().zip(behind);
    let sizes = sizes.map(|(a, b)| amount(a).saturating_add(amount(b)).saturating_add(1));
    sizes.fold(1, u64::saturating_mul)
}

fn first(numbers: &[i64]) -> i64 {
    numbers.first().copied().unwrap_or(0)
}

fn range(start: i64, limit: i64, delta: i64) -> u64 {
    let distance = limit.abs_diff(start);
    // A step of zero is the runtime's to judge.
    distance.checked_div(delta.unsigned_abs()).unwrap_or(0)
}
