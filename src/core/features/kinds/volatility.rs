//! The volatility of the last returns.
//!
//! Owns `volatility(n)`: the sample standard deviation (divided by n - 1) of the last n log returns
//! of close, in the unit of a log return, per step.
//!
//! The deviation is computed anew from the n returns at every step, oldest first and in two passes,
//! at about two nanoseconds for each. A running sum would be cheaper for a long ring, but its last
//! bits would depend on all that ever passed through it; so they depend on the last n + 1 closes
//! and nothing else, and a daemon that starts today gives the bits of a history that began years
//! ago.

use super::{Memory, read};
use crate::core::domain::{Field, Reject, Step};

/// The standard deviation of the last log returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) struct Volatility {
    /// How many returns, n; at least two.
    pub(in crate::core::features) returns: u32,
}

impl Volatility {
    fn ring_len(self) -> usize {
        self.returns as usize
    }

    /// The previous close, then the ring: the return of step k stands at k modulo n.
    pub(super) fn slots(self) -> usize {
        1 + self.ring_len()
    }

    pub(super) fn warm_up_steps(self) -> u64 {
        u64::from(self.returns)
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let close = read(step, Field::CLOSE)?;
        let (previous, ring) = (memory.slots()[0], &memory.slots()[1..]);
        let newest = if memory.is_first() { 0.0 } else { libm::log(close / previous) };
        let place = (memory.steps() % u64::from(self.returns)) as usize;
        memory.set(0, close);
        memory.set(1 + place, newest);
        // The newest takes the place of the return that leaves; behind it stands the oldest left.
        let (newer, older) = (&ring[..place], &ring[place + 1..]);
        let returns = || older.iter().chain(newer).copied().chain([newest]);
        let count = f64::from(self.returns);
        let mean = returns().sum::<f64>() / count;
        let squares: f64 = returns().map(|r| (r - mean) * (r - mean)).sum();
        Ok((squares / (count - 1.0)).sqrt())
    }
}
