//! The pure core: facts in, values out.
//!
//! Owns what ticks, steps, features, windows, forecasts, signals and scores are. Promises that
//! every result follows from the arguments alone, so that replay equals live. Never names a clock,
//! a socket, a file, a thread, a runtime, or a crate of the edge.

pub mod baseline;
pub mod blend;
pub mod decode;
pub mod domain;
pub mod features;
pub mod forecast;
pub mod health;
pub mod history;
pub mod proportion;
pub mod random;
pub mod score;
pub mod shift;
pub mod signal;
pub mod step;
pub mod text;
pub mod venue;
pub mod verdict;
pub mod window;
