//! The same again: other seeds, and other stretches of time.
//!
//! Owns two kinds of repetition and their summary. *Seeds*: how much of the figures is the luck of
//! the initial weights. *Folds* (walk-forward): the rows before the test part are cut into k + 1
//! stretches; fold j learns from the first j and is tested on the next, so that the training part
//! grows and every test follows it in time.
//!
//! Promises: each fold has scalers, embargo, baselines, interval and fit of its own, as a whole run
//! has, and no fold sees a row of the test part. Nothing is chosen by the results: the sealed model
//! is the one of the first seed.
//!
//! Never: touches a file, or keeps a network.

use std::ops::ControlFlow;

use super::assess::assess;
use super::baseline::FittedBaselines;
use super::config::{Split, TrainConfig};
use super::dataset::{Dataset, DatasetError};
use super::error::TrainError;
use super::fit::{FitError, Progress, Stopped, fit};
use super::history::History;
use super::network::Network;
use super::statistics::spread::Spread;
use crate::core::domain::UnixNanos;
use crate::engine::model::manifest::{Evaluation, FigureSpread, RepeatFigures};

/// Which repetition is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// What is repeated: `seed` or `fold`.
    pub what: &'static str,
    /// Counted from 1. The first seed is the run itself.
    pub number: usize,
    /// How many there will be.
    pub count: usize,
}

/// The figures of the repetitions on their own test parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repeats {
    /// The run itself and other seeds, if any were asked for.
    pub seeds: Vec<Evaluation>,
    /// Walk-forward folds, oldest first.
    pub folds: Vec<Evaluation>,
}

/// What repetitions need of a run.
#[derive(Clone, Copy, Debug)]
pub struct Material<'r> {
    /// The configuration of the run.
    pub config: &'r TrainConfig,
    /// The whole history.
    pub history: &'r History,
    /// The history in its parts.
    pub dataset: &'r Dataset,
    /// The network.
    pub network: &'r Network,
}

/// Told of all progress; may end it. The repetition at work then does not count and no other
/// begins.
pub type Observer<'o> = dyn FnMut(Repetition, Progress) -> ControlFlow<()> + 'o;

impl Repeats {
    /// Mean and spread over seeds and over folds, where there are at least two.
    pub fn summary(&self) -> Vec<RepeatFigures> {
        [("seeds", &self.seeds), ("folds", &self.folds)]
            .into_iter()
            .filter_map(|(over, runs)| summary(over, runs))
            .collect()
    }
}

/// Repeats a run with the seeds that follow its own, and on the folds, as the configuration says.
/// `first` is how the run itself did on the test part.
///
/// # Errors
/// [`TrainError`] where a fold is too short or a fit diverges.
pub fn repeat(
    material: Material<'_>,
    first: &Evaluation,
    observer: &mut Observer<'_>,
) -> Result<Repeats, TrainError> {
    let Material { config, dataset, network, .. } = material;
    let mut repeats = Repeats::default();
    if config.seeds > 1 {
        let baselines = dataset.fit_baselines(config);
        repeats.seeds.push(named(first.clone(), format!("seed {}", config.recipe.seed)));
        for number in 2..=config.seeds {
            let place = Repetition { what: "seed", number, count: config.seeds };
            let seed = config.recipe.seed.wrapping_add(number as u64 - 1);
            match run(network, dataset, &baselines, config, seed, place, observer)? {
                Some(figures) => repeats.seeds.push(named(figures, format!("seed {seed}"))),
                None => return Ok(repeats),
            }
        }
    }
    for number in 1..=config.folds {
        let place = Repetition { what: "fold", number, count: config.folds };
        let dataset = fold(material, number)?;
        // Its table of symbols has those of the fold.
        let network = &dataset.network(config)?;
        let baselines = dataset.fit_baselines(config);
        let seed = config.recipe.seed;
        match run(network, &dataset, &baselines, config, seed, place, observer)? {
            Some(figures) => repeats.folds.push(named(figures, format!("fold {number}"))),
            None => break,
        }
    }
    Ok(repeats)
}

/// Makes every fold once, so that one that is too short is told before the first fit.
///
/// # Errors
/// [`TrainError::Fold`] for the first that is.
pub fn check(material: Material<'_>) -> Result<(), TrainError> {
    (1..=material.config.folds).try_for_each(|number| fold(material, number).map(|_| ()))
}

/// One fit and its figures on the test part; `None` where the observer ends it.
fn run(
    network: &Network,
    dataset: &Dataset,
    baselines: &FittedBaselines,
    config: &TrainConfig,
    seed: u64,
    place: Repetition,
    observer: &mut Observer<'_>,
) -> Result<Option<Evaluation>, TrainError> {
    let mut recipe = config.recipe.clone();
    recipe.seed = seed;
    let mut observer = |progress: Progress| observer(place, progress);
    let fit = match fit(network, dataset.examples(), &recipe, &mut observer) {
        Ok(fit) if fit.stopped == Stopped::Asked => return Ok(None),
        Err(FitError::NothingYet) => return Ok(None),
        fit => fit?,
    };
    let assessment = assess(network, &fit.parameters, dataset, baselines, config)?;
    Ok(Some(assessment.test.figures))
}

/// The dataset of fold `number` of the configuration's, counted from 1.
fn fold(material: Material<'_>, number: usize) -> Result<Dataset, TrainError> {
    let Material { config, history, .. } = material;
    let end = fold_end(material, number);
    let history = history.before(end);
    // Of the stretches 1 to j + 1 the last is the test part.
    let split = Split { test: 1.0 / (number as f64 + 1.0), ..config.split };
    let config = TrainConfig { split, ..config.clone() };
    Dataset::new(&history, &config).map_err(|source: DatasetError| TrainError::Fold {
        number,
        count: config.folds,
        source,
    })
}

/// The first instant behind a fold: the rows before the test part are cut evenly, in order of time.
fn fold_end(material: Material<'_>, number: usize) -> UnixNanos {
    let Material { config, history, dataset, .. } = material;
    let oldest = |example: super::dataset::Example| {
        history.series[example.series].steps.step(example.step + 1 - config.window_steps).time
    };
    let test = dataset.test.examples.iter().map(oldest).min();
    let test = test.unwrap_or(UnixNanos::from_nanos(i64::MAX));
    let steps = history.series.iter().flat_map(|series| &series.steps);
    let mut times: Vec<UnixNanos> =
        steps.map(|step| step.time).filter(|time| *time < test).collect();
    times.sort_unstable();
    let at = times.len() * (number + 1) / (config.folds + 1);
    times.get(at).copied().unwrap_or(test)
}

fn named(figures: Evaluation, part: String) -> Evaluation {
    Evaluation { part, ..figures }
}

fn summary(over: &str, runs: &[Evaluation]) -> Option<RepeatFigures> {
    if runs.len() < 2 {
        return None;
    }
    let spread = |figure: fn(&Evaluation) -> f64| {
        let Spread { mean, deviation } = Spread::of(&runs.iter().map(figure).collect::<Vec<_>>())?;
        Some(FigureSpread { mean, deviation })
    };
    Some(RepeatFigures {
        over: over.to_owned(),
        runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
        mean_absolute_error: spread(|run| run.mean_absolute_error)?,
        root_mean_squared_error: spread(|run| run.root_mean_squared_error)?,
        skill: spread(|run| run.skill)?,
        directional_accuracy: spread(|run| run.directional_accuracy)?,
        interval_coverage: spread(|run| run.interval_coverage)?,
    })
}
