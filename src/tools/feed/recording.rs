//! A recording in memory, in the order in which it is played.
//!
//! Owns which records are played and when each has its turn. Promises that records of one event
//! time keep the file's order and that a record without a usable time stays behind the one before
//! it. Never refuses a record for what is in it, and never answers a question about those that are
//! held back: `history` does.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::history::History;
use crate::adapters::file::{FileError, FileRecords};
use crate::core::domain::{DurationNanos, TimeDoubt, TimeFormat, TimeUnit, UnixNanos};

/// The largest recording in bytes, its index included; it lives in memory.
const BYTES_MAX: usize = 1 << 30;

/// What one record takes beside its own bytes: its message, its time and its place.
const RECORD_OVERHEAD_BYTES: usize = 96;

/// What it takes more where there is a history: its place in the one of its symbol.
const HISTORY_OVERHEAD_BYTES: usize = 64;

/// Which records are played, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these symbols; all where it is empty. A record whose symbol cannot be read is played
    /// in any case: it is there to be refused by the reader.
    pub symbols: BTreeSet<String>,
    /// The unit of event times that are numbers.
    pub time_unit: TimeUnit,
    /// How event times are read that are texts.
    pub time_format: TimeFormat,
    /// Whether times are taken for right that look like those of another unit.
    pub accepts_times: bool,
    /// The order.
    pub order: Order,
    /// How many records of each symbol, from its first one on, are history and are not played.
    /// Records that no one could take, because they are not JSON or have no symbol or no time, are
    /// played in any case and do not count. Without such a number there is no history.
    pub history: Option<usize>,
}

/// The order in which records are played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By event time, as a live feed sends them.
    #[default]
    EventTime,
    /// As they stand in the file: times that run backwards stay so.
    File,
}

/// A recording, ready to be played.
#[derive(Debug)]
pub struct Recording {
    entries: Vec<Entry>,
    first_time: Option<UnixNanos>,
    history: Option<History>,
}

/// One record of a recording.
#[derive(Debug)]
pub(super) struct Entry {
    /// When it has its turn, in event time; `None` before the first usable time.
    pub(super) time: Option<UnixNanos>,
    pub(super) message: Message,
}

/// Why there is nothing to play.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// More than fits in memory.
    #[error("`{path}`: more than {max} MiB; play a part of it", max = BYTES_MAX >> 20)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// Not one record.
    #[error("`{path}`: no record to play")]
    Empty {
        /// The file.
        path: String,
    },
    /// Times that cannot be right.
    #[error(
        "`{path}`: the times cannot be right: the first one would be {time}; {}; where they are \
         right as they are, use --accept-times",
        doubt.advice()
    )]
    Times {
        /// The file.
        path: String,
        /// The first time.
        time: UnixNanos,
        /// What it is taken for.
        doubt: TimeDoubt,
    },
    /// Nothing is left to play.
    #[error("`{path}`: --history {history} leaves no record to play; choose a smaller number")]
    AllHistory {
        /// The file.
        path: String,
        /// How many records of each symbol are held back.
        history: usize,
    },
    /// A symbol that the file has not.
    #[error("`{path}`: no record of {symbols}")]
    NoSuchSymbol {
        /// The file.
        path: String,
        /// The symbols without a record.
        symbols: String,
    },
}

/// A record before the order is known.
struct Draft {
    time: Option<UnixNanos>,
    place: Range<usize>,
}

