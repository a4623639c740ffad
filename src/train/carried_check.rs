//! A test of `fit` and `carried` together: learning with a carried state, on sequences made for it.

use std::ops::ControlFlow;

use super::fit::carried::predict;
use super::fit::{Examples, Fit, FitState, Labelled, Progress, Recipe, fit, resume};
use super::network::{Activation, Architecture, Cell, DenseShape, Network, RecurrentShape};
use super::random::{Purpose, Random};
use super::sequences::{Place, Sequences};
use super::windows::Windows;

/// Steps of a chunk and of a window.
const STEPS: usize = 6;

/// Sequences whose label is what their last event said, which most often lies more than
/// [`STEPS`] rows back; the last quarter is for validation.
struct Latch {
    sequences: Sequences,
    training: (Vec<Place>, Vec<f32>),
    validation: (Vec<Place>, Vec<f32>),
}

impl Latch {
    fn new(lengths: &[usize]) -> Self {
        let mut random = Random::new(3, Purpose::Order);
        let mut sequences = Sequences::new(1);
        let (mut training, mut validation) = ((vec![], vec![]), (vec![], vec![]));
        for (sequence, length) in lengths.iter().enumerate() {
            let (mut rows, mut last, mut quiet) = (Vec::new(), 0.0, 0);
            for row in 0..*length {
                let event = quiet == 0;
                quiet = if event { 12 + random.below(12) } else { quiet - 1 };
                if event {
                    last = if random.unit_f32() < 0.5 { -0.8 } else { 0.8 };
                }
                rows.push(if event { last } else { 0.0 });
                let part = if row < length * 3 / 4 { &mut training } else { &mut validation };
                if row + 1 >= STEPS {
                    part.0.push(Place { sequence, row });
                    part.1.push(last);
                }
            }
            sequences.push(rows);
        }
        Self { sequences, training, validation }
    }

    fn carried(&self) -> Examples<'_> {
        let (training, validation) = (&self.training, &self.validation);
        Examples::Carried {
            sequences: &self.sequences,
            steps: STEPS,
            training: Labelled { places: &training.0, labels: &training.1, weights: &[] },
            validation: Labelled { places: &validation.0, labels: &validation.1, weights: &[] },
        }
    }

    /// The same examples, of which only the window is seen.
    fn windows(&self, (places, labels): &(Vec<Place>, Vec<f32>)) -> Windows {
        let mut windows = Windows::new(STEPS, 1, 1);
        for (place, label) in places.iter().zip(labels) {
            let mut rows = [0.0; STEPS];
            let stretch = place.row + 1 - STEPS..place.row + 1;
            self.sequences.gather(place.sequence, stretch, (0, 1), &mut rows);
            let start = windows.push_rows(&rows);
            windows.push_window(start, &[*label]);
        }
        windows
    }
}

fn network(dropout: f32) -> Network {
    network_of(Cell::Lstm, dropout)
}

fn network_of(cell: Cell, dropout: f32) -> Network {
    let shape = Architecture {
        inputs: 1,
        recurrent: vec![RecurrentShape { cell, units: 6, recurrent_dropout: dropout, dropout }],
        dense: vec![DenseShape::new(1, Activation::Tanh)],
        ..Architecture::default()
    };
    Network::new(shape).unwrap()
}

fn recipe() -> Recipe {
    Recipe { epochs: 3, batch: 4, learning_rate: 1e-2, ..Recipe::default() }
}

