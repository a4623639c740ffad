//! The constants of a graph: by name, and what numbers they may hold.
//!
//! Owns the look-up of initializers and `Constant` nodes through nested graphs, and the rule for
//! numbers that are not finite: none where the constant is a weight, infinities where it is a bound
//! or a mask, NaN nowhere. Never copies a tensor that is not a short list.

use std::collections::{HashMap, HashSet};

use super::operators::{ML_DOMAIN, is};
use super::problems::{Problems, quoted};
use crate::engine::onnx::{
    AttributeProto, DATA_LOCATION_EXTERNAL, FLOAT, GraphProto, NodeProto, TensorProto,
};

/// `TensorProto.DataType`: other floats, whose raw bytes are looked at as well.
const FLOAT16: i32 = 10;
const DOUBLE: i32 = 11;
const BFLOAT16: i32 = 16;

/// A list of sizes has one for each axis; a longer constant is none.
const SIZES_MAX: usize = 64;

/// Operators that may take an infinity from a constant: bounds and masks, and what passes them on.
const TAKE_INFINITY: &[&str] = &[
    "Add",
    "Cast",
    "CastLike",
    "Clip",
    "Concat",
    "Equal",
    "Expand",
    "Flatten",
    "Gather",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "IsInf",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Pad",
    "ReduceMax",
    "ReduceMin",
    "Reshape",
    "Slice",
    "Squeeze",
    "Sub",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];

/// The constants of a graph and of those around it.
pub(super) struct Scope<'g> {
    initializers: HashMap<&'g str, &'g TensorProto>,
    /// `Constant` nodes, by what they give.
    nodes: HashMap<&'g str, &'g NodeProto>,
    outer: Option<&'g Scope<'g>>,
}

impl<'g> Scope<'g> {
    pub(super) fn new(graph: &'g GraphProto, outer: Option<&'g Self>) -> Self {
        let initializers =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let nodes = graph.node.iter().filter(|node| is(node, "Constant"));
        let nodes = nodes.filter_map(|node| Some((node.output.first()?.as_str(), node))).collect();
        Self { initializers, nodes, outer }
    }

    /// The constant tensor of that name.
    pub(super) fn tensor(&self, name: &str) -> Option<&'g TensorProto> {
        let own = self.initializers.get(name).copied();
        let of_node = || self.nodes.get(name)?.attribute("value")?.t.as_ref();
        own.or_else(of_node).or_else(|| self.outer?.tensor(name))
    }

    /// The whole numbers of a short constant.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        if let Some(tensor) = self.tensor(name) {
            // Whatever its shape says: a long one would be read for each node that names it.
            let bytes_max = SIZES_MAX * size_of::<i64>();
            let is_short =
                tensor.raw_data.len() <= bytes_max && tensor.int64_data.len() <= SIZES_MAX;
            return if is_short { tensor.read_int64s() } else { None };
        }
        let Some(node) = self.nodes.get(name) else { return self.outer?.integers(name) };
        if let Some(list) = node.attribute("value_ints") {
            return (list.ints.len() <= SIZES_MAX).then(|| list.ints.clone());
        }
        Some(vec![node.attribute("value_int")?.i])
    }
}

/// The names that are read by an operator which takes no infinity, in a graph and those inside it.
pub(super) fn finite_names(graph: &GraphProto) -> HashSet<&str> {
    let mut names = HashSet::new();
    collect(graph, &mut names);
    names
}

fn collect<'g>(graph: &'g GraphProto, names: &mut HashSet<&'g str>) {
    for node in &graph.node {
        let takes =
            node.domain != ML_DOMAIN && TAKE_INFINITY.binary_search(&node.op_type.as_str()).is_ok();
        if !takes {
            names.extend(node.input.iter().map(String::as_str));
        }
        for attribute in &node.attribute {
            let graphs = attribute.g.iter().chain(&attribute.graphs);
            graphs.for_each(|graph| collect(graph, names));
        }
    }
}

