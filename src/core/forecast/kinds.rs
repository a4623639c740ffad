//! What kinds of forecasts were made.
//!
//! Owns the counts. Promises that every forecast is counted once under its signal and once under
//! its quality. Never decides either.

use crate::core::domain::{Forecast, Quality};

/// How many forecasts there were of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForecastKinds {
    /// In the order of [`crate::core::domain::Signal::ALL`].
    pub signals: [u64; 3],
    /// In the order of [`crate::core::domain::Quality::ALL`].
    pub qualities: [u64; Quality::ALL.len()],
    /// Those of a window with an input outside of the training range.
    pub out_of_range: u64,
}

impl ForecastKinds {
    /// Counts one forecast.
    pub fn count(&mut self, forecast: &Forecast) {
        self.signals[forecast.signal as usize] += 1;
        self.qualities[forecast.quality as usize] += 1;
        self.out_of_range += u64::from(forecast.out_of_range);
    }
}

#[cfg(test)]
mod tests {
    use crate::core::domain::{Quality, Signal};

    #[test]
    fn the_places_are_those_of_the_lists() {
        for (place, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(signal as usize, place);
        }
        for (place, quality) in Quality::ALL.into_iter().enumerate() {
            assert_eq!(quality as usize, place);
        }
    }
}
