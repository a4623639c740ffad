//! A data frame of one of a share's connections: its ticks, and what it says of the connection.
//!
//! Owns the order in which a frame counts: the connection was heard, then its ticks pass, then its
//! number and its kind take effect, and an overlap that has served its end is over. Never maps a
//! frame: the venue's mapper does.

use std::time::Duration;

use bytes::Bytes;

use super::Slot;
use crate::adapters::websocket::feed::continuity::Identity;
use crate::adapters::websocket::feed::line::Turn;
use crate::adapters::websocket::feed::unmatched::{Unmatched, looks_like_error};
use crate::adapters::websocket::feed::way::{Role, Tick, way};
use crate::adapters::websocket::feed::{FeedState, LineId, Notice, Shared};
use crate::core::venue::{FrameKind, Mapped, says_too_often};

impl Slot {
    /// A data frame came.
    pub(in crate::adapters::websocket::feed) fn frame(
        &mut self,
        now: Duration,
        id: LineId,
        frame: &Bytes,
        shared: &mut Shared,
    ) {
        let overlap = self.next.as_ref().filter(|_| self.current.is_some()).map(|line| line.id);
        let Self { continuity, held, delivered, current, next, share, apart, .. } = self;
        let (line, role) = match (current, next) {
            (Some(line), _) if line.id == id => (line, Role::Current),
            (_, Some(line)) if line.id == id => (line, Role::Next),
            _ => return,
        };
        line.hear(now);
        let numbered = shared.venue.counts_frames();
        let subscriptions = &line.subscriptions;
        let mut chunk = std::mem::take(&mut shared.chunk);
        // The number of a frame is known behind its ticks, which it may put in doubt.
        let mut waiting = Vec::new();
        let mut flowing = Vec::new();
        let mut way = way(continuity, held, delivered, shared, overlap);
        let outcome = line.mapper.classify(frame, |mapped| {
            if let Some(symbol) = mapped.symbol.filter(|symbol| subscriptions.awaits(symbol)) {
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
        let mut released = Vec::new();
        for symbol in &flowing {
            released.extend(line.subscriptions.flows(symbol, apart));
        }
        let mut failed = None;
        shared.chunk = chunk;
        let share = *share;
        let mut asked = false;
        match outcome.kind {
            FrameKind::Ticks { mapped: 1.., .. } => line.hear_data(now),
            FrameKind::Ticks { skipped: 1.., .. } => {
                shared.unmatched(share, Unmatched::Skipped, None, frame);
            }
            FrameKind::Ticks { .. } | FrameKind::Pong => {}
            FrameKind::Other if looks_like_error(frame) => {
                shared.unmatched(share, Unmatched::Error, None, frame);
            }
            FrameKind::Other => shared.unmatched(share, Unmatched::Other, None, frame),
            FrameKind::Ping { answer } => {
                line.hear_question(now, answer);
                asked = true;
            }
            FrameKind::Heartbeat { counter } => {
                if line.hear_heartbeat(now, counter) {
                    continuity.doubt_all();
                    skipped = true;
                }
            }
            FrameKind::Acknowledged { id, symbols } => {
                released.extend(line.subscriptions.acknowledge(id, &symbols, apart));
            }
            FrameKind::Refused(mut refusal) => {
                refusal.rate_limited |= says_too_often(&refusal.text);
                if refusal.rate_limited {
                    line.hold_back(now);
                }
                failed = line.subscriptions.refuse(&refusal, now, apart);
                if failed.is_none() {
                    shared.unmatched(share, Unmatched::Error, Some(refusal.text), frame);
                }
            }
            FrameKind::Closing => self.want_successor(now, shared),
            FrameKind::Malformed(why) => {
                shared.unmatched(share, Unmatched::Malformed, Some(why.to_string()), frame);
            }
        }
        if skipped {
            shared.notices.push(Notice::Skipped { share });
        }
        failed.into_iter().for_each(|failed| self.report(failed, shared));
        self.report_released(released, now, shared);
        self.report_changes(shared);
        self.after_frame(now, full, shared);
        if asked {
            self.look_at_clocks(now, shared);
        }
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
}
