//! A file as the history of a live feed: what is published is what a replay of the file and the
//! live ticks in one recording publishes behind the last row of the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tickcast::core::domain::UnixNanos;
use tickcast::engine::model::manifest::{CalendarSpec, StepSpec, Weekday};
use tickcast::engine::wire::forecast::ForecastRecord;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::process::{Daemon, Ended, eventually, run, snapshots};

const WINDOW_STEPS: usize = 5;

/// One row of history, or one live tick.
#[derive(Clone, Copy, Debug)]
struct Tick {
    symbol: &'static str,
    seconds: i64,
    close: f64,
    volume: f64,
}

impl Tick {
    /// A tick with a price that wanders by time and symbol.
    fn at(symbol: &'static str, seconds: i64) -> Self {
        let phase = seconds as f64 * 0.0137 + f64::from(symbol.as_bytes()[0]);
        let (close, volume) = (100.0 + 8.0 * phase.sin(), 500.0 + 40.0 * (phase * 0.7).cos());
        Self { symbol, seconds, close, volume }
    }

    fn time(&self) -> String {
        UnixNanos::from_nanos(self.seconds * 1_000_000_000).to_string()
    }

    fn json(&self) -> String {
        let Self { symbol, close, volume, .. } = self;
        let time = self.time();
        format!(r#"{{"symbol":"{symbol}","time":"{time}","close":{close},"volume":{volume}}}"#)
    }

    fn cells(&self) -> String {
        let Self { symbol, close, volume, .. } = self;
        format!("{},{symbol},{volume},{close}", self.time())
    }
}

const DAY: i64 = 86_400;
const STOCKS: [&str; 4] = ["AAPL", "IBM", "KO", "MSFT"];
/// A Monday.
const MONDAY: i64 = 15_768 * DAY;

/// The bars of four stocks on so many days from Monday, 4 March 2013 on, without weekends.
fn stocks(days: std::ops::Range<i64>) -> Vec<Tick> {
    let open = days.filter(|day| day.rem_euclid(7) < 5);
    open.flat_map(|day| STOCKS.map(|symbol| Tick::at(symbol, MONDAY + day * DAY))).collect()
}

/// A model of the days that stocks trade on.
fn daily() -> SealedBundle {
    use Weekday::{Friday, Monday, Thursday, Tuesday, Wednesday};
    let weekdays = vec![Monday, Tuesday, Wednesday, Thursday, Friday];
    let calendar = Some(CalendarSpec { weekdays, holidays: Vec::new() });
    of_steps(StepSpec { calendar, ..StepSpec::record(86_400) })
}

fn of_steps(step: StepSpec) -> SealedBundle {
    sealed_with(29, WINDOW_STEPS as u32, &[6], |draft| draft.manifest.step = step)
}

fn json_lines(ticks: &[Tick]) -> String {
    ticks.iter().map(|tick| tick.json() + "\n").collect()
}

/// What `replay` publishes of these ticks, by symbol.
fn replay(sealed: &SealedBundle, ticks: &[Tick]) -> BTreeMap<String, Vec<String>> {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ticks.jsonl"), json_lines(ticks)).unwrap();
    let models = sealed.root.path().display();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{models}'\nmodel.name = 'random'\n"
    );
    fs::write(path("replay.toml"), config).unwrap();
    let (config, input) = (path("replay.toml"), path("ticks.jsonl"));
    let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    by_symbol(&String::from_utf8(output.stdout).unwrap())
}

/// What a replay of both in one file publishes behind the last row of history.
fn expected(
    sealed: &SealedBundle,
    history: &[Tick],
    live: &[Tick],
) -> BTreeMap<String, Vec<String>> {
    let before = replay(sealed, history);
    let mut all = replay(sealed, &[history, live].concat());
    for (symbol, lines) in &mut all {
        let known = before.get(symbol).map_or(0, Vec::len);
        assert_eq!(lines[..known], before.get(symbol).cloned().unwrap_or_default());
        lines.drain(..known);
    }
    all
}

