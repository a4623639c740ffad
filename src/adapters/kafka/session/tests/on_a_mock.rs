//! Tests of a whole session, with its own clients, on a cluster that librdkafka plays. The shard is
//! played: it answers commands as the real one does, and waits for the end of a transaction.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::Registry;
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::PATIENCE;
use crate::adapters::kafka::client::Rebalance;
use crate::adapters::kafka::session::Session;
use crate::adapters::kafka::{KafkaMetrics, KafkaSource};
use crate::adapters::kafka_config::{Delivery, KafkaConfig, LostOffset, StartAt};
use crate::engine::pipeline::Restored;
use crate::intake::{Arrival, IntakeReceiver};
use crate::ops::clock::Stopwatch;
use crate::ops::readiness::Readiness;
use crate::ops::supervise::Pulse;
use crate::shard::command::Command;
use crate::shard::test_support::queue;

const INPUT: &str = "ticks";
const CHANGELOG: &str = "group-ticks";
const PARTITIONS: i32 = 2;

/// The symbol whose state is in each partition of the changelog.
const SYMBOL: &str = "A";

fn config(brokers: String) -> KafkaConfig {
    KafkaConfig {
        brokers,
        group: "group".to_owned(),
        topics: vec![INPUT.to_owned()],
        start: StartAt::Earliest,
        lost_offset: LostOffset::Fail,
        forecasts: "forecasts".to_owned(),
        shadows: None,
        scores: None,
        dead_letters: None,
        changelog: "{group}-{topic}".to_owned(),
        replication: 1,
        delivery: Delivery::ExactlyOnce,
        commit_interval: PATIENCE,
        instance: "one".to_owned(),
        static_membership: false,
        cooperative: true,
        // Long for a busy machine, and far below the time after which a commit is given up.
        restore_timeout: Duration::from_secs(20),
        transaction_timeout: Duration::from_secs(20),
        stall_timeout: PATIENCE,
        backoff_max: PATIENCE,
        headers: false,
        options: BTreeMap::new(),
    }
}

/// A cluster with the topics, and a stored state in each partition of the changelog.
fn cluster() -> MockCluster<'static, rdkafka::producer::DefaultProducerContext> {
    let mock = MockCluster::new(1).unwrap();
    for topic in [INPUT, CHANGELOG, "forecasts"] {
        mock.create_topic(topic, PARTITIONS, 1).unwrap();
    }
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
    for partition in 0..PARTITIONS {
        let state = BaseRecord::to(CHANGELOG).partition(partition).key(SYMBOL).payload("state");
        producer.send(state).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    mock
}

/// Plays a shard until its queue is closed. Says which commands came, by name.
fn play(shard: IntakeReceiver<Command>, came: Sender<&'static str>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        let mut sinks = Vec::new();
        while shard.drain(&mut batch, 1) {
            let Some(Arrival::Command(command)) = batch.pop() else { continue };
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
                    let restored =
                        Restored { symbol_count: stored.len(), translated_count: 0, cold: vec![] };
                    // The session may have given up.
                    drop(answer.send(Ok(restored)));
                    "restore"
                }
                Command::Own { .. } => "own",
                _ => panic!("nothing else is asked"),
            };
            came.send(name).unwrap();
        }
    })
}

fn source(config: KafkaConfig, runtime: &Runtime) -> (KafkaSource, IntakeReceiver<Command>) {
    let (shard, receiver) = queue(100);
    let source = KafkaSource {
        config,
        shards: vec![shard],
        ready: Readiness::new().condition("source"),
        metrics: KafkaMetrics::register(&Registry::new()).unwrap(),
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

fn taken(came: &Receiver<&'static str>) -> Vec<&'static str> {
    came.try_iter().collect()
}

#[test]
fn a_cooperative_member_that_gets_partitions_while_it_commits_finishes_the_transaction_first() {
    let mock = cluster();
    let runtime = Runtime::new().unwrap();
    let (source, receiver) = source(config(mock.bootstrap_servers()), &runtime);
    let (said, came) = channel();
    let shard = play(receiver, said);
    let (_stop, stopped) = watch::channel(false);
    let mut session = Session::open(&source, &stopped).unwrap();
    let lists = await_assignment(&mut session);
    let protocol = session.consumer.rebalance_protocol();
    assert!(matches!(protocol, RebalanceProtocol::Cooperative));

    session.assign(&lists[0]).unwrap();
    session.begin_commit().unwrap();
    // From here on the shard answers nothing before the transaction is over.
    for expected in ["connect", "restore", "own", "commit"] {
        assert_eq!(came.recv_timeout(PATIENCE), Ok(expected));
    }
    assert!(session.commit.is_some(), "a commit is under way");

    let taken_over = session.assign(&lists[1]);
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
