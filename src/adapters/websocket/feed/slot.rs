//! One share of a feed's symbols: the connection that carries them, the one that will replace it,
//! and the handover between the two.
//!
//! Owns when to connect, and which of two connections a tick is taken from. Promises that a
//! connection is replaced before its life ends, by one that has subscribed and, where ids can show
//! it, carries the same ticks; that until a symbol is shown to be carried by both its ticks come
//! from the older one alone; and that symbols for which it was not shown are in doubt afterwards.
//! Never sends or reads a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::continuity::{Continuity, ContinuityRules, Identity, Verdict};
use super::line::{Line, Turn};
use super::{Action, Delivery, Failure, FeedState, LineId, Notice, Shared};
use crate::core::venue::{FrameKind, Mapped, TradeId};
use crate::net::backoff::Backoff;

/// A connection is replaced when so much of its life is left, as a share of it and at most.
const LEAD_SHARE: u32 = 10;
const LEAD_MAX: Duration = Duration::from_secs(600);

/// What a share of a feed knows.
#[derive(Debug)]
pub(super) struct Slot {
    share: usize,
    continuity: Continuity,
    /// The connection that carries the symbols.
    current: Option<Line>,
    /// The one that will replace it.
    next: Option<Line>,
    /// The connection that is being made.
    dialled: Option<LineId>,
    /// When the next attempt is to be made, where one is wanted.
    attempt_at: Option<Duration>,
    /// When `current` is to be replaced.
    replace_at: Option<Duration>,
    backoff: Backoff,
    /// Since when there is no connection.
    down_since: Duration,
    /// Whether ticks were passed on, so that others can be missing behind them.
    delivered: bool,
    state: FeedState,
    held: Held,
}

/// Ticks of a new connection that wait for the old one to carry one of them.
#[derive(Debug, Default)]
struct Held {
    of_symbol: BTreeMap<Box<str>, Vec<Tick>>,
    count: usize,
}

/// A tick that outlives its frame.
#[derive(Clone, Debug)]
struct Tick {
    record: Bytes,
    symbol: Option<Box<str>>,
    trade_id: Option<OwnedId>,
    sequence: Option<u64>,
    /// Whether its frame came behind frames that it belongs before.
    late: bool,
}

#[derive(Clone, Debug)]
enum OwnedId {
    Number(u64),
    Text(Box<str>),
}

impl Tick {
    fn of(record: Bytes, mapped: &Mapped<'_>) -> Self {
        let trade_id = mapped.trade_id.map(|id| match id {
            TradeId::Number(number) => OwnedId::Number(number),
            TradeId::Text(text) => OwnedId::Text(text.into()),
        });
        let Mapped { symbol, sequence, .. } = *mapped;
        Self { record, symbol: symbol.map(Into::into), trade_id, sequence, late: false }
    }

    fn identity(&self) -> Identity<'_> {
        let trade_id = self.trade_id.as_ref().map(|id| match id {
            OwnedId::Number(number) => TradeId::Number(*number),
            OwnedId::Text(text) => TradeId::Text(text),
        });
        let Self { sequence, late, .. } = *self;
        Identity { symbol: self.symbol.as_deref(), trade_id, sequence, late }
    }
}

/// Which of two connections a tick came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Current,
    Next,
}

/// The parts of a slot and of what is shared that a tick goes through, apart from the connection
/// that it came by.
struct Way<'a> {
    continuity: &'a mut Continuity,
    held: &'a mut Held,
    delivered: &'a mut bool,
    deliveries: &'a mut Vec<Delivery>,
    tally: &'a mut super::FeedTally,
    /// The connections, where there are two.
    overlap: Option<LineId>,
    held_max: usize,
}

