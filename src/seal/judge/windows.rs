//! Windows ready for a network: scaled feature rows, and which stretches of them are windows.
//!
//! Owns: the rows `[N, F]` once, however many windows overlap them, and the labels.
//!
//! Promises: a window is a run of consecutive rows; `gather` lays windows out step by step,
//! `x [T, B, F]`, as the network and ONNX want them.
//!
//! Never: scales, splits or reorders by itself.

/// Windows of one part of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    steps: usize,
    features: usize,
    outputs: usize,
    rows: Vec<f32>,
    starts: Vec<usize>,
    labels: Vec<f32>,
}

impl Windows {
    /// No windows yet, of `steps` rows of `features` values, with `outputs` labels each.
    pub fn new(steps: usize, features: usize, outputs: usize) -> Self {
        Self { steps, features, outputs, ..Self::default() }
    }

    /// Appends the rows `[n, F]` of one uninterrupted series. Returns the index of its first row,
    /// from which windows of this series start.
    pub fn push_rows(&mut self, rows: &[f32]) -> usize {
        assert_eq!(rows.len() % self.features, 0, "rows are {} values wide", self.features);
        let first = self.rows.len() / self.features;
        self.rows.extend_from_slice(rows);
        first
    }

    /// Adds the window whose oldest row is `start`; `labels [K]` are scaled as the network's values
    /// are.
    pub fn push_window(&mut self, start: usize, labels: &[f32]) {
        assert!((start + self.steps) * self.features <= self.rows.len(), "window past the end");
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
        self.starts.is_empty()
    }

    /// T, the rows of a window.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// F, the values of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Labels of all windows `[n, K]`.
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The same windows with these labels `[n, K]` in the place of theirs.
    #[must_use]
    pub fn with_labels(self, outputs: usize, labels: Vec<f32>) -> Self {
        assert_eq!(labels.len(), self.starts.len() * outputs, "labels of all windows");
        Self { outputs, labels, ..self }
    }

    /// The labels, to put them into another order.
    pub fn labels_mut(&mut self) -> &mut [f32] {
        &mut self.labels
    }

    /// Rows of one window, oldest first, `[T, F]`.
    pub fn window(&self, at: usize) -> &[f32] {
        let start = self.starts[at] * self.features;
        &self.rows[start..start + self.steps * self.features]
    }

    /// Copies the windows `which` to `input [T, B, F]`.
    pub fn gather(&self, which: &[usize], input: &mut [f32]) {
        let row = self.features;
        for (place, &at) in which.iter().enumerate() {
            for (step, values) in self.window(at).chunks_exact(row).enumerate() {
                input[(step * which.len() + place) * row..][..row].copy_from_slice(values);
            }
        }
    }

    /// Copies the labels of the windows `which` to `targets [B, K]`.
    pub fn gather_labels(&self, which: &[usize], targets: &mut Vec<f32>) {
        targets.clear();
        let labels = |&at: &usize| &self.labels[at * self.outputs..][..self.outputs];
        which.iter().for_each(|at| targets.extend_from_slice(labels(at)));
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
        assert_eq!(windows.window(1), [2.0, 2.5, 3.0, 3.5]);
        let mut input = [f32::NAN; 8];
        windows.gather(&[2, 0], &mut input);
        assert_eq!(input, [7.0, 7.5, 1.0, 1.5, 8.0, 8.5, 2.0, 2.5]);
        let mut targets = vec![];
        windows.gather_labels(&[2, 0], &mut targets);
        assert_eq!(targets, [0.3, 0.1]);
    }
}
