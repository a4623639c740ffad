//! A real Apache Kafka broker for the tests.
//!
//! Owns the broker's process and folder. A broker ends with the process that started it, however
//! that ends: it hangs on a pipe. `TICKCAST_TEST_KAFKA=host:port` names one that is there already;
//! tests that stop the broker or need further listeners start their own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use super::cluster::Cluster;
use super::process::{eventually, signal};
use super::repository;

/// The cluster's id, 16 bytes in base64: brokers of different tests never meet.
const CLUSTER_ID: &str = "dGlja2Nhc3QtdGVzdHMtMQ";

/// A broker.
pub(crate) struct Broker {
    /// `None` for one that is not ours.
    folder: Option<TempDir>,
    cluster: Cluster,
    /// Further listeners by name, with their ports.
    doors: Vec<(&'static str, u16)>,
    process: Option<BrokerProcess>,
}

/// What a broker has beside a plain listener on loopback.
#[derive(Default)]
pub(crate) struct Extras<'e> {
    /// Further listeners: name and protocol.
    pub(crate) doors: &'e [(&'static str, &'e str)],
    /// Lines of `server.properties`.
    pub(crate) settings: String,
    /// Arguments of the tool that formats its folder.
    pub(crate) format: &'e [&'e str],
}

impl Deref for Broker {
    type Target = Cluster;

