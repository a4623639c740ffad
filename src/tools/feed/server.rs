//! The server that plays a recording to whoever connects.
//!
//! Owns the listener and one task per connection. Promises that each subscriber gets the whole
//! recording from its beginning at its own pace, then close 1000, that questions about the past
//! take no subscriber's place, and that the number of connections and the bytes buffered for each
//! are bounded. Never takes data from a subscriber.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tracing::{debug, warn};

use super::questions::{Asked, begins_with_a_question};
use super::{Pace, Progress, Recording};
use crate::adapters::file::RECORD_BYTES_MAX;
use crate::adapters::http::origin::may_connect;
use crate::ops::clock::Stopwatch;

/// How many subscribers are served at once; more are refused with 503.
pub const SUBSCRIBERS_MAX: usize = 16;

/// The reason in the close frame at the end of a recording.
pub const ENDING: &str = "recording ended";

/// Connections beyond the subscribers, which ask about the past or are refused; further ones wait
/// in the backlog.
const REFUSALS_MAX: usize = 16;

/// A handshake takes one round trip; a peer that dawdles holds a place.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a peer may read nothing before its place is given up: longer than any pause of a
/// reader that still means to go on.
const STALL_MAX: Duration = Duration::from_secs(60);

/// How long the peer has to read what is buffered and answer the close.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How long the others have to take a close when the feed ends.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A pause before the next accept after one failed, as with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What happens after a subscriber has had everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDone {
    /// The next subscriber is waited for.
    Continue,
    /// The feed ends; it serves one subscriber at a time, so that nobody is cut short.
    Exit,
}

/// Why a feed does not run.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The address cannot be had.
    #[error("listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A feed that is bound and has not begun.
pub struct FeedServer {
    listener: TcpListener,
    address: SocketAddr,
}

/// How a connection ended.
enum Ending {
    /// The subscriber has had everything. It keeps its place until the feed has taken note, so
    /// that a feed that ends does not begin to play to the next one.
    Complete(Option<OwnedSemaphorePermit>),
    /// It left, stalled, was refused, or the feed ended first.
    Partial,
}

/// What all subscribers share.
#[derive(Clone)]
struct Playback {
    recording: Arc<Recording>,
    pace: Pace,
    progress: Arc<Progress>,
    /// How many records a subscriber has had, the one that is furthest.
    played: Arc<AtomicUsize>,
    /// Becomes true when the feed ends.
    closing: watch::Receiver<bool>,
    places: Arc<Semaphore>,
    /// Whether the feed is bound to loopback.
    loopback: bool,
}

/// Counts a subscriber while it is there.
struct Present(Arc<Progress>);

impl FeedServer {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`FeedError::Bind`].
    pub async fn bind(address: SocketAddr) -> Result<Self, FeedError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound.await.map_err(|source| FeedError::Bind { address, source })
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Plays the recording to every subscriber until `stop` resolves or, with
    /// [`WhenDone::Exit`], one subscriber has had everything.
    pub async fn run(
        self,
        recording: Arc<Recording>,
        pace: Pace,
        when_done: WhenDone,
        progress: Arc<Progress>,
        stop: impl Future<Output = ()>,
    ) {
        let (close, closing) = watch::channel(false);
        let places = Arc::new(Semaphore::new(match when_done {
            WhenDone::Continue => SUBSCRIBERS_MAX,
            WhenDone::Exit => 1,
        }));
        let loopback = self.address.ip().is_loopback();
        let played = Arc::default();
        let playback = Playback { recording, pace, progress, played, closing, places, loopback };
        let connections = Arc::new(Semaphore::new(SUBSCRIBERS_MAX + REFUSALS_MAX));
        let mut tasks = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = tasks.join_next() => {
                    if let Ok(Ending::Complete(place)) = ended {
                        if when_done == WhenDone::Exit {
                            break;
                        }
                        drop(place);
                    }
                }
                (stream, peer, permit) = accept(&self.listener, &connections) => {
                    tasks.spawn(playback.clone().attend(stream, peer, permit));
                }
            }
        }
        close.send_replace(true);
        drop(self.listener);
        let farewell = async { while tasks.join_next().await.is_some() {} };
        if timeout(FAREWELL_MAX, farewell).await.is_err() {
            debug!("a subscriber did not take the close in time");
        }
    }
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let permit = Arc::clone(connections)
            .acquire_owned()
            .await
            .expect("the semaphore lives as long as the feed and is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Playback {
    /// Serves one connection, of a subscriber or of one that asks about the past.
    async fn attend(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        _permit: OwnedSemaphorePermit,
    ) -> Ending {
        let Some(history) = self.recording.history() else {
            return self.subscribe(stream, peer).await;
        };
        let mut closing = self.closing.clone();
        let asked = Asked { history, played: &self.played, loopback: self.loopback };
        let outcome = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return Ending::Partial,
            outcome = timeout(HANDSHAKE_MAX, begins_with_a_question(&stream)) => outcome,
        };
        match outcome {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return self.subscribe(stream, peer).await,
            Ok(Err(_)) | Err(_) => {
                debug!(%peer, "a peer connected and said nothing");
                return Ending::Partial;
            }
        }
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => {}
            answered = asked.attend(stream) => match answered {
                Ok(()) => debug!(%peer, "answered questions about the past"),
                Err(error) => debug!(%peer, %error, "a connection that asked about the past broke"),
            },
        }
        Ending::Partial
    }

    /// Serves a subscriber from the handshake to its end.
    async fn subscribe(&self, stream: TcpStream, peer: SocketAddr) -> Ending {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let handshake = timeout(HANDSHAKE_MAX, shake_hands(stream, place.is_some(), self.loopback));
        let mut closing = self.closing.clone();
        let outcome = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return Ending::Partial,
            outcome = handshake => outcome,
        };
        let socket = match outcome {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                debug!(%peer, %error, "refused a connection");
                return Ending::Partial;
            }
            Err(_) => {
                debug!(%peer, "a peer did not finish its handshake in time");
                return Ending::Partial;
            }
        };
        debug!(%peer, "a subscriber came");
        let present = Present::new(&self.progress);
        let ending = self.play_to(socket).await;
        drop(present);
        match &ending {
            Ok(()) => debug!(%peer, "a subscriber has had everything"),
            Err(why) => debug!(%peer, %why, "a subscriber left early"),
        }
        ending.map_or(Ending::Partial, |()| Ending::Complete(place))
    }

    /// Plays the whole recording and closes; an error says why it did not come to that.
    async fn play_to(&self, socket: WebSocketStream<TcpStream>) -> Result<(), Partial> {
        let (mut sink, mut stream) = socket.split();
        let mut closing = self.closing.clone();
        let cut_short = tokio::select! {
            biased;
            // An error means that the feed is gone, which is the same.
            _ = closing.wait_for(|closing| *closing) => true,
            () = until_gone(&mut stream) => return Err(Partial::Gone),
            played = self.play(&mut sink) => {
                played?;
                false
            }
        };
        let (code, reason) =
            if cut_short { (CloseCode::Away, "going away") } else { (CloseCode::Normal, ENDING) };
        let close = async {
            let frame = CloseFrame { code, reason: reason.into() };
            sink.send(Message::Close(Some(frame))).await?;
            until_answered(&mut stream).await
        };
        match timeout(CLOSE_MAX, close).await {
            Ok(Ok(())) if !cut_short => Ok(()),
            Ok(Ok(())) => Err(Partial::Closing),
            Ok(Err(error)) => Err(Partial::Socket(error)),
            Err(_) => Err(Partial::Stalled),
        }
    }

    /// Sends every record when it is due. Records that are late go out at once, together.
    async fn play(&self, sink: &mut Sink) -> Result<(), Partial> {
        let clock = Stopwatch::start();
        for (index, entry) in self.recording.entries().iter().enumerate() {
            let due = self.pace.due(index, self.recording.offset(entry));
            if let Some(early) = due.checked_sub(clock.elapsed()).filter(|early| !early.is_zero()) {
                within_stall(sink.flush()).await?;
                sleep(early).await;
            }
            within_stall(sink.feed(entry.message.clone())).await?;
            self.progress.sent(entry.time);
            self.played.fetch_max(index + 1, Ordering::Relaxed);
        }
        within_stall(sink.flush()).await
    }
}

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;

