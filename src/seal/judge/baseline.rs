//! What a model has to beat: simple forecasts of the same truths.
//!
//! Owns three of them. *Persistence*: everything stays as it is, so the change is zero, the value
//! the last one. *Drift*: what the training part did on average; for a value, the last one plus its
//! mean change. *Linear*: a linear model of the very window that the network sees.
//!
//! Promises: fitted on the training part alone, without draws or iterations, so that the same data
//! give the same bits. Never sees a validation or test truth.

use super::example::Example;
use super::statistics::mean;
use super::windows::Windows;
use crate::core::score::TargetKind;

/// The ridge penalty of the linear model as a share of the mean variance of its columns: large
/// enough to solve for columns that repeat each other, too small to matter otherwise.
const PENALTY: f64 = 1e-4;
/// Most columns of the linear model, which bounds its time and memory; of a longer window it sees
/// the newest rows.
const COLUMNS_MAX: usize = 600;

/// The simple forecasters, fitted.
#[derive(Clone, Debug)]
pub struct Baselines {
    kind: TargetKind,
    /// Mean of the truths, or of their changes where values drift.
    drift: f64,
    linear: LinearModel,
}

/// What they forecast for one part, in the target's unit and in the order of its examples. A
/// baseline that was not fitted has no forecasts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BaselineForecasts {
    /// Nothing changes.
    pub persistence: Vec<f64>,
    /// The mean of the training part goes on.
    pub drift: Vec<f64>,
    /// The linear model.
    pub linear: Vec<f64>,
}

impl Baselines {
    /// Fits them to the windows of the training part and what came true after each.
    pub fn fit(windows: &Windows, examples: &[Example], kind: TargetKind) -> Self {
        let truths: Vec<f64> = examples.iter().map(|example| example.truth).collect();
        let drift = match kind {
            TargetKind::Level => {
                let changes = examples.iter().map(|e| e.truth - e.persistence);
                mean(&changes.collect::<Vec<_>>())
            }
            TargetKind::Change
            | TargetKind::LogChange
            | TargetKind::Amount
            | TargetKind::Probability => mean(&truths),
        };
        Self { kind, drift, linear: LinearModel::fit(windows, &truths) }
    }

    /// Their forecasts for a part.
    pub fn forecast(&self, windows: &Windows, examples: &[Example]) -> BaselineForecasts {
        let persistence = || examples.iter().map(|example| example.persistence);
        let base = |last: f64| if self.kind == TargetKind::Level { last } else { 0.0 };
        let windows = (0..windows.len()).map(|at| windows.window(at));
        BaselineForecasts {
            persistence: persistence().collect(),
            drift: persistence().map(|last| base(last) + self.drift).collect(),
            linear: windows.map(|w| self.possible(self.linear.predict(w))).collect(),
        }
    }

    /// A line leaves the range of probabilities and sizes; its forecasts do not.
    fn possible(&self, value: f64) -> f64 {
        match self.kind {
            TargetKind::Probability => value.clamp(0.0, 1.0),
            TargetKind::Amount => value.max(0.0),
            TargetKind::Change | TargetKind::LogChange | TargetKind::Level => value,
        }
    }
}

/// Least squares on the flattened window, with an intercept and a small penalty on the weights
/// (Hoerl and Kennard, 1970, doi:10.1080/00401706.1970.10488634).
#[derive(Clone, Debug)]
struct LinearModel {
    /// Mean of the truths.
    centre: f64,
    /// Means of the columns.
    means: Vec<f64>,
    /// One for each of the newest columns.
    weights: Vec<f64>,
}

impl LinearModel {
    /// Solves the normal equations of the centred columns in double precision.
    fn fit(windows: &Windows, truths: &[f64]) -> Self {
        let rows = windows.steps().min((COLUMNS_MAX / windows.features()).max(1));
        let columns = rows * windows.features();
        let all = || (0..windows.len()).map(|at| newest(windows.window(at), columns));
        let count = windows.len().max(1) as f64;
        let mut means = vec![0.0; columns];
        for window in all() {
            for (mean, value) in means.iter_mut().zip(window) {
                *mean += f64::from(*value) / count;
            }
        }
        let centre = mean(truths);
        let mut gram = vec![0.0; columns * columns];
        let mut products = vec![0.0; columns];
        let mut centred = vec![0.0; columns];
        for (window, truth) in all().zip(truths) {
            for ((to, value), mean) in centred.iter_mut().zip(window).zip(&means) {
                *to = f64::from(*value) - mean;
            }
            for (at, value) in centred.iter().enumerate() {
                products[at] += value * (truth - centre);
                let row = &mut gram[at * columns..][..=at];
                row.iter_mut().zip(&centred).for_each(|(to, other)| *to += value * other);
            }
        }
        let diagonal = || (0..columns).map(|at| at * columns + at);
        let penalty = PENALTY * diagonal().map(|at| gram[at]).sum::<f64>() / columns as f64;
        diagonal().for_each(|at| gram[at] += penalty);
        let weights = solve(gram, products);
        Self { centre, means, weights }
    }

    fn predict(&self, window: &[f32]) -> f64 {
        let values = newest(window, self.weights.len()).iter().zip(&self.means);
        let terms = values.zip(&self.weights).map(|((x, mean), w)| (f64::from(*x) - mean) * w);
        self.centre + terms.sum::<f64>()
    }
}

/// The last `columns` values of a window, whose newest row is the last.
fn newest(window: &[f32], columns: usize) -> &[f32] {
    &window[window.len() - columns..]
}

