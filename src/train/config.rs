//! What to train: a TOML file over compiled-in defaults.
//!
//! Owns every setting of a training run. Promises that all problems are reported at once, each
//! with its key, and that a [`TrainConfig`] that exists is consistent in itself. Never reads the
//! environment, so that a file and the data are the whole recipe, and never opens the data.

use std::path::{Path, PathBuf};

use config::{File, FileFormat, Value};

use super::fit::Recipe;
use super::loss::Loss;
use super::network::{Activation, Architecture, DenseShape, LstmShape};
use crate::config::ConfigError;
use crate::config::read::{Problems, Section};
use crate::domain::{Symbol, TimeUnit};
use crate::features::RawFeatures;
use crate::forecast::{SignalThresholds, Target};
use crate::model::manifest::{StepKind, StepSpec};
use crate::source::file::ColumnMap;

/// Every key with its default and the reason for it.
pub const DEFAULTS: &str = include_str!("../../config/train/default.toml");

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
    /// Steps per window: W.
    pub window_steps: usize,
    /// The features in the order of the model's columns.
    pub features: Vec<String>,
    /// Fields beyond the standard ones that the features read.
    pub extra_fields: Vec<String>,
    /// What is forecast.
    pub target: Target,
    /// How many steps ahead.
    pub horizon_steps: usize,
    /// How the history is divided.
    pub split: Split,
    /// The network.
    pub architecture: Architecture,
    /// How it is fitted.
    pub recipe: Recipe,
    /// Runs that differ in the seed alone, the first included.
    pub seeds: usize,
    /// Walk-forward folds before the test part; 0 for none.
    pub folds: usize,
    /// The folder of reports; `None` for no report.
    pub reports_root: Option<PathBuf>,
    /// The share of truths that the interval is made to hold.
    pub coverage: f64,
    /// When a value becomes a signal.
    pub signal: SignalThresholds,
}

/// Where the history is.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// The file.
    pub path: PathBuf,
    /// Which columns of a CSV file to read under which names.
    pub columns: Option<ColumnMap>,
    /// The symbol of a file that has no column for it.
    pub symbol: Option<String>,
    /// The symbols to train on; all where the list is empty.
    pub symbols: Vec<String>,
    /// The unit of event times that are numbers.
    pub time_unit: TimeUnit,
    /// The largest change of price from one row of a symbol to the next that is no mistake, a
    /// fraction; 0 allows any.
    pub jump_max: f64,
}

/// How the history is divided in time: training, then validation, then test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// The share at the end for the test, between 0 and 1.
    pub test: f64,
    /// The share of the rest, at its end, for validation, between 0 and 1.
    pub validation: f64,
}

/// The longest window and horizon, as the manifest has it.
const STEPS_MAX: usize = 4096;
/// The most seeds or folds; each is a whole fit.
pub const REPEATS_MAX: usize = 1000;

/// Loads the file at `path` over the defaults.
///
/// # Errors
/// [`ConfigError`] with every problem found, or the parser's words where the file is no TOML.
pub fn load(path: &Path) -> Result<TrainConfig, ConfigError> {
    let refuse = |problems| ConfigError { path: path.to_owned(), problems };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(vec![error.to_string()]))?;
    read(&text).map_err(refuse)
}

/// As [`load`], from text.
pub(super) fn read(text: &str) -> Result<TrainConfig, Vec<String>> {
    let tree = config::Config::builder()
        .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .map_err(|error| vec![error.to_string()])?;
    let mut problems = Problems::default();
    let config = check(Value::new(None, tree.cache.kind), &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems.into_vec()) }
}

