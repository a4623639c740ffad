//! From an element of a frame to the bytes of one native tick.
//!
//! Owns how each part is written. Promises one record for each element, and that numbers keep the
//! digits of the wire. Never judges a value: what is missing is left out, what is of another type
//! is written as it came, what stands there twice is written twice, and `decode` has a reason for
//! each of them.

use super::channels::Channels;
use super::json::{At, Found, Json, NodeKind, is_number};
use super::pointer::{Each, Place, Under};
use super::rule::Condition;
use super::scale::push_scaled;
use super::spec::{Order, TradeIds, VenueTime};
use super::template::Case;
use super::time::push_rfc3339;
use super::{Mapped, TradeId};
use crate::core::decode::symbol_of;
use crate::core::domain::{TimeFormat, UnixNanos};

/// A mapping that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// What must hold of a frame that has ticks.
    pub(super) of_frame: Vec<Condition>,
    /// What must hold of an element that is one.
    pub(super) of_element: Vec<Condition>,
    pub(super) each: Each,
    /// `None` where elements are native ticks.
    pub(super) parts: Option<Parts>,
    pub(super) trade_id: Option<Place>,
    pub(super) trade_ids: TradeIds,
    pub(super) order: Order,
    pub(super) sequence: Option<Place>,
}

/// Where the parts of a tick stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) symbol: SymbolPlace,
    pub(super) spelling: Spelling,
    pub(super) time: Place,
    pub(super) time_unit: VenueTime,
    /// How the time is read instead; the default for the unit.
    pub(super) time_format: TimeFormat,
    pub(super) fields: Vec<Member>,
}

/// Where the symbol stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SymbolPlace {
    /// It stands in the frame, or in the configuration.
    Itself(Place),
    /// The number of its channel stands there.
    OfChannel(Place),
}

/// How the native symbol is made of the venue's.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Spelling {
    pub(super) prefix: String,
    pub(super) suffix: String,
    pub(super) case: Case,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The name as JSON, with its quotes.
    pub(super) name: String,
    pub(super) place: Place,
    /// Whether its sign is dropped.
    pub(super) abs: bool,
    /// The power of ten that it is multiplied by.
    pub(super) power: i32,
}

/// How many elements became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) mapped: u32,
    pub(super) skipped: u32,
}

/// What is written into again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    record: Vec<u8>,
    symbol: String,
    /// Elements that wait for their turn, with what they are ordered by and their places.
    waiting: Vec<(u64, usize, Under)>,
}

/// A symbol, where it was found: in the frame, or rewritten in the scratch.
enum Named<'t> {
    Nobody,
    InFrame(&'t str),
    InScratch,
}

impl Spelling {
    fn is_plain(&self) -> bool {
        self.prefix.is_empty() && self.suffix.is_empty() && self.case == Case::AsIs
    }

    /// The native symbol for one of the venue's.
    pub(super) fn write(&self, symbol: &str, to: &mut String) {
        let rest = symbol.strip_prefix(self.prefix.as_str()).unwrap_or(symbol);
        let rest = rest.strip_suffix(self.suffix.as_str()).unwrap_or(rest);
        self.case.push(rest, to);
    }
}

