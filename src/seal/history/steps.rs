//! The steps of one symbol, in memory or in a file.
//!
//! Owns both forms behind one way to read them. Promises that a step comes back with every bit,
//! that a part of the steps shares the memory or the file of the whole, and that steps in a file
//! take memory for one block of them at a time. Never changes a step.

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use crate::core::domain::{Fields, Step, UnixNanos};
use crate::seal::spill::{Spill, SpillFile};

/// Steps that are read and written at once, where they are in a file. While a history is read, each
/// symbol has as many in memory.
const BLOCK_STEPS: usize = 256;

/// Bytes of a step before its fields: the time, which fields there are, and two flags.
const HEAD_BYTES: usize = 11;

/// Steps in the order of time.
#[derive(Clone)]
pub struct Steps {
    store: Store,
    /// Which of the store's steps.
    range: Range<usize>,
}

#[derive(Clone)]
enum Store {
    Memory(Arc<Vec<Step>>),
    File(Arc<Blocks>),
}

/// Blocks of steps in a file; all but the last have `BLOCK_STEPS`.
struct Blocks {
    file: Arc<SpillFile>,
    /// Where each block is.
    places: Vec<Range<u64>>,
}

/// Reads steps one after the other, or near each other, without reading a block twice.
pub struct Reader {
    steps: Steps,
    /// The steps of the block that was read last, and which one it is.
    block: Vec<Step>,
    which: Option<usize>,
}

/// Goes through steps.
pub struct Iter {
    reader: Reader,
    left: Range<usize>,
}

/// The steps of one symbol while they are read.
#[derive(Default)]
pub(super) struct Growing {
    /// Steps that are in no block yet.
    open: Vec<Step>,
    blocks: Option<Blocks>,
}

impl Steps {
    /// How many.
    pub const fn len(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A step by its place.
    ///
    /// # Panics
    /// Where there is no such place.
    pub fn step(&self, at: usize) -> Step {
        assert!(at < self.len(), "step {at} of {}", self.len());
        let at = self.range.start + at;
        match &self.store {
            Store::Memory(steps) => steps[at],
            Store::File(blocks) => blocks.read(at / BLOCK_STEPS)[at % BLOCK_STEPS],
        }
    }

    /// A step by its place, where there is one.
    pub fn get(&self, at: usize) -> Option<Step> {
        (at < self.len()).then(|| self.step(at))
    }

    /// The first step.
    pub fn first(&self) -> Option<Step> {
        self.get(0)
    }

    /// The last step.
    pub fn last(&self) -> Option<Step> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Some of the steps.
    ///
    /// # Panics
    /// Where they are not all there.
    #[must_use]
    pub fn slice(&self, places: impl RangeBounds<usize>) -> Self {
        let start = match places.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match places.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.len(),
        };
        assert!(start <= end && end <= self.len(), "steps {start}..{end} of {}", self.len());
        let first = self.range.start;
        Self { store: self.store.clone(), range: first + start..first + end }
    }

    /// All steps, oldest first.
    pub fn iter(&self) -> Iter {
        Iter { reader: self.reader(), left: 0..self.len() }
    }

    /// Reads steps that are near each other.
    pub fn reader(&self) -> Reader {
        Reader { steps: self.clone(), block: Vec::new(), which: None }
    }

    /// How many steps come before an instant.
    pub fn before(&self, instant: UnixNanos) -> usize {
        self.partition_point(|time| time < instant)
    }

    /// How many steps come up to an instant, one at it included.
    pub fn until(&self, instant: UnixNanos) -> usize {
        self.partition_point(|time| time <= instant)
    }

