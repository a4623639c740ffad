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
use super::history::Past;
use super::prepare::schema;
use super::stop::Finish;
use super::streamed::StreamedHistory;
use super::warming::WarmingWatch;
use super::{App, KeeperParts, OpenSource, banner, history, prepare, process_seed, roles};
use crate::adapters::http::{HttpServer, HttpState, Models, VersionInfo};
use crate::adapters::stream::{Records, StreamHub, StreamId, StreamMetrics};
use crate::core::domain::Symbol;
use crate::core::health::{ExpectedSymbols, FeedLink, HealthLimits};
use crate::engine::inference::Runtime;
use crate::engine::model::{Bundle, RefusedVersion};
use crate::engine::pipeline::{InProcess, Pipeline, PipelineSettings, Pipelines, Prover, Role};
use crate::engine::wire::forecast::RecordTemplate;
use crate::intake::{IntakeMetrics, IntakeReceiver, IntakeSender, Router, intake, shard_of_symbol};
use crate::keep::history::Historian;
use crate::keep::reload::{
    AgeWatch, AskedRows, ListedModel, ModelStatus, PromotionRule, ReloadMetrics, ReloadModel,
    ReloadThread, Reloader, Rivalry,
};
use crate::keep::roles::RoleStore;
use crate::keep::snapshot::{Folder, FolderError, Keeper, SnapshotMetrics};
use crate::ops::affinity::Processors;
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::process;
use crate::ops::readiness::{Notice, Readiness};
use crate::ops::supervise::{Stage, SuperviseMetrics, Supervisor};
use crate::ports::input::{InputProgress, Start};
use crate::ports::sink::{OpenSink, Sink, SinkOpening};
use crate::ports::source::SourceOpening;
use crate::shard::command::{Command, Handed};
use crate::shard::{
    AheadSamples, HealthMetrics, HealthWatch, Publisher, RefusalWatch, RivalBoard, ScoreMetrics,
    ScoredModel, Shard, ShardMetrics, SymbolBoard,
};

/// How long a source with nothing to commit has to end before it is left behind.
const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What every part of the daemon is built from.
struct Builder<'b> {
    config: Config,
    /// In the order of the models.
    bundles: &'b [&'b Bundle],
    runtime: Arc<dyn Runtime>,
    /// What proves another version of a model before it is opened.
    prover: Arc<dyn Prover>,
    /// What the pipeline of each model in one shard is built by.
    settings: Vec<PipelineSettings>,
    /// The roles that the models begin with.
    roles: roles::Settled,
    registry: Registry,
    readiness: Readiness,
}

/// The open sinks of the daemon.
struct Sinks {
    ends: Vec<Box<dyn Sink>>,
    stages: Vec<Stage>,
    finishes: Vec<Finish>,
}

/// The streams of forecasts, and that of scores.
struct Streams {
    live: StreamHub,
    /// Where there are shadows.
    shadows: Option<StreamHub>,
    scores: StreamHub,
}

/// What states are restored from, and kept in.
struct Kept {
    keeper: Option<Keeper>,
    /// Where the source notes how far it is; `None` where nothing is kept.
    progress: Option<InputProgress>,
    start: Start,
    /// Where the roles of the models are kept.
    roles: RoleStore,
}

/// What shards count.
struct MetricsOfShards {
    counts: ShardMetrics,
    scores: ScoreMetrics,
}

/// What reloads begin with.
struct Reloading {
    /// Versions that were preferred to those that run, and did not prove themselves.
    refused: Vec<Vec<RefusedVersion>>,
    shadows: Option<StreamHub>,
    roles: RoleStore,
    /// What becomes of shadows beside the live models of their seats.
    rivals: RivalBoard,
    /// What symbols are asked for as history.
    rows: Option<AskedRows>,
}

impl App {
    /// Builds the daemon: proves the model, opens the sinks and the source, binds the port.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong, 75 for a port that is taken.
    pub fn build(config: Config, bundle: &Bundle, runtime: Arc<dyn Runtime>) -> Result<Self, Exit> {
        let prover = Arc::new(InProcess(Arc::clone(&runtime)));
        Self::build_beside(config, &[bundle], vec![Vec::new()], runtime, prover)
    }

