//! A real Apache Kafka broker for the tests, and clients to look at it from outside.
//!
//! Owns the broker's process and folder. A broker ends with the process that started it, however
//! that ends: it hangs on a pipe. `TICKCAST_TEST_KAFKA=host:port` names one that is there already;
//! tests that stop the broker start their own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tempfile::TempDir;

use super::process::eventually;
use super::repository;

/// How long one call to a healthy broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A broker.
pub(crate) struct Broker {
    /// `None` for one that is not ours.
    folder: Option<TempDir>,
    port: u16,
    address: String,
    process: Option<BrokerProcess>,
}

/// The shell that the broker hangs on, and the broker's own process id.
struct BrokerProcess {
    shell: Child,
    id: u32,
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

/// A name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{count}", std::process::id())
}

fn jars() -> PathBuf {
    let named = std::env::var_os("TICKCAST_KAFKA_JARS").map(PathBuf::from);
    let jars = named.unwrap_or_else(|| repository().join(".cache/kafka/4.4.0"));
    let jars = if jars.is_absolute() { jars } else { repository().join(jars) };
    assert!(jars.join("ready").exists(), "no Kafka in {}; run `make setup`", jars.display());
    jars
}

fn java() -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    java.arg(jars().join("*"));
    java
}

/// Two ports that were free a moment ago.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Broker {
    /// The broker that all tests share which leave it running.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("TICKCAST_TEST_KAFKA") {
            Ok(address) => Self { folder: None, port: 0, address, process: None },
            Err(_) => Self::start(),
        })
    }

    /// Starts a broker of one's own.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id = Command::output(java().args(["kafka.tools.StorageTool", "random-uuid"])).unwrap();
        let id = String::from_utf8(id.stdout).unwrap();
        let id = id.lines().last().expect("a line with the cluster's id").to_owned();
        let [port, controller] = free_ports();
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\nauto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=100\n\
             offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.num.partitions=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\nlog.cleaner.dedupe.buffer.size=8388608\n",
            folder.path().join("data").display(),
        );
        let file = folder.path().join("server.properties");
        fs::write(&file, settings).unwrap();
        let mut format = java();
        format.args(["kafka.tools.StorageTool", "format", "-t", &id, "-c"]).arg(&file);
        let formatted = format.output().unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let address = format!("127.0.0.1:{port}");
        let mut broker = Self { folder: Some(folder), port, address, process: None };
        broker.go();
        broker
    }

    /// Starts the process on the folder, and waits until it answers.
    pub(crate) fn go(&mut self) {
        let folder = self.folder.as_ref().expect("a broker of our own").path().to_owned();
        let log =
            fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        // The shell tells the broker's id, then waits for its input to end, which it does with us.
        let script = "\"$@\" >&2 </dev/null & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null";
        let java = java();
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(java.get_program()).args(java.get_args());
        shell.arg("kafka.Kafka").arg(folder.join("server.properties"));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut shell = shell.spawn().unwrap();
        let mut id = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut id).unwrap();
        let id = id.trim().parse().unwrap();
        self.process = Some(BrokerProcess { shell, id });
        let client: BaseConsumer = self.options().create().unwrap();
        eventually("the broker's answer", || {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            let alive = fs::exists(format!("/proc/{id}")).unwrap();
            assert!(alive, "the broker on port {} ended: {}", self.port, log());
            client.fetch_metadata(None, Duration::from_secs(2)).ok()
        });
    }

    /// Ends the process in order, as an operator would, and keeps its folder.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("a running broker of our own");
        signal(process.id, "TERM");
        eventually("the broker's end", || {
            (!fs::exists(format!("/proc/{}", process.id)).unwrap()).then_some(())
        });
        drop(process.shell.stdin.take());
        process.shell.wait().unwrap();
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn options(&self) -> ClientConfig {
        let mut options = ClientConfig::new();
        options.set("bootstrap.servers", &self.address).set("log_level", "2");
        options
    }

    /// Makes a topic.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let created = block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        created.into_iter().for_each(|topic| assert_eq!(topic, Ok(name.to_owned())));
        let client: BaseConsumer = self.options().create().unwrap();
        eventually("the topic", || {
            let metadata = client.fetch_metadata(Some(name), CALL_TIMEOUT).unwrap();
            (metadata.topics()[0].partitions().len() == partitions as usize).then_some(())
        });
    }

    /// Removes the records of a partition before an offset, as retention would.
    pub(crate) fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.options().create().unwrap();
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
        assert_eq!(self.watermarks(topic, partition).0, offset);
    }

    /// First offset and end of a partition.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let mut options = self.options();
        let client: BaseConsumer =
            options.set("isolation.level", "read_uncommitted").create().unwrap();
        client.fetch_watermarks(topic, partition, CALL_TIMEOUT).unwrap()
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

    /// Everything that a reader finds in a topic, by partition and offset.
    pub(crate) fn read(&self, topic: &str, isolation: &str) -> Vec<Stored> {
        let mut options = self.options();
        options.set("group.id", unique("reader")).set("enable.auto.commit", "false");
        options.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        let reader: BaseConsumer = options.set("isolation.level", isolation).create().unwrap();
        let metadata = reader.fetch_metadata(Some(topic), CALL_TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions();
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        reader.assign(&assignment).unwrap();
        let (mut open, mut records) = (partitions.len(), Vec::new());
        while open > 0 {
            match reader.poll(CALL_TIMEOUT).expect("an answer in time") {
                Ok(record) => records.push(Stored {
                    partition: record.partition(),
                    offset: record.offset(),
                    key: record.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
                    payload: record.payload().map(<[u8]>::to_vec),
                    headers: headers(&record),
                }),
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("{error}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// What a group has committed, by partition; partitions without a commit are missing.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let mut options = self.options();
        let client: BaseConsumer = options.set("group.id", group).create().unwrap();
        let metadata = client.fetch_metadata(Some(topic), CALL_TIMEOUT).unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            partitions.add_partition(topic, partition.id());
        }
        let committed = client.committed_offsets(partitions, CALL_TIMEOUT).unwrap();
        let offsets = committed.elements().into_iter().filter_map(|element| {
            Some((element.partition(), element.offset().to_raw().filter(|offset| *offset >= 0)?))
        });
        offsets.collect()
    }
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

/// Sends a signal to a process that a test started.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
    assert!(status.unwrap().success());
}