fn by_symbol(lines: &str) -> BTreeMap<String, Vec<String>> {
    let mut by_symbol = BTreeMap::<_, Vec<_>>::new();
    for line in lines.lines() {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        by_symbol.entry(forecast.symbol.into_owned()).or_default().push(line.to_owned());
    }
    by_symbol
}

/// The qualities of forecasts, in their order.
fn qualities(lines: &[String]) -> Vec<String> {
    let quality = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["quality"].as_str().unwrap().to_owned()
    };
    lines.iter().map(quality).collect()
}

/// What forecasts say, without what depends on marks.
fn values(lines: &[String]) -> Vec<(String, f64)> {
    let value = |line: &String| {
        let forecast: ForecastRecord<'_> = serde_json::from_str(line).unwrap();
        (forecast.as_of.to_string(), forecast.value)
    };
    lines.iter().map(value).collect()
}

/// A file of history with the settings that name it.
struct History {
    _folder: TempDir,
    path: PathBuf,
    settings: String,
}

impl History {
    fn new(name: &str, contents: impl AsRef<[u8]>, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        // A queue that is full all the time.
        let settings = format!(
            "history.path = '{}'\nsource.queue_records_max = 8\nsource.when_full = 'block'\n{more}",
            path.display()
        );
        Self { _folder: folder, path, settings }
    }

    fn of(ticks: &[Tick], more: &str) -> Self {
        Self::new("history.jsonl", json_lines(ticks), more)
    }
}

/// A daemon that reads `rows` rows of history and then these live ticks, stopped when it has them.
fn live(sealed: &SealedBundle, history: &History, rows: usize, live: &[Tick]) -> Ended {
    live_on(&ScriptedFeed::start(), sealed, history, rows, live)
}

/// As [`live`], on a feed that other daemons have as well.
fn live_on(
    feed: &ScriptedFeed,
    sealed: &SealedBundle,
    history: &History,
    rows: usize,
    live: &[Tick],
) -> Ended {
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &history.settings);
    for tick in live {
        feed.say(tick.json());
    }
    daemon.await_metric("tickcast_records_received_total", (rows + live.len()) as f64);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:#?}", ended.log);
    assert_eq!(ended.drained("dropped"), 0);
    ended
}

#[test]
fn daily_bars_of_four_stocks_give_a_forecast_with_the_first_live_tick() {
    let sealed = daily();
    // Ends on a Friday; the feed begins on the Monday.
    let (before, ticks) = (stocks(0..19), stocks(19..33));
    let expected = expected(&sealed, &before, &ticks);
    for stock in STOCKS {
        assert_eq!(expected[stock].len(), 10, "one with each live tick");
        assert_eq!(qualities(&expected[stock]), ["full"; 10]);
    }
    let table = |rows: &mut dyn Iterator<Item = &Tick>| {
        let cells: String = rows.map(|tick| tick.cells() + "\n").collect();
        format!("Date,Ticker,Volume,Adj Close\n{cells}")
    };
    let columns = "history.columns = 'time=Date,symbol=Ticker,close=Adj Close,volume=Volume'";
    let mut forms = vec![
        History::new("history.csv", table(&mut before.iter()), columns),
        History::new("newest-first.csv", table(&mut before.iter().rev()), columns),
        History::of(&before, "engine.shards = 2"),
    ];
    forms.extend(parquet(&before));
    for history in forms {
        let ended = live(&sealed, &history, before.len(), &ticks);
        let form = history.path.display();
        assert_eq!(by_symbol(&ended.lines), expected, "{form}");
        assert_eq!(ended.drained("ticks"), ended.drained("steps"), "{form}");
    }
}

#[cfg(not(feature = "train"))]
fn parquet(_: &[Tick]) -> Option<History> {
    None
}

