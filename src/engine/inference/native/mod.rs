//! The native runtime: stacks of LSTM and GRU layers, computed in Rust.
//!
//! Owns the second implementation of the seam. It takes fewer graphs than ONNX Runtime and runs
//! them faster, because it takes a step apart: what does not depend on the newest row is computed
//! before it arrives ([`Parts`]). Promises the same bits for every batch size and on every
//! processor, but for those of NaN, so whole windows and single steps agree by construction. The
//! backends of a model share its weights. Its numbers differ from
//! those of ONNX Runtime by rounding alone, which the proof of a bundle checks at every load. Never
//! loads a library.

mod cpu;
mod dense;
mod graph;
mod lanes;
mod layer;
#[cfg(test)]
mod portable;
mod stack;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use self::cpu::Cpu;
pub(super) use self::graph::Fixed;
use self::graph::Read;
use self::stack::{Room, Stack, Work};
use super::{
    Backend, HostTensors, InferenceError, Lane, Parts, Rounding, Runtime, Shape, Signature,
};

/// What the reading of a graph is called in messages.
pub(super) const READ: &str = "read the graph natively";

/// The runtime. Cloning it costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct NativeRuntime {
    cpu: Cpu,
}

/// A model that was read: its weights, packed, and how it is driven. Its backends share it.
pub(super) struct NativeModel {
    stack: Stack,
    /// The numbers of each state, in the order of the signature: where they begin in the states of
    /// a window, and how many they are.
    places: Vec<(usize, usize)>,
    signature: Signature,
    fixed: Fixed,
}

/// What one thread drives a model with.
pub(super) struct NativeBackend {
    model: Arc<NativeModel>,
    cpu: Cpu,
    room: Room,
    lanes: Vec<NativeLane>,
}

/// The tensors of a shape, and the states of its windows in the layout of the stack.
struct NativeLane {
    tensors: HostTensors,
    states: Vec<f32>,
}

impl NativeRuntime {
    /// What to do about a model that the kernels do not compute.
    pub(super) const INSTEAD: &str = "use engine.runtime = \"onnxruntime\"";

    /// The runtime with the instructions of this processor.
    pub fn new() -> Self {
        Self { cpu: Cpu::best() }
    }

    /// Whether this processor has the instructions that make it worth its while.
    pub fn is_fast(&self) -> bool {
        self.cpu.is_fast()
    }

    /// A backend of a model, with tensors of its own.
    pub(super) fn backend(self, model: Arc<NativeModel>) -> NativeBackend {
        let room = model.stack.room();
        NativeBackend { model, cpu: self.cpu, room, lanes: Vec::new() }
    }
}

impl NativeModel {
    /// Reads a graph, or says in words why the kernels do not take it.
    pub(super) fn read(onnx: &[u8], signature: &Signature) -> Result<Self, String> {
        let Read { stack, parts, fixed } = graph::read(onnx, signature)?;
        let states = signature.states.iter();
        let places = parts.into_iter().zip(states.map(|state| state.width)).collect();
        Ok(Self { stack, places, signature: signature.clone(), fixed })
    }

    /// The sizes that its graph fixes.
    pub(super) fn fixed(&self) -> Fixed {
        self.fixed
    }
}

impl Default for NativeRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for NativeRuntime {
    fn name(&self) -> &'static str {
        "native"
    }

    fn build(&self) -> String {
        format!("{} ({})", env!("CARGO_PKG_VERSION"), self.cpu.name())
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let model = NativeModel::read(onnx, signature).map_err(|problem| {
            let message = format!("{problem}; {}", Self::INSTEAD);
            InferenceError::Runtime { context: READ, message }
        })?;
        Ok(Box::new(self.backend(Arc::new(model))))
    }
}

impl Backend for NativeBackend {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        let known = self.lanes.iter().position(|lane| lane.tensors.shape == shape);
        Ok(Lane::new(known.unwrap_or_else(|| {
            let tensors = HostTensors::new(shape, &self.model.signature);
            let states = vec![0.0; shape.batch * self.model.stack.state_width()];
            self.lanes.push(NativeLane { tensors, states });
            self.lanes.len() - 1
        })))
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        &mut self.lanes[lane.index()].tensors.rows
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        &mut self.lanes[lane.index()].tensors.states[index]
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        let width = self.model.stack.state_width();
        let NativeLane { tensors, states } = &mut self.lanes[lane.index()];
        // States that the graph does not take begin from zero.
        states.fill(0.0);
        for ((first, count), state) in self.model.places.iter().zip(&tensors.states) {
            let windows = states.chunks_exact_mut(width);
            for (window, state) in windows.zip(state.chunks_exact(*count)) {
                window[*first..][..*count].copy_from_slice(state);
            }
        }
        let HostTensors { shape: Shape { steps, batch }, rows, output, .. } = tensors;
        let features = self.model.signature.features;
        let steps_of_rows = rows.chunks_exact(*batch * features);
        for (at, rows) in steps_of_rows.enumerate() {
            let outputs = (at + 1 == *steps).then_some(&mut output[..]);
            let work = Work::Step { rows, stride: features, states, outputs };
            self.model.stack.run(self.cpu, &mut self.room, work);
        }
        for ((first, count), state) in self.model.places.iter().zip(&mut tensors.next_states) {
            let windows = states.chunks_exact(width);
            for (window, state) in windows.zip(state.chunks_exact_mut(*count)) {
                state.copy_from_slice(&window[*first..][..*count]);
            }
        }
        Ok(())
    }

    fn output(&self, lane: Lane) -> &[f32] {
        &self.lanes[lane.index()].tensors.output
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        &self.lanes[lane.index()].tensors.next_states[index]
    }

    fn rounding(&self) -> Rounding {
        Rounding::Native
    }

    fn parts(&mut self) -> Option<&mut dyn Parts> {
        Some(self)
    }
}

impl Parts for NativeBackend {
    fn state_width(&self) -> usize {
        self.model.stack.state_width()
    }

    fn half_width(&self) -> usize {
        self.model.stack.half_width()
    }

    fn state_place(&self, index: usize) -> usize {
        self.model.places[index].0
    }

    fn ahead(&mut self, state: &[f32], half: &mut [f32]) {
        self.model.stack.run(self.cpu, &mut self.room, Work::Ahead { state, half });
    }

    fn finish(&mut self, row: &[f32], state: &[f32], half: &[f32], output: &mut [f32]) {
        let work = Work::Finish { row, state, half, output };
        self.model.stack.run(self.cpu, &mut self.room, work);
    }

    fn advance(&mut self, row: &[f32], states: &mut [f32]) {
        let work = Work::Step { rows: row, stride: 0, states, outputs: None };
        self.model.stack.run(self.cpu, &mut self.room, work);
    }

    fn fetch(&mut self) {
        self.model.stack.fetch();
    }

    fn step(&mut self, rows: &[f32], states: &mut [f32], outputs: &mut [f32]) {
        let stride = self.model.signature.features;
        let work = Work::Step { rows, stride, states, outputs: Some(outputs) };
        self.model.stack.run(self.cpu, &mut self.room, work);
    }
}
