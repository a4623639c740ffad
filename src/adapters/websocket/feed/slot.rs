//! One share of a feed's symbols: the connection that carries them, the one that will replace it,
//! and the handover between the two.
//!
//! Owns when to connect and when to hand over. Promises that a connection is replaced before its
//! life ends, by one that has subscribed and, where ids can show it, carries the same ticks; and
//! that symbols for which it was not shown are in doubt afterwards. Never sends or reads a clock.
//!
//! What a frame brings is in `frame`.

mod frame;

use std::sync::Arc;
use std::time::Duration;

use super::apart::Apart;
use super::continuity::{Continuity, ContinuityRules};
use super::line::Line;
use super::subscriptions::{Failed, Next};
use super::way::{Held, way};
use super::{Action, ConnectionFailure, FeedState, LineId, Notice, Shared};
use crate::net::backoff::Backoff;

/// A connection is replaced when so much of its life is left, as a share of it and at most.
const LEAD_SHARE: u32 = 10;
const LEAD_MAX: Duration = Duration::from_secs(600);

/// What a share of a feed knows.
#[derive(Debug)]
pub(super) struct Slot {
    share: usize,
    continuity: Continuity,
    /// The symbols that the venue does not take.
    apart: Apart,
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
            apart: Apart::new(shared.settings.backoff_max),
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

    /// Does what is due on each connection.
    fn look_at_clocks(&mut self, now: Duration, shared: &mut Shared) {
        for id in [&self.current, &self.next].map(|line| line.as_ref().map(|line| line.id)) {
            let Some(id) = id else { continue };
            // The first may have ended, and the second taken its place.
            let (settings, venue) = (shared.settings, Arc::clone(&shared.venue));
            let Self { current, next, apart, .. } = self;
            let mut lines = current.iter_mut().chain(next.iter_mut());
            let Some(line) = lines.find(|line| line.id == id) else { continue };
            let found = line.tick(now, venue.limits(), &settings, apart);
            shared.actions.extend(found.actions);
            found.failed.into_iter().for_each(|failed| self.report(failed, shared));
            self.report_changes(shared);
            if let Some(why) = found.dead {
                shared.actions.push_back(Action::Close { line: id, reason: "no sign of life" });
                self.ended(
                    now,
                    id,
                    &ConnectionFailure { why, ..ConnectionFailure::default() },
                    shared,
                );
            }
        }
    }

    /// Counts symbols that were not subscribed, and says so.
    fn report(&self, failed: Failed, shared: &mut Shared) {
        let share = self.share;
        let Failed { symbols, why, next } = failed;
        shared.tally.not_subscribed += 1;
        shared.notices.extend(match next {
            Next::Again => Some(Notice::NotSubscribed { share, symbols, why }),
            Next::Divided => Some(Notice::Divided { share, symbols, why }),
            Next::Apart => Some(Notice::Apart { share, symbols, why }),
            Next::StillApart => None,
        });
    }

    /// Symbols that were kept apart are taken after all, on one connection: on the other one they
    /// need not wait any longer either.
    fn report_released(&mut self, symbols: Vec<String>, now: Duration, shared: &mut Shared) {
        for symbol in &symbols {
            let lines = self.current.iter_mut().chain(self.next.iter_mut());
            lines.for_each(|line| line.subscriptions.hasten(symbol, now));
        }
        if !symbols.is_empty() {
            shared.notices.push(Notice::Released { share: self.share, symbols });
        }
    }

    /// Says which symbols are subscribed and which are not.
    fn report_changes(&mut self, shared: &mut Shared) {
        for line in self.current.iter_mut().chain(self.next.iter_mut()) {
            let changed = line.subscriptions.take_changed();
            let notice = |(symbol, state)| Notice::Subscription { symbol, state };
            shared.notices.extend(changed.into_iter().map(notice));
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
        let venue = Arc::clone(&shared.venue);
        let seed = shared.seed ^ id.0.rotate_left(32);
        let plan = &venue.connections()[share];
        let line = Line::new(id, &venue, plan, &shared.settings, &self.apart, seed, now);
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
    pub(super) fn failed(
        &mut self,
        now: Duration,
        failure: &ConnectionFailure,
        shared: &mut Shared,
    ) {
        self.dialled = None;
        let wait = self.schedule(now, failure, shared);
        let (share, why) = (self.share, failure.why.clone());
        shared.notices.push(Notice::NotConnected { share, why, wait });
        self.tick(now, shared);
    }

    /// Sets the time of the next attempt; returns the time until then.
    fn schedule(
        &mut self,
        now: Duration,
        failure: &ConnectionFailure,
        shared: &mut Shared,
    ) -> Duration {
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
        failure: &ConnectionFailure,
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
