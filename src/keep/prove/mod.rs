//! The proof of a model in a process of its own, and other commands that run graphs likewise.
//!
//! Owns both ends: the process that asks, and the hidden commands that answer. Promises
//! that no bundle takes the asking process down or holds it up: the answering process has limits on
//! time and memory, is killed and reaped when it exceeds one of them, and never outlives the one
//! that asked. Only bytes that were proved are handed on. Never opens a model in the asking
//! process, unless the system gives it no other.

mod answer;
mod ask;
mod confined;
mod room;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::answer::{ProofRequest, answer};
pub use self::ask::ChildProver;
pub use self::confined::{CONFINED, Confinement, Ended, accept, confined, run_confined, say};

/// The word on the command line that makes a process answer.
pub const PROVE: &str = "prove";

/// The options by which a command of a person sets limits.
const SECONDS_OPTION: &str = "--seconds-max";
const MEMORY_OPTION: &str = "--memory-mib";

/// What a proof may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofLimits {
    /// From its start to its end.
    pub time: Duration,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// What the answering process says, as one line of JSON on its standard output.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// The bundle is proved; the hash of its manifest tells which one that was.
    Proved { manifest_sha256: String },
    /// It is refused.
    Refused { problems: Vec<String> },
    /// There is no runtime in this process.
    Unable { reason: String },
}

/// The runtime's words for want of memory say nothing of the limit.
fn explain_memory(problem: String, limit: &str) -> String {
    let is_memory = ["bad_alloc", "Failed to allocate memory", "length_error"]
        .iter()
        .any(|words| problem.contains(words));
    if is_memory { format!("{limit}; {problem}") } else { problem }
}
