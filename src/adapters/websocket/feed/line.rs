//! One open connection: its clocks, its subscriptions and its own numbering.
//!
//! Owns when something must be sent and when the connection counts as dead. Promises that a
//! connection from which nothing came is asked, and given up when it does not answer in time; that
//! nothing is sent beyond the venue's rate; and that a hole in the numbers of frames or heartbeats
//! is told. Never sends or reads a clock.

use std::time::Duration;

use super::apart::Apart;
use super::numbers::{Numbers, Seen};
use super::subscriptions::{Failed, SubscriptionRules, Subscriptions};
use super::{Action, FeedSettings, LineId};
use crate::core::venue::{ConnectionPlan, Mapper, Venue, VenueLimits};
use crate::net::gate::Gate;

/// Numbers of frames that are remembered, to tell a frame that comes again.
const FRAME_RUNS_MAX: usize = 64;

/// An open connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: LineId,
    pub(super) mapper: Mapper,
    pub(super) subscriptions: Subscriptions,
    pub(super) opened_at: Duration,
    /// When the last ticks came.
    pub(super) data_at: Option<Duration>,
    gate: Gate,
    /// When anything came.
    heard_at: Duration,
    /// When a sign of life came that the venue promises: ticks or heartbeats.
    alive_at: Duration,
    /// When it was asked whether it lives, and has not said anything since.
    asked_at: Option<Duration>,
    /// When the venue's own ping is due.
    ping_at: Option<Duration>,
    /// The answer to the venue's newest ping, and when that came.
    answer: Option<(String, Duration)>,
    /// Whether the last text that was sent was such an answer.
    answered_last: bool,
    frames: Numbers,
    heartbeats: Numbers,
}

/// Where a frame stands among those of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing lies between it and the newest one.
    Next,
    /// Frames may be missing right before it.
    AfterGap,
    /// It came behind frames that it belongs before.
    Late,
    /// It came before.
    Again,
}

/// What the clocks of a connection have found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) actions: Vec<Action>,
    pub(super) failed: Vec<Failed>,
    /// Why it is dead.
    pub(super) dead: Option<String>,
}

impl Line {
    pub(super) fn new(
        id: LineId,
        venue: &std::sync::Arc<Venue>,
        plan: &ConnectionPlan,
        settings: &FeedSettings,
        apart: &Apart,
        seed: u64,
        now: Duration,
    ) -> Self {
        let limits = venue.limits();
        let rules = SubscriptionRules {
            answers: venue.answers(),
            answer_timeout: limits.answer_max.unwrap_or(settings.answer_timeout),
            backoff_max: settings.backoff_max,
        };
        Self {
            id,
            mapper: Mapper::new(std::sync::Arc::clone(venue)),
            subscriptions: Subscriptions::new(rules, plan, apart, seed, now),
            opened_at: now,
            data_at: None,
            gate: Gate::new(limits.messages),
            heard_at: now,
            alive_at: now,
            asked_at: None,
            ping_at: limits.ping.as_ref().map(|ping| now + ping.period),
            answer: None,
            answered_last: false,
            frames: Numbers::new(FRAME_RUNS_MAX),
            heartbeats: Numbers::new(1),
        }
    }

    /// Whether it has delivered and is as old as that, so that the next loss is a new one.
    pub(super) fn has_proved_itself(&self, now: Duration, age: Duration) -> bool {
        self.data_at.is_some() && now.saturating_sub(self.opened_at) >= age
    }

    /// Anything came.
    pub(super) fn hear(&mut self, now: Duration) {
        self.heard_at = now;
        self.asked_at = None;
    }

    /// The peer asked whether we live, which is answered by itself.
    pub(super) fn hear_ping(&mut self, now: Duration) {
        self.hear(now);
        self.gate.take(now);
    }

    /// The venue asked whether we live, which this text answers. One that was not sent yet is
    /// not sent any more: a venue that asks again waits for the newest answer.
    pub(super) fn hear_question(&mut self, now: Duration, answer: String) {
        self.alive_at = now;
        self.answer = Some((answer, now));
    }

    /// Ticks came.
    pub(super) fn hear_data(&mut self, now: Duration) {
        self.data_at = Some(now);
        self.alive_at = now;
    }

    /// A heartbeat came; whether one before it did not.
    pub(super) fn hear_heartbeat(&mut self, now: Duration, counter: Option<u64>) -> bool {
        self.alive_at = now;
        let seen = counter.map(|counter| self.heartbeats.see(counter));
        matches!(seen, Some(Seen::Ahead { missing: 1.. }))
    }

