//! Two entries of the configuration that take turns in one seat.
//!
//! Owns where a new version goes: beside the live one, as its shadow. Promises that the live
//! version changes by a promotion alone, and that both versions are kept for a restart, where roles
//! are. Never touches a shard's state.

use std::path::Path;

use tracing::{info, warn};

use super::metrics::By;
use super::outcome::{ListedModel, Models, Outcome, Rivalry};
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
            (Some(other), Role::Shadow | Role::Blend | Role::Vacant) => {
                Way { place: model, windows_of: *other }
            }
        }
    }

    /// The one entry that represents both of two that take turns.
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

    /// The place of the one of two that take turns which runs a version.
    pub(super) fn in_turn(&self, way: Way, version: &str) -> Option<usize> {
        let models = self.reloader.running.borrow();
        let runs = |index: &usize| {
            let ListedModel { role, status, .. } = &models.0[*index];
            *role != Role::Vacant && status.running.model_version == version
        };
        let both = [way.place, way.windows_of].into_iter().filter(|_| way.is_beside());
        both.into_iter().find(runs)
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
        // What runs needs nothing of the folder of models.
        if let Some(place) = self.in_turn(way, version) {
            return self.promote(place, By::Request, meanwhile);
        }
        match self.reload(model, Some(version), meanwhile)? {
            Outcome::Swapped { .. } => self.promote(way.place, By::Request, meanwhile),
            other => Ok(other),
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
        let runs = |folder: &Path| self.in_turn(way, &version_of(folder)).is_some();
        Some(ModelWatch::begin_beside(newest, runs))
    }

    /// Notes which versions take turns from here on.
    pub(super) fn keep_turns(&mut self) {
        let given = self.reloader.running.borrow().given();
        if given.versions.is_empty() {
            return;
        }
        // These versions run, whatever becomes of the file.
        if let Err(error) = self.reloader.roles.save(given).map(drop) {
            warn!(%error, "the versions of the models could not be kept for a restart");
        }
    }

    /// Says how a version beside the live one becomes live.
    pub(super) fn tell_turn(&self, way: Way, version: &str) {
        let models = self.reloader.running.borrow();
        let live = &models.0[way.windows_of];
        let next = &models.0[way.place];
        let Rivalry { by_rule, obstacle } = next.rivalry;
        let how = match (by_rule, obstacle) {
            (true, None) => "when its verdict against the live one is `better`",
            // The rule will never say anything of it.
            (true, Some(_)) | (false, _) => "by `tickcast model promote NAME VERSION`",
        };
        info!(
            model = %next.name,
            version,
            live = %live.status.running.model_version,
            obstacle,
            "a new version runs as a shadow of the live one; it becomes live {how}"
        );
    }
}
