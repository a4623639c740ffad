//! Outages of 1 to 20 steps, each of a symbol of its own: what back-fill makes of them, and what is
//! left of them where the venue does not answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::bundle::SealedBundle;
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::history::{HistoryServer, Reaction};
use crate::support::minutes::{
    bars, bundle_of, given_up, of_symbol, qualities, replay, rows, symbols, tick, ticks,
};
use crate::support::process::{Daemon, Ended, eventually};

/// The steps of a window, and the most that are filled; a longer outage has the whole window asked
/// for, as at the start.
const WINDOW_STEPS: usize = 24;

/// The whole bars that outages take.
fn lengths() -> impl Iterator<Item = i64> {
    (1..=20).chain(LONGER)
}

/// Those that are longer than the window.
const LONGER: [i64; 2] = [30, 60];

/// The minute of the first tick: there is history of a window and the three bars that it needs.
const SEAM: i64 = WINDOW_STEPS as i64 + 3;

/// Minutes before the outage, enough for forecasts without history, and minutes behind it.
const MINUTES: i64 = WINDOW_STEPS as i64 + 4;

/// The symbol whose outage takes so many bars.
fn symbol(length: i64) -> String {
    format!("S{length:02}")
}

/// The last minute of which anything comes before the outage.
const LAST: i64 = SEAM + MINUTES;

/// What comes of a symbol before the outage: from the middle of a bar to the middle of another one.
fn before(symbol: &str) -> Vec<String> {
    let first = [1, 2].map(|part| tick(symbol, SEAM, part));
    [&first[..], &ticks(symbol, SEAM + 1..LAST), &[tick(symbol, LAST, 0)]].concat()
}

/// What comes of it behind the outage, likewise.
fn behind(symbol: &str, length: i64) -> Vec<String> {
    let back = LAST + length + 1;
    let first = [1, 2].map(|part| tick(symbol, back, part));
    let last = back + MINUTES;
    [&first[..], &ticks(symbol, back + 1..last), &[tick(symbol, last, 0)]].concat()
}

/// All that was traded in that time.
fn uninterrupted(symbol: &str, length: i64) -> Vec<String> {
    let last = LAST + length + 1 + MINUTES;
    [&rows(symbol, 0..SEAM)[..], &ticks(symbol, SEAM..last), &[tick(symbol, last, 0)]].concat()
}

/// What a daemon makes of the ticks of all symbols with an outage between, and how many questions
/// it had given up by its end.
fn live(
    sealed: &SealedBundle,
    settings: &str,
    forecasts: f64,
    look: impl FnOnce(&Daemon),
) -> (Ended, f64) {
    let feed = ScriptedFeed::start();
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), settings);
    let mut said = 0;
    let mut say = |ticks: Vec<String>| {
        said += ticks.len();
        ticks.into_iter().for_each(|tick| feed.say(tick));
        said as f64
    };
    let count = lengths().map(|length| say(before(&symbol(length)))).last().unwrap();
    // Ticks that wait are taken later; none is lost with the connection.
    daemon.await_metric("tickcast_records_received_total", count);
    eventually("no tick waits", || {
        (daemon.metric("tickcast_history_ticks_waiting") == 0.0).then_some(())
    });
    feed.await_said();
    feed.act(Act::Break);
    daemon.await_metric("tickcast_source_connects_total", 2.0);
    let count = lengths().map(|length| say(behind(&symbol(length), length))).last().unwrap();
    daemon.await_metric("tickcast_records_received_total", count);
    daemon.await_metric("tickcast_forecasts_total", forecasts);
    assert_eq!(daemon.get("/livez").0, 200);
    look(&daemon);
    let given_up = given_up(&daemon);
    let ended = daemon.stop();
    assert!(ended.status.success(), "{:#?}", ended.log);
    assert_eq!((ended.drained("dropped"), ended.drained("received")), (0, said as u64));
    (ended, given_up)
}

/// Forecasts without what follows from the truths of earlier ones.
fn without_intervals(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for name in ["lower", "upper", "drift"] {
            line.as_object_mut().unwrap().remove(name).unwrap();
        }
        line
    });
    lines.collect()
}

/// The forecasts of each symbol.
fn by_symbol(lines: &str) -> BTreeMap<String, Vec<String>> {
    lengths().map(symbol).map(|symbol| (symbol.clone(), of_symbol(lines, &symbol))).collect()
}

