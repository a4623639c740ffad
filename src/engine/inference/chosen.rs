//! The runtime that the configuration chooses: ONNX Runtime, or native kernels proven against it.
//!
//! Owns the proof. Promises that a model runs natively only where its outputs and states agree with
//! those of the reference on random windows, at every load, within [`TOLERANCE`] of their range;
//! what the bundle's golden vectors say is asked beside, as of every runtime. Never lets two
//! runtimes share a state: [`Backend::rounding`] says whose numbers a model has.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tracing::info;

use super::{Backend, InferenceError, NativeRuntime, Runtime, Shape, Signature, Trial};

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

/// What came of comparing a graph with the reference, by the hash of the graph.
type Compared = HashMap<[u8; 32], Result<(), String>>;

/// What computes the models of a configuration. Cloning shares it.
#[derive(Clone)]
pub struct ChosenRuntime {
    choice: RuntimeChoice,
    native: NativeRuntime,
    reference: Arc<dyn Runtime>,
    compared: Arc<Mutex<Compared>>,
}

/// How far numbers may lie apart, in relation to the largest of the reference, or to 1 where that
/// is smaller.
pub const TOLERANCE: f32 = 1e-6;

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

    /// A native model that agrees with the reference.
    fn native(
        &self,
        onnx: &[u8],
        signature: &Signature,
    ) -> Result<Box<dyn Backend>, InferenceError> {
        let backend = self.native.open(onnx, signature)?;
        let hash = Sha256::digest(onnx).into();
        let known = self.compared().get(&hash).cloned();
        let agreed = match known {
            Some(agreed) => agreed,
            None => {
                // On backends of their own, whose tensors are then given back.
                let mut ours = self.native.open(onnx, signature)?;
                let mut theirs = self.reference.open(onnx, signature)?;
                let agreed = compare(&mut *ours, &mut *theirs, signature)?;
                self.compared().insert(hash, agreed.clone());
                agreed
            }
        };
        match agreed {
            Ok(()) => Ok(backend),
            Err(message) => {
                Err(InferenceError::Runtime { context: "compare with ONNX Runtime", message })
            }
        }
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        // What is in it stays true whoever panicked meanwhile.
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
            RuntimeChoice::Native => self.native(onnx, signature),
            // Without fused products in the processor, ONNX Runtime is faster.
            RuntimeChoice::Auto if !self.native.is_fast() => self.reference.open(onnx, signature),
            RuntimeChoice::Auto => match self.native(onnx, signature) {
                Ok(backend) => Ok(backend),
                Err(error) => {
                    let why = error.to_string();
                    info!(why, "the model runs on ONNX Runtime: the native runtime refuses it");
                    self.reference.open(onnx, signature)
                }
            },
        }
    }

    fn trial(&self, onnx: &[u8]) -> Result<Box<dyn Trial>, InferenceError> {
        self.reference.trial(onnx)
    }
}

/// Takes random windows through both, step by step, each with its own states, and says where they
/// differ first.
fn compare(
    ours: &mut dyn Backend,
    theirs: &mut dyn Backend,
    signature: &Signature,
) -> Result<Result<(), String>, InferenceError> {
    // Graphs without states see whole windows only.
    let is_stateful = !signature.states.is_empty();
    let steps = if is_stateful { 1 } else { STEPS };
    let shape = Shape { steps, batch: WINDOWS };
    let (our_lane, their_lane) = (ours.lane(shape)?, theirs.lane(shape)?);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for step in 0..if is_stateful { STEPS } else { 1 } {
        let rows = ours.rows_mut(our_lane);
        rows.fill_with(|| random.number());
        theirs.rows_mut(their_lane).copy_from_slice(rows);
        ours.run(our_lane)?;
        theirs.run(their_lane)?;
        let apart = distance(ours.output(our_lane), theirs.output(their_lane));
        if let Some(apart) = apart {
            return Ok(Err(format!("outputs after {} rows are {apart}", step + steps)));
        }
        for (index, state) in signature.states.iter().enumerate() {
            let (our_state, their_state) = (
                ours.next_state(our_lane, index).to_vec(),
                theirs.next_state(their_lane, index).to_vec(),
            );
            if let Some(apart) = distance(&our_state, &their_state) {
                let name = crate::core::text::excerpt(&state.input, NAME_CHARS_MAX);
                return Ok(Err(format!("state `{name}` after {} rows is {apart}", step + steps)));
            }
            ours.state_mut(our_lane, index).copy_from_slice(&our_state);
            theirs.state_mut(their_lane, index).copy_from_slice(&their_state);
        }
    }
    Ok(Ok(()))
}

/// The characters of a state's name that are shown.
const NAME_CHARS_MAX: usize = 60;

/// What lies too far apart, in words. Numbers that are not finite agree with each other alone.
fn distance(ours: &[f32], theirs: &[f32]) -> Option<String> {
    let range =
        theirs.iter().filter(|x| x.is_finite()).fold(1.0_f32, |range, x| range.max(x.abs()));
    let fits = |ours: f32, theirs: f32| match (ours.is_finite(), theirs.is_finite()) {
        (true, true) => (ours - theirs).abs() <= TOLERANCE * range,
        (ours_finite, theirs_finite) => ours_finite == theirs_finite,
    };
    let (ours, theirs) = ours.iter().zip(theirs).find(|(ours, theirs)| !fits(**ours, **theirs))?;
    let limit = TOLERANCE * range;
    Some(format!("{ours} natively and {theirs} by ONNX Runtime, at most {limit} apart is accepted"))
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
