//! The features themselves, one file for each family.
//!
//! Owns every formula. A feature says which fields it reads, how many slots it keeps, how many
//! steps it needs before its value counts, and computes its value from a step and its slots.
//! Promises that none reads anything else. Never checks a value: the plan does, for all of them.

mod average;
mod calendar;
mod lag;
mod macd;
mod recent;
mod rsi;
mod volatility;

pub(super) use average::Average;
pub(super) use calendar::{Calendar, Cycle, Form};
pub(super) use lag::Lag;
pub(super) use macd::{Line, Macd};
pub(super) use recent::Recent;
pub(super) use rsi::Rsi;
pub(super) use volatility::Volatility;

use super::state::Memory;
use crate::core::domain::{Field, Reject, Step};

/// One feature, resolved to the columns it reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FeatureKind {
    Recent(Recent),
    Lag(Lag),
    Average(Average),
    Macd(Macd),
    Rsi(Rsi),
    Volatility(Volatility),
    Calendar(Calendar),
}

impl FeatureKind {
    /// The fields that the feature reads of each step.
    pub(super) fn reads(self) -> Vec<Field> {
        match self {
            Self::Recent(recent) => recent.reads(),
            Self::Lag(lag) => vec![lag.field],
            Self::Average(_) | Self::Macd(_) | Self::Rsi(_) | Self::Volatility(_) => {
                vec![Field::CLOSE]
            }
            Self::Calendar(_) => Vec::new(),
        }
    }

    /// How many numbers it keeps between steps.
    pub(super) fn slots(self) -> usize {
        match self {
            Self::Recent(recent) => recent.slots(),
            Self::Lag(lag) => lag.slots(),
            Self::Average(_) => Average::SLOTS,
            Self::Macd(_) => Macd::SLOTS,
            Self::Rsi(_) => Rsi::SLOTS,
            Self::Volatility(volatility) => volatility.slots(),
            Self::Calendar(_) => 0,
        }
    }

    /// Steps before the first one whose value counts.
    pub(super) fn warm_up_steps(self) -> u64 {
        match self {
            Self::Recent(recent) => recent.warm_up_steps(),
            Self::Lag(lag) => lag.warm_up_steps(),
            Self::Average(average) => average.warm_up_steps(),
            Self::Macd(macd) => macd.warm_up_steps(),
            Self::Rsi(rsi) => rsi.warm_up_steps(),
            Self::Volatility(volatility) => volatility.warm_up_steps(),
            Self::Calendar(_) => 0,
        }
    }

    /// The feature's value at `step`, and in `memory` what it keeps of it. Before the warm-up is
    /// over the value means nothing.
    ///
    /// # Errors
    /// [`Reject::MissingField`] where the step lacks a field, [`Reject::NotFinite`] where the
    /// feature has no value for it.
    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        match self {
            Self::Recent(recent) => recent.advance(step, memory),
            Self::Lag(lag) => lag.advance(step, memory),
            Self::Average(average) => average.advance(step, memory),
            Self::Macd(macd) => macd.advance(step, memory),
            Self::Rsi(rsi) => rsi.advance(step, memory),
            Self::Volatility(volatility) => volatility.advance(step, memory),
            Self::Calendar(calendar) => Ok(calendar.at(step.time)),
        }
    }
}

fn read(step: &Step, field: Field) -> Result<f64, Reject> {
    step.fields.read(field).ok_or(Reject::MissingField)
}

/// One step of an exponentially weighted mean. In this form a constant input is its own mean to
/// the last bit.
fn follow(mean: f64, input: f64, weight: f64) -> f64 {
    mean + weight * (input - mean)
}