#[test]
fn back_fill_leaves_no_trace_of_an_outage_of_any_length() {
    let (sealed, venue) = (bundle_of(WINDOW_STEPS), HistoryServer::start());
    for symbol in lengths().map(symbol) {
        venue.set_bars(&symbol, bars(&symbol, 0..200));
    }
    let settings = format!(
        "engine.shards = 2\nhistory.rest = true\nhistory.ask = 'first_tick'\n\
         backfill.wait_ms = 600000\n{}",
        venue.section()
    );
    // Each tick but those in the middle of a bar closes one.
    let each = (MINUTES + 1) + (MINUTES + 1);
    let forecasts = (each * lengths().count() as i64) as f64;
    let (ended, given_up) = live(&sealed, &settings, forecasts, |daemon| {
        let filled = eventually("the page with what was filled", || {
            let page = symbols(daemon);
            let filled =
                |row: &Value| Some((row["symbol"].as_str()?.to_owned(), row["filled"].as_i64()?));
            let filled: BTreeMap<_, _> =
                page["symbols"].as_array()?.iter().filter_map(filled).collect();
            let is_whole = lengths().all(|length| filled.get(&symbol(length)) > Some(&1));
            is_whole.then_some(filled)
        });
        // The bar under way at the seam, and those that the outage took, wholly or in part.
        let expected = (1..=20).map(|length| (symbol(length), length + 3));
        assert!(expected.into_iter().all(|(symbol, steps)| filled[&symbol] == steps), "{filled:?}");
    });
    assert_eq!(given_up, 0.0);
    for length in lengths() {
        let symbol = symbol(length);
        let said = of_symbol(&ended.lines, &symbol);
        let mut expected = of_symbol(&replay(&sealed, &uninterrupted(&symbol, length)), &symbol);
        let count = (each + length) as usize;
        expected.drain(..expected.len() - count);
        // The steps that the outage took are history by then.
        let taken = MINUTES as usize + 1;
        expected.drain(taken..taken + length as usize);
        assert_eq!(qualities(&said), vec!["full"; each as usize], "{length} steps");
        if LONGER.contains(&length) {
            // What was asked for does not reach back to the outage, so fewer forecasts have met
            // their truth, and intervals follow from those.
            assert_eq!(without_intervals(&said), without_intervals(&expected), "{length} steps");
        } else {
            assert_eq!(said, expected, "{length} steps");
        }
    }
}

#[test]
fn a_venue_without_answers_leaves_the_marks_of_a_daemon_without_history() {
    let sealed = bundle_of(WINDOW_STEPS);
    let (ended, none) = live(&sealed, "", 1.0, |_| {});
    let expected = by_symbol(&ended.lines);
    assert_eq!(none, 0.0);
    let forecasts = expected.values().map(Vec::len).sum::<usize>() as f64;
    for lines in expected.values() {
        let marks = qualities(lines);
        assert!(marks.contains(&"gapped".to_owned()) && marks.contains(&"full".to_owned()));
    }
    let settings = "history.rest = true\nhistory.ask = 'first_tick'\n\
                    history.wait_seconds_max = 1\nbackfill.wait_ms = 100";
    // Nothing listens there any more; and one that only says no, in every way.
    let away = HistoryServer::start().section();
    let count = AtomicUsize::new(0);
    let storm = HistoryServer::answering(move |_| {
        let status = [429, 500, 503, 429, 502, 504][count.fetch_add(1, Ordering::AcqRel) % 6];
        Reaction::Status(status, Vec::new(), String::new())
    });
    for (section, outcomes) in [(away, &["failed"][..]), (storm.section(), &["rate_limited"])] {
        let settings = format!("{settings}\n{section}");
        let (ended, given_up) = live(&sealed, &settings, forecasts, |daemon| {
            for outcome in outcomes {
                let name = format!(r#"tickcast_history_requests_total{{outcome="{outcome}"}}"#);
                assert!(daemon.metric(&name) > 0.0, "{outcome}");
            }
            // The bar under way at the first tick of each symbol, and the holes that are shorter
            // than the window.
            let asked = lengths().count() + lengths().count() - LONGER.len();
            assert_eq!(daemon.metric("tickcast_backfill_asked_total"), asked as f64);
        });
        assert_eq!(by_symbol(&ended.lines), expected);
        // The window of each symbol, that bar, and the hole.
        assert_eq!(given_up, 3.0 * lengths().count() as f64);
        let words = "a symbol is not warmed";
        let is_said = |line: &Value| line["message"].as_str().is_some_and(|it| it.contains(words));
        assert!(ended.log.iter().any(is_said), "{:#?}", ended.log);
    }
}
