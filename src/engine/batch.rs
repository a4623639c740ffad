//! How many rows go into one run.
//!
//! Owns the choice of batch sizes. Promises that few distinct sizes occur, because each keeps its
//! tensors for good. Never touches a tensor.

/// The size of the run for `count` rows: the next power of two, at most `count_max`.
///
/// Padding costs less than the run's own overhead at the sizes in question.
pub(super) fn padded(count: usize, count_max: usize) -> usize {
    count.next_power_of_two().min(count_max).max(count.min(count_max))
}

/// The largest power of two that is neither above `count` nor above `count_max`: how many items
/// the next run takes where padding would cost more than a further run.
pub(super) fn largest(count: usize, count_max: usize) -> usize {
    let limit = count.min(count_max);
    if limit == 0 { 0 } else { 1 << limit.ilog2() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
