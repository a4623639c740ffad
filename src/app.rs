//! The composition root: the one module that knows every other one.
//!
//! Owns the life of the daemon. [`App::build`] loads, proves and binds, and starts nothing;
//! [`App::run`] starts everything and owns its end. Promises that what was read is published
//! before the process ends, within one deadline. Never computes.
//!
//! | owner | owns | input (bounded) | when full | on stop |
//! |---|---|---|---|---|
//! | source task | the connection or file | network, file | `block` or `drop_oldest` | stops reading |
//! | shard thread | pipeline: all state of all symbols | intake | blocks or drops, by policy | drains, returns |
//! | lines thread | the file or standard output | records | blocks the shard | writes all, returns |
//! | http thread | probes, metrics, subscribers | requests; one ring | 503; slow subscriber cut | last to go |

use std::net::SocketAddr;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::clock::wall_seconds;
use crate::config::{Config, FileConfig, LinesTarget, SourceKind};
use crate::engine::EngineTally;
use crate::exit::{Exit, Failure};
use crate::http::{Condition, HttpServer, HttpState, Readiness, VersionInfo};
use crate::inference::Runtime;
use crate::model::Bundle;
use crate::pipeline::Pipeline;
use crate::publish::stream::{StreamHub, StreamLimits, StreamMetrics};
use crate::publish::{Lines, Publisher};
use crate::shard::{Shard, ShardError, ShardMetrics};
use crate::shutdown::StopSignals;
use crate::source::file::{FileOptions, FileRecords};
use crate::source::intake::{IntakeMetrics, IntakeSender, intake};
use crate::source::websocket::{self, WebSocketMetrics};

/// A daemon that is ready to run: everything is loaded, proved and bound.
pub struct App {
    source: Source,
    shard: Shard,
    http: HttpServer,
    http_state: HttpState,
    readiness: Readiness,
    shutdown_deadline: Duration,
}

/// A source with what it needs.
enum Source {
    WebSocket(crate::config::WebSocketConfig, IntakeSender, WebSocketMetrics),
    File(Box<FileRecords>, IntakeSender),
}

/// How the daemon's work came to its end.
enum Ended {
    Signal(&'static str),
    SourceDone,
    ShardDone,
}

impl App {
    /// Builds the daemon: proves the model, opens the outputs and the recording, binds the port.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for what the configuration got wrong, 75 for a port that is taken.
    pub fn build(config: Config, bundle: &Bundle, runtime: &Runtime) -> Result<Self, Exit> {
        let registry = Registry::new();
        let internal = Exit::because::<prometheus::Error>(Failure::Internal);
        let pipeline = Pipeline::build(bundle, runtime, &config)
            .map_err(Exit::because(Failure::Configuration))?;
        let template = pipeline.template();
        let version = VersionInfo {
            model: template.model.clone(),
            model_version: template.model_version.clone(),
            mode: template.mode.to_string(),
            onnxruntime: runtime.build_info().to_owned(),
        };
        let stream = StreamHub::new(
            StreamLimits {
                subscribers_max: config.publish.subscribers_max,
                lag_records_max: config.publish.subscriber_records_max,
            },
            StreamMetrics::register(&registry).map_err(&internal)?,
        );
        let lines = Lines::open(&config.publish.lines)
            .map_err(Exit::while_doing(Failure::Configuration, "open publish.lines"))?;
        if config.publish.lines == LinesTarget::StandardOutput {
            info!("forecasts go to standard output");
        }
        let metrics = IntakeMetrics::register(&registry).map_err(&internal)?;
        let (sender, receiver) =
            intake(config.source.queue_records_max, config.source.when_full, metrics);
        let source = match config.source.kind {
            SourceKind::WebSocket(websocket) => {
                let metrics = WebSocketMetrics::register(&registry).map_err(&internal)?;
                Source::WebSocket(websocket, sender, metrics)
            }
            SourceKind::File(file) => Source::File(Box::new(open_recording(file)?), sender),
        };
        let publisher = Publisher::new(stream.clone(), lines);
        let metrics = ShardMetrics::register(&registry).map_err(&internal)?;
        let shard = Shard::new(pipeline, receiver, publisher, metrics, config.drain_records_max);
        let http = HttpServer::bind(config.http.bind)
            .map_err(Exit::while_doing(Failure::Temporary, "bind http.bind"))?;
        let readiness = Readiness::new();
        let http_state = HttpState {
            registry,
            readiness: readiness.clone(),
            stream,
            version,
            allowed_origins: config.http.allowed_origins,
        };
        Ok(Self {
            source,
            shard,
            http,
            http_state,
            readiness,
            shutdown_deadline: config.shutdown_deadline,
        })
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("source")
            .enable_all()
            .build()
            .map_err(Exit::while_doing(Failure::Internal, "start the runtime"))?;
        let outcome = runtime.block_on(self.live());
        // A file being read cannot be interrupted; the process does not wait for it.
        runtime.shutdown_background();
        outcome
    }

