//! The outputs of a model that has several horizons, quantiles or a distribution.
//!
//! Owns their shape in the manifest and the rules between them. Promises that the first output is
//! what the rest of the manifest is about, and that every broken rule is named with its field.
//! Never reads a row of numbers: the plans do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{Evaluation, Manifest};
use crate::core::baseline::BaselineSpec;
use crate::core::features::Scaler;
use crate::core::forecast::{
    ForecastPlan, Interval, OutputKind, OutputPlan, Truth, levels_problem,
};
use crate::core::score::{HORIZON_STEPS_MAX, ScorePlan};
use crate::core::step::Calendar;

/// The most outputs of a model.
pub const OUTPUTS_MAX: usize = 8;

/// One output. The first one has the horizon, the scaler, the interval, the baselines and the
/// evaluation of the manifest; each further one has its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// How many steps ahead it looks.
    pub horizon_steps: u32,
    /// What its columns say.
    pub kind: OutputKind,
    /// The levels of its quantiles, rising; none of kind `value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<f64>,
    /// Its columns of the graph's output, counted from 0: the value; a column for each level; or
    /// the parameters of the distribution.
    pub columns: Vec<u32>,
    /// One column, named after the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<Scaler>,
    /// The interval around every value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The simple forecasts beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baselines: Option<BaselineSpec>,
    /// How it did on data that training did not see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluation: Vec<Evaluation>,
}

/// How the quantile of one level did, as the model gives it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelFigures {
    /// The level.
    pub level: f64,
    /// The share of truths at or below the quantile.
    pub coverage: f64,
    /// The mean pinball loss, in the target's unit.
    pub mean_loss: f64,
}

/// The plans of a model with outputs.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Each of them, the first one first; none for a model that lists none.
    pub plans: Vec<OutputPlan>,
    /// How the forecasts of those behind the first are scored.
    pub scores: Vec<ScorePlan>,
}

impl OutputSpec {
    /// The column of the value, where the kind and the levels tell one.
    pub fn value_column(&self) -> Option<u32> {
        let place = self.kind.value_column(&self.levels)?;
        self.columns.get(place).copied()
    }

    /// The rules that one output keeps by itself.
    fn check(&self, at: usize, manifest: &Manifest, problems: &mut Vec<String>) {
        let mut problem =
            |field: &str, text: &str| problems.push(format!("outputs[{at}].{field}: {text}"));
        let count = manifest.graph.columns.map_or(1, |columns| columns.count);
        if !(1..=HORIZON_STEPS_MAX).contains(&self.horizon_steps) {
            problem("horizon_steps", &format!("must be from 1 to {HORIZON_STEPS_MAX}"));
        }
        if self.kind.has_levels() {
            if let Some(text) = levels_problem(&self.levels) {
                problem("levels", &text);
            }
            if manifest.target.kind.is_probability() {
                problem("kind", "a probability has a `value` alone");
            }
        } else if !self.levels.is_empty() {
            problem("levels", "go with quantiles and distributions");
        }
        let wanted = self.kind.columns(self.levels.len());
        if self.columns.len() != wanted {
            problem("columns", &format!("has {}, not {wanted}", self.columns.len()));
        }
        if let Some(column) = self.columns.iter().find(|column| **column >= count) {
            problem("columns", &format!("there is no column {column}, the graph has {count}"));
        }
        let own = [
            ("scaler", self.scaler.is_some(), at > 0),
            ("interval", self.interval.is_some(), at > 0),
            ("baselines", self.baselines.is_some(), self.baselines.is_some() && at > 0),
            ("evaluation", !self.evaluation.is_empty(), !self.evaluation.is_empty() && at > 0),
        ];
        for (field, is_there, belongs) in own {
            if is_there && !belongs {
                problem(field, "the first output has that of the manifest");
            } else if belongs && !is_there {
                problem(field, "is missing");
            }
        }
        let scaler = if at == 0 { Some(&manifest.target.scaler) } else { self.scaler.as_ref() };
        let Some(scaler) = scaler else { return };
        let label = manifest.target.kind.label();
        if scaler.names() != [label] {
            problem("scaler", &format!("needs exactly one column named `{label}`"));
        } else if let Ok(single) = scaler.single()
            && self.kind.has_levels()
            && single.invert(1.0) <= single.invert(0.0)
        {
            problem("scaler", "must rise, so that quantiles keep their order");
        }
    }
}

