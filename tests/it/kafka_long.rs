//! What takes minutes against real brokers: kills at random, a broker that goes away, and a cluster
//! that loses one broker after the other under load.
//!
//! `make test-kafka` runs these and `make test` leaves them out. They take their length from
//! `TICKCAST_TEST_KILLS`, `TICKCAST_TEST_ROUNDS` and `TICKCAST_TEST_BROKER_STOP_SECONDS`.

use std::time::{Duration, Instant};

use crate::support::broker::{Broker, Extras};
use crate::support::cluster::Cluster;
use crate::support::process::{Daemon, eventually};
use crate::support::topics::{
    PARTITIONS, Topics, assert_in_order, await_committed, bundle, distinct, exchanged, patient,
    produce, replay, replay_and_score, start, states, symbols, ticks, with_default_times,
    without_session,
};

/// How many times SIGKILL ends a process, for each promise: `TICKCAST_TEST_KILLS`, or enough to
/// meet every stage of a commit.
fn kills() -> u32 {
    std::env::var("TICKCAST_TEST_KILLS").map_or(9, |text| text.parse().unwrap())
}

/// Where the brokers assign partitions.
const BY_BROKER: &str = "kafka.assignment = 'broker'\n";

/// The settings of an instance with a way of assigning partitions.
fn assigned(settings: &str, assignment: &str) -> String {
    match assignment {
        BY_BROKER => without_session(settings) + BY_BROKER,
        assignment => format!("{settings}{assignment}"),
    }
}

/// A broker of one's own that gives the members of its groups these sessions and heartbeats.
fn broker_with_sessions(session_ms: u32, heartbeat_ms: u32) -> Broker {
    let settings = format!(
        "group.consumer.session.timeout.ms={session_ms}\n\
         group.consumer.heartbeat.interval.ms={heartbeat_ms}\n"
    );
    Broker::start_with(Extras { settings, ..<_>::default() })
}

/// Kills one to three instances at random points while ticks come in, then checks I1 to I5. After
/// three kills an instance leaves in order.
fn kill_at_random(delivery: &str, kills: u32, further: &str) {
    let own = (further == BY_BROKER).then(|| broker_with_sessions(1500, 300));
    let (broker, sealed) = (own.as_ref().unwrap_or_else(|| Broker::shared()), bundle());
    let topics = Topics::create(broker);
    let symbols = symbols(20);
    let mut daemons = Vec::new();
    let mut produced = Vec::new();
    // A sequence that is as good as random and the same in every run.
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let mut day = 0;
    let rounds = kills + kills / 3;
    for round in 0..rounds {
        while daemons.len() < 1 + roll(3) as usize {
            let instance = format!("{round}-{}", daemons.len());
            let shards = 1 + roll(2);
            let settings = assigned(&topics.settings(broker, delivery, &instance), further);
            let settings = format!("{settings}engine.shards = {shards}\n");
            daemons.push(start(&sealed, &settings));
        }
        let mut moment = Duration::from_millis(200 + roll(1500));
        while !moment.is_zero() {
            let records = ticks(&symbols, day..day + 2);
            day += 2;
            produce(broker, &topics.input, &records);
            produced.extend(records);
            // The distance between two ticks, and by it the moment of the kill: a load, not a wait.
            let step = moment.min(Duration::from_millis(40));
            std::thread::sleep(step);
            moment -= step;
        }
        let victim = daemons.remove(roll(daemons.len() as u64) as usize);
        // One in four leaves in order: rebalances with work in flight.
        if round % 4 == 3 {
            let ended = { victim }.stop();
            assert!(ended.status.success(), "{:?}", ended.log);
        } else {
            drop(victim);
        }
    }
    drop(daemons);
    let settings = topics.settings(broker, delivery, "last");
    let last = start(&sealed, &assigned(&settings, further));
    // Offsets may be committed to the end already, and states that are stored less often may not:
    // what is committed behind these has made up for that.
    let records = ticks(&symbols, day..day + 2);
    produce(broker, &topics.input, &records);
    produced.extend(records);
    await_committed(broker, &topics);
    let ended = last.stop();
    assert!(ended.status.success(), "{:?}", ended.log);

    let (expected, expected_scores) = replay_and_score(&sealed, &produced);
    let isolation = "read_committed";
    let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, isolation));
    assert_in_order(&forecasts);
    for (symbol, expected) in &expected {
        assert_eq!(forecasts[symbol].len(), expected.len(), "{delivery} {symbol}");
    }
    assert!(forecasts == expected, "the bytes of the forecasts");
    let (scores, repeated_scores) = distinct(&broker.read(&topics.scores, isolation));
    assert!(scores == expected_scores, "the bytes of the scores");
    if delivery == "exactly_once" {
        assert_eq!((repeats, repeated_scores), (0, 0));
    }
    let compared = expected.values().map(Vec::len).sum::<usize>();
    println!(
        "{delivery} {further}: {kills} kills and {} orderly ends, {} ticks, {compared} forecasts \
         compared, {repeats} repeats and {repeated_scores} of scores",
        rounds - kills,
        produced.len()
    );
    // I3: the states are those of a run without a crash.
    let calm = topics.again();
    // It reads everything at once, so that its transactions are long on a busy machine.
    let daemon = start(&sealed, &patient(&calm.settings(broker, delivery, "calm")));
    await_committed(broker, &calm);
    assert!(daemon.stop().status.success());
    let (found, expected) = (states(broker, &topics), states(broker, &calm));
    for symbol in expected.keys().chain(found.keys()) {
        assert_eq!(found.get(symbol), expected.get(symbol), "{delivery}: the state of {symbol}");
    }
}

