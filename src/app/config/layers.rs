//! The layers of the configuration.
//!
//! Owns their order: the defaults, the venue's file where one is named, the user's file, then
//! `TICKCAST__SECTION__KEY` variables.

use std::collections::HashMap;

use config::{Environment, File, FileFormat, Value, ValueKind};

use super::venue::VenueLayer;
use crate::ports::section::Problems;

/// Every key with its default and the reason for it.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// The prefix of environment variables, which name a key as `TICKCAST__SOURCE__URL`.
pub(super) const PREFIX: &str = "TICKCAST";

/// All layers, one over the other.
pub(super) struct Tree {
    /// What they come to.
    pub(super) value: Value,
    /// The layer of the venue that the upper ones name.
    pub(super) venue: Option<VenueLayer>,
}

/// Lays all layers one over the other. A venue that the upper layers name lies between.
pub(super) fn tree(
    text: &str,
    variables: &HashMap<String, String>,
    problems: &Problems,
) -> Result<Tree, Vec<String>> {
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.clone().into_iter().collect()));
    let layers = |venue: Option<VenueLayer>| {
        let defaults = File::from_str(DEFAULTS, FileFormat::Toml);
        let below = config::Config::builder().add_source(defaults);
        let below = match venue {
            Some(venue) => below.add_source(venue),
            None => below,
        };
        let above = below.add_source(File::from_str(text, FileFormat::Toml));
        above.add_source(environment.clone()).build().map_err(|error| vec![error.to_string()])
    };
    let mut tree = layers(None)?;
    // What is no text is told of when the key is read.
    let name = tree.get_string("source.venue").unwrap_or_default();
    let venue = (!name.is_empty()).then(|| {
        VenueLayer::of(&name).unwrap_or_else(|problem| {
            problems.add("source.venue", problem);
            VenueLayer::nowhere()
        })
    });
    if venue.is_some() {
        tree = layers(venue.clone())?;
    }
    Ok(Tree { value: Value::new(None, tree.cache.kind), venue })
}

/// Whether a key of a section has a value.
pub(super) fn names(tree: &Value, section: &str, key: &str) -> bool {
    let ValueKind::Table(sections) = &tree.kind else { return false };
    match sections.get(section).map(|section| &section.kind) {
        Some(ValueKind::Table(keys)) => keys.contains_key(key),
        _ => false,
    }
}
