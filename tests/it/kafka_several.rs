//! Several models through Kafka, against a real broker: shadows on a topic of their own, states of
//! each model back after a kill, and a promotion that survives one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::bundle::{draft_of, manifest};
use crate::support::cluster::Stored;
use crate::support::network::Network;
use crate::support::process::{Daemon, run};
use crate::support::runtime;
use crate::support::topics::{
    Topics, await_committed, parse, patient, produce, states, symbols, text, ticks,
};

/// A live model, its next version as a shadow, and another live one for two symbols.
const THREE: &str = "[[models]]\nname = 'vol'\nversion = '1'\n\
    [[models]]\nname = 'vol'\nas = 'vol-next'\nversion = '2'\nrole = 'shadow'\n\
    [[models]]\nname = 'tend'\nsymbols = ['Sa', 'Sb']\n";

const ONE: &str = "[[models]]\nname = 'vol'\nversion = '1'\n";

/// Keys of a changelog, by their model.
type Keys = BTreeMap<String, BTreeSet<String>>;

/// A symbol and the day of a step.
type Step = (String, u32);

/// Models, topics and the folder of roles.
struct Place {
    root: TempDir,
    broker: &'static Broker,
    topics: Topics,
    shadows: String,
}

impl Place {
    fn new() -> Self {
        let broker = Broker::shared();
        let topics = Topics::create(broker);
        let shadows = format!("{}-shadows", topics.group);
        let place = Self { root: tempfile::tempdir().unwrap(), broker, topics, shadows };
        for (name, version, seed, window_steps) in
            [("vol", "1", 41, 5), ("vol", "2", 43, 5), ("tend", "1", 47, 3)]
        {
            let network = Network::random(seed, 3, &[6]);
            let mut manifest = manifest(window_steps, &network);
            (manifest.name, manifest.version) = (name.to_owned(), version.to_owned());
            draft_of(manifest, &network).seal(&place.path("models"), runtime()).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn serve(&self, topics: &Topics, delivery: &str, models: &str) -> Daemon {
        let folder = if topics.group == self.topics.group { "state" } else { "calm" };
        // Waits for transactions of a busy machine: what dies here is killed.
        let settings = patient(&topics.settings(self.broker, delivery, "one"));
        let settings = format!(
            "{settings}kafka.shadows = '{}'\nsnapshot.folder = '{}'\n\
             engine.shadow_age_ms_max = 0\nengine.shards = 2\n",
            if topics.group == self.topics.group { &self.shadows } else { "" },
            self.path(folder).display(),
        );
        // A process that was killed is a member of the group until its session is over.
        let settings = settings
            .replace("'session.timeout.ms' = 30000", "'session.timeout.ms' = 6000")
            .replace("'heartbeat.interval.ms' = 300", "'heartbeat.interval.ms' = 500");
        Daemon::start_several(&self.path("models"), "", &settings, models, |_| {})
    }

    fn produce(&self, records: &[(String, String)]) {
        produce(self.broker, &self.topics.input, records);
    }

    fn await_committed(&self) {
        await_committed(self.broker, &self.topics);
    }

    /// What a version says alone about records, by step.
    fn replay(
        &self,
        name: &str,
        version: &str,
        records: &[(String, String)],
    ) -> BTreeMap<Step, String> {
        let path = |name: &str| self.path(name).display().to_string();
        let lines: Vec<_> = records.iter().map(|(_, text)| &**text).collect();
        fs::write(path("replay.jsonl"), lines.join("\n")).unwrap();
        let config = format!(
            "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = '{name}'\n\
             model.version = '{version}'\n",
            path("models")
        );
        fs::write(path("replay.toml"), config).unwrap();
        let (config, input) = (path("replay.toml"), path("replay.jsonl"));
        let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| (step_of(line), line.to_owned())).collect()
    }

    /// The keys of the changelog that have a state; where a state of another partition than its
    /// symbol's ticks is met, the test fails.
    fn keys(&self, topics: &Topics) -> Keys {
        let inputs = self.broker.read(&topics.input, "read_committed");
        let partition_of: BTreeMap<_, _> =
            inputs.iter().map(|record| (record.key.clone().unwrap(), record.partition)).collect();
        let mut keys = Keys::new();
        let mut newest = BTreeMap::new();
        for record in self.broker.read(&topics.changelog(), "read_committed") {
            let key = record.key.clone().unwrap();
            let (_, symbol) = parts(&key);
            assert_eq!(partition_of[&symbol], record.partition, "{key}");
            newest.insert(key, record.payload.is_some());
        }
        for key in newest.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)) {
            let (model, symbol) = parts(&key);
            keys.entry(model).or_default().insert(symbol);
        }
        keys
    }
}

