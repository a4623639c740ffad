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
            section.problem(key, "is for role = \"shadow\" only");
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
        root.problem("models", "none is live; leave role out of one, or set role = \"live\"");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::parse;

    const SOURCE: &str = "[source]\nurl = 'ws://127.0.0.1:1'\n";

    fn models(text: &str) -> Result<Vec<ModelConfig>, Vec<String>> {
        let parsed = parse(&format!("{SOURCE}{text}"));
        parsed.map(|config| config.models).map_err(|error| error.problems)
    }

    fn problems(text: &str) -> Vec<String> {
        models(text).unwrap_err()
    }

    #[test]
    fn a_single_model_is_one_live_model_of_every_symbol() {
        let [only] = models("[model]\nname = 'm'\n").unwrap().try_into().unwrap();
        assert_eq!((&*only.name, only.is_listed, only.role), ("m", false, Role::Live));
        assert!(only.symbols.is_all() && only.choice.version == "latest");
    }

    #[test]
    fn entries_have_seats_and_shadows_the_symbols_of_theirs() {
        let text = "[model]\nroot = 'shared'\ncadence = 'as_it_comes'\n\
            [[models]]\nname = 'vol'\nversion = '3'\nsymbols = ['BTC*']\n\
            [[models]]\nname = 'tend'\nmode = 'full'\nroot = 'own'\ncadence = 'as_trained'\n\
            [[models]]\nname = 'vol'\nas = 'vol-next'\nrole = 'shadow'\nwatch = true\n\
            [[models]]\nname = 'other'\nrole = 'shadow'\nshadows = 'tend'\nsymbols = ['A']\n\
            promote = 'by_hand'\n";
        let all = models(text).unwrap();
        let names: Vec<_> =
            all.iter().map(|model| (&*model.name, model.role, model.seat)).collect();
        let expected = [
            ("vol", Role::Live, 0),
            ("tend", Role::Live, 1),
            ("vol-next", Role::Shadow, 0),
            ("other", Role::Shadow, 1),
        ];
        assert_eq!(names, expected);
        assert!(all.iter().all(|model| model.is_listed));
        assert_eq!(all[2].patterns, ["BTC*"]);
        assert!(all[2].symbols.wants("BTCUSDT") && !all[2].symbols.wants("ETH"));
        assert_eq!(all[3].patterns, ["A"]);
        assert_eq!(all[0].choice.root, Path::new("shared"));
        assert_eq!((&all[1].choice.root, all[1].choice.mode), (&"own".into(), Some(Mode::Full)));
        let cadences = all.iter().map(|model| model.cadence == CadencePolicy::AsTrained);
        assert_eq!(cadences.collect::<Vec<_>>(), [false, true, false, false]);
        assert_eq!((&*all[0].choice.version, &*all[2].choice.version), ("3", "latest"));
    }

    #[test]
    fn every_problem_names_its_entry() {
        let text = "[model]\nname = 'm'\nwatch = true\n\
            [[models]]\nname = 'a'\nrole = 'shadow'\nshadows = 'nobody'\n\
            [[models]]\nnam = 'b'\nmode = 'slidign'\n\
            [[models]]\nname = 'c'\nshadows = 'c'\nsymbols = ['']\npromote = 'better'\n\
            [[models]]\nname = 'c'\nversion = '1'\nwatch = true\n";
        let found = problems(text);
        for expected in [
            "models[0].shadows: `nobody` is the name of no live model",
            "models[1].name: is missing",
            "models[1].mode: `slidign` is none of `auto`, `sliding`, `full`, `carried`, did you \
             mean `sliding`?",
            "models[1].nam: unknown key, did you mean `name`?",
            "models[2].symbols: a symbol has 1 to 256 bytes, all of them printable",
            "models[2].promote: `better` is none of `by_hand`",
            "models[2].shadows: is for role = \"shadow\" only",
            "models[3].watch: needs version = \"latest\": a version never changes",
            "models[3].as: models[2] has the name `c` already; give one of them another one, such \
             as as = \"c-next\"",
            "model.name: is for a single model; with [[models]] set it in an entry there",
            "model.watch: is for a single model; with [[models]] set it in an entry there",
        ] {
            assert!(found.iter().any(|found| found == expected), "{expected} in {found:#?}");
        }
        let none = "[[models]]\nname = 'a'\nrole = 'shadow'\n";
        assert_eq!(
            problems(none),
            ["models: none is live; leave role out of one, or set role = \"live\""]
        );
        let unclear = "[[models]]\nname = 'a'\n[[models]]\nname = 'b'\n\
            [[models]]\nname = 'c'\nrole = 'shadow'\n";
        assert_eq!(
            problems(unclear),
            ["models[2].shadows: is missing: name the live model whose seat it may get"]
        );
        let list = problems("models = 3\n").join("\n");
        assert!(list.contains("source"), "a key behind a table belongs to it: {list}");
        let name = problems("[[models]]\nname = 'a'\nas = 'a b'\n").join("\n");
        assert!(name.starts_with("models[0].as: has 1 to 64 letters"), "{name}");
    }
}
