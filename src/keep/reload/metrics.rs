//! What is counted of reloads.
//!
//! Owns the names. Promises that each outcome has its series from the start. Never decides
//! anything.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::outcome::Outcome;

/// Bucket bounds in seconds: a model is read, proved and prepared in tenths to tens of them.
const SECONDS_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0];

/// The metrics of reloads; cloning shares them.
#[derive(Clone, Debug)]
pub struct ReloadMetrics {
    reloads: IntCounterVec,
    seconds: Histogram,
    refused: IntGauge,
}

impl ReloadMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = IntCounterVec::new(
            Opts::new("tickcast_reloads_total", "Reloads of the model, by outcome."),
            &["outcome"],
        )?;
        for outcome in Outcome::LABELS {
            reloads.with_label_values(&[outcome]);
        }
        let options = HistogramOpts::new(
            "tickcast_reload_seconds",
            "Time from a request to reload to its outcome.",
        );
        let seconds = Histogram::with_opts(options.buckets(SECONDS_BUCKETS.to_vec()))?;
        let refused = IntGauge::new(
            "tickcast_model_versions_refused",
            "Versions preferred to the one that runs that did not prove themselves.",
        )?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { reloads, seconds, refused })
    }

    /// Shows how many versions were refused before the one that runs.
    pub fn show_refused(&self, count: usize) {
        self.refused.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a reload.
    pub(super) fn reloaded(&self, outcome: &Outcome, seconds: f64) {
        self.reloads.with_label_values(&[outcome.label()]).inc();
        self.seconds.observe(seconds);
    }
}