    fn partition_point(&self, is_before: impl Fn(UnixNanos) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if is_before(self.step(middle).time) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where the files are, if the steps are in one.
    pub(super) fn spill(&self) -> Option<&Spill> {
        match &self.store {
            Store::Memory(_) => None,
            Store::File(blocks) => Some(blocks.file.spill()),
        }
    }
}

impl Blocks {
    /// The steps of a block.
    fn read(&self, which: usize) -> Vec<Step> {
        let Range { start, end } = self.places[which];
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.file.read(start, &mut bytes);
        let mut rest = bytes.as_slice();
        let mut steps = Vec::with_capacity(BLOCK_STEPS);
        while let Some(step) = decode(&mut rest) {
            steps.push(step);
        }
        // Where the file could not be read, the steps are of no use, and as many as there were.
        steps.resize(BLOCK_STEPS, UNREADABLE);
        steps
    }

    fn add(&mut self, steps: &[Step]) {
        let mut bytes = Vec::with_capacity(steps.len() * 4 * HEAD_BYTES);
        steps.iter().for_each(|step| encode(step, &mut bytes));
        let at = self.file.append(&bytes);
        self.places.push(at..at + bytes.len() as u64);
    }
}

/// What stands for a step that could not be read.
const UNREADABLE: Step = Step {
    time: UnixNanos::from_nanos(0),
    fields: Fields::EMPTY,
    after_gap: false,
    patched: false,
};

fn encode(step: &Step, bytes: &mut Vec<u8>) {
    let Step { time, fields, after_gap, patched } = step;
    bytes.extend_from_slice(&time.as_nanos().to_le_bytes());
    let present = fields.columns().fold(0_u16, |present, (column, _)| present | 1 << column);
    bytes.extend_from_slice(&present.to_le_bytes());
    bytes.push(u8::from(*after_gap) | u8::from(*patched) << 1);
    fields.columns().for_each(|(_, value)| bytes.extend_from_slice(&value.to_le_bytes()));
}

/// The next step, which is taken off `bytes`; `None` where there is none.
fn decode(bytes: &mut &[u8]) -> Option<Step> {
    let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (time, head) = head.split_first_chunk()?;
    let (present, flags) = head.split_first_chunk()?;
    let mut fields = Fields::EMPTY;
    let present = u16::from_le_bytes(*present);
    for column in (0..16_u8).filter(|column| present & 1 << column != 0) {
        let (value, behind) = rest.split_first_chunk()?;
        fields.set_column(column, f64::from_le_bytes(*value));
        rest = behind;
    }
    *bytes = rest;
    let flags = *flags.first()?;
    Some(Step {
        time: UnixNanos::from_nanos(i64::from_le_bytes(*time)),
        fields,
        after_gap: flags & 1 != 0,
        patched: flags & 2 != 0,
    })
}

impl Reader {
    /// A step by its place.
    ///
    /// # Panics
    /// Where there is no such place.
    pub fn step(&mut self, at: usize) -> Step {
        assert!(at < self.steps.len(), "step {at} of {}", self.steps.len());
        let at = self.steps.range.start + at;
        match &self.steps.store {
            Store::Memory(steps) => steps[at],
            Store::File(blocks) => {
                let which = at / BLOCK_STEPS;
                if self.which != Some(which) {
                    self.block = blocks.read(which);
                    self.which = Some(which);
                }
                self.block[at % BLOCK_STEPS]
            }
        }
    }
}

impl Iterator for Iter {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.left.next().map(|at| self.reader.step(at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }

    fn nth(&mut self, count: usize) -> Option<Step> {
        self.left.nth(count).map(|at| self.reader.step(at))
    }
}

impl ExactSizeIterator for Iter {}

impl IntoIterator for &Steps {
    type Item = Step;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

impl From<Vec<Step>> for Steps {
    fn from(steps: Vec<Step>) -> Self {
        let range = 0..steps.len();
        Self { store: Store::Memory(Arc::new(steps)), range }
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        steps.into_iter().collect::<Vec<_>>().into()
    }
}

/// By the steps, whichever form they have.
impl PartialEq for Steps {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl Growing {
    /// Adds a step.
    pub(super) fn push(&mut self, step: Step) {
        self.open.push(step);
        if self.open.len() >= BLOCK_STEPS
            && let Some(blocks) = &mut self.blocks
        {
            blocks.add(&self.open);
            self.open.clear();
        }
    }

