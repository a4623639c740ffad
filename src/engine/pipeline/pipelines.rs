//! All models of one stream behind one decoder.
//!
//! Owns the decoding of a record, which belongs to no model, the roles of the models, and what
//! became of each record on the stream. Each tick is decoded once, with the fields of all models,
//! and each model takes those of the symbols that it wants: the live ones at once, the shadows when
//! the live ones are done with the batch ([`Pipelines::take_deferred`]), and the blends when the
//! shadows are ([`Pipelines::take_blends`]). Promises that every model
//! sees the ticks of its symbols in the order of the records, as if it were alone, and that what
//! became of a record on the stream follows from the live models.

use std::sync::Arc;

use super::deferred::{Deferred, DeferredTick, Next};
use super::{Pipeline, PipelineSettings, Post, Role, StoredState};
use crate::core::decode::{JsonDecoder, TimeForm, symbol_of};
use crate::core::domain::{
    DurationNanos, Member, Position, Projection, Reject, RejectTally, Rejection, Schema,
    SchemaError, SymbolPatterns, Tick, TimeDoubt, TimeFormat, TimeUnit, UnixNanos,
};
use crate::core::history::Origin;
use crate::engine::symbols::Heard;

/// A model on its way into a stream.
pub struct StreamModel {
    /// As the configuration and the metrics name it.
    pub name: Arc<str>,
    /// Which symbols it wants.
    pub symbols: SymbolPatterns,
    /// Its seat and its first role.
    pub seat: usize,
    /// What it does first.
    pub role: Role,
    /// Its path from ticks to forecasts.
    pub pipeline: Pipeline,
}

/// What became of the records of a stream: `ticks = used + refused + unwanted`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamTally {
    /// Records.
    pub ticks: u64,
    /// Those that went into the state of a live model, or were in it already.
    pub used: u64,
    /// Those that no live model took although one wants the symbol, by the reason of the first.
    pub rejects: RejectTally,
    /// Those of symbols that no live model wants.
    pub unwanted: u64,
    /// Those that belong to the history before the stream; each is in one of the others, too.
    pub history: u64,
}

/// The models of a stream behind their decoder.
pub struct Pipelines {
    pub(super) decoder: JsonDecoder,
    /// Every field that a model reads.
    schema: Schema,
    time_unit: TimeUnit,
    time_format: TimeFormat,
    record_bytes_max: usize,
    /// Whether any event time is taken for right.
    accepts_times: bool,
    /// In the order of the configuration; at least one is live.
    models: Vec<Model>,
    tally: StreamTally,
    /// How far ahead of its reception the newest record was that the stream refused for it.
    newest_ahead: Option<DurationNanos>,
    /// What the shadows have still to take.
    pub(super) deferred: Deferred,
    /// Whether a shadow is compared with a live model.
    pub(super) has_rivals: bool,
    /// What each model has said, on its way to blends; kept for its memory.
    pub(super) heard: Vec<Vec<Heard>>,
    /// Stored states under keys that are not in use any more, whose end is to be stored.
    pub(super) orphans: Vec<StoredState>,
}

/// One model of a stream.
pub(super) struct Model {
    pub(super) name: Arc<str>,
    pub(super) symbols: SymbolPatterns,
    projection: Projection,
    pub(super) pipeline: Pipeline,
    /// Of a blend: the places of its members, `None` for one that does not run.
    pub(super) members: Vec<Option<usize>>,
}

/// What is known of a record beside its tick.
#[derive(Clone, Copy)]
pub(super) struct Arrived {
    pub(super) position: Option<Position>,
    pub(super) received: Option<UnixNanos>,
    pub(super) late: bool,
    pub(super) origin: Origin,
}

/// What became of a record at the live models so far.
enum Verdict {
    Unwanted,
    Used,
    Refused(Rejection),
}

impl Pipelines {
    /// A stream with one model.
    ///
    /// # Panics
    /// Never: one schema is no larger than itself.
    pub fn new(live: Pipeline, settings: &PipelineSettings) -> Self {
        let schema = live.schema().clone();
        let (name, symbols) = (Arc::from(&*live.manifest().name), SymbolPatterns::default());
        let model = StreamModel { name, symbols, seat: 0, role: Role::Live, pipeline: live };
        Self::with_schema(vec![model], schema, settings)
    }

