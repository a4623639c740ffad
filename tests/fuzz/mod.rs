//! What is done with the bytes of each fuzz target, and which laws must hold of the outcome.
//!
//! libFuzzer (`fuzz/fuzz_targets`) and the ordinary tests (`tests/it/fuzz.rs`) both include this
//! file, so that whatever the one finds is kept by the other. A body says whether the input was
//! taken, which lets a test show that its corpus reaches what lies behind the first check.

pub(crate) mod bundles;
mod head;

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::read::{GzEncoder, ZlibEncoder};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use tickcast::adapters::file::{
    ColumnMap, Decimal, Dialect, FileFormat, FileOptions, FileRecords, Header, RECORD_BYTES_MAX,
};
use tickcast::adapters::websocket::{Compression, Unpack, WebSocketSettings};
use tickcast::app::config::{VENUES, parse, venue_feed};
use tickcast::core::decode::{JsonDecoder, symbol_of};
use tickcast::core::domain::{Reject, Schema, Symbol, Tick, TimeUnit};
use tickcast::core::text::is_printable;
use tickcast::core::venue::{FrameKind, Malformed, Mapper, Rest, Unread, Venue};
use tickcast::keep::snapshot::{Snapshot, SnapshotError};

/// What becomes of the bytes; whether they were taken.
pub(crate) type Body = fn(&[u8]) -> bool;

/// Every target by its name.
pub(crate) const TARGETS: &[(&str, Body)] = &[
    ("answer", answer),
    ("frame", frame),
    ("message", message),
    ("native", native),
    ("rows", rows),
    #[cfg(feature = "train")]
    ("parquet", parquet),
    ("manifest", bundles::manifest),
    ("golden", bundles::golden),
    ("graph", bundles::graph),
    ("snapshot", snapshot),
    ("state", bundles::state),
    ("head", head::head),
    ("configuration", configuration),
];

/// Runs one target.
pub(crate) fn run(target: &str, data: &[u8]) -> bool {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, body) = found.expect("each program names a target");
    body(data)
}

/// What separates the frames of one connection in an input: ASCII's record separator.
const FRAME_END: u8 = 0x1e;

/// The most bytes of a native record; inputs of the fuzzer lie on both sides.
const NATIVE_BYTES_MAX: usize = 4096;

/// The most bytes of a message that was decompressed.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

/// Records that are taken of one file, so that a small file which is compressed many times over
/// costs a bounded time.
const RECORDS_MAX: usize = 2000;

/// A value that stands where secrets stand.
const SECRET: &str = "planted-VALUE-0123456789";

/// Every venue that ships, by its name.
static PRESETS: LazyLock<Vec<(&str, Arc<Venue>)>> = LazyLock::new(|| {
    let venue = |name| {
        let feed = venue_feed(name).expect("the presets that ship are venues");
        let settings = feed.of::<WebSocketSettings>().expect("a venue is a WebSocket feed");
        (name, Arc::clone(&settings.venue))
    };
    VENUES.iter().map(|(name, _)| venue(*name)).collect()
});

/// Shapes of answers to questions for history, as sections of a configuration.
const ANSWERS: [&str; 3] = [
    "url = 'http://h/{symbol}/{from}'\nintervals.60 = '1m'\n\
     [source.rest.mapping]\neach = '/*'\ntime = '0'\nopen = '1'\nclose = '4'\nvolume = '5'\n",
    "url = 'http://h/{symbol}/{from}'\nintervals.60 = '1m'\npaging = 'cursor'\n\
     cursor = '/result/last'\nnext = '&{cursor}'\n\
     [source.rest.mapping]\neach = '/result/*/*'\ntime = 'time'\ntime_unit = 'rfc3339'\n\
     close = 'c'\nwhen.'done' = 'true'\n\
     [source.rest.refused]\ntext = '/error/0'\nwhen.'/error/0' = '*'\n\
     rate_limited.'/error/0' = '*limit*'\n",
    "url = 'http://h/{symbol}/{from}'\nintervals.60 = '1m'\n\
     [source.rest.mapping]\neach = '/rows/*'\n",
];

/// What reads answers: those shapes, and the venues that ship and have history.
static ANSWERING: LazyLock<Vec<Arc<Rest>>> = LazyLock::new(|| {
    let shape = |text: &&str| {
        let url = "[source]\nurl = 'ws://127.0.0.1:1'\n[source.rest]\n";
        let config = parse(&format!("model.name = 'm'\n{url}{text}")).expect("a configuration");
        let settings = config.source.of::<WebSocketSettings>().expect("a live feed");
        Arc::clone(settings.venue.rest().expect("a venue with history"))
    };
    let of_venues = PRESETS.iter().filter_map(|(_, venue)| venue.rest().cloned());
    ANSWERS.iter().map(shape).chain(of_venues).collect()
});

