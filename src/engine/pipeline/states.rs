//! The states of all models of a stream: to rest, back, and away.
//!
//! Owns which stored state a model goes on from. Each is stored under its model and its symbol. A
//! model takes its own; where the configuration did not know the model when the states were stored,
//! it takes what it can read of another one: the same model under another name, or another version
//! of it, and of several the one that reaches furthest. Promises that a state of its own which it
//! can read goes before any other, that a symbol which loses what was stored of it is named in the
//! outcome, and that a key which no model of the configuration has is ended where states are
//! stored. Never touches a tick.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::pipelines::Model;
use super::stored::parts_of_key;
use super::{ModelLabel, Pipelines, Restored, Role, StoredState};
use crate::core::domain::{DurationNanos, PartitionId};
use crate::core::health::Arrivals;
use crate::engine::inference::InferenceError;
use crate::engine::state::ModelIdentity;

/// The roles, each behind those that it follows.
const FOLLOWING: [Role; 4] = [Role::Live, Role::Vacant, Role::Shadow, Role::Blend];

/// A stored state of one symbol.
struct Candidate<'s> {
    /// The model that it is stored under; `None` for the only one.
    model: Option<&'s str>,
    bytes: &'s Bytes,
    /// Whether its key has its end now and no model can read it.
    is_lost: bool,
}

impl Pipelines {
    /// The models behind the states that [`Pipelines::take_changed`] gives.
    pub fn label(&self) -> ModelLabel {
        let there = |(_, pipeline): &(_, &super::Pipeline)| pipeline.post().role != Role::Vacant;
        let labels: Vec<_> =
            self.each().filter(there).map(|(_, pipeline)| pipeline.label()).collect();
        let texts: Vec<_> = labels.iter().map(|label| &*label.text).collect();
        let text = texts.join("; ");
        ModelLabel {
            identities: labels.into_iter().flat_map(|label| label.identities).collect(),
            text,
        }
    }

    /// The models whose states can be read: these, and other versions of them.
    pub fn readable(&self) -> Vec<ModelIdentity> {
        self.each().flat_map(|(_, pipeline)| pipeline.readable()).collect()
    }

    /// Says when the ticks come that are taken from here on.
    pub fn set_now(&mut self, now: Duration) {
        self.each_mut().for_each(|pipeline| pipeline.engine_mut().set_now(now));
    }

    /// How many symbols still have their recurrent states to be computed, of all models together.
    pub fn asleep_count(&self) -> usize {
        self.each().map(|(_, pipeline)| pipeline.engine().asleep_count()).sum()
    }

    /// Computes the recurrent states of at most `count_max` symbols, the live models first.
    ///
    /// # Errors
    /// [`InferenceError`] where they cannot be computed.
    pub fn wake(&mut self, count_max: usize) -> Result<(), InferenceError> {
        let mut left = count_max;
        for role in [Role::Live, Role::Shadow] {
            for pipeline in self.of_role_mut(role) {
                let count = pipeline.engine().asleep_count().min(left);
                pipeline.engine_mut().wake(count)?;
                left -= count;
            }
        }
        Ok(())
    }

    /// Begins a taking of states. Returns how many symbols of each model have moved since they were
    /// last taken.
    pub fn begin_taking(&mut self) -> Vec<usize> {
        self.each_mut().map(|pipeline| pipeline.engine_mut().begin_taking()).collect()
    }

    /// Hands the stored form of the states of at most `count_max` symbols that have moved to
    /// `sink`, and of no more than `left` of each model, which goes down by them. See
    /// [`Pipeline::take_changed`](super::Pipeline::take_changed).
    ///
    /// Where states are taken at several moments, a model goes behind those that it follows:
    /// shadows behind the live models that they are compared with, and blends behind their members.
    /// The state of a shadow then holds no less of the input than that of its rival, so each score
    /// of the rival that is made again has either been compared or finds its counterpart; and what
    /// a blend has still to hear, its members say again.
    pub fn take_changed(
        &mut self,
        count_max: usize,
        left: &mut [usize],
        sink: impl FnMut(StoredState),
    ) {
        self.take_in_order(FOLLOWING, count_max, left, sink);
    }

    /// As [`Pipelines::take_changed`], of all at one moment. The order is the opposite one: where
    /// only the first of them are stored in the end, a model is ahead of those that it follows here
    /// as well.
    pub fn take_all_changed(&mut self, sink: impl FnMut(StoredState)) {
        let mut left = self.begin_taking();
        let mut order = FOLLOWING;
        order.reverse();
        self.take_in_order(order, usize::MAX, &mut left, sink);
    }

