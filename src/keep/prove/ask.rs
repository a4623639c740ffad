//! The process that asks.
//!
//! Owns the child from its start to its end. Promises that every way out of a proof leaves no child
//! behind. Never opens the bundle before the child has proved it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::Signal;
use tracing::warn;

use super::room::within_room;
use super::{MEMORY_OPTION, PROVE, ProofLimits, SECONDS_OPTION, Verdict, explain_memory};
use crate::core::text::{excerpt, excerpt_of_bytes};
use crate::engine::files::read_regular_file;
use crate::engine::inference::{ChosenRuntime, RuntimeChoice};
use crate::engine::model::{Bundle, BundleError};
use crate::engine::pipeline::{InProcess, PipelineSettings, Prover, Unproven};
use crate::ops::clock::Stopwatch;

/// How often a running child is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a killed child may take to be gone. One that reads from a disk that does not answer
/// cannot be killed; it is left behind then.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// This program, also when its file was replaced meanwhile.
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

/// The file of the system about a process is short.
const STATUS_BYTES_MAX: usize = 64 << 10;

/// What is read of what the child wrote: less than it may write.
const READ_BYTES_MAX: u64 = 1 << 20;

/// The exit codes by which the child says that it cannot follow, or does not know the command.
pub(super) const OWN_FAILURES: [i32; 2] = [64, 70];

/// The characters of a failed child's last words that are shown.
const WORDS_CHARS_MAX: usize = 200;

/// Proves each bundle in a child process.
pub struct ChildProver {
    program: PathBuf,
    library: PathBuf,
    choice: RuntimeChoice,
    limits: ProofLimits,
    /// What a person sets to change the time and the memory.
    knobs: [&'static str; 2],
    here: InProcess,
}

/// Why a child gives no answer.
enum NoAnswer {
    /// There is none.
    Unable(String),
    /// It was cut off or ended.
    Unproven(Unproven),
}

impl ChildProver {
    /// A prover whose children load `library`, as `runtime` did.
    pub fn new(library: PathBuf, limits: ProofLimits, runtime: ChosenRuntime) -> Self {
        let knobs = ["model.proof_seconds_max", "model.proof_memory_bytes_max"];
        let choice = runtime.choice();
        let here = InProcess(Arc::new(runtime));
        Self { program: THIS_PROGRAM.into(), library, choice, limits, knobs, here }
    }

    /// Whose limits are options of a command, which messages then name.
    #[must_use]
    pub fn limited_by_options(self) -> Self {
        Self { knobs: [SECONDS_OPTION, MEMORY_OPTION], ..self }
    }

