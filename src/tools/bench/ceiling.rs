//! The ceiling: ONNX Runtime alone, on buffers that are bound and filled.
//!
//! Owns raw sessions. Promises that a run is nothing but a run. Never copies in or out.

use std::time::Duration;

use super::BenchError;
use super::models::SplitMix64;
use crate::engine::inference::{Backend, Lane, OnnxRuntime, OrtBackend, Shape};
use crate::engine::model::Bundle;
use crate::ops::clock::{ProcessorWatch, Stopwatch};

/// A raw session of a model.
pub(super) struct Raw {
    session: OrtBackend,
    state_count: usize,
}

impl Raw {
    pub(super) fn open(runtime: &OnnxRuntime, bundle: &Bundle) -> Result<Self, BenchError> {
        let session = runtime.session(bundle.onnx(), bundle.signature())?;
        Ok(Self { session, state_count: bundle.signature().states.len() })
    }

    /// Prepares a shape, its inputs filled with small numbers.
    pub(super) fn lane(&mut self, steps: usize, batch: usize) -> Result<Lane, BenchError> {
        let lane = self.session.lane(Shape { steps, batch })?;
        let mut random = SplitMix64(2);
        let mut fill = |values: &mut [f32]| {
            let weights = random.weights(values.len(), 0.5);
            values.copy_from_slice(&weights);
        };
        fill(self.session.rows_mut(lane));
        (0..self.state_count).for_each(|index| fill(self.session.state_mut(lane, index)));
        self.session.run(lane)?;
        Ok(lane)
    }

    /// The processor's time of one run.
    pub(super) fn run_on_processor(&mut self, lane: Lane) -> Result<Duration, BenchError> {
        let watch = ProcessorWatch::start();
        self.session.run(lane)?;
        Ok(watch.elapsed())
    }

    /// The time of one run.
    pub(super) fn run(&mut self, lane: Lane) -> Result<Duration, BenchError> {
        let watch = Stopwatch::start();
        self.session.run(lane)?;
        Ok(watch.elapsed())
    }
}
