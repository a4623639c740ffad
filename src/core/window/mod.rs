//! The last W feature rows of one symbol, and how whole they are.
//!
//! Owns the ring of rows and the marks of gaps, of rows made by rule and of inputs outside the
//! training range. Promises that a mark stays for as long as the step it belongs to is in the
//! window, and not longer. Never allocates after it was made.

use serde::{Deserialize, Serialize};

use crate::core::domain::Quality;

/// The window of one symbol: a ring of W rows of F numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    rows: Box<[f32]>,
    width: usize,
    /// Where the next row goes.
    next: usize,
    length: usize,
    marks: Marks,
}

/// What is known of a row beside its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFacts {
    /// Data that belongs right before it is known to be missing.
    pub after_gap: bool,
    /// Its step was made by rule.
    pub patched: bool,
    /// It has an input outside the training range.
    pub out_of_range: bool,
}

/// When each fact was last true of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marks {
    gap: Mark,
    patched: Mark,
    out_of_range: Mark,
}

/// How long ago something happened, in steps; `None` once it left the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark(Option<u32>);

/// A window at rest: its rows oldest first, and its marks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSnapshot {
    rows: Vec<Vec<f32>>,
    marks: Marks,
}

/// A snapshot that does not fit the model's window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored window of {rows} rows does not fit one of {steps} rows of {width} features")]
pub struct WindowMismatch {
    rows: usize,
    steps: usize,
    width: usize,
}

impl Window {
    /// An empty window of `steps` rows of `width` features; both at least one.
    pub fn new(steps: usize, width: usize) -> Self {
        Self {
            rows: vec![0.0; steps * width].into(),
            width,
            next: 0,
            length: 0,
            marks: Marks::default(),
        }
    }

    /// W.
    pub fn steps(&self) -> usize {
        self.rows.len() / self.width
    }

    /// How many rows it holds.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it holds W rows; before that it is warming.
    pub fn is_full(&self) -> bool {
        // No division: this and the next two are asked several times for each tick.
        self.length * self.width == self.rows.len()
    }

    /// Takes the newest row, in place of the oldest one where the window is full.
    pub fn push(&mut self, row: &[f32], facts: RowFacts) {
        let first = self.next * self.width;
        self.rows[first..][..self.width].copy_from_slice(row);
        if !self.is_full() {
            self.length += 1;
        }
        let is_last = first + self.width == self.rows.len();
        self.next = if is_last { 0 } else { self.next + 1 };
        let Self { rows, width, marks, .. } = self;
        let steps = || rows.len() / *width;
        marks.gap.step(facts.after_gap, steps);
        marks.patched.step(facts.patched, steps);
        marks.out_of_range.step(facts.out_of_range, steps);
    }

    /// Forgets every row and mark.
    pub fn clear(&mut self) {
        (self.next, self.length, self.marks) = (0, 0, Marks::default());
    }

