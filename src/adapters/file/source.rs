//! A recording as a source.
//!
//! Owns the reading from behind the records that the states hold already. Promises that record N of
//! the file is delivered at offset N, in the order of the file.

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::FileRecords;
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
        let mut records = records;
        let count =
            deliver(&mut records, &handle, &router, &ready, &stop, start, progress.as_ref())?;
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
    records: &mut FileRecords,
    handle: &Handle,
    router: &Router<C>,
    ready: &Condition,
    stop: &watch::Receiver<bool>,
    start: Start,
    progress: Option<&InputProgress>,
) -> Result<u64, Exit> {
    let mut count = 0;
    while !*stop.borrow() {
        if count == start.records {
            ready.ready();
        }
        let Some(record) = records.next() else { break };
        let record = record.map_err(Exit::because(Failure::Data))?;
        count += 1;
        if count <= start.records {
            continue;
        }
        // No recording has more records than that.
        let offset = i64::try_from(count - 1).unwrap_or(i64::MAX);
        let position = Position { partition: RECORDING, offset };
        if handle.block_on(router.record_at(record.bytes.into(), position)).is_err() {
            break;
        }
        if let Some(progress) = progress {
            progress.delivered(count, records.bytes_read());
        }
    }
    Ok(count)
}
