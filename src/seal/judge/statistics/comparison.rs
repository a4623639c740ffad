//! Two forecasters on the same truths: is one better, by how much, and could that be chance?
//!
//! Owns the test of Diebold and Mariano and the skill with its interval. Both take one loss for
//! each moment, evenly spaced in time, of forecasts `horizon` steps ahead; where several symbols
//! share a moment, [`super::sums_by_moment`] comes first.
//!
//! Promises a test that rejects 5 % of comparisons where there is nothing to find. Never chooses a
//! side: the p-value is two-sided.

use super::student::{quantile_95, two_sided_p};
use super::{Limits95, long_run_variance, mean};

/// The outcome of a test of equal accuracy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Positive where the model is better; about Student's t where neither is.
    pub statistic: f64,
    /// The probability of a statistic at least as far from zero where neither is better.
    pub p_value: f64,
}

/// How much smaller the model's losses are, as a share of the baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skill {
    /// `1 - mean loss of the model / mean loss of the baseline`: 1 is perfect, 0 is no better.
    pub value: f64,
    /// Where the true skill lies.
    pub limits: Limits95,
}

/// The skill against a baseline that makes no error while the model does; minus infinity, which
/// JSON cannot hold.
pub const SKILL_MIN: f64 = -1e6;

/// Tests whether two series of losses have the same mean (Diebold and Mariano, 1995,
/// doi:10.1080/07350015.1995.10524599), in the form for short series of Harvey, Leybourne and
/// Newbold (1997, doi:10.1016/S0169-2070(96)00719-4): their factor on the statistic, and Student's
/// t with one degree of freedom less than there are moments.
///
/// Errors `horizon` steps ahead overlap and so are correlated up to a lag of `horizon - 1`; the
/// variance of the mean takes that in with the weights of Newey and West, which keep it positive.
/// Where the losses do not differ, or always by the same, or the series is no longer than the
/// horizon, nothing can be told: `p = 1`.
pub fn diebold_mariano(model: &[f64], baseline: &[f64], horizon: usize) -> Comparison {
    const UNDECIDED: Comparison = Comparison { statistic: 0.0, p_value: 1.0 };
    let gains = pairs(model, baseline).map(|(model, baseline)| baseline - model);
    let gains: Vec<f64> = gains.collect();
    let (count, horizon) = (gains.len() as f64, horizon.max(1));
    if gains.len() <= horizon {
        return UNDECIDED;
    }
    let variance = long_run_variance(&gains, horizon - 1) / count;
    // Positive for every horizon shorter than the series.
    let horizon = horizon as f64;
    let factor = (count + 1.0 - 2.0 * horizon + horizon * (horizon - 1.0) / count) / count;
    // Rounding leaves a variance of this order where every gain is the same.
    let noise = 1e-24 * mean(&gains.iter().map(|gain| gain * gain).collect::<Vec<_>>());
    if variance <= noise {
        return UNDECIDED;
    }
    let statistic = factor.sqrt() * mean(&gains) / variance.sqrt();
    Comparison { statistic, p_value: two_sided_p(statistic, count - 1.0) }
}

/// The skill and its 95 % interval.
///
/// The interval is that of the logarithm of the ratio of the mean losses, whose variance follows
/// from the losses by the delta method: `ln(m/b)` moves by `model/m - baseline/b`, so that series'
/// long-run variance is the one wanted. On that scale the limits stay below a skill of 1. The
/// variance takes in lags up to `max(horizon - 1, 4 (n/100)^(2/9))` (Newey and West, 1994,
/// doi:10.2307/2297912): losses come in clusters, as volatility does, where one forecaster *is*
/// better. A seeded block bootstrap would do as well; this needs no draws and no choice of block.
pub fn skill(model: &[f64], baseline: &[f64], horizon: usize) -> Skill {
    let (model_mean, baseline_mean) = (mean(model), mean(baseline));
    let certain = |value| Skill { value, limits: Limits95 { low: value, high: value } };
    if baseline_mean <= 0.0 {
        return certain(if model_mean <= 0.0 { 0.0 } else { SKILL_MIN });
    }
    let ratio = model_mean / baseline_mean;
    if ratio <= 0.0 || model.len() < 2 {
        return certain((1.0 - ratio).max(SKILL_MIN));
    }
    let moves = pairs(model, baseline)
        .map(|(model, baseline)| model / model_mean - baseline / baseline_mean);
    let moves: Vec<f64> = moves.collect();
    let count = moves.len() as f64;
    let clusters = (4.0 * (count / 100.0).powf(2.0 / 9.0)) as usize;
    let lags = clusters.max(horizon.saturating_sub(1));
    let deviation = (long_run_variance(&moves, lags) / count).sqrt();
    let half = quantile_95(count - 1.0) * deviation;
    let at = |exponent: f64| (1.0 - ratio * exponent.exp()).max(SKILL_MIN);
    Skill { value: at(0.0), limits: Limits95 { low: at(half), high: at(-half) } }
}

