//! From a foreign graph to `x [T,B,F]`, states `[1,B,H]`, `y [B,K]`.
//!
//! Owns the order of the rewrites, and the small ones. Promises that inputs and outputs keep the
//! names that they have in the file, that each rewrite is said in a sentence, and that the result
//! gives what the original gives, or is refused. Never tries a rewrite that it could not check by a
//! run.

use super::net::{Names, graph, graph_mut, opset, prune, rename_value};
use super::probe::{Drive, Probe, Shapes, Side, Windows};
use super::prove::{Comparison, OutputForm, run_original, run_whole, step_by_step};
use super::{Foreign, Layout, StateFacts, Wanted, expose, flow, fold, free, half, quoted, states};
use crate::engine::inference::Runtime;
use crate::engine::inference::trial::{Element, Tensor};
use crate::engine::model::manifest::{GraphSpec, Mode, StateSpec};
use crate::engine::onnx::{
    BOOL, DOUBLE, Dimension, FLOAT, FLOAT16, GraphProto, INT32, INT64, ModelProto, NodeProto,
    TensorProto, ValueInfoProto,
};

/// A graph as the engine drives it.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The file.
    pub onnx: Vec<u8>,
    /// The names by which it is driven.
    pub spec: GraphSpec,
    /// What was done to the original, a sentence each.
    pub rewrites: Vec<String>,
    /// The modes that it may have, each to be proven on real windows.
    pub modes: Vec<Mode>,
    /// Why a mode is missing, and what else is to be known.
    pub notes: Vec<String>,
    /// K
    pub columns: usize,
    /// Whether the graph takes one row at a time and no more.
    pub is_alone: bool,
}

/// Windows of random numbers on which a rewrite is compared with its original.
const WINDOWS_COMPARED: usize = 4;

/// The most numbers of a window: several of them are run at once.
const WINDOW_ELEMENTS_MAX: usize = super::layout::ROWS_ELEMENTS_MAX / 8;

/// What rounding cannot explain.
const MIXED_MIN: f32 = 1e-3;

/// A rewrite in progress.
struct Work<'f> {
    foreign: &'f Foreign,
    runtime: &'f dyn Runtime,
    wanted: &'f Wanted,
    model: ModelProto,
    said: Vec<String>,
    notes: Vec<String>,
    states: Vec<StateSpec>,
    output: String,
    form: OutputForm,
}

impl Foreign {
    /// Rewrites it to what the engine drives.
    ///
    /// # Errors
    /// A line for each reason why it cannot be, with the way out.
    pub fn rewrite(
        &self,
        runtime: &dyn Runtime,
        wanted: &Wanted,
    ) -> Result<Rewritten, Vec<String>> {
        self.fits(wanted)?;
        let (output, form) = (self.facts.output.name.clone(), self.form.clone());
        let mut work = Work {
            foreign: self,
            runtime,
            wanted,
            model: self.model.clone(),
            said: self.said.clone(),
            notes: Vec::new(),
            states: Vec::new(),
            output,
            form,
        };
        work.run().map_err(|problem| vec![problem])
    }

