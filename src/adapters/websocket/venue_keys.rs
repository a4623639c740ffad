//! The keys of `[source]` that say what a venue's messages mean, what it allows, and how its
//! history is asked for.
//!
//! Owns their names and forms. Never knows what a mapping means: [`Venue::compile`] judges it.

use std::sync::Arc;
use std::time::Duration;

use super::settings::FeedConnection;
use crate::core::venue::{
    AnswerSpec, Answers, Bound, Case, ConnectionPlan, EmptyRows, FramesSpec, HeartbeatSpec,
    MappingSpec, Order, Paging, Ping, PingSpec, PongSpec, Rate, RefusedSpec, RestLimits,
    RestRefusedSpec, RestSpec, STANDARD_FIELDS, SubscriptionSpec, TradeIds, Venue, VenueLimits,
    VenueProblem, VenueSpec, VenueTime,
};
use crate::net::address::{HttpUrl, WebSocketUrl, WebSocketUrlError};
use crate::net::dial::{Header, read_headers};
use crate::ports::section::Section;

/// Reads the keys of `[source]` that a venue is made of, but for `url` and `subscribe`; and the
/// headers of questions for its history.
pub(super) fn read(source: &mut Section<'_>) -> (VenueSpec, Vec<Header>) {
    source.shows(&["venue", "symbols"]);
    // The layer has been chosen by it already.
    source.optional_text("venue");
    let symbols = source.texts("symbols");
    let unsubscribe = source.texts("unsubscribe");
    let subscription = subscription(source.section("subscription"));
    let (mapping, also) = mappings(source.section("mapping"));
    let frames = frames(source.section("frames"));
    let limits = limits(source.section("limits"));
    let (rest, headers) = rest(source.section("rest"));
    let spec = VenueSpec {
        url: String::new(),
        symbols,
        subscribe: Vec::new(),
        unsubscribe,
        subscription,
        mapping,
        also,
        frames,
        limits,
        rest: Some(rest).filter(|rest| !rest.url.is_empty()),
    };
    (spec, headers)
}

/// What takes the place of a venue where there is none.
pub(super) fn nowhere() -> Arc<Venue> {
    let url = WebSocketUrl::nowhere().secret().to_owned();
    let spec = VenueSpec { url, ..VenueSpec::default() };
    Arc::new(Venue::compile(&spec).expect("the constant is an address without templates"))
}

/// Checks a venue, and the addresses of its connections. Where there are problems, what comes back
/// stands in for a venue.
pub(super) fn compile(
    spec: &VenueSpec,
    section: &mut Section<'_>,
) -> (Arc<Venue>, Vec<FeedConnection>) {
    let compiled = Venue::compile(spec).or_else(|problems| {
        for VenueProblem { key, problem } in problems {
            section.problem(&key, problem);
        }
        // The address is checked all the same.
        Venue::compile(&VenueSpec { url: spec.url.clone(), ..VenueSpec::default() })
    });
    let venue = compiled.map_or_else(|_| nowhere(), Arc::new);
    if let Some(rest) = venue.rest()
        && let Err(error) = rest.beginning().parse::<HttpUrl>()
    {
        section.problem("rest.url", error);
    }
    for plan in venue.connections() {
        if let Some((needed, allowed)) = too_many_subscriptions(venue.limits(), plan) {
            let problem = format!(
                "{} messages of one connection take {} s at this pace, and the venue waits {} s; \
                 use fewer symbols or more symbols_per_message",
                plan.subscribe.len(),
                needed.as_secs(),
                allowed.as_secs(),
            );
            section.problem("limits.messages_max", problem);
            break;
        }
    }
    let mut connections = Vec::with_capacity(venue.connections().len());
    for plan in venue.connections() {
        let url = plan.url.parse().unwrap_or_else(|error: WebSocketUrlError| {
            // Once is enough.
            if connections.is_empty() {
                section.problem("url", format_args!("{error}, for kind \"websocket\""));
            }
            WebSocketUrl::nowhere()
        });
        connections.push(FeedConnection { url, plan: plan.clone() });
    }
    (venue, connections)
}

/// How long the subscriptions of a connection take where the venue does not wait so long for them.
fn too_many_subscriptions(
    limits: &VenueLimits,
    plan: &ConnectionPlan,
) -> Option<(Duration, Duration)> {
    let (Rate { count, period }, allowed) = (limits.messages?, limits.subscribe_max?);
    let last = u32::try_from(plan.subscribe.len().saturating_sub(1)).unwrap_or(u32::MAX);
    // So many may go at once, and as many again in each period.
    let needed = period.saturating_mul(last / count.max(1));
    (needed > allowed).then_some((needed, allowed))
}

/// The most symbols of a message or connection that can be asked for.
const SYMBOLS_MAX: usize = 1_000_000;

fn subscription(mut section: Section<'_>) -> SubscriptionSpec {
    let answers = [
        ("none", Answers::None),
        ("per_message", Answers::PerMessage),
        ("per_symbol", Answers::PerSymbol),
    ];
    section.shows_all();
    let spec = SubscriptionSpec {
        symbol: section.text("symbol"),
        separator: section.text("separator"),
        symbols_per_message: section.count("symbols_per_message", 0, SYMBOLS_MAX),
        symbols_per_connection: section.count("symbols_per_connection", 0, SYMBOLS_MAX),
        answers: section.choice("answers", &answers),
    };
    section.finish();
    spec
}

