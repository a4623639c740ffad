//! What is counted of snapshots.
//!
//! Owns the names. Promises that each counter stands from the start. Never decides anything.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Bucket bounds in seconds, from a few symbols on a fast disk to a stall.
const SECONDS_BUCKETS: [f64; 12] =
    [1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 5.0, 30.0];

/// The metrics of snapshots; cloning shares them.
#[derive(Clone, Debug)]
pub struct SnapshotMetrics {
    pub(super) written: IntCounter,
    pub(super) failed: IntCounter,
    pub(super) seconds: Histogram,
    pub(super) bytes: IntGauge,
    pub(super) timestamp: Gauge,
    restored: IntCounter,
    cold: IntCounter,
    starts: IntCounterVec,
}

/// How a start went, as the label `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartFrom {
    /// Nothing was stored, or nothing is kept.
    Fresh,
    /// The newest snapshot.
    Newest,
    /// An older one.
    Previous,
    /// Nothing, although something was stored.
    Cold,
}

impl StartFrom {
    const ALL: [Self; 4] = [Self::Fresh, Self::Newest, Self::Previous, Self::Cold];

    fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Newest => "newest",
            Self::Previous => "previous",
            Self::Cold => "cold",
        }
    }
}

impl SnapshotMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let starts = IntCounterVec::new(
            Opts::new("tickcast_snapshot_starts_total", "What this process began with."),
            &["from"],
        )?;
        for from in StartFrom::ALL {
            starts.with_label_values(&[from.label()]);
        }
        let options = HistogramOpts::new(
            "tickcast_snapshot_seconds",
            "Time from a line in the stream to its snapshot on the disk.",
        );
        let metrics = Self {
            written: counter("tickcast_snapshots_total", "Snapshots written.")?,
            failed: counter(
                "tickcast_snapshots_failed_total",
                "Snapshots that could not be written; the one before stands.",
            )?,
            seconds: Histogram::with_opts(options.buckets(SECONDS_BUCKETS.to_vec()))?,
            bytes: IntGauge::new("tickcast_snapshot_bytes", "Size of the newest snapshot.")?,
            timestamp: Gauge::new(
                "tickcast_snapshot_timestamp_seconds",
                "Unix time up to which the newest snapshot holds everything; 0 before the first.",
            )?,
            restored: counter(
                "tickcast_snapshot_symbols_restored_total",
                "Symbols whose state came back from the snapshot.",
            )?,
            cold: counter(
                "tickcast_snapshot_symbols_cold_total",
                "Stored states that could not be used; their symbols began cold.",
            )?,
            starts,
        };
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.timestamp.clone()))?;
        registry.register(Box::new(metrics.starts.clone()))?;
        Ok(metrics)
    }

    /// Notes what a start began with.
    pub(super) fn started(&self, from: StartFrom, restored: usize, cold: usize) {
        self.starts.with_label_values(&[from.label()]).inc();
        self.restored.inc_by(restored as u64);
        self.cold.inc_by(cold as u64);
    }
}
