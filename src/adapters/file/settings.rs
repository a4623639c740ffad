//! The settings of a recording: its keys of `[source]`, and the source that they make.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use tracing::info;

use super::source::FileSource;
use super::{Dialect, FileOptions, FileRecords, identity};
use crate::core::domain::Symbol;
use crate::intake::WhenFull;
use crate::ops::exit::{Exit, Failure};
use crate::ports::input::InputIdentity;
use crate::ports::section::Section;
use crate::ports::source::{
    Source, SourceFacts, SourceKind, SourceOpening, SourceReader, SourceSettings, refuse_foreign,
};

/// The settings of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// JSON lines, CSV or Parquet.
    pub path: PathBuf,
    /// How to read it.
    pub options: FileOptions,
}

/// The kind as `source.kind` names it.
pub fn kind<C: Send + 'static>() -> SourceKind<C> {
    SourceKind { name: "file", read }
}

fn read<C: Send + 'static>(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<C>> {
    let SourceReader { is_chosen, source, time_format, .. } = reader;
    let set = OPTION_KEYS.map(|name| (name, source.is_set(name)));
    let mut options = read_options(source);
    options.dialect.times = time_format.clone();
    source.shows(&["path"]);
    let path = source.optional_text("path").map(|text| match text.as_str() {
        STANDARD_INPUT => text.into(),
        text => source.path_of("path", text),
    });
    if let Some(Err(error)) = options.symbol.as_deref().map(Symbol::check) {
        source.problem("symbol", error);
    }
    if !is_chosen {
        refuse_foreign(source, &[&[("path", path.is_some())], &set[..]].concat(), "file");
    } else if path.is_none() {
        source.problem("path", "must name a recording for kind \"file\"");
    }
    Arc::new(FileSettings { path: path.unwrap_or_default(), options })
}

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

/// The keys that [`read_options`] reads.
pub(super) const OPTION_KEYS: [&str; 6] =
    ["columns", "symbol", "format", "delimiter", "header", "decimal"];

/// Reads how to read a file, but for its times, from the keys of a section.
pub fn read_options(section: &mut Section<'_>) -> FileOptions {
    section.shows(&OPTION_KEYS);
    FileOptions {
        columns: parsed(section, "columns"),
        symbol: section.optional_text("symbol"),
        format: parsed(section, "format"),
        dialect: Dialect {
            delimiter: parsed(section, "delimiter"),
            header: parsed(section, "header").unwrap_or_default(),
            decimal: parsed(section, "decimal"),
            ..Dialect::default()
        },
    }
}

/// The value of a key; a problem where its text is none.
pub(super) fn parsed<T: FromStr<Err: Display>>(
    section: &mut Section<'_>,
    name: &'static str,
) -> Option<T> {
    let text = section.optional_text(name)?;
    text.parse().map_err(|error| section.problem(name, error)).ok()
}

/// Opens a recording that a key names.
///
/// # Errors
/// [`Exit`] with code 78 for one that does not open.
pub(super) fn open(path: &Path, options: &FileOptions, key: &str) -> Result<FileRecords, Exit> {
    FileRecords::open(path, options.clone()).map_err(Exit::while_doing(Failure::Configuration, key))
}

/// As [`open`], for a look that takes nothing; `None` for what is no file.
///
/// # Errors
/// As [`open`].
pub(super) fn look(
    path: &Path,
    options: &FileOptions,
    key: &str,
) -> Result<Option<FileRecords>, Exit> {
    if path.is_dir() {
        let problem = format_args!("{key}: `{}` is a folder, not a recording", path.display());
        return Err(Exit::new(Failure::Configuration, problem));
    }
    // Opening a pipe would wait for its writer, and take what it writes.
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    if path == Path::new(STANDARD_INPUT) || kind.is_ok_and(|kind| !kind.is_file()) {
        return Ok(None);
    }
    open(path, options, key).map(Some)
}

impl FileSettings {
    /// Opens the recording.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for one that does not open.
    pub fn records(&self) -> Result<FileRecords, Exit> {
        open(&self.path, &self.options, "source.path")
    }
}

impl<C: Send + 'static> SourceSettings<C> for FileSettings {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            when_full: WhenFull::Block,
            may_drop: true,
            is_live: false,
            delivers_scores: false,
            commits: false,
            message_bytes_max: None,
        }
    }

    fn check(&self) -> Result<Vec<String>, Exit> {
        Ok(match look(&self.path, &self.options, "source.path")? {
            Some(records) => records.guessed().into_iter().collect(),
            None => {
                let path = self.path.display();
                vec![format!("source        `{path}` is no file; it is read when serving")]
            }
        })
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        let recording = identity(&self.path)
            .map_err(Exit::while_doing(Failure::Configuration, "source.path"))?;
        Ok(recording.map(InputIdentity::Recording))
    }

    fn open(&self, _: &SourceOpening<'_>) -> Result<Box<dyn Source<C>>, Exit> {
        let records = self.records()?;
        if let Some(guessed) = records.guessed() {
            info!("{guessed}");
        }
        Ok(Box::new(FileSource::new(records)))
    }
}
