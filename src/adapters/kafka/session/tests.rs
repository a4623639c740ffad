//! Tests of what a session does with the queues of the shards, without a client but for those of
//! `on_a_mock`.

mod on_a_mock;

use std::sync::mpsc::channel;
use std::time::Duration;

use super::poll::hand_over;
use super::{clear, shard_of};
use crate::adapters::kafka::partitions::{Assigned, PartitionTable, Reading};
use crate::adapters::kafka::start::{Mark, Point};
use crate::adapters::kafka::{KafkaError, SessionError};
use crate::core::domain::{PartitionId, Position};
use crate::intake::{Arrival, IntakeClosed, IntakeReceiver, IntakeSender, Record};
use crate::shard::command::Command;
use crate::shard::test_support::{plain, queue};

/// Longer than any test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Partitions 0 to 2 of one topic, read from offset 10 on.
fn assigned() -> Assigned {
    let table = PartitionTable::new([("ticks", 3)]);
    let mut assigned = Assigned::default();
    for id in (0..3).map(PartitionId) {
        let point = Point { next: 10, mark: Mark::default() };
        let reading = Reading::from(id, table.name(id).unwrap().clone(), point);
        assigned.add(reading.with_committed(Some(point)));
    }
    assigned
}

fn record(partition: u32, offset: i64) -> Record {
    let position = Some(Position { partition: PartitionId(partition), offset });
    Record { position, ..plain(format!("{partition}/{offset}")) }
}

/// The offset of the record to come, by partition.
fn next(assigned: &Assigned) -> Vec<(u32, i64)> {
    assigned.iter().map(|reading| (reading.id.0, reading.next)).collect()
}

/// Everything that waits for a shard.
fn waiting(shard: &IntakeReceiver<Command>) -> Vec<Record> {
    let mut batch = Vec::new();
    while shard.has_more() {
        shard.drain(&mut batch, 10);
    }
    let record = |arrival| match arrival {
        Arrival::Record(record) => record,
        Arrival::Gap | Arrival::Command(_) => panic!("records only"),
    };
    batch.into_iter().map(record).collect()
}

fn queues(count: usize, room: usize) -> (Vec<IntakeSender<Command>>, Vec<IntakeReceiver<Command>>) {
    (0..count).map(|_| queue(room)).unzip()
}

fn is_gone(failure: &SessionError) -> bool {
    matches!(failure, SessionError::Final(KafkaError::EngineGone))
}

#[test]
fn a_record_goes_to_the_shard_of_its_partition_and_counts_as_read() {
    let ((shards, receivers), mut assigned) = (queues(2, 9), assigned());
    for (partition, offset) in [(0, 10), (1, 10), (2, 10), (0, 15)] {
        let record = record(partition, offset);
        let held = hand_over(&shards, &mut assigned, record, Duration::ZERO).unwrap();
        assert_eq!(held, None);
    }
    // Offsets may have holes; the next one follows the newest record.
    assert_eq!(next(&assigned), [(0, 16), (1, 11), (2, 11)]);
    assert_eq!(waiting(&receivers[0]), [record(0, 10), record(2, 10), record(0, 15)]);
    assert_eq!(waiting(&receivers[1]), [record(1, 10)]);
    assert!(std::ptr::eq(shard_of(&shards, PartitionId(5)).1, &raw const shards[1]));
}

#[test]
fn a_record_without_room_comes_back_and_does_not_count_as_read() {
    let ((shards, receivers), mut assigned) = (queues(1, 1), assigned());
    let mut offer = |record| hand_over(&shards, &mut assigned, record, Duration::ZERO).unwrap();
    assert_eq!(offer(record(0, 10)), None);
    let held = offer(record(1, 10));
    assert_eq!(held, Some(record(1, 10)));
    assert_eq!(offer(held.unwrap()), Some(record(1, 10)), "there is still no room");
    assert_eq!(next(&assigned), [(0, 11), (1, 10), (2, 10)]);
    let covered: Vec<_> = assigned.uncommitted().iter().map(|reading| reading.id.0).collect();
    assert_eq!(covered, [0], "a commit does not cover the record that is held");
    assert_eq!(waiting(&receivers[0]), [record(0, 10)]);
    let held = hand_over(&shards, &mut assigned, record(1, 10), Duration::ZERO).unwrap();
    assert_eq!((held, next(&assigned)), (None, vec![(0, 11), (1, 11), (2, 10)]));
    assert_eq!(waiting(&receivers[0]), [record(1, 10)]);
}

