//! Why a row of a history cannot be used, in words.
//!
//! Owns the sentence for every reason: the column and the text at fault, and the row that a time
//! contradicts. Promises at most [`SHOWN_MAX`] sentences and short ones, whatever a file holds.
//! Never decides whether a row is good: decoding and steps have done so, and give the reason.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::jumps::{Jump, Shape};
use crate::adapters::file::{Cell, FileFormat};
use crate::core::domain::{
    Field, Reject, Rejection, Schema, SymbolError, TimeDoubt, TimeError, TimeFormat, UnixNanos,
};
use crate::core::text::{excerpt, excerpt_of_bytes};

/// As many rows as a person reads.
const SHOWN_MAX: usize = 10;

/// As much of a text as tells what it is, in characters.
const TEXT_SHOWN_MAX: usize = 60;

/// What to do about rows that leave the level of their neighbors.
pub(super) const BAD_ROWS_HINT: &str = "correct or remove the rows that look wrong";

/// What to do about a level that changes like a split.
pub(super) const SPLITS_HINT: &str =
    "splits: name the column of adjusted prices in data.columns (`close=Adj Close`)";

/// The same where the column says that it is adjusted.
pub(super) const ADJUSTED_HINT: &str = "the prices come from an adjusted column, so a level that \
    changes there is a split that was missed, or a real move";

/// What to do about jumps that are right.
pub(super) const JUMPS_HINT: &str =
    "where the prices are right as they are, raise data.jump_max (0: no check)";

/// What to do about times that are right after all.
const TIMES_HINT: &str = "where the times are right as they are, set data.accept_times = true";

/// What to do about times that do not rise.
const ORDER_HINT: &str = "sort the rows by time, oldest first";

/// The rows of one file that cannot be used: the first ones in words, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    format: FileFormat,
    /// The line of each, or its row, and what is wrong.
    first: Vec<(u64, String)>,
    count: u64,
    /// What to do about them, each once.
    hints: Vec<&'static str>,
}

/// What is told of a row.
pub(super) enum Problem<'a> {
    /// The decoder refuses it.
    Refused(Rejection, &'a Row<'a>),
    /// Its time is a number that cannot be a time of its unit, which gives this one.
    Doubt(TimeDoubt, &'a Row<'a>, UnixNanos),
    /// No step can be made of it after the rows of its symbol before.
    NoStep(Reject, &'a Row<'a>, &'a Place<'a>),
    /// A jump in the price of a symbol, in a column that is adjusted or not.
    Jump { symbol: &'a str, jump: &'a Jump, adjusted: bool },
}

/// A row as the file has it.
pub(super) struct Row<'a> {
    /// The record made of it.
    pub(super) record: &'a [u8],
    /// Its text, where the file has one.
    pub(super) text: Option<&'a [u8]>,
    /// How many cells it has, and how many columns there are.
    pub(super) cell_counts: Option<(usize, usize)>,
    /// Its cells; none for JSON lines.
    pub(super) cells: Vec<Cell<'a>>,
    /// The fields that are read.
    pub(super) schema: &'a Schema,
    /// Those that every row must have.
    pub(super) required: &'a [Field],
    /// How times are read that are texts.
    pub(super) time_format: &'a TimeFormat,
}

/// Where a row stands in time.
pub(super) struct Place<'a> {
    pub(super) symbol: &'a str,
    pub(super) time: UnixNanos,
    /// The newest row of the same symbol before it, as line and time.
    pub(super) newest: Option<(u64, UnixNanos)>,
}

/// A part of a row under the names that the file and the tick have for it.
struct Part {
    column: String,
    name: String,
    /// What it says; `None` where there is nothing.
    text: Option<Vec<u8>>,
    /// The same as it is shown.
    shown: String,
}

