//! How long to wait before the next attempt.
//!
//! Owns the rule: at once, then doubling up to a limit, with full jitter so that many clients do
//! not return in step. Promises never to exceed the limit. Never sleeps or reads a clock.

use std::time::Duration;

/// The upper end of the second wait; the first attempt after a loss is made at once.
const FIRST: Duration = Duration::from_millis(250);

/// Waits between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    limit: Duration,
    attempts: u32,
    seed: u64,
}

impl Backoff {
    /// Waits of at most `limit`; equal seeds give equal waits.
    pub fn new(limit: Duration, seed: u64) -> Self {
        Self { limit, attempts: 0, seed }
    }

    /// Begins anew; call it once a connection has proved itself, not when it merely stands.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        let Some(doublings) = attempt.checked_sub(1) else { return Duration::ZERO };
        let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
        FIRST.saturating_mul(factor).min(self.limit).mul_f64(self.draw())
    }

    /// A number in `[0, 1)` by SplitMix64 (Steele, Lea and Flood, 2014), whose constants these are.
    fn draw(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // The upper 53 bits are what a double holds exactly.
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_stay_below_their_doubling_bound(seed in any::<u64>(), limit_ms in 1u64..60_000) {
            let limit = Duration::from_millis(limit_ms);
            let mut backoff = Backoff::new(limit, seed);
            prop_assert_eq!(backoff.next_wait(), Duration::ZERO);
            for doublings in 0..40u32 {
                let bound = FIRST.saturating_mul(2u32.saturating_pow(doublings)).min(limit);
                prop_assert!(backoff.next_wait() <= bound);
            }
            backoff.reset();
            prop_assert_eq!(backoff.next_wait(), Duration::ZERO);
        }
    }

    #[test]
    fn waits_are_spread_over_their_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(1), 7);
        let mut waits: Vec<_> = (0..200).map(|_| backoff.next_wait()).skip(10).collect();
        waits.sort_unstable();
        assert!(waits[10] < Duration::from_millis(150), "{:?}", waits[10]);
        assert!(waits[180] > Duration::from_millis(850), "{:?}", waits[180]);
    }
}
