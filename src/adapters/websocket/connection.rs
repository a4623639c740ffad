//! One open socket: frames in, texts and pings out, and an end that says why.
//!
//! Owns the socket. Promises that a frame which breaks the rules ends the connection with the code
//! that the protocol has for it, that the peer can hear that code, and that sending never waits: a
//! peer that takes nothing is lost. Never looks into a frame.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::feed::LineId;
use super::inflate::Unpack;
use crate::net::dial::{Socket, words};
use crate::net::secrets::Secrets;

/// How long a goodbye may take.
pub(super) const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// What comes out of a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A text message.
    Text(Bytes),
    /// A binary message, decompressed.
    Binary(Bytes),
    /// The peer asked whether we live; the library answers.
    Ping,
    /// The peer answered.
    Pong,
    /// It is over.
    Ended(Ended),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// In words.
    pub(super) why: String,
    /// The code that the peer closed with.
    pub(super) code: Option<u16>,
}

impl Ended {
    /// Whether the peer says that we ask too much.
    pub(super) fn is_rate_limit(&self) -> bool {
        self.code.is_some_and(|code| {
            [CloseCode::Policy, CloseCode::Again].map(u16::from).contains(&code)
        })
    }
}

/// A connection that was made.
pub struct Reached {
    /// Its socket.
    pub socket: Socket,
    /// How its binary messages are read.
    pub unpack: Unpack,
    /// What its messages may need.
    pub secrets: Secrets,
}

impl From<Socket> for Reached {
    /// Without compression and secrets.
    fn from(socket: Socket) -> Self {
        Self { socket, unpack: Unpack::default(), secrets: Secrets::default() }
    }
}

/// One open socket.
pub(super) struct Connection {
    pub(super) id: LineId,
    socket: Socket,
    unpack: Unpack,
    secrets: Secrets,
    phase: ConnectionPhase,
}

enum ConnectionPhase {
    Open,
    /// Nothing more comes out; what was written goes out, and the rest is read to nowhere.
    Farewell(Pin<Box<Sleep>>),
    Gone,
}

impl Connection {
    pub(super) fn new(id: LineId, reached: Reached) -> Self {
        let Reached { socket, unpack, secrets } = reached;
        Self { id, socket, unpack, secrets, phase: ConnectionPhase::Open }
    }

    /// The secrets of this connection.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Whether nothing is left to do.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Gone)
    }

    /// Sends a message; it goes out while events are asked for.
    pub(super) fn send(&mut self, message: Message) -> Result<(), Ended> {
        if !matches!(self.phase, ConnectionPhase::Open) {
            return Ok(());
        }
        // It need not be ready: what does not go out at once is buffered, up to a limit.
        Pin::new(&mut self.socket).start_send(message).map_err(|error| {
            self.phase = ConnectionPhase::Gone;
            match error {
                Error::WriteBufferFull(_) => ended("it takes nothing"),
                other => ended(&other.to_string()),
            }
        })
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, code: CloseCode, reason: &'static str) {
        if matches!(self.phase, ConnectionPhase::Open) {
            let frame = CloseFrame { code, reason: reason.into() };
            // A peer that takes nothing needs no goodbye.
            let sent = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
            self.phase = match sent {
                Ok(()) => ConnectionPhase::Farewell(Box::pin(sleep(FAREWELL_MAX))),
                Err(_) => ConnectionPhase::Gone,
            };
        }
    }

    /// The next event; pending for good once it is over.
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        match &mut self.phase {
            ConnectionPhase::Gone => return Poll::Pending,
            ConnectionPhase::Farewell(limit) => {
                let late = limit.as_mut().poll(context).is_ready();
                if late || poll_farewell(&mut self.socket, context).is_ready() {
                    self.phase = ConnectionPhase::Gone;
                }
                return Poll::Pending;
            }
            ConnectionPhase::Open => {}
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_flush(context) {
            self.phase = ConnectionPhase::Gone;
            return Poll::Ready(Event::Ended(ended(&error.to_string())));
        }
        let message = ready!(Pin::new(&mut self.socket).poll_next(context));
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Event::Text(Bytes::from(text)),
            Some(Ok(Message::Binary(bytes))) => match self.unpack.open(bytes) {
                Ok(frame) => Event::Binary(frame),
                Err(error) => {
                    self.close(CloseCode::Size, "message too big");
                    Event::Ended(ended(&error.to_string()))
                }
            },
            Some(Ok(Message::Ping(_))) => Event::Ping,
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Event::Pong,
            Some(Ok(Message::Close(frame))) => {
                // The answer is written by the library.
                self.phase = ConnectionPhase::Farewell(Box::pin(sleep(FAREWELL_MAX)));
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let why = frame.map_or_else(
                    || "the feed closed".to_owned(),
                    |frame| {
                        let (code, reason) = (u16::from(frame.code), words(&frame.reason));
                        format!("the feed closed with code {code}: \"{reason}\"")
                    },
                );
                Event::Ended(Ended { why, code })
            }
            Some(Err(error)) => {
                let (code, reason) = answer_to(&error);
                match code {
                    Some(code) => self.close(code, reason),
                    None => self.phase = ConnectionPhase::Gone,
                }
                Event::Ended(ended(&error.to_string()))
            }
            None => {
                self.phase = ConnectionPhase::Gone;
                Event::Ended(ended("the feed ended without a close"))
            }
        })
    }
}

fn ended(why: &str) -> Ended {
    Ended { why: why.to_owned(), code: None }
}

/// The code that a peer is told which broke the rules.
fn answer_to(error: &Error) -> (Option<CloseCode>, &'static str) {
    match error {
        Error::Capacity(_) => (Some(CloseCode::Size), "message too big"),
        Error::Utf8(_) => (Some(CloseCode::Invalid), "text is not UTF-8"),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => (None, ""),
        Error::Protocol(_) | Error::AttackAttempt => (Some(CloseCode::Protocol), "protocol error"),
        _ => (None, ""),
    }
}

/// Writes what is left, then reads until the peer hangs up: a socket that is closed with unread
/// bytes takes its last words back.
fn poll_farewell(socket: &mut Socket, context: &mut Context<'_>) -> Poll<()> {
    if ready!(Pin::new(&mut *socket).poll_flush(context)).is_err() {
        return Poll::Ready(());
    }
    let mut sink = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut sink);
        let transport = pin!(socket.get_mut());
        match ready!(transport.poll_read(context, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}
