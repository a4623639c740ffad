//! Forecasts that are probabilities of an event; truths are 1 where it happened and 0 where not.
//!
//! Owns the logarithmic loss and the calibration: whether of the days with 30 % rain forecast three
//! in ten were wet. The Brier score (Brier, 1950) is the mean of [`super::squared_losses`].
//!
//! Promises to be finite even for a certainty that was wrong. Never decides what counts as an event
//! forecast; that is a threshold's business.

use super::mean;

/// How close to certain a forecast may be for the logarithmic loss, which is infinite for a
/// certainty that was wrong.
const CERTAINTY_MARGIN: f64 = 1e-15;

/// The mean of `-ln p` of what came true, in nats; 0.693 is a coin's.
pub fn log_loss(forecasts: &[f64], truths: &[f64]) -> f64 {
    let losses = forecasts.iter().zip(truths).map(|(forecast, truth)| {
        let forecast = forecast.clamp(CERTAINTY_MARGIN, 1.0 - CERTAINTY_MARGIN);
        -(truth * forecast.ln() + (1.0 - truth) * (1.0 - forecast).ln())
    });
    mean(&losses.collect::<Vec<_>>())
}

/// The forecasts between two probabilities, and what came of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// How many.
    pub count: usize,
    /// Mean of the forecasts.
    pub forecast: f64,
    /// Share of events.
    pub happened: f64,
}

/// A reliability diagram in the making: forecasts in equal stretches from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Count, sum of forecasts and events of each stretch.
    sums: Vec<(usize, f64, f64)>,
}

impl Reliability {
    /// So many stretches, at least one, without a forecast.
    pub fn new(bins: usize) -> Self {
        Self { sums: vec![(0, 0.0, 0.0); bins.max(1)] }
    }

    /// Takes one forecast. One of 1 belongs to the last stretch.
    pub fn note(&mut self, forecast: f64, truth: f64) {
        let bins = self.sums.len();
        let at = ((forecast.max(0.0) * bins as f64) as usize).min(bins - 1);
        let (count, forecasts, events) = &mut self.sums[at];
        *count += 1;
        *forecasts += forecast;
        *events += truth;
    }

    /// The stretches with forecasts.
    pub fn bins(&self) -> Vec<Bin> {
        let filled = self.sums.iter().filter(|(count, ..)| *count > 0);
        let bin = |(count, forecasts, events): &(usize, f64, f64)| Bin {
            count: *count,
            forecast: forecasts / *count as f64,
            happened: events / *count as f64,
        };
        filled.map(bin).collect()
    }
}

/// The diagram of these forecasts, the empty stretches left out.
pub fn reliability(forecasts: &[f64], truths: &[f64], bins: usize) -> Vec<Bin> {
    let mut reliability = Reliability::new(bins);
    for (forecast, truth) in forecasts.iter().zip(truths) {
        reliability.note(*forecast, *truth);
    }
    reliability.bins()
}

/// The mean distance between forecast and share of events over the bins, weighted by their counts
/// (Naeini, Cooper and Hauskrecht, 2015, doi:10.1609/aaai.v29i1.9602); 0 is calibrated.
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let distance = |bin: &Bin| bin.count as f64 * (bin.forecast - bin.happened).abs();
    if total == 0 { 0.0 } else { bins.iter().map(distance).sum::<f64>() / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_close;
    use super::super::{mean, squared_losses};
    use super::*;

    #[test]
    fn scores_have_their_hand_computed_values() {
        let (forecasts, truths) = ([0.9, 0.2, 0.5], [1.0, 0.0, 0.0]);
        // Brier: (0.01 + 0.04 + 0.25) / 3; log loss: -ln(0.9 * 0.8 * 0.5) / 3.
        assert_close(mean(&squared_losses(&forecasts, &truths)), 0.1);
        assert_close(log_loss(&forecasts, &truths), -(0.36_f64.ln()) / 3.0);
        assert_close(log_loss(&[0.0], &[1.0]), -(1e-15_f64.ln()));
        assert!(log_loss(&[1.0], &[0.0]).is_finite());
    }

    #[test]
    fn bins_and_calibration_have_their_hand_computed_values() {
        let forecasts = [0.1, 0.15, 0.5, 1.0, 0.95];
        let truths = [0.0, 1.0, 1.0, 1.0, 0.0];
        let bins = reliability(&forecasts, &truths, 4);
        let counts: Vec<_> = bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 2], "0.5 opens the third stretch; the second is empty");
        assert_close(bins[0].forecast, 0.125);
        assert_close(bins[0].happened, 0.5);
        assert_close(bins[2].forecast, 0.975);
        assert_close(bins[2].happened, 0.5);
        // 2/5 * 0.375 + 1/5 * 0.5 + 2/5 * 0.475
        assert_close(expected_calibration_error(&bins), 0.15 + 0.1 + 0.19);
        assert_eq!(expected_calibration_error(&[]), 0.0);
    }
}
