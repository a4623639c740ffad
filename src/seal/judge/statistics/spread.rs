//! A figure over repeated runs: other seeds, other stretches of time.
//!
//! Owns mean and standard deviation. Never calls the deviation an error of the mean: runs on
//! overlapping data are not independent.

use super::mean;

/// Mean and spread of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of a sample (divided by n - 1); zero for a single run.
    pub deviation: f64,
}

impl Spread {
    /// Over these runs; `None` without one.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let centre = mean(values);
        let squares: f64 = values.iter().map(|value| (value - centre) * (value - centre)).sum();
        let deviation = (squares / (values.len() - 1).max(1) as f64).sqrt();
        Some(Self { mean: centre, deviation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(Spread::of(&[1.0, 3.0]), Some(Spread { mean: 2.0, deviation: 2.0_f64.sqrt() }));
        assert_eq!(Spread::of(&[5.0]), Some(Spread { mean: 5.0, deviation: 0.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
