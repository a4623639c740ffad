//! What outlives a process or a model: snapshots of all states, the proof of a model, and the
//! change to it.
//!
//! Owns both threads. Promises that neither holds a shard up for longer than a few symbols take.
//! Never computes a forecast.

pub mod prove;
pub mod reload;
pub mod roles;
pub mod snapshot;