impl Problems {
    pub(super) fn new(path: &Path, format: FileFormat) -> Self {
        Self { path: path.into(), format, first: Vec::new(), count: 0, hints: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Notes what is wrong with the row at a line.
    pub(super) fn add(&mut self, line: u64, problem: &Problem<'_>) {
        self.count += 1;
        for hint in problem.hints() {
            if !self.hints.contains(hint) {
                self.hints.push(hint);
            }
        }
        // Words are made for what is shown alone: every row of a large file may be bad. Jumps are
        // known behind the last row only, and are shown in the order of lines with the others.
        let place = self.first.partition_point(|(shown, _)| *shown <= line);
        if place < SHOWN_MAX {
            let told = match problem {
                Problem::Refused(rejection, row) => row.refused(*rejection),
                Problem::Doubt(doubt, row, time) => row.doubted(*doubt, *time),
                Problem::NoStep(reason, row, place) => row.no_step(*reason, place, self.unit()),
                Problem::Jump { symbol, jump, .. } => jump.told(symbol, self.unit()),
            };
            self.first.insert(place, (line, told));
            self.first.truncate(SHOWN_MAX);
        }
    }

    /// What the file counts its records in.
    fn unit(&self) -> &'static str {
        if self.format == FileFormat::Parquet { "row" } else { "line" }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.count == 1 { "row" } else { "rows" };
        write!(formatter, "{} {rows} of the history cannot be used:", self.count)?;
        let path = self.path.display();
        for (line, told) in &self.first {
            // The usual form of a place, which editors open; a Parquet file has no lines.
            match self.format {
                FileFormat::Parquet => write!(formatter, "\n  {path}: row {line}: {told}")?,
                _ => write!(formatter, "\n  {path}:{line}: {told}")?,
            }
        }
        let more = self.count.saturating_sub(self.first.len() as u64);
        if more > 0 {
            write!(formatter, "\n  and {more} more")?;
        }
        self.hints.iter().try_for_each(|hint| write!(formatter, "\n{hint}"))
    }
}

impl Problem<'_> {
    /// What to do about it.
    fn hints(&self) -> &'static [&'static str] {
        match self {
            Self::NoStep(Reject::OutOfOrder | Reject::Late, ..) => &[ORDER_HINT],
            Self::Doubt(..) => &[TIMES_HINT],
            Self::Jump { jump, adjusted, .. } => match jump.shape {
                Shape::Back { .. } | Shape::First | Shape::Last => &[BAD_ROWS_HINT, JUMPS_HINT],
                _ if *adjusted => &[ADJUSTED_HINT, JUMPS_HINT],
                Shape::Split { .. } => &[SPLITS_HINT, JUMPS_HINT],
                Shape::Level => &[JUMPS_HINT],
            },
            _ => &[],
        }
    }
}

impl Jump {
    /// What is told of it.
    fn told(&self, symbol: &str, unit: &str) -> String {
        let Self { line, before, after, shape } = self;
        let percent = (after / before - 1.0) * 100.0;
        let way = format!("`{symbol}` jumps from {before} to {after} ({percent:+.1} %)");
        match shape {
            Shape::Back { last, back } if last == line => {
                format!("{way} and is back on {unit} {back}: this row looks wrong")
            }
            Shape::Back { last, back } => format!(
                "{way} and is back on {unit} {back}: the rows up to {unit} {last} look wrong"
            ),
            Shape::First => format!("{way} behind its first row: this row looks wrong"),
            Shape::Last => format!("{way} on its last row: this row looks wrong"),
            Shape::Split { new, old } => {
                format!("{way} and stays there, like a split of {new} for {old}")
            }
            Shape::Level => format!("{way} and stays there"),
        }
    }
}

impl Row<'_> {
    /// Why the decoder refuses the row.
    fn refused(&self, rejection: Rejection) -> String {
        let reason = rejection.reason;
        let parts = self.parts();
        let Some(part) = self.at_fault(rejection, &parts) else {
            return self.unplaced(rejection, &parts);
        };
        let column = excerpt(&part.column, TEXT_SHOWN_MAX);
        let Some(text) = &part.text else { return format!("{column}: nothing there") };
        format!("{column}: {} {}", part.shown, self.predicate(reason, text))
    }

    /// Why the time of the row cannot be right.
    fn doubted(&self, doubt: TimeDoubt, time: UnixNanos) -> String {
        let parts = self.parts();
        let part = parts.iter().find(|part| part.name == "time");
        let column = excerpt(part.map_or("time", |part| &part.column), TEXT_SHOWN_MAX);
        let shown = part.map_or("", |part| &part.shown);
        format!("{column}: {shown} would be {time}; {}", doubt.advice())
    }

    /// Why no step can be made of the row.
    fn no_step(&self, reason: Reject, place: &Place<'_>, unit: &str) -> String {
        let parts = self.parts();
        let time = parts.iter().find(|part| part.name == "time");
        let column = excerpt(time.map_or("time", |part| &part.column), TEXT_SHOWN_MAX);
        let shown = time.map_or("", |part| &part.shown);
        match (reason, place.newest) {
            (Reject::OutOfOrder | Reject::Late, Some((line, newest))) => format!(
                "{column}: {shown} is before {} on {unit} {line}, where `{}` was already",
                short(newest),
                place.symbol
            ),
            (Reject::Duplicate, Some((line, _))) => {
                format!("{column}: {shown} is the time of `{}` on {unit} {line} too", place.symbol)
            }
            (Reject::InvalidTime, _) => {
                format!("{column}: the bar of {} ends {}", short(place.time), TimeError::Range)
            }
            _ => self.refused(reason.into()),
        }
    }

    /// The parts of the row in its order; none where a line is no JSON object.
    fn parts(&self) -> Vec<Part> {
        if self.cells.is_empty() {
            let object: Map<String, Value> =
                serde_json::from_slice(self.record).unwrap_or_default();
            return object.into_iter().map(Part::of_member).collect();
        }
        self.cells.iter().map(Part::of_cell).collect()
    }

    /// The first part for which the decoder gives this reason.
    fn at_fault<'p>(&self, rejection: Rejection, parts: &'p [Part]) -> Option<&'p Part> {
        let named = |name: &str| parts.iter().find(|part| part.name == name);
        match rejection.reason {
            Reject::MissingField => self.missing(parts).and_then(named),
            Reject::DuplicateField => None,
            Reject::Malformed => parts.iter().find(|part| {
                part.text.as_deref().is_some_and(|text| str::from_utf8(text).is_err())
            }),
            // What stands for no number is none of JSON either, so fields that nobody reads count.
            Reject::NotFinite if rejection.member.is_none() => parts
                .iter()
                .filter(|part| !matches!(part.name.as_str(), "symbol" | "time"))
                .find(|part| part.number().is_some_and(|number| !number.is_finite())),
            _ => rejection.member.and_then(|member| named(member.name(self.schema))),
        }
    }

    /// The name of the first field that must have a value and has none.
    fn missing(&self, parts: &[Part]) -> Option<&str> {
        let stands = |name: &str| parts.iter().any(|part| part.name == name);
        let name = missing(self.schema, self.required, |name| {
            parts.iter().any(|part| part.name == name && part.text.is_some())
        })?;
        // Of the two that stand in for each other the one that the file has.
        let others = ["close", "price"];
        let other = others.into_iter().find(|other| others.contains(&name) && stands(other));
        Some(other.unwrap_or(name))
    }

    /// What is wrong where no part of the row shows it.
    fn unplaced(&self, rejection: Rejection, parts: &[Part]) -> String {
        let name = rejection.named(self.schema).field.map(|name| format!("`{name}`"));
        let what = match rejection.reason {
            Reject::MissingSymbol => "`symbol` is not there".to_owned(),
            Reject::MissingTime => "`time` is not there".to_owned(),
            Reject::MissingField => {
                format!("`{}` is not there", self.missing(parts).unwrap_or("close"))
            }
            Reject::Malformed => "not JSON".to_owned(),
            Reject::WrongCells => self.cell_counts.map_or_else(
                || "another number of cells than of columns".to_owned(),
                |(cells, columns)| format!("{cells} cells under {columns} headings"),
            ),
            Reject::NotAnObject => "not a JSON object".to_owned(),
            Reject::DuplicateField => {
                format!("{} is there twice", name.as_deref().unwrap_or("a name"))
            }
            Reject::NotFinite => {
                format!("{} is not a finite number", name.as_deref().unwrap_or("a value"))
            }
            Reject::TooLarge => "the row is too long".to_owned(),
            other => other.label().replace('_', " "),
        };
        format!("{what}: {}", quoted(self.text.unwrap_or(self.record)))
    }
}

