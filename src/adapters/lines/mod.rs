//! Forecasts or scores as JSON lines on standard output or appended to a file.
//!
//! Owns the writer and its thread. Promises the order of each shard, one record a line, and that
//! what was handed over is on its way to the system once the queue is empty. A full queue blocks
//! the engine (policy `block`): lines are never dropped. Never formats a record.

mod settings;
mod sink;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};

use crate::ops::supervise::{Pulse, Stage};

pub use self::settings::{KIND, LinesSettings, LinesTarget};

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
    /// Scores.
    Scores,
}

/// The metrics of the writer.
#[derive(Clone, Debug)]
pub struct LinesMetrics {
    of: LinesOf,
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
    pub fn register(registry: &Registry, of: LinesOf) -> Result<Self, prometheus::Error> {
        let (name, records) = match of {
            LinesOf::Forecasts => ("tickcast_lines", "Forecasts"),
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
        registry.register(Box::new(written.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(capacity))?;
        Ok(Self { of, written, waiting })
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
            // Whoever reads it keeps it.
            LinesTarget::StandardOutput => Self::start(io::stdout(), |_| Ok(()), metrics).map(Some),
            LinesTarget::File(path) => {
                let mut file =
                    OpenOptions::new().create(true).append(true).read(true).open(path)?;
                end_last_line(&mut file)?;
                Self::start(file, sync, metrics).map(Some)
            }
        }
    }

    /// Starts the writer on any target; `sync` waits until what was written to it is on the disk.
    fn start<T: Write + Send + 'static>(
        target: T,
        sync: fn(&T) -> io::Result<()>,
        metrics: LinesMetrics,
    ) -> io::Result<Self> {
        let (entries, given) = sync_channel(QUEUE_RECORDS_MAX);
        let pulse = Pulse::new();
        let queue = LineQueue { entries, metrics: metrics.clone() };
        let target = BufWriter::new(target);
        let writing = Writing { target, sync, metrics, pulse: pulse.clone() };
        let writer = std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || writing.write_all(&given))?;
        Ok(Self { queue, pulse, writer })
    }

    /// The writer as its supervisor sees it.
    pub fn stage(&self) -> Stage {
        let LinesMetrics { of, waiting, .. } = self.queue.metrics.clone();
        let name = match of {
            LinesOf::Forecasts => "lines",
            LinesOf::Scores => "score-lines",
        };
        Stage::with_queue(name, self.pulse.clone(), move || waiting.get() > 0)
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

/// Waits for a file; what is no file has no disk to wait for.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}

/// The writer's own end.
struct Writing<W: Write> {
    target: BufWriter<W>,
    sync: fn(&W) -> io::Result<()>,
    metrics: LinesMetrics,
    pulse: Pulse,
}

impl<W: Write> Writing<W> {
    /// Writes until the queue is closed, and flushes whenever it is empty.
    fn write_all(mut self, entries: &Receiver<Entry>) -> io::Result<()> {
        loop {
            let entry = match entries.try_recv() {
                Ok(entry) => entry,
                Err(TryRecvError::Disconnected) => return self.target.flush(),
                Err(TryRecvError::Empty) => {
                    self.target.flush()?;
                    self.pulse.rest();
                    match entries.recv() {
                        Ok(entry) => entry,
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.pulse.work();
            match entry {
                Entry::Record(record) => {
                    self.target.write_all(&record)?;
                    self.target.write_all(b"\n")?;
                    self.metrics.waiting.dec();
                    self.metrics.written.inc();
                }
                Entry::Settle(answer) => {
                    self.target.flush()?;
                    // Nobody listens where whoever asked has ended.
                    let _ = answer.send((self.sync)(self.target.get_ref()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> LinesMetrics {
        LinesMetrics::register(&Registry::new(), LinesOf::Forecasts).unwrap()
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
    fn what_is_settled_is_in_the_file_while_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forecasts.jsonl");
        let lines = Lines::open(&LinesTarget::File(path.clone()), metrics()).unwrap().unwrap();
        let other = lines.queue();
        for index in 0..1000 {
            lines.queue.write(Bytes::from(index.to_string())).unwrap();
            if index % 100 == 0 {
                other.settle().unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(text.lines().last(), Some(&*index.to_string()));
            }
        }
        let pipe = Lines::open(&LinesTarget::File("/dev/null".into()), metrics()).unwrap();
        pipe.unwrap().queue.settle().unwrap();
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
        let lines = Lines::start(Full, |_| Ok(()), metrics()).unwrap();
        while lines.queue.write(Bytes::from_static(b"x")).is_ok() {}
        assert!(lines.queue.settle().is_err());
        assert_eq!(lines.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
