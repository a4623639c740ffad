//! Which keys make a history of a file, and how its rows come into the queues.

use std::fs;
use std::path::Path;

use config::{Value, ValueKind};
use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::core::domain::{Schema, TimeUnit};
use crate::intake::{Arrival, IntakeLimits, IntakeMetrics, IntakeReceiver, WhenFull, intake};
use crate::ops::readiness::Readiness;
use crate::ports::section::Problems;

/// What the keys of a section give, and every problem.
fn read(
    keys: &[(&str, ValueKind)],
    times: &TimeFormat,
) -> (Option<FileHistorySettings>, Vec<String>) {
    let defaults = [("rows", "ticks".into()), ("joined", ValueKind::Boolean(false))];
    let mut table = config::Map::new();
    for (name, value) in defaults.iter().chain(keys) {
        table.insert((*name).to_owned(), Value::new(None, value.clone()));
    }
    let inside = Value::new(None, ValueKind::Table(table));
    let root = config::Map::from_iter([("history".to_owned(), inside)]);
    let problems = Problems::default();
    let settings = {
        let mut root = Section::root(Value::new(None, ValueKind::Table(root)), &problems);
        let mut section = root.section("history");
        let settings = read_file_keys(&mut section, times);
        section.finish();
        settings
    };
    (settings, problems.into_vec())
}

fn text(text: &str) -> ValueKind {
    text.into()
}

fn seconds(count: i64) -> DurationNanos {
    DurationNanos::from_seconds(count).unwrap()
}

#[test]
fn a_file_is_named_with_what_its_rows_are() {
    let berlin = TimeFormat::new(Some("%d.%m.%Y"), Some("Europe/Berlin")).unwrap();
    let (settings, problems) = read(&[("path", text("/x/ticks.csv"))], &berlin);
    let settings = settings.unwrap();
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.seam, Seam { is_joined: false, covers: DurationNanos::ZERO });
    assert_eq!((settings.from, settings.options.columns), (None, None));
    assert_eq!(settings.options.dialect.times, berlin, "as the stream reads them");
    let keys = [
        ("path", text("/x/bars.txt")),
        ("format", text("csv")),
        ("columns", text("time=Date,close=5")),
        ("symbol", text("AAPL")),
        ("time_zone", text("America/New_York")),
        ("rows", text("bars")),
        ("bar_seconds", ValueKind::I64(60)),
        ("joined", ValueKind::Boolean(true)),
        ("from", text("2013-03-01")),
    ];
    let (settings, problems) = read(&keys, &berlin);
    let FileHistorySettings { path, options, seam, from } = settings.unwrap();
    assert_eq!(problems, [""; 0]);
    assert_eq!(path, Path::new("/x/bars.txt"));
    assert_eq!(seam, Seam { is_joined: true, covers: seconds(60) });
    assert_eq!(from, Some(UnixNanos::parse("2013-03-01T00:00:00Z").unwrap()));
    assert_eq!(options.format, Some(FileFormat::Csv));
    assert_eq!(options.symbol.as_deref(), Some("AAPL"));
    let new_york = TimeFormat::new(None, Some("America/New_York")).unwrap();
    assert_eq!(options.dialect.times, new_york, "the section's own");
}

