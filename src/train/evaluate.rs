//! How good the forecasts are, without flattery.
//!
//! Owns the figures that a manifest carries: errors of the model beside those of "no change",
//! skill, direction, the width of the interval and whether it holds; and the verdict in a sentence.
//!
//! Promises: figures are in the target's unit and made of the values that the daemon would publish.
//! The verdict claims an advantage only where it is larger than chance makes it (Diebold and
//! Mariano, 1995, for squared errors), and says so when there is none.
//!
//! Never: sees which part is the test part, or chooses among results.

use crate::domain::UnixNanos;
use crate::forecast::Interval;
use crate::model::manifest::Evaluation;

/// Forecasts of one part and what came true, in the target's unit and in the order of the examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcomes {
    /// The model's values.
    pub values: Vec<f64>,
    /// What came true.
    pub truths: Vec<f64>,
    /// `as_of` of each.
    pub times: Vec<UnixNanos>,
}

/// Two-sided limits of 95 % of a normal distribution.
const NORMAL_95: f64 = 1.96;

/// The narrowest interval `value ± q` that holds `coverage` of future truths, if they behave as
/// these outcomes do: q is the absolute residual of rank ceil((n + 1) coverage), the quantile of
/// split-conformal prediction (Vovk et al., 2005). With too few outcomes for that rank, the
/// largest one.
pub fn interval(outcomes: &Outcomes, coverage: f64) -> Interval {
    let pairs = outcomes.values.iter().zip(&outcomes.truths);
    let mut residuals: Vec<f64> = pairs.map(|(value, truth)| (truth - value).abs()).collect();
    residuals.sort_unstable_by(f64::total_cmp);
    let rank = ((residuals.len() + 1) as f64 * coverage).ceil() as usize;
    let quantile = residuals.get(rank.saturating_sub(1)).or(residuals.last());
    let width = quantile.copied().unwrap_or(0.0);
    Interval { coverage, lower: -width, upper: width }
}

/// The figures of one part, which is called `part`.
pub fn evaluate(part: &str, outcomes: &Outcomes, interval: Interval) -> Evaluation {
    let pairs = || outcomes.values.iter().copied().zip(outcomes.truths.iter().copied());
    let count = outcomes.values.len();
    let mean = |sum: f64| sum / count as f64;
    let squares = |errors: &mut dyn Iterator<Item = f64>| mean(errors.map(|e| e * e).sum());
    let absolutes = |errors: &mut dyn Iterator<Item = f64>| mean(errors.map(f64::abs).sum());
    let mut errors = pairs().map(|(value, truth)| truth - value);
    // "No change" forecasts zero, so its error is the truth itself.
    let mut changes = pairs().map(|(_, truth)| truth);
    let squared_error = squares(&mut errors.clone());
    let persistence_squared_error = squares(&mut changes.clone());
    let held = pairs()
        .filter(|(value, truth)| (value + interval.lower..=value + interval.upper).contains(truth));
    let epoch = UnixNanos::from_nanos(0);
    Evaluation {
        part: part.to_owned(),
        from: outcomes.times.iter().min().copied().unwrap_or(epoch),
        to: outcomes.times.iter().max().copied().unwrap_or(epoch),
        forecasts: u32::try_from(count).unwrap_or(u32::MAX),
        mean_absolute_error: absolutes(&mut errors),
        root_mean_squared_error: squared_error.sqrt(),
        persistence_mean_absolute_error: absolutes(&mut changes),
        persistence_root_mean_squared_error: persistence_squared_error.sqrt(),
        skill: 1.0 - squared_error / persistence_squared_error,
        directional_accuracy: direction(outcomes).share(),
        interval_coverage: mean(held.count() as f64),
    }
}

