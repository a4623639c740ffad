//! Which inputs and outputs of a graph are what.
//!
//! Owns the sorting of inputs into rows, states and the rest: by the wiring of recurrent operators
//! first, then by shape, which a run has to confirm. Promises that an input which pairs with
//! nothing never becomes a state. Never looks at what a name says.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::net::{FINAL, INITIAL, constants, graph, is_recurrent};
use super::probe::Side;
use super::{Hints, StateFacts, quoted, size_of};
use crate::engine::inference::trial::Element;
use crate::engine::onnx::{
    BOOL, DOUBLE, FLOAT, FLOAT16, GraphProto, INT32, INT64, ModelProto, NodeProto, ValueInfoProto,
};

/// An input or output with what the file says of it.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) dims: Vec<Option<usize>>,
}

/// The inputs and outputs of a graph, sorted.
pub(super) struct Parts {
    pub(super) input: Port,
    pub(super) output: String,
    pub(super) others: Vec<String>,
    pub(super) states: Vec<StateFacts>,
    /// The states as inputs that begin from zero.
    pub(super) sides: Vec<Side>,
    pub(super) extras: Vec<Side>,
    /// The inputs that have the shape of an output, with that output, and nothing else in common.
    pub(super) by_shape: Vec<(String, String)>,
}

