//! A model that computes nothing.
//!
//! Owns tensors of the right shapes. Promises zeros in every output. Never needs ONNX Runtime.

use crate::engine::inference::{Backend, InferenceError, Lane, Shape, Signature};

/// A model that computes nothing: every output is zero.
pub struct NullBackend {
    signature: Signature,
    lanes: Vec<NullLane>,
}

struct NullLane {
    shape: Shape,
    rows: Vec<f32>,
    output: Vec<f32>,
    states: Vec<Vec<f32>>,
    next_states: Vec<Vec<f32>>,
}

impl NullBackend {
    /// Stands in for a model of this signature.
    pub fn new(signature: &Signature) -> Self {
        Self { signature: signature.clone(), lanes: Vec::new() }
    }
}

impl Backend for NullBackend {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        let known = self.lanes.iter().position(|lane| lane.shape == shape);
        let index = known.unwrap_or_else(|| {
            let widths = self.signature.states.iter().map(|state| state.width);
            let states: Vec<_> = widths.map(|width| vec![0.0; shape.batch * width]).collect();
            self.lanes.push(NullLane {
                shape,
                rows: vec![0.0; shape.steps * shape.batch * self.signature.features],
                output: vec![0.0; shape.batch],
                next_states: states.clone(),
                states,
            });
            self.lanes.len() - 1
        });
        Ok(Lane::new(index))
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        &mut self.lanes[lane.index()].rows
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        &mut self.lanes[lane.index()].states[index]
    }

    fn run(&mut self, _: Lane) -> Result<(), InferenceError> {
        Ok(())
    }

    fn output(&self, lane: Lane) -> &[f32] {
        &self.lanes[lane.index()].output
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        &self.lanes[lane.index()].next_states[index]
    }
}
