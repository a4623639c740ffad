//! The connection to the stream, again and again.
//!
//! Owns the socket. Promises every message in order, a bounded queue to whoever shows them, and a
//! capped, jittered wait between attempts. Never decides when watching ends.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::net::address::WebSocketUrl;
use crate::net::backoff::Backoff;
use crate::net::dial::{DialError, DialOptions, Dialer, Proxies, Socket, TlsFiles, words};
use crate::ops::clock::Stopwatch;

/// The longest wait between two attempts: a person looks on.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long each of the two stages of an attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// The server pings every 20 s where nothing else flows; three missed ones are a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(65);

/// How long the server has to answer our close.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// The largest message: a forecast is half a kilobyte.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// How a stream is reached, with certificates of one's own where there are some.
pub fn dial_options(tls: TlsFiles, proxies: Proxies) -> DialOptions {
    DialOptions {
        tls,
        headers: Vec::new(),
        proxies,
        connect_timeout: ATTEMPT_MAX,
        handshake_timeout: ATTEMPT_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
    }
}

/// What happens on the connection.
#[derive(Debug)]
pub(super) enum Event {
    Connected,
    Record(Bytes),
    /// The connection is gone; `ended` where the server has nothing more for anybody.
    Lost {
        why: String,
        ended: bool,
    },
    /// There is no connection and there will be none.
    Failed(ConnectError),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered for too long.
    #[error("no server within {seconds} s: {last}")]
    Nobody {
        /// How long it was tried.
        seconds: u64,
        /// Why the last attempt failed.
        last: String,
    },
    /// An option of the connection is wrong.
    #[error("{0}")]
    Setup(String),
    /// The server does not want us.
    #[error("the server refuses: {0}")]
    Refused(String),
}

/// Connects, delivers, and connects again, until nobody listens or no server is found for
/// `connect_max`.
pub(super) async fn follow(
    dialer: Dialer,
    url: WebSocketUrl,
    connect_max: Duration,
    seed: u64,
    events: Sender<Event>,
) {
    let mut backoff = Backoff::new(BACKOFF_MAX, seed);
    loop {
        let connecting = connect(&dialer, &url, connect_max, &mut backoff);
        let socket = tokio::select! {
            biased;
            () = events.closed() => return,
            socket = connecting => socket,
        };
        let event = match socket {
            Ok(socket) => {
                if events.send(Event::Connected).await.is_err() {
                    return;
                }
                match deliver(socket, &events, &mut backoff).await {
                    Some(lost) => lost,
                    None => return,
                }
            }
            Err(error) => {
                // Nobody may listen any more, which ends this in any case.
                let _ = events.send(Event::Failed(error)).await;
                return;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Tries until there is a connection.
async fn connect(
    dialer: &Dialer,
    url: &WebSocketUrl,
    connect_max: Duration,
    backoff: &mut Backoff,
) -> Result<Socket, ConnectError> {
    let clock = Stopwatch::start();
    loop {
        sleep(backoff.next_wait().min(connect_max.saturating_sub(clock.elapsed()))).await;
        let last = match dialer.dial(url).await {
            Ok(socket) => return Ok(socket),
            Err(DialError::Refused { status, said, .. }) => {
                let said = format!("{status} {said}");
                if status < 500 {
                    return Err(ConnectError::Refused(said));
                }
                said
            }
            Err(error) => error.to_string(),
        };
        if clock.elapsed() >= connect_max {
            return Err(ConnectError::Nobody { seconds: connect_max.as_secs(), last });
        }
    }
}

/// Passes messages on until the connection is gone; `None` where nobody listens any more.
async fn deliver(
    mut socket: Socket,
    events: &Sender<Event>,
    backoff: &mut Backoff,
) -> Option<Event> {
    loop {
        let message = tokio::select! {
            biased;
            () = events.closed() => {
                // The server keeps our place until it sees this, or until it fails; both will do.
                let _ = timeout(CLOSE_MAX, async {
                    socket.close(None).await?;
                    while let Some(Ok(_)) = socket.next().await {}
                    Ok::<(), WebSocketError>(())
                })
                .await;
                return None;
            }
            message = timeout(SILENCE_MAX, socket.next()) => message,
        };
        let record = match message {
            Ok(Some(Ok(Message::Text(text)))) => Bytes::from(text),
            Ok(Some(Ok(Message::Binary(bytes)))) => bytes,
            Ok(Some(Ok(Message::Close(frame)))) => {
                // Answers the close.
                let _ = timeout(CLOSE_MAX, socket.next()).await;
                let cut = frame.as_ref().is_some_and(|frame| frame.code == CloseCode::Policy);
                let why = frame.map_or_else(
                    || "closed".to_owned(),
                    |frame| format!("closed, {} {}", u16::from(frame.code), words(&frame.reason)),
                );
                return Some(Event::Lost { why, ended: !cut });
            }
            Ok(Some(Ok(_))) => continue,
            Ok(Some(Err(error))) => {
                return Some(Event::Lost { why: error.to_string(), ended: true });
            }
            Ok(None) => return Some(Event::Lost { why: "closed".to_owned(), ended: true }),
            Err(_) => {
                let why = format!("silent for {} s", SILENCE_MAX.as_secs());
                return Some(Event::Lost { why, ended: true });
            }
        };
        // Data has flowed, so the next loss is a new one.
        backoff.reset();
        events.send(Event::Record(record)).await.ok()?;
    }
}
