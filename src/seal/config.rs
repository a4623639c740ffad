//! What to seal: a TOML file over compiled-in defaults.
//!
//! Owns every key of a sealing. Promises that all problems are reported at once, each with its
//! line, its key and what to do, and that a [`SealConfig`] that exists is consistent in itself.
//! Never opens the model or the data: what they must agree with is checked by `job`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::Value;

use super::facts::LAYOUTS;
use super::graph::Layout;
use super::over_defaults;
use super::scaling::{Whose, read_scaler};
use super::sections::{
    CalendarChoice, DataConfig, STEPS_MAX, data, forecast, period_steps, step, unknown_field,
};
use crate::app::config::ConfigError;
use crate::core::domain::UnixNanos;
use crate::core::features::{RawFeatures, Scaler};
use crate::core::forecast::{SignalThresholds, TARGET_KINDS, Target};
use crate::core::step::StepRule;
use crate::engine::model::manifest::{StepSpec, is_folder_name};
use crate::ports::section::{Problems, Section};

/// Every key with its default and what it means.
pub const DEFAULTS: &str = include_str!("../../config/model/default.toml");

/// The last column of an output that can be named.
const COLUMN_MAX: usize = 63;

/// A checked configuration of a sealing.
#[derive(Clone, Debug, PartialEq)]
pub struct SealConfig {
    /// The graph as the framework wrote it.
    pub model: PathBuf,
    /// The folder of models.
    pub models_root: PathBuf,
    /// The model's name.
    pub name: String,
    /// The model's version; `None` is one more than the highest there is.
    pub version: Option<String>,
    /// Whether rows that change each other in a batch may be run one at a time.
    pub rows_alone: bool,
    /// Whether the state goes on without end.
    pub carried: bool,
    /// Steps per window: W.
    pub window_steps: usize,
    /// How the axes of the model's input are ordered; `None` to find it out.
    pub layout: Option<Layout>,
    /// The features in the order of the model's columns.
    pub features: Vec<String>,
    /// Fields beyond the standard ones that the features or the target read.
    pub extra_fields: Vec<String>,
    /// What one step is.
    pub step: StepSpec,
    /// The same for the step code.
    pub step_rule: StepRule,
    /// How the days on which there are steps are found.
    pub calendar: CalendarChoice,
    /// From raw features to what the model reads; ranges that only the data can give are unknown.
    pub scaler: Scaler,
    /// What is forecast.
    pub target: Target,
    /// From the target's unit to what the model gives, likewise.
    pub target_scaler: Scaler,
    /// The period of the seasonal baseline, 0 for none; `None` for that of the steps.
    pub period_steps: Option<u32>,
    /// What becomes a bundle: one for each horizon.
    pub parts: Vec<PartConfig>,
    /// The output of the graph; `None` for the only one.
    pub output: Option<String>,
    /// Whether the output has a value for each step; `None` to find it out.
    pub each_step: Option<bool>,
    /// Whether the columns of the values are the user's word and not the default.
    pub says_columns: bool,
    /// The columns of the model's own interval.
    pub ends: Option<[usize; 2]>,
    /// Values of inputs that are neither rows nor states: one number, or one for each element.
    pub constants: BTreeMap<String, Vec<f64>>,
    /// Where the history is.
    pub data: DataConfig,
    /// The newest row that training saw; `None` where it is not known.
    pub trained_until: Option<UnixNanos>,
    /// The framework's own predictions; `None` where there are none.
    pub expect: Option<ExpectConfig>,
    /// The share of truths that the interval is made to hold.
    pub coverage: f64,
    /// When a value becomes a signal.
    pub signal: SignalThresholds,
}

/// A horizon and the column that forecasts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartConfig {
    /// How many steps ahead.
    pub horizon_steps: usize,
    /// The column of the value, counted from 0.
    pub value: usize,
}

/// The framework's own predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectConfig {
    /// The file.
    pub path: PathBuf,
    /// Whether they are in the target's unit and not in the model's.
    pub in_target_unit: bool,
    /// The largest difference that passes.
    pub tolerance: f64,
}

impl SealConfig {
    /// The name of the bundle of one part.
    pub fn name_of(&self, part: PartConfig) -> String {
        match self.parts.len() {
            1 => self.name.clone(),
            _ => format!("{}-h{}", self.name, part.horizon_steps),
        }
    }
}

/// Loads the file at `path` over the defaults.
///
/// # Errors
/// [`ConfigError`] with every problem found, or the parser's words where the file is no TOML.
pub fn load(path: &Path) -> Result<SealConfig, ConfigError> {
    over_defaults::load(path, |text, folder| read_in(text, Some(folder)))
}

