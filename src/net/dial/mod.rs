//! Dialling: from an address to a connection, or to a WebSocket that has shaken hands.
//!
//! Owns everything before the first frame: names, TCP, the proxy, TLS and the HTTP upgrade, and the
//! limits of frames and messages. Promises that each stage has its time limit, that a failure says
//! which stage it was and what the server asked for (such as `Retry-After`), and that neither
//! headers nor a proxy's password are ever shown. Never waits, retries or reads a message: whoever
//! dials decides that.

mod header;
mod proxy;
mod settings;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig as ProtocolConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, error::ProtocolError};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub use header::{Header, Secret};
pub use proxy::{Proxies, ProxyError, basic};
pub use settings::{read_headers, read_options};
pub use tls::{ClientFiles, TlsError, TlsFiles};

use self::proxy::Proxy;
use self::tls::TlsClient;
use crate::core::text::excerpt;
use crate::net::address::{Endpoint, WebSocketUrl};
use crate::ops::clock::wall_seconds;

/// What the write buffer may hold: subscriptions and pongs, nothing large.
#[cfg(not(feature = "echo"))]
const WRITE_BUFFER_BYTES_MAX: usize = 256 << 10;

/// What the write buffer may hold where every message is sent back.
#[cfg(feature = "echo")]
const WRITE_BUFFER_BYTES_MAX: usize = 64 << 20;

/// What is asked of the system at once. The library clears this much before each read, so more
/// costs every message; less costs system calls under load.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// The longest piece of a server's words that is shown.
const WORDS_CHARS_MAX: usize = 64;

/// The longest wait that a server is believed to mean.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What a WebSocket runs over.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// An open WebSocket.
pub type Socket = WebSocketStream<Box<dyn Transport>>;

/// How connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialOptions {
    /// Certificates beside those of the system.
    pub tls: TlsFiles,
    /// Sent with the handshake.
    pub headers: Vec<Header>,
    /// Ways through proxies.
    pub proxies: Proxies,
    /// How long the name, TCP and the proxy may take together.
    pub connect_timeout: Duration,
    /// How long TLS and the HTTP upgrade may take together.
    pub handshake_timeout: Duration,
    /// The largest message, in bytes.
    pub message_bytes_max: usize,
}

