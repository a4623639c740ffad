//! From what is written to a venue that can be used.
//!
//! Owns the rules between keys. Promises that all problems come out at once, each with its key as
//! the venue's file has it. Never reads a file.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::frame::{Answer, PingRule, RefusedRule, Rules};
use super::json::is_number;
use super::mapping::{Mapping, Member, Parts, Spelling, SymbolPlace};
use super::plan::Planner;
use super::pointer::{Each, Inner, Place, PointerError};
use super::rest;
use super::rule::Condition;
use super::scale::power_of_ten;
use super::spec::{
    AnswerSpec, Conditions, FramesSpec, MappingSpec, Order, PingSpec, STANDARD_FIELDS, VenueSpec,
};
use super::template::Template;
use super::{Venue, native_symbol};
use crate::core::domain::Symbol;

/// One problem of a venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueProblem {
    /// The key, such as `mapping.price`.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Default)]
pub(super) struct Problems(Vec<VenueProblem>);

impl Problems {
    pub(super) fn add(&mut self, key: &str, problem: impl std::fmt::Display) {
        self.0.push(VenueProblem { key: key.to_owned(), problem: problem.to_string() });
    }

    /// The value, or `None` and a problem.
    pub(super) fn take<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        value: Result<T, E>,
    ) -> Option<T> {
        value.map_err(|error| self.add(key, error)).ok()
    }
}

pub(super) fn compile(spec: &VenueSpec) -> Result<Venue, Vec<VenueProblem>> {
    let mut problems = Problems::default();
    let planner = planner(spec, &mut problems);
    let mapping = mapping("mapping", &spec.mapping, &mut problems);
    let also = also(spec, &mut problems);
    let rules = rules(&spec.frames, &mut problems);
    channels(spec, &mut problems);
    let inner = inner(spec, &mut problems);
    let sequence = of_frame(&spec.mapping.sequence);
    let rest = spec.rest.as_ref().and_then(|rest| rest::compile(rest, &mut problems));
    let (Some(planner), Some(mapping)) = (planner, mapping) else { return Err(problems.0) };
    if !problems.0.is_empty() {
        return Err(problems.0);
    }
    let asks_nothing = mapping.of_frame.is_empty() && mapping.of_element.is_empty();
    let is_native = mapping.parts.is_none() && mapping.trade_id.is_none();
    let has_numbers = sequence.is_some() || mapping.sequence.is_some();
    let hands_on = asks_nothing
        && is_native
        && !has_numbers
        && spec.mapping.each.is_empty()
        && also.is_empty()
        && rules.is_empty_but_text();
    let mappings: Vec<_> = std::iter::once(mapping).chain(also).collect();
    let native = |symbol: &String| (native_symbol(&mappings, symbol), symbol.clone());
    let symbols = spec.symbols.iter().map(native).collect();
    Ok(Venue {
        connections: planner.plans(),
        answers: spec.subscription.answers,
        limits: spec.limits.clone(),
        secrets: planner.secrets(),
        rest: rest.map(|rest| Arc::new(rest.with_symbols(symbols))),
        mappings,
        inner,
        sequence,
        rules,
        hands_on,
    })
}

