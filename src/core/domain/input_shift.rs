//! How the inputs of a symbol compare with those of the training.
//!
//! Owns the judgement as a value. Promises that it names the feature at fault by its place among
//! the model's columns. Never judges: [`core::shift`](crate::core::shift) does.

/// How the newest inputs of a symbol compare with those that its model was trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum InputShift {
    /// Not judged: the bundle has no distribution.
    #[default]
    Unknown,
    /// No feature is beyond its limit.
    Within,
    /// At least one feature is beyond its limit.
    Shifted {
        /// The place of the feature that is furthest beyond its limit, among the model's columns.
        feature: u16,
        /// Its population stability index.
        psi: f64,
    },
}

impl InputShift {
    /// Whether a feature is beyond its limit; `None` where that is not judged.
    pub const fn is_shifted(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Within => Some(false),
            Self::Shifted { .. } => Some(true),
        }
    }
}
