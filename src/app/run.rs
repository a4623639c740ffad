//! A running daemon.
//!
//! Owns the tasks of the source's runtime, from the start of every thread to the end of all. Never
//! builds: what can be refused was refused before.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tracing::{error, info, warn};

use super::stop::{Deadline, end_of, joined, publish_all, report};
use super::streamed::StreamedHistory;
use super::warming::WarmingWatch;
use super::{App, KeeperParts, OpenSource};
use crate::engine::symbols::EngineTally;
use crate::intake::{RouterCloser, TurnHere};
use crate::keep::history::Historian;
use crate::keep::reload::{ReloadHandle, Work};
use crate::keep::snapshot::RunningKeeper;
use crate::ops::exit::{Exit, Failure};
use crate::ops::readiness::Condition;
use crate::ops::shutdown::{ReloadSignal, StopSignals};
use crate::ops::supervise::{Pulse, Stage, Supervision, Supervisor};
use crate::ports::source::SourceContext;
use crate::shard::Crew;
use crate::shard::command::Command;

/// How often the runtime shows that it runs; far below any limit that may be set.
const LIFE_EVERY: Duration = Duration::from_millis(200);

/// What the shards and the sinks come to.
type Finished = Result<Vec<EngineTally>, Exit>;

/// What a life listens to.
struct Signals {
    stop: StopSignals,
    hangup: ReloadSignal,
}

/// The source while it runs.
struct RunningSource {
    task: JoinHandle<Result<(), Exit>>,
    /// How it ended, once that is known.
    outcome: Option<Result<(), Exit>>,
    stop_timeout: Duration,
    stop: watch::Sender<bool>,
}

impl App {
    /// The whole life, on the source's runtime.
    pub(super) async fn live(self) -> Result<(), Exit> {
        let Self { source, shards, processors, finishes, keeper, reloads, .. } = self;
        let Self { http, http_state, readiness, supervisor, intake, closer, .. } = self;
        let Self { shutdown_deadline, models, historian, warming, .. } = self;
        let mut reloads = reloads;
        let mut signals = Signals::install()?;
        let address = http.local_addr();
        let running = readiness.condition("running");
        running.ready();
        let (http_stop, http_stopped) = watch::channel(false);
        let http_thread =
            http.spawn(http_state, http_stopped).map_err(Exit::because(Failure::Internal))?;
        info!(
            metrics = %format_args!("http://{address}/metrics"),
            stream = %format_args!("ws://{address}/v1/stream"),
            "listening"
        );
        let crew = Crew::start(shards, processors.as_ref())
            .map_err(Exit::while_doing(Failure::Internal, "start the shards"))?;
        let source = source.with_turns(crew.turn_here());
        let supervision = supervise(supervisor)?;
        let keeper = keeper.map(KeeperParts::start).transpose()?;
        let mut work = pin!(publish_all(crew, keeper, finishes));
        let mut source = source.start(readiness.condition("source"));
        source.accompany(historian, warming);
        let handle = (reloads.handle(), models.len());
        let finished = source.until_end(&mut signals, handle, &running, work.as_mut()).await;
        let deadline = Deadline::begin(shutdown_deadline);
        supervision.stopping();
        reloads.stop();
        running.not_ready("stopping");
        // The source may have ended by itself; then nobody receives it.
        let _ = source.stop.send(true);
        let finished = match finished {
            Some(finished) => finished,
            None => source.drain(&mut signals.stop, &closer, work, &deadline).await?,
        };
        let outcome = report(finished, &models, &intake);
        // A reload may be in the middle of the runtime, which the end of the process takes down.
        if !reloads.ended_within(deadline.left()).await {
            warn!("a reload did not end in time");
        }
        let _ = http_stop.send(true);
        let http_end = tokio::task::spawn_blocking(move || http_thread.join());
        if timeout(deadline.left(), http_end).await.is_err() {
            warn!("the http thread did not end in time");
        }
        // A source that failed is reported after everything that it had delivered is out.
        outcome.and(source.ended().await)
    }
}

impl Signals {
    fn install() -> Result<Self, Exit> {
        let context = "install signal handlers";
        let stop = StopSignals::install().map_err(Exit::while_doing(Failure::Internal, context))?;
        let hangup =
            ReloadSignal::install().map_err(Exit::while_doing(Failure::Internal, context))?;
        Ok(Self { stop, hangup })
    }
}

impl KeeperParts {
    /// The same, which keeps nothing before this history is over.
    pub(super) fn behind(self, history: Option<&StreamedHistory>) -> Self {
        let Some(history) = history else { return self };
        Self { keeper: self.keeper.behind_history(history.is_over()), ..self }
    }

    fn start(self) -> Result<RunningKeeper, Exit> {
        let Self { keeper, shards, last, sinks, input, model } = self;
        keeper
            .start(shards, last, sinks, input, model)
            .map_err(Exit::while_doing(Failure::Internal, "start the keeper of snapshots"))
    }
}

