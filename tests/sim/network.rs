//! A venue that trades once a second, and the connections to it: the feed machine of the daemon is
//! at the other end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickcast::adapters::websocket::FeedSettings;
use tickcast::adapters::websocket::feed::{Action, ConnectionFailure, FeedMachine, LineId};
use tickcast::core::venue::{Answers, TradeIds, Venue, VenueSpec};
use tickcast::intake::Record;

use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::model::{BASE_MS, SYMBOLS, price};

const LATENCY_MS: u64 = 20;

/// The venue's side of a connection.
#[derive(Default)]
struct Peer {
    subscribed: BTreeSet<usize>,
    stalled: bool,
    /// A frame that goes out behind the next one.
    delayed: Option<String>,
}

enum Event {
    Dialled { line: LineId, refused: bool },
    Arrives { line: LineId, frame: String },
    Pong { line: LineId },
    Ends { line: LineId },
}

/// A feed: the machine, and everything that is on its way to it.
pub(crate) struct Feed {
    machine: FeedMachine,
    began_ms: u64,
    dice: Dice,
    faults: Faults,
    peers: BTreeMap<LineId, Peer>,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

fn venue() -> Arc<Venue> {
    let mut spec = VenueSpec {
        url: "wss://venue.test".to_owned(),
        symbols: SYMBOLS.map(str::to_owned).to_vec(),
        subscribe: vec![r#"{"subscribe":"{symbol}","id":{id}}"#.to_owned()],
        ..VenueSpec::default()
    };
    spec.subscription.answers = Answers::PerMessage;
    spec.subscription.symbols_per_connection = 2;
    let mapping = &mut spec.mapping;
    mapping.symbol = "/s".to_owned();
    mapping.time = "/t".to_owned();
    mapping.fields = vec![("close".to_owned(), "/c".to_owned())];
    mapping.trade_id = "/i".to_owned();
    mapping.trade_ids = TradeIds::Consecutive;
    mapping.when.insert("/s".to_owned(), SYMBOLS.map(str::to_owned).to_vec());
    spec.frames.acknowledged.when = [("/k".to_owned(), vec!["ack".to_owned()])].into();
    spec.frames.acknowledged.id = "/id".to_owned();
    Arc::new(Venue::compile(&spec).expect("the venue of the simulation"))
}

fn settings() -> FeedSettings {
    let seconds = Duration::from_secs;
    FeedSettings {
        idle_timeout: seconds(4),
        pong_timeout: seconds(1),
        stall_timeout: None,
        answer_timeout: seconds(2),
        backoff_max: seconds(3),
        overlap: seconds(2),
        symbols_max: 100,
        ids_max: 64,
    }
}

impl Feed {
    pub(crate) fn new(now_ms: u64, dice: Dice, faults: Faults) -> Self {
        thread_local! {
            static VENUE: Arc<Venue> = venue();
        }
        let machine = FeedMachine::new(VENUE.with(Arc::clone), settings(), dice.clone().roll());
        Self {
            machine,
            began_ms: now_ms,
            dice,
            faults,
            peers: BTreeMap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
        }
    }

    fn since(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms - self.began_ms)
    }

    pub(crate) fn calm(&mut self) {
        self.faults = Faults(0);
        self.peers.values_mut().for_each(|peer| peer.stalled = false);
    }

    fn chance(&mut self, fault: Fault, thousandths: u64) -> bool {
        let roll = self.dice.below(1000);
        self.faults.has(fault) && roll < thousandths
    }

    fn schedule(&mut self, at_ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at_ms, self.scheduled), event);
    }

    /// When something happens next.
    pub(crate) fn due_ms(&self) -> u64 {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        // Rounded up, so that the machine is due then.
        let machine = self.machine.due().as_nanos().div_ceil(1_000_000);
        let machine = u64::try_from(machine).unwrap_or(u64::MAX);
        event.unwrap_or(u64::MAX).min(machine.saturating_add(self.began_ms))
    }

    /// Lets happen what is due, and returns what the machine passes on.
    pub(crate) fn advance(&mut self, now_ms: u64) -> Vec<Record> {
        while let Some(((at, _), _)) = self.events.first_key_value()
            && *at <= now_ms
        {
            let (_, event) = self.events.pop_first().expect("it was looked at");
            self.happen(now_ms, event);
            self.obey(now_ms);
        }
        if self.machine.due() <= self.since(now_ms) {
            self.machine.tick(self.since(now_ms));
        }
        self.obey(now_ms);
        self.machine.take_notices().for_each(drop);
        let tally = self.machine.tally();
        let known = tally.passed + tally.duplicates + tally.forgotten + tally.overlapping;
        assert_eq!(tally.ticks, known + tally.held, "I8: {tally:?}");
        self.machine.take_deliveries().map(Record::from).collect()
    }

    fn happen(&mut self, now_ms: u64, event: Event) {
        let now = self.since(now_ms);
        let failure = || ConnectionFailure { why: "broken".to_owned(), ..Default::default() };
        match event {
            Event::Dialled { line, refused: true } => self.machine.failed(now, line, &failure()),
            Event::Dialled { line, refused: false } => {
                self.peers.insert(line, Peer::default());
                if self.chance(Fault::Disconnect, 700) {
                    let at = now_ms + self.dice.between(500, 20_000);
                    self.schedule(at, Event::Ends { line });
                }
                self.machine.opened(now, line);
            }
            Event::Arrives { line, frame } if self.peers.contains_key(&line) => {
                self.machine.frame(now, line, &Bytes::from(frame));
            }
            Event::Arrives { .. } => {}
            Event::Pong { line } => self.machine.ponged(now, line),
            Event::Ends { line } => {
                // Half open, or gone.
                if self.dice.below(3) == 0 {
                    if let Some(peer) = self.peers.get_mut(&line) {
                        peer.stalled = self.faults.has(Fault::Disconnect);
                    }
                } else if self.peers.remove(&line).is_some() {
                    self.machine.ended(now, line, &failure());
                }
            }
        }
    }

    fn obey(&mut self, now_ms: u64) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect { line, .. } => {
                    let refused = self.chance(Fault::Disconnect, 200);
                    let at = now_ms + self.dice.between(1, 200);
                    self.schedule(at, Event::Dialled { line, refused });
                }
                Action::Send { line, text } | Action::Answer { line, text } => {
                    self.hear(now_ms, line, &text);
                }
                Action::Ping { line } => {
                    if self.peers.get(&line).is_some_and(|peer| !peer.stalled) {
                        self.schedule(now_ms + 2 * LATENCY_MS, Event::Pong { line });
                    }
                }
                Action::Close { line, .. } => drop(self.peers.remove(&line)),
            }
        }
    }

    /// The venue gets a subscription.
    fn hear(&mut self, now_ms: u64, line: LineId, text: &str) {
        let message: serde_json::Value = serde_json::from_str(text).expect("a subscription");
        let symbol = SYMBOLS.iter().position(|name| message["subscribe"] == *name).expect("ours");
        let Some(peer) = self.peers.get_mut(&line) else { return };
        peer.subscribed.insert(symbol);
        self.send(now_ms, line, format!(r#"{{"k":"ack","id":{}}}"#, message["id"]), false);
        // The last trades first, as many venues send them.
        let newest = now_ms as i64 / 1000;
        for tick in (newest - self.dice.below(3) as i64).max(0)..=newest {
            self.send(now_ms, line, frame(symbol, tick), true);
        }
    }

    /// A symbol trades.
    pub(crate) fn trade(&mut self, now_ms: u64, symbol: usize) {
        let is_in = |peer: &Peer| peer.subscribed.contains(&symbol);
        let lines = self.peers.iter().filter(|(_, peer)| is_in(peer));
        for line in lines.map(|(line, _)| *line).collect::<Vec<_>>() {
            self.send(now_ms, line, frame(symbol, now_ms as i64 / 1000), true);
        }
    }

    /// Puts a frame on its way, or not, or twice, or behind the next one.
    fn send(&mut self, now_ms: u64, line: LineId, frame: String, is_tick: bool) {
        let lost = self.chance(Fault::Loss, 40) && is_tick;
        let twice = self.chance(Fault::Disorder, 60);
        let later = self.chance(Fault::Disorder, 60) && is_tick;
        let slow = if self.chance(Fault::Disorder, 50) { self.dice.below(2500) } else { 0 };
        let Some(peer) = self.peers.get_mut(&line) else { return };
        if peer.stalled || lost {
            return;
        }
        let mut frames = vec![frame.clone()];
        frames.extend(twice.then_some(frame));
        if later && peer.delayed.is_none() {
            peer.delayed = frames.pop();
        } else {
            frames.extend(peer.delayed.take());
        }
        for frame in frames {
            self.schedule(now_ms + LATENCY_MS + slow, Event::Arrives { line, frame });
        }
    }
}

fn frame(symbol: usize, tick: i64) -> String {
    let (time, close) = (BASE_MS + tick * 1000, price(symbol, tick));
    format!(r#"{{"s":"{}","t":{time},"c":{close},"i":{}}}"#, SYMBOLS[symbol], tick + 1)
}