impl Recording {
    /// Reads an open file to its end and puts its records in order.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn load(
        path: &Path,
        records: FileRecords,
        selection: &Selection,
    ) -> Result<Self, RecordingError> {
        let name = || path.display().to_string();
        let mut bytes = Vec::new();
        let mut drafts: Vec<Draft> = Vec::new();
        let overhead = match selection.history {
            Some(_) => RECORD_OVERHEAD_BYTES + HISTORY_OVERHEAD_BYTES,
            None => RECORD_OVERHEAD_BYTES,
        };
        let mut missing = selection.symbols.clone();
        for record in records {
            let record = record?.bytes;
            let peek = Peek::at(&record, selection);
            if let Some(symbol) = &peek.symbol {
                missing.remove(&**symbol);
                if !selection.symbols.is_empty() && !selection.symbols.contains(&**symbol) {
                    continue;
                }
            }
            let before = drafts.last().and_then(|draft| draft.time);
            if let (None, Some(time), Some(doubt)) = (before, peek.time, peek.doubt) {
                return Err(RecordingError::Times { path: name(), time, doubt });
            }
            let time = match selection.order {
                Order::EventTime => peek.time.or(before),
                Order::File => peek.time.max(before),
            };
            let place = bytes.len()..bytes.len() + record.len();
            if place.end + (drafts.len() + 1) * overhead > BYTES_MAX {
                return Err(RecordingError::TooLarge { path: name() });
            }
            bytes.extend_from_slice(&record);
            drafts.push(Draft { time, place });
        }
        if !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(|symbol| format!("`{symbol}`")).collect();
            return Err(RecordingError::NoSuchSymbol { path: name(), symbols: missing.join(", ") });
        }
        if drafts.is_empty() {
            return Err(RecordingError::Empty { path: name() });
        }
        // Stable, and `None` comes before every time.
        drafts.sort_by_key(|draft| draft.time);
        let recording = Self::new(&Bytes::from(bytes), drafts, selection);
        match selection.history {
            Some(history) if recording.is_empty() => {
                Err(RecordingError::AllHistory { path: name(), history })
            }
            _ => Ok(recording),
        }
    }

    fn new(bytes: &Bytes, drafts: Vec<Draft>, selection: &Selection) -> Self {
        let mut history = selection.history.map(History::new);
        let mut entries = Vec::with_capacity(drafts.len());
        for Draft { time, place } in drafts {
            let record = bytes.slice(place);
            if let Some(history) = &mut history {
                let Peek { symbol, time, .. } = Peek::at(&record, selection);
                let place = entries.len();
                if history.takes(symbol.as_deref().zip(time), &record, place) {
                    continue;
                }
            }
            entries.push(Entry { time, message: message(record) });
        }
        let first_time = entries.iter().find_map(|entry| entry.time);
        Self { entries, first_time, history: history.map(History::sorted) }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none; a loaded one always has some.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The event times of the first and the last record that have one.
    pub fn span(&self) -> Option<(UnixNanos, UnixNanos)> {
        self.first_time.zip(self.entries.last().and_then(|entry| entry.time))
    }

    /// What can be asked for of each symbol's past; `None` where nothing is held back.
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// An entry's event time counted from the first one.
    pub(super) fn offset(&self, entry: &Entry) -> Option<DurationNanos> {
        entry.time?.since(self.first_time?)
    }
}

/// A record as a message: text where it is text, binary where it can be no text.
fn message(record: Bytes) -> Message {
    Utf8Bytes::try_from(record.clone()).map_or_else(|_| Message::Binary(record), Message::Text)
}

/// The symbol and the time of a record, as far as they can be read: what comes before a fault
/// counts, so that a bad value does not cost the record its place.
struct Peek<'a, 's> {
    symbol: Option<Cow<'a, str>>,
    time: Option<UnixNanos>,
    /// What a number is taken for that cannot be a time.
    doubt: Option<TimeDoubt>,
    selection: &'s Selection,
}

impl<'a, 's> Peek<'a, 's> {
    fn at(record: &'a [u8], selection: &'s Selection) -> Self {
        let mut peek = Self { symbol: None, time: None, doubt: None, selection };
        // A fault ends the reading; what was found stays.
        let _ = serde_json::Deserializer::from_slice(record).deserialize_map(&mut peek);
        peek
    }

    fn time(&self, value: &serde_json::Value) -> Option<UnixNanos> {
        let Selection { time_unit, time_format, .. } = self.selection;
        let time = match value {
            serde_json::Value::String(text) => time_format.parse(text),
            serde_json::Value::Number(number) => number.as_i64().map_or_else(
                || time_format.parse_float(number.as_f64().unwrap_or(f64::NAN), *time_unit),
                |whole| time_format.parse_integer(whole, *time_unit),
            ),
            _ => return None,
        };
        time.ok()
    }

    fn doubt(&self, value: &serde_json::Value) -> Option<TimeDoubt> {
        let Selection { time_unit, time_format, accepts_times, .. } = self.selection;
        let is_judged = value.is_number() && !time_format.is_explicit() && !accepts_times;
        self.time.filter(|_| is_judged).and_then(|time| TimeDoubt::of(time, *time_unit))
    }
}

impl<'de> Visitor<'de> for &mut Peek<'de, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "symbol" => self.symbol = Some(map.next_value()?),
                "time" => {
                    let value = map.next_value()?;
                    self.time = self.time(&value);
                    self.doubt = self.doubt(&value);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
