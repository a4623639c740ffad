//! The live stream: one ring that any number of subscribers read at their own pace.
//!
//! Owns the ring and the count of subscribers. Promises that publishing never waits, that memory
//! is bounded by the ring whatever subscribers do, and that a subscriber that falls off the ring
//! is told so instead of missing records silently. Never names a socket: `http` does.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::domain::Symbol;

/// The bounds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// The most subscribers at a time.
    pub subscribers_max: usize,
    /// How far a subscriber may fall behind, in records; rounded up to a power of two.
    pub lag_records_max: usize,
}

/// The metrics of the stream.
#[derive(Clone, Debug)]
pub struct StreamMetrics {
    subscribers: IntGauge,
    sent: IntCounter,
    cut: IntCounter,
    refused: IntCounter,
}

/// The stream; cloning shares it.
#[derive(Clone, Debug)]
pub struct StreamHub {
    ring: broadcast::Sender<Event>,
    places: Arc<Semaphore>,
    metrics: StreamMetrics,
}

/// What goes through the ring.
#[derive(Clone, Debug)]
enum Event {
    Record(Symbol, Bytes),
    /// Nothing follows.
    End,
}

/// One subscriber's place and position in the ring.
#[derive(Debug)]
pub struct Subscription {
    ring: broadcast::Receiver<Event>,
    symbols: Option<HashSet<String>>,
    metrics: StreamMetrics,
    _place: OwnedSemaphorePermit,
}

/// What a subscriber gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One forecast.
    Record(Bytes),
    /// So many records were missed: the subscriber is too slow and must be cut.
    Missed(u64),
    /// The stream has ended.
    End,
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
        let subscribers = IntGauge::new("tickcast_stream_subscribers", "Subscribers now.")?;
        registry.register(Box::new(subscribers.clone()))?;
        Ok(Self {
            subscribers,
            sent: counter("tickcast_stream_sent_total", "Records sent, over all subscribers.")?,
            cut: counter("tickcast_stream_cut_total", "Subscribers cut because they were slow.")?,
            refused: counter(
                "tickcast_stream_refused_total",
                "Subscribers refused because publish.subscribers_max was reached.",
            )?,
        })
    }

    /// Counts records that were sent.
    pub fn sent(&self, count: u64) {
        self.sent.inc_by(count);
    }

    /// Counts a subscriber that was cut.
    pub fn cut(&self) {
        self.cut.inc();
    }
}

impl StreamHub {
    /// A stream without subscribers.
    pub fn new(limits: StreamLimits, metrics: StreamMetrics) -> Self {
        let (ring, _) = broadcast::channel(limits.lag_records_max.max(1));
        let places = Arc::new(Semaphore::new(limits.subscribers_max));
        Self { ring, places, metrics }
    }

    /// Hands a record to every subscriber; never waits.
    pub fn publish(&self, symbol: &Symbol, record: Bytes) {
        // An error means that nobody listens, which is fine.
        let _ = self.ring.send(Event::Record(symbol.clone(), record));
    }

    /// Takes a place in the stream, for some symbols or all; `None` where all places are taken.
    pub fn subscribe(&self, symbols: Option<HashSet<String>>) -> Option<Subscription> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.refused.inc();
            return None;
        };
        let (ring, metrics) = (self.ring.subscribe(), self.metrics.clone());
        metrics.subscribers.inc();
        Some(Subscription { ring, symbols, metrics, _place: place })
    }

    /// Ends the stream: every subscriber gets what is in the ring, then the end.
    pub fn finish(&self) {
        // An error means that nobody listens, which is fine.
        let _ = self.ring.send(Event::End);
    }
}

impl Subscription {
    /// Waits for what comes next. Cancel safe.
    pub async fn next(&mut self) -> Delivery {
        loop {
            let event = match self.ring.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(count)) => return Delivery::Missed(count),
                Err(RecvError::Closed) => Event::End,
            };
            if let Some(delivery) = self.select(event) {
                return delivery;
            }
        }
    }

    /// What is there already, if anything.
    pub fn try_next(&mut self) -> Option<Delivery> {
        loop {
            let event = match self.ring.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Lagged(count)) => return Some(Delivery::Missed(count)),
                Err(TryRecvError::Closed) => Event::End,
                Err(TryRecvError::Empty) => return None,
            };
            if let Some(delivery) = self.select(event) {
                return Some(delivery);
            }
        }
    }

    /// The metrics that this subscriber's fate counts in.
    pub fn metrics(&self) -> &StreamMetrics {
        &self.metrics
    }

    fn select(&self, event: Event) -> Option<Delivery> {
        match event {
            Event::End => Some(Delivery::End),
            Event::Record(symbol, record) => {
                let wanted =
                    self.symbols.as_ref().is_none_or(|symbols| symbols.contains(symbol.as_str()));
                wanted.then_some(Delivery::Record(record))
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.metrics.subscribers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(subscribers_max: usize, lag_records_max: usize) -> StreamHub {
        let metrics = StreamMetrics::register(&Registry::new()).unwrap();
        StreamHub::new(StreamLimits { subscribers_max, lag_records_max }, metrics)
    }

    fn publish(hub: &StreamHub, symbol: &str, text: &'static str) {
        hub.publish(&Symbol::new(symbol).unwrap(), Bytes::from_static(text.as_bytes()));
    }

    fn record(text: &'static str) -> Delivery {
        Delivery::Record(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_filter_passes_its_symbols_in_order_and_the_end() {
        let hub = hub(2, 16);
        let mut all = hub.subscribe(None).unwrap();
        let mut some = hub.subscribe(Some(HashSet::from(["B".to_owned()]))).unwrap();
        for (symbol, text) in [("A", "1"), ("B", "2"), ("C", "3"), ("B", "4")] {
            publish(&hub, symbol, text);
        }
        hub.finish();
        for expected in [record("1"), record("2"), record("3"), record("4"), Delivery::End] {
            assert_eq!(all.next().await, expected);
        }
        assert_eq!(some.try_next(), Some(record("2")));
        assert_eq!(some.try_next(), Some(record("4")));
        assert_eq!(some.try_next(), Some(Delivery::End));
        assert_eq!(some.try_next(), None);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_and_the_others_miss_nothing() {
        let hub = hub(2, 4);
        let (mut slow, mut quick) = (hub.subscribe(None).unwrap(), hub.subscribe(None).unwrap());
        for _ in 0..6 {
            publish(&hub, "A", "x");
            assert_eq!(quick.next().await, record("x"));
        }
        assert_eq!(slow.next().await, Delivery::Missed(2));
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let hub = hub(1, 4);
        let first = hub.subscribe(None).unwrap();
        assert!(hub.subscribe(None).is_none());
        assert_eq!((hub.metrics.subscribers.get(), hub.metrics.refused.get()), (1, 1));
        drop(first);
        assert!(hub.subscribe(None).is_some());
        assert_eq!(hub.metrics.subscribers.get(), 0);
    }
}
