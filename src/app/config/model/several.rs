//! The list `[[models]]`: several models of one stream.
//!
//! Owns the keys of an entry and the rules between entries: names are unique, one model at least is
//! live, and every shadow has a live model whose seat it may get. Promises that each problem names
//! the entry by its index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::promote::{self, Promotes};
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
    /// Whether it takes turns with another entry.
    pub turns: Option<Turns>,
    /// Whether it gets its seat when its verdict against the live model there is `better`.
    pub promotes_by_rule: bool,
    /// Of a blend: the entries that it is made of.
    pub blends: Vec<Arc<str>>,
}

/// Of two entries in one seat, one of which is live while the other one has the version to come or
/// the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// The place of the other one.
    pub other: usize,
    /// Whether it is the one that the configuration lists.
    pub is_first: bool,
}

/// Behind the name of the entry that takes turns with the one of that name.
const OTHER: &str = ".other";

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
    promotes: Option<Promotes>,
    blends: Vec<String>,
}

/// What a blend has of its first member, or not at all.
const OF_MEMBERS: [&str; 7] = ["root", "version", "mode", "watch", "cadence", "shadows", "promote"];

/// Reads the entries.
pub(super) fn read(root: &mut Section<'_>) -> Vec<Draft> {
    root.listed("models", read_entry)
}

