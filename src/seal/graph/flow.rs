//! How time flows through a graph: whether it can be computed one step after the other.
//!
//! Owns the meaning of each operator for the axis of time. Promises to be conservative: what is not
//! understood makes the graph one of whole windows, with the reason in words. Never changes the
//! graph.

use std::collections::HashMap;

use super::net::{
    INITIAL, axes, bodies, constants, from_front, int, is_recurrent, is_standard, permutation,
    reads, text,
};
use super::probe::Shapes;
use super::{quoted, words};
use crate::engine::onnx::{GraphProto, NodeProto, TensorProto};

/// What a value is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Of constants alone.
    Constant,
    /// Of the sizes of batch and time alone.
    Sizes,
    /// One entry for each step along this axis, each of the rows up to that step.
    Steps(usize),
    /// Of the last step.
    Last,
    /// A state before the first step.
    State,
    /// Of several steps in a way that one step after the other would not give.
    Window(String),
}

/// A graph `x [T,B,F]` with what its values are made of.
pub(super) struct Flow<'g> {
    constants: HashMap<&'g str, &'g TensorProto>,
    shapes: &'g Shapes,
    opset: i64,
    roles: HashMap<String, Role>,
    /// Recurrent operators that begin from zero and whose states can be given out.
    pub(super) begin_from_zero: Vec<usize>,
}

impl<'g> Flow<'g> {
    /// Follows the rows through the graph.
    pub(super) fn of(
        graph: &'g GraphProto,
        opset: i64,
        input: &str,
        states: &[String],
        shapes: &'g Shapes,
    ) -> Self {
        let mut roles = HashMap::from([(input.to_owned(), Role::Steps(0))]);
        roles.extend(states.iter().map(|name| (name.clone(), Role::State)));
        let constants = constants(graph);
        let mut flow = Self { constants, shapes, opset, roles, begin_from_zero: Vec::new() };
        for (at, node) in graph.node.iter().enumerate() {
            let roles = flow.node(at, node);
            for (name, role) in node.output.iter().zip(roles) {
                flow.roles.insert(name.clone(), role);
            }
        }
        flow
    }

    /// Why the output cannot be computed one step after the other; `None` where it can.
    pub(super) fn reason(&self, output: &str) -> Option<String> {
        match self.role(output) {
            Role::Last => None,
            Role::Window(reason) => Some(reason),
            Role::Steps(_) => Some("the output has a value for each step".to_owned()),
            _ => Some("the output does not depend on the rows".to_owned()),
        }
    }

    fn role(&self, name: &str) -> Role {
        if self.constants.contains_key(name) || name.is_empty() {
            return Role::Constant;
        }
        self.roles.get(name).cloned().unwrap_or(Role::Constant)
    }

    fn node(&mut self, at: usize, node: &NodeProto) -> Vec<Role> {
        let every = |role: Role| vec![role; node.output.len()];
        let read: Vec<Role> = reads(node).iter().map(|name| self.role(name)).collect();
        if read.iter().all(|role| *role == Role::Constant) {
            return every(Role::Constant);
        }
        if matches!(node.op_type.as_str(), "Shape" | "Size") {
            return every(Role::Sizes);
        }
        if read.iter().all(|role| matches!(role, Role::Constant | Role::Sizes)) {
            return every(Role::Sizes);
        }
        if let Some(reason) = read.iter().find(|role| matches!(role, Role::Window(_))) {
            return every(reason.clone());
        }
        if is_recurrent(node) {
            return self.recurrent(at, node);
        }
        if bodies(node).next().is_some() {
            return every(Role::Window(loop_in_words(node)));
        }
        if read.contains(&Role::State) {
            let place = place(node);
            let reason = format!("{place} reads a state, which only a recurrent layer may");
            return every(Role::Window(reason));
        }
        let role = self
            .plain(node)
            .unwrap_or_else(|reason| Role::Window(format!("{} {reason}", place(node))));
        every(role)
    }

