//! What outlives a process or a model: snapshots of all states, and the change of the model.
//!
//! Owns both threads. Promises that neither holds a shard up for longer than a few symbols take.
//! Never computes a forecast.

pub mod reload;
pub mod snapshot;
