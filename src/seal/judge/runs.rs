//! Long lists of places that mostly rise by equal steps.
//!
//! Owns their short form: runs, each with its first place, its step and its length. Promises that a
//! list comes back as it was made. Never sorts.

/// A list of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    runs: Vec<Run>,
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    /// How many places come before this run.
    before: usize,
    first: usize,
    step: isize,
    len: usize,
}

impl Run {
    fn at(&self, at: usize) -> usize {
        // Places are far below the largest `isize`.
        self.first.wrapping_add_signed(self.step * at as isize)
    }
}

impl Runs {
    /// How many places.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a place at the end.
    pub(super) fn push(&mut self, place: usize) {
        let before = self.len;
        self.len += 1;
        match self.runs.last_mut() {
            Some(run) if run.len == 1 => {
                run.step = place.wrapping_sub(run.first) as isize;
                run.len = 2;
            }
            Some(run) if run.at(run.len) == place => run.len += 1,
            _ => self.runs.push(Run { before, first: place, step: 0, len: 1 }),
        }
    }

    /// The place at an index.
    pub(super) fn at(&self, index: usize) -> usize {
        assert!(index < self.len, "place {index} of {}", self.len);
        let run = self.runs.partition_point(|run| run.before <= index) - 1;
        self.runs[run].at(index - self.runs[run].before)
    }

    /// All places in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(|run| (0..run.len).map(|at| run.at(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_and_regular_ones_are_short() {
        let of = |places: &[usize]| {
            let mut runs = Runs::default();
            places.iter().for_each(|place| runs.push(*place));
            assert_eq!(runs.iter().collect::<Vec<_>>(), places);
            assert_eq!((0..runs.len()).map(|at| runs.at(at)).collect::<Vec<_>>(), places);
            runs.runs.len()
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[7]), 1);
        assert_eq!(of(&[5, 5, 5, 5]), 1);
        let strided: Vec<_> = (0..1000).map(|at| 3 + 7 * at).collect();
        assert_eq!(of(&strided), 1);
        let falling: Vec<_> = (0..1000).rev().collect();
        assert_eq!(of(&falling), 1);
        let series: Vec<_> = (10..50).chain(60..61).chain(100..400).collect();
        assert!(of(&series) <= 4);
        assert_eq!(of(&[0, 3, 1, 9, 2, 2]), 3);
    }
}
