//! History on its way into the models of a stream.
//!
//! Owns the question of what is missing before a record, and the way of the rows that answer it.
//! Promises that a record for which something is missing changes nothing, and that rows go through
//! the code that takes records. Never asks anyone for rows.

use super::deferred::DeferredTick;
use super::{Pipeline, Pipelines};
use crate::core::domain::{DurationNanos, Position, Rejection, UnixNanos};
use crate::core::history::{Missing, Origin, Seam, Span};

/// A record on its way into the models.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'r> {
    /// The bytes of one tick.
    pub bytes: &'r [u8],
    /// Its place, in an input that can be read again.
    pub position: Option<Position>,
    /// When it was received.
    pub received: Option<UnixNanos>,
    /// Whether records of its symbol may be missing right before it.
    pub after_gap: bool,
    /// Where it came from.
    pub origin: Origin,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was used, or no model wants its symbol.
    Done,
    /// No model took it that wants its symbol.
    Refused(Rejection),
    /// Nothing yet: history is missing before it.
    Missing {
        /// What is missing.
        missing: Missing,
        /// The event time of the record.
        time: UnixNanos,
    },
}

impl Pipelines {
    /// As [`Pipelines::take`], with everything that is known of the record. Where `asks`, a record
    /// of the stream before which history is missing is not taken: it is to be taken again, with
    /// the history or without asking.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn take_or_ask<E>(
        &mut self,
        incoming: &Incoming<'_>,
        asks: bool,
        decoded: impl FnOnce(),
        mut flush: impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<Taken, E> {
        let Incoming { bytes, position, received, after_gap, origin } = *incoming;
        let outcome = self.decoder.decode_timed(bytes);
        decoded();
        if let (true, Origin::Live, Ok((tick, _))) = (asks, origin, &outcome) {
            let time = tick.time;
            if let Some(missing) = self.missing(&tick.symbol, time, received, after_gap) {
                return Ok(Taken::Missing { missing, time });
            }
        }
        if after_gap {
            self.mark_gap_before(bytes, position);
        }
        let refused = self.take_decoded(outcome, position, received, origin, &mut flush)?;
        Ok(refused.map_or(Taken::Done, Taken::Refused))
    }

    /// What is missing before a tick, for all models that want its symbol.
    fn missing(
        &mut self,
        symbol: &str,
        time: UnixNanos,
        received: Option<UnixNanos>,
        after_gap: bool,
    ) -> Option<Missing> {
        let models = self.models_mut().iter_mut().filter(|model| model.wants(symbol));
        models
            .filter_map(|model| {
                let pipeline = &mut model.pipeline;
                // A tick that will be refused says nothing of what lies before it.
                if pipeline.is_in_future(time, received) {
                    return None;
                }
                pipeline.engine.meet_live(symbol, time);
                pipeline.engine.missing(symbol, time, after_gap)
            })
            .reduce(Missing::union)
    }

    /// Has every model take the rows that it lacks before a live tick of this time, for which
    /// `after_gap` holds; the tick itself is to be taken next, without its mark. The rows are
    /// complete where they fill a hole, in the order of time, and `covers` is how long each is.
    /// Nothing may be deferred. Returns why a row cannot be decoded; nothing is changed then.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn fill<E>(
        &mut self,
        symbol: &str,
        (time, after_gap): (UnixNanos, bool),
        rows: &[&[u8]],
        covers: DurationNanos,
        mut flush: impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<Option<Rejection>, E> {
        let decoded = rows.iter().map(|row| self.decoder.decode_timed(row));
        let ticks = match decoded.collect::<Result<Vec<_>, _>>() {
            Ok(ticks) => ticks,
            Err(rejection) => return Ok(Some(rejection)),
        };
        let doubts: Vec<_> =
            ticks.iter().map(|(tick, form)| self.doubt_of(tick, *form, None)).collect();
        for model in self.models_mut().iter_mut().filter(|model| model.wants(symbol)) {
            let Some(missing) = model.pipeline.engine.missing(symbol, time, after_gap) else {
                continue;
            };
            if model.pipeline.engine.begin_history(symbol, missing).is_err() {
                // The tick itself is refused for the same reason, and counted.
                continue;
            }
            let within = |row: UnixNanos| match missing {
                Missing::Warm => row < time,
                Missing::Span(span) => Span::contains(span, row),
            };
            let is_joined = matches!(missing, Missing::Span(_));
            let origin = Origin::History(Seam { is_joined, covers });
            for ((tick, _), doubt) in ticks.iter().zip(&doubts) {
                if !within(tick.time) || tick.symbol != symbol {
                    continue;
                }
                let (tick, doubt) = (tick.clone(), *doubt);
                let next = DeferredTick { tick, doubt, position: None, received: None, origin };
                let _ = model.take(&next, &mut flush)?;
            }
            model.pipeline.engine.set_origin(Origin::Live);
            model.pipeline.engine.end_history(symbol, missing, after_gap);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
