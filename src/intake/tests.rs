//! Tests of the queue through both of its ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;

use super::*;
use crate::core::domain::{DurationNanos, PartitionId, Position, UnixNanos};
use crate::core::history::{Origin, Seam};
use crate::ops::clock::Stopwatch;

/// What stands for a command: where its answer goes.
type Answer = Sender<()>;

fn metrics() -> IntakeMetrics {
    IntakeMetrics::register(&Registry::new()).unwrap()
}

fn limits(records_max: usize, when_full: WhenFull) -> IntakeLimits {
    IntakeLimits { records_max, bytes_max: 1000, record_bytes_max: 100, when_full }
}

fn record(index: u8) -> Bytes {
    Bytes::copy_from_slice(&[index])
}

/// What came out: the first byte and the length of each record, `None` for a gap.
fn seen(batch: &[Arrival<Answer>]) -> Vec<Option<(u8, usize)>> {
    let see = |arrival: &Arrival<Answer>| match arrival {
        Arrival::Record(record) => Some((record.bytes[0], record.bytes.len())),
        Arrival::Gap => None,
        Arrival::Command(_) => panic!("no command was sent"),
    };
    batch.iter().map(see).collect()
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_and_tells_the_gap() {
    let metrics = metrics();
    let (sender, receiver) = intake::<Answer>(limits(2, WhenFull::DropOldest), metrics.clone());
    for index in 0..5 {
        sender.record(record(index), None).await.unwrap();
    }
    let mut batch = Vec::new();
    assert!(receiver.drain(&mut batch, 10));
    assert_eq!(seen(&batch), [None, Some((3, 1)), Some((4, 1))]);
    assert_eq!((metrics.received.get(), metrics.dropped.get()), (5, 3));
    assert_eq!((metrics.waiting.get(), metrics.gaps.get()), (0, 1));
}

#[tokio::test]
async fn block_waits_for_room_and_loses_nothing() {
    let metrics = metrics();
    let (sender, receiver) = intake::<Answer>(limits(2, WhenFull::Block), metrics.clone());
    let taker = std::thread::spawn(move || {
        let mut batch = Vec::new();
        while receiver.drain(&mut batch, 3) {}
        batch
    });
    for index in 0..100 {
        sender.record(record(index), None).await.unwrap();
    }
    drop(sender);
    let batch = taker.join().unwrap();
    assert_eq!(seen(&batch), (0..100).map(|index| Some((index, 1))).collect::<Vec<_>>());
    assert_eq!((metrics.received.get(), metrics.dropped.get()), (100, 0));
}

#[tokio::test]
async fn bytes_are_bounded_and_long_records_are_cut() {
    let metrics = metrics();
    let (sender, receiver) = intake::<Answer>(limits(1000, WhenFull::DropOldest), metrics.clone());
    for _ in 0..20 {
        sender.record(Bytes::from(vec![b'x'; 5000]), None).await.unwrap();
    }
    let mut batch = Vec::new();
    receiver.drain(&mut batch, 1000);
    assert_eq!(batch.len(), 1 + 9, "a gap and nine records of 101 bytes");
    assert_eq!(seen(&batch)[1], Some((b'x', 101)));
    assert_eq!(metrics.received_and_dropped(), (20, 11));
}

#[tokio::test]
async fn a_closed_queue_is_drained_and_takes_nothing_more() {
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::Block), metrics());
    sender.record(record(1), None).await.unwrap();
    sender.last(Record { bytes: record(2), ..Record::default() });
    sender.closer().close();
    assert_eq!(sender.record(record(3), None).await, Err(IntakeClosed));
    let mut batch = Vec::new();
    assert!(!receiver.drain(&mut batch, 10));
    assert_eq!(seen(&batch), [Some((1, 1)), Some((2, 1))]);
}

#[tokio::test]
async fn a_dropped_gap_is_still_a_gap() {
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::DropOldest), metrics());
    sender.gap().await.unwrap();
    sender.record(record(1), None).await.unwrap();
    let mut batch = Vec::new();
    receiver.drain(&mut batch, 10);
    assert_eq!(seen(&batch), [None, Some((1, 1))]);
}

#[tokio::test]
async fn both_ends_notice_that_the_other_is_gone() {
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::Block), metrics());
    sender.record(record(1), None).await.unwrap();
    drop(receiver);
    assert_eq!(sender.record(record(2), None).await, Err(IntakeClosed));
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::Block), metrics());
    drop(sender);
    assert!(!receiver.drain(&mut Vec::new(), 1));
}

