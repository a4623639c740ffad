//! The listener and its connections.
//!
//! Owns binding, the thread, and the life of every connection. Promises that the address is known
//! before anything runs, and that the thread ends within a few seconds of the stop, after
//! subscribers had what is in the ring. Never knows a route.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{HttpState, routes};

/// Connections at once, those of subscribers not counted; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 256;

/// How long a peer may take to send a request's head, or to send the next request.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// How long one connection is kept, so that a peer that reads nothing does not hold it for ever.
const CONNECTION_MAX: Duration = Duration::from_secs(300);

/// How long an answer may take once a connection is to end.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long subscribers have for what is in the ring and the close.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// The largest request head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A pause before the next accept after one failed, as with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    pub(super) peer: SocketAddr,
    /// Whether the server is bound to loopback.
    pub(super) loopback: bool,
    /// Held by everything that still runs; when the last one is gone, the thread ends.
    pub(super) alive: mpsc::Sender<Infallible>,
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
    /// [`HttpError::Start`].
    pub fn spawn(
        self,
        state: HttpState,
        stop: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, HttpError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(HttpError::Start)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.listener).map_err(HttpError::Start)?
        };
        let loopback = self.address.ip().is_loopback();
        std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || run(&runtime, listener, loopback, state, stop))
            .map_err(HttpError::Start)
    }
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    loopback: bool,
    state: HttpState,
    mut stop: watch::Receiver<bool>,
) {
    let state = Arc::new(state);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (alive, mut all_gone) = mpsc::channel(1);
    runtime.block_on(async {
        loop {
            let (socket, peer, permit) = tokio::select! {
                biased;
                // An error means that nobody is left to stop us, which is a reason to stop.
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = accept(&listener, &permits) => accepted,
            };
            let context =
                Context { state: Arc::clone(&state), peer, loopback, alive: alive.clone() };
            tokio::spawn(serve(socket, context, stop.clone(), permit));
        }
        drop(listener);
        if let Some(stream) = &state.stream {
            stream.finish();
        }
        drop(alive);
        if timeout(FAREWELL_MAX, all_gone.recv()).await.is_err() {
            warn!("connections were still open when the http thread ended");
        }
    });
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let permit = Arc::clone(permits)
            .acquire_owned()
            .await
            .expect("the semaphore lives as long as the thread and is never closed");
        match listener.accept().await {
            Ok((socket, peer)) => return (socket, peer, permit),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection until it ends, becomes a subscriber or must go.
async fn serve(
    socket: TcpStream,
    context: Context,
    mut stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let peer = context.peer;
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "cannot send without delay");
    }
    let answer = service_fn(|request| {
        let answer = routes::answer(&context, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {}
                () = sleep(CONNECTION_MAX) => {}
            }
        } => {
            connection.as_mut().graceful_shutdown();
            match timeout(ANSWER_MAX, connection).await {
                Ok(outcome) => outcome,
                Err(_) => return debug!(%peer, "a peer did not take its answer in time"),
            }
        }
    };
    if let Err(error) = outcome {
        debug!(%peer, %error, "a connection broke");
    }
}