/// The test part in one sentence.
pub fn verdict(
    test: &Evaluation,
    outcomes: &Outcomes,
    horizon_steps: usize,
    coverage: f64,
) -> String {
    let advantage = advantage(outcomes, horizon_steps);
    let claim = if advantage > NORMAL_95 {
        "beats"
    } else if advantage < -NORMAL_95 {
        "is worse than"
    } else {
        "does not beat"
    };
    let direction = direction(outcomes);
    let (low, high) = direction.interval_95();
    let chance = if low > 0.5 {
        "better than a coin"
    } else if high < 0.5 {
        "worse than a coin"
    } else {
        "no better than a coin"
    };
    format!(
        "On {} untouched forecasts the model {claim} \"no change\" (skill {:+.4}, Diebold-Mariano \
         {advantage:+.2}), gets the direction right in {:.1} % ({:.1} to {:.1} %, {chance}), and \
         its {:.0} % interval holds {:.1} %.",
        test.forecasts,
        test.skill,
        100.0 * test.directional_accuracy,
        100.0 * low,
        100.0 * high,
        100.0 * coverage,
        100.0 * test.interval_coverage,
    )
}

/// The statistic of Diebold and Mariano for the squared errors of "no change" less those of the
/// model: about normal with deviation 1 where neither is better, positive where the model is.
/// Forecasts `horizon_steps` ahead overlap, so their errors are correlated up to one step less.
fn advantage(outcomes: &Outcomes, horizon_steps: usize) -> f64 {
    let pairs = outcomes.values.iter().zip(&outcomes.truths);
    let gains: Vec<f64> =
        pairs.map(|(value, truth)| truth * truth - (truth - value) * (truth - value)).collect();
    let count = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / count;
    let covariance = |lag: usize| -> f64 {
        let later = gains.iter().skip(lag);
        gains.iter().zip(later).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / count
    };
    let lags = horizon_steps.saturating_sub(1).min(gains.len().saturating_sub(1));
    // Weights that fall with the lag keep the variance positive (Newey and West, 1987).
    let weight = |lag: usize| 1.0 - lag as f64 / (lags + 1) as f64;
    let tail: f64 = (1..=lags).map(|lag| 2.0 * weight(lag) * covariance(lag)).sum();
    let deviation = ((covariance(0) + tail) / count).sqrt();
    if deviation > 0.0 { mean / deviation } else { 0.0 }
}

/// How often the sign is right, among the truths that have one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Direction {
    right: usize,
    count: usize,
}

fn direction(outcomes: &Outcomes) -> Direction {
    let pairs = outcomes.values.iter().zip(&outcomes.truths);
    let moves = pairs.filter(|(_, truth)| **truth != 0.0);
    let right = moves.clone().filter(|(value, truth)| *value * *truth > 0.0).count();
    Direction { right, count: moves.count() }
}

