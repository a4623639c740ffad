//! Everything that can be refused before a daemon is built.
//!
//! Owns the look at what a configuration names: the source, the files of the sinks, the folder of
//! snapshots. Promises that it leaves no trace, and that `tickcast check` and `tickcast serve` go
//! this one way, so that both refuse the same configurations in the same words. Never connects, and
//! never binds a port.

use std::net::{SocketAddr, TcpListener};

use super::config::Config;
use crate::engine::model::Bundle;
use crate::keep::snapshot::{FolderError, look};
use crate::ops::exit::{Exit, Failure};

/// What a look has found.
#[derive(Debug, Default)]
pub struct Preparation {
    /// What there is, one line each, for a person.
    pub lines: Vec<String>,
    /// What may pass, such as a folder that another process has.
    pub busy: Option<Exit>,
}

/// Looks at everything that a configuration names beside the model, which has been proved.
///
/// # Errors
/// [`Exit`] with code 78 and every problem.
pub fn prepare(config: &Config, bundle: &Bundle) -> Result<Preparation, Exit> {
    let mut problems = Vec::new();
    let mut preparation = Preparation::default();
    let mut note = |outcome: Result<(), Exit>| problems.extend(outcome.err());
    note(config.check_cadence(&bundle.manifest().step));
    note(config.source.settings.check().map(|lines| preparation.lines = lines));
    config.sinks.iter().for_each(|sink| note(sink.check()));
    match snapshot_folder(config) {
        Ok(busy) => preparation.busy = busy,
        Err(problem) => note(Err(problem)),
    }
    match problems.len() {
        0 => Ok(preparation),
        1 => Err(problems.remove(0)),
        _ => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Err(Exit::new(Failure::Configuration, lines.join("\n")))
        }
    }
}

/// Looks at the folder of snapshots, where it is used; another process that has it is no mistake of
/// the configuration.
fn snapshot_folder(config: &Config) -> Result<Option<Exit>, Exit> {
    let Some(folder) = &config.snapshot.folder else { return Ok(None) };
    // A recording that cannot be looked at is the source's problem.
    if !matches!(config.source.settings.identity(), Ok(Some(_))) {
        return Ok(None);
    }
    let outcome = look(folder);
    let context = "snapshot.folder";
    match outcome {
        Ok(()) => Ok(None),
        Err(error @ FolderError::InUse { .. }) => {
            Ok(Some(Exit::while_doing(Failure::Temporary, context)(error)))
        }
        Err(error) => Err(Exit::while_doing(Failure::Configuration, context)(error)),
    }
}

/// What a daemon that was started now would say of its address, for `tickcast check`; `None` where
/// it could bind it. The port is free again afterwards.
pub fn look_at_address(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(format!("listen on {address}: {error}"))
}
