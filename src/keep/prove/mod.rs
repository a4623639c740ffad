//! The proof of a model in a process of its own.
//!
//! Owns both ends: the process that asks, and the hidden command `prove` that answers. Promises
//! that no bundle takes the asking process down or holds it up: the answering process has limits on
//! time and memory, is killed and reaped when it exceeds one of them, and never outlives the one
//! that asked. Only bytes that were proved are handed on. Never opens a model in the asking
//! process, unless the system gives it no other.

mod answer;
mod ask;
mod room;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::answer::{ProofRequest, answer, limit_memory};
pub use self::ask::ChildProver;

/// The word on the command line that makes a process answer.
pub const PROVE: &str = "prove";

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
