//! Measuring inference in process, beside the ceiling: raw ONNX Runtime with bound buffers on the
//! same model and shapes, in the same run.
//!
//! Owns what is compared and the statistics. Promises that ours and the ceiling alternate in
//! blocks, so that a noisy machine disturbs both, and that a model that computes nothing shows the
//! harness's own cost. Never prints.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::domain::{Fields, Tick, UnixNanos};
use crate::engine::{Engine, EngineLimits};
use crate::inference::{Backend, InferenceError, Lane, Runtime, Shape, Signature};
use crate::model::Bundle;
use crate::model::manifest::Mode;

/// The batch sizes that are measured.
pub const BATCHES: [usize; 3] = [1, 30, 512];

/// Runs of one block before the other side has its turn.
const BLOCK_RUNS: usize = 50;

/// One line of the result.
#[derive(Clone, Debug)]
pub struct BenchRow {
    /// How the model is driven.
    pub mode: Mode,
    /// Symbols per run.
    pub batch: usize,
    /// ONNX Runtime alone, on filled buffers: the ceiling.
    pub raw: Quantiles,
    /// From decoded ticks to forecasts, through step, features, window, inference and forecast.
    pub ours: Quantiles,
    /// To move the states on afterwards, off the critical path, in mode `sliding`.
    pub advance: Option<Quantiles>,
    /// As `ours`, without inference: what all but ONNX Runtime costs.
    pub null: Quantiles,
}

/// The distribution of the time of one run.
#[derive(Clone, Copy, Debug)]
pub struct Quantiles {
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// 99.9th percentile.
    pub p999: Duration,
    /// The slowest run.
    pub max: Duration,
    /// How many runs.
    pub runs: usize,
}

/// What is measured, and for how long.
pub struct Bench<'b> {
    /// The model.
    pub bundle: &'b Bundle,
    /// The library.
    pub runtime: &'b Runtime,
    /// How long each row is measured.
    pub budget: Duration,
}

/// A model that computes nothing: every output is zero.
struct NullBackend {
    signature: Signature,
    lanes: Vec<(Shape, Vec<Vec<f32>>)>,
}

impl Bench<'_> {
    /// Measures one mode at one batch size.
    ///
    /// # Errors
    /// [`InferenceError`] where the runtime fails.
    pub fn row(&self, mode: Mode, batch: usize) -> Result<BenchRow, InferenceError> {
        let steps = match mode {
            Mode::Full => self.bundle.plans().window_steps,
            Mode::Sliding | Mode::Carried => 1,
        };
        let mut raw = self.runtime.session(self.bundle.onnx(), self.bundle.signature())?;
        let lane = raw.lane(Shape { steps, batch })?;
        let signature = self.bundle.signature();
        let session = self.runtime.session(self.bundle.onnx(), signature)?;
        let null = NullBackend { signature: signature.clone(), lanes: Vec::new() };
        let mut ours = Stream::new(self.bundle, mode, batch, Box::new(session))?;
        let mut null = Stream::new(self.bundle, mode, batch, Box::new(null))?;
        let (mut raw_times, mut our_times) = (Vec::new(), Vec::new());
        let (mut advance_times, mut null_times) = (Vec::new(), Vec::new());
        let total = Stopwatch::start();
        loop {
            for _ in 0..BLOCK_RUNS {
                let watch = Stopwatch::start();
                raw.run(lane)?;
                raw_times.push(watch.elapsed());
            }
            for _ in 0..BLOCK_RUNS {
                let StepTimes { critical, advance } = ours.step()?;
                our_times.push(critical);
                advance_times.push(advance);
            }
            for _ in 0..BLOCK_RUNS {
                null_times.push(null.step()?.critical);
            }
            assert_eq!(ours.forecasts.len(), batch, "every symbol has a forecast at every step");
            if total.elapsed() >= self.budget {
                break;
            }
        }
        Ok(BenchRow {
            mode,
            batch,
            raw: Quantiles::of(raw_times),
            ours: Quantiles::of(our_times),
            advance: (mode == Mode::Sliding).then(|| Quantiles::of(advance_times)),
            null: Quantiles::of(null_times),
        })
    }
}

