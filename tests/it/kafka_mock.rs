//! Kafka's faults that no real broker makes on demand, against a cluster that librdkafka plays:
//! leaders that move, errors as answers, brokers that are slow or away. Each test asks for every
//! forecast of a replay, byte for byte and once after repeats are dropped.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaApiKey::{
    EndTxn, Fetch, FindCoordinator, Heartbeat, InitProducerId, OffsetCommit, Produce,
    TxnOffsetCommit,
};
use rdkafka::types::RDKafkaRespErr::{self as Answer, *};

use crate::support::bundle::SealedBundle;
use crate::support::mock::Mock;
use crate::support::process::{Daemon, Ended, eventually, signal};
use crate::support::topics::{
    BySymbol, PARTITIONS, Topics, assert_in_order, await_committed, bundle, committed, distinct,
    produce, replay, start, symbols, ticks,
};

const DELIVERIES: [&str; 2] = ["at_least_once", "exactly_once"];

/// Committed offsets that the topic no longer held.
const LOST: &str = "tickcast_kafka_offsets_lost_total{reason=\"gone\"}";

/// The instance of a test that has one.
const INSTANCE: &str = "one";

/// The session of a group whose member nothing may expel, however busy the machine is.
const SESSION_MS_LONG: u32 = 20_000;

/// Days of ticks that were produced for one or more sets of topics, in waves.
struct Waves<'t> {
    mock: &'t Mock,
    sealed: &'t SealedBundle,
    topics: Vec<&'t Topics>,
    symbols: Vec<String>,
    produced: Vec<(String, String)>,
    day: u32,
}

impl<'t> Waves<'t> {
    fn new(
        mock: &'t Mock,
        sealed: &'t SealedBundle,
        topics: impl Into<Vec<&'t Topics>>,
        symbol_count: u8,
    ) -> Self {
        let (topics, symbols) = (topics.into(), symbols(symbol_count));
        Self { mock, sealed, topics, symbols, produced: Vec::new(), day: 0 }
    }

    /// Produces so many days of ticks of every symbol.
    fn produce(&mut self, days: u32) {
        let records = ticks(&self.symbols, self.day..self.day + days);
        self.day += days;
        self.topics.iter().for_each(|topics| produce(self.mock, &topics.input, &records));
        self.produced.extend(records);
    }

    /// Waits until every forecast is there. A mock takes the offsets of a transaction and forgets
    /// them, so what is committed says nothing.
    fn await_forecasts(&self) {
        let expected = count(&replay(self.sealed, &self.produced));
        for topics in &self.topics {
            eventually("every forecast", || {
                let (forecasts, _) = distinct(&self.mock.read(&topics.forecasts, "read_committed"));
                (count(&forecasts) >= expected).then_some(())
            });
        }
    }

    /// Produces, and waits until every forecast is there.
    fn pass(&mut self, days: u32) {
        self.produce(days);
        self.await_forecasts();
    }

    /// Produces while these processes are held, and lets them go on with `answers` before them: the
    /// harness's own clients must not take what is meant for them.
    fn produce_behind(&mut self, held: &[Daemon], days: u32, answers: impl FnOnce(&Mock)) {
        held.iter().for_each(|daemon| signal(daemon.id(), "STOP"));
        self.produce(days);
        answers(self.mock);
        held.iter().for_each(|daemon| signal(daemon.id(), "CONT"));
    }

    /// Every forecast is there, in order, with the bytes of a replay. Returns how many repeats
    /// there were, over all topics.
    fn assert_whole(&self) -> usize {
        let expected = replay(self.sealed, &self.produced);
        let of = |topics: &&Topics| {
            let (forecasts, repeats) =
                distinct(&self.mock.read(&topics.forecasts, "read_committed"));
            assert_in_order(&forecasts);
            assert!(forecasts == expected, "the bytes of the forecasts");
            repeats
        };
        self.topics.iter().map(of).sum()
    }
}

fn count(forecasts: &BySymbol) -> usize {
    forecasts.values().map(Vec::len).sum()
}

fn stop(daemon: Daemon) -> Ended {
    let ended = daemon.stop();
    assert!(ended.status.success(), "{}: {:?}", ended.status, ended.log);
    ended
}

/// How long a refusal takes at most that shows only once every forecast is there.
const SIGN_MAX: Duration = Duration::from_secs(5);

