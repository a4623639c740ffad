//! The manifest: the contract that travels with a model.
//!
//! Owns the on-disk shape of `manifest.json` and the rules inside it. Promises that every rule
//! broken is named with the field that breaks it, all at once. Never opens a file or the graph.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::baseline::BaselineSpec;
use crate::core::domain::UnixNanos;
use crate::core::features::{FeaturePlan, SYMBOL_COLUMNS_MAX, Scaler, SymbolTable};
use crate::core::forecast::{
    ForecastPlan, Interval, OutputPlan, SignalThresholds, Target, TargetError, Truth,
};
use crate::core::score::{EvidenceRanges, ScorePlan};
use crate::core::shift::{DistributionSpec, ShiftPlan};
use crate::core::step::{CadenceRule, Calendar, StepRule};
use crate::engine::inference::{Columns, Signature, StateSignature};

pub use super::exactness::{Exactness, Rows};
pub use super::origin::{Compared, Known, Origin};
pub use super::outputs::{LevelFigures, OutputSpec, Outputs};
pub use super::step_spec::{
    CARRY_STEPS_MAX, CalendarSpec, EmptySteps, StepKind, StepProblem, StepSpec, TICKS_MAX, Weekday,
};

/// The value of `schema` that this version reads and writes.
pub const MANIFEST_SCHEMA: &str = "tickcast.bundle.v1";

/// The most output columns of a graph.
pub const COLUMNS_MAX: u32 = 64;

/// The longest window a bundle may ask for, in steps; bounds the memory per symbol.
const WINDOW_STEPS_MAX: u32 = 4096;

/// `manifest.json` as it stands on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// The model's name; equal to the name of its folder.
    pub name: String,
    /// The model's version; equal to the name of its folder.
    pub version: String,
    /// Lower-case hexadecimal SHA-256 of `model.onnx`.
    pub onnx_sha256: String,
    /// Lower-case hexadecimal SHA-256 of `golden.json`.
    pub golden_sha256: String,
    /// Steps per window: W.
    pub window_steps: u32,
    /// How many steps ahead the forecast looks.
    pub horizon_steps: u32,
    /// What one step is.
    pub step: StepSpec,
    /// The features in the order of the model's columns; their count is F.
    pub features: Vec<String>,
    /// Fields beyond price, open, high, low, close and volume that the features or the target read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_fields: Vec<String>,
    /// Raw features to model units, fitted on the training part alone.
    pub scaler: Scaler,
    /// What the model reads of the symbol behind the features of each row; absent in bundles that
    /// tell no symbols apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<SymbolsSpec>,
    /// What is forecast.
    pub target: TargetSpec,
    /// The modes that the graph serves.
    pub modes: Vec<Mode>,
    /// The names by which the graph is driven.
    pub graph: GraphSpec,
    /// When a value becomes a signal.
    pub signal: SignalThresholds,
    /// The interval around every value. Where the graph gives its own ends (`graph.columns`), these
    /// margins are added to them; both are 0 where the ends are published as they are.
    pub interval: Interval,
    /// The outputs of a model with several horizons, quantiles or a distribution, the first one
    /// first; empty for a model that gives one value for one horizon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputSpec>,
    /// How rows of one run relate; absent in bundles of the program's own trainer, which are held
    /// to equal bits in every batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactness: Option<Exactness>,
    /// Where the graph comes from; absent for the program's own trainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What the model was trained on.
    pub training: Known<TrainingSpec>,
    /// The simple forecasts beside it, fitted to the training part; absent in bundles that are
    /// compared with persistence alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baselines: Option<BaselineSpec>,
    /// The distribution of the inputs over the training part; absent in bundles whose inputs are
    /// not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<DistributionSpec>,
    /// How it did on data that training did not see.
    pub evaluation: Vec<Evaluation>,
    /// The same over other seeds and stretches of time, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<RepeatFigures>,
    /// The evaluation in one honest sentence.
    pub verdict: String,
}

