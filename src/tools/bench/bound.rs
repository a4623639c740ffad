//! What bounds a row: the first thing that would have to change for it to be faster.
//!
//! Owns the rule of thumb. Promises the same answer for the same figures. Never measures.

use serde::Serialize;

/// From this share of the processor's matrix product on, arithmetic is the bound: an LSTM also
/// computes activations, and products of few rows cannot use the whole of it.
const ARITHMETIC_SHARE: f64 = 0.5;

/// From this share of the time on that raw ONNX Runtime does not need, everything else is.
const PLUMBING_SHARE: f64 = 0.25;

/// What bounds a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The processor's matrix product.
    Arithmetic,
    /// What stands around ONNX Runtime: ours.
    Plumbing,
    /// ONNX Runtime between the two: its call, activations, and reading weights for few rows.
    Runtime,
}

impl Bound {
    /// By the share of the matrix product, and the ratio of our time to raw ONNX Runtime's.
    pub(super) fn of(sgemm_share: f64, time_ratio: f64) -> Self {
        if sgemm_share >= ARITHMETIC_SHARE {
            Self::Arithmetic
        } else if 1.0 - 1.0 / time_ratio >= PLUMBING_SHARE {
            Self::Plumbing
        } else {
            Self::Runtime
        }
    }

    /// The word for tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Plumbing => "plumbing",
            Self::Runtime => "runtime",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_largest() {
        assert_eq!(Bound::of(0.8, 2.0), Bound::Arithmetic);
        assert_eq!(Bound::of(0.1, 1.1), Bound::Runtime);
        assert_eq!(Bound::of(0.1, 1.5), Bound::Plumbing);
    }
}