impl Way<'_> {
    /// Takes one tick in.
    fn take(
        &mut self,
        role: Role,
        line: LineId,
        identity: &Identity<'_>,
        record: impl FnOnce() -> Bytes,
        keep: impl FnOnce(Bytes) -> Tick,
    ) {
        self.tally.ticks += 1;
        let Some(next) = self.overlap else { return self.judge(line, identity, record) };
        let met = identity.symbol.is_some_and(|symbol| self.continuity.has_met(symbol));
        match role {
            Role::Current => {
                self.judge(line, identity, record);
                if !met && let Some(symbol) = identity.symbol {
                    self.meet_held(next, symbol);
                }
            }
            Role::Next if met => self.judge(line, identity, record),
            Role::Next
                if !self.continuity.tells_apart()
                    || identity.trade_id.is_none()
                    || identity.symbol.is_none() =>
            {
                self.tally.overlapping += 1;
            }
            Role::Next => {
                let symbol = identity.symbol.unwrap_or_default();
                if self.continuity.joins(identity) {
                    self.continuity.meet(symbol);
                    self.release(next, symbol);
                    self.judge(line, identity, record);
                } else {
                    self.held.count += 1;
                    self.tally.held += 1;
                    let ticks = self.held.of_symbol.entry(symbol.into()).or_default();
                    ticks.push(keep(record()));
                }
            }
        }
    }

    /// Looks whether the older connection has just carried what the new one had brought before.
    fn meet_held(&mut self, next: LineId, symbol: &str) {
        let Some(ticks) = self.held.of_symbol.get(symbol) else { return };
        if ticks.iter().any(|tick| self.continuity.joins(&tick.identity())) {
            self.continuity.meet(symbol);
            self.release(next, symbol);
        }
    }

    /// Passes on what was held of a symbol.
    fn release(&mut self, next: LineId, symbol: &str) {
        let Some(ticks) = self.held.of_symbol.remove(symbol) else { return };
        self.held.count -= ticks.len();
        self.tally.held -= ticks.len() as u64;
        for tick in ticks {
            self.judge(next, &tick.identity(), || tick.record.clone());
        }
    }

    /// Passes a tick on, or drops it, and counts.
    fn judge(&mut self, line: LineId, identity: &Identity<'_>, record: impl FnOnce() -> Bytes) {
        match self.continuity.judge(line, identity) {
            Verdict::Pass { after_gap, missing, late } => {
                *self.delivered = true;
                self.tally.passed += 1;
                self.tally.missing += missing;
                self.tally.late += u64::from(late);
                self.tally.marked += u64::from(after_gap);
                self.deliveries.push(Delivery { record: record(), after_gap });
            }
            Verdict::Duplicate => self.tally.duplicates += 1,
            Verdict::Forgotten => self.tally.forgotten += 1,
        }
    }

    fn is_full(&self) -> bool {
        self.held.count >= self.held_max
    }
}

impl Slot {
    pub(super) fn new(share: usize, count: usize, shared: &Shared) -> Self {
        let rules = ContinuityRules {
            trade_ids: shared.venue.trade_ids(),
            symbols_max: shared.settings.symbols_max.div_ceil(count),
            ids_max: shared.settings.ids_max,
        };
        let seed = shared.seed.wrapping_add(share as u64);
        let mut backoff = Backoff::new(shared.settings.backoff_max, seed);
        Self {
            share,
            continuity: Continuity::new(rules),
            current: None,
            next: None,
            dialled: None,
            attempt_at: Some(backoff.next_wait()),
            replace_at: None,
            backoff,
            down_since: Duration::ZERO,
            delivered: false,
            state: FeedState::Connecting,
            held: Held::default(),
        }
    }

    pub(super) fn state(&self) -> FeedState {
        self.state
    }

    /// Whether this connection is being made for us.
    pub(super) fn dials(&self, line: LineId) -> bool {
        self.dialled == Some(line)
    }

    /// Whether this connection is ours.
    pub(super) fn holds(&self, line: LineId) -> bool {
        self.lines().any(|open| open.id == line)
    }

    pub(super) fn line(&mut self, line: LineId) -> Option<&mut Line> {
        self.current.iter_mut().chain(self.next.iter_mut()).find(|open| open.id == line)
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.current.iter().chain(self.next.iter())
    }

    /// When something has to be done.
    pub(super) fn due(&self, shared: &Shared) -> Duration {
        let settings = &shared.settings;
        let limits = shared.venue.limits();
        let lines = self.lines().map(|line| line.due(limits, settings));
        let attempt = self.attempt_at.filter(|_| self.dialled.is_none());
        let attempt = attempt.map(|at| shared.connects.ready_at(at));
        let others = [
            attempt,
            self.replace_at.filter(|_| self.attempt_at.is_none()),
            self.overlap_ends_at(settings.overlap),
            self.state_ends_at(settings.idle_timeout),
        ];
        lines.chain(others.into_iter().flatten()).min().unwrap_or(Duration::MAX)
    }

