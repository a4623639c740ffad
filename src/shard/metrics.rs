//! The metrics of the stages from decode to publish, over all shards.
//!
//! Owns their names. Promises that the counters of all shards add up. Never decides anything.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::core::domain::{Quality, Reject, RejectTally, Signal, TimeDoubt};
use crate::core::forecast::ForecastKinds;
use crate::engine::symbols::{EngineTally, Withheld};

/// Bucket bounds in seconds, from below one quick step to a stall: factors of 2 to 2.5, because a
/// finer view costs a series each and tells an operator nothing more.
const SECONDS_BUCKETS: [f64; 18] = [
    2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3,
    100e-3, 200e-3, 500e-3, 1.0,
];

/// The same for what waits in queues, up to a backlog of half a minute.
const WAIT_BUCKETS: [f64; 18] = [
    10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3,
    500e-3, 1.0, 5.0, 10.0, 30.0,
];

/// The same for the parts of one record's way, which take microseconds or less.
const PART_BUCKETS: [f64; 12] =
    [100e-9, 200e-9, 500e-9, 1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 1e-3, 10e-3];

/// The metrics of the stages from decode to publish; each shard has a clone.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    ticks: IntCounter,
    refused: Vec<IntCounter>,
    absorbed: IntCounter,
    steps: IntCounter,
    further: IntCounter,
    patched: IntCounter,
    warming: IntCounter,
    forecasts: IntCounter,
    withheld: Vec<IntCounter>,
    resets: IntCounter,
    expired: IntCounter,
    signals: [IntCounter; 3],
    qualities: [IntCounter; Quality::ALL.len()],
    /// In the order of the reasons, that of the cadence last.
    mistimed: [IntCounter; MISTIMED_LABELS.len()],
    out_of_range: IntCounter,
    repeats: IntCounter,
    stale: IntCounter,
    symbols: IntGauge,
    receive_seconds: Histogram,
    decode_seconds: Histogram,
    step_seconds: Histogram,
    infer_seconds: Histogram,
    advance_seconds: Histogram,
    publish_seconds: Histogram,
    end_to_end_seconds: Histogram,
}

/// What the metrics already show of one shard.
#[derive(Debug, Default)]
pub(super) struct Shown {
    tally: EngineTally,
    kinds: ForecastKinds,
    symbol_count: usize,
    stale_count: u64,
}

impl Shown {
    /// How many symbols that left are shown.
    pub(super) fn expired(&self) -> u64 {
        self.tally.expired
    }

    /// How many ticks and steps whose times cannot be right are shown.
    pub(super) fn mistimed(&self) -> u64 {
        self.tally.mistimed()
    }

    /// How many windows that began cold are shown.
    pub(super) fn resets(&self) -> u64 {
        self.tally.resets
    }
}

/// How long one batch took.
pub(super) struct BatchTimes {
    pub(super) infer: Duration,
    pub(super) publish: Duration,
    pub(super) advance: Duration,
}

/// The reasons for which times cannot be right, that of the cadence last.
const MISTIMED_LABELS: [&str; TimeDoubt::LABELS.len() + 1] = {
    let mut labels = ["cadence"; TimeDoubt::LABELS.len() + 1];
    let (doubts, _) = labels.split_at_mut(TimeDoubt::LABELS.len());
    doubts.copy_from_slice(&TimeDoubt::LABELS);
    labels
};

/// Registers counters that differ in one label, in the order of its values.
fn by<const N: usize>(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: [&str; N],
) -> Result<[IntCounter; N], prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(values.map(|value| counters.with_label_values(&[value])))
}

