//! Shares of hits, such as that of the right directions.
//!
//! Owns the correction of Wilson's interval for hits that come together. Promises limits between
//! 0 and 1 that hold the share. Never divides by a count of zero.

use super::{Limits95, long_run_variance, sums_by_moment};

pub use crate::core::proportion::wilson;

/// A share of hits with its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Hits over tries.
    pub value: f64,
    /// Where the true share lies.
    pub limits: Limits95,
    /// Tries.
    pub count: usize,
}

/// The share of hits among tries, each at its moment; `None` without a try.
///
/// The interval is Wilson's (1927, doi:10.1080/01621459.1927.10502953). It supposes independent
/// tries; those that share a moment, or whose horizons overlap, are fewer than they look. So their
/// count is divided by the design effect, the variance of the share as it is over that of
/// independent tries (Kish, 1965, "Survey Sampling"), where that is above 1. Tries one step ahead
/// of one symbol have a design effect of exactly 1.
pub fn share(moments: &[i64], hits: &[bool], horizon: usize) -> Option<Share> {
    assert_eq!(moments.len(), hits.len(), "every try has a moment");
    if hits.is_empty() {
        return None;
    }
    let count = hits.len() as f64;
    let value = hits.iter().filter(|hit| **hit).count() as f64 / count;
    let deviations: Vec<f64> = hits.iter().map(|hit| f64::from(u8::from(*hit)) - value).collect();
    let sums = sums_by_moment(moments, &deviations);
    let variance = long_run_variance(&sums, horizon.saturating_sub(1)) * sums.len() as f64;
    let independent = count * value * (1.0 - value);
    let effect = if independent > 0.0 { (variance / independent).max(1.0) } else { 1.0 };
    Some(Share { value, limits: wilson(value, count / effect), count: hits.len() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, reference};
    use super::*;

    #[test]
    fn wilsons_interval_agrees_with_statsmodels() {
        let reference = reference();
        let cases = reference["wilson"].as_array().unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let number = |name: &str| case[name].as_f64().unwrap();
            let limits = wilson(number("hits") / number("count"), number("count"));
            assert_close(limits.low, number("low"));
            assert_close(limits.high, number("high"));
        }
    }

    #[test]
    fn independent_tries_count_fully() {
        let hits = [true, true, false, true];
        let share = share(&[1, 2, 3, 4], &hits, 1).unwrap();
        assert_eq!((share.value, share.count), (0.75, 4));
        assert_eq!(share.limits, wilson(0.75, 4.0));
        assert_eq!(super::share(&[], &[], 1), None);
    }

    /// By hand: four tries at two moments hit together or miss together, so they are as good as
    /// two: the sums are 1 and -1, their variance times their count 2, that of independent tries 1.
    #[test]
    fn tries_that_hit_together_count_once() {
        let share = share(&[1, 1, 2, 2], &[true, true, false, false], 1).unwrap();
        assert_eq!(share.limits, wilson(0.5, 2.0));
        let certain = super::share(&[1, 1], &[true, true], 1).unwrap();
        assert_eq!((certain.value, certain.limits), (1.0, wilson(1.0, 2.0)));
    }
}
