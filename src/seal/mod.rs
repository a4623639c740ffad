//! Sealing: from a model that another framework trained to a bundle that the daemon runs.
//!
//! ```text
//! my-model.toml ─> config ─┐
//! model.onnx ────> graph ──┼─> job: windows from data ─> proofs ─> figures ─> draft ─> a bundle
//! history ───────> history ┘          │                     └ judge
//! predictions ───> expect ────────────┘
//! ```
//!
//! Owns what a sealing asks, what it infers and what it proves; and, for the trainer as well, the
//! reading of a history and the figures of a model ([`judge`]). Promises that nothing is invented:
//! what is not known is written as `unknown`, and what was not compared says so. Never changes what
//! a model computes: each rewrite of a graph is proven against the run of the original.

mod assess;
mod draft;
mod facts;
mod run;
mod scaling;

pub mod config;
pub mod data;
pub mod diff;
pub mod expect;
pub mod graph;
pub mod history;
pub mod init;
pub mod job;
pub mod judge;
pub mod matrix;
pub mod over_defaults;
pub mod sections;
pub mod spill;
pub mod statics;
pub mod words;

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal SHA-256.
fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
