//! Strands: stretches of histories that are learned side by side, from beginning to end.
//!
//! Owns: the cut into strands, their states, and the gradients of one chunk of a batch of them.
//!
//! Promises: at most `batch` strands go side by side, of about equal length; each symbol has at
//! least one. The first chunk of an epoch has a random length, so that the ends of chunks, over
//! which no gradient goes, fall elsewhere in every epoch. A step without a label has no part in the
//! loss but moves the state.
//!
//! Never: lets a gradient out of a chunk.

use std::ops::Range;

use super::states::States;
use super::walk::Walk;
use crate::train::fit::lanes::{each, share};
use crate::train::fit::lessons::{Batch, Labelled, Lessons};
use crate::train::fit::loss::Loss;
use crate::train::fit::recipe::Recipe;
use crate::train::fit::weights;
use crate::train::network::{Network, Workspace};
use crate::train::random::Random;
use crate::train::sequences::{Place, Sequences};

/// Learns from whole histories.
pub(in crate::train) struct Strands<'a> {
    /// Gives a value after every step.
    network: Network,
    sequences: &'a Sequences,
    validation: Labelled<'a>,
    loss: Loss,
    /// The longest chunk.
    steps: usize,
    threads: usize,
    /// By sequence and row, up to the last row with a label of the training part.
    labels: Vec<Vec<Option<f32>>>,
    /// The weights of the rows with a label, likewise; none where all count the same.
    weights: Vec<Vec<f32>>,
    /// The longest first.
    strands: Vec<Strand>,
    /// Those that go side by side.
    groups: Vec<Range<usize>>,
    lanes: Vec<Lane>,
    /// The states in which the strands begin, with the parameters of the last validation.
    beginnings: Option<States>,
    /// The states of the epoch under way.
    states: States,
    chunks: Vec<Chunk>,
    next: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Strand {
    sequence: usize,
    rows: Range<usize>,
}

/// The same steps of several strands.
#[derive(Clone, Debug)]
struct Chunk {
    /// The strands that reach so far.
    strands: Range<usize>,
    /// Steps before it in each strand.
    first: usize,
    steps: usize,
    /// How many of its steps have a label.
    labels: usize,
}

/// What one thread works with.
struct Lane {
    workspace: Workspace,
    gradients: Vec<f32>,
    loss: f64,
    /// Places with a label in the output, the values and labels there, and the gradients.
    places: Vec<usize>,
    values: Vec<f32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    d_values: Vec<f32>,
}

impl<'a> Strands<'a> {
    /// `network` is the one that the loss reads.
    pub(in crate::train) fn new(
        network: &Network,
        sequences: &'a Sequences,
        steps: usize,
        training: Labelled<'a>,
        validation: Labelled<'a>,
        recipe: &Recipe,
        threads: usize,
    ) -> Self {
        let network = network.every_step();
        assert_eq!(network.outputs(), 1, "a row has one label");
        let mut labels = vec![Vec::new(); sequences.len()];
        for (place, label) in training.places.iter().zip(training.labels) {
            let labels: &mut Vec<Option<f32>> = &mut labels[place.sequence];
            if labels.len() <= place.row {
                labels.resize(place.row + 1, None);
            }
            labels[place.row] = Some(*label);
        }
        let mut weights: Vec<Vec<f32>> = Vec::new();
        if !training.weights.is_empty() {
            weights = labels.iter().map(|labels| vec![0.0; labels.len()]).collect();
            for (place, weight) in training.places.iter().zip(training.weights) {
                weights[place.sequence][place.row] = *weight;
            }
        }
        let ends: Vec<usize> = labels.iter().map(Vec::len).collect();
        let strands = cut(&ends, steps, recipe.batch);
        let starts = (0..strands.len()).step_by(recipe.batch);
        let groups = starts.map(|at| at..strands.len().min(at + recipe.batch)).collect();
        let lane = || Lane {
            workspace: network.workspace(steps, recipe.batch.div_ceil(recipe.lanes)),
            gradients: vec![0.0; network.parameter_count()],
            loss: 0.0,
            places: Vec::new(),
            values: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
            d_values: Vec::new(),
        };
        Self {
            lanes: (0..recipe.lanes).map(|_| lane()).collect(),
            states: States::zero(&network, strands.len()),
            loss: recipe.loss,
            threads: threads.clamp(1, recipe.lanes),
            beginnings: None,
            chunks: Vec::new(),
            next: 0,
            network,
            sequences,
            validation,
            steps,
            labels,
            weights,
            strands,
            groups,
        }
    }

