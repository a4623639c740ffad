//! The runtime that the configuration chooses: ONNX Runtime, or native kernels proven against it.
//!
//! Owns the proof. Promises that a model runs natively only where each step's outputs and states
//! agree with those of the reference on random windows within [`TOLERANCE`] of their range, and
//! where a step in parts gives the bits of a run. A process proves each graph once; the golden
//! vectors of the bundle are asked beside, as of every runtime. Never lets two runtimes share a
//! state: [`Backend::rounding`] says whose numbers a model has.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sha2::{Digest, Sha256};

use super::native::{Fixed, NativeModel, READ};
use super::{Backend, InferenceError, Lane, NativeRuntime, Runtime, Shape, Signature, Trial};

/// What `engine.runtime` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// ONNX Runtime runs every model.
    #[default]
    OnnxRuntime,
    /// The native kernels run every model; one that they do not take is refused.
    Native,
    /// The native kernels run the models that they take, and ONNX Runtime the others.
    Auto,
}

/// What came of comparing graphs with the reference, by the hash of the graph and its signature.
type Compared = HashMap<[u8; 32], Verdict>;

/// Whether a model runs natively.
#[derive(Clone)]
enum Verdict {
    /// It does. Its weights are shared by all backends and end with the last of them.
    Native(Weak<NativeModel>),
    Refused(Refusal),
}

/// Why a model does not run natively: the reader does not take it, or its numbers differ. It says
/// nothing of the reference, whose failures are errors.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    context: &'static str,
    message: String,
}

/// What computes the models of a configuration. Cloning shares it.
#[derive(Clone)]
pub struct ChosenRuntime {
    choice: RuntimeChoice,
    native: NativeRuntime,
    reference: Arc<dyn Runtime>,
    compared: Arc<Mutex<Compared>>,
}

/// How far the numbers of one step may lie apart, in relation to the largest of the reference, or
/// to 1 where that is smaller. ONNX Runtime's own rounding reaches 2e-6 where weights are large.
pub const TOLERANCE: f32 = 4e-6;

/// How much larger the rows of every second pair of windows are. Their sums round by as much more,
/// so [`TOLERANCE`] grows with it.
const LARGE: f32 = 10.0;

/// The windows that are compared, and their rows.
const WINDOWS: usize = 16;
const STEPS: usize = 30;

