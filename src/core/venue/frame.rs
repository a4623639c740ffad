//! What a frame is, and how those without ticks are known.
//!
//! Owns the kinds and their rules. Promises that words of the venue come out short and printable.

use std::borrow::Cow;

use super::json::{Found, Json, Malformed, NodeKind};
use super::mapping::number;
use super::pointer::{Each, Place};
use super::rule::Condition;
use crate::core::text::excerpt;

/// What a frame was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// Its number on the connection, where the venue counts all frames.
    pub sequence: Option<u64>,
}

/// The kinds of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Ticks, all of which were handed on.
    Ticks {
        /// How many records there were. One that nobody can use is among them: `decode` counts it
        /// under its reason.
        mapped: u32,
        /// How many elements the conditions left out.
        skipped: u32,
    },
    /// The venue asks whether we live.
    Ping {
        /// What must be sent back.
        answer: String,
    },
    /// A sign of life.
    Heartbeat {
        /// A number that grows by one with each.
        counter: Option<u64>,
    },
    /// A subscription came about.
    Acknowledged {
        /// The number of the message that is answered, where the venue gives it back.
        id: Option<u64>,
        /// The symbols it is about, as the venue writes them; empty where it does not say.
        symbols: Vec<String>,
    },
    /// A subscription did not come about, or another error.
    Refused(Refusal),
    /// The answer to a text ping.
    Pong,
    /// The venue will end this connection soon.
    Closing,
    /// JSON that no rule knows; nothing to do.
    Other,
    /// No JSON that is read.
    Malformed(Malformed),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The venue's words, cut and escaped for a log line.
    pub text: String,
    /// The number of the message that is answered, where the venue gives it back.
    pub id: Option<u64>,
    /// The symbols it is about, as the venue writes them; empty where it does not say.
    pub symbols: Vec<String>,
    /// Whether too much was asked at once.
    pub rate_limited: bool,
}

/// How frames without ticks are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) ping: Option<PingRule>,
    pub(super) heartbeat: Option<(Vec<Condition>, Option<Place>)>,
    pub(super) pong: Option<Vec<Condition>>,
    pub(super) pong_text: Option<String>,
    pub(super) acknowledged: Option<Answer>,
    pub(super) refused: Option<RefusedRule>,
    pub(super) closing: Option<Vec<Condition>>,
}

/// How a ping is known, and what is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PingRule {
    /// Without conditions it is known by its text alone.
    pub(super) when: Option<Vec<Condition>>,
    pub(super) text: Option<String>,
    /// The pieces of the answer, between which the value stands.
    pub(super) answer: Vec<String>,
    pub(super) value: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) when: Vec<Condition>,
    pub(super) id: Option<Place>,
    pub(super) symbols: Option<Each>,
    pub(super) channel: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedRule {
    pub(super) answer: Answer,
    pub(super) text: Option<Place>,
    pub(super) rate_limited: Option<Vec<Condition>>,
}

/// The longest text of a venue in a log line, in characters.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// The longest value that an answer repeats, in bytes. A time has 13 digits, an id up to 36.
const PING_VALUE_BYTES_MAX: usize = 256;

fn all_hold(conditions: &[Condition], json: Json<'_>) -> bool {
    conditions.iter().all(|condition| condition.holds_in_frame(json))
}

/// The whole number that stands at a place of the frame.
pub(super) fn number_at(place: &Place, json: Json<'_>) -> Option<u64> {
    match place.in_frame(json) {
        Found::Once(at) => number(json, at),
        Found::Nothing | Found::Twice(_) => None,
    }
}

impl Rules {
    /// Whether no frame of JSON is anything but ticks.
    pub(super) fn is_empty_but_text(&self) -> bool {
        let ping = self.ping.as_ref().filter(|ping| ping.when.is_none()).cloned();
        *self == Self { ping, pong_text: self.pong_text.clone(), ..Self::default() }
    }

    /// The answer to a ping that is no JSON.
    pub(super) fn answer_to_text(&self, frame: &[u8]) -> Option<String> {
        let PingRule { text, answer, .. } = self.ping.as_ref()?;
        let fits = text.as_ref().is_some_and(|text| text.as_bytes() == frame);
        fits.then(|| answer.concat())
    }

    pub(super) fn is_pong_text(&self, frame: &[u8]) -> bool {
        self.pong_text.as_ref().is_some_and(|text| text.as_bytes() == frame)
    }

