//! From a history to the windows that a model is proven and judged by.
//!
//! Owns the rows of every series, which of them end a full window, and what came true after each.
//! Promises that rows are those that a daemon makes of the same steps. Never runs a model.

use super::config::SealConfig;
use super::history::{History, HistoryError, Series, Steps, read_with_steps};
use super::judge::Example;
use super::judge::windows::Windows;
use crate::core::domain::{Reject, Step, UnixNanos};
use crate::core::features::{
    FeatureError, FeaturePlan, RawFeatures, RowStatus, Scaler, ScalerError,
};
use crate::core::forecast::Truth;
use crate::core::shift::{self, DistributionSpec};
use crate::engine::model::golden::GoldenStep;
use crate::engine::model::manifest::StepSpec;

/// Why a history gives no windows.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The features cannot be resolved.
    #[error("window.features: {0}")]
    Features(#[from] FeatureError),
    /// The scaler cannot be used.
    #[error("scaler: {0}")]
    Scaler(#[from] ScalerError),
    /// The history cannot be read.
    #[error("data.path: {0}")]
    History(#[from] HistoryError),
    /// A step that gives no row.
    #[error("data.path: `{symbol}` at {time}: the step gives no row: {reason}")]
    Row {
        /// The symbol.
        symbol: String,
        /// The step's time.
        time: UnixNanos,
        /// Why.
        reason: &'static str,
    },
    /// No series has a full window.
    #[error(
        "data.path: the longest series has {rows} rows behind the warm-up of {warm_up} steps, and \
         a window has {window}: name a longer history"
    )]
    TooShort {
        /// Rows.
        rows: usize,
        /// Steps before the first row.
        warm_up: u64,
        /// W.
        window: usize,
    },
}

/// The history as rows and windows.
#[derive(Debug)]
pub struct Material {
    /// The steps.
    pub history: History,
    /// What a step is, completed from the history.
    pub step: StepSpec,
    /// The features with their scaler.
    pub plan: FeaturePlan,
    /// The scaler, with the ranges that the data gave.
    pub scaler: Scaler,
    /// W.
    pub window_steps: usize,
    /// The rows of each series.
    rows: Vec<Rows>,
    /// Every full window, in order of the series and then of time.
    pub ends: Vec<End>,
}

/// The rows of one series: those of its steps behind the warm-up.
#[derive(Debug)]
struct Rows {
    first_step: usize,
    /// In model units, `[n, F]`.
    scaled: Vec<f32>,
}

/// The newest row of a full window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Index of the series.
    pub series: usize,
    /// Index of the row within it.
    pub row: usize,
    /// Its event time.
    pub as_of: UnixNanos,
}

impl Material {
    /// Reads the history and makes its rows.
    ///
    /// # Errors
    /// [`DataError`], naming the key and what to do.
    pub fn read(config: &SealConfig) -> Result<Self, DataError> {
        let label = config.target.label();
        let raw = RawFeatures::new(&config.features, &config.extra_fields, label)?;
        let mut step = config.step.clone();
        let (rule, calendar) = (&config.step_rule, &config.calendar);
        let history = read_with_steps(&config.data, &raw, &mut step, rule, calendar)?;
        // What training saw is not known without its end, so no range is.
        let scaler = match config.trained_until {
            Some(until) => with_known_ranges(&config.scaler, &ranges(&history, &raw, until)?),
            None => config.scaler.clone(),
        };
        let (features, extra) = (&config.features, &config.extra_fields);
        let plan = FeaturePlan::new(features, extra, label, &scaler)?;
        let rows: Vec<Rows> = history
            .series
            .iter()
            .map(|series| {
                let scaled = scaled_rows(&series.symbol, &series.steps, &plan)?;
                let first_step = series.steps.len() - scaled.len() / plan.width();
                Ok(Rows { first_step, scaled })
            })
            .collect::<Result<_, DataError>>()?;
        let window_steps = config.window_steps;
        let mut material =
            Self { history, step, plan, scaler, window_steps, rows, ends: Vec::new() };
        material.ends = material.find_ends();
        if material.ends.is_empty() {
            let counts = material.rows.iter().map(|rows| rows.scaled.len() / material.width());
            let rows = counts.max().unwrap_or(0);
            let warm_up = material.plan.raw().warm_up_steps();
            return Err(DataError::TooShort { rows, warm_up, window: window_steps });
        }
        Ok(material)
    }

