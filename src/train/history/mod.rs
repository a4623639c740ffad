//! From a file to the steps of each symbol.
//!
//! Owns reading the history, through the very code that reads live input: records, decoding, steps.
//! Promises that every step of the file is used or the file is refused: a row that the daemon would
//! count and pass over is an error here, in words and with its line, because a history is not a
//! stream and can be put right. So is a jump in price that looks like a split: a network learns it
//! as a crash.
//!
//! Never: fills, sorts or adjusts anything; a table whose newest row comes first is read from its
//! end.

mod problem;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use problem::Problems;

use self::problem::{Place, Problem, Row};
use super::config::DataConfig;
use crate::adapters::file::{FileError, FileFormat, FileRecords, RECORD_BYTES_MAX};
use crate::core::decode::JsonDecoder;
use crate::core::domain::{DurationNanos, Field, Fields, Reject, Step, Tick, UnixNanos};
use crate::core::features::RawFeatures;
use crate::core::step::{StepRule, StepState};

/// The history of all symbols to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// One entry for each symbol, in the order of their first rows; several where its steps were
    /// cut.
    pub series: Vec<Series>,
    /// Lower-case hexadecimal SHA-256 of the file.
    pub data_sha256: String,
}

/// The steps of one symbol, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The symbol.
    pub symbol: String,
    /// Its steps; their times rise strictly.
    pub steps: Vec<Step>,
}

/// Why a history cannot be trained on.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file does not open or has no usable header, or reading fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its bytes cannot be read for the hash.
    #[error("read `{}`: {source}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Rows that are no steps, or no step from the row before.
    #[error("{0}")]
    Rows(Problems),
    /// A table without a column for a field that every step must have.
    #[error(
        "`{}`: no column stands for `{field}`, which the features read: map one \
         ({field}=COLUMN in data.columns)",
        path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
    },
    /// A symbol that was asked for.
    #[error("`{}`: no row of symbol `{symbol}`; there are {there}", path.display())]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
        /// The symbols that the file has.
        there: String,
    },
    /// No rows at all.
    #[error("`{}`: no rows", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The steps of all symbols, growing row by row.
#[derive(Default)]
struct Growing {
    series: Vec<Series>,
    states: Vec<StepState>,
    /// The price of each symbol's row before.
    prices: Vec<Option<f64>>,
    /// The line and time of each symbol's newest row in time.
    newest: Vec<Option<(u64, UnixNanos)>>,
    index: HashMap<String, usize>,
}

impl History {
    /// Each symbol once.
    pub fn symbols(&self) -> Vec<String> {
        let mut symbols: Vec<_> = self.series.iter().map(|series| series.symbol.clone()).collect();
        // The pieces of a symbol follow one another.
        symbols.dedup();
        symbols
    }

    /// The longest distance between two steps of one symbol; `None` where there is none.
    pub fn longest_distance(&self) -> Option<DurationNanos> {
        let pairs = self.series.iter().flat_map(|series| series.steps.windows(2));
        pairs.filter_map(|pair| pair[1].time.since(pair[0].time)).max()
    }

    /// Cuts the series of a symbol wherever two of its steps lie further apart than `gap`: there
    /// the daemon begins a cold window, as if the symbol were new.
    fn cut(&mut self, gap: DurationNanos) {
        let far = |before: &Step, after: &Step| {
            after.time.since(before.time).is_none_or(|distance| distance > gap)
        };
        let cut = |Series { symbol, steps }: Series| {
            let pieces = steps.chunk_by(move |before, after| !far(before, after));
            let pieces: Vec<_> = pieces
                .map(|steps| Series { symbol: symbol.clone(), steps: steps.to_vec() })
                .collect();
            pieces
        };
        self.series = std::mem::take(&mut self.series).into_iter().flat_map(cut).collect();
    }
}

impl Growing {
    /// Takes a row and gives the price of the same symbol's row before, if there is one.
    fn push(&mut self, rule: StepRule, tick: &Tick<'_>, line: u64) -> Result<Option<f64>, Reject> {
        let at = match self.index.get(&*tick.symbol) {
            Some(at) => *at,
            None => {
                let symbol = tick.symbol.clone().into_owned();
                self.index.insert(symbol.clone(), self.series.len());
                self.series.push(Series { symbol, steps: Vec::new() });
                self.states.push(StepState::default());
                self.prices.push(None);
                self.newest.push(None);
                self.series.len() - 1
            }
        };
        let state = &mut self.states[at];
        let first = state.push(rule, tick.time, &tick.fields)?;
        let steps = &mut self.series[at].steps;
        steps.extend(first);
        steps.extend(std::iter::from_fn(|| state.pop(rule)));
        // Within a bar rows may stand in any order.
        if self.newest[at].is_none_or(|(_, newest)| newest <= tick.time) {
            self.newest[at] = Some((line, tick.time));
        }
        Ok(std::mem::replace(&mut self.prices[at], tick.fields.price()))
    }

