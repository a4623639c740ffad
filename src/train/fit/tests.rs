//! The training loop on small waves.

use super::loss::Loss;
use super::state::clip;
use super::*;
use crate::train::network::{Activation, Architecture, DenseShape, RecurrentShape};

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
        recurrent: vec![
            RecurrentShape { recurrent_dropout: dropout, dropout, ..RecurrentShape::lstm(8) },
            RecurrentShape { dropout, ..RecurrentShape::lstm(6) },
        ],
        dense: vec![
            DenseShape { dropout, ..DenseShape::new(4, Activation::Relu) },
            DenseShape::new(1, Activation::Tanh),
        ],
        ..Architecture::default()
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

/// Every schedule, with what else a fit can be asked for.
fn recipes() -> Vec<Recipe> {
    let plateau =
        RateShape::Plateau { patience: 1, factor: 0.5, min_delta: 0.05, cooldown_epochs: 1 };
    let shapes = [
        RateShape::Constant,
        RateShape::Step { every_epochs: 2, factor: 0.5 },
        RateShape::Cosine { epochs: 5 },
        plateau,
    ];
    let mut recipes = Vec::new();
    for (shape, warm_up_epochs) in shapes.into_iter().flat_map(|shape| [(shape, 0), (shape, 2)]) {
        let schedule = RateSchedule { shape, warm_up_epochs, floor: 0.1 };
        recipes.push(Recipe { epochs: 6, schedule, weight_decay: 0.1, ..recipe() });
    }
    recipes.push(Recipe { monitor: Monitor::ValidationAbsoluteError, ..recipes[0].clone() });
    recipes
}

#[test]
fn a_fit_goes_on_from_any_epoch_with_any_schedule() {
    let (training, validation) = (wave(40, 0), wave(20, 100));
    let network = small(0.2);
    let mut seen = Vec::new();
    for recipe in recipes() {
        let mut states = Vec::new();
        let mut keep = |progress: Progress| {
            if let Progress::State(state) = progress {
                states.push(state.clone());
            }
            ControlFlow::Continue(())
        };
        let whole = fit(&network, of(&training, &validation), &recipe, &mut keep).unwrap();
        for state in states {
            let done = state.epochs().len();
            let again = resume(&network, of(&training, &validation), &recipe, state, &mut onwards);
            let again = again.unwrap();
            assert_eq!(bits(&again.parameters), bits(&whole.parameters), "{done}: {recipe:?}");
            assert_eq!(again.epochs, whole.epochs, "{done}: {recipe:?}");
        }
        let rates: Vec<f64> = whole.epochs.iter().map(|epoch| epoch.learning_rate).collect();
        assert!(!seen.contains(&rates) || recipe.monitor != Monitor::ValidationLoss, "{rates:?}");
        seen.push(rates);
    }
}

#[test]
fn a_schedule_that_begins_later_counts_from_there() {
    let (training, validation) = (wave(40, 0), wave(20, 100));
    let network = small(0.0);
    let schedule = RateSchedule {
        shape: RateShape::Step { every_epochs: 1, factor: 0.5 },
        ..RateSchedule::default()
    };
    let recipe = Recipe { epochs: 5, learning_rate: 0.01, schedule, ..recipe() };
    let mut state = None;
    let mut keep = |progress: Progress| {
        if let Progress::State(of_epoch) = progress
            && of_epoch.epochs().len() == 3
        {
            state = Some(of_epoch.clone());
        }
        ControlFlow::Continue(())
    };
    fit(&network, of(&training, &validation), &recipe, &mut keep).unwrap();
    let mut state = state.unwrap();
    state.begin_schedule();
    let other = Recipe { learning_rate: 0.002, ..recipe };
    let fit = resume(&network, of(&training, &validation), &other, state, &mut onwards).unwrap();
    let rates: Vec<f64> = fit.epochs.iter().map(|epoch| epoch.learning_rate).collect();
    assert_eq!(rates, [0.01, 0.005, 0.0025, 0.002, 0.001]);
}

#[test]
fn the_kept_epoch_is_that_of_the_lowest_monitored_value() {
    let (training, validation) = (wave(64, 0), wave(20, 100));
    for (word, monitor) in Monitor::CHOICES {
        let recipe = Recipe { epochs: 12, learning_rate: 0.1, monitor, ..recipe() };
        let fit = fit(&small(0.3), of(&training, &validation), &recipe, &mut onwards).unwrap();
        let values: Vec<f64> = fit.epochs.iter().map(|epoch| monitor.of(epoch)).collect();
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(values[fit.best_epoch - 1], lowest, "{word}: {values:?}");
        let best: Vec<_> = fit.epochs.iter().filter(|epoch| epoch.best).collect();
        assert_eq!(best.last().unwrap().number, fit.best_epoch, "{word}");
    }
}

