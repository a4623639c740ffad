//! What judges a trial: walk-forward folds before the test part.
//!
//! Owns the instants at which the history is cut, and the figure of a trial. Promises that every
//! trial is judged by the same forecasts, whatever its window and features need before the first
//! one, and that no step of the test part is read for it. Never chooses a trial.

use serde::{Deserialize, Serialize};

use super::error::SearchError;
use super::settings::Settings;
use super::space::{Dimension, Values};
use crate::core::domain::UnixNanos;
use crate::core::features::RawFeatures;
use crate::train::config::schedule::Control;
use crate::train::config::{Split, TrainConfig, load_with};
use crate::train::dataset::{Dataset, Example};
use crate::train::error::TrainError;
use crate::train::fit::loss::Loss;
use crate::train::fit::{Progress, fit};
use crate::train::history::{History, read};
use crate::train::outputs::read as read_outputs;

/// The figures of a trial on one fold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldFigures {
    /// Forecasts that were judged.
    pub forecasts: usize,
    /// The sum of their losses.
    pub loss: f64,
    /// The same of persistence.
    pub persistence: f64,
    /// Epochs of the fit.
    pub epochs: usize,
    /// The epoch whose parameters count.
    pub best_epoch: usize,
}

/// The figures of a trial over all folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// The mean loss over the forecasts of all folds, by which trials are compared: the squared
    /// error in the target's unit, or the pinball loss of a quantile.
    pub loss: f64,
    /// `1 - loss / loss of persistence`.
    pub skill: f64,
    /// Each fold, oldest first.
    pub folds: Vec<FoldFigures>,
}

impl Figures {
    fn of(folds: Vec<FoldFigures>) -> Self {
        let sum = |part: fn(&FoldFigures) -> f64| folds.iter().map(part).sum::<f64>();
        let count = sum(|fold| fold.forecasts as f64).max(1.0);
        let (loss, persistence) = (sum(|fold| fold.loss), sum(|fold| fold.persistence));
        let skill = if persistence > 0.0 { 1.0 - loss / persistence } else { 0.0 };
        Self { loss: loss / count, skill, folds }
    }
}

/// What is made small, in the target's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measure {
    /// The square of the error; for a probability, the Brier score.
    Squared,
    /// The pinball loss of a quantile.
    Pinball(f64),
}

impl Measure {
    pub(super) fn of(loss: Loss) -> Self {
        match loss {
            Loss::Quantile(quantile) => Self::Pinball(f64::from(quantile)),
            _ => Self::Squared,
        }
    }

    fn of_forecast(self, value: f64, truth: f64) -> f64 {
        let above = truth - value;
        match self {
            Self::Squared => above * above,
            Self::Pinball(quantile) => (quantile * above).max((quantile - 1.0) * above),
        }
    }
}

/// The cuts and the measure.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// The first instant of the test part.
    pub(super) test_from: UnixNanos,
    /// SHA-256 of the file of the history.
    pub(super) data_sha256: String,
    /// The beginnings of the test spans of the folds, and the end of the last one.
    bounds: Vec<UnixNanos>,
    /// The longest window of any trial.
    window_max: usize,
    /// The longest warm-up of any trial, in steps.
    warm_up_max: usize,
    measure: Measure,
    control: Control,
}

impl Judge {
    /// Reads the history once and cuts it: the test part as the configuration does, the time before
    /// it into one stretch more than folds.
    pub(super) fn new(settings: &Settings, base: &TrainConfig) -> Result<Self, SearchError> {
        let folds = settings.folds;
        let mut config = base.clone();
        let history = history(&mut config, UnixNanos::from_nanos(i64::MAX))?;
        let dataset = Dataset::new(&history, &config).map_err(TrainError::from)?;
        let oldest = dataset.test.examples.iter().map(|example| {
            history.series[example.series].steps.step(example.step + 1 - config.window_steps).time
        });
        let test_from = config.split.test_from.or_else(|| oldest.min());
        let test_from = test_from.ok_or(SearchError::NoTest)?;
        let steps = history.series.iter().flat_map(|series| &series.steps);
        let mut times: Vec<_> =
            steps.map(|step| step.time).filter(|time| *time < test_from).collect();
        times.sort_unstable();
        let bound = |fold: usize| times.get(times.len() * fold / (folds + 1)).copied();
        let bounds: Option<Vec<_>> = (1..=folds).map(bound).collect();
        let mut bounds = bounds.ok_or(SearchError::NoTest)?;
        bounds.push(test_from);
        let (window_max, warm_up_max) = longest(settings, base)?;
        let judge = Self {
            test_from,
            data_sha256: history.data_sha256.clone(),
            bounds,
            window_max,
            warm_up_max,
            measure: Measure::of(base.recipe.loss),
            control: settings.control,
        };
        judge.check(base)?;
        Ok(judge)
    }

    /// Where the test span of each fold begins.
    pub(super) fn folds(&self) -> &[UnixNanos] {
        &self.bounds[..self.bounds.len() - 1]
    }

