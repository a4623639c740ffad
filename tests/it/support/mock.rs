//! A cluster of brokers that librdkafka plays, in the test's own process.
//!
//! Owns the faults that no real broker makes on demand: leaders and coordinators that move, errors
//! as answers, brokers that are slow. It knows neither transactions' isolation nor compaction, so
//! nothing about exactly-once is concluded from it but the path that the daemon takes.

use std::ops::Deref;
use std::time::Duration;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::cluster::Cluster;
use super::topics::{PARTITIONS, Topics, exchanged};

/// How many brokers there are.
const BROKERS: i32 = 3;

/// A mock cluster.
pub(crate) struct Mock {
    mock: MockCluster<'static, DefaultProducerContext>,
    cluster: Cluster,
}

impl Deref for Mock {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Mock {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let mock = MockCluster::new(BROKERS).unwrap();
        let cluster = Cluster::at(mock.bootstrap_servers());
        Self { mock, cluster }
    }

    /// New topics, all of them: a mock makes none when it is asked.
    pub(crate) fn topics(&self) -> Topics {
        let topics = Topics::new();
        let changelog = topics.changelog();
        for topic in topics.outputs().into_iter().chain([&*topics.input, &changelog]) {
            self.mock.create_topic(topic, PARTITIONS, BROKERS).unwrap();
        }
        topics
    }

    /// Settings of an instance. A mock's group waits 3 s for its first members and forgets those
    /// whose session is shorter.
    pub(crate) fn settings(&self, topics: &Topics, delivery: &str, instance: &str) -> String {
        self.settings_with_session(topics, delivery, instance, 3500)
    }

    /// The same with a session of its own length. A later rebalance waits almost that long, so a
    /// long session fits groups without one: their member survives a stall of a busy machine.
    pub(crate) fn settings_with_session(
        &self,
        topics: &Topics,
        delivery: &str,
        instance: &str,
        session_ms: u32,
    ) -> String {
        let settings = topics.settings(self, delivery, instance);
        let session = format!("'session.timeout.ms' = {session_ms}");
        // A mock aborts nothing: what a transaction that failed has stored stays, and what it has
        // not is missing. The client gives a record up after the timeout of the transaction, and
        // may need seconds to find a broker that was away.
        let times = [
            ("'session.timeout.ms' = 1500", &*session),
            ("'transaction.timeout.ms' = 5000", "'transaction.timeout.ms' = 60000"),
        ];
        exchanged(&settings, &times)
    }

    /// Lets every partition of the topics be led by the broker that comes `step` places behind the
    /// one of its number.
    pub(crate) fn move_leaders(&self, topics: &Topics, step: i32) {
        for topic in [&topics.input, &topics.forecasts, &topics.changelog()] {
            for partition in 0..PARTITIONS {
                let broker = 1 + (partition + step) % BROKERS;
                self.mock.partition_leader(topic, partition, Some(broker)).unwrap();
            }
        }
    }

    /// Lets one broker lead every partition of the topics.
    pub(crate) fn lead_all(&self, topics: &Topics, broker: i32) {
        for topic in [&topics.input, &topics.forecasts, &topics.changelog()] {
            for partition in 0..PARTITIONS {
                self.mock.partition_leader(topic, partition, Some(broker)).unwrap();
            }
        }
    }

    /// Who coordinates the group.
    pub(crate) fn coordinate_group(&self, group: &str, broker: i32) {
        self.mock.coordinator(MockCoordinator::Group(group.to_owned()), broker).unwrap();
    }

    /// Who coordinates the transactions of an instance.
    pub(crate) fn coordinate_transactions(&self, group: &str, instance: &str, broker: i32) {
        for id in [format!("{group}-{instance}"), format!("{group}-{instance}.second")] {
            self.mock.coordinator(MockCoordinator::Transaction(id), broker).unwrap();
        }
    }

    /// The next requests of a kind are answered by these errors, one each.
    pub(crate) fn answer(&self, requests: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        self.mock.request_errors(requests, errors);
    }

    /// Takes all brokers away, or one.
    pub(crate) fn down(&self, broker: Option<i32>) {
        self.mock.broker_down(broker.unwrap_or(-1)).unwrap();
    }

    /// Brings all brokers back, or one.
    pub(crate) fn up(&self, broker: Option<i32>) {
        self.mock.broker_up(broker.unwrap_or(-1)).unwrap();
    }

    /// How long a broker, or each, takes for an answer.
    pub(crate) fn delay(&self, broker: Option<i32>, delay: Duration) {
        self.mock.broker_round_trip_time(broker.unwrap_or(-1), delay).unwrap();
    }
}
