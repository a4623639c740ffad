//! Tests of the messages of one connection, against a venue that knows which symbols are bad.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::core::venue::{Venue, VenueSpec};

/// Messages for two symbols each, with numbers.
const LISTS: &str = "{id}:{symbols}";

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rules(answers: Answers) -> SubscriptionRules {
    SubscriptionRules { answers, answer_timeout: at(5), backoff_max: at(8) }
}

fn plan(subscribe: &[&str], symbols: &[&str], symbols_per_message: usize) -> ConnectionPlan {
    let mut spec = VenueSpec { url: "ws://venue.test".to_owned(), ..VenueSpec::default() };
    spec.subscribe = subscribe.iter().map(|text| (*text).to_owned()).collect();
    spec.symbols = names(symbols);
    spec.subscription.symbol = "{symbol}".to_owned();
    spec.subscription.separator = "+".to_owned();
    spec.subscription.symbols_per_message = symbols_per_message;
    Venue::compile(&spec).unwrap().connections()[0].clone()
}

fn names(symbols: &[&str]) -> Vec<String> {
    symbols.iter().map(|name| (*name).to_owned()).collect()
}

/// The messages of a connection and what is known of its symbols.
struct Trial {
    all: Subscriptions,
    apart: Apart,
}

impl Trial {
    fn new(answers: Answers, plan: &ConnectionPlan) -> Self {
        let apart = Apart::new(at(8));
        Self { all: Subscriptions::new(rules(answers), plan, &apart, 1, at(0)), apart }
    }

    /// Another connection behind this one.
    fn reconnect(&mut self, answers: Answers, plan: &ConnectionPlan, now: Duration) {
        self.all = Subscriptions::new(rules(answers), plan, &self.apart, 2, now);
    }

    /// Everything that is due.
    fn send(&mut self, now: Duration) -> Vec<String> {
        std::iter::from_fn(|| self.all.send(now)).collect()
    }

    fn acknowledge(&mut self, id: Option<u64>, symbols: &[&str]) -> Vec<String> {
        self.all.acknowledge(id, &names(symbols), &mut self.apart)
    }

    fn refuse(&mut self, now: u64, id: Option<u64>, symbols: &[&str]) -> Option<Failed> {
        self.all.refuse(&refusal(id, symbols, false), at(now), &mut self.apart)
    }

    fn expire(&mut self, now: u64) -> Vec<Failed> {
        self.all.expire(at(now), &mut self.apart)
    }

    fn flows(&mut self, symbol: &str) -> Vec<String> {
        self.all.flows(symbol, &mut self.apart)
    }

    fn states(&mut self) -> Vec<(String, Subscription)> {
        self.all.take_changed()
    }
}

fn refusal(id: Option<u64>, symbols: &[&str], rate_limited: bool) -> Refusal {
    Refusal { text: "no such symbol".to_owned(), id, symbols: names(symbols), rate_limited }
}

fn failed(symbols: &[&str], next: Next) -> Option<Failed> {
    Some(Failed { symbols: names(symbols), why: "no such symbol".to_owned(), next })
}

#[test]
fn what_is_not_answered_in_time_is_told_and_sent_again_and_the_rest_goes_on() {
    let mut trial = Trial::new(Answers::PerMessage, &plan(&[LISTS], &["A", "B", "C"], 2));
    assert_eq!(trial.send(at(0)), ["1:A+B", "2:C"]);
    assert_eq!((trial.send(at(0)), trial.all.send_at()), (Vec::new(), None));
    assert!(!trial.all.has_begun());
    trial.acknowledge(Some(2), &[]);
    assert!(trial.all.has_begun() && !trial.all.are_settled());
    assert_eq!((trial.all.late_at(), trial.expire(4)), (Some(at(5)), Vec::new()));
    let failed = trial.expire(5);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].symbols, ["A", "B"]);
    assert_eq!(failed[0].why, "no answer within 5 s");
    let again = trial.all.send_at().unwrap();
    assert!((at(5)..at(6)).contains(&again));
    assert_eq!(trial.send(again), ["1:A+B"]);
    trial.acknowledge(Some(1), &[]);
    assert!(trial.all.are_settled());
}

