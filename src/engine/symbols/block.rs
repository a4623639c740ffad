//! One row of numbers per symbol, in pieces that never move.
//!
//! Owns where the recurrent states of all symbols lie. Promises that room for one more symbol costs
//! no copy of the others (a single vector would hold all of them twice while it grows), that new
//! rows are zero, and that rows of symbols that follow one another are copied as one. Never knows
//! what a row means.

use std::ops::Range;

use crate::core::domain::SymbolId;

/// The size of a piece: large enough that few runs are cut by its end.
const PIECE_BYTES: usize = 1 << 20;

/// Rows `[symbol][width]`.
pub(super) struct Block {
    width: usize,
    /// How many rows a piece has: a power of two.
    piece_rows: usize,
    rows: usize,
    pieces: Vec<Aligned>,
}

/// Numbers that begin with a cache line: vector registers that are read across the end of one cost
/// twice.
pub(super) struct Aligned {
    numbers: Box<[f32]>,
    first: usize,
}

/// The numbers of a cache line.
const LINE: usize = 64 / size_of::<f32>();

impl Aligned {
    /// Zeros.
    pub(super) fn new(count: usize) -> Self {
        // Zeroed memory comes untouched from the system, so an unused row costs nothing yet.
        let numbers: Box<[f32]> = vec![0.0; count + LINE - 1].into();
        // Where no place can be had, any serves.
        let first = numbers.as_ptr().align_offset(LINE * size_of::<f32>());
        Self { first: if first < LINE { first } else { 0 }, numbers }
    }

    pub(super) fn numbers(&self) -> &[f32] {
        &self.numbers[self.first..]
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.first..]
    }
}

impl Block {
    /// A block without rows; `width` is at least one.
    pub(super) fn new(width: usize) -> Self {
        let rows = (PIECE_BYTES / (width * size_of::<f32>())).max(1);
        Self { width, piece_rows: 1 << rows.ilog2(), rows: 0, pieces: Vec::new() }
    }

    /// Makes room for one more symbol, at the end of the dense index: zeros.
    pub(super) fn add(&mut self) {
        if self.rows == self.pieces.len() * self.piece_rows {
            self.pieces.push(Aligned::new(self.piece_rows * self.width));
        }
        self.rows += 1;
    }

    /// The numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        self.rows -= 1;
        let (last_piece, last) = self.place(self.rows);
        let (piece, start) = self.place(symbol.index());
        let width = self.width;
        if piece == last_piece {
            self.pieces[piece].numbers_mut().copy_within(last..last + width, start);
        } else {
            // The last piece lies behind every other one.
            let (before, behind) = self.pieces.split_at_mut(last_piece);
            let from = &behind[0].numbers()[last..last + width];
            before[piece].numbers_mut()[start..start + width].copy_from_slice(from);
        }
        // As a new row is promised to be.
        self.pieces[last_piece].numbers_mut()[last..last + width].fill(0.0);
        self.pieces.truncate(self.rows.div_ceil(self.piece_rows));
    }

    /// The row of a symbol.
    pub(super) fn row(&self, symbol: SymbolId) -> &[f32] {
        let (piece, start) = self.place(symbol.index());
        &self.pieces[piece].numbers()[start..][..self.width]
    }

    /// The row of a symbol, to be written.
    pub(super) fn row_mut(&mut self, symbol: SymbolId) -> &mut [f32] {
        let (piece, start) = self.place(symbol.index());
        &mut self.pieces[piece].numbers_mut()[start..][..self.width]
    }

    /// Lays the rows of the symbols into `target`, one after the other.
    pub(super) fn gather(&self, symbols: impl Iterator<Item = SymbolId>, target: &mut [f32]) {
        let mut at = 0;
        for run in runs(symbols, self.piece_rows) {
            let (piece, start) = self.place(run.start);
            let length = run.len() * self.width;
            let rows = &self.pieces[piece].numbers()[start..start + length];
            target[at..at + length].copy_from_slice(rows);
            at += length;
        }
    }

    /// Takes the rows of the symbols out of `source`, where they lie one after the other.
    pub(super) fn scatter(&mut self, symbols: impl Iterator<Item = SymbolId>, source: &[f32]) {
        let mut at = 0;
        for run in runs(symbols, self.piece_rows) {
            let (piece, start) = self.place(run.start);
            let length = run.len() * self.width;
            let rows = &mut self.pieces[piece].numbers_mut()[start..start + length];
            rows.copy_from_slice(&source[at..at + length]);
            at += length;
        }
    }

    /// The piece of a row and where in it the row begins.
    fn place(&self, row: usize) -> (usize, usize) {
        // A power of two that the compiler does not know, so a division would be one.
        let piece = row >> self.piece_rows.trailing_zeros();
        (piece, (row & (self.piece_rows - 1)) * self.width)
    }
}

