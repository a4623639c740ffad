//! The machine by hand: one rule at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::core::venue::{Answers, Ping, Rate, TradeIds, VenueSpec};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn settings() -> FeedSettings {
    FeedSettings {
        idle_timeout: at(60),
        pong_timeout: at(10),
        stall_timeout: None,
        answer_timeout: at(10),
        backoff_max: at(30),
        overlap: at(10),
        symbols_max: 100,
        ids_max: 16,
    }
}

fn native() -> VenueSpec {
    VenueSpec { url: "ws://venue.test".to_owned(), ..VenueSpec::default() }
}

fn feed(spec: &VenueSpec, settings: FeedSettings) -> FeedMachine {
    FeedMachine::new(Arc::new(Venue::compile(spec).unwrap()), settings, 1)
}

fn actions(feed: &mut FeedMachine) -> Vec<Action> {
    std::iter::from_fn(|| feed.next_action()).collect()
}

/// Opens the connection that is asked for; returns its name and what else is wanted.
fn open(feed: &mut FeedMachine, now: Duration) -> (LineId, Vec<Action>) {
    feed.tick(now);
    let line = actions(feed)
        .into_iter()
        .find_map(|action| match action {
            Action::Connect { line, .. } => Some(line),
            _ => None,
        })
        .expect("a connection is asked for");
    feed.opened(now, line);
    let wanted = actions(feed);
    (line, wanted)
}

