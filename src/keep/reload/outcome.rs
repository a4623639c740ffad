//! What became of a reload, and what runs.
//!
//! Owns the words, which are part of the HTTP interface. Promises that each outcome has exactly one
//! label. Never decides anything.

use serde::Serialize;

use crate::engine::model::RefusedVersion;
use crate::engine::pipeline::{Pipeline, Role};
use crate::engine::symbols::Inherited;
use crate::keep::roles::GivenRoles;

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
    /// What computes it.
    pub runtime: &'static str,
    /// Why that is ONNX Runtime, where the native runtime was to be used if possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_reason: Option<String>,
    /// Versions that did not prove themselves, at the start or at the last reload, newest first.
    pub refused: Vec<RefusedVersion>,
}

/// A model of the configuration as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedModel {
    /// As the configuration names it.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The seat that it has or is a shadow of.
    #[serde(skip)]
    pub seat: usize,
    /// Of two entries that take turns in a seat: the place of the other one. One of them is live;
    /// the other one has the version to come, or the one before.
    #[serde(skip)]
    pub turns_with: Option<usize>,
    /// Which symbols it wants; empty for all.
    pub symbols: Vec<String>,
    /// What is known of it beside the live model of its seat.
    #[serde(skip)]
    pub rivalry: Rivalry,
    /// Of a blend: the models that it is made of, as the configuration names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blends: Vec<String>,
    /// What runs.
    #[serde(flatten)]
    pub status: ModelStatus,
}

/// A model beside the live one of its seat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rivalry {
    /// Whether it gets the seat when its verdict against the live one is `better`.
    pub by_rule: bool,
    /// Why a shadow is not compared with the live model: what of the two differs.
    pub obstacle: Option<&'static str>,
}

/// Every model of the configuration, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models(pub Vec<ListedModel>);

impl Models {
    /// The first live model.
    pub fn first_live(&self) -> Option<&ListedModel> {
        self.0.iter().find(|model| model.role == Role::Live)
    }

    /// The place of the live model of a seat.
    pub fn live_of(&self, seat: usize) -> Option<usize> {
        self.0.iter().position(|model| model.seat == seat && model.role == Role::Live)
    }

    /// The blend that a model has a part in: such a model is not exchanged while the daemon runs.
    pub(super) fn blend_of(&self, model: usize) -> Option<&str> {
        let name = &self.0.get(model)?.name;
        let blend = self.0.iter().find(|blend| blend.blends.contains(name))?;
        Some(&blend.name)
    }

    /// What is kept of them for a restart.
    pub fn given(&self) -> GivenRoles {
        let live = self.0.iter().filter(|model| model.role == Role::Live);
        let there = |model: &&ListedModel| model.turns_with.is_some() && model.role != Role::Vacant;
        let version =
            |model: &ListedModel| (model.name.clone(), model.status.running.model_version.clone());
        GivenRoles {
            live: live.map(|model| model.name.clone()).collect(),
            versions: self.0.iter().filter(there).map(version).collect(),
        }
    }
}

/// What became of a reload or a promotion.
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
    /// A shadow is live from here on.
    Promoted {
        /// Its name in the configuration.
        name: String,
        /// Its version.
        model_version: String,
        /// The model that was live, and is a shadow now.
        instead_of: String,
        /// Whether a restart keeps it so.
        survives_restart: bool,
    },
    /// It is live already.
    Live {
        /// Its name in the configuration.
        name: String,
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

impl ModelStatus {
    /// The model of a pipeline, to which these versions were preferred.
    pub fn of(pipeline: &Pipeline, refused: Vec<RefusedVersion>) -> Self {
        Self {
            running: RunningModel::of(pipeline),
            runtime: pipeline.computed_by(),
            runtime_reason: pipeline.passed_over().map(str::to_owned),
            refused,
        }
    }
}

impl Outcome {
    /// Those of a reload.
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

    /// The outcome in a word.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Swapped { .. } => "swapped",
            Self::Promoted { .. } => "promoted",
            Self::Live { .. } => "live",
            Self::Unchanged { .. } => "unchanged",
            Self::Kept { .. } => "kept",
            Self::Fatal { .. } => "fatal",
        }
    }
}
