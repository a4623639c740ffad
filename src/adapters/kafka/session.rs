//! One life of all clients: from connecting to a stop, or to a failure that ends it.
//!
//! Owns the consumer, the producer, the assignment and the commit under way. Promises that the
//! consumer is made, polled and dropped on one thread; that it is polled even while the shards are
//! full, so that the group does not expel it; and that a partition is given away only after its
//! work is committed. Never recovers by itself: a failure is returned, and a new session begins.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::Producer as _;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::Delivery;
use super::client::{self, GroupConsumer, Observer, Prepared, Rebalance, opening};
use super::commit::{Commit, Progress, Tools};
use super::partitions::{Assigned, Kept, PartitionName, PartitionTable, Start, decide_start};
use super::publisher::{KafkaPublisher, Outstanding, Producer, ProducerEvents, StatePlace, Turn};
use super::topics::{self, ANSWER_TIMEOUT};
use super::{Failure, KafkaError, KafkaSource, gap, restore};
use crate::core::domain::PartitionId;
use crate::intake::{IntakeClosed, IntakeSender, Record};
use crate::ops::clock::{Stopwatch, pause};
use crate::shard::command::Command;

/// How long one poll may hold the thread: the delay of everything else it does.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// The same while a commit is under way, which is then the next thing to look after.
const COMMIT_POLL_TIMEOUT: Duration = Duration::from_millis(1);

/// How long a full shard may hold the thread before the partitions are paused: short waits are
/// ordinary back-pressure, and a pause throws away what was fetched.
const FULL_PATIENCE: Duration = Duration::from_millis(500);

/// How long all shards together may take for a command, behind whatever is in their queues.
pub(super) const SHARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long what is asked between two polls may take in all, but for restoring.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(180);

/// How often the clients that nobody polls otherwise are looked after.
const SERVE_EVERY: Duration = Duration::from_secs(1);

/// How many unusable states are told by name.
const COLD_LINES_MAX: usize = 10;

/// How a session ended well.
pub(super) enum Ended {
    /// It was asked to; everything read is published and committed.
    Stopped,
}

pub(super) struct Session<'s> {
    source: &'s KafkaSource,
    stop: &'s watch::Receiver<bool>,
    observer: Observer,
    reader: Observer,
    consumer: GroupConsumer,
    publisher: KafkaPublisher,
    table: PartitionTable,
    assigned: Assigned,
    /// Partitions whose states the shards still hold, until the group has said who reads them.
    kept: Kept,
    /// A record that its shard had no room for; all partitions are paused meanwhile.
    held: Option<Record>,
    commit: Option<Commit>,
    /// Since the last commit was done.
    idle: Stopwatch,
    turn: Turn,
    /// Since a record came, or there was no need for one.
    moved: Stopwatch,
    /// What the probe was told last; `None` before the first assignment.
    shown_cut_off: Option<bool>,
    /// Since the clients that are not polled otherwise were looked after.
    served: Stopwatch,
    flowed: bool,
}

/// Has every shard forget everything, after a session.
pub(super) fn clear(shards: &[IntakeSender<Command>]) -> Result<(), IntakeClosed> {
    let (answer, answers) = channel();
    for shard in shards {
        shard.command(Command::Clear { answer: answer.clone() })?;
    }
    // A shard that ends without an answer is noticed at once.
    drop(answer);
    for _ in shards {
        answers.recv_timeout(SHARD_TIMEOUT).map_err(|_| IntakeClosed)?;
    }
    Ok(())
}

fn engine_gone<E>(_: E) -> Failure {
    Failure::Final(KafkaError::EngineGone)
}

