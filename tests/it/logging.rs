//! A standard error that takes nothing: the daemon loses log lines and nothing else.

use std::fs::{self, OpenOptions};
use std::io::pipe;
use std::process::{Command, Stdio};

use crate::support::bundle::{SealedBundle, sealed};
use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, eventually, tickcast};

const WINDOW_STEPS: u32 = 4;
/// The first step has no change yet, so the first window is full one step later.
const TICKS: u32 = WINDOW_STEPS + FORECASTS;
const FORECASTS: u32 = 16;
/// 2024-01-01.
const DAY_ZERO_MS: u64 = 1_704_067_200_000;
const LOST: &str = "tickcast_log_lines_lost_total";

/// A tick a day.
fn ticks() -> impl Iterator<Item = String> {
    let time = |day: u32| DAY_ZERO_MS + u64::from(day) * 86_400_000;
    (0..TICKS)
        .map(move |day| format!(r#"{{"symbol":"A","time":{},"close":1.5,"volume":2}}"#, time(day)))
}

/// A daemon whose standard error is `log`, with enough ticks for forecasts.
fn served(sealed: &SealedBundle, feed: &ScriptedFeed, log: impl Into<Stdio>) -> Daemon {
    let snapshots = sealed.root.path().join("states");
    let settings = format!("log.level = 'debug'\nsnapshot.folder = '{}'", snapshots.display());
    let daemon =
        Daemon::start_with(sealed.root.path(), "random", feed.url(), &settings, |command| {
            command.stderr(log);
        });
    ticks().for_each(|tick| feed.say(tick));
    daemon.await_metric("tickcast_forecasts_total", f64::from(FORECASTS));
    daemon
}

/// Asks for a reload twice: one thread that a lost line ended would not answer the second time.
fn reload_twice(daemon: &Daemon) {
    for reloads in 1..=2 {
        let hangup = Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status();
        assert!(hangup.unwrap().success());
        eventually("a reload", || {
            let metrics = daemon.metrics();
            let outcomes =
                metrics.iter().filter(|(name, _)| name.starts_with("tickcast_reloads_total"));
            (outcomes.map(|(_, count)| count).sum::<f64>() >= f64::from(reloads)).then_some(())
        });
    }
}

fn assert_whole(daemon: Daemon) {
    let ended = daemon.stop_without_log();
    assert_eq!(ended.status.code(), Some(0), "drained in order");
    assert_eq!(ended.lines.lines().count(), FORECASTS as usize);
}

#[test]
fn a_log_on_a_full_disk_costs_its_lines_alone() {
    let (sealed, feed) = (sealed(3, WINDOW_STEPS, &[2]), ScriptedFeed::start());
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let daemon = served(&sealed, &feed, full);
    reload_twice(&daemon);
    assert!(daemon.metric(LOST) >= 3.0);
    assert_eq!(daemon.get("/livez").0, 200);
    assert_whole(daemon);
}

#[test]
fn a_log_whose_reader_has_gone_costs_its_lines_alone() {
    let (sealed, feed) = (sealed(3, WINDOW_STEPS, &[2]), ScriptedFeed::start());
    let (reader, writer) = pipe().unwrap();
    let daemon = served(&sealed, &feed, writer);
    drop(reader);
    reload_twice(&daemon);
    assert!(daemon.metric(LOST) >= 2.0);
    assert_whole(daemon);
}

#[test]
fn a_message_that_nothing_takes_leaves_the_exit_code() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut usage = tickcast();
    usage.arg("serve").arg("--no-such-option").stderr(full());
    assert_eq!(usage.status().unwrap().code(), Some(64));
    let mut missing = tickcast();
    missing.args(["serve", "-c", "/no/such/file.toml"]).stderr(full());
    assert_eq!(missing.status().unwrap().code(), Some(78));
}

#[test]
fn a_command_whose_messages_nothing_takes_does_its_work() {
    let sealed = sealed(3, WINDOW_STEPS, &[2]);
    let path = |name: &str| sealed.root.path().join(name);
    fs::write(path("ticks.jsonl"), ticks().collect::<Vec<_>>().join("\n")).unwrap();
    let config = format!(
        "source.kind = 'file'\nsource.path = 'ticks.jsonl'\nmodel.root = '{}'\n\
         model.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut replay = tickcast();
    replay.arg("replay").arg("-c").arg(path("tickcast.toml"));
    replay.arg("--input").arg(path("ticks.jsonl")).arg("--output").arg(path("forecasts.jsonl"));
    let status = replay.stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let forecasts = fs::read_to_string(path("forecasts.jsonl")).unwrap();
    assert_eq!(forecasts.lines().count(), FORECASTS as usize);
}
