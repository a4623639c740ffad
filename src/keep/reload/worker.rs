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

use super::handle::{ReloadHandle, ReloadThread, Request, StopFlag};
use super::metrics::ReloadMetrics;
use super::outcome::{ModelStatus, Outcome, RunningModel};
use super::watch::ModelWatch;
use crate::engine::inference::Runtime;
use crate::engine::model::manifest::Manifest;
use crate::engine::model::{ModelChoice, RefusedVersion, candidates, version_of};
use crate::engine::pipeline::{Pipeline, PipelineSettings, Prover, StoredState, Tried, Unproven};
use crate::engine::symbols::Inherited;
use crate::intake::IntakeCommander;
use crate::ops::clock::Stopwatch;
use crate::ops::process::ModelInfo;
use crate::ops::supervise::Pulse;
use crate::shard::command::{Command, Meanwhile};

/// Requests that may wait; each is a person or a supervisor.
pub(super) const REQUESTS_MAX: usize = 64;

/// How often the folder of models is looked at, where it is watched.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long all shards together may take for an answer, behind whatever is in their queues.
const SHARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How many windows of each shard a model is tried on.
const WINDOWS_TRIED: usize = 64;

/// What the thread needs.
pub struct Reloader {
    /// Where the model is.
    pub choice: ModelChoice,
    /// How the pipeline of a shard is built of it.
    pub settings: PipelineSettings,
    /// What models run on.
    pub runtime: Arc<dyn Runtime>,
    /// What proves a version before this process opens it.
    pub prover: Arc<dyn Prover>,
    /// How long one proof may take, and one opening after it.
    pub proof_time_max: Duration,
    /// One per shard.
    pub shards: Vec<IntakeCommander<Command>>,
    /// The model that runs: its states are those that the next one takes over.
    pub manifest: Manifest,
    /// Told of each change.
    pub running: watch::Sender<ModelStatus>,
    /// Shows which model runs.
    pub info: ModelInfo,
    /// What is counted.
    pub metrics: ReloadMetrics,
}

