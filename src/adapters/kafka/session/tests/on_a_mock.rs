//! Tests of a whole session, with its own clients, on a cluster that librdkafka plays. The shard is
//! played: it answers commands as the real one does, and waits for the end of a transaction.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::Registry;
use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{PATIENCE, record};
use crate::adapters::kafka::changelog::StateCopy;
use crate::adapters::kafka::client::{self, Rebalance};
use crate::adapters::kafka::describe::TopicId;
use crate::adapters::kafka::pace::Pace;
use crate::adapters::kafka::partitions::PartitionTable;
use crate::adapters::kafka::publisher::{POINT_HEADER, StatePlace};
use crate::adapters::kafka::restore::{self, Within};
use crate::adapters::kafka::session::{Held, Session};
use crate::adapters::kafka::standby::Standby;
use crate::adapters::kafka::topics::Followable;
use crate::adapters::kafka::{KafkaMetrics, KafkaSource, SessionError};
use crate::adapters::kafka_config::{Delivery, KafkaConfig, LostOffset, StartAt, TopicHistory};
use crate::core::domain::DurationNanos;
use crate::core::history::HistoryNeed;
use crate::engine::pipeline::Restored;
use crate::intake::{Arrival, IntakeReceiver};
use crate::ops::clock::{Stopwatch, pause};
use crate::ops::readiness::Readiness;
use crate::ops::supervise::Pulse;
use crate::shard::command::Command;
use crate::shard::test_support::queue;

const INPUT: &str = "ticks";
const CHANGELOG: &str = "group-ticks";
const PARTITIONS: i32 = 2;

/// A state that the played shard has no use for.
const UNREADABLE: &str = "unreadable";

/// The symbol whose state is in each partition of the changelog.
const SYMBOL: &str = "A";

fn config(brokers: String) -> KafkaConfig {
    KafkaConfig {
        brokers,
        group: "group".to_owned(),
        topics: vec![INPUT.to_owned()],
        start: StartAt::Earliest,
        lost_offset: LostOffset::Fail,
        history: TopicHistory::Off,
        history_records_max: 1_000_000,
        forecasts: "forecasts".to_owned(),
        shadows: None,
        scores: None,
        dead_letters: None,
        changelog: "{group}-{topic}".to_owned(),
        replication: 1,
        delivery: Delivery::ExactlyOnce,
        commit_interval: PATIENCE,
        state_interval: PATIENCE,
        state_records_max: 1_000_000,
        instance: "one".to_owned(),
        static_membership: false,
        cooperative: true,
        broker_assigns: false,
        standby_replicas: 0,
        standby_bytes_max: 1 << 30,
        // Long for a busy machine, and far below the time after which a commit is given up.
        restore_timeout: Duration::from_secs(20),
        transaction_timeout: Duration::from_secs(20),
        stall_timeout: PATIENCE,
        backoff_max: PATIENCE,
        headers: false,
        options: BTreeMap::new(),
    }
}

type Mock = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

/// A cluster with the topics, in which nothing is.
fn bare_cluster() -> Mock {
    let mock = MockCluster::new(1).unwrap();
    for topic in [INPUT, CHANGELOG, "forecasts"] {
        mock.create_topic(topic, PARTITIONS, 1).unwrap();
    }
    mock
}

fn producer(mock: &Mock) -> BaseProducer {
    ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap()
}

