//! What each symbol's share of the feed is doing, and how each symbol is subscribed, for whoever
//! wants to know.
//!
//! Owns the newest state of each share and of each subscription. Promises an answer at once, from
//! any thread, without a lock. Never decides what a state is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::feed::FeedState;
use crate::core::domain::Symbol;
use crate::core::health::{ExpectedSymbols, Subscription};
use crate::core::venue::{Answers, ConnectionPlan, Venue};

/// The state of every symbol's share and subscription; cloning shares it.
#[derive(Clone, Debug)]
pub struct FeedHealth {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// By native symbol.
    share_of: HashMap<String, usize>,
    states: Vec<AtomicU8>,
    /// The symbols that the configuration names, each once.
    symbols: Vec<Configured>,
    /// The place of a symbol in that list, as the configuration names it.
    place_of: HashMap<String, usize>,
}

#[derive(Debug)]
struct Configured {
    symbol: Symbol,
    subscription: AtomicU8,
}

/// All states of a subscription, by their numbers.
const SUBSCRIPTIONS: [Subscription; 3] =
    [Subscription::Acknowledged, Subscription::Unacknowledged, Subscription::Refused];

impl FeedHealth {
    /// All shares of a venue, none of them connected.
    pub fn new(venue: &Venue) -> Self {
        let plans = venue.connections();
        let mut share_of = HashMap::new();
        let (mut symbols, mut place_of) = (Vec::new(), HashMap::new());
        for (share, plan) in plans.iter().enumerate() {
            for name in &plan.symbols {
                let native = venue.native_symbol(name);
                // Two names of one symbol have one place.
                let is_new = share_of.insert(native.clone(), share).is_none();
                let Some(symbol) = Symbol::new(&native).ok().filter(|_| is_new) else { continue };
                place_of.insert(name.clone(), symbols.len());
                let subscription = AtomicU8::new(first_state(venue, plan, name) as u8);
                symbols.push(Configured { symbol, subscription });
            }
        }
        let states = plans.iter().map(|_| AtomicU8::new(index_of(FeedState::Connecting))).collect();
        Self { shared: Arc::new(Shared { share_of, states, symbols, place_of }) }
    }

    /// The state of the connection that carries a native symbol; that of the only connection where
    /// the configuration names no symbols. `None` for a symbol that none is known to carry.
    pub fn of_symbol(&self, symbol: &str) -> Option<FeedState> {
        let Shared { share_of, states, .. } = &*self.shared;
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

    /// How many of the configured symbols have a subscription in a state.
    pub fn count_subscriptions(&self, state: Subscription) -> usize {
        let symbols = 0..self.shared.symbols.len();
        symbols.filter(|index| self.subscription(*index) == state).count()
    }

    /// Whether any connection stands and is subscribed.
    pub fn is_connected(&self) -> bool {
        self.count(FeedState::Live) + self.count(FeedState::Quiet) > 0
    }

    pub(super) fn set(&self, share: usize, state: FeedState) {
        self.shared.states[share].store(index_of(state), Ordering::Relaxed);
    }

    /// Notes how the subscription of a symbol is, which is named as the configuration does it.
    pub(super) fn set_subscription(&self, name: &str, state: Subscription) {
        if let Some(place) = self.shared.place_of.get(name) {
            self.shared.symbols[*place].subscription.store(state as u8, Ordering::Relaxed);
        }
    }
}

impl ExpectedSymbols for FeedHealth {
    fn symbols(&self) -> Vec<Symbol> {
        self.shared.symbols.iter().map(|configured| configured.symbol.clone()).collect()
    }

    fn subscription(&self, index: usize) -> Subscription {
        let number = self.shared.symbols[index].subscription.load(Ordering::Relaxed);
        SUBSCRIPTIONS[usize::from(number)]
    }
}

/// How a subscription is before anything was sent: one that no message asks for, or that nobody
/// answers, needs no acknowledgment.
fn first_state(venue: &Venue, plan: &ConnectionPlan, name: &String) -> Subscription {
    let is_asked_for = plan.subscribe.iter().any(|message| message.symbols.contains(name));
    if is_asked_for && venue.answers() != Answers::None {
        Subscription::Unacknowledged
    } else {
        Subscription::Acknowledged
    }
}

fn index_of(state: FeedState) -> u8 {
    state as u8
}

fn state_of(index: &AtomicU8) -> FeedState {
    FeedState::ALL[usize::from(index.load(Ordering::Relaxed))]
}