    /// As [`App::build`], of a bundle for each model of the configuration, beside versions that
    /// were preferred to it and did not prove themselves. `prover` proves those that are loaded
    /// later.
    ///
    /// # Errors
    /// As [`App::build`].
    pub fn build_beside(
        config: Config,
        bundles: &[&Bundle],
        refused: Vec<Vec<RefusedVersion>>,
        runtime: Arc<dyn Runtime>,
        prover: Arc<dyn Prover>,
    ) -> Result<Self, Exit> {
        prepare(&config, bundles)?.busy.map_or(Ok(()), Err)?;
        let builder = Builder::new(config, bundles, runtime, prover)?;
        let mut pipelines = builder.pipelines()?;
        let template = pipelines[0].live().template().clone();
        let streams = builder.streams()?;
        // The port before the files: a second daemon on the same port must not touch them.
        let http = builder.port()?;
        let sinks = builder.sinks(&streams)?;
        let intake = IntakeMetrics::register(&builder.registry)?;
        let (router, receivers) = builder.queues(&intake);
        let Kept { keeper, progress, start, roles } = builder.restore(&mut pipelines)?;
        let (keeper, last_states) =
            builder.keeper(keeper, progress.clone(), &router, &sinks.ends, &pipelines[0]);
        let closer = router.closer();
        let (source, past) = builder.source(router, start, progress)?;
        let metrics = builder.shard_metrics(&pipelines)?;
        let (shadows, rivals, rows) = (streams.shadows, metrics.scores.rivals(), past.rows);
        let reloading = Reloading { refused, shadows, roles, rivals, rows };
        let (models, reloads) = builder.reloads(&source.router, &pipelines[0], reloading)?;
        let shards =
            builder.shards(pipelines, receivers, &sinks.ends, &metrics, last_states.as_ref());
        let shards = builder.with_history(shards, &past);
        let (shards, symbols) =
            builder.watched(shards, source.source.expected().as_ref(), &metrics.counts)?;
        let warming = builder.warming(&past);
        let liveness = Readiness::new();
        let mut stages = stages_of(&source, &shards, sinks.stages, &reloads);
        stages.extend(past.historian.as_ref().map(Historian::stage));
        let supervisor = builder.supervisor(stages, &liveness, metrics.counts)?;
        let (readiness, pin) = (builder.readiness.clone(), builder.config.shards.pin_threads);
        let shutdown_deadline = builder.config.shutdown_deadline;
        let names = builder.config.models.iter().map(|model| Arc::clone(&model.name)).collect();
        let streams = (streams.live, streams.scores);
        let http_state = builder.http_state(&template, streams, symbols, liveness, models);
        Ok(Self {
            keeper: keeper.map(|keeper| keeper.behind(source.history.as_ref())),
            source,
            shards,
            processors: pin.then(Processors::given).flatten(),
            finishes: sinks.finishes,
            reloads,
            historian: past.historian,
            warming,
            http,
            http_state,
            readiness,
            supervisor,
            intake,
            closer,
            shutdown_deadline,
            models: names,
        })
    }
}

