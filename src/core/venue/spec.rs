//! A venue as it is written down, unchecked.
//!
//! Owns the shape of a venue file once its types are right. Promises nothing of its values:
//! [`super::Venue::compile`] checks them all. Keys of the file are the names here.

use std::collections::BTreeMap;

use super::limits::VenueLimits;
use super::rest::RestSpec;
use super::template::Case;
use crate::core::domain::TimeFormat;

/// Conditions by pointer; all must hold. Each has patterns, of which one must fit.
pub type Conditions = BTreeMap<String, Vec<String>>;

/// All of a venue. The default is a feed of native ticks that asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VenueSpec {
    /// The address, a template.
    pub url: String,
    /// What is subscribed to.
    pub symbols: Vec<String>,
    /// Messages to subscribe, templates.
    pub subscribe: Vec<String>,
    /// Messages to unsubscribe, templates.
    pub unsubscribe: Vec<String>,
    /// How symbols are put into messages.
    pub subscription: SubscriptionSpec,
    /// Where a tick's parts stand in a frame.
    pub mapping: MappingSpec,
    /// Further mappings by name, for frames that hold ticks in another shape; complete, with
    /// everything that they share with `mapping`.
    pub also: Vec<(String, MappingSpec)>,
    /// How the frames are known that hold no ticks.
    pub frames: FramesSpec,
    /// What the venue allows and expects.
    pub limits: VenueLimits,
    /// How its history is asked for, where it has one.
    pub rest: Option<RestSpec>,
}

/// How symbols are put into messages and onto connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// How one symbol stands in `{symbols}`, a template.
    pub symbol: String,
    /// What stands between two of them.
    pub separator: String,
    /// The most symbols of one message; 0 is all of a connection.
    pub symbols_per_message: usize,
    /// The most symbols of one connection; 0 is all.
    pub symbols_per_connection: usize,
    /// What answers the messages.
    pub answers: Answers,
}

impl Default for SubscriptionSpec {
    fn default() -> Self {
        Self {
            symbol: "{symbol}".to_owned(),
            separator: ",".to_owned(),
            symbols_per_message: 0,
            symbols_per_connection: 0,
            answers: Answers::None,
        }
    }
}

/// What answers a message that subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Answers {
    /// Nothing that is waited for.
    #[default]
    None,
    /// One acknowledgement or refusal.
    PerMessage,
    /// One for each symbol in it.
    PerSymbol,
}

/// Where a tick's parts stand. Without symbol, time and fields, elements are native ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingSpec {
    /// Which frames hold ticks, and which of their elements are some.
    pub when: Conditions,
    /// The elements that ticks are made of; empty: the frame is one.
    pub each: String,
    /// The symbol.
    pub symbol: String,
    /// The number of the channel, which the acknowledgement of a subscription gave to a symbol.
    /// Takes the place of `symbol`.
    pub channel: String,
    /// What is taken off the symbol's beginning where it stands there.
    pub symbol_prefix: String,
    /// What is taken off the symbol's end where it stands there.
    pub symbol_suffix: String,
    /// The letters of the native symbol.
    pub symbol_case: Case,
    /// The event time.
    pub time: String,
    /// The form of the event time.
    pub time_unit: VenueTime,
    /// How the event time is read instead, where a format or a zone is set.
    pub time_format: TimeFormat,
    /// What tells trades of one symbol apart.
    pub trade_id: String,
    /// What is promised about it.
    pub trade_ids: TradeIds,
    /// A number that grows by one, over all frames of a connection where its pointer begins at the
    /// frame, else over the ticks of a symbol.
    pub sequence: String,
    /// In which order the ticks of one frame go on.
    pub order: Order,
    /// Names of native fields, and where they stand.
    pub fields: Vec<(String, String)>,
    /// Names of fields whose sign is dropped.
    pub abs: Vec<String>,
    /// Names of fields that are scaled integers, and the power of ten that they are multiplied by,
    /// such as `0.01` or `1e-8`.
    pub scale: BTreeMap<String, String>,
}

/// The fields that have keys of their own in `mapping`; others stand in `mapping.fields`.
pub const STANDARD_FIELDS: [&str; 6] = ["price", "open", "high", "low", "close", "volume"];

/// In which order the ticks of one frame go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// As they stand there.
    #[default]
    Frame,
    /// By growing trade id, for a venue that puts the newest first; those without a number last.
    TradeId,
    /// The last one first, for a venue that puts the newest first.
    Reverse,
    /// By growing event time, and as they stand there where it is equal; those without one last.
    Time,
}

/// The form of event times on a venue's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum VenueTime {
    /// Seconds since the epoch, as a number or a number in a text.
    Seconds,
    /// Milliseconds, likewise.
    #[default]
    Milliseconds,
    /// Microseconds, likewise.
    Microseconds,
    /// Nanoseconds, likewise.
    Nanoseconds,
    /// A text by RFC 3339.
    Text,
}

/// What is promised about the trade ids of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TradeIds {
    /// None is given to two trades.
    #[default]
    Unique,
    /// They grow.
    Increasing,
    /// They grow by one, so that a gap in them is a gap in the feed.
    Consecutive,
}

/// How the frames are known that hold no ticks. A kind without conditions does not occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FramesSpec {
    /// The venue's question whether we live, which must be answered.
    pub ping: PingSpec,
    /// A sign of life.
    pub heartbeat: HeartbeatSpec,
    /// A subscription that came about.
    pub acknowledged: AnswerSpec,
    /// A subscription that did not, or another error.
    pub refused: RefusedSpec,
    /// The answer to the text ping.
    pub pong: PongSpec,
    /// The word that the venue will end the connection soon.
    pub closing: Conditions,
}

/// The venue's question whether we live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PingSpec {
    /// How it is known.
    pub when: Conditions,
    /// The whole message, where it is no JSON.
    pub text: String,
    /// What is sent back; `{value}` in it is what stands at `value`.
    pub answer: String,
    /// The value that the answer repeats.
    pub value: String,
}

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatSpec {
    /// How it is known.
    pub when: Conditions,
    /// A number that grows by one with each, where there is one.
    pub counter: String,
}

/// An answer to a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerSpec {
    /// How it is known.
    pub when: Conditions,
    /// The `{id}` of the message that is answered.
    pub id: String,
    /// The symbol or, with a `*` at the end or in it, the symbols it is about.
    pub symbol: String,
    /// The number of the channel that carries the symbol; of acknowledgements alone.
    pub channel: String,
}

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedSpec {
    /// How it is known, and what it is about.
    pub answer: AnswerSpec,
    /// The venue's words.
    pub text: String,
    /// How it is known that too much was asked at once.
    pub rate_limited: Conditions,
}

/// The answer to the text ping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PongSpec {
    /// How it is known.
    pub when: Conditions,
    /// The whole message, where it is no JSON.
    pub text: String,
}
