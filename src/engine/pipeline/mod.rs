//! The path from a record's bytes to a forecast's bytes, as one value: what `serve` and `replay`
//! both drive, so that replay equals live.
//!
//! Owns the decoder, the engine and the wire form of one model. Promises that the order and the
//! bytes of its forecasts depend on the records alone, not on how they were chunked. Never does
//! I/O or reads a clock.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::app::config::Config;
use crate::core::decode::{JsonDecoder, symbol_of};
use crate::core::domain::{
    DurationNanos, Forecast, PartitionId, Position, Reject, Symbol, UnixNanos,
};
use crate::core::forecast::ForecastKinds;
use crate::core::health::Health;
use crate::core::score::{RECENT_SCORES, ScoreBook};
use crate::engine::inference::{InferenceError, Runtime};
use crate::engine::model::manifest::{Manifest, Mode};
use crate::engine::model::{Bundle, BundleError, Heritage, Predecessor, of_version, predecessors};
use crate::engine::state::{ModelIdentity, StateCodec, StateError};
use crate::engine::symbols::{
    ColdStart, Engine, EngineTally, Inherited, Pushed, SymbolFacts, SymbolSnapshot,
};
use crate::engine::wire::encoder::RecordEncoder;
use crate::engine::wire::forecast::RecordTemplate;

/// One model's path from records to forecasts.
pub struct Pipeline {
    decoder: JsonDecoder,
    engine: Engine,
    encoder: RecordEncoder,
    codec: StateCodec,
    /// How far the event time of a record may lie ahead of its reception.
    future_max: Option<DurationNanos>,
    manifest: Manifest,
    /// Other versions whose states can be read.
    predecessors: Vec<Predecessor>,
    forecasts: Vec<Forecast>,
    kinds: ForecastKinds,
    buffer: Vec<u8>,
}

