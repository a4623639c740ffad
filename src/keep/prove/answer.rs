//! The process that answers.
//!
//! Owns its limits and its one line. Promises to limit itself before it reads a byte of the bundle,
//! and to end with the process that asked. Never logs: what it prints beside its line is shown only
//! where it ends without one.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};

use super::Verdict;
use crate::core::text::excerpt;
use crate::engine::inference::{ChosenRuntime, OnnxRuntime, RuntimeChoice};
use crate::engine::model::manifest::Mode;
use crate::engine::model::{Bundle, BundleError};
use crate::engine::pipeline::{InProcess, PipelineSettings, Prover, Unproven};

/// The most that this process may write anywhere: its line, and the words of a failure.
const WRITTEN_BYTES_MAX: u64 = 1 << 20;

/// The characters of a panic's message that are shown.
const PANIC_CHARS_MAX: usize = 200;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ProofRequest {
    /// The bundle.
    pub folder: PathBuf,
    /// ONNX Runtime's library.
    pub library: PathBuf,
    /// What computes the model.
    pub runtime: RuntimeChoice,
    /// How the model is driven.
    pub mode: Option<Mode>,
    /// In runs of how many rows.
    pub batch_rows_max: usize,
    /// The most memory, in bytes.
    pub memory_bytes: u64,
    /// The most time of a processor, in seconds.
    pub seconds: u64,
    /// The process that asks.
    pub parent: u32,
}

/// Limits this process, proves the bundle and gives the line to print.
///
/// # Errors
/// Where this process cannot follow the one that asked, which may be gone.
pub fn answer(request: &ProofRequest) -> io::Result<String> {
    confine(request.parent, request.memory_bytes, request.seconds, WRITTEN_BYTES_MAX)?;
    serde_json::to_string(&verdict(request)).map_err(io::Error::other)
}

/// Limits this process from now on, which ends with the one that asked.
///
/// # Errors
/// Where it cannot follow the one that asked, which may be gone.
pub(super) fn confine(
    parent: u32,
    memory_bytes: u64,
    seconds: u64,
    written_bytes: u64,
) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before it could be followed.
    if getppid().map(Pid::as_raw_pid) != i32::try_from(parent).ok() {
        return Err(io::Error::other("the process that asked is gone"));
    }
    // Where the system runs out of memory, it ends this process and not the one that asked. A
    // system without that file has no such choice.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    for (resource, limit) in [
        // Not the address space, of which the runtime reserves much more than it uses.
        (Resource::Data, memory_bytes),
        (Resource::Cpu, seconds),
        (Resource::Fsize, written_bytes),
        (Resource::Core, 0),
    ] {
        // A filter of system calls may forbid it; the process that asks also looks at both.
        let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    }
    Ok(())
}

fn verdict(request: &ProofRequest) -> Verdict {
    // First without the runtime: most bundles that are refused need none for it.
    if let Err(refusal) = guarded(|| Bundle::read(&request.folder)) {
        return Verdict::Refused { problems: refusal };
    }
    let runtime = match OnnxRuntime::load(&request.library) {
        Ok(runtime) => runtime,
        Err(error) => return Verdict::Unable { reason: error.to_string() },
    };
    let settings = PipelineSettings::of_proof(request.mode, request.batch_rows_max);
    let runtime = ChosenRuntime::new(request.runtime, Arc::new(runtime));
    let prover = InProcess(Arc::new(runtime));
    match guarded(|| prove(&prover, &request.folder, &settings)) {
        Ok(bundle) => Verdict::Proved { manifest_sha256: bundle.manifest_sha256().to_owned() },
        Err(problems) => Verdict::Refused { problems },
    }
}

fn prove(
    prover: &InProcess,
    folder: &Path,
    settings: &PipelineSettings,
) -> Result<Bundle, BundleError> {
    match prover.prove(folder, settings, &|| true) {
        Ok(bundle) => Ok(bundle),
        Err(Unproven::Refused(refusal)) => Err(refusal),
        Err(other) => Err(BundleError::new(folder, vec![other.to_string()])),
    }
}

/// The problems of a refusal, or a panic as one.
fn guarded<T>(work: impl FnOnce() -> Result<T, BundleError>) -> Result<T, Vec<String>> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(refusal.problems),
        Err(panic) => Err(vec![format!("model.onnx: the runtime panics: {}", words(&*panic))]),
    }
}

/// What a panic says.
pub(super) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    excerpt(text.unwrap_or("without a message"), PANIC_CHARS_MAX)
}
