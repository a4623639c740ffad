//! Models whose forecasts are made of those of others.
//!
//! Owns which models can be blended, what a blend is called, and the way of a forecast from a
//! member to the blends that it is part of. A blend takes a batch when all other models are done
//! with it. Promises that what it says follows from the records alone where no member sheds, and
//! that its states tell one list of members from another. Never runs a member.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::pipelines::Model;
use super::predecessors::{of_other_runtime, of_version};
use super::{Pipeline, Pipelines};
use crate::core::baseline::BaselineKind;
use crate::core::blend::{Expert, MEMBERS_MAX};
use crate::core::domain::EvidenceRanges;
use crate::engine::model::manifest::Manifest;
use crate::engine::state::StateCodec;
use crate::engine::wire::encoder::RecordEncoder;
use crate::engine::wire::forecast::RecordTemplate;
use crate::engine::wire::score::ScoreTemplate;

/// Tells the states of this blend from those of others that a later version may make.
const RULE: &str = "tickcast.blend.v1";

/// How many digits of the digest of its members a blend has as its version.
const VERSION_DIGITS: usize = 12;

/// Behind the name of a member whose forecast is recalibrated.
const RECALIBRATED: &str = ":recalibrated";

/// The models of a blend, the first of which gives its steps, window and baselines.
#[derive(Clone, Debug)]
pub struct BlendMembers {
    /// As the configuration names them.
    names: Vec<Arc<str>>,
    /// Of their models and versions, in hexadecimal.
    digest: String,
    /// What any of them was trained on.
    evidence: Option<EvidenceRanges>,
}

impl BlendMembers {
    /// Models by their names and pipelines, in the order of the blend.
    pub fn of<'p>(members: impl Iterator<Item = (&'p Arc<str>, &'p Pipeline)>) -> Self {
        let mut hash = Sha256::new();
        hash.update(RULE);
        let (mut names, mut evidence) = (Vec::new(), None);
        for (name, pipeline) in members {
            let Manifest { name: model, version, onnx_sha256, .. } = pipeline.manifest();
            for part in [&**name, model, version, onnx_sha256] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            let of_member = pipeline.engine().scores().plan().evidence();
            let merged = evidence.map_or(of_member, |all: EvidenceRanges| all.merged(of_member));
            evidence = Some(merged);
            names.push(Arc::clone(name));
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { names, digest, evidence }
    }
}

/// Why models cannot be blended, by their names and manifests; `None` where they can.
pub fn blend_problem(members: &[(&str, &Manifest)]) -> Option<String> {
    let [(first, manifest), others @ ..] = members else {
        return Some("names no model".to_owned());
    };
    if members.len() > MEMBERS_MAX {
        return Some(format!("names {} models; at most {MEMBERS_MAX} are blended", members.len()));
    }
    let is_baseline =
        |name: &str| BaselineKind::ALL.into_iter().any(|baseline| baseline.label() == name);
    if let Some((name, _)) = members.iter().find(|(name, _)| is_baseline(name)) {
        return Some(format!(
            "`{name}` is the name of a baseline; give the entry another one (as)"
        ));
    }
    others.iter().find_map(|(name, other)| {
        let differences = [
            ("forecasts another target", other.target.kind != manifest.target.kind),
            ("looks another number of steps ahead", other.horizon_steps != manifest.horizon_steps),
            ("has other steps", !other.step.makes_the_steps_of(&manifest.step)),
        ];
        let difference = differences.into_iter().find(|(_, differ)| *differ);
        difference.map(|(what, _)| {
            format!("`{name}` {what} than `{first}`; a blend is made of models of one target")
        })
    })
}

impl Pipeline {
    /// Makes a blend of others out of this pipeline, which is one of the bundle of the first
    /// member; to be called while there is no symbol.
    pub fn blend(&mut self, name: &str, members: BlendMembers) {
        let BlendMembers { names, digest, evidence } = members;
        self.engine.blend(names.len(), evidence.unwrap_or(EvidenceRanges::UNKNOWN));
        // The window of the first member is worth as much here.
        let first = self.manifest.clone();
        self.predecessors.extend(of_version(&first, None, &first));
        let mode = self.template().mode;
        self.manifest.name = name.to_owned();
        self.manifest.version = digest.chars().take(VERSION_DIGITS).collect();
        self.manifest.onnx_sha256 = digest;
        self.manifest.outputs.clear();
        self.onnx_sha256 = self.manifest.onnx_sha256.as_str().into();
        let rounding = self.engine.rounding();
        self.codec = StateCodec::rounded(&self.manifest, mode, rounding);
        self.predecessors.extend(of_other_runtime(&self.manifest, mode, rounding));
        let template = RecordTemplate {
            model: self.manifest.name.clone(),
            model_version: self.manifest.version.clone(),
            outputs: Vec::new(),
            ..self.template().clone()
        };
        let label = |expert: Expert| match expert {
            Expert::Model(at) => names[at].to_string(),
            Expert::Recalibrated(at) => format!("{}{RECALIBRATED}", names[at]),
            Expert::Baseline(kind) => kind.label().to_owned(),
        };
        let experts: Vec<_> = self.engine.experts().into_iter().map(label).collect();
        self.scores_as = Arc::new(ScoreTemplate { record: template.clone(), rival: None });
        self.encoder = RecordEncoder::new(template).with_experts(&experts);
        // Nothing computes a blend, so nothing was passed over.
        self.passed_over = None;
        (self.members, self.experts) = (names, experts);
    }

    /// The models that a blend is made of; none for another model.
    pub fn members(&self) -> &[Arc<str>] {
        &self.members
    }

    /// The experts of a blend, as its forecasts name them; none for another model.
    pub fn experts(&self) -> &[String] {
        &self.experts
    }
}

impl Pipelines {
    /// Has the blends take what the other models have taken since the last time, and say what they
    /// have to say. All others must have said what they have to say. `flush` is as of
    /// [`Pipelines::take`].
    ///
    /// # Errors
    /// Those of `flush`; what is left is not taken then.
    pub fn take_blends<E>(
        &mut self,
        mut flush: impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.has_blends() {
            return Ok(());
        }
        self.pass_on();
        let (models, deferred) = self.models_and_deferred();
        let outcome = models.iter_mut().filter(|model| model.is_blend()).try_for_each(|blend| {
            blend.take_all(deferred.iter(), &mut flush)?;
            flush(&mut blend.pipeline)
        });
        self.end_blends();
        self.drop_deferred();
        outcome
    }

    /// Whether there are any.
    pub fn has_blends(&self) -> bool {
        self.models().iter().any(Model::is_blend)
    }

    /// Hands what the members have said to the blends.
    pub(super) fn pass_on(&mut self) {
        let mut heard = std::mem::take(&mut self.heard);
        for (heard, model) in heard.iter_mut().zip(self.models_mut()) {
            *heard = model.pipeline.engine.take_heard();
        }
        for Model { members, pipeline, .. } in self.models_mut() {
            let places = members.iter().enumerate();
            let said = places.filter_map(|(place, member)| Some((place, &*heard[(*member)?])));
            pipeline.engine.hear_members(said);
        }
        for (heard, model) in heard.iter_mut().zip(self.models_mut()) {
            model.pipeline.engine.give_back(std::mem::take(heard));
        }
        self.heard = heard;
    }

    /// Forgets what the members have said.
    pub(super) fn end_blends(&mut self) {
        self.each_mut().for_each(|pipeline| pipeline.engine.forget_heard());
    }
}

#[cfg(test)]
mod tests;
