//! Runs of a sealed graph over many windows.
//!
//! Owns how windows are laid into runs. Promises one row of outputs `[K]` for each window, in
//! order, each computed from zero state. Never judges what comes out.

use crate::engine::inference::{Backend, InferenceError, Shape, Signature};
use crate::engine::model::manifest::Rows;

/// Windows of one run where rows may be run together.
const BATCH: usize = 64;

/// The outputs of a model for windows `[W, F]`, oldest row first.
///
/// # Errors
/// [`InferenceError`] where the runtime fails.
pub(super) fn run_windows(
    backend: &mut dyn Backend,
    signature: &Signature,
    rows: Rows,
    windows: &[&[f32]],
) -> Result<Vec<Vec<f32>>, InferenceError> {
    let width = signature.features;
    let mut outputs = Vec::with_capacity(windows.len());
    let batch_max = if rows == Rows::Batched { BATCH } else { 1 };
    for windows in windows.chunks(batch_max) {
        let steps = windows.first().map_or(0, |window| window.len() / width);
        let lane = backend.lane(Shape { steps, batch: windows.len() })?;
        for index in 0..signature.states.len() {
            backend.state_mut(lane, index).fill(0.0);
        }
        let inputs = backend.rows_mut(lane).chunks_exact_mut(windows.len() * width);
        for (step, input) in inputs.enumerate() {
            for (place, window) in input.chunks_exact_mut(width).zip(windows) {
                place.copy_from_slice(&window[step * width..][..width]);
            }
        }
        backend.run(lane)?;
        let columns = backend.output(lane).len() / windows.len();
        outputs.extend(backend.output(lane).chunks_exact(columns).map(<[f32]>::to_vec));
    }
    Ok(outputs)
}

/// The outputs after each row of a run from zero state, the states carried from row to row.
///
/// # Errors
/// [`InferenceError`] where the runtime fails.
pub(super) fn run_carried(
    backend: &mut dyn Backend,
    signature: &Signature,
    rows: &[Vec<f32>],
) -> Result<Vec<Vec<f32>>, InferenceError> {
    let lane = backend.lane(Shape { steps: 1, batch: 1 })?;
    for index in 0..signature.states.len() {
        backend.state_mut(lane, index).fill(0.0);
    }
    let mut outputs = Vec::with_capacity(rows.len());
    for row in rows {
        backend.rows_mut(lane).copy_from_slice(row);
        backend.run(lane)?;
        outputs.push(backend.output(lane).to_vec());
        for index in 0..signature.states.len() {
            let next = backend.next_state(lane, index).to_vec();
            backend.state_mut(lane, index).copy_from_slice(&next);
        }
    }
    Ok(outputs)
}
