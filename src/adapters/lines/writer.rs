//! The thread that writes lines.
//!
//! Owns what is not written yet, and what happens when writing fails. Promises that every record is
//! counted once, as written or as dropped, and that a line which was written in part is taken back
//! or ended. Never drops a line unless the policy says so.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use tracing::{info, warn};

use super::output::Output;
use super::{Entry, LinesMetrics, WhenFailed};
use crate::ops::clock::Stopwatch;
use crate::ops::readiness::Notice;
use crate::ops::supervise::Pulse;

/// So many bytes are written at once while records wait.
const BUFFER_BYTES: usize = 1 << 16;

/// How long records are dropped before writing is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The writer's own end.
pub(super) struct Writing<O> {
    pub(super) output: O,
    pub(super) when_failed: WhenFailed,
    pub(super) retry_after: Duration,
    pub(super) metrics: LinesMetrics,
    pub(super) pulse: Pulse,
    pub(super) notice: Notice,
    /// Whole lines.
    pub(super) buffer: Vec<u8>,
    /// How many.
    pub(super) buffered: u64,
    pub(super) failing: Option<Failing>,
    /// The output may end amid a line.
    pub(super) is_torn: bool,
}

/// Writing has failed and records are dropped.
pub(super) struct Failing {
    /// Since the last try.
    tried: Stopwatch,
    dropped: u64,
}

impl<O: Output> Writing<O> {
    /// Writes until the queue is closed, and flushes whenever it is empty.
    pub(super) fn write_all(mut self, entries: &Receiver<Entry>) -> io::Result<()> {
        loop {
            let entry = match entries.try_recv() {
                Ok(entry) => entry,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.flush()?;
                    self.pulse.rest();
                    match entries.recv() {
                        Ok(entry) => entry,
                        Err(_) => break,
                    }
                }
            };
            self.pulse.work();
            match entry {
                Entry::Record(record) => self.take(&record)?,
                Entry::Settle(answer) => {
                    self.flush()?;
                    let outcome = self.sync();
                    // Nobody listens where whoever asked has ended.
                    let _ = answer.send(outcome);
                }
            }
        }
        self.flush()?;
        if let Some(Failing { dropped, .. }) = self.failing {
            let sink = self.metrics.of.name();
            warn!(sink, dropped, "the daemon ends while its lines cannot be written");
        }
        Ok(())
    }

    fn take(&mut self, record: &[u8]) -> io::Result<()> {
        let pauses = |failing: &Failing| failing.tried.elapsed() < self.retry_after;
        if self.failing.as_ref().is_some_and(pauses) {
            self.drop_lines(1);
            return Ok(());
        }
        self.buffer.extend_from_slice(record);
        self.buffer.push(b'\n');
        self.buffered += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match self.write_buffer() {
            Ok(()) => self.recovered(),
            Err(error) => self.failed(error)?,
        }
        Ok(())
    }

    /// Waits for the disk; while lines are dropped there is nothing to wait for.
    fn sync(&mut self) -> io::Result<()> {
        if self.failing.is_some() {
            return Ok(());
        }
        match (self.output.sync(), self.when_failed) {
            (Err(error), WhenFailed::Drop) => self.failed(error),
            (outcome, _) => outcome,
        }
    }

    /// Writes whole lines, as many as it can, and leaves the others in the buffer.
    fn write_buffer(&mut self) -> io::Result<()> {
        if self.failing.is_some() {
            self.output.reopen()?;
            self.is_torn |= self.output.is_torn();
        }
        if self.is_torn {
            self.output.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut done = 0;
        let outcome = loop {
            match self.output.write(&self.buffer[done..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if done == self.buffer.len() {
                break self.output.flush();
            }
        };
        let is_end = |byte: &u8| *byte == b'\n';
        let written = &self.buffer[..done];
        let whole = written.iter().rposition(is_end).map_or(0, |end| end + 1);
        let lines = written[..whole].iter().filter(|byte| is_end(byte)).count() as u64;
        self.metrics.written.inc_by(lines);
        self.metrics.took(lines);
        self.buffered -= lines;
        let torn = &self.buffer[whole..done];
        self.is_torn = !torn.is_empty() && !self.output.cut(torn);
        self.buffer.drain(..whole);
        outcome
    }

    fn recovered(&mut self) {
        if let Some(Failing { dropped, .. }) = self.failing.take() {
            let sink = self.metrics.of.name();
            info!(sink, dropped, "lines are written again; those in between are lost");
            self.metrics.failing.set(0);
            self.notice.clear();
        }
    }

    /// Applies the policy to the lines that are left in the buffer.
    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        if self.when_failed == WhenFailed::Fail {
            return Err(error);
        }
        let dropped = match self.failing.take() {
            Some(failing) => failing.dropped,
            None => {
                let sink = self.metrics.of.name();
                warn!(
                    sink, %error,
                    "lines cannot be written and are dropped until they can; all else goes on"
                );
                0
            }
        };
        self.failing = Some(Failing { tried: Stopwatch::start(), dropped });
        self.metrics.failing.set(1);
        self.notice.set(format!("lines are dropped: {error}"));
        self.buffer.clear();
        let left = std::mem::take(&mut self.buffered);
        self.drop_lines(left);
        Ok(())
    }

    fn drop_lines(&mut self, lines: u64) {
        self.metrics.dropped.inc_by(lines);
        self.metrics.took(lines);
        if let Some(failing) = &mut self.failing {
            failing.dropped += lines;
        }
    }
}
