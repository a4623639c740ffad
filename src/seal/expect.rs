//! The framework's own predictions, and the comparison with them.
//!
//! Owns the form of the file. Promises that every row of it is compared or the file is refused,
//! with the line at fault. Never changes a prediction.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

use super::config::{ExpectConfig, PartConfig, SealConfig};
use super::data::{End, Material};
use crate::core::domain::{TimeFormat, UnixNanos};
use crate::core::text::excerpt;
use crate::engine::files::read_regular_file;

/// The longest file of predictions.
const BYTES_MAX: usize = 256 << 20;

/// The characters of a cell that are shown.
const CELL_CHARS_MAX: usize = 40;

/// What a forecast has beside its value.
const NAMES: [&str; 3] = ["value", "lower", "upper"];

/// A file of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The file.
    pub path: PathBuf,
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// The columns that hold predictions: the column of the model's output, of each.
    columns: Vec<usize>,
    rows: Vec<Row>,
}

/// The predictions of one window.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    line: usize,
    symbol: Option<String>,
    time: Option<UnixNanos>,
    values: Vec<f64>,
}

/// How far the model is from the predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// How many numbers were compared.
    pub count: usize,
    /// The largest absolute difference.
    pub largest_difference: f64,
    /// The mean of the absolute differences.
    pub mean_difference: f64,
    /// Where the largest one is: the line, and what both say.
    pub worst: Option<(usize, f64, f64)>,
}

/// What a column of the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Symbol,
    Time,
    /// A prediction of this column of the model's output.
    Column(usize),
}

impl Expected {
    /// Reads the predictions that a configuration names.
    ///
    /// # Errors
    /// One line for each problem, with its line of the file.
    pub fn read(expect: &ExpectConfig, config: &SealConfig) -> Result<Self, Vec<String>> {
        let path = &expect.path;
        let refuse =
            |problem: String| vec![format!("expect.path: `{}`: {problem}", path.display())];
        let bytes =
            read_regular_file(path, BYTES_MAX).map_err(|error| refuse(error.to_string()))?;
        let sha256 = super::sha256_of(&bytes);
        let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
        let (columns, rows) = parse(&text, config)
            .map_err(|problems| problems.into_iter().flat_map(&refuse).collect::<Vec<_>>())?;
        Ok(Self { path: path.clone(), sha256, columns, rows })
    }