/// The table of symbols in `symbols.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolsSpec {
    /// Lower-case hexadecimal SHA-256 of `symbols.json`.
    pub sha256: String,
    /// How many symbols it has.
    pub count: u32,
    /// The names of its static columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statics: Vec<String>,
    /// How many columns of a learned embedding follow them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub embedding: u32,
    /// How many symbols have a scaler of their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scalers: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// How a graph is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The whole window from zero state for each forecast.
    Full,
    /// Staggered states, one step each; the same numbers as `full`, bit for bit.
    Sliding,
    /// One state carried without end, one step each; for models trained that way. Other numbers
    /// than `full`.
    Carried,
}

/// What is forecast, and how model units become its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "TargetRecord", into = "TargetRecord")]
pub struct TargetSpec {
    /// The target.
    pub kind: Target,
    /// One column, named after the target.
    pub scaler: Scaler,
}

/// A target as it stands on disk: `field` and `above` are there for the kinds that have them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetRecord {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    scaler: Scaler,
}

impl TryFrom<TargetRecord> for TargetSpec {
    type Error = TargetError;

    fn try_from(record: TargetRecord) -> Result<Self, TargetError> {
        let TargetRecord { kind, field, above, scaler } = record;
        Ok(Self { kind: Target::from_parts(&kind, field, above)?, scaler })
    }
}

impl From<TargetSpec> for TargetRecord {
    fn from(TargetSpec { kind, scaler }: TargetSpec) -> Self {
        let above = match &kind {
            Target::NextEvent { above, .. } => Some(*above),
            _ => None,
        };
        let field = kind.field().map(str::to_owned);
        Self { kind: kind.label().to_owned(), field, above, scaler }
    }
}

/// The names by which the graph is driven: `x [T,B,F]` and states `[1,B,width]` in, `y [B,K]` and
/// the new states out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphSpec {
    /// The input of the rows.
    pub input: String,
    /// The output of the forecast.
    pub output: String,
    /// The states in the order of the graph's inputs; empty for a graph without state inputs.
    pub states: Vec<StateSpec>,
    /// What the columns of the output are; absent where there is one, the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<ColumnsSpec>,
}

/// What the columns of the output `[B,K]` are, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnsSpec {
    /// The column of the value.
    pub value: u32,
    /// The column of the lower end of the model's own interval; with `upper` or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
    /// The column of its upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<u32>,
    /// How many columns there are: K.
    pub count: u32,
}

/// One recurrent state of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The graph input that takes the state.
    pub input: String,
    /// The graph output that gives the state after the steps.
    pub output: String,
    /// Numbers per row: H.
    pub width: u32,
}

/// What a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// SHA-256 of the input file.
    pub data_sha256: String,
    /// The symbols whose history was used.
    pub symbols: Vec<String>,
    /// Event time of the first step of the training part.
    pub from: UnixNanos,
    /// Event time of the last step of the training part.
    pub to: UnixNanos,
    /// Windows trained on; for mode `carried`, steps with a label.
    pub windows: u32,
    /// Epochs run until training stopped.
    pub epochs: u32,
    /// The epoch whose weights are in the bundle, counted from one.
    pub best_epoch: u32,
    /// The seed of every random draw.
    pub seed: u64,
}

/// How a model did on one part of the data, beside persistence ("no change") and other baselines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Which part: `validation` or `test`.
    pub part: String,
    /// `as_of` of the first forecast.
    pub from: UnixNanos,
    /// `as_of` of the last forecast.
    pub to: UnixNanos,
    /// How many forecasts.
    pub forecasts: u32,
    /// Mean absolute error, in the target's unit.
    pub mean_absolute_error: f64,
    /// Root of the mean squared error, in the target's unit.
    pub root_mean_squared_error: f64,
    /// Mean absolute error of "no change".
    pub persistence_mean_absolute_error: f64,
    /// Root of the mean squared error of "no change".
    pub persistence_root_mean_squared_error: f64,
    /// `1 - squared error / squared error of "no change"`; 0 is no better than it.
    pub skill: f64,
    /// Share of forecasts with the right sign, among those whose truth is not zero.
    pub directional_accuracy: f64,
    /// Between which shares the true one lies with 95 %; none where nothing had a direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directional_accuracy_95: Option<[f64; 2]>,
    /// Share of truths inside the interval.
    pub interval_coverage: f64,
    /// The baselines on the same forecasts, persistence first; empty in bundles without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<BaselineFigures>,
    /// Scores of a target that is a probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<ProbabilityFigures>,
    /// How the signals did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<SignalsFigures>,
    /// How the quantiles did, by level; empty without quantiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<LevelFigures>,
}

