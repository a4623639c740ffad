//! Tables of text.
//!
//! Owns their shape and their form for a page and for the terminal. Never computes a figure.

use std::fmt::Write as _;

use super::text::prose;

/// A table; the first row and the first column are its heads.
pub type Table = Vec<Vec<Cell>>;

/// One cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// Said more softly, such as an interval.
    pub aside: String,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, aside: String::new() }
    }
}

impl Cell {
    /// A text with a softer one below.
    pub fn with(text: String, aside: String) -> Self {
        Self { text, aside }
    }
}

/// A row of texts.
pub fn row<const CELLS: usize>(cells: [String; CELLS]) -> Vec<Cell> {
    cells.map(Cell::from).to_vec()
}

/// A row of heads.
pub fn heads(heads: &[&str]) -> Vec<Cell> {
    heads.iter().map(|head| Cell::from(*head)).collect()
}

/// Appends a table to a page.
pub(super) fn write(table: &Table, html: &mut String) {
    *html += "<div class=\"scroll\">\n<table>\n";
    for (row, cells) in table.iter().enumerate() {
        *html += "<tr>";
        for (column, Cell { text, aside }) in cells.iter().enumerate() {
            let (tag, scope) = match (row, column) {
                (0, _) => ("th", " scope=\"col\""),
                (_, 0) => ("th", " scope=\"row\""),
                _ => ("td", ""),
            };
            let text = prose(text);
            let _ = match &**aside {
                "" => write!(html, "<{tag}{scope}>{text}</{tag}>"),
                aside => write!(html, "<{tag}{scope}>{text}<span>{}</span></{tag}>", prose(aside)),
            };
        }
        *html += "</tr>\n";
    }
    *html += "</table>\n</div>\n";
}

/// A table for the terminal, its columns in line; dimmed text is below.
pub fn text(table: &Table) -> String {
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for row in table {
        lines.push(row.iter().map(|cell| cell.text.as_str()).collect());
        if row.iter().any(|cell| !cell.aside.is_empty()) {
            lines.push(row.iter().map(|cell| cell.aside.as_str()).collect());
        }
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for cells in &lines {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            line += &if at == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_in_line() {
        let cell = |text: &str, aside: &str| Cell::with(text.to_owned(), aside.to_owned());
        let table = vec![
            vec!["".into(), "model".into(), "drift".into()],
            vec!["skill".into(), Cell::default(), cell("+0.1", "0 to 1")],
            vec!["direction".into(), "50 %".into()],
        ];
        let lines = "           model   drift\n\
                     skill               +0.1\n                  0 to 1\n\
                     direction   50 %\n";
        assert_eq!(text(&table), lines);
    }
}
