//! What is counted of reloads.
//!
//! Owns the names. Promises that each outcome of each model has its series from the start. Never
//! decides anything.

use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::outcome::{ListedModel, Models, Outcome};
use crate::core::domain::UnixNanos;

/// Bucket bounds in seconds: a model is read, proved and prepared in tenths to tens of them.
const SECONDS_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0];

/// The metrics of reloads; cloning shares them.
#[derive(Clone, Debug)]
pub struct ReloadMetrics {
    reloads: IntCounterVec,
    seconds: Histogram,
    refused: IntGaugeVec,
    promotions: IntCounterVec,
    live: IntGaugeVec,
    data_until: GaugeVec,
    too_old: IntGaugeVec,
}

/// What a promotion follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Somebody has asked for it.
    Request,
    /// The verdict against the live model.
    Rule,
}

impl By {
    const ALL: [Self; 2] = [Self::Request, Self::Rule];

    /// As a metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Rule => "rule",
        }
    }
}

impl ReloadMetrics {
    /// Registers the metrics of these models.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register<'m>(
        registry: &Registry,
        models: impl IntoIterator<Item = &'m str>,
    ) -> Result<Self, prometheus::Error> {
        let reloads = IntCounterVec::new(
            Opts::new("tickcast_reloads_total", "Reloads of a model, by outcome."),
            &["model", "outcome"],
        )?;
        let options = HistogramOpts::new(
            "tickcast_reload_seconds",
            "Time from a request to reload to its outcome.",
        );
        let seconds = Histogram::with_opts(options.buckets(SECONDS_BUCKETS.to_vec()))?;
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["model"])?;
            registry.register(Box::new(gauges.clone())).map(|()| gauges)
        };
        let refused = gauges(
            "tickcast_model_versions_refused",
            "Versions preferred to the one that runs that did not prove themselves.",
        )?;
        let live = gauges("tickcast_model_live", "1 for a live model or a blend, 0 for a shadow.")?;
        let too_old = gauges(
            "tickcast_model_too_old",
            "1 while the data behind a live model are older than `model.age_days_max`.",
        )?;
        let data_until = GaugeVec::new(
            Opts::new(
                "tickcast_model_data_until_timestamp_seconds",
                "Event time of the newest data behind a live model, in seconds since 1970; NaN \
                 where the bundle does not say it.",
            ),
            &["model"],
        )?;
        registry.register(Box::new(data_until.clone()))?;
        let promotions = IntCounterVec::new(
            Opts::new("tickcast_promotions_total", "Times that a shadow became live."),
            &["model", "by"],
        )?;
        for model in models {
            for outcome in Outcome::LABELS {
                reloads.with_label_values(&[model, outcome]);
            }
            for by in By::ALL {
                promotions.with_label_values(&[model, by.label()]);
            }
            too_old.with_label_values(&[model]).set(0);
            data_until.with_label_values(&[model]).set(f64::NAN);
        }
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(promotions.clone()))?;
        Ok(Self { reloads, seconds, refused, promotions, live, data_until, too_old })
    }

    /// Shows how old the data behind a model are.
    pub(super) fn aged(&self, model: &str, until: Option<UnixNanos>, is_too_old: bool) {
        let seconds = until.map_or(f64::NAN, |until| until.as_nanos() as f64 / 1e9);
        self.data_until.with_label_values(&[model]).set(seconds);
        self.too_old.with_label_values(&[model]).set(i64::from(is_too_old));
    }

    /// Shows which versions were refused and what each model does.
    pub fn show(&self, models: &Models) {
        for ListedModel { name, role, status, .. } in &models.0 {
            let refused = i64::try_from(status.refused.len()).unwrap_or(i64::MAX);
            self.refused.with_label_values(&[name]).set(refused);
            self.live.with_label_values(&[name]).set(i64::from(role.is_public()));
        }
    }

    /// Counts what became of a reload of a model.
    pub(super) fn reloaded(&self, model: &str, outcome: &Outcome, seconds: f64) {
        self.reloads.with_label_values(&[model, outcome.label()]).inc();
        self.seconds.observe(seconds);
    }

    /// Counts a promotion.
    pub(super) fn promoted(&self, model: &str, by: By) {
        self.promotions.with_label_values(&[model, by.label()]).inc();
    }
}