/// The rows as a Parquet file.
#[cfg(feature = "train")]
fn parquet(ticks: &[Tick]) -> Option<History> {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message schema { required binary symbol (UTF8);
        required int64 time (TIMESTAMP_MILLIS); required double close; required double volume; }";
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut write = |write: &dyn Fn(&mut parquet::file::writer::SerializedColumnWriter<'_>)| {
        let mut column = group.next_column().unwrap().unwrap();
        write(&mut column);
        column.close().unwrap();
    };
    write(&|column| {
        let symbols: Vec<ByteArray> = ticks.iter().map(|tick| tick.symbol.into()).collect();
        column.typed::<ByteArrayType>().write_batch(&symbols, None, None).unwrap();
    });
    write(&|column| {
        let times: Vec<i64> = ticks.iter().map(|tick| tick.seconds * 1000).collect();
        column.typed::<Int64Type>().write_batch(&times, None, None).unwrap();
    });
    for value in [(|tick| tick.close) as fn(&Tick) -> f64, |tick| tick.volume] {
        write(&|column| {
            let values: Vec<f64> = ticks.iter().map(value).collect();
            column.typed::<DoubleType>().write_batch(&values, None, None).unwrap();
        });
    }
    group.close().unwrap();
    writer.close().unwrap();
    Some(History::new("history.parquet", bytes, ""))
}

#[test]
fn a_hole_behind_the_file_is_marked_unless_the_operator_says_that_there_is_none() {
    let sealed = daily();
    // The feed begins on a Tuesday.
    let (before, ticks) = (stocks(0..19), stocks(22..40));
    let joined = expected(&sealed, &before, &ticks);
    let history = History::of(&before, "history.joined = true");
    assert_eq!(by_symbol(&live(&sealed, &history, before.len(), &ticks).lines), joined);
    let history = History::of(&before, "");
    let found = by_symbol(&live(&sealed, &history, before.len(), &ticks).lines);
    for stock in STOCKS {
        let found = &found[stock];
        let (qualities, full) = (qualities(found), joined[stock].len() - WINDOW_STEPS);
        assert_eq!(
            qualities[..WINDOW_STEPS],
            ["gapped"; WINDOW_STEPS],
            "while it is in the window"
        );
        assert_eq!(qualities[WINDOW_STEPS..], vec!["full"; full]);
        // The step behind the hole is no truth, so intervals may differ.
        assert_eq!(values(found), values(&joined[stock]));
    }
}

#[test]
fn bars_and_live_ticks_make_the_steps_of_one_recording() {
    let sealed = of_steps(StepSpec::time(60));
    // Bars of half a minute up to the end of minute 11, and then trades.
    let begin = MONDAY + 9 * 3600;
    let bars: Vec<_> = (0..24).map(|half| Tick::at("BTC", begin + half * 30)).collect();
    let ticks: Vec<_> = (0..55).map(|trade| Tick::at("BTC", begin + 727 + trade * 7)).collect();
    let all = expected(&sealed, &bars, &ticks);
    let joined = &all["BTC"];
    assert_eq!(joined.len(), 7, "the bar of minute 11 is closed by the first trade");
    assert_eq!(qualities(joined), ["full"; 7]);
    let bars_of = "history.rows = 'bars'\nhistory.bar_seconds = 30\n";
    let history = History::of(&bars, &format!("{bars_of}history.joined = true"));
    // A venue repeats its newest trades to a new subscriber: they lie in bars of the file.
    let repeats = [Tick::at("BTC", begin + 700), Tick::at("BTC", begin + 719)];
    let with_repeats = [&repeats[..], &ticks].concat();
    let ended = live(&sealed, &history, bars.len(), &with_repeats);
    assert_eq!(by_symbol(&ended.lines)["BTC"], *joined);
    assert_eq!(ended.drained("repeats"), 2);
    // Seven seconds behind the bars, trades may be missing in the minute of the first one.
    let history = History::of(&bars, bars_of);
    let found = by_symbol(&live(&sealed, &history, bars.len(), &ticks).lines);
    let expected = ["full", "gapped", "gapped", "gapped", "gapped", "gapped", "full"];
    assert_eq!(qualities(&found["BTC"]), expected);
    assert_eq!(found["BTC"][0], joined[0]);
    // A trade right behind them shows that nothing is.
    let ticks: Vec<_> = (0..55).map(|trade| Tick::at("BTC", begin + 720 + trade * 7)).collect();
    let all = self::expected(&sealed, &bars, &ticks);
    assert_eq!(by_symbol(&live(&sealed, &history, bars.len(), &ticks).lines), all);
}

