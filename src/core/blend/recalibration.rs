//! A line through the forecasts of a model and what came true.
//!
//! Owns the recalibration `a + b × forecast` of one model and symbol: least squares with
//! forgetting, drawn towards the forecast itself, so that few truths change little. Promises O(1)
//! for each truth, a slope within fixed limits, and a forecast no further from the model's than a
//! multiple of the size of its errors. Never forecasts by itself.

use serde::{Deserialize, Serialize};

/// By which older truths count less with each new one: half of the weight is on the last 250.
const DECAY: f64 = 0.997_231_251_352_069_5;

/// As many truths as the forecast itself weighs in the choice of the line.
const RIDGE: f64 = 30.0;

/// The limits of the slope.
const SLOPE_MIN: f64 = -2.0;
const SLOPE_MAX: f64 = 2.0;

/// How far a recalibrated forecast may lie from the forecast, in root mean squared errors.
const DISTANCE_MAX: f64 = 3.0;

/// What is known of forecasts and truths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalibration {
    /// The sum of all weights; that of the newest truth is 1.
    pub(super) weight: f64,
    forecast_mean: f64,
    truth_mean: f64,
    /// Weighted sums of products of deviations from the means.
    forecast_squares: f64,
    products: f64,
    /// The weighted sum of squared errors.
    pub(super) error_squares: f64,
}

impl Recalibration {
    /// Takes a forecast with its truth.
    pub fn take(&mut self, forecast: f64, truth: f64) {
        let weight = DECAY * self.weight + 1.0;
        let (forecast_apart, truth_apart) =
            (forecast - self.forecast_mean, truth - self.truth_mean);
        let forecast_mean = self.forecast_mean + forecast_apart / weight;
        let truth_mean = self.truth_mean + truth_apart / weight;
        let error = truth - forecast;
        let next = Self {
            weight,
            forecast_mean,
            truth_mean,
            forecast_squares: DECAY * self.forecast_squares
                + forecast_apart * (forecast - forecast_mean),
            products: DECAY * self.products + forecast_apart * (truth - truth_mean),
            error_squares: DECAY * self.error_squares + error * error,
        };
        if next.is_possible() {
            *self = next;
        }
    }

    /// The forecast, recalibrated.
    pub fn apply(&self, forecast: f64) -> f64 {
        if self.weight == 0.0 {
            return forecast;
        }
        let trust = self.weight / (self.weight + RIDGE);
        let slope = if self.forecast_squares > 0.0 {
            (self.products / self.forecast_squares).clamp(SLOPE_MIN, SLOPE_MAX)
        } else {
            1.0
        };
        let bias = self.truth_mean - self.forecast_mean;
        let moved = trust * (bias + (slope - 1.0) * (forecast - self.forecast_mean));
        let most = DISTANCE_MAX * (self.error_squares / self.weight).sqrt();
        let recalibrated = forecast + moved.clamp(-most, most);
        if recalibrated.is_finite() { recalibrated } else { forecast }
    }

    /// Whether it can have come about.
    pub(super) fn is_possible(&self) -> bool {
        let Self { weight, forecast_mean, truth_mean, forecast_squares, products, error_squares } =
            *self;
        let sums = [weight, forecast_squares, error_squares];
        sums.iter().all(|sum| sum.is_finite() && *sum >= 0.0)
            && [forecast_mean, truth_mean, products].iter().all(|number| number.is_finite())
    }
}
