//! Reading typed values out of a tree of settings, gathering every problem on the way.
//!
//! Owns the wording of problems with keys and types. Promises that each key is either read or
//! reported as unknown; that whatever is read is taken down with what it may be, so that the reader
//! of a configuration is also its description; and that a text is shown, in a problem or by
//! `tickcast config show`, only where its reader lists it. Never knows which settings there are.

mod problems;

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Value, ValueKind};

pub use self::problems::{HIDDEN, Origins, Place, Problems, folder_of, shown_key};
use crate::core::domain::TimeFormat;
use crate::core::text::excerpt;
pub use crate::core::text::suggestion;
use crate::ops::file;

/// A setting that somebody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// With its sections, such as `http.bind`.
    pub key: String,
    /// What its values are.
    pub kind: SettingKind,
    /// Whether everybody may read its value. A number, a switch and a choice are always shown.
    pub is_shown: bool,
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
    Number,
    /// A list of numbers.
    Numbers,
    /// One of these words.
    Choice(Vec<String>),
    /// A list of tables.
    Sections,
}

/// One table of settings. Keys are taken out as they are read.
pub struct Section<'p> {
    path: String,
    entries: BTreeMap<String, Value>,
    known: Vec<&'static str>,
    /// The texts that everybody may read.
    shown: Shown,
    problems: &'p Problems,
}

