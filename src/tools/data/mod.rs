//! What is in a file, without a model.
//!
//! Owns the look at every row of a file: which are ticks, how their times and prices go on.
//! Promises that rows = used + refused, and bounded memory for each symbol. Never writes and never
//! judges more than the decoder and the order of times do.

mod refusals;
mod spacing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

pub use refusals::{Refusal, Refusals};

use self::spacing::Spacings;
use crate::adapters::file::{Decimal, FileError, FileFormat, FileRecords, RECORD_BYTES_MAX};
use crate::core::decode::{JsonDecoder, TimeForm};
use crate::core::domain::{
    DurationNanos, Member, Reject, Rejection, Schema, SchemaError, TimeDoubt, TimeUnit, UnixNanos,
};
use crate::core::text::excerpt_of_bytes;

/// A change of price from one row of a symbol to the next that is worth a look: what `train`
/// refuses by default.
pub const JUMP_MIN: f64 = 0.4;

/// A distance of two rows so many times the median is a gap.
pub const GAP_TIMES_MEDIAN: i64 = 3;

/// As much of a cell as tells what it is, in characters.
const EXAMPLE_CHARS_MAX: usize = 28;

/// As many symbols as a person reads.
const SYMBOLS_SHOWN_MAX: usize = 20;

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survey {
    /// `csv`, `parquet` or `json-lines`.
    pub format: &'static str,
    /// The form of a text table.
    pub form: Option<FormFacts>,
    /// The columns of a table.
    pub columns: Vec<ColumnFacts>,
    /// How many rows there are.
    pub rows: u64,
    /// How many of them are ticks that follow the ones before.
    pub used: u64,
    /// How many are not.
    pub refused: u64,
    /// Why.
    pub refusals: Vec<Refusal>,
    /// How many symbols there are.
    pub symbol_count: usize,
    /// The first of them, in the order of their names.
    pub symbols: Vec<String>,
    /// The earliest time.
    pub first_time: Option<UnixNanos>,
    /// The latest time.
    pub last_time: Option<UnixNanos>,
    /// How many times are numbers that cannot be right; such rows are used here, and `replay`,
    /// `train` and `feed` end at the first.
    pub implausible_times: u64,
    /// The first of them.
    pub first_implausible_time: Option<ImplausibleTime>,
    /// The distances between the rows of a symbol.
    pub spacing: Option<SpacingFacts>,
    /// How many rows have the time of the row of their symbol before.
    pub duplicates: u64,
    /// How many prices lie further than [`JUMP_MIN`] from the one before.
    pub jumps: u64,
    /// The first of them.
    pub first_jump: Option<Jump>,
}

/// The form of a text table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormFacts {
    /// `gzip` or `zstd`.
    pub compression: Option<&'static str>,
    /// Such as `UTF-8`.
    pub encoding: &'static str,
    /// What divides cells, in words.
    pub delimiter: String,
    /// The line of the header.
    pub header_line: Option<u64>,
    /// `.` or `,`.
    pub decimal: &'static str,
    /// Whether the newest row comes first.
    pub is_newest_first: bool,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnFacts {
    /// Its place, from 1.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// What it is read as.
    pub stands_for: Option<String>,
    /// What it says in the first row.
    pub first: Option<String>,
    /// How many rows have nothing there, of a column that is read.
    pub empty: u64,
}

/// The distances between the rows of a symbol, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpacingFacts {
    /// The median.
    pub median: i64,
    /// The shortest.
    pub min: i64,
    /// The longest.
    pub max: i64,
    /// How many are longer than [`GAP_TIMES_MEDIAN`] medians.
    pub gaps: u64,
    /// The symbol of the longest.
    pub longest_symbol: String,
    /// The time after which it is.
    pub longest_after: UnixNanos,
}

/// A time that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImplausibleTime {
    /// The line, or the row of a Parquet file.
    pub line: u64,
    /// The time that the number gives.
    pub time: UnixNanos,
    /// What the number looks like, and what to set.
    pub advice: String,
}

/// A jump of a price.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Jump {
    /// The line, or the row of a Parquet file.
    pub line: u64,
    /// The symbol.
    pub symbol: String,
    /// The price before.
    pub before: f64,
    /// The price.
    pub price: f64,
}

/// What is known of a symbol.
struct SymbolFacts {
    newest: UnixNanos,
    price: Option<f64>,
}

/// A survey that goes on.
#[derive(Default)]
struct Surveying {
    rows: u64,
    used: u64,
    refusals: Refusals,
    symbols: BTreeMap<String, SymbolFacts>,
    times: Option<(UnixNanos, UnixNanos)>,
    implausible_times: u64,
    first_implausible_time: Option<ImplausibleTime>,
    spacings: Spacings,
    duplicates: u64,
    jumps: u64,
    first_jump: Option<Jump>,
}

