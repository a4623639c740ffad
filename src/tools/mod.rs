//! The tools at both ends of the daemon, and the benches.
//!
//! Owns `data`, `feed`, `bridge`, `watch` and `bench` without their command lines. Never part of
//! the daemon's path.

pub mod bench;
#[cfg(feature = "kafka")]
pub mod bridge;
pub mod data;
pub mod feed;
pub mod watch;
