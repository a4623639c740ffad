//! Sizes that an exporter fixed, freed where the graph allows it.
//!
//! Owns the search for constants that hold the batch or the window the file was exported with.
//! Promises that for the sizes of the file nothing changes, and that a size is freed only where the
//! graph itself shows what it stands for. Never touches a weight.

use super::net::{constants, graph, graph_mut, int, prune};
use super::probe::{Drive, Shapes};
use crate::engine::inference::Runtime;
use crate::engine::onnx::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

/// A size that a file fixes.
#[derive(Clone, Copy)]
pub(super) enum Fixed {
    Batch(usize),
    Window(usize),
}

impl Fixed {
    fn size(self) -> usize {
        match self {
            Self::Batch(size) | Self::Window(size) => size,
        }
    }

    /// Batch and steps of two runs that have this size, and the next, in place of it.
    fn runs(self, batch: usize, steps: usize) -> [(usize, usize); 2] {
        match self {
            Self::Batch(size) => [(size + 1, steps), (size + 2, steps)],
            Self::Window(size) => [(batch, size + 1), (batch, size + 2)],
        }
    }
}

/// The most operators that are tried: each is a run of the graph up to it.
const TRIED_MAX: usize = 512;

/// Frees a size in the targets of `Reshape` operators, each judged with those before it freed.
/// `batch` and `steps` are what the graph runs for. Returns how many were changed.
pub(super) fn free(
    runtime: &dyn Runtime,
    model: &mut ModelProto,
    drive: &Drive,
    features: usize,
    [batch, steps]: [usize; 2],
    fixed: Fixed,
) -> usize {
    let (mut freed, mut tried) = (0, 0);
    for at in 0..graph(model).node.len() {
        let Some(target) = fixed_target(graph(model), at) else { continue };
        tried += 1;
        if tried > TRIED_MAX {
            break;
        }
        // What the operator reads, for two other sizes.
        let mut before = model.clone();
        let data = graph(model).node[at].input[0].clone();
        let inner = graph_mut(&mut before);
        inner.node.truncate(at);
        inner.output = vec![ValueInfoProto { name: data.clone(), ..ValueInfoProto::default() }];
        prune(inner);
        let runs = fixed.runs(batch, steps);
        let shapes = Shapes::of(runtime, &before, drive, features, &runs).ok();
        let read = shapes.as_ref().and_then(|shapes| shapes.get(&data));
        if let Some(free) = read.and_then(|dims| freed_target(dims, fixed.size(), &target)) {
            set_target(graph_mut(model), at, &free);
            freed += 1;
        }
    }
    freed
}

/// The constant target of a `Reshape`, in which a zero copies the size of what is read.
fn fixed_target(graph: &GraphProto, at: usize) -> Option<Vec<i64>> {
    let node = &graph.node[at];
    let name = node.input.get(1).filter(|_| node.op_type == "Reshape")?;
    let target = constants(graph).get(name.as_str())?.read_int64s()?;
    let is_plain = int(node, "allowzero", 0) == 0 || !target.contains(&0);
    is_plain.then_some(target)
}

/// The same target without the size, or nothing where it is not in it. `dims` is what is read for
/// the next size and the one after.
fn freed_target(dims: &[Vec<usize>], size: usize, wanted: &[i64]) -> Option<Vec<i64>> {
    let [next, other] = dims else { return None };
    let axis = next.iter().zip(other).position(|(one, other)| one != other)?;
    let fixed = i64::try_from(size).ok()?;
    let mut free = wanted.to_vec();
    if free.get(axis) == Some(&fixed) && next[axis] == size + 1 {
        // A zero takes the size from what is read.
        free[axis] = 0;
        return Some(free);
    }
    // Whichever entry holds the size, alone or merged with another axis, takes what is left over.
    let mut read = next.clone();
    read[axis] = next[axis] / (size + 1) * size;
    let entry = |(at, entry): (usize, &i64)| match entry {
        0 => read.get(at).copied(),
        entry => usize::try_from(*entry).ok(),
    };
    let mut target = free.iter().enumerate().map(entry);
    let target =
        target.try_fold(1_usize, |product, entry| product.checked_mul(entry?)).unwrap_or(0);
    if target != read.iter().product::<usize>() {
        return None;
    }
    let place = free
        .iter()
        .position(|entry| *entry == fixed)
        .or_else(|| free.iter().position(|entry| *entry > 0 && entry % fixed == 0))?;
    free[place] = -1;
    Some(free)
}

