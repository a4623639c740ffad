//! The way from a source to the shards: bounded queues, and the choice among them.
//!
//! Owns what waits for a shard. Promises `received = taken + dropped + waiting`, and that a drop is
//! delivered as a gap at its place. Never decodes a record beyond its symbol.

pub mod queue;
pub mod router;