    /// The channel that an acknowledgement is about, and the symbol that it carries.
    pub(super) fn channel<'t>(&self, json: Json<'t>) -> Option<(Cow<'t, str>, Cow<'t, str>)> {
        self.acknowledged.as_ref().and_then(|answer| answer.channel(json))
    }

    /// The kind of a frame; `None` where no rule knows it.
    pub(super) fn kind_of(&self, json: Json<'_>) -> Option<FrameKind> {
        if let Some(answer) = self.ping.as_ref().and_then(|ping| ping.read(json)) {
            return Some(FrameKind::Ping { answer });
        }
        if let Some((when, counter)) = &self.heartbeat
            && all_hold(when, json)
        {
            let counter = counter.as_ref().and_then(|place| number_at(place, json));
            return Some(FrameKind::Heartbeat { counter });
        }
        if self.pong.as_ref().is_some_and(|when| all_hold(when, json)) {
            return Some(FrameKind::Pong);
        }
        if let Some(answer) = &self.acknowledged
            && all_hold(&answer.when, json)
        {
            let (id, symbols) = answer.read(json);
            return Some(FrameKind::Acknowledged { id, symbols });
        }
        if let Some(rule) = &self.refused
            && all_hold(&rule.answer.when, json)
        {
            return Some(FrameKind::Refused(rule.read(json)));
        }
        self.closing.as_ref().is_some_and(|when| all_hold(when, json)).then_some(FrameKind::Closing)
    }
}

impl PingRule {
    /// The answer to a ping; `None` where the frame is none, or where what the answer has to repeat
    /// is not there, is no text, number or word, or is too long.
    fn read(&self, json: Json<'_>) -> Option<String> {
        if !all_hold(self.when.as_ref()?, json) {
            return None;
        }
        let Some(place) = &self.value else { return Some(self.answer.concat()) };
        let Found::Once(at) = place.in_frame(json) else { return None };
        let is_scalar = !matches!(json.kind(at), NodeKind::Object | NodeKind::Array);
        let value = json.whole(at);
        (is_scalar && value.len() <= PING_VALUE_BYTES_MAX).then(|| self.answer.join(value))
    }
}

impl Answer {
    /// The channel, and the symbol that it carries from now on.
    fn channel<'t>(&self, json: Json<'t>) -> Option<(Cow<'t, str>, Cow<'t, str>)> {
        let Found::Once(at) = self.channel.as_ref()?.in_frame(json) else { return None };
        let channel = json.scalar(at)?;
        let mut symbol = None;
        self.symbols.as_ref()?.walk(json, &mut |under| {
            let text = under.and_then(|under| json.text(under.element()));
            symbol = symbol.take().or(text);
        });
        Some((channel, symbol?))
    }

    fn read(&self, json: Json<'_>) -> (Option<u64>, Vec<String>) {
        let id = self.id.as_ref().and_then(|place| number_at(place, json));
        let mut symbols = Vec::new();
        if let Some(each) = &self.symbols {
            each.walk(json, &mut |under| {
                let text = under.and_then(|under| json.text(under.element()));
                symbols.extend(text.map(Cow::into_owned));
            });
        }
        (id, symbols)
    }
}

impl RefusedRule {
    fn read(&self, json: Json<'_>) -> Refusal {
        let (id, symbols) = self.answer.read(json);
        let text = self.text.as_ref().and_then(|place| match place.in_frame(json) {
            Found::Once(at) | Found::Twice(at) => json.scalar(at),
            Found::Nothing => None,
        });
        // Without the venue's words, the frame has to do.
        let text = text.unwrap_or_else(|| json.raw(json.root()).into());
        let text = excerpt(&text, SHOWN_CHARACTERS_MAX);
        let rate_limited = self.rate_limited.as_ref().is_some_and(|when| all_hold(when, json));
        Refusal { text, id, symbols, rate_limited }
    }
}

/// Whether the words of a refusal say that there were too many messages or requests, for venues
/// whose rules do not tell. "Too many symbols" is none of these: fewer of them in a message help.
pub fn says_too_often(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let signs = ["too many requests", "too many messages", "rate limit", "too frequent"];
    signs.iter().any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_the_rate_are_none_about_symbols() {
        for (words, expected) in [
            ("Too many requests", true),
            ("Rate limit exceeded", true),
            ("Requests too frequent", true),
            ("too many symbols, 10 at most", false),
            ("Invalid symbol", false),
        ] {
            assert_eq!(says_too_often(words), expected, "{words}");
        }
    }
}