    fn recurrent(&mut self, at: usize, node: &NodeProto) -> Vec<Role> {
        let every = |reason: &str| {
            vec![Role::Window(format!("{} {reason}", place(node))); node.output.len()]
        };
        let input = |at: usize| node.input.get(at).map_or("", String::as_str);
        let is_constant = |at: usize| self.role(input(at)) == Role::Constant;
        if self.role(input(0)) != Role::Steps(0) {
            return every("does not read the steps of the window in their order");
        }
        if node.op_type == "RNN" {
            return every("is a plain RNN, whose state is not given out");
        }
        if text(node, "direction", "forward") != "forward" {
            return every("also reads the window backwards");
        }
        let is_plain = int(node, "layout", 0) == 0 && input(4).is_empty();
        if !is_plain || ![1, 2, 3, 7].into_iter().all(is_constant) {
            return every("has lengths of sequences, another layout or computed weights");
        }
        let count = if node.op_type == "LSTM" { 2 } else { 1 };
        let initial = &INITIAL[..count];
        if initial.iter().all(|at| input(*at).is_empty()) {
            self.begin_from_zero.push(at);
        } else if !initial.iter().all(|at| self.role(input(*at)) == Role::State) {
            return every("begins from a state that is neither zero nor an input");
        }
        [Role::Steps(0), Role::Last, Role::Last][..node.output.len()].to_vec()
    }

    /// The role of what an operator without inner graphs gives, or why it is none of one step.
    fn plain(&self, node: &NodeProto) -> Result<Role, String> {
        let first = node.input.first().map_or(Role::Constant, |name| self.role(name));
        let data: Vec<Role> = node.input.iter().map(|name| self.role(name)).collect();
        if !data.iter().any(|role| matches!(role, Role::Steps(_))) {
            // A function of the last step, unless the length of the window has a part in it.
            let is_shaped = matches!(node.op_type.as_str(), "Reshape" | "Expand");
            let has_sizes = data.contains(&Role::Sizes);
            return if !has_sizes || is_shaped && self.is_without_time(&node.output[0]) {
                Ok(Role::Last)
            } else {
                Err("computes with the length of the window".to_owned())
            };
        }
        if !is_standard(&node.domain) {
            return Err("is an operator of another set".to_owned());
        }
        let unknown = || Err("looks at several steps of the window at once".to_owned());
        let Role::Steps(time) = first else {
            return match node.op_type.as_str() {
                operator if is_elementwise(operator) => self.elementwise(node),
                "Concat" => self.concat(node),
                _ => unknown(),
            };
        };
        let rank = self.shapes.rank(&node.input[0]).ok_or("has no shape that could be followed")?;
        match node.op_type.as_str() {
            "Identity" | "Cast" | "Dropout" => Ok(first),
            operator if is_elementwise(operator) => self.elementwise(node),
            "Concat" => self.concat(node),
            "Transpose" => {
                let order = permutation(node, Some(rank)).ok_or("has no order")?;
                let at = order.iter().position(|axis| *axis == time).ok_or("has no order")?;
                Ok(Role::Steps(at))
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshaped(node, time),
            "Expand" if self.shapes.get(&node.input[0]) == self.shapes.get(&node.output[0]) => {
                Ok(first)
            }
            "Slice" => self.sliced(node, time, rank),
            "Gather" => self.gathered(node, time, rank),
            "Split" if from_front(int(node, "axis", 0), rank) != Some(time) => Ok(first),
            "MatMul" => {
                let weights = node.input.get(1).and_then(|name| self.constants.get(name.as_str()));
                let is_plain = weights.is_some_and(|weights| weights.dims.len() <= 2);
                if is_plain && time + 1 < rank { Ok(first) } else { unknown() }
            }
            "Gemm" if int(node, "transA", 0) == 0 && time == 0 => Ok(first),
            "Softmax" | "LogSoftmax" | "LayerNormalization" => self.normalized(node, time, rank),
            "BatchNormalization" if time != 1 => Ok(first),
            operator if operator.starts_with("Reduce") => self.reduced(node, time, rank),
            _ => unknown(),
        }
    }

    /// Whether a value has the same shape for windows of any length.
    fn is_without_time(&self, name: &str) -> bool {
        let Some(shapes) = self.shapes.get(name) else { return false };
        let runs = self.shapes.runs.iter().zip(shapes);
        let mut of_batch: HashMap<usize, &Vec<usize>> = HashMap::new();
        runs.into_iter().all(|((batch, _), dims)| *of_batch.entry(*batch).or_insert(dims) == dims)
    }

    /// Operands meet by their last axes; all that have steps have them in the same place.
    fn elementwise(&self, node: &NodeProto) -> Result<Role, String> {
        let lost = "has no shape that could be followed";
        let rank = self.shapes.rank(&node.output[0]).ok_or(lost)?;
        let mut found = None;
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            match self.role(name) {
                Role::Steps(axis) => {
                    let own = self.shapes.rank(name).ok_or(lost)?;
                    let at = axis + rank - own;
                    if found.is_some_and(|found| found != at) {
                        return Err("joins steps of one value with another's".to_owned());
                    }
                    found = Some(at);
                }
                Role::Constant => {}
                _ => return Err("joins each step with one that comes after it".to_owned()),
            }
        }
        let time = found.ok_or(lost)?;
        for name in &node.input {
            let Some(tensor) = self.constants.get(name.as_str()) else { continue };
            let behind = rank - time;
            let size = tensor.dims.len().checked_sub(behind).map_or(1, |at| tensor.dims[at]);
            if size != 1 {
                return Err("has another constant for each step of the window".to_owned());
            }
        }
        Ok(Role::Steps(time))
    }

