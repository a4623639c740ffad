//! The map of one column between raw units and model units.
//!
//! Owns the arithmetic. Promises that a map can be undone except where it clips, and that it
//! rounds where scikit-learn rounds. Never fits anything.

use super::{ColumnLine, ColumnMoments, ColumnQuantiles, ColumnRange, Precision, ScalerError};

/// One column's map, and its training range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) struct Affine {
    map: Map,
    precision: Precision,
    min: f64,
    max: f64,
}

/// The expressions differ in their last bits, so each kind of scaler keeps its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Map {
    /// `low + (raw - origin) * factor`.
    Span { origin: f64, factor: f64, low: f64 },
    /// `raw * factor + offset`, cut to `low` and `high`.
    Line { factor: f64, offset: f64, low: f64, high: f64 },
    /// `(raw - center) / scale`.
    Center { center: f64, scale: f64 },
}

impl Affine {
    /// Onto `[low, high]`; the two are in order.
    pub(super) fn span([low, high]: [f64; 2], column: &ColumnRange) -> Result<Self, ScalerError> {
        let ColumnRange { feature, min, max } = column;
        if min.is_infinite() || max.is_infinite() {
            return Err(ScalerError::NoRange(feature.clone()));
        }
        let factor = (high - low) / (max - min);
        if !(factor > 0.0 && min < max) {
            return Err(ScalerError::Spread(feature.clone()));
        }
        let map = Map::Span { origin: *min, factor, low };
        Self { map, precision: Precision::Double, min: *min, max: *max }.checked(feature)
    }

    pub(super) fn line(
        column: &ColumnLine,
        clip: Option<[f64; 2]>,
        precision: Precision,
    ) -> Result<Self, ScalerError> {
        let ColumnLine { feature, factor, offset, min, max } = column;
        let [low, high] = clip.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        let map = Map::Line { factor: *factor, offset: *offset, low, high };
        Self { map, precision, min: *min, max: *max }.checked(feature)
    }

    pub(super) fn standard(
        column: &ColumnMoments,
        precision: Precision,
    ) -> Result<Self, ScalerError> {
        let ColumnMoments { feature, mean, deviation, min, max } = column;
        // scikit-learn brings these two to the precision of the data first, and those of its other
        // scalers not.
        let (center, scale) = (precision.round(*mean), precision.round(*deviation));
        let map = Map::Center { center, scale };
        Self { map, precision, min: *min, max: *max }.checked(feature)
    }

    pub(super) fn robust(
        column: &ColumnQuantiles,
        precision: Precision,
    ) -> Result<Self, ScalerError> {
        let ColumnQuantiles { feature, center, scale, min, max } = column;
        let map = Map::Center { center: *center, scale: *scale };
        Self { map, precision, min: *min, max: *max }.checked(feature)
    }

    pub(super) fn raw(
        ColumnRange { feature, min, max }: &ColumnRange,
    ) -> Result<Self, ScalerError> {
        let map = Map::Span { origin: 0.0, factor: 1.0, low: 0.0 };
        Self { map, precision: Precision::Double, min: *min, max: *max }.checked(feature)
    }

    /// Refuses a map that divides by nothing or leaves the finite numbers, and a range of nothing.
    fn checked(self, feature: &str) -> Result<Self, ScalerError> {
        let (place, spread) = match self.map {
            Map::Span { origin, factor, .. } => (origin, factor),
            Map::Line { factor, offset, .. } => (offset, factor),
            Map::Center { center, scale } => (center, 1.0 / scale),
        };
        if !(place.is_finite() && spread.is_finite() && spread > 0.0) {
            return Err(ScalerError::Spread(feature.to_owned()));
        }
        // What is not a number is in no order either.
        if self.min <= self.max { Ok(self) } else { Err(ScalerError::Range(feature.to_owned())) }
    }

    pub(in crate::core::features) fn apply(self, raw: f64) -> f64 {
        let round = |value| self.precision.round(value);
        match self.map {
            Map::Span { origin, factor, low } => low + (raw - origin) * factor,
            Map::Line { factor, offset, low, high } => {
                round(round(round(raw) * factor) + offset).clamp(round(low), round(high))
            }
            Map::Center { center, scale } => round(round(round(raw) - center) / scale),
        }
    }

    /// Back, in double precision. What was cut off stays away.
    pub(in crate::core::features) fn invert(self, scaled: f64) -> f64 {
        match self.map {
            Map::Span { origin, factor, low } => origin + (scaled - low) / factor,
            Map::Line { factor, offset, .. } => (scaled - offset) / factor,
            Map::Center { center, scale } => scaled * scale + center,
        }
    }

    /// Whether a value lies in the training range; always, where that is not known.
    pub(in crate::core::features) fn covers(self, raw: f64) -> bool {
        (self.min..=self.max).contains(&raw)
    }

    /// Whether different raw values become the same one.
    pub(in crate::core::features) fn clips(self) -> bool {
        matches!(self.map, Map::Line { low, .. } if low.is_finite())
    }
}

impl Precision {
    /// The nearest number of this precision. An operation on numbers of single precision that is
    /// rounded twice, by the processor and here, gives what one rounding gives.
    fn round(self, value: f64) -> f64 {
        match self {
            Self::Double => value,
            Self::Single => f64::from(value as f32),
        }
    }
}

/// A checked scaler of one column: what a target needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SingleScaler(pub(super) Affine);

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
