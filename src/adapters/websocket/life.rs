//! How the connections of a feed live, all keys of the section `[source]`.
//!
//! Owns these keys and their rules.

use std::time::Duration;

use super::FeedSettings;
use crate::ports::section::Section;

/// Reads the keys. How many symbols are remembered is the engine's to say.
pub(super) fn read(section: &mut Section<'_>) -> FeedSettings {
    let seconds = |section: &mut Section<'_>, name, min, max| {
        Duration::from_secs(section.count(name, min, max) as u64)
    };
    let stall = seconds(section, "stall_seconds_max", 0, 86_400);
    let settings = FeedSettings {
        idle_timeout: seconds(section, "idle_seconds_max", 1, 3600),
        pong_timeout: seconds(section, "pong_seconds_max", 1, 3600),
        stall_timeout: (!stall.is_zero()).then_some(stall),
        answer_timeout: seconds(section, "subscribe_seconds_max", 1, 300),
        backoff_max: seconds(section, "backoff_seconds_max", 1, 3600),
        overlap: seconds(section, "overlap_seconds_max", 0, 300),
        symbols_max: 0,
        ids_max: section.count("recent_ids_max", 1, 1_000_000),
    };
    // The answer counts as a sign of life, so half of the idle time is all it can have.
    FeedSettings { pong_timeout: settings.pong_timeout.min(settings.idle_timeout / 2), ..settings }
}