/// As [`load`], from the text of a file in `folder`.
///
/// # Errors
/// As [`load`].
pub fn read_in(text: &str, folder: Option<PathBuf>) -> Result<SealConfig, Vec<String>> {
    over_defaults::read((DEFAULTS, text), folder, &[], check)
}

fn check(tree: Value, problems: &Problems) -> SealConfig {
    let mut root = Section::root(tree, problems);
    // Nothing is connected to.
    root.shows_all();
    let model = required_path(&mut root, "model", "name the .onnx file that the framework wrote");
    let models_root = root.path("root");
    let name = required_text(&mut root, "name", "how the model is to be called");
    let version = root.optional_text("version");
    for (key, text) in [("name", Some(&name)), ("version", version.as_ref())] {
        if let Some(text) = text.filter(|text| !text.is_empty() && !is_folder_name(text)) {
            let rule =
                "must be letters, digits, `-`, `_` and inner dots, because it names a folder";
            root.problem(key, format_args!("`{text}` {rule}"));
        }
    }
    let rows_alone = root.choice("rows_mix", &[("refuse", false), ("alone", true)]);
    let carried = root.switch("carried");
    let (step, step_rule, calendar) = step(root.section("step"));
    let (target, horizons, target_scaler) = target(root.section("target"));
    let Window { steps: window_steps, layout, features, extra_fields } =
        window(root.section("window"), &target);
    if let Some(error) = unknown_field(&target, &extra_fields) {
        root.problem(&format!("target.{}", error.part), error.problem);
    }
    let scaler = read_scaler(root.section("scaler"), &features, Whose::Features);
    let Output { name: output, parts, ends, each_step, says_columns } =
        output(root.section("output"), &horizons);
    let constants = constants(&mut root);
    let (data, trained_until) = {
        let mut section = root.section("data");
        let data = data(&mut section);
        let text = section.optional_text("trained_until");
        let trained_until = text.and_then(|text| {
            // A time of the history, so it means the same as one there.
            let times = &data.file.dialect.times;
            let time = times.parse(&text).ok();
            if time.is_none() {
                let problem = "is not a time, such as 2021-05-28 or 2021-05-28T20:00:00Z";
                let read = format_args!("`{text}` {problem}; times are {times}");
                section.problem("trained_until", read);
            }
            time
        });
        section.finish();
        (data, trained_until)
    };
    let period_steps = period_steps(root.section("baselines"));
    let expect = expect(root.section("expect"));
    let (coverage, signal) = forecast(root.section("forecast"), &target);
    root.finish();
    SealConfig {
        model,
        models_root,
        name,
        version,
        rows_alone,
        carried,
        window_steps,
        layout,
        features,
        extra_fields,
        step,
        step_rule,
        calendar,
        scaler,
        target,
        target_scaler,
        period_steps,
        parts,
        output,
        each_step,
        says_columns,
        ends,
        constants,
        data,
        trained_until,
        expect,
        coverage,
        signal,
    }
}

/// `[window]`
struct Window {
    steps: usize,
    layout: Option<Layout>,
    features: Vec<String>,
    extra_fields: Vec<String>,
}

fn window(mut section: Section<'_>, target: &Target) -> Window {
    let steps = if section.contains("steps") {
        section.count("steps", 1, STEPS_MAX)
    } else {
        section.problem("steps", "is missing: how many rows the model reads for one forecast");
        1
    };
    let known = LAYOUTS.map(|(key, layout)| (key, Some(layout)));
    let layout = section.choice("layout", &[&[("auto", None)][..], &known].concat());
    let features = section.texts("features");
    let extra_fields = section.texts("extra_fields");
    if features.is_empty() {
        let problem =
            "is missing: list what the model reads of a step, in the order of its columns";
        section.problem("features", problem);
    } else if let Err(error) = RawFeatures::new(&features, &extra_fields, target.label()) {
        section.problem("features", error);
    }
    section.finish();
    Window { steps, layout, features, extra_fields }
}

/// A text without a default; a problem says what is to be given.
fn required_text(section: &mut Section<'_>, name: &'static str, what: &str) -> String {
    if section.contains(name) {
        return section.text(name);
    }
    section.problem(name, format_args!("is missing: {what}"));
    String::new()
}

/// As [`required_text`], of a path.
fn required_path(section: &mut Section<'_>, name: &'static str, what: &str) -> PathBuf {
    let text = required_text(section, name, what);
    section.path_of(name, &text)
}

