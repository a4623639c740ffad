//! Parquet rows as rows of text cells.
//!
//! Owns the way through the row groups of a file. Promises that every row the file says it has
//! comes out or the file is refused, and no more in memory than a page of each column that is read.
//! A damaged file is an error, also where the library panics over it: see [`guarded`]; and where it
//! would count through more than the file has: see [`bounds`]. Never reads a column that no
//! name stands for, and never decides whether a value is good.

mod bounds;
mod column;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};

use self::bounds::Bounded;
use self::column::Column;
use super::columns::{ColumnMap, Layout};
use super::error::FileError;
use super::number::Decimal;
use super::record::Record;
use super::row::{self, Cell, Cells, Form};
use crate::core::domain::{Schema, TimeFormat};

/// Rows that are turned into texts at once.
const BATCH_ROWS: usize = 1024;

/// What is told of damage over which the library panics.
const PANICKED: &str = "its parts contradict one another";

pub(super) struct ParquetRows {
    file: Box<dyn FileReader>,
    layout: Layout,
    form: Form,
    rows: Batch,
    /// The row group to open next.
    next_group: usize,
    /// Rows of the open row group that are not yet in a batch.
    left_in_group: usize,
    /// Rows in the batch, and how many of them are taken.
    batch_rows: usize,
    taken: usize,
    /// Rows that came out so far.
    row: u64,
    rows_total: u64,
    bytes_total: u64,
}

/// The texts of some rows, by column of the file; `None` for a column that nothing reads.
struct Batch {
    columns: Vec<Option<Column>>,
    /// The row that is looked at.
    at: usize,
}

/// Why the rows of a file cannot be read: the words of the library, or ours.
struct Damage(String);

impl<E: Display> From<E> for Damage {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl ParquetRows {
    /// Reads the schema and finds the parts of a tick in it.
    pub(super) fn new(
        path: &Path,
        bytes: impl ChunkReader + 'static,
        map: Option<&ColumnMap>,
        symbol: Option<String>,
        times: TimeFormat,
    ) -> Result<Self, FileError> {
        let bytes_total = bytes.len();
        let damaged = |Damage(problem)| FileError::Damaged { path: path.into(), row: 0, problem };
        let open = || -> Result<Box<dyn FileReader>, Damage> {
            Ok(Box::new(SerializedFileReader::new(Bounded::new(bytes)?)?))
        };
        let file = guarded(open).map_err(damaged)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let header =
            schema.root_schema().get_fields().iter().map(|field| field.name().to_owned()).collect();
        let mut layout = Layout::new(header, map, symbol)
            .map_err(|source| FileError::Columns { path: path.into(), source })?;
        let mut columns: Vec<_> = layout.header.iter().map(|_| None).collect();
        for index in layout.columns().collect::<Vec<_>>() {
            match Column::new(schema, index) {
                Ok(column) => columns[index] = Some(column),
                // A column that nobody named and that has no well-known name is somebody else's.
                Err(_) if map.is_none() && layout.leave_out(index) => {}
                Err(kind) => {
                    let column = layout.header[index].clone();
                    return Err(FileError::ColumnType { path: path.into(), column, kind });
                }
            }
        }
        for group in file.metadata().row_groups() {
            for column in columns.iter().flatten() {
                let codec =
                    group.columns().get(column.leaf()).map(ColumnChunkMetaData::compression);
                if let Some(codec) = codec.and_then(unreadable) {
                    return Err(FileError::Codec { path: path.into(), codec });
                }
            }
        }
        let rows_total = rows(&*file).map_err(damaged)?;
        Ok(Self {
            rows: Batch { columns, at: 0 },
            next_group: 0,
            left_in_group: 0,
            batch_rows: 0,
            taken: 0,
            row: 0,
            file,
            layout,
            form: Form { decimal: Decimal::Plain, times },
            rows_total,
            bytes_total,
        })
    }

