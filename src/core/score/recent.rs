//! Sums over the last N scores, in blocks.
//!
//! Owns the blocks. Promises that the sums are over the last N scores at least and N plus one
//! block at most, in bounded memory and without drift: nothing is ever subtracted. Never
//! holds a score.

use super::{Score, Sums};

/// Blocks that are whole; one more is being filled.
const BLOCKS: usize = 16;

/// Sums over the last scores.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    blocks: [Sums; BLOCKS + 1],
    /// Which block is being filled.
    open: usize,
    /// Scores in it.
    filled: usize,
    block_scores: usize,
}

impl Recent {
    /// Over about the last `scores`.
    pub(super) fn new(scores: usize) -> Self {
        let block_scores = scores.div_ceil(BLOCKS).max(1);
        Self { blocks: [Sums::default(); BLOCKS + 1], open: 0, filled: 0, block_scores }
    }

    /// Takes one score.
    pub(super) fn add(&mut self, score: &Score) {
        if self.filled == self.block_scores {
            self.open = (self.open + 1) % self.blocks.len();
            self.blocks[self.open] = Sums::default();
            self.filled = 0;
        }
        self.blocks[self.open] += Sums::of(score);
        self.filled += 1;
    }

    /// The sums.
    pub(super) fn sums(&self) -> Sums {
        self.blocks.iter().copied().sum()
    }
}
