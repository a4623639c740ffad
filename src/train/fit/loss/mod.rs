//! What the fit makes small.
//!
//! Owns: the loss of a batch, its gradient, and which form of a network it reads.
//!
//! Promises: both are those of the mean over the whole batch, also when a thread sees only its
//! part: the caller says over how many values the mean goes. A value that is not a number gives a
//! loss that is none either.
//!
//! Never: is what a model is judged by; that is `evaluate`.

mod outputs;

use std::borrow::Cow;

pub use self::outputs::OutputLoss;
use crate::train::network::activation::sigmoid;
use crate::train::network::{Activation, Network};

/// Loss functions. `y [n]` are the network's values, `target [n]` the labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// mean((y - target)^2), whose minimum is the mean of what may come.
    MeanSquaredError,
    /// mean(|y - target|), whose minimum is the median of what may come.
    MeanAbsoluteError,
    /// mean(h(y - target)) with h(e) = e^2 / 2 for |e| at most this number d, which is above 0,
    /// and d (|e| - d / 2) beyond (Huber, 1964): its minimum lies between the mean and the median,
    /// and an error beyond d pulls as one of d does.
    Huber(f32),
    /// mean(-target ln y - (1 - target) ln(1 - y)) of a network that ends in a sigmoid. It is
    /// computed from the sums z before that sigmoid, `max(z, 0) - z target + ln(1 + e^-|z|)`: there
    /// a confident mistake is neither infinite nor without a gradient.
    BinaryCrossEntropy,
    /// mean(max(q e, (q - 1) e)) for e = target - y, the "pinball" loss, whose minimum is the
    /// quantile q, between 0 and 1, of what may come (Koenker and Bassett, 1978).
    Quantile(f32),
    /// Of quantiles or parameters of a distribution, for one horizon or several: the mean over
    /// windows of the sum over outputs.
    Outputs(OutputLoss),
}

