//! The real binary as a person or a supervisor runs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a condition may take before the test gives up: generous, because only failures wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much of a daemon's log a failing test shows.
const LOG_LINES_SHOWN: usize = 60;

/// The pauses between two looks at a condition: a tenth of the wait so far, within these. Looks at
/// a daemon or a broker cost the machine more than the work that they wait for.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// How long a daemon that creeps runs between two looks at a condition.
const SLICE: Duration = Duration::from_millis(5);

/// Waits until `condition` gives a value.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep((begun.elapsed() / 10).clamp(PAUSES[0], PAUSES[1]));
    }
    panic!("still waiting for {what} after {} s", PATIENCE.as_secs());
}

/// The snapshots in a folder, newest first; none where there is no such folder.
pub(crate) fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().path());
    let mut snapshots: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|end| end == "tcsn")).collect();
    snapshots.sort();
    snapshots.reverse();
    snapshots
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Lets a stopped process run for a short time.
fn slice(id: u32) {
    signal(id, "CONT");
    std::thread::sleep(SLICE);
    signal(id, "STOP");
}

/// The binary with a clean environment of its own.
pub(crate) fn tickcast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickcast"));
    // The binary must see to its telemetry itself.
    for name in tickcast::engine::inference::TELEMETRY_SWITCHES {
        command.env_remove(name);
    }
    command.env("ORT_DYLIB_PATH", super::onnxruntime());
    // Most tests count minutes from 1970 on and are about something else.
    for (name, value) in LENIENT {
        command.env(name, value);
    }
    command
}

/// The variables by which times may be anything.
const LENIENT: [(&str, &str); 2] =
    [("TICKCAST__SOURCE__ACCEPT_TIMES", "true"), ("TICKCAST__MODEL__CADENCE", "as_it_comes")];

/// Has a command judge times as it does where nothing else is configured.
pub(crate) fn judge_times(command: &mut Command) {
    for (name, _) in LENIENT {
        command.env_remove(name);
    }
}

/// Has a daemon creep from its start on: it is left stopped where its address is known. Without
/// it, a daemon on a busy machine can be done with its recording before the test first looks.
pub(crate) fn creep_from_the_start(command: &mut Command) {
    command.env(CREEPING.0, CREEPING.1);
}

/// A mark on a command; the daemon does not read it.
const CREEPING: (&str, &str) = ("CREEPING", "true");

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = tickcast();
    if arguments.first() != Some(&"replay") {
        judge_times(&mut command);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// As [`run`], of a command that is expected to end and must not hang the tests where it does not.
pub(crate) fn run_to_end(arguments: &[&str]) -> Output {
    let mut command = tickcast();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that has ended already takes no harm.
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

/// A running `tickcast serve` or `tickcast bridge`; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    address: String,
}

/// How a daemon ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Its log, one JSON object a line.
    pub(crate) log: Vec<serde_json::Value>,
    /// The forecasts it wrote, one a line.
    pub(crate) lines: String,
}

impl Daemon {
    /// Starts a daemon on `models` (a store's root) and `feed` (empty for another source), with
    /// further settings as TOML lines `section.key = value`.
    pub(crate) fn start(models: &Path, name: &str, feed: &str, settings: &str) -> Self {
        Self::start_with(models, name, feed, settings, |_| {})
    }

    /// As [`Daemon::start`], with a change to the command.
    pub(crate) fn start_with(
        models: &Path,
        name: &str,
        feed: &str,
        settings: &str,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let url = match feed {
            "" => String::new(),
            feed => format!("source.url = '{feed}'\n"),
        };
        let config = format!(
            "{url}model.root = '{}'\nmodel.name = '{name}'\n\
             publish.lines = '{}'\nhttp.bind = '127.0.0.1:0'\nlog.format = 'json'\n{settings}\n",
            models.display(),
            path("lines.jsonl").display(),
        );
        Self::launch("serve", folder, &config, change)
    }

    /// Starts a daemon on several models, each an entry of `[[models]]` as TOML in `models`.
    pub(crate) fn start_several(
        root: &Path,
        feed: &str,
        settings: &str,
        models: &str,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match feed {
            "" => String::new(),
            feed => format!("source.url = '{feed}'\n"),
        };
        let config = format!(
            "{url}model.root = '{}'\npublish.lines = '{}'\nhttp.bind = '127.0.0.1:0'\n\
             log.format = 'json'\n{settings}\n{models}\n",
            root.display(),
            folder.path().join("lines.jsonl").display(),
        );
        Self::launch("serve", folder, &config, change)
    }

    /// Starts a bridge from `feed`, with further settings likewise.
    #[cfg(feature = "kafka")]
    pub(crate) fn start_bridge(feed: &str, settings: &str) -> Self {
        let config = format!(
            "source.url = '{feed}'\nhttp.bind = '127.0.0.1:0'\nlog.format = 'json'\n{settings}\n"
        );
        Self::launch("bridge", tempfile::tempdir().unwrap(), &config, |_| {})
    }

