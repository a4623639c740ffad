//! What can come true, and the interval of a forecast within it.
//!
//! Owns the one rule by which an interval is made, for the daemon, replays and the trainer.
//! Promises that an interval holds its value and nothing that cannot come true, and that cutting
//! takes no possible truth out of it. Never changes a value: what cannot come true has no interval.

use super::Margins;

/// The values that a target can take, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Possible {
    /// The least of them.
    pub least: f64,
    /// The greatest of them.
    pub greatest: f64,
}

/// The ends of an interval, which belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// At most the value.
    pub lower: f64,
    /// At least the value.
    pub upper: f64,
}

impl Possible {
    /// Whether a value can come true. What is not a number cannot.
    pub fn holds(self, value: f64) -> bool {
        (self.least..=self.greatest).contains(&value)
    }

    /// The interval around a value: its margins, cut to what can come true; `None` for a value that
    /// cannot come true itself.
    pub fn interval(self, value: f64, margins: Margins) -> Option<Limits> {
        self.between(value, value + margins.lower, value + margins.upper)
    }

    /// The interval around a value whose model gives ends of its own, in any order: widened to hold
    /// the value, the margins added, and cut to what can come true; `None` for a value that cannot
    /// come true itself.
    pub fn interval_of(self, value: f64, ends: [f64; 2], margins: Margins) -> Option<Limits> {
        let lower = ends[0].min(ends[1]).min(value) + margins.lower;
        let upper = ends[0].max(ends[1]).max(value) + margins.upper;
        self.between(value, lower, upper)
    }

    /// The interval around a value between two ends, cut to what can come true; `None` for a value
    /// that cannot come true itself.
    pub fn between(self, value: f64, lower: f64, upper: f64) -> Option<Limits> {
        let (lower, upper) = (lower.max(self.least), upper.min(self.greatest));
        self.holds(value).then_some(Limits { lower, upper })
    }
}

impl Limits {
    /// Whether the interval holds a truth.
    pub fn hold(self, truth: f64) -> bool {
        (self.lower..=self.upper).contains(&truth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::forecast::Target;

    fn targets() -> Vec<Target> {
        let value = |field: &str| Target::NextValue { field: field.to_owned() };
        vec![
            Target::NextReturn,
            Target::NextLogReturn,
            Target::NextDirection,
            Target::NextVolatility,
            value("close"),
            value("volume"),
            value("wind"),
            Target::NextEvent { field: "wind".to_owned(), above: 3.0 },
        ]
    }

    #[test]
    fn each_target_has_its_ends() {
        let ends = |target: &Target| {
            let Possible { least, greatest } = target.possible();
            (least, greatest)
        };
        let (none, all) = (f64::NEG_INFINITY, f64::INFINITY);
        let expected = [
            (-1.0, all),
            (none, all),
            (0.0, 1.0),
            (0.0, all),
            (1e-12, all),
            (0.0, all),
            (none, all),
            (0.0, 1.0),
        ];
        assert_eq!(targets().iter().map(ends).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_value_that_cannot_come_true_has_no_interval() {
        let margins = Margins { lower: -1.0, upper: 1.0 };
        for (target, value) in [
            (Target::NextReturn, -1.000_001),
            (Target::NextVolatility, -0.1),
            (Target::NextDirection, 1.1),
            (Target::NextValue { field: "close".to_owned() }, 0.0),
            (Target::NextValue { field: "volume".to_owned() }, -1.0),
            (Target::NextReturn, f64::NAN),
        ] {
            assert_eq!(target.possible().interval(value, margins), None, "{target:?}: {value}");
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_value_and_what_is_possible_within_its_margins(
            at in 0..8usize,
            value in prop_oneof![-3.0..3.0, -1e15..1e15],
            lower in -1e6..=0.0,
            upper in 0.0..1e6,
            truth in prop_oneof![-3.0..3.0, -1e15..1e15],
        ) {
            let possible = targets()[at].possible();
            let margins = Margins { lower, upper };
            let interval = possible.interval(value, margins);
            prop_assert_eq!(interval.is_some(), possible.holds(value));
            if let Some(limits) = interval {
                prop_assert!(possible.holds(limits.lower) && possible.holds(limits.upper));
                prop_assert!(limits.hold(value));
                // Cutting takes nothing out that can come true.
                let uncut = (value + lower..=value + upper).contains(&truth);
                if possible.holds(truth) {
                    prop_assert_eq!(limits.hold(truth), uncut);
                } else {
                    prop_assert!(!limits.hold(truth));
                }
            }
        }
    }
}
