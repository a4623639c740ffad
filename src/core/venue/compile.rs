//! From what is written to a venue that can be used.
//!
//! Owns the rules between keys. Promises that all problems come out at once, each with its key as
//! the venue's file has it. Never reads a file.

use std::collections::BTreeSet;

use super::Venue;
use super::frame::{Answer, RefusedRule, Rules};
use super::json::is_number;
use super::mapping::{Mapping, Member, Parts, Spelling};
use super::plan::Planner;
use super::pointer::{Each, Place, PointerError};
use super::rule::Condition;
use super::spec::{
    AnswerSpec, Conditions, FramesSpec, MappingSpec, Order, STANDARD_FIELDS, VenueSpec,
};
use super::template::Template;
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
struct Problems(Vec<VenueProblem>);

impl Problems {
    fn add(&mut self, key: &str, problem: impl std::fmt::Display) {
        self.0.push(VenueProblem { key: key.to_owned(), problem: problem.to_string() });
    }

    /// The value, or `None` and a problem.
    fn take<T, E: std::fmt::Display>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(key, error)).ok()
    }
}

pub(super) fn compile(spec: &VenueSpec) -> Result<Venue, Vec<VenueProblem>> {
    let mut problems = Problems::default();
    let planner = planner(spec, &mut problems);
    let mapping = mapping(&spec.mapping, &mut problems);
    let rules = rules(&spec.frames, &mut problems);
    let sequence = of_frame(&spec.mapping.sequence);
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
        && rules.is_empty_but_text();
    Ok(Venue {
        connections: planner.plans(),
        answers: spec.subscription.answers,
        limits: spec.limits.clone(),
        mapping,
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
            let rule = "must have 1 to 64 bytes, without blanks, quotes, braces and backslashes";
            problems.add("symbols", format_args!("`{}` {rule}", symbol.escape_debug()));
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
    if address.names_one_symbol() && subscription.symbols_per_connection != 1 {
        problems.add("url", "holds {symbol}; set subscription.symbols_per_connection = 1");
    }
    if one.has_id() || one.names_symbols() {
        problems.add("subscription.symbol", "may hold {symbol} in its forms and no other");
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

fn mapping(spec: &MappingSpec, problems: &mut Problems) -> Option<Mapping> {
    let each = problems.take("mapping.each", Each::parse(&spec.each));
    // The others are read as well, so that their problems are found.
    let base = each.clone().unwrap_or_else(|| Each::parse("").expect("the frame itself"));
    let place = |key: &str, text: &str, problems: &mut Problems| {
        let some = (!text.is_empty()).then(|| problems.take(key, Place::parse(text, &base)));
        some.flatten()
    };
    let symbol = place("mapping.symbol", &spec.symbol, problems);
    let time = place("mapping.time", &spec.time, problems);
    let trade_id = place("mapping.trade_id", &spec.trade_id, problems);
    let sequence = place("mapping.sequence", &spec.sequence, problems);
    let mut fields = Vec::new();
    for (name, text) in &spec.fields {
        let is_standard = STANDARD_FIELDS.contains(&name.as_str());
        let key =
            if is_standard { format!("mapping.{name}") } else { format!("mapping.fields.{name}") };
        if matches!(name.as_str(), "symbol" | "time" | "") {
            problems.add(&key, "cannot be the name of a field: every tick uses it otherwise");
        }
        if let Some(place) = place(&key, text, problems) {
            if matches!(&place, Place::Constant(number) if !is_number(number)) {
                problems.add(&key, "must be a number behind the `=`, as JSON writes it");
            }
            let name = serde_json::Value::from(name.as_str()).to_string();
            fields.push(Member { name, place });
        }
    }
    for (key, place) in
        [("mapping.time", &time), ("mapping.trade_id", &trade_id), ("mapping.sequence", &sequence)]
    {
        if matches!(place, Some(Place::Constant(_))) {
            problems.add(key, "must stand in the frame; it is different for each tick");
        }
    }
    if let Some(Place::Constant(symbol)) = &symbol
        && let Err(error) = Symbol::check(symbol)
    {
        problems.add("mapping.symbol", error);
    }
    if spec.order == Order::TradeId && spec.trade_id.is_empty() {
        problems.add("mapping.order", "needs mapping.trade_id to order by");
    }
    let is_native = spec.symbol.is_empty() && spec.time.is_empty() && spec.fields.is_empty();
    if !is_native {
        for (key, text) in [("mapping.symbol", &spec.symbol), ("mapping.time", &spec.time)] {
            if text.is_empty() {
                problems.add(key, "must say where it stands, because other parts are mapped");
            }
        }
        if spec.fields.is_empty() {
            problems.add("mapping.price", "must say where it stands, or another field must");
        }
    }
    let mut conditions = Vec::new();
    for (pointer, patterns) in asked(&spec.when) {
        let condition = Condition::parse(pointer, patterns, &base);
        conditions.extend(problems.take(&format!("mapping.when.\"{pointer}\""), condition));
    }
    let (of_frame, of_element) = conditions.into_iter().partition(Condition::is_of_frame);
    let parts = match (symbol, time) {
        (Some(symbol), Some(time)) => Some(Parts {
            symbol,
            spelling: Spelling { prefix: spec.symbol_prefix.clone(), case: spec.symbol_case },
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

/// The conditions that ask for something: an empty list takes one away.
fn asked(conditions: &Conditions) -> impl Iterator<Item = (&String, &Vec<String>)> {
    conditions.iter().filter(|(_, patterns)| !patterns.is_empty())
}

fn rules(spec: &FramesSpec, problems: &mut Problems) -> Rules {
    let FramesSpec { heartbeat, acknowledged, refused, pong, closing } = spec;
    let counter = frame_place("frames.heartbeat.counter", &heartbeat.counter, problems);
    let text = frame_place("frames.refused.text", &refused.text, problems);
    let rate_limited = all_of("frames.refused.rate_limited", &refused.rate_limited, problems);
    let answer = |key: &str, spec: &AnswerSpec, problems: &mut Problems| {
        let when = all_of(&format!("{key}.when"), &spec.when, problems);
        let id = frame_place(&format!("{key}.id"), &spec.id, problems);
        let symbols = (!spec.symbol.is_empty()).then(|| Each::parse(&spec.symbol));
        let symbols = symbols.and_then(|each| problems.take(&format!("{key}.symbol"), each));
        when.map(|when| Answer { when, id, symbols })
    };
    Rules {
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

/// A place in a frame as a whole; `None` where none is written.
fn frame_place(key: &str, text: &str, problems: &mut Problems) -> Option<Place> {
    (!text.is_empty()).then(|| problems.take(key, Place::of_frame(text))).flatten()
}

/// Conditions on a frame as a whole; `None` where there are none, so that the rule never fits.
fn all_of(key: &str, conditions: &Conditions, problems: &mut Problems) -> Option<Vec<Condition>> {
    let mut all = Vec::new();
    for (pointer, patterns) in asked(conditions) {
        let condition: Result<_, PointerError> = Condition::of_frame(pointer, patterns);
        all.extend(problems.take(&format!("{key}.\"{pointer}\""), condition));
    }
    (!all.is_empty()).then_some(all)
}
