//! A shadow becomes live by its verdict.
//!
//! Owns when verdicts are looked at, and the pause after a promotion that failed. Promises that the
//! rule promotes nothing unless all states are there, and every shard, asked in line with its
//! records, gives evidence about the model that is live now which comes to `better`. Never promotes
//! what a request could not.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

use tracing::{error, info, warn};

use super::metrics::By;
use super::outcome::{Models, Outcome};
use super::worker::{ReloadWork, SHARD_TIMEOUT, ending, unheard};
use crate::core::verdict::{LEVEL, Word};
use crate::engine::pipeline::{RivalPool, Role};
use crate::ops::clock::Stopwatch;
use crate::shard::RivalBoard;
use crate::shard::command::{Command, Meanwhile};

/// How long the rule leaves a model alone whose promotion failed.
const PAUSE: Duration = Duration::from_secs(60);

/// By what shadows become live without a request.
pub struct PromotionRule {
    /// What the shards have laid down: where it says `better`, the shards are asked.
    board: RivalBoard,
    /// Whether the states of all symbols are there: over a part of them a verdict is another one.
    is_settled: Box<dyn Fn() -> bool + Send>,
    /// Since when a model is left alone.
    failed: BTreeMap<usize, Stopwatch>,
}

impl PromotionRule {
    /// The rule over what shards lay down, to be looked at while `is_settled`.
    pub fn new(board: RivalBoard, is_settled: impl Fn() -> bool + Send + 'static) -> Self {
        Self { board, is_settled: Box::new(is_settled), failed: BTreeMap::new() }
    }

    /// Without anything to look at: it promotes nothing by itself.
    pub fn never() -> Self {
        Self::new(RivalBoard::default(), || false)
    }

    fn rests(&self, model: usize) -> bool {
        self.failed.get(&model).is_some_and(|failed| failed.elapsed() < PAUSE)
    }
}

impl Models {
    /// Whether the rule gives a model its seat, by what the symbols have come to.
    fn has_overtaken(&self, model: usize, RivalPool { rival, pool }: &RivalPool) -> bool {
        let listed = &self.0[model];
        listed.role == Role::Shadow
            && listed.rivalry.by_rule
            && rival.is_some()
            && *rival == self.live_of(listed.seat)
            && pool.word(LEVEL) == Word::Better
    }
}

impl ReloadWork {
    /// Promotes the shadows whose verdicts say so.
    pub(super) fn follow_rule(&mut self) {
        for model in self.promising() {
            if self.stop.is_set() {
                return;
            }
            self.pulse.work();
            self.promote_by_rule_once(model, &mut Meanwhile::Sleep);
        }
    }

    /// The shadows that may have overtaken the live models of their seats.
    pub(super) fn promising(&self) -> Vec<usize> {
        let rule = &self.reloader.rule;
        if !(rule.is_settled)() {
            return Vec::new();
        }
        let models = self.reloader.running.borrow();
        let is_promising = |model: &usize| {
            !rule.rests(*model) && models.has_overtaken(*model, &rule.board.of(*model))
        };
        (0..models.0.len()).filter(is_promising).collect()
    }

    /// Gives a shadow its seat where every shard agrees that it has overtaken the live model;
    /// `None` where not. A caller that drives the shards on this thread does so in `meanwhile`.
    pub fn promote_by_rule_once(
        &mut self,
        model: usize,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Option<Outcome> {
        let name = self.name_of(model);
        let outcome = self.promote_by_rule(model, meanwhile).unwrap_or_else(Some)?;
        match &outcome {
            Outcome::Fatal { reason } => error!(%name, reason, "the models could not be changed"),
            Outcome::Kept { reason } => {
                let seconds = PAUSE.as_secs();
                warn!(
                    %name,
                    reason,
                    "not promoted by the rule: the roles were kept; it is tried again in \
                     {seconds} s"
                );
                self.reloader.rule.failed.insert(model, Stopwatch::start());
            }
            _ => {
                self.reloader.rule.failed.remove(&model);
            }
        }
        Some(outcome)
    }

    fn promote_by_rule(
        &mut self,
        model: usize,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Option<Outcome>, Outcome> {
        let found = self.rival_pool(model, meanwhile)?;
        let agrees = self.reloader.running.borrow().has_overtaken(model, &found);
        if !agrees || !(self.reloader.rule.is_settled)() {
            return Ok(None);
        }
        let symbols = |word| found.pool.symbols(word);
        info!(
            model = %self.name_of(model),
            better = symbols(Word::Better),
            worse = symbols(Word::Worse),
            undecided = symbols(Word::Undecided),
            too_early = symbols(Word::TooEarly),
            "promoting a shadow by the rule: its verdict against the live model is `better`"
        );
        self.promote(model, By::Rule, meanwhile).map(Some)
    }

    /// What the symbols of all shards say of a shadow and its rival.
    fn rival_pool(
        &self,
        model: usize,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<RivalPool, Outcome> {
        self.pulse.wait(SHARD_TIMEOUT);
        let (answer, answers) = channel();
        for shard in &self.reloader.shards {
            let command = Command::Rivals { model, answer: answer.clone() };
            shard.command(command).map_err(|_| ending())?;
        }
        drop(answer);
        let mut all: Option<RivalPool> = None;
        for _ in &self.reloader.shards {
            let RivalPool { rival, pool } =
                meanwhile.receive(&answers, Some(SHARD_TIMEOUT)).map_err(unheard)?;
            all = match all {
                None => Some(RivalPool { rival, pool }),
                Some(all) if all.rival == rival => {
                    Some(RivalPool { rival, pool: all.pool.merged(&pool) })
                }
                // A change of the models is under way, which only this thread makes.
                Some(_) => return Ok(RivalPool::default()),
            };
        }
        Ok(all.unwrap_or_default())
    }
}