impl<'s> Session<'s> {
    /// Connects everything.
    pub(super) fn open(
        source: &'s KafkaSource,
        stop: &'s watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let config = &source.config;
        let observer = client::observer(config).map_err(opening("make a client"))?;
        let table = topics::prepare(config, &observer, &source.runtime)?;
        let reader =
            client::restoring_consumer(config).map_err(opening("make the restoring consumer"))?;
        let outstanding = Arc::new(Outstanding::default());
        let Prepared { options, token } =
            client::producer_options(config).map_err(opening("make the producer"))?;
        let events = ProducerEvents::new(Arc::clone(&outstanding), source.metrics.clone(), token);
        let producer: Producer =
            options.create_with_context(events).map_err(opening("make the producer"))?;
        if config.delivery == Delivery::ExactlyOnce {
            // Fences off whoever used our transactional id before, and aborts what it left open.
            producer
                .init_transactions(config.transaction_timeout)
                .and_then(|()| producer.begin_transaction())
                .map_err(Failure::while_doing("begin with transactions"))?;
        }
        let publisher = KafkaPublisher::new(
            producer,
            outstanding,
            table.clone(),
            config.clone(),
            source.metrics.clone(),
        );
        for shard in &source.shards {
            let sink = Box::new(publisher.clone());
            shard.command(Command::Connect(sink)).map_err(engine_gone)?;
        }
        let consumer = client::group_consumer(config).map_err(opening("make the consumer"))?;
        let topics: Vec<_> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(opening("subscribe"))?;
        source.ready.not_ready("joining the group");
        info!(brokers = config.brokers, group = config.group, ?topics, "connected to Kafka");
        Ok(Self {
            source,
            stop,
            observer,
            reader,
            consumer,
            publisher,
            table,
            assigned: Assigned::default(),
            kept: Kept::default(),
            held: None,
            commit: None,
            idle: Stopwatch::start(),
            turn: Turn::default(),
            moved: Stopwatch::start(),
            shown_cut_off: None,
            served: Stopwatch::start(),
            flowed: false,
        })
    }

    /// Whether a commit was committed: the session has proved itself.
    pub(super) fn has_flowed(&self) -> bool {
        self.flowed
    }

    /// Ends the clients, on the thread that made them.
    pub(super) fn close(self) {
        // Shards that wait for room in the producer's queue must not wait any longer.
        self.publisher.outstanding().end();
        self.consumer.context().close();
        // A revocation that was taken down and not answered would keep the consumer from closing
        // for ever.
        if let Err(error) = client::give_all_back(&self.consumer) {
            debug!(%error, "cannot give the partitions back while closing");
        }
        // A member that stays the same over restarts says no goodbye: it is waited for until its
        // session times out.
        if !self.source.config.static_membership {
            self.consumer.unsubscribe();
        }
    }

    /// Runs until it is asked to stop or something fails.
    pub(super) fn run(&mut self) -> Result<Ended, Failure> {
        loop {
            if *self.stop.borrow() {
                self.held = None;
                self.commit_now()?;
                return Ok(Ended::Stopped);
            }
            self.source.pulse.work();
            self.retry_held()?;
            self.poll()?;
            // What follows asks the cluster, and each request has a limit of its own.
            self.source.pulse.wait(CLUSTER_PATIENCE);
            for rebalance in self.consumer.context().take() {
                match rebalance {
                    Rebalance::Assign(list) => self.assign(&list)?,
                    Rebalance::Revoke(list) => self.revoke(&list)?,
                }
            }
            self.advance_commit()?;
            self.serve_others();
            self.show_connection();
            self.watch_for_stall()?;
        }
    }

    fn poll(&mut self) -> Result<(), Failure> {
        let timeout = if self.commit.is_some() { COMMIT_POLL_TIMEOUT } else { POLL_TIMEOUT };
        let Self { consumer, assigned, source, held, moved, .. } = self;
        match consumer.poll(timeout) {
            // Also what a poll says around a rebalance.
            None => {
                consumer.context().take_refusal().map_or(Ok(()), |why| Err(Failure::Refused(why)))
            }
            Some(Ok(message)) => {
                *moved = Stopwatch::start();
                *held = deliver(&source.shards, assigned, &message)?;
                if held.is_some() {
                    self.pause_all()?;
                }
                Ok(())
            }
            Some(Err(error)) => match consumer.context().take_refusal() {
                Some(why) => Err(Failure::Refused(why)),
                None if client::passes(&error) => {
                    debug!(%error, "the cluster is not reached; trying on");
                    Ok(())
                }
                None => Err(Failure::retry(format_args!("read the input: {error}"))),
            },
        }
    }

    /// Offers the record that had no room once more.
    fn retry_held(&mut self) -> Result<(), Failure> {
        let Some(record) = self.held.take() else { return Ok(()) };
        self.moved = Stopwatch::start();
        self.held = hand_over(&self.source.shards, &mut self.assigned, record, POLL_TIMEOUT)?;
        if self.held.is_none() {
            let list = self.assignment()?;
            self.consumer.resume(&list).map_err(Failure::while_doing("resume partitions"))?;
        }
        Ok(())
    }