/// The model, empty for none, and the symbol of a key.
fn parts(key: &str) -> (String, String) {
    let (model, symbol) = key.split_once('\t').unwrap_or(("", key));
    (model.to_owned(), symbol.to_owned())
}

fn step_of(line: &str) -> Step {
    let forecast = parse(line);
    let day = u32::try_from(forecast.as_of.as_nanos() / 86_400_000_000_000).unwrap();
    (forecast.symbol.to_string(), day)
}

/// Forecasts of a topic by model and step, which must agree with what their models say alone.
/// Returns how often each was published.
fn held_to(
    records: &[Stored],
    alone: &BTreeMap<(&str, &str), BTreeMap<Step, String>>,
) -> BTreeMap<(String, String), BTreeMap<Step, usize>> {
    let mut counts = BTreeMap::<_, BTreeMap<Step, usize>>::new();
    for record in records {
        let line = text(record);
        let (forecast, step) = (parse(&line), step_of(&line));
        assert_eq!(record.key.as_deref(), Some(&*step.0));
        let version = (&*forecast.model, &*forecast.model_version);
        assert_eq!(alone[&version].get(&step), Some(&line), "{version:?} {step:?}");
        let version = (forecast.model.to_string(), forecast.model_version.to_string());
        *counts.entry(version).or_default().entry(step).or_default() += 1;
    }
    counts
}

