//! A network: a learned table of symbols if wanted, a convolution if wanted, recurrent layers,
//! attention if wanted, dense layers.
//!
//! Owns: which layers there are, in which order, and how values and gradients pass between them.
//!
//! Promises: a [`Network`] is a plan without numbers: parameters come from the caller, everything
//! that changes in a run is in a [`Workspace`], so that threads share the plan and each has a
//! workspace of its own. Equal parameters, inputs and masks give equal bits.
//!
//! Never: reads data, chooses windows or decides when to stop.

pub(super) mod activation;
mod attention;
mod convolution;
mod dense;
pub(super) mod dropout;
pub(super) mod embedding;
mod gemm;
pub(super) mod gru;
mod initial;
mod layer;
pub(super) mod lstm;
pub(super) mod parameters;
mod recurrent;
mod stack;

use std::ops::Range;

use thiserror::Error;

pub use self::activation::Activation;
pub(crate) use self::attention::Attention;
pub(crate) use self::convolution::Convolution;
pub(crate) use self::dense::Dense;
use self::dropout::Dropout;
use self::embedding::Embedding;
use self::gru::Gru;
use self::layer::{Buffers, Extent};
pub(crate) use self::layer::{Emits, Layer};
use self::lstm::Lstm;
pub use self::parameters::Block;
use self::parameters::Layout;
use self::recurrent::Rates;
use self::stack::AnyBuffers;
pub(crate) use self::stack::AnyLayer;
use super::random::{Purpose, Random};

/// Shape of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Architecture {
    /// The width of a row: F features, and what is constant for a symbol.
    pub inputs: usize,
    /// A convolution over the steps in front of the recurrent layers. A network with one needs
    /// whole windows.
    pub convolution: Option<ConvolutionShape>,
    /// Recurrent layers, the first of which reads the rows or the convolution; at least one. Each
    /// but the last hands on its state after every step.
    pub recurrent: Vec<RecurrentShape>,
    /// Units of the attention over the states of the last recurrent layer after every step; `None`:
    /// the dense layers read its last state. A network with attention needs whole windows.
    pub attention: Option<usize>,
    /// Dense layers after that; at least one.
    pub dense: Vec<DenseShape>,
}

/// Shape of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvolutionShape {
    /// C, count of outputs after each step.
    pub filters: usize,
    /// K, how many steps a value is made of: its own and those before it.
    pub kernel: usize,
    /// Function of the sums.
    pub activation: Activation,
}

/// The cell of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Long short-term memory: hidden and cell state.
    Lstm,
    /// Gated recurrent unit: hidden state. The reset gate multiplies the product with the state.
    Gru,
}

