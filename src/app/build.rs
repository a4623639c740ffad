//! From a configuration to a daemon that is ready to run.
//!
//! Owns the order in which things are made: what can be refused comes before what leaves a trace,
//! so the port is bound before a file is opened for appending. Takes no input, and starts no thread
//! of the data path.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tracing::{info, warn};

use super::config::{Config, HealthConfig, SnapshotConfig};
use super::stop::Finish;
use super::{App, KeeperParts, OpenSource, Preparation, prepare, process_seed};
use crate::adapters::http::{HttpServer, HttpState, Models, VersionInfo};
use crate::adapters::stream::{StreamHub, StreamId, StreamMetrics};
use crate::core::domain::{DurationNanos, Symbol};
use crate::core::health::{ExpectedSymbols, FeedLink, HealthLimits};
use crate::engine::inference::Runtime;
use crate::engine::model::{Bundle, RefusedVersion};
use crate::engine::pipeline::{InProcess, Pipeline, PipelineSettings, Pipelines, Prover};
use crate::engine::wire::forecast::RecordTemplate;
use crate::intake::{IntakeMetrics, IntakeReceiver, IntakeSender, Router, intake, shard_of_symbol};
use crate::keep::reload::{ModelStatus, ReloadMetrics, ReloadThread, Reloader, RunningModel};
use crate::keep::snapshot::{Keeper, SnapshotMetrics};
use crate::ops::affinity::Processors;
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::process::{self, ModelInfo};
use crate::ops::readiness::Readiness;
use crate::ops::supervise::{Stage, SuperviseMetrics, Supervisor};
use crate::ports::input::{InputProgress, Start};
use crate::ports::sink::{OpenSink, Sink, SinkOpening};
use crate::ports::source::SourceOpening;
use crate::shard::command::{Command, Handed};
use crate::shard::{
    AheadSamples, HealthMetrics, HealthWatch, Publisher, RefusalWatch, ScoreMetrics, Shard,
    ShardMetrics, SymbolBoard,
};

/// How long a source with nothing to commit has to end before it is left behind.
const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What every part of the daemon is built from.
struct Builder<'b> {
    config: Config,
    bundle: &'b Bundle,
    runtime: Arc<dyn Runtime>,
    /// What proves another version of the model before it is opened.
    prover: Arc<dyn Prover>,
    /// What the pipeline of one shard is built by.
    settings: PipelineSettings,
    registry: Registry,
    readiness: Readiness,
}

/// The open sinks of the daemon.
struct Sinks {
    ends: Vec<Box<dyn Sink>>,
    stages: Vec<Stage>,
    finishes: Vec<Finish>,
}

/// What states are restored from, and kept in.
struct Kept {
    keeper: Option<Keeper>,
    /// Where the source notes how far it is; `None` where nothing is kept.
    progress: Option<InputProgress>,
    start: Start,
}

impl App {
    /// Builds the daemon: proves the model, opens the sinks and the source, binds the port.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong, 75 for a port that is taken.
    pub fn build(config: Config, bundle: &Bundle, runtime: Arc<dyn Runtime>) -> Result<Self, Exit> {
        let prover = Arc::new(InProcess(Arc::clone(&runtime)));
        Self::build_beside(config, bundle, Vec::new(), runtime, prover)
    }

