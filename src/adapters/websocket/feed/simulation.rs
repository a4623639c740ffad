//! A venue in simulated time that breaks in every way a venue breaks, and an oracle that knows
//! what it sent.
//!
//! Owns the venue's side of each connection and the record of everything that happened. All of a
//! run follows from its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::core::venue::{Answers, Rate, TradeIds, VenueSpec};

const SYMBOLS: [&str; 4] = ["AAA", "BBB", "CCC", "DDD"];

/// How fast a frame is on its way.
const LATENCY: Duration = Duration::from_millis(20);

/// What the venue is like.
#[derive(Clone, Copy, Debug)]
struct Character {
    seed: u64,
    ids: TradeIds,
    /// Whether frames are numbered on their connection.
    numbered: bool,
    symbols_per_connection: usize,
    life: Option<Duration>,
    /// The share of things that go wrong, in thousandths.
    faults: u64,
    /// Nothing goes wrong after this.
    calm_after: Duration,
    end: Duration,
}

/// Numbers by SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// The venue's side of a connection.
struct Peer {
    share: usize,
    opened_at: Duration,
    /// Symbols that it sends.
    subscribed: BTreeSet<usize>,
    /// It sends nothing, and answers pings or not.
    stalled: bool,
    answers_pings: bool,
    frames: u64,
    heartbeats: u64,
    /// A frame that will go out behind the next one.
    delayed: Option<String>,
    messages_at: Vec<Duration>,
}

/// A tick that was passed on.
#[derive(Clone, Copy, Debug)]
struct Passed {
    id: u64,
    after_gap: bool,
    at: Duration,
}

enum Event {
    Dialled { line: LineId, outcome: Result<(), ConnectionFailure> },
    Trade { symbol: usize },
    Heartbeat { line: LineId },
    Arrives { line: LineId, frame: String },
    Pong { line: LineId },
    Ends { line: LineId, failure: ConnectionFailure },
    Breaks { line: LineId },
}

struct World {
    character: Character,
    feed: FeedMachine,
    dice: Dice,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    shares: BTreeMap<LineId, usize>,
    peers: BTreeMap<LineId, Peer>,
    /// The id of each symbol's last trade.
    ids: [u64; SYMBOLS.len()],
    /// When each trade was made.
    traded_at: [Vec<Duration>; SYMBOLS.len()],
    delivered: [Vec<Passed>; SYMBOLS.len()],
    /// When ticks of each share may have been lost: a connection ended, or a frame was lost or
    /// overtaken.
    disturbed_at: BTreeMap<usize, Vec<Duration>>,
    connects_at: Vec<Duration>,
    /// No share may connect before.
    banned_until: Duration,
    life_exceeded: u64,
}

const MESSAGES: Rate = Rate { count: 5, period: Duration::from_secs(1) };
const CONNECTS: Rate = Rate { count: 6, period: Duration::from_secs(5) };
const HEARTBEAT: Duration = Duration::from_secs(1);

