//! Statistics of forecasts: how large the errors are, and what chance would make of them.
//!
//! Owns the measures that an evaluation is made of, over plain series of forecasts, truths and
//! losses, so that they serve every target: errors (here), [`comparison`] of two forecasters,
//! [`proportion`] of hits, [`probability`] forecasts and their calibration, and the [`spread`] over
//! repeated runs. Signals are judged by [`Detection`](crate::core::signal::Detection), as live.
//! `student` is the distribution that they share.
//!
//! Promises: pure functions; the same series give the same bits. Every result is finite for finite
//! input, however short, constant or perfect the series. What cannot be told from the data is
//! `None`, or a test that finds nothing (`p = 1`), never a number that looks like knowledge.
//!
//! Never: knows what a target is, which part is the test part, or rounds.

pub mod comparison;
pub mod probability;
pub mod proportion;
pub mod spread;
mod student;

use std::collections::BTreeMap;

use crate::core::forecast::{Margins, Possible};
use crate::core::score::error;

pub use crate::core::proportion::Limits95;

/// The mean; zero for no values.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// `(truth - forecast)²` of each forecast, in squares of the target's unit. For probabilities of an
/// event (truth 0 or 1) the mean of these is the Brier score.
pub fn squared_losses(forecasts: &[f64], truths: &[f64]) -> Vec<f64> {
    errors(forecasts, truths).map(|error| error * error).collect()
}

/// Mean of `|truth - forecast|`, in the target's unit.
pub fn mean_absolute_error(forecasts: &[f64], truths: &[f64]) -> f64 {
    mean(&errors(forecasts, truths).map(f64::abs).collect::<Vec<_>>())
}

/// Root of the mean of `(truth - forecast)²`, in the target's unit.
pub fn root_mean_squared_error(forecasts: &[f64], truths: &[f64]) -> f64 {
    mean(&squared_losses(forecasts, truths)).sqrt()
}

/// The share of truths inside the intervals of their forecasts, ends included. A forecast that
/// cannot come true has no interval and is not published, so it does not count.
pub fn interval_coverage(
    forecasts: &[f64],
    truths: &[f64],
    margins: Margins,
    possible: Possible,
) -> f64 {
    let pairs = forecasts.iter().zip(truths);
    let held = |(forecast, truth): (&f64, &f64)| {
        let limits = possible.interval(*forecast, margins)?;
        Some(f64::from(u8::from(limits.hold(*truth))))
    };
    mean(&pairs.filter_map(held).collect::<Vec<_>>())
}

/// The sums of what shares a moment, in order of time.
///
/// Forecasts of several symbols at one moment err together, because markets move together. Summed
/// into one observation for each moment they cannot pass for independent evidence (Driscoll and
/// Kraay, 1998, doi:10.1162/003465398557825).
pub fn sums_by_moment(moments: &[i64], values: &[f64]) -> Vec<f64> {
    let mut sums = BTreeMap::new();
    for (moment, value) in moments.iter().zip(values) {
        *sums.entry(*moment).or_insert(0.0) += value;
    }
    sums.into_values().collect()
}

/// `truth - forecast` of each forecast.
fn errors<'s>(forecasts: &'s [f64], truths: &'s [f64]) -> impl Iterator<Item = f64> + 's {
    assert_eq!(forecasts.len(), truths.len(), "every forecast has one truth");
    forecasts.iter().zip(truths).map(|(forecast, truth)| error(*forecast, *truth))
}

/// The variance of `values` times their count, as it acts on their mean in the long run: weights
/// that fall linearly with the lag keep it positive (Newey and West, 1987, doi:10.2307/1913610).
fn long_run_variance(values: &[f64], lags: usize) -> f64 {
    let (centre, count) = (mean(values), values.len() as f64);
    let covariance = |lag: usize| -> f64 {
        let later = values.iter().skip(lag);
        values.iter().zip(later).map(|(a, b)| (a - centre) * (b - centre)).sum::<f64>() / count
    };
    if values.is_empty() {
        return 0.0;
    }
    let lags = lags.min(values.len() - 1);
    let weight = |lag: usize| 1.0 - lag as f64 / (lags + 1) as f64;
    let tail: f64 = (1..=lags).map(|lag| 2.0 * weight(lag) * covariance(lag)).sum();
    (covariance(0) + tail).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::forecast::Target;

    /// What SciPy and statsmodels say; `tests/reference/statistics.py` made it.
    pub(super) fn reference() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/statistics.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    pub(super) fn numbers(value: &serde_json::Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    #[track_caller]
    pub(super) fn assert_close(is: f64, should: f64) {
        assert!((is - should).abs() <= 1e-10 * should.abs().max(1.0), "{is} is not {should}");
    }

    #[test]
    fn errors_have_their_hand_computed_values() {
        let (forecasts, truths) = ([0.1, -0.1, 0.2, 0.1], [0.2, 0.1, 0.0, 0.1]);
        assert_close(mean_absolute_error(&forecasts, &truths), 0.125);
        assert_close(root_mean_squared_error(&forecasts, &truths), (0.09_f64 / 4.0).sqrt());
        let coverage = |forecasts: &[f64], truths: &[f64], half_width: f64| {
            let margins = Margins { lower: -half_width, upper: half_width };
            interval_coverage(forecasts, truths, margins, Target::NextReturn.possible())
        };
        assert_close(coverage(&forecasts, &truths, 0.15), 0.5);
        assert_close(coverage(&[1.0], &[1.5], 0.5), 1.0);
        assert_close(coverage(&[0.0, -1.5], &[9.0, -1.0], 1.0), 0.0);
        assert_close(coverage(&[0.0, -1.5], &[0.5, -1.0], 1.0), 1.0);
        assert_eq!(root_mean_squared_error(&[], &[]), 0.0);
    }

    #[test]
    fn what_shares_a_moment_is_one_observation_in_order_of_time() {
        let sums = sums_by_moment(&[5, 9, 5, -2], &[1.0, 2.0, 4.0, 8.0]);
        assert_eq!(sums, [8.0, 5.0, 2.0]);
    }

    /// By hand: 1, 2, 4 have mean 7/3 and deviations -4/3, -1/3, 5/3; covariances (16 + 1 + 25)/27
    /// and (4 - 5)/27, the latter with weight 1/2 and twice.
    #[test]
    fn the_long_run_variance_has_its_hand_computed_value() {
        let values = [1.0, 2.0, 4.0];
        assert_close(long_run_variance(&values, 0), 42.0 / 27.0);
        assert_close(long_run_variance(&values, 1), 41.0 / 27.0);
        assert_eq!(long_run_variance(&[], 3), 0.0);
        assert_eq!(long_run_variance(&[3.0], 3), 0.0);
    }
}
