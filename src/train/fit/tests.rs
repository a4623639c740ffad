//! The training loop on small waves.

use super::loss::Loss;
use super::state::clip;
use super::*;
use crate::train::network::{Activation, Architecture, DenseShape, LstmShape};

/// Windows of a noisy wave; the label is the next value, which an LSTM learns quickly.
fn wave(count: usize, from: usize) -> Windows {
    let (steps, features) = (8, 2);
    let value = |k: usize| ((from + k) as f32 * 0.7).sin();
    let rows: Vec<f32> =
        (0..count + steps).flat_map(|k| [value(k), if k % 3 == 0 { 0.5 } else { -0.5 }]).collect();
    let mut windows = Windows::new(steps, features, 1);
    let first = windows.push_rows(&rows);
    (0..count).for_each(|k| windows.push_window(first + k, &[0.8 * value(k + steps)]));
    windows
}

fn of<'a>(training: &'a Windows, validation: &'a Windows) -> Examples<'a> {
    Examples::Windows { training, validation }
}

fn small(dropout: f32) -> Network {
    Network::new(Architecture {
        inputs: 2,
        lstm: vec![
            LstmShape { units: 8, recurrent_dropout: dropout, dropout },
            LstmShape { units: 6, recurrent_dropout: 0.0, dropout },
        ],
        attention: None,
        dense: vec![
            DenseShape { units: 4, activation: Activation::Relu, dropout },
            DenseShape { units: 1, activation: Activation::Tanh, dropout: 0.0 },
        ],
    })
    .unwrap()
}

fn recipe() -> Recipe {
    Recipe { epochs: 3, batch: 16, learning_rate: 1e-2, ..Recipe::default() }
}

