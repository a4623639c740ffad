//! What supervision shows as metrics.
//!
//! Owns the names. Promises that every stage has its series from the first look on. Never judges.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

/// The metrics of supervision.
#[derive(Clone, Debug)]
pub struct SuperviseMetrics {
    ready: IntGauge,
    stalled: IntGaugeVec,
}

impl SuperviseMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let ready = IntGauge::new("tickcast_ready", "1 while /readyz says ready, else 0.")?;
        let stalled = IntGaugeVec::new(
            Opts::new(
                "tickcast_stage_stalled",
                "1 while a stage of the data path has work and does not come on, else 0.",
            ),
            &["stage"],
        )?;
        registry.register(Box::new(ready.clone()))?;
        registry.register(Box::new(stalled.clone()))?;
        // A source is in every daemon, so that the series is there before the first look.
        stalled.with_label_values(&["source"]).set(0);
        Ok(Self { ready, stalled })
    }

    pub(super) fn show_ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    pub(super) fn show_stalled<'s>(
        &self,
        stages: impl Iterator<Item = &'s str>,
        stalled: &[String],
    ) {
        for stage in stages {
            let is_stalled = stalled.iter().any(|name| name == stage);
            self.stalled.with_label_values(&[stage]).set(i64::from(is_stalled));
        }
    }
}
