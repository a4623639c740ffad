//! What the values of a target are like.
//!
//! Owns the kinds that measures and baselines tell apart. Promises one kind for each target. Never
//! measures.

use super::Target;

/// What the values of a target are like, as far as their measures differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A change, as a fraction, that has a direction: its sign.
    Change,
    /// The same as a logarithm.
    LogChange,
    /// A size, zero or more.
    Amount,
    /// A value in a unit of its own.
    Level,
    /// A probability; what comes true is 0 or 1.
    Probability,
}

impl TargetKind {
    /// The kind of a target.
    pub fn of(target: &Target) -> Self {
        match target {
            Target::NextReturn => Self::Change,
            Target::NextLogReturn => Self::LogChange,
            Target::NextVolatility => Self::Amount,
            Target::NextValue { .. } => Self::Level,
            Target::NextDirection | Target::NextEvent { .. } => Self::Probability,
        }
    }

    /// What the direction of a value is seen from: no change, the naive forecast, an even chance.
    pub const fn origin(self, persistence: f64) -> f64 {
        match self {
            Self::Change | Self::LogChange => 0.0,
            Self::Amount | Self::Level => persistence,
            Self::Probability => 0.5,
        }
    }
}