/// The keys of a mapping, which further mappings share where they do not set them.
const MAPPING_KEYS: [&str; 22] = [
    "each",
    "symbol",
    "channel",
    "symbol_prefix",
    "symbol_suffix",
    "symbol_case",
    "time",
    "time_unit",
    "price",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "fields",
    "abs",
    "scale",
    "trade_id",
    "trade_ids",
    "sequence",
    "order",
    "when",
];

/// The mapping, and those that stand beside it.
fn mappings(mut section: Section<'_>) -> (MappingSpec, Vec<(String, MappingSpec)>) {
    section.shows_all();
    let also = section.variants("also", &MAPPING_KEYS);
    let first = mapping(section);
    (first, also.into_iter().map(|(name, section)| (name, mapping(section))).collect())
}

/// The letters of a symbol.
const CASES: [(&str, Case); 3] =
    [("as_is", Case::AsIs), ("lower", Case::Lower), ("upper", Case::Upper)];

/// The forms of times.
const TIMES: [(&str, VenueTime); 5] = [
    ("ms", VenueTime::Milliseconds),
    ("s", VenueTime::Seconds),
    ("us", VenueTime::Microseconds),
    ("ns", VenueTime::Nanoseconds),
    ("rfc3339", VenueTime::Text),
];

/// The native fields of a mapping, and where they stand.
fn fields(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for name in STANDARD_FIELDS {
        let place = section.optional_text(name);
        fields.extend(place.map(|place| (name.to_owned(), place)));
    }
    fields.extend(section.table("fields").into_iter().filter(|(_, place)| !place.is_empty()));
    fields
}

/// The keys of `[source.rest]`, and the headers of its questions.
fn rest(mut section: Section<'_>) -> (RestSpec, Vec<Header>) {
    let bounds = [("inclusive", Bound::Inclusive), ("exclusive", Bound::Exclusive)];
    let pagings =
        [("range", Paging::Range), ("latest", Paging::Latest), ("cursor", Paging::Cursor)];
    let empties = [("drop", EmptyRows::Drop), ("keep", EmptyRows::Keep)];
    section.shows(&["cursor", "intervals"]);
    let url = section.optional_text("url").unwrap_or_default();
    let spec = RestSpec {
        url,
        time_unit: section.choice("time_unit", &TIMES),
        from: section.choice("from", &bounds),
        to: section.choice("to", &bounds),
        paging: section.choice("paging", &pagings),
        cursor: section.optional_text("cursor").unwrap_or_default(),
        next: section.optional_text("next").unwrap_or_default(),
        rows_max: section.count("rows_max", 1, ROWS_MAX) as u32,
        pages_max: section.count("pages_max", 1, PAGES_MAX) as u32,
        omits_empty: section.switch("omits_empty"),
        empty: section.choice("empty", &empties),
        settle: Duration::from_millis(section.count("settle_ms", 0, 60_000) as u64),
        request_max: Duration::from_secs(section.count("seconds_max", 1, 300) as u64),
        intervals: section.table("intervals"),
        mapping: rest_mapping(section.section("mapping")),
        refused: rest_refused(section.section("refused")),
        limits: rest_limits(section.section("limits")),
    };
    let headers = read_headers(&mut section);
    section.finish();
    (spec, headers)
}

/// The most rows of an answer, and the most answers for a question, that can be asked for.
const ROWS_MAX: usize = 50_000;
const PAGES_MAX: usize = 1000;

/// The mapping of rows: its order is that of time, and they have no channels and no numbers.
fn rest_mapping(mut section: Section<'_>) -> MappingSpec {
    section.shows_all();
    let fields = fields(&mut section);
    let mut text = |name| section.optional_text(name).unwrap_or_default();
    let (each, symbol, time) = (text("each"), text("symbol"), text("time"));
    let (symbol_prefix, symbol_suffix) = (text("symbol_prefix"), text("symbol_suffix"));
    let scale = section.table("scale").into_iter().filter(|(_, scale)| !scale.is_empty());
    let spec = MappingSpec {
        when: section.lists("when"),
        each,
        symbol,
        symbol_prefix,
        symbol_suffix,
        symbol_case: section.choice("symbol_case", &CASES),
        time,
        time_unit: section.choice("time_unit", &TIMES),
        time_format: section.time_format(),
        fields,
        abs: section.texts("abs"),
        scale: scale.collect(),
        ..MappingSpec::default()
    };
    section.finish();
    spec
}

fn rest_refused(mut section: Section<'_>) -> RestRefusedSpec {
    section.shows_all();
    let spec = RestRefusedSpec {
        when: section.lists("when"),
        text: section.optional_text("text").unwrap_or_default(),
        rate_limited: section.lists("rate_limited"),
        away: section.lists("away"),
    };
    section.finish();
    spec
}

