//! A TOML file over compiled-in defaults.
//!
//! Owns the way from a file to the checked configuration of a training run, a search or a sealing.
//! Promises that all problems are reported at once, each with its key and line. Never reads the
//! environment.

use std::path::{Path, PathBuf};

use config::{File, FileFormat, Value};

use crate::app::config::ConfigError;
use crate::ops::document::lines_of;
use crate::ops::file::{CONFIGURATION_BYTES_MAX, read_text};
use crate::ports::section::{Origins, Place, Problems, folder_of};

/// Reads the file at `path` with `read`, which gets its text and its folder.
///
/// # Errors
/// [`ConfigError`] with every problem found, or the parser's words where the file is no TOML.
pub fn load<T>(
    path: &Path,
    read: impl FnOnce(&str, PathBuf) -> Result<T, Vec<String>>,
) -> Result<T, ConfigError> {
    let refuse = |problems| ConfigError { path: path.to_owned(), problems };
    let text = read_text(path, CONFIGURATION_BYTES_MAX)
        .map_err(|error| refuse(vec![error.to_string()]))?;
    read(&text, folder_of(path)).map_err(refuse)
}

/// Checks a text over `defaults`, with other values for some keys. Paths are relative to `folder`.
///
/// # Errors
/// Every problem that `check` noted, or why there is nothing to check.
pub fn read<T>(
    (defaults, text): (&str, &str),
    folder: Option<PathBuf>,
    changes: &[(String, Value)],
    check: impl FnOnce(Value, &Problems) -> T,
) -> Result<T, Vec<String>> {
    let mut origins = Origins::new(folder);
    for (key, line) in lines_of(text)? {
        origins.note(&key, Place::Line(line));
    }
    let mut builder = config::Config::builder()
        .add_source(File::from_str(defaults, FileFormat::Toml))
        .add_source(File::from_str(text, FileFormat::Toml));
    for (key, value) in changes {
        builder = builder
            .set_override(key, value.clone())
            .map_err(|_| vec![format!("{key}: is no key, such as `network.lstm[0].units`")])?;
    }
    let tree = builder
        .build()
        .map_err(|_| vec!["the file and the defaults do not go together".to_owned()])?;
    let problems = Problems::of(origins);
    let config = check(Value::new(None, tree.cache.kind), &problems);
    if problems.is_empty() { Ok(config) } else { Err(problems.into_vec()) }
}
