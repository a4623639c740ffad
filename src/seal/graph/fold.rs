//! Constants made of constants, and moves of data that cancel each other.
//!
//! Owns the operators that only move data: those of constants are computed here, so that weights
//! are constants of the graph as the engine wants them. Promises that no number is computed with:
//! every folded element keeps its bits, and that what is moved is bounded, however often a graph
//! doubles a constant. Never grows a constant beyond what it was made of.

use std::collections::{HashMap, HashSet};

use super::net::{axes, constants, from_front, graph_mut, int, permutation, rename_reads};
use crate::engine::onnx::{
    BOOL, DOUBLE, FLOAT, FLOAT16, GraphProto, INT32, INT64, ModelProto, NodeProto, TensorProto,
    attribute_type,
};

/// The bytes of an element of a type that may be moved.
pub(super) fn element_bytes(data_type: i32) -> Option<usize> {
    Some(match data_type {
        // 8-bit whole numbers and truth values.
        2 | 3 | BOOL => 1,
        // 16-bit whole numbers and both 16-bit floats.
        4 | 5 | FLOAT16 | 16 => 2,
        FLOAT | INT32 | 12 => 4,
        INT64 | DOUBLE | 13 => 8,
        _ => return None,
    })
}

/// A constant as plain bytes.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) dims: Vec<usize>,
    pub(super) data_type: i32,
    pub(super) size: usize,
    pub(super) bytes: Vec<u8>,
}

impl Block {
    pub(super) fn of(tensor: &TensorProto) -> Option<Self> {
        let size = element_bytes(tensor.data_type)?;
        let dims: Option<Vec<usize>> =
            tensor.dims.iter().map(|size| usize::try_from(*size).ok()).collect();
        let bytes = if tensor.raw_data.is_empty() {
            match tensor.data_type {
                FLOAT => tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
                DOUBLE => tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
                INT64 => tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
                12 | 13 => {
                    let cut = |value: &u64| value.to_le_bytes()[..size].to_vec();
                    tensor.uint64_data.iter().flat_map(cut).collect()
                }
                _ => {
                    let cut = |value: &i32| value.to_le_bytes()[..size].to_vec();
                    tensor.int32_data.iter().flat_map(cut).collect()
                }
            }
        } else {
            tensor.raw_data.clone()
        };
        let block = Self { dims: dims?, data_type: tensor.data_type, size, bytes };
        let is_full = Some(block.bytes.len()) == tensor.element_count()?.checked_mul(size);
        // Where one axis has no element, the others may state any size and need no bytes for it.
        let is_bounded = !block.bytes.is_empty() || block.dims.iter().all(|size| *size <= 1);
        (is_full && is_bounded).then_some(block)
    }

    pub(super) fn into_tensor(self, name: &str) -> TensorProto {
        TensorProto {
            dims: self.dims.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect(),
            data_type: self.data_type,
            name: name.to_owned(),
            raw_data: self.bytes,
            ..TensorProto::default()
        }
    }

    fn strides(dims: &[usize]) -> Vec<usize> {
        let mut strides = vec![1; dims.len()];
        for axis in (0..dims.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * dims[axis + 1];
        }
        strides
    }

