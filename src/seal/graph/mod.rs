//! Graphs as other frameworks export them: what they are, and their rewrites to the one form that
//! the engine drives.
//!
//! Owns the reading of a foreign file (`decode`), what is found out about it by its wiring
//! (`states`, `words`) and by running it (`probe`, `layout`), the rewrites (`rewrite` and what it
//! uses), and the proof that a rewritten graph gives what the original gives (`prove`). Promises
//! that no name decides what an input or an output is, that every rewrite is said in words, and
//! that a rewrite which changes a number is refused. Never judges whether the engine takes an
//! operator, knows no feature and no scaler, and writes no file.

mod decode;
mod expose;
mod flow;
mod fold;
mod free;
mod half;
mod layout;
mod net;
mod probe;
mod prove;
mod rewrite;
mod states;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::decode::is_plain_name;
pub use self::prove::{Comparison, run_original};
pub use self::rewrite::Rewritten;

use self::layout::Found;
use self::probe::{Drive, Probe, Shapes, Side, Windows};
use self::prove::OutputForm;
use self::states::Parts;
use crate::core::text::excerpt;
use crate::engine::inference::Runtime;
use crate::engine::inference::trial::Element;
use crate::engine::onnx::{Dimension, ModelProto};

/// A foreign graph that was read and has run.
pub struct Foreign {
    model: ModelProto,
    /// What it is.
    pub facts: Facts,
    /// SHA-256 of the file as it was exported.
    pub sha256: String,
    /// What reading it changed already, in words.
    said: Vec<String>,
    sides: Vec<Side>,
    extras: Vec<Side>,
    found: Found,
    form: OutputForm,
}

/// What a graph is, found out by its wiring and by running it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The input of the rows.
    pub input: InputFacts,
    /// The output of the forecast.
    pub output: OutputFacts,
    /// Recurrent states that the graph takes and gives back.
    pub states: Vec<StateFacts>,
    /// The version of the standard operator set.
    pub opset: i64,
    /// What wrote the file, in its own words.
    pub producer: String,
    /// Inputs that belong to nothing: a value for each is needed.
    pub extra_inputs: Vec<String>,
    /// The same with the likely cause, a sentence each.
    pub extra_causes: Vec<String>,
    /// The graph in words, a layer each.
    pub words: Vec<String>,
    /// Multiply-adds of a window, where its length is known.
    pub cost: Option<u64>,
}

/// How the axes of the rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[B,T,F]`
    BatchFirst,
    /// `[T,B,F]`
    TimeMajor,
    /// `[B,T*F]`, oldest row first.
    Flattened,
    /// `[B,F,T]`
    FeaturesFirst,
}

/// The input of the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct InputFacts {
    /// Its name in the file.
    pub name: String,
    /// How its axes are ordered.
    pub layout: Layout,
    /// Another order that neither the wiring nor a run excludes: it must be asked.
    pub other_layout: Option<Layout>,
    /// The shape in the file, such as `[B,30,3]`.
    pub shape: String,
    /// B, where the graph runs for that size only.
    pub batch: Option<usize>,
    /// T, where the file fixes it.
    pub window: Option<usize>,
    /// F, where the file fixes it.
    pub features: Option<usize>,
    /// T*F of a flattened window, where the file fixes it.
    pub width: Option<usize>,
    /// What its elements are.
    pub element: Element,
}

/// The output of the forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFacts {
    /// Its name in the file.
    pub name: String,
    /// Numbers of a window: K.
    pub columns: usize,
    /// Whether it gives a value for each step, of which the last one counts.
    pub is_each_step: bool,
    /// How many rows it has for a window, as many as there are steps, where it is not certain that
    /// each belongs to a step: it must be asked.
    pub may_be_steps: Option<usize>,
    /// Other outputs that could be meant.
    pub others: Vec<String>,
}

/// A recurrent state that the graph takes and gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFacts {
    /// The input that takes it.
    pub input: String,
    /// The output that gives it back.
    pub output: String,
    /// Layers that are stacked in it.
    pub layers: usize,
    /// H
    pub width: usize,
    /// Axes in the file: `[L,B,H]`, `[B,L,H]` or `[B,H]`.
    pub rank: usize,
    /// Which axis is the batch.
    pub batch_axis: usize,
}

