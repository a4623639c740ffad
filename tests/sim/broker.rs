//! A broker in memory: an input with a group, an output, and a changelog per partition; with
//! transactions, and with members that are expelled without a word.
//!
//! Partition P holds the ticks of symbol P, tick N at offset N.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tickcast::adapters::kafka::{
    Answer, Batch, Changelog, Cluster, Epoch, Look, Point, Reading, SessionError, StateRecord, Turn,
};
use tickcast::core::domain::NamedRejection;
use tickcast::engine::pipeline::StoredState;
use tickcast::intake::Record;
use tickcast::ops::supervise::Pulse;
use tickcast::ports::sink::{Outgoing, Sink, SinkClosed};

use crate::model::{RECORDED, SYMBOLS, member, models, tick_of};
use crate::oracle::{Kind, Outlet, Published};

/// How many records of a changelog come between two compactions.
const COMPACTED_EVERY: i64 = 2;

/// A transaction, by its number.
type Transaction = u64;

/// Whether readers of committed records see a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open(Transaction),
    Committed,
    Aborted,
}

/// A record of a changelog.
#[derive(Clone, Debug)]
struct Stored {
    /// The model and the symbol.
    key: String,
    bytes: Option<Vec<u8>>,
    point: Option<Point>,
    fate: Fate,
}

/// A partition of a changelog: the records that compaction has left, by offset.
#[derive(Clone, Debug, Default)]
struct StatePartition {
    records: BTreeMap<i64, Stored>,
    end: i64,
}

/// What a new owner of a partition finds in its changelog.
pub(crate) struct States {
    pub(crate) stored: Vec<StateRecord>,
    pub(crate) end: i64,
    pub(crate) passed_over: u64,
}

/// Cloning shares it.
#[derive(Clone)]
pub(crate) struct Broker(Arc<Mutex<Topics>>);

pub(crate) struct Topics {
    pub(crate) exactly_once: bool,
    /// Which member of the group reads each partition.
    pub(crate) owners: Vec<Option<usize>>,
    pub(crate) committed: Vec<Option<Point>>,
    output: Vec<(Published, Fate)>,
    changelog: Vec<StatePartition>,
    /// Whether the changelog is compacted now and then.
    compacts: bool,
    /// Owners of partitions so far.
    epochs: u64,
    transactions: Transaction,
    /// Those that were aborted: their producers are gone, or fenced off.
    aborted: HashSet<Transaction>,
    /// The next answer to a commit is lost, or says to ask again.
    pub(crate) answer_lost: bool,
    pub(crate) asks_again: bool,
    pub(crate) violation: Option<String>,
    /// A state of `now` was taken over by `next`, which had none of its own.
    pub(crate) has_adopted: bool,
    /// The versions whose every forecast has to be out, each with the key of its states.
    pub(crate) versions: Vec<(&'static str, Option<&'static str>)>,
}

/// A record on its way to the broker.
enum Sent {
    Output(Published),
    State { partition: usize, state: Stored },
}

/// A record on its way, with what its acknowledgment counts for and the turn that it is sent with.
struct OfTurn {
    batch: Batch,
    turn: Turn,
    sent: Sent,
}

/// A commit that was asked for: with a turn, of its transaction.
struct Asked {
    turn: Option<Turn>,
    covered: Vec<Reading>,
    /// Whether it was looked at before, so that it may be decided.
    is_due: bool,
}

/// The producers of one session; cloning shares them.
#[derive(Clone)]
pub(crate) struct Producer(Arc<Mutex<OnTheWay>>);

struct OnTheWay {
    member: usize,
    records: VecDeque<OfTurn>,
    /// The open transaction of each turn.
    transactions: [Transaction; 2],
    /// Whether a forecast of it may be in front of one of the transaction before it.
    overtakes: [bool; 2],
    failure: Option<String>,
}

/// What one session does at the broker.
pub(crate) struct Session {
    pub(crate) broker: Broker,
    pub(crate) producer: Producer,
    pub(crate) member: usize,
    asked: RefCell<Option<Asked>>,
}