#[test]
fn a_list_that_is_refused_is_divided_until_the_bad_symbol_is_alone() {
    let symbols = ["A", "B", "C", "D", "E", "F"];
    let mut trial = Trial::new(Answers::PerMessage, &plan(&[LISTS], &symbols, 10));
    assert_eq!(trial.send(at(0)), ["1:A+B+C+D+E+F"]);
    assert_eq!(trial.refuse(1, Some(1), &[]), failed(&symbols, Next::Divided));
    assert_eq!(trial.send(at(1)), ["2:A+B+C", "3:D+E+F"]);
    trial.acknowledge(Some(2), &[]);
    assert_eq!(trial.refuse(1, Some(3), &[]), failed(&["D", "E", "F"], Next::Divided));
    assert_eq!(trial.send(at(1)), ["4:D+E", "5:F"]);
    trial.acknowledge(Some(5), &[]);
    assert_eq!(trial.refuse(1, Some(4), &[]), failed(&["D", "E"], Next::Divided));
    assert_eq!(trial.send(at(1)), ["6:D", "7:E"]);
    trial.acknowledge(Some(6), &[]);
    assert!(!trial.all.are_settled());
    assert_eq!(trial.refuse(1, Some(7), &[]), failed(&["E"], Next::Apart));
    assert!(trial.all.are_settled(), "all but the one that is kept apart");
    let states: BTreeMap<_, _> = trial.states().into_iter().collect();
    assert_eq!(states["E"], Subscription::Refused);
    assert_eq!(states.values().filter(|state| **state == Subscription::Acknowledged).count(), 5);
    // It is tried again, alone, after waits that grow.
    assert_eq!(trial.all.send_at(), Some(at(5)), "half of the longest wait");
    assert_eq!(trial.send(at(5)), ["7:E"]);
    assert_eq!(trial.refuse(5, Some(7), &[]), failed(&["E"], Next::StillApart));
    assert_eq!(trial.all.send_at(), Some(at(13)), "twice as long");
    assert_eq!(trial.send(at(13)), ["7:E"]);
    assert_eq!(trial.acknowledge(Some(7), &[]), ["E"], "it is no longer apart");
    assert_eq!(trial.states(), [("E".to_owned(), Subscription::Acknowledged)]);
}

#[test]
fn the_next_connection_does_not_search_again() {
    let plan = plan(&[LISTS], &["A", "B", "C", "D"], 2);
    let mut trial = Trial::new(Answers::PerMessage, &plan);
    trial.send(at(0));
    trial.acknowledge(Some(2), &[]);
    trial.refuse(1, Some(1), &[]);
    assert_eq!(trial.send(at(1)), ["3:A", "4:B"]);
    trial.acknowledge(Some(3), &[]);
    assert_eq!(trial.refuse(1, Some(4), &[]), failed(&["B"], Next::Apart));
    trial.reconnect(Answers::PerMessage, &plan, at(2));
    assert_eq!(trial.send(at(2)), ["3:A", "2:C+D"], "numbers are those of this connection");
    assert_eq!(trial.all.send_at(), Some(at(5)), "as if the connection were the same");
    assert_eq!(trial.send(at(5)), ["4:B"]);
    assert_eq!(trial.acknowledge(Some(4), &[]), ["B"]);
    trial.reconnect(Answers::PerMessage, &plan, at(6));
    assert_eq!(trial.send(at(6)), ["1:A+B", "2:C+D"]);
}

#[test]
fn a_venue_that_names_the_bad_symbol_is_believed() {
    // One answer for the message: the others are sent without it.
    let mut trial = Trial::new(Answers::PerMessage, &plan(&[LISTS], &["A", "B", "C"], 9));
    trial.send(at(0));
    assert_eq!(trial.refuse(1, Some(1), &["trade.B"]), failed(&["B"], Next::Apart));
    assert_eq!(trial.send(at(1)), ["2:A+C"]);
    // One answer for each symbol: the others have theirs.
    let mut trial = Trial::new(Answers::PerSymbol, &plan(&[LISTS], &["A", "B", "C"], 9));
    trial.send(at(0));
    assert_eq!(trial.refuse(1, Some(1), &["B"]), failed(&["B"], Next::Apart));
    assert_eq!(trial.send(at(1)), [""; 0]);
    trial.acknowledge(Some(1), &["A"]);
    trial.acknowledge(Some(1), &["C"]);
    assert!(trial.all.are_settled() && trial.all.has_begun());
    // All of them refused one by one: nothing has begun.
    let mut trial = Trial::new(Answers::PerSymbol, &plan(&[LISTS], &["A", "B"], 9));
    trial.send(at(0));
    trial.refuse(1, Some(1), &["A"]);
    trial.refuse(1, Some(1), &["B"]);
    assert!(!trial.all.has_begun());
}