    fn take_in_order(
        &mut self,
        order: [Role; 4],
        count_max: usize,
        left: &mut [usize],
        mut sink: impl FnMut(StoredState),
    ) {
        let mut room = count_max;
        for role in order {
            let models = self.models_mut().iter_mut().zip(left.iter_mut());
            for (Model { pipeline, .. }, left) in models.filter(|(model, _)| model.role() == role) {
                let count = room.min(*left).min(pipeline.engine().changed_count());
                pipeline.take_changed(count, &mut sink);
                (room, *left) = (room - count, *left - count);
                if pipeline.engine().changed_count() == 0 {
                    *left = 0;
                }
            }
        }
        if left.iter().all(|left| *left == 0) {
            // Behind the states that take their place.
            self.orphans.drain(..).for_each(sink);
        }
    }

    /// Has every state count as changed.
    pub fn note_all_changed(&mut self) {
        self.each_mut().for_each(|pipeline| pipeline.engine_mut().note_all_changed());
    }

    /// Has every engine report symbols that have left to the store of states.
    pub fn keep_departures(&mut self) {
        self.each_mut().for_each(|pipeline| pipeline.engine_mut().keep_departures());
    }

    /// Notes that data of every symbol is missing from here on; see
    /// [`Engine::expect_gap`](crate::engine::symbols::Engine::expect_gap). A window goes on behind
    /// at most `gap_steps_max` steps of its model; `None` for any number.
    pub fn expect_gap(&mut self, gap_steps_max: Option<u32>) {
        for pipeline in self.each_mut() {
            let seconds = i64::from(pipeline.manifest().step.interval_seconds);
            let gap_max = DurationNanos::from_seconds(seconds)
                .zip(gap_steps_max)
                .and_then(|(step, count)| step.times(count))
                .unwrap_or(DurationNanos::MAX);
            pipeline.engine_mut().expect_gap(gap_max);
        }
    }

    /// Notes that symbols which turn up in a partition from here on are not new.
    pub fn expect_loss(&mut self, partition: PartitionId) {
        self.each_mut().for_each(|pipeline| pipeline.engine_mut().expect_loss(partition));
    }

    /// Forgets every symbol of a partition. Nothing may be in inference or deferred.
    pub fn evict(&mut self, partition: PartitionId) {
        self.each_mut().for_each(|pipeline| pipeline.engine_mut().evict(partition));
        self.orphans.retain(|orphan| orphan.partition != Some(partition));
    }

    /// Drops what waits for inference, and forgets every symbol.
    ///
    /// # Errors
    /// [`InferenceError`] where a backend fails.
    pub fn clear(&mut self) -> Result<(), InferenceError> {
        self.drop_deferred();
        self.orphans.clear();
        self.each_mut().try_for_each(super::Pipeline::clear)
    }

    /// Whether any model knows a symbol.
    pub fn has_symbol(&self, symbol: &str) -> bool {
        self.each().any(|(_, pipeline)| pipeline.engine().has_symbol(symbol))
    }

    /// Whether every model that wants a symbol has a full window of it; `None` where none wants it.
    pub fn has_full_windows(&self, symbol: &str) -> Option<bool> {
        let models = self.models().iter().filter(|model| model.wants(symbol));
        models
            .map(|model| model.pipeline.engine().has_full_window(symbol))
            .reduce(|all, one| all && one)
    }

    /// How many rows of this length an answer with the whole window has to have, so that no model
    /// that wants the symbol loses a better one; zero where none has a full one.
    pub fn rows_to_replace(&self, symbol: &str, covers: DurationNanos) -> u64 {
        let models = self.models().iter().filter(|model| model.wants(symbol));
        let rows = models.map(|model| model.pipeline.engine().rows_to_replace(symbol, covers));
        rows.max().unwrap_or(0)
    }

    /// Whether every model that wants a symbol has a full window of it that live ticks have moved
    /// on.
    pub fn has_running_windows(&self, symbol: &str) -> bool {
        let mut models = self.models().iter().filter(|model| model.wants(symbol));
        models.all(|model| model.pipeline.engine().has_running_window(symbol))
    }

    /// When ticks of a symbol came to the model that has had one last.
    pub fn arrivals(&self, symbol: &str) -> Option<Arrivals> {
        let of_models = self.each().filter_map(|(_, model)| model.engine().arrivals(symbol));
        of_models.reduce(Arrivals::newer)
    }

    /// Whether a model that wants a symbol makes a step of several rows of this length.
    pub fn has_longer_steps(&self, symbol: &str, covers: DurationNanos) -> bool {
        let mut models = self.models().iter().filter(|model| model.wants(symbol));
        models.any(|model| {
            let seconds = i64::from(model.pipeline.manifest().step.interval_seconds);
            DurationNanos::from_seconds(seconds).is_none_or(|step| step > covers)
        })
    }

    /// Notes that a tick of a symbol came that is taken later. It is a sign of life in each model
    /// that knows the symbol.
    pub fn note_arrival(&mut self, symbol: &str) {
        for model in self.models_mut().iter_mut().filter(|model| model.wants(symbol)) {
            model.pipeline.engine_mut().note_arrival(symbol);
        }
    }

