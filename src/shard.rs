//! The thread that owns all state: it takes batches from the intake and publishes forecasts.
//!
//! Owns the pipeline and the metrics of its stages. Promises to run at its own pace: a batch in,
//! its forecasts out, then the states moved on; and to end by returning, once the intake is closed
//! and empty. Never waits for a subscriber.

use std::io;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tracing::warn;

use crate::clock::Stopwatch;
use crate::domain::{Reject, is_printable};
use crate::engine::EngineTally;
use crate::inference::InferenceError;
use crate::pipeline::Pipeline;
use crate::publish::{LinesClosed, Publisher};
use crate::source::intake::{Arrival, IntakeReceiver};

/// Bucket bounds in seconds, from below one quick step to a stall: factors of 2 to 2.5, because a
/// finer view costs a series each and tells an operator nothing more.
const SECONDS_BUCKETS: [f64; 18] = [
    2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3,
    100e-3, 200e-3, 500e-3, 1.0,
];

/// The longest piece of a refused record in a log line.
const SAMPLE_CHARS_MAX: usize = 64;

/// The metrics of the stages from decode to publish.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    ticks: IntCounter,
    refused: Vec<IntCounter>,
    absorbed: IntCounter,
    steps: IntCounter,
    warming: IntCounter,
    forecasts: IntCounter,
    withheld: IntCounter,
    symbols: IntGauge,
    infer_seconds: Histogram,
    advance_seconds: Histogram,
    publish_seconds: Histogram,
}

