//! Inference: tensors in, tensors out.
//!
//! Owns the seam behind which a runtime stands. Promises that rows of a batch do not influence
//! each other and that no run allocates tensors. Never knows files, symbols or features.

mod chosen;
mod host;
mod native;
mod onnxruntime;
#[cfg(test)]
pub(crate) mod test_support;
pub mod trial;

use crate::core::forecast::Output;

pub use self::chosen::{ChosenRuntime, RuntimeChoice, TOLERANCE};
pub use self::host::{HostBackend, HostTensors};
pub use self::native::NativeRuntime;
pub use self::onnxruntime::{
    LibraryError, OnnxRuntime, OrtBackend, TELEMETRY_SWITCHES, locate_library,
};
pub use self::trial::Trial;

/// The names and widths by which a graph is driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The graph input of the rows, `[T,B,F]`.
    pub input: String,
    /// F.
    pub features: usize,
    /// The graph output of the forecast, `[B,K]`.
    pub output: String,
    /// What its K columns are.
    pub columns: Columns,
    /// The recurrent states in the order of the graph's inputs.
    pub states: Vec<StateSignature>,
}

/// What the columns of the output are, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// K.
    pub count: usize,
    /// The column of the value.
    pub value: usize,
    /// The columns of the lower and the upper end of the model's own interval.
    pub ends: Option<[usize; 2]>,
}

impl Default for Columns {
    /// The value alone.
    fn default() -> Self {
        Self { count: 1, value: 0, ends: None }
    }
}

impl Columns {
    /// What a row of the output says.
    pub fn read(&self, row: &[f32]) -> Output {
        let ends = self.ends.map(|ends| ends.map(|column| row[column]));
        Output { value: row[self.value], ends }
    }
}

/// One recurrent state `[1,B,width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSignature {
    /// The graph input that takes it.
    pub input: String,
    /// The graph output that gives it after the steps.
    pub output: String,
    /// Numbers per row: H.
    pub width: usize,
}

/// The shape of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Steps per row: T.
    pub steps: usize,
    /// Rows: B.
    pub batch: usize,
}

/// One prepared shape of a backend: its own tensors, bound once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(usize);

impl Lane {
    /// The lane at a backend's own index.
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// The backend's own index.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Why inference failed.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The runtime refused; the text is the runtime's own.
    #[error("{context}: {message}")]
    Runtime {
        /// What was being done.
        context: &'static str,
        /// The runtime's own words.
        message: String,
    },
    /// The telemetry of ONNX Runtime is not switched off in the environment.
    #[error(
        "ONNX Runtime's telemetry is on: set ORT_DISABLE_TELEMETRY=1 and ORT_TELEMETRY_DISABLED=1 \
         before the process loads the library"
    )]
    Telemetry,
}

/// What computes models. One per process; it opens a model for every shard.
pub trait Runtime: Send + Sync {
    /// What it is called in `/version`, metrics and messages.
    fn name(&self) -> &'static str;

    /// Its build, in its own words.
    fn build(&self) -> String;

    /// Opens a model from bytes whose hash was checked. The caller proves what comes back by the
    /// model's golden vectors before it is used.
    ///
    /// # Errors
    /// [`InferenceError::Runtime`] where the runtime cannot run the graph, with what to do instead.
    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError>;

    /// Why the fallback runs a model that was opened, where this chooses between two runtimes by
    /// model. `None` where the preferred one runs it.
    fn passed_over(&self, _onnx: &[u8], _signature: &Signature) -> Option<String> {
        None
    }

    /// Opens a graph as it is, to find out what it does. A runtime that only runs models of a known
    /// signature need not have it.
    ///
    /// # Errors
    /// [`InferenceError::Runtime`] where the runtime cannot open the graph, in plain words.
    fn trial(&self, _onnx: &[u8]) -> Result<Box<dyn Trial>, InferenceError> {
        Err(InferenceError::Runtime {
            context: "open the graph",
            message: format!("{} has no trial runs", self.name()),
        })
    }
}

/// A runtime that holds one model. One owner thread drives it.
pub trait Backend: Send {
    /// Prepares tensors for a shape, or finds those prepared before. The set of shapes a caller
    /// asks for must be small: each keeps its tensors for good.
    ///
    /// # Errors
    /// [`InferenceError::Runtime`] where the runtime refuses the shape.
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError>;

    /// The rows of a lane, `[T,B,F]`, to be filled before a run.
    fn rows_mut(&mut self, lane: Lane) -> &mut [f32];

    /// The incoming state at `index`, `[B,H]`, to be filled before a run.
    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32];

    /// Runs the lane on what its inputs hold.
    ///
    /// # Errors
    /// [`InferenceError::Runtime`] where the runtime fails.
    fn run(&mut self, lane: Lane) -> Result<(), InferenceError>;

    /// The output of the last run of the lane, `[B,K]`.
    fn output(&self, lane: Lane) -> &[f32];

    /// The outgoing state at `index` of the last run of the lane, `[B,H]`.
    fn next_state(&self, lane: Lane, index: usize) -> &[f32];

    /// Whose rounding its numbers have.
    fn rounding(&self) -> Rounding {
        Rounding::OnnxRuntime
    }

    /// The model's step in parts, where the backend can take it apart.
    fn parts(&mut self) -> Option<&mut dyn Parts> {
        None
    }
}

/// Whose rounding the numbers of a model have. They agree within a small tolerance, and not bit for
/// bit, so a state of one is none of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Those of ONNX Runtime, and of its substitutes in tests.
    OnnxRuntime,
    /// Those of the native kernels.
    Native,
}

impl Rounding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OnnxRuntime, Self::Native];

    /// The runtime's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime",
            Self::Native => "native",
        }
    }
}

/// A step in parts, on states that lie in the caller's memory: `state_width` numbers a window, all
/// recurrent states of the model in the backend's own order. A window of zeros has seen no row.
///
/// Of a step, the products of the states with the recurrent weights are known before the row is:
/// [`Parts::ahead`] makes them, and [`Parts::finish`] does what is left when it comes. The numbers
/// are those of [`Backend::run`], bit for bit, in whichever parts they are made.
pub trait Parts {
    /// The numbers of a window's states.
    fn state_width(&self) -> usize;

    /// The numbers that are known ahead of a row.
    fn half_width(&self) -> usize;

    /// Where the state at `index` of the signature begins in a window's states.
    fn state_place(&self, index: usize) -> usize;

    /// Fills `half` with what is known of the next step of a window.
    fn ahead(&mut self, state: &[f32], half: &mut [f32]);

    /// Gives a window its last step, from its states and what was made of them ahead, and fills
    /// `output`, `[K]`. The states stay as they are.
    fn finish(&mut self, row: &[f32], state: &[f32], half: &[f32], output: &mut [f32]);

    /// Moves windows, `[n][state_width]`, on by the same row.
    fn advance(&mut self, row: &[f32], states: &mut [f32]);

    /// Has the processor's caches hold what [`Parts::finish`] reads of the model, after other work
    /// has taken them and before the next row comes.
    fn fetch(&mut self) {}

    /// Moves windows on by a row each, `[n][F]`, and fills their outputs, `[n][K]`.
    fn step(&mut self, rows: &[f32], states: &mut [f32], outputs: &mut [f32]);
}
