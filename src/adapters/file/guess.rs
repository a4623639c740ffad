//! The form of a table, from its first lines and from what a person says.
//!
//! Owns every guess. Promises that the same lines give the same form, and that a form which could
//! be another one is an error that names what to say: a delimiter, a decimal sign, the order of day
//! and month. Never looks behind the lines that it is given.

use std::collections::HashMap;

use super::columns::{ColumnMap, Layout, SymbolSource};
use super::csv::{Row, RowError, RowForm, RowReader};
use super::dialect::{Delimiter, Dialect, Header, Understood};
use super::input::Packing;
use super::lines::LineReader;
use super::number::{Decimal, Evidence, evidence};
use super::row::{Cells, time_text};
use super::times::{TimeCell, is_ambiguous_date};
use crate::core::domain::{TimeFormat, UnixNanos};

/// How many bytes of a text are looked at.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// How many rows of them are.
const ROWS_MAX: usize = 1000;

/// The fewest rows with numbers 1, 2, … before them for which those are row numbers.
const ROW_NUMBERS_MIN: usize = 2;

/// The first lines of a text.
pub(super) struct Head<'h> {
    pub(super) text: &'h [u8],
    /// Whether that is the whole text.
    pub(super) is_whole: bool,
    pub(super) packing: Packing,
}

/// What the rows of a table mean.
pub(super) struct Meaning {
    pub(super) understood: Understood,
    pub(super) layout: Layout,
    pub(super) form: RowForm,
}

/// One row of the head, on its own.
struct SampleRow {
    line: u64,
    cells: Vec<Vec<u8>>,
}

/// The rows of the head under one delimiter.
struct Sample {
    delimiter: Delimiter,
    /// From the header on.
    rows: Vec<SampleRow>,
    /// How many lines above the header are left out.
    above: usize,
    fits: bool,
}

impl Cells for SampleRow {
    fn text(&self, column: usize) -> Option<&[u8]> {
        self.cells.get(column).map(Vec::as_slice)
    }
}

impl SampleRow {
    fn of(row: &Row) -> Self {
        let cells = (0..row.len()).filter_map(|column| row.text(column)).map(<[u8]>::to_vec);
        Self { line: row.line(), cells: cells.collect() }
    }

    /// The cells as texts, trimmed.
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|cell| str::from_utf8(cell).unwrap_or_default().trim_ascii())
    }
}

/// Finds the form of a table.
pub(super) fn understand(
    head: &Head<'_>,
    dialect: &Dialect,
    map: Option<&ColumnMap>,
    symbol: Option<String>,
) -> Result<Meaning, RowError> {
    // Files of old Macintosh programs end their lines with a carriage return alone.
    let is_old = !head.text.contains(&b'\n') && head.text.contains(&b'\r');
    let end = if is_old { b'\r' } else { b'\n' };
    let mut guesses = Vec::new();
    let sample = choose(head, dialect, end)?;
    let Sample { delimiter, rows, .. } = sample;
    if dialect.delimiter.is_none() && delimiter != Delimiter::COMMA {
        guesses.push(format!("cells divided by {delimiter}"));
    }
    let (first, below) = rows.split_first().ok_or(RowError::NoHeader)?;
    let (header_line, mut header, data) = if dialect.header == Header::None {
        (None, (1..=first.cells.len()).map(|number| number.to_string()).collect(), &rows[..])
    } else {
        let header =
            first.cells.iter().map(|cell| String::from_utf8_lossy(cell.trim_ascii()).into_owned());
        (Some(first.line), header.collect::<Vec<_>>(), below)
    };
    if dialect.header == Header::Found {
        if first.cells.len() > 1 && first.texts().all(|text| is_value(text, &dialect.times)) {
            return Err(RowError::HeaderIsData { line: first.line });
        }
        if first.line > 1 {
            guesses.push(format!("header on line {}", first.line));
        }
    }
    let has_row_numbers = header_line.is_some() && have_row_numbers(header.len(), data);
    if has_row_numbers {
        header.insert(0, String::new());
        guesses.push("row numbers in a first column without a heading".to_owned());
    }
    let width = header.len();
    let layout = Layout::new(header, map, symbol).map_err(|error| {
        let is_data = dialect.header == Header::Found && first.texts().any(is_clearly_value);
        if is_data { RowError::HeaderIsData { line: first.line } } else { RowError::Columns(error) }
    })?;
    let data: Vec<_> = data.iter().filter(|row| row.cells.len() == width).collect();
    let decimal = match dialect.decimal {
        Some(decimal) => decimal,
        None => decimal(&layout, &data, delimiter, &mut guesses)?,
    };
    check_times(&layout, &data, &dialect.times)?;
    let is_newest_first = !dialect.keeps_order && is_newest_first(&layout, &data, &dialect.times);
    if is_newest_first {
        guesses.push("newest row first, so sorted".to_owned());
    }
    let understood = Understood {
        packing: head.packing,
        delimiter,
        header_line,
        width,
        has_row_numbers,
        decimal,
        is_newest_first,
        guesses,
    };
    Ok(Meaning { understood, layout, form: RowForm { delimiter: delimiter.byte(), end } })
}

