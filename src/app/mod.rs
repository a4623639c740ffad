//! The composition root: the one module that knows every other one.
//!
//! Owns the life of the daemon. [`App::build`] loads, proves, binds and opens, and takes no input;
//! [`App::run`] starts everything and owns its end. Promises that what was read is published
//! before the process ends: after a signal within one deadline, after the end of a recording
//! however long it takes. Never computes.
//!
//! | owner | owns | input (bounded) | when full | on stop |
//! |---|---|---|---|---|
//! | source task | the connection or file | network, file | `block` or `drop_oldest` | stops reading |
//! | shard threads | a pipeline each: all state of its symbols | intake | blocks or drops, by policy | drain, return |
//! | lines threads | a file or standard output each | records | blocks the shards | writes all, returns |
//! | checkpoint thread | the folder of states | states of one line | the next line waits | writes the last, returns |
//! | supervisor thread | the watch over all stages | their pulses | – | with the process |
//! | http thread | probes, metrics, subscribers | requests; one ring | 503; slow subscriber cut | last to go |

pub mod config;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use prometheus::Registry;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{interval, timeout};
use tracing::{error, info, warn};

use crate::adapters::file::{self, FileOptions, FileRecords};
use crate::adapters::http::{HttpServer, HttpState, Models, VersionInfo};
use crate::adapters::kafka::{KafkaError, KafkaMetrics, KafkaSource};
use crate::adapters::lines::{Lines, LinesMetrics, LinesOf};
use crate::adapters::stream::{StreamHub, StreamId, StreamLimits, StreamMetrics};
use crate::adapters::websocket::{WebSocketMetrics, WebSocketSource};
use crate::app::config::{
    CheckpointConfig, Config, FeedConnection, FileConfig, HealthConfig, KafkaConfig, SourceKind,
    WebSocketConfig,
};
use crate::core::domain::{DurationNanos, Position};
use crate::core::health::{FeedState, HealthLimits};
use crate::engine::inference::Runtime;
use crate::engine::model::Bundle;
use crate::engine::pipeline::{ModelLabel, Pipeline};
use crate::engine::symbols::EngineTally;
use crate::intake::queue::{IntakeCommander, IntakeLimits, IntakeMetrics, IntakeSender, intake};
use crate::intake::router::{Router, RouterCloser};
use crate::keep::reload::{ReloadHandle, ReloadMetrics, Reloader, RunningModel};
use crate::keep::snapshot::{
    FileFacts, InputFacts, InputProgress, Keeper, RECORDING, RunningKeeper, SnapshotMetrics, Start,
};
use crate::net::dial::Dialer;
use crate::ops::affinity::Processors;
use crate::ops::clock::{Stopwatch, wall_seconds};
use crate::ops::exit::{Exit, Failure};
use crate::ops::process;
use crate::ops::readiness::{Condition, Readiness};
use crate::ops::shutdown::{ReloadSignal, StopSignals};
use crate::ops::supervise::{
    Notifier, Pulse, Stage, SuperviseMetrics, Supervisor, watchdog_timeout,
};
use crate::shard::Publisher;
use crate::shard::command::Handed;
use crate::shard::{
    Crew, CrewError, HealthMetrics, HealthWatch, ScoreMetrics, Shard, ShardError, ShardMetrics,
    SymbolBoard,
};

/// A daemon that is ready to run: everything is loaded, proved and bound.
pub struct App {
    source: Source,
    shards: Vec<Shard>,
    processors: Option<Processors>,
    lines: Vec<Lines>,
    keeper: Option<KeeperParts>,
    reloads: ReloadHandle,
    http: HttpServer,
    http_state: HttpState,
    readiness: Readiness,
    supervisor: Supervisor,
    source_pulse: Pulse,
    stream: StreamHub,
    intake: IntakeMetrics,
    closer: RouterCloser,
    shutdown_deadline: Duration,
}