impl BenchRow {
    /// Ours against the ceiling, by medians.
    pub fn ratio(&self) -> f64 {
        self.ours.p50.as_secs_f64() / self.raw.p50.as_secs_f64()
    }
}

/// What one step took.
struct StepTimes {
    critical: Duration,
    advance: Duration,
}

/// Symbols in step: each run gives every one of them its next tick.
struct Stream {
    engine: Engine,
    symbols: Vec<String>,
    fields: Fields,
    time: i64,
    forecasts: Vec<crate::domain::Forecast>,
}

impl Stream {
    /// A stream whose windows are full.
    fn new(
        bundle: &Bundle,
        mode: Mode,
        batch: usize,
        backend: Box<dyn Backend>,
    ) -> Result<Self, InferenceError> {
        let limits = EngineLimits { symbols_max: batch, batch_rows_max: 512 };
        let plans = bundle.plans().clone();
        let raw = plans.features.raw();
        // The middle of nowhere in particular: timing does not depend on the values.
        let mut fields = Fields::EMPTY;
        for field in raw.required() {
            fields.set(*field, 10.0);
        }
        let warm_up = plans.window_steps as u64 + raw.warm_up_steps();
        let engine = Engine::new(plans, mode, bundle.signature(), backend, limits)?;
        let symbols = (0..batch).map(|index| format!("S{index}")).collect();
        let mut stream = Self { engine, symbols, fields, time: 0, forecasts: Vec::new() };
        for _ in 0..warm_up {
            stream.step()?;
        }
        // A stream that forecasts nothing would be quick and worthless.
        assert_eq!(stream.forecasts.len(), batch, "every symbol has a forecast at every step");
        Ok(stream)
    }

    /// Gives every symbol a tick.
    fn step(&mut self) -> Result<StepTimes, InferenceError> {
        // A second a step: centuries of runs before event time ends.
        self.time += 1_000_000_000;
        self.forecasts.clear();
        let watch = Stopwatch::start();
        for symbol in &self.symbols {
            let time = UnixNanos::from_nanos(self.time);
            let tick = Tick { symbol: symbol.as_str().into(), time, fields: self.fields };
            self.engine.push(&tick, None);
        }
        self.engine.infer(&mut self.forecasts)?;
        let critical = watch.elapsed();
        self.engine.advance()?;
        Ok(StepTimes { critical, advance: watch.elapsed().saturating_sub(critical) })
    }
}

impl Quantiles {
    /// The quantiles of at least one time.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // The nearest rank: the smallest time that at least this share does not exceed.
        let rank = |share: f64| (share * times.len() as f64).ceil() as usize;
        let at = |share| times.get(rank(share).saturating_sub(1)).copied().unwrap_or_default();
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0), runs: times.len() }
    }
}

impl Backend for NullBackend {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        let known = self.lanes.iter().position(|(known, _)| *known == shape);
        let index = known.unwrap_or_else(|| {
            let rows = vec![0.0; shape.steps * shape.batch * self.signature.features];
            let states = self.signature.states.iter().map(|s| vec![0.0; shape.batch * s.width]);
            let tensors = [rows, vec![0.0; shape.batch]].into_iter().chain(states).collect();
            self.lanes.push((shape, tensors));
            self.lanes.len() - 1
        });
        Ok(Lane::new(index))
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        &mut self.lanes[lane.index()].1[0]
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        &mut self.lanes[lane.index()].1[2 + index]
    }

    fn run(&mut self, _: Lane) -> Result<(), InferenceError> {
        Ok(())
    }

    fn output(&self, lane: Lane) -> &[f32] {
        &self.lanes[lane.index()].1[1]
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        &self.lanes[lane.index()].1[2 + index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let times = (1..=1000).rev().map(Duration::from_micros).collect();
        let Quantiles { p50, p99, p999, max, runs } = Quantiles::of(times);
        let micros = [p50, p99, p999, max].map(|time| time.as_micros());
        assert_eq!((micros, runs), ([500, 990, 999, 1000], 1000));
    }
}