impl OpenSource {
    /// The same, which takes turns with the only shard where it is lent.
    fn with_turns(mut self, turn_here: Option<TurnHere>) -> Self {
        self.router.lend(turn_here);
        self
    }

    fn start(self, ready: Condition) -> RunningSource {
        let stop_timeout = self.stop_timeout;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(self.run(ready, stopped));
        RunningSource { task, outcome: None, stop_timeout, stop }
    }

    /// Streams the history, where there is one, and then runs the source.
    async fn run(self, ready: Condition, stop: watch::Receiver<bool>) -> Result<(), Exit> {
        let Self { source, history, router, mut start, progress, .. } = self;
        // States from rest are marked already; the marks of others are for their rows to judge.
        start.resumed &= history.is_none();
        let router = match history {
            Some(history) => history.stream(router, &ready, stop.clone()).await?,
            None => Some(router),
        };
        let Some(router) = router else { return Ok(()) };
        source.run(SourceContext { router, ready, stop, start, progress }).await
    }
}

impl RunningSource {
    /// Starts what brings history, which ends with the source, and what says how far it is.
    fn accompany(&self, historian: Option<Historian>, warming: Option<WarmingWatch>) {
        if let Some(historian) = historian {
            tokio::spawn(historian.run(self.stop.subscribe()));
        }
        if let Some(warming) = warming {
            tokio::spawn(warming.run());
        }
    }

    /// Runs until a stop signal (`None`), or until the shards and sinks are done. The recording may
    /// end, with or without an error, long before all of it is published.
    async fn until_end(
        &mut self,
        signals: &mut Signals,
        (reloads, models): (&ReloadHandle, usize),
        running: &Condition,
        mut work: Pin<&mut impl Future<Output = Finished>>,
    ) -> Option<Finished> {
        loop {
            tokio::select! {
                biased;
                signal = signals.stop.next() => {
                    info!(signal, "stopping");
                    return None;
                }
                () = signals.hangup.next() => {
                    for model in 0..models {
                        if let Err(busy) = reloads.request("SIGHUP", Work::Reload(model)) {
                            warn!(%busy, "SIGHUP was not heard");
                        }
                    }
                }
                finished = &mut work => return Some(finished),
                outcome = &mut self.task, if self.outcome.is_none() => {
                    let outcome = joined(outcome);
                    running.not_ready("the source has ended");
                    match &outcome {
                        Ok(()) => info!("the recording has ended; publishing what was read"),
                        Err(error) => error!(%error, "the source failed"),
                    }
                    self.outcome = Some(outcome);
                }
            }
        }
    }

    /// Waits for the source and for everything that it delivered, until the deadline or a second
    /// signal.
    async fn drain(
        &mut self,
        signals: &mut StopSignals,
        closer: &RouterCloser<Command>,
        mut work: Pin<&mut impl Future<Output = Finished>>,
        deadline: &Deadline,
    ) -> Result<Finished, Exit> {
        let drained = async {
            if self.outcome.is_none() {
                self.outcome = Some(end_of(&mut self.task, self.stop_timeout).await);
            }
            closer.close();
            (&mut work).await
        };
        tokio::select! {
            biased;
            finished = timeout(deadline.left(), drained) => finished.map_err(|_| {
                let late = format!("not drained in {} s", deadline.limit().as_secs());
                Exit::new(Failure::Temporary, late)
            }),
            signal = signals.next() => {
                let cut = format!("a second {signal} cut the draining");
                Err(Exit::new(Failure::Temporary, cut))
            }
        }
    }

    /// How the source ended, which is waited for.
    async fn ended(mut self) -> Result<(), Exit> {
        match self.outcome {
            Some(outcome) => outcome,
            None => end_of(&mut self.task, self.stop_timeout).await,
        }
    }
}

/// Starts the watch over all stages, the source's runtime among them.
fn supervise(mut supervisor: Supervisor) -> Result<Supervision, Exit> {
    let runtime_pulse = Pulse::new();
    supervisor.stages.push(Stage::new("runtime", runtime_pulse.clone()));
    tokio::spawn(show_life(runtime_pulse));
    supervisor.start().map_err(Exit::while_doing(Failure::Internal, "start the supervisor"))
}

/// Runs a daemon's life on one thread beside the caller's, which is all that its edges need.
pub(crate) fn on_source_runtime(life: impl Future<Output = Result<(), Exit>>) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("source")
        .enable_all()
        .build()
        .map_err(Exit::while_doing(Failure::Internal, "start the runtime"))?;
    let outcome = runtime.block_on(life);
    // A file being read cannot be interrupted; the process does not wait for it.
    runtime.shutdown_background();
    outcome
}

/// Moves a pulse for as long as the runtime of the sources comes to it.
async fn show_life(pulse: Pulse) {
    let mut beat = interval(LIFE_EVERY);
    loop {
        beat.tick().await;
        pulse.work();
    }
}

#[cfg(test)]
mod tests;
