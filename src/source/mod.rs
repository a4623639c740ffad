//! Sources: where records come from.
//!
//! Owns the ways in: recorded files and live feeds. Promises that a record leaves here as the
//! bytes of one native tick, in the order in which it came. Never judges a record: `decode` does.

pub mod backoff;
pub mod command;
pub mod file;
pub mod intake;
pub mod router;
pub mod websocket;