fn planner<'s>(spec: &'s VenueSpec, problems: &mut Problems) -> Option<Planner<'s>> {
    let VenueSpec { url, symbols, subscribe, unsubscribe, subscription, .. } = spec;
    let mut seen = BTreeSet::new();
    for symbol in symbols {
        let plain = |c: char| !matches!(c, '"' | '\\' | '{' | '}' | ' ');
        if Symbol::check(symbol).is_err() || !symbol.chars().all(plain) {
            let rule = "without blanks, quotes, braces and backslashes";
            let symbol = symbol.escape_debug();
            problems.add("symbols", format_args!("`{symbol}` must have 1 to 256 bytes, {rule}"));
        } else if !seen.insert(symbol) {
            problems.add("symbols", format_args!("`{symbol}` stands there twice"));
        }
    }
    let templates = |key: &str, texts: &[String], problems: &mut Problems| {
        let parsed = texts.iter().filter_map(|text| problems.take(key, Template::parse(text)));
        parsed.collect::<Vec<_>>()
    };
    let address = problems.take("url", Template::parse(url));
    let one = problems.take("subscription.symbol", Template::parse(&subscription.symbol));
    let subscribe = templates("subscribe", subscribe, problems);
    let unsubscribe = templates("unsubscribe", unsubscribe, problems);
    let (address, one) = (address?, one?);
    for (key, of_key) in [("subscribe", &subscribe), ("unsubscribe", &unsubscribe)] {
        if of_key.iter().any(|template| template.names_one_symbol() && template.names_symbols()) {
            problems.add(key, "holds {symbol} and {symbols}; a message is for one or for several");
        }
    }
    if address.has_id() {
        problems.add("url", "holds {id}, which messages have and addresses do not");
    }
    if address.has_time() {
        problems.add("url", "holds {time}, which is for messages");
    }
    if address.names_one_symbol() && subscription.symbols_per_connection != 1 {
        problems.add("url", "holds {symbol}; set subscription.symbols_per_connection = 1");
    }
    if one.has_id() || one.names_symbols() || one.has_time() || one.secrets().next().is_some() {
        problems.add("subscription.symbol", "may hold {symbol} in its forms and no other");
    }
    let ping = spec.limits.ping.as_ref();
    let ping = ping.and_then(|ping| problems.take("limits.ping", Template::parse(&ping.text)));
    if ping
        .as_ref()
        .is_some_and(|ping| ping.has_id() || ping.names_symbols() || ping.names_one_symbol())
    {
        problems.add("limits.ping", "may hold {secret:NAME}, {time} and {time:ms} and no other");
    }
    let asks = |template: &Template| template.names_one_symbol() || template.names_symbols();
    let all = || std::iter::once(&address).chain(&subscribe).chain(&unsubscribe);
    if symbols.is_empty() && all().any(asks) {
        problems.add("symbols", "must name what to subscribe to");
    }
    let or_all = |count: usize| if count == 0 { usize::MAX } else { count };
    Some(Planner {
        url: address,
        symbols,
        subscribe,
        unsubscribe,
        ping,
        symbol: one,
        separator: &subscription.separator,
        symbols_per_message: or_all(subscription.symbols_per_message),
        symbols_per_connection: or_all(subscription.symbols_per_connection),
    })
}

/// The place of a number that counts frames: one that begins at the frame.
fn of_frame(pointer: &str) -> Option<Place> {
    Place::of_frame(pointer).ok()
}

/// Checks a mapping, whose keys begin with `of`.
pub(super) fn mapping(of: &str, spec: &MappingSpec, problems: &mut Problems) -> Option<Mapping> {
    let key = |name: &str| format!("{of}.{name}");
    let each = problems.take(&key("each"), Each::parse(&spec.each));
    // The others are read as well, so that their problems are found.
    let base = each.clone().unwrap_or_else(|| Each::parse("").expect("the frame itself"));
    let place = |name: &str, text: &str, problems: &mut Problems| {
        let some = (!text.is_empty()).then(|| problems.take(&key(name), Place::parse(text, &base)));
        some.flatten()
    };
    let symbol = place("symbol", &spec.symbol, problems);
    let channel = place("channel", &spec.channel, problems);
    let time = place("time", &spec.time, problems);
    let trade_id = place("trade_id", &spec.trade_id, problems);
    let sequence = place("sequence", &spec.sequence, problems);
    let fields = fields(of, spec, &base, problems);
    for (name, place) in
        [("channel", &channel), ("time", &time), ("trade_id", &trade_id), ("sequence", &sequence)]
    {
        if matches!(place, Some(Place::Constant(_))) {
            problems.add(&key(name), "must stand in the frame; it is different for each tick");
        }
    }
    if let Some(Place::Constant(symbol)) = &symbol
        && let Err(error) = Symbol::check(symbol)
    {
        problems.add(&key("symbol"), error);
    }
    if spec.order == Order::TradeId && spec.trade_id.is_empty() {
        problems.add(&key("order"), "needs mapping.trade_id to order by");
    }
    if spec.order == Order::Time && spec.time.is_empty() {
        problems.add(&key("order"), "needs mapping.time to order by");
    }
    whole(of, spec, problems);
    let mut conditions = Vec::new();
    for (pointer, patterns) in asked(&spec.when) {
        let condition = Condition::parse(pointer, patterns, &base);
        conditions.extend(problems.take(&key(&format!("when.\"{pointer}\"")), condition));
    }
    let (of_frame, of_element) = conditions.into_iter().partition(Condition::is_of_frame);
    let symbol = symbol.map(SymbolPlace::Itself).or(channel.map(SymbolPlace::OfChannel));
    let spelling = Spelling {
        prefix: spec.symbol_prefix.clone(),
        suffix: spec.symbol_suffix.clone(),
        case: spec.symbol_case,
    };
    let parts = match (symbol, time) {
        (Some(symbol), Some(time)) => Some(Parts {
            symbol,
            spelling,
            time,
            time_unit: spec.time_unit,
            time_format: spec.time_format.clone(),
            fields,
        }),
        _ => None,
    };
    Some(Mapping {
        of_frame,
        of_element,
        each: each?,
        parts,
        trade_id,
        trade_ids: spec.trade_ids,
        order: spec.order,
        // One at the frame counts frames, not the ticks of a symbol.
        sequence: sequence.filter(|place| !place.is_of_frame()),
    })
}

