//! The folder of models: `<root>/<name>/<version>/`.
//!
//! Owns the choice of a version. Promises that `latest` is the highest version by its numbers.
//! Never opens a model.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::bundle::{MANIFEST_BYTES_MAX, MANIFEST_FILE};
use super::manifest::Manifest;

/// The most other versions whose manifests are read, the highest first.
const OTHER_VERSIONS_MAX: usize = 16;

/// Why no bundle is found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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

/// Finds the folder of a model's version; `latest` is the highest.
///
/// # Errors
/// [`StoreError`] naming the folder, and the versions there are.
pub fn locate(root: &Path, name: &str, version: &str) -> Result<PathBuf, StoreError> {
    let versions = versions(root, name)?;
    let chosen = match version {
        "latest" => versions.last(),
        version => versions.iter().find(|known| *known == version),
    };
    match chosen {
        Some(chosen) => Ok(root.join(name).join(chosen)),
        None => Err(StoreError::Version {
            root: root.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            available: if versions.is_empty() { "none".to_owned() } else { versions.join(", ") },
        }),
    }
}

/// The versions of a model, the highest last.
fn versions(root: &Path, name: &str) -> Result<Vec<String>, StoreError> {
    let fail = |error| StoreError::List { root: root.to_owned(), name: name.to_owned(), error };
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
        let within = fs::metadata(&path).is_ok_and(|file| file.len() <= MANIFEST_BYTES_MAX as u64);
        let text = within.then(|| fs::read(&path).ok()).flatten()?;
        serde_json::from_slice(&text).ok()
    })
}

/// Compares versions part by part between dots: numbers by value, so that 10 comes after 9 and 1.10
/// after 1.9; anything else by its text and before every number, so that `2-rc1` and `archive` are
/// never the latest beside a numbered version.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let part = |part: &str| (part.parse::<u64>().ok(), part.to_owned());
    let parts = |text: &str| text.split('.').map(part).collect::<Vec<_>>();
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_highest_version_by_its_numbers() {
        let root = tempfile::tempdir().unwrap();
        for version in ["1", "9", "10", "1.10", "1.9", ".11.draft", "12-rc1", "archive"] {
            let folder = root.path().join("m").join(version);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(MANIFEST_FILE), "").unwrap();
        }
        fs::create_dir_all(root.path().join("m/13")).unwrap();
        let locate = |version| locate(root.path(), "m", version);
        assert_eq!(locate("latest").unwrap(), root.path().join("m/10"));
        assert_eq!(locate("1.9").unwrap(), root.path().join("m/1.9"));
        let error = locate("11").unwrap_err().to_string();
        assert!(error.ends_with("there is 12-rc1, archive, 1, 1.9, 1.10, 9, 10"), "{error}");
        assert!(super::locate(root.path(), "other", "latest").is_err());
    }
}
