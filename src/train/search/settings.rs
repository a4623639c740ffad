//! What to search: a TOML file over compiled-in defaults.
//!
//! Owns every setting of a search. Promises that all problems are reported at once, each with its
//! key, and that every value of the space is one that the training configuration may have. Never
//! opens the data.

use std::path::{Path, PathBuf};

use config::Value;

use super::space::{Dimension, dimension, json};
use crate::app::config::ConfigError;
use crate::ports::section::{Problems, Section};
use crate::seal::over_defaults;
use crate::train::config::schedule::Control;
use crate::train::config::{REPEATS_MAX, load_with};

/// Every key with its default and the reason for it.
pub const DEFAULTS: &str = include_str!("../../../config/search/default.toml");

/// The most trials.
pub const TRIALS_MAX: usize = 10_000;

/// The longest time, in seconds: a year.
const SECONDS_MAX: usize = 31_536_000;

/// The settings of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The training configuration that is varied.
    pub base: PathBuf,
    /// In which order, and with how many epochs.
    pub method: Method,
    /// The most trials.
    pub trials_max: usize,
    /// After so many seconds no trial begins; 0 for no limit.
    pub seconds_max: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Walk-forward folds.
    pub folds: usize,
    /// What is changed so that the models have nothing to learn.
    pub control: Control,
    /// The folder in which each model has a folder of its own.
    pub output: PathBuf,
    /// Whether the winner is sealed.
    pub seals: bool,
    /// Of so many trials one goes on to the next rung.
    pub reduction: usize,
    /// The fewest epochs of a trial on the first rung.
    pub epochs_min: usize,
    /// What varies.
    pub space: Vec<Dimension>,
}

/// In which order trials are fitted, and with how many epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Each with all epochs.
    Random,
    /// Successive halving (Jamieson and Talwalkar, 2016): all with few epochs, the best of them
    /// with more.
    Halving,
}

impl Method {
    const CHOICES: [(&'static str, Self); 2] =
        [("halving", Self::Halving), ("random", Self::Random)];

    /// The word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Halving => "halving",
        }
    }
}

/// Loads the file at `path` over the defaults.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let refuse = |problems| ConfigError { path: path.to_owned(), problems };
    let settings = over_defaults::load(path, read_in)?;
    load_with(&settings.base, &[])?;
    let problems = unfit(&settings);
    if problems.is_empty() { Ok(settings) } else { Err(refuse(problems)) }
}

fn read_in(text: &str, folder: PathBuf) -> Result<Settings, Vec<String>> {
    over_defaults::read((DEFAULTS, text), Some(folder), &[], check)
}

fn check(tree: Value, problems: &Problems) -> Settings {
    let mut root = Section::root(tree, problems);
    root.shows_all();
    let mut halving = root.section("halving");
    let reduction = halving.count("reduction", 2, 100);
    let epochs_min = halving.count("epochs_min", 1, 1_000_000);
    halving.finish();
    let space = root.sections("space", dimension);
    for (at, one) in space.iter().enumerate() {
        if space[..at].iter().any(|other| other.key == one.key) {
            root.problem(&format!("space[{at}].key"), format_args!("`{}` is there twice", one.key));
        }
    }
    let settings = Settings {
        base: root.path("config"),
        method: root.choice("method", &Method::CHOICES),
        trials_max: root.count("trials_max", 1, TRIALS_MAX),
        seconds_max: root.count("seconds_max", 0, SECONDS_MAX),
        seed: root.count("seed", 0, i64::MAX as usize) as u64,
        folds: root.count("folds", 1, REPEATS_MAX),
        control: root.choice("control", &Control::CHOICES),
        output: root.path("output"),
        seals: root.switch("seal"),
        reduction,
        epochs_min,
        space,
    };
    if settings.space.is_empty() {
        root.problem("space", "needs at least one entry: a key and its values");
    }
    if settings.seals && settings.control != Control::None {
        root.problem("seal", "must be false with a control, whose model has learned nothing");
    }
    root.finish();
    settings
}

/// Values that the training configuration may not have.
fn unfit(settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, Dimension { key, values }) in settings.space.iter().enumerate() {
        for value in values.examples() {
            let shown = json(&value);
            if let Err(error) = load_with(&settings.base, &[(key.clone(), value)]) {
                let found = error.problems.iter();
                problems.extend(found.map(|it| format!("space[{at}]: {key} = {shown}: {it}")));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_with_its_key() {
        let text = "config = 'train.toml'\nmethod = 'grid'\ntrials_max = 0\nseals = true\n\
                    [[space]]\nkey = 'data.path'\nchoices = [1]\n\
                    [[space]]\nkey = 'fit.seed'\nrange = [1, 2]\n\
                    [[space]]\nkey = 'fit.batch'\nrange = [2, 1]\n\
                    [[space]]\nkey = 'fit.batch'\nlog_range = [0, 1]\n\
                    [[space]]\nkey = 'window.steps'\n\
                    [[space]]\nkey = 'window.steps'\nchoices = []\n";
        let problems = read_in(text, PathBuf::new()).unwrap_err().join("\n");
        for expected in [
            "method: `grid` is none of `halving`, `random`",
            "trials_max: must be a whole number from 1 to 10000",
            "seals: unknown key, did you mean `seal`?",
            "space[0].key: must be a key in [window], [network] or [fit], such as `window.steps`",
            "space[1].key: `fit.seed` cannot vary",
            "space[2].range: must be two numbers, the smaller one first",
            "space[3].log_range: must be two numbers above 0",
            "space[3].key: `fit.batch` is there twice",
            "space[4].key: needs one of `choices`, `range` and `log_range`",
            "space[5].choices: needs at least one value",
        ] {
            assert!(problems.contains(expected), "{expected} is not in {problems}");
        }
    }

    #[test]
    fn values_that_the_configuration_may_not_have_are_refused_before_any_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("search.toml");
        let base = "[model]\nname = 'm'\n[data]\npath = 'x.csv'\n";
        std::fs::write(folder.path().join("train.toml"), base).unwrap();
        let text = "config = 'train.toml'\n\
                    [[space]]\nkey = 'network.lstm[0].units'\nrange = [0, 8]\n\
                    [[space]]\nkey = 'window.steps'\nchoices = [5, 'ten']\n";
        std::fs::write(&path, text).unwrap();
        let problems = load(&path).unwrap_err().problems;
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("space[0]: network.lstm[0].units = 0: "), "{problems:?}");
        assert!(problems[1].starts_with("space[1]: window.steps = \"ten\": "), "{problems:?}");
        std::fs::write(&path, text.replace("[0, 8]", "[1, 8]").replace("'ten'", "10")).unwrap();
        let settings = load(&path).unwrap();
        assert_eq!(settings.base, folder.path().join("train.toml"));
        assert_eq!((settings.trials_max, settings.folds), (30, 3));
        assert_eq!((settings.method, settings.control), (Method::Halving, Control::None));
    }
}
