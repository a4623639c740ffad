//! Log lines on standard error, for people or for machines.
//!
//! Owns the form and level of log lines, the thread that writes them, and the count of those that
//! were lost. Promises that standard output stays free for data, and that a standard error that is
//! full, closed or stalled costs log lines and nothing else: a thread that logs never waits for it
//! and never fails because of it. Never is called by the pure core.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Registry};
use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::core::text::excerpt;

/// Whether a count is worth a line where each is not: 1, 10, 100 and so on.
pub fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|exponent| 10u64.pow(exponent) == count)
}

/// How the process speaks of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The levels of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Lines that wait for standard error. At 300 bytes a line this is 1 MB.
const LINES_WAITING_MAX: usize = 4096;

/// How long the end of the process waits for the lines that are still to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Lines that were not written, since the process began. Logging is one for the whole process, so
/// its count is as well.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Keeps logging alive; dropped, it waits for the lines that are under way.
#[must_use = "log lines that are under way are lost with the process"]
#[derive(Debug)]
pub struct LogGuard {
    queue: SyncSender<Entry>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Answered when every line before it was written or lost.
    Flush(SyncSender<()>),
}

/// Starts logging for the rest of the process; a second call changes nothing.
///
/// # Errors
/// Where standard error cannot be duplicated, or the thread cannot be made.
pub fn start(config: LogConfig) -> io::Result<LogGuard> {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // A descriptor of its own: a write that stalls holds no lock that a panic message needs.
    let target = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let queue = write_behind(target, LINES_WAITING_MAX)?;
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(LineWriter { queue: queue.clone() })
        .with_target(false)
        // What the subscriber prints about its own failures goes where they come from.
        .log_internal_errors(false);
    log_panics();
    // The only failure is a subscriber that is already in place; it goes on.
    let _ = match config.format {
        LogFormat::Text => {
            let colors = io::IsTerminal::is_terminal(&io::stderr());
            builder.with_ansi(colors).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(LogGuard { queue })
}

/// The characters of a panic's message that are logged.
const PANIC_CHARS_MAX: usize = 400;

/// Has panics logged like everything else: the standard library would print them as text, and a
/// log that machines read has lines of JSON alone.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = excerpt(panic.payload_as_str().unwrap_or_default(), PANIC_CHARS_MAX);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let current = std::thread::current();
        let thread = current.name().unwrap_or_default();
        // Captured only where RUST_BACKTRACE asks for it.
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        error!(
            panic = message,
            place, thread, backtrace, "a thread panicked: a fault of the program"
        );
    }));
}

/// Registers `tickcast_log_lines_lost_total`.
///
/// # Errors
/// Where the name is registered already.
pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    let total = IntCounter::new(
        "tickcast_log_lines_lost_total",
        "Log lines that standard error did not take.",
    )?;
    registry.register(Box::new(LostLines { total }))
}

/// Starts the thread that writes to `target`. It ends with the last sender.
fn write_behind<W: Write + Send + 'static>(
    target: W,
    lines_waiting_max: usize,
) -> io::Result<SyncSender<Entry>> {
    let (queue, entries) = sync_channel(lines_waiting_max);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(target, &entries))?;
    Ok(queue)
}

fn write_all(mut target: impl Write, entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                if target.write_all(&line).is_err() {
                    lose();
                }
            }
            // The end of the process waits no longer than it wants to.
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}

fn lose() {
    LOST.fetch_add(1, Ordering::Relaxed);
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, flushed) = sync_channel(1);
        // A queue that is full belongs to a target that stalls: there is nothing to wait for.
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH_PATIENCE);
        }
    }
}

/// Hands every line to the thread that writes; the subscriber writes one line with each call.
#[derive(Clone, Debug)]
struct LineWriter {
    queue: SyncSender<Entry>,
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            lose();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LineWriter {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The count of lost lines as a registry reads it.
struct LostLines {
    total: IntCounter,
}

impl Collector for LostLines {
    fn desc(&self) -> Vec<&Desc> {
        self.total.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let lost = LOST.load(Ordering::Relaxed);
        // Two scrapes at once may both read the same old value; the count never goes down.
        self.total.inc_by(lost.saturating_sub(self.total.get()));
        self.total.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A target that reports each write, then does what the test says.
    struct Scripted {
        begun: Sender<String>,
        answers: Receiver<io::Result<()>>,
    }

    impl Write for Scripted {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.begun.send(String::from_utf8_lossy(line).into_owned()).unwrap();
            self.answers.recv().unwrap().map(|()| line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_target_that_fails_or_stalls_costs_lines_and_nothing_else() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let lost = || registry.gather()[0].get_metric()[0].get_counter().get_value();
        let before = lost();
        let ((begun, begins), (answer, answers)) = (channel(), channel());
        let queue = write_behind(Scripted { begun, answers }, 2).unwrap();
        let guard = LogGuard { queue: queue.clone() };
        let mut writer = LineWriter { queue };
        writer.write_all(b"full").unwrap();
        assert_eq!(begins.recv().unwrap(), "full");
        answer.send(Err(io::Error::from(io::ErrorKind::StorageFull))).unwrap();
        // The target stalls on the next line: two more wait, and the two behind them are lost.
        writer.write_all(b"stalls").unwrap();
        assert_eq!(begins.recv().unwrap(), "stalls");
        for line in ["waits 1", "waits 2", "lost 1", "lost 2"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lost() - before, 3.0);
        for _ in 0..3 {
            answer.send(Ok(())).unwrap();
        }
        assert_eq!([begins.recv().unwrap(), begins.recv().unwrap()], ["waits 1", "waits 2"]);
        drop(guard);
        assert_eq!(lost() - before, 3.0);
    }
}
