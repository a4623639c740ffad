//! The metrics of the stages from decode to publish, over all shards.
//!
//! Owns their names. What a record is for the stream is counted once, whatever models there are;
//! what became of it in a model has that model in the label `model`. Promises that the counters of
//! all shards add up. Never decides anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::core::domain::{Quality, Reject, RejectTally, Signal, TimeDoubt};
use crate::core::forecast::ForecastKinds;
use crate::engine::pipeline::StreamTally;
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
    used: IntCounter,
    unwanted: IntCounter,
    refused: Vec<IntCounter>,
    receive_seconds: Histogram,
    decode_seconds: Histogram,
    step_seconds: Histogram,
    infer_seconds: Histogram,
    advance_seconds: Histogram,
    publish_seconds: Histogram,
    end_to_end_seconds: Histogram,
    shadow_seconds: Histogram,
    /// Of the live models, over all shards. Not exported: the metrics have the model in a label.
    live_forecasts: Arc<AtomicU64>,
    live_symbols: Arc<AtomicUsize>,
    models: Vec<ModelMetrics>,
}

/// Those of one model.
#[derive(Clone, Debug)]
pub(super) struct ModelMetrics {
    ticks: IntCounter,
    refused: Vec<IntCounter>,
    absorbed: IntCounter,
    steps: IntCounter,
    further: IntCounter,
    patched: IntCounter,
    filled: IntCounter,
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
    shifts: IntCounter,
    repeats: IntCounter,
    further_forecasts: IntCounter,
    further_withheld: IntCounter,
    crossed: IntCounter,
    stale: IntCounter,
    symbols: IntGauge,
    unknown: IntGauge,
}

/// What the metrics already show of one model in one shard.
#[derive(Debug, Default)]
pub(super) struct Shown {
    tally: EngineTally,
    kinds: ForecastKinds,
    symbol_count: usize,
    unknown_count: usize,
    stale_count: u64,
}

impl Shown {
    /// What is shown of what went into the model.
    pub(super) fn tally(&self) -> &EngineTally {
        &self.tally
    }

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

/// The counters of all models under one name.
struct ByModel<'r> {
    registry: &'r Registry,
}

impl ByModel<'_> {
    /// Registers a counter with the label `model`.
    fn counter(&self, name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
        self.counters(name, help, &["model"])
    }

    /// Registers counters of a model that differ in one more label.
    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }
}

/// Every counter that models have, before it is known which ones there are.
struct ModelFamilies {
    ticks: IntCounterVec,
    refused: IntCounterVec,
    absorbed: IntCounterVec,
    steps: IntCounterVec,
    further: IntCounterVec,
    patched: IntCounterVec,
    filled: IntCounterVec,
    warming: IntCounterVec,
    forecasts: IntCounterVec,
    withheld: IntCounterVec,
    resets: IntCounterVec,
    expired: IntCounterVec,
    signals: IntCounterVec,
    qualities: IntCounterVec,
    mistimed: IntCounterVec,
    out_of_range: IntCounterVec,
    shifts: IntCounterVec,
    repeats: IntCounterVec,
    further_forecasts: IntCounterVec,
    further_withheld: IntCounterVec,
    crossed: IntCounterVec,
    stale: IntCounterVec,
    symbols: IntGaugeVec,
    unknown: IntGaugeVec,
}

