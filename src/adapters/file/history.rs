//! A recording as the history of a stream: its rows go before the first live record.
//!
//! Owns the keys of `[history]` that name the file, and the way of its rows into the queues.
//! Promises that the rows come in the order of the file and through the code that reads a recording
//! for a replay, that memory is bounded by the queues, and that each row that cannot be decoded is
//! counted and goes on to be refused as it would be in the stream. Never judges a value, and never
//! knows which rows a model needs.

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

use super::settings::{OPTION_KEYS, look, open};
use super::{FileFormat, FileOptions, FileRecords, read_options};
use crate::core::decode::JsonDecoder;
use crate::core::domain::{
    DurationNanos, NamedRejection, RejectTally, Rejection, Symbol, TimeFormat, UnixNanos,
};
use crate::core::history::{Origin, Seam};
use crate::core::text::excerpt_of_bytes;
use crate::intake::{Record, Router};
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::logging::is_power_of_ten;
use crate::ops::readiness::Condition;
use crate::ports::section::Section;

/// The key of the file.
const KEY: &str = "history.path";

/// The longest bar: a leap year.
const BAR_SECONDS_MAX: usize = 366 * 86_400;

/// How often a long file has a line in the log.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How many rows go between two looks at the clock.
const ROWS_PER_LOOK: u64 = 1024;

/// The longest piece of a row in a log line.
const SAMPLE_CHARS_MAX: usize = 64;

/// Which file has the history, and what is known of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHistorySettings {
    /// JSON lines, CSV or Parquet.
    pub path: PathBuf,
    /// How to read it.
    pub options: FileOptions,
    /// What is known of the place behind the newest row of a symbol.
    pub seam: Seam,
    /// Older rows are left out.
    pub from: Option<UnixNanos>,
}

/// A file that is open, and of which no row was taken yet.
pub struct FileHistory {
    records: Box<FileRecords>,
    decoder: JsonDecoder,
    seam: Seam,
    from: Option<UnixNanos>,
}

/// What came of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streamed {
    /// Rows that are in the queues.
    pub rows: u64,
    /// Those of them that cannot be decoded.
    pub refused: u64,
    /// Rows that were left out because they are older than `history.from`.
    pub older: u64,
    /// Whether the file was read to its end; a stop ends it early.
    pub is_whole: bool,
}

/// Reads the keys of `[history]` that are about a file; `None` where there is none. `times` is how
/// the stream reads texts of times, which holds for the file where the section says nothing else.
pub fn read_file_keys(
    section: &mut Section<'_>,
    times: &TimeFormat,
) -> Option<FileHistorySettings> {
    let texts = OPTION_KEYS.iter().chain(&["time_format", "time_zone", "from"]);
    let mut set: Vec<_> = texts.copied().filter(|name| section.is_set(name)).collect();
    section.shows(&["path", "from", "time_format", "time_zone"]);
    let path = section.optional_path("path");
    let mut options = read_options(section);
    let own_times = section.time_format();
    let seam = read_seam(section, &mut set);
    let from = read_from(section);
    if let Some(Err(error)) = options.symbol.as_deref().map(Symbol::check) {
        section.problem("symbol", error);
    }
    let Some(path) = path else {
        for name in set {
            section.problem(name, "is of no use without history.path");
        }
        return None;
    };
    let is_lines = matches!(FileFormat::told(&path, &options), Ok(FileFormat::JsonLines));
    if is_lines && !own_times.is_default() {
        let name = if own_times.is_explicit() { "time_format" } else { "time_zone" };
        let problem =
            format_args!("is for tables; the times of JSON lines are read as source.{name} says");
        section.problem(name, problem);
    }
    options.dialect.times = if own_times.is_default() { times.clone() } else { own_times };
    Some(FileHistorySettings { path, options, seam, from })
}

/// Reads what rows are, and what is known of the place behind them; notes in `set` which keys say
/// something.
fn read_seam(section: &mut Section<'_>, set: &mut Vec<&'static str>) -> Seam {
    let is_bars = section.choice("rows", &[("ticks", false), ("bars", true)]);
    let seconds = section.optional_count("bar_seconds", 1, BAR_SECONDS_MAX);
    let is_joined = section.switch("joined");
    let said = [("rows", is_bars), ("bar_seconds", seconds.is_some()), ("joined", is_joined)];
    set.extend(said.iter().filter(|(_, is_said)| *is_said).map(|(name, _)| *name));
    match (is_bars, seconds) {
        (true, None) => section.problem("bar_seconds", "is missing: how long is a bar?"),
        (false, Some(_)) => section.problem("bar_seconds", "is for history.rows = \"bars\" only"),
        _ => {}
    }
    let covers = seconds.filter(|_| is_bars).and_then(|seconds| {
        let seconds = i64::try_from(seconds).ok()?;
        DurationNanos::from_seconds(seconds)
    });
    Seam { is_joined, covers: covers.unwrap_or(DurationNanos::ZERO) }
}

/// Reads from which time on rows count.
fn read_from(section: &mut Section<'_>) -> Option<UnixNanos> {
    let text = section.optional_text("from")?;
    let time = UnixNanos::parse(&text);
    time.map_err(|error| section.problem("from", format_args!("`{text}`: {error}"))).ok()
}

/// Why a source of this kind has no use for a file of history; `None` where it has.
pub fn refused_for(kind: &str) -> Option<&'static str> {
    match kind {
        "file" => Some("is for a live feed; for kind \"file\" join the two files"),
        "kafka" => Some("is for a live feed; the history of a topic is in the topic"),
        _ => None,
    }
}