    /// Values of the validation part, and the states in which the strands begin.
    fn walk(&self, parameters: &[f32]) -> (Vec<f32>, States) {
        let Self { network, sequences, steps, threads, .. } = self;
        let (lanes, steps, threads) = (self.lanes.len(), *steps, *threads);
        let walk = Walk { network, sequences, steps, lanes, threads };
        let borders = self
            .strands
            .iter()
            .map(|Strand { sequence, rows }| Place { sequence: *sequence, row: rows.start });
        walk.go(parameters, self.validation.places, &borders.collect::<Vec<_>>())
    }

    /// The chunks of one group, the first of which has `first` steps.
    fn plan(&self, group: Range<usize>, first: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let (mut from, mut to) = (0, first);
        loop {
            let reaches = |strand: &Strand| strand.rows.len() > from;
            let active = self.strands[group.clone()].partition_point(reaches);
            if active == 0 {
                return chunks;
            }
            let strands = group.start..group.start + active;
            let steps = to.min(self.strands[group.start].rows.len()) - from;
            let mut chunk = Chunk { strands, first: from, steps, labels: 0 };
            let strands = &self.strands[chunk.strands.clone()];
            let labels = strands.iter().flat_map(|strand| {
                self.labels[strand.sequence][stretch(strand, &chunk)].iter().flatten()
            });
            chunk.labels = labels.count();
            chunks.push(chunk);
            (from, to) = (to, to + self.steps);
        }
    }

    /// Runs one chunk and moves the states on. Where it has labels, its loss and, in the first
    /// lane, the gradients are those of the mean over them.
    fn run(&mut self, parameters: &[f32], chunk: &Chunk, dropout: &mut Random) -> f64 {
        let Self { network, sequences, loss, labels, weights, strands, lanes, states, .. } = self;
        let (network, strands) = (&*network, &strands[chunk.strands.clone()]);
        let count = lanes.len();
        let rows = |at: usize| {
            let share = share(strands.len(), count, at);
            chunk.strands.start + share.start..chunk.strands.start + share.end
        };
        // Masks are drawn here, one lane after the other, because the lanes share one stream.
        for (at, lane) in lanes.iter_mut().enumerate() {
            lane.workspace.input(chunk.steps, rows(at).len(), sequences.inputs());
            lane.workspace.draw_masks(dropout);
            lane.workspace.carry_states(states.of(rows(at)));
        }
        each(lanes, self.threads, |at, lane| {
            let strands = &strands[share(strands.len(), count, at)];
            lane.loss = 0.0;
            lane.gradients.fill(0.0);
            if strands.is_empty() {
                return;
            }
            let batch = strands.len();
            let input = lane.workspace.input(chunk.steps, batch, sequences.inputs());
            lane.places.clear();
            lane.targets.clear();
            lane.weights.clear();
            for (place, strand) in strands.iter().enumerate() {
                let stretch = stretch(strand, chunk);
                sequences.gather(strand.sequence, stretch.clone(), (place, batch), input);
                let weights = weights.get(strand.sequence);
                let weights = weights.map_or(&[][..], |weights| &weights[stretch.clone()]);
                for (step, label) in labels[strand.sequence][stretch].iter().enumerate() {
                    if let Some(label) = label {
                        lane.places.push(step * batch + place);
                        lane.targets.push(*label);
                        lane.weights.extend(weights.get(step));
                    }
                }
            }
            let symbols = strands.iter().map(|strand| sequences.symbol(strand.sequence));
            lane.workspace.set_symbols(symbols);
            network.forward(parameters, &mut lane.workspace);
            if chunk.labels == 0 {
                return;
            }
            let (output, gradient) = lane.workspace.output_and_gradient();
            lane.values.clear();
            lane.values.extend(lane.places.iter().map(|at| output[*at]));
            let (values, d_values) = (&lane.values, &mut lane.d_values);
            let (targets, weights) = (&lane.targets, &lane.weights);
            lane.loss = weights::gradient(*loss, values, targets, weights, chunk.labels, d_values);
            gradient.clear();
            gradient.resize(output.len(), 0.0);
            lane.places.iter().zip(d_values).for_each(|(at, d)| gradient[*at] = *d);
            network.backward(parameters, &mut lane.workspace, &mut lane.gradients);
        });
        for (at, lane) in lanes.iter().enumerate().filter(|(at, _)| !rows(*at).is_empty()) {
            states.store(rows(at), lane.workspace.last_states());
        }
        let (first, others) = lanes.split_first_mut().expect("there is at least one lane");
        for other in others {
            first.loss += other.loss;
            first.gradients.iter_mut().zip(&other.gradients).for_each(|(sum, g)| *sum += g);
        }
        first.loss
    }
}