    /// The share of the file's bytes that is the share of its rows so far.
    pub(super) fn bytes_read(&self) -> u64 {
        let share = u128::from(self.bytes_total) * u128::from(self.row);
        u64::try_from(share / u128::from(self.rows_total.max(1))).unwrap_or(u64::MAX)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The cells of the row read last.
    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        row::cells(&self.layout, &self.rows)
    }

    /// The next row as a record.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Record>, FileError> {
        if self.taken == self.batch_rows {
            guarded(|| self.fill()).map_err(|Damage(problem)| {
                let path = path.into();
                FileError::Damaged { path, row: self.row, problem }
            })?;
            if self.batch_rows == 0 {
                return Ok(None);
            }
        }
        self.rows.at = self.taken;
        self.taken += 1;
        self.row += 1;
        Ok(Some(Record { line: self.row, bytes: row::tick(&self.layout, &self.form, &self.rows) }))
    }

    /// Reads the next batch; an empty one at the end of the file.
    fn fill(&mut self) -> Result<(), Damage> {
        (self.batch_rows, self.taken) = (0, 0);
        while self.left_in_group == 0 {
            for column in self.rows.columns.iter_mut().flatten() {
                if column.read(1)? > 0 {
                    return Err("a column has more values than the row group has rows".into());
                }
            }
            if self.next_group == self.file.num_row_groups() {
                return Ok(());
            }
            let group = self.file.get_row_group(self.next_group)?;
            for column in self.rows.columns.iter_mut().flatten() {
                column.open(group.get_column_reader(column.leaf())?);
            }
            self.left_in_group = usize::try_from(group.metadata().num_rows())?;
            self.next_group += 1;
        }
        let count = self.left_in_group.min(BATCH_ROWS);
        for column in self.rows.columns.iter_mut().flatten() {
            if column.read(count)? < count {
                return Err("a column has fewer values than the row group has rows".into());
            }
        }
        self.left_in_group -= count;
        self.batch_rows = count;
        Ok(())
    }
}

/// Runs a part of the library over bytes that nobody has checked. It panics over some damaged
/// files, by failed assertions and indices; here that is the damage.
///
/// What it was working on is not used again, since an error ends the records, so a broken invariant
/// is seen by nobody. The library's own message stays on standard error, before ours: to silence it
/// takes a panic hook, which belongs to the process, and whoever reports the damage wants it.
fn guarded<T>(read: impl FnOnce() -> Result<T, Damage>) -> Result<T, Damage> {
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(PANICKED.into()))
}

/// The rows of all row groups, which the file must have itself.
fn rows(file: &dyn FileReader) -> Result<u64, Damage> {
    let mut sum: u64 = 0;
    for group in file.metadata().row_groups() {
        let rows = u64::try_from(group.num_rows())?;
        sum = sum.checked_add(rows).ok_or(Damage::from("more rows than can be counted"))?;
    }
    let said = file.metadata().file_metadata().num_rows();
    if u64::try_from(said)? == sum {
        Ok(sum)
    } else {
        Err(format!("it says that it has {said} rows, and its row groups have {sum}").into())
    }
}

/// The name of a compression that this build does not read.
fn unreadable(codec: Compression) -> Option<String> {
    let name = match codec {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => return None,
        Compression::GZIP(_) => "gzip",
        Compression::LZO => "lzo",
        Compression::BROTLI(_) => "brotli",
        Compression::LZ4 | Compression::LZ4_RAW => "lz4",
    };
    Some(name.to_owned())
}

impl Layout {
    /// Takes a column out whose name no tick has by itself; tells whether it did.
    fn leave_out(&mut self, index: usize) -> bool {
        let known = Schema::new([]).is_ok_and(|schema| {
            self.fields.iter().any(|(name, at)| *at == index && schema.field(name).is_some())
        });
        let before = self.fields.len();
        self.fields.retain(|(_, at)| *at != index || known);
        self.fields.len() < before
    }
}

impl Cells for Batch {
    fn text(&self, column: usize) -> Option<&[u8]> {
        self.columns.get(column)?.as_ref()?.text(self.at)
    }
}
