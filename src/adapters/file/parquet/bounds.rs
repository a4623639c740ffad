//! A Parquet file whose structures are looked over before the library decodes them.
//!
//! Owns the limits of what a structure may claim: no text, list or offset goes beyond the bytes
//! that the file has. The library checks most of these, and not while it skips what it does not
//! know: there a few bytes can claim two billion elements, and it counts through them past the end
//! of the file. Promises that a look takes time by the bytes of the structure, and that a reader
//! which is asked for more than the file has answers by an error. Never decides what a structure
//! means.

use std::io::{self, Read};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// The last bytes of a file: the length of its metadata, and the magic.
const TAIL_BYTES: u64 = 8;
const MAGIC: &[u8] = b"PAR1";

/// How deep a structure may be nested; the library skips no deeper either.
const DEPTH_MAX: usize = 64;

/// The most bytes of a number.
const NUMBER_BYTES_MAX: u32 = 10;

/// A file that was looked over; its page headers are, one by one, before they are read.
pub(super) struct Bounded<R>(R);

/// The bytes of a file from a place on. Its end is an error and no end.
pub(super) struct UntilEnd<T>(T);

impl<R: ChunkReader> Bounded<R> {
    /// Looks the metadata over.
    ///
    /// # Errors
    /// Where it claims more than there is.
    pub(super) fn new(file: R) -> Result<Self, ParquetError> {
        // A file without these is none, which the library says.
        let place = file.len().checked_sub(TAIL_BYTES);
        let tail = place.map(|at| file.get_bytes(at, TAIL_BYTES as usize)).transpose()?;
        if let Some((at, tail)) = place.zip(tail)
            && let Some((length, MAGIC)) = tail.split_first_chunk()
        {
            let length = u32::from_le_bytes(*length).into();
            if let Some(start) = at.checked_sub(length) {
                look_over(file.get_read(start)?, length)?;
            }
        }
        Ok(Self(file))
    }
}

impl<R: ChunkReader> Length for Bounded<R> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<R: ChunkReader> ChunkReader for Bounded<R> {
    type T = UntilEnd<R::T>;

    /// The library asks for page headers in this way, and for the last bytes of the file.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let left = self.0.len().saturating_sub(start);
        if left > TAIL_BYTES {
            look_over(self.0.get_read(start)?, left)?;
        }
        Ok(UntilEnd(self.0.get_read(start)?))
    }

    /// Memory is taken for what is asked for, so it has to be there.
    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = u64::try_from(length).ok().and_then(|length| start.checked_add(length));
        if end.is_none_or(|end| end > self.0.len()) {
            return Err(beyond("a part"));
        }
        self.0.get_bytes(start, length)
    }
}

impl<T: Read> Read for UntilEnd<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

fn beyond(what: &str) -> ParquetError {
    ParquetError::EOF(format!("{what} goes beyond the end of the file"))
}

/// Looks over the structure at the beginning of `input`, which has `left` bytes.
fn look_over(input: impl Read, left: u64) -> Result<(), ParquetError> {
    Walk { input, left }.structure(0)
}

/// A walk through a structure in Thrift's compact form.
struct Walk<R> {
    input: R,
    left: u64,
}

impl<R: Read> Walk<R> {
    fn byte(&mut self) -> Result<u8, ParquetError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| beyond("a structure"))?;
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn number(&mut self) -> Result<u64, ParquetError> {
        let mut number = 0;
        for index in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).wrapping_shl(7 * index);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ParquetError::General("a number has more than 64 bits".to_owned()))
    }

    fn pass(&mut self, count: u64, what: &str) -> Result<(), ParquetError> {
        self.left = self.left.checked_sub(count).ok_or_else(|| beyond(what))?;
        io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        Ok(())
    }

    fn structure(&mut self, depth: usize) -> Result<(), ParquetError> {
        if depth > DEPTH_MAX {
            return Err(ParquetError::General("structures are nested too deeply".to_owned()));
        }
        loop {
            let field = self.byte()?;
            let (kind, step) = (field & 0x0f, field >> 4);
            if kind == 0 {
                return Ok(());
            }
            if step == 0 {
                self.number()?;
            }
            // The value of a switch is its kind.
            if !is_switch(kind) {
                self.value(kind, depth)?;
            }
        }
    }

    /// The elements of a list, a set or a map, of so many bytes at least.
    fn elements(&mut self, count: u64, kinds: &[u8], depth: usize) -> Result<(), ParquetError> {
        // Nothing in the format has lists of switches here. The library takes no bytes for one, and
        // would count through as many as are claimed.
        if count > 0 && kinds.iter().any(|kind| is_switch(*kind)) {
            return Err(ParquetError::General("a list of switches".to_owned()));
        }
        if count > self.left {
            return Err(beyond("a list"));
        }
        for _ in 0..count {
            for kind in kinds {
                self.value(*kind, depth + 1)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), ParquetError> {
        if depth > DEPTH_MAX {
            return Err(ParquetError::General("lists are nested too deeply".to_owned()));
        }
        match kind {
            3 => self.byte().map(drop),
            4..=6 => self.number().map(drop),
            7 => self.pass(8, "a number"),
            8 => {
                let length = self.number()?;
                self.pass(length, "a text")
            }
            9 | 10 => {
                let head = self.byte()?;
                let (kind, count) = (head & 0x0f, head >> 4);
                let count = if count == 15 { self.number()? } else { count.into() };
                self.elements(count, &[kind], depth)
            }
            11 => match self.number()? {
                0 => Ok(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 0x0f], depth)
                }
            },
            12 => self.structure(depth + 1),
            13 => self.pass(16, "an identifier"),
            other => Err(ParquetError::General(format!("there is no kind {other} of value"))),
        }
    }
}

fn is_switch(kind: u8) -> bool {
    matches!(kind, 1 | 2)
}
