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
use super::schedule::{Schedule, schedule};
use crate::app::config::ConfigError;
use crate::core::features::{RawFeatures, ScalerKind};
use crate::core::forecast::{SignalThresholds, TARGET_KINDS, Target};
use crate::core::step::StepRule;
use crate::engine::model::manifest::StepSpec;
use crate::ops::document::lines_of;
use crate::ops::file::{CONFIGURATION_BYTES_MAX, read_text};
use crate::ports::section::{Origins, Place, Problems, Section, folder_of};
use crate::seal::sections::{
    CalendarChoice, DataConfig, STEPS_MAX, data, forecast, period_steps, step, unknown_field,
};

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
    /// The same for the step code.
    pub step_rule: StepRule,
    /// How the days on which there are steps are found.
    pub calendar: CalendarChoice,
    /// Steps per window: W.
    pub window_steps: usize,
    /// The features in the order of the model's columns.
    pub features: Vec<String>,
    /// Fields beyond the standard ones that the features read.
    pub extra_fields: Vec<String>,
    /// How features become model units.
    pub scaler: ScalerKind,
    /// What is forecast.
    pub target: Target,
    /// How many steps ahead.
    pub horizon_steps: usize,
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
    /// Runs that differ in the seed alone, the first included.
    pub seeds: usize,
    /// Walk-forward folds before the test part; 0 for none.
    pub folds: usize,
    /// The folder of reports; `None` for no report.
    pub reports_root: Option<PathBuf>,
    /// The folder of the checkpoint that a fit keeps while it is under way.
    pub work: PathBuf,
    /// The share of truths that the interval is made to hold.
    pub coverage: f64,
    /// When a value becomes a signal.
    pub signal: SignalThresholds,
    /// When a backtest retrains.
    pub backtest: Schedule,
}

/// Where the state before a row comes from; it decides which modes a model serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRule {
    /// From the window: zero before its first row. For modes `full` and `sliding`.
    Window,
    /// From all rows before it, without end. For mode `carried`.
    Carried,
}

/// How the history is divided in time: training, then validation, then test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// The share at the end for the test, between 0 and 1.
    pub test: f64,
    /// The share of the rest, at its end, for validation, between 0 and 1.
    pub validation: f64,
}

/// The most seeds or folds; each is a whole fit.
pub const REPEATS_MAX: usize = 1000;

/// Loads the file at `path` over the defaults.
///
/// # Errors
/// [`ConfigError`] with every problem found, or the parser's words where the file is no TOML.
pub fn load(path: &Path) -> Result<TrainConfig, ConfigError> {
    let refuse = |problems| ConfigError { path: path.to_owned(), problems };
    let text = read_text(path, CONFIGURATION_BYTES_MAX)
        .map_err(|error| refuse(vec![error.to_string()]))?;
    read_in(&text, Some(folder_of(path))).map_err(refuse)
}

/// As [`load`], from text.
#[cfg(test)]
pub(super) fn read(text: &str) -> Result<TrainConfig, Vec<String>> {
    read_in(text, None)
}

/// As [`load`], from the text of a file in `folder`.
fn read_in(text: &str, folder: Option<PathBuf>) -> Result<TrainConfig, Vec<String>> {
    let mut origins = Origins::new(folder);
    for (key, line) in lines_of(text)? {
        origins.note(&key, Place::Line(line));
    }
    let tree = config::Config::builder()
        .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .map_err(|_| vec!["the file and the defaults do not go together".to_owned()])?;
    let problems = Problems::of(origins);
    let config = check(Value::new(None, tree.cache.kind), &problems);
    if problems.is_empty() { Ok(config) } else { Err(problems.into_vec()) }
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
    let data = {
        let mut section = root.section("data");
        let data = data(&mut section);
        section.finish();
        data
    };
    let (step, step_rule, calendar) = step(root.section("step"));
    let (target, horizon_steps) = {
        let mut section = root.section("target");
        let kind = section.choice("kind", &TARGET_KINDS.map(|kind| (kind, kind)));
        let field = section.optional_text("field");
        let above = section.contains("above").then(|| section.number("above", "", |_| true));
        let target = Target::from_parts(kind, field, above).unwrap_or_else(|error| {
            section.problem(error.part, error.problem);
            Target::NextReturn
        });
        let horizon_steps = section.count("horizon_steps", 1, STEPS_MAX);
        section.finish();
        (target, horizon_steps)
    };
    let Window { steps: window_steps, features, extra_fields, scaler } =
        window(root.section("window"), &target);
    if let Some(error) = unknown_field(&target, &extra_fields) {
        root.problem(&format!("target.{}", error.part), error.problem);
    }
    let split = split(root.section("split"));
    let (architecture, state) = network(root.section("network"), features.len(), &target);
    let (recipe, work) = fit(root.section("fit"), &target);
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
    let (coverage, signal) = forecast(root.section("forecast"), &target);
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
        extra_fields,
        scaler,
        target,
        horizon_steps,
        period_steps,
        split,
        architecture,
        state,
        recipe,
        seeds,
        folds,
        reports_root,
        work,
        coverage,
        signal,
        backtest,
    }
}