    fn pause_all(&mut self) -> Result<(), Failure> {
        self.source.metrics.paused();
        let list = self.assignment()?;
        self.consumer.pause(&list).map_err(Failure::while_doing("pause partitions"))
    }

    fn assignment(&self) -> Result<TopicPartitionList, Failure> {
        self.consumer.assignment().map_err(Failure::while_doing("ask for the assignment"))
    }

    /// Takes partitions over: their states first, then their records.
    fn assign(&mut self, list: &TopicPartitionList) -> Result<(), Failure> {
        let begun = Stopwatch::start();
        let count = list.count();
        if count > 0 {
            self.source.ready.not_ready(format!("restoring {count} partitions"));
        }
        let committed = if count > 0 {
            self.consumer
                .committed_offsets(list.clone(), ANSWER_TIMEOUT)
                .map_err(Failure::while_doing("ask for committed offsets"))?
        } else {
            TopicPartitionList::new()
        };
        let mut starts = TopicPartitionList::with_capacity(count);
        let (mut kept, mut kept_count) = (std::mem::take(&mut self.kept), 0);
        for element in committed.elements() {
            let (topic, number) = (element.topic(), element.partition());
            let id = self.table.id(topic, number).ok_or_else(|| {
                Failure::retry(format_args!(
                    "{topic}[{number}] is new; looking at all topics again"
                ))
            })?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            let next = match kept.take(id) {
                Some(next) if offset == Some(next) => {
                    kept_count += 1;
                    self.assigned.add(id, self.name(id)?, next);
                    next
                }
                Some(_) => {
                    self.evict(id)?;
                    self.take_over(id, offset)?
                }
                None => self.take_over(id, offset)?,
            };
            starts
                .add_partition_offset(topic, number, Offset::Offset(next))
                .map_err(Failure::while_doing("name a position"))?;
        }
        for id in kept.rest() {
            self.evict(id)?;
        }
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&starts),
            _ => self.consumer.assign(&starts),
        };
        assigned.map_err(Failure::while_doing("take partitions over"))?;
        if self.held.is_some() {
            self.pause_all()?;
        }
        self.moved = Stopwatch::start();
        let partitions = self.assigned.iter().count();
        self.source.metrics.rebalanced(partitions);
        self.source.metrics.kept(kept_count);
        if count > kept_count {
            self.source.metrics.restore_took(begun.elapsed());
        }
        self.source.ready.ready();
        self.shown_cut_off = Some(false);
        info!(added = count, kept = kept_count, partitions, "reading partitions");
        Ok(())
    }

    fn name(&self, id: PartitionId) -> Result<PartitionName, Failure> {
        self.table.name(id).cloned().ok_or_else(|| Failure::retry("no such partition"))
    }

    /// Has the shard forget a partition's symbols.
    fn evict(&self, id: PartitionId) -> Result<(), Failure> {
        let (answer, answers) = channel();
        self.shard(id).command(Command::Evict { partition: id, answer }).map_err(engine_gone)?;
        answers.recv_timeout(SHARD_TIMEOUT).map_err(engine_gone)
    }

    /// Restores a partition's states and returns the offset to read from.
    fn take_over(&mut self, id: PartitionId, committed: Option<i64>) -> Result<i64, Failure> {
        let config = &self.source.config;
        self.source.pulse.wait(CLUSTER_PATIENCE.max(2 * config.restore_timeout));
        let name = self.name(id)?;
        let PartitionName { topic, number } = &name;
        let (low, high) = self
            .observer
            .fetch_watermarks(topic, *number, ANSWER_TIMEOUT)
            .map_err(Failure::while_doing("ask for the input's ends"))?;
        let place = StatePlace { topic: config.changelog_of(topic), number: *number };
        let stored =
            restore::read_states(&self.reader, &self.observer, &place, config.restore_timeout)?;
        let start = decide_start(committed, (low, high), config.start, config.lost_offset);
        let next = match start {
            Start::At(next) => {
                self.restore(id, &name, stored)?;
                next
            }
            Start::AtTime(time) => {
                self.restore(id, &name, stored)?;
                self.offset_at(&name, time)?.unwrap_or(high)
            }
            Start::Lost(next) => {
                self.source.metrics.lost_offset();
                warn!(
                    %topic, partition = number, ?committed, low, high, next,
                    "the committed offset is gone; the partition's symbols begin cold"
                );
                self.forget(&place, &stored)?;
                next
            }
            Start::Refused => {
                return Err(Failure::Final(KafkaError::Setup(format!(
                    "{topic}[{number}]: offset {committed:?} is gone (the topic holds {low} to \
                     {high}) and kafka.on_lost_offset = \"fail\""
                ))));
            }
        };
        self.assigned.add(id, name, next);
        Ok(next)
    }

    fn restore(
        &self,
        id: PartitionId,
        name: &PartitionName,
        stored: Vec<(String, Bytes)>,
    ) -> Result<(), Failure> {
        if stored.is_empty() {
            return Ok(());
        }
        let (answer, answers) = channel();
        self.shard(id)
            .command(Command::Restore { partition: id, stored, answer })
            .map_err(engine_gone)?;
        let restored = answers
            .recv_timeout(self.source.config.restore_timeout)
            .map_err(|_| Failure::retry("the states were not restored in time"))?
            .map_err(Failure::while_doing("restore states"))?;
        let PartitionName { topic, number } = name;
        let cold = restored.cold.len();
        self.source.metrics.restored(restored.symbol_count, cold);
        for problem in restored.cold.iter().take(COLD_LINES_MAX) {
            warn!(%topic, partition = number, problem, "a stored state cannot be used");
        }
        info!(%topic, partition = number, symbols = restored.symbol_count, cold, "restored");
        Ok(())
    }

    /// Ends the stored states of a partition whose records are lost, so that no later start takes
    /// them for what came just before.
    fn forget(&self, place: &StatePlace, stored: &[(String, Bytes)]) -> Result<(), Failure> {
        for (symbol, _) in stored {
            self.publisher.state(symbol, place, None);
        }
        // In a transaction they are committed with the first commit.
        if self.source.config.delivery == Delivery::AtLeastOnce {
            self.await_states()?;
        }
        Ok(())
    }

    fn await_states(&self) -> Result<(), Failure> {
        let begun = Stopwatch::start();
        while !self.publisher.states_are_settled().map_err(Failure::Retry)? {
            if begun.elapsed() > SHARD_TIMEOUT {
                return Err(Failure::retry(
                    "the changelog did not take the ends of states in time",
                ));
            }
            pause(COMMIT_POLL_TIMEOUT);
        }
        Ok(())
    }

    /// The first offset at or after a time; `None` where all records are older.
    fn offset_at(&self, name: &PartitionName, time_ms: i64) -> Result<Option<i64>, Failure> {
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(&name.topic, name.number, Offset::Offset(time_ms))
            .map_err(Failure::while_doing("name a time"))?;
        let found = self
            .consumer
            .offsets_for_times(times, ANSWER_TIMEOUT)
            .map_err(Failure::while_doing("look a time up"))?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// Gives partitions away after their work is committed.
    fn revoke(&mut self, list: &TopicPartitionList) -> Result<(), Failure> {
        if self.consumer.assignment_lost() {
            // Somebody else reads them already. What we hold is of no use to anybody, and must not
            // be stored: a new session begins from what the others have left.
            return Err(Failure::retry("the group took the partitions away"));
        }
        // A record that was held back is read again by whoever owns its partition next.
        if self.held.take().is_some() {
            let list = self.assignment()?;
            self.consumer.resume(&list).map_err(Failure::while_doing("resume partitions"))?;
        }
        self.commit_now()?;
        let cooperative =
            matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        for element in list.elements() {
            let Some(id) = self.table.id(element.topic(), element.partition()) else { continue };
            match self.assigned.remove(id) {
                // All partitions are given back and some of them come again, with the next word.
                Some(reading) if !cooperative => self.kept.keep(&reading),
                _ => self.evict(id)?,
            }
        }
        let given = match cooperative {
            true => self.consumer.incremental_unassign(list),
            false => self.consumer.unassign(),
        };
        given.map_err(Failure::while_doing("give partitions back"))?;
        let partitions = self.assigned.iter().count();
        self.source.metrics.rebalanced(partitions);
        info!(given = list.count(), partitions, "gave partitions back");
        Ok(())
    }

    /// Begins a commit when one is due, or moves the one under way on.
    fn advance_commit(&mut self) -> Result<(), Failure> {
        if self.commit.is_none() {
            if self.idle.elapsed() < self.source.config.commit_interval {
                return Ok(());
            }
            self.begin_commit()?;
        }
        self.step_commit()
    }

    fn begin_commit(&mut self) -> Result<(), Failure> {
        let covered = self.assigned.uncommitted();
        if covered.is_empty() {
            self.idle = Stopwatch::start();
            return Ok(());
        }
        self.commit = Some(Commit::begin(&self.tools(), covered, self.turn)?);
        self.turn = self.turn.other();
        Ok(())
    }

    fn step_commit(&mut self) -> Result<(), Failure> {
        let Some(commit) = self.commit.take() else { return Ok(()) };
        match commit.step(&self.tools())? {
            Progress::UnderWay(commit) => self.commit = Some(commit),
            Progress::Done(covered, begun) => {
                self.assigned.committed(&covered);
                self.source.metrics.committed(begun.elapsed());
                self.flowed = true;
                self.idle = Stopwatch::start();
            }
        }
        Ok(())
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            config: &self.source.config,
            consumer: &self.consumer,
            publisher: &self.publisher,
            shards: &self.source.shards,
        }
    }

    /// Finishes the commit under way, and makes one of everything since.
    fn commit_now(&mut self) -> Result<(), Failure> {
        let begun = Stopwatch::start();
        for _ in 0..2 {
            if self.commit.is_none() {
                self.begin_commit()?;
            }
            while self.commit.is_some() {
                self.step_commit()?;
                if begun.elapsed() > SHARD_TIMEOUT {
                    return Err(Failure::retry("a commit was not committed in time"));
                }
                if self.commit.is_some() {
                    pause(COMMIT_POLL_TIMEOUT);
                }
            }
        }
        Ok(())
    }

    /// Looks after the clients that are asked now and then: their tokens expire as well.
    fn serve_others(&mut self) {
        if self.served.elapsed() > SERVE_EVERY {
            self.served = Stopwatch::start();
            client::serve(&self.observer);
            client::serve(&self.reader);
        }
    }

    /// Tells the probe whether any broker is connected.
    fn show_connection(&mut self) {
        let cut_off = self.consumer.context().is_cut_off();
        if self.shown_cut_off.is_some_and(|shown| shown != cut_off) {
            self.shown_cut_off = Some(cut_off);
            if cut_off {
                warn!("no broker is connected; trying on");
                self.source.ready.not_ready("no broker is connected");
            } else {
                info!("a broker is connected again");
                self.source.ready.ready();
            }
        }
    }

    /// Ends a session that has records to read and does not get them.
    fn watch_for_stall(&mut self) -> Result<(), Failure> {
        let lag = self.consumer.context().lag();
        self.source.metrics.lag.set(lag);
        if lag == 0 || self.assigned.iter().next().is_none() {
            self.moved = Stopwatch::start();
        }
        let limit = self.source.config.stall_timeout;
        if self.moved.elapsed() > limit {
            return Err(Failure::retry(format_args!(
                "no record came for {} s, with {lag} to read",
                limit.as_secs()
            )));
        }
        Ok(())
    }

    fn shard(&self, id: PartitionId) -> &IntakeSender<Command> {
        shard_of(&self.source.shards, id)
    }
}

