//! Kafka in, Kafka out, against a real broker: what is promised, and what becomes of it when
//! processes are killed, brokers go away and records are bad.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use tickcast::engine::wire::score::ScoreRecord;

use crate::support::broker::{Broker, Extras};
use crate::support::bundle::sealed;
use crate::support::cluster::Stored;
use crate::support::process::{Daemon, eventually, signal};
use crate::support::repository;
use crate::support::topics::{
    PARTITIONS, Topics, assert_in_order, await_committed, bundle, committed, distinct, exchanged,
    produce, replay, replay_and_score, start, symbols, text, ticks,
};

/// Committed offsets that the topic no longer held.
const LOST: &str = "tickcast_kafka_offsets_lost_total{reason=\"gone\"}";

#[test]
fn forecasts_through_kafka_are_those_of_a_replay_and_survive_a_restart() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let symbols = symbols(9);
    let records = ticks(&symbols, 0..40);
    // Of a hundred records one is poison, and one would lock its symbol for 70 years.
    let future = |symbol: &str| {
        format!(r#"{{"symbol":"{symbol}","time":"2100-01-01","close":1,"volume":1}}"#)
    };
    let mut poisoned = Vec::new();
    for (index, record) in records.iter().enumerate() {
        poisoned.push(record.clone());
        if index % 100 == 7 {
            poisoned.push(("x".to_owned(), "{\"symbol\":".to_owned()));
        }
        if index % 100 == 57 {
            poisoned.push((record.0.clone(), future(&record.0)));
        }
    }
    let (first, second) = poisoned.split_at(poisoned.len() / 2);
    let begun = Instant::now();
    produce(broker, &topics.input, first);
    let settings = topics.settings(broker, "at_least_once", "one");
    let daemon = start(&sealed, &settings);
    await_committed(broker, &topics);
    for (key, value) in [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "52428800"),
        ("min.cleanable.dirty.ratio", "0.3"),
        ("compression.type", "producer"),
    ] {
        let set = broker.topic_setting(&topics.changelog(), key);
        assert_eq!(set.as_deref(), Some(value), "{key} of the changelog");
    }
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    assert_eq!(ended.drained("repeats"), 0);
    let effective = |line: &&serde_json::Value| line["message"] == "effective Kafka options";
    let effective: Vec<_> = ended.log.iter().filter(effective).collect();
    assert_eq!(effective.len(), 1, "{:?}", ended.log);
    for (client, options) in [
        ("consumer", ["auto.offset.reset=error", "isolation.level=read_committed"]),
        ("producer", ["acks=all", "enable.idempotence=true"]),
    ] {
        let shown = effective[0][client].as_str().unwrap();
        assert!(options.iter().all(|option| shown.contains(option)), "{client}: {shown}");
    }
    let daemon = start(&sealed, &settings);
    produce(broker, &topics.input, second);
    await_committed(broker, &topics);
    assert_eq!(daemon.metric("tickcast_kafka_symbols_restored_total"), symbols.len() as f64);
    assert_eq!(daemon.metric("tickcast_kafka_symbols_cold_total"), 0.0);
    assert_metrics_are_documented(&daemon);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);

    let stored = broker.read(&topics.forecasts, "read_committed");
    let elapsed = begun.elapsed();
    let (forecasts, repeats) = distinct(&stored);
    assert_eq!(repeats, 0, "nothing crashed, so nothing is repeated");
    let (expected, expected_scores) = replay_and_score(&sealed, &records);
    assert_eq!(forecasts, expected);
    let stored_scores = broker.read(&topics.scores, "read_committed");
    let (scores, repeats) = distinct(&stored_scores);
    assert_eq!((repeats, scores), (0, expected_scores));
    for record in &stored_scores {
        let text = text(record);
        let score: ScoreRecord<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(record.headers["tickcast-schema"], score.schema);
        assert_eq!(record.headers["tickcast-model-sha256"].len(), 64);
    }
    let inputs = broker.read(&topics.input, "read_committed");
    for record in &stored {
        let same_key = |input: &&Stored| input.key == record.key;
        let input = inputs.iter().find(same_key).unwrap();
        assert_eq!(record.partition, input.partition, "keys go where the Java client puts them");
        assert_eq!(record.headers["tickcast-schema"], "tickcast.forecast.v1");
        assert_eq!(record.headers["tickcast-model-sha256"].len(), 64);
        // Behind the first tick was produced, and before all forecasts were read.
        let latency = latency(record);
        assert!(latency <= elapsed, "{latency:?} of {elapsed:?}");
    }
    let dead = broker.read(&topics.dead, "read_committed");
    assert_eq!(dead.len(), poisoned.len() - records.len());
    for record in &dead {
        let reason = match &*text(record) {
            "{\"symbol\":" => "malformed",
            other => {
                assert!(other.contains("2100-01-01"), "{other}");
                "in_future"
            }
        };
        assert_eq!(record.headers["tickcast-reason"], reason);
        assert_eq!(record.headers["tickcast-topic"], topics.input);
        let place = |name: &str| record.headers[name].parse::<i64>().unwrap();
        let (partition, offset) = (place("tickcast-partition"), place("tickcast-offset"));
        let at =
            |input: &&Stored| (i64::from(input.partition), input.offset) == (partition, offset);
        assert_eq!(inputs.iter().find(at).unwrap().payload, record.payload);
    }
}

