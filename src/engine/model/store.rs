//! The folder of models: `<root>/<name>/<version>/`.
//!
//! Owns the order of versions. Promises that `latest` is the highest release by its numbers. Never
//! opens a model.

use std::cmp::Ordering;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::bundle::{MANIFEST_BYTES_MAX, MANIFEST_FILE, quoted};
use super::manifest::Manifest;
use crate::core::text::{excerpt, suggestion};
use crate::engine::files::read_regular_file;

/// The most other versions whose manifests are read, the highest first.
const OTHER_VERSIONS_MAX: usize = 16;

/// Why no bundle is found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such model.
    #[error(
        "model.name: there is no model `{}` in {}; there is {available}{hint}", excerpt(name, 80),
        root.display()
    )]
    Name {
        /// The folder of models.
        root: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        available: String,
        /// What may have been meant.
        hint: String,
    },
    /// The folder of models cannot be listed.
    #[error("model.root: cannot list the models in {}: {error}", root.display())]
    Root {
        /// The folder of models.
        root: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The model's folder cannot be listed.
    #[error("cannot list the versions of model `{name}` in {}: {error}", root.display())]
    List {
        /// The folder of models.
        root: PathBuf,
        /// The model.
        name: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// There is no such version.
    #[error(
        "model `{name}` has no version `{version}` in {}; there is {available}",
        root.display()
    )]
    Version {
        /// The folder of models.
        root: PathBuf,
        /// The model.
        name: String,
        /// What was asked for.
        version: String,
        /// What there is.
        available: String,
    },
}

/// A version of the model that was preferred to the one that runs and does not prove itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedVersion {
    /// The version.
    pub version: String,
    /// Why it is refused, in one line.
    pub reason: String,
}

impl RefusedVersion {
    /// A version, by its folder, and what is wrong with it.
    pub fn new(folder: &Path, reason: impl std::fmt::Display) -> Self {
        let reason = reason.to_string();
        let lines: Vec<_> = reason.lines().map(str::trim).collect();
        Self { version: quoted(&version_of(folder)), reason: lines.join(" ") }
    }
}

/// The version that a folder holds.
pub fn version_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Finds the folder of a model's version; `latest` is the highest.
///
/// # Errors
/// [`StoreError`] naming the folder, and the versions there are.
pub fn locate(root: &Path, name: &str, version: &str) -> Result<PathBuf, StoreError> {
    // There is at least one.
    candidates(root, name, version).map(|mut folders| folders.swap_remove(0))
}

/// The folders of the versions that may run, the preferred one first: for `latest` all of them, the
/// highest first, otherwise the named one alone.
///
/// # Errors
/// [`StoreError`] where there is none, naming the folder, and the versions there are.
pub fn candidates(root: &Path, name: &str, version: &str) -> Result<Vec<PathBuf>, StoreError> {
    let versions = versions(root, name)?;
    let folder = |version: &String| root.join(name).join(version);
    let folders: Vec<_> = match version {
        "latest" => versions.iter().rev().map(folder).collect(),
        version => versions.iter().filter(|known| *known == version).map(folder).collect(),
    };
    if folders.is_empty() {
        return Err(StoreError::Version {
            root: root.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            available: if versions.is_empty() { "none".to_owned() } else { versions.join(", ") },
        });
    }
    Ok(folders)
}

