//! Logs that are not what they were, against a real broker: topics that are deleted and created
//! again, changelogs that are gone, partitions that are added, and records that nobody has read
//! yet. Each test asks for every forecast of a replay, byte for byte.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::broker::Broker;
use crate::support::bundle::SealedBundle;
use crate::support::process::{Daemon, Ended, eventually};
use crate::support::topics::{
    BySymbol, PARTITIONS, Topics, assert_in_order, await_committed, bundle, committed, distinct,
    produce, replay, start, states, symbols, ticks,
};

const DELIVERIES: [&str; 2] = ["at_least_once", "exactly_once"];

const RECREATED: &str = "tickcast_kafka_offsets_lost_total{reason=\"recreated\"}";
const GONE: &str = "tickcast_kafka_offsets_lost_total{reason=\"gone\"}";
const REPEATED: &str = "tickcast_ticks_repeated_total";
const COLD: &str = "tickcast_kafka_symbols_cold_total";
const CHANGELOGS_LOST: &str = "tickcast_kafka_changelogs_lost_total";
const SESSIONS_FAILED: &str = "tickcast_kafka_sessions_failed_total";

/// Forecasts of a topic by symbol, and how many of them were repeats.
fn forecasts(broker: &Broker, topics: &Topics) -> (BySymbol, usize) {
    let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, "read_committed"));
    assert_in_order(&forecasts);
    (forecasts, repeats)
}

/// What windows that begin cold in between forecast.
fn in_pieces(sealed: &SealedBundle, pieces: &[&[(String, String)]]) -> BySymbol {
    let mut all = BySymbol::new();
    for piece in pieces {
        for (symbol, forecasts) in replay(sealed, piece) {
            all.entry(symbol).or_default().extend(forecasts);
        }
    }
    all
}

fn stop(daemon: Daemon) -> Ended {
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    ended
}

fn await_ready(daemon: &Daemon) {
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
}

/// Symbols as the daemon lists them.
fn listed(daemon: &Daemon) -> BTreeMap<String, Value> {
    let (status, body) = daemon.get("/v1/symbols");
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let rows = answer["symbols"].as_array().unwrap().iter();
    rows.map(|row| (row["symbol"].as_str().unwrap().to_owned(), row.clone())).collect()
}

fn warnings<'e>(ended: &'e Ended, words: &str) -> Vec<&'e Value> {
    let is_it = |line: &&Value| {
        line["level"] == "WARN" && line["message"].as_str().unwrap().contains(words)
    };
    ended.log.iter().filter(is_it).collect()
}

fn recreate(broker: &Broker, topic: &str) {
    broker.delete_topic(topic);
    broker.create_topic(topic, PARTITIONS);
}

#[test]
fn a_topic_that_is_created_again_while_it_is_read_is_another_log() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(5));
    for delivery in DELIVERIES {
        // Fewer records than before, as many, and more: an old offset lies beyond the new log, at
        // its end, or in the middle of it.
        for fresh_days in [20, 30, 60] {
            let topics = Topics::create(broker);
            let daemon = start(&sealed, &topics.settings(broker, delivery, "one"));
            let old = ticks(&symbols, 0..30);
            produce(broker, &topics.input, &old);
            await_committed(broker, &topics);
            let read = committed(broker, &topics).len() as f64;
            recreate(broker, &topics.input);
            let fresh = ticks(&symbols, 100..100 + fresh_days);
            produce(broker, &topics.input, &fresh);
            await_committed(broker, &topics);
            let case = format!("{delivery}, {fresh_days} days");
            assert_eq!(daemon.metric(REPEATED), 0.0, "{case}");
            assert_eq!(daemon.metric(RECREATED), read, "{case}");
            assert_eq!(daemon.metric(GONE), 0.0, "{case}");
            assert_eq!(daemon.metric(COLD), symbols.len() as f64, "{case}");
            let ended = stop(daemon);
            assert_eq!(warnings(&ended, "created again; the partition").len(), read as usize);
            let (forecasts, repeats) = forecasts(broker, &topics);
            assert!(forecasts == in_pieces(&sealed, &[&old, &fresh]), "{case}: the bytes");
            assert!(delivery == "at_least_once" || repeats == 0, "{case}");
        }
    }
}