    /// The rows, oldest first, each of F numbers.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let first = (self.next + self.steps() - self.length) % self.steps();
        let row = move |index: usize| {
            let slot = (first + index) % self.steps();
            &self.rows[slot * self.width..][..self.width]
        };
        (0..self.length).map(row)
    }

    /// The newest row, or `None` where there is none.
    pub fn newest(&self) -> Option<&[f32]> {
        let end = if self.next == 0 { self.rows.len() } else { self.next * self.width };
        (!self.is_empty()).then(|| &self.rows[end - self.width..end])
    }

    /// The newest `count` rows, or all where it has fewer: their numbers, oldest row first, in two
    /// pieces.
    pub fn newest_rows(&self, count: usize) -> [&[f32]; 2] {
        let count = count.min(self.length);
        let end = self.next * self.width;
        match self.next.checked_sub(count) {
            Some(first) => [&self.rows[first * self.width..end], &[]],
            None => {
                let before = (count - self.next) * self.width;
                [&self.rows[self.rows.len() - before..], &self.rows[..end]]
            }
        }
    }

    /// How whole the window is.
    pub fn quality(&self) -> Quality {
        if self.marks.gap.0.is_some() {
            Quality::Gapped
        } else if self.marks.patched.0.is_some() {
            Quality::Patched
        } else {
            Quality::Full
        }
    }

    /// Whether any row has an input outside the training range.
    pub fn out_of_range(&self) -> bool {
        self.marks.out_of_range.0.is_some()
    }

    /// The window at rest.
    pub fn snapshot(&self) -> WindowSnapshot {
        WindowSnapshot { rows: self.rows().map(<[f32]>::to_vec).collect(), marks: self.marks }
    }

    /// A window from rest.
    ///
    /// # Errors
    /// [`WindowMismatch`] for too many rows or rows of another width.
    pub fn restore(
        snapshot: &WindowSnapshot,
        steps: usize,
        width: usize,
    ) -> Result<Self, WindowMismatch> {
        let fits = snapshot.rows.len() <= steps && snapshot.rows.iter().all(|r| r.len() == width);
        if !fits {
            return Err(WindowMismatch { rows: snapshot.rows.len(), steps, width });
        }
        let mut window = Self::new(steps, width);
        for row in &snapshot.rows {
            window.push(row, RowFacts::default());
        }
        window.marks = snapshot.marks;
        Ok(window)
    }
}

impl WindowSnapshot {
    /// Keeps the newest `steps` rows only.
    pub fn cut(&mut self, steps: usize) {
        let surplus = self.rows.len().saturating_sub(steps);
        self.rows.drain(..surplus);
        let Marks { gap, patched, out_of_range } = &mut self.marks;
        for mark in [gap, patched, out_of_range] {
            mark.0 = mark.0.filter(|age| (*age as usize) < steps);
        }
    }

    /// Changes every row in place, oldest first; `change` tells whether one is now outside the
    /// training range. The window is patched until the last of these rows has left it. Where a row
    /// cannot be changed, all are dropped.
    pub fn change_rows(&mut self, mut change: impl FnMut(&mut [f32]) -> Option<bool>) {
        let Self { rows, marks } = self;
        let newest = rows.len().saturating_sub(1);
        marks.out_of_range = Mark::default();
        for (index, row) in rows.iter_mut().enumerate() {
            match change(row) {
                Some(true) => marks.out_of_range = Mark(u32::try_from(newest - index).ok()),
                Some(false) => {}
                None => {
                    rows.clear();
                    *marks = Marks::default();
                    return;
                }
            }
        }
        if !rows.is_empty() {
            marks.patched = Mark(Some(0));
        }
    }
}