#[test]
fn kills_at_random_lose_nothing_and_repeat_the_same_bytes() {
    kill_at_random("at_least_once", kills(), "");
}

#[test]
fn kills_at_random_leave_each_forecast_exactly_once() {
    kill_at_random("exactly_once", kills(), "");
}

#[test]
fn kills_at_random_among_cooperative_members_lose_nothing() {
    kill_at_random("at_least_once", kills() / 3, "kafka.assignment = 'cooperative'\n");
    kill_at_random("exactly_once", kills() / 3, "kafka.assignment = 'cooperative'\n");
}

#[test]
fn kills_at_random_among_members_that_the_broker_assigns_lose_nothing() {
    kill_at_random("at_least_once", kills() / 3, BY_BROKER);
    kill_at_random("exactly_once", kills() / 3, BY_BROKER);
}

#[test]
fn kills_at_random_with_states_less_often_than_offsets_lose_nothing() {
    // Many times the commit interval, and a few times in the life of an instance.
    let less_often = "kafka.state_interval_ms = 700\n";
    kill_at_random("at_least_once", kills() / 3, less_often);
    kill_at_random("exactly_once", kills() / 3, less_often);
}

#[test]
fn kills_at_random_with_a_standby_lose_nothing() {
    let standby = "kafka.assignment = 'cooperative'\nkafka.standby_replicas = 2\n";
    kill_at_random("at_least_once", kills() / 3, standby);
    kill_at_random("exactly_once", kills() / 3, standby);
}

/// How often an instance joins and leaves: `TICKCAST_TEST_ROUNDS`, or a few times.
fn rounds() -> u32 {
    std::env::var("TICKCAST_TEST_ROUNDS").map_or(4, |text| text.parse().unwrap())
}

/// Members join and leave under load with the times that the daemon has by itself. Returns how many
/// sessions those lost that were asked.
fn join_and_leave(delivery: &str, assignment: &str) -> f64 {
    let own = (assignment == BY_BROKER).then(|| broker_with_sessions(45_000, 5_000));
    let (broker, sealed) = (own.as_ref().unwrap_or_else(|| Broker::shared()), bundle());
    let topics = Topics::create(broker);
    let symbols = symbols(12);
    let start = |instance: &str| {
        let settings = with_default_times(&topics.settings(broker, delivery, instance));
        start(&sealed, &format!("{settings}{assignment}"))
    };
    let (mut produced, mut day) = (Vec::new(), 0);
    // Goes on with the load until the first has so many partitions.
    let mut load_until = |first: &Daemon, partitions: i32| {
        eventually("the partitions", || {
            let records = ticks(&symbols, day..day + 1);
            day += 1;
            produce(broker, &topics.input, &records);
            produced.extend(records);
            let is_so = first.metric("tickcast_kafka_partitions") == f64::from(partitions);
            is_so.then_some(())
        });
    };
    let first = start("first");
    load_until(&first, PARTITIONS);
    let mut lost = 0.0;
    let rounds = rounds();
    for round in 0..rounds {
        let other = start(&format!("other-{round}"));
        load_until(&first, PARTITIONS / 2);
        load_until(&other, PARTITIONS / 2);
        lost += other.metric("tickcast_kafka_sessions_failed_total");
        let ended = other.stop();
        assert!(ended.status.success(), "{:?}", ended.log);
        load_until(&first, PARTITIONS);
    }
    await_committed(broker, &topics);
    lost += first.metric("tickcast_kafka_sessions_failed_total");
    let ended = first.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, "read_committed"));
    assert_in_order(&forecasts);
    assert!(forecasts == replay(&sealed, &produced), "the bytes of the forecasts");
    assert_eq!(repeats, 0, "nothing was done twice");
    println!("{delivery} {assignment}: {rounds} rounds, {} ticks, {lost} sessions", produced.len());
    lost
}

#[test]
fn cooperative_members_that_come_and_go_cost_no_session() {
    assert_eq!(join_and_leave("at_least_once", "kafka.assignment = 'cooperative'\n"), 0.0);
}

/// A transaction whose offsets meet the group's next generation is lost, and its session with it.
#[test]
fn cooperative_members_that_come_and_go_have_each_forecast_once() {
    join_and_leave("exactly_once", "kafka.assignment = 'cooperative'\n");
}

