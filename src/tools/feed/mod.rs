//! Recorded data as a live feed: a WebSocket server, or a Kafka topic.
//!
//! Owns a recording in memory, its pace, a server that plays it to every subscriber from the
//! beginning and answers questions about the past, and a player that writes it to a topic once.
//! Promises every record's own bytes, one message each, in event-time order, bad records included.
//! Never decodes a tick: it peeks at symbol and time.

mod history;
mod pace;
mod questions;
mod recording;
mod server;
#[cfg(feature = "kafka")]
mod topic;

#[cfg(test)]
mod tests;

pub use pace::{Pace, PaceError};
pub use recording::{Order, Recording, RecordingError, Selection};
pub use server::{ENDING, FeedError, FeedServer, SUBSCRIBERS_MAX, WhenDone};
#[cfg(feature = "kafka")]
pub use topic::play;

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crate::core::domain::UnixNanos;

/// How far a feed is, for whoever looks on. Loads are relaxed: each number stands for itself.
#[derive(Debug)]
pub struct Progress {
    subscribers: AtomicUsize,
    ticks_sent: AtomicU64,
    event_nanos: AtomicI64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            subscribers: AtomicUsize::new(0),
            ticks_sent: AtomicU64::new(0),
            event_nanos: AtomicI64::new(i64::MIN),
        }
    }
}

impl Progress {
    /// How many subscribers are connected.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// How many ticks were sent, to all subscribers together.
    pub fn ticks_sent(&self) -> u64 {
        self.ticks_sent.load(Ordering::Relaxed)
    }

    /// The event time that the last subscriber served has reached.
    pub fn event_time(&self) -> Option<UnixNanos> {
        let nanos = self.event_nanos.load(Ordering::Relaxed);
        (nanos != i64::MIN).then(|| UnixNanos::from_nanos(nanos))
    }

    fn sent(&self, event_time: Option<UnixNanos>) {
        self.ticks_sent.fetch_add(1, Ordering::Relaxed);
        if let Some(time) = event_time {
            self.event_nanos.store(time.as_nanos(), Ordering::Relaxed);
        }
    }
}