fn shard_of(shards: &[IntakeSender<Command>], id: PartitionId) -> &IntakeSender<Command> {
    &shards[id.0 as usize % shards.len()]
}

/// Hands a message to the shard of its partition; returns it where there is no room.
fn deliver(
    shards: &[IntakeSender<Command>],
    assigned: &mut Assigned,
    message: &BorrowedMessage<'_>,
) -> Result<Option<Record>, Failure> {
    let place = assigned.place(message.topic(), message.partition(), message.offset());
    // A partition that was given away has its records read elsewhere.
    let Some(position) = place else { return Ok(None) };
    let bytes = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    let after_gap = gap::is_marked(message);
    let received = client::received(message);
    let record = Record { bytes, position: Some(position), received, after_gap };
    hand_over(shards, assigned, record, FULL_PATIENCE)
}

fn hand_over(
    shards: &[IntakeSender<Command>],
    assigned: &mut Assigned,
    record: Record,
    patience: Duration,
) -> Result<Option<Record>, Failure> {
    let Some(position) = record.position else { return Ok(None) };
    let back = shard_of(shards, position.partition)
        .record_within(record, patience)
        .map_err(engine_gone)?;
    if back.is_none() {
        assigned.delivered(position);
    }
    Ok(back)
}

#[cfg(test)]
mod tests;
