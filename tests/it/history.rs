//! History before the first live tick, and back-fill of what an outage took: the daemon between a
//! feed and a venue's interface, both of these tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tickcast::engine::model::manifest::{StepKind, StepSpec};

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::history::{Bar, HistoryServer, Reaction};
use crate::support::process::{Daemon, eventually, run, tickcast};

const MINUTE_MS: i64 = 60_000;

/// The minute of all times that no clock has a part in.
const FIRST_MINUTE: i64 = 28_333_334;

/// The window, one step for the change of the price, and one for the doubt about the first bar.
const NEEDED_STEPS: usize = 4 + 1 + 1;

/// Rows that are asked for: where in its bar the tick is takes one more.
const NEEDED_ROWS: i64 = NEEDED_STEPS as i64 + 1;

/// A model of bars of a minute.
fn bundle() -> SealedBundle {
    let step = StepSpec { kind: StepKind::Time, ..StepSpec::record(60) };
    sealed_with(21, 4, &[4], |draft| draft.manifest.step = step)
}

/// The three trades of a minute: milliseconds behind its begin, price, volume.
fn trades(minute: i64) -> [(i64, i64, i64); 3] {
    [0, 1, 2].map(|part| {
        (10_000 + 20_000 * part, 100 + (minute * 7 + part * 3) % 11, 1 + (minute + part) % 5)
    })
}

/// One of them as a native tick.
fn tick(symbol: &str, minute: i64, part: usize) -> String {
    let (offset, price, volume) = trades(minute)[part];
    let time = (FIRST_MINUTE + minute) * MINUTE_MS + offset;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{price},"volume":{volume}}}"#)
}

/// The bar of a minute, as the venue has it.
fn bar(minute: i64) -> Bar {
    let trades = trades(minute);
    let prices = trades.map(|(_, price, _)| price);
    Bar {
        time_ms: (FIRST_MINUTE + minute) * MINUTE_MS,
        open: prices[0].to_string(),
        high: prices.iter().max().unwrap().to_string(),
        low: prices.iter().min().unwrap().to_string(),
        close: prices[2].to_string(),
        volume: trades.iter().map(|(.., volume)| volume).sum::<i64>().to_string(),
    }
}

