//! Static numbers of symbols: a small table that a configuration names.
//!
//! Owns its form, `symbol,NAME,...` with a line for each symbol, and its scaler. Promises that
//! every problem is named with its line, all at once. Never knows which symbols a history has.

use std::collections::BTreeMap;

use crate::core::domain::Symbol;
use crate::core::features::{SYMBOL_COLUMNS_MAX, SYMBOLS_MAX, Scaler, ScalerError, SingleScaler};

/// The largest table, in bytes.
pub const STATICS_BYTES_MAX: usize = 16 << 20;

/// The most columns: a symbol may have as many learned ones.
const COLUMNS_MAX: usize = SYMBOL_COLUMNS_MAX / 2;

/// The most problems that are named.
const PROBLEMS_MAX: usize = 10;

/// A table of static numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Statics {
    /// The names of the columns.
    pub names: Vec<String>,
    /// The numbers of each symbol, each in its own unit.
    pub symbols: BTreeMap<String, Vec<f64>>,
}

impl Statics {
    /// Reads the table from a CSV text without quotes.
    ///
    /// # Errors
    /// One line per problem, each with the line of the text at fault.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let Some((at, header)) = lines.next() else {
            return Err(vec!["is empty: line 1 must be `symbol,NAME,...`".to_owned()]);
        };
        let names =
            header_names(header).map_err(|problem| vec![format!("line {at}: {problem}")])?;
        let mut symbols: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (at, line) in lines {
            let numbers = numbers(line, &names);
            let problem = match numbers {
                Ok((symbol, _)) if symbols.contains_key(symbol) => {
                    format!("`{symbol}` has a line already")
                }
                Ok((symbol, numbers)) => {
                    symbols.insert(symbol.to_owned(), numbers);
                    continue;
                }
                Err(problem) => problem,
            };
            problems.push(format!("line {at}: {problem}"));
        }
        if symbols.is_empty() && problems.is_empty() {
            problems.push("has no symbol".to_owned());
        }
        if symbols.len() > SYMBOLS_MAX {
            problems.push(format!("has {} symbols, at most {SYMBOLS_MAX}", symbols.len()));
        }
        if problems.len() > PROBLEMS_MAX {
            let more = problems.len() - PROBLEMS_MAX;
            problems.truncate(PROBLEMS_MAX);
            problems.push(format!("and {more} more problems"));
        }
        if problems.is_empty() { Ok(Self { names, symbols }) } else { Err(problems) }
    }

    /// The numbers of every symbol in model units: mean 0 and standard deviation 1 over the symbols
    /// `fitted`, which have a line. A column without spread there becomes the distance to its mean.
    ///
    /// # Errors
    /// [`ScalerError`] naming a column of which no spread can be computed.
    pub fn scaled(&self, fitted: &[String]) -> Result<BTreeMap<String, Vec<f32>>, ScalerError> {
        let scaler = |(at, name): (usize, &String)| -> Result<SingleScaler, ScalerError> {
            let values = fitted.iter().filter_map(|symbol| Some(self.symbols.get(symbol)?[at]));
            Scaler::fit_standard(&[(name.clone(), values.collect())])?.single()
        };
        let scalers: Vec<_> =
            self.names.iter().enumerate().map(scaler).collect::<Result<_, _>>()?;
        let scale = |(symbol, numbers): (&String, &Vec<f64>)| {
            let scaled = scalers.iter().zip(numbers).map(|(s, number)| s.apply(*number) as f32);
            (symbol.clone(), scaled.collect())
        };
        Ok(self.symbols.iter().map(scale).collect())
    }
}

fn header_names(header: &str) -> Result<Vec<String>, String> {
    let mut cells = header.split(',').map(str::trim);
    if cells.next() != Some("symbol") {
        return Err("must begin with the column `symbol`".to_owned());
    }
    let names: Vec<String> = cells.map(str::to_owned).collect();
    if !(1..=COLUMNS_MAX).contains(&names.len()) {
        let count = names.len();
        return Err(format!("has {count} columns behind `symbol`, not 1 to {COLUMNS_MAX}"));
    }
    let is_wrong = |(at, name): (usize, &String)| {
        name.is_empty() || name.contains('"') || names[..at].contains(name)
    };
    match names.iter().enumerate().find(|(at, name)| is_wrong((*at, name))) {
        Some((_, name)) => Err(format!("column `{name}` is empty, quoted, or there twice")),
        None => Ok(names),
    }
}

/// The symbol and the numbers of a line.
fn numbers<'l>(line: &'l str, names: &[String]) -> Result<(&'l str, Vec<f64>), String> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.len() != names.len() + 1 {
        return Err(format!("has {} cells, the header {}", cells.len(), names.len() + 1));
    }
    let symbol = cells[0];
    if Symbol::new(symbol).is_err() || symbol.contains('"') {
        return Err(format!("`{symbol}` is no symbol"));
    }
    let number = |(name, cell): (&String, &&str)| match cell.parse::<f64>() {
        Ok(number) if number.is_finite() && (number as f32).is_finite() => Ok(number),
        _ => Err(format!("`{cell}` in column `{name}` is no finite number")),
    };
    let numbers = names.iter().zip(&cells[1..]).map(number).collect::<Result<_, _>>()?;
    Ok((symbol, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_symbol_has_its_numbers_scaled_over_the_fitted_ones() {
        let text = "symbol, size ,beta\nB,3,1.5\nA,1,0.5\n\nC,100,1\n";
        let statics = Statics::read(text).unwrap();
        assert_eq!(statics.names, ["size", "beta"]);
        assert_eq!(statics.symbols["C"], [100.0, 1.0]);
        let scaled = statics.scaled(&["A".to_owned(), "B".to_owned()]).unwrap();
        assert_eq!((&scaled["A"][..], &scaled["B"][..]), (&[-1.0, -1.0][..], &[1.0, 1.0][..]));
        assert_eq!(scaled["C"], [98.0, 0.0], "(100 - 2) / 1");
        let one = statics.scaled(&["A".to_owned()]).unwrap();
        assert_eq!(one["B"], [2.0, 1.0], "without spread, the distance to the mean");
    }

    #[test]
    fn every_problem_is_named_with_its_line() {
        let text = "symbol,size\nA,1\nB\nA,2\nC,much\nD,inf\n,3\n\"E\",1\nF,1,2\n";
        let expected = [
            "line 3: has 1 cells, the header 2",
            "line 4: `A` has a line already",
            "line 5: `much` in column `size` is no finite number",
            "line 6: `inf` in column `size` is no finite number",
            "line 7: `` is no symbol",
            "line 8: `\"E\"` is no symbol",
            "line 9: has 3 cells, the header 2",
        ];
        assert_eq!(Statics::read(text).unwrap_err(), expected);
        for (text, expected) in [
            ("", "is empty: line 1 must be `symbol,NAME,...`"),
            ("name,size\n", "line 1: must begin with the column `symbol`"),
            ("\nsymbol\n", "line 2: has 0 columns behind `symbol`, not 1 to 128"),
            ("symbol,a,a\n", "line 1: column `a` is empty, quoted, or there twice"),
            ("symbol,a\n", "has no symbol"),
        ] {
            assert_eq!(Statics::read(text).unwrap_err(), [expected]);
        }
        let many: String = (0..20).map(|_| "A\n").collect();
        let problems = Statics::read(&format!("symbol,a\n{many}")).unwrap_err();
        assert_eq!((problems.len(), &*problems[10]), (11, "and 10 more problems"));
    }
}