    /// The line and time of a symbol's newest row.
    fn newest(&self, symbol: &str) -> Option<(u64, UnixNanos)> {
        self.newest[*self.index.get(symbol)?]
    }
}

/// Whether the price comes from a column that says that splits are taken out of it, such as
/// `Adj Close`. What jumps there has moved: adjusting leaves a crash as it was.
fn is_adjusted(config: &DataConfig) -> bool {
    let column = |name| config.file.columns.as_ref().and_then(|columns| columns.column(name));
    let column = column("close").or_else(|| column("price")).unwrap_or_default();
    column.to_lowercase().starts_with("adj")
}

/// The way from one price to the next where it is longer than `max` and the row did not trade on
/// it: its low to high, if it has them, stays as far away.
fn jump(before: f64, fields: &Fields, max: f64) -> Option<String> {
    let price = fields.price()?;
    let low = fields.get(Field::LOW).unwrap_or(price).min(price);
    let high = fields.get(Field::HIGH).unwrap_or(price).max(price);
    let nearest = before.clamp(low, high);
    let percent = (price / before - 1.0) * 100.0;
    let is_jump = (nearest / before - 1.0).abs() > max;
    is_jump.then(|| format!("from {before} to {price} ({percent:+.1} %)"))
}

/// Reads the steps that `features` need of every symbol that `config` wants, cut where two lie
/// further apart than `gap`, if there is one.
///
/// # Errors
/// [`HistoryError`], naming the file and the lines or the symbol at fault.
pub fn read(
    config: &DataConfig,
    features: &RawFeatures,
    rule: StepRule,
    gap: Option<DurationNanos>,
) -> Result<History, HistoryError> {
    let path = &config.path;
    let schema = features.schema();
    let required = rule.required(features.required());
    let decoder = JsonDecoder::new(schema.clone(), &required, config.time_unit, RECORD_BYTES_MAX);
    let wanted =
        |symbol: &str| config.symbols.is_empty() || config.symbols.iter().any(|s| s == symbol);
    let jump_max = Some(config.jump_max).filter(|max| *max > 0.0 && !is_adjusted(config));
    let mut records = FileRecords::open(path, config.file.clone())?;
    let format = records.format();
    if format != FileFormat::JsonLines {
        let columns = records.cells();
        let there = |name: &str| columns.iter().any(|cell| cell.name == name);
        if let Some(field) = problem::missing(schema, &required, there) {
            return Err(HistoryError::NoColumn { path: path.clone(), field: field.to_owned() });
        }
    }
    let mut growing = Growing::default();
    let mut problems = Problems::new(path, format);
    while let Some(record) = records.next() {
        let record = record?;
        let row = || Row {
            record: &record.bytes,
            text: records.row_text(),
            cell_counts: records.cell_counts(),
            cells: records.cells(),
            schema,
            required: &required,
        };
        let tick = match decoder.decode(&record.bytes) {
            Ok(tick) => tick,
            Err(rejection) => {
                problems.add(record.line, &Problem::Refused(rejection, &row()));
                continue;
            }
        };
        let before = match growing.push(rule, &tick, record.line) {
            Ok(before) => before,
            Err(reason) => {
                let newest = growing.newest(&tick.symbol);
                let place = Place { symbol: &tick.symbol, time: tick.time, newest };
                problems.add(record.line, &Problem::NoStep(reason, &row(), &place));
                continue;
            }
        };
        let jumped = |(before, max)| jump(before, &tick.fields, max);
        if let Some(way) = before.zip(jump_max).and_then(jumped)
            && wanted(&tick.symbol)
        {
            problems.add(record.line, &Problem::Jump(&tick.symbol, way));
        }
    }
    if !problems.is_empty() {
        return Err(HistoryError::Rows(problems));
    }
    let Growing { mut series, index, .. } = growing;
    if series.is_empty() {
        return Err(HistoryError::Empty { path: path.clone() });
    }
    if let Some(symbol) = config.symbols.iter().find(|symbol| !index.contains_key(*symbol)) {
        let there: Vec<_> = series.iter().map(|series| series.symbol.as_str()).collect();
        let (symbol, there) = (symbol.clone(), there.join(", "));
        return Err(HistoryError::NoSymbol { path: path.clone(), symbol, there });
    }
    series.retain(|s| wanted(&s.symbol));
    let data_sha256 =
        sha256(path).map_err(|source| HistoryError::Hash { path: path.clone(), source })?;
    let mut history = History { series, data_sha256 };
    if let Some(gap) = gap {
        history.cut(gap);
    }
    Ok(history)
}

/// Lower-case hexadecimal SHA-256 of a file.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => hash.update(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