fn onwards(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn bits(parameters: &[f32]) -> Vec<u32> {
    parameters.iter().map(|p| p.to_bits()).collect()
}

#[test]
fn an_epoch_with_a_limit_draws_as_many_other_windows_each_time() {
    let (training, validation) = (wave(100, 0), wave(40, 200));
    let network = small(0.1);
    let recipe = |most| Recipe { examples_per_epoch_max: most, batch: 8, epochs: 3, ..recipe() };
    let run = |most: usize, state: Option<FitState>, until: usize| {
        let (mut batches, mut states) = (Vec::new(), Vec::new());
        let mut observer = |progress: Progress| match progress {
            Progress::Batch { epoch, total, .. } => {
                batches.push((epoch, total));
                ControlFlow::Continue(())
            }
            Progress::Epoch(_) => ControlFlow::Continue(()),
            Progress::State(state) => {
                states.push(state.clone());
                if states.len() == until {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
        };
        let examples = of(&training, &validation);
        let fit = fit_on(1, &network, examples, &recipe(most), state, &mut observer).unwrap();
        (fit, batches, states)
    };
    let (limited, batches, states) = run(20, None, 9);
    // Three batches of 8, 8 and 4 windows in each epoch.
    assert_eq!(batches, [(1, 3), (1, 3), (1, 3), (2, 3), (2, 3), (2, 3), (3, 3), (3, 3), (3, 3)]);
    let drawn = |state: &FitState| state.order[..20].to_vec();
    assert_ne!(drawn(&states[0]), drawn(&states[1]));
    let (_, _, first) = run(20, None, 1);
    let (resumed, ..) = run(20, Some(first[0].clone()), 9);
    assert_eq!(resumed.parameters, limited.parameters, "resumed in the middle");
    let (whole, ..) = run(0, None, 9);
    let (many, ..) = run(100, None, 9);
    assert_eq!(many.parameters, whole.parameters, "a limit that nothing reaches");
    assert_ne!(limited.parameters, whole.parameters);
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    // 70 windows in batches of 16 leave a last batch of 6, which three lanes share.
    let (training, validation) = (wave(70, 0), wave(20, 100));
    let network = small(0.2);
    let recipe = Recipe { lanes: 3, ..recipe() };
    let run = |threads| {
        let fit =
            fit_on(threads, &network, of(&training, &validation), &recipe, None, &mut onwards);
        bits(&fit.unwrap().parameters)
    };
    let once = run(1);
    for threads in [1, 2, 3] {
        assert_eq!(run(threads), once, "{threads} threads");
    }
    let other = Recipe { seed: 2, ..recipe };
    let other = fit(&network, of(&training, &validation), &other, &mut onwards).unwrap();
    assert_ne!(bits(&other.parameters), once, "another seed is another fit");
}

#[test]
fn lanes_change_rounding_and_nothing_else() {
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let network = small(0.0);
    let run = |lanes| {
        let recipe = Recipe { lanes, epochs: 1, ..recipe() };
        fit(&network, of(&training, &validation), &recipe, &mut onwards).unwrap()
    };
    let (one, three) = (run(1), run(3));
    for (one, three) in one.parameters.iter().zip(&three.parameters) {
        assert!((one - three).abs() < 1e-4, "one lane {one}, three lanes {three}");
    }
    let [one, three] = [one, three].map(|fit| fit.epochs[0].training_loss);
    assert!((one - three).abs() < 1e-6, "losses: one lane {one}, three lanes {three}");
}

#[test]
fn a_learnable_series_is_learned() {
    let (training, validation) = (wave(256, 0), wave(64, 1000));
    let recipe = Recipe { epochs: 40, ..recipe() };
    let fit = fit(&small(0.0), of(&training, &validation), &recipe, &mut onwards).unwrap();
    let (first, best) = (fit.epochs[0], fit.epochs[fit.best_epoch - 1]);
    // The variance of the labels is 0.32.
    assert!(first.validation_loss > 0.05, "{first:?}");
    assert!(best.validation_loss < 0.002, "{best:?}");
}

#[test]
fn the_best_epoch_is_kept_and_patience_ends_the_fit() {
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let network = small(0.2);
    // A rate this high makes the validation loss jump.
    let recipe = Recipe { epochs: 200, patience: 4, learning_rate: 0.1, ..recipe() };
    let fit = fit(&network, of(&training, &validation), &recipe, &mut onwards).unwrap();
    assert_eq!(fit.stopped, Stopped::Patience);
    assert_eq!(fit.epochs.len(), fit.best_epoch + 4);
    let losses = fit.epochs.iter().map(|e| e.validation_loss);
    let lowest = losses.fold(f64::INFINITY, f64::min);
    assert_eq!(fit.epochs[fit.best_epoch - 1].validation_loss, lowest);
    let values = predict(&network, &fit.parameters, &validation);
    let loss = Loss::MeanSquaredError.sum(&values, validation.labels()) / 20.0;
    assert!((loss - lowest).abs() < 1e-6, "kept parameters give {loss}, not {lowest}");
}

#[test]
fn whoever_watches_can_stop_and_keeps_the_best_so_far() {
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let stop_at = |epoch: usize, batch: usize| {
        let mut observer = |progress: Progress| match progress {
            Progress::Batch { epoch: e, done, .. } if (e, done) == (epoch, batch) => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        };
        fit(&small(0.0), of(&training, &validation), &recipe(), &mut observer)
    };
    let stopped = stop_at(2, 3).unwrap();
    assert_eq!((stopped.stopped, stopped.best_epoch), (Stopped::Asked, 1));
    assert_eq!(stop_at(1, 2).unwrap_err(), FitError::NothingYet);
}

#[test]
fn a_session_goes_on_as_if_it_had_never_stopped() {
    let (training, validation) = (wave(70, 0), wave(20, 100));
    let network = small(0.2);
    let recipe = Recipe { epochs: 5, ..recipe() };
    let whole = fit(&network, of(&training, &validation), &recipe, &mut onwards).unwrap();
    let mut kept = None;
    let mut keep = |progress: Progress| {
        match progress {
            Progress::State(state) if state.epochs().len() == 2 => {
                kept = Some(state.clone());
            }
            // In the middle of an epoch that the state knows nothing of.
            Progress::Batch { epoch: 3, done: 2, .. } => return ControlFlow::Break(()),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    fit(&network, of(&training, &validation), &recipe, &mut keep).unwrap();
    let kept = kept.unwrap();
    assert!(!kept.order.is_sorted(), "the windows are shuffled");
    let state = kept.clone();
    let again = resume(&network, of(&training, &validation), &recipe, state, &mut onwards);
    let again = again.unwrap();
    assert_eq!(bits(&again.parameters), bits(&whole.parameters));
    assert_eq!((again.epochs, again.best_epoch), (whole.epochs, whole.best_epoch));
    // Two epochs were asked for and two are done.
    let recipe = Recipe { epochs: 2, ..recipe };
    let state = kept.clone();
    let done = resume(&network, of(&training, &validation), &recipe, state, &mut onwards);
    assert_eq!(done.unwrap().epochs.len(), 2);
    let other = resume(&network, of(&wave(71, 0), &validation), &recipe, kept, &mut onwards);
    assert_eq!(other.unwrap_err(), FitError::OtherSession);
}

#[test]
fn long_gradients_are_clipped_and_short_ones_left_alone() {
    let mut gradients = [3.0, -4.0];
    clip(&mut gradients, 0.0);
    clip(&mut gradients, 5.0);
    assert_eq!(gradients, [3.0, -4.0]);
    clip(&mut gradients, 2.5);
    assert_eq!(gradients, [1.5, -2.0]);

    // The fit does clip: with a tiny limit the first moments are as tiny.
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let first_step = |clip_norm| {
        let recipe = Recipe { epochs: 1, batch: 64, clip_norm, ..recipe() };
        let mut length = 0.0_f32;
        let mut watch = |progress: Progress| {
            if let Progress::State(state) = progress {
                let squares = state.adam.moments().0.iter().map(|m| m * m);
                length = squares.sum::<f32>().sqrt();
            }
            ControlFlow::Continue(())
        };
        fit(&small(0.0), of(&training, &validation), &recipe, &mut watch).unwrap();
        length
    };
    // The first moment is a tenth of the gradient.
    assert!((first_step(1e-3) - 1e-4).abs() < 1e-9, "{}", first_step(1e-3));
    assert!(first_step(0.0) > 1e-3);
}

#[test]
fn a_classifier_is_fitted_by_cross_entropy() {
    let mut shape = small(0.0).architecture().clone();
    shape.dense[1].activation = Activation::Sigmoid;
    let network = Network::new(shape).unwrap();
    let classes = |wave: &Windows| {
        let mut windows = Windows::new(8, 2, 1);
        (0..wave.len()).for_each(|at| {
            let start = windows.push_rows(&wave.window(at));
            windows.push_window(start, &[if wave.labels()[at] > 0.0 { 1.0 } else { 0.0 }]);
        });
        windows
    };
    let (training, validation) = (classes(&wave(256, 0)), classes(&wave(64, 1000)));
    let recipe = Recipe { epochs: 30, loss: Loss::BinaryCrossEntropy, ..recipe() };
    let fit = fit(&network, of(&training, &validation), &recipe, &mut onwards).unwrap();
    let best = fit.epochs[fit.best_epoch - 1];
    assert!(best.validation_loss < 0.15, "{best:?}");
    // What is kept are the parameters of the network with its sigmoid.
    let values = predict(&network, &fit.parameters, &validation);
    let errors = values.iter().zip(validation.labels()).map(|(y, t)| (y - t).abs());
    let error = f64::from(errors.sum::<f32>()) / 64.0;
    assert!((error - best.validation_absolute_error).abs() < 1e-6, "{error}, {best:?}");
    let refused = super::fit(&small(0.0), of(&training, &validation), &recipe, &mut onwards);
    assert_eq!(refused.unwrap_err(), FitError::NoProbability);
}

#[test]
fn the_pinball_loss_learns_its_quantile() {
    // Inputs say nothing, labels are 0 to 99 hundredths: the quantile 0.8 is 0.8.
    let mut windows = Windows::new(8, 2, 1);
    let start = windows.push_rows(&[0.5; 16]);
    (0..100).for_each(|k| windows.push_window(start, &[k as f32 / 100.0]));
    let recipe = Recipe { epochs: 60, loss: Loss::Quantile(0.8), ..recipe() };
    let network = small(0.0);
    let fit = fit(&network, of(&windows, &windows), &recipe, &mut onwards).unwrap();
    let value = predict(&network, &fit.parameters, &windows)[0];
    assert!((value - 0.8).abs() < 0.03, "{value}");
}

#[test]
fn divergence_and_missing_windows_are_errors() {
    let validation = wave(20, 100);
    let mut broken = wave(64, 0);
    broken.push_window(0, &[f32::NAN]);
    let error = fit(&small(0.0), of(&broken, &validation), &recipe(), &mut onwards).unwrap_err();
    assert!(matches!(error, FitError::Diverged { epoch: 1, what: "training", .. }), "{error}");
    let none = Windows::new(8, 2, 1);
    let error = fit(&small(0.0), of(&none, &validation), &recipe(), &mut onwards).unwrap_err();
    assert_eq!(error, FitError::NoWindows("training"));
}