#[test]
fn a_bad_row_is_counted_and_logged_with_its_line() {
    let sealed = daily();
    let (before, ticks) = (stocks(0..19), stocks(21..26));
    let mut lines: Vec<_> = before.iter().map(Tick::json).collect();
    lines.insert(6, "no tick".to_owned());
    lines.insert(9, r#"{"symbol":"KO","time":"2013-03-05","close":"high"}"#.to_owned());
    // Older than what is asked for.
    lines.insert(0, Tick::at("AAPL", MONDAY - 7 * DAY).json());
    let text = lines.join("\n");
    let history = History::new("history.jsonl", text, "history.from = '2013-03-04'");
    let ended = live(&sealed, &history, before.len() + 2, &ticks);
    assert_eq!(by_symbol(&ended.lines), expected(&sealed, &before, &ticks));
    let received = (before.len() + 2 + ticks.len()) as u64;
    assert_eq!([ended.drained("received"), ended.drained("ticks")], [received; 2]);
    assert_eq!(ended.drained("refused"), 2);
    let said = |message: &str| {
        let lines = ended.log.iter().filter(|line| line["message"] == message);
        lines.cloned().collect::<Vec<_>>()
    };
    let rows = said("a row of the history cannot be used; it is left out");
    let facts = rows.iter().map(|row| {
        let [place, reason, sample] =
            ["place", "reason", "sample"].map(|name| row[name].as_str().unwrap());
        format!("{place}, {reason}: {sample}")
    });
    assert_eq!(
        facts.collect::<Vec<_>>(),
        [
            "line 8, malformed: no tick",
            "line 11, wrong_type: {\"symbol\":\"KO\",\"time\":\"2013-03-05\",\"close\":\"high\"}",
        ]
    );
    let [read] = &said("the history was read")[..] else { panic!("{:#?}", ended.log) };
    let counts = ["rows", "refused", "older"].map(|name| read[name].as_u64().unwrap());
    assert_eq!(counts, [before.len() as u64 + 2, 2, 1]);
}

/// Makes a named pipe, which ends only where its writer lets go of it.
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_stop_while_the_history_is_read_publishes_nothing_and_keeps_nothing() {
    let sealed = daily();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("endless.jsonl");
    pipe(&path);
    let writing = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = fs::File::options().write(true).open(path).unwrap();
            let mut rows = 0_u64;
            // Until nobody reads any more.
            for minute in 0.. {
                let mut text = String::new();
                for stock in STOCKS {
                    writeln!(text, "{}", Tick::at(stock, minute * 60).json()).unwrap();
                }
                if pipe.write_all(text.as_bytes()).is_err() {
                    break;
                }
                rows += 4;
            }
            rows
        }
    });
    let feed = ScriptedFeed::start();
    feed.say(Tick::at("AAPL", 0).json());
    let state = folder.path().join("state");
    let settings = format!(
        "history.path = '{}'\nsnapshot.folder = '{}'\nsnapshot.interval_ms = 10",
        path.display(),
        state.display()
    );
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    daemon.await_metric("tickcast_records_received_total", 1000.0);
    let (status, reason) = daemon.get("/readyz");
    let expected = format!("source: reading the history `{}`", path.display());
    assert_eq!(status, 503);
    assert!(reason.contains(&expected), "{reason}");
    assert_eq!(daemon.get("/livez").0, 200);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:#?}", ended.log);
    assert_eq!(ended.lines, "", "history is not published, and the feed was not connected to");
    assert!(state.is_dir());
    let kept = snapshots(&state);
    assert_eq!(kept, [""; 0].map(PathBuf::from), "a state would hide the rest of the file");
    let rows = writing.join().unwrap();
    assert!(ended.drained("received") <= rows);
    assert_eq!(ended.drained("received"), ended.drained("ticks"), "what was read was taken");
}