impl Manifest {
    /// The plans of the outputs; `first` is that of the first one's forecasts, and `truth` what
    /// comes true. None where the manifest lists none.
    pub(super) fn output_plans(
        &self,
        first: &ForecastPlan,
        truth: Truth,
        calendar: Option<&Arc<Calendar>>,
    ) -> Result<Outputs, Vec<String>> {
        let mut problems = Vec::new();
        self.check_outputs(&mut problems);
        let mut outputs = Outputs::default();
        if !problems.is_empty() {
            return Err(problems);
        }
        for (at, spec) in (0u8..).zip(&self.outputs) {
            let forecast = if at == 0 {
                Ok(first.clone())
            } else {
                self.forecast_plan(spec, calendar).map_err(|text| format!("outputs[{at}].{text}"))
            };
            let forecast = match forecast {
                Ok(forecast) => forecast,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let (horizon, levels) = (spec.horizon_steps, spec.levels.clone());
            let columns = spec.columns.iter().map(|column| *column as usize).collect();
            let plan = OutputPlan::new(at, spec.kind, horizon, columns, levels, forecast);
            if at > 0 {
                let score = ScorePlan::new(truth, horizon, plan.forecast())
                    .with_evidence(self.evidence())
                    .with_output(at, &spec.levels);
                outputs.scores.push(match &spec.baselines {
                    Some(baselines) => score.with_baselines(baselines),
                    None => score,
                });
                if let Some(baselines) = &spec.baselines {
                    let (steps, width) = (self.window_steps as usize, self.features.len());
                    let found = baselines.problems(steps, width);
                    problems.extend(found.into_iter().map(|text| format!("outputs[{at}].{text}")));
                }
            }
            outputs.plans.push(plan);
        }
        if problems.is_empty() { Ok(outputs) } else { Err(problems) }
    }

    /// That of a further output.
    fn forecast_plan(
        &self,
        spec: &OutputSpec,
        calendar: Option<&Arc<Calendar>>,
    ) -> Result<ForecastPlan, String> {
        let span = self.step.interval().and_then(|interval| interval.times(spec.horizon_steps));
        let horizon = span.ok_or_else(|| "horizon_steps: the horizon overflows".to_owned())?;
        let (Some(scaler), Some(interval)) = (&spec.scaler, spec.interval) else {
            return Err("interval: is missing".to_owned());
        };
        let kind = self.target.kind.clone();
        ForecastPlan::new(kind, scaler, horizon, self.signal, interval)
            .map(|plan| plan.with_calendar(calendar.cloned(), spec.horizon_steps))
            .map_err(|error| error.to_string())
    }

    fn check_outputs(&self, problems: &mut Vec<String>) {
        let Some(first) = self.outputs.first() else { return };
        if self.outputs.len() > OUTPUTS_MAX {
            let count = self.outputs.len();
            problems.push(format!("outputs: has {count}, at most {OUTPUTS_MAX} are allowed"));
        }
        for (at, spec) in self.outputs.iter().enumerate() {
            spec.check(at, self, problems);
        }
        if first.horizon_steps != self.horizon_steps {
            problems.push("outputs[0].horizon_steps: must be horizon_steps".to_owned());
        }
        let horizons: Vec<u32> = self.outputs.iter().map(|spec| spec.horizon_steps).collect();
        let columns: Vec<u32> = self.outputs.iter().flat_map(|spec| spec.columns.clone()).collect();
        for (what, mut numbers) in [("horizon", horizons), ("column", columns)] {
            numbers.sort_unstable();
            if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
                problems.push(format!("outputs: {what} {} is there twice", pair[0]));
            }
        }
        if self.graph.has_ends() {
            let text = "graph.columns: lower and upper do not go with outputs";
            problems.push(text.to_owned());
        }
        let value = self.graph.columns.map_or(0, |columns| columns.value);
        if first.value_column().is_some_and(|column| column != value) {
            problems.push("graph.columns.value: must be the value of outputs[0]".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::ColumnsSpec;
    use super::*;
    use crate::core::baseline::{BaselineKind, BaselineSpec};

    /// The shipped model with an output of quantiles and a further one of values.
    fn listed() -> Manifest {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/aapl-daily/1/manifest.json");
        let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        manifest.graph.columns = Some(ColumnsSpec { value: 1, lower: None, upper: None, count: 4 });
        let first = OutputSpec {
            horizon_steps: manifest.horizon_steps,
            kind: OutputKind::Quantiles,
            levels: vec![0.05, 0.5, 0.95],
            columns: vec![0, 1, 2],
            scaler: None,
            interval: None,
            baselines: None,
            evaluation: Vec::new(),
        };
        let further = OutputSpec {
            horizon_steps: 5,
            kind: OutputKind::Value,
            levels: Vec::new(),
            columns: vec![3],
            scaler: Some(manifest.target.scaler.clone()),
            interval: Some(manifest.interval),
            ..first.clone()
        };
        manifest.outputs = vec![first, further];
        manifest
    }

    #[test]
    fn outputs_resolve_into_plans_of_their_own() {
        let manifest = listed();
        let text = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
        let plans = manifest.plans().unwrap();
        let [first, further] = &plans.outputs.plans[..] else { panic!("two plans") };
        assert_eq!((first.horizon_steps(), further.horizon_steps()), (1, 5));
        assert_eq!((first.levels(), further.levels().len()), (&[0.05, 0.5, 0.95][..], 0));
        let days = |plan: &OutputPlan| plan.forecast().horizon().as_nanos() / 86_400_000_000_000;
        assert_eq!((days(first), days(further)), (1, 5));
        assert_eq!(plans.score.levels(), first.levels());
        let horizons: Vec<_> = plans.outputs.scores.iter().map(ScorePlan::horizon_steps).collect();
        assert_eq!(horizons, [5]);
        assert_eq!(plans.outputs.scores[0].against(), BaselineKind::Persistence);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = listed();
            change(&mut manifest);
            manifest.plans().err().unwrap_or_default()
        };
        assert_eq!(with(&|_| {}), Vec::<String>::new());
        for (expected, found) in [
            (
                "outputs[0].horizon_steps: must be horizon",
                with(&|m| m.outputs[0].horizon_steps = 2),
            ),
            ("outputs[1].horizon_steps: must be from 1", with(&|m| m.outputs[1].horizon_steps = 0)),
            ("outputs: horizon 1 is there twice", with(&|m| m.outputs[1].horizon_steps = 1)),
            ("outputs[0].levels: must rise", with(&|m| m.outputs[0].levels[0] = 0.6)),
            ("outputs[0].levels: needs 0.5", with(&|m| m.outputs[0].levels[1] = 0.4)),
            ("outputs[1].levels: go with", with(&|m| m.outputs[1].levels = vec![0.1, 0.5, 0.9])),
            ("outputs[0].columns: has 2, not 3", with(&|m| m.outputs[0].columns.truncate(2))),
            ("outputs[1].columns: there is no column 4", with(&|m| m.outputs[1].columns[0] = 4)),
            ("outputs: column 2 is there twice", with(&|m| m.outputs[1].columns[0] = 2)),
            ("outputs[1].interval: is missing", with(&|m| m.outputs[1].interval = None)),
            ("outputs[1].scaler: is missing", with(&|m| m.outputs[1].scaler = None)),
            (
                "outputs[0].baselines: the first output has",
                with(&|m| m.outputs[0].baselines = Some(BaselineSpec::default())),
            ),
            (
                "graph.columns.value: must be",
                with(&|m| m.graph.columns.as_mut().unwrap().value = 0),
            ),
            (
                "graph.columns: lower and upper do not go",
                with(&|m| {
                    let columns = m.graph.columns.as_mut().unwrap();
                    (columns.lower, columns.upper) = (Some(0), Some(2));
                }),
            ),
            (
                "outputs: has 9, at most 8",
                with(&|m| {
                    let further = m.outputs[1].clone();
                    m.outputs.resize(9, further);
                }),
            ),
        ] {
            assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:?}");
        }
    }
}
