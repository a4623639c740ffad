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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tracing::{debug, info};

use super::{Item, Shared, SymbolFilter};

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

/// A taken place and its end of the ring.
pub struct Subscription {
    shared: Arc<Shared>,
    receiver: Receiver<Item>,
    filter: SymbolFilter,
    _place: OwnedSemaphorePermit,
}

type Sink<S> = SplitSink<WebSocketStream<S>, Message>;

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
        receiver: Receiver<Item>,
        filter: SymbolFilter,
        place: OwnedSemaphorePermit,
    ) -> Self {
        shared.metrics.subscribers.inc();
        Self { shared, receiver, filter, _place: place }
    }

    /// Serves the subscriber until one side ends it; `peer` is for the log.
    pub async fn serve<S>(mut self, socket: WebSocketStream<S>, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        debug!(%peer, "a subscriber came");
        let (mut sink, mut stream) = socket.split();
        let ending = match self.stream_to(&mut sink, &mut stream).await {
            Ok(ending) | Err(ending) => ending,
        };
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
        let _ = timeout(self.shared.patience.close_within, async {
            if let Some(frame) = ending.close_frame()
                && sink.send(Message::Close(Some(frame))).await.is_err()
            {
                return;
            }
            // Reading on sends the answer to the peer's close, or waits for its answer to ours.
            while let Some(Ok(_)) = stream.next().await {}
        })
        .await;
    }

    /// Writes records, answers pings and asks for signs of life until there is a reason to end.
    async fn stream_to<S>(
        &mut self,
        sink: &mut Sink<S>,
        stream: &mut SplitStream<WebSocketStream<S>>,
    ) -> Result<Ending, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let patience = self.shared.patience;
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
                item = self.receiver.recv() => {
                    let item = item.map_err(|error| match error {
                        RecvError::Lagged(records) => Ending::Lagged(records),
                        RecvError::Closed => Ending::Finished,
                    })?;
                    let ending = self.burst(item, sink).await?;
                    self.within(sink.flush()).await?;
                    if let Some(ending) = ending {
                        return Ok(ending);
                    }
                }
            }
        }
    }

    /// Writes this record and those behind it, without flushing; the reason to end, if one comes.
    async fn burst<S>(
        &mut self,
        mut item: Item,
        sink: &mut Sink<S>,
    ) -> Result<Option<Ending>, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for left in (0..BURST_RECORDS_MAX).rev() {
            match item {
                Item::End => return Ok(Some(Ending::Finished)),
                Item::Forecast { symbol, message } if self.filter.wants(&symbol) => {
                    self.within(sink.feed(message)).await?;
                    self.shared.metrics.sent.inc();
                }
                Item::Forecast { .. } => {}
            }
            if left == 0 {
                break;
            }
            item = match self.receiver.try_recv() {
                Ok(item) => item,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => return Ok(Some(Ending::Finished)),
                Err(TryRecvError::Lagged(records)) => return Ok(Some(Ending::Lagged(records))),
            };
        }
        Ok(None)
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
            Self::Failed(WebSocketError::Capacity(_)) => (CloseCode::Size, "message too long"),
            Self::Failed(WebSocketError::Utf8(_)) => (CloseCode::Invalid, "not UTF-8"),
            Self::Failed(WebSocketError::Protocol(_)) => (CloseCode::Protocol, "protocol error"),
            Self::Left | Self::Stalled | Self::Failed(_) => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}
