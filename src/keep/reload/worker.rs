//! The thread that reloads.
//!
//! Owns the requests and the way from a folder to running pipelines. Promises one reload at a time,
//! off every other thread's path; and that nothing is changed before everything that can be refused
//! was accepted. Never touches a shard's state: it hands over a pipeline and hears what became of
//! it. A panic on the way costs the reload and nothing else; what stalls is seen by the supervisor,
//! and whoever waits for an outcome is answered without one.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use super::age::AgeWatch;
use super::handle::{ReloadHandle, ReloadThread, Request, StopFlag, Work};
use super::metrics::ReloadMetrics;
use super::order::in_order;
use super::outcome::{ListedModel, ModelStatus, Models, Outcome, Rivalry, RunningModel};
use super::rule::PromotionRule;
use super::turns::Way;
use crate::core::domain::Schema;
use crate::core::history::RowKind;
use crate::engine::inference::Runtime;
use crate::engine::model::manifest::Manifest;
use crate::engine::model::{
    Bundle, ModelChoice, RefusedVersion, candidates, makes_steps, rival_obstacle, version_of,
};
use crate::engine::pipeline::{
    Pipeline, PipelineSettings, Prover, Role, StoredState, Tried, Unproven,
};
use crate::engine::symbols::Inherited;
use crate::engine::wire::forecast::RecordTemplate;
use crate::intake::IntakeCommander;
use crate::keep::roles::RoleStore;
use crate::ops::clock::{Stopwatch, wall_time};
use crate::ops::process::{ModelInfo, ShownModel};
use crate::ops::supervise::Pulse;
use crate::shard::command::{Command, Meanwhile};

/// Requests that may wait; each is a person or a supervisor.
pub(super) const REQUESTS_MAX: usize = 64;

/// How often the folder of models is looked at, where it is watched, and the verdicts of shadows.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long all shards together may take for an answer, behind whatever is in their queues.
pub(super) const SHARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How many windows of each shard a model is tried on.
const WINDOWS_TRIED: usize = 64;

/// What the thread needs.
pub struct Reloader {
    /// Every model of the configuration, in its order.
    pub models: Vec<ReloadModel>,
    /// What models run on.
    pub runtime: Arc<dyn Runtime>,
    /// What proves a version before this process opens it.
    pub prover: Arc<dyn Prover>,
    /// How long one proof may take, and one opening after it.
    pub proof_time_max: Duration,
    /// One per shard.
    pub shards: Vec<IntakeCommander<Command>>,
    /// Told of each change.
    pub running: watch::Sender<Models>,
    /// Where the roles of models are kept.
    pub roles: RoleStore,
    /// By what shadows become live without a request.
    pub rule: PromotionRule,
    /// How old models may become before that is said.
    pub age: AgeWatch,
    /// Shows which models run.
    pub info: ModelInfo,
    /// What is counted.
    pub metrics: ReloadMetrics,
}

/// One model of the configuration.
pub struct ReloadModel {
    /// Where it is.
    pub choice: ModelChoice,
    /// How the pipeline of a shard is built of it.
    pub settings: PipelineSettings,
    /// The version that runs: its states are those that the next one takes over.
    pub manifest: Manifest,
    /// How the version that runs is described in its forecasts.
    pub template: RecordTemplate,
    /// The fields that it reads.
    pub schema: Schema,
    /// What its symbols are asked for as history, where they are.
    rows: Option<AskedRows>,
}

/// The rows that shards ask for as history, as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedRows {
    /// What they are.
    pub kind: RowKind,
    /// Whether live ticks are trades.
    pub beside_trades: bool,
}

impl ReloadModel {
    /// A model that runs in this pipeline.
    pub fn new(choice: ModelChoice, settings: PipelineSettings, pipeline: &Pipeline) -> Self {
        let (manifest, template) = (pipeline.manifest().clone(), pipeline.template().clone());
        let schema = pipeline.schema().clone();
        Self { choice, settings, manifest, template, schema, rows: None }
    }

    /// The same where its symbols are asked for these rows as history.
    #[must_use]
    pub fn asking_for(self, rows: Option<AskedRows>) -> Self {
        Self { rows, ..self }
    }
}