fn pairs<'s>(model: &'s [f64], baseline: &'s [f64]) -> impl Iterator<Item = (f64, f64)> + 's {
    assert_eq!(model.len(), baseline.len(), "both forecasters have one loss for each moment");
    model.iter().copied().zip(baseline.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, numbers, reference};
    use super::*;
    use crate::core::random::{Purpose, Random};

    /// By hand: gains 1, 0, 1, 2 have mean 1 and variance 0.5, so sqrt(4) / sqrt(0.5) = 2.828,
    /// times sqrt((4 + 1 - 2) / 4). With one lag the covariance is
    /// (0 * -1 + -1 * 0 + 0 * 1) / 4 = 0, and the factor is sqrt((4 + 1 - 4 + 0.5) / 4).
    #[test]
    fn the_statistic_has_its_hand_computed_value() {
        let (model, baseline) = ([0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 2.0]);
        let one = diebold_mariano(&model, &baseline, 1);
        assert_close(one.statistic, 8.0_f64.sqrt() * 0.75_f64.sqrt());
        let two = diebold_mariano(&model, &baseline, 2);
        assert_close(two.statistic, 8.0_f64.sqrt() * 0.375_f64.sqrt());
        let other_way = diebold_mariano(&baseline, &model, 1);
        assert_eq!((other_way.statistic, other_way.p_value), (-one.statistic, one.p_value));
    }

    #[test]
    fn test_and_skill_agree_with_statsmodels() {
        let reference = reference();
        let cases = reference["comparison"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let (model, baseline) = (numbers(&case["model"]), numbers(&case["baseline"]));
            let horizon = case["horizon"].as_u64().unwrap() as usize;
            let is = diebold_mariano(&model, &baseline, horizon);
            assert_close(is.statistic, case["statistic"].as_f64().unwrap());
            assert_close(is.p_value, case["p_value"].as_f64().unwrap());
            let is = skill(&model, &baseline, horizon);
            assert_close(is.value, case["skill"].as_f64().unwrap());
            assert_close(is.limits.low, case["skill_low"].as_f64().unwrap());
            assert_close(is.limits.high, case["skill_high"].as_f64().unwrap());
        }
    }

    #[test]
    fn nothing_is_told_where_nothing_can_be() {
        for (model, baseline) in [
            (&[][..], &[][..]),
            (&[1.0], &[2.0]),
            (&[1.0, 2.0], &[1.0, 2.0]),
            (&[0.1, 0.2, 0.3, 0.7], &[0.2, 0.3, 0.4, 0.8]),
        ] {
            let is = diebold_mariano(model, baseline, 1);
            assert_eq!((is.statistic, is.p_value), (0.0, 1.0), "{model:?}");
        }
        assert_eq!(diebold_mariano(&[1.0, 2.0, 3.0], &[2.0, 2.0, 1.0], 9).p_value, 1.0);
        assert_eq!(skill(&[1.0], &[0.0], 1).value, SKILL_MIN);
        assert_eq!(skill(&[0.0], &[0.0], 1).value, 0.0);
        assert_eq!(skill(&[0.0, 0.0], &[1.0, 2.0], 1).limits.low, 1.0);
        let same = skill(&[1.0, 2.0], &[1.0, 2.0], 1);
        assert_eq!((same.value, same.limits.low, same.limits.high), (0.0, 0.0, 0.0));
    }

    /// Losses of two forecasters that are equally good, overlapping over `horizon` steps.
    fn equals(random: &mut Random, count: usize, horizon: usize) -> [Vec<f64>; 2] {
        [(); 2].map(|()| {
            let noise: Vec<f64> = (0..count + horizon).map(|_| random.normal()).collect();
            let error = |at: usize| noise[at..at + horizon].iter().sum::<f64>();
            (0..count).map(|at| error(at) * error(at)).collect()
        })
    }

    #[test]
    fn chance_passes_for_knowledge_as_rarely_as_it_says() {
        const RUNS: usize = 1000;
        let mut random = Random::new(5, Purpose::Order);
        for (horizon, most) in [(1, 0.05), (4, 0.08)] {
            let mut claims = 0;
            for _ in 0..RUNS {
                let [model, baseline] = equals(&mut random, 200, horizon);
                claims += usize::from(diebold_mariano(&model, &baseline, horizon).p_value < 0.05);
            }
            // Four standard errors of a share of 1,000; falling weights let a little more through.
            let share = claims as f64 / RUNS as f64;
            assert!(share > 0.02 && share < most + 0.028, "{share} at horizon {horizon}");
        }
    }

    #[test]
    fn the_interval_holds_the_true_skill_as_often_as_it_says() {
        const RUNS: usize = 1000;
        let mut random = Random::new(6, Purpose::Order);
        let mut held = 0;
        for _ in 0..RUNS {
            // Truths are knowledge plus noise, so the true skill of the knowledge is 1/2.
            let (mut model, mut baseline) = (Vec::new(), Vec::new());
            for _ in 0..300 {
                let (known, unknown) = (random.normal(), random.normal());
                model.push(unknown * unknown);
                baseline.push((known + unknown) * (known + unknown));
            }
            let Limits95 { low, high } = skill(&model, &baseline, 1).limits;
            held += usize::from((low..=high).contains(&0.5));
        }
        let share = held as f64 / RUNS as f64;
        assert!((share - 0.95).abs() < 0.028, "{share}");
    }
}
