//! How the axes of the rows are ordered, found out by running the graph.
//!
//! Owns the trials of each order and what an output's axes are. Promises that an order is taken
//! only where rows of a batch go their own ways in it, and that what neither the wiring nor a run
//! decides is left to be asked; a name or a symbol in the file decides nothing.

use std::collections::HashMap;

use super::net::{int, is_recurrent, permutation};
use super::probe::{Drive, Given, Probe, Windows};
use super::prove::OutputForm;
use super::states::Port;
use super::{Hints, Layout, quoted};
use crate::engine::inference::trial::Tensor;
use crate::engine::onnx::GraphProto;

/// The order of the axes, and sizes for which the graph runs.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) layout: Layout,
    /// Another order that nothing excludes: only the maker of the model knows.
    pub(super) other: Option<Layout>,
    /// B, where the graph runs for that size only.
    pub(super) batch: Option<usize>,
    /// T, where the file fixes it.
    pub(super) window: Option<usize>,
    /// F, where the file fixes it.
    pub(super) fixed_features: Option<usize>,
    /// T*F of a flattened window, where the file fixes it.
    pub(super) width: Option<usize>,
    /// A T that it runs for.
    pub(super) steps: usize,
    /// The F that it runs for.
    pub(super) features: usize,
}

/// What a trial of an order says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Rows influence one another, so this is no axis of a batch.
    Mixed,
    /// It runs, and a batch of one says nothing.
    Open,
    /// Rows go their own ways.
    Fits,
}

/// The order with what was seen of it.
struct Tried {
    layout: Layout,
    verdict: Verdict,
    batch: usize,
    steps: usize,
    features: usize,
    rows_of_output: Option<usize>,
}

/// Rows of a batch that differ.
const BATCH_TRIED: usize = 3;

/// Lengths of windows that are tried where nothing says one.
const STEPS_TRIED: &[usize] = &[5, 8, 16, 30, 32, 60, 64];

/// The most numbers of all windows of a run.
pub(super) const ROWS_ELEMENTS_MAX: usize = 16 << 20;

/// The most numbers of a window in an output.
const COLUMNS_MAX: usize = 4096;

/// Finds the order, and leaves the drive in it.
pub(super) fn find(
    probe: &mut Probe,
    drive: &mut Drive,
    input: &Port,
    output: &str,
    wired: Option<Layout>,
    hints: &Hints,
) -> Result<Found, String> {
    let name = quoted(&input.name);
    let dims = &input.dims;
    let axes = match dims.len() {
        2 => return flattened(probe, drive, input, hints),
        3 => [dims[0], dims[1], dims[2]],
        rank => {
            return Err(format!(
                "input `{name}` has {rank} axes: a window has two of its own, steps and \
                 features, with the batch before or between them: export a model that takes \
                 [B,T,F]"
            ));
        }
    };
    let orders = orders(axes, wired, hints);
    if orders.iter().all(|order| order.features(axes, hints).is_none()) {
        return Err(format!(
            "input `{name}` does not say how many features a row has: give --features, and \
             --window where it does not say how many steps a window has"
        ));
    }
    let mut tried: Vec<Tried> = Vec::new();
    let mut complaint = None;
    for order in &orders {
        let Some(features) = order.features(axes, hints) else { continue };
        let places = order.places;
        drive.layout = order.layout;
        let sizes = [axes[places[0]], axes[places[1]]];
        match attempt(probe, drive, sizes, features, output, hints) {
            Ok(found) => tried.push(found),
            Err(said) => drop(complaint.get_or_insert(said)),
        }
    }
    let (chosen, other) = choose(&tried).ok_or_else(|| match complaint {
        Some(said) if tried.is_empty() => {
            format!("the graph does not run as it was exported: {said}")
        }
        _ => format!(
            "input `{name}`: no order of its axes keeps the rows of a batch apart, so its batch \
             axis cannot be found: export it with a free batch axis first, [B,T,F], or give \
             window.layout"
        ),
    })?;
    let order = Order::of(chosen.layout);
    let places = order.places;
    let is_batch_free = axes[places[0]].is_none() && chosen.batch > 1;
    drive.layout = chosen.layout;
    Ok(Found {
        layout: chosen.layout,
        other,
        batch: (!is_batch_free).then_some(chosen.batch),
        window: axes[places[1]],
        fixed_features: axes[places[2]],
        width: None,
        steps: chosen.steps,
        features: chosen.features,
    })
}

/// An order of the axes: the places of batch, time and features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    layout: Layout,
    places: [usize; 3],
}

