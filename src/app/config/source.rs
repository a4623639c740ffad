//! The section `[source]`: where ticks come from, and how records wait.
//!
//! Owns the keys that all kinds of sources share, and their rules. Promises that the keys of every
//! kind are known, chosen or not. Never reads a key of one kind: its adapter does.

use std::collections::HashMap;
use std::sync::Arc;

use super::SourceConfig;
use crate::adapters::{Adapters, file};
use crate::core::domain::TimeUnit;
use crate::intake::WhenFull;
use crate::ports::section::Section;
use crate::ports::source::{SourceKind, SourceReader, SourceSettings, not_in_this_build};
use crate::shard::command::Command;

/// Reads `[source]`, and the settings of every kind of source: those that are not chosen as well,
/// so that their keys are known.
pub(super) fn read(
    adapters: &Adapters,
    root: &mut Section<'_>,
    variables: &HashMap<String, String>,
) -> (SourceConfig, Vec<Arc<dyn SourceSettings<Command>>>) {
    let mut section = root.section("source");
    let names: Vec<_> =
        adapters.sources.iter().enumerate().map(|(index, kind)| (kind.name, index)).collect();
    section.shows(&["time_format", "time_zone"]);
    let chosen = section.choice("kind", &names);
    let time_format = section.time_format();
    let mut read_kind = |(index, kind): (usize, &SourceKind<Command>)| {
        let (source, time_format) = (&mut section, &time_format);
        let is_chosen = index == chosen;
        (kind.read)(SourceReader { is_chosen, source, time_format, root, variables })
    };
    let sources: Vec<_> = adapters.sources.iter().enumerate().map(&mut read_kind).collect();
    let settings = Arc::clone(&sources[chosen]);
    let (name, facts) = (adapters.sources[chosen].name, settings.facts());
    if let Some(feature) = settings.lacks() {
        section.problem("kind", not_in_this_build(name, feature));
    }
    let when_full = section.choice(
        "when_full",
        &[
            ("auto", None),
            ("drop_oldest", Some(WhenFull::DropOldest)),
            ("block", Some(WhenFull::Block)),
        ],
    );
    let when_full = when_full.unwrap_or(facts.when_full);
    if when_full == WhenFull::DropOldest && !facts.may_drop {
        let problem = format!("must be \"block\" for kind \"{name}\", which loses nothing");
        section.problem("when_full", problem);
    }
    let record_bytes_max = section.count("record_bytes_max", 64, file::RECORD_BYTES_MAX);
    if facts.message_bytes_max.is_some_and(|message| record_bytes_max > message) {
        section.problem("record_bytes_max", "is above message_bytes_max, so it cannot work");
    }
    let config = SourceConfig {
        kind: name,
        settings,
        time_unit: section.choice("time_unit", &TimeUnit::CHOICES),
        time_format,
        accepts_times: section.switch("accept_times"),
        record_bytes_max,
        queue_records_max: section.count("queue_records_max", 1, 10_000_000),
        queue_bytes_max: section.count("queue_bytes_max", 1024, usize::MAX),
        when_full,
        future_seconds_max: section
            .optional_count("future_seconds_max", 0, u32::MAX as usize)
            .map(|seconds| u32::try_from(seconds).expect("the count is at most a u32")),
    };
    section.finish();
    (config, sources)
}