/// The same as a native tick.
fn row(symbol: &str, minute: i64) -> String {
    let Bar { time_ms, open, high, low, close, volume } = bar(minute);
    let prices = format!(r#""open":{open},"high":{high},"low":{low},"close":{close}"#);
    format!(r#"{{"symbol":"{symbol}","time":{time_ms},{prices},"volume":{volume}}}"#)
}

/// All ticks of these minutes.
fn ticks(symbol: &str, minutes: std::ops::Range<i64>) -> Vec<String> {
    minutes.flat_map(|minute| [0, 1, 2].map(|part| tick(symbol, minute, part))).collect()
}

/// What `replay` says about records.
fn replay(sealed: &SealedBundle, records: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ticks.jsonl"), records.join("\n")).unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let (config, input) = (path("tickcast.toml"), path("ticks.jsonl"));
    let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of the last `count` forecasts of a symbol.
fn last(lines: &str, symbol: &str, count: usize) -> Vec<String> {
    let of_symbol = format!(r#""symbol":"{symbol}""#);
    let mut lines: Vec<_> =
        lines.lines().filter(|line| line.contains(&of_symbol)).map(str::to_owned).collect();
    lines.split_off(lines.len().checked_sub(count).unwrap())
}

fn symbols(daemon: &Daemon) -> Value {
    let (status, body) = daemon.get("/v1/symbols");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The entry of a symbol once it has a state of its history.
fn await_state(daemon: &Daemon, symbol: &str, state: &str) -> Value {
    eventually(&format!("{symbol} is {state}"), || {
        let list = symbols(daemon);
        let entry = list["symbols"].as_array()?.iter().find(|row| row["symbol"] == symbol)?;
        (entry["history"]["state"] == state).then(|| entry.clone())
    })
}

#[test]
fn a_warm_start_and_a_filled_outage_give_the_bytes_of_an_uninterrupted_recording() {
    let (sealed, feed, venue) = (bundle(), ScriptedFeed::start(), HistoryServer::start());
    venue.set_bars("A", (0..40).map(bar).collect());
    let settings = format!(
        "engine.shards = 2\nhistory.rest = true\nhistory.ask = 'first_tick'\n\
         backfill.wait_ms = 60000\n{}",
        venue.section()
    );
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    // The first trade of the minute came before the daemon did.
    let seam = NEEDED_ROWS;
    feed.say(tick("A", seam, 1));
    daemon.await_metric("tickcast_forecasts_total", 1.0);
    assert_eq!(await_state(&daemon, "A", "warm")["history"]["from"], "rest");
    feed.say(tick("A", seam, 2));
    ticks("A", seam + 1..seam + 3).into_iter().for_each(|tick| feed.say(tick));
    feed.say(tick("A", seam + 3, 0));
    daemon.await_metric("tickcast_forecasts_total", 4.0);
    // An outage, from the middle of a bar to the middle of another one. The first tick behind it
    // closes the newest bar that it took; the two before that are history by now.
    feed.await_said();
    feed.act(Act::Break);
    daemon.await_metric("tickcast_source_connects_total", 2.0);
    feed.say(tick("A", seam + 6, 1));
    daemon.await_metric("tickcast_forecasts_total", 5.0);
    feed.say(tick("A", seam + 6, 2));
    ticks("A", seam + 7..seam + 8).into_iter().for_each(|tick| feed.say(tick));
    feed.say(tick("A", seam + 8, 0));
    daemon.await_metric("tickcast_forecasts_total", 7.0);

    // The bar under way at the seam, the three of the outage, and the one that it ended in.
    assert_eq!(daemon.metric("tickcast_backfill_filled_steps_total"), 5.0);
    assert_eq!(daemon.metric("tickcast_backfill_asked_total"), 3.0);
    assert_eq!(venue.asked().len(), 4, "one request for each question: {:?}", venue.asked());
    let rows = daemon.metric(r#"tickcast_history_rows_total{from="rest"}"#);
    assert_eq!(rows, NEEDED_ROWS as f64 + 5.0);
    let received = daemon.metric("tickcast_records_received_total");
    assert_eq!(received, daemon.metric("tickcast_ticks_total"), "rows are no records");
    assert_eq!(received + rows, daemon.metric("tickcast_model_ticks_total"));
    assert!(daemon.metric(r#"tickcast_forecasts_withheld_total{reason="history"}"#) > 0.0);
    let entry = eventually("the page with what was filled", || {
        let entry = symbols(&daemon)["symbols"][0].clone();
        (entry["filled"] == 5).then_some(entry)
    });
    assert_eq!((&entry["quality"], &entry["window"]), (&json!("full"), &json!(4)));

    // A symbol that the venue does not know warms up by itself, and is named meanwhile.
    feed.say(tick("B", seam, 0));
    await_state(&daemon, "B", "cold");
    daemon.await_metric(r#"tickcast_history_symbols{state="cold"}"#, 1.0);
    assert!(daemon.metric(r#"tickcast_history_given_up_total{reason="refused"}"#) >= 1.0);
    eventually("the notice", || {
        let (status, body) = daemon.get("/readyz");
        let said = body.contains("history: 1 of 2 symbols could not be warmed: B");
        (status == 200 && said).then_some(())
    });
    ticks("B", seam + 1..seam + 9).into_iter().for_each(|tick| feed.say(tick));
    eventually("a window that live ticks have filled", || {
        let cold = daemon.metric(r#"tickcast_history_symbols{state="cold"}"#);
        (cold == 0.0 && !daemon.get("/readyz").1.contains("history")).then_some(())
    });
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));

    let history = (0..seam).map(|minute| row("A", minute));
    let whole: Vec<_> = history.chain(ticks("A", seam..seam + 8)).collect();
    let whole = [whole, vec![tick("A", seam + 8, 0)]].concat();
    let said = last(&ended.lines, "A", 7);
    assert_eq!(said.len(), ended.lines.matches(r#""symbol":"A""#).count(), "history is not said");
    let mut expected = last(&replay(&sealed, &whole), "A", 9);
    expected.drain(4..6);
    assert_eq!(said, expected);
    assert!(said.iter().all(|line| line.contains(r#""quality":"full""#)), "{said:#?}");
}

#[test]
fn a_venue_that_is_away_leaves_the_marks_of_a_daemon_without_history() {
    let sealed = bundle();
    let told = |settings: &str| {
        let feed = ScriptedFeed::start();
        let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), settings);
        ticks("A", 0..8).into_iter().for_each(|tick| feed.say(tick));
        daemon.await_metric("tickcast_forecasts_total", 2.0);
        feed.await_said();
        feed.act(Act::Break);
        daemon.await_metric("tickcast_source_connects_total", 2.0);
        ticks("A", 10..16).into_iter().for_each(|tick| feed.say(tick));
        // The last bar is open.
        daemon.await_metric("tickcast_forecasts_total", 8.0);
        assert_eq!(daemon.get("/livez").0, 200);
        let given_up: f64 = ["away", "late"]
            .map(|reason| {
                let labels = format!(r#"{{reason="{reason}"}}"#);
                daemon.metric(&format!("tickcast_history_given_up_total{labels}"))
            })
            .iter()
            .sum();
        let ended = daemon.stop();
        let messages: Vec<_> = ended.log.iter().map(|line| line["message"].clone()).collect();
        (ended.lines, given_up, messages)
    };
    let (expected, none, _) = told("");
    assert_eq!(none, 0.0);
    assert!(expected.contains(r#""quality":"gapped""#), "the outage marks: {expected}");
    // Nothing listens there any more.
    let section = HistoryServer::start().section();
    let away = "history.rest = true\nhistory.ask = 'first_tick'\nhistory.wait_seconds_max = 1\n\
                backfill.wait_ms = 100";
    let (lines, given_up, messages) = told(&format!("{away}\n{section}"));
    assert_eq!(lines, expected);
    assert!(given_up >= 2.0, "the window and a hole: {given_up}");
    let words = "a symbol is not warmed";
    let is_there = |message: &Value| message.as_str().is_some_and(|it| it.contains(words));
    assert!(messages.iter().any(is_there), "{messages:?}");
}

/// What a venue has of its own time: bars around now, so that none that is finished is missing.
fn bars_of_now() -> Vec<Bar> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let minute = i64::try_from(now.as_secs()).unwrap() / 60;
    (minute - 60..minute + 60).map(|minute| bar(minute - FIRST_MINUTE)).collect()
}

/// Waits until `tickcast watch` says these words of a daemon, a line a second.
fn await_watched(daemon: &Daemon, words: &str) {
    let stream = format!("ws://{}/v1/stream", daemon.address());
    let mut watch = tickcast();
    watch.args(["watch", &stream]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watch = watch.stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut said = lines.take(120).map(Result::unwrap);
    let found = said.any(|line| line.contains(words));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(found, "no line says `{words}`");
}

#[test]
fn ready_waits_for_history_where_it_is_required() {
    let (sealed, feed) = (bundle(), ScriptedFeed::start());
    let is_open = Arc::new(AtomicBool::new(false));
    let venue = HistoryServer::answering({
        let is_open = Arc::clone(&is_open);
        move |_| match is_open.load(Ordering::Acquire) {
            true => Reaction::Answer,
            false => Reaction::Status(503, Vec::new(), String::new()),
        }
    });
    venue.set_bars("A", bars_of_now());
    let settings = format!(
        "source.symbols = ['A', 'NEW']\nengine.shards = 2\nhistory.rest = true\n\
         history.required = true\n{}",
        venue.section()
    );
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    eventually("a daemon that waits for history alone", || {
        let (status, body) = daemon.get("/readyz");
        let waits = body.contains("history: 0 of 2 symbols done") && !body.contains("source:");
        (status == 503 && waits).then_some(())
    });
    assert_eq!(daemon.metric(r#"tickcast_history_symbols{state="asked"}"#), 2.0);
    await_watched(&daemon, "  warming 0 of 2  ");
    is_open.store(true, Ordering::Release);
    eventually("a ready daemon", || {
        let (status, body) = daemon.get("/readyz");
        let said = body.contains("history: 1 of 2 symbols could not be warmed: NEW");
        (status == 200 && said).then_some(())
    });
    let entry = await_state(&daemon, "A", "warm");
    let history = json!({"state": "warm", "from": "rest", "rows": NEEDED_ROWS});
    assert_eq!((&entry["history"], &entry["health"]), (&history, &json!("awaited")));
    await_state(&daemon, "NEW", "cold");
    let counts = json!({"none": 0, "asked": 0, "warm": 1, "cold": 1});
    assert_eq!(symbols(&daemon)["history"], counts);
    let ended = daemon.stop();
    assert_eq!(ended.lines, "", "history is not said");
    let warming = ended.log.iter().find(|line| line["message"] == "warming").unwrap();
    assert_eq!((&warming["symbols"], &warming["asked"]), (&json!(2), &json!(2)));
}

#[test]
fn check_says_from_where_symbols_are_warmed_and_asks_the_venue_online() {
    let (sealed, venue) = (bundle(), HistoryServer::start());
    venue.set_bars("A", bars_of_now());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickcast.toml").display().to_string();
    let check = |more: &str, options: &[&str]| {
        let text = format!(
            "[model]\nroot = '{}'\nname = 'random'\n[http]\nbind = '127.0.0.1:0'\n{more}\n\
             [source]\nurl = 'ws://127.0.0.1:1'\nsymbols = ['A', 'B']\n{}",
            sealed.root.path().display(),
            venue.section()
        );
        fs::write(&path, text).unwrap();
        let output = run(&[&["check", "-c", &path], options].concat());
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), said.concat())
    };
    let rest = "[history]\nrest = true";
    let (code, said) = check(rest, &["--online"]);
    assert_eq!(code, Some(0), "{said}");
    let count =
        format!("\nhistory       {NEEDED_STEPS} steps a symbol: window 4 + warm-up 1 + 1\n");
    assert!(said.contains(&count), "{said}");
    let from = said.lines().find(|line| line.starts_with("  rest        ")).unwrap();
    assert!(from.ends_with("; 2 symbols at the start, others with their first tick"), "{said}");
    assert!(from.contains(venue.address()), "{said}");
    let live = format!("  live ticks  {NEEDED_STEPS} steps, where nothing else has them\n");
    assert!(said.contains(&live), "{said}");
    let online = format!("  history     A: {NEEDED_ROWS} of {NEEDED_ROWS} bars of 1 minute");
    assert!(said.contains(&online), "{said}");
    assert_eq!(venue.asked().len(), 1, "without --online nothing is asked for");

    let (code, said) = check("", &[]);
    let note = "\nnote          the venue has history (";
    let hint = "); set history.rest = true to begin warm\n";
    assert!(code == Some(0) && said.contains(note) && said.contains(hint), "{said}");
    let (code, said) = check(&format!("{rest}\nsteps = 5"), &[]);
    let problem = "history.steps: 5 are fewer than the 6 that the models need (window 4 + \
                   warm-up 1 + 1); leave history.steps out, or raise it";
    assert!(code == Some(78) && said.contains(problem), "{said}");
    assert_eq!(venue.asked().len(), 1);
}