    /// F.
    pub fn width(&self) -> usize {
        self.plan.width()
    }

    fn find_ends(&self) -> Vec<End> {
        let mut ends = Vec::new();
        for (series, rows) in self.rows.iter().enumerate() {
            let steps = self.history.series[series].steps.slice(rows.first_step..);
            let full = steps.iter().enumerate().skip(self.window_steps - 1);
            ends.extend(full.map(|(row, step)| End { series, row, as_of: step.time }));
        }
        ends
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.rows.len()
    }

    /// All rows of a series, oldest first.
    pub fn rows_of(&self, series: usize) -> Vec<Vec<f32>> {
        self.rows[series].scaled.chunks_exact(self.width()).map(<[f32]>::to_vec).collect()
    }

    /// The symbol of a window.
    pub fn symbol(&self, end: End) -> &str {
        &self.history.series[end.series].symbol
    }

    /// The rows of the window that ends there, oldest first, `[W, F]`.
    pub fn window(&self, end: End) -> &[f32] {
        let (width, rows) = (self.width(), &self.rows[end.series].scaled);
        &rows[(end.row + 1 - self.window_steps) * width..(end.row + 1) * width]
    }

    /// What came true `horizon` steps after each window, and the naive forecast; `None` where the
    /// history ends before, or a field is absent.
    pub fn example(&self, end: End, truth: Truth, horizon: usize) -> Option<Example> {
        let step = self.rows[end.series].first_step + end.row;
        let steps = &self.history.series[end.series].steps;
        let later = steps.get(step + horizon)?;
        let before = steps.get(step.checked_sub(horizon)?)?;
        let now = steps.get(step)?;
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Some(Example {
            series: end.series,
            step,
            as_of: now.time,
            truth: finite(truth.between(&now.fields, &later.fields))?,
            persistence: finite(truth.persistence(&before.fields, &now.fields))?,
        })
    }

    /// The time at which the truth of a window is known.
    pub fn known_at(&self, example: &Example, horizon: usize) -> UnixNanos {
        self.history.series[example.series].steps.step(example.step + horizon).time
    }

    /// These windows as the linear baseline reads them.
    pub fn windows(&self, ends: &[End]) -> Windows {
        let mut windows = Windows::new(self.window_steps, self.width(), 0);
        let firsts: Vec<usize> =
            self.rows.iter().map(|rows| windows.push_rows(&rows.scaled)).collect();
        for end in ends {
            windows.push_window(firsts[end.series] + end.row + 1 - self.window_steps, &[]);
        }
        windows
    }

    /// The distribution of the rows up to an instant; `None` where they are too few.
    pub fn distribution(&self, until: UnixNanos) -> Option<DistributionSpec> {
        let width = self.width();
        let (mut series, mut span) = (Vec::new(), None::<[UnixNanos; 2]>);
        for (rows, Series { steps, .. }) in self.rows.iter().zip(&self.history.series) {
            let steps = steps.slice(rows.first_step..);
            let count = steps.until(until);
            series.push(&rows.scaled[..count * width]);
            let steps = steps.slice(..count);
            if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
                let [from, to] = span.unwrap_or([first.time, last.time]);
                span = Some([from.min(first.time), to.max(last.time)]);
            }
        }
        shift::fit(width, &series, span?)
    }

    /// The raw steps behind the newest `count` rows of the longest series, or fewer, from the
    /// warm-up on, and the rows that a daemon makes that begins with them.
    ///
    /// # Errors
    /// As [`Material::read`].
    pub fn golden_rows(&self, count: usize) -> Result<(Vec<GoldenStep>, Vec<Vec<f32>>), DataError> {
        let width = self.width();
        let longest = (0..self.rows.len()).max_by_key(|at| self.rows[*at].scaled.len());
        let at = longest.unwrap_or_default();
        let Series { symbol, steps } = &self.history.series[at];
        let rows = &self.rows[at];
        let there = rows.scaled.len() / width;
        let warm_up = usize::try_from(self.plan.raw().warm_up_steps()).unwrap_or(usize::MAX);
        let first = rows.first_step + there - count.min(there);
        let steps = steps.slice(first.saturating_sub(warm_up)..);
        let scaled = scaled_rows(symbol, &steps, &self.plan)?;
        let (raw, schema) = (self.plan.raw(), self.plan.raw().schema());
        let golden = steps.iter().map(|step| {
            let fields = raw.required().iter().filter_map(|field| {
                Some((schema.name(*field).to_owned(), step.fields.read(*field)?))
            });
            GoldenStep { time: step.time, fields: fields.collect() }
        });
        Ok((golden.collect(), scaled.chunks_exact(width).map(<[f32]>::to_vec).collect()))
    }
}