impl Reloader {
    /// The work without a thread.
    pub fn work(self) -> ReloadWork {
        let models = self.running.borrow().clone();
        let work = ReloadWork { reloader: self, pulse: Pulse::new(), stop: StopFlag::default() };
        work.show(models);
        work
    }

    /// Starts the thread. It ends when it is told to stop, and when every handle is gone.
    ///
    /// # Errors
    /// Where the thread cannot be made.
    pub fn start(self) -> io::Result<ReloadThread> {
        let (requests, asked) = sync_channel(REQUESTS_MAX);
        let (pulse, stop) = (Pulse::new(), StopFlag::default());
        let (ending, ended) = oneshot::channel();
        // One proof is cut off in time, and so is the wait for the shards.
        let answer_within = 2 * self.proof_time_max + SHARD_TIMEOUT;
        let thread = ReloadWork { pulse: pulse.clone(), stop: stop.clone(), ..self.work() };
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Dropped last, in whatever way the end comes: who hears of it finds no thread to ask.
            let _ending: oneshot::Sender<()> = ending;
            let (mut thread, asked) = (thread, asked);
            while catch_unwind(AssertUnwindSafe(|| thread.run(&asked))).is_err() {
                error!("the reload thread panicked and runs again; this is a fault of the program");
            }
        })?;
        let handle = ReloadHandle::new(requests, answer_within);
        Ok(ReloadThread::new(handle, pulse, stop, ended))
    }
}

/// What the thread does, for it and for a caller that drives the shards itself.
pub struct ReloadWork {
    /// What it needs.
    pub reloader: Reloader,
    pub(super) pulse: Pulse,
    pub(super) stop: StopFlag,
}