    /// When the older one of two connections has to go.
    fn overlap_ends_at(&self, overlap: Duration) -> Option<Duration> {
        let (next, _) = self.next.as_ref().zip(self.current.as_ref())?;
        next.subscriptions.are_settled().then(|| next.opened_at + overlap)
    }

    /// When the state will be another one if nothing happens.
    fn state_ends_at(&self, idle_timeout: Duration) -> Option<Duration> {
        match (&self.current, self.state) {
            (Some(line), FeedState::Live) => line.data_at,
            (None, FeedState::Connecting) => Some(self.down_since),
            _ => None,
        }
        .map(|since| since + idle_timeout)
    }

    pub(super) fn held_up(&mut self, span: Duration) {
        self.current.iter_mut().chain(self.next.iter_mut()).for_each(|line| line.held_up(span));
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Duration, shared: &mut Shared) {
        self.look_at_clocks(now, shared);
        if self.replace_at.is_some_and(|at| at <= now) {
            self.replace_at = None;
            self.want_successor(now, shared);
        }
        if self.overlap_ends_at(shared.settings.overlap).is_some_and(|at| at <= now) {
            self.hand_over(now, shared);
        }
        if self.attempt_at.is_some_and(|at| shared.connects.ready_at(at) <= now)
            && self.dialled.is_none()
        {
            shared.connects.take(now);
            let line = shared.next_line();
            self.attempt_at = None;
            self.dialled = Some(line);
            shared.actions.push_back(Action::Connect { line, share: self.share });
        }
        self.judge_state(now, shared);
    }

    fn look_at_clocks(&mut self, now: Duration, shared: &mut Shared) {
        for id in [&self.current, &self.next].map(|line| line.as_ref().map(|line| line.id)) {
            let Some(id) = id else { continue };
            // The first may have ended, and the second taken its place.
            let (settings, venue) = (shared.settings, std::sync::Arc::clone(&shared.venue));
            let Some(line) = self.line(id) else { continue };
            let found = line.tick(now, venue.limits(), &settings);
            shared.actions.extend(found.actions);
            for failed in found.failed {
                shared.tally.not_subscribed += 1;
                let (symbols, why) = (failed.symbols, failed.why);
                shared.notices.push(Notice::NotSubscribed { share: self.share, symbols, why });
            }
            if let Some(why) = found.dead {
                shared.actions.push_back(Action::Close { line: id, reason: "no sign of life" });
                self.ended(now, id, &Failure { why, ..Failure::default() }, shared);
            }
        }
    }

    /// Begins to replace the connection while it stands.
    fn want_successor(&mut self, now: Duration, shared: &Shared) {
        let Some(current) = &self.current else { return };
        if self.next.is_some() || self.dialled.is_some() || self.attempt_at.is_some() {
            return;
        }
        if current.has_proved_itself(now, shared.settings.backoff_max) {
            self.backoff.reset();
        }
        self.attempt_at = Some(now + self.backoff.next_wait());
    }

    /// A connection that was asked for stands.
    pub(super) fn opened(&mut self, now: Duration, id: LineId, shared: &mut Shared) {
        self.dialled = None;
        let Self { share, .. } = *self;
        let venue = std::sync::Arc::clone(&shared.venue);
        let seed = shared.seed ^ id.0.rotate_left(32);
        let plan = &venue.connections()[share];
        let line = Line::new(id, &venue, plan, &shared.settings, seed, now);
        let replaces = self.current.is_some();
        shared.notices.push(Notice::Connected { share, replaces });
        if replaces {
            self.next = Some(line);
        } else {
            if self.delivered {
                // What came while there was no connection is missing, if anything was there.
                self.continuity.doubt_all();
            }
            self.current = Some(line);
            self.replace_at = self.replacement_of(id, now, shared);
        }
        self.tick(now, shared);
    }

    /// When a connection that stands since `opened_at` is to be replaced: spread, so that not all
    /// of them go at once.
    fn replacement_of(&self, id: LineId, opened_at: Duration, shared: &Shared) -> Option<Duration> {
        let life = shared.venue.limits().life_max?;
        let lead = (life / LEAD_SHARE).min(LEAD_MAX);
        let spread = f64::from((id.0.wrapping_mul(0x9e37_79b9) >> 8) as u8) / 256.0;
        Some(opened_at + life - lead - lead.mul_f64(spread))
    }