/// What keeps states over restarts, ready to start.
struct KeeperParts {
    keeper: Keeper,
    shards: Vec<IntakeCommander>,
    last: Receiver<Handed>,
    input: InputProgress,
    model: ModelLabel,
}

/// A source with what it needs.
enum Source {
    WebSocket(Box<WebSocketSource>, Router, Start),
    File(Box<FileRecords>, Router, Option<InputProgress>, Start),
    Kafka(Box<KafkaConfig>, KafkaMetrics, Router),
}

impl Source {
    /// How long it may take to end after the word to stop. Kafka commits what it read; the others
    /// have nothing to finish.
    fn stop_timeout(&self, deadline: Duration) -> Duration {
        match self {
            Self::Kafka(..) => deadline,
            Self::WebSocket(..) | Self::File(..) => SOURCE_STOP_TIMEOUT.min(deadline),
        }
    }
}

impl App {
    /// Builds the daemon: proves the model, opens the outputs and the recording, binds the port.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong, 75 for a port that is taken.
    pub fn build(config: Config, bundle: &Bundle, runtime: &Runtime) -> Result<Self, Exit> {
        let registry = Registry::new();
        let internal = Exit::because::<prometheus::Error>(Failure::Internal);
        let shard_count = config.shards.count;
        let mut of_shard = config.clone();
        of_shard.engine.symbols_max = config.engine.symbols_max.div_ceil(shard_count);
        let mut pipelines = (0..shard_count)
            .map(|_| Pipeline::build(bundle, runtime, &of_shard))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Exit::because(Failure::Configuration))?;
        let template = pipelines[0].template().clone();
        let model_info = process::register(&registry).map_err(&internal)?;
        model_info.show(&template);
        let version = VersionInfo {
            model: template.model.clone(),
            model_version: template.model_version.clone(),
            mode: template.mode.to_string(),
            onnxruntime: runtime.build_info().to_owned(),
        };
        let stream = StreamHub::new(
            StreamLimits {
                subscribers_max: config.publish.subscribers_max,
                subscribers_per_address_max: config.publish.subscribers_per_address_max,
                lag_records_max: config.publish.subscriber_records_max,
                symbols_max: config.engine.symbols_max,
            },
            StreamId(process_seed()),
            StreamMetrics::register(&registry).map_err(&internal)?,
        );
        // The port before the file: a second daemon on the same port must not touch the file.
        let http = HttpServer::bind(config.http.bind).map_err(Exit::because(Failure::Temporary))?;
        let lines_metrics = |of| LinesMetrics::register(&registry, of).map_err(&internal);
        let lines = Lines::open(&config.publish.lines, lines_metrics(LinesOf::Forecasts)?)
            .map_err(Exit::while_doing(Failure::Configuration, "open publish.lines"))?;
        let score_lines = Lines::open(&config.publish.scores, lines_metrics(LinesOf::Scores)?)
            .map_err(Exit::while_doing(Failure::Configuration, "open publish.scores"))?;
        let metrics = IntakeMetrics::register(&registry).map_err(&internal)?;
        let limits = IntakeLimits {
            records_max: config.source.queue_records_max,
            bytes_max: config.source.queue_bytes_max,
            record_bytes_max: config.source.record_bytes_max,
            when_full: config.source.when_full,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shard_count).map(|_| intake(limits, metrics.clone())).unzip();
        let is_live = matches!(config.source.kind, SourceKind::WebSocket(_));
        let live = |sender: IntakeSender| if is_live { sender.live() } else { sender };
        let router = Router::new(senders.into_iter().map(live).collect());
        let (intake, closer) = (metrics, router.closer());
        let source_pulse = router.pulse();
        let mut input = input_facts(&config.source.kind)?.map(InputProgress::new);
        // Registered also where nothing is kept, so that a dashboard shows zeros and not a hole.
        let kept = SnapshotMetrics::register(&registry).map_err(&internal)?;
        let (keeper, start) = match (&config.checkpoint.folder, &input) {
            (None, _) => {
                input = None;
                (None, Start::default())
            }
            (Some(folder), None) => {
                info!(
                    folder = %folder.display(),
                    "nothing is kept here: the input keeps states itself, or cannot be read again"
                );
                (None, Start::default())
            }
            (Some(folder), Some(input)) => {
                let CheckpointConfig { interval, gap_steps_max, .. } = config.checkpoint;
                let configuration = Exit::because(Failure::Configuration);
                let mut keeper = Keeper::open(folder, interval, kept).map_err(&configuration)?;
                let models = pipelines[0].readable();
                let step_seconds = i64::from(bundle.manifest().step.interval_seconds);
                let gap_max = DurationNanos::from_seconds(step_seconds)
                    .and_then(|step| step.times(gap_steps_max))
                    .unwrap_or(DurationNanos::MAX);
                let start = keeper
                    .restore(&mut pipelines, input, &models, gap_max)
                    .map_err(&configuration)?;
                (Some(keeper), start)
            }
        };
        let commanders = router.commanders();
        let source = match config.source.kind {
            SourceKind::WebSocket(websocket) => {
                let metrics = WebSocketMetrics::register(&registry).map_err(&internal)?;
                let feed = live_feed(&websocket, config.engine.symbols_max, metrics)?;
                Source::WebSocket(Box::new(feed), router, start)
            }
            SourceKind::File(file) => {
                let records = Box::new(open_recording(file)?);
                Source::File(records, router, input.clone(), start)
            }
            SourceKind::Kafka(kafka) => {
                let metrics = KafkaMetrics::register(&registry).map_err(&internal)?;
                Source::Kafka(kafka, metrics, router)
            }
        };
        let queue = |lines: &Option<Lines>| lines.as_ref().map(Lines::queue);
        let publisher = Publisher::new(stream.clone(), queue(&lines), queue(&score_lines));
        let (running_model, running) = watch::channel(RunningModel::of(&pipelines[0]));
        let reloader = Reloader {
            config: of_shard,
            runtime: runtime.clone(),
            shards: commanders.clone(),
            manifest: pipelines[0].manifest().clone(),
            running: running_model,
            info: model_info,
            metrics: ReloadMetrics::register(&registry).map_err(&internal)?,
        };
        let reloads = reloader
            .start()
            .map_err(Exit::while_doing(Failure::Internal, "start the reload thread"))?;
        let models = Models { running, reloads: reloads.clone() };
        let metrics = ShardMetrics::register(&registry).map_err(&internal)?;
        let (last_states, last) = channel();
        let model = pipelines[0].label();
        let keeper = keeper.zip(input).map(|(keeper, input)| KeeperParts {
            keeper,
            shards: commanders,
            last,
            input,
            model,
        });
        let listed = &config.metrics.symbols;
        let scores =
            ScoreMetrics::register(&registry, &template, listed, shard_count).map_err(&internal)?;
        let shard = |(index, (pipeline, receiver))| {
            let (publisher, metrics) = (publisher.clone(), metrics.clone());
            let (scores, records_max) = (scores.of_shard(index), config.shards.drain_records_max);
            let shard = Shard::new(pipeline, receiver, publisher, metrics, scores, records_max);
            match &keeper {
                Some(_) => shard.with_keeper(last_states.clone()),
                None => shard,
            }
        };
        let progress = {
            let metrics = metrics.clone();
            move || format!("{} forecasts", metrics.forecasts())
        };
        let shards: Vec<Shard> =
            pipelines.into_iter().zip(receivers).enumerate().map(shard).collect();
        let processors = config.shards.pin_threads.then(Processors::given).flatten();
        let (readiness, liveness) = (Readiness::new(), Readiness::new());
        let (shards, symbols) = watched(shards, bundle, config.health, &readiness, &registry)?;
        let alive = liveness.condition("stages");
        alive.ready();
        let source_stage = Stage::new("source", source_pulse.clone());
        let stages = shards.iter().enumerate().map(|(index, shard)| shard.stage(index));
        let stages = std::iter::once(source_stage).chain(stages);
        let supervisor = Supervisor {
            stages: stages.chain(lines.iter().chain(&score_lines).map(Lines::stage)).collect(),
            stall_timeout: config.stall_timeout,
            readiness: readiness.clone(),
            alive,
            metrics: SuperviseMetrics::register(&registry).map_err(&internal)?,
            notifier: None,
            watchdog: None,
            progress: Box::new(progress),
        };
        let http_state = HttpState {
            registry,
            readiness: readiness.clone(),
            liveness,
            symbols: Some(symbols),
            stream: Some(stream.clone()),
            version: Some(version),
            models: Some(models),
            access: config.http.access,
        };
        Ok(Self {
            source,
            shards,
            processors,
            lines: lines.into_iter().chain(score_lines).collect(),
            keeper,
            reloads,
            http,
            http_state,
            readiness,
            supervisor,
            source_pulse,
            stream,
            intake,
            closer,
            shutdown_deadline: config.shutdown_deadline,
        })
    }

    /// Tells the service manager that the variables name, where there is one.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for a socket that cannot be.
    pub fn supervised_by(mut self, variables: &HashMap<String, String>) -> Result<Self, Exit> {
        self.supervisor.notifier = Notifier::from_variables(variables)
            .map_err(Exit::while_doing(Failure::Configuration, "reach the service manager"))?;
        self.supervisor.watchdog = watchdog_timeout(variables, std::process::id());
        Ok(self)
    }

    /// The bound address of probes, metrics and stream.
    pub fn address(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Runs until a stop signal, the end of a recording, or a failure; then drains in order.
    ///
    /// # Errors
    /// [`Exit`] with code 70 for a failed stage, 75 where draining did not finish in time.
    pub fn run(self) -> Result<(), Exit> {
        on_source_runtime(self.live())
    }

    async fn live(self) -> Result<(), Exit> {
        let Self {
            source,
            shards,
            processors,
            lines,
            keeper,
            reloads,
            http,
            http_state,
            readiness,
            mut supervisor,
            source_pulse,
            stream,
            intake,
            closer,
            shutdown_deadline,
        } = self;
        let mut signals = StopSignals::install()
            .map_err(Exit::while_doing(Failure::Internal, "install signal handlers"))?;
        let mut hangup = ReloadSignal::install()
            .map_err(Exit::while_doing(Failure::Internal, "install signal handlers"))?;
        let address = http.local_addr();
        let running = readiness.condition("running");
        running.ready();
        let ready = readiness.condition("source");
        let (stop, stopped) = watch::channel(false);
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
        let runtime_pulse = Pulse::new();
        supervisor.stages.push(Stage::new("runtime", runtime_pulse.clone()));
        tokio::spawn(show_life(runtime_pulse));
        let supervision = supervisor
            .start()
            .map_err(Exit::while_doing(Failure::Internal, "start the supervisor"))?;
        let queues = lines.iter().map(Lines::queue).collect();
        let start = |KeeperParts { keeper, shards, last, input, model }: KeeperParts| {
            keeper.start(shards, last, queues, input, model)
        };
        let keeper = keeper
            .map(start)
            .transpose()
            .map_err(Exit::while_doing(Failure::Internal, "start the keeper of snapshots"))?;
        let mut work = pin!(publish_all(crew, keeper, lines, stream));
        let stop_timeout = source.stop_timeout(shutdown_deadline);
        let mut source = tokio::spawn(run_source(source, ready, source_pulse, stopped));

        // The recording may end, with or without an error, long before all of it is published.
        let mut source_outcome = None;
        let finished = loop {
            tokio::select! {
                biased;
                signal = signals.next() => {
                    info!(signal, "stopping");
                    break None;
                }
                () = hangup.next() => {
                    if let Err(busy) = reloads.request("SIGHUP") {
                        warn!(%busy, "SIGHUP was not heard");
                    }
                }
                finished = &mut work => break Some(finished),
                outcome = &mut source, if source_outcome.is_none() => {
                    let outcome = joined(outcome);
                    running.not_ready("the source has ended");
                    match &outcome {
                        Ok(()) => info!("the recording has ended; publishing what was read"),
                        Err(error) => error!(%error, "the source failed"),
                    }
                    source_outcome = Some(outcome);
                }
            }
        };
        let deadline = Deadline::begin(shutdown_deadline);
        supervision.stopping();
        running.not_ready("stopping");
        // Nobody may listen any more, where the source has ended by itself.
        let _ = stop.send(true);
        let finished = match finished {
            Some(finished) => finished,
            None => {
                let drained = async {
                    if source_outcome.is_none() {
                        source_outcome = Some(end_of(&mut source, stop_timeout).await);
                    }
                    closer.close();
                    (&mut work).await
                };
                tokio::select! {
                    biased;
                    finished = timeout(deadline.left(), drained) => finished.map_err(|_| {
                        let late = format!("not drained in {} s", shutdown_deadline.as_secs());
                        Exit::new(Failure::Temporary, late)
                    })?,
                    signal = signals.next() => {
                        let cut = format!("a second {signal} cut the draining");
                        return Err(Exit::new(Failure::Temporary, cut));
                    }
                }
            }
        };
        let outcome = report(finished, &intake);
        let _ = http_stop.send(true);
        let http_end = tokio::task::spawn_blocking(move || http_thread.join());
        if timeout(deadline.left(), http_end).await.is_err() {
            warn!("the http thread did not end in time");
        }
        // A source that failed is told of after all that it had delivered is out.
        let source_outcome = match source_outcome {
            Some(outcome) => outcome,
            None => end_of(&mut source, stop_timeout).await,
        };
        outcome.and(source_outcome)
    }
}

