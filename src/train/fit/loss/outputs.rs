//! The loss of a network that gives quantiles or the parameters of a distribution.
//!
//! Owns: pinball losses summed over levels, negative log likelihoods, and both summed over
//! horizons. Promises: the mean goes over windows, and the gradient is that of this mean. A value
//! that is not a number gives a loss that is none either.
//!
//! Never: knows units other than the model's.

use std::fmt;

use crate::core::domain::Quantiles;
use crate::core::forecast::OutputKind;
use crate::core::forecast::distribution::{FREEDOM_MAX, freedom, scale, softplus};
use crate::core::score::pinball;

/// What is made small of the columns of a network: for each horizon in turn those of one output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputLoss {
    kind: OutputKind,
    levels: Quantiles,
    horizons: usize,
}

impl OutputLoss {
    /// That of outputs of this kind, with these levels, for so many horizons.
    pub fn new(kind: OutputKind, levels: &[f64], horizons: usize) -> Self {
        Self { kind, levels: Quantiles::of(levels.iter().copied()), horizons: horizons.max(1) }
    }

    /// The columns of one horizon.
    fn width(&self) -> usize {
        self.kind.columns(self.levels.as_slice().len())
    }

    /// The columns of all horizons.
    pub(crate) fn columns(&self) -> usize {
        self.width() * self.horizons
    }

    /// The columns of each horizon of each window beside its label.
    fn pairs<'v>(
        &self,
        values: &'v [f32],
        targets: &'v [f32],
    ) -> impl Iterator<Item = (&'v [f32], f32)> + use<'v> {
        assert_eq!(values.len(), targets.len() * self.width(), "one label for each output");
        values.chunks_exact(self.width()).zip(targets.iter().copied())
    }

    /// Sum over windows and horizons, in f64.
    pub(crate) fn sum(&self, values: &[f32], targets: &[f32]) -> f64 {
        self.pairs(values, targets).map(|(columns, target)| self.of(columns, target)).sum()
    }

    /// Share of these values in the mean over `windows` windows; writes their gradient.
    #[expect(clippy::cast_possible_truncation, reason = "gradients are 32-bit floats")]
    pub(crate) fn gradient(
        &self,
        values: &[f32],
        targets: &[f32],
        windows: usize,
        gradient: &mut Vec<f32>,
    ) -> f64 {
        let weight = 1.0 / windows as f64;
        gradient.clear();
        let mut sum = 0.0;
        for (columns, target) in self.pairs(values, targets) {
            sum += self.of(columns, target);
            self.slopes(columns, target, |slope| gradient.push((weight * slope) as f32));
        }
        sum * weight
    }

    /// Sum of `|median - target|` over windows, the mean over horizons.
    pub(crate) fn absolute_error(&self, values: &[f32], targets: &[f32]) -> f64 {
        let levels = self.levels.as_slice();
        let median = self.kind.value_column(levels).unwrap_or_default();
        let errors = self.pairs(values, targets);
        let errors = errors.map(|(columns, target)| f64::from((columns[median] - target).abs()));
        errors.sum::<f64>() / self.horizons as f64
    }

    /// The loss of one output.
    fn of(&self, columns: &[f32], target: f32) -> f64 {
        let target = f64::from(target);
        let number = |at: usize| f64::from(columns[at]);
        match self.kind {
            OutputKind::Value => (number(0) - target).powi(2),
            OutputKind::Quantiles => {
                let levels = self.levels.as_slice().iter().zip(columns);
                levels.map(|(level, value)| pinball(*level, f64::from(*value), target)).sum()
            }
            OutputKind::Gaussian => {
                let deviation = scale(number(1));
                let distance = (target - number(0)) / deviation;
                libm::log(deviation) + 0.5 * distance * distance
            }
            OutputKind::StudentT => {
                let (scale, freedom) = (scale(number(1)), freedom(number(2)));
                let distance = (target - number(0)) / scale;
                let half = 0.5 * (freedom + 1.0);
                libm::lgamma(0.5 * freedom) - libm::lgamma(half)
                    + 0.5 * libm::log(freedom)
                    + libm::log(scale)
                    + half * libm::log1p(distance * distance / freedom)
            }
        }
    }

    /// Hands over the derivative of the loss of one output by each of its columns.
    fn slopes(&self, columns: &[f32], target: f32, mut push: impl FnMut(f64)) {
        let target = f64::from(target);
        let number = |at: usize| f64::from(columns[at]);
        match self.kind {
            OutputKind::Value => push(2.0 * (number(0) - target)),
            OutputKind::Quantiles => {
                for (level, value) in self.levels.as_slice().iter().zip(columns) {
                    // At the kink any slope between the two is right.
                    push(if target > f64::from(*value) { -level } else { 1.0 - level });
                }
            }
            OutputKind::Gaussian => {
                let deviation = scale(number(1));
                let distance = (target - number(0)) / deviation;
                push(-distance / deviation);
                push((1.0 - distance * distance) / deviation * softplus_slope(number(1)));
            }
            OutputKind::StudentT => {
                let (scale, freedom) = (scale(number(1)), freedom(number(2)));
                let distance = (target - number(0)) / scale;
                let square = distance * distance;
                // What is left of a step towards the target, however far away it is.
                let pull = (freedom + 1.0) / (freedom + square);
                push(-pull * distance / scale);
                push((1.0 - pull * square) / scale * softplus_slope(number(1)));
                let by_freedom = 0.5
                    * (digamma(0.5 * freedom) - digamma(0.5 * (freedom + 1.0))
                        + 1.0 / freedom
                        + libm::log1p(square / freedom)
                        - pull * square / freedom);
                let slope = if freedom < FREEDOM_MAX { softplus_slope(number(2)) } else { 0.0 };
                push(by_freedom * slope);
            }
        }
    }
}