/// How a baseline did on the forecasts of an [`Evaluation`], and how the model compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineFigures {
    /// See [`BaselineKind`](crate::core::baseline::BaselineKind).
    pub name: String,
    /// Mean absolute error, in the target's unit.
    pub mean_absolute_error: f64,
    /// Root of the mean squared error, in the target's unit.
    pub root_mean_squared_error: f64,
    /// Share of forecasts with the right direction; none where the baseline tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directional_accuracy: Option<f64>,
    /// Logarithmic loss in nats, of a target that is a probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    /// `1 - squared error of the model / squared error of this`.
    pub skill: f64,
    /// Between which values the true skill lies with 95 %.
    pub skill_95: [f64; 2],
    /// Diebold-Mariano statistic of the squared errors; positive where the model is better.
    pub statistic: f64,
    /// Its two-sided p-value.
    pub p_value: f64,
}

/// Scores of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbabilityFigures {
    /// Mean squared distance of the probability from what came true, 0 or 1.
    pub brier_score: f64,
    /// Mean of minus the logarithm of the probability of what came true, in nats.
    pub log_loss: f64,
    /// Mean distance between probability and frequency, over ten equal stretches.
    pub expected_calibration_error: f64,
}

/// How the signals of the model did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalsFigures {
    /// Values above `buy_above`.
    pub buy: SignalFigures,
    /// Values below `sell_below`.
    pub sell: SignalFigures,
}

/// How one signal did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalFigures {
    /// Forecasts beyond the threshold.
    pub told: u32,
    /// Truths beyond the threshold.
    pub happened: u32,
    /// Both.
    pub hits: u32,
    /// `hits / told`; none where nothing was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// `hits / happened`; none where nothing happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
}

/// The figures of repeated runs on their test parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatFigures {
    /// What differs between the runs: `seeds`, or `folds` of time (walk-forward).
    pub over: String,
    /// How many.
    pub runs: u32,
    /// See [`Evaluation`], as all below.
    pub mean_absolute_error: FigureSpread,
    /// In the target's unit.
    pub root_mean_squared_error: FigureSpread,
    /// Against persistence.
    pub skill: FigureSpread,
    /// A share.
    pub directional_accuracy: FigureSpread,
    /// A share.
    pub interval_coverage: FigureSpread,
}

/// A figure over repeated runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureSpread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation between runs.
    pub deviation: f64,
}

/// A checked manifest: the plans that the pipeline runs by.
#[derive(Clone, Debug)]
pub struct Plans {
    /// From steps to rows.
    pub features: FeaturePlan,
    /// From outputs to forecasts.
    pub forecast: ForecastPlan,
    /// From steps to what came true.
    pub truth: Truth,
    /// From forecasts and truths to scores.
    pub score: ScorePlan,
    /// The outputs of a model that lists them; the first one is what `forecast` and `score` are of.
    pub outputs: Outputs,
    /// What inputs are compared with; `None` where they are not judged.
    pub shift: Option<ShiftPlan>,
    /// W.
    pub window_steps: usize,
    /// From ticks to steps.
    pub step_rule: StepRule,
    /// What the bundle says of its steps.
    pub step: StepSpec,
    /// How far apart steps should lie; `None` where the rule itself sees to that.
    pub cadence: Option<CadenceRule>,
    /// The days on which there are steps; `None` for every day.
    pub calendar: Option<Arc<Calendar>>,
    /// How rows may be run.
    pub rows: Rows,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Full => "full",
            Self::Sliding => "sliding",
            Self::Carried => "carried",
        })
    }
}

/// Whether a text can name a folder without leaving its parent or hiding.
pub fn is_folder_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(allowed)
}

impl GraphSpec {
    /// The names by which a runtime drives the graph of a model with so many features.
    pub fn signature(&self, features: usize) -> Signature {
        let state = |state: &StateSpec| StateSignature {
            input: state.input.clone(),
            output: state.output.clone(),
            width: state.width as usize,
        };
        Signature {
            input: self.input.clone(),
            features,
            output: self.output.clone(),
            columns: self.columns.map_or_else(Columns::default, ColumnsSpec::resolved),
            states: self.states.iter().map(state).collect(),
        }
    }