/// What the file may leave open.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// W
    pub window: Option<usize>,
    /// F
    pub features: Option<usize>,
    /// How the axes of the rows are ordered, where neither the wiring nor a run tells.
    pub layout: Option<Layout>,
    /// The output of the forecast, where there are several.
    pub output: Option<String>,
    /// Whether the output has a value for each step, where a run does not tell.
    pub each_step: Option<bool>,
    /// Values of inputs that belong to nothing: one number, or one for each element.
    pub constants: BTreeMap<String, Vec<f64>>,
}

/// What is to be sealed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// W
    pub window: usize,
    /// F
    pub features: usize,
    /// Whether recurrent layers that begin from zero give their states out.
    pub expose_states: bool,
    /// Whether mode `carried` is wanted.
    pub carried: bool,
    /// Values of inputs that belong to nothing: one number, or one for each element.
    pub constants: BTreeMap<String, Vec<f64>>,
}

/// The characters of a name out of the file that are shown.
const QUOTED_CHARS_MAX: usize = 80;

/// A text out of the file, as it is quoted in a message.
pub(super) fn quoted(text: &str) -> String {
    excerpt(text, QUOTED_CHARS_MAX)
}

/// Texts as an enumeration.
fn in_words(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

/// Reads a foreign file: decodes it, takes data beside it in (`beside` is asked for plain names in
/// the model's folder and limits what it reads), runs it, and says what it is.
///
/// # Errors
/// A line for each reason why it cannot be sealed, with the way out.
pub fn read(
    onnx: &[u8],
    beside: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    runtime: &dyn Runtime,
    hints: &Hints,
) -> Result<Foreign, Vec<String>> {
    let (model, said) = decode::decode(onnx, beside)?;
    let sha256 = super::sha256_of(onnx);
    let mut parts = states::sort(&model, hints, true)?;
    let problems = states::check_hints(&parts, hints);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut probe = Probe::open(runtime, &model).map_err(|said| {
        let mut problems = vec![format!("the graph does not run as it was exported: {said}")];
        problems.extend(words::suspicion(&model));
        problems
    })?;
    let (mut drive, mut found) = find_layout(&mut probe, &model, &parts, hints)?;
    if !parts.by_shape.is_empty() && !steps_give_the_window(&mut probe, &drive, &found, &parts) {
        let refused = parts.by_shape;
        parts = Parts { by_shape: refused, ..states::sort(&model, hints, false)? };
        (drive, found) = find_layout(&mut probe, &model, &parts, hints)?;
    }
    let form = layout::form(&mut probe, &drive, &found, &parts.output, hints.each_step)
        .map_err(|problem| vec![problem])?;
    let runs = [(found.batch.unwrap_or(1), found.steps)];
    let shapes = Shapes::of(runtime, &model, &drive, found.features, &runs).ok();
    let extra_causes = parts.extras.iter().map(|extra| states::cause(extra, &parts)).collect();
    let is_window_known = found.window.is_some() || hints.window.is_some();
    let facts = Facts {
        input: InputFacts {
            name: parts.input.name.clone(),
            layout: found.layout,
            other_layout: found.other,
            shape: shape_in_words(&parts.input.dims, found.layout),
            batch: found.batch,
            window: found.window,
            features: found.fixed_features,
            width: found.width,
            element: parts.input.element,
        },
        output: OutputFacts {
            name: parts.output.clone(),
            columns: form.columns,
            is_each_step: form.time.is_some(),
            may_be_steps: form.may_be_steps,
            others: parts.others,
        },
        states: parts.states,
        opset: net::opset(&model),
        producer: producer(&model),
        extra_causes,
        extra_inputs: parts.extras.iter().map(|extra| extra.name.clone()).collect(),
        words: words::words(&model, shapes.as_ref()),
        cost: shapes
            .filter(|_| is_window_known)
            .map(|shapes| words::cost(&model, &shapes, found.steps)),
    };
    let (sides, extras) = (parts.sides, parts.extras);
    Ok(Foreign { model, facts, sha256, said, sides, extras, found, form })
}

/// The order of the axes, and the drive in it.
fn find_layout(
    probe: &mut Probe,
    model: &ModelProto,
    parts: &Parts,
    hints: &Hints,
) -> Result<(Drive, Found), Vec<String>> {
    let extras = with_values(&parts.extras, &hints.constants);
    let mut drive = Drive {
        input: parts.input.name.clone(),
        layout: Layout::BatchFirst,
        element: parts.input.element,
        sides: parts.sides.iter().chain(&extras).cloned().collect(),
    };
    let wired = layout::of_wiring(net::graph(model), &parts.input.name);
    match layout::find(probe, &mut drive, &parts.input, &parts.output, wired, hints) {
        Ok(found) => Ok((drive, found)),
        Err(problem) => Err(std::iter::once(problem).chain(words::suspicion(model)).collect()),
    }
}

/// Whether single steps give what the window gives, the states carried between them: a state that
/// was paired by its shape alone may be a constant that the exporter lost.
fn steps_give_the_window(probe: &mut Probe, drive: &Drive, found: &Found, parts: &Parts) -> bool {
    // A window that is flat, of one step or of a fixed length has no single steps to compare with.
    if found.layout == Layout::Flattened || found.window.is_some() || found.steps < 2 {
        return false;
    }
    let Ok(form) = layout::form(probe, drive, found, &parts.output, None) else { return false };
    let batch = found.batch.unwrap_or(1);
    let windows = Windows::random(1, found.steps, found.features, 11).row(0, batch);
    let states: Vec<(&str, &str)> =
        parts.states.iter().map(|state| (state.input.as_str(), state.output.as_str())).collect();
    let output = |given: probe::Given| Some(vec![form.take(given.get(&parts.output)?, 0)?]);
    let whole = probe.run(drive, &windows).ok().and_then(output);
    let stepped = prove::step_by_step(probe, drive, &windows, &states).ok().and_then(output);
    whole.zip(stepped).is_some_and(|(whole, stepped)| Comparison::of(&whole, &stepped).is_same())
}

/// The layers of a graph, as far as its file names them: nothing runs.
pub fn layers(onnx: &[u8]) -> Vec<String> {
    let nothing_beside = |_: &str| Err("a bundle has no data beside its graph".to_owned());
    let decoded = decode::decode(onnx, &nothing_beside);
    decoded.map_or_else(|_| Vec::new(), |(model, _)| words::words(&model, None))
}

/// Inputs that belong to nothing, with the values that were given for them.
fn with_values(extras: &[Side], constants: &BTreeMap<String, Vec<f64>>) -> Vec<Side> {
    let filled = |extra: &Side| {
        let mut extra = extra.clone();
        if let Some(values) = constants.get(&extra.name) {
            values.clone_into(&mut extra.values);
        }
        extra
    };
    extras.iter().map(filled).collect()
}

fn producer(model: &ModelProto) -> String {
    let named = format!("{} {}", model.producer_name, model.producer_version);
    let named = quoted(named.trim());
    if named.is_empty() { "unknown".to_owned() } else { named }
}

/// A shape such as `[B,30,3]`.
fn shape_in_words(dims: &[Option<usize>], layout: Layout) -> String {
    let symbols: &[&str] = match layout {
        Layout::BatchFirst => &["B", "T", "F"],
        Layout::TimeMajor => &["T", "B", "F"],
        Layout::Flattened => &["B", "T*F"],
        Layout::FeaturesFirst => &["B", "F", "T"],
    };
    let size = |(dim, symbol): (&Option<usize>, &&str)| {
        dim.map_or_else(|| (*symbol).to_owned(), |size| size.to_string())
    };
    let sizes: Vec<String> = dims.iter().zip(symbols).map(size).collect();
    format!("[{}]", sizes.join(","))
}

/// A size as the file states it.
fn size_of(dimension: Option<&Dimension>) -> Option<usize> {
    match dimension {
        // Some exporters write 0 or -1 for a size that is free.
        Some(Dimension::Value(size)) => usize::try_from(*size).ok().filter(|size| *size > 0),
        _ => None,
    }
}

impl Foreign {
    /// The graph as it was exported, with its data in it.
    fn original(&self) -> &ModelProto {
        &self.model
    }

    /// How the original is fed.
    fn drive(&self, constants: &BTreeMap<String, Vec<f64>>) -> Drive {
        let extras = with_values(&self.extras, constants);
        Drive {
            input: self.facts.input.name.clone(),
            layout: self.found.layout,
            element: self.facts.input.element,
            sides: self.sides.iter().cloned().chain(extras).collect(),
        }
    }
}
