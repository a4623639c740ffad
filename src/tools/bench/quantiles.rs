//! The distribution of the times of many runs.
//!
//! Owns the choice of quantiles. Promises nearest ranks: every figure is a time that was measured.
//! Never interpolates.

use std::time::Duration;

use serde::Serialize;

/// The distribution of the time of one run, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The slowest run.
    pub max_us: f64,
    /// How many runs.
    pub runs: usize,
}

impl Quantiles {
    /// The quantiles of some times; zeros where there are none.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // The nearest rank: the smallest time that at least this share does not exceed.
        let rank = |share: f64| (share * times.len() as f64).ceil() as usize;
        let at = |share| {
            let time = times.get(rank(share).saturating_sub(1)).copied().unwrap_or_default();
            // By division, which gives whole microseconds as they are.
            time.as_nanos() as f64 / 1e3
        };
        Self {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
            runs: times.len(),
        }
    }

    /// How many per second where a run does `count`, by the median.
    pub fn per_second(&self, count: usize) -> f64 {
        count as f64 / (1e-6 * self.p50_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let times = (1..=1000).rev().map(Duration::from_micros).collect();
        let expected =
            Quantiles { p50_us: 500.0, p99_us: 990.0, p999_us: 999.0, max_us: 1000.0, runs: 1000 };
        assert_eq!(Quantiles::of(times), expected);
        assert_eq!(expected.per_second(5), 10_000.0);
    }

    #[test]
    fn a_single_time_is_every_quantile() {
        let one = Quantiles::of(vec![Duration::from_micros(7)]);
        assert_eq!([one.p50_us, one.p99_us, one.p999_us, one.max_us], [7.0; 4]);
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
