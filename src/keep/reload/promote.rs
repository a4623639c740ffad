//! A shadow becomes live.
//!
//! Owns the order of it: who is live is kept first, then every shard gives the seat over, then it
//! is shown. Promises that nothing can be refused once the first shard has taken the word; what is
//! refused before is put back, and an answer whose roles a restart does not find says so. Never
//! touches a shard's state.

use std::sync::mpsc::channel;

use tracing::{info, warn};

use super::metrics::By;
use super::outcome::{ListedModel, Models, Outcome};
use super::worker::{ReloadWork, SHARD_TIMEOUT, ending, torn};
use crate::engine::pipeline::Role;
use crate::keep::roles::Before;
use crate::shard::command::{Command, Meanwhile};

impl ReloadWork {
    /// Gives a shadow its seat. A caller that drives the shards on this thread does so in
    /// `meanwhile`.
    pub fn promote_once(&mut self, model: usize, meanwhile: &mut Meanwhile<'_>) -> Outcome {
        self.promote(model, By::Request, meanwhile).unwrap_or_else(|refusal| refusal)
    }

    pub(super) fn promote(
        &mut self,
        model: usize,
        by: By,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Outcome, Outcome> {
        let mut after = self.reloader.running.borrow().clone();
        let Some(ListedModel { name, role, seat, status, .. }) = after.0.get(model).cloned() else {
            return Err(Outcome::kept("there is no such model"));
        };
        match role {
            Role::Live => return Ok(Outcome::Live { name }),
            Role::Vacant => return Err(Outcome::kept("there is no other version yet")),
            Role::Blend => {
                return Err(Outcome::kept("a blend is no shadow, and has no seat to get"));
            }
            Role::Shadow => {}
        }
        if let Some(reason) = self.reloader.roles.configured().refusal(&name) {
            return Err(Outcome::kept(reason));
        }
        let model_version = status.running.model_version;
        let Some(instead_of) = give_seat(&mut after, model, seat) else {
            return Err(Outcome::kept("its seat has no live model"));
        };
        let before = self.reloader.roles.save(after.given()).map_err(Outcome::kept)?;
        if let Err(outcome) = self.hand_over(model, meanwhile) {
            return Err(self.take_back(outcome, before, &name));
        }
        self.reloader.metrics.promoted(&name, by);
        self.show(after);
        let survives_restart = self.reloader.roles.is_kept();
        info!(
            model = %name,
            version = model_version,
            instead_of = %instead_of,
            by = by.label(),
            "promoted a shadow to live"
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

    /// What becomes of a promotion that the shards did not carry out: where none has begun, a
    /// restart begins as if it had not been asked for.
    fn take_back(&mut self, outcome: Outcome, before: Before, name: &str) -> Outcome {
        let roles = &mut self.reloader.roles;
        match outcome {
            Outcome::Kept { reason } => match roles.put_back(before) {
                Ok(()) => Outcome::Kept { reason },
                Err(error) => Outcome::kept(format_args!(
                    "{reason}; a restart may begin with `{name}` live, because the roles before \
                     could not be put back: {error}"
                )),
            },
            Outcome::Fatal { reason } if roles.is_kept() => {
                Outcome::Fatal { reason: format!("{reason}; a restart begins with `{name}` live") }
            }
            other => other,
        }
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
