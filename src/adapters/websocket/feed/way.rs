//! The way of a tick through a share of a feed, by one connection or two.
//!
//! Owns the ticks of a new connection that wait for the older one to carry one of them. Promises
//! that until a symbol is shown to be carried by both connections its ticks come from the older one
//! alone. Never decides when an overlap begins or ends: `slot` does.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::continuity::{Continuity, Identity, Verdict};
use super::{Delivery, FeedTally, LineId, Shared};
use crate::core::venue::{Mapped, TradeId};

/// Ticks of a new connection that wait for the old one to carry one of them.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) of_symbol: BTreeMap<Box<str>, Vec<Tick>>,
    pub(super) count: usize,
}

/// A tick that outlives its frame.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    pub(super) record: Bytes,
    symbol: Option<Box<str>>,
    trade_id: Option<OwnedId>,
    sequence: Option<u64>,
    /// Whether its frame came behind frames that it belongs before.
    pub(super) late: bool,
}

#[derive(Clone, Debug)]
enum OwnedId {
    Number(u64),
    Text(Box<str>),
}

impl Tick {
    pub(super) fn of(record: Bytes, mapped: &Mapped<'_>) -> Self {
        let trade_id = mapped.trade_id.map(|id| match id {
            TradeId::Number(number) => OwnedId::Number(number),
            TradeId::Text(text) => OwnedId::Text(text.into()),
        });
        let Mapped { symbol, sequence, .. } = *mapped;
        Self { record, symbol: symbol.map(Into::into), trade_id, sequence, late: false }
    }

    pub(super) fn identity(&self) -> Identity<'_> {
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
pub(super) enum Role {
    Current,
    Next,
}

/// The parts of a slot and of what is shared that a tick goes through, apart from the connection
/// that it came by.
pub(super) struct Way<'a> {
    pub(super) continuity: &'a mut Continuity,
    held: &'a mut Held,
    delivered: &'a mut bool,
    deliveries: &'a mut Vec<Delivery>,
    pub(super) tally: &'a mut FeedTally,
    /// The connections, where there are two.
    overlap: Option<LineId>,
    held_max: usize,
}

impl Way<'_> {
    /// Takes one tick in.
    pub(super) fn take(
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
    pub(super) fn judge(
        &mut self,
        line: LineId,
        identity: &Identity<'_>,
        record: impl FnOnce() -> Bytes,
    ) {
        match self.continuity.judge(line, identity) {
            Verdict::Pass { after_gap, missing, late } => {
                *self.delivered = true;
                self.tally.passed += 1;
                self.tally.missing += missing;
                self.tally.late += u64::from(late);
                self.tally.marked += u64::from(after_gap);
                let trade_id = identity.trade_id.and_then(TradeId::number);
                self.deliveries.push(Delivery { record: record(), after_gap, late, trade_id });
            }
            Verdict::Duplicate => self.tally.duplicates += 1,
            Verdict::Forgotten => self.tally.forgotten += 1,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.held.count >= self.held_max
    }
}

pub(super) fn way<'a>(
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
