//! The section `[split]`: how the history is divided in time.
//!
//! Owns its keys. Never reads a time of the history.

use super::schedule::Length;
use crate::core::domain::UnixNanos;
use crate::ports::section::Section;

/// How the history is divided in time: training, then validation, then test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// The share at the end for the test, between 0 and 1.
    pub test: f64,
    /// The share of the rest, at its end, for validation, between 0 and 1.
    pub validation: f64,
    /// The instant at which the test part begins, instead of the share.
    pub test_from: Option<UnixNanos>,
    /// How much of the history is divided: the newest rows; `None` for all of it.
    pub newest: Option<Length>,
}

/// Reads the section.
pub(super) fn split(mut section: Section<'_>) -> Split {
    let share = |share: f64| share > 0.0 && share < 1.0;
    let test = section.number("test", "between 0 and 1", share);
    let validation = section.number("validation", "between 0 and 1", share);
    let test_from = section.optional_text("test_from").and_then(|text| {
        UnixNanos::parse(&text).map_err(|error| section.problem("test_from", error)).ok()
    });
    let newest = section
        .optional_text("newest")
        .and_then(|text| text.parse().map_err(|error| section.problem("newest", error)).ok());
    section.finish();
    Split { test, validation, test_from, newest }
}