/// Has every shard judge how its symbols are, by what the source says of its connection.
fn watched(
    shards: Vec<Shard>,
    bundle: &Bundle,
    config: HealthConfig,
    readiness: &Readiness,
    registry: &Registry,
) -> Result<(Vec<Shard>, SymbolBoard), Exit> {
    let metrics = HealthMetrics::register(registry).map_err(Exit::because(Failure::Internal))?;
    let manifest = bundle.manifest();
    let limits = HealthLimits {
        quiet_min: config.quiet_min,
        stale_min: config.stale_min,
        stale_waits: config.stale_waits,
        first_wait: Duration::from_secs(u64::from(manifest.step.interval_seconds)),
    };
    let clock = Stopwatch::start();
    let watch = |shard: Shard| {
        let source = readiness.condition("source");
        let feed = move || if source.is_met() { FeedState::Connected } else { FeedState::Lost };
        let (watch, page) = HealthWatch::new(Box::new(feed), limits, metrics.clone(), clock);
        (shard.watched(watch), page)
    };
    let (shards, pages) = shards.into_iter().map(watch).unzip();
    Ok((shards, SymbolBoard::new(pages, clock, manifest.window_steps as usize)))
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

/// How often the runtime shows that it runs; far below any limit that may be set.
const LIFE_EVERY: Duration = Duration::from_millis(200);

/// A number that no other process, and no earlier one, is likely to have.
pub(crate) fn process_seed() -> u64 {
    wall_seconds().to_bits() ^ u64::from(std::process::id())
}

/// How long a source has to notice the word to stop before it is left behind.
const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How a task that runs to its end ended.
fn joined(outcome: Result<Result<(), Exit>, JoinError>) -> Result<(), Exit> {
    outcome.map_err(Exit::while_doing(Failure::Internal, "run the source")).flatten()
}

/// Waits for a source that was told to stop. A read that blocks, from a pipe say, cannot be ended;
/// it is left behind.
async fn end_of(
    source: &mut JoinHandle<Result<(), Exit>>,
    stop_timeout: Duration,
) -> Result<(), Exit> {
    timeout(stop_timeout, source).await.map_or(Ok(()), joined)
}

/// One limit over all phases of stopping.
struct Deadline {
    begun: Stopwatch,
    limit: Duration,
}

impl Deadline {
    fn begin(limit: Duration) -> Self {
        Self { begun: Stopwatch::start(), limit }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed())
    }
}