impl ShardMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let refused = IntCounterVec::new(
            Opts::new("tickcast_ticks_refused_total", "Records refused, by reason."),
            &["reason"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        let withheld = IntCounterVec::new(
            Opts::new("tickcast_forecasts_withheld_total", "Forecasts withheld, by reason."),
            &["reason"],
        )?;
        registry.register(Box::new(withheld.clone()))?;
        let symbols = IntGauge::new("tickcast_symbols", "Symbols with state.")?;
        registry.register(Box::new(symbols.clone()))?;
        Ok(Self {
            ticks: counter(
                "tickcast_ticks_total",
                "Records taken from the queue: refused, repeated, absorbed into a bar, or a step.",
            )?,
            // Every reason has its series from the start, so that a rate over it is never empty.
            refused: Reject::ALL.map(|reason| refused.with_label_values(&[reason.label()])).into(),
            absorbed: counter(
                "tickcast_ticks_absorbed_total",
                "Ticks that went into a bar that is still open.",
            )?,
            steps: counter("tickcast_steps_total", "Steps completed.")?,
            further: counter(
                "tickcast_steps_further_total",
                "Steps beyond the first that one tick completed.",
            )?,
            patched: counter(
                "tickcast_steps_patched_total",
                "Steps made by rule, because nothing came in their interval.",
            )?,
            warming: counter(
                "tickcast_steps_warming_total",
                "Steps without a forecast, because the window was not yet full.",
            )?,
            forecasts: counter("tickcast_forecasts_total", "Forecasts published.")?,
            withheld: Withheld::ALL
                .map(|reason| withheld.with_label_values(&[reason.label()]))
                .into(),
            resets: counter(
                "tickcast_windows_reset_total",
                "Windows that began cold because a step lay too far behind the one before.",
            )?,
            expired: counter(
                "tickcast_symbols_expired_total",
                "Symbols that left because they were silent for longer than engine.symbol_ttl.",
            )?,
            signals: by(
                registry,
                "tickcast_forecast_signals_total",
                "Forecasts published, by signal.",
                "signal",
                Signal::ALL.map(Signal::label),
            )?,
            qualities: by(
                registry,
                "tickcast_forecast_qualities_total",
                "Forecasts published, by how whole their window is.",
                "quality",
                Quality::ALL.map(Quality::label),
            )?,
            mistimed: by(
                registry,
                "tickcast_times_implausible_total",
                "Ticks whose event time cannot be right, and steps at another spacing than the \
                 model's, by reason.",
                "reason",
                MISTIMED_LABELS,
            )?,
            out_of_range: counter(
                "tickcast_forecasts_out_of_range_total",
                "Forecasts of a window with an input outside of the training range.",
            )?,
            repeats: counter(
                "tickcast_ticks_repeated_total",
                "Records read again after a restart, which the state holds already.",
            )?,
            stale: counter(
                "tickcast_windows_stale_total",
                "Windows that began anew after a restart, because the data went on too late.",
            )?,
            symbols,
            receive_seconds: histogram(
                "tickcast_receive_seconds",
                "Time that the oldest record of a batch waited in the queue.",
                &WAIT_BUCKETS,
            )?,
            decode_seconds: histogram(
                "tickcast_decode_seconds",
                "Time to decode the first record of a batch.",
                &PART_BUCKETS,
            )?,
            step_seconds: histogram(
                "tickcast_step_seconds",
                "Time from the first tick of a batch to its step, features and window.",
                &PART_BUCKETS,
            )?,
            infer_seconds: histogram(
                "tickcast_infer_seconds",
                "Time from a batch of rows to its forecasts: the critical path of inference.",
                &SECONDS_BUCKETS,
            )?,
            advance_seconds: histogram(
                "tickcast_advance_seconds",
                "Time to move the states behind published forecasts on.",
                &SECONDS_BUCKETS,
            )?,
            publish_seconds: histogram(
                "tickcast_publish_seconds",
                "Time to encode a batch of forecasts and hand it to every way out.",
                &SECONDS_BUCKETS,
            )?,
            end_to_end_seconds: histogram(
                "tickcast_end_to_end_seconds",
                "Time from the arrival of a batch's oldest record until its forecasts were handed \
                 to every way out.",
                &WAIT_BUCKETS,
            )?,
        })
    }

    /// Forecasts published so far, over all shards.
    pub fn forecasts(&self) -> u64 {
        self.forecasts.get()
    }

    /// Records used so far, over all shards: those that went into a state, or were in one already.
    pub(super) fn used(&self) -> u64 {
        self.absorbed.get() + self.steps.get() + self.repeats.get()
    }

    /// Records refused so far, over all shards.
    pub(super) fn refused(&self) -> RejectTally {
        RejectTally::of_counts(Reject::ALL.map(|reason| self.refused[reason as usize].get()))
    }

    /// Adds what has come to one shard since the last time.
    pub(super) fn show(&self, shown: &mut Shown, tally: &EngineTally, symbol_count: usize) {
        let EngineTally { ticks, absorbed, steps, further, patched, .. } = tally;
        let EngineTally { warming, forecasts, withheld, resets, expired, rejects, repeats, .. } =
            tally;
        let before = &shown.tally;
        self.ticks.inc_by(ticks - before.ticks);
        self.absorbed.inc_by(absorbed - before.absorbed);
        self.steps.inc_by(steps - before.steps);
        self.further.inc_by(further - before.further);
        self.patched.inc_by(patched - before.patched);
        self.warming.inc_by(warming - before.warming);
        self.forecasts.inc_by(forecasts - before.forecasts);
        for (counter, reason) in self.withheld.iter().zip(Withheld::ALL) {
            counter.inc_by(withheld.get(reason) - before.withheld.get(reason));
        }
        self.resets.inc_by(resets - before.resets);
        self.expired.inc_by(expired - before.expired);
        self.repeats.inc_by(repeats - before.repeats);
        let EngineTally { doubts, off_cadence, .. } = tally;
        let doubted = doubts.iter().zip(before.doubts).map(|(count, before)| count - before);
        let more = doubted.chain([off_cadence - before.off_cadence]);
        self.mistimed.iter().zip(more).for_each(|(counter, more)| counter.inc_by(more));
        for (counter, reason) in self.refused.iter().zip(Reject::ALL) {
            counter.inc_by(rejects.get(reason) - before.rejects.get(reason));
        }
        // Symbols may also leave: for their silence, or with the partition that they came from.
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.symbols.add(count(symbol_count) - count(shown.symbol_count));
        shown.symbol_count = symbol_count;
        shown.tally.clone_from(tally);
    }

    /// Adds what kinds of forecasts one shard has made since the last time.
    pub(super) fn show_kinds(&self, shown: &mut Shown, kinds: &ForecastKinds) {
        let ForecastKinds { signals, qualities, out_of_range } = &shown.kinds;
        for (place, counter) in self.signals.iter().enumerate() {
            counter.inc_by(kinds.signals[place] - signals[place]);
        }
        for (place, counter) in self.qualities.iter().enumerate() {
            counter.inc_by(kinds.qualities[place] - qualities[place]);
        }
        self.out_of_range.inc_by(kinds.out_of_range - out_of_range);
        shown.kinds.clone_from(kinds);
    }

    /// Notes how long the oldest record of a batch has waited.
    pub(super) fn received(&self, waited: Duration) {
        self.receive_seconds.observe(waited.as_secs_f64());
    }

    /// Notes how long the two parts of one record's way took.
    pub(super) fn taken(&self, decode: Duration, step: Duration) {
        self.decode_seconds.observe(decode.as_secs_f64());
        self.step_seconds.observe(step.as_secs_f64());
    }

    /// Notes how old the oldest record behind published forecasts is.
    pub(super) fn published(&self, age: Duration) {
        self.end_to_end_seconds.observe(age.as_secs_f64());
    }

    /// Adds the windows of one shard that began anew since the last time; tells whether that is
    /// worth a line: powers of ten are.
    pub(super) fn show_stale(&self, shown: &mut Shown, count: u64) -> bool {
        let before = std::mem::replace(&mut shown.stale_count, count);
        self.stale.inc_by(count - before);
        before.checked_ilog10() != count.checked_ilog10()
    }

    /// Notes how long a batch took.
    pub(super) fn observe(&self, times: &BatchTimes) {
        self.infer_seconds.observe(times.infer.as_secs_f64());
        self.publish_seconds.observe(times.publish.as_secs_f64());
        self.advance_seconds.observe(times.advance.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Count and sum of a histogram, by the name under which it is exported.
    fn exported(registry: &Registry, name: &str) -> (u64, f64) {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let histogram =
            family.unwrap_or_else(|| panic!("no {name}")).get_metric()[0].get_histogram();
        (histogram.get_sample_count(), histogram.get_sample_sum())
    }

    #[test]
    fn every_duration_goes_to_the_histogram_of_its_name() {
        let registry = Registry::new();
        let metrics = ShardMetrics::register(&registry).unwrap();
        // Powers of two, so that the sums are exact.
        let seconds = Duration::from_secs;
        metrics.received(seconds(1));
        metrics.taken(seconds(2), seconds(4));
        metrics.published(seconds(8));
        metrics.observe(&BatchTimes {
            infer: seconds(16),
            publish: seconds(32),
            advance: seconds(64),
        });
        for (part, sum) in [
            ("receive", 1.0),
            ("decode", 2.0),
            ("step", 4.0),
            ("end_to_end", 8.0),
            ("infer", 16.0),
            ("publish", 32.0),
            ("advance", 64.0),
        ] {
            let name = format!("tickcast_{part}_seconds");
            assert_eq!(exported(&registry, &name), (1, sum), "{name}");
        }
    }
}