/// The rows under the delimiter that was said, or under the one that fits.
fn choose(head: &Head<'_>, dialect: &Dialect, end: u8) -> Result<Sample, RowError> {
    let sample = |delimiter| sample(head, delimiter, dialect.header, end);
    if let Some(delimiter) = dialect.delimiter {
        return Ok(sample(delimiter));
    }
    let (mut fit, others): (Vec<_>, Vec<_>) =
        Delimiter::USUAL.map(sample).into_iter().partition(|sample| sample.fits);
    // Under a wrong delimiter a header has a single cell, as a line above one has.
    let above = fit.iter().map(|sample| sample.above).min();
    fit.retain(|sample| Some(sample.above) == above);
    if fit.is_empty() {
        let is_divided =
            |sample: &Sample| sample.rows.first().is_some_and(|row| row.cells.len() > 1);
        let mut others = others.into_iter();
        let comma = others.next();
        fit = comma.into_iter().chain(others).collect();
        if fit.iter().any(is_divided) {
            fit.retain(is_divided);
        } else {
            fit.truncate(1);
        }
    }
    if fit.len() > 1 {
        let found: Vec<_> = fit.iter().map(|sample| sample.delimiter.to_string()).collect();
        return Err(RowError::Delimiter { found: found.join(" or ") });
    }
    fit.pop().ok_or(RowError::NoHeader)
}

/// The rows of the head under one delimiter, from the header on.
fn sample(head: &Head<'_>, delimiter: Delimiter, header: Header, end: u8) -> Sample {
    let form = RowForm { delimiter: delimiter.byte(), end };
    let mut reader = RowReader::new(LineReader::new(head.text, end), form);
    let mut rows = Vec::new();
    let above = if let Header::Line(line) = header { line - 1 } else { 0 };
    // A fault ends the sample; whoever reads the table meets it again.
    let mut outcome = reader.skip_lines(above).map(|()| true);
    while rows.len() < ROWS_MAX && matches!(outcome, Ok(true)) {
        outcome = reader.read();
        if matches!(outcome, Ok(true)) {
            rows.push(SampleRow::of(reader.row()));
        }
    }
    if !head.is_whole && rows.len() < ROWS_MAX {
        // It may be cut.
        rows.pop();
    }
    let mut above = 0;
    if header == Header::Found {
        let single = rows.iter().take_while(|row| row.cells.len() == 1).count();
        if single < rows.len() && are_even(&rows[single..]) {
            rows.drain(..single);
            above = single;
        }
    }
    let fits = are_even(&rows);
    Sample { delimiter, rows, above, fits }
}

/// Whether nine in ten rows have as many cells as the first, or one more.
fn are_even(rows: &[SampleRow]) -> bool {
    let Some((first, below)) = rows.split_first() else { return false };
    let width = first.cells.len();
    let most = |count| {
        let even = below.iter().filter(|row| row.cells.len() == count).count();
        even * 10 >= below.len() * 9
    };
    width > 1 && (most(width) || most(width + 1))
}

