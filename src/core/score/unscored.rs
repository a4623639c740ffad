//! Forecasts that are never scored, and why.
//!
//! Owns the reasons. Promises that every forecast is scored, counted here once, or still waiting.
//! Never keeps a forecast.

use crate::core::domain::Evidence;

/// Why a forecast has no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unscored {
    /// Data between the forecast and its truth is known to be missing, so which step would have
    /// been the target is not known.
    Gap,
    /// The target step was made by rule, because nothing came in its interval: no truth.
    Patched,
    /// The target step lacks what the truth is made of.
    NoTruth,
    /// The steps before the forecast do not give the naive forecast to compare with.
    NoBaseline,
    /// A number left the finite ones.
    NotFinite,
    /// It looks further ahead than forecasts are kept for.
    Horizon,
    /// Its symbol went away before its truth came, with its partition or at a failure: whoever
    /// takes the stored state over scores it. Or its model did, and another version runs.
    Left,
}

/// What became of forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoreTally {
    /// Scored.
    pub scores: u64,
    /// The same by evidence.
    by_evidence: [u64; Evidence::ALL.len()],
    /// Not scored, by reason.
    unscored: [u64; Unscored::ALL.len()],
    /// Times that the errors of a symbol began to drift.
    pub drifts: u64,
    /// Symbols whose errors drift now.
    pub drifting: u64,
    /// Forecasts that wait for their truth now.
    pub waiting: u64,
}

impl Unscored {
    /// Every reason, each at its own index.
    pub const ALL: [Self; 7] = [
        Self::Gap,
        Self::Patched,
        Self::NoTruth,
        Self::NoBaseline,
        Self::NotFinite,
        Self::Horizon,
        Self::Left,
    ];

    /// The reason as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Patched => "patched",
            Self::NoTruth => "no_truth",
            Self::NoBaseline => "no_baseline",
            Self::NotFinite => "not_finite",
            Self::Horizon => "horizon",
            Self::Left => "left",
        }
    }
}

impl ScoreTally {
    /// How many were not scored for a reason.
    pub const fn unscored(&self, reason: Unscored) -> u64 {
        self.unscored[reason as usize]
    }

    /// How many were scored of one kind of evidence.
    pub const fn scores_of(&self, evidence: Evidence) -> u64 {
        self.by_evidence[evidence as usize]
    }

    pub(super) const fn add_score(&mut self, evidence: Evidence) {
        self.scores += 1;
        self.by_evidence[evidence as usize] += 1;
    }

    pub(super) const fn add(&mut self, reason: Unscored, count: u64) {
        self.unscored[reason as usize] += count;
    }
}
