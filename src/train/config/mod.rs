//! What to train: a TOML file over compiled-in defaults.
//!
//! Owns every setting of a training run. Promises that all problems are reported at once, each
//! with its key, and that a [`TrainConfig`] that exists is consistent in itself. Never reads the
//! environment, so that a file, the table of static numbers that it names and the data are the
//! whole recipe, and never opens the data.

mod fit;
mod network;
mod outputs;
pub mod schedule;
mod split;
mod start;
mod window;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use config::Value;

use self::fit::{Fit, fit};
use self::network::{Network, network};
pub use self::outputs::OutputsConfig;
use self::schedule::{Schedule, schedule};
pub use self::split::Split;
use self::split::split;
pub use self::start::{Start, StartFrom, StartScaler};
pub use self::window::ScalerPer;
use self::window::{Window, window};
use super::fit::Recipe;
use super::logs::LogKind;
use super::network::Architecture;
use crate::app::config::ConfigError;
use crate::core::features::{Scaler, ScalerKind};
use crate::core::forecast::{SignalThresholds, TARGET_KINDS, Target};
use crate::core::step::StepRule;
use crate::engine::model::manifest::StepSpec;
use crate::ports::section::{Problems, Section};
use crate::seal::over_defaults;
use crate::seal::sections::{
    CalendarChoice, DataConfig, data, forecast, period_steps, step, unknown_field,
};
use crate::seal::spill::SpillRule;
use crate::seal::statics::Statics;

/// Every key with its default and the reason for it.
pub const DEFAULTS: &str = include_str!("../../../config/train/default.toml");

/// A checked training configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The folder of models.
    pub models_root: PathBuf,
    /// The model's name.
    pub name: String,
    /// The model's version; `None` is one more than the highest there is.
    pub version: Option<String>,
    /// Where the history is.
    pub data: DataConfig,
    /// What one step is.
    pub step: StepSpec,
    /// The same for the step code.
    pub step_rule: StepRule,
    /// How the days on which there are steps are found.
    pub calendar: CalendarChoice,
    /// Steps per window: W.
    pub window_steps: usize,
    /// The features in the order of the model's columns.
    pub features: Vec<String>,
    /// Whether the configuration names no features, so that they are the usual ones of the target.
    pub usual_features: bool,
    /// The training part learns from every window at a multiple of so many steps.
    pub window_stride: usize,
    /// Fields beyond the standard ones that the features read.
    pub extra_fields: Vec<String>,
    /// How features become model units.
    pub scaler: ScalerKind,
    /// Whose rows it is fitted to.
    pub scaler_per: ScalerPer,
    /// Numbers that are constant for a symbol, behind the features of its rows.
    pub statics: Option<Statics>,
    /// Columns of a learned table of symbols behind these; 0 for none.
    pub embedding: usize,
    /// What is forecast.
    pub target: Target,
    /// How many steps ahead.
    pub horizon_steps: usize,
    /// What the network gives beside one value for that horizon.
    pub outputs: OutputsConfig,
    /// The period of the seasonal baseline, 0 for none; `None` for that of the steps.
    pub period_steps: Option<u32>,
    /// How the history is divided.
    pub split: Split,
    /// The network.
    pub architecture: Architecture,
    /// Where the state before a row comes from.
    pub state: StateRule,
    /// How it is fitted.
    pub recipe: Recipe,
    /// What it starts from.
    pub start: Start,
    /// The scalers to use instead of fitting them: those of the rows and of the target. A start
    /// from a bundle sets them.
    pub scalers: Option<Box<[Scaler; 2]>>,
    /// Runs that differ in the seed alone, the first included.
    pub seeds: usize,
    /// Walk-forward folds before the test part; 0 for none.
    pub folds: usize,
    /// The folder of reports; `None` for no report.
    pub reports_root: Option<PathBuf>,
    /// The folder of the checkpoint that a fit keeps while it is under way.
    pub work: PathBuf,
    /// The logs that a fit writes, into a folder of its own in `work`.
    pub logs: Vec<LogKind>,
    /// The share of truths that the interval is made to hold.
    pub coverage: f64,
    /// When a value becomes a signal.
    pub signal: SignalThresholds,
    /// When a backtest retrains.
    pub backtest: Schedule,
}

impl TrainConfig {
    /// How many steps ahead the output looks that looks furthest.
    pub fn longest_horizon(&self) -> usize {
        self.outputs.further_horizons.iter().copied().fold(self.horizon_steps, usize::max)
    }
}