fn sessions_failed(daemon: &Daemon) -> f64 {
    daemon.metric("tickcast_kafka_sessions_failed_total")
}

#[test]
fn leaders_and_coordinators_that_move_and_passing_errors_cost_latency_only() {
    let (mock, sealed) = (Mock::start(), bundle());
    let of = DELIVERIES.map(|delivery| (delivery, mock.topics()));
    let topics = [&of[0].1, &of[1].1];
    let mut waves = Waves::new(&mock, &sealed, topics, 5);
    let moved = |step: i32| {
        for topics in topics {
            mock.move_leaders(topics, step);
            mock.coordinate_group(&topics.group, 1 + step % 3);
            mock.coordinate_transactions(&topics.group, INSTANCE, 1 + (step + 1) % 3);
        }
    };
    moved(0);
    let begin = [
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
    ];
    mock.answer(InitProducerId, &begin);
    mock.answer(FindCoordinator, &begin[..1].repeat(2));
    let daemons = of.each_ref().map(|(delivery, topics)| {
        let settings = mock.settings_with_session(topics, delivery, INSTANCE, SESSION_MS_LONG);
        start(&sealed, &settings)
    });
    waves.pass(8);
    for step in 1..4 {
        moved(step);
        waves.pass(3);
    }
    let passing: &[(_, &[Answer])] = &[
        (
            Produce,
            &[
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                RD_KAFKA_RESP_ERR__TRANSPORT,
            ],
        ),
        (
            Fetch,
            &[
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR__TRANSPORT,
            ],
        ),
        (
            OffsetCommit,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR],
        ),
        (
            TxnOffsetCommit,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR],
        ),
        (
            EndTxn,
            &[
                RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                // The answer is lost, and with it whether the transaction was committed.
                RD_KAFKA_RESP_ERR__TRANSPORT,
            ],
        ),
        (Heartbeat, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR__TRANSPORT]),
    ];
    for (requests, errors) in passing {
        // Twice, once for each daemon, whoever comes first.
        waves.produce_behind(&daemons, 2, |mock| mock.answer(*requests, &errors.repeat(2)));
        // Not by reading yet, which would take answers away.
        for daemon in &daemons {
            daemon.await_metric("tickcast_ticks_total", waves.produced.len() as f64);
        }
        waves.await_forecasts();
    }
    waves.assert_whole();
    for daemon in daemons {
        assert!(daemon.metric("tickcast_kafka_produced_total") >= waves.produced.len() as f64);
        let failed = sessions_failed(&daemon);
        let ended = stop(daemon);
        let warnings: Vec<_> = ended.log.iter().filter(|line| line["level"] == "WARN").collect();
        assert_eq!(failed, 0.0, "nothing of it ends a session: {warnings:#?}");
    }
}

