//! Every derivative of the network against central differences.
//!
//! The differences are taken of an independent forward pass: plain loops in f64, written from the
//! formulas and sharing nothing with the layers but the layout of the parameters. So the same
//! tests hold the forward pass to the formulas, and the gradients to a precision that differences
//! of f32 losses could not reach.

use super::network::activation::Activation;
use super::network::attention::Attention;
use super::network::lstm::{Emits, Lstm};
use super::network::{Architecture, DenseShape, LstmShape, Network, Workspace};
use crate::train::fit::loss::Loss;
use crate::train::random::{Purpose, Random};

/// Masks by layer in the order of [`Workspace::masks`]; empty where inactive.
type Masks = Vec<Vec<f64>>;

struct Case {
    network: Network,
    parameters: Vec<f32>,
    steps: usize,
    batch: usize,
    input: Vec<f32>,
    loss: Loss,
    targets: Vec<f32>,
    /// Whether a value has its target; one that has none is no part of the loss.
    labelled: Vec<bool>,
    /// h and c of each LSTM layer before the first step, `[B, H]`; none: zero.
    states: Vec<(Vec<f32>, Vec<f32>)>,
    workspace: Workspace,
    masks: Masks,
}

impl Case {
    fn new(architecture: Architecture, steps: usize, batch: usize) -> Self {
        Self::of(Network::new(architecture).unwrap(), steps, batch, batch)
    }

    /// A chunk in the midst of its strands: a value after every step, two thirds of them with a
    /// target, and states from the chunk before, which are constants.
    fn chunk(architecture: Architecture, steps: usize, batch: usize) -> Self {
        let network = Network::new(architecture).unwrap().every_step();
        let mut case = Self::of(network, steps, batch, steps * batch);
        case.labelled.iter_mut().skip(1).step_by(3).for_each(|labelled| *labelled = false);
        let mut random = Random::new(17, Purpose::Order);
        let units: Vec<usize> = case.network.lstm_layers().iter().map(Lstm::units).collect();
        for units in units {
            let mut uniform = || -> Vec<f32> {
                (0..batch * units).map(|_| 2.0 * random.unit_f32() - 1.0).collect()
            };
            case.states.push((uniform(), uniform()));
        }
        case
    }

    /// `rows` values go to the dense layers.
    fn of(network: Network, steps: usize, batch: usize, rows: usize) -> Self {
        let mut random = Random::new(11, Purpose::Order);
        let mut uniform = |count: usize| -> Vec<f32> {
            (0..count).map(|_| 2.0 * random.unit_f32() - 1.0).collect()
        };
        let input = uniform(steps * batch * network.architecture().inputs);
        let targets = uniform(rows * network.outputs());
        // Every parameter moves away from its initial value, so that biases are not zero.
        let mut parameters = network.initial_parameters(5);
        let moves = uniform(parameters.len());
        parameters.iter_mut().zip(moves).for_each(|(p, m)| *p += 0.3 * m);
        let mut workspace = network.workspace(steps, batch);
        let features = network.architecture().inputs;
        workspace.input(steps, batch, features).copy_from_slice(&input);
        workspace.draw_masks(&network, &mut Random::new(13, Purpose::Dropout));
        let masks = workspace.masks().into_iter().map(|m| widen(m.factors().unwrap_or(&[])));
        let masks = masks.collect();
        let loss = Loss::MeanSquaredError;
        let (labelled, states) = (vec![true; targets.len()], Vec::new());
        Self {
            network,
            parameters,
            steps,
            batch,
            input,
            loss,
            targets,
            labelled,
            states,
            workspace,
            masks,
        }
    }

    /// The same case with another loss, and with the network that this loss reads.
    fn with_loss(mut self, loss: Loss) -> Self {
        self.network = loss.reads(&self.network).unwrap().into_owned();
        self.loss = loss;
        if loss == Loss::BinaryCrossEntropy {
            self.targets.iter_mut().for_each(|target| *target = 0.5 * (*target + 1.0));
        }
        self
    }

    fn gradients(&mut self) -> Vec<f32> {
        let mut gradients = vec![f32::NAN; self.parameters.len()];
        if !self.states.is_empty() {
            let states = self.states.iter().map(|(h, c)| (&**h, &**c));
            self.workspace.carry_states(states);
        }
        self.network.forward(&self.parameters, &mut self.workspace);
        let (values, gradient) = self.workspace.output_and_gradient();
        let places: Vec<usize> = (0..values.len()).filter(|at| self.labelled[*at]).collect();
        let of = |all: &[f32]| -> Vec<f32> { places.iter().map(|at| all[*at]).collect() };
        let mut some = Vec::new();
        self.loss.gradient(&of(values), &of(&self.targets), places.len(), &mut some);
        gradient.clear();
        gradient.resize(values.len(), 0.0);
        places.iter().zip(some).for_each(|(at, d)| gradient[*at] = d);
        self.network.backward(&self.parameters, &mut self.workspace, &mut gradients);
        gradients
    }

