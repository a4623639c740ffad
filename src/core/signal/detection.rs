//! Signals as detections: how many that were raised came true, and how much of what came true was
//! announced.
//!
//! Owns counts, precision and recall, for the trainer and for the daemon. Never invents a share
//! where there was nothing to count.

use serde::{Deserialize, Serialize};

/// How often something was raised, and how often it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// Times raised.
    pub raised: u64,
    /// Times happened.
    pub happened: u64,
    /// Times raised and happened.
    pub hits: u64,
}

impl Detection {
    /// Counts forecasts and truths that are beyond a threshold, as `beyond` says.
    pub fn count(forecasts: &[f64], truths: &[f64], beyond: impl Fn(f64) -> bool) -> Self {
        let mut counts = Self::default();
        for (forecast, truth) in forecasts.iter().zip(truths) {
            counts.note(beyond(*forecast), beyond(*truth));
        }
        counts
    }

    /// Counts one forecast.
    pub fn note(&mut self, raised: bool, happened: bool) {
        self.raised += u64::from(raised);
        self.happened += u64::from(happened);
        self.hits += u64::from(raised && happened);
    }

    /// Share of the raised that happened.
    pub fn precision(self) -> Option<f64> {
        (self.raised > 0).then(|| self.hits as f64 / self.raised as f64)
    }

    /// Share of the happened that were raised.
    pub fn recall(self) -> Option<f64> {
        (self.happened > 0).then(|| self.hits as f64 / self.happened as f64)
    }

    /// Whether these can be counts over so many forecasts.
    pub(super) fn is_possible(&self, forecasts: u64) -> bool {
        self.hits <= self.raised.min(self.happened) && self.raised.max(self.happened) <= forecasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_recall_have_their_hand_computed_values() {
        let (forecasts, truths) = ([0.03, 0.05, 0.01, 0.02], [0.04, 0.0, 0.03, 0.1]);
        let buy = Detection::count(&forecasts, &truths, |value| value > 0.02);
        assert_eq!(buy, Detection { raised: 2, happened: 3, hits: 1 });
        assert_eq!(buy.precision(), Some(0.5));
        assert_eq!(buy.recall(), Some(1.0 / 3.0));
        let sell = Detection::count(&forecasts, &truths, |value| value < -0.02);
        assert_eq!((sell.precision(), sell.recall()), (None, None));
    }
}