fn check(tree: Value, problems: &mut Problems) -> TrainConfig {
    let mut root = Section::root(tree, problems);
    let (models_root, name, version) = {
        let mut section = root.section("model");
        let parts = (section.text("root").into(), section.text("name"));
        let version = section.optional_text("version");
        section.finish();
        (parts.0, parts.1, version)
    };
    let data = data(root.section("data"));
    let step = step(root.section("step"));
    let (target, horizon_steps) = {
        let mut section = root.section("target");
        let kind = section.choice("kind", &[("next_return", Target::NextReturn)]);
        let horizon_steps = section.count("horizon_steps", 1, STEPS_MAX);
        section.finish();
        (kind, horizon_steps)
    };
    let (window_steps, features, extra_fields) = window(root.section("window"), target);
    let split = split(root.section("split"));
    let architecture = network(root.section("network"), features.len());
    let recipe = fit(root.section("fit"));
    let (seeds, folds) = {
        let mut section = root.section("evaluate");
        let counts =
            (section.count("seeds", 1, REPEATS_MAX), section.count("folds", 0, REPEATS_MAX));
        section.finish();
        counts
    };
    let reports_root = {
        let mut section = root.section("report");
        let folder = section.optional_text("folder").map(PathBuf::from);
        section.finish();
        folder
    };
    let (coverage, signal) = forecast(root.section("forecast"));
    root.finish();
    TrainConfig {
        models_root,
        name,
        version,
        data,
        step,
        window_steps,
        features,
        extra_fields,
        target,
        horizon_steps,
        split,
        architecture,
        recipe,
        seeds,
        folds,
        reports_root,
        coverage,
        signal,
    }
}

fn data(mut section: Section<'_>) -> DataConfig {
    let path = section.text("path").into();
    let columns = section
        .optional_text("columns")
        .and_then(|text| text.parse().map_err(|error| section.problem("columns", error)).ok());
    let symbol = section.optional_text("symbol");
    let symbols = section.texts("symbols");
    for (name, symbol) in
        symbol.iter().map(|s| ("symbol", s)).chain(symbols.iter().map(|s| ("symbols", s)))
    {
        if let Err(error) = Symbol::check(symbol) {
            section.problem(name, format_args!("`{}`: {error}", symbol.escape_debug()));
        }
    }
    let units = [
        ("ms", TimeUnit::Milliseconds),
        ("s", TimeUnit::Seconds),
        ("us", TimeUnit::Microseconds),
        ("ns", TimeUnit::Nanoseconds),
    ];
    let time_unit = section.choice("time_unit", &units);
    let jump_max = section.number("jump_max", "0 or above", |jump| jump >= 0.0);
    section.finish();
    DataConfig { path, columns, symbol, symbols, time_unit, jump_max }
}

fn step(mut section: Section<'_>) -> StepSpec {
    let kind = section.choice("kind", &[("record", StepKind::Record), ("time", StepKind::Time)]);
    let interval = section.count("interval_seconds", 1, u32::MAX as usize);
    section.finish();
    let interval_seconds = u32::try_from(interval).expect("the count above is at most u32::MAX");
    StepSpec { kind, interval_seconds }
}

fn window(mut section: Section<'_>, target: Target) -> (usize, Vec<String>, Vec<String>) {
    let steps = section.count("steps", 1, STEPS_MAX);
    let features = section.texts("features");
    let extra_fields = section.texts("extra_fields");
    if let Err(error) = RawFeatures::new(&features, &extra_fields, target.label()) {
        section.problem("features", error);
    }
    section.finish();
    (steps, features, extra_fields)
}

fn split(mut section: Section<'_>) -> Split {
    let share = |share: f64| share > 0.0 && share < 1.0;
    let split = Split {
        test: section.number("test", "between 0 and 1", share),
        validation: section.number("validation", "between 0 and 1", share),
    };
    section.finish();
    split
}

fn network(mut section: Section<'_>, inputs: usize) -> Architecture {
    const UNITS_MAX: usize = 4096;
    fn rate(section: &mut Section<'_>, name: &'static str) -> f32 {
        // A layer may leave its dropout out.
        if section.contains(name) {
            section.number(name, "from 0 and below 1", |rate| (0.0..1.0).contains(&rate)) as f32
        } else {
            0.0
        }
    }
    let lstm = section.sections("lstm", |mut layer| {
        let shape = LstmShape {
            units: layer.count("units", 1, UNITS_MAX),
            recurrent_dropout: rate(&mut layer, "recurrent_dropout"),
            dropout: rate(&mut layer, "dropout"),
        };
        layer.finish();
        shape
    });
    let dense = section.sections("dense", |mut layer| {
        let activations = [
            ("linear", Activation::Linear),
            ("relu", Activation::Relu),
            ("tanh", Activation::Tanh),
            ("sigmoid", Activation::Sigmoid),
        ];
        let shape = DenseShape {
            units: layer.count("units", 1, UNITS_MAX),
            activation: layer.choice("activation", &activations),
            dropout: rate(&mut layer, "dropout"),
        };
        layer.finish();
        shape
    });
    for (name, empty) in [("lstm", lstm.is_empty()), ("dense", dense.is_empty())] {
        if empty {
            section.problem(name, "needs at least one layer");
        }
    }
    if let Some(last) = dense.last()
        && last.units != 1
    {
        section.problem("dense", "the last layer gives the forecast, so it needs units = 1");
    }
    section.finish();
    Architecture { inputs, lstm, dense }
}