/// The version that a new bundle in the folder of a model gets: the one that is asked for, or one
/// more than the highest that is a number.
///
/// # Errors
/// Where the version is there already, or the folder cannot be listed.
pub fn next_version(folder: &Path, asked: Option<&str>) -> Result<String, String> {
    if let Some(version) = asked {
        if folder.join(version).exists() {
            return Err(format!(
                "{} exists, and a version is never overwritten; name another, or none for the next",
                folder.join(version).display()
            ));
        }
        return Ok(version.to_owned());
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok("1".to_owned()),
        Err(error) => return Err(format!("list {}: {error}", folder.display())),
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    Ok((numbers.max().unwrap_or(0) + 1).to_string())
}

/// The names of the models in a folder, in order: folders that hold a version or may do so.
///
/// # Errors
/// [`StoreError::Root`].
pub fn names(root: &Path) -> Result<Vec<String>, StoreError> {
    let fail = |error| StoreError::Root { root: root.to_owned(), error };
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string())
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What to say of a name that is no model's.
fn unknown(root: &Path, name: &str) -> StoreError {
    /// The most names that an error lists.
    const NAMES_MAX: usize = 20;
    let names = match names(root) {
        Ok(names) => names,
        Err(error) => return error,
    };
    let mut shown: Vec<_> = names.iter().map(|name| excerpt(name, 80)).take(NAMES_MAX).collect();
    if names.len() > NAMES_MAX {
        shown.push(format!("{} more", names.len() - NAMES_MAX));
    }
    StoreError::Name {
        root: root.to_owned(),
        name: name.to_owned(),
        available: if shown.is_empty() { "none".to_owned() } else { shown.join(", ") },
        hint: suggestion(name, names.iter().map(String::as_str)),
    }
}

/// The versions of a model, the highest last.
///
/// # Errors
/// [`StoreError`] where there is no such model, or its folder cannot be listed.
pub fn versions(root: &Path, name: &str) -> Result<Vec<String>, StoreError> {
    let fail = |error| StoreError::List { root: root.to_owned(), name: name.to_owned(), error };
    // A name is one folder, whatever it is made of.
    let mut parts = Path::new(name).components();
    let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if !is_name || !root.join(name).is_dir() {
        return Err(unknown(root, name));
    }
    let mut versions = Vec::new();
    for entry in fs::read_dir(root.join(name)).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let is_bundle = entry.path().join(MANIFEST_FILE).is_file();
        if let (true, Ok(name)) = (is_bundle, entry.file_name().into_string())
            // A leading dot marks a draft.
            && !name.starts_with('.')
        {
            versions.push(name);
        }
    }
    versions.sort_by(|a, b| by_numbers(a, b));
    Ok(versions)
}

/// The manifests of the other versions of a model, the highest first. A version that cannot be read
/// is left out.
pub fn other_manifests<'m>(root: &Path, new: &'m Manifest) -> impl Iterator<Item = Manifest> + 'm {
    let versions = versions(root, &new.name).unwrap_or_default();
    let root = root.to_owned();
    let others = versions.into_iter().rev().filter(|version| *version != new.version);
    others.take(OTHER_VERSIONS_MAX).filter_map(move |version| {
        let path = root.join(&new.name).join(version).join(MANIFEST_FILE);
        serde_json::from_slice(&read_regular_file(&path, MANIFEST_BYTES_MAX).ok()?).ok()
    })
}

/// How a name ranks before its parts are compared, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// No number in it: `archive`.
    Word,
    /// Letters behind the first number: `2-rc1`, `1.0.0-beta.2`. As in semantic versioning, what
    /// follows a `+` does not count.
    PreRelease,
    /// A word before the first number: `rel-10`.
    Named,
    /// A number, also behind a `v`: `10`, `v10`, `1.10.0`, `2026-07-01`.
    Numbered,
}

/// A part of a name; a text comes before a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NamePart<'n> {
    Text(&'n str),
    /// The digits without leading zeros, behind how many there are: the order of their values,
    /// however large.
    Number(usize, &'n str),
}

/// Compares versions as people read them: runs of digits by value, so that 10 comes after 9, `v10`
/// after `v9` and 1.10.0 after 1.9.2; everything else as text. A pre-release or a name without a
/// number never comes after a release, so it is the latest only where there is no release.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let key = |name: &str| rank(name);
    let (plain_a, plain_b) = (without_v(a), without_v(b));
    key(a)
        .cmp(&key(b))
        .then_with(|| name_parts(plain_a).cmp(name_parts(plain_b)))
        .then_with(|| a.cmp(b))
}

