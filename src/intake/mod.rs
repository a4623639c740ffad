//! The way from a source to the shards: bounded queues, and the choice among them.
//!
//! Owns what waits for a shard. Promises `received = taken + dropped + waiting`, and that a drop is
//! delivered as a gap at its place. Never decodes a record beyond its symbol, and does not know
//! what a command is: the shard chooses the type `C` that travels in line with the records.

mod limits;
mod metrics;
mod queue;
mod receiver;
mod record;
mod router;
mod sender;

#[cfg(test)]
mod tests;

pub use self::limits::{IntakeLimits, WhenFull};
pub use self::metrics::IntakeMetrics;
pub use self::queue::{IntakeClosed, intake};
pub use self::receiver::{IntakeBell, IntakeReceiver, IntakeWatch};
pub use self::record::{Arrival, Record};
pub use self::router::{Router, RouterCloser, TurnHere, shard_of_symbol};
pub use self::sender::{IntakeCloser, IntakeCommander, IntakeSender, WallClock};