#[tokio::test]
async fn a_command_is_never_dropped_and_the_gap_stands_in_front_of_it() {
    let metrics = metrics();
    let (sender, receiver) = intake::<Answer>(limits(2, WhenFull::DropOldest), metrics.clone());
    let (answer, answered) = std::sync::mpsc::channel();
    for index in 0..2 {
        sender.record(record(index), None).await.unwrap();
        sender.commander().command(answer.clone()).unwrap();
    }
    sender.record(record(2), None).await.unwrap();
    let mut batch = Vec::new();
    receiver.drain(&mut batch, 10);
    let kinds: Vec<_> = batch
        .iter()
        .map(|arrival| match arrival {
            Arrival::Record(record) => record.bytes[0].to_string(),
            Arrival::Gap => "gap".to_owned(),
            Arrival::Command(_) => "command".to_owned(),
        })
        .collect();
    assert_eq!(kinds, ["gap", "command", "command", "2"]);
    assert_eq!((metrics.received.get(), metrics.dropped.get()), (3, 2));
    assert_eq!((metrics.waiting.get(), metrics.gaps.get()), (0, 1));
    // One that nobody will take is answered by its end.
    sender.command(answer).unwrap();
    drop((batch, receiver));
    assert!(answered.recv().is_err());
}

#[test]
fn a_thread_without_a_runtime_waits_for_room_and_gets_its_record_back() {
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::Block), metrics());
    let position = |offset| Some(Position { partition: PartitionId(0), offset });
    let with = |offset| Record {
        bytes: record(offset as u8),
        position: position(offset),
        ..Record::default()
    };
    assert_eq!(sender.record_within(with(1), Duration::ZERO), Ok(None));
    let back = sender.record_within(with(2), Duration::from_millis(1)).unwrap();
    assert_eq!(back, Some(with(2)));
    let taker = std::thread::spawn(move || {
        let mut batch = Vec::new();
        while receiver.drain(&mut batch, 1) {}
        batch
    });
    assert_eq!(sender.record_within(with(2), Duration::from_secs(60)), Ok(None));
    // Commands go beyond the limit.
    let (answer, answered) = std::sync::mpsc::channel();
    sender.command(answer).unwrap();
    drop(sender);
    let batch = taker.join().unwrap();
    let [Arrival::Record(first), Arrival::Record(second), Arrival::Command(_)] = &batch[..] else {
        panic!("{batch:?}")
    };
    assert_eq!((first.position, second.position), (position(1), position(2)));
    drop(batch);
    assert!(answered.recv().is_err(), "nobody answered");
}

#[tokio::test]
async fn bytes_that_were_taken_or_dropped_make_room_for_as_many_again() {
    let bounds =
        |when_full| IntakeLimits { records_max: 100, bytes_max: 10, ..limits(0, when_full) };
    let of = |count: usize| -> VecDeque<Record> {
        let record = Record { bytes: Bytes::from_static(&[7; 4]), ..Record::default() };
        std::iter::repeat_n(record, count).collect()
    };
    let (sender, receiver) = intake::<Answer>(bounds(WhenFull::Block), metrics());
    for round in 0..5 {
        let mut offered = of(5);
        sender.offer(&mut offered).unwrap();
        assert_eq!(offered.len(), 3, "10 bytes hold two records of 4, in round {round}");
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 10);
        assert_eq!(batch.len(), 2);
    }
    let metrics = metrics();
    let (sender, receiver) = intake::<Answer>(bounds(WhenFull::DropOldest), metrics.clone());
    for round in 1..5 {
        sender.offer(&mut of(5)).unwrap();
        assert_eq!(metrics.waiting.get(), 2, "as many as fit stay, in round {round}");
        assert_eq!(metrics.dropped.get(), 3 * round);
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 10);
        assert_eq!(batch.len(), 3, "a gap and two records");
    }
}