/// Whether each row has one cell more than the header, the first of which counts the rows: what
/// `write.table` of R writes.
fn have_row_numbers(width: usize, rows: &[SampleRow]) -> bool {
    let is_numbered = |(row, number): (&SampleRow, usize)| {
        row.cells.len() == width + 1
            && row.texts().next().is_some_and(|text| text.parse() == Ok(number))
    };
    rows.len() >= ROW_NUMBERS_MIN && rows.iter().zip(1..).all(is_numbered)
}

/// Whether a cell holds a value and no name of a column.
fn is_value(text: &str, times: &TimeFormat) -> bool {
    text.is_empty()
        || Decimal::Plain.read(text).is_some()
        || Decimal::Comma.read(text).is_some()
        || is_ambiguous_date(text)
        || times.parse(text).is_ok()
}

/// Whether a cell can be no name of a column that anybody chose: a date or a fraction.
fn is_clearly_value(text: &str) -> bool {
    UnixNanos::parse(text).is_ok() || (text.contains('.') && Decimal::Plain.read(text).is_some())
}

/// The decimal sign, from the cells that numbers are read of.
fn decimal(
    layout: &Layout,
    rows: &[&SampleRow],
    delimiter: Delimiter,
    guesses: &mut Vec<String>,
) -> Result<Decimal, RowError> {
    let (mut point, mut comma, mut either, mut has_groups) = (None, None, None, false);
    for row in rows {
        for (name, column) in &layout.fields {
            let text = row.text(*column).and_then(|cell| str::from_utf8(cell).ok());
            let Some(text) = text.map(str::trim_ascii) else { continue };
            let place = match evidence(text) {
                Evidence::None => continue,
                Evidence::Point => &mut point,
                Evidence::Comma => &mut comma,
                // Between commas everyone reads `1.234` with a decimal point.
                Evidence::Either if delimiter == Delimiter::COMMA && text.contains('.') => continue,
                Evidence::Either => &mut either,
            };
            has_groups |= text.contains(',');
            place.get_or_insert((name, *column, text));
        }
    }
    let ambiguous = |(_, column, text): (&String, usize, &str)| {
        let column = layout.header[column].clone();
        Err(RowError::Decimal { column, text: text.to_owned() })
    };
    match (point, comma, either) {
        (Some(_), Some(contradicting), _) => ambiguous(contradicting),
        (None, Some(_), _) => {
            guesses.push("decimal comma".to_owned());
            Ok(Decimal::Comma)
        }
        (Some(_), None, _) => {
            if has_groups {
                guesses.push("commas between thousands".to_owned());
            }
            Ok(Decimal::Point)
        }
        (None, None, Some(unclear)) => ambiguous(unclear),
        (None, None, None) => Ok(Decimal::Plain),
    }
}

/// Refuses dates of which nobody can tell the day from the month.
fn check_times(layout: &Layout, rows: &[&SampleRow], times: &TimeFormat) -> Result<(), RowError> {
    let mut ambiguous = None;
    for row in rows {
        let Some(text) = time_text(&layout.time, *row) else { continue };
        let Ok(text) = str::from_utf8(&text) else { continue };
        if TimeCell::of(text, times).order().is_some() {
            return Ok(());
        }
        if ambiguous.is_none() && !times.is_explicit() && is_ambiguous_date(text) {
            ambiguous = Some(text.to_owned());
        }
    }
    match ambiguous {
        Some(text) => Err(RowError::DayOrMonth { column: layout.time.name.clone(), text }),
        None => Ok(()),
    }
}

/// Whether the times of every symbol fall and none of them rises.
fn is_newest_first(layout: &Layout, rows: &[&SampleRow], times: &TimeFormat) -> bool {
    let mut before: HashMap<&[u8], i64> = HashMap::new();
    let mut falls = false;
    for row in rows {
        let text = time_text(&layout.time, *row);
        let order = text.as_deref().and_then(|text| str::from_utf8(text).ok());
        let Some(order) = order.and_then(|text| TimeCell::of(text, times).order()) else {
            continue;
        };
        let symbol = match layout.symbol {
            SymbolSource::Column(column) => row.text(column).unwrap_or_default(),
            SymbolSource::Fixed(_) => b"",
        };
        match before.insert(symbol, order) {
            Some(before) if before < order => return false,
            Some(before) => falls |= before > order,
            None => {}
        }
    }
    falls
}
