//! From an ONNX graph to a stack of layers, where it is one.
//!
//! Owns the forms that the native runtime takes: LSTM and GRU layers that run forward, one on the
//! other, the state of the last step of the last one, and dense layers behind it. Promises that
//! what it takes computes the same function, up to rounding, and that everything else is refused
//! with the node that does not fit. Never judges whether a graph may be run at all: the check of
//! the bundle does.

use std::collections::{HashMap, HashSet};

use super::dense::{Activation, Dense};
use super::layer::{Cell, Layer, LayerWeights};
use super::stack::Stack;
use crate::core::text::excerpt;
use crate::engine::inference::Signature;
use crate::engine::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

/// The characters of a name of the graph that are shown.
const NAME_CHARS_MAX: usize = 60;

/// The numbers of all weights together: those of the largest file that a bundle may have. Nodes may
/// share a tensor and each makes a copy, so the size of the file alone is no limit.
const FLOATS_MAX: usize = (64 << 20) / size_of::<f32>();

/// A list of axes or sizes is no longer.
const INTEGERS_MAX: usize = 64;

/// The rows of one run, T times B, that a graph may fix.
const FIXED_ROWS_MAX: usize = 1 << 16;

/// What a graph was read as.
pub(super) struct Read {
    pub(super) stack: Stack,
    /// Where each state of the signature lies in a window's states: its first number.
    pub(super) parts: Vec<usize>,
    pub(super) fixed: Fixed,
}

/// The sizes that the graph's inputs fix. Kernels take any, ONNX Runtime takes these alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::inference) struct Fixed {
    /// T.
    pub(in crate::engine::inference) steps: Option<usize>,
    /// B.
    pub(in crate::engine::inference) batch: Option<usize>,
}

/// An axis of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Steps,
    Windows,
    /// Of size 1: the direction of a layer, or the one step that was cut out.
    Single,
    Units,
}

/// What a name in the graph is.
#[derive(Clone)]
struct Value {
    from: From,
    axes: Vec<Axis>,
}

/// Who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Rows,
    /// The layer at this place: after every step, or after the last one where there is no axis of
    /// steps.
    Hidden(usize),
    Cell(usize),
    /// The dense layer at this place.
    Head(usize),
}

/// A layer that was read, and the names of its states.
struct Found<'g> {
    weights: Owned,
    hidden: Option<&'g str>,
    cell: Option<&'g str>,
}

/// The weights of a layer in this process.
struct Owned {
    cell: Cell,
    inputs: usize,
    units: usize,
    kernel: Vec<f32>,
    recurrent: Vec<f32>,
    bias: Vec<f32>,
}

/// A dense layer in the making: its bias and activation may be nodes behind it.
struct FoundDense {
    inputs: usize,
    outputs: usize,
    /// `[input][output]`.
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Option<Activation>,
}

/// A graph that is read node by node.
struct Reader<'g> {
    constants: HashMap<&'g str, &'g TensorProto>,
    values: HashMap<&'g str, Value>,
    states: HashMap<&'g str, usize>,
    layers: Vec<Found<'g>>,
    head: Vec<FoundDense>,
    /// Names that are given so far.
    given: HashSet<&'g str>,
    /// The numbers of the weights that were copied so far.
    floats_taken: usize,
}

/// Reads a graph.
///
/// # Errors
/// The node or name that does not fit, and why.
pub(super) fn read(onnx: &[u8], signature: &Signature) -> Result<Read, String> {
    let model = ModelProto::from_bytes(onnx)?;
    let graph = model.graph.as_ref().ok_or("there is no graph in it")?;
    let fixed = Fixed::of(graph, signature)?;
    let mut reader = Reader::new(graph, signature)?;
    for node in &graph.node {
        reader.take_once(node).map_err(|problem| {
            let name = excerpt(&node.name, NAME_CHARS_MAX);
            format!("{} `{name}`: {problem}", excerpt(&node.op_type, NAME_CHARS_MAX))
        })?;
    }
    let (stack, parts) = reader.finish(signature)?;
    Ok(Read { stack, parts, fixed })
}

