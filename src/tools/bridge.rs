//! `tickcast bridge`: a live feed onto a Kafka topic.
//!
//! Owns the life of the process. [`Bridge::build`] binds and connects nothing; [`Bridge::run`]
//! reaches the cluster first and the feed then, so that nothing is received that has no place to
//! go. Promises that what was received is acknowledged before the process ends with 0. Never
//! decodes more of a record than its symbol.
//!
//! | owner | owns | input (bounded) | when full | on stop |
//! |---|---|---|---|---|
//! | source task | the connection | network | waits: the socket is read no further | stops reading |
//! | kafka thread | the producer, the marks of gaps | intake | waits for the cluster | drains |
//! | http thread | probes, metrics | requests | 503 | last to go |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::{oneshot, watch};
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use crate::adapters::http::{HttpServer, HttpState};
use crate::adapters::kafka::{
    BridgeMetrics, BridgeWriter, NewTopicShape, TopicWriter, WriteError, Written,
};
use crate::adapters::kafka_config::ClusterConfig;
use crate::adapters::websocket::{WebSocketMetrics, WebSocketSource};
use crate::app::config::BridgeConfig;
use crate::app::{on_source_runtime, process_seed};
use crate::intake::Router;
use crate::intake::WhenFull;
use crate::intake::{
    IntakeCloser, IntakeLimits, IntakeMetrics, IntakeReceiver, IntakeSender, intake,
};
use crate::net::backoff::Backoff;
use crate::ops::clock::{Stopwatch, pause_unless};
use crate::ops::exit::{Exit, Failure};
use crate::ops::readiness::{Condition, Readiness};
use crate::ops::shutdown::StopSignals;

/// How often the state of the cluster is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Records under way and none acknowledged for so long: the cluster does not take them.
const STALL_MAX: Duration = Duration::from_secs(10);

/// How long the socket may take for its goodbye.
const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the http thread may take to end.
const HTTP_STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A bridge that is bound and has not begun.
pub struct Bridge {
    source: WebSocketSource,
    intake: IntakeMetrics,
    sender: IntakeSender<Infallible>,
    writing: Writing,
    http: HttpServer,
    http_state: HttpState,
    readiness: Readiness,
    shutdown_deadline: Duration,
}

/// What the thread that writes needs.
struct Writing {
    cluster: ClusterConfig,
    topic: String,
    shape: NewTopicShape,
    symbols_max: usize,
    backoff_max: Duration,
    metrics: BridgeMetrics,
    queue: IntakeReceiver<Infallible>,
}

/// What the thread that writes is told.
struct Orders {
    stop: watch::Receiver<bool>,
    /// Nothing is waited for any more.
    cut: Arc<AtomicBool>,
    /// Takes the word that the topic is there.
    open: oneshot::Sender<()>,
}

impl Bridge {
    /// Binds the port and registers the metrics.
    ///
    /// # Errors
    /// [`Exit`] with code 75 for a port that is taken.
    pub fn build(config: BridgeConfig) -> Result<Self, Exit> {
        let registry = Registry::new();
        let http = HttpServer::bind(config.http.bind).map_err(Exit::because(Failure::Temporary))?;
        let source_metrics = WebSocketMetrics::register(&registry)?;
        let source = config.source.open_feed(config.symbols_max, source_metrics, process_seed())?;
        let intake_metrics = IntakeMetrics::register(&registry)?;
        let limits = IntakeLimits {
            records_max: config.queue_records_max,
            bytes_max: config.queue_bytes_max,
            // Records go on as they came, the long ones too.
            record_bytes_max: config.source.dial.message_bytes_max,
            when_full: WhenFull::Block,
        };
        let (sender, queue) = intake(limits, intake_metrics.clone());
        let writing = Writing {
            cluster: config.cluster,
            topic: config.topic,
            shape: NewTopicShape { partitions: config.partitions, replication: config.replication },
            symbols_max: config.symbols_max,
            backoff_max: config.backoff_max,
            metrics: BridgeMetrics::register(&registry)?,
            queue,
        };
        let readiness = Readiness::new();
        let http_state = HttpState {
            registry,
            readiness: readiness.clone(),
            liveness: Readiness::always("process"),
            symbols: None,
            stream: None,
            scores: None,
            version: None,
            models: None,
            access: config.http.access,
        };
        Ok(Self {
            source,
            intake: intake_metrics,
            sender,
            writing,
            http,
            http_state,
            readiness,
            shutdown_deadline: config.shutdown_deadline,
        })
    }

