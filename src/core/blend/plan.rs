//! Which experts a blend has.
//!
//! Owns their order, their first weights, and which of them is trusted before any truth is known.
//! Promises that the first weights add up to 1 and that the same members and baselines give the
//! same order. Never forecasts.

use crate::core::baseline::{BASELINES, BaselineKind};
use crate::core::forecast::Possible;

/// The most models of one blend.
pub const MEMBERS_MAX: usize = 8;

/// The most experts: each model, each model recalibrated, and the baselines.
pub const EXPERTS_MAX: usize = 2 * MEMBERS_MAX + BASELINES;

/// The first weight of the baseline that the bundle names as the one to beat. The other experts
/// share the rest.
const AGAINST_WEIGHT: f64 = 0.3;

/// One of the forecasts that a blend is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expert {
    /// The forecast of a model, by its place among the members.
    Model(usize),
    /// The same, recalibrated.
    Recalibrated(usize),
    /// A baseline of the first member.
    Baseline(BaselineKind),
}

/// The experts of a blend: shared and immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct BlendPlan {
    members: usize,
    /// The baselines, in the order of [`BaselineKind::ALL`].
    baselines: Vec<BaselineKind>,
    /// The first weight of each expert.
    first: Vec<f64>,
    /// The place of the baseline to beat.
    trusted: usize,
    possible: Possible,
    /// How many forecasts of a symbol wait for their truth at most.
    horizon_steps: usize,
}

impl BlendPlan {
    /// A blend of so many models and these baselines, one of which is the one to beat. `possible`
    /// are the values that can come true `horizon_steps` later; 0 where no truth is waited for.
    pub fn new(
        members: usize,
        has: [bool; BASELINES],
        against: BaselineKind,
        possible: Possible,
        horizon_steps: usize,
    ) -> Self {
        let members = members.min(MEMBERS_MAX);
        let there = BaselineKind::ALL.into_iter().zip(has).filter(|(_, has)| *has);
        let baselines: Vec<_> = there.map(|(kind, _)| kind).collect();
        let others = 2 * members + baselines.len() - 1;
        let rest = (1.0 - AGAINST_WEIGHT) / others.max(1) as f64;
        let mut first = vec![rest; 2 * members];
        first.extend(
            baselines.iter().map(|kind| if *kind == against { AGAINST_WEIGHT } else { rest }),
        );
        let to_beat = baselines.iter().position(|kind| *kind == against);
        let trusted = 2 * members + to_beat.unwrap_or_default();
        Self { members, baselines, first, trusted, possible, horizon_steps }
    }

    /// How many models there are.
    pub const fn members(&self) -> usize {
        self.members
    }

    /// How many experts there are.
    pub fn experts(&self) -> usize {
        self.first.len()
    }

    /// Every expert in its order: the models, the same recalibrated, the baselines.
    pub fn each(&self) -> impl Iterator<Item = Expert> + '_ {
        let models = (0..self.members).map(Expert::Model);
        let recalibrated = (0..self.members).map(Expert::Recalibrated);
        models.chain(recalibrated).chain(self.baselines.iter().copied().map(Expert::Baseline))
    }

    /// The first weight of each expert.
    pub fn first(&self) -> &[f64] {
        &self.first
    }

    /// The place of the expert that has all weight before any truth is known: the baseline to beat.
    pub const fn trusted(&self) -> usize {
        self.trusted
    }

    /// The values that can come true.
    pub const fn possible(&self) -> Possible {
        self.possible
    }

    /// How many forecasts of a symbol wait for their truth at most.
    pub const fn horizon_steps(&self) -> usize {
        self.horizon_steps
    }
}