    /// Divides every fold once, so that one that is too short is found before the first fit.
    fn check(&self, base: &TrainConfig) -> Result<(), SearchError> {
        for fold in 0..self.folds().len() {
            let (config, history, dataset) = self.fold(base, fold).map_err(|source| {
                SearchError::Fold { number: fold + 1, source: Box::new(source) }
            })?;
            let judged = dataset.test.examples.iter();
            let judged = judged.filter(|example| self.judges(&history, example, fold)).count();
            if judged == 0 {
                return Err(SearchError::ShortFold {
                    number: fold + 1,
                    window: self.window_max,
                    horizon: config.horizon_steps,
                });
            }
        }
        Ok(())
    }

    /// Fits and judges a configuration on every fold, with at most so many epochs.
    pub(super) fn judge(
        &self,
        config: &TrainConfig,
        epochs: usize,
        observer: &mut dyn FnMut(usize, Progress<'_>),
    ) -> Result<Figures, TrainError> {
        let mut folds = Vec::with_capacity(self.folds().len());
        for fold in 0..self.folds().len() {
            let (mut config, history, dataset) = self.fold(config, fold)?;
            config.recipe.epochs = epochs;
            let network = dataset.network(&config)?;
            let mut observer = |progress: Progress<'_>| {
                observer(fold + 1, progress);
                std::ops::ControlFlow::Continue(())
            };
            let fit = fit(&network, dataset.examples(), &config.recipe, &mut observer)?;
            let lanes = config.recipe.lanes;
            let outputs = dataset.predict(&network, &fit.parameters, &dataset.test, lanes);
            let said = read_outputs(&config, 0, &dataset.target_scaler, &outputs)?;
            let mut figures = FoldFigures {
                forecasts: 0,
                loss: 0.0,
                persistence: 0.0,
                epochs: fit.epochs.len(),
                best_epoch: fit.best_epoch,
            };
            for (example, value) in dataset.test.examples.iter().zip(said.values) {
                if self.judges(&history, &example, fold) {
                    figures.forecasts += 1;
                    figures.loss += self.measure.of_forecast(value, example.truth);
                    figures.persistence +=
                        self.measure.of_forecast(example.persistence, example.truth);
                }
            }
            folds.push(figures);
        }
        Ok(Figures::of(folds))
    }

    /// The history of a fold, which ends with its test span, in its parts.
    fn fold(
        &self,
        config: &TrainConfig,
        fold: usize,
    ) -> Result<(TrainConfig, History, Dataset), TrainError> {
        let mut config = config.clone();
        let history = history(&mut config, self.bounds[fold + 1])?;
        config.split = Split { test_from: Some(self.bounds[fold]), ..config.split };
        let dataset = self.dataset(&history, &config)?;
        Ok((config, history, dataset))
    }

    /// The whole history in its parts, the test part among them: for the winner alone.
    pub(super) fn whole(
        &self,
        config: &TrainConfig,
    ) -> Result<(TrainConfig, History, Dataset), TrainError> {
        let mut config = config.clone();
        let history = history(&mut config, UnixNanos::from_nanos(i64::MAX))?;
        config.split = Split { test_from: Some(self.test_from), ..config.split };
        let dataset = self.dataset(&history, &config)?;
        Ok((config, history, dataset))
    }

    fn dataset(&self, history: &History, config: &TrainConfig) -> Result<Dataset, TrainError> {
        let mut dataset = Dataset::new(history, config)?;
        if self.control == Control::RandomTarget {
            dataset.shuffle_labels(config.recipe.seed);
        }
        Ok(dataset)
    }

    /// Whether a forecast counts: one that every trial makes, whatever it needs before.
    fn judges(&self, history: &History, example: &Example, fold: usize) -> bool {
        let steps = &history.series[example.series].steps;
        let begins = steps.before(self.bounds[fold]);
        example.step + 1 >= begins.max(self.warm_up_max) + self.window_max
    }
}

/// The history before an instant; what it says of the steps goes into the configuration.
fn history(config: &mut TrainConfig, before: UnixNanos) -> Result<History, TrainError> {
    let label = config.target.label();
    let features = RawFeatures::new(&config.features, &config.extra_fields, label)?;
    let mut history = read(&config.data, &features, &config.step_rule, None)?.before(before);
    let TrainConfig { data, step, step_rule, calendar, .. } = config;
    history.complete_steps(step, step_rule, calendar, data.accepts_times)?;
    Ok(history)
}

/// The longest window and the longest warm-up of any trial, in steps.
fn longest(settings: &Settings, base: &TrainConfig) -> Result<(usize, usize), SearchError> {
    let warm_up = |config: &TrainConfig| -> Result<usize, TrainError> {
        let label = config.target.label();
        let features = RawFeatures::new(&config.features, &config.extra_fields, label)?;
        Ok(usize::try_from(features.warm_up_steps()).unwrap_or(usize::MAX))
    };
    let (mut window_max, mut warm_up_max) = (base.window_steps, warm_up(base)?);
    for Dimension { key, values } in &settings.space {
        match (&**key, values) {
            ("window.steps" | "window.features", Values::Choices(_) | Values::Whole { .. }) => {}
            _ => continue,
        }
        for value in values.examples() {
            let config = load_with(&settings.base, &[(key.clone(), value)])?;
            window_max = window_max.max(config.window_steps);
            warm_up_max = warm_up_max.max(warm_up(&config)?);
        }
    }
    Ok((window_max, warm_up_max))
}
