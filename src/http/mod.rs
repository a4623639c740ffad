//! Probes, metrics and the stream over HTTP, on a thread of its own.
//!
//! Owns the listener and its connections. Promises to answer while the data path is stuck, and
//! that connections, headers and waiting times are bounded. Never touches the data path: it reads
//! the registry, the readiness and the ring.

mod readiness;
mod subscriber;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

pub use readiness::{Condition, Readiness};

use crate::publish::stream::StreamHub;
use crate::shutdown::stopped;

/// Connections at a time, subscribers included; more wait in the system's backlog.
const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections have to come to their end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The wait after a failed accept, such as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What `/` says.
const ROUTES: &str = "tickcast\n\n\
    GET /livez                       200 while the process runs\n\
    GET /readyz                      200 while it forecasts, 503 with the reasons otherwise\n\
    GET /metrics                     Prometheus metrics\n\
    GET /version                     versions of program, model and library\n\
    GET /v1/stream?symbols=AAPL,IBM  forecasts as a WebSocket, one JSON object a message\n";

/// A bound listener.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

/// What the pages show.
pub struct HttpState {
    /// The metrics.
    pub registry: Registry,
    /// Whether the process can do its work.
    pub readiness: Readiness,
    /// The forecasts.
    pub stream: StreamHub,
    /// What runs.
    pub version: VersionInfo,
    /// Web origins, beside the server's own, whose pages may open the stream.
    pub allowed_origins: Vec<String>,
}

/// What runs.
#[derive(Clone, Debug, Serialize)]
pub struct VersionInfo {
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// How the model is driven.
    pub mode: String,
    /// What ONNX Runtime says of its build.
    pub onnxruntime: String,
}

type Reply = Response<Full<Bytes>>;

impl HttpServer {
    /// Binds, so that the address is known before anything runs.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until `stop` turns true.
    ///
    /// # Errors
    /// Where the thread or its runtime cannot be made.
    pub fn spawn(
        self,
        state: HttpState,
        stop: watch::Receiver<bool>,
    ) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(accept(listener, Arc::new(state), stop)))
    }
}

/// Accepts until told to stop, then gives connections a moment to end.
async fn accept(
    listener: tokio::net::TcpListener,
    state: Arc<HttpState>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Every connection and subscriber holds a clone; the last one dropped is the end.
    let (alive, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                let (state, stop) = (Arc::clone(&state), stop.clone());
                let connection = serve(stream, state, stop, alive.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(alive);
    if timeout(STOP_TIMEOUT, ended.recv()).await.is_err() {
        warn!("connections are cut that did not end in time");
    }
}

/// Serves one connection.
async fn serve(
    stream: TcpStream,
    state: Arc<HttpState>,
    mut stop: watch::Receiver<bool>,
    alive: mpsc::Sender<Infallible>,
) {
    // Forecasts are small and should not wait for one another.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request| {
        let reply = route(request, &state, &alive);
        async move { Ok::<_, Infallible>(reply) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = &mut connection => outcome,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "connection ended early");
    }
}

fn route(request: Request<Incoming>, state: &HttpState, alive: &mpsc::Sender<Infallible>) -> Reply {
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
    }
    match request.uri().path() {
        "/" => reply(StatusCode::OK, "text/plain", ROUTES),
        "/livez" => reply(StatusCode::OK, "text/plain", "ok\n"),
        "/readyz" => readiness(&state.readiness),
        "/metrics" => metrics(&state.registry),
        "/version" => version(&state.version),
        "/v1/stream" => subscriber::upgrade(request, state, alive.clone()),
        _ => reply(StatusCode::NOT_FOUND, "text/plain", ROUTES),
    }
}

fn readiness(readiness: &Readiness) -> Reply {
    let lacking = readiness.lacking();
    if lacking.is_empty() {
        reply(StatusCode::OK, "text/plain", "ready\n")
    } else {
        let reasons = lacking.join("\n") + "\n";
        reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", reasons)
    }
}

fn metrics(registry: &Registry) -> Reply {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => reply(StatusCode::OK, "text/plain; version=0.0.4", text),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    }
}

fn version(version: &VersionInfo) -> Reply {
    #[derive(Serialize)]
    struct Page<'v> {
        name: &'static str,
        version: &'static str,
        #[serde(flatten)]
        model: &'v VersionInfo,
    }
    let (name, number) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let page = Page { name, version: number, model: version };
    let text = serde_json::to_string(&page).expect("a struct of texts always encodes");
    reply(StatusCode::OK, "application/json", text)
}

/// A page with the headers that keep browsers from guessing.
fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
    reply
}
