//! From the queue of a live feed to a topic.
//!
//! Owns which record is marked as standing behind a gap. Promises that every record of the queue
//! is handed to the producer in its order, under its symbol, as it came; and that after a gap, a
//! record that the cluster refused included, the next record of every symbol is marked. When the
//! producer is full it waits, the queue fills, and the socket is read no further. Never drops a
//! record but at the deadline of a stop, which it reports.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{IntCounter, IntGauge, Registry};

use super::write::{Sent, TopicWriter, WriteCounts, WriteError};
use crate::adapters::kafka::gap::GapMarks;
use crate::core::decode::symbol_of;
use crate::intake::{Arrival, IntakeReceiver, Record};

/// Records taken from the queue at once.
const BATCH_RECORDS_MAX: usize = 1024;

/// The metrics of the bridge; cloning shares them.
#[derive(Clone, Debug)]
pub struct BridgeMetrics {
    /// What became of records.
    pub counts: WriteCounts,
    unkeyed: IntCounter,
    marked: IntCounter,
    outstanding: IntGauge,
}

/// The end of the bridge that writes.
pub struct BridgeWriter {
    writer: TopicWriter,
    metrics: BridgeMetrics,
    marks: GapMarks,
    /// Records that the cluster had refused when marks were last asked for.
    failed: u64,
}

/// How writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Records that came and whose acknowledgement nobody waited for any more. Those that the
    /// cluster has refused are counted for themselves.
    pub lost: u64,
}

impl BridgeMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counts = WriteCounts::register(registry)?;
        let unkeyed = IntCounter::new(
            "tickcast_bridge_unkeyed_total",
            "Records without a symbol, which went to any partition.",
        )?;
        let marked = IntCounter::new(
            "tickcast_bridge_gap_marks_total",
            "Records marked as standing behind a gap.",
        )?;
        let outstanding = IntGauge::new(
            "tickcast_bridge_outstanding",
            "Records handed to the producer and not acknowledged yet.",
        )?;
        registry.register(Box::new(unkeyed.clone()))?;
        registry.register(Box::new(marked.clone()))?;
        registry.register(Box::new(outstanding.clone()))?;
        Ok(Self { counts, unkeyed, marked, outstanding })
    }

    /// Shows how much is under way.
    pub fn show(&self) {
        self.outstanding.set(i64::try_from(self.counts.outstanding()).unwrap_or(i64::MAX));
    }
}

impl BridgeWriter {
    /// A bridge to an open topic, which remembers so many symbols.
    pub fn new(writer: TopicWriter, metrics: BridgeMetrics, symbols_max: usize) -> Self {
        let failed = metrics.counts.failed();
        Self { writer, metrics, marks: GapMarks::new(symbols_max), failed }
    }

    /// Writes until the queue is closed and empty and everything is acknowledged, or until `cut`.
    ///
    /// # Errors
    /// [`WriteError::Closed`] where the producer has failed for good.
    pub fn run(
        mut self,
        queue: &IntakeReceiver<Infallible>,
        cut: &AtomicBool,
    ) -> Result<Written, WriteError> {
        let patient = || !cut.load(Ordering::Acquire);
        let mut batch = Vec::with_capacity(BATCH_RECORDS_MAX);
        let mut given_up = 0;
        loop {
            let open = queue.drain(&mut batch, BATCH_RECORDS_MAX);
            for arrival in batch.drain(..) {
                match arrival {
                    Arrival::Gap => self.marks.gap(),
                    Arrival::Record(record) => {
                        given_up += u64::from(!self.write(&record, &patient)?);
                    }
                    // Only sources with partitions send commands.
                    Arrival::Command(none) => match none {},
                }
            }
            if !open {
                break;
            }
        }
        let unsettled = self.writer.settle(patient);
        self.metrics.show();
        Ok(Written { lost: given_up + unsettled })
    }

    /// Hands one record over; tells whether it was taken or counted.
    fn write(&mut self, record: &Record, patient: &impl Fn() -> bool) -> Result<bool, WriteError> {
        let failed = self.metrics.counts.failed();
        if std::mem::replace(&mut self.failed, failed) != failed {
            self.marks.gap();
        }
        let Record { bytes, after_gap, late, .. } = record;
        let symbol = symbol_of(bytes);
        // Both are asked: a mark that is taken here is not due any more.
        let marked = symbol.as_deref().is_some_and(|symbol| match late {
            true => self.marks.has_mark(symbol),
            false => self.marks.takes_mark(symbol),
        });
        let after_gap = *after_gap || marked;
        if symbol.is_none() {
            self.metrics.unkeyed.inc();
        }
        let sent = self.writer.send(symbol.as_deref(), bytes, after_gap, patient)?;
        if after_gap && sent == Sent::Handed {
            self.metrics.marked.inc();
        }
        Ok(sent != Sent::GivenUp)
    }
}
