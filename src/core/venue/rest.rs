//! A venue's history: the address of each question, and the rows of an answer.
//!
//! Owns the keys of `[source.rest]` and their rules. Promises that any body gives rows, a refusal
//! or a reason, that each row is a native tick of the symbol that was asked for, and that a row
//! which cannot be used is counted and never left out in silence. Never asks anyone, reads no
//! clock, and never decides whether an answer is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::channels::Channels;
use super::compile::{Problems, all_of, asked, frame_place, mapping};
use super::json::{Found, Json, Malformed, NodeKind, Tape};
use super::limits::Rate;
use super::mapping::{Counts, Mapping, Parts, Scratch, SymbolPlace};
use super::pointer::{Inner, Place};
use super::rule::Condition;
use super::spec::{Conditions, MappingSpec, VenueTime};
use super::template::{AddressTemplate, Blank};
use super::time::push_rfc3339;
use crate::core::decode::JsonDecoder;
use crate::core::domain::{DurationNanos, Field, Schema, TimeUnit, UnixNanos};
use crate::core::history::Span;
use crate::core::text::excerpt;

/// The longest text of a venue that is shown, in characters.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// The largest row, in bytes.
const ROW_BYTES_MAX: usize = 1 << 16;

/// The longest cursor, in bytes. Signed ones have some hundreds.
const CURSOR_BYTES_MAX: usize = 4096;

/// How a venue's history is asked for, unchecked. Keys of `[source.rest]` are the names here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestSpec {
    /// The address of a question, a template.
    pub url: String,
    /// The form of the times in the address.
    pub time_unit: VenueTime,
    /// Whether rows of the first instant belong to the answer.
    pub from: Bound,
    /// Whether rows of the last instant belong to it.
    pub to: Bound,
    /// How more rows are had than one answer holds.
    pub paging: Paging,
    /// Where the word for the next page stands, where paging is by cursor.
    pub cursor: String,
    /// What is put behind the address for the next page, a template.
    pub next: String,
    /// The most rows of one answer.
    pub rows_max: u32,
    /// The most answers for one question.
    pub pages_max: u32,
    /// Whether intervals without trades have no row.
    pub omits_empty: bool,
    /// What a row without volume is.
    pub empty: EmptyRows,
    /// How long after its end a bar is asked for.
    pub settle: Duration,
    /// How long one request may take, with its connection.
    pub request_max: Duration,
    /// The lengths of bars in seconds, and the venue's words for them.
    pub intervals: BTreeMap<String, String>,
    /// Where a row's parts stand. Without a symbol, rows are of the one that was asked for.
    pub mapping: MappingSpec,
    /// How bodies are known that are errors.
    pub refused: RestRefusedSpec,
    /// What the venue allows.
    pub limits: RestLimits,
}

/// How bodies are known that are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestRefusedSpec {
    /// How an error is known that stays one.
    pub when: Conditions,
    /// The venue's words.
    pub text: String,
    /// How it is known that too much was asked at once.
    pub rate_limited: Conditions,
    /// How an error is known that passes.
    pub away: Conditions,
}

/// What a venue allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestLimits {
    /// Requests in a period.
    pub requests: Option<Rate>,
    /// Requests that may be under way at a time.
    pub at_once: u32,
}

/// Whether an instant that ends a stretch belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bound {
    /// It does.
    #[default]
    Inclusive,
    /// It does not.
    Exclusive,
}

/// How more rows are had than one answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paging {
    /// By asking for one stretch of time after the other.
    #[default]
    Range,
    /// Not at all: an answer has the newest rows, and older ones cannot be had.
    Latest,
    /// By a word in each answer, with which the next one is asked for.
    Cursor,
}

/// What a row without volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyRows {
    /// An interval in which nothing was traded, so that a stream of trades has no tick of it.
    #[default]
    Drop,
    /// A row like any other.
    Keep,
}

