//! How often something may be done.
//!
//! Owns the times of what was done lately. Promises that no period of the rate's length, nor one a
//! tenth longer, holds more than the rate allows: the venue counts by its own clock, on a network
//! that bunches. Never holds more times than the rate has room for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::venue::Rate;

/// Lets so many through in a period.
#[derive(Clone, Debug)]
pub struct Gate {
    rate: Option<Rate>,
    taken: VecDeque<Duration>,
    held_until: Duration,
}

impl Gate {
    /// A gate through which nothing has gone; without a rate it is open unless it is held.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, taken: VecDeque::new(), held_until: Duration::ZERO }
    }

    /// The earliest time, `now` or later, at which one more may go.
    pub fn ready_at(&self, now: Duration) -> Duration {
        let free = now.max(self.held_until);
        let Some(rate) = self.rate else { return free };
        let count = rate.count.max(1) as usize;
        let Some(oldest) = self.taken.len().checked_sub(count) else { return free };
        free.max(self.taken[oldest].saturating_add(rate.period + rate.period / 10))
    }

    /// Notes that one goes now.
    pub fn take(&mut self, now: Duration) {
        let Some(rate) = self.rate else { return };
        if self.taken.len() >= rate.count.max(1) as usize {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }

    /// Lets nobody through until then.
    pub fn hold_until(&mut self, until: Duration) {
        self.held_until = self.held_until.max(until);
    }

    /// How long one has to wait after the venue has said that too much was asked.
    pub fn penalty(&self) -> Duration {
        self.rate.map_or(Duration::from_secs(1), |rate| rate.period).max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_period_holds_more_than_the_rate_allows(
            count in 1u32..6,
            period_ms in 10u64..2000,
            waits in proptest::collection::vec(0u64..300, 1..80),
        ) {
            let period = Duration::from_millis(period_ms);
            let mut gate = Gate::new(Some(Rate { count, period }));
            let (mut now, mut taken) = (Duration::ZERO, Vec::new());
            for wait in waits {
                now = gate.ready_at(now + Duration::from_millis(wait));
                gate.take(now);
                taken.push(now);
            }
            for (index, time) in taken.iter().enumerate() {
                let within = taken[index..].iter().take_while(|later| **later < *time + period);
                prop_assert!(within.count() <= count as usize);
            }
        }
    }

    #[test]
    fn a_gate_without_a_rate_is_open_and_can_be_held() {
        let mut gate = Gate::new(None);
        let at = Duration::from_secs;
        gate.take(at(1));
        assert_eq!(gate.ready_at(at(1)), at(1));
        gate.hold_until(at(9));
        gate.hold_until(at(5));
        assert_eq!((gate.ready_at(at(1)), gate.ready_at(at(10))), (at(9), at(10)));
    }
}