/// Waits until the shards have published everything and everything is written.
async fn publish_all(
    mut crew: Crew,
    keeper: Option<RunningKeeper>,
    lines: Vec<Lines>,
    stream: StreamHub,
) -> Result<EngineTally, Exit> {
    let finished = crew.finished().await.cloned();
    // Before the writer of lines ends, which has to write what the last snapshot holds.
    if let (Some(keeper), Ok(_)) = (keeper, &finished) {
        let kept = tokio::task::spawn_blocking(|| keeper.finish()).await;
        kept.map_err(Exit::while_doing(Failure::Internal, "keep the last snapshot"))?
            .map_err(Exit::because(Failure::Internal))?;
    }
    // A shard that failed otherwise may have left others at work, whose lines nobody waits for.
    let writer_ended = matches!(finished, Ok(_) | Err(CrewError::Shard(ShardError::Closed(_))));
    stream.finish();
    if writer_ended {
        // The writer's own error is the cause of a closed way out, so it goes first.
        let finish = || lines.into_iter().try_for_each(Lines::finish);
        let written = tokio::task::spawn_blocking(finish).await;
        written
            .map_err(Exit::while_doing(Failure::Internal, "write lines"))?
            .map_err(Exit::while_doing(Failure::Temporary, "write lines"))?;
    }
    finished.map_err(Exit::because(Failure::Internal))
}

