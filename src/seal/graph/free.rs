//! Sizes that an exporter fixed, freed where the graph allows it.
//!
//! Owns the search for constants that hold the batch or the window the file was exported with.
//! Promises that a
//! graph which still does not run for other batches is left as it was. Never touches a weight.

use super::net::{constants, graph, graph_mut, prune};
use super::probe::{Drive, Shapes};
use crate::engine::inference::Runtime;
use crate::engine::model::onnx::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

/// Frees the batch in the targets of `Reshape` operators. Returns how many were changed.
pub(super) fn free_batch(
    runtime: &dyn Runtime,
    model: &mut ModelProto,
    drive: &Drive,
    features: usize,
    steps: usize,
    batch: usize,
) -> usize {
    let mut freed = 0;
    let mut at = 0;
    while at < graph(model).node.len() {
        if let Some(wanted) = fixed_target(graph(model), at)
            && let Some(free) =
                freed_target(runtime, model, drive, features, steps, batch, at, &wanted)
        {
            set_target(graph_mut(model), at, &free);
            freed += 1;
        }
        at += 1;
    }
    freed
}

/// The constant target of a `Reshape`.
fn fixed_target(graph: &GraphProto, at: usize) -> Option<Vec<i64>> {
    let node = &graph.node[at];
    let name = node.input.get(1).filter(|_| node.op_type == "Reshape")?;
    constants(graph).get(name.as_str())?.read_int64s()
}

/// The same target without the batch, or nothing where it is not in it.
#[expect(clippy::too_many_arguments, reason = "all of them say which run is looked at")]
fn freed_target(
    runtime: &dyn Runtime,
    model: &ModelProto,
    drive: &Drive,
    features: usize,
    steps: usize,
    batch: usize,
    at: usize,
    wanted: &[i64],
) -> Option<Vec<i64>> {
    let data = graph(model).node[at].input.first()?.clone();
    // What the operator reads, for two batches.
    let mut before = model.clone();
    let inner = graph_mut(&mut before);
    inner.node.truncate(at);
    inner.output = vec![ValueInfoProto { name: data.clone(), ..ValueInfoProto::default() }];
    prune(inner);
    let sizes = [(batch + 1, steps), (batch + 2, steps)];
    let shapes = Shapes::of(runtime, &before, drive, features, &sizes).ok()?;
    let dims = shapes.get(&data)?;
    let axis = dims[0].iter().zip(&dims[1]).position(|(one, other)| one != other)?;
    let fixed = i64::try_from(batch).ok()?;
    let mut free = wanted.to_vec();
    if free.get(axis) == Some(&fixed) {
        // A zero takes the size from what is read.
        free[axis] = 0;
        return Some(free);
    }
    let whole = |dims: &[usize]| dims.iter().product::<usize>();
    let target: Option<usize> = free
        .iter()
        .map(|size| usize::try_from(*size).ok().filter(|size| *size > 0))
        .try_fold(1_usize, |product, size| product.checked_mul(size?));
    // Whichever entry holds the batch, alone or merged with another axis, takes what is left over.
    let target = target?;
    let each = whole(&dims[0]) / (batch + 1) * batch;
    if target != each {
        return None;
    }
    let place = free
        .iter()
        .position(|size| *size == fixed)
        .or_else(|| free.iter().position(|size| size % fixed == 0))?;
    free[place] = -1;
    Some(free)
}

fn set_target(graph: &mut GraphProto, at: usize, target: &[i64]) {
    let mut names = super::net::Names::of(graph);
    let name = names.fresh("free_shape");
    graph.initializer.push(TensorProto::int64s(&name, &[target.len()], target));
    graph.node[at].input[1] = name;
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
                "Gather"
                    if list(1) == Some(vec![last])
                        && is_whole(super::net::int(node, "axis", 0)) =>
                {
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
                && node.input.get(1).is_some_and(|name| !known.contains_key(name.as_str()))
                && super::net::int(node, "allowzero", 0) == 0;
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
