//! How many rows go into one run.
//!
//! Owns the choice of batch sizes, and where a row's output lies. Promises that few distinct sizes
//! occur, because each keeps its tensors for good. Never changes a tensor.

use std::iter::Take;

use crate::engine::inference::{Backend, Lane};

/// The most rows of a run that takes states along. In larger ones they no longer lie in the
/// processor's second cache when they come back. The seed model, thousands of forecasts a second
/// (`tickcast bench`): mode `sliding` 31 at 240 rows a run, 30 at 480 and at 120; mode `carried`
/// 817 at 256 rows, 777 at 512, 796 at 128.
pub(super) const STATE_ROWS_MAX: usize = 256;

/// The output of each row of a run that was made: all its columns.
pub(super) fn outputs(
    backend: &dyn Backend,
    lane: Lane,
    batch: usize,
) -> impl Iterator<Item = &[f32]> {
    let outputs = backend.output(lane);
    outputs.chunks_exact(outputs.len() / batch)
}

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

/// The size of the run for `count` rows: at most `count_max` and an eighth more than `count`.
///
/// Sizes are the powers of two and seven between each two of them: 1 to 16 one by one, then 18,
/// 20 and so on, so up to 512 there are 56. Padding costs less than a further run.
fn padded(count: usize, count_max: usize) -> usize {
    count.next_multiple_of(step(count)).min(count_max).max(count.min(count_max))
}

/// The largest of those sizes that is neither above `count` nor above `count_max`: how many items
/// the next run takes where padding would cost more than a further run.
pub(super) fn largest(count: usize, count_max: usize) -> usize {
    let limit = count.min(count_max);
    if limit == 0 { 0 } else { limit - limit % step(limit) }
}

/// The distance of sizes around `count`, which is at least one: an eighth of the power of two at
/// or below it.
fn step(count: usize) -> usize {
    1 << count.ilog2().saturating_sub(3)
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
            [1, 2, 3, 5, 9, 31, 33, 100].map(|count| padded(count, 64)),
            [1, 2, 3, 5, 9, 32, 36, 64]
        );
        assert_eq!(padded(3, 3), 3);
        assert_eq!([0, 1, 2, 3, 5, 9, 33].map(|count| largest(count, 17)), [0, 1, 2, 3, 5, 9, 16]);
        assert_eq!(largest(5, 3), 3);
        let mut sizes: Vec<_> = (1..=512).map(|count| padded(count, 512)).collect();
        assert!(
            (1..=512).zip(&sizes).all(|(count, size)| (count..=count + count / 8).contains(size))
        );
        sizes.dedup();
        assert_eq!(sizes.len(), 56);
        for size in sizes {
            assert_eq!(largest(size, 512), size, "both ways choose among the same sizes");
        }
    }
}
