//! The tools at both ends of a topic, against a real broker: what is written is what is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use tickcast::core::domain::UnixNanos;
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::broker::{Broker, unique};
use crate::support::bundle::{SealedBundle, sealed};
use crate::support::cluster::Stored;
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::process::{Daemon, eventually, run, signal, tickcast};
use crate::support::repository;
use crate::support::venue::{Order, Trade, VenueServer};

const WINDOW_STEPS: u32 = 5;

fn bundle() -> SealedBundle {
    sealed(29, WINDOW_STEPS, &[6])
}

fn tick(symbol: &str, day: u32) -> String {
    let phase = f64::from(day) * 0.41 + f64::from(symbol.as_bytes()[0]);
    let (close, volume) = (100.0 + 30.0 * phase.sin(), 500.0 + 400.0 * (phase * 0.7).cos());
    let time = i64::from(day) * 86_400_000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
}

/// Ticks of every symbol on days, in order of time.
fn recording(symbols: &[&str], days: std::ops::Range<u32>) -> Vec<String> {
    days.flat_map(|day| symbols.iter().map(move |symbol| tick(symbol, day))).collect()
}

fn url(broker: &Broker, topic: &str) -> String {
    format!("kafka://{}/{topic}", broker.address())
}

/// Plays lines onto a topic; returns what was said at the end.
fn feed(folder: &Path, lines: &[String], to: &str) -> String {
    let input = folder.join("recording.jsonl");
    fs::write(&input, lines.join("\n")).unwrap();
    let input = input.display().to_string();
    let output = run(&[
        "feed",
        "--input",
        &input,
        "--to",
        to,
        "--speed",
        "max",
        "--partitions",
        "3",
        "--accept-times",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Forecasts of a replay, one a line, in the order in which they came.
fn replay(sealed: &SealedBundle, folder: &Path, arguments: &[&str]) -> String {
    let path = folder.join("replay.toml");
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(&path, config).unwrap();
    let path = path.display().to_string();
    let output = run(&[&["replay", "-c", &path], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// As [`replay`], of a file with these lines.
fn replay_lines(sealed: &SealedBundle, folder: &Path, lines: &[String]) -> String {
    let input = folder.join("replay.jsonl");
    fs::write(&input, lines.join("\n")).unwrap();
    replay(sealed, folder, &["--input", &input.display().to_string()])
}

fn by_symbol(forecasts: &str) -> BTreeMap<String, Vec<String>> {
    let mut by_symbol = BTreeMap::<_, Vec<_>>::new();
    for line in forecasts.lines() {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        by_symbol.entry(forecast.symbol.into_owned()).or_default().push(line.to_owned());
    }
    by_symbol
}

fn payload(record: &Stored) -> String {
    String::from_utf8(record.payload.clone().unwrap()).unwrap()
}

/// The records of each key in the order of the topic.
fn by_key(records: &[Stored]) -> BTreeMap<Option<String>, Vec<String>> {
    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for record in records {
        by_key.entry(record.key.clone()).or_default().push(payload(record));
    }
    by_key
}

/// The same of lines, by the symbol in each.
fn lines_by_key(lines: &[String]) -> BTreeMap<Option<String>, Vec<String>> {
    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let symbol =
            tickcast::core::decode::symbol_of(line.as_bytes()).map(std::borrow::Cow::into_owned);
        by_key.entry(symbol).or_default().push(line.clone());
    }
    by_key
}

#[test]
fn a_recording_fed_to_a_topic_replays_from_it_like_from_the_file() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let folder = tempfile::tempdir().unwrap();
    let topic = unique("fed");
    let url = url(broker, &topic);
    let symbols = ["AAPL", "GOOG", "IBM", "MSFT", "ORCL", "SAP"];
    let mut first = recording(&symbols, 0..20);
    first.insert(17, "no tick at all".to_owned());
    let second = recording(&symbols, 20..40);
    let said = feed(folder.path(), &first, &url);
    let words = format!("{} records acknowledged by {url} (3 partitions)", first.len());
    assert!(said.starts_with(&words), "{said}");
    let between = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let between = UnixNanos::from_nanos(i64::try_from(between).unwrap()).to_string();
    feed(folder.path(), &second, &url);

    let all = [&first[..], &second[..]].concat();
    let stored = broker.read(&topic, "read_committed");
    assert_eq!(by_key(&stored), lines_by_key(&all));
    // Where the Java client puts keys, which the harness asks for, too.
    let placed = unique("placed");
    broker.create_topic(&placed, 3);
    broker.produce(&placed, symbols.map(|symbol| (symbol, &b""[..])));
    for record in broker.read(&placed, "read_committed") {
        let same_key = |other: &&Stored| other.key == record.key;
        assert!(stored.iter().filter(same_key).all(|other| other.partition == record.partition));
    }

    let from_topic =
        |more: &[&str]| replay(&sealed, folder.path(), &[&["--input", &url], more].concat());
    let from_file = |lines: &[String]| by_symbol(&replay_lines(&sealed, folder.path(), lines));
    let forecasts = from_topic(&[]);
    assert_eq!(by_symbol(&forecasts), from_file(&all));
    assert_eq!(forecasts, from_topic(&[]), "the order is the same in every run");
    assert_eq!(forecasts, from_topic(&["--from", "beginning", "--to", "end"]));
    assert_eq!(by_symbol(&from_topic(&["--from", &between])), from_file(&second));
    assert_eq!(by_symbol(&from_topic(&["--to", &between])), from_file(&first));
    assert_eq!(from_topic(&["--from", "end"]), "");
    assert_eq!(from_topic(&["--from", "2100-01-01"]), "");
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let url = url(broker, &unique("missing"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("t.toml").display().to_string();
    let text = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(&config, text).unwrap();
    for arguments in [
        &["replay", "-c", &config, "--input", &url][..],
        &["watch", &url, "--connect-seconds", "1"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(75), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&url) && said.contains("the topic does not exist"), "{said}");
    }
}

#[test]
fn an_option_that_there_is_not_is_told_at_once() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let url = url(broker, "any");
    let input = folder.path().join("one.jsonl").display().to_string();
    fs::write(&input, tick("A", 0)).unwrap();
    let option = ["--kafka-option", "securty.protocol=SSL"];
    for arguments in
        [&["feed", "--input", &input, "--accept-times", "--to", &url][..], &["watch", &url]]
    {
        let output = run(&[arguments, &option].concat());
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("securty.protocol"), "{said}");
    }
    // It may end before anybody could ask it for its address.
    let config = folder.path().join("bridge.toml").display().to_string();
    let settings = "source.url = 'ws://127.0.0.1:1'\nhttp.bind = '127.0.0.1:0'\n\
                    bridge.topic = 'any'\nkafka.options.'securty.protocol' = 'SSL'\n";
    fs::write(&config, settings).unwrap();
    let output = run(&["bridge", "-c", &config]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("kafka.options: ") && said.contains("securty.protocol"), "{said}");
}

#[test]
fn check_knows_a_bridge_and_tells_what_cannot_work() {
    let (sealed, folder) = (bundle(), tempfile::tempdir().unwrap());
    let check = |settings: &str| {
        let path = folder.path().join("checked.toml").display().to_string();
        fs::write(&path, settings).unwrap();
        let output = run(&["check", "-c", &path]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let bridge = "source.url = 'ws://127.0.0.1:1'\nkafka.brokers = 'h:1'\nbridge.topic = 'ticks'\n";
    let (code, said) = check(bridge);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("bridge        onto h:1/ticks"), "{said}");
    assert!(said.contains("connection 1  ws://127.0.0.1:1"), "{said}");
    let (code, said) = check(&format!("{bridge}kafka.options.'securty.protocol' = 'SSL'\n"));
    assert_eq!((code, said.contains("securty.protocol")), (Some(78), true), "{said}");
    let (code, said) = check(&format!("{bridge}bridge.partition = 3\n"));
    assert_eq!((code, said.contains("did you mean `partitions`?")), (Some(78), true), "{said}");

    let daemon = format!(
        "source.kind = 'kafka'\nkafka.topics = ['ticks']\n\
         model.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    let (code, said) = check(&daemon);
    assert_eq!((code, said.contains("warning")), (Some(0), false), "{said}");
    let (code, said) = check(&format!("{daemon}kafka.options.'max.poll.interval.ms' = 70000\n"));
    assert_eq!(code, Some(0), "{said}");
    let warnings: Vec<_> = said.lines().filter(|line| line.starts_with("warning")).collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(warnings[0].contains("kafka.restore_ms_max = 120000"), "{said}");
    let (code, said) = check(&format!("{daemon}kafka.options.'sasl.pasword' = 'hunter2'\n"));
    assert_eq!((code, said.contains("hunter2")), (Some(78), false), "{said}");
    let missing = "kafka.options.'sasl.password_file' = '/nonexistent/password'\n";
    let (code, said) = check(&format!("{daemon}{missing}"));
    assert_eq!((code, said.contains("sasl.password_file: ")), (Some(78), true), "{said}");
}

#[test]
fn a_record_that_cannot_be_sent_is_counted_and_marks_a_gap() {
    let broker = Broker::shared();
    let topic = unique("refused");
    let feed = ScriptedFeed::start();
    let options = "kafka.options.'message.max.bytes' = 2000\n";
    let settings = format!("{}{options}", bridge_settings(broker, &topic));
    let bridge = Daemon::start_bridge(feed.url(), &settings);
    let lines = recording(&["A", "B"], 0..4);
    lines[..4].iter().for_each(|line| feed.say(line));
    feed.say(format!(r#"{{"symbol":"A","note":"{}"}}"#, "x".repeat(3000)));
    lines[4..].iter().for_each(|line| feed.say(line));
    bridge.await_metric("tickcast_bridge_acknowledged_total", lines.len() as f64);
    assert_eq!(bridge.metric("tickcast_bridge_failed_total"), 1.0);
    let ended = bridge.stop();
    assert!(ended.status.success(), "it was refused and told long ago: {:?}", ended.log);
    let stored = broker.read(&topic, "read_committed");
    assert_eq!(by_key(&stored), lines_by_key(&lines));
    let marked = |record: &&Stored| record.headers.contains_key("tickcast-gap");
    let marked: BTreeSet<_> = stored.iter().filter(marked).map(payload).collect();
    assert_eq!(marked, [&lines[..2], &lines[4..6]].concat().into_iter().collect());
}

/// A running `tickcast watch`, which writes to a file.
struct Watch {
    child: Child,
    folder: tempfile::TempDir,
}

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = fs::File::create(folder.path().join("seen")).unwrap();
        let mut command = tickcast();
        command.arg("watch").args(arguments).stdin(Stdio::null()).stdout(output);
        Self { child: command.spawn().unwrap(), folder }
    }

    fn seen(&self) -> String {
        fs::read_to_string(self.folder.path().join("seen")).unwrap()
    }

    fn stop(mut self) -> String {
        signal(self.child.id(), "TERM");
        let status = eventually("the end of watch", || self.child.try_wait().unwrap());
        assert!(status.success(), "{}", self.seen());
        self.seen()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_shows_the_forecasts_of_a_topic() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let folder = tempfile::tempdir().unwrap();
    let lines = recording(&["A", "B", "C"], 0..30);
    let forecasts = replay_lines(&sealed, folder.path(), &lines);
    let forecasts: Vec<_> = forecasts.lines().map(str::to_owned).collect();
    let (first, second) = forecasts.split_at(forecasts.len() / 2);
    let url = url(broker, &unique("forecasts"));
    feed(folder.path(), first, &url);

    let late = Watch::start(&[&url, "--summary"]);
    eventually("a connection", || late.seen().contains("connected to kafka").then_some(()));
    let all = Watch::start(&[&url, "--from", "beginning", "--json"]);
    let one = Watch::start(&[&url, "--from", "beginning", "--json", "--symbols", "B"]);
    feed(folder.path(), second, &url);
    eventually("all forecasts", || (all.seen().lines().count() >= forecasts.len()).then_some(()));
    let expected = by_symbol(&forecasts.join("\n"));
    assert_eq!(by_symbol(&all.stop()), expected);
    eventually("those of one symbol", || {
        (one.seen().lines().count() >= expected["B"].len()).then_some(())
    });
    assert_eq!(by_symbol(&one.stop()), BTreeMap::from([("B".to_owned(), expected["B"].clone())]));
    // It began at the end, so that it saw what came then and nothing else.
    let count = format!("{} forecasts", second.len());
    eventually("the new forecasts", || late.seen().contains(&count).then_some(()));
    assert!(late.stop().lines().last().unwrap().starts_with(&count));
}

fn bridge_settings(broker: &Broker, topic: &str) -> String {
    format!("kafka.brokers = '{}'\nbridge.topic = '{topic}'\n", broker.address())
}

#[test]
fn forecasts_behind_a_bridge_are_those_of_the_feed_itself_gaps_included() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topic = unique("bridged");
    let before = recording(&["A", "B", "C"], 0..20);
    let mut after = recording(&["A", "B"], 20..40);
    // The mark of a record that is refused waits for the next one of its symbol.
    after.insert(0, r#"{"symbol":"B","time":"never","close":1,"volume":1}"#.to_owned());
    // A symbol that nobody knew before the gap has none; one that comes late has it still.
    after.extend(recording(&["D"], 20..40));
    after.extend(recording(&["C"], 40..43));
    after.push("no tick at all".to_owned());
    let play = |feed: &ScriptedFeed, daemon: &Daemon| {
        before.iter().for_each(|record| feed.say(record));
        daemon.await_metric("tickcast_records_received_total", before.len() as f64);
        feed.act(Act::Break);
        daemon.await_metric("tickcast_source_connects_total", 2.0);
        after.iter().for_each(|record| feed.say(record));
        let all = before.len() + after.len();
        daemon.await_metric("tickcast_records_received_total", all as f64);
    };
    let settings = "source.backoff_seconds_max = 1\n";

    let direct = ScriptedFeed::start();
    let daemon = Daemon::start(sealed.root.path(), "random", direct.url(), settings);
    play(&direct, &daemon);
    let expected = daemon.stop();
    assert!(expected.status.success(), "{:?}", expected.log);
    assert!(expected.lines.contains(r#""quality":"gapped""#), "{}", expected.lines);

    let bridged = ScriptedFeed::start();
    let settings = format!("{settings}{}", bridge_settings(broker, &topic));
    let bridge = Daemon::start_bridge(bridged.url(), &settings);
    play(&bridged, &bridge);
    let all = [&before[..], &after[..]].concat();
    bridge.await_metric("tickcast_bridge_acknowledged_total", all.len() as f64);
    assert_eq!(bridge.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(bridge.get("/v1/stream").0, 404, "a bridge has no forecasts");
    assert_eq!(bridge.metric("tickcast_bridge_unkeyed_total"), 1.0);
    assert_eq!(bridge.metric("tickcast_bridge_failed_total"), 0.0);
    let ended = bridge.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let stored = broker.read(&topic, "read_committed");
    assert_eq!(by_key(&stored), lines_by_key(&all));
    let marked = |record: &&Stored| record.headers.contains_key("tickcast-gap");
    let marked: Vec<_> = stored.iter().filter(marked).map(payload).collect();
    let starts = [&before[..3], &after[..2]].concat();
    let starts = starts.into_iter().chain([tick("D", 20), tick("C", 40)]);
    assert_eq!(BTreeSet::from_iter(marked.clone()), starts.collect(), "the beginning is a gap");
    assert_eq!(marked.len(), 7);

    let forecasts = unique("bridged-forecasts");
    let settings = format!(
        "source.kind = 'kafka'\nkafka.brokers = '{}'\nkafka.topics = ['{topic}']\n\
         kafka.group = '{topic}'\nkafka.forecasts = '{forecasts}'\n",
        broker.address()
    );
    let daemon = Daemon::start(sealed.root.path(), "random", "", &settings);
    daemon.await_metric("tickcast_ticks_total", all.len() as f64);
    assert_eq!(daemon.metric("tickcast_gaps_total"), 7.0);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    assert_eq!(by_symbol(&ended.lines), by_symbol(&expected.lines));
    let folder = tempfile::tempdir().unwrap();
    let replayed = replay(&sealed, folder.path(), &["--input", &url(broker, &topic)]);
    assert_eq!(by_symbol(&replayed), by_symbol(&expected.lines), "replay honours marks as well");
}

#[test]
fn a_bridge_puts_native_ticks_of_an_exchange_onto_the_topic() {
    let broker = Broker::shared();
    let topic = unique("exchange");
    let server = VenueServer::start("kraken");
    let symbols = ["BTC/USD", "ETH/USD"];
    let settings = format!(
        "source.venue = 'kraken'\nsource.symbols = {symbols:?}\n{}",
        bridge_settings(broker, &topic)
    );
    let bridge = Daemon::start_bridge(server.url(), &settings);
    server.await_subscribed(&symbols);
    let trades = (1..=20)
        .flat_map(|id| symbols.map(|symbol| Trade::new(symbol, "7.50", 1000 * id, id as u64)));
    server.act(&Order::Trades(trades.collect()));
    bridge.await_metric("tickcast_bridge_acknowledged_total", 40.0);
    assert_eq!(bridge.metric("tickcast_bridge_unkeyed_total"), 0.0);
    assert!(bridge.stop().status.success());
    let ticks = |symbol: &str| {
        let time = |id: u32| format!("1970-01-01T00:00:{id:02}Z");
        let tick = |id| {
            format!(r#"{{"symbol":"{symbol}","time":"{}","price":7.50,"volume":1}}"#, time(id))
        };
        (Some(symbol.to_owned()), (1..=20).map(tick).collect())
    };
    assert_eq!(by_key(&broker.read(&topic, "read_committed")), symbols.map(ticks).into());
}

#[test]
fn a_bridge_that_is_stopped_in_full_flow_has_everything_acknowledged() {
    let broker = Broker::shared();
    let topic = unique("stopped");
    let folder = tempfile::tempdir().unwrap();
    let lines = recording(&["A", "B", "C", "D", "E"], 0..20_000);
    let input = folder.path().join("ticks.jsonl");
    fs::write(&input, lines.join("\n")).unwrap();
    let mut command = tickcast();
    command.args(["feed", "--accept-times", "--rate", "40000/s", "--to", "ws://127.0.0.1:0"]);
    command.arg("--input").arg(&input);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(fs::File::create(folder.path().join("url")).unwrap());
    let mut feed = command.spawn().unwrap();
    let url = eventually("the feed's address", || {
        let text = fs::read_to_string(folder.path().join("url")).ok()?;
        Some(text.strip_suffix('\n')?.to_owned())
    });
    // A queue so small that the cluster holds the socket up, and records that linger in it.
    let settings = format!(
        "{}kafka.options.'queue.buffering.max.messages' = 1000\nsource.queue_records_max = 100\n\
         kafka.options.'linger.ms' = 200\n",
        bridge_settings(broker, &topic)
    );
    let bridge = Daemon::start_bridge(&url, &settings);
    bridge.await_metric("tickcast_bridge_acknowledged_total", 2_000.0);
    let ended = bridge.stop();
    let _ = feed.kill();
    feed.wait().unwrap();
    assert!(ended.status.success(), "{:?}", ended.log);
    let received = ended.drained("received");
    assert_eq!((ended.drained("acknowledged"), ended.drained("failed")), (received, 0));
    assert!((2_000..lines.len() as u64).contains(&received), "stopped in between: {received}");
    let stored = broker.read(&topic, "read_committed");
    let received = usize::try_from(received).unwrap();
    assert_eq!(by_key(&stored), lines_by_key(&lines[..received]));
}

#[test]
fn a_bridge_outlives_its_broker_and_says_what_it_leaves_behind() {
    let mut broker = Broker::start();
    let topic = unique("outlived");
    let feed = ScriptedFeed::start();
    let settings = format!(
        "{}shutdown.deadline_seconds = 1\nkafka.options.'reconnect.backoff.max.ms' = 500\n\
         kafka.options.'queue.buffering.max.messages' = 10\nsource.queue_records_max = 5\n",
        bridge_settings(&broker, &topic)
    );
    let bridge = Daemon::start_bridge(feed.url(), &settings);
    let lines = recording(&["A", "B"], 0..30);
    lines[..20].iter().for_each(|line| feed.say(line));
    bridge.await_metric("tickcast_bridge_acknowledged_total", 20.0);
    broker.stop();
    lines[20..50].iter().for_each(|line| feed.say(line));
    // The producer is full, then the queue; the rest stays in the socket.
    bridge.await_metric("tickcast_bridge_handed_total", 30.0);
    bridge.await_metric("tickcast_records_waiting", 5.0);
    assert!(bridge.metric("tickcast_records_received_total") < 50.0);
    assert_eq!(bridge.metric("tickcast_bridge_acknowledged_total"), 20.0);
    broker.go();
    bridge.await_metric("tickcast_bridge_acknowledged_total", 50.0);
    let stored = broker.read(&topic, "read_committed");
    assert_eq!(by_key(&stored), lines_by_key(&lines[..50]), "each once, in order");
    broker.stop();
    lines[50..].iter().for_each(|line| feed.say(line));
    bridge.await_metric("tickcast_bridge_handed_total", 60.0);
    let ended = bridge.stop();
    assert_eq!(ended.status.code(), Some(75), "{:?}", ended.log);
    assert_eq!(ended.drained("received") - ended.drained("acknowledged"), 10);
}

#[test]
fn the_list_of_metrics_is_the_list_of_the_bridge() {
    let text = fs::read_to_string(repository().join("docs/kafka-tools.md")).unwrap();
    let listed: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `tickcast_")?.split_once('`'))
        .map(|(name, _)| format!("tickcast_{name}"))
        .collect();
    let settings = "kafka.brokers = '127.0.0.1:1'\nbridge.topic = 'ticks'\n";
    let bridge = Daemon::start_bridge("ws://127.0.0.1:1", settings);
    let (_, page) = bridge.get("/metrics");
    let shown: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(listed, shown);
    let (status, reasons) = bridge.get("/readyz");
    assert_eq!(status, 503);
    assert!(reasons.contains("kafka: ") && reasons.contains("source: "), "{reasons}");
}
