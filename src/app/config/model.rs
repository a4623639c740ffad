//! The sections `[model]`, `[[models]]` and `[onnxruntime]`: which models run, how, and by which
//! library.
//!
//! Owns the sections' keys and their rules. Never opens a model.

mod promote;
mod several;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::promote::Promotes;
pub use self::several::{ModelConfig, Turns};
use self::words::{CADENCES, MODES};
use super::load::Purpose;
use crate::core::domain::SymbolPatterns;
use crate::engine::model::ModelChoice;
use crate::engine::pipeline::Role;
use crate::engine::symbols::CadencePolicy;
use crate::keep::prove::ProofLimits;
use crate::ports::section::Section;

/// The longest age of a model, in days: a century.
const AGE_DAYS_MAX: usize = 36_500;

/// The longest time for a proof.
const PROOF_SECONDS_MAX: usize = 3600;

/// A proof with less memory would not get as far as loading the runtime.
const PROOF_BYTES_MIN: usize = 64 << 20;

/// The most memory for a proof.
const PROOF_BYTES_MAX: usize = 1 << 40;

/// Reads `[model]` and `[[models]]`: every model, the only one where there is no list, what a proof
/// may take, and how old models may become, in days.
pub(super) fn read(
    root: &mut Section<'_>,
    purpose: Purpose,
) -> (Vec<ModelConfig>, ProofLimits, Option<u32>) {
    let drafts = several::read(root);
    let is_listed = !drafts.is_empty();
    let mut section = root.section("model");
    section.shows(&["root", "name", "version"]);
    let choice = ModelChoice {
        root: section.path("root"),
        name: match purpose {
            Purpose::Serve if !is_listed => section.text("name"),
            _ => section.optional_text("name").unwrap_or_default(),
        },
        version: section.text("version"),
        mode: section.choice("mode", &MODES),
        watch: section.switch("watch"),
    };
    let promotes = promote::read(&mut section);
    if choice.watch && choice.version != "latest" && promotes.is_none() {
        section.problem("watch", "needs version = \"latest\": a version never changes");
    }
    let cadence = section.choice("cadence", &CADENCES);
    let age = section.count("age_days_max", 0, AGE_DAYS_MAX);
    let age = u32::try_from(age).ok().filter(|days| *days > 0);
    let seconds = section.count("proof_seconds_max", 1, PROOF_SECONDS_MAX);
    let bytes = section.count("proof_memory_bytes_max", PROOF_BYTES_MIN, PROOF_BYTES_MAX);
    let proof =
        ProofLimits { time: Duration::from_secs(seconds as u64), memory_bytes: bytes as u64 };
    if is_listed {
        for key in ["name", "version", "mode", "watch", "promote"] {
            if section.is_given(key) {
                let problem = "is for a single model; with [[models]] set it in an entry there";
                section.problem(key, problem);
            }
        }
    }
    section.finish();
    let models = match is_listed {
        true => several::settle(root, drafts, &choice.root, cadence),
        false => vec![only(choice, cadence, promotes)],
    };
    (several::with_turns(root, models), proof, age)
}

/// The only model, which is live and wants every symbol. Where its versions take turns, there are
/// two entries.
fn only(choice: ModelChoice, cadence: CadencePolicy, promotes: Option<Promotes>) -> ModelConfig {
    let takes_turns = promotes.is_some();
    ModelConfig {
        name: Arc::from(&*choice.name),
        is_listed: takes_turns,
        turns: takes_turns.then_some(Turns { other: 0, is_first: true }),
        promotes_by_rule: promotes == Some(Promotes::ByRule),
        choice,
        cadence,
        patterns: Vec::new(),
        symbols: SymbolPatterns::default(),
        role: Role::Live,
        seat: 0,
        blends: Vec::new(),
    }
}

/// Reads the section `[onnxruntime]`: the path of the library, where one is named.
pub(super) fn library(mut section: Section<'_>) -> Option<PathBuf> {
    section.shows(&["library"]);
    let library = section.optional_path("library");
    section.finish();
    library
}