/// Checks that a mapping names all parts of a tick, or none.
fn whole(of: &str, spec: &MappingSpec, problems: &mut Problems) {
    let key = |name: &str| format!("{of}.{name}");
    let parts = [&spec.symbol, &spec.channel, &spec.time];
    if parts.iter().all(|part| part.is_empty()) && spec.fields.is_empty() {
        return;
    }
    match (spec.symbol.is_empty(), spec.channel.is_empty()) {
        (true, true) => {
            let problem = "must say where it stands, because other parts are mapped";
            problems.add(&key("symbol"), problem);
        }
        (false, false) => {
            problems.add(&key("channel"), "takes the place of mapping.symbol; leave one empty");
        }
        _ => {}
    }
    if spec.time.is_empty() {
        let problem = "must say where it stands, because other parts are mapped";
        problems.add(&key("time"), problem);
    }
    if spec.fields.is_empty() {
        problems.add(&key("price"), "must say where it stands, or another field must");
    }
}

/// Checks the fields of a mapping, and what is done to their numbers.
fn fields(of: &str, spec: &MappingSpec, each: &Each, problems: &mut Problems) -> Vec<Member> {
    let mut fields = Vec::new();
    for (name, text) in &spec.fields {
        let is_standard = STANDARD_FIELDS.contains(&name.as_str());
        let key = if is_standard { format!("{of}.{name}") } else { format!("{of}.fields.{name}") };
        if matches!(name.as_str(), "symbol" | "time" | "") {
            problems.add(&key, "cannot be the name of a field: every tick uses it otherwise");
        }
        let Some(place) = problems.take(&key, Place::parse(text, each)) else { continue };
        let (abs, scale) = (spec.abs.contains(name), spec.scale.get(name));
        if let Place::Constant(number) = &place {
            if !is_number(number) {
                problems.add(&key, "must be a number behind the `=`, as JSON writes it");
            }
            let changes = [("abs", abs), ("scale", scale.is_some())];
            for (change, _) in changes.iter().filter(|(_, is_asked)| *is_asked) {
                let problem = format!("`{name}` is a constant; write the number that is meant");
                problems.add(&format!("{of}.{change}"), problem);
            }
        }
        let power = scale.and_then(|scale| {
            let problem = "must be a power of ten from 1e-30 to 1e30, such as 0.01 or 1e-8";
            let power = power_of_ten(scale).ok_or_else(|| format!("`{scale}` {problem}"));
            problems.take(&format!("{of}.scale.{name}"), power)
        });
        let name = serde_json::Value::from(name.as_str()).to_string();
        fields.push(Member { name, place, abs, power: power.unwrap_or(0) });
    }
    let abs = spec.abs.iter().map(|name| ("abs".to_owned(), name));
    let scale = spec.scale.keys().map(|name| (format!("scale.{name}"), name));
    for (key, name) in abs.chain(scale) {
        if !spec.fields.iter().any(|(field, _)| field == name) {
            problems
                .add(&format!("{of}.{key}"), format_args!("`{name}` is no field of this mapping"));
        }
    }
    fields
}

