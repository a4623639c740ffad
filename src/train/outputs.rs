//! What the outputs of a network are worth.
//!
//! Owns the way from the network's columns to values and quantiles, by the reader that the daemon
//! has; the interval of an output with quantiles; and the figures of an output behind the first.
//! Promises that an interval is fitted on the validation part and the test part is judged by it.
//! Never fits a network.

use super::baseline::{BaselineForecasts, FittedBaselines};
use super::config::TrainConfig;
use super::dataset::{Dataset, ExampleList, FurtherTarget, Part};
use super::evaluate::{Outcomes, Terms, evaluate, interval};
use crate::core::baseline::BaselineSpec;
use crate::core::domain::Quantiles;
use crate::core::features::{Scaler, ScalerError};
use crate::core::forecast::{Interval, OutputKind, OutputReader};
use crate::core::score::QuantileSums;
use crate::engine::model::manifest::{ColumnsSpec, Evaluation, LevelFigures, OutputSpec};

/// The most times as far from the median as its outer quantile that an end of an interval lies.
const WIDEST: f64 = 1e6;

/// How an output behind the first did.
#[derive(Clone, Debug)]
pub struct FurtherFigures {
    /// The interval of the validation part.
    pub interval: Interval,
    /// The baselines, and which one is the one to beat.
    pub baselines: BaselineSpec,
    /// The figures of the validation and of the test part.
    pub evaluation: [Evaluation; 2],
}

/// What an output says of the examples of a part, in the target's unit.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) values: Vec<f64>,
    /// In order, so that none crosses another; none for an output without levels.
    quantiles: Vec<Quantiles>,
    median: usize,
}

/// What the columns of the output at a place say in the rows `[n, K]` of a network.
pub(super) fn read(
    config: &TrainConfig,
    at: usize,
    scaler: &Scaler,
    rows: &[f32],
) -> Result<Said, ScalerError> {
    let (outputs, single) = (&config.outputs, scaler.single()?);
    let rows = rows.chunks_exact(outputs.columns());
    if outputs.kind == OutputKind::Value {
        let values = rows.map(|row| single.invert(f64::from(row[at]))).collect();
        return Ok(Said { values, quantiles: Vec::new(), median: 0 });
    }
    let columns = columns(config, at).collect();
    let reader = OutputReader::new(outputs.kind, columns, outputs.levels.clone(), single);
    let median = reader.median();
    let quantiles = rows.map(|row| {
        let mut quantiles = reader.quantiles(row).unwrap_or_default();
        quantiles.rearrange();
        quantiles
    });
    let quantiles: Vec<Quantiles> = quantiles.collect();
    let values = quantiles.iter().map(|quantiles| quantiles.as_slice()[median]).collect();
    Ok(Said { values, quantiles, median })
}

impl Said {
    /// The interval around values that holds `coverage` of these truths. For an output with
    /// quantiles the margins are shares of the distance of the outer ones from the median.
    pub(super) fn interval(&self, outcomes: &Outcomes, coverage: f64) -> Interval {
        if self.quantiles.is_empty() {
            return interval(outcomes, coverage);
        }
        let pairs = self.quantiles.iter().zip(&outcomes.truths);
        let mut shares: Vec<f64> = pairs.map(|(own, truth)| self.share(own, *truth)).collect();
        shares.sort_unstable_by(f64::total_cmp);
        // The quantile of split-conformal prediction, as of residuals.
        let rank = ((shares.len() + 1) as f64 * coverage).ceil() as usize;
        let quantile = shares.get(rank.saturating_sub(1)).or(shares.last());
        let width = quantile.copied().unwrap_or(1.0).min(WIDEST);
        Interval { coverage, lower: -width, upper: width }
    }

    /// How many times as far from the median as the outer quantile on its side a truth lies.
    fn share(&self, own: &Quantiles, truth: f64) -> f64 {
        let own = own.as_slice();
        let median = own[self.median];
        let outer = if truth < median { own[0] } else { own[own.len() - 1] };
        let (distance, reach) = ((truth - median).abs(), (outer - median).abs());
        match (distance > 0.0, reach > 0.0) {
            (false, _) => 0.0,
            (true, true) => distance / reach,
            (true, false) => f64::INFINITY,
        }
    }

    /// Completes the figures of an output with quantiles; `interval` is the one it is judged by.
    pub(super) fn complete(
        &self,
        figures: &mut Evaluation,
        outcomes: &Outcomes,
        levels: &[f64],
        interval: Interval,
    ) {
        if self.quantiles.is_empty() {
            return;
        }
        let pairs = || self.quantiles.iter().zip(&outcomes.truths);
        let held = pairs().filter(|(own, truth)| self.share(own, **truth) <= interval.upper);
        figures.interval_coverage = held.count() as f64 / self.quantiles.len() as f64;
        let mut sums = QuantileSums::default();
        pairs().for_each(|(own, truth)| sums += QuantileSums::of(levels, own, *truth));
        let figures_of = |(at, level): (usize, &f64)| LevelFigures {
            level: *level,
            coverage: sums.coverage(at).unwrap_or_default(),
            mean_loss: sums.mean_loss(at).unwrap_or_default(),
        };
        figures.quantiles = levels.iter().enumerate().map(figures_of).collect();
    }
}

