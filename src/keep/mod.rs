//! What outlives a process or a model, and what precedes the stream: snapshots of all states, the
//! proof of a model, the change to it, and the answers to questions for history.
//!
//! Owns their threads and tasks. Promises that none holds a shard up for longer than a few symbols
//! take. Never computes a forecast.

pub mod history;
pub mod prove;
pub mod reload;
pub mod roles;
pub mod snapshot;