/// How long a forecast took from the arrival of its tick, by its header.
fn latency(record: &Stored) -> Duration {
    Duration::from_micros(record.headers["tickcast-latency-us"].parse().unwrap())
}

#[test]
fn the_header_of_latency_counts_microseconds_from_arrival_to_publication() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let daemon = start(&sealed, &topics.settings(broker, "at_least_once", "one"));
    // One symbol: each forecast is a batch of its own and observed by itself.
    produce(broker, &topics.input, &ticks(&symbols(1), 0..40));
    await_committed(broker, &topics);
    let metrics = daemon.metrics();
    assert!(daemon.stop().status.success());
    let stored = broker.read(&topics.forecasts, "read_committed");
    let observed = |part: &str| {
        let of = |what: &str| metrics[&format!("tickcast_{part}_seconds_{what}")];
        assert_eq!(of("count"), stored.len() as f64, "{part}");
        of("sum")
    };
    assert_eq!(stored.len(), 40 - 5);
    // A forecast is published behind its inference, and observed behind its publication. The header
    // has whole microseconds, and the sum of so many seconds as good as all digits.
    let [infer, end_to_end] = ["infer", "end_to_end"].map(observed);
    let least = stored.iter().map(latency).sum::<Duration>().as_secs_f64();
    let most = least + 1e-6 * stored.len() as f64;
    assert!(infer <= most + 1e-9, "{infer} s of inference in at most {most} s");
    assert!(least <= end_to_end + 1e-9, "{least} s in {end_to_end} s from end to end");
}

/// `docs/kafka.md` lists the metrics of Kafka, no more and no fewer.
fn assert_metrics_are_documented(daemon: &Daemon) {
    let name = |sample: &String| {
        let name = sample.split('{').next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"];
        let whole = of_histogram.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        whole.starts_with("tickcast_kafka_").then(|| whole.to_owned())
    };
    let shown: BTreeSet<_> = daemon.metrics().keys().filter_map(name).collect();
    let page = fs::read_to_string(repository().join("docs/kafka.md")).unwrap();
    let row = |line: &str| {
        let name = line.strip_prefix("| `tickcast_kafka_")?.split('`').next()?;
        Some(format!("tickcast_kafka_{name}"))
    };
    assert_eq!(shown, page.lines().filter_map(row).collect());
}

/// The broker aborts a transaction after a second, and the model needs several for the backlog,
/// whose records come all at once.
#[test]
fn a_model_that_is_slow_for_its_backlog_gets_through_it_exactly_once() {
    let settings = "transaction.abort.timed.out.transaction.cleanup.interval.ms=100\n".to_owned();
    let broker = Broker::start_with(Extras { settings, ..<_>::default() });
    let sealed = sealed(23, 100, &[128]);
    let topics = Topics::create(&broker);
    // Of one symbol, so that no two steps are computed at once.
    let records = ticks(&symbols(1), 0..3000);
    produce(&broker, &topics.input, &records);
    let times = [
        ("'session.timeout.ms' = 1500", "'session.timeout.ms' = 30000"),
        ("'transaction.timeout.ms' = 5000", "'transaction.timeout.ms' = 1000"),
    ];
    let settings = exchanged(&topics.settings(&broker, "exactly_once", "one"), &times);
    let begun = Instant::now();
    let daemon = start(&sealed, &settings);
    await_committed(&broker, &topics);
    let [commits, failed, bound] =
        ["commits_total", "sessions_failed_total", "transaction_records_max"]
            .map(|name| daemon.metric(&format!("tickcast_kafka_{name}")));
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seconds:.1} s, {commits} commits, {failed} failed sessions, a bound of {bound}");
    // Transactions that take everything there is are mostly aborted.
    assert!(failed < commits, "{failed} failed sessions and {commits} commits");
    assert_eq!(daemon.metric("tickcast_kafka_hanging_calls"), 0.0);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, "read_committed"));
    assert_eq!(repeats, 0);
    assert_in_order(&forecasts);
    assert!(forecasts == replay(&sealed, &records), "the bytes of the forecasts");
}

