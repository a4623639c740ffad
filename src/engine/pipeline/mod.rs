//! The path from a record's bytes to a forecast's bytes: what `serve` and `replay` both drive, so
//! that replay equals live.
//!
//! Owns the engine and the wire form of one model ([`Pipeline`]), and the one decoder before all
//! models of a stream ([`Pipelines`]). Promises that the order and the bytes of forecasts depend on
//! the records alone, not on how they were chunked. Never does I/O on the path or reads a clock.

mod blend;
mod choose;
mod deferred;
mod fill;
mod pipelines;
mod predecessors;
mod prove;
mod rival;
mod role;
mod settings;
mod states;
mod stored;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::core::domain::{
    DurationNanos, Field, Forecast, Member, PartitionId, Position, Reject, Rejection, Schema,
    Symbol, Tick, UnixNanos,
};
use crate::core::forecast::ForecastKinds;
use crate::core::health::CLOCK_ERROR_MAX;
use crate::core::score::Score;
use crate::core::verdict::{LEVEL, LedgerRule, Steps, Verdict};
use crate::engine::inference::{InferenceError, Runtime};
use crate::engine::model::manifest::{Manifest, Mode};
use crate::engine::model::{Bundle, BundleError, Heritage};
use crate::engine::state::{ModelIdentity, StateCodec, StateError};

pub use self::blend::{BlendMembers, blend_problem};
pub use self::choose::{ChoiceError, Chosen, Named, TakenVersion, choose, choose_beside};
pub use self::fill::{Asked, Incoming, Taken};
pub use self::pipelines::{Pipelines, StreamModel, StreamTally};
pub use self::prove::{InProcess, Prover, Unproven};
pub use self::rival::{Rival, RivalPool};
pub use self::role::{Post, Role};
pub use self::settings::PipelineSettings;
pub use self::stored::{ModelLabel, Restored, StoredState, Tried, parts_of_key};

use self::predecessors::{Predecessor, of_other_runtime, of_version, predecessors};
use self::stored::Read;
use crate::engine::symbols::{Departure, Engine, Haste, Inherited, Pushed, SymbolSnapshot};
use crate::engine::wire::encoder::RecordEncoder;
use crate::engine::wire::forecast::{OutputTemplate, RecordTemplate};
use crate::engine::wire::score::{ScoreTemplate, UnencodedScore};

/// One model's path from records to forecasts.
pub struct Pipeline {
    engine: Engine,
    /// Fields without which a tick is refused.
    required: Vec<Field>,
    encoder: RecordEncoder,
    /// What its scores have in common.
    scores_as: Arc<ScoreTemplate>,
    codec: StateCodec,
    /// How far the event time of a record may lie ahead of its reception.
    future_max: Option<DurationNanos>,
    manifest: Manifest,
    /// Other versions whose states can be read.
    predecessors: Vec<Predecessor>,
    forecasts: Vec<Forecast>,
    kinds: ForecastKinds,
    buffer: Vec<u8>,
    onnx_sha256: Arc<str>,
    /// Why the fallback of the runtime computes the model, where it does.
    passed_over: Option<String>,
    /// As what its states are stored; `None` for the only model of a stream.
    stored_as: Option<Arc<str>>,
    post: Post,
    /// The live model that it is compared with, where it is a shadow.
    rival: Option<Rival>,
    /// All symbols as one series, where that is asked for.
    steps: Option<Steps>,
    /// Of a blend: the models that it is made of, as the configuration names them.
    members: Vec<Arc<str>>,
    /// Of a blend: its experts, as its forecasts name them.
    experts: Vec<String>,
}

/// Without a word from the configuration, an event time may lie so far ahead of its reception, or
/// one step where that is longer: a bar may be stamped with its end.
const FUTURE_SECONDS: u32 = 60;

impl fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pipeline").field("model", &self.label()).finish_non_exhaustive()
    }
}

/// Why there is no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The backend refused the shapes of the mode.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The model does not serve the mode that the configuration asks for.
    #[error("model.mode: model `{model}` serves {modes:?} only")]
    Mode {
        /// The model's name.
        model: String,
        /// What it serves.
        modes: Vec<Mode>,
    },
}