/// Makes connections; cloning shares the certificates.
#[derive(Clone)]
pub struct Dialer {
    tls: Option<TlsClient>,
    options: Arc<DialOptions>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The peer cannot be reached.
    #[error("cannot reach {host}: {source}")]
    Unreachable {
        /// Who.
        host: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The proxy does not let us through.
    #[error("the proxy {proxy} {why}")]
    Proxy {
        /// Host and port.
        proxy: String,
        /// What it does instead.
        why: String,
    },
    /// There is no trust between us.
    #[error("TLS with {host}: {why}")]
    Tls {
        /// Who.
        host: String,
        /// Why.
        why: String,
    },
    /// The server answered with another status than that of the upgrade.
    #[error("the server refuses: {status} {said}")]
    Refused {
        /// The status.
        status: u16,
        /// What the status means, and the beginning of what it said.
        said: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The connection broke during the handshake, or what came was no handshake.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// A secret that the address or the messages need cannot be had.
    #[error("the secret `{name}` {why}")]
    Secret {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A stage took too long.
    #[error("no {stage} within {} s", limit.as_secs_f64())]
    Timeout {
        /// Which.
        stage: &'static str,
        /// The limit.
        limit: Duration,
    },
}

impl DialError {
    /// How long the server wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the server says that we ask too often; Binance answers 418 to those that go on.
    pub fn is_rate_limit(&self) -> bool {
        matches!(self, Self::Refused { status: 418 | 429, .. })
    }
}

impl Dialer {
    /// Reads certificates; those of the system only where `encrypted` addresses will be dialled.
    ///
    /// # Errors
    /// [`TlsError`] for certificates or keys that cannot be used.
    pub fn new(options: DialOptions, encrypted: bool) -> Result<Self, TlsError> {
        let tls = encrypted.then(|| TlsClient::new(&options.tls)).transpose()?;
        Ok(Self { tls, options: Arc::new(options) })
    }

    /// The same with the value of each header as `write` makes it of what was configured.
    #[must_use]
    pub fn with_headers(&self, write: impl Fn(&str) -> String) -> Self {
        let mut options = DialOptions::clone(&self.options);
        for Header { value, .. } in &mut options.headers {
            *value = Secret::new(write(value.reveal()));
        }
        Self { tls: self.tls.clone(), options: Arc::new(options) }
    }

    /// Connects to an address, through a proxy where one is set for it, and shakes hands.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, url: &WebSocketUrl) -> Result<Socket, DialError> {
        let DialOptions { connect_timeout, handshake_timeout, .. } = *self.options;
        let tcp = within("connection", connect_timeout, self.reach(&url.endpoint())).await?;
        within("handshake", handshake_timeout, self.shake_hands(url, tcp)).await
    }

    /// Connects to an endpoint, through a proxy where one is set for it, and wraps the connection
    /// in TLS where the endpoint asks for it.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect(&self, endpoint: &Endpoint<'_>) -> Result<Box<dyn Transport>, DialError> {
        let DialOptions { connect_timeout, handshake_timeout, .. } = *self.options;
        let tcp = within("connection", connect_timeout, self.reach(endpoint)).await?;
        within("handshake", handshake_timeout, self.wrap(endpoint, tcp)).await
    }

    async fn reach(&self, endpoint: &Endpoint<'_>) -> Result<TcpStream, DialError> {
        let via = self.options.proxies.for_endpoint(endpoint);
        let (host, port) = via.map_or((endpoint.host, endpoint.port), Proxy::address);
        let stream = TcpStream::connect((host, port)).await.and_then(|stream| {
            // Without Nagle's algorithm: subscriptions and pongs are small and should not wait.
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let host = || format!("{host}:{port}");
        let stream = stream.map_err(|source| DialError::Unreachable { host: host(), source })?;
        match via {
            None => Ok(stream),
            Some(proxy) => proxy
                .tunnel(stream, endpoint)
                .await
                .map_err(|why| DialError::Proxy { proxy: host(), why }),
        }
    }

    async fn wrap(
        &self,
        endpoint: &Endpoint<'_>,
        tcp: TcpStream,
    ) -> Result<Box<dyn Transport>, DialError> {
        match (&self.tls, endpoint.encrypted) {
            (_, false) => Ok(Box::new(tcp)),
            (Some(tls), true) => {
                let refused = |why| DialError::Tls { host: endpoint.host.to_owned(), why };
                Ok(Box::new(tls.wrap(endpoint.host, tcp).await.map_err(refused)?))
            }
            (None, true) => {
                let why = "this client was made for addresses without TLS".to_owned();
                Err(DialError::Tls { host: endpoint.host.to_owned(), why })
            }
        }
    }

    async fn shake_hands(&self, url: &WebSocketUrl, tcp: TcpStream) -> Result<Socket, DialError> {
        let transport = self.wrap(&url.endpoint(), tcp).await?;
        let request = self.request(url)?;
        let limits = self.limits();
        match client_async_with_config(request, transport, Some(limits)).await {
            Ok((socket, _)) => Ok(socket),
            Err(WebSocketError::Http(response)) => Err(refusal(&response)),
            Err(WebSocketError::Protocol(ProtocolError::HandshakeIncomplete)) => {
                Err(DialError::Handshake("the server hung up".to_owned()))
            }
            Err(error) => Err(DialError::Handshake(error.to_string())),
        }
    }

    /// The limits of frames and messages.
    fn limits(&self) -> ProtocolConfig {
        limits(self.options.message_bytes_max)
    }

    fn request(&self, url: &WebSocketUrl) -> Result<Request, DialError> {
        let mut request = url
            .secret()
            .into_client_request()
            .map_err(|error| DialError::Handshake(error.to_string()))?;
        let headers = request.headers_mut();
        let mut add = |name: &str, value: &str| {
            // The words do not hold the value, which is a secret.
            let fail = |_| DialError::Handshake(format!("the header {name} cannot be sent"));
            let name: HeaderName = name.parse().map_err(|_| ()).map_err(fail)?;
            let mut value = HeaderValue::from_str(value).map_err(|_| ()).map_err(fail)?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok(())
        };
        if let Some(user) = url.endpoint().user {
            add(AUTHORIZATION.as_str(), &basic(user))?;
        }
        for Header { name, value } in &self.options.headers {
            add(name, value.reveal())?;
        }
        Ok(request)
    }
}

/// The limits of frames and messages where the largest message has so many bytes.
pub fn limits(message_bytes_max: usize) -> ProtocolConfig {
    ProtocolConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
}

async fn within<T>(
    stage: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    timeout(limit, work).await.unwrap_or(Err(DialError::Timeout { stage, limit }))
}

fn refusal(response: &Response) -> DialError {
    let body = response.body().as_deref().unwrap_or_default();
    let body = detail_of(body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let reason = response.status().canonical_reason().unwrap_or_default();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    DialError::Refused {
        status: response.status().as_u16(),
        said: format!("{reason}: {}", words(body.trim())),
        retry_after: retry_after.and_then(|text| retry_after_of(text, wall_seconds())),
    }
}

/// What a server says in a problem document (RFC 9457).
fn detail_of(body: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("detail")?.as_str()?.to_owned())
}

/// What `Retry-After` asks for: seconds, or a date, which is compared with the wall clock.
pub fn retry_after_of(text: &str, now_seconds: f64) -> Option<Duration> {
    let seconds = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds as f64,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
            date.timestamp().as_second() as f64 - now_seconds
        }
    };
    let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(RETRY_AFTER_MAX);
    Some(wait.min(RETRY_AFTER_MAX))
}

/// A server's words, harmless in any terminal and short.
pub fn words(text: &str) -> String {
    excerpt(text, WORDS_CHARS_MAX)
}