#[test]
fn what_was_acknowledged_is_not_sent_again() {
    let mut trial = Trial::new(Answers::PerSymbol, &plan(&[LISTS], &["A", "B", "C", "D"], 9));
    assert_eq!(trial.send(at(0)), ["1:A+B+C+D"]);
    trial.acknowledge(Some(1), &["a"]);
    trial.refuse(1, Some(1), &["D"]);
    assert_eq!(trial.expire(5)[0].symbols, ["B", "C"]);
    assert_eq!(trial.send(at(6)), ["3:B+C", "2:D"]);
    // An answer to the first message, late, is about the same symbols.
    trial.acknowledge(Some(1), &["B"]);
    trial.flows("C");
    assert!(trial.all.are_settled());
}

#[test]
fn a_symbol_that_ticks_needs_no_answer() {
    let mut trial = Trial::new(Answers::PerMessage, &plan(&[LISTS], &["BTC-USD", "ETH-USD"], 9));
    trial.send(at(0));
    assert!(trial.all.awaits("btc-usd") && !trial.all.awaits("BTC-USDT"));
    trial.flows("BTC-USD");
    assert!(trial.all.has_begun() && !trial.all.awaits("BTC-USD"));
    assert_eq!(trial.expire(5)[0].symbols, ["ETH-USD"]);
    trial.flows("ETH-USD");
    assert!(trial.all.are_settled());
}

#[test]
fn a_tick_of_one_message_does_not_answer_for_another() {
    let plan = plan(&["{id}:{symbols}", "{id}:quotes of {symbol}"], &["A"], 9);
    let mut trial = Trial::new(Answers::PerMessage, &plan);
    assert_eq!(trial.send(at(0)), ["1:A", "2:quotes of A"]);
    trial.acknowledge(Some(1), &[]);
    assert_eq!(trial.refuse(0, Some(2), &[]), failed(&["A"], Next::Apart));
    assert!(!trial.all.awaits("A"));
    assert_eq!(trial.flows("A"), [""; 0]);
    assert_eq!(trial.states(), [("A".to_owned(), Subscription::Refused)], "the worst of both");
    trial.reconnect(Answers::PerMessage, &plan, at(1));
    assert_eq!(trial.send(at(1)), ["1:A"], "it is kept apart in the message that was refused");
}

#[test]
fn a_list_without_an_answer_is_divided_the_second_time() {
    let symbols = ["A", "B", "C", "D"];
    let mut trial = Trial::new(Answers::PerMessage, &plan(&[LISTS], &symbols, 9));
    let mut now = 0;
    let mut sent = Vec::new();
    for _ in 0..200 {
        now += 1;
        trial.expire(now);
        for text in trial.send(at(now)) {
            let id = text.split(':').next().and_then(|id| id.parse().ok());
            // The venue is silent about each message with B.
            if !text.contains('B') {
                trial.acknowledge(id, &[]);
            }
            sent.push(text.split(':').nth(1).unwrap().to_owned());
        }
    }
    assert_eq!(sent[..4], ["A+B+C+D", "A+B+C+D", "A+B", "C+D"]);
    assert_eq!(sent[4..6], ["A", "B"]);
    assert!(sent[6..].iter().all(|text| text == "B"), "{sent:?}");
    assert!((3..10).contains(&sent[6..].len()), "slowly: {sent:?}");
    assert!(trial.all.are_settled());
    let states: BTreeMap<_, _> = trial.states().into_iter().collect();
    assert_eq!(states["B"], Subscription::Unacknowledged);
}