    async fn live(self) -> Result<(), Exit> {
        let Self { source, shard, http, http_state, readiness, shutdown_deadline } = self;
        let mut signals = StopSignals::install()
            .map_err(Exit::while_doing(Failure::Internal, "install signal handlers"))?;
        let address = http.local_addr();
        let running = readiness.condition("running");
        running.ready();
        let ready = readiness.condition("source");
        let (stop, stopped) = watch::channel(false);
        let (http_stop, http_stopped) = watch::channel(false);
        let http_thread = http
            .spawn(http_state, http_stopped)
            .map_err(Exit::while_doing(Failure::Internal, "start the http thread"))?;
        info!(
            metrics = %format_args!("http://{address}/metrics"),
            stream = %format_args!("ws://{address}/v1/stream"),
            "listening"
        );
        let mut shard = spawn_shard(shard)?;
        let mut source = tokio::spawn(run_source(source, ready, stopped));
        let (ended, finished) = tokio::select! {
            biased;
            signal = signals.next() => (Ended::Signal(signal), None),
            finished = &mut shard => (Ended::ShardDone, Some(finished)),
            outcome = &mut source => {
                outcome.map_err(Exit::while_doing(Failure::Internal, "run the source"))??;
                (Ended::SourceDone, None)
            }
        };
        match ended {
            Ended::Signal(signal) => info!(signal, "stopping"),
            Ended::SourceDone => info!("the recording has ended; stopping"),
            Ended::ShardDone => {}
        }
        running.not_ready("stopping");
        // Nobody may listen any more, where the source has ended by itself.
        let _ = stop.send(true);
        let finished = match finished {
            Some(finished) => finished,
            None => tokio::select! {
                biased;
                finished = timeout(shutdown_deadline, &mut shard) => finished.map_err(|_| {
                    let late = format!("not drained in {} s", shutdown_deadline.as_secs());
                    Exit::new(Failure::Temporary, late)
                })?,
                signal = signals.next() => {
                    let cut = format!("a second {signal} cut the draining");
                    return Err(Exit::new(Failure::Temporary, cut));
                }
            },
        };
        let outcome = report(finished);
        let _ = http_stop.send(true);
        let joined = tokio::task::spawn_blocking(move || http_thread.join());
        if timeout(shutdown_deadline, joined).await.is_err() {
            warn!("the http thread did not end in time");
        }
        outcome
    }
}

type ShardOutcome = oneshot::Receiver<Result<EngineTally, ShardError>>;

/// Runs the shard on a thread of its own; a panic there drops the channel, which reads as a
/// failure.
fn spawn_shard(shard: Shard) -> Result<ShardOutcome, Exit> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("shard-0".to_owned())
        .spawn(move || {
            // The receiver is gone only where the process no longer waits for us.
            let _ = done.send(shard.run());
        })
        .map_err(Exit::while_doing(Failure::Internal, "start the shard"))?;
    Ok(outcome)
}

/// Says what became of everything, and turns a failure into an exit.
fn report(
    finished: Result<Result<EngineTally, ShardError>, oneshot::error::RecvError>,
) -> Result<(), Exit> {
    match finished {
        Ok(Ok(tally)) => {
            let EngineTally { ticks, absorbed, steps, warming, forecasts, withheld, rejects } =
                tally;
            let refused = rejects.total();
            info!(ticks, refused, absorbed, steps, warming, forecasts, withheld, "drained");
            Ok(())
        }
        Ok(Err(failure)) => {
            error!(error = %failure, "the shard failed");
            Err(Exit::new(Failure::Internal, failure))
        }
        Err(_) => Err(Exit::new(Failure::Internal, "the shard panicked")),
    }
}

fn open_recording(file: FileConfig) -> Result<FileRecords, Exit> {
    let FileConfig { path, columns, symbol } = file;
    let columns = columns
        .map(|columns| columns.parse())
        .transpose()
        .map_err(Exit::while_doing(Failure::Configuration, "source.columns"))?;
    FileRecords::open(&path, FileOptions { format: None, columns, symbol })
        .map_err(Exit::while_doing(Failure::Configuration, "source.path"))
}

/// Runs the source to its end. A live feed ends only by `stop`.
async fn run_source(
    source: Source,
    ready: Condition,
    stop: watch::Receiver<bool>,
) -> Result<(), Exit> {
    match source {
        Source::WebSocket(config, intake, metrics) => {
            let seed = wall_seconds().to_bits() ^ u64::from(std::process::id());
            websocket::run(config, intake, ready, metrics, seed, stop).await;
            Ok(())
        }
        Source::File(records, intake) => {
            ready.ready();
            let handle = tokio::runtime::Handle::current();
            let read = move || {
                for record in *records {
                    let record = record.map_err(Exit::because(Failure::Data))?;
                    let delivered = handle.block_on(intake.record(record.bytes.into()));
                    if delivered.is_err() || *stop.borrow() {
                        break;
                    }
                }
                Ok(())
            };
            tokio::task::spawn_blocking(read)
                .await
                .map_err(Exit::while_doing(Failure::Internal, "read the recording"))?
        }
    }
}
