//! Forecasts, those of shadows, or scores as JSON lines on standard output or appended to a file.
//!
//! Owns the writer and its thread. Promises the order of each shard, one record a line, and that
//! what was handed over is on its way to the system once the queue is empty. A full queue blocks
//! the engine. A target that cannot be written to ends the sink, or costs lines that are counted,
//! as the policy says. Never formats a record.

mod output;
mod settings;
mod sink;
mod writer;

use std::io;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Opts, Registry};

use self::output::{Output, Target};
pub use self::settings::{KIND, LinesPolicy, LinesSettings, LinesTarget};
use self::writer::{RETRY_AFTER, Writing};
use crate::ops::readiness::Notice;
use crate::ops::supervise::{Pulse, Stage};

/// Records between the engine and the writer. At 500 bytes a record this is 4 MB.
const QUEUE_RECORDS_MAX: usize = 8192;

/// The writer and its thread.
pub struct Lines {
    queue: LineQueue,
    pulse: Pulse,
    notice: Notice,
    writer: JoinHandle<io::Result<()>>,
}

/// A shard's end of the writer.
#[derive(Clone)]
pub struct LineQueue {
    entries: SyncSender<Entry>,
    metrics: LinesMetrics,
}

enum Entry {
    Record(Bytes),
    /// Answered when everything before it is on the disk.
    Settle(Sender<io::Result<()>>),
}

/// What a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinesOf {
    /// Forecasts.
    Forecasts,
    /// Forecasts of shadows.
    Shadows,
    /// Scores.
    Scores,
}

/// What a writer does with lines that its target does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFailed {
    /// It ends, and the daemon with it.
    Fail,
    /// It drops them, counts them, and tries again.
    Drop,
}

/// The metrics of the writer.
#[derive(Clone, Debug)]
pub struct LinesMetrics {
    of: LinesOf,
    written: IntCounter,
    waiting: IntGauge,
    dropped: IntCounter,
    failing: IntGauge,
}

/// The writer has stopped; the reason is what [`Lines::finish`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer of lines has stopped")]
pub struct LinesClosed;

impl LinesOf {
    /// What stages, metrics and the log call the sink.
    const fn name(self) -> &'static str {
        match self {
            Self::Forecasts => "lines",
            Self::Shadows => "shadow-lines",
            Self::Scores => "score-lines",
        }
    }
}

impl LinesMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry, of: LinesOf) -> Result<Self, prometheus::Error> {
        let (name, records) = match of {
            LinesOf::Forecasts => ("tickcast_lines", "Forecasts"),
            LinesOf::Shadows => ("tickcast_shadow_lines", "Forecasts of shadows"),
            LinesOf::Scores => ("tickcast_score_lines", "Scores"),
        };
        let gauge = |what: &str, help: &str| {
            IntGauge::new(format!("{name}_{what}"), format!("{records} that {help}"))
        };
        let written = IntCounter::new(
            format!("{name}_written_total"),
            format!("{records} written as lines."),
        )?;
        let waiting = gauge("waiting", "wait for their writer of lines.")?;
        let capacity = gauge("capacity", "the queue of their writer of lines has room for.")?;
        capacity.set(i64::try_from(QUEUE_RECORDS_MAX).unwrap_or(i64::MAX));
        let of_sink = |name: &str, help: &str| Opts::new(name, help).const_label("sink", of.name());
        let dropped = IntCounter::with_opts(of_sink(
            "tickcast_sink_records_dropped_total",
            "Records that a sink could not write and dropped.",
        ))?;
        let failing = IntGauge::with_opts(of_sink(
            "tickcast_sink_failing",
            "1 while a sink drops what it cannot write, else 0.",
        ))?;
        registry.register(Box::new(dropped.clone()))?;
        registry.register(Box::new(failing.clone()))?;
        registry.register(Box::new(written.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(capacity))?;
        Ok(Self { of, written, waiting, dropped, failing })
    }

    /// So many records wait no longer.
    fn took(&self, records: u64) {
        self.waiting.sub(i64::try_from(records).unwrap_or(i64::MAX));
    }
}

impl Lines {
    /// Opens the target and starts the writer; `None` for no target.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending or the thread cannot be made.
    pub fn open(
        target: &LinesTarget,
        when_failed: WhenFailed,
        metrics: LinesMetrics,
    ) -> io::Result<Option<Self>> {
        let target = match target {
            LinesTarget::Off => return Ok(None),
            LinesTarget::StandardOutput => Target::standard_output()?,
            LinesTarget::File(path) => Target::append(path)?,
        };
        Self::start(target, when_failed, RETRY_AFTER, metrics).map(Some)
    }

    /// Starts the writer on any target.
    fn start(
        output: impl Output,
        when_failed: WhenFailed,
        retry_after: Duration,
        metrics: LinesMetrics,
    ) -> io::Result<Self> {
        let (entries, given) = sync_channel(QUEUE_RECORDS_MAX);
        let (pulse, notice) = (Pulse::new(), Notice::new(metrics.of.name()));
        let queue = LineQueue { entries, metrics: metrics.clone() };
        let writing = Writing {
            // A line that a process left torn is ended before the first record.
            is_torn: output.is_torn(),
            output,
            when_failed,
            retry_after,
            metrics,
            pulse: pulse.clone(),
            notice: notice.clone(),
            buffer: Vec::new(),
            buffered: 0,
            failing: None,
        };
        let writer = std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || writing.write_all(&given))?;
        Ok(Self { queue, pulse, notice, writer })
    }

    /// The writer as its supervisor sees it.
    pub fn stage(&self) -> Stage {
        let LinesMetrics { of, waiting, .. } = self.queue.metrics.clone();
        Stage::with_queue(of.name(), self.pulse.clone(), move || waiting.get() > 0)
    }

    /// What the readiness page says while lines are dropped.
    pub fn notice(&self) -> Notice {
        self.notice.clone()
    }

    /// An end for one more shard.
    pub fn queue(&self) -> LineQueue {
        self.queue.clone()
    }

    /// Waits until everything handed over is written, and all other ends are gone.
    ///
    /// # Errors
    /// The first error of the writer.
    pub fn finish(self) -> io::Result<()> {
        drop(self.queue);
        self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
    }
}

impl LineQueue {
    /// Hands a record over, waiting while the queue is full.
    ///
    /// # Errors
    /// [`LinesClosed`] where the writer has failed.
    pub fn write(&self, record: Bytes) -> Result<(), LinesClosed> {
        self.metrics.waiting.inc();
        self.entries.send(Entry::Record(record)).map_err(|_| LinesClosed)
    }

    /// Waits until everything handed over so far, by whichever end, is on the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn settle(&self) -> io::Result<()> {
        let (answer, settled) = channel();
        let closed = || io::Error::other(LinesClosed);
        self.entries.send(Entry::Settle(answer)).map_err(|_| closed())?;
        settled.recv().map_err(|_| closed())?
    }
}

#[cfg(test)]
mod tests;
