//! When the next request may go.
//!
//! Owns the venue's rate and its wish to be left alone. Promises that no more requests are under
//! way than the venue allows, that they go in the order in which they came, and that after a
//! complaint nothing goes before the time that the venue named, or, where it named none, before a
//! time that doubles with each complaint in a row. Never sends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use crate::core::venue::RestLimits;
use crate::net::gate::Gate;
use crate::ops::clock::TimerStopwatch;

/// The longest rest of our own choice.
const PENALTY_MAX: Duration = Duration::from_secs(60);

/// The pace of one venue.
pub(super) struct Pace {
    seats: Semaphore,
    clock: TimerStopwatch,
    state: Mutex<State>,
}

struct State {
    gate: Gate,
    held_until: Duration,
    /// Complaints in a row.
    complaints: u32,
}

impl Pace {
    pub(super) fn new(limits: RestLimits) -> Self {
        let gate = Gate::new(limits.requests);
        Self {
            seats: Semaphore::new(limits.at_once.max(1) as usize),
            clock: TimerStopwatch::start(),
            state: Mutex::new(State { gate, held_until: Duration::ZERO, complaints: 0 }),
        }
    }

    /// Waits for a turn, which lasts until it is dropped; `None` where that takes longer than
    /// `patience` because the venue wants to be left alone.
    pub(super) async fn turn(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let seat = self.seats.acquire().await.expect("the seats are never closed");
        loop {
            let wait = {
                let mut state = self.state();
                let now = self.clock.elapsed();
                if state.held_until.saturating_sub(now) > patience {
                    return None;
                }
                let ready = state.gate.ready_at(now);
                if ready <= now {
                    state.gate.take(now);
                    return Some(seat);
                }
                ready - now
            };
            sleep(wait).await;
        }
    }

    /// Notes an answer that is no complaint.
    pub(super) fn is_well(&self) {
        self.state().complaints = 0;
    }

    /// Notes a complaint, and how long the venue wants to be left alone; returns how long it is.
    pub(super) fn complained(&self, retry_after: Option<Duration>) -> Duration {
        let now = self.clock.elapsed();
        let mut state = self.state();
        let doubled = state.gate.penalty().saturating_mul(1 << state.complaints.min(16));
        let wait = retry_after.unwrap_or_else(|| doubled.min(PENALTY_MAX));
        state.complaints = state.complaints.saturating_add(1);
        state.hold_until(now.saturating_add(wait));
        wait
    }

    /// Lets nothing go for so long, because the venue asks for it without a complaint.
    pub(super) fn rest(&self, wait: Duration) {
        let until = self.clock.elapsed().saturating_add(wait);
        self.state().hold_until(until);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hold_until(&mut self, until: Duration) {
        self.gate.hold_until(until);
        self.held_until = self.held_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::venue::Rate;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(count: u32, at_once: u32) -> Pace {
        Pace::new(RestLimits { requests: Some(Rate { count, period: SECOND }), at_once })
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_go_at_once_or_in_a_period_than_the_venue_allows() {
        let pace = pace(2, 1);
        let clock = TimerStopwatch::start();
        let mut times = Vec::new();
        for _ in 0..5 {
            drop(pace.turn(SECOND).await.unwrap());
            times.push(clock.elapsed().as_millis());
        }
        // A tenth more than the period, and the timers of the runtime count whole milliseconds.
        let expected = [0, 0, 1100, 1100, 2200];
        assert!(times.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 3), "{times:?}");
        let first = pace.turn(SECOND).await.unwrap();
        let second = tokio::time::timeout(10 * SECOND, pace.turn(SECOND)).await;
        assert!(second.is_err(), "one is under way");
        drop(first);
        assert!(pace.turn(SECOND).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_complaint_nothing_goes_for_as_long_as_the_venue_wants() {
        let pace = pace(100, 4);
        let clock = TimerStopwatch::start();
        assert_eq!(pace.complained(Some(7 * SECOND)), 7 * SECOND);
        assert!(pace.turn(6 * SECOND).await.is_none(), "at once, without waiting");
        assert_eq!(clock.elapsed(), Duration::ZERO);
        assert!(pace.turn(8 * SECOND).await.is_some());
        assert!(clock.elapsed() >= 7 * SECOND);
        // Of its own choice it doubles, from the second complaint in a row on.
        pace.is_well();
        let waits: Vec<_> = (0..8).map(|_| pace.complained(None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
