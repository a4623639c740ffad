//! One subscriber: from the ring to its socket.
//!
//! Owns the socket of one subscriber. Promises to leave its place when the peer leaves, lags past
//! the ring, reads nothing or answers no ping, and to say why in a close frame where the peer can
//! still hear it. Never takes more from a peer than pings, pongs and a close.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role as Side, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tracing::{debug, info};

use super::outlet::Outlet;
use super::places::Place;
use super::ring::{Following, Numbered, Progress};
use super::{Shared, StreamId, WhenSlow, Wish};

/// A subscriber has nothing to say but pings and a close.
const INBOUND_BYTES_MAX: usize = 4 << 10;

/// Records written before they are flushed together and the peer is listened to again.
const BURST_RECORDS_MAX: usize = 256;

/// Buffered before it is written; a few dozen records.
const WRITE_BUFFER_BYTES: usize = 32 << 10;

/// The largest record that fits on top of a full buffer.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The limits of a subscriber's WebSocket.
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(INBOUND_BYTES_MAX)
        .max_message_size(Some(INBOUND_BYTES_MAX))
        .max_frame_size(Some(INBOUND_BYTES_MAX))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES + RECORD_BYTES_MAX)
}

/// Symbols looked at in one go while the newest of each is gathered: publishers wait meanwhile.
pub(super) const LATEST_SYMBOLS_MAX: usize = 512;

/// A taken place and its end of the ring.
pub struct Subscription {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    wish: Wish,
    /// The number of the last record that was dealt with.
    cursor: u64,
    /// Records on their way from the ring to the socket.
    records: Vec<Numbered>,
    _place: Place,
}

/// What a subscriber that asked for envelopes hears besides records.
#[derive(Debug, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
enum Notice {
    /// The first message: where the stream stands.
    Welcome { stream: String, seq: u64 },
    /// The records up to `seq` that follow are the newest of their symbols, no more.
    Snapshot { stream: String, seq: u64 },
    /// So many records of the stream, wanted or not, were missed; the newest of each symbol follow.
    Missed { stream: String, seq: u64, records: u64 },
    /// The record asked for is of another stream: an earlier run, or another instance.
    OtherStream { stream: String, seq: u64 },
}

pub(in crate::adapters) type Sink<S> = SplitSink<WebSocketStream<S>, Message>;

/// Why a subscription ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("it left")]
    Left,
    #[error("the stream has ended")]
    Finished,
    #[error("it lags {0} records past the ring")]
    Lagged(u64),
    #[error("it reads nothing")]
    Stalled,
    #[error("it does not answer a ping")]
    Silent,
    #[error("{0}")]
    Failed(WebSocketError),
}

impl Subscription {
    pub(super) fn new(
        shared: Arc<Shared>,
        progress: watch::Receiver<Progress>,
        wish: Wish,
        place: Place,
    ) -> Self {
        shared.metrics.subscribers.inc();
        let cursor = progress.borrow().newest;
        Self { shared, progress, wish, cursor, records: Vec::new(), _place: place }
    }

    /// Serves the subscriber over a socket that has shaken hands until one side ends it; `head` is
    /// what it has said since, and `peer` is for the log.
    pub async fn serve(mut self, socket: TcpStream, head: Bytes, peer: SocketAddr) {
        debug!(%peer, "a subscriber came");
        let (outlet, socket) = Outlet::share(socket, &self.wish);
        let side =
            WebSocketStream::from_partially_read(socket, head.into(), Side::Server, Some(limits()));
        let (mut sink, mut stream) = side.await.split();
        let listed = self.shared.outlets.list(&outlet);
        let ending = match self.stream_to(&outlet, &mut sink, &mut stream).await {
            Ok(ending) | Err(ending) => ending,
        };
        // No record comes behind the goodbye.
        outlet.close();
        drop(listed);
        match &ending {
            Ending::Lagged(_) | Ending::Stalled | Ending::Silent => {
                self.shared.metrics.cut.inc();
                info!(%peer, why = %ending, "cut a subscriber");
            }
            Ending::Left | Ending::Finished | Ending::Failed(_) => {
                debug!(%peer, why = %ending, "a subscriber is gone");
            }
        }
        // Whatever the peer does with it, the place is free in a moment.
        let farewell = part(&mut sink, &mut stream, ending.close_frame());
        let _ = timeout(self.shared.patience.close_within, farewell).await;
    }

