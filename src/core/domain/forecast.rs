//! What the product says about the future: one value with its interval, signal and quality.
//!
//! Owns the forecast as a value and its identity. Promises that nothing in it varies between two
//! runs over the same data, except what a shadow leaves out under load, which it counts. Never
//! holds latency or wall time; those are metrics.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Evidence, InputShift, Quantiles, SymbolId, UnixNanos};

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

impl Signal {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Buy, Self::Sell, Self::Hold];

    /// The word on the wire and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
            Self::Hold => "hold",
        }
    }
}

/// How whole the window behind a forecast is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Every step is real and nothing between them is known to be missing.
    Full,
    /// Empty intervals were filled by rule, or rows were scaled over from another version of the
    /// model.
    Patched,
    /// Data between two steps of the window is known to be missing.
    Gapped,
    /// The times of the symbol cannot be right for this model: its steps have another spacing than
    /// the model was trained on, or its event times lie where those of a wrong unit do.
    Mistimed,
}

impl Quality {
    /// All of them, from the best to the worst.
    pub const ALL: [Self; 4] = [Self::Full, Self::Patched, Self::Gapped, Self::Mistimed];

    /// The word on the wire and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Patched => "patched",
            Self::Gapped => "gapped",
            Self::Mistimed => "mistimed",
        }
    }
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
    /// The instant it speaks of: `as_of` plus the horizon, in steps of the calendar where there is
    /// one.
    pub target_time: UnixNanos,
    /// The forecast in the target's unit (`next_return`: a fraction, 0.01 = +1 %;
    /// `next_log_return`: a natural logarithm; `next_direction` and `next_event`: a probability, 0
    /// to 1).
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
    /// Whether any input of the window lies outside the range seen in training, as far as that is
    /// known.
    pub out_of_range: bool,
    /// Whether the model was trained on this time.
    pub evidence: Evidence,
    /// Whether the symbol's errors are larger than they were.
    pub drift: bool,
    /// How the symbol's newest inputs compare with those of the training.
    pub shift: InputShift,
    /// How many steps of the symbol the model has left out under load so far, as a shadow: the
    /// scores behind the interval lack them.
    pub shed_steps: u64,
    /// The place of its output among those of the model; 0 for the first and for a model of one.
    pub output: u8,
    /// Its quantiles by the levels of the output, in the target's unit, rising; none for an output
    /// without levels.
    pub quantiles: Quantiles,
}

impl ForecastId {
    /// The id as it is written: 32 hexadecimal digits, all of them ASCII.
    pub fn digits(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for ForecastId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits()
            .iter()
            .try_for_each(|digit| fmt::Write::write_char(formatter, char::from(*digit)))
    }
}

impl fmt::Debug for ForecastId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_hexadecimal_digits() {
        let id = ForecastId(std::array::from_fn(|index| (index * 17) as u8));
        assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
        let id = ForecastId(std::array::from_fn(|index| (index * 31 + 7) as u8));
        assert_eq!(id.to_string(), id.0.map(|byte| format!("{byte:02x}")).concat());
    }
}