/// A cluster with the topics, and a stored state in each partition of the changelog.
fn cluster() -> Mock {
    let mock = bare_cluster();
    let producer = producer(&mock);
    for partition in 0..PARTITIONS {
        let state = BaseRecord::to(CHANGELOG).partition(partition).key(SYMBOL).payload("state");
        producer.send(state).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    mock
}

/// Plays a shard until its queue is closed, which needs so long for a record. Says what came, by
/// name.
fn play(
    shard: IntakeReceiver<Command>,
    of_record: Duration,
    came: Sender<&'static str>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        let mut sinks = Vec::new();
        while shard.drain(&mut batch, 1) {
            let Some(Arrival::Command(command)) = batch.pop() else {
                pause(of_record);
                came.send("record").unwrap();
                continue;
            };
            let name = match command {
                Command::Connect(sink) => {
                    sinks.push(sink);
                    "connect"
                }
                Command::Commit(line) => {
                    line.answer.send(Vec::new()).unwrap();
                    came.send("commit").unwrap();
                    if let Some(resume) = line.resume {
                        // The end of the transaction is the end of the channel.
                        assert!(resume.recv().is_err());
                    }
                    "resumed"
                }
                Command::Restore { stored, answer, .. } => {
                    let usable = stored.iter().filter(|(_, state)| *state != UNREADABLE);
                    let symbol_count = usable.count();
                    let restored = Restored { symbol_count, translated_count: 0, cold: vec![] };
                    // The session may have given up.
                    drop(answer.send(Ok(restored)));
                    if stored.is_empty() { "caught up" } else { "restore" }
                }
                Command::Own { .. } => "own",
                Command::Evict { answer, .. } => {
                    answer.send(()).unwrap();
                    "evict"
                }
                Command::EndHistory { answer: None } => "over",
                _ => panic!("nothing else is asked"),
            };
            came.send(name).unwrap();
        }
    })
}

fn source(config: KafkaConfig, runtime: &Runtime) -> (KafkaSource, IntakeReceiver<Command>) {
    let (shard, receiver) = queue(10_000);
    let source = KafkaSource {
        config,
        shards: vec![shard],
        ready: Readiness::new().condition("source"),
        metrics: KafkaMetrics::register(&Registry::new()).unwrap(),
        need: HistoryNeed { steps: 7, span: DurationNanos::ZERO, rows: None },
        pulse: Pulse::new(),
        seed: 1,
        runtime: runtime.handle().clone(),
    };
    (source, receiver)
}

/// What the group assigns first, one list for each partition.
fn await_assignment(session: &mut Session<'_>) -> Vec<TopicPartitionList> {
    let begun = Stopwatch::start();
    loop {
        session.poll().unwrap();
        assert!(begun.elapsed() < PATIENCE, "the group assigned nothing");
        let Some(rebalance) = session.consumer.context().take().into_iter().next() else {
            continue;
        };
        let Rebalance::Assign(list) = rebalance else { panic!("nothing is read yet") };
        assert_eq!(list.count(), PARTITIONS as usize);
        return list
            .elements()
            .iter()
            .map(|element| {
                let mut alone = TopicPartitionList::new();
                alone.add_partition(element.topic(), element.partition());
                alone
            })
            .collect();
    }
}

/// Takes the partitions of a list over, to the end.
fn take(session: &mut Session<'_>, list: &TopicPartitionList) -> Result<(), SessionError> {
    session.assign(list.clone())?;
    while !session.go_on_assigning()? {
        pause(Duration::from_millis(1));
    }
    Ok(())
}

