//! The listener and its connections.
//!
//! Owns binding, the thread, and the life of every connection. Promises that the address is known
//! before anything runs, that a connection is accepted as soon as it comes, however many others
//! there are, and that the thread ends within a few seconds of the stop, after subscribers had what
//! is in the ring. Never knows a route.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::accepting::{Accepting, Shortage, TURN};
use super::connections::{Admitted, ConnectionLimits, Connections, Order};
use super::metrics::{HttpMetrics, Refused};
use super::turns::Turns;
use super::watched::Watched;
use super::{HttpState, routes};
use crate::ops::descriptors;
use crate::ops::shutdown::stopped;

/// How often it is looked for connections that wait for too long.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// How long an answer may take once everything is to end.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long subscribers have for what is in the ring and the close.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// The largest request head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Why there is no http thread.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be had.
    #[error("listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Its metrics cannot be registered.
    #[error("register the metrics of http: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The runtime or the thread cannot be made.
    #[error("start the http thread: {0}")]
    Start(#[source] io::Error),
}

/// A server that is bound and answers nothing yet.
pub struct HttpServer {
    listener: StdListener,
    address: SocketAddr,
}

/// What one connection's requests are answered from.
pub(super) struct Context {
    pub(super) state: Arc<HttpState>,
    pub(super) metrics: HttpMetrics,
    pub(super) turns: Arc<Turns>,
    pub(super) shortage: Shortage,
    pub(super) peer: SocketAddr,
    /// Whether the server is bound to loopback.
    pub(super) loopback: bool,
    /// Held by everything that still runs; when the last one is gone, the thread ends.
    pub(super) alive: mpsc::Sender<Infallible>,
}

/// What all connections share.
struct Server {
    state: Arc<HttpState>,
    metrics: HttpMetrics,
    turns: Arc<Turns>,
    shortage: Shortage,
    connections: Connections,
    loopback: bool,
}

impl HttpServer {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`HttpError::Bind`].
    pub fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        let bind = || {
            let listener = StdListener::bind(address)?;
            listener.set_nonblocking(true)?;
            descriptors::lengthen_backlog(&listener);
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|source| HttpError::Bind { address, source })
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until `stop` becomes true or its sender is gone. Then the
    /// stream is finished, and the thread ends when the last subscriber has, or after a few
    /// seconds.
    ///
    /// # Errors
    /// [`HttpError::Start`], [`HttpError::Metrics`].
    pub fn spawn(
        self,
        state: HttpState,
        stop: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, HttpError> {
        self.spawn_within(ConnectionLimits::default(), state, stop)
    }

    /// As [`HttpServer::spawn`], with other limits.
    pub(super) fn spawn_within(
        self,
        limits: ConnectionLimits,
        state: HttpState,
        stop: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, HttpError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(HttpError::Start)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.listener).map_err(HttpError::Start)?
        };
        let metrics = HttpMetrics::register(&state.registry)?;
        let server = Server {
            state: Arc::new(state),
            metrics: metrics.clone(),
            turns: Arc::new(Turns::new()),
            shortage: Shortage::default(),
            connections: Connections::new(limits, metrics),
            loopback: self.address.ip().is_loopback(),
        };
        std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || server.run(&runtime, listener, stop))
            .map_err(HttpError::Start)
    }
}

impl Server {
    fn run(self, runtime: &Runtime, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let (alive, mut all_gone) = mpsc::channel(1);
        runtime.block_on(async {
            let mut sweep = interval(SWEEP_EVERY);
            sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut accepting = Accepting::new(self.metrics.clone(), self.shortage.clone());
            let stop_of_connections = stop.clone();
            loop {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => break,
                    _ = sweep.tick() => {
                        self.connections.sweep();
                        accepting.recover();
                    }
                    accepted = listener.accept() => match accepted {
                        Ok((socket, peer)) => {
                            accepting.succeeded();
                            self.welcome(socket, peer, &alive, &stop_of_connections);
                            if self.shortage.is_now() {
                                // It may have to make room for the next one; its turn comes first.
                                sleep(TURN).await;
                            }
                        }
                        Err(error) => {
                            let pause = accepting.failed(&error, &listener, &self.connections);
                            sleep(pause).await;
                        }
                    },
                }
            }
            drop(listener);
            if let Some(stream) = &self.state.stream {
                stream.finish();
            }
            drop(alive);
            if timeout(FAREWELL_MAX, all_gone.recv()).await.is_err() {
                warn!("connections were still open when the http thread ended");
            }
        });
    }

    /// Serves a connection in a task of its own, where there is a place.
    fn welcome(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        alive: &mpsc::Sender<Infallible>,
        stop: &watch::Receiver<bool>,
    ) {
        let Some(admitted) = self.connections.admit(peer.ip()) else {
            return debug!(%peer, "no place for a connection");
        };
        let context = Context {
            state: Arc::clone(&self.state),
            metrics: self.metrics.clone(),
            turns: Arc::clone(&self.turns),
            shortage: self.shortage.clone(),
            peer,
            loopback: self.loopback,
            alive: alive.clone(),
        };
        tokio::spawn(serve(socket, context, admitted, stop.clone()));
    }
}

/// Answers the requests of one connection until it ends, becomes a subscriber or must go.
async fn serve(
    socket: TcpStream,
    context: Context,
    mut admitted: Admitted,
    mut stop: watch::Receiver<bool>,
) {
    let peer = context.peer;
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "cannot send without delay");
    }
    let activity = admitted.activity().clone();
    let socket = Watched::new(socket, activity.clone());
    let answer = service_fn(|request: Request<Incoming>| {
        activity.asked(request.method() == Method::POST);
        let answer = routes::answer(&context, request);
        let activity = activity.clone();
        async move {
            let answer = answer.await;
            activity.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    // How long a head may take is the connections' to say, which know what else is open.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                match timeout(ANSWER_MAX, connection).await {
                    Ok(outcome) => break outcome,
                    Err(_) => return debug!(%peer, "a peer did not take its answer in time"),
                }
            }
            order = admitted.next_order() => match order {
                Order::Cut(reason) => {
                    return debug!(%peer, reason = reason.label(), "cut a connection");
                }
                Order::Retire | Order::Stay => connection.as_mut().graceful_shutdown(),
            },
            outcome = connection.as_mut() => break outcome,
        }
    };
    if let Err(error) = outcome {
        if error.is_parse() {
            context.metrics.refused(Refused::Malformed);
        }
        debug!(%peer, %error, "a connection broke");
    }
}