    /// A stream with several models, each under the name by which its states are stored.
    ///
    /// # Errors
    /// [`SchemaError`] where all of them together read too many fields.
    pub fn of(
        mut models: Vec<StreamModel>,
        settings: &PipelineSettings,
    ) -> Result<Self, SchemaError> {
        let schema = Schema::union(models.iter().map(|model| model.pipeline.schema()))?;
        for StreamModel { name, pipeline, .. } in &mut models {
            pipeline.store_as(Some(Arc::clone(name)));
        }
        Ok(Self::with_schema(models, schema, settings))
    }

    fn with_schema(models: Vec<StreamModel>, schema: Schema, settings: &PipelineSettings) -> Self {
        let PipelineSettings { time_unit, record_bytes_max, accepts_times, .. } = *settings;
        let time_format = settings.time_format.clone();
        let decoder = JsonDecoder::new(schema.clone(), &[], time_unit, record_bytes_max)
            .with_time_format(time_format.clone());
        let models = models.into_iter().enumerate().map(|(index, model)| {
            let StreamModel { name, symbols, seat, role, mut pipeline } = model;
            pipeline.take_post(Post { index, seat, role, place: index });
            let projection = pipeline.schema().projection(&schema);
            Model { name, symbols, projection, pipeline, members: Vec::new() }
        });
        let mut models: Vec<_> = models.collect();
        let heard = join(&mut models);
        let mut pipelines = Self {
            models,
            heard,
            decoder,
            schema,
            time_unit,
            time_format,
            record_bytes_max,
            accepts_times,
            tally: StreamTally::default(),
            newest_ahead: None,
            deferred: Deferred::default(),
            has_rivals: false,
            orphans: Vec::new(),
        };
        pipelines.pair();
        pipelines
    }

    /// The first live model.
    pub fn live(&self) -> &Pipeline {
        let live = self.models.iter().find(|model| model.role() == Role::Live);
        &live.unwrap_or(&self.models[0]).pipeline
    }

    /// As [`Pipelines::live`], to drive it.
    pub fn live_mut(&mut self) -> &mut Pipeline {
        let live = self.models.iter().position(|model| model.role() == Role::Live);
        &mut self.models[live.unwrap_or(0)].pipeline
    }

    /// How many models there are.
    pub fn count(&self) -> usize {
        self.models.len()
    }

    /// Every model's name and pipeline, in the order of the configuration.
    pub fn each(&self) -> impl Iterator<Item = (&Arc<str>, &Pipeline)> {
        self.models.iter().map(|model| (&model.name, &model.pipeline))
    }

    /// Every pipeline, to drive it.
    pub fn each_mut(&mut self) -> impl Iterator<Item = &mut Pipeline> {
        self.models.iter_mut().map(|model| &mut model.pipeline)
    }