/// A venue's history, checked; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    address: AddressTemplate,
    next: Option<AddressTemplate>,
    cursor: Option<Place>,
    time_unit: VenueTime,
    from: Bound,
    to: Bound,
    paging: Paging,
    rows_max: u32,
    pages_max: u32,
    omits_empty: bool,
    empty: EmptyRows,
    settle: Duration,
    request_max: Duration,
    /// The venue's words by the length of a bar.
    intervals: BTreeMap<DurationNanos, String>,
    mapping: Mapping,
    /// Whether rows are of the symbol that was asked for, because they do not name one.
    asks_symbol: bool,
    /// The unit of times that are numbers in rows which are native ticks.
    native_unit: TimeUnit,
    refused: Option<Vec<Condition>>,
    rate_limited: Option<Vec<Condition>>,
    away: Option<Vec<Condition>>,
    text: Option<Place>,
    inner: Vec<Inner>,
    limits: RestLimits,
    secrets: Vec<String>,
    /// What the configuration calls each symbol, by its native name.
    symbols: BTreeMap<String, String>,
}

/// A question for rows of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'q> {
    /// Its native name.
    pub symbol: &'q str,
    /// How long its bars are.
    pub length: DurationNanos,
    /// Which stretch.
    pub span: Span,
    /// What the answer before gave for the next page.
    pub cursor: Option<&'q str>,
}

/// What an answer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its rows, as they stand there.
    pub rows: Vec<AnswerRow>,
    /// Rows that are no ticks of the symbol.
    pub bad: u32,
    /// Why the first of them is none.
    pub why: Option<String>,
    /// With what the next page is asked for.
    pub cursor: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    /// A native tick.
    pub record: Vec<u8>,
    /// Its event time.
    pub time: UnixNanos,
    /// Whether it says that nothing was traded, and is no tick for that.
    pub is_empty: bool,
}

/// Why a body has no rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The venue says so.
    #[error("{}", _0.text)]
    Refused(RestRefusal),
    /// It is no JSON that is read.
    #[error("the answer is {}", malformed(*_0))]
    Malformed(Malformed),
    /// It is JSON of another shape.
    #[error("the answer does not fit rest.mapping: {0}")]
    Unlike(String),
}

/// Why a body is not read. Advice about streams is none here.
fn malformed(why: Malformed) -> String {
    match why {
        Malformed::Encoding => "not UTF-8".to_owned(),
        other => other.to_string(),
    }
}

/// An error in the venue's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestRefusal {
    /// The words, cut and escaped for a log line.
    pub text: String,
    /// What it means.
    pub problem: RestProblem,
}

/// What an error of a venue means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestProblem {
    /// Too much was asked at once.
    RateLimited,
    /// It passes.
    Away,
    /// It stays.
    Refused,
}

impl Default for RestSpec {
    fn default() -> Self {
        Self {
            url: String::new(),
            time_unit: VenueTime::default(),
            from: Bound::Inclusive,
            to: Bound::Inclusive,
            paging: Paging::Range,
            cursor: String::new(),
            next: String::new(),
            rows_max: 1000,
            pages_max: 20,
            omits_empty: false,
            empty: EmptyRows::Drop,
            settle: Duration::from_secs(1),
            request_max: Duration::from_secs(10),
            intervals: BTreeMap::new(),
            mapping: MappingSpec::default(),
            refused: RestRefusedSpec::default(),
            limits: RestLimits { requests: None, at_once: 1 },
        }
    }
}

