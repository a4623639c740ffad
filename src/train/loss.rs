//! What the fit makes small.
//!
//! Owns: the loss of a batch and its gradient.
//!
//! Promises: both are those of the mean over the whole batch, also when a thread sees only its
//! part: the caller says over how many values the mean goes.
//!
//! Never: is what a model is judged by; that is `evaluate`.

/// Loss functions. `y [n]` are the network's values, `target [n]` the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// mean((y - target)^2)
    MeanSquaredError,
}

impl Loss {
    /// Share of these values in the mean over `count` values; writes their gradient.
    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^24 values")]
    pub(crate) fn gradient(
        self,
        values: &[f32],
        targets: &[f32],
        count: usize,
        gradient: &mut Vec<f32>,
    ) -> f64 {
        assert_eq!(values.len(), targets.len(), "one target for each value");
        let weight = 1.0 / count as f32;
        gradient.clear();
        match self {
            Self::MeanSquaredError => {
                let pairs = values.iter().zip(targets);
                gradient.extend(pairs.map(|(y, target)| 2.0 * weight * (y - target)));
            }
        }
        self.sum(values, targets) / count as f64
    }

    /// Sum of the losses of single values, in f64.
    pub(crate) fn sum(self, values: &[f32], targets: &[f32]) -> f64 {
        let pairs = values.iter().zip(targets);
        match self {
            Self::MeanSquaredError => {
                pairs.map(|(&y, &target)| (f64::from(y) - f64::from(target)).powi(2)).sum()
            }
        }
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
}
