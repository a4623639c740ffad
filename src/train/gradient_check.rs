//! Every derivative of the network against central differences.
//!
//! The differences are taken of an independent forward pass: plain loops in f64, written from the
//! formulas and sharing nothing with the layers but the layout of the parameters. So the same
//! tests hold the forward pass to the formulas, and the gradients to a precision that differences
//! of f32 losses could not reach.

use super::network::gru::Gru;
use super::network::lstm::Lstm;
use super::network::{
    Activation, AnyLayer, Architecture, Attention, Block, Cell, Convolution, ConvolutionShape,
    Dense, DenseShape, Emits, Network, RecurrentShape, Workspace,
};
use crate::core::forecast::OutputKind;
use crate::train::fit::loss::{Loss, OutputLoss};
use crate::train::random::{Purpose, Random};

/// The levels of quantiles.
const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];

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
    /// Of each window, its row in the learned table of symbols.
    symbols: Vec<Option<u32>>,
    /// The states before the first step, `[B, H]` each; none: zero.
    states: Vec<Vec<f32>>,
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
        for units in case.network.state_widths() {
            let uniform = (0..batch * units).map(|_| 2.0 * random.unit_f32() - 1.0);
            case.states.push(uniform.collect());
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
        workspace.draw_masks(&mut Random::new(13, Purpose::Dropout));
        let masks = workspace.masks().into_iter().map(|m| widen(m.factors().unwrap_or(&[])));
        let masks = masks.collect();
        let loss = Loss::MeanSquaredError;
        let (labelled, states) = (vec![true; targets.len()], Vec::new());
        // Symbol 1 has no window, and others have several.
        let symbols: Vec<_> = (0..batch).map(|at| [Some(2), Some(0)][at % 3 % 2]).collect();
        workspace.set_symbols(symbols.iter().copied());
        Self {
            network,
            parameters,
            steps,
            batch,
            input,
            loss,
            targets,
            labelled,
            symbols,
            states,
            workspace,
            masks,
        }
    }

    /// The same case with another loss, and with the network that this loss reads.
    fn with_loss(mut self, loss: Loss) -> Self {
        self.network = loss.reads(&self.network).unwrap().into_owned();
        self.loss = loss;
        if let Loss::Outputs(_) = loss {
            // A label for each of two horizons, whatever their columns.
            self.targets.truncate(2 * self.batch);
        }
        if loss == Loss::BinaryCrossEntropy {
            self.targets.iter_mut().for_each(|target| *target = 0.5 * (*target + 1.0));
        }
        self
    }

    fn gradients(&mut self) -> Vec<f32> {
        let mut gradients = vec![f32::NAN; self.parameters.len()];
        if !self.states.is_empty() {
            self.workspace.carry_states(self.states.iter().map(Vec::as_slice));
        }
        self.network.forward(&self.parameters, &mut self.workspace);
        let (values, gradient) = self.workspace.output_and_gradient();
        if let Loss::Outputs(_) = self.loss {
            self.loss.gradient(values, &self.targets, values.len(), gradient);
            self.network.backward(&self.parameters, &mut self.workspace, &mut gradients);
            return gradients;
        }
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
        let mut states = self.states.iter();
        let mut values = widen(&self.input);
        if let Some(table) = self.network.embedding() {
            let (inputs, units) = (self.network.architecture().inputs, table.shape[1]);
            let table = &parameters[table.range()];
            for (row, values) in values.chunks_exact_mut(inputs).enumerate() {
                let symbol = self.symbols[row % self.batch].unwrap() as usize;
                values[inputs - units..].copy_from_slice(&table[symbol * units..][..units]);
            }
        }
        for layer in self.network.layers() {
            let of = |block: &Block| &parameters[block.range()];
            // The states of one window before its first step.
            let mut before = |units: usize| -> Vec<Vec<f64>> {
                let state = states.next().map(|state| widen(state));
                let state = state.unwrap_or_else(|| vec![0.0; self.batch * units]);
                state.chunks(units).map(<[f64]>::to_vec).collect()
            };
            values = match layer {
                AnyLayer::Convolution(layer) => self.convolution(layer, of, &values),
                AnyLayer::Lstm(layer) => {
                    let states = [before(layer.units()), before(layer.units())];
                    self.lstm(layer, of, states, [mask(), mask()], &values)
                }
                AnyLayer::Gru(layer) => {
                    let states = before(layer.units());
                    self.gru(layer, of, states, [mask(), mask()], &values)
                }
                AnyLayer::Attention(layer) => self.attention(layer, of, &values),
                AnyLayer::Dense(layer) => dense_values(layer, of, mask(), &values),
            };
        }
        values
    }

    /// Values `[T, B, C]` of `x [T, B, F]`.
    fn convolution<'p>(
        &self,
        layer: &Convolution,
        of: impl Fn(&Block) -> &'p [f64],
        x: &[f64],
    ) -> Vec<f64> {
        let (inputs, filters) = (layer.inputs(), layer.filters());
        let (w, b) = (of(&layer.weight), of(&layer.bias));
        let mut values = Vec::new();
        for step in 0..self.steps {
            for window in 0..self.batch {
                values.extend((0..filters).map(|c| {
                    let mut sum = b[c];
                    for k in 0..layer.kernel {
                        let Some(from) = (step + k + 1).checked_sub(layer.kernel) else { continue };
                        let x = &x[(from * self.batch + window) * inputs..][..inputs];
                        let w = |j: usize| w[(k * inputs + j) * filters + c];
                        sum += (0..inputs).map(|j| x[j] * w(j)).sum::<f64>();
                    }
                    function(layer.activation, sum)
                }));
            }
        }
        values
    }

    /// Values `[T, B, H]` or `[B, H]` of `x [T, B, I]`, from h and c of each window on.
    fn lstm<'p>(
        &self,
        layer: &Lstm,
        of: impl Fn(&Block) -> &'p [f64],
        [mut hidden, mut cell]: [Vec<Vec<f64>>; 2],
        [recurrent_mask, mask]: [&Vec<f64>; 2],
        x: &[f64],
    ) -> Vec<f64> {
        let (width, units) = (layer.inputs(), layer.units());
        let [w, r, b] = [&layer.kernel, &layer.recurrent, &layer.bias].map(of);
        let mut outputs = Vec::new();
        for step in 0..self.steps {
            for window in 0..self.batch {
                let x = &x[(step * self.batch + window) * width..][..width];
                let (hidden, cell) = (&mut hidden[window], &mut cell[window]);
                let masked = masked(hidden, recurrent_mask, window);
                let z = |row: usize| {
                    let of_x = dot(&w[row * width..][..width], x);
                    b[row] + of_x + dot(&r[row * units..][..units], &masked)
                };
                for k in 0..units {
                    let [input, output, forget] = [0, 1, 2].map(|at| logistic(z(at * units + k)));
                    cell[k] = forget * cell[k] + input * z(3 * units + k).tanh();
                    hidden[k] = output * cell[k].tanh();
                }
                outputs.extend_from_slice(hidden);
            }
        }
        self.emitted(layer.emits, outputs, units, mask)
    }

    /// Values `[T, B, H]` or `[B, H]` of `x [T, B, I]`, from h of each window on.
    fn gru<'p>(
        &self,
        layer: &Gru,
        of: impl Fn(&Block) -> &'p [f64],
        mut hidden: Vec<Vec<f64>>,
        [recurrent_mask, mask]: [&Vec<f64>; 2],
        x: &[f64],
    ) -> Vec<f64> {
        let (width, units) = (layer.inputs(), layer.units());
        let [w, r, b] = [&layer.kernel, &layer.recurrent, &layer.bias].map(of);
        let mut outputs = Vec::new();
        for step in 0..self.steps {
            for window in 0..self.batch {
                let x = &x[(step * self.batch + window) * width..][..width];
                let hidden = &mut hidden[window];
                let masked = masked(hidden, recurrent_mask, window);
                let of_x = |row: usize| b[row] + dot(&w[row * width..][..width], x);
                let of_h =
                    |row: usize| b[3 * units + row] + dot(&r[row * units..][..units], &masked);
                for k in 0..units {
                    let gate = |at: usize| logistic(of_x(at * units + k) + of_h(at * units + k));
                    let (update, reset) = (gate(0), gate(1));
                    let candidate = of_x(2 * units + k) + reset * of_h(2 * units + k);
                    hidden[k] = update * hidden[k] + (1.0 - update) * candidate.tanh();
                }
                outputs.extend_from_slice(hidden);
            }
        }
        self.emitted(layer.emits, outputs, units, mask)
    }

    /// What a recurrent layer hands on of its states `[T, B, H]`.
    fn emitted(&self, emits: Emits, mut states: Vec<f64>, units: usize, mask: &[f64]) -> Vec<f64> {
        if emits == Emits::LastStep {
            states.drain(..(self.steps - 1) * self.batch * units);
        }
        states.iter_mut().enumerate().for_each(|(k, v)| *v *= factor(mask, k));
        states
    }

    /// Attention over states `[T, B, H]`: `[B, H]`.
    fn attention<'p>(
        &self,
        layer: &Attention,
        of: impl Fn(&Block) -> &'p [f64],
        states: &[f64],
    ) -> Vec<f64> {
        let (width, units) = (layer.width(), layer.units());
        let [w, b, v] = [&layer.weight, &layer.bias, &layer.question].map(of);
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
            Loss::MeanAbsoluteError => (y - t).abs(),
            Loss::Huber(delta) => {
                let (error, delta) = ((y - t).abs(), f64::from(delta));
                let linear = (error - delta).max(0.0);
                0.5 * (error - linear).powi(2) + delta * linear
            }
            Loss::Quantile(q) => (f64::from(q) * (t - y)).max((f64::from(q) - 1.0) * (t - y)),
            Loss::Outputs(_) => unreachable!("see `outputs_loss`"),
        };
        if let Loss::Outputs(_) = self.loss {
            return self.outputs_loss(&values);
        }
        let pairs = values.iter().zip(&self.targets).zip(&self.labelled);
        let losses = pairs.filter(|(_, labelled)| **labelled);
        let losses: Vec<f64> = losses.map(|((y, t), _)| one(*y, f64::from(*t))).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    /// The mean over windows of losses of two horizons: quantiles of [`LEVELS`] where each has
    /// three columns, a normal distribution where it has two.
    fn outputs_loss(&self, values: &[f64]) -> f64 {
        let width = self.network.outputs() / 2;
        let one = |(columns, target): (&[f64], &f32)| {
            let target = f64::from(*target);
            if width == LEVELS.len() {
                let levels = LEVELS.iter().zip(columns);
                return levels.map(|(q, y)| (q * (target - y)).max((q - 1.0) * (target - y))).sum();
            }
            let deviation = 1e-4 + (1.0 + columns[1].exp()).ln();
            deviation.ln() + 0.5 * ((target - columns[0]) / deviation).powi(2)
        };
        let losses: f64 = values.chunks(width).zip(&self.targets).map(one).sum();
        losses / self.batch as f64
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
        for block in self.network.blocks() {
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

/// Values `[rows, O]` of a dense layer.
fn dense_values<'p>(
    layer: &Dense,
    of: impl Fn(&Block) -> &'p [f64],
    mask: &[f64],
    input: &[f64],
) -> Vec<f64> {
    let (inputs, units) = (layer.inputs(), layer.units());
    let (w, b) = (of(&layer.weight), of(&layer.bias));
    let mut outputs = Vec::new();
    for x in input.chunks(inputs) {
        outputs.extend((0..units).map(|k| {
            let sum = b[k] + (0..inputs).map(|j| x[j] * w[j * units + k]).sum::<f64>();
            function(layer.activation, sum)
        }));
    }
    outputs.iter_mut().enumerate().for_each(|(k, v)| *v *= factor(mask, k));
    outputs
}

/// The state of one window as the recurrent product reads it.
fn masked(hidden: &[f64], mask: &[f64], window: usize) -> Vec<f64> {
    let first = window * hidden.len();
    hidden.iter().enumerate().map(|(k, h)| h * factor(mask, first + k)).collect()
}

fn function(activation: Activation, sum: f64) -> f64 {
    match activation {
        Activation::Linear => sum,
        Activation::Relu => sum.max(0.0),
        Activation::Tanh => sum.tanh(),
        Activation::Sigmoid => logistic(sum),
    }
}

const CELLS: [Cell; 2] = [Cell::Lstm, Cell::Gru];

fn layer(cell: Cell, units: usize, recurrent_dropout: f32, dropout: f32) -> RecurrentShape {
    RecurrentShape { cell, units, recurrent_dropout, dropout }
}

fn dense(units: usize, activation: Activation, dropout: f32) -> DenseShape {
    DenseShape { units, activation, dropout }
}

/// Recurrent layers below dense ones.
fn stack(inputs: usize, recurrent: Vec<RecurrentShape>, dense: Vec<DenseShape>) -> Architecture {
    Architecture { inputs, recurrent, dense, ..Architecture::default() }
}

#[test]
fn one_recurrent_layer() {
    for cell in CELLS {
        let head = vec![dense(2, Activation::Linear, 0.0)];
        Case::new(stack(3, vec![layer(cell, 5, 0.0, 0.0)], head), 7, 4).check();
    }
}

#[test]
fn recurrent_dropout_and_output_dropout() {
    for cell in CELLS {
        let head = vec![dense(1, Activation::Linear, 0.0)];
        Case::new(stack(2, vec![layer(cell, 6, 0.4, 0.3)], head), 6, 5).check();
    }
}

#[test]
fn a_stack_hands_gradients_down_through_every_step() {
    use Cell::{Gru, Lstm};
    for cells in [[Lstm, Lstm, Lstm], [Gru, Gru, Gru], [Lstm, Gru, Lstm]] {
        let head = vec![dense(1, Activation::Tanh, 0.0)];
        let shapes = [(5, 0.2, 0.3), (4, 0.0, 0.0), (3, 0.3, 0.0)];
        let layers = cells.into_iter().zip(shapes);
        let layers =
            layers.map(|(cell, (units, recurrent, output))| layer(cell, units, recurrent, output));
        Case::new(stack(2, layers.collect(), head), 5, 3).check();
    }
}

#[test]
fn every_dense_activation() {
    for activation in [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid]
    {
        let head = vec![dense(4, activation, 0.3), dense(3, activation, 0.0)];
        Case::new(stack(2, vec![layer(Cell::Lstm, 4, 0.0, 0.0)], head), 3, 6).check();
    }
}

#[test]
fn the_tutorial_in_small() {
    let mut shape = Architecture::tutorial(3);
    shape.recurrent[0].units = 8;
    shape.recurrent[1].units = 6;
    shape.dense[0].units = 5;
    Case::new(shape, 10, 6).check();
}

#[test]
fn attention_over_all_steps() {
    for cell in CELLS {
        let shape = Architecture {
            attention: Some(3),
            ..stack(
                2,
                vec![layer(cell, 5, 0.3, 0.2), layer(cell, 4, 0.0, 0.3)],
                vec![dense(3, Activation::Relu, 0.2), dense(1, Activation::Tanh, 0.0)],
            )
        };
        Case::new(shape.clone(), 7, 5).check();
        Case::new(shape.clone(), 1, 3).check();
        let shape = Architecture { dense: vec![dense(2, Activation::Linear, 0.0)], ..shape };
        Case::new(shape, 6, 1).check();
    }
}

/// Kernels of one step, of some, and of more steps than the window has.
#[test]
fn a_convolution_in_front() {
    for (kernel, activation) in [
        (1, Activation::Linear),
        (3, Activation::Relu),
        (4, Activation::Tanh),
        (9, Activation::Sigmoid),
    ] {
        let convolution = Some(ConvolutionShape { filters: 4, kernel, activation });
        for cell in CELLS {
            let shape = Architecture {
                convolution: convolution.clone(),
                ..stack(3, vec![layer(cell, 5, 0.3, 0.2)], vec![dense(1, Activation::Tanh, 0.0)])
            };
            Case::new(shape.clone(), 6, 5).check();
            Case::new(Architecture { attention: Some(3), ..shape }, 6, 3).check();
        }
    }
}

#[test]
fn every_loss() {
    let shape = |activation| {
        stack(
            2,
            vec![layer(Cell::Lstm, 4, 0.2, 0.0)],
            vec![dense(3, Activation::Relu, 0.2), dense(1, activation, 0.0)],
        )
    };
    Case::new(shape(Activation::Sigmoid), 4, 6).with_loss(Loss::BinaryCrossEntropy).check();
    for loss in [Loss::Quantile(0.8), Loss::MeanAbsoluteError, Loss::Huber(0.3), Loss::Huber(5.0)] {
        Case::new(shape(Activation::Tanh), 4, 6).with_loss(loss).check();
    }
    Case::new(shape(Activation::Sigmoid), 4, 6).with_loss(Loss::MeanSquaredError).check();
}

/// The table has one row for each symbol, and rows of the input after it are overwritten.
#[test]
fn a_learned_table_of_symbols() {
    let shape = |recurrent, attention| Architecture {
        inputs: 4,
        recurrent,
        attention,
        dense: vec![dense(3, Activation::Tanh, 0.2), dense(1, Activation::Linear, 0.0)],
        ..Architecture::default()
    };
    let of = |shape: Architecture| Network::new(shape).unwrap().with_embedding(3, 2);
    Case::of(of(shape(vec![layer(Cell::Gru, 5, 0.0, 0.0)], None)), 6, 5, 5).check();
    let stack = vec![layer(Cell::Lstm, 5, 0.3, 0.2), layer(Cell::Lstm, 4, 0.0, 0.3)];
    Case::of(of(shape(stack.clone(), None)), 5, 4, 4).check();
    Case::of(of(shape(stack.clone(), Some(3))), 4, 3, 3).check();
    Case::of(of(shape(stack, None)).every_step(), 4, 3, 12).check();
}

#[test]
fn quantiles_and_distributions_of_two_horizons() {
    let shape = |outputs| Architecture {
        inputs: 2,
        recurrent: vec![layer(Cell::Lstm, 4, 0.2, 0.0)],
        dense: vec![dense(3, Activation::Tanh, 0.2), dense(outputs, Activation::Linear, 0.0)],
        ..Architecture::default()
    };
    for kind in [OutputKind::Quantiles, OutputKind::Gaussian] {
        let loss = Loss::Outputs(OutputLoss::new(kind, &LEVELS, 2));
        Case::new(shape(2 * kind.columns(LEVELS.len())), 4, 6).with_loss(loss).check();
    }
}

/// Truncated back-propagation: what the states before a chunk owe to the parameters is left out.
#[test]
fn a_chunk_between_carried_states() {
    let shape = |layers| {
        let head = vec![dense(3, Activation::Relu, 0.2), dense(1, Activation::Sigmoid, 0.0)];
        stack(2, layers, head)
    };
    for cell in CELLS {
        Case::chunk(shape(vec![layer(cell, 5, 0.3, 0.2)]), 6, 4).check();
        let two = || shape(vec![layer(cell, 4, 0.2, 0.3), layer(cell, 3, 0.0, 0.2)]);
        Case::chunk(two(), 5, 3).check();
        Case::chunk(two(), 1, 1).check();
        Case::chunk(two(), 4, 2).with_loss(Loss::BinaryCrossEntropy).check();
    }
    let mixed = vec![layer(Cell::Gru, 4, 0.2, 0.3), layer(Cell::Lstm, 3, 0.0, 0.2)];
    Case::chunk(shape(mixed), 5, 3).check();
}

#[test]
fn a_single_step_and_a_single_window() {
    for cell in CELLS {
        let head = vec![dense(1, Activation::Linear, 0.0)];
        Case::new(stack(1, vec![layer(cell, 2, 0.0, 0.0)], head), 1, 1).check();
    }
}

/// Networks with each kind of layer.
fn every_kind(inputs: usize) -> Vec<Architecture> {
    let lstm = Architecture::tutorial(inputs);
    let mut gru = lstm.clone();
    gru.recurrent.iter_mut().for_each(|layer| layer.cell = Cell::Gru);
    let activation = Activation::Relu;
    let convolution = Some(ConvolutionShape { filters: 8, kernel: 3, activation });
    let whole = Architecture { convolution, attention: Some(4), ..gru.clone() };
    vec![lstm, gru, whole]
}

/// A workspace that has seen larger and masked batches gives the bits of a fresh one.
#[test]
fn buffers_do_not_remember() {
    for shape in every_kind(3) {
        let network = Network::new(shape).unwrap();
        let parameters = network.initial_parameters(1);
        let run = |workspace: &mut Workspace, steps: usize, batch: usize| {
            let input = workspace.input(steps, batch, 3);
            input.iter_mut().enumerate().for_each(|(k, v)| *v = (k as f32 * 0.1).sin());
            network.forward(&parameters, workspace).to_vec()
        };
        let mut used = network.workspace(9, 5);
        used.input(9, 5, 3).fill(f32::NAN);
        used.draw_masks(&mut Random::new(1, Purpose::Dropout));
        network.forward(&parameters, &mut used);
        used.clear_masks();
        let expected = run(&mut network.workspace(4, 2), 4, 2);
        assert_eq!(run(&mut used, 4, 2), expected);
        assert!(expected.iter().all(|y| y.is_finite()));
    }
}

/// Steps one by one with the state handed on are the whole sequence at once.
#[test]
fn a_carried_state_continues_the_sequence() {
    for shape in every_kind(2).into_iter().filter(|shape| !shape.needs_whole_windows()) {
        let network = Network::new(shape).unwrap();
        let parameters = network.initial_parameters(1);
        let input: Vec<f32> = (0..8 * 3 * 2).map(|k| (k as f32 * 0.3).cos()).collect();
        let mut whole = network.workspace(8, 3);
        whole.input(8, 3, 2).copy_from_slice(&input);
        let expected = network.forward(&parameters, &mut whole).to_vec();

        let mut single = network.workspace(1, 3);
        for (step, rows) in input.chunks(3 * 2).enumerate() {
            if step > 0 {
                let states = single.last_states().into_iter();
                let states: Vec<_> = states.map(<[f32]>::to_vec).collect();
                single.carry_states(states.iter().map(Vec::as_slice));
            }
            single.input(1, 3, 2).copy_from_slice(rows);
            network.forward(&parameters, &mut single);
        }
        for (one, all) in single.output().iter().zip(&expected) {
            assert!((one - all).abs() < 1e-6, "step by step {one}, at once {all}");
        }
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
