//! Whether the daemon refuses everything that comes, over all shards.
//!
//! Owns the look at the counters of all shards, once a second, and what follows from it: the
//! readiness condition `ticks`, a metric, and a line in the log when it begins and when it ends.
//! The first shard does it for all. Promises that other shards only leave numbers, without waiting.
//! Never decides what counts as refused: `core::health` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::{Gauge, IntGauge, Registry};
use tracing::{info, warn};

use crate::core::domain::DurationNanos;
use crate::core::health::{Counts, Reception, Refusals};
use crate::ops::readiness::Condition;
use crate::shard::metrics::ShardMetrics;

/// How many of the newest times from the future are looked at.
const AHEAD_SAMPLES: usize = 32;

/// How far the times of the newest records from the future were ahead of their reception, of all
/// shards; cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct AheadSamples {
    shared: Arc<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    next: AtomicUsize,
    /// In nanoseconds; 0 where there is none yet.
    spans: [AtomicI64; AHEAD_SAMPLES],
}

/// The look at everything that is refused.
pub struct RefusalWatch {
    counts: ShardMetrics,
    ahead: AheadSamples,
    /// The clock by which the records were received.
    clock: &'static str,
    ready: Condition,
    all_refused: IntGauge,
    ahead_seconds: Gauge,
    refusals: Refusals,
    /// What was shown last.
    shown: Reception,
}

impl AheadSamples {
    /// Notes one.
    pub(super) fn note(&self, ahead: DurationNanos) {
        let Ring { next, spans } = &*self.shared;
        let index = next.fetch_add(1, Ordering::Relaxed) % AHEAD_SAMPLES;
        spans[index].store(ahead.as_nanos(), Ordering::Relaxed);
    }

    /// The median of the newest; `None` where there are none.
    fn median(&self) -> Option<Duration> {
        let spans = self.shared.spans.iter().map(|span| span.load(Ordering::Relaxed));
        let mut spans: Vec<i64> = spans.filter(|span| *span > 0).collect();
        spans.sort_unstable();
        let median = spans.get(spans.len() / 2)?;
        u64::try_from(*median).ok().map(Duration::from_nanos)
    }
}

impl RefusalWatch {
    /// A look at the counts of all shards. Records are received by the host's clock where the
    /// source is live. Nothing is refused yet, so the condition is met.
    ///
    /// # Errors
    /// Where a name of its metrics is registered already.
    pub fn new(
        counts: ShardMetrics,
        ahead: AheadSamples,
        is_live: bool,
        ready: Condition,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let all_refused = IntGauge::new(
            "tickcast_ticks_all_refused",
            "1 while records come and none is used: every one is refused, or of an unwanted \
             symbol.",
        )?;
        let ahead_seconds = Gauge::new(
            "tickcast_ticks_ahead_seconds",
            "Median of how far the last records refused as in_future were ahead of their \
             reception; 0 before the first.",
        )?;
        registry.register(Box::new(all_refused.clone()))?;
        registry.register(Box::new(ahead_seconds.clone()))?;
        ready.ready();
        let (refusals, shown) = (Refusals::default(), Reception::default());
        let clock = if is_live { "the host clock" } else { "the clock of the records" };
        Ok(Self { counts, ahead, clock, ready, all_refused, ahead_seconds, refusals, shown })
    }

    /// Looks once.
    pub(super) fn look(&mut self) {
        // Used before refused: what is used meanwhile is found by the next look.
        let used = self.counts.used();
        let found = self.refusals.note(Counts {
            used,
            refused: self.counts.refused(),
            unwanted: self.counts.unwanted(),
            symbols: self.counts.live_symbols(),
        });
        let ahead = self.ahead.median();
        self.ahead_seconds.set(ahead.unwrap_or_default().as_secs_f64());
        if found == self.shown {
            return;
        }
        self.shown = found;
        match found.problem(ahead, self.clock) {
            Some(problem) => {
                warn!(%problem, "records come and none is used: no forecast can be made");
                self.ready.not_ready(problem);
                self.all_refused.set(1);
            }
            None => {
                info!("records are used again");
                self.ready.ready();
                self.all_refused.set(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_newest_samples() {
        let ahead = AheadSamples::default();
        assert_eq!(ahead.median(), None);
        let note = |seconds| ahead.note(DurationNanos::from_seconds(seconds).unwrap());
        (1..=3).for_each(note);
        assert_eq!(ahead.median(), Some(Duration::from_secs(2)));
        (0..AHEAD_SAMPLES).for_each(|_| note(90));
        assert_eq!(ahead.median(), Some(Duration::from_secs(90)), "older ones are gone");
    }
}