    /// Whether the model gives its own interval.
    pub fn has_ends(&self) -> bool {
        self.columns.is_some_and(|columns| columns.lower.is_some() && columns.upper.is_some())
    }
}

impl ColumnsSpec {
    fn resolved(self) -> Columns {
        let Self { value, lower, upper, count } = self;
        let ends = lower.zip(upper).map(|(lower, upper)| [lower as usize, upper as usize]);
        Columns { count: count as usize, value: value as usize, ends }
    }

    fn check(&self, problems: &mut Vec<String>) {
        let Self { value, lower, upper, count } = *self;
        if !(1..=COLUMNS_MAX).contains(&count) {
            problems.push(format!("graph.columns.count: {count} is outside 1 to {COLUMNS_MAX}"));
        }
        let named = [("value", Some(value)), ("lower", lower), ("upper", upper)];
        for (field, column) in named {
            if let Some(column) = column.filter(|column| *column >= count) {
                problems.push(format!(
                    "graph.columns.{field}: there is no column {column}, the last of {count} is \
                     {}",
                    count.saturating_sub(1)
                ));
            }
        }
        match (lower, upper) {
            (None, None) => {}
            (Some(lower), Some(upper)) => {
                if lower == upper || lower == value || upper == value {
                    problems.push("graph.columns: value, lower and upper must differ".to_owned());
                }
            }
            _ => problems.push("graph.columns: lower and upper go together".to_owned()),
        }
    }
}

impl SymbolsSpec {
    /// What the manifest says of a table, but for the hash.
    pub fn of(table: &SymbolTable) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            sha256: String::new(),
            count: count(table.symbols.len()),
            statics: table.statics.clone(),
            embedding: table.embedding,
            scalers: count(table.scalers.len()),
        }
    }

    /// How many columns of each row come from the table.
    pub fn width(&self) -> usize {
        self.statics.len() + self.embedding as usize
    }
}

impl Manifest {
    /// How many columns the graph reads of a step: those of the features and of the symbol.
    pub fn inputs(&self) -> usize {
        self.features.len() + self.symbols.as_ref().map_or(0, SymbolsSpec::width)
    }

    /// Name and version become folders, so they must not lead out of their parent.
    pub(super) fn check_names(&self) -> Vec<String> {
        [("name", &self.name), ("version", &self.version)]
            .into_iter()
            .filter(|(_, text)| !is_folder_name(text))
            .map(|(field, text)| {
                format!("{field}: `{text}` must be letters, digits, `-`, `_` and inner dots")
            })
            .collect()
    }

    /// Up to which times the model was trained and validated, as far as the manifest says so.
    pub fn evidence(&self) -> EvidenceRanges {
        let trained_until = || match self.origin.as_ref()?.trained_until {
            Known::Is(until) => Some(until),
            Known::Unknown => None,
        };
        let training = match &self.training {
            Known::Is(training) => Some(training.to),
            Known::Unknown => trained_until(),
        };
        let validation = self.evaluation.iter().find(|part| part.part == "validation");
        training.map_or(EvidenceRanges::UNKNOWN, |training| {
            EvidenceRanges::new(training, validation.map(|part| part.to))
        })
    }

    /// Checks every rule inside the manifest and resolves it into plans. Rows lack the columns of
    /// the symbol, where the model reads any.
    ///
    /// # Errors
    /// One line per broken rule, each beginning with the field at fault.
    pub fn plans(&self) -> Result<Plans, Vec<String>> {
        self.plans_with(None)
    }