/// Why a subscriber has not had everything.
#[derive(Debug, thiserror::Error)]
enum Partial {
    #[error("it closed the connection")]
    Gone,
    #[error("it read nothing for {} s", STALL_MAX.as_secs())]
    Stalled,
    #[error("the feed ends")]
    Closing,
    #[error("{0}")]
    Socket(WebSocketError),
}

/// Sends within [`STALL_MAX`]; this is where a slow peer slows its own feed.
async fn within_stall(
    send: impl Future<Output = Result<(), WebSocketError>>,
) -> Result<(), Partial> {
    timeout(STALL_MAX, send).await.map_err(|_| Partial::Stalled)?.map_err(Partial::Socket)
}

/// Reads, so that pings are answered and a close is seen, until the peer is gone.
async fn until_gone(stream: &mut SplitStream<WebSocketStream<TcpStream>>) {
    while let Some(Ok(_)) = stream.next().await {}
}

/// Reads until the peer has read everything up to the close: it answers the close, or it just ends
/// the connection, which arrives as an error where anything was left unread.
async fn until_answered(
    stream: &mut SplitStream<WebSocketStream<TcpStream>>,
) -> Result<(), WebSocketError> {
    loop {
        match stream.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(()),
            Some(Err(WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                return Ok(());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
        }
    }
}

/// The WebSocket handshake; refuses foreign web pages with 403, and with 503 where there is no
/// place.
async fn shake_hands(
    stream: TcpStream,
    has_place: bool,
    loopback: bool,
) -> Result<WebSocketStream<TcpStream>, WebSocketError> {
    #[expect(clippy::result_large_err, reason = "the library decides what the callback returns")]
    let check = move |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        let (status, reason) = if !may_connect(header("origin"), header("host"), loopback, &[]) {
            (StatusCode::FORBIDDEN, "this web origin may not connect\n")
        } else if !has_place {
            (StatusCode::SERVICE_UNAVAILABLE, "too many subscribers\n")
        } else {
            return Ok(response);
        };
        let mut refusal = ErrorResponse::new(Some(reason.to_owned()));
        *refusal.status_mut() = status;
        Err(refusal)
    };
    stream.set_nodelay(true)?;
    tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(limits())).await
}

fn limits() -> WebSocketConfig {
    const WRITE_BUFFER_BYTES: usize = 64 << 10;
    WebSocketConfig::default()
        // A subscriber has nothing to say but pings and a close.
        .read_buffer_size(4 << 10)
        .max_message_size(Some(4 << 10))
        .max_frame_size(Some(4 << 10))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // One record on top of a full buffer, with room for its header.
        .max_write_buffer_size(WRITE_BUFFER_BYTES + RECORD_BYTES_MAX + 1024)
}

impl Present {
    fn new(progress: &Arc<Progress>) -> Self {
        progress.subscribers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(progress))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}
