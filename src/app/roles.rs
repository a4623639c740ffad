//! Who is live when a daemon begins: the configuration decides, or a promotion since.
//!
//! Owns the choice between the two, and the versions that models which take turns begin with.
//! Promises that the configuration goes first where it was changed since. Never gives a role to a
//! running model.

use std::io;

use tracing::{info, warn};

use super::config::{Config, ModelConfig, Turns};
use crate::engine::pipeline::Role;
use crate::keep::roles::{ConfiguredRole, Found, RoleStore};
use crate::ops::exit::{Exit, Failure};

/// The roles of a configuration, and where others are kept.
pub(super) fn store(config: &Config) -> RoleStore {
    let is_listed = config.models.iter().any(|model| model.is_listed);
    let folder = config.snapshot.folder.clone().filter(|_| is_listed);
    let configured = config.models.iter().map(|model| {
        let ModelConfig { name, seat, role, turns, .. } = model;
        // Of two that take turns, what a promotion has made of them is no change of the
        // configuration.
        let role = match turns {
            None => *role,
            Some(Turns { is_first: true, .. }) => Role::Live,
            Some(Turns { is_first: false, .. }) => Role::Vacant,
        };
        ConfiguredRole { name: name.to_string(), seat: *seat, role }
    });
    RoleStore::new(folder, configured.collect())
}

/// Why kept roles cannot be used.
pub(super) fn unreadable(error: &io::Error) -> Exit {
    let what = format_args!(
        "snapshot.folder: roles.json cannot be read: {error}; remove it to begin with the roles of \
         the configuration"
    );
    Exit::new(Failure::Configuration, what)
}

/// Gives each model the role to begin with; returns where roles are kept.
///
/// # Errors
/// [`Exit`] with code 78 where kept roles cannot be read.
pub(super) fn settle(config: &mut Config) -> Result<RoleStore, Exit> {
    let store = store(config);
    match store.load().map_err(|error| unreadable(&error))? {
        Found::Configured => {}
        Found::Outdated => warn!(
            "the models of the configuration were changed since one was promoted; their roles are \
             those of the configuration"
        ),
        Found::Given(live) => {
            for name in &live {
                give(&mut config.models, name);
            }
            info!(?live, "roles are those that were given by promotions");
        }
    }
    Ok(store)
}

/// Makes a model the live one of its seat.
fn give(models: &mut [ModelConfig], name: &str) {
    let Some(seat) = models.iter().find(|model| &*model.name == name).map(|model| model.seat)
    else {
        return;
    };
    for model in models.iter_mut().filter(|model| model.seat == seat) {
        model.role = match model.role {
            _ if &*model.name == name => Role::Live,
            Role::Vacant => Role::Vacant,
            Role::Live | Role::Shadow => Role::Shadow,
        };
    }
}

/// Gives the models that take turns the versions to begin with: those that were kept. Without them,
/// the live one has that of the configuration, and the place beside it is vacant. To be called
/// before the models are read.
///
/// # Errors
/// As [`settle`].
pub fn settle_turns(config: &mut Config) -> Result<(), Exit> {
    if config.models.iter().all(|model| model.turns.is_none()) {
        return Ok(());
    }
    let store = store(config);
    let kept = store.versions().map_err(|error| unreadable(&error))?;
    let live = match store.load().map_err(|error| unreadable(&error))? {
        Found::Given(live) => live,
        Found::Configured | Found::Outdated => Vec::new(),
    };
    for first in 0..config.models.len() {
        let Some(Turns { other, is_first: true }) = config.models[first].turns else { continue };
        let is_live = |at: usize| live.iter().any(|name| **name == *config.models[at].name);
        let (live, beside) = if is_live(other) { (other, first) } else { (first, other) };
        let version_of = |at: usize| {
            let ModelConfig { name, choice, .. } = &config.models[at];
            let version = kept.get(&**name)?;
            if choice.root.join(&choice.name).join(version).is_dir() {
                return Some(version.clone());
            }
            warn!(model = %name, version, "a version that ran is gone from the folder of models");
            None
        };
        let (live_version, beside_version) = (version_of(live), version_of(beside));
        let choice = &mut config.models[live].choice;
        choice.version = live_version.unwrap_or_else(|| choice.version.clone());
        let version = choice.version.clone();
        let place = &mut config.models[beside];
        place.role = if beside_version.is_some() { Role::Shadow } else { Role::Vacant };
        place.choice.version = beside_version.unwrap_or(version);
    }
    Ok(())
}
