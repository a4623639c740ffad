//! The trainer: from history to parameters that ONNX Runtime can run.
//!
//! ```text
//! dataset ─> fit ─> assess ─> export, report
//!             │         └ evaluate ─> statistics; baseline, repeat
//!             ├ loss, adam, rate, weights, lanes, checkpoint; windows, or sequences and carried
//!             └ network ─> convolution, lstm, gru, attention, dense ─> gemm, activation, dropout
//! config::schedule ─> backtest: a fit and a replay for each fold
//! ```
//!
//! Owns: everything that learns. Training is back-propagation through time, derived by hand for
//! the layers we have and checked against finite differences; `docs/adr/0011` says why.
//!
//! Promises: the same seed on the same data gives the same parameters to the last bit on one
//! machine, on any number of threads.
//!
//! Never: is part of the daemon. The cargo feature `train` (on by default) turns it on; outside of
//! it the commands `tickcast train` and `tickcast backtest` name it, and `adapters::file`, which
//! reads Parquet with it.

mod error;
mod outputs;
mod rows;
mod trained;

pub mod assess;
pub mod backtest;
pub mod config;
pub mod dataset;
pub mod export;
pub mod fit;
pub mod job;
pub mod logs;
pub mod look_ahead;
pub mod network;
pub mod out_of_range;
pub mod repeat;
pub mod report;
pub mod sequences;
pub mod symbols;

pub use crate::core::random;
pub use crate::seal::history;
pub use crate::seal::judge::{baseline, evaluate, statistics, windows};

#[cfg(test)]
mod carried_check;
#[cfg(test)]
mod gradient_check;
#[cfg(test)]
mod reference_check;
#[cfg(test)]
mod report_check;
#[cfg(test)]
mod symbols_check;