impl fmt::Display for OutputLoss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            OutputKind::Value => "squared error",
            OutputKind::Quantiles => "pinball losses of the quantiles",
            OutputKind::Gaussian => "negative log likelihood of a normal distribution",
            OutputKind::StudentT => "negative log likelihood of a Student t distribution",
        })?;
        let horizons = self.horizons;
        if horizons > 1 { write!(formatter, ", summed over {horizons} horizons") } else { Ok(()) }
    }
}

/// The derivative of [`softplus`], without overflow.
fn softplus_slope(x: f64) -> f64 {
    libm::exp(x - softplus(x))
}

/// The derivative of the logarithm of the gamma function, for arguments from 1 on: the recurrence
/// up to 8, and the asymptotic series behind it (DLMF 5.11.2, <https://dlmf.nist.gov/5.11>).
fn digamma(argument: f64) -> f64 {
    let (mut x, mut below) = (argument, 0.0);
    while x < 8.0 {
        below += 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series =
        square * (1.0 / 12.0 - square * (1.0 / 120.0 - square * (1.0 / 252.0 - square / 240.0)));
    libm::log(x) - 0.5 / x - series - below
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];

    fn losses() -> [OutputLoss; 3] {
        [OutputKind::Quantiles, OutputKind::Gaussian, OutputKind::StudentT]
            .map(|kind| OutputLoss::new(kind, &LEVELS, 2))
    }

    #[test]
    fn digamma_agrees_with_scipy() {
        for (argument, should) in [
            (1.0, -0.577_215_664_901_532_9),
            (1.5, 0.036_489_973_978_576_52),
            (10.0, 2.251_752_589_066_721),
        ] {
            assert!((digamma(argument) - should).abs() < 1e-9, "{argument}: {}", digamma(argument));
        }
    }

    #[test]
    fn pinballs_are_summed_over_levels_and_horizons_and_averaged_over_windows() {
        let loss = OutputLoss::new(OutputKind::Quantiles, &LEVELS, 2);
        assert_eq!(loss.columns(), 6);
        // One window: the first horizon is 1 above all quantiles, the second 2 below them.
        let (values, targets) = ([0.0, 0.0, 0.0, 3.0, 3.0, 3.0], [1.0, 1.0]);
        let mut gradient = Vec::new();
        let mean = loss.gradient(&values, &targets, 2, &mut gradient);
        let above = 0.05 + 0.5 + 0.95;
        let below = 2.0 * (0.95 + 0.5 + 0.05);
        assert!((mean - (above + below) / 2.0).abs() < 1e-12, "{mean}");
        assert!((loss.sum(&values, &targets) - (above + below)).abs() < 1e-12);
        let expected = [-0.05, -0.5, -0.95, 0.95, 0.5, 0.05].map(|slope: f32| slope / 2.0);
        gradient.iter().zip(expected).for_each(|(is, should)| {
            assert!((is - should).abs() < 1e-7, "{is} is not {should}");
        });
        assert_eq!(loss.absolute_error(&values, &targets), (1.0 + 2.0) / 2.0);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for loss in losses() {
            let width = loss.columns();
            let values: Vec<f32> =
                (0..3 * width).map(|at| ((at * 7 % 11) as f32 - 5.0) / 8.0).collect();
            let targets = [0.3_f32, -0.2, 0.9, 0.1, -0.7, 0.45];
            let mut gradient = Vec::new();
            loss.gradient(&values, &targets, 3, &mut gradient);
            for at in 0..values.len() {
                let moved = |by: f32| {
                    let mut values = values.clone();
                    values[at] += by;
                    (loss.sum(&values, &targets) / 3.0, f64::from(values[at]))
                };
                let ((above, high), (below, low)) = (moved(1e-3), moved(-1e-3));
                let slope = (above - below) / (high - low);
                let is = f64::from(gradient[at]);
                assert!(
                    (is - slope).abs() < 1e-4 * slope.abs().max(1.0),
                    "{loss:?}: {is}, {slope}"
                );
            }
        }
    }

    #[test]
    fn the_likelihood_is_smallest_at_the_deviation_of_what_comes() {
        let loss = OutputLoss::new(OutputKind::Gaussian, &LEVELS, 1);
        let at = |number: f32| {
            let values = [0.0, number].repeat(2);
            loss.sum(&values, &[-0.5, 0.5])
        };
        // softplus(x) = 0.5 at ln(e^0.5 - 1).
        let best = (0.5_f64.exp() - 1.0).ln() as f32;
        assert!(at(best) < at(best - 0.1) && at(best) < at(best + 0.1));
    }

    #[test]
    fn what_is_no_number_is_seen() {
        for loss in losses() {
            let mut values = vec![0.5; loss.columns()];
            values[0] = f32::NAN;
            assert!(loss.sum(&values, &[0.5, 0.5]).is_nan(), "{loss:?}");
        }
    }
}
