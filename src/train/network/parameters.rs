//! Where the parameters of each layer stand in the one flat vector that holds them all.
//!
//! Owns: the layout. All parameters of a network are one `Vec<f32>`, all gradients another of the
//! same layout; a layer knows its blocks, not the numbers. The optimiser, the sum over threads, a
//! checkpoint and a comparison are then one loop over one slice.
//!
//! Promises: blocks follow each other without gaps in the order in which they were taken.
//!
//! Never: holds parameters.

use std::ops::Range;

/// One tensor within the flat vector, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Name in exported files, such as `lstm0_w`.
    pub name: String,
    /// Rows and columns; a vector has one column.
    pub shape: [usize; 2],
    start: usize,
}

impl Block {
    /// Its place in the vector.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.shape[0] * self.shape[1]
    }

    /// Whether it is added to a sum and multiplies nothing: the name of a bias ends in `_b`.
    pub fn is_bias(&self) -> bool {
        self.name.ends_with("_b")
    }

    /// Its part of a vector of this layout.
    pub fn of<'a>(&self, vector: &'a [f32]) -> &'a [f32] {
        &vector[self.range()]
    }

    /// Its part of a vector of this layout, to change.
    pub fn of_mut<'a>(&self, vector: &'a mut [f32]) -> &'a mut [f32] {
        &mut vector[self.range()]
    }
}

/// Hands out blocks one after the other.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    taken: usize,
    weights: Vec<Range<usize>>,
}

impl Layout {
    /// Lays out parameters behind so many others.
    pub(crate) fn behind(taken: usize) -> Self {
        Self { taken, ..Self::default() }
    }

    pub(crate) fn take(&mut self, name: String, shape: [usize; 2]) -> Block {
        let start = self.taken;
        self.taken += shape[0] * shape[1];
        let block = Block { name, shape, start };
        if !block.is_bias() {
            self.weights.push(block.range());
        }
        block
    }

    /// The places of all blocks so far that are not biases.
    pub(crate) fn weights(&self) -> &[Range<usize>] {
        &self.weights
    }

    /// Count of parameters handed out so far.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }
}
