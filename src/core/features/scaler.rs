//! The scaler: fitted on the training split alone, carried in the bundle, with its inverse.
//!
//! Owns the arithmetic between raw units and model units. Promises that `apply` and `invert` use
//! the very same expressions in training and serving, so that equal inputs give equal bits.

use serde::{Deserialize, Serialize};

/// How raw columns become model inputs; all columns are in the order of the features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Scaler {
    /// The training range `[min, max]` onto `[low, high]`.
    Minmax {
        /// What the training minimum becomes.
        low: f64,
        /// What the training maximum becomes.
        high: f64,
        /// One range per feature.
        columns: Vec<ColumnRange>,
    },
    /// Zero mean and unit standard deviation over the training part.
    Standard {
        /// Mean, deviation and range per feature.
        columns: Vec<ColumnMoments>,
    },
    /// Raw values; the ranges serve the out-of-range flag alone.
    None {
        /// One range per feature.
        columns: Vec<ColumnRange>,
    },
}

/// The range of one feature over the training part, in the feature's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRange {
    /// The feature's name.
    pub feature: String,
    /// Smallest training value.
    pub min: f64,
    /// Largest training value.
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
    /// Standard deviation of the training values.
    pub deviation: f64,
    /// Smallest training value.
    pub min: f64,
    /// Largest training value.
    pub max: f64,
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
    /// `low` is not below `high`.
    #[error("the scaler's `low` is not below its `high`")]
    Bounds,
}

/// One column's affine map `scaled = low + (raw - origin) * factor`, and the training range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    origin: f64,
    factor: f64,
    low: f64,
    min: f64,
    max: f64,
}

impl Scaler {
    /// Fits min-max onto `[-1, 1]` over training columns, each `(name, values)`.
    ///
    /// # Errors
    /// [`ScalerError::Spread`] naming a column that is empty, constant or not finite.
    pub fn fit_minmax(columns: &[(String, Vec<f64>)]) -> Result<Self, ScalerError> {
        let fit = |(name, values): &(String, Vec<f64>)| ColumnRange {
            feature: name.clone(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        let scaler =
            Self::Minmax { low: -1.0, high: 1.0, columns: columns.iter().map(fit).collect() };
        scaler.affine()?;
        Ok(scaler)
    }

    /// The features' names in the order of the columns.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Minmax { columns, .. } | Self::None { columns } => {
                columns.iter().map(|column| column.feature.as_str()).collect()
            }
            Self::Standard { columns } => {
                columns.iter().map(|column| column.feature.as_str()).collect()
            }
        }
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

    /// Scales `raw` of the column at `index` into model units.
    ///
    /// # Errors
    /// As [`Scaler::check`] for unusable columns.
    pub(super) fn affine(&self) -> Result<Vec<Affine>, ScalerError> {
        match self {
            Self::Minmax { low, high, columns } => {
                if !(low.is_finite() && high.is_finite() && low < high) {
                    return Err(ScalerError::Bounds);
                }
                let build = |column: &ColumnRange| {
                    let factor = (high - low) / (column.max - column.min);
                    let affine = Affine {
                        origin: column.min,
                        factor,
                        low: *low,
                        min: column.min,
                        max: column.max,
                    };
                    affine.checked(&column.feature)
                };
                columns.iter().map(build).collect()
            }
            Self::Standard { columns } => {
                let build = |column: &ColumnMoments| {
                    let affine = Affine {
                        origin: column.mean,
                        factor: 1.0 / column.deviation,
                        low: 0.0,
                        min: column.min,
                        max: column.max,
                    };
                    affine.checked(&column.feature)
                };
                columns.iter().map(build).collect()
            }
            Self::None { columns } => {
                let build = |column: &ColumnRange| {
                    let (min, max) = (column.min, column.max);
                    Affine { origin: 0.0, factor: 1.0, low: 0.0, min, max }.checked(&column.feature)
                };
                columns.iter().map(build).collect()
            }
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

/// A checked scaler of one column: what a target needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SingleScaler(Affine);

impl SingleScaler {
    /// Raw units to model units.
    pub fn apply(&self, raw: f64) -> f64 {
        self.0.apply(raw)
    }

    /// Model units to raw units.
    pub fn invert(&self, scaled: f64) -> f64 {
        self.0.invert(scaled)
    }
}

impl Affine {
    /// Refuses a map that divides by nothing or leaves the finite numbers.
    fn checked(self, feature: &str) -> Result<Self, ScalerError> {
        let finite = [self.origin, self.factor, self.min, self.max].iter().all(|x| x.is_finite());
        if finite && self.factor > 0.0 && self.min < self.max {
            Ok(self)
        } else {
            Err(ScalerError::Spread(feature.to_owned()))
        }
    }

    pub(super) fn apply(self, raw: f64) -> f64 {
        self.low + (raw - self.origin) * self.factor
    }

    pub(super) fn invert(self, scaled: f64) -> f64 {
        self.origin + (scaled - self.low) / self.factor
    }

    pub(super) fn covers(self, raw: f64) -> bool {
        (self.min..=self.max).contains(&raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(feature: &str, min: f64, max: f64) -> ColumnRange {
        ColumnRange { feature: feature.to_owned(), min, max }
    }

    #[test]
    fn minmax_maps_the_training_range_onto_its_bounds_and_back() {
        let columns = [("close".to_owned(), vec![20.0, 10.0, 14.0])];
        let scaler = Scaler::fit_minmax(&columns).unwrap().single().unwrap();
        assert_eq!(scaler.apply(10.0), -1.0);
        assert_eq!(scaler.apply(20.0), 1.0);
        assert_eq!(scaler.apply(15.0), 0.0);
        assert_eq!(scaler.invert(0.5), 17.5);
        assert_eq!(scaler.apply(25.0), 2.0, "outside the range is not clamped");
    }

    #[test]
    fn standard_centres_and_divides() {
        let columns = vec![ColumnMoments {
            feature: "close".into(),
            mean: 10.0,
            deviation: 4.0,
            min: 0.0,
            max: 30.0,
        }];
        let scaler = Scaler::Standard { columns }.single().unwrap();
        assert_eq!(scaler.apply(18.0), 2.0);
        assert_eq!(scaler.invert(-1.0), 6.0);
    }

    #[test]
    fn refuses_columns_that_do_not_fit_the_features_and_names_them() {
        let features = vec!["close".to_owned(), "volume".to_owned()];
        let scaler = |columns: Vec<ColumnRange>| Scaler::Minmax { low: -1.0, high: 1.0, columns };
        let cases = [
            (vec![range("close", 0.0, 1.0)], ScalerError::Missing("volume".into())),
            (
                vec![range("close", 0.0, 1.0), range("volume", 0.0, 1.0), range("x", 0.0, 1.0)],
                ScalerError::Surplus("x".into()),
            ),
            (
                vec![range("volume", 0.0, 1.0), range("close", 0.0, 1.0)],
                ScalerError::Order { index: 0, expected: "close".into(), found: "volume".into() },
            ),
            (
                vec![range("close", 0.0, 1.0), range("volume", 5.0, 5.0)],
                ScalerError::Spread("volume".into()),
            ),
            (
                vec![range("close", f64::NAN, 1.0), range("volume", 0.0, 1.0)],
                ScalerError::Spread("close".into()),
            ),
        ];
        for (columns, expected) in cases {
            assert_eq!(scaler(columns).check(&features), Err(expected));
        }
    }
}
