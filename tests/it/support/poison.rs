//! A backend that hates leftovers: before and after every run it fills all it may with NaN.
//!
//! Whatever the engine does not write itself before a run, padding included, is NaN; so is
//! whatever it reads late. A row that leaks into another, or an output read from the wrong run,
//! turns a forecast into NaN, which equals nothing.

use tickcast::engine::inference::{Backend, InferenceError, Lane, Shape};

/// Wraps a backend. `states` is the number of recurrent states.
pub(crate) struct Poison {
    inner: Box<dyn Backend>,
    states: usize,
}

impl Poison {
    /// Wraps a backend.
    pub(crate) fn new(inner: Box<dyn Backend>, states: usize) -> Self {
        Self { inner, states }
    }

    fn poison_inputs(&mut self, lane: Lane) {
        self.inner.rows_mut(lane).fill(f32::NAN);
        for index in 0..self.states {
            self.inner.state_mut(lane, index).fill(f32::NAN);
        }
    }
}

impl Backend for Poison {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        // Asking for a lane begins a run: what the engine does not fill from here on is NaN.
        let lane = self.inner.lane(shape)?;
        self.poison_inputs(lane);
        Ok(lane)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.inner.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.inner.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        self.inner.run(lane)?;
        self.poison_inputs(lane);
        Ok(())
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.inner.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.inner.next_state(lane, index)
    }
}

/// Wraps a backend that makes runs of one row and no others.
pub(crate) struct Lone(pub(crate) Box<dyn Backend>);

impl Backend for Lone {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        assert_eq!(shape.batch, 1, "a run of several rows");
        self.0.lane(shape)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.0.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.0.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        self.0.run(lane)
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.0.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.0.next_state(lane, index)
    }
}