#[test]
fn a_connection_is_given_up_when_all_has_failed_three_times() {
    let mut mute = Trial::new(Answers::PerMessage, &plan(&[LISTS, "beat"], &["A", "B"], 9));
    let mut refusing = Trial::new(Answers::PerMessage, &plan(&[LISTS], &["A", "B"], 9));
    let (mut mute_until, mut refusing_until) = (None, None);
    for now in 0..100 {
        mute.expire(now);
        mute.send(at(now));
        // A message without symbols is no subscription.
        mute.acknowledge(Some(2), &[]);
        for text in refusing.send(at(now)) {
            let id = text.split(':').next().and_then(|id| id.parse().ok());
            refusing.refuse(now, id, &[]);
        }
        mute_until = mute_until.or(mute.all.defeat().map(|_| now));
        refusing_until = refusing_until.or(refusing.all.defeat().map(|_| now));
    }
    assert!((15..30).contains(&mute_until.unwrap()), "three times 5 s: {mute_until:?}");
    assert!((12..=14).contains(&refusing_until.unwrap()), "4 s and 8 s: {refusing_until:?}");
    assert_eq!(
        mute.all.defeat().unwrap(),
        "every subscription was refused or left unanswered 3 times"
    );
}

#[test]
fn an_answer_without_a_name_is_for_the_one_that_waits_longest() {
    let mut trial = Trial::new(Answers::PerMessage, &plan(&["{symbols}"], &["A", "B"], 1));
    trial.send(at(0));
    trial.acknowledge(None, &[]);
    assert_eq!(trial.expire(5)[0].symbols, ["B"]);
}

#[test]
fn an_answer_that_names_all_there_is_may_be_for_a_message_without_symbols() {
    let mut trial = Trial::new(Answers::PerMessage, &plan(&["{symbols}", "beat"], &["A"], 9));
    trial.send(at(0));
    trial.acknowledge(None, &["A"]);
    assert!(!trial.all.are_settled());
    trial.acknowledge(None, &["A"]);
    assert!(trial.all.are_settled());
}

#[test]
fn what_was_refused_because_of_too_many_messages_is_sent_as_it_was() {
    let mut trial = Trial::new(Answers::PerMessage, &plan(&[LISTS], &["A", "B"], 9));
    trial.send(at(0));
    let too_many = refusal(Some(1), &[], true);
    let found = trial.all.refuse(&too_many, at(1), &mut trial.apart).unwrap();
    assert_eq!((found.symbols, found.next), (names(&["A", "B"]), Next::Again));
    let again = trial.all.send_at().unwrap();
    assert!((at(2)..at(4)).contains(&again));
    assert_eq!(trial.send(again), ["1:A+B"]);
    assert_eq!(trial.refuse(5, Some(8), &[]), None, "none of ours");
    trial.acknowledge(Some(1), &[]);
    assert_eq!(trial.refuse(5, Some(1), &[]), None, "it was acknowledged");
}

#[test]
fn what_is_not_answered_is_settled_when_it_is_sent() {
    let plan = plan(&[LISTS], &["A"], 9);
    let mut trial = Trial::new(Answers::None, &plan);
    trial.send(at(0));
    assert!(trial.all.are_settled() && trial.all.has_begun());
    let nothing = ConnectionPlan { subscribe: Vec::new(), ..plan };
    trial.reconnect(Answers::PerMessage, &nothing, at(0));
    assert!(trial.all.has_begun() && trial.all.defeat().is_none());
}

/// A venue that refuses a message as a whole for one bad symbol, or answers for each.
struct Server<'a> {
    answers: Answers,
    gives_number: bool,
    bad: &'a BTreeSet<String>,
    subscribed: BTreeSet<String>,
    /// How often each symbol was sent, and each number with which text.
    sent: BTreeMap<String, usize>,
    texts: BTreeMap<u64, String>,
    messages: usize,
}

impl Server<'_> {
    /// Sends all that is due at a time and answers it, until nothing is due.
    fn settle(&mut self, trial: &mut Trial, now: Duration) {
        while let Some(text) = trial.all.send(now) {
            self.messages += 1;
            let (number, listed) = text.split_once(':').unwrap();
            let number: u64 = number.parse().unwrap();
            let before = self.texts.insert(number, listed.to_owned());
            assert!(before.is_none_or(|before| before == listed), "number {number} twice");
            let id = self.gives_number.then_some(number);
            let symbols = names(&listed.split('+').collect::<Vec<_>>());
            for symbol in &symbols {
                *self.sent.entry(symbol.clone()).or_default() += 1;
            }
            let is_bad = |symbol: &String| self.bad.contains(symbol);
            match self.answers {
                Answers::PerSymbol => {
                    for symbol in &symbols {
                        if is_bad(symbol) {
                            let refusal = refusal(id, &[symbol], false);
                            trial.all.refuse(&refusal, now, &mut trial.apart);
                        } else {
                            self.subscribed.insert(symbol.clone());
                            trial.acknowledge(id, &[symbol]);
                        }
                    }
                }
                _ if symbols.iter().any(is_bad) => {
                    trial.all.refuse(&refusal(id, &[], false), now, &mut trial.apart);
                }
                _ => {
                    self.subscribed.extend(symbols);
                    trial.acknowledge(id, &[]);
                }
            }
        }
    }
}

