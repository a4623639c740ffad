//! The scaler: fitted on the training part alone, carried in the bundle, with its inverse.
//!
//! Owns what a scaler is, on disk and in memory; `affine` has the arithmetic, `fit` the fits and
//! `scikit` the way from scikit-learn's attributes. Promises that training and serving scale by the
//! very same expressions, so that equal inputs give equal bits, and that a scaler of a bundle from
//! before is written as it was read.

mod affine;
mod fit;
mod scikit;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(super) use affine::Affine;
pub use affine::SingleScaler;
pub use fit::ScalerKind;
pub use scikit::Scikit;

/// How raw columns become model inputs; all columns are in the order of the features.
///
/// Every kind but [`Scaler::Minmax`] computes what scikit-learn computes, in its order of
/// operations, so that rows are bit for bit those of a pipeline in Python.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Scaler {
    /// The training range `[min, max]` onto `[low, high]`:
    /// `low + (raw - min) * ((high - low) / (max - min))`.
    Minmax {
        /// What the training minimum becomes.
        low: f64,
        /// What the training maximum becomes.
        high: f64,
        /// One range per feature.
        columns: Vec<ColumnRange>,
    },
    /// `raw * factor + offset`, which is scikit-learn's `MinMaxScaler`.
    Linear {
        /// The lowest and the highest scaled value; a value beyond them becomes them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clip: Option<[f64; 2]>,
        /// Of the arithmetic.
        #[serde(default, skip_serializing_if = "Precision::is_double")]
        precision: Precision,
        /// Factor and offset per feature.
        columns: Vec<ColumnLine>,
    },
    /// `(raw - mean) / deviation`, which is scikit-learn's `StandardScaler`.
    Standard {
        /// Of the arithmetic.
        #[serde(default, skip_serializing_if = "Precision::is_double")]
        precision: Precision,
        /// Mean and deviation per feature.
        columns: Vec<ColumnMoments>,
    },
    /// `(raw - center) / scale`, which is scikit-learn's `RobustScaler`: the median and the
    /// distance between two quantiles.
    Robust {
        /// Of the arithmetic.
        #[serde(default, skip_serializing_if = "Precision::is_double")]
        precision: Precision,
        /// Center and scale per feature.
        columns: Vec<ColumnQuantiles>,
    },
    /// Raw values; the ranges serve the out-of-range flag alone.
    None {
        /// One range per feature.
        columns: Vec<ColumnRange>,
    },
}

/// In which numbers a scaler computes. A row is rounded to `f32` in the end in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// In double precision, as scikit-learn does with arrays of `float64`.
    #[default]
    #[serde(rename = "float64")]
    Double,
    /// Rounded to `f32` before and after every operation, as scikit-learn does with arrays of
    /// `float32`.
    #[serde(rename = "float32")]
    Single,
}

/// The range of one feature over the training part, in the feature's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRange {
    /// The feature's name.
    pub feature: String,
    /// Smallest training value; minus infinity, and absent on disk, where it is not known. A
    /// min-max needs it.
    #[serde(default = "no_minimum", skip_serializing_if = "is_unknown")]
    pub min: f64,
    /// Largest training value; infinity, and absent on disk, where it is not known.
    #[serde(default = "no_maximum", skip_serializing_if = "is_unknown")]
    pub max: f64,
}

/// The line of one feature, and its range over the training part in the feature's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnLine {
    /// The feature's name.
    pub feature: String,
    /// What a raw value is multiplied by: `scale_`.
    pub factor: f64,
    /// What is added to that: `min_`.
    pub offset: f64,
    /// As [`ColumnRange::min`].
    #[serde(default = "no_minimum", skip_serializing_if = "is_unknown")]
    pub min: f64,
    /// As [`ColumnRange::max`].
    #[serde(default = "no_maximum", skip_serializing_if = "is_unknown")]
    pub max: f64,
}

