//! Symbols that are warmed from earlier records of their topic, against a real broker and a mock:
//! nothing is published before the place where a group begins, and what is published from there on
//! has the bytes of a replay from the earlier record.

use std::fs;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tickcast::core::domain::UnixNanos;
use tickcast::engine::wire::score::ScoreRecord;

use crate::support::broker::Broker;
use crate::support::bundle::SealedBundle;
use crate::support::cluster::{Cluster, OpenTransaction};
use crate::support::minutes::await_state;
use crate::support::mock::Mock;
use crate::support::process::{Daemon, Ended, eventually, run};
use crate::support::topics::{
    BySymbol, PARTITIONS, Topics, assert_in_order, await_committed, bundle, committed, distinct,
    parse, patient, produce, replay, replay_and_score, start, states, symbols, ticks,
};

const DELIVERIES: [&str; 2] = ["at_least_once", "exactly_once"];

const RECORDS: &str = "tickcast_kafka_history_records_total";
const OF_TOPIC: &str = r#"tickcast_history_rows_total{from="topic"}"#;
const WARM: &str = r#"tickcast_history_symbols{state="warm"}"#;
const SECONDS: &str = "tickcast_kafka_history_seconds_count";
const RESTORED: &str = "tickcast_kafka_symbols_restored_total";
const CHANGELOGS_LOST: &str = "tickcast_kafka_changelogs_lost_total";
const SESSIONS_FAILED: &str = "tickcast_kafka_sessions_failed_total";

/// The partition that an open transaction holds up; it is taken over behind the others.
const LAST: i32 = PARTITIONS - 1;

const HOUR_MS: i64 = 3_600_000;

/// The session of a member that nothing may expel, however busy the machine is.
const SESSION_MS: u32 = 20_000;

/// Symbols that lie in all partitions.
const SYMBOLS: u8 = 12;

/// The first instant of a day of the records.
fn instant(day: u32) -> UnixNanos {
    UnixNanos::from_nanos(i64::from(day) * 86_400 * 1_000_000_000)
}

/// Those of the records for which `stays` says so.
fn only(records: BySymbol, stays: impl Fn(&str) -> bool) -> BySymbol {
    let some = records.into_iter().map(|(symbol, mut records)| {
        records.retain(|text| stays(text));
        (symbol, records)
    });
    some.filter(|(_, records)| !records.is_empty()).collect()
}

/// The forecasts whose newest step is of this day or a later one.
fn since(forecasts: BySymbol, day: u32) -> BySymbol {
    only(forecasts, |text| parse(text).as_of >= instant(day))
}

/// The scores whose truth is of this day or a later one.
fn scored_since(scores: BySymbol, day: u32) -> BySymbol {
    let truth_time = |text: &str| serde_json::from_str::<ScoreRecord<'_>>(text).unwrap().truth_time;
    only(scores, |text| truth_time(text) >= instant(day))
}

/// The records of these days.
fn of_days(records: &[(String, String)], days: Range<u32>, symbols: usize) -> &[(String, String)] {
    &records[days.start as usize * symbols..days.end as usize * symbols]
}

/// Forecasts of a topic by symbol, in order, and how many of them were repeats.
fn forecasts(cluster: &Cluster, topics: &Topics) -> (BySymbol, usize) {
    let (forecasts, repeats) = distinct(&cluster.read(&topics.forecasts, "read_committed"));
    assert_in_order(&forecasts);
    (forecasts, repeats)
}

fn stop(daemon: Daemon) -> Ended {
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    ended
}

fn await_ready(daemon: &Daemon) {
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
}

fn told<'e>(ended: &'e Ended, words: &str) -> Vec<&'e Value> {
    let is_it = |line: &&Value| line["message"].as_str().unwrap().contains(words);
    ended.log.iter().filter(is_it).collect()
}

/// Whether a daemon that was given so many records of history has them all.
fn await_history(daemon: &Daemon, records: usize) {
    daemon.await_metric(RECORDS, records as f64);
    assert_eq!(daemon.metric(RECORDS), records as f64);
}