fn fit(mut section: Section<'_>) -> Recipe {
    let seed = section.count("seed", 0, i64::MAX as usize);
    let recipe = Recipe {
        epochs: section.count("epochs_max", 1, 1_000_000),
        batch: section.count("batch", 1, 65_536),
        patience: section.count("patience", 1, 1_000_000),
        learning_rate: section.number("learning_rate", "above 0", |rate| rate > 0.0),
        loss: Loss::MeanSquaredError,
        seed: seed as u64,
        lanes: section.count("lanes", 1, 64),
    };
    section.finish();
    recipe
}

fn forecast(mut section: Section<'_>) -> (f64, SignalThresholds) {
    let any = |_| true;
    let coverage = section.number("coverage", "between 0 and 1", |c| c > 0.0 && c < 1.0);
    let signal = SignalThresholds {
        buy_above: section.number("buy_above", "(a fraction, 0.02 is 2 %)", any),
        sell_below: section.number("sell_below", "(a fraction, -0.02 is -2 %)", any),
    };
    if signal.sell_below > signal.buy_above {
        section.problem("sell_below", "is above buy_above");
    }
    section.finish();
    (coverage, signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "[model]\nname = 'm'\n[data]\npath = 'x.csv'\n";

    #[test]
    fn the_smallest_file_trains_the_tutorial() {
        let config = read(SMALLEST).unwrap();
        assert_eq!(config.architecture, Architecture::tutorial(3));
        assert_eq!(config.recipe, Recipe::default());
        assert_eq!((config.window_steps, config.horizon_steps), (30, 1));
        assert_eq!(config.split, Split { test: 0.2, validation: 0.2 });
        assert_eq!(config.version, None);
        assert_eq!((config.seeds, config.folds), (1, 0));
        assert_eq!(config.reports_root.as_deref(), Some(Path::new("reports")));
    }

    #[test]
    fn the_configurations_that_ship_are_usable() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/train");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() != "default.toml" {
                load(&path).unwrap();
                seen += 1;
            }
        }
        assert_eq!(seen, 1);
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_key() {
        let text = "
            [model]
            nam = 'x'
            [data]
            path = 'x.csv'
            columns = 'close'
            symbols = ['']
            jump_max = -0.4
            [window]
            features = ['close', 'next_return']
            [split]
            test = 1
            [network]
            lstm = []
            dense = [
              { units = 0, activation = 'selu', dropot = 0.1 },
              { units = 2, activation = 'relu', dropout = 1.0 },
            ]
            [fit]
            learning_rate = -1
            sed = 1
            [evaluate]
            seeds = 0
            fold = 3
            [report]
            folder = 1
            [forecast]
            buy_above = -0.1
        ";
        let problems = read(text).unwrap_err();
        let expected = [
            "model.name: is missing",
            "model.nam: unknown key, did you mean `name`?",
            "data.columns: `close` is not a pair `name=column`, such as `close=Adj Close`",
            "data.symbols: ``: a symbol has 1 to 64 bytes, all of them printable",
            "data.jump_max: must be a number 0 or above",
            "window.features: feature `next_return` is the label: its value does not exist for \
             the newest row",
            "split.test: must be a number between 0 and 1",
            "network.dense[0].units: must be a whole number from 1 to 4096",
            "network.dense[0].activation: `selu` is none of `linear`, `relu`, `tanh`, `sigmoid`, \
             did you mean `relu`?",
            "network.dense[0].dropot: unknown key, did you mean `dropout`?",
            "network.dense[1].dropout: must be a number from 0 and below 1",
            "network.lstm: needs at least one layer",
            "network.dense: the last layer gives the forecast, so it needs units = 1",
            "fit.learning_rate: must be a number above 0",
            "fit.sed: unknown key, did you mean `seed`?",
            "evaluate.seeds: must be a whole number from 1 to 1000",
            "evaluate.fold: unknown key, did you mean `folds`?",
            "report.folder: must be a text, not 1",
            "forecast.sell_below: is above buy_above",
        ];
        assert_eq!(problems, expected);
    }
}
