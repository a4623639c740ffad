//! Seconds per epoch of the trainer on the seed model: 2,048 windows of 30 x 3, batch 64.
//!
//! `cargo bench --profile dist --bench train` prints the median and the extremes over the epochs
//! after the first, for the tutorial's network with and without its dropout, on one and on two
//! threads. The data are noise: time does not depend on the values. With `--lines N` it does as
//! `train_peers.py` reads: N epochs without recurrent dropout, each printing its seconds as soon as
//! it is over.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::ops::ControlFlow;
use std::time::Instant;

use tickcast::train::fit::{Examples, Progress, Recipe, fit};
use tickcast::train::network::{Architecture, Network};
use tickcast::train::random::{Purpose, Random};
use tickcast::train::windows::Windows;

const WINDOWS: usize = 2_048;
const STEPS: usize = 30;
const FEATURES: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--lines") {
        let epochs = arguments.get(at + 1).and_then(|count| count.parse().ok());
        return lines(epochs.expect("--lines takes the count of epochs"));
    }
    // `cargo test --benches` runs this with `--test`: one short round, to see that it works.
    let epochs = if arguments.iter().any(|a| a == "--test") { 2 } else { 16 };
    let training = noise(WINDOWS, 1);
    let validation = noise(1, 2);
    for dropout in [false, true] {
        for lanes in [1, 2] {
            let seconds = epoch_seconds(dropout, lanes, epochs, &training, &validation);
            let [low, median, high] =
                [0, seconds.len() / 2, seconds.len() - 1].map(|at| seconds[at] * 1e3);
            let dropout = if dropout { "0.2/0.3/0.2" } else { "none" };
            println!(
                "dropout {dropout:<11}  lanes {lanes}  epoch of {WINDOWS} windows: \
                 median {median:6.1} ms  min {low:6.1}  max {high:6.1}  ({} epochs)",
                seconds.len()
            );
        }
    }
}

/// The tutorial's network without recurrent dropout, on two lanes.
fn lines(epochs: usize) {
    let mut architecture = Architecture::tutorial(FEATURES);
    architecture.recurrent.iter_mut().for_each(|layer| layer.recurrent_dropout = 0.0);
    let network = Network::new(architecture).expect("the tutorial's shape is valid");
    let recipe = Recipe { epochs, patience: epochs, lanes: 2, ..Recipe::default() };
    let mut last = Instant::now();
    let mut observer = |progress: Progress| {
        if let Progress::Epoch(_) = progress {
            println!("epoch {:.6}", last.elapsed().as_secs_f64());
            last = Instant::now();
        }
        ControlFlow::Continue(())
    };
    let (training, validation) = (&noise(WINDOWS, 1), &noise(1, 2));
    let examples = Examples::Windows { training, validation };
    let fitted = fit(&network, examples, &recipe, &mut observer);
    fitted.expect("noise does not diverge");
}

/// Sorted times of all epochs but the first.
fn epoch_seconds(
    dropout: bool,
    lanes: usize,
    epochs: usize,
    training: &Windows,
    validation: &Windows,
) -> Vec<f64> {
    let mut architecture = Architecture::tutorial(FEATURES);
    if !dropout {
        for layer in &mut architecture.recurrent {
            (layer.recurrent_dropout, layer.dropout) = (0.0, 0.0);
        }
        architecture.dense.iter_mut().for_each(|d| d.dropout = 0.0);
    }
    let network = Network::new(architecture).expect("the tutorial's shape is valid");
    let recipe = Recipe { epochs, patience: epochs, lanes, ..Recipe::default() };
    let mut seconds = Vec::new();
    let mut last = Instant::now();
    let mut observer = |progress: Progress| {
        if let Progress::Epoch(_) = progress {
            let now = Instant::now();
            seconds.push((now - last).as_secs_f64());
            last = now;
        }
        ControlFlow::Continue(())
    };
    let examples = Examples::Windows { training, validation };
    fit(&network, examples, &recipe, &mut observer).expect("noise does not diverge");
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    seconds
}

fn noise(count: usize, seed: u64) -> Windows {
    let mut random = Random::new(seed, Purpose::Order);
    let mut uniform = || 2.0 * random.unit_f32() - 1.0;
    let mut windows = Windows::new(STEPS, FEATURES, 1);
    let rows: Vec<f32> = (0..(count + STEPS) * FEATURES).map(|_| uniform()).collect();
    let first = windows.push_rows(&rows);
    (0..count).for_each(|k| windows.push_window(first + k, &[uniform()]));
    windows
}