/// Says what became of everything.
fn report(finished: Result<EngineTally, Exit>, intake: &IntakeMetrics) -> Result<(), Exit> {
    let tally = finished.inspect_err(|failure| error!(error = %failure, "the daemon failed"))?;
    let EngineTally { ticks, absorbed, steps, further, patched, .. } = tally;
    let EngineTally { warming, forecasts, withheld, resets, rejects, repeats, .. } = tally;
    let withheld = withheld.total();
    let refused = rejects.total();
    let (received, dropped) = intake.received_and_dropped();
    info!(
        received,
        dropped,
        ticks,
        repeats,
        refused,
        absorbed,
        further,
        steps,
        patched,
        warming,
        forecasts,
        withheld,
        resets,
        "drained"
    );
    Ok(())
}

/// A live feed by its configuration; reads the certificates that its address asks for.
pub(crate) fn live_feed(
    config: &WebSocketConfig,
    symbols_max: usize,
    metrics: WebSocketMetrics,
) -> Result<WebSocketSource, Exit> {
    WebSocketSource::new(config, symbols_max, metrics, process_seed())
        .map_err(Exit::while_doing(Failure::Configuration, "source.url"))
}

/// Reads the certificates that a feed's address asks for.
pub(crate) fn dialer(config: &WebSocketConfig) -> Result<Dialer, Exit> {
    let encrypted = |connection: &FeedConnection| connection.url.endpoint().encrypted;
    Dialer::new(config.dial.clone(), config.connections.iter().any(encrypted))
        .map_err(Exit::while_doing(Failure::Configuration, "source.url"))
}