impl ModelFamilies {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let all = ByModel { registry };
        let symbols =
            IntGaugeVec::new(Opts::new("tickcast_symbols", "Symbols with state."), &["model"])?;
        registry.register(Box::new(symbols.clone()))?;
        let unknown = Opts::new(
            "tickcast_symbols_unknown",
            "Symbols with state that the model's table of symbols does not have.",
        );
        let unknown = IntGaugeVec::new(unknown, &["model"])?;
        registry.register(Box::new(unknown.clone()))?;
        Ok(Self {
            ticks: all.counter(
                "tickcast_model_ticks_total",
                "Records that a model was given: those of its symbols, and what is no tick.",
            )?,
            refused: all.counters(
                "tickcast_model_ticks_refused_total",
                "Records that a model refused, by reason.",
                &["model", "reason"],
            )?,
            absorbed: all.counter(
                "tickcast_ticks_absorbed_total",
                "Ticks that went into a bar that is still open.",
            )?,
            steps: all.counter("tickcast_steps_total", "Steps completed.")?,
            further: all.counter(
                "tickcast_steps_further_total",
                "Steps beyond the first that one tick completed.",
            )?,
            patched: all.counter(
                "tickcast_steps_patched_total",
                "Steps made by rule, because nothing came in their interval.",
            )?,
            filled: all.counter(
                "tickcast_backfill_filled_steps_total",
                "Steps of holes that history has filled.",
            )?,
            warming: all.counter(
                "tickcast_steps_warming_total",
                "Steps without a forecast, because the window was not yet full.",
            )?,
            forecasts: all.counter("tickcast_forecasts_total", "Forecasts published.")?,
            withheld: all.counters(
                "tickcast_forecasts_withheld_total",
                "Forecasts withheld, by reason.",
                &["model", "reason"],
            )?,
            resets: all.counter(
                "tickcast_windows_reset_total",
                "Windows that began cold because a step lay too far behind the one before.",
            )?,
            expired: all.counter(
                "tickcast_symbols_expired_total",
                "Symbols that left because they were silent for longer than engine.symbol_ttl.",
            )?,
            signals: all.counters(
                "tickcast_forecast_signals_total",
                "Forecasts published, by signal.",
                &["model", "signal"],
            )?,
            qualities: all.counters(
                "tickcast_forecast_qualities_total",
                "Forecasts published, by how whole their window is.",
                &["model", "quality"],
            )?,
            mistimed: all.counters(
                "tickcast_times_implausible_total",
                "Ticks whose event time cannot be right, and steps at another spacing than the \
                 model's, by reason.",
                &["model", "reason"],
            )?,
            out_of_range: all.counter(
                "tickcast_forecasts_out_of_range_total",
                "Forecasts of a window with an input outside of the training range.",
            )?,
            shifts: all.counter(
                "tickcast_shifts_total",
                "Times that the inputs of a symbol left the distribution of the training.",
            )?,
            repeats: all.counter(
                "tickcast_ticks_repeated_total",
                "Records read again after a restart, which the state holds already.",
            )?,
            further_forecasts: all.counter(
                "tickcast_output_forecasts_total",
                "Forecasts published of outputs behind the first.",
            )?,
            further_withheld: all.counter(
                "tickcast_output_forecasts_withheld_total",
                "Forecasts of outputs behind the first that could not come true.",
            )?,
            crossed: all.counter(
                "tickcast_quantiles_crossed_total",
                "Forecasts whose quantiles crossed and were put in order.",
            )?,
            stale: all.counter(
                "tickcast_windows_stale_total",
                "Windows that began cold after a restart, because the data went on too late.",
            )?,
            symbols,
            unknown,
        })
    }

    /// The metrics of one model. Every label has its series from the start, so that a rate over it
    /// is never empty.
    fn of(&self, model: &str) -> ModelMetrics {
        let of = |family: &IntCounterVec| family.with_label_values(&[model]);
        let by = |family: &IntCounterVec, value: &str| family.with_label_values(&[model, value]);
        ModelMetrics {
            ticks: of(&self.ticks),
            refused: Reject::ALL.map(|reason| by(&self.refused, reason.label())).into(),
            absorbed: of(&self.absorbed),
            steps: of(&self.steps),
            further: of(&self.further),
            patched: of(&self.patched),
            filled: of(&self.filled),
            warming: of(&self.warming),
            forecasts: of(&self.forecasts),
            withheld: Withheld::ALL.map(|reason| by(&self.withheld, reason.label())).into(),
            resets: of(&self.resets),
            expired: of(&self.expired),
            signals: Signal::ALL.map(|signal| by(&self.signals, signal.label())),
            qualities: Quality::ALL.map(|quality| by(&self.qualities, quality.label())),
            mistimed: MISTIMED_LABELS.map(|reason| by(&self.mistimed, reason)),
            out_of_range: of(&self.out_of_range),
            shifts: of(&self.shifts),
            repeats: of(&self.repeats),
            further_forecasts: of(&self.further_forecasts),
            further_withheld: of(&self.further_withheld),
            crossed: of(&self.crossed),
            stale: of(&self.stale),
            symbols: self.symbols.with_label_values(&[model]),
            unknown: self.unknown.with_label_values(&[model]),
        }
    }
}