impl Order {
    fn of(layout: Layout) -> Self {
        let places = match layout {
            Layout::BatchFirst | Layout::Flattened => [0, 1, 2],
            Layout::TimeMajor => [1, 0, 2],
            Layout::FeaturesFirst => [0, 2, 1],
        };
        Self { layout, places }
    }

    /// F, where the file or a hint says it.
    fn features(self, axes: [Option<usize>; 3], hints: &Hints) -> Option<usize> {
        axes[self.places[2]].or(hints.features)
    }

    /// Whether no size of the file contradicts the hints.
    fn fits(self, axes: [Option<usize>; 3], hints: &Hints) -> bool {
        let agree = |axis: Option<usize>, hint: Option<usize>| {
            axis.zip(hint).is_none_or(|(axis, hint)| axis == hint)
        };
        agree(axes[self.places[1]], hints.window) && agree(axes[self.places[2]], hints.features)
    }
}

/// The orders to try: the one that is given or wired, else the usual ones, and features before time
/// where the sizes allow that.
fn orders(axes: [Option<usize>; 3], wired: Option<Layout>, hints: &Hints) -> Vec<Order> {
    let features_first = Order::of(Layout::FeaturesFirst);
    let mut orders = vec![Order::of(Layout::BatchFirst), Order::of(Layout::TimeMajor)];
    match (hints.layout, wired) {
        (Some(layout), _) if layout != Layout::Flattened => vec![Order::of(layout)],
        (_, Some(Layout::FeaturesFirst)) => vec![features_first],
        (_, Some(_)) => orders,
        _ if features_first.fits(axes, hints) => {
            // Where the sizes speak for it, they may speak against the others.
            orders.retain(|order| order.fits(axes, hints));
            orders.push(features_first);
            orders
        }
        _ => orders,
    }
}

/// The operators that keep the meaning of each axis, of the input that they read first or beside a
/// constant.
const KEEPS_AXES: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Conv",
    "Div",
    "Dropout",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "MatMul",
    "MaxPool",
    "Mul",
    "Relu",
    "Sigmoid",
    "Sub",
    "Tanh",
];

/// The order of the axes by the recurrent operator that reads the rows: its axes have a meaning.
pub(super) fn of_wiring(graph: &GraphProto, input: &str) -> Option<Layout> {
    // Of which axis of the rows each axis of a value is.
    let mut made: HashMap<&str, [usize; 3]> = HashMap::from([(input, [0, 1, 2])]);
    for node in &graph.node {
        let first = node.input.first().and_then(|name| made.get(name.as_str())).copied();
        let any = || node.input.iter().find_map(|name| made.get(name.as_str())).copied();
        let operator = node.op_type.as_str();
        let axes = match operator {
            _ if is_recurrent(node) => {
                let Some(axes) = first else { continue };
                let [time, batch] = if int(node, "layout", 0) == 1 { [1, 0] } else { [0, 1] };
                let places = [axes[batch], axes[time], axes[2]];
                let known = [Layout::BatchFirst, Layout::TimeMajor, Layout::FeaturesFirst];
                return known.into_iter().find(|layout| Order::of(*layout).places == places);
            }
            "Transpose" => first.zip(permutation(node, Some(3))).and_then(|(axes, order)| {
                let axis = |at: usize| axes.get(*order.get(at)?).copied();
                Some([axis(0)?, axis(1)?, axis(2)?])
            }),
            operator if KEEPS_AXES.contains(&operator) => any(),
            _ => None,
        };
        if let (Some(axes), Some(output)) = (axes, node.output.first()) {
            made.insert(output, axes);
        }
    }
    None
}

/// The order that fits alone or best, and another one that fits equally well.
fn choose(tried: &[Tried]) -> Option<(&Tried, Option<Layout>)> {
    let verdict = tried.iter().map(|tried| tried.verdict).max()?;
    // Rows mix (dynamic quantization does that): the output's rows are those of the batch.
    let is_best = |tried: &&Tried| {
        let has_rows = tried.rows_of_output == Some(tried.batch);
        tried.verdict == verdict && (verdict != Verdict::Mixed || has_rows)
    };
    let best: Vec<&Tried> = tried.iter().filter(is_best).collect();
    let (swapped, usual): (Vec<&Tried>, Vec<&Tried>) =
        best.into_iter().partition(|tried| tried.layout == Layout::FeaturesFirst);
    match (usual.as_slice(), swapped.first()) {
        ([_, _, ..], _) if verdict == Verdict::Mixed => None,
        // Of the usual orders that fit alike the first one is the more usual.
        ([first, ..], swapped) => Some((*first, swapped.map(|swapped| swapped.layout))),
        ([], swapped) => swapped.map(|swapped| (*swapped, None)),
    }
}

