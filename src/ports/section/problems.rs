//! The problems of a configuration, and where each of its values was set.
//!
//! Owns the wording of a problem's place, the hint for an unknown key, and the rule that no problem
//! repeats a value that is not on the list of those that may be shown. Promises that every problem
//! begins with its place, where that is known, and its key. Never reads a file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::ValueKind;

use super::Setting;
use crate::core::text::suggestion;

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "(hidden)";

/// A hidden value of at least so many bytes, one of them no small letter, is replaced in the
/// problems of other keys as well; any other may be an ordinary word.
const DISTINCT_BYTES_MIN: usize = 8;

/// The most sections that a hint for an unknown key names.
const SECTIONS_MAX: usize = 3;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file.
    Line(usize),
    /// A line of a venue's file.
    Venue {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
}

/// Where the values of a configuration were set, by their keys. A key has dots and no quotes.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    places: BTreeMap<String, Place>,
    /// The folder of the configuration file; `None` for a text without a file.
    folder: Option<PathBuf>,
}

/// All problems found so far, each beginning with its key; and every setting that was asked for.
/// Shared by all open sections, so that an adapter can read several at once.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<String>>,
    pub(super) settings: RefCell<Vec<Setting>>,
    /// Sections that are no tables, so that nothing can be said of their keys.
    broken: RefCell<Vec<String>>,
    /// Values that may not be shown, with their keys.
    hidden: RefCell<Vec<(String, String)>>,
    origins: Origins,
}

#[derive(Debug)]
struct Found {
    key: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Problem(String),
    /// An unknown key: its name, and the names that its section knows.
    Unknown {
        name: String,
        known: Vec<&'static str>,
    },
}

impl Origins {
    /// Those of a configuration file in `folder`.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { places: BTreeMap::new(), folder }
    }

    /// Notes where a value was set, over what was noted before.
    pub fn note(&mut self, key: &str, place: Place) {
        self.places.insert(bare(key), place);
    }

    /// Where a value was set; `None` for a default.
    pub fn of(&self, key: &str) -> Option<&Place> {
        self.places.get(&bare(key))
    }

    /// A path that a key names. A relative one belongs to the folder of the file that sets it; that
    /// of a variable and a default to the working directory.
    pub fn path(&self, key: &str, text: &str) -> PathBuf {
        let folder = match self.of(key) {
            Some(Place::Line(_)) => self.folder.as_deref(),
            Some(Place::Venue { path, .. }) => path.parent(),
            Some(Place::Variable(_)) | None => None,
        };
        folder.map_or_else(|| PathBuf::from(text), |folder| folder.join(text))
    }

    /// The words before a problem with a key. A key that was not set has the place of its section.
    fn words(&self, key: &str) -> String {
        if self.folder.is_none() {
            return String::new();
        }
        let key = bare(key);
        let mut part = key.as_str();
        let place = loop {
            if let Some(place) = self.places.get(part) {
                break place;
            }
            match part.rfind(['.', '[']) {
                Some(end) => part = &part[..end],
                None => return String::new(),
            }
        };
        match place {
            Place::Line(line) => format!("line {line}: "),
            Place::Venue { path, line } => format!("{} line {line}: ", path.display()),
            Place::Variable(name) if part == key => format!("{name}: "),
            Place::Variable(_) => String::new(),
        }
    }
}

impl Problems {
    /// None yet, of a configuration whose values were set there.
    pub fn of(origins: Origins) -> Self {
        Self { origins, ..Self::default() }
    }

    /// Takes down the settings that `read` asks for, and none of the problems that it finds.
    pub(super) fn describe(&self, read: impl FnOnce(&Self)) {
        let described = Self::default();
        read(&described);
        self.settings.borrow_mut().extend(described.into_settings());
    }

    /// Where the values were set.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Notes a problem with a key, unless its section is no table: that is the only problem then.
    pub fn add(&self, key: &str, problem: impl std::fmt::Display) {
        self.push(key, What::Problem(problem.to_string()));
    }

    /// Notes a key that nothing reads.
    pub(super) fn add_unknown(&self, key: &str, name: &str, known: Vec<&'static str>) {
        self.push(key, What::Unknown { name: name.to_owned(), known });
    }

