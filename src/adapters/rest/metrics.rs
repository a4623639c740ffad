//! The metric of questions for history.
//!
//! Owns the counter. Promises that each request that ended has exactly one outcome.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// How requests ended; cloning shares the counts.
#[derive(Clone, Debug)]
pub struct RestMetrics {
    pub(super) ok: IntCounter,
    pub(super) rate_limited: IntCounter,
    pub(super) failed: IntCounter,
    pub(super) refused: IntCounter,
}

impl RestMetrics {
    /// Registers the metric.
    ///
    /// # Errors
    /// Where the name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Requests for history, by how they ended.";
        let requests = Opts::new("tickcast_history_requests_total", help);
        let requests = IntCounterVec::new(requests, &["outcome"])?;
        registry.register(Box::new(requests.clone()))?;
        let of = |outcome: &str| requests.with_label_values(&[outcome]);
        Ok(Self {
            ok: of("ok"),
            rate_limited: of("rate_limited"),
            failed: of("failed"),
            refused: of("refused"),
        })
    }
}
