//! Shadows beside the live model of their seat.
//!
//! Owns which model a shadow is compared with. Promises that it is the live one of its seat, or
//! none where their scores are not of the same truths, and that evidence about another one is
//! dropped whenever a promotion or another version changes it. Never looks at a score.

use std::sync::Arc;

use super::{Pipeline, Pipelines, Post, Role};
use crate::core::verdict::{Pool, RivalId};
use crate::engine::model::rival_obstacle;
use crate::engine::wire::score::ScoreTemplate;

/// The live model that a shadow is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its place in the configuration.
    pub index: usize,
    /// Its name, as scores have it.
    pub model: String,
    /// Its version.
    pub model_version: String,
    /// What tells it from another one in stored states.
    pub(super) id: RivalId,
}

/// What the symbols of a shard say of a shadow and its rival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RivalPool {
    /// The place of the rival in the configuration; `None` where the model is compared with none.
    pub rival: Option<usize>,
    /// The evidence of all symbols.
    pub pool: Pool,
}

impl Pipeline {
    /// The live model that this one, a shadow, is compared with.
    pub fn rival(&self) -> Option<&Rival> {
        self.rival.as_ref()
    }

    /// What all symbols say of the two.
    pub fn rival_pool(&self) -> RivalPool {
        let rival = self.rival.as_ref().map(|rival| rival.index);
        RivalPool { rival, pool: self.engine.scores().rival_pool() }
    }

    fn face(&mut self, rival: Option<Rival>) {
        if self.rival == rival {
            return;
        }
        self.engine.face(rival.as_ref().map(|rival| rival.id));
        let names = rival.as_ref().map(|of| (of.model.clone(), of.model_version.clone()));
        let record = self.template().clone();
        self.scores_as = Arc::new(ScoreTemplate { record, rival: names });
        self.rival = rival;
    }
}

impl Pipelines {
    /// Has each shadow be compared with the live model of its seat, where that is possible.
    pub(super) fn pair(&mut self) {
        let rivals: Vec<_> = (0..self.count()).map(|at| self.rival_of(at)).collect();
        let mut has_shadow = vec![false; rivals.len()];
        rivals.iter().flatten().for_each(|rival| has_shadow[rival.index] = true);
        self.has_rivals = has_shadow.contains(&true);
        for ((pipeline, rival), has_shadow) in self.each_mut().zip(rivals).zip(has_shadow) {
            pipeline.face(rival);
            pipeline.engine_mut().scores_mut().keep_for_shadows(has_shadow);
        }
    }

    fn rival_of(&self, at: usize) -> Option<Rival> {
        let shadow = self.at(at);
        let Post { seat, role: Role::Shadow, .. } = shadow.post() else { return None };
        let is_live = |post: Post| post.role == Role::Live && post.seat == seat;
        let index = self.each().map(|(_, pipeline)| pipeline.post()).position(is_live)?;
        let live = self.at(index);
        rival_obstacle(shadow.manifest(), live.manifest()).is_none().then(|| Rival {
            index,
            model: live.manifest().name.clone(),
            model_version: live.manifest().version.clone(),
            id: live.codec.identity().0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::forecast::Target;
    use crate::engine::model::manifest::{Mode, StepSpec};
    use crate::engine::test_support::manifest;

    #[test]
    fn models_of_one_truth_can_be_compared() {
        let one = manifest(&[Mode::Full]);
        let mut other = manifest(&[Mode::Sliding]);
        (other.name, other.version, other.window_steps) = ("x".to_owned(), "9".to_owned(), 5);
        other.features = vec!["close".to_owned()];
        assert_eq!(rival_obstacle(&one, &other), None);
        let [mut target, mut horizon, mut steps] = [&[Mode::Full]; 3].map(|modes| manifest(modes));
        target.target.kind = Target::NextVolatility;
        horizon.horizon_steps = 2;
        steps.step = StepSpec::time(60);
        for (what, other) in
            [("the target", target), ("the horizon", horizon), ("what a step is", steps)]
        {
            assert_eq!(rival_obstacle(&one, &other), Some(what));
            assert_eq!(rival_obstacle(&other, &one), Some(what));
        }
    }
}
