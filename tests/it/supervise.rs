//! The daemon under a service manager: what it is told, and when it is told nothing.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::bundle::{SealedBundle, sealed};
use crate::support::feed::ScriptedFeed;
use crate::support::process::{Daemon, eventually};

const WINDOW_STEPS: u32 = 4;

/// Short, so that a test sees many of them; the daemon is fed at half of it.
const WATCHDOG: Duration = Duration::from_millis(1000);

/// What systemd would be: a socket, and what was said to it so far.
struct Manager {
    socket: UnixDatagram,
    name: String,
    said: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        Self::new(UnixDatagram::bind(path).unwrap(), path.display().to_string())
    }

    fn abstractly(name: &str) -> Self {
        let name = format!("tickcast-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::new(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { socket, name, said: Vec::new() }
    }

    /// Takes what was said meanwhile.
    fn listen(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
            self.said.extend(text.lines().map(str::to_owned));
        }
        &self.said
    }

    fn count(&mut self, word: &str) -> usize {
        self.listen().iter().filter(|said| *said == word).count()
    }

    fn await_count(&mut self, word: &str, count: usize) {
        eventually(&format!("{count} times {word}"), || (self.count(word) >= count).then_some(()));
    }

    fn await_status(&mut self, words: &str) {
        eventually(&format!("a status with {words}"), || {
            let mut said = self.listen().iter();
            said.any(|said| said.starts_with("STATUS=") && said.contains(words)).then_some(())
        });
    }
}

fn serve(sealed: &SealedBundle, feed: &str, settings: &str, manager: &Manager) -> Daemon {
    serve_with(sealed, feed, settings, manager, |_| {})
}

fn serve_with(
    sealed: &SealedBundle,
    feed: &str,
    settings: &str,
    manager: &Manager,
    change: impl FnOnce(&mut Command),
) -> Daemon {
    Daemon::start_with(sealed.root.path(), "random", feed, settings, |command| {
        command.env("NOTIFY_SOCKET", &manager.name);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        change(command);
    })
}

fn tick(day: u32) -> String {
    let time = u64::from(day) * 86_400_000;
    let close = 100.0 + f64::from(day % 7);
    format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":10}}"#)
}

#[test]
fn a_quiet_feed_feeds_the_watchdog_and_a_feed_that_is_away_delays_the_start() {
    let sealed = sealed(3, WINDOW_STEPS, &[8]);
    let mut manager = Manager::abstractly("quiet");
    let daemon = serve(&sealed, "ws://127.0.0.1:1", "", &manager);
    manager.await_status("not ready: source: connecting to ws://127.0.0.1:1");
    manager.await_count("EXTEND_TIMEOUT_USEC=30000000", 2);
    assert_eq!(manager.count("READY=1"), 0);
    assert_eq!(daemon.metric("tickcast_ready"), 0.0);
    assert!(daemon.stop().status.success());
    manager.await_count("STOPPING=1", 1);

    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&folder.path().join("notify"));
    let feed = ScriptedFeed::start();
    let daemon = serve(&sealed, feed.url(), "supervise.stall_seconds_max = 1", &manager);
    manager.await_count("READY=1", 1);
    let (begun, fed) = (Instant::now(), manager.count("WATCHDOG=1"));
    // Three times as long as a stage with work may stand still, and not a word from the feed.
    manager.await_count("WATCHDOG=1", fed + 6);
    assert!(begun.elapsed() < 8 * WATCHDOG, "fed at half of the time at least");
    assert!(begun.elapsed() > 2 * WATCHDOG, "and not much more often");
    assert_eq!(daemon.metric("tickcast_ready"), 1.0);
    for day in 0..WINDOW_STEPS + 3 {
        feed.say(tick(day));
    }
    manager.await_status("ready; 3 forecasts");
    assert_eq!(daemon.get("/livez").0, 200);
    assert!(daemon.stop().status.success());
    manager.await_count("STOPPING=1", 1);
    let said = manager.listen();
    let at = |word: &str| said.iter().position(|said| said == word).unwrap();
    assert!(at("READY=1") < at("STOPPING=1"));
    assert_eq!(manager.count("READY=1"), 1);
}

#[test]
fn a_frozen_publisher_starves_the_watchdog_until_it_thaws() {
    let sealed = sealed(3, WINDOW_STEPS, &[8]);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Both ways, so that opening waits for nobody; it reads nothing until it is told to.
    let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut manager = Manager::abstractly("frozen");
    let feed = ScriptedFeed::start();
    let settings = "supervise.stall_seconds_max = 1";
    let daemon = serve_with(&sealed, feed.url(), settings, &manager, |command| {
        command.env("TICKCAST__PUBLISH__LINES", &pipe);
    });
    manager.await_count("READY=1", 1);
    // A pipe holds 64 KiB and a forecast has 400 bytes or more.
    const FORECASTS: u32 = 400;
    for day in 0..WINDOW_STEPS + FORECASTS {
        feed.say(tick(day));
    }
    let lines = r#"tickcast_stage_stalled{stage="lines"}"#;
    daemon.await_metric(lines, 1.0);
    manager.await_status("no progress in lines");
    let (status, reasons) = daemon.get("/livez");
    assert_eq!((status, &*reasons), (503, "stages: no progress in lines\n"));
    let fed = manager.count("WATCHDOG=1");
    let frozen = Instant::now();
    eventually("three times the watchdog", || (frozen.elapsed() > 3 * WATCHDOG).then_some(()));
    assert_eq!(manager.count("WATCHDOG=1"), fed, "the timer goes on and nothing is fed");
    let stages: HashMap<String, f64> = daemon.metrics().into_iter().collect();
    for stage in ["source", "shard-0", "runtime"] {
        let name = format!("tickcast_stage_stalled{{stage=\"{stage}\"}}");
        assert_eq!(stages.get(&name), Some(&0.0), "{stage} has nothing to do");
    }

    let thaw = std::thread::spawn(move || {
        let (mut buffer, mut lines) = ([0; 4096], 0);
        while lines < FORECASTS as usize {
            let count = reader.read(&mut buffer).unwrap();
            lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count();
        }
        lines
    });
    assert_eq!(thaw.join().unwrap(), FORECASTS as usize, "nothing was lost meanwhile");
    manager.await_count("WATCHDOG=1", fed + 2);
    assert_eq!((daemon.metric(lines), daemon.get("/livez").0), (0.0, 200));
    assert_eq!(daemon.metric("tickcast_lines_written_total"), f64::from(FORECASTS));
    assert!(daemon.stop().status.success());
}