#[test]
fn keys_without_a_meaning_are_problems() {
    let path = ("path", text("/x/y.csv"));
    let problems_of = |keys: &[(&'static str, ValueKind)]| {
        let (_, mut problems) = read(keys, &TimeFormat::default());
        problems.sort();
        problems
    };
    assert_eq!(problems_of(&[]), [""; 0]);
    assert_eq!(problems_of(&[("columns", text("")), ("from", text(""))]), [""; 0]);
    let without = [
        ("columns", text("time=Date")),
        ("time_zone", text("Europe/Berlin")),
        ("joined", ValueKind::Boolean(true)),
        ("from", text("2013-03-01")),
    ];
    let of_no_use = ["columns", "from", "joined", "time_zone"]
        .map(|name| format!("history.{name}: is of no use without history.path"));
    assert_eq!(problems_of(&without), of_no_use);
    for (keys, problem) in [
        (vec![("rows", text("bars"))], "history.bar_seconds: is missing: how long is a bar?"),
        (
            vec![("bar_seconds", ValueKind::I64(60))],
            "history.bar_seconds: is for history.rows = \"bars\" only",
        ),
        (
            vec![("rows", text("bars")), ("bar_seconds", ValueKind::I64(0))],
            "history.bar_seconds: must be a whole number from 1 to 31622400",
        ),
        (
            vec![("format", text("json-lines")), ("time_format", text("%d.%m.%Y"))],
            "history.time_format: is for tables; the times of JSON lines are read as \
             source.time_format says",
        ),
        (
            vec![("format", text("json-lines")), ("time_zone", text("Europe/Berlin"))],
            "history.time_zone: is for tables; the times of JSON lines are read as \
             source.time_zone says",
        ),
    ] {
        assert_eq!(problems_of(&[std::slice::from_ref(&path), &keys[..]].concat()), [problem]);
    }
    let problems = problems_of(&[path, ("from", text("soon"))]);
    assert!(problems[0].starts_with("history.from: `soon`: "), "{problems:?}");
}

/// A queue of a shard.
fn queue(records_max: usize, when_full: WhenFull) -> (Router<()>, IntakeReceiver<()>) {
    let limits =
        IntakeLimits { records_max, bytes_max: 1 << 20, record_bytes_max: 1 << 16, when_full };
    let metrics = IntakeMetrics::register(&Registry::new()).unwrap();
    let (sender, receiver) = intake(limits, metrics);
    (Router::new(vec![sender.live()]), receiver)
}

/// A folder with a file, and the settings that read it.
fn settings(name: &str, contents: &str) -> (TempDir, FileHistorySettings) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, contents).unwrap();
    let seam = Seam { is_joined: true, covers: seconds(60) };
    let settings = FileHistorySettings { path, options: FileOptions::default(), seam, from: None };
    (folder, settings)
}

fn open(settings: &FileHistorySettings) -> FileHistory {
    let schema = Schema::new([]).unwrap();
    settings.open(JsonDecoder::new(schema, &[], TimeUnit::Milliseconds, 1 << 16)).unwrap()
}

/// Streams a file through a queue of four records; returns what came of it and every record.
async fn stream(settings: &FileHistorySettings) -> (Streamed, Vec<Record>) {
    let (router, receiver) = queue(4, WhenFull::DropOldest);
    let ready = Readiness::new();
    let (_stop, stopped) = watch::channel(false);
    let shard = tokio::task::spawn_blocking(move || {
        let (mut batch, mut records) = (Vec::new(), Vec::new());
        while receiver.drain(&mut batch, 3) {
            records.append(&mut batch);
        }
        records.extend(batch);
        records
    });
    let condition = ready.condition("source");
    let (router, streamed) = open(settings).stream(router, &condition, stopped).await.unwrap();
    let path = settings.path.display();
    assert_eq!(ready.problems(), [format!("source: reading the history `{path}`")]);
    drop(router);
    let records = shard.await.unwrap().into_iter().map(|arrival| match arrival {
        Arrival::Record(record) => record,
        Arrival::Gap | Arrival::Command(()) => panic!("a row was dropped"),
    });
    (streamed, records.collect())
}