/// Which texts of a section everybody may read.
#[derive(Clone, Debug)]
enum Shown {
    Listed(Vec<&'static str>),
    All,
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
                problems.broken(&path);
                BTreeMap::new()
            }
        };
        let shown = Shown::Listed(Vec::new());
        Self { path, entries, known: Vec::new(), shown, problems }
    }

    /// Lists texts that everybody may read, before they are read. All others are hidden.
    pub fn shows(&mut self, names: &[&'static str]) {
        if let Shown::Listed(shown) = &mut self.shown {
            shown.extend(names);
        }
    }

    /// Lists every text of this section and of those inside it: none of them can be a secret.
    pub fn shows_all(&mut self) {
        self.shown = Shown::All;
    }

    fn is_shown(&self, name: &str) -> bool {
        match &self.shown {
            Shown::Listed(shown) => shown.contains(&name),
            Shown::All => true,
        }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take(&mut self, name: &'static str, kind: SettingKind) -> Option<Value> {
        let key = self.key(name);
        let is_shown = self.is_shown(name) || kind.is_closed();
        let value = self.take_table(name);
        if let Some(value) = value.as_ref().filter(|value| !is_shown || !kind.admits(value)) {
            self.problems.hide(&key, &value.kind);
        }
        self.problems.settings.borrow_mut().push(Setting { key, kind, is_shown });
        value
    }

    fn take_table(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.entries.remove(name)
    }

    /// A table inside this one.
    pub fn section(&mut self, name: &'static str) -> Section<'p> {
        let key = self.key(name);
        let value = self.take_table(name).unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        self.inside(key, value)
    }

    /// A section whose texts are shown where all of this section are.
    fn inside(&self, path: String, value: Value) -> Section<'p> {
        let inside = Section::of(path, value, self.problems);
        let all = matches!(self.shown, Shown::All);
        Section { shown: if all { Shown::All } else { inside.shown }, ..inside }
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
            variants.push((variant, self.inside(key, value)));
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
                self.problem(name, format_args!("must be a text, not {}", type_of(&other)));
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

    /// The path of a file or folder, which may be missing or empty. A relative path belongs to the
    /// folder of the file that sets it.
    pub fn optional_path(&mut self, name: &'static str) -> Option<PathBuf> {
        let text = self.optional_text(name)?;
        Some(self.path_of(name, &text))
    }

    /// As [`Section::optional_path`]; a missing one is a problem.
    pub fn path(&mut self, name: &'static str) -> PathBuf {
        let text = self.text(name);
        self.path_of(name, &text)
    }

    /// The path that a text of a key means.
    pub fn path_of(&self, name: &str, text: &str) -> PathBuf {
        self.problems.origins().path(&self.key(name), text)
    }

    /// The path of a file that holds a secret, by a text of a key: warns where others can read the
    /// file. A text that leads to no file stays hidden, because it may be the secret itself.
    pub fn secret_path_of(&mut self, name: &str, text: &str) -> PathBuf {
        let path = self.path_of(name, text);
        let key = self.key(name);
        if path.exists() {
            self.problems.reveal(&key);
        }
        if file::is_world_readable(&path) {
            let path = path.display();
            let advice = format_args!("every user can read `{path}`; use chmod 600 or 640");
            self.problems.warn(&key, advice);
        }
        path
    }

    /// Whether a key is set and not left at its default.
    pub fn is_given(&self, name: &str) -> bool {
        self.problems.origins().of(&self.key(name)).is_some()
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
                self.problem(
                    name,
                    format_args!("must be a list of texts, not {}", type_of(&other)),
                );
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.kind {
                ValueKind::String(text) => texts.push(text),
                other => self
                    .problem(name, format_args!("must hold texts only, not {}", type_of(&other))),
            }
        }
        texts
    }

    /// A table of texts by key; numbers and switches stand as their text. Nested tables are keys
    /// with dots.
    pub fn table(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        if let Some(value) = self.take(name, SettingKind::Table) {
            if !matches!(value.kind, ValueKind::Table(_)) {
                self.problem(name, "must be a table");
                return texts;
            }
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
        let value = match self.take(name, SettingKind::Switch).map(|value| value.kind) {
            Some(ValueKind::Boolean(value)) => Some(value),
            // Variables of the environment are texts.
            Some(ValueKind::String(text)) => text.parse().ok(),
            _ => None,
        };
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
    pub fn contains(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        self.entries.contains_key(name)
    }

    /// A number that `fits`; zero where it is not, which is a problem told by `rule`.
    pub fn number(&mut self, name: &'static str, rule: &str, fits: impl Fn(f64) -> bool) -> f64 {
        let number = match self.take(name, SettingKind::Number).map(|value| value.kind) {
            Some(ValueKind::Float(number)) => Some(number),
            // 1 is as good as 1.0. No setting is so large that this rounds.
            Some(ValueKind::I64(number)) => Some(number as f64),
            // Variables of the environment are texts.
            Some(ValueKind::String(text)) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| number.is_finite() && fits(*number)).unwrap_or_else(|| {
            self.problem(name, format_args!("must be a number {rule}"));
            0.0
        })
    }

    /// A list of finite numbers; a single number stands for a list of one. `None` where the key is
    /// missing.
    pub fn numbers(&mut self, name: &'static str) -> Option<Vec<f64>> {
        let value = self.take(name, SettingKind::Numbers)?;
        let items = match value.kind {
            ValueKind::Array(items) => items,
            _ => vec![value],
        };
        let number = |item: &Value| match item.kind {
            ValueKind::Float(number) => Some(number).filter(|number| number.is_finite()),
            // No setting is so large that this rounds.
            ValueKind::I64(number) => Some(number as f64),
            _ => None,
        };
        let numbers: Option<Vec<f64>> = items.iter().map(number).collect();
        if numbers.is_none() {
            self.problem(name, "must be a list of numbers");
        }
        numbers.or_else(|| Some(Vec::new()))
    }

    /// The items of a list, whatever they are; `None` where the key is missing. They are not taken
    /// down: what they may be is for another configuration to say.
    pub fn items(&mut self, name: &'static str) -> Option<Vec<Value>> {
        match self.take_table(name)?.kind {
            ValueKind::Array(items) => Some(items),
            other => {
                self.problem(name, format_args!("must be a list, not {}", type_of(&other)));
                Some(Vec::new())
            }
        }
    }

    /// The tables of a list, which may be missing; each is given to `read`, which finishes it. What
    /// such a table may hold is taken down once, under the key of the list with `[]` behind it.
    pub fn listed<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(Section<'_>) -> T,
    ) -> Vec<T> {
        let key = self.key(name);
        let nothing = Value::new(None, ValueKind::Table(config::Map::new()));
        self.problems.describe(|described| {
            read(Section::of(format!("{key}[]"), nothing, described));
        });
        let items = match self.take_table(name).map(|value| value.kind) {
            None => return Vec::new(),
            Some(ValueKind::Array(items)) => items,
            Some(other) => {
                self.problems.hide(&key, &other);
                self.problem(
                    name,
                    format_args!("must be a list of tables, not {}", type_of(&other)),
                );
                return Vec::new();
            }
        };
        let items = items.into_iter().enumerate();
        items.map(|(at, item)| read(self.inside(format!("{key}[{at}]"), item))).collect()
    }

    /// A list of tables; each is given to `read`, which finishes it.
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
            .map(|(at, item)| read(self.inside(format!("{key}[{at}]"), item)))
            .collect()
    }

    /// One of a few words that may be missing.
    pub fn optional_choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        if self.entries.contains_key(name) {
            return Some(self.choice(name, choices));
        }
        let words = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
        self.take(name, SettingKind::Choice(words));
        None
    }

    /// A switch that may be missing.
    pub fn optional_switch(&mut self, name: &'static str) -> Option<bool> {
        if self.entries.contains_key(name) {
            return Some(self.switch(name));
        }
        self.take(name, SettingKind::Switch);
        None
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
        let text = excerpt(&text, CHOICE_CHARS_MAX);
        self.problem(name, format_args!("`{text}` is none of {words}{hint}"));
        choices[0].1
    }

    /// Reports what nobody asked for.
    pub fn finish(self) {
        for (name, value) in &self.entries {
            let key = self.key(name);
            self.problems.hide(&key, &value.kind);
            self.problems.add_unknown(&key, name, self.known.clone());
        }
    }
}

impl SettingKind {
    /// Whether its values are numbers or words of a list, which tell nothing.
    fn is_closed(&self) -> bool {
        match self {
            Self::Text | Self::Texts | Self::Table | Self::Tables => false,
            Self::Switch | Self::Count { .. } | Self::Choice(_) => true,
            Self::Number | Self::Numbers => true,
            Self::Sections => false,
        }
    }

    /// Whether a value is of this kind. One of another kind may be a secret in the wrong place.
    pub fn admits(&self, value: &Value) -> bool {
        let is_text = |value: &Value| matches!(value.kind, ValueKind::String(_));
        match (self, &value.kind) {
            (Self::Text | Self::Choice(_), kind) => matches!(kind, ValueKind::String(_)),
            (Self::Texts, ValueKind::Array(items)) => items.iter().all(is_text),
            (Self::Texts, kind) => matches!(kind, ValueKind::String(_)),
            (Self::Switch, ValueKind::String(text)) => text.parse::<bool>().is_ok(),
            (Self::Switch, kind) => matches!(kind, ValueKind::Boolean(_)),
            (Self::Count { .. }, ValueKind::String(text)) => text.parse::<u64>().is_ok(),
            (Self::Count { .. }, kind) => {
                matches!(kind, ValueKind::I64(_) | ValueKind::Float(_))
            }
            (Self::Table | Self::Tables, kind) => matches!(kind, ValueKind::Table(_)),
            (Self::Number, kind) => matches!(kind, ValueKind::I64(_) | ValueKind::Float(_)),
            (Self::Numbers, ValueKind::Array(items)) => {
                items.iter().all(|item| Self::Number.admits(item))
            }
            (Self::Numbers, _) => Self::Number.admits(value),
            (Self::Sections, kind) => matches!(kind, ValueKind::Array(_)),
        }
    }
}

/// The longest word that is shown where another was expected.
const CHOICE_CHARS_MAX: usize = 40;

/// The type of a value, for a problem that must not repeat it.
fn type_of(value: &ValueKind) -> &'static str {
    match value {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "a switch",
        ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => "a number",
        ValueKind::String(_) => "a text",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
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

/// The seconds of a time such as `90s`, `15m`, `36h` or `7d`; `None` for any other text.
pub fn seconds_of(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let seconds_each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    let count = digits.parse::<i64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    count?.checked_mul(seconds_each)
}

#[cfg(test)]
mod tests;