/// Opens the recording that a configuration names.
pub(crate) fn open_recording(file: FileConfig) -> Result<FileRecords, Exit> {
    let FileConfig { path, columns, symbol } = file;
    FileRecords::open(&path, FileOptions { format: None, columns, symbol })
        .map_err(Exit::while_doing(Failure::Configuration, "source.path"))
}

/// What tells the input from others, where it has no states of its own and may be met again.
fn input_facts(source: &SourceKind) -> Result<Option<InputFacts>, Exit> {
    match source {
        SourceKind::WebSocket(websocket) => {
            let digest = Sha256::digest(websocket.connections[0].url.place());
            Ok(Some(InputFacts::Feed(digest.into())))
        }
        SourceKind::File(recording) => {
            let facts = file::facts(&recording.path)
                .map_err(Exit::while_doing(Failure::Configuration, "source.path"))?;
            Ok(facts.map(|(length, head)| InputFacts::File(FileFacts { length, head })))
        }
        SourceKind::Kafka(_) => Ok(None),
    }
}

/// Runs the source to its end. A live feed ends only by `stop`.
async fn run_source(
    source: Source,
    ready: Condition,
    pulse: Pulse,
    stop: watch::Receiver<bool>,
) -> Result<(), Exit> {
    match source {
        Source::WebSocket(feed, router, start) => {
            // What came while no process ran is missing behind the states that came back.
            if start.resumed && router.gap().await.is_err() {
                return Ok(());
            }
            feed.run(router, ready, stop).await;
            Ok(())
        }
        Source::Kafka(config, metrics, router) => {
            let source = KafkaSource {
                config: *config,
                shards: router.into_intakes(),
                ready,
                metrics,
                pulse,
                seed: process_seed(),
                runtime: tokio::runtime::Handle::current(),
            };
            let (done, outcome) = oneshot::channel();
            std::thread::Builder::new()
                .name("kafka".to_owned())
                .spawn(move || {
                    // Nobody listens where the process no longer waits for it.
                    let _ = done.send(source.run(&stop));
                })
                .map_err(Exit::while_doing(Failure::Internal, "start the Kafka thread"))?;
            let outcome = outcome.await;
            outcome.map_err(|_| Exit::new(Failure::Internal, "the Kafka thread panicked"))?.map_err(
                |error| match error {
                    KafkaError::Setup(_) => Exit::new(Failure::Configuration, error),
                    KafkaError::EngineGone => Exit::new(Failure::Internal, error),
                },
            )
        }
        Source::File(records, router, progress, start) => {
            let handle = tokio::runtime::Handle::current();
            let read = move || {
                let deliver = |bytes: Vec<u8>, position| {
                    handle.block_on(router.record_at(bytes.into(), position)).is_ok()
                };
                read_recording(*records, start, progress.as_ref(), &ready, &stop, deliver)
            };
            tokio::task::spawn_blocking(read)
                .await
                .map_err(Exit::while_doing(Failure::Internal, "read the recording"))?
        }
    }
}

