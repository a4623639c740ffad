//! One decoder before the pipelines of all models of a stream.
//!
//! Owns the decoding of a record, which belongs to no model: each tick is decoded once, and every
//! pipeline takes it. The first pipeline of the list is the live one; today it is the only one.
//! Promises that every pipeline sees every tick, in the order of the records.

use super::{Pipeline, PipelineSettings};
use crate::core::decode::{JsonDecoder, TimeForm, symbol_of};
use crate::core::domain::{Position, Rejection, TimeDoubt, TimeFormat, TimeUnit, UnixNanos};

/// The pipelines of a stream behind their decoder.
pub struct Pipelines {
    decoder: JsonDecoder,
    time_unit: TimeUnit,
    time_format: TimeFormat,
    record_bytes_max: usize,
    /// Whether any event time is taken for right.
    accepts_times: bool,
    /// The live one first; never empty.
    each: Vec<Pipeline>,
}

impl Pipelines {
    /// A stream with one live model.
    pub fn new(live: Pipeline, settings: &PipelineSettings) -> Self {
        let PipelineSettings { time_unit, record_bytes_max, accepts_times, .. } = *settings;
        let time_format = settings.time_format.clone();
        let decoder = decoder_of(&live, time_unit, record_bytes_max);
        let decoder = decoder.with_time_format(time_format.clone());
        let each = vec![live];
        Self { decoder, time_unit, time_format, record_bytes_max, accepts_times, each }
    }

    /// The model whose forecasts are published.
    pub fn live(&self) -> &Pipeline {
        &self.each[0]
    }

    /// As [`Pipelines::live`], to drive it.
    pub fn live_mut(&mut self) -> &mut Pipeline {
        &mut self.each[0]
    }

    /// Every pipeline, the live one first.
    pub fn each_mut(&mut self) -> impl Iterator<Item = &mut Pipeline> {
        self.each.iter_mut()
    }

    /// Puts another pipeline in place of the live one, which comes back.
    pub fn replace_live(&mut self, next: Pipeline) -> Pipeline {
        let decoder = decoder_of(&next, self.time_unit, self.record_bytes_max);
        self.decoder = decoder.with_time_format(self.time_format.clone());
        std::mem::replace(&mut self.each[0], next)
    }

    /// Decodes one record and has every pipeline take it; returns the reason where the live one
    /// refused it. `decoded` is called between decoding and the step, for measuring; see
    /// [`Pipeline::take`] for the others.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take<E>(
        &mut self,
        record: &[u8],
        position: Option<Position>,
        received: Option<UnixNanos>,
        decoded: impl FnOnce(),
        mut flush: impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<Option<Rejection>, E> {
        let Self { decoder, each, time_unit, accepts_times, .. } = self;
        let outcome = decoder.decode_timed(record);
        decoded();
        let doubt = match &outcome {
            // What is received now did not happen in 1970, however that was written.
            Ok((tick, form)) if *form == TimeForm::Number || received.is_some() => {
                TimeDoubt::of(tick.time, *time_unit).filter(|_| !*accepts_times)
            }
            _ => None,
        };
        let mut refused = None;
        for (index, pipeline) in each.iter_mut().enumerate() {
            let reason = match &outcome {
                Ok((tick, _)) => {
                    pipeline.engine_mut().set_doubt(doubt);
                    pipeline.take(tick, position, received, &mut flush)?
                }
                Err(rejection) => {
                    pipeline.engine_mut().refuse(rejection.reason);
                    Some(*rejection)
                }
            };
            if index == 0 {
                refused = reason;
            }
        }
        Ok(refused)
    }

    /// Notes that data of every symbol may be missing from here on.
    pub fn mark_gap(&mut self) {
        self.each.iter_mut().for_each(|pipeline| pipeline.engine_mut().mark_gap());
    }

    /// Notes that data of the symbol of a record may be missing right before it. To be called
    /// before the record is taken, which may still be refused: the mark then waits for the next
    /// one.
    pub fn mark_gap_before(&mut self, record: &[u8], position: Option<Position>) {
        let Some(symbol) = symbol_of(record) else { return };
        for pipeline in &mut self.each {
            pipeline.engine_mut().mark_gap_before(&symbol, position);
        }
    }
}

/// A decoder of the fields that a model reads. What a model requires of them it checks itself.
fn decoder_of(pipeline: &Pipeline, time_unit: TimeUnit, record_bytes_max: usize) -> JsonDecoder {
    JsonDecoder::new(pipeline.schema().clone(), &[], time_unit, record_bytes_max)
}