    /// Writes records, answers pings and asks for signs of life until there is a reason to end.
    async fn stream_to<S>(
        &mut self,
        outlet: &Outlet,
        sink: &mut Sink<S>,
        stream: &mut SplitStream<WebSocketStream<S>>,
    ) -> Result<Ending, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let patience = self.shared.patience;
        self.begin(sink).await?;
        self.within(sink.flush()).await?;
        outlet.open(self.cursor);
        let mut silence = pin!(sleep(patience.ping_every));
        let mut asked = false;
        loop {
            tokio::select! {
                biased;
                message = stream.next() => match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(Ending::Left),
                    Some(Err(error)) => return Ok(Ending::Failed(error)),
                    Some(Ok(_)) => {
                        asked = false;
                        silence.set(sleep(patience.ping_every));
                    }
                },
                () = &mut silence => {
                    if asked {
                        return Ok(Ending::Silent);
                    }
                    asked = true;
                    self.within(sink.send(Message::Ping(Bytes::new()))).await?;
                    silence.set(sleep(patience.answer_within));
                }
                () = due(&mut self.progress, outlet) => {
                    self.cursor = outlet.close().unwrap_or(self.cursor);
                    let ending = self.burst(sink).await?;
                    self.within(sink.flush()).await?;
                    if let Some(ending) = ending {
                        return Ok(ending);
                    }
                    outlet.open(self.cursor);
                }
            }
        }
    }

    /// Says where the stream stands, and brings the subscriber there from where it wants to begin.
    async fn begin<S>(&mut self, sink: &mut Sink<S>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (stream, seq) = (self.shared.id.to_string(), self.cursor);
        self.notice(sink, Notice::Welcome { stream: stream.clone(), seq }).await?;
        match self.wish.after {
            Some((StreamId(id), after)) if id == self.shared.id.0 && after <= seq => {
                // What is no longer remembered is found out by the first look, as for one that
                // was slow.
                self.cursor = after;
                Ok(())
            }
            Some(_) => {
                self.notice(sink, Notice::OtherStream { stream, seq }).await?;
                self.latest(0, sink).await
            }
            None if self.wish.snapshot => {
                self.notice(sink, Notice::Snapshot { stream, seq }).await?;
                self.latest(0, sink).await
            }
            None => Ok(()),
        }
    }

    /// Writes a bounded number of the records that follow, without flushing; the reason to end, if
    /// there is one.
    async fn burst<S>(&mut self, sink: &mut Sink<S>) -> Result<Option<Ending>, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut records = std::mem::take(&mut self.records);
        let following = self.shared.lock().follow(
            self.cursor,
            &self.wish.filter,
            BURST_RECORDS_MAX,
            &mut records,
        );
        self.records = records;
        match following {
            Following::Nothing => Ok(None),
            Following::End => Ok(Some(Ending::Finished)),
            Following::UpTo(seq) => {
                self.cursor = seq;
                self.send_records(sink).await?;
                Ok(None)
            }
            Following::Forgotten(records) => match self.wish.when_slow {
                WhenSlow::Cut => Ok(Some(Ending::Lagged(records))),
                WhenSlow::Conflate => {
                    self.shared.metrics.conflated.inc();
                    let newest = self.shared.lock().progress().newest;
                    let after = std::mem::replace(&mut self.cursor, newest);
                    let stream = self.shared.id.to_string();
                    let notice = Notice::Missed { stream, seq: self.cursor, records };
                    self.notice(sink, notice).await?;
                    self.latest(after, sink).await?;
                    Ok(None)
                }
            },
        }
    }

    /// Writes the newest record of each wanted symbol, where it lies behind `after` and not behind
    /// the cursor: what lies there comes in its turn.
    async fn latest<S>(&mut self, after: u64, sink: &mut Sink<S>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let range = (after, self.cursor);
        let mut place = Some(0);
        while let Some(from) = place {
            let mut records = std::mem::take(&mut self.records);
            place = self.shared.lock().latest(
                from,
                LATEST_SYMBOLS_MAX,
                range,
                &self.wish.filter,
                &mut records,
            );
            self.records = records;
            self.send_records(sink).await?;
        }
        Ok(())
    }

    /// Writes what was taken from the ring.
    async fn send_records<S>(&mut self, sink: &mut Sink<S>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut records = std::mem::take(&mut self.records);
        for record in records.drain(..) {
            let noun = self.shared.records.noun();
            let message = if self.wish.envelope { envelope(&record, noun) } else { record.message };
            self.within(sink.feed(message)).await?;
            self.shared.metrics.sent.inc();
        }
        self.records = records;
        Ok(())
    }

    /// Writes a notice, for whoever can tell it from a record.
    async fn notice<S>(&self, sink: &mut Sink<S>, notice: Notice) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.wish.envelope {
            return Ok(());
        }
        let text = serde_json::to_string(&notice).expect("plain numbers and texts always encode");
        self.within(sink.feed(Message::text(text))).await
    }

    /// Sends within the patience of the stream; this is where a slow peer makes itself lag.
    async fn within(
        &self,
        send: impl Future<Output = Result<(), WebSocketError>>,
    ) -> Result<(), Ending> {
        timeout(self.shared.patience.write_within, send)
            .await
            .map_err(|_| Ending::Stalled)?
            .map_err(Ending::Failed)
    }
}

