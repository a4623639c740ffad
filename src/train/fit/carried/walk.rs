//! Forward through whole histories, as a daemon goes.
//!
//! Owns: the way of a state from the beginning of each history, where it is zero, to the last row
//! that anybody asks for, in chunks of equal length from which the state goes on into the next.
//!
//! Promises: the value at a row has seen every row before it and none after it. The same walk gives
//! the same bits on any number of threads.
//!
//! Never: drops a value or learns.

use super::states::States;
use crate::train::fit::lanes::{each, share};
use crate::train::network::{Network, Workspace};
use crate::train::sequences::{Place, Sequences};

/// Most sequences that go side by side, which bounds the memory.
const SEQUENCES_MAX: usize = 128;

/// What a walk goes through, and on what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    /// Gives a value after every step.
    pub(super) network: &'a Network,
    pub(super) sequences: &'a Sequences,
    /// Steps of a chunk.
    pub(super) steps: usize,
    /// Parts into which the sequences are divided.
    pub(super) lanes: usize,
    pub(super) threads: usize,
}

/// The sequences of one lane and what came of them.
struct Part {
    /// The longest way first.
    sequences: Vec<usize>,
    /// The values of all rows on the way, in that order.
    values: Vec<Vec<f32>>,
    /// Index of the border, and the state there.
    borders: Vec<(usize, States)>,
}

impl Walk<'_> {
    /// The values at `places` and the states before the first step of the rows `borders`, which
    /// begin chunks; both in their order.
    pub(super) fn go(
        &self,
        parameters: &[f32],
        places: &[Place],
        borders: &[Place],
    ) -> (Vec<f32>, States) {
        let mut ends = vec![0; self.sequences.len()];
        let mut marks = vec![Vec::new(); self.sequences.len()];
        for place in places {
            ends[place.sequence] = ends[place.sequence].max(place.row + 1);
        }
        for (at, border) in borders.iter().enumerate() {
            assert_eq!(border.row % self.steps, 0, "states are known between chunks");
            ends[border.sequence] = ends[border.sequence].max(border.row);
            marks[border.sequence].push((border.row, at));
        }
        let part = |at| {
            let mut sequences: Vec<usize> = share(ends.len(), self.lanes, at).collect();
            sequences.sort_by_key(|at| std::cmp::Reverse(ends[*at]));
            Part { sequences, values: Vec::new(), borders: Vec::new() }
        };
        let mut parts: Vec<Part> = (0..self.lanes).map(part).collect();
        each(&mut parts, self.threads.clamp(1, self.lanes), |_, part| {
            let Part { sequences, values, borders: found } = part;
            for sequences in sequences.chunks(SEQUENCES_MAX) {
                values.extend(self.side_by_side(parameters, sequences, &ends, &marks, found));
            }
        });
        let mut states = States::zero(self.network, borders.len());
        let mut values = vec![Vec::new(); ends.len()];
        for part in parts {
            part.sequences.into_iter().zip(part.values).for_each(|(at, of)| values[at] = of);
            for (at, state) in &part.borders {
                states.store(*at..*at + 1, state.of(0..1));
            }
        }
        let value = |place: &Place| values[place.sequence][place.row];
        (places.iter().map(value).collect(), states)
    }

    /// The values of these sequences, the longest of which comes first. `marks` has the row and the
    /// index of each border of a sequence; the states there are added to `found`.
    fn side_by_side(
        &self,
        parameters: &[f32],
        sequences: &[usize],
        ends: &[usize],
        marks: &[Vec<(usize, usize)>],
        found: &mut Vec<(usize, States)>,
    ) -> Vec<Vec<f32>> {
        let mut workspace: Workspace = self.network.workspace(self.steps, sequences.len());
        let mut states = States::zero(self.network, sequences.len());
        let mut values: Vec<Vec<f32>> =
            sequences.iter().map(|at| Vec::with_capacity(ends[*at])).collect();
        let mut first = 0;
        loop {
            for (at, sequence) in sequences.iter().enumerate() {
                for (_, border) in marks[*sequence].iter().filter(|(row, _)| *row == first) {
                    let mut state = States::zero(self.network, 1);
                    state.store(0..1, states.of(at..at + 1));
                    found.push((*border, state));
                }
            }
            let active = sequences.partition_point(|at| ends[*at] > first);
            if active == 0 {
                return values;
            }
            let input = workspace.input(self.steps, active, self.sequences.inputs());
            for (at, sequence) in sequences[..active].iter().enumerate() {
                let stretch = first..ends[*sequence].min(first + self.steps);
                self.sequences.gather(*sequence, stretch, (at, active), input);
            }
            workspace.set_symbols(sequences[..active].iter().map(|at| self.sequences.symbol(*at)));
            workspace.carry_states(states.of(0..active));
            let output = self.network.forward(parameters, &mut workspace);
            for step in output.chunks_exact(active) {
                for ((sequence, values), value) in sequences.iter().zip(&mut values).zip(step) {
                    if values.len() < ends[*sequence] {
                        values.push(*value);
                    }
                }
            }
            states.store(0..active, workspace.last_states());
            first += self.steps;
        }
    }
}
