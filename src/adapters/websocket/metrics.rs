//! The metrics of a live feed.
//!
//! Owns the counters and how they follow the machine's tally.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::feed::{FeedState, FeedTally, Unmatched};
use super::state::FeedHealth;
use crate::core::health::Subscription;

/// The states of a subscription that somebody should look at.
const UNSUBSCRIBED: [Subscription; 2] = [Subscription::Refused, Subscription::Unacknowledged];

/// The metrics of the feed; cloning shares them.
#[derive(Clone, Debug)]
pub struct WebSocketMetrics {
    pub(super) connects: IntCounter,
    pub(super) failures: IntCounter,
    replaced: IntCounter,
    ticks: IntCounter,
    duplicates: IntCounter,
    forgotten: IntCounter,
    overlapping: IntCounter,
    late: IntCounter,
    missing: IntCounter,
    marked: IntCounter,
    unmatched: [IntCounter; Unmatched::ALL.len()],
    not_subscribed: IntCounter,
    unsubscribed: IntGaugeVec,
    held: IntGauge,
    state: IntGaugeVec,
}

impl WebSocketMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("tickcast_source_{name}_total"), help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let held = IntGauge::new(
            "tickcast_source_ticks_held",
            "Ticks of a new connection that wait for the old one to carry one of them.",
        )?;
        registry.register(Box::new(held.clone()))?;
        let state = Opts::new("tickcast_source_state", "Connections of the feed in each state.");
        let state = IntGaugeVec::new(state, &["state"])?;
        registry.register(Box::new(state.clone()))?;
        for of in FeedState::ALL {
            state.with_label_values(&[of.label()]).set(0);
        }
        let unmatched = IntCounterVec::new(
            Opts::new(
                "tickcast_source_unmatched_total",
                "Messages that no rule of the venue makes anything of, by what is known of them.",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(unmatched.clone()))?;
        let unsubscribed = IntGaugeVec::new(
            Opts::new(
                "tickcast_source_symbols_unsubscribed",
                "Configured symbols whose subscription is refused or not acknowledged.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(unsubscribed.clone()))?;
        for state in UNSUBSCRIBED {
            unsubscribed.with_label_values(&[state.reason()]).set(0);
        }
        Ok(Self {
            connects: counter("connects", "Connections to the feed that came about.")?,
            failures: counter("failures", "Connections to the feed that failed or were lost.")?,
            replaced: counter("replaced", "Connections replaced while they still stood.")?,
            ticks: counter("ticks", "Ticks in the frames of the feed.")?,
            duplicates: counter("duplicates", "Ticks dropped: their id was passed on before.")?,
            forgotten: counter(
                "forgotten",
                "Ticks dropped: their id is older than is remembered.",
            )?,
            overlapping: counter(
                "overlapping",
                "Ticks dropped: the connection that is being replaced carries them.",
            )?,
            late: counter("late", "Ticks passed on behind those that they belong before.")?,
            missing: counter("missing", "Ids that were left out.")?,
            marked: counter("marked", "Ticks passed on with the mark of a gap before them.")?,
            unmatched: Unmatched::ALL.map(|kind| unmatched.with_label_values(&[kind.label()])),
            unsubscribed,
            not_subscribed: counter("not_subscribed", "Subscriptions refused or unanswered.")?,
            held,
            state,
        })
    }

    /// Adds what has happened between two tallies.
    pub(super) fn show(&self, before: &FeedTally, now: &FeedTally) {
        let FeedTally {
            ticks,
            // The queue counts what it gets.
            passed: _,
            duplicates,
            forgotten,
            overlapping,
            held,
            late,
            missing,
            marked,
            unmatched,
            not_subscribed,
            replaced,
        } = *now;
        for (counter, now, before) in [
            (&self.ticks, ticks, before.ticks),
            (&self.duplicates, duplicates, before.duplicates),
            (&self.forgotten, forgotten, before.forgotten),
            (&self.overlapping, overlapping, before.overlapping),
            (&self.late, late, before.late),
            (&self.missing, missing, before.missing),
            (&self.marked, marked, before.marked),
            (&self.not_subscribed, not_subscribed, before.not_subscribed),
            (&self.replaced, replaced, before.replaced),
        ] {
            if now > before {
                counter.inc_by(now - before);
            }
        }
        for (counter, kind) in self.unmatched.iter().zip(Unmatched::ALL) {
            counter.inc_by(unmatched.get(kind) - before.unmatched.get(kind));
        }
        if held != before.held {
            self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn show_subscriptions(&self, health: &FeedHealth) {
        for state in UNSUBSCRIBED {
            let count = i64::try_from(health.count_subscriptions(state)).unwrap_or(i64::MAX);
            self.unsubscribed.with_label_values(&[state.reason()]).set(count);
        }
    }

    pub(super) fn show_states(&self, health: &FeedHealth) {
        for state in FeedState::ALL {
            let count = i64::try_from(health.count(state)).unwrap_or(i64::MAX);
            self.state.with_label_values(&[state.label()]).set(count);
        }
    }
}
