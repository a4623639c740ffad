//! Ticks on topics, and what must come of them: the harness of the tests of delivery.
//!
//! Owns how a test's topics are named and set up. The oracle is `replay`: forecasts on topics must
//! be its bytes, each once after repeats are dropped.

use std::collections::BTreeMap;
use std::fs;

use tickcast::engine::wire::forecast::ForecastRecord;

use super::broker::unique;
use super::bundle::{SealedBundle, sealed};
use super::cluster::{Cluster, Stored};
use super::process::{Daemon, eventually, run};

pub(crate) const PARTITIONS: i32 = 4;

/// A set of topics and a group that no other test uses.
pub(crate) struct Topics {
    pub(crate) group: String,
    pub(crate) input: String,
    pub(crate) forecasts: String,
    pub(crate) scores: String,
    pub(crate) dead: String,
}

impl Topics {
    /// Names that no other test uses.
    pub(crate) fn new() -> Self {
        let name = unique("kafka");
        Self {
            group: format!("{name}-group"),
            input: format!("{name}-ticks"),
            forecasts: format!("{name}-forecasts"),
            scores: format!("{name}-scores"),
            dead: format!("{name}-dead"),
        }
    }

    /// New topics on a broker; the outputs are left for the daemon to make.
    pub(crate) fn create(cluster: &Cluster) -> Self {
        let topics = Self::new();
        cluster.create_topic(&topics.input, PARTITIONS);
        topics
    }

    /// New topics of a cluster of several brokers, with so many copies each.
    pub(crate) fn replicated(cluster: &Cluster, copies: i32) -> Self {
        let topics = Self::new();
        cluster.create_replicated_topic(&topics.input, PARTITIONS, copies);
        topics
    }

    /// The same input for another group with outputs of its own.
    pub(crate) fn again(&self) -> Self {
        let name = unique("again");
        Self {
            group: format!("{name}-group"),
            input: self.input.clone(),
            forecasts: format!("{name}-forecasts"),
            scores: format!("{name}-scores"),
            dead: format!("{name}-dead"),
        }
    }

    /// What the daemon writes beside the changelog.
    pub(crate) fn outputs(&self) -> [&str; 3] {
        [&self.forecasts, &self.scores, &self.dead]
    }

    pub(crate) fn changelog(&self) -> String {
        format!("{}-{}-state", self.group, self.input)
    }

    pub(crate) fn settings(&self, cluster: &Cluster, delivery: &str, instance: &str) -> String {
        format!(
            "source.kind = 'kafka'\nkafka.brokers = '{}'\nkafka.topics = ['{}']\n\
             kafka.group = '{}'\nkafka.forecasts = '{}'\nkafka.scores = '{}'\n\
             kafka.dead_letters = '{}'\n\
             kafka.delivery = '{delivery}'\nkafka.commit_interval_ms = 50\n\
             kafka.instance = '{instance}'\nkafka.backoff_ms_max = 500\n\
             kafka.options.'session.timeout.ms' = 1500\n\
             kafka.options.'heartbeat.interval.ms' = 300\n\
             kafka.options.'transaction.timeout.ms' = 5000\n\
             shutdown.deadline_seconds = 60\n",
            cluster.address(),
            self.input,
            self.group,
            self.forecasts,
            self.scores,
            self.dead,
        )
    }
}

/// The same settings for a test in which no member dies: a busy machine that stalls for seconds
/// costs no session.
pub(crate) fn patient(settings: &str) -> String {
    let times = [
        ("'session.timeout.ms' = 1500", "'session.timeout.ms' = 30000"),
        ("'transaction.timeout.ms' = 5000", "'transaction.timeout.ms' = 60000"),
    ];
    exchanged(settings, &times)
}

/// The same settings without the session of a member: the brokers give one where they assign
/// partitions, and elsewhere the daemon has one by itself.
pub(crate) fn without_session(settings: &str) -> String {
    let is_of_session =
        |line: &&str| !line.contains("session.timeout.ms") && !line.contains("heartbeat.interval");
    let (lines, all) = (settings.lines().filter(is_of_session), settings.lines().count());
    let left: Vec<_> = lines.collect();
    assert_eq!(left.len() + 2, all, "a session and heartbeats in the settings:\n{settings}");
    left.join("\n") + "\n"
}

/// The same settings with the times of a group and of a transaction as the daemon has them by
/// itself.
pub(crate) fn with_default_times(settings: &str) -> String {
    let transaction = [("kafka.options.'transaction.timeout.ms' = 5000\n", "")];
    exchanged(&without_session(settings), &transaction)
}

/// The settings with other texts in place of some, each of which must be there.
pub(crate) fn exchanged(settings: &str, texts: &[(&str, &str)]) -> String {
    texts.iter().fold(settings.to_owned(), |settings, (from, to)| {
        assert!(settings.contains(from), "no `{from}` in the settings:\n{settings}");
        settings.replace(from, to)
    })
}

#[test]
#[should_panic(expected = "no `'session.timeout.ms' = 1500` in the settings")]
fn settings_that_have_other_times_are_not_made_patient_in_silence() {
    let times = ["'session.timeout.ms' = 1501", "'transaction.timeout.ms' = 5000"];
    patient(&times.join("\n"));
}

/// A small model: what is tested here is delivery.
pub(crate) fn bundle() -> SealedBundle {
    sealed(23, 5, &[6])
}

