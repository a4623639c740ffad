//! The part of `[engine]` that says which windows may forecast, and how long symbols are kept.
//!
//! Owns the words for qualities and for times in a configuration. Never judges a window.

use crate::core::domain::DurationNanos;
use crate::engine::symbols::{EnginePolicy, Withhold};
use crate::ports::section::{Section, seconds_of};

/// The most steps between two that belong to one window; a day of milliseconds and more.
const GAP_STEPS_MAX: usize = 1_000_000_000;

/// The longest time that a symbol may be told to be kept, in seconds: a century.
const SYMBOL_TTL_SECONDS_MAX: i64 = 100 * 366 * 86_400;

/// Takes its keys out of the section `engine`.
pub(super) fn read(section: &mut Section<'_>) -> EnginePolicy {
    section.shows(&["withhold", "symbol_ttl"]);
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
    EnginePolicy {
        gap_steps_max,
        symbol_ttl: symbol_ttl(section),
        withhold,
        ..EnginePolicy::default()
    }
}

/// How long a symbol may be silent; `None` for ever.
fn symbol_ttl(section: &mut Section<'_>) -> Option<DurationNanos> {
    let text = section.optional_text("symbol_ttl").filter(|text| text != "off")?;
    let ttl = seconds_of(&text)
        .filter(|seconds| (1..=SYMBOL_TTL_SECONDS_MAX).contains(seconds))
        .and_then(DurationNanos::from_seconds);
    if ttl.is_none() {
        let problem = "is neither \"off\" nor a whole number with s, m, h or d, such as \"7d\"";
        section.problem("symbol_ttl", format_args!("`{text}` {problem}"));
    }
    ttl
}