/// The first line, which says what the rest is read as, and the rest.
pub(crate) fn headed(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 1..]))
}

/// One of `count` by the first line's bytes, where it is no number below it.
pub(crate) fn choice(head: &[u8], count: usize) -> usize {
    let number = std::str::from_utf8(head).ok().and_then(|text| text.parse::<usize>().ok());
    number.unwrap_or_else(|| head.iter().map(|byte| usize::from(*byte)).sum()) % count
}

fn decoder() -> JsonDecoder {
    JsonDecoder::new(standard(), &[], TimeUnit::Milliseconds, NATIVE_BYTES_MAX)
}

fn standard() -> Schema {
    Schema::new([]).expect("the fields that every tick may have are a schema")
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Laws of a tick that was decoded from `record`: its values are within bounds, whose it is was
/// known before, and written as plainly as can be it is the same tick.
fn assert_tick(tick: &Tick<'_>, record: &[u8]) {
    let schema = standard();
    // What is not read need not be text.
    assert!(serde_json::from_slice::<IgnoredAny>(record).is_ok(), "a tick of what is no JSON");
    assert!(Symbol::check(&tick.symbol).is_ok(), "symbol {:?}", tick.symbol);
    assert_eq!(symbol_of(record), Some(Cow::Borrowed(&*tick.symbol)), "the look ahead");
    let mut plain = serde_json::json!({"symbol": tick.symbol, "time": tick.time.to_string()});
    for field in schema.fields() {
        let Some(value) = tick.fields.get(field) else { continue };
        assert!(value.is_finite() && value.abs() <= 1e15, "{} = {value}", schema.name(field));
        let is_volume = schema.name(field) == "volume";
        assert!(if is_volume { value >= 0.0 } else { value >= 1e-12 }, "{value}");
        plain[schema.name(field)] = value.into();
    }
    let plain = plain.to_string();
    assert_eq!(decoder().decode(plain.as_bytes()).as_ref(), Ok(tick), "{plain}");
}

/// Decodes a record; whether it is a tick. One that is none has one reason, of the decoder's.
fn is_tick(record: &[u8]) -> bool {
    let outcome = decoder().decode(record);
    assert_eq!(decoder().decode(record), outcome, "the same twice");
    match outcome {
        Ok(tick) => assert_tick(&tick, record),
        Err(refused) => {
            let stage = Reject::ALL.iter().position(|reason| *reason == refused.reason);
            let last = Reject::ALL.iter().position(|reason| *reason == Reject::OutOfBounds);
            assert!(stage <= last, "{:?} is not the decoder's to find", refused.reason);
            let too_large = record.len() > NATIVE_BYTES_MAX;
            assert_eq!(refused.reason == Reject::TooLarge, too_large);
            if refused.reason == Reject::Malformed {
                // An escape may be of half a character, which is grammar and no text.
                let has_escape = record.contains(&b'\\');
                assert!(!is_json(record) || has_escape, "JSON that is malformed");
            }
            return false;
        }
    }
    true
}

/// A venue's frame, as ticks: `venue`, then frames of one connection.
pub(crate) fn frame(data: &[u8]) -> bool {
    let (head, rest) = headed(data);
    let named = PRESETS.iter().find(|(name, _)| name.as_bytes() == head);
    let (name, venue) = named.unwrap_or_else(|| &PRESETS[choice(head, PRESETS.len())]);
    let mut used = Mapper::new(Arc::clone(venue));
    let mut taken = false;
    for frame in rest.split(|byte| *byte == FRAME_END) {
        let (kind, records) = classified(&mut used, frame);
        // What a connection said of its channels may change the meaning, and nothing else may.
        if *name != "bitfinex" {
            let fresh = &mut Mapper::new(Arc::clone(venue));
            assert_eq!(classified(fresh, frame), (kind.clone(), records.clone()), "a new mapper");
        }
        assert_eq!(classified(&mut used, frame), (kind.clone(), records.clone()), "again");
        assert_frame(name, frame, &kind);
        let ticks = records.iter().filter(|(record, symbol)| {
            let is_tick = is_tick(record);
            assert!(!is_tick || symbol.is_some(), "a tick that is nobody's");
            is_tick
        });
        taken |= ticks.count() > 0;
    }
    taken
}

/// An answer to a question for history: the number of its shape, then its body.
pub(crate) fn answer(data: &[u8]) -> bool {
    const SYMBOL: &str = "BTCUSDT";
    let (head, body) = headed(data);
    let rest = &ANSWERING[choice(head, ANSWERING.len())];
    let outcome = rest.read(body, SYMBOL);
    assert_eq!(rest.read(body, SYMBOL), outcome, "the same twice");
    let is_short = |text: &str| text.len() <= 1024 && text.chars().all(is_printable);
    assert!(rest.refusal(body).is_none_or(|refusal| is_short(&refusal.text)));
    match outcome {
        Ok(answer) => {
            assert!(is_json(body), "rows of what is no JSON");
            assert!(answer.cursor.is_none_or(|cursor| (1..=4096).contains(&cursor.len())));
            assert_eq!(answer.why.is_some(), answer.bad > 0, "a reason for what cannot be used");
            let large = JsonDecoder::new(standard(), &[], TimeUnit::Milliseconds, 1 << 20);
            for row in &answer.rows {
                let tick = large.decode(&row.record).expect("a row is a tick");
                assert_eq!((&*tick.symbol, tick.time), (SYMBOL, row.time));
            }
            !answer.rows.is_empty()
        }
        Err(Unread::Malformed(Malformed::Grammar)) => {
            assert!(!is_json(body), "JSON that is none");
            false
        }
        Err(other) => {
            assert!(is_short(&other.to_string()), "{other}");
            false
        }
    }
}

/// A record and its symbol.
type Mapped = (Vec<u8>, Option<String>);

/// What a frame is, and its records, each with its symbol.
fn classified(mapper: &mut Mapper, frame: &[u8]) -> (FrameKind, Vec<Mapped>) {
    let mut records = Vec::new();
    let found = mapper.classify(frame, |mapped| {
        let symbol = mapped.symbol.map(str::to_owned);
        assert_eq!(symbol, symbol_of(mapped.record).map(Cow::into_owned), "whose it is");
        records.push((mapped.record.to_vec(), symbol));
    });
    let stated = match found.kind {
        FrameKind::Ticks { mapped, .. } => mapped as usize,
        _ => 0,
    };
    assert_eq!(records.len(), stated, "each element is one record");
    (found.kind, records)
}

fn assert_frame(venue: &str, frame: &[u8], kind: &FrameKind) {
    match kind {
        FrameKind::Malformed(Malformed::Encoding) => assert!(std::str::from_utf8(frame).is_err()),
        FrameKind::Malformed(Malformed::Grammar) => assert!(!is_json(frame), "JSON that is none"),
        FrameKind::Malformed(_) | FrameKind::Pong => {}
        FrameKind::Ping { answer } => {
            assert!(answer.len() <= frame.len() + 512, "an answer beyond the question");
        }
        FrameKind::Refused(refusal) => {
            assert!(refusal.text.chars().all(is_printable), "{:?}", refusal.text);
            assert!(refusal.text.len() <= 1024, "{} bytes for a log line", refusal.text.len());
        }
        // A feed of native ticks is not looked into.
        FrameKind::Ticks { .. } if venue == "generic" => {}
        _ => assert!(is_json(frame), "{kind:?} of what is no JSON"),
    }
}

/// A binary message as a feed compresses it.
pub(crate) fn message(data: &[u8]) -> bool {
    let message = Bytes::copy_from_slice(data);
    let unpack = |compression, bytes_max| Unpack { compression, bytes_max };
    let mut taken = false;
    for compression in [Compression::Gzip, Compression::Deflate, Compression::Auto] {
        match unpack(compression, MESSAGE_BYTES_MAX).open(message.clone()) {
            Ok(opened) => {
                let is_as_it_came = opened == message;
                assert!(is_as_it_came || opened.len() <= MESSAGE_BYTES_MAX);
                taken |= !is_as_it_came;
            }
            Err(too_large) => assert_eq!(too_large.bytes_max, MESSAGE_BYTES_MAX),
        }
    }
    if data.len() <= MESSAGE_BYTES_MAX {
        let (mut gzip, mut zlib) = (Vec::new(), Vec::new());
        GzEncoder::new(data, Level::fast()).read_to_end(&mut gzip).expect("memory can be read");
        ZlibEncoder::new(data, Level::fast()).read_to_end(&mut zlib).expect("memory can be read");
        for (compression, packed) in [
            (Compression::Gzip, gzip.clone()),
            (Compression::Auto, gzip),
            (Compression::Deflate, zlib.clone()),
            (Compression::Auto, zlib),
        ] {
            let opened = unpack(compression, data.len()).open(packed.into());
            assert_eq!(opened, Ok(message.clone()), "{compression:?} there and back");
        }
    }
    taken
}

/// A native JSON tick.
pub(crate) fn native(data: &[u8]) -> bool {
    let taken = is_tick(data);
    let schema = Schema::new(["spread"]).expect("a field of a model is a name");
    let required: Vec<_> = schema.field("close").into_iter().collect();
    let strict = JsonDecoder::new(schema, &required, TimeUnit::Seconds, NATIVE_BYTES_MAX);
    if let Ok(tick) = strict.decode(data) {
        assert!(tick.fields.price().is_some(), "a required field is there");
        assert_eq!(symbol_of(data).as_deref(), Some(&*tick.symbol));
    }
    taken
}

/// The bytes, a few at a time.
struct Pieces {
    bytes: Bytes,
    at: usize,
    size: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.size = self.size % 7 + 1;
        let count = self.size.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// How the text of a file is read, by the first line of an input.
fn text_options(head: &[u8]) -> FileOptions {
    let table = FileOptions { format: Some(FileFormat::Csv), ..FileOptions::default() };
    let symbol = Some("AAPL".to_owned());
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, column)| ((*name).into(), (*column).into()));
        Some(ColumnMap::new(pairs).expect("the map names a time and a field"))
    };
    match choice(head, 5) {
        0 => FileOptions { format: Some(FileFormat::JsonLines), ..FileOptions::default() },
        1 => table,
        2 => FileOptions { symbol, ..table },
        3 => {
            let dialect = Dialect { header: Header::None, ..Dialect::default() };
            let columns = map(&[("time", "1"), ("close", "2"), ("volume", "3")]);
            FileOptions { symbol, columns, dialect, ..table }
        }
        _ => {
            let decimal = Some(Decimal::Comma);
            let dialect = Dialect { decimal, keeps_order: true, ..Dialect::default() };
            FileOptions { symbol, dialect, ..table }
        }
    }
}