/// The moments and range of one feature over the training part, in the feature's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMoments {
    /// The feature's name.
    pub feature: String,
    /// Mean of the training values.
    pub mean: f64,
    /// Standard deviation of the training values, 1 where they are all the same.
    pub deviation: f64,
    /// As [`ColumnRange::min`].
    #[serde(default = "no_minimum", skip_serializing_if = "is_unknown")]
    pub min: f64,
    /// As [`ColumnRange::max`].
    #[serde(default = "no_maximum", skip_serializing_if = "is_unknown")]
    pub max: f64,
}

/// Quantiles and range of one feature over the training part, in the feature's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnQuantiles {
    /// The feature's name.
    pub feature: String,
    /// Median of the training values.
    pub center: f64,
    /// Distance between two quantiles of the training values, 1 where that is zero.
    pub scale: f64,
    /// As [`ColumnRange::min`].
    #[serde(default = "no_minimum", skip_serializing_if = "is_unknown")]
    pub min: f64,
    /// As [`ColumnRange::max`].
    #[serde(default = "no_maximum", skip_serializing_if = "is_unknown")]
    pub max: f64,
}

const fn no_minimum() -> f64 {
    f64::NEG_INFINITY
}

const fn no_maximum() -> f64 {
    f64::INFINITY
}

/// JSON has no infinities, so an end that is not known has no other form on disk than none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unknown(end: &f64) -> bool {
    end.is_infinite()
}

/// Why a scaler cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScalerError {
    /// A feature has no column.
    #[error("the scaler has no column for feature `{0}`")]
    Missing(String),
    /// A column belongs to no feature.
    #[error("the scaler's column `{0}` belongs to no feature")]
    Surplus(String),
    /// The columns are not in the features' order.
    #[error("the scaler's column {index} is `{found}`, the features' order says `{expected}`")]
    Order {
        /// Position in the list.
        index: usize,
        /// The feature at that position.
        expected: String,
        /// The column at that position.
        found: String,
    },
    /// A column with no spread, or numbers that are not finite.
    #[error("the scaler's column `{0}` has no finite, positive spread")]
    Spread(String),
    /// A min-max without the range that it maps.
    #[error("the scaler's column `{0}` needs `min` and `max`")]
    NoRange(String),
    /// A range that holds nothing.
    #[error("the scaler's column `{0}` has a `min` above its `max`")]
    Range(String),
    /// `low` is not below `high`.
    #[error("the scaler's `low` is not below its `high`")]
    Bounds,
    /// `clip` is no range.
    #[error("the scaler's `clip` is not two finite numbers, the lower one first")]
    Clip,
}

impl Precision {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_double(&self) -> bool {
        *self == Self::Double
    }
}

impl Scaler {
    /// scikit-learn's `MinMaxScaler` of training ranges: onto `range`, and cut to it where `clips`.
    /// A column without spread keeps the distance of its values, as it does there.
    pub fn scikit_minmax([low, high]: [f64; 2], clips: bool, columns: Vec<ColumnRange>) -> Self {
        let line = |ColumnRange { feature, min, max }: ColumnRange| {
            let (factor, offset) = scikit::minmax_line([low, high], min, max);
            ColumnLine { feature, factor, offset, min, max }
        };
        Self::Linear {
            clip: clips.then_some([low, high]),
            precision: Precision::Double,
            columns: columns.into_iter().map(line).collect(),
        }
    }

    /// The features' names in the order of the columns.
    pub fn names(&self) -> Vec<&str> {
        fn of<C>(columns: &[C], name: fn(&C) -> &String) -> Vec<&str> {
            columns.iter().map(|column| name(column).as_str()).collect()
        }
        match self {
            Self::Minmax { columns, .. } | Self::None { columns } => of(columns, |c| &c.feature),
            Self::Linear { columns, .. } => of(columns, |c| &c.feature),
            Self::Standard { columns, .. } => of(columns, |c| &c.feature),
            Self::Robust { columns, .. } => of(columns, |c| &c.feature),
        }
    }

    /// The ends of the training range of each column, in the order of the columns; infinite where
    /// they are not known.
    pub fn ranges(&self) -> Vec<[f64; 2]> {
        fn of<C>(columns: &[C], range: fn(&C) -> [f64; 2]) -> Vec<[f64; 2]> {
            columns.iter().map(range).collect()
        }
        match self {
            Self::Minmax { columns, .. } | Self::None { columns } => {
                of(columns, |c| [c.min, c.max])
            }
            Self::Linear { columns, .. } => of(columns, |c| [c.min, c.max]),
            Self::Standard { columns, .. } => of(columns, |c| [c.min, c.max]),
            Self::Robust { columns, .. } => of(columns, |c| [c.min, c.max]),
        }
    }

