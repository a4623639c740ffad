//! Kills before the history of a symbol is over and behind that: with snapshots, the lives of a
//! daemon say together what one life says.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::support::bundle::SealedBundle;
use crate::support::feed::{Act, ScriptedFeed};
use crate::support::history::{HistoryServer, Reaction};
use crate::support::minutes::{
    NEEDED_ROWS, NEEDED_STEPS, await_state, bars, bundle, last, of_symbol, qualities, replay, rows,
    tick, ticks,
};
use crate::support::process::{Daemon, eventually};

/// What stays over the lives of a daemon: its folder of states and its lines.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The next life of the daemon.
    fn live(&self, sealed: &SealedBundle, feed: &ScriptedFeed, settings: &str) -> Daemon {
        let settings = format!(
            "snapshot.folder = '{}'\nsnapshot.interval_ms = 10\n{settings}",
            self.path("state").display()
        );
        Daemon::start_with(sealed.root.path(), "random", feed.url(), &settings, |command| {
            command.env("TICKCAST__PUBLISH__LINES", self.path("lines.jsonl"));
        })
    }

    /// The lines of all lives.
    fn lines(&self) -> String {
        fs::read_to_string(self.path("lines.jsonl")).unwrap_or_default()
    }

    /// Waits for so many lines of all lives, and until the states behind them are kept.
    fn await_kept(&self, daemon: &Daemon, lines: usize) {
        eventually("the lines", || (self.lines().lines().count() >= lines).then_some(()));
        // The next snapshot may have been begun before; the one behind it was not.
        for _ in 0..2 {
            let before = daemon.metric("tickcast_snapshot_timestamp_seconds");
            eventually("a snapshot", || {
                (daemon.metric("tickcast_snapshot_timestamp_seconds") > before).then_some(())
            });
        }
    }
}

/// Ends a daemon at once; the feed takes the next one.
fn kill(daemon: Daemon, feed: &ScriptedFeed) {
    feed.await_said();
    daemon.kill();
    feed.act(Act::Break);
}

#[test]
fn killed_before_and_behind_the_history_of_a_venue_a_daemon_says_what_one_life_says() {
    let (sealed, feed, place) = (bundle(), ScriptedFeed::start(), Place::new());
    let is_open = Arc::new(AtomicBool::new(false));
    let venue = HistoryServer::answering({
        let is_open = Arc::clone(&is_open);
        move |asked| match asked.parameter("symbol") == "A" || is_open.load(Ordering::Acquire) {
            true => Reaction::Answer,
            false => Reaction::Hang,
        }
    });
    for symbol in ["A", "B"] {
        venue.set_bars(symbol, bars(symbol, 0..60));
    }
    let settings = format!(
        "history.rest = true\nhistory.ask = 'first_tick'\nbackfill.wait_ms = 60000\n{}",
        venue.section()
    );
    let say = |minute: i64, part: usize| {
        for symbol in ["A", "B"] {
            feed.say(tick(symbol, minute, part));
        }
    };
    let seam = NEEDED_ROWS;
    // Killed while B waits: A is warm.
    let daemon = place.live(&sealed, &feed, &settings);
    say(seam, 1);
    await_state(&daemon, "A", "warm");
    daemon.await_metric(r#"tickcast_history_symbols{state="asked"}"#, 1.0);
    place.await_kept(&daemon, 1);
    kill(daemon, &feed);
    assert_eq!(of_symbol(&place.lines(), "B"), [""; 0]);
    // Killed when both are: A has the bar filled that the kill fell into, and so has B.
    is_open.store(true, Ordering::Release);
    let daemon = place.live(&sealed, &feed, &settings);
    say(seam, 2);
    for minute in seam + 1..seam + 3 {
        (0..3).for_each(|part| say(minute, part));
    }
    place.await_kept(&daemon, 1 + 2 + 3);
    let restored = daemon.metric("tickcast_snapshot_symbols_restored_total");
    assert_eq!(restored, 1.0, "nothing is kept of B, which only waited");
    kill(daemon, &feed);
    // The next life comes three bars later.
    let back = seam + 5;
    let daemon = place.live(&sealed, &feed, &settings);
    (0..3).for_each(|part| say(back, part));
    say(back + 1, 0);
    place.await_kept(&daemon, 6 + 4);
    assert_eq!(daemon.metric("tickcast_snapshot_symbols_restored_total"), 2.0);
    assert!(daemon.stop().status.success());
    for symbol in ["A", "B"] {
        let live = [ticks(symbol, seam..back + 1), vec![tick(symbol, back + 1, 0)]].concat();
        let mut expected =
            last(&replay(&sealed, &[rows(symbol, 0..seam), live].concat()), symbol, 7);
        // The steps that the second kill took are history by then.
        expected.drain(3..5);
        let said = of_symbol(&place.lines(), symbol);
        assert_eq!(said, expected);
        assert_eq!(qualities(&said), ["full"; 5]);
    }
}

/// Makes a named pipe, which ends only where its writer lets go of it.
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn killed_in_the_middle_of_a_file_a_daemon_reads_all_of_it_again() {
    let (sealed, feed, place) = (bundle(), ScriptedFeed::start(), Place::new());
    let seam = 3 + NEEDED_STEPS as i64;
    let history = rows("A", 0..seam);
    let path = place.path("history.jsonl");
    let settings = format!(
        "history.path = '{}'\nhistory.rows = 'bars'\nhistory.bar_seconds = 60\n\
         history.joined = true",
        path.display()
    );
    pipe(&path);
    let (first, rest) = history.split_at(history.len() - 2);
    let writing = std::thread::spawn({
        let (path, text) = (path.clone(), first.join("\n") + "\n");
        move || {
            let mut pipe = fs::File::options().write(true).open(path).unwrap();
            pipe.write_all(text.as_bytes()).unwrap();
            pipe
        }
    });
    let daemon = place.live(&sealed, &feed, &settings);
    let pipe = writing.join().unwrap();
    daemon.await_metric(r#"tickcast_history_rows_total{from="file"}"#, first.len() as f64);
    // Many intervals between snapshots: a state of here would hide the rest of the file.
    for _ in 0..20 {
        assert_eq!(daemon.metric("tickcast_snapshots_total"), 0.0);
    }
    daemon.kill();
    drop(pipe);
    assert_eq!((place.lines(), rest.len()), (String::new(), 2));
    fs::remove_file(&path).unwrap();
    fs::write(&path, history.join("\n")).unwrap();
    let daemon = place.live(&sealed, &feed, &settings);
    ticks("A", seam..seam + 2).into_iter().for_each(|tick| feed.say(tick));
    place.await_kept(&daemon, 2);
    // Killed behind it, the rows of the file are repeats.
    kill(daemon, &feed);
    let daemon = place.live(&sealed, &feed, &settings);
    feed.say(tick("A", seam + 2, 0));
    daemon.await_metric("tickcast_forecasts_total", 1.0);
    let ended = daemon.stop();
    assert_eq!(ended.drained("repeats"), history.len() as u64);
    let live = [ticks("A", seam..seam + 2), vec![tick("A", seam + 2, 0)]].concat();
    let said = of_symbol(&place.lines(), "A");
    let expected = last(&replay(&sealed, &[history, live].concat()), "A", 3);
    assert_eq!(said[..2], expected[..2]);
    // Without a venue, the bar that the kill fell into is marked.
    assert_eq!((said.len(), &*qualities(&said)[2]), (3, "gapped"));
}
