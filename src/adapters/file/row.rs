//! Rows of named text cells as native JSON ticks, whatever file they come from.
//!
//! Owns the form in which a cell goes on: a finite number as a number, `NaN` and infinities as a
//! bare `NaN`, other text as a string, an empty cell not at all. Promises that every row gives one
//! record, that a row with the wrong number of cells gives one that no decoder takes for a tick,
//! and that equal texts give equal bytes. Never decides whether a value is good.

use std::borrow::Cow;
use std::io::Write;

use super::columns::{Layout, SymbolSource, TimeColumns};
use super::number::Decimal;
use super::times::TimeCell;
use crate::core::decode::WRONG_CELLS;
use crate::core::domain::TimeFormat;

/// Room for a usual tick.
const TICK_BYTES: usize = 128;

/// Whole numbers below this have one exact form as an integer: 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The texts of the row that was read last, by column.
pub(super) trait Cells {
    /// The text of a cell; `None` where the row has none.
    fn text(&self, column: usize) -> Option<&[u8]>;
}

/// How the cells of a table are written.
pub(super) struct Form {
    pub(super) decimal: Decimal,
    pub(super) times: TimeFormat,
}

/// One cell of a row: what it stands for, where it is, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The name of the tick that it stands for: `symbol`, `time` or a field.
    pub name: &'a str,
    /// The name of its column in the file.
    pub column: &'a str,
    /// Its text without white space around it; `None` where there is nothing.
    pub text: Option<Cow<'a, [u8]>>,
}

/// What a cell says: trimmed, and nothing where that leaves nothing.
fn said(cells: &impl Cells, column: usize) -> Option<&[u8]> {
    cells.text(column).map(<[u8]>::trim_ascii).filter(|text| !text.is_empty())
}

/// What the cells of the time say, joined by a space where there are several; nothing where one of
/// them is empty, since a date alone would be midnight.
pub(super) fn time_text<'a>(time: &TimeColumns, cells: &'a impl Cells) -> Option<Cow<'a, [u8]>> {
    let (first, others) = time.indices.split_first()?;
    let mut joined = Cow::Borrowed(said(cells, *first)?);
    for column in others {
        let text = said(cells, *column)?;
        let joined = joined.to_mut();
        joined.push(b' ');
        joined.extend_from_slice(text);
    }
    Some(joined)
}

/// The cells that a tick is made of, in the order in which [`tick`] writes them.
pub(super) fn cells<'a>(layout: &'a Layout, cells: &'a impl Cells) -> Vec<Cell<'a>> {
    let symbol = match layout.symbol {
        SymbolSource::Column(column) => Some(("symbol", column)),
        SymbolSource::Fixed(_) => None,
    };
    let cell = |(name, column): (&'a str, usize)| {
        let text = said(cells, column).map(Cow::Borrowed);
        Cell { name, column: &layout.header[column], text }
    };
    let time =
        Cell { name: "time", column: &layout.time.name, text: time_text(&layout.time, cells) };
    let fields = layout.fields.iter().map(|(name, column)| (name.as_str(), *column));
    symbol.into_iter().map(cell).chain([time]).chain(fields.map(cell)).collect()
}

/// What a row with the wrong number of cells becomes: none of its cells is read.
pub(super) fn wrong_cells(row: &[u8]) -> Vec<u8> {
    let mut json = vec![b'{'];
    write_string(WRONG_CELLS, &mut json);
    json.push(b':');
    write_string(&String::from_utf8_lossy(row), &mut json);
    json.push(b'}');
    json
}

/// One row as JSON: the symbol first, then the time, then the fields, each only where it has a
/// cell that is not empty.
pub(super) fn tick(layout: &Layout, form: &Form, cells: &impl Cells) -> Vec<u8> {
    let mut json = Vec::with_capacity(TICK_BYTES);
    json.push(b'{');
    let symbol = match &layout.symbol {
        SymbolSource::Column(column) => said(cells, *column),
        SymbolSource::Fixed(symbol) => Some(symbol.as_bytes()),
    };
    if let Some(symbol) = symbol {
        member("symbol", symbol, &mut json, write_string);
    }
    if let Some(time) = time_text(&layout.time, cells) {
        member("time", &time, &mut json, |text, json| write_time(text, &form.times, json));
    }
    for (name, column) in &layout.fields {
        if let Some(text) = said(cells, *column) {
            member(name, text, &mut json, |text, json| write_number(text, form.decimal, json));
        }
    }
    json.push(b'}');
    json
}

/// Writes a member of the tick.
fn member(name: &str, text: &[u8], json: &mut Vec<u8>, write: impl Fn(&str, &mut Vec<u8>)) {
    if json.len() > 1 {
        json.push(b',');
    }
    write_string(name, json);
    json.push(b':');
    match str::from_utf8(text) {
        Ok(text) => write(text, json),
        // As it is, so that the record is no JSON and is refused.
        Err(_) => json.extend_from_slice(text),
    }
}

fn write_string(text: &str, json: &mut Vec<u8>) {
    write_json(text, json);
}

/// A number where the text is one, else a string: RFC 3339, a date, or what the decoder refuses.
fn write_time(text: &str, times: &TimeFormat, json: &mut Vec<u8>) {
    match TimeCell::of(text, times) {
        TimeCell::Whole(whole) => write_json(&whole, json),
        TimeCell::Number(number) => write_json(&number, json),
        TimeCell::Instant(time) => write_string(time.text().as_str(), json),
        TimeCell::Text(text) => write_string(text, json),
    }
}

fn write_number(text: &str, decimal: Decimal, json: &mut Vec<u8>) {
    match decimal.read(text) {
        Some(number) if !number.is_finite() => json.extend_from_slice(b"NaN"),
        Some(number) if is_whole(number) => write_json(&(number as i64), json),
        Some(number) => write_json(&number, json),
        None => write_string(text, json),
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
