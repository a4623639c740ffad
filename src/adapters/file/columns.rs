//! Which column of a table stands for which name of a tick.
//!
//! Owns the column map that a user writes and its meeting with a header row. Promises that every
//! file it accepts has exactly one source for the symbol and one column for the time, and that
//! no name has two columns. Never reads a row.

use std::fmt;
use std::str::FromStr;

use crate::core::text::excerpt;

/// Which columns to read under which names, as the user wrote it:
/// `symbol=Ticker,time=Date,close=Adj Close,volume=Volume`.
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
    /// Two columns for one name.
    #[error("columns `{first}` and `{second}` both stand for `{name}`; choose with a column map")]
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

/// The columns of a file, printed in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

/// Where each part of a tick is found in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The names of all columns of the file.
    pub(super) header: Vec<String>,
    pub(super) symbol: SymbolSource,
    /// The index of the column with the event time.
    pub(super) time: usize,
    /// Names and column indices of the numeric fields, in the order in which they are written.
    pub(super) fields: Vec<(String, usize)>,
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
        let mut named = match map {
            Some(map) => mapped(&header, map)?,
            None => by_own_name(&header)?,
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
        let time = take("time").ok_or_else(|| ColumnsError::NoTime { there: there() })?;
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
        symbol.into_iter().chain([self.time]).chain(fields)
    }
}

/// The columns that the map names, found by their exact names.
fn mapped(header: &[String], map: &ColumnMap) -> Result<Vec<(String, usize)>, ColumnsError> {
    let find = |(name, column): &(String, String)| {
        header
            .iter()
            .position(|there| there == column)
            .map(|index| (name.clone(), index))
            .ok_or_else(|| ColumnsError::Missing {
                column: column.clone(),
                there: Names(header.to_vec()),
            })
    };
    map.pairs.iter().map(find).collect()
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
            _ => Ok(()),
        }
    }
}