    /// Of another program than the one that runs.
    #[must_use]
    pub fn with_program(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// The bytes that a child may take.
    fn memory_bytes(&self) -> u64 {
        within_room(self.limits.memory_bytes)
    }

    fn command(&self, folder: &Path, settings: &PipelineSettings, memory_bytes: u64) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(PROVE);
        let seconds = self.limits.time.as_secs().saturating_add(1);
        let rows = settings.limits.batch_rows_max;
        for (name, value) in [
            ("--parent", std::process::id().to_string()),
            ("--memory-bytes", memory_bytes.to_string()),
            ("--seconds", seconds.to_string()),
            ("--batch-rows", rows.to_string()),
            ("--runtime", self.choice.to_string()),
        ] {
            command.args([name, &value]);
        }
        if let Some(mode) = settings.mode {
            command.args(["--mode", &mode.to_string()]);
        }
        command.arg("--onnxruntime").arg(&self.library).arg("--").arg(folder);
        // Secrets of the environment are nothing for a child, but the loader's variables are.
        let of_loader =
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"LD_"));
        command.env_clear().envs(of_loader);
        // A group of its own: Ctrl-C in a terminal is for the process that asks.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs a child to its end.
    fn ask(
        &self,
        folder: &Path,
        settings: &PipelineSettings,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Verdict, NoAnswer> {
        let memory_bytes = self.memory_bytes();
        let unable = |error: io::Error| NoAnswer::Unable(error.to_string());
        let (mut answer, mut words) =
            (memory_file().map_err(unable)?, memory_file().map_err(unable)?);
        let mut command = self.command(folder, settings, memory_bytes);
        command.stdout(answer.try_clone().map_err(unable)?);
        command.stderr(words.try_clone().map_err(unable)?);
        let mut child = Running::of(command.spawn().map_err(unable)?);
        let begun = Stopwatch::start();
        let status = loop {
            if let Some(status) = child.ended().map_err(unable)? {
                break status;
            }
            if !goes_on() {
                return Err(interrupted("the daemon is ending"));
            }
            if begun.elapsed() >= self.limits.time {
                return Err(refused(folder, self.too_slow()));
            }
            // The child limits itself, and then an allocation fails with the name of its node. This
            // is for memory that the limit does not count, and for systems that forbid it.
            if child.resident_bytes().is_some_and(|bytes| bytes > memory_bytes) {
                let limit = self.limit_of_memory(memory_bytes);
                return Err(refused(folder, format!("model.onnx: it takes more; {limit}")));
            }
            std::thread::sleep(LOOK_EVERY);
        };
        if !status.success() {
            let words = read_back(&mut words).unwrap_or_default();
            return Err(self.ended(folder, status, &words, memory_bytes));
        }
        let line = read_back(&mut answer).map_err(unable)?;
        serde_json::from_slice(&line).map_err(|error| {
            let line = excerpt_of_bytes(&line, WORDS_CHARS_MAX);
            refused(folder, format!("its process gave no verdict but `{line}`: {error}"))
        })
    }

    /// What it means that a child ended in this way.
    fn ended(
        &self,
        folder: &Path,
        status: ExitStatus,
        words: &[u8],
        memory_bytes: u64,
    ) -> NoAnswer {
        let words = last_line(words);
        let is_signal = |signal: Signal| status.signal() == Some(signal.as_raw());
        let Some(signal) = status.signal() else {
            let is_ours = OWN_FAILURES.contains(&status.code().unwrap_or_default());
            let how = format!("its process ended with {status}: {words}");
            return if is_ours { NoAnswer::Unable(how) } else { refused(folder, how) };
        };
        if [Signal::TERM, Signal::INT, Signal::HUP].into_iter().any(is_signal) {
            return interrupted(&format!("its process got signal {signal}"));
        }
        let why = if is_signal(Signal::XCPU) {
            self.too_slow()
        } else if words.contains("memory allocation of") {
            format!("model.onnx: {words}: {}", self.limit_of_memory(memory_bytes))
        } else if is_signal(Signal::KILL) {
            "model.onnx: the system killed the proof, probably because memory was short".to_owned()
        } else {
            format!("model.onnx: the runtime ended with signal {signal} over it: {words}")
        };
        refused(folder, why)
    }

    fn too_slow(&self) -> String {
        let (seconds, knob) = (self.limits.time.as_secs(), self.knobs[0]);
        format!(
            "model.onnx: opening it and running its golden vectors takes more than {seconds} s \
             ({knob})"
        )
    }

    fn limit_of_memory(&self, memory_bytes: u64) -> String {
        format!("a proof may take {} MiB ({})", memory_bytes >> 20, self.knobs[1])
    }

    /// A verdict as the answer of the trait: what was proved is read here once more.
    fn read_proved(
        &self,
        folder: &Path,
        verdict: Verdict,
        memory_bytes: u64,
    ) -> Result<Bundle, NoAnswer> {
        let proved = match verdict {
            Verdict::Proved { manifest_sha256 } => manifest_sha256,
            Verdict::Refused { problems } => {
                let limit = self.limit_of_memory(memory_bytes);
                let problems = problems.into_iter().map(|problem| explain_memory(problem, &limit));
                let refusal = BundleError::new(folder, problems.collect());
                return Err(NoAnswer::Unproven(refusal.into()));
            }
            Verdict::Unable { reason } => return Err(NoAnswer::Unable(reason)),
        };
        let bundle = Bundle::read(folder).map_err(|error| NoAnswer::Unproven(error.into()))?;
        if bundle.manifest_sha256() != proved {
            let text = "manifest.json: changed while the bundle was proved; reload again";
            return Err(refused(folder, text.to_owned()));
        }
        Ok(bundle)
    }
}

impl Prover for ChildProver {
    fn prove(
        &self,
        folder: &Path,
        settings: &PipelineSettings,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Bundle, Unproven> {
        let answer = self.ask(folder, settings, goes_on);
        match answer.and_then(|verdict| self.read_proved(folder, verdict, self.memory_bytes())) {
            Ok(bundle) => Ok(bundle),
            Err(NoAnswer::Unproven(unproven)) => Err(unproven),
            Err(NoAnswer::Unable(reason)) => {
                warn!(
                    reason = excerpt(&reason, WORDS_CHARS_MAX),
                    "a model cannot be proved in a process of its own, so it is proved in this \
                     one, without limits on time and memory"
                );
                self.here.prove(folder, settings, goes_on)
            }
        }
    }
}

/// A child that is killed and reaped when this is dropped.
pub(super) struct Running(Option<Child>);

impl Running {
    /// A child that was started.
    pub(super) fn of(child: Child) -> Self {
        Self(Some(child))
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.0 else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.0 = None;
        }
        Ok(status)
    }

    /// The memory that it has now, where the system tells.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let path = format!("/proc/{}/status", self.0.as_ref()?.id());
        let status = read_regular_file(Path::new(&path), STATUS_BYTES_MAX).ok()?;
        let status = String::from_utf8(status).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kilobytes.checked_mul(1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        // It fails only for a child that has ended.
        let _ = child.kill();
        let begun = Stopwatch::start();
        while matches!(child.try_wait(), Ok(None)) {
            if begun.elapsed() > REAP_PATIENCE {
                warn!(
                    process = child.id(),
                    "a proof was killed and is not gone; it is left behind"
                );
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// A file without a name. Unlike a pipe it needs no reader while the child runs.
pub(super) fn memory_file() -> io::Result<File> {
    Ok(memfd_create("tickcast-proof", MemfdFlags::CLOEXEC)?.into())
}

fn read_back(file: &mut File) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn last_line(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    excerpt(line.unwrap_or("it said nothing"), WORDS_CHARS_MAX)
}

fn refused(folder: &Path, problem: String) -> NoAnswer {
    NoAnswer::Unproven(BundleError::new(folder, vec![problem]).into())
}

fn interrupted(why: &str) -> NoAnswer {
    NoAnswer::Unproven(Unproven::Interrupted(why.to_owned()))
}
