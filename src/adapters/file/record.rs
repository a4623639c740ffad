//! One record of a file, and how long it may be.
//!
//! Owns the bound that every format keeps. Never looks into a record.

use std::io::Read;

/// The longest record in bytes. A longer line is cut to one byte more, for the decoder to refuse;
/// a longer CSV row ends the file, since a quote that is never closed swallows what follows.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// What files are read from: a file or standard input.
pub(super) type Input = Box<dyn Read + Send>;

/// One record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins, from 1; in a Parquet file, which has no lines, the row.
    pub line: u64,
    /// One native JSON tick, or what stands in its place.
    pub bytes: Vec<u8>,
}