#[test]
fn an_instance_that_was_stopped_past_its_session_does_not_write_over_its_heir() {
    for delivery in ["at_least_once", "exactly_once"] {
        let (broker, sealed) = (Broker::shared(), bundle());
        let topics = Topics::create(broker);
        let symbols = symbols(12);
        let records = ticks(&symbols, 0..60);
        let thirds: Vec<_> = records.chunks(records.len() / 3).collect();
        produce(broker, &topics.input, thirds[0]);
        let zombie = start(&sealed, &topics.settings(broker, delivery, "zombie"));
        zombie.await_metric("tickcast_forecasts_total", 1.0);
        produce(broker, &topics.input, thirds[1]);
        let before = zombie.metric("tickcast_kafka_rebalances_total");
        signal(zombie.id(), "STOP");
        let heir = start(&sealed, &topics.settings(broker, delivery, "heir"));
        await_committed(broker, &topics);
        signal(zombie.id(), "CONT");
        produce(broker, &topics.input, thirds[2]);
        // It notices and shares the partitions: by a new session where it had work under way that
        // is not its own any more, else by giving them back.
        eventually("the zombie's return", || {
            let anew = zombie.metric("tickcast_kafka_sessions_failed_total") >= 1.0;
            let given_back = zombie.metric("tickcast_kafka_rebalances_total") >= before + 2.0;
            (anew || given_back).then_some(())
        });
        zombie.await_metric("tickcast_kafka_partitions", 1.0);
        await_committed(broker, &topics);
        assert!(heir.stop().status.success());
        assert!(zombie.stop().status.success());
        let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, "read_committed"));
        assert_in_order(&forecasts);
        let (expected, expected_scores) = replay_and_score(&sealed, &records);
        assert!(forecasts == expected, "{delivery}: the bytes of the forecasts");
        let (scores, repeated_scores) = distinct(&broker.read(&topics.scores, "read_committed"));
        assert!(scores == expected_scores, "{delivery}: the bytes of the scores");
        if delivery == "exactly_once" {
            assert_eq!((repeats, repeated_scores), (0, 0));
        }
    }
}

#[test]
fn an_offset_that_retention_removed_is_handled_by_the_policy() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let symbols = symbols(3);
    let records = ticks(&symbols, 0..30);
    let (first, second) = records.split_at(records.len() / 2);
    for policy in ["earliest", "latest", "fail"] {
        let topics = Topics::create(broker);
        let settings = topics.settings(broker, "at_least_once", "one");
        let settings = format!("{settings}kafka.on_lost_offset = '{policy}'\n");
        produce(broker, &topics.input, first);
        let daemon = start(&sealed, &settings);
        await_committed(broker, &topics);
        assert!(daemon.stop().status.success());
        let before = broker.read(&topics.forecasts, "read_committed").len();
        // While nobody reads, more comes, and retention takes it with a day that nobody has read.
        produce(broker, &topics.input, second);
        for partition in 0..PARTITIONS {
            let (_, end) = broker.watermarks(&topics.input, partition);
            if end > 0 {
                broker.delete_before(&topics.input, partition, end);
            }
        }
        let read = committed(broker, &topics).len() as f64;
        if policy == "fail" {
            let mut daemon = start(&sealed, &settings);
            let ended = daemon.await_end();
            assert_eq!(ended.status.code(), Some(78), "{:?}", ended.log);
            continue;
        }
        let daemon = start(&sealed, &settings);
        daemon.await_metric(LOST, read);
        let fresh = ticks(&symbols, 40..52);
        produce(broker, &topics.input, &fresh);
        await_committed(broker, &topics);
        assert!(daemon.stop().status.success());
        let after = broker.read(&topics.forecasts, "read_committed");
        let (forecasts, _) = distinct(&after);
        let count: usize = forecasts.values().map(Vec::len).sum();
        let expected = replay(&sealed, &fresh);
        let expected_count: usize = expected.values().map(Vec::len).sum();
        assert_eq!(count, before + expected_count, "{policy}: the windows began cold");
        for (symbol, expected) in expected {
            assert!(forecasts[&symbol].ends_with(&expected), "{policy} {symbol}");
        }
        // A further start must not take what was stored before the loss for what came just before.
        let daemon = start(&sealed, &settings);
        daemon.await_metric("tickcast_kafka_symbols_restored_total", symbols.len() as f64);
        assert!(daemon.stop().status.success());
    }
}