#[test]
fn a_symbol_that_a_snapshot_has_takes_no_rows_again() {
    let sealed = daily();
    let folder = TempDir::new().unwrap();
    let only = |symbol: &str, ticks: &[Tick]| -> Vec<Tick> {
        ticks.iter().copied().filter(|tick| tick.symbol == symbol).collect()
    };
    let kept = format!("snapshot.folder = '{}'", folder.path().display());
    let (before, first, second) = (stocks(0..19), stocks(21..26), stocks(28..33));
    let history = History::of(&only("KO", &before), &kept);
    let feed = ScriptedFeed::start();
    live_on(&feed, &sealed, &history, 15, &only("KO", &first));
    feed.act(Act::Break);
    // The next life has a file of two more weeks, and of one more stock.
    let longer = stocks(0..26);
    let both = [only("IBM", &longer), only("KO", &longer)].concat();
    let history = History::of(&both, &kept);
    let ticks = [only("IBM", &second), only("KO", &second)].concat();
    let ended = live_on(&feed, &sealed, &history, 40, &ticks);
    assert_eq!(ended.drained("repeats"), 20, "the window of KO was full when it came from rest");
    let found = by_symbol(&ended.lines);
    let all = expected(&sealed, &both, &ticks);
    assert_eq!(found["IBM"], all["IBM"]);
    assert_eq!(qualities(&found["KO"]), ["gapped"; 5], "the feed was not connected for a while");
    assert_eq!(values(&found["KO"]), values(&all["KO"]));
}

#[test]
fn a_file_that_cannot_be_read_ends_the_start_and_the_check() {
    let sealed = daily();
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let models = sealed.root.path().display().to_string();
    let configuration = |more: &str| {
        write(
            "tickcast.toml",
            &format!(
                "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{models}'\nmodel.name = 'random'\n\
                 http.bind = '127.0.0.1:0'\nlog.format = 'json'\n{more}"
            ),
        )
    };
    let headless = write("headless.csv", "2013-03-01,1,2\n2013-03-02,1,2\n");
    for (path, problem) in [
        ("none.csv".to_owned(), "No such file"),
        (folder.path().display().to_string() + "/..", "is a folder, not a recording"),
        (headless, "history.path: "),
    ] {
        let config = configuration(&format!("history.path = '{path}'"));
        for command in ["check", "serve"] {
            let output = run(&[command, "-c", &config]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{command} {path}: {said}");
            assert!(said.contains("history.path: ") && said.contains(problem), "{said}");
        }
    }
    // One that breaks off later ends the daemon when it gets there.
    let rows: String = stocks(0..1400).iter().map(|tick| tick.cells() + "\n").collect();
    let path = write("torn.csv", &format!("time,symbol,volume,close\n{rows}2013-04-01,\"KO,1,2\n"));
    let more = format!("history.path = '{path}'");
    let output = run(&["check", "-c", &configuration(&more)]);
    let said = String::from_utf8(output.stdout).unwrap();
    let line = format!("history       file `{path}`: ticks, not joined to the stream");
    assert!(said.lines().any(|said| said == line), "{said}");
    let mut daemon = Daemon::start(sealed.root.path(), "random", "ws://127.0.0.1:1", &more);
    let ended = eventually("the end", || daemon.has_ended().then(|| daemon.await_end()));
    assert_eq!(ended.status.code(), Some(65));
    assert_eq!(ended.drained("ticks"), 4000);
    let failed = ended.log.iter().find(|line| line["message"] == "the source failed");
    let error = failed.unwrap()["error"].as_str().unwrap();
    assert!(error.starts_with("history.path: ") && error.contains("line 4002"), "{error}");
}
