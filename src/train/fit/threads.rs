//! How many threads learn at once.
//!
//! Owns the count. Results do not depend on it.

use std::num::NonZero;

/// As many as the machine runs at once.
pub(in crate::train) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
