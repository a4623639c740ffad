//! Venues: what a feed's frames mean and what it asks of a connection, as data and not as code.
//!
//! Owns the mapping language: which frames hold ticks, where the parts of a tick stand, how other
//! frames are known, what is sent to subscribe, and what the venue allows. Promises that any bytes
//! give an outcome, that every element that is meant becomes exactly one record, and that a frame
//! which is no JSON gives none. The same language says how a venue is asked for its history. Never
//! judges a value, which `decode` does, and never connects or waits, which `adapters` do.
//!
//! ```
//! use std::sync::Arc;
//! use tickcast::core::venue::{FrameKind, Mapper, Venue, VenueSpec};
//!
//! let mut spec = VenueSpec { url: "wss://feed.example".into(), ..VenueSpec::default() };
//! spec.mapping.symbol = "/s".into();
//! spec.mapping.time = "/T".into();
//! spec.mapping.fields = vec![("price".into(), "/p".into())];
//! let venue = Arc::new(Venue::compile(&spec).expect("what is written is a venue"));
//!
//! let mut mapper = Mapper::new(venue);
//! let frame = br#"{"e":"trade","s":"BTCUSDT","p":"0.00100","T":1672515782136}"#;
//! let outcome = mapper.classify(frame, |mapped| {
//!     let native = br#"{"symbol":"BTCUSDT","time":"2022-12-31T19:43:02.136Z","price":0.00100}"#;
//!     assert_eq!(mapped.record, native);
//! });
//! assert_eq!(outcome.kind, FrameKind::Ticks { mapped: 1, skipped: 0 });
//! ```

mod channels;
mod compile;
mod frame;
mod json;
mod limits;
mod mapping;
mod plan;
mod pointer;
mod redact;
mod rest;
mod rule;
mod scale;
mod spec;
mod template;
mod time;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use compile::VenueProblem;
pub use frame::{Frame, FrameKind, Refusal, says_too_often};
pub use json::Malformed;
pub use limits::{Ping, Rate, VenueLimits};
pub use plan::{ConnectionPlan, Outgoing};
pub use redact::shown_message;
pub use rest::{
    Answer, AnswerRow, Bound, EmptyRows, Paging, Question, Rest, RestLimits, RestProblem,
    RestRefusal, RestRefusedSpec, RestSpec, Unread,
};
pub use spec::{
    AnswerSpec, Answers, Conditions, FramesSpec, HeartbeatSpec, MappingSpec, Order, PingSpec,
    PongSpec, RefusedSpec, STANDARD_FIELDS, SubscriptionSpec, TradeIds, VenueSpec, VenueTime,
};
pub use template::Case;

use channels::Channels;
use frame::Rules;
use json::Tape;
use mapping::{Counts, Mapping, Scratch, Spelling};
use pointer::{Inner, Place};

/// A venue that was checked; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venue {
    connections: Vec<ConnectionPlan>,
    answers: Answers,
    limits: VenueLimits,
    /// The one that the others stand beside, then those in their order.
    mappings: Vec<Mapping>,
    /// Texts that are JSON, each behind those that it lies in.
    inner: Vec<Inner>,
    /// The names of all secrets, without repetition.
    secrets: Vec<String>,
    /// The number of a frame on its connection.
    sequence: Option<Place>,
    /// How its history is asked for, where it has one.
    rest: Option<Arc<Rest>>,
    rules: Rules,
    /// Frames are native ticks and nothing else, and nobody has to look into them.
    hands_on: bool,
}

/// One tick as it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// A native tick as JSON; what is wrong with it, if anything, `decode` will say.
    pub record: &'a [u8],
    /// Its native symbol; `None` where the decoder will refuse the record.
    pub symbol: Option<&'a str>,
    /// What tells it from other trades of the symbol, where the venue says so.
    pub trade_id: Option<TradeId<'a>>,
    /// Its number among the ticks of the symbol, where the venue counts them.
    pub sequence: Option<u64>,
}

/// What tells a trade from others of its symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TradeId<'a> {
    /// A whole number, also where it came as a text.
    Number(u64),
    /// Anything else, as it stands on the wire.
    Text(&'a str),
}

impl TradeId<'_> {
    /// The id where it is a number.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(_) => None,
        }
    }
}

impl Venue {
    /// Checks what was written.
    ///
    /// # Errors
    /// Every problem, each with its key.
    pub fn compile(spec: &VenueSpec) -> Result<Self, Vec<VenueProblem>> {
        compile::compile(spec)
    }

