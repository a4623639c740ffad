//! A layer of any kind.
//!
//! Owns: the list of kinds, and the way from a network to the layer that it has. Promises that
//! nothing else lists the kinds but the export, which writes a graph. Never computes.

use super::attention::Attention;
use super::convolution::Convolution;
use super::dense::Dense;
use super::dropout::Dropout;
use super::gru::Gru;
use super::layer::{Buffers, Extent, Layer};
use super::lstm::Lstm;
use super::parameters::Block;
use crate::train::random::Random;

/// Makes an enum of the layers, one of their buffers, and the dispatch.
macro_rules! kinds {
    ($($kind:ident),+) => {
        /// The plan of a layer.
        #[derive(Clone, Debug)]
        pub(crate) enum AnyLayer {
            $($kind($kind)),+
        }

        /// The buffers of a layer.
        #[derive(Clone, Debug)]
        pub(crate) enum AnyBuffers {
            $($kind(<$kind as Layer>::Buffers)),+
        }

        impl Layer for AnyLayer {
            type Buffers = AnyBuffers;

            fn blocks(&self) -> Vec<&Block> {
                match self {
                    $(Self::$kind(layer) => layer.blocks()),+
                }
            }

            fn state_widths(&self) -> Vec<usize> {
                match self {
                    $(Self::$kind(layer) => layer.state_widths()),+
                }
            }

            fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
                match self {
                    $(Self::$kind(layer) => layer.initialise(parameters, random)),+
                }
            }

            fn buffers(&self, extent: Extent) -> AnyBuffers {
                match self {
                    $(Self::$kind(layer) => AnyBuffers::$kind(layer.buffers(extent))),+
                }
            }

            fn forward(
                &self,
                parameters: &[f32],
                input: &[f32],
                extent: Extent,
                buffers: &mut AnyBuffers,
            ) {
                match (self, buffers) {
                    $((Self::$kind(layer), AnyBuffers::$kind(buffers)) => {
                        layer.forward(parameters, input, extent, buffers);
                    })+
                    _ => unreachable!("a workspace has the buffers of its network"),
                }
            }

            fn backward(
                &self,
                parameters: &[f32],
                input: &[f32],
                extent: Extent,
                buffers: &mut AnyBuffers,
                gradients: &mut [f32],
                d_input: Option<&mut Vec<f32>>,
            ) {
                match (self, buffers) {
                    $((Self::$kind(layer), AnyBuffers::$kind(buffers)) => {
                        layer.backward(parameters, input, extent, buffers, gradients, d_input);
                    })+
                    _ => unreachable!("a workspace has the buffers of its network"),
                }
            }
        }

        impl AnyBuffers {
            fn of(&self) -> &dyn Buffers {
                match self {
                    $(Self::$kind(buffers) => buffers),+
                }
            }

            fn of_mut(&mut self) -> &mut dyn Buffers {
                match self {
                    $(Self::$kind(buffers) => buffers),+
                }
            }
        }
    };
}

impl Buffers for AnyBuffers {
    fn output(&self, extent: Extent) -> &[f32] {
        self.of().output(extent)
    }

    fn d_output(&mut self) -> &mut Vec<f32> {
        self.of_mut().d_output()
    }

    fn draw_masks(&mut self, extent: Extent, random: &mut Random) {
        self.of_mut().draw_masks(extent, random);
    }

    fn masks(&mut self) -> Vec<&mut Dropout> {
        self.of_mut().masks()
    }

    fn carry_state<'s>(&mut self, states: &mut dyn Iterator<Item = &'s [f32]>) {
        self.of_mut().carry_state(states);
    }

    fn last_state<'a>(&'a self, extent: Extent, states: &mut Vec<&'a [f32]>) {
        self.of().last_state(extent, states);
    }
}

kinds!(Convolution, Lstm, Gru, Attention, Dense);
