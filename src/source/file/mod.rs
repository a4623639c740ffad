//! Recorded input: JSON lines and CSV files as native JSON ticks.
//!
//! Owns the way from a file to records, each the bytes of one JSON tick. Promises bounded memory
//! whatever the file holds, and that a record nobody can use still comes out, so that the decoder
//! counts it under its reason. Never judges a tick, never reorders, never skips but blank lines.

mod columns;
mod lines;
mod table;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use columns::{ColumnMap, ColumnMapError, ColumnsError};
use lines::Lines;
use table::{RowError, Table};

/// The longest record in bytes. A longer line is cut to one byte more, for the decoder to refuse;
/// a longer CSV row ends the file, since a quote that is never closed swallows what follows.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// What files are read from: a file or standard input.
type Input = Box<dyn Read + Send>;

/// One record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// One native JSON tick, or what stands in its place.
    pub bytes: Vec<u8>,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON tick per line.
    JsonLines,
    /// A header row and one tick per row.
    Csv,
}

/// How to read a file.
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    /// The format, where the name does not tell it.
    pub format: Option<FileFormat>,
    /// Which columns to read under which names; all, by their own names, where it is `None`.
    pub columns: Option<ColumnMap>,
    /// The symbol of every row of a CSV file that has no column for it.
    pub symbol: Option<String>,
}

/// Why a file cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not open.
    #[error("open `{}`: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its name does not tell what is in it.
    #[error(
        "`{}`: the name does not tell the format (.csv, .jsonl, .ndjson and .json do); name it: \
         csv or json-lines",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Columns or a symbol are named for a file that has no columns.
    #[error(
        "`{}`: {option} is for CSV files; JSON lines name their fields themselves",
        path.display()
    )]
    NotATable {
        /// The file.
        path: PathBuf,
        /// Which option is out of place.
        option: &'static str,
    },
    /// A CSV file without any row.
    #[error("`{}`: empty; a CSV file begins with a header row", path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
    },
    /// The header does not hold what is asked of it.
    #[error("`{}`: {source}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// What is wrong with the columns.
        source: ColumnsError,
    },
    /// A CSV row beyond [`RECORD_BYTES_MAX`].
    #[error(
        "`{}` line {line}: the row is longer than {RECORD_BYTES_MAX} bytes; is a quote not closed?",
        path.display()
    )]
    RowTooLong {
        /// The file.
        path: PathBuf,
        /// The line on which the row begins.
        line: u64,
    },
    /// Reading fails.
    #[error("read `{}` after line {line}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The last line that was read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
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
    Table(Table),
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
            _ => Err("expected csv or json-lines".to_owned()),
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
        let (input, bytes_total): (Input, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let open = || -> io::Result<_> {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                Ok((file, metadata.is_file().then_some(metadata.len())))
            };
            let (file, bytes_total) =
                open().map_err(|source| FileError::Open { path: path.into(), source })?;
            (Box::new(file), bytes_total)
        };
        Ok(Self {
            reader: Reader::new(path, input, format, options)?,
            path: path.into(),
            bytes_total,
            ended: false,
        })
    }

    /// How many bytes of the file the records so far took.
    pub fn bytes_read(&self) -> u64 {
        match &self.reader {
            Reader::Lines(lines) => lines.bytes_read(),
            Reader::Table(table) => table.bytes_read(),
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
        input: Input,
        format: FileFormat,
        options: FileOptions,
    ) -> Result<Self, FileError> {
        let FileOptions { format: _, columns, symbol } = options;
        match format {
            FileFormat::JsonLines => {
                let misplaced = match (columns, symbol) {
                    (Some(_), _) => Some("a column map"),
                    (None, Some(_)) => Some("a symbol"),
                    (None, None) => None,
                };
                misplaced.map_or_else(
                    || Ok(Self::Lines(Lines::new(input))),
                    |option| Err(FileError::NotATable { path: path.into(), option }),
                )
            }
            FileFormat::Csv => Table::new(input, columns.as_ref(), symbol)
                .map(Self::Table)
                .map_err(|error| error.in_file(path)),
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
            Reader::Table(table) => table.next().map_err(|error| error.in_file(&self.path)),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
