//! Who is live when a daemon begins: the configuration decides, or a promotion since.
//!
//! Owns the choice between the two, and the versions that models which take turns begin with.
//! Promises that the configuration goes first where it was changed since, and that a promotion
//! which it overrules never comes back. Never gives a role to a running model.

use std::io;
use std::path::Path;

use tracing::{info, warn};

use super::config::{Config, ModelConfig, Turns};
use crate::engine::model::{Bundle, rival_obstacle};
use crate::engine::pipeline::Role;
use crate::keep::roles::{ConfiguredRole, ConfiguredRoles, Found, GivenRoles, RoleStore};
use crate::keep::snapshot::{Disk, Folder};
use crate::ops::exit::{Exit, Failure};

/// The roles that a daemon begins with.
pub(super) struct Settled {
    configured: ConfiguredRoles,
    is_kept: bool,
    found: Found,
}

/// The folder that keeps roles: that of a list of models, where one is named.
pub(super) fn folder(config: &Config) -> Option<&Path> {
    let is_listed = config.models.iter().any(|model| model.is_listed);
    config.snapshot.folder.as_deref().filter(|_| is_listed)
}

fn configured(config: &Config) -> ConfiguredRoles {
    let configured = config.models.iter().map(|model| {
        let ModelConfig { name, seat, role, symbols, turns, promotes_by_rule, .. } = model;
        // Of two that take turns, what a promotion has made of them is no change of the
        // configuration.
        let role = match turns {
            None => *role,
            Some(Turns { is_first: true, .. }) => Role::Live,
            Some(Turns { is_first: false, .. }) => Role::Vacant,
        };
        let (name, symbols) = (name.to_string(), symbols.clone());
        ConfiguredRole { name, seat: *seat, role, symbols, by_rule: *promotes_by_rule }
    });
    ConfiguredRoles(configured.collect())
}

/// Which shadows cannot be promoted, each with the reason.
pub(super) fn refusals(config: &Config) -> Vec<String> {
    let roles = configured(config);
    roles.0.iter().filter_map(|role| roles.refusal(&role.name)).collect()
}

/// Which shadows are not compared with the live model of their seat, each with the reason.
pub(super) fn not_compared(config: &Config, bundles: &[&Bundle]) -> Vec<String> {
    let models = || config.models.iter().zip(bundles);
    let of_role = |role| models().filter(move |(model, _)| model.role == role);
    let note = |(shadow, bundle): (&ModelConfig, &&Bundle)| {
        let (live, of_live) = of_role(Role::Live).find(|(live, _)| live.seat == shadow.seat)?;
        let what = rival_obstacle(bundle.manifest(), of_live.manifest())?;
        let then = match shadow.promotes_by_rule {
            true => "; no rule promotes it (promote)",
            false => "",
        };
        let (name, live) = (&shadow.name, &live.name);
        Some(format!("`{name}` is not compared with `{live}`: {what} differs{then}"))
    };
    of_role(Role::Shadow).filter_map(note).collect()
}

/// What a start would find of roles that were given.
///
/// # Errors
/// [`Exit`] with code 78 where kept roles cannot be read.
pub(super) fn look(config: &Config) -> Result<Found, Exit> {
    let found =
        folder(config).map_or(Ok(Found::Configured), |folder| configured(config).look(folder));
    found.map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> Exit {
    let what = format_args!(
        "snapshot.folder: roles.json cannot be read: {error}; remove it to begin with the roles of \
         the configuration"
    );
    Exit::new(Failure::Configuration, what)
}

/// Gives each model the role to begin with.
///
/// # Errors
/// As [`look`].
pub(super) fn settle(config: &mut Config) -> Result<Settled, Exit> {
    let (configured, is_kept) = (configured(config), folder(config).is_some());
    let found = look(config)?;
    match &found {
        Found::Configured => {}
        Found::Outdated => warn!(
            "the models of the configuration were changed since one was promoted; their roles are \
             those of the configuration, and the promotion is forgotten"
        ),
        Found::Given(GivenRoles { live, .. }) => {
            for name in live {
                give(&mut config.models, name);
            }
            let of_configuration = configured.0.iter().filter(|model| model.role == Role::Live);
            if of_configuration.into_iter().any(|model| !live.contains(&model.name)) {
                info!(?live, "roles are those that were given by promotions");
            }
        }
    }
    Ok(Settled { configured, is_kept, found })
}

impl Settled {
    /// Where roles are kept from here on: in the folder, which this process has by now.
    ///
    /// # Errors
    /// [`Exit`] with code 75 where another process has changed the roles since they were settled,
    /// and with 78 where a promotion that the configuration overrules cannot be removed.
    pub(super) fn store(&self, folder: Option<&Folder>) -> Result<RoleStore, Exit> {
        let folder = folder.filter(|_| self.is_kept);
        let disk = folder.map(|folder| Box::new(folder.clone()) as Box<dyn Disk>);
        let mut store = RoleStore::new(disk, self.configured.clone());
        if store.load().map_err(|error| unreadable(&error))? != self.found {
            let what = "snapshot.folder: another process has changed roles.json; start again";
            return Err(Exit::new(Failure::Temporary, what));
        }
        if self.found == Found::Outdated {
            let what = "snapshot.folder: remove roles.json, which the configuration overrules";
            store.reset().map_err(Exit::while_doing(Failure::Configuration, what))?;
        }
        Ok(store)
    }
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
            role @ (Role::Vacant | Role::Blend) => role,
            Role::Live | Role::Shadow => Role::Shadow,
        };
    }
}

/// Gives the models that take turns the versions to begin with: those that were kept. Without them,
/// the live one has that of the configuration, and the place beside it is vacant. To be called
/// before the models are read.
///
/// # Errors
/// [`Exit`] with code 78 where kept roles cannot be read.
pub fn settle_turns(config: &mut Config) -> Result<(), Exit> {
    if config.models.iter().all(|model| model.turns.is_none()) {
        return Ok(());
    }
    let GivenRoles { live, versions: kept } = match look(config)? {
        Found::Given(given) => given,
        Found::Configured | Found::Outdated => GivenRoles::default(),
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