/// Operators that hand a state on in another shape.
const MOVES: &[&str] = &[
    "Cast",
    "Concat",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The most layers that are stacked in a state.
const LAYERS_MAX: usize = 64;

/// The widest state.
const WIDTH_MAX: usize = 16_384;

/// The most elements of an input that belongs to nothing.
const EXTRA_ELEMENTS_MAX: usize = 1 << 20;

/// A first or last state of a recurrent operator: the node, and which of its states.
type Place = (usize, usize);

fn port(value: &ValueInfoProto) -> Option<Port> {
    let element = match value.elem_type()? {
        FLOAT => Element::F32,
        // The runs have casts where elements are 16-bit floats of either kind.
        FLOAT16 | 16 => Element::F16,
        DOUBLE => Element::F64,
        INT32 => Element::I32,
        INT64 => Element::I64,
        BOOL => Element::Bool,
        _ => Element::Other,
    };
    let dims = value.shape()?.into_iter().map(size_of).collect();
    Some(Port { name: value.name.clone(), element, dims })
}

impl Port {
    fn is_float(&self) -> bool {
        matches!(self.element, Element::F16 | Element::F32 | Element::F64)
    }

    fn has_free_axis(&self) -> bool {
        self.dims.iter().any(Option::is_none)
    }
}

/// Sorts inputs and outputs; `pairs_by_shape` says whether an equal shape makes a state.
pub(super) fn sort(
    model: &ModelProto,
    hints: &Hints,
    pairs_by_shape: bool,
) -> Result<Parts, Vec<String>> {
    let graph = graph(model);
    let fixed = constants(graph);
    let open = graph.input.iter().filter(|input| !fixed.contains_key(input.name.as_str()));
    let (mut inputs, mut problems) = (Vec::new(), Vec::new());
    for value in open {
        let name = quoted(&value.name);
        match port(value) {
            Some(port) => inputs.push(port),
            None => problems.push(format!(
                "input `{name}` is not a tensor with a known number of axes: export it as [B,T,F]"
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let begun = begun(graph, &inputs);
    let ended = ended(graph);
    let mut pairs = by_wiring(&inputs, &begun, &ended);
    let input = rows(graph, &inputs, &begun, &pairs).map_err(|problem| vec![problem])?;
    let outputs = forecast(graph, &pairs, &ended, hints).map_err(|problem| vec![problem])?;
    let wired = pairs.len();
    if pairs_by_shape {
        let open: Vec<&Port> = inputs
            .iter()
            .filter(|port| port.name != input.name && port.is_float())
            .filter(|port| !hints.constants.contains_key(&port.name))
            .collect();
        by_shape(graph, &open, &outputs[0], &mut pairs);
    }
    let mut parts = Parts {
        output: outputs[0].clone(),
        others: outputs[1..]
            .iter()
            .filter(|name| !pairs.iter().any(|(_, output)| output == *name))
            .cloned()
            .collect(),
        states: Vec::new(),
        sides: Vec::new(),
        extras: Vec::new(),
        by_shape: pairs[wired..].to_vec(),
        input: input.clone(),
    };
    for port in inputs.iter().filter(|port| port.name != input.name) {
        let paired = pairs.iter().find(|(name, _)| *name == port.name);
        match paired.map(|(_, output)| state(port, output)) {
            Some(Ok((facts, side))) => {
                parts.states.push(facts);
                parts.sides.push(side);
            }
            Some(Err(problem)) => problems.push(problem),
            None => {
                let sizes = port.dims.iter().map(|size| size.unwrap_or(1));
                if sizes.fold(1, usize::saturating_mul) > EXTRA_ELEMENTS_MAX {
                    let name = quoted(&port.name);
                    problems.push(format!("input `{name}` {:?} is too large", port.dims));
                } else {
                    parts.extras.push(extra(port, begun.contains_key(&port.name)));
                }
            }
        }
    }
    if problems.is_empty() { Ok(parts) } else { Err(problems) }
}

/// The first states of recurrent operators that each input reaches by moves alone.
fn begun(graph: &GraphProto, inputs: &[Port]) -> HashMap<String, BTreeSet<Place>> {
    // What each value is made of by moves alone.
    let mut made: HashMap<&str, BTreeSet<&str>> =
        inputs.iter().map(|port| (port.name.as_str(), BTreeSet::from([&*port.name]))).collect();
    let mut begun: HashMap<String, BTreeSet<Place>> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        if is_recurrent(node) {
            for (which, place) in INITIAL.into_iter().enumerate() {
                let sources = node.input.get(place).and_then(|name| made.get(name.as_str()));
                for source in sources.into_iter().flatten() {
                    begun.entry((*source).to_owned()).or_default().insert((at, which));
                }
            }
        } else if MOVES.contains(&node.op_type.as_str()) {
            let sources: BTreeSet<&str> =
                moved(node).filter_map(|name| made.get(name)).flatten().copied().collect();
            if !sources.is_empty() {
                for name in &node.output {
                    made.insert(name.as_str(), sources.clone());
                }
            }
        }
    }
    begun
}

/// The inputs of a move whose elements are in its output.
fn moved(node: &NodeProto) -> impl Iterator<Item = &str> {
    let count = if node.op_type == "Concat" { usize::MAX } else { 1 };
    node.input.iter().take(count).map(String::as_str)
}

/// The last states of recurrent operators that each output is made of by moves alone.
fn ended(graph: &GraphProto) -> HashMap<String, BTreeSet<Place>> {
    let mut made: HashMap<&str, BTreeSet<Place>> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        if is_recurrent(node) {
            for (which, place) in FINAL.into_iter().enumerate() {
                if let Some(name) = node.output.get(place) {
                    made.insert(name, BTreeSet::from([(at, which)]));
                }
            }
        } else if MOVES.contains(&node.op_type.as_str()) {
            let sources: BTreeSet<Place> =
                moved(node).filter_map(|name| made.get(name)).flatten().copied().collect();
            if !sources.is_empty() {
                for name in &node.output {
                    made.insert(name, sources.clone());
                }
            }
        }
    }
    let of_output = |name: &String| Some((name.clone(), made.get(name.as_str())?.clone()));
    graph.output.iter().filter_map(|output| of_output(&output.name)).collect()
}

/// Inputs and outputs that begin and end the same states.
fn by_wiring(
    inputs: &[Port],
    begun: &HashMap<String, BTreeSet<Place>>,
    ended: &HashMap<String, BTreeSet<Place>>,
) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for port in inputs.iter().filter(|port| port.is_float()) {
        let Some(places) = begun.get(&port.name) else { continue };
        let is_free = |name: &str| pairs.iter().all(|(_, output)| output != name);
        let mut fitting: Vec<&String> = ended
            .iter()
            .filter(|(name, ends)| *ends == places && is_free(name))
            .map(|(name, _)| name)
            .collect();
        fitting.sort();
        if let Some(output) = fitting.first() {
            pairs.push((port.name.clone(), (*output).clone()));
        }
    }
    pairs
}

/// The input of the rows: of those that are no states, the one whose sizes are free, with the axes
/// of a window.
fn rows(
    graph: &GraphProto,
    inputs: &[Port],
    begun: &HashMap<String, BTreeSet<Place>>,
    pairs: &[(String, String)],
) -> Result<Port, String> {
    let is_state = |port: &Port| {
        pairs.iter().any(|(input, _)| *input == port.name) || begun.contains_key(&port.name)
    };
    let open: Vec<&Port> =
        inputs.iter().filter(|port| port.is_float() && !is_state(port)).collect();
    // A shape that an output has too may be a state without a recurrent operator.
    let is_given_back = |port: &Port| {
        let same = |value: &ValueInfoProto| {
            let other = crate::seal::graph::states::port(value);
            other.is_some_and(|other| other.dims == port.dims)
        };
        graph.output.iter().skip(1).any(same)
    };
    let rank = |port: &Port| {
        let has_axes = usize::from(matches!(port.dims.len(), 2 | 3));
        // Where all sizes are fixed, the axes of 1 distinguish a constant of one row from a window.
        let axes = port.dims.iter().filter(|size| **size != Some(1)).count();
        let is_other = usize::from(!is_given_back(port));
        (usize::from(port.has_free_axis()), has_axes, is_other, port.dims.len() == 3, axes)
    };
    let best = open.iter().map(|port| rank(port)).max();
    let mut of_best = open.iter().filter(|port| Some(rank(port)) == best);
    match (of_best.next(), of_best.next()) {
        (Some(port), None) => Ok((*port).clone()),
        (None, _) if inputs.is_empty() => Err("the graph has no input".to_owned()),
        (None, _) => {
            let names = inputs.iter().map(|port| format!("`{}`", quoted(&port.name)));
            Err(format!(
                "no input takes rows of floats: there are {}",
                super::in_words(names.take(8))
            ))
        }
        (Some(one), Some(other)) => Err(format!(
            "inputs `{}` and `{}` could both be the rows: export the model with one input of \
             rows, [B,T,F], and join them inside of it",
            quoted(&one.name),
            quoted(&other.name)
        )),
    }
}

/// The outputs that could be the forecast, the likely one first.
fn forecast(
    graph: &GraphProto,
    pairs: &[(String, String)],
    ended: &HashMap<String, BTreeSet<Place>>,
    hints: &Hints,
) -> Result<Vec<String>, String> {
    let names: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let is_float = |name: &String| {
        let value = graph.output.iter().find(|output| output.name == *name);
        value.and_then(port).is_none_or(|port| port.is_float())
    };
    let is_state = |name: &String| pairs.iter().any(|(_, output)| output == name);
    let mut open: Vec<String> =
        names.iter().filter(|name| !is_state(name) && is_float(name)).cloned().collect();
    // The last state of a layer is an output of PyTorch's and Keras' layers, and no forecast.
    open.sort_by_key(|name| ended.contains_key(name));
    if let Some(wanted) = &hints.output {
        let at = open.iter().position(|name| name == wanted).ok_or_else(|| {
            let known = crate::core::text::suggestion(wanted, names.iter().map(String::as_str));
            format!("no output of floats is called `{}`{known}", quoted(wanted))
        })?;
        open.swap(0, at);
    }
    if open.is_empty() { Err("the graph gives no floats".to_owned()) } else { Ok(open) }
}

/// Pairs what is left by equal shapes, in the order of the file, where the output is computed from
/// the input.
fn by_shape(
    graph: &GraphProto,
    inputs: &[&Port],
    forecast: &str,
    pairs: &mut Vec<(String, String)>,
) {
    let used: HashSet<String> = pairs.iter().map(|(_, output)| output.clone()).collect();
    let mut outputs: Vec<Port> = graph
        .output
        .iter()
        .filter(|output| output.name != forecast && !used.contains(&output.name))
        .filter_map(port)
        .collect();
    for input in inputs {
        let is_paired = pairs.iter().any(|(name, _)| *name == input.name);
        if is_paired || !matches!(input.dims.len(), 2 | 3) {
            continue;
        }
        let reached = reached(graph, &input.name);
        let fits =
            |output: &Port| output.dims == input.dims && reached.contains(output.name.as_str());
        if let Some(at) = outputs.iter().position(fits) {
            pairs.push((input.name.clone(), outputs.remove(at).name));
        }
    }
}

/// The values that are computed from an input.
fn reached<'g>(graph: &'g GraphProto, input: &str) -> HashSet<&'g str> {
    let mut reached: HashSet<&str> = HashSet::new();
    for node in &graph.node {
        let mut reads = super::net::reads(node).into_iter();
        if reads.any(|name| name == input || reached.contains(name.as_str())) {
            reached.extend(node.output.iter().map(String::as_str));
        }
    }
    reached
}

