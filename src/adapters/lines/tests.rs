//! Tests of the writer of lines, and of what it does when writing fails.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

fn metrics() -> LinesMetrics {
    LinesMetrics::register(&Registry::new(), LinesOf::Forecasts).unwrap()
}

#[test]
fn writes_every_record_in_order_and_appends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forecasts.jsonl");
    for start in [0, 10_000] {
        let metrics = metrics();
        let target = LinesTarget::File(path.clone());
        let lines = Lines::open(&target, WhenFailed::Fail, metrics.clone()).unwrap().unwrap();
        for index in start..start + 10_000 {
            lines.queue.write(Bytes::from(index.to_string())).unwrap();
        }
        lines.finish().unwrap();
        assert_eq!((metrics.written.get(), metrics.waiting.get()), (10_000, 0));
    }
    let text = std::fs::read_to_string(path).unwrap();
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn what_is_settled_is_in_the_file_while_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forecasts.jsonl");
    let lines = Lines::open(&LinesTarget::File(path.clone()), WhenFailed::Fail, metrics())
        .unwrap()
        .unwrap();
    let other = lines.queue();
    for index in 0..1000 {
        lines.queue.write(Bytes::from(index.to_string())).unwrap();
        if index % 100 == 0 {
            other.settle().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().last(), Some(&*index.to_string()));
        }
    }
    let pipe =
        Lines::open(&LinesTarget::File("/dev/null".into()), WhenFailed::Fail, metrics()).unwrap();
    pipe.unwrap().queue.settle().unwrap();
}

#[test]
fn a_torn_line_is_ended_before_the_next_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forecasts.jsonl");
    std::fs::write(&path, "whole\ntor").unwrap();
    let target = LinesTarget::File(path.clone());
    let lines = Lines::open(&target, WhenFailed::Fail, metrics()).unwrap().unwrap();
    lines.queue.write(Bytes::from_static(b"next")).unwrap();
    lines.finish().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "whole\ntor\nnext\n");
}

/// A disk with room for so many bytes, which its holder changes.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    room: usize,
    /// Whether bytes can be taken off its end.
    can_cut: bool,
    opened: usize,
}

impl Disk {
    fn new(can_cut: bool) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().can_cut = can_cut;
        disk
    }

    fn make_room(&self, bytes: usize) {
        self.0.lock().unwrap().room = bytes;
    }

    fn lines(&self) -> Vec<String> {
        let contents = self.0.lock().unwrap();
        let text = std::str::from_utf8(&contents.bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "torn: {text:?}");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut contents = self.0.lock().unwrap();
        let count = bytes.len().min(contents.room);
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space"));
        }
        contents.room -= count;
        contents.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Disk {
    fn is_torn(&self) -> bool {
        self.0.lock().unwrap().bytes.last().is_some_and(|last| *last != b'\n')
    }

    fn cut(&mut self, torn: &[u8]) -> bool {
        let mut contents = self.0.lock().unwrap();
        if contents.can_cut {
            let length = contents.bytes.len() - torn.len();
            contents.bytes.truncate(length);
        }
        contents.can_cut
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().opened += 1;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn start(disk: &Disk, when_failed: WhenFailed, metrics: LinesMetrics) -> Lines {
    Lines::start(disk.clone(), when_failed, Duration::ZERO, metrics).unwrap()
}

fn hand_over(lines: &Lines, records: std::ops::Range<u32>) {
    records.for_each(|record| lines.queue.write(format!("record {record:04}").into()).unwrap());
    lines.queue.settle().unwrap();
}

#[test]
fn a_failed_writer_is_noticed_and_named() {
    let disk = Disk::new(true);
    let lines = start(&disk, WhenFailed::Fail, metrics());
    while lines.queue.write(Bytes::from_static(b"x")).is_ok() {}
    assert!(lines.queue.settle().is_err());
    assert_eq!(lines.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_full_disk_costs_counted_lines_and_tears_none() {
    // A line has twelve bytes: none fits, a part of one, some whole ones and a part.
    for (can_cut, room) in [(true, 0), (true, 5), (true, 30), (true, 36), (false, 0)] {
        let (disk, metrics) = (Disk::new(can_cut), metrics());
        let lines = start(&disk, WhenFailed::Drop, metrics.clone());
        let (readiness, counts) = (crate::ops::readiness::Readiness::new(), || {
            (metrics.written.get(), metrics.dropped.get(), metrics.waiting.get())
        });
        readiness.show(lines.notice());
        disk.make_room(room);
        hand_over(&lines, 0..100);
        let before = disk.lines();
        let written = before.len() as u64;
        assert_eq!(counts(), (written, 100 - written, 0), "room {room}");
        assert!(written <= room as u64 / 12);
        assert_eq!(metrics.failing.get(), 1);
        assert_eq!(readiness.notices(), ["lines: lines are dropped: no space"]);
        // There is room again: the next lines are whole, behind those that were.
        disk.make_room(1 << 20);
        hand_over(&lines, 100..200);
        let expected: Vec<_> = (100..200).map(|record| format!("record {record:04}")).collect();
        assert_eq!(disk.lines()[before.len()..], expected);
        assert_eq!(counts(), (written + 100, 100 - written, 0));
        assert_eq!((metrics.failing.get(), readiness.notices().len()), (0, 0));
        assert!(disk.0.lock().unwrap().opened >= 1, "opened once more before the first try");
        lines.finish().unwrap();
    }
}

#[test]
fn what_cannot_be_cut_off_is_ended_before_the_next_line() {
    let (disk, metrics) = (Disk::new(false), metrics());
    let lines = start(&disk, WhenFailed::Drop, metrics.clone());
    disk.make_room(5);
    lines.queue.write(Bytes::from_static(b"record 0000")).unwrap();
    lines.queue.settle().unwrap();
    disk.make_room(1 << 20);
    hand_over(&lines, 1..3);
    assert_eq!(disk.lines(), ["recor", "record 0001", "record 0002"]);
    assert_eq!((metrics.written.get(), metrics.dropped.get()), (2, 1));
    lines.finish().unwrap();
}

#[test]
fn lines_are_dropped_without_a_try_until_the_pause_is_over() {
    let (disk, metrics) = (Disk::new(true), metrics());
    let lines = Lines::start(disk.clone(), WhenFailed::Drop, Duration::MAX, metrics.clone());
    let lines = lines.unwrap();
    hand_over(&lines, 0..1);
    disk.make_room(1 << 20);
    hand_over(&lines, 1..10);
    assert_eq!((metrics.written.get(), metrics.dropped.get()), (0, 10));
    lines.finish().unwrap();
}

#[test]
fn a_torn_line_is_cut_off_a_file_unless_another_has_written_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forecasts.jsonl");
    std::fs::write(&path, "whole\ntor").unwrap();
    let mut target = Target::append(&path).unwrap();
    assert!(target.is_torn());
    assert!(!target.cut(b"else"));
    assert!(!target.cut(&[b'x'; 100]), "longer than the file");
    assert!(target.cut(b"tor"));
    assert!(!target.is_torn());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "whole\n");
}
