//! Scalers fitted to columns of values.
//!
//! Owns the fits, by scikit-learn's definitions. Promises that equal columns give equal bits, and
//! that every fit notes the range of its columns. Never decides which values are the training part.

use std::borrow::Borrow;

use super::{ColumnMoments, ColumnQuantiles, ColumnRange, Precision, Scaler, ScalerError};

/// The kinds of scalers that can be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalerKind {
    /// The range onto -1 to 1.
    Minmax,
    /// Mean and standard deviation.
    Standard,
    /// Median and interquartile range.
    Robust,
    /// Nothing.
    None,
}

/// The name of a column and its training values.
type Column = (String, Vec<f64>);

/// The quantiles of a robust fit, in per cent: those of the interquartile range.
const QUARTILES: [f64; 2] = [25.0, 75.0];

impl ScalerKind {
    /// Every kind with the name by which a configuration chooses it.
    pub const CHOICES: [(&str, Self); 4] = [
        ("minmax", Self::Minmax),
        ("standard", Self::Standard),
        ("robust", Self::Robust),
        ("none", Self::None),
    ];
}

impl Scaler {
    /// Fits a scaler to training columns, each `(name, values)`. One column is taken at a time, so
    /// that an iterator which makes them has one in memory.
    ///
    /// # Errors
    /// [`ScalerError::Spread`] naming a column that is empty or not finite, and for a min-max one
    /// that is constant.
    pub fn fit<C: Borrow<Column>>(
        kind: ScalerKind,
        columns: impl IntoIterator<Item = C>,
    ) -> Result<Self, ScalerError> {
        match kind {
            ScalerKind::Minmax => Self::fit_minmax(columns),
            ScalerKind::Standard => Self::fit_standard(columns),
            ScalerKind::Robust => Self::fit_robust(columns, QUARTILES),
            ScalerKind::None => {
                let columns = columns.into_iter().map(|c| range(c.borrow()));
                let columns = columns.collect::<Result<_, _>>()?;
                Ok(Self::None { columns })
            }
        }
    }

    /// Fits min-max onto `[-1, 1]` over training columns, each `(name, values)`.
    ///
    /// # Errors
    /// [`ScalerError::Spread`] naming a column that is empty, constant or not finite.
    pub fn fit_minmax<C: Borrow<Column>>(
        columns: impl IntoIterator<Item = C>,
    ) -> Result<Self, ScalerError> {
        let columns = columns.into_iter().map(|c| range(c.borrow())).collect::<Result<_, _>>()?;
        let scaler = Self::Minmax { low: -1.0, high: 1.0, columns };
        scaler.affine()?;
        Ok(scaler)
    }

    /// Fits mean and standard deviation (divided by n) over training columns, each
    /// `(name, values)`. The deviation of a constant column is 1.
    ///
    /// # Errors
    /// [`ScalerError::Spread`] naming a column that is empty or not finite.
    pub fn fit_standard<C: Borrow<Column>>(
        columns: impl IntoIterator<Item = C>,
    ) -> Result<Self, ScalerError> {
        let fit = |column: C| {
            let column: &Column = column.borrow();
            let ColumnRange { feature, min, max } = range(column)?;
            let (mean, deviation) = moments(&column.1);
            Ok(ColumnMoments { feature, mean, deviation, min, max })
        };
        let columns = columns.into_iter().map(fit).collect::<Result<_, _>>()?;
        checked(Self::Standard { precision: Precision::Double, columns })
    }

    /// Fits median and distance between two quantiles, in per cent, over training columns, each
    /// `(name, values)`. The scale of a column is 1 where that distance is zero.
    ///
    /// # Errors
    /// [`ScalerError::Spread`] naming a column that is empty or not finite.
    pub fn fit_robust<C: Borrow<Column>>(
        columns: impl IntoIterator<Item = C>,
        quantiles: [f64; 2],
    ) -> Result<Self, ScalerError> {
        let fit = |column: C| {
            let column: &Column = column.borrow();
            let ColumnRange { feature, min, max } = range(column)?;
            let mut values = column.1.clone();
            values.sort_unstable_by(f64::total_cmp);
            let [low, high] = quantiles.map(|quantile| quantile_of(&values, quantile));
            let scale = spread_or_one(high - low);
            Ok(ColumnQuantiles { feature, center: median_of(&values), scale, min, max })
        };
        let columns = columns.into_iter().map(fit).collect::<Result<_, _>>()?;
        checked(Self::Robust { precision: Precision::Double, columns })
    }
}

fn checked(scaler: Scaler) -> Result<Scaler, ScalerError> {
    scaler.affine()?;
    Ok(scaler)
}

/// The range of a column of finite values.
fn range((name, values): &Column) -> Result<ColumnRange, ScalerError> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return Err(ScalerError::Spread(name.clone()));
    }
    Ok(ColumnRange {
        feature: name.clone(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// Mean and deviation, in two passes; what rounding leaves of the mean is taken out of the second.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let (mut rest, mut squares) = (0.0, 0.0);
    for value in values {
        let distance = value - mean;
        rest += distance;
        squares += distance * distance;
    }
    let variance = (squares - rest * rest / count) / count;
    // The bound that scikit-learn has for the error of a variance: below it, a column is constant.
    let error = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
    (mean, if variance <= error { 1.0 } else { variance.sqrt() })
}

/// 1 for what is as good as zero.
pub(super) fn spread_or_one(spread: f64) -> f64 {
    if spread < 10.0 * f64::EPSILON { 1.0 } else { spread }
}

/// The median of sorted values.
fn median_of(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// A quantile of sorted values, in per cent: linear between neighbors, in NumPy's order of
/// operations.
fn quantile_of(sorted: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (sorted.len() - 1) as f64;
    let below = (place.floor() as usize).min(sorted.len() - 1);
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high, share) = (sorted[below], sorted[above], place - place.floor());
    let distance = high - low;
    if share >= 0.5 { high - distance * (1.0 - share) } else { low + distance * share }
}
