//! Where a step stands in the day, the week and the year, in UTC.
//!
//! Owns the cycles. Promises that they follow from the step's own time alone. Never knows a time
//! zone or a holiday: what a market's clock does twice a year shows here as a shift of an hour.

use std::f64::consts::TAU;

use crate::core::domain::UnixNanos;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
const WEEK: i64 = 7 * DAY;
/// The mean year of the calendar, 365.2425 days: the seasons stay within two days of it.
const YEAR: i64 = 31_556_952 * SECOND;
/// From the Monday before the epoch, which was a Thursday, to the epoch.
const EPOCH_IN_WEEK: i64 = 3 * DAY;

/// A place in a cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) struct Calendar {
    pub(in crate::core::features) cycle: Cycle,
    pub(in crate::core::features) form: Form,
}

/// What repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) enum Cycle {
    /// The time of the day.
    Day,
    /// The whole day of the week, from Monday.
    Week,
    /// The time of the mean year, from the epoch.
    Year,
}

/// How the place is told. A sine or cosine alone means two places; both together mean one, and
/// bring the end of the cycle next to its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) enum Form {
    /// As a number that grows: the fraction of the day or year from 0 to 1, the weekday from 0
    /// (Monday) to 6.
    Plain,
    /// The sine of its angle.
    Sine,
    /// The cosine of its angle.
    Cosine,
}

impl Calendar {
    pub(super) fn at(self, time: UnixNanos) -> f64 {
        // The remainder first: a sum with an instant near the end of time would overflow.
        let within = |cycle: i64| time.as_nanos().rem_euclid(cycle);
        let share = |cycle: i64| within(cycle) as f64 / cycle as f64;
        let weekday = || ((within(WEEK) + EPOCH_IN_WEEK) % WEEK / DAY) as f64;
        let angle = || {
            TAU * match self.cycle {
                Cycle::Day => share(DAY),
                Cycle::Week => weekday() / 7.0,
                Cycle::Year => share(YEAR),
            }
        };
        match (self.form, self.cycle) {
            (Form::Plain, Cycle::Day) => share(DAY),
            (Form::Plain, Cycle::Week) => weekday(),
            (Form::Plain, Cycle::Year) => share(YEAR),
            (Form::Sine, _) => libm::sin(angle()),
            (Form::Cosine, _) => libm::cos(angle()),
        }
    }
}
