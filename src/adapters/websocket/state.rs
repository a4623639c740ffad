//! What each symbol's share of the feed is doing, for whoever wants to know.
//!
//! Owns the newest state of each share. Promises an answer at once, from any thread, without a
//! lock. Never decides what a state is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::feed::FeedState;
use crate::core::venue::Venue;

/// The state of every symbol's share; cloning shares it.
#[derive(Clone, Debug)]
pub struct FeedHealth {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// By native symbol.
    share_of: HashMap<String, usize>,
    states: Vec<AtomicU8>,
}

impl FeedHealth {
    /// All shares of a venue, none of them connected.
    pub fn new(venue: &Venue) -> Self {
        let plans = venue.connections();
        let of_plan = |(share, plan): (usize, &crate::core::venue::ConnectionPlan)| {
            let native = |symbol: &String| (venue.native_symbol(symbol), share);
            plan.symbols.iter().map(native).collect::<Vec<_>>()
        };
        let share_of = plans.iter().enumerate().flat_map(of_plan).collect();
        let states = plans.iter().map(|_| AtomicU8::new(index_of(FeedState::Connecting))).collect();
        Self { shared: Arc::new(Shared { share_of, states }) }
    }

    /// The state of the connection that carries a native symbol; that of the only connection where
    /// the configuration names no symbols. `None` for a symbol that none is known to carry.
    pub fn of_symbol(&self, symbol: &str) -> Option<FeedState> {
        let Shared { share_of, states } = &*self.shared;
        let share = match share_of.get(symbol) {
            Some(share) => *share,
            None if states.len() == 1 && share_of.is_empty() => 0,
            None => return None,
        };
        Some(state_of(&states[share]))
    }

    /// How many shares are in a state.
    pub fn count(&self, state: FeedState) -> usize {
        self.shared.states.iter().filter(|of| state_of(of) == state).count()
    }

    /// Whether any connection stands and is subscribed.
    pub fn is_connected(&self) -> bool {
        self.count(FeedState::Live) + self.count(FeedState::Quiet) > 0
    }

    pub(super) fn set(&self, share: usize, state: FeedState) {
        self.shared.states[share].store(index_of(state), Ordering::Relaxed);
    }
}

fn index_of(state: FeedState) -> u8 {
    state as u8
}

fn state_of(index: &AtomicU8) -> FeedState {
    FeedState::ALL[usize::from(index.load(Ordering::Relaxed))]
}
