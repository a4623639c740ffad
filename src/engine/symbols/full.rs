//! Mode `full`: the whole window from zero state for each forecast.
//!
//! Owns how windows are laid into `[T,B,F]`. Promises zero state at every run. Never keeps
//! anything between runs.

use super::batch;
use super::input::InputWindow;
use crate::engine::inference::{Backend, InferenceError, Shape};

/// The most windows of one run. Larger ones fall out of the processor's caches between two steps:
/// the seed model does 37 k windows a second at 32 a run and 27 k at 512 (`tickcast bench`).
const WINDOWS_MAX: usize = 32;

/// The driver of mode `full`.
pub(super) struct FullWindows {
    steps: usize,
    width: usize,
    state_count: usize,
    batch_rows_max: usize,
}

impl FullWindows {
    pub(super) fn new(
        steps: usize,
        width: usize,
        state_count: usize,
        batch_rows_max: usize,
    ) -> Self {
        let batch_rows_max = batch_rows_max.min(WINDOWS_MAX);
        Self { steps, width, state_count, batch_rows_max }
    }

    /// Has the tensors of a single window made.
    pub(super) fn prepare(&self, backend: &mut dyn Backend) -> Result<(), InferenceError> {
        backend.lane(Shape { steps: self.steps, batch: 1 }).map(|_| ())
    }

    /// Every shape that its runs have.
    pub(super) fn shapes(&self) -> impl Iterator<Item = Shape> {
        let steps = self.steps;
        batch::sizes(self.batch_rows_max).map(move |batch| Shape { steps, batch })
    }

    /// Runs full windows in batches and hands each item with its output to `finish`, in order.
    pub(super) fn infer<'w, T: Copy>(
        &self,
        backend: &mut dyn Backend,
        windows: impl Iterator<Item = (T, InputWindow<'w>)> + Clone,
        finish: &mut impl FnMut(T, &[f32]),
    ) -> Result<(), InferenceError> {
        batch::in_runs(windows, self.batch_rows_max, |chunk, batch| {
            let lane = backend.lane(Shape { steps: self.steps, batch })?;
            for index in 0..self.state_count {
                backend.state_mut(lane, index).fill(0.0);
            }
            let rows = backend.rows_mut(lane);
            for (column, (_, window)) in chunk.clone().enumerate() {
                for (step, row) in window.rows().enumerate() {
                    let start = (step * batch + column) * self.width;
                    row.write(&mut rows[start..start + self.width]);
                }
            }
            backend.run(lane)?;
            for ((item, _), output) in chunk.zip(batch::outputs(&*backend, lane, batch)) {
                finish(item, output);
            }
            Ok(())
        })
    }
}