#[test]
fn a_new_group_from_a_time_forecasts_with_its_first_record_and_nothing_before() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(5));
    let topics = Topics::create(broker);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    // A day of event time an hour of the topic's.
    let first_ms = now_ms - 40 * HOUR_MS;
    let records = ticks(&symbols, 0..30);
    let timed = records.iter().enumerate().map(|(index, (key, text))| {
        let day = (index / symbols.len()) as i64;
        (key.clone(), text.clone(), first_ms + day * HOUR_MS)
    });
    broker.produce_at(&topics.input, &timed.collect::<Vec<_>>());
    let start_at = UnixNanos::from_nanos((first_ms + 20 * HOUR_MS) * 1_000_000);
    // 12 hours before the newest record that is older than the start, which is that of day 19.
    let (expected, scored) = replay_and_score(&sealed, of_days(&records, 7..30, symbols.len()));
    let (expected, scored) = (since(expected, 20), scored_since(scored, 20));
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 10 * symbols.len());
    for delivery in DELIVERIES {
        let topics = topics.again();
        let settings = patient(&topics.settings(broker, delivery, "one"));
        let settings = format!("{settings}kafka.start = '{start_at}'\nkafka.history = '12h'\n");
        let daemon = start(&sealed, &settings);
        await_committed(broker, &topics);
        assert_eq!(daemon.metric(RECORDS), 13.0 * symbols.len() as f64, "{delivery}");
        assert!(daemon.metric(SECONDS) >= 1.0, "{delivery}");
        assert_eq!(daemon.metric(OF_TOPIC), 13.0 * symbols.len() as f64, "{delivery}");
        for symbol in &symbols {
            let history = await_state(&daemon, symbol, "warm")["history"].clone();
            let expected = json!({"state": "warm", "from": "topic", "rows": 13});
            assert_eq!(history, expected, "{delivery}");
        }
        assert_eq!(daemon.metric(WARM), symbols.len() as f64, "{delivery}");
        assert_eq!(daemon.metric("tickcast_ticks_repeated_total"), 0.0, "{delivery}");
        assert_eq!(daemon.metric(SESSIONS_FAILED), 0.0, "{delivery}");
        stop(daemon);
        let (forecasts, repeats) = forecasts(broker, &topics);
        assert!(forecasts == expected, "{delivery}: the bytes of the forecasts");
        assert_eq!(repeats, 0, "{delivery}");
        let (scores, repeats) = distinct(&broker.read(&topics.scores, "read_committed"));
        assert!(scores == scored, "{delivery}: the bytes of the scores");
        assert_eq!(repeats, 0, "{delivery}");
        // What follows goes on from the states, and reads no history.
        let daemon = start(&sealed, &settings);
        daemon.await_metric(RESTORED, symbols.len() as f64);
        await_ready(&daemon);
        assert_eq!(daemon.metric(RECORDS), 0.0, "{delivery}");
        stop(daemon);
    }
}

#[test]
fn a_changelog_that_is_lost_is_made_up_for_by_the_topic() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(4));
    for delivery in DELIVERIES {
        let topics = Topics::create(broker);
        let settings = patient(&topics.settings(broker, delivery, "one"));
        let settings = format!("{settings}kafka.history = 'auto'\n");
        let daemon = start(&sealed, &settings);
        let mut all = ticks(&symbols, 0..20);
        produce(broker, &topics.input, &all);
        await_committed(broker, &topics);
        assert_eq!(daemon.metric(RECORDS), 0.0, "{delivery}: it began at the first record");
        stop(daemon);
        broker.delete_topic(&topics.changelog());
        let daemon = start(&sealed, &settings);
        daemon.await_metric(CHANGELOGS_LOST, f64::from(PARTITIONS));
        await_history(&daemon, all.len());
        await_ready(&daemon);
        // What is warm is stored before anything comes.
        assert_eq!(states(broker, &topics).len(), symbols.len(), "{delivery}");
        let fresh = ticks(&symbols, 20..30);
        produce(broker, &topics.input, &fresh);
        all.extend(fresh);
        await_committed(broker, &topics);
        let ended = stop(daemon);
        let lost = told(&ended, "symbols are warmed from what the topic holds");
        assert_eq!(lost.len(), PARTITIONS as usize, "{:#?}", ended.log);
        let (forecasts, repeats) = forecasts(broker, &topics);
        let (expected, scored) = replay_and_score(&sealed, &all);
        assert!(forecasts == expected, "{delivery}: the bytes of the forecasts");
        let (scores, repeated) = distinct(&broker.read(&topics.scores, "read_committed"));
        assert!(scores == scored, "{delivery}: the bytes of the scores");
        assert_eq!((repeats, repeated), (0, 0), "{delivery}");
    }
}

/// A topic with 20 days of records, of which a transaction that is open holds the last partition
/// up, and a group that begins behind them.
struct HeldUp<'b> {
    broker: &'b Broker,
    sealed: SealedBundle,
    topics: Topics,
    produced: Vec<(String, String)>,
    further: String,
    /// Whether a member may be expelled, so that what it has not committed is done again.
    may_repeat: bool,
}