/// The records of a file by line, and why it ends early; or why it is none.
type Found = (Vec<(u64, Vec<u8>)>, Option<String>);

fn records(file: Result<FileRecords, impl ToString>) -> Found {
    let mut found = (Vec::new(), None);
    match file {
        Err(error) => found.1 = Some(error.to_string()),
        Ok(file) => {
            for record in file.take(RECORDS_MAX) {
                match record {
                    Ok(record) => found.0.push((record.line, record.bytes)),
                    Err(error) => found.1 = Some(error.to_string()),
                }
            }
        }
    }
    found
}

/// Laws of what a file gave; whether a tick is among it.
fn assert_records((records, problem): &Found) -> bool {
    if let Some(problem) = problem {
        assert!(!problem.is_empty(), "a refusal says why");
    }
    let rises = records.is_sorted_by(|(before, _), (after, _)| before < after);
    let falls = records.is_sorted_by(|(before, _), (after, _)| before > after);
    assert!(rises || falls, "lines come in one order");
    records.iter().filter(|(_, record)| is_tick(record)).count() > 0
}

/// Lines of JSON or rows of a text table: how they are read, then the file.
pub(crate) fn rows(data: &[u8]) -> bool {
    let (head, text) = headed(data);
    let options = text_options(head);
    let (name, bytes) = (Path::new("rows"), Bytes::copy_from_slice(text));
    let whole = records(FileRecords::of_bytes(name, bytes.clone(), options.clone()));
    let pieces = Pieces { bytes, at: 0, size: data.len() };
    let pieces = records(FileRecords::of_stream(name, pieces, options.clone()));
    assert_eq!(whole, pieces, "the size of the pieces that are read means nothing");
    if options.format == Some(FileFormat::JsonLines) && text.starts_with(b"{") {
        let is_blank = |line: &&[u8]| line.trim_ascii().is_empty();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)).count();
        // What looks like UTF-16 is decoded first.
        if !text.contains(&0) && lines < RECORDS_MAX {
            assert_eq!(whole.0.len(), lines, "each line is a record");
        }
        assert!(whole.0.iter().all(|(_, record)| record.len() <= RECORD_BYTES_MAX + 1));
    }
    assert_records(&whole)
}

