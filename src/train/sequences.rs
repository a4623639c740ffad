//! Whole histories ready for a network that carries its state.
//!
//! Owns: which rows are those of each symbol from the beginning of its history on, and which place
//! in them an example has. Shares the rows.
//!
//! Promises: rows stand in the order of time, without gaps; `gather` lays stretches of several
//! sequences out step by step, `x [T, B, F]`, as the network wants them, with the columns of the
//! symbol behind the features.
//!
//! Never: holds a label, scales or splits.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::seal::judge::symbols::SymbolInputs;
use crate::seal::matrix::Matrix;

/// The rows of all symbols.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequences {
    features: usize,
    /// `[n, F]` of each symbol: where they are, and which.
    rows: Vec<(Arc<Matrix<f32>>, Range<usize>)>,
    /// The series of each.
    series: Vec<usize>,
    symbols: Option<Arc<SymbolInputs>>,
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
        Self { features, ..Self::default() }
    }

    /// The same with columns of the symbol behind the features of every row.
    #[must_use]
    pub fn with_symbols(mut self, symbols: Option<Arc<SymbolInputs>>) -> Self {
        self.symbols = symbols;
        self
    }

    /// Adds the rows `[n, F]` of one symbol, from the beginning of its history: the next series.
    pub fn push(&mut self, rows: Vec<f32>) {
        self.push_of(self.series.len(), rows);
    }

    /// As [`Sequences::push`], of any series.
    pub fn push_of(&mut self, series: usize, rows: Vec<f32>) {
        let rows = Arc::new(Matrix::of(self.features, rows));
        let all = 0..rows.rows();
        self.push_shared(series, &rows, all);
    }

    /// Adds the rows of one symbol that are among others.
    pub fn push_shared(&mut self, series: usize, rows: &Arc<Matrix<f32>>, which: Range<usize>) {
        assert_eq!(rows.width(), self.features, "rows are {} values wide", self.features);
        self.rows.push((rows.clone(), which));
        self.series.push(series);
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

    /// The values that a network reads of a row: features and columns of the symbol.
    pub fn inputs(&self) -> usize {
        self.features + self.symbols.as_ref().map_or(0, |symbols| symbols.width())
    }

    /// The features of consecutive rows of a sequence, `[n, F]`.
    pub fn rows(&self, sequence: usize, rows: Range<usize>) -> Cow<'_, [f32]> {
        let (all, Range { start, .. }) = &self.rows[sequence];
        all.read(start + rows.start..start + rows.end)
    }

    /// The series of a sequence.
    pub fn series(&self, sequence: usize) -> usize {
        self.series[sequence]
    }

    /// The row in the learned table of the symbol of a sequence; `None` for one that has none.
    pub fn symbol(&self, sequence: usize) -> Option<u32> {
        self.symbols.as_ref()?.row(self.series[sequence])
    }

    /// Copies `stretch` of a sequence to the place `at` of `batch` in `input [T, B, inputs]`. The
    /// features of steps behind its end become zeros: nobody reads what comes of them. Learned
    /// columns are left alone.
    pub(crate) fn gather(
        &self,
        sequence: usize,
        stretch: Range<usize>,
        (at, batch): (usize, usize),
        input: &mut [f32],
    ) {
        let (features, width) = (self.features, self.inputs());
        let symbols = self.symbols.as_ref();
        let statics = symbols.map_or(&[][..], |s| s.statics(self.series[sequence]));
        let rows = self.rows(sequence, stretch);
        let mut rows = rows.chunks_exact(features);
        for step in input.chunks_exact_mut(batch * width) {
            let (to, behind) = step[at * width..][..width].split_at_mut(features);
            match rows.next() {
                Some(row) => to.copy_from_slice(row),
                None => to.fill(0.0),
            }
            behind[..statics.len()].copy_from_slice(statics);
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

    #[test]
    fn the_static_columns_of_the_symbol_follow_the_features() {
        let series = vec![(Some(0), vec![0.5]), (None, vec![0.25])];
        let symbols = SymbolInputs::new(vec!["A".to_owned()], series, vec![0.0], 1);
        let mut sequences = Sequences::new(1).with_symbols(Some(Arc::new(symbols)));
        sequences.push(vec![1.0, 2.0]);
        sequences.push(vec![3.0]);
        sequences.push_of(0, vec![4.0]);
        assert_eq!([0, 1, 2].map(|at| sequences.symbol(at)), [Some(0), None, Some(0)]);
        let mut input = [9.0; 12];
        sequences.gather(0, 0..2, (0, 2), &mut input);
        sequences.gather(1, 0..1, (1, 2), &mut input);
        // The learned column is the network's to fill.
        let expected = [1.0, 0.5, 9.0, 3.0, 0.25, 9.0, 2.0, 0.5, 9.0, 0.0, 0.25, 9.0];
        assert_eq!(input, expected);
    }
}