    /// As [`Manifest::plans`], with the table that `symbols` speaks of. The table breaks no rule of
    /// its own.
    ///
    /// # Errors
    /// As [`Manifest::plans`].
    pub fn plans_with(&self, table: Option<&SymbolTable>) -> Result<Plans, Vec<String>> {
        let mut problems = self.check_names();
        if let Some(symbols) = &self.symbols {
            if symbols.width() > SYMBOL_COLUMNS_MAX {
                let (found, most) = (symbols.width(), SYMBOL_COLUMNS_MAX);
                problems.push(format!("symbols: {found} columns, at most {most} are read"));
            }
            let stated = SymbolsSpec { sha256: String::new(), ..symbols.clone() };
            if table.is_some_and(|table| SymbolsSpec::of(table) != stated) {
                problems.push("symbols: speaks of another table".to_owned());
            }
        }
        if self.schema != MANIFEST_SCHEMA {
            problems.push(format!("schema: `{}`, expected `{MANIFEST_SCHEMA}`", self.schema));
        }
        if !(1..=WINDOW_STEPS_MAX).contains(&self.window_steps) {
            problems.push(format!(
                "window_steps: {} is outside 1 to {WINDOW_STEPS_MAX}",
                self.window_steps
            ));
        }
        if self.horizon_steps == 0 {
            problems.push("horizon_steps: must be at least 1".to_owned());
        }
        let step_rule = self.step.rule().map_err(|broken| {
            let line = |(field, problem)| format!("step.{field}: {problem}");
            problems.extend(broken.into_iter().map(line));
        });
        if self.modes.is_empty() {
            problems.push("modes: at least one of `full`, `sliding` and `carried`".to_owned());
        }
        for mode in [Mode::Sliding, Mode::Carried] {
            if self.modes.contains(&mode) && self.graph.states.is_empty() {
                problems.push(format!("modes: `{mode}` needs graph.states, which is empty"));
            }
        }
        if self.modes.contains(&Mode::Carried) && self.modes.len() > 1 {
            let text = "modes: `carried` gives other numbers than the others, so it stands alone";
            problems.push(text.to_owned());
        }
        for (index, state) in self.graph.states.iter().enumerate() {
            if state.width == 0 {
                problems.push(format!("graph.states[{index}] `{}`: width is 0", state.input));
            }
        }
        if let Some(columns) = &self.graph.columns {
            columns.check(&mut problems);
        }
        if let Some(exactness) = &self.exactness {
            exactness.check(&mut problems);
        }
        if let Some(origin) = &self.origin {
            origin.check(&mut problems);
        }
        if let Some(baselines) = &self.baselines {
            let (steps, width) = (self.window_steps as usize, self.features.len());
            problems.extend(baselines.problems(steps, width));
        }
        if let Some(distribution) = &self.distribution {
            problems.extend(distribution.problems(self.features.len()));
        }
        let label = self.target.kind.label();
        if self.target.scaler.names() != [label] {
            problems.push(format!("target.scaler: needs exactly one column named `{label}`"));
        }
        let features = FeaturePlan::new(&self.features, &self.extra_fields, label, &self.scaler)
            .and_then(|plan| match table {
                Some(table) => plan.with_symbols(table, &self.features),
                None => Ok(plan),
            })
            .map_err(|error| problems.push(format!("features: {error}")));
        let truth = features.as_ref().ok().and_then(|features| {
            let truth = self.target.kind.truth(features.raw().schema());
            truth.map_err(|error| problems.push(error.to_string())).ok()
        });
        let span = self.step.interval().and_then(|interval| interval.times(self.horizon_steps));
        let horizon = span.ok_or_else(|| {
            problems.push("horizon_steps: the horizon overflows".to_owned());
        });
        let calendar = self.step.calendar().ok().flatten();
        if calendar.is_some() && self.horizon_steps > WINDOW_STEPS_MAX {
            let text = format!("horizon_steps: at most {WINDOW_STEPS_MAX} with step.calendar");
            problems.push(text);
        }
        let forecast = horizon.and_then(|horizon| {
            let (scaler, kind) = (&self.target.scaler, &self.target.kind);
            ForecastPlan::new(kind.clone(), scaler, horizon, self.signal, self.interval)
                .map(|plan| plan.with_calendar(calendar.clone(), self.horizon_steps))
                .map(|plan| if self.graph.has_ends() { plan.with_ends() } else { plan })
                .map_err(|error| problems.push(error.to_string()))
        });
        let outputs = match (&forecast, truth) {
            (Ok(forecast), Some(truth)) => self
                .output_plans(forecast, truth, calendar.as_ref())
                .map_err(|found| problems.extend(found)),
            _ => Err(()),
        };
        match (features, forecast, truth, step_rule, outputs) {
            (Ok(features), Ok(forecast), Some(truth), Ok(step_rule), Ok(outputs))
                if problems.is_empty() =>
            {
                // That of the first output knows whether its margins are shares of a distance.
                let first = outputs.plans.first();
                let forecast = first.map_or(forecast, |plan| plan.forecast().clone());
                let levels = first.map(OutputPlan::levels).unwrap_or_default();
                let score = ScorePlan::new(truth, self.horizon_steps, &forecast)
                    .with_evidence(self.evidence())
                    .with_output(0, levels);
                Ok(Plans {
                    features,
                    score: match &self.baselines {
                        Some(baselines) => score.with_baselines(baselines),
                        None => score,
                    },
                    shift: self.distribution.as_ref().map(ShiftPlan::new),
                    forecast,
                    outputs,
                    truth,
                    window_steps: self.window_steps as usize,
                    cadence: self.step.interval().and_then(|i| CadenceRule::of(&step_rule, i)),
                    step_rule,
                    step: self.step.clone(),
                    calendar,
                    rows: self.exactness.map(|exactness| exactness.rows).unwrap_or_default(),
                })
            }
            _ => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Manifest {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/aapl-daily/1/manifest.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn problems(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
        let mut manifest = shipped();
        change(&mut manifest);
        manifest.plans().err().unwrap_or_default()
    }

    fn columns(value: u32, ends: [Option<u32>; 2], count: u32) -> Vec<String> {
        let [lower, upper] = ends;
        let columns = ColumnsSpec { value, lower, upper, count };
        problems(|manifest| manifest.graph.columns = Some(columns))
    }

    #[test]
    fn columns_must_be_there_and_differ() {
        assert_eq!(columns(1, [Some(0), Some(2)], 3), Vec::<String>::new());
        assert_eq!(columns(3, [None, None], 4), Vec::<String>::new());
        for (expected, found) in [
            ("graph.columns.value: there is no column 3", columns(3, [None, None], 3)),
            ("graph.columns.upper: there is no column 9", columns(1, [Some(0), Some(9)], 3)),
            ("graph.columns: value, lower and upper", columns(1, [Some(0), Some(1)], 3)),
            ("graph.columns: lower and upper go together", columns(1, [Some(0), None], 3)),
            ("graph.columns.count: 65 is outside", columns(1, [None, None], 65)),
        ] {
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn what_was_measured_must_agree_with_what_may_be_done() {
        let with = |rows, windows, largest_difference| {
            let exactness = Exactness { rows, windows, largest_difference };
            problems(|manifest| manifest.exactness = Some(exactness))
        };
        assert_eq!(with(Rows::Batched, 256, 0.0), Vec::<String>::new());
        assert_eq!(with(Rows::Alone, 256, 1e-7), Vec::<String>::new());
        assert_eq!(with(Rows::Alone, 256, 0.0), Vec::<String>::new());
        for (expected, found) in [
            ("exactness.windows: ", with(Rows::Batched, 0, 0.0)),
            ("exactness.largest_difference: ", with(Rows::Batched, 1, 1e-7)),
            ("exactness.largest_difference: ", with(Rows::Alone, 1, f32::NAN)),
            ("exactness.largest_difference: ", with(Rows::Alone, 1, -1.0)),
        ] {
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn baselines_must_fit_the_model_and_name_the_one_to_beat() {
        use crate::core::baseline::{AverageSpec, BaselineKind, LinearModel, SeasonalSpec};
        let with = |spec: BaselineSpec| problems(|manifest| manifest.baselines = Some(spec));
        let linear = |rows: u32, weights: usize, intercept| BaselineSpec {
            linear: Some(LinearModel { rows, intercept, weights: vec![0.5; weights] }),
            ..BaselineSpec::default()
        };
        let average = |half_life_steps| BaselineSpec {
            average: Some(AverageSpec { half_life_steps }),
            ..BaselineSpec::default()
        };
        let seasonal = |period_steps| BaselineSpec {
            seasonal: Some(SeasonalSpec { period_steps }),
            ..BaselineSpec::default()
        };
        let against = |against| BaselineSpec { against, drift: Some(0.5), ..average(9) };
        for spec in [linear(30, 90, 0.0), seasonal(1024), against(BaselineKind::Average)] {
            assert_eq!(with(spec), Vec::<String>::new());
        }
        let drift = BaselineSpec { drift: Some(f64::NAN), ..BaselineSpec::default() };
        for (expected, found) in [
            ("baselines.against: names `linear`, which", with(against(BaselineKind::Linear))),
            ("baselines.drift: must be a finite", with(drift)),
            ("baselines.average.half_life_steps: must be from 1 to 65536", with(average(0))),
            ("baselines.seasonal.period_steps: must be from 1 to 1024", with(seasonal(1025))),
            ("baselines.linear.rows: must be from 1 to the 30", with(linear(31, 93, 0.0))),
            ("baselines.linear.weights: has 89, and 30 rows of 3", with(linear(30, 89, 0.0))),
            ("baselines.linear: has a number that", with(linear(1, 3, f64::INFINITY))),
        ] {
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn a_distribution_must_fit_the_model_and_itself() {
        use crate::core::shift::FeatureDistribution;
        let feature = FeatureDistribution {
            min: -1.0,
            edges: vec![-0.5, 0.5],
            max: 1.0,
            counts: vec![20, 60, 20],
            largest: 0.5,
            limit: 0.75,
        };
        let day = |text: &str| UnixNanos::parse(text).unwrap();
        let spec = DistributionSpec {
            from: day("2001-01-01"),
            to: day("2001-04-10"),
            rows: 100,
            memory_rows: 128,
            features: vec![feature.clone(); 3],
        };
        let with = |spec: DistributionSpec| problems(|m| m.distribution = Some(spec));
        assert_eq!(with(spec.clone()), Vec::<String>::new());
        let of = |change: &dyn Fn(&mut FeatureDistribution)| {
            let mut spec = spec.clone();
            change(&mut spec.features[1]);
            with(spec)
        };
        let two = spec.features[..2].to_vec();
        let from = day("2001-04-11");
        for (expected, found) in [
            ("distribution.from: is later", with(DistributionSpec { from, ..spec.clone() })),
            (
                "distribution.memory_rows: must be from 64 to 240",
                with(DistributionSpec { memory_rows: 241, ..spec.clone() }),
            ),
            (
                "distribution.features: has 2, and the model 3",
                with(DistributionSpec { features: two, ..spec.clone() }),
            ),
            ("distribution.features[1].min: must be", of(&|f| f.min = f32::NAN)),
            ("distribution.features[1].edges: must rise", of(&|f| f.edges[0] = 0.5)),
            ("distribution.features[1].edges: must rise", of(&|f| f.edges[0] = -1.0)),
            ("distribution.features[1].counts: has 2, not 3", of(&|f| f.counts = vec![50, 50])),
            ("distribution.features[1].counts: add up to 99", of(&|f| f.counts[0] = 19)),
            ("distribution.features[1].largest: must be", of(&|f| f.largest = f64::INFINITY)),
            ("distribution.features[1].limit: must be", of(&|f| f.limit = 0.0)),
        ] {
            assert!(found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn evidence_follows_from_what_is_known_of_the_training() {
        use crate::core::domain::Evidence;
        let day = |text: &str| UnixNanos::parse(text).unwrap();
        let of = |manifest: &Manifest| {
            ["2008-06-26", "2008-06-27", "2010-07-23", "2010-07-24"]
                .map(|text| manifest.evidence().of(day(text)))
        };
        use Evidence::{Training, Unknown, Unseen, Validation};
        let mut manifest = shipped();
        assert_eq!(of(&manifest), [Training, Validation, Validation, Unseen]);
        manifest.training = Known::Unknown;
        assert_eq!(of(&manifest), [Unknown; 4]);
        manifest.origin = Some(Origin {
            onnx_sha256: String::new(),
            producer: String::new(),
            opset: 13,
            rewrites: Vec::new(),
            compared: None,
            trained_until: Known::Is(day("2008-06-26")),
        });
        manifest.evaluation.remove(0);
        assert_eq!(of(&manifest), [Training, Unseen, Unseen, Unseen]);
    }

    #[test]
    fn the_training_of_a_foreign_model_may_be_unknown() {
        let mut foreign = shipped();
        foreign.training = Known::Unknown;
        let text = serde_json::to_string(&foreign).unwrap();
        assert!(text.contains("\"training\":\"unknown\""), "{text}");
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), foreign);
    }
}