impl<'b> HeldUp<'b> {
    fn new(broker: &'b Broker, further: &str) -> Self {
        let topics = Topics::create(broker);
        let produced = ticks(&symbols(SYMBOLS), 0..20);
        produce(broker, &topics.input, &produced);
        let further = format!("kafka.start = 'latest'\nkafka.history = 'auto'\n{further}");
        Self { broker, sealed: bundle(), topics, produced, further, may_repeat: false }
    }

    /// Holds the warming up, by a record that is not decided.
    fn hold(&self) -> OpenTransaction {
        let text = &ticks(&["Sz".to_owned()], 0..1)[0].1;
        self.broker.open_transaction(&self.topics.input, LAST, ("Sz", text))
    }

    fn start(&self, delivery: &str, instance: &str) -> Daemon {
        let settings = self.topics.settings(self.broker, delivery, instance);
        let settings = if self.may_repeat { settings } else { patient(&settings) };
        start(&self.sealed, &format!("{settings}{}", self.further))
    }

    /// Produces the days behind those that were there, and asks for the forecasts of these alone.
    fn pass_and_assert(&mut self, daemons: &[&Daemon]) {
        daemons.iter().for_each(|daemon| await_ready(daemon));
        let live = ticks(&symbols(SYMBOLS), 20..30);
        produce(self.broker, &self.topics.input, &live);
        self.produced.extend(live);
        await_committed(self.broker, &self.topics);
        let (forecasts, repeats) = forecasts(self.broker, &self.topics);
        let expected = since(replay(&self.sealed, &self.produced), 20);
        assert!(forecasts == expected, "the bytes of the forecasts");
        assert_eq!(forecasts.len(), usize::from(SYMBOLS));
        assert!(repeats == 0 || self.may_repeat, "{repeats} repeats");
    }
}

#[test]
fn a_kill_while_symbols_are_warmed_costs_nothing() {
    let broker = Broker::shared();
    for delivery in DELIVERIES {
        let mut held_up = HeldUp::new(broker, "");
        // A short session, so that the place of the one that was killed is free soon.
        held_up.may_repeat = true;
        let transaction = held_up.hold();
        let (topics, records) = (&held_up.topics, held_up.produced.len());
        let daemon = held_up.start(delivery, "one");
        await_history(&daemon, records);
        let (status, body) = daemon.get("/readyz");
        assert!(status == 503 && body.contains(&format!("warming {}[{LAST}]", topics.input)));
        daemon.kill();
        assert_eq!(broker.read(&topics.forecasts, "read_committed"), []);
        assert_eq!(committed(broker, topics).get(&LAST), None, "{delivery}");
        let daemon = held_up.start(delivery, "one");
        // With transactions the others are committed already.
        daemon.await_metric(RECORDS, 1.0);
        transaction.commit();
        held_up.pass_and_assert(&[&daemon]);
        stop(daemon);
    }
}

#[test]
fn a_member_that_joins_while_symbols_are_warmed_gets_them_warm() {
    let broker = Broker::shared();
    for assignment in ["eager", "cooperative"] {
        let mut held_up = HeldUp::new(broker, &format!("kafka.assignment = '{assignment}'\n"));
        let transaction = held_up.hold();
        let records = held_up.produced.len();
        let first = held_up.start("at_least_once", "first");
        await_history(&first, records);
        let other = held_up.start("at_least_once", "other");
        eventually("the other member's way into the group", || {
            other.get("/readyz").1.contains("joining the group").then_some(())
        });
        transaction.abort();
        let half = f64::from(PARTITIONS) / 2.0;
        eventually("half of the partitions each", || {
            let is_half = |daemon: &Daemon| daemon.metric("tickcast_kafka_partitions") == half;
            (is_half(&first) && is_half(&other)).then_some(())
        });
        held_up.pass_and_assert(&[&first, &other]);
        assert_eq!(other.metric(RECORDS), 0.0, "{assignment}: the states are there");
        assert!(other.metric(RESTORED) >= 1.0, "{assignment}");
        assert_eq!(first.metric(RECORDS), records as f64, "{assignment}: nothing twice");
        stop(other);
        stop(first);
    }
}