#[test]
fn a_topic_that_is_created_again_while_nobody_reads_is_another_log() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(5));
    for delivery in DELIVERIES {
        for fresh_days in [12, 60] {
            let topics = Topics::create(broker);
            let settings = topics.settings(broker, delivery, "one");
            let daemon = start(&sealed, &settings);
            let old = ticks(&symbols, 0..40);
            produce(broker, &topics.input, &old);
            await_committed(broker, &topics);
            let read = committed(broker, &topics).len() as f64;
            stop(daemon);
            recreate(broker, &topics.input);
            let fresh = ticks(&symbols, 100..100 + fresh_days);
            produce(broker, &topics.input, &fresh);
            let daemon = start(&sealed, &settings);
            await_committed(broker, &topics);
            let case = format!("{delivery}, {fresh_days} days");
            assert_eq!(daemon.metric(REPEATED), 0.0, "{case}");
            assert_eq!(daemon.metric(RECREATED), read, "{case}");
            stop(daemon);
            let (forecasts, _) = forecasts(broker, &topics);
            assert!(forecasts == in_pieces(&sealed, &[&old, &fresh]), "{case}: the bytes");
            // The new log is known from here on.
            let daemon = start(&sealed, &settings);
            daemon.await_metric("tickcast_kafka_symbols_restored_total", symbols.len() as f64);
            assert_eq!(daemon.metric(RECREATED), 0.0, "{case}");
            stop(daemon);
        }
    }
}

#[test]
fn symbols_stay_on_the_list_while_the_process_runs() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(5));
    let topics = Topics::create(broker);
    let daemon = start(&sealed, &topics.settings(broker, "at_least_once", "one"));
    produce(broker, &topics.input, &ticks(&symbols, 0..10));
    await_committed(broker, &topics);
    recreate(broker, &topics.input);
    let (quiet, heard) = symbols.split_at(2);
    produce(broker, &topics.input, &ticks(heard, 100..108));
    await_committed(broker, &topics);
    let rows = eventually("the symbols that are heard again", || {
        let rows = listed(&daemon);
        assert_eq!(rows.keys().collect::<Vec<_>>(), symbols.iter().collect::<Vec<_>>());
        heard.iter().all(|symbol| rows[symbol]["steps"] == 8).then_some(rows)
    });
    for symbol in quiet {
        let row = &rows[symbol];
        let newest = "1970-01-10T00:00:00Z";
        assert_eq!((&row["last_gap"], &row["newest_tick"]), (&newest.into(), &newest.into()));
        assert_eq!((&row["steps"], &row["window"]), (&0.into(), &0.into()), "{symbol}");
    }
    let health =
        |name: &str| daemon.metric(&format!("tickcast_symbols_by_health{{health=\"{name}\"}}"));
    eventually("every symbol's health", || {
        let all: f64 = ["live", "quiet", "stale", "dead"].map(health).into_iter().sum();
        (all == 5.0).then_some(())
    });
    stop(daemon);
}

#[test]
fn what_another_log_means_is_decided_by_the_policy() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(3));
    for policy in ["latest", "fail"] {
        let topics = Topics::create(broker);
        let settings = topics.settings(broker, "at_least_once", "one");
        let settings = format!("{settings}kafka.on_lost_offset = '{policy}'\n");
        let daemon = start(&sealed, &settings);
        let old = ticks(&symbols, 0..10);
        produce(broker, &topics.input, &old);
        await_committed(broker, &topics);
        stop(daemon);
        recreate(broker, &topics.input);
        produce(broker, &topics.input, &ticks(&symbols, 100..104));
        let mut daemon = start(&sealed, &settings);
        if policy == "fail" {
            let ended = daemon.await_end();
            assert_eq!(ended.status.code(), Some(78), "{:?}", ended.log);
            continue;
        }
        await_ready(&daemon);
        let fresh = ticks(&symbols, 104..112);
        produce(broker, &topics.input, &fresh);
        await_committed(broker, &topics);
        assert_eq!(daemon.metric(REPEATED), 0.0);
        stop(daemon);
        let (forecasts, _) = forecasts(broker, &topics);
        assert!(forecasts == in_pieces(&sealed, &[&old, &fresh]), "the bytes of the forecasts");
    }
}