impl Pipeline {
    /// Opens and proves the model, and prepares the engine.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn build(
        bundle: &Bundle,
        runtime: &dyn Runtime,
        settings: &PipelineSettings,
    ) -> Result<Self, PipelineError> {
        let manifest = bundle.manifest();
        let mode = choose_mode(settings.mode, &manifest.modes).ok_or_else(|| {
            let (model, modes) = (manifest.name.clone(), manifest.modes.clone());
            PipelineError::Mode { model, modes }
        })?;
        let backend = bundle.open(runtime)?;
        let passed_over = runtime.passed_over(bundle.onnx(), bundle.signature());
        let plans = bundle.plans();
        let features = plans.features.raw();
        let required = plans.step_rule.required(features.required());
        let encoder = RecordEncoder::new(RecordTemplate {
            model: manifest.name.clone(),
            model_version: manifest.version.clone(),
            mode,
            horizon_steps: manifest.horizon_steps,
            coverage: plans.forecast.coverage(),
            features: manifest.features.clone(),
            outputs: OutputTemplate::of(plans),
        });
        let mut plans = plans.clone();
        plans.score.intervals = settings.intervals;
        plans.score = plans.score.with_signals(settings.signals);
        for score in &mut plans.outputs.scores {
            score.intervals = settings.intervals;
            *score = score.clone().with_signals(settings.signals);
        }
        let mut engine = Engine::new(plans, mode, bundle.signature(), backend, settings.limits)?
            .with_policy(settings.policy);
        if settings.prepares_runs {
            engine.prepare_runs()?;
        }
        engine.scores_mut().list(&settings.listed_symbols, settings.recent_scores);
        if settings.keeps_scores {
            engine.scores_mut().keep();
        }
        engine.publish_history(settings.publishes_history);
        let rounding = engine.rounding();
        let codec = StateCodec::rounded(manifest, mode, rounding);
        let mut predecessors = predecessors(&settings.models, manifest);
        predecessors.extend(of_other_runtime(manifest, mode, rounding));
        let usual = manifest.step.interval_seconds.max(FUTURE_SECONDS);
        let future_seconds_max = settings.future_seconds_max.unwrap_or(usual);
        let future_max = Some(i64::from(future_seconds_max)).filter(|seconds| *seconds > 0);
        let future_max = future_max.and_then(DurationNanos::from_seconds);
        let record = encoder.template().clone();
        let scores_as = Arc::new(ScoreTemplate { record, rival: None });
        Ok(Self {
            engine,
            required,
            encoder,
            scores_as,
            codec,
            future_max,
            manifest: manifest.clone(),
            predecessors,
            forecasts: Vec::new(),
            kinds: ForecastKinds::default(),
            buffer: Vec::new(),
            onnx_sha256: manifest.onnx_sha256.as_str().into(),
            passed_over,
            stored_as: None,
            post: Post::default(),
            rival: None,
            steps: None,
            members: Vec::new(),
            experts: Vec::new(),
        })
    }

    /// The SHA-256 of the model, in hexadecimal.
    pub fn onnx_sha256(&self) -> Arc<str> {
        Arc::clone(&self.onnx_sha256)
    }

    /// What computes the model: where the configuration leaves it open, this is what was chosen.
    pub fn computed_by(&self) -> &'static str {
        self.engine.rounding().name()
    }

    /// Why ONNX Runtime computes the model, where the native runtime was to be used if possible.
    pub fn passed_over(&self) -> Option<&str> {
        self.passed_over.as_deref()
    }

    /// The place of the model among those of its stream.
    pub fn post(&self) -> Post {
        self.post
    }

    /// Takes a place among the models of a stream.
    pub(super) fn take_post(&mut self, post: Post) {
        self.post = post;
        self.engine.allow_shedding(post.role == Role::Shadow);
    }

    /// Names the model as the configuration does, for what is stored of it.
    pub(super) fn store_as(&mut self, name: Option<Arc<str>>) {
        self.stored_as = name;
    }

    /// As what the states of the model are stored; `None` for the only one of a stream.
    pub(super) fn stored_as(&self) -> Option<&str> {
        self.stored_as.as_deref()
    }

    /// The contract of the model.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Learns to read the states of another version, wherever its bundle is.
    pub fn know(&mut self, version: &Manifest) {
        self.predecessors.extend(of_version(version, None, &self.manifest));
    }

    /// What all forecasts have in common.
    pub fn template(&self) -> &RecordTemplate {
        self.encoder.template()
    }

    /// The engine: what is known of the symbols.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// As [`Pipeline::engine`], to drive it between two batches.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The fields that the model reads of a tick.
    pub fn schema(&self) -> &Schema {
        self.engine.features().raw().schema()
    }

    /// Takes one tick; returns the reason where it is refused. Where an earlier row of the same
    /// symbol is still in inference, `flush` is called first: it must call [`Pipeline::infer`] and
    /// [`Engine::advance`], and may publish in between. `received` is when the record was received:
    /// by our clock for a live feed, by the broker's for a topic, and `None` for a recording.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take<E>(
        &mut self,
        tick: &Tick<'_>,
        position: Option<Position>,
        received: Option<UnixNanos>,
        mut flush: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<Rejection>, E> {
        if let Some(rejection) = self.obstacle(tick, received) {
            if rejection.reason == Reject::InFuture {
                let ahead = received.and_then(|received| tick.time.since(received));
                if ahead.is_some_and(is_clock_error) {
                    // The tick may be right and the clock wrong: then the next step lacks it.
                    self.engine.mark_gap_before(&tick.symbol, position);
                }
            }
            self.engine.refuse(rejection.reason);
            return Ok(Some(rejection));
        }
        loop {
            match self.engine.push(tick, position) {
                Pushed::Taken => break,
                Pushed::Repeated => return Ok(None),
                Pushed::Refused(reason) => return Ok(Some(reason.into())),
                Pushed::Waiting => flush(self)?,
            }
        }
        // The steps that one tick completes go through inference one after the other.
        while self.engine.has_due() {
            flush(self)?;
        }
        Ok(None)
    }

    /// Why this model cannot take a tick that is sound in itself.
    pub(super) fn obstacle(
        &self,
        tick: &Tick<'_>,
        received: Option<UnixNanos>,
    ) -> Option<Rejection> {
        let missing = self.required.iter().find(|field| tick.fields.read(**field).is_none());
        if let Some(field) = missing {
            return Some(Rejection::of(Reject::MissingField, Member::Field(*field)));
        }
        let in_future = Rejection::of(Reject::InFuture, Member::Time);
        self.is_in_future(tick.time, received).then_some(in_future)
    }

    /// Makes the forecasts of all ticks taken so far. With [`Haste::Latency`] that is the critical
    /// path, and [`Engine::advance`] is due afterwards; with [`Haste::Throughput`] the states move
    /// on in the same runs. The bytes are the same in the end.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn infer(&mut self, haste: Haste) -> Result<(), InferenceError> {
        self.engine.infer(haste, &mut self.forecasts)
    }

    /// What kinds of forecasts were handed out.
    pub fn kinds(&self) -> &ForecastKinds {
        &self.kinds
    }

    /// Whether an event time lies further ahead of the reception than clocks may differ. Such a
    /// tick would make every later one of its symbol come out of order.
    fn is_in_future(&self, time: UnixNanos, received: Option<UnixNanos>) -> bool {
        let (Some(max), Some(received)) = (self.future_max, received) else { return false };
        time > received && time.since(received).is_none_or(|ahead| ahead > max)
    }

    /// Hands every forecast made since the last call to `sink`, as its symbol and its bytes.
    /// Returns how many there were.
    ///
    /// # Errors
    /// The first error of `sink`; the forecasts after it are dropped.
    pub fn emit<E>(
        &mut self,
        mut sink: impl FnMut(&Symbol, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.emit_values(|symbol, _, bytes| sink(symbol, bytes))
    }

    /// As [`Pipeline::emit`], with the forecasts themselves.
    ///
    /// # Errors
    /// As those of [`Pipeline::emit`].
    pub fn emit_values<E>(
        &mut self,
        mut sink: impl FnMut(&Symbol, &Forecast, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let count = self.forecasts.len();
        let outcome = {
            let Self { engine, forecasts, encoder, buffer, kinds, .. } = self;
            let mut weights = engine.published_weights();
            forecasts.drain(..).try_for_each(|forecast| {
                let symbol = engine.symbol(forecast.symbol);
                // Kinds are counted of the first output, as forecasts are.
                if forecast.output == 0 {
                    kinds.count(&forecast);
                }
                buffer.clear();
                encoder.encode(symbol.as_str(), &forecast, buffer);
                if let Some(weights) = weights.next() {
                    encoder.add_weights(weights, buffer);
                }
                sink(symbol, &forecast, buffer)
            })
        };
        self.engine.clear_published_weights();
        outcome.map(|()| count)
    }

    /// Hands every score made since the last call to `sink`, as its symbol and its bytes, in the
    /// order of the steps that were the truths. None unless the configuration gives scores a way
    /// out or the book was asked to keep them.
    ///
    /// # Errors
    /// The first error of `sink`; the scores after it are dropped.
    pub fn emit_scores<E>(
        &mut self,
        mut sink: impl FnMut(&Symbol, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.emit_score_values(|symbol, _, bytes| sink(symbol, bytes))
    }

    /// As [`Pipeline::emit_scores`], with the scores themselves.
    ///
    /// # Errors
    /// As those of [`Pipeline::emit_scores`].
    pub fn emit_score_values<E>(
        &mut self,
        mut sink: impl FnMut(&Symbol, &Score, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.hand_scores(|score| {
            buffer.clear();
            score.encode(&mut buffer);
            sink(&score.symbol, &score.score, &buffer)
        });
        self.buffer = buffer;
        outcome
    }

    /// As [`Pipeline::emit_scores`], for a sink that encodes a score where somebody asks for it.
    ///
    /// # Errors
    /// As [`Pipeline::emit_scores`].
    pub fn hand_scores<E>(
        &mut self,
        mut sink: impl FnMut(UnencodedScore) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { engine, steps, scores_as, .. } = self;
        let (book, names) = engine.scores_and_names();
        for score in book.take() {
            let symbol = names.of(score.symbol);
            let is_counted = score.output == 0 && score.evidence.counts();
            if let Some(steps) = steps.as_mut().filter(|_| is_counted) {
                steps.take(symbol.as_str(), score.loss_difference(), score.truth_time);
            }
            let (symbol, template) = (symbol.clone(), Arc::clone(scores_as));
            sink(UnencodedScore { symbol, score, template })?;
        }
        Ok(())
    }

    /// Compares the model with its baseline over all symbols as one series, by the scores that
    /// [`Pipeline::emit_scores`] hands over from here on. For recorded input alone: it needs memory
    /// for each time.
    pub fn compare_steps(&mut self) {
        self.steps.get_or_insert_default();
    }

    /// What that has come to; `None` where it was not asked for.
    pub fn verdict_of_steps(&self) -> Option<Verdict> {
        let rule = LedgerRule::new(self.manifest.horizon_steps, LEVEL);
        self.steps.as_ref().map(|steps| steps.verdict(&rule))
    }

    /// The model behind the states that [`Pipeline::take_changed`] gives.
    pub fn label(&self) -> ModelLabel {
        let RecordTemplate { model, model_version, mode, .. } = self.template();
        let text = format!("{model} {model_version}, {mode}");
        ModelLabel { identities: vec![self.codec.identity()], text }
    }

    /// The models whose states can be read: this one, and other versions.
    pub fn readable(&self) -> Vec<ModelIdentity> {
        let others = self.predecessors.iter().map(|version| version.codec.identity());
        std::iter::once(self.codec.identity()).chain(others).collect()
    }

    /// Hands the stored form of at most `count_max` symbols' states that have moved since they
    /// were last taken to `sink`, the longest waiting first; before them, whatever is to be told of
    /// symbols that have left ([`Engine::begin_taking`]). All forecasts must have been made and the
    /// states moved on.
    pub fn take_changed(&mut self, count_max: usize, mut sink: impl FnMut(StoredState)) {
        let Self { codec, stored_as, engine, .. } = self;
        let model = || stored_as.clone();
        let place = |position: Option<Position>| {
            (position.map(|at| at.partition), position.map(|at| at.offset))
        };
        engine.take_departures(|position, departure| {
            let (partition, offset) = place(position);
            let (symbol, bytes) = match departure {
                Departure::LastState(state) => {
                    (state.symbol().to_owned(), Some(codec.encode(&state)))
                }
                Departure::Gone(symbol) => (symbol.as_str().to_owned(), None),
            };
            sink(StoredState { model: model(), symbol, partition, offset, bytes });
        });
        engine.take_changed(count_max, |position, state| {
            let (partition, offset) = place(position);
            let (symbol, bytes) = (state.symbol().to_owned(), Some(codec.encode(&state)));
            sink(StoredState { model: model(), symbol, partition, offset, bytes });
        });
    }

    /// Takes the stored states of symbols over, as those of a partition where the input has
    /// places. What cannot be used is told by name, and its symbol begins cold.
    ///
    /// # Errors
    /// [`InferenceError`] where the recurrent states cannot be computed.
    pub fn restore(
        &mut self,
        partition: Option<PartitionId>,
        stored: &[(String, Bytes)],
    ) -> Result<Restored, InferenceError> {
        let mut restored = Restored::default();
        let (mut own, mut translated) = (Vec::with_capacity(stored.len()), Vec::new());
        for (symbol, bytes) in stored {
            match self.read(bytes) {
                Ok(Read::Own(state)) if state.symbol() == symbol => own.push(state),
                Ok(Read::Translated(state)) if state.symbol() == symbol => translated.push(state),
                Ok(Read::Own(state) | Read::Translated(state)) => {
                    let other = state.symbol();
                    restored.cold.push(format!("stored under `{symbol}` is `{other}`"));
                }
                Err(problem) => restored.cold.push(format!("symbol `{symbol}`: {problem}")),
            }
        }
        let mut refused = self.engine.restore(&own, partition)?;
        if !translated.is_empty() {
            refused.extend(self.engine.restore_translated(&translated, partition)?);
        }
        restored.symbol_count = own.len() + translated.len() - refused.len();
        restored.translated_count = translated.len();
        restored.cold.extend(refused.iter().map(ToString::to_string));
        Ok(restored)
    }

    /// How far the state behind stored bytes reaches, in an input that has places.
    ///
    /// # Errors
    /// Why this model cannot use it.
    pub(super) fn reach_of(&self, bytes: &[u8]) -> Result<Option<i64>, String> {
        match self.read(bytes)? {
            Read::Own(state) | Read::Translated(state) => Ok(state.offset()),
        }
    }

    /// The state behind stored bytes, of this model or of another version.
    fn read(&self, bytes: &[u8]) -> Result<Read, String> {
        let error = match self.codec.decode(bytes) {
            Ok(state) => return Ok(Read::Own(state)),
            Err(error @ StateError::OtherModel) => error,
            Err(error) => return Err(error.to_string()),
        };
        for Predecessor { codec, heritage } in &self.predecessors {
            let Ok(state) = codec.decode(bytes) else { continue };
            if let Heritage::Nothing { because } = heritage {
                return Err(format!("{error}, and {because} differs"));
            }
            let translated = self.engine.translate(state, heritage).map(Read::Translated);
            return translated.ok_or_else(|| error.to_string());
        }
        Err(error.to_string())
    }

    /// Tries the model on stored windows; nothing is taken over.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn try_on(&mut self, stored: &[StoredState]) -> Result<Tried, InferenceError> {
        let mut tried = Tried::default();
        for StoredState { bytes, .. } in stored {
            let Some(bytes) = bytes else { continue };
            let Ok(Read::Own(state) | Read::Translated(state)) = self.read(bytes) else { continue };
            if let Some(usable) = self.engine.try_window(&state)? {
                tried.windows += 1;
                tried.usable += usize::from(usable);
            }
        }
        Ok(tried)
    }

    /// The stored form of at most `count_max` symbols, whether they have moved or not.
    pub fn sample(&self, count_max: usize) -> Vec<StoredState> {
        let state = |snapshot: SymbolSnapshot| StoredState {
            model: self.stored_as.clone(),
            symbol: snapshot.symbol().to_owned(),
            partition: None,
            offset: snapshot.offset(),
            bytes: Some(self.codec.encode(&snapshot)),
        };
        self.engine.sample(count_max).map(state).collect()
    }

    /// Takes over from the pipeline of another version everything that is worth something here.
    /// All its forecasts must have been made and the states moved on.
    ///
    /// # Errors
    /// [`InferenceError`] where states cannot be computed.
    pub fn inherit(&mut self, old: &Self) -> Result<Inherited, InferenceError> {
        let from = old.engine.features();
        let heritage = Heritage::between(&old.manifest, &self.manifest, from);
        // Whoever shows the counts goes on from those of the old one.
        self.kinds = old.kinds.clone();
        self.stored_as = old.stored_as.clone();
        self.take_post(old.post);
        self.engine.inherit(&old.engine, &heritage)
    }

    /// As [`Pipeline::inherit`], with the windows of a model that runs on, in the place of another
    /// pipeline: what was counted there goes on.
    ///
    /// # Errors
    /// As [`Pipeline::inherit`].
    pub fn inherit_beside(
        &mut self,
        windows: &Self,
        place: &Self,
    ) -> Result<Inherited, InferenceError> {
        let inherited = self.inherit(windows)?;
        self.kinds = place.kinds.clone();
        self.stored_as = place.stored_as.clone();
        self.take_post(place.post);
        self.engine.count_on(&place.engine);
        Ok(inherited)
    }

    /// Drops what waits for inference, and forgets every symbol.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn clear(&mut self) -> Result<(), InferenceError> {
        // Only the forecasts are dropped; the tally keeps counting them as made.
        self.engine.infer(Haste::Latency, &mut self.forecasts)?;
        self.engine.advance()?;
        self.forecasts.clear();
        self.engine.clear_published_weights();
        self.engine.forget_heard();
        self.engine.scores_mut().take().for_each(drop);
        self.engine.clear();
        Ok(())
    }
}

/// Whether a time is ahead by no more than a clock may err.
fn is_clock_error(ahead: DurationNanos) -> bool {
    u128::try_from(ahead.as_nanos()).is_ok_and(|ahead| ahead < CLOCK_ERROR_MAX.as_nanos())
}

/// The mode asked for if the model serves it. Unasked, `sliding` before `full`, which give the same
/// bits; `carried` only where the model serves nothing else, because it was then trained so.
fn choose_mode(asked: Option<Mode>, served: &[Mode]) -> Option<Mode> {
    match asked {
        Some(mode) => served.contains(&mode).then_some(mode),
        None => [Mode::Sliding, Mode::Full, Mode::Carried]
            .into_iter()
            .find(|mode| served.contains(mode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_never_replaced_silently() {
        let both = [Mode::Full, Mode::Sliding];
        assert_eq!(choose_mode(None, &both), Some(Mode::Sliding));
        assert_eq!(choose_mode(None, &[Mode::Full]), Some(Mode::Full));
        assert_eq!(choose_mode(None, &[Mode::Carried]), Some(Mode::Carried));
        assert_eq!(choose_mode(Some(Mode::Carried), &both), None);
        assert_eq!(choose_mode(Some(Mode::Full), &both), Some(Mode::Full));
        assert_eq!(choose_mode(Some(Mode::Sliding), &[Mode::Full]), None);
    }
}
