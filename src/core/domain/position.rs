//! Places in a partitioned input.
//!
//! Owns what a position is. Promises that positions of one partition are ordered as its records
//! are. Never knows a topic's name: the source numbers its partitions.

/// One partition of the input, numbered by the source for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u32);

/// Where a record stands in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its partition.
    pub partition: PartitionId,
    /// Its place there; later records have higher ones.
    pub offset: i64,
}
