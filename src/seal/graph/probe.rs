//! Running a graph to see what it does.
//!
//! Owns how windows become the tensors that a graph takes, whatever its layout. Promises that the
//! same question gives the same numbers: the rows of its own windows follow from a seed. Never
//! changes a graph other than by asking for values between its nodes.

use std::collections::HashMap;

use super::Layout;
use super::net::{Names, constants, graph, graph_mut};
use crate::engine::inference::Runtime;
use crate::engine::inference::trial::{Element, Tensor, Trial, Values};
use crate::engine::onnx::{FLOAT, FLOAT16, GraphProto, ModelProto, NodeProto, ValueInfoProto};

/// Windows of one shape: `[B][T][F]`, oldest row first.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) features: usize,
    pub(super) values: Vec<f32>,
}

impl Windows {
    /// Numbers between -1 and 1 that follow from the seed.
    pub(super) fn random(batch: usize, steps: usize, features: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // 24 bits fill the mantissa.
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let values = (0..batch * steps * features).map(|_| next()).collect();
        Self { batch, steps, features, values }
    }

    /// Row `at` of the batch alone, as often as `batch` says.
    pub(super) fn row(&self, at: usize, batch: usize) -> Self {
        let size = self.steps * self.features;
        let values = self.values[at * size..][..size].repeat(batch);
        Self { batch, values, ..*self }
    }

    /// The same with another newest step in every row.
    pub(super) fn with_other_end(&self, seed: u64) -> Self {
        let mut changed = self.clone();
        let other = Self::random(self.batch, 1, self.features, seed);
        let rows = changed.values.chunks_exact_mut(self.steps * self.features);
        for (row, end) in rows.zip(other.values.chunks_exact(self.features)) {
            row[(self.steps - 1) * self.features..].copy_from_slice(end);
        }
        changed
    }

    /// Step `at` of every row alone.
    pub(super) fn step(&self, at: usize) -> Self {
        let rows = self.values.chunks_exact(self.steps * self.features);
        let values = rows.flat_map(|row| row[at * self.features..][..self.features].to_vec());
        Self { steps: 1, values: values.collect(), ..*self }
    }
}

/// An input that is no row: a state, or a constant that the export lost.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) dims: Vec<usize>,
    /// The axis whose size is that of the batch.
    pub(super) batch_axis: Option<usize>,
    /// What it is filled with: one number, or one for each element.
    pub(super) values: Vec<f64>,
}

/// How a graph is fed.
#[derive(Clone, Debug)]
pub(super) struct Drive {
    pub(super) input: String,
    pub(super) layout: Layout,
    pub(super) element: Element,
    pub(super) sides: Vec<Side>,
}

impl Drive {
    /// The tensors for these windows; `states` takes the place of sides of the same name.
    fn feed(&self, windows: &Windows, states: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
        let mut feed = vec![(self.input.clone(), self.rows(windows))];
        for side in &self.sides {
            if let Some(given) = states.iter().find(|(name, _)| *name == side.name) {
                feed.push(given.clone());
            } else {
                feed.push((side.name.clone(), side.tensor(windows.batch)));
            }
        }
        feed
    }

    fn rows(&self, windows: &Windows) -> Tensor {
        let Windows { batch, steps, features, ref values } = *windows;
        let at = |b: usize, t: usize, f: usize| values[(b * steps + t) * features + f];
        let (dims, values) = match self.layout {
            Layout::BatchFirst => (vec![batch, steps, features], values.clone()),
            Layout::Flattened => (vec![batch, steps * features], values.clone()),
            Layout::TimeMajor => {
                let mut moved = Vec::with_capacity(values.len());
                for t in 0..steps {
                    for b in 0..batch {
                        moved.extend((0..features).map(|f| at(b, t, f)));
                    }
                }
                (vec![steps, batch, features], moved)
            }
            Layout::FeaturesFirst => {
                let mut moved = Vec::with_capacity(values.len());
                for b in 0..batch {
                    for f in 0..features {
                        moved.extend((0..steps).map(|t| at(b, t, f)));
                    }
                }
                (vec![batch, features, steps], moved)
            }
        };
        Tensor { dims, values: filled(self.element, values) }
    }
}

