//! Rows of a text as rows of cells.
//!
//! Owns cutting a text into rows and rows into cells. Promises the exact line of every row, that a
//! row comes out whole or the file is refused, and at most [`RECORD_BYTES_MAX`] of memory for a row
//! of any length. A quote that is not closed, or closed inside a cell that began on another line,
//! swallows rows, so it ends the file. Never looks into a cell.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::columns::ColumnsError;
use super::lines::LineReader;
use super::record::RECORD_BYTES_MAX;
use super::row::Cells;

const QUOTE: u8 = b'"';

/// The rows of a text.
pub(super) struct RowReader<R> {
    lines: LineReader<R>,
    form: RowForm,
    /// Takes rows with quotes apart.
    quoted: Reader,
    row: Row,
}

/// What ends a row and what divides its cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowForm {
    pub(super) delimiter: u8,
    pub(super) end: u8,
}

/// One row.
#[derive(Default)]
pub(super) struct Row {
    /// The line on which it begins.
    line: u64,
    /// Its text, without the line end.
    text: Vec<u8>,
    /// The same without quotes, where it has some: its cells, one behind the other.
    unquoted: Vec<u8>,
    has_quotes: bool,
    /// Where each cell begins and ends.
    cells: Vec<(usize, usize)>,
    /// Scratch for the ends of cells.
    ends: Vec<usize>,
}

/// Why there is no next row, or no table at all.
#[derive(Debug)]
pub(super) enum RowError {
    NoHeader,
    HeaderIsData { line: u64 },
    Delimiter { found: String },
    Decimal { column: String, text: String },
    DayOrMonth { column: String, text: String },
    Columns(ColumnsError),
    TooLong { line: u64 },
    OpenQuote { line: u64 },
    StrayQuote { line: u64, closed: u64 },
    TooLargeToTurn,
    Read { line: u64, source: io::Error },
}

/// Quotes that do not make cells.
#[derive(Debug, PartialEq, Eq)]
enum QuoteFault {
    /// One at this place is not closed.
    Open(usize),
    /// One at the first place, on another line, is closed at the second in the middle of a cell.
    Stray(usize, usize),
}

