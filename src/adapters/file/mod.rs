//! Recorded input: JSON lines, CSV and Parquet files as native JSON ticks.
//!
//! Owns the way from a file to records, each the bytes of one JSON tick. Promises bounded memory
//! whatever the file holds (of Parquet: a page of each column, however large the file makes it) and
//! that a record nobody can use still comes out, so that the decoder counts it under its reason.
//! Never judges a tick, never reorders, never skips but blank lines.

mod columns;
mod csv;
mod error;
mod lines;
#[cfg(feature = "train")]
mod parquet;
mod record;
mod row;
mod settings;
mod source;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use columns::{ColumnMap, ColumnMapError, ColumnsError};
pub use error::FileError;
pub use record::{RECORD_BYTES_MAX, Record};
pub use row::Cell;
pub use settings::{FileSettings, kind};

use self::csv::{CsvRows, RowError};
#[cfg(feature = "train")]
use self::parquet::ParquetRows;
use self::record::Input;
use crate::ports::input::RecordingIdentity;
use lines::Lines;

/// How much of a file's head tells it from others, in bytes.
const HEAD_BYTES: u64 = 64 << 10;

/// The size of a file and its head, which tell it from others; `None` for standard input and what
/// is no file.
///
/// # Errors
/// [`FileError::Open`].
pub fn identity(path: &Path) -> Result<Option<RecordingIdentity>, FileError> {
    let look = || -> io::Result<_> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut head = Vec::new();
        if metadata.is_file() {
            file.take(HEAD_BYTES).read_to_end(&mut head)?;
        }
        let length = metadata.len();
        Ok(metadata.is_file().then_some(RecordingIdentity { length, head }))
    };
    if path == Path::new("-") {
        return Ok(None);
    }
    look().map_err(|source| FileError::Open { path: path.into(), source })
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON tick per line.
    JsonLines,
    /// A header row and one tick per row.
    Csv,
    /// Columns with names and types; a row is a tick. Read by builds with the feature `train`.
    Parquet,
}

/// How to read a file.
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    /// The format, where the name does not tell it.
    pub format: Option<FileFormat>,
    /// Which columns to read under which names; all, by their own names, where it is `None`.
    pub columns: Option<ColumnMap>,
    /// The symbol of every row of a table that has no column for it.
    pub symbol: Option<String>,
}

/// The records of one file, in its order; ends after the first error.
pub struct FileRecords {
    path: PathBuf,
    reader: Reader,
    bytes_total: Option<u64>,
    ended: bool,
}

enum Reader {
    Lines(Lines),
    Csv(CsvRows),
    #[cfg(feature = "train")]
    Parquet(Box<ParquetRows>),
}

impl FileFormat {
    /// The format that a name tells by its extension; `-`, standard input, is JSON lines.
    fn of(path: &Path) -> Option<Self> {
        if path == Path::new("-") {
            return Some(Self::JsonLines);
        }
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl FromStr for FileFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json-lines" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err("expected csv, parquet or json-lines".to_owned()),
        }
    }
}

impl FileRecords {
    /// Opens a file, `-` being standard input, and reads the header where there is one.
    ///
    /// # Errors
    /// Every [`FileError`].
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, FileError> {
        let format = options
            .format
            .or_else(|| FileFormat::of(path))
            .ok_or_else(|| FileError::UnknownFormat { path: path.into() })?;
        let (file, bytes_total) = if path == Path::new("-") {
            (None, None)
        } else {
            let open = || -> io::Result<_> {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                Ok((Some(file), metadata.is_file().then_some(metadata.len())))
            };
            open().map_err(|source| FileError::Open { path: path.into(), source })?
        };
        Ok(Self {
            reader: Reader::new(path, file, format, options)?,
            path: path.into(),
            bytes_total,
            ended: false,
        })
    }

    /// What is in the file.
    pub fn format(&self) -> FileFormat {
        match &self.reader {
            Reader::Lines(_) => FileFormat::JsonLines,
            Reader::Csv(_) => FileFormat::Csv,
            #[cfg(feature = "train")]
            Reader::Parquet(_) => FileFormat::Parquet,
        }
    }

    /// The cells that the newest record is made of, in its order: the symbol where a column has
    /// it, the time, the fields. Before the first record their columns alone are of use; JSON lines
    /// have none.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        match &self.reader {
            Reader::Lines(_) => Vec::new(),
            Reader::Csv(rows) => rows.cells(),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.cells(),
        }
    }

    /// How many bytes of the file the records so far took.
    pub fn bytes_read(&self) -> u64 {
        match &self.reader {
            Reader::Lines(lines) => lines.bytes_read(),
            Reader::Csv(rows) => rows.bytes_read(),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.bytes_read(),
        }
    }

    /// The size of the file in bytes when it was opened, where it has one.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }
}

impl Reader {
    fn new(
        path: &Path,
        file: Option<File>,
        format: FileFormat,
        options: FileOptions,
    ) -> Result<Self, FileError> {
        let FileOptions { format: _, columns, symbol } = options;
        let input = |file: Option<File>| -> Input {
            match file {
                Some(file) => Box::new(file),
                None => Box::new(io::stdin()),
            }
        };
        match format {
            FileFormat::JsonLines => {
                let misplaced = match (columns, symbol) {
                    (Some(_), _) => Some("a column map"),
                    (None, Some(_)) => Some("a symbol"),
                    (None, None) => None,
                };
                misplaced.map_or_else(
                    || Ok(Self::Lines(Lines::new(input(file)))),
                    |option| Err(FileError::NotATable { path: path.into(), option }),
                )
            }
            FileFormat::Csv => CsvRows::new(input(file), columns.as_ref(), symbol)
                .map(Self::Csv)
                .map_err(|error| error.in_file(path)),
            #[cfg(feature = "train")]
            FileFormat::Parquet => {
                let file = file.ok_or(FileError::NotAFile)?;
                let rows = ParquetRows::new(path, file, columns.as_ref(), symbol)?;
                Ok(Self::Parquet(Box::new(rows)))
            }
            #[cfg(not(feature = "train"))]
            FileFormat::Parquet => Err(FileError::NoParquet { path: path.into() }),
        }
    }
}

impl RowError {
    fn in_file(self, path: &Path) -> FileError {
        let path = path.into();
        match self {
            Self::NoHeader => FileError::NoHeader { path },
            Self::Columns(source) => FileError::Columns { path, source },
            Self::TooLong { line } => FileError::RowTooLong { path, line },
            Self::Read { line, source } => FileError::Read { path, line, source },
        }
    }
}

impl Iterator for FileRecords {
    type Item = Result<Record, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match &mut self.reader {
            Reader::Lines(lines) => lines.next().map_err(|source| FileError::Read {
                path: self.path.clone(),
                line: lines.line(),
                source,
            }),
            Reader::Csv(rows) => rows.next().map_err(|error| error.in_file(&self.path)),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.next(&self.path),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