    /// The network's values by the formulas, `[B, K]`.
    fn reference(&self, parameters: &[f64]) -> Vec<f64> {
        let mut masks = self.masks.iter();
        let mut mask = || masks.next().unwrap();
        let mut sequence = widen(&self.input);
        let (steps, batch) = (self.steps, self.batch);
        let layers = self.network.lstm_layers();
        let mut width = self.network.architecture().inputs;
        for (at, layer) in layers.iter().enumerate() {
            let units = layer.units();
            let [w, r, b] =
                [&layer.kernel, &layer.recurrent, &layer.bias].map(|p| &parameters[p.range()]);
            let recurrent_mask = mask();
            let mut outputs = vec![0.0; steps * batch * units];
            for window in 0..batch {
                let before = |state: &Vec<f32>| widen(&state[window * units..][..units]);
                let (mut hidden, mut cell) = self.states.get(at).map_or_else(
                    || (vec![0.0; units], vec![0.0; units]),
                    |(hidden, cell)| (before(hidden), before(cell)),
                );
                for step in 0..steps {
                    let x = &sequence[(step * batch + window) * width..][..width];
                    let masked: Vec<f64> = (0..units)
                        .map(|k| hidden[k] * factor(recurrent_mask, window * units + k))
                        .collect();
                    let z: Vec<f64> = (0..4 * units)
                        .map(|row| {
                            b[row]
                                + dot(&w[row * width..][..width], x)
                                + dot(&r[row * units..][..units], &masked)
                        })
                        .collect();
                    for k in 0..units {
                        let input = logistic(z[k]);
                        let output = logistic(z[units + k]);
                        let forget = logistic(z[2 * units + k]);
                        let candidate = z[3 * units + k].tanh();
                        cell[k] = forget * cell[k] + input * candidate;
                        hidden[k] = output * cell[k].tanh();
                        outputs[(step * batch + window) * units + k] = hidden[k];
                    }
                }
            }
            if layer.emits == Emits::LastStep {
                outputs.drain(..(steps - 1) * batch * units);
            }
            let output_mask = mask();
            outputs.iter_mut().enumerate().for_each(|(k, v)| *v *= factor(output_mask, k));
            sequence = outputs;
            width = units;
        }
        if let Some(layer) = self.network.attention_layer() {
            sequence = self.reference_attention(layer, parameters, &sequence);
        }
        for layer in self.network.dense_layers() {
            let (inputs, units) = (layer.inputs(), layer.units());
            let w = &parameters[layer.weight.range()];
            let b = &parameters[layer.bias.range()];
            let output_mask = mask();
            let rows = sequence.len() / inputs;
            let mut outputs = vec![0.0; rows * units];
            for window in 0..rows {
                for k in 0..units {
                    let x = &sequence[window * inputs..][..inputs];
                    let sum: f64 = b[k] + (0..inputs).map(|j| x[j] * w[j * units + k]).sum::<f64>();
                    let value = match layer.activation {
                        Activation::Linear => sum,
                        Activation::Relu => sum.max(0.0),
                        Activation::Tanh => sum.tanh(),
                        Activation::Sigmoid => logistic(sum),
                    };
                    outputs[window * units + k] = value * factor(output_mask, window * units + k);
                }
            }
            sequence = outputs;
        }
        sequence
    }

    /// Attention over states `[T, B, H]` by the formulas, `[B, H]`.
    fn reference_attention(
        &self,
        layer: &Attention,
        parameters: &[f64],
        states: &[f64],
    ) -> Vec<f64> {
        let (width, units) = (layer.width(), layer.units());
        let [w, b, v] =
            [&layer.weight, &layer.bias, &layer.question].map(|p| &parameters[p.range()]);
        let mut contexts = Vec::new();
        for window in 0..self.batch {
            let state = |step: usize| &states[(step * self.batch + window) * width..][..width];
            let score = |step: usize| -> f64 {
                let unit = |k: usize| {
                    let sum: f64 = (0..width).map(|j| state(step)[j] * w[j * units + k]).sum();
                    v[k] * (sum + b[k]).tanh()
                };
                (0..units).map(unit).sum()
            };
            let weights: Vec<f64> = (0..self.steps).map(|step| score(step).exp()).collect();
            let total: f64 = weights.iter().sum();
            contexts.extend((0..width).map(|k| {
                (0..self.steps).map(|step| weights[step] / total * state(step)[k]).sum::<f64>()
            }));
        }
        contexts
    }