impl Loss {
    /// The network whose values this loss reads: `network` itself, or the same without the sigmoid
    /// at its end. Both have the same parameters. `None` where there is no sigmoid to leave out.
    pub(crate) fn reads(self, network: &Network) -> Option<Cow<'_, Network>> {
        match self {
            Self::MeanSquaredError
            | Self::MeanAbsoluteError
            | Self::Huber(_)
            | Self::Quantile(_)
            | Self::Outputs(_) => Some(Cow::Borrowed(network)),
            Self::BinaryCrossEntropy => {
                let sigmoid = network.last_activation() == Activation::Sigmoid;
                sigmoid.then(|| Cow::Owned(network.with_last_activation(Activation::Linear)))
            }
        }
    }

    /// Share of these values in the mean over `count` values; writes their gradient.
    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^24 values")]
    pub(crate) fn gradient(
        self,
        values: &[f32],
        targets: &[f32],
        count: usize,
        gradient: &mut Vec<f32>,
    ) -> f64 {
        if let Self::Outputs(outputs) = self {
            return outputs.gradient(values, targets, self.items(count), gradient);
        }
        assert_eq!(values.len(), targets.len(), "one target for each value");
        let weight = 1.0 / count as f32;
        gradient.clear();
        let pairs = values.iter().zip(targets);
        match self {
            Self::MeanSquaredError => {
                gradient.extend(pairs.map(|(y, target)| 2.0 * weight * (y - target)));
            }
            Self::MeanAbsoluteError => {
                // 0 at the kink, as in Keras.
                let slope = |error: f32| if error == 0.0 { 0.0 } else { error.signum() };
                gradient.extend(pairs.map(|(y, target)| weight * slope(y - target)));
            }
            Self::Huber(delta) => {
                gradient
                    .extend(pairs.map(|(y, target)| weight * (y - target).clamp(-delta, delta)));
            }
            Self::BinaryCrossEntropy => {
                gradient.extend(pairs.map(|(&z, target)| weight * (sigmoid(z) - target)));
            }
            Self::Quantile(q) => {
                // At the kink any slope between the two is right; 1 - q is as good as another.
                let slope = |y: f32, target: f32| if target > y { -q } else { 1.0 - q };
                gradient.extend(pairs.map(|(&y, &target)| weight * slope(y, target)));
            }
            Self::Outputs(_) => {}
        }
        self.sum(values, targets) / count as f64
    }

    /// Sum of the losses of single values, in f64.
    pub(crate) fn sum(self, values: &[f32], targets: &[f32]) -> f64 {
        let wide = |(&y, &target): (&f32, &f32)| (f64::from(y), f64::from(target));
        let pairs = values.iter().zip(targets).map(wide);
        match self {
            Self::MeanSquaredError => pairs.map(|(y, target)| (y - target).powi(2)).sum(),
            Self::MeanAbsoluteError => pairs.map(|(y, target)| (y - target).abs()).sum(),
            Self::Huber(delta) => {
                let delta = f64::from(delta);
                let huber = |error: f64| {
                    // Unlike `min`, this keeps an error that is not a number.
                    let inner = if error > delta { delta } else { error };
                    inner * (error - 0.5 * inner)
                };
                pairs.map(|(y, target)| huber((y - target).abs())).sum()
            }
            Self::BinaryCrossEntropy => pairs
                .map(|(z, target)| {
                    // Unlike `max`, this keeps a z that is not a number.
                    let positive = if z < 0.0 { 0.0 } else { z };
                    positive - z * target + (-z.abs()).exp().ln_1p()
                })
                .sum(),
            Self::Quantile(q) => {
                let q = f64::from(q);
                pairs.map(|(y, target)| (target - y) * if target > y { q } else { q - 1.0 }).sum()
            }
            Self::Outputs(outputs) => outputs.sum(values, targets),
        }
    }

    /// Over how many items a mean goes, where the network gives so many values.
    pub(crate) fn items(self, values: usize) -> usize {
        match self {
            Self::Outputs(outputs) => values / outputs.columns(),
            _ => values,
        }
    }

    /// Sum of `|y - target|`, for people, in model units. `values` are those that the loss reads.
    pub(crate) fn absolute_error(self, values: &[f32], targets: &[f32]) -> f64 {
        if let Self::Outputs(outputs) = self {
            return outputs.absolute_error(values, targets);
        }
        let value = |y: f32| match self {
            Self::MeanSquaredError
            | Self::MeanAbsoluteError
            | Self::Huber(_)
            | Self::Quantile(_)
            | Self::Outputs(_) => y,
            Self::BinaryCrossEntropy => sigmoid(y),
        };
        let pairs = values.iter().zip(targets);
        pairs.map(|(&y, &target)| f64::from((value(y) - target).abs())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squared_error_of_a_part_of_the_batch() {
        let mut gradient = vec![9.0; 7];
        let loss = Loss::MeanSquaredError.gradient(&[1.0, -0.5], &[0.5, 0.5], 4, &mut gradient);
        assert_eq!(loss, (0.25 + 1.0) / 4.0);
        assert_eq!(gradient, [0.25, -0.5]);
    }

    #[test]
    fn cross_entropy_is_that_of_the_probability() {
        let (z, targets) = ([0.0, 2.0, -1.0_f32], [1.0, 0.0, 0.3_f32]);
        let expected: f64 = z
            .iter()
            .zip(&targets)
            .map(|(&z, &t)| {
                let (y, t) = (1.0 / (1.0 + (-f64::from(z)).exp()), f64::from(t));
                -t * y.ln() - (1.0 - t) * (1.0 - y).ln()
            })
            .sum();
        let loss = Loss::BinaryCrossEntropy.sum(&z, &targets);
        assert!((loss - expected).abs() < 1e-12, "{loss} is not {expected}");
    }

    #[test]
    fn a_confident_mistake_has_a_finite_loss_and_a_full_gradient() {
        let mut gradient = Vec::new();
        let loss = Loss::BinaryCrossEntropy.gradient(&[300.0], &[0.0], 1, &mut gradient);
        assert_eq!((loss, gradient[0]), (300.0, 1.0));
        let loss = Loss::BinaryCrossEntropy.gradient(&[-300.0], &[1.0], 1, &mut gradient);
        assert_eq!((loss, gradient[0]), (300.0, -1.0));
    }

    #[test]
    fn the_pinball_has_its_hand_computed_values() {
        let mut gradient = Vec::new();
        // Too low by 1 at 0.9, too high by 2 at 0.1.
        let loss = Loss::Quantile(0.9).gradient(&[1.0, 5.0], &[2.0, 3.0], 2, &mut gradient);
        assert!((loss - (0.9 + 0.2) / 2.0).abs() < 1e-7, "{loss}");
        assert!((gradient[0] + 0.45).abs() < 1e-7 && (gradient[1] - 0.05).abs() < 1e-7);
    }

    #[test]
    fn absolute_errors_pull_alike_and_huber_is_between() {
        let (values, targets) = ([1.0, 5.0, 2.0, -1.5], [2.0, 3.0, 2.0, -1.25]);
        let mut gradient = Vec::new();
        let loss = Loss::MeanAbsoluteError.gradient(&values, &targets, 4, &mut gradient);
        assert_eq!((loss, &gradient[..]), (3.25 / 4.0, &[-0.25, 0.25, 0.0, -0.25][..]));
        // 1 and 2 lie beyond a half: 0.5 (1 - 0.25) and 0.5 (2 - 0.25); 0.25 does not: 0.25^2 / 2.
        let loss = Loss::Huber(0.5).gradient(&values, &targets, 4, &mut gradient);
        let expected = (0.375 + 0.875 + 0.0 + 0.031_25) / 4.0;
        assert_eq!((loss, &gradient[..]), (expected, &[-0.125, 0.125, 0.0, -0.0625][..]));
    }

    #[test]
    fn nan_is_seen_by_every_loss() {
        for loss in [
            Loss::MeanSquaredError,
            Loss::MeanAbsoluteError,
            Loss::Huber(1.0),
            Loss::BinaryCrossEntropy,
            Loss::Quantile(0.3),
        ] {
            assert!(loss.sum(&[1.0, f32::NAN], &[0.5, 0.5]).is_nan(), "{loss:?}");
        }
        let mut gradient = Vec::new();
        for loss in [Loss::MeanSquaredError, Loss::MeanAbsoluteError, Loss::Huber(1.0)] {
            loss.gradient(&[f32::NAN], &[0.5], 1, &mut gradient);
            assert!(gradient[0].is_nan(), "{loss:?}");
        }
    }

    #[test]
    fn absolute_errors_are_those_of_the_networks_values() {
        let error = |loss: Loss| loss.absolute_error(&[0.0, 1.0], &[1.0, 1.0]);
        assert_eq!(error(Loss::MeanSquaredError), 1.0);
        let expected = 0.5 + 1.0 - f64::from(sigmoid(1.0));
        assert!((error(Loss::BinaryCrossEntropy) - expected).abs() < 1e-6);
    }
}
