//! A stack of recurrent layers with a dense head, and its step in parts.
//!
//! Owns the layout of states: for each layer h and, behind it, c, padded to whole eights, the
//! layers one after the other. Promises that a window's numbers have the same bits in every part
//! and every group ([`super::layer`]), and that no run allocates. Never keeps a window's state:
//! the caller does.

use super::cpu::Cpu;
use super::dense::Dense;
use super::lanes::Eight;
use super::layer::{Cell, Group, Layer, Next, Panel, Place, Sums};

/// The windows that take a step together: as many threes as fit the first cache with their states.
const GROUP_WINDOWS: usize = 33;

/// The layers of a model.
pub(super) struct Stack {
    layers: Vec<Layer>,
    places: Vec<Place>,
    head: Vec<Dense>,
    /// The eights of all states of one window.
    state_eights: usize,
}

/// Room for the numbers of one run.
pub(super) struct Room {
    /// Of all panels of one window, or of one panel of all windows.
    sums: Vec<Panel>,
    /// The new h of the layer at hand and of the one below, `[window][panels]` each.
    hidden: [Vec<Eight>; 2],
    cell: Vec<Eight>,
    head: [Vec<Eight>; 2],
}

/// A part of a step.
pub(super) enum Work<'w> {
    /// What is known before the row: the halves of all layers from the states of a window.
    Ahead { state: &'w [f32], half: &'w mut [f32] },
    /// The last step of a window from there: its output. The states are left as they are.
    Finish { row: &'w [f32], state: &'w [f32], half: &'w [f32], output: &'w mut [f32] },
    /// A step of windows whose states lie side by side and are replaced. `stride` is the distance
    /// of their rows, 0 where they share one. The outputs are made where there is room for them.
    Step { rows: &'w [f32], stride: usize, states: &'w mut [f32], outputs: Option<&'w mut [f32]> },
}

/// The most weights that are read before a row comes: more than the second cache of a processor
/// holds.
const FETCHED_BYTES_MAX: usize = 1 << 20;

impl Stack {
    /// A stack of these layers, each of which reads what the one before gives.
    pub(super) fn new(layers: Vec<Layer>, head: Vec<Dense>) -> Self {
        let mut state_eights = 0;
        let places = layers.iter().map(|layer| {
            let panels = layer.panels();
            let (cell, eights) = match layer.cell() {
                Cell::Lstm => (state_eights + panels, 2 * panels),
                Cell::Gru => (state_eights, panels),
            };
            let place = Place { hidden: state_eights, cell, eights };
            state_eights += eights;
            place
        });
        let places = places.collect();
        Self { layers, places, head, state_eights }
    }

    /// The numbers of one window's states.
    pub(super) fn state_width(&self) -> usize {
        self.state_eights * 8
    }

    /// The numbers that [`Work::Ahead`] makes of them.
    pub(super) fn half_width(&self) -> usize {
        self.layers.iter().map(|layer| layer.panels() * 32).sum()
    }

    /// K.
    pub(super) fn outputs(&self) -> usize {
        self.head.last().map_or_else(|| self.layers.last().map_or(0, Layer::units), Dense::outputs)
    }

    /// Where the h or c of a layer begins in a window's states, and how many numbers it has.
    pub(super) fn part(&self, layer: usize, is_cell: bool) -> (usize, usize) {
        let place = self.places[layer];
        let first = if is_cell { place.cell } else { place.hidden };
        (first * 8, self.layers[layer].units())
    }

    /// Room for any run.
    pub(super) fn room(&self) -> Room {
        let panels_max = self.layers.iter().map(Layer::panels).max().unwrap_or(0);
        let outputs_max = self.head.iter().map(Dense::eights).max().unwrap_or(1);
        let hidden = || vec![[0.0; 8]; panels_max * GROUP_WINDOWS];
        let outputs = || vec![[0.0; 8]; outputs_max];
        Room {
            sums: vec![Panel([[0.0; 8]; 4]); panels_max.max(GROUP_WINDOWS)],
            hidden: [hidden(), hidden()],
            cell: vec![[0.0; 8]; panels_max],
            head: [outputs(), outputs()],
        }
    }

    /// Reads the weights that [`Work::Finish`] reads, from the last to the first, so that a cache
    /// which does not hold all of them keeps those that are needed first.
    pub(super) fn fetch(&self) {
        let mut seen = 0;
        let mut before: usize = self.layers.iter().map(Layer::kernel_bytes).sum();
        for layer in self.layers.iter().rev() {
            before -= layer.kernel_bytes();
            seen ^= layer.fetch(FETCHED_BYTES_MAX.saturating_sub(before));
        }
        std::hint::black_box(seen);
    }

    /// Does a part of a step with the instructions that this processor has.
    pub(super) fn run(&self, cpu: Cpu, room: &mut Room, work: Work<'_>) {
        cpu.run(self, room, work);
    }

    /// Does a part of a step with the instructions that the caller was compiled for.
    #[inline(always)]
    pub(super) fn perform(&self, room: &mut Room, work: Work<'_>) {
        match work {
            Work::Ahead { state, half } => self.ahead(eights(state), sums_mut(half)),
            Work::Finish { row, state, half, output } => {
                let mut half = sums(half);
                for at in 0..self.layers.len() {
                    let (own, rest) = half.split_at(self.layers[at].panels());
                    self.layer_of_one(at, row, Some(own), eights(state), room);
                    half = rest;
                }
                self.head_of(0, room, output);
            }
            Work::Step { rows, stride, states, outputs } => {
                let (states, width) = (eights_mut(states), self.state_eights);
                if states.len() == width {
                    self.step_one(rows, states, outputs, room);
                } else {
                    self.step_many(rows, stride, states, outputs, room);
                }
            }
        }
    }

