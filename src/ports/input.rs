//! What tells one input from another, and how far it was delivered.
//!
//! Owns the identity of an input and the count of delivered records. Promises that a reader of the
//! count finds the records behind it in the queues of the shards. Never reads an input.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::domain::PartitionId;

/// A recording is one partition.
pub const RECORDING: PartitionId = PartitionId(0);

/// What tells an input from others, so that stored states are used with their own input alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputIdentity {
    /// A live feed, by the SHA-256 of its address: it cannot be read again.
    Feed([u8; 32]),
    /// A recording: it can be read again from any record.
    Recording(RecordingIdentity),
}

/// What tells a recording from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingIdentity {
    /// Its size in bytes.
    pub length: u64,
    /// Its first bytes, as many as a snapshot may ask about.
    pub head: Vec<u8>,
}

/// How far an input was delivered; cloning shares it.
#[derive(Clone, Debug)]
pub struct InputProgress {
    identity: InputIdentity,
    delivered: Arc<Delivered>,
}

#[derive(Debug, Default)]
struct Delivered {
    records: AtomicU64,
    bytes: AtomicU64,
}

/// Where a source begins after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Records of a recording that every restored state has behind it.
    pub records: u64,
    /// Whether any state was restored.
    pub resumed: bool,
}

impl InputProgress {
    /// Nothing delivered yet.
    pub fn new(identity: InputIdentity) -> Self {
        Self { identity, delivered: Arc::default() }
    }

    /// What tells the input from others.
    pub fn identity(&self) -> &InputIdentity {
        &self.identity
    }

    /// Notes that so many records, which took so many bytes, are in the queues of the shards.
    pub fn delivered(&self, records: u64, bytes: u64) {
        self.delivered.bytes.store(bytes, Ordering::Relaxed);
        // Release pairs with the acquire in `reached`: a reader that sees the count also sees the
        // records in the queues.
        self.delivered.records.store(records, Ordering::Release);
    }

    /// Records and bytes delivered so far. The bytes may belong to a few records more.
    pub fn reached(&self) -> (u64, u64) {
        let records = self.delivered.records.load(Ordering::Acquire);
        (records, self.delivered.bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
