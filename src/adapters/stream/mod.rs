//! The live stream: every forecast, or every score, to every subscriber, as it is made.
//!
//! Owns the ring between the engine and the subscribers, and the life of each subscriber from its
//! handshake to its close. Promises that publishing waits for no subscriber, that memory is bounded
//! by one ring and one small buffer per subscriber, and that a subscriber gets every record it
//! asked for in order, or is cut and counted (policy `cut`), or is told how many it missed and gets
//! the newest of each symbol (policy `conflate`). A message is exactly the record's bytes, or, for
//! whoever asks for envelopes, has them inside. Never looks into a record.

mod outlet;
mod places;
mod ring;
mod settings;
mod sink;
mod subscription;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

pub use settings::{StreamSettings, read};
pub use subscription::{Subscription, limits};
#[cfg(feature = "echo")]
pub(super) use subscription::{close_frame, part};

use self::outlet::Outlets;
use self::places::{NoPlace, Places};
use self::ring::{Kept, Progress, Ring};
use self::subscription::LATEST_SYMBOLS_MAX;
use crate::core::domain::{Symbol, SymbolError};
use crate::engine::pipeline::Role;

/// Symbols in one filter; whoever wants more takes all.
const FILTER_SYMBOLS_MAX: usize = 1024;

/// How much the stream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Subscribers at once; 0 for no stream, which then costs nothing.
    pub subscribers_max: usize,
    /// The same from one address.
    pub subscribers_per_address_max: usize,
    /// How many records a subscriber may lag behind before it is cut, and how many it may have
    /// missed when it comes again. The ring holds this many records, once for all subscribers.
    pub lag_records_max: usize,
    /// Symbols of which the newest record is kept for whoever comes.
    pub symbols_max: usize,
}

/// What tells this stream from that of another process or an earlier run: numbers of records mean
/// nothing without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(pub u64);

/// What a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Forecasts.
    Forecasts,
    /// Scores, of live models and of shadows.
    Scores,
}

/// What a subscriber asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which symbols.
    pub filter: SymbolFilter,
    /// Whether the newest record of each symbol comes first.
    pub snapshot: bool,
    /// Whether records come in envelopes with their numbers, and notices between them.
    pub envelope: bool,
    /// The last record that the subscriber has: it goes on behind it, where that is still known.
    pub after: Option<(StreamId, u64)>,
    /// What becomes of it when it is too slow.
    pub when_slow: WhenSlow,
    /// Whose forecasts: those of the live models or of the shadows.
    pub role: Role,
    /// Forecasts or scores.
    pub records: Records,
}

/// What becomes of a subscriber that lags past the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSlow {
    /// It is cut: whoever stays misses nothing.
    Cut,
    /// It is told how many records it missed and goes on from the newest of each symbol.
    Conflate,
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
    conflated: IntCounter,
    refused: IntCounter,
    unlisted: IntCounter,
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
    /// All places that one address may have are taken.
    #[error("too many subscribers from your address")]
    AddressFull,
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
    id: StreamId,
    records: Records,
    /// Behind a lock and without an owner, because whoever publishes must not wait for a task to be
    /// scheduled; held for one push, or for a bounded look.
    ring: Mutex<Ring>,
    /// How far the ring has come, which wakes subscribers. It lies behind the ring while publishers
    /// write to every subscriber themselves.
    progress: watch::Sender<Progress>,
    outlets: Outlets,
    /// Nobody can come, so nothing is kept.
    closed: bool,
    places: Places,
    patience: Patience,
    metrics: StreamMetrics,
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
                "Forecasts and scores sent, to all subscribers together.",
            )?,
            cut: counter(
                "tickcast_stream_cut_total",
                "Subscribers cut: too slow, or without an answer to a ping.",
            )?,
            conflated: counter(
                "tickcast_stream_conflated_total",
                "Times that a slow subscriber was given the newest record of each symbol instead.",
            )?,
            refused: counter(
                "tickcast_stream_refused_total",
                "Subscribers refused: no place left, no token, a foreign web origin, or stopping.",
            )?,
            unlisted: counter(
                "tickcast_stream_unlisted_total",
                "Records not kept as the newest of their symbol, as there were too many symbols.",
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

    /// Asks for one symbol as well, whatever characters it has; where all were asked for, for this
    /// one alone.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn add(&mut self, symbol: &str) -> Result<(), FilterError> {
        let symbol = Symbol::new(symbol)?;
        match self {
            Self::All => *self = Self::Only([symbol].into()),
            Self::Only(symbols) => {
                symbols.insert(symbol);
                if symbols.len() > FILTER_SYMBOLS_MAX {
                    return Err(FilterError::TooMany);
                }
            }
        }
        Ok(())
    }

    /// Whether a symbol is among those asked for.
    pub fn wants(&self, symbol: &Symbol) -> bool {
        match self {
            Self::All => true,
            Self::Only(symbols) => symbols.contains(symbol),
        }
    }
}