impl Mapping {
    /// Hands the record of each element on.
    pub(super) fn run(
        &self,
        json: Json<'_>,
        channels: &Channels,
        scratch: &mut Scratch,
        sink: &mut impl FnMut(Mapped<'_>),
    ) -> Counts {
        let mut counts = Counts::default();
        self.each.walk(json, &mut |under| {
            let Some(under) = under else {
                // A list or element that should be there: the decoder counts it as no object.
                counts.mapped += 1;
                let record = b"null";
                return sink(Mapped { record, symbol: None, trade_id: None, sequence: None });
            };
            if !self.of_element.iter().all(|condition| condition.holds_under(json, &under)) {
                counts.skipped += 1;
                return;
            }
            counts.mapped += 1;
            let place = scratch.waiting.len();
            let key = match self.order {
                Order::Frame => return self.element(json, &under, channels, scratch, sink),
                Order::Reverse => u64::MAX - place as u64,
                Order::TradeId => match self.trade_id_of(json, &under) {
                    Some(TradeId::Number(number)) => number,
                    _ => u64::MAX,
                },
                Order::Time => self.time_of(json, &under).map_or(u64::MAX, ordered),
            };
            scratch.waiting.push((key, place, under));
        });
        if self.order != Order::Frame {
            let mut waiting = std::mem::take(&mut scratch.waiting);
            // In the frame's order among equals. A stable sort would allocate.
            waiting.sort_unstable_by_key(|(key, place, _)| (*key, *place));
            for (_, _, under) in waiting.drain(..) {
                self.element(json, &under, channels, scratch, sink);
            }
            scratch.waiting = waiting;
        }
        counts
    }

    fn trade_id_of<'t>(&self, json: Json<'t>, under: &Under) -> Option<TradeId<'t>> {
        self.trade_id.as_ref().and_then(|place| match place.under(json, under) {
            Found::Once(at) => trade_id(json, at),
            Found::Nothing | Found::Twice(_) => None,
        })
    }

    /// Whether this mapping says which frames it is for.
    pub(super) fn is_sure(&self) -> bool {
        !self.of_frame.is_empty()
    }

    /// Whether nothing speaks against a frame.
    pub(super) fn fits(&self, json: Json<'_>) -> bool {
        self.of_frame.iter().all(|condition| condition.holds_in_frame(json))
    }

    fn time_of(&self, json: Json<'_>, under: &Under) -> Option<UnixNanos> {
        let Parts { time, time_unit, .. } = self.parts.as_ref()?;
        let Found::Once(at) = time.under(json, under) else { return None };
        match time_unit {
            VenueTime::Text => UnixNanos::parse(&json.text(at)?).ok(),
            unit => unit.read(json.raw(at)),
        }
    }

    fn element(
        &self,
        json: Json<'_>,
        under: &Under,
        channels: &Channels,
        scratch: &mut Scratch,
        sink: &mut impl FnMut(Mapped<'_>),
    ) {
        let trade_id = self.trade_id_of(json, under);
        let sequence = self.sequence.as_ref().and_then(|place| match place.under(json, under) {
            Found::Once(at) => number(json, at),
            _ => None,
        });
        let element = under.element();
        let is_scalar = !matches!(json.kind(element), NodeKind::Object | NodeKind::Array);
        let Some(parts) = self.parts.as_ref().filter(|_| !is_scalar) else {
            let record = json.whole(element).as_bytes();
            let symbol = symbol_of(record);
            return sink(Mapped { record, symbol: symbol.as_deref(), trade_id, sequence });
        };
        scratch.record.clear();
        scratch.record.push(b'{');
        let symbol = match parts.write(json, under, channels, scratch) {
            Named::Nobody => None,
            Named::InFrame(symbol) => Some(symbol),
            Named::InScratch => Some(scratch.symbol.as_str()),
        };
        scratch.record.push(b'}');
        sink(Mapped { record: &scratch.record, symbol, trade_id, sequence });
    }
}