pub(crate) fn start(sealed: &SealedBundle, settings: &str) -> Daemon {
    Daemon::start(sealed.root.path(), "random", "", settings)
}

pub(crate) fn tick(symbol: &str, day: u32) -> String {
    let phase = f64::from(day) * 0.37 + f64::from(symbol.as_bytes()[1]);
    let (close, volume) = (100.0 + 30.0 * phase.sin(), 500.0 + 400.0 * (phase * 0.7).cos());
    let time = i64::from(day) * 86_400_000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
}

pub(crate) fn symbols(count: u8) -> Vec<String> {
    (0..count).map(|index| format!("S{}", char::from(b'a' + index))).collect()
}

/// Ticks of every symbol on days, in order of time, with their keys.
pub(crate) fn ticks(symbols: &[String], days: std::ops::Range<u32>) -> Vec<(String, String)> {
    days.flat_map(|day| symbols.iter().map(move |s| (s.clone(), tick(s, day)))).collect()
}

pub(crate) fn produce(cluster: &Cluster, topic: &str, records: &[(String, String)]) {
    cluster.produce(topic, records.iter().map(|(key, text)| (&**key, text.as_bytes())));
}

/// Records by symbol, each in the order of its topic or file.
pub(crate) type BySymbol = BTreeMap<String, Vec<String>>;

/// What `replay` forecasts of records.
pub(crate) fn replay(sealed: &SealedBundle, records: &[(String, String)]) -> BySymbol {
    replay_and_score(sealed, records).0
}

/// What `replay` forecasts of records, and how it scores that.
pub(crate) fn replay_and_score(
    sealed: &SealedBundle,
    records: &[(String, String)],
) -> (BySymbol, BySymbol) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let lines: Vec<_> = records.iter().map(|(_, text)| &**text).collect();
    fs::write(path("ticks.jsonl"), lines.join("\n")).unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let (config, input) = (path("tickcast.toml"), path("ticks.jsonl"));
    let scores = path("scores.jsonl");
    let output =
        run(&["replay", "-c", &config, "--input", &input, "--output", "-", "--scores", &scores]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let forecasts = String::from_utf8(output.stdout).unwrap();
    let scores = fs::read_to_string(scores).unwrap();
    let [forecasts, scores] =
        [forecasts, scores].map(|text| by_symbol(text.lines().map(str::to_owned)));
    (forecasts, scores)
}

pub(crate) fn by_symbol(records: impl Iterator<Item = String>) -> BySymbol {
    let mut by_symbol = BySymbol::new();
    for text in records {
        by_symbol.entry(identity(&text).1).or_default().push(text);
    }
    by_symbol
}

/// The id and the symbol of a forecast or a score.
fn identity(text: &str) -> (String, String) {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    (text("id"), text("symbol"))
}

pub(crate) fn parse(text: &str) -> ForecastRecord<'_> {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn text(record: &Stored) -> String {
    String::from_utf8(record.payload.clone().expect("a record with a payload")).unwrap()
}

/// Forecasts or scores by symbol in the order of the topic; a repeat must have the bytes of the
/// first (I2) and is dropped. Returns how many repeats there were.
pub(crate) fn distinct(records: &[Stored]) -> (BySymbol, usize) {
    let (mut seen, mut repeats) = (BTreeMap::<String, String>::new(), 0);
    let mut kept = Vec::new();
    for record in records {
        let text = text(record);
        let (id, symbol) = identity(&text);
        assert_eq!(record.key.as_deref(), Some(&*symbol));
        if let Some(first) = seen.get(&id) {
            assert_eq!(*first, text, "a repeat has the bytes of the first");
            repeats += 1;
        } else {
            seen.insert(id, text.clone());
            kept.push(text.clone());
        }
    }
    (by_symbol(kept.into_iter()), repeats)
}

/// I4: `as_of` strictly increases per symbol.
pub(crate) fn assert_in_order(forecasts: &BySymbol) {
    for (symbol, forecasts) in forecasts {
        let times: Vec<_> = forecasts.iter().map(|text| parse(text).as_of).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{symbol}: {times:?}");
    }
}

/// The newest value of each key of a changelog.
pub(crate) fn states(cluster: &Cluster, topics: &Topics) -> BTreeMap<String, Option<Vec<u8>>> {
    let records = cluster.read(&topics.changelog(), "read_committed");
    records.into_iter().map(|record| (record.key.unwrap(), record.payload)).collect()
}

/// What the group has committed of the partitions that it has read something of.
pub(crate) fn committed(cluster: &Cluster, topics: &Topics) -> BTreeMap<i32, i64> {
    read_of(cluster.committed(&topics.group, &topics.input))
}

fn read_of(committed: BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
    committed.into_iter().filter(|(_, offset)| *offset > 0).collect()
}

pub(crate) fn await_committed(cluster: &Cluster, topics: &Topics) {
    let partitions = cluster.partition_count(&topics.input).unwrap();
    let ends: BTreeMap<_, _> = (0..partitions)
        .map(|partition| (partition, cluster.watermarks(&topics.input, partition).1))
        .filter(|(_, end)| *end > 0)
        .collect();
    let commits = cluster.commits(&topics.group, &topics.input);
    eventually("every tick's commit", || (read_of(commits.now()) == ends).then_some(()));
}
