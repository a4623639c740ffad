//! What a report is about, and what its reader chooses.
//!
//! Owns the subject and the rules of the paper account. Never computes.

use std::sync::Arc;

use crate::core::baseline::BaselineKind;
use crate::core::forecast::{OutputPlan, Target};
use crate::core::signal::{SignalPlan, SignalRule};
use crate::core::step::Calendar;
use crate::engine::model::manifest::{Manifest, Plans};

/// Basis points in 1.
const BASIS_POINTS: f64 = 10_000.0;

/// The model that a report is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub model: String,
    /// Its version, or a name for several, such as `walk-forward`.
    pub version: String,
    /// What it forecasts.
    pub target: Target,
    /// How many steps ahead.
    pub horizon_steps: u32,
    /// The share of truths that its intervals are made to hold.
    pub coverage: f64,
    /// The baseline that skill and verdicts are against.
    pub against: BaselineKind,
    /// When a value becomes a signal.
    pub signals: SignalPlan,
    /// The days on which there are steps, where that is known.
    pub calendar: Option<Arc<Calendar>>,
    /// Its outputs, the first one first; empty for a model that lists none.
    pub outputs: Vec<SubjectOutput>,
}

/// One output of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectOutput {
    /// How many steps ahead it looks.
    pub horizon_steps: u32,
    /// The share of truths that its intervals are made to hold.
    pub coverage: f64,
    /// The levels of its quantiles.
    pub levels: Vec<f64>,
}

impl Subject {
    /// The model of a bundle, whose signals follow `rule`.
    pub fn new(manifest: &Manifest, plans: &Plans, rule: SignalRule) -> Self {
        Self {
            model: manifest.name.clone(),
            version: manifest.version.clone(),
            target: plans.forecast.target().clone(),
            horizon_steps: manifest.horizon_steps,
            coverage: plans.forecast.coverage(),
            against: plans.score.against(),
            signals: plans.score.signals().with_rule(rule),
            calendar: plans.calendar.clone(),
            outputs: plans.outputs.plans.iter().map(SubjectOutput::of).collect(),
        }
    }
}

impl SubjectOutput {
    fn of(plan: &OutputPlan) -> Self {
        Self {
            horizon_steps: plan.horizon_steps(),
            coverage: plan.forecast().coverage(),
            levels: plan.levels().to_vec(),
        }
    }
}

/// The position that `sell` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SellRule {
    /// -1.
    #[default]
    Short,
    /// 0.
    Flat,
}

/// The position that `hold` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldRule {
    /// 0.
    #[default]
    Flat,
    /// The one before.
    Keep,
}

/// How signals become positions and what trading costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperOptions {
    /// Fees for each unit of position that changes hands, in basis points.
    pub cost_bps: f64,
    /// How much worse than the price of the step a trade is made, in basis points.
    pub slippage_bps: f64,
    /// What `sell` means.
    pub sell: SellRule,
    /// What `hold` means.
    pub hold: HoldRule,
    /// The seed of the bootstrap.
    pub seed: u64,
    /// How many samples the bootstrap draws.
    pub resamples: u32,
}

impl Default for PaperOptions {
    fn default() -> Self {
        Self {
            cost_bps: 1.0,
            slippage_bps: 1.0,
            sell: SellRule::default(),
            hold: HoldRule::default(),
            seed: 1,
            resamples: 1000,
        }
    }
}

impl PaperOptions {
    /// What a change of the position by 1 costs, as a fraction.
    pub fn cost(&self) -> f64 {
        (self.cost_bps + self.slippage_bps) / BASIS_POINTS
    }
}