impl Lessons for Strands<'_> {
    fn items(&self) -> usize {
        self.groups.len()
    }

    fn begin(&mut self, parameters: &[f32], order: &[usize], random: &mut Random) -> usize {
        let beginnings = self.beginnings.take();
        self.states = beginnings.unwrap_or_else(|| self.walk(parameters).1);
        let first = random.below(self.steps) + 1;
        let groups = order.iter().map(|group| self.groups[*group].clone());
        self.chunks = groups.flat_map(|group| self.plan(group, first)).collect();
        self.next = 0;
        self.chunks.iter().filter(|chunk| chunk.labels > 0).count()
    }

    fn next(&mut self, parameters: &[f32], dropout: &mut Random) -> Option<Batch<'_>> {
        let (loss, labels) = loop {
            let chunk = self.chunks.get(self.next)?.clone();
            self.next += 1;
            let loss = self.run(parameters, &chunk, dropout);
            if chunk.labels > 0 {
                break (loss, chunk.labels);
            }
        };
        let gradients = &mut self.lanes.first_mut()?.gradients;
        Some(Batch { loss, labels, gradients })
    }

    fn validate(&mut self, parameters: &[f32]) -> Vec<f32> {
        let (values, beginnings) = self.walk(parameters);
        self.beginnings = Some(beginnings);
        values
    }
}

/// The rows of a strand in a chunk.
fn stretch(Strand { rows, .. }: &Strand, chunk: &Chunk) -> Range<usize> {
    let place = |step: usize| rows.end.min(rows.start + step);
    place(chunk.first)..place(chunk.first + chunk.steps)
}

/// Cuts sequences of these lengths into strands that begin at multiples of `steps`: as short ones
/// as there can be for at most `batch` strands, or one for each sequence where those are more. The
/// longest comes first.
fn cut(ends: &[usize], steps: usize, batch: usize) -> Vec<Strand> {
    let chunks = |end: &usize| end.div_ceil(steps);
    let total: usize = ends.iter().map(chunks).sum();
    let longest = ends.iter().map(chunks).max().unwrap_or(0);
    let strands = |length: usize| ends.iter().map(|end| chunks(end).div_ceil(length)).sum();
    let fits = |length: &usize| {
        let strands: usize = strands(*length);
        strands <= batch
    };
    let length = (total.div_ceil(batch).max(1)..longest).find(fits).unwrap_or(longest.max(1));
    let mut cut: Vec<Strand> = Vec::new();
    for (sequence, end) in ends.iter().enumerate() {
        let count = chunks(end).div_ceil(length);
        cut.extend((0..count).map(|at| {
            let Range { start, end: stop } = share(chunks(end), count, at);
            Strand { sequence, rows: start * steps..(stop * steps).min(*end) }
        }));
    }
    cut.sort_by_key(|strand| std::cmp::Reverse(strand.rows.len()));
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strands_cover_every_sequence_once_and_begin_between_chunks() {
        for (ends, steps, batch) in [
            (vec![100], 7, 8),
            (vec![100, 33, 0, 5], 4, 6),
            (vec![10, 20, 30], 5, 2),
            (vec![3, 1], 10, 64),
            (vec![1000], 1, 1),
        ] {
            let strands = cut(&ends, steps, batch);
            let symbols = ends.iter().filter(|end| **end > 0).count();
            assert!(strands.len() <= batch.max(symbols), "{strands:?}");
            assert!(strands.is_sorted_by_key(|strand| std::cmp::Reverse(strand.rows.len())));
            for (sequence, end) in ends.iter().enumerate() {
                let mut rows: Vec<_> =
                    strands.iter().filter(|s| s.sequence == sequence).map(|s| &s.rows).collect();
                rows.sort_by_key(|rows| rows.start);
                let covered: Vec<usize> = rows.iter().flat_map(|rows| (*rows).clone()).collect();
                assert_eq!(covered, (0..*end).collect::<Vec<_>>());
                assert!(rows.iter().all(|rows| rows.start % steps == 0 && !rows.is_empty()));
            }
        }
        // 25 chunks of one history: three strands of eight or nine.
        let lengths: Vec<_> = cut(&[100], 4, 3).iter().map(|s| s.rows.len()).collect();
        assert_eq!(lengths, [36, 32, 32]);
    }
}
