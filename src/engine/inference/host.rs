//! A backend in plain memory, for models that are computed in Rust.
//!
//! Owns the tensors of each shape. Promises that a run sees the inputs that were filled and that
//! a shape keeps its tensors for good. Never computes: the function that it is made with does.

use super::{Backend, InferenceError, Lane, Shape, Signature};

/// What a run computes: from rows and states to the output and the next states.
type Compute = Box<dyn FnMut(&mut HostTensors) + Send>;

/// A backend whose tensors lie in this process.
pub struct HostBackend {
    signature: Signature,
    compute: Compute,
    lanes: Vec<HostTensors>,
}

/// The tensors of one shape.
#[derive(Clone, Debug)]
pub struct HostTensors {
    /// T and B.
    pub shape: Shape,
    /// `[T,B,F]`.
    pub rows: Vec<f32>,
    /// `[B,K]`.
    pub output: Vec<f32>,
    /// `[B,H]` of each recurrent state, before the run.
    pub states: Vec<Vec<f32>>,
    /// The same after it.
    pub next_states: Vec<Vec<f32>>,
}

impl HostBackend {
    /// A model of this signature that `compute` runs.
    pub fn new(
        signature: &Signature,
        compute: impl FnMut(&mut HostTensors) + Send + 'static,
    ) -> Self {
        Self { signature: signature.clone(), compute: Box::new(compute), lanes: Vec::new() }
    }
}

impl HostTensors {
    /// Tensors of this shape: zeros.
    pub(super) fn new(shape: Shape, signature: &Signature) -> Self {
        let widths = signature.states.iter().map(|state| state.width);
        let states: Vec<_> = widths.map(|width| vec![0.0; shape.batch * width]).collect();
        Self {
            shape,
            rows: vec![0.0; shape.steps * shape.batch * signature.features],
            output: vec![0.0; shape.batch * signature.columns.count],
            next_states: states.clone(),
            states,
        }
    }

    /// Runs a model of one row at a time: `step` takes a row and moves the states on, and returns
    /// the output, the same in every column; that of the last row of each of the B sequences is
    /// kept.
    pub fn run_by_row(&mut self, mut step: impl FnMut(&[f32], &mut [Vec<f32>]) -> f32) {
        let Self { shape: Shape { steps, batch }, rows, output, states, next_states } = self;
        let (steps, batch) = (*steps, *batch);
        let features = rows.len() / (steps * batch);
        let columns = output.len() / batch;
        for (at, output) in output.chunks_exact_mut(columns).enumerate() {
            let of = |numbers: &Vec<f32>| {
                let width = numbers.len() / batch;
                numbers[at * width..][..width].to_vec()
            };
            let mut own: Vec<_> = states.iter().map(of).collect();
            for row in rows.chunks_exact(batch * features) {
                output.fill(step(&row[at * features..][..features], &mut own));
            }
            for (next, own) in next_states.iter_mut().zip(&own) {
                next[at * own.len()..][..own.len()].copy_from_slice(own);
            }
        }
    }
}

impl Backend for HostBackend {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        let known = self.lanes.iter().position(|lane| lane.shape == shape);
        let index = known.unwrap_or_else(|| {
            self.lanes.push(HostTensors::new(shape, &self.signature));
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

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        (self.compute)(&mut self.lanes[lane.index()]);
        Ok(())
    }

    fn output(&self, lane: Lane) -> &[f32] {
        &self.lanes[lane.index()].output
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        &self.lanes[lane.index()].next_states[index]
    }
}