    /// As [`Pipelines::each`], to drive them.
    pub fn each_named_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Pipeline)> {
        self.models.iter_mut().map(|model| (&model.name, &mut model.pipeline))
    }

    /// The pipelines of a role, to drive them.
    pub fn of_role_mut(&mut self, role: Role) -> impl Iterator<Item = &mut Pipeline> {
        self.each_mut().filter(move |pipeline| pipeline.post().role == role)
    }

    /// The pipeline at a place of the configuration, which there is.
    pub fn at(&self, index: usize) -> &Pipeline {
        &self.models[index].pipeline
    }

    /// As [`Pipelines::at`], to drive it.
    pub fn at_mut(&mut self, index: usize) -> &mut Pipeline {
        &mut self.models[index].pipeline
    }

    pub(super) fn models(&self) -> &[Model] {
        &self.models
    }

    pub(super) fn models_mut(&mut self) -> &mut [Model] {
        &mut self.models
    }

    /// Every field that a model reads.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What became of the records.
    pub fn tally(&self) -> &StreamTally {
        &self.tally
    }

    /// How many ticks went into the states of the live models; one is counted for each of them.
    pub fn taken(&self) -> u64 {
        let live = self.models.iter().filter(|model| model.role() == Role::Live);
        let tallies = live.map(|model| model.pipeline.engine().tally());
        tallies.map(|tally| tally.ticks - tally.repeats - tally.rejects.total()).sum()
    }

    /// Puts another pipeline in place of one, which comes back: another version of its model, which
    /// has the role of the one before. In a place that was vacant it is a shadow.
    ///
    /// # Panics
    /// Where all models together would read more fields than a record can have, which a reload
    /// looks at first.
    pub fn replace(&mut self, index: usize, next: Pipeline) -> Pipeline {
        let before = std::mem::replace(&mut self.models[index].pipeline, next);
        let pipeline = &mut self.models[index].pipeline;
        let mut post = before.post();
        if post.role == Role::Vacant {
            post.role = Role::Shadow;
        }
        pipeline.take_post(post);
        pipeline.store_as(before.stored_as().map(Arc::from));
        if self.models.iter().any(|model| model.members.contains(&Some(index))) {
            self.models[index].pipeline.engine.pass_on();
        }
        let schemas = self.models.iter().map(|model| model.pipeline.schema());
        self.schema = Schema::union(schemas).expect("a reload refuses a model of too many fields");
        for model in &mut self.models {
            model.projection = model.pipeline.schema().projection(&self.schema);
        }
        let Self { schema, time_unit, record_bytes_max, time_format, .. } = self;
        self.decoder = JsonDecoder::new(schema.clone(), &[], *time_unit, *record_bytes_max)
            .with_time_format(time_format.clone());
        self.pair();
        before
    }

    /// Gives a model the seat that it is a shadow of; the live one becomes a shadow. Nothing may
    /// wait for inference or be deferred.
    pub fn promote(&mut self, index: usize) {
        let Post { seat, place, .. } = self.models[index].pipeline.post();
        let has_seat = |model: &Model| {
            let post = model.pipeline.post();
            post.seat == seat && post.role == Role::Live
        };
        let Some(before) = self.models.iter().position(has_seat).filter(|live| *live != index)
        else {
            return;
        };
        if let Ok([next, before]) = self.models.get_disjoint_mut([index, before]) {
            next.pipeline.engine_mut().follow_health(before.pipeline.engine());
        }
        for (at, role) in [(before, Role::Shadow), (index, Role::Live)] {
            let post = self.models[at].pipeline.post();
            self.models[at].pipeline.take_post(Post { role, place, ..post });
        }
        self.pair();
    }

    /// Decodes one record and has every live model take it that wants its symbol; returns the
    /// reason where none took it, in terms of [`Pipelines::schema`]. `decoded` is called between
    /// decoding and the step, for measuring; see [`Pipeline::take`] for the others.
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
        let outcome = self.decoder.decode_timed(record);
        decoded();
        let arrived = Arrived { position, received, late: false, origin: Origin::Live };
        self.take_decoded(outcome, arrived, &mut flush)
    }

    /// As [`Pipelines::take`], of what the decoder has made of a record.
    pub(super) fn take_decoded<E>(
        &mut self,
        outcome: Result<(Tick<'_>, TimeForm), Rejection>,
        arrived: Arrived,
        flush: &mut impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<Option<Rejection>, E> {
        let Arrived { position, received, late, origin } = arrived;
        self.tally.ticks += 1;
        self.tally.history += u64::from(matches!(origin, Origin::History(_)));
        let (tick, form) = match outcome {
            Ok(decoded) => decoded,
            Err(rejection) => {
                let models = self.models.iter_mut().filter(|model| model.role() != Role::Vacant);
                models.for_each(|model| model.pipeline.engine_mut().refuse(rejection.reason));
                self.tally.rejects.add(rejection.reason);
                return Ok(Some(rejection));
            }
        };
        let doubt = self.doubt_of(&tick, form, received);
        let next = DeferredTick { tick, doubt, position, received, late, origin };
        let (mut verdict, mut is_deferred) = (Verdict::Unwanted, false);
        for model in self.models.iter_mut().filter(|model| model.wants(&next.tick.symbol)) {
            if model.role() != Role::Live {
                is_deferred = true;
                continue;
            }
            verdict = verdict.with(model.take(&next, flush)?);
        }
        if self.has_rivals {
            let live = self.models.iter_mut().filter(|model| model.role() == Role::Live);
            for pipeline in live.map(|model| &mut model.pipeline) {
                let seat = pipeline.post().seat;
                let scores = pipeline.engine_mut().scores_mut().take_for_shadows();
                let scores = scores.filter(|_| is_deferred);
                scores.for_each(|score| self.deferred.score(seat, score));
            }
        }
        if is_deferred {
            self.deferred.tick(&next);
        }
        Ok(match verdict {
            Verdict::Unwanted => {
                self.tally.unwanted += 1;
                None
            }
            Verdict::Used => {
                self.tally.used += 1;
                None
            }
            Verdict::Refused(rejection) => {
                self.tally.rejects.add(rejection.reason);
                if rejection.reason == Reject::InFuture {
                    let DeferredTick { tick, received, .. } = &next;
                    self.newest_ahead = received.and_then(|received| tick.time.since(received));
                }
                Some(rejection)
            }
        })
    }

    /// Why the event time of a tick may be wrong.
    pub(super) fn doubt_of(
        &self,
        tick: &Tick<'_>,
        form: TimeForm,
        received: Option<UnixNanos>,
    ) -> Option<TimeDoubt> {
        // What is received now did not happen in 1970, however that was written.
        let is_judged = form == TimeForm::Number || received.is_some();
        let doubt = TimeDoubt::of(tick.time, self.time_unit);
        doubt.filter(|_| is_judged && !self.accepts_times)
    }

    /// Has the shadows take what the live models have taken since the last time. `flush` is as of
    /// [`Pipelines::take`], and is called for each run of inference, so that it can leave out those
    /// that follow.
    ///
    /// # Errors
    /// Those of `flush`; what is left is not taken then.
    pub fn take_deferred<E>(
        &mut self,
        mut flush: impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.deferred.has_untaken() {
            return Ok(());
        }
        let Self { models, deferred, .. } = self;
        for shadow in models.iter_mut().filter(|model| model.role() == Role::Shadow) {
            shadow.take_all(deferred.untaken(), &mut flush)?;
        }
        if self.has_blends() {
            self.deferred.note_taken();
        } else {
            self.deferred.clear();
        }
        Ok(())
    }

    /// The models beside what they have still to take.
    pub(super) fn models_and_deferred(&mut self) -> (&mut [Model], &Deferred) {
        (&mut self.models, &self.deferred)
    }

    /// How far the newest record that the stream refused as [`Reject::InFuture`] was ahead of its
    /// reception; `None` before the first.
    pub fn newest_ahead(&self) -> Option<DurationNanos> {
        self.newest_ahead
    }

    /// Whether any model wants a symbol.
    pub fn wants(&self, symbol: &str) -> bool {
        self.models.iter().any(|model| model.wants(symbol))
    }

    /// Notes that data of every symbol may be missing from here on. Nothing may be deferred.
    pub fn mark_gap(&mut self) {
        self.each_mut().for_each(|pipeline| pipeline.engine_mut().mark_gap());
    }

    /// Notes that data of the symbol of a record may be missing right before it. To be called
    /// before the record is taken, which may still be refused: the mark then waits for the next
    /// one.
    pub fn mark_gap_before(&mut self, record: &[u8], position: Option<Position>) {
        let Some(symbol) = symbol_of(record) else { return };
        let mut is_deferred = false;
        for model in &mut self.models {
            match model.role() {
                Role::Live => model.pipeline.engine_mut().mark_gap_before(&symbol, position),
                Role::Shadow | Role::Blend => is_deferred = true,
                Role::Vacant => {}
            }
        }
        if is_deferred {
            self.deferred.gap(&symbol, position);
        }
    }

    /// Forgets what is deferred.
    pub(super) fn drop_deferred(&mut self) {
        self.deferred.clear();
    }
}

impl Model {
    pub(super) fn role(&self) -> Role {
        self.pipeline.post().role
    }

    pub(super) fn is_blend(&self) -> bool {
        self.role() == Role::Blend
    }

    /// Takes what was deferred, as far as the model wants it.
    pub(super) fn take_all<'d, E>(
        &mut self,
        deferred: impl Iterator<Item = Next<'d>>,
        flush: &mut impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<(), E> {
        let seat = self.pipeline.post().seat;
        for next in deferred {
            match next {
                Next::Score { seat: of, score } if of == seat => {
                    self.pipeline.engine_mut().scores_mut().meet(score);
                }
                Next::Score { .. } => {}
                Next::Tick(next) => {
                    let is_wanted = self.wants(&next.tick.symbol);
                    if is_wanted {
                        self.take(&next, flush)?;
                    }
                    self.pipeline.engine_mut().scores_mut().part();
                    if is_wanted && self.pipeline.engine().has_full_run() {
                        flush(&mut self.pipeline)?;
                    }
                }
                Next::Gap(symbol, position) => {
                    self.pipeline.engine_mut().mark_gap_before(symbol, position);
                }
            }
        }
        Ok(())
    }

    pub(super) fn wants(&self, symbol: &str) -> bool {
        self.role() != Role::Vacant && self.symbols.wants(symbol)
    }

    /// Takes a tick with the columns of this model; a reason comes back with those of the stream.
    pub(super) fn take<E>(
        &mut self,
        next: &DeferredTick<'_>,
        flush: &mut impl FnMut(&mut Pipeline) -> Result<(), E>,
    ) -> Result<Option<Rejection>, E> {
        let Self { projection, pipeline, .. } = self;
        let DeferredTick { tick, doubt, position, received, late, origin } = next;
        let engine = pipeline.engine_mut();
        engine.set_doubt(*doubt);
        engine.set_origin(*origin);
        if !matches!(origin, Origin::History(_)) {
            engine.meet_live(&tick.symbol, tick.time);
        }
        // What is missing may lie behind a tick that comes late, so it takes no mark away.
        let keeps_gap = *late && engine.has_gap(&tick.symbol);
        let refused = if projection.is_identity() {
            pipeline.take(tick, *position, *received, flush)?
        } else {
            let tick = narrowed(projection, tick);
            pipeline.take(&tick, *position, *received, flush)?
        };
        if keeps_gap {
            pipeline.engine_mut().mark_gap_before(&tick.symbol, None);
        }
        Ok(refused.map(|rejection| widened(projection, rejection)))
    }

    /// Why this model cannot take a row of history, with the columns of the stream.
    pub(super) fn obstacle(&self, row: &Tick<'_>) -> Option<Rejection> {
        let Self { projection, pipeline, .. } = self;
        let rejection = if projection.is_identity() {
            pipeline.obstacle(row, None)
        } else {
            pipeline.obstacle(&narrowed(projection, row), None)
        };
        rejection.map(|rejection| widened(projection, rejection))
    }
}

/// Finds the members of each blend, which pass their forecasts on from here on. Returns a place for
/// those of each model.
fn join(models: &mut [Model]) -> Vec<Vec<Heard>> {
    for blend in 0..models.len() {
        let place_of = |name: &Arc<str>| models.iter().position(|model| model.name == *name);
        let members: Vec<_> = models[blend].pipeline.members().iter().map(place_of).collect();
        for member in members.iter().flatten() {
            models[*member].pipeline.engine_mut().pass_on();
        }
        models[blend].members = members;
    }
    models.iter().map(|_| Vec::new()).collect()
}

/// A tick of the stream with the columns of one model.
fn narrowed<'t>(projection: &Projection, tick: &'t Tick<'_>) -> Tick<'t> {
    let fields = projection.apply(&tick.fields);
    Tick { symbol: (&*tick.symbol).into(), time: tick.time, fields }
}

/// A reason of one model with the columns of the stream.
fn widened(projection: &Projection, Rejection { reason, member }: Rejection) -> Rejection {
    let member = member.map(|member| match member {
        Member::Field(field) if !projection.is_identity() => {
            Member::Field(projection.widened(field))
        }
        other => other,
    });
    Rejection { reason, member }
}

impl Verdict {
    /// The same with what became of the record at another model.
    fn with(self, refused: Option<Rejection>) -> Self {
        match (self, refused) {
            (Self::Used, _) | (_, None) => Self::Used,
            (Self::Unwanted, Some(rejection)) => Self::Refused(rejection),
            (first @ Self::Refused(_), Some(_)) => first,
        }
    }
}

impl StreamTally {
    /// How many records were refused for a reason.
    pub fn refused(&self, reason: Reject) -> u64 {
        self.rejects.get(reason)
    }
}