    /// As [`App::build`], beside versions of the model that were preferred to this one and did not
    /// prove themselves. `prover` proves those that are loaded later.
    ///
    /// # Errors
    /// As [`App::build`].
    pub fn build_beside(
        config: Config,
        bundle: &Bundle,
        refused: Vec<RefusedVersion>,
        runtime: Arc<dyn Runtime>,
        prover: Arc<dyn Prover>,
    ) -> Result<Self, Exit> {
        let Preparation { busy, .. } = prepare(&config, bundle)?;
        busy.map_or(Ok(()), Err)?;
        let settings = config.pipeline().of_shard(config.shards.count);
        let (registry, readiness) = (Registry::new(), Readiness::new());
        let builder = Builder { config, bundle, runtime, prover, settings, registry, readiness };
        let mut pipelines = builder.pipelines()?;
        let template = pipelines[0].template().clone();
        let stream = builder.stream()?;
        // The port before the files: a second daemon on the same port must not touch them.
        let http = builder.port()?;
        let sinks = builder.sinks(&stream)?;
        let intake = IntakeMetrics::register(&builder.registry)?;
        let (router, receivers) = builder.queues(&intake);
        let Kept { keeper, progress, start } = builder.restore(&mut pipelines)?;
        let (models, reloads) = builder.reloads(&router, &pipelines[0], refused)?;
        let (last_states, last) = channel();
        let keeper = keeper.zip(progress.clone()).map(|(keeper, input)| KeeperParts {
            keeper,
            shards: router.commanders(),
            last,
            sinks: another(&sinks.ends),
            input,
            model: pipelines[0].label(),
        });
        let closer = router.closer();
        let source = builder.source(router, start, progress)?;
        let metrics = ShardMetrics::register(&builder.registry)?;
        let last_states = keeper.is_some().then_some(&last_states);
        let shards = builder.shards(pipelines, receivers, &sinks.ends, &metrics, last_states)?;
        let (shards, symbols) =
            builder.watched(shards, source.source.expected().as_ref(), &metrics)?;
        let liveness = Readiness::new();
        let stages = stages_of(&source, &shards, sinks.stages, &reloads);
        let supervisor = builder.supervisor(stages, &liveness, metrics)?;
        let (readiness, pin) = (builder.readiness.clone(), builder.config.shards.pin_threads);
        let shutdown_deadline = builder.config.shutdown_deadline;
        let http_state = builder.http_state(&template, stream, symbols, liveness, models);
        Ok(Self {
            source,
            shards,
            processors: pin.then(Processors::given).flatten(),
            finishes: sinks.finishes,
            keeper,
            reloads,
            http,
            http_state,
            readiness,
            supervisor,
            intake,
            closer,
            shutdown_deadline,
        })
    }
}