impl ShardMetrics {
    /// Registers the metrics of a stream with these models.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register<'m>(
        registry: &Registry,
        models: impl IntoIterator<Item = &'m str>,
    ) -> Result<Self, prometheus::Error> {
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
            Opts::new(
                "tickcast_ticks_refused_total",
                "Records that no live model took, by reason.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        let families = ModelFamilies::register(registry)?;
        Ok(Self {
            ticks: counter("tickcast_ticks_total", "Records taken from the queue.")?,
            used: counter(
                "tickcast_ticks_used_total",
                "Records that a live model took, or had taken before.",
            )?,
            unwanted: counter(
                "tickcast_ticks_unwanted_total",
                "Records of symbols that no live model wants.",
            )?,
            // Every reason has its series from the start, so that a rate over it is never empty.
            refused: Reject::ALL.map(|reason| refused.with_label_values(&[reason.label()])).into(),
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
                "Time from the first tick of a batch to its step, features and window, in all \
                 live models.",
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
            shadow_seconds: histogram(
                "tickcast_shadow_seconds",
                "Time that all shadows took for a batch, behind its live forecasts.",
                &SECONDS_BUCKETS,
            )?,
            live_forecasts: Arc::default(),
            live_symbols: Arc::default(),
            models: models.into_iter().map(|model| families.of(model)).collect(),
        })
    }

    /// Forecasts that live models have published so far, over all shards.
    pub fn live_forecasts(&self) -> u64 {
        self.live_forecasts.load(Ordering::Relaxed)
    }

    /// Records used so far, over all shards: those that went into a state, or were in one already.
    pub(super) fn used(&self) -> u64 {
        self.used.get()
    }

    /// Records refused so far, over all shards.
    pub(super) fn refused(&self) -> RejectTally {
        RejectTally::of_counts(Reject::ALL.map(|reason| self.refused[reason as usize].get()))
    }

    /// Records so far of symbols that no live model wants, over all shards.
    pub(super) fn unwanted(&self) -> u64 {
        self.unwanted.get()
    }

    /// How many symbols the live models know, over all shards.
    pub(super) fn live_symbols(&self) -> usize {
        self.live_symbols.load(Ordering::Relaxed)
    }

    /// Shows that the live models of one shard know so many symbols; `shown` is what it has shown.
    pub(super) fn show_live_symbols(&self, shown: &mut usize, count: usize) {
        let before = std::mem::replace(shown, count);
        // Wraps where there are fewer than before, and the sum is right again.
        self.live_symbols.fetch_add(count.wrapping_sub(before), Ordering::Relaxed);
    }

    /// The metrics of the models, in the order in which they were registered.
    pub(super) fn models(&self) -> &[ModelMetrics] {
        &self.models
    }

    /// Adds what has come to one shard since the last time.
    pub(super) fn show(&self, shown: &mut StreamTally, tally: &StreamTally) {
        let StreamTally { ticks, used, rejects, unwanted, .. } = tally;
        self.used.inc_by(used - shown.used);
        self.unwanted.inc_by(unwanted - shown.unwanted);
        for (counter, reason) in self.refused.iter().zip(Reject::ALL) {
            counter.inc_by(rejects.get(reason) - shown.rejects.get(reason));
        }
        // Last: who sees them counted sees what became of them, too.
        self.ticks.inc_by(ticks - shown.ticks);
        shown.clone_from(tally);
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

    /// Notes so many forecasts of a live model, and how old the oldest record behind them is.
    pub(super) fn published(&self, count: usize, age: Option<Duration>) {
        self.live_forecasts.fetch_add(count as u64, Ordering::Relaxed);
        if let Some(age) = age {
            self.end_to_end_seconds.observe(age.as_secs_f64());
        }
    }

    /// Notes how long the shadows took for a batch.
    pub(super) fn shadowed(&self, took: Duration) {
        self.shadow_seconds.observe(took.as_secs_f64());
    }

    /// Notes how long a batch took.
    pub(super) fn observe(&self, times: &BatchTimes) {
        self.infer_seconds.observe(times.infer.as_secs_f64());
        self.publish_seconds.observe(times.publish.as_secs_f64());
        self.advance_seconds.observe(times.advance.as_secs_f64());
    }
}

impl ModelMetrics {
    /// Adds what has come to the model in one shard since the last time.
    pub(super) fn show(&self, shown: &mut Shown, tally: &EngineTally, symbol_count: usize) {
        let EngineTally { ticks, absorbed, steps, further, patched, .. } = tally;
        let EngineTally { warming, forecasts, withheld, resets, expired, rejects, repeats, .. } =
            tally;
        let before = &shown.tally;
        self.absorbed.inc_by(absorbed - before.absorbed);
        self.steps.inc_by(steps - before.steps);
        self.further.inc_by(further - before.further);
        self.patched.inc_by(patched - before.patched);
        self.filled.inc_by(tally.filled - before.filled);
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
        self.shifts.inc_by(tally.shifts - before.shifts);
        self.further_forecasts.inc_by(tally.further_forecasts - before.further_forecasts);
        self.further_withheld.inc_by(tally.further_withheld - before.further_withheld);
        self.crossed.inc_by(tally.crossed - before.crossed);
        self.mistimed.iter().zip(more).for_each(|(counter, more)| counter.inc_by(more));
        for (counter, reason) in self.refused.iter().zip(Reject::ALL) {
            counter.inc_by(rejects.get(reason) - before.rejects.get(reason));
        }
        self.ticks.inc_by(ticks - before.ticks);
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

    /// Shows how many symbols of one shard the model's table does not have; tells whether that is
    /// worth a line: where a power of ten is passed.
    pub(super) fn show_unknown(&self, shown: &mut Shown, count: usize) -> bool {
        let before = std::mem::replace(&mut shown.unknown_count, count);
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.unknown.add(gauge(count) - gauge(before));
        count > before && before.checked_ilog10() != count.checked_ilog10()
    }

    /// Adds the windows of one shard that began anew since the last time; tells whether that is
    /// worth a line: powers of ten are.
    pub(super) fn show_stale(&self, shown: &mut Shown, count: u64) -> bool {
        let before = std::mem::replace(&mut shown.stale_count, count);
        self.stale.inc_by(count - before);
        before.checked_ilog10() != count.checked_ilog10()
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
        let metrics = ShardMetrics::register(&registry, ["m"]).unwrap();
        // Powers of two, so that the sums are exact.
        let seconds = Duration::from_secs;
        metrics.received(seconds(1));
        metrics.taken(seconds(2), seconds(4));
        metrics.published(3, Some(seconds(8)));
        metrics.published(2, None);
        assert_eq!(metrics.live_forecasts(), 5);
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
