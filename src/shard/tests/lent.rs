//! A shard that is lent to a source: who has the turn changes nothing but the thread.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use super::super::LentShard;
use super::*;
use crate::intake::Router;

/// A shard on a thread of its own, and what lends it.
struct Lent {
    intake: IntakeSender<Command>,
    shard: Arc<LentShard>,
    thread: thread::JoinHandle<Option<Result<Vec<EngineTally>, ShardError>>>,
    log: Log,
}

fn lend(trial: Trial) -> Lent {
    let Trial { intake, shard, log } = trial;
    let shard = Arc::new(LentShard::new(shard));
    let running = Arc::clone(&shard);
    let thread = thread::spawn(move || running.run());
    Lent { intake, shard, thread, log }
}

fn one_sink(log: &Log) -> Vec<MemorySink> {
    vec![MemorySink::new("only", log)]
}

#[test]
fn turns_of_two_threads_make_what_turns_of_one_make() {
    let Lent { intake, shard, thread, log } = lend(Trial::of(3, one_sink));
    let mut here = 0;
    let router = {
        let mut router = Router::new(vec![intake]);
        let lent = Arc::clone(&shard);
        router.lend(Some(Arc::new(move || lent.turn_here())));
        router
    };
    for minute in 0..400 {
        // Now and then more than the source takes itself, and a command for the shard's own thread.
        let symbols = if minute % 16 == 0 { ["A", "B", "C", "D", "E"].as_slice() } else { &["A"] };
        let mut records = symbols.iter().map(|symbol| record(symbol, minute)).collect();
        let before = log.forecasts("only").len();
        router.serve(&mut records).unwrap();
        assert!(records.is_empty());
        here += usize::from(symbols.len() == 1 && log.forecasts("only").len() == before + 1);
        if minute % 50 == 49 {
            let (answer, answers) = channel();
            router.commanders()[0]
                .command(Command::Sample { model: 0, count_max: 1, answer })
                .unwrap();
            answers.recv().unwrap();
        }
    }
    assert!(here > 0, "the source took turns");
    drop(router);
    let tallies = thread.join().unwrap().unwrap().unwrap();
    assert_eq!(only(tallies).ticks, 400 + 4 * 25);
    let of_a: Vec<_> =
        log.forecasts("only").into_iter().filter(|(symbol, _)| symbol == "A").collect();
    assert_eq!(of_a, expected(&sliding(), "A", 0..400));
    assert!(!shard.turn_here(), "it has ended");
}

#[test]
fn a_failure_in_a_lent_turn_ends_the_shard_with_it() {
    let trial = Trial::of(1000, |log| vec![MemorySink::new("closed", log).with_room(0)]);
    let Trial { intake, shard, .. } = trial;
    let shard = LentShard::new(shard);
    for minute in 0..UNFORECAST + 1 {
        intake.record_within(record("A", minute), Duration::ZERO).unwrap();
    }
    assert!(shard.turn_here());
    assert!(!shard.turn_here(), "it is not lent again");
    let outcome = shard.run().unwrap();
    assert!(matches!(outcome, Err(ShardError::Closed(SinkClosed("closed")))));
    let more = intake.record_within(record("A", 100), Duration::ZERO);
    assert!(more.is_err(), "nothing more is taken");
}

#[test]
fn a_shard_with_a_sink_that_may_wait_is_not_lent() {
    let sinks = |log: &Log| {
        vec![MemorySink::new("quick", log), MemorySink::new("file", log).that_may_wait()]
    };
    let Trial { intake, shard, .. } = Trial::of(1000, sinks);
    let shard = LentShard::new(shard);
    intake.record_within(record("A", 0), Duration::ZERO).unwrap();
    assert!(!shard.turn_here());
    drop(intake);
    assert_eq!(only(shard.run().unwrap().unwrap()).ticks, 1);
}

#[test]
fn a_shard_that_is_busy_or_held_up_is_not_lent() {
    let Trial { intake, shard, log } = Trial::of(1000, one_sink);
    let shard = LentShard::new(shard);
    let (resume, resumed) = channel();
    let (answer, answers) = channel();
    let line = CommitLine { answer, resume: Some(resumed), takes: Takes::Changed };
    intake.command(Command::Commit(line)).unwrap();
    assert!(shard.turn_here());
    answers.try_recv().unwrap();
    intake.record_within(record("A", 0), Duration::ZERO).unwrap();
    assert!(!shard.turn_here(), "a commit holds it up");
    drop((resume, intake));
    let tallies = shard.run().unwrap().unwrap();
    assert_eq!(only(tallies).ticks, 1);
    assert_eq!(words(&log.of("only")), ["turn"]);
}
