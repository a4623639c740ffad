//! Tests of the way of states to a shard, which is its queue here and answers by hand.

use super::*;
use crate::intake::{Arrival, IntakeReceiver};
use crate::shard::test_support::queue;

type Answer = std::sync::mpsc::Sender<Result<Restored, InferenceError>>;

fn states(keys: impl IntoIterator<Item = String>) -> Vec<StateRecord> {
    let state = |key| StateRecord { key, bytes: Bytes::from_static(b"state"), at: 0, point: None };
    keys.into_iter().map(state).collect()
}

/// The keys that the shard is asked to restore, and where its answer goes.
fn asked(shard: &IntakeReceiver<Command>) -> Option<(PartitionId, Vec<String>, Answer)> {
    let mut batch = Vec::new();
    shard.drain_within(&mut batch, 1, Some(Duration::ZERO));
    let Arrival::Command(Command::Restore { partition, stored, answer }) = batch.pop()? else {
        panic!("nothing else is asked")
    };
    Some((partition, stored.into_iter().map(|(key, _)| key).collect(), answer))
}

#[test]
fn a_shard_restores_a_few_symbols_at_a_time_of_one_partition() {
    let (sender, shard) = queue(99);
    let names = (0..2 * SYMBOLS_AT_ONCE + 1).map(|number| format!("S{number:03}"));
    let mut first = Restoring::of(&states(names));
    let mut second = Restoring::of(&states(["T".to_owned()]));
    // As the session goes round: a partition that waits for the shard keeps it from the others.
    let mut step = || {
        let mut is_busy = false;
        let of = |restoring: &mut Restoring, id, is_busy: &mut bool| {
            restoring.step(&sender, PartitionId(id), is_busy).unwrap()
        };
        of(&mut first, 1, &mut is_busy) & of(&mut second, 2, &mut is_busy)
    };
    let mut seen = Vec::new();
    for wanted in [(1, SYMBOLS_AT_ONCE), (1, SYMBOLS_AT_ONCE), (1, 1), (2, 1)] {
        assert!(!step());
        let (partition, keys, answer) = asked(&shard).unwrap();
        assert_eq!((partition.0, keys.len()), wanted);
        assert!(!step(), "the shard has not answered");
        assert!(asked(&shard).is_none(), "it gets no more meanwhile");
        let cold = keys.first().cloned().into_iter().collect();
        let restored = Restored { symbol_count: keys.len(), cold, ..Restored::default() };
        seen.extend(keys);
        answer.send(Ok(restored)).unwrap();
    }
    assert!(step());
    assert_eq!(seen.len(), 2 * SYMBOLS_AT_ONCE + 2);
    assert!(seen.is_sorted());
    assert_eq!(first.restored.symbol_count, 2 * SYMBOLS_AT_ONCE + 1);
    assert_eq!(first.restored.cold, ["S000", "S064", "S128"]);
    assert_eq!(second.restored.symbol_count, 1);
}

#[test]
fn all_models_of_a_symbol_are_restored_together() {
    let (sender, shard) = queue(9);
    let of = |model: &str| {
        let names = (0..=SYMBOLS_AT_ONCE).map(|number| format!("{model}\tS{number:03}"));
        names.collect::<Vec<_>>()
    };
    let mut restoring = Restoring::of(&states([of("a"), of("b")].concat()));
    assert!(!restoring.step(&sender, PartitionId(0), &mut false).unwrap());
    let (_, keys, answer) = asked(&shard).unwrap();
    assert_eq!(keys.len(), 2 * SYMBOLS_AT_ONCE);
    answer.send(Ok(Restored::default())).unwrap();
    assert!(!restoring.step(&sender, PartitionId(0), &mut false).unwrap());
    assert_eq!(asked(&shard).unwrap().1, ["a\tS064", "b\tS064"]);
}