impl Reloader {
    /// The work without a thread.
    pub fn work(self) -> ReloadWork {
        ReloadWork { reloader: self, pulse: Pulse::new(), stop: StopFlag::default() }
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
    pulse: Pulse,
    stop: StopFlag,
}

impl ReloadWork {
    fn run(&mut self, asked: &Receiver<Request>) {
        let choice = &self.reloader.choice;
        let mut news = choice.watch.then(|| ModelWatch::begin(choice.clone()));
        while !self.stop.is_set() {
            self.pulse.rest();
            let mut requests = match asked.recv_timeout(WATCH_EVERY) {
                Ok(request) => vec![request],
                Err(RecvTimeoutError::Timeout) => {
                    if !news.as_mut().is_some_and(ModelWatch::has_news) {
                        continue;
                    }
                    vec![Request { from: "model.watch", answer: None }]
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.stop.is_set() {
                return;
            }
            self.pulse.work();
            // All that wait get the one answer.
            requests.extend(asked.try_iter());
            self.answer(requests);
        }
    }

    /// One reload for all these requests.
    fn answer(&mut self, requests: Vec<Request>) {
        let from: Vec<_> = requests.iter().map(|request| request.from).collect();
        info!(?from, "reloading the model");
        let begun = Stopwatch::start();
        let outcome =
            match catch_unwind(AssertUnwindSafe(|| self.reload_once(&mut Meanwhile::Sleep))) {
                Ok(outcome) => outcome,
                Err(_) => panicked(),
            };
        let seconds = begun.elapsed().as_secs_f64();
        self.reloader.metrics.reloaded(&outcome, seconds);
        report(&outcome, seconds);
        for request in requests {
            if let Some(answer) = request.answer {
                // Whoever asked may have gone away.
                let _ = answer.send(outcome.clone());
            }
        }
    }

    /// One reload, from the look into the folder of models to the outcome. A caller that drives the
    /// shards on this thread does so in `meanwhile`.
    pub fn reload_once(&mut self, meanwhile: &mut Meanwhile<'_>) -> Outcome {
        self.reload(meanwhile).unwrap_or_else(|refusal| refusal)
    }

    /// The whole way; an error is an outcome as well. As at a start, `latest` gives the newest
    /// version that proves itself, but never one that the running version is preferred to.
    fn reload(&mut self, meanwhile: &mut Meanwhile<'_>) -> Result<Outcome, Outcome> {
        let ModelChoice { root, name, version, .. } = &self.reloader.choice;
        let folders = candidates(root, name, version).map_err(Outcome::kept)?;
        let running = self.reloader.running.borrow().running.model_version.clone();
        let mut refused = Vec::new();
        for folder in folders {
            if !refused.is_empty() && version_of(&folder) == running {
                break;
            }
            match self.prepare(&folder, meanwhile) {
                Ok((manifest, pipelines)) => {
                    return self.take_over(manifest, pipelines, refused, meanwhile);
                }
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
                    self.show_refused(refused);
                    let running = self.reloader.running.borrow().running.clone();
                    return Err(Outcome::unchanged(running));
                }
                Err(NotReady::Ended(outcome)) => return Err(*outcome),
            }
            // What runs was proved once, whatever has become of its files.
            if version_of(&folder) == running {
                break;
            }
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
        self.show_refused(refused);
        Err(Outcome::kept(reason))
    }

    /// A proved and tried pipeline for each shard, of the version in a folder.
    fn prepare(
        &self,
        folder: &Path,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(Manifest, Vec<Pipeline>), NotReady> {
        let Reloader { prover, settings, shards, proof_time_max, .. } = &self.reloader;
        self.pulse.wait(*proof_time_max);
        let bundle = prover.prove(folder, settings, &|| !self.stop.is_set())?;
        let mut pipelines = Vec::with_capacity(shards.len());
        for _ in shards {
            // What was proved within the time opens within it.
            self.pulse.wait(*proof_time_max);
            let mut pipeline = Pipeline::build(&bundle, &*self.reloader.runtime, settings)
                .map_err(NotReady::refused)?;
            if RunningModel::of(&pipeline) == self.reloader.running.borrow().running {
                return Err(NotReady::RunsAlready);
            }
            if self.stop.is_set() {
                return Err(NotReady::ended(ending()));
            }
            // Its bundle may be gone from the folder by now.
            pipeline.know(&self.reloader.manifest);
            pipelines.push(pipeline);
        }
        self.pulse.wait(*proof_time_max + SHARD_TIMEOUT);
        self.try_on(&mut pipelines[0], meanwhile)?;
        Ok((bundle.manifest().clone(), pipelines))
    }

    /// Hands the pipelines over and shows what runs.
    fn take_over(
        &mut self,
        manifest: Manifest,
        pipelines: Vec<Pipeline>,
        refused: Vec<RefusedVersion>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Outcome, Outcome> {
        let (model, template) = (RunningModel::of(&pipelines[0]), pipelines[0].template().clone());
        self.pulse.wait(SHARD_TIMEOUT);
        let inherited = self.swap(pipelines, meanwhile)?;
        self.reloader.info.show(&template, &manifest.step);
        self.reloader.manifest = manifest;
        self.reloader.metrics.show_refused(refused.len());
        self.reloader.running.send_replace(ModelStatus { running: model.clone(), refused });
        Ok(Outcome::swapped(model, inherited))
    }

    fn show_refused(&self, refused: Vec<RefusedVersion>) {
        self.reloader.metrics.show_refused(refused.len());
        self.reloader.running.send_modify(|status| status.refused = refused);
    }

    /// Refuses a model that says nothing about most windows of this moment: whatever its golden
    /// vectors prove, it is not made for these inputs.
    fn try_on(
        &self,
        pipeline: &mut Pipeline,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), NotReady> {
        let windows = self.sample(meanwhile).map_err(NotReady::ended)?;
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

    /// Some windows of every shard.
    fn sample(&self, meanwhile: &mut Meanwhile<'_>) -> Result<Vec<StoredState>, Outcome> {
        let (answer, answers) = channel();
        for shard in &self.reloader.shards {
            let command = Command::Sample { count_max: WINDOWS_TRIED, answer: answer.clone() };
            shard.command(command).map_err(|_| ending())?;
        }
        // A shard that ends without an answer is noticed at once.
        drop(answer);
        let mut windows = Vec::new();
        for _ in &self.reloader.shards {
            let answer = meanwhile.receive(&answers, Some(SHARD_TIMEOUT));
            windows.extend(answer.map_err(|error| match error {
                RecvTimeoutError::Timeout => late(),
                RecvTimeoutError::Disconnected => ending(),
            })?);
        }
        Ok(windows)
    }

    /// Hands every shard its pipeline. Nothing in this can be refused any more: a shard that does
    /// not answer has ended, and the daemon with it.
    fn swap(
        &self,
        pipelines: Vec<Pipeline>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Inherited, Outcome> {
        let (answer, answers) = channel();
        for (index, (shard, pipeline)) in self.reloader.shards.iter().zip(pipelines).enumerate() {
            let command = Command::Swap { pipeline: Box::new(pipeline), answer: answer.clone() };
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

/// Logs what became of a reload.
fn report(outcome: &Outcome, seconds: f64) {
    match outcome {
        Outcome::Swapped {
            model: RunningModel { model, model_version, mode, .. },
            symbols_kept,
            symbols_rescaled,
            symbols_cold,
        } => info!(
            model,
            version = model_version,
            mode,
            symbols_kept,
            symbols_rescaled,
            symbols_cold,
            seconds,
            "another model runs"
        ),
        Outcome::Unchanged { reason, .. } => info!(reason, "there is no other model to run"),
        Outcome::Kept { reason } => warn!(reason, "the model that runs was kept"),
        Outcome::Fatal { reason } => error!(reason, "the model could not be reloaded"),
    }
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
fn panicked() -> Outcome {
    Outcome::kept("the reload panicked; the log has the place, which is a fault of the program")
}

fn ending() -> Outcome {
    Outcome::kept("the daemon is ending")
}

fn late() -> Outcome {
    let seconds = SHARD_TIMEOUT.as_secs();
    Outcome::kept(format_args!("a shard did not answer within {seconds} s"))
}

fn torn() -> Outcome {
    Outcome::Fatal { reason: "a shard ended while the models changed over".to_owned() }
}

#[cfg(test)]
mod tests;