    /// A connection that was asked for did not come about.
    pub(super) fn failed(&mut self, now: Duration, failure: &Failure, shared: &mut Shared) {
        self.dialled = None;
        let wait = self.schedule(now, failure, shared);
        let (share, why) = (self.share, failure.why.clone());
        shared.notices.push(Notice::NotConnected { share, why, wait });
        self.tick(now, shared);
    }

    /// Sets the time of the next attempt; returns the time until then.
    fn schedule(&mut self, now: Duration, failure: &Failure, shared: &mut Shared) -> Duration {
        let mut wait = self.backoff.next_wait();
        if let Some(retry_after) = failure.retry_after {
            wait = wait.max(retry_after);
        }
        if failure.rate_limited {
            let hold = failure.retry_after.unwrap_or(shared.settings.backoff_max / 2);
            // All shares are one client to the venue.
            shared.connects.hold_until(now + hold);
            wait = wait.max(hold);
        }
        self.attempt_at = Some(now + wait);
        wait
    }

    /// A connection has ended.
    pub(super) fn ended(
        &mut self,
        now: Duration,
        id: LineId,
        failure: &Failure,
        shared: &mut Shared,
    ) {
        let share = self.share;
        let proved_after = shared.settings.backoff_max;
        shared.notices.push(Notice::Lost { share, why: failure.why.clone() });
        if self.next.take_if(|line| line.id == id).is_some() {
            // What it brought and nobody has compared, the older one carries.
            self.continuity.part();
            self.drop_held(shared);
            self.schedule(now, failure, shared);
        } else if let Some(line) = self.current.take_if(|line| line.id == id) {
            if line.has_proved_itself(now, proved_after) {
                self.backoff.reset();
            }
            self.replace_at = None;
            if self.next.is_some() {
                self.succeed(now, shared);
            } else {
                self.down_since = now;
                if self.dialled.is_none() {
                    self.schedule(now, failure, shared);
                }
            }
        }
        self.tick(now, shared);
    }

    /// Ends the older one of two connections.
    fn hand_over(&mut self, now: Duration, shared: &mut Shared) {
        let Some(old) = self.current.take() else { return };
        shared.actions.push_back(Action::Close { line: old.id, reason: "replaced" });
        shared.tally.replaced += 1;
        let (symbols, proved) = self.continuity.met();
        shared.notices.push(Notice::Replaced { share: self.share, proved, symbols });
        self.succeed(now, shared);
    }

    /// Puts the younger connection in the place of the older one, which is gone.
    fn succeed(&mut self, now: Duration, shared: &mut Shared) {
        let Some(next) = self.next.take() else { return };
        if self.delivered {
            self.continuity.doubt_unmet();
        }
        self.continuity.part();
        let held = std::mem::take(&mut self.held);
        shared.tally.held -= held.count as u64;
        let mut way = way(&mut self.continuity, &mut self.held, &mut self.delivered, shared, None);
        for tick in held.of_symbol.into_values().flatten() {
            way.judge(next.id, &tick.identity(), || tick.record.clone());
        }
        self.replace_at = self.replacement_of(next.id, next.opened_at, shared);
        self.attempt_at = None;
        self.current = Some(next);
        self.judge_state(now, shared);
    }

    fn drop_held(&mut self, shared: &mut Shared) {
        let held = std::mem::take(&mut self.held);
        shared.tally.held -= held.count as u64;
        shared.tally.overlapping += held.count as u64;
    }