impl<R: BufRead> RowReader<R> {
    pub(super) fn new(lines: LineReader<R>, form: RowForm) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(form.delimiter).terminator(Terminator::Any(form.end));
        Self { lines, form, quoted: builder.build(), row: Row::default() }
    }

    pub(super) fn row(&self) -> &Row {
        &self.row
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    /// Passes over so many lines, whatever is in them.
    pub(super) fn skip_lines(&mut self, count: u64) -> Result<(), RowError> {
        for _ in 0..count {
            self.row.text.clear();
            self.read_line()?;
        }
        Ok(())
    }

    /// Reads the next row that is not blank; `false` at the end of the text.
    pub(super) fn read(&mut self) -> Result<bool, RowError> {
        loop {
            self.row.text.clear();
            self.row.line = self.lines.line() + 1;
            if !self.read_line()? {
                return Ok(false);
            }
            let mut fed = 0;
            while !self.split(fed) {
                self.row.text.push(self.form.end);
                fed = self.row.text.len();
                if self.row.text.len() > RECORD_BYTES_MAX || !self.read_line()? {
                    return Err(self.open_quote());
                }
            }
            if fed > 0
                && let Some(QuoteFault::Stray(opened, closed)) = self.fault()
            {
                let line = self.line_at(opened);
                return Err(RowError::StrayQuote { line, closed: self.line_at(closed) });
            }
            if !self.row.is_blank() {
                return Ok(true);
            }
        }
    }

    /// Takes apart a row that was read before.
    pub(super) fn read_again(&mut self, line: u64, text: &[u8]) {
        self.row.line = line;
        self.row.text.clear();
        self.row.text.extend_from_slice(text);
        self.split(0);
    }

    /// Adds the next line to the row.
    fn read_line(&mut self) -> Result<bool, RowError> {
        let had = self.row.text.len();
        let read = self.lines.read(&mut self.row.text);
        let line = self.lines.line();
        let read = read.map_err(|source| RowError::Read { line, source })?;
        if self.row.text.len() <= RECORD_BYTES_MAX {
            return Ok(read);
        }
        Err(if had == 0 { RowError::TooLong { line } } else { self.open_quote() })
    }

    /// Takes the text from a place on apart into cells; `false` where a quote is open at its end.
    fn split(&mut self, from: usize) -> bool {
        let Self { form, quoted, row, .. } = self;
        let Row { text, unquoted, has_quotes, cells, ends, .. } = row;
        if from == 0 {
            cells.clear();
            *has_quotes = memchr::memchr(QUOTE, text).is_some();
            if !*has_quotes {
                if text.last() == Some(&b'\r') {
                    text.pop();
                }
                let mut begin = 0;
                for end in memchr::memchr_iter(form.delimiter, text) {
                    cells.push((begin, end));
                    begin = end + 1;
                }
                cells.push((begin, text.len()));
                return true;
            }
            quoted.reset();
            unquoted.clear();
            ends.clear();
        }
        // What comes out is never longer than what went in, and the line end closes one more cell.
        let (mut text_to, mut ends_to) = (unquoted.len(), ends.len());
        let more = text.len() - from + 1;
        unquoted.resize(text_to + more, 0);
        ends.resize(ends_to + more + 1, 0);
        // No input at all would mean the end of the text.
        if from < text.len() {
            let (_, _, texts, cell_ends) =
                quoted.read_record(&text[from..], &mut unquoted[text_to..], &mut ends[ends_to..]);
            (text_to, ends_to) = (text_to + texts, ends_to + cell_ends);
        }
        let (result, _, texts, cell_ends) =
            quoted.read_record(&[form.end], &mut unquoted[text_to..], &mut ends[ends_to..]);
        unquoted.truncate(text_to + texts);
        ends.truncate(ends_to + cell_ends);
        if !matches!(result, ReadRecordResult::Record) {
            return false;
        }
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        let mut begin = 0;
        cells.extend(ends.iter().map(|end| (std::mem::replace(&mut begin, *end), *end)));
        true
    }

    fn open_quote(&self) -> RowError {
        let opened = match self.fault() {
            Some(QuoteFault::Open(opened) | QuoteFault::Stray(opened, _)) => opened,
            None => 0,
        };
        RowError::OpenQuote { line: self.line_at(opened) }
    }

    fn line_at(&self, place: usize) -> u64 {
        let before = self.row.text.iter().take(place);
        self.row.line + before.filter(|byte| **byte == self.form.end).count() as u64
    }

    /// The first fault in the quotes of the row.
    fn fault(&self) -> Option<QuoteFault> {
        let RowForm { delimiter, end } = self.form;
        let text = &self.row.text;
        let mut at = 0;
        while at < text.len() {
            if text[at] != QUOTE {
                at += memchr::memchr(delimiter, &text[at..])? + 1;
                continue;
            }
            let opened = at;
            at += 1;
            loop {
                let Some(quote) = memchr::memchr(QUOTE, &text[at..]) else {
                    return Some(QuoteFault::Open(opened));
                };
                at += quote + 1;
                if text.get(at) != Some(&QUOTE) {
                    break;
                }
                at += 1;
            }
            let rest = &text[at..];
            let next = memchr::memchr2(delimiter, end, rest).unwrap_or(rest.len());
            if !rest[..next].trim_ascii().is_empty() && text[opened..at].contains(&end) {
                return Some(QuoteFault::Stray(opened, at - 1));
            }
            at += next + 1;
        }
        None
    }
}

impl Row {
    /// The line on which it begins.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Its text as the file has it.
    pub(super) fn as_text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The lines inside a quoted cell, without the first and the last line of the row.
    pub(super) fn inner_lines(&self, end: u8) -> impl Iterator<Item = &[u8]> {
        let is_long = self.has_quotes && self.text.contains(&end);
        let text = if is_long { &self.text[..] } else { &[] };
        let mut lines = text.split(move |byte| *byte == end).skip(1).peekable();
        std::iter::from_fn(move || lines.next().filter(|_| lines.peek().is_some()))
    }

    fn is_blank(&self) -> bool {
        self.cells.len() == 1 && self.text(0).is_none_or(|text| text.trim_ascii().is_empty())
    }
}

impl Cells for Row {
    fn text(&self, column: usize) -> Option<&[u8]> {
        let (begin, end) = *self.cells.get(column)?;
        let text = if self.has_quotes { &self.unquoted } else { &self.text };
        text.get(begin..end)
    }
}
