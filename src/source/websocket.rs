//! A live feed over a WebSocket: at most once, with every loss declared as a gap.
//!
//! Owns one connection and its renewal. Promises that a connection is dead after `idle_timeout`
//! of silence, that waits between attempts are capped and jittered and begin anew only after a
//! connection has delivered for as long as the longest wait, and that a renewed connection is
//! preceded by a gap. Of a venue's connections it keeps the first one. Never decodes a record; what
//! a frame means is the venue's business.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prometheus::{IntCounter, Registry};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::intake::IntakeClosed;
use super::router::Router;
use crate::clock::Stopwatch;
use crate::config::{FeedConnection, WebSocketConfig};
use crate::dial::{Dialer, Socket};
use crate::http::Condition;
use crate::shutdown::stopped;
use crate::venue::{FrameKind, Mapper};

/// How long a polite goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The metrics of the feed.
#[derive(Clone, Debug)]
pub struct WebSocketMetrics {
    connects: IntCounter,
    failures: IntCounter,
}

/// How a connection ended.
enum End {
    /// We were asked to stop, or nobody takes records any more.
    Stopped,
    /// The feed ended it, broke it or fell silent.
    Lost(String),
}

impl WebSocketMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            connects: IntCounter::new(
                "tickcast_source_connects_total",
                "Connections to the feed that came about.",
            )?,
            failures: IntCounter::new(
                "tickcast_source_failures_total",
                "Connections to the feed that failed or were lost.",
            )?,
        };
        registry.register(Box::new(metrics.connects.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        Ok(metrics)
    }
}

/// Keeps a connection until `stop` turns true or the engine takes no more records.
pub async fn run(
    config: WebSocketConfig,
    dialer: Dialer,
    router: Router,
    ready: Condition,
    metrics: WebSocketMetrics,
    seed: u64,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(config.backoff_max, seed);
    let mut delivered = false;
    let FeedConnection { url, .. } = &config.connections[0];
    let mut mapper = Mapper::new(config.venue.clone());
    loop {
        ready.not_ready(format!("connecting to {url}"));
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = sleep(backoff.next_wait()) => {}
        }
        let connected = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            connected = connect(&config, &dialer) => connected,
        };
        let lost = match connected {
            Err(reason) => reason,
            Ok(mut stream) => {
                metrics.connects.inc();
                info!(%url, "connected to feed");
                // What came while there was no connection is missing, if anything was there.
                if delivered && router.gap().await.is_err() {
                    return;
                }
                ready.ready();
                let mut flowed = false;
                let age = Stopwatch::start();
                let end =
                    deliver(&config, &mut mapper, &mut stream, &router, &mut flowed, &mut stop)
                        .await;
                // A peer that does not read would hold the goodbye up; it is a courtesy only.
                let _ = timeout(CLOSE_TIMEOUT, stream.close(None)).await;
                delivered |= flowed;
                // A feed that says one thing and closes must not be asked again without a wait.
                if flowed && age.elapsed() >= config.backoff_max {
                    backoff.reset();
                }
                match end {
                    End::Stopped => return,
                    End::Lost(reason) => reason,
                }
            }
        };
        metrics.failures.inc();
        warn!(%url, error = %lost, "feed is not connected");
    }
}

/// Connects and subscribes.
async fn connect(config: &WebSocketConfig, dialer: &Dialer) -> Result<Socket, String> {
    let FeedConnection { url, plan } = &config.connections[0];
    let mut socket = dialer.dial(url).await.map_err(|error| error.to_string())?;
    for message in &plan.subscribe {
        let message = Message::text(message.text.clone());
        let sent = timeout(config.idle_timeout, socket.send(message)).await;
        sent.map_err(|_| "it takes no subscription".to_owned())?
            .map_err(|error| error.to_string())?;
    }
    Ok(socket)
}

/// Delivers records until the connection ends.
async fn deliver(
    config: &WebSocketConfig,
    mapper: &mut Mapper,
    stream: &mut Socket,
    router: &Router,
    flowed: &mut bool,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let mut asked = false;
    let mut records = Vec::new();
    loop {
        let message = tokio::select! {
            biased;
            () = stopped(stop) => return End::Stopped,
            message = timeout(config.idle_timeout / 2, stream.next()) => message,
        };
        let frame = match message {
            Ok(Some(Ok(Message::Text(text)))) => Bytes::from(text),
            Ok(Some(Ok(Message::Binary(bytes)))) => bytes,
            Ok(Some(Ok(Message::Close(frame)))) => {
                let reason = frame.map_or_else(String::new, |frame| {
                    let text: String = frame.reason.chars().take(64).collect();
                    format!(" with code {}: {:?}", u16::from(frame.code), text)
                });
                return End::Lost(format!("the feed closed{reason}"));
            }
            // Pings are answered by the library; any sign of life counts.
            Ok(Some(Ok(_))) => {
                asked = false;
                continue;
            }
            Ok(Some(Err(error))) => return End::Lost(error.to_string()),
            Ok(None) => return End::Lost("the feed ended without a close".to_owned()),
            Err(_) if asked => {
                return End::Lost(format!("silent for {} s", config.idle_timeout.as_secs()));
            }
            Err(_) => {
                asked = true;
                if let Err(error) = stream.send(Message::Ping(Bytes::new())).await {
                    return End::Lost(error.to_string());
                }
                continue;
            }
        };
        asked = false;
        let outcome =
            mapper.classify(&frame, |mapped| records.push(bytes_of(&frame, mapped.record)));
        match outcome.kind {
            FrameKind::Ticks { .. } => *flowed = true,
            FrameKind::Refused(refusal) => warn!(error = %refusal.text, "the feed refused"),
            FrameKind::Malformed(why) => warn!(error = %why, "a frame is not read"),
            _ => {}
        }
        let mut waiting = records.drain(..);
        while let Some(record) = waiting.next() {
            let delivered: Result<(), IntakeClosed> = tokio::select! {
                biased;
                delivered = router.record(record.clone()) => delivered,
                () = stopped(stop) => {
                    let rest = std::iter::once(record).chain(waiting);
                    rest.for_each(|record| router.last_record(record));
                    return End::Stopped;
                }
            };
            if delivered.is_err() {
                return End::Stopped;
            }
        }
    }
}

/// A record as it goes on: a part of the frame where it is one, else a copy.
fn bytes_of(frame: &Bytes, record: &[u8]) -> Bytes {
    if frame.as_ptr_range().contains(&record.as_ptr()) {
        frame.slice_ref(record)
    } else {
        Bytes::copy_from_slice(record)
    }
}