impl Wish {
    /// Everything from now on, as bare records.
    pub fn all() -> Self {
        Self {
            filter: SymbolFilter::All,
            snapshot: false,
            envelope: false,
            after: None,
            when_slow: WhenSlow::Cut,
            role: Role::Live,
            records: Records::Forecasts,
        }
    }
}

impl Records {
    /// The word for one, as envelopes have it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Forecasts => "forecast",
            Self::Scores => "score",
        }
    }
}

impl StreamHub {
    /// A stream without subscribers.
    pub fn new(limits: StreamLimits, id: StreamId, metrics: StreamMetrics) -> Self {
        Self::with_patience(limits, id, Patience::default(), metrics)
    }

    fn with_patience(
        limits: StreamLimits,
        id: StreamId,
        patience: Patience,
        metrics: StreamMetrics,
    ) -> Self {
        let StreamLimits {
            subscribers_max,
            subscribers_per_address_max,
            lag_records_max,
            symbols_max,
        } = limits;
        let shared = Shared {
            id,
            records: Records::Forecasts,
            ring: Mutex::new(Ring::new(lag_records_max, symbols_max)),
            progress: watch::Sender::default(),
            outlets: Outlets::default(),
            closed: subscribers_max == 0,
            places: Places::new(subscribers_max, subscribers_per_address_max),
            patience,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether nobody can come, so that nothing is kept of what is published.
    pub fn is_closed(&self) -> bool {
        self.shared.closed
    }

    /// A stream of its own, whose subscribers share places and metrics with this one's: that of the
    /// shadows, or that of the scores.
    #[must_use]
    pub fn beside(&self, limits: StreamLimits, id: StreamId, records: Records) -> Self {
        let Shared { places, patience, metrics, closed, .. } = &*self.shared;
        let shared = Shared {
            id,
            records,
            ring: Mutex::new(Ring::new(limits.lag_records_max, limits.symbols_max)),
            progress: watch::Sender::default(),
            outlets: Outlets::default(),
            closed: *closed,
            places: places.clone(),
            patience: *patience,
            metrics: metrics.clone(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What it sends.
    pub fn records(&self) -> Records {
        self.shared.records
    }

    /// Hands one record of the only model to every subscriber that wants it. Waits for none; needs
    /// no runtime.
    pub fn publish(&self, symbol: &Symbol, record: Bytes) {
        self.publish_in(symbol, 0, record);
    }

    /// The same of one of several models; see
    /// [`Post::rank`](crate::engine::pipeline::Post::rank).
    pub fn publish_in(&self, symbol: &Symbol, rank: u16, record: Bytes) {
        self.push(symbol, rank, record);
        self.shared.announce();
    }

    /// Takes one record in without a word to anybody, for a publisher that has more of them.
    fn push(&self, symbol: &Symbol, rank: u16, record: Bytes) {
        if self.shared.closed {
            return;
        }
        self.keep(symbol, rank, Kept::Message(message_of(record)));
    }

    /// Takes one record in, in whatever form.
    fn keep(&self, symbol: &Symbol, rank: u16, kept: Kept) {
        if !self.shared.lock().push(symbol, rank, kept) {
            self.shared.metrics.unlisted.inc();
        }
    }

    /// Whether anybody listens.
    fn has_subscribers(&self) -> bool {
        self.shared.progress.receiver_count() > 0
    }

    /// The newest record of a symbol in a rank, or in the first that has one, as its bytes.
    pub fn newest(&self, symbol: &Symbol, rank: Option<u16>) -> Option<Bytes> {
        let ring = self.shared.lock();
        let newest = ring.newest_of(symbol, rank).cloned();
        // It may still have to be encoded, which publishers do not wait for.
        drop(ring);
        newest.map(|kept| kept.message().into_data())
    }

    /// Hands every symbol and the way to its newest record to `look`, in no order: that in a rank,
    /// or in the first that has one. Publishers wait for no more than a slice of it.
    pub fn each_newest(
        &self,
        rank: Option<u16>,
        mut look: impl FnMut(&Symbol, &dyn Fn() -> Bytes),
    ) {
        let (mut place, mut slice) = (Some(0), Vec::new());
        while let Some(from) = place {
            let keep = |symbol: &Symbol, kept: &Kept| slice.push((symbol.clone(), kept.clone()));
            place = self.shared.lock().each_newest(from, LATEST_SYMBOLS_MAX, rank, keep);
            for (symbol, kept) in slice.drain(..) {
                look(&symbol, &|| kept.message().into_data());
            }
        }
    }

    /// Ends the stream: every subscriber gets what is in the ring, then close 1001; new ones are
    /// refused.
    pub fn finish(&self) {
        self.shared.lock().finish();
        self.shared.wake();
    }

    /// Takes a place for a peer at `address`; records published from here on are for it.
    ///
    /// # Errors
    /// [`SubscribeError`]; the refusal is counted.
    pub fn subscribe(&self, wish: Wish, address: IpAddr) -> Result<Subscription, SubscribeError> {
        let place = self.shared.places.take(address).map_err(|refusal| match refusal {
            NoPlace::Full => SubscribeError::Full,
            NoPlace::AddressFull => SubscribeError::AddressFull,
        });
        let outcome = place.and_then(|place| {
            let progress = self.shared.progress.subscribe();
            self.shared.wake();
            if progress.borrow().finished {
                return Err(SubscribeError::Finished);
            }
            Ok(Subscription::new(Arc::clone(&self.shared), progress, wish, place))
        });
        outcome.inspect_err(|_| self.count_refusal())
    }

    /// Counts a subscriber that was refused before it asked for a place.
    pub fn count_refusal(&self) {
        self.shared.metrics.refused.inc();
    }
}

/// What is sent of a record's bytes. Checked once here, so that no subscriber checks it again. A
/// record that is no text still goes out as it is.
fn message_of(record: Bytes) -> Message {
    Utf8Bytes::try_from(record.clone()).map_or_else(|_| Message::Binary(record), Message::Text)
}

impl Shared {
    /// Brings the newest records to subscribers: writes to those whose task has nothing to do, and
    /// wakes the others.
    fn announce(&self) {
        // A wake-up without subscribers costs as much as all the rest. A subscriber looks at the
        // ring after it is counted here, so it knows of the records before it or is woken by them.
        let subscribers = self.progress.receiver_count();
        if subscribers > 0 && !self.outlets.write(subscribers, &self.ring, &self.metrics) {
            self.wake();
        }
    }

    /// Wakes subscribers that have something to do.
    fn wake(&self) {
        let now = self.lock().progress();
        // Another publisher may have been further along and faster.
        self.progress.send_modify(|shown| {
            shown.newest = shown.newest.max(now.newest);
            shown.finished |= now.finished;
        });
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // A record is pushed in steps that leave the ring whole, so what a panicking holder leaves
        // can be read on.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl std::str::FromStr for StreamId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}