    /// The same scaler with other training ranges, one for each column; those beyond the last
    /// column are left out. The range of a min-max is its scale too, so that one keeps its own.
    #[must_use]
    pub fn with_ranges(mut self, ranges: &[[f64; 2]]) -> Self {
        let ends: Vec<(&mut f64, &mut f64)> = match &mut self {
            Self::Minmax { .. } => Vec::new(),
            Self::None { columns } => {
                columns.iter_mut().map(|c| (&mut c.min, &mut c.max)).collect()
            }
            Self::Linear { columns, .. } => {
                columns.iter_mut().map(|c| (&mut c.min, &mut c.max)).collect()
            }
            Self::Standard { columns, .. } => {
                columns.iter_mut().map(|c| (&mut c.min, &mut c.max)).collect()
            }
            Self::Robust { columns, .. } => {
                columns.iter_mut().map(|c| (&mut c.min, &mut c.max)).collect()
            }
        };
        for ((min, max), range) in ends.into_iter().zip(ranges) {
            [*min, *max] = *range;
        }
        self
    }

    /// Checks that there is exactly one column per feature, in the features' order.
    ///
    /// # Errors
    /// The first [`ScalerError`] found; it names the column.
    pub fn check(&self, features: &[String]) -> Result<(), ScalerError> {
        let names = self.names();
        if let Some(missing) = features.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(ScalerError::Missing(missing.clone()));
        }
        if let Some(surplus) = names.iter().find(|name| !features.iter().any(|f| f == *name)) {
            return Err(ScalerError::Surplus((*surplus).to_owned()));
        }
        for (index, name) in names.iter().enumerate() {
            match features.get(index) {
                Some(expected) if expected == name => {}
                Some(expected) => {
                    let (expected, found) = (expected.clone(), (*name).to_owned());
                    return Err(ScalerError::Order { index, expected, found });
                }
                None => return Err(ScalerError::Surplus((*name).to_owned())),
            }
        }
        self.affine().map(|_| ())
    }

    /// The map of each column.
    ///
    /// # Errors
    /// As [`Scaler::check`] for unusable columns.
    pub(super) fn affine(&self) -> Result<Vec<Affine>, ScalerError> {
        match self {
            Self::Minmax { low, high, columns } => {
                if !(low.is_finite() && high.is_finite() && low < high) {
                    return Err(ScalerError::Bounds);
                }
                columns.iter().map(|column| Affine::span([*low, *high], column)).collect()
            }
            Self::Linear { clip, precision, columns } => {
                if clip
                    .is_some_and(|[low, high]| !(low.is_finite() && high.is_finite() && low < high))
                {
                    return Err(ScalerError::Clip);
                }
                columns.iter().map(|column| Affine::line(column, *clip, *precision)).collect()
            }
            Self::Standard { precision, columns } => {
                columns.iter().map(|column| Affine::standard(column, *precision)).collect()
            }
            Self::Robust { precision, columns } => {
                columns.iter().map(|column| Affine::robust(column, *precision)).collect()
            }
            Self::None { columns } => columns.iter().map(Affine::raw).collect(),
        }
    }

    /// Turns model units back into raw units for a scaler with one column (a target).
    ///
    /// # Errors
    /// As [`Scaler::check`]; [`ScalerError::Surplus`] or [`ScalerError::Missing`] where there is
    /// not exactly one column.
    pub fn single(&self) -> Result<SingleScaler, ScalerError> {
        let names = self.names();
        match (self.affine()?.as_slice(), names.get(1)) {
            ([affine], _) => Ok(SingleScaler(*affine)),
            (_, Some(surplus)) => Err(ScalerError::Surplus((*surplus).to_owned())),
            (_, None) => Err(ScalerError::Missing("target".to_owned())),
        }
    }
}