#[test]
fn records_that_come_before_the_first_commit_are_not_lost_to_start_at_the_end() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let records = ticks(&["Sz".to_owned()], 0..20);
    for delivery in DELIVERIES {
        for is_killed in [false, true] {
            let topics = Topics::create(broker);
            let settings = topics.settings(broker, delivery, "one");
            let settings = format!("{settings}kafka.start = 'latest'\n");
            let before = ticks(&["Sb".to_owned()], 0..3);
            broker.produce_to(&topics.input, 0, &before);
            let daemon = start(&sealed, &settings);
            await_ready(&daemon);
            // Of one partition records are read; the other has none yet.
            let first = ticks(&["Sa".to_owned()], 0..10);
            broker.produce_to(&topics.input, 0, &first);
            await_committed_of(broker, &topics, 0);
            match is_killed {
                true => daemon.kill(),
                false => drop(stop(daemon)),
            }
            broker.produce_to(&topics.input, 1, &records);
            let daemon = start(&sealed, &settings);
            await_committed_of(broker, &topics, 1);
            assert_eq!(daemon.metric("tickcast_kafka_lag_records"), 0.0);
            stop(daemon);
            let (forecasts, _) = forecasts(broker, &topics);
            let case = format!("{delivery}, killed: {is_killed}");
            assert!(forecasts == in_pieces(&sealed, &[&first, &records]), "{case}");
        }
    }
}

#[test]
fn records_that_come_while_a_partition_moves_are_not_lost_to_start_at_the_end() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let settings = |instance: &str| {
        let settings = topics.settings(broker, "at_least_once", instance);
        format!("{settings}kafka.start = 'latest'\n")
    };
    let first = start(&sealed, &settings("first"));
    await_ready(&first);
    let other = start(&sealed, &settings("other"));
    eventually("half of the partitions each", || {
        let half = |daemon: &Daemon| daemon.metric("tickcast_kafka_partitions") == 2.0;
        (half(&first) && half(&other)).then_some(())
    });
    first.kill();
    other.kill();
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let symbol = format!("S{}", char::from(b'a' + partition as u8));
        let records = ticks(&[symbol], 0..8);
        broker.produce_to(&topics.input, partition, &records);
        all.extend(records);
    }
    let last = start(&sealed, &settings("last"));
    await_committed(broker, &topics);
    stop(last);
    assert!(forecasts(broker, &topics).0 == replay(&sealed, &all), "the bytes of the forecasts");
}

/// Waits until everything in one partition is committed.
fn await_committed_of(broker: &Broker, topics: &Topics, partition: i32) {
    let (_, end) = broker.watermarks(&topics.input, partition);
    eventually("the partition's commit", || {
        (committed(broker, topics).get(&partition) == Some(&end)).then_some(())
    });
}

