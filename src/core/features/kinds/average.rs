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
pub(in crate::core::features) struct Average {
    span: u32,
    /// That of the newest close. A division for each of many averages would be most of a row.
    weight: f64,
    form: AverageForm,
}

/// What is made of the average.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AverageForm {
    /// The average, in the price's unit.
    Ema,
    /// `close / average - 1`, a fraction: the same at every level of price.
    Gap,
}

/// The weight of the newest input under a span.
pub(super) fn weight(span: u32) -> f64 {
    2.0 / (f64::from(span) + 1.0)
}

impl Average {
    pub(super) const SLOTS: usize = 1;

    /// `ema(span)`.
    pub(in crate::core::features) fn ema(span: u32) -> Self {
        Self { span, weight: weight(span), form: AverageForm::Ema }
    }

    /// `ema_gap(span)`.
    pub(in crate::core::features) fn gap(span: u32) -> Self {
        Self { span, weight: weight(span), form: AverageForm::Gap }
    }

    pub(super) fn warm_up_steps(self) -> u64 {
        WARM_UP_SPANS * u64::from(self.span)
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let close = read(step, Field::CLOSE)?;
        let average =
            if memory.is_first() { close } else { follow(memory.slots()[0], close, self.weight) };
        memory.set(0, average);
        Ok(match self.form {
            AverageForm::Ema => average,
            AverageForm::Gap => close / average - 1.0,
        })
    }
}