#[test]
fn a_member_that_dies_while_symbols_are_warmed_leaves_them_to_another() {
    let broker = Broker::shared();
    let mut held_up = HeldUp::new(broker, "");
    held_up.may_repeat = true;
    let transaction = held_up.hold();
    let records = held_up.produced.len();
    let first = held_up.start("exactly_once", "first");
    await_history(&first, records);
    let other = held_up.start("exactly_once", "other");
    first.kill();
    // What the first one has not committed is read again.
    other.await_metric(RECORDS, 1.0);
    transaction.commit();
    held_up.pass_and_assert(&[&other]);
    assert_eq!(other.metric("tickcast_kafka_partitions"), f64::from(PARTITIONS));
    stop(other);
}

/// Waits until so many forecasts are there. A mock takes the offsets of a transaction and forgets
/// them, so what is committed says nothing.
fn await_forecasts(mock: &Mock, topics: &Topics, count: usize) {
    eventually("every forecast", || {
        let stored = mock.read(&topics.forecasts, "read_committed");
        (stored.len() >= count).then_some(())
    });
}

#[test]
fn no_more_records_are_read_than_the_limit_and_what_is_left_out_is_told() {
    let (mock, sealed, symbols) = (Mock::start(), bundle(), symbols(1));
    for (delivery, max, history) in
        [("at_least_once", 10, 10_u32), ("exactly_once", 10, 10), ("at_least_once", 1000, 40)]
    {
        let topics = mock.topics();
        let records = ticks(&symbols, 0..40);
        mock.produce_to(&topics.input, 1, &records);
        let settings = mock.settings_with_session(&topics, delivery, "one", SESSION_MS);
        let settings = format!(
            "{settings}kafka.start = 'latest'\nkafka.history = '30 steps'\n\
             kafka.history_records_max = {max}\n"
        );
        let daemon = start(&sealed, &settings);
        await_ready(&daemon);
        assert_eq!(daemon.metric(RECORDS), f64::from(history), "{delivery}, {max}");
        let live = ticks(&symbols, 40..50);
        mock.produce_to(&topics.input, 1, &live);
        await_forecasts(&mock, &topics, live.len());
        let ended = stop(daemon);
        let left_out = told(&ended, "kafka.history_records_max leaves the oldest records");
        assert_eq!(left_out.len(), usize::from(max == 10), "{:#?}", ended.log);
        assert!(left_out.iter().all(|line| line["left_out"] == 30), "{left_out:?}");
        let all = [&records[40 - history as usize..], &live].concat();
        let (forecasts, repeats) = forecasts(&mock, &topics);
        assert!(forecasts == since(replay(&sealed, &all), 40), "{delivery}, {max}: the bytes");
        assert_eq!(repeats, 0);
    }
}

#[test]
fn without_history_a_group_that_begins_at_the_end_begins_cold() {
    let (mock, sealed, symbols) = (Mock::start(), bundle(), symbols(1));
    let topics = mock.topics();
    mock.produce_to(&topics.input, 1, &ticks(&symbols, 0..40));
    let settings = mock.settings_with_session(&topics, "at_least_once", "one", SESSION_MS);
    let daemon = start(&sealed, &format!("{settings}kafka.start = 'latest'\n"));
    await_ready(&daemon);
    let live = ticks(&symbols, 40..50);
    mock.produce_to(&topics.input, 1, &live);
    await_committed(&mock, &topics);
    assert_eq!((daemon.metric(RECORDS), daemon.metric(SECONDS)), (0.0, 0.0));
    stop(daemon);
    assert!(forecasts(&mock, &topics).0 == replay(&sealed, &live), "the bytes of the forecasts");
}

#[test]
fn check_says_that_the_topic_warms_symbols() {
    let (sealed, folder) = (bundle(), tempfile::tempdir().unwrap());
    let path = folder.path().join("checked.toml").display().to_string();
    for (history, line) in [
        ("off", None),
        ("auto", Some("as far back as the models need")),
        ("30 steps", Some("30 steps")),
        ("36h", Some("129600 s")),
    ] {
        let config = format!(
            "source.kind = 'kafka'\nkafka.brokers = '127.0.0.1:1'\nkafka.topics = ['ticks']\n\
             kafka.history = '{history}'\nkafka.history_records_max = 500\nmodel.root = '{}'\n\
             model.name = 'random'\n",
            sealed.root.path().display()
        );
        fs::write(&path, config).unwrap();
        let output = run(&["check", "-c", &path]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let told = said.lines().find(|line| line.starts_with("history       from the topic: "));
        let expected = line.map(|line| {
            format!(
                "history       from the topic: {line}, at most 500 records of each partition \
                 without stored states"
            )
        });
        assert_eq!(told.map(str::to_owned), expected, "{said}");
    }
}
