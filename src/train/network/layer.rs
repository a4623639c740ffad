//! What a network asks of a layer.
//!
//! Owns: the seam between a network and its layers: [`Layer`] is the plan of a layer, [`Buffers`]
//! what one thread changes while it runs it. Also the sizes of a run.
//!
//! Promises: a layer reads what the layer below it hands on, and knows nothing else of it.
//!
//! Never: computes. Each kind of layer is a file that implements both traits, and a name in the
//! list in `stack.rs`.

use super::dropout::Dropout;
use super::parameters::Block;
use crate::train::random::Random;

/// Sizes of a run: steps and windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) steps: usize,
    pub(crate) batch: usize,
}

/// The steps of which a layer hands on its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emits {
    /// All of them: `[T, B, N]`
    EveryStep,
    /// The last one: `[B, N]`
    LastStep,
}

impl Emits {
    /// Rows of N values in a run of `extent`.
    pub(crate) fn rows(self, Extent { steps, batch }: Extent) -> usize {
        match self {
            Self::EveryStep => steps * batch,
            Self::LastStep => batch,
        }
    }
}

/// The plan of a layer: its shape and the place of its parameters.
pub(crate) trait Layer {
    type Buffers: Buffers;

    /// Its parameters, in their order in the vector.
    fn blocks(&self) -> Vec<&Block>;

    /// The widths of its states, which go from step to step; none for most layers.
    fn state_widths(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Draws fresh parameters.
    fn initialise(&self, parameters: &mut [f32], random: &mut Random);

    /// Buffers for at most `extent`.
    fn buffers(&self, extent: Extent) -> Self::Buffers;

    /// `input`, which is the output of the layer below, to [`Buffers::output`].
    fn forward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut Self::Buffers,
    );

    /// From [`Buffers::d_output`] to the gradients of its parameters and, where wanted, of its
    /// input; both are overwritten. `input` is what `forward` read on the same buffers.
    fn backward(
        &self,
        parameters: &[f32],
        input: &[f32],
        extent: Extent,
        buffers: &mut Self::Buffers,
        gradients: &mut [f32],
        d_input: Option<&mut Vec<f32>>,
    );
}

/// What one thread needs to run a layer; made once.
pub(crate) trait Buffers {
    /// What the next layer reads.
    fn output(&self, extent: Extent) -> &[f32];

    /// The gradient of the loss with respect to [`output`](Self::output): the next layer writes
    /// it, and `backward` uses it up.
    fn d_output(&mut self) -> &mut Vec<f32>;

    /// Draws its masks for a run of `extent`.
    fn draw_masks(&mut self, _extent: Extent, _random: &mut Random) {}

    /// Its masks, in the order in which they are drawn.
    fn masks(&mut self) -> Vec<&mut Dropout> {
        Vec::new()
    }

    /// Starts the next `forward` from states instead of zero: takes as many of them as the layer
    /// has, `[B, H]` each.
    fn carry_state<'s>(&mut self, _states: &mut dyn Iterator<Item = &'s [f32]>) {}

    /// Adds its states after the last step of a run of `extent`, `[B, H]` each.
    fn last_state<'a>(&'a self, _extent: Extent, _states: &mut Vec<&'a [f32]>) {}
}
