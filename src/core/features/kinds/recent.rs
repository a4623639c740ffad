//! Features of this step, or of this step against the one before.
//!
//! Owns fields as features, and the forms of change. Promises at most one slot.

use super::{Memory, read};
use crate::core::domain::{Field, Reject, Step};

/// A feature that looks back one step at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) enum Recent {
    /// The field itself, in its own unit.
    Value(Field),
    /// `close / previous close - 1`, a fraction.
    Change,
    /// The size of `change`, a fraction: what "as volatile as now" forecasts.
    AbsoluteReturn,
    /// `ln(close / previous close)`.
    LogReturn,
    /// `ln(1 + volume) - ln(1 + previous volume)`: the one keeps a step without trades finite.
    VolumeChange,
    /// `ln(high / low)`, the range of the bar.
    LogRange,
    /// `ln(field)`.
    Log(Field),
}

impl Recent {
    pub(super) fn reads(self) -> Vec<Field> {
        match self {
            Self::Value(field) | Self::Log(field) => vec![field],
            Self::Change | Self::AbsoluteReturn | Self::LogReturn => vec![Field::CLOSE],
            Self::VolumeChange => vec![Field::VOLUME],
            Self::LogRange => vec![Field::HIGH, Field::LOW],
        }
    }

    /// One for those that compare with the previous step, and keep its input there.
    pub(super) fn slots(self) -> usize {
        match self {
            Self::Value(_) | Self::LogRange | Self::Log(_) => 0,
            Self::Change | Self::AbsoluteReturn | Self::LogReturn | Self::VolumeChange => 1,
        }
    }

    pub(super) fn warm_up_steps(self) -> u64 {
        self.slots() as u64
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let mut against_previous = |field, compare: fn(f64, f64) -> f64| {
            let input = read(step, field)?;
            let previous = memory.slots()[0];
            memory.set(0, input);
            Ok(compare(input, previous))
        };
        match self {
            Self::Value(field) => read(step, field),
            Self::Change => against_previous(Field::CLOSE, |now, before| now / before - 1.0),
            Self::AbsoluteReturn => {
                against_previous(Field::CLOSE, |now, before| (now / before - 1.0).abs())
            }
            Self::LogReturn => {
                against_previous(Field::CLOSE, |now, before| libm::log(now / before))
            }
            Self::VolumeChange => against_previous(Field::VOLUME, |now, before| {
                libm::log1p(now) - libm::log1p(before)
            }),
            Self::LogRange => Ok(libm::log(read(step, Field::HIGH)? / read(step, Field::LOW)?)),
            Self::Log(field) => log(read(step, field)?),
        }
    }
}

/// A step without a logarithm is refused from the first one on. If it counted for other features
/// until the row is warm, their values would follow from where a history begins.
fn log(input: f64) -> Result<f64, Reject> {
    if input > 0.0 { Ok(libm::log(input)) } else { Err(Reject::NotFinite) }
}