impl Parts {
    /// Writes the members of one element's record.
    fn write<'t>(
        &'t self,
        json: Json<'t>,
        under: &Under,
        channels: &Channels,
        scratch: &mut Scratch,
    ) -> Named<'t> {
        let mut named = Named::Nobody;
        let mut symbols = 0;
        let Scratch { record, symbol: spelled, .. } = scratch;
        match &self.symbol {
            SymbolPlace::Itself(Place::Constant(symbol)) => {
                named = Named::InFrame(symbol);
                begin("\"symbol\"", record);
                push_text(symbol, record);
            }
            SymbolPlace::Itself(place) => each_time(place.under(json, under), |at| {
                begin("\"symbol\"", record);
                symbols += 1;
                named = self.write_symbol(json, at, record, spelled);
            }),
            SymbolPlace::OfChannel(place) => each_time(place.under(json, under), |at| {
                let symbol = json.scalar(at).and_then(|channel| channels.symbol(&channel));
                let Some(symbol) = symbol else { return };
                begin("\"symbol\"", record);
                spelled.clear();
                self.spelling.write(symbol, spelled);
                push_text(spelled, record);
                symbols += 1;
                named = Named::InScratch;
            }),
        }
        // The decoder refuses the record, and an id in it is nobody's.
        if symbols > 1 {
            named = Named::Nobody;
        }
        each_time(self.time.under(json, under), |at| {
            begin("\"time\"", record);
            self.write_time(json, at, record);
        });
        for Member { name, place, abs, power } in &self.fields {
            match place {
                Place::Constant(number) => {
                    begin(name, record);
                    record.extend_from_slice(number.as_bytes());
                }
                place => each_time(place.under(json, under), |at| {
                    // Exchanges leave numbers empty that do not apply.
                    if json.kind(at) == NodeKind::Plain && json.raw(at).is_empty() {
                        return;
                    }
                    begin(name, record);
                    let is_number = match json.kind(at) {
                        NodeKind::Number => true,
                        NodeKind::Plain => is_number(json.raw(at)),
                        _ => false,
                    };
                    if is_number {
                        push_scaled(json.raw(at), *abs, *power, record);
                    } else {
                        record.extend_from_slice(json.whole(at).as_bytes());
                    }
                }),
            }
        }
        named
    }

    fn write_symbol<'t>(
        &self,
        json: Json<'t>,
        at: At,
        record: &mut Vec<u8>,
        spelled: &mut String,
    ) -> Named<'t> {
        if json.kind(at) == NodeKind::Plain && self.spelling.is_plain() {
            record.extend_from_slice(json.whole(at).as_bytes());
            return Named::InFrame(json.raw(at));
        }
        let Some(symbol) = json.text(at) else {
            record.extend_from_slice(json.whole(at).as_bytes());
            return Named::Nobody;
        };
        spelled.clear();
        self.spelling.write(&symbol, spelled);
        push_text(spelled, record);
        Named::InScratch
    }

    fn write_time(&self, json: Json<'_>, at: At, record: &mut Vec<u8>) {
        let raw = json.raw(at);
        let is_number_or_text = matches!(json.kind(at), NodeKind::Plain | NodeKind::Number);
        let time = is_number_or_text.then(|| self.read_time(raw)).flatten();
        match (time, json.kind(at)) {
            (Some(time), _) => {
                record.push(b'"');
                push_rfc3339(time, record);
                record.push(b'"');
            }
            // Of an unknown unit: as a text it is no time, and nobody reads it in a wrong one.
            (None, NodeKind::Number) => {
                record.push(b'"');
                record.extend_from_slice(raw.as_bytes());
                record.push(b'"');
            }
            // The decoder knows no other form and zone, so it must not read the text by its own.
            (None, NodeKind::Plain) if !self.time_format.is_default() => {
                record.extend_from_slice(b"\"no time: ");
                record.extend_from_slice(raw.as_bytes());
                record.push(b'"');
            }
            (None, _) => record.extend_from_slice(json.whole(at).as_bytes()),
        }
    }

    fn read_time(&self, raw: &str) -> Option<UnixNanos> {
        let by_format = || self.time_format.parse(raw).ok();
        if self.time_format.is_explicit() {
            return by_format();
        }
        let by_unit = self.time_unit.read(raw);
        if self.time_format.is_default() { by_unit } else { by_unit.or_else(by_format) }
    }
}

/// A number that grows as the time does.
fn ordered(time: UnixNanos) -> u64 {
    (time.as_nanos() as u64) ^ (1 << 63)
}

/// Calls `write` as often as the value stands there, twice at most.
fn each_time(found: Found, mut write: impl FnMut(At)) {
    match found {
        Found::Nothing => {}
        Found::Once(at) => write(at),
        Found::Twice(at) => {
            write(at);
            write(at);
        }
    }
}

/// Begins a member.
fn begin(name: &str, record: &mut Vec<u8>) {
    if record.last() != Some(&b'{') {
        record.push(b',');
    }
    record.extend_from_slice(name.as_bytes());
    record.push(b':');
}

/// Adds a text as JSON.
fn push_text(text: &str, record: &mut Vec<u8>) {
    let is_plain = !text.bytes().any(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
    if is_plain {
        record.push(b'"');
        record.extend_from_slice(text.as_bytes());
        record.push(b'"');
    } else {
        serde_json::to_writer(record, text).expect("a text goes into memory without an error");
    }
}

/// A whole number, as a number or in a text.
pub(super) fn number(json: Json<'_>, at: At) -> Option<u64> {
    matches!(json.kind(at), NodeKind::Number | NodeKind::Plain)
        .then(|| json.raw(at).parse().ok())
        .flatten()
}

fn trade_id<'t>(json: Json<'t>, at: At) -> Option<TradeId<'t>> {
    let raw = json.raw(at);
    match json.kind(at) {
        NodeKind::Number | NodeKind::Plain | NodeKind::Escaped if !raw.is_empty() => {
            // Only where the number gives the text back are the two the same id.
            let is_canonical = raw == "0" || !raw.starts_with(['0', '+']);
            let number = is_canonical.then(|| raw.parse().ok()).flatten();
            Some(number.map_or(TradeId::Text(raw), TradeId::Number))
        }
        _ => None,
    }
}
