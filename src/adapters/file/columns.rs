//! Which column of a table stands for which name of a tick.
//!
//! Owns the column map that a user writes and its meeting with a header row. Promises that every
//! file it accepts has exactly one source for the symbol and one column for the time, and that
//! no name has two columns. Never reads a row.

use std::fmt;
use std::str::FromStr;

use crate::core::text::excerpt;

/// Which columns to read under which names, as the user wrote it:
/// `symbol=Ticker,time=Date,close=Adj Close,volume=Volume`. A number is the column at that place,
/// from 1, where no column has it as its name. `time=Date+Time` joins two columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMap {
    pairs: Vec<(String, String)>,
}

/// Why a text is not a column map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnMapError {
    /// Something that is not `name=column`.
    #[error("`{0}` is not a pair `name=column`, such as `close=Adj Close`")]
    NotAPair(String),
    /// One name twice.
    #[error("`{0}`: the name has a column already")]
    Repeated(String),
}

/// Why a header row does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// A mapped column that the file has not.
    #[error("no column `{column}`; there are {there}")]
    Missing {
        /// The column that was asked for.
        column: String,
        /// The columns that the file has.
        there: Names,
    },
    /// A mapped column that the file has more than once.
    #[error(
        "{count} columns are called `{column}`: choose one by its number, such as \
         {name}={number}; there are {there}"
    )]
    Repeated {
        /// The name of the tick.
        name: String,
        /// The column that was asked for.
        column: String,
        /// How many there are.
        count: usize,
        /// The place of the last one, from 1.
        number: usize,
        /// The columns that the file has.
        there: Names,
    },
    /// Two columns for one name.
    #[error(
        "columns `{first}` and `{second}` both stand for `{name}`; choose with a column map{}",
        joined_hint(name, first, second)
    )]
    Ambiguous {
        /// The name of the tick.
        name: String,
        /// One column.
        first: String,
        /// The other.
        second: String,
    },
    /// Nothing tells the symbol.
    #[error(
        "no column stands for the symbol: map one (symbol=COLUMN) or name the symbol of the whole \
         file; there are {there}"
    )]
    NoSymbol {
        /// The columns that the file has.
        there: Names,
    },
    /// Both a column and the user tell the symbol.
    #[error("column `{column}` holds the symbol, so a symbol for the whole file contradicts it")]
    SymbolTwice {
        /// The column with the symbol.
        column: String,
    },
    /// Nothing tells the time.
    #[error("no column stands for the time: map one (time=COLUMN); there are {there}")]
    NoTime {
        /// The columns that the file has.
        there: Names,
    },
}

/// How to read two columns of a time.
fn joined_hint(name: &str, first: &str, second: &str) -> String {
    let is_time = name == "time";
    if is_time { format!(", or join them (time={first}+{second})") } else { String::new() }
}

/// The columns of a file, printed in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

/// Where each part of a tick is found in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The names of all columns of the file.
    pub(super) header: Vec<String>,
    pub(super) symbol: SymbolSource,
    /// The columns of the event time.
    pub(super) time: TimeColumns,
    /// Names and column indices of the numeric fields, in the order in which they are written.
    pub(super) fields: Vec<(String, usize)>,
}

/// The columns that make the event time, joined by a space where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeColumns {
    pub(super) name: String,
    pub(super) indices: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SymbolSource {
    Column(usize),
    Fixed(String),
}

impl ColumnMap {
    /// A map of names of the tick to columns of the file.
    ///
    /// # Errors
    /// [`ColumnMapError`] for an empty side or a repeated name.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, ColumnMapError> {
        let mut map = Self { pairs: Vec::new() };
        for (name, column) in pairs {
            let pair = format!("{name}={column}");
            if name.is_empty() || column.is_empty() {
                return Err(ColumnMapError::NotAPair(pair));
            }
            if map.pairs.iter().any(|(known, _)| *known == name) {
                return Err(ColumnMapError::Repeated(pair));
            }
            map.pairs.push((name, column));
        }
        Ok(map)
    }

    /// The names of the tick that have a column.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// The column that stands for a name of the tick.
    pub fn column(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, column)| column.as_str())
    }
}

impl FromStr for ColumnMap {
    type Err = ColumnMapError;