impl RuntimeChoice {
    /// Every choice, as the configuration writes it.
    pub const ALL: [(&'static str, Self); 3] =
        [("onnxruntime", Self::OnnxRuntime), ("native", Self::Native), ("auto", Self::Auto)];

    /// The choice as the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime",
            Self::Native => "native",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl ChosenRuntime {
    /// What runs models by this choice; `reference` is ONNX Runtime.
    pub fn new(choice: RuntimeChoice, reference: Arc<dyn Runtime>) -> Self {
        Self { choice, native: NativeRuntime::new(), reference, compared: Arc::default() }
    }

    /// The choice that it was made with.
    pub fn choice(&self) -> RuntimeChoice {
        self.choice
    }

    /// A native model that agrees with the reference, or why there is none. An error is a failure
    /// of one of the runtimes, which says nothing of the model and is not kept.
    fn native(
        &self,
        onnx: &[u8],
        signature: &Signature,
    ) -> Result<Result<Box<dyn Backend>, Refusal>, InferenceError> {
        let hash = hash_of(onnx, signature);
        let known = self.compared().get(&hash).cloned();
        let model = match known {
            Some(Verdict::Refused(refusal)) => Err(refusal),
            Some(Verdict::Native(model)) => match model.upgrade() {
                Some(model) => Ok(model),
                None => read(onnx, signature),
            },
            None => self.agreed(onnx, signature)?,
        };
        let verdict = match &model {
            Ok(model) => Verdict::Native(Arc::downgrade(model)),
            Err(refusal) => Verdict::Refused(refusal.clone()),
        };
        self.compared().insert(hash, verdict);
        Ok(model.map(|model| Box::new(self.native.backend(model)) as Box<dyn Backend>))
    }

    /// Reads a model and compares it, on backends that are given back.
    fn agreed(
        &self,
        onnx: &[u8],
        signature: &Signature,
    ) -> Result<Result<Arc<NativeModel>, Refusal>, InferenceError> {
        let model = match read(onnx, signature) {
            Ok(model) => model,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut ours = self.native.backend(Arc::clone(&model));
        let mut theirs = self.reference.open(onnx, signature)?;
        let compared = compare(&mut ours, &mut *theirs, signature, model.fixed())?;
        let context = "compare with ONNX Runtime";
        Ok(compared.map(|()| model).map_err(|message| Refusal { context, message }))
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        // What is in it stays true where a thread has panicked.
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for ChosenRuntime {
    fn name(&self) -> &'static str {
        self.choice.name()
    }

    fn build(&self) -> String {
        let reference = self.reference.build();
        match self.choice {
            RuntimeChoice::OnnxRuntime => reference,
            RuntimeChoice::Native | RuntimeChoice::Auto => {
                format!("native {} beside {reference}", self.native.build())
            }
        }
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        match self.choice {
            RuntimeChoice::OnnxRuntime => self.reference.open(onnx, signature),
            RuntimeChoice::Native => self.native(onnx, signature)?.map_err(|refusal| {
                let Refusal { context, message } = refusal;
                let message = format!("{message}; {}", NativeRuntime::INSTEAD);
                InferenceError::Runtime { context, message }
            }),
            // Without fused products in the processor, ONNX Runtime is faster.
            RuntimeChoice::Auto if !self.native.is_fast() => self.reference.open(onnx, signature),
            RuntimeChoice::Auto => match self.native(onnx, signature)? {
                Ok(backend) => Ok(backend),
                Err(_) => self.reference.open(onnx, signature),
            },
        }
    }

    fn passed_over(&self, onnx: &[u8], signature: &Signature) -> Option<String> {
        if self.choice != RuntimeChoice::Auto {
            return None;
        }
        if !self.native.is_fast() {
            return Some("this processor has no AVX2 and FMA".to_owned());
        }
        match self.compared().get(&hash_of(onnx, signature))? {
            Verdict::Native(_) => None,
            Verdict::Refused(refusal) => Some(refusal.to_string()),
        }
    }

    fn trial(&self, onnx: &[u8]) -> Result<Box<dyn Trial>, InferenceError> {
        self.reference.trial(onnx)
    }
}

/// A verdict is of a graph and of how it is driven.
fn hash_of(onnx: &[u8], signature: &Signature) -> [u8; 32] {
    let hash = Sha256::new_with_prefix(Sha256::digest(onnx));
    hash.chain_update(format!("{signature:?}")).finalize().into()
}

fn read(onnx: &[u8], signature: &Signature) -> Result<Arc<NativeModel>, Refusal> {
    let model = NativeModel::read(onnx, signature);
    model.map(Arc::new).map_err(|message| Refusal { context: READ, message })
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.context, self.message)
    }
}

/// Takes random windows through both, step by step, and says where they differ first. Every step
/// begins from the states of the reference on both sides, so the rounding of one step alone counts.
/// Half of the windows begin from random states, and half of each have large rows.
fn compare(
    ours: &mut dyn Backend,
    theirs: &mut dyn Backend,
    signature: &Signature,
    fixed: Fixed,
) -> Result<Result<(), String>, InferenceError> {
    // Graphs without states see whole windows only.
    let is_stateful = !signature.states.is_empty();
    let steps = fixed.steps.unwrap_or(if is_stateful { 1 } else { STEPS });
    let shape = Shape { steps, batch: fixed.batch.unwrap_or(WINDOWS) };
    let runs = if is_stateful { STEPS.div_ceil(steps) } else { 1 };
    let (our_lane, their_lane) = (ours.lane(shape)?, theirs.lane(shape)?);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for first in (0..WINDOWS).step_by(shape.batch) {
        let scale = |at: usize| if (first + at) % 4 >= 2 { LARGE } else { 1.0 };
        let mut states: Vec<Vec<f32>> = Vec::with_capacity(signature.states.len());
        for state in &signature.states {
            let begin = |at: usize| {
                let is_random = (first + at / state.width) % 2 == 1;
                if is_random { random.number() / 2.0 } else { 0.0 }
            };
            states.push((0..shape.batch * state.width).map(begin).collect());
        }
        for run in 0..runs {
            let rows = ours.rows_mut(our_lane);
            for (at, row) in rows.chunks_exact_mut(signature.features).enumerate() {
                row.fill_with(|| random.number() * scale(at % shape.batch));
            }
            let rows = rows.to_vec();
            theirs.rows_mut(their_lane).copy_from_slice(&rows);
            for (index, state) in states.iter().enumerate() {
                ours.state_mut(our_lane, index).copy_from_slice(state);
                theirs.state_mut(their_lane, index).copy_from_slice(state);
            }
            ours.run(our_lane)?;
            theirs.run(their_lane)?;
            let seen = (run + 1) * steps;
            let (our_output, their_output) = (ours.output(our_lane), theirs.output(their_lane));
            let count = signature.columns.count;
            for column in 0..count {
                let of = |numbers: &[f32]| -> Vec<f32> {
                    numbers.iter().skip(column).step_by(count).copied().collect()
                };
                if let Some(apart) = distance(&of(our_output), &of(their_output), scale) {
                    return Ok(Err(format!("output {column} after {seen} rows is {apart}")));
                }
            }
            for (index, state) in signature.states.iter().enumerate() {
                let ours = ours.next_state(our_lane, index);
                let theirs = theirs.next_state(their_lane, index);
                if let Some(apart) = distance(ours, theirs, |at| scale(at / state.width)) {
                    let name = crate::core::text::excerpt(&state.input, NAME_CHARS_MAX);
                    return Ok(Err(format!("state `{name}` after {seen} rows is {apart}")));
                }
            }
            if let Some(part) = differing_part(ours, our_lane, &rows, &states, signature) {
                return Ok(Err(format!("{part} gives other bits than a run of {}", shape.batch)));
            }
            for (index, state) in states.iter_mut().enumerate() {
                state.copy_from_slice(theirs.next_state(their_lane, index));
            }
        }
    }
    Ok(Ok(()))
}

/// The part of a step whose numbers are not the bits of the run that was made of these rows and
/// states. The first window is taken; the code of a part is the same for all.
fn differing_part(
    ours: &mut dyn Backend,
    lane: Lane,
    rows: &[f32],
    states: &[Vec<f32>],
    signature: &Signature,
) -> Option<&'static str> {
    let count = signature.columns.count;
    let output = ours.output(lane)[..count].to_vec();
    let widths = signature.states.iter().map(|state| state.width);
    let after: Vec<Vec<f32>> = widths
        .enumerate()
        .map(|(index, width)| ours.next_state(lane, index)[..width].to_vec())
        .collect();
    let batch = ours.output(lane).len() / count;
    let parts = ours.parts()?;
    let width = parts.state_width();
    let mut window = vec![0.0; width];
    for (index, (state, after)) in states.iter().zip(&after).enumerate() {
        let place = parts.state_place(index);
        window[place..][..after.len()].copy_from_slice(&state[..after.len()]);
    }
    let mut pair = window.repeat(2);
    let mut stepped = window.clone();
    let mut outputs = [vec![0.0; count], vec![0.0; count]];
    let mut half = vec![0.0; parts.half_width()];
    for rows in rows.chunks_exact(batch * signature.features) {
        let row = &rows[..signature.features];
        parts.ahead(&window, &mut half);
        parts.finish(row, &window, &half, &mut outputs[0]);
        parts.step(row, &mut stepped, &mut outputs[1]);
        parts.advance(row, &mut window);
        parts.advance(row, &mut pair);
    }
    let moved = |states: &[f32]| {
        after.iter().enumerate().all(|(index, after)| {
            same_bits(&states[parts.state_place(index)..][..after.len()], after)
        })
    };
    if !same_bits(&outputs[0], &output) {
        return Some("a step whose half was made ahead");
    }
    if !same_bits(&outputs[1], &output) || !moved(&stepped) {
        return Some("a step of one window");
    }
    if !moved(&window) || !moved(&pair[..width]) || !moved(&pair[width..]) {
        return Some("a row that moves windows on");
    }
    None
}

/// NaN agrees with NaN: which of two operands gives its payload is not defined.
fn same_bits(one: &[f32], other: &[f32]) -> bool {
    let same = |(one, other): (&f32, &f32)| {
        one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan())
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// The characters of a state's name that are shown.
const NAME_CHARS_MAX: usize = 60;

/// The two numbers that lie farthest apart, in words, where that is too far. `scale` says how much
/// coarser the number at a place may round. Numbers that are not finite agree with their own kind
/// and sign alone.
fn distance(ours: &[f32], theirs: &[f32], scale: impl Fn(usize) -> f32) -> Option<String> {
    let range =
        theirs.iter().filter(|x| x.is_finite()).fold(1.0_f32, |range, x| range.max(x.abs()));
    let limit = |at: usize| TOLERANCE * range * scale(at);
    let excess = |at: usize, ours: f32, theirs: f32| {
        if ours.is_finite() && theirs.is_finite() {
            (ours - theirs).abs() / limit(at)
        } else if ours == theirs || (ours.is_nan() && theirs.is_nan()) {
            0.0
        } else {
            f32::INFINITY
        }
    };
    let pairs = ours.iter().zip(theirs).enumerate();
    let excesses = pairs.map(|(at, (ours, theirs))| (excess(at, *ours, *theirs), at));
    let (farthest, at) = excesses.max_by(|one, other| one.0.total_cmp(&other.0))?;
    let (ours, theirs) = (ours[at], theirs[at]);
    (farthest > 1.0).then(|| {
        let (apart, limit) = ((ours - theirs).abs(), limit(at));
        format!(
            "{ours} natively and {theirs} by ONNX Runtime, {apart} apart; at most {limit} is \
             accepted"
        )
    })
}

/// Numbers between -2 and 2, the same at every load.
struct Random(u64);

impl Random {
    fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The 24 highest bits are exact in an `f32`.
        (self.0 >> 40) as f32 / (1_u64 << 22) as f32 - 2.0
    }
}

#[cfg(test)]
mod tests;
