//! What the product says about the future: one value with its interval, signal and quality.
//!
//! Owns the forecast as a value and its identity. Promises that nothing in it varies between two
//! runs over the same data. Never holds latency or wall time; those are metrics.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SymbolId, UnixNanos};

/// What to do with the forecast by the bundle's thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// The value lies above the upper threshold.
    Buy,
    /// The value lies below the lower threshold.
    Sell,
    /// Neither.
    Hold,
}

/// How whole the window behind a forecast is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Every step is real and nothing between them is known to be missing.
    Full,
    /// Empty intervals were filled by rule.
    Patched,
    /// Data between two steps of the window is known to be missing.
    Gapped,
}

/// The identity of a forecast: the same model, symbol, `as_of` and horizon give the same id in
/// every run, so that a reader can drop repeats.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForecastId(pub [u8; 16]);

/// One forecast of one symbol; its model is known from the context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Which symbol.
    pub symbol: SymbolId,
    /// Event time of the newest step behind it.
    pub as_of: UnixNanos,
    /// The instant it speaks of: `as_of` plus the horizon.
    pub target_time: UnixNanos,
    /// The forecast in the target's unit (`next_return`: a fraction, 0.01 = +1 %; `next_direction`
    /// and `next_event`: a probability, 0 to 1).
    pub value: f64,
    /// The price that the value implies, where it has a meaning.
    pub price: Option<f64>,
    /// The newest price behind it, for a reader who compares; same unit as `price`.
    pub last_price: Option<f64>,
    /// Lower end of the interval, in the target's unit.
    pub lower: f64,
    /// Upper end of the interval, in the target's unit.
    pub upper: f64,
    /// Buy, sell or hold by the bundle's thresholds.
    pub signal: Signal,
    /// How whole the window is.
    pub quality: Quality,
    /// Whether any input of the window lies outside the range seen in training.
    pub out_of_range: bool,
}

impl fmt::Display for ForecastId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ForecastId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
            Self::Hold => "hold",
        })
    }
}