impl Side {
    fn tensor(&self, batch: usize) -> Tensor {
        let mut dims = self.dims.clone();
        // Values that were given are those of one row of the batch.
        let (mut inner, mut repeats) = (1, 1);
        if let Some(axis) = self.batch_axis {
            dims[axis] = batch;
            inner = dims[axis + 1..].iter().product::<usize>().max(1);
            repeats = batch;
        }
        let values = match self.values.as_slice() {
            [one] => vec![*one; dims.iter().product()],
            many if repeats == 1 => many.to_vec(),
            many => many.chunks(inner).flat_map(|row| row.repeat(repeats)).collect(),
        };
        let values = match self.element {
            Element::F64 => Values::F64(values),
            Element::I32 => Values::I32(values.into_iter().map(|value| value as i32).collect()),
            Element::I64 => Values::I64(values.into_iter().map(|value| value as i64).collect()),
            Element::Bool => Values::Bool(values.into_iter().map(|value| value != 0.0).collect()),
            _ => Values::F32(values.into_iter().map(|value| value as f32).collect()),
        };
        Tensor { dims, values }
    }
}

/// Rows as the input takes them.
fn filled(element: Element, values: Vec<f32>) -> Values {
    match element {
        Element::F64 => Values::F64(values.into_iter().map(f64::from).collect()),
        _ => Values::F32(values),
    }
}

/// A graph that runs.
pub(super) struct Probe {
    trial: Box<dyn Trial>,
}

/// What a run gave, by name.
pub(super) type Given = HashMap<String, Tensor>;

impl Probe {
    /// Opens a model.
    pub(super) fn open(runtime: &dyn Runtime, model: &ModelProto) -> Result<Self, String> {
        Self::open_bytes(runtime, &with_readable_edges(model).to_bytes())
    }

    /// Opens the bytes of a model whose edges are readable.
    pub(super) fn open_bytes(runtime: &dyn Runtime, onnx: &[u8]) -> Result<Self, String> {
        let trial = runtime.trial(onnx).map_err(|error| said(&error))?;
        Ok(Self { trial })
    }

    /// Runs it from states as the drive has them.
    pub(super) fn run(&mut self, drive: &Drive, windows: &Windows) -> Result<Given, String> {
        self.run_from(drive, windows, &[])
    }

    /// Runs it from these states.
    pub(super) fn run_from(
        &mut self,
        drive: &Drive,
        windows: &Windows,
        states: &[(String, Tensor)],
    ) -> Result<Given, String> {
        let feed = drive.feed(windows, states);
        let named: Vec<(&str, Tensor)> =
            feed.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        let given = self.trial.run(&named).map_err(|error| said(&error))?;
        Ok(given.into_iter().collect())
    }
}

