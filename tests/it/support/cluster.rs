//! Clients that look at a cluster from outside, whatever it is: a broker, one of its guarded doors,
//! or a mock.
//!
//! Owns how it is reached. What is read is everything that a reader of that isolation finds.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::broker::unique;
use super::process::eventually;

/// How long one call to a healthy broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster, as its clients see it.
pub(crate) struct Cluster {
    address: String,
}

/// One record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    /// `None` for the end of a key in a compacted topic.
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Cluster {
    /// The cluster behind `host:port`, or several of them.
    pub(crate) fn at(address: String) -> Self {
        Self { address }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn options(&self) -> ClientConfig {
        let mut options = ClientConfig::new();
        options.set("bootstrap.servers", &self.address).set("log_level", "2");
        // Tests take brokers away for a moment; the default may then wait for 10 s.
        options.set("reconnect.backoff.max.ms", "500");
        options
    }

    /// Makes a topic.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        self.create(&NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
    }

    /// Makes a topic with so many copies of each partition.
    pub(crate) fn create_replicated_topic(&self, name: &str, partitions: i32, copies: i32) {
        self.create(&NewTopic::new(name, partitions, TopicReplication::Fixed(copies)));
    }

    /// Makes a topic that keeps the newest record of each key.
    pub(crate) fn create_compacted_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        self.create(&topic.set("cleanup.policy", "compact"));
    }

    fn create(&self, topic: &NewTopic<'_>) {
        let (name, partitions) = (topic.name, topic.num_partitions);
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let created = block_on(admin.create_topics([topic], &AdminOptions::new())).unwrap();
        created.into_iter().for_each(|topic| assert_eq!(topic, Ok(name.to_owned())));
        let client: BaseConsumer = self.options().create().unwrap();
        eventually("the topic", || {
            let metadata = settled(|| client.fetch_metadata(Some(name), CALL_TIMEOUT));
            (metadata.topics()[0].partitions().len() == partitions as usize).then_some(())
        });
    }

    /// Deletes a topic, and waits until nobody knows it.
    pub(crate) fn delete_topic(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let deleted = block_on(admin.delete_topics(&[name], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|topic| assert_eq!(topic, Ok(name.to_owned())));
        eventually("the end of the topic", || self.partition_count(name).is_none().then_some(()));
    }

    /// Gives a topic more partitions.
    pub(crate) fn add_partitions(&self, name: &str, count: i32) {
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let partitions = NewPartitions::new(name, count as usize);
        let added = block_on(admin.create_partitions([&partitions], &AdminOptions::new())).unwrap();
        added.into_iter().for_each(|topic| assert_eq!(topic, Ok(name.to_owned())));
        eventually("the partitions", || (self.partition_count(name) == Some(count)).then_some(()));
    }

    /// How many partitions a topic has, if it is there.
    pub(crate) fn partition_count(&self, name: &str) -> Option<i32> {
        let client: BaseConsumer = self.options().create().unwrap();
        let metadata = settled(|| client.fetch_metadata(Some(name), CALL_TIMEOUT));
        let count = metadata.topics()[0].partitions().len();
        i32::try_from(count).ok().filter(|count| *count > 0)
    }

    /// Removes the records of a partition before an offset, as retention would.
    pub(crate) fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
        assert_eq!(self.watermarks(topic, partition).0, offset);
    }

    /// Removes the records of a compacted partition before an offset, as compaction does where each
    /// of their keys comes again.
    pub(crate) fn compact_before(&self, topic: &str, partition: i32, offset: i64) {
        // A broker deletes no records of a topic that is compacted alone.
        self.set_cleanup(topic, "compact,delete");
        self.delete_before(topic, partition, offset);
        self.set_cleanup(topic, "compact");
    }

    /// Sets what becomes of the old records of a topic, and waits until the broker says so.
    fn set_cleanup(&self, topic: &str, policy: &str) {
        const KEY: &str = "cleanup.policy";
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let (options, resource) = (AdminOptions::new(), ResourceSpecifier::Topic(topic));
        let change = AlterConfig::new(resource).set(KEY, policy);
        assert!(block_on(admin.alter_configs([&change], &options)).unwrap()[0].is_ok());
        eventually("the policy", || {
            let found = block_on(admin.describe_configs([&resource], &options)).unwrap();
            let entry = found[0].as_ref().unwrap().get(KEY).unwrap();
            (entry.value.as_deref() == Some(policy)).then_some(())
        });
    }

    /// A setting of a topic.
    pub(crate) fn topic_setting(&self, topic: &str, key: &str) -> Option<String> {
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let resource = ResourceSpecifier::Topic(topic);
        let found = block_on(admin.describe_configs([&resource], &AdminOptions::new())).unwrap();
        found[0].as_ref().unwrap().get(key).and_then(|entry| entry.value.clone())
    }

    /// First offset and end of a partition.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let mut options = self.options();
        let client: BaseConsumer =
            options.set("isolation.level", "read_uncommitted").create().unwrap();
        settled(|| client.fetch_watermarks(topic, partition, CALL_TIMEOUT))
    }

    /// Writes records keyed as the Java client would place them, and waits for them to be stored.
    pub(crate) fn produce<'r>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (&'r str, &'r [u8])>,
    ) {
        let mut options = self.options();
        options.set("partitioner", "murmur2_random").set("enable.idempotence", "true");
        let producer: BaseProducer = options.create().unwrap();
        for (key, payload) in records {
            producer.send(BaseRecord::to(topic).key(key).payload(payload)).unwrap();
            producer.poll(Duration::ZERO);
        }
        producer.flush(CALL_TIMEOUT).unwrap();
    }

    /// Writes a record once more, with its headers, behind everything in its partition.
    pub(crate) fn produce_again(&self, topic: &str, record: &Stored) {
        let producer: BaseProducer = self.options().create().unwrap();
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let (key, payload) = (record.key.as_ref().unwrap(), record.payload.as_ref().unwrap());
        let again = BaseRecord::to(topic).partition(record.partition).key(key).payload(payload);
        producer.send(again.headers(headers)).unwrap();
        producer.flush(CALL_TIMEOUT).unwrap();
    }

    /// Writes records to one partition, and waits for them to be stored.
    pub(crate) fn produce_to(&self, topic: &str, partition: i32, records: &[(String, String)]) {
        let producer: BaseProducer = self.options().create().unwrap();
        for (key, payload) in records {
            let record = BaseRecord::to(topic).key(key).payload(payload).partition(partition);
            producer.send(record).unwrap();
            producer.poll(Duration::ZERO);
        }
        producer.flush(CALL_TIMEOUT).unwrap();
    }

    /// As [`Cluster::produce`], each record with its own timestamp in milliseconds since the epoch.
    pub(crate) fn produce_at(&self, topic: &str, records: &[(String, String, i64)]) {
        let mut options = self.options();
        options.set("partitioner", "murmur2_random").set("enable.idempotence", "true");
        let producer: BaseProducer = options.create().unwrap();
        for (key, payload, time) in records {
            let record = BaseRecord::to(topic).key(key).payload(payload).timestamp(*time);
            producer.send(record).unwrap();
            producer.poll(Duration::ZERO);
        }
        producer.flush(CALL_TIMEOUT).unwrap();
    }

    /// Begins a transaction that writes one record to a partition, and leaves it open: nobody who
    /// reads what is committed gets beyond it.
    pub(crate) fn open_transaction(
        &self,
        topic: &str,
        partition: i32,
        (key, payload): (&str, &str),
    ) -> OpenTransaction {
        let mut options = self.options();
        options.set("transactional.id", unique("open")).set("transaction.timeout.ms", "600000");
        let producer: BaseProducer = options.create().unwrap();
        producer.init_transactions(CALL_TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to(topic).key(key).payload(payload).partition(partition);
        producer.send(record).unwrap();
        producer.flush(CALL_TIMEOUT).unwrap();
        OpenTransaction(producer)
    }

    /// How many records of a topic a reader of committed records does not reach, because a
    /// transaction is open before or at them.
    ///
    /// A producer that is killed leaves its transaction open until the broker aborts it, and the
    /// broker answers the end of a transaction before it has marked all of its partitions.
    pub(crate) fn out_of_reach(&self, topic: &str) -> i64 {
        let [stable, all] = ["read_committed", "read_uncommitted"].map(|isolation| {
            let client: BaseConsumer =
                self.options().set("isolation.level", isolation).create().unwrap();
            client
        });
        let end = |client: &BaseConsumer, partition| {
            settled(|| client.fetch_watermarks(topic, partition, CALL_TIMEOUT)).1
        };
        let partitions = 0..self.partition_count(topic).unwrap_or(0);
        let out_of_reach = |partition| {
            // The stable end first: in the other order a commit between them could pass.
            let stable_end = end(&stable, partition);
            end(&all, partition) - stable_end
        };
        partitions.map(out_of_reach).sum()
    }

    /// Everything that a reader finds in a topic, by partition and offset. A reader of committed
    /// records waits until no transaction is open.
    pub(crate) fn read(&self, topic: &str, isolation: &str) -> Vec<Stored> {
        if isolation == "read_committed" {
            eventually("the end of open transactions", || {
                (self.out_of_reach(topic) == 0).then_some(())
            });
        }
        let mut options = self.options();
        options.set("group.id", unique("reader")).set("enable.auto.commit", "false");
        options.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        let reader: BaseConsumer = options.set("isolation.level", isolation).create().unwrap();
        let metadata = settled(|| reader.fetch_metadata(Some(topic), CALL_TIMEOUT));
        let partitions = metadata.topics()[0].partitions();
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "a new reader has paused nothing")]
        reader.assign(&assignment).unwrap();
        let (mut open, mut losses, mut records) = (partitions.len(), 0, Vec::new());
        while open > 0 {
            match reader.poll(CALL_TIMEOUT).expect("an answer in time") {
                Ok(record) => records.push(Stored {
                    partition: record.partition(),
                    offset: record.offset(),
                    key: record.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
                    payload: record.payload().map(<[u8]>::to_vec),
                    headers: headers(&record),
                }),
                Err(ClientError::PartitionEOF(_)) => open -= 1,
                // The client connects again, and reads on where it was.
                Err(error) if is_passing(&error) => {
                    losses += 1;
                    assert!(losses < 100, "{error}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// What a group of the classic protocol is doing, in the coordinator's words.
    pub(crate) fn group_state(&self, group: &str) -> String {
        let client: BaseConsumer = self.options().create().unwrap();
        let groups = settled(|| client.fetch_group_list(Some(group), CALL_TIMEOUT));
        groups.groups()[0].state().to_owned()
    }

    /// What a group has committed, by partition; partitions without a commit are missing.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        self.commits(group, topic).now()
    }

    /// A client that looks at what a group commits.
    pub(crate) fn commits(&self, group: &str, topic: &str) -> Commits {
        let mut options = self.options();
        let client: BaseConsumer = options.set("group.id", group).create().unwrap();
        let metadata = settled(|| client.fetch_metadata(Some(topic), CALL_TIMEOUT));
        let mut partitions = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            partitions.add_partition(topic, partition.id());
        }
        Commits { client, partitions }
    }
}

/// A transaction that is open.
pub(crate) struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    /// Commits it.
    pub(crate) fn commit(self) {
        self.0.commit_transaction(CALL_TIMEOUT).unwrap();
    }

    /// Aborts it: its record is never read.
    pub(crate) fn abort(self) {
        self.0.abort_transaction(CALL_TIMEOUT).unwrap();
    }
}