impl ReloadWork {
    fn run(&mut self, asked: &Receiver<Request>) {
        self.keep_turns();
        let mut watches: Vec<_> = (0..self.reloader.models.len())
            .filter_map(|model| Some((model, self.watch_of(model)?)))
            .collect();
        self.watch_age(wall_time());
        while !self.stop.is_set() {
            self.pulse.rest();
            let heard = asked.recv_timeout(WATCH_EVERY);
            if matches!(heard, Err(RecvTimeoutError::Timeout)) {
                self.watch_age(wall_time());
                self.follow_rule();
            }
            let requests: Vec<_> = match heard {
                // All that wait for the same get the one answer.
                Ok(request) => std::iter::once(request).chain(asked.try_iter()).collect(),
                Err(RecvTimeoutError::Timeout) => watches
                    .iter_mut()
                    .filter_map(|(index, watch)| watch.has_news().then_some(Work::Reload(*index)))
                    .map(|work| Request { from: "model.watch", work: Some(work), answer: None })
                    .collect(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.stop.is_set() {
                return;
            }
            self.pulse.work();
            let order = in_order(requests, &self.reloader.running.borrow());
            for (work, requests) in order {
                // The queues close by now, and who waits is answered by the end of the thread.
                if self.stop.is_set() {
                    return;
                }
                self.answer(&work, requests);
            }
        }
    }

    /// The one thing that all these requests ask for.
    fn answer(&mut self, work: &Work, requests: Vec<Request>) {
        let from: Vec<_> = requests.iter().map(|request| request.from).collect();
        let model = work.model();
        let name = self.name_of(model);
        let begun = Stopwatch::start();
        let outcome = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Reload(model) => {
                info!(model = %name, ?from, "reloading the model");
                self.reload_once(*model, &mut Meanwhile::Sleep)
            }
            Work::Promote(model) => {
                info!(model = %name, ?from, "promoting the model");
                self.promote_once(*model, &mut Meanwhile::Sleep)
            }
            Work::Bring { model, version } => {
                info!(model = %name, version, ?from, "promoting a version of the model");
                self.bring_once(*model, version, &mut Meanwhile::Sleep)
            }
        }));
        let outcome = outcome.unwrap_or_else(|_| panicked(work));
        let seconds = begun.elapsed().as_secs_f64();
        if let Work::Reload(_) = work {
            self.reloader.metrics.reloaded(&name, &outcome, seconds);
        }
        // What is a shadow from here on has been told.
        let is_shadow = matches!(outcome, Outcome::Swapped { .. }) && self.takes_turns(model);
        if !is_shadow {
            report(&name, work, &outcome, seconds);
        }
        for request in requests {
            if let Some(answer) = request.answer {
                // Whoever asked may have gone away.
                let _ = answer.send(outcome.clone());
            }
        }
    }

    /// A model as the configuration names it.
    pub(super) fn name_of(&self, model: usize) -> String {
        let models = self.reloader.running.borrow();
        models.0.get(model).map(|listed| listed.name.clone()).unwrap_or_default()
    }

    /// The version of a model that runs.
    fn running(&self, model: usize) -> RunningModel {
        self.reloader.running.borrow().0[model].status.running.clone()
    }

    /// Shows what runs, everywhere.
    pub(super) fn show(&self, mut models: Models) {
        self.judge_rivalries(&mut models);
        let there = models.0.iter().zip(&self.reloader.models);
        let there = there.filter(|(listed, _)| listed.role != Role::Vacant);
        let shown: Vec<_> = there.map(shown_model).collect();
        self.reloader.info.show(&shown);
        self.reloader.metrics.show(&models);
        self.reloader.running.send_replace(models);
    }

    /// Notes which shadows are compared with the live models of their seats.
    fn judge_rivalries(&self, models: &mut Models) {
        let configured = self.reloader.roles.configured();
        for at in 0..models.0.len() {
            let ListedModel { name, role, seat, .. } = &models.0[at];
            let live = models.live_of(*seat).filter(|_| *role == Role::Shadow);
            let manifest = |at: usize| &self.reloader.models[at].manifest;
            let obstacle = live.and_then(|live| rival_obstacle(manifest(at), manifest(live)));
            models.0[at].rivalry = Rivalry { by_rule: configured.by_rule(name), obstacle };
        }
    }

    /// One reload of a model, from the look into the folder of models to the outcome. A caller that
    /// drives the shards on this thread does so in `meanwhile`.
    pub fn reload_once(&mut self, model: usize, meanwhile: &mut Meanwhile<'_>) -> Outcome {
        self.reload(model, None, meanwhile).unwrap_or_else(|refusal| refusal)
    }

    /// The whole way; an error is an outcome as well. As at a start, `latest` gives the newest
    /// version that proves itself, but never one that the running version is preferred to.
    /// A version that is named is loaded in place of the configured one.
    pub(super) fn reload(
        &mut self,
        model: usize,
        named: Option<&str>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Outcome, Outcome> {
        let way = self.reloader.running.borrow().way_of(model);
        if self.reloader.running.borrow().0[model].role == Role::Blend {
            let reason = "a blend has no versions of its own".to_owned();
            return Err(Outcome::Unchanged { model: self.running(model), reason });
        }
        let ModelChoice { root, name, version, .. } = &self.reloader.models[model].choice;
        let version = named.unwrap_or(if way.is_beside() { "latest" } else { version });
        let folders = candidates(root, name, version).map_err(Outcome::kept)?;
        let running = self.running(way.windows_of).model_version;
        let blend = self.reloader.running.borrow().blend_of(model).map(str::to_owned);
        if let Some(blend) = blend {
            let is_newest = folders.first().is_some_and(|folder| version_of(folder) == running);
            return Err(match is_newest {
                true => Outcome::unchanged(self.running(model)),
                false => Outcome::kept(format_args!(
                    "the blend `{blend}` has learned what version {running} is worth; restart the \
                     daemon to exchange it"
                )),
            });
        }
        let (mut refused, mut taken) = (Vec::new(), Vec::new());
        for folder in folders {
            let version = version_of(&folder);
            if let Some(place) = self.in_turn(way, &version) {
                self.show_refused(way.windows_of, refused);
                return Err(unchanged(self.running(place), taken));
            }
            if version == running && !(refused.is_empty() && taken.is_empty()) {
                break;
            }
            if let Some(by) = self.other_with(way, &version) {
                info!(version, by, "a version is passed over, because another model runs it");
                taken.push(format!("version {version} runs as `{by}`"));
                continue;
            }
            match self.prepare(way, &folder, meanwhile) {
                Ok(pipelines) => return self.take_over(way, pipelines, refused, meanwhile),
                Err(NotReady::Refused(reason)) => {
                    let refusal = RefusedVersion::new(&folder, reason);
                    warn!(
                        version = refusal.version,
                        reason = refusal.reason,
                        "a version of the model does not prove itself"
                    );
                    refused.push(refusal);
                }
                Err(NotReady::RunsAlready) => {
                    self.show_refused(way.windows_of, refused);
                    return Err(Outcome::unchanged(self.running(way.place)));
                }
                Err(NotReady::Ended(outcome)) => return Err(*outcome),
            }
            // What runs was proved once, whatever has become of its files.
            if version == running {
                break;
            }
        }
        if refused.is_empty() && !taken.is_empty() {
            if named.is_some() {
                return Err(Outcome::kept(taken.join("; ")));
            }
            self.show_refused(way.windows_of, refused);
            return Err(unchanged(self.running(way.windows_of), taken));
        }
        let reason = match &*refused {
            [only] => only.reason.clone(),
            all => {
                let told = |refused: &RefusedVersion| {
                    format!("version {}: {}", refused.version, refused.reason)
                };
                all.iter().map(told).collect::<Vec<_>>().join("; ")
            }
        };
        self.show_refused(way.windows_of, refused);
        Err(Outcome::kept(reason))
    }

    /// A proved and tried pipeline of a model for each shard, of the version in a folder.
    fn prepare(
        &self,
        way: Way,
        folder: &Path,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Vec<Pipeline>, NotReady> {
        let Reloader { prover, models, shards, proof_time_max, .. } = &self.reloader;
        let ReloadModel { settings, manifest, rows, .. } = &models[way.place];
        self.pulse.wait(*proof_time_max);
        let bundle = prover.prove(folder, settings, &|| !self.stop.is_set())?;
        fits_history(*rows, &bundle)?;
        let mut pipelines = Vec::with_capacity(shards.len());
        for _ in shards {
            // What was proved within the time opens within it.
            self.pulse.wait(*proof_time_max);
            let mut pipeline = Pipeline::build(&bundle, &*self.reloader.runtime, settings)
                .map_err(NotReady::refused)?;
            self.fits(way.place, &pipeline)?;
            if self.stop.is_set() {
                return Err(NotReady::ended(ending()));
            }
            // Its bundle may be gone from the folder by now.
            pipeline.know(manifest);
            if way.is_beside() {
                pipeline.know(&models[way.windows_of].manifest);
            }
            pipelines.push(pipeline);
        }
        self.pulse.wait(*proof_time_max + SHARD_TIMEOUT);
        self.try_on(way.windows_of, &mut pipelines[0], meanwhile)?;
        Ok(pipelines)
    }

    /// Another model of the configuration that runs this version of the same model.
    fn other_with(&self, way: Way, version: &str) -> Option<String> {
        let name = &self.reloader.models[way.place].choice.name;
        let models = self.reloader.running.borrow();
        let is_other = |index: usize| index != way.place && index != way.windows_of;
        let mut others = models.0.iter().enumerate().filter(|(index, _)| is_other(*index));
        let runs_it =
            |running: &RunningModel| running.model == *name && running.model_version == version;
        let other =
            others.find(|(_, other)| other.role != Role::Vacant && runs_it(&other.status.running));
        other.map(|(_, other)| other.name.clone())
    }

    /// Whether a version can run beside the other models.
    fn fits(&self, model: usize, pipeline: &Pipeline) -> Result<(), NotReady> {
        let is_vacant = self.reloader.running.borrow().0[model].role == Role::Vacant;
        if !is_vacant && self.running(model) == RunningModel::of(pipeline) {
            return Err(NotReady::RunsAlready);
        }
        let schemas = self.reloader.models.iter().enumerate();
        let schemas = schemas.map(
            |(index, other)| {
                if index == model { pipeline.schema() } else { &other.schema }
            },
        );
        Schema::union(schemas).map(drop).map_err(|error| {
            NotReady::refused(format_args!("the models read too many fields together: {error}"))
        })
    }

    /// Hands the pipelines over and shows what runs.
    fn take_over(
        &mut self,
        way: Way,
        pipelines: Vec<Pipeline>,
        refused: Vec<RefusedVersion>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Outcome, Outcome> {
        let Way { place, windows_of } = way;
        let before = &self.reloader.models[place];
        let (choice, settings) = (before.choice.clone(), before.settings.clone());
        let next = ReloadModel::new(choice, settings, &pipelines[0]).asking_for(before.rows);
        let status = ModelStatus::of(&pipelines[0], Vec::new());
        let running = status.running.clone();
        self.pulse.wait(SHARD_TIMEOUT);
        let inherited = self.swap(way, pipelines, meanwhile)?;
        self.reloader.models[place] = next;
        let (model, version) = (&*running.model, &*running.model_version);
        let ModelStatus { runtime, runtime_reason: reason, .. } = &status;
        info!(model, version, runtime, reason, "the model is ready");
        let mut models = self.reloader.running.borrow().clone();
        models.0[place].status = status;
        // Of two that take turns, what was refused belongs to the live one, which is always there.
        models.0[windows_of].status.refused = refused;
        if models.0[place].role == Role::Vacant {
            models.0[place].role = Role::Shadow;
        }
        self.show(models);
        if way.is_beside() {
            self.keep_turns();
            self.tell_turn(way, &running.model_version);
        }
        Ok(Outcome::swapped(running, inherited))
    }

    fn show_refused(&self, model: usize, refused: Vec<RefusedVersion>) {
        let mut models = self.reloader.running.borrow().clone();
        models.0[model].status.refused = refused;
        self.reloader.metrics.show(&models);
        self.reloader.running.send_replace(models);
    }

    /// Refuses a model that says nothing about most windows of this moment: whatever its golden
    /// vectors prove, it is not made for these inputs.
    fn try_on(
        &self,
        model: usize,
        pipeline: &mut Pipeline,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), NotReady> {
        let windows = self.sample(model, meanwhile).map_err(NotReady::ended)?;
        let failed = |error| NotReady::refused(format_args!("try it on live windows: {error}"));
        let Tried { windows, usable } = pipeline.try_on(&windows).map_err(failed)?;
        info!(windows, usable, "tried the model on live windows");
        if usable * 2 < windows {
            return Err(NotReady::refused(format_args!(
                "it says nothing usable about {} of {windows} live windows",
                windows - usable
            )));
        }
        Ok(())
    }

    /// Some windows of a model, of every shard.
    fn sample(
        &self,
        model: usize,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Vec<StoredState>, Outcome> {
        let (answer, answers) = channel();
        for shard in &self.reloader.shards {
            let (count_max, answer) = (WINDOWS_TRIED, answer.clone());
            let command = Command::Sample { model, count_max, answer };
            shard.command(command).map_err(|_| ending())?;
        }
        // A shard that ends without an answer is noticed at once.
        drop(answer);
        let mut windows = Vec::new();
        for _ in &self.reloader.shards {
            let answer = meanwhile.receive(&answers, Some(SHARD_TIMEOUT));
            windows.extend(answer.map_err(unheard)?);
        }
        Ok(windows)
    }

    /// Hands every shard its pipeline. Nothing in this can be refused any more: a shard that does
    /// not answer has ended, and the daemon with it.
    fn swap(
        &self,
        way: Way,
        pipelines: Vec<Pipeline>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Inherited, Outcome> {
        let Way { place: model, windows_of } = way;
        let (answer, answers) = channel();
        for (index, (shard, pipeline)) in self.reloader.shards.iter().zip(pipelines).enumerate() {
            let (pipeline, answer) = (Box::new(pipeline), answer.clone());
            let command = Command::Swap { model, windows_of, pipeline, answer };
            if shard.command(command).is_err() {
                return Err(if index == 0 { ending() } else { torn() });
            }
        }
        drop(answer);
        let mut all = Inherited::default();
        for _ in &self.reloader.shards {
            // The pipeline that ran until now is taken down here, and not on the shard's thread.
            let answer = meanwhile.receive(&answers, None).map_err(|_| torn())?;
            let (Inherited { kept, rescaled, cold }, _old) = answer;
            all.kept += kept;
            all.rescaled += rescaled;
            all.cold += cold;
        }
        Ok(all)
    }
}

/// Whether the rows that shards ask for make the steps of a version.
fn fits_history(rows: Option<AskedRows>, bundle: &Bundle) -> Result<(), NotReady> {
    let Some(AskedRows { kind, beside_trades }) = rows else { return Ok(()) };
    if makes_steps(kind, beside_trades, bundle.plans()) {
        return Ok(());
    }
    let rows = match kind {
        RowKind::Bars(length) => format!("bars of {} s", length.as_nanos() / 1_000_000_000),
        RowKind::Trades => "single trades".to_owned(),
    };
    Err(NotReady::refused(format_args!(
        "its steps ({}) cannot be made of the {rows} that the daemon asks for as history; restart \
         the daemon with this version, so that it asks for others, or set history.rest = false",
        bundle.manifest().step.words()
    )))
}

/// A model as the metrics show it.
pub(super) fn shown_model<'s>(
    (listed, model): (&'s ListedModel, &'s ReloadModel),
) -> ShownModel<'s> {
    ShownModel {
        name: &listed.name,
        template: &model.template,
        step: &model.manifest.step,
        is_live: listed.role.is_public(),
    }
}

/// Logs what became of a reload; a promotion has said so itself.
fn report(name: &str, work: &Work, outcome: &Outcome, seconds: f64) {
    match outcome {
        Outcome::Swapped {
            model: RunningModel { model, model_version, mode, .. },
            symbols_kept,
            symbols_rescaled,
            symbols_cold,
        } => info!(
            name,
            model,
            version = model_version,
            mode,
            symbols_kept,
            symbols_rescaled,
            symbols_cold,
            seconds,
            "another model runs"
        ),
        Outcome::Promoted { .. } => {}
        Outcome::Live { .. } => info!(name, "the model is live already"),
        Outcome::Unchanged { reason, .. } => {
            info!(name, reason, "there is no other model to run");
        }
        Outcome::Kept { reason } => match work {
            Work::Reload(_) => warn!(name, reason, "the model that runs was kept"),
            Work::Promote(_) | Work::Bring { .. } => {
                warn!(name, reason, "not promoted: the roles were kept");
            }
        },
        Outcome::Fatal { reason } => error!(name, reason, "the models could not be changed"),
    }
}

/// The version that runs stays, beside newer ones that other models run.
fn unchanged(running: RunningModel, taken: Vec<String>) -> Outcome {
    let runs = format!("version {} runs already", running.model_version);
    let reason = std::iter::once(runs).chain(taken).collect::<Vec<_>>().join("; ");
    Outcome::Unchanged { model: running, reason }
}

/// Why a version is not taken over.
enum NotReady {
    /// It does not prove itself.
    Refused(String),
    /// It is the one that runs.
    RunsAlready,
    /// No version can be.
    Ended(Box<Outcome>),
}

impl NotReady {
    fn refused(reason: impl std::fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }

    fn ended(outcome: Outcome) -> Self {
        Self::Ended(Box::new(outcome))
    }
}

impl From<Unproven> for NotReady {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Refused(refusal) => Self::refused(refusal),
            Unproven::Interrupted(_) => Self::ended(Outcome::kept(unproven)),
        }
    }
}

/// Nothing is known of what a panic left behind, but the shards and what runs change only where
/// nothing can fail any more.
fn panicked(work: &Work) -> Outcome {
    let what = work.noun();
    Outcome::kept(format_args!(
        "the {what} panicked; the log has the place, which is a fault of the program"
    ))
}

pub(super) fn ending() -> Outcome {
    Outcome::kept("the daemon is ending")
}

/// What becomes of work for which a shard gave no answer.
pub(super) fn unheard(error: RecvTimeoutError) -> Outcome {
    let seconds = SHARD_TIMEOUT.as_secs();
    match error {
        RecvTimeoutError::Timeout => {
            Outcome::kept(format_args!("a shard did not answer within {seconds} s"))
        }
        RecvTimeoutError::Disconnected => ending(),
    }
}

pub(super) fn torn() -> Outcome {
    Outcome::Fatal { reason: "a shard ended while the models changed over".to_owned() }
}

#[cfg(test)]
mod tests;
