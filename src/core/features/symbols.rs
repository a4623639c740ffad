//! What a model knows of each symbol: constant columns behind the features of every row, and a
//! scaler of its own.
//!
//! Owns the table of a bundle (`symbols.json`), its rules, and its resolved form. Promises that a
//! lookup is made once for each symbol, by name, and that a symbol which the table does not have
//! gets the columns of the unknown one. Never holds a row: what is constant is stored once.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::scaler::{Affine, Scaler, ScalerError};
use crate::core::domain::Symbol;

/// The value of `schema` that this version reads and writes.
pub const SYMBOLS_SCHEMA: &str = "tickcast.symbols.v1";

/// The most constant columns of a symbol.
pub const SYMBOL_COLUMNS_MAX: usize = 256;

/// The most symbols of a table.
pub const SYMBOLS_MAX: usize = 100_000;

/// `symbols.json` as it is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolTable {
    /// Always [`SYMBOLS_SCHEMA`].
    pub schema: String,
    /// The names of the static columns, which come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statics: Vec<String>,
    /// How many columns of a learned embedding follow them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub embedding: u32,
    /// The columns of each symbol, in model units.
    pub symbols: BTreeMap<String, Vec<f32>>,
    /// The columns of every other symbol: the mean over the symbols of the training.
    pub unknown: Vec<f32>,
    /// The scalers of the features of those symbols that have one of their own; every other symbol
    /// has the scaler of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scalers: BTreeMap<String, Scaler>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl SymbolTable {
    /// How many columns a symbol has.
    pub fn width(&self) -> usize {
        self.statics.len() + self.embedding as usize
    }

    /// A table of these symbols; `unknown` has the columns of every other one.
    pub fn new(
        statics: Vec<String>,
        embedding: u32,
        symbols: BTreeMap<String, Vec<f32>>,
        unknown: Vec<f32>,
    ) -> Self {
        let (schema, scalers) = (SYMBOLS_SCHEMA.to_owned(), BTreeMap::new());
        Self { schema, statics, embedding, symbols, unknown, scalers }
    }

    /// The same with scalers of symbols.
    #[must_use]
    pub fn with_scalers(self, scalers: BTreeMap<String, Scaler>) -> Self {
        Self { scalers, ..self }
    }

    /// Every rule that the table breaks, each beginning with the field at fault.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.schema != SYMBOLS_SCHEMA {
            problems.push(format!("schema: expected `{SYMBOLS_SCHEMA}`"));
        }
        let width = self.width();
        if width > SYMBOL_COLUMNS_MAX {
            let most = SYMBOL_COLUMNS_MAX;
            problems.push(format!("statics, embedding: {width} columns, at most {most} are read"));
        }
        if width == 0 && self.scalers.is_empty() {
            problems.push("statics, embedding, scalers: there are none of these".to_owned());
        }
        if let Some(name) = self.scalers.keys().find(|name| !self.symbols.contains_key(*name)) {
            problems.push(format!("scalers: `{name}` is none of the symbols"));
        }
        for (index, name) in self.statics.iter().enumerate() {
            if name.is_empty() || self.statics[..index].contains(name) {
                problems.push(format!("statics[{index}]: `{name}` is empty or listed twice"));
            }
        }
        if !(1..=SYMBOLS_MAX).contains(&self.symbols.len()) {
            let count = self.symbols.len();
            problems.push(format!("symbols: {count}, not 1 to {SYMBOLS_MAX}"));
        }
        if let Some(name) = self.symbols.keys().find(|name| Symbol::new(name).is_err()) {
            problems.push(format!("symbols: `{name}` is no symbol"));
        }
        let named = self.symbols.iter().map(|(name, columns)| (name.as_str(), columns));
        for (name, columns) in named.chain([("unknown", &self.unknown)]) {
            if columns.len() != width {
                problems.push(format!("`{name}`: {} columns, not {width}", columns.len()));
            } else if !columns.iter().all(|column| column.is_finite()) {
                problems.push(format!("`{name}`: a column that is not finite"));
            }
        }
        problems
    }
}

/// The mean of rows of `width` columns, added in double precision in their order; zeros for none.
pub fn mean_columns<'c>(rows: impl Iterator<Item = &'c [f32]>, width: usize) -> Vec<f32> {
    let (mut sums, mut count) = (vec![0.0_f64; width], 0_u32);
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, column)| *sum += f64::from(*column));
        count += 1;
    }
    let count = f64::from(count.max(1));
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// The place of a symbol in the table of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolEntry(u32);

/// The table of a model, resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SymbolColumns {
    places: HashMap<String, SymbolEntry>,
    width: usize,
    /// `[symbols + 1][width]`, the unknown one last.
    columns: Box<[f32]>,
    names: Box<[String]>,
    /// `[symbols + 1][F]`, likewise; empty where all symbols have the scaler of the manifest.
    scales: Box<[Affine]>,
}

