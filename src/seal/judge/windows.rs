//! Windows ready for a network: scaled feature rows, and which stretches of them are windows.
//!
//! Owns the labels, which rows are windows, and how much each window counts in a fit; shares the
//! rows `[N, F]`, which are there once, however many windows overlap them.
//!
//! Promises: a window is a run of consecutive rows; `gather` lays windows out step by step,
//! `x [T, B, F]`, as the network and ONNX want them, with the columns of the symbol behind the
//! features.
//!
//! Never: scales, splits or reorders by itself.

use std::borrow::Cow;
use std::sync::Arc;

use super::runs::Runs;
use super::symbols::SymbolInputs;
use crate::seal::matrix::Matrix;

/// Windows of one part of a split.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    steps: usize,
    outputs: usize,
    rows: Arc<Matrix<f32>>,
    starts: Runs,
    labels: Vec<f32>,
    /// One for each window, or none where all count the same.
    weights: Vec<f32>,
    /// The first row of each stretch that was pushed, and whose rows these are.
    stretches: Vec<(usize, usize)>,
    symbols: Option<Arc<SymbolInputs>>,
}

impl Windows {
    /// No windows yet, of `steps` rows of `features` values, with `outputs` labels each.
    pub fn new(steps: usize, features: usize, outputs: usize) -> Self {
        Self::over(Arc::new(Matrix::of(features, Vec::new())), steps, outputs)
    }

    /// No windows yet, of `steps` of these rows, with `outputs` labels each.
    pub fn over(rows: Arc<Matrix<f32>>, steps: usize, outputs: usize) -> Self {
        Self { steps, outputs, rows, ..Self::default() }
    }

    /// The same with columns of the symbol behind the features of every row.
    #[must_use]
    pub fn with_symbols(mut self, symbols: Option<Arc<SymbolInputs>>) -> Self {
        self.symbols = symbols;
        self
    }

    /// Says that the rows from `first` on, up to those of the next call, are of a series. Not
    /// needed where rows are pushed, or without columns of the symbol.
    pub fn mark_series(&mut self, first: usize, series: usize) {
        self.stretches.push((first, series));
    }

    /// Appends the rows `[n, F]` of one uninterrupted series, the next one. Returns the index of
    /// its first row, from which windows of this series start.
    ///
    /// # Panics
    /// Where the rows are shared.
    pub fn push_rows(&mut self, rows: &[f32]) -> usize {
        self.push_rows_of(self.stretches.len(), rows)
    }

    /// As [`Windows::push_rows`], of any series.
    ///
    /// # Panics
    /// Where the rows are shared.
    pub fn push_rows_of(&mut self, series: usize, rows: &[f32]) -> usize {
        let first = self.rows.rows();
        self.mark_series(first, series);
        let own = Arc::get_mut(&mut self.rows).expect("rows are added before they are shared");
        own.extend(rows);
        first
    }

    /// Adds the window whose oldest row is `start`; `labels [K]` are scaled as the network's values
    /// are.
    pub fn push_window(&mut self, start: usize, labels: &[f32]) {
        assert!(start + self.steps <= self.rows.rows(), "window past the end");
        assert_eq!(labels.len(), self.outputs, "labels of a window");
        self.starts.push(start);
        self.labels.extend_from_slice(labels);
    }

    /// Count of windows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no window.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// T, the rows of a window.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// F, the values of a row.
    pub fn features(&self) -> usize {
        self.rows.width()
    }

    /// The values that a network reads of a row: features and columns of the symbol.
    pub fn inputs(&self) -> usize {
        self.features() + self.symbols.as_ref().map_or(0, |symbols| symbols.width())
    }

    /// The row in the learned table of the symbol of a window; `None` for one that has none.
    pub fn symbol(&self, at: usize) -> Option<u32> {
        self.symbols.as_ref()?.row(self.series(at))
    }

    /// The series of a window.
    fn series(&self, at: usize) -> usize {
        // A stretch without rows begins where the next one does.
        let start = self.starts.at(at);
        let behind = self.stretches.partition_point(|(first, _)| *first <= start);
        self.stretches[behind - 1].1
    }

    /// Labels of all windows `[n, K]`.
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The same windows with these labels `[n, K]` in the place of theirs.
    #[must_use]
    pub fn with_labels(self, outputs: usize, labels: Vec<f32>) -> Self {
        assert_eq!(labels.len(), self.len() * outputs, "labels of all windows");
        Self { outputs, labels, ..self }
    }

    /// Gives each window the labels and the weight of the one at its place in `order`.
    pub fn reorder_labels(&mut self, order: &[usize]) {
        assert_eq!(order.len(), self.len(), "one place for each window");
        let (mut labels, mut weights) = (Vec::new(), Vec::new());
        self.gather_labels(order, &mut labels);
        self.gather_weights(order, &mut weights);
        (self.labels, self.weights) = (labels, weights);
    }