/// The words of an error without what was being done, which the caller says better.
fn said(error: &crate::engine::inference::InferenceError) -> String {
    match error {
        crate::engine::inference::InferenceError::Runtime { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// The model with casts at inputs and outputs of 16-bit floats, which a trial cannot fill or read.
pub(super) fn with_readable_edges(model: &ModelProto) -> ModelProto {
    /// `TensorProto.DataType.BFLOAT16`.
    const BFLOAT16: i32 = 16;
    let mut model = model.clone();
    let graph = graph_mut(&mut model);
    let mut names = Names::of(graph);
    let is_narrow = |value: &ValueInfoProto| matches!(value.elem_type(), Some(FLOAT16 | BFLOAT16));
    let narrow: Vec<(String, i32)> = graph
        .input
        .iter()
        .filter(|input| is_narrow(input))
        .map(|input| (input.name.clone(), input.elem_type().unwrap_or(FLOAT16)))
        .collect();
    for (name, kind) in narrow {
        let inner = names.fresh(&format!("{name}_narrow"));
        super::net::redirect(graph, &name, &inner);
        let cast = names.fresh(&format!("{name}_cast"));
        let mut front =
            vec![NodeProto::new("Cast", "", &[&name], &[&cast]).with_int("to", i64::from(kind))];
        front.push(apart(graph, &mut names, kind, [&cast, &inner]));
        graph.node.splice(0..0, front);
    }
    let narrow: Vec<(String, i32)> = graph
        .output
        .iter()
        .filter(|output| is_narrow(output))
        .map(|output| (output.name.clone(), output.elem_type().unwrap_or(FLOAT16)))
        .collect();
    for (name, kind) in narrow {
        let inner = names.fresh(&format!("{name}_narrow"));
        super::net::rename_value(graph, &name, &inner);
        let cast = names.fresh(&format!("{name}_cast"));
        let rounding = apart(graph, &mut names, kind, [&inner, &cast]);
        graph.node.push(rounding);
        let cast = NodeProto::new("Cast", "", &[&cast], &[&name]).with_int("to", i64::from(FLOAT));
        graph.node.push(cast);
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        if is_narrow(value)
            && let Some(kind) = value.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut())
        {
            kind.elem_type = FLOAT;
        }
    }
    model
}

/// A node that hands a value of 16-bit floats on and keeps casts apart.
fn apart(graph: &mut GraphProto, names: &mut Names, kind: i32, [from, to]: [&str; 2]) -> NodeProto {
    if kind != FLOAT16 {
        return NodeProto::new("Identity", "", &[from], &[to]);
    }
    let (bound, mut node) = super::half::rounding(names);
    graph.initializer.push(bound);
    from.clone_into(&mut node.input[0]);
    node.output = vec![to.to_owned()];
    node
}

/// The shapes that values between the nodes have, for each of some sizes of batch and time.
pub(super) struct Shapes {
    /// Batch and steps of each run.
    pub(super) runs: Vec<(usize, usize)>,
    dims: HashMap<String, Vec<Vec<usize>>>,
}

impl Shapes {
    /// Runs the model once for each size.
    pub(super) fn of(
        runtime: &dyn Runtime,
        model: &ModelProto,
        drive: &Drive,
        features: usize,
        runs: &[(usize, usize)],
    ) -> Result<Self, String> {
        let mut whole = model.clone();
        let inner = graph_mut(&mut whole);
        inner.value_info.clear();
        let known: Vec<String> = inner.output.iter().map(|output| output.name.clone()).collect();
        let between: Vec<String> = inner
            .node
            .iter()
            .flat_map(|node| &node.output)
            .filter(|name| !name.is_empty() && !known.contains(name))
            .cloned()
            .collect();
        inner.output.extend(
            between.into_iter().map(|name| ValueInfoProto { name, ..ValueInfoProto::default() }),
        );
        let mut probe = Probe::open(runtime, &whole)?;
        let mut dims: HashMap<String, Vec<Vec<usize>>> = HashMap::new();
        for (batch, steps) in runs {
            let windows = Windows::random(*batch, *steps, features, 1);
            for (name, tensor) in probe.run(drive, &windows)? {
                dims.entry(name).or_default().push(tensor.dims);
            }
            dims.entry(drive.input.clone()).or_default().push(drive.rows(&windows).dims);
            for side in &drive.sides {
                dims.entry(side.name.clone()).or_default().push(side.tensor(*batch).dims);
            }
        }
        for (name, tensor) in constants(graph(model)) {
            let size = |size: &i64| usize::try_from(*size).unwrap_or(0);
            let constant = tensor.dims.iter().map(size).collect();
            dims.insert(name.to_owned(), vec![constant; runs.len()]);
        }
        Ok(Self { runs: runs.to_vec(), dims })
    }

    /// The shapes of a value in the order of the runs.
    pub(super) fn get(&self, name: &str) -> Option<&[Vec<usize>]> {
        self.dims.get(name).map(Vec::as_slice).filter(|shapes| shapes.len() == self.runs.len())
    }

    /// The number of its axes, where that is the same in all runs.
    pub(super) fn rank(&self, name: &str) -> Option<usize> {
        let shapes = self.get(name)?;
        let rank = shapes.first()?.len();
        shapes.iter().all(|dims| dims.len() == rank).then_some(rank)
    }
}