#[tokio::test]
async fn rows_come_in_order_with_their_origin_whatever_the_policy_is() {
    let rows: String = (0..50).map(|minute| format!("A,{},1.5\n", minute * 60_000)).collect();
    let (_folder, settings) = settings("x.csv", &format!("symbol,time,close\n{rows}"));
    let (streamed, records) = stream(&settings).await;
    assert_eq!(streamed, Streamed { rows: 50, refused: 0, older: 0, is_whole: true });
    let expected = (0..50).map(|minute| Record {
        bytes: format!(r#"{{"symbol":"A","time":{},"close":1.5}}"#, minute * 60_000).into(),
        origin: Origin::History(settings.seam),
        ..Record::default()
    });
    assert_eq!(records, expected.collect::<Vec<_>>(), "no place and no time of reception");
}

#[tokio::test]
async fn the_newest_row_may_come_first_and_old_ones_are_left_out() {
    let rows =
        "Date,Ticker,Close\n2013-03-04,A,4\n2013-03-03,A,3\n2013-03-02,A,2\n2013-03-01,A,1\n";
    let (_folder, mut settings) = settings("x.csv", rows);
    settings.from = Some(UnixNanos::parse("2013-03-02").unwrap());
    let (streamed, records) = stream(&settings).await;
    assert_eq!(streamed, Streamed { rows: 3, refused: 0, older: 1, is_whole: true });
    let texts: Vec<_> = records.iter().map(|record| &record.bytes[..]).collect();
    let expected = [(2, 2), (3, 3), (4, 4)].map(|(day, close)| {
        format!(r#"{{"symbol":"A","time":"2013-03-0{day}","close":{close}}}"#).into_bytes()
    });
    assert_eq!(texts, expected.each_ref().map(|text| &text[..]));
}

#[tokio::test]
async fn a_row_that_cannot_be_decoded_is_counted_and_goes_on() {
    let rows = "symbol,time,close\nA,1,1.5\nA,2,low\nA,3\n\nA,4,-1\nA,5,2.5\n";
    let (_folder, settings) = settings("x.csv", rows);
    let (streamed, records) = stream(&settings).await;
    assert_eq!(streamed, Streamed { rows: 5, refused: 3, older: 0, is_whole: true });
    assert_eq!(records.len(), 5, "the stream refuses them as it refuses its own");
}

#[tokio::test]
async fn a_stop_ends_it_and_so_does_a_shard_that_takes_no_more() {
    let rows: String = (0..50).map(|minute| format!("{{\"time\":{minute}}}\n")).collect();
    let (_folder, settings) = settings("x.jsonl", &rows);
    let ready = Readiness::new().condition("source");
    let (router, receiver) = queue(8, WhenFull::Block);
    let (_stop, stopped) = watch::channel(true);
    let (router, streamed) = open(&settings).stream(router, &ready, stopped).await.unwrap();
    assert_eq!(streamed, Streamed::default());
    let (_stop, stopped) = watch::channel(false);
    drop(receiver);
    let (_, streamed) = open(&settings).stream(router, &ready, stopped).await.unwrap();
    assert_eq!((streamed.rows, streamed.is_whole), (0, false));
}

#[tokio::test]
async fn a_file_that_breaks_off_is_an_error_that_names_the_line() {
    // More than what is looked at when it is opened.
    let rows = "A,1500000000000,1.5\n".repeat(5000);
    let (_folder, settings) =
        settings("x.csv", &format!("symbol,time,close\n{rows}A,\"1500000000000,1.5\n"));
    let history = open(&settings);
    let (router, _receiver) = queue(10_000, WhenFull::Block);
    let (_stop, stopped) = watch::channel(false);
    let ready = Readiness::new().condition("source");
    let exit = history.stream(router, &ready, stopped).await.map(drop).unwrap_err();
    assert_eq!(exit.failure(), Failure::Data);
    let message = exit.to_string();
    assert!(message.starts_with("history.path: ") && message.contains("line 5002"), "{message}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_the_configuration() {
    let (folder, mut settings) = settings("x.csv", "when,close\n1,1\n");
    let problem = |settings: &FileHistorySettings| {
        let exit = settings.check().unwrap_err();
        assert_eq!(exit.failure(), Failure::Configuration);
        exit.to_string()
    };
    let said = problem(&settings);
    assert!(said.starts_with("history.path: "), "{said}");
    assert!(said.contains(&*settings.path.to_string_lossy()), "{said}");
    assert!(said.contains("no column stands for the symbol"), "{said}");
    settings.path = folder.path().join("none.csv");
    assert!(problem(&settings).contains("none.csv"));
    settings.path = folder.path().to_owned();
    assert!(problem(&settings).ends_with("is a folder, not a recording"));
}

#[test]
fn a_check_says_what_is_known_of_the_rows() {
    let (_folder, mut settings) = settings("x.csv", "symbol;time;close\nA;1;1\n");
    let path = settings.path.display().to_string();
    let lines = settings.check().unwrap();
    assert_eq!(
        lines[0],
        format!("history       file `{path}`: bars of 60 s, joined to the stream")
    );
    assert!(lines[1].contains("is read with: "), "{lines:?}");
    settings.seam = Seam { is_joined: false, covers: DurationNanos::ZERO };
    settings.from = Some(UnixNanos::parse("2013-03-02").unwrap());
    let expected = format!(
        "history       file `{path}`: ticks from 2013-03-02T00:00:00Z on, not joined to the stream"
    );
    assert_eq!(settings.check().unwrap()[0], expected);
    assert!(refused_for("websocket").is_none());
    for kind in ["file", "kafka"] {
        assert!(refused_for(kind).is_some(), "{kind}");
    }
}
