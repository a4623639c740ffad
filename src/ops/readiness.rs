//! Whether the process can do its work, as named conditions.
//!
//! Owns the conditions and their reasons, and notices of parts that do less than they should while
//! the process as a whole does its work. Promises that nothing is ready before it said so, that
//! readiness can be withdrawn at any time, and that a notice never withdraws it. Never decides
//! anything itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a condition says before its owner says anything.
const NOT_YET: &str = "not yet";

/// All conditions; cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// By name; the reason why it is not ready, or `None`. A lock and no owner, because it is read
    /// by a thread that must answer while every owner is stuck, and held for a copy at most.
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

/// What is wrong with a part that the process can do without; cloning shares it.
#[derive(Clone, Debug)]
pub struct Notice {
    name: &'static str,
    text: Arc<Mutex<Option<String>>>,
}

/// One condition, in the hands of whoever knows about it; cloning shares it.
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// No conditions: not ready, since nothing has said that it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// One condition that is met for good, for a process that nobody supervises.
    pub fn always(name: &'static str) -> Self {
        let readiness = Self::new();
        readiness.condition(name).ready();
        readiness
    }

    /// The condition of this name; not ready until its owner says so.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.lock().entry(name).or_insert_with(|| Some(NOT_YET.to_owned()));
        Condition { readiness: self.clone(), name }
    }

    /// What is not ready, as `name: reason`, by name; empty when everything is ready.
    pub fn problems(&self) -> Vec<String> {
        let conditions = self.lock();
        if conditions.is_empty() {
            return vec!["starting".to_owned()];
        }
        let unmet = conditions.iter().filter_map(|(name, reason)| Some((name, reason.as_ref()?)));
        unmet.map(|(name, reason)| format!("{name}: {reason}")).collect()
    }

    /// Shows what this notice says.
    pub fn show(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    /// What the notices say now, as `name: text`, in the order in which they were shown.
    pub fn notices(&self) -> Vec<String> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.iter().filter_map(Notice::read).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        // Every change is a single insert, so what a panicking holder leaves is whole.
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notice {
    /// A notice about the part of this name that says nothing.
    pub fn new(name: &'static str) -> Self {
        Self { name, text: Arc::default() }
    }

    /// Says this from here on.
    pub fn set(&self, text: impl Into<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.into());
    }

    /// Says nothing from here on.
    pub fn clear(&self) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn read(&self) -> Option<String> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.as_ref().map(|text| format!("{}: {text}", self.name))
    }
}

impl Condition {
    /// It is met.
    pub fn ready(&self) {
        self.readiness.lock().insert(self.name, None);
    }

    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        self.readiness.lock().get(self.name).is_some_and(Option::is_none)
    }

    /// It is not, or no longer, met.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.lock().insert(self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_must_say_that_it_is_ready_and_may_take_it_back() {
        let readiness = Readiness::new();
        assert_eq!(readiness.problems(), ["starting"], "nothing has said that it is ready");
        let source = readiness.condition("source");
        let model = readiness.condition("model");
        assert_eq!(readiness.problems(), ["model: not yet", "source: not yet"]);
        model.ready();
        assert!(!source.is_met());
        source.not_ready("connecting");
        assert_eq!(readiness.problems(), ["source: connecting"]);
        source.ready();
        assert!(source.is_met());
        assert_eq!(
            readiness.condition("source").readiness.problems(),
            [""; 0],
            "asking again resets nothing"
        );
        model.not_ready("stopping");
        assert_eq!(readiness.problems(), ["model: stopping"]);
    }

    #[test]
    fn a_notice_is_shown_and_withdraws_nothing() {
        let readiness = Readiness::always("running");
        let notice = Notice::new("lines");
        readiness.show(notice.clone());
        assert_eq!(readiness.notices(), [""; 0]);
        notice.set("no space");
        assert_eq!(readiness.notices(), ["lines: no space"]);
        assert_eq!(readiness.problems(), [""; 0]);
        notice.clear();
        assert_eq!(readiness.notices(), [""; 0]);
    }
}
