//! The sections `[model]` and `[onnxruntime]`: which model runs, how, and by which library.
//!
//! Owns the sections' keys and their rules. Never opens a model.

use std::path::PathBuf;

use std::time::Duration;

use super::load::Purpose;
use crate::engine::model::ModelChoice;
use crate::engine::model::manifest::Mode;
use crate::engine::symbols::CadencePolicy;
use crate::keep::prove::ProofLimits;
use crate::ports::section::Section;

/// The longest time for a proof.
const PROOF_SECONDS_MAX: usize = 3600;

/// A proof with less memory would not get as far as loading the runtime.
const PROOF_BYTES_MIN: usize = 64 << 20;

/// The most memory for a proof.
const PROOF_BYTES_MAX: usize = 1 << 40;

pub(super) fn read(
    mut section: Section<'_>,
    purpose: Purpose,
) -> (ModelChoice, CadencePolicy, ProofLimits) {
    let modes = [
        ("auto", None),
        ("sliding", Some(Mode::Sliding)),
        ("full", Some(Mode::Full)),
        ("carried", Some(Mode::Carried)),
    ];
    section.shows(&["root", "name", "version"]);
    let config = ModelChoice {
        root: section.path("root"),
        name: match purpose {
            Purpose::Serve => section.text("name"),
            Purpose::Bridge => section.optional_text("name").unwrap_or_default(),
        },
        version: section.text("version"),
        mode: section.choice("mode", &modes),
        watch: section.switch("watch"),
    };
    if config.watch && config.version != "latest" {
        section.problem("watch", "needs version = \"latest\": a version never changes");
    }
    let cadences =
        [("as_trained", CadencePolicy::AsTrained), ("as_it_comes", CadencePolicy::AsItComes)];
    let cadence = section.choice("cadence", &cadences);
    let seconds = section.count("proof_seconds_max", 1, PROOF_SECONDS_MAX);
    let bytes = section.count("proof_memory_bytes_max", PROOF_BYTES_MIN, PROOF_BYTES_MAX);
    let proof =
        ProofLimits { time: Duration::from_secs(seconds as u64), memory_bytes: bytes as u64 };
    section.finish();
    (config, cadence, proof)
}

/// Reads the section `[onnxruntime]`: the path of the library, where one is named.
pub(super) fn library(mut section: Section<'_>) -> Option<PathBuf> {
    section.shows(&["library"]);
    let library = section.optional_path("library");
    section.finish();
    library
}