#[test]
fn members_that_the_broker_assigns_come_and_go_and_cost_no_session() {
    assert_eq!(join_and_leave("at_least_once", BY_BROKER), 0.0);
}

#[test]
fn members_that_the_broker_assigns_come_and_go_and_cost_no_session_exactly_once() {
    assert_eq!(join_and_leave("exactly_once", BY_BROKER), 0.0);
}

/// How long the broker is away at least: `TICKCAST_TEST_BROKER_STOP_SECONDS`, or as long as it
/// takes to be noticed.
fn broker_stop() -> Duration {
    let seconds = std::env::var("TICKCAST_TEST_BROKER_STOP_SECONDS");
    Duration::from_secs(seconds.map_or(0, |text| text.parse().unwrap()))
}

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_nothing() {
    let mut broker = Broker::start();
    let sealed = bundle();
    let topics = Topics::create(&broker);
    let symbols = symbols(6);
    let records = ticks(&symbols, 0..40);
    let (first, second) = records.split_at(records.len() / 2);
    produce(&broker, &topics.input, first);
    let daemon = start(&sealed, &topics.settings(&broker, "at_least_once", "one"));
    daemon.await_metric("tickcast_kafka_commits_total", 1.0);
    broker.stop();
    let away = Instant::now();
    eventually("the word that nothing is connected", || {
        let (status, body) = daemon.get("/readyz");
        (status == 503 && body.contains("source")).then_some(())
    });
    while away.elapsed() < broker_stop() {
        assert_eq!(daemon.get("/livez").0, 200, "alive without a broker");
        assert_eq!(daemon.get("/readyz").0, 503);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(daemon.get("/livez").0, 200, "alive without a broker");
    println!("the broker was away for {:.0} s", away.elapsed().as_secs_f64());
    broker.go();
    produce(&broker, &topics.input, second);
    await_committed(&broker, &topics);
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
    assert!(daemon.stop().status.success());
    let (forecasts, _) = distinct(&broker.read(&topics.forecasts, "read_committed"));
    assert_in_order(&forecasts);
    assert!(forecasts == replay(&sealed, &records), "the bytes of the forecasts");
}

/// Brokers are killed one after the other while ticks come in; of three, two always go on.
fn lose_each_broker(delivery: &str) {
    let mut brokers = Broker::start_three();
    let addresses: Vec<_> = brokers.iter().map(|broker| broker.address().to_owned()).collect();
    let cluster = Cluster::at(addresses.join(","));
    let sealed = bundle();
    let topics = Topics::replicated(&cluster, 3);
    let symbols = symbols(12);
    let settings = topics.settings(&cluster, delivery, "one") + "kafka.replication = 3\n";
    // A broker is missed after nine seconds, and a transaction outlives that, as with the default.
    let times = [
        ("'transaction.timeout.ms' = 5000", "'transaction.timeout.ms' = 15000"),
        ("'session.timeout.ms' = 1500", "'session.timeout.ms' = 6000"),
    ];
    let settings = exchanged(&settings, &times);
    let daemon = start(&sealed, &settings);
    let (mut produced, mut day) = (Vec::new(), 0);
    let mut load = |days: u32| {
        for _ in 0..days {
            let records = ticks(&symbols, day..day + 1);
            day += 1;
            produce(&cluster, &topics.input, &records);
            produced.extend(records);
        }
    };
    load(4);
    await_committed(&cluster, &topics);
    for broker in &mut brokers {
        // The moment lies within a load, and the load goes on without the broker.
        load(2);
        broker.kill();
        let away = Instant::now();
        load(4);
        await_committed(&cluster, &topics);
        println!(
            "{delivery}: all was committed {:.1} s after a kill",
            away.elapsed().as_secs_f64()
        );
        broker.go();
        load(2);
        await_committed(&cluster, &topics);
    }
    let sessions = daemon.metric("tickcast_kafka_sessions_failed_total");
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let (expected, expected_scores) = replay_and_score(&sealed, &produced);
    let (forecasts, repeats) = distinct(&cluster.read(&topics.forecasts, "read_committed"));
    assert_in_order(&forecasts);
    assert!(forecasts == expected, "{delivery}: the bytes of the forecasts");
    let (scores, repeated) = distinct(&cluster.read(&topics.scores, "read_committed"));
    assert!(scores == expected_scores, "{delivery}: the bytes of the scores");
    if delivery == "exactly_once" {
        assert_eq!((repeats, repeated), (0, 0));
    }
    println!(
        "{delivery}: {} ticks, 3 brokers killed, {sessions} sessions failed, {repeats} repeats and \
         {repeated} of scores",
        produced.len()
    );
}

#[test]
fn a_cluster_that_loses_each_broker_in_turn_loses_nothing() {
    lose_each_broker("at_least_once");
}

#[test]
fn a_cluster_that_loses_each_broker_in_turn_has_each_forecast_once() {
    lose_each_broker("exactly_once");
}