struct Window {
    steps: usize,
    features: Vec<String>,
    extra_fields: Vec<String>,
    scaler: ScalerKind,
}

fn window(mut section: Section<'_>, target: &Target) -> Window {
    let steps = section.count("steps", 1, STEPS_MAX);
    let features = section.texts("features");
    let extra_fields = section.texts("extra_fields");
    if let Err(error) = RawFeatures::new(&features, &extra_fields, target.label()) {
        section.problem("features", error);
    }
    let scaler = section.choice("scaler", &ScalerKind::CHOICES);
    section.finish();
    Window { steps, features, extra_fields, scaler }
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

fn network(mut section: Section<'_>, inputs: usize, target: &Target) -> (Architecture, StateRule) {
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
    let attention = Some(section.count("attention", 0, UNITS_MAX)).filter(|units| *units > 0);
    let states = [("window", StateRule::Window), ("carried", StateRule::Carried)];
    let state = section.choice("state", &states);
    if attention.is_some() && state == StateRule::Carried {
        let problem = "reads a whole window, so it must be 0 where network.state is `carried`";
        section.problem("attention", problem);
    }
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
    if let Some(last) = dense.last()
        && target.is_probability()
        && last.activation != Activation::Sigmoid
    {
        let label = target.label();
        let problem = format!("`{label}` is a probability, so the last layer must be `sigmoid`");
        section.problem("dense", problem);
    }
    section.finish();
    (Architecture { inputs, lstm, attention, dense }, state)
}

fn fit(mut section: Section<'_>, target: &Target) -> (Recipe, PathBuf) {
    let seed = section.count("seed", 0, i64::MAX as usize);
    let recipe = Recipe {
        epochs: section.count("epochs_max", 1, 1_000_000),
        batch: section.count("batch", 1, 65_536),
        patience: section.count("patience", 1, 1_000_000),
        learning_rate: section.number("learning_rate", "above 0", |rate| rate > 0.0),
        clip_norm: section.number("clip_norm", "at least 0", |norm| norm >= 0.0),
        loss: loss(&mut section, target),
        seed: seed as u64,
        lanes: section.count("lanes", 1, 64),
    };
    let work = section.path("work");
    section.finish();
    (recipe, work)
}

/// The loss that was asked for, or the usual one of the target.
fn loss(section: &mut Section<'_>, target: &Target) -> Loss {
    let choices = [
        ("auto", None),
        ("mean_squared_error", Some(Loss::MeanSquaredError)),
        ("binary_cross_entropy", Some(Loss::BinaryCrossEntropy)),
        ("quantile", Some(Loss::Quantile(0.5))),
    ];
    let chosen = section.choice("loss", &choices);
    let quantile = section.number("quantile", "between 0 and 1", |q| q > 0.0 && q < 1.0);
    let probability = target.is_probability();
    match chosen {
        None if probability => Loss::BinaryCrossEntropy,
        None => Loss::MeanSquaredError,
        Some(Loss::BinaryCrossEntropy) if !probability => {
            section.problem("loss", format_args!("`{}` is no probability", target.label()));
            Loss::BinaryCrossEntropy
        }
        Some(Loss::Quantile(_)) if probability => {
            let label = target.label();
            section.problem("loss", format_args!("the quantile of a `{label}` is 0 or 1"));
            Loss::Quantile(quantile as f32)
        }
        Some(Loss::Quantile(_)) => Loss::Quantile(quantile as f32),
        Some(loss) => loss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::manifest::{EmptySteps, StepKind};

    const SMALLEST: &str = "[model]\nname = 'm'\n[data]\npath = 'x.csv'\n";

    #[test]
    fn the_smallest_file_trains_the_tutorial() {
        let config = read(SMALLEST).unwrap();
        assert_eq!(config.architecture, Architecture::tutorial(3));
        assert_eq!(config.recipe, Recipe::default());
        assert_eq!((config.window_steps, config.horizon_steps), (30, 1));
        assert_eq!(config.split, Split { test: 0.2, validation: 0.2 });
        assert_eq!(config.version, None);
        assert_eq!(config.state, StateRule::Window);
        assert_eq!(config.scaler, ScalerKind::Minmax);
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
        assert_eq!(seen, 6);
    }

    #[test]
    fn losses_and_signals_follow_the_target() {
        let read = |target: &str, more: &str| {
            let sigmoid = "[network]\ndense = [{ units = 1, activation = 'sigmoid' }]\n";
            let target = format!("[target]\nkind = '{target}'\nfield = 'volume'\n");
            let target = target.replace("direction'\nfield = 'volume'", "direction'");
            read(&format!("{SMALLEST}{sigmoid}{target}{more}"))
        };
        let log_return = self::read(&format!("{SMALLEST}[target]\nkind = 'next_log_return'\n"));
        let log_return = log_return.unwrap();
        assert_eq!(log_return.recipe.loss, Loss::MeanSquaredError);
        assert_eq!((log_return.signal.buy_above, log_return.signal.sell_below), (0.02, -0.02));
        let direction = read("next_direction", "").unwrap();
        assert_eq!(direction.recipe.loss, Loss::BinaryCrossEntropy);
        assert_eq!((direction.signal.buy_above, direction.signal.sell_below), (0.55, 0.45));
        let event = read("next_event", "above = 1\n[forecast]\nbuy_above = 0.3\n").unwrap();
        assert_eq!((event.signal.buy_above, event.signal.sell_below), (0.3, 0.0));
        let brier = read("next_event", "above = 1\n[fit]\nloss = 'mean_squared_error'\n").unwrap();
        assert_eq!(brier.recipe.loss, Loss::MeanSquaredError);
        let signal = "[forecast]\nbuy_above = 2\nsell_below = 1\n";
        let quantile = format!("[fit]\nloss = 'quantile'\nquantile = 0.75\n{signal}");
        assert_eq!(read("next_value", &quantile).unwrap().recipe.loss, Loss::Quantile(0.75));

        let problems = |target, more| read(target, more).unwrap_err();
        let unsaid = [
            "forecast.buy_above: must be a number in the unit of `next_value`",
            "forecast.sell_below: must be a number in the unit of `next_value`",
        ];
        assert_eq!(problems("next_value", ""), unsaid);
        let cross_entropy = format!("[fit]\nloss = 'binary_cross_entropy'\n{signal}");
        let expected = ["fit.loss: `next_value` is no probability"];
        assert_eq!(problems("next_value", &cross_entropy), expected);
        let quantile = "[fit]\nloss = 'quantile'\n";
        let expected = ["fit.loss: the quantile of a `next_direction` is 0 or 1"];
        assert_eq!(problems("next_direction", quantile), expected);
        assert_eq!(problems("next_event", ""), ["target.above: `next_event` needs it"]);
    }

    #[test]
    fn a_scaler_is_chosen_by_its_name() {
        let read = |name: &str| read(&format!("{SMALLEST}[window]\nscaler = '{name}'\n"));
        for (name, kind) in ScalerKind::CHOICES {
            assert_eq!(read(name).unwrap().scaler, kind);
        }
        let expected = "window.scaler: `standart` is none of `minmax`, `standard`, `robust`, \
                        `none`, did you mean `standard`?";
        assert_eq!(read("standart").unwrap_err(), [expected]);
    }

    #[test]
    fn the_period_of_the_seasonal_baseline_is_that_of_the_steps_or_as_said() {
        let read = |more: &str| read(&format!("{SMALLEST}{more}")).unwrap();
        let period = |config: TrainConfig| config.step.period_steps(config.period_steps);
        assert_eq!(period(read("")), Some(7), "days");
        let open = "weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday']";
        assert_eq!(period(read(&format!("[step]\n{open}\n"))), Some(5), "trading days");
        let of = |seconds: u32| period(read(&format!("[step]\ninterval_seconds = {seconds}\n")));
        assert_eq!([60, 300, 3600].map(of), [None, Some(288), Some(24)], "1,440 are too many");
        assert_eq!([7, 7 * 86_400].map(of), [None, None]);
        let ticks = "[step]\nkind = 'ticks'\nticks_per_step = 9\ninterval_seconds = 3600\n";
        assert_eq!(period(read(ticks)), None, "a bar of ticks has no time of day");
        let said = |count: u32| period(read(&format!("[baselines]\nperiod_steps = {count}\n")));
        assert_eq!([0, 1, 1024].map(said), [None, Some(1), Some(1024)]);
        let problems = super::read(&format!("{SMALLEST}[baselines]\nperiod_steps = 1025\n"));
        let expected = "baselines.period_steps: must be a whole number from 0 to 1024";
        assert_eq!(problems.unwrap_err(), [expected]);
    }

    #[test]
    fn steps_are_those_of_the_bundle() {
        let read = |step: &str| read(&format!("{SMALLEST}[step]\n{step}"));
        let config = read(
            "kind = 'time'\ninterval_seconds = 60\noffset_seconds = 7\n\
                           lateness_ms = 1500\nempty = 'carry'\ncarry_steps_max = 3\n\
                           gap_steps_max = 90\n",
        );
        let expected = StepSpec {
            offset_seconds: 7,
            lateness_ms: 1500,
            empty: EmptySteps::Carry,
            carry_steps_max: 3,
            gap_steps_max: Some(90),
            ..StepSpec::time(60)
        };
        let config = config.unwrap();
        assert_eq!((&config.step, Ok(config.step_rule)), (&expected, expected.rule()));
        let ticks = read("kind = 'ticks'\nticks_per_step = 50\n").unwrap().step;
        assert_eq!((ticks.kind, ticks.ticks_per_step), (StepKind::Ticks, 50));
        let problems = read("kind = 'volume'\nlateness_ms = 5\n").unwrap_err();
        let expected = [
            "step.lateness_ms: is used where kind is `time` only",
            "step.volume_per_step: must be above 0",
        ];
        assert_eq!(problems, expected);
        let problems = read("kind = 'time'\nempty = 'carry'\n").unwrap_err();
        assert_eq!(problems, ["step.carry_steps_max: must be from 1 to 1024"]);
    }

    #[test]
    fn a_state_is_carried_through_anything_but_attention() {
        let read = |more: &str| read(&format!("{SMALLEST}[network]\nstate = 'carried'\n{more}"));
        assert_eq!(read("").unwrap().state, StateRule::Carried);
        let expected = "network.attention: reads a whole window, so it must be 0 where \
                        network.state is `carried`";
        assert_eq!(read("attention = 8\n").unwrap_err(), [expected]);
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
            features = ['close', 'next_event']
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
            [target]
            kind = 'next_event'
            field = 'rain'
            above = 0
            [forecast]
            buy_above = -0.1
            sell_below = 0
        ";
        let problems = read(text).unwrap_err();
        let expected = [
            "model.name: is missing",
            "model.nam: unknown key, did you mean `name`?",
            "data.columns: `close` is not a pair `name=column`, such as `close=Adj Close`",
            "data.symbols: ``: a symbol has 1 to 256 bytes, all of them printable",
            "data.jump_max: must be a number 0 or above",
            "window.features: feature `next_event` is the label: its value does not exist for \
             the newest row",
            "target.field: `rain` is neither a standard field nor listed in extra_fields",
            "split.test: must be a number between 0 and 1",
            "network.dense[0].units: must be a whole number from 1 to 4096",
            "network.dense[0].activation: `selu` is none of `linear`, `relu`, `tanh`, `sigmoid`, \
             did you mean `relu`?",
            "network.dense[0].dropot: unknown key, did you mean `dropout`?",
            "network.dense[1].dropout: must be a number from 0 and below 1",
            "network.lstm: needs at least one layer",
            "network.dense: the last layer gives the forecast, so it needs units = 1",
            "network.dense: `next_event` is a probability, so the last layer must be `sigmoid`",
            "fit.learning_rate: must be a number above 0",
            "fit.sed: unknown key, did you mean `seed`?",
            "evaluate.seeds: must be a whole number from 1 to 1000",
            "evaluate.fold: unknown key, did you mean `folds`?",
            "report.folder: must be a text, not a number",
            "forecast.sell_below: is above buy_above",
        ];
        assert_eq!(problems, expected);
    }
}
