//! What is counted of Kafka.
//!
//! Owns the names. Promises that each counter stands from the start. Never decides anything.

use std::time::Duration;

use prometheus::{
    Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use super::start::Loss;

/// Bucket bounds in seconds, from one quick round trip to a stalled broker.
const SECONDS_BUCKETS: [f64; 12] =
    [1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 5.0, 30.0];

/// The metrics of the Kafka source and publisher; cloning shares them.
#[derive(Clone, Debug)]
pub struct KafkaMetrics {
    sessions_failed: IntCounter,
    rebalances: IntCounter,
    kept: IntCounter,
    pub(super) partitions: IntGauge,
    pub(super) lag: IntGauge,
    pauses: IntCounter,
    commits: IntCounter,
    commit_seconds: Histogram,
    transaction_records_max: IntGauge,
    pub(super) hanging_calls: IntGauge,
    restore_seconds: Histogram,
    states_read: IntCounter,
    records_read_again: IntCounter,
    standby_partitions: IntGauge,
    standby_left_out: IntGauge,
    standby_states: IntGauge,
    standby_bytes: IntGauge,
    pub(super) standby_records: IntCounter,
    standby_used: IntCounter,
    history_records: IntCounter,
    history_seconds: Histogram,
    restored: IntCounter,
    cold: IntCounter,
    lost_offsets: [IntCounter; Loss::ALL.len()],
    lost_changelogs: IntCounter,
    pub(super) dead_letters: IntCounter,
    pub(super) produced: IntCounter,
    pub(super) failed: IntCounter,
    backpressure_seconds: Counter,
}

impl KafkaMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        Ok(Self {
            sessions_failed: counter(
                "tickcast_kafka_sessions_failed_total",
                "Sessions that ended by a failure; each is followed by a new one.",
            )?,
            rebalances: counter(
                "tickcast_kafka_rebalances_total",
                "Assignments and revocations of partitions.",
            )?,
            kept: counter(
                "tickcast_kafka_partitions_kept_total",
                "Partitions that came back in a rebalance with their states still in memory.",
            )?,
            partitions: gauge(
                "tickcast_kafka_partitions",
                "Partitions of the input that this instance reads.",
            )?,
            lag: gauge(
                "tickcast_kafka_lag_records",
                "Records of the input that this instance has still to read.",
            )?,
            pauses: counter(
                "tickcast_kafka_pauses_total",
                "Times that partitions were paused because a shard's queue or a transaction was \
                 full.",
            )?,
            commits: counter(
                "tickcast_kafka_commits_total",
                "Commits: forecasts acknowledged, states stored, offsets committed.",
            )?,
            commit_seconds: histogram(
                "tickcast_kafka_commit_seconds",
                "Time from the beginning of a commit to its end.",
            )?,
            transaction_records_max: gauge(
                "tickcast_kafka_transaction_records_max",
                "The most records that a transaction takes at present; 0 with at-least-once.",
            )?,
            hanging_calls: gauge(
                "tickcast_kafka_hanging_calls",
                "Calls of the client library that commit and have not returned in time.",
            )?,
            restore_seconds: histogram(
                "tickcast_kafka_restore_seconds",
                "Time to restore the states of newly assigned partitions.",
            )?,
            states_read: counter(
                "tickcast_kafka_states_read_total",
                "Records of changelogs that were read to restore states.",
            )?,
            records_read_again: counter(
                "tickcast_kafka_records_read_again_total",
                "Offsets of the input before committed ones that are read again because stored \
                 states reach less far.",
            )?,
            standby_partitions: gauge(
                "tickcast_kafka_standby_partitions",
                "Partitions of other instances whose states have a copy here.",
            )?,
            standby_left_out: gauge(
                "tickcast_kafka_standby_left_out",
                "Partitions without a copy here because there was no room for it.",
            )?,
            standby_states: gauge(
                "tickcast_kafka_standby_states",
                "States in the copies of this instance.",
            )?,
            standby_bytes: gauge(
                "tickcast_kafka_standby_bytes",
                "Memory of the copies of this instance, about.",
            )?,
            standby_records: counter(
                "tickcast_kafka_standby_records_total",
                "Records of changelogs that were read to keep copies up to date.",
            )?,
            standby_used: counter(
                "tickcast_kafka_standby_used_total",
                "Partitions that were taken over with a copy of their states.",
            )?,
            history_records: counter(
                "tickcast_kafka_history_records_total",
                "Records of the input that were read to warm symbols, before the first live one.",
            )?,
            history_seconds: histogram(
                "tickcast_kafka_history_seconds",
                "Time to warm the symbols of a partition from its topic.",
            )?,
            restored: counter(
                "tickcast_kafka_symbols_restored_total",
                "Symbols whose state came back from the changelog.",
            )?,
            cold: counter(
                "tickcast_kafka_symbols_cold_total",
                "Stored states that could not be used; their symbols began cold.",
            )?,
            lost_offsets: {
                let losses = IntCounterVec::new(
                    Opts::new(
                        "tickcast_kafka_offsets_lost_total",
                        "Partitions whose stored position was of no use, by reason.",
                    ),
                    &["reason"],
                )?;
                registry.register(Box::new(losses.clone()))?;
                Loss::ALL.map(|loss| losses.with_label_values(&[loss.label()]))
            },
            lost_changelogs: counter(
                "tickcast_kafka_changelogs_lost_total",
                "Changelog partitions that were gone although the group had committed offsets.",
            )?,
            dead_letters: counter(
                "tickcast_kafka_dead_letters_total",
                "Refused records handed to the dead-letter topic.",
            )?,
            produced: counter(
                "tickcast_kafka_produced_total",
                "Records that the broker acknowledged, of all output topics.",
            )?,
            failed: counter(
                "tickcast_kafka_produce_failed_total",
                "Records that the broker did not take; each ends the session.",
            )?,
            backpressure_seconds: {
                let counter = Counter::new(
                    "tickcast_kafka_backpressure_seconds_total",
                    "Time that shards waited for room in the producer's queue, over all shards.",
                )?;
                registry.register(Box::new(counter.clone()))?;
                counter
            },
        })
    }

    pub(super) fn session_failed(&self) {
        self.sessions_failed.inc();
        self.partitions.set(0);
    }

    pub(super) fn rebalanced(&self, partitions: usize) {
        self.rebalances.inc();
        self.partitions.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    pub(super) fn kept(&self, partitions: usize) {
        self.kept.inc_by(partitions as u64);
    }

    pub(super) fn paused(&self) {
        self.pauses.inc();
    }

    pub(super) fn paced(&self, records_max: u64) {
        self.transaction_records_max.set(i64::try_from(records_max).unwrap_or(i64::MAX));
    }

    #[cfg(test)]
    pub(super) fn records_max(&self) -> u64 {
        self.transaction_records_max.get().cast_unsigned()
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commits.inc();
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn restored(&self, symbols: usize, cold: usize) {
        self.restored.inc_by(symbols as u64);
        self.cold.inc_by(cold as u64);
    }

    pub(super) fn restore_took(&self, took: Duration) {
        self.restore_seconds.observe(took.as_secs_f64());
    }

    /// Notes how many records of a changelog were read for its states, and whether the others were
    /// in a copy.
    pub(super) fn read_states(&self, records: u64, is_from_copy: bool) {
        self.states_read.inc_by(records);
        self.standby_used.inc_by(u64::from(is_from_copy));
    }

    /// Notes what the standby holds.
    pub(super) fn follows(&self, partitions: usize, left_out: usize, states: usize, bytes: usize) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.standby_partitions.set(number(partitions));
        self.standby_left_out.set(number(left_out));
        self.standby_states.set(number(states));
        self.standby_bytes.set(number(bytes));
    }

    /// Notes how many offsets before a committed one are read again.
    pub(super) fn reads_again(&self, offsets: i64) {
        self.records_read_again.inc_by(u64::try_from(offsets).unwrap_or(0));
    }

    /// Notes a record of history that a shard has.
    pub(super) fn history_record(&self) {
        self.history_records.inc();
    }

    /// Notes how long the history of a partition took.
    pub(super) fn history_took(&self, took: Duration) {
        self.history_seconds.observe(took.as_secs_f64());
    }

    /// Notes that a shard waited for room in the producer's queue.
    pub(super) fn held_up(&self, waited: Duration) {
        self.backpressure_seconds.inc_by(waited.as_secs_f64());
    }

    pub(super) fn lost_offset(&self, loss: Loss) {
        self.lost_offsets[loss as usize].inc();
    }

    pub(super) fn lost_changelog(&self, partitions: usize) {
        self.lost_changelogs.inc_by(partitions as u64);
    }

    /// Notes states that are not of the log that is read.
    pub(super) fn foreign_states(&self, count: usize) {
        self.cold.inc_by(count as u64);
    }
}
