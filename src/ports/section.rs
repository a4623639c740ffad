//! Reading typed values out of a tree of settings, gathering every problem on the way.
//!
//! Owns the wording of problems with keys and types. Promises that each key is either read or
//! reported as unknown, and that whatever is read is taken down with what it may be, so that the
//! reader of a configuration is also its description. Never knows which settings there are.

use std::cell::RefCell;
use std::collections::BTreeMap;

use config::{Value, ValueKind};

use crate::core::domain::TimeFormat;

/// All problems found so far, each beginning with its key; and every setting that was asked for.
/// Shared by all open sections, so that an adapter can read several at once.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<String>>,
    settings: RefCell<Vec<Setting>>,
    /// Sections that are no tables, so that nothing can be said of their keys.
    broken: RefCell<Vec<String>>,
}

/// A setting that somebody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// With its sections, such as `http.bind`.
    pub key: String,
    /// What its values are.
    pub kind: SettingKind,
}

/// What the values of a setting are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// Texts by names that the user chooses.
    Table,
    /// Tables by names that the user chooses.
    Tables,
    /// `true` or `false`.
    Switch,
    /// A whole number between two others, which are included.
    Count {
        /// The smallest.
        min: usize,
        /// The largest.
        max: usize,
    },
    /// A number, with or without a fraction.
    #[cfg(feature = "train")]
    Number,
    /// One of these words.
    Choice(Vec<String>),
    /// A list of tables.
    #[cfg(feature = "train")]
    Sections,
}

/// One table of settings. Keys are taken out as they are read.
pub struct Section<'p> {
    path: String,
    entries: BTreeMap<String, Value>,
    known: Vec<&'static str>,
    problems: &'p Problems,
}

