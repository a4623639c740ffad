//! The exponential moving average of close, and close against it.
//!
//! Owns `ema(n)` and `ema_gap(n)`: weight `2 / (n + 1)`, begun with the first close, which is the
//! `ewm(span=n, adjust=False)` of pandas. The mean has no end: a first close never leaves it, it
//! fades. So the warm-up is long enough that it hardly counts, or a model fitted on years of
//! history would meet other numbers in a daemon that started this morning.

use super::{Memory, follow, read};
use crate::core::domain::{Field, Reject, Step};

/// Four spans: the first close then weighs at most `exp(-8)`, 0.034 %, for every span, because
/// `ln((n - 1) / (n + 1)) <= -2 / n`.
pub(super) const WARM_UP_SPANS: u64 = 4;

/// The exponential moving average of close, as itself or as a yardstick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) enum Average {
    /// The average, in the price's unit.
    Ema {
        /// The span, n.
        span: u32,
    },
    /// `close / average - 1`, a fraction: the same at every level of price.
    Gap {
        /// The span, n.
        span: u32,
    },
}

/// The weight of the newest input under a span.
pub(super) fn weight(span: u32) -> f64 {
    2.0 / (f64::from(span) + 1.0)
}

impl Average {
    pub(super) const SLOTS: usize = 1;

    fn span(self) -> u32 {
        match self {
            Self::Ema { span } | Self::Gap { span } => span,
        }
    }

    pub(super) fn warm_up_steps(self) -> u64 {
        WARM_UP_SPANS * u64::from(self.span())
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let close = read(step, Field::CLOSE)?;
        let average = if memory.is_first() {
            close
        } else {
            follow(memory.slots()[0], close, weight(self.span()))
        };
        memory.set(0, average);
        Ok(match self {
            Self::Ema { .. } => average,
            Self::Gap { .. } => close / average - 1.0,
        })
    }
}
