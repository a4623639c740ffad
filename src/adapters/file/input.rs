//! The bytes of a text file as UTF-8, however they are compressed and encoded.
//!
//! Owns what the first bytes of a file say of the rest: gzip, zstd, a byte order mark. Promises
//! that a file is read as a stream, in bounded memory, and that a compressed file which breaks off
//! is an error. Never looks behind the first bytes to decide.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{CoderResult, Decoder, UTF_8, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

use super::error::FileError;
use super::record::Input;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The longest of the marks above.
const MARK_BYTES: usize = 4;

/// So much of a text tells UTF-16 without a mark: each character of a head is ASCII.
const UNMARKED_BYTES: usize = 64;

/// Archives that hold files rather than being one, and what to do about them.
const ARCHIVES: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive (an .xlsx workbook is one): unpack it, or save it as CSV"),
    (b"\xfd7zXZ", "compressed with xz: unpack it, or use gzip or zstd"),
    (b"BZh", "compressed with bzip2: unpack it, or use gzip or zstd"),
];

/// A text file that is open.
pub(super) struct TextInput {
    /// Its text.
    pub(super) text: Input,
    /// What was found.
    pub(super) found: Packing,
    /// How many bytes of the file were read.
    raw_bytes: Arc<AtomicU64>,
}

/// How a text file is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// `gzip` or `zstd`.
    pub compression: Option<&'static str>,
    /// `UTF-16LE` or `UTF-16BE`; `None` is UTF-8.
    pub encoding: Option<&'static str>,
    /// The bytes of a mark before UTF-8, which is no part of the text.
    mark_bytes: u64,
}

impl TextInput {
    /// Opens the text behind the bytes of a file.
    pub(super) fn open(path: &Path, raw: Input) -> Result<Self, FileError> {
        let raw_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { input: raw, bytes: Arc::clone(&raw_bytes) };
        let failed = |source| FileError::Read { path: path.into(), line: 0, source };
        let (head, raw) =
            peek(Box::new(counted), MARK_BYTES.max(UNMARKED_BYTES)).map_err(failed)?;
        if let Some((_, what)) = ARCHIVES.iter().find(|(mark, _)| head.starts_with(mark)) {
            return Err(FileError::Archive { path: path.into(), what });
        }
        let mut found = Packing::default();
        let unpacked: Input = if head.starts_with(GZIP) {
            found.compression = Some("gzip");
            Box::new(MultiGzDecoder::new(BufReader::new(raw)))
        } else if head.starts_with(ZSTD) {
            found.compression = Some("zstd");
            Box::new(zstd::stream::read::Decoder::new(raw).map_err(failed)?)
        } else {
            if let Some(name) = compression_by_name(path) {
                return Err(FileError::NotCompressed { path: path.into(), name });
            }
            raw
        };
        let (head, unpacked) = peek(unpacked, UNMARKED_BYTES).map_err(failed)?;
        let text = decoded(&head, unpacked, &mut found).map_err(failed)?;
        Ok(Self { text, found, raw_bytes })
    }

    /// How many bytes of the file stand behind so many bytes of its text: exactly those where the
    /// text is the file, else those that were read so far.
    pub(super) fn progress(&self) -> Progress {
        let is_plain = self.found.compression.is_none() && self.found.encoding.is_none();
        let mark_bytes = self.found.mark_bytes;
        Progress { raw_bytes: (!is_plain).then(|| Arc::clone(&self.raw_bytes)), mark_bytes }
    }
}

/// How far a file was read.
pub(super) struct Progress {
    raw_bytes: Option<Arc<AtomicU64>>,
    mark_bytes: u64,
}

impl Progress {
    pub(super) fn bytes(&self, text_bytes: u64) -> u64 {
        match &self.raw_bytes {
            Some(raw_bytes) => raw_bytes.load(Ordering::Relaxed),
            None => text_bytes + self.mark_bytes,
        }
    }
}

/// The compression that a name says.
fn compression_by_name(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "gz" => Some("gzip"),
        "zst" => Some("zstd"),
        _ => None,
    }
}

/// The first bytes of an input, and the input with them still before it.
fn peek(mut input: Input, bytes: usize) -> io::Result<(Vec<u8>, Input)> {
    let mut head = Vec::with_capacity(bytes);
    input.by_ref().take(bytes as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(input);
    Ok((head, Box::new(whole)))
}

/// The text as UTF-8, without a mark.
fn decoded(head: &[u8], mut input: Input, found: &mut Packing) -> io::Result<Input> {
    if head.starts_with(BYTE_ORDER_MARK) {
        found.mark_bytes = BYTE_ORDER_MARK.len() as u64;
        io::copy(&mut input.by_ref().take(found.mark_bytes), &mut io::sink())?;
        return Ok(input);
    }
    let encoding = match head {
        [0xff, 0xfe, ..] => UTF_16LE,
        [0xfe, 0xff, ..] => UTF_16BE,
        _ if is_unmarked(head, 1) => UTF_16LE,
        _ if is_unmarked(head, 0) => UTF_16BE,
        _ => UTF_8,
    };
    if encoding == UTF_8 {
        return Ok(input);
    }
    found.encoding = Some(encoding.name());
    let decoder = encoding.new_decoder_with_bom_removal();
    let (raw, text) = (vec![0; 16 << 10], Vec::new());
    Ok(Box::new(Decoded { input, decoder, raw, from: 0, to: 0, text, taken: 0, ended: false }))
}

/// Whether every second byte is zero, as in UTF-16 of ASCII, and no other one is.
fn is_unmarked(head: &[u8], zeros_at: usize) -> bool {
    let is_zero = |(index, byte): (usize, &u8)| (*byte == 0) == (index % 2 == zeros_at);
    head.len() >= 8 && head.iter().enumerate().all(is_zero)
}

/// An input that counts what was read of it.
struct Counted {
    input: Input,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// UTF-16 as UTF-8. What is no text becomes U+FFFD, which no number and no time has.
struct Decoded {
    input: Input,
    decoder: Decoder,
    raw: Vec<u8>,
    from: usize,
    to: usize,
    text: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Decoded {
    /// Decodes the next piece; leaves none at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.taken = 0;
        while self.text.is_empty() && !self.ended {
            if self.from == self.to {
                (self.from, self.to) = (0, self.input.read(&mut self.raw)?);
            }
            let last = self.to == 0;
            self.text.resize(64 << 10, 0);
            let raw = &self.raw[self.from..self.to];
            let (result, read, written, _) = self.decoder.decode_to_utf8(raw, &mut self.text, last);
            self.from += read;
            self.text.truncate(written);
            self.ended = last && result == CoderResult::InputEmpty;
        }
        Ok(())
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.text.len() {
            self.fill()?;
        }
        let left = &self.text[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}
