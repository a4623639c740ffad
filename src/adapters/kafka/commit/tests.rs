//! Tests of the order of a commit, with a cluster that is asked and answers by hand. The shard is
//! its queue.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::TryRecvError;

use super::*;
use crate::adapters::kafka::partitions::PartitionTable;
use crate::adapters::kafka::start::Mark;
use crate::intake::{Arrival, IntakeReceiver};
use crate::shard::test_support::queue;

/// What is not acknowledged, what the cluster answers, and what it was asked.
#[derive(Default)]
struct Played {
    awaited: RefCell<Vec<Batch>>,
    answers: RefCell<VecDeque<Answer>>,
    asked: RefCell<Vec<String>>,
    /// Up to where each stored state is said to reach.
    stored_up_to: RefCell<Vec<i64>>,
}

impl Played {
    fn awaits(&self, batches: &[Batch]) {
        *self.awaited.borrow_mut() = batches.to_vec();
    }

    fn answers(&self, answer: Answer) {
        self.answers.borrow_mut().push_back(answer);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.borrow_mut())
    }

    fn ask(&self, what: String) {
        self.asked.borrow_mut().push(what);
    }
}

fn offsets(covered: &[Reading]) -> Vec<i64> {
    covered.iter().map(|reading| reading.next).collect()
}

impl Cluster for Played {
    fn is_settled(&self, batch: Batch) -> Result<bool, SessionError> {
        Ok(!self.awaited.borrow().contains(&batch))
    }

    fn store(&self, turn: Turn, state: &StoredState, point: Option<Point>) {
        self.stored_up_to.borrow_mut().extend(point.map(|point| point.next));
        self.ask(format!("store {} with {turn:?}", state.key()));
    }

    fn is_over(&self, _: Look) -> bool {
        true
    }

    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    fn commit(&self, covered: &[Reading]) -> Result<(), SessionError> {
        self.ask(format!("commit {:?}", offsets(covered)));
        Ok(())
    }

    fn commit_transaction(&self, turn: Turn, covered: &[Reading]) -> Result<(), SessionError> {
        self.ask(format!("commit {:?} with {turn:?}", offsets(covered)));
        Ok(())
    }

    fn answer(&self) -> Result<Option<Answer>, SessionError> {
        Ok(self.answers.borrow_mut().pop_front())
    }
}

/// A commit of a partition up to offset 7, and the line that its shard gets.
fn begun(delivery: Delivery, turn: Turn) -> (Commit, CommitLine, IntakeReceiver<Command>) {
    let table = PartitionTable::new([("ticks", 1)]);
    let id = PartitionId(0);
    let point = Point { next: 7, mark: Mark::default() };
    let reading = Reading::from(id, table.name(id).unwrap().clone(), point);
    let covers = Covers {
        positions: vec![reading],
        points: vec![(id, point)],
        look: Look::default(),
        takes: Takes::Changed,
    };
    let (shard, receiver) = queue(9);
    let commit = Commit::begin(delivery, &[shard], covers, turn).unwrap();
    let mut batch = Vec::new();
    receiver.drain(&mut batch, 1);
    let Some(Arrival::Command(Command::Commit(line))) = batch.pop() else {
        panic!("the shard gets a line")
    };
    (commit, line, receiver)
}

fn state() -> StoredState {
    let bytes = Some(b"state".to_vec());
    let partition = Some(PartitionId(0));
    StoredState { model: None, symbol: "A".into(), partition, offset: None, bytes }
}

/// One step that does not end the commit.
fn step(commit: Commit, cluster: &Played) -> Commit {
    match commit.step(cluster).unwrap() {
        Progress::UnderWay(commit) => commit,
        Progress::Done(..) => panic!("it is not over"),
    }
}

fn is_held(line: &CommitLine) -> bool {
    line.resume.as_ref().unwrap().try_recv() == Err(TryRecvError::Empty)
}

#[test]
fn shards_go_on_once_a_transaction_is_acknowledged_and_before_it_is_committed() {
    let turn = Turn::Odd;
    let all = [Batch::States, Batch::Published(turn)];
    let cluster = Played::default();
    cluster.awaits(&all);
    let (commit, line, _receiver) = begun(Delivery::ExactlyOnce, turn);
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), [""; 0], "the shard has not answered");
    line.answer.send(vec![state()]).unwrap();
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), ["store A with Odd"]);
    cluster.awaits(&all[1..]);
    let commit = step(commit, &cluster);
    assert!(is_held(&line), "the next forecast may overtake the last one");
    // What the shard publishes with the next turn does not matter to this one.
    cluster.awaits(&[Batch::States, Batch::Published(turn.other())]);
    let commit = step(commit, &cluster);
    assert!(!is_held(&line), "it goes on before states are acknowledged, and while it commits");
    assert_eq!(cluster.asked(), [""; 0], "the state is not part of what is committed");
    cluster.awaits(&[]);
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), ["commit [7] with Odd"]);
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), [""; 0], "it is asked once");
    cluster.answers(Answer::Committed);
    let Progress::Done(covered, _) = commit.step(&cluster).unwrap() else {
        panic!("there is an answer")
    };
    assert_eq!(offsets(&covered), [7]);
}

#[test]
fn offsets_are_asked_for_behind_the_states_and_again_where_the_coordinator_says_so() {
    let turn = Turn::Even;
    let cluster = Played::default();
    cluster.awaits(&[Batch::Published(turn)]);
    let (commit, line, _receiver) = begun(Delivery::AtLeastOnce, turn);
    assert!(line.resume.is_none(), "records go on flowing");
    line.answer.send(vec![state()]).unwrap();
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), [""; 0], "forecasts come before states");
    cluster.awaits(&[Batch::States]);
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), ["store A with Even"]);
    cluster.awaits(&[]);
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), ["commit [7]"]);
    cluster.answers(Answer::AskAgain);
    let commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), ["commit [7]"]);
    cluster.answers(Answer::Committed);
    assert!(matches!(commit.step(&cluster).unwrap(), Progress::Done(..)));
    assert_eq!(cluster.asked(), [""; 0]);
}

#[test]
fn records_are_read_between_two_parts_of_many_states() {
    let cluster = Played::default();
    let (mut commit, line, _receiver) = begun(Delivery::AtLeastOnce, Turn::Even);
    line.answer.send(vec![state(); 2 * STATES_AT_ONCE + 1]).unwrap();
    for stored in [STATES_AT_ONCE, STATES_AT_ONCE] {
        commit = step(commit, &cluster);
        assert_eq!(cluster.asked().len(), stored, "no more at once, and no commit");
        assert!(commit.has_more());
    }
    commit = step(commit, &cluster);
    assert_eq!(cluster.asked(), ["store A with Even", "commit [7]"]);
    assert!(!commit.has_more());
}

#[test]
fn a_state_is_marked_with_what_it_holds_and_with_what_was_read_at_least() {
    let cluster = Played::default();
    let (commit, line, _receiver) = begun(Delivery::AtLeastOnce, Turn::Even);
    // Offset 7 comes next. A state that was restored ahead of the reading holds records behind it.
    let newest = [None, Some(2), Some(6), Some(7), Some(11)];
    let states = newest.map(|offset| StoredState { offset, ..state() });
    line.answer.send(states.to_vec()).unwrap();
    step(commit, &cluster);
    assert_eq!(*cluster.stored_up_to.borrow(), [7, 7, 7, 8, 12]);
}
