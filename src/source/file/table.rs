//! CSV rows as native JSON ticks.
//!
//! Owns the form in which a cell goes on: a finite number as a number, `NaN` and infinities as a
//! bare `NaN`, other text as a string, an empty cell not at all. Promises that every row gives
//! one record, also a short or long one. Never decides whether a value is good.

use std::io::{self, Read, Write};

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::columns::{ColumnMap, ColumnsError, Layout, SymbolSource};
use super::{Input, RECORD_BYTES_MAX, Record};

/// Whole numbers below this have one exact form as an integer: 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

pub(super) struct Table {
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

impl Table {
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
        let layout = Layout::new(&header, map, symbol).map_err(RowError::Columns)?;
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
            bytes: tick(&self.layout, &self.row),
        }))
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

/// One row as JSON: the symbol first, then the time, then the fields, each only where it has a
/// cell that is not empty.
fn tick(layout: &Layout, row: &ByteRecord) -> Vec<u8> {
    let mut json = vec![b'{'];
    let cell =
        |column: usize| row.get(column).map(<[u8]>::trim_ascii).filter(|cell| !cell.is_empty());
    let symbol = match &layout.symbol {
        SymbolSource::Column(column) => cell(*column),
        SymbolSource::Fixed(symbol) => Some(symbol.as_bytes()),
    };
    let fields = layout.fields.iter().map(|(name, column)| {
        let write: WriteCell = write_number;
        (name.as_str(), cell(*column), write)
    });
    let head: [(&str, Option<&[u8]>, WriteCell); 2] =
        [("symbol", symbol, write_string), ("time", cell(layout.time), write_time)];
    for (name, cell, write) in head.into_iter().chain(fields) {
        let Some(cell) = cell else { continue };
        if json.len() > 1 {
            json.push(b',');
        }
        write_string(name, &mut json);
        json.push(b':');
        match str::from_utf8(cell) {
            Ok(text) => write(text, &mut json),
            // As it stands, so that the record stays what it is: not JSON.
            Err(_) => json.extend_from_slice(cell),
        }
    }
    json.push(b'}');
    json
}

type WriteCell = fn(&str, &mut Vec<u8>);

fn write_string(text: &str, json: &mut Vec<u8>) {
    write_json(text, json);
}

/// A number where the text is one, else a string: RFC 3339, a date, or what the decoder refuses.
fn write_time(text: &str, json: &mut Vec<u8>) {
    if let Ok(whole) = text.parse::<i64>() {
        return write_json(&whole, json);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => write_json(&number, json),
        _ => write_string(text, json),
    }
}

fn write_number(text: &str, json: &mut Vec<u8>) {
    match text.parse::<f64>() {
        Ok(number) if !number.is_finite() => json.extend_from_slice(b"NaN"),
        Ok(number) if is_whole(number) => write_json(&(number as i64), json),
        Ok(number) => write_json(&number, json),
        Err(_) => write_string(text, json),
    }
}

/// Whether a number is exactly an integer of the same value; `-0.0` is not.
fn is_whole(number: f64) -> bool {
    number.trunc() == number
        && number.abs() < WHOLE_MAX
        && !(number == 0.0 && number.is_sign_negative())
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, json: &mut Vec<u8>) {
    serde_json::to_writer(json.by_ref(), value)
        .expect("a text or a finite number always encodes, and a Vec never fails to grow");
}
