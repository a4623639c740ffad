//! What a bundle says of its baselines.
//!
//! Owns the on-disk shape of `baselines` in a manifest and the rules inside it. Promises that every
//! rule broken is named with its field. Never forecasts.

use serde::{Deserialize, Serialize};

use super::{
    BASELINES, BaselineKind, COLUMNS_MAX, HALF_LIFE_STEPS_MAX, LinearModel, PERIOD_STEPS_MAX,
};

/// The baselines that were fitted to the training part; persistence needs no fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineSpec {
    /// The one with the smallest mean squared error on the validation part: the model is compared
    /// with it.
    pub against: BaselineKind,
    /// The mean truth of the training part; of a value, its mean change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<f64>,
    /// The exponentially weighted mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<AverageSpec>,
    /// The truth of one period earlier; absent where the steps have no period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seasonal: Option<SeasonalSpec>,
    /// The linear model of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<LinearModel>,
}

/// The exponentially weighted mean of the truths known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AverageSpec {
    /// After so many truths a truth weighs half as much.
    pub half_life_steps: u32,
}

/// The truth of one period earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeasonalSpec {
    /// The period, in steps.
    pub period_steps: u32,
}

impl BaselineSpec {
    /// Which of them there are, in the order of [`BaselineKind::ALL`].
    pub fn has(&self) -> [bool; BASELINES] {
        let Self { drift, average, seasonal, linear, .. } = self;
        [true, drift.is_some(), average.is_some(), seasonal.is_some(), linear.is_some()]
    }

    /// The rules that are broken, for a model of windows of `steps` rows with `width` numbers.
    pub fn problems(&self, steps: usize, width: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fits: bool, problem: String| {
            if !fits {
                problems.push(format!("baselines.{problem}"));
            }
        };
        let against = self.against.label();
        let has = self.has()[self.against as usize];
        check(has, format!("against: names `{against}`, which is not there"));
        check(self.drift.is_none_or(f64::is_finite), "drift: must be a finite number".to_owned());
        for (count, max, field) in [
            (
                self.average.map(|average| average.half_life_steps),
                HALF_LIFE_STEPS_MAX,
                "average.half_life_steps",
            ),
            (
                self.seasonal.map(|seasonal| seasonal.period_steps),
                PERIOD_STEPS_MAX,
                "seasonal.period_steps",
            ),
        ] {
            let fits = count.is_none_or(|count| (1..=max).contains(&count));
            check(fits, format!("{field}: must be from 1 to {max}"));
        }
        if let Some(LinearModel { rows, intercept, weights }) = &self.linear {
            let rows = *rows as usize;
            let rule = format!("linear.rows: must be from 1 to the {steps} of the window");
            check((1..=steps).contains(&rows), rule);
            let columns = rows.saturating_mul(width);
            let count = weights.len();
            let rule = format!(
                "linear.weights: has {count}, and {rows} rows of {width} features need {columns}"
            );
            check(count == columns, rule);
            // A row may be wider than the most columns; there is always one.
            let most = COLUMNS_MAX.max(width);
            check(count <= most, format!("linear.weights: has {count}, more than {most}"));
            let finite = weights.iter().chain([intercept]).all(|number| number.is_finite());
            check(finite, "linear: has a number that is not finite".to_owned());
        }
        problems
    }
}