    /// What to connect to and what to send: at least one connection, each with its share of the
    /// symbols.
    pub fn connections(&self) -> &[ConnectionPlan] {
        &self.connections
    }

    /// What answers a message that subscribes.
    pub fn answers(&self) -> Answers {
        self.answers
    }

    /// What the venue allows and expects.
    pub fn limits(&self) -> &VenueLimits {
        &self.limits
    }

    /// What is promised about trade ids; `None` where there are none.
    pub fn trade_ids(&self) -> Option<TradeIds> {
        let mut with_ids = self.mappings.iter().filter(|mapping| mapping.trade_id.is_some());
        with_ids.next().map(|mapping| mapping.trade_ids)
    }

    /// Whether every frame of a connection has a number that grows by one.
    pub fn counts_frames(&self) -> bool {
        self.sequence.is_some()
    }

    /// The names of the secrets that its address and messages need. They are put in when
    /// connecting and sending; until then `{secret:NAME}` stands there.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The native symbol for one that the configuration names.
    pub fn native_symbol(&self, symbol: &str) -> String {
        native_symbol(&self.mappings, symbol)
    }

    /// How its history is asked for; `None` where it has none.
    pub fn rest(&self) -> Option<&Arc<Rest>> {
        self.rest.as_ref()
    }
}

/// The native symbol for one of the configuration, as the first mapping spells it that names one.
fn native_symbol(mappings: &[Mapping], symbol: &str) -> String {
    let plain = Spelling::default();
    let parts = mappings.iter().find_map(|mapping| mapping.parts.as_ref());
    let spelling = parts.map_or(&plain, |parts| &parts.spelling);
    let mut native = String::new();
    spelling.write(symbol, &mut native);
    native
}

/// Tells what frames are, one after the other. Each connection has its own: it holds memory that
/// is used again, and what the connection has said of its channels.
#[derive(Debug)]
pub struct Mapper {
    venue: Arc<Venue>,
    channels: Channels,
    tape: Tape,
    scratch: Scratch,
}

impl Mapper {
    /// A mapper for the frames of one connection.
    pub fn new(venue: Arc<Venue>) -> Self {
        let channels = Channels::default();
        Self { venue, channels, tape: Tape::default(), scratch: Scratch::default() }
    }

    /// The venue whose frames these are.
    pub fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    /// Tells what a frame is, and hands its ticks to `sink` in the frame's order. A frame is what
    /// the first of these says that it fits: the text of a pong or a ping, a mapping that has
    /// conditions on the frame, ping, heartbeat, pong, acknowledged, refused, closing, a mapping
    /// that has none. An acknowledgement teaches the number of its channel.
    pub fn classify(&mut self, frame: &[u8], mut sink: impl FnMut(Mapped<'_>)) -> Frame {
        let Self { venue, channels, tape, scratch } = self;
        if venue.rules.is_pong_text(frame) {
            return Frame { kind: FrameKind::Pong, sequence: None };
        }
        if let Some(answer) = venue.rules.answer_to_text(frame) {
            return Frame { kind: FrameKind::Ping { answer }, sequence: None };
        }
        if venue.hands_on {
            let symbol = crate::core::decode::symbol_of(frame);
            let symbol = symbol.as_deref();
            sink(Mapped { record: frame, symbol, trade_id: None, sequence: None });
            return Frame { kind: FrameKind::Ticks { mapped: 1, skipped: 0 }, sequence: None };
        }
        let json = match tape.read(frame, &venue.inner) {
            Ok(json) => json,
            Err(why) => return Frame { kind: FrameKind::Malformed(why), sequence: None },
        };
        let sure = venue.mappings.iter().find(|mapping| mapping.is_sure() && mapping.fits(json));
        let other = if sure.is_some() { None } else { venue.rules.kind_of(json) };
        let unsure = || venue.mappings.iter().find(|mapping| !mapping.is_sure());
        let kind = match (other, sure.or_else(unsure)) {
            (Some(kind), _) => kind,
            (None, Some(mapping)) => {
                let Counts { mapped, skipped } = mapping.run(json, channels, scratch, &mut sink);
                FrameKind::Ticks { mapped, skipped }
            }
            (None, None) => FrameKind::Other,
        };
        if matches!(kind, FrameKind::Acknowledged { .. })
            && let Some((channel, symbol)) = venue.rules.channel(json)
        {
            channels.learn(&channel, &symbol);
        }
        let sequence = venue.sequence.as_ref().and_then(|place| frame::number_at(place, json));
        Frame { kind, sequence }
    }
}
