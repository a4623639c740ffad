//! How the signals of one group of scores did.
//!
//! Owns the counts and the figures that follow from them. Promises that counts of parts add up to
//! those of the whole. Never keeps a score.
//!
//! A share of a model that looks several steps ahead is over truths that overlap: of `h` scores in
//! a row each shares all but one step with the next. [`SignalCounts::share`] therefore counts every
//! `h` tries as one. What correlates beyond the horizon still makes its interval too narrow.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use super::Detection;
use crate::core::domain::Signal;
use crate::core::forecast::SignalThresholds;
use crate::core::proportion::{Limits95, wilson};

/// How many numbers [`SignalCounts`] holds.
pub const COUNTS_LENGTH: usize = 13;

/// More scores than any life has; as many are exact as a fraction.
const SCORES_MAX: u64 = 1 << 53;

/// The counts of one side, buy or sell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideCounts {
    /// Raised: the signal. Happened: the truth is beyond the threshold.
    pub detection: Detection,
    /// Signals whose truth was a rise, seen from where the target's direction begins.
    pub rises: u64,
    /// Signals whose truth was a fall.
    pub falls: u64,
}

/// The counts of one group of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCounts {
    /// Scores.
    pub scores: u64,
    /// Truths that were rises, whatever the signal.
    pub rises: u64,
    /// Truths that were falls, whatever the signal.
    pub falls: u64,
    /// The signal `buy`, and truths above `buy_above`.
    pub buy: SideCounts,
    /// The signal `sell`, and truths below `sell_below`.
    pub sell: SideCounts,
}

/// A share and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Hits over tries.
    pub value: f64,
    /// Wilson's interval, with the tries divided by the horizon.
    pub limits: Limits95,
}

impl SideCounts {
    /// Signals whose truth had a direction.
    pub const fn directed(&self) -> u64 {
        self.rises + self.falls
    }

    fn to_array(self) -> [u64; 5] {
        let Self { detection: Detection { raised, happened, hits }, rises, falls } = self;
        [raised, happened, hits, rises, falls]
    }

    const fn from_array([raised, happened, hits, rises, falls]: [u64; 5]) -> Self {
        Self { detection: Detection { raised, happened, hits }, rises, falls }
    }

    fn note(&mut self, raised: bool, happened: bool, came: f64) {
        self.detection.note(raised, happened);
        self.rises += u64::from(raised && came > 0.0);
        self.falls += u64::from(raised && came < 0.0);
    }

    fn is_possible(&self, whole: &SignalCounts) -> bool {
        let Self { detection, rises, falls } = self;
        detection.is_possible(whole.scores)
            && *rises <= whole.rises
            && *falls <= whole.falls
            && rises.checked_add(*falls).is_some_and(|directed| directed <= detection.raised)
    }
}

impl SignalCounts {
    /// Counts one score. `origin` is where the direction of the target is seen from.
    pub fn note(&mut self, by: SignalThresholds, signal: Signal, truth: f64, origin: f64) {
        let came = truth - origin;
        self.scores += 1;
        self.rises += u64::from(came > 0.0);
        self.falls += u64::from(came < 0.0);
        self.buy.note(signal == Signal::Buy, truth > by.buy_above, came);
        self.sell.note(signal == Signal::Sell, truth < by.sell_below, came);
    }

    /// Signals, buy and sell.
    pub const fn raised(&self) -> u64 {
        self.buy.detection.raised + self.sell.detection.raised
    }

    /// Signals whose truth had a direction.
    pub const fn directed(&self) -> u64 {
        self.buy.directed() + self.sell.directed()
    }

    /// Signals whose truth went their way: a rise after `buy`, a fall after `sell`.
    pub const fn right(&self) -> u64 {
        self.buy.rises + self.sell.falls
    }

