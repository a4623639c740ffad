//! The life of a feed, as a machine without sockets or clocks: facts and the time go in, actions
//! and ticks come out.
//!
//! Owns the connections of a venue and what is known of each: when to connect, what to send and
//! when, which ticks came before, which symbols are in doubt. Promises that no tick is passed on
//! twice as far as ids reach, that the first tick behind a loss is marked unless its id proves that
//! nothing was lost, that no limit of the venue is exceeded, and that a lost connection is always
//! tried again. Never reads a clock: `now` is the time since the feed began.
//!
//! | module | owns |
//! |---|---|
//! | `slot` | one share of the symbols: its connection, its successor, and the handover |
//! | `way` | which of two connections a tick is taken from |
//! | `line` | one open connection: its clocks |
//! | `subscriptions` | the messages of one connection and their answers |
//! | `apart` | the symbols that the venue does not take |
//! | `unmatched` | messages that fit no rule |
//! | `continuity`, `numbers` | which ticks of a symbol were seen |
//! | `gate` | how often something may be done |

mod apart;
mod continuity;
mod gate;
mod line;
mod numbers;
mod slot;
mod subscriptions;
mod unmatched;
mod way;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::gate::Gate;
use self::slot::Slot;
use crate::core::health::Subscription;
use crate::core::text::excerpt_of_bytes;
use crate::core::venue::Venue;
use crate::intake::Record;

pub use self::unmatched::{Unmatched, UnmatchedTally};

/// What ticks are copied into, many together, where a frame's own bytes cannot be kept.
const CHUNK_BYTES: usize = 16 << 10;

/// The longest piece of a message in a log line, in characters.
const SAMPLE_CHARS_MAX: usize = 160;

/// A connection, from the attempt on. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u64);

/// What the machine may use, beside what the venue allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// A connection that was silent for half of it is asked; one without ticks for so long is
    /// quiet, and a feed without a connection for so long is dead.
    pub idle_timeout: Duration,
    /// How long the answer to a ping may take.
    pub pong_timeout: Duration,
    /// A connection without ticks for so long is given up.
    pub stall_timeout: Option<Duration>,
    /// How long the answer to a subscription may take where the venue does not say.
    pub answer_timeout: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// How long two connections overlap at most where one replaces the other.
    pub overlap: Duration,
    /// Symbols whose ids are remembered, over all connections.
    pub symbols_max: usize,
    /// Ids, or runs of ids, that are remembered of each.
    pub ids_max: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the address of a share.
    Connect {
        /// The name of the connection to be.
        line: LineId,
        /// The share: its index among the venue's connections.
        share: usize,
    },
    /// Send a text.
    Send {
        /// Where.
        line: LineId,
        /// What.
        text: String,
    },
    /// Answer a ping of the venue with a text.
    Answer {
        /// Where.
        line: LineId,
        /// What.
        text: String,
    },
    /// Ask whether the peer lives.
    Ping {
        /// Whom.
        line: LineId,
    },
    /// Close, and forget it.
    Close {
        /// Which.
        line: LineId,
        /// Why, for the peer.
        reason: &'static str,
    },
}

/// A tick that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// A native tick.
    pub record: Bytes,
    /// Whether ticks of its symbol may be missing right before it.
    pub after_gap: bool,
    /// Whether it came behind ticks of its symbol that it belongs before.
    pub late: bool,
    /// Its number among the trades of its symbol, where the venue numbers them.
    pub trade_id: Option<u64>,
}

impl From<Delivery> for Record {
    fn from(delivery: Delivery) -> Self {
        let Delivery { record: bytes, after_gap, late, trade_id } = delivery;
        // The queue says when it was received.
        Self { bytes, after_gap, late, trade_id, ..Self::default() }
    }
}

/// Why there is no connection, or no longer one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFailure {
    /// In words.
    pub why: String,
    /// How long the venue wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether it says that we ask too often.
    pub rate_limited: bool,
}