/// A client that looks at what a group has committed of a topic, as often as it is asked.
pub(crate) struct Commits {
    client: BaseConsumer,
    partitions: TopicPartitionList,
}

impl Commits {
    /// The offsets by partition; partitions without a commit are missing.
    pub(crate) fn now(&self) -> BTreeMap<i32, i64> {
        let committed = match self.client.committed_offsets(self.partitions.clone(), CALL_TIMEOUT) {
            Ok(committed) => committed,
            // A broker that has just started has still to find who coordinates the group.
            Err(error) if is_passing(&error) => return BTreeMap::new(),
            Err(error) => panic!("{error}"),
        };
        let offsets = committed.elements().into_iter().filter_map(|element| {
            Some((element.partition(), element.offset().to_raw().filter(|offset| *offset >= 0)?))
        });
        offsets.collect()
    }
}

/// What a call returns once the cluster can answer it.
fn settled<T>(mut call: impl FnMut() -> Result<T, ClientError>) -> T {
    eventually("an answer of the cluster", || match call() {
        Ok(value) => Some(value),
        Err(error) if is_passing(&error) => None,
        Err(error) => panic!("{error}"),
    })
}

/// Whether the client tries again by itself: a connection that was lost, or a coordinator that is
/// not known yet. Brokers close connections that were idle or slow, on a busy machine at any time.
fn is_passing(error: &ClientError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::LeaderNotAvailable
        )
    )
}

fn headers(record: &impl Message) -> BTreeMap<String, String> {
    let Some(headers) = record.headers() else { return BTreeMap::new() };
    let text =
        |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
    headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn records_behind_an_open_transaction_are_out_of_reach() {
    let broker = super::broker::Broker::shared();
    let topic = unique("open");
    broker.create_topic(&topic, 2);
    let record = |text: &str| ("key".to_owned(), text.to_owned());
    broker.produce_to(&topic, 1, &[record("before")]);
    let open = broker.open_transaction(&topic, 1, ("key", "within"));
    broker.produce_to(&topic, 1, &[record("behind")]);
    broker.produce_to(&topic, 0, &[record("beside")]);
    assert_eq!(broker.out_of_reach(&topic), 2);
    open.commit();
    let payloads: Vec<_> =
        broker.read(&topic, "read_committed").into_iter().map(|r| r.payload.unwrap()).collect();
    assert_eq!(payloads, ["beside", "before", "within", "behind"].map(str::as_bytes));
    assert_eq!(broker.out_of_reach(&topic), 0);
}