impl Mark {
    /// Ages by one step, or begins anew where the newest step carries the mark.
    fn step(&mut self, marked: bool, steps: impl Fn() -> usize) {
        let aged = self.0.map(|age| age + 1).filter(|age| (*age as usize) < steps());
        self.0 = if marked { Some(0) } else { aged };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> Window {
        let mut window = Window::new(3, 2);
        for index in 0..count {
            window.push(&[index as f32, -(index as f32)], RowFacts::default());
        }
        window
    }

    #[test]
    fn the_newest_rows_are_the_end_of_all_rows() {
        for pushed in 0..8 {
            let window = filled(pushed);
            let all: Vec<f32> = window.rows().flatten().copied().collect();
            for count in 0..5 {
                let start = all.len().saturating_sub(2 * count);
                assert_eq!(window.newest_rows(count).concat(), all[start..], "{count} of {pushed}");
            }
        }
    }

    #[test]
    fn keeps_the_last_rows_oldest_first() {
        for count in 0..8 {
            let window = filled(count);
            let first: Vec<_> = window.rows().map(|row| row[0] as usize).collect();
            let expected: Vec<_> = (count.saturating_sub(3)..count).collect();
            assert_eq!(first, expected);
            assert_eq!(window.newest().map(|row| row[0] as usize), expected.last().copied());
            assert_eq!(window.is_full(), count >= 3);
        }
    }

    #[test]
    fn a_mark_stays_exactly_as_long_as_its_step() {
        let mut window = filled(3);
        let mut seen = Vec::new();
        for index in 0..7 {
            let facts = RowFacts {
                after_gap: index == 1,
                patched: [0, 3].contains(&index),
                out_of_range: index == 2,
            };
            window.push(&[0.0, 0.0], facts);
            seen.push((window.quality(), window.out_of_range()));
        }
        let expected = [
            (Quality::Patched, false),
            (Quality::Gapped, false),
            (Quality::Gapped, true),
            (Quality::Gapped, true),
            (Quality::Patched, true),
            (Quality::Patched, false),
            (Quality::Full, false),
        ];
        assert_eq!(seen, expected, "the worst mark counts");
    }

    #[test]
    fn a_cleared_window_is_as_good_as_new() {
        let mut window = filled(5);
        window.push(&[1.0, 1.0], RowFacts { after_gap: true, patched: true, out_of_range: true });
        window.clear();
        assert_eq!(window.snapshot(), Window::new(3, 2).snapshot());
        assert_eq!((window.quality(), window.newest()), (Quality::Full, None));
        window.push(&[7.0, 7.0], RowFacts::default());
        assert_eq!(window.rows().collect::<Vec<_>>(), [[7.0, 7.0]]);
    }

    #[test]
    fn a_window_that_is_cut_keeps_its_newest_rows_and_the_marks_of_these() {
        for (marked, kept) in [(1, false), (2, true)] {
            let mut window = Window::new(4, 1);
            for index in 0..4 {
                let after_gap = index == marked;
                window.push(&[index as f32], RowFacts { after_gap, ..RowFacts::default() });
            }
            let mut snapshot = window.snapshot();
            snapshot.cut(2);
            let cut = Window::restore(&snapshot, 2, 1).unwrap();
            assert_eq!(cut.rows().flatten().copied().collect::<Vec<_>>(), [2.0, 3.0]);
            assert_eq!(cut.quality() == Quality::Gapped, kept);
        }
    }

    #[test]
    fn changed_rows_are_marked_until_the_last_of_them_has_left() {
        let mut snapshot = filled(3).snapshot();
        snapshot.change_rows(|row| {
            row[0] += 10.0;
            Some(row[0] == 11.0)
        });
        let mut window = Window::restore(&snapshot, 3, 2).unwrap();
        let first: Vec<_> = window.rows().map(|row| row[0]).collect();
        assert_eq!(first, [10.0, 11.0, 12.0]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push((window.quality() == Quality::Patched, window.out_of_range()));
            window.push(&[0.0, 0.0], RowFacts::default());
        }
        assert_eq!(seen, [(true, true), (true, true), (true, false), (false, false)]);
        snapshot.change_rows(|row| (row[0] < 12.0).then_some(false));
        assert!(Window::restore(&snapshot, 3, 2).unwrap().is_empty(), "all or none");
    }

    #[test]
    fn comes_back_from_rest_as_it_was() {
        for count in 0..8 {
            let mut window = filled(count);
            let facts = RowFacts { after_gap: true, patched: count % 2 == 0, out_of_range: false };
            window.push(&[9.0, 9.0], facts);
            let mut restored = Window::restore(&window.snapshot(), 3, 2).unwrap();
            for _ in 0..4 {
                assert_eq!(restored.snapshot(), window.snapshot());
                let facts = RowFacts { out_of_range: true, ..RowFacts::default() };
                restored.push(&[1.0, 2.0], facts);
                window.push(&[1.0, 2.0], facts);
            }
        }
        let snapshot = filled(3).snapshot();
        assert!(Window::restore(&snapshot, 2, 2).is_err());
        assert!(Window::restore(&snapshot, 3, 1).is_err());
    }
}
