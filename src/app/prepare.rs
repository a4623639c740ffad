//! Everything that can be refused before a daemon is built.
//!
//! Owns the look at what a configuration names: the source, the files of the sinks, the folder of
//! snapshots. Promises that it leaves no trace, and that `tickcast check` and `tickcast serve` go
//! this one way, so that both refuse the same configurations in the same words. Never connects, and
//! never binds a port.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::config::Config;
use super::history::Look;
use super::{history, roles};
use crate::core::domain::Schema;
use crate::engine::model::Bundle;
use crate::engine::pipeline::{Role, blend_problem};
use crate::keep::snapshot::{FolderError, look};
use crate::ops::exit::{Exit, Failure};

/// What a look has found.
#[derive(Debug, Default)]
pub struct Preparation {
    /// What there is, one line each, for a person.
    pub lines: Vec<String>,
    /// Where the history of symbols comes from, likewise.
    pub history: Vec<String>,
    /// What works otherwise than one may expect, one line each.
    pub notes: Vec<String>,
    /// What may pass, such as a folder that another process has.
    pub busy: Option<Exit>,
}

/// Looks at everything that a configuration names beside the model, which has been proved.
///
/// # Errors
/// [`Exit`] with code 78 and every problem.
pub fn prepare(config: &Config, bundles: &[&Bundle]) -> Result<Preparation, Exit> {
    let mut problems = Vec::new();
    let mut notes = roles::refusals(config);
    notes.extend(roles::not_compared(config, bundles));
    let mut preparation = Preparation { notes, ..Preparation::default() };
    let mut note = |outcome: Result<(), Exit>| problems.extend(outcome.err());
    for (model, bundle) in config.models.iter().zip(bundles) {
        note(config.check_cadence(model, &bundle.manifest().step));
    }
    note(check_together(config, bundles));
    note(roles::look(config).map(drop));
    note(config.source.settings.check().map(|lines| preparation.lines = lines));
    config.sinks.iter().for_each(|sink| note(sink.check()));
    let Look { lines, note: hint, problems: of_history } = history::look(config, bundles);
    preparation.history = lines;
    preparation.notes.extend(hint);
    of_history.into_iter().for_each(|problem| note(Err(problem)));
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

/// Whether the models can run beside one another.
///
/// # Errors
/// [`Exit`] with code 78 for a model that is there twice, for models that cannot be blended, and
/// for too many fields.
pub fn check_together(config: &Config, bundles: &[&Bundle]) -> Result<(), Exit> {
    let refuse = |problem| Err(Exit::new(Failure::Configuration, problem));
    let facts = |at: usize| {
        let manifest = bundles[at].manifest();
        (&manifest.name, &manifest.version)
    };
    for at in 1..bundles.len() {
        // Neither runs a version of its own.
        let has_none = |at: usize| matches!(config.models[at].role, Role::Vacant | Role::Blend);
        let is_same = |before: &usize| facts(*before) == facts(at) && !has_none(*before);
        if let Some(before) = (0..at).find(is_same).filter(|_| !has_none(at)) {
            let ((model, version), name) = (facts(at), &config.models[before].name);
            return refuse(format!(
                "models[{at}]: `{name}` already runs version {version} of model {model}; name \
                 another version"
            ));
        }
    }
    for (at, model) in config.models.iter().enumerate().filter(|(_, one)| one.role == Role::Blend) {
        let place = |name: &Arc<str>| config.models.iter().position(|model| model.name == *name);
        let places = model.blends.iter().filter_map(|name| Some((&**name, place(name)?)));
        let members: Vec<_> =
            places.map(|(name, place)| (name, bundles[place].manifest())).collect();
        if let Some(problem) = blend_problem(&members) {
            return refuse(format!("models[{at}].blends: {problem}"));
        }
    }
    schema(bundles).map(drop)
}

/// The fields that the models read together.
///
/// # Errors
/// [`Exit`] with code 78 for too many.
pub(super) fn schema(bundles: &[&Bundle]) -> Result<Schema, Exit> {
    let schemas = bundles.iter().map(|bundle| bundle.plans().features.raw().schema());
    Schema::union(schemas).map_err(|error| {
        let problem = format!("models: the models read too many fields together: {error}");
        Exit::new(Failure::Configuration, problem)
    })
}

/// Looks at the folder of snapshots, where it is used; another process that has it is no mistake of
/// the configuration.
fn snapshot_folder(config: &Config) -> Result<Option<Exit>, Exit> {
    let Some(folder) = &config.snapshot.folder else { return Ok(None) };
    // A recording that cannot be looked at is the source's problem.
    let has_snapshots = matches!(config.source.settings.identity(), Ok(Some(_)));
    if !has_snapshots && roles::folder(config).is_none() {
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