/// Checks what was written.
pub(super) fn compile(spec: &RestSpec, problems: &mut Problems) -> Option<Rest> {
    let address = problems.take("rest.url", AddressTemplate::parse(&spec.url));
    let next = problems.take("rest.next", AddressTemplate::parse(&spec.next));
    let cursor = frame_place("rest.cursor", &spec.cursor, problems);
    let intervals = intervals(&spec.intervals, problems);
    if let (Some(address), Some(next)) = (&address, &next) {
        addresses(spec, address, next, problems);
    }
    let is_native = spec.mapping.time.is_empty() && spec.mapping.fields.is_empty();
    let asks_symbol = spec.mapping.symbol.is_empty() && !is_native;
    let mut of_rows = spec.mapping.clone();
    if asks_symbol {
        // Each question puts its own there.
        of_rows.symbol = "=?".to_owned();
    }
    let mapping = mapping("rest.mapping", &of_rows, problems);
    let native_unit = native_unit(spec.mapping.time_unit);
    if is_native && native_unit.is_none() {
        let problem =
            "is for times that rest.mapping.time names; native ticks have RFC 3339 anyway";
        problems.add("rest.mapping.time_unit", problem);
    }
    let refused = &spec.refused;
    let text = frame_place("rest.refused.text", &refused.text, problems);
    let when = all_of("rest.refused.when", &refused.when, problems);
    let rate_limited = all_of("rest.refused.rate_limited", &refused.rate_limited, problems);
    let away = all_of("rest.refused.away", &refused.away, problems);
    let inner = inner(spec, problems);
    let (address, next, mut mapping) = (address?, next?, mapping?);
    mapping.each = mapping.each.with_members();
    let secrets: BTreeSet<_> = address.secrets().chain(next.secrets()).map(str::to_owned).collect();
    Some(Rest {
        secrets: secrets.into_iter().collect(),
        address,
        next: (!spec.next.is_empty()).then_some(next),
        cursor,
        time_unit: spec.time_unit,
        from: spec.from,
        to: spec.to,
        paging: spec.paging,
        rows_max: spec.rows_max.max(1),
        pages_max: spec.pages_max.max(1),
        omits_empty: spec.omits_empty,
        empty: spec.empty,
        settle: spec.settle,
        request_max: spec.request_max,
        intervals,
        mapping,
        asks_symbol,
        native_unit: native_unit.unwrap_or_default(),
        refused: when,
        rate_limited,
        away,
        text,
        inner,
        limits: spec.limits,
        symbols: BTreeMap::new(),
    })
}

/// Checks which placeholders stand where.
fn addresses(
    spec: &RestSpec,
    address: &AddressTemplate,
    next: &AddressTemplate,
    problems: &mut Problems,
) {
    let beginning = address.beginning();
    let host = beginning.strip_prefix("http://").or_else(|| beginning.strip_prefix("https://"));
    let ends_host = |host: &str| host.find(['/', '?']).is_some_and(|end| end > 0);
    if !host.is_some_and(ends_host) {
        let problem = "must begin with http:// or https:// and a host that holds no placeholder";
        problems.add("rest.url", problem);
    }
    let mut need = |holds: bool, problem: &str| {
        if !holds {
            problems.add("rest.url", problem);
        }
    };
    let names_symbol = address.holds(|blank| matches!(blank, Blank::Symbol(_)));
    need(names_symbol, "must hold {symbol}: each question is about one");
    let names_length = address.holds(|blank| blank == Blank::Interval);
    let is_one = spec.intervals.values().filter(|word| !word.is_empty()).count() < 2;
    need(names_length || is_one, "must hold {interval}, because rest.intervals has several");
    let names_time = address.holds(|blank| matches!(blank, Blank::From | Blank::To));
    let is_latest = spec.paging == Paging::Latest;
    need(names_time || is_latest, "must hold {from} or {to}, or set rest.paging = \"latest\"");
    let names_cursor = address.holds(|blank| blank == Blank::Cursor);
    need(!names_cursor, "cannot hold {cursor}: the first answer gives it; put it into rest.next");
    if next.holds(|blank| blank != Blank::Cursor) {
        problems.add("rest.next", "may hold {cursor} and {secret:NAME} and no other placeholder");
    }
    let goes_on = next.holds(|blank| blank == Blank::Cursor);
    if spec.paging != Paging::Cursor {
        let keys = [("rest.cursor", &spec.cursor), ("rest.next", &spec.next)];
        for (key, _) in keys.into_iter().filter(|(_, text)| !text.is_empty()) {
            problems.add(key, "is for rest.paging = \"cursor\"");
        }
        return;
    }
    if spec.cursor.is_empty() {
        problems.add("rest.cursor", "must say where the word for the next page stands");
    }
    if !goes_on {
        problems.add("rest.next", "must hold {cursor}, such as \"&page_token={cursor}\"");
    }
}

