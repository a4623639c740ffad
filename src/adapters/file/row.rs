//! Rows of named text cells as native JSON ticks, whatever file they come from.
//!
//! Owns the form in which a cell goes on: a finite number as a number, `NaN` and infinities as a
//! bare `NaN`, other text as a string, an empty cell not at all. Promises that every row gives
//! one record, also a short or long one, and that equal texts give equal bytes. Never decides
//! whether a value is good.

use std::io::Write;

use super::columns::{Layout, SymbolSource};

/// Whole numbers below this have one exact form as an integer: 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The texts of the row that was read last, by column.
pub(super) trait Cells {
    /// The text of a cell; `None` where the row has none.
    fn text(&self, column: usize) -> Option<&[u8]>;
}

/// One cell of a row: what it stands for, where it is, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The name of the tick that it stands for: `symbol`, `time` or a field.
    pub name: &'a str,
    /// The name of its column in the file.
    pub column: &'a str,
    /// Its text without white space around it; `None` where there is nothing.
    pub text: Option<&'a [u8]>,
}

/// What a cell says: trimmed, and nothing where that leaves nothing.
fn said(cells: &impl Cells, column: usize) -> Option<&[u8]> {
    cells.text(column).map(<[u8]>::trim_ascii).filter(|text| !text.is_empty())
}

/// The cells that a tick is made of, in the order in which [`tick`] writes them.
pub(super) fn cells<'a>(layout: &'a Layout, cells: &'a impl Cells) -> Vec<Cell<'a>> {
    let symbol = match layout.symbol {
        SymbolSource::Column(column) => Some(("symbol", column)),
        SymbolSource::Fixed(_) => None,
    };
    let fields = layout.fields.iter().map(|(name, column)| (name.as_str(), *column));
    let named = symbol.into_iter().chain([("time", layout.time)]).chain(fields);
    named
        .map(|(name, column)| Cell {
            name,
            column: &layout.header[column],
            text: said(cells, column),
        })
        .collect()
}

/// One row as JSON: the symbol first, then the time, then the fields, each only where it has a
/// cell that is not empty.
pub(super) fn tick(layout: &Layout, cells: &impl Cells) -> Vec<u8> {
    let mut json = vec![b'{'];
    let symbol = match &layout.symbol {
        SymbolSource::Column(column) => said(cells, *column),
        SymbolSource::Fixed(symbol) => Some(symbol.as_bytes()),
    };
    let fields = layout.fields.iter().map(|(name, column)| {
        let write: WriteCell = write_number;
        (name.as_str(), said(cells, *column), write)
    });
    let head: [(&str, Option<&[u8]>, WriteCell); 2] =
        [("symbol", symbol, write_string), ("time", said(cells, layout.time), write_time)];
    for (name, text, write) in head.into_iter().chain(fields) {
        let Some(text) = text else { continue };
        if json.len() > 1 {
            json.push(b',');
        }
        write_string(name, &mut json);
        json.push(b':');
        match str::from_utf8(text) {
            Ok(text) => write(text, &mut json),
            // As it stands, so that the record stays what it is: not JSON.
            Err(_) => json.extend_from_slice(text),
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