    fn concat(&self, node: &NodeProto) -> Result<Role, String> {
        let rank =
            self.shapes.rank(&node.output[0]).ok_or("has no shape that could be followed")?;
        let axis = from_front(int(node, "axis", 0), rank);
        let roles: Vec<Role> = node.input.iter().map(|name| self.role(name)).collect();
        match roles.first() {
            Some(Role::Steps(time))
                if axis != Some(*time) && roles.iter().all(|role| *role == roles[0]) =>
            {
                Ok(roles[0].clone())
            }
            _ => Err("joins several steps of the window".to_owned()),
        }
    }

    /// The axis of time is where a size is the same and as much lies before it as before.
    fn reshaped(&self, node: &NodeProto, time: usize) -> Result<Role, String> {
        let lost = || "moves the steps in a way that was not followed".to_owned();
        let before = self.shapes.get(&node.input[0]).ok_or_else(lost)?;
        let after = self.shapes.get(&node.output[0]).ok_or_else(lost)?;
        let rank = self.shapes.rank(&node.output[0]).ok_or_else(lost)?;
        let stays = |axis: &usize| {
            before.iter().zip(after).all(|(before, after)| {
                let product = |dims: &[usize]| dims.iter().product::<usize>();
                before[time] == after[*axis] && product(&before[..time]) == product(&after[..*axis])
            })
        };
        (0..rank).find(stays).map(Role::Steps).ok_or_else(lost)
    }

    fn sliced(&self, node: &NodeProto, time: usize, rank: usize) -> Result<Role, String> {
        let unknown = || "takes steps out of the window that are not the last one".to_owned();
        let list = |at: usize, name: &str| match node.attribute(name) {
            Some(attribute) if self.opset < 10 => Some(attribute.ints.clone()),
            _ => self.constants.get(node.input.get(at)?.as_str())?.read_int64s(),
        };
        let starts = list(1, "starts").ok_or_else(unknown)?;
        let ends = list(2, "ends").ok_or_else(unknown)?;
        let has = |at: usize| node.input.get(at).is_some_and(|name| !name.is_empty());
        let axes = match (has(3) || node.attribute("axes").is_some(), list(3, "axes")) {
            (true, Some(axes)) => axes,
            (false, _) => (0..).take(starts.len()).collect(),
            _ => return Err(unknown()),
        };
        let at = axes.iter().position(|axis| from_front(*axis, rank) == Some(time));
        let Some(at) = at else { return Ok(Role::Steps(time)) };
        let is_step_one = match has(4) {
            true => list(4, "steps").is_some_and(|steps| steps.get(at) == Some(&1)),
            false => true,
        };
        let is_to_end = ends.get(at).is_some_and(|end| *end >= i64::from(i32::MAX));
        if is_step_one && is_to_end && starts.get(at) == Some(&0) {
            Ok(Role::Steps(time))
        } else if is_step_one && is_to_end && starts.get(at) == Some(&-1) {
            Ok(Role::Last)
        } else {
            Err(unknown())
        }
    }