/// Checks the further mappings, each with what it shares with the first.
fn also(spec: &VenueSpec, problems: &mut Problems) -> Vec<Mapping> {
    let mut mappings = Vec::new();
    for (name, also) in &spec.also {
        let of = format!("mapping.also.{name}");
        let mut own = Problems::default();
        let mapping = mapping(&of, also, &mut own);
        // What it shares is told once.
        own.0.retain(|VenueProblem { key, problem }| {
            let shared = format!("mapping{}", &key[of.len()..]);
            !problems.0.iter().any(|known| known.key == shared && known.problem == *problem)
        });
        let clean = own.0.is_empty();
        problems.0.append(&mut own.0);
        let Some(mapping) = mapping else { continue };
        if clean && !mapping.is_sure() {
            let problem =
                "must hold a condition on the message, which tells it from other mappings";
            problems.add(&format!("{of}.when"), problem);
        }
        if also.trade_ids != spec.mapping.trade_ids {
            problems.add(&format!("{of}.trade_ids"), "must be the same in all mappings");
        }
        if of_frame(&also.sequence).is_some() && also.sequence != spec.mapping.sequence {
            let problem = "counts the messages of a connection, so it belongs into [mapping]";
            problems.add(&format!("{of}.sequence"), problem);
        }
        mappings.push(mapping);
    }
    mappings
}

/// Checks that channels are learned where they are used.
fn channels(spec: &VenueSpec, problems: &mut Problems) {
    let mappings = std::iter::once(&spec.mapping).chain(spec.also.iter().map(|(_, also)| also));
    let is_used = mappings.into_iter().any(|mapping| !mapping.channel.is_empty());
    let AnswerSpec { symbol, channel, .. } = &spec.frames.acknowledged;
    if is_used && channel.is_empty() {
        let problem = "must say where the number stands that mapping.channel is about";
        problems.add("frames.acknowledged.channel", problem);
    }
    if !channel.is_empty() && symbol.is_empty() {
        let problem = "must say where the symbol of frames.acknowledged.channel stands";
        problems.add("frames.acknowledged.symbol", problem);
    }
    if !channel.is_empty() && !is_used {
        problems.add("frames.acknowledged.channel", "is for mapping.channel, which is empty");
    }
}

/// The texts that pointers go into.
fn inner(spec: &VenueSpec, problems: &mut Problems) -> Vec<Inner> {
    let mut found = BTreeSet::new();
    let mut note = |key: &str, pointer: &str, each: &str| {
        found.extend(problems.take(key, Inner::of(pointer, each)).unwrap_or_default());
    };
    let mut of_mapping = |of: &str, mapping: &MappingSpec| {
        let MappingSpec { each, symbol, channel, time, trade_id, sequence, .. } = mapping;
        note(&format!("{of}.each"), each, "");
        let parts = [
            ("symbol", symbol),
            ("channel", channel),
            ("time", time),
            ("trade_id", trade_id),
            ("sequence", sequence),
        ];
        let fields = mapping.fields.iter().map(|(name, text)| (name.as_str(), text));
        for (name, text) in parts.into_iter().chain(fields) {
            note(&format!("{of}.{name}"), text, each);
        }
        for (pointer, _) in asked(&mapping.when) {
            note(&format!("{of}.when.\"{pointer}\""), pointer, each);
        }
    };
    of_mapping("mapping", &spec.mapping);
    for (name, also) in &spec.also {
        of_mapping(&format!("mapping.also.{name}"), also);
    }
    let FramesSpec { ping, heartbeat, acknowledged, refused, pong, closing } = &spec.frames;
    let refused_answer = &refused.answer;
    for (key, pointer) in [
        ("ping.value", &ping.value),
        ("heartbeat.counter", &heartbeat.counter),
        ("acknowledged.id", &acknowledged.id),
        ("acknowledged.symbol", &acknowledged.symbol),
        ("acknowledged.channel", &acknowledged.channel),
        ("refused.id", &refused_answer.id),
        ("refused.symbol", &refused_answer.symbol),
        ("refused.text", &refused.text),
    ] {
        note(&format!("frames.{key}"), pointer, "");
    }
    for (key, conditions) in [
        ("ping.when", &ping.when),
        ("heartbeat.when", &heartbeat.when),
        ("acknowledged.when", &acknowledged.when),
        ("refused.when", &refused_answer.when),
        ("refused.rate_limited", &refused.rate_limited),
        ("pong.when", &pong.when),
        ("closing.when", closing),
    ] {
        for (pointer, _) in asked(conditions) {
            note(&format!("frames.{key}.\"{pointer}\""), pointer, "");
        }
    }
    found.into_iter().collect()
}