impl Builder<'_> {
    /// A pipeline for each shard: opens the model and proves it, once for each.
    fn pipelines(&self) -> Result<Vec<Pipeline>, Exit> {
        (0..self.config.shards.count)
            .map(|_| Pipeline::build(self.bundle, &*self.runtime, &self.settings))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Exit::because(Failure::Configuration))
    }

    fn port(&self) -> Result<HttpServer, Exit> {
        HttpServer::bind(self.config.http.bind).map_err(Exit::because(Failure::Temporary))
    }

    fn stream(&self) -> Result<StreamHub, Exit> {
        let Config { stream, engine, .. } = &self.config;
        let metrics = StreamMetrics::register(&self.registry)?;
        let limits = stream.limits(engine.symbols_max);
        Ok(StreamHub::new(limits, StreamId(process_seed()), metrics))
    }

    /// Opens every sink; the stream gets each record last and finishes first.
    fn sinks(&self, stream: &StreamHub) -> Result<Sinks, Exit> {
        let mut sinks = Sinks { ends: Vec::new(), stages: Vec::new(), finishes: Vec::new() };
        let mut add = |OpenSink { sink, stages, notices, finish }: OpenSink| {
            sinks.ends.push(sink);
            sinks.stages.extend(stages);
            notices.into_iter().for_each(|notice| self.readiness.show(notice));
            sinks.finishes.insert(0, finish);
        };
        let input_is_live = self.config.source.settings.facts().is_live;
        let opening = SinkOpening { registry: &self.registry, input_is_live };
        for settings in &self.config.sinks {
            settings.open(&opening)?.into_iter().for_each(&mut add);
        }
        add(stream.as_sink());
        Ok(sinks)
    }

    /// A queue for each shard.
    fn queues(&self, metrics: &IntakeMetrics) -> (Router<Command>, Vec<IntakeReceiver<Command>>) {
        let Config { source, shards, .. } = &self.config;
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shards.count).map(|_| intake(source.intake(), metrics.clone())).unzip();
        let is_live = source.settings.facts().is_live;
        let live = |sender: IntakeSender<Command>| if is_live { sender.live() } else { sender };
        (Router::new(senders.into_iter().map(live).collect()), receivers)
    }

    /// Restores the states that a snapshot holds, where snapshots are kept.
    fn restore(&self, pipelines: &mut [Pipeline]) -> Result<Kept, Exit> {
        // Registered also where nothing is kept, so that a dashboard shows zeros and not a hole.
        let metrics = SnapshotMetrics::register(&self.registry)?;
        let identity = self.config.source.settings.identity()?;
        let SnapshotConfig { folder, interval, gap_steps_max } = &self.config.snapshot;
        let (folder, input) = match (folder, identity) {
            (Some(folder), Some(identity)) => (folder, InputProgress::new(identity)),
            (folder, _) => {
                if let Some(folder) = folder {
                    info!(
                        folder = %folder.display(),
                        "no snapshots: the source keeps states itself, or cannot be read again"
                    );
                }
                if self.config.source.settings.facts().commits {
                    keep_departures(pipelines);
                }
                return Ok(Kept { keeper: None, progress: None, start: Start::default() });
            }
        };
        let configuration = Exit::because(Failure::Configuration);
        let mut keeper = Keeper::open(folder, *interval, metrics).map_err(|error| {
            let busy = error.is_in_use();
            Exit::new(if busy { Failure::Temporary } else { Failure::Configuration }, error)
        })?;
        let models = pipelines[0].readable();
        let step_seconds = i64::from(self.bundle.manifest().step.interval_seconds);
        let gap_max = DurationNanos::from_seconds(step_seconds)
            .and_then(|step| step.times(*gap_steps_max))
            .unwrap_or(DurationNanos::MAX);
        let restored = keeper.restore(pipelines, &input, &models, gap_max);
        let start = restored.map_err(&configuration)?;
        keep_departures(pipelines);
        Ok(Kept { keeper: Some(keeper), progress: Some(input), start })
    }

    fn source(
        &self,
        router: Router<Command>,
        start: Start,
        progress: Option<InputProgress>,
    ) -> Result<OpenSource, Exit> {
        let Config { source: config, engine, shutdown_deadline: deadline, .. } = &self.config;
        let source = config.settings.open(&SourceOpening {
            registry: &self.registry,
            symbols_max: engine.symbols_max,
            seed: process_seed(),
        })?;
        let commits = config.settings.facts().commits;
        let stop_timeout = if commits { *deadline } else { SOURCE_STOP_TIMEOUT.min(*deadline) };
        Ok(OpenSource { source, router, start, progress, stop_timeout })
    }

    /// Starts the thread that takes over other versions of the model.
    fn reloads(
        &self,
        router: &Router<Command>,
        pipeline: &Pipeline,
        refused: Vec<RefusedVersion>,
    ) -> Result<(Models, ReloadThread), Exit> {
        let info: ModelInfo = process::register(&self.registry)?;
        info.show(pipeline.template(), &pipeline.manifest().step);
        let metrics = ReloadMetrics::register(&self.registry)?;
        metrics.show_refused(refused.len());
        for RefusedVersion { version, reason } in &refused {
            let serving = &pipeline.template().model_version;
            warn!(
                version,
                reason,
                serving,
                "a newer version of the model does not prove itself; an older one runs"
            );
        }
        let status = ModelStatus { running: RunningModel::of(pipeline), refused };
        let (running_model, running) = watch::channel(status);
        let reloader = Reloader {
            choice: self.config.model.clone(),
            settings: self.settings.clone(),
            runtime: Arc::clone(&self.runtime),
            prover: Arc::clone(&self.prover),
            proof_time_max: self.config.proof.time,
            shards: router.commanders(),
            manifest: pipeline.manifest().clone(),
            running: running_model,
            info,
            metrics,
        };
        let reloads = reloader
            .start()
            .map_err(Exit::while_doing(Failure::Internal, "start the reload thread"))?;
        let handle = reloads.handle().clone();
        Ok((Models { running, reloads: handle }, reloads))
    }

    /// A shard for each pipeline, with an end of every sink. `last_states` is where the states go
    /// when a shard ends, where they are kept.
    fn shards(
        &self,
        pipelines: Vec<Pipeline>,
        receivers: Vec<IntakeReceiver<Command>>,
        sinks: &[Box<dyn Sink>],
        metrics: &ShardMetrics,
        last_states: Option<&Sender<Handed>>,
    ) -> Result<Vec<Shard>, Exit> {
        let Config { metrics: listed, shards, .. } = &self.config;
        let template = pipelines[0].template();
        let scores =
            ScoreMetrics::register(&self.registry, template, &listed.symbols, pipelines.len())?;
        let shard = |(index, (pipeline, receiver))| {
            let pipelines = Pipelines::new(pipeline, &self.settings);
            let publisher = Publisher::new(another(sinks));
            let (metrics, scores) = (metrics.clone(), scores.of_shard(index));
            let records_max = shards.drain_records_max;
            let shard = Shard::new(pipelines, receiver, publisher, metrics, scores, records_max);
            match last_states {
                Some(last_states) => shard.with_keeper(last_states.clone()),
                None => shard,
            }
        };
        Ok(pipelines.into_iter().zip(receivers).enumerate().map(shard).collect())
    }

    /// Has every shard judge how its symbols are, by what the source says of its connection and of
    /// the symbols that its configuration names.
    fn watched(
        &self,
        shards: Vec<Shard>,
        expected: Option<&Arc<dyn ExpectedSymbols>>,
        counts: &ShardMetrics,
    ) -> Result<(Vec<Shard>, SymbolBoard), Exit> {
        let metrics = HealthMetrics::register(&self.registry)?;
        let manifest = self.bundle.manifest();
        let HealthConfig { quiet_min, stale_min, stale_waits } = self.config.health;
        let first_wait = Duration::from_secs(u64::from(manifest.step.interval_seconds));
        let limits = HealthLimits { quiet_min, stale_min, stale_waits, first_wait };
        let (clock, ahead, count) = (Stopwatch::start(), AheadSamples::default(), shards.len());
        let ready = self.readiness.condition("ticks");
        let is_live = self.config.source.settings.facts().is_live;
        let refusals =
            RefusalWatch::new(counts.clone(), ahead.clone(), is_live, ready, &self.registry)?;
        // The first shard looks for all of them.
        let mut refusals = Some(refusals);
        let watch = |(index, shard): (usize, Shard)| {
            let source = self.readiness.condition("source");
            let feed = move || if source.is_met() { FeedLink::Connected } else { FeedLink::Lost };
            let (watch, page) = HealthWatch::new(Box::new(feed), limits, metrics.clone(), clock);
            let mut watch = watch.with_ahead(ahead.clone());
            if let Some(source) = expected {
                let is_here = |symbol: &Symbol| shard_of_symbol(symbol.as_str(), count) == index;
                let symbols = source.symbols().into_iter().enumerate();
                let here = symbols.filter(|(_, symbol)| is_here(symbol));
                watch = watch.expecting(Arc::clone(source), here);
            }
            if let Some(refusals) = refusals.take() {
                watch = watch.with_refusals(refusals);
            }
            (shard.watched(watch), page)
        };
        let (shards, pages) = shards.into_iter().enumerate().map(watch).unzip();
        Ok((shards, SymbolBoard::new(pages, clock, manifest.window_steps as usize)))
    }

    fn supervisor(
        &self,
        stages: Vec<Stage>,
        liveness: &Readiness,
        metrics: ShardMetrics,
    ) -> Result<Supervisor, Exit> {
        let alive = liveness.condition("stages");
        alive.ready();
        Ok(Supervisor {
            stages,
            stall_timeout: self.config.stall_timeout,
            readiness: self.readiness.clone(),
            alive,
            metrics: SuperviseMetrics::register(&self.registry)?,
            notifier: None,
            watchdog: None,
            progress: Box::new(move || format!("{} forecasts", metrics.forecasts())),
        })
    }

    /// What the HTTP thread answers from; the registry is complete by now.
    fn http_state(
        self,
        template: &RecordTemplate,
        stream: StreamHub,
        symbols: SymbolBoard,
        liveness: Readiness,
        models: Models,
    ) -> HttpState {
        let version = VersionInfo {
            model: template.model.clone(),
            model_version: template.model_version.clone(),
            mode: template.mode.to_string(),
            runtime: self.runtime.name(),
            runtime_build: self.runtime.build(),
        };
        HttpState {
            registry: self.registry,
            readiness: self.readiness,
            liveness,
            symbols: Some(symbols),
            stream: Some(stream),
            version: Some(version),
            models: Some(models),
            access: self.config.http.access,
        }
    }
}

/// Has every engine tell whoever stores states of symbols that have left.
fn keep_departures(pipelines: &mut [Pipeline]) {
    pipelines.iter_mut().for_each(|pipeline| pipeline.engine_mut().keep_departures());
}

/// Another end of every sink.
fn another(ends: &[Box<dyn Sink>]) -> Vec<Box<dyn Sink>> {
    ends.iter().map(|sink| sink.another()).collect()
}

/// What the supervisor watches, in the order of the data.
fn stages_of(
    source: &OpenSource,
    shards: &[Shard],
    sinks: Vec<Stage>,
    reloads: &ReloadThread,
) -> Vec<Stage> {
    let source = Stage::new("source", source.router.pulse());
    let shards = shards.iter().enumerate().map(|(index, shard)| shard.stage(index));
    std::iter::once(source).chain(shards).chain(sinks).chain([reloads.stage()]).collect()
}