fn promote(daemon: &Daemon, name: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let host = daemon.address();
    let request = format!(
        "POST /v1/models/{name}/promote HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The steps of which a version says something, with the days that `is_wanted` takes.
fn steps(alone: &BTreeMap<Step, String>, is_wanted: impl Fn(&Step) -> bool) -> BTreeSet<Step> {
    alone.keys().filter(|step| is_wanted(step)).cloned().collect()
}

fn set(of: &BTreeMap<Step, usize>) -> BTreeSet<Step> {
    of.keys().cloned().collect()
}

/// Two live models and a shadow through kills and a promotion between them. `days` are the first
/// days of the parts: a kill, a kill behind the promotion, and the end.
fn kills_and_a_promotion(delivery: &str) {
    let place = Place::new();
    let symbols = symbols(8);
    let day = |from: u32, to: u32| ticks(&symbols, from..to);

    place.produce(&day(0, 12));
    let daemon = place.serve(&place.topics, delivery, THREE);
    place.await_committed();
    place.produce(&day(12, 20));
    // Somewhere in the second part.
    daemon.await_metric("tickcast_ticks_total", (13 * symbols.len()) as f64);
    daemon.kill();

    let daemon = place.serve(&place.topics, delivery, THREE);
    place.await_committed();
    // Everything may have been committed before the kill, so this daemon may have nothing to
    // commit.
    daemon.await_metric("tickcast_kafka_symbols_restored_total", symbols.len() as f64);
    assert_eq!(daemon.metric("tickcast_kafka_symbols_cold_total"), 0.0);
    let answer = promote(&daemon, "vol-next");
    assert_eq!(answer["outcome"], "promoted", "{answer}");
    assert_eq!(answer["survives_restart"], true, "{answer}");
    place.produce(&day(20, 28));
    daemon.await_metric("tickcast_ticks_total", symbols.len() as f64);
    daemon.kill();

    let daemon = place.serve(&place.topics, delivery, THREE);
    let live = |model: &str| daemon.metric(&format!("tickcast_model_live{{model=\"{model}\"}}"));
    assert_eq!([live("vol"), live("vol-next"), live("tend")], [0.0, 1.0, 1.0]);
    place.produce(&day(28, 36));
    place.await_committed();
    assert_eq!(daemon.metric("tickcast_kafka_symbols_cold_total"), 0.0);
    // Another group, without a kill. What a shadow has come to beside the live model begins again
    // with each promotion, so both groups have the last one before the same step.
    let calm_topics = place.topics.again();
    let calm = place.serve(&calm_topics, delivery, THREE);
    await_committed(place.broker, &calm_topics);
    assert_eq!(promote(&calm, "vol-next")["outcome"], "promoted");
    for daemon in [&daemon, &calm] {
        assert_eq!(promote(daemon, "vol")["outcome"], "promoted");
    }
    place.produce(&day(36, 37));
    place.await_committed();
    await_committed(place.broker, &calm_topics);
    for daemon in [daemon, calm] {
        let ended = daemon.stop();
        assert!(ended.status.success(), "{:?}", ended.log);
    }

    let records = day(0, 37);
    let alone: BTreeMap<_, _> = [("vol", "1"), ("vol", "2"), ("tend", "1")]
        .map(|(name, version)| ((name, version), place.replay(name, version, &records)))
        .into();
    let read = |topic: &str| place.broker.read(topic, "read_committed");
    let published = held_to(&read(&place.topics.forecasts), &alone);
    let of_shadows = held_to(&read(&place.shadows), &alone);
    let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    let (first, second) = (named("vol", "1"), named("vol", "2"));
    let of_first = |step: &Step| step.1 < 20 || step.1 == 36;
    for (topic, version, expected) in [
        (&published, &first, steps(&alone[&("vol", "1")], of_first)),
        (&published, &second, steps(&alone[&("vol", "2")], |step| !of_first(step))),
        (&of_shadows, &second, steps(&alone[&("vol", "2")], of_first)),
        (&of_shadows, &first, steps(&alone[&("vol", "1")], |step| !of_first(step))),
    ] {
        assert_eq!(set(&topic[version]), expected, "{delivery} {version:?}");
    }
    let of_tend = steps(&alone[&("tend", "1")], |step| ["Sa", "Sb"].contains(&&*step.0));
    assert_eq!(set(&published[&named("tend", "1")]), of_tend);
    assert_eq!((published.len(), of_shadows.len()), (3, 2), "shadows are nowhere else");
    if delivery == "exactly_once" {
        let counts = published.values().chain(of_shadows.values()).flat_map(BTreeMap::values);
        assert!(counts.copied().all(|count| count == 1), "each of them once");
    }

    let all: BTreeSet<_> = symbols.iter().cloned().collect();
    let two = ["Sa", "Sb"].map(str::to_owned).into();
    let expected: Keys = [("vol", all.clone()), ("vol-next", all), ("tend", two)]
        .map(|(model, symbols)| (model.to_owned(), symbols))
        .into();
    assert_eq!(place.keys(&place.topics), expected);
    // The states are those of a run without a kill, whoever was live.
    let [found, expected] = [&place.topics, &calm_topics].map(|of| states(place.broker, of));
    assert!(found == expected, "the states");
}

#[test]
fn kills_and_a_promotion_leave_each_model_its_forecasts_and_states_at_least_once() {
    kills_and_a_promotion("at_least_once");
}

#[test]
fn kills_and_a_promotion_leave_each_model_its_forecasts_and_states_exactly_once() {
    kills_and_a_promotion("exactly_once");
}

/// A promotion between two commits, and a kill before the next one: what was not committed is read
/// again with the roles of after it.
fn killed_behind_a_promotion(delivery: &str) {
    let place = Place::new();
    let symbols = symbols(8);
    place.produce(&ticks(&symbols, 0..10));
    let daemon = place.serve(&place.topics, delivery, THREE);
    daemon.await_metric("tickcast_ticks_total", symbols.len() as f64);
    place.produce(&ticks(&symbols, 10..20));
    let answer = promote(&daemon, "vol-next");
    assert_eq!(answer["outcome"], "promoted", "{answer}");
    daemon.kill();
    let daemon = place.serve(&place.topics, delivery, THREE);
    place.produce(&ticks(&symbols, 20..30));
    place.await_committed();
    assert!(daemon.stop().status.success());
    let records = ticks(&symbols, 0..30);
    let alone: BTreeMap<_, _> = [("vol", "1"), ("vol", "2"), ("tend", "1")]
        .map(|(name, version)| ((name, version), place.replay(name, version, &records)))
        .into();
    let stored = place.broker.read(&place.topics.forecasts, "read_committed");
    held_to(&stored, &alone);
    let mut live = BTreeMap::<Step, Vec<String>>::new();
    for record in &stored {
        let line = text(record);
        let forecast = parse(&line);
        if forecast.model == "vol" {
            live.entry(step_of(&line)).or_default().push(forecast.model_version.to_string());
        }
    }
    let every_step: BTreeSet<_> = steps(&alone[&("vol", "1")], |_| true);
    assert_eq!(live.keys().cloned().collect::<BTreeSet<_>>(), every_step, "{delivery}");
    for symbol in &symbols {
        let of_symbol = live.iter().filter(|((of, _), _)| of == symbol).map(|(_, said)| said);
        let of_symbol: Vec<_> = of_symbol.collect();
        assert_eq!(of_symbol[of_symbol.len() - 1], &["2"], "{delivery} {symbol}");
        if delivery == "exactly_once" {
            let said: Vec<_> = of_symbol.into_iter().flatten().collect();
            assert_eq!(said.len(), 25, "{symbol}: one live forecast of each step");
            assert!(said.is_sorted(), "{symbol}: {said:?}");
        }
    }
}

#[test]
fn a_kill_behind_a_promotion_leaves_no_step_without_a_live_forecast() {
    killed_behind_a_promotion("at_least_once");
}

#[test]
fn a_kill_behind_a_promotion_leaves_each_step_one_live_forecast_exactly_once() {
    killed_behind_a_promotion("exactly_once");
}

#[test]
fn a_changelog_of_one_model_becomes_one_of_several_and_goes_back() {
    let place = Place::new();
    let symbols = symbols(4);
    let all: BTreeSet<_> = symbols.iter().cloned().collect();
    let single = "model.name = 'vol'\nmodel.version = '1'\n";
    let mut day = 0;
    let mut life = |models: &str, days: u32, restored: usize| {
        // `[model]` comes before the tables.
        let daemon = place.serve(&place.topics, "at_least_once", models);
        place.produce(&ticks(&symbols, day..day + days));
        day += days;
        place.await_committed();
        let symbols_restored = daemon.metric("tickcast_kafka_symbols_restored_total");
        assert_eq!(symbols_restored, restored as f64, "{models}");
        assert!(daemon.stop().status.success());
        place.keys(&place.topics)
    };
    let of = |model: &str, symbols: &BTreeSet<String>| (model.to_owned(), symbols.clone());
    assert_eq!(life(single, 9, 0), [of("", &all)].into());
    // The shadow begins with the windows of the version before it, and so does no other model.
    let two: BTreeSet<_> = ["Sa", "Sb"].map(str::to_owned).into();
    let several = [of("vol", &all), of("vol-next", &all), of("tend", &two)].into();
    assert_eq!(life(THREE, 9, 4), several);
    assert_eq!(life(ONE, 9, 4), [of("vol", &all)].into());
    assert_eq!(life(single, 9, 4), [of("", &all)].into());
    let records = ticks(&symbols, 0..36);
    let alone: BTreeMap<_, _> = [("vol", "1"), ("vol", "2"), ("tend", "1")]
        .map(|(name, version)| ((name, version), place.replay(name, version, &records)))
        .into();
    let read = |topic: &str| place.broker.read(topic, "read_committed");
    let mut of_first = BTreeSet::new();
    for record in read(&place.topics.forecasts) {
        let line = text(&record);
        if parse(&line).model == "vol" {
            assert_eq!(alone[&("vol", "1")].get(&step_of(&line)), Some(&line));
            of_first.insert(step_of(&line));
        }
    }
    assert_eq!(of_first, steps(&alone[&("vol", "1")], |_| true));
    let of_shadow: BTreeSet<_> =
        read(&place.shadows).iter().map(|record| step_of(&text(record))).collect();
    let expected = steps(&alone[&("vol", "2")], |(_, day)| (9..18).contains(day));
    assert_eq!(of_shadow, expected, "it began with full windows");
}