#[test]
fn partitions_that_are_added_are_noticed_and_read_from_their_beginning() {
    let (broker, sealed) = (Broker::shared(), bundle());
    for (delivery, start_at) in [("at_least_once", "latest"), ("exactly_once", "earliest")] {
        let topics = Topics::create(broker);
        let settings = topics.settings(broker, delivery, "one");
        let settings = format!("{settings}kafka.start = '{start_at}'\n");
        let daemon = start(&sealed, &settings);
        await_ready(&daemon);
        let first = ticks(&symbols(4), 0..10);
        produce(broker, &topics.input, &first);
        await_committed(broker, &topics);
        let count = PARTITIONS + 2;
        broker.add_partitions(&topics.input, count);
        let mut all = first;
        for (symbol, partition) in [("Sx", PARTITIONS), ("Sy", PARTITIONS + 1)] {
            let records = ticks(&[symbol.to_owned()], 0..12);
            broker.produce_to(&topics.input, partition, &records);
            all.extend(records);
        }
        await_committed(broker, &topics);
        daemon.await_metric("tickcast_kafka_partitions", f64::from(count));
        await_ready(&daemon);
        assert_eq!(broker.partition_count(&topics.changelog()), Some(count));
        assert_eq!(daemon.metric(SESSIONS_FAILED), 0.0, "{delivery}");
        assert_eq!(daemon.metric(COLD), 0.0, "{delivery}");
        let ended = stop(daemon);
        assert_eq!(warnings(&ended, "session").len(), 0, "{:?}", ended.log);
        // The states of the new partitions are where a restart finds them.
        let daemon = start(&sealed, &settings);
        daemon.await_metric("tickcast_kafka_symbols_restored_total", 6.0);
        stop(daemon);
        let (forecasts, repeats) = forecasts(broker, &topics);
        assert!(forecasts == replay(&sealed, &all), "{delivery}: the bytes of the forecasts");
        assert_eq!(repeats, 0, "{delivery}");
    }
}

#[test]
fn a_changelog_that_is_deleted_under_a_running_daemon_is_written_again_from_memory() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(6));
    for delivery in DELIVERIES {
        let topics = Topics::create(broker);
        let settings = topics.settings(broker, delivery, "one");
        let daemon = start(&sealed, &settings);
        let mut all = ticks(&symbols, 0..20);
        produce(broker, &topics.input, &all);
        await_committed(broker, &topics);
        let before = states(broker, &topics);
        broker.delete_topic(&topics.changelog());
        daemon.await_metric(CHANGELOGS_LOST, f64::from(PARTITIONS));
        // Symbols that stay quiet are stored again as well.
        eventually("the states", || {
            (broker.partition_count(&topics.changelog()).is_some()
                && states(broker, &topics) == before)
                .then_some(())
        });
        let quiet = &symbols[..3];
        assert_eq!(listed(&daemon).into_keys().collect::<Vec<_>>(), symbols, "{delivery}");
        let further = ticks(&symbols[3..], 20..30);
        produce(broker, &topics.input, &further);
        all.extend(further);
        await_committed(broker, &topics);
        assert_eq!(listed(&daemon).into_keys().collect::<Vec<_>>(), symbols, "{delivery}");
        let ended = stop(daemon);
        assert_eq!(warnings(&ended, "the changelog was deleted").len(), 1, "{:#?}", ended.log);
        let daemon = start(&sealed, &settings);
        daemon.await_metric("tickcast_kafka_symbols_restored_total", symbols.len() as f64);
        assert_eq!((daemon.metric(CHANGELOGS_LOST), daemon.metric(COLD)), (0.0, 0.0));
        let further = ticks(quiet, 20..30);
        produce(broker, &topics.input, &further);
        all.extend(further);
        await_committed(broker, &topics);
        stop(daemon);
        let (forecasts, _) = forecasts(broker, &topics);
        assert!(forecasts == replay(&sealed, &all), "{delivery}: no window began cold");
    }
}

