//! The thread that reloads.
//!
//! Owns the requests and the way from a folder to running pipelines. Promises one reload at a time,
//! off every other thread's path; and that nothing is changed before everything that can be refused
//! was accepted. Never touches a shard's state: it hands over a pipeline and hears what became of
//! it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use super::metrics::ReloadMetrics;
use super::outcome::{ModelStatus, Outcome, RunningModel};
use super::watch::ModelWatch;
use crate::engine::inference::Runtime;
use crate::engine::model::manifest::Manifest;
use crate::engine::model::{Bundle, ModelChoice, RefusedVersion, candidates, version_of};
use crate::engine::pipeline::{Pipeline, PipelineSettings, StoredState, Tried};
use crate::engine::symbols::Inherited;
use crate::intake::IntakeCommander;
use crate::ops::clock::Stopwatch;
use crate::ops::process::ModelInfo;
use crate::shard::command::{Command, Meanwhile};

/// Requests that may wait; each is a person or a supervisor.
const REQUESTS_MAX: usize = 64;

/// How often the folder of models is looked at, where it is watched.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long all shards together may take for an answer, behind whatever is in their queues.
const SHARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How many windows of each shard a model is tried on.
const WINDOWS_TRIED: usize = 64;

/// Where requests go; cloning shares it.
#[derive(Clone, Debug)]
pub struct ReloadHandle(SyncSender<Request>);

#[derive(Debug)]
struct Request {
    from: &'static str,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// Too many requests wait, or nobody takes them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no reload can be asked for now: too many requests wait, or the daemon is ending")]
pub struct Busy;

/// What the thread needs.
pub struct Reloader {
    /// Where the model is.
    pub choice: ModelChoice,
    /// How the pipeline of a shard is built of it.
    pub settings: PipelineSettings,
    /// What models run on.
    pub runtime: Arc<dyn Runtime>,
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

impl ReloadHandle {
    /// Asks for a reload of which nobody waits for the outcome; it is logged.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn request(&self, from: &'static str) -> Result<(), Busy> {
        self.send(Request { from, answer: None })
    }

    /// Asks for a reload and gives where its outcome will be.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn ask(&self, from: &'static str) -> Result<oneshot::Receiver<Outcome>, Busy> {
        let (answer, outcome) = oneshot::channel();
        self.send(Request { from, answer: Some(answer) }).map(|()| outcome)
    }

    fn send(&self, request: Request) -> Result<(), Busy> {
        self.0.try_send(request).map_err(|_: TrySendError<Request>| Busy)
    }
}

impl Reloader {
    /// Starts the thread, which ends when every handle is gone, or with the process: it owns
    /// nothing that would have to be finished.
    ///
    /// # Errors
    /// Where the thread cannot be made.
    pub fn start(self) -> io::Result<ReloadHandle> {
        let (requests, asked) = sync_channel(REQUESTS_MAX);
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || self.run(&asked))?;
        Ok(ReloadHandle(requests))
    }

    fn run(mut self, asked: &Receiver<Request>) {
        let mut news = self.choice.watch.then(|| ModelWatch::begin(self.choice.clone()));
        loop {
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
            // All that wait get the one answer.
            requests.extend(asked.try_iter());
            let from: Vec<_> = requests.iter().map(|request| request.from).collect();
            info!(?from, "reloading the model");
            let begun = Stopwatch::start();
            let outcome = self.reload_once(&mut Meanwhile::Sleep);
            let seconds = begun.elapsed().as_secs_f64();
            self.metrics.reloaded(&outcome, seconds);
            match &outcome {
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
                Outcome::Kept { reason } => warn!(reason, "the model that runs was kept"),
                Outcome::Fatal { reason } => error!(reason, "the model could not be reloaded"),
            }
            for request in requests {
                if let Some(answer) = request.answer {
                    // Whoever asked may have gone away.
                    let _ = answer.send(outcome.clone());
                }
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
        let ModelChoice { root, name, version, .. } = &self.choice;
        let folders = candidates(root, name, version).map_err(Outcome::kept)?;
        let running = self.running.borrow().running.model_version.clone();
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
                    return Err(Outcome::kept(format_args!("version {running} runs already")));
                }
                Err(NotReady::Ended(outcome)) => return Err(outcome),
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
        let bundle = Bundle::read(folder).map_err(NotReady::refused)?;
        let mut pipelines = Vec::with_capacity(self.shards.len());
        for _ in &self.shards {
            let mut pipeline = Pipeline::build(&bundle, &*self.runtime, &self.settings)
                .map_err(NotReady::refused)?;
            // Its bundle may be gone from the folder by now.
            pipeline.know(&self.manifest);
            pipelines.push(pipeline);
        }
        if RunningModel::of(&pipelines[0]) == self.running.borrow().running {
            return Err(NotReady::RunsAlready);
        }
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
        let inherited = self.swap(pipelines, meanwhile)?;
        self.manifest = manifest;
        self.info.show(&template);
        self.metrics.show_refused(refused.len());
        self.running.send_replace(ModelStatus { running: model.clone(), refused });
        Ok(Outcome::swapped(model, inherited))
    }

    fn show_refused(&self, refused: Vec<RefusedVersion>) {
        self.metrics.show_refused(refused.len());
        self.running.send_modify(|status| status.refused = refused);
    }

    /// Refuses a model that says nothing about most windows of this moment: whatever its golden
    /// vectors prove, it is not made for these inputs.
    fn try_on(
        &self,
        pipeline: &mut Pipeline,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), NotReady> {
        let windows = self.sample(meanwhile).map_err(NotReady::Ended)?;
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
        for shard in &self.shards {
            let command = Command::Sample { count_max: WINDOWS_TRIED, answer: answer.clone() };
            shard.command(command).map_err(|_| ending())?;
        }
        // A shard that ends without an answer is noticed at once.
        drop(answer);
        let mut windows = Vec::new();
        for _ in &self.shards {
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
        for (index, (shard, pipeline)) in self.shards.iter().zip(pipelines).enumerate() {
            let command = Command::Swap { pipeline: Box::new(pipeline), answer: answer.clone() };
            if shard.command(command).is_err() {
                return Err(if index == 0 { ending() } else { torn() });
            }
        }
        drop(answer);
        let mut all = Inherited::default();
        for _ in &self.shards {
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

/// Why a version is not taken over.
enum NotReady {
    /// It does not prove itself.
    Refused(String),
    /// It is the one that runs.
    RunsAlready,
    /// No version can be.
    Ended(Outcome),
}

impl NotReady {
    fn refused(reason: impl std::fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }
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
