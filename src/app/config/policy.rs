//! The part of `[engine]` that says which windows may forecast.
//!
//! Owns the words for qualities in a configuration. Never judges a window.

use crate::engine::symbols::{EnginePolicy, Withhold};
use crate::ports::section::Section;

/// The most steps between two that belong to one window; a day of milliseconds and more.
const GAP_STEPS_MAX: usize = 1_000_000_000;

/// Takes its keys out of the section `engine`.
pub(super) fn read(section: &mut Section<'_>) -> EnginePolicy {
    let gap_steps_max = section
        .optional_count("gap_steps_max", 0, GAP_STEPS_MAX)
        .map(|count| u32::try_from(count).expect("the count is at most a thousand million"));
    let mut withhold = Withhold::default();
    for quality in section.texts("withhold") {
        match &*quality {
            "patched" => withhold.patched = true,
            "gapped" => withhold.gapped = true,
            "mistimed" => withhold.mistimed = true,
            other => {
                let problem = format!("`{other}` is none of `patched`, `gapped`, `mistimed`");
                section.problem("withhold", problem);
            }
        }
    }
    EnginePolicy { gap_steps_max, withhold, ..EnginePolicy::default() }
}
