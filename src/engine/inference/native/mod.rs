//! The native runtime: stacks of LSTM and GRU layers, computed in Rust.
//!
//! Owns the second implementation of the seam. It takes fewer graphs than ONNX Runtime and runs
//! them faster, because it takes a step apart: what does not depend on the newest row is computed
//! before it arrives ([`Parts`]). Promises the same bits for every batch size and on every
//! processor, so whole windows and single steps agree by construction. Its numbers differ from
//! those of ONNX Runtime by rounding alone, which the proof of a bundle checks at every load. Never
//! loads a library.

mod cpu;
mod dense;
mod graph;
mod lanes;
mod layer;
mod stack;
#[cfg(test)]
pub(super) mod tests;

use self::cpu::Cpu;
pub(super) use self::graph::Fixed;
use self::graph::Read;
use self::stack::{Room, Stack, Work};
use super::{
    Backend, HostTensors, InferenceError, Lane, Parts, Rounding, Runtime, Shape, Signature,
};

/// The runtime. Cloning it costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct NativeRuntime {
    cpu: Cpu,
}

/// A model of the native runtime.
struct NativeBackend {
    stack: Stack,
    /// The numbers of each state, in the order of the signature: where they begin in the states of
    /// a window, and how many they are.
    places: Vec<(usize, usize)>,
    signature: Signature,
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
    /// The runtime with the instructions of this processor.
    pub fn new() -> Self {
        Self { cpu: Cpu::best() }
    }

    /// Whether this processor has the instructions that make it worth its while.
    pub fn is_fast(&self) -> bool {
        self.cpu.is_fast()
    }
}

impl NativeRuntime {
    /// A model, and the sizes that its graph fixes.
    pub(super) fn open_fixed(
        self,
        onnx: &[u8],
        signature: &Signature,
    ) -> Result<(Box<dyn Backend>, Fixed), InferenceError> {
        let Read { stack, parts, fixed } = graph::read(onnx, signature).map_err(|problem| {
            let message = format!("{problem}; use engine.runtime = \"onnxruntime\"");
            InferenceError::Runtime { context: "read the graph natively", message }
        })?;
        let room = stack.room();
        let states = signature.states.iter();
        let places = parts.into_iter().zip(states.map(|state| state.width)).collect();
        let (signature, cpu) = (signature.clone(), self.cpu);
        let lanes = Vec::new();
        let backend = NativeBackend { stack, places, signature, cpu, room, lanes };
        Ok((Box::new(backend), fixed))
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
        Ok(self.open_fixed(onnx, signature)?.0)
    }
}

impl Backend for NativeBackend {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        let known = self.lanes.iter().position(|lane| lane.tensors.shape == shape);
        Ok(Lane::new(known.unwrap_or_else(|| {
            let tensors = HostTensors::new(shape, &self.signature);
            let states = vec![0.0; shape.batch * self.stack.state_width()];
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
        let width = self.stack.state_width();
        let NativeLane { tensors, states } = &mut self.lanes[lane.index()];
        // States that the graph does not take begin from zero.
        states.fill(0.0);
        for ((first, count), state) in self.places.iter().zip(&tensors.states) {
            let windows = states.chunks_exact_mut(width);
            for (window, state) in windows.zip(state.chunks_exact(*count)) {
                window[*first..][..*count].copy_from_slice(state);
            }
        }
        let HostTensors { shape: Shape { steps, batch }, rows, output, .. } = tensors;
        let features = self.signature.features;
        let steps_of_rows = rows.chunks_exact(*batch * features);
        for (at, rows) in steps_of_rows.enumerate() {
            let outputs = (at + 1 == *steps).then_some(&mut output[..]);
            let work = Work::Step { rows, stride: features, states, outputs };
            self.stack.run(self.cpu, &mut self.room, work);
        }
        for ((first, count), state) in self.places.iter().zip(&mut tensors.next_states) {
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
        self.stack.state_width()
    }

    fn half_width(&self) -> usize {
        self.stack.half_width()
    }

    fn state_place(&self, index: usize) -> usize {
        self.places[index].0
    }

    fn ahead(&mut self, state: &[f32], half: &mut [f32]) {
        self.stack.run(self.cpu, &mut self.room, Work::Ahead { state, half });
    }

    fn finish(&mut self, row: &[f32], state: &[f32], half: &[f32], output: &mut [f32]) {
        let work = Work::Finish { row, state, half, output };
        self.stack.run(self.cpu, &mut self.room, work);
    }

    fn advance(&mut self, row: &[f32], states: &mut [f32]) {
        let work = Work::Step { rows: row, stride: 0, states, outputs: None };
        self.stack.run(self.cpu, &mut self.room, work);
    }

    fn step(&mut self, rows: &[f32], states: &mut [f32], outputs: &mut [f32]) {
        let stride = self.signature.features;
        let work = Work::Step { rows, stride, states, outputs: Some(outputs) };
        self.stack.run(self.cpu, &mut self.room, work);
    }
}
