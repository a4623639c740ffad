//! The local snapshot: what a source that keeps nothing itself needs to survive its process.
//!
//! Owns the states of all symbols on a disk, and the place in a recording up to which they reach.
//! A Kafka source does not need it: its states are in a topic. Promises that a restart goes on from
//! states that belong together with what was published: every sink settled what a state holds
//! before the state was stored. Never stops a shard for longer than a few symbols take, and never
//! lets a daemon without a disk fall over: a snapshot that cannot be written is counted, and the
//! previous one remains valid.
//!
//! | module | owns |
//! |---|---|
//! | `codec` | a snapshot as bytes |
//! | `disk` | the smallest steps of a durable write, and the lock |
//! | `store` | their order; the newest two |
//! | `recovery` | which snapshot a start goes on from (pure) |
//! | `keeper` | the thread, from a line in the stream to a snapshot on the disk; and the start |
//!
//! A snapshot need not be of one instant. Each state knows the last record that it holds, and the
//! place of the snapshot is one that all states have passed. So a restart reads from that place and
//! leaves out, for each symbol, what its state holds already.

mod codec;
mod disk;
mod keeper;
mod metrics;
mod recovery;
mod store;

pub use codec::{FilePlace, InputPlace, Snapshot, SnapshotError};
pub use disk::{Disk, Folder, FolderError, look};
pub use keeper::{Keeper, KeeperError, KeeperWork, RunningKeeper};
pub use metrics::SnapshotMetrics;
pub use recovery::{Decision, Facts, decide_recovery};
pub use store::{Candidate, Store, Written};