    /// The window of each row, as its place in [`Material::ends`].
    ///
    /// # Errors
    /// One line for each row without a window, the first few of them.
    pub fn windows(&self, material: &Material) -> Result<Vec<usize>, Vec<String>> {
        let path = self.path.display();
        if self.rows.iter().all(|row| row.time.is_none()) {
            return self.windows_in_order(material);
        }
        let mut by_time = HashMap::new();
        for (at, end) in material.ends.iter().enumerate() {
            by_time.entry(end.as_of).or_insert_with(Vec::new).push((at, *end));
        }
        let (mut ends, mut problems) = (Vec::with_capacity(self.rows.len()), Vec::new());
        for Row { line, symbol, time, .. } in &self.rows {
            let there = time.and_then(|time| by_time.get(&time)).map(Vec::as_slice);
            let fits = |(_, end): &&(usize, End)| {
                symbol.as_deref().is_none_or(|symbol| symbol == material.symbol(*end))
            };
            let mut fitting = there.unwrap_or_default().iter().filter(fits);
            match (fitting.next(), fitting.next()) {
                (Some((at, _)), None) => ends.push(*at),
                (Some(_), Some(_)) => problems.push(format!(
                    "expect.path: `{path}`: line {line}: several symbols have a window there; add \
                     a column `symbol`"
                )),
                (None, _) => {
                    let time = time.map_or_else(String::new, |time| time.to_string());
                    let symbol = symbol.as_deref().map(|s| format!(" of `{s}`"));
                    problems.push(format!(
                        "expect.path: `{path}`: line {line}: no full window{} ends at {time}; \
                         `time` is that of a window's newest row",
                        symbol.unwrap_or_default()
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(ends) } else { Err(first_of(problems)) }
    }

    /// Rows without times: one for each window of a symbol, from its first full one on.
    fn windows_in_order(&self, material: &Material) -> Result<Vec<usize>, Vec<String>> {
        let path = self.path.display();
        let symbols = material.history.symbols();
        if symbols.len() > 1 && self.rows.iter().any(|row| row.symbol.is_none()) {
            return Err(vec![format!(
                "expect.path: `{path}`: the history has several symbols; add the columns `symbol` \
                 and `time`, or name one symbol in data.symbols"
            )]);
        }
        let of = |row: &Row| row.symbol.clone().unwrap_or_else(|| symbols[0].clone());
        let mut windows: HashMap<String, VecDeque<usize>> = HashMap::new();
        for (at, end) in material.ends.iter().enumerate() {
            windows.entry(material.symbol(*end).to_owned()).or_default().push_back(at);
        }
        // Of the symbols of the history and of those of the file.
        let mut counts: BTreeMap<String, usize> =
            symbols.iter().map(|symbol| (symbol.clone(), 0)).collect();
        self.rows.iter().for_each(|row| *counts.entry(of(row)).or_default() += 1);
        let mut problems = Vec::new();
        for (symbol, have) in counts {
            let there = windows.get(&symbol).map_or(0, VecDeque::len);
            if have != there {
                let symbol = excerpt(&symbol, CELL_CHARS_MAX);
                problems.push(format!(
                    "expect.path: `{path}`: has {have} predictions of `{symbol}`, and the history \
                     has {there} full windows of it; give one for each, or add a column `time`, \
                     the time of each window's newest row"
                ));
            }
        }
        if !problems.is_empty() {
            return Err(first_of(problems));
        }
        Ok(self.rows.iter().filter_map(|row| windows.get_mut(&of(row))?.pop_front()).collect())
    }

    /// Compares outputs of the model, one row `[K]` for each prediction in order, after `unit` has
    /// made them the unit of the file.
    pub fn compare(&self, outputs: &[Vec<f32>], unit: impl Fn(f64) -> f64) -> Comparison {
        let (mut count, mut sum, mut largest, mut worst) = (0, 0.0, 0.0_f64, None);
        for (row, output) in self.rows.iter().zip(outputs) {
            for (column, expected) in self.columns.iter().zip(&row.values) {
                let found = unit(f64::from(output[*column]));
                let difference = (found - expected).abs();
                count += 1;
                sum += difference;
                // What is not a number is the worst.
                let difference = if difference.is_nan() { f64::INFINITY } else { difference };
                if worst.is_none() || difference > largest {
                    largest = difference;
                    worst = Some((row.line, found, *expected));
                }
            }
        }
        let mean_difference = sum / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
        Comparison { count, largest_difference: largest, mean_difference, worst }
    }
}

/// As many problems as a person reads.
fn first_of(mut problems: Vec<String>) -> Vec<String> {
    const SHOWN_MAX: usize = 3;
    let more = problems.len().saturating_sub(SHOWN_MAX);
    problems.truncate(SHOWN_MAX);
    if more > 0 {
        problems.push(format!("expect.path: and {more} more lines like these"));
    }
    problems
}

fn parse(text: &str, config: &SealConfig) -> Result<(Vec<usize>, Vec<Row>), Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty()).peekable();
    let Some((_, first)) = lines.peek().copied() else {
        return Err(vec!["is empty".to_owned()]);
    };
    let delimiter = [',', ';', '\t'].into_iter().find(|mark| first.contains(*mark)).unwrap_or(',');
    let split = |line: &str| -> Vec<String> {
        line.split(delimiter).map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
    };
    let names = split(first);
    let is_number = |cell: &String| cell.parse::<f64>().is_ok();
    let cells = if names.iter().all(is_number) && names.len() == 1 {
        vec![Cell::Column(config.parts.first().map_or(0, |part| part.value))]
    } else {
        lines.next();
        cells(&names, config)?
    };
    // The same hand wrote the history, so its times mean the same.
    let times = &config.data.file.dialect.times;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (line, text) in lines {
        match row(line, &split(text), &cells, times) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(format!("line {line}: {problem}")),
        }
    }
    if rows.is_empty() && problems.is_empty() {
        problems.push("has no predictions".to_owned());
    }
    if !problems.is_empty() {
        return Err(first_of(problems));
    }
    let column = |cell: &Cell| match cell {
        Cell::Column(column) => Some(*column),
        Cell::Symbol | Cell::Time => None,
    };
    Ok((cells.iter().filter_map(column).collect(), rows))
}

/// What the columns of a header are.
fn cells(names: &[String], config: &SealConfig) -> Result<Vec<Cell>, Vec<String>> {
    let known = known_columns(config);
    let (mut cells, mut unknown) = (Vec::new(), Vec::new());
    let mut others = 0;
    for name in names {
        let name = name.to_lowercase();
        let cell = match name.as_str() {
            "symbol" | "ticker" => Some(Cell::Symbol),
            "time" | "date" | "timestamp" | "datetime" => Some(Cell::Time),
            name => {
                others += 1;
                let column = known.iter().find(|(known, _)| known == name);
                column.map(|(_, column)| Cell::Column(*column))
            }
        };
        if cell.is_none() {
            unknown.push(excerpt(&name, CELL_CHARS_MAX));
        }
        cells.push(cell);
    }
    // The only column of numbers is the value, whatever it is called.
    if let ([_], 1, Some(place)) = (&unknown[..], others, cells.iter().position(Option::is_none)) {
        cells[place] = known.first().map(|(_, column)| Cell::Column(*column));
        unknown.clear();
    }
    let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
    let names = names.join(", ");
    if !unknown.is_empty() {
        let unknown = unknown.join("`, `");
        return Err(vec![format!(
            "line 1: column `{unknown}` is none of `symbol`, `time`, {names}; remove or rename it"
        )]);
    }
    let cells: Vec<Cell> = cells.into_iter().flatten().collect();
    if !cells.iter().any(|cell| matches!(cell, Cell::Column(_))) {
        return Err(vec![format!("line 1: there is no column {names}")]);
    }
    Ok(cells)
}

/// The names of columns of predictions, and the column of the output that each is.
fn known_columns(config: &SealConfig) -> Vec<(String, usize)> {
    let mut known = Vec::new();
    for PartConfig { horizon_steps, value } in &config.parts {
        let name = match config.parts.len() {
            1 => NAMES[0].to_owned(),
            _ => format!("{}_{horizon_steps}", NAMES[0]),
        };
        known.push((name, *value));
    }
    if let Some([lower, upper]) = config.ends {
        known.push((NAMES[1].to_owned(), lower));
        known.push((NAMES[2].to_owned(), upper));
    }
    known
}

fn row(line: usize, texts: &[String], cells: &[Cell], times: &TimeFormat) -> Result<Row, String> {
    if texts.len() != cells.len() {
        return Err(format!("has {} cells, the header {}", texts.len(), cells.len()));
    }
    let mut row = Row { line, symbol: None, time: None, values: Vec::new() };
    for (text, cell) in texts.iter().zip(cells) {
        let shown = || excerpt(text, CELL_CHARS_MAX);
        match cell {
            Cell::Symbol => row.symbol = Some(text.clone()),
            Cell::Time => {
                let time = times
                    .parse(text)
                    .map_err(|error| format!("`{}` is not a time ({times}): {error}", shown()))?;
                row.time = Some(time);
            }
            Cell::Column(_) => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                row.values.push(number.ok_or_else(|| format!("`{}` is not a number", shown()))?);
            }
        }
    }
    Ok(row)
}
