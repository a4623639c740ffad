//! Recorded input: JSON lines, CSV and Parquet files as native JSON ticks.
//!
//! Owns the way from a file to records, each the bytes of one JSON tick. Promises bounded memory
//! whatever the file holds (of Parquet: a page of each column, however large the file makes it; of
//! a table that begins with its newest row: its text up to a limit) and that a record that cannot
//! be used still comes out, so that the decoder counts it under its reason: each row is a record,
//! or the file is refused. Never judges a tick, never skips but blank lines and what is above a
//! header.

mod columns;
mod csv;
mod dialect;
mod error;
mod guess;
mod history;
mod input;
mod lines;
mod number;
#[cfg(feature = "train")]
mod parquet;
mod record;
mod row;
mod settings;
mod source;
mod table;
mod times;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;

pub use columns::{ColumnMap, ColumnMapError, ColumnsError};
pub use dialect::{Delimiter, Dialect, Header, Understood};
pub use error::FileError;
pub use history::{FileHistory, FileHistorySettings, Streamed, read_file_keys, refused_for};
pub use input::Packing;
pub use number::Decimal;
pub use record::{RECORD_BYTES_MAX, Record};
pub use row::Cell;
pub use settings::{FileSettings, kind, read_options};
pub use source::{Found, Places};

use self::columns::{Layout, SymbolSource};
use self::csv::RowError;
use self::input::{Progress, TextInput};
#[cfg(feature = "train")]
use self::parquet::ParquetRows;
use self::record::Input;
use self::table::Table;
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
        // Opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        let mut head = Vec::new();
        file.take(HEAD_BYTES).read_to_end(&mut head)?;
        Ok(Some(RecordingIdentity { length: metadata.len(), head }))
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// The format, where the name does not tell it.
    pub format: Option<FileFormat>,
    /// Which columns to read under which names; all, by their own names, where it is `None`.
    pub columns: Option<ColumnMap>,
    /// The symbol of every row of a table that has no column for it.
    pub symbol: Option<String>,
    /// The form of a text table.
    pub dialect: Dialect,
}

/// A column of a table and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name; a number where the file has no header.
    pub name: String,
    /// `symbol`, `time` or the name of a field; `None` where it is not read.
    pub stands_for: Option<String>,
}

/// The records of one file, in its order; ends after the first error.
pub struct FileRecords {
    path: PathBuf,
    reader: Reader,
    /// How far a text was read.
    progress: Option<Progress>,
    bytes_total: Option<u64>,
    /// The line or row of the newest record; 0 before the first.
    line: u64,
    ended: bool,
}

enum Reader {
    Lines(Lines),
    Csv(Box<Table>),
    #[cfg(feature = "train")]
    Parquet(Box<ParquetRows>),
}

impl FileFormat {
    /// The format that the options or else the name tell.
    fn told(path: &Path, options: &FileOptions) -> Result<Self, FileError> {
        let format = options.format.or_else(|| Self::of(path));
        format.ok_or_else(|| FileError::UnknownFormat { path: path.into() })
    }

    /// The format that a name tells by its extension; `-`, standard input, is JSON lines.
    fn of(path: &Path) -> Option<Self> {
        if path == Path::new("-") {
            return Some(Self::JsonLines);
        }
        let extension = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
        let mut extension_of_text = extension(path)?;
        if matches!(extension_of_text.as_str(), "gz" | "zst") {
            extension_of_text = extension(Path::new(path.file_stem()?))?;
        }
        match extension_of_text.as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "csv" | "tsv" => Some(Self::Csv),
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
        let format = FileFormat::told(path, &options)?;
        let (origin, bytes_total) = if path == Path::new("-") {
            (Origin::Stream(Box::new(io::stdin())), None)
        } else {
            let open = || -> io::Result<_> {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                Ok((Origin::File(file), metadata.is_file().then_some(metadata.len())))
            };
            open().map_err(|source| FileError::Open { path: path.into(), source })?
        };
        Self::new(path, origin, bytes_total, format, options)
    }

    /// As [`FileRecords::open`], of a file that is in memory; `path` is its name in messages, and
    /// tells the format where the options do not.
    ///
    /// # Errors
    /// As [`FileRecords::open`].
    pub fn of_bytes(path: &Path, bytes: Bytes, options: FileOptions) -> Result<Self, FileError> {
        let bytes_total = Some(bytes.len() as u64);
        let format = FileFormat::told(path, &options)?;
        Self::new(path, Origin::Memory(bytes), bytes_total, format, options)
    }

    /// As [`FileRecords::of_bytes`], of bytes that come in pieces of any size.
    ///
    /// # Errors
    /// As [`FileRecords::open`]; a Parquet file cannot be read this way.
    pub fn of_stream(
        path: &Path,
        bytes: impl Read + Send + 'static,
        options: FileOptions,
    ) -> Result<Self, FileError> {
        let format = FileFormat::told(path, &options)?;
        Self::new(path, Origin::Stream(Box::new(bytes)), None, format, options)
    }

    fn new(
        path: &Path,
        origin: Origin,
        bytes_total: Option<u64>,
        format: FileFormat,
        options: FileOptions,
    ) -> Result<Self, FileError> {
        let (reader, progress) = Reader::new(path, origin, format, options)?;
        Ok(Self { reader, progress, path: path.into(), bytes_total, line: 0, ended: false })
    }

    /// The form in which a text table is read; `None` for other formats.
    pub fn understood(&self) -> Option<&Understood> {
        match &self.reader {
            Reader::Csv(table) => Some(table.understood()),
            _ => None,
        }
    }