impl Part {
    fn of_cell(cell: &Cell<'_>) -> Self {
        Self {
            column: cell.column.to_owned(),
            name: cell.name.to_owned(),
            text: cell.text.as_deref().map(<[u8]>::to_vec),
            shown: quoted(cell.text.as_deref().unwrap_or_default()),
        }
    }

    /// A member of a JSON object. A text keeps its quotes, for in a field it is no number.
    fn of_member((name, value): (String, Value)) -> Self {
        let text = value.to_string();
        Self {
            column: name.clone(),
            shown: excerpt(&text, TEXT_SHOWN_MAX),
            name,
            text: (!value.is_null()).then(|| text.into_bytes()),
        }
    }

    /// The number that it says, if it says one.
    fn number(&self) -> Option<f64> {
        str::from_utf8(self.text.as_deref()?).ok()?.parse().ok()
    }
}

impl Row<'_> {
    /// What is wrong with a text.
    fn predicate(&self, reason: Reject, text: &[u8]) -> String {
        match reason {
            Reject::Malformed => "is not UTF-8".to_owned(),
            Reject::InvalidSymbol => {
                format!("is no symbol: {SymbolError}")
            }
            Reject::InvalidTime => {
                let text = String::from_utf8_lossy(text);
                let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
                let error = if is_number && !self.time_format.is_explicit() {
                    // Whatever its unit, a number is only refused for its size.
                    TimeError::Range
                } else {
                    self.time_format
                        .parse(text.trim_matches('"'))
                        .err()
                        .unwrap_or(TimeError::Format)
                };
                format!("is {error}")
            }
            Reject::WrongType => "is not a number".to_owned(),
            Reject::NotFinite => "is not a finite number".to_owned(),
            Reject::Negative => "is below zero".to_owned(),
            Reject::ZeroPrice => "is no price: a price is above zero".to_owned(),
            Reject::OutOfBounds => {
                "is out of bounds: 1e15 either way, and 1e-12 or more for a price".to_owned()
            }
            other => format!("is refused: {}", other.label().replace('_', " ")),
        }
    }
}

/// The name of the first required field that is not there; `close` and `price` stand in for each
/// other.
pub(super) fn missing<'a>(
    schema: &'a Schema,
    required: &[Field],
    there: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let mut names = required.iter().map(|field| schema.name(*field));
    names.find(|name| match *name {
        "close" | "price" => !there("close") && !there("price"),
        other => !there(other),
    })
}

/// A text in quotes, cut where it is long.
fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", excerpt_of_bytes(text, TEXT_SHOWN_MAX))
}

/// A time, without its clock where that is midnight.
fn short(time: UnixNanos) -> String {
    let text = time.to_string();
    text.strip_suffix("T00:00:00Z").unwrap_or(&text).to_owned()
}