/// The figures of each output behind the first; `rows` are those of the validation and the test
/// part, and `terms` those of the first output.
pub(super) fn further(
    config: &TrainConfig,
    dataset: &Dataset,
    rows: [&[f32]; 2],
    terms: &Terms,
) -> Result<Vec<FurtherFigures>, ScalerError> {
    let judge =
        |(at, target): (usize, &FurtherTarget)| judge(config, dataset, at, target, rows, terms);
    (1..).zip(&dataset.further).map(judge).collect()
}

fn judge(
    config: &TrainConfig,
    dataset: &Dataset,
    at: usize,
    target: &FurtherTarget,
    rows: [&[f32]; 2],
    terms: &Terms,
) -> Result<FurtherFigures, ScalerError> {
    let [training, validation, test] = &target.examples;
    let period_steps = config.step.period_steps(config.period_steps);
    let windows = &dataset.training.windows;
    let baselines = FittedBaselines::fit(&target.courses, windows, training, period_steps);
    let seen = |rows: &[f32], part: &Part, examples: &ExampleList| {
        let said = read(config, at, &target.target_scaler, rows)?;
        let naive = baselines.forecast(&target.courses, &part.windows, examples);
        let outcomes = outcomes(said.values.clone(), examples, naive);
        Ok::<_, ScalerError>((said, outcomes))
    };
    let validation = seen(rows[0], &dataset.validation, validation)?;
    let test = seen(rows[1], &dataset.test, test)?;
    let interval = validation.0.interval(&validation.1, config.coverage);
    let terms = Terms { horizon_steps: target.horizon_steps, interval, ..*terms };
    let best = validation.1.baselines.best(&validation.1.truths);
    let figures = |part: &str, (said, outcomes): &(Said, Outcomes)| {
        let mut figures = evaluate(part, outcomes, &terms);
        said.complete(&mut figures, outcomes, &config.outputs.levels, interval);
        figures
    };
    let evaluation = [figures("validation", &validation), figures("test", &test)];
    Ok(FurtherFigures { interval, baselines: baselines.spec(best), evaluation })
}

/// Forecasts beside what came true.
pub(super) fn outcomes(
    values: Vec<f64>,
    examples: &ExampleList,
    baselines: BaselineForecasts,
) -> Outcomes {
    Outcomes {
        values,
        truths: examples.truths().collect(),
        times: examples.iter().map(|example| example.as_of).collect(),
        baselines,
    }
}

/// What a manifest says of the columns of a graph; `None` for one column that is the value.
pub(super) fn columns_spec(config: &TrainConfig) -> Option<ColumnsSpec> {
    let outputs = &config.outputs;
    let value = outputs.kind.value_column(&outputs.levels).unwrap_or_default();
    let (value, count) = (number(value), number(outputs.columns()));
    (count > 1).then_some(ColumnsSpec { value, lower: None, upper: None, count })
}

/// What a manifest says of the outputs; nothing of one value for one horizon.
pub(super) fn specs(
    config: &TrainConfig,
    dataset: &Dataset,
    further: &[FurtherFigures],
) -> Vec<OutputSpec> {
    if !config.outputs.are_listed() {
        return Vec::new();
    }
    let spec = |at: usize, horizon_steps: usize| OutputSpec {
        horizon_steps: number(horizon_steps),
        kind: config.outputs.kind,
        levels: config.outputs.levels.clone(),
        columns: columns(config, at).map(number).collect(),
        scaler: None,
        interval: None,
        baselines: None,
        evaluation: Vec::new(),
    };
    let others = (1..).zip(dataset.further.iter().zip(further));
    let others = others.map(|(at, (target, figures))| OutputSpec {
        scaler: Some(target.target_scaler.clone()),
        interval: Some(figures.interval),
        baselines: Some(figures.baselines.clone()),
        evaluation: tested(&figures.evaluation),
        ..spec(at, target.horizon_steps)
    });
    std::iter::once(spec(0, config.horizon_steps)).chain(others).collect()
}

/// The figures of parts that have forecasts.
fn tested(evaluation: &[Evaluation]) -> Vec<Evaluation> {
    evaluation.iter().filter(|figures| figures.forecasts > 0).cloned().collect()
}

/// The columns of the output at a place.
fn columns(config: &TrainConfig, at: usize) -> std::ops::Range<usize> {
    let width = config.outputs.width();
    at * width..(at + 1) * width
}

/// Counts are far below 2^32, which a manifest holds.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