fn rest_limits(mut section: Section<'_>) -> RestLimits {
    // Zero is no limit.
    let count = section.count("requests_max", 0, 1_000_000) as u32;
    let period = section.count("requests_period_seconds", 1, DAY_SECONDS) as u64;
    let at_once = section.count("requests_at_once", 1, 64) as u32;
    section.finish();
    let rate = Rate { count, period: Duration::from_secs(period) };
    RestLimits { requests: (count > 0).then_some(rate), at_once }
}

fn mapping(mut section: Section<'_>) -> MappingSpec {
    let ids = [
        ("unique", TradeIds::Unique),
        ("increasing", TradeIds::Increasing),
        ("consecutive", TradeIds::Consecutive),
    ];
    let fields = fields(&mut section);
    let mut text = |name| section.optional_text(name).unwrap_or_default();
    let (each, symbol, time) = (text("each"), text("symbol"), text("time"));
    let (symbol_prefix, symbol_suffix, channel) =
        (text("symbol_prefix"), text("symbol_suffix"), text("channel"));
    let (trade_id, sequence) = (text("trade_id"), text("sequence"));
    let orders = [
        ("frame", Order::Frame),
        ("trade_id", Order::TradeId),
        ("reverse", Order::Reverse),
        ("time", Order::Time),
    ];
    let scale = section.table("scale").into_iter().filter(|(_, scale)| !scale.is_empty());
    let spec = MappingSpec {
        when: section.lists("when"),
        each,
        symbol,
        channel,
        symbol_prefix,
        symbol_suffix,
        symbol_case: section.choice("symbol_case", &CASES),
        time,
        time_unit: section.choice("time_unit", &TIMES),
        time_format: section.time_format(),
        trade_id,
        trade_ids: section.choice("trade_ids", &ids),
        sequence,
        order: section.choice("order", &orders),
        fields,
        abs: section.texts("abs"),
        scale: scale.collect(),
    };
    section.finish();
    spec
}

fn frames(mut section: Section<'_>) -> FramesSpec {
    let answer = |section: &mut Section<'_>| AnswerSpec {
        when: section.lists("when"),
        id: section.optional_text("id").unwrap_or_default(),
        symbol: section.optional_text("symbol").unwrap_or_default(),
        channel: String::new(),
    };
    let mut inside = section.section("ping");
    inside.shows(&["value", "when"]);
    let mut text = |name| inside.optional_text(name).unwrap_or_default();
    let (text, answer_to_it, value) = (text("text"), text("answer"), text("value"));
    let ping = PingSpec { when: inside.lists("when"), text, answer: answer_to_it, value };
    inside.finish();
    let mut heartbeat = section.section("heartbeat");
    heartbeat.shows_all();
    let when = heartbeat.lists("when");
    let counter = heartbeat.optional_text("counter").unwrap_or_default();
    heartbeat.finish();
    let heartbeat = HeartbeatSpec { when, counter };
    let mut inside = section.section("acknowledged");
    inside.shows_all();
    let channel = inside.optional_text("channel").unwrap_or_default();
    let acknowledged = AnswerSpec { channel, ..answer(&mut inside) };
    inside.finish();
    let mut inside = section.section("refused");
    inside.shows_all();
    let refused = RefusedSpec {
        answer: answer(&mut inside),
        text: inside.optional_text("text").unwrap_or_default(),
        rate_limited: inside.lists("rate_limited"),
    };
    inside.finish();
    let mut inside = section.section("pong");
    inside.shows(&["when"]);
    let text = inside.optional_text("text").unwrap_or_default();
    let pong = PongSpec { when: inside.lists("when"), text };
    inside.finish();
    let mut inside = section.section("closing");
    inside.shows_all();
    let closing = inside.lists("when");
    inside.finish();
    section.finish();
    FramesSpec { ping, heartbeat, acknowledged, refused, pong, closing }
}

/// The longest time that a limit can be.
const DAY_SECONDS: usize = 86_400;

fn limits(mut section: Section<'_>) -> VenueLimits {
    // Zero is no limit.
    let rate = |section: &mut Section<'_>, count: &'static str, period: &'static str| {
        let count = section.count(count, 0, 1_000_000) as u32;
        let period = Duration::from_secs(section.count(period, 1, DAY_SECONDS) as u64);
        (count > 0).then_some(Rate { count, period })
    };
    let time = |section: &mut Section<'_>, name: &'static str| {
        let seconds = section.count(name, 0, 7 * DAY_SECONDS) as u64;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    };
    let text = section.optional_text("ping");
    let period = Duration::from_secs(section.count("ping_seconds", 1, DAY_SECONDS) as u64);
    let limits = VenueLimits {
        messages: rate(&mut section, "messages_max", "messages_period_seconds"),
        connects: rate(&mut section, "connects_max", "connects_period_seconds"),
        life_max: time(&mut section, "life_seconds_max"),
        ping: text.map(|text| Ping { text, period }),
        heartbeat_max: time(&mut section, "heartbeat_seconds_max"),
        subscribe_max: time(&mut section, "subscribe_seconds_max"),
        answer_max: time(&mut section, "answer_seconds_max"),
    };
    section.finish();
    limits
}