/// Why the shard ended before its intake did.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Inference failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// A way out is closed; the reason follows as [`ShardError::Write`].
    #[error(transparent)]
    Closed(#[from] LinesClosed),
    /// Lines cannot be written.
    #[error("write publish.lines: {0}")]
    Write(#[from] io::Error),
}

/// The shard: run it on a thread of its own.
pub struct Shard {
    pipeline: Pipeline,
    intake: IntakeReceiver,
    publisher: Publisher,
    metrics: ShardMetrics,
    drain_records_max: usize,
    /// What the metrics already show.
    shown: EngineTally,
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
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let refused = IntCounterVec::new(
            Opts::new("tickcast_ticks_refused_total", "Records refused, by reason."),
            &["reason"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        let symbols = IntGauge::new("tickcast_symbols", "Symbols with state.")?;
        registry.register(Box::new(symbols.clone()))?;
        Ok(Self {
            ticks: counter(
                "tickcast_ticks_total",
                "Records taken from the queue: refused, absorbed into a bar, or a step.",
            )?,
            // Every reason has its series from the start, so that a rate over it is never empty.
            refused: Reject::ALL.map(|reason| refused.with_label_values(&[reason.label()])).into(),
            absorbed: counter(
                "tickcast_ticks_absorbed_total",
                "Ticks that went into a bar that is still open.",
            )?,
            steps: counter("tickcast_steps_total", "Steps completed.")?,
            warming: counter(
                "tickcast_steps_warming_total",
                "Steps without a forecast, because the window was not yet full.",
            )?,
            forecasts: counter("tickcast_forecasts_total", "Forecasts published.")?,
            withheld: counter(
                "tickcast_forecasts_withheld_total",
                "Forecasts withheld: not finite, impossible, or of a bar that lacks a field.",
            )?,
            symbols,
            infer_seconds: histogram(
                "tickcast_infer_seconds",
                "Time from a batch of rows to its forecasts: the critical path of inference.",
            )?,
            advance_seconds: histogram(
                "tickcast_advance_seconds",
                "Time to move the states behind published forecasts on.",
            )?,
            publish_seconds: histogram(
                "tickcast_publish_seconds",
                "Time to encode a batch of forecasts and hand it to every way out.",
            )?,
        })
    }

    /// Adds to the counters what has come since the last time.
    fn show(&self, tally: &EngineTally, shown: &mut EngineTally, symbol_count: usize) {
        let EngineTally { ticks, absorbed, steps, warming, forecasts, withheld, rejects } = tally;
        self.ticks.inc_by(ticks - shown.ticks);
        self.absorbed.inc_by(absorbed - shown.absorbed);
        self.steps.inc_by(steps - shown.steps);
        self.warming.inc_by(warming - shown.warming);
        self.forecasts.inc_by(forecasts - shown.forecasts);
        self.withheld.inc_by(withheld - shown.withheld);
        for (counter, reason) in self.refused.iter().zip(Reject::ALL) {
            counter.inc_by(rejects.get(reason) - shown.rejects.get(reason));
        }
        self.symbols.set(i64::try_from(symbol_count).unwrap_or(i64::MAX));
        shown.clone_from(tally);
    }
}

impl Shard {
    /// A shard that takes at most `drain_records_max` records at once.
    pub fn new(
        pipeline: Pipeline,
        intake: IntakeReceiver,
        publisher: Publisher,
        metrics: ShardMetrics,
        drain_records_max: usize,
    ) -> Self {
        let shown = EngineTally::default();
        Self { pipeline, intake, publisher, metrics, drain_records_max, shown }
    }

    /// Runs until the intake is closed and empty; returns what became of everything.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn run(mut self) -> Result<EngineTally, ShardError> {
        let outcome = self.drain_all();
        let tally = self.pipeline.tally().clone();
        // The writer's own error is the cause of a closed way out, so it goes first.
        self.publisher.finish()?;
        outcome.map(|()| tally)
    }

    fn drain_all(&mut self) -> Result<(), ShardError> {
        let mut batch = Vec::with_capacity(self.drain_records_max);
        loop {
            let open = self.intake.drain(&mut batch, self.drain_records_max);
            for arrival in batch.drain(..) {
                match arrival {
                    Arrival::Gap => self.pipeline.mark_gap(),
                    Arrival::Record(record) => self.take(&record)?,
                }
            }
            flush(&mut self.pipeline, &self.publisher, &self.metrics)?;
            let symbol_count = self.pipeline.symbol_count();
            self.metrics.show(self.pipeline.tally(), &mut self.shown, symbol_count);
            if !open {
                return Ok(());
            }
        }
    }

    fn take(&mut self, record: &[u8]) -> Result<(), ShardError> {
        let Self { pipeline, publisher, metrics, .. } = self;
        let refused = pipeline.take(record, |pipeline| flush(pipeline, publisher, metrics))?;
        if let Some(reason) = refused {
            self.report(reason, record);
        }
        Ok(())
    }

    /// Logs the 1st, 10th, 100th ... record refused for a reason, so that a flood of bad input
    /// does not become a flood of log lines.
    fn report(&self, reason: Reject, record: &[u8]) {
        let count = self.pipeline.tally().rejects.get(reason);
        if is_power_of_ten(count) {
            let sample = sample(record);
            warn!(reason = reason.label(), count, %sample, "refused a record");
        }
    }
}

/// Infers what waits, publishes, then moves the states on.
fn flush(
    pipeline: &mut Pipeline,
    publisher: &Publisher,
    metrics: &ShardMetrics,
) -> Result<(), ShardError> {
    let watch = Stopwatch::start();
    pipeline.infer()?;
    let inferred = watch.elapsed();
    let count = pipeline.emit(|symbol, record| publisher.publish(symbol, record))?;
    let published = watch.elapsed();
    pipeline.advance()?;
    if count > 0 {
        observe(&metrics.infer_seconds, inferred);
        observe(&metrics.publish_seconds, published.saturating_sub(inferred));
        observe(&metrics.advance_seconds, watch.elapsed().saturating_sub(published));
    }
    Ok(())
}

fn observe(histogram: &Histogram, duration: Duration) {
    histogram.observe(duration.as_secs_f64());
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|exponent| 10u64.pow(exponent) == count)
}

/// The beginning of a record, harmless in any terminal.
fn sample(record: &[u8]) -> String {
    let head = &record[..record.len().min(4 * SAMPLE_CHARS_MAX)];
    let mut sample = String::with_capacity(SAMPLE_CHARS_MAX);
    for character in String::from_utf8_lossy(head).chars().take(SAMPLE_CHARS_MAX) {
        if is_printable(character) {
            sample.push(character);
        } else {
            sample.extend(character.escape_unicode());
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_sparse_and_harmless() {
        let reported: Vec<_> = (0..2000).filter(|count| is_power_of_ten(*count)).collect();
        assert_eq!(reported, [1, 10, 100, 1000]);
        assert_eq!(sample(b"a\x1b[2J\n\xff"), "a\\u{1b}[2J\\u{a}\u{fffd}");
        assert_eq!(sample(&[b'x'; 1000]).len(), SAMPLE_CHARS_MAX);
    }
}