    /// A guard: the caller has compared what is wanted with the facts, in words of its own.
    fn fits(&self, wanted: &Wanted) -> Result<(), Vec<String>> {
        let Wanted { window, features, .. } = *wanted;
        let mut problems = Vec::new();
        let input = &self.facts.input;
        let width = window.saturating_mul(features);
        let is_as = |fixed: Option<usize>, wanted: usize| fixed.is_none_or(|size| size == wanted);
        if width == 0
            || !is_as(input.window, window)
            || !is_as(input.features, features)
            || !is_as(input.width, width)
        {
            problems.push(format!(
                "input `{}` is {}, and no window of {window} steps of {features} features",
                quoted(&input.name),
                input.shape
            ));
        }
        if width > WINDOW_ELEMENTS_MAX {
            problems.push(format!("a window has at most {WINDOW_ELEMENTS_MAX} numbers"));
        }
        let causes = self.extras.iter().zip(&self.facts.extra_causes);
        let missing = causes.filter(|(extra, _)| !wanted.constants.contains_key(&extra.name));
        problems.extend(missing.map(|(_, cause)| cause.clone()));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// How a graph of the engine's form is fed.
pub(super) fn sealed_drive(spec: &GraphSpec) -> Drive {
    let side = |state: &StateSpec| Side {
        name: state.input.clone(),
        element: Element::F32,
        dims: vec![1, 1, state.width as usize],
        batch_axis: Some(1),
        values: vec![0.0],
    };
    Drive {
        input: spec.input.clone(),
        layout: Layout::TimeMajor,
        element: Element::F32,
        sides: spec.states.iter().map(side).collect(),
    }
}

impl Work<'_> {
    fn run(&mut self) -> Result<Rewritten, String> {
        self.plain();
        self.front();
        self.back();
        self.split_states();
        self.tidy();
        let (input, output) = (self.foreign.facts.input.name.clone(), self.output.clone());
        let spec = GraphSpec { input, output, states: self.states.clone(), columns: None };
        let is_alone = self.free(&spec)?;
        self.declare(&spec);
        self.compare(&spec)?;
        let (spec, modes) = self.modes(spec, is_alone)?;
        if let Some(window) = self.foreign.facts.input.window {
            let fixed = format!("the window is fixed at {window} steps in the file");
            if modes.len() > 1 {
                self.said.push(format!("{fixed}: freed"));
            } else {
                self.notes.push(fixed);
            }
        }
        self.imports();
        Ok(Rewritten {
            onnx: self.model.to_bytes(),
            spec,
            rewrites: std::mem::take(&mut self.said),
            modes,
            notes: std::mem::take(&mut self.notes),
            columns: self.form.columns,
            is_alone,
        })
    }

    /// Constants become constants, and what is not used goes.
    fn plain(&mut self) {
        let Self { foreign, wanted, model, said, .. } = self;
        let output = &self.output;
        let inner = graph_mut(model);
        inner.value_info.clear();
        let constants: Vec<String> =
            inner.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        inner.input.retain(|input| !constants.contains(&input.name));
        for extra in &foreign.extras {
            let Some(values) = wanted.constants.get(&extra.name) else { continue };
            inner.input.retain(|input| input.name != extra.name);
            inner.initializer.push(constant(extra, values));
            said.push(format!("input `{}`: the constant that was given", quoted(&extra.name)));
        }
        let kept = |name: &String| {
            name == output || foreign.facts.states.iter().any(|state| state.output == *name)
        };
        let dropped: Vec<String> = inner
            .output
            .iter()
            .filter(|given| !kept(&given.name))
            .map(|given| format!("`{}`", quoted(&given.name)))
            .collect();
        if !dropped.is_empty() {
            said.push(format!("outputs that are no forecast dropped: {}", dropped.join(", ")));
        }
        inner.output.retain(|given| kept(&given.name));
        let weights = fold::fold(model);
        if weights > 0 {
            said.push(format!("{weights} computed weights: folded into constants"));
        }
        let inner = graph_mut(model);
        let zeros = fold::drop_zero_states(inner);
        if zeros > 0 {
            said.push(format!("first states of zero of {zeros} recurrent layers: left out"));
        }
        let widened = half::widen_recurrent(inner);
        if widened > 0 {
            said.push(format!(
                "{widened} recurrent layers of 16-bit floats: computed with 32 bits, as the \
                 runtime does"
            ));
        }
        prune(inner);
    }

    /// `x [T,B,F]` in front.
    fn front(&mut self) {
        let Self { foreign, model, said, .. } = self;
        let facts = &foreign.facts.input;
        let (name, shape) = (&facts.name, &facts.shape);
        let shown = quoted(name);
        let mut steps: Vec<NodeProto> = Vec::new();
        let inner = graph_mut(model);
        let mut names = Names::of(inner);
        let mut value = name.clone();
        let mut add = |node: NodeProto, names: &mut Names, value: &mut String| {
            let output = names.fresh("window");
            steps.push(NodeProto {
                input: with_first(value, &node),
                output: vec![output.clone()],
                ..node
            });
            *value = output;
        };
        let declared = graph(&foreign.model).input.iter().find(|input| input.name == *name);
        let to = declared.and_then(ValueInfoProto::elem_type).unwrap_or(FLOAT);
        if facts.element != Element::F32 {
            let cast = NodeProto::new("Cast", "", &[""], &[]).with_int("to", i64::from(to));
            add(cast, &mut names, &mut value);
            if to == FLOAT16 {
                let (bound, node) = half::rounding(&mut names);
                inner.initializer.push(bound);
                add(node, &mut names, &mut value);
            }
            let bits = if facts.element == Element::F64 { 64 } else { 16 };
            said.push(format!("input `{shown}` takes {bits}-bit floats: sealed with a Cast"));
        }
        let transpose =
            |order: &[i64]| NodeProto::new("Transpose", "", &[""], &[]).with_ints("perm", order);
        match facts.layout {
            Layout::TimeMajor => {}
            Layout::BatchFirst => {
                add(transpose(&[1, 0, 2]), &mut names, &mut value);
                said.push(format!(
                    "input `{shown}` is {shape}, batch first: sealed with a \
                                   Transpose"
                ));
            }
            Layout::FeaturesFirst => {
                add(transpose(&[1, 2, 0]), &mut names, &mut value);
                said.push(format!(
                    "input `{shown}` is {shape}, features before time: sealed with \
                                   a Transpose"
                ));
            }
            Layout::Flattened => {
                add(transpose(&[1, 0, 2]), &mut names, &mut value);
                let target = names.fresh("window_shape");
                inner.initializer.push(TensorProto::int64s(&target, &[2], &[0, -1]));
                add(NodeProto::new("Reshape", "", &["", &target], &[]), &mut names, &mut value);
                said.push(format!(
                    "input `{shown}` is {shape}, the window flattened: sealed with \
                                   a Transpose and a Reshape"
                ));
            }
        }
        if value != *name {
            super::net::redirect(inner, name, &value);
            inner.node.splice(0..0, steps);
        }
    }

    /// `y [B,K]` behind.
    fn back(&mut self) {
        let Self { model, said, form, output, .. } = self;
        let inner = graph_mut(model);
        let shown = quoted(output);
        let declared = inner.output.iter().find(|given| given.name == *output);
        let kind = declared.and_then(ValueInfoProto::elem_type).unwrap_or(FLOAT);
        let OutputForm { rank, batch, time, columns, .. } = *form;
        let is_plain = rank == 2 && batch == Some(0) && time.is_none();
        if is_plain && kind == FLOAT {
            return;
        }
        let mut names = Names::of(inner);
        let first = names.fresh("forecast");
        rename_value(inner, output, &first);
        let mut steps: Vec<NodeProto> = Vec::new();
        let mut value = first;
        let mut add = |node: NodeProto, names: &mut Names| {
            let output = names.fresh("forecast");
            let input = with_first(&value, &node);
            steps.push(NodeProto { input, output: vec![output.clone()], ..node });
            value = output;
        };
        let (mut rank, mut batch) = (rank, batch);
        if let Some(time) = time {
            let last = names.fresh("last_step");
            inner.initializer.push(TensorProto::int64s(&last, &[], &[-1]));
            let axis = i64::try_from(time).unwrap_or(0);
            let gather = NodeProto::new("Gather", "", &["", &last], &[]).with_int("axis", axis);
            add(gather, &mut names);
            rank -= 1;
            batch = batch.map(|batch| if batch > time { batch - 1 } else { batch });
            said.push(format!("output `{shown}` has a value for each step: the last one is taken"));
        }
        if let Some(at) = batch.filter(|at| *at > 0) {
            let others = (0..rank).filter(|axis| *axis != at);
            let order: Vec<i64> = std::iter::once(at)
                .chain(others)
                .map(|axis| i64::try_from(axis).unwrap_or(0))
                .collect();
            add(NodeProto::new("Transpose", "", &[""], &[]).with_ints("perm", &order), &mut names);
        }
        if rank != 2 || batch.is_none() {
            let target = names.fresh("forecast_shape");
            let columns_size = i64::try_from(columns).unwrap_or(-1);
            inner.initializer.push(TensorProto::int64s(&target, &[2], &[-1, columns_size]));
            add(NodeProto::new("Reshape", "", &["", &target], &[]), &mut names);
        }
        if kind == FLOAT16 {
            let (bound, node) = half::rounding(&mut names);
            inner.initializer.push(bound);
            add(node, &mut names);
        }
        if kind != FLOAT {
            let cast = NodeProto::new("Cast", "", &[""], &[]);
            add(cast.with_int("to", i64::from(FLOAT)), &mut names);
        }
        if let Some(last) = steps.last_mut() {
            last.output[0].clone_from(output);
        }
        inner.node.extend(steps);
        if !is_plain {
            said.push(format!("output `{shown}` brought to [B,{columns}]"));
        }
    }

    /// States `[1,B,H]`, in and out.
    fn split_states(&mut self) {
        let facts = self.foreign.facts.states.clone();
        for state in &facts {
            self.split_state(state);
        }
        let inputs: Vec<String> = self.states.iter().map(|state| state.input.clone()).collect();
        if !inputs.is_empty() {
            states::wire_pieces(graph_mut(&mut self.model), &inputs);
        }
    }

    fn split_state(&mut self, state: &StateFacts) {
        let StateFacts { input, output, layers, width, rank, batch_axis } = state;
        let side = self.foreign.sides.iter().find(|side| side.name == *input);
        let element = side.map_or(Element::F32, |side| side.element);
        let inner = graph_mut(&mut self.model);
        let size = u32::try_from(*width).unwrap_or(u32::MAX);
        if *rank == 3 && *batch_axis == 1 && *layers == 1 && element == Element::F32 {
            let (input, output) = (input.clone(), output.clone());
            self.states.push(StateSpec { input, output, width: size });
            return;
        }
        let mut names = Names::of(inner);
        let place = inner.input.iter().position(|given| given.name == *input).unwrap_or(0);
        inner.input.retain(|given| given.name != *input);
        inner.output.retain(|given| given.name != *output);
        let mut front: Vec<NodeProto> = Vec::new();
        let mut back: Vec<NodeProto> = Vec::new();
        let piece = |names: &mut Names, base: &str, layer: usize| {
            let numbered = if *layers == 1 { base.to_owned() } else { format!("{base}_{layer}") };
            names.fresh(&if *layers == 1 { format!("{numbered}_1") } else { numbered })
        };
        let inputs: Vec<String> = (0..*layers).map(|at| piece(&mut names, input, at)).collect();
        let outputs: Vec<String> = (0..*layers).map(|at| piece(&mut names, output, at)).collect();
        let mut link = |nodes: &mut Vec<NodeProto>, node: NodeProto| {
            let name = names.fresh("state");
            nodes.push(NodeProto { output: vec![name.clone()], ..node });
            name
        };
        // In: pieces, stacked, in the file's order of axes and of its type.
        let mut value = inputs[0].clone();
        if *layers > 1 {
            let all: Vec<&str> = inputs.iter().map(String::as_str).collect();
            value = link(&mut front, NodeProto::new("Concat", "", &all, &[]).with_int("axis", 0));
        }
        let mut constants: Vec<TensorProto> = Vec::new();
        let swap = |value: &str| {
            NodeProto::new("Transpose", "", &[value], &[]).with_ints("perm", &[1, 0, 2])
        };
        let signed = i64::try_from(*width).unwrap_or(0);
        if *rank == 2 {
            let target = format!("{}_shape", inputs[0]);
            constants.push(TensorProto::int64s(&target, &[2], &[-1, signed]));
            value = link(&mut front, NodeProto::new("Reshape", "", &[&value, &target], &[]));
        } else if *batch_axis == 0 {
            value = link(&mut front, swap(&value));
        }
        if element != Element::F32 {
            let to = i64::from(element_code(element));
            let cast = NodeProto::new("Cast", "", &[&value], &[]);
            value = link(&mut front, cast.with_int("to", to));
        }
        super::net::redirect(inner, input, &value);
        // Out: the same backwards.
        let mut value = output.clone();
        if element != Element::F32 {
            let cast = NodeProto::new("Cast", "", &[&value], &[]);
            value = link(&mut back, cast.with_int("to", i64::from(FLOAT)));
        }
        if *rank == 2 {
            let target = format!("{}_shape", outputs[0]);
            constants.push(TensorProto::int64s(&target, &[3], &[1, -1, signed]));
            value = link(&mut back, NodeProto::new("Reshape", "", &[&value, &target], &[]));
        } else if *batch_axis == 0 {
            value = link(&mut back, swap(&value));
        }
        for (at, name) in outputs.iter().enumerate() {
            if *layers == 1 {
                back.push(NodeProto::new("Identity", "", &[&value], &[name]));
                break;
            }
            let index = format!("{name}_place");
            constants.push(TensorProto::int64s(&index, &[1], &[i64::try_from(at).unwrap_or(0)]));
            let node = NodeProto::new("Gather", "", &[&value, &index], &[name]);
            back.push(node.with_int("axis", 0));
        }
        inner.node.splice(0..0, front);
        inner.node.extend(back);
        inner.initializer.extend(constants);
        let shape = || [Dimension::of(1), Dimension::named("B"), Dimension::of(*width)];
        for (at, name) in inputs.iter().enumerate() {
            inner.input.insert(place + at, ValueInfoProto::float_tensor(name, shape()));
        }
        for (input, output) in inputs.iter().zip(&outputs) {
            inner.output.push(ValueInfoProto::float_tensor(output, shape()));
            let (input, output) = (input.clone(), output.clone());
            self.states.push(StateSpec { input, output, width: size });
        }
        let (input, output) = (quoted(input), quoted(output));
        self.said.push(if *layers > 1 {
            format!(
                "states `{input}` and `{output}` hold {layers} layers: split into [1,B,{width}]"
            )
        } else {
            format!("states `{input}` and `{output}`: brought to [1,B,{width}]")
        });
    }

    /// Removes moves that cancel each other, and what is never read.
    fn tidy(&mut self) {
        fold::fold(&mut self.model);
        let inner = graph_mut(&mut self.model);
        if fold::cancel(inner) > 0 {
            self.said.push("moves of data that cancel each other: dropped".to_owned());
        }
        prune(inner);
    }

    /// Frees the batch where the file fixes it. Returns whether rows go alone.
    fn free(&mut self, spec: &GraphSpec) -> Result<bool, String> {
        let steps = self.wanted.window;
        let features = self.wanted.features;
        let drive = sealed_drive(spec);
        self.declare(spec);
        let mut complaint = String::new();
        for is_changed in [false, true] {
            if is_changed {
                let Some(batch) = self.foreign.facts.input.batch else { break };
                let (runtime, model) = (self.runtime, &mut self.model);
                let fixed = free::Fixed::Batch(batch);
                let sizes = [batch, steps];
                let freed = free::free(runtime, model, &drive, features, sizes, fixed);
                if freed == 0 {
                    break;
                }
                prune(graph_mut(model));
            }
            match self.rows_are_free(&drive, &spec.output) {
                Ok(()) => {
                    if let Some(batch) = self.foreign.facts.input.batch {
                        self.said.push(format!("the batch is fixed at {batch} in the file: freed"));
                    }
                    return Ok(false);
                }
                Err(said) => complaint = said,
            }
        }
        let mut probe = Probe::open(self.runtime, &self.model)?;
        probe
            .run(&drive, &Windows::random(1, steps, features, 3))
            .map_err(|said| format!("the rewritten graph does not run for one window: {said}"))?;
        self.notes.push(format!("it runs for one row at a time only: {complaint}"));
        Ok(true)
    }

    /// Runs several rows at once, which must give about what each gives alone.
    fn rows_are_free(&self, drive: &Drive, output: &str) -> Result<(), String> {
        let Wanted { window, features, .. } = *self.wanted;
        let mut probe = Probe::open(self.runtime, &self.model)?;
        for batch in [2, 3] {
            let windows = Windows::random(batch, window, features, 3);
            let together = probe.run(drive, &windows)?;
            let together = together.get(output).and_then(Tensor::to_f32).unwrap_or_default();
            if together.len() != batch * self.form.columns {
                return Err(format!("{batch} rows give {} numbers", together.len()));
            }
            for (at, together) in together.chunks_exact(self.form.columns).enumerate() {
                let alone = probe.run(drive, &windows.row(at, 1))?;
                let alone = alone.get(output).and_then(Tensor::to_f32).unwrap_or_default();
                let compared = Comparison::of(&[alone], &[together.to_vec()]);
                // A graph whose batch the file leaves open may mix rows; that is judged on real
                // windows. Here it would be a size that was freed wrongly.
                let is_freed = self.foreign.facts.input.batch.is_some();
                if is_freed && compared.largest_difference > MIXED_MIN {
                    return Err(format!("its rows mix: a row in a batch {}", compared.words()));
                }
            }
        }
        Ok(())
    }

    /// Says the shapes that the engine expects.
    fn declare(&mut self, spec: &GraphSpec) {
        let features = self.wanted.features;
        let inner = graph_mut(&mut self.model);
        inner.value_info.clear();
        let rows = [Dimension::named("T"), Dimension::named("B"), Dimension::of(features)];
        let shape =
            |width: u32| [Dimension::of(1), Dimension::named("B"), Dimension::of(width as usize)];
        let state = |name: &str, is_input: bool| {
            let named = |state: &&StateSpec| {
                *(if is_input { &state.input } else { &state.output }) == *name
            };
            spec.states.iter().find(named).map(|state| shape(state.width))
        };
        for input in &mut inner.input {
            if input.name == spec.input {
                *input = ValueInfoProto::float_tensor(&spec.input, rows.clone());
            } else if let Some(shape) = state(&input.name, true) {
                *input = ValueInfoProto::float_tensor(&input.name, shape);
            }
        }
        let columns = [Dimension::named("B"), Dimension::of(self.form.columns)];
        for output in &mut inner.output {
            if output.name == spec.output {
                *output = ValueInfoProto::float_tensor(&spec.output, columns.clone());
            } else if let Some(shape) = state(&output.name, false) {
                *output = ValueInfoProto::float_tensor(&output.name, shape);
            }
        }
        // Rows first, then states in their order; the forecast likewise.
        let place = |name: &String| spec.states.iter().position(|state| state.input == *name);
        inner.input.sort_by_key(|input| place(&input.name).map_or(0, |at| at + 1));
        let place = |name: &String| spec.states.iter().position(|state| state.output == *name);
        inner.output.sort_by_key(|output| place(&output.name).map_or(0, |at| at + 1));
    }

    /// Compares with the original's run.
    fn compare(&self, spec: &GraphSpec) -> Result<(), String> {
        let Wanted { window, features, .. } = *self.wanted;
        let windows = Windows::random(WINDOWS_COMPARED, window, features, 5);
        let windows: Vec<Vec<f32>> =
            windows.values.chunks_exact(window * features).map(<[f32]>::to_vec).collect();
        let original = run_original(self.foreign, self.runtime, self.wanted, &windows)?;
        let mut probe = Probe::open(self.runtime, &self.model)?;
        let drive = sealed_drive(spec);
        let sealed = run_whole(&mut probe, &drive, &spec.output, self.wanted, &windows)?;
        let compared = Comparison::of(&original, &sealed);
        if compared.is_same() {
            Ok(())
        } else {
            Err(format!(
                "the rewritten graph is not the original ({}): please report it",
                compared.words()
            ))
        }
    }

    /// The modes that the graph may have, with its states given out where that is wanted.
    fn modes(&mut self, spec: GraphSpec, is_alone: bool) -> Result<(GraphSpec, Vec<Mode>), String> {
        let whole = vec![Mode::Full];
        let drive = sealed_drive(&spec);
        let mut runs = vec![(1, 1), (1, 5), (1, 7)];
        if !is_alone {
            runs.extend([(2, 5), (3, 7)]);
        }
        let features = self.wanted.features;
        if let Some(window) = self.foreign.facts.input.window {
            self.free_window(&drive, window);
        }
        let reason = match Shapes::of(self.runtime, &self.model, &drive, features, &runs) {
            Err(_) => self.fixed_window_in_words(),
            Ok(shapes) => {
                let inner = graph_mut(&mut self.model);
                if free::fix_computed_shapes(inner, &shapes) > 0 {
                    self.said.push("computed shapes: made constants".to_owned());
                    prune(inner);
                }
                let opset = opset(&self.model);
                let inner = graph(&self.model);
                let states: Vec<String> =
                    spec.states.iter().map(|state| state.input.clone()).collect();
                let flow = flow::Flow::of(inner, opset, &spec.input, &states, &shapes);
                let reason = flow.reason(&spec.output);
                let begin = flow.begin_from_zero.clone();
                match reason {
                    None if !begin.is_empty() && self.wanted.expose_states => {
                        return self.exposed(spec, &begin);
                    }
                    None if begin.is_empty() && !spec.states.is_empty() => {
                        match self.steps_give_the_window(&spec) {
                            Ok(()) => return Ok((spec, self.all_modes())),
                            Err(said) => Some(format!("single steps give something else: {said}")),
                        }
                    }
                    None if begin.is_empty() => {
                        Some("it has no state: a step would forget the window".to_owned())
                    }
                    None => None,
                    reason => reason,
                }
            }
        };
        if let Some(reason) = reason {
            if !spec.states.is_empty() && self.steps_give_the_window(&spec).is_ok() {
                self.notes.push(format!(
                    "{reason}; single steps with its own states give what the window gives"
                ));
                return Ok((spec, self.all_modes()));
            }
            self.notes.push(format!("mode full only: {reason}"));
        }
        Ok((spec, whole))
    }

    /// Frees the window where the file fixes it; for windows of that length nothing changes.
    fn free_window(&mut self, drive: &Drive, window: usize) {
        let (runtime, model, features) = (self.runtime, &mut self.model, self.wanted.features);
        let fixed = free::Fixed::Window(window);
        free::free(runtime, model, drive, features, [1, window], fixed);
        if let Ok(shapes) = Shapes::of(runtime, model, drive, features, &[(1, window)]) {
            free::free_last_steps(graph_mut(model), &shapes, window);
        }
        prune(graph_mut(model));
    }

    fn fixed_window_in_words(&self) -> Option<String> {
        let inner = graph(&self.model);
        let looped = inner.node.iter().find(|node| super::net::bodies(node).next().is_some());
        let window = self.wanted.window;
        if self.foreign.facts.input.layout == Layout::Flattened {
            return Some("its window is flattened, so it has no steps to go by".to_owned());
        }
        Some(looped.map_or_else(
            || format!("it runs for windows of {window} steps only"),
            flow::loop_in_words,
        ))
    }

    fn all_modes(&self) -> Vec<Mode> {
        let carried = self.wanted.carried.then_some(Mode::Carried);
        [Mode::Full, Mode::Sliding].into_iter().chain(carried).collect()
    }

    /// Gives the states out, where single steps then give what the window gives.
    fn exposed(
        &mut self,
        spec: GraphSpec,
        nodes: &[usize],
    ) -> Result<(GraphSpec, Vec<Mode>), String> {
        let before = self.model.clone();
        let new = expose::expose(graph_mut(&mut self.model), nodes);
        let mut wider = spec.clone();
        wider.states.extend(new.iter().cloned());
        self.declare(&wider);
        match self.steps_give_the_window(&wider) {
            Ok(()) => {
                let kinds: Vec<String> =
                    nodes.iter().map(|at| graph(&before).node[*at].op_type.clone()).collect();
                let named: Vec<String> =
                    new.iter().map(|state| format!("`{}`", quoted(&state.input))).collect();
                self.said.push(format!(
                    "states of {} begin from zero: given out as {}",
                    super::in_words(kinds.into_iter()),
                    named.join(", ")
                ));
                Ok((wider, self.all_modes()))
            }
            Err(said) => {
                self.model = before;
                self.notes.push(format!(
                    "mode full only: single steps do not give what the window gives: {said}"
                ));
                Ok((spec, vec![Mode::Full]))
            }
        }
    }

    /// Runs windows step by step, which must give about what the whole window gives.
    fn steps_give_the_window(&self, spec: &GraphSpec) -> Result<(), String> {
        let Wanted { window, features, .. } = *self.wanted;
        let mut probe = Probe::open(self.runtime, &self.model)?;
        let drive = sealed_drive(spec);
        let windows = Windows::random(1, window, features, 11);
        let numbers = |given: &super::probe::Given| {
            given.get(&spec.output).and_then(Tensor::to_f32).unwrap_or_default()
        };
        let whole = numbers(&probe.run(&drive, &windows)?);
        let states: Vec<(&str, &str)> =
            spec.states.iter().map(|state| (state.input.as_str(), state.output.as_str())).collect();
        let last = numbers(&step_by_step(&mut probe, &drive, &windows, &states)?);
        let compared = Comparison::of(&[whole], &[last]);
        if compared.is_same() { Ok(()) } else { Err(compared.words()) }
    }

    /// Operator sets that no node is of go, from the list of imports.
    fn imports(&mut self) {
        let mut used = std::collections::HashSet::new();
        domains(graph(&self.model), &mut used);
        let name = |domain: &str| {
            if super::net::is_standard(domain) { String::new() } else { domain.to_owned() }
        };
        let unused: Vec<String> = self
            .model
            .opset_import
            .iter()
            .filter(|import| !used.contains(&name(&import.domain)) && !import.domain.is_empty())
            .filter(|import| !super::net::is_standard(&import.domain))
            .map(|import| format!("`{}`", quoted(&import.domain)))
            .collect();
        if !unused.is_empty() {
            self.model.opset_import.retain(|import| {
                super::net::is_standard(&import.domain) || used.contains(&import.domain)
            });
            self.said.push(format!(
                "operator sets that no node is of, no longer imported: {}",
                unused.join(", ")
            ));
        }
    }
}

fn domains(graph: &GraphProto, used: &mut std::collections::HashSet<String>) {
    for node in &graph.node {
        let is_standard = super::net::is_standard(&node.domain);
        used.insert(if is_standard { String::new() } else { node.domain.clone() });
        super::net::bodies(node).for_each(|body| domains(body, used));
    }
}

/// The inputs of a node whose first one was left open.
fn with_first(value: &str, node: &NodeProto) -> Vec<String> {
    std::iter::once(value.to_owned()).chain(node.input.iter().skip(1).cloned()).collect()
}

fn element_code(element: Element) -> i32 {
    match element {
        Element::F16 => FLOAT16,
        Element::F64 => DOUBLE,
        Element::I32 => INT32,
        Element::I64 => INT64,
        Element::Bool => BOOL,
        _ => FLOAT,
    }
}

/// The constant in place of an input that the exporter lost.
fn constant(extra: &Side, values: &[f64]) -> TensorProto {
    let count = extra.dims.iter().product();
    let values: Vec<f64> = match values {
        [one] => vec![*one; count],
        many => many.to_vec(),
    };
    let dims = extra.dims.iter().map(|size| i64::try_from(*size).unwrap_or(0)).collect();
    let (name, data_type) = (extra.name.clone(), element_code(extra.element));
    let mut tensor = TensorProto { dims, name, data_type, ..TensorProto::default() };
    match extra.element {
        Element::F64 => tensor.double_data = values,
        Element::I64 => tensor.int64_data = values.iter().map(|value| *value as i64).collect(),
        Element::I32 | Element::Bool => {
            tensor.int32_data = values.iter().map(|value| *value as i32).collect();
        }
        _ => tensor.float_data = values.iter().map(|value| *value as f32).collect(),
    }
    tensor
}