/// A Parquet file.
#[cfg(feature = "train")]
pub(crate) fn parquet(data: &[u8]) -> bool {
    let options = FileOptions { symbol: Some("AAPL".to_owned()), ..FileOptions::default() };
    let read = |options| {
        let name = Path::new("rows.parquet");
        records(FileRecords::of_bytes(name, Bytes::copy_from_slice(data), options))
    };
    let with_symbol = read(options.clone());
    assert_eq!(with_symbol, read(options), "the same twice");
    let taken = assert_records(&with_symbol);
    let own_symbol = read(FileOptions::default());
    assert_records(&own_symbol) || taken
}

/// A snapshot as it lies on a disk; where it is none, a body whose header is made to fit.
pub(crate) fn snapshot(data: &[u8]) -> bool {
    let taken = is_snapshot(&Bytes::copy_from_slice(data));
    taken || is_snapshot(&headed_snapshot(data).into())
}

/// The bytes of a snapshot with this body: magic, format, length and checksum as they should be.
fn headed_snapshot(body: &[u8]) -> Vec<u8> {
    let length = (46 + body.len()) as u64;
    let mut bytes = [b"tcsn\x01\x00", &length.to_le_bytes()[..]].concat();
    let checksum = Sha256::new().chain_update(&bytes).chain_update(body).finalize();
    bytes.extend_from_slice(&checksum);
    bytes.extend_from_slice(body);
    bytes
}