/// The lengths of bars and the words for them; an empty word takes one away.
fn intervals(
    written: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> BTreeMap<DurationNanos, String> {
    let mut intervals = BTreeMap::new();
    for (seconds, word) in written.iter().filter(|(_, word)| !word.is_empty()) {
        let length = seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0);
        match length.and_then(|seconds| DurationNanos::from_seconds(i64::from(seconds))) {
            Some(length) => _ = intervals.insert(length, word.clone()),
            None => {
                let problem = "must be named by its length in whole seconds, such as 60 = \"1m\"";
                problems.add(&format!("rest.intervals.{seconds}"), problem);
            }
        }
    }
    if intervals.is_empty() && written.values().all(String::is_empty) {
        problems.add("rest.intervals", "must name at least one length of bars, as 60 = \"1m\"");
    }
    intervals
}

/// The unit of numbers in native ticks; `None` where times are texts.
fn native_unit(unit: VenueTime) -> Option<TimeUnit> {
    Some(match unit {
        VenueTime::Seconds => TimeUnit::Seconds,
        VenueTime::Milliseconds => TimeUnit::Milliseconds,
        VenueTime::Microseconds => TimeUnit::Microseconds,
        VenueTime::Nanoseconds => TimeUnit::Nanoseconds,
        VenueTime::Text => return None,
    })
}

/// The texts that pointers go into.
fn inner(spec: &RestSpec, problems: &mut Problems) -> Vec<Inner> {
    let RestSpec { mapping, refused, cursor, .. } = spec;
    let mut found = BTreeSet::new();
    let mut note = |key: &str, pointer: &str, each: &str| {
        found.extend(problems.take(key, Inner::of(pointer, each)).unwrap_or_default());
    };
    note("rest.cursor", cursor, "");
    note("rest.refused.text", &refused.text, "");
    note("rest.mapping.each", &mapping.each, "");
    let parts = [("symbol", &mapping.symbol), ("time", &mapping.time)];
    let fields = mapping.fields.iter().map(|(name, text)| (name.as_str(), text));
    for (name, text) in parts.into_iter().chain(fields) {
        note(&format!("rest.mapping.{name}"), text, &mapping.each);
    }
    for (key, conditions, each) in [
        ("rest.mapping.when", &mapping.when, mapping.each.as_str()),
        ("rest.refused.when", &refused.when, ""),
        ("rest.refused.rate_limited", &refused.rate_limited, ""),
        ("rest.refused.away", &refused.away, ""),
    ] {
        for (pointer, _) in asked(conditions) {
            note(&format!("{key}.\"{pointer}\""), pointer, each);
        }
    }
    found.into_iter().collect()
}

impl Rest {
    /// The same, with what the configuration calls each symbol by its native name.
    pub(super) fn with_symbols(self, symbols: BTreeMap<String, String>) -> Self {
        Self { symbols, ..self }
    }

    /// The lengths of bars that it has, the longest first, each with the venue's word.
    pub fn intervals(&self) -> impl Iterator<Item = (DurationNanos, &str)> {
        self.intervals.iter().rev().map(|(length, word)| (*length, word.as_str()))
    }

    /// Whether rows can have a field of this name: those that are native ticks have any.
    pub fn has_field(&self, name: &str) -> bool {
        let name = serde_json::Value::from(name).to_string();
        let has = |parts: &Parts| parts.fields.iter().any(|field| field.name == name);
        self.mapping.parts.as_ref().is_none_or(has)
    }