/// Waits until there is something for the task to write, or nothing will follow.
async fn due(progress: &mut watch::Receiver<Progress>, outlet: &Outlet) {
    let is_due = |progress: &Progress| progress.finished || outlet.is_due(progress.newest);
    // The hub cannot be gone before its subscribers, which share it.
    let _ = progress.wait_for(is_due).await;
}

/// A record with its number around it.
pub(super) fn envelope(record: &Numbered, noun: &str) -> Message {
    match &record.message {
        Message::Text(text) => {
            Message::text(format!("{{\"seq\":{},\"{noun}\":{text}}}", record.seq))
        }
        other => other.clone(),
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.metrics.subscribers.dec();
    }
}

impl Ending {
    /// What to say to the peer, where it can still hear it.
    fn close_frame(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Finished => (CloseCode::Away, "going away"),
            Self::Lagged(_) => (CloseCode::Policy, "too slow"),
            Self::Silent => (CloseCode::Policy, "no answer to a ping"),
            Self::Failed(error) => return close_frame(error),
            Self::Left | Self::Stalled => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

/// What to say to a peer that broke a rule, where it can still hear it.
pub(in crate::adapters) fn close_frame(error: &WebSocketError) -> Option<CloseFrame> {
    let (code, reason) = match error {
        WebSocketError::Capacity(_) => (CloseCode::Size, "message too long"),
        WebSocketError::Utf8(_) => (CloseCode::Invalid, "not UTF-8"),
        WebSocketError::Protocol(_) => (CloseCode::Protocol, "protocol error"),
        _ => return None,
    };
    Some(CloseFrame { code, reason: reason.into() })
}

/// Closes with `frame`, where there is one, and reads until the peer is gone.
pub(in crate::adapters) async fn part<S>(
    sink: &mut Sink<S>,
    stream: &mut SplitStream<WebSocketStream<S>>,
    frame: Option<CloseFrame>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(frame) = frame
        && sink.send(Message::Close(Some(frame))).await.is_err()
    {
        return;
    }
    // Reading on sends the answer to the peer's close, or waits for its answer to ours.
    while let Some(Ok(_)) = stream.next().await {}
}