/// An end of the producer, as each shard has it.
#[derive(Clone)]
struct BrokerSink {
    producer: Producer,
    outlet: Outlet,
    turn: Turn,
    /// Each turn has a producer of its own, and there is no order between the two.
    has_two: bool,
}

impl Topics {
    /// The ticks of a symbol that are out, of a version, or of those that were live.
    fn is_in_output(
        &self,
        symbol: &str,
        version: Option<&str>,
        transaction: Option<Transaction>,
    ) -> HashSet<i64> {
        let seen = |fate: &Fate| match fate {
            Fate::Committed => true,
            Fate::Open(open) => Some(*open) == transaction,
            Fate::Aborted => false,
        };
        let of_symbol = self.output.iter().filter(|(published, fate)| {
            let bytes = &published.bytes;
            let is_of = match version {
                Some(version) => {
                    published.kind != Kind::Score && member(bytes, "model_version") == version
                }
                None => published.kind == Kind::Live,
            };
            is_of && seen(fate) && member(bytes, "symbol") == symbol
        });
        of_symbol.map(|(published, _)| tick_of(member(&published.bytes, "as_of"))).collect()
    }

    /// I5: nothing is committed beyond work that is acknowledged and stored.
    fn judge_commit(&mut self, covered: &[Reading], transaction: Option<Transaction>) {
        for reading in covered {
            let partition = reading.id.0 as usize;
            let symbol = SYMBOLS[partition];
            let versions = self.versions.clone();
            let said = models().said("1", tickcast::engine::model::manifest::Mode::Full);
            let due = said.expect("version 1 is known").forecasts.keys();
            let due = due.filter(|(name, tick)| name == symbol && *tick < reading.next);
            let due: Vec<_> = due.map(|(_, tick)| *tick).collect();
            let complete = versions.iter().filter(|(version, _)| !version.is_empty());
            for version in complete.map(|(version, _)| Some(*version)).chain([None]) {
                let found = self.is_in_output(symbol, version, transaction);
                if let Some(tick) = due.iter().find(|tick| !found.contains(tick)) {
                    self.violation.get_or_insert_with(|| {
                        let what = format!("{tick} of version {version:?} is not out");
                        format!("I5: {symbol} is committed to {}, and {what}", reading.next)
                    });
                }
            }
            let changelog = self.changelog_of(partition, transaction);
            let states: Vec<_> = changelog.into_states().collect();
            for (_, entry) in versions {
                let key = entry.map_or_else(|| symbol.to_owned(), |of| format!("{of}\t{symbol}"));
                let newest = states.iter().find(|state| state.key == key);
                let reaches = newest.and_then(|state| state.point).map_or(0, |point| point.next);
                let needed = reading.position().reads_from();
                if reaches < needed {
                    self.violation.get_or_insert_with(|| {
                        format!(
                            "I5: {key:?} is read on from {needed}, and its state is of {reaches}"
                        )
                    });
                }
            }
        }
    }

    /// The states of a partition, as a reader of committed records finds them, or the owner of a
    /// transaction.
    fn changelog_of(&self, partition: usize, transaction: Option<Transaction>) -> Changelog {
        let seen = |fate: Fate| {
            fate == Fate::Committed || transaction.is_some_and(|open| fate == Fate::Open(open))
        };
        let mut changelog = Changelog::default();
        for (at, record) in &self.changelog[partition].records {
            if seen(record.fate) {
                let bytes = record.bytes.clone().map(Into::into);
                changelog.take(*at, &record.key, bytes, record.point);
            }
        }
        changelog
    }

    /// Writes a record behind all others. Compaction leaves the last one of each key.
    fn append(&mut self, partition: usize, record: Stored) {
        let StatePartition { records, end } = &mut self.changelog[partition];
        records.insert(*end, record);
        *end += 1;
        if self.compacts && *end % COMPACTED_EVERY == 0 {
            let committed = records.iter().filter(|(_, of)| of.fate == Fate::Committed);
            let last: BTreeMap<_, _> = committed.map(|(at, of)| (of.key.clone(), *at)).collect();
            records.retain(|at, of| of.fate != Fate::Committed || last[&of.key] == *at);
        }
    }