    /// A data frame came.
    pub(super) fn frame(&mut self, now: Duration, id: LineId, frame: &Bytes, shared: &mut Shared) {
        let overlap = self.next.as_ref().filter(|_| self.current.is_some()).map(|line| line.id);
        let Self { continuity, held, delivered, current, next, share, .. } = self;
        let (line, role) = match (current, next) {
            (Some(line), _) if line.id == id => (line, Role::Current),
            (_, Some(line)) if line.id == id => (line, Role::Next),
            _ => return,
        };
        line.hear(now);
        let numbered = shared.venue.counts_frames();
        let settled = line.subscriptions.are_settled();
        let mut chunk = std::mem::take(&mut shared.chunk);
        // The number of a frame is known behind its ticks, which it may put in doubt.
        let mut waiting = Vec::new();
        let mut flowing = Vec::new();
        let mut way = way(continuity, held, delivered, shared, overlap);
        let outcome = line.mapper.classify(frame, |mapped| {
            if !settled && let Some(symbol) = mapped.symbol {
                flowing.push(symbol.to_owned());
            }
            let keep = |record| Tick::of(record, &mapped);
            let mut record = || Shared::keep(&mut chunk, frame, mapped.record);
            if numbered {
                waiting.push(keep(record()));
            } else {
                let Mapped { symbol, trade_id, sequence, .. } = mapped;
                let identity = Identity { symbol, trade_id, sequence, late: false };
                way.take(role, id, &identity, record, keep);
            }
        });
        let turn = outcome.sequence.map_or(Turn::Next, |number| line.hear_number(number));
        let mut skipped = turn == Turn::AfterGap;
        if skipped {
            way.continuity.doubt_all();
        }
        for mut tick in waiting {
            tick.late = turn == Turn::Late;
            let identity = tick.identity();
            if turn == Turn::Again && identity.trade_id.is_none() {
                way.tally.ticks += 1;
                way.tally.duplicates += 1;
                continue;
            }
            way.take(role, id, &identity, || tick.record.clone(), |_| tick.clone());
        }
        let full = way.is_full();
        flowing.iter().for_each(|symbol| line.subscriptions.flows(symbol));
        shared.chunk = chunk;
        let share = *share;
        match outcome.kind {
            FrameKind::Ticks { mapped, .. } if mapped > 0 => line.hear_data(now),
            FrameKind::Ticks { .. } | FrameKind::Pong | FrameKind::Other => {}
            FrameKind::Heartbeat { counter } => {
                if line.hear_heartbeat(now, counter) {
                    continuity.doubt_all();
                    skipped = true;
                }
            }
            FrameKind::Acknowledged { id, symbols } => line.subscriptions.acknowledge(id, &symbols),
            FrameKind::Refused(refusal) => {
                if refusal.rate_limited {
                    line.hold_back(now);
                }
                match line.subscriptions.refuse(&refusal, now) {
                    Some(failed) => {
                        shared.tally.not_subscribed += 1;
                        let (symbols, why) = (failed.symbols, failed.why);
                        shared.notices.push(Notice::NotSubscribed { share, symbols, why });
                    }
                    None => {
                        let text = refusal.text;
                        shared.notices.push(Notice::Refused { share, text });
                    }
                }
            }
            FrameKind::Closing => self.want_successor(now, shared),
            FrameKind::Malformed(_) => shared.tally.malformed += 1,
        }
        if skipped {
            shared.notices.push(Notice::Skipped { share });
        }
        self.after_frame(now, full, shared);
    }

    /// Ends an overlap that has served its end, and notes a feed that flows again.
    fn after_frame(&mut self, now: Duration, full: bool, shared: &mut Shared) {
        if let (Some(next), true) = (&self.next, self.current.is_some())
            && next.subscriptions.are_settled()
        {
            let (symbols, met) = self.continuity.met();
            let all_met = symbols > 0 && met == symbols;
            if full || all_met {
                self.hand_over(now, shared);
            }
        } else if full {
            // What cannot be compared is carried by the older one, which stays.
            self.drop_held(shared);
        }
        if self.state != FeedState::Live {
            self.judge_state(now, shared);
        }
    }

    fn judge_state(&mut self, now: Duration, shared: &mut Shared) {
        let idle = shared.settings.idle_timeout;
        let state = match &self.current {
            Some(line) => match line.data_at {
                Some(at) if now < at + idle => FeedState::Live,
                None if !line.subscriptions.has_begun() => FeedState::Connecting,
                Some(_) | None => FeedState::Quiet,
            },
            None if now < self.down_since + idle => FeedState::Connecting,
            // An outage is over when there is a connection, not when one is tried.
            None => FeedState::Dead,
        };
        if std::mem::replace(&mut self.state, state) != state {
            shared.notices.push(Notice::State { share: self.share, state });
        }
    }
}

fn way<'a>(
    continuity: &'a mut Continuity,
    held: &'a mut Held,
    delivered: &'a mut bool,
    shared: &'a mut Shared,
    overlap: Option<LineId>,
) -> Way<'a> {
    let held_max = shared.settings.ids_max.saturating_mul(4).max(1024);
    let (deliveries, tally) = (&mut shared.deliveries, &mut shared.tally);
    Way { continuity, held, delivered, deliveries, tally, overlap, held_max }
}