/// Where a record comes from, as far as its source knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its place in an input that can be read again.
    pub position: Option<Position>,
    /// When it was received, by the clock at the source: ours for a live feed, the broker's for a
    /// topic, and none for a recording.
    pub received: Option<UnixNanos>,
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
        runtime: &Runtime,
        config: &Config,
    ) -> Result<Self, PipelineError> {
        let manifest = bundle.manifest();
        let mode = choose_mode(config.model.mode, &manifest.modes).ok_or_else(|| {
            let (model, modes) = (manifest.name.clone(), manifest.modes.clone());
            PipelineError::Mode { model, modes }
        })?;
        let backend = bundle.open(runtime)?;
        let plans = bundle.plans();
        let features = plans.features.raw();
        let required = plans.step_rule.required(features.required());
        let decoder = JsonDecoder::new(
            features.schema().clone(),
            &required,
            config.source.time_unit,
            config.source.record_bytes_max,
        );
        let encoder = RecordEncoder::new(RecordTemplate {
            model: manifest.name.clone(),
            model_version: manifest.version.clone(),
            mode,
            horizon_steps: manifest.horizon_steps,
            coverage: plans.forecast.coverage(),
        });
        let mut plans = plans.clone();
        plans.score.intervals = config.forecast.intervals;
        let mut engine = Engine::new(plans, mode, bundle.signature(), backend, config.engine)?
            .with_policy(config.policy);
        let recent_scores = RECENT_SCORES.div_ceil(config.shards.count);
        engine.scores_mut().list(&config.metrics.symbols, recent_scores);
        if config.publishes_scores() {
            engine.scores_mut().keep();
        }
        let codec = StateCodec::new(manifest, mode);
        let usual = manifest.step.interval_seconds.max(FUTURE_SECONDS);
        let future_seconds_max = config.source.future_seconds_max.unwrap_or(usual);
        let future_max = Some(i64::from(future_seconds_max)).filter(|seconds| *seconds > 0);
        let future_max = future_max.and_then(DurationNanos::from_seconds);
        Ok(Self {
            decoder,
            engine,
            encoder,
            codec,
            future_max,
            manifest: manifest.clone(),
            predecessors: predecessors(&config.model.root, manifest),
            forecasts: Vec::new(),
            kinds: ForecastKinds::default(),
            buffer: Vec::new(),
        })
    }

    /// The contract of the model.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Learns to read the states of another version, wherever its bundle is.
    pub fn know(&mut self, version: &Manifest) {
        self.predecessors.extend(of_version(version, &self.manifest));
    }

    /// What all forecasts have in common.
    pub fn template(&self) -> &RecordTemplate {
        self.encoder.template()
    }

    /// What became of everything that went in.
    pub fn tally(&self) -> &EngineTally {
        self.engine.tally()
    }

    /// What kinds of forecasts were handed out.
    pub fn kinds(&self) -> &ForecastKinds {
        &self.kinds
    }

    /// How many symbols are known.
    pub fn symbol_count(&self) -> usize {
        self.engine.symbol_count()
    }

    /// Takes one record; tells the reason where it was refused. Where an earlier row of the same
    /// symbol is still in inference, `flush` is called first: it must call [`Pipeline::infer`] and
    /// [`Pipeline::advance`], and may publish in between.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take<E>(
        &mut self,
        record: &[u8],
        origin: Origin,
        flush: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<Reject>, E> {
        self.take_noting(record, origin, || {}, flush)
    }

    /// As [`Pipeline::take`]; calls `decoded` between decoding and the step, for whoever measures.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take_noting<E>(
        &mut self,
        record: &[u8],
        origin: Origin,
        decoded: impl FnOnce(),
        mut flush: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<Reject>, E> {
        let outcome = self.decoder.decode(record);
        decoded();
        let tick = match outcome {
            Ok(tick) => tick,
            Err(reason) => {
                self.engine.refuse(reason);
                return Ok(Some(reason));
            }
        };
        if self.is_in_future(tick.time, origin.received) {
            self.engine.refuse(Reject::InFuture);
            return Ok(Some(Reject::InFuture));
        }
        loop {
            match self.engine.push(&tick, origin.position) {
                Pushed::Taken => break,
                Pushed::Repeated => return Ok(None),
                Pushed::Refused(reason) => return Ok(Some(reason)),
                Pushed::Waiting => flush(self)?,
            }
        }
        // The steps that one tick completes go through inference one after the other.
        while self.engine.has_due() {
            flush(self)?;
        }
        Ok(None)
    }

    /// Says when the records come that are taken from here on; see [`Engine::set_now`].
    pub fn set_now(&mut self, now: Duration) {
        self.engine.set_now(now);
    }

    /// What people may know of a symbol; see [`Engine::symbol_facts`].
    pub fn symbol_facts(&self, index: usize) -> Option<SymbolFacts<'_>> {
        self.engine.symbol_facts(index)
    }

    /// Keeps what was judged of a symbol; see [`Engine::note_health`].
    pub fn note_health(&mut self, index: usize, health: Health) -> Health {
        self.engine.note_health(index, health)
    }

    /// Whether an event time lies further ahead of the reception than clocks may differ. Such a
    /// tick would make every later one of its symbol come out of order.
    fn is_in_future(&self, time: UnixNanos, received: Option<UnixNanos>) -> bool {
        let (Some(max), Some(received)) = (self.future_max, received) else { return false };
        time > received && time.since(received).is_none_or(|ahead| ahead > max)
    }

    /// The newest window that began cold because of a distance between steps.
    pub fn newest_cold_start(&self) -> Option<&ColdStart> {
        self.engine.newest_cold_start()
    }

    /// Notes that data of every symbol may be missing from here on.
    pub fn mark_gap(&mut self) {
        self.engine.mark_gap();
    }

    /// Notes that data of the symbol of a record may be missing right before it. To be called
    /// before the record is taken, which may still be refused: the mark then waits for the next
    /// one.
    pub fn mark_gap_before(&mut self, record: &[u8], position: Option<Position>) {
        if let Some(symbol) = symbol_of(record) {
            self.engine.mark_gap_before(&symbol, position);
        }
    }

    /// Makes the forecasts of all records taken so far: the critical path.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn infer(&mut self) -> Result<(), InferenceError> {
        self.engine.infer(&mut self.forecasts)
    }

    /// As [`Pipeline::infer`] and [`Pipeline::advance`] in one, with the same bytes in the end:
    /// quicker in all, while each forecast waits for the states as well. For when more records
    /// wait.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn infer_and_advance(&mut self) -> Result<(), InferenceError> {
        self.engine.infer_and_advance(&mut self.forecasts)
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
        let count = self.forecasts.len();
        for forecast in self.forecasts.drain(..) {
            let symbol = self.engine.symbol(forecast.symbol);
            self.kinds.count(&forecast);
            self.buffer.clear();
            self.encoder.encode(symbol.as_str(), &forecast, &mut self.buffer);
            sink(symbol, &self.buffer)?;
        }
        Ok(count)
    }

    /// Hands every score made since the last call to `sink`, as its symbol and its bytes, in the
    /// order of the steps that were the truths. None unless the configuration gives scores a way
    /// out or [`Pipeline::keep_scores`] was called.
    ///
    /// # Errors
    /// The first error of `sink`; the scores after it are dropped.
    pub fn emit_scores<E>(
        &mut self,
        mut sink: impl FnMut(&Symbol, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (book, names) = self.engine.scores_and_names();
        for score in book.take() {
            let symbol = names.of(score.symbol);
            self.buffer.clear();
            self.encoder.template().encode_score(symbol.as_str(), &score, &mut self.buffer);
            sink(symbol, &self.buffer)?;
        }
        Ok(())
    }

    /// Keeps scores from here on; [`Pipeline::emit_scores`] is then due after every inference.
    pub fn keep_scores(&mut self) {
        self.engine.scores_mut().keep();
    }

    /// The scores of all symbols.
    pub fn scores_mut(&mut self) -> &mut ScoreBook {
        self.engine.scores_mut()
    }

    /// Moves the states behind the last forecasts on, off the critical path.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn advance(&mut self) -> Result<(), InferenceError> {
        self.engine.advance()
    }

    /// The model behind the states that [`Pipeline::take_changed`] gives.
    pub fn label(&self) -> ModelLabel {
        let RecordTemplate { model, model_version, mode, .. } = self.template();
        let text = format!("{model} {model_version}, {mode}");
        ModelLabel { identity: self.codec.identity(), text }
    }

    /// The models whose states can be read: this one, and other versions.
    pub fn readable(&self) -> Vec<ModelIdentity> {
        let others = self.predecessors.iter().map(|version| version.codec.identity());
        std::iter::once(self.codec.identity()).chain(others).collect()
    }

    /// Whether a symbol has a state.
    pub fn has_symbol(&self, name: &str) -> bool {
        self.engine.has_symbol(name)
    }

    /// How many windows began anew because the data went on too late for them.
    pub fn stale_count(&self) -> u64 {
        self.engine.stale_count()
    }

    /// How many symbols' states have moved since they were last taken.
    pub fn changed_count(&self) -> usize {
        self.engine.changed_count()
    }

    /// Hands the stored form of at most `count_max` symbols' states that have moved since they
    /// were last taken to `sink`, the longest waiting first. All forecasts must have been made and
    /// the states moved on.
    pub fn take_changed(&mut self, count_max: usize, mut sink: impl FnMut(StoredState)) {
        let codec = &self.codec;
        self.engine.take_changed(count_max, |position, state| {
            let partition = position.map(|position| position.partition);
            let bytes = codec.encode(&state);
            sink(StoredState { symbol: state.symbol().to_owned(), partition, bytes });
        });
    }

    /// Notes that data is missing from here on, and that windows whose data goes on later than
    /// `gap_max` after its newest tick begin anew.
    pub fn expect_gap(&mut self, gap_max: DurationNanos) {
        self.engine.expect_gap(gap_max);
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
            symbol: snapshot.symbol().to_owned(),
            partition: None,
            bytes: self.codec.encode(&snapshot),
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
        self.engine.inherit(&old.engine, &heritage)
    }

    /// How many symbols still have their recurrent states to be computed.
    pub fn asleep_count(&self) -> usize {
        self.engine.asleep_count()
    }

    /// Computes the recurrent states of at most `count_max` symbols that wait for it.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn wake(&mut self, count_max: usize) -> Result<(), InferenceError> {
        self.engine.wake(count_max)
    }

    /// Forgets every symbol of a partition. All forecasts must have been made and the states moved
    /// on.
    pub fn evict(&mut self, partition: PartitionId) {
        self.engine.evict(partition);
    }

    /// Drops what waits for inference, and forgets every symbol.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn clear(&mut self) -> Result<(), InferenceError> {
        // Only the forecasts are dropped; the tally keeps counting them as made.
        self.engine.infer(&mut self.forecasts)?;
        self.engine.advance()?;
        self.forecasts.clear();
        self.engine.scores_mut().take().for_each(drop);
        self.engine.clear();
        Ok(())
    }
}

/// A model in one mode, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLabel {
    /// Tells its states from those of others.
    pub identity: ModelIdentity,
    /// Name, version and mode.
    pub text: String,
}

/// The stored form of one symbol's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// Whose it is.
    pub symbol: String,
    /// The partition that it belongs to, in an input that has places.
    pub partition: Option<PartitionId>,
    /// What [`StateCodec`] wrote.
    pub bytes: Vec<u8>,
}

/// A stored state that could be read.
enum Read {
    Own(SymbolSnapshot),
    Translated(SymbolSnapshot),
}

/// How a model fared on windows that it was tried on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Full windows.
    pub windows: usize,
    /// Those about which it says something that can be published.
    pub usable: usize,
}

/// What became of stored states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many were taken over.
    pub symbol_count: usize,
    /// How many of them were stored by another version of the model.
    pub translated_count: usize,
    /// What could not be used, and why, one line each.
    pub cold: Vec<String>,
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
