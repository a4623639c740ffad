//! A stack of LSTM layers, attention if wanted, and a dense head.
//!
//! Owns: which layers there are, in which order, and how values and gradients pass between them.
//!
//! Promises: a [`Network`] is a plan without numbers: parameters come from the caller, everything
//! that changes in a run is in a [`Workspace`], so that threads share the plan and each has a
//! workspace of its own. Equal parameters, inputs and masks give equal bits.
//!
//! Never: reads data, chooses windows or decides when to stop.

pub(super) mod activation;
pub(super) mod attention;
mod dense;
pub(super) mod dropout;
mod gemm;
mod initial;
pub(super) mod lstm;
pub(super) mod parameters;

use thiserror::Error;

pub use self::activation::Activation;
use self::attention::{Attention, AttentionBuffers};
use self::dense::{Dense, DenseBuffers};
#[cfg(test)]
use self::dropout::Dropout;
use self::lstm::{Emits, Extent, Lstm, LstmBuffers};
pub use self::parameters::Block;
use self::parameters::Layout;
use super::random::{Purpose, Random};

/// Shape of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// F, the width of a feature row.
    pub inputs: usize,
    /// LSTM layers from the input on; at least one. Each but the last hands on its state after
    /// every step.
    pub lstm: Vec<LstmShape>,
    /// Units of the attention over the states of the last LSTM layer after every step; `None`: the
    /// dense layers read its last state. A network with attention needs whole windows.
    pub attention: Option<usize>,
    /// Dense layers after that; at least one.
    pub dense: Vec<DenseShape>,
}

/// Shape of an LSTM layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmShape {
    /// H
    pub units: usize,
    /// Share of the state dropped before each step while training, one choice for all steps.
    pub recurrent_dropout: f32,
    /// Share of the output dropped while training.
    pub dropout: f32,
}

/// Shape of a dense layer.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseShape {
    /// Count of outputs.
    pub units: usize,
    /// Function of the sums.
    pub activation: Activation,
    /// Share of the output dropped while training.
    pub dropout: f32,
}

/// Why no network has the wanted shape.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ArchitectureError {
    /// A layer or the input has no values, or a list of layers is empty.
    #[error("{0} must be at least 1")]
    Empty(String),
    /// A rate outside of [0, 1).
    #[error("{0} must be at least 0 and below 1")]
    Rate(String),
}

impl Architecture {
    /// The network of the Keras tutorial: LSTM 64, LSTM 32, Dense 16 relu, Dense 1 tanh, with
    /// recurrent dropout 0.2 on the first and dropout 0.3 and 0.2 behind the second and third.
    pub fn tutorial(inputs: usize) -> Self {
        Self {
            inputs,
            lstm: vec![
                LstmShape { units: 64, recurrent_dropout: 0.2, dropout: 0.0 },
                LstmShape { units: 32, recurrent_dropout: 0.0, dropout: 0.3 },
            ],
            attention: None,
            dense: vec![
                DenseShape { units: 16, activation: Activation::Relu, dropout: 0.2 },
                DenseShape { units: 1, activation: Activation::Tanh, dropout: 0.0 },
            ],
        }
    }

    /// Every reason why no network has this shape.
    pub fn problems(&self) -> Vec<ArchitectureError> {
        let mut problems = Vec::new();
        let mut sizes = vec![
            ("inputs".to_owned(), self.inputs),
            ("count of LSTM layers".to_owned(), self.lstm.len()),
            ("count of dense layers".to_owned(), self.dense.len()),
        ];
        sizes.extend(self.attention.map(|units| ("attention".to_owned(), units)));
        let mut rates = Vec::new();
        for (at, layer) in self.lstm.iter().enumerate() {
            sizes.push((format!("lstm[{at}].units"), layer.units));
            rates.push((format!("lstm[{at}].recurrent_dropout"), layer.recurrent_dropout));
            rates.push((format!("lstm[{at}].dropout"), layer.dropout));
        }
        for (at, layer) in self.dense.iter().enumerate() {
            sizes.push((format!("dense[{at}].units"), layer.units));
            rates.push((format!("dense[{at}].dropout"), layer.dropout));
        }
        let empty = sizes.into_iter().filter(|(_, size)| *size == 0);
        problems.extend(empty.map(|(name, _)| ArchitectureError::Empty(name)));
        let wrong = rates.into_iter().filter(|(_, rate)| !(0.0..1.0).contains(rate));
        problems.extend(wrong.map(|(name, _)| ArchitectureError::Rate(name)));
        problems
    }
}

