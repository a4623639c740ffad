//! How many rows go into one run.
//!
//! Owns the choice of batch sizes. Promises that few distinct sizes occur, because each keeps its
//! tensors for good. Never touches a tensor.

use std::iter::Take;

use crate::domain::SymbolId;

/// Hands `items` to `run` in order, in pieces that fit one run, each with the size of its run:
/// at least the count of its items, the rest being padding.
pub(super) fn in_runs<I: Iterator + Clone, E>(
    mut items: I,
    count_max: usize,
    mut run: impl FnMut(Take<I>, usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut left = items.clone().count();
    while left > 0 {
        let taken = left.min(count_max);
        run(items.clone().take(taken), padded(taken, count_max))?;
        left -= taken;
        items.nth(taken - 1);
    }
    Ok(())
}

/// The size of the run for `count` rows: the next power of two, at most `count_max`.
///
/// Padding costs less than the run's own overhead at the sizes in question.
fn padded(count: usize, count_max: usize) -> usize {
    count.next_power_of_two().min(count_max).max(count.min(count_max))
}

/// The largest power of two that is neither above `count` nor above `count_max`: how many items
/// the next run takes where padding would cost more than a further run.
pub(super) fn largest(count: usize, count_max: usize) -> usize {
    let limit = count.min(count_max);
    if limit == 0 { 0 } else { 1 << limit.ilog2() }
}

/// Takes the `size` numbers of a symbol out of a dense block; those of the last symbol take their
/// place.
pub(super) fn swap_remove(block: &mut Vec<f32>, size: usize, symbol: SymbolId) {
    let last = block.len() - size;
    block.copy_within(last.., symbol.index() * size);
    block.truncate(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_one_another_without_loss() {
        for count in [0, 1, 5, 8, 9, 20] {
            let (mut seen, mut sizes) = (Vec::new(), Vec::new());
            let run = |piece: Take<_>, size| {
                seen.extend(piece);
                sizes.push(size);
                Ok::<_, ()>(())
            };
            in_runs(0..count, 8, run).unwrap();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            assert!(sizes.iter().sum::<usize>() >= count as usize, "{count}: {sizes:?}");
        }
    }

    #[test]
    fn sizes_are_few_and_enough() {
        assert_eq!(
            [1, 2, 3, 5, 31, 33, 100].map(|count| padded(count, 64)),
            [1, 2, 4, 8, 32, 64, 64]
        );
        assert_eq!(padded(3, 3), 3);
        assert_eq!(
            [0, 1, 2, 3, 5, 31, 33].map(|count| largest(count, 16)),
            [0, 1, 2, 2, 4, 16, 16]
        );
        assert_eq!(largest(5, 3), 2);
    }
}
