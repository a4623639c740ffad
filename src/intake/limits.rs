//! The bounds of a queue, and what happens at them.

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Stops the source until there is room.
    Block,
    /// Drops the oldest record, counts it and marks the gap.
    DropOldest,
}

/// The bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeLimits {
    /// The most entries.
    pub records_max: usize,
    /// The most bytes over all entries; one entry always fits.
    pub bytes_max: usize,
    /// What is kept of one record: the decoder refuses a longer one by its length, so no more than
    /// one byte beyond this is worth its memory.
    pub record_bytes_max: usize,
    /// What happens when the queue is full.
    pub when_full: WhenFull,
}