    /// How more rows are had than one answer holds.
    pub fn paging(&self) -> Paging {
        self.paging
    }

    /// The most rows of one answer.
    pub fn rows_max(&self) -> u32 {
        self.rows_max
    }

    /// The most answers for one question.
    pub fn pages_max(&self) -> u32 {
        self.pages_max
    }

    /// Whether intervals without trades have no row.
    pub fn omits_empty(&self) -> bool {
        self.omits_empty
    }

    /// How long after its end a bar is asked for.
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// How long one request may take, with its connection.
    pub fn request_max(&self) -> Duration {
        self.request_max
    }

    /// What the venue allows.
    pub fn limits(&self) -> RestLimits {
        self.limits
    }

    /// The names of the secrets in its addresses.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The address before its first placeholder: the host, and no secret.
    pub fn beginning(&self) -> &str {
        self.address.beginning()
    }

    /// The address of a question, with what `encode` makes of each value; secrets are not filled
    /// in. `None` where there are no bars of that length.
    pub fn address(
        &self,
        question: &Question<'_>,
        encode: impl Fn(&str) -> String,
    ) -> Option<String> {
        let word = self.intervals.get(&question.length)?;
        let Question { symbol, span: Span { from, to }, cursor, .. } = *question;
        let symbol = self.symbols.get(symbol).map_or(symbol, String::as_str);
        let value = |blank| match blank {
            Blank::Symbol(case) => {
                let mut text = String::new();
                case.push(symbol, &mut text);
                encode(&text)
            }
            Blank::Interval => encode(word),
            Blank::From => encode(&self.instant(from, self.from == Bound::Exclusive, false)),
            Blank::To => encode(&self.instant(to, self.to == Bound::Inclusive, true)),
            Blank::Limit => self.rows_max.to_string(),
            Blank::Cursor => encode(cursor.unwrap_or_default()),
        };
        let mut address = self.address.fill(value);
        if let (Some(next), Some(_)) = (&self.next, cursor) {
            address.push_str(&next.fill(value));
        }
        Some(address)
    }