fn rank(name: &str) -> Rank {
    let name = without_v(name);
    let Some(first) = name.find(|letter: char| letter.is_ascii_digit()) else { return Rank::Word };
    let (before, behind) = name.split_at(first);
    let behind = behind.split('+').next().unwrap_or_default();
    if behind.contains(char::is_alphabetic) {
        Rank::PreRelease
    } else if before.is_empty() {
        Rank::Numbered
    } else {
        Rank::Named
    }
}

/// The name without a `v` before its number.
fn without_v(name: &str) -> &str {
    let number = name.strip_prefix(['v', 'V']);
    number.filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())).unwrap_or(name)
}

/// The runs of digits and of everything else.
fn name_parts(name: &str) -> impl Iterator<Item = NamePart<'_>> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let is_number = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != is_number);
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        let digits = part.trim_start_matches('0');
        Some(if is_number { NamePart::Number(digits.len(), digits) } else { NamePart::Text(part) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(versions: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for version in versions {
            let folder = root.path().join("m").join(version);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(MANIFEST_FILE), "").unwrap();
        }
        root
    }

    #[test]
    fn finds_the_highest_version_by_its_numbers() {
        let root = models(&["1", "9", "10", "1.10", "1.9", ".11.draft", "12-rc1", "archive"]);
        fs::create_dir_all(root.path().join("m/13")).unwrap();
        let locate = |version| locate(root.path(), "m", version);
        assert_eq!(locate("latest").unwrap(), root.path().join("m/10"));
        assert_eq!(locate("1.9").unwrap(), root.path().join("m/1.9"));
        let error = locate("11").unwrap_err().to_string();
        assert!(error.ends_with("there is archive, 12-rc1, 1, 1.9, 1.10, 9, 10"), "{error}");
        let error = |name| super::locate(root.path(), name, "latest").unwrap_err().to_string();
        let folder = root.path().display();
        for name in ["other", "../m", "..", "/", ""] {
            let expected =
                format!("model.name: there is no model `{name}` in {folder}; there is m");
            assert_eq!(error(name), expected);
        }
        let none = super::locate(&root.path().join("none"), "m", "latest").unwrap_err();
        assert!(none.to_string().starts_with("model.root: cannot list the models in "), "{none}");
        let all = candidates(root.path(), "m", "latest").unwrap();
        let names: Vec<_> = all.iter().map(|folder| folder.file_name().unwrap()).collect();
        assert_eq!(names, ["10", "9", "1.10", "1.9", "1", "12-rc1", "archive"]);
        assert_eq!(candidates(root.path(), "m", "9").unwrap(), [root.path().join("m/9")]);
    }

    #[test]
    fn versions_have_the_order_in_which_people_read_them() {
        for ordered in [
            &["v1", "v2", "v9", "v10", "v11", "v100"][..],
            &["rel-1", "rel-9", "rel-10"],
            &["1.9.1", "1.9.2", "1.10.0", "1.10.1", "2.0.0", "10.0.0"],
            &["2025-12-31", "2026-06-30", "2026-07-01", "2026-10-01"],
            &["20251231T235959Z", "20260701T090000Z"],
            &["1.0.0-alpha", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "0.9.0", "1.0.0"],
            &["v9", "10", "v11"],
            &["archive", "2-rc1", "rel-9", "1"],
            &["1", "1.0", "1.0.1"],
            &["1.0.0+build.9", "1.0.0+build.10", "1.0.1+a"],
            &["9", "99999999999999999999999998", "99999999999999999999999999"],
            &["Ünicode", "7-ünicode", "7"],
        ] {
            for pair in ordered.windows(2) {
                assert_eq!(by_numbers(pair[0], pair[1]), Ordering::Less, "{pair:?}");
                assert_eq!(by_numbers(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            }
        }
        assert_eq!(by_numbers("7", "7"), Ordering::Equal);
        assert_eq!(by_numbers("07", "7"), Ordering::Less, "names differ, so one comes first");
    }
}
