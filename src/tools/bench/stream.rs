//! Symbols in step: each gets its next decoded tick, then all are inferred at once.
//!
//! Owns an engine and its ticks. Promises that every step forecasts every symbol. Never decodes.

use std::time::Duration;

use super::{BenchError, expect_forecasts};
use crate::core::domain::{Fields, Forecast, Tick, UnixNanos};
use crate::engine::inference::Backend;
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::symbols::{Engine, EngineLimits, Haste};
use crate::ops::clock::{ProcessorWatch, Stopwatch};

/// Rows of one run, as the daemon's default.
const BATCH_ROWS_MAX: usize = 512;

/// What one step took.
#[derive(Clone, Copy)]
pub(super) struct StepTimes {
    /// From decoded ticks to forecasts.
    pub(super) critical: Duration,
    /// To move the states on afterwards.
    pub(super) advance: Duration,
}

/// Symbols in step.
pub(super) struct Stream {
    engine: Engine,
    symbols: Vec<String>,
    fields: Fields,
    time: i64,
    forecasts: Vec<Forecast>,
}

impl Stream {
    /// A stream whose windows are full.
    pub(super) fn new(
        bundle: &Bundle,
        mode: Mode,
        symbols: usize,
        backend: Box<dyn Backend>,
    ) -> Result<Self, BenchError> {
        let limits = EngineLimits { symbols_max: symbols, batch_rows_max: BATCH_ROWS_MAX };
        let plans = bundle.plans().clone();
        let raw = plans.features.raw();
        // Nowhere in particular: timing does not depend on the values.
        let mut fields = Fields::EMPTY;
        for field in raw.required() {
            fields.set(*field, 10.0);
        }
        let warm_up = plans.window_steps as u64 + raw.warm_up_steps();
        let engine = Engine::new(plans, mode, bundle.signature(), backend, limits)?;
        let symbols = (0..symbols).map(|index| format!("S{index}")).collect();
        let mut stream = Self { engine, symbols, fields, time: 0, forecasts: Vec::new() };
        for _ in 0..warm_up {
            stream.push_and_infer()?;
        }
        stream.step()?;
        Ok(stream)
    }

    /// Gives every symbol a tick.
    pub(super) fn step(&mut self) -> Result<StepTimes, BenchError> {
        let times = self.push_and_infer()?;
        expect_forecasts(self.forecasts.len(), self.symbols.len())?;
        Ok(times)
    }

    /// Gives every symbol a tick, while more ticks wait: forecasts and states in one, as the shard
    /// does it then. Returns the processor's time for all of it.
    pub(super) fn step_in_a_hurry(&mut self) -> Result<Duration, BenchError> {
        let watch = ProcessorWatch::start();
        self.push();
        self.engine.infer(Haste::Throughput, &mut self.forecasts)?;
        let time = watch.elapsed();
        expect_forecasts(self.forecasts.len(), self.symbols.len())?;
        Ok(time)
    }

    fn push(&mut self) {
        // A second a step: centuries of runs before event time ends.
        self.time += 1_000_000_000;
        self.forecasts.clear();
        for symbol in &self.symbols {
            let time = UnixNanos::from_nanos(self.time);
            let tick = Tick { symbol: symbol.as_str().into(), time, fields: self.fields };
            self.engine.push(&tick, None);
        }
    }

    fn push_and_infer(&mut self) -> Result<StepTimes, BenchError> {
        let watch = Stopwatch::start();
        self.push();
        self.engine.infer(Haste::Latency, &mut self.forecasts)?;
        let critical = watch.elapsed();
        self.engine.advance()?;
        Ok(StepTimes { critical, advance: watch.elapsed().saturating_sub(critical) })
    }
}