    fn decide(&mut self, transaction: Transaction, fate: Fate) {
        if fate == Fate::Aborted {
            self.aborted.insert(transaction);
        }
        let output = self.output.iter_mut().map(|(_, fate)| fate);
        let states = self.changelog.iter_mut().flat_map(|of| of.records.values_mut());
        let states = states.map(|state| &mut state.fate);
        output.chain(states).filter(|of| **of == Fate::Open(transaction)).for_each(|of| *of = fate);
    }

    fn commit(&mut self, covered: &[Reading]) {
        for reading in covered {
            self.committed[reading.id.0 as usize] = Some(reading.position());
        }
    }

    fn owns(&self, member: usize, covered: &[Reading]) -> bool {
        covered.iter().all(|reading| self.owners[reading.id.0 as usize] == Some(member))
    }
}

impl Broker {
    pub(crate) fn new(
        exactly_once: bool,
        compacts: bool,
        versions: Vec<(&'static str, Option<&'static str>)>,
    ) -> Self {
        let count = SYMBOLS.len();
        Self(Arc::new(Mutex::new(Topics {
            exactly_once,
            owners: vec![None; count],
            committed: vec![None; count],
            output: Vec::new(),
            changelog: vec![StatePartition::default(); count],
            compacts,
            epochs: 0,
            transactions: 0,
            aborted: HashSet::new(),
            answer_lost: false,
            asks_again: false,
            violation: None,
            has_adopted: false,
            versions,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Topics> {
        self.0.lock().expect("a run has one thread")
    }

    /// A session's producers, with a transaction for each turn.
    pub(crate) fn producer(&self, member: usize) -> Producer {
        let transactions = [self.next_transaction(), self.next_transaction()];
        Producer(Arc::new(Mutex::new(OnTheWay {
            member,
            records: VecDeque::new(),
            transactions,
            overtakes: [false; 2],
            failure: None,
        })))
    }

    fn next_transaction(&self) -> Transaction {
        let mut topics = self.lock();
        topics.transactions += 1;
        topics.transactions
    }

    /// What readers of committed records find in a changelog. Transactions that are open there are
    /// ended first: their producers are gone, or fenced off.
    pub(crate) fn states(&self, partition: usize) -> States {
        let mut topics = self.lock();
        let open: Vec<_> = topics.changelog[partition]
            .records
            .values()
            .filter_map(|state| match state.fate {
                Fate::Open(transaction) => Some(transaction),
                _ => None,
            })
            .collect();
        open.into_iter().for_each(|transaction| topics.decide(transaction, Fate::Aborted));
        let changelog = topics.changelog_of(partition, None);
        let (end, passed_over) = (topics.changelog[partition].end, changelog.passed_over());
        let mut stored: Vec<_> = changelog.into_states().collect();
        stored.sort_by(|one, other| one.key.cmp(&other.key));
        States { stored, end, passed_over }
    }

    /// The epoch of an owner that begins with this end of the changelog.
    pub(crate) fn epoch_from(&self, end: i64) -> Epoch {
        let mut topics = self.lock();
        topics.epochs += 1;
        Epoch { since: end, number: topics.epochs }
    }

    /// Everything that readers of committed records find in the output.
    pub(crate) fn output(&self) -> Vec<Published> {
        let topics = self.lock();
        let committed = topics.output.iter().filter(|(_, fate)| *fate == Fate::Committed);
        committed.map(|(published, _)| published.clone()).collect()
    }

    pub(crate) fn is_all_committed(&self) -> bool {
        let reached = |point: &Option<Point>| point.is_some_and(|point| point.next == RECORDED);
        self.lock().committed.iter().all(reached)
    }
}

impl Producer {
    fn lock(&self) -> MutexGuard<'_, OnTheWay> {
        self.0.lock().expect("a run has one thread")
    }

    pub(crate) fn sink(&self, outlet: &Outlet, exactly_once: bool) -> Box<dyn Sink> {
        let (producer, outlet) = (self.clone(), outlet.clone());
        let (turn, has_two) = (Turn::default(), exactly_once);
        Box::new(BrokerSink { producer, outlet, turn, has_two })
    }

    pub(crate) fn fail(&self) {
        self.lock().failure.get_or_insert_with(|| "a record was refused".to_owned());
    }

    /// How many records the broker has not got yet.
    pub(crate) fn on_the_way(&self) -> usize {
        self.lock().records.len()
    }

    /// The broker takes so many records, and acknowledges them. Each topic keeps its order, and
    /// either may be faster.
    pub(crate) fn arrive(&self, broker: &Broker, count: usize, states_first: bool) {
        let mut on_the_way = self.lock();
        let mut topics = broker.lock();
        for _ in 0..count.min(on_the_way.records.len()) {
            let is_wanted = |of: &OfTurn| (of.batch == Batch::States) == states_first;
            let at = on_the_way.records.iter().position(is_wanted).unwrap_or(0);
            let Some(OfTurn { turn, sent, .. }) = on_the_way.records.remove(at) else { break };
            let fate = match topics.exactly_once {
                true => Fate::Open(on_the_way.transactions[index(turn)]),
                false => Fate::Committed,
            };
            match sent {
                Sent::Output(published) => topics.output.push((published, fate)),
                Sent::State { partition, state } => {
                    topics.append(partition, Stored { fate, ..state });
                }
            }
        }
    }

    /// The session ends: what is open is aborted, at once or by its timeout.
    pub(crate) fn end(&self, broker: &Broker) {
        let transactions = self.lock().transactions;
        let mut topics = broker.lock();
        transactions.into_iter().for_each(|open| topics.decide(open, Fate::Aborted));
    }
}

fn index(turn: Turn) -> usize {
    usize::from(turn == Turn::Odd)
}

impl Session {
    pub(crate) fn new(broker: Broker, producer: Producer, member: usize) -> Self {
        Self { broker, producer, member, asked: RefCell::new(None) }
    }

    /// Begins again with other producers. Nothing answers what was asked for before.
    pub(crate) fn begin_again(&mut self) {
        self.producer = self.broker.producer(self.member);
        self.asked = RefCell::new(None);
    }

    fn ask(&self, turn: Option<Turn>, covered: &[Reading]) -> Result<(), SessionError> {
        let asked = Asked { turn, covered: covered.to_vec(), is_due: false };
        *self.asked.borrow_mut() = Some(asked);
        Ok(())
    }

    fn decide_offsets(&self, covered: &[Reading]) -> Result<Answer, SessionError> {
        let mut topics = self.broker.lock();
        if std::mem::take(&mut topics.asks_again) {
            return Ok(Answer::AskAgain);
        }
        if !topics.owns(self.member, covered) {
            return Err(SessionError::Retry("the group has another generation".to_owned()));
        }
        topics.judge_commit(covered, None);
        topics.commit(covered);
        if std::mem::take(&mut topics.answer_lost) {
            return Err(SessionError::Retry("no answer to a commit".to_owned()));
        }
        Ok(Answer::Committed)
    }

    fn decide_transaction(&self, turn: Turn, covered: &[Reading]) -> Result<Answer, SessionError> {
        let mut on_the_way = self.producer.lock();
        let mut topics = self.broker.lock();
        if on_the_way.records.iter().any(|of| of.turn == turn) {
            let what = "a transaction is committed whose records are not acknowledged".to_owned();
            topics.violation.get_or_insert(what);
        }
        let transaction = on_the_way.transactions[index(turn)];
        // One of records that are read again may hold offsets alone.
        if !topics.owns(self.member, covered) || topics.aborted.contains(&transaction) {
            return Err(SessionError::Retry("the producer is fenced off".to_owned()));
        }
        if std::mem::take(&mut on_the_way.overtakes[index(turn)]) {
            let what = "a forecast of a transaction may have overtaken one of the one before it";
            topics.violation.get_or_insert_with(|| what.to_owned());
        }
        topics.judge_commit(covered, Some(transaction));
        topics.decide(transaction, Fate::Committed);
        topics.commit(covered);
        let lost = std::mem::take(&mut topics.answer_lost);
        drop(topics);
        on_the_way.transactions[index(turn)] = self.broker.next_transaction();
        match lost {
            true => Err(SessionError::Retry("no answer to a commit".to_owned())),
            false => Ok(Answer::Committed),
        }
    }
}

impl Cluster for Session {
    fn is_settled(&self, batch: Batch) -> Result<bool, SessionError> {
        let on_the_way = self.producer.lock();
        match &on_the_way.failure {
            Some(failure) => Err(SessionError::Retry(failure.clone())),
            None => Ok(!on_the_way.records.iter().any(|of| of.batch == batch)),
        }
    }

    fn store(&self, turn: Turn, state: &StoredState, point: Option<Point>) {
        let Some(partition) = state.partition else { return };
        let (key, bytes) = (state.key().into_owned(), state.bytes.clone());
        let stored = Stored { key, bytes, point, fate: Fate::Aborted };
        let sent = Sent::State { partition: partition.0 as usize, state: stored };
        let of_turn = OfTurn { batch: Batch::States, turn, sent };
        self.producer.lock().records.push_back(of_turn);
    }

    fn is_over(&self, _: Look) -> bool {
        true
    }

    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    fn commit(&self, covered: &[Reading]) -> Result<(), SessionError> {
        self.ask(None, covered)
    }

    fn commit_transaction(&self, turn: Turn, covered: &[Reading]) -> Result<(), SessionError> {
        self.ask(Some(turn), covered)
    }

    /// The second time that it is asked: in between, the shards and the broker go on.
    fn answer(&self) -> Result<Option<Answer>, SessionError> {
        let mut asked = self.asked.borrow_mut();
        let Some(Asked { turn, covered, is_due }) = asked.as_mut() else { return Ok(None) };
        if !std::mem::replace(is_due, true) {
            return Ok(None);
        }
        let answer = match turn {
            None => self.decide_offsets(covered),
            Some(turn) => self.decide_transaction(*turn, covered),
        };
        *asked = None;
        answer.map(Some)
    }
}

impl BrokerSink {
    fn send(&mut self, kind: Kind, record: &Outgoing<'_>) {
        let published = Published { kind, bytes: record.bytes.to_vec() };
        let (turn, batch) = (self.turn, Batch::Published(self.turn));
        let mut on_the_way = self.producer.lock();
        let has_another = |of: &OfTurn| of.batch == Batch::Published(turn.other());
        if self.has_two && on_the_way.records.iter().any(has_another) {
            on_the_way.overtakes[index(turn)] = true;
        }
        let of_turn = OfTurn { batch, turn, sent: Sent::Output(published) };
        on_the_way.records.push_back(of_turn);
    }
}

impl Sink for BrokerSink {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.outlet.lock().forecast(Kind::Live, forecast.symbol.as_str(), forecast.bytes);
        self.send(Kind::Live, forecast);
        Ok(())
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.outlet.lock().forecast(Kind::Shadow, forecast.symbol.as_str(), forecast.bytes);
        self.send(Kind::Shadow, forecast);
        Ok(())
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.outlet.lock().score(score.bytes);
        self.send(Kind::Score, score);
        Ok(())
    }

    fn settle(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn dead_letter(&mut self, _: &Record, _: NamedRejection<'_>, _: &Pulse) {}

    fn turn(&mut self) {
        self.turn = self.turn.other();
    }
}

impl OnTheWay {
    #[expect(dead_code, reason = "for a trace by hand")]
    fn name(&self) -> String {
        format!("member {} in transactions {:?}", self.member, self.transactions)
    }
}