/// Reads a file to its end. `names` are fields beyond the standard ones that are looked at.
///
/// # Errors
/// [`FileError`] where it cannot be read to its end; what came before is lost.
pub fn survey(
    records: &mut FileRecords,
    names: &[&str],
    time_unit: TimeUnit,
) -> Result<Survey, FileError> {
    let schema = schema(names);
    let decoder = JsonDecoder::new(schema.clone(), &[], time_unit, RECORD_BYTES_MAX);
    let mut surveying = Surveying::default();
    let mut columns: Vec<_> = records
        .columns()
        .into_iter()
        .zip(1..)
        .map(|(column, number)| ColumnFacts {
            number,
            name: column.name,
            stands_for: column.stands_for,
            first: None,
            empty: 0,
        })
        .collect();
    while let Some(record) = records.next() {
        let record = record?;
        surveying.rows += 1;
        look_at_cells(&mut columns, records, surveying.rows == 1);
        let outcome = decoder.decode_timed(&record.bytes).and_then(|(tick, form)| {
            if form == TimeForm::Number {
                surveying.doubt(tick.time, time_unit, record.line);
            }
            surveying.take(&tick.symbol, tick.time, tick.fields.price(), record.line)
        });
        if let Err(rejection) = outcome {
            let first = || (records.place(), records.row_text().unwrap_or(&record.bytes).to_vec());
            surveying.refusals.add(rejection.named(&schema), first);
        }
    }
    Ok(surveying.finish(records, columns))
}

/// The standard fields, and as many of the others as there is room for.
fn schema(names: &[&str]) -> Schema {
    let standard = || Schema::new([]);
    let schema = Schema::new(names.iter().copied()).or_else(|_: SchemaError| standard());
    schema.expect("the standard fields are a schema")
}

/// Notes what the columns of the newest row say.
fn look_at_cells(columns: &mut [ColumnFacts], records: &FileRecords, is_first: bool) {
    for cell in records.cells() {
        let of_cell = |column: &&mut ColumnFacts| {
            column
                .stands_for
                .as_deref()
                .is_some_and(|names| names.split(", ").any(|n| n == cell.name))
        };
        let Some(column) = columns.iter_mut().find(of_cell) else { continue };
        column.empty += u64::from(cell.text.is_none());
        if is_first {
            column.first =
                cell.text.as_deref().map(|text| excerpt_of_bytes(text, EXAMPLE_CHARS_MAX));
        }
    }
}

impl Surveying {
    /// Notes a time that came as a number and cannot be right.
    fn doubt(&mut self, time: UnixNanos, unit: TimeUnit, line: u64) {
        let Some(doubt) = TimeDoubt::of(time, unit) else { return };
        self.implausible_times += 1;
        let first = || ImplausibleTime { line, time, advice: doubt.advice() };
        self.first_implausible_time.get_or_insert_with(first);
    }

    /// Takes a tick if it follows the one of its symbol before.
    fn take(
        &mut self,
        symbol: &str,
        time: UnixNanos,
        price: Option<f64>,
        line: u64,
    ) -> Result<(), Rejection> {
        if let Some(known) = self.symbols.get_mut(symbol) {
            if time <= known.newest {
                self.duplicates += u64::from(time == known.newest);
                let is_same = time == known.newest;
                let reason = if is_same { Reject::Duplicate } else { Reject::OutOfOrder };
                return Err(Rejection::of(reason, Member::Time));
            }
            let distance = time.since(known.newest).unwrap_or(DurationNanos::MAX);
            self.spacings.add(distance, symbol, known.newest);
            if let (Some(before), Some(price)) = (known.price, price)
                && (price / before - 1.0).abs() > JUMP_MIN
            {
                self.jumps += 1;
                let jump = || Jump { line, symbol: symbol.to_owned(), before, price };
                self.first_jump.get_or_insert_with(jump);
            }
            *known = SymbolFacts { newest: time, price: price.or(known.price) };
        } else {
            self.symbols.insert(symbol.to_owned(), SymbolFacts { newest: time, price });
        }
        self.used += 1;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        Ok(())
    }

    fn finish(self, records: &FileRecords, columns: Vec<ColumnFacts>) -> Survey {
        let form = records.understood().map(|understood| FormFacts {
            compression: understood.packing.compression,
            encoding: understood.packing.encoding.unwrap_or("UTF-8"),
            delimiter: understood.delimiter.to_string(),
            header_line: understood.header_line,
            decimal: if understood.decimal == Decimal::Comma { "," } else { "." },
            is_newest_first: understood.is_newest_first,
        });
        let format = match records.format() {
            FileFormat::Csv => "csv",
            FileFormat::JsonLines => "json-lines",
            FileFormat::Parquet => "parquet",
        };
        Survey {
            format,
            form,
            columns,
            rows: self.rows,
            used: self.used,
            refused: self.refusals.total(),
            refusals: self.refusals.into_vec(),
            symbol_count: self.symbols.len(),
            symbols: self.symbols.into_keys().take(SYMBOLS_SHOWN_MAX).collect(),
            first_time: self.times.map(|(first, _)| first),
            last_time: self.times.map(|(_, last)| last),
            implausible_times: self.implausible_times,
            first_implausible_time: self.first_implausible_time,
            spacing: self.spacings.finish(),
            duplicates: self.duplicates,
            jumps: self.jumps,
            first_jump: self.first_jump,
        }
    }
}
