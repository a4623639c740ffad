//! Whether the steps of a symbol are as far apart as those of the model.
//!
//! Owns the judgement. Promises that it depends on the event times of the newest steps alone and
//! takes a few bytes for each symbol. Never reads a clock.
//!
//! The median of spacings is too short exactly where more than half of them are, so one bit for
//! each spacing is enough.

use serde::{Deserialize, Serialize};

use super::StepRule;
use crate::core::domain::DurationNanos;

/// How many of the newest spacings are judged.
const SPACINGS_MAX: u8 = 15;

/// Records come at the interval of the model, but for weekends and what a feed leaves out.
const FACTOR_OF_RECORDS: i64 = 4;

/// Bars of ticks or volume follow the market, which is busier at some hours than at others.
const FACTOR_OF_COUNTS: i64 = 100;

/// So far off, times are no times of this model, whatever its market does.
const FACTOR_IMPLAUSIBLE: i64 = 500;

/// How far apart steps may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CadenceRule {
    interval: DurationNanos,
    factor: i64,
}

/// The newest spacings of one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cadence {
    /// Which of them are too short, the newest in the lowest bit.
    short: u16,
    /// Which of them are too long.
    long: u16,
    /// How many there are.
    seen: u8,
}

impl CadenceRule {
    /// The rule of a model whose steps are made so, nominally `interval` apart. Bars of time have
    /// no other spacing than their own.
    pub fn of(rule: &StepRule, interval: DurationNanos) -> Option<Self> {
        let factor = match rule {
            StepRule::Record => FACTOR_OF_RECORDS,
            StepRule::Count(_) => FACTOR_OF_COUNTS,
            StepRule::Time(_) => return None,
        };
        Some(Self { interval, factor })
    }

    /// The interval of the model.
    pub fn interval(&self) -> DurationNanos {
        self.interval
    }

    /// Whether a spacing is so far off that the times or the model must be wrong.
    pub fn is_implausible(&self, spacing: DurationNanos) -> bool {
        let rule = Self { factor: FACTOR_IMPLAUSIBLE.max(self.factor), ..*self };
        rule.is_short(spacing) || rule.is_long(spacing)
    }

    fn is_short(&self, spacing: DurationNanos) -> bool {
        spacing.as_nanos().saturating_mul(self.factor) < self.interval.as_nanos()
    }

    fn is_long(&self, spacing: DurationNanos) -> bool {
        spacing.as_nanos() > self.interval.as_nanos().saturating_mul(self.factor)
    }
}

impl Cadence {
    /// Takes the distance between the newest step and the one before.
    pub fn note(&mut self, rule: &CadenceRule, spacing: DurationNanos) {
        let mask = (1 << SPACINGS_MAX) - 1;
        self.short = (self.short << 1 | u16::from(rule.is_short(spacing))) & mask;
        self.long = (self.long << 1 | u16::from(rule.is_long(spacing))) & mask;
        // What was stored may be damaged; a count beyond the most is taken for the most.
        self.seen = self.seen.saturating_add(1).min(SPACINGS_MAX);
    }

    /// Whether the median of the newest spacings is another than the model's.
    pub fn is_off(&self) -> bool {
        let most = |bits: u16| bits.count_ones() * 2 > u32::from(self.seen);
        most(self.short) || most(self.long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(count: i64) -> DurationNanos {
        DurationNanos::from_seconds(count).unwrap()
    }

    fn daily() -> CadenceRule {
        CadenceRule::of(&StepRule::Record, seconds(86_400)).unwrap()
    }

    fn is_off_after(spacings: &[i64]) -> bool {
        let mut cadence = Cadence::default();
        spacings.iter().for_each(|spacing| cadence.note(&daily(), seconds(*spacing)));
        cadence.is_off()
    }

    #[test]
    fn weekends_and_holidays_are_no_other_cadence() {
        let day = 86_400;
        assert!(!is_off_after(&[]));
        assert!(!is_off_after(&[day, day, day, day, 3 * day, day, 4 * day, 5 * day]));
        assert!(is_off_after(&[1]), "seconds");
        assert!(is_off_after(&[3600; 20]), "hours");
        assert!(is_off_after(&[7 * day; 2]), "weeks");
        assert!(!is_off_after(&[1, day]), "one of two is no majority");
        let back = [vec![1; 20], vec![day; 8]].concat();
        assert!(!is_off_after(&back), "8 of the newest 15 are right");
        assert!(is_off_after(&back[..27]), "7 of them are not enough");
    }

    #[test]
    fn a_stored_count_beyond_the_most_counts_as_the_most() {
        let mut stored: Cadence =
            serde_json::from_str(r#"{"short":0,"long":0,"seen":255}"#).unwrap();
        stored.note(&daily(), seconds(1));
        assert_eq!(stored, Cadence { short: 1, long: 0, seen: SPACINGS_MAX });
    }

    #[test]
    fn only_a_factor_of_hundreds_cannot_be_meant() {
        let rule = daily();
        assert!(rule.is_implausible(seconds(1)));
        assert!(rule.is_implausible(seconds(86_400 * 1000)));
        assert!(!rule.is_implausible(seconds(3600)));
        assert!(!rule.is_implausible(seconds(86_400 * 30)));
    }

    proptest! {
        /// The bits say what the median says.
        #[test]
        fn it_is_the_median_that_counts(
            spacings in proptest::collection::vec(1_i64..10_000_000, 0..60),
        ) {
            let newest = &spacings[spacings.len().saturating_sub(usize::from(SPACINGS_MAX))..];
            let mut sorted = newest.to_vec();
            sorted.sort_unstable();
            // Of an even number the two in the middle must agree.
            let middle = match sorted.len() {
                0 => None,
                count => Some((sorted[(count - 1) / 2], sorted[count / 2])),
            };
            let rule = daily();
            let expected = middle.is_some_and(|(low, high)| {
                rule.is_short(seconds(high)) || rule.is_long(seconds(low))
            });
            prop_assert_eq!(is_off_after(&spacings), expected);
        }
    }
}
