//! Why a file cannot be read, or not to its end.
//!
//! Owns every reason, of all formats. Never opens a file.

use std::io;
use std::path::PathBuf;

use super::columns::ColumnsError;
use super::record::RECORD_BYTES_MAX;
use super::table::TURNED_BYTES_MAX;

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
        "`{}`: the name does not tell the format (.csv, .tsv, .parquet, .jsonl, .ndjson and .json \
         do, also with .gz or .zst behind); name it with --format: csv, parquet or json-lines",
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
    /// The form of a text table is said of a Parquet file.
    #[error("`{}`: {option} is for CSV files; a Parquet file describes itself", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Which option is out of place.
        option: &'static str,
    },
    /// An archive or a compression that is not read.
    #[error("`{}`: {what}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// A name that says a compression which the first bytes are not of.
    #[error("`{}`: not compressed with {name}, as its name says; rename it", path.display())]
    NotCompressed {
        /// The file.
        path: PathBuf,
        /// The compression that the name says.
        name: &'static str,
    },
    /// A CSV file without any row.
    #[error("`{}`: empty; a CSV file begins with a header row", path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
    },
    /// A first row of values.
    #[error(
        "`{}` line {line}: holds values where the names of the columns should be; where the file \
         has no header, set --no-header (header = \"none\") and name columns by number, such as \
         time=1,close=5; where the header is on another line, set --header-line (header)",
        path.display()
    )]
    HeaderIsData {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// Several characters that could divide the cells.
    #[error(
        "`{}`: cells could be divided by {found}; set --delimiter (delimiter)",
        path.display()
    )]
    Delimiter {
        /// The file.
        path: PathBuf,
        /// The characters.
        found: String,
    },
    /// Numbers with two readings.
    #[error(
        "`{}`: column `{column}` has `{text}`, and the first rows do not show whether the comma or \
         the point is the decimal sign; set --decimal , or --decimal . (decimal)",
        path.display()
    )]
    Decimal {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// A number.
        text: String,
    },
    /// Dates with two readings.
    #[error(
        "`{}`: column `{column}` has `{text}`, which does not show whether the day or the month \
         comes first; set --time-format (time_format), such as \"%m/%d/%Y\" or \"%d.%m.%Y %H:%M\"",
        path.display()
    )]
    DayOrMonth {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// A date.
        text: String,
    },
    /// A quote that swallows the rest of the file.
    #[error(
        "`{}` line {line}: the quote that opens here is not closed; remove it or close it",
        path.display()
    )]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// The line of the quote.
        line: u64,
    },
    /// A quote that swallows rows.
    #[error(
        "`{}` line {line}: a quote that opens here reaches over the rows up to line {closed}; \
         remove it or close it",
        path.display()
    )]
    StrayQuote {
        /// The file.
        path: PathBuf,
        /// The line of the quote.
        line: u64,
        /// A line that it reaches over.
        closed: u64,
    },
    /// A table that begins with its newest row and is too large to be turned round.
    #[error(
        "`{}`: the newest row comes first, and more than {} MiB cannot be sorted here; sort it \
         oldest first",
        path.display(),
        TURNED_BYTES_MAX >> 20
    )]
    TooLargeToTurn {
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