    #[inline(always)]
    fn ahead(&self, state: &[Eight], mut half: &mut [Sums]) {
        for (layer, place) in self.layers.iter().zip(&self.places) {
            let (own, rest) = half.split_at_mut(layer.panels());
            layer.ahead(&state[place.hidden..][..layer.panels()], own);
            half = rest;
        }
    }

    /// Takes one window through a layer: its new h and c are in the room behind it.
    #[inline(always)]
    fn layer_of_one(
        &self,
        at: usize,
        row: &[f32],
        half: Option<&[Sums]>,
        state: &[Eight],
        room: &mut Room,
    ) {
        let (layer, place) = (&self.layers[at], self.places[at]);
        let panels = layer.panels();
        let (below, hidden) = turns(&mut room.hidden, at);
        let x = if at == 0 { row } else { below.as_flattened() };
        let (before, cell) = (&state[place.hidden..][..panels], &state[place.cell..][..panels]);
        let (hidden, next_cell) = (&mut hidden[..panels], &mut room.cell[..panels]);
        let mut next = Next { sums: &mut room.sums, hidden, cell: next_cell };
        layer.step(x, half, before, cell, &mut next);
    }

    #[inline(always)]
    fn step_one(
        &self,
        row: &[f32],
        state: &mut [Eight],
        output: Option<&mut [f32]>,
        room: &mut Room,
    ) {
        for (at, (layer, place)) in self.layers.iter().zip(&self.places).enumerate() {
            self.layer_of_one(at, row, None, state, room);
            // A layer reads its own states alone, so they can be replaced before the next one.
            let panels = layer.panels();
            if layer.cell() == Cell::Lstm {
                state[place.cell..][..panels].copy_from_slice(&room.cell[..panels]);
            }
            let (_, hidden) = turns(&mut room.hidden, at);
            state[place.hidden..][..panels].copy_from_slice(&hidden[..panels]);
        }
        if let Some(output) = output {
            self.head_of(0, room, output);
        }
    }

    #[inline(always)]
    fn step_many(
        &self,
        mut rows: &[f32],
        stride: usize,
        states: &mut [Eight],
        mut outputs: Option<&mut [f32]>,
        room: &mut Room,
    ) {
        let mut done = 0;
        for states in states.chunks_mut(GROUP_WINDOWS * self.state_eights) {
            let windows = states.len() / self.state_eights;
            for (at, (layer, place)) in self.layers.iter().zip(&self.places).enumerate() {
                let panels = layer.panels();
                let (below, next) = turns(&mut room.hidden, at);
                let (inputs, stride) = match at.checked_sub(1) {
                    None => (rows, stride),
                    Some(below_at) => (below.as_flattened(), self.layers[below_at].panels() * 8),
                };
                let mut group = Group {
                    inputs,
                    stride,
                    states: &mut *states,
                    state_eights: self.state_eights,
                    place: *place,
                    next: &mut *next,
                    sums: &mut room.sums,
                    windows,
                };
                layer.step_group(&mut group);
                let states = states.chunks_exact_mut(self.state_eights);
                for (state, hidden) in states.zip(next.chunks_exact(panels)) {
                    state[place.hidden..][..panels].copy_from_slice(hidden);
                }
            }
            rows = &rows[(windows * stride).min(rows.len())..];
            // No closure: it may stay a function of its own, compiled for the plainest processor.
            if let Some(outputs) = outputs.as_deref_mut() {
                let own = outputs.chunks_exact_mut(self.outputs()).skip(done).take(windows);
                for (at, output) in own.enumerate() {
                    self.head_of(at, room, output);
                }
            }
            done += windows;
        }
    }

    /// The output of the window at this place of the group that went through the last layer.
    #[inline(always)]
    fn head_of(&self, window: usize, room: &mut Room, output: &mut [f32]) {
        let top = self.layers.len() - 1;
        let panels = self.layers[top].panels();
        let mut x = &mut room.hidden[top % 2][window * panels..][..panels];
        let [one, two] = &mut room.head;
        let (mut from, mut to) = (one, two);
        for dense in &self.head {
            dense.run(x, to);
            std::mem::swap(&mut from, &mut to);
            x = from;
        }
        output.copy_from_slice(&x.as_flattened()[..output.len()]);
    }
}

/// The buffer that the layer below filled, and that of this layer.
#[inline(always)]
fn turns(buffers: &mut [Vec<Eight>; 2], at: usize) -> (&mut [Eight], &mut [Eight]) {
    let [first, second] = buffers;
    if at.is_multiple_of(2) { (second, first) } else { (first, second) }
}

#[inline(always)]
fn eights(numbers: &[f32]) -> &[Eight] {
    numbers.as_chunks().0
}

#[inline(always)]
fn eights_mut(numbers: &mut [f32]) -> &mut [Eight] {
    numbers.as_chunks_mut().0
}

#[inline(always)]
fn sums(numbers: &[f32]) -> &[Sums] {
    eights(numbers).as_chunks().0
}

#[inline(always)]
fn sums_mut(numbers: &mut [f32]) -> &mut [Sums] {
    eights_mut(numbers).as_chunks_mut().0
}
