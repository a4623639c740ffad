//! A recording as a source.
//!
//! Owns the reading from behind the records that the states hold already. Promises that record N of
//! the file is delivered at offset N, in the order of the file.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{FileError, FileRecords};
use crate::core::domain::Position;
use crate::intake::Router;
use crate::ops::exit::{Exit, Failure};
use crate::ops::readiness::Condition;
use crate::ports::input::{InputProgress, RECORDING, Start};
use crate::ports::source::{Source, SourceContext};

/// A recording that is open and was not read yet.
pub(super) struct FileSource(Box<FileRecords>);

impl FileSource {
    pub(super) fn new(records: FileRecords) -> Self {
        Self(Box::new(records))
    }
}

impl<C: Send + 'static> Source<C> for FileSource {
    fn run(self: Box<Self>, context: SourceContext<C>) -> BoxFuture<'static, Result<(), Exit>> {
        Box::pin(async move {
            let handle = Handle::current();
            let read = move || Reading { handle, context }.all(*self.0);
            tokio::task::spawn_blocking(read)
                .await
                .map_err(Exit::while_doing(Failure::Internal, "read the recording"))?
        })
    }
}

/// What reading needs.
struct Reading<C> {
    handle: Handle,
    context: SourceContext<C>,
}

impl<C> Reading<C> {
    /// Reads the recording to its end. The records behind the states are read again to be left
    /// out, because no format but JSON lines can be entered in the middle.
    fn all(self, records: FileRecords) -> Result<(), Exit> {
        let Self { handle, context } = self;
        let SourceContext { router, ready, stop, start, progress } = context;
        if start.records > 0 {
            ready.not_ready(format!("going to record {}", start.records));
        }
        let places = Places::new(records, start, progress);
        let count = deliver(places, &handle, &router, &ready, &stop)?;
        if count < start.records && !*stop.borrow() {
            let (had, has) = (start.records, count);
            let text =
                format!("source.path: {had} records were read of it before, and it has {has}");
            return Err(Exit::new(Failure::Data, text));
        }
        Ok(())
    }
}

/// Delivers the records behind `start`; returns how many were read in all.
fn deliver<C>(
    mut places: Places,
    handle: &Handle,
    router: &Router<C>,
    ready: &Condition,
    stop: &watch::Receiver<bool>,
) -> Result<u64, Exit> {
    while !*stop.borrow() {
        if places.is_at_start() {
            ready.ready();
        }
        match places.read().map_err(Exit::because(Failure::Data))? {
            Found::End => break,
            Found::Behind => {}
            Found::Record(bytes, position) => {
                if handle.block_on(router.record_at(bytes, position)).is_err() {
                    break;
                }
                places.delivered();
            }
        }
    }
    Ok(places.count())
}

/// The places of the records of a recording.
///
/// Owns the count. Promises that record N is at offset N, that the records behind the start are
/// left out, and that the progress notes a record only when it was delivered. Never delivers one.
pub struct Places {
    records: FileRecords,
    start: Start,
    progress: Option<InputProgress>,
    count: u64,
}

/// What is read next of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record, with its place.
    Record(Bytes, Position),
    /// A record that every restored state has behind it.
    Behind,
    /// Nothing more.
    End,
}

impl Places {
    /// A recording that was not read yet.
    pub fn new(records: FileRecords, start: Start, progress: Option<InputProgress>) -> Self {
        Self { records, start, progress, count: 0 }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// Where the recording cannot be read.
    pub fn read(&mut self) -> Result<Found, FileError> {
        let Some(record) = self.records.next() else { return Ok(Found::End) };
        let record = record?;
        self.count += 1;
        if self.count <= self.start.records {
            return Ok(Found::Behind);
        }
        // No recording has more records than that.
        let offset = i64::try_from(self.count - 1).unwrap_or(i64::MAX);
        let position = Position { partition: RECORDING, offset };
        Ok(Found::Record(record.bytes.into(), position))
    }

    /// Notes that the newest record is in the queue of its shard.
    pub fn delivered(&self) {
        if let Some(progress) = &self.progress {
            progress.delivered(self.count, self.records.bytes_read());
        }
    }

    /// Whether the next record is the first to be delivered.
    pub fn is_at_start(&self) -> bool {
        self.count == self.start.records
    }

    /// How many records were read in all.
    pub fn count(&self) -> u64 {
        self.count
    }
}