/// The rows `[n, F]` that a daemon which begins with these steps hands to the model.
fn scaled_rows(symbol: &str, steps: &Steps, plan: &FeaturePlan) -> Result<Vec<f32>, DataError> {
    let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
    let mut scaled = Vec::new();
    for step in steps {
        let status =
            plan.row(&state, &step, &mut scratch).map_err(|e| refused(symbol, &step, e))?;
        state.absorb(&scratch);
        if let RowStatus::Ready { .. } = status {
            scaled.extend_from_slice(scratch.row());
        }
    }
    Ok(scaled)
}

/// The smallest and the largest value of each feature up to an instant; of unknown range where
/// there is none.
fn ranges(
    history: &History,
    features: &RawFeatures,
    until: UnixNanos,
) -> Result<Vec<[f64; 2]>, DataError> {
    let mut ranges = vec![[f64::INFINITY, f64::NEG_INFINITY]; features.width()];
    for Series { symbol, steps } in &history.series {
        let (mut state, mut scratch) = (features.initial_state(), features.scratch());
        for step in steps.iter().take_while(|step| step.time <= until) {
            let is_row = features
                .row(&state, &step, &mut scratch)
                .map_err(|reason| refused(symbol, &step, reason))?;
            state.absorb(&scratch);
            if is_row {
                for ([min, max], value) in ranges.iter_mut().zip(scratch.raw()) {
                    (*min, *max) = (min.min(*value), max.max(*value));
                }
            }
        }
    }
    Ok(ranges
        .into_iter()
        .map(|[min, max]| if min > max { [max, min] } else { [min, max] })
        .collect())
}

/// A scaler whose unknown ranges are these.
pub(super) fn with_known_ranges(scaler: &Scaler, ranges: &[[f64; 2]]) -> Scaler {
    let own = scaler.ranges();
    let merged: Vec<[f64; 2]> = own
        .iter()
        .zip(ranges)
        .map(|(own, found)| if own.iter().all(|end| end.is_infinite()) { *found } else { *own })
        .collect();
    scaler.clone().with_ranges(&merged)
}

fn refused(symbol: &str, step: &Step, reason: Reject) -> DataError {
    let (symbol, reason) = (symbol.to_owned(), reason.label());
    DataError::Row { symbol, time: step.time, reason }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::config::read_in;
    use super::*;

    fn day(at: i64) -> UnixNanos {
        UnixNanos::from_nanos(at * 86_400_000_000_000)
    }

    #[test]
    fn the_distribution_is_that_of_the_rows_that_training_saw() {
        let folder = tempfile::tempdir().unwrap();
        let close = |at: i64| 100.0 + (at * 7919 % 640) as f64;
        let mut history = "symbol,time,close\n".to_owned();
        for at in 0..640 {
            writeln!(history, "A,{},{}", day(at), close(at)).unwrap();
        }
        std::fs::write(folder.path().join("history.csv"), history).unwrap();
        let config = "model = \"model.onnx\"\nname = \"m\"\n[window]\nsteps = 2\n\
                      features = [\"close\"]\n[scaler]\nkind = \"none\"\n\
                      [target]\nkind = \"next_return\"\n[target.scaler]\nkind = \"none\"\n\
                      [data]\npath = \"history.csv\"\njump_max = 0\n";
        let config = read_in(config, Some(folder.path().to_owned())).unwrap();
        let material = Material::read(&config).unwrap();
        let rows: Vec<f32> = (0..400).map(|at| close(at) as f32).collect();
        let expected = shift::fit(1, &[&rows], [day(0), day(399)]);
        assert!(expected.is_some());
        assert_eq!(material.distribution(day(399)), expected);
        assert_eq!(material.distribution(day(100)), None, "too few rows");
        assert_eq!(material.distribution(day(-1)), None, "none at all");
    }
}