    fn push(&self, key: &str, what: What) {
        let is_inside = |section: &String| {
            key.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        if !self.broken.borrow().iter().any(is_inside) {
            self.found.borrow_mut().push(Found { key: key.to_owned(), what });
        }
    }

    /// Notes that nothing can be said of the keys of a section.
    pub(super) fn broken(&self, section: &str) {
        self.broken.borrow_mut().push(section.to_owned());
    }

    /// Notes what does no harm and should be known, such as a secret that others can read.
    pub fn warn(&self, key: &str, warning: impl std::fmt::Display) {
        let text = format!("{}{key}: {warning}", self.origins.words(key));
        let text = self.without_hidden(key, text);
        self.warnings.borrow_mut().push(text);
    }

    /// Keeps the texts of a value out of every problem.
    pub fn hide(&self, key: &str, value: &ValueKind) {
        match value {
            ValueKind::String(text) if !text.is_empty() => {
                self.hidden.borrow_mut().push((bare(key), text.clone()));
            }
            ValueKind::Array(items) => items.iter().for_each(|item| self.hide(key, &item.kind)),
            ValueKind::Table(table) => {
                table.iter().for_each(|(name, item)| {
                    self.hide(&format!("{key}.{name}"), &item.kind);
                });
            }
            _ => {}
        }
    }

    /// Allows the values of a key in problems after all.
    pub(super) fn reveal(&self, key: &str) {
        let key = bare(key);
        self.hidden.borrow_mut().retain(|(of, _)| *of != key);
    }

    /// A text without hidden values: those of the key itself, and distinct ones of others.
    fn without_hidden(&self, key: &str, text: String) -> String {
        let key = bare(key);
        let hidden = self.hidden.borrow();
        let concerns = |(of, value): &&(String, String)| {
            let is_own = *of == key || of.starts_with(&key) || key.starts_with(of.as_str());
            let is_word = |byte: u8| byte.is_ascii_lowercase() || b"_.-".contains(&byte);
            let is_distinct = value.len() >= DISTINCT_BYTES_MIN && !value.bytes().all(is_word);
            is_distinct || (is_own && value.len() > 1)
        };
        hidden.iter().filter(concerns).fold(text, |text, (_, value)| {
            let escaped = value.escape_debug().to_string();
            text.replace(value.as_str(), HIDDEN).replace(&escaped, HIDDEN)
        })
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Everything that was found, in the order of finding.
    pub fn into_vec(self) -> Vec<String> {
        let found = self.found.take();
        found.into_iter().map(|found| self.words_of(&found)).collect()
    }

    fn words_of(&self, Found { key, what }: &Found) -> String {
        let place = self.origins.words(key);
        match what {
            // The key itself may repeat nothing.
            What::Problem(problem) => {
                format!("{place}{key}: {}", self.without_hidden(key, problem.clone()))
            }
            What::Unknown { name, known } => {
                format!("{place}{}: unknown key{}", shown_key(key), self.hint(key, name, known))
            }
        }
    }

    /// What may have been meant by an unknown key: a similar name of its own section, or the same
    /// name in another.
    fn hint(&self, key: &str, name: &str, known: &[&'static str]) -> String {
        let section = key.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
        let settings = self.settings.borrow();
        let home = |setting: &Setting| match setting.key.strip_suffix(name)? {
            "" if !section.is_empty() => Some("the top of the file".to_owned()),
            home => home.strip_suffix('.').map(|home| match home.strip_suffix("[]") {
                Some(list) => format!("`[[{list}]]`"),
                None => format!("`[{home}]`"),
            }),
        };
        let similar = suggestion(name, known.iter().copied());
        if !similar.is_empty() {
            return similar;
        }
        let homes: BTreeSet<_> = settings.iter().filter_map(home).collect();
        if (1..=SECTIONS_MAX).contains(&homes.len()) {
            let homes: Vec<_> = homes.into_iter().collect();
            return format!("; `{name}` belongs to {}", homes.join(" or "));
        }
        String::new()
    }

    /// Everything that does no harm and should be known.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// Every setting that was asked for, in the order of asking.
    pub fn into_settings(self) -> Vec<Setting> {
        self.settings.into_inner()
    }
}

/// The folder of a configuration file, which relative paths in it belong to.
pub fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// An unknown key as it may be shown: it may be anything.
pub fn shown_key(key: &str) -> String {
    const KEY_CHARS_MAX: usize = 128;
    crate::core::text::excerpt(key, KEY_CHARS_MAX)
}

/// A key without the quotes that problems put around a part of it.
fn bare(key: &str) -> String {
    key.replace('"', "")
}