fn state(port: &Port, output: &str) -> Result<(StateFacts, Side), String> {
    let rank = port.dims.len();
    let free: Vec<usize> = (0..rank).filter(|axis| port.dims[*axis].is_none()).collect();
    let batch_axis = match free.as_slice() {
        [axis] if *axis + 1 < rank => *axis,
        _ => usize::from(rank == 3),
    };
    let sizes: Option<Vec<usize>> =
        (0..rank).filter(|axis| *axis != batch_axis).map(|axis| port.dims[axis]).collect();
    let (layers, width) = match (rank, sizes.as_deref()) {
        (2, Some([width])) if *width <= WIDTH_MAX => (1, *width),
        (3, Some([layers, width])) if *layers <= LAYERS_MAX && *width <= WIDTH_MAX => {
            (*layers, *width)
        }
        _ => {
            return Err(format!(
                "state `{}` is {:?}: a state is [L,B,H], [B,L,H] or [B,H] with at most \
                 {LAYERS_MAX} fixed layers of a fixed width up to {WIDTH_MAX}",
                quoted(&port.name),
                port.dims
            ));
        }
    };
    let dims = port.dims.iter().map(|size| size.unwrap_or(1)).collect();
    let (input, output) = (port.name.clone(), output.to_owned());
    let (element, batch_axis_of_side) = (port.element, Some(batch_axis));
    let facts = StateFacts { input, output, layers, width, rank, batch_axis };
    let name = port.name.clone();
    let side = Side { name, element, dims, batch_axis: batch_axis_of_side, values: vec![0.0] };
    Ok((facts, side))
}