fn tick(feed: &mut FeedMachine, now: Duration, line: LineId, symbol: &str) -> Vec<bool> {
    let frame = format!(r#"{{"symbol":"{symbol}","time":1,"price":1}}"#);
    feed.frame(now, line, &Bytes::from(frame));
    feed.take_deliveries().map(|delivery| delivery.after_gap).collect()
}

fn lost(why: &str) -> ConnectionFailure {
    ConnectionFailure { why: why.to_owned(), ..ConnectionFailure::default() }
}

/// The time of the next attempt after a loss.
fn next_attempt(feed: &mut FeedMachine) -> Duration {
    loop {
        let due = feed.due();
        feed.tick(due);
        if actions(feed).iter().any(|action| matches!(action, Action::Connect { .. })) {
            return due;
        }
    }
}

/// A venue that numbers its frames and whose ids grow.
fn numbered() -> VenueSpec {
    let mut spec = native();
    let mapping = &mut spec.mapping;
    mapping.symbol = "/s".to_owned();
    mapping.time = "/t".to_owned();
    mapping.fields = vec![("price".to_owned(), "/i".to_owned())];
    mapping.trade_id = "/i".to_owned();
    mapping.trade_ids = TradeIds::Increasing;
    mapping.sequence = "/n".to_owned();
    spec
}

/// A tick with this id in the frame with this number; whether it is marked.
fn numbered_tick(
    feed: &mut FeedMachine,
    line: LineId,
    symbol: &str,
    id: u64,
    number: u64,
) -> Vec<bool> {
    let frame = format!(r#"{{"s":"{symbol}","t":{id},"i":{id},"n":{number}}}"#);
    feed.frame(at(2), line, &Bytes::from(frame));
    feed.take_deliveries().map(|delivery| delivery.after_gap).collect()
}

#[test]
fn a_late_frame_does_not_answer_for_a_frame_that_was_lost() {
    let mut feed = feed(&numbered(), settings());
    let (line, _) = open(&mut feed, at(1));
    let mut tick = |symbol, id, number| numbered_tick(&mut feed, line, symbol, id, number);
    assert_eq!(tick("A", 1, 1), [false]);
    // Frame 2 is overtaken, 3 is lost with tick 3 of A, and 4 shows the hole.
    assert_eq!(tick("B", 1, 4), [false], "the first of its symbol");
    assert_eq!(tick("A", 2, 2), [true]);
    assert_eq!(tick("A", 4, 5), [true], "the first one behind the lost one");
    assert_eq!(tick("A", 5, 6), [false]);
    assert_eq!(feed.tally().late, 1);
}

#[test]
fn frames_that_count_from_the_beginning_again_are_a_gap_and_then_in_turn() {
    let mut feed = feed(&numbered(), settings());
    let (line, _) = open(&mut feed, at(1));
    let mut id = 0;
    let mut tick = |number| {
        id += 1;
        numbered_tick(&mut feed, line, "A", id, number)
    };
    assert_eq!(tick(1000), [false]);
    assert_eq!(tick(1002), [true]);
    for number in 1..=64 {
        assert_eq!(tick(number), [false], "{number} may be late");
    }
    assert_eq!(tick(65), [true], "so many are not late: nobody knows what lies between");
    assert_eq!(tick(66), [false]);
    assert_eq!(tick(68), [true]);
    assert_eq!(tick(69), [false]);
}

#[test]
fn a_native_feed_connects_at_once_and_its_frames_go_on_as_they_are() {
    let mut feed = feed(&native(), settings());
    let (line, wanted) = open(&mut feed, at(1));
    assert_eq!(wanted, []);
    let frame = Bytes::from_static(br#"{"symbol":"A","time":1,"price":1}"#);
    feed.frame(at(2), line, &frame);
    let delivered: Vec<_> = feed.take_deliveries().collect();
    let first = Delivery { record: frame.clone(), after_gap: false, late: false, trade_id: None };
    assert_eq!(delivered, [first]);
    assert!(std::ptr::eq(delivered[0].record.as_ptr(), frame.as_ptr()), "it is not copied");
    assert_eq!(feed.states().collect::<Vec<_>>(), [FeedState::Live]);
}

#[test]
fn after_a_loss_each_symbol_is_marked_once() {
    let mut feed = feed(&native(), settings());
    let (line, _) = open(&mut feed, at(0));
    assert_eq!(tick(&mut feed, at(1), line, "A"), [false]);
    assert_eq!(tick(&mut feed, at(1), line, "B"), [false]);
    feed.ended(at(2), line, &lost("reset"));
    let (line, _) = open(&mut feed, at(3));
    for (symbol, marked) in [("A", true), ("A", false), ("B", true), ("C", false), ("B", false)] {
        assert_eq!(tick(&mut feed, at(4), line, symbol), [marked], "{symbol}");
    }
    assert_eq!(feed.tally().marked, 2);
}

#[test]
fn a_silent_connection_is_asked_and_given_up() {
    let mut feed = feed(&native(), settings());
    let (line, _) = open(&mut feed, at(0));
    assert_eq!(feed.due(), at(30));
    feed.tick(at(30));
    assert_eq!(actions(&mut feed), [Action::Ping { line }]);
    feed.ponged(at(31), line);
    feed.tick(at(61));
    assert_eq!(actions(&mut feed), [Action::Ping { line }]);
    feed.tick(at(71));
    assert_eq!(actions(&mut feed), [Action::Close { line, reason: "no sign of life" }]);
    assert!(next_attempt(&mut feed) < at(72));
    let words = "silent for 40.0 s, and no answer to a ping".to_owned();
    let told =
        feed.take_notices().any(|notice| notice == Notice::Lost { share: 0, why: words.clone() });
    assert!(told);
}

#[test]
fn silence_while_nobody_reads_is_ours() {
    let mut feed = feed(&native(), settings());
    let (line, _) = open(&mut feed, at(0));
    feed.held_up(at(1000));
    feed.tick(at(1020));
    assert_eq!(actions(&mut feed), []);
    assert_eq!(tick(&mut feed, at(1020), line, "A"), [false]);
}

#[test]
fn a_promised_heartbeat_that_stays_away_ends_a_connection_that_answers() {
    let mut spec = native();
    spec.limits.heartbeat_max = Some(at(5));
    spec.frames.heartbeat.when = [("/k".to_owned(), vec!["hb".to_owned()])].into();
    spec.frames.heartbeat.counter = "/c".to_owned();
    let mut feed = feed(&spec, settings());
    let (line, _) = open(&mut feed, at(0));
    let beat = |feed: &mut FeedMachine, now, count: u64| {
        let frame = format!(r#"{{"k":"hb","c":{count}}}"#);
        feed.frame(now, line, &Bytes::from(frame));
    };
    tick(&mut feed, at(1), line, "A");
    beat(&mut feed, at(4), 1);
    beat(&mut feed, at(8), 2);
    assert_eq!(tick(&mut feed, at(8), line, "A"), [false]);
    // One is missing, and whatever was sent with it.
    beat(&mut feed, at(12), 4);
    assert_eq!(tick(&mut feed, at(12), line, "A"), [true]);
    feed.ponged(at(16), line);
    assert_eq!(feed.due(), at(17));
    feed.tick(at(17));
    assert_eq!(actions(&mut feed)[0], Action::Close { line, reason: "no sign of life" });
}

#[test]
fn a_stall_behind_pongs_ends_a_connection_where_that_is_asked_for() {
    let stall = FeedSettings { stall_timeout: Some(at(20)), ..settings() };
    let mut feed = feed(&native(), stall);
    let (line, _) = open(&mut feed, at(0));
    tick(&mut feed, at(5), line, "A");
    feed.ponged(at(24), line);
    assert_eq!(feed.due(), at(25));
    feed.tick(at(25));
    assert_eq!(actions(&mut feed)[0], Action::Close { line, reason: "no sign of life" });
}

#[test]
fn subscriptions_go_at_the_rate_and_keep_room_for_a_ping() {
    let mut spec = native();
    spec.symbols = ["A", "B", "C", "D", "E"].map(str::to_owned).to_vec();
    spec.subscribe = vec!["sub {symbol}".to_owned()];
    spec.limits.messages = Some(Rate { count: 2, period: at(10) });
    spec.limits.ping = Some(Ping { text: "ping".to_owned(), period: at(12) });
    let mut feed = feed(&spec, settings());
    let (line, wanted) = open(&mut feed, at(0));
    let send = |text: &str| Action::Send { line, text: text.to_owned() };
    assert_eq!(wanted, [send("sub A"), send("sub B")]);
    assert_eq!(feed.due(), at(11), "ten seconds and a tenth of them");
    feed.tick(at(11));
    assert_eq!(actions(&mut feed), [send("sub C"), send("sub D")]);
    feed.tick(at(22));
    assert_eq!(actions(&mut feed), [send("ping"), send("sub E")]);
    assert_eq!(feed.states().next(), Some(FeedState::Quiet));
}

#[test]
fn nothing_answered_three_times_over_ends_a_connection() {
    let mut spec = native();
    spec.symbols = vec!["A".to_owned()];
    spec.subscribe = vec!["sub {symbol}".to_owned()];
    spec.subscription.answers = Answers::PerMessage;
    let mut feed = feed(&spec, settings());
    let (line, _) = open(&mut feed, at(0));
    let mut closed = false;
    for _ in 0..100 {
        let due = feed.due();
        feed.tick(due);
        feed.ponged(due, line);
        closed |= actions(&mut feed).iter().any(|action| matches!(action, Action::Close { .. }));
    }
    assert!(closed);
    assert!(feed.tally().not_subscribed >= 3);
}

#[test]
fn waits_grow_are_capped_and_begin_anew_after_a_connection_that_held() {
    let mut feed = feed(&native(), settings());
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..40 {
        let (line, _) = open(&mut feed, now);
        // It delivers, and is lost at once: that is no proof.
        tick(&mut feed, now, line, "A");
        feed.ended(now, line, &lost("reset"));
        let next = feed.due();
        waits.push(next - now);
        now = next;
        feed.tick(now);
    }
    assert!(waits.iter().all(|wait| *wait <= at(30)), "{waits:?}");
    assert!(waits[10..].iter().any(|wait| *wait > at(15)), "{waits:?}");
    let (line, _) = open(&mut feed, now);
    tick(&mut feed, now, line, "A");
    feed.ended(now + at(31), line, &lost("reset"));
    assert!(matches!(actions(&mut feed)[..], [Action::Connect { .. }]), "at once");
}

#[test]
fn a_venue_that_asks_for_rest_gets_it_from_all_shares() {
    let mut spec = native();
    spec.symbols = ["A", "B"].map(str::to_owned).to_vec();
    spec.subscription.symbols_per_connection = 1;
    spec.subscribe = vec!["sub {symbol}".to_owned()];
    let mut feed = feed(&spec, settings());
    let wanted = actions(&mut feed);
    let [Action::Connect { line: first, .. }, Action::Connect { line: second, .. }] = wanted[..]
    else {
        panic!("{wanted:?}")
    };
    feed.opened(at(0), second);
    let limited =
        ConnectionFailure { why: "429".to_owned(), retry_after: Some(at(120)), rate_limited: true };
    feed.failed(at(1), first, &limited);
    feed.ended(at(2), second, &lost("reset"));
    actions(&mut feed);
    assert_eq!(next_attempt(&mut feed), at(121));
    // A policy that is broken without a word on how long: half of the longest wait at least.
    let mut feed = self::feed(&native(), settings());
    let (line, _) = open(&mut feed, at(0));
    feed.ended(at(1), line, &ConnectionFailure { rate_limited: true, ..lost("1008") });
    assert!(next_attempt(&mut feed) >= at(16));
}

#[test]
fn attempts_of_all_shares_together_keep_to_the_rate() {
    let mut spec = native();
    spec.symbols = ["A", "B", "C"].map(str::to_owned).to_vec();
    spec.subscription.symbols_per_connection = 1;
    spec.subscribe = vec!["sub {symbol}".to_owned()];
    spec.limits.connects = Some(Rate { count: 2, period: at(10) });
    let mut feed = feed(&spec, settings());
    assert_eq!(actions(&mut feed).len(), 2);
    assert_eq!(next_attempt(&mut feed), at(11));
}

#[test]
fn a_feed_is_connecting_live_quiet_and_dead() {
    let mut feed = feed(&native(), settings());
    let state = |feed: &FeedMachine| feed.states().next().unwrap();
    assert_eq!(state(&feed), FeedState::Connecting);
    let (line, _) = open(&mut feed, at(1));
    assert_eq!(state(&feed), FeedState::Quiet, "nothing has come yet");
    tick(&mut feed, at(2), line, "A");
    assert_eq!(state(&feed), FeedState::Live);
    feed.ponged(at(61), line);
    feed.tick(at(62));
    assert_eq!(state(&feed), FeedState::Quiet);
    tick(&mut feed, at(63), line, "A");
    assert_eq!(state(&feed), FeedState::Live);
    feed.ended(at(64), line, &lost("reset"));
    assert_eq!(state(&feed), FeedState::Connecting);
    feed.tick(at(124));
    assert_eq!(state(&feed), FeedState::Dead);
    let (line, _) = open(&mut feed, at(130));
    assert_eq!(state(&feed), FeedState::Quiet);
    assert_eq!(tick(&mut feed, at(131), line, "A"), [true]);
}

#[test]
fn without_ids_the_older_connection_carries_all_until_it_goes() {
    let mut spec = native();
    spec.limits.life_max = Some(at(1000));
    let mut feed = feed(&spec, settings());
    let (old, _) = open(&mut feed, at(0));
    tick(&mut feed, at(1), old, "A");
    let mut now;
    let new = loop {
        now = feed.due();
        assert!(now < at(900), "it is replaced before its life ends");
        feed.tick(now);
        feed.ponged(now, old);
        if let Some(Action::Connect { line, .. }) = actions(&mut feed).last() {
            break *line;
        }
    };
    assert!(now >= at(800));
    feed.opened(now, new);
    assert!(tick(&mut feed, now, new, "A").is_empty(), "the older one has it as well");
    assert_eq!(tick(&mut feed, now, old, "A"), [false]);
    feed.tick(now + at(10));
    assert_eq!(actions(&mut feed), [Action::Close { line: old, reason: "replaced" }]);
    assert_eq!(tick(&mut feed, now + at(11), new, "A"), [true], "nothing shows what was between");
    let tally = feed.tally();
    assert_eq!((tally.overlapping, tally.replaced), (1, 1));
}

/// A venue that answers each list, with numbers.
fn lists(symbols: &[&str]) -> VenueSpec {
    let mut spec = native();
    spec.symbols = symbols.iter().map(|name| (*name).to_owned()).collect();
    spec.mapping.when = [("/symbol".to_owned(), vec!["*".to_owned()])].into();
    spec.subscribe = vec!["{id}:{symbols}".to_owned()];
    spec.subscription.symbol = "{symbol}".to_owned();
    spec.subscription.separator = "+".to_owned();
    spec.subscription.answers = Answers::PerMessage;
    let on = |kind: &str| [("/k".to_owned(), vec![kind.to_owned()])].into();
    spec.frames.acknowledged.when = on("ack");
    spec.frames.acknowledged.id = "/id".to_owned();
    spec.frames.refused.answer.when = on("no");
    spec.frames.refused.answer.id = "/id".to_owned();
    spec
}

/// Answers everything that is sent: refuses a list with `bad`. Returns the lists.
fn answer(feed: &mut FeedMachine, now: Duration, bad: &str) -> Vec<String> {
    let mut lists = Vec::new();
    loop {
        let sent = actions(feed).into_iter().filter_map(|action| match action {
            Action::Send { line, text } => Some((line, text)),
            _ => None,
        });
        let sent: Vec<_> = sent.collect();
        if sent.is_empty() {
            return lists;
        }
        for (line, text) in sent {
            let (id, list) = text.split_once(':').unwrap();
            let kind = if list.split('+').any(|symbol| symbol == bad) { "no" } else { "ack" };
            let frame = format!(r#"{{"k":"{kind}","id":{id}}}"#);
            feed.frame(now, line, &Bytes::from(frame));
            lists.push(list.to_owned());
        }
        feed.tick(now);
    }
}

#[test]
fn a_symbol_that_is_kept_apart_is_so_on_the_next_connection() {
    let mut feed = feed(&lists(&["A", "B", "C", "D"]), settings());
    let open_and_answer = |feed: &mut FeedMachine, now| {
        feed.tick(now);
        let wanted = actions(feed);
        let [Action::Connect { line, .. }] = wanted[..] else { panic!("{wanted:?}") };
        feed.opened(now, line);
        (line, answer(feed, now, "C"))
    };
    let (line, sent) = open_and_answer(&mut feed, at(0));
    assert_eq!(sent, ["A+B+C+D", "A+B", "C+D", "C", "D"]);
    let notices: Vec<_> = feed.take_notices().collect();
    let apart: Vec<_> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Apart { symbols, .. } => Some(symbols.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(apart, [["C"]]);
    let last = |symbol: &str| {
        let mut states = notices.iter().filter_map(|notice| match notice {
            Notice::Subscription { symbol: of, state } if of == symbol => Some(*state),
            _ => None,
        });
        states.next_back().unwrap()
    };
    assert_eq!(["A", "B", "C", "D"].map(last), {
        let good = Subscription::Acknowledged;
        [good, good, Subscription::Refused, good]
    });
    assert_eq!(feed.states().next(), Some(FeedState::Quiet), "three of four are subscribed");
    feed.ended(at(1), line, &lost("reset"));
    let (line, sent) = open_and_answer(&mut feed, at(2));
    assert_eq!(sent, ["A+B+D"]);
    // 15 s after the refusal, and 30 s after the next one.
    feed.tick(at(14));
    assert_eq!(answer(&mut feed, at(14), "C"), [""; 0]);
    feed.tick(at(15));
    assert_eq!(answer(&mut feed, at(15), "C"), ["C"]);
    feed.ponged(at(44), line);
    feed.tick(at(45));
    assert_eq!(answer(&mut feed, at(45), "none"), ["C"]);
    let released = Notice::Released { share: 0, symbols: vec!["C".to_owned()] };
    assert!(feed.take_notices().any(|notice| notice == released));
}

#[test]
fn a_connection_with_a_symbol_apart_is_replaced_and_its_successor_gets_the_symbol_too() {
    let mut spec = lists(&["A", "B"]);
    spec.limits.life_max = Some(at(1000));
    let mut feed = feed(&spec, settings());
    let (old, _) = open(&mut feed, at(0));
    feed.frame(at(0), old, &Bytes::from_static(br#"{"k":"no","id":1}"#));
    feed.tick(at(0));
    let answer_halves = |feed: &mut FeedMachine, bad: &str, now| answer(feed, now, bad);
    assert_eq!(answer_halves(&mut feed, "B", at(0)), ["A", "B"]);
    let mut now;
    let new = loop {
        now = feed.due();
        assert!(now < at(900), "it is replaced before its life ends");
        feed.tick(now);
        feed.ponged(now, old);
        let wanted = actions(&mut feed);
        for action in &wanted {
            if let Action::Send { line, text } = action {
                let id = text.split(':').next().unwrap();
                let no = format!(r#"{{"k":"no","id":{id}}}"#);
                feed.frame(now, *line, &Bytes::from(no));
            }
        }
        if let Some(Action::Connect { line, .. }) = wanted.last() {
            break *line;
        }
    };
    feed.opened(now, new);
    assert_eq!(answer(&mut feed, now, "B"), ["A"]);
    feed.tick(now + at(10));
    let wanted = actions(&mut feed);
    assert_eq!(wanted[0], Action::Close { line: old, reason: "replaced" });
    assert_eq!(feed.tally().replaced, 1);
}

#[test]
fn messages_that_fit_no_rule_are_counted_and_shown_sparsely() {
    let mut feed = feed(&lists(&["A"]), settings());
    let (line, _) = open(&mut feed, at(0));
    answer(&mut feed, at(0), "none");
    feed.take_notices().for_each(drop);
    let mut say =
        |text: &'static str| feed.frame(at(1), line, &Bytes::from_static(text.as_bytes()));
    (0..20).for_each(|_| say("\u{1f}\u{8b} no JSON"));
    say(r#"{"event":"error","msg":"bad request"}"#);
    say(r#"{"k":"no","id":99}"#);
    let shown: Vec<_> = feed
        .take_notices()
        .filter_map(|notice| match notice {
            Notice::Unmatched { kind, why, sample, count, .. } => Some((kind, why, sample, count)),
            _ => None,
        })
        .collect();
    let malformed = |count| {
        let (why, sample) = (Some("not JSON".to_owned()), "\\u{1f}\\u{8b} no JSON".to_owned());
        (Unmatched::Malformed, why, sample, count)
    };
    let error = r#"{"event":"error","msg":"bad request"}"#.to_owned();
    assert_eq!(shown, [malformed(1), malformed(10), (Unmatched::Error, None, error, 1)]);
    let tally = feed.tally().unmatched;
    assert_eq!(Unmatched::ALL.map(|kind| tally.get(kind)), [0, 2, 0, 20]);
}

/// The texts that are sent, answers in brackets.
fn texts(feed: &mut FeedMachine) -> Vec<String> {
    let text = |action| match action {
        Action::Send { text, .. } => Some(text),
        Action::Answer { text, .. } => Some(format!("[{text}]")),
        _ => None,
    };
    actions(feed).into_iter().filter_map(text).collect()
}

#[test]
fn a_ping_of_the_venue_is_answered_at_once_and_within_its_pace() {
    let mut spec = native();
    spec.mapping.symbol = "/symbol".to_owned();
    spec.mapping.time = "/time".to_owned();
    spec.mapping.fields = vec![("price".to_owned(), "/price".to_owned())];
    spec.frames.ping.when.insert("/ping".to_owned(), vec!["*".to_owned()]);
    spec.frames.ping.answer = r#"{"pong":{value}}"#.to_owned();
    spec.frames.ping.value = "/ping".to_owned();
    spec.symbols = ["A", "B", "C", "D", "E", "F"].map(str::to_owned).to_vec();
    spec.subscribe = vec!["{symbol}".to_owned()];
    spec.limits.messages = Some(Rate { count: 2, period: at(10) });
    spec.limits.heartbeat_max = Some(at(15));
    let mut feed = feed(&spec, settings());
    let (line, wanted) = open(&mut feed, at(0));
    let send = |text: &str| Action::Send { line, text: text.to_owned() };
    assert_eq!(wanted, [send("A"), send("B")]);
    let ping = |feed: &mut FeedMachine, now, value: u32| {
        feed.frame(now, line, &Bytes::from(format!(r#"{{"ping":{value}}}"#)));
        texts(feed)
    };
    // Its pace is used up; the newest ping is answered before the next subscription.
    assert!(ping(&mut feed, at(1), 1).is_empty());
    assert!(ping(&mut feed, at(2), 2).is_empty());
    assert!(feed.due() <= at(11), "{:?}", feed.due());
    feed.tick(at(11));
    assert_eq!(texts(&mut feed), [r#"[{"pong":2}]"#, "C"]);
    // A venue that asks without end does not keep the rest from being sent.
    let mut sent = Vec::new();
    for second in 12..80 {
        sent.extend(ping(&mut feed, at(second), second as u32));
        feed.tick(at(second));
        sent.extend(texts(&mut feed));
    }
    let subscriptions: Vec<_> = sent.iter().filter(|text| !text.starts_with('[')).collect();
    assert_eq!(subscriptions, ["D", "E", "F"], "{sent:?}");
    assert!(sent.len() > 8, "{sent:?}");
    // Pings are a sign of life, and the last came at 79.
    let mut closes = |now| {
        feed.tick(now);
        actions(&mut feed).iter().any(|action| matches!(action, Action::Close { .. }))
    };
    assert!(!closes(at(93)));
    assert!(closes(at(94)));
}
