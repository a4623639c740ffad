//! The list `[[models]]`: several models of one stream.
//!
//! Owns the keys of an entry and the rules between entries: names are unique, one model at least is
//! live, and every shadow has a live model whose seat it may get. Promises that each problem names
//! the entry by its index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::words::{CADENCES, MODES};
use crate::core::domain::SymbolPatterns;
use crate::engine::model::ModelChoice;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::Role;
use crate::engine::symbols::CadencePolicy;
use crate::ports::section::Section;

/// The most models of one stream: each has an engine of its own in every shard.
const MODELS_MAX: usize = 32;

/// The longest name of an entry, in bytes: it is a label and a part of keys.
const NAME_BYTES_MAX: usize = 64;

/// A model that runs, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// As metrics, requests and stored states name it.
    pub name: Arc<str>,
    /// Whether it is an entry of a list, and not the only model.
    pub is_listed: bool,
    /// Which model it is, and how it is driven.
    pub choice: ModelChoice,
    /// What is expected of the spacing of steps.
    pub cadence: CadencePolicy,
    /// Which symbols it wants, as the configuration has it; empty for all.
    pub patterns: Vec<String>,
    /// The same, compiled.
    pub symbols: SymbolPatterns,
    /// What it does.
    pub role: Role,
    /// The seat that it has, or is a shadow of.
    pub seat: usize,
}

/// An entry before it is held against the others.
pub(super) struct Draft {
    name: String,
    root: Option<PathBuf>,
    model: String,
    version: String,
    mode: Option<Mode>,
    watch: bool,
    cadence: Option<CadencePolicy>,
    patterns: Vec<String>,
    symbols: SymbolPatterns,
    role: Role,
    shadows: Option<String>,
}

/// Reads the entries.
pub(super) fn read(root: &mut Section<'_>) -> Vec<Draft> {
    root.listed("models", read_entry)
}

fn read_entry(mut section: Section<'_>) -> Draft {
    section.shows(&["name", "as", "root", "version", "symbols", "shadows"]);
    let model = section.text("name");
    let name = section.optional_text("as").unwrap_or_else(|| model.clone());
    if !model.is_empty() && !is_name(&name) {
        let problem = format_args!(
            "has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`; it names the model in \
             metrics and requests"
        );
        section.problem("as", problem);
    }
    let version = section.optional_text("version").unwrap_or_else(|| "latest".to_owned());
    let watch = section.optional_switch("watch").unwrap_or_default();
    if watch && version != "latest" {
        section.problem("watch", "needs version = \"latest\": a version never changes");
    }
    let patterns = section.texts("symbols");
    let symbols = SymbolPatterns::new(patterns.iter().map(String::as_str));
    let symbols = symbols.unwrap_or_else(|error| {
        section.problem("symbols", error);
        SymbolPatterns::default()
    });
    let roles = [("live", Role::Live), ("shadow", Role::Shadow)];
    let role = section.optional_choice("role", &roles).unwrap_or_default();
    let shadows = section.optional_text("shadows");
    let promote = section.optional_choice("promote", &[("by_hand", ())]);
    for (key, is_set) in [("shadows", shadows.is_some()), ("promote", promote.is_some())] {
        if is_set && role == Role::Live {
            section.problem(key, "applies to shadows only (role = \"shadow\")");
        }
    }
    let draft = Draft {
        name,
        root: section.optional_path("root"),
        model,
        version,
        mode: section.optional_choice("mode", &MODES).flatten(),
        watch,
        cadence: section.optional_choice("cadence", &CADENCES),
        patterns,
        symbols,
        role,
        shadows,
    };
    section.finish();
    draft
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// Holds the entries against one another.
pub(super) fn settle(
    root: &mut Section<'_>,
    drafts: Vec<Draft>,
    folder: &Path,
    cadence: CadencePolicy,
) -> Vec<ModelConfig> {
    if drafts.len() > MODELS_MAX {
        root.problem("models", format_args!("lists {}; at most {MODELS_MAX} run", drafts.len()));
    }
    let mut first = BTreeMap::<&str, usize>::new();
    for (index, Draft { name, .. }) in drafts.iter().enumerate() {
        if let Some(before) = first.get(&**name) {
            let problem = format_args!(
                "models[{before}] has the name `{name}` already; give one of them another one, \
                 such as as = \"{name}-next\""
            );
            root.problem(&format!("models[{index}].as"), problem);
        } else {
            first.insert(name, index);
        }
    }
    let live: Vec<_> = drafts.iter().filter(|draft| draft.role == Role::Live).collect();
    if live.is_empty() {
        root.problem(
            "models",
            "no entry is live; remove role from one of them, or set it to \"live\"",
        );
    }
    let seats = drafts.iter().enumerate().map(|(index, draft)| {
        seat_of(draft, &live).unwrap_or_else(|problem| {
            if !live.is_empty() {
                root.problem(&format!("models[{index}].shadows"), problem);
            }
            0
        })
    });
    let seats: Vec<_> = seats.collect();
    let inherited: Vec<_> = seats
        .iter()
        .map(|seat| live.get(*seat).map(|live| (live.patterns.clone(), live.symbols.clone())))
        .collect();
    let settled = drafts.into_iter().zip(seats).zip(inherited);
    settled
        .map(|((draft, seat), inherited)| draft.settled(seat, inherited, folder, cadence))
        .collect()
}

/// The seat of an entry, in the order of the live ones.
fn seat_of(draft: &Draft, live: &[&Draft]) -> Result<usize, String> {
    let place = |name: &str| live.iter().position(|live| live.name == name);
    match (&draft.shadows, draft.role) {
        (_, Role::Live) => Ok(place(&draft.name).unwrap_or_default()),
        (Some(name), Role::Shadow) => {
            place(name).ok_or_else(|| format!("`{name}` is the name of no live model"))
        }
        (None, Role::Shadow) => match live {
            [_] => Ok(0),
            _ => {
                let mut same = (0..).zip(live).filter(|(_, live)| live.model == draft.model);
                match (same.next(), same.next()) {
                    (Some((seat, _)), None) => Ok(seat),
                    _ => Err("is missing: name the live model whose seat it may get".to_owned()),
                }
            }
        },
    }
}

impl Draft {
    /// A shadow wants the symbols of the live model of its seat, unless it says which.
    fn settled(
        self,
        seat: usize,
        inherited: Option<(Vec<String>, SymbolPatterns)>,
        folder: &Path,
        cadence: CadencePolicy,
    ) -> ModelConfig {
        let own = (self.patterns, self.symbols);
        let inherits = own.0.is_empty() && self.role == Role::Shadow;
        let (patterns, symbols) = inherited.filter(|_| inherits).unwrap_or(own);
        ModelConfig {
            name: self.name.into(),
            is_listed: true,
            choice: ModelChoice {
                root: self.root.unwrap_or_else(|| folder.to_owned()),
                name: self.model,
                version: self.version,
                mode: self.mode,
                watch: self.watch,
            },
            cadence: self.cadence.unwrap_or(cadence),
            patterns,
            symbols,
            role: self.role,
            seat,
        }
    }
}