    fn gathered(&self, node: &NodeProto, time: usize, rank: usize) -> Result<Role, String> {
        let axis = from_front(int(node, "axis", 0), rank).ok_or("has no axis")?;
        let indices = node.input.get(1).and_then(|name| self.constants.get(name.as_str()));
        let indices = indices.ok_or("picks steps by a computed index")?;
        if axis == time {
            let picked = indices.read_int64s().ok_or("picks steps by a computed index")?;
            return if picked == [-1] {
                Ok(Role::Last)
            } else {
                Err("picks steps out of the window that are not the last one".to_owned())
            };
        }
        let moved = time + indices.dims.len();
        Ok(Role::Steps(if axis < time { moved - 1 } else { time }))
    }

    /// Normalizes over axes behind time.
    fn normalized(&self, node: &NodeProto, time: usize, rank: usize) -> Result<Role, String> {
        let mixes = || Err("normalizes over the steps of the window".to_owned());
        let is_old = self.opset < 13 && node.op_type != "LayerNormalization";
        let otherwise = if is_old { 1 } else { -1 };
        let axis = from_front(int(node, "axis", otherwise), rank).ok_or("has no axis")?;
        let is_over = if is_old || node.op_type == "LayerNormalization" {
            axis <= time
        } else {
            axis == time
        };
        if is_over { mixes() } else { Ok(Role::Steps(time)) }
    }

    fn reduced(&self, node: &NodeProto, time: usize, rank: usize) -> Result<Role, String> {
        let mixes = || "joins all steps of the window".to_owned();
        let axes = axes(node, 1, &self.constants).filter(|axes| !axes.is_empty());
        let axes = axes.ok_or_else(mixes)?;
        let axes: Option<Vec<usize>> = axes.iter().map(|axis| from_front(*axis, rank)).collect();
        let axes = axes.filter(|axes| !axes.contains(&time)).ok_or_else(mixes)?;
        let gone = axes.iter().filter(|axis| **axis < time).count();
        let gone = if int(node, "keepdims", 1) == 0 { gone } else { 0 };
        Ok(Role::Steps(time - gone))
    }
}

/// Operators that compute each element from the elements in the same place.
fn is_elementwise(operator: &str) -> bool {
    const ELEMENTWISE: &[&str] = &[
        "Abs",
        "Add",
        "And",
        "Clip",
        "Cos",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "IsNaN",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pow",
        "Reciprocal",
        "Relu",
        "Selu",
        "Sigmoid",
        "Sin",
        "Softplus",
        "Sqrt",
        "Sub",
        "Tanh",
        "Where",
    ];
    ELEMENTWISE.binary_search(&operator).is_ok()
}

fn place(node: &NodeProto) -> String {
    if node.name.is_empty() {
        node.op_type.clone()
    } else {
        format!("{} `{}`", node.op_type, quoted(&node.name))
    }
}

/// Why a loop is one of whole windows, with the way out where there is one.
pub(super) fn loop_in_words(node: &NodeProto) -> String {
    let kind = bodies(node).next().and_then(words::kind_of_loop);
    let place = place(node);
    match kind {
        Some("LSTM") => format!(
            "{place} is an LSTM that was exported as a loop; without `recurrent_dropout` Keras \
             exports an LSTM operator: train or export it with recurrent_dropout=0"
        ),
        Some("GRU") => format!(
            "{place} is a GRU that was exported as a loop, as Keras' always is; a Keras LSTM or \
             PyTorch's GRU is exported as an operator"
        ),
        _ => format!("{place} runs over the window by itself"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lists_are_sorted_for_binary_search() {
        for operator in ["Abs", "Where", "Sub", "Greater", "IsNaN", "PRelu"] {
            assert!(super::is_elementwise(operator), "{operator}");
        }
    }
}