/// Checks a constant; `finite` forbids infinities.
pub(super) fn check_tensor(tensor: &TensorProto, finite: bool, problems: &mut Problems) {
    let mut refuse = |what: &str| {
        problems.add(|| format!("tensor `{}` {what}", quoted(&tensor.name)));
    };
    if tensor.data_location == DATA_LOCATION_EXTERNAL || !tensor.external_data.is_empty() {
        refuse("keeps its data in another file");
        return;
    }
    let found = match tensor.data_type {
        FLOAT => match tensor.read_floats() {
            None => {
                refuse("has more or less data than its shape");
                return;
            }
            Some(values) => {
                Found::of(values.iter().map(|value| (value.is_nan(), value.is_infinite())))
            }
        },
        FLOAT16 => Found::of_halves(&tensor.raw_data, 0x7c00),
        BFLOAT16 => Found::of_halves(&tensor.raw_data, 0x7f80),
        DOUBLE => {
            let (chunks, _) = tensor.raw_data.as_chunks::<8>();
            let values = chunks.iter().map(|bytes| f64::from_le_bytes(*bytes));
            Found::of(values.map(|value| (value.is_nan(), value.is_infinite())))
        }
        _ => return,
    };
    if finite && (found.nan || found.infinity) {
        refuse("holds a number that is not finite");
    } else if found.nan {
        refuse("holds NaN");
    }
}

/// What is among numbers.
#[derive(Default)]
struct Found {
    nan: bool,
    infinity: bool,
}

impl Found {
    fn of(numbers: impl Iterator<Item = (bool, bool)>) -> Self {
        numbers.fold(Self::default(), |found, (nan, infinity)| Self {
            nan: found.nan | nan,
            infinity: found.infinity | infinity,
        })
    }

    /// Of floats of two bytes, whose exponent is under `mask`.
    fn of_halves(bytes: &[u8], mask: u16) -> Self {
        let fraction = !mask & 0x7fff;
        let (chunks, _) = bytes.as_chunks::<2>();
        let bits = chunks.iter().map(|bytes| u16::from_le_bytes(*bytes));
        Self::of(bits.map(|bits| {
            let special = bits & mask == mask;
            (special && bits & fraction != 0, special && bits & fraction == 0)
        }))
    }
}

/// Checks the numbers of an attribute; `finite` forbids infinities.
pub(super) fn check_numbers(
    node: &NodeProto,
    attribute: &AttributeProto,
    finite: bool,
    problems: &mut Problems,
) {
    let numbers = || attribute.floats.iter().chain([&attribute.f]);
    let what = if numbers().any(|number| number.is_nan()) {
        "is NaN"
    } else if finite && numbers().any(|number| number.is_infinite()) {
        "is infinite"
    } else {
        return;
    };
    problems.add(|| {
        let (node, attribute) = (quoted(&node.name), quoted(&attribute.name));
        format!("node `{node}`: attribute `{attribute}` {what}")
    });
}

/// Whether the attributes of a node may be infinite: bounds, fillings, and thresholds of trees.
pub(super) fn attributes_may_be_infinite(node: &NodeProto, finite: &HashSet<&str>) -> bool {
    match node.op_type.as_str() {
        "Constant" => !node.output.iter().any(|name| finite.contains(name.as_str())),
        "Clip" | "ConstantOfShape" | "Pad" => true,
        operator => node.domain == ML_DOMAIN && operator.starts_with("TreeEnsemble"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_for_binary_search() {
        assert!(TAKE_INFINITY.is_sorted());
    }

    fn said(tensor: &TensorProto, finite: bool) -> String {
        let mut problems = Problems::default();
        check_tensor(tensor, finite, &mut problems);
        problems.into_result().err().unwrap_or_default().join("\n")
    }

    fn raw(data_type: i32, bytes: &[u8]) -> TensorProto {
        TensorProto { data_type, raw_data: bytes.to_vec(), ..TensorProto::default() }
    }

    #[test]
    fn nan_is_found_in_every_kind_of_float() {
        let doubles =
            |value: f64| raw(DOUBLE, &[1.0_f64.to_le_bytes(), value.to_le_bytes()].concat());
        for (one, infinity, nan) in [
            (
                TensorProto::floats("", &[1], &[1.0]),
                TensorProto::floats("", &[1], &[f32::NEG_INFINITY]),
                TensorProto::floats("", &[1], &[f32::NAN]),
            ),
            (doubles(1.0), doubles(f64::INFINITY), doubles(f64::NAN)),
            (raw(FLOAT16, &[0, 0x3c]), raw(FLOAT16, &[0, 0xfc]), raw(FLOAT16, &[1, 0x7c])),
            (
                raw(BFLOAT16, &[0x80, 0x3f]),
                raw(BFLOAT16, &[0x80, 0xff]),
                raw(BFLOAT16, &[0x81, 0x7f]),
            ),
        ] {
            assert_eq!((said(&one, true), said(&one, false)), (String::new(), String::new()));
            assert!(said(&infinity, true).contains("not finite"), "{infinity:?}");
            assert_eq!(said(&infinity, false), "");
            assert!(said(&nan, true).contains("not finite"), "{nan:?}");
            assert!(said(&nan, false).contains("holds NaN"), "{nan:?}");
        }
    }
}
