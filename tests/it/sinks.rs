//! Sinks that cannot write: what is lost is counted, and nothing else is.

use std::process::Command;

use crate::support::bundle::{SealedBundle, sealed};
use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, Ended, eventually};

const WINDOW_STEPS: u32 = 4;
/// The first step has no change yet, so the first window is full one step later.
const WARMING: u32 = WINDOW_STEPS;
const FORECASTS: u32 = 16;
/// 2024-01-01.
const DAY_ZERO_MS: u64 = 1_704_067_200_000;
const WRITTEN: &str = "tickcast_lines_written_total";
const WAITING: &str = "tickcast_lines_waiting";
const DROPPED: &str = "tickcast_sink_records_dropped_total{sink=\"lines\"}";
const FAILING: &str = "tickcast_sink_failing{sink=\"lines\"}";

/// The tick of a day.
fn tick(day: u32) -> String {
    let time = DAY_ZERO_MS + u64::from(day) * 86_400_000;
    format!(r#"{{"symbol":"A","time":{time},"close":1.5,"volume":2}}"#)
}

/// A daemon that writes lines to `/dev/full`.
fn on_a_full_disk(sealed: &SealedBundle, feed: &ScriptedFeed, when_failed: &str) -> Daemon {
    let settings = format!("publish.lines_when_failed = '{when_failed}'");
    Daemon::start_with(sealed.root.path(), "random", feed.url(), &settings, |command| {
        command.env("TICKCAST__PUBLISH__LINES", "/dev/full");
    })
}

fn messages<'e>(ended: &'e Ended, begin: &str) -> Vec<&'e serde_json::Value> {
    let begins = |line: &&serde_json::Value| line["message"].as_str().unwrap().starts_with(begin);
    ended.log.iter().filter(begins).collect()
}

#[test]
fn lines_on_a_full_disk_cost_themselves_alone() {
    let (sealed, feed) = (sealed(3, WINDOW_STEPS, &[2]), ScriptedFeed::start());
    // A file behind a live feed.
    let daemon = on_a_full_disk(&sealed, &feed, "auto");
    (0..WARMING + FORECASTS).for_each(|day| feed.say(tick(day)));
    daemon.await_metric(DROPPED, f64::from(FORECASTS));
    let values = [DROPPED, WRITTEN, WAITING, FAILING, "tickcast_forecasts_total"];
    let found = values.map(|name| daemon.metric(name));
    assert_eq!(found, [16.0, 0.0, 0.0, 1.0, 16.0], "in = out + dropped + waiting");
    assert_eq!(daemon.metric("tickcast_sink_records_dropped_total{sink=\"score-lines\"}"), 0.0);
    let notice = "ready\nlines: lines are dropped: No space left on device (os error 28)\n";
    assert_eq!(daemon.get("/readyz"), (200, notice.to_owned()));
    assert_eq!(daemon.get("/livez"), (200, "ok\n".to_owned()));
    let (status, forecast) = daemon.get("/v1/forecasts/A");
    let forecast: serde_json::Value = serde_json::from_str(&forecast).unwrap();
    assert_eq!((status, forecast["symbol"].as_str()), (200, Some("A")));
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "it drains in order");
    assert_eq!(messages(&ended, "lines cannot be written").len(), 1, "one line an episode");
    let last = messages(&ended, "the daemon ends while its lines cannot be written");
    assert_eq!(last.len(), 1);
    assert_eq!(last[0]["dropped"], FORECASTS);
}

#[test]
fn lines_that_must_not_be_lost_end_the_daemon() {
    let (sealed, feed) = (sealed(3, WINDOW_STEPS, &[2]), ScriptedFeed::start());
    let mut daemon = on_a_full_disk(&sealed, &feed, "fail");
    // The shard notices with the first forecast behind the one that failed.
    let mut days = 0..;
    eventually("the end", || {
        days.next().into_iter().for_each(|day| feed.say(tick(day)));
        daemon.has_ended().then_some(())
    });
    assert_eq!(daemon.await_end().status.code(), Some(75));
}

/// Sets the limit of the size of a file that the daemon writes.
fn limit_files(daemon: &Daemon, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let status = Command::new("prlimit").args(["--pid", &daemon.id().to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_disk_that_fills_amid_a_line_and_empties_again_leaves_whole_lines() {
    let (sealed, feed) = (sealed(3, WINDOW_STEPS, &[2]), ScriptedFeed::start());
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), "log.level = 'warn'");
    // Some forecasts fit, and a part of one more.
    limit_files(&daemon, "4000");
    let mut days = 0..;
    let mut say = || days.next().into_iter().for_each(|day| feed.say(tick(day)));
    (0..WARMING + FORECASTS).for_each(|_| say());
    daemon.await_metric("tickcast_forecasts_total", f64::from(FORECASTS));
    eventually("all lines", || (daemon.metric(WAITING) == 0.0).then_some(()));
    let [written, dropped] = [WRITTEN, DROPPED].map(|name| daemon.metric(name));
    assert!(written > 0.0 && dropped > 0.0, "{written} and {dropped}");
    assert_eq!(daemon.metric(FAILING), 1.0);
    limit_files(&daemon, "unlimited");
    eventually("lines again", || {
        say();
        (daemon.metric(FAILING) == 0.0).then_some(())
    });
    let forecasts = days.next().unwrap() - WARMING;
    daemon.await_metric("tickcast_forecasts_total", f64::from(forecasts));
    eventually("all lines", || (daemon.metric(WAITING) == 0.0).then_some(()));
    let [written, dropped] = [WRITTEN, DROPPED].map(|name| daemon.metric(name));
    assert_eq!(written + dropped, f64::from(forecasts), "in = out + dropped");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    let as_of = |line: &str| {
        let forecast: serde_json::Value = serde_json::from_str(line).unwrap();
        forecast["as_of"].as_str().unwrap().to_owned()
    };
    let times: Vec<_> = ended.lines.lines().map(as_of).collect();
    assert_eq!(times.len() as f64, written, "every line that was counted is there, and whole");
    assert!(times.is_sorted_by(|a, b| a < b));
}
