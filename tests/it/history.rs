//! History before the first live tick, and back-fill of what an outage took: the daemon between a
//! feed and a venue's interface, both of these tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::feed::{Act, ScriptedFeed};
use crate::support::history::{Bar, HistoryServer, Reaction};
use crate::support::minutes::{
    FIRST_MINUTE, NEEDED_ROWS, NEEDED_STEPS, WINDOW_STEPS, await_state, bar, bars, bundle,
    given_up, last, of_symbol, qualities, replay, rows, symbols, tick, ticks,
};
use crate::support::process::{Daemon, eventually, run, tickcast};

#[test]
fn a_warm_start_and_a_filled_outage_give_the_bytes_of_an_uninterrupted_recording() {
    let (sealed, feed, venue) = (bundle(), ScriptedFeed::start(), HistoryServer::start());
    venue.set_bars("A", bars("A", 0..40));
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
    let of_rest = daemon.metric(r#"tickcast_history_rows_total{from="rest"}"#);
    assert_eq!(of_rest, NEEDED_ROWS as f64 + 5.0);
    let received = daemon.metric("tickcast_records_received_total");
    assert_eq!(received, daemon.metric("tickcast_ticks_total"), "rows are no records");
    assert_eq!(received + of_rest, daemon.metric("tickcast_model_ticks_total"));
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

    let whole =
        [rows("A", 0..seam), ticks("A", seam..seam + 8), vec![tick("A", seam + 8, 0)]].concat();
    let said = last(&ended.lines, "A", 7);
    assert_eq!(said.len(), ended.lines.matches(r#""symbol":"A""#).count(), "history is not said");
    let mut expected = last(&replay(&sealed, &whole), "A", 9);
    expected.drain(4..6);
    assert_eq!(said, expected);
    assert!(said.iter().all(|line| line.contains(r#""quality":"full""#)), "{said:#?}");
}

#[test]
fn a_venue_that_is_away_at_the_start_is_named_in_the_log_at_once() {
    let (sealed, feed) = (bundle(), ScriptedFeed::start());
    // Nothing listens there any more.
    let away = HistoryServer::start();
    let (section, host) = (away.section(), format!("http://{}", away.address()));
    drop(away);
    let settings = format!("source.symbols = ['A']\nhistory.rest = true\n{section}");
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    // Three failures in a row are one answer, and the fourth is of the next attempt.
    let failed = r#"tickcast_history_requests_total{outcome="failed"}"#;
    eventually("another attempt", || (daemon.metric(failed) >= 4.0).then_some(()));
    let ended = daemon.stop();
    let words = "a source of history is away and rests";
    let is_said = |line: &&Value| line["message"].as_str().is_some_and(|it| it.contains(words));
    let line = ended.log.iter().find(is_said).unwrap_or_else(|| panic!("{:#?}", ended.log));
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("{host}: ")) && !reason.contains('?'), "{reason}");
    assert_eq!((&line["from"], &line["count"]), (&json!("rest"), &json!(1)));
}

#[test]
fn a_venue_fills_the_stretch_between_a_file_and_the_stream() {
    let (sealed, feed, venue) = (bundle(), ScriptedFeed::start(), HistoryServer::start());
    venue.set_bars("A", bars("A", 0..40));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let (of_file, seam) = (2 + NEEDED_STEPS as i64, 5 + NEEDED_STEPS as i64);
    fs::write(&path, rows("A", 0..of_file).join("\n")).unwrap();
    let settings = format!(
        "history.path = '{}'\nhistory.rows = 'bars'\nhistory.bar_seconds = 60\n\
         history.rest = true\nhistory.ask = 'first_tick'\nbackfill.wait_ms = 60000\n{}",
        path.display(),
        venue.section()
    );
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    // Three bars lie between the file and the one under way.
    feed.say(tick("A", seam, 1));
    daemon.await_metric("tickcast_forecasts_total", 1.0);
    let history = await_state(&daemon, "A", "warm")["history"].clone();
    assert_eq!(history["rows"], of_file + 3);
    feed.say(tick("A", seam, 2));
    ticks("A", seam + 1..seam + 2).into_iter().for_each(|tick| feed.say(tick));
    feed.say(tick("A", seam + 2, 0));
    daemon.await_metric("tickcast_forecasts_total", 3.0);
    let of = |from: &str| format!(r#"tickcast_history_rows_total{{from="{from}"}}"#);
    assert_eq!(daemon.metric(&of("file")), of_file as f64);
    assert_eq!(daemon.metric(&of("rest")), 3.0 + 1.0, "the stretch, and the bar under way");
    assert_eq!(venue.asked().len(), 2, "{:?}", venue.asked());
    assert_eq!(given_up(&daemon), 0.0);
    let ended = daemon.stop();
    let live = [ticks("A", seam..seam + 2), vec![tick("A", seam + 2, 0)]].concat();
    let whole = [rows("A", 0..seam), live].concat();
    let said = of_symbol(&ended.lines, "A");
    assert_eq!(said, last(&replay(&sealed, &whole), "A", 3));
    assert_eq!(qualities(&said), ["full"; 3]);
}

/// What a venue has of its own time: bars around now, so that none that is finished is missing.
fn bars_of_now() -> Vec<Bar> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let minute = i64::try_from(now.as_secs()).unwrap() / 60;
    (minute - 60..minute + 60).map(|minute| bar("A", minute - FIRST_MINUTE)).collect()
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
    // Of the two shards, one may not have asked when the line is written.
    assert_eq!(warming["symbols"], warming["asked"]);
    assert!([json!(1), json!(2)].contains(&warming["asked"]), "{warming}");
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

/// What a venue answers that refuses and fails in turn.
fn refuse_in_turn(count: usize) -> Reaction {
    let patience = |seconds: &str| vec![("Retry-After", seconds.to_owned())];
    match count % 6 {
        0 => Reaction::Status(429, patience("1"), String::new()),
        1 => Reaction::Status(503, Vec::new(), "maintenance".to_owned()),
        2 => Reaction::Status(429, Vec::new(), r#"{"code":1015}"#.to_owned()),
        3 => Reaction::Status(500, Vec::new(), String::new()),
        4 => Reaction::Status(502, patience("0"), "<html>".to_owned()),
        _ => Reaction::Cut,
    }
}

#[test]
fn a_storm_of_refusals_holds_up_the_symbols_that_wait_and_no_other() {
    const WAITING: [&str; 6] = ["B", "C", "D", "E", "F", "G"];
    let (sealed, feed) = (bundle(), ScriptedFeed::start());
    let is_storm = Arc::new(AtomicBool::new(false));
    let venue = HistoryServer::answering({
        let (is_storm, count) = (Arc::clone(&is_storm), AtomicUsize::new(0));
        move |_| match is_storm.load(Ordering::Acquire) {
            true => refuse_in_turn(count.fetch_add(1, Ordering::AcqRel)),
            false => Reaction::Answer,
        }
    });
    for symbol in [&["A"], &WAITING[..]].concat() {
        venue.set_bars(symbol, bars(symbol, 0..40));
    }
    let settings = format!(
        "history.rest = true\nhistory.ask = 'first_tick'\nbackfill.wait_ms = 100\n{}",
        venue.section()
    );
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), &settings);
    let seam = NEEDED_ROWS;
    feed.say(tick("A", seam, 1));
    daemon.await_metric("tickcast_forecasts_total", 1.0);

    is_storm.store(true, Ordering::Release);
    WAITING.iter().for_each(|symbol| feed.say(tick(symbol, seam, 1)));
    daemon.await_metric(r#"tickcast_history_symbols{state="asked"}"#, WAITING.len() as f64);
    // The bar under way at the seam is asked for in vain, and A goes on.
    feed.say(tick("A", seam, 2));
    ticks("A", seam + 1..seam + 8).into_iter().for_each(|tick| feed.say(tick));
    daemon.await_metric("tickcast_forecasts_total", 8.0);
    for outcome in ["rate_limited", "failed"] {
        let name = format!(r#"tickcast_history_requests_total{{outcome="{outcome}"}}"#);
        daemon.await_metric(&name, 2.0);
    }
    assert_eq!(daemon.get("/livez").0, 200);
    let metrics = daemon.metrics();
    let stages: Vec<_> =
        metrics.iter().filter(|(name, _)| name.starts_with("tickcast_stage_stalled")).collect();
    assert!(stages.len() > 1 && stages.iter().all(|(_, value)| **value == 0.0), "{stages:?}");
    let sample = |name: &str| metrics[name];
    assert_eq!(sample(r#"tickcast_history_symbols{state="asked"}"#), WAITING.len() as f64);
    assert_eq!(sample("tickcast_history_ticks_waiting"), WAITING.len() as f64);
    assert_eq!(given_up(&daemon), 1.0, "the bar at the seam of A");

    is_storm.store(false, Ordering::Release);
    daemon.await_metric(r#"tickcast_history_symbols{state="warm"}"#, 1.0 + WAITING.len() as f64);
    daemon.await_metric("tickcast_forecasts_total", 8.0 + WAITING.len() as f64);
    let ended = daemon.stop();
    assert_eq!(ended.drained("dropped"), 0);
    let marked: Vec<_> = qualities(&of_symbol(&ended.lines, "A"));
    let expected = [&["full"], &["gapped"; WINDOW_STEPS][..], &["full"; 3]].concat();
    assert_eq!(marked, expected);
    for symbol in WAITING {
        let whole = [rows(symbol, 0..seam), vec![tick(symbol, seam, 1)]].concat();
        let expected = last(&replay(&sealed, &whole), symbol, 1);
        assert_eq!(of_symbol(&ended.lines, symbol), expected);
    }
}
