//! The seams at which adapters attach, and the reader of settings that they share.
//!
//! Owns the traits. Promises that an adapter needs nothing else of the daemon. Never names an
//! adapter.

pub mod history;
pub mod input;
pub mod section;
pub mod sink;
pub mod source;
