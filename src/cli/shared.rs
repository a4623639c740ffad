//! What several commands share: the options of every command, and short ways into the library.
//!
//! Owns the answer on standard output, the process's environment, and where a configuration, a
//! bundle and ONNX Runtime are found. Promises that each failure has its exit code. Never runs a
//! command.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::config::{Config, load};
use crate::engine::inference::{OnnxRuntime, Runtime, locate_library};
use crate::engine::model::{Bundle, candidates};
use crate::engine::pipeline::{Chosen, choose};
use crate::ops::exit::{Exit, Failure};
use crate::ops::logging::{self, LogConfig, LogGuard};

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// ONNX Runtime's shared library; else onnxruntime.library, ORT_DYLIB_PATH, beside the
    /// executable, the system's
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) onnxruntime: Option<PathBuf>,
}

/// Writes a command's answer to standard output; a reader who has had enough is no failure.
pub(super) fn print(text: std::fmt::Arguments<'_>) -> Result<(), Exit> {
    match std::io::stdout().write_fmt(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Exit::new(Failure::Temporary, format_args!("write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

/// Starts logging; the guard is to be kept until the command ends.
pub(super) fn logging(config: LogConfig) -> Result<LogGuard, Exit> {
    logging::start(config).map_err(Exit::while_doing(Failure::Temporary, "start logging"))
}

/// Loads a configuration over the defaults and under the process's environment.
pub(super) fn configuration(path: &Path) -> Result<Config, Exit> {
    load(path, &variables()).map_err(Exit::because(Failure::Configuration))
}

/// The process's environment; variables that are not UTF-8 cannot be ours.
pub(super) fn variables() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Writes the address of a bound listener to a file, where one is asked for.
pub(super) fn tell_address(path: Option<&Path>, address: SocketAddr) -> Result<(), Exit> {
    let Some(path) = path else { return Ok(()) };
    // Renamed into place, so that a reader never sees half an address.
    let draft = path.with_extension("draft");
    std::fs::write(&draft, format!("http://{address}\n"))
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(Exit::while_doing(Failure::Temporary, "write --address-file"))
}

/// Loads ONNX Runtime from where the command line, the configuration or the environment says.
pub(super) fn runtime(global: &Global, configured: Option<&Path>) -> Result<OnnxRuntime, Exit> {
    let path = library(global, configured)?;
    OnnxRuntime::load(&path).map_err(Exit::because(Failure::Configuration))
}

/// Where ONNX Runtime's library lies.
pub(super) fn library(global: &Global, configured: Option<&Path>) -> Result<PathBuf, Exit> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let executable = std::env::current_exe().ok();
    let folder = executable.as_deref().and_then(Path::parent);
    let named = [
        ("--onnxruntime", global.onnxruntime.as_deref()),
        ("onnxruntime.library", configured),
        ("ORT_DYLIB_PATH", variable.as_deref()),
    ];
    locate_library(&named, folder, Path::exists).map_err(Exit::because(Failure::Configuration))
}

/// Finds the version of the model that a configuration asks for: the named one, or the newest that
/// proves itself.
pub(super) fn chosen(config: &Config, runtime: &dyn Runtime) -> Result<Chosen, Exit> {
    choose(&config.model, runtime, &config.pipeline())
        .map_err(Exit::because(Failure::Configuration))
}

/// What is wrong with the preferred version as far as can be said without a runtime.
pub(super) fn model_problem(config: &Config) -> Option<String> {
    let model = &config.model;
    match candidates(&model.root, &model.name, &model.version) {
        Ok(folders) => Bundle::read(folders.first()?).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}
