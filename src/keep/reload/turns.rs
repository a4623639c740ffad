//! Two entries of the configuration that take turns in one seat.
//!
//! Owns where a new version goes: beside the live one, as its shadow. Promises that the live
//! version changes by a promotion alone, and that both versions are kept for a restart, where roles
//! are. Never touches a shard's state.

use std::path::Path;

use tracing::{info, warn};

use super::outcome::{ListedModel, Models, Outcome, RunningModel};
use super::watch::ModelWatch;
use super::worker::ReloadWork;
use crate::engine::model::{ModelChoice, version_of};
use crate::engine::pipeline::Role;
use crate::shard::command::Meanwhile;

/// Where another version of a model goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Its place.
    pub(super) place: usize,
    /// Whose windows it takes over.
    pub(super) windows_of: usize,
}

impl Models {
    /// Where another version of a model goes: into its place, or beside the live one where two
    /// entries take turns.
    pub(super) fn way_of(&self, model: usize) -> Way {
        let ListedModel { role, turns_with, .. } = &self.0[model];
        match (turns_with, role) {
            (None, _) => Way { place: model, windows_of: model },
            (Some(other), Role::Live) => Way { place: *other, windows_of: model },
            (Some(other), Role::Shadow | Role::Vacant) => Way { place: model, windows_of: *other },
        }
    }

    /// The one entry that stands for both of two that take turns.
    pub(super) fn first_of(&self, model: usize) -> usize {
        let other = self.0.get(model).and_then(|listed| listed.turns_with);
        other.map_or(model, |other| other.min(model))
    }
}

impl Way {
    /// Whether two entries take turns.
    pub(super) fn is_beside(self) -> bool {
        self.place != self.windows_of
    }
}

impl ReloadWork {
    /// Whether a model takes turns with another entry.
    pub(super) fn takes_turns(&self, model: usize) -> bool {
        let models = self.reloader.running.borrow();
        models.0.get(model).is_some_and(|listed| listed.turns_with.is_some())
    }

    /// The model of two that take turns which runs the version in a folder.
    pub(super) fn in_turn(&self, way: Way, folder: &Path) -> Option<RunningModel> {
        let version = version_of(folder);
        let models = self.reloader.running.borrow();
        let both = [way.place, way.windows_of].map(|index| &models.0[index]);
        let there = both.into_iter().filter(|_| way.is_beside());
        let mut there = there.filter(|listed| listed.role != Role::Vacant);
        let found = there.find(|listed| listed.status.running.model_version == version);
        found.map(|listed| listed.status.running.clone())
    }

    /// Loads a version beside the live one and promotes it. A caller that drives the shards on this
    /// thread does so in `meanwhile`.
    pub fn bring_once(
        &mut self,
        model: usize,
        version: &str,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Outcome {
        self.bring(model, version, meanwhile).unwrap_or_else(|refusal| refusal)
    }

    fn bring(
        &mut self,
        model: usize,
        version: &str,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Outcome, Outcome> {
        let way = self.reloader.running.borrow().way_of(model);
        if !way.is_beside() {
            return Err(Outcome::kept("the versions of this model do not take turns (promote)"));
        }
        match self.reload(model, Some(version), meanwhile) {
            Ok(Outcome::Swapped { .. }) => self.promote(way.place, meanwhile),
            Err(Outcome::Unchanged { .. }) => {
                let models = self.reloader.running.borrow().clone();
                let of = |place: usize| &*models.0[place].status.running.model_version;
                let place = if of(way.place) == version { way.place } else { way.windows_of };
                self.promote(place, meanwhile)
            }
            other => other,
        }
    }

    /// The watch over the versions of a model. Of two that take turns, a version that came while
    /// the daemon was away is news.
    pub(super) fn watch_of(&self, model: usize) -> Option<ModelWatch> {
        let choice = &self.reloader.models[model].choice;
        let way = self.reloader.running.borrow().way_of(model);
        let is_first = self.reloader.running.borrow().first_of(model) == model;
        if !choice.watch || !is_first {
            return None;
        }
        if !way.is_beside() {
            return Some(ModelWatch::begin(choice.clone()));
        }
        let newest = ModelChoice { version: "latest".to_owned(), ..choice.clone() };
        Some(ModelWatch::begin_beside(newest, |folder| self.in_turn(way, folder).is_some()))
    }

    /// Notes which versions take turns from here on.
    pub(super) fn keep_turns(&self) {
        let models = self.reloader.running.borrow().clone();
        if models.versions().is_empty() {
            return;
        }
        if let Err(error) = self.reloader.roles.save(models.live(), models.versions()) {
            warn!(%error, "the versions of the models could not be kept for a restart");
        }
    }

    /// Says how a version beside the live one becomes live.
    pub(super) fn tell_turn(&self, way: Way, version: &str) {
        let models = self.reloader.running.borrow();
        let live = &models.0[way.windows_of];
        info!(
            model = %models.0[way.place].name,
            version,
            live = %live.status.running.model_version,
            "a new version runs as a shadow of the live one; `tickcast model promote NAME VERSION` \
             makes it live"
        );
    }
}