fn fitted(latch: &Latch, network: &Network, recipe: &Recipe) -> Fit {
    fit(network, latch.carried(), recipe, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The variance of the labels is 0.64. A window tells the label of the events inside it.
#[test]
fn what_lies_before_the_window_is_learned_by_a_carried_state_alone() {
    let latch = Latch::new(&[600, 500]);
    let recipe = Recipe { epochs: 60, patience: 60, ..recipe() };
    let loss = |fit: &Fit| fit.epochs[fit.best_epoch - 1].validation_loss;
    for cell in [Cell::Lstm, Cell::Gru] {
        let carried = fitted(&latch, &network_of(cell, 0.0), &recipe);
        assert!(loss(&carried) < 0.03, "carried, {cell:?}: {}", loss(&carried));
    }
    let (training, validation) = (latch.windows(&latch.training), latch.windows(&latch.validation));
    let examples = Examples::Windows { training: &training, validation: &validation };
    let recipe = Recipe { epochs: 20, batch: 32, ..recipe };
    let windowed = fit(&network(0.0), examples, &recipe, &mut |_| ControlFlow::Continue(()));
    let windowed = windowed.unwrap();
    assert!(loss(&windowed) > 0.3, "windows: {}", loss(&windowed));
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let latch = Latch::new(&[150, 40, 90]);
    let network = network(0.2);
    // Fewer strands side by side than symbols, as many, and more.
    for batch in [2, 3, 8] {
        let recipe = Recipe { batch, lanes: 3, ..recipe() };
        let once = bits(&fitted(&latch, &network, &recipe).parameters);
        assert_eq!(bits(&fitted(&latch, &network, &recipe).parameters), once);
        let other = Recipe { seed: 2, ..recipe };
        assert_ne!(bits(&fitted(&latch, &network, &other).parameters), once);
    }
}

#[test]
fn a_session_goes_on_as_if_it_had_never_stopped() {
    let latch = Latch::new(&[150, 40, 90]);
    let network = network(0.2);
    let recipe = Recipe { batch: 2, epochs: 5, ..recipe() };
    let whole = fitted(&latch, &network, &recipe);
    let mut kept: Option<FitState> = None;
    let mut keep = |progress: Progress| {
        match progress {
            Progress::State(state) if state.epochs().len() == 2 => {
                kept = Some(state.clone());
            }
            Progress::Batch { epoch: 3, done: 2, .. } => return ControlFlow::Break(()),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    fit(&network, latch.carried(), &recipe, &mut keep).unwrap();
    let mut onwards = |_: Progress| ControlFlow::Continue(());
    let again = resume(&network, latch.carried(), &recipe, kept.unwrap(), &mut onwards).unwrap();
    assert_eq!(bits(&again.parameters), bits(&whole.parameters));
    assert_eq!(again.epochs, whole.epochs);
}

#[test]
fn weights_count_and_weights_of_one_change_no_bit() {
    let latch = Latch::new(&[150, 40, 90]);
    let network = network(0.2);
    let run = |weights: &[f32]| {
        let Examples::Carried { sequences, steps, training, validation } = latch.carried() else {
            panic!("they are carried")
        };
        let training = Labelled { weights, ..training };
        let examples = Examples::Carried { sequences, steps, training, validation };
        let fit = fit(&network, examples, &recipe(), &mut |_| ControlFlow::Continue(()));
        bits(&fit.unwrap().parameters)
    };
    let labels = &latch.training.1;
    let plain = run(&[]);
    assert_eq!(run(&vec![1.0; labels.len()]), plain);
    let up = |label: &f32| if *label > 0.0 { 1.5 } else { 0.5 };
    assert_ne!(run(&labels.iter().map(up).collect::<Vec<f32>>()), plain);
}

#[test]
fn a_value_has_seen_every_row_before_it_and_none_after_it() {
    value_of_the_past(Cell::Lstm);
    value_of_the_past(Cell::Gru);
}

fn value_of_the_past(cell: Cell) {
    let latch = Latch::new(&[100, 37]);
    let network = network_of(cell, 0.0);
    let parameters = network.initial_parameters(1);
    let places: Vec<Place> = (0..100)
        .map(|row| Place { sequence: 0, row })
        .chain((0..37).map(|row| Place { sequence: 1, row }))
        .collect();
    let values = |sequences: &Sequences, steps, lanes| {
        predict(&network, &parameters, sequences, &places, steps, lanes)
    };
    let whole = values(&latch.sequences, 100, 1);
    for (steps, lanes) in [(1, 1), (7, 2), (30, 3)] {
        for (ours, value) in values(&latch.sequences, steps, lanes).iter().zip(&whole) {
            assert!((ours - value).abs() < 1e-6, "{steps} steps: {ours} and {value}");
        }
    }
    let mut other = Sequences::new(1);
    let mut rows = vec![0.0; 100];
    latch.sequences.gather(0, 0..100, (0, 1), &mut rows);
    rows[20] += 0.1;
    other.push(rows);
    let mut rows = vec![0.0; 37];
    latch.sequences.gather(1, 0..37, (0, 1), &mut rows);
    other.push(rows);
    let changed = values(&other, 7, 2);
    let before = values(&latch.sequences, 7, 2);
    assert_eq!(bits(&changed[..20]), bits(&before[..20]), "the past");
    // A GRU that is not trained forgets half of its state in a step.
    assert!(changed[20..30].iter().zip(&before[20..30]).all(|(a, b)| a != b), "what follows");
    assert_eq!(bits(&changed[100..]), bits(&before[100..]), "the other symbol");
}

#[test]
fn what_comes_behind_the_training_part_changes_no_step_of_the_optimiser() {
    let tame = Latch::new(&[160, 80]);
    let mut wild = Latch::new(&[160, 80]);
    let mut sequences = Sequences::new(1);
    for (sequence, length) in [160, 80].into_iter().enumerate() {
        let mut rows = vec![0.0; length];
        wild.sequences.gather(sequence, 0..length, (0, 1), &mut rows);
        rows[length * 3 / 4..].fill(5.0);
        sequences.push(rows);
    }
    wild.sequences = sequences;
    let recipe = Recipe { epochs: 1, ..recipe() };
    let [tame, wild] = [tame, wild].map(|latch| fitted(&latch, &network(0.2), &recipe));
    assert_eq!(bits(&wild.parameters), bits(&tame.parameters));
    assert_ne!(wild.epochs[0].validation_loss, tame.epochs[0].validation_loss);
}