fn is_snapshot(bytes: &Bytes) -> bool {
    let snapshot = match Snapshot::decode(bytes) {
        Ok(snapshot) => snapshot,
        Err(SnapshotError::Disk(_)) => panic!("nothing was read from a disk"),
        Err(error) => {
            assert!(error.to_string().chars().all(is_printable), "{error}");
            return false;
        }
    };
    let encoded = snapshot.encode();
    assert_eq!(Snapshot::decode(&encoded.clone().into()).as_ref(), Ok(&snapshot), "and back");
    // Where it is damaged follows from the bytes themselves, so that the fuzzer moves it.
    let sum = encoded.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31) + usize::from(*byte));
    let (at, bit) = (sum / 8 % encoded.len(), sum % 8);
    let mut damaged = encoded.clone();
    damaged[at] ^= 1 << bit;
    assert!(Snapshot::decode(&damaged.into()).is_err(), "bit {bit} of byte {at}");
    let cut = Bytes::copy_from_slice(&encoded[..at]);
    assert!(Snapshot::decode(&cut).is_err(), "cut to {at} bytes");
    true
}

/// Places for a secret, of which no message may show the value: where it belongs, as a value of the
/// wrong type, under keys that are misspelt, and in lines that are no TOML.
const PLANTED: [&str; 17] = [
    "",
    "http.token = 'SECRET'\n",
    "source.url = 'wss://user:SECRET@feed.example/?key=SECRET'\n",
    "source.headers.Authorization = 'Bearer SECRET'\n",
    "kafka.options.\"sasl.password\" = 'SECRET'\n",
    "source.secrets.key = 'SECRET'\n",
    "http.token = ['SECRET']\n",
    "http.token = { value = 'SECRET' }\n",
    "source.url = ['wss://user:SECRET@feed.example/']\n",
    "http.tokn = 'SECRET'\n",
    "http.tokn = ['SECRET']\n",
    "htp.token = 'SECRET'\n",
    "kafka.options.\"sasl.pasword\" = 'SECRET'\n",
    "source.hedaers.Authorization = 'Bearer SECRET'\n",
    "http.token = SECRET\n",
    "http.token = 'SECRET\n",
    "http.token = 'SECRET' 'SECRET'\n",
];

/// A configuration: the place of a planted secret, then the rest of the file.
pub(crate) fn configuration(data: &[u8]) -> bool {
    let (head, rest) = headed(data);
    let Ok(rest) = std::str::from_utf8(rest) else { return false };
    // A configuration names files, which are read: none of the machine's own.
    if ["/dev", "/proc", "/sys"].iter().any(|folder| rest.contains(folder)) {
        return false;
    }
    let planted = PLANTED[choice(head, PLANTED.len())].replace("SECRET", SECRET);
    let text = format!("{planted}{rest}");
    match (parse(&text), parse(&text)) {
        (Ok(_), Ok(_)) => true,
        (Err(first), Err(second)) => {
            assert_eq!(first, second, "problems do not depend on chance");
            assert!(!first.problems.is_empty(), "a refusal says why");
            let said = first.to_string();
            let is_ours = !planted.is_empty() && !rest.contains(SECRET);
            assert!(!is_ours || !said.contains(SECRET), "a message shows a secret: {said}");
            false
        }
        (first, second) => panic!("two answers: {first:?} and {second:?}"),
    }
}