    /// Moves what is there into a file, and everything that comes.
    pub(super) fn spill(&mut self, file: &Arc<SpillFile>) {
        let blocks = self.blocks.insert(Blocks { file: file.clone(), places: Vec::new() });
        let mut whole = self.open.chunks_exact(BLOCK_STEPS);
        whole.by_ref().for_each(|steps| blocks.add(steps));
        self.open = whole.remainder().to_vec();
    }

    /// All steps.
    pub(super) fn finish(self) -> Steps {
        let Self { open, blocks } = self;
        let Some(mut blocks) = blocks else { return open.into() };
        let len = blocks.places.len() * BLOCK_STEPS + open.len();
        if !open.is_empty() {
            blocks.add(&open);
        }
        Steps { store: Store::File(Arc::new(blocks)), range: 0..len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::Field;

    /// A step with other fields and flags than its neighbors.
    fn step(at: usize) -> Step {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, 1.0 + at as f64 / 3.0).unwrap();
        if at.is_multiple_of(3) {
            fields.set_checked(Field::VOLUME, at as f64).unwrap();
        }
        if at.is_multiple_of(7) {
            fields.set_column(15, -0.5);
        }
        let time = UnixNanos::from_nanos(at as i64 * 10 - 500);
        Step { time, fields, after_gap: at % 5 == 1, patched: at % 4 == 3 }
    }

    /// The same steps, moved to a file after `spilled` of them.
    fn spilled(count: usize, spilled: usize, spill: &Spill) -> Steps {
        let mut growing = Growing::default();
        for at in 0..count {
            if at == spilled {
                growing.spill(&Arc::new(spill.file()));
            }
            growing.push(step(at));
        }
        growing.finish()
    }

    #[test]
    fn steps_in_a_file_are_those_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path());
        for count in [1, BLOCK_STEPS - 1, BLOCK_STEPS, 3 * BLOCK_STEPS, 3 * BLOCK_STEPS + 9] {
            let memory: Steps = (0..count).map(step).collect();
            assert!(memory.spill().is_none());
            for after in [0, 1, count / 2].map(|after| after.min(count - 1)) {
                let file = spilled(count, after, &spill);
                assert!(file.spill().is_some());
                assert_eq!(file, memory, "{count} steps, {after} before the file");
                assert_eq!(
                    (file.len(), file.first(), file.last()),
                    (count, memory.first(), memory.last())
                );
                let part = file.slice(count / 3..count);
                assert_eq!(part, memory.slice(count / 3..), "{count}");
                assert_eq!(part.slice(..=0), memory.slice(count / 3..=count / 3));
                for time in [-501, -500, -499, 0, count as i64 * 10 - 510, i64::MAX] {
                    let before = |steps: &Steps| steps.before(UnixNanos::from_nanos(time));
                    let expected = memory.iter().filter(|s| s.time.as_nanos() < time).count();
                    assert_eq!([before(&memory), before(&file)], [expected; 2], "{time}");
                }
            }
        }
        let file = spilled(1000, 3, &spill);
        let mut reader = file.reader();
        for at in [999, 0, 500, 501, 256, 255] {
            assert_eq!((reader.step(at), file.step(at)), (step(at), step(at)));
        }
        let stepped: Vec<_> = file.iter().step_by(300).collect();
        assert_eq!(stepped, [0, 300, 600, 900].map(step));
        assert_eq!(file.get(1000), None);
        assert_eq!(spill.intact(), Ok(()));
    }

    #[test]
    fn steps_of_a_file_that_cannot_be_written_are_as_many_and_the_error_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        let spill = Spill::new(&blocked);
        let steps = spilled(600, 5, &spill);
        assert_eq!(
            (steps.iter().count(), steps.last().map(|s| s.fields)),
            (600, Some(Fields::EMPTY))
        );
        assert!(spill.intact().is_err());
    }
}
