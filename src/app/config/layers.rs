//! The layers of the configuration.
//!
//! Owns their order: the defaults, the venue's file where one is named, the user's file, then
//! `TICKCAST__SECTION__KEY` variables. Promises that it is known of each value which layer set it,
//! and that no error repeats a piece of a file.

use std::collections::HashMap;
use std::path::Path;

use config::{ConfigError, Environment, File, FileFormat, Value, ValueKind};

use super::venue::VenueLayer;
use crate::ops::document::lines_of;
use crate::ports::section::{Origins, Place, Problems, folder_of};

/// Every key with its default and the reason for it.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// The prefix of environment variables, which name a key as `TICKCAST__SOURCE__URL`.
pub(super) const PREFIX: &str = "TICKCAST";

/// What stands between the parts of a variable's name.
const SEPARATOR: &str = "__";

/// A configuration before it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'i> {
    /// The file's text.
    pub(super) text: &'i str,
    /// Where it was read; `None` for a text without a file.
    pub(super) path: Option<&'i Path>,
    /// The environment.
    pub(super) variables: &'i HashMap<String, String>,
}

/// All layers, one over the other.
pub(super) struct Tree {
    /// What they come to.
    pub(super) value: Value,
    /// The problems so far: that of a venue. They know where each value was set.
    pub(super) problems: Problems,
    /// The layer of the venue that the upper ones name.
    pub(super) venue: Option<VenueLayer>,
}

/// Lays all layers one over the other. A venue that the upper layers name lies between.
pub(super) fn tree(input: Input<'_>) -> Result<Tree, Vec<String>> {
    let Input { text, path, variables } = input;
    let lines = lines_of(text)?;
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(variables.clone().into_iter().collect()));
    let layers = |venue: Option<&VenueLayer>| {
        let defaults = File::from_str(DEFAULTS, FileFormat::Toml);
        let below = config::Config::builder().add_source(defaults);
        let below = match venue {
            Some(venue) => below.add_source(venue.clone()),
            None => below,
        };
        let above = below.add_source(File::from_str(text, FileFormat::Toml));
        above.add_source(environment.clone()).build().map_err(|error| vec![unmixed(&error)])
    };
    let mut upper = Origins::new(path.map(folder_of));
    for (key, line) in lines {
        upper.note(&key, Place::Line(line));
    }
    for name in variables.keys() {
        if let Some(key) = key_of(name) {
            upper.note(&key, Place::Variable(name.clone()));
        }
    }
    let mut tree = layers(None)?;
    // What is no text is reported when the key is read.
    let name = tree.get_string("source.venue").unwrap_or_default();
    if name.is_empty() {
        return Ok(Tree { value: root(tree), problems: Problems::of(upper), venue: None });
    }
    let (venue, problem) = match VenueLayer::of(&name, &upper.path("source.venue", &name)) {
        Ok(venue) => (venue, None),
        Err(problem) => (VenueLayer::nowhere(), Some(problem)),
    };
    tree = layers(Some(&venue))?;
    let problems = Problems::of(venue.origins_below(upper));
    if let Some(problem) = problem {
        problems.add("source.venue", problem);
    }
    Ok(Tree { value: root(tree), problems, venue: Some(venue) })
}

fn root(tree: config::Config) -> Value {
    Value::new(None, tree.cache.kind)
}

/// The key that a variable sets; `None` for a variable of somebody else.
pub(super) fn key_of(variable: &str) -> Option<String> {
    let (prefix, rest) = variable.split_once(SEPARATOR)?;
    let is_ours = prefix.eq_ignore_ascii_case(PREFIX);
    is_ours.then(|| rest.to_lowercase().replace(SEPARATOR, "."))
}

/// Why layers do not go together, without the value that does not.
pub(super) fn unmixed(error: &ConfigError) -> String {
    match error {
        ConfigError::Type { key: Some(key), .. } => format!("{key}: has the wrong type"),
        _ => "the file and the variables do not go together: one sets a key as a table, the other \
              as a value"
            .to_owned(),
    }
}

/// Whether a key of a section has a value.
pub(super) fn names(tree: &Value, section: &str, key: &str) -> bool {
    let ValueKind::Table(sections) = &tree.kind else { return false };
    match sections.get(section).map(|section| &section.kind) {
        Some(ValueKind::Table(keys)) => keys.contains_key(key),
        _ => false,
    }
}

/// Whether a key at the top is a list with something in it.
pub(super) fn lists(tree: &Value, key: &str) -> bool {
    let ValueKind::Table(sections) = &tree.kind else { return false };
    let list = sections.get(key).map(|list| &list.kind);
    matches!(list, Some(ValueKind::Array(items)) if !items.is_empty())
}