impl Problems {
    /// Notes a problem with a key, unless its section is no table: that is the only problem then.
    pub fn add(&self, key: &str, problem: impl std::fmt::Display) {
        let is_inside = |section: &String| {
            key.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        if !self.broken.borrow().iter().any(is_inside) {
            self.found.borrow_mut().push(format!("{key}: {problem}"));
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Everything that was found, in the order of finding.
    pub fn into_vec(self) -> Vec<String> {
        self.found.into_inner()
    }

    /// Every setting that was asked for, in the order of asking.
    pub fn into_settings(self) -> Vec<Setting> {
        self.settings.into_inner()
    }
}

impl<'p> Section<'p> {
    /// The table of all settings.
    pub fn root(value: Value, problems: &'p Problems) -> Self {
        Self::of(String::new(), value, problems)
    }

    fn of(path: String, value: Value, problems: &'p Problems) -> Self {
        let entries = match value.kind {
            ValueKind::Table(table) => table.into_iter().collect(),
            _ => {
                problems.add(&path, "must be a table");
                problems.broken.borrow_mut().push(path.clone());
                BTreeMap::new()
            }
        };
        Self { path, entries, known: Vec::new(), problems }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take(&mut self, name: &'static str, kind: SettingKind) -> Option<Value> {
        let key = self.key(name);
        self.problems.settings.borrow_mut().push(Setting { key, kind });
        self.take_table(name)
    }

    fn take_table(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.entries.remove(name)
    }

    /// A table inside this one.
    pub fn section(&mut self, name: &'static str) -> Section<'p> {
        let key = self.key(name);
        let value = self.take_table(name).unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        Section::of(key, value, self.problems)
    }

    /// The tables of a table, each laid over these keys of this table, by names that the user
    /// chooses and in their order. Tables in them are laid over one another likewise, so that what
    /// is not set is shared. Call it before the keys are read.
    pub fn variants(&mut self, name: &'static str, shared: &[&str]) -> Vec<(String, Section<'p>)> {
        let Some(value) = self.take(name, SettingKind::Tables) else { return Vec::new() };
        let ValueKind::Table(table) = value.kind else {
            self.problem(name, "must be a table of tables");
            return Vec::new();
        };
        let of_shared = |(key, _): &(&String, &Value)| shared.contains(&key.as_str());
        let base: config::Map<String, Value> = (self.entries.iter().filter(of_shared))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut variants = Vec::with_capacity(table.len());
        for (variant, value) in table {
            let key = format!("{}.{variant}", self.key(name));
            let value = match value.kind {
                ValueKind::Table(own) => {
                    let mut laid = base.clone();
                    lay_over(&mut laid, own);
                    Value::new(None, ValueKind::Table(laid))
                }
                // It is told that this is no table.
                _ => value,
            };
            variants.push((variant, Section::of(key, value, self.problems)));
        }
        variants.sort_by(|(a, _), (b, _)| a.cmp(b));
        variants
    }

    /// Notes a problem with a key of this table.
    pub fn problem(&mut self, name: &str, problem: impl std::fmt::Display) {
        let key = self.key(name);
        self.problems.add(&key, problem);
    }

    /// A text; the empty text where there is none, which is a problem.
    pub fn text(&mut self, name: &'static str) -> String {
        self.try_text(name, SettingKind::Text).unwrap_or_default()
    }

    /// A text; `None` where there is none, which is a problem.
    fn try_text(&mut self, name: &'static str, kind: SettingKind) -> Option<String> {
        match self.take(name, kind).map(|value| value.kind) {
            Some(ValueKind::String(text)) => Some(text),
            Some(other) => {
                self.problem(name, format_args!("must be a text, not {other}"));
                None
            }
            None => {
                self.problem(name, "is missing");
                None
            }
        }
    }

    /// A text that may be missing or empty, which both mean none.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        if self.entries.contains_key(name) {
            Some(self.text(name)).filter(|text| !text.is_empty())
        } else {
            self.take(name, SettingKind::Text);
            None
        }
    }

    /// The keys `time_format` and `time_zone`: how times are read that are texts.
    pub fn time_format(&mut self) -> TimeFormat {
        let format = self.optional_text("time_format");
        let zone = self.optional_text("time_zone");
        TimeFormat::new(format.as_deref(), zone.as_deref()).unwrap_or_else(|error| {
            let key = if error.is_of_zone() { "time_zone" } else { "time_format" };
            self.problem(key, error);
            TimeFormat::default()
        })
    }

    /// Whether a text is there that is not empty. Does not read it.
    pub fn is_set(&self, name: &str) -> bool {
        let text = self.entries.get(name).map(|value| &value.kind);
        matches!(text, Some(ValueKind::String(text)) if !text.is_empty())
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        let Some(value) = self.take(name, SettingKind::Texts) else { return Vec::new() };
        let items = match value.kind {
            ValueKind::Array(items) => items,
            // Variables of the environment are texts: a JSON list of texts, or the only one.
            ValueKind::String(text) => {
                return serde_json::from_str(&text).unwrap_or_else(|_| vec![text]);
            }
            other => {
                self.problem(name, format_args!("must be a list of texts, not {other}"));
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.kind {
                ValueKind::String(text) => texts.push(text),
                other => self.problem(name, format_args!("must hold texts only, not {other}")),
            }
        }
        texts
    }

    /// A table of texts by key; numbers and switches stand as their text. Nested tables are keys
    /// with dots.
    pub fn table(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        if let Some(value) = self.take(name, SettingKind::Table) {
            let key = self.key(name);
            flatten(&key, String::new(), value, &mut texts, self.problems);
        }
        texts
    }

    /// A table of lists of texts by key; a single one stands for a list of one, and numbers and
    /// switches for their text.
    pub fn lists(&mut self, name: &'static str) -> BTreeMap<String, Vec<String>> {
        let Some(value) = self.take(name, SettingKind::Table) else { return BTreeMap::new() };
        let ValueKind::Table(table) = value.kind else {
            self.problem(name, "must be a table");
            return BTreeMap::new();
        };
        let mut lists = BTreeMap::new();
        for (key, value) in table {
            let items = match value.kind {
                ValueKind::Array(items) => items,
                _ => vec![value],
            };
            let is_nested =
                |item: &Value| matches!(item.kind, ValueKind::Table(_) | ValueKind::Array(_));
            if items.iter().any(is_nested) {
                self.problem(&format!("{name}.\"{key}\""), "must be a text or a list of texts");
            } else {
                lists.insert(key, items.into_iter().map(|item| item.kind.to_string()).collect());
            }
        }
        lists
    }

    /// A switch.
    pub fn switch(&mut self, name: &'static str) -> bool {
        let value = self.take(name, SettingKind::Switch).and_then(|value| value.into_bool().ok());
        value.unwrap_or_else(|| {
            self.problem(name, "must be true or false");
            false
        })
    }

    /// A whole number between `min` and `max`; `min` where it is not.
    pub fn count(&mut self, name: &'static str, min: usize, max: usize) -> usize {
        let value = self.take(name, SettingKind::Count { min, max });
        let number = match value.map(|value| value.kind) {
            Some(ValueKind::I64(number)) => usize::try_from(number).ok(),
            // Variables of the environment are texts.
            Some(ValueKind::String(text)) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| (min..=max).contains(number)).unwrap_or_else(|| {
            self.problem(name, format_args!("must be a whole number from {min} to {max}"));
            min
        })
    }

    /// A whole number between `min` and `max` that may be missing.
    pub fn optional_count(&mut self, name: &'static str, min: usize, max: usize) -> Option<usize> {
        if self.entries.contains_key(name) {
            return Some(self.count(name, min, max));
        }
        self.take(name, SettingKind::Count { min, max });
        None
    }

    /// Whether there is such a key. The key counts as known.
    #[cfg(feature = "train")]
    pub fn contains(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        self.entries.contains_key(name)
    }

    /// A number that `fits`; zero where it is not, which is a problem told by `rule`.
    #[cfg(feature = "train")]
    pub fn number(&mut self, name: &'static str, rule: &str, fits: impl Fn(f64) -> bool) -> f64 {
        let number = match self.take(name, SettingKind::Number).map(|value| value.kind) {
            Some(ValueKind::Float(number)) => Some(number),
            // 1 is as good as 1.0. No setting is so large that this rounds.
            Some(ValueKind::I64(number)) => Some(number as f64),
            _ => None,
        };
        number.filter(|number| number.is_finite() && fits(*number)).unwrap_or_else(|| {
            self.problem(name, format_args!("must be a number {rule}"));
            0.0
        })
    }

    /// A list of tables; each is given to `read`, which finishes it.
    #[cfg(feature = "train")]
    pub fn sections<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(Section<'_>) -> T,
    ) -> Vec<T> {
        let value = self.take(name, SettingKind::Sections);
        let Some(ValueKind::Array(items)) = value.map(|value| value.kind) else {
            self.problem(name, "must be a list of tables");
            return Vec::new();
        };
        let key = self.key(name);
        items
            .into_iter()
            .enumerate()
            .map(|(at, item)| read(Section::of(format!("{key}[{at}]"), item, self.problems)))
            .collect()
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let words = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
        let Some(text) = self.try_text(name, SettingKind::Choice(words)) else {
            return choices[0].1;
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        let hint = suggestion(&text, choices.iter().map(|(word, _)| *word));
        let words = words.join(", ");
        self.problem(name, format_args!("`{text}` is none of {words}{hint}"));
        choices[0].1
    }

    /// Reports what nobody asked for.
    pub fn finish(self) {
        for name in self.entries.keys() {
            let key = self.key(name);
            let hint = suggestion(name, self.known.iter().copied());
            self.problems.add(&key, format_args!("unknown key{hint}"));
        }
    }
}

/// Puts the entries of a table over those of another.
fn lay_over(base: &mut config::Map<String, Value>, over: config::Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key).map(|value| &mut value.kind), value.kind) {
            (Some(ValueKind::Table(base)), ValueKind::Table(over)) => lay_over(base, over),
            (_, kind) => {
                base.insert(key, Value::new(None, kind));
            }
        }
    }
}

/// Lays nested tables out as keys with dots, which is how TOML reads `a.b = 1`.
fn flatten(
    section: &str,
    prefix: String,
    value: Value,
    texts: &mut BTreeMap<String, String>,
    problems: &Problems,
) {
    match value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                flatten(section, key, value, texts, problems);
            }
        }
        ValueKind::Array(_) => problems.add(&format!("{section}.{prefix}"), "must be a text"),
        other => {
            texts.insert(prefix, other.to_string());
        }
    }
}

/// `, did you mean ...?` where a known word is close.
pub fn suggestion<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> String {
    /// Two typing errors or a swapped pair in a word of usual length.
    const SIMILARITY_MIN: f64 = 0.6;
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(word, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, known)| format!(", did you mean `{known}`?"))
}

#[cfg(test)]
mod tests;
