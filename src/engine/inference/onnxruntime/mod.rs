//! ONNX Runtime behind the seam: the only folder that names the crate `ort`.
//!
//! Owns the loaded library, the sessions and their bound tensors. Promises that telemetry is off
//! before the library loads, that its log lines are lines of ours, that every session has exactly
//! one thread (its caller's), and that inputs and outputs are bound once per shape. Never loads a
//! model from a path: it takes bytes that somebody verified.

mod library;
mod trial;

use std::path::Path;
use std::sync::Arc;

use ort::AsPointer;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::IoBinding;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::Tensor;
use tracing::{debug, error, warn};

pub use self::library::{LibraryError, locate_library};

use super::{Backend, InferenceError, Lane, Runtime, Shape, Signature, Trial};
use crate::core::text::excerpt;

/// The environment variables that keep ONNX Runtime from sending telemetry.
pub const TELEMETRY_SWITCHES: [&str; 2] = ["ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"];

/// The loaded library; one per process. Cloning shares it.
#[derive(Clone)]
pub struct OnnxRuntime {
    environment: Environment,
}

/// One session of ONNX Runtime with its bound tensors.
pub struct OrtBackend {
    session: Session,
    signature: Signature,
    lanes: Vec<BoundLane>,
}

/// The tensors of one shape, bound to the session once.
struct BoundLane {
    shape: Shape,
    binding: IoBinding,
    rows: Tensor<f32>,
    states: Vec<Tensor<f32>>,
    output: Tensor<f32>,
    next_states: Vec<Tensor<f32>>,
}

/// The characters of the runtime's own words that are shown: they quote names out of the graph.
const MESSAGE_CHARS_MAX: usize = 300;

/// The characters of a place in the runtime's source.
const PLACE_CHARS_MAX: usize = 120;

/// Logs a line of the runtime as one of ours. Called by the runtime, so it must not panic.
fn log_line(level: LogLevel, place: &str, line: &str) {
    let (runtime, place) = (excerpt(line, MESSAGE_CHARS_MAX), excerpt(place, PLACE_CHARS_MAX));
    match level {
        LogLevel::Error | LogLevel::Fatal => {
            error!(runtime, place, "ONNX Runtime reports an error");
        }
        LogLevel::Warning => warn!(runtime, place, "ONNX Runtime warns"),
        LogLevel::Info | LogLevel::Verbose => debug!(runtime, place, "ONNX Runtime reports"),
    }
}

/// Wraps the crate's error with what was being done.
fn failed<E: std::fmt::Display>(context: &'static str) -> impl Fn(E) -> InferenceError {
    move |error| {
        let message = excerpt(&error.to_string(), MESSAGE_CHARS_MAX);
        InferenceError::Runtime { context, message }
    }
}

impl OnnxRuntime {
    /// Loads the library at `path`, or by the system's search where it is a bare name.
    ///
    /// # Errors
    /// [`LibraryError::Load`] where it is missing, too old, or its telemetry is not switched off.
    pub fn load(path: &Path) -> Result<Self, LibraryError> {
        let off = |name: &&str| std::env::var(name).is_ok_and(|value| value == "1");
        if !TELEMETRY_SWITCHES.iter().all(off) {
            return Err(LibraryError::Load(InferenceError::Telemetry.to_string()));
        }
        let environment = ort::init_from(path)
            .map_err(|error| LibraryError::Load(error.to_string()))?
            .with_name("tickcast")
            .with_telemetry(false)
            .with_logger(Arc::new(|level, _, _, place, line| log_line(level, place, line)))
            .build()
            .map_err(|error| LibraryError::Load(error.to_string()))?;
        // With a logger of one's own it begins at the lowest level, which costs time at each run.
        environment.set_log_level(LogLevel::Error);
        Ok(Self { environment })
    }

    /// Opens a session of one thread on verified model bytes.
    ///
    /// # Errors
    /// [`InferenceError::Runtime`] where the model is refused.
    pub fn session(
        &self,
        onnx: &[u8],
        signature: &Signature,
    ) -> Result<OrtBackend, InferenceError> {
        let session = self.open(onnx).map_err(failed("open model"))?;
        Ok(OrtBackend { session, signature: signature.clone(), lanes: Vec::new() })
    }