    /// The share of signals whose truth went their way, among those whose truth had a direction.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.directed() > 0).then(|| self.right() as f64 / self.directed() as f64)
    }

    /// The hit rate that as many signals of each side have if they know nothing: the share of rises
    /// for `buy`, of falls for `sell`.
    pub fn hit_rate_by_chance(&self) -> Option<f64> {
        let (all, directed) = (self.rises + self.falls, self.directed());
        let weighed = |signals: u64, truths: u64| signals as f64 * truths as f64;
        let right =
            weighed(self.buy.directed(), self.rises) + weighed(self.sell.directed(), self.falls);
        (directed > 0 && all > 0).then(|| right / (directed as f64 * all as f64))
    }

    /// The share of truths beyond the threshold of a side: the precision of signals that know
    /// nothing.
    pub fn base_rate(&self, side: &SideCounts) -> Option<f64> {
        (self.scores > 0).then(|| side.detection.happened as f64 / self.scores as f64)
    }

    /// A share of hits with its interval, for a model that looks `horizon_steps` ahead; `None`
    /// without a try.
    pub fn share(hits: u64, tries: u64, horizon_steps: u32) -> Option<Share> {
        let effective = tries as f64 / f64::from(horizon_steps.max(1));
        let value = hits as f64 / tries as f64;
        (tries > 0).then(|| Share { value, limits: wilson(value, effective) })
    }

    /// Whether these can be counts over scores.
    pub fn are_possible(&self) -> bool {
        let within =
            |one: u64, other: u64| one.checked_add(other).is_some_and(|sum| sum <= self.scores);
        self.scores <= SCORES_MAX
            && within(self.rises, self.falls)
            && within(self.buy.detection.raised, self.sell.detection.raised)
            && self.buy.is_possible(self)
            && self.sell.is_possible(self)
    }

    /// The counts in a fixed order.
    pub fn to_array(self) -> [u64; COUNTS_LENGTH] {
        let mut counts = [0; COUNTS_LENGTH];
        counts[..3].copy_from_slice(&[self.scores, self.rises, self.falls]);
        counts[3..8].copy_from_slice(&self.buy.to_array());
        counts[8..].copy_from_slice(&self.sell.to_array());
        counts
    }

    /// Back from [`SignalCounts::to_array`].
    pub const fn from_array(counts: [u64; COUNTS_LENGTH]) -> Self {
        let [scores, rises, falls, raised, happened, hits, up, down, sell @ ..] = counts;
        let buy = SideCounts::from_array([raised, happened, hits, up, down]);
        Self { scores, rises, falls, buy, sell: SideCounts::from_array(sell) }
    }

    fn combine(&mut self, other: Self, combine: impl Fn(u64, u64) -> u64) {
        let mut counts = self.to_array();
        for (count, more) in counts.iter_mut().zip(other.to_array()) {
            *count = combine(*count, more);
        }
        *self = Self::from_array(counts);
    }
}

impl AddAssign for SignalCounts {
    fn add_assign(&mut self, other: Self) {
        self.combine(other, u64::wrapping_add);
    }
}

impl SubAssign for SignalCounts {
    fn sub_assign(&mut self, other: Self) {
        self.combine(other, u64::wrapping_sub);
    }
}

impl std::iter::Sum for SignalCounts {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: SignalThresholds = SignalThresholds { buy_above: 0.01, sell_below: -0.01 };

    /// Six scores: two buys, of which one is a rise beyond the threshold and one a fall; two sells,
    /// of which one is a fall within the threshold and one has no direction; two holds, both rises.
    fn counts() -> SignalCounts {
        let mut counts = SignalCounts::default();
        for (signal, truth) in [
            (Signal::Buy, 0.02),
            (Signal::Buy, -0.02),
            (Signal::Sell, -0.005),
            (Signal::Sell, 0.0),
            (Signal::Hold, 0.03),
            (Signal::Hold, 0.001),
        ] {
            counts.note(THRESHOLDS, signal, truth, 0.0);
        }
        counts
    }

    #[test]
    fn counts_and_shares_have_their_hand_computed_values() {
        let counts = counts();
        let detection = |raised, happened, hits| Detection { raised, happened, hits };
        assert_eq!((counts.scores, counts.rises, counts.falls), (6, 3, 2));
        let buy = SideCounts { detection: detection(2, 2, 1), rises: 1, falls: 1 };
        let sell = SideCounts { detection: detection(2, 1, 0), rises: 0, falls: 1 };
        assert_eq!((counts.buy, counts.sell), (buy, sell));
        assert_eq!((counts.raised(), counts.directed(), counts.right()), (4, 3, 2));
        assert_eq!(counts.hit_rate(), Some(2.0 / 3.0));
        // Two buys with the share of rises 3/5, one sell with that of falls 2/5.
        let chance = counts.hit_rate_by_chance().unwrap();
        assert!((chance - (2.0 * 0.6 + 0.4) / 3.0).abs() < 1e-15, "{chance}");
        assert_eq!(counts.base_rate(&counts.buy), Some(2.0 / 6.0));
        assert_eq!(SignalCounts::default().hit_rate(), None);
        assert_eq!(SignalCounts::default().base_rate(&SideCounts::default()), None);
    }

    #[test]
    fn truths_that_overlap_count_once_a_horizon() {
        let share = SignalCounts::share(6, 10, 1).unwrap();
        assert_eq!((share.value, share.limits), (0.6, wilson(0.6, 10.0)));
        let share = SignalCounts::share(6, 10, 5).unwrap();
        assert_eq!((share.value, share.limits), (0.6, wilson(0.6, 2.0)));
        assert_eq!(SignalCounts::share(0, 0, 1), None);
    }

    #[test]
    fn counts_of_parts_are_those_of_the_whole() {
        let mut twice = counts();
        twice += counts();
        assert_eq!(twice.scores, 12);
        assert_eq!(SignalCounts::from_array(twice.to_array()), twice);
        twice -= counts();
        assert_eq!(twice, counts());
        assert_eq!([counts(), counts()].into_iter().sum::<SignalCounts>().raised(), 8);
    }

    #[test]
    fn counts_that_cannot_have_come_about_are_known() {
        assert!(counts().are_possible() && SignalCounts::default().are_possible());
        for place in 0..COUNTS_LENGTH {
            for broken in [u64::MAX, counts().scores + 1] {
                let mut array = counts().to_array();
                array[place] = broken;
                let is_more_scores = place == 0 && broken < SCORES_MAX;
                let possible = SignalCounts::from_array(array).are_possible();
                assert_eq!(possible, is_more_scores, "{place}: {broken}");
            }
        }
    }
}
