//! Throughput of one engine with many symbols, everything included, beside raw ONNX Runtime.
//!
//! Owns what "everything" is compared with. Promises that the raw side computes as many steps, in
//! the shape that serves it best, and that rates are per second of a processor's time, which other
//! work on the machine does not shorten. Never measures latency.

use std::time::Duration;

use serde::Serialize;

use super::ceiling::Raw;
use super::models::Subject;
use super::stream::Stream;
use super::{BenchError, Bound, Quantiles, RAW_BATCH_MAX, Runtimes};
use crate::engine::inference::{Lane, Runtime};
use crate::engine::model::manifest::Mode;
use crate::ops::clock::Stopwatch;

/// Batches in which the raw side may run whole windows.
const WINDOW_BATCHES: [usize; 3] = [8, 32, 128];

/// One row of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThroughputRow {
    /// The model's name.
    pub model: String,
    /// What computed ours: `onnxruntime` or `native`.
    pub runtime: &'static str,
    /// How the model is driven.
    pub mode: Mode,
    /// Symbols that get a tick at every step.
    pub symbols: usize,
    /// Forecasts per second from decoded ticks, the advance included, by medians: as the shard
    /// drives the engine while more ticks wait.
    pub ours_forecasts_per_second: f64,
    /// What ONNX Runtime alone would make of as many steps for each forecast, by medians.
    pub raw_forecasts_per_second: f64,
    /// Steps of one raw run.
    pub raw_steps: usize,
    /// Rows of one raw run.
    pub raw_batch: usize,
    /// Ours / raw.
    pub ratio: f64,
    /// Steps that the model computes for a forecast: W, or 1 in mode `carried`.
    pub steps_per_forecast: usize,
    /// The share of the processor's measured matrix product.
    pub sgemm_share: f64,
    /// What bounds the row.
    pub bound: Bound,
}

/// Measures one row for about `budget`.
///
/// # Errors
/// [`BenchError`] where the runtime fails or the model does not serve the mode.
pub fn row(
    subject: &Subject,
    runtimes: &Runtimes,
    mode: Mode,
    symbols: usize,
    sgemm_gflops: f64,
    budget: Duration,
) -> Result<ThroughputRow, BenchError> {
    let bundle = subject.bundle(mode)?;
    let window_steps = bundle.plans().window_steps;
    let per_forecast = if mode == Mode::Carried { 1 } else { window_steps };
    let mut raw = Raw::open(&runtimes.raw, bundle)?;
    let single = (1, symbols.min(RAW_BATCH_MAX));
    let mut shapes = vec![single];
    if mode != Mode::Carried {
        shapes.push((1, RAW_BATCH_MAX));
        shapes.extend(WINDOW_BATCHES.map(|batch| (window_steps, batch)));
    }
    let best = best_shape(&mut raw, &shapes, per_forecast, budget / 4)?;
    let backend = runtimes.ours.open(bundle.onnx(), bundle.signature())?;
    let mut ours = Stream::new(bundle, mode, symbols, backend)?;
    let (mut raw_times, mut our_times) = (Vec::new(), Vec::new());
    let total = Stopwatch::start();
    while our_times.is_empty() || total.elapsed() < budget {
        let step = ours.step_in_a_hurry()?;
        our_times.push(step);
        let turn = Stopwatch::start();
        // As long as one of our steps, so that whatever disturbs falls on both.
        while raw_times.is_empty() || turn.elapsed() < step {
            raw_times.push(raw.run_on_processor(best.lane)?);
        }
    }
    let ours_forecasts_per_second = Quantiles::of(our_times).per_second(symbols);
    let raw_rows = Quantiles::of(raw_times).per_second(best.steps * best.batch);
    let raw_forecasts_per_second = raw_rows / per_forecast as f64;
    let multiply_adds = subject.work().multiply_adds(per_forecast) as f64;
    let sgemm_share = 2.0 * multiply_adds * ours_forecasts_per_second / (1e9 * sgemm_gflops);
    let ratio = ours_forecasts_per_second / raw_forecasts_per_second;
    Ok(ThroughputRow {
        model: subject.name().to_owned(),
        runtime: runtimes.ours.choice().name(),
        mode,
        symbols,
        ours_forecasts_per_second,
        raw_forecasts_per_second,
        raw_steps: best.steps,
        raw_batch: best.batch,
        ratio,
        steps_per_forecast: per_forecast,
        sgemm_share,
        bound: Bound::of(sgemm_share, 1.0 / ratio),
    })
}

/// The shape in which the raw side computes the most steps per second.
struct BestShape {
    lane: Lane,
    steps: usize,
    batch: usize,
}

fn best_shape(
    raw: &mut Raw,
    shapes: &[(usize, usize)],
    per_forecast: usize,
    budget: Duration,
) -> Result<BestShape, BenchError> {
    let share = budget / u32::try_from(shapes.len()).unwrap_or(u32::MAX);
    let mut best: Option<(f64, BestShape)> = None;
    for &(steps, batch) in shapes {
        let lane = raw.lane(steps, batch)?;
        let (mut times, total) = (Vec::new(), Stopwatch::start());
        while times.is_empty() || total.elapsed() < share {
            times.push(raw.run_on_processor(lane)?);
        }
        let rate = Quantiles::of(times).per_second(steps * batch);
        if best.as_ref().is_none_or(|(known, _)| rate > *known) {
            best = Some((rate, BestShape { lane, steps, batch }));
        }
    }
    best.map(|(_, shape)| shape).ok_or(BenchError::Silent { have: 0, want: per_forecast })
}
