//! A batch on several threads, with the same result as on one.
//!
//! Owns: the lanes: each has a workspace and a gradient vector of its own and takes a fixed share
//! of every batch.
//!
//! Promises: how a batch is divided, and the order in which the lanes' gradients are added, depend
//! on the count of lanes and never on the threads or their scheduling. So the count of lanes is
//! part of a recipe, and the count of threads is not.
//!
//! Never: keeps a thread waiting between batches: a scope is opened for each, which costs 30
//! to 60 µs of several milliseconds.

use std::ops::Range;

use super::loss::Loss;
use super::weights;
use crate::train::network::{Network, Workspace};
use crate::train::random::Random;
use crate::train::windows::Windows;

/// Count of windows a lane predicts at once.
const PREDICT_BATCH: usize = 128;

#[derive(Debug)]
struct Lane {
    workspace: Workspace,
    gradients: Vec<f32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    loss: f64,
}

/// The lanes of one network.
#[derive(Debug)]
pub(crate) struct Lanes<'a> {
    network: &'a Network,
    lanes: Vec<Lane>,
    threads: usize,
}

impl<'a> Lanes<'a> {
    /// `count` lanes for windows of `steps` rows, on at most `threads` threads.
    pub(crate) fn new(
        network: &'a Network,
        steps: usize,
        batch: usize,
        count: usize,
        threads: usize,
    ) -> Self {
        let lane = || Lane {
            workspace: network.workspace(steps, batch.div_ceil(count)),
            gradients: vec![0.0; network.parameter_count()],
            targets: Vec::new(),
            weights: Vec::new(),
            loss: 0.0,
        };
        let lanes = (0..count).map(|_| lane()).collect();
        Self { network, lanes, threads: threads.clamp(1, count) }
    }

    /// Loss (a mean over the batch) and gradients of the windows `which`, with fresh dropout masks.
    pub(crate) fn gradients(
        &mut self,
        parameters: &[f32],
        windows: &Windows,
        which: &[usize],
        loss: Loss,
        random: &mut Random,
    ) -> (f64, &mut [f32]) {
        let network = self.network;
        let count = self.lanes.len();
        // Masks are drawn here, one lane after the other, because the lanes share one stream.
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let share = share(which.len(), count, at);
            lane.workspace.input(windows.steps(), share.len(), windows.inputs());
            lane.workspace.draw_masks(random);
        }
        let values = which.len() * network.outputs();
        each(&mut self.lanes, self.threads, |at, lane| {
            let which = &which[share(which.len(), count, at)];
            if which.is_empty() {
                lane.gradients.fill(0.0);
                lane.loss = 0.0;
                return;
            }
            let input = lane.workspace.input(windows.steps(), which.len(), windows.inputs());
            windows.gather(which, input);
            lane.workspace.set_symbols(which.iter().map(|at| windows.symbol(*at)));
            windows.gather_labels(which, &mut lane.targets);
            windows.gather_weights(which, &mut lane.weights);
            network.forward(parameters, &mut lane.workspace);
            let (output, gradient) = lane.workspace.output_and_gradient();
            let (targets, weights) = (&lane.targets, &lane.weights);
            lane.loss = weights::gradient(loss, output, targets, weights, values, gradient);
            network.backward(parameters, &mut lane.workspace, &mut lane.gradients);
        });
        let (first, others) = self.lanes.split_first_mut().expect("there is at least one lane");
        for other in others {
            first.loss += other.loss;
            first.gradients.iter_mut().zip(&other.gradients).for_each(|(sum, g)| *sum += g);
        }
        (first.loss, &mut first.gradients)
    }

    /// The network's values for all windows, in order, `[n, K]`; no dropout.
    pub(crate) fn predict(&mut self, parameters: &[f32], windows: &Windows) -> Vec<f32> {
        let network = self.network;
        let width = network.outputs();
        let mut values = vec![0.0; windows.len() * width];
        let count = self.lanes.len();
        let mut rest = &mut values[..];
        let mut work = Vec::with_capacity(count);
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let share = share(windows.len(), count, at);
            let (mine, others) = rest.split_at_mut(share.len() * width);
            rest = others;
            work.push((lane, share, mine));
        }
        each(&mut work, self.threads, |_, (lane, share, values)| {
            lane.workspace.clear_masks();
            let which: Vec<usize> = share.clone().collect();
            let chunks = values.chunks_mut(PREDICT_BATCH * width);
            for (which, values) in which.chunks(PREDICT_BATCH).zip(chunks) {
                let input = lane.workspace.input(windows.steps(), which.len(), windows.inputs());
                windows.gather(which, input);
                lane.workspace.set_symbols(which.iter().map(|at| windows.symbol(*at)));
                values.copy_from_slice(network.forward(parameters, &mut lane.workspace));
            }
        });
        values
    }
}

/// The part of `total` items that falls to one of `lanes` lanes.
pub(in crate::train) fn share(total: usize, lanes: usize, lane: usize) -> Range<usize> {
    total * lane / lanes..total * (lane + 1) / lanes
}

/// Runs `work` on every item, neighbouring items on the same thread, the first on this one.
pub(in crate::train) fn each<T: Send>(
    items: &mut [T],
    threads: usize,
    work: impl Fn(usize, &mut T) + Sync,
) {
    let group = items.len().div_ceil(threads);
    let run = |at: usize, items: &mut [T]| {
        items.iter_mut().enumerate().for_each(|(k, item)| work(at * group + k, item));
    };
    let run = &run;
    std::thread::scope(|scope| {
        let mut groups = items.chunks_mut(group).enumerate();
        let first = groups.next();
        for (at, items) in groups {
            scope.spawn(move || run(at, items));
        }
        if let Some((at, items)) = first {
            run(at, items);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for total in [0, 1, 2, 7, 64] {
            for lanes in 1..5 {
                let all: Vec<usize> = (0..lanes).flat_map(|at| share(total, lanes, at)).collect();
                assert_eq!(all, (0..total).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn every_item_is_visited_once_under_its_own_number() {
        for threads in 1..4 {
            let mut items = vec![0; 5];
            each(&mut items, threads, |at, item| *item += 10 + at);
            assert_eq!(items, [10, 11, 12, 13, 14]);
        }
    }
}
