//! From bytes to ticks: total functions, because bad input is an outcome and not an error.
//!
//! Owns what a well-formed record is. Promises that every input gives a tick or exactly one
//! reason, without panicking and, for a good record, without allocating. Never counts or logs.

mod json;
mod symbol;

pub use json::{JsonDecoder, TimeForm, WRONG_CELLS};
pub use symbol::symbol_of;
