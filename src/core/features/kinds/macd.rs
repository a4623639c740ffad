//! Moving average convergence and divergence (Appel).
//!
//! Owns the lines of MACD: the difference of a fast and a slow exponential moving average of close,
//! the average of that difference (the signal), the difference of the two (the histogram), and the
//! first in per cent of the slow average, which is the same at every level of price. Averages are
//! those of `ema(n)`.

use super::average::{WARM_UP_SPANS, weight};
use super::{Memory, follow, read};
use crate::core::domain::{Field, Reject, Step};

/// One line of MACD; spans in steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) struct Macd {
    pub(in crate::core::features) fast: u32,
    pub(in crate::core::features) slow: u32,
    pub(in crate::core::features) line: Line,
}

/// Which line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) enum Line {
    /// Fast average less slow average, in the price's unit.
    Difference,
    /// The same in per cent of the slow average.
    Percentage,
    /// The average of the difference, in the price's unit.
    Signal {
        /// The span of that average.
        span: u32,
    },
    /// The difference less its signal, in the price's unit.
    Histogram {
        /// The span of the signal.
        span: u32,
    },
}

impl Macd {
    /// Fast average, slow average, signal; lines without a signal leave the third at zero.
    pub(super) const SLOTS: usize = 3;

    fn signal_span(self) -> Option<u32> {
        match self.line {
            Line::Difference | Line::Percentage => None,
            Line::Signal { span } | Line::Histogram { span } => Some(span),
        }
    }

    /// The slow average's, and behind it the signal's.
    pub(super) fn warm_up_steps(self) -> u64 {
        WARM_UP_SPANS * (u64::from(self.slow) + self.signal_span().map_or(0, u64::from))
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let close = read(step, Field::CLOSE)?;
        let slots = memory.slots();
        let average = |slot: usize, span| {
            if memory.is_first() { close } else { follow(slots[slot], close, weight(span)) }
        };
        let (fast, slow) = (average(0, self.fast), average(1, self.slow));
        memory.set(0, fast);
        memory.set(1, slow);
        let difference = fast - slow;
        let mut signal = |span| {
            // The first difference is zero, and so is the slot before the first step.
            let signal = follow(slots[2], difference, weight(span));
            memory.set(2, signal);
            signal
        };
        Ok(match self.line {
            Line::Difference => difference,
            Line::Percentage => difference / slow * 100.0,
            Line::Signal { span } => signal(span),
            Line::Histogram { span } => difference - signal(span),
        })
    }
}
