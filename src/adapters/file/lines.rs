//! JSON lines: every line that is not blank is a record as it stands.
//!
//! Owns cutting a byte stream into lines. Promises at most one byte more than
//! [`RECORD_BYTES_MAX`] in memory for a line of any length. Never looks into a line.

use std::io::{self, BufRead, BufReader};

use super::record::{Input, RECORD_BYTES_MAX, Record};

/// Some editors put this mark before the first line; it is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

pub(super) struct Lines {
    input: BufReader<Input>,
    line: u64,
    bytes_read: u64,
}

impl Lines {
    pub(super) fn new(input: Input) -> Self {
        Self { input: BufReader::with_capacity(64 << 10, input), line: 0, bytes_read: 0 }
    }

    /// How many lines were read.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next line that is not blank, trimmed, cut where it is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        while let Some(line) = self.read_line()? {
            self.line += 1;
            let mut text = line.as_slice();
            if self.line == 1 {
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let bytes = if text.len() == line.len() { line } else { text.to_vec() };
            return Ok(Some(Record { line: self.line, bytes }));
        }
        Ok(None)
    }

    /// The next line without its end, or `None` at the end of the input.
    fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut begun = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(begun.then_some(line));
            }
            begun = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = RECORD_BYTES_MAX + 1 - line.len();
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            self.bytes_read += used as u64;
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }
}
