//! The section `[engine]`: how much the engines may take, and the threads that run them.
//!
//! Owns the section's keys, except those that `policy` reads.

use std::time::Duration;

use super::{ShardConfig, policy};
use crate::engine::inference::RuntimeChoice;
use crate::engine::symbols::{EngineLimits, EnginePolicy};
use crate::ports::section::Section;

/// What the section says.
pub(super) struct EngineSection {
    pub(super) limits: EngineLimits,
    pub(super) prepares_runs: bool,
    pub(super) policy: EnginePolicy,
    pub(super) shards: ShardConfig,
    pub(super) runtime: RuntimeChoice,
}

pub(super) fn read(mut section: Section<'_>) -> EngineSection {
    let limits = EngineLimits {
        symbols_max: section.count("symbols_max", 1, 10_000_000),
        batch_rows_max: section.count("batch_rows_max", 1, 4096),
    };
    let shards = ShardConfig {
        count: section.count("shards", 1, 256),
        pin_threads: section.switch("pin_threads"),
        drain_records_max: section.count("drain_records_max", 1, 1_000_000),
        shadow_age_max: match section.count("shadow_age_ms_max", 0, 3_600_000) {
            0 => None,
            age => Some(Duration::from_millis(age as u64)),
        },
    };
    let runtime = section.choice("runtime", &RuntimeChoice::ALL);
    let prepares_runs = section.switch("prepare_runs");
    let policy = policy::read(&mut section);
    section.finish();
    EngineSection { limits, prepares_runs, policy, shards, runtime }
}
