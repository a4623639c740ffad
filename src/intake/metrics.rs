//! The metrics of the queues, over all shards.

use prometheus::{IntCounter, IntGauge, Registry};

/// The metrics of the queue.
#[derive(Clone, Debug)]
pub struct IntakeMetrics {
    pub(super) received: IntCounter,
    pub(super) dropped: IntCounter,
    pub(super) gaps: IntCounter,
    pub(super) waiting: IntGauge,
    pub(super) capacity: IntGauge,
}

impl IntakeMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            received: IntCounter::new(
                "tickcast_records_received_total",
                "Records that the source delivered.",
            )?,
            dropped: IntCounter::new(
                "tickcast_records_dropped_total",
                "Records dropped because the queue was full (source.when_full = drop_oldest).",
            )?,
            gaps: IntCounter::new(
                "tickcast_gaps_total",
                "Places at which records may be missing: reconnects, drops, marked records.",
            )?,
            waiting: IntGauge::new("tickcast_records_waiting", "Records in the queue.")?,
            capacity: IntGauge::new(
                "tickcast_records_capacity",
                "Records that the queues of all shards have room for.",
            )?,
        };
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.gaps.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.capacity.clone()))?;
        Ok(metrics)
    }

    /// Records received and dropped so far.
    pub fn received_and_dropped(&self) -> (u64, u64) {
        (self.received.get(), self.dropped.get())
    }
}
