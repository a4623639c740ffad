//! How an epoch goes through examples, whatever they are.
//!
//! Owns: the seam between the loop of a fit and the two kinds of examples. `fit` implements it for
//! windows, and `carried` for rows of whole histories. Never steps an optimiser.

use crate::train::random::Random;
use crate::train::sequences::Place;

/// Rows with a label; one each.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// Where the rows stand.
    pub places: &'a [Place],
    /// Their labels, scaled as the network's values are.
    pub labels: &'a [f32],
    /// How much each counts; none where all count the same.
    pub weights: &'a [f32],
}

/// One batch.
pub(in crate::train) struct Batch<'a> {
    /// The mean over its labels, each times its weight.
    pub(in crate::train) loss: f64,
    pub(in crate::train) labels: usize,
    pub(in crate::train) gradients: &'a mut [f32],
}

/// One way through the examples.
pub(in crate::train) trait Lessons {
    /// How many things stand in another order in every epoch.
    fn items(&self) -> usize;

    /// Begins an epoch and tells how many batches it has. Of the random numbers it draws what it
    /// needs beside the order.
    fn begin(&mut self, parameters: &[f32], order: &[usize], random: &mut Random) -> usize;

    /// The next batch, with dropout; `None` at the end of the epoch.
    fn next(&mut self, parameters: &[f32], dropout: &mut Random) -> Option<Batch<'_>>;

    /// The values that the loss reads of the validation part, without dropout; ends the epoch.
    fn validate(&mut self, parameters: &[f32]) -> Vec<f32>;
}
