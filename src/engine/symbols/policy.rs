//! What an operator decides about forecasts, beside the model; and why a step has none.
//!
//! Owns the reasons for which a forecast is withheld and their counts. Promises that a forecast
//! which is withheld is counted under exactly one of them. Never changes a forecast.

use crate::core::domain::{DurationNanos, InputShift, Quality};

/// What an operator decides about forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnginePolicy {
    /// Two steps of a symbol that lie further apart than so many intervals begin a cold window;
    /// 0 for never, `None` for what the bundle says.
    pub gap_steps_max: Option<u32>,
    /// For how long, in event time, a symbol may be silent before it makes room; `None` for ever.
    pub symbol_ttl: Option<DurationNanos>,
    /// Which forecasts are withheld for the quality of their window.
    pub withhold: Withhold,
    /// What is expected of the spacing of steps.
    pub cadence: CadencePolicy,
    /// What becomes of forecasts of symbols whose inputs are shifted.
    pub when_shifted: WhenShifted,
}

/// What becomes of forecasts of symbols whose inputs have left the distribution of the training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenShifted {
    /// They are published with their mark.
    #[default]
    Mark,
    /// They are withheld.
    Withhold,
}

/// What is expected of the spacing of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CadencePolicy {
    /// Steps are as far apart as the bundle's `interval_seconds` says; forecasts of others are
    /// marked as `mistimed`.
    #[default]
    AsTrained,
    /// Any spacing will do.
    AsItComes,
}

/// The qualities whose forecasts are withheld instead of published with their mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withhold {
    /// Steps of the window were made by rule.
    pub patched: bool,
    /// Data is missing inside the window.
    pub gapped: bool,
    /// The times of the symbol cannot be right.
    pub mistimed: bool,
}

/// Why a step whose window is full has no forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The model's output is not finite, or a value that cannot come true.
    Impossible,
    /// A closed bar lacked what the model reads.
    LostStep,
    /// The policy withholds forecasts of patched windows.
    Patched,
    /// The policy withholds forecasts of gapped windows.
    Gapped,
    /// The policy withholds forecasts of symbols whose times cannot be right.
    Mistimed,
    /// The model is a shadow, and its inference was left out under load.
    Shed,
    /// It is about history, from before the stream, or of the stream itself once more.
    History,
    /// The policy withholds forecasts of symbols whose inputs are shifted.
    Shifted,
}

/// How many forecasts were withheld, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WithheldTally {
    counts: [u64; Withheld::ALL.len()],
}

impl EnginePolicy {
    /// The reason to withhold a forecast of this quality and these inputs, if there is one.
    pub(super) fn reason(&self, quality: Quality, shift: InputShift) -> Option<Withheld> {
        let is_shifted = shift.is_shifted() == Some(true);
        let by_inputs = || match self.when_shifted {
            WhenShifted::Withhold if is_shifted => Some(Withheld::Shifted),
            WhenShifted::Mark | WhenShifted::Withhold => None,
        };
        self.withhold.reason(quality).or_else(by_inputs)
    }
}

impl Withhold {
    /// The reason to withhold a forecast of this quality, if there is one.
    fn reason(self, quality: Quality) -> Option<Withheld> {
        match quality {
            Quality::Patched if self.patched => Some(Withheld::Patched),
            Quality::Gapped if self.gapped => Some(Withheld::Gapped),
            Quality::Mistimed if self.mistimed => Some(Withheld::Mistimed),
            Quality::Full | Quality::Patched | Quality::Gapped | Quality::Mistimed => None,
        }
    }
}

impl Withheld {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Impossible,
        Self::LostStep,
        Self::Patched,
        Self::Gapped,
        Self::Mistimed,
        Self::Shed,
        Self::History,
        Self::Shifted,
    ];

    /// The reason as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Impossible => "impossible",
            Self::LostStep => "lost_step",
            Self::Patched => "patched",
            Self::Gapped => "gapped",
            Self::Mistimed => "mistimed",
            Self::Shed => "shed",
            Self::History => "history",
            Self::Shifted => "shifted",
        }
    }
}

impl WithheldTally {
    /// Counts one forecast.
    pub(super) fn add(&mut self, reason: Withheld) {
        self.counts[reason as usize] += 1;
    }

    /// Adds the counts of another tally.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// How many were withheld for `reason`.
    pub fn get(&self, reason: Withheld) -> u64 {
        self.counts[reason as usize]
    }

    /// How many were withheld in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_counts_for_itself() {
        let mut tally = WithheldTally::default();
        for (index, reason) in Withheld::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
            (0..=index).for_each(|_| tally.add(reason));
        }
        let mut twice = tally;
        twice.merge(&tally);
        assert_eq!(Withheld::ALL.map(|reason| twice.get(reason)), [2, 4, 6, 8, 10, 12, 14, 16]);
        assert_eq!(tally.total(), 36);
    }

    #[test]
    fn only_what_is_named_is_withheld() {
        let all = Quality::ALL;
        let none = Withhold::default();
        assert_eq!(all.map(|quality| none.reason(quality)), [None; 4]);
        let gapped = Withhold { gapped: true, ..none };
        assert_eq!(
            all.map(|quality| gapped.reason(quality)),
            [None, None, Some(Withheld::Gapped), None]
        );
    }

    #[test]
    fn shifted_inputs_are_withheld_where_that_is_asked_for() {
        let shifted = InputShift::Shifted { feature: 2, psi: 0.75 };
        let inputs = [InputShift::Unknown, InputShift::Within, shifted];
        let of = |policy: EnginePolicy| inputs.map(|shift| policy.reason(Quality::Gapped, shift));
        assert_eq!(of(EnginePolicy::default()), [None; 3]);
        let when_shifted = WhenShifted::Withhold;
        let policy = EnginePolicy { when_shifted, ..EnginePolicy::default() };
        assert_eq!(of(policy), [None, None, Some(Withheld::Shifted)]);
        let withhold = Withhold { gapped: true, ..Withhold::default() };
        assert_eq!(of(EnginePolicy { withhold, ..policy }), [Some(Withheld::Gapped); 3]);
    }
}