/// Reads a recording to its end, from behind the records that the states hold already. They are
/// read again to be left out, because no format but JSON lines can be entered in the middle.
fn read_recording(
    mut records: FileRecords,
    start: Start,
    progress: Option<&InputProgress>,
    ready: &Condition,
    stop: &watch::Receiver<bool>,
    deliver: impl Fn(Vec<u8>, Position) -> bool,
) -> Result<(), Exit> {
    if start.records > 0 {
        ready.not_ready(format!("going to record {}", start.records));
    }
    let mut count = 0;
    while !*stop.borrow() {
        if count == start.records {
            ready.ready();
        }
        let Some(record) = records.next() else { break };
        let record = record.map_err(Exit::because(Failure::Data))?;
        count += 1;
        if count <= start.records {
            continue;
        }
        // No recording has more records than that.
        let offset = i64::try_from(count - 1).unwrap_or(i64::MAX);
        if !deliver(record.bytes, Position { partition: RECORDING, offset }) {
            break;
        }
        if let Some(progress) = progress {
            progress.delivered(count, records.bytes_read());
        }
    }
    if count < start.records && !*stop.borrow() {
        let (had, has) = (start.records, count);
        let text = format!("source.path: {had} records were read of it before, and it has {has}");
        return Err(Exit::new(Failure::Data, text));
    }
    Ok(())
}
