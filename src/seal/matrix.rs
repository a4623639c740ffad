//! Numbers in rows of one width, in memory or in a file.
//!
//! Owns both forms behind one way to read them. Promises that rows come back with the bits that
//! were added, in either form, and that a matrix in a file takes memory only for what is being
//! read. Never computes with a number.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::spill::{Spill, SpillFile};

/// Numbers read or written at once, where a matrix is in a file: 128 KiB of `f32`.
const BLOCK_VALUES: usize = 32 << 10;

/// A number with a form in bytes.
pub trait Scalar: Copy + Default + Send + Sync + 'static {
    /// How many bytes it has.
    const BYTES: usize;

    /// Adds its bytes.
    fn put(self, bytes: &mut Vec<u8>);

    /// The number of `BYTES` bytes.
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! scalar {
    ($($number:ty),*) => {$(
        impl Scalar for $number {
            const BYTES: usize = size_of::<$number>();

            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn of(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$number>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    )*};
}

scalar!(f32, f64, u64);

/// Rows of `width` numbers.
#[derive(Clone, Debug)]
pub struct Matrix<T> {
    width: usize,
    values: Values<T>,
}

#[derive(Clone, Debug)]
enum Values<T> {
    Memory(Vec<T>),
    File { file: Arc<SpillFile>, count: usize },
}

/// Adds rows one by one to a matrix that may be in a file.
pub struct MatrixWriter<T> {
    matrix: Matrix<T>,
    /// Rows that are not added yet.
    pending: Vec<T>,
}

impl<T> Default for Matrix<T> {
    fn default() -> Self {
        Self { width: 1, values: Values::Memory(Vec::new()) }
    }
}

impl<T: Scalar> Matrix<T> {
    /// Rows in memory; `values` are `[n, width]`.
    pub fn of(width: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len() % width, 0, "rows are {width} values wide");
        Self { width, values: Values::Memory(values) }
    }

    /// No rows yet: in a file where there is somewhere to spill to, otherwise in memory.
    pub fn writer(width: usize, spill: Option<&Spill>) -> MatrixWriter<T> {
        let values = match spill {
            Some(spill) => Values::File { file: Arc::new(spill.file()), count: 0 },
            None => Values::Memory(Vec::new()),
        };
        MatrixWriter { matrix: Self { width, values }, pending: Vec::new() }
    }

    /// The numbers of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// How many rows.
    pub const fn rows(&self) -> usize {
        match &self.values {
            Values::Memory(values) => values.len() / self.width,
            Values::File { count, .. } => *count / self.width,
        }
    }

    /// Adds the rows `[n, width]`.
    pub fn extend(&mut self, rows: &[T]) {
        assert_eq!(rows.len() % self.width, 0, "rows are {} values wide", self.width);
        match &mut self.values {
            Values::Memory(values) => values.extend_from_slice(rows),
            Values::File { file, count } => {
                let mut bytes = Vec::with_capacity(rows.len() * T::BYTES);
                rows.iter().for_each(|value| value.put(&mut bytes));
                let at = file.append(&bytes);
                debug_assert_eq!(at, (*count * T::BYTES) as u64, "one matrix adds to a file");
                *count += rows.len();
            }
        }
    }

    /// These rows, `[n, width]`.
    pub fn read(&self, rows: Range<usize>) -> Cow<'_, [T]> {
        let range = rows.start * self.width..rows.end * self.width;
        match &self.values {
            Values::Memory(values) => Cow::Borrowed(&values[range]),
            Values::File { file, count } => {
                assert!(range.end <= *count, "rows {rows:?} of {}", self.rows());
                let mut bytes = vec![0; range.len() * T::BYTES];
                file.read((range.start * T::BYTES) as u64, &mut bytes);
                Cow::Owned(bytes.chunks_exact(T::BYTES).map(T::of).collect())
            }
        }
    }

    /// These rows in their order, some at a time, each time `[n, width]`.
    pub fn blocks(&self, rows: Range<usize>) -> impl Iterator<Item = Cow<'_, [T]>> {
        let block = match &self.values {
            Values::Memory(_) => rows.len().max(1),
            Values::File { .. } => (BLOCK_VALUES / self.width).max(1),
        };
        let (end, starts) = (rows.end, rows.step_by(block));
        starts.map(move |start| self.read(start..end.min(start + block)))
    }
}

impl<T: Scalar> MatrixWriter<T> {
    /// Adds one row, or several.
    pub fn push(&mut self, rows: &[T]) {
        if let Values::Memory(values) = &mut self.matrix.values {
            values.extend_from_slice(rows);
            return;
        }
        self.pending.extend_from_slice(rows);
        if self.pending.len() >= BLOCK_VALUES {
            self.matrix.extend(&self.pending);
            self.pending.clear();
        }
    }

    /// The matrix with all rows.
    pub fn finish(mut self) -> Matrix<T> {
        if !self.pending.is_empty() {
            self.matrix.extend(&self.pending);
        }
        self.matrix
    }
}

/// By the rows, whichever form they have.
impl<T: Scalar + PartialEq> PartialEq for Matrix<T> {
    fn eq(&self, other: &Self) -> bool {
        let rows = self.rows();
        let step = (BLOCK_VALUES / self.width).max(1);
        let mut blocks = (0..rows).step_by(step).map(|start| start..rows.min(start + step));
        self.width == other.width
            && rows == other.rows()
            && blocks.all(|block| self.read(block.clone()) == other.read(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_in_memory_and_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path());
        let count = BLOCK_VALUES + 7;
        let row = |at: usize| [at as f32, -0.0, f32::MIN_POSITIVE / 2.0];
        let matrix = |spill: Option<&Spill>| {
            let mut writer = Matrix::writer(3, spill);
            (0..count).for_each(|at| writer.push(&row(at)));
            writer.finish()
        };
        let (memory, file) = (matrix(None), matrix(Some(&spill)));
        assert!(matches!(file.values, Values::File { .. }));
        for matrix in [&memory, &file] {
            assert_eq!((matrix.rows(), matrix.width()), (count, 3));
            let read = matrix.read(5..7);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&read), bits(&[row(5), row(6)].concat()));
            let rows: usize = matrix.blocks(3..count).map(|block| block.len() / 3).sum();
            assert_eq!(rows, count - 3);
            let firsts = matrix.blocks(0..count).flat_map(Cow::into_owned);
            assert!(firsts.step_by(3).enumerate().all(|(at, value)| value == at as f32));
            assert_eq!(matrix.blocks(4..4).count(), 0);
        }
        assert_eq!(memory, file);
        let mut longer = file.clone();
        longer.extend(&row(0));
        assert_ne!(longer, memory);
        assert_eq!(spill.intact(), Ok(()));
    }

    #[test]
    fn every_kind_of_number_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path());
        let mut writer = Matrix::writer(2, Some(&spill));
        writer.push(&[1.5, -1e-300_f64]);
        assert_eq!(*writer.finish().read(0..1), [1.5, -1e-300]);
        let mut writer = Matrix::writer(1, Some(&spill));
        writer.push(&[7, u64::MAX]);
        assert_eq!(*writer.finish().read(0..2), [7, u64::MAX]);
    }
}