/// Joins symbols that follow one another, as far as they lie in one piece.
fn runs(
    symbols: impl Iterator<Item = SymbolId>,
    piece_rows: usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut symbols = symbols.map(SymbolId::index).peekable();
    std::iter::from_fn(move || {
        let start = symbols.next()?;
        let piece_end = (start / piece_rows + 1) * piece_rows;
        let mut end = start + 1;
        while end < piece_end && symbols.next_if_eq(&end).is_some() {
            end += 1;
        }
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(indices: &[usize]) -> impl Iterator<Item = SymbolId> {
        indices.iter().map(|index| SymbolId::from_index(*index).unwrap())
    }

    #[test]
    fn neighbours_of_one_piece_go_together() {
        let joined = |indices: &[usize]| runs(symbols(indices), 4).collect::<Vec<_>>();
        assert!(joined(&[]).is_empty());
        assert_eq!(joined(&[2, 3, 4, 5, 7, 6]), [2..4, 4..6, 7..8, 6..7]);
        assert_eq!(joined(&[0, 1, 2, 3, 4]), [0..4, 4..5]);
    }

    #[test]
    fn the_last_row_fills_the_place_of_a_forgotten_one() {
        let width = PIECE_BYTES / size_of::<f32>() / 4;
        let mut block = Block::new(width);
        for (index, symbol) in symbols(&[0, 1, 2, 3, 4, 5]).enumerate() {
            block.add();
            block.row_mut(symbol).fill(index as f32 + 1.0);
        }
        let first = |block: &Block, rows| {
            symbols(&[0, 1, 2, 3, 4, 5][..rows]).map(|id| block.row(id)[0]).collect::<Vec<_>>()
        };
        let id = |index| SymbolId::from_index(index).unwrap();
        block.swap_remove(id(1));
        assert_eq!(first(&block, 5), [1.0, 6.0, 3.0, 4.0, 5.0]);
        block.swap_remove(id(4));
        assert_eq!((first(&block, 4), block.pieces.len()), (vec![1.0, 6.0, 3.0, 4.0], 1));
        block.swap_remove(id(0));
        assert_eq!(first(&block, 3), [4.0, 6.0, 3.0]);
        block.add();
        assert!(block.row(id(3)).iter().all(|number| *number == 0.0), "a new row is zero");
    }

    #[test]
    fn rows_come_back_in_any_order_and_across_pieces() {
        // Four rows a piece.
        let width = PIECE_BYTES / size_of::<f32>() / 4;
        let mut block = Block::new(width);
        for _ in 0..10 {
            block.add();
        }
        assert_eq!(block.pieces.len(), 3);
        let order = [3, 4, 5, 9, 0, 1, 2, 8, 7, 6];
        let mut source = vec![0.0; 10 * width];
        for (place, row) in source.chunks_exact_mut(width).enumerate() {
            row.fill(place as f32);
        }
        block.scatter(symbols(&order), &source);
        for (place, symbol) in symbols(&order).enumerate() {
            assert!(block.row(symbol).iter().all(|number| *number == place as f32));
        }
        let mut target = vec![f32::NAN; 11 * width];
        block.gather(symbols(&order), &mut target);
        assert!(target[..10 * width] == source[..]);
        assert!(target[10 * width].is_nan(), "what is behind the last row is left alone");
    }
}
