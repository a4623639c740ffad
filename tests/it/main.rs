//! The integration tests, as one binary: one link, one shared harness, a module for each theme.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test says by failing what went wrong"
)]

mod allocation;
#[cfg(feature = "train")]
mod backtest;
mod bench;
mod blends;
#[path = "../fuzz/mod.rs"]
mod bodies;
mod bundle;
mod command_line;
mod config_corpus;
mod configuration;
mod daemon;
mod deploy;
mod exactness;
mod expiry;
mod fuzz;
mod health;
mod history;
mod history_file;
mod history_outages;
mod history_restarts;
mod history_venues;
mod hostile;
mod hostile_bundles;
mod inputs;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_expiry;
#[cfg(feature = "kafka")]
mod kafka_history;
#[cfg(feature = "kafka")]
mod kafka_logs;
#[cfg(feature = "kafka")]
mod kafka_long;
#[cfg(feature = "kafka")]
mod kafka_members;
#[cfg(feature = "kafka")]
mod kafka_mock;
#[cfg(feature = "kafka")]
mod kafka_online;
#[cfg(feature = "kafka")]
mod kafka_rivals;
#[cfg(feature = "kafka")]
mod kafka_security;
#[cfg(feature = "kafka")]
mod kafka_several;
#[cfg(feature = "kafka")]
mod kafka_standby;
#[cfg(feature = "kafka")]
mod kafka_tools;
mod logging;
#[path = "../fuzz/made_inputs.rs"]
mod made_inputs;
mod native;
mod outages;
#[cfg(feature = "train")]
mod outputs;
mod parity;
mod preset_history;
mod presets;
mod promotions;
mod proofs;
mod reload;
mod replay_report;
mod rest;
mod rivals;
mod scores;
mod seal;
mod seams;
mod several;
mod shift;
mod sinks;
mod soak;
mod state;
mod steps;
mod supervise;
mod support;
#[cfg(feature = "train")]
mod symbols;
mod tidy;
mod times;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
mod trained_layers;
mod venues;