/// What is forecast, over which horizons, and its scaler.
fn target(mut section: Section<'_>) -> (Target, Vec<usize>, Scaler) {
    let kind = section.choice("kind", &TARGET_KINDS.map(|kind| (kind, kind)));
    let field = section.optional_text("field");
    let above = section.contains("above").then(|| section.number("above", "", |_| true));
    let target = Target::from_parts(kind, field, above).unwrap_or_else(|error| {
        section.problem(error.part, error.problem);
        Target::NextReturn
    });
    let mut horizons = Vec::new();
    for horizon in section.numbers("horizon_steps").unwrap_or_default() {
        if horizon.fract() == 0.0 && (1.0..=STEPS_MAX as f64).contains(&horizon) {
            horizons.push(horizon as usize);
        } else {
            let rule = format_args!("must be whole numbers from 1 to {STEPS_MAX}");
            section.problem("horizon_steps", rule);
        }
    }
    let mut distinct = horizons.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != horizons.len() {
        section.problem("horizon_steps", "has a horizon twice; each becomes a bundle of its own");
    } else if horizons.is_empty() {
        section.problem("horizon_steps", "needs at least one horizon");
    }
    let column = [target.label().to_owned()];
    let scaler = read_scaler(section.section("scaler"), &column, Whose::Target);
    section.finish();
    (target, horizons, scaler)
}

/// `[output]`
struct Output {
    name: Option<String>,
    parts: Vec<PartConfig>,
    ends: Option<[usize; 2]>,
    each_step: Option<bool>,
    says_columns: bool,
}

fn output(mut section: Section<'_>, horizons: &[usize]) -> Output {
    let name = section.optional_text("name");
    let each_step = section.optional_switch("each_step");
    let says_columns = section.is_given("value");
    let mut values = Vec::new();
    for column in section.numbers("value").unwrap_or_default() {
        if column.fract() == 0.0 && (0.0..=COLUMN_MAX as f64).contains(&column) {
            values.push(column as usize);
        } else {
            let rule = format_args!("must be columns from 0 to {COLUMN_MAX}");
            section.problem("value", rule);
        }
    }
    if values.len() != horizons.len() && !values.is_empty() && !horizons.is_empty() {
        let (columns, horizons) = (values.len(), horizons.len());
        section.problem(
            "value",
            format_args!(
                "has {columns} columns for {horizons} horizons: list one column for each of \
                 target.horizon_steps"
            ),
        );
    }
    let lower = section.optional_count("lower", 0, COLUMN_MAX);
    let upper = section.optional_count("upper", 0, COLUMN_MAX);
    let ends = match (lower, upper) {
        (Some(lower), Some(upper)) => {
            let same = lower == upper || values.contains(&lower) || values.contains(&upper);
            if same {
                section.problem("lower", "value, lower and upper must be different columns");
            } else if horizons.len() > 1 {
                let problem = "and upper are for one horizon only: seal each horizon by a file of \
                               its own";
                section.problem("lower", problem);
            }
            Some([lower, upper])
        }
        (None, None) => None,
        (lower, _) => {
            let missing = if lower.is_none() { "lower" } else { "upper" };
            section.problem(missing, "is missing: the ends of an interval go together");
            None
        }
    };
    section.finish();
    let pairs = horizons.iter().zip(&values);
    let parts = pairs.map(|(horizon, value)| PartConfig { horizon_steps: *horizon, value: *value });
    Output { name, parts: parts.collect(), ends, each_step, says_columns }
}

fn constants(root: &mut Section<'_>) -> BTreeMap<String, Vec<f64>> {
    let mut constants = BTreeMap::new();
    for (name, texts) in root.lists("constants") {
        let number = |text: &String| text.parse::<f64>().ok().filter(|value| value.is_finite());
        match texts.iter().map(number).collect::<Option<Vec<f64>>>() {
            Some(values) if !values.is_empty() => {
                constants.insert(name, values);
            }
            _ => {
                let key = format!("constants.\"{}\"", name.escape_debug());
                let problem = "must be a number, or a list with one for each element of that input";
                root.problem(&key, problem);
            }
        }
    }
    constants
}

fn expect(mut section: Section<'_>) -> Option<ExpectConfig> {
    let path = section.optional_path("path");
    let in_target_unit = section.choice("unit", &[("model", false), ("target", true)]);
    let tolerance = section.number("tolerance", "above 0", |tolerance| tolerance > 0.0);
    section.finish();
    path.map(|path| ExpectConfig { path, in_target_unit, tolerance })
}