impl Fixed {
    fn of(graph: &GraphProto, signature: &Signature) -> Result<Self, String> {
        let mut fixed = Self::default();
        for input in &graph.input {
            let is_rows = input.name == signature.input;
            if !is_rows && !signature.states.iter().any(|state| state.input == input.name) {
                continue;
            }
            // The first axis of a state is the direction.
            let steps = if is_rows { size_of_axis(input, 0)? } else { None };
            for (known, found) in
                [(&mut fixed.steps, steps), (&mut fixed.batch, size_of_axis(input, 1)?)]
            {
                if known.is_some() && found.is_some() && *known != found {
                    return Err("its inputs fix different numbers of windows".to_owned());
                }
                *known = known.or(found);
            }
        }
        let rows = fixed.steps.unwrap_or(1).checked_mul(fixed.batch.unwrap_or(1));
        if rows.is_none_or(|rows| rows == 0 || rows > FIXED_ROWS_MAX) {
            return Err("its inputs fix a shape without rows, or of too many".to_owned());
        }
        Ok(fixed)
    }
}

/// The size that an input fixes for one of its axes.
fn size_of_axis(input: &ValueInfoProto, axis: usize) -> Result<Option<usize>, String> {
    let shape = input.shape().unwrap_or_default();
    let Some(Some(Dimension::Value(size))) = shape.get(axis) else { return Ok(None) };
    let size = usize::try_from(*size);
    let name = excerpt(&input.name, NAME_CHARS_MAX);
    size.map(Some).map_err(|_| format!("input `{name}` has a negative size"))
}

impl<'g> Reader<'g> {
    fn new(graph: &'g GraphProto, signature: &Signature) -> Result<Self, String> {
        let constants =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let index = |name: &str| signature.states.iter().position(|state| state.input == name);
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        let states: HashMap<_, _> =
            inputs.clone().filter_map(|name| Some((name, index(name)?))).collect();
        let rows = inputs.clone().filter(|name| *name == signature.input).map(|name| {
            let axes = vec![Axis::Steps, Axis::Windows, Axis::Units];
            (name, Value { from: From::Rows, axes })
        });
        let values = rows.collect();
        let (layers, head) = (Vec::new(), Vec::new());
        let given = HashSet::new();
        let mut reader = Self { constants, values, states, layers, head, given, floats_taken: 0 };
        let initializers = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        let driven = |name: &&str| *name == signature.input || index(name).is_some();
        for name in initializers.chain(inputs.filter(driven)) {
            reader.give(name)?;
        }
        Ok(reader)
    }

    /// Notes a name. Which of two values a name means is for the runtime to say, and another may
    /// say something else.
    fn give(&mut self, name: &'g str) -> Result<(), String> {
        if self.given.insert(name) {
            return Ok(());
        }
        Err(format!("`{}` is given twice", excerpt(name, NAME_CHARS_MAX)))
    }

