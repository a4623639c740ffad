//! The relative strength index (Wilder).
//!
//! Owns `rsi(n)`: `100 * gain / (gain + loss)`, where gain and loss are Wilder's running means
//! (weight `1 / n`) of the rises and falls of close, begun with the first of each: the
//! `ewm(alpha=1/n, adjust=False)` of pandas. Where close never moved it is 50.

use super::{Memory, follow, read};
use crate::core::domain::{Field, Reject, Step};

/// Eight periods: the first move then weighs at most `exp(-8)`, 0.034 %, for every period, because
/// `ln(1 - 1 / n) <= -1 / n`. One step more, for the close before the first move.
const WARM_UP_PERIODS: u64 = 8;

/// The relative strength index, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) struct Rsi {
    /// The period, n, in steps.
    pub(in crate::core::features) period: u32,
}

impl Rsi {
    /// Previous close, mean gain, mean loss.
    pub(super) const SLOTS: usize = 3;

    pub(super) fn warm_up_steps(self) -> u64 {
        WARM_UP_PERIODS * u64::from(self.period) + 1
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let close = read(step, Field::CLOSE)?;
        let slots = memory.slots();
        let change = close - slots[0];
        let (rise, fall) = if change > 0.0 { (change, 0.0) } else { (0.0, -change) };
        let (gain, loss) = match memory.steps() {
            // No move yet.
            0 => (0.0, 0.0),
            1 => (rise, fall),
            _ => {
                let weight = 1.0 / f64::from(self.period);
                (follow(slots[1], rise, weight), follow(slots[2], fall, weight))
            }
        };
        memory.set(0, close);
        memory.set(1, gain);
        memory.set(2, loss);
        let moves = gain + loss;
        Ok(if moves > 0.0 { 100.0 * (gain / moves) } else { 50.0 })
    }
}