fn flattened(
    probe: &mut Probe,
    drive: &mut Drive,
    input: &Port,
    hints: &Hints,
) -> Result<Found, String> {
    let name = quoted(&input.name);
    let hinted = hints.window.zip(hints.features);
    let Some(width) =
        input.dims[1].or(hinted.map(|(window, features)| window.saturating_mul(features)))
    else {
        return Err(format!(
            "input `{name}` does not say how many numbers a window has: give --window and \
             --features"
        ));
    };
    drive.layout = Layout::Flattened;
    let (steps, features) =
        hinted.filter(|(one, other)| one.checked_mul(*other) == Some(width)).unwrap_or((1, width));
    let batches = input.dims[0].map_or(vec![BATCH_TRIED, 1], |batch| vec![batch]);
    let mut complaint = String::new();
    for batch in batches {
        check_size(&[batch, width]).map_err(|problem| format!("input `{name}`: {problem}"))?;
        match probe.run(drive, &Windows::random(batch, steps, features, 1)) {
            Ok(_) => {
                let is_free = input.dims[0].is_none() && batch > 1;
                return Ok(Found {
                    layout: Layout::Flattened,
                    other: None,
                    batch: (!is_free).then_some(batch),
                    window: None,
                    fixed_features: None,
                    width: input.dims[1],
                    steps,
                    features,
                });
            }
            Err(said) if complaint.is_empty() => complaint = said,
            Err(_) => {}
        }
    }
    Err(format!("the graph does not run as it was exported: {complaint}"))
}

/// A file may state any size; what it takes is made in memory.
fn check_size(sizes: &[usize]) -> Result<(), String> {
    let product = sizes.iter().fold(1_usize, |product, size| product.saturating_mul(*size));
    if product <= ROWS_ELEMENTS_MAX {
        Ok(())
    } else {
        Err(format!("{sizes:?} are more than {ROWS_ELEMENTS_MAX} numbers"))
    }
}

/// Runs the graph in one order, with the first sizes that it takes.
fn attempt(
    probe: &mut Probe,
    drive: &Drive,
    [batch, steps]: [Option<usize>; 2],
    features: usize,
    output: &str,
    hints: &Hints,
) -> Result<Tried, String> {
    let batches = batch.map_or(vec![BATCH_TRIED, 1], |batch| vec![batch]);
    let lengths = match steps.or(hints.window) {
        Some(steps) => vec![steps],
        None => STEPS_TRIED.to_vec(),
    };
    let mut complaint = None;
    for batch in batches {
        for steps in &lengths {
            check_size(&[batch, *steps, features])?;
            let windows = Windows::random(batch, *steps, features, 1);
            match probe.run(drive, &windows) {
                Ok(given) => return judge(probe, drive, &windows, &given, output),
                Err(said) => drop(complaint.get_or_insert(said)),
            }
        }
    }
    Err(complaint.unwrap_or_default())
}

fn judge(
    probe: &mut Probe,
    drive: &Drive,
    windows: &Windows,
    given: &Given,
    output: &str,
) -> Result<Tried, String> {
    let (batch, steps) = (windows.batch, windows.steps);
    let before = given.get(output).ok_or_else(|| format!("the graph gives no `{output}`"))?;
    let rows_of_output = before.dims.first().copied();
    let mut verdict = Verdict::Open;
    if batch > 1 {
        verdict = Verdict::Fits;
        // The first row and the last one, which the others must not notice.
        for at in [0, batch - 1] {
            let mut changed = windows.clone();
            let other = Windows::random(1, steps, windows.features, 7);
            let size = other.values.len();
            changed.values[at * size..][..size].copy_from_slice(&other.values);
            let after = probe.run(drive, &changed)?;
            let after = after.get(output).ok_or_else(|| format!("no `{output}` any more"))?;
            if !is_apart(before, after, batch, at) {
                verdict = Verdict::Mixed;
            }
        }
    }
    let features = windows.features;
    Ok(Tried { layout: drive.layout, verdict, batch, steps, features, rows_of_output })
}

