//! A stage's sign of life.
//!
//! Owns the counter that a stage moves and the supervisor reads. Promises to cost the stage two
//! plain stores. Never blocks and reads no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a stage says of itself; cloning shares it. Only one thread at a time may speak.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    count: AtomicU64,
    state: AtomicU64,
}

/// What a stage is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has nothing to do.
    Resting,
    /// It has something to do.
    Working,
    /// It waits for something outside that ends by itself within this time.
    Waiting(Duration),
}

/// The forms of [`State`] as one number; from [`WAITING`] on it is 2 + milliseconds.
const RESTING: u64 = 0;
const WORKING: u64 = 1;
const WAITING: u64 = 2;

impl Pulse {
    /// A stage that has nothing to do.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stage has come on, and has work.
    pub fn work(&self) {
        self.beat(WORKING);
    }

    /// The stage has come on, and has nothing to do.
    pub fn rest(&self) {
        self.beat(RESTING);
    }

    /// The stage has come on, and waits for something outside that ends by itself within `limit`.
    pub fn wait(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.beat(WAITING.saturating_add(millis));
    }

    fn beat(&self, state: u64) {
        let Beats { count, state: shown } = &*self.0;
        shown.store(state, Ordering::Relaxed);
        // One speaker at a time, so nothing is lost between the load and the store. Wrapping would
        // take centuries.
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How often the stage has spoken.
    #[cfg(test)]
    pub(crate) fn beats(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// How often the stage has spoken, and what it said last.
    pub(super) fn read(&self) -> (u64, State) {
        let state = match self.0.state.load(Ordering::Relaxed) {
            RESTING => State::Resting,
            WORKING => State::Working,
            waiting => State::Waiting(Duration::from_millis(waiting - WAITING)),
        };
        (self.0.count.load(Ordering::Relaxed), state)
    }
}