/// What somebody may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection stands.
    Connected {
        /// The share.
        share: usize,
        /// Whether another one still stands, which it will replace.
        replaces: bool,
    },
    /// An attempt failed.
    NotConnected {
        /// The share.
        share: usize,
        /// Why.
        why: String,
        /// The time until the next attempt.
        wait: Duration,
    },
    /// A connection was lost.
    Lost {
        /// The share.
        share: usize,
        /// Why.
        why: String,
    },
    /// A connection was replaced by a younger one.
    Replaced {
        /// The share.
        share: usize,
        /// Symbols for which the ids show that nothing was lost.
        proved: usize,
        /// All symbols that are known.
        symbols: usize,
    },
    /// Subscriptions failed; they will be tried again.
    NotSubscribed {
        /// The share.
        share: usize,
        /// The symbols, as the configuration names them; empty for a message that names none.
        symbols: Vec<String>,
        /// Why.
        why: String,
    },
    /// A message that lists several symbols failed; its symbols are sent in two messages.
    Divided {
        /// The share.
        share: usize,
        /// The symbols, as the configuration names them.
        symbols: Vec<String>,
        /// Why.
        why: String,
    },
    /// Symbols that the venue does not take are kept apart from here on, and tried again slowly.
    Apart {
        /// The share.
        share: usize,
        /// The symbols, as the configuration names them.
        symbols: Vec<String>,
        /// Why.
        why: String,
    },
    /// The venue takes symbols that were kept apart.
    Released {
        /// The share.
        share: usize,
        /// The symbols, as the configuration names them.
        symbols: Vec<String>,
    },
    /// How the subscription of a symbol is; it may have been so before.
    Subscription {
        /// The symbol, as the configuration names it.
        symbol: String,
        /// How it is.
        state: Subscription,
    },
    /// A message that no rule makes anything of: the 1st, 10th, 100th and so on of its kind.
    Unmatched {
        /// The share.
        share: usize,
        /// What is known of it.
        kind: Unmatched,
        /// Why it was not read, or the venue's words for what it refuses.
        why: Option<String>,
        /// Its beginning.
        sample: String,
        /// How many of its kind there were.
        count: u64,
    },
    /// Frames or heartbeats were skipped: all symbols of the share are in doubt.
    Skipped {
        /// The share.
        share: usize,
    },
    /// A share has another state.
    State {
        /// The share.
        share: usize,
        /// The new one.
        state: FeedState,
    },
}

/// What a share of a feed is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeedState {
    /// There is no connection yet, or it is not subscribed.
    Connecting,
    /// Ticks flow.
    Live,
    /// The connection answers, and no ticks have come for a while.
    Quiet,
    /// There was no connection for too long.
    Dead,
}

impl FeedState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::Live, Self::Quiet, Self::Dead];

    /// The name in metrics and log lines.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Quiet => "quiet",
            Self::Dead => "dead",
        }
    }
}

/// What became of everything. `ticks = passed + duplicates + forgotten + overlapping + held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedTally {
    /// Ticks in frames.
    pub ticks: u64,
    /// Ticks passed on.
    pub passed: u64,
    /// Ticks dropped because their id was passed on before.
    pub duplicates: u64,
    /// Ticks dropped because their id is too old to be told from a duplicate.
    pub forgotten: u64,
    /// Ticks dropped because another connection carries them as well.
    pub overlapping: u64,
    /// Ticks that wait to be compared with those of another connection.
    pub held: u64,
    /// Ticks passed on behind those that they belong before.
    pub late: u64,
    /// Ids that were left out.
    pub missing: u64,
    /// Ticks passed on with the mark.
    pub marked: u64,
    /// Messages that no rule makes anything of.
    pub unmatched: UnmatchedTally,
    /// Subscriptions that failed.
    pub not_subscribed: u64,
    /// Connections that were replaced while they still stood.
    pub replaced: u64,
}

/// What all shares use.
#[derive(Debug)]
struct Shared {
    venue: Arc<Venue>,
    settings: FeedSettings,
    /// Attempts to connect, of all shares together.
    connects: Gate,
    lines: u64,
    seed: u64,
    chunk: BytesMut,
    tally: FeedTally,
    actions: VecDeque<Action>,
    deliveries: Vec<Delivery>,
    notices: Vec<Notice>,
}

/// The machine.
#[derive(Debug)]
pub struct FeedMachine {
    slots: Vec<Slot>,
    shared: Shared,
}

impl Shared {
    fn next_line(&mut self) -> LineId {
        self.lines += 1;
        LineId(self.lines)
    }

    /// Counts a message that no rule makes anything of, and shows it if it is worth a line.
    fn unmatched(&mut self, share: usize, kind: Unmatched, why: Option<String>, frame: &[u8]) {
        if let Some(count) = self.tally.unmatched.add(kind) {
            let sample = excerpt_of_bytes(frame, SAMPLE_CHARS_MAX);
            self.notices.push(Notice::Unmatched { share, kind, why, sample, count });
        }
    }

