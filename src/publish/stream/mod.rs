//! The live stream: every forecast to every subscriber, as it is made.
//!
//! Owns the ring between the engine and the subscribers, and the life of each subscriber from its
//! handshake to its close. Promises that publishing never waits, that memory is bounded by one ring
//! and one small buffer per subscriber, that a subscriber gets every record it asked for in order
//! or is cut and counted (policy `cut`), and that each message is exactly the record's bytes. Never
//! looks into a record.

mod subscription;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::{Semaphore, broadcast};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

pub use subscription::{Subscription, limits};

use crate::domain::{Symbol, SymbolError};

/// Symbols in one filter; whoever wants more takes all.
const FILTER_SYMBOLS_MAX: usize = 1024;

/// How much the stream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Subscribers at once.
    pub subscribers_max: usize,
    /// How many records a subscriber may lag behind before it is cut; rounded up to a power of
    /// two. The ring holds this many records, once for all subscribers.
    pub lag_records_max: usize,
}

/// How patient the stream is with a subscriber.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// The time between the peer's last sign of life and the next ping.
    ping_every: Duration,
    /// How long it may take to answer.
    answer_within: Duration,
    /// How long it may read nothing while its buffer is full.
    write_within: Duration,
    /// How long it may take to answer a close.
    close_within: Duration,
}

/// The metrics of the stream.
#[derive(Clone, Debug)]
pub struct StreamMetrics {
    subscribers: IntGauge,
    sent: IntCounter,
    cut: IntCounter,
    refused: IntCounter,
}

/// Which symbols a subscriber wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SymbolFilter {
    /// Every one.
    All,
    /// These alone.
    Only(HashSet<Symbol>),
}

/// Why a text is not a list of symbols.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Something that is no symbol.
    #[error("symbols: {0}")]
    Symbol(#[from] SymbolError),
    /// A list that is too long.
    #[error("symbols: at most {FILTER_SYMBOLS_MAX}; leave the filter out for all")]
    TooMany,
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// All places are taken.
    #[error("too many subscribers")]
    Full,
    /// The process is stopping.
    #[error("the stream has ended")]
    Finished,
}

/// The engine's end of the stream; cloning shares it.
#[derive(Clone)]
pub struct StreamHub {
    shared: Arc<Shared>,
}

struct Shared {
    ring: broadcast::Sender<Item>,
    finished: AtomicBool,
    places: Arc<Semaphore>,
    patience: Patience,
    metrics: StreamMetrics,
}

/// What goes through the ring.
#[derive(Clone)]
enum Item {
    Forecast {
        symbol: Symbol,
        message: Message,
    },
    /// Nothing follows.
    End,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(20),
            answer_within: Duration::from_secs(10),
            write_within: Duration::from_secs(10),
            close_within: Duration::from_secs(2),
        }
    }
}

impl StreamMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let subscribers =
            IntGauge::new("tickcast_stream_subscribers", "Subscribers of the stream now.")?;
        registry.register(Box::new(subscribers.clone()))?;
        Ok(Self {
            subscribers,
            sent: counter(
                "tickcast_stream_sent_total",
                "Forecasts sent, to all subscribers together.",
            )?,
            cut: counter(
                "tickcast_stream_cut_total",
                "Subscribers cut: too slow, or without an answer to a ping.",
            )?,
            refused: counter(
                "tickcast_stream_refused_total",
                "Subscribers refused: no place left, stopping, or a foreign web origin.",
            )?,
        })
    }
}

impl SymbolFilter {
    /// Reads `AAPL,MSFT`; an empty text is no filter.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        if text.split(',').count() > FILTER_SYMBOLS_MAX {
            return Err(FilterError::TooMany);
        }
        let symbols = text.split(',').map(Symbol::new).collect::<Result<_, _>>()?;
        Ok(Self::Only(symbols))
    }

    fn wants(&self, symbol: &Symbol) -> bool {
        match self {
            Self::All => true,
            Self::Only(symbols) => symbols.contains(symbol),
        }
    }
}

impl StreamHub {
    /// A stream without subscribers.
    pub fn new(limits: StreamLimits, metrics: StreamMetrics) -> Self {
        Self::with_patience(limits, Patience::default(), metrics)
    }

    fn with_patience(limits: StreamLimits, patience: Patience, metrics: StreamMetrics) -> Self {
        let StreamLimits { subscribers_max, lag_records_max } = limits;
        let shared = Shared {
            // A ring holds at least one record.
            ring: broadcast::Sender::new(lag_records_max.max(1)),
            finished: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(subscribers_max.min(Semaphore::MAX_PERMITS))),
            patience,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Hands one record to every subscriber that wants it. Never waits; needs no runtime.
    pub fn publish(&self, symbol: &Symbol, record: Bytes) {
        if self.shared.ring.receiver_count() == 0 {
            return;
        }
        // Checked once here, so that no subscriber checks it again. A record that is no text
        // still goes out as it is.
        let message = Utf8Bytes::try_from(record.clone())
            .map_or_else(|_| Message::Binary(record), Message::Text);
        // An error means that the last subscriber has just left.
        let _ = self.shared.ring.send(Item::Forecast { symbol: symbol.clone(), message });
    }

    /// Ends the stream: every subscriber gets what is in the ring, then close 1001; new ones are
    /// refused.
    pub fn finish(&self) {
        if !self.shared.finished.swap(true, Ordering::SeqCst) {
            // An error means that there is nobody to tell.
            let _ = self.shared.ring.send(Item::End);
        }
    }

    /// Takes a place; records published from here on are for this subscriber.
    ///
    /// # Errors
    /// [`SubscribeError`]; the refusal is counted.
    pub fn subscribe(&self, filter: SymbolFilter) -> Result<Subscription, SubscribeError> {
        let place =
            Arc::clone(&self.shared.places).try_acquire_owned().map_err(|_| SubscribeError::Full);
        let outcome = place.and_then(|place| {
            let receiver = self.shared.ring.subscribe();
            // After subscribing, so that whoever is not refused sees the end in its ring.
            if self.shared.finished.load(Ordering::SeqCst) {
                return Err(SubscribeError::Finished);
            }
            Ok(Subscription::new(Arc::clone(&self.shared), receiver, filter, place))
        });
        outcome.inspect_err(|_| self.count_refusal())
    }

    /// Counts a subscriber that was refused before it asked for a place.
    pub fn count_refusal(&self) {
        self.shared.metrics.refused.inc();
    }
}