    /// How much each window counts; none where all count the same.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Says how much each window counts; no weights: all count the same. Windows are added before.
    pub fn set_weights(&mut self, weights: Vec<f32>) {
        assert!(weights.is_empty() || weights.len() == self.len(), "one weight for each window");
        self.weights = weights;
    }

    /// Rows of one window, oldest first, `[T, F]`.
    pub fn window(&self, at: usize) -> Cow<'_, [f32]> {
        let start = self.starts.at(at);
        self.rows.read(start..start + self.steps)
    }

    /// Copies the windows `which` to `input [T, B, inputs]`. Learned columns are left alone.
    pub fn gather(&self, which: &[usize], input: &mut [f32]) {
        let (row, width) = (self.features(), self.inputs());
        for (place, &at) in which.iter().enumerate() {
            let statics = self.symbols.as_ref().map_or(&[][..], |s| s.statics(self.series(at)));
            for (step, values) in self.window(at).chunks_exact(row).enumerate() {
                let input = &mut input[(step * which.len() + place) * width..][..width];
                input[..row].copy_from_slice(values);
                input[row..row + statics.len()].copy_from_slice(statics);
            }
        }
    }

    /// Copies the labels of the windows `which` to `targets [B, K]`.
    pub fn gather_labels(&self, which: &[usize], targets: &mut Vec<f32>) {
        targets.clear();
        let labels = |&at: &usize| &self.labels[at * self.outputs..][..self.outputs];
        which.iter().for_each(|at| targets.extend_from_slice(labels(at)));
    }

    /// Copies the weights of the windows `which`, none where there are none.
    pub fn gather_weights(&self, which: &[usize], weights: &mut Vec<f32>) {
        weights.clear();
        weights.extend(which.iter().filter_map(|at| self.weights.get(*at)));
    }
}

/// By what the windows hold, wherever their rows are.
impl PartialEq for Windows {
    fn eq(&self, other: &Self) -> bool {
        let shape = |windows: &Self| (windows.steps, windows.outputs, windows.len());
        shape(self) == shape(other)
            && self.features() == other.features()
            && self.labels == other.labels
            && self.weights == other.weights
            && self.symbols == other.symbols
            && (0..self.len()).all(|at| self.window(at) == other.window(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_two_series_are_laid_out_step_by_step() {
        let mut windows = Windows::new(2, 2, 1);
        let a = windows.push_rows(&[1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
        let b = windows.push_rows(&[7.0, 7.5, 8.0, 8.5]);
        windows.push_window(a, &[0.1]);
        windows.push_window(a + 1, &[0.2]);
        windows.push_window(b, &[0.3]);
        assert_eq!(*windows.window(1), [2.0, 2.5, 3.0, 3.5]);
        let mut input = [f32::NAN; 8];
        windows.gather(&[2, 0], &mut input);
        assert_eq!(input, [7.0, 7.5, 1.0, 1.5, 8.0, 8.5, 2.0, 2.5]);
        let mut targets = vec![];
        windows.gather_labels(&[2, 0], &mut targets);
        assert_eq!(targets, [0.3, 0.1]);
        let mut weights = vec![9.0];
        windows.gather_weights(&[2, 0], &mut weights);
        assert!(weights.is_empty());
        windows.set_weights(vec![0.5, 1.5, 1.0]);
        windows.gather_weights(&[2, 0], &mut weights);
        assert_eq!(weights, [1.0, 0.5]);
    }

    #[test]
    fn the_static_columns_of_the_symbol_follow_the_features() {
        let series = vec![(Some(1), vec![0.5]), (None, vec![0.25]), (Some(0), vec![-0.5])];
        let symbols = SymbolInputs::new(vec!["A".into(), "B".into()], series, vec![0.0], 1);
        let mut windows = Windows::new(1, 1, 1).with_symbols(Some(Arc::new(symbols)));
        let first = windows.push_rows(&[1.0]);
        windows.push_rows(&[]);
        let last = windows.push_rows(&[2.0]);
        let unknown = windows.push_rows_of(3, &[3.0]);
        [first, last, unknown].iter().for_each(|row| windows.push_window(*row, &[0.0]));
        assert_eq!([0, 1, 2].map(|at| windows.symbol(at)), [Some(1), Some(0), None]);
        // The learned column is the network's to fill.
        let mut input = [9.0; 9];
        windows.gather(&[2, 0, 1], &mut input);
        assert_eq!(input, [3.0, 0.0, 9.0, 1.0, 0.5, 9.0, 2.0, -0.5, 9.0]);
        assert_eq!((windows.features(), windows.inputs()), (1, 3));
    }
}