/// The plan of a network: its layers and where their parameters stand.
#[derive(Clone, Debug)]
pub struct Network {
    architecture: Architecture,
    lstm: Vec<Lstm>,
    attention: Option<Attention>,
    dense: Vec<Dense>,
    parameters: usize,
}

/// Everything one thread needs to run a network on one batch; made once.
#[derive(Clone, Debug)]
pub struct Workspace {
    extent: Extent,
    input: Vec<f32>,
    lstm: Vec<LstmBuffers>,
    attention: Option<AttentionBuffers>,
    dense: Vec<DenseBuffers>,
}

impl Network {
    /// Plans a network.
    ///
    /// # Errors
    /// The first [`ArchitectureError`] of [`Architecture::problems`].
    pub fn new(architecture: Architecture) -> Result<Self, ArchitectureError> {
        if let Some(problem) = architecture.problems().into_iter().next() {
            return Err(problem);
        }
        let mut layout = Layout::default();
        let mut width = architecture.inputs;
        let mut lstm = Vec::new();
        for (at, shape) in architecture.lstm.iter().enumerate() {
            let last = at + 1 == architecture.lstm.len();
            let last_alone = last && architecture.attention.is_none();
            let emits = if last_alone { Emits::LastStep } else { Emits::EveryStep };
            lstm.push(Lstm::new(&mut layout, &format!("lstm{at}"), width, shape.units, emits));
            width = shape.units;
        }
        let attention =
            architecture.attention.map(|units| Attention::new(&mut layout, width, units));
        let mut dense = Vec::new();
        for (at, shape) in architecture.dense.iter().enumerate() {
            let name = format!("dense{at}");
            dense.push(Dense::new(&mut layout, &name, width, shape.units, shape.activation));
            width = shape.units;
        }
        Ok(Self { architecture, lstm, attention, dense, parameters: layout.len() })
    }

    /// The shape it was planned from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Length of the parameter vector.
    pub fn parameter_count(&self) -> usize {
        self.parameters
    }

    /// K, the count of values it gives for a window.
    pub fn outputs(&self) -> usize {
        self.dense.last().expect("a network has a dense layer, or `new` had refused it").units()
    }

    pub(crate) fn lstm_layers(&self) -> &[Lstm] {
        &self.lstm
    }

    pub(crate) fn attention_layer(&self) -> Option<&Attention> {
        self.attention.as_ref()
    }

    pub(crate) fn dense_layers(&self) -> &[Dense] {
        &self.dense
    }

    pub(crate) fn last_activation(&self) -> Activation {
        let last = self.dense.last().expect("a network has a dense layer, or `new` had refused it");
        last.activation
    }

    /// The same network with another function at its end; the parameters stand where they stood.
    pub(crate) fn with_last_activation(&self, activation: Activation) -> Self {
        let mut other = self.clone();
        if let (Some(last), Some(shape)) =
            (other.dense.last_mut(), other.architecture.dense.last_mut())
        {
            (last.activation, shape.activation) = (activation, activation);
        }
        other
    }

    /// The same network with a value after every step, `y [T, B, K]`, instead of after the last one
    /// alone; the parameters stand where they stood. Attention has no such form.
    pub(crate) fn every_step(&self) -> Self {
        assert!(self.attention.is_none(), "attention reads a whole window");
        let mut other = self.clone();
        let last = other.lstm.last_mut();
        last.expect("a network has an LSTM layer, or `new` had refused it").emits =
            Emits::EveryStep;
        other
    }

    /// Rows that the dense layers read in a run of `extent`.
    fn dense_rows(&self, Extent { steps, batch }: Extent) -> usize {
        let emits = self.lstm.last().map(|layer| layer.emits);
        let every_step = self.attention.is_none() && emits == Some(Emits::EveryStep);
        if every_step { steps * batch } else { batch }
    }