#[tokio::test]
async fn the_arrival_of_a_batch_is_none_of_an_earlier_batch() {
    let (sender, receiver) = intake::<Answer>(limits(200, WhenFull::Block), metrics());
    let mut batch = Vec::new();
    for count in [1, 3, 150, 1, 70] {
        let before = Stopwatch::start();
        for _ in 0..count {
            sender.record(record(1), None).await.unwrap();
        }
        receiver.drain(&mut batch, 200);
        let arrived = receiver.arrived().expect("the first entry after a batch is stamped");
        assert!(arrived.elapsed() <= before.elapsed(), "older than its batch of {count}");
        // The next batch must be younger by something that a clock can show.
        while before.elapsed() < Duration::from_millis(2) {}
    }
    // Dropped entries take their stamps with them.
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::DropOldest), metrics());
    sender.record(record(1), None).await.unwrap();
    let before = Stopwatch::start();
    while before.elapsed() < Duration::from_millis(2) {}
    let later = Stopwatch::start();
    for _ in 0..65 {
        sender.record(record(2), None).await.unwrap();
    }
    receiver.drain(&mut batch, 10);
    assert!(receiver.arrived().is_none_or(|arrived| arrived.elapsed() <= later.elapsed()));
}

#[test]
fn history_waits_for_room_whatever_the_policy_and_was_received_at_no_time() {
    let (sender, receiver) = intake::<Answer>(limits(1, WhenFull::DropOldest), metrics());
    let now = UnixNanos::from_nanos(7);
    let sender = sender.live_by(Arc::new(move || Some(now)));
    let seam = Seam { is_joined: false, covers: DurationNanos::ZERO };
    let (origin, trade_id) = (Origin::History(seam), Some(5));
    let row = |index| Record { bytes: record(index), origin, trade_id, ..Record::default() };
    let mut offered = VecDeque::from([row(1), row(2)]);
    let mut batch = Vec::new();
    for left in [1, 0] {
        sender.offer(&mut offered).unwrap();
        assert_eq!(offered.len(), left);
        receiver.drain(&mut batch, 10);
    }
    let live = Record { origin: Origin::Live, late: true, after_gap: true, ..row(3) };
    sender.offer(&mut VecDeque::from([live.clone()])).unwrap();
    receiver.drain(&mut batch, 10);
    let records = batch.into_iter().map(|arrival| match arrival {
        Arrival::Record(record) => record,
        other => panic!("{other:?}"),
    });
    let live = Record { received: Some(now), ..live };
    assert_eq!(records.collect::<Vec<_>>(), [row(1), row(2), live]);
}

#[test]
fn what_is_offered_to_the_callers_own_thread_wakes_no_other() {
    let (sender, receiver) = intake::<Answer>(limits(3, WhenFull::Block), metrics());
    let of = |indexes: &[u8]| -> VecDeque<Record> {
        let make = |index: &u8| Record { bytes: record(*index), ..Record::default() };
        indexes.iter().map(make).collect()
    };
    assert_eq!(sender.offer_here(&mut of(&[1, 2])), Ok(true));
    assert_eq!(sender.offer_here(&mut of(&[3])), Ok(false), "others wait before it");
    let mut offered = of(&[4]);
    assert_eq!(sender.offer_here(&mut offered), Ok(false), "there is no room");
    assert_eq!(offered.len(), 1);
    let mut batch = Vec::new();
    receiver.drain(&mut batch, 10);
    assert_eq!(seen(&batch), [Some((1, 1)), Some((2, 1)), Some((3, 1))]);
    drop(receiver);
    assert_eq!(sender.offer_here(&mut of(&[5])), Err(IntakeClosed));
}

#[test]
fn a_bell_wakes_its_thread_for_entries_for_a_call_and_at_the_end() {
    let (sender, receiver) = intake::<Answer>(limits(10, WhenFull::Block), metrics());
    let bell = receiver.bell();
    // What rings before the sleep is not missed.
    bell.ring();
    bell.sleep(None);
    bell.sleep(Some(Duration::from_millis(1)));
    let (taken, takes) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        loop {
            bell.sleep(None);
            let mut batch = Vec::new();
            let is_open = receiver.drain_within(&mut batch, 10, Some(Duration::ZERO));
            taken.send(batch.len()).unwrap();
            if !is_open {
                break;
            }
        }
    });
    let wait_for = |mut count: usize| {
        while count > 0 {
            count -= takes.recv().unwrap();
        }
    };
    sender.record_within(Record::default(), Duration::ZERO).unwrap();
    wait_for(1);
    // What is offered alone wakes no thread until the caller asks for it.
    let mut count = 1;
    let mut offered = VecDeque::from([Record::default()]);
    while !sender.offer_here(&mut offered).unwrap() {
        if offered.is_empty() {
            offered.push_back(Record::default());
            count += 1;
        }
    }
    sender.wake();
    wait_for(count);
    sender.closer().close();
    thread.join().unwrap();
    assert_eq!(takes.iter().sum::<usize>(), 0, "the end came without a record");
}
