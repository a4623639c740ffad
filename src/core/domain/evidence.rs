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
    pub const UNKNOWN: Self = Self { ends: None };

    /// Those of a model that was trained up to `training` and validated up to `validation`, both
    /// included.
    pub fn new(training: UnixNanos, validation: Option<UnixNanos>) -> Self {
        let validation = validation.map_or(training, |end| end.max(training));
        Self { ends: Some([training, validation]) }
    }

    /// The evidence of a forecast whose newest step has this event time.
    pub fn of(self, as_of: UnixNanos) -> Evidence {
        match self.ends {
            None => Evidence::Unknown,
            Some([training, _]) if as_of <= training => Evidence::Training,
            Some([_, validation]) if as_of <= validation => Evidence::Validation,
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
    fn the_places_are_those_of_the_list() {
        for (place, evidence) in Evidence::ALL.into_iter().enumerate() {
            assert_eq!(evidence as usize, place);
            let json = format!("\"{}\"", evidence.label());
            assert_eq!(serde_json::to_string(&evidence).unwrap(), json);
        }
        assert_eq!(Evidence::ALL.map(Evidence::counts), [false, false, true, true]);
    }
}
