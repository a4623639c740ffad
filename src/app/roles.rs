//! Who is live when a daemon begins: the configuration decides, or a promotion since.
//!
//! Owns the choice between the two. Promises that the configuration goes first where it was changed
//! since. Never gives a role to a running model.

use std::io;

use tracing::{info, warn};

use super::config::{Config, ModelConfig};
use crate::engine::pipeline::Role;
use crate::keep::roles::{ConfiguredRole, Found, RoleStore};
use crate::ops::exit::{Exit, Failure};

/// The roles of a configuration, and where others are kept.
pub(super) fn store(config: &Config) -> RoleStore {
    let is_listed = config.models.iter().any(|model| model.is_listed);
    let folder = config.snapshot.folder.clone().filter(|_| is_listed);
    let configured = config.models.iter().map(|model| {
        let ModelConfig { name, seat, role, .. } = model;
        ConfiguredRole { name: name.to_string(), seat: *seat, role: *role }
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
        model.role = if &*model.name == name { Role::Live } else { Role::Shadow };
    }
}