#[test]
fn a_changelog_that_was_deleted_while_nobody_ran_is_a_cold_start_that_is_told() {
    let (broker, sealed, symbols) = (Broker::shared(), bundle(), symbols(4));
    for delivery in DELIVERIES {
        let topics = Topics::create(broker);
        let settings = topics.settings(broker, delivery, "one");
        let daemon = start(&sealed, &settings);
        let old = ticks(&symbols, 0..20);
        produce(broker, &topics.input, &old);
        await_committed(broker, &topics);
        stop(daemon);
        broker.delete_topic(&topics.changelog());
        let daemon = start(&sealed, &settings);
        daemon.await_metric(CHANGELOGS_LOST, f64::from(PARTITIONS));
        let fresh = ticks(&symbols, 20..32);
        produce(broker, &topics.input, &fresh);
        await_committed(broker, &topics);
        eventually("the symbols with their last gap", || {
            let rows = listed(&daemon);
            let first_fresh = |row: &Value| row["last_gap"] == "1970-01-21T00:00:00Z";
            (rows.len() == symbols.len() && rows.values().all(first_fresh)).then_some(())
        });
        let ended = stop(daemon);
        let told = warnings(&ended, "the changelog has no states for the committed offset");
        assert_eq!(told.len(), PARTITIONS as usize, "{:#?}", ended.log);
        let (forecasts, _) = forecasts(broker, &topics);
        assert!(forecasts == in_pieces(&sealed, &[&old, &fresh]), "{delivery}: the bytes");
        // It is told once.
        let daemon = start(&sealed, &settings);
        daemon.await_metric("tickcast_kafka_symbols_restored_total", symbols.len() as f64);
        assert_eq!(daemon.metric(CHANGELOGS_LOST), 0.0);
        stop(daemon);
    }
}

#[test]
fn a_cluster_that_comes_back_from_a_backup_has_another_log() {
    let (mut broker, sealed, symbols) = (Broker::start(), bundle(), symbols(1));
    let backup = tempfile::tempdir().unwrap();
    let topics = DELIVERIES.map(|_| Topics::create(&broker));
    let settings =
        |broker: &Broker, index: usize| topics[index].settings(broker, DELIVERIES[index], "one");
    let pass = |broker: &Broker, days: std::ops::Range<u32>| {
        let records = ticks(&symbols, days);
        let daemons = [0, 1].map(|index| start(&sealed, &settings(broker, index)));
        for topics in &topics {
            broker.produce_to(&topics.input, 0, &records);
            await_committed(broker, topics);
        }
        daemons.into_iter().for_each(|daemon| drop(stop(daemon)));
    };
    pass(&broker, 0..20);
    broker.stop();
    for topics in &topics {
        broker.back_up(&topics.input, 0, &backup.path().join(&topics.input));
    }
    broker.go();
    // Of this future the input knows nothing after the backup, while states and offsets do.
    pass(&broker, 20..30);
    for (case, fresh_days, reason) in [("behind", 4, "gone"), ("beyond", 40, "diverged")] {
        broker.stop();
        for topics in &topics {
            broker.put_back(&topics.input, 0, &backup.path().join(&topics.input));
        }
        broker.go();
        let first = if case == "behind" { 200 } else { 300 };
        let fresh = ticks(&symbols, first..first + fresh_days);
        for topics in &topics {
            broker.produce_to(&topics.input, 0, &fresh);
        }
        for (index, topics) in topics.iter().enumerate() {
            let before = forecasts(&broker, topics).0;
            let daemon = start(&sealed, &settings(&broker, index));
            let lost = format!("tickcast_kafka_offsets_lost_total{{reason=\"{reason}\"}}");
            daemon.await_metric(&lost, 1.0);
            await_committed(&broker, topics);
            assert_eq!(daemon.metric(REPEATED), 0.0, "{case}");
            assert_eq!(daemon.metric(COLD), 1.0, "{case}");
            stop(daemon);
            // The log is read from its beginning, cold: what was forecast of it already comes again
            // with the same bytes.
            let mut whole = ticks(&symbols, 0..20);
            whole.extend(fresh.clone());
            let stored = broker.read(&topics.forecasts, "read_committed");
            let after: Vec<_> = stored.iter().map(crate::support::topics::text).collect();
            let expected = &replay(&sealed, &whole)[&symbols[0]];
            assert!(after.ends_with(expected), "{case}: the bytes of the forecasts");
            let old = before[&symbols[0]].len();
            assert!(after.len() >= old + expected.len(), "{case}");
        }
    }
}
