//! How old the data behind a model are.
//!
//! Owns the limit, and what is said of a live model beyond it: a warning once for each version, a
//! notice and a metric. Promises that an old model runs on: nothing but a person or another version
//! ends that. Never reads a clock.

use std::collections::BTreeSet;

use tracing::warn;

use super::outcome::ListedModel;
use super::worker::ReloadWork;
use crate::core::domain::UnixNanos;
use crate::ops::readiness::Notice;

const DAY_NANOS: i64 = 86_400_000_000_000;

/// The limit, and who hears of it.
#[derive(Debug)]
pub struct AgeWatch {
    days_max: Option<u32>,
    notice: Notice,
    /// Versions that were warned of.
    warned: BTreeSet<(String, String)>,
}

impl AgeWatch {
    /// With a limit in days, where there is one.
    pub fn new(days_max: Option<u32>, notice: Notice) -> Self {
        Self { days_max, notice, warned: BTreeSet::new() }
    }

    /// Without a limit.
    pub fn never() -> Self {
        Self::new(None, Notice::new("model"))
    }
}

impl ReloadWork {
    /// Holds every live model against the limit.
    pub(super) fn watch_age(&mut self, now: Option<UnixNanos>) {
        let Some(now) = now else { return };
        let mut said = Vec::new();
        let running = self.reloader.running.borrow();
        let there = running.0.iter().zip(&self.reloader.models);
        for (ListedModel { name, role, .. }, model) in there {
            let Some(until) = model.manifest.data_until().filter(|_| role.is_public()) else {
                self.reloader.metrics.aged(name, None, false);
                continue;
            };
            let days = now.as_nanos().saturating_sub(until.as_nanos()) / DAY_NANOS;
            let limit = self.reloader.age.days_max.filter(|max| days >= i64::from(*max));
            self.reloader.metrics.aged(name, Some(until), limit.is_some());
            let Some(days_max) = limit else { continue };
            let version = &model.manifest.version;
            if self.reloader.age.warned.insert((name.clone(), version.clone())) {
                warn!(
                    model = %name,
                    version,
                    data_until = %until,
                    days,
                    days_max,
                    "the data behind the model are older than model.age_days_max"
                );
            }
            said.push(format!(
                "version {version} of `{name}` knows data until {until}, {days} days ago; \
                 model.age_days_max is {days_max}"
            ));
        }
        match &said[..] {
            [] => self.reloader.age.notice.clear(),
            said => self.reloader.age.notice.set(said.join("; ")),
        }
    }
}