fn read_entry(mut section: Section<'_>) -> Draft {
    section.shows(&["name", "as", "root", "version", "symbols", "shadows", "blends"]);
    let roles = [("live", Role::Live), ("shadow", Role::Shadow), ("blend", Role::Blend)];
    let role = section.optional_choice("role", &roles).unwrap_or_default();
    for key in OF_MEMBERS {
        if role == Role::Blend && section.contains(key) {
            section.problem(key, "is for a model of its own; a blend has none");
        }
    }
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
    let patterns = section.texts("symbols");
    let symbols = SymbolPatterns::new(patterns.iter().map(String::as_str));
    let symbols = symbols.unwrap_or_else(|error| {
        section.problem("symbols", error);
        SymbolPatterns::default()
    });
    let promotes = promote::read(&mut section);
    let takes_turns = promotes.is_some() && role == Role::Live;
    if watch && version != "latest" && !takes_turns && role != Role::Blend {
        section.problem("watch", "needs version = \"latest\": a version never changes");
    }
    let shadows = section.optional_text("shadows");
    if shadows.is_some() && role == Role::Live {
        section.problem("shadows", "applies to shadows only (role = \"shadow\")");
    }
    let blends = section.texts("blends");
    match (role, &*blends) {
        (Role::Blend, []) => section.problem("blends", "is missing: name the models to blend"),
        (Role::Blend, _) | (_, []) => {}
        _ => section.problem("blends", "applies to blends only (role = \"blend\")"),
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
        promotes,
        blends,
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
    check_names(root, &drafts);
    let live: Vec<_> = drafts.iter().filter(|draft| draft.role == Role::Live).collect();
    if live.is_empty() {
        root.problem(
            "models",
            "no entry is live; remove role from one of them, or set it to \"live\"",
        );
    }
    let mut blend_seats = live.len()..;
    let seats = drafts.iter().enumerate().map(|(index, draft)| {
        if draft.role == Role::Blend {
            return blend_seats.next().unwrap_or_default();
        }
        seat_of(draft, &live).unwrap_or_else(|problem| {
            if !live.is_empty() {
                root.problem(&format!("models[{index}].shadows"), problem);
            }
            0
        })
    });
    let seats: Vec<_> = seats.collect();
    for (index, (draft, seat)) in drafts.iter().zip(&seats).enumerate() {
        let live = live.get(*seat).filter(|_| draft.role == Role::Shadow);
        if let Some(problem) = live.and_then(|live| draft.rule_problem(live)) {
            root.problem(&format!("models[{index}].promote.when"), problem);
        }
    }
    let firsts: Vec<_> =
        (0..drafts.len()).map(|index| first_member(root, &drafts, index)).collect();
    let inherited: Vec<_> = (0..drafts.len())
        .map(|index| {
            let whose = firsts[index].unwrap_or(index);
            let is_own = drafts[whose].role != Role::Shadow || !drafts[whose].patterns.is_empty();
            let of_seat = || live.get(seats[whose]).copied();
            let draft = if is_own { Some(&drafts[whose]) } else { of_seat() };
            draft.map(|draft| (draft.patterns.clone(), draft.symbols.clone()))
        })
        .collect();
    let settled = drafts.into_iter().zip(seats).zip(inherited);
    let settled =
        settled.map(|((draft, seat), inherited)| draft.settled(seat, inherited, folder, cadence));
    let mut settled: Vec<_> = settled.collect();
    for (blend, first) in firsts.into_iter().enumerate() {
        let Some(first) = first else { continue };
        // The bundle of the first member gives the steps, the window and the baselines.
        let ModelConfig { choice, cadence, .. } = settled[first].clone();
        settled[blend].choice = choice;
        settled[blend].cadence = cadence;
    }
    settled
}

/// Looks for names that are there twice.
fn check_names(root: &mut Section<'_>, drafts: &[Draft]) {
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
}

/// The place of the first member of a blend, whose members are looked at; `None` for another entry
/// and for a blend whose members cannot be.
fn first_member(root: &mut Section<'_>, drafts: &[Draft], blend: usize) -> Option<usize> {
    let key = format!("models[{blend}].blends");
    let names = &drafts[blend].blends;
    if drafts[blend].role != Role::Blend {
        return None;
    }
    let mut first = None;
    for (at, name) in names.iter().enumerate() {
        let place = drafts.iter().position(|draft| draft.name == *name);
        let problem = match place.map(|place| &drafts[place]) {
            _ if names[..at].contains(name) => format!("names `{name}` twice"),
            None => format!("`{name}` is the name of no other entry"),
            Some(Draft { role: Role::Blend, .. }) => format!("`{name}` is a blend itself"),
            Some(member) if member.watch || member.takes_turns() => format!(
                "`{name}` changes its version while the daemon runs (watch, promote), and a blend \
                 learns what one version is worth"
            ),
            Some(_) => {
                first = first.or(place);
                continue;
            }
        };
        root.problem(&key, problem);
    }
    first
}

/// The seat of an entry, in the order of the live ones.
fn seat_of(draft: &Draft, live: &[&Draft]) -> Result<usize, String> {
    let place = |name: &str| live.iter().position(|live| live.name == name);
    match (&draft.shadows, draft.role) {
        (_, Role::Live | Role::Vacant | Role::Blend) => Ok(place(&draft.name).unwrap_or_default()),
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
    /// Whether a second entry takes turns with this one.
    fn takes_turns(&self) -> bool {
        self.promotes.is_some() && self.role == Role::Live
    }

    /// Why a rule can never give this shadow the seat of a live entry.
    fn rule_problem(&self, live: &Self) -> Option<String> {
        let name = &live.name;
        if self.promotes != Some(Promotes::ByRule) {
            None
        } else if live.takes_turns() {
            Some(format!(
                "the versions of `{name}` take turns in that seat (promote), so no other shadow \
                 gets it; use \"by_hand\" or leave promote out"
            ))
        } else if !self.patterns.is_empty() && !self.symbols.covers(&live.symbols) {
            Some(format!(
                "this entry does not want every symbol of `{name}`, so it cannot get its seat; \
                 give both the same symbols, or leave promote out"
            ))
        } else {
            None
        }
    }

    /// A shadow wants the symbols of the live model of its seat, and a blend those of its first
    /// member, unless it says which.
    fn settled(
        self,
        seat: usize,
        inherited: Option<(Vec<String>, SymbolPatterns)>,
        folder: &Path,
        cadence: CadencePolicy,
    ) -> ModelConfig {
        let takes_turns = self.takes_turns();
        let own = (self.patterns, self.symbols);
        let inherits = own.0.is_empty() && self.role != Role::Live;
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
            turns: takes_turns.then_some(Turns { other: 0, is_first: true }),
            promotes_by_rule: self.promotes == Some(Promotes::ByRule),
            blends: self.blends.into_iter().map(Arc::from).collect(),
        }
    }
}

/// The same models with another entry behind them for each that takes turns.
pub(super) fn with_turns(root: &mut Section<'_>, mut models: Vec<ModelConfig>) -> Vec<ModelConfig> {
    for first in 0..models.len() {
        if models[first].turns.is_none() {
            continue;
        }
        let name = format!("{}{OTHER}", models[first].name);
        if models.iter().any(|model| *model.name == *name) {
            root.problem(
                "models",
                format_args!("`{name}` is the name of an entry that promote adds"),
            );
        }
        let turns = Some(Turns { other: first, is_first: false });
        let role = Role::Vacant;
        let other = ModelConfig { name: name.into(), role, turns, ..models[first].clone() };
        models[first].turns = Some(Turns { other: models.len(), is_first: true });
        models.push(other);
    }
    models
}