    /// The bound address of probes and metrics.
    pub fn address(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Runs until a stop signal or a failure; then everything received is written.
    ///
    /// # Errors
    /// [`Exit`] with code 75 where something received was not acknowledged.
    pub fn run(self) -> Result<(), Exit> {
        on_source_runtime(self.live())
    }

    async fn live(self) -> Result<(), Exit> {
        let Self {
            source,
            intake,
            sender,
            writing,
            http,
            http_state,
            readiness,
            shutdown_deadline,
        } = self;
        let mut signals = StopSignals::install()
            .map_err(Exit::while_doing(Failure::Internal, "install signal handlers"))?;
        let address = http.local_addr();
        let running = readiness.condition("running");
        running.ready();
        let kafka = readiness.condition("kafka");
        let connected = readiness.condition("source");
        let (stop, stopped) = watch::channel(false);
        let (http_stop, http_stopped) = watch::channel(false);
        let http_thread =
            http.spawn(http_state, http_stopped).map_err(Exit::because(Failure::Internal))?;
        info!(metrics = %format_args!("http://{address}/metrics"), "listening");

        let metrics = writing.metrics.clone();
        let cut = Arc::new(AtomicBool::new(false));
        let (open, opened) = oneshot::channel();
        let orders = Orders { stop: stopped.clone(), cut: Arc::clone(&cut), open };
        let mut writer = spawn(writing, orders, kafka.clone())?;
        let closer = sender.closer();
        let feed = async {
            // Without a topic there is no feed, and the word to stop ends both.
            if opened.await.is_ok() {
                let router = Router::new(vec![sender]);
                source.run(router, connected, stopped).await;
            }
        };
        let mut feed = tokio::spawn(feed);

        let early = tokio::select! {
            biased;
            signal = signals.next() => {
                info!(signal, "stopping");
                None
            }
            ended = &mut writer => Some(ended),
            () = show(&metrics, &kafka) => None,
        };
        running.not_ready("stopping");
        let _ = stop.send(true);
        let ended = match early {
            Some(ended) => Ok(ended),
            None => {
                let drained = drain(&mut feed, &closer, &mut writer);
                tokio::select! {
                    biased;
                    ended = timeout(shutdown_deadline, drained) => ended.map_err(|_| {
                        format!("not drained in {} s", shutdown_deadline.as_secs())
                    }),
                    signal = signals.next() => Err(format!("a second {signal} cut the draining")),
                }
            }
        };
        let ended = match ended {
            Ok(ended) => judge(ended),
            Err(why) => {
                // The thread counts what it has to leave behind.
                cut.store(true, Ordering::Release);
                closer.close();
                let lost = timeout(LOOK_EVERY, &mut writer).await.map_or(Ok(()), judge);
                let lost = lost.err().map_or_else(String::new, |lost| format!("; {lost}"));
                Err(Exit::new(Failure::Temporary, format_args!("{why}{lost}")))
            }
        };
        let (received, _) = intake.received_and_dropped();
        let (acknowledged, failed) = (metrics.counts.acknowledged(), metrics.counts.failed());
        info!(received, acknowledged, failed, "drained");
        let _ = http_stop.send(true);
        let http_end = tokio::task::spawn_blocking(move || http_thread.join());
        if timeout(HTTP_STOP_TIMEOUT, http_end).await.is_err() {
            warn!("the http thread did not end in time");
        }
        ended
    }
}

/// How the thread that writes ended; it answers nothing where it panicked.
type Ended = Result<Result<Written, WriteError>, oneshot::error::RecvError>;

/// Ends the feed, then waits until all of it is written.
async fn drain(
    feed: &mut tokio::task::JoinHandle<()>,
    closer: &IntakeCloser<Infallible>,
    writer: &mut oneshot::Receiver<Result<Written, WriteError>>,
) -> Ended {
    // A feed that does not end is left behind; from the close on its records go nowhere.
    let _ = timeout(SOURCE_STOP_TIMEOUT, feed).await;
    closer.close();
    writer.await
}

fn judge(ended: Ended) -> Result<(), Exit> {
    let written = ended
        .map_err(|_| Exit::new(Failure::Internal, "the kafka thread panicked"))?
        .map_err(|error| match error {
            WriteError::Setup(_) => {
                Exit::new(Failure::Configuration, format_args!("kafka.options: {error}"))
            }
            WriteError::Refused(_) => {
                Exit::new(Failure::Configuration, format_args!("kafka: {error}"))
            }
            WriteError::Open(_) | WriteError::Closed(_) => Exit::new(Failure::Temporary, error),
        })?;
    match written.lost {
        0 => Ok(()),
        lost => {
            let what = format!("{lost} records were received and not acknowledged");
            Err(Exit::new(Failure::Temporary, what))
        }
    }
}

/// Shows how much is under way, and whether the cluster takes it; never ends.
async fn show(metrics: &BridgeMetrics, kafka: &Condition) {
    let mut look = interval(LOOK_EVERY);
    let mut newest = (0, Stopwatch::start());
    let (mut stalled, mut refused) = (false, false);
    loop {
        look.tick().await;
        metrics.show();
        if let Some(why) = metrics.counts.take_refusal() {
            // It did let us in before, so this is no fault of the set-up: it is tried on.
            warn!(error = why, "the cluster does not let us in any more");
            (stalled, refused) = (true, true);
            kafka.not_ready(why);
        }
        let settled = metrics.counts.acknowledged() + metrics.counts.failed();
        let outstanding = metrics.counts.outstanding();
        if settled != newest.0 || outstanding == 0 {
            // Only an acknowledgement shows that the cluster lets us in again.
            refused &= settled == newest.0;
            newest = (settled, Stopwatch::start());
            if !refused && std::mem::take(&mut stalled) {
                info!("the cluster takes records again");
                kafka.ready();
            }
        } else if newest.1.elapsed() > STALL_MAX && !stalled {
            stalled = true;
            let seconds = STALL_MAX.as_secs();
            let why = format!("nothing acknowledged for {seconds} s, {outstanding} records wait");
            warn!(outstanding, "the cluster does not take records");
            kafka.not_ready(why);
        }
    }
}

/// Starts the thread that writes.
fn spawn(
    writing: Writing,
    orders: Orders,
    kafka: Condition,
) -> Result<oneshot::Receiver<Result<Written, WriteError>>, Exit> {
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(move || {
            // Nobody listens where the process no longer waits.
            let _ = done.send(writing.run(orders, &kafka, &runtime));
        })
        .map_err(Exit::while_doing(Failure::Internal, "start the kafka thread"))?;
    Ok(ended)
}

impl Writing {
    fn run(
        self,
        orders: Orders,
        kafka: &Condition,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Written, WriteError> {
        let Orders { stop, cut, open } = orders;
        let Some(writer) = self.open(&stop, kafka, runtime)? else {
            return Ok(Written { lost: 0 });
        };
        let Self { symbols_max, metrics, queue, .. } = self;
        kafka.ready();
        // Nobody waits for it where the process stops already; then the queue closes empty.
        let _ = open.send(());
        BridgeWriter::new(writer, metrics, symbols_max).run(&queue, &cut)
    }

    /// Tries until the topic is there; `None` where the word to stop came first.
    fn open(
        &self,
        stop: &watch::Receiver<bool>,
        kafka: &Condition,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Option<TopicWriter>, WriteError> {
        let Self { cluster, topic, shape, .. } = self;
        let seed = process_seed();
        let mut backoff = Backoff::new(self.backoff_max, seed);
        kafka.not_ready(format!("connecting to {}", cluster.brokers));
        loop {
            if pause_unless(|| *stop.borrow(), backoff.next_wait()) {
                return Ok(None);
            }
            // A record is tried for as long as it takes: the socket waits meanwhile.
            let counts = self.metrics.counts.clone();
            match TopicWriter::open(cluster, topic, *shape, 0, counts, runtime) {
                Ok(writer) => {
                    let partitions = writer.partitions();
                    info!(brokers = cluster.brokers, topic, partitions, "connected to Kafka");
                    return Ok(Some(writer));
                }
                Err(error @ (WriteError::Setup(_) | WriteError::Refused(_))) => return Err(error),
                Err(error) => {
                    kafka.not_ready(error.to_string());
                    warn!(%error, "cannot write the topic yet");
                }
            }
        }
    }
}
