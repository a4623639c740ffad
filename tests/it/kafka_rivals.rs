//! Verdicts through Kafka, against a real broker: over a restart and two rebalances every verdict
//! against a baseline and against a rival is the one that follows from the scores on the topic.
//!
//! The records are the recorded stock days. `TICKCAST_TEST_BARS` names a CSV file of minute bars in
//! their place, with the columns `timestamp`, `close` and `volume` (UTC); `docs/scores.md` has what
//! it came to. `TICKCAST_TEST_PYTHON` names a Python with numpy that computes every verdict again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tickcast::core::domain::UnixNanos;
use tickcast::core::features::Scaler;
use tickcast::core::verdict::Word;
use tickcast::engine::model::manifest::StepSpec;

use crate::support::broker::Broker;
use crate::support::bundle::{draft_of, manifest, range};
use crate::support::network::Network;
use crate::support::process::{Daemon, eventually};
use crate::support::topics::{PARTITIONS, Topics, await_committed, patient, produce, text};
use crate::support::verdicts::{assert_verdicts, check_with_python};
use crate::support::{repository, runtime};

/// Models of one network, whose forecasts are the nearer to no change the smaller this is.
const MODELS: [(&str, f64); 3] = [("live", 0.05), ("wide", 0.4), ("near", 0.005)];

const ENTRIES: &str = "[[models]]\nname = 'live'\n\
    [[models]]\nname = 'wide'\nrole = 'shadow'\nshadows = 'live'\n\
    [[models]]\nname = 'near'\nrole = 'shadow'\nshadows = 'live'\n";

/// Records in the order of time, each with its symbol.
struct Recording {
    records: Vec<(String, String)>,
    step_seconds: u32,
}

/// The columns of a file of values with commas, by their names.
fn columns<'t>(text: &'t str, names: &[&str]) -> Vec<Vec<&'t str>> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let places: Vec<_> =
        names.iter().map(|name| head.iter().position(|column| column == name).unwrap()).collect();
    lines.map(|line| places.iter().map(|place| line[*place]).collect()).collect()
}

fn record(symbol: &str, time: &str, close: &str, volume: &str) -> (UnixNanos, (String, String)) {
    let at = UnixNanos::parse(&time.replace(' ', "T")).or_else(|_| {
        // A time without a zone is UTC.
        UnixNanos::parse(&format!("{}Z", time.replace(' ', "T")))
    });
    let at = at.unwrap();
    let millis = at.as_nanos() / 1_000_000;
    let line =
        format!(r#"{{"symbol":"{symbol}","time":{millis},"close":{close},"volume":{volume}}}"#);
    (at, (symbol.to_owned(), line))
}

impl Recording {
    fn read() -> Self {
        if let Ok(path) = std::env::var("TICKCAST_TEST_BARS") {
            let bars = fs::read_to_string(path).unwrap();
            let rows = columns(&bars, &["timestamp", "close", "volume"]);
            let records = rows.iter().map(|row| record("BARS", row[0], row[1], row[2]).1);
            return Self { records: records.collect(), step_seconds: 60 };
        }
        let data = std::env::var("TICKCAST_TEST_DATA")
            .map_or_else(|_| repository().join(".cache/data/stocks.csv"), Into::into);
        let days = fs::read_to_string(data).unwrap();
        let rows = columns(&days, &["Ticker", "Date", "Adj Close", "Volume"]);
        let mut records: Vec<_> =
            rows.iter().map(|row| record(row[0], row[1], row[2], row[3])).collect();
        records.sort_by_key(|(at, _)| *at);
        Self {
            records: records.into_iter().map(|(_, record)| record).collect(),
            step_seconds: 86_400,
        }
    }

    fn symbols(&self) -> BTreeSet<&str> {
        self.records.iter().map(|(symbol, _)| &**symbol).collect()
    }
}

#[test]
fn verdicts_are_those_of_the_scores_over_a_restart_and_rebalances() {
    let recording = Recording::read();
    let (broker, root) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topics = Topics::create(broker);
    for (name, range_max) in MODELS {
        let network = Network::random(41, 3, &[6]);
        let mut manifest = manifest(5, &network);
        name.clone_into(&mut manifest.name);
        manifest.step = StepSpec::record(recording.step_seconds);
        let columns = vec![range("next_return", -range_max, range_max)];
        manifest.target.scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns };
        draft_of(manifest, &network).seal(root.path(), runtime()).unwrap();
    }
    let serve = |instance: &str| {
        let settings = patient(&topics.settings(broker, "at_least_once", instance));
        let settings = format!("{settings}engine.shadow_age_ms_max = 0\nengine.shards = 2\n");
        Daemon::start_several(root.path(), "", &settings, ENTRIES, |_| {})
    };
    let quarter = recording.records.len().div_ceil(4);
    let mut parts = recording.records.chunks(quarter);
    let mut pass = || {
        produce(broker, &topics.input, parts.next().unwrap());
        await_committed(broker, &topics);
    };
    let partitions = |daemon: &Daemon| daemon.metric("tickcast_kafka_partitions");
    let all = f64::from(PARTITIONS);
    let first = serve("first");
    pass();
    // A restart.
    assert!(first.stop().status.success());
    let first = serve("first");
    pass();
    // Another member takes half of the partitions, and then all of them.
    let second = serve("second");
    eventually("half of the partitions each", || {
        (partitions(&first) == all / 2.0 && partitions(&second) == all / 2.0).then_some(())
    });
    pass();
    assert!(first.stop().status.success());
    second.await_metric("tickcast_kafka_partitions", all);
    pass();
    // Over all symbols, by the states that have come from elsewhere.
    let verdict = |model: &str| {
        second.metric(&format!("tickcast_verdict{{against=\"model:live\",model=\"{model}\"}}"))
    };
    assert_eq!((verdict("wide"), verdict("near")), (-1.0, 1.0));
    assert_eq!(second.metric("tickcast_kafka_symbols_cold_total"), 0.0);
    assert!(second.stop().status.success());

    let scores = broker.read(&topics.scores, "read_committed");
    let scores: Vec<_> = scores.iter().map(text).collect();
    let newest = assert_verdicts(&scores, 1);
    check_with_python(&scores, 1);
    let symbols = recording.symbols();
    assert_eq!(newest.len(), MODELS.len() * symbols.len());
    let mut words = BTreeMap::<_, Vec<_>>::new();
    for ((model, _, symbol), newest) in &newest {
        // One step without a change, a window, and no truth of the newest forecast.
        let days = recording.records.iter().filter(|(of, _)| of == symbol).count() as u64;
        assert_eq!(newest.scores, days - 6, "{model} {symbol}");
        let compared = newest.rival.as_ref().map(|(version, scores, word)| {
            assert_eq!((&**version, *scores), ("1", days - 6), "{model} {symbol}");
            *word
        });
        words.entry(&**model).or_default().push(compared);
    }
    println!("{} scores of {} symbols: {words:?}", scores.len(), symbols.len());
    assert!(words["live"].iter().all(Option::is_none));
    assert!(words["wide"].contains(&Some(Word::Worse)));
    assert!(words["near"].contains(&Some(Word::Better)));
}
