//! The section `[snapshot]`: where and how often states are kept on this machine.
//!
//! Owns the section's keys and their rules.

use std::path::PathBuf;
use std::time::Duration;

use crate::ports::section::Section;

/// The local snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Where; `None` for nowhere.
    pub folder: Option<PathBuf>,
    /// How often.
    pub interval: Duration,
    /// How many steps the data of a feed may have missed for a window to go on.
    pub gap_steps_max: u32,
}

/// Reads the section. `state_directory` is what systemd says in the variable `STATE_DIRECTORY`.
pub(super) fn read(mut section: Section<'_>, state_directory: Option<&str>) -> SnapshotConfig {
    section.shows(&["folder"]);
    let folder = match section.optional_text("folder").as_deref() {
        None => None,
        // Several folders stand apart by colons; the first is the one that the unit names first.
        Some("auto") => state_directory
            .and_then(|folders| folders.split(':').next())
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from),
        Some(folder) => Some(section.path_of("folder", folder)),
    };
    let config = SnapshotConfig {
        folder,
        interval: Duration::from_millis(section.count("interval_ms", 10, 3_600_000) as u64),
        // The limit fits.
        gap_steps_max: section.count("gap_steps_max", 0, 1_000_000) as u32,
    };
    section.finish();
    config
}