    /// An instant as the address has it, one unit earlier where `is_before`. What is finer than the
    /// unit is cut off, or counts as a whole one where `rounds_up`: rows beyond are left out later.
    fn instant(&self, time: UnixNanos, is_before: bool, rounds_up: bool) -> String {
        let unit = self.time_unit.nanos();
        let nanos = time.as_nanos();
        let units = nanos.div_euclid(unit) + i64::from(rounds_up && nanos.rem_euclid(unit) != 0);
        let units = (units - i64::from(is_before)).max(0);
        if self.time_unit != VenueTime::Text {
            return units.to_string();
        }
        let mut text = Vec::new();
        push_rfc3339(UnixNanos::from_nanos(units.saturating_mul(unit)), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The rows of a body.
    ///
    /// # Errors
    /// [`Unread`] where it has none by what was written: an answer without rows has an empty list.
    pub fn read(&self, body: &[u8], symbol: &str) -> Result<Answer, Unread> {
        let mut tape = Tape::default();
        let json = tape.read(body, &self.inner).map_err(Unread::Malformed)?;
        if let Some(refusal) = self.refusal_in(json) {
            return Err(Unread::Refused(refusal));
        }
        if !self.mapping.fits(json) {
            return Err(Unread::Unlike("a condition of rest.mapping.when does not hold".into()));
        }
        let mut mapping = self.mapping.clone();
        if let (true, Some(parts)) = (self.asks_symbol, &mut mapping.parts) {
            parts.symbol = SymbolPlace::Itself(Place::Constant(symbol.to_owned()));
        }
        let mut answer = Answer { cursor: self.cursor_in(json), ..Answer::default() };
        let reader = RowReader::new(self, symbol);
        let (channels, mut scratch) = (Channels::default(), Scratch::default());
        let Counts { mapped, .. } =
            mapping.run(json, &channels, &mut scratch, &mut |mapped| match reader
                .read(mapped.record)
            {
                Ok(row) => answer.rows.push(row),
                Err(why) => {
                    answer.bad += 1;
                    answer.why.get_or_insert(why);
                }
            });
        match &answer.why {
            Some(why) if mapped == answer.bad => Err(Unread::Unlike(why.clone())),
            _ => Ok(answer),
        }
    }

    /// What a body says that is an error by its status.
    pub fn refusal(&self, body: &[u8]) -> Option<RestRefusal> {
        let mut tape = Tape::default();
        let json = tape.read(body, &self.inner).ok()?;
        let known = self.refusal_in(json);
        let said = || Some(RestRefusal { text: self.said(json)?, problem: RestProblem::Refused });
        known.or_else(said)
    }

    fn refusal_in(&self, json: Json<'_>) -> Option<RestRefusal> {
        let holds = |conditions: &Option<Vec<Condition>>| {
            let conditions = conditions.as_ref();
            conditions.is_some_and(|all| all.iter().all(|one| one.holds_in_frame(json)))
        };
        let problem = if holds(&self.rate_limited) {
            RestProblem::RateLimited
        } else if holds(&self.away) {
            RestProblem::Away
        } else if holds(&self.refused) {
            RestProblem::Refused
        } else {
            return None;
        };
        // Without the venue's words, the body has to do.
        let body = || excerpt(json.raw(json.root()), SHOWN_CHARACTERS_MAX);
        Some(RestRefusal { text: self.said(json).unwrap_or_else(body), problem })
    }

    /// The venue's words, where it is known where they stand.
    fn said(&self, json: Json<'_>) -> Option<String> {
        let (Found::Once(at) | Found::Twice(at)) = self.text.as_ref()?.in_frame(json) else {
            return None;
        };
        json.scalar(at).map(|text| excerpt(&text, SHOWN_CHARACTERS_MAX))
    }

    /// The word for the next page: a text or a number, and not an empty one.
    fn cursor_in(&self, json: Json<'_>) -> Option<String> {
        let Found::Once(at) = self.cursor.as_ref()?.in_frame(json) else { return None };
        let is_word = json.kind(at) != NodeKind::Word;
        let cursor = json.scalar(at).filter(|_| is_word)?;
        (1..=CURSOR_BYTES_MAX).contains(&cursor.len()).then(|| cursor.into_owned())
    }
}

/// Reads native ticks as far as an answer has to know them.
struct RowReader<'r> {
    decoder: JsonDecoder,
    symbol: &'r str,
    empty: EmptyRows,
}

impl<'r> RowReader<'r> {
    fn new(rest: &Rest, symbol: &'r str) -> Self {
        let schema = Schema::new([]).expect("no extra fields are a schema");
        let decoder = JsonDecoder::new(schema, &[], rest.native_unit, ROW_BYTES_MAX);
        Self { decoder, symbol, empty: rest.empty }
    }

    fn read(&self, record: &[u8]) -> Result<AnswerRow, String> {
        let tick = self.decoder.decode(record).map_err(|rejection| {
            let row = excerpt(&String::from_utf8_lossy(record), SHOWN_CHARACTERS_MAX);
            format!("a row is no tick ({}): {row}", rejection.reason.label())
        })?;
        if tick.symbol != self.symbol {
            let other = excerpt(&tick.symbol, SHOWN_CHARACTERS_MAX);
            return Err(format!("a row is of the symbol {other}"));
        }
        let is_empty = self.empty == EmptyRows::Drop && tick.fields.get(Field::VOLUME) == Some(0.0);
        Ok(AnswerRow { record: record.to_vec(), time: tick.time, is_empty })
    }
}

#[cfg(test)]
mod tests;
