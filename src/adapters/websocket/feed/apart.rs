//! The symbols of a share that the venue does not take, kept apart from the others.
//!
//! Owns which symbols these are, why, and when each is tried again. Promises that the knowledge
//! outlives a connection, so that the next one does not search for the same symbols again, and that
//! the waits double from half of the longest wait between two attempts to connect up to eight times
//! that wait. Never sends or reads a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::health::Subscription;

/// The longest wait before a symbol is tried again, as a multiple of the longest wait between two
/// attempts to connect.
const WAIT_FACTOR_MAX: u32 = 8;

/// The symbols that are kept apart, each in the message that it was refused in.
#[derive(Debug)]
pub(super) struct Apart {
    wait_min: Duration,
    symbols: BTreeMap<(usize, String), Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    fault: Subscription,
    attempts: u32,
    retry_at: Duration,
}

impl Apart {
    /// No symbols. `backoff_max` is the longest wait between two attempts to connect.
    pub(super) fn new(backoff_max: Duration) -> Self {
        Self { wait_min: backoff_max / 2, symbols: BTreeMap::new() }
    }

    /// A symbol was refused, or left without an answer, in a message of its own. Returns when to
    /// try it again.
    pub(super) fn put(
        &mut self,
        template: usize,
        symbol: &str,
        fault: Subscription,
        now: Duration,
    ) -> Duration {
        let entry = self.symbols.entry((template, symbol.to_owned())).or_insert(Entry {
            fault,
            attempts: 0,
            retry_at: now,
        });
        let factor = 2u32.saturating_pow(entry.attempts).min(2 * WAIT_FACTOR_MAX);
        let retry_at = now + self.wait_min * factor;
        *entry = Entry { fault, attempts: entry.attempts.saturating_add(1), retry_at };
        retry_at
    }

    /// The venue takes a symbol after all; returns whether it was kept apart.
    pub(super) fn release(&mut self, template: usize, symbol: &str) -> bool {
        self.symbols.remove(&(template, symbol.to_owned())).is_some()
    }

    /// Why a symbol is kept apart and when it is tried again.
    pub(super) fn of(&self, template: usize, symbol: &str) -> Option<(Subscription, Duration)> {
        let entry = self.symbols.get(&(template, symbol.to_owned()))?;
        Some((entry.fault, entry.retry_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_eight_times_the_longest_and_begin_again_after_a_release() {
        let seconds = Duration::from_secs;
        let mut apart = Apart::new(seconds(30));
        let put = |apart: &mut Apart| apart.put(0, "X", Subscription::Refused, seconds(1000));
        let waits: Vec<_> = (0..7).map(|_| put(&mut apart).as_secs() - 1000).collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 240, 240]);
        assert_eq!(apart.of(0, "X"), Some((Subscription::Refused, seconds(1240))));
        assert_eq!(apart.of(1, "X"), None, "another message may name it");
        assert!(apart.release(0, "X") && !apart.release(0, "X"));
        assert_eq!(put(&mut apart).as_secs(), 1015);
    }
}
