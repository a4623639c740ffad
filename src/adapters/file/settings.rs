//! The settings of a recording: its keys of `[source]`, and the source that they make.

use std::path::PathBuf;
use std::sync::Arc;

use super::source::FileSource;
use super::{ColumnMap, FileOptions, FileRecords, identity};
use crate::core::domain::Symbol;
use crate::intake::WhenFull;
use crate::ops::exit::{Exit, Failure};
use crate::ports::input::InputIdentity;
use crate::ports::source::{
    Source, SourceFacts, SourceKind, SourceOpening, SourceReader, SourceSettings, refuse_foreign,
};

/// The settings of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// JSON lines, CSV or Parquet.
    pub path: PathBuf,
    /// The columns of a table; `None` for those that it names itself.
    pub columns: Option<ColumnMap>,
    /// The symbol of a recording that has no column for it.
    pub symbol: Option<String>,
}

/// The kind as `source.kind` names it.
pub fn kind<C: Send + 'static>() -> SourceKind<C> {
    SourceKind { name: "file", read }
}

fn read<C: Send + 'static>(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<C>> {
    let SourceReader { is_chosen, source, .. } = reader;
    let columns = source.optional_text("columns");
    let symbol = source.optional_text("symbol");
    let path = source.optional_text("path");
    if let Some(Err(error)) = symbol.as_deref().map(Symbol::check) {
        source.problem("symbol", error);
    }
    if !is_chosen {
        let set = [
            ("path", path.is_some()),
            ("columns", columns.is_some()),
            ("symbol", symbol.is_some()),
        ];
        refuse_foreign(source, &set, "file");
    } else if path.is_none() {
        source.problem("path", "must name a recording for kind \"file\"");
    }
    let columns = columns
        .filter(|_| is_chosen)
        .and_then(|columns| columns.parse().map_err(|error| source.problem("columns", error)).ok());
    Arc::new(FileSettings { path: path.unwrap_or_default().into(), columns, symbol })
}

impl FileSettings {
    /// Opens the recording.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for one that does not open.
    pub fn records(&self) -> Result<FileRecords, Exit> {
        let Self { path, columns, symbol } = self.clone();
        FileRecords::open(&path, FileOptions { format: None, columns, symbol })
            .map_err(Exit::while_doing(Failure::Configuration, "source.path"))
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
        self.records().map(|_| Vec::new())
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        let recording = identity(&self.path)
            .map_err(Exit::while_doing(Failure::Configuration, "source.path"))?;
        Ok(recording.map(InputIdentity::Recording))
    }

    fn open(&self, _: &SourceOpening<'_>) -> Result<Box<dyn Source<C>>, Exit> {
        Ok(Box::new(FileSource::new(self.records()?)))
    }
}