fn set_target(graph: &mut GraphProto, at: usize, target: &[i64]) {
    let mut names = super::net::Names::of(graph);
    let name = names.fresh("free_shape");
    graph.initializer.push(TensorProto::int64s(&name, &[target.len()], target));
    let node = &mut graph.node[at];
    node.input[1] = name;
    // With it, a zero is a size of zero.
    node.attribute.retain(|attribute| attribute.name != "allowzero");
}

/// Has places that are the last step of a window of `window` steps counted from the end. What they
/// pick of a window of that length stays the same. `shapes` has one run, of that length.
pub(super) fn free_last_steps(graph: &mut GraphProto, shapes: &Shapes, window: usize) {
    let last = i64::try_from(window).unwrap_or(i64::MAX) - 1;
    let mut changes: Vec<(usize, usize, Vec<usize>, i64)> = Vec::new();
    {
        let known = constants(graph);
        for (at, node) in graph.node.iter().enumerate() {
            let Some(dims) = node.input.first().and_then(|name| shapes.get(name)?.first()) else {
                continue;
            };
            let list = |input: usize| known.get(node.input.get(input)?.as_str())?.read_int64s();
            let is_whole = |axis: i64| {
                super::net::from_front(axis, dims.len()).is_some_and(|axis| dims[axis] == window)
            };
            match node.op_type.as_str() {
                "Gather" if list(1) == Some(vec![last]) && is_whole(int(node, "axis", 0)) => {
                    let own = known.get(node.input[1].as_str());
                    let rank = own.map_or(0, |tensor| tensor.dims.len());
                    changes.push((at, 1, vec![1; rank], -1));
                }
                "Slice" if list(1) == Some(vec![last]) => {
                    let is_to_end = list(2).is_some_and(|ends| ends.len() == 1 && ends[0] > last);
                    let axis = list(3).map_or(0, |axes| axes.first().copied().unwrap_or(0));
                    if is_to_end && is_whole(axis) {
                        changes.push((at, 1, vec![1], -1));
                        changes.push((at, 2, vec![1], i64::MAX));
                    }
                }
                _ => {}
            }
        }
    }
    let mut names = super::net::Names::of(graph);
    for (at, input, dims, value) in changes {
        let name = names.fresh("last_step");
        graph.initializer.push(TensorProto::int64s(&name, &dims, &[value]));
        graph.node[at].input[input] = name;
    }
}

/// Makes constants of shapes that are computed, where every run shows the same rule: an axis is
/// copied, fixed, or the only one left over. Returns how many.
pub(super) fn fix_computed_shapes(graph: &mut GraphProto, shapes: &Shapes) -> usize {
    let mut fixed = Vec::new();
    {
        let known = constants(graph);
        for (at, node) in graph.node.iter().enumerate() {
            let is_computed = node.op_type == "Reshape"
                && node.input.get(1).is_some_and(|name| !known.contains_key(name.as_str()));
            let seen = is_computed
                .then(|| Some((shapes.get(&node.input[0])?, shapes.get(&node.output[0])?)))
                .flatten();
            if let Some((before, after)) = seen
                && let Some(target) = rule(before, after)
            {
                fixed.push((at, target));
            }
        }
    }
    for (at, target) in &fixed {
        set_target(graph, *at, target);
    }
    fixed.len()
}

fn rule(before: &[Vec<usize>], after: &[Vec<usize>]) -> Option<Vec<i64>> {
    let rank = after.first()?.len();
    let mut target = Vec::with_capacity(rank);
    let mut has_open = false;
    for axis in 0..rank {
        let is_copied =
            before.iter().zip(after).all(|(before, after)| before.get(axis) == Some(&after[axis]));
        let size = after[0][axis];
        let is_fixed = after.iter().all(|dims| dims[axis] == size);
        target.push(if is_copied {
            0
        } else if is_fixed {
            i64::try_from(size).ok()?
        } else if has_open {
            return None;
        } else {
            has_open = true;
            -1
        });
    }
    Some(target)
}