    fn from_str(text: &str) -> Result<Self, ColumnMapError> {
        let pairs = text
            .split(',')
            .map(|pair| {
                let (name, column) = pair
                    .split_once('=')
                    .ok_or_else(|| ColumnMapError::NotAPair(pair.to_owned()))?;
                Ok((name.trim().to_owned(), column.trim().to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(pairs)
    }
}

impl Layout {
    /// Finds the parts of a tick in a header row.
    pub(super) fn new(
        header: Vec<String>,
        map: Option<&ColumnMap>,
        symbol: Option<String>,
    ) -> Result<Self, ColumnsError> {
        let (mut named, time) = match map {
            Some(map) => mapped(&header, map)?,
            None => (by_own_name(&header)?, None),
        };
        let there = || Names(header.clone());
        let mut take = |wanted: &str| {
            let position = named.iter().position(|(name, _)| name == wanted)?;
            Some(named.remove(position).1)
        };
        let symbol = match (take("symbol"), symbol) {
            (Some(column), None) => SymbolSource::Column(column),
            (None, Some(symbol)) => SymbolSource::Fixed(symbol),
            (None, None) => return Err(ColumnsError::NoSymbol { there: there() }),
            (Some(column), Some(_)) => {
                return Err(ColumnsError::SymbolTwice { column: header[column].clone() });
            }
        };
        let found = time.or_else(|| {
            let index = take("time")?;
            Some(TimeColumns { name: header[index].clone(), indices: vec![index] })
        });
        let time = found.ok_or_else(|| ColumnsError::NoTime { there: there() })?;
        Ok(Self { header, symbol, time, fields: named })
    }

    /// The indices of the columns that a tick is made of.
    #[cfg(feature = "train")]
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        let symbol = match self.symbol {
            SymbolSource::Column(column) => Some(column),
            SymbolSource::Fixed(_) => None,
        };
        let fields = self.fields.iter().map(|(_, column)| *column);
        symbol.into_iter().chain(self.time.indices.iter().copied()).chain(fields)
    }
}

/// Names of a tick with the indices of their columns, and the columns of the time where the map
/// names it.
type Mapped = (Vec<(String, usize)>, Option<TimeColumns>);

/// The columns that the map names.
fn mapped(header: &[String], map: &ColumnMap) -> Result<Mapped, ColumnsError> {
    let mut time = None;
    let mut named = Vec::new();
    for (name, column) in &map.pairs {
        if name != "time" {
            named.push((name.clone(), find(header, name, column)?));
            continue;
        }
        let is_one = header.contains(column) || !column.contains('+');
        let parts: Vec<_> = if is_one { vec![&**column] } else { column.split('+').collect() };
        let indices = parts.into_iter().map(|part| find(header, name, part.trim()));
        time =
            Some(TimeColumns { name: column.clone(), indices: indices.collect::<Result<_, _>>()? });
    }
    Ok((named, time))
}

/// The index of a column, by its exact name, or by its number where no column is called so.
fn find(header: &[String], name: &str, column: &str) -> Result<usize, ColumnsError> {
    let there = || Names(header.to_vec());
    let mut found = header.iter().enumerate().filter(|(_, there)| *there == column);
    match (found.next(), found.count()) {
        (Some((index, _)), 0) => Ok(index),
        (Some(_), more) => Err(ColumnsError::Repeated {
            name: name.to_owned(),
            column: column.to_owned(),
            count: more + 1,
            number: header.iter().rposition(|there| there == column).map_or(1, |last| last + 1),
            there: there(),
        }),
        (None, _) => match column.parse() {
            Ok(number @ 1..) if number <= header.len() => Ok(number - 1),
            _ => Err(ColumnsError::Missing { column: column.to_owned(), there: there() }),
        },
    }
}

/// All columns by their own names in lower case; columns without a name are left out, such as
/// the row numbers that pandas writes.
fn by_own_name(header: &[String]) -> Result<Vec<(String, usize)>, ColumnsError> {
    let mut named: Vec<(String, usize)> = Vec::new();
    for (index, column) in header.iter().enumerate() {
        let lower = column.to_lowercase();
        let name = match lower.as_str() {
            "" => continue,
            "ticker" => "symbol",
            "date" | "timestamp" | "datetime" => "time",
            other => other,
        };
        if let Some((_, first)) = named.iter().find(|(known, _)| known == name) {
            return Err(ColumnsError::Ambiguous {
                name: name.to_owned(),
                first: header[*first].clone(),
                second: column.clone(),
            });
        }
        named.push((name.to_owned(), index));
    }
    Ok(named)
}

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As many names as a person reads.
        const SHOWN_MAX: usize = 20;
        /// As much of a name as tells what it is.
        const NAME_CHARS_MAX: usize = 64;
        for (index, name) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let name = excerpt(name, NAME_CHARS_MAX);
            write!(formatter, "{separator}`{name}`")?;
        }
        match self.0.len().checked_sub(SHOWN_MAX) {
            Some(more @ 1..) => write!(formatter, " and {more} more"),
            _ if self.0.len() == 1 => {
                formatter.write_str(", a single one; is the delimiter right, and the header line?")
            }
            _ => Ok(()),
        }
    }
}