    /// Takes the stored states of symbols over, by their keys, as those of a partition where the
    /// input has places. What cannot be used is named in the outcome, and its symbol begins cold.
    ///
    /// # Errors
    /// [`InferenceError`] where the recurrent states cannot be computed.
    pub fn restore(
        &mut self,
        partition: Option<PartitionId>,
        stored: &[(String, Bytes)],
    ) -> Result<Restored, InferenceError> {
        let mut of_symbol = BTreeMap::<&str, Vec<Candidate<'_>>>::new();
        let mut orphans = Vec::new();
        for (key, bytes) in stored {
            let (model, symbol) = parts_of_key(key);
            let mut is_lost = false;
            if self.owner(model).is_none_or(|owner| !owner.wants(symbol)) {
                is_lost = !self.models().iter().any(|model| model.can_take(symbol, bytes));
                let (model, symbol) = (model.map(Into::into), symbol.to_owned());
                let offset = None;
                orphans.push(StoredState { model, symbol, partition, offset, bytes: None });
            }
            of_symbol.entry(symbol).or_default().push(Candidate { model, bytes, is_lost });
        }
        // By symbol, so that the order does not depend on that of the store.
        orphans.sort_by(|one, other| one.symbol.cmp(&other.symbol));
        self.orphans.extend(orphans);
        let mut restored = Restored::default();
        let is_only = self.count() == 1;
        for model in self.models_mut() {
            let name = model.name.clone();
            let (mut chosen, mut adopted, mut lost) = (Vec::new(), Vec::new(), Vec::new());
            for (symbol, candidates) in of_symbol.iter().filter(|(symbol, _)| model.wants(symbol)) {
                let Choice { state, unread } = model.choose(candidates);
                lost.extend(unread.map(|why| format!("symbol `{symbol}`: {why}")));
                let Some((is_own, bytes)) = state else { continue };
                chosen.push(((*symbol).to_owned(), bytes.clone()));
                adopted.extend((!is_own).then_some(*symbol));
            }
            let mut outcome = model.pipeline.restore(partition, &chosen)?;
            // They are stored under another key, which has its end with the next states.
            adopted.into_iter().for_each(|symbol| model.pipeline.engine_mut().note_changed(symbol));
            outcome.cold.extend(lost);
            if !is_only {
                outcome.cold.iter_mut().for_each(|line| line.insert_str(0, &format!("{name}: ")));
            }
            restored.merge(outcome);
        }
        // A symbol that several models have taken over is one.
        restored.symbol_count = of_symbol.keys().filter(|symbol| self.has_symbol(symbol)).count();
        Ok(restored)
    }

    /// Whether what is stored under a key is the state of a symbol that its model knows.
    pub fn knows_key(&self, key: &str) -> bool {
        let (model, symbol) = parts_of_key(key);
        self.owner(model).is_some_and(|owner| owner.pipeline.engine().has_symbol(symbol))
    }

    /// The model whose states are stored under this name.
    fn owner(&self, model: Option<&str>) -> Option<&Model> {
        self.models().iter().find(|known| known.pipeline.stored_as() == model)
    }
}

/// Which of the stored states of a symbol a model takes.
struct Choice<'s> {
    /// The state, and whether it is the model's own.
    state: Option<(bool, &'s Bytes)>,
    /// Why what was stored of the symbol is lost to the model, in whole or in part.
    unread: Option<String>,
}

impl Model {
    /// Whether the model wants a symbol and can read this state of it.
    fn can_take(&self, symbol: &str, bytes: &[u8]) -> bool {
        self.wants(symbol) && self.pipeline.reach_of(bytes).is_ok()
    }

    /// The stored state that the model goes on from: its own where it can read it, because that is
    /// the state from which the input is read again; else, of those that it can read, the one that
    /// reaches furthest.
    fn choose<'s>(&self, candidates: &[Candidate<'s>]) -> Choice<'s> {
        let is_own = |candidate: &&Candidate<'_>| candidate.model == self.pipeline.stored_as();
        let own = candidates.iter().find(is_own);
        let own = own.map(|own| (own.bytes, self.pipeline.reach_of(own.bytes)));
        if let Some((bytes, Ok(_))) = own {
            return Choice { state: Some((true, bytes)), unread: None };
        }
        let (mut best, mut lost) = (None, None);
        for Candidate { bytes, is_lost, .. } in candidates.iter().filter(|each| !is_own(each)) {
            match self.pipeline.reach_of(bytes) {
                Ok(reach) if best.is_none_or(|(furthest, _)| reach > furthest) => {
                    best = Some((reach, *bytes));
                }
                Ok(_) => {}
                // One that belongs to another model is there for that model.
                Err(problem) if *is_lost => {
                    lost.get_or_insert(problem);
                }
                Err(_) => {}
            }
        }
        let state = best.map(|(_, bytes)| (false, bytes));
        let of_own = own.and_then(|(_, reach)| reach.err());
        Choice { state, unread: of_own.or(lost.filter(|_| state.is_none())) }
    }
}