/// An input that pairs with nothing. Zero begins a recurrent operator as well as nothing would;
/// elsewhere one changes no product.
fn extra(port: &Port, is_begin: bool) -> Side {
    let free = port.dims.iter().position(Option::is_none);
    Side {
        name: port.name.clone(),
        element: port.element,
        dims: port.dims.iter().map(|size| size.unwrap_or(1)).collect(),
        batch_axis: free,
        values: vec![if is_begin { 0.0 } else { 1.0 }],
    }
}

/// What the hints say that no run can be made with.
pub(super) fn check_hints(parts: &Parts, hints: &Hints) -> Vec<String> {
    let mut problems = Vec::new();
    if let ([Some(rows), Some(width)], Some(window), Some(features)) =
        (&parts.input.dims[..], hints.window, hints.features)
        && (*rows, *width) == (window, features)
        && window > 1
    {
        problems.push(format!(
            "input `{}` is [{window},{features}], a window without an axis of the batch: export it \
             as [B,{window},{features}]",
            quoted(&parts.input.name)
        ));
    }
    for extra in &parts.extras {
        let size: usize = extra.dims.iter().product();
        let count = hints.constants.get(&extra.name).map_or(1, Vec::len);
        if count != 1 && count != size {
            problems.push(format!(
                "constants.{}: has {count} numbers, and the input is {:?}: give one number, or \
                 {size}",
                quoted(&extra.name),
                extra.dims
            ));
        }
    }
    problems
}

/// Why there may be an input that belongs to nothing.
pub(super) fn cause(extra: &Side, parts: &Parts) -> String {
    let name = quoted(&extra.name);
    let shape = &extra.dims;
    if let Some((_, output)) = parts.by_shape.iter().find(|(input, _)| *input == extra.name) {
        return format!(
            "input `{name}` {shape:?} has the shape of output `{}`, but single steps with it as a \
             state do not give what the window gives, so it is not a state: it may be a constant \
             that the exporter lost; give its value as a constant",
            quoted(output)
        );
    }
    if extra.values == [0.0] {
        return format!(
            "input `{name}` begins a recurrent layer, and no output gives it back: export the \
             layer's last state as an output too, or give it as a constant"
        );
    }
    format!(
        "input `{name}` {shape:?} belongs to no state: it looks like a constant that the exporter \
         lost, as Keras' does with the mean and variance of `Normalization`: take the layer out of \
         the model and scale by the bundle's scaler, or give its value as a constant"
    )
}

