//! A learned table of numbers for each symbol, which become the last columns of its rows.
//!
//! Owns the table `[symbols, E]` and its gradient: the sum of the gradients of these columns over
//! all rows of a symbol (the layer `Embedding` of Keras, repeated over the steps and put beside the
//! other inputs).
//!
//! Promises: a symbol without a row of its own gets the mean of all rows, which has no gradient.
//! The work grows with the rows of a batch, and the gradient of a batch is added in their order.
//!
//! Never: knows a symbol by name.

use super::layer::Extent;
use super::parameters::{Block, Layout};
use crate::core::features::mean_columns;
use crate::train::random::Random;

/// Initial values lie in this distance of zero, as Keras draws them.
const INITIAL: f64 = 0.05;

/// Shape of the table and place of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    /// `[symbols, E]`
    pub(crate) table: Block,
    /// The columns of a row, of which the last E are these.
    inputs: usize,
}

impl Embedding {
    pub(crate) fn new(layout: &mut Layout, inputs: usize, symbols: usize, units: usize) -> Self {
        assert!(units < inputs && symbols > 0, "{units} of {inputs} columns, {symbols} symbols");
        Self { table: layout.take("embedding".to_owned(), [symbols, units]), inputs }
    }

    /// E, the columns of a symbol.
    pub(crate) fn units(&self) -> usize {
        self.table.shape[1]
    }

    pub(crate) fn initialise(&self, parameters: &mut [f32], random: &mut Random) {
        super::initial::uniform(self.table.of_mut(parameters), INITIAL, random);
    }

    /// Fills the last columns of `input [T, B, inputs]`; `symbols [B]` are rows of the table.
    pub(crate) fn forward(
        &self,
        parameters: &[f32],
        symbols: &[Option<u32>],
        extent: Extent,
        input: &mut [f32],
    ) {
        assert_eq!(symbols.len(), extent.batch, "one symbol for each window");
        let (table, units) = (self.table.of(parameters), self.units());
        let mean = if symbols.contains(&None) {
            mean_columns(table.chunks_exact(units), units)
        } else {
            Vec::new()
        };
        for step in input.chunks_exact_mut(extent.batch * self.inputs) {
            for (row, symbol) in step.chunks_exact_mut(self.inputs).zip(symbols) {
                let columns = symbol.map_or(&mean[..], |at| &table[at as usize * units..][..units]);
                row[self.inputs - units..].copy_from_slice(columns);
            }
        }
    }

    /// From the gradient of the input, `d_input [T, B, inputs]`, to that of the table, overwritten.
    pub(crate) fn backward(
        &self,
        symbols: &[Option<u32>],
        extent: Extent,
        d_input: &[f32],
        gradients: &mut [f32],
    ) {
        let units = self.units();
        let gradients = self.table.of_mut(gradients);
        gradients.fill(0.0);
        for step in d_input.chunks_exact(extent.batch * self.inputs) {
            for (row, symbol) in step.chunks_exact(self.inputs).zip(symbols) {
                let Some(at) = symbol else { continue };
                let sums = &mut gradients[*at as usize * units..][..units];
                let columns = &row[self.inputs - units..];
                sums.iter_mut().zip(columns).for_each(|(sum, d)| *sum += d);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::Purpose;

    #[test]
    fn each_window_gets_the_row_of_its_symbol_and_an_unknown_one_the_mean() {
        let embedding = Embedding::new(&mut Layout::default(), 3, 2, 2);
        let parameters = [1.0, 2.0, 3.0, 6.0];
        let extent = Extent { steps: 2, batch: 3 };
        let mut input = [0.0; 18];
        let symbols = [Some(1), None, Some(0)];
        embedding.forward(&parameters, &symbols, extent, &mut input);
        let step = [0.0, 3.0, 6.0, 0.0, 2.0, 4.0, 0.0, 1.0, 2.0];
        assert_eq!(input, [step, step].concat()[..]);
        let mut gradients = [f32::NAN; 4];
        let d_input: Vec<f32> = (0..18_u8).map(f32::from).collect();
        embedding.backward(&symbols, extent, &d_input, &mut gradients);
        assert_eq!(gradients, [7.0 + 16.0, 8.0 + 17.0, 1.0 + 10.0, 2.0 + 11.0]);
    }

    #[test]
    fn initial_values_fill_their_interval() {
        let embedding = Embedding::new(&mut Layout::default(), 9, 512, 8);
        let mut parameters = vec![0.0; 4096];
        embedding.initialise(&mut parameters, &mut Random::new(1, Purpose::Initial));
        let largest = parameters.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        assert!(largest <= 0.05 && largest > 0.0495, "{largest}");
    }
}
