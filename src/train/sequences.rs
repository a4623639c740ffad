//! Whole histories ready for a network that carries its state.
//!
//! Owns: which rows are those of each symbol from the beginning of its history on, and which place
//! in them an example has. Shares the rows.
//!
//! Promises: rows stand in the order of time, without gaps; `gather` lays stretches of several
//! sequences out step by step, `x [T, B, F]`, as the network wants them.
//!
//! Never: holds a label, scales or splits.

use std::ops::Range;
use std::sync::Arc;

use crate::seal::matrix::Matrix;

/// The rows of all symbols.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequences {
    features: usize,
    /// `[n, F]` of each symbol: where they are, and which.
    rows: Vec<(Arc<Matrix<f32>>, Range<usize>)>,
}

/// One row of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the sequence.
    pub sequence: usize,
    /// Index of the row.
    pub row: usize,
}

impl Sequences {
    /// No sequences yet, of rows of `features` values.
    pub fn new(features: usize) -> Self {
        Self { features, rows: Vec::new() }
    }

    /// Adds the rows `[n, F]` of one symbol, from the beginning of its history.
    pub fn push(&mut self, rows: Vec<f32>) {
        let rows = Arc::new(Matrix::of(self.features, rows));
        self.push_shared(&rows, 0..rows.rows());
    }

    /// Adds the rows of one symbol that are among others.
    pub fn push_shared(&mut self, rows: &Arc<Matrix<f32>>, which: Range<usize>) {
        assert_eq!(rows.width(), self.features, "rows are {} values wide", self.features);
        self.rows.push((rows.clone(), which));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// F, the values of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Copies `stretch` of a sequence to the place `at` of `batch` in `input [T, B, F]`. Steps
    /// behind its end become zeros: nobody reads what comes of them.
    pub(crate) fn gather(
        &self,
        sequence: usize,
        stretch: Range<usize>,
        (at, batch): (usize, usize),
        input: &mut [f32],
    ) {
        let width = self.features;
        let (rows, Range { start, .. }) = &self.rows[sequence];
        let rows = rows.read(start + stretch.start..start + stretch.end);
        let mut rows = rows.chunks_exact(width);
        for step in input.chunks_exact_mut(batch * width) {
            let to = &mut step[at * width..][..width];
            match rows.next() {
                Some(row) => to.copy_from_slice(row),
                None => to.fill(0.0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_two_sequences_are_laid_out_step_by_step() {
        let mut sequences = Sequences::new(2);
        sequences.push(vec![1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
        sequences.push(vec![7.0, 7.5]);
        let mut input = [f32::NAN; 8];
        sequences.gather(0, 1..3, (1, 2), &mut input);
        sequences.gather(1, 0..1, (0, 2), &mut input);
        assert_eq!(input, [7.0, 7.5, 2.0, 2.5, 0.0, 0.0, 3.0, 3.5]);
    }
}
