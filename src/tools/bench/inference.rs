//! Latency: one step or one window, from decoded ticks to forecasts, beside raw ONNX Runtime.
//!
//! Owns how the sides alternate, also where several instances run at once. Promises that in every
//! block all instances do the same. Never starts a thread that outlives the row.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::ceiling::Raw;
use super::models::Subject;
use super::stream::Stream;
use super::{BenchError, Bound, Quantiles, Runtimes, null_backend};
use crate::engine::inference::Runtime;
use crate::engine::model::manifest::Mode;
use crate::ops::clock::Stopwatch;

/// Runs of one block before the other side has its turn; fewer where they take long.
const BLOCK_RUNS: usize = 50;

/// How many blocks of each side the budget is made for, so that a slow model alternates as well.
const BLOCKS_MIN: u32 = 8;

/// What is measured: a mode, symbols per run, engines at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// How the model is driven.
    pub mode: Mode,
    /// Symbols per run.
    pub batch: usize,
    /// Threads, each with an engine of its own.
    pub instances: usize,
    /// How long each side sleeps before a run: what other work has the caches meanwhile.
    pub pause: Duration,
}

/// One row of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InferenceRow {
    /// The model's name.
    pub model: String,
    /// What computed ours: `onnxruntime` or `native`.
    pub runtime: &'static str,
    /// How the model is driven.
    pub mode: Mode,
    /// Symbols per run.
    pub batch: usize,
    /// How long each side slept before a run, in microseconds.
    pub pause_us: u64,
    /// Threads, each with an engine of its own; the distributions are over all of them.
    pub instances: usize,
    /// Steps that one run computes for each symbol on the critical path: W or 1.
    pub steps: usize,
    /// ONNX Runtime alone, on filled buffers: the ceiling.
    pub raw: Quantiles,
    /// From decoded ticks to forecasts, through step, features, window, inference and forecast.
    pub ours: Quantiles,
    /// To move the states on afterwards, off the critical path, in mode `sliding`.
    pub advance: Option<Quantiles>,
    /// As `ours`, without inference: what all but ONNX Runtime costs.
    pub null: Quantiles,
    /// Ours / raw, by medians.
    pub ratio: f64,
    /// Forecasts per second of all instances, the advance included, by medians.
    pub forecasts_per_second: f64,
    /// Multiplications with an addition on the critical path of one run.
    pub multiply_adds: usize,
    /// The share of the processor's measured matrix product that the critical path reaches.
    pub sgemm_share: f64,
    /// What bounds the row.
    pub bound: Bound,
}

/// The times of one instance.
#[derive(Default)]
struct Times {
    raw: Vec<Duration>,
    ours: Vec<Duration>,
    advance: Vec<Duration>,
    whole: Vec<Duration>,
    null: Vec<Duration>,
}

/// Measures one row for about `budget`. `sgemm_gflops` is that of one core.
///
/// # Errors
/// [`BenchError`] where an instance fails.
pub fn row(
    subject: &Subject,
    runtimes: &Runtimes,
    case: Case,
    sgemm_gflops: f64,
    budget: Duration,
) -> Result<InferenceRow, BenchError> {
    let Case { mode, batch, instances, pause } = case;
    let bundle = subject.bundle(mode)?;
    let steps = if mode == Mode::Full { bundle.plans().window_steps } else { 1 };
    let (barrier, stop) = (Barrier::new(instances), AtomicBool::new(false));
    let run = || instance(subject, runtimes, case, steps, budget, &barrier, &stop);
    let outcomes: Vec<Result<Times, BenchError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..instances).map(|_| scope.spawn(run)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            let panicked = |_| Err(BenchError::Machine("an instance panicked".to_owned()));
            thread.join().unwrap_or_else(panicked)
        };
        threads.into_iter().map(join).collect()
    });
    let mut times = Times::default();
    for outcome in outcomes {
        let Times { raw, ours, advance, whole, null } = outcome?;
        times.raw.extend(raw);
        times.ours.extend(ours);
        times.advance.extend(advance);
        times.whole.extend(whole);
        times.null.extend(null);
    }
    let (raw, ours) = (Quantiles::of(times.raw), Quantiles::of(times.ours));
    let multiply_adds = batch * subject.work().multiply_adds(steps);
    let sgemm_share = 2.0 * multiply_adds as f64 / (1e3 * ours.p50_us) / sgemm_gflops;
    let ratio = ours.p50_us / raw.p50_us;
    Ok(InferenceRow {
        model: subject.name().to_owned(),
        runtime: runtimes.ours.choice().name(),
        mode,
        batch,
        pause_us: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX),
        instances,
        steps,
        raw,
        ours,
        advance: (mode == Mode::Sliding).then(|| Quantiles::of(times.advance)),
        null: Quantiles::of(times.null),
        ratio,
        forecasts_per_second: Quantiles::of(times.whole).per_second(batch * instances),
        multiply_adds,
        sgemm_share,
        bound: Bound::of(sgemm_share, ratio),
    })
}

/// One instance, in step with the others from block to block. A failure ends all of them at the end
/// of the round, because nobody may leave a barrier alone.
fn instance(
    subject: &Subject,
    runtimes: &Runtimes,
    Case { mode, batch, pause, .. }: Case,
    steps: usize,
    budget: Duration,
    barrier: &Barrier,
    stop: &AtomicBool,
) -> Result<Times, BenchError> {
    let prepare = || -> Result<_, BenchError> {
        let bundle = subject.bundle(mode)?;
        let mut raw = Raw::open(&runtimes.raw, bundle)?;
        let lane = raw.lane(steps, batch)?;
        let backend = runtimes.ours.open(bundle.onnx(), bundle.signature())?;
        let null = null_backend(bundle.signature());
        let ours = Stream::new(bundle, mode, batch, backend)?;
        let null = Stream::new(bundle, mode, batch, Box::new(null))?;
        Ok((raw, lane, ours, null))
    };
    let mut prepared = prepare();
    let mut times = Times::default();
    barrier.wait();
    let total = Stopwatch::start();
    loop {
        for side in [Side::Raw, Side::Ours, Side::Null] {
            barrier.wait();
            let block = Stopwatch::start();
            for run in 0..BLOCK_RUNS {
                if run > 0 && block.elapsed() * (3 * BLOCKS_MIN) > budget {
                    break;
                }
                let Ok((raw, lane, ours, null)) = &mut prepared else { break };
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
                let outcome = match side {
                    Side::Raw => raw.run(*lane).map(|time| times.raw.push(time)),
                    Side::Ours => ours.step().map(|step| {
                        times.ours.push(step.critical);
                        times.advance.push(step.advance);
                        times.whole.push(step.critical + step.advance);
                    }),
                    Side::Null => null.step().map(|step| times.null.push(step.critical)),
                };
                if let Err(error) = outcome {
                    prepared = Err(error);
                }
            }
        }
        if prepared.is_err() || total.elapsed() >= budget {
            stop.store(true, Ordering::Relaxed);
        }
        // Behind this barrier everybody has had a say, and nobody speaks again before the next one.
        barrier.wait();
        if stop.load(Ordering::Relaxed) {
            return prepared.map(|_| times);
        }
    }
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Side {
    Raw,
    Ours,
    Null,
}