impl SymbolColumns {
    /// Resolves a table without [`SymbolTable::problems`] for these features, which `pooled` scales
    /// where a symbol has no scaler of its own.
    pub(super) fn new(
        table: &SymbolTable,
        features: &[String],
        pooled: &[Affine],
    ) -> Result<Self, ScalerError> {
        let mut scales = Vec::new();
        if !table.scalers.is_empty() {
            for symbol in table.symbols.keys() {
                match table.scalers.get(symbol) {
                    Some(scaler) => {
                        scaler.check(features)?;
                        scales.extend(scaler.affine()?);
                    }
                    None => scales.extend(pooled),
                }
            }
            scales.extend(pooled);
        }
        let place = |(index, name): (u32, &String)| (name.clone(), SymbolEntry(index));
        let rows = table.symbols.values().chain([&table.unknown]);
        let embedding = (0..table.embedding).map(|at| format!("embedding[{at}]"));
        Ok(Self {
            places: (0..).zip(table.symbols.keys()).map(place).collect(),
            width: table.width(),
            columns: rows.flatten().copied().collect(),
            names: table.statics.iter().cloned().chain(embedding).collect(),
            scales: scales.into(),
        })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// How many symbols it has.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The place of a symbol: behind all others where the table does not have it.
    pub(super) fn entry(&self, symbol: &str) -> SymbolEntry {
        let unknown = || SymbolEntry(u32::try_from(self.len()).unwrap_or(u32::MAX));
        self.places.get(symbol).copied().unwrap_or_else(unknown)
    }

    pub(super) fn is_unknown(&self, SymbolEntry(entry): SymbolEntry) -> bool {
        entry as usize >= self.len()
    }

    /// The scaler of a symbol, of `width` features; `None` where it has none of its own.
    pub(super) fn scale(&self, SymbolEntry(entry): SymbolEntry, width: usize) -> Option<&[Affine]> {
        self.scales.get(entry as usize * width..)?.get(..width)
    }

    /// Whether symbols have scalers of their own.
    pub(super) fn has_scales(&self) -> bool {
        !self.scales.is_empty()
    }

    /// Whether a scaler of a symbol cuts values off.
    pub(super) fn clips(&self) -> bool {
        self.scales.iter().any(|affine| affine.clips())
    }

    /// The columns of a symbol.
    pub(super) fn of(&self, SymbolEntry(entry): SymbolEntry) -> &[f32] {
        &self.columns[entry as usize * self.width..][..self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SymbolTable {
        let symbols = BTreeMap::from([
            ("B".to_owned(), vec![3.0, 0.5, -0.5]),
            ("A".to_owned(), vec![1.0, -0.25, 0.25]),
        ]);
        let unknown = mean_columns(symbols.values().map(Vec::as_slice), 3);
        SymbolTable::new(vec!["size".to_owned()], 2, symbols, unknown)
    }

    #[test]
    fn a_symbol_has_its_columns_and_an_unknown_one_the_mean() {
        let columns = SymbolColumns::new(&table(), &[], &[]).unwrap();
        let of = |symbol| columns.of(columns.entry(symbol)).to_vec();
        assert_eq!(of("A"), [1.0, -0.25, 0.25]);
        assert_eq!(of("B"), [3.0, 0.5, -0.5]);
        assert_eq!(of("C"), [2.0, 0.125, -0.125]);
        assert_eq!(of(""), of("C"));
        let unknown = |symbol| columns.is_unknown(columns.entry(symbol));
        assert_eq!(["A", "B", "C"].map(unknown), [false, false, true]);
        assert_eq!(columns.names(), ["size", "embedding[0]", "embedding[1]"]);
        assert_eq!((columns.width(), columns.len()), (3, 2));
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let text = serde_json::to_string(&table()).unwrap();
        assert_eq!(serde_json::from_str::<SymbolTable>(&text).unwrap(), table());
        assert_eq!(table().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_broken_rule_of_a_table_is_named() {
        let broken = |change: &dyn Fn(&mut SymbolTable)| {
            let mut table = table();
            change(&mut table);
            table.problems()
        };
        for (expected, found) in [
            ("schema: expected", broken(&|t| t.schema = "other".to_owned())),
            ("statics[1]: `size` is", broken(&|t| t.statics = vec!["size".to_owned(); 2])),
            ("`A`: 2 columns, not 3", broken(&|t| _ = t.symbols.get_mut("A").unwrap().pop())),
            ("`B`: a column that", broken(&|t| t.symbols.get_mut("B").unwrap()[1] = f32::NAN)),
            ("`unknown`: 0 columns", broken(&|t| t.unknown.clear())),
            ("symbols: `` is no symbol", broken(&|t| _ = t.symbols.insert(String::new(), vec![]))),
            ("symbols: 0, not 1", broken(&|t| t.symbols.clear())),
        ] {
            assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:?}");
        }
        let none = SymbolTable::new(Vec::new(), 0, table().symbols, Vec::new());
        assert_eq!(none.problems()[0], "statics, embedding, scalers: there are none of these");
    }
}
