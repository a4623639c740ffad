//! The section `[health]`: when silence means something.
//!
//! Owns its keys. Never judges a symbol.

use std::time::Duration;

use crate::ports::section::Section;

/// When the silence of a symbol means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// No shorter silence is more than live.
    pub quiet_min: Duration,
    /// No shorter silence is more than quiet.
    pub stale_min: Duration,
    /// A silence of so many usual waits is stale.
    pub stale_waits: u32,
}

pub(super) fn read(mut section: Section<'_>) -> HealthConfig {
    const SECONDS_MAX: usize = 30 * 86_400;
    let seconds = |count: usize| Duration::from_secs(count as u64);
    let config = HealthConfig {
        quiet_min: seconds(section.count("quiet_seconds_min", 1, SECONDS_MAX)),
        stale_min: seconds(section.count("stale_seconds_min", 1, SECONDS_MAX)),
        stale_waits: u32::try_from(section.count("stale_waits", 1, 1_000_000))
            .expect("the count is at most a million"),
    };
    if config.stale_min < config.quiet_min {
        section.problem("stale_seconds_min", "is below quiet_seconds_min, so it cannot work");
    }
    section.finish();
    config
}
