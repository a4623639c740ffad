//! A shadow becomes live.
//!
//! Owns the order of it: who is live is kept first, then every shard gives the seat over, then it
//! is shown. Promises that nothing can be refused once the first shard was asked. Never touches a
//! shard's state.

use std::sync::mpsc::channel;

use tracing::{info, warn};

use super::outcome::{ListedModel, Models, Outcome};
use super::worker::{ReloadWork, SHARD_TIMEOUT, ending, torn};
use crate::engine::pipeline::Role;
use crate::shard::command::{Command, Meanwhile};

impl ReloadWork {
    /// Gives a shadow its seat. A caller that drives the shards on this thread does so in
    /// `meanwhile`.
    pub fn promote_once(&mut self, model: usize, meanwhile: &mut Meanwhile<'_>) -> Outcome {
        self.promote(model, meanwhile).unwrap_or_else(|refusal| refusal)
    }

    pub(super) fn promote(
        &self,
        model: usize,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Outcome, Outcome> {
        let mut after = self.reloader.running.borrow().clone();
        let Some(ListedModel { name, role, seat, status, .. }) = after.0.get(model).cloned() else {
            return Err(Outcome::kept("there is no such model"));
        };
        match role {
            Role::Live => return Ok(Outcome::Live { name }),
            Role::Vacant => return Err(Outcome::kept("there is no other version yet")),
            Role::Shadow => {}
        }
        let model_version = status.running.model_version;
        let Some(instead_of) = give_seat(&mut after, model, seat) else {
            return Err(Outcome::kept("its seat has no live model"));
        };
        let roles = &self.reloader.roles;
        roles.save(after.live(), after.versions()).map_err(|error| {
            Outcome::kept(format_args!("the roles could not be kept for a restart: {error}"))
        })?;
        self.hand_over(model, meanwhile)?;
        self.reloader.metrics.promoted(&name);
        self.show(after);
        let survives_restart = roles.is_kept();
        info!(
            model = %name, version = model_version, instead_of = %instead_of, "a shadow is live"
        );
        if !survives_restart {
            warn!(
                model = %name,
                "no folder keeps the roles of models (snapshot.folder), so a restart begins with \
                 those of the configuration"
            );
        }
        Ok(Outcome::Promoted { name, model_version, instead_of, survives_restart })
    }

    /// Has every shard give the seat over.
    fn hand_over(&self, model: usize, meanwhile: &mut Meanwhile<'_>) -> Result<(), Outcome> {
        self.pulse.wait(SHARD_TIMEOUT);
        let (answer, answers) = channel();
        for (index, shard) in self.reloader.shards.iter().enumerate() {
            let command = Command::Promote { model, answer: answer.clone() };
            if shard.command(command).is_err() {
                return Err(if index == 0 { ending() } else { torn() });
            }
        }
        drop(answer);
        for _ in &self.reloader.shards {
            meanwhile.receive(&answers, None).map_err(|_| torn())?;
        }
        Ok(())
    }
}

/// Notes that a model has a seat; returns the one that had it.
fn give_seat(models: &mut Models, model: usize, seat: usize) -> Option<String> {
    let mut before = None;
    let in_seat = |listed: &ListedModel| listed.seat == seat && listed.role != Role::Vacant;
    for (index, listed) in models.0.iter_mut().enumerate().filter(|(_, listed)| in_seat(listed)) {
        if listed.role == Role::Live {
            before = Some(listed.name.clone());
        }
        listed.role = if index == model { Role::Live } else { Role::Shadow };
    }
    before
}