impl FileHistorySettings {
    /// Opens the file, takes no row, and says in lines for a person what is known of it.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for one that cannot be read.
    pub fn check(&self) -> Result<Vec<String>, Exit> {
        let records = look(&self.path, &self.options, KEY)?;
        let path = self.path.display();
        let rows = match self.seam.covers {
            DurationNanos::ZERO => "ticks".to_owned(),
            length => format!("bars of {} s", length.as_nanos() / 1_000_000_000),
        };
        let from = self.from.map(|from| format!(" from {from} on")).unwrap_or_default();
        let joined = match self.seam.is_joined {
            true => "joined to the stream",
            false => "not joined to the stream",
        };
        let mut lines = vec![format!("history       file `{path}`: {rows}{from}, {joined}")];
        match records {
            Some(records) => lines.extend(records.guessed()),
            None => lines[0].push_str("; it is no file, and is read when serving"),
        }
        Ok(lines)
    }

    /// Opens the file and takes no row yet. `decoder` is that of the stream.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for a file that cannot be read.
    pub fn open(&self, decoder: JsonDecoder) -> Result<FileHistory, Exit> {
        let records = open(&self.path, &self.options, KEY)?;
        if let Some(guessed) = records.guessed() {
            info!("{guessed}");
        }
        let Self { seam, from, .. } = *self;
        Ok(FileHistory { records: Box::new(records), decoder, seam, from })
    }
}

impl FileHistory {
    /// Puts every row into the queue of its shard, waiting for room; gives the router back. Where
    /// `stop` turns true, or a shard takes no more, it ends early.
    ///
    /// # Errors
    /// [`Exit`] with code 65 for a file that cannot be read to its end.
    pub async fn stream<C: Send + 'static>(
        self,
        router: Router<C>,
        ready: &Condition,
        stop: watch::Receiver<bool>,
    ) -> Result<(Router<C>, Streamed), Exit> {
        ready.not_ready(format!("reading the history `{}`", self.path()));
        let handle = Handle::current();
        let read = move || {
            let streamed = self.deliver(&handle, &router, &stop)?;
            Ok((router, streamed))
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(Exit::while_doing(Failure::Internal, "read the history"))?
    }

    fn path(&self) -> std::path::Display<'_> {
        self.records.path.display()
    }

    fn deliver<C>(
        mut self,
        handle: &Handle,
        router: &Router<C>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Streamed, Exit> {
        info!(path = %self.path(), "reading the history before the stream");
        let mut progress = Progress::default();
        while !*stop.borrow() {
            let Some(record) = self.records.next() else {
                progress.streamed.is_whole = true;
                break;
            };
            let record =
                record.map_err(|error| Exit::new(Failure::Data, format_args!("{KEY}: {error}")))?;
            match self.decoder.decode(&record.bytes) {
                Ok(tick) if self.from.is_some_and(|from| tick.time < from) => {
                    progress.streamed.older += 1;
                    continue;
                }
                Ok(_) => {}
                Err(rejection) => progress.refuse(&self, rejection, &record.bytes),
            }
            let bytes = record.bytes.into();
            let row = Record { bytes, origin: Origin::History(self.seam), ..Record::default() };
            if handle.block_on(router.hand_on(row)).is_err() {
                break;
            }
            progress.streamed.rows += 1;
            progress.show(&self.records);
        }
        let Streamed { rows, refused, older, is_whole } = progress.streamed;
        let path = self.path();
        match (is_whole, rows) {
            (true, 0) => warn!(
                %path, older,
                "the history has no rows, so every symbol begins without it; look at the file with \
                 `tickcast data`"
            ),
            (true, _) => info!(%path, rows, refused, older, "the history was read"),
            (false, _) => info!(%path, rows, "the history was cut by the stop"),
        }
        Ok(progress.streamed)
    }
}

/// How far the reading is, and what is said of it.
#[derive(Default)]
struct Progress {
    streamed: Streamed,
    rejects: RejectTally,
    /// Since the newest line about it.
    watch: Option<Stopwatch>,
}

impl Progress {
    /// Counts a row that cannot be decoded, and logs the 1st, 10th, 100th and so on of its kind.
    fn refuse(&mut self, history: &FileHistory, rejection: Rejection, row: &[u8]) {
        self.streamed.refused += 1;
        self.rejects.add(rejection.reason);
        let count = self.rejects.get(rejection.reason);
        if !is_power_of_ten(count) {
            return;
        }
        let FileHistory { records, decoder, .. } = history;
        let NamedRejection { reason, field } = rejection.named(decoder.schema());
        let sample = excerpt_of_bytes(records.row_text().unwrap_or(row), SAMPLE_CHARS_MAX);
        warn!(
            path = %history.path(), place = records.place(), reason = reason.label(), field, count,
            %sample,
            "a row of the history cannot be used; it is left out"
        );
    }

    /// Logs how far a long file was read.
    fn show(&mut self, records: &FileRecords) {
        let rows = self.streamed.rows;
        if !rows.is_multiple_of(ROWS_PER_LOOK) {
            return;
        }
        let watch = *self.watch.get_or_insert_with(Stopwatch::start);
        if watch.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.watch = Some(Stopwatch::start());
        let (bytes, bytes_total) = (records.bytes_read(), records.bytes_total());
        info!(rows, bytes, bytes_total, "reading the history");
    }
}

#[cfg(test)]
mod tests;
