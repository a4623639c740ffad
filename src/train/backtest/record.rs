//! What a backtest writes down.
//!
//! Owns the shapes of `fold.json`, of the lines of `folds.jsonl` and of `summary.json`, and the
//! figures in them, which follow from the sums over scores that the daemon shows as metrics.
//! Promises that nothing of the clock, the machine or the order of work is in them. Never reads or
//! writes a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::baseline::BaselineKind;
use crate::core::domain::UnixNanos;
use crate::core::score::Sums;
use crate::core::verdict::{Verdict, Word};
use crate::engine::model::manifest::FigureSpread;
use crate::train::config::schedule::Control;
use crate::train::statistics::spread::Spread;

/// The value of `schema` in the record of a fold.
pub const FOLD_SCHEMA: &str = "tickcast.backtest.fold.v1";

/// The value of `schema` in a summary.
pub const SUMMARY_SCHEMA: &str = "tickcast.backtest.v1";

/// One fit and how its model did on its test span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldRecord {
    /// Always [`FOLD_SCHEMA`].
    pub schema: String,
    /// The fold, counted from 1.
    pub fold: usize,
    /// The seed.
    pub seed: u64,
    /// What was changed so that the model has nothing to learn.
    pub control: Control,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// What the model was fitted to.
    pub training: PartRecord,
    /// What decided when to stop, the interval, and the baseline to beat.
    pub validation: PartRecord,
    /// What the model was judged by.
    pub test: TestRecord,
    /// Epochs of the fit.
    pub epochs: usize,
    /// The epoch whose parameters count.
    pub best_epoch: usize,
    /// The baseline that was the best on the validation part.
    pub against: BaselineKind,
    /// How the model did on its test span.
    pub figures: Figures,
    /// SHA-256 of everything that this depends on.
    pub digest: String,
    /// SHA-256 of the fold's forecasts.
    pub forecasts_sha256: String,
    /// SHA-256 of the fold's scores.
    pub scores_sha256: String,
}

/// A part of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRecord {
    /// `as_of` of the first example.
    pub from: UnixNanos,
    /// `as_of` of the last one.
    pub to: UnixNanos,
    /// How many there are.
    pub windows: usize,
}

/// A test span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRecord {
    /// The instant at which it begins.
    pub from: UnixNanos,
    /// The instant before which it ends; absent where it ends with the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixNanos>,
    /// `as_of` of the first forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<UnixNanos>,
    /// `as_of` of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<UnixNanos>,
    /// How many forecasts there are.
    pub forecasts: u64,
    /// Records that the engine refused on the way.
    pub refused: u64,
}

/// Figures over scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// How many scores.
    pub scores: u64,
    /// Skill against the baseline that each fold names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// Skill against each baseline.
    pub skill_against: BTreeMap<String, f64>,
    /// In the target's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<f64>,
    /// In the target's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_mean_squared_error: Option<f64>,
    /// That of the baseline that each fold names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_root_mean_squared_error: Option<f64>,
    /// The share of right directions, among the truths that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction_hits: Option<f64>,
    /// The share of intervals that held their truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_coverage: Option<f64>,
}

/// A verdict with its figures, in squares of the target's unit; over all symbols, in mean absolute
/// differences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictFigures {
    /// The word.
    pub word: Word,
    /// The truth time since which the word has been the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixNanos>,
    /// How many observations were counted.
    pub scores: u64,
    /// The mean of the baseline's squared error minus the model's.
    pub mean_difference: f64,
    /// Between which two values that mean lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<[f64; 2]>,
    /// The natural logarithm of the e-value against "equal".
    pub log_e_value: f64,
}

/// The scores of all folds with one seed, in order of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRecord {
    /// The seed.
    pub seed: u64,
    /// Over all symbols.
    pub figures: Figures,
    /// All symbols as one series; of a single symbol its own verdict.
    pub verdict: VerdictFigures,
    /// The word over the e-values of the symbols, as the daemon says it.
    pub pooled: Word,
    /// Each symbol, by name.
    pub symbols: Vec<SymbolRecord>,
}

/// One symbol in [`SeedRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolRecord {
    /// The symbol.
    pub symbol: String,
    /// Over its scores.
    pub figures: Figures,
    /// What its scores have come to.
    pub verdict: VerdictFigures,
}

/// One fold in a summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldSummary {
    /// Counted from 1.
    pub fold: usize,
    /// The test span.
    pub test: TestRecord,
    /// The baseline to beat, with the first seed.
    pub against: BaselineKind,
    /// With the first seed.
    pub figures: Figures,
    /// Over the seeds; absent with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_seeds: Option<Spreads>,
}

/// Mean and standard deviation of figures over seeds. They are no errors of a mean: fits of one
/// fold share its data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spreads {
    /// How many seeds.
    pub seeds: usize,
    /// Skill against the baseline that each fold names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<FigureSpread>,
    /// In the target's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<FigureSpread>,
    /// In the target's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_mean_squared_error: Option<FigureSpread>,
    /// The share of right directions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction_hits: Option<FigureSpread>,
    /// The share of intervals that held their truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_coverage: Option<FigureSpread>,
}