    fn reference_loss(&self, parameters: &[f64]) -> f64 {
        let values = self.reference(parameters);
        let one = |y: f64, t: f64| match self.loss {
            Loss::MeanSquaredError => (y - t).powi(2),
            Loss::BinaryCrossEntropy => {
                let y = logistic(y);
                -t * y.ln() - (1.0 - t) * (1.0 - y).ln()
            }
            Loss::Quantile(q) => (f64::from(q) * (t - y)).max((f64::from(q) - 1.0) * (t - y)),
        };
        let pairs = values.iter().zip(&self.targets).zip(&self.labelled);
        let losses = pairs.filter(|(_, labelled)| **labelled);
        let losses: Vec<f64> = losses.map(|((y, t), _)| one(*y, f64::from(*t))).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    /// Compares values and all gradients.
    fn check(mut self) {
        let gradients = self.gradients();
        let parameters = widen(&self.parameters);
        let expected = self.reference(&parameters);
        for (at, (value, exact)) in self.workspace.output().iter().zip(&expected).enumerate() {
            let error = (f64::from(*value) - exact).abs();
            assert!(error < 1e-6, "value {at} is {value}, the formulas give {exact}");
        }
        let mut largest = 0.0_f64;
        let mut moved = parameters.clone();
        let layers = self.network.lstm_layers().iter();
        let blocks = layers.flat_map(|l| [&l.kernel, &l.recurrent, &l.bias]);
        let dense = self.network.dense_layers().iter().flat_map(|l| [&l.weight, &l.bias]);
        let attention = self.network.attention_layer();
        let attention = attention.into_iter().flat_map(|l| [&l.weight, &l.bias, &l.question]);
        for block in blocks.chain(attention).chain(dense) {
            for at in block.range() {
                const STEP: f64 = 1e-6;
                moved[at] = parameters[at] + STEP;
                let above = self.reference_loss(&moved);
                moved[at] = parameters[at] - STEP;
                let below = self.reference_loss(&moved);
                moved[at] = parameters[at];
                let difference = (above - below) / (2.0 * STEP);
                let gradient = f64::from(gradients[at]);
                largest = largest.max(difference.abs());
                // f32 arithmetic against differences that are good to 1e-9.
                let tolerance = 1e-6 + 1e-4 * difference.abs();
                assert!(
                    (gradient - difference).abs() < tolerance,
                    "{} [{}]: gradient {gradient}, difference {difference}",
                    block.name,
                    at - block.range().start,
                );
            }
        }
        assert!(largest > 1e-2, "gradients so small that the comparison shows nothing: {largest}");
    }
}

fn lstm(units: usize, recurrent_dropout: f32, dropout: f32) -> LstmShape {
    LstmShape { units, recurrent_dropout, dropout }
}

fn dense(units: usize, activation: Activation, dropout: f32) -> DenseShape {
    DenseShape { units, activation, dropout }
}

#[test]
fn one_lstm_layer() {
    let head = vec![dense(2, Activation::Linear, 0.0)];
    let shape =
        Architecture { inputs: 3, lstm: vec![lstm(5, 0.0, 0.0)], attention: None, dense: head };
    Case::new(shape, 7, 4).check();
}

#[test]
fn recurrent_dropout_and_output_dropout() {
    let head = vec![dense(1, Activation::Linear, 0.0)];
    let shape =
        Architecture { inputs: 2, lstm: vec![lstm(6, 0.4, 0.3)], attention: None, dense: head };
    Case::new(shape, 6, 5).check();
}

#[test]
fn a_stack_hands_gradients_down_through_every_step() {
    let head = vec![dense(1, Activation::Tanh, 0.0)];
    let stack = vec![lstm(5, 0.2, 0.3), lstm(4, 0.0, 0.0), lstm(3, 0.3, 0.0)];
    let shape = Architecture { inputs: 2, lstm: stack, attention: None, dense: head };
    Case::new(shape, 5, 3).check();
}

#[test]
fn every_dense_activation() {
    for activation in [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid]
    {
        let head = vec![dense(4, activation, 0.3), dense(3, activation, 0.0)];
        let shape =
            Architecture { inputs: 2, lstm: vec![lstm(4, 0.0, 0.0)], attention: None, dense: head };
        Case::new(shape, 3, 6).check();
    }
}

#[test]
fn the_tutorial_in_small() {
    let mut shape = Architecture::tutorial(3);
    shape.lstm[0].units = 8;
    shape.lstm[1].units = 6;
    shape.dense[0].units = 5;
    Case::new(shape, 10, 6).check();
}

#[test]
fn attention_over_all_steps() {
    let shape = Architecture {
        inputs: 2,
        lstm: vec![lstm(5, 0.3, 0.2), lstm(4, 0.0, 0.3)],
        attention: Some(3),
        dense: vec![dense(3, Activation::Relu, 0.2), dense(1, Activation::Tanh, 0.0)],
    };
    Case::new(shape.clone(), 7, 5).check();
    Case::new(shape.clone(), 1, 3).check();
    let shape = Architecture { dense: vec![dense(2, Activation::Linear, 0.0)], ..shape };
    Case::new(shape, 6, 1).check();
}

#[test]
fn every_loss() {
    let shape = |activation| Architecture {
        inputs: 2,
        lstm: vec![lstm(4, 0.2, 0.0)],
        attention: None,
        dense: vec![dense(3, Activation::Relu, 0.2), dense(1, activation, 0.0)],
    };
    Case::new(shape(Activation::Sigmoid), 4, 6).with_loss(Loss::BinaryCrossEntropy).check();
    Case::new(shape(Activation::Tanh), 4, 6).with_loss(Loss::Quantile(0.8)).check();
    Case::new(shape(Activation::Sigmoid), 4, 6).with_loss(Loss::MeanSquaredError).check();
}

/// Truncated back-propagation: what the states before a chunk owe to the parameters is left out.
#[test]
fn a_chunk_between_carried_states() {
    let shape = |lstm| Architecture {
        inputs: 2,
        lstm,
        attention: None,
        dense: vec![dense(3, Activation::Relu, 0.2), dense(1, Activation::Sigmoid, 0.0)],
    };
    Case::chunk(shape(vec![lstm(5, 0.3, 0.2)]), 6, 4).check();
    let stack = || shape(vec![lstm(4, 0.2, 0.3), lstm(3, 0.0, 0.2)]);
    Case::chunk(stack(), 5, 3).check();
    Case::chunk(stack(), 1, 1).check();
    Case::chunk(stack(), 4, 2).with_loss(Loss::BinaryCrossEntropy).check();
}

#[test]
fn a_single_step_and_a_single_window() {
    let head = vec![dense(1, Activation::Linear, 0.0)];
    let shape =
        Architecture { inputs: 1, lstm: vec![lstm(2, 0.0, 0.0)], attention: None, dense: head };
    Case::new(shape, 1, 1).check();
}

/// A workspace that has seen larger and masked batches gives the bits of a fresh one.
#[test]
fn buffers_do_not_remember() {
    let network = Network::new(Architecture::tutorial(3)).unwrap();
    let parameters = network.initial_parameters(1);
    let run = |workspace: &mut Workspace, steps: usize, batch: usize| {
        let input = workspace.input(steps, batch, 3);
        input.iter_mut().enumerate().for_each(|(k, v)| *v = (k as f32 * 0.1).sin());
        network.forward(&parameters, workspace).to_vec()
    };
    let mut used = network.workspace(9, 5);
    used.input(9, 5, 3).fill(f32::NAN);
    used.draw_masks(&network, &mut Random::new(1, Purpose::Dropout));
    network.forward(&parameters, &mut used);
    used.clear_masks();
    let expected = run(&mut network.workspace(4, 2), 4, 2);
    assert_eq!(run(&mut used, 4, 2), expected);
    assert!(expected.iter().all(|y| y.is_finite()));
}

/// Steps one by one with the state handed on are the whole sequence at once.
#[test]
fn a_carried_state_continues_the_sequence() {
    let network = Network::new(Architecture::tutorial(2)).unwrap();
    let parameters = network.initial_parameters(1);
    let input: Vec<f32> = (0..8 * 3 * 2).map(|k| (k as f32 * 0.3).cos()).collect();
    let mut whole = network.workspace(8, 3);
    whole.input(8, 3, 2).copy_from_slice(&input);
    let expected = network.forward(&parameters, &mut whole).to_vec();

    let mut single = network.workspace(1, 3);
    for (step, rows) in input.chunks(3 * 2).enumerate() {
        if step > 0 {
            let states = single.last_states();
            let states: Vec<_> = states.iter().map(|(h, c)| (h.to_vec(), c.to_vec())).collect();
            single.carry_states(states.iter().map(|(h, c)| (&**h, &**c)));
        }
        single.input(1, 3, 2).copy_from_slice(rows);
        network.forward(&parameters, &mut single);
    }
    for (one, all) in single.output().iter().zip(&expected) {
        assert!((one - all).abs() < 1e-6, "step by step {one}, at once {all}");
    }
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn factor(mask: &[f64], at: usize) -> f64 {
    mask.get(at).copied().unwrap_or(1.0)
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
