//! Whether a model may have learned what it is judged by.
//!
//! Owns the four kinds of evidence and the instants that divide them. Promises that the kind
//! follows from event time and the bundle alone, for every symbol. Never judges.

use serde::{Deserialize, Serialize};

use super::UnixNanos;

/// Which part of time a forecast belongs to, as far as the training of its model is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The model was fitted to this time.
    Training,
    /// This time decided when the fit ended, the interval, and which baseline is the best.
    Validation,
    /// Later than both.
    Unseen,
    /// The bundle does not say what the model was trained on.
    #[default]
    Unknown,
}

/// Up to which event time a model was trained and validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceRanges {
    /// The end of training, and that of validation, which is not before it.
    ends: Option<[UnixNanos; 2]>,
    /// Whether the training of another model that had a part in the forecast is not known.
    is_partial: bool,
}

impl Evidence {
    /// Every kind, each at its own index.
    pub const ALL: [Self; 4] = [Self::Training, Self::Validation, Self::Unseen, Self::Unknown];

    /// The name on the wire and as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Unseen => "unseen",
            Self::Unknown => "unknown",
        }
    }

    /// Whether figures count it: a model is not judged by what it was made from.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Unseen | Self::Unknown)
    }
}

impl EvidenceRanges {
    /// Those of a model whose training is not known.
    pub const UNKNOWN: Self = Self { ends: None, is_partial: false };

    /// Those of a model that was trained up to `training` and validated up to `validation`, both
    /// included.
    pub fn new(training: UnixNanos, validation: Option<UnixNanos>) -> Self {
        let validation = validation.map_or(training, |end| end.max(training));
        Self { ends: Some([training, validation]), is_partial: false }
    }

    /// Those of a forecast that two models have a part in: unseen is what neither has seen.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let ends = match (self.ends, other.ends) {
            (Some([training, validation]), Some([other_training, other_validation])) => {
                Some([training.max(other_training), validation.max(other_validation)])
            }
            (ends, None) | (None, ends) => ends,
        };
        let knows_both = self.ends.is_some() && other.ends.is_some();
        Self { ends, is_partial: self.is_partial || other.is_partial || !knows_both }
    }

    /// The evidence of a forecast whose newest step has this event time.
    pub fn of(self, as_of: UnixNanos) -> Evidence {
        match self.ends {
            None => Evidence::Unknown,
            Some([training, _]) if as_of <= training => Evidence::Training,
            Some([_, validation]) if as_of <= validation => Evidence::Validation,
            Some(_) if self.is_partial => Evidence::Unknown,
            Some(_) => Evidence::Unseen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_part_belongs_to_it() {
        let time = UnixNanos::from_nanos;
        let of = |ranges: EvidenceRanges| [9, 10, 11, 20, 21].map(|at| ranges.of(time(at)));
        use Evidence::{Training, Unknown, Unseen, Validation};
        let both = EvidenceRanges::new(time(10), Some(time(20)));
        assert_eq!(of(both), [Training, Training, Validation, Validation, Unseen]);
        let alone = EvidenceRanges::new(time(10), None);
        assert_eq!(of(alone), [Training, Training, Unseen, Unseen, Unseen]);
        let earlier = EvidenceRanges::new(time(10), Some(time(5)));
        assert_eq!(of(earlier), of(alone));
        assert_eq!(of(EvidenceRanges::UNKNOWN), [Unknown; 5]);
    }

    #[test]
    fn what_one_of_two_models_has_seen_is_not_unseen() {
        use Evidence::{Training, Unknown, Unseen, Validation};
        let time = UnixNanos::from_nanos;
        let of = |ranges: EvidenceRanges| [10, 11, 20, 21, 30, 31].map(|at| ranges.of(time(at)));
        let one = EvidenceRanges::new(time(10), Some(time(20)));
        let other = EvidenceRanges::new(time(5), Some(time(30)));
        let both = [Training, Validation, Validation, Validation, Validation, Unseen];
        assert_eq!(of(one.merged(other)), both);
        assert_eq!(of(other.merged(one)), both);
        let partly = [Training, Validation, Validation, Unknown, Unknown, Unknown];
        assert_eq!(of(one.merged(EvidenceRanges::UNKNOWN)), partly);
        assert_eq!(of(EvidenceRanges::UNKNOWN.merged(one)), partly);
        let none = EvidenceRanges::UNKNOWN.merged(EvidenceRanges::UNKNOWN);
        assert_eq!(of(none), [Unknown; 6]);
    }

    #[test]
    fn the_places_are_those_of_the_list() {
        for (place, evidence) in Evidence::ALL.into_iter().enumerate() {
            assert_eq!(evidence as usize, place);
            let json = format!("\"{}\"", evidence.label());
            assert_eq!(serde_json::to_string(&evidence).unwrap(), json);
        }
        assert_eq!(Evidence::ALL.map(Evidence::counts), [false, false, true, true]);
    }
}
