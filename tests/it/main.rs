//! The integration tests, as one binary: one link, one shared harness, a module for each theme.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says by failing what went wrong"
)]

mod allocation;
mod bench;
mod bundle;
mod command_line;
mod config_corpus;
mod daemon;
mod deploy;
mod health;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_members;
#[cfg(feature = "kafka")]
mod kafka_mock;
#[cfg(feature = "kafka")]
mod kafka_security;
#[cfg(feature = "kafka")]
mod kafka_tools;
mod outages;
mod parity;
mod presets;
mod reload;
mod scores;
mod seams;
mod soak;
mod state;
mod steps;
mod supervise;
mod support;
mod tidy;
#[cfg(feature = "train")]
mod train;
mod venues;
