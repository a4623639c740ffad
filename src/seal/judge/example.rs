//! One window and what came true after it.
//!
//! Owns the record alone. Never holds the rows of the window: `windows` does.

use crate::core::domain::UnixNanos;

/// Where a window comes from, and what came true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Example {
    /// Index of the series.
    pub series: usize,
    /// Index of the newest step of the window within the series.
    pub step: usize,
    /// Event time of that step.
    pub as_of: UnixNanos,
    /// The label in its own unit.
    pub truth: f64,
    /// The naive forecast beside it, in the same unit: that nothing changes
    /// ([`Truth::persistence`](crate::core::forecast::Truth::persistence)).
    pub persistence: f64,
}