/// Splits stacked states into `[1,B,H]`, in and out, and wires pieces directly where the graph
/// takes a stack apart again.
pub(super) fn wire_pieces(graph: &mut GraphProto, inputs: &[String]) {
    let mut pieces: HashMap<String, Vec<String>> =
        inputs.iter().map(|name| (name.clone(), vec![name.clone()])).collect();
    let mut aliases: HashMap<String, String> = HashMap::new();
    let lists = integers(graph);
    let given: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for mut node in graph.node.drain(..) {
        super::net::rename_reads(&mut node, &aliases);
        if is_recurrent(&node) && super::net::text(&node, "direction", "forward") == "forward" {
            for place in FINAL {
                if let Some(name) = node.output.get(place).filter(|name| !name.is_empty()) {
                    pieces.insert(name.clone(), vec![name.clone()]);
                }
            }
        }
        let found = taken_apart(&node, &pieces, &lists);
        match found {
            Some(found) if found.len() == node.output.len() => {
                let mut is_whole = true;
                for (output, piece) in node.output.iter().zip(&found) {
                    if !given.contains(output) {
                        aliases.insert(output.clone(), piece.clone());
                    } else if !given.contains(piece)
                        && !renamed.contains_key(piece)
                        && !inputs.contains(piece)
                    {
                        renamed.insert(piece.clone(), output.clone());
                    } else {
                        is_whole = false;
                    }
                }
                if !is_whole {
                    kept.push(node);
                }
                continue;
            }
            Some(stack) => {
                pieces.insert(node.output[0].clone(), stack);
            }
            None => {}
        }
        kept.push(node);
    }
    graph.node = kept;
    for (piece, output) in renamed {
        super::net::rename_value(graph, &piece, &output);
    }
}

/// Constant lists of whole numbers by name. A number without an axis is no list: as an index it
/// drops an axis.
fn integers(graph: &GraphProto) -> HashMap<String, Vec<i64>> {
    let read = |tensor: &crate::engine::onnx::TensorProto| {
        let values = tensor.read_int64s().filter(|_| tensor.dims.len() == 1)?;
        Some((tensor.name.clone(), values))
    };
    graph.initializer.iter().filter_map(read).collect()
}

/// The pieces that a node's outputs are, one for each; or all pieces that its only output stacks.
fn taken_apart(
    node: &NodeProto,
    pieces: &HashMap<String, Vec<String>>,
    lists: &HashMap<String, Vec<i64>>,
) -> Option<Vec<String>> {
    let axis = super::net::int(node, "axis", 0);
    let list = |at: usize| node.input.get(at).and_then(|name| lists.get(name));
    let of_first = || pieces.get(node.input.first()?);
    match node.op_type.as_str() {
        "Concat" if axis == 0 && (2..=LAYERS_MAX).contains(&node.input.len()) => {
            let all: Option<Vec<Vec<String>>> =
                node.input.iter().map(|name| pieces.get(name).cloned()).collect();
            Some(all?.concat()).filter(|pieces| pieces.len() <= LAYERS_MAX)
        }
        "Slice" if list(3).is_some_and(|axes| axes == &[0]) => {
            let is_step_one = node.input.get(4).is_none_or(|name| {
                name.is_empty() || lists.get(name).is_some_and(|steps| steps == &[1])
            });
            let [start, end] = [list(1)?.first()?, list(2)?.first()?];
            let at = usize::try_from(*start).ok()?;
            let piece = of_first()?.get(at)?;
            (is_step_one && *end == start + 1).then(|| vec![piece.clone()])
        }
        "Gather" if axis == 0 => {
            let name = node.input.get(1)?;
            let at = usize::try_from(*lists.get(name)?.first()?).ok()?;
            let is_one = lists.get(name)?.len() == 1;
            is_one.then(|| of_first()?.get(at).cloned()).flatten().map(|piece| vec![piece])
        }
        "Split" if axis == 0 => {
            let stack = of_first()?;
            (stack.len() == node.output.len() && stack.len() > 1).then(|| stack.clone())
        }
        _ => None,
    }
}