impl<'b> Builder<'b> {
    /// Gives the models the roles to begin with.
    fn new(
        mut config: Config,
        bundles: &'b [&'b Bundle],
        runtime: Arc<dyn Runtime>,
        prover: Arc<dyn Prover>,
    ) -> Result<Self, Exit> {
        let roles = roles::settle(&mut config)?;
        let shards = config.shards.count;
        let has_stream = config.stream.subscribers_max > 0;
        let settings = config.models.iter().map(|model| {
            let settings = config.pipeline_of(model).of_shard(shards);
            PipelineSettings { keeps_scores: settings.keeps_scores || has_stream, ..settings }
        });
        let settings = settings.collect();
        let (registry, readiness) = (Registry::new(), Readiness::new());
        Ok(Self { config, bundles, runtime, prover, settings, roles, registry, readiness })
    }

    /// The models, as the metrics name them.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.config.models.iter().map(|model| &*model.name)
    }

    /// Every model for each shard: opens and proves them, once for each.
    fn pipelines(&self) -> Result<Vec<Pipelines>, Exit> {
        let of_shard = |_| {
            let models = self.bundles.iter().zip(&self.settings);
            let pipelines = models
                .map(|(bundle, settings)| Pipeline::build(bundle, &*self.runtime, settings))
                .collect::<Result<Vec<_>, _>>()
                .map_err(Exit::because(Failure::Configuration))?;
            self.config.pipelines(pipelines, &self.settings[0])
        };
        (0..self.config.shards.count).map(of_shard).collect()
    }

    fn port(&self) -> Result<HttpServer, Exit> {
        HttpServer::bind(self.config.http.bind).map_err(Exit::because(Failure::Temporary))
    }

    /// The stream of the live models, that of the shadows where there are any, and that of the
    /// scores: a promotion changes which models these are, and not whether there are any.
    fn streams(&self) -> Result<Streams, Exit> {
        let Config { stream, engine, models, .. } = &self.config;
        let metrics = StreamMetrics::register(&self.registry)?;
        let public = models.iter().filter(|model| model.role.is_public()).count();
        // The newest record of each symbol is kept for each model.
        let limits = |count: usize| stream.limits(engine.symbols_max.saturating_mul(count));
        let id = process_seed();
        let live = StreamHub::new(limits(public), StreamId(id), metrics);
        let shadows = models.len() - public;
        let shadows = Some(shadows).filter(|count| *count > 0);
        let beside =
            |count, number, records| live.beside(limits(count), StreamId(id ^ number), records);
        let shadows = shadows.map(|count| beside(count, 1, Records::Forecasts));
        let scores = beside(models.len(), 2, Records::Scores);
        Ok(Streams { live, shadows, scores })
    }

    /// Opens every sink; the streams get each record last and finish first.
    fn sinks(&self, streams: &Streams) -> Result<Sinks, Exit> {
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
        add(streams.scores.as_score_sink());
        streams.shadows.iter().map(StreamHub::as_shadow_sink).for_each(&mut add);
        add(streams.live.as_sink());
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

    /// The folder of snapshots and roles, where either is kept. This process has it from here on.
    fn folder(&self, has_snapshots: bool) -> Result<Option<Folder>, Exit> {
        let Some(folder) = &self.config.snapshot.folder else { return Ok(None) };
        if !has_snapshots {
            info!(
                folder = %folder.display(),
                "no snapshots: the source keeps states itself, or cannot be read again"
            );
            if roles::folder(&self.config).is_none() {
                return Ok(None);
            }
        }
        let folder = Folder::open(folder).map_err(|error| {
            let is_busy = matches!(error, FolderError::InUse { .. });
            let kind = if is_busy { Failure::Temporary } else { Failure::Configuration };
            Exit::new(kind, format_args!("snapshot.folder: {error}"))
        })?;
        Ok(Some(folder))
    }

    /// Restores the states that a snapshot holds, where snapshots are kept.
    fn restore(&self, pipelines: &mut [Pipelines]) -> Result<Kept, Exit> {
        // Registered also where nothing is kept, so that a dashboard shows zeros and not a hole.
        let metrics = SnapshotMetrics::register(&self.registry)?;
        let identity = self.config.source.settings.identity()?;
        let folder = self.folder(identity.is_some())?;
        let roles = self.roles.store(folder.as_ref())?;
        let SnapshotConfig { interval, gap_steps_max, .. } = &self.config.snapshot;
        let (Some(folder), Some(identity)) = (folder, identity) else {
            if self.config.source.settings.facts().commits {
                keep_departures(pipelines);
            }
            return Ok(Kept { keeper: None, progress: None, start: Start::default(), roles });
        };
        let input = InputProgress::new(identity);
        let configuration = Exit::because(Failure::Configuration);
        let mut keeper = Keeper::open(folder, *interval, metrics).map_err(&configuration)?;
        let restored = keeper.restore(pipelines, &input, Some(*gap_steps_max));
        let start = restored.map_err(&configuration)?;
        keep_departures(pipelines);
        Ok(Kept { keeper: Some(keeper), progress: Some(input), start, roles })
    }

    /// What writes the snapshots, where they are kept, and where it gets the last states from.
    fn keeper(
        &self,
        keeper: Option<Keeper>,
        progress: Option<InputProgress>,
        router: &Router<Command>,
        sinks: &[Box<dyn Sink>],
        pipelines: &Pipelines,
    ) -> (Option<KeeperParts>, Option<Sender<Handed>>) {
        let (last_states, last) = channel();
        let parts = keeper.zip(progress).map(|(keeper, input)| KeeperParts {
            keeper,
            shards: router.commanders(),
            last,
            sinks: another(sinks),
            input,
            model: pipelines.label(),
        });
        let last_states = parts.is_some().then_some(last_states);
        (parts, last_states)
    }

    /// Opens the source, and what is asked for its history.
    fn source(
        &self,
        router: Router<Command>,
        start: Start,
        progress: Option<InputProgress>,
    ) -> Result<(OpenSource, Past), Exit> {
        let Config { source: config, engine, shutdown_deadline: deadline, .. } = &self.config;
        let need = history::need(&self.config, self.bundles);
        let opening = SourceOpening {
            registry: &self.registry,
            symbols_max: engine.symbols_max,
            seed: process_seed(),
            history: &need,
        };
        let source = config.settings.open(&opening)?;
        let past = Past::open(&self.config, self.bundles, &opening, router.commanders())?;
        let commits = config.settings.facts().commits;
        let stop_timeout = if commits { *deadline } else { SOURCE_STOP_TIMEOUT.min(*deadline) };
        let history = self.streamed_history()?;
        Ok((OpenSource { source, history, router, start, progress, stop_timeout }, past))
    }

    /// The symbols that the source names and a model wants.
    fn named_symbols(&self) -> Vec<Symbol> {
        let Config { source, models, .. } = &self.config;
        let is_wanted =
            |symbol: &Symbol| models.iter().any(|model| model.symbols.wants(symbol.as_str()));
        let mut symbols = source.settings.symbols();
        symbols.retain(is_wanted);
        symbols
    }

    /// Has every shard ask for the history of its symbols, where there is any.
    fn with_history(&self, shards: Vec<Shard>, past: &Past) -> Vec<Shard> {
        let (count, symbols) = (shards.len(), self.named_symbols());
        let with = |(index, shard): (usize, Shard)| {
            let is_here = |symbol: &&Symbol| shard_of_symbol(symbol.as_str(), count) == index;
            past.of_shard(shard, index, symbols.iter().filter(is_here).cloned())
        };
        shards.into_iter().enumerate().map(with).collect()
    }

    fn warming(&self, past: &Past) -> Option<WarmingWatch> {
        let is_required = self.config.history.is_required;
        past.watch(&self.readiness, is_required, self.named_symbols().len())
    }

    /// Opens the file of history, where one is named.
    fn streamed_history(&self) -> Result<Option<StreamedHistory>, Exit> {
        let Config { source, history, .. } = &self.config;
        let Some(file) = &history.file else { return Ok(None) };
        let decoder = source.decoder(schema(self.bundles)?);
        Ok(Some(StreamedHistory::new(file.open(decoder)?)))
    }

    /// Starts the thread that takes over other versions of the models, and promotes shadows.
    fn reloads(
        &self,
        router: &Router<Command>,
        pipelines: &Pipelines,
        reloading: Reloading,
    ) -> Result<(Models, ReloadThread), Exit> {
        let Reloading { refused, shadows, roles, rivals, rows } = reloading;
        let choices = self.config.models.iter().map(|model| model.choice.clone());
        let models = choices.zip(&self.settings).zip(pipelines.each());
        let models = models.map(|((choice, settings), (_, pipeline))| {
            ReloadModel::new(choice, settings.clone(), pipeline).asking_for(rows)
        });
        let (running_models, running) = watch::channel(self.listed(pipelines, refused));
        let reloader = Reloader {
            models: models.collect(),
            runtime: Arc::clone(&self.runtime),
            prover: Arc::clone(&self.prover),
            proof_time_max: self.config.proof.time,
            shards: router.commanders(),
            running: running_models,
            roles,
            rule: self.rule(rivals.clone()),
            age: self.age(),
            info: process::register(&self.registry)?,
            metrics: ReloadMetrics::register(&self.registry, self.names())?,
        };
        let reloads = reloader
            .start()
            .map_err(Exit::while_doing(Failure::Internal, "start the reload thread"))?;
        let handle = reloads.handle().clone();
        Ok((Models { running, reloads: handle, shadows, rivals }, reloads))
    }

    /// How old models may become before the daemon says so.
    fn age(&self) -> AgeWatch {
        let notice = Notice::new("model");
        self.readiness.show(notice.clone());
        AgeWatch::new(self.config.model_age_days_max, notice)
    }

    /// By what shadows become live: the verdicts, while the daemon is ready. It is not while states
    /// are restored, and over a part of the symbols a verdict is another one.
    fn rule(&self, rivals: RivalBoard) -> PromotionRule {
        let readiness = self.readiness.clone();
        PromotionRule::new(rivals, move || readiness.problems().is_empty())
    }

    /// The models as they begin; a warning for each that is not the newest version of its model.
    fn listed(
        &self,
        pipelines: &Pipelines,
        refused: Vec<Vec<RefusedVersion>>,
    ) -> crate::keep::reload::Models {
        let models = self.config.models.iter().zip(pipelines.each()).zip(refused);
        let listed = models.map(|((model, (name, pipeline)), mut refused)| {
            if pipeline.post().role == Role::Vacant {
                // The live one, which it takes turns with, has the same.
                refused.clear();
            } else {
                banner::log_runtime(name, pipeline);
            }
            for RefusedVersion { version, reason } in &refused {
                let serving = &pipeline.template().model_version;
                warn!(
                    model = %name,
                    version,
                    reason,
                    serving,
                    "a newer version of the model does not prove itself; an older one runs"
                );
            }
            ListedModel {
                name: name.to_string(),
                role: pipeline.post().role,
                seat: model.seat,
                turns_with: model.turns.map(|turns| turns.other),
                symbols: model.patterns.clone(),
                // The reload thread knows more.
                rivalry: Rivalry::default(),
                blends: model.blends.iter().map(ToString::to_string).collect(),
                status: ModelStatus::of(pipeline, refused),
            }
        });
        crate::keep::reload::Models(listed.collect())
    }

    fn shard_metrics(&self, pipelines: &[Pipelines]) -> Result<MetricsOfShards, Exit> {
        let (models, listed) = (ScoredModel::of(&pipelines[0]), &self.config.metrics.symbols);
        let counts = ShardMetrics::register(&self.registry, self.names())?;
        let scores = ScoreMetrics::register(&self.registry, &models, listed, pipelines.len())?;
        Ok(MetricsOfShards { counts, scores })
    }

    /// A shard for each pipeline, with an end of every sink. `last_states` is where the states go
    /// when a shard ends, where they are kept.
    fn shards(
        &self,
        pipelines: Vec<Pipelines>,
        receivers: Vec<IntakeReceiver<Command>>,
        sinks: &[Box<dyn Sink>],
        MetricsOfShards { counts, scores }: &MetricsOfShards,
        last_states: Option<&Sender<Handed>>,
    ) -> Vec<Shard> {
        let Config { shards, .. } = &self.config;
        let facts = self.config.source.settings.facts();
        // A recording waits for as long as it takes.
        let shadow_age_max = shards.shadow_age_max.filter(|_| facts.is_live || facts.commits);
        let shard = |(index, (pipelines, receiver))| {
            let publisher = Publisher::new(another(sinks));
            let (metrics, scores) = (counts.clone(), scores.of_shard(index));
            let records_max = shards.drain_records_max;
            let shard = Shard::new(pipelines, receiver, publisher, metrics, scores, records_max)
                .shedding_behind(shadow_age_max);
            match last_states {
                Some(last_states) => shard.with_keeper(last_states.clone()),
                None => shard,
            }
        };
        pipelines.into_iter().zip(receivers).enumerate().map(shard).collect()
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
        let manifests = self.bundles.iter().map(|bundle| bundle.manifest());
        let HealthConfig { quiet_min, stale_min, stale_waits } = self.config.health;
        let longest = manifests.map(|manifest| manifest.step.interval_seconds).max();
        let first_wait = Duration::from_secs(u64::from(longest.unwrap_or_default()));
        let window_steps = self.bundles[0].manifest().window_steps as usize;
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
        Ok((shards, SymbolBoard::new(pages, clock, window_steps)))
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
            progress: Box::new(move || format!("{} forecasts", metrics.live_forecasts())),
        })
    }

    /// What the HTTP thread answers from; the registry is complete by now.
    fn http_state(
        self,
        template: &RecordTemplate,
        (stream, scores): (StreamHub, StreamHub),
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
            scores: Some(scores),
            version: Some(version),
            models: Some(models),
            access: self.config.http.access,
        }
    }
}

/// Has every engine tell whoever stores states of symbols that have left.
fn keep_departures(pipelines: &mut [Pipelines]) {
    pipelines.iter_mut().for_each(Pipelines::keep_departures);
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