    /// A record that outlives its frame: a piece of the frame where it is all of it.
    fn keep(chunk: &mut BytesMut, frame: &Bytes, record: &[u8]) -> Bytes {
        if std::ptr::eq(frame.as_ptr(), record.as_ptr()) && frame.len() == record.len() {
            return frame.clone();
        }
        if chunk.capacity() < record.len() {
            chunk.reserve(CHUNK_BYTES.max(record.len()));
        }
        chunk.extend_from_slice(record);
        chunk.split().freeze()
    }
}

impl FeedMachine {
    /// A feed that begins now, which is time zero. Equal seeds give equal lives.
    pub fn new(venue: Arc<Venue>, settings: FeedSettings, seed: u64) -> Self {
        let count = venue.connections().len();
        let connects = Gate::new(venue.limits().connects);
        let shared = Shared {
            venue,
            settings,
            connects,
            lines: 0,
            seed,
            chunk: BytesMut::new(),
            tally: FeedTally::default(),
            actions: VecDeque::new(),
            deliveries: Vec::new(),
            notices: Vec::new(),
        };
        let slots = (0..count).map(|share| Slot::new(share, count, &shared)).collect();
        let mut feed = Self { slots, shared };
        feed.tick(Duration::ZERO);
        feed
    }

    /// The venue.
    pub fn venue(&self) -> &Arc<Venue> {
        &self.shared.venue
    }

    /// What became of everything so far.
    pub fn tally(&self) -> FeedTally {
        self.shared.tally
    }

    /// The state of each share.
    pub fn states(&self) -> impl Iterator<Item = FeedState> {
        self.slots.iter().map(Slot::state)
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.shared.actions.pop_front()
    }

    /// The ticks that go on, in their order.
    pub fn take_deliveries(&mut self) -> impl Iterator<Item = Delivery> {
        self.shared.deliveries.drain(..)
    }

    /// What somebody may want to know.
    pub fn take_notices(&mut self) -> impl Iterator<Item = Notice> {
        self.shared.notices.drain(..)
    }

    /// When [`FeedMachine::tick`] has to be called at the latest.
    pub fn due(&self) -> Duration {
        self.slots.iter().map(|slot| slot.due(&self.shared)).min().unwrap_or(Duration::MAX)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        let Self { slots, shared } = self;
        slots.iter_mut().for_each(|slot| slot.tick(now, shared));
    }

    /// A connection that was asked for stands.
    pub fn opened(&mut self, now: Duration, line: LineId) {
        let Self { slots, shared } = self;
        match slots.iter_mut().find(|slot| slot.dials(line)) {
            Some(slot) => slot.opened(now, line, shared),
            None => shared.actions.push_back(Action::Close { line, reason: "not needed" }),
        }
    }

    /// A connection that was asked for did not come about.
    pub fn failed(&mut self, now: Duration, line: LineId, failure: &ConnectionFailure) {
        let Self { slots, shared } = self;
        if let Some(slot) = slots.iter_mut().find(|slot| slot.dials(line)) {
            slot.failed(now, failure, shared);
        }
    }

    /// A connection has ended, and not by our word.
    pub fn ended(&mut self, now: Duration, line: LineId, failure: &ConnectionFailure) {
        let Self { slots, shared } = self;
        if let Some(slot) = slots.iter_mut().find(|slot| slot.holds(line)) {
            slot.ended(now, line, failure, shared);
        }
    }

    /// A data frame came.
    pub fn frame(&mut self, now: Duration, line: LineId, frame: &Bytes) {
        let Self { slots, shared } = self;
        if let Some(slot) = slots.iter_mut().find(|slot| slot.holds(line)) {
            slot.frame(now, line, frame, shared);
        }
    }

    /// A pong came.
    pub fn ponged(&mut self, now: Duration, line: LineId) {
        if let Some(line) = self.slots.iter_mut().find_map(|slot| slot.line(line)) {
            line.hear(now);
        }
    }

    /// A ping came, and was answered.
    pub fn pinged(&mut self, now: Duration, line: LineId) {
        if let Some(line) = self.slots.iter_mut().find_map(|slot| slot.line(line)) {
            line.hear_ping(now);
        }
    }

    /// Nothing was read for so long, because whoever takes the ticks held us up: that silence is
    /// ours.
    pub fn held_up(&mut self, span: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.held_up(span));
    }
}
