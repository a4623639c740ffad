//! Forecasts as JSON lines on standard output or appended to a file.
//!
//! Owns the writer and its thread. Promises the order of each shard, one record a line, and that
//! what was handed over is on its way to the system once the queue is empty. A full queue blocks
//! the engine (policy `block`): lines are never dropped. Never formats a forecast.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};

use crate::config::LinesTarget;
use crate::supervise::{Pulse, Stage};

/// Records between the engine and the writer. At 500 bytes a record this is 4 MB.
const QUEUE_RECORDS_MAX: usize = 8192;

/// The writer and its thread.
pub struct Lines {
    queue: LineQueue,
    pulse: Pulse,
    writer: JoinHandle<io::Result<()>>,
}

/// A shard's end of the writer.
#[derive(Clone)]
pub struct LineQueue {
    records: SyncSender<Bytes>,
    metrics: LinesMetrics,
}

/// The metrics of the writer.
#[derive(Clone, Debug)]
pub struct LinesMetrics {
    written: IntCounter,
    waiting: IntGauge,
}

/// The writer has stopped; the reason is what [`Lines::finish`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer of lines has stopped")]
pub struct LinesClosed;

impl LinesMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let written =
            IntCounter::new("tickcast_lines_written_total", "Forecasts written as lines.")?;
        let waiting = IntGauge::new(
            "tickcast_lines_waiting",
            "Forecasts that wait for the writer of lines.",
        )?;
        let capacity = IntGauge::new(
            "tickcast_lines_capacity",
            "Forecasts that the queue of the writer of lines has room for.",
        )?;
        capacity.set(i64::try_from(QUEUE_RECORDS_MAX).unwrap_or(i64::MAX));
        registry.register(Box::new(written.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(capacity))?;
        Ok(Self { written, waiting })
    }
}

impl Lines {
    /// Opens the target and starts the writer; `None` for no target.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending or the thread cannot be made.
    pub fn open(target: &LinesTarget, metrics: LinesMetrics) -> io::Result<Option<Self>> {
        match target {
            LinesTarget::Off => Ok(None),
            LinesTarget::StandardOutput => Self::start(io::stdout(), metrics).map(Some),
            LinesTarget::File(path) => {
                let mut file =
                    OpenOptions::new().create(true).append(true).read(true).open(path)?;
                end_last_line(&mut file)?;
                Self::start(file, metrics).map(Some)
            }
        }
    }

    /// Starts the writer on any target.
    fn start(target: impl Write + Send + 'static, metrics: LinesMetrics) -> io::Result<Self> {
        let (records, given) = sync_channel(QUEUE_RECORDS_MAX);
        let pulse = Pulse::new();
        let queue = LineQueue { records, metrics: metrics.clone() };
        let writing = Writing { target: BufWriter::new(target), metrics, pulse: pulse.clone() };
        let writer = std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || writing.write_all(&given))?;
        Ok(Self { queue, pulse, writer })
    }

    /// The writer as its supervisor sees it.
    pub fn stage(&self) -> Stage {
        let waiting = self.queue.metrics.waiting.clone();
        Stage::with_queue("lines", self.pulse.clone(), move || waiting.get() > 0)
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
        self.records.send(record).map_err(|_| LinesClosed)
    }
}

/// Ends a line that a process left torn, so that the next record begins a line of its own.
fn end_last_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// The writer's own end.
struct Writing<W: Write> {
    target: BufWriter<W>,
    metrics: LinesMetrics,
    pulse: Pulse,
}

impl<W: Write> Writing<W> {
    /// Writes until the queue is closed, and flushes whenever it is empty.
    fn write_all(mut self, records: &Receiver<Bytes>) -> io::Result<()> {
        loop {
            let record = match records.try_recv() {
                Ok(record) => record,
                Err(TryRecvError::Disconnected) => return self.target.flush(),
                Err(TryRecvError::Empty) => {
                    self.target.flush()?;
                    self.pulse.rest();
                    match records.recv() {
                        Ok(record) => record,
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.pulse.work();
            self.target.write_all(&record)?;
            self.target.write_all(b"\n")?;
            self.metrics.waiting.dec();
            self.metrics.written.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> LinesMetrics {
        LinesMetrics::register(&Registry::new()).unwrap()
    }

    #[test]
    fn writes_every_record_in_order_and_appends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forecasts.jsonl");
        for start in [0, 10_000] {
            let metrics = metrics();
            let target = LinesTarget::File(path.clone());
            let lines = Lines::open(&target, metrics.clone()).unwrap().unwrap();
            for index in start..start + 10_000 {
                lines.queue.write(Bytes::from(index.to_string())).unwrap();
            }
            lines.finish().unwrap();
            assert_eq!((metrics.written.get(), metrics.waiting.get()), (10_000, 0));
        }
        let text = std::fs::read_to_string(path).unwrap();
        let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forecasts.jsonl");
        std::fs::write(&path, "whole\ntor").unwrap();
        let target = LinesTarget::File(path.clone());
        let lines = Lines::open(&target, metrics()).unwrap().unwrap();
        lines.queue.write(Bytes::from_static(b"next")).unwrap();
        lines.finish().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "whole\ntor\nnext\n");
    }

    #[test]
    fn a_failed_writer_is_noticed_and_named() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::StorageFull, "no space"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::start(Full, metrics()).unwrap();
        while lines.queue.write(Bytes::from_static(b"x")).is_ok() {}
        assert_eq!(lines.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