fn venue(character: &Character) -> Arc<Venue> {
    let mut spec = VenueSpec {
        url: "wss://venue.test".to_owned(),
        symbols: SYMBOLS.map(str::to_owned).to_vec(),
        subscribe: vec![r#"{"subscribe":"{symbol}","id":{id}}"#.to_owned()],
        ..VenueSpec::default()
    };
    spec.subscription.answers = Answers::PerMessage;
    spec.subscription.symbols_per_connection = character.symbols_per_connection;
    let mapping = &mut spec.mapping;
    mapping.symbol = "/s".to_owned();
    mapping.time = "/t".to_owned();
    mapping.fields = vec![("price".to_owned(), "/i".to_owned())];
    mapping.trade_id = "/i".to_owned();
    mapping.trade_ids = character.ids;
    mapping.when.insert("/s".to_owned(), SYMBOLS.map(str::to_owned).to_vec());
    if character.numbered {
        mapping.sequence = "/n".to_owned();
    }
    let on = |kind: &str| [("/k".to_owned(), vec![kind.to_owned()])].into();
    spec.frames.acknowledged.when = on("ack");
    spec.frames.acknowledged.id = "/id".to_owned();
    spec.frames.refused.answer.when = on("no");
    spec.frames.refused.answer.id = "/id".to_owned();
    spec.frames.refused.rate_limited = [("/why".to_owned(), vec!["rate".to_owned()])].into();
    spec.frames.heartbeat.when = on("hb");
    spec.frames.heartbeat.counter = "/c".to_owned();
    spec.frames.closing = on("closing");
    spec.limits.messages = Some(MESSAGES);
    spec.limits.connects = Some(CONNECTS);
    spec.limits.life_max = character.life;
    spec.limits.heartbeat_max = Some(4 * HEARTBEAT);
    Arc::new(Venue::compile(&spec).expect("the venue of the simulation"))
}

fn settings() -> FeedSettings {
    let seconds = Duration::from_secs;
    FeedSettings {
        idle_timeout: seconds(10),
        pong_timeout: seconds(2),
        stall_timeout: None,
        answer_timeout: seconds(3),
        backoff_max: seconds(8),
        overlap: seconds(5),
        symbols_max: 100,
        ids_max: 256,
    }
}

impl World {
    fn new(character: Character) -> Self {
        let mut world = Self {
            character,
            feed: FeedMachine::new(venue(&character), settings(), character.seed),
            dice: Dice(character.seed),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            shares: BTreeMap::new(),
            peers: BTreeMap::new(),
            ids: [0; SYMBOLS.len()],
            traded_at: Default::default(),
            delivered: Default::default(),
            disturbed_at: BTreeMap::new(),
            connects_at: Vec::new(),
            banned_until: Duration::ZERO,
            life_exceeded: 0,
        };
        for symbol in 0..SYMBOLS.len() {
            world.after(Duration::from_millis(10), Event::Trade { symbol });
        }
        world
    }

    fn after(&mut self, span: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + span, self.scheduled), event);
    }

    /// Whether something goes wrong, `weight` times as often as most things do.
    fn fault(&mut self, weight: u64) -> bool {
        let calm = self.now >= self.character.calm_after;
        let roll = self.dice.below(1000);
        !calm && roll < self.character.faults * weight
    }

    fn run(&mut self) {
        let mut idle_turns = 0;
        self.obey();
        while self.now < self.character.end {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let next = event.unwrap_or(Duration::MAX).min(self.feed.due());
            idle_turns = if next > self.now { 0 } else { idle_turns + 1 };
            assert!(idle_turns < 1000, "the machine spins at {:?}", self.now);
            self.now = next.max(self.now);
            if event.is_some_and(|at| at <= self.now) {
                let (_, event) = self.events.pop_first().expect("it was looked at");
                self.happen(event);
            } else {
                self.feed.tick(self.now);
            }
            self.obey();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Dialled { line, outcome: Ok(()) } => self.open(line),
            Event::Dialled { line, outcome: Err(failure) } => {
                if let Some(wait) = failure.retry_after {
                    self.banned_until = self.banned_until.max(self.now + wait);
                }
                self.feed.failed(self.now, line, &failure);
            }
            Event::Trade { symbol } => self.trade(symbol),
            Event::Heartbeat { line } => {
                let Some(peer) = self.peers.get_mut(&line) else { return };
                peer.heartbeats += 1;
                let frame = format!(r#"{{"k":"hb","c":{}"#, peer.heartbeats);
                self.send(line, &frame);
                self.after(HEARTBEAT, Event::Heartbeat { line });
            }
            Event::Arrives { line, frame } => {
                // What is on its way when a connection breaks is lost.
                if self.peers.contains_key(&line) {
                    self.feed.frame(self.now, line, &Bytes::from(frame));
                }
            }
            Event::Pong { line } => self.feed.ponged(self.now, line),
            Event::Ends { line, failure } => {
                if let Some(peer) = self.peers.remove(&line) {
                    self.disturb(peer.share);
                    self.feed.ended(self.now, line, &failure);
                }
            }
            Event::Breaks { line } => self.break_line(line),
        }
    }

    fn open(&mut self, line: LineId) {
        let peer = Peer {
            share: self.shares[&line],
            opened_at: self.now,
            subscribed: BTreeSet::new(),
            stalled: false,
            answers_pings: true,
            frames: 0,
            heartbeats: 0,
            delayed: None,
            messages_at: Vec::new(),
        };
        self.peers.insert(line, peer);
        if let Some(life) = self.character.life {
            let failure =
                ConnectionFailure { why: "end of life".to_owned(), ..ConnectionFailure::default() };
            self.after(life, Event::Ends { line, failure });
        }
        self.after(HEARTBEAT, Event::Heartbeat { line });
        if self.fault(400) {
            let when = self.dice.millis(100, 40_000);
            self.after(when, Event::Breaks { line });
        }
        self.feed.opened(self.now, line);
    }

    /// Notes that ticks of a share may be missing from here on.
    fn disturb(&mut self, share: usize) {
        self.disturbed_at.entry(share).or_default().push(self.now);
    }

    /// One of the ways in which a connection breaks.
    fn break_line(&mut self, line: LineId) {
        if self.now >= self.character.calm_after {
            return;
        }
        let way = self.dice.below(5);
        let Some(peer) = self.peers.get_mut(&line) else { return };
        let failure = |rate_limited| ConnectionFailure {
            why: "broken".to_owned(),
            retry_after: None,
            rate_limited,
        };
        match way {
            // Half open: nothing comes any more, not even an answer.
            0 => (peer.stalled, peer.answers_pings) = (true, false),
            // A stall behind an answering front.
            1 => peer.stalled = true,
            2 => self.after(Duration::ZERO, Event::Ends { line, failure: failure(true) }),
            3 => {
                self.send(line, r#"{"k":"closing""#);
                let failure = failure(false);
                self.after(Duration::from_secs(20), Event::Ends { line, failure });
            }
            _ => self.after(Duration::ZERO, Event::Ends { line, failure: failure(false) }),
        }
    }

    fn trade(&mut self, symbol: usize) {
        self.ids[symbol] += 1;
        let id = self.ids[symbol];
        self.traded_at[symbol].push(self.now);
        // One symbol rests for long.
        let next = match symbol {
            3 => self.dice.millis(500, 30_000),
            _ => self.dice.millis(5, 400),
        };
        self.after(next, Event::Trade { symbol });
        let subscribed = |peer: &Peer| peer.subscribed.contains(&symbol);
        let lines: Vec<_> =
            self.peers.iter().filter(|(_, peer)| subscribed(peer)).map(|(id, _)| *id).collect();
        for line in lines {
            let frame = self.tick(symbol, id);
            self.send(line, &frame);
        }
    }

    fn tick(&self, symbol: usize, id: u64) -> String {
        let quoted = if self.character.ids == TradeIds::Unique { "\"x" } else { "" };
        let end = if quoted.is_empty() { "" } else { "\"" };
        format!(r#"{{"s":"{}","t":{id},"i":{quoted}{id}{end}"#, SYMBOLS[symbol])
    }

    /// Puts a frame on its way, or not, or twice, or behind the next one.
    fn send(&mut self, line: LineId, frame: &str) {
        // A loss that nothing can show is no fault that anybody could mark.
        let shows = self.character.numbered || self.character.ids == TradeIds::Consecutive;
        let is_tick = frame.contains(r#""s":"#);
        let lost = self.fault(2) && shows && is_tick;
        let twice = self.fault(5);
        // The place of one that comes late is shown by the hole that it leaves, or not at all.
        let later = self.fault(5) && shows && is_tick;
        let Some(peer) = self.peers.get_mut(&line) else { return };
        if peer.stalled {
            return;
        }
        peer.frames += 1;
        let frame = match self.character.numbered {
            true => format!(r#"{frame},"n":{}}}"#, peer.frames),
            false => format!("{frame}}}"),
        };
        let share = peer.share;
        if lost {
            self.disturb(share);
            return;
        }
        let mut frames = vec![frame.clone()];
        frames.extend(twice.then_some(frame));
        let overtaken = later && peer.delayed.is_none();
        if overtaken {
            peer.delayed = frames.pop();
        } else {
            frames.extend(peer.delayed.take());
        }
        if overtaken {
            self.disturb(share);
        }
        for frame in frames {
            self.after(LATENCY, Event::Arrives { line, frame });
        }
    }

    /// Does what the machine wants, and takes what it passes on.
    fn obey(&mut self) {
        while let Some(action) = self.feed.next_action() {
            match action {
                Action::Connect { line, share } => self.connect(line, share),
                Action::Send { line, text } | Action::Answer { line, text } => {
                    self.hear(line, &text);
                }
                Action::Ping { line } => {
                    let Some(peer) = self.peers.get_mut(&line) else { continue };
                    peer.messages_at.push(self.now);
                    if peer.answers_pings {
                        self.after(2 * LATENCY, Event::Pong { line });
                    }
                }
                Action::Close { line, .. } => {
                    if let Some(peer) = self.peers.remove(&line) {
                        self.disturb(peer.share);
                        self.judge_messages(&peer);
                    }
                }
            }
        }
        let _ = self.feed.take_notices();
        let deliveries: Vec<_> = self.feed.take_deliveries().collect();
        for Delivery { record, after_gap, .. } in deliveries {
            let tick: serde_json::Value = serde_json::from_slice(&record).expect("a native tick");
            let symbol = SYMBOLS.iter().position(|name| tick["symbol"] == *name).expect("ours");
            let time = tick["time"].as_str().expect("a time").parse_millis();
            self.delivered[symbol].push(Passed { id: time, after_gap, at: self.now });
        }
        let FeedTally { ticks, passed, duplicates, forgotten, overlapping, held, .. } =
            self.feed.tally();
        assert_eq!(ticks, passed + duplicates + forgotten + overlapping + held);
    }

    fn connect(&mut self, line: LineId, share: usize) {
        assert!(self.now >= self.banned_until, "connects at {:?} though banned", self.now);
        self.connects_at.push(self.now);
        self.shares.insert(line, share);
        let mut outcome = Ok(());
        if self.fault(100) {
            let mut failure =
                ConnectionFailure { why: "refused".to_owned(), ..ConnectionFailure::default() };
            if self.dice.below(3) == 0 {
                let wait = self.dice.millis(500, 20_000);
                failure.retry_after = Some(wait);
                failure.rate_limited = true;
            }
            outcome = Err(failure);
        }
        let span = self.dice.millis(1, 300);
        self.after(span, Event::Dialled { line, outcome });
    }

    /// The venue gets a message.
    fn hear(&mut self, line: LineId, text: &str) {
        let message: serde_json::Value = serde_json::from_str(text).expect("a subscription");
        let name = &message["subscribe"];
        let symbol = SYMBOLS.iter().position(|symbol| name == symbol).expect("ours");
        let id = message["id"].as_u64().expect("a number");
        let (ignored, unheard, refused) = (self.fault(40), self.fault(40), self.fault(40));
        let why = if self.dice.below(2) == 0 { "rate" } else { "unknown" };
        let Some(peer) = self.peers.get_mut(&line) else { return };
        peer.messages_at.push(self.now);
        let plans = self.feed.venue().connections();
        assert!(plans[peer.share].symbols.iter().any(|planned| name == planned), "not its own");
        if ignored {
            return;
        }
        if refused {
            self.send(line, &format!(r#"{{"k":"no","id":{id},"why":"{why}""#));
            return;
        }
        peer.subscribed.insert(symbol);
        if !unheard {
            self.send(line, &format!(r#"{{"k":"ack","id":{id}"#));
        }
        // The last trades first, as many venues send them.
        let last = self.ids[symbol];
        for id in last.saturating_sub(self.dice.below(4)) + 1..=last {
            let frame = self.tick(symbol, id);
            self.send(line, &frame);
        }
    }

    fn judge_messages(&mut self, peer: &Peer) {
        within_rate(&peer.messages_at, MESSAGES);
        let age = self.now - peer.opened_at;
        self.life_exceeded += u64::from(self.character.life.is_some_and(|life| age >= life));
    }

    /// Each mark has a cause since the tick before it, and where ids grow by one they are the
    /// proof.
    fn judge_marks(&self, symbol: usize) {
        // A lost frame shows by the number of the next one, which a heartbeat brings at the latest.
        let discovery = HEARTBEAT + 2 * LATENCY;
        let name = SYMBOLS[symbol];
        let plans = self.feed.venue().connections();
        let share = plans.iter().position(|plan| plan.symbols.iter().any(|other| other == name));
        let disturbed_at = share.and_then(|share| self.disturbed_at.get(&share));
        let disturbed_at = disturbed_at.map_or(&[][..], Vec::as_slice);
        let (mut newest, mut before) = (None, Duration::ZERO);
        for Passed { id, after_gap, at } in &self.delivered[symbol] {
            let since = before.saturating_sub(discovery);
            let disturbed = disturbed_at.iter().any(|cause| (since..=*at).contains(cause));
            assert!(!after_gap || disturbed, "{name} {id} is marked at {at:?} without a cause");
            if self.character.ids == TradeIds::Consecutive
                && newest.is_some_and(|newest| *id == newest + 1)
            {
                assert!(!after_gap, "{name} {id} is marked, and nothing lies before it");
            }
            // One that comes late settles nothing.
            if newest.is_none_or(|newest| *id > newest) {
                (newest, before) = (Some(*id), *at);
            }
        }
    }

    /// What the oracle knows of the whole run.
    fn judge(&self) {
        within_rate(&self.connects_at, CONNECTS);
        for (symbol, delivered) in self.delivered.iter().enumerate() {
            let name = SYMBOLS[symbol];
            let mut seen = BTreeSet::new();
            for Passed { id, .. } in delivered {
                assert!(seen.insert(*id), "{name} {id} was passed on twice");
            }
            let Some((first, last)) = delivered.first().zip(seen.last()) else {
                panic!("nothing of {name} was passed on")
            };
            // Each loss is marked on the first tick that came behind it. What lies before the very
            // first one is no loss, even where an older one came late.
            for lost in (first.id..*last).filter(|id| !seen.contains(id)) {
                let behind = delivered.iter().find(|passed| passed.id > lost);
                let Passed { id, after_gap, .. } = behind.expect("there is a last");
                assert!(after_gap, "{name} {lost} was lost, and {id} is not marked");
            }
            self.judge_marks(symbol);
            // After the faults everything is as it should be.
            let healed = self.character.calm_after + Duration::from_secs(90);
            for (index, traded_at) in self.traded_at[symbol].iter().enumerate() {
                let id = index as u64 + 1;
                if *traded_at >= healed && *traded_at + 2 * LATENCY < self.character.end {
                    assert!(seen.contains(&id), "{name} {id} was lost in calm weather");
                }
            }
        }
    }
}

/// The venue's own count, by its own clock.
fn within_rate(times: &[Duration], rate: Rate) {
    for (index, time) in times.iter().enumerate() {
        let within = times[index..].iter().take_while(|later| **later < *time + rate.period);
        assert!(within.count() <= rate.count as usize, "{rate:?} is exceeded at {time:?}");
    }
}

/// Times of this venue are milliseconds that count trades.
trait ParseMillis {
    fn parse_millis(&self) -> u64;
}

impl ParseMillis for str {
    fn parse_millis(&self) -> u64 {
        let time = crate::core::domain::UnixNanos::parse(self).expect("RFC 3339");
        u64::try_from(time.as_nanos() / 1_000_000).expect("behind the epoch")
    }
}

fn character() -> impl Strategy<Value = Character> {
    let ids = prop_oneof![
        Just(TradeIds::Consecutive),
        Just(TradeIds::Increasing),
        Just(TradeIds::Unique)
    ];
    let life = prop_oneof![Just(None), (60u64..200).prop_map(|s| Some(Duration::from_secs(s)))];
    (any::<u64>(), ids, any::<bool>(), 1usize..5, life, 0u64..4).prop_map(
        |(seed, ids, numbered, symbols_per_connection, life, faults)| Character {
            seed,
            ids,
            numbered,
            symbols_per_connection,
            life,
            faults,
            calm_after: Duration::from_secs(200),
            end: Duration::from_secs(320),
        },
    )
}

/// Each case is a life of minutes: 32 of them, and more where `PROPTEST_CASES` asks for more than
/// the 256 that are usual.
fn cases() -> u32 {
    ProptestConfig::default().cases.div_ceil(8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_breaks_no_loss_is_unmarked_and_nothing_comes_twice(character in character()) {
        let mut world = World::new(character);
        world.run();
        world.judge();
    }
}

/// Characters with which the machine or the oracle once failed.
#[test]
fn what_went_wrong_once_stays_right() {
    let base = Character {
        seed: 0,
        ids: TradeIds::Increasing,
        numbered: true,
        symbols_per_connection: 4,
        life: None,
        faults: 3,
        calm_after: Duration::from_secs(200),
        end: Duration::from_secs(320),
    };
    let characters = [
        // A frame is overtaken and the next one lost; the late frame settled the doubt.
        Character { seed: 2_283_084_476_935_209_403, ..base },
        // The very first tick comes before an older one, and those between them do not come.
        Character {
            seed: 1_260_598_951_649_863_776,
            ids: TradeIds::Consecutive,
            numbered: false,
            symbols_per_connection: 1,
            ..base
        },
    ];
    for character in characters {
        let mut world = World::new(character);
        world.run();
        world.judge();
    }
}

#[test]
fn a_connection_is_replaced_before_its_life_ends_and_ids_show_that_nothing_was_lost() {
    for ids in [TradeIds::Consecutive, TradeIds::Unique, TradeIds::Increasing] {
        for symbols_per_connection in [1, 4] {
            let mut world = World::new(Character {
                seed: 7,
                ids,
                numbered: false,
                symbols_per_connection,
                life: Some(Duration::from_secs(100)),
                faults: 0,
                calm_after: Duration::ZERO,
                end: Duration::from_secs(1000),
            });
            world.run();
            world.judge();
            let tally = world.feed.tally();
            assert!(tally.replaced >= 9, "{tally:?}");
            assert_eq!((world.life_exceeded, tally.missing), (0, 0));
            for (symbol, delivered) in world.delivered.iter().enumerate() {
                let marked = delivered.iter().filter(|passed| passed.after_gap).count();
                // The symbol that rests shows nothing while both stand, and its ids only where
                // they grow by one.
                let shows = symbol != 3 || ids == TradeIds::Consecutive;
                assert!(!shows || marked == 0, "{}: {marked} marks with {ids:?}", SYMBOLS[symbol]);
                let all: Vec<_> = delivered.iter().map(|passed| passed.id).collect();
                let first = all.first().copied().unwrap_or_default();
                let expected: Vec<_> = (first..first + all.len() as u64).collect();
                assert_eq!(all, expected, "every trade once and in order");
            }
        }
    }
}

#[test]
fn without_faults_every_trade_is_passed_on_and_none_is_marked() {
    for ids in [TradeIds::Consecutive, TradeIds::Unique, TradeIds::Increasing] {
        for numbered in [false, true] {
            let mut world = World::new(Character {
                seed: 11,
                ids,
                numbered,
                symbols_per_connection: 2,
                life: None,
                faults: 0,
                calm_after: Duration::ZERO,
                end: Duration::from_secs(300),
            });
            world.run();
            world.judge();
            for (symbol, delivered) in world.delivered.iter().enumerate() {
                let marked: Vec<_> = delivered.iter().filter(|passed| passed.after_gap).collect();
                assert!(marked.is_empty(), "{}: {marked:?} with {ids:?}", SYMBOLS[symbol]);
                // Those of the last moment are still on their way.
                let arrived = |at: &&Duration| **at + LATENCY < world.character.end;
                let last = world.traded_at[symbol].iter().filter(arrived).count() as u64;
                let first = delivered[0].id;
                let all: Vec<_> = delivered.iter().map(|passed| passed.id).collect();
                let expected: Vec<_> = (first..=last).collect();
                assert_eq!(all[..expected.len()], expected, "{} with {ids:?}", SYMBOLS[symbol]);
            }
            assert_eq!(world.feed.tally().marked, 0);
        }
    }
}