/// Solves a symmetric positive definite system by Cholesky's decomposition; of the matrix, row by
/// row, only the lower triangle is read. Where it is not positive definite, which the penalty rules
/// out for any column that varies, the solution is zero.
fn solve(mut matrix: Vec<f64>, mut vector: Vec<f64>) -> Vec<f64> {
    let n = vector.len();
    for row in 0..n {
        for column in 0..=row {
            let (before, rest) = matrix.split_at_mut(row * n);
            let left = if column == row { &rest[..row] } else { &before[column * n..][..column] };
            let dot: f64 = left.iter().zip(&rest[..column]).map(|(a, b)| a * b).sum();
            let value = rest[column] - dot;
            if column < row {
                rest[column] = value / before[column * n + column];
            } else if value > 0.0 {
                rest[row] = value.sqrt();
            } else {
                return vec![0.0; n];
            }
        }
    }
    for row in 0..n {
        let (solved, rest) = vector.split_at_mut(row);
        let dot: f64 = matrix[row * n..][..row].iter().zip(solved).map(|(a, b)| a * *b).sum();
        rest[0] = (rest[0] - dot) / matrix[row * n + row];
    }
    for row in (0..n).rev() {
        vector[row] /= matrix[row * n + row];
        let value = vector[row];
        let factors = &matrix[row * n..][..row];
        vector[..row].iter_mut().zip(factors).for_each(|(to, factor)| *to -= factor * value);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::UnixNanos;
    use crate::core::random::{Purpose, Random};

    fn examples(truths: &[f64], lasts: &[f64]) -> Vec<Example> {
        let as_of = UnixNanos::from_nanos(0);
        let pairs = truths.iter().zip(lasts);
        let examples = pairs.map(|(&truth, &persistence)| Example {
            series: 0,
            step: 0,
            as_of,
            truth,
            persistence,
        });
        examples.collect()
    }

    /// Random windows of `steps` rows with two values.
    fn windows(count: usize, steps: usize) -> Windows {
        let mut random = Random::new(1, Purpose::Order);
        let mut windows = Windows::new(steps, 2, 1);
        let rows: Vec<f32> = (0..2 * (count + steps - 1)).map(|_| random.normal() as f32).collect();
        windows.push_rows(&rows);
        (0..count).for_each(|start| windows.push_window(start, &[0.0]));
        windows
    }

    /// By hand: [[4, 2], [2, 3]] x = [10, 9] has x = [1.5, 2].
    #[test]
    fn the_solution_has_its_hand_computed_value() {
        let solution = solve(vec![4.0, f64::NAN, 2.0, 3.0], vec![10.0, 9.0]);
        assert!((solution[0] - 1.5).abs() < 1e-14 && (solution[1] - 2.0).abs() < 1e-14);
        assert_eq!(solve(vec![0.0], vec![1.0]), [0.0], "not positive definite");
    }

    #[test]
    fn a_linear_truth_is_found() {
        let windows = windows(300, 3);
        let truth = |at: usize| {
            let window = windows.window(at);
            7.0 + 2.0 * f64::from(window[0]) - 3.0 * f64::from(window[5])
        };
        let truths: Vec<f64> = (0..300).map(truth).collect();
        let model = LinearModel::fit(&windows, &truths);
        for at in 0..300 {
            let forecast = model.predict(windows.window(at));
            assert!((forecast - truth(at)).abs() < 5e-3, "{forecast} is not {}", truth(at));
        }
    }

    #[test]
    fn a_long_window_is_seen_from_its_newest_row() {
        let windows = windows(50, 400);
        let truths: Vec<f64> = (0..50).map(|at| f64::from(windows.window(at)[799])).collect();
        let model = LinearModel::fit(&windows, &truths);
        assert_eq!(model.weights.len(), COLUMNS_MAX);
        assert!(model.weights.iter().all(|weight| weight.is_finite()));
        assert!((model.predict(windows.window(3)) - truths[3]).abs() < 0.1);
    }

    #[test]
    fn columns_that_never_change_have_no_weight() {
        let mut windows = Windows::new(1, 2, 1);
        windows.push_rows(&[1.0, 0.5, 1.0, 0.5]);
        (0..2).for_each(|start| windows.push_window(start, &[0.0]));
        let model = LinearModel::fit(&windows, &[4.0, 6.0]);
        assert_eq!(model.predict(windows.window(0)), 5.0);
    }

    #[test]
    fn each_kind_has_its_naive_forecasts() {
        let (truths, lasts) = ([3.0, 5.0, 7.0], [2.0, 3.0, 5.0]);
        let (seen, training) = (windows(3, 1), examples(&truths, &lasts));
        let (new, later) = (windows(1, 1), examples(&[f64::NAN], &[10.0]));
        let forecast = |kind| Baselines::fit(&seen, &training, kind).forecast(&new, &later);
        assert_eq!(forecast(TargetKind::Change).persistence, [10.0]);
        assert_eq!(forecast(TargetKind::Change).drift, [5.0]);
        assert_eq!(forecast(TargetKind::Level).drift, [10.0 + 5.0 / 3.0]);
        assert!((0.0..=1.0).contains(&forecast(TargetKind::Probability).linear[0]));
        let sinking = examples(&[-3.0, -5.0, -7.0], &lasts);
        let baselines = Baselines::fit(&seen, &sinking, TargetKind::Amount);
        assert_eq!(baselines.forecast(&new, &later).linear, [0.0]);
    }
}
