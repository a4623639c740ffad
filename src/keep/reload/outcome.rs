//! What became of a reload, and what runs.
//!
//! Owns the words, which are part of the HTTP interface. Promises that each outcome has exactly one
//! label. Never decides anything.

use serde::Serialize;

use crate::engine::model::RefusedVersion;
use crate::engine::pipeline::Pipeline;
use crate::engine::symbols::Inherited;

/// The model that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningModel {
    /// Its name.
    pub model: String,
    /// Its version.
    pub model_version: String,
    /// How it is driven.
    pub mode: String,
    /// The hash of its ONNX file.
    pub onnx_sha256: String,
}

/// The model that runs, and the versions that were preferred to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    /// The model that runs.
    #[serde(flatten)]
    pub running: RunningModel,
    /// Versions that did not prove themselves, at the start or at the last reload, newest first.
    pub refused: Vec<RefusedVersion>,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Another model runs from here on.
    Swapped {
        /// It.
        #[serde(flatten)]
        model: RunningModel,
        /// Symbols that go on with their windows.
        symbols_kept: usize,
        /// Symbols whose windows were scaled over, and say `patched` until those rows have left.
        symbols_rescaled: usize,
        /// Symbols that begin cold.
        symbols_cold: usize,
    },
    /// The version that is asked for runs already.
    Unchanged {
        /// It.
        #[serde(flatten)]
        model: RunningModel,
        /// The same in words.
        reason: String,
    },
    /// Another version was asked for, and the one that runs was kept.
    Kept {
        /// Why.
        reason: String,
    },
    /// The daemon is ending, or cannot go on.
    Fatal {
        /// Why.
        reason: String,
    },
}

impl RunningModel {
    /// The model of a pipeline.
    pub fn of(pipeline: &Pipeline) -> Self {
        let template = pipeline.template();
        Self {
            model: template.model.clone(),
            model_version: template.model_version.clone(),
            mode: template.mode.to_string(),
            onnx_sha256: pipeline.manifest().onnx_sha256.clone(),
        }
    }
}

impl Outcome {
    pub(super) const LABELS: [&str; 4] = ["swapped", "unchanged", "kept", "fatal"];

    pub(super) fn swapped(model: RunningModel, inherited: Inherited) -> Self {
        let Inherited { kept, rescaled, cold } = inherited;
        Self::Swapped { model, symbols_kept: kept, symbols_rescaled: rescaled, symbols_cold: cold }
    }

    pub(super) fn unchanged(model: RunningModel) -> Self {
        let reason = format!("version {} runs already", model.model_version);
        Self::Unchanged { model, reason }
    }

    pub(super) fn kept(reason: impl std::fmt::Display) -> Self {
        Self::Kept { reason: reason.to_string() }
    }

    /// The value of the label `outcome`.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Swapped { .. } => "swapped",
            Self::Unchanged { .. } => "unchanged",
            Self::Kept { .. } => "kept",
            Self::Fatal { .. } => "fatal",
        }
    }
}
