//! The path from a record's bytes to a forecast's bytes, as one value: what `serve` and `replay`
//! both drive, so that replay equals live.
//!
//! Owns the decoder, the engine and the wire form of one model. Promises that the order and the
//! bytes of its forecasts depend on the records alone, not on how they were chunked. Never does
//! I/O or reads a clock.

use bytes::Bytes;

use crate::config::Config;
use crate::decode::{JsonDecoder, symbol_of};
use crate::domain::{Forecast, PartitionId, Position, Reject, Symbol};
use crate::engine::{Engine, EngineTally, Pushed};
use crate::inference::{InferenceError, Runtime};
use crate::model::manifest::Mode;
use crate::model::{Bundle, BundleError};
use crate::publish::wire::RecordTemplate;
use crate::state::StateCodec;

/// One model's path from records to forecasts.
pub struct Pipeline {
    decoder: JsonDecoder,
    engine: Engine,
    template: RecordTemplate,
    codec: StateCodec,
    forecasts: Vec<Forecast>,
    buffer: Vec<u8>,
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
        let template = RecordTemplate {
            model: manifest.name.clone(),
            model_version: manifest.version.clone(),
            mode,
            horizon_steps: manifest.horizon_steps,
            coverage: plans.forecast.coverage(),
        };
        let engine = Engine::new(plans.clone(), mode, bundle.signature(), backend, config.engine)?;
        let codec = StateCodec::new(bundle, mode);
        Ok(Self { decoder, engine, template, codec, forecasts: Vec::new(), buffer: Vec::new() })
    }

    /// What all forecasts have in common.
    pub fn template(&self) -> &RecordTemplate {
        &self.template
    }

    /// What became of everything that went in.
    pub fn tally(&self) -> &EngineTally {
        self.engine.tally()
    }

    /// How many symbols are known.
    pub fn symbol_count(&self) -> usize {
        self.engine.symbol_count()
    }

    /// Takes one record, with its place in an input that can be read again; tells the reason where
    /// it was refused. Where an earlier row of the same
    /// symbol is still in inference, `flush` is called first: it must call [`Pipeline::infer`] and
    /// [`Pipeline::advance`], and may publish in between.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take<E>(
        &mut self,
        record: &[u8],
        position: Option<Position>,
        flush: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<Reject>, E> {
        self.take_noting(record, position, || {}, flush)
    }

    /// As [`Pipeline::take`]; calls `decoded` between decoding and the step, for whoever measures.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take_noting<E>(
        &mut self,
        record: &[u8],
        position: Option<Position>,
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
        loop {
            match self.engine.push(&tick, position) {
                Pushed::Taken | Pushed::Repeated => return Ok(None),
                Pushed::Refused(reason) => return Ok(Some(reason)),
                Pushed::Waiting => flush(self)?,
            }
        }
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
            self.buffer.clear();
            self.template.encode(symbol.as_str(), &forecast, &mut self.buffer);
            sink(symbol, &self.buffer)?;
        }
        Ok(count)
    }

    /// Moves the states behind the last forecasts on, off the critical path.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn advance(&mut self) -> Result<(), InferenceError> {
        self.engine.advance()
    }

    /// Hands the stored form of every symbol's state that has moved since the last call to `sink`.
    /// All forecasts must have been made and the states moved on.
    pub fn take_changed(&mut self, mut sink: impl FnMut(StoredState)) {
        let codec = &self.codec;
        self.engine.take_changed(|Position { partition, .. }, state| {
            let bytes = codec.encode(&state);
            sink(StoredState { symbol: state.symbol().to_owned(), partition, bytes });
        });
    }

    /// Takes the stored states of a partition's symbols over. What cannot be used is told by name,
    /// and its symbol begins cold.
    ///
    /// # Errors
    /// [`InferenceError`] where the recurrent states cannot be computed.
    pub fn restore(
        &mut self,
        partition: PartitionId,
        stored: &[(String, Bytes)],
    ) -> Result<Restored, InferenceError> {
        let mut restored = Restored::default();
        let mut states = Vec::with_capacity(stored.len());
        for (symbol, bytes) in stored {
            match self.codec.decode(bytes) {
                Ok(state) if state.symbol() == symbol => states.push(state),
                Ok(state) => {
                    let other = state.symbol();
                    restored.cold.push(format!("stored under `{symbol}` is `{other}`"));
                }
                Err(error) => restored.cold.push(format!("symbol `{symbol}`: {error}")),
            }
        }
        let refused = self.engine.restore(&states, Some(partition))?;
        restored.symbol_count = states.len() - refused.len();
        restored.cold.extend(refused.iter().map(ToString::to_string));
        Ok(restored)
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
        self.engine.clear();
        Ok(())
    }
}

/// The stored form of one symbol's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// Whose it is.
    pub symbol: String,
    /// The partition that it belongs to.
    pub partition: PartitionId,
    /// What [`StateCodec`] wrote.
    pub bytes: Vec<u8>,
}

/// What became of stored states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many were taken over.
    pub symbol_count: usize,
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