#[test]
fn a_state_that_a_former_owner_wrote_late_costs_nothing() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let symbols = symbols(4);
    let records = ticks(&symbols, 0..24);
    let thirds: Vec<_> = records.chunks(records.len() / 3).collect();
    for is_compacted in [false, true] {
        let topics = Topics::create(broker);
        let settings = topics.settings(broker, "at_least_once", "one");
        let pass = |records: &[(String, String)]| {
            let daemon = start(&sealed, &settings);
            produce(broker, &topics.input, records);
            await_committed(broker, &topics);
            daemon.stop()
        };
        assert!(pass(thirds[0]).status.success());
        let changelog = topics.changelog();
        let older = broker.read(&changelog, "read_committed");
        assert!(pass(thirds[1]).status.success());
        let ends: Vec<_> =
            (0..PARTITIONS).map(|number| broker.watermarks(&changelog, number).1).collect();
        // As a member that was stopped for long writes what it had still to write.
        for symbol in &symbols {
            let state = older.iter().rev().find(|state| state.key.as_ref() == Some(symbol));
            broker.produce_again(&changelog, state.unwrap());
        }
        for (number, end) in (0..).zip(ends).filter(|(_, end)| is_compacted && *end > 0) {
            // Compaction keeps the last record of each key, however old the state is.
            broker.compact_before(&changelog, number, end);
        }
        let ended = pass(thirds[2]);
        assert!(ended.status.success());
        let is_said = |words: &str| ended.log.iter().any(|line| line.to_string().contains(words));
        let reads_again = is_said("the records since are read again");
        assert_eq!((is_said("passed over"), reads_again), (!is_compacted, is_compacted));
        let (forecasts, _) = distinct(&broker.read(&topics.forecasts, "read_committed"));
        assert!(forecasts == replay(&sealed, &records), "the bytes of the forecasts");
    }
}

#[test]
fn a_damaged_state_is_a_cold_start_of_its_symbol_alone() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let symbols = symbols(4);
    produce(broker, &topics.input, &ticks(&symbols, 0..10));
    let settings = topics.settings(broker, "at_least_once", "one") + "kafka.headers = false\n";
    let daemon = start(&sealed, &settings);
    await_committed(broker, &topics);
    assert!(daemon.stop().status.success());
    broker.produce(&topics.changelog(), [(&*symbols[2], &b"nonsense"[..])]);
    let daemon = start(&sealed, &settings);
    let fresh = ticks(&symbols, 10..12);
    produce(broker, &topics.input, &fresh);
    await_committed(broker, &topics);
    assert_eq!(daemon.metric("tickcast_kafka_symbols_cold_total"), 1.0);
    let ended = daemon.stop();
    let named = |line: &&serde_json::Value| line["message"] == "a stored state cannot be used";
    let lines: Vec<_> = ended.log.iter().filter(named).collect();
    assert_eq!(lines.len(), 1);
    assert!(lines[0]["problem"].as_str().unwrap().contains(&symbols[2]), "{lines:?}");
    let stored = broker.read(&topics.forecasts, "read_committed");
    assert!(stored.iter().all(|record| record.headers.is_empty()), "switched off");
    let (forecasts, _) = distinct(&stored);
    let whole = replay(&sealed, &ticks(&symbols, 0..12));
    for symbol in &symbols {
        let expected = whole[symbol].len() - if *symbol == symbols[2] { 2 } else { 0 };
        assert_eq!(forecasts[symbol].len(), expected, "{symbol}");
    }
}