    fn take_once(&mut self, node: &'g NodeProto) -> Result<(), String> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err("the native runtime has no such operator".to_owned());
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            self.give(name)?;
        }
        self.take(node)
    }

    fn take(&mut self, node: &'g NodeProto) -> Result<(), String> {
        match node.op_type.as_str() {
            "Constant" => self.constant(node),
            "LSTM" => self.layer(node, Cell::Lstm),
            "GRU" => self.layer(node, Cell::Gru),
            "Identity" | "Dropout" => self.pass(node, |_, axes| Ok(axes)),
            "Transpose" => self.pass(node, |_, axes| transposed(node, &axes)),
            "Squeeze" => self.pass(node, |reader, axes| reader.squeezed(node, &axes)),
            "Reshape" => self.pass(node, |reader, axes| reader.reshaped(node, &axes)),
            "Gather" => self.pass(node, |reader, axes| reader.gathered(node, axes)),
            "Slice" => self.pass(node, |reader, axes| reader.sliced(node, axes)),
            "MatMul" | "Gemm" => self.dense(node),
            "Add" => self.add(node),
            "Relu" => self.activation(node, Activation::Relu),
            "Tanh" => self.activation(node, Activation::Tanh),
            "Sigmoid" => self.activation(node, Activation::Sigmoid),
            _ => Err("the native runtime has no such operator".to_owned()),
        }
    }

    fn constant(&mut self, node: &'g NodeProto) -> Result<(), String> {
        let value = node.attribute("value").and_then(|attribute| attribute.t.as_ref());
        let tensor = value.ok_or("a constant that is no tensor")?;
        self.constants.insert(output(node, 0).ok_or("it gives nothing")?, tensor);
        Ok(())
    }

    /// A node that only changes the axes of a value.
    fn pass(
        &mut self,
        node: &'g NodeProto,
        change: impl FnOnce(&Self, Vec<Axis>) -> Result<Vec<Axis>, String>,
    ) -> Result<(), String> {
        let value = self.value(node, 0)?.clone();
        let axes = change(self, value.axes)?;
        let name = output(node, 0).ok_or("it gives nothing")?;
        self.values.insert(name, Value { from: value.from, axes });
        Ok(())
    }

    fn layer(&mut self, node: &'g NodeProto, cell: Cell) -> Result<(), String> {
        let value = self.value(node, 0)?;
        let at = self.layers.len();
        let below = match value.from {
            From::Rows => at == 0,
            From::Hidden(below) => below + 1 == at,
            From::Cell(_) | From::Head(_) => false,
        };
        if !self.head.is_empty() {
            return Err("it comes after a dense layer".to_owned());
        }
        if !below || value.axes != [Axis::Steps, Axis::Windows, Axis::Units] {
            return Err("it does not read the rows or the layer before it as [T,B,F]".to_owned());
        }
        self.check_recurrent(node, cell)?;
        let (kernel, kernel_dims) = self.floats(node, 1)?;
        let (recurrent, recurrent_dims) = self.floats(node, 2)?;
        let (&[1, rows, inputs], &[1, recurrent_rows, units]) =
            (&kernel_dims[..], &recurrent_dims[..])
        else {
            return Err("its weights are not those of one direction".to_owned());
        };
        if Some(rows) != cell.gates().checked_mul(units) || recurrent_rows != rows {
            return Err("the shapes of its weights do not fit together".to_owned());
        }
        let bias = match input(node, 3) {
            Some(_) => {
                let (bias, dims) = self.floats(node, 3)?;
                if dims != [1, 2 * rows] {
                    return Err("its bias does not fit its weights".to_owned());
                }
                bias
            }
            None => vec![0.0; 2 * rows],
        };
        let state = |index: usize| match input(node, index) {
            None => Ok(None),
            Some(name) if self.states.contains_key(name) => Ok(Some(name)),
            Some(_) => Err("it begins from a state that is no input of the graph".to_owned()),
        };
        let hidden = state(5)?;
        let cell_name = if cell == Cell::Lstm { state(6)? } else { None };
        let weights = Owned { cell, inputs, units, kernel, recurrent, bias };
        self.layers.push(Found { weights, hidden, cell: cell_name });
        let last = vec![Axis::Single, Axis::Windows, Axis::Units];
        let every = vec![Axis::Steps, Axis::Single, Axis::Windows, Axis::Units];
        let gives =
            [(From::Hidden(at), every), (From::Hidden(at), last.clone()), (From::Cell(at), last)];
        for (index, (from, axes)) in gives.into_iter().enumerate() {
            if let Some(name) = output(node, index) {
                self.values.insert(name, Value { from, axes });
            }
        }
        Ok(())
    }

    fn check_recurrent(&self, node: &NodeProto, cell: Cell) -> Result<(), String> {
        if input(node, 4).is_some() {
            return Err("it takes lengths of sequences".to_owned());
        }
        if cell == Cell::Lstm && input(node, 7).is_some() {
            return Err("it has peepholes".to_owned());
        }
        for attribute in &node.attribute {
            let fits = match attribute.name.as_str() {
                "hidden_size" => true,
                "direction" => attribute.s == b"forward",
                "layout" | "input_forget" => attribute.i == 0,
                "linear_before_reset" => true,
                "activations" => {
                    let usual: &[&[u8]] = match cell {
                        Cell::Lstm => &[b"Sigmoid", b"Tanh", b"Tanh"],
                        Cell::Gru => &[b"Sigmoid", b"Tanh"],
                    };
                    attribute.strings.is_empty() || attribute.strings == usual
                }
                _ => false,
            };
            if !fits {
                let name = excerpt(&attribute.name, NAME_CHARS_MAX);
                return Err(format!("its `{name}` is not what the native runtime computes"));
            }
        }
        let resets_before = node.attribute("linear_before_reset").is_none_or(|reset| reset.i == 0);
        if cell == Cell::Gru && resets_before {
            return Err("it resets h before the product (`linear_before_reset` = 0)".to_owned());
        }
        Ok(())
    }

    fn squeezed(&self, node: &NodeProto, axes: &[Axis]) -> Result<Vec<Axis>, String> {
        let dropped = match (node.attribute("axes"), input(node, 1)) {
            (Some(listed), _) => listed.ints.clone(),
            (None, Some(_)) => self.integers(node, 1)?,
            (None, None) => return Err("it does not say which axes it drops".to_owned()),
        };
        let mut dropped: Vec<usize> =
            dropped.iter().map(|axis| index_of(*axis, axes.len())).collect::<Result<_, _>>()?;
        dropped.sort_unstable();
        if dropped.iter().any(|axis| axes[*axis] != Axis::Single) {
            return Err("it drops an axis that is not of size 1".to_owned());
        }
        let kept = axes.iter().enumerate().filter(|(index, _)| !dropped.contains(index));
        Ok(kept.map(|(_, axis)| *axis).collect())
    }

    fn reshaped(&self, node: &NodeProto, axes: &[Axis]) -> Result<Vec<Axis>, String> {
        let shape = self.integers(node, 1)?;
        let rest: Vec<Axis> = axes.iter().copied().filter(|axis| *axis != Axis::Single).collect();
        // 0 keeps the size at the same place, so this place must be that of the same axis.
        let keeps = |(at, (size, axis)): (usize, (&i64, &Axis))| match *size {
            0 => axes.get(at) == Some(axis),
            _ => *axis == Axis::Units,
        };
        let is_kept = node.attribute("allowzero").is_none_or(|zero| zero.i == 0);
        if !is_kept || shape.len() != rest.len() || !shape.iter().zip(&rest).enumerate().all(keeps)
        {
            return Err("it does more than drop an axis of size 1".to_owned());
        }
        Ok(rest)
    }

    fn gathered(&self, node: &NodeProto, mut axes: Vec<Axis>) -> Result<Vec<Axis>, String> {
        let axis = index_of(node.attribute("axis").map_or(0, |axis| axis.i), axes.len())?;
        let index = self.tensor(node, 1)?;
        // An index of more axes gives its value more axes, also where they are of size 1.
        let is_last = index.dims.len() <= 1 && self.integers(node, 1)? == [-1];
        if axes[axis] != Axis::Steps || !is_last {
            return Err("it takes something else than the last step".to_owned());
        }
        if index.dims.is_empty() {
            axes.remove(axis);
        } else {
            axes[axis] = Axis::Single;
        }
        Ok(axes)
    }

    fn sliced(&self, node: &NodeProto, mut axes: Vec<Axis>) -> Result<Vec<Axis>, String> {
        let (starts, ends) = (self.integers(node, 1)?, self.integers(node, 2)?);
        let over = self.integers(node, 3)?;
        let steps = if input(node, 4).is_some() { self.integers(node, 4)? } else { vec![1] };
        let (&[start], &[end], &[over], &[1]) = (&starts[..], &ends[..], &over[..], &steps[..])
        else {
            return Err("it takes something else than the last step".to_owned());
        };
        let axis = index_of(over, axes.len())?;
        if axes[axis] != Axis::Steps || start != -1 || end < i64::from(i32::MAX) {
            return Err("it takes something else than the last step".to_owned());
        }
        axes[axis] = Axis::Single;
        Ok(axes)
    }

    fn dense(&mut self, node: &'g NodeProto) -> Result<(), String> {
        let value = self.value(node, 0)?;
        let at = self.head.len();
        let below = match value.from {
            From::Hidden(layer) => layer + 1 == self.layers.len() && at == 0,
            From::Head(below) => below + 1 == at,
            From::Rows | From::Cell(_) => false,
        };
        if !below || value.axes != [Axis::Windows, Axis::Units] {
            return Err(
                "it does not read the last state or the layer before it as [B,H]".to_owned()
            );
        }
        let (weights, dims) = self.floats(node, 1)?;
        let &[rows, columns] = &dims[..] else {
            return Err("its weights are no matrix".to_owned());
        };
        let flag = |name: &str| node.attribute(name).is_some_and(|flag| flag.i != 0);
        let one = |name: &str| node.attribute(name).is_none_or(|factor| factor.f == 1.0);
        if flag("transA") || !one("alpha") || !one("beta") {
            return Err("it is scaled or transposed".to_owned());
        }
        let (inputs, outputs, weights) = if flag("transB") {
            let of = |at: usize| weights[at % rows * columns + at / rows];
            (columns, rows, (0..weights.len()).map(of).collect())
        } else {
            (rows, columns, weights)
        };
        let bias = match input(node, 2) {
            Some(_) => {
                let (bias, dims) = self.floats(node, 2)?;
                if !is_row(&dims, outputs) {
                    return Err("its bias does not fit its weights".to_owned());
                }
                Some(bias)
            }
            None => None,
        };
        self.head.push(FoundDense { inputs, outputs, weights, bias, activation: None });
        self.give_head(node, at)
    }

    fn add(&mut self, node: &'g NodeProto) -> Result<(), String> {
        let (of_value, of_bias) = if self.value(node, 0).is_ok() { (0, 1) } else { (1, 0) };
        let at = self.newest_head(node, of_value)?;
        let (bias, dims) = self.floats(node, of_bias)?;
        let dense = &mut self.head[at];
        if dense.bias.is_some() || dense.activation.is_some() || !is_row(&dims, dense.outputs) {
            return Err("it is not the bias of a dense layer".to_owned());
        }
        dense.bias = Some(bias);
        self.give_head(node, at)
    }

    fn activation(&mut self, node: &'g NodeProto, activation: Activation) -> Result<(), String> {
        let at = self.newest_head(node, 0)?;
        if self.head[at].activation.replace(activation).is_some() {
            return Err("a dense layer has two activations".to_owned());
        }
        self.give_head(node, at)
    }

    /// The place of the newest dense layer, which this node must read.
    fn newest_head(&self, node: &NodeProto, index: usize) -> Result<usize, String> {
        match self.value(node, index)?.from {
            From::Head(at) if at + 1 == self.head.len() => Ok(at),
            _ => Err("it does not follow a dense layer".to_owned()),
        }
    }

    fn give_head(&mut self, node: &'g NodeProto, at: usize) -> Result<(), String> {
        // What the layer gave until now is computed no more: a node or output that reads it is
        // refused, because it would get what this node gives.
        self.values.retain(|_, value| value.from != From::Head(at));
        let name = output(node, 0).ok_or("it gives nothing")?;
        let axes = vec![Axis::Windows, Axis::Units];
        self.values.insert(name, Value { from: From::Head(at), axes });
        Ok(())
    }

    fn finish(self, signature: &Signature) -> Result<(Stack, Vec<usize>), String> {
        let mut inputs = signature.features;
        for (at, layer) in self.layers.iter().enumerate() {
            if layer.weights.inputs != inputs {
                return Err(format!("recurrent layer {at} does not read what is below it"));
            }
            inputs = layer.weights.units;
        }
        for (at, dense) in self.head.iter().enumerate() {
            if dense.inputs != inputs {
                return Err(format!("dense layer {at} does not read what is below it"));
            }
            inputs = dense.outputs;
        }
        let top = match self.head.len().checked_sub(1) {
            Some(at) => From::Head(at),
            None => From::Hidden(self.layers.len().checked_sub(1).ok_or("it has no LSTM or GRU")?),
        };
        let gives = |name: &str, from: From, axes: &[Axis]| {
            let value = self.values.get(name);
            value.is_some_and(|value| value.from == from && value.axes == axes)
        };
        if self.layers.is_empty()
            || !gives(&signature.output, top, &[Axis::Windows, Axis::Units])
            || inputs != signature.columns.count
        {
            return Err("its output is not what its last layer gives".to_owned());
        }
        let pack = |found: &Found<'_>| {
            let Owned { cell, inputs, units, kernel, recurrent, bias } = &found.weights;
            let (cell, inputs, units) = (*cell, *inputs, *units);
            Layer::pack(&LayerWeights { cell, inputs, units, kernel, recurrent, bias })
        };
        let layers = self.layers.iter().map(pack).collect();
        let dense = |found: &FoundDense| {
            let FoundDense { inputs, outputs, weights, bias, activation } = found;
            let bias = bias.as_deref().unwrap_or_default();
            let activation = activation.unwrap_or(Activation::Linear);
            Dense::pack(*inputs, *outputs, weights, bias, activation)
        };
        let head = self.head.iter().map(dense).collect();
        let stack = Stack::new(layers, head);
        let mut parts = Vec::with_capacity(signature.states.len());
        for state in &signature.states {
            let named = |name: Option<&str>| name == Some(state.input.as_str());
            let place = self.layers.iter().enumerate().find_map(|(at, layer)| {
                let (hidden, cell) = (named(layer.hidden), named(layer.cell));
                (hidden || cell).then_some((at, cell))
            });
            let name = excerpt(&state.input, NAME_CHARS_MAX);
            let (at, is_cell) = place.ok_or_else(|| format!("no layer takes state `{name}`"))?;
            let from = if is_cell { From::Cell(at) } else { From::Hidden(at) };
            let (first, width) = stack.part(at, is_cell);
            let axes = [Axis::Single, Axis::Windows, Axis::Units];
            if !gives(&state.output, from, &axes) || width != state.width {
                return Err(format!("state `{name}` does not come back from its layer"));
            }
            parts.push(first);
        }
        let bound = |found: &Found<'_>| found.hidden.iter().chain(found.cell.iter()).count();
        if parts.len() != self.layers.iter().map(bound).sum::<usize>() {
            return Err("a state goes to two layers".to_owned());
        }
        // A run begins a state that is no input from zero, and single steps would carry it on.
        let all = |found: &Found<'_>| match found.weights.cell {
            Cell::Lstm => 2,
            Cell::Gru => 1,
        };
        if !parts.is_empty() && parts.len() != self.layers.iter().map(all).sum::<usize>() {
            return Err("some of its states are inputs of the graph, and some are not".to_owned());
        }
        Ok((stack, parts))
    }

    fn value(&self, node: &NodeProto, index: usize) -> Result<&Value, String> {
        let name = input(node, index).ok_or("an input is left out")?;
        self.values.get(name).ok_or_else(|| {
            format!("it reads `{}`, which no layer gives", excerpt(name, NAME_CHARS_MAX))
        })
    }

    fn tensor(&self, node: &NodeProto, index: usize) -> Result<&'g TensorProto, String> {
        let name = input(node, index).ok_or("an input is left out")?;
        let tensor = self.constants.get(name).copied();
        tensor.ok_or_else(|| format!("`{}` is no constant", excerpt(name, NAME_CHARS_MAX)))
    }

    /// The numbers and dimensions of a constant, none of which is 0.
    fn floats(&mut self, node: &NodeProto, index: usize) -> Result<(Vec<f32>, Vec<usize>), String> {
        let tensor = self.tensor(node, index)?;
        let name = || excerpt(&tensor.name, NAME_CHARS_MAX);
        let count = tensor.float_data.len().max(tensor.raw_data.len() / size_of::<f32>());
        self.floats_taken = self.floats_taken.saturating_add(count);
        if self.floats_taken > FLOATS_MAX {
            return Err(format!("with `{}` the weights are more than {FLOATS_MAX}", name()));
        }
        if tensor.dims.contains(&0) {
            return Err(format!("`{}` is empty", name()));
        }
        let values =
            tensor.read_floats().ok_or_else(|| format!("`{}` has no 32-bit floats", name()))?;
        let dims = tensor.dims.iter().map(|dim| usize::try_from(*dim).unwrap_or(usize::MAX));
        Ok((values, dims.collect()))
    }

    fn integers(&self, node: &NodeProto, index: usize) -> Result<Vec<i64>, String> {
        let tensor = self.tensor(node, index)?;
        let name = || excerpt(&tensor.name, NAME_CHARS_MAX);
        // Before they are copied: a long list would be copied for each node that names it.
        let bytes_max = INTEGERS_MAX * size_of::<i64>();
        if tensor.raw_data.len() > bytes_max || tensor.int64_data.len() > INTEGERS_MAX {
            return Err(format!("`{}` has more than {INTEGERS_MAX} numbers", name()));
        }
        tensor.read_int64s().ok_or_else(|| format!("`{}` has no 64-bit whole numbers", name()))
    }
}