impl Direction {
    /// Zero where nothing moved.
    fn share(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.right as f64 / self.count as f64 }
    }

    /// Where the true share lies with 95 % (Wilson, 1927).
    fn interval_95(self) -> (f64, f64) {
        if self.count == 0 {
            return (0.0, 1.0);
        }
        let count = self.count as f64;
        let square = NORMAL_95 * NORMAL_95;
        let centre = (self.share() + square / (2.0 * count)) / (1.0 + square / count);
        let spread = self.share() * (1.0 - self.share()) / count;
        let half =
            NORMAL_95 * (spread + square / (4.0 * count * count)).sqrt() / (1.0 + square / count);
        (centre - half, centre + half)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Purpose, Random};
    use super::*;

    fn outcomes(values: &[f64], truths: &[f64]) -> Outcomes {
        let times = (0..values.len()).map(|at| UnixNanos::from_nanos(at as i64)).collect();
        Outcomes { values: values.to_vec(), truths: truths.to_vec(), times }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn figures_have_their_hand_computed_values() {
        let outcomes = outcomes(&[0.1, -0.1, 0.2, 0.1], &[0.2, 0.1, 0.0, 0.1]);
        let interval = Interval { coverage: 0.5, lower: -0.15, upper: 0.15 };
        let figures = evaluate("test", &outcomes, interval);
        assert_eq!((figures.part.as_str(), figures.forecasts), ("test", 4));
        // Errors 0.1, 0.2, -0.2, 0; truths 0.2, 0.1, 0, 0.1.
        close(figures.mean_absolute_error, 0.125);
        close(figures.root_mean_squared_error, (0.09_f64 / 4.0).sqrt());
        close(figures.persistence_mean_absolute_error, 0.1);
        close(figures.persistence_root_mean_squared_error, (0.06_f64 / 4.0).sqrt());
        close(figures.skill, 1.0 - 0.09 / 0.06);
        // The third truth has no direction.
        close(figures.directional_accuracy, 2.0 / 3.0);
        close(figures.interval_coverage, 0.5);
        assert_eq!((figures.from.as_nanos(), figures.to.as_nanos()), (0, 3));
    }

    #[test]
    fn the_interval_is_the_conformal_quantile() {
        let truths: Vec<f64> =
            (1..=19).map(f64::from).map(|k| if k > 9.0 { -k } else { k }).collect();
        let outcomes = outcomes(&[0.0; 19], &truths);
        // Rank ceil(20 * 0.9) = 18 of the absolute residuals 1 to 19.
        let interval = interval(&outcomes, 0.9);
        assert_eq!((interval.lower, interval.upper, interval.coverage), (-18.0, 18.0, 0.9));
        assert_eq!(super::interval(&outcomes, 0.99).upper, 19.0, "the largest one at most");
        // Rank ceil(20 * 0.87) = 18; without the outcome to come it would be ceil(16.53) = 17.
        assert_eq!(super::interval(&outcomes, 0.87).upper, 18.0);
    }

    #[test]
    fn the_interval_holds_its_share_of_fresh_outcomes() {
        let mut random = Random::new(1, Purpose::Order);
        let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| random.normal()).collect() };
        let interval = interval(&outcomes(&[0.0; 500], &draw(500)), 0.9);
        let fresh = evaluate("test", &outcomes(&[0.0; 5000], &draw(5000)), interval);
        assert!((fresh.interval_coverage - 0.9).abs() < 0.03, "{}", fresh.interval_coverage);
    }

    #[test]
    fn the_verdict_tells_knowledge_from_noise() {
        let mut random = Random::new(2, Purpose::Order);
        let truths: Vec<f64> = (0..1000).map(|_| 0.01 * random.normal()).collect();
        let knowing: Vec<f64> = truths.iter().map(|t| 0.3 * t + 0.002 * random.normal()).collect();
        let wrong: Vec<f64> = truths.iter().map(|_| 0.02).collect();
        let say = |values: &[f64]| {
            let outcomes = outcomes(values, &truths);
            let interval = interval(&outcomes, 0.9);
            verdict(&evaluate("test", &outcomes, interval), &outcomes, 1, 0.9)
        };
        let text = say(&knowing);
        assert!(text.contains("model beats \"no change\""), "{text}");
        assert!(text.contains("%, better than a coin)"), "{text}");
        let text = say(&wrong);
        assert!(text.contains("model is worse than \"no change\""), "{text}");
    }

    #[test]
    fn noise_rarely_passes_for_knowledge() {
        let mut random = Random::new(2, Purpose::Order);
        let mut claims = 0;
        for _ in 0..400 {
            let truths: Vec<f64> = (0..300).map(|_| 0.01 * random.normal()).collect();
            let noise: Vec<f64> = (0..300).map(|_| 1e-4 * random.normal()).collect();
            claims += usize::from(advantage(&outcomes(&noise, &truths), 1) > NORMAL_95);
        }
        // 2.5 % of 400 are 10; four standard errors more are 22.
        assert!(claims <= 22, "{claims} of 400");
    }

    /// By hand: gains 1, 0, 1, 2 have mean 1 and variance 0.5, so sqrt(4) / sqrt(0.5) = 2.828; with
    /// one lag the covariance is (0 * -1 + -1 * 0 + 0 * 1) / 4 = 0, which changes nothing.
    #[test]
    fn the_advantage_has_its_hand_computed_value() {
        let truths = [1.0, 1.0, 1.0, 2.0_f64.sqrt()];
        let values = [1.0, 0.0, 1.0, 2.0_f64.sqrt()];
        let outcomes = outcomes(&values, &truths);
        assert!((advantage(&outcomes, 1) - 8.0_f64.sqrt()).abs() < 1e-9);
        assert!((advantage(&outcomes, 2) - 8.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn wilsons_interval_has_its_published_value() {
        let (low, high) = Direction { right: 8, count: 10 }.interval_95();
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} to {high}");
    }
}
