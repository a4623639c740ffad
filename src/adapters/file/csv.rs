//! CSV rows as rows of text cells.
//!
//! Owns cutting a byte stream into rows. Promises the exact line of every row, and at most
//! [`RECORD_BYTES_MAX`] of memory for a row of any length. Never looks into a cell but for the
//! names in the header.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::columns::{ColumnMap, ColumnsError, Layout};
use super::record::{Input, RECORD_BYTES_MAX, Record};
use super::row::{self, Cell, Cells};

pub(super) struct CsvRows {
    reader: csv::Reader<Budgeted>,
    row: ByteRecord,
    layout: Layout,
}

/// Why there is no next row.
pub(super) enum RowError {
    NoHeader,
    Columns(ColumnsError),
    TooLong { line: u64 },
    Read { line: u64, source: io::Error },
}

/// An input that ends with an error where one row takes too much of it, and that knows its end.
struct Budgeted {
    input: Input,
    bytes_left: usize,
    bytes_read: u64,
    last: u8,
}

impl CsvRows {
    /// Reads the header row and finds the parts of a tick in it.
    pub(super) fn new(
        input: Input,
        map: Option<&ColumnMap>,
        symbol: Option<String>,
    ) -> Result<Self, RowError> {
        // With the line feed alone as the end of a row, the reader's count of lines is exact; a
        // carriage return before it is trimmed like any white space.
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(Budgeted { input, bytes_left: 0, bytes_read: 0, last: b'\n' });
        let mut row = ByteRecord::new();
        if !read_row(&mut reader, &mut row)? {
            return Err(RowError::NoHeader);
        }
        let header: Vec<_> = row
            .iter()
            .map(|cell| String::from_utf8_lossy(cell.trim_ascii()).into_owned())
            .collect();
        let layout = Layout::new(header, map, symbol).map_err(RowError::Columns)?;
        Ok(Self { reader, row, layout })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next row as a record.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RowError> {
        if !read_row(&mut self.reader, &mut self.row)? {
            return Ok(None);
        }
        Ok(Some(Record {
            line: first_line(&self.reader, &self.row),
            bytes: row::tick(&self.layout, &self.row),
        }))
    }

    /// The cells of the row read last.
    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        row::cells(&self.layout, &self.row)
    }
}

impl Cells for ByteRecord {
    fn text(&self, column: usize) -> Option<&[u8]> {
        self.get(column)
    }
}

/// The line on which the row just read begins, counted back from where it ended: the row's own
/// position lies before the blank lines that were skipped.
fn first_line(reader: &csv::Reader<Budgeted>, row: &ByteRecord) -> u64 {
    let input = reader.get_ref();
    let end = reader.position();
    let cut_off = end.byte() == input.bytes_read && input.last != b'\n';
    let inside = row.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
    end.line() - u64::from(!cut_off) - inside
}

/// Reads one row that is not blank, within the budget; `false` at the end of the input.
fn read_row(reader: &mut csv::Reader<Budgeted>, row: &mut ByteRecord) -> Result<bool, RowError> {
    loop {
        reader.get_mut().bytes_left = RECORD_BYTES_MAX;
        let line = reader.position().line();
        let read = reader.read_byte_record(row).map_err(|error| {
            if reader.get_ref().bytes_left == 0 {
                return RowError::TooLong { line };
            }
            let source = match error.into_kind() {
                csv::ErrorKind::Io(source) => source,
                // A flexible reader of bytes has no other reason to fail.
                other => io::Error::other(format!("{other:?}")),
            };
            RowError::Read { line, source }
        })?;
        let blank = row.len() == 1 && row.as_slice().trim_ascii().is_empty();
        if !(read && blank) {
            return Ok(read);
        }
    }
}

impl Read for Budgeted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            return Err(io::Error::other("the row is too long"));
        }
        let room = buffer.len().min(self.bytes_left);
        let read = self.input.read(&mut buffer[..room])?;
        self.bytes_left -= read;
        self.bytes_read += read as u64;
        self.last = buffer[..read].last().copied().unwrap_or(self.last);
        Ok(read)
    }
}
