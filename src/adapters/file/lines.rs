//! Lines of a text, and JSON lines: every line that is not blank is a record as it stands.
//!
//! Owns cutting a byte stream into lines. Promises at most one byte more than
//! [`RECORD_BYTES_MAX`] in memory for a line of any length. Never looks into a line.

use std::io::{self, BufRead, BufReader};

use super::record::{Input, RECORD_BYTES_MAX, Record};

/// The lines of a text.
pub(super) struct LineReader<R> {
    input: R,
    /// The byte that ends a line.
    end: u8,
    line: u64,
    bytes_read: u64,
}

impl LineReader<BufReader<Input>> {
    /// The lines of an input, which is read in large pieces.
    pub(super) fn buffered(input: Input, end: u8) -> Self {
        Self::new(BufReader::with_capacity(64 << 10, input), end)
    }
}

impl<R: BufRead> LineReader<R> {
    pub(super) fn new(input: R, end: u8) -> Self {
        Self { input, end, line: 0, bytes_read: 0 }
    }

    /// How many lines were read.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Adds the next line without its end to `line`, at most so much of it that `line` has one byte
    /// more than [`RECORD_BYTES_MAX`]; `false` at the end of the input.
    pub(super) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let mut begun = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                self.line += u64::from(begun);
                return Ok(begun);
            }
            begun = true;
            let end = memchr::memchr(self.end, chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = (RECORD_BYTES_MAX + 1).saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            self.bytes_read += used as u64;
            if end.is_some() {
                self.line += 1;
                return Ok(true);
            }
        }
    }
}

/// JSON lines.
pub(super) struct Lines(LineReader<BufReader<Input>>);

impl Lines {
    pub(super) fn new(input: Input) -> Self {
        Self(LineReader::buffered(input, b'\n'))
    }

    /// How many lines were read.
    pub(super) fn line(&self) -> u64 {
        self.0.line()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.0.bytes_read()
    }

    /// The next line that is not blank, trimmed, cut where it is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut line = Vec::new();
        while self.0.read(&mut line)? {
            let text = line.trim_ascii();
            if text.is_empty() {
                line.clear();
                continue;
            }
            let bytes = if text.len() == line.len() { line } else { text.to_vec() };
            return Ok(Some(Record { line: self.0.line(), bytes }));
        }
        Ok(None)
    }
}