/// Shape of a recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentShape {
    /// What it does with its gates.
    pub cell: Cell,
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
            recurrent: vec![
                RecurrentShape { recurrent_dropout: 0.2, ..RecurrentShape::lstm(64) },
                RecurrentShape { dropout: 0.3, ..RecurrentShape::lstm(32) },
            ],
            dense: vec![
                DenseShape { dropout: 0.2, ..DenseShape::new(16, Activation::Relu) },
                DenseShape::new(1, Activation::Tanh),
            ],
            ..Self::default()
        }
    }

    /// Every reason why no network has this shape.
    pub fn problems(&self) -> Vec<ArchitectureError> {
        let mut problems = Vec::new();
        let mut sizes = vec![
            ("inputs".to_owned(), self.inputs),
            ("count of recurrent layers".to_owned(), self.recurrent.len()),
            ("count of dense layers".to_owned(), self.dense.len()),
        ];
        if let Some(convolution) = &self.convolution {
            sizes.push(("convolution.filters".to_owned(), convolution.filters));
            sizes.push(("convolution.kernel".to_owned(), convolution.kernel));
        }
        sizes.extend(self.attention.map(|units| ("attention".to_owned(), units)));
        let mut rates = Vec::new();
        for (at, layer) in self.recurrent.iter().enumerate() {
            sizes.push((format!("recurrent[{at}].units"), layer.units));
            rates.push((format!("recurrent[{at}].recurrent_dropout"), layer.recurrent_dropout));
            rates.push((format!("recurrent[{at}].dropout"), layer.dropout));
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

    /// Whether its values depend on where a window begins beyond the state that begins there:
    /// such a network gives one value for a whole window and takes no single steps.
    pub fn needs_whole_windows(&self) -> bool {
        self.convolution.is_some() || self.attention.is_some()
    }
}

impl RecurrentShape {
    /// A layer without dropout.
    pub fn new(cell: Cell, units: usize) -> Self {
        Self { cell, units, recurrent_dropout: 0.0, dropout: 0.0 }
    }

    /// An LSTM layer without dropout.
    pub fn lstm(units: usize) -> Self {
        Self::new(Cell::Lstm, units)
    }

    /// A GRU layer without dropout.
    pub fn gru(units: usize) -> Self {
        Self::new(Cell::Gru, units)
    }
}

impl DenseShape {
    /// A layer without dropout.
    pub fn new(units: usize, activation: Activation) -> Self {
        Self { units, activation, dropout: 0.0 }
    }
}

/// The plan of a network: its layers and where their parameters stand.
#[derive(Clone, Debug)]
pub struct Network {
    architecture: Architecture,
    /// From the input on; the last one is dense.
    layers: Vec<AnyLayer>,
    embedding: Option<Embedding>,
    parameters: usize,
    weights: Vec<Range<usize>>,
}

/// Everything one thread needs to run a network on one batch; made once.
#[derive(Clone, Debug)]
pub struct Workspace {
    extent: Extent,
    input: Vec<f32>,
    /// Of each window, its row in the table of symbols.
    symbols: Vec<Option<u32>>,
    /// Gradient of the loss with respect to the input, where there is such a table.
    d_input: Vec<f32>,
    layers: Vec<AnyBuffers>,
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
        let mut layers = Vec::new();
        if let Some(ConvolutionShape { filters, kernel, activation }) = architecture.convolution {
            let shape = [width, filters];
            let layer = Convolution::new(&mut layout, shape, kernel, activation);
            layers.push(AnyLayer::Convolution(layer));
            width = filters;
        }
        for (at, shape) in architecture.recurrent.iter().enumerate() {
            let last = at + 1 == architecture.recurrent.len();
            let last_alone = last && architecture.attention.is_none();
            let emits = if last_alone { Emits::LastStep } else { Emits::EveryStep };
            let rates = Rates { recurrent: shape.recurrent_dropout, output: shape.dropout };
            let sizes = [width, shape.units];
            layers.push(match shape.cell {
                Cell::Lstm => {
                    let name = format!("lstm{at}");
                    AnyLayer::Lstm(Lstm::new(&mut layout, &name, sizes, emits, rates))
                }
                Cell::Gru => {
                    let name = format!("gru{at}");
                    AnyLayer::Gru(Gru::new(&mut layout, &name, sizes, emits, rates))
                }
            });
            width = shape.units;
        }
        if let Some(units) = architecture.attention {
            layers.push(AnyLayer::Attention(Attention::new(&mut layout, width, units)));
        }
        for (at, DenseShape { units, activation, dropout }) in architecture.dense.iter().enumerate()
        {
            let (name, sizes) = (format!("dense{at}"), [width, *units]);
            let reads = Emits::LastStep;
            let layer = Dense::new(&mut layout, &name, sizes, *activation, reads, *dropout);
            layers.push(AnyLayer::Dense(layer));
            width = *units;
        }
        let (parameters, weights) = (layout.len(), layout.weights().to_vec());
        Ok(Self { architecture, layers, embedding: None, parameters, weights })
    }

    /// The same network with a learned table of so many symbols, whose `units` numbers are the last
    /// columns of each row. Its parameters stand behind all others.
    #[must_use]
    pub fn with_embedding(mut self, symbols: usize, units: usize) -> Self {
        let mut layout = Layout::behind(self.parameters);
        self.embedding =
            Some(Embedding::new(&mut layout, self.architecture.inputs, symbols, units));
        self.parameters = layout.len();
        self.weights.extend_from_slice(layout.weights());
        self
    }

    /// The learned table of symbols `[symbols, E]`.
    pub fn embedding(&self) -> Option<&Block> {
        self.embedding.as_ref().map(|layer| &layer.table)
    }

    /// The shape it was planned from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Length of the parameter vector.
    pub fn parameter_count(&self) -> usize {
        self.parameters
    }

    /// The places in the parameter vector that multiply something: all but the biases.
    pub(crate) fn weights(&self) -> &[Range<usize>] {
        &self.weights
    }

    /// K, the count of values it gives for a window.
    pub fn outputs(&self) -> usize {
        self.last_dense().units
    }

    /// The widths of the states that go from step to step, from the input on: h and c of an LSTM
    /// layer, h of a GRU layer.
    pub fn state_widths(&self) -> Vec<usize> {
        self.layers.iter().flat_map(Layer::state_widths).collect()
    }

    /// Its parameters, layer by layer, in their order in the vector.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.layers.iter().flat_map(Layer::blocks).chain(self.embedding())
    }

    /// Its layers from the input on.
    pub(crate) fn layers(&self) -> &[AnyLayer] {
        &self.layers
    }

    pub(crate) fn last_activation(&self) -> Activation {
        self.last_dense().activation
    }

    fn last_dense(&self) -> &DenseShape {
        let last = self.architecture.dense.last();
        last.expect("a network has a dense layer, or `new` had refused it")
    }

    /// The same network with another function at its end; the parameters stand where they stood.
    pub(crate) fn with_last_activation(&self, activation: Activation) -> Self {
        let mut other = self.clone();
        if let (Some(AnyLayer::Dense(last)), Some(shape)) =
            (other.layers.last_mut(), other.architecture.dense.last_mut())
        {
            (last.activation, shape.activation) = (activation, activation);
        }
        other
    }

    /// The same network with a value after every step, `y [T, B, K]`, instead of after the last one
    /// alone; the parameters stand where they stood. A network that needs whole windows has no such
    /// form.
    pub(crate) fn every_step(&self) -> Self {
        assert!(!self.architecture.needs_whole_windows(), "a layer reads a whole window");
        let mut other = self.clone();
        for layer in &mut other.layers {
            match layer {
                AnyLayer::Lstm(layer) => layer.emits = Emits::EveryStep,
                AnyLayer::Gru(layer) => layer.emits = Emits::EveryStep,
                AnyLayer::Dense(layer) => layer.reads = Emits::EveryStep,
                AnyLayer::Convolution(_) | AnyLayer::Attention(_) => {}
            }
        }
        other
    }

    /// Fresh parameters as Keras would draw them; they depend on the seed alone.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed, Purpose::Initial);
        let mut parameters = vec![0.0; self.parameters];
        for layer in &self.layers {
            layer.initialise(&mut parameters, &mut random);
        }
        if let Some(layer) = &self.embedding {
            layer.initialise(&mut parameters, &mut random);
        }
        parameters
    }

    /// Buffers for at most `steps` steps of `batch` windows.
    pub fn workspace(&self, steps: usize, batch: usize) -> Workspace {
        let extent = Extent { steps, batch };
        Workspace {
            extent,
            input: Vec::with_capacity(steps * batch * self.architecture.inputs),
            symbols: Vec::with_capacity(batch),
            d_input: Vec::new(),
            layers: self.layers.iter().map(|layer| layer.buffers(extent)).collect(),
        }
    }

    /// Values `y [B, K]` for the input in the workspace, or `[T, B, K]` where the network gives one
    /// after every step.
    pub fn forward<'a>(&self, parameters: &[f32], workspace: &'a mut Workspace) -> &'a [f32] {
        let Workspace { extent, input, symbols, layers, .. } = workspace;
        if let Some(layer) = &self.embedding {
            layer.forward(parameters, symbols, *extent, input);
        }
        for (at, layer) in self.layers.iter().enumerate() {
            let (below, here) = layers.split_at_mut(at);
            let input = below.last().map_or(&input[..], |below| below.output(*extent));
            layer.forward(parameters, input, *extent, &mut here[0]);
        }
        workspace.output()
    }

    /// Gradients of all parameters, overwritten, from the gradient of the loss in the last layer of
    /// `workspace`. `forward` has run on the same workspace, once for each `backward`.
    pub fn backward(&self, parameters: &[f32], workspace: &mut Workspace, gradients: &mut [f32]) {
        let Workspace { extent, input, symbols, d_input: d_rows, layers } = workspace;
        for (at, layer) in self.layers.iter().enumerate().rev() {
            let (below, here) = layers.split_at_mut(at);
            let mut below = below.last_mut();
            // A gradient's buffer is lent out while the value beside it is read.
            let lent = |below: &mut &mut AnyBuffers| std::mem::take(below.d_output());
            let mut d_input = match below.as_mut() {
                Some(below) => Some(lent(below)),
                None => self.embedding.is_some().then(|| std::mem::take(d_rows)),
            };
            let from = below.as_ref().map_or(&input[..], |below| below.output(*extent));
            let here = &mut here[0];
            layer.backward(parameters, from, *extent, here, gradients, d_input.as_mut());
            if let Some(d_input) = d_input {
                *below.map_or(&mut *d_rows, |below| below.d_output()) = d_input;
            }
        }
        if let Some(layer) = &self.embedding {
            layer.backward(symbols, *extent, d_rows, gradients);
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

    /// Sets the row of each window of the next run in the table of symbols; `None` for one without
    /// a row. Needed where the network has such a table.
    pub fn set_symbols(&mut self, symbols: impl Iterator<Item = Option<u32>>) {
        self.symbols.clear();
        self.symbols.extend(symbols);
    }

    /// Draws the dropout masks of the next run, layer by layer. The sizes must be set.
    pub(crate) fn draw_masks(&mut self, random: &mut Random) {
        let extent = self.extent;
        self.layers.iter_mut().for_each(|layer| layer.draw_masks(extent, random));
    }

    /// Makes all masks inactive, as they are when a network is used.
    pub(crate) fn clear_masks(&mut self) {
        for layer in &mut self.layers {
            layer.masks().into_iter().for_each(Dropout::clear);
        }
    }

    /// Starts the next run from these states instead of zero, `[B, H]` each, in the order of
    /// [`Network::state_widths`].
    pub fn carry_states<'s>(&mut self, mut states: impl Iterator<Item = &'s [f32]>) {
        self.layers.iter_mut().for_each(|layer| layer.carry_state(&mut states));
        assert!(states.next().is_none(), "one state for each of the network's");
    }

    /// The states after the last step, `[B, H]` each, in the same order.
    pub fn last_states(&self) -> Vec<&[f32]> {
        let mut states = Vec::new();
        self.layers.iter().for_each(|layer| layer.last_state(self.extent, &mut states));
        states
    }

    /// The values of the last `forward`, `[B, K]` or `[T, B, K]`.
    pub fn output(&self) -> &[f32] {
        self.layers.last().expect("a network has a dense layer").output(self.extent)
    }

    /// The values of the last `forward`, and the gradient of the loss with respect to them, to be
    /// written before `backward`; both `[B, K]` or `[T, B, K]`.
    pub(crate) fn output_and_gradient(&mut self) -> (&[f32], &mut Vec<f32>) {
        let Some(AnyBuffers::Dense(last)) = self.layers.last_mut() else {
            unreachable!("a network ends in a dense layer");
        };
        last.output_and_gradient()
    }

    #[cfg(test)]
    pub(crate) fn masks(&mut self) -> Vec<&mut Dropout> {
        self.layers.iter_mut().flat_map(Buffers::masks).collect()
    }
}