#[test]
fn patience_begins_at_its_epoch_and_wants_its_improvement() {
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let epochs = |min_delta, start_epoch| {
        let recipe = Recipe { epochs: 40, patience: 4, min_delta, start_epoch, ..recipe() };
        fit(&small(0.0), of(&training, &validation), &recipe, &mut onwards).unwrap()
    };
    // Nothing is so much lower than the first epoch that is looked at.
    let fit = epochs(1e9, 1);
    assert_eq!((fit.stopped, fit.epochs.len()), (Stopped::Patience, 5));
    let lowest = fit.epochs.iter().min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss));
    assert_eq!(lowest.unwrap().number, fit.best_epoch, "kept all the same");
    assert!(fit.best_epoch > 1, "it learns");
    assert_eq!(epochs(1e9, 7).epochs.len(), 6 + 5);
    assert!(epochs(0.0, 1).epochs.len() > 11);
}

#[test]
fn weights_decay_and_biases_do_not() {
    let network = small(0.0);
    let biases = |vector: &[f32]| -> Vec<f32> {
        let mut is_weight = vec![false; vector.len()];
        network.weights().iter().for_each(|place| is_weight[place.clone()].fill(true));
        let pairs = vector.iter().zip(is_weight);
        pairs.filter(|(_, is_weight)| !is_weight).map(|(value, _)| *value).collect()
    };
    let initial = network.initial_parameters(1);
    // Four gates of 8 and of 6 units, and dense layers of 4 and of 1.
    assert_eq!(biases(&initial).len(), 4 * 8 + 4 * 6 + 4 + 1);
    assert!(biases(&initial).iter().all(|bias| [0.0, 1.0].contains(bias)), "as they begin");
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let length = |weight_decay| {
        // Steps are as long as the rate, decay a thousand times as long.
        let recipe = Recipe { learning_rate: 1e-5, weight_decay, ..recipe() };
        let fit = fit(&small(0.0), of(&training, &validation), &recipe, &mut onwards).unwrap();
        let whole = fit.parameters.iter().map(|p| f64::from(p * p)).sum::<f64>();
        let biases = biases(&fit.parameters).iter().map(|p| f64::from(p * p)).sum::<f64>();
        [whole - biases, biases]
    };
    let ([weights, biases], [decayed, biases_after]) = (length(0.0), length(1e4));
    assert!(decayed < 0.5 * weights, "{weights} became {decayed}");
    assert!((biases_after - biases).abs() < 1e-2, "{biases} became {biases_after}");
}

#[test]
fn a_weighted_example_counts_so_much() {
    // One input, and two labels in equal number: the least squares are at their weighted mean.
    let mut windows = Windows::new(8, 2, 1);
    let start = windows.push_rows(&[0.5; 16]);
    (0..40).for_each(|k| windows.push_window(start, &[if k % 2 == 0 { 0.5 } else { -0.5 }]));
    let even = windows.clone();
    windows.set_weights((0..40).map(|k| if k % 2 == 0 { 1.5 } else { 0.5 }).collect());
    // A step sees all examples.
    let recipe = Recipe { epochs: 300, patience: 300, batch: 64, ..recipe() };
    let value = |training: &Windows| {
        let mut last = Vec::new();
        let mut watch = |progress: Progress| {
            if let Progress::State(state) = progress {
                state.parameters.clone_into(&mut last);
            }
            ControlFlow::Continue(())
        };
        let fit = fit(&small(0.0), of(training, &even), &recipe, &mut watch).unwrap();
        (predict(&small(0.0), &last, &even)[0], fit)
    };
    let ((plain, _), (weighted, fit)) = (value(&even), value(&windows));
    assert!(plain.abs() < 0.03, "{plain}");
    assert!((weighted - 0.25).abs() < 0.03, "{weighted}");
    // At 0.25: 1.5 * 0.25^2 and 0.5 * 0.75^2; unweighted 0.25^2 and 0.75^2.
    let last = fit.epochs.last().unwrap();
    assert!((last.training_loss - 0.1875).abs() < 0.01, "{last:?}");
    assert!((last.validation_loss - 0.3125).abs() < 0.03, "the validation part is even: {last:?}");
}

#[test]
fn weights_of_one_change_no_bit() {
    let (training, validation) = (wave(64, 0), wave(20, 100));
    let mut weighted = training.clone();
    weighted.set_weights(vec![1.0; 64]);
    let run = |training| fit(&small(0.2), of(training, &validation), &recipe(), &mut onwards);
    let (plain, weighted) = (run(&training).unwrap(), run(&weighted).unwrap());
    assert_eq!(bits(&weighted.parameters), bits(&plain.parameters));
}

#[test]
fn long_gradients_are_clipped_and_short_ones_left_alone() {
    let mut gradients = [3.0, -4.0];
    clip(&mut gradients, 0.0);
    clip(&mut gradients, 5.0);
    assert_eq!(gradients, [3.0, -4.0]);
    clip(&mut gradients, 2.5);
    assert_eq!(gradients, [1.5, -2.0]);
    // `global_clipnorm` of Keras on two tensors, by `tests/reference/fitting_reference.py`.
    let text = include_str!("../../../tests/data/fitting_reference.json");
    let reference: serde_json::Value = serde_json::from_str(text).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        serde_json::from_value(reference["clip"][name].clone()).unwrap()
    };
    let mut gradients = numbers("gradients");
    clip(&mut gradients, reference["clip"]["norm"].as_f64().unwrap());
    for (ours, theirs) in gradients.iter().zip(numbers("clipped")) {
        assert!((ours - theirs).abs() < 1e-6, "{ours}, Keras has {theirs}");
    }

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