    fn launch(
        name: &str,
        folder: TempDir,
        config: &str,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let path = |name: &str| folder.path().join(name);
        fs::write(path("tickcast.toml"), config).unwrap();
        let mut command = tickcast();
        command.arg(name).arg("-c").arg(path("tickcast.toml"));
        command.arg("--address-file").arg(path("address"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(path("log")).unwrap());
        change(&mut command);
        let creeps = command.get_envs().any(|(name, _)| name == CREEPING.0);
        let mut child = command.spawn().unwrap();
        if creeps {
            signal(child.id(), "STOP");
        }
        let address = eventually("the daemon's address", || {
            if creeps {
                slice(child.id());
            }
            let ended = child.try_wait().unwrap();
            // One that had nothing to do has told its address before its end.
            if let Ok(text) = fs::read_to_string(path("address")) {
                return Some(text.trim().strip_prefix("http://")?.to_owned());
            }
            if let Some(status) = ended {
                let log = fs::read_to_string(path("log")).unwrap();
                panic!("the daemon ended with {status}: {log}");
            }
            None
        });
        Self { child, folder, address }
    }

    /// `host:port` of probes, metrics and stream.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Status and body of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Every sample of `/metrics` by its name with labels; what models have each is also there as
    /// the sum over all of them, without the label `model`.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200);
        let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let mut samples = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.rsplit_once(' ')) {
            let Ok(value) = value.parse::<f64>() else { continue };
            samples.insert(name.to_owned(), value);
            if let Some(name) = without_model(name) {
                *samples.entry(name).or_default() += value;
            }
        }
        samples
    }

    /// One sample, which must be there: a name that nobody exports is never zero.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let sample = metrics.get(name).copied();
        sample.unwrap_or_else(|| panic!("no sample {name} among {:?}", metrics.keys()))
    }

    /// Waits until a sample is there and has at least this value.
    pub(crate) fn await_metric(&self, name: &str, value: f64) {
        eventually(&format!("{name} >= {value}"), || {
            self.metrics().get(name).filter(|sample| **sample >= value).map(|_| ())
        });
    }

    /// Lets the daemon run in short slices until a condition holds, and leaves it stopped then.
    ///
    /// The condition is looked at while the daemon is stopped, and what its threads have asked of
    /// the disk goes on meanwhile. So a daemon with a recording before it is still in the middle of
    /// it, however busy the machine is or slow its disk. The condition must not ask the daemon.
    pub(crate) fn creep(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        self.signal("STOP");
        eventually(what, || {
            assert!(!self.has_ended(), "the daemon has ended before {what}");
            if condition() {
                return Some(());
            }
            slice(self.id());
            None
        });
    }

    /// The same until a snapshot folder has its two snapshots, both of which were begun after
    /// `begun` first held: neither is from before the first record.
    pub(crate) fn creep_to_snapshots(&mut self, folder: &Path, begun: impl FnMut() -> bool) {
        self.creep("the input under way", begun);
        let is_new = |before: &[PathBuf]| snapshots(folder).iter().any(|now| !before.contains(now));
        // The first one that is new may have been begun before.
        let before = snapshots(folder);
        self.creep("a new snapshot", || is_new(&before));
        let before = snapshots(folder);
        self.creep("two new snapshots", || {
            let now = snapshots(folder);
            now.len() == 2 && now.iter().all(|path| !before.contains(path))
        });
    }

    /// Lets a daemon run on that was left stopped.
    pub(crate) fn run_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// The daemon's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as the system does when memory is short: at once, without a word to it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> Ended {
        self.stop_here()
    }

    /// As [`Daemon::stop`], for a daemon that others still speak of.
    pub(crate) fn stop_here(&mut self) -> Ended {
        self.signal("TERM");
        self.await_end()
    }

    /// As [`Daemon::stop`], of a daemon whose log went elsewhere.
    pub(crate) fn stop_without_log(self) -> Ended {
        fs::write(self.folder.path().join("log"), "").unwrap();
        self.stop()
    }

    /// Waits for the end.
    pub(crate) fn await_end(&mut self) -> Ended {
        let status = eventually("the daemon's end", || self.child.try_wait().unwrap());
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        let log = read("log");
        // The last words of a failure are for a person.
        let lines = log.lines().filter(|line| !line.starts_with("tickcast: "));
        let log = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        // A bridge makes no forecasts.
        let lines = fs::read_to_string(self.folder.path().join("lines.jsonl"));
        Ended { status, log, lines: lines.unwrap_or_default() }
    }
}

/// The name of a sample without the label `model`; `None` where it has none.
fn without_model(name: &str) -> Option<String> {
    let (family, labels) = name.strip_suffix('}')?.split_once('{')?;
    // What says which models there are has no sum.
    if family == "tickcast_model_info" {
        return None;
    }
    let labels: Vec<_> = labels.split(',').collect();
    let others: Vec<_> =
        labels.iter().filter(|label| !label.starts_with("model=")).copied().collect();
    if others.len() == labels.len() {
        return None;
    }
    match &*others {
        [] => Some(family.to_owned()),
        others => Some(format!("{family}{{{}}}", others.join(","))),
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended daemons answer with an error, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let (older, newest) = lines.split_at(lines.len().saturating_sub(LOG_LINES_SHOWN));
            let is_bad = |line: &&str| line.contains(r#""WARN""#) || line.contains(r#""ERROR""#);
            let bad: Vec<_> = older.iter().copied().filter(is_bad).take(LOG_LINES_SHOWN).collect();
            println!("older warnings of the daemon's log:\n{}", bad.join("\n"));
            println!("the newest lines of the daemon's log:\n{}", newest.join("\n"));
        }
    }
}

impl Ended {
    /// A number out of the line that says what became of everything.
    pub(crate) fn drained(&self, field: &str) -> u64 {
        let line = self.log.iter().find(|line| line["message"] == "drained");
        line.unwrap_or_else(|| panic!("no line `drained` in {:#?}", self.log))[field]
            .as_u64()
            .unwrap()
    }
}
