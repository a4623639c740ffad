//! `tickcast prove`, which is hidden: one end of the proof of a bundle in a process of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::engine::inference::RuntimeChoice;
use crate::engine::model::manifest::Mode;
use crate::keep::prove::{ProofRequest, answer};
use crate::ops::exit::{Exit, Failure};

/// Options of `tickcast prove`.
#[derive(Debug, Parser)]
struct ProveArgs {
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "PATH")]
    onnxruntime: PathBuf,
    /// The process that asks, with which this one ends
    #[arg(long, value_name = "ID")]
    parent: u32,
    /// The most memory
    #[arg(long, value_name = "BYTES")]
    memory_bytes: u64,
    /// The most time of a processor
    #[arg(long, value_name = "SECONDS")]
    seconds: u64,
    /// The most rows of a run
    #[arg(long, value_name = "ROWS")]
    batch_rows: usize,
    /// What computes the model
    #[arg(long, value_name = "RUNTIME", value_parser = runtime)]
    runtime: RuntimeChoice,
    /// How the model is driven; the default of the bundle otherwise
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<Mode>,
    /// The bundle's folder, <root>/<name>/<version>
    folder: PathBuf,
}

fn mode(text: &str) -> Result<Mode, &'static str> {
    let modes = [Mode::Full, Mode::Sliding, Mode::Carried];
    let named = modes.into_iter().find(|mode| mode.to_string() == text);
    named.ok_or("expected full, sliding or carried")
}

fn runtime(text: &str) -> Result<RuntimeChoice, &'static str> {
    let named = RuntimeChoice::ALL.into_iter().find(|(name, _)| *name == text);
    named.map(|(_, choice)| choice).ok_or("expected onnxruntime, native or auto")
}

/// `arguments` begin with the name of the command.
pub(super) fn run(arguments: &[OsString]) -> Result<(), Exit> {
    let args = ProveArgs::try_parse_from(arguments).map_err(Exit::because(Failure::Usage))?;
    let ProveArgs { onnxruntime, parent, memory_bytes, seconds, batch_rows, .. } = args;
    let ProveArgs { runtime, mode, folder, .. } = args;
    let request = ProofRequest {
        folder,
        library: onnxruntime,
        runtime,
        mode,
        batch_rows_max: batch_rows,
        memory_bytes,
        seconds,
        parent,
    };
    let line = answer(&request).map_err(Exit::because(Failure::Internal))?;
    super::print(format_args!("{line}\n"))
}