/// Whether these are the dimensions of one number for each output, which every window gets.
fn is_row(dims: &[usize], outputs: usize) -> bool {
    matches!(dims, [count] | [1, count] if *count == outputs)
}

fn transposed(node: &NodeProto, axes: &[Axis]) -> Result<Vec<Axis>, String> {
    let order = node.attribute("perm").ok_or("it does not say the order of its axes")?;
    let order: Vec<usize> =
        order.ints.iter().map(|axis| index_of(*axis, axes.len())).collect::<Result<_, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().ne(0..axes.len()) {
        return Err("its order of axes is none".to_owned());
    }
    Ok(order.iter().map(|axis| axes[*axis]).collect())
}

/// An axis as an index; negative ones count from the end.
fn index_of(axis: i64, rank: usize) -> Result<usize, String> {
    let rank_signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_start = if axis < 0 { axis + rank_signed } else { axis };
    let index = usize::try_from(from_start).ok().filter(|index| *index < rank);
    index.ok_or_else(|| format!("there is no axis {axis}"))
}

/// The name of an input that is there.
fn input(node: &NodeProto, index: usize) -> Option<&str> {
    node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
}

fn output(node: &NodeProto, index: usize) -> Option<&str> {
    node.output.get(index).map(String::as_str).filter(|name| !name.is_empty())
}