/// Where the state before a row comes from; it decides which modes a model serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRule {
    /// From the window: zero before its first row. For modes `full` and `sliding`.
    Window,
    /// From all rows before it, without end. For mode `carried`.
    Carried,
}

/// The most of `data.memory_bytes_max`: 1 TiB.
const MEMORY_BYTES_MAX: usize = 1 << 40;

/// The most seeds or folds; each is a whole fit.
pub const REPEATS_MAX: usize = 1000;

/// Loads the file at `path` over the defaults.
///
/// # Errors
/// [`ConfigError`] with every problem found, or the parser's words where the file is no TOML.
pub fn load(path: &Path) -> Result<TrainConfig, ConfigError> {
    load_with(path, &[])
}

/// As [`load`], with other values for some keys, which may lead into lists, such as
/// `network.lstm[0].units`.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, changes: &[(String, Value)]) -> Result<TrainConfig, ConfigError> {
    over_defaults::load(path, |text, folder| {
        over_defaults::read((DEFAULTS, text), Some(folder), changes, check)
    })
}

/// As [`load`], from text.
#[cfg(test)]
pub(super) fn read(text: &str) -> Result<TrainConfig, Vec<String>> {
    over_defaults::read((DEFAULTS, text), None, &[], check)
}

fn check(tree: Value, problems: &Problems) -> TrainConfig {
    let mut root = Section::root(tree, problems);
    // Nothing is connected to.
    root.shows_all();
    let (models_root, name, version) = {
        let mut section = root.section("model");
        let parts = (section.path("root"), section.text("name"));
        let version = section.optional_text("version");
        section.finish();
        (parts.0, parts.1, version)
    };
    let (mut data, memory_bytes_max) = {
        let mut section = root.section("data");
        let data = data(&mut section);
        let memory_bytes_max = section.count("memory_bytes_max", 0, MEMORY_BYTES_MAX);
        section.finish();
        (data, memory_bytes_max)
    };
    let (step, step_rule, calendar) = step(root.section("step"));
    let (target, horizon_steps, further_horizons) = {
        let mut section = root.section("target");
        let kind = section.choice("kind", &TARGET_KINDS.map(|kind| (kind, kind)));
        let field = section.optional_text("field");
        let above = section.contains("above").then(|| section.number("above", "", |_| true));
        let target = Target::from_parts(kind, field, above).unwrap_or_else(|error| {
            section.problem(error.part, error.problem);
            Target::NextReturn
        });
        let (horizon_steps, further) = outputs::horizons(&mut section);
        section.finish();
        (target, horizon_steps, further)
    };
    let Window {
        steps: window_steps,
        stride: window_stride,
        features,
        usual_features,
        extra_fields,
        scaler,
        scaler_per,
        statics,
    } = window(root.section("window"), &target);
    if let Some(error) = unknown_field(&target, &extra_fields) {
        root.problem(&format!("target.{}", error.part), error.problem);
    }
    let split = split(root.section("split"));
    let columns = features.len() + statics.as_ref().map_or(0, |statics| statics.names.len());
    let mut of_forecast = root.section("forecast");
    let wanted = (outputs::levels(&mut of_forecast), further_horizons);
    let Network { architecture, state, embedding, outputs } =
        network(root.section("network"), columns, &target, wanted);
    let Fit { recipe, work, logs, start } = fit(root.section("fit"), &target, &outputs, state);
    data.spill = Some(SpillRule { folder: work.clone(), bytes_max: memory_bytes_max });
    let (seeds, folds) = {
        let mut section = root.section("evaluate");
        let counts =
            (section.count("seeds", 1, REPEATS_MAX), section.count("folds", 0, REPEATS_MAX));
        section.finish();
        counts
    };
    let period_steps = period_steps(root.section("baselines"));
    let reports_root = {
        let mut section = root.section("report");
        let folder = section.optional_path("folder");
        section.finish();
        folder
    };
    let (coverage, signal) = forecast(of_forecast, &target);
    let backtest = schedule(root.section("backtest"));
    root.finish();
    TrainConfig {
        models_root,
        name,
        version,
        data,
        step,
        step_rule,
        calendar,
        window_steps,
        features,
        usual_features,
        window_stride,
        extra_fields,
        scaler,
        scaler_per,
        statics,
        embedding,
        target,
        horizon_steps,
        outputs,
        period_steps,
        split,
        architecture,
        state,
        recipe,
        start,
        scalers: None,
        seeds,
        folds,
        reports_root,
        work,
        logs,
        coverage,
        signal,
        backtest,
    }
}
