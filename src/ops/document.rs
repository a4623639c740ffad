//! The text of a configuration file.
//!
//! Owns the reading of TOML as far as its lines go: why a text is none, and on which line each key
//! is. Promises that no error repeats a piece of the text, which may hold a secret. Never knows
//! which keys there are.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::core::text::excerpt;

/// The longest key that is shown, in characters.
const KEY_CHARS_MAX: usize = 128;

/// Finds the line of every key and section, by keys with dots.
///
/// # Errors
/// Where and why the text is no configuration, one line for each reason.
pub fn lines_of(text: &str) -> Result<BTreeMap<String, usize>, Vec<String>> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        let (line, column) = place(text, at);
        vec![format!("line {line}, column {column}: this is no TOML: {}", error.message())]
    })?;
    let mut reader = Reader { text, lines: BTreeMap::new(), problems: Vec::new() };
    reader.table("", table.get_ref());
    if reader.problems.is_empty() { Ok(reader.lines) } else { Err(reader.problems) }
}

struct Reader<'t> {
    text: &'t str,
    lines: BTreeMap<String, usize>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let (line, _) = place(self.text, name.span().start);
            let name = name.get_ref();
            let key = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            self.lines.entry(key.clone()).or_insert(line);
            self.value(&key, value);
        }
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        let fits = match value.get_ref() {
            DeValue::Table(table) => {
                self.table(key, table);
                true
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let key = format!("{key}[{index}]");
                    let (line, _) = place(self.text, item.span().start);
                    self.lines.insert(key.clone(), line);
                    self.value(&key, item);
                }
                true
            }
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).is_ok()
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().parse::<f64>();
                parsed.is_ok_and(|float| float.is_finite() || number.as_str().contains(['i', 'n']))
            }
            _ => true,
        };
        if !fits {
            let (line, _) = place(self.text, value.span().start);
            let key = excerpt(key, KEY_CHARS_MAX);
            self.problems.push(format!("line {line}: {key}: the number is too large"));
        }
    }
}

/// Line and column of a position, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = "a = 1\n[b]\nc.d = 'x'\n\"e.f\" = [1,\n 2]\n[[g]]\nh = 1\n[[g]]\nh = 2\n";
        let lines = lines_of(text).unwrap();
        for (key, line) in [("a", 1), ("b", 2), ("b.c.d", 3), ("b.e.f", 4), ("b.e.f[1]", 5)] {
            assert_eq!(lines.get(key), Some(&line), "{key}");
        }
        assert_eq!((lines["g[0].h"], lines["g[1].h"]), (7, 9));
    }

    #[test]
    fn no_error_repeats_the_text() {
        let secret = "hunter2-SECRET";
        for (text, place) in [
            (format!("a = '{secret}"), "line 1, column "),
            (format!("\n\na = {secret}"), "line 3, column "),
            (secret.to_owned(), "line 1, column "),
            (format!("[{secret}"), "line 1, column "),
            (format!("a = \"\\{secret}\""), "line 1, column "),
            (format!("a = 1\na = '{secret}'"), "line 2, column "),
            (format!("a = '{secret}' {secret}"), "line 1, column "),
            (format!("é = {{ {secret} = }}"), "line 1, column "),
            (format!("a = \"\"\"{secret}"), "line 1, column "),
            (format!("a = 2020-01-01{secret}"), "line 1, column "),
        ] {
            let problems = lines_of(&text).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with(place), "{text}: {problems:?}");
            assert!(!problems[0].contains("hunter2"), "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_number_that_no_setting_can_be_is_named_by_its_key_and_line() {
        let text = "[a]\nb = 1\nc = 18446744073709551616\nd = [1, 9223372036854775808]\ne = 1e999";
        let problems = lines_of(text).unwrap_err();
        let expected = [
            "line 3: a.c: the number is too large",
            "line 4: a.d[1]: the number is too large",
            "line 5: a.e: the number is too large",
        ];
        assert_eq!(problems, expected);
        assert!(lines_of("a = inf\nb = nan\nc = 0x7fff_ffff_ffff_ffff").is_ok());
    }
}