    /// The elements at the positions that each axis lists, in the order of `order`.
    fn pick(&self, listed: &[Vec<usize>], order: &[usize]) -> Self {
        let strides = Self::strides(&self.dims);
        let dims: Vec<usize> = order.iter().map(|axis| listed[*axis].len()).collect();
        let count: usize = dims.iter().product();
        let mut bytes = Vec::with_capacity(count * self.size);
        let mut at = vec![0; order.len()];
        for _ in 0..count {
            let places = order.iter().zip(&at);
            let offset: usize =
                places.map(|(axis, place)| listed[*axis][*place] * strides[*axis]).sum();
            bytes.extend_from_slice(&self.bytes[offset * self.size..][..self.size]);
            for axis in (0..at.len()).rev() {
                at[axis] += 1;
                if at[axis] < dims[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Self { dims, bytes, ..*self }
    }

    fn every(&self) -> Vec<Vec<usize>> {
        self.dims.iter().map(|size| (0..*size).collect()).collect()
    }

    fn reshaped(&self, dims: Vec<usize>) -> Option<Self> {
        (elements(&dims)? == elements(&self.dims)?).then(|| Self { dims, ..self.clone() })
    }

    fn int64s(dims: Vec<usize>, values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dims, data_type: INT64, size: 8, bytes }
    }

    fn read_int64s(&self) -> Option<Vec<i64>> {
        let (wide, _) = self.bytes.as_chunks::<8>();
        let (narrow, _) = self.bytes.as_chunks::<4>();
        match self.data_type {
            INT64 => Some(wide.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
            INT32 => Some(narrow.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
            _ => None,
        }
    }
}

/// The elements of a shape, where there are not too many to count.
fn elements(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
}

/// The bytes that are moved at most; what is beyond stays computed by the graph.
const MOVED_BYTES_MAX: usize = 256 << 20;

/// The operators that move data.
const FOLDED: &[&str] = &[
    "Cast",
    "Concat",
    "Constant",
    "Gather",
    "Identity",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Makes constants of everything that only moves constants. Returns how many weights, that is
/// floats of two axes or more, became constants by it.
pub(super) fn fold(model: &mut ModelProto) -> usize {
    let opset = super::net::opset(model);
    // A constant that is no input of the graph needs version 4 of the format.
    model.ir_version = model.ir_version.max(4);
    let graph = graph_mut(model);
    let mut folded: HashMap<String, TensorProto> = HashMap::new();
    let mut order = Vec::new();
    let mut weights = 0;
    let mut moved: usize = 0;
    let mut kept = Vec::with_capacity(graph.node.len());
    {
        let known = constants(graph);
        for node in &graph.node {
            let find =
                |name: &String| folded.get(name).or_else(|| known.get(name.as_str()).copied());
            // No output is larger than all inputs together.
            let bytes = node.input.iter().filter_map(find).fold(0, |bytes: usize, tensor| {
                let size = element_bytes(tensor.data_type).unwrap_or(0);
                bytes.saturating_add(tensor.element_count().unwrap_or(0).saturating_mul(size))
            });
            let is_small = moved.saturating_add(bytes) <= MOVED_BYTES_MAX;
            let is_folded = is_small && FOLDED.contains(&node.op_type.as_str());
            // What fails in the end was read before that, so it counts as well.
            moved = moved.saturating_add(if is_folded { bytes } else { 0 });
            let blocks = is_folded.then(|| evaluate(node, &known, &folded, opset)).flatten();
            let Some(blocks) = blocks else {
                kept.push(node.clone());
                continue;
            };
            for (name, block) in node.output.iter().zip(blocks) {
                let is_weight = block.dims.len() >= 2 && block.data_type == FLOAT;
                weights += usize::from(is_weight && node.op_type != "Constant");
                order.push(name.clone());
                folded.insert(name.clone(), block.into_tensor(name));
            }
        }
    }
    graph.node = kept;
    graph.initializer.extend(order.iter().filter_map(|name| folded.remove(name)));
    weights
}

fn evaluate(
    node: &NodeProto,
    constants: &HashMap<&str, &TensorProto>,
    folded: &HashMap<String, TensorProto>,
    opset: i64,
) -> Option<Vec<Block>> {
    if !super::net::is_standard(&node.domain) {
        return None;
    }
    if node.op_type == "Constant" {
        return constant(node).map(|block| vec![block]);
    }
    if node.input.is_empty() || node.output.iter().any(String::is_empty) {
        return None;
    }
    let find = |name: &str| folded.get(name).or_else(|| constants.get(name).copied());
    let inputs: Option<Vec<Option<&TensorProto>>> = node
        .input
        .iter()
        .map(|name| if name.is_empty() { Some(None) } else { find(name).map(Some) })
        .collect();
    let inputs = inputs?;
    let all: HashMap<&str, &TensorProto> =
        inputs.iter().flatten().map(|tensor| (tensor.name.as_str(), *tensor)).collect();
    let first = Block::of(inputs.first().copied().flatten()?)?;
    let integers = |at: usize| {
        inputs.get(at).copied().flatten().and_then(|tensor| Block::of(tensor)?.read_int64s())
    };
    let rank = first.dims.len();
    let one = |block: Block| Some(vec![block]);
    match node.op_type.as_str() {
        "Identity" => one(first),
        "Transpose" => {
            let order = permutation(node, Some(rank)).filter(|order| is_order(order, rank))?;
            one(first.pick(&first.every(), &order))
        }
        "Unsqueeze" | "Squeeze" => one(squeezed(node, &first, &axes(node, 1, &all)?)?),
        "Concat" => {
            let blocks: Option<Vec<Block>> =
                inputs.iter().map(|tensor| Block::of((*tensor)?)).collect();
            one(concat(&blocks?, from_front(int(node, "axis", 0), rank)?)?)
        }
        "Slice" => one(sliced(node, &first, &integers, opset)?),
        "Gather" => {
            let indices = inputs.get(1).copied().flatten()?;
            one(gathered(&first, indices, from_front(int(node, "axis", 0), rank)?)?)
        }
        "Reshape" if int(node, "allowzero", 0) == 0 => {
            one(first.reshaped(target(&first.dims, &integers(1)?)?)?)
        }
        "Shape" if node.attribute.is_empty() => {
            let sizes: Option<Vec<i64>> =
                first.dims.iter().map(|size| i64::try_from(*size).ok()).collect();
            one(Block::int64s(vec![rank], &sizes?))
        }
        "Cast" => one(cast(&first, int(node, "to", 0))?),
        "Split" => split(node, &first, integers(1)),
        _ => None,
    }
}

fn is_order(order: &[usize], rank: usize) -> bool {
    let distinct: HashSet<_> = order.iter().collect();
    order.len() == rank && distinct.len() == rank && order.iter().all(|axis| *axis < rank)
}

fn constant(node: &NodeProto) -> Option<Block> {
    let attribute = node.attribute.first()?;
    let floats = |dims: Vec<usize>, values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Block { dims, data_type: FLOAT, size: 4, bytes }
    };
    match attribute.kind {
        attribute_type::TENSOR => Block::of(attribute.t.as_ref()?),
        attribute_type::FLOAT => Some(floats(Vec::new(), &[attribute.f])),
        attribute_type::FLOATS => Some(floats(vec![attribute.floats.len()], &attribute.floats)),
        attribute_type::INT => Some(Block::int64s(Vec::new(), &[attribute.i])),
        attribute_type::INTS => Some(Block::int64s(vec![attribute.ints.len()], &attribute.ints)),
        _ => None,
    }
}

fn squeezed(node: &NodeProto, block: &Block, axes: &[i64]) -> Option<Block> {
    let mut dims = block.dims.clone();
    if node.op_type == "Unsqueeze" {
        let rank = dims.len() + axes.len();
        let mut places: Vec<usize> =
            axes.iter().map(|axis| from_front(*axis, rank)).collect::<Option<_>>()?;
        places.sort_unstable();
        for place in places {
            (place <= dims.len()).then_some(())?;
            dims.insert(place, 1);
        }
    } else {
        let places: Vec<usize> =
            axes.iter().map(|axis| from_front(*axis, dims.len())).collect::<Option<_>>()?;
        let is_dropped = |axis: usize, size: usize| {
            if axes.is_empty() { size == 1 } else { places.contains(&axis) }
        };
        dims = dims
            .iter()
            .enumerate()
            .filter(|(axis, size)| !is_dropped(*axis, **size))
            .map(|(_, size)| *size)
            .collect();
    }
    block.reshaped(dims)
}

fn concat(blocks: &[Block], axis: usize) -> Option<Block> {
    let first = blocks.first()?;
    let fits = |block: &Block| {
        block.data_type == first.data_type
            && block.dims.len() == first.dims.len()
            && (0..first.dims.len()).all(|at| at == axis || block.dims[at] == first.dims[at])
    };
    if !blocks.iter().all(fits) {
        return None;
    }
    let outer: usize = first.dims[..axis].iter().product();
    let mut bytes = Vec::new();
    for at in 0..outer {
        for block in blocks {
            let chunk = block.bytes.len() / outer;
            bytes.extend_from_slice(&block.bytes[at * chunk..][..chunk]);
        }
    }
    let mut dims = first.dims.clone();
    dims[axis] = blocks.iter().map(|block| block.dims[axis]).sum();
    Some(Block { dims, bytes, ..*first })
}

fn sliced(
    node: &NodeProto,
    block: &Block,
    integers: &dyn Fn(usize) -> Option<Vec<i64>>,
    opset: i64,
) -> Option<Block> {
    let attribute = |name: &str| node.attribute(name).map(|attribute| attribute.ints.clone());
    let (starts, ends, axes, steps) = if opset < 10 {
        (attribute("starts")?, attribute("ends")?, attribute("axes"), None)
    } else {
        let given = |at: usize| node.input.get(at).is_some_and(|name| !name.is_empty());
        let optional = |at: usize| if given(at) { integers(at).map(Some) } else { Some(None) };
        (integers(1)?, integers(2)?, optional(3)?, optional(4)?)
    };
    let axes = axes.unwrap_or_else(|| (0..).take(starts.len()).collect());
    let mut listed = block.every();
    for (at, axis) in axes.iter().enumerate() {
        let axis = from_front(*axis, block.dims.len())?;
        let size = i64::try_from(block.dims[axis]).ok()?;
        if steps.as_ref().is_some_and(|steps| steps.get(at) != Some(&1)) {
            return None;
        }
        let bound = |value: i64| {
            let value = if value < 0 { value.saturating_add(size) } else { value };
            usize::try_from(value.clamp(0, size)).unwrap_or(0)
        };
        listed[axis] = (bound(*starts.get(at)?)..bound(*ends.get(at)?)).collect();
    }
    let order: Vec<usize> = (0..block.dims.len()).collect();
    Some(block.pick(&listed, &order))
}

fn gathered(block: &Block, indices: &TensorProto, axis: usize) -> Option<Block> {
    let indices = Block::of(indices)?;
    let places: Option<Vec<usize>> = indices
        .read_int64s()?
        .into_iter()
        .map(|index| from_front(index, block.dims[axis]))
        .collect();
    let places = places?;
    if places.len() > block.dims[axis].max(1) {
        return None;
    }
    let mut listed = block.every();
    listed[axis] = places;
    let order: Vec<usize> = (0..block.dims.len()).collect();
    let picked = block.pick(&listed, &order);
    let mut dims = block.dims.clone();
    dims.splice(axis..=axis, indices.dims.iter().copied());
    picked.reshaped(dims)
}

/// The shape that a `Reshape` of `dims` gives.
pub(super) fn target(dims: &[usize], wanted: &[i64]) -> Option<Vec<usize>> {
    let mut target: Vec<usize> = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (at, size) in wanted.iter().enumerate() {
        target.push(match size {
            0 => *dims.get(at)?,
            -1 => {
                open = Some(at);
                1
            }
            size => usize::try_from(*size).ok()?,
        });
    }
    let (have, known) = (elements(dims)?, elements(&target)?);
    if let Some(open) = open {
        target[open] = have.checked_div(known)?;
    }
    Some(target)
}

fn cast(block: &Block, to: i64) -> Option<Block> {
    if i64::from(block.data_type) == to {
        return Some(block.clone());
    }
    let values = block.read_int64s()?;
    let (size, bytes) = if to == i64::from(INT64) {
        (8, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    } else if to == i64::from(INT32) {
        let narrow: Option<Vec<i32>> =
            values.iter().map(|value| i32::try_from(*value).ok()).collect();
        (4, narrow?.iter().flat_map(|value| value.to_le_bytes()).collect())
    } else {
        return None;
    };
    Some(Block { dims: block.dims.clone(), data_type: i32::try_from(to).ok()?, size, bytes })
}

fn split(node: &NodeProto, block: &Block, sizes: Option<Vec<i64>>) -> Option<Vec<Block>> {
    let axis = from_front(int(node, "axis", 0), block.dims.len())?;
    let parts = node.output.len();
    let stated = node.attribute("split").map(|attribute| attribute.ints.clone()).or(sizes);
    let sizes: Vec<usize> = match stated {
        Some(sizes) => {
            sizes.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?
        }
        None if block.dims[axis].is_multiple_of(parts) => vec![block.dims[axis] / parts; parts],
        None => return None,
    };
    if sizes.len() != parts || sizes.iter().sum::<usize>() != block.dims[axis] {
        return None;
    }
    let order: Vec<usize> = (0..block.dims.len()).collect();
    let mut from = 0;
    let part = |size: &usize| {
        let mut listed = block.every();
        listed[axis] = (from..from + size).collect();
        from += size;
        block.pick(&listed, &order)
    };
    Some(sizes.iter().map(part).collect())
}

/// Removes nodes that hand on what they read, and pairs of transposes that cancel each other.
/// Returns how many transposes went.
pub(super) fn cancel(graph: &mut GraphProto) -> usize {
    let given: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut aliases: HashMap<String, String> = HashMap::new();
    // What a transpose reads, and how it orders the axes.
    let mut transposed: HashMap<String, (String, Vec<usize>)> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    let mut cancelled = 0;
    for mut node in graph.node.drain(..) {
        rename_reads(&mut node, &aliases);
        let output = node.output.first().cloned().unwrap_or_default();
        let is_given = given.contains(&output);
        let is_handed_on = node.op_type == "Identity"
            || node.op_type == "Concat" && node.input.len() == 1 && node.output.len() == 1;
        if is_handed_on && !is_given {
            aliases.insert(output, node.input[0].clone());
            continue;
        }
        if node.op_type == "Transpose"
            && let Some(mut order) = permutation(&node, None)
        {
            let mut reads = node.input[0].clone();
            if let Some((source, first)) = transposed.get(&reads)
                && order.iter().all(|axis| *axis < first.len())
            {
                order = order.iter().map(|axis| first[*axis]).collect();
                source.clone_into(&mut reads);
                cancelled += 1;
            }
            if order.is_sorted() && !is_given {
                cancelled += 1;
                aliases.insert(output, reads);
                continue;
            }
            let signed: Vec<i64> = (0..).take(order.len()).collect();
            let perm: Vec<i64> = order.iter().map(|axis| signed[*axis]).collect();
            node = NodeProto::new("Transpose", &node.name, &[&reads], &[&output])
                .with_ints("perm", &perm);
            transposed.insert(output, (reads, order));
        }
        kept.push(node);
    }
    graph.node = kept;
    hand_out_directly(graph, &given);
    cancelled
}

/// Has a node write an output of the graph itself where only an `Identity` lies between.
fn hand_out_directly(graph: &mut GraphProto, given: &HashSet<String>) {
    let mut written: HashSet<String> =
        graph.node.iter().flat_map(|node| &node.output).cloned().collect();
    let is_copy = |node: &NodeProto, written: &HashSet<String>| {
        node.op_type == "Identity"
            && given.contains(&node.output[0])
            && !given.contains(&node.input[0])
            && written.contains(&node.input[0])
    };
    while let Some(at) = graph.node.iter().position(|node| is_copy(node, &written)) {
        let node = graph.node.remove(at);
        written.remove(&node.input[0]);
        super::net::rename_value(graph, &node.input[0], &node.output[0]);
    }
}

/// Leaves out first states of recurrent operators that are zeros of whatever shape: that is what
/// the operator begins with anyway. Returns how many operators had them.
pub(super) fn drop_zero_states(graph: &mut GraphProto) -> usize {
    let zeros = zeros(graph);
    let mut dropped = 0;
    for node in graph.node.iter_mut().filter(|node| super::net::is_recurrent(node)) {
        let mut had = false;
        for at in super::net::INITIAL {
            if let Some(name) = node.input.get_mut(at)
                && zeros.contains(name.as_str())
            {
                name.clear();
                had = true;
            }
        }
        while node.input.last().is_some_and(String::is_empty) {
            node.input.pop();
        }
        dropped += usize::from(had);
    }
    dropped
}

/// The values that are zero everywhere, whatever their shape is.
fn zeros(graph: &GraphProto) -> HashSet<String> {
    let is_zero = |tensor: &TensorProto| {
        Block::of(tensor).is_some_and(|block| block.bytes.iter().all(|byte| *byte == 0))
    };
    let of_tensors = graph.initializer.iter().filter(|tensor| is_zero(tensor));
    let mut zeros: HashSet<String> = of_tensors.map(|tensor| tensor.name.clone()).collect();
    for node in &graph.node {
        let first = || node.input.first().is_some_and(|name| zeros.contains(name));
        let is_zero = match node.op_type.as_str() {
            "ConstantOfShape" => match node.attribute("value") {
                None => true,
                Some(attribute) => attribute.t.as_ref().is_some_and(is_zero),
            },
            "Expand" | "Identity" | "Unsqueeze" | "Squeeze" | "Slice" | "Split" | "Transpose"
            | "Reshape" | "Cast" | "Gather" | "Tile" => first(),
            "Concat" => node.input.iter().all(|name| zeros.contains(name)),
            _ => false,
        };
        if is_zero {
            zeros.extend(node.output.iter().filter(|name| !name.is_empty()).cloned());
        }
    }
    zeros
}
