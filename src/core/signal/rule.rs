//! When a value raises, keeps and releases a signal.
//!
//! Owns hysteresis and cool-down on top of the bundle's thresholds. Promises that a rule without
//! them gives what [`SignalThresholds::signal`] gives, whatever came before. Never looks at a
//! truth.
//!
//! ```text
//!                 value > buy_above, not cooling down
//!          ┌──────────────────────────────────────────> buy ─┐
//!   hold ──┤                                                 │ value <= release level
//!     ^    └──────────────────────────────────────────> sell │
//!     └──────────────────────────────────────────────────────┘
//! ```

use serde::{Deserialize, Serialize};

use crate::core::domain::Signal;
use crate::core::forecast::{SignalThresholds, TargetKind};

/// What an operator adds to the bundle's thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalRule {
    /// A raised signal is released only below this share of its threshold; from 0 to 1.
    pub release: f64,
    /// After a change of signal, no new signal is raised for so many steps.
    pub cooldown_steps: u32,
}

/// Everything that turns values into signals: shared and immutable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalPlan {
    thresholds: SignalThresholds,
    kind: TargetKind,
    rule: SignalRule,
    /// A buy ends at or below it.
    buy_until: f64,
    /// A sell ends at or above it.
    sell_until: f64,
}

/// The signal of one series, and for how long it has been the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalState {
    signal: Signal,
    /// Steps for which no new signal is raised.
    cooling_steps: u32,
}

impl Default for SignalRule {
    fn default() -> Self {
        Self { release: 1.0, cooldown_steps: 0 }
    }
}

impl Default for SignalState {
    fn default() -> Self {
        Self { signal: Signal::Hold, cooling_steps: 0 }
    }
}

impl SignalPlan {
    /// The bundle's thresholds and nothing else.
    pub fn new(thresholds: SignalThresholds, kind: TargetKind) -> Self {
        let SignalThresholds { buy_above, sell_below } = thresholds;
        let rule = SignalRule::default();
        Self { thresholds, kind, rule, buy_until: buy_above, sell_until: sell_below }
    }

    /// The same by a rule of the operator.
    ///
    /// A threshold is measured from no change where the target is a change, and else from the
    /// middle between the two thresholds.
    #[must_use]
    pub fn with_rule(self, rule: SignalRule) -> Self {
        let SignalThresholds { buy_above, sell_below } = self.thresholds;
        // The exact thresholds: rounding is not to move them.
        if rule.release == 1.0 {
            return Self { rule, buy_until: buy_above, sell_until: sell_below, ..self };
        }
        let origin = match self.kind {
            TargetKind::Change | TargetKind::LogChange => 0.0,
            TargetKind::Amount | TargetKind::Level | TargetKind::Probability => {
                buy_above.midpoint(sell_below)
            }
        };
        let level = |threshold: f64| origin + rule.release * (threshold - origin);
        // A release beyond the threshold would end what the threshold has just raised.
        let buy_until = level(buy_above).min(buy_above);
        let sell_until = level(sell_below).max(sell_below);
        Self { rule, buy_until, sell_until, ..self }
    }

    /// The bundle's thresholds.
    pub const fn thresholds(&self) -> SignalThresholds {
        self.thresholds
    }

    /// What is forecast.
    pub const fn kind(&self) -> TargetKind {
        self.kind
    }

    /// The operator's rule.
    pub const fn rule(&self) -> SignalRule {
        self.rule
    }

    /// The signal of the next value of a series.
    pub fn decide(&self, state: &mut SignalState, value: f64) -> Signal {
        let raised = self.thresholds.signal(value);
        let kept = match state.signal {
            Signal::Buy if value > self.buy_until => Signal::Buy,
            Signal::Sell if value < self.sell_until => Signal::Sell,
            Signal::Buy | Signal::Sell | Signal::Hold => Signal::Hold,
        };
        let next =
            match raised {
                // The threshold of the other signal is passed, so the kept one is over.
                Signal::Buy | Signal::Sell if raised != state.signal => {
                    if state.cooling_steps == 0 { raised } else { Signal::Hold }
                }
                Signal::Buy | Signal::Sell | Signal::Hold => kept,
            };
        if next != state.signal {
            let cooldown = self.rule.cooldown_steps;
            // One more where there are any, because the next step takes one off before its value.
            let cooling_steps = if cooldown == 0 { 0 } else { cooldown.saturating_add(1) };
            *state = SignalState { signal: next, cooling_steps };
        }
        next
    }
}