fn taken(came: &Receiver<&'static str>) -> Vec<&'static str> {
    came.try_iter().collect()
}

#[test]
fn a_cooperative_member_that_gets_partitions_while_it_commits_finishes_the_transaction_first() {
    let mock = cluster();
    let runtime = Runtime::new().unwrap();
    let (source, receiver) = source(config(mock.bootstrap_servers()), &runtime);
    let (said, came) = channel();
    let shard = play(receiver, Duration::ZERO, said);
    let (_stop, stopped) = watch::channel(false);
    let mut session = Session::open(&source, &stopped, None).unwrap();
    let lists = await_assignment(&mut session);
    let protocol = session.consumer.rebalance_protocol();
    assert!(matches!(protocol, RebalanceProtocol::Cooperative));

    take(&mut session, &lists[0]).unwrap();
    session.begin_commit().unwrap();
    // From here on the shard answers nothing before the transaction is over.
    for expected in ["connect", "restore", "own", "commit"] {
        assert_eq!(came.recv_timeout(PATIENCE), Ok(expected));
    }
    assert!(session.commit.is_some(), "a commit is under way");

    let taken_over = take(&mut session, &lists[1]);
    let (is_over, has_flowed) = (session.commit.is_none(), session.has_flowed());
    let left: Vec<_> = session.assigned.uncommitted().iter().map(|one| one.id.0).collect();
    // Before anything is judged: a consumer that is not closed in order never ends.
    session.close();
    drop(source);
    shard.join().unwrap();
    assert!(taken_over.is_ok(), "{taken_over:?}");
    assert!(is_over && has_flowed, "the transaction was committed, and not given up");
    // The second partition alone is left to commit: the one under way covered the first.
    assert_eq!(left, [lists[1].elements()[0].partition() as u32]);
    assert_eq!(taken(&came), ["resumed", "restore", "own"]);
}

/// Two seconds are what the broker would allow. The whole backlog takes the shard three.
#[test]
fn a_transaction_takes_no_more_records_than_the_shards_get_through_in_time() {
    const RECORDS: usize = 1000;
    let of_record = Duration::from_millis(3);
    let mock = cluster();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
    for _ in 0..RECORDS {
        producer.send(BaseRecord::<(), _>::to(INPUT).partition(0).payload("tick")).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let runtime = Runtime::new().unwrap();
    let config = KafkaConfig {
        commit_interval: Duration::from_millis(50),
        ..config(mock.bootstrap_servers())
    };
    let mut pace = Pace::new(Duration::from_secs(2), config.commit_interval);
    let (source, receiver) = source(config, &runtime);
    let (said, came) = channel();
    let shard = play(receiver, of_record, said);
    let (stop, stopped) = watch::channel(false);
    // Stops the session once the shard has everything, and counts the records of each transaction.
    let counter = std::thread::spawn(move || {
        let mut transactions = vec![0];
        for what in came {
            match what {
                "record" => *transactions.last_mut().unwrap() += 1,
                "commit" => transactions.push(0),
                _ => {}
            }
            if transactions.iter().sum::<usize>() == RECORDS {
                let _ = stop.send(true);
            }
        }
        transactions
    });
    let mut session = Session::open(&source, &stopped, Some(&mut pace)).unwrap();
    let ended = session.run();
    let (left, shown) = (session.assigned.uncommitted().len(), source.metrics.records_max());
    session.close();
    drop(source);
    shard.join().unwrap();
    let transactions = counter.join().unwrap();
    assert!(ended.is_ok(), "{transactions:?}");
    assert_eq!((transactions.iter().sum::<usize>(), left), (RECORDS, 0), "all are committed");
    // Less than half of what the broker would abort.
    let most = *transactions.iter().max().unwrap();
    assert!(most <= 300, "{transactions:?}");
    assert_eq!(shown, pace.bound());
    let expected = of_record * u32::try_from(pace.bound()).unwrap();
    assert!(expected < Duration::from_millis(250), "{expected:?}");
}

#[test]
fn a_cooperative_member_keeps_the_record_that_it_holds_of_a_partition_that_stays() {
    let mock = cluster();
    let runtime = Runtime::new().unwrap();
    let (source, receiver) = source(config(mock.bootstrap_servers()), &runtime);
    let (said, came) = channel();
    let shard = play(receiver, Duration::ZERO, said);
    let (_stop, stopped) = watch::channel(false);
    let mut session = Session::open(&source, &stopped, None).unwrap();
    let lists = await_assignment(&mut session);
    lists.iter().for_each(|list| take(&mut session, list).unwrap());
    let partition = |list: &TopicPartitionList| list.elements()[0].partition() as u32;
    let held = record(partition(&lists[0]), 0);
    session.held = Some(Held::new(held.clone()));
    let other = session.revoke(&lists[1]);
    let kept = session.held.as_ref().map(|held| held.record.clone());
    let own = session.revoke(&lists[0]);
    let is_kept_still = session.held.is_some();
    session.close();
    drop(source);
    shard.join().unwrap();
    assert!(other.is_ok() && own.is_ok(), "{other:?} {own:?}");
    assert_eq!(kept, Some(held), "nothing else reads it again");
    assert!(!is_kept_still, "whoever gets the partition reads it");
    assert_eq!(taken(&came).iter().filter(|what| **what == "evict").count(), 2);
}

#[test]
fn a_partition_that_was_given_away_while_it_was_paused_is_read_when_it_comes_back() {
    let mock = cluster();
    let producer = producer(&mock);
    let runtime = Runtime::new().unwrap();
    let (source, receiver) = source(config(mock.bootstrap_servers()), &runtime);
    let (said, came) = channel();
    let shard = play(receiver, Duration::ZERO, said);
    let (_stop, stopped) = watch::channel(false);
    let mut session = Session::open(&source, &stopped, None).unwrap();
    let lists = await_assignment(&mut session);
    lists.iter().for_each(|list| take(&mut session, list).unwrap());
    let partition = |list: &TopicPartitionList| list.elements()[0].partition();
    session.held = Some(Held::new(record(partition(&lists[0]) as u32, 0)));
    session.pause_all().unwrap();
    session.revoke(&lists[1]).unwrap();
    // The held record gets its place, and what is still assigned goes on.
    session.retry_held().unwrap();
    take(&mut session, &lists[1]).unwrap();
    assert_eq!(taken(&came).iter().filter(|what| **what == "record").count(), 1);
    let tick = BaseRecord::<(), _>::to(INPUT).partition(partition(&lists[1])).payload("tick");
    producer.send(tick).unwrap();
    producer.flush(PATIENCE).unwrap();
    let begun = Stopwatch::start();
    let is_read = loop {
        session.poll().unwrap();
        match came.try_recv() {
            Ok("record") => break true,
            _ if begun.elapsed() > Duration::from_secs(10) => break false,
            _ => {}
        }
    };
    session.close();
    drop(source);
    shard.join().unwrap();
    assert!(is_read, "the partition stays silent");
}

/// What the shard is asked while partition 0 is taken over, whose topic holds so many records and
/// whose changelog holds this; then what is left to commit, and the stored states. The group has
/// committed nothing and begins at the end.
fn take_over_warm(
    records: usize,
    state: Option<(&str, Option<&str>)>,
    (change, of_record): (impl Fn(&mut KafkaConfig), Duration),
    is_stopped: bool,
) -> (Vec<&'static str>, Vec<(u32, i64)>, Vec<String>) {
    let mock = bare_cluster();
    let producer = producer(&mock);
    for _ in 0..records {
        producer.send(BaseRecord::<(), _>::to(INPUT).partition(0).payload("tick")).unwrap();
    }
    if let Some((state, point)) = state {
        let value = point.map(str::as_bytes);
        let headers = OwnedHeaders::new().insert(Header { key: POINT_HEADER, value });
        let record = BaseRecord::to(CHANGELOG).partition(0).key(SYMBOL).payload(state);
        producer.send(record.headers(headers)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let runtime = Runtime::new().unwrap();
    let mut config = KafkaConfig {
        delivery: Delivery::AtLeastOnce,
        start: StartAt::Latest,
        history: TopicHistory::Auto,
        ..config(mock.bootstrap_servers())
    };
    change(&mut config);
    let limit = config.restore_timeout.max(PATIENCE);
    let (source, receiver) = source(config, &runtime);
    let (said, came) = channel();
    let shard = play(receiver, of_record, said);
    let (stop, stopped) = watch::channel(false);
    let mut session = Session::open(&source, &stopped, None).unwrap();
    let lists = await_assignment(&mut session);
    let first = lists.iter().find(|list| list.elements()[0].partition() == 0).unwrap();
    stop.send(is_stopped).unwrap();
    let assigned = take(&mut session, first);
    let reads: Vec<_> = session.assigned.iter().map(|one| (one.id.0, one.next)).collect();
    let left = session.assigned.uncommitted().len();
    let place = StatePlace { topic: CHANGELOG.to_owned(), number: 0 };
    let within = Within { limit, is_given_up: &AtomicBool::new(false) };
    let states =
        restore::read_states(&session.reader, &session.observer, &[place], Vec::new(), within);
    session.close();
    drop(source);
    shard.join().unwrap();
    assert!(assigned.is_ok(), "{assigned:?}");
    assert_eq!(left, 0, "all is committed before anything else is read");
    let states = states.unwrap().remove(0).stored.into_iter().map(|state| state.key).collect();
    (taken(&came), reads, states)
}

/// As [`take_over_warm`], without a change and without an end in between.
fn warmed(
    records: usize,
    state: Option<(&str, Option<&str>)>,
) -> (Vec<&'static str>, Vec<(u32, i64)>, Vec<String>) {
    take_over_warm(records, state, (|_: &mut KafkaConfig| {}, Duration::ZERO), false)
}

/// What a shard is asked, with the records of history in between.
fn asked(records: usize, rest: &[&'static str]) -> Vec<&'static str> {
    let (connect, records) = (["connect"], vec!["record"; records]);
    [&connect[..], &records, rest].concat()
}

/// What comes behind history that is whole.
const COMMITTED: [&str; 5] = ["caught up", "over", "own", "commit", "resumed"];

#[test]
fn history_is_with_the_shard_and_committed_before_anything_live_is_read() {
    let (asked_of_it, reads, _) = warmed(10, None);
    assert_eq!(asked_of_it, asked(10, &COMMITTED));
    assert_eq!(reads, [(0, 10)]);
    // The limit leaves the oldest out.
    let at_most_4 = |config: &mut KafkaConfig| config.history_records_max = 4;
    let (asked_of_it, reads, _) = take_over_warm(10, None, (at_most_4, Duration::ZERO), false);
    assert_eq!((asked_of_it, reads), (asked(4, &COMMITTED), vec![(0, 10)]));
}

#[test]
fn states_that_nobody_has_committed_are_made_again_from_the_topic() {
    let (asked_of_it, reads, states) = warmed(10, Some(("state", Some("tickcast next=7"))));
    assert_eq!((asked_of_it, reads), (asked(10, &COMMITTED), vec![(0, 10)]));
    assert_eq!(states, [""; 0], "those of the beginning before are ended");
}

#[test]
fn a_state_that_cannot_be_used_is_no_state() {
    let (asked_of_it, reads, states) = warmed(3, Some((UNREADABLE, None)));
    let restored = [&["connect", "restore"][..], &["record"; 3], &COMMITTED].concat();
    assert_eq!((asked_of_it, reads), (restored, vec![(0, 3)]));
    assert_eq!(states, [SYMBOL], "until the symbol moves");
}

/// More than three seconds of work for the shard, and three for all of it.
#[test]
fn history_that_takes_too_long_leaves_the_shard_without_any() {
    let short = |config: &mut KafkaConfig| config.restore_timeout = Duration::from_secs(3);
    let of_record = Duration::from_millis(250);
    let (asked_of_it, reads, states) =
        take_over_warm(13, Some((UNREADABLE, None)), (short, of_record), false);
    let rest = ["caught up", "evict", "over", "own", "commit", "resumed"];
    let expected = [&["connect", "restore"][..], &["record"; 13], &rest].concat();
    assert_eq!((asked_of_it, reads), (expected, vec![(0, 13)]));
    assert_eq!(states, [""; 0], "so that no later start reads the history after all");
}

#[test]
fn a_stop_ends_history_and_keeps_nothing_of_it() {
    let nothing = |_: &mut KafkaConfig| {};
    let (asked_of_it, reads, _) = take_over_warm(10, None, (nothing, Duration::ZERO), true);
    assert_eq!((asked_of_it, reads), (vec!["connect", "evict", "over"], vec![]));
}

/// Whatever their order, their topics, and whether anything is in them.
#[test]
fn the_states_of_all_partitions_are_read_together() {
    const OTHER: &str = "other-changelog";
    let mock = cluster();
    mock.create_topic(OTHER, PARTITIONS, 1).unwrap();
    let producer = producer(&mock);
    for (partition, key, state) in [(1, "B", "old"), (1, "C", "gone"), (1, "B", "new")] {
        let record = BaseRecord::to(OTHER).partition(partition).key(key).payload(state);
        producer.send(record).unwrap();
    }
    producer.send(BaseRecord::<_, [u8]>::to(OTHER).partition(1).key("C")).unwrap();
    producer.flush(PATIENCE).unwrap();
    let config = config(mock.bootstrap_servers());
    let [reader, observer] =
        [client::restoring_consumer(&config).unwrap(), client::observer(&config).unwrap()];
    let place = |topic: &str, number| StatePlace { topic: topic.to_owned(), number };
    let places = [place(OTHER, 1), place(CHANGELOG, 1), place(OTHER, 0), place(CHANGELOG, 0)];
    let read = |is_given_up| {
        let within = Within { limit: PATIENCE, is_given_up: &AtomicBool::new(is_given_up) };
        restore::read_states(&reader, &observer, &places, Vec::new(), within)
    };
    let states = read(false).unwrap();
    let found: Vec<_> = states
        .iter()
        .map(|of| {
            let stored = of.stored.iter().map(|state| (&*state.key, &*state.bytes));
            (of.end, stored.collect::<Vec<_>>())
        })
        .collect();
    let one = |state: &'static [u8]| vec![(SYMBOL, state)];
    let expected =
        [(4, vec![("B", &b"new"[..])]), (1, one(b"state")), (0, vec![]), (1, one(b"state"))];
    assert_eq!(found, expected);
    assert!(read(true).is_err(), "nobody waits for it");
    // The records right before positions, in the same way.
    let table = PartitionTable::new([(OTHER, PARTITIONS), (CHANGELOG, PARTITIONS)]);
    let name = |topic, number| table.name(table.id(topic, number).unwrap()).unwrap();
    let records = [(name(OTHER, 1), 3), (name(CHANGELOG, 0), 0), (name(OTHER, 0), 0)];
    let times = restore::times_of_records(&reader, &records).unwrap();
    assert_eq!(times.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    // A read before may have left a partition paused.
    restore::read_from(&reader, OTHER, 1, Offset::Beginning).unwrap();
    let mut paused = TopicPartitionList::new();
    paused.add_partition(OTHER, 1);
    reader.pause(&paused).unwrap();
    let times = restore::times_of_records(&reader, &[(name(OTHER, 1), 3)]).unwrap();
    assert!(times[0].is_some(), "the partition stays silent");
}

/// What is stored in a partition, by key.
fn stored(states: &restore::States) -> BTreeMap<&str, &[u8]> {
    states.stored.iter().map(|state| (&*state.key, &*state.bytes)).collect()
}

#[test]
fn a_copy_holds_what_a_read_gives_and_the_rest_is_read() {
    let mock = bare_cluster();
    let producer = producer(&mock);
    let send = |key: &str, state: Option<&str>| {
        let record = BaseRecord::<str, str>::to(CHANGELOG).partition(1).key(key);
        let record = match state {
            Some(state) => record.payload(state),
            None => record,
        };
        producer.send(record).unwrap();
        producer.flush(PATIENCE).unwrap();
    };
    for (key, state) in [("A", Some("1")), ("B", Some("1")), ("A", Some("2")), ("B", None)] {
        send(key, state);
    }
    let config = KafkaConfig { standby_replicas: 1, ..config(mock.bootstrap_servers()) };
    let metrics = KafkaMetrics::register(&Registry::new()).unwrap();
    let standby = Standby::start(&config, &metrics).unwrap();
    let of = |number| Some(Followable { topic: CHANGELOG.to_owned(), number, id: TopicId::of(1) });
    standby.follow([of(0), of(1)].into_iter().flatten().collect());
    let begun = Stopwatch::start();
    while metrics.standby_records.get() < 4 {
        assert!(begun.elapsed() < PATIENCE, "the changelog is followed");
        pause(Duration::from_millis(1));
    }
    let another = Some(Followable { id: TopicId::of(2), ..of(0).unwrap() });
    let mut copies = standby.give(vec![of(1), another, None]);
    assert!(copies[1].is_none(), "it is of another log");
    assert!(copies[2].is_none());
    let copy = copies.remove(0).unwrap();
    assert_eq!((copy.next, copy.changelog.state_count()), (4, 1));
    assert!(standby.give(vec![of(1)])[0].is_none(), "it is followed no longer");
    send("C", Some("1"));
    let [reader, observer] =
        [client::restoring_consumer(&config).unwrap(), client::observer(&config).unwrap()];
    let read = |copy| {
        let place = StatePlace { topic: CHANGELOG.to_owned(), number: 1 };
        let within = Within { limit: PATIENCE, is_given_up: &AtomicBool::new(false) };
        restore::read_states(&reader, &observer, &[place], vec![copy], within).unwrap().remove(0)
    };
    let (with, without) = (read(Some(copy)), read(None));
    assert_eq!((with.read, with.is_from_copy, with.end), (1, true, 5));
    assert_eq!((without.read, without.is_from_copy, without.end), (5, false, 5));
    assert_eq!(stored(&with), BTreeMap::from([("A", &b"2"[..]), ("C", &b"1"[..])]));
    assert_eq!(stored(&with), stored(&without));
    // What reaches beyond the end is of a log that is gone.
    let mut beyond = StateCopy::default();
    beyond.up_to(5).take(5, "Z", Some("9".into()), None);
    let beyond = read(Some(beyond));
    assert_eq!((beyond.read, beyond.is_from_copy), (5, false));
    assert_eq!(stored(&beyond), stored(&without));
}