proptest! {
    /// Whichever symbols are bad: all good ones are subscribed, after a number of messages that
    /// grows with the bad ones and the logarithm of the list; no good one is sent after its
    /// acknowledgment; and the next connection sends each good one once.
    #[test]
    fn all_good_symbols_are_subscribed_whichever_are_bad(
        bad in proptest::collection::vec(any::<bool>(), 1..80),
        sparse in any::<bool>(),
        symbols_per_message in 1usize..40,
        per_symbol in any::<bool>(),
        gives_number in any::<bool>(),
    ) {
        let answers = if per_symbol { Answers::PerSymbol } else { Answers::PerMessage };
        let symbols: Vec<_> = (0..bad.len()).map(|index| format!("S{index}")).collect();
        let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
        let plan = plan(&[LISTS], &symbols, symbols_per_message);
        let is_bad = |index: &usize| bad[*index] && (!sparse || index.is_multiple_of(9));
        let bad: BTreeSet<_> =
            (0..symbols.len()).filter(is_bad).map(|index| symbols[index].to_owned()).collect();
        let good: BTreeSet<_> =
            names(&symbols).into_iter().filter(|symbol| !bad.contains(symbol)).collect();
        let mut trial = Trial::new(answers, &plan);
        let server = || Server {
            answers,
            gives_number,
            bad: &bad,
            subscribed: BTreeSet::new(),
            sent: BTreeMap::new(),
            texts: BTreeMap::new(),
            messages: 0,
        };
        let mut first = server();
        first.settle(&mut trial, at(0));
        prop_assert_eq!(&first.subscribed, &good);
        prop_assert!(trial.all.are_settled());
        prop_assert_eq!(trial.all.has_begun(), !good.is_empty());
        let depth = symbols_per_message.min(symbols.len()).next_power_of_two().ilog2() as usize;
        let lists = symbols.len().div_ceil(symbols_per_message);
        let most = if per_symbol { lists } else { lists + 2 * bad.len() * depth };
        prop_assert!(first.messages <= most, "{} messages, {most} at most", first.messages);
        for (symbol, count) in &first.sent {
            prop_assert!(*count <= 1 + if per_symbol { 0 } else { depth }, "{symbol}: {count}");
        }
        let states: BTreeMap<_, _> = trial.states().into_iter().collect();
        for (symbol, state) in &states {
            let expected = match bad.contains(symbol) {
                true => Subscription::Refused,
                false => Subscription::Acknowledged,
            };
            prop_assert_eq!(*state, expected, "{}", symbol);
        }
        // The next connection knows, and sends the bad ones one by one when it is their time.
        trial.reconnect(answers, &plan, at(1));
        let mut second = server();
        second.settle(&mut trial, at(1));
        prop_assert_eq!(&second.subscribed, &good);
        prop_assert!(second.messages <= lists);
        prop_assert!(second.sent.values().all(|count| *count == 1));
        prop_assert!(second.sent.keys().all(|symbol| !bad.contains(symbol)));
        prop_assert_eq!(trial.all.send_at(), (!bad.is_empty()).then_some(at(4)));
        second.settle(&mut trial, at(4));
        prop_assert!(bad.iter().all(|symbol| second.sent[symbol] == 1));
    }
}

#[test]
fn a_word_of_the_venue_names_a_symbol() {
    for (said, symbol, names) in [
        ("BTCUSDT", "btcusdt", true),
        ("publicTrade.BTCUSDT", "BTCUSDT", true),
        ("btcusdt@trade", "BTCUSDT", true),
        ("trade:BTC/USD", "BTC/USD", true),
        ("BTCUSDTPERP", "BTCUSDT", false),
        ("trade.ETHUSDT", "BTCUSDT", false),
        ("", "BTCUSDT", false),
    ] {
        assert_eq!(is_about(said, symbol), names, "{said} {symbol}");
    }
}