#[test]
fn a_record_waits_for_room_while_there_is_patience() {
    let ((shards, mut receivers), mut assigned) = (queues(1, 1), assigned());
    hand_over(&shards, &mut assigned, record(0, 10), PATIENCE).unwrap();
    let receiver = receivers.remove(0);
    let taker = std::thread::spawn(move || {
        let mut batch = Vec::new();
        while batch.len() < 2 {
            receiver.drain(&mut batch, 1);
        }
    });
    let held = hand_over(&shards, &mut assigned, record(0, 11), PATIENCE).unwrap();
    taker.join().unwrap();
    assert_eq!((held, next(&assigned)[0]), (None, (0, 12)));
}

#[test]
fn a_shard_that_is_gone_ends_the_source_for_good() {
    let ((shards, mut receivers), mut assigned) = (queues(2, 1), assigned());
    drop(receivers.remove(1));
    let gone = hand_over(&shards, &mut assigned, record(1, 10), PATIENCE).unwrap_err();
    assert!(is_gone(&gone), "{gone:?}");
    assert_eq!(next(&assigned), [(0, 10), (1, 10), (2, 10)], "it does not count as read");
    assert_eq!(hand_over(&shards, &mut assigned, record(0, 10), PATIENCE).unwrap(), None);
}

#[test]
fn a_partition_that_was_given_away_has_no_place() {
    let ((shards, receivers), mut assigned) = (queues(1, 9), assigned());
    assert!(assigned.place("ticks", 1, 10).is_some());
    assigned.remove(PartitionId(1)).unwrap();
    assert_eq!(assigned.place("ticks", 1, 11), None);
    // What has no place is not handed over, and moves no other partition.
    let nowhere = Record { position: None, ..record(1, 11) };
    assert_eq!(hand_over(&shards, &mut assigned, nowhere, Duration::ZERO).unwrap(), None);
    assert_eq!(waiting(&receivers[0]), []);
    assert_eq!(next(&assigned), [(0, 10), (2, 10)]);
}

#[test]
fn clear_needs_the_answer_of_every_shard() {
    for silent in [None, Some(0), Some(1), Some(2)] {
        let (shards, receivers) = queues(3, 1);
        let played: Vec<_> = (0..)
            .zip(receivers)
            .map(|(index, receiver)| {
                std::thread::spawn(move || {
                    let mut batch = Vec::new();
                    receiver.drain(&mut batch, 1);
                    let Some(Arrival::Command(Command::Clear { answer })) = batch.pop() else {
                        panic!("nothing else is asked");
                    };
                    // A shard that ends now has not forgotten anything.
                    if silent != Some(index) {
                        answer.send(()).unwrap();
                    }
                })
            })
            .collect();
        let expected = if silent.is_some() { Err(IntakeClosed) } else { Ok(()) };
        assert_eq!(clear(&shards, || {}), expected, "{silent:?}");
        played.into_iter().for_each(|shard| shard.join().unwrap());
    }
}

#[test]
fn clear_waits_for_a_shard_that_has_much_to_do() {
    let (shards, mut receivers) = queues(1, 1);
    let receiver = receivers.remove(0);
    let (waits, waited) = channel();
    let shard = std::thread::spawn(move || {
        let mut batch = Vec::new();
        receiver.drain(&mut batch, 1);
        let Some(Arrival::Command(Command::Clear { answer })) = batch.pop() else {
            panic!("nothing else is asked");
        };
        // It is busy until the one who asked has waited for a while.
        waited.recv_timeout(PATIENCE).unwrap();
        answer.send(()).unwrap();
    });
    assert_eq!(clear(&shards, || waits.send(()).unwrap_or_default()), Ok(()));
    shard.join().unwrap();
}

#[test]
fn clear_says_when_a_shard_is_gone() {
    let (shards, mut receivers) = queues(2, 1);
    receivers.pop();
    assert_eq!(clear(&shards, || {}), Err(IntakeClosed));
}
