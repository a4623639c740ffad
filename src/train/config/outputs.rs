//! What a network gives beside one value for one horizon: further horizons, quantiles, a
//! distribution.
//!
//! Owns the keys `target.horizon_steps`, `network.output` and `forecast.quantiles` together.
//! Promises that what exists fits a manifest. Never reads the rest of those sections.

use super::StateRule;
use crate::core::forecast::{OutputKind, Target, levels_problem};
use crate::engine::model::OUTPUTS_MAX;
use crate::engine::model::manifest::COLUMNS_MAX;
use crate::ports::section::Section;
use crate::seal::sections::STEPS_MAX;
use crate::train::fit::loss::{Loss, OutputLoss};
use crate::train::network::{Activation, DenseShape};

/// The outputs of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputsConfig {
    /// What each of them gives.
    pub kind: OutputKind,
    /// The levels of quantiles; none of kind `value`.
    pub levels: Vec<f64>,
    /// How many steps ahead those behind the first look.
    pub further_horizons: Vec<usize>,
}

impl OutputsConfig {
    /// Whether a manifest lists them.
    pub fn are_listed(&self) -> bool {
        self.kind.has_levels() || !self.further_horizons.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.further_horizons.len()
    }

    /// The columns of one of them.
    pub fn width(&self) -> usize {
        self.kind.columns(self.levels.len())
    }

    /// The columns of all of them.
    pub fn columns(&self) -> usize {
        self.count() * self.width()
    }

    /// The loss that they ask for; `None` where each is a value, which has losses of its own.
    pub(super) fn loss(&self) -> Option<Loss> {
        let loss = OutputLoss::new(self.kind, &self.levels, self.count());
        self.kind.has_levels().then_some(Loss::Outputs(loss))
    }
}

/// Reads `target.horizon_steps`: the first horizon, and those behind it.
pub(super) fn horizons(section: &mut Section<'_>) -> (usize, Vec<usize>) {
    let mut horizons = Vec::new();
    for horizon in section.numbers("horizon_steps").unwrap_or_default() {
        if horizon.fract() == 0.0 && (1.0..=STEPS_MAX as f64).contains(&horizon) {
            horizons.push(horizon as usize);
        } else {
            let rule = format!("must be a whole number from 1 to {STEPS_MAX}, or a list of them");
            section.problem("horizon_steps", rule);
            return (1, Vec::new());
        }
    }
    let mut distinct = horizons.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != horizons.len() {
        section.problem("horizon_steps", "has a horizon twice");
    } else if horizons.len() > OUTPUTS_MAX {
        section.problem("horizon_steps", format_args!("has more than {OUTPUTS_MAX} horizons"));
    } else if horizons.is_empty() {
        section.problem("horizon_steps", "needs at least one horizon");
    }
    let mut horizons = horizons.into_iter();
    (horizons.next().unwrap_or(1), horizons.collect())
}

/// Reads `forecast.quantiles`.
pub(super) fn levels(section: &mut Section<'_>) -> Vec<f64> {
    let levels = section.numbers("quantiles").unwrap_or_default();
    if let Some(problem) = levels_problem(&levels) {
        section.problem("quantiles", problem);
    }
    levels
}

/// Reads `network.output`, and has the last dense layer give what it asks for.
pub(super) fn output(
    section: &mut Section<'_>,
    dense: &mut [DenseShape],
    target: &Target,
    state: StateRule,
    (levels, further_horizons): (Vec<f64>, Vec<usize>),
) -> OutputsConfig {
    let kind = section.choice("output", &OutputKind::ALL);
    let levels = if kind.has_levels() { levels } else { Vec::new() };
    let outputs = OutputsConfig { kind, levels, further_horizons };
    if kind.has_levels() && target.is_probability() {
        let label = target.label();
        section.problem("output", format_args!("`{label}` is a probability: it has a value alone"));
    }
    if outputs.are_listed() && state == StateRule::Carried {
        let problem = "must be `value`, for one horizon, where network.state is `carried`";
        section.problem("output", problem);
    }
    if outputs.columns() > COLUMNS_MAX as usize {
        let columns = outputs.columns();
        let problem = format!("asks for {columns} columns, at most {COLUMNS_MAX} are allowed");
        section.problem("output", problem);
    }
    let Some(last) = dense.last_mut() else { return outputs };
    if kind.has_levels() && last.activation != Activation::Linear {
        let problem = "the last layer gives quantiles or parameters, so it must be `linear`";
        section.problem("dense", problem);
    }
    // One unit stands for as many as there have to be.
    if last.units == 1 {
        last.units = outputs.columns();
    } else if last.units != outputs.columns() {
        let problem = match outputs.columns() {
            1 => "the last layer gives the forecast, so it needs units = 1".to_owned(),
            columns => format!(
                "the last layer gives {columns} columns, so it needs units = 1 or {columns}"
            ),
        };
        section.problem("dense", problem);
    }
    outputs
}