/// Whether a changed row `at` changed only what is at that place of one axis of the output.
fn is_apart(before: &Tensor, after: &Tensor, batch: usize, at: usize) -> bool {
    let (Some(one), Some(other)) = (before.to_f32(), after.to_f32()) else { return false };
    if before.dims != after.dims {
        return false;
    }
    let changed: Vec<usize> = one
        .iter()
        .zip(&other)
        .enumerate()
        .filter(|(_, (one, other))| one.to_bits() != other.to_bits())
        .map(|(index, _)| index)
        .collect();
    let place = |index: usize, axis: usize| {
        let behind: usize = before.dims[axis + 1..].iter().product();
        index / behind % before.dims[axis]
    };
    let mut axes = (0..before.dims.len()).filter(|axis| before.dims[*axis] == batch);
    axes.any(|axis| changed.iter().all(|index| place(*index, axis) == at))
}

/// What the axes of an output are.
pub(super) fn form(
    probe: &mut Probe,
    drive: &Drive,
    found: &Found,
    output: &str,
    each_step: Option<bool>,
) -> Result<OutputForm, String> {
    let shown = quoted(output);
    let batch = found.batch.unwrap_or(BATCH_TRIED);
    let mut dims_of = |batch: usize, steps: usize| {
        let given = probe.run(drive, &Windows::random(batch, steps, found.features, 1))?;
        let tensor = given.get(output).ok_or_else(|| format!("no output is called `{shown}`"))?;
        if tensor.to_f32().is_none() {
            return Err(format!("output `{shown}` does not consist of floats"));
        }
        Ok(tensor.dims.clone())
    };
    let dims = dims_of(batch, found.steps)?;
    let moved = |other: Vec<usize>| {
        let axis = dims.iter().zip(&other).position(|(one, other)| one != other);
        axis.filter(|_| dims.len() == other.len())
    };
    let batch_axis = match found.batch {
        None => moved(dims_of(batch + 1, found.steps)?),
        Some(batch) => dims.iter().position(|size| *size == batch),
    };
    if batch_axis.is_none() && batch > 1 {
        return Err(format!(
            "output `{shown}` is {dims:?}, without an axis of the batch of {batch}: export the \
             model with a batch axis first, [B,T,F]"
        ));
    }
    // An axis as long as the fixed window may be its steps, or columns that are as many.
    let like_steps = || {
        (0..dims.len().min(2)).find(|axis| Some(*axis) != batch_axis && dims[*axis] == found.steps)
    };
    let mut may_be_steps = None;
    let time = match found.layout {
        Layout::Flattened => None,
        _ if found.window.is_none() => dims_of(batch, found.steps + 1)
            .ok()
            .and_then(moved)
            .filter(|axis| Some(*axis) != batch_axis),
        _ if each_step == Some(true) => Some(like_steps().ok_or_else(|| {
            let steps = found.steps;
            format!("output `{shown}` is {dims:?}, without an axis of the {steps} steps")
        })?),
        _ if each_step == Some(false) || dims.len() < 3 || found.steps == 1 => None,
        _ => match like_steps() {
            Some(axis) if follows_steps(probe, drive, found, batch, output, axis)? => Some(axis),
            other => {
                may_be_steps = other.map(|_| found.steps);
                None
            }
        },
    };
    let others = (0..dims.len()).filter(|axis| Some(*axis) != batch_axis && Some(*axis) != time);
    let columns: usize = others.map(|axis| dims[axis]).product();
    if columns == 0 || columns > COLUMNS_MAX {
        return Err(format!("output `{shown}` is {dims:?}: {columns} numbers of a window"));
    }
    Ok(OutputForm { rank: dims.len(), batch: batch_axis, time, columns, may_be_steps })
}

/// Whether the newest step of a window changes the newest place of this axis and no other: then it
/// is the axis of the steps. A layer that also reads the window backwards changes all of them, as a
/// layer of many horizons does.
fn follows_steps(
    probe: &mut Probe,
    drive: &Drive,
    found: &Found,
    batch: usize,
    output: &str,
    axis: usize,
) -> Result<bool, String> {
    let windows = Windows::random(batch, found.steps, found.features, 1);
    let mut run = |windows: &Windows| {
        let given = probe.run(drive, windows)?;
        let tensor = given.get(output).ok_or_else(|| format!("there is no `{output}`"))?;
        let values = tensor.to_f32().ok_or_else(|| format!("`{output}` has no floats"))?;
        Ok::<_, String>((tensor.dims.clone(), values))
    };
    let ((dims, before), (_, after)) = (run(&windows)?, run(&windows.with_other_end(7))?);
    let behind: usize = dims[axis + 1..].iter().product();
    let newest = dims[axis] - 1;
    let pairs = before.iter().zip(&after).enumerate();
    let mut changed =
        pairs.filter(|(_, (a, b))| a.to_bits() != b.to_bits()).map(|(at, _)| at).peekable();
    Ok(changed.peek().is_some() && changed.all(|at| at / behind % dims[axis] == newest))
}