#[test]
fn errors_that_do_not_pass_begin_a_new_session_and_lose_nothing() {
    let (mock, sealed) = (Mock::start(), bundle());
    // Nothing is lost at the committed offset, where a new session finds its place.
    let out_of_range = (Fetch, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE);
    let unwritten = (Produce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    let uncommitted = (OffsetCommit, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    let fenced = (EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
    for (delivery, refusals) in [
        ("at_least_once", vec![unwritten, out_of_range, uncommitted]),
        // Not what comes in the middle of a transaction: a mock shows half of it to everybody.
        ("exactly_once", vec![out_of_range, fenced]),
    ] {
        let topics = mock.topics();
        let mut waves = Waves::new(&mock, &sealed, [&topics], 4);
        let daemon = [start(&sealed, &mock.settings(&topics, delivery, INSTANCE))];
        waves.pass(8);
        let unwritten = refusals.contains(&unwritten);
        for (requests, error) in refusals {
            let before = sessions_failed(&daemon[0]);
            // A late request of another client may take the answer, and nothing fails.
            while sessions_failed(&daemon[0]) == before {
                waves.produce_behind(&daemon, 3, |mock| mock.answer(requests, &[error]));
                waves.await_forecasts();
                let begun = Instant::now();
                eventually("a failure, or no sign of one", || {
                    let failed = sessions_failed(&daemon[0]) > before;
                    (failed || begun.elapsed() > SIGN_MAX).then_some(())
                });
            }
            waves.await_forecasts();
        }
        let [daemon] = daemon;
        let refused = daemon.metric("tickcast_kafka_produce_failed_total") >= 1.0;
        assert_eq!(refused, unwritten, "{delivery}");
        assert_eq!(daemon.metric(LOST), 0.0);
        waves.assert_whole();
        stop(daemon);
    }
}

#[test]
fn brokers_that_go_away_and_come_back_cost_nothing() {
    let (mock, sealed) = (Mock::start(), bundle());
    let of = DELIVERIES.map(|delivery| (delivery, mock.topics()));
    let mut waves = Waves::new(&mock, &sealed, [&of[0].1, &of[1].1], 4);
    let daemons = of
        .each_ref()
        .map(|(delivery, topics)| start(&sealed, &mock.settings(topics, delivery, INSTANCE)));
    waves.pass(8);
    // With work under way.
    waves.produce(20);
    mock.down(None);
    for daemon in &daemons {
        eventually("the word that nothing is connected", || {
            let (status, body) = daemon.get("/readyz");
            (status == 503 && body.contains("source: ")).then_some(())
        });
        assert_eq!(daemon.get("/livez").0, 200, "alive without a broker");
    }
    mock.up(None);
    waves.pass(5);
    // One of three: its partitions stand still until it is back.
    mock.down(Some(2));
    mock.up(Some(2));
    waves.pass(5);
    for daemon in daemons {
        eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
        stop(daemon);
    }
    waves.assert_whole();
}

#[test]
fn consumers_that_join_leave_and_vanish_hand_their_work_over() {
    let (mock, sealed) = (Mock::start(), bundle());
    let topics = mock.topics();
    let mut waves = Waves::new(&mock, &sealed, [&topics], 8);
    let settings = |instance: &str| mock.settings(&topics, "at_least_once", instance);
    let first = start(&sealed, &settings("first"));
    waves.pass(8);
    let second = start(&sealed, &settings("second"));
    waves.produce(20);
    let partitions = |daemon: &Daemon| daemon.metric("tickcast_kafka_partitions");
    // A member that was slow may first lose all of its partitions to the other.
    eventually("each partition with one of two", || {
        let [first, second] = [partitions(&first), partitions(&second)];
        (first >= 1.0 && second >= 1.0 && first + second == f64::from(PARTITIONS)).then_some(())
    });
    // Taken, given, taken; a session that is lost is not given.
    eventually("the hand-over", || {
        let changes = first.metric("tickcast_kafka_rebalances_total") + sessions_failed(&first);
        (changes >= 3.0).then_some(())
    });
    assert!(second.metric("tickcast_kafka_symbols_restored_total") >= 1.0);
    waves.pass(3);
    waves.produce(20);
    stop(first);
    waves.produce(20);
    second.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    let third = start(&sealed, &settings("third"));
    third.await_metric("tickcast_kafka_partitions", 1.0);
    waves.produce(20);
    // Without a word: its session has to time out.
    drop(second);
    third.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    waves.pass(3);
    await_committed(&mock, &topics);
    stop(third);
    waves.assert_whole();
}

#[test]
fn a_zombie_finds_its_work_taken_over() {
    let (mock, sealed) = (Mock::start(), bundle());
    let topics = mock.topics();
    let mut waves = Waves::new(&mock, &sealed, [&topics], 6);
    let settings = |instance: &str| mock.settings(&topics, "at_least_once", instance);
    let zombie = start(&sealed, &settings("zombie"));
    waves.pass(8);
    waves.produce(20);
    let before = zombie.metric("tickcast_kafka_rebalances_total");
    signal(zombie.id(), "STOP");
    let heir = start(&sealed, &settings("heir"));
    heir.await_metric("tickcast_kafka_partitions", f64::from(PARTITIONS));
    waves.pass(3);
    await_committed(&mock, &topics);
    let done = mock.committed(&topics.group, &topics.input);
    signal(zombie.id(), "CONT");
    eventually("the zombie's return", || {
        let anew = sessions_failed(&zombie) >= 1.0;
        let given_back = zombie.metric("tickcast_kafka_rebalances_total") >= before + 2.0;
        (anew || given_back).then_some(())
    });
    zombie.await_metric("tickcast_kafka_partitions", 1.0);
    for (partition, offset) in mock.committed(&topics.group, &topics.input) {
        assert!(offset >= done[&partition], "a stale commit of {partition}");
    }
    waves.pass(3);
    stop(heir);
    stop(zombie);
    waves.assert_whole();
}

#[test]
fn records_that_the_log_no_longer_holds_leave_cold_windows() {
    let (mock, sealed) = (Mock::start(), bundle());
    let topics = mock.topics();
    let mut waves = Waves::new(&mock, &sealed, [&topics], 4);
    let settings = mock.settings(&topics, "at_least_once", INSTANCE);
    let daemon = start(&sealed, &settings);
    waves.pass(8);
    stop(daemon);
    let before = mock.read(&topics.forecasts, "read_committed").len();
    // A mock keeps 5 MiB of a partition. What nobody has read goes with the rest.
    waves.produce(8);
    let filler = vec![b'x'; 500_000];
    let read = committed(&mock, &topics);
    for symbol in &waves.symbols {
        mock.produce(&topics.input, vec![(&**symbol, &filler[..]); 12]);
    }
    for (partition, at) in &read {
        assert!(mock.watermarks(&topics.input, *partition).0 > *at, "the log has moved on");
    }
    let daemon = start(&sealed, &settings);
    daemon.await_metric(LOST, read.len() as f64);
    let fresh = ticks(&waves.symbols, 40..52);
    produce(&mock, &topics.input, &fresh);
    await_committed(&mock, &topics);
    stop(daemon);
    let stored = mock.read(&topics.forecasts, "read_committed");
    let (forecasts, repeats) = distinct(&stored);
    let expected = replay(&sealed, &fresh);
    assert_eq!(repeats, 0);
    for (symbol, expected) in &expected {
        assert!(forecasts[symbol].ends_with(expected), "{symbol}");
    }
    let lost = "cold windows forecast nothing of what is lost";
    assert_eq!(stored.len(), before + count(&expected), "{lost}");
}

#[test]
fn a_producer_that_is_full_holds_the_intake_up() {
    let (mock, sealed) = (Mock::start(), bundle());
    let topics = mock.topics();
    let mut waves = Waves::new(&mock, &sealed, [&topics], 5);
    let settings = format!(
        "{}kafka.options.'queue.buffering.max.messages' = 10\nsource.queue_records_max = 30\n",
        mock.settings(&topics, "at_least_once", INSTANCE)
    );
    let daemon = start(&sealed, &settings);
    waves.pass(8);
    assert_eq!(daemon.metric("tickcast_kafka_pauses_total"), 0.0);
    mock.delay(None, Duration::from_millis(600));
    waves.produce(60);
    let waiting = |daemon: &Daemon| daemon.metric("tickcast_records_waiting");
    eventually("a pause", || {
        assert!(waiting(&daemon) <= 30.0, "{}", waiting(&daemon));
        (daemon.metric("tickcast_kafka_pauses_total") >= 1.0).then_some(())
    });
    assert_eq!(sessions_failed(&daemon), 0.0, "it waits and is not expelled");
    mock.delay(None, Duration::ZERO);
    await_committed(&mock, &topics);
    assert!(daemon.metric("tickcast_kafka_backpressure_seconds_total") > 0.5);
    assert_eq!(daemon.metric("tickcast_kafka_produce_failed_total"), 0.0);
    stop(daemon);
    assert_eq!(waves.assert_whole(), 0, "nothing was done twice");
}

#[test]
fn a_commit_of_a_transaction_that_comes_late_makes_the_producer_anew() {
    let (mock, sealed) = (Mock::start(), bundle());
    let topics = mock.topics();
    let mut waves = Waves::new(&mock, &sealed, [&topics], 5);
    mock.lead_all(&topics, 1);
    mock.coordinate_group(&topics.group, 2);
    mock.coordinate_transactions(&topics.group, INSTANCE, 3);
    let settings = format!(
        "{}kafka.transaction_ms_max = 1000\n",
        mock.settings(&topics, "exactly_once", INSTANCE)
    );
    let daemon = start(&sealed, &settings);
    waves.pass(8);
    assert_eq!(sessions_failed(&daemon), 0.0);
    mock.delay(Some(3), Duration::from_secs(3));
    waves.produce(5);
    daemon.await_metric("tickcast_kafka_sessions_failed_total", 1.0);
    let (status, body) = daemon.get("/readyz");
    assert_eq!(status, 503, "{body}");
    mock.delay(Some(3), Duration::ZERO);
    waves.pass(5);
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
    stop(daemon);
    // A mock shows what was aborted as well, so only the path is shown here: whether the work of
    // the late commit counts is asked of a real broker.
    waves.assert_whole();
}