    fn open(&self, onnx: &[u8]) -> ort::Result<Session> {
        self.builder()?.commit_from_memory(onnx)
    }

    /// What every session here has.
    fn builder(&self) -> ort::Result<SessionBuilder> {
        // Spinning would burn a core while waiting for work that only the caller brings.
        let builder = Session::builder(&self.environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?;
        Ok(builder)
    }
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn build(&self) -> String {
        ort::info().to_owned()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        Ok(Box::new(self.session(onnx, signature)?))
    }

    fn trial(&self, onnx: &[u8]) -> Result<Box<dyn Trial>, InferenceError> {
        trial::open(self, onnx)
    }
}

impl OrtBackend {
    fn bind(&self, shape: Shape) -> ort::Result<BoundLane> {
        // Not the session's arena, which grows with every shape and never shrinks.
        let allocator = Allocator::default();
        let Signature { input, features, output, columns, states } = &self.signature;
        let tensor = |dimensions: [usize; 3]| Tensor::<f32>::new(&allocator, dimensions);
        let Shape { steps, batch } = shape;
        let mut binding = self.session.create_binding()?;
        let rows = tensor([steps, batch, *features])?;
        binding.bind_input(input, &rows)?;
        let mut output_tensor = Tensor::<f32>::new(&allocator, [batch, columns.count])?;
        binding.bind_output(output, &mut output_tensor)?;
        let mut states_in = Vec::with_capacity(states.len());
        let mut next_states = Vec::with_capacity(states.len());
        for state in states {
            let incoming = tensor([1, batch, state.width])?;
            binding.bind_input(&state.input, &incoming)?;
            states_in.push(incoming);
            let mut outgoing = tensor([1, batch, state.width])?;
            binding.bind_output(&state.output, &mut outgoing)?;
            next_states.push(outgoing);
        }
        let (output, states) = (output_tensor, states_in);
        let mut lane = BoundLane { shape, binding, rows, states, output, next_states };
        // Fresh tensors hold whatever the memory held; padding rows must not carry that.
        lane.rows.extract_tensor_mut().1.fill(0.0);
        for state in &mut lane.states {
            state.extract_tensor_mut().1.fill(0.0);
        }
        Ok(lane)
    }
}

/// Runs a session on the tensors that are bound to it. The crate's own call makes a value of each
/// output as well, with allocations and a dozen calls into the library; here they are of no
/// use, because the outputs are tensors of the lane.
#[expect(unsafe_code, reason = "the crate has no run that leaves the outputs where they are bound")]
fn run_bound(session: &mut Session, binding: &IoBinding) -> ort::Result<()> {
    let options = std::ptr::null();
    // SAFETY: the session is alive and, borrowed exclusively, in no other run, which the library
    // does not allow; the binding was made by it, keeps it alive, and holds the bound tensors. Both
    // pointers are of the crate, which casts them in the same way. No options is a valid choice.
    let status =
        unsafe { (ort::api().RunWithBinding)(session.ptr().cast_mut(), options, binding.ptr()) };
    // SAFETY: the library has just made the status, and it is given away here, once.
    unsafe { ort::Error::result_from_status(status) }
}

impl Backend for OrtBackend {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        if let Some(index) = self.lanes.iter().position(|lane| lane.shape == shape) {
            return Ok(Lane(index));
        }
        let lane = self.bind(shape).map_err(failed("bind tensors"))?;
        // Memory grows by it, once; whoever looks for a leak wants to know.
        debug!(steps = shape.steps, batch = shape.batch, lanes = self.lanes.len() + 1, "bound");
        self.lanes.push(lane);
        Ok(Lane(self.lanes.len() - 1))
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.lanes[lane.0].rows.extract_tensor_mut().1
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.lanes[lane.0].states[index].extract_tensor_mut().1
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        run_bound(&mut self.session, &self.lanes[lane.0].binding).map_err(failed("run model"))
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.lanes[lane.0].output.extract_tensor().1
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.lanes[lane.0].next_states[index].extract_tensor().1
    }
}