    /// The number of a frame.
    pub(super) fn hear_number(&mut self, number: u64) -> Turn {
        let seen = self.frames.see(number);
        if self.frames.has_begun_anew() {
            // All frames would count as late from here on, and no loss be answered for.
            self.frames = Numbers::new(FRAME_RUNS_MAX);
            self.frames.see(number);
            return Turn::AfterGap;
        }
        match seen {
            Seen::First | Seen::Ahead { missing: 0 } => Turn::Next,
            Seen::Ahead { .. } => Turn::AfterGap,
            Seen::Late | Seen::Forgotten => Turn::Late,
            Seen::Again => Turn::Again,
        }
    }

    /// The venue says that we ask too much.
    pub(super) fn hold_back(&mut self, now: Duration) {
        self.gate.hold_until(now + self.gate.penalty());
    }

    /// Nothing was read for so long because we did not look.
    pub(super) fn held_up(&mut self, span: Duration) {
        self.heard_at += span;
        self.alive_at += span;
        self.data_at = self.data_at.map(|at| at + span);
        self.asked_at = self.asked_at.map(|at| at + span);
    }

    /// When the clocks have to be looked at.
    pub(super) fn due(&self, limits: &VenueLimits, settings: &FeedSettings) -> Duration {
        let answer_at = self.answer.as_ref().map(|(_, at)| *at);
        let asks = [Some(self.ask_at(settings)), self.ping_at, self.subscriptions.send_at()];
        let earliest = asks.into_iter().chain([answer_at]);
        // What is to be sent waits for the gate.
        let sends = earliest.flatten().map(|at| self.gate.ready_at(at));
        let ends = [
            self.asked_at.map(|at| at + settings.pong_timeout),
            self.subscriptions.late_at(),
            limits.heartbeat_max.map(|span| self.alive_at + span),
            settings.stall_timeout.map(|span| self.stalls_since() + span),
        ];
        sends.chain(ends.into_iter().flatten()).min().unwrap_or(Duration::MAX)
    }

    /// When it must be asked whether it lives.
    fn ask_at(&self, settings: &FeedSettings) -> Duration {
        match self.asked_at {
            Some(_) => Duration::MAX,
            None => self.heard_at + settings.idle_timeout / 2,
        }
    }

    fn stalls_since(&self) -> Duration {
        self.data_at.unwrap_or(self.opened_at)
    }

    /// Looks at the clocks.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        limits: &VenueLimits,
        settings: &FeedSettings,
        apart: &mut Apart,
    ) -> Found {
        let dead = self.death(now, limits, settings);
        let mut found = Found { dead, ..Found::default() };
        if found.dead.is_some() {
            return found;
        }
        found.failed = self.subscriptions.expire(now, apart);
        found.dead = self.subscriptions.defeat();
        if found.dead.is_some() {
            return found;
        }
        let id = self.id;
        let open = |line: &Self| line.gate.ready_at(now) <= now;
        // An answer goes before subscriptions, but never twice in a row while one of them waits: a
        // venue that asks without end does not hold them up.
        let is_turn = !self.answered_last || self.subscriptions.send_at().is_none_or(|at| at > now);
        if is_turn {
            self.give_answer(now, &mut found);
        }
        if self.ask_at(settings) <= now && open(self) {
            self.gate.take(now);
            self.asked_at = Some(now);
            found.actions.push(Action::Ping { line: id });
        }
        if let (Some(at), Some(ping)) = (self.ping_at, &limits.ping)
            && at <= now
            && open(self)
        {
            self.gate.take(now);
            self.ping_at = Some(now + ping.period);
            found.actions.push(Action::Send { line: id, text: ping.text.clone() });
        }
        while open(self)
            && let Some(text) = self.subscriptions.send(now)
        {
            self.gate.take(now);
            self.answered_last = false;
            found.actions.push(Action::Send { line: id, text });
        }
        self.give_answer(now, &mut found);
        found
    }

    /// Sends the answer to the venue's ping, as soon as its pace allows.
    fn give_answer(&mut self, now: Duration, found: &mut Found) {
        if self.gate.ready_at(now) <= now
            && let Some((text, _)) = self.answer.take()
        {
            self.gate.take(now);
            self.answered_last = true;
            found.actions.push(Action::Answer { line: self.id, text });
        }
    }

    /// Why it counts as dead.
    fn death(
        &self,
        now: Duration,
        limits: &VenueLimits,
        settings: &FeedSettings,
    ) -> Option<String> {
        let over = |since: Duration, span: Duration| now >= since + span;
        if self.asked_at.is_some_and(|at| over(at, settings.pong_timeout)) {
            let silent = now.saturating_sub(self.heard_at).as_secs_f64();
            return Some(format!("silent for {silent:.1} s, and no answer to a ping"));
        }
        if let Some(span) = limits.heartbeat_max
            && over(self.alive_at, span)
        {
            return Some(format!("no heartbeat within {} s", span.as_secs_f64()));
        }
        if let Some(span) = settings.stall_timeout
            && over(self.stalls_since(), span)
        {
            return Some(format!("no tick within {} s", span.as_secs_f64()));
        }
        None
    }
}
