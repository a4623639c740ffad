//! Whether intervals are as wide as they should be, and probabilities as high.
//!
//! Owns the distances of truths from forecasts in units of the interval's own half width. Promises
//! bounded memory. Never looks at a value that is not finite.

/// How many stretches of equal length there are.
const BINS: usize = 40;
/// The length of a stretch, in half widths.
const BIN: f64 = 0.1;

/// How far truths lie from forecasts, in half widths of the interval on the truth's side.
#[derive(Clone, Debug, Default)]
pub(super) struct Distances {
    /// By stretches; the last one has everything beyond.
    counts: Vec<u64>,
    /// Truths at the edge of their interval or inside.
    inside: u64,
    total: u64,
}

impl Distances {
    /// Takes a forecast with its interval and its truth.
    pub(super) fn note(&mut self, value: f64, [lower, upper]: [f64; 2], truth: f64) {
        let error = truth - value;
        let half_width = if error < 0.0 { value - lower } else { upper - value };
        let distance = match error.abs() / half_width {
            // An interval without width around a truth that came as it was forecast.
            distance if distance.is_nan() => 0.0,
            distance => distance,
        };
        self.counts.resize(BINS + 1, 0);
        let place = (distance / BIN) as usize;
        self.counts[place.min(BINS)] += 1;
        self.inside += u64::from(lower <= truth && truth <= upper);
        self.total += 1;
    }

    /// The share of truths in each stretch, which begins and ends at so many half widths.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let total = self.total.max(1) as f64;
        self.counts
            .iter()
            .take(BINS)
            .enumerate()
            .map(move |(at, count)| (at as f64 * BIN, (at + 1) as f64 * BIN, *count as f64 / total))
    }

    /// The share of truths that an interval would have held that were `factor` times as wide, where
    /// the factor is a multiple of 0.1; that of 1 is exact.
    pub(super) fn share_within(&self, factor: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let held = if factor == 1.0 {
            self.inside
        } else {
            self.counts.iter().take(((factor / BIN).round() as usize).min(BINS)).sum()
        };
        Some(held as f64 / self.total as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each side has its own width: truths half of it above, once and twice below.
    #[test]
    fn distances_are_in_widths_of_their_own_side() {
        let mut distances = Distances::default();
        assert_eq!(distances.share_within(1.0), None);
        for truth in [1.0, -1.0, -2.0, 0.0] {
            distances.note(0.0, [-1.0, 2.0], truth);
        }
        distances.note(0.0, [0.0, 0.0], 0.0);
        distances.note(0.0, [0.0, 0.0], 1.0);
        assert_eq!(distances.total, 6);
        let within: Vec<_> = [0.5, 1.0, 1.5, 2.0, 4.0]
            .map(|factor| (6.0 * distances.share_within(factor).unwrap()).round())
            .to_vec();
        // One half lies in the stretch that begins there, and once is inside, ends included.
        assert_eq!(within, [2.0, 4.0, 4.0, 4.0, 5.0]);
        let shares: f64 = distances.stretches().map(|(_, _, share)| share).sum();
        assert!((shares - 5.0 / 6.0).abs() < 1e-12, "one is beyond: {shares}");
    }
}