    /// What was found and not said of the form of a table, in one line for a person; `None` where
    /// it is the usual one.
    pub fn guessed(&self) -> Option<String> {
        let guessed = self.understood()?.guessed()?;
        Some(format!("`{}` is read with: {guessed}", self.path.display()))
    }

    /// The columns of a table, in its order; none of JSON lines.
    pub fn columns(&self) -> Vec<Column> {
        match &self.reader {
            Reader::Lines(_) => Vec::new(),
            Reader::Csv(table) => table.layout().described(),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.layout().described(),
        }
    }

    /// Where the newest record is, for a person: `line 7`, `row 7` in a Parquet file.
    pub fn place(&self) -> String {
        let unit = if self.format() == FileFormat::Parquet { "row" } else { "line" };
        format!("{unit} {}", self.line)
    }

    /// The newest record as the file has it, where it has a text.
    pub fn row_text(&self) -> Option<&[u8]> {
        match &self.reader {
            Reader::Csv(table) => Some(table.row_text()),
            _ => None,
        }
    }

    /// How many cells the newest row of a text table has, and how many columns there are.
    pub fn cell_counts(&self) -> Option<(usize, usize)> {
        match &self.reader {
            Reader::Csv(table) => Some((table.cell_count(), table.understood().width)),
            _ => None,
        }
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
            Reader::Csv(table) => table.cells(),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.cells(),
        }
    }

    /// How many bytes of the file the records so far took.
    pub fn bytes_read(&self) -> u64 {
        match &self.reader {
            Reader::Lines(lines) => self.of_file(lines.bytes_read()),
            Reader::Csv(table) => self.of_file(table.bytes_read()),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.bytes_read(),
        }
    }

    fn of_file(&self, text_bytes: u64) -> u64 {
        self.progress.as_ref().map_or(text_bytes, |progress| progress.bytes(text_bytes))
    }

    /// The size of the file in bytes when it was opened, where it has one.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }
}

/// What the bytes of a file come from.
enum Origin {
    /// Read once, in order: standard input, for one.
    Stream(Input),
    File(File),
    Memory(Bytes),
}

impl Origin {
    fn into_input(self) -> Input {
        match self {
            Self::Stream(input) => input,
            Self::File(file) => Box::new(file),
            Self::Memory(bytes) => Box::new(Cursor::new(bytes)),
        }
    }
}

impl Reader {
    fn new(
        path: &Path,
        origin: Origin,
        format: FileFormat,
        options: FileOptions,
    ) -> Result<(Self, Option<Progress>), FileError> {
        let FileOptions { format: _, columns, symbol, dialect } = options;
        match format {
            FileFormat::JsonLines => {
                let misplaced = match (columns, symbol) {
                    (Some(_), _) => Some("a column map"),
                    (None, Some(_)) => Some("a symbol"),
                    (None, None) => dialect.said(),
                };
                if let Some(option) = misplaced {
                    return Err(FileError::NotATable { path: path.into(), option });
                }
                let input = TextInput::open(path, origin.into_input())?;
                let progress = input.progress();
                Ok((Self::Lines(Lines::new(input.text)), Some(progress)))
            }
            FileFormat::Csv => {
                let input = TextInput::open(path, origin.into_input())?;
                let progress = input.progress();
                let TextInput { text, found, .. } = input;
                let table = Table::new(text, found, &dialect, columns.as_ref(), symbol)
                    .map_err(|error| error.in_file(path))?;
                Ok((Self::Csv(Box::new(table)), Some(progress)))
            }
            #[cfg(feature = "train")]
            FileFormat::Parquet => {
                if let Some(option) = dialect.said() {
                    return Err(FileError::NotText { path: path.into(), option });
                }
                let (map, times) = (columns.as_ref(), dialect.times);
                let rows = match origin {
                    Origin::File(file) => ParquetRows::new(path, file, map, symbol, times),
                    Origin::Memory(bytes) => ParquetRows::new(path, bytes, map, symbol, times),
                    Origin::Stream(_) => Err(FileError::NotAFile),
                }?;
                Ok((Self::Parquet(Box::new(rows)), None))
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
            Self::HeaderIsData { line } => FileError::HeaderIsData { path, line },
            Self::Delimiter { found } => FileError::Delimiter { path, found },
            Self::Decimal { column, text } => FileError::Decimal { path, column, text },
            Self::DayOrMonth { column, text } => FileError::DayOrMonth { path, column, text },
            Self::Columns(source) => FileError::Columns { path, source },
            Self::TooLong { line } => FileError::RowTooLong { path, line },
            Self::OpenQuote { line } => FileError::OpenQuote { path, line },
            Self::StrayQuote { line, closed } => FileError::StrayQuote { path, line, closed },
            Self::TooLargeToTurn => FileError::TooLargeToTurn { path },
            Self::Read { line, source } => FileError::Read { path, line, source },
        }
    }
}

impl Layout {
    /// Each column with what it stands for.
    fn described(&self) -> Vec<Column> {
        let stands_for = |index: usize| {
            if self.symbol == SymbolSource::Column(index) {
                return Some("symbol".to_owned());
            }
            if self.time.indices.contains(&index) {
                return Some("time".to_owned());
            }
            let names: Vec<_> = self
                .fields
                .iter()
                .filter(|(_, at)| *at == index)
                .map(|(name, _)| &**name)
                .collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let columns = self.header.iter().enumerate();
        columns
            .map(|(index, name)| Column { name: name.clone(), stands_for: stands_for(index) })
            .collect()
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
            Reader::Csv(table) => table.next().map_err(|error| error.in_file(&self.path)),
            #[cfg(feature = "train")]
            Reader::Parquet(rows) => rows.next(&self.path),
        };
        match &next {
            Ok(Some(record)) => self.line = record.line,
            _ => self.ended = true,
        }
        next.transpose()
    }
}
