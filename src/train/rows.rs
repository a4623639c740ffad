//! The feature rows of series.
//!
//! Owns the way of steps through the features, unscaled to fit a scaler and scaled for the network,
//! and which rows belong to which series. Promises that rows are those of a daemon that begins with
//! the steps, one for each step behind the warm-up. Never divides or shuffles them.

use std::ops::Range;

use super::dataset::DatasetError;
use super::history::{History, Series, Steps};
use crate::core::domain::{Reject, Step};
use crate::core::features::{FeaturePlan, RawFeatures, RowStatus};
use crate::seal::matrix::Matrix;

/// The rows of one series: those of its steps behind the warm-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Index of the step of the first row.
    pub(super) first_step: usize,
    /// Index of the first row among those of all series.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Rows {
    /// Some of them among those of all series.
    pub(super) fn among_all(&self, rows: &Range<usize>) -> Range<usize> {
        self.first + rows.start..self.first + rows.end
    }
}

/// Runs the steps of all series through the features: which rows are those of each series, and all
/// rows unscaled, `[n, F]`.
pub(super) fn raw_rows(
    history: &History,
    features: &RawFeatures,
) -> Result<(Vec<Rows>, Matrix<f64>), DatasetError> {
    let mut writer = Matrix::writer(features.width(), history.spill());
    let (mut all, mut first) = (Vec::new(), 0);
    for Series { symbol, steps } in &history.series {
        let (mut state, mut scratch) = (features.initial_state(), features.scratch());
        let mut rows = Rows { first_step: 0, first, count: 0 };
        for (at, step) in steps.iter().enumerate() {
            let warm = features
                .row(&state, &step, &mut scratch)
                .map_err(|reason| refused(symbol, &step, reason))?;
            state.absorb(&scratch);
            if warm {
                rows.count += 1;
                writer.push(scratch.raw());
            } else {
                rows.first_step = at + 1;
            }
        }
        first += rows.count;
        all.push(rows);
    }
    Ok((all, writer.finish()))
}

/// Hands each row of a series to `see`, raw and scaled: what a daemon that begins with these steps
/// hands to the model.
pub(super) fn each_row(
    symbol: &str,
    steps: &Steps,
    plan: &FeaturePlan,
    mut see: impl FnMut(&[f64], &[f32]),
) -> Result<(), DatasetError> {
    let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
    let entry = plan.entry(symbol);
    for step in steps {
        let status = plan
            .row_of(entry, &state, &step, &mut scratch)
            .map_err(|reason| refused(symbol, &step, reason))?;
        state.absorb(&scratch);
        if let RowStatus::Ready { .. } = status {
            see(scratch.raw(), scratch.row());
        }
    }
    Ok(())
}

/// The scaled rows of a series, `[rows, F]`.
pub(super) fn scaled_rows(
    symbol: &str,
    steps: &Steps,
    plan: &FeaturePlan,
) -> Result<Vec<f32>, DatasetError> {
    let mut scaled = Vec::new();
    each_row(symbol, steps, plan, |_, row| scaled.extend_from_slice(row))?;
    Ok(scaled)
}

pub(super) fn refused(symbol: &str, step: &Step, reason: Reject) -> DatasetError {
    let (symbol, reason) = (symbol.to_owned(), reason.label());
    DatasetError::Row { symbol, time: step.time, reason }
}
