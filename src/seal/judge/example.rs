//! One window and what came true after it, and lists of them.
//!
//! Owns the record and its list. Promises that a list takes 24 bytes for an example, in memory or
//! in a file. Never holds the rows of the window: `windows` does.

use std::fmt;

use super::runs::Runs;
use crate::core::domain::UnixNanos;
use crate::seal::matrix::{Matrix, MatrixWriter};
use crate::seal::spill::Spill;

/// Where a window comes from, and what came true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Example {
    /// Index of the series.
    pub series: usize,
    /// Index of the newest step of the window within the series.
    pub step: usize,
    /// Event time of that step.
    pub as_of: UnixNanos,
    /// The label in its own unit.
    pub truth: f64,
    /// The naive forecast beside it, in the same unit: that nothing changes
    /// ([`Truth::persistence`](crate::core::forecast::Truth::persistence)).
    pub persistence: f64,
}

/// The numbers of an example that are stored: its time and the bits of the other two.
const NUMBERS: usize = 3;

/// Many examples.
#[derive(Clone, Default, PartialEq)]
pub struct ExampleList {
    series: Runs,
    steps: Runs,
    numbers: Matrix<u64>,
}

/// Adds examples one by one to a list that may be in a file.
pub struct ExampleWriter {
    series: Runs,
    steps: Runs,
    numbers: MatrixWriter<u64>,
}

impl ExampleList {
    /// No examples yet: in a file where there is somewhere to spill to, otherwise in memory.
    pub fn writer(spill: Option<&Spill>) -> ExampleWriter {
        ExampleWriter {
            series: Runs::default(),
            steps: Runs::default(),
            numbers: Matrix::writer(NUMBERS, spill),
        }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An example by its place.
    ///
    /// # Panics
    /// Where there is no such place.
    pub fn at(&self, at: usize) -> Example {
        example(self.series.at(at), self.steps.at(at), &self.numbers.read(at..at + 1))
    }

    /// All examples in their order.
    pub fn iter(&self) -> impl Iterator<Item = Example> + '_ {
        let numbers = self.numbers.blocks(0..self.len()).flat_map(|block| {
            let rows = block.chunks_exact(NUMBERS).map(|row| [row[0], row[1], row[2]]);
            // A block in memory is borrowed; one of a file is small.
            rows.collect::<Vec<_>>()
        });
        let places = self.series.iter().zip(self.steps.iter());
        places.zip(numbers).map(|((series, step), numbers)| example(series, step, &numbers))
    }

    /// What came true after each.
    pub fn truths(&self) -> impl Iterator<Item = f64> + '_ {
        self.iter().map(|example| example.truth)
    }

    /// Whether they come by series and then by step, as a walk through the series meets them.
    pub(super) fn are_in_order(&self) -> bool {
        let places = || self.series.iter().zip(self.steps.iter());
        places().zip(places().skip(1)).all(|(one, next)| one <= next)
    }

    /// Series and step of each.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.series.iter().zip(self.steps.iter())
    }

    /// Series and step by place.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        (self.series.at(at), self.steps.at(at))
    }
}

impl ExampleWriter {
    /// Adds an example.
    pub fn push(&mut self, example: Example) {
        let Example { series, step, as_of, truth, persistence } = example;
        self.series.push(series);
        self.steps.push(step);
        let time = as_of.as_nanos().cast_unsigned();
        self.numbers.push(&[time, truth.to_bits(), persistence.to_bits()]);
    }

    /// The list with all examples.
    pub fn finish(self) -> ExampleList {
        let Self { series, steps, numbers } = self;
        ExampleList { series, steps, numbers: numbers.finish() }
    }
}

impl FromIterator<Example> for ExampleList {
    fn from_iter<I: IntoIterator<Item = Example>>(examples: I) -> Self {
        let mut writer = Self::writer(None);
        examples.into_iter().for_each(|example| writer.push(example));
        writer.finish()
    }
}

impl fmt::Debug for ExampleList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

fn example(series: usize, step: usize, numbers: &[u64]) -> Example {
    Example {
        series,
        step,
        as_of: UnixNanos::from_nanos(numbers[0].cast_signed()),
        truth: f64::from_bits(numbers[1]),
        persistence: f64::from_bits(numbers[2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_come_back_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path());
        let example = |at: usize| Example {
            series: at / 7000,
            step: 5 + at % 7000,
            as_of: UnixNanos::from_nanos(at as i64 - 9000),
            truth: -0.0 + at as f64 / 7.0,
            persistence: -(at as f64),
        };
        let all: Vec<_> = (0..20_000).map(example).collect();
        let memory: ExampleList = all.iter().copied().collect();
        let mut writer = ExampleList::writer(Some(&spill));
        all.iter().for_each(|example| writer.push(*example));
        let file = writer.finish();
        assert_eq!(memory, file);
        for list in [&memory, &file] {
            assert_eq!(list.iter().collect::<Vec<_>>(), all);
            assert_eq!((list.len(), list.at(19_999), list.at(0)), (20_000, all[19_999], all[0]));
            assert!(list.truths().eq(all.iter().map(|example| example.truth)));
            assert!(list.are_in_order());
        }
        let backwards: ExampleList = all.iter().rev().copied().collect();
        assert!(!backwards.are_in_order());
        assert_eq!(backwards.at(0), all[19_999]);
        assert!(ExampleList::default().is_empty());
    }
}