    /// Fresh parameters as Keras would draw them; they depend on the seed alone.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed, Purpose::Initial);
        let mut parameters = vec![0.0; self.parameters];
        for layer in &self.lstm {
            layer.initialise(&mut parameters, &mut random);
        }
        if let Some(layer) = &self.attention {
            layer.initialise(&mut parameters, &mut random);
        }
        for layer in &self.dense {
            layer.initialise(&mut parameters, &mut random);
        }
        parameters
    }

    /// Buffers for at most `steps` steps of `batch` windows.
    pub fn workspace(&self, steps: usize, batch: usize) -> Workspace {
        let extent = Extent { steps, batch };
        let shapes = &self.architecture;
        let lstm = self.lstm.iter().zip(&shapes.lstm);
        let dense = self.dense.iter().zip(&shapes.dense);
        Workspace {
            extent,
            input: Vec::with_capacity(steps * batch * shapes.inputs),
            lstm: lstm.map(|(l, s)| l.buffers(extent, s.recurrent_dropout, s.dropout)).collect(),
            attention: self.attention.as_ref().map(|layer| layer.buffers(extent)),
            dense: dense.map(|(l, s)| l.buffers(self.dense_rows(extent), s.dropout)).collect(),
        }
    }

    /// Values `y [B, K]` for the input in the workspace, or `[T, B, K]` where the network gives one
    /// after every step.
    pub fn forward<'a>(&self, parameters: &[f32], workspace: &'a mut Workspace) -> &'a [f32] {
        let Workspace { extent, input, lstm, attention, dense } = workspace;
        for (at, layer) in self.lstm.iter().enumerate() {
            let (below, rest) = lstm.split_at_mut(at);
            let input = self.lstm_input(below, input, *extent);
            layer.forward(parameters, input, *extent, &mut rest[0]);
        }
        let states = self.lstm_input(lstm, input, *extent);
        if let (Some(layer), Some(buffers)) = (&self.attention, attention.as_mut()) {
            layer.forward(parameters, states, *extent, buffers);
        }
        let state = attention.as_ref().map_or(states, AttentionBuffers::output);
        for (at, layer) in self.dense.iter().enumerate() {
            let (below, rest) = dense.split_at_mut(at);
            let input = below.last().map_or(state, DenseBuffers::output);
            layer.forward(parameters, input, self.dense_rows(*extent), &mut rest[0]);
        }
        workspace.output()
    }

    /// Gradients of all parameters, overwritten, from the gradient of the loss in the last layer of
    /// `workspace`. `forward` has run on the same workspace, once for each `backward`.
    pub fn backward(&self, parameters: &[f32], workspace: &mut Workspace, gradients: &mut [f32]) {
        let Workspace { extent, input, lstm, attention, dense } = workspace;
        let rows = self.dense_rows(*extent);
        // A gradient's buffer is lent out while the value beside it is read.
        let mut d_state = match attention {
            Some(attention) => std::mem::take(&mut attention.d_output),
            None => std::mem::take(&mut last_mut(lstm).d_output),
        };
        let states = self.lstm_input(lstm, input, *extent);
        let state = attention.as_ref().map_or(states, AttentionBuffers::output);
        for (at, layer) in self.dense.iter().enumerate().rev() {
            let (below, rest) = dense.split_at_mut(at);
            let mut below = below.last_mut();
            let lent = below.as_mut().map_or(&mut d_state, |below| &mut below.d_output);
            let mut d_input = std::mem::take(lent);
            let input = below.as_ref().map_or(state, |below| below.output());
            let here = &mut rest[0];
            layer.backward(parameters, input, rows, here, gradients, &mut d_input);
            *below.map_or(&mut d_state, |below| &mut below.d_output) = d_input;
        }
        if let (Some(layer), Some(buffers)) = (&self.attention, attention) {
            buffers.d_output = d_state;
            d_state = std::mem::take(&mut last_mut(lstm).d_output);
            let states = self.lstm_input(lstm, input, *extent);
            layer.backward(parameters, states, *extent, buffers, gradients, &mut d_state);
        }
        last_mut(lstm).d_output = d_state;
        for (at, layer) in self.lstm.iter().enumerate().rev() {
            let (below, rest) = lstm.split_at_mut(at);
            let mut d_input = below.last_mut().map(|below| std::mem::take(&mut below.d_output));
            let from = self.lstm_input(below, input, *extent);
            layer.backward(parameters, from, *extent, &mut rest[0], gradients, d_input.as_mut());
            if let (Some(below), Some(d_input)) = (below.last_mut(), d_input) {
                below.d_output = d_input;
            }
        }
    }

    /// What the layer after the first `below.len()` LSTM layers reads.
    fn lstm_input<'a>(
        &self,
        below: &'a [LstmBuffers],
        input: &'a [f32],
        extent: Extent,
    ) -> &'a [f32] {
        match below.last() {
            None => input,
            Some(buffers) => buffers.output(self.lstm[below.len() - 1].emits, extent),
        }
    }
}

