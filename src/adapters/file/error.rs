//! Why a file cannot be read, or not to its end.
//!
//! Owns every reason, of all formats. Never opens a file.

use std::io;
use std::path::PathBuf;

use super::columns::ColumnsError;
use super::record::RECORD_BYTES_MAX;

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
        "`{}`: the name does not tell the format (.csv, .parquet, .jsonl, .ndjson and .json do); \
         name it: csv, parquet or json-lines",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Columns or a symbol are named for a file that has no columns.
    #[error(
        "`{}`: {option} is for CSV and Parquet files; JSON lines name their fields themselves",
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
    /// A Parquet file, to a build that does not read them.
    #[error(
        "`{}`: this build reads no Parquet files; one with the feature `train`, the default, does",
        path.display()
    )]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// A Parquet file on standard input: its end tells where everything is.
    #[error("a Parquet file cannot be read from standard input; name a file")]
    NotAFile,
    /// A column of a Parquet file of which no part of a tick can be made.
    #[error(
        "`{}`: column `{column}` is of type {kind}; a tick is made of texts, numbers, decimals, \
         dates and timestamps",
        path.display()
    )]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type as Parquet names it.
        kind: String,
    },
    /// A Parquet file that is compressed in another way than the usual ones.
    #[error("`{}`: compressed with {codec}; write it with snappy, zstd or none", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// The compression.
        codec: String,
    },
    /// A Parquet file that breaks off or contradicts itself.
    #[error(
        "`{}`: no Parquet file, or a damaged one{}: {problem}",
        path.display(),
        if *row == 0 { String::new() } else { format!(", after row {row}") }
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The last row that was read; 0 is none.
        row: u64,
        /// What was found.
        problem: String,
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
