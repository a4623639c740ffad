//! How far a mean may be off, where neighbours in time are alike.
//!
//! Owns the stationary bootstrap (Politis and Romano, 1994, doi:10.1080/01621459.1994.10476870):
//! samples of whole stretches of time, whose lengths are geometric and whose ends wrap around.
//! Promises the same limits for the same series and seed. Never says what a mean will be.

use crate::core::proportion::Limits95;
use crate::core::random::{Purpose, Random};

/// The share of samples beyond the limits, on each side.
const TAIL: f64 = 0.025;

/// The mean length of a stretch for so many observations, of truths that overlap over
/// `horizon_steps`: the cube root, which balances bias and variance (Hall, Horowitz and Jing, 1995,
/// doi:10.1093/biomet/82.3.561), and no less than the horizon.
pub(super) fn block_length(observations: usize, horizon_steps: u32) -> f64 {
    libm::cbrt(observations as f64).ceil().max(f64::from(horizon_steps)).max(1.0)
}

/// The 95 % limits of figures of a series. `figures` computes them from the sums over a sample,
/// which `add` makes of the observations. `None` for fewer than two observations.
pub(super) fn limits<S: Copy + Default, const FIGURES: usize>(
    series: &[S],
    (samples, seed): (u32, u64),
    mean_length: f64,
    add: impl Fn(&mut S, &S),
    figures: impl Fn(&S) -> [f64; FIGURES],
) -> Option<[Limits95; FIGURES]> {
    let count = series.len();
    if count < 2 || samples == 0 {
        return None;
    }
    let mut random = Random::new(seed, Purpose::Bootstrap);
    let begins_anew = 1.0 / mean_length;
    let mut drawn: [Vec<f64>; FIGURES] = std::array::from_fn(|_| Vec::new());
    for _ in 0..samples {
        let mut sum = S::default();
        let mut place = 0;
        for at in 0..count {
            place = if at == 0 || random.unit_f64() < begins_anew {
                random.below(count)
            } else {
                (place + 1) % count
            };
            add(&mut sum, &series[place]);
        }
        for (figures, figure) in drawn.iter_mut().zip(figures(&sum)) {
            figures.push(figure);
        }
    }
    Some(drawn.map(|mut figures| {
        figures.sort_unstable_by(f64::total_cmp);
        Limits95 { low: quantile(&figures, TAIL), high: quantile(&figures, 1.0 - TAIL) }
    }))
}

/// A quantile of sorted values, between neighbours by a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let (low, high) = (sorted[below as usize], sorted[place.ceil() as usize]);
    low + (place - below) * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(series: &[f64], length: f64, seed: u64) -> Option<[Limits95; 1]> {
        let count = series.len() as f64;
        let add = |sum: &mut f64, more: &f64| *sum += more;
        limits(series, (1000, seed), length, add, |sum| [sum / count])
    }

    #[test]
    fn the_same_seed_gives_the_same_limits() {
        let series: Vec<f64> = (0..50).map(|at| f64::from(at * at % 17)).collect();
        assert_eq!(of(&series, 3.0, 1), of(&series, 3.0, 1));
        assert_ne!(of(&series, 3.0, 1), of(&series, 3.0, 2));
        assert_eq!(of(&[1.0], 3.0, 1), None);
        assert_eq!(of(&[2.0; 9], 3.0, 1), Some([Limits95 { low: 2.0, high: 2.0 }]));
    }

    /// Of independent values the limits are about two standard errors from the mean; of values that
    /// come in runs, longer stretches give wider limits.
    #[test]
    fn limits_are_as_wide_as_the_mean_is_unsure() {
        let mut random = Random::new(5, Purpose::Initial);
        let series: Vec<f64> = (0..400).map(|_| random.normal()).collect();
        let mean = series.iter().sum::<f64>() / 400.0;
        let [limits] = of(&series, 1.0, 1).unwrap();
        assert!(limits.low < mean && mean < limits.high, "{limits:?} and {mean}");
        let half = (limits.high - limits.low) / 2.0;
        assert!((half - 1.96 / 20.0).abs() < 0.015, "{half}");
        let runs: Vec<f64> = series.iter().flat_map(|value| [*value; 10]).collect();
        let width = |length| of(&runs, length, 1).map(|[limits]| limits.high - limits.low).unwrap();
        assert!(width(40.0) > 2.0 * width(1.0), "{} and {}", width(40.0), width(1.0));
    }

    #[test]
    fn blocks_grow_with_the_series_and_span_the_horizon() {
        assert_eq!(block_length(1000, 1), 10.0);
        assert_eq!(block_length(1001, 1), 11.0);
        assert_eq!(block_length(1000, 24), 24.0);
        assert_eq!(block_length(0, 1), 1.0);
    }
}
