//! Shares of hits and how well they are known.
//!
//! Owns Wilson's interval, by which the trainer, the daemon and a report judge a share. Promises
//! limits between 0 and 1 that hold the share, by the same bits on every machine. Never counts.

use serde::{Deserialize, Serialize};

/// What a standard normal value exceeds, either way, with a probability of 5 %.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// Limits between which a figure lies with 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits95 {
    /// Lower limit.
    pub low: f64,
    /// Upper limit.
    pub high: f64,
}

/// Wilson's 95 % interval (1927, doi:10.1080/01621459.1927.10502953) of a share of `count`
/// independent tries, which may be a fraction.
pub fn wilson(share: f64, count: f64) -> Limits95 {
    let square = NORMAL_95 * NORMAL_95;
    let centre = (share + square / (2.0 * count)) / (1.0 + square / count);
    let spread = share * (1.0 - share) / count + square / (4.0 * count * count);
    let half = NORMAL_95 * spread.sqrt() / (1.0 + square / count);
    Limits95 { low: (centre - half).clamp(0.0, share), high: (centre + half).clamp(share, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: of 4 tries 2 hit; z² = 3.8415, so the centre is 1/2 and half the width
    /// 1.96 × sqrt(1/16 + 3.8415/64) / (1 + 3.8415/4) = 0.35.
    #[test]
    fn wilsons_interval_has_its_hand_computed_value() {
        let limits = wilson(0.5, 4.0);
        assert!((limits.low - 0.150_039).abs() < 1e-6, "{limits:?}");
        assert!((limits.high - 0.849_961).abs() < 1e-6, "{limits:?}");
        assert_eq!(wilson(0.0, 3.0).low, 0.0);
        assert_eq!(wilson(1.0, 3.0).high, 1.0);
        let few = wilson(1.0, 0.25);
        assert!(few.low > 0.0 && few.low < 0.1, "a quarter of a try says little: {few:?}");
    }
}
