//! Supervision: whether the data path moves, told to whoever looks after the process.
//!
//! Owns the watch over the stages, the thread that keeps it, and what systemd is told: ready,
//! a line of status, that the path moves, and that the process stops. Promises that the watchdog is
//! fed by the data path alone: only while every stage has come on since the last look, or had
//! nothing to do; and that the probe `/livez` and the metric of stalled stages say the same. Never
//! ends the process: whoever supervises it does.

mod metrics;
mod notify;
mod pulse;
mod watch;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tracing::{debug, error, info};

pub use self::metrics::SuperviseMetrics;
pub use self::notify::{Notifier, watchdog_timeout};
pub use self::pulse::Pulse;
pub use self::watch::{Stage, StageWatch};

use crate::ops::clock::Stopwatch;
use crate::ops::readiness::{Condition, Readiness};

/// The longest time between two looks: what a probe and the metrics may be behind.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// How much longer the start may take, said anew at each look while the process is not ready: a
/// feed that is away for a weekend is no failed start.
const START_EXTENSION: Duration = Duration::from_secs(30);

/// Everything the supervisor looks at and tells.
pub struct Supervisor {
    /// The stages of the data path.
    pub stages: Vec<Stage>,
    /// How long a stage with work may stand still.
    pub stall_timeout: Duration,
    /// Whether the process is ready.
    pub readiness: Readiness,
    /// What `/livez` shows of the stages.
    pub alive: Condition,
    /// What is counted.
    pub metrics: SuperviseMetrics,
    /// systemd's socket, where there is one.
    pub notifier: Option<Notifier>,
    /// How long systemd waits for a sign of life, where it does.
    pub watchdog: Option<Duration>,
    /// How much was done, for the line of status.
    pub progress: Box<dyn Fn() -> String + Send>,
}

/// The running supervisor; it ends when this is dropped.
pub struct Supervision(Sender<Order>);

enum Order {
    Stopping,
}

impl Supervision {
    /// The process has begun to stop. It is watched until its end.
    pub fn stopping(&self) {
        // The thread is gone only where it panicked; the stop goes on without it.
        let _ = self.0.send(Order::Stopping);
    }
}

impl Supervisor {
    /// Starts to look, on a thread of its own: one that shares nothing with what it looks at.
    ///
    /// # Errors
    /// Where the thread cannot be made.
    pub fn start(self) -> io::Result<Supervision> {
        let (orders, given) = channel();
        std::thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || self.run(&given))?;
        Ok(Supervision(orders))
    }

    fn run(self, orders: &Receiver<Order>) {
        let Self { readiness, alive, metrics, progress, .. } = self;
        let every = [Some(self.stall_timeout / 4), self.watchdog.map(|timeout| timeout / 4)];
        let every = every.into_iter().flatten().fold(LOOK_EVERY_MAX, Duration::min);
        let begun = Stopwatch::start();
        let mut watch = StageWatch::new(self.stages, self.stall_timeout);
        let mut told = Told::new(self.notifier, self.watchdog);
        let mut stalled = Vec::new();
        loop {
            match orders.recv_timeout(every) {
                Ok(Order::Stopping) => told.stopping(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = watch.look(begun.elapsed());
            report_changes(&stalled, &now);
            stalled = now;
            metrics.show_stalled(watch.names(), &stalled);
            match &stalled[..] {
                [] => alive.ready(),
                some => alive.not_ready(format!("no progress in {}", some.join(", "))),
            }
            let problems = readiness.problems();
            metrics.show_ready(problems.is_empty());
            told.about(&problems, &stalled, &progress);
        }
    }
}

fn report_changes(before: &[String], now: &[String]) {
    for stage in now.iter().filter(|stage| !before.contains(stage)) {
        error!(stage, "a stage has work and does not come on");
    }
    for stage in before.iter().filter(|stage| !now.contains(stage)) {
        info!(stage, "the stage comes on again");
    }
}

/// What systemd was told.
struct Told {
    notifier: Option<Notifier>,
    /// Half of what systemd waits for, and since when it was not fed.
    feeding: Option<(Duration, Stopwatch)>,
    ready: bool,
    stopping: bool,
    status: String,
}

impl Told {
    fn new(notifier: Option<Notifier>, watchdog: Option<Duration>) -> Self {
        let feeding = watchdog.map(|timeout| (timeout / 2, Stopwatch::start()));
        Self { notifier, feeding, ready: false, stopping: false, status: String::new() }
    }

    fn say(&self, words: &str) {
        let Some(notifier) = &self.notifier else { return };
        if let Err(error) = notifier.send(words) {
            debug!(%error, "the service manager did not take a notification");
        }
    }

    fn stopping(&mut self) {
        self.stopping = true;
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    fn about(&mut self, problems: &[String], stalled: &[String], progress: &dyn Fn() -> String) {
        if self.notifier.is_none() {
            return;
        }
        if !self.ready && !self.stopping {
            if problems.is_empty() {
                self.ready = true;
                self.say("READY=1");
            } else if stalled.is_empty() {
                self.say(&format!("EXTEND_TIMEOUT_USEC={}", START_EXTENSION.as_micros()));
            }
        }
        let status = match (stalled, problems) {
            _ if self.stopping => "stopping".to_owned(),
            ([], []) => format!("ready; {}", progress()),
            ([], problems) => format!("not ready: {}", problems.join("; ")),
            (stalled, _) => format!("no progress in {}", stalled.join(", ")),
        };
        if status != self.status {
            // One line: a line end would begin another assignment.
            self.say(&format!("STATUS={}", status.replace('\n', " ")));
            self.status = status;
        }
        let Some((half, fed)) = &mut self.feeding else { return };
        if stalled.is_empty() && fed.elapsed() >= *half {
            *fed = Stopwatch::start();
            self.say("WATCHDOG=1");
        }
    }
}
