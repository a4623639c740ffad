//! History on its way into the models of a stream.
//!
//! Owns the question of what is missing before a record, and the way of the rows that answer it.
//! Promises that a record for which something is missing changes nothing, and that rows go through
//! the code that takes records. Never asks anyone for rows.

use super::deferred::DeferredTick;
use super::pipelines::{Arrived, Model};
use super::{Pipeline, Pipelines, Post, Role};
use crate::core::decode::TimeForm;
use crate::core::domain::{DurationNanos, Position, Rejection, Tick, TimeDoubt, UnixNanos};
use crate::core::history::{Missing, Origin, Seam, Span};
use crate::core::score::RivalScore;

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
    /// Whether it came behind records of its symbol that it belongs before.
    pub late: bool,
    /// Where it came from.
    pub origin: Origin,
}

/// What was asked of history.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Of which symbol.
    pub symbol: &'a str,
    /// What is missing of it.
    pub missing: Missing,
    /// The event time of the record before which it is missing; `None` where it was asked for
    /// before any record.
    pub time: Option<UnixNanos>,
    /// What is known of that record.
    pub after_gap: bool,
}

/// The rows of an answer.
#[derive(Clone, Copy)]
struct Filling<'f, 't> {
    ticks: &'f [(Tick<'t>, TimeForm)],
    /// Why the time of each may be wrong.
    doubts: &'f [Option<TimeDoubt>],
    /// Where the last one ends.
    reached: Option<UnixNanos>,
    /// How long each is.
    covers: DurationNanos,
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
    /// the history or without asking. Shadows that lag behind may be brought up on the way.
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
        let Incoming { bytes, position, received, after_gap, late, origin } = *incoming;
        let outcome = self.decoder.decode_timed(bytes);
        decoded();
        // One that comes late says nothing of what lies behind it.
        if let (true, false, Origin::Live, Ok((tick, _))) = (asks, late, origin, &outcome) {
            let time = tick.time;
            if self.shadow_may_miss(&tick.symbol, time, after_gap) {
                self.take_deferred(&mut flush)?;
            }
            if let Some(missing) = self.missing(&tick.symbol, time, received, after_gap) {
                return Ok(Taken::Missing { missing, time });
            }
        }
        if after_gap {
            self.mark_gap_before(bytes, position);
        }
        let arrived = Arrived { position, received, late, origin };
        let refused = self.take_decoded(outcome, arrived, &mut flush)?;
        Ok(refused.map_or(Taken::Done, Taken::Refused))
    }

    /// What is missing of a symbol before any record: its whole window, or nothing.
    pub fn missing_at_start(&self, symbol: &str) -> Option<Missing> {
        let mut models = self.models().iter().filter(|model| model.wants(symbol));
        models.find_map(|model| model.pipeline.engine.missing_at_start(symbol))
    }

    /// Whether a shadow has still to take ticks before it can say whether it lacks something.
    fn shadow_may_miss(&self, symbol: &str, time: UnixNanos, after_gap: bool) -> bool {
        let is_shadow = |model: &&Model| model.pipeline.post().role == Role::Shadow;
        self.deferred.has_untaken()
            && self.models().iter().filter(|model| model.wants(symbol)).filter(is_shadow).any(
                |model| {
                    self.deferred.has_gap()
                        || model.pipeline.engine.may_miss(symbol, time, after_gap)
                },
            )
    }

    /// What is missing before a tick, for all models that want its symbol.
    fn missing(
        &mut self,
        symbol: &str,
        time: UnixNanos,
        received: Option<UnixNanos>,
        after_gap: bool,
    ) -> Option<Missing> {
        let lags = self.deferred.has_untaken();
        let models = self.models_mut().iter_mut().filter(|model| model.wants(symbol));
        models
            // A blend lacks what its members lack, which ask for it.
            .filter(|model| !model.is_blend())
            .filter_map(|model| {
                let pipeline = &mut model.pipeline;
                // A shadow that still lags lacks nothing. A tick that will be refused says nothing
                // of what lies before it.
                let lags = lags && pipeline.post().role == Role::Shadow;
                if lags || pipeline.is_in_future(time, received) {
                    return None;
                }
                pipeline.engine.meet_live(symbol, time);
                pipeline.engine.missing(symbol, time, after_gap)
            })
            .reduce(Missing::union)
    }

    /// Has every model take the rows that it lacks, by a question and its answer. The record that
    /// asked, if there is one, is to be taken next and without its mark, which is noted here. Rows
    /// are complete where they fill a hole, in the order of time, and `covers` is how long each is.
    /// Nothing may be deferred. Returns how many rows a model has used, or why a row cannot be
    /// decoded, or why a model that lacks it cannot take it; nothing is changed then.
    ///
    /// # Errors
    /// Those of `flush`.
    pub fn fill<E>(
        &mut self,
        asked: &Asked<'_>,
        rows: &[&[u8]],
        covers: DurationNanos,
        mut flush: impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<Result<usize, Rejection>, E> {
        debug_assert!(self.deferred.is_empty(), "shadows or blends lag behind");
        let decoded = rows.iter().map(|row| self.decoder.decode_timed(row));
        let ticks = match decoded.collect::<Result<Vec<_>, _>>() {
            Ok(ticks) => ticks,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if let Some(rejection) = self.obstacle_of_rows(asked, &ticks, covers) {
            return Ok(Err(rejection));
        }
        let mut used = vec![false; ticks.len()];
        let reached = ticks.last().and_then(|(tick, _)| tick.time.checked_add(covers));
        let doubts: Vec<_> =
            ticks.iter().map(|(tick, form)| self.doubt_of(tick, *form, None)).collect();
        let rows = Filling { ticks: &ticks, doubts: &doubts, reached, covers };
        // The live models first: what shadows are compared with is known by then. The blends take
        // the rows behind their members.
        let mut of_live = Vec::new();
        for role in [Role::Live, Role::Shadow, Role::Blend] {
            if role == Role::Blend {
                self.pass_on();
            }
            let models = self.models_mut().iter_mut().filter(|model| model.wants(asked.symbol));
            for model in models.filter(|model| model.role() == role) {
                model.fill(asked, &rows, &mut used, &mut of_live, &mut flush)?;
            }
        }
        self.end_blends();
        Ok(Ok(used.into_iter().filter(|used| *used).count()))
    }

    /// Why a model cannot take a row that it lacks.
    fn obstacle_of_rows(
        &self,
        asked: &Asked<'_>,
        ticks: &[(Tick<'_>, TimeForm)],
        covers: DurationNanos,
    ) -> Option<Rejection> {
        self.models().iter().filter(|model| model.wants(asked.symbol)).find_map(|model| {
            let missing = asked.answers(&model.pipeline)?;
            let is_row = |tick: &Tick<'_>| {
                tick.symbol == asked.symbol && asked.holds(missing, tick.time, covers)
            };
            let mut rows = ticks.iter().map(|(tick, _)| tick).filter(|tick| is_row(tick));
            rows.find_map(|row| model.obstacle(row))
        })
    }

    /// Notes that there is no answer to a question: nothing of it is asked for again. The record
    /// that asked is to be taken next, without asking. Nothing may be deferred.
    pub fn give_up(&mut self, asked: &Asked<'_>) {
        let Asked { symbol, time, after_gap, .. } = *asked;
        for model in self.models_mut().iter_mut().filter(|model| model.wants(symbol)) {
            model.pipeline.engine.give_up(symbol, time, after_gap);
        }
    }
}

impl Model {
    /// Takes the rows that the model lacks, and notes those that it has used. `of_live` are the
    /// scores of live models so far, each with the seat of its model.
    fn fill<E>(
        &mut self,
        asked: &Asked<'_>,
        rows: &Filling<'_, '_>,
        used: &mut [bool],
        of_live: &mut Vec<(usize, RivalScore)>,
        flush: &mut impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<(), E> {
        let Asked { symbol, after_gap, time, .. } = *asked;
        let Filling { ticks, doubts, reached, covers } = *rows;
        if let (true, Some(time)) = (self.is_blend(), time) {
            // It did not ask, and goes the way of those that did.
            self.pipeline.engine.meet_live(symbol, time);
        }
        let missing = asked.answers(&self.pipeline);
        let engine = &mut self.pipeline.engine;
        // Rows of a whole window may end before a hole does. It is asked for by itself then.
        let has_all = |missing: &Missing| match (asked.missing, missing) {
            (Missing::Warm, Missing::Span(span)) => reached >= Some(span.to),
            _ => true,
        };
        let missing = missing.filter(has_all);
        let Some(missing) =
            missing.filter(|missing| engine.begin_history(symbol, *missing).is_ok())
        else {
            // It lacks nothing that these rows give, or its tick is refused as well.
            if after_gap {
                engine.mark_gap_before(symbol, None);
            }
            return Ok(());
        };
        let Post { seat, role, .. } = self.pipeline.post();
        let of_seat = of_live.iter().filter(|(of, _)| *of == seat && role == Role::Shadow);
        of_seat.for_each(|(_, score)| self.pipeline.engine.scores_mut().meet(*score));
        let is_joined = matches!(missing, Missing::Span(_));
        let origin = Origin::History(Seam { is_joined, covers });
        for (((tick, _), doubt), used) in ticks.iter().zip(doubts).zip(used) {
            if tick.symbol == symbol && asked.holds(missing, tick.time, covers) {
                let (tick, doubt) = (tick.clone(), *doubt);
                let (position, received, late) = (None, None, false);
                let next = DeferredTick { tick, doubt, position, received, late, origin };
                let repeats = self.pipeline.engine().tally().repeats;
                let refused = self.take(&next, flush)?;
                let is_repeat = self.pipeline.engine().tally().repeats > repeats;
                *used |= refused.is_none() && !is_repeat;
            }
        }
        self.pipeline.engine.set_origin(Origin::Live);
        let scores = self.pipeline.engine.scores_mut();
        scores.part();
        of_live.extend(scores.take_for_shadows().map(|score| (seat, score)));
        self.pipeline.engine.end_history(symbol, missing, after_gap);
        Ok(())
    }
}

impl Asked<'_> {
    /// What a model lacks and the answer has. A model that was exchanged meanwhile may lack more.
    fn answers(&self, pipeline: &Pipeline) -> Option<Missing> {
        let engine = &pipeline.engine;
        let missing = match self.time {
            Some(time) => engine.missing(self.symbol, time, self.after_gap),
            None => engine.missing_at_start(self.symbol),
        };
        missing.filter(|missing| self.missing.covers(*missing))
    }

    /// Whether a row belongs into what is missing. It ends before the record, which thereby proves
    /// that it is finished.
    fn holds(&self, missing: Missing, row: UnixNanos, covers: DurationNanos) -> bool {
        let (from, to) = match missing {
            Missing::Warm => (None, self.time),
            Missing::Span(Span { from, to }) => (Some(from), Some(to)),
        };
        let ends_before = |to| row < to && row.checked_add(covers).is_some_and(|end| end <= to);
        from.is_none_or(|from| from <= row) && to.is_none_or(ends_before)
    }
}

#[cfg(test)]
mod tests;
