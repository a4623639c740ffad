//! The rows of a text table as native JSON ticks.
//!
//! Owns the meeting of rows with the columns they belong to, and the order in which they come out.
//! Promises one record for each row that is not blank, and that a row with more or fewer cells than
//! the header is never read by position. A file that begins with its newest row is held in memory,
//! up to [`TURNED_BYTES_MAX`], to come out oldest first. Never judges a value.

use std::io::{BufReader, Cursor, Read};

use super::columns::{ColumnMap, Layout};
use super::csv::{RowError, RowForm, RowReader};
use super::dialect::{Dialect, Understood};
use super::guess::{HEAD_BYTES, Head, Meaning, understand};
use super::input::Packing;
use super::lines::LineReader;
use super::record::{Input, Record};
use super::row::{self, Cell, Form};
use super::times::TimeCell;

/// The most text that is held to be turned round, in bytes.
pub(super) const TURNED_BYTES_MAX: usize = 1 << 30;

pub(super) struct Table {
    reader: RowReader<BufReader<Input>>,
    row_form: RowForm,
    form: Form,
    layout: Layout,
    understood: Understood,
    turned: Option<Turned>,
    /// Whether the row read last has the wrong number of cells.
    is_wrong: bool,
}

/// All rows of a file that begins with its newest.
struct Turned {
    text: Vec<u8>,
    /// The line of each row, and where its text begins.
    rows: Vec<(u64, usize)>,
}

impl Table {
    /// Reads the first lines, understands the table and goes behind its header.
    pub(super) fn new(
        mut text: Input,
        packing: Packing,
        dialect: &Dialect,
        map: Option<&ColumnMap>,
        symbol: Option<String>,
    ) -> Result<Self, RowError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        text.by_ref()
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|source| RowError::Read { line: 0, source })?;
        let is_whole = head.len() < HEAD_BYTES;
        let meaning = understand(&Head { text: &head, is_whole, packing }, dialect, map, symbol)?;
        let Meaning { understood, layout, form: row_form } = meaning;
        let whole: Input = Box::new(Cursor::new(head).chain(text));
        let lines = LineReader::buffered(whole, row_form.end);
        let mut reader = RowReader::new(lines, row_form);
        if let Some(line) = understood.header_line {
            reader.skip_lines(line - 1)?;
            reader.read()?;
        }
        let form = Form { decimal: understood.decimal, times: dialect.times.clone() };
        Ok(Self { reader, row_form, form, layout, understood, turned: None, is_wrong: false })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    pub(super) fn understood(&self) -> &Understood {
        &self.understood
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The next row as a record.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RowError> {
        let is_there =
            if self.understood.is_newest_first { self.take_last()? } else { self.reader.read()? };
        if !is_there {
            return Ok(None);
        }
        self.check_quotes()?;
        let row = self.reader.row();
        self.is_wrong = row.len() != self.understood.width;
        let bytes = if self.is_wrong {
            row::wrong_cells(row.as_text())
        } else {
            row::tick(&self.layout, &self.form, row)
        };
        Ok(Some(Record { line: row.line(), bytes }))
    }

    /// The cells of the row read last; none where their number is wrong.
    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        if self.is_wrong { Vec::new() } else { row::cells(&self.layout, self.reader.row()) }
    }

    /// How many cells the row read last has.
    pub(super) fn cell_count(&self) -> usize {
        self.reader.row().len()
    }

    /// The text of the row read last.
    pub(super) fn row_text(&self) -> &[u8] {
        self.reader.row().as_text()
    }

    /// Refuses a quoted cell inside of which there are whole rows: two quotes are missing, or one
    /// is too much, and the rows between would be lost.
    fn check_quotes(&self) -> Result<(), RowError> {
        let row = self.reader.row();
        let lines = row.inner_lines(self.row_form.end);
        for (line, text) in (row.line()..).zip(lines) {
            let cells: Vec<_> = text.split(|byte| *byte == self.row_form.delimiter).collect();
            let time = self.layout.time.indices.iter().map(|column| cells.get(*column));
            let is_time = |cell: Option<&&[u8]>| {
                let text = cell.and_then(|cell| str::from_utf8(cell).ok());
                text.is_some_and(|text| {
                    TimeCell::of(text.trim(), &self.form.times).order().is_some()
                })
            };
            if cells.len() == self.understood.width && time.into_iter().all(is_time) {
                return Err(RowError::StrayQuote { line: row.line(), closed: line + 1 });
            }
        }
        Ok(())
    }

    /// Goes to the last row that was not given out yet.
    fn take_last(&mut self) -> Result<bool, RowError> {
        if self.turned.is_none() {
            self.turned = Some(self.turn()?);
        }
        let Some(Turned { text, rows }) = &mut self.turned else { return Ok(false) };
        let Some((line, begin)) = rows.pop() else { return Ok(false) };
        self.reader.read_again(line, &text[begin..]);
        text.truncate(begin);
        Ok(true)
    }

    /// Reads all rows.
    fn turn(&mut self) -> Result<Turned, RowError> {
        let mut turned = Turned { text: Vec::new(), rows: Vec::new() };
        while self.reader.read()? {
            self.check_quotes()?;
            let row = self.reader.row();
            turned.rows.push((row.line(), turned.text.len()));
            turned.text.extend_from_slice(row.as_text());
            if turned.text.len() > TURNED_BYTES_MAX {
                return Err(RowError::TooLargeToTurn);
            }
        }
        Ok(turned)
    }
}
