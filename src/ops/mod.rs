//! What every long-running process needs, whatever it computes.
//!
//! Owns the clock, exit codes, signals, logging, processor affinity, process metrics, readiness,
//! supervision, and the reading of small text files. Promises that wall time enters the program
//! here and nowhere else. Never knows ticks, sources or sinks.

pub mod affinity;
pub mod clock;
pub mod descriptors;
pub mod document;
pub mod exit;
pub mod file;
pub mod logging;
pub mod meter;
pub mod process;
pub mod readiness;
pub mod shutdown;
pub mod supervise;