/// What a backtest has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Always [`SUMMARY_SCHEMA`].
    pub schema: String,
    /// The model's name.
    pub model: String,
    /// What was changed so that the model has nothing to learn.
    pub control: Control,
    /// How many steps ahead forecasts look.
    pub horizon_steps: usize,
    /// Which rows before a test span were trained on: `expanding` or a length.
    pub window: String,
    /// The folds, oldest first.
    pub folds: Vec<FoldSummary>,
    /// The first seed, whose forecasts count.
    pub judged: SeedRecord,
    /// Every seed: its word and figures, for comparison.
    pub seeds: Vec<SeedSummary>,
    /// Over the seeds; absent with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_seeds: Option<Spreads>,
}

/// One seed in a summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedSummary {
    /// The seed.
    pub seed: u64,
    /// All symbols as one series; of a single symbol its own verdict.
    pub word: Word,
    /// Over all folds and symbols.
    pub figures: Figures,
}

impl Figures {
    /// Those that follow from sums over scores of weight 1.
    pub fn of(sums: &Sums) -> Self {
        let root = |squared: f64| (sums.weight > 0.0).then(|| (squared / sums.weight).sqrt());
        let against = BaselineKind::ALL.into_iter().filter_map(|baseline| {
            Some((baseline.label().to_owned(), sums.skill_against(baseline)?))
        });
        Self {
            scores: sums.weight as u64,
            skill: sums.skill(),
            skill_against: against.collect(),
            mean_absolute_error: sums.mean_absolute_error(),
            root_mean_squared_error: root(sums.squared),
            baseline_root_mean_squared_error: root(sums.baseline_squared),
            direction_hits: sums.direction_hits(),
            interval_coverage: sums.coverage(),
        }
    }
}

impl Spreads {
    /// Over runs that differ in the seed alone; `None` for fewer than two.
    pub fn of(runs: &[&Figures]) -> Option<Self> {
        if runs.len() < 2 {
            return None;
        }
        let spread = |figure: fn(&Figures) -> Option<f64>| {
            // A figure that one run lacks has no mean over all of them.
            let values: Option<Vec<f64>> = runs.iter().map(|run| figure(run)).collect();
            let Spread { mean, deviation } = Spread::of(&values?)?;
            Some(FigureSpread { mean, deviation })
        };
        Some(Self {
            seeds: runs.len(),
            skill: spread(|run| run.skill),
            mean_absolute_error: spread(|run| run.mean_absolute_error),
            root_mean_squared_error: spread(|run| run.root_mean_squared_error),
            direction_hits: spread(|run| run.direction_hits),
            interval_coverage: spread(|run| run.interval_coverage),
        })
    }
}

impl From<Verdict> for VerdictFigures {
    fn from(verdict: Verdict) -> Self {
        let Verdict { word, since, scores, mean_difference, limits, log_e_value } = verdict;
        Self { word, since, scores, mean_difference, limits, log_e_value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_quotients_of_sums() {
        let sums = Sums {
            weight: 4.0,
            squared: 1.0,
            absolute: 2.0,
            baseline_squared: 4.0,
            directed: 2.0,
            hits: 1.0,
            covered: 3.0,
            baselines_squared: [4.0, 0.0, 2.0, 0.0, 0.5],
            ..Sums::default()
        };
        let figures = Figures::of(&sums);
        assert_eq!((figures.scores, figures.skill), (4, Some(0.75)));
        assert_eq!(figures.mean_absolute_error, Some(0.5));
        assert_eq!(figures.root_mean_squared_error, Some(0.5));
        assert_eq!(figures.baseline_root_mean_squared_error, Some(1.0));
        assert_eq!((figures.direction_hits, figures.interval_coverage), (Some(0.5), Some(0.75)));
        let against: Vec<_> =
            figures.skill_against.iter().map(|(name, skill)| (name.as_str(), *skill)).collect();
        assert_eq!(against, [("average", 0.5), ("linear", -1.0), ("persistence", 0.75)]);
        assert_eq!(Figures::of(&Sums::default()), Figures::default());
    }

    #[test]
    fn a_spread_needs_two_runs_that_have_the_figure() {
        let run = |skill| Figures { skill, mean_absolute_error: Some(2.0), ..Figures::default() };
        let [one, two, none] = [run(Some(0.1)), run(Some(0.3)), run(None)];
        assert_eq!(Spreads::of(&[&one]), None);
        let spreads = Spreads::of(&[&one, &two]).unwrap();
        let skill = spreads.skill.unwrap();
        assert!((skill.mean - 0.2).abs() < 1e-15, "{skill:?}");
        assert!((skill.deviation - 0.02_f64.sqrt()).abs() < 1e-15, "{skill:?}");
        let absolute = spreads.mean_absolute_error.unwrap();
        assert_eq!((absolute.mean, absolute.deviation), (2.0, 0.0));
        assert_eq!(spreads.direction_hits, None);
        assert_eq!(Spreads::of(&[&one, &none]).unwrap().skill, None);
    }
}