impl SignalState {
    /// Takes a step: its value, if there is one, comes to [`SignalPlan::decide`] next.
    pub fn step(&mut self) {
        self.cooling_steps = self.cooling_steps.saturating_sub(1);
    }

    /// The signal.
    pub const fn signal(self) -> Signal {
        self.signal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: SignalThresholds = SignalThresholds { buy_above: 0.02, sell_below: -0.02 };

    fn plan(release: f64, cooldown_steps: u32) -> SignalPlan {
        let plan = SignalPlan::new(THRESHOLDS, TargetKind::Change);
        plan.with_rule(SignalRule { release, cooldown_steps })
    }

    /// The signals of a series, as letters.
    fn signals(plan: &SignalPlan, values: &[f64]) -> String {
        let mut state = SignalState::default();
        let mut letter = |value: &f64| {
            state.step();
            match plan.decide(&mut state, *value) {
                Signal::Buy => 'b',
                Signal::Sell => 's',
                Signal::Hold => '-',
            }
        };
        values.iter().map(&mut letter).collect()
    }

    #[test]
    fn a_raised_signal_is_released_only_below_its_share_of_the_threshold() {
        let values = [0.01, 0.021, 0.015, 0.011, 0.01, 0.015, -0.021, -0.011, -0.01];
        assert_eq!(signals(&plan(1.0, 0), &values), "-b----s--");
        assert_eq!(signals(&plan(0.5, 0), &values), "-bbb--ss-");
        assert_eq!(signals(&plan(0.0, 0), &values), "-bbbbbsss");
        assert_eq!(signals(&plan(0.0, 0), &[0.03, 0.0, 0.03, -0.001]), "b-b-");
    }

    #[test]
    fn nothing_is_raised_while_a_change_cools_down() {
        let values = [0.03, 0.0, 0.03, 0.03, 0.03, -0.03, -0.03, -0.03, -0.03];
        assert_eq!(signals(&plan(1.0, 0), &values), "b-bbbssss");
        // The release of the second step cools down in the third and fourth, the buy of the fifth
        // in the sixth and seventh; that it ends in the sixth starts the cool-down again.
        assert_eq!(signals(&plan(1.0, 2), &values), "b---b---s");
    }

    #[test]
    fn levels_of_other_targets_are_measured_from_the_middle_of_the_thresholds() {
        let thresholds = SignalThresholds { buy_above: 0.75, sell_below: 0.25 };
        let plan = SignalPlan::new(thresholds, TargetKind::Probability);
        let plan = plan.with_rule(SignalRule { release: 0.5, cooldown_steps: 0 });
        assert_eq!((plan.buy_until, plan.sell_until), (0.625, 0.375));
        // A threshold on the other side of no change is not released beyond itself.
        let odd = SignalThresholds { buy_above: -0.01, sell_below: -0.02 };
        let plan = SignalPlan::new(odd, TargetKind::Change);
        let plan = plan.with_rule(SignalRule { release: 0.5, cooldown_steps: 0 });
        assert_eq!((plan.buy_until, plan.sell_until), (-0.01, -0.01));
    }

    proptest! {
        /// Without hysteresis and cool-down, a signal is what the thresholds say of its value.
        #[test]
        fn the_default_rule_is_the_thresholds(values in prop::collection::vec(-0.05..0.05, 0..50)) {
            let mut state = SignalState::default();
            for value in values {
                state.step();
                let signal = plan(1.0, 0).decide(&mut state, value);
                prop_assert_eq!(signal, THRESHOLDS.signal(value));
            }
        }

        /// A release below the threshold never adds a change of signal.
        #[test]
        fn hysteresis_and_cool_down_never_change_signals_more_often(
            values in prop::collection::vec(-0.05..0.05, 0..100),
            release in 0.0..1.0,
        ) {
            let changes = |plan: &SignalPlan| {
                let text = format!("-{}", signals(plan, &values));
                text.as_bytes().windows(2).filter(|pair| pair[0] != pair[1]).count()
            };
            prop_assert!(changes(&plan(release, 0)) <= changes(&plan(1.0, 0)));
        }
    }
}