impl Workspace {
    /// Sets the sizes of the next run and gives the input `x [T, B, F]` to fill; its content is
    /// whatever was there before.
    pub fn input(&mut self, steps: usize, batch: usize, features: usize) -> &mut [f32] {
        self.extent = Extent { steps, batch };
        self.input.resize(steps * batch * features, 0.0);
        &mut self.input
    }

    /// Draws the dropout masks of the next run, layer by layer. The sizes must be set.
    pub(crate) fn draw_masks(&mut self, network: &Network, random: &mut Random) {
        let Extent { steps, batch } = self.extent;
        for (layer, buffers) in network.lstm.iter().zip(&mut self.lstm) {
            let state = batch * layer.units();
            buffers.recurrent_dropout.draw(state, random);
            let sequence = if layer.emits == Emits::EveryStep { steps } else { 1 };
            buffers.dropout.draw(sequence * state, random);
        }
        let rows = network.dense_rows(self.extent);
        for (layer, buffers) in network.dense.iter().zip(&mut self.dense) {
            buffers.dropout.draw(rows * layer.units(), random);
        }
    }

    /// Makes all masks inactive, as they are when a network is used.
    pub(crate) fn clear_masks(&mut self) {
        for buffers in &mut self.lstm {
            buffers.recurrent_dropout.clear();
            buffers.dropout.clear();
        }
        self.dense.iter_mut().for_each(|buffers| buffers.dropout.clear());
    }

    /// Starts the next run from these states instead of zero: for each LSTM layer h and c, `[B, H]`
    /// each.
    pub fn carry_states<'s>(
        &mut self,
        states: impl ExactSizeIterator<Item = (&'s [f32], &'s [f32])>,
    ) {
        assert_eq!(states.len(), self.lstm.len(), "one state for each LSTM layer");
        for (buffers, (hidden, cell)) in self.lstm.iter_mut().zip(states) {
            buffers.carry_state(hidden, cell);
        }
    }

    /// For each LSTM layer h and c after the last step, `[B, H]` each.
    pub fn last_states(&self) -> Vec<(&[f32], &[f32])> {
        self.lstm.iter().map(|buffers| buffers.last_state(self.extent)).collect()
    }

    /// The values of the last `forward`, `[B, K]` or `[T, B, K]`.
    pub fn output(&self) -> &[f32] {
        self.dense.last().expect("a network has a dense layer").output()
    }

    /// The values of the last `forward`, and the gradient of the loss with respect to them, to be
    /// written before `backward`; both `[B, K]` or `[T, B, K]`.
    pub(crate) fn output_and_gradient(&mut self) -> (&[f32], &mut Vec<f32>) {
        let last = self.dense.last_mut().expect("a network has a dense layer");
        last.output_and_gradient()
    }

    #[cfg(test)]
    pub(crate) fn masks(&mut self) -> Vec<&mut Dropout> {
        let lstm = self.lstm.iter_mut().flat_map(|b| [&mut b.recurrent_dropout, &mut b.dropout]);
        lstm.chain(self.dense.iter_mut().map(|b| &mut b.dropout)).collect()
    }
}

fn last_mut(lstm: &mut [LstmBuffers]) -> &mut LstmBuffers {
    lstm.last_mut().expect("a network has an LSTM layer, or `new` had refused it")
}
