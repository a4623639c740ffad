//! Whether the process can do its work, as named conditions.
//!
//! Owns the conditions. Promises that the process is ready exactly while every condition is, and
//! that a condition can be withdrawn. Never decides what a condition means: its holder does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions under which the process is ready; cloning shares them.
///
/// A mutex and not an owner: a probe must get its answer while every owner is stuck.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// What each condition lacks; `None` where it is met.
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

/// One condition, held by whoever knows whether it is met.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// No conditions: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that is not yet met.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition { name, readiness: self.clone() };
        condition.not_ready("starting");
        condition
    }

    /// What is lacking, a line per condition; empty where the process is ready.
    pub fn lacking(&self) -> Vec<String> {
        let conditions = self.lock();
        let lacking = |(name, lack): (&&str, &Option<String>)| {
            lack.as_ref().map(|reason| format!("{name}: {reason}"))
        };
        conditions.iter().filter_map(lacking).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        // Every change is one insertion, so a panic elsewhere leaves the map whole.
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// The condition is met.
    pub fn ready(&self) {
        self.readiness.lock().insert(self.name, None);
    }

    /// The condition is not, or no longer, met.
    pub fn not_ready(&self, reason: &str) {
        self.readiness.lock().insert(self.name, Some(reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_condition_is_and_can_be_withdrawn() {
        let readiness = Readiness::new();
        let (model, source) = (readiness.condition("model"), readiness.condition("source"));
        assert_eq!(readiness.lacking(), ["model: starting", "source: starting"]);
        model.ready();
        source.ready();
        assert!(readiness.lacking().is_empty());
        source.not_ready("the feed closed");
        assert_eq!(readiness.lacking(), ["source: the feed closed"]);
    }
}