/// The conditions that ask for something: an empty list takes one away.
pub(super) fn asked(conditions: &Conditions) -> impl Iterator<Item = (&String, &Vec<String>)> {
    conditions.iter().filter(|(_, patterns)| !patterns.is_empty())
}

fn rules(spec: &FramesSpec, problems: &mut Problems) -> Rules {
    let FramesSpec { ping, heartbeat, acknowledged, refused, pong, closing } = spec;
    let ping = ping_rule(ping, problems);
    let counter = frame_place("frames.heartbeat.counter", &heartbeat.counter, problems);
    let text = frame_place("frames.refused.text", &refused.text, problems);
    let rate_limited = all_of("frames.refused.rate_limited", &refused.rate_limited, problems);
    let answer = |key: &str, spec: &AnswerSpec, problems: &mut Problems| {
        let when = all_of(&format!("{key}.when"), &spec.when, problems);
        let id = frame_place(&format!("{key}.id"), &spec.id, problems);
        let symbols = (!spec.symbol.is_empty()).then(|| Each::parse(&spec.symbol));
        let symbols = symbols.and_then(|each| problems.take(&format!("{key}.symbol"), each));
        let channel = frame_place(&format!("{key}.channel"), &spec.channel, problems);
        when.map(|when| Answer { when, id, symbols, channel })
    };
    Rules {
        ping,
        heartbeat: all_of("frames.heartbeat.when", &heartbeat.when, problems)
            .map(|when| (when, counter)),
        pong: all_of("frames.pong.when", &pong.when, problems),
        pong_text: Some(pong.text.clone()).filter(|text| !text.is_empty()),
        acknowledged: answer("frames.acknowledged", acknowledged, problems),
        refused: answer("frames.refused", &refused.answer, problems).map(|answer| RefusedRule {
            answer,
            text,
            rate_limited,
        }),
        closing: all_of("frames.closing.when", closing, problems),
    }
}

/// The rule about pings; `None` where there is none.
fn ping_rule(spec: &PingSpec, problems: &mut Problems) -> Option<PingRule> {
    const VALUE: &str = "{value}";
    let PingSpec { when, text, answer, value } = spec;
    let when = all_of("frames.ping.when", when, problems);
    let place = frame_place("frames.ping.value", value, problems);
    let is_known = when.is_some() || !text.is_empty();
    if !is_known && (!answer.is_empty() || !value.is_empty()) {
        problems.add("frames.ping.when", "must say how the ping is known that is answered");
    }
    if is_known && answer.is_empty() {
        problems.add("frames.ping.answer", "must say what is sent back");
    }
    let repeats = answer.contains(VALUE);
    if repeats && value.is_empty() {
        problems.add("frames.ping.value", "must say where the {value} of the answer stands");
    }
    if !repeats && !value.is_empty() && !answer.is_empty() {
        problems.add("frames.ping.answer", "holds no {value}, so frames.ping.value has no use");
    }
    if repeats && !text.is_empty() {
        let problem = "is a message that is no JSON, so it has no {value} for the answer";
        problems.add("frames.ping.text", problem);
    }
    let answer: Vec<_> = answer.split(VALUE).map(str::to_owned).collect();
    if answer.iter().any(|piece| !matches!(Template::parse(piece), Ok(it) if it.is_plain())) {
        problems.add("frames.ping.answer", "may hold {value} and no other placeholder");
    }
    let text = Some(text.clone()).filter(|text| !text.is_empty());
    is_known.then_some(PingRule { when, text, answer, value: place })
}

/// A place in a frame as a whole; `None` where none is written.
pub(super) fn frame_place(key: &str, text: &str, problems: &mut Problems) -> Option<Place> {
    (!text.is_empty()).then(|| problems.take(key, Place::of_frame(text))).flatten()
}

/// Conditions on a frame as a whole; `None` where there are none, so that the rule never fits.
pub(super) fn all_of(
    key: &str,
    conditions: &Conditions,
    problems: &mut Problems,
) -> Option<Vec<Condition>> {
    let mut all = Vec::new();
    for (pointer, patterns) in asked(conditions) {
        let condition: Result<_, PointerError> = Condition::of_frame(pointer, patterns);
        all.extend(problems.take(&format!("{key}.\"{pointer}\""), condition));
    }
    (!all.is_empty()).then_some(all)
}