    /// The broker through its plain listener.
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// The shell that the broker hangs on, and the broker's own process id.
struct BrokerProcess {
    shell: Child,
    id: u32,
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

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Broker {
    /// The broker that all tests share which leave it running.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("TICKCAST_TEST_KAFKA") {
            Ok(address) => {
                let cluster = Cluster::at(address);
                Self { folder: None, cluster, doors: Vec::new(), process: None }
            }
            Err(_) => Self::start(),
        })
    }

    /// Starts a broker of one's own.
    pub(crate) fn start() -> Self {
        Self::start_with(Extras::default())
    }

    /// Starts a broker of one's own with more than a plain listener.
    pub(crate) fn start_with(extras: Extras<'_>) -> Self {
        let ports = free_ports(2 + extras.doors.len());
        let voters = format!("1@127.0.0.1:{}", ports[1]);
        let mut broker = Self::prepare(1, &ports, &voters, 1, extras);
        broker.go();
        broker
    }

    /// Starts three brokers of one cluster, of which any two go on without the third.
    pub(crate) fn start_three() -> [Self; 3] {
        let ports = free_ports(6);
        let node = |index: usize| &ports[2 * index..2 * index + 2];
        let voters = [0, 1, 2].map(|index| format!("{}@127.0.0.1:{}", index + 1, node(index)[1]));
        let mut brokers = [0, 1, 2].map(|index| {
            let extras =
                Extras { settings: "min.insync.replicas=2\n".to_owned(), ..<_>::default() };
            Self::prepare(index + 1, node(index), &voters.join(","), 3, extras)
        });
        // A majority must be there before any answers.
        brokers.iter_mut().for_each(Self::launch);
        brokers.iter().for_each(Self::await_answer);
        brokers
    }

    /// Formats the folder of a node, with so many copies of what the cluster keeps for itself.
    fn prepare(
        node: usize,
        ports: &[u16],
        voters: &str,
        copies: usize,
        extras: Extras<'_>,
    ) -> Self {
        let Extras { doors, settings: further, format: arguments } = extras;
        let folder = tempfile::tempdir().unwrap();
        let (port, controller) = (ports[0], ports[1]);
        let (mut listeners, mut advertised, mut protocols) =
            (String::new(), String::new(), String::new());
        for ((name, protocol), port) in doors.iter().zip(&ports[2..]) {
            listeners += &format!(",{name}://127.0.0.1:{port}");
            // By name, which is what certificates are for.
            advertised += &format!(",{name}://localhost:{port}");
            protocols += &format!(",{name}:{protocol}");
        }
        let in_sync = copies.div_ceil(2);
        let settings = format!(
            "process.roles=broker,controller\nnode.id={node}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},\
             CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters={voters}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             inter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\nauto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=100\n\
             group.consumer.min.session.timeout.ms=100\n\
             group.consumer.session.timeout.ms=30000\n\
             group.consumer.min.heartbeat.interval.ms=100\n\
             group.consumer.heartbeat.interval.ms=300\n\
             offsets.topic.num.partitions=1\noffsets.topic.replication.factor={copies}\n\
             transaction.state.log.num.partitions=1\n\
             transaction.state.log.replication.factor={copies}\n\
             transaction.state.log.min.isr={in_sync}\n\
             share.coordinator.state.topic.num.partitions=1\n\
             share.coordinator.state.topic.replication.factor={copies}\n\
             share.coordinator.state.topic.min.isr={in_sync}\n\
             log.cleaner.dedupe.buffer.size=8388608\n\
             {further}",
            folder.path().join("data").display(),
        );
        let file = folder.path().join("server.properties");
        fs::write(&file, settings).unwrap();
        let mut format = java();
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID]);
        format.args(arguments).arg("-c").arg(&file);
        let formatted = format.output().unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let doors = doors.iter().map(|(name, _)| *name).zip(ports[2..].iter().copied()).collect();
        let cluster = Cluster::at(format!("127.0.0.1:{port}"));
        Self { folder: Some(folder), cluster, doors, process: None }
    }

    /// `localhost:port` of a further listener.
    pub(crate) fn door(&self, name: &str) -> String {
        let (_, port) = self.doors.iter().find(|(door, _)| *door == name).expect("a known door");
        format!("localhost:{port}")
    }

    /// Sends a request in the protocol's own bytes through the plain listener, and returns the
    /// answer: for what the admin clients at hand cannot.
    pub(crate) fn ask(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(request).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    /// The folder of a partition's log.
    fn log_of(&self, topic: &str, partition: i32) -> PathBuf {
        let folder = self.folder.as_ref().expect("a broker of our own");
        folder.path().join("data").join(format!("{topic}-{partition}"))
    }

    /// Copies the log of a partition into a folder. The broker must be stopped.
    pub(crate) fn back_up(&self, topic: &str, partition: i32, to: &Path) {
        copy_files(&self.log_of(topic, partition), &to.join(partition.to_string()));
    }

    /// Puts a log back as it was when it was copied. The broker must be stopped.
    pub(crate) fn put_back(&self, topic: &str, partition: i32, from: &Path) {
        let log = self.log_of(topic, partition);
        fs::remove_dir_all(&log).unwrap();
        copy_files(&from.join(partition.to_string()), &log);
    }

    /// Starts the process on the folder, and waits until it answers.
    pub(crate) fn go(&mut self) {
        self.launch();
        self.await_answer();
    }

    fn launch(&mut self) {
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
    }

    fn await_answer(&self) {
        let folder = self.folder.as_ref().expect("a broker of our own").path();
        let id = self.process.as_ref().expect("a process that was started").id;
        let client: BaseConsumer = self.options().create().unwrap();
        eventually("the broker's answer", || {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            let alive = fs::exists(format!("/proc/{id}")).unwrap();
            assert!(alive, "the broker at {} ended: {}", self.address(), log());
            client.fetch_metadata(None, Duration::from_secs(2)).ok()
        });
    }

    /// Kills the process, and keeps its folder.
    pub(crate) fn kill(&mut self) {
        self.end("KILL");
    }

    /// Ends the process in order, as an operator would, and keeps its folder.
    pub(crate) fn stop(&mut self) {
        self.end("TERM");
    }

    fn end(&mut self, name: &str) {
        let mut process = self.process.take().expect("a running broker of our own");
        signal(process.id, name);
        eventually("the broker's end", || {
            (!fs::exists(format!("/proc/{}", process.id)).unwrap()).then_some(())
        });
        drop(process.shell.stdin.take());
        process.shell.wait().unwrap();
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
