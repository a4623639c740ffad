//! The section `[history]`: where the rows come from that lie before the stream.
//!
//! Owns the rules between this section and `[source]`. Never reads a key of one place of history:
//! its adapter does.

use super::SourceConfig;
use crate::adapters::file::{FileHistorySettings, read_file_keys, refused_for};
use crate::ports::section::Section;

/// Where history comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryConfig {
    /// A recording, where one is named.
    pub file: Option<FileHistorySettings>,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>, source: &SourceConfig) -> HistoryConfig {
    let file = read_file(&mut section, source);
    section.finish();
    HistoryConfig { file }
}

/// Reads the keys of a file, which serves sources that go on from it.
fn read_file(section: &mut Section<'_>, source: &SourceConfig) -> Option<FileHistorySettings> {
    let file = read_file_keys(section, &source.time_format);
    if let (Some(_), Some(problem)) = (&file, refused_for(source.kind)) {
        section.problem("path", problem);
    }
    file
}
